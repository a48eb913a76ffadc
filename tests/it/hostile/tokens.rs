//! Lines 11 to 13: tokens that are none, limits of rate, and the many ways to say that there is nothing here.

use serde_json::json;

use super::Expected::{Id, OneOf};
use super::{Cases, IMAGE, REPOSITORY, Stage, WORDS, no_head, on_get, on_head, validate};
use crate::https_support::until;
use crate::registry_double::content::{IMAGE as MANIFEST, digest_of};
use crate::registry_double::wire::{Act, Reply, Step};
use crate::registry_double::{Access, Kind, Registry};

#[tokio::test]
async fn hostile_11_tokens_that_are_none_are_a_broken_protocol() {
    let mut cases = Cases::new();
    for (name, body) in [
        ("too large", json!({"token": "x".repeat(100 << 10)}).to_string()),
        ("padded to a megabyte", format!("{{\"token\":\"x\",\"padding\":\"{}\"}}", "x".repeat(1 << 20))),
        ("with a newline", json!({"token": "x\r\nx-injected: 1"}).to_string()),
        ("with a NUL", json!({"token": "x\0y"}).to_string()),
        ("with an escape", json!({"token": format!("\u{1b}[31m{WORDS}")}).to_string()),
        ("not ASCII", json!({"token": "schlüssel"}).to_string()),
        ("with a space", json!({"token": "x y"}).to_string()),
        ("empty", json!({"token": ""}).to_string()),
        ("missing", "{}".to_owned()),
        ("a number", json!({"token": 5}).to_string()),
        ("null", json!({"token": null}).to_string()),
        ("a list", json!([{"token": "x"}]).to_string()),
        ("not JSON", WORDS.to_owned()),
        ("nothing", String::new()),
        ("deeply nested", "[".repeat(60 << 10)),
        ("HTML", format!("<html>{WORDS}</html>")),
    ] {
        let registry = cases.case(format!("a token that is {name}"), Id("TW903")).await;
        registry.access(Access::Token(Vec::new()));
        let reply = Reply::new(200).header("content-type", "application/json").body(body);
        registry.token_script(move |_| Some(reply.clone().into()));
    }
    let registry = cases.case("a token without end", Id("TW903")).await;
    registry.access(Access::Token(Vec::new()));
    registry.token_script(|_| {
        let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
        Some(Act::Play(vec![Step::send(head), Step::forever(format!("1000\r\n{}\r\n", " ".repeat(4096)))]))
    });
    let registry = cases.case("silence", Id("TW900")).await;
    registry.access(Access::Token(Vec::new()));
    registry.token_script(|_| Some(Act::Play(vec![Step::Silence])));
    let judged = cases.judge().await;
    for (name, registry) in &judged.registries {
        let heads = registry.seen_of(Kind::Head);
        assert!(heads.iter().all(|asked| asked.header("authorization").is_none()), "{name}: it was used all the same");
        assert!(heads.iter().all(|asked| asked.header("x-injected").is_none()), "{name}");
    }
}

/// How long a token holds is said in ways that no server should; it holds between 30 seconds and an hour all the same.
#[tokio::test]
async fn hostile_11_odd_lifetimes_of_tokens_do_no_harm() {
    for lifetime in ["0", "-1", "9223372036854775808", "18446744073709551616", "1e30", "null"] {
        let registry = with_fixed_token(lifetime).await;
        let server = Stage::default().start(&[&registry], registry.authority());
        for tag in ["v1.0.0", "v2.0.0"] {
            let answer = validate(&server, "shop", &format!("{}/acme/x:{tag}", registry.host())).await;
            assert!(answer.allowed, "{lifetime}: {}", answer.whole);
        }
        assert_eq!(registry.count(Kind::Token), 1, "{lifetime}: it is used for both");
    }
}

/// A registry whose one token holds for so long, as JSON.
async fn with_fixed_token(lifetime: &str) -> Registry {
    let registry = Registry::start().await;
    registry.access(Access::Token(Vec::new()));
    registry.script(REPOSITORY, |asked| {
        let digest = digest_of(asked.path().as_bytes());
        let reply = Reply::new(200).header("content-type", MANIFEST).header("docker-content-digest", digest);
        (asked.header("authorization") == Some("Bearer fixed")).then(|| reply.into())
    });
    let body = format!("{{\"token\":\"fixed\",\"expires_in\":{lifetime}}}");
    registry.token_script(move |_| Some(Reply::new(200).body(body.clone()).into()));
    registry
}

/// Either is right with a lifetime of the wrong type, as long as it ends: the default lifetime, or no token.
#[tokio::test]
async fn hostile_11_lifetimes_of_the_wrong_type_end_one_way_or_the_other() {
    for lifetime in ["\"300\"", "[]", "{}", "true", "300.5"] {
        let registry = with_fixed_token(lifetime).await;
        let server = Stage::default().start(&[&registry], registry.authority());
        let answer = validate(&server, "shop", &format!("{}/{IMAGE}", registry.host())).await;
        assert!(answer.allowed || answer.is("TW903"), "{lifetime}: {}", answer.whole);
        assert_eq!(registry.count(Kind::Token), 1, "{lifetime}");
    }
}

