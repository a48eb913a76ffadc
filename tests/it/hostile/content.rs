//! Lines 5, 6, 7, 17, 20 and 21: digests that are none, documents that are none, tags that move meanwhile, mirrors.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use super::Expected::{Allow, Id, OneOf};
use super::{Cases, IMAGE, REPOSITORY, Stage, WORDS, admits, mutate, no_head, on_get, on_head, send, validate};
use crate::https_support::{pod, review};
use crate::registry_double::content::{self, DOCKER_LIST, Document, IMAGE as MANIFEST, INDEX, SCHEMA_1};
use crate::registry_double::wire::{Act, Reply};
use crate::registry_double::{Kind, Registry};

const HEX: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// A rule that finds builds by the image's own labels alone.
const CHANNEL_BY_LABELS: &str = "tags: [channel], channel: {sameDigestAs: [release], search: labels}";

/// Asks for the build that a channel carries, which makes the server read manifests, labels and the tag list.
pub const CHANNEL: &str = "tags: [channel], channel: {sameDigestAs: [release], search: tags}";

#[tokio::test]
async fn hostile_05_a_digest_header_that_is_no_digest_is_a_broken_protocol() {
    let mut cases = Cases::new();
    let upper = HEX.to_uppercase();
    for header in [
        "sha256:".to_owned(),
        "sha256".to_owned(),
        HEX.to_owned(),
        format!("sha256:{}", &HEX[1..]),
        format!("sha256:{HEX}0"),
        format!("sha256:{}g", &HEX[1..]),
        format!("sha256:{upper}"),
        format!("SHA256:{HEX}"),
        format!("md5:{}", &HEX[..32]),
        format!("sha1:{}", &HEX[..40]),
        format!("sha256:{HEX}/../../x"),
        "../../etc/passwd".to_owned(),
        format!("sha256:{HEX},sha256:{HEX}"),
        format!("sha256:{HEX} {WORDS}"),
        format!("\"sha256:{HEX}\""),
        format!("sha256:{HEX}@sha256:{HEX}"),
        "x".repeat(20_000),
    ] {
        let registry = cases.case(format!("header {header:.80}"), Id("TW903")).await;
        let answer = Reply::new(200).header("content-type", MANIFEST).header("docker-content-digest", header);
        on_head(registry, answer);
    }
    let registry = cases.case("two headers that differ", Id("TW903")).await;
    let doubled = Reply::new(200)
        .header("content-type", MANIFEST)
        .header("docker-content-digest", format!("sha256:{HEX}"))
        .header("docker-content-digest", format!("sha256:{}0", &HEX[..63]));
    on_head(registry, doubled);
    let registry = cases.case("an empty header", Id("TW903")).await;
    on_head(registry, Reply::new(200).header("content-type", MANIFEST).header("docker-content-digest", ""));
    cases.judge().await;
}

#[tokio::test]
async fn hostile_05_without_a_header_the_body_is_hashed_and_must_agree_with_what_is_said_of_it() {
    let image = content::image(&content::config("first", &json!({})));
    let mut cases = Cases::new();
    cases.case("an ordinary registry", Allow).await;
    let registry = cases.case("HEAD without the header", Allow).await;
    on_head(registry, Registry::manifest_reply(&image).without("docker-content-digest"));
    let registry = cases.case("neither HEAD nor GET with the header", Allow).await;
    on_get(registry, Registry::manifest_reply(&image).without("docker-content-digest"));
    let registry = cases.case("GET with a header that is not its body's", Id("TW903")).await;
    let lying = Registry::manifest_reply(&image).without("docker-content-digest");
    on_get(registry, lying.header("docker-content-digest", format!("sha256:{HEX}")));
    let registry = cases.case("GET with a body that is cut and a header of the whole", Id("TW903")).await;
    let cut = image.body.slice(..image.body.len() - 1);
    on_get(registry, Registry::manifest_reply(&image).body(cut));
    let judged = cases.judge().await;
    let asked = |name: &str, kind| {
        let found = judged.registries.iter().find(|(known, _)| known == name).unwrap();
        found.1.count(kind)
    };
    assert_eq!((asked("an ordinary registry", Kind::Head), asked("an ordinary registry", Kind::Get)), (1, 0));
    assert_eq!(asked("HEAD without the header", Kind::Get), 1, "only then it is got");
}

