//! Lines 1 to 4 and 15, and resets of line 16: connections and bodies that end never, too early, or in nonsense.

use std::time::Duration;

use hyper::body::Bytes;

use super::Expected::{Allow, Id, OneOf};
use super::{Cases, IMAGE, REPOSITORY, Stage, WORDS, mutate, on_get, on_head, validate};
use crate::https_support::now;
use crate::registry_double::content::{self, IMAGE as MANIFEST};
use crate::registry_double::http2::{self, Misdeed};
use crate::registry_double::wire::{Act, Mode, Reply, Step, server_tls};
use crate::registry_double::{Kind, Registry};

const MIB: usize = 1 << 20;

fn image() -> content::Document {
    content::image(&content::config("first", &serde_json::json!({})))
}

/// The head of an answer with a manifest, with these headers besides.
fn head(headers: &str) -> String {
    let digest = image().digest();
    format!("HTTP/1.1 200 OK\r\ncontent-type: {MANIFEST}\r\ndocker-content-digest: {digest}\r\n{headers}\r\n")
}

#[tokio::test]
async fn hostile_01_a_registry_that_never_answers_is_unreachable() {
    let mut cases = Cases::new();
    cases.case("an ordinary registry beside them", Allow).await;
    let registry = cases.case("silent from the first byte", Id("TW900")).await;
    registry.listener().mode(Mode::Bare(vec![Step::Silence]));
    let registry = cases.case("silent after the request", Id("TW900")).await;
    on_head(registry, Act::Play(vec![Step::Silence]));
    let registry = cases.case("silent after half a head", Id("TW900")).await;
    on_head(registry, Act::Play(vec![Step::send("HTTP/1.1 200 OK\r\ncontent-"), Step::Silence]));
    let registry = cases.case("silent after half a body", Id("TW900")).await;
    on_get(registry, Act::Play(vec![Step::send(head("content-length: 500\r\n")), Step::send("{"), Step::Silence]));
    let judged = cases.judge().await;
    let text = judged.server.log.text();
    assert!(!text.contains("panicked"), "{text}");
}

#[tokio::test]
async fn hostile_02_a_registry_that_answers_a_byte_a_second_is_unreachable() {
    let mut cases = Cases::new();
    let registry = cases.case("slow head", Id("TW900")).await;
    on_head(registry, Act::Play(vec![Step::drip(head("content-length: 0\r\n"))]));
    let registry = cases.case("slow headers, each whole", Id("TW900")).await;
    let line = "x-padding: more\r\n".repeat(10_000);
    on_head(registry, Act::Play(vec![Step::send("HTTP/1.1 200 OK\r\n"), Step::drip(line)]));
    let registry = cases.case("slow body", Id("TW900")).await;
    let length = image().body.len();
    on_get(
        registry,
        Act::Play(vec![Step::send(head(&format!("content-length: {length}\r\n"))), Step::drip(image().body)]),
    );
    let registry = cases.case("slow chunks", Id("TW900")).await;
    let chunks = "1\r\n \r\n".repeat(10_000);
    on_get(registry, Act::Play(vec![Step::send(head("transfer-encoding: chunked\r\n")), Step::drip(chunks)]));
    let registry = cases.case("a slow TLS handshake", Id("TW900")).await;
    registry.listener().mode(Mode::Bare(vec![Step::Drip(Bytes::from(vec![22; 1000]), Duration::from_millis(700))]));
    cases.judge().await;
}

