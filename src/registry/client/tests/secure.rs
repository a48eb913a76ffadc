//! TLS, HTTP/2, tunnels, and redirects to other hosts.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;

use super::super::{Client, Errand, FailureKind, Proxies, Settings, Surroundings};
use super::{Act, Lab, RegistrySettings, Route, Server, answer, failed, get, patient, raw, registry};
use crate::registry::testing::{Authority, Validity, file};

const URL: &str = "https://r.example/v2/";

/// One authority, the client that trusts it, and the names of its world.
struct World {
    authority: Authority,
    directory: tempfile::TempDir,
    lab: Lab,
}

impl World {
    fn new() -> Self {
        World { authority: Authority::new(), directory: tempfile::tempdir().unwrap(), lab: Lab::default() }
    }

    /// `name` is at `address`, which is that server.
    fn at(mut self, name: &str, address: &str, server: &Server) -> Self {
        self.lab = self.lab.name(name, &[address]).route(address, Route::To(server.address));
        self
    }

    fn entry(&self) -> RegistrySettings {
        RegistrySettings { ca: Some(self.authority.file(&self.directory)), ..registry("r.example") }
    }

    fn client(&self, entry: &RegistrySettings, settings: &Settings) -> Client {
        Client::within(self.lab.surroundings(), "r.example", Some(entry), settings).unwrap()
    }
}

#[tokio::test]
async fn certificates_are_checked() {
    let world = World::new();
    let (good, other) = (&world.authority, Authority::new());
    let cases = [
        (good, "r.example", Validity::Now, None),
        (good, "r.example", Validity::Past, Some("it has expired")),
        (good, "r.example", Validity::Future, Some("it is not valid yet")),
        (good, "s.example", Validity::Now, Some("it is for another name")),
        (&other, "r.example", Validity::Now, Some("no authority that we know signed it")),
    ];
    for (authority, name, validity, problem) in cases {
        let config = authority.leaf(&[name], validity).server(&[], None);
        let server = Server::tls(config, |_, _| answer("200 OK", "", "x")).await;
        let lab = Lab::default().name("r.example", &["8.8.8.8"]).route("8.8.8.8", Route::To(server.address));
        let client = Client::within(lab.surroundings(), "r.example", Some(&world.entry()), &patient()).unwrap();
        match (problem, get(&client, URL, Errand::Registry).await) {
            (None, result) => assert!(result.is_ok(), "{result:?}"),
            (Some(problem), result) => {
                let (kind, what) = failed(result);
                assert!(kind == FailureKind::Tls && what.contains(problem), "{what}");
                assert_eq!(server.seen().len(), 0);
            }
        }
        if problem.is_none() {
            let without = Client::within(lab.surroundings(), "r.example", None, &patient()).unwrap();
            assert_eq!(failed(get(&without, URL, Errand::Registry).await).0, FailureKind::Tls, "'ca' is ignored");
        }
    }
}

#[tokio::test]
async fn a_port_without_tls_is_told_apart() {
    let cases = [
        (raw("HTTP/1.1 400 Bad Request\r\n\r\n"), FailureKind::Tls, "does not speak TLS there"),
        (vec![Act::Hang], FailureKind::Timeout, "does not complete the TLS handshake within 400ms"),
        (vec![Act::Close], FailureKind::Unreachable, "breaks off the TLS handshake"),
    ];
    for (acts, kind, what) in cases {
        let server = Server::rude(acts).await;
        let world = World::new().at("r.example", "8.8.8.8", &server);
        let short = Settings { connect: Duration::from_millis(400), ..patient() };
        let got = failed(get(&world.client(&world.entry(), &short), URL, Errand::Registry).await);
        assert_eq!(got, (kind, format!("r.example {what}")));
    }
}

#[tokio::test]
async fn a_client_certificate_is_shown_to_the_registry() {
    let world = World::new();
    let config = world.authority.leaf(&["r.example"], Validity::Now).server(&[], Some(&world.authority));
    let server = Server::tls(config, |_, _| answer("200 OK", "", "x")).await;
    let world = World { lab: Lab::default(), ..world }.at("r.example", "8.8.8.8", &server);
    let ours = world.authority.leaf(&["us"], Validity::Now);
    let files = (file(&world.directory, "us.crt", &ours.cert), file(&world.directory, "us.key", &ours.key));
    let entry = RegistrySettings { client_cert: Some(files.clone()), ..world.entry() };
    let result = get(&world.client(&entry, &patient()), URL, Errand::Registry).await;
    assert!(result.is_ok(), "{result:?}");
    assert!(get(&world.client(&world.entry(), &patient()), URL, Errand::Registry).await.is_err());
    assert_eq!(server.seen().len(), 1);
    // A key that is another's, and files that are none.
    let other = file(&world.directory, "other.key", &world.authority.leaf(&["x"], Validity::Now).key);
    for (cert, key) in [(&files.0, &other), (&files.0, &files.0), (&files.1, &files.1), (&files.0, &"gone".into())] {
        let entry = RegistrySettings { client_cert: Some((cert.clone(), key.clone())), ..registry("r.example") };
        assert!(Client::new("r.example", Some(&entry), &patient()).is_err(), "{} {}", cert.display(), key.display());
    }
    let entry = RegistrySettings { ca: Some(files.1), ..registry("r.example") };
    let error = Client::new("r.example", Some(&entry), &patient()).err().unwrap();
    assert!(error.contains("us.key: there is no PEM certificate in it"), "{error}");
}