#[tokio::test]
async fn hostile_05_a_digest_that_differs_per_request_is_asked_for_once_and_patched_as_judged() {
    let mut cases = Cases::new();
    let registry = cases.case("another digest each time", Allow).await;
    let asked = AtomicUsize::new(0);
    let digest = |n: usize| content::digest_of(n.to_string().as_bytes());
    registry.script(REPOSITORY, move |_| {
        let n = asked.fetch_add(1, Ordering::SeqCst);
        let reply = Reply::new(200).header("content-type", MANIFEST).header("docker-content-digest", digest(n));
        Some(reply.into())
    });
    cases.pinned(digest(0));
    let judged = cases.judge().await;
    assert_eq!(judged.registries[0].1.count(Kind::Head), 1, "remembered, and one flight for both endpoints");
}

/// What was asked for by digest is that, or nothing: here the labels of a channel's image.
#[tokio::test]
async fn hostile_05_a_manifest_by_digest_must_have_that_digest() {
    let mut cases = Cases::new().rule(CHANNEL_BY_LABELS);
    let other = content::image(&content::config("other", &json!({"org.opencontainers.image.version": "v1.0.0"})));
    for (name, expected) in [("as pushed", Allow), ("another body", Id("TW903"))] {
        let registry = cases.case_of(name, "acme/x:env-prod", expected).await;
        let labels = json!({"org.opencontainers.image.version": "v1.0.0"});
        let digest = registry.push_labelled(REPOSITORY, "v1.0.0", "labelled", &labels);
        registry.tag(REPOSITORY, "env-prod", &digest);
        if expected != Allow {
            let body = other.body.clone();
            registry.script(REPOSITORY, move |asked| {
                let by_digest = asked.method == "GET" && asked.path().contains("/manifests/sha256:");
                by_digest.then(|| Reply::new(200).header("content-type", MANIFEST).body(body.clone()).into())
            });
        }
    }
    judge_without_pins(cases).await;
}

#[tokio::test]
async fn hostile_06_the_accept_list_is_containerds_so_the_digest_is_the_one_that_nodes_get() {
    /// `remotes/docker/resolver.go` of containerd, for image references.
    const ACCEPT: &str = "application/vnd.docker.distribution.manifest.v2+json, \
        application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.oci.image.manifest.v1+json, \
        application/vnd.oci.image.index.v1+json, */*";
    let mut cases = Cases::new();
    let image = content::image(&content::config("first", &json!({})));
    let list = content::index(std::slice::from_ref(&image));
    for head in [true, false] {
        let name = if head { "HEAD" } else { "GET" };
        let registry = cases.case(format!("{name} answers by what is accepted"), Allow).await;
        let (image, for_nodes) = (image.clone(), list.clone());
        registry.script(REPOSITORY, move |asked| {
            if asked.method == "HEAD" && !head {
                return Some(no_head());
            }
            let accepted: Vec<&str> = asked.headers.iter().filter(|(n, _)| n == "accept").map(|(_, v)| &**v).collect();
            let chosen = if accepted.join(", ") == ACCEPT { &for_nodes } else { &image };
            Some(Registry::manifest_reply(chosen).into())
        });
        cases.pinned(list.digest());
    }
    let judged = cases.judge().await;
    for (_, registry) in &judged.registries {
        let encodings =
            registry.seen().into_iter().map(|(_, asked)| asked.header("accept-encoding").map(str::to_owned));
        assert!(encodings.into_iter().all(|encoding| encoding.as_deref() == Some("identity")));
    }
}

/// Documents that are no image and no index, or not clearly one of them.
fn documents() -> Vec<(&'static str, Document)> {
    let image = content::image(&content::config("first", &json!({})));
    let manifest: Value = serde_json::from_slice(&image.body).unwrap();
    let both =
        json!({"schemaVersion": 2, "config": manifest["config"], "layers": [], "manifests": [image.descriptor()]});
    let schema_1 = json!({"schemaVersion": 1, "name": REPOSITORY, "tag": "v1.0.0", "fsLayers": [], "history": []});
    let html = format!("<!doctype html><title>Log in</title><p>{WORDS}");
    let deep = format!("{{\"schemaVersion\":2,\"x\":{}{}}}", "[".repeat(200_000), "]".repeat(200_000));
    vec![
        ("a page to log in", Document::new("text/html", html.clone())),
        ("a page that claims to be an image", Document::new(MANIFEST, html)),
        ("schema 1 as text", Document::new("text/plain", schema_1.to_string())),
        ("schema 1", Document::json(SCHEMA_1, &schema_1)),
        ("schema 1 that claims to be an image", Document::json(MANIFEST, &schema_1)),
        ("manifests and layers, as an image", Document::json(MANIFEST, &both)),
        ("manifests and layers, as an index", Document::json(INDEX, &both)),
        ("an image that claims to be an index", Document::new(INDEX, image.body.clone())),
        (
            "an index that claims to be an image",
            Document::new(MANIFEST, content::index(std::slice::from_ref(&image)).body),
        ),
        ("an image as Docker's list", Document::new(DOCKER_LIST, image.body.clone())),
        ("an image without a type", Document::new("", image.body.clone())),
        ("an image as bytes", Document::new("application/octet-stream", image.body.clone())),
        ("deeply nested", Document::new(MANIFEST, deep)),
        ("deeper than any object", Document::new(MANIFEST, "[".repeat(1 << 20))),
        ("not JSON", Document::new(MANIFEST, "{")),
        ("nothing", Document::new(MANIFEST, "")),
        ("null", Document::new(MANIFEST, "null")),
        ("not UTF-8", Document::new(MANIFEST, vec![0xff; 100])),
    ]
}

