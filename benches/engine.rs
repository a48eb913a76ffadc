//! Reading and judging a review: an 8 KB Pod of three containers, under policies of 1, 100 and 1,000 rules.

use std::fmt::Write as _;
use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use tagwarden::policy::{Facts, PolicySet, Settings, Verdict, decide};
use tagwarden::review::{About, Considered, ExemptRequesters, Outcome, Workloads, answer, consider, read};

const REVIEW: &[u8] = include_bytes!("../tests/data/reviews/pod-8k.json");

/// A policy of `rules` rules of which the last is the one that names the review's images.
fn policy(rules: usize) -> PolicySet {
    let mut text = String::from(
        "apiVersion: tagwarden.dev/v1\nkind: ImagePolicy\nmetadata: {name: bench}\nspec:\n  mode: enforce\n  rules:\n",
    );
    for rule in 1..rules {
        let _ = writeln!(
            text,
            "    - {{images: [\"registry.example.com/team-{rule}/**\"], tags: [release, 'build-{rule}-\\d+']}}"
        );
    }
    let _ = writeln!(text, "    - {{images: [\"registry.example.com/acme/**\"], tags: [release, commit]}}");
    match PolicySet::compile(&[("bench.yaml", text)], Settings::default()) {
        Ok(set) => set,
        Err(problems) => unreachable!("the bench's policy is valid: {problems:?}"),
    }
}

/// The whole way from bytes to bytes, as the server goes it.
fn review(body: &[u8], set: &PolicySet, workloads: &Workloads, requesters: &ExemptRequesters) -> Vec<u8> {
    let Ok(request) = read(body) else { return Vec::new() };
    let about = About::of(&request);
    let Considered::Judge(collected) = consider(&request, &about, workloads, requesters) else { return Vec::new() };
    let images = collected.images();
    let asked = about.policy_request(None, tagwarden::policy::Stage::Admission, 0);
    let verdict: Verdict<'_> = decide(set.plan(&asked, &images), &images, &Facts::default());
    answer(&about, Outcome::Judged(&verdict), Some(set), &[])
}

fn reviews(criterion: &mut Criterion) {
    let workloads = Workloads::default();
    let requesters = ExemptRequesters::default();
    let allowed =
        String::from_utf8_lossy(&review(REVIEW, &policy(1), &workloads, &requesters)).contains("\"allowed\":true");
    assert!(allowed, "the review is an allowed one");
    let mut group = criterion.benchmark_group("review");
    for rules in [1, 100, 1000] {
        let set = policy(rules);
        group.bench_function(format!("{rules} rules"), |bencher| {
            bencher.iter(|| black_box(review(black_box(REVIEW), &set, &workloads, &requesters)));
        });
    }
    group.bench_function("reading alone", |bencher| {
        bencher.iter(|| {
            let request = read(black_box(REVIEW));
            black_box(request.map(|request| match consider(&request, &About::of(&request), &workloads, &requesters) {
                Considered::Judge(collected) => collected.images().len(),
                _ => 0,
            }))
        });
    });
    group.finish();
}

criterion_group!(benches, reviews);
criterion_main!(benches);
