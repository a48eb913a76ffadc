//! How many allocations one allowed review costs the engine, from its bytes to the answer's.
//!
//! What the server adds is counted beside the tests of `server::mutate`.

#[path = "../../benches/support/remembering.rs"]
mod remembering;
#[expect(dead_code, reason = "the benches judge more")]
#[path = "../../benches/support/scene.rs"]
mod scene;

use futures_util::FutureExt as _;
use tagwarden::policy::{Plan, Stage};
use tokio::runtime::Runtime;

use remembering::Remembering;
use scene::{REVIEW, Surroundings, admits, asking, denied, policy, review, review_with};

/// What a review of three images may cost: what was counted when this was written. Lower these with every allocation that
/// goes; one that is added needs a reason, not a higher number.
const MOST_STATIC: u64 = 8;
const MOST_OF_1000_RULES: u64 = 11;
const MOST_WARM: u64 = 18;

/// Of one call among several alike, the middle one: a cache puts its books in order now and then.
fn allocations(call: impl Fn() -> Vec<u8>) -> u64 {
    let mut counts: Vec<u64> =
        (0..65).map(|_| allocation_counter::measure(|| drop(std::hint::black_box(call()))).count_total).collect();
    counts.sort_unstable();
    counts[counts.len() / 2]
}

#[test]
fn a_review_under_static_rules() {
    let (set, under) = (policy(1), Surroundings::default());
    assert!(admits(&review(REVIEW.as_bytes(), &set, &under)));
    let counted = allocations(|| review(REVIEW.as_bytes(), &set, &under));
    assert!(counted <= MOST_STATIC, "{counted} allocations, more than {MOST_STATIC}");

    let thousand = policy(1000);
    let of_many = allocations(|| review(REVIEW.as_bytes(), &thousand, &under));
    assert!(of_many <= MOST_OF_1000_RULES, "{of_many} allocations, more than {MOST_OF_1000_RULES}");

    // A review that says why it is denied does cost more: the count is one of this review, and not of nothing.
    let denied = denied();
    assert!(!admits(&review(denied.as_bytes(), &set, &under)));
    assert!(allocations(|| review(denied.as_bytes(), &set, &under)) > counted);
}

#[test]
fn a_review_with_digests_that_are_remembered() {
    let (set, under) = (asking(""), Surroundings::default());
    let runtime = Runtime::new().unwrap();
    let remembering = runtime.block_on(Remembering::start()).unwrap();
    let body = remembering.pinned.as_bytes();
    let cold = review_with(body, &set, &under, Stage::Admission, |plan| runtime.block_on(remembering.facts(plan)));
    assert!(admits(&cold), "{}", String::from_utf8_lossy(&cold));

    let _inside = runtime.enter();
    let requests = remembering.registry.requests();
    let learn = |plan: &Plan<'_>| remembering.facts(plan).now_or_never().expect("nothing is waited for");
    let counted = allocations(|| review_with(body, &set, &under, Stage::Admission, learn));
    assert!(counted <= MOST_WARM, "{counted} allocations, more than {MOST_WARM}");
    assert_eq!(remembering.registry.requests(), requests, "what is remembered is not asked again");
}
