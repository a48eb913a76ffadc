//! What is counted: each part of a review's way, and the whole of it.

use std::hint::black_box;

use tagwarden::image::Reference;
use tagwarden::policy::{Facts, Stage, decide};
use tagwarden::review::{Outcome, answer};

use crate::scene::{
    self, Known, Surroundings, admits, asking, denied, images_of, policy, review, review_with, with_images,
};

/// Pods as an API server sends them.
const SMALL: &[u8] = include_bytes!("../../tests/data/reviews/pod-create-dry-run.json");
const USUAL: &[u8] = scene::REVIEW.as_bytes();
const LARGE: &[u8] = include_bytes!("../../tests/data/reviews/pod-64k.json");

/// How a case is counted: its name, and one call of it.
type Count = fn(&str, &mut dyn FnMut());

/// Counts everything.
pub fn all(count: Count) {
    references(count);
    reading(count);
    for rules in [1, 100, 1000] {
        judging(count, rules);
    }
    answers(count);
    whole(count);
    at_hand(count);
}

fn references(count: Count) {
    let pinned = format!("registry.example.com/acme/api:v1.4.2@sha256:{}", "0a".repeat(32));
    for (name, text) in [
        ("reference: short", "nginx"),
        ("reference: with a tag", "registry.example.com/acme/api:v1.4.2"),
        ("reference: with a digest", &pinned),
    ] {
        assert!(Reference::parse(text).is_ok());
        count(name, &mut || drop(black_box(Reference::parse(black_box(text)))));
    }
}

/// From a review's bytes to its images.
fn reading(count: Count) {
    let under = Surroundings::default();
    for (name, body) in [("read: 3 KB", SMALL), ("read: 8 KB", USUAL), ("read: 64 KB", LARGE)] {
        assert!(images_of(body, &under) > 0);
        count(name, &mut || {
            black_box(images_of(black_box(body), &under));
        });
    }
}

/// From images to a verdict, without facts.
fn judging(count: Count, rules: usize) {
    let set = policy(rules);
    with_images(USUAL, |_, asked, images| {
        count(&format!("plan and decide: rules {rules}"), &mut || {
            let plan = set.plan(black_box(asked), black_box(images));
            drop(black_box(decide(plan, images, &Facts::default())));
        });
    });
}

/// From a verdict to the answer's bytes.
fn answers(count: Count) {
    let set = policy(1);
    let denied = denied();
    for (name, body, allowed) in [("answer: allowed", USUAL, true), ("answer: denied", denied.as_bytes(), false)] {
        with_images(body, |about, asked, images| {
            let verdict = decide(set.plan(asked, images), images, &Facts::default());
            assert_eq!(verdict.decision.admits(), allowed);
            count(name, &mut || drop(black_box(answer(about, Outcome::Judged(black_box(&verdict)), Some(&set), &[]))));
        });
    }
}

fn whole(count: Count) {
    let under = Surroundings::default();
    let (one, thousand) = (policy(1), policy(1000));
    let denied = denied();
    for (name, body, set, allowed) in [
        ("review: allowed", USUAL, &one, true),
        ("review: allowed by the last of 1000 rules", USUAL, &thousand, true),
        ("review: denied", denied.as_bytes(), &one, false),
    ] {
        assert_eq!(admits(&review(body, set, &under)), allowed);
        count(name, &mut || drop(black_box(review(black_box(body), set, &under))));
    }
}

/// The whole way with all facts at hand, in a namespace that a release governs.
fn at_hand(count: Count) {
    let known = Known::all();
    let under = Surroundings { releases: scene::declared(&known), ..Surroundings::default() };
    for (name, keys) in [
        ("review: digests at hand", ""),
        ("review: of one release", ", release: require"),
        ("review: all that images say of themselves", scene::METADATA),
    ] {
        let set = asking(keys);
        let review = |body| review_with(body, &set, &under, Stage::Mutation, |plan| known.facts(plan));
        assert!(admits(&review(USUAL)), "{name}");
        count(name, &mut || drop(black_box(review(black_box(USUAL)))));
    }
}
