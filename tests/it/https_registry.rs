//! The server and its registries: deadlines, outages, what is asked how often, and whom it never asks.

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use crate::hostile::{Answered, IMAGE, PATIENT, REPOSITORY, Stage, admits, mutate, on_head, policy, send, validate};
use crate::https_support::{Connection, Server, pod_review, until};
use crate::registry_double::wire::{Act, Mode, Reply, Step};
use crate::registry_double::{Access, Kind, Registry, content};

const PINNED: &str = "tags: [release], pin: pods";
/// Remembered for a moment, so that a test need not wait for long.
const FORGETFUL: &str = "cache: {immutableTtl: 100ms, floatingTtl: 100ms, staleFor: ";

async fn one_image() -> (Registry, String) {
    let registry = Registry::start().await;
    registry.push(REPOSITORY, "v1.0.0", "first");
    let image = format!("{}/{IMAGE}", registry.host());
    (registry, image)
}

fn start(registry: &Registry, rule: &str, config: &str) -> Server {
    Stage { rule, config, ..Stage::default() }.start(&[registry], registry.authority())
}

/// Asks until the answer fits: what is remembered ages meanwhile.
async fn validate_until(server: &Server, image: &str, what: &str, fits: impl Fn(&Answered) -> bool) -> Answered {
    until(what, async || {
        let answer = validate(server, "shop", image).await;
        fits(&answer).then_some(answer)
    })
    .await
}

#[tokio::test]
async fn row_19_at_the_deadline_the_rule_decides_and_the_connection_lives() {
    for (rule, allowed, warned) in [
        ("tags: [release], pin: pods", false, false),
        ("tags: [release], pin: pods, onUnresolved: deny", false, false),
        ("tags: [release], pin: pods, onUnresolved: warn", true, true),
        ("tags: [release], pin: pods, onUnresolved: allow", true, false),
    ] {
        let (registry, image) = one_image().await;
        on_head(&registry, Act::Play(vec![Step::Silence]));
        // The registry would be waited for longer than the review has.
        let server = start(&registry, rule, "timeouts: {connect: 20s, request: 20s}");
        let mut connection = server.http1().await;
        let began = Instant::now();
        let answer = send(&mut connection, "/validate", &pod_review("shop", &image), Duration::from_secs(2)).await;
        assert!(began.elapsed() >= Duration::from_millis(1400), "not before its own deadline: {:?}", began.elapsed());
        assert_eq!((answer.allowed, !answer.warnings.is_empty()), (allowed, warned), "{rule}: {}", answer.whole);
        if !allowed {
            assert!(answer.is("TW900"), "{}", answer.whole);
            let message = answer.whole["status"]["message"].as_str().unwrap();
            assert!(message.starts_with("tagwarden could not decide on Pod shop/x: "), "{message}");
        }
        let good = pod_review("shop", &image.replace(IMAGE, "acme/x:latest"));
        let answer = send(&mut connection, "/validate", &good, PATIENT).await;
        assert!(answer.is("TW120"), "the same connection serves the next: {}", answer.whole);
    }
}

/// An index of two images with these versions.
fn versions(registry: &Registry, tag: &str, versions: [&str; 2]) {
    let label = "org.opencontainers.image.version";
    let configs = versions.map(|version| content::config(version, &json!({ label: version })));
    let images = configs.each_ref().map(content::image);
    let index = content::index(&images);
    configs.iter().for_each(|config| registry.add_blob(REPOSITORY, config));
    images.iter().chain([&index]).for_each(|document| registry.add(REPOSITORY, document));
    registry.tag(REPOSITORY, tag, &index.digest());
}

#[tokio::test]
async fn what_an_image_says_of_itself_is_asked_once_for_each_digest() {
    let (registry, image) = one_image().await;
    let server = start(&registry, "version: match", "cache: {immutableTtl: 1ms, staleFor: 0s}");
    versions(&registry, "v2.0.0", ["2.0.0", "v2.0.0"]);
    versions(&registry, "v3.0.0", ["3.0.0", "3.0.1"]);
    let good = image.replace("v1.0.0", "v2.0.0");
    admits(&server, &good).await;
    let blobs = || registry.count(Kind::Blob);
    assert_eq!(blobs(), 2, "the configuration of each platform");
    admits(&server, &good).await;
    assert_eq!(blobs(), 2, "the tag was asked for again, and what its digest says was not");
    let bad = validate(&server, "shop", &image.replace("v1.0.0", "v3.0.0")).await;
    assert!(bad.is("TW402"), "{}", bad.whole);
    let message = bad.whole["status"]["message"].as_str().unwrap();
    let told = "on linux/arm64: the label org.opencontainers.image.version is '3.0.1', and the tag is v3.0.0";
    assert!(message.contains(told), "{message}");
}

