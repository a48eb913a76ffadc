//! Reading and judging a review: an 8 KB Pod of three containers, under policies of 1, 100 and 1,000 rules.

use std::fmt::Write as _;
use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use std::sync::Arc;

use tagwarden::image::{DigestBuf, Platform};
use tagwarden::policy::{
    Answer, Asked, Created, Facts, Governed, ImageFacts, PlatformFacts, PolicySet, Releases, Resolved, Settings,
    Snapshots, Undecided, Verdict, decide, gather,
};
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

/// A policy that asks registries, with further keys of its rule.
fn asking(keys: &str) -> PolicySet {
    let text = format!(
        "apiVersion: tagwarden.dev/v1\nkind: ImagePolicy\nmetadata: {{name: bench}}\nspec:\n  mode: enforce\n  rules:\n    \
         - {{images: [\"registry.example.com/acme/**\"], tags: [release, commit], pin: pods{keys}}}\n"
    );
    match PolicySet::compile(&[("bench.yaml", text)], Settings::default()) {
        Ok(set) => set,
        Err(problems) => unreachable!("the bench's policy is valid: {problems:?}"),
    }
}

/// All keys about what an image says of itself.
const METADATA: &str = ", labels: {org.opencontainers.image.source: 'https://git\\.example\\.com/.+'}, revision: match, version: match, age: {max: 180d}, \
                        platforms: [linux/amd64, linux/arm64], baseImages: [\"registry.example.com/base/**\"]";

/// The time of the bench, and when its images were made.
const NOW: i64 = 1_800_000_000;

/// What a registry remembers of every image: two platforms, all labels in order.
fn remembered(tag: &str) -> (DigestBuf, Arc<ImageFacts>) {
    let hex = tag.bytes().fold(7_u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(byte)));
    let Ok(digest) = DigestBuf::parse(&format!("sha256:{hex:064x}")) else { unreachable!("it is a digest") };
    let platform = |name: &str| {
        let platform = Platform::parse(name).unwrap_or_else(Platform::common);
        let mut facts = PlatformFacts::silent(platform, digest.clone());
        let version = if tag.starts_with('v') { tag } else { "v1.0.0" };
        let revision = if tag.starts_with('v') { "" } else { tag };
        facts.labels = [
            ("org.opencontainers.image.source", "https://git.example.com/acme/api".to_owned()),
            ("org.opencontainers.image.version", version.to_owned()),
            ("org.opencontainers.image.revision", format!("{revision:0<40}")),
        ]
        .map(|(key, value)| (key.to_owned(), value))
        .into();
        facts.base = Some("registry.example.com/base/go:1.24".to_owned());
        facts.created = Created::At(NOW - 1_000_000);
        facts
    };
    let platforms = ["linux/amd64", "linux/arm64"].map(platform).into();
    (digest, Arc::new(ImageFacts { platforms }))
}

/// The same with facts that are at hand.
fn asked_review(
    body: &[u8],
    set: &PolicySet,
    workloads: &Workloads,
    known: &[(&str, DigestBuf, Arc<ImageFacts>)],
    releases: &Releases,
) -> Vec<u8> {
    let Ok(request) = read(body) else { return Vec::new() };
    let about = About::of(&request);
    let requesters = ExemptRequesters::default();
    let Considered::Judge(collected) = consider(&request, &about, workloads, &requesters) else { return Vec::new() };
    let images = collected.images();
    let asked =
        about.policy_request(None, &[], releases.govern(Some("shop"), None), tagwarden::policy::Stage::Mutation, NOW);
    let plan = set.plan(&asked, &images);
    let absent = || Undecided::new(tagwarden::policy::Failure::Unreachable, "not known");
    let answer = |lookup: &tagwarden::policy::Lookup<'_>| match lookup.what {
        Asked::Digest { tag, .. } => {
            let found = known.iter().find(|(known, ..)| *known == tag);
            Answer::Digest(found.map(|(_, digest, _)| Resolved::now(digest.clone())).ok_or_else(absent))
        }
        Asked::Image { digest } => {
            let found = known.iter().find(|(_, known, _)| known.as_str() == digest);
            Answer::Image(found.map(|(.., facts)| facts.clone()).ok_or_else(absent))
        }
        other => other.failed(absent()),
    };
    let facts = gather(&plan, answer, absent());
    let verdict = decide(plan, &images, &facts);
    answer_of(&about, &verdict, set)
}

