//! Requests over real sockets on loopback, to servers that misbehave.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, HeaderValue};
use http::{HeaderMap, Method};
use tokio::time::Instant;

use super::{Client, Errand, FailureKind, Incoming, Outgoing, RegistrySettings, Settings, Surroundings, System};
use crate::registry::testing::{Act, Lab, PATIENCE, Route, Server, answer, raw, registry};
use crate::registry::{Failure, client::Proxies};

mod names;
mod secure;

const LIMIT: usize = 1000;

pub(super) fn outgoing(method: Method, url: &str, errand: Errand) -> Outgoing {
    let mut headers = HeaderMap::new();
    headers.insert(AUTHORIZATION, HeaderValue::from_static("Bearer secret"));
    Outgoing { method, uri: url.parse().unwrap(), headers, body: Bytes::new(), limit: LIMIT, errand }
}

pub(super) async fn get(client: &Client, url: &str, errand: Errand) -> Result<Incoming, Failure> {
    let started = Instant::now();
    let result = client.send(outgoing(Method::GET, url, errand), started + PATIENCE).await;
    assert!(started.elapsed() < PATIENCE);
    result
}

pub(super) fn failed(result: Result<Incoming, Failure>) -> (FailureKind, String) {
    let failure = result.expect_err("it is refused");
    (failure.kind, failure.what)
}

/// Time-outs that nothing on loopback needs.
pub(super) fn patient() -> Settings {
    Settings { connect: PATIENCE, request: PATIENCE, ..Settings::default() }
}

/// A client for a server on loopback by plain HTTP.
fn plain(server: &Server, settings: &Settings) -> (Client, String) {
    let host = server.address.to_string();
    let entry = RegistrySettings { insecure: true, private: true, ..registry(&host) };
    let client = Client::within(direct(), &host, Some(&entry), settings).unwrap();
    (client, format!("http://{host}/v2/"))
}

fn direct() -> Surroundings {
    Surroundings { network: Arc::new(System), proxies: Proxies::default(), idle_for: PATIENCE }
}

#[tokio::test]
async fn a_request_says_what_it_must_and_an_answer_comes_back() {
    let server = Server::plain(|_, _| answer("201 Created", "X-A: b\r\n", "hello")).await;
    let (client, url) = plain(&server, &patient());
    let mut request = outgoing(Method::POST, &format!("{url}x?y=z"), Errand::Registry);
    request.body = Bytes::from_static(b"grant_type=x");
    let got = client.send(request, Instant::now() + PATIENCE).await.unwrap();
    assert_eq!((got.status.as_u16(), &got.headers["x-a"], &got.body[..]), (201, &"b".parse().unwrap(), &b"hello"[..]));
    let seen = &server.seen()[0];
    assert_eq!(seen.line(), "POST /v2/x?y=z HTTP/1.1");
    assert_eq!(seen.header("host"), Some(server.address.to_string().as_str()));
    assert_eq!(seen.header("accept-encoding"), Some("identity"));
    assert!(seen.header("user-agent").unwrap().starts_with("tagwarden/"));
    assert_eq!((seen.header("authorization"), &seen.body[..]), (Some("Bearer secret"), &b"grant_type=x"[..]));
}

