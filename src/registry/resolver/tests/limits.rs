//! Bounds: lookups a review, a namespace and a host, clients, memory.

use super::memory::registry;
use super::{Does, HOST, NAME, World, digest, immutable, seconds};
use crate::policy::{Age, Asked, Budget, Failure, Lookup};
use crate::registry::resolver::Asker;
use crate::registry::resolver::hosts::CLIENTS;
use crate::registry::settings::{CacheSettings, LookupLimits, Settings};
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::time::Instant;

fn tags(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("v1.0.{number}")).collect()
}

/// `count` tags at once; how many were answered, how many were asked for at one time, and how long it took.
async fn burst(world: &World, count: usize, namespace: Option<&str>, time: Duration) -> (usize, usize, Duration) {
    let tags = tags(count);
    let what = |tag| Asked::Digest { tag, floating: false, age: Age::Remembered, budget: Budget::Search };
    let lookups: Vec<_> = tags.iter().map(|tag| Lookup { name: NAME, what: what(tag) }).collect();
    let began = Instant::now();
    let facts = world.ask_for(&lookups, Asker { namespace, ..Asker::default() }, time).await;
    let answered = tags.iter().filter(|tag| facts.digest(NAME, tag).unwrap().is_ok()).count();
    (answered, world.registry.most_at_once.load(Ordering::SeqCst), began.elapsed())
}

fn world(lookups: LookupLimits, max_concurrent: Option<usize>) -> World {
    let registries = Vec::from_iter(max_concurrent.map(|most| {
        let max_concurrent = Some(most);
        crate::registry::settings::RegistrySettings { max_concurrent, ..registry(HOST) }
    }));
    World::with(Settings { lookups, registries, ..Settings::default() }, &[HOST], Does::SayLate('a', seconds(1)))
}

#[tokio::test(start_paused = true)]
async fn a_review_has_so_many_lookups_and_those_from_memory_are_free() {
    let world = world(LookupLimits { per_review: 3, ..LookupLimits::default() }, None);
    let tags = tags(5);
    let lookups: Vec<_> = tags.iter().map(|tag| Lookup { name: NAME, what: immutable(tag) }).collect();
    for (round, denied) in [2, 0].into_iter().enumerate() {
        let facts = world.ask_for(&lookups, Asker::default(), seconds(10)).await;
        let answers: Vec<_> = tags.iter().map(|tag| facts.digest(NAME, tag).unwrap()).collect();
        let undecided: Vec<_> = answers.iter().filter_map(|answer| answer.as_ref().err()).collect();
        assert_eq!(undecided.len(), denied, "round {round}");
        for undecided in undecided {
            assert_eq!(undecided.failure, Failure::Unreachable);
            assert_eq!(undecided.detail, "not asked: more lookups than limits.lookupsPerReview (3) allows");
        }
    }
    assert_eq!(world.registry.count(), 5);
}

#[tokio::test(start_paused = true)]
async fn an_image_counts_as_one_lookup_however_many_platforms_it_has() {
    let world = world(LookupLimits { per_review: 2, ..LookupLimits::default() }, None);
    let lookups =
        ["sha256:aa", "sha256:bb", "sha256:cc"].map(|digest| Lookup { name: NAME, what: Asked::Image { digest } });
    let facts = world.ask_for(&lookups, Asker::default(), seconds(10)).await;
    let answered = |digest| facts.image(NAME, digest).unwrap().is_ok();
    assert_eq!(["sha256:aa", "sha256:bb", "sha256:cc"].map(answered), [true, true, false]);
}

#[tokio::test(start_paused = true)]
async fn a_search_has_a_bound_of_its_own() {
    let world = world(LookupLimits { per_review: 3, ..LookupLimits::default() }, None);
    assert_eq!(burst(&world, 60, None, seconds(10)).await.0, 60);
}