fn answer_of(about: &About<'_>, verdict: &Verdict<'_>, set: &PolicySet) -> Vec<u8> {
    answer(about, Outcome::Judged(verdict), Some(set), &[])
}

/// What it costs to judge what images say of themselves, once that is known.
fn metadata(criterion: &mut Criterion) {
    let workloads = Workloads::default();
    let text = String::from_utf8_lossy(REVIEW).into_owned();
    let tags: std::collections::BTreeSet<&str> = text
        .split("\"image\":\"registry.example.com/acme/")
        .skip(1)
        .filter_map(|rest| rest.split('"').next()?.split_once(':').map(|(_, tag)| tag))
        .collect();
    let known: Vec<_> =
        tags.iter().map(|tag| (*tag, remembered(tag))).map(|(tag, (digest, facts))| (tag, digest, facts)).collect();
    let mut group = criterion.benchmark_group("facts at hand");
    let releases = declared(&text, &known);
    for (name, keys) in [
        ("pinned", ""),
        ("pinned, of one release", ", release: require"),
        ("pinned, with all that images say of themselves", METADATA),
    ] {
        let set = asking(keys);
        let answered = asked_review(REVIEW, &set, &workloads, &known, &releases);
        let answered = String::from_utf8_lossy(&answered);
        assert!(answered.contains("\"allowed\":true"), "the review is an allowed one: {answered}");
        group.bench_function(name, |bencher| {
            bencher.iter(|| black_box(asked_review(black_box(REVIEW), &set, &workloads, &known, &releases)));
        });
    }
    group.finish();
}

/// A release of the review's images among a hundred others.
fn declared(text: &str, known: &[(&str, DigestBuf, Arc<ImageFacts>)]) -> Releases {
    let mut file = "release: bench\nimages:\n".to_owned();
    for number in 0..100 {
        let _ = writeln!(file, "  other-{number}: {{repo: registry.example.com/other/{number}, tag: v1.0.0}}");
    }
    for image in text.split("\"image\":\"").skip(1).filter_map(|rest| rest.split('"').next()) {
        let Some((repository, tag)) = image.split_once(':') else { continue };
        let name = repository.rsplit('/').next().unwrap_or_default();
        let Some((_, digest, _)) = known.iter().find(|(known, ..)| *known == tag) else { continue };
        if !file.contains(&format!("  {name}: ")) {
            let _ = writeln!(file, "  {name}: {{repo: {repository}, tag: \"{tag}\", digest: \"{digest}\"}}");
        }
    }
    match Snapshots::read(&[("bench.yaml", file)]) {
        Ok(snapshots) => Releases::everywhere("bench", snapshots),
        Err(problems) => unreachable!("the bench's release is valid: {problems:?}"),
    }
}

/// The whole way from bytes to bytes, as the server goes it.
fn review(body: &[u8], set: &PolicySet, workloads: &Workloads, requesters: &ExemptRequesters) -> Vec<u8> {
    let Ok(request) = read(body) else { return Vec::new() };
    let about = About::of(&request);
    let Considered::Judge(collected) = consider(&request, &about, workloads, requesters) else { return Vec::new() };
    let images = collected.images();
    let asked = about.policy_request(None, &[], Governed::default(), tagwarden::policy::Stage::Admission, 0);
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

criterion_group!(benches, reviews, metadata);
criterion_main!(benches);