#[tokio::test]
async fn hostile_07_what_is_no_image_and_no_index_is_a_broken_protocol() {
    let mut cases = Cases::new();
    for (name, document) in documents() {
        let registry = cases.case(name, Id("TW903")).await;
        on_get(registry, Registry::manifest_reply(&document));
    }
    cases.judge().await;
}

/// HEAD has no body to look at, but says of what type it is.
#[tokio::test]
async fn hostile_07_a_head_of_a_foreign_type_is_a_broken_protocol_too() {
    let image = content::image(&content::config("first", &json!({})));
    let mut cases = Cases::new();
    for media_type in ["text/html", "text/html; charset=utf-8", "text/plain", SCHEMA_1, "application/json", ""] {
        let registry = cases.case(format!("HEAD of type '{media_type}'"), Id("TW903")).await;
        on_head(registry, Registry::manifest_reply(&Document::new(media_type, image.body.clone())));
    }
    let registry = cases.case("parameters are no part of a type", Allow).await;
    on_head(registry, Registry::manifest_reply(&Document::new(&format!("{MANIFEST}; charset=utf-8"), image.body)));
    cases.judge().await;
}

/// An index that holds an index, and so on, and one that is said to hold itself.
#[tokio::test]
async fn hostile_07_indexes_within_indexes_end() {
    let mut cases = Cases::new().rule(CHANNEL);
    let registry = cases.case_of("nested a hundred times", "acme/x:env-prod", OneOf(&["TW201", "TW903"])).await;
    let mut inner = content::image(&content::config("inner", &json!({})));
    registry.add(REPOSITORY, &inner);
    for _ in 0..100 {
        inner = content::index(&[inner]);
        registry.add(REPOSITORY, &inner);
    }
    registry.tag(REPOSITORY, "env-prod", &inner.digest());

    let registry = cases.case_of("itself", "acme/x:env-prod", OneOf(&["TW201", "TW903"])).await;
    let cycle = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [{"mediaType": INDEX, "size": 500,
        "digest": format!("sha256:{HEX}"), "platform": {"os": "linux", "architecture": "amd64"}}]});
    let cycle = Document::json(INDEX, &cycle);
    registry.add(REPOSITORY, &cycle);
    registry.tag(REPOSITORY, "env-prod", &cycle.digest());
    registry.script(REPOSITORY, move |asked| {
        asked.path().ends_with(HEX).then(|| Registry::manifest_reply(&cycle).without("docker-content-digest").into())
    });
    let judged = judge_without_pins(cases).await;
    for (name, registry) in &judged {
        assert!(registry.seen().len() < 20, "{name}: {} requests", registry.seen().len());
    }
}

/// Judges cases of a rule that asks for no pin: `/mutate` has nothing to do.
async fn judge_without_pins(cases: Cases) -> Vec<(String, Registry)> {
    let server = cases.start();
    let mut problems = Vec::new();
    for case in &cases.cases {
        let answer = validate(&server, "shop", &format!("{}/{}", case.registry.host(), case.image)).await;
        let fits = match case.expected {
            Allow => answer.allowed,
            Id(id) => answer.is(id),
            OneOf(ids) => ids.iter().any(|id| answer.is(id)),
        };
        if !fits {
            problems.push(format!("{}: {:?} was expected, not {}", case.name, case.expected, answer.whole));
        }
    }
    assert!(problems.is_empty(), "{}\n{}", problems.join("\n"), server.log.text());
    cases.cases.into_iter().map(|case| (case.name, case.registry)).collect()
}