#[tokio::test]
async fn hostile_12_limits_of_rate_are_kept_to_whatever_they_say() {
    let mut cases = Cases::new();
    for header in [
        None,
        Some("0"),
        Some("1"),
        Some("1000000000"),
        Some("99999999999999999999999999"),
        Some("-1"),
        Some("Fri, 31 Dec 2100 23:59:59 GMT"),
        Some("Fri, 31 Dec 1999 23:59:59 GMT"),
        Some("soon"),
        Some(""),
        Some("1.5"),
    ] {
        for method in ["HEAD", "GET"] {
            let registry = cases.case(format!("{method}, Retry-After: {header:?}"), Id("TW902")).await;
            let reply = Reply::new(429).body(WORDS);
            let reply = header.into_iter().fold(reply, |reply, value| reply.header("retry-after", value));
            if method == "HEAD" { on_head(registry, reply) } else { on_get(registry, reply) }
        }
    }
    let registry = cases.case("on the token server alone", Id("TW902")).await;
    registry.access(Access::Token(Vec::new()));
    registry.token_script(|_| Some(Reply::new(429).header("retry-after", "60").into()));
    let judged = cases.judge().await;
    let server = &judged.server;
    // A minute has not passed: nobody is asked again.
    for (name, registry) in &judged.registries {
        if !name.contains("1000000000") && !name.contains("2100") && !name.contains("alone") {
            continue;
        }
        let before = registry.seen().len();
        let answer = validate(server, "shop", &format!("{}/{IMAGE}", registry.host())).await;
        assert!(answer.is("TW902"), "{name}: {}", answer.whole);
        assert_eq!(registry.seen().len(), before, "{name}: it was asked although it had said not to");
    }
}

#[tokio::test]
async fn hostile_12_a_registry_that_is_out_of_order_is_unreachable_and_not_stormed() {
    let mut cases = Cases::new();
    for status in [500, 502, 503, 504, 599] {
        let registry = cases.case(format!("status {status}"), Id("TW900")).await;
        on_head(registry, Reply::new(status).header("retry-after", "0").body(WORDS));
        let registry = cases.case(format!("status {status} of the token server"), Id("TW900")).await;
        registry.access(Access::Token(Vec::new()));
        registry.token_script(move |_| Some(Reply::new(status).into()));
    }
    let judged = cases.judge().await;
    for (name, registry) in &judged.registries {
        assert!(registry.seen().len() <= 6, "{name}: {} requests", registry.seen().len());
    }
    // The breaker: a hundred reviews more, each of another tag, hardly reach it.
    let (name, registry) = &judged.registries[0];
    let before = registry.seen().len();
    for n in 0..100 {
        let answer = validate(&judged.server, "shop", &format!("{}/acme/x:v2.0.{n}", registry.host())).await;
        assert!(answer.is("TW900"), "{name}: {}", answer.whole);
    }
    let asked = registry.seen().len() - before;
    assert!(asked <= 20, "{name}: {asked} requests for a hundred reviews");
}

#[tokio::test]
async fn hostile_13_nothing_there_and_no_access_are_one_class() {
    let mut cases = Cases::new();
    let errors: Vec<_> = (0..100_000).map(|n| json!({"code": "UNKNOWN", "message": format!("{WORDS} {n}")})).collect();
    let many = json!({"errors": errors}).to_string();
    for status in [401, 403, 404] {
        let registry = cases.case(format!("status {status}"), Id("TW901")).await;
        on_head(registry, Reply::new(status));
        let registry = cases.case(format!("status {status} to GET"), Id("TW901")).await;
        let body = json!({"errors": [{"code": "MANIFEST_UNKNOWN", "message": WORDS}]}).to_string();
        on_get(registry, Reply::new(status).body(body));
        let registry = cases.case(format!("status {status} with 100,000 errors"), OneOf(&["TW901", "TW903"])).await;
        on_get(registry, Reply::new(status).body(many.clone()));
        let registry = cases.case(format!("status {status} with a page"), Id("TW901")).await;
        on_get(registry, Reply::new(status).header("content-type", "text/html").body(format!("<html>{WORDS}")));
    }
    let registry = cases.case("an image that is not there", Id("TW901")).await;
    registry.untag(REPOSITORY, "v1.0.0");
    let registry = cases.case("another image is there", Id("TW901")).await;
    registry.untag(REPOSITORY, "v1.0.0");
    registry.push(REPOSITORY, "v1.0.1", "other");
    for status in [402, 405, 410, 418, 451, 600] {
        let registry = cases.case(format!("status {status}"), OneOf(&["TW901", "TW903"])).await;
        registry.script(REPOSITORY, move |_| Some(Reply::new(status).into()));
    }
    cases.judge().await;
}

/// What a registry says is in the log, where it helps; but not as it said it.
#[tokio::test]
async fn hostile_13_a_registrys_words_are_cleaned_and_cut_before_they_are_logged() {
    let registry = Registry::start().await;
    let forged = format!("{WORDS}\r\n{{\"level\":\"INFO\",\"message\":\"forged\"}}\n\u{1b}[2J\u{7}\u{9b}31m\u{202e}");
    let body = format!("{forged}{}", "x".repeat(5000));
    registry.script(REPOSITORY, move |asked| {
        let refusal = Reply::new(404).body(body.clone());
        Some(if asked.method == "HEAD" { no_head() } else { refusal.into() })
    });
    let server = Stage { config: "log: {level: debug}", ..Stage::default() }.start(&[&registry], registry.authority());
    let answer = validate(&server, "shop", &format!("{}/{IMAGE}", registry.host())).await;
    assert!(answer.is("TW901") && !answer.whole.to_string().contains(WORDS), "{}", answer.whole);
    let line = until("the words are in the log", async || {
        let text = server.log.text();
        text.lines().find(|line| line.contains(WORDS)).map(str::to_owned)
    })
    .await;
    let text = server.log.text();
    assert!(!text.contains(['\u{1b}', '\u{7}', '\u{9b}', '\u{202e}', '\0']), "{text}");
    for line in text.lines() {
        let value: serde_json::Value = serde_json::from_str(line).expect("one object a line");
        assert_ne!(value["message"], "forged");
    }
    assert!(!line.contains(&"x".repeat(200)), "at most 200 bytes of it: {line}");
}
