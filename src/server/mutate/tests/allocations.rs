//! How many allocations one allowed review costs the server, from its bytes to the answer's, when all it needs is warm.

use super::{
    Age, Answer, Asked, Budget, DigestBuf, Endpoint, Facts, Live, PolicySet, Resolved, Shared, Told, admit, digest,
    mutated,
};
use crate::config::Config;
use futures_util::FutureExt as _;
use serde_json::Value;
use std::time::Duration;
use tokio::time::Instant;

/// A Pod of three containers with an image each.
const REVIEW: &str = include_str!("../../../../tests/data/reviews/pod-8k.json");
const TAGS: [(&str, &str); 3] = [("api", "v1.4.2"), ("proxy", "v2.0.1"), ("metrics", "3f9c2d1")];

/// What each of the ways may cost, with the log off: what was counted when this was written. Lower these with every
/// allocation that goes; one that is added needs a reason, not a higher number.
const MOST_STATIC: u64 = 8;
const MOST_PROVEN: u64 = 39;
const MOST_PINNED: u64 = 85;

fn shared(keys: &str) -> Shared {
    let policy = format!(
        "apiVersion: tagwarden.dev/v1\nkind: ImagePolicy\nmetadata: {{name: p}}\nspec:\n  mode: enforce\n  rules:\n    \
         - {{images: [\"registry.example.com/acme/**\"], tags: [release, commit]{keys}}}\n"
    );
    let config = Config::default();
    let policies = PolicySet::compile(&[("p.yaml", policy)], config.settings.clone()).unwrap();
    Shared::for_tests(Live { config, policies: Some(policies) })
}

/// Of one review among several alike, the middle one: a cache puts its books in order now and then.
fn allocations(shared: &Shared, endpoint: Endpoint, body: &str) -> u64 {
    let mut counts: Vec<u64> = (0..65)
        .map(|_| {
            let deadline = Instant::now() + Duration::from_secs(5);
            let mut place = shared.places.take().unwrap();
            let mut answer = None;
            let counted = allocation_counter::measure(|| {
                answer = admit(shared, endpoint, body.as_bytes(), deadline, &mut place).now_or_never();
            });
            let answer = answer.expect("nothing is waited for").unwrap();
            assert!(String::from_utf8_lossy(&answer).contains("\"allowed\":true"));
            counted.count_total
        })
        .collect();
    counts.sort_unstable();
    counts[counts.len() / 2]
}

#[test]
fn a_review_under_static_rules() {
    let counted = allocations(&shared(""), Endpoint::Validate, REVIEW);
    assert!(counted <= MOST_STATIC, "{counted} allocations, more than {MOST_STATIC}");
}

/// Both endpoints for one Pod: pinned to digests that its controller's Pods were given before, and let in by our proofs.
#[tokio::test]
async fn reviews_of_a_pod_that_is_pinned() {
    let shared = shared(", pin: pods");
    let review: Value = serde_json::from_str(REVIEW).unwrap();
    let mut facts = Facts::default();
    for (repository, tag) in TAGS {
        let asked = Asked::Digest { tag, floating: false, age: Age::Now, budget: Budget::Review };
        let resolved = Resolved::now(DigestBuf::parse(&digest("ab")).unwrap());
        facts.learn(&format!("registry.example.com/acme/{repository}"), &asked, Answer::Digest(Ok(resolved)));
    }
    *shared.told.lock().unwrap() = Some(Told::Facts(facts));
    let pinned = mutated(&shared, &review).await.unwrap();
    *shared.told.lock().unwrap() = None;

    let counted = allocations(&shared, Endpoint::Mutate, REVIEW);
    assert!(counted <= MOST_PINNED, "{counted} allocations, more than {MOST_PINNED}");

    let mut review = review;
    review["request"]["object"] = pinned;
    let counted = allocations(&shared, Endpoint::Validate, &review.to_string());
    assert!(counted <= MOST_PROVEN, "{counted} allocations, more than {MOST_PROVEN}");
}
