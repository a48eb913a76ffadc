//! Line 19: a thousand of everything at once.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::{MEMORY, PATIENT, REPOSITORY, Stage, on_head, peak_memory, send, validate};
use crate::https_support::{pod, review, until};
use crate::registry_double::wire::{Act, Step};
use crate::registry_double::{Access, Kind, Registry};

/// The CREATE of a Pod with these images.
pub fn pod_of(images: &[String]) -> Value {
    let mut object = pod("x");
    let containers = images.iter().enumerate().map(|(n, image)| json!({"name": format!("c{n}"), "image": image}));
    object["spec"]["containers"] = containers.collect();
    review("CREATE", "shop", &object, &Value::Null)
}

#[tokio::test]
async fn hostile_19_a_thousand_tags_at_once_are_asked_for_over_few_connections() {
    let registry = Registry::start().await;
    registry.access(Access::Token(Vec::new()));
    let images: Vec<String> = (0..1000)
        .map(|n| {
            registry.push(REPOSITORY, &format!("v1.0.{n}"), &n.to_string());
            format!("{}/{REPOSITORY}:v1.0.{n}", registry.host())
        })
        .collect();
    let server = Stage::default().start(&[&registry], registry.authority());
    let before = peak_memory(&server);
    let connection = server.http2().await;
    let crate::https_support::Connection::Http2(sender) = connection else { panic!("HTTP/2 was agreed on") };
    // Twenty reviews of fifty images each: the most that one review may ask for.
    let each = images.chunks(50).map(|chunk| {
        let mut connection = crate::https_support::Connection::Http2(sender.clone());
        async move { send(&mut connection, "/validate", &pod_of(chunk), 3 * PATIENT).await }
    });
    for answer in futures_util::future::join_all(each).await {
        assert!(answer.allowed, "{}", answer.whole);
    }
    assert_eq!(
        registry.seen_of(Kind::Head).iter().filter(|asked| asked.header("authorization").is_some()).count(),
        1000
    );
    assert_eq!(registry.count(Kind::Token), 1);
    let mut registry = registry;
    let most = registry.listener().most_open();
    assert!(most <= 64, "{most} connections at one time");
    let grown = peak_memory(&server).saturating_sub(before);
    assert!(grown <= MEMORY, "resident memory grew by {} MiB", grown >> 20);
}

#[tokio::test]
async fn hostile_19_more_lookups_than_a_review_may_have_are_refused_and_not_made() {
    let registry = Registry::start().await;
    let images: Vec<String> = (0..60)
        .map(|n| {
            registry.push(REPOSITORY, &format!("v1.0.{n}"), &n.to_string());
            format!("{}/{REPOSITORY}:v1.0.{n}", registry.host())
        })
        .collect();
    let stage = Stage { config: "limits: {lookupsPerReview: 40}", ..Stage::default() };
    let server = stage.start(&[&registry], registry.authority());
    let answer = send(&mut server.http1().await, "/validate", &pod_of(&images), PATIENT).await;
    assert!(answer.is("TW900"), "{}", answer.whole);
    assert!(registry.count(Kind::Head) <= 40, "{}", registry.count(Kind::Head));
    let answer = send(&mut server.http1().await, "/validate", &pod_of(&images[..40]), PATIENT).await;
    assert!(answer.allowed, "{}", answer.whole);
}

/// Nobody listens at any of them: a thousand clients, and not one connection that stays.
#[tokio::test]
async fn hostile_19_a_thousand_hosts_at_once_cost_little_and_do_not_starve_another() {
    let registry = Registry::start().await;
    registry.push(REPOSITORY, "v1.0.0", "first");
    let hosts: Vec<String> = (0..1000).map(|n| format!("127.77.{}.{}:9", n / 250, n % 250 + 1)).collect();
    let mut config = format!("registries:\n- {{host: \"{}\", ca: ca.pem, private: true}}\n", registry.host());
    for host in &hosts {
        config.push_str(&format!("- {{host: \"{host}\", private: true}}\n"));
    }
    let images: Vec<String> = hosts.iter().chain([&registry.host()]).map(|host| format!("\"{host}/**\"")).collect();
    let files = vec![("ca.pem", registry.ca().to_owned())];
    let server = Stage::default().start_with(&config, &images.join(", "), files);
    let before = peak_memory(&server);
    let images: Vec<String> = hosts.iter().map(|host| format!("{host}/acme/x:v1.0.0")).collect();
    let each = images.chunks(50).map(|chunk| {
        let server = &server;
        async move { send(&mut server.http1().await, "/validate", &pod_of(chunk), 3 * PATIENT).await }
    });
    let good = format!("{}/{REPOSITORY}:v1.0.0", registry.host());
    let good = validate(&server, "other", &good);
    let (answers, good) = tokio::join!(futures_util::future::join_all(each), good);
    for answer in answers {
        assert!(answer.is("TW900"), "{}", answer.whole);
    }
    assert!(good.allowed, "{}", good.whole);
    let grown = peak_memory(&server).saturating_sub(before);
    assert!(grown <= MEMORY, "resident memory grew by {} MiB", grown >> 20);
}

/// A registry that is silent holds on to what it was asked: so many lookups and no more are under way, and a registry or a
/// namespace beside it is served all the same.
#[tokio::test]
async fn hostile_19_lookups_under_way_are_bounded_by_registry_host_and_namespace() {
    for (config, keys, most) in [
        ("limits: {lookupsPerHost: 5}", "private: true", 5),
        ("limits: {lookupsPerNamespace: 4}", "private: true", 4),
        ("", "private: true, maxConcurrent: 3", 3),
        ("limits: {lookupsPerHost: 2}", "private: true, maxConcurrent: 20", 2),
    ] {
        let registry = Registry::start().await;
        let beside = Registry::start_with(Arc::clone(registry.authority())).await;
        beside.push(REPOSITORY, "v1.0.0", "first");
        on_head(&registry, Act::Play(vec![Step::Silence]));
        let config = format!("{config}\ntimeouts: {{connect: 20s, request: 20s}}");
        let stage = Stage { config: &config, registry: keys, ..Stage::default() };
        let server = stage.start(&[&registry, &beside], registry.authority());
        let images: Vec<String> = (0..20).map(|n| format!("{}/{REPOSITORY}:v1.0.{n}", registry.host())).collect();
        let mut connection = server.http1().await;
        let review = pod_of(&images);
        let waiting = send(&mut connection, "/validate", &review, Duration::from_secs(4));
        let other = async {
            until("they are under way", async || (registry.count(Kind::Head) >= most).then_some(())).await;
            validate(&server, "other", &format!("{}/{REPOSITORY}:v1.0.0", beside.host())).await
        };
        let (answer, other) = tokio::join!(waiting, other);
        assert!(answer.is("TW900"), "{config}: {}", answer.whole);
        assert!(other.allowed, "{config}: {}", other.whole);
        assert_eq!(registry.count(Kind::Head), most, "{config} {keys}");
    }
}
