//! Names and addresses: what a name resolves to decides, and the address that was checked is the one that is dialled.

use std::time::Duration;

use super::super::{Client, Errand, FailureKind, Settings};
use super::{Lab, RegistrySettings, Route, Server, answer, failed, get, patient, registry};

const URL: &str = "http://r.example/v2/";

fn client(lab: &Lab, private: bool, settings: &Settings) -> Client {
    let entry = RegistrySettings { insecure: true, private, ..registry("r.example") };
    Client::within(lab.surroundings(), "r.example", Some(&entry), settings).unwrap()
}

async fn server() -> Server {
    Server::plain(|_, _| answer("200 OK", "Connection: close\r\n", "x")).await
}

#[tokio::test]
async fn addresses_are_checked_after_the_name_resolved() {
    let server = server().await;
    let cases = [
        ("8.8.8.8", true, true),
        ("2001:4860::1", true, true),
        ("10.0.0.1", false, true),
        ("127.0.0.1", false, true),
        ("fd00::1", false, true),
        ("::ffff:192.168.0.1", false, true),
        ("169.254.169.254", false, false),
        ("fd00:ec2::254", false, false),
        ("::ffff:169.254.169.254", false, false),
        ("0.0.0.0", false, false),
    ];
    for (address, public_fine, private_fine) in cases {
        for (private, fine) in [(false, public_fine), (true, private_fine)] {
            let lab = Lab::default().name("r.example", &[address]).route(address, Route::To(server.address));
            let result = get(&client(&lab, private, &patient()), URL, Errand::Registry).await;
            assert_eq!(result.is_ok(), fine, "{address}: {result:?}");
            assert_eq!(lab.dialled().len(), usize::from(fine), "{address}");
            if let Err(failure) = result {
                assert!(
                    failure.kind == FailureKind::Unreachable && failure.what.contains("was not asked"),
                    "{failure}"
                );
            }
        }
    }
}

#[tokio::test]
async fn of_several_addresses_only_fine_ones_are_dialled() {
    let server = server().await;
    let lab = Lab::default()
        .name("r.example", &["169.254.169.254", "10.0.0.1", "8.8.8.8"])
        .route("8.8.8.8", Route::To(server.address));
    assert!(get(&client(&lab, false, &patient()), URL, Errand::Registry).await.is_ok());
    assert_eq!(lab.dialled(), ["8.8.8.8:80".parse().unwrap()]);
}

#[tokio::test]
async fn a_name_that_is_rebound_is_checked_again() {
    let server = server().await;
    let lab = Lab::default()
        .name("r.example", &["8.8.8.8"])
        .name("r.example", &["127.0.0.1"])
        .route("8.8.8.8", Route::To(server.address))
        .route("127.0.0.1", Route::To(server.address));
    let client = client(&lab, false, &patient());
    assert!(get(&client, URL, Errand::Registry).await.is_ok());
    let (kind, what) = failed(get(&client, URL, Errand::Registry).await);
    assert!(kind == FailureKind::Unreachable && what.contains("loopback"), "{what}");
    assert_eq!(lab.dialled(), ["8.8.8.8:80".parse().unwrap()]);
}

#[tokio::test]
async fn a_blackhole_or_a_refusal_leaves_time_for_the_other_address() {
    let server = server().await;
    for route in [Route::Blackhole, Route::Refused] {
        let lab = Lab::default()
            .name("r.example", &["2001:4860::1", "2001:4860::2", "8.8.8.8"])
            .route("2001:4860::1", route)
            .route("2001:4860::2", route)
            .route("8.8.8.8", Route::To(server.address));
        let result = get(&client(&lab, false, &patient()), URL, Errand::Registry).await;
        assert!(result.is_ok(), "{route:?}: {result:?}");
        assert_eq!(lab.dialled()[..2], ["[2001:4860::1]:80".parse().unwrap(), "8.8.8.8:80".parse().unwrap()]);
    }
}

#[tokio::test]
async fn no_connection_is_said_in_our_words() {
    let short = Settings { connect: Duration::from_millis(400), ..patient() };
    let named = |route| {
        Lab::default().name("r.example", &["8.8.8.8", "8.8.4.4"]).route("8.8.8.8", route).route("8.8.4.4", route)
    };
    let cases = [
        (Lab::default(), FailureKind::Unreachable, "r.example has a name that does not resolve"),
        (Lab::default().name("r.example", &[]), FailureKind::Unreachable, "r.example has a name without addresses"),
        (
            Lab::default().silent_name("r.example"),
            FailureKind::Timeout,
            "r.example has a name that does not resolve within 400ms",
        ),
        (named(Route::Refused), FailureKind::Unreachable, "r.example refuses connections"),
        (named(Route::Blackhole), FailureKind::Timeout, "r.example does not accept connections within 400ms"),
    ];
    for (lab, kind, what) in cases {
        let got = failed(get(&client(&lab, false, &short), URL, Errand::Registry).await);
        assert_eq!(got, (kind, what.to_owned()));
    }
}