#[tokio::test]
async fn a_cold_burst_shares_one_connection_of_http_2() {
    let world = World::new();
    let config = world.authority.leaf(&["r.example"], Validity::Now).server(&["h2", "http/1.1"], None);
    let server = Server::http2(config, |path| {
        let big = "x".repeat(if path == "/big" { 40 << 10 } else { 3 });
        let builder = http::Response::builder();
        match path {
            "/headers" => builder.header("x", "y".repeat(40 << 10)).body(Full::new(Bytes::new())).unwrap(),
            _ => builder.body(Full::new(big.into())).unwrap(),
        }
    })
    .await;
    let world = World { lab: Lab::default(), ..world }.at("r.example", "8.8.8.8", &server);
    let client = world.client(&world.entry(), &patient());
    let burst = (0..50).map(|_| {
        let client = client.clone();
        tokio::spawn(async move { get(&client, URL, Errand::Registry).await })
    });
    for task in burst.collect::<Vec<_>>() {
        assert_eq!(&task.await.unwrap().unwrap().body[..], b"xxx");
    }
    assert_eq!(server.connections(), 1);
    assert_eq!(world.lab.dialled().len(), 1);
    for path in ["big", "headers"] {
        let (kind, what) = failed(get(&client, &format!("https://r.example/{path}"), Errand::Registry).await);
        assert_eq!(kind, FailureKind::Protocol, "{path}: {what}");
    }
}

#[tokio::test]
async fn blobs_are_had_from_public_hosts_without_credentials() {
    let world = World::new();
    let leaf = world.authority.leaf(&["r.example", "s.example"], Validity::Now);
    let storage = Server::tls(leaf.server(&[], None), |_, _| answer("200 OK", "", "blob")).await;
    let found = |_: &_, _| answer("307 Temporary Redirect", "Location: https://s.example/b?sig=1\r\n", "");
    let server = Server::tls(leaf.server(&[], None), found).await;
    let cases = [
        ("8.8.4.4", false, false, true),
        ("10.0.0.1", false, false, false),
        ("10.0.0.1", true, false, false),
        ("10.0.0.1", false, true, false),
        ("10.0.0.1", true, true, true),
        ("169.254.169.254", true, true, false),
    ];
    let world = Arc::new(world);
    for (address, private, listed, fine) in cases {
        let lab = Lab::default().name("r.example", &["8.8.8.8"]).name("s.example", &[address]);
        let lab = lab.route("8.8.8.8", Route::To(server.address)).route(address, Route::To(storage.address));
        let entry = RegistrySettings { private, ..world.entry() };
        let neighbour = RegistrySettings { private: true, ..registry("s.example") };
        let settings = Settings { registries: if listed { vec![neighbour] } else { Vec::new() }, ..patient() };
        let client = Client::within(lab.surroundings(), "r.example", Some(&entry), &settings).unwrap();
        let result = get(&client, URL, Errand::Blob).await;
        assert_eq!(result.is_ok(), fine, "{address} {private} {listed}: {result:?}");
        if let Err(failure) = result {
            assert!(failure.what.starts_with("a host that r.example redirects to resolves to"), "{failure}");
            assert!(failure.remote.unwrap().contains("s.example"));
        }
        // The same is nothing for a manifest.
        let (kind, what) = failed(get(&client, URL, Errand::Registry).await);
        assert!(kind == FailureKind::Protocol && what.contains("another host"), "{what}");
    }
    assert!(storage.seen().iter().all(|seen| seen.header("authorization").is_none() && seen.line().contains("sig=1")));
    assert!(server.seen().iter().all(|seen| seen.header("authorization").is_some()));
}

#[tokio::test]
async fn a_tunnel_leads_through_the_proxy() {
    let world = World::new();
    let server = Server::tls(world.authority.leaf(&["r.example"], Validity::Now).server(&[], None), |_, _| {
        answer("200 OK", "", "x")
    })
    .await;
    let proxy = Server::tunnel(server.address).await;
    let world = World { lab: Lab::default(), ..world }.at("p.example", "10.0.0.1", &proxy);
    let client = |proxies| {
        let surroundings = Surroundings { proxies, ..world.lab.surroundings() };
        Client::within(surroundings, "r.example", Some(&world.entry()), &patient()).unwrap()
    };
    // r.example is nowhere in this world: the proxy resolves it.
    let by_proxy = Proxies::new("", "http://u:p@p.example:3128", "").unwrap();
    let result = get(&client(by_proxy.clone()), URL, Errand::Registry).await;
    assert!(result.is_ok(), "{result:?}");
    let seen = &proxy.seen()[0];
    assert_eq!(
        (seen.line(), seen.header("proxy-authorization")),
        ("CONNECT r.example:443 HTTP/1.1", Some("Basic dTpw"))
    );
    assert_eq!(server.seen()[0].header("proxy-authorization"), None);
    let listed = Proxies::new("", "http://u:p@p.example:3128", "r.example").unwrap();
    assert!(failed(get(&client(listed), URL, Errand::Registry).await).1.contains("does not resolve"));
    for (status, what) in [("407 No", "the proxy wants other credentials"), ("403 No", "the proxy answered 403")] {
        let proxy = Server::plain(move |_, _| answer(status, "", "")).await;
        let lab = Lab::default().name("p.example", &["10.0.0.1"]).route("10.0.0.1", Route::To(proxy.address));
        let surroundings = Surroundings { proxies: by_proxy.clone(), ..lab.surroundings() };
        let client = Client::within(surroundings, "r.example", Some(&world.entry()), &patient()).unwrap();
        let got = failed(get(&client, URL, Errand::Registry).await);
        assert_eq!(got, (FailureKind::Unreachable, format!("r.example is not reached: {what}")));
    }
}
