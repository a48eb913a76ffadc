//! Line 22: tag lists that are none, or have no end.

use std::fmt::Write as _;

use super::content::CHANNEL;
use super::{MEMORY, REPOSITORY, Stage, WORDS, peak_memory, validate};
use crate::registry_double::wire::{Act, Reply, Step};
use crate::registry_double::{Kind, Registry};

fn list(tags: &str) -> Reply {
    Reply::new(200)
        .header("content-type", "application/json")
        .body(format!("{{\"name\":\"{REPOSITORY}\",\"tags\":{tags}}}"))
}

/// What a server makes of a channel whose build can only be found in the tag list, where the list is this.
async fn judge(name: &str, expected: &[&str], reply: impl Fn(&str) -> Act + Send + Sync + 'static) -> Registry {
    let registry = Registry::start().await;
    let digest = registry.push(REPOSITORY, "v1.0.0", "first");
    registry.tag(REPOSITORY, "env-prod", &digest);
    let host = registry.host();
    registry.script(REPOSITORY, move |asked| asked.path().ends_with("/tags/list").then(|| reply(&host)));
    let server = Stage { rule: CHANNEL, ..Stage::default() }.start(&[&registry], registry.authority());
    let before = peak_memory(&server);
    let answer = validate(&server, "shop", &format!("{}/acme/x:env-prod", registry.host())).await;
    let fits = expected.iter().any(|id| if *id == "allow" { answer.allowed } else { answer.is(id) });
    assert!(fits, "{name}: {expected:?} was expected, not {}\n{}", answer.whole, server.log.text());
    assert!(!answer.whole.to_string().contains(WORDS), "{name}: {}", answer.whole);
    let grown = peak_memory(&server).saturating_sub(before);
    assert!(grown <= MEMORY, "{name}: resident memory grew by {} MiB", grown >> 20);
    assert!(registry.count(Kind::Tags) >= 1, "{name}: the list was asked for");
    registry
}

#[tokio::test]
async fn hostile_22_a_list_is_read_and_what_is_no_tag_in_it_is_no_candidate() {
    judge("as it should be", &["allow"], |_| list("[\"env-prod\",\"v1.0.0\"]").into()).await;
    judge("null", &["TW201"], |_| list("null").into()).await;
    judge("empty", &["TW201"], |_| list("[]").into()).await;
    judge("doubled", &["allow"], |_| list("[\"v1.0.0\",\"v1.0.0\",\"v1.0.0\"]").into()).await;
    let digest = format!("sha256:{}", "0".repeat(64));
    let odd = format!("[\"{digest}\",\"../../x\",\"a b\",\"\",\"v1.0.0/../v2\",\"{WORDS}?x=y\",\"v1.0.0\"]");
    let registry = judge("digests and paths among tags", &["allow"], move |_| list(&odd).into()).await;
    for (_, asked) in registry.seen() {
        let reference = asked.path().rsplit('/').next().unwrap();
        assert!(["env-prod", "v1.0.0", "list"].contains(&reference) || reference.starts_with("sha256:"), "{asked:?}");
    }
}

#[tokio::test]
async fn hostile_22_what_is_no_list_is_a_broken_protocol() {
    judge("not JSON", &["TW903"], |_| Reply::new(200).body(WORDS).into()).await;
    judge("of numbers", &["TW903"], |_| list("[1,2]").into()).await;
    judge("an object", &["TW903"], |_| list("{\"v1.0.0\":1}").into()).await;
    judge("without end", &["TW903"], |_| {
        let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n9\r\n{\"tags\":[\r\n";
        let tags = "\"v1.0.0\",".repeat(1000);
        Act::Play(vec![Step::send(head), Step::forever(format!("{:x}\r\n{tags}\r\n", tags.len()))])
    })
    .await;
}

#[tokio::test]
async fn hostile_22_a_million_tags_are_too_many() {
    let mut tags = "[".to_owned();
    for n in 0..1_000_000 {
        write!(tags, "\"v0.0.{n}\",").unwrap();
    }
    tags.push_str("\"v1.0.0\"]");
    judge("a million in one page", &["TW900", "TW903"], move |_| list(&tags).into()).await;
}

#[tokio::test]
async fn hostile_22_a_list_that_leads_elsewhere_or_round_in_circles_ends() {
    let stranger = Registry::start().await;
    stranger.push(REPOSITORY, "v1.0.0", "first");
    let next = |to: &str| list("[\"v0.0.1\"]").header("link", format!("<{to}>; rel=\"next\""));
    let path = format!("/v2/{REPOSITORY}/tags/list?n=1&last=v0.0.1");

    let elsewhere = format!("https://{}{path}", stranger.host());
    let registry = judge("another host", &["TW900", "TW903"], move |_| next(&elsewhere).into()).await;
    assert_eq!((stranger.connections(), registry.count(Kind::Tags)), (0, 1));
    let elsewhere = format!("//{}{path}", stranger.host());
    judge("another host, without a scheme", &["TW900", "TW903"], move |_| next(&elsewhere).into()).await;
    assert_eq!(stranger.connections(), 0);
    judge("metadata", &["TW900", "TW903"], move |_| next("http://169.254.169.254/").into()).await;
    let circle = path.clone();
    let registry = judge("itself", &["TW900", "TW903"], move |_| next(&circle).into()).await;
    assert!(registry.count(Kind::Tags) <= 210, "{} pages", registry.count(Kind::Tags));
    judge("another repository", &["TW900", "TW903"], move |_| next("/v2/acme/y/tags/list?n=1").into()).await;
    judge("nothing", &["TW900", "TW903"], move |_| list("[\"v0.0.1\"]").header("link", "<").into()).await;
}

#[tokio::test]
async fn hostile_22_pages_of_the_registry_itself_are_followed() {
    let registry = Registry::start().await;
    let digest = registry.push(REPOSITORY, "v1.0.0", "first");
    registry.tag(REPOSITORY, "env-prod", &digest);
    for n in 0..2500 {
        registry.tag(REPOSITORY, &format!("build-{n}"), &digest);
    }
    let server = Stage { rule: CHANNEL, ..Stage::default() }.start(&[&registry], registry.authority());
    let answer = validate(&server, "shop", &format!("{}/acme/x:env-prod", registry.host())).await;
    assert!(answer.allowed, "{}", answer.whole);
    assert!(registry.count(Kind::Tags) >= 1);
}