#[tokio::test]
async fn row_61_while_the_registry_fails_the_last_answer_serves_with_a_warning() {
    let (mut registry, image) = one_image().await;
    let server = start(&registry, PINNED, &format!("{FORGETFUL}1h}}"));
    let fresh = mutate(&server, "shop", &image).await;
    assert_eq!((fresh.images.len(), fresh.warnings.len()), (1, 0), "{}", fresh.whole);

    registry.listener().stop().await;
    let stale = |answer: &Answered| answer.allowed && !answer.warnings.is_empty();
    let answer = validate_until(&server, &image, "a warning", stale).await;
    assert!(answer.warnings[0].contains(REPOSITORY), "it says of which image: {:?}", answer.warnings);
    let answer = mutate(&server, "shop", &image).await;
    assert_eq!(answer.images, fresh.images, "the same pin");
    let unseen = validate(&server, "shop", &image.replace("v1.0.0", "v1.0.1")).await;
    assert!(unseen.is("TW900"), "what was never seen is not known: {}", unseen.whole);

    // Silent instead of refusing: the same, and no review takes longer than it may.
    registry.listener().mode(Mode::Bare(vec![Step::Silence]));
    registry.listener().resume().await;
    let answer = validate(&server, "shop", &image).await;
    assert!(stale(&answer), "{}", answer.whole);

    // And when it is back, all is as before.
    let names = ["127.0.0.1".to_owned()];
    let pair = registry.authority().server(&names, crate::https_support::now(), 86_400).unwrap();
    registry.listener().mode(Mode::Tls(crate::registry_double::wire::server_tls(&pair, &[b"http/1.1"])));
    registry.listener().resume().await;
    validate_until(&server, &image, "no warning", |answer| answer.allowed && answer.warnings.is_empty()).await;
}

#[tokio::test]
async fn row_61_past_its_time_the_last_answer_does_not_serve() {
    for (config, serves) in [("1h}", true), ("0s}", false), ("200ms}", false)] {
        let (mut registry, image) = one_image().await;
        let server = start(&registry, PINNED, &format!("{FORGETFUL}{config}"));
        admits(&server, &image).await;
        registry.listener().stop().await;
        let answer = if serves {
            validate_until(&server, &image, "a warning", |answer| !answer.warnings.is_empty()).await
        } else {
            validate_until(&server, &image, "a refusal", |answer| !answer.allowed).await
        };
        assert!(answer.allowed == serves && (serves || answer.is("TW900")), "{config}: {}", answer.whole);
    }
}

/// What the registry says is no outage: an image that it has no more is not served from memory.
#[tokio::test]
async fn row_61_an_answer_is_no_outage() {
    for status in [404, 401, 403] {
        let (registry, image) = one_image().await;
        let server = start(&registry, PINNED, &format!("{FORGETFUL}1h}}"));
        admits(&server, &image).await;
        on_head(&registry, Reply::new(status));
        let answer = validate_until(&server, &image, "a refusal", |answer| !answer.allowed).await;
        assert!(answer.is("TW901"), "{status}: {}", answer.whole);
        registry.behave(REPOSITORY);
        validate_until(&server, &image, "it is let in again", |answer| answer.allowed).await;
    }
}

#[tokio::test]
async fn row_64_a_tag_and_a_digest_must_agree_by_what_the_registry_says_now() {
    let (registry, image) = one_image().await;
    let first = registry.push_index(REPOSITORY, "v1.0.0", "first");
    let second = registry.push_index(REPOSITORY, "v2.0.0", "second");
    let server = start(&registry, PINNED, "");
    let pinned = mutate(&server, "shop", &image).await;
    assert_eq!(pinned.images, [format!("{image}@{first}")], "the index, not an image of it");
    admits(&server, &format!("{image}@{first}")).await;
    let answer = validate(&server, "shop", &format!("{image}@{second}")).await;
    assert!(answer.is("TW200"), "{}", answer.whole);
    // What is remembered is not what a refusal rests on: the new pair is good at once.
    registry.tag(REPOSITORY, "v1.0.0", &second);
    let answer = validate(&server, "shop", &format!("{image}@{second}")).await;
    assert!(answer.allowed, "{}", answer.whole);
    let answer = validate(&server, "shop", &format!("{image}@{first}")).await;
    assert!(answer.is("TW200"), "{}", answer.whole);
}

