//! Reading and judging a review: an 8 KB Pod of three containers, under policies of 1, 100 and 1,000 rules, as a whole and
//! part by part.

#[path = "support/scene.rs"]
mod scene;

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use tagwarden::policy::{Facts, Stage, decide};
use tagwarden::review::{Outcome, answer};

use scene::{
    Known, METADATA, REVIEW, Surroundings, admits, asking, declared, denied, images_of, policy, review, review_with,
    with_images,
};

const RULES: [usize; 3] = [1, 100, 1000];

fn reviews(criterion: &mut Criterion) {
    let under = Surroundings::default();
    let mut group = criterion.benchmark_group("review");
    for rules in RULES {
        let set = policy(rules);
        assert!(admits(&review(REVIEW.as_bytes(), &set, &under)), "the review is an allowed one");
        group.bench_function(format!("{rules} rules"), |bencher| {
            bencher.iter(|| black_box(review(black_box(REVIEW.as_bytes()), &set, &under)));
        });
    }
    group.finish();
}

fn parts(criterion: &mut Criterion) {
    let under = Surroundings::default();
    let mut group = criterion.benchmark_group("read");
    for (name, body) in [
        ("3 KB", include_str!("../tests/data/reviews/pod-create-dry-run.json")),
        ("8 KB", REVIEW),
        ("64 KB", include_str!("../tests/data/reviews/pod-64k.json")),
    ] {
        group.bench_function(name, |bencher| bencher.iter(|| black_box(images_of(black_box(body.as_bytes()), &under))));
    }
    group.finish();

    let mut group = criterion.benchmark_group("plan and decide");
    for rules in RULES {
        let set = policy(rules);
        with_images(REVIEW.as_bytes(), |_, asked, images| {
            group.bench_function(format!("{rules} rules"), |bencher| {
                bencher.iter(|| {
                    let plan = set.plan(black_box(asked), black_box(images));
                    black_box(decide(plan, images, &Facts::default()));
                });
            });
        });
    }
    group.finish();

    let set = policy(1);
    let mut group = criterion.benchmark_group("answer");
    for (name, body) in [("allowed", REVIEW), ("denied", &denied())] {
        with_images(body.as_bytes(), |about, asked, images| {
            let verdict = decide(set.plan(asked, images), images, &Facts::default());
            group.bench_function(name, |bencher| {
                bencher.iter(|| black_box(answer(about, Outcome::Judged(black_box(&verdict)), Some(&set), &[])));
            });
        });
    }
    group.finish();
}

/// What it costs to judge what registries say, once that is known.
fn facts(criterion: &mut Criterion) {
    let known = Known::all();
    let under = Surroundings { releases: declared(&known), ..Surroundings::default() };
    let mut group = criterion.benchmark_group("facts at hand");
    for (name, keys) in [
        ("pinned", ""),
        ("pinned, of one release", ", release: require"),
        ("pinned, with all that images say of themselves", METADATA),
    ] {
        let set = asking(keys);
        let review = |body: &[u8]| review_with(body, &set, &under, Stage::Mutation, |plan| known.facts(plan));
        let answered = review(REVIEW.as_bytes());
        assert!(admits(&answered), "the review is an allowed one: {}", String::from_utf8_lossy(&answered));
        group.bench_function(name, |bencher| bencher.iter(|| black_box(review(black_box(REVIEW.as_bytes())))));
    }
    group.finish();
}

criterion_group!(benches, reviews, parts, facts);
criterion_main!(benches);
