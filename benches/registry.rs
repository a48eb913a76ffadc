//! What a registry adds to a review: warm digests beside static rules, the memory of digests alone and asked by many
//! threads at once, a cold lookup beside the request that it makes, and the size of ten thousand remembered images.

#[path = "support/remembering.rs"]
mod remembering;
#[expect(dead_code, reason = "what is judged without a registry is in other benches")]
#[path = "support/scene.rs"]
mod scene;

use std::hint::black_box;
use std::io::Write as _;
use std::thread;
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use tagwarden::cli::ExampleImage;
use tagwarden::policy::{PolicySet, Stage};
use tokio::runtime::Runtime;

use remembering::Remembering;
use scene::{REVIEW, Surroundings, admits, asking, policy, review, review_with, with_images};

const COLD: usize = 10_000;

/// All that one bench of a registry needs.
struct Scene {
    runtime: Runtime,
    remembering: Remembering,
    pins: PolicySet,
    under: Surroundings,
}

impl Scene {
    fn set() -> Self {
        let Ok(runtime) = Runtime::new() else { unreachable!("a runtime can be made") };
        let remembering = match runtime.block_on(Remembering::start()) {
            Ok(remembering) => remembering,
            Err(problem) => unreachable!("the registry can be started: {problem}"),
        };
        let scene = Scene { runtime, remembering, pins: asking(""), under: Surroundings::default() };
        let warm = scene.review(&scene.remembering.pinned);
        assert!(admits(&warm), "the review is an allowed one: {}", String::from_utf8_lossy(&warm));
        scene
    }

    /// The whole way from bytes to bytes, with the facts of the registry.
    fn review(&self, body: &str) -> Vec<u8> {
        review_with(body.as_bytes(), &self.pins, &self.under, Stage::Admission, |plan| {
            self.runtime.block_on(self.remembering.facts(plan))
        })
    }
}

fn warm(criterion: &mut Criterion) {
    let scene = Scene::set();
    let by_text = policy(1);
    let requests = scene.remembering.registry.requests();

    let mut group = criterion.benchmark_group("registry");
    group.bench_function("static rules", |bencher| {
        bencher.iter(|| black_box(review(black_box(REVIEW.as_bytes()), &by_text, &scene.under)));
    });
    group.bench_function("warm digests", |bencher| {
        bencher.iter(|| black_box(scene.review(black_box(&scene.remembering.pinned))));
    });
    group.finish();

    let mut group = criterion.benchmark_group("cache");
    with_images(scene.remembering.pinned.as_bytes(), |_, asked, images| {
        let plan = scene.pins.plan(asked, images);
        let hits = |calls: u64| {
            for _ in 0..calls {
                black_box(scene.runtime.block_on(scene.remembering.facts(black_box(&plan))));
            }
        };
        group.bench_function("hit, three images", |bencher| bencher.iter(|| hits(1)));
        // The time of one call while the others call too: that of one thread alone, as long as there are cores and no
        // thread waits for another.
        for threads in [2, 8] {
            group.bench_function(format!("hit, three images, {threads} threads at once"), |bencher| {
                bencher.iter_custom(|calls| {
                    let began = Instant::now();
                    thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(|| hits(calls)))));
                    began.elapsed()
                });
            });
        }
    });
    group.finish();
    assert_eq!(scene.remembering.registry.requests(), requests, "a warm review asks no registry");
}

/// A tag can be cold but once, so this is timed by hand.
fn cold(_: &mut Criterion) {
    let scene = Scene::set();
    let registry = &scene.remembering.registry;
    let Ok(digest) = registry.push("acme/cold", &ExampleImage { platforms: &["linux/amd64"], labels: &[] }) else {
        unreachable!("the registry takes an image")
    };
    for number in 0..COLD {
        registry.tag("acme/cold", &format!("v1.0.{number}"), &digest);
    }
    let requests = registry.requests();

    let before = resident();
    let mut times: Vec<Duration> = (0..COLD)
        .map(|number| {
            let body = at_cold_tag(number);
            let began = Instant::now();
            let answer = scene.review(&body);
            let took = began.elapsed();
            assert!(admits(&answer) || String::from_utf8_lossy(&answer).contains("TW121"));
            took
        })
        .collect();
    times.sort_unstable();
    let grown = resident().saturating_sub(before);
    let after = registry.requests() - requests;
    let said = writeln!(
        std::io::stdout(),
        "cold reviews: median {:?}, {after} requests for {COLD} tags\nresident memory: {} MiB in all, grown by {grown} KiB",
        times[COLD / 2],
        resident() >> 10,
    );
    assert!(said.is_ok(), "somebody reads the figures");
}

/// The review with one image, at a tag that nobody has asked for yet.
fn at_cold_tag(number: usize) -> String {
    let image = format!("registry.example.com/acme/cold:v1.0.{number}");
    REVIEW
        .replace("registry.example.com/acme/api:v1.4.2", &image)
        .replace("registry.example.com/acme/proxy:v2.0.1", &image)
        .replace("registry.example.com/acme/metrics:3f9c2d1", &image)
}

fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse().unwrap_or(0)
}

criterion_group!(benches, warm, cold);
criterion_main!(benches);
