//! What a registry adds to a review: warm digests beside static rules, a cold lookup beside the request that it makes,
//! and the memory of ten thousand remembered images.

use std::collections::BTreeSet;
use std::error::Error;
use std::hint::black_box;
use std::io::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use criterion::{Criterion, criterion_group, criterion_main};
use tagwarden::cli::{ExampleImage, ExampleRegistry};
use tagwarden::config::{Config, Overrides};
use tagwarden::metrics::Metrics;
use tagwarden::policy::{Facts, Governed, PolicySet, Settings, Stage, decide};
use tagwarden::registry::{Asker, Resolver};
use tagwarden::review::{About, Considered, ExemptRequesters, Outcome, Workloads, answer, consider, read};
use tokio::runtime::Runtime;

const REVIEW: &str = include_str!("../tests/data/reviews/pod-8k.json");
const IMAGES: [(&str, &str); 3] = [("acme/api", "v1.4.2"), ("acme/proxy", "v2.0.1"), ("acme/metrics", "3f9c2d1")];
const COLD: usize = 10_000;

/// A registry with the review's images, a resolver that knows it, and the review as `/mutate` would leave it.
struct Scene {
    registry: ExampleRegistry,
    resolver: Resolver,
    pinned: String,
}

fn policy(keys: &str) -> PolicySet {
    let text = format!(
        "apiVersion: tagwarden.dev/v1\nkind: ImagePolicy\nmetadata: {{name: bench}}\nspec:\n  mode: enforce\n  rules:\n    \
         - {{images: [\"registry.example.com/acme/**\"], tags: [release, commit]{keys}}}\n"
    );
    match PolicySet::compile(&[("bench.yaml", text)], Settings::default()) {
        Ok(set) => set,
        Err(problems) => unreachable!("the bench's policy is valid: {problems:?}"),
    }
}

async fn scene() -> Result<Scene, Box<dyn Error>> {
    let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs())?;
    let registry = ExampleRegistry::start(now).await?;
    let ca = std::env::temp_dir().join(format!("tagwarden-bench-{}.crt", std::process::id()));
    std::fs::write(&ca, registry.authority())?;
    let text = format!(
        "registries: [{{host: registry.example.com, endpoint: \"{}\", private: true, ca: {}}}]\n",
        registry.endpoint(),
        ca.display()
    );
    let config = Config::from_text("bench.yaml", &text, &Overrides::default())?;
    let hosts = BTreeSet::from(["registry.example.com".to_owned()]);
    let resolver = Resolver::new(config.registry, hosts, Arc::new(Metrics::new()?))?;
    std::fs::remove_file(&ca)?;
    let mut pinned = REVIEW.to_owned();
    for (repository, tag) in IMAGES {
        let digest =
            registry.push(repository, &ExampleImage { platforms: &["linux/amd64"], labels: &[("of", repository)] })?;
        registry.tag(repository, tag, &digest);
        let image = format!("registry.example.com/{repository}:{tag}");
        pinned = pinned.replace(&format!("\"{image}\""), &format!("\"{image}@{digest}\""));
    }
    let digest = registry.push("acme/cold", &ExampleImage { platforms: &["linux/amd64"], labels: &[] })?;
    for number in 0..COLD {
        registry.tag("acme/cold", &format!("v1.0.{number}"), &digest);
    }
    Ok(Scene { registry, resolver, pinned })
}

/// The whole way from bytes to bytes; with a resolver the facts come from it.
async fn review(body: &str, set: &PolicySet, resolver: Option<&Resolver>) -> Vec<u8> {
    let (workloads, requesters) = (Workloads::default(), ExemptRequesters::default());
    let Ok(request) = read(body.as_bytes()) else { return Vec::new() };
    let about = About::of(&request);
    let Considered::Judge(collected) = consider(&request, &about, &workloads, &requesters) else { return Vec::new() };
    let images = collected.images();
    let asked = about.policy_request(None, &[], Governed::default(), Stage::Admission, 0);
    let plan = set.plan(&asked, &images);
    let facts = match resolver {
        Some(resolver) => {
            let deadline = tokio::time::Instant::now() + Duration::from_secs(5);
            resolver.facts(&plan, Asker { namespace: Some("shop"), ..Asker::default() }, deadline).await
        }
        None => Facts::default(),
    };
    let verdict = decide(plan, &images, &facts);
    answer(&about, Outcome::Judged(&verdict), Some(set), &[])
}

/// One image of the review's form at a tag that nobody has asked for yet.
fn cold(number: usize) -> String {
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

fn registries(criterion: &mut Criterion) {
    let Ok(runtime) = Runtime::new() else { unreachable!("a runtime can be made") };
    let scene = match runtime.block_on(scene()) {
        Ok(scene) => scene,
        Err(problem) => unreachable!("the scene can be set: {problem}"),
    };
    let (static_rules, pins) = (policy(""), policy(", pin: pods"));
    let by_text = policy(", pin: none");
    let allowed = |answer: &[u8]| String::from_utf8_lossy(answer).contains("\"allowed\":true");
    assert!(allowed(&runtime.block_on(review(REVIEW, &static_rules, None))), "the review is an allowed one");
    let warm = runtime.block_on(review(&scene.pinned, &pins, Some(&scene.resolver)));
    assert!(allowed(&warm), "and so it is with its digests: {}", String::from_utf8_lossy(&warm));
    let requests = scene.registry.requests();

    let mut group = criterion.benchmark_group("registry");
    group.bench_function("static rules", |bencher| {
        bencher.iter(|| runtime.block_on(review(black_box(REVIEW), &by_text, None)));
    });
    group.bench_function("warm digests", |bencher| {
        bencher.iter(|| runtime.block_on(review(black_box(&scene.pinned), &pins, Some(&scene.resolver))));
    });
    group.finish();
    assert_eq!(scene.registry.requests(), requests, "a warm review asks no registry");

    // A tag can be cold but once, so this is timed by hand.
    let before = resident();
    let mut times: Vec<Duration> = (0..COLD)
        .map(|number| {
            let body = cold(number);
            let began = Instant::now();
            let answer = runtime.block_on(review(&body, &pins, Some(&scene.resolver)));
            let took = began.elapsed();
            assert!(allowed(&answer) || String::from_utf8_lossy(&answer).contains("TW121"));
            took
        })
        .collect();
    times.sort_unstable();
    let grown = resident().saturating_sub(before);
    let after = scene.registry.requests() - requests;
    let said = writeln!(
        std::io::stdout(),
        "cold reviews: median {:?}, {after} requests for {COLD} tags\nresident memory: {} MiB in all, grown by {grown} KiB",
        times[COLD / 2],
        resident() >> 10,
    );
    assert!(said.is_ok(), "somebody reads the figures");
}

criterion_group!(benches, registries);
criterion_main!(benches);