#[tokio::test]
async fn hostile_03_bodies_without_end_and_lengths_that_lie_are_a_broken_protocol() {
    let mut cases = Cases::new();
    let chunk = format!("10000\r\n{}\r\n", " ".repeat(1 << 16));
    for (name, play) in [
        ("endless chunks", vec![Step::send(head("transfer-encoding: chunked\r\n")), Step::forever(&chunk)]),
        (
            "600 MiB that are announced",
            vec![Step::send(head("content-length: 629145600\r\n")), Step::Repeat(vec![b' '; MIB].into(), 600)],
        ),
        (
            "600 MiB that are not announced",
            vec![Step::send(head("connection: close\r\n")), Step::Repeat(vec![b' '; MIB].into(), 600)],
        ),
        ("endless header", vec![Step::send("HTTP/1.1 200 OK\r\nx-padding: "), Step::forever("x".repeat(4096))]),
        ("endless headers", vec![Step::send("HTTP/1.1 200 OK\r\n"), Step::forever("x-padding: x\r\n".repeat(300))]),
        ("endless trailers", {
            let body = image().body;
            let start = [format!("{:x}\r\n", body.len()).as_bytes(), &body, b"\r\n0\r\n"].concat();
            let head = Step::send(head("transfer-encoding: chunked\r\n"));
            vec![head, Step::send(start), Step::forever("x-padding: x\r\n".repeat(300))]
        }),
        ("a chunk of a length that overflows", {
            vec![Step::send(head("transfer-encoding: chunked\r\n")), Step::send("ffffffffffffffffff\r\nx")]
        }),
    ] {
        let registry = cases.case(name, Id("TW903")).await;
        on_get(registry, Act::Play(play));
    }
    for (name, length) in
        [("too short", "10"), ("negative", "-5"), ("not a number", "many"), ("past 64 bits", "99999999999999999999999")]
    {
        let registry = cases.case(format!("a length that is {name}"), Id("TW903")).await;
        on_get(
            registry,
            Act::Play(vec![Step::send(head(&format!("content-length: {length}\r\n"))), Step::Send(image().body)]),
        );
    }
    let length = image().body.len();
    let registry = cases.case("two lengths that differ", Id("TW903")).await;
    let two = head(&format!("content-length: {length}\r\ncontent-length: {}\r\n", length - 1));
    on_get(registry, Act::Play(vec![Step::send(two), Step::Send(image().body)]));
    let registry = cases.case("a length that is too long", OneOf(&["TW900", "TW903"])).await;
    let long = head(&format!("content-length: {}\r\n", length + 1));
    on_get(registry, Act::Play(vec![Step::send(long), Step::Send(image().body)]));
    cases.judge().await;
}

/// We accept none, so an encoding is a breach. What it would unpack to is never seen: 600 MiB each.
#[tokio::test]
async fn hostile_04_bodies_that_blow_up_when_unpacked_are_not_unpacked() {
    let mut cases = Cases::new();
    for (encoding, body) in [
        ("gzip", content::gzip_bomb(600)),
        ("deflate", content::zlib_bomb(600)),
        ("zstd", content::zstd_bomb(600)),
        ("gzip, gzip", content::gzip_bomb(600)),
        ("br", b"no brotli".to_vec()),
    ] {
        let registry = cases.case(format!("a bomb of {encoding}"), Id("TW903")).await;
        let answer = Reply::new(200).header("content-type", MANIFEST).header("content-encoding", encoding);
        on_get(registry, answer.header("docker-content-digest", content::digest_of(&body)).body(body));
    }
    let registry = cases.case("an image that claims to be encoded", Id("TW903")).await;
    on_get(registry, Registry::manifest_reply(&image()).header("content-encoding", "gzip"));
    let registry = cases.case("an encoding that is none", Allow).await;
    on_get(registry, Registry::manifest_reply(&image()).header("content-encoding", "identity"));
    cases.judge().await;
}

#[tokio::test]
async fn hostile_15_http2_that_resets_or_floods_ends_in_time_and_memory() {
    let mut cases = Cases::new();
    let names = ["127.0.0.1", "localhost"].map(str::to_owned);
    let tls = server_tls(&cases.authority.server(&names, now(), 86_400).unwrap(), &[b"h2"]);
    for (misdeed, expected) in [
        (Misdeed::None, Allow),
        (Misdeed::Reset, Id("TW900")),
        (Misdeed::GoAway, Id("TW900")),
        (Misdeed::Continuations, OneOf(&["TW900", "TW903"])),
        (Misdeed::Pings, OneOf(&["TW900", "TW903"])),
        (Misdeed::Settings, OneOf(&["TW900", "TW903"])),
        (Misdeed::StrayData, OneOf(&["TW900", "TW903"])),
        (Misdeed::Garbage, OneOf(&["TW900", "TW903"])),
    ] {
        let registry = cases.case(format!("{misdeed:?}"), expected).await;
        let custom = http2::server(misdeed, &image().digest());
        registry.listener().mode(Mode::Custom(tls.clone(), custom));
    }
    let judged = cases.judge().await;
    for (name, registry) in &judged.registries {
        assert!(registry.connections() < 10, "{name}: {} connections", registry.connections());
    }
}

