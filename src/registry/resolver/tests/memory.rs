//! What is remembered for how long, who waits for whom, and what is asked again.

use super::{Does, HOST, NAME, World, digest, floating, immutable, named, now, seconds};
use crate::policy::{Age, Asked, Budget, Facts, Failure, Lookup, Resolved, Source};
use crate::registry::failure::FailureKind;
use crate::registry::resolver::Asker;
use crate::registry::settings::{CacheSettings, RegistrySettings, Settings};
use futures_util::future::join_all;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, advance};

#[tokio::test(start_paused = true)]
async fn five_thousand_equal_questions_are_one_request() {
    let world = Arc::new(World::new(Does::SayLate('a', Duration::from_millis(50))));
    let ask = |world: Arc<World>| tokio::spawn(async move { world.tag("v1.0.0").await });
    let answers: Vec<_> = (0..5000).map(|_| ask(world.clone())).collect();
    for answer in join_all(answers).await {
        assert_eq!(answer.unwrap().unwrap().digest, digest('a'));
    }
    assert_eq!(world.registry.count(), 1);
    assert!(world.shows("tagwarden_cache_requests_total{result=\"miss\"} 5000"));
    assert_eq!(world.tag("v1.0.0").await.unwrap().source, Source::Remembered);
    assert!(world.shows("tagwarden_cache_requests_total{result=\"hit\"} 1"));
    assert!(world.shows("tagwarden_registry_requests_total{registry=\"registry.example.com\",result=\"ok\"} 1"));
    assert!(world.shows("tagwarden_registry_duration_seconds_count{registry=\"registry.example.com\"} 1"));
}

#[tokio::test(start_paused = true)]
async fn fifty_tags_are_fifty_requests_side_by_side() {
    let world = World::new(Does::SayLate('a', seconds(1)));
    let tags: Vec<_> = (0..50).map(|n| format!("v1.0.{n}")).collect();
    let lookups: Vec<_> = tags.iter().map(|tag| Lookup { name: NAME, what: immutable(tag) }).collect();
    let began = Instant::now();
    let facts = world.ask_for(&lookups, Asker::default(), seconds(10)).await;
    assert_eq!(began.elapsed(), seconds(1));
    assert!(tags.iter().all(|tag| facts.digest(NAME, tag).unwrap().as_ref().unwrap().source == Source::Now));
    assert_eq!(world.registry.count(), 50);
}

#[tokio::test(start_paused = true)]
async fn lifetimes_are_those_of_the_settings_and_of_who_asks() {
    let cache = CacheSettings { immutable_ttl: seconds(40), floating_ttl: seconds(10), ..CacheSettings::default() };
    let world = World::with(Settings { cache, ..Settings::default() }, &[HOST], Does::Say('a'));
    assert_eq!(world.tag("v1").await.unwrap().source, Source::Now);
    advance(Duration::from_millis(7_900)).await;
    assert_eq!(world.what(floating("v1")).await.unwrap().source, Source::Remembered);
    advance(Duration::from_millis(2_100)).await;
    // Too old for one who takes it for a moving tag; that renews it for all.
    assert_eq!(world.tag("v1").await.unwrap().source, Source::Remembered);
    assert_eq!(world.registry.count(), 1);
    assert_eq!(world.what(floating("v1")).await.unwrap().source, Source::Now);
    assert_eq!(world.registry.count(), 1);
    advance(seconds(40)).await;
    assert_eq!(world.tag("v1").await.unwrap().source, Source::Now);
}

