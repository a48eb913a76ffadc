//! Line 8: redirects, in circles or to where nobody should be sent.
//!
//! That the address is checked that is connected to (DNS rebinding) is tested in `registry::client`, with a resolver that
//! changes its mind.

use serde_json::json;

use super::Expected::{Allow, OneOf};
use super::{Cases, REPOSITORY, Stage, shows_a_secret, validate};
use crate::registry_double::content;
use crate::registry_double::wire::{Act, Mode, Reply};
use crate::registry_double::{Access, Kind, Registry, User};

const REFUSED: super::Expected = OneOf(&["TW900", "TW903"]);

fn redirect(status: u16, to: impl Into<String>) -> Act {
    Reply::new(status).header("location", to).into()
}

#[tokio::test]
async fn hostile_08_redirects_within_the_registry_are_followed_so_far_and_no_further() {
    let mut cases = Cases::new();
    for hops in [1, 2, 3, 4, 10] {
        for status in [301, 302, 307, 308] {
            let expected = if hops <= 3 { Allow } else { REFUSED };
            let registry = cases.case(format!("{hops} hops by {status}"), expected).await;
            registry.script(REPOSITORY, move |asked| {
                let step = asked.query("step").map_or(0, |step| step.parse().unwrap());
                let next = format!("/v2/{REPOSITORY}/manifests/v1.0.0?step={}", step + 1);
                (step < hops).then(|| redirect(status, next))
            });
        }
    }
    let registry = cases.case("in a circle", REFUSED).await;
    registry.script(REPOSITORY, |asked| Some(redirect(307, asked.target.clone())));
    let registry = cases.case("to nowhere", REFUSED).await;
    registry.script(REPOSITORY, |_| Some(Reply::new(307).into()));
    let judged = cases.judge().await;
    for (name, registry) in &judged.registries {
        assert!(registry.seen().len() <= 8, "{name}: {} requests", registry.seen().len());
    }
}

#[tokio::test]
async fn hostile_08_manifests_are_had_from_the_registry_alone() {
    let stranger = Registry::start().await;
    stranger.push(REPOSITORY, "v1.0.0", "first");
    let mut plain = Registry::start().await;
    plain.listener().mode(Mode::Plain);
    plain.push(REPOSITORY, "v1.0.0", "first");
    let path = format!("/v2/{REPOSITORY}/manifests/v1.0.0");
    let (strange, clear) = (stranger.host(), plain.host());
    let strange_port = strange.rsplit(':').next().unwrap();
    let mut cases = Cases::new().registry("private: true, credentials: {dockerConfig: docker.json}");
    for (name, to) in [
        ("another port", format!("https://{strange}{path}")),
        ("another name of this machine", format!("https://localhost:{strange_port}{path}")),
        ("no TLS", format!("http://{clear}{path}")),
        ("metadata", format!("http://169.254.169.254{path}")),
        ("metadata with TLS", format!("https://169.254.169.254{path}")),
        ("metadata over IPv6", format!("https://[fd00:ec2::254]{path}")),
        ("metadata, mapped", format!("https://[::ffff:169.254.169.254]{path}")),
        ("metadata as a number", format!("https://2852039166{path}")),
        ("10/8", format!("https://10.0.0.1{path}")),
        ("172.16/12", format!("https://172.16.0.1{path}")),
        ("192.168/16", format!("https://192.168.0.1{path}")),
        ("loopback as a number", format!("https://0x7f000001:{strange_port}{path}")),
        ("unspecified", format!("https://0.0.0.0:{strange_port}{path}")),
        ("IPv6 loopback", format!("https://[::1]:{strange_port}{path}")),
        ("a file", "file:///etc/passwd".to_owned()),
        ("a file without slashes", "file:/etc/passwd".to_owned()),
        ("data", "data:text/plain,x".to_owned()),
        ("user info", format!("https://robot:x@{strange}{path}")),
        ("network path", format!("//{strange}{path}")),
        ("white space", format!("https://{strange} /x")),
        ("not UTF-8 at all", "https://\u{fffd}\u{fffd}/".to_owned()),
        ("very long", format!("/{}", "x".repeat(20_000))),
    ] {
        let registry = cases.case(format!("to: {name}"), OneOf(&["TW900", "TW901", "TW903"])).await;
        registry.access(Access::Token(vec![User::new("robot", super::SECRET, &[REPOSITORY])]));
        registry.script(REPOSITORY, move |asked| {
            let redirected = asked.header("authorization").is_some() && asked.path().ends_with("/v1.0.0");
            redirected.then(|| redirect(307, to.clone()))
        });
    }
    // Back to itself, with user info that is not to be shown to it.
    let registry = cases.case("user info of the registry itself", OneOf(&["TW900", "TW903"])).await;
    let host = registry.host();
    registry.script(REPOSITORY, move |asked| {
        let to = format!("https://eve:x@{host}{}?again", asked.path());
        (!asked.target.contains("again")).then(|| redirect(307, to))
    });
    cases.judge().await;
    assert_eq!((stranger.connections(), plain.connections()), (0, 0));
}

/// Blobs may be elsewhere: registries keep them in buckets. Not in this machine, though, nor without TLS.
#[tokio::test]
async fn hostile_08_blobs_elsewhere_are_had_by_tls_from_public_addresses_and_without_credentials() {
    let stranger = Registry::start().await;
    let labels = json!({"org.opencontainers.image.version": "v1.0.0"});
    let config = content::config("labelled", &labels);
    stranger.add_blob(REPOSITORY, &config);
    let blob = format!("/v2/{REPOSITORY}/blobs/{}", config.digest());
    for (name, to, followed) in [
        ("within the registry", format!("{blob}?again"), true),
        ("another port of this machine", format!("https://{}{blob}", stranger.host()), false),
        ("no TLS", format!("http://{}{blob}", stranger.host()), false),
        ("metadata", "https://169.254.169.254/latest/meta-data".to_owned(), false),
        ("a private address", "https://10.255.255.1/x".to_owned(), false),
        ("a file", "file:///etc/passwd".to_owned(), false),
    ] {
        let registry = Registry::start().await;
        let digest = registry.push_labelled(REPOSITORY, "v1.0.0", "labelled", &labels);
        registry.tag(REPOSITORY, "env-prod", &digest);
        registry.script(REPOSITORY, move |asked| {
            let first = asked.path().contains("/blobs/") && !asked.target.contains("again");
            first.then(|| redirect(307, to.clone()))
        });
        let keys = "private: true, credentials: {dockerConfig: docker.json}";
        // Without a scan of the tag list, so that all depends on the label.
        let rule = "tags: [channel], channel: {sameDigestAs: [release], search: labels}";
        let server = Stage { rule, registry: keys, ..Stage::default() }.start(&[&registry], registry.authority());
        let answer = validate(&server, "shop", &format!("{}/acme/x:env-prod", registry.host())).await;
        assert_eq!(answer.allowed, followed, "{name}: {}", answer.whole);
        assert!(registry.count(Kind::Blob) > 0, "{name}: the blob was asked for");
        assert!(!shows_a_secret(&stranger.seen_of(Kind::Blob)), "{name}");
    }
    assert_eq!(stranger.connections(), 0);
}