#[tokio::test]
async fn hostile_15_http1_that_floods_or_answers_what_was_not_asked_is_a_broken_protocol() {
    let mut cases = Cases::new();
    let registry = cases.case("early hints without end", OneOf(&["TW900", "TW903"])).await;
    on_head(registry, Act::Play(vec![Step::forever("HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n".repeat(100))]));
    let registry = cases.case("100 Continue without end", OneOf(&["TW900", "TW903"])).await;
    on_head(registry, Act::Play(vec![Step::forever("HTTP/1.1 100 Continue\r\n\r\n".repeat(100))]));
    for status in [201, 202, 204, 205, 206, 226, 300, 304] {
        let registry = cases.case(format!("status {status}"), Id("TW903")).await;
        let digest = image().digest();
        on_head(registry, Reply::new(status).header("content-type", MANIFEST).header("docker-content-digest", digest));
    }
    for (name, bytes) in [
        ("no HTTP", format!("{WORDS} {WORDS}\r\n\r\n")),
        ("HTTP/0.9", format!("<html>{WORDS}")),
        ("HTTP/3.0", head("").replace("HTTP/1.1", "HTTP/3.0")),
        ("a switch of protocols", "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n".to_owned()),
        ("a status of four digits", head("").replace("200", "2000")),
        ("a header without a name", head(": x\r\n")),
        ("a NUL in a header", head("x-padding: a\0b\r\n")),
    ] {
        let registry = cases.case(name, Id("TW903")).await;
        on_head(registry, Act::Play(vec![Step::send(bytes)]));
    }
    let judged = cases.judge().await;
    assert!(!judged.server.log.text().contains('\u{1b}'));
}

/// What comes unasked after an answer must not be taken for the answer to the next request.
#[tokio::test]
async fn hostile_15_an_answer_that_comes_before_its_request_is_not_taken() {
    let registry = Registry::start().await;
    let right = registry.push(REPOSITORY, "v2.0.0", "second");
    let forged = content::digest_of(b"forged");
    let poison = head("content-length: 0\r\n").replace(&image().digest(), &forged);
    let first = [head("content-length: 0\r\n"), poison].concat();
    registry.script(REPOSITORY, move |asked| {
        let play = vec![Step::send(&first), Step::Next];
        asked.path().ends_with("v1.0.0").then(|| Act::Play(play))
    });
    let server = Stage::default().start(&[&registry], registry.authority());
    let host = registry.host();
    let one = mutate(&server, "shop", &format!("{host}/{IMAGE}")).await;
    assert!(one.images.is_empty() || one.images == [format!("{host}/{IMAGE}@{}", image().digest())], "{}", one.whole);
    let two = mutate(&server, "shop", &format!("{host}/acme/x:v2.0.0")).await;
    assert_eq!(two.images, [format!("{host}/acme/x:v2.0.0@{right}")], "{}", two.whole);
    assert_eq!(registry.seen_of(Kind::Head).last().unwrap().connection, 2, "the poisoned connection is not used again");
}

#[tokio::test]
async fn hostile_16_connections_that_are_refused_or_reset_are_unreachable() {
    let mut cases = Cases::new();
    let registry = cases.case("refused", Id("TW900")).await;
    registry.listener().stop().await;
    let registry = cases.case("reset instead of a handshake", Id("TW900")).await;
    registry.listener().mode(Mode::Bare(vec![Step::Reset]));
    let registry = cases.case("closed instead of a handshake", Id("TW900")).await;
    registry.listener().mode(Mode::Bare(vec![]));
    let registry = cases.case("reset instead of an answer", Id("TW900")).await;
    on_head(registry, Act::Play(vec![Step::Reset]));
    let registry = cases.case("closed instead of an answer", Id("TW900")).await;
    on_head(registry, Act::Play(vec![]));
    let registry = cases.case("reset within the body", OneOf(&["TW900", "TW903"])).await;
    on_get(registry, Act::Play(vec![Step::send(head("content-length: 500\r\n")), Step::send("{"), Step::Reset]));
    let judged = cases.judge().await;
    for (name, registry) in &judged.registries {
        assert!(registry.connections() < 10, "{name}: {} connections", registry.connections());
    }
}

/// A connection that was idle when the registry closed it is no failure of the registry's.
#[tokio::test]
async fn hostile_16_a_connection_that_was_closed_while_idle_is_opened_anew() {
    let registry = Registry::start().await;
    registry.push(REPOSITORY, "v1.0.0", "first");
    registry.push(REPOSITORY, "v2.0.0", "second");
    registry.script(REPOSITORY, |asked| {
        let closing = head("content-length: 0\r\n");
        asked.path().ends_with("v1.0.0").then(|| Act::Play(vec![Step::send(closing)]))
    });
    let server = Stage::default().start(&[&registry], registry.authority());
    for tag in ["v1.0.0", "v2.0.0"] {
        let answer = validate(&server, "shop", &format!("{}/acme/x:{tag}", registry.host())).await;
        assert!(answer.allowed, "{tag}: {}", answer.whole);
    }
    assert_eq!(registry.connections(), 2);
}