#[tokio::test(start_paused = true)]
async fn failures_are_answers_for_their_time_and_no_longer() {
    for (kind, failure, time) in [
        (FailureKind::NotFoundOrNoAccess, Failure::NotFound, seconds(10)),
        (FailureKind::Unauthorized, Failure::NotFound, seconds(5)),
        (FailureKind::RateLimited { until: Some(seconds(90)) }, Failure::RateLimited, seconds(90)),
        (FailureKind::Timeout, Failure::Unreachable, seconds(1)),
        (FailureKind::Protocol, Failure::Protocol, seconds(1)),
    ] {
        let world = World::new(Does::Fail(kind));
        for expected in [1, 0] {
            let undecided = world.tag("v1").await.unwrap_err();
            assert_eq!((undecided.failure, world.registry.count()), (failure, expected), "{kind:?}");
            assert!(!undecided.detail.contains("EVIL"), "{}", undecided.detail);
        }
        assert!(world.shows("tagwarden_cache_requests_total{result=\"negative\"} 1"), "{kind:?}");
        let class = format!("registry=\"registry.example.com\",result=\"{}\"", kind.name());
        assert!(world.shows(&format!("tagwarden_registry_requests_total{{{class}}} 1")));
        advance(time - Duration::from_millis(1)).await;
        world.tag("v1").await.unwrap_err();
        assert_eq!(world.registry.count(), 0, "{kind:?}");
        advance(Duration::from_millis(1)).await;
        world.tag("v1").await.unwrap_err();
        assert_eq!(world.registry.count(), 1, "{kind:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_fresh_answer_is_asked_for_at_most_once_a_second_and_shared() {
    let world = Arc::new(World::new(Does::Say('a')));
    world.tag("v1").await.unwrap();
    world.registry.does(|_, _| Does::Say('b'));
    let began = Instant::now();
    let ask = |world: Arc<World>| tokio::spawn(async move { world.what(now("v1")).await });
    for round in 1..=3 {
        let answers: Vec<_> = (0..100).map(|_| ask(world.clone())).collect();
        for answer in join_all(answers).await {
            let Resolved { digest: new, source, .. } = answer.unwrap().unwrap();
            assert_eq!((new, source), (digest('b'), Source::Now));
        }
        assert_eq!(began.elapsed(), seconds(round));
    }
    assert_eq!(world.registry.count(), 4, "one to begin with, and one a second");
    assert_eq!(world.tag("v1").await.unwrap().digest, digest('b'), "it is what is remembered now");
}

#[tokio::test(start_paused = true)]
async fn a_fresh_answer_is_not_that_of_a_request_from_before_the_question() {
    let world = Arc::new(World::new(Does::SayLate('a', seconds(3))));
    let early = tokio::spawn({
        let world = world.clone();
        async move { world.tag("v1").await }
    });
    advance(seconds(1)).await;
    world.registry.does(|_, _| Does::Say('b'));
    let fresh = world.what(now("v1")).await.unwrap();
    assert_eq!((fresh.digest, fresh.source), (digest('b'), Source::Now));
    assert_eq!(early.await.unwrap().unwrap().digest, digest('a'));
    // The early request ended last, and does not overwrite what is newer.
    assert_eq!(world.tag("v1").await.unwrap().digest, digest('b'));
}

#[tokio::test(start_paused = true)]
async fn waiting_for_a_fresh_answer_ends_at_the_deadline() {
    let world = World::new(Does::Say('a'));
    world.tag("v1").await.unwrap();
    let lookups = [Lookup { name: NAME, what: now("v1") }];
    let facts = world.ask_for(&lookups, Asker::default(), Duration::from_millis(500)).await;
    let undecided = facts.digest(NAME, "v1").unwrap().clone().unwrap_err();
    assert_eq!(undecided.failure, Failure::Unreachable);
    assert_eq!(undecided.detail, "not answered within the review's time");
    assert_eq!(world.registry.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn who_joins_a_request_that_is_under_way_has_no_answer_of_now() {
    let world = Arc::new(World::new(Does::SayLate('a', seconds(1))));
    let first = tokio::spawn({
        let world = world.clone();
        async move { world.tag("v1").await }
    });
    advance(Duration::from_millis(500)).await;
    assert_eq!(world.tag("v1").await.unwrap().source, Source::Remembered);
    assert_eq!(first.await.unwrap().unwrap().source, Source::Now);
}

#[tokio::test(start_paused = true)]
async fn an_impatient_caller_fails_for_himself_alone() {
    let world = Arc::new(World::new(Does::SayLate('a', seconds(2))));
    let impatient = world.tag_within("v1", Duration::from_millis(10)).await.unwrap_err();
    assert_eq!(impatient.failure, Failure::Unreachable);
    let cancelled = tokio::spawn({
        let world = world.clone();
        async move { world.tag("v1").await }
    });
    tokio::task::yield_now().await;
    cancelled.abort();
    assert_eq!(world.tag("v1").await.unwrap().digest, digest('a'));
    assert_eq!(world.registry.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn answers_in_use_are_renewed_before_they_are_too_old() {
    let world = World::new(Does::Say('a'));
    world.tag("v1").await.unwrap();
    advance(seconds(479)).await;
    world.tag("v1").await.unwrap();
    tokio::task::yield_now().await;
    assert_eq!(world.registry.count(), 1);
    advance(seconds(1)).await;
    for _ in 0..10 {
        assert_eq!(world.tag("v1").await.unwrap().source, Source::Remembered, "nobody waits for it");
        tokio::task::yield_now().await;
    }
    assert_eq!(world.registry.count(), 1);
    advance(seconds(130)).await;
    assert_eq!(world.tag("v1").await.unwrap().source, Source::Remembered);
    assert_eq!(world.registry.count(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_renewal_that_fails_takes_nothing_away_and_does_not_hurry() {
    let world = World::new(Does::Say('a'));
    world.tag("v1").await.unwrap();
    world.registry.does(|_, _| Does::Fail(FailureKind::RateLimited { until: Some(seconds(60)) }));
    world.registry.count();
    advance(seconds(500)).await;
    for _ in 0..50 {
        assert_eq!(world.tag("v1").await.unwrap().source, Source::Remembered);
        tokio::task::yield_now().await;
        advance(seconds(1)).await;
    }
    assert_eq!(world.registry.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_tag_that_moved_is_told_unless_its_class_moves() {
    let world = World::new(Does::Say('a'));
    assert_eq!(world.tag("v1").await.unwrap().moved_from, None);
    world.what(floating("env-prod")).await.unwrap();
    world.registry.does(|_, _| Does::Say('b'));
    advance(seconds(601)).await;
    assert_eq!(world.tag("v1").await.unwrap().moved_from, Some(digest('a')));
    assert_eq!(world.tag("v1").await.unwrap().moved_from, Some(digest('a')), "from memory too");
    assert_eq!(world.what(floating("env-prod")).await.unwrap().moved_from, None);
}

#[tokio::test(start_paused = true)]
async fn labels_are_for_ever_and_lists_for_a_second() {
    let world = World::new(Does::Say('a'));
    let all = [Asked::Labels { digest: "sha256:aa" }, Asked::Image { digest: "sha256:aa" }, Asked::Tags]
        .map(|what| Lookup { name: NAME, what });
    for (passed, requests) in [(0, 3), (0, 0), (1, 1), (3600 * 24 * 30, 1)] {
        advance(seconds(passed)).await;
        let facts = world.ask_for(&all, Asker::default(), seconds(10)).await;
        assert_eq!(facts.labels(NAME, "sha256:aa").unwrap().as_ref().unwrap()["label"], "a");
        assert_eq!(facts.image(NAME, "sha256:aa").unwrap().as_ref().unwrap().platforms[0].digest, digest('a'));
        assert_eq!(facts.tags(NAME).unwrap().as_ref().unwrap(), &["a"]);
        assert_eq!(world.registry.count(), requests, "after {passed} s");
    }
}

#[tokio::test(start_paused = true)]
async fn other_settings_forget_the_registries_that_they_change_and_no_others() {
    let other = "other.example.com";
    let world = World::with(Settings::default(), &[HOST, other], Does::Say('a'));
    let lookups = [HOST, other].map(|host| format!("{host}/acme/api"));
    let lookups = lookups.each_ref().map(|name| Lookup { name, what: immutable("v1") });
    let asked = async || {
        world.ask_for(&lookups, Asker::default(), seconds(10)).await;
        world.registry.count()
    };
    assert_eq!((asked().await, asked().await), (2, 0));
    // Other times to live and limits change nothing of what was learned.
    let mut settings = Settings::default();
    settings.cache.floating_ttl = seconds(1);
    settings.lookups.per_host = 3;
    world.resolver.configure(settings.clone(), named(&[HOST, other])).unwrap();
    assert_eq!(asked().await, 0);
    settings.registries.push(RegistrySettings { private: true, ..registry(other) });
    world.resolver.configure(settings.clone(), named(&[HOST])).unwrap();
    assert_eq!(asked().await, 1, "the one that is private now");
    assert!(world.shows("tagwarden_registry_requests_total{registry=\"other\",result=\"ok\"} 1"));
    world.resolver.configure(settings.clone(), named(&[])).unwrap();
    assert_eq!(asked().await, 0, "one is remembered, the other not to be asked");
    settings.request = seconds(1);
    world.resolver.configure(settings, named(&[HOST])).unwrap();
    assert_eq!(asked().await, 2);
}

pub(super) fn registry(host: &str) -> RegistrySettings {
    RegistrySettings {
        host: host.to_owned(),
        endpoint: None,
        ca: None,
        client_cert: None,
        insecure: false,
        private: false,
        credentials: None,
        credential_namespaces: None,
        realm_hosts: Vec::new(),
        max_concurrent: None,
    }
}

#[tokio::test(start_paused = true)]
async fn answers_raise_questions_and_rounds_end() {
    let world = World::new(Does::Say('a'));
    let chain = |facts: &Facts| -> Vec<Lookup<'static>> {
        let next = ["v1", "v2", "v3"].into_iter().find(|tag| facts.digest(NAME, tag).is_none());
        next.map(|tag| Lookup { name: NAME, what: immutable(tag) }).into_iter().collect()
    };
    let facts =
        world.resolver.gather(chain(&Facts::default()), chain, Asker::default(), Instant::now() + seconds(1)).await;
    assert!(facts.digest(NAME, "v3").unwrap().is_ok());
    let endless = |_: &Facts| vec![Lookup { name: NAME, what: immutable("v1") }];
    let facts =
        world.resolver.gather(endless(&Facts::default()), endless, Asker::default(), Instant::now() + seconds(1)).await;
    assert!(facts.digest(NAME, "v1").unwrap().is_ok());
    let budget = Asked::Digest { tag: "v1", floating: false, age: Age::Now, budget: Budget::Search };
    assert_eq!(world.what(budget).await.unwrap().source, Source::Now);
}