#[tokio::test(start_paused = true)]
async fn a_host_gets_so_many_requests_at_one_time_and_the_others_wait() {
    let limits = |per_host| LookupLimits { per_host, ..LookupLimits::default() };
    for (per_host, max_concurrent, most) in [(5, None, 5), (5, Some(2), 2), (5, Some(50), 5), (64, None, 10)] {
        let world = world(limits(per_host), max_concurrent);
        let time = seconds(10_u64.div_ceil(most));
        let most = usize::try_from(most).unwrap();
        assert_eq!(burst(&world, 10, None, seconds(20)).await, (10, most, time), "{per_host} {max_concurrent:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_namespace_gets_so_many_requests_at_one_time_and_leaves_the_rest_to_others() {
    let world = world(LookupLimits { per_namespace: 4, per_host: 6, ..LookupLimits::default() }, None);
    let shop = burst(&world, 8, Some("shop"), seconds(20));
    assert_eq!(shop.await, (8, 4, seconds(2)));
    world.registry.does(|_, _| Does::Hang);
    assert_eq!(burst(&world, 20, Some("web"), Duration::from_millis(1)).await.0, 8, "what is remembered");
    // Its requests hang; there is room for others all the same.
    world.registry.does(|_, _| Does::Say('b'));
    let other = Asker { namespace: Some("pay"), ..Asker::default() };
    assert_eq!(world.as_asker("v2", other, seconds(1)).await.unwrap().digest, digest('b'));
    let web = Asker { namespace: Some("web"), ..Asker::default() };
    assert_eq!(world.as_asker("v3", web, seconds(1)).await.unwrap_err().failure, Failure::Unreachable);
}

#[tokio::test(start_paused = true)]
async fn waiting_for_leave_ends_at_the_deadline_and_leaves_nothing_behind() {
    let world = world(LookupLimits { per_host: 1, ..LookupLimits::default() }, None);
    let (answered, _, time) = burst(&world, 10, None, Duration::from_millis(3500)).await;
    assert_eq!((answered, time), (3, Duration::from_millis(3500)));
    assert_eq!(world.registry.count(), 4, "those who gave up left no request behind");
}

#[tokio::test(start_paused = true)]
async fn line_19_a_thousand_hosts_and_tags_in_one_burst() {
    let hosts: Vec<_> = (0..1000).map(|number| format!("r{number}.example.com")).collect();
    let names: Vec<_> = hosts.iter().map(|host| format!("{host}/acme/api")).collect();
    let cache = CacheSettings { entries: 500, ..CacheSettings::default() };
    let lookups = LookupLimits { per_review: 2000, ..LookupLimits::default() };
    let hosts: Vec<_> = hosts.iter().map(String::as_str).collect();
    let world = World::with(Settings { cache, lookups, ..Settings::default() }, &hosts, Does::Say('a'));
    let all: Vec<_> = names.iter().map(|name| Lookup { name, what: immutable("v1") }).collect();
    for chunk in all.chunks(100) {
        let facts = world.ask_for(chunk, Asker::default(), seconds(10)).await;
        assert!(chunk.iter().all(|lookup| facts.digest(lookup.name, "v1").unwrap().is_ok()));
    }
    let state = world.resolver.inner.state.load_full();
    assert_eq!(state.hosts.clients_open(), CLIENTS);
    assert!(state.store.size().await.0 <= 500);
    // All at one time, and none comes to an end: what cannot be had is said at once.
    world.registry.does(|_, _| Does::Hang);
    let again: Vec<_> = names.iter().map(|name| Lookup { name, what: immutable("v2") }).collect();
    let facts = world.ask_for(&again, Asker::default(), seconds(1)).await;
    let details: Vec<_> =
        again.iter().map(|lookup| facts.digest(lookup.name, "v2").unwrap().clone().unwrap_err().detail).collect();
    assert_eq!(state.hosts.clients_open(), CLIENTS);
    assert_eq!(details.iter().filter(|detail| detail.starts_with("not answered within")).count(), CLIENTS);
    assert_eq!(details.iter().filter(|detail| detail.starts_with("not asked: 256 other")).count(), 1000 - CLIENTS);
}
