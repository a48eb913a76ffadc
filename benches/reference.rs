//! How long it takes to read a reference, to classify it, and to find its rule among many.

use criterion::{Criterion, criterion_group, criterion_main};
use std::hint::black_box;
use tagwarden::image::{GlobSet, ImageGlob, Reference, TagFacts};

const TYPICAL: &str = "registry.example.com/acme/api:v1.4.2";

fn read(c: &mut Criterion) {
    let pinned = format!("{TYPICAL}@sha256:{}", "0a".repeat(32));
    // The budget is 200 ns.
    c.bench_function("parse typical", |b| b.iter(|| Reference::parse(black_box(TYPICAL))));
    c.bench_function("parse short", |b| b.iter(|| Reference::parse(black_box("nginx"))));
    c.bench_function("parse with digest", |b| b.iter(|| Reference::parse(black_box(&pinned))));
    c.bench_function("parse error", |b| b.iter(|| Reference::parse(black_box("registry.example.com/acme/Api:v1.4.2"))));
    c.bench_function("classify tag", |b| b.iter(|| TagFacts::of(black_box("v1.4.2"))));
    let Ok(reference) = Reference::parse(TYPICAL) else { return };
    c.bench_function("refusals", |b| b.iter(|| black_box(&reference).refusals()));
}

fn find_rule(c: &mut Criterion) {
    for rules in [1, 1000] {
        let globs = (1..=rules).filter_map(|n| ImageGlob::parse(&format!("registry.example.com/acme-{n}/**")).ok());
        let patterns: Vec<String> = globs.map(|glob| glob.to_regex()).collect();
        let Ok(set) = GlobSet::new(&patterns) else { return };
        let name = format!("registry.example.com/acme-{rules}/api");
        c.bench_function(&format!("find the last of {rules} rules"), |b| b.iter(|| set.first_match(black_box(&name))));
        c.bench_function(&format!("compile {rules} rules"), |b| b.iter(|| GlobSet::new(black_box(&patterns))));
    }
}

criterion_group!(benches, read, find_rule);
criterion_main!(benches);