#[tokio::test]
async fn head_has_no_body_whatever_its_length() {
    let server = Server::plain(|_, _| raw("HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n")).await;
    let (client, url) = plain(&server, &patient());
    for _ in 0..2 {
        let request = outgoing(Method::HEAD, &url, Errand::Registry);
        let got = client.send(request, Instant::now() + PATIENCE).await.unwrap();
        assert_eq!((got.status.as_u16(), got.body.len()), (200, 0));
    }
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn private_addresses_and_plain_http_want_their_settings() {
    let server = Server::plain(|_, _| answer("200 OK", "", "")).await;
    let host = server.address.to_string();
    let url = format!("http://{host}/");
    let cases =
        [(true, true, None), (true, false, Some("a loopback address")), (false, true, Some("'insecure: true'"))];
    for (insecure, private, refused) in cases {
        let entry = RegistrySettings { insecure, private, ..registry(&host) };
        let client = Client::within(direct(), &host, Some(&entry), &patient()).unwrap();
        let result = get(&client, &url, Errand::Registry).await;
        match refused {
            None => assert!(result.is_ok(), "{result:?}"),
            Some(why) => {
                let (kind, what) = failed(result);
                assert!(kind == FailureKind::Unreachable && what.contains(why), "{what}");
            }
        }
    }
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn only_the_registry_itself_is_asked() {
    let client = Client::within(Lab::default().surroundings(), "r.example", None, &patient()).unwrap();
    for url in ["https://s.example/v2/", "https://r.example:444/v2/", "https://u@r.example/", "http://r.example/"] {
        for errand in [Errand::Registry, Errand::Blob] {
            let (_, what) = failed(get(&client, url, errand).await);
            assert!(
                what.contains("not asked") || what.contains("refused") || what.contains("insecure"),
                "{url}: {what}"
            );
        }
    }
    for url in ["http://auth.example/token", "https://169.254.169.254/token", "https://u:p@auth.example/token"] {
        assert_eq!(failed(get(&client, url, Errand::Realm).await).0, FailureKind::Protocol, "{url}");
    }
}

#[tokio::test]
async fn a_kept_connection_is_used_again_and_given_up_after_a_while() {
    let server = Server::plain(|_, _| answer("200 OK", "", "x")).await;
    let host = server.address.to_string();
    let entry = RegistrySettings { insecure: true, private: true, ..registry(&host) };
    let surroundings = Surroundings { idle_for: Duration::from_millis(200), ..direct() };
    let client = Client::within(surroundings, &host, Some(&entry), &patient()).unwrap();
    for _ in 0..5 {
        get(&client, &format!("http://{host}/"), Errand::Registry).await.unwrap();
    }
    server.closed(server.connections()).await;
}

#[tokio::test]
async fn a_dead_kept_connection_costs_one_new_one_and_no_more() {
    let server = Server::plain(|_, number| match number {
        1 | 3 | 4 => vec![Act::Close],
        _ => answer("200 OK", "", "x"),
    })
    .await;
    let (client, url) = plain(&server, &patient());
    assert!(get(&client, &url, Errand::Registry).await.is_ok());
    assert!(get(&client, &url, Errand::Registry).await.is_ok(), "the second attempt is answered");
    assert_eq!((server.seen().len(), server.connections()), (3, 2));
    let (kind, what) = failed(get(&client, &url, Errand::Registry).await);
    assert_eq!(kind, FailureKind::Unreachable, "{what}");
    assert_eq!((server.seen().len(), server.connections()), (5, 3));
}

#[tokio::test]
async fn hostile_answers_are_failures_of_the_protocol() {
    let ok = "HTTP/1.1 200 OK\r\n";
    let x = |count: usize| "x".repeat(count);
    let cases: Vec<(&str, Vec<Act>, FailureKind)> = vec![
        ("length over the limit", raw(&format!("{ok}Content-Length: 629145600\r\n\r\n")), FailureKind::Protocol),
        ("length negative", raw(&format!("{ok}Content-Length: -5\r\n\r\n")), FailureKind::Protocol),
        ("lengths", raw(&format!("{ok}Content-Length: 1\r\nContent-Length: 2\r\n\r\nxx")), FailureKind::Protocol),
        ("same lengths", raw(&format!("{ok}Content-Length: 1\r\nContent-Length: 1\r\n\r\nx")), FailureKind::Protocol),
        (
            "length and chunks",
            raw(&format!("{ok}Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n")),
            FailureKind::Protocol,
        ),
        (
            "length too long",
            [raw(&format!("{ok}Content-Length: 9\r\n\r\nx")), vec![Act::Close]].concat(),
            FailureKind::Protocol,
        ),
        (
            "endless chunks",
            [raw(&format!("{ok}Transfer-Encoding: chunked\r\n\r\n")), vec![Act::Flood(b"1\r\nx\r\n".to_vec())]]
                .concat(),
            FailureKind::Protocol,
        ),
        ("endless", [raw(&format!("{ok}\r\n")), vec![Act::Flood(x(100).into_bytes())]].concat(), FailureKind::Protocol),
        ("gzip", answer("200 OK", "Content-Encoding: gzip\r\n", "x"), FailureKind::Protocol),
        (
            "coded transfer",
            raw(&format!("{ok}Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n")),
            FailureKind::Protocol,
        ),
        ("204", raw("HTTP/1.1 204 No Content\r\n\r\n"), FailureKind::Protocol),
        ("206", answer("206 Partial Content", "", "x"), FailureKind::Protocol),
        ("304", raw("HTTP/1.1 304 Not Modified\r\n\r\n"), FailureKind::Protocol),
        ("101", raw("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n"), FailureKind::Protocol),
        ("1xx flood", vec![Act::Flood(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n".to_vec())], FailureKind::Protocol),
        ("big header", raw(&format!("{ok}X: {}\r\n\r\n", x(40 << 10))), FailureKind::Protocol),
        (
            "endless header",
            [raw(ok), vec![Act::Flood(b"X-Y: zzzzzzzzzzzz\r\n".to_vec())]].concat(),
            FailureKind::Protocol,
        ),
        ("endless line", [raw(ok), vec![Act::Flood(b"x".to_vec())]].concat(), FailureKind::Protocol),
        ("no HTTP", raw("220 mail.example ESMTP\r\n\r\n"), FailureKind::Protocol),
        ("closed", vec![Act::Close], FailureKind::Unreachable),
        ("reset", vec![Act::Reset], FailureKind::Unreachable),
    ];
    for (name, acts, kind) in cases {
        let server = Server::plain(move |_, _| acts.clone()).await;
        let (client, url) = plain(&server, &patient());
        let (got, what) = failed(get(&client, &url, Errand::Registry).await);
        assert_eq!(got, kind, "{name}: {what}");
        assert!(what.is_ascii() && what.starts_with("127.0.0.1:"), "{name}: {what}");
        // What misbehaved is not kept.
        server.closed(1).await;
    }
}

#[tokio::test]
async fn a_reset_in_the_middle_of_a_body_is_a_broken_connection() {
    let server = Server::plain(|_, number| match number {
        0 => raw("HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\nx"),
        _ => vec![Act::Reset],
    })
    .await;
    let (client, url) = plain(&server, &Settings { request: Duration::from_millis(300), ..patient() });
    // The first waits for the rest in vain; that connection is never used again.
    assert_eq!(failed(get(&client, &url, Errand::Registry).await).0, FailureKind::Timeout);
    server.closed(1).await;
    assert_eq!(failed(get(&client, &url, Errand::Registry).await).0, FailureKind::Unreachable);
}

#[tokio::test]
async fn a_limit_lets_through_what_is_within_it() {
    for (length, fine) in [(LIMIT, true), (LIMIT + 1, false)] {
        let body = "x".repeat(length);
        let chunked = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{length:x}\r\n{body}\r\n0\r\n\r\n");
        for acts in [answer("200 OK", "", &body), raw(&chunked)] {
            let server = Server::plain(move |_, _| acts.clone()).await;
            let (client, url) = plain(&server, &patient());
            let result = get(&client, &url, Errand::Registry).await;
            assert_eq!(result.is_ok(), fine, "{length}");
        }
    }
}

#[tokio::test]
async fn silence_and_slowness_end_with_the_request_or_the_deadline() {
    let slow_head = vec![Act::Trickle(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx".repeat(50))];
    let slow_body =
        [raw("HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n"), vec![Act::Trickle(vec![b'x'; 900])]].concat();
    for acts in [vec![Act::Hang], slow_head, slow_body] {
        let server = Server::plain(move |_, _| acts.clone()).await;
        let short = Duration::from_millis(250);
        let (client, url) = plain(&server, &Settings { request: short, ..patient() });
        let (kind, what) = failed(get(&client, &url, Errand::Registry).await);
        assert!(kind == FailureKind::Timeout && what.ends_with("did not answer within 250ms"), "{what}");
        let (client, url) = plain(&server, &patient());
        let request = outgoing(Method::GET, &url, Errand::Registry);
        let (kind, what) = failed(client.send(request.clone(), Instant::now() + short).await);
        assert!(kind == FailureKind::Timeout && what.ends_with("in the time left"), "{what}");
        let (connections, late) = (server.connections(), failed(client.send(request, Instant::now()).await));
        assert_eq!((late.0, server.connections()), (FailureKind::Timeout, connections));
    }
}

#[tokio::test]
async fn redirects_are_followed_three_times() {
    for (hops, fine) in [(3, true), (4, false), (usize::MAX, false)] {
        let server = Server::plain(move |_, number| match number < hops {
            true => answer("307 Temporary Redirect", "Location: /next\r\n", "gone"),
            false => answer("200 OK", "", "there"),
        })
        .await;
        let (client, url) = plain(&server, &patient());
        let result = get(&client, &url, Errand::Registry).await;
        assert_eq!(result.is_ok(), fine, "{hops}: {result:?}");
        assert_eq!(server.seen().len(), 4);
        assert!(server.seen().iter().all(|seen| seen.header("authorization").is_some()));
    }
}

#[tokio::test]
async fn a_redirect_says_where_to_once() {
    for location in ["", "Location: /a\r\nLocation: /b\r\n"] {
        let server = Server::plain(move |_, _| answer("302 Found", location, "")).await;
        let (client, url) = plain(&server, &patient());
        let (kind, what) = failed(get(&client, &url, Errand::Registry).await);
        assert!(kind == FailureKind::Protocol && what.contains("without saying where to"), "{what}");
        assert_eq!(server.seen().len(), 1);
    }
}

#[tokio::test]
async fn the_endpoint_is_asked_instead() {
    let server = Server::plain(|_, _| answer("200 OK", "", "x")).await;
    let endpoint = format!("http://{}/docker", server.address);
    let entry = RegistrySettings { endpoint: Some(endpoint), insecure: true, private: true, ..registry("docker.io") };
    let client = Client::within(direct(), "docker.io", Some(&entry), &patient()).unwrap();
    let url = format!("http://{}/docker/v2/?ns=docker.io", server.address);
    assert!(get(&client, &url, Errand::Registry).await.is_ok());
    let (_, what) = failed(get(&client, "https://registry-1.docker.io/v2/", Errand::Registry).await);
    assert!(what.contains("not the registry's own"), "{what}");
}

#[tokio::test]
async fn plain_http_by_way_of_a_proxy_asks_for_whole_urls() {
    let proxy = Server::plain(|_, _| answer("200 OK", "", "x")).await;
    let lab = Lab::default().name("p.example", &["10.0.0.1"]).route("10.0.0.1", Route::To(proxy.address));
    let proxies = || Proxies::new("http://u:p@p.example:3128", "", "direct.example").unwrap();
    let client = |host: &str| {
        let entry = RegistrySettings { insecure: true, ..registry(host) };
        let surroundings = Surroundings { proxies: proxies(), ..lab.surroundings() };
        Client::within(surroundings, host, Some(&entry), &patient()).unwrap()
    };
    assert!(get(&client("r.example:5000"), "http://r.example:5000/v2/", Errand::Registry).await.is_ok());
    let seen = &proxy.seen()[0];
    assert_eq!(seen.line(), "GET http://r.example:5000/v2/ HTTP/1.1");
    assert_eq!((seen.header("proxy-authorization"), seen.header("host")), (Some("Basic dTpw"), Some("r.example:5000")));
    let (_, what) = failed(get(&client("127.1"), "http://127.1/v2/", Errand::Registry).await);
    assert!(what.contains("NO_PROXY"), "{what}");
    let (_, what) = failed(get(&client("direct.example"), "http://direct.example/v2/", Errand::Registry).await);
    assert!(what.contains("does not resolve"), "{what}");
}
