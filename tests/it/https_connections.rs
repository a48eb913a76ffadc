//! Clients that are slow, rude, many or strangers.

use std::time::{Duration, Instant};

use hyper::StatusCode;
use rustls::ClientConfig;
use tagwarden::certs::Authority;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::https_support::{
    Connection, PROTOCOLS, Protocol, Server, Setup, client_tls, now, pod_review, post, tls_connect, until,
};

/// The head of a review's request and its body.
fn request(image: &str) -> String {
    let body = pod_review("shop", image).to_string();
    format!(
        "POST /validate HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// Reads until the other side closes, cleanly or not, and gives what came.
async fn rest(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut all = Vec::new();
    let mut part = [0; 4096];
    let read = async {
        while let Ok(length) = stream.read(&mut part).await
            && length > 0
        {
            all.extend_from_slice(&part[..length]);
        }
    };
    tokio::time::timeout(crate::https_support::PATIENCE, read).await.expect("the server never closed");
    String::from_utf8_lossy(&all).into_owned()
}

fn within(began: Instant, bound: Duration) {
    assert!(began.elapsed() < 5 * bound, "{:?}, bound {bound:?}", began.elapsed());
}

#[tokio::test]
async fn row_21_one_connection_serves_many_requests() {
    let server = Setup::default().start();
    let mut kept = server.http1().await;
    for _ in 0..20 {
        assert_eq!(kept.review("/validate", &pod_review("shop", "nginx:v1.2.3")).await["allowed"], true);
    }
    let Connection::Http2(sender) = server.http2().await else { panic!("no HTTP/2") };
    let each = (0..50).map(|number| {
        let mut connection = Connection::Http2(sender.clone());
        let image = if number % 2 == 0 { "nginx:v1.2.3" } else { "nginx:latest" };
        async move {
            let response = connection.review("/validate", &pod_review("shop", image)).await;
            assert_eq!(response["allowed"], number % 2 == 0);
        }
    });
    futures_util::future::join_all(each).await;
}

#[tokio::test]
async fn row_21_a_kept_connection_outlives_the_header_timeout_and_ends_after_the_idle_one() {
    let idle = Duration::from_millis(1500);
    let server = Setup::config("timeouts: {header: 200ms, idle: 1500ms}\n").start();
    for protocol in PROTOCOLS {
        let mut connection = server.connection(protocol).await;
        connection.review("/validate", &pod_review("shop", "nginx:v1.2.3")).await;
        let began = Instant::now();
        until("the idle connection ends", async || connection.is_closed().then_some(())).await;
        assert!(began.elapsed() > idle / 2, "{protocol:?} {:?}", began.elapsed());
        within(began, idle);
    }
}

#[tokio::test]
async fn row_22_tls_1_2_and_1_3_with_and_without_alpn() {
    let server = Setup::default().start();
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        for (protocols, agreed) in [
            (vec![b"h2".to_vec(), b"http/1.1".to_vec()], Some(&b"h2"[..])),
            (vec![b"http/1.1".to_vec()], Some(b"http/1.1")),
            (vec![], None),
        ] {
            let mut config = with_version(&server, version);
            config.alpn_protocols = protocols;
            let stream = tls_connect(server.webhook, config.clone()).await.unwrap();
            let session = stream.get_ref().1;
            assert_eq!(session.alpn_protocol(), agreed);
            assert_eq!(session.protocol_version(), Some(version.version));
            let mut connection = Connection::open(server.webhook, config).await.unwrap();
            connection.review("/validate", &pod_review("shop", "nginx:v1.2.3")).await;
        }
    }
    assert!(tls_connect(server.webhook, server.tls(&[b"spdy/3"])).await.is_err(), "no protocol in common");
}

/// TLS 1.1 is older than what any API server of today speaks; the alert is protocol_version (RFC 5246, 7.2.2).
#[tokio::test]
async fn row_22_tls_1_1_is_refused() {
    let server = Setup::default().start();
    // ClientHello: version 3.2, random, no session, an ECDHE and an RSA suite, no compression, and the one extension
    // (signature_algorithms) without which rustls would refuse it for another reason.
    let mut hello = vec![3, 2];
    hello.extend([7; 32]);
    hello.extend([0, 0, 4, 0xc0, 0x13, 0x00, 0x2f, 1, 0, 0, 8, 0, 13, 0, 4, 0, 2, 4, 3]);
    let handshake = [&[1, 0, 0, hello.len() as u8][..], &hello].concat();
    let record = [&[22, 3, 1, 0, handshake.len() as u8][..], &handshake].concat();
    let mut stream = TcpStream::connect(server.webhook).await.unwrap();
    stream.write_all(&record).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    assert_eq!((answer.first(), &answer[5..]), (Some(&21), &[2, 70][..]), "a fatal alert, not a ServerHello");
    assert!(server.allows("nginx:v1.2.3").await);
}

#[tokio::test]
async fn idle_connections_do_not_keep_probes_from_the_health_port() {
    let server = Setup::default().start();
    let mut held = Vec::new();
    for _ in 0..300 {
        held.push(TcpStream::connect(server.health).await.unwrap());
    }
    let began = Instant::now();
    assert_eq!(server.get("/livez").await.0, StatusCode::OK);
    within(began, Duration::from_secs(2));
    drop(held);
}

fn with_version(server: &Server, version: &'static rustls::SupportedProtocolVersion) -> ClientConfig {
    let any = server.tls(&[]);
    let provider = std::sync::Arc::clone(any.crypto_provider());
    let mut roots = rustls::RootCertStore::empty();
    let authority = server.authority.pem().as_bytes();
    roots.add(rustls::pki_types::pem::PemObject::from_pem_slice(authority).unwrap()).unwrap();
    let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(&[version]).unwrap();
    builder.with_root_certificates(roots).with_no_client_auth()
}

#[tokio::test]
async fn a_handshake_that_stalls_is_given_up() {
    let bound = Duration::from_millis(500);
    let server = Setup::config("timeouts: {handshake: 500ms}\n").start();
    let mut stream = TcpStream::connect(server.webhook).await.unwrap();
    let began = Instant::now();
    assert_eq!(rest(&mut stream).await, "");
    within(began, bound);
    until("it is counted", async || {
        let name = "tagwarden_rejected_requests_total{reason=\"tls-handshake-time\"}";
        (server.metric(name).await? >= 1.0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn heads_that_come_byte_by_byte_are_given_up() {
    let bound = Duration::from_millis(500);
    let server = Setup::config("timeouts: {header: 500ms}\n").start();
    // The second one has had an answer before, and drips into a kept connection.
    for answered in [false, true] {
        let mut stream = server.raw().await;
        if answered {
            stream.write_all(request("nginx:v1.2.3").as_bytes()).await.unwrap();
            let mut first = [0; 12];
            stream.read_exact(&mut first).await.unwrap();
            assert_eq!(&first, b"HTTP/1.1 200");
        }
        let began = Instant::now();
        let (mut reader, mut writer) = tokio::io::split(stream);
        let drip = async {
            let mut ticks = tokio::time::interval(bound / 10);
            for byte in b"POST /validate HTTP/1.1\r\nhost: x\r\n".iter().chain([b'a'; 1000].iter()) {
                ticks.tick().await;
                if writer.write_all(&[*byte]).await.is_err() {
                    return;
                }
            }
        };
        tokio::select! {
            _ = rest(&mut reader) => {}
            () = drip => {}
        }
        within(began, bound);
    }
}

#[tokio::test]
async fn a_client_that_closes_its_half_still_gets_its_answer() {
    let server = Setup::default().start();
    let mut stream = server.raw().await;
    stream.write_all(request("nginx:latest").as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    let answer = rest(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("TW120"), "{answer}");
}

#[tokio::test]
async fn a_client_that_goes_away_in_the_middle_costs_nothing() {
    let server = Setup::config("limits: {requests: 1}\n").start();
    for cut in [30, 120, 300] {
        let mut stream = server.raw().await;
        stream.write_all(&request("nginx:latest").as_bytes()[..cut]).await.unwrap();
        drop(stream);
    }
    until("every slot is free", async || {
        let open = server.metric("tagwarden_in_flight_requests").await?;
        (open == 0.0 && server.allows("nginx:v1.2.3").await).then_some(())
    })
    .await;
}

#[tokio::test]
async fn garbage_before_and_after_tls_ends_that_connection_only() {
    let server = Setup::default().start();
    let long = vec![b'x'; 200_000];
    let many = format!("POST /validate HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(1000));
    let pieces: [&[u8]; 6] = [
        b"GET /validate HTTP/1.1\r\nhost: x\r\n\r\n",
        &[0; 64],
        &[0x16, 0x03, 0x01, 0xff, 0xff, 0x01],
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff\xff\xff\xff\xff\xff\xff",
        &long,
        many.as_bytes(),
    ];
    for garbage in pieces {
        let mut plain = TcpStream::connect(server.webhook).await.unwrap();
        // The server may close before it has all.
        let _ = plain.write_all(garbage).await;
        let _ = plain.shutdown().await;
        let _ = rest(&mut plain).await;

        let mut inside = server.raw().await;
        let _ = inside.write_all(garbage).await;
        let _ = inside.shutdown().await;
        let said = rest(&mut inside).await;
        assert!(!said.contains("HTTP/1.1 200"), "{said}");
    }
    let mut h2 = tls_connect(server.webhook, server.tls(&[b"h2"])).await.unwrap();
    let _ = h2.write_all(&long).await;
    let _ = rest(&mut h2).await;
    assert!(server.allows("nginx:v1.2.3").await);
}

#[tokio::test]
async fn connections_past_the_limit_wait_for_a_free_place() {
    let server = Setup::config("limits: {connections: 2}\n").start();
    let first = server.http1().await;
    let second = server.http1().await;
    let mut waiting = std::pin::pin!(server.http1());
    until("both places are taken", async || (server.metric("tagwarden_connections").await? >= 2.0).then_some(())).await;
    assert!(futures_util::poll!(waiting.as_mut()).is_pending());
    drop((first, second));
    let response = waiting.await.review("/validate", &pod_review("shop", "nginx:v1.2.3")).await;
    assert_eq!(response["allowed"], true);
}

#[tokio::test]
async fn row_59_old_connections_are_ended_without_losing_a_request() {
    let server = Setup::config("maxConnectionAge: 1s\n").start();
    for protocol in PROTOCOLS {
        let mut connection = server.connection(protocol).await;
        let mut last_said = false;
        until("the connection ends", async || {
            // HTTP/2 may end between a look and a request; what was sent is answered in both.
            if last_said || (matches!(protocol, Protocol::Http2) && connection.is_closed()) {
                return Some(());
            }
            let answer = connection.post("/validate", pod_review("shop", "nginx:v1.2.3").to_string()).await;
            match answer {
                Ok(answer) => {
                    assert_eq!(answer.status(), StatusCode::OK);
                    last_said = answer.headers().get("connection").is_some_and(|value| value == "close");
                    None
                }
                Err(error) => {
                    assert!(matches!(protocol, Protocol::Http2) && connection.is_closed(), "{protocol:?} {error}");
                    Some(())
                }
            }
        })
        .await;
    }
}

#[tokio::test]
async fn row_66_clients_without_the_right_certificate_learn_nothing() {
    let clients = Authority::new("clients", now(), 86_400).unwrap();
    let strangers = Authority::new("strangers", now(), 86_400).unwrap();
    let mut setup = Setup::config("tls: {clientCA: clients.crt, clientNames: [kube-apiserver]}\n");
    setup.files.push(("clients.crt", clients.pem().to_owned()));
    let server = setup.start();
    let identity = |authority: &Authority, name: &str| authority.client(name, now(), 86_400).unwrap();
    for protocol in [&b"h2"[..], b"http/1.1"] {
        let right = identity(&clients, "kube-apiserver");
        let config = client_tls(server.authority.pem(), Some(&right), &[protocol]);
        let mut connection = Connection::open(server.webhook, config).await.unwrap();
        assert_eq!(connection.review("/validate", &pod_review("shop", "nginx:latest")).await["allowed"], false);

        let other = identity(&clients, "somebody");
        let config = client_tls(server.authority.pem(), Some(&other), &[protocol]);
        let mut connection = Connection::open(server.webhook, config).await.unwrap();
        let answer = connection.post("/validate", pod_review("shop", "nginx:latest").to_string()).await.unwrap();
        assert_eq!(answer.status(), StatusCode::FORBIDDEN);
        let said = String::from_utf8(answer.body().to_vec()).unwrap();
        assert!(said.contains("certificate") && !said.contains("TW1") && !said.contains("releases"), "{said}");

        let forged = identity(&strangers, "kube-apiserver");
        for identity in [None, Some(&forged)] {
            let config = client_tls(server.authority.pem(), identity, &[protocol]);
            // TLS 1.3 tells a client only with its first read that its certificate was refused.
            let answer = async {
                let mut connection = Connection::open(server.webhook, config).await.ok()?;
                connection.send(post("/validate", pod_review("shop", "nginx:latest").to_string())).await.ok()
            };
            assert!(answer.await.is_none(), "a stranger got an answer");
        }
    }
}