/// Sends so many reviews over HTTP/2, in waves of as many streams as a connection has.
async fn flood(server: &Server, path: &str, images: &[String]) -> Vec<Answered> {
    let mut answers = Vec::new();
    for wave in images.chunks(1000) {
        let mut each = Vec::new();
        for chunk in wave.chunks(200) {
            let Connection::Http2(sender) = server.http2().await else { panic!("HTTP/2 was agreed on") };
            for image in chunk {
                let mut connection = Connection::Http2(sender.clone());
                each.push(async move { send(&mut connection, path, &pod_review("shop", image), 3 * PATIENT).await });
            }
        }
        answers.extend(futures_util::future::join_all(each).await);
    }
    answers
}

/// Room for all that a test sends at once.
const ROOM: &str = "limits: {requests: 2000, lookupsPerNamespace: 1000, lookupsPerHost: 64}";

#[tokio::test]
async fn row_62_five_thousand_equal_pods_are_one_request_and_one_token() {
    let (registry, image) = one_image().await;
    registry.access(Access::Token(Vec::new()));
    let server = start(&registry, PINNED, ROOM);
    let answers = flood(&server, "/validate", &vec![image.clone(); 5000]).await;
    assert_eq!((answers.len(), answers.iter().filter(|answer| answer.allowed).count()), (5000, 5000));
    let heads = registry.seen_of(Kind::Head);
    let challenged = heads.iter().filter(|asked| asked.header("authorization").is_none()).count();
    assert_eq!((heads.len(), challenged), (2, 1), "the challenge was not known: one 401 more");
    assert_eq!((registry.count(Kind::Token), registry.seen().len()), (1, 3));
}

#[tokio::test]
async fn row_62_with_the_challenge_known_five_thousand_equal_pods_are_one_request_and_one_token() {
    let (registry, image) = one_image().await;
    registry.push("acme/other", "v1.0.0", "other");
    registry.access(Access::Token(Vec::new()));
    let server = start(&registry, PINNED, ROOM);
    admits(&server, &image.replace("acme/x", "acme/other")).await;
    let before = registry.seen().len();
    let answers = flood(&server, "/mutate", &vec![image.clone(); 5000]).await;
    assert!(answers.iter().all(|answer| answer.images.len() == 1));
    let new: Vec<Kind> = registry.seen()[before..].iter().map(|(kind, _)| *kind).collect();
    assert_eq!(new, [Kind::Token, Kind::Head]);
}

#[tokio::test]
async fn row_62_fifty_tags_at_once_are_fifty_requests_and_one_token() {
    let (registry, image) = one_image().await;
    registry.access(Access::Token(Vec::new()));
    let tags: Vec<String> = (0..50).map(|n| format!("v2.0.{n}")).collect();
    tags.iter().for_each(|tag| drop(registry.push(REPOSITORY, tag, tag)));
    registry.push("acme/other", "v1.0.0", "other");
    let server = start(&registry, PINNED, ROOM);
    admits(&server, &image.replace("acme/x", "acme/other")).await;
    let before = registry.seen().len();
    let images: Vec<String> = tags.iter().map(|tag| image.replace("v1.0.0", tag)).collect();
    let answers = flood(&server, "/validate", &images).await;
    assert!(answers.iter().all(|answer| answer.allowed), "{:?}", answers.iter().find(|answer| !answer.allowed));
    let seen = registry.seen();
    let count = |kind| seen[before..].iter().filter(|(seen, _)| *seen == kind).count();
    assert_eq!((count(Kind::Head), count(Kind::Token), seen.len() - before), (50, 1, 51));
}

#[tokio::test]
async fn row_62_fifty_repositories_at_once_are_a_token_each_and_none_twice() {
    let (registry, image) = one_image().await;
    registry.access(Access::Token(Vec::new()));
    let names: Vec<String> = (0..50).map(|n| format!("acme/app-{n}")).collect();
    names.iter().for_each(|name| drop(registry.push(name, "v1.0.0", name)));
    let server = start(&registry, PINNED, ROOM);
    admits(&server, &image).await;
    let before = registry.seen().len();
    let images: Vec<String> = names.iter().map(|name| image.replace(REPOSITORY, name)).collect();
    let answers = flood(&server, "/validate", &images).await;
    assert!(answers.iter().all(|answer| answer.allowed), "{:?}", answers.iter().find(|answer| !answer.allowed));
    let seen = registry.seen();
    let mut scopes: Vec<_> = seen[before..].iter().filter_map(|(_, asked)| asked.query("scope")).collect();
    scopes.sort();
    scopes.dedup();
    let count = |kind| seen[before..].iter().filter(|(seen, _)| *seen == kind).count();
    assert_eq!((count(Kind::Head), count(Kind::Token), scopes.len()), (50, 50, 50));
}