#[tokio::test]
async fn hostile_17_a_tag_that_moves_within_an_admission_is_resolved_once_and_patched_as_judged() {
    let registry = Registry::start().await;
    let first = registry.push(REPOSITORY, "v1.0.0", "first");
    let second = registry.push(REPOSITORY, "v2.0.0", "second");
    let next = AtomicUsize::new(0);
    let (one, other) = (first.clone(), second.clone());
    registry.script(REPOSITORY, move |asked| {
        let digest = if next.fetch_add(1, Ordering::SeqCst).is_multiple_of(2) { &one } else { &other };
        let reply = Reply::new(200).header("content-type", MANIFEST).header("docker-content-digest", digest);
        asked.path().ends_with("v1.0.0").then(|| reply.into())
    });
    let server = Stage::default().start(&[&registry], registry.authority());
    let image = format!("{}/{IMAGE}", registry.host());
    let mut object = pod(&image);
    object["spec"]["initContainers"] = json!([{"name": "init", "image": image}]);
    object["spec"]["containers"] = json!([{"name": "a", "image": image}, {"name": "b", "image": image}]);
    let sent = review("CREATE", "shop", &object, &Value::Null);
    let mut connection = server.http1().await;
    let mutated = send(&mut connection, "/mutate", &sent, super::PATIENT).await;
    let pinned = format!("{image}@{first}");
    assert_eq!(mutated.images, [pinned.as_str(), &pinned, &pinned], "{}", mutated.whole);
    assert_eq!(registry.count(Kind::Head), 1);
    admits(&server, &image).await;
    assert_eq!(registry.count(Kind::Head), 1, "what was judged is what was learned");
}

/// A mirror is asked instead of the registry that images name, and is believed: nodes that use it get the same.
#[tokio::test]
async fn hostile_20_a_mirrors_answer_is_the_one_that_counts_and_the_upstream_is_not_asked() {
    let mirror = Registry::start().await;
    let upstream = Registry::start_with(std::sync::Arc::clone(mirror.authority())).await;
    let stale = mirror.push(REPOSITORY, "v1.0.0", "stale");
    let current = upstream.push(REPOSITORY, "v1.0.0", "current");
    let (host, endpoint) = (upstream.host(), mirror.host());
    let config = format!(
        "registries: [{{host: \"{host}\", endpoint: \"https://{endpoint}/path\", private: true, ca: ca.pem}}]\n"
    );
    // The path of the endpoint stands before the protocol's.
    let digest = stale.clone();
    mirror.script("*", move |asked| {
        let expected = format!("/path/v2/{REPOSITORY}/manifests/v1.0.0");
        let reply = Reply::new(200).header("content-type", MANIFEST).header("docker-content-digest", &digest);
        Some(if asked.path() == expected { reply.into() } else { Act::Reply(Reply::new(404)) })
    });
    let files = vec![("ca.pem", mirror.ca().to_owned())];
    let server = Stage::default().start_with(&config, &format!("\"{host}/**\""), files);
    let image = format!("{host}/{IMAGE}");
    let mutated = mutate(&server, "shop", &image).await;
    assert_eq!(mutated.images, [format!("{image}@{stale}")], "{}", mutated.whole);
    admits(&server, &format!("{image}@{stale}")).await;
    let answer = validate(&server, "shop", &format!("{image}@{current}")).await;
    assert!(answer.is("TW200"), "{}", answer.whole);
    assert_eq!(upstream.connections(), 0);
    for (_, asked) in mirror.seen() {
        assert_eq!(asked.query("ns").as_deref(), Some(host.as_str()), "the mirror is told for whom: {asked:?}");
    }
}

/// containerd asks for `/blobs/` where `/manifests/` has nothing; what is there need not be an image.
#[tokio::test]
async fn hostile_21_a_digest_that_is_only_a_blob_is_no_image() {
    let registry = Registry::start().await;
    let image = content::image(&content::config("first", &json!({})));
    registry.add_blob(REPOSITORY, &image);
    registry.tag(REPOSITORY, "env-prod", &image.digest());
    registry.push(REPOSITORY, "v1.0.0", "other");
    let digest = image.digest();
    let stage =
        Stage { rule: "tags: [channel, digest], channel: {sameDigestAs: [release], search: tags}", ..Stage::default() };
    let server = stage.start(&[&registry], registry.authority());
    for image in [format!("acme/x@{digest}"), "acme/x:env-prod".to_owned()] {
        let answer = validate(&server, "shop", &format!("{}/{image}", registry.host())).await;
        assert!(!answer.allowed && (answer.is("TW901") || answer.is("TW201")), "{}", answer.whole);
    }
    assert_eq!(registry.count(Kind::Blob), 0, "a manifest is not looked for among blobs");
}
