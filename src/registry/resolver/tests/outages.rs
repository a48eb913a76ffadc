//! Registries that fail: what was said last serves for a while, and a restart does not forget it.

use super::{Does, HOST, NAME, World, digest, floating, now, seconds};
use crate::policy::{Asked, Failure, Lookup, Source};
use crate::registry::failure::FailureKind;
use crate::registry::resolver::Asker;
use crate::registry::settings::{CacheSettings, Settings};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, advance};

const OUTAGES: [FailureKind; 4] =
    [FailureKind::Unreachable, FailureKind::Timeout, FailureKind::Tls, FailureKind::RateLimited { until: None }];

#[tokio::test(start_paused = true)]
async fn the_last_answer_serves_while_the_registry_fails_and_no_longer_than_it_may() {
    for kind in OUTAGES {
        let cache = CacheSettings { stale_for: seconds(100), ..CacheSettings::default() };
        let world = World::with(Settings { cache, ..Settings::default() }, &[HOST], Does::Say('a'));
        world.tag("v1").await.unwrap();
        world.registry.does(move |_, _| Does::Fail(kind));
        advance(seconds(600)).await;
        let stale = world.tag("v1").await.unwrap();
        assert_eq!((stale.digest, stale.source, stale.public), (digest('a'), Source::Stale(600), true), "{kind:?}");
        assert!(world.shows("tagwarden_cache_requests_total{result=\"stale\"} 1"));
        advance(seconds(100)).await;
        assert_eq!(world.tag("v1").await.unwrap().source, Source::Stale(700), "{kind:?}");
        advance(seconds(1)).await;
        assert_eq!(world.tag("v1").await.unwrap_err().failure, kind.class(), "{kind:?}");
        world.registry.does(|_, _| Does::Say('b'));
        advance(seconds(60)).await;
        assert_eq!(world.tag("v1").await.unwrap().digest, digest('b'), "{kind:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_last_answer_does_not_serve_where_the_registry_says_otherwise() {
    for kind in [FailureKind::NotFoundOrNoAccess, FailureKind::Unauthorized, FailureKind::Protocol] {
        let world = World::new(Does::Say('a'));
        world.tag("v1").await.unwrap();
        world.registry.does(move |_, _| Does::Fail(kind));
        advance(seconds(601)).await;
        assert_eq!(world.tag("v1").await.unwrap_err().failure, kind.class());
        // A denial holds when the registry is gone afterwards.
        world.registry.does(|_, _| Does::Fail(FailureKind::Unreachable));
        advance(seconds(60)).await;
        let later = world.tag("v1").await;
        assert_eq!(later.is_ok(), kind == FailureKind::Protocol, "{kind:?}: {later:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn moving_tags_and_fresh_answers_are_never_stale() {
    let world = World::new(Does::Say('a'));
    world.tag("v1").await.unwrap();
    world.what(floating("env-prod")).await.unwrap();
    world.registry.does(|_, _| Does::Fail(FailureKind::Unreachable));
    advance(seconds(2)).await;
    assert_eq!(world.what(now("v1")).await.unwrap_err().failure, Failure::Unreachable);
    assert_eq!(world.tag("v1").await.unwrap().source, Source::Remembered, "what is not too old needs no registry");
    advance(seconds(30)).await;
    assert_eq!(world.what(floating("env-prod")).await.unwrap_err().failure, Failure::Unreachable);
}

#[tokio::test(start_paused = true)]
async fn a_silent_registry_keeps_nobody_beyond_his_time() {
    let world = World::new(Does::Say('a'));
    world.tag("v1").await.unwrap();
    world.registry.does(|_, _| Does::Hang);
    advance(seconds(601)).await;
    let began = Instant::now();
    assert_eq!(world.tag_within("v1", seconds(8)).await.unwrap().source, Source::Stale(605));
    assert_eq!(began.elapsed(), seconds(4), "half of the time is left for what follows from it");
    let began = Instant::now();
    let unseen = world.tag_within("v2", seconds(8)).await.unwrap_err();
    assert_eq!((unseen.failure, began.elapsed()), (Failure::Unreachable, seconds(8)));
    assert_eq!(unseen.detail, "not answered within the review's time");
    let began = Instant::now();
    assert_eq!(world.tag_within("v1", Duration::ZERO).await.unwrap().digest, digest('a'));
    world.tag_within("v3", Duration::ZERO).await.unwrap_err();
    assert_eq!(began.elapsed(), Duration::ZERO);
    // A flight has limits of its own: five requests of three seconds.
    advance(seconds(15)).await;
    tokio::task::yield_now().await;
    assert!(world.shows("tagwarden_registry_requests_total{registry=\"registry.example.com\",result=\"timeout\"} 2"));
}

#[tokio::test(start_paused = true)]
async fn a_registry_that_fails_again_and_again_is_left_alone() {
    let world = World::new(Does::Say('a'));
    world.tag("v0").await.unwrap();
    world.registry.does(|_, _| Does::Fail(FailureKind::Unreachable));
    advance(seconds(601)).await;
    world.registry.count();
    for number in 1..=10 {
        let undecided = world.tag(&format!("v{number}")).await.unwrap_err();
        assert_eq!(undecided.failure, Failure::Unreachable);
        let asked = undecided.detail.starts_with("it failed (tried anonymous: unreachable)");
        assert_eq!(asked, number <= 5, "{}", undecided.detail);
        let says = "not asked: it failed 5 times in a row, next try in 1 s";
        assert_eq!(undecided.detail.starts_with(says), number > 5, "{}", undecided.detail);
    }
    assert_eq!(world.registry.count(), 5);
    assert_eq!(world.tag("v0").await.unwrap().source, Source::Stale(601), "at once");
    assert_eq!(world.registry.count(), 0);
    world.registry.does(|_, _| Does::Say('b'));
    advance(seconds(1)).await;
    assert_eq!(world.tag("v6").await.unwrap().digest, digest('b'));
    assert_eq!(world.tag("v7").await.unwrap().digest, digest('b'));
}

#[tokio::test(start_paused = true)]
async fn a_fault_of_ours_is_a_failure_of_one_request() {
    let world = World::new(Does::Panic);
    let undecided = world.tag("v1").await.unwrap_err();
    assert_eq!(undecided.failure, Failure::Unreachable);
    world.registry.does(|_, _| Does::Say('a'));
    assert_eq!(world.tag("v1").await.unwrap().digest, digest('a'));
}

#[tokio::test(start_paused = true)]
async fn a_restart_during_an_outage_forgets_nothing_that_may_be_known() {
    let world = World::new(Does::Say('a'));
    for _ in 0..3 {
        world.tag("v1").await.unwrap();
    }
    world.tag("v2").await.unwrap();
    world.what(floating("env-prod")).await.unwrap();
    let labels = Lookup { name: NAME, what: Asked::Labels { digest: "sha256:aa" } };
    world.ask_for(&[labels], Asker::default(), seconds(1)).await;
    advance(seconds(100)).await;
    let document = world.resolver.remembered(1 << 20);
    let text = String::from_utf8(document.clone()).unwrap();
    assert!(text.find("api:v1").unwrap() < text.find("api:v2").unwrap(), "most used first: {text}");
    assert!(!text.contains("env-prod") && !text.contains("sha256:aa\""), "{text}");
    let one = world.resolver.remembered(text.len() - 1);
    assert!(String::from_utf8(one).unwrap().contains("api:v1"));

    let down = World::new(Does::Fail(FailureKind::Unreachable));
    assert_eq!(down.resolver.recall(&document), Ok(2));
    assert!(down.resolver.recall(b"{}").is_err());
    let recalled = down.tag("v1").await.unwrap();
    // A document holds whole seconds.
    assert!(matches!(recalled.source, Source::Stale(100..=103)), "{recalled:?}");
    assert_eq!(recalled.digest, digest('a'));
    assert_eq!(down.registry.count(), 1, "the registry was asked first");
    assert!(down.what(floating("v2")).await.is_err());
    assert!(down.what(now("v1")).await.is_err());
    // What it recalled is saved again, with the time that it was learned.
    advance(seconds(3500)).await;
    let again = World::new(Does::Fail(FailureKind::Unreachable));
    again.resolver.recall(&down.resolver.remembered(1 << 20)).unwrap();
    advance(seconds(580)).await;
    let source = again.tag("v1").await.unwrap().source;
    assert!(matches!(source, Source::Stale(4180..=4190)), "{source:?}");
    advance(seconds(25)).await;
    assert!(again.tag("v1").await.is_err(), "ten minutes and an hour after it was learned");
}

#[tokio::test(start_paused = true)]
async fn what_is_recalled_goes_when_the_registry_says_anything() {
    let world = World::new(Does::Say('a'));
    world.tag("v1").await.unwrap();
    let document = world.resolver.remembered(1 << 20);
    let up = World::new(Does::Say('b'));
    up.resolver.recall(&document).unwrap();
    let answer = up.tag("v1").await.unwrap();
    assert_eq!((answer.digest, answer.source, answer.moved_from), (digest('b'), Source::Now, None));
    let gone = World::new(Does::Fail(FailureKind::NotFoundOrNoAccess));
    gone.resolver.recall(&document).unwrap();
    assert_eq!(gone.tag("v1").await.unwrap_err().failure, Failure::NotFound);
    gone.registry.does(|_, _| Does::Fail(FailureKind::Unreachable));
    advance(seconds(10)).await;
    assert_eq!(gone.tag("v1").await.unwrap_err().failure, Failure::Unreachable);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_recalled_of_a_registry_that_may_not_be_asked() {
    let world = World::new(Does::Say('a'));
    world.tag("v1").await.unwrap();
    let other = Arc::new(World::with(Settings::default(), &["other.example.com"], Does::Say('a')));
    other.resolver.recall(&world.resolver.remembered(1 << 20)).unwrap();
    let undecided = other.tag("v1").await.unwrap_err();
    assert_eq!(undecided.detail, "not asked: no policy and no configuration names this registry");
    let described = other.resolver.describe(HOST, "acme/api", "v1", Asker::default(), Instant::now() + seconds(1));
    assert_eq!(described.await.unwrap_err().kind, FailureKind::Unreachable);
    assert_eq!(other.registry.count(), 0);
}