/// A deployment that waits for its image must not be asked for at every retry, and must be let in soon after it is there.
#[tokio::test]
async fn row_62_that_there_is_nothing_is_remembered_for_a_moment() {
    let (registry, image) = one_image().await;
    let server = start(&registry, PINNED, "");
    let missing = image.replace("v1.0.0", "v9.0.0");
    for _ in 0..20 {
        assert!(validate(&server, "shop", &missing).await.is("TW901"));
    }
    let asked = registry.seen().len();
    assert!(asked <= 3, "{asked} requests for 20 reviews");
    registry.push(REPOSITORY, "v9.0.0", "late");
    validate_until(&server, &missing, "it is let in", |answer| answer.allowed).await;
}

#[tokio::test]
async fn row_63_facts_are_remembered_and_verdicts_are_not() {
    let (registry, image) = one_image().await;
    let server = start(&registry, PINNED, "");
    admits(&server, &image).await;
    assert_eq!(registry.seen().len(), 1);
    let host = registry.host();
    server.write("policies/p.yaml", &policy(&format!("\"{host}/**\""), "tags: [commit], pin: pods"));
    let answer = validate_until(&server, &image, "the new policy", |answer| !answer.allowed).await;
    assert!(answer.is("TW120"), "{}", answer.whole);
    server.write("policies/p.yaml", &policy(&format!("\"{host}/**\""), "tags: [release, commit], pin: pods"));
    validate_until(&server, &image, "the newest policy", |answer| answer.allowed).await;
    assert_eq!(registry.seen().len(), 1, "the digest was remembered over both");
}

#[tokio::test]
async fn row_69_nobody_is_asked_whom_no_policy_names_literally() {
    let (registry, image) = one_image().await;
    let host = registry.host();
    let config = format!("registries: [{{host: \"{host}\", ca: ca.pem, private: true}}]\n");
    let digest = format!("sha256:{}", "0".repeat(64));
    for (images, rule, allowed) in [
        ("\"**\"", "tags: [release]", false),
        ("\"registry.example.com/**\"", PINNED, false),
        ("\"*.registry.example.com/**\"", "tags: [release]", false),
    ] {
        let files = vec![("ca.pem", registry.ca().to_owned())];
        let stage = Stage { rule, ..Stage::default() };
        let server = stage.start_with(&config, images, files);
        for image in [image.clone(), format!("{image}@{digest}"), format!("{host}/acme/x:latest")] {
            for answer in [validate(&server, "shop", &image).await, mutate(&server, "shop", &image).await] {
                assert!(answer.images.is_empty(), "{images} {image}: {}", answer.whole);
            }
            assert_eq!(validate(&server, "shop", &image).await.allowed, allowed, "{images} {image}");
        }
    }
    assert_eq!(registry.connections(), 0);
}

#[tokio::test]
async fn row_69_private_addresses_are_asked_only_where_the_configuration_says_so() {
    let (registry, image) = one_image().await;
    for (keys, asked) in [("private: false", false), ("private: true", true)] {
        let stage = Stage { registry: keys, ..Stage::default() };
        let server = stage.start(&[&registry], registry.authority());
        let answer = validate(&server, "shop", &image).await;
        assert!(answer.allowed == asked && (asked || answer.is("TW900")), "{keys}: {}", answer.whole);
        assert_eq!(registry.connections() > 0, asked, "{keys}");
    }
    // A registry that the configuration does not know at all.
    let (unknown, image) = one_image().await;
    let server = Stage::default().start_with("", &format!("\"{}/**\"", unknown.host()), Vec::new());
    let answer = validate(&server, "shop", &image).await;
    assert!(answer.is("TW900"), "{}", answer.whole);
    assert_eq!(unknown.connections(), 0);
}

/// An image that some policy denies anyway is no reason to ask.
#[tokio::test]
async fn row_69_what_is_denied_anyway_is_not_asked_for() {
    let (registry, image) = one_image().await;
    let server = start(&registry, PINNED, "");
    let mut connection = server.http1().await;
    let mut review = pod_review("shop", &image);
    review["request"]["object"]["spec"]["containers"][0]["image"] = json!(image.replace("v1.0.0", "latest"));
    let answer = send(&mut connection, "/validate", &review, PATIENT).await;
    assert!(answer.is("TW120"), "{}", answer.whole);
    let answer = send(&mut connection, "/mutate", &review, PATIENT).await;
    assert!(answer.allowed && answer.images.is_empty(), "{}", answer.whole);
    assert_eq!(registry.connections(), 0);
}
