//! What is counted: each part of a review's way, and the whole of it.

use std::hint::black_box;

use tagwarden::image::Reference;
use tagwarden::policy::{Facts, Governed, Stage, decide};
use tagwarden::review::{About, Considered, Outcome, answer, consider, read};

use crate::scene::{self, Known, Surroundings, admits, asked_review, asking, denied, policy, review};

/// A Pod as small as an API server sends it.
const SMALL: &[u8] = include_bytes!("../../tests/data/reviews/pod-create-dry-run.json");
const LARGE: &[u8] = scene::REVIEW.as_bytes();

/// How a case is counted: its name, and one call of it.
type Count = fn(&str, &mut dyn FnMut());

/// Counts everything.
pub fn all(count: Count) {
    references(count);
    count("read a review of 3 KB", &mut || drop(black_box(read(black_box(SMALL)))));
    count("read a review of 8 KB", &mut || drop(black_box(read(black_box(LARGE)))));
    for rules in [1, 100, 1000] {
        judging(count, rules);
    }
    answers(count);
    whole(count);
}

fn references(count: Count) {
    let pinned = format!("registry.example.com/acme/api:v1.4.2@sha256:{}", "0a".repeat(32));
    for (name, text) in [
        ("parse a short reference", "nginx"),
        ("parse a reference with a tag", "registry.example.com/acme/api:v1.4.2"),
        ("parse a reference with a digest", &pinned),
    ] {
        assert!(Reference::parse(text).is_ok());
        count(name, &mut || drop(black_box(Reference::parse(black_box(text)))));
    }
}

/// From images that are read to a verdict, without facts.
fn judging(count: Count, rules: usize) {
    let (set, under) = (policy(rules), Surroundings::default());
    let Ok(request) = read(LARGE) else { unreachable!("it is a review") };
    let about = About::of(&request);
    let Considered::Judge(collected) = consider(&request, &about, &under.workloads, &under.requesters) else {
        unreachable!("a Pod is judged")
    };
    let images = collected.images();
    let asked = about.policy_request(None, &[], Governed::default(), Stage::Admission, 0);
    count(&format!("plan and decide, rules: {rules}"), &mut || {
        let plan = set.plan(black_box(&asked), black_box(&images));
        drop(black_box(decide(plan, &images, &Facts::default())));
    });
}

fn answers(count: Count) {
    let (set, under) = (policy(1), Surroundings::default());
    let denied = denied();
    for (name, body, allowed) in [("answer: allowed", LARGE, true), ("answer: denied", denied.as_bytes(), false)] {
        let Ok(request) = read(body) else { unreachable!("it is a review") };
        let about = About::of(&request);
        let Considered::Judge(collected) = consider(&request, &about, &under.workloads, &under.requesters) else {
            unreachable!("a Pod is judged")
        };
        let images = collected.images();
        let asked = about.policy_request(None, &[], Governed::default(), Stage::Admission, 0);
        let verdict = decide(set.plan(&asked, &images), &images, &Facts::default());
        assert_eq!(verdict.decision.admits(), allowed);
        count(name, &mut || drop(black_box(answer(&about, Outcome::Judged(black_box(&verdict)), Some(&set), &[]))));
    }
}

fn whole(count: Count) {
    let under = Surroundings::default();
    let (one, thousand) = (policy(1), policy(1000));
    let denied = denied();
    for (name, body, set, allowed) in [
        ("review: allowed", LARGE, &one, true),
        ("review: allowed, rules: 1000", LARGE, &thousand, true),
        ("review: denied", denied.as_bytes(), &one, false),
    ] {
        assert_eq!(admits(&review(body, set, &under)), allowed);
        count(name, &mut || drop(black_box(review(black_box(body), set, &under))));
    }

    let known = Known::all();
    let under = Surroundings { releases: scene::declared(&known), ..Surroundings::default() };
    for (name, keys) in [
        ("review: digests at hand", ""),
        ("review: of one release", ", release: require"),
        ("review: all that images say of themselves", scene::METADATA),
    ] {
        let set = asking(keys);
        assert!(admits(&asked_review(LARGE, &set, &under, &known)), "{name}");
        count(name, &mut || drop(black_box(asked_review(black_box(LARGE), &set, &under, &known))));
    }
}
