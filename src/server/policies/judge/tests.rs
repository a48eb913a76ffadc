//! Files and objects, good and bad, with and without an earlier version: what is in force, and what is said.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Force, Good, Judged, LastGood, Sources, judge};
use crate::cluster::{StoredObject, StoredObjects};
use crate::policy::{PolicySet, Settings, TrustedLabels};
use crate::server::policies::files::ReadFiles;

fn policy(name: &str, mode: &str) -> String {
    format!(
        "{{\"apiVersion\": \"tagwarden.dev/v1\", \"kind\": \"ImagePolicy\", \"metadata\": {{\"name\": \"{name}\"}}, \
         \"spec\": {{\"mode\": \"{mode}\", \"rules\": [{{\"images\": [\"**\"]}}]}}}}"
    )
}

fn objects(of: &[(&str, String)]) -> StoredObjects {
    let stored = |text: &String| StoredObject { text: text.clone(), generation: 1, ..StoredObject::default() };
    of.iter().map(|(name, text)| ((*name).to_owned(), stored(text))).collect()
}

fn files(texts: &[&str]) -> ReadFiles {
    let texts = texts.iter().enumerate().map(|(n, text)| (format!("f{n}.yaml"), (*text).to_owned())).collect();
    ReadFiles { texts, unreadable: Vec::new() }
}

fn settings() -> Settings {
    Settings::default()
}

fn of(files: &ReadFiles, objects: &StoredObjects, known: &LastGood) -> Judged {
    judge(&Sources { files: Some(files), objects: Some(objects) }, known, &settings())
}

fn names(set: Option<&PolicySet>) -> Vec<&str> {
    set.into_iter().flat_map(PolicySet::policies).map(|(name, _)| name).collect()
}

fn told(judged: &Judged) -> String {
    judged.problems.iter().map(|problem| format!("{problem}\n")).collect()
}

fn forces(judged: &Judged) -> BTreeMap<&str, Force> {
    judged.standings.iter().map(|(name, standing)| (name.as_str(), standing.force)).collect()
}

#[test]
fn files_and_objects_are_one_set() {
    let judged = of(&files(&[&policy("f", "warn")]), &objects(&[("o", policy("o", "warn"))]), &LastGood::default());
    assert_eq!(names(judged.set.as_ref()), ["f", "o"]);
    assert_eq!(told(&judged), "");
    let both = PolicySet::compile(&[("a", policy("f", "warn")), ("b", policy("o", "warn"))], settings()).unwrap();
    assert_eq!(judged.set.as_ref().unwrap().hash(), both.hash(), "as if they were files of one directory");
    let hashes: Vec<_> = both.policies().map(|(_, hash)| hash).collect();
    assert_eq!(judged.standings["o"].hash.as_deref(), Some(hashes[1]));
}

#[test]
fn a_bad_object_leaves_its_last_good_version_and_the_others_in_force() {
    let first =
        of(&files(&[]), &objects(&[("a", policy("a", "warn")), ("b", policy("b", "warn"))]), &LastGood::default());
    assert_eq!(names(first.set.as_ref()), ["a", "b"]);
    let now = objects(&[("a", policy("a", "wran")), ("b", policy("b", "audit")), ("c", policy("c", "wran"))]);
    let second = of(&files(&[]), &now, &first.good);
    assert_eq!(names(second.set.as_ref()), ["a", "b"], "c has no good version");
    assert_eq!(forces(&second), [("a", Force::Earlier), ("b", Force::This), ("c", Force::None)].into_iter().collect());
    assert!(told(&second).contains("ImagePolicy a: spec.mode: 'wran' is not a value"), "{}", told(&second));
    assert!(second.without_good && second.lost.is_empty() && !second.from_saved);
    assert_eq!(second.standings["a"].hash, first.standings["a"].hash);
    assert_ne!(second.standings["b"].hash, first.standings["b"].hash);
    let third = of(&files(&[]), &objects(&[("a", policy("a", "wran")), ("b", policy("b", "wran"))]), &second.good);
    assert_eq!(third.standings["b"].hash, second.standings["b"].hash, "the last good one, not the first");
}

#[test]
fn a_deleted_object_goes_and_does_not_come_back() {
    let first =
        of(&files(&[]), &objects(&[("a", policy("a", "warn")), ("b", policy("b", "warn"))]), &LastGood::default());
    let second = of(&files(&[]), &objects(&[("b", policy("b", "warn"))]), &first.good);
    assert_eq!(names(second.set.as_ref()), ["b"]);
    let again = of(&files(&[]), &objects(&[("a", policy("a", "wran")), ("b", policy("b", "warn"))]), &second.good);
    assert_eq!(names(again.set.as_ref()), ["b"], "what is known of a was forgotten with it");
}

#[test]
fn a_name_that_a_file_has_is_the_objects_error_even_where_the_object_was_first() {
    let alone = of(&files(&[]), &objects(&[("x", policy("x", "warn"))]), &LastGood::default());
    let judged = of(&files(&[&policy("x", "audit")]), &objects(&[("x", policy("x", "warn"))]), &alone.good);
    assert_eq!(names(judged.set.as_ref()), ["x"]);
    assert_eq!(forces(&judged)["x"], Force::None);
    assert!(told(&judged).starts_with("ImagePolicy x: metadata.name: a file has a policy of the name 'x' too"));
    assert!(!judged.without_good, "there is nothing to be waited for");
}

#[test]
fn files_are_one_unit_and_their_last_good_set_serves_beside_objects() {
    let first = of(&files(&[&policy("f", "warn"), &policy("g", "warn")]), &objects(&[]), &LastGood::default());
    let bad = files(&[&policy("f", "wran"), &policy("g", "audit")]);
    let second = of(&bad, &objects(&[("o", policy("o", "warn"))]), &first.good);
    assert_eq!(names(second.set.as_ref()), ["f", "g", "o"]);
    assert_eq!(second.good.files, first.good.files);
    assert!(told(&second).contains("f0.yaml:1:"), "{}", told(&second));
    let third = of(&files(&[]), &objects(&[("o", policy("o", "warn"))]), &second.good);
    assert_eq!(names(third.set.as_ref()), ["o"], "files may be taken away");
    let unread = ReadFiles { unreadable: vec![crate::document::Diagnostic::of_file("policies", "gone")], ..files(&[]) };
    assert_eq!(names(of(&unread, &objects(&[]), &first.good).set.as_ref()), ["f", "g"]);
}

#[test]
fn without_any_good_version_of_the_files_there_is_no_set() {
    let judged = of(&files(&["kind: x"]), &objects(&[("o", policy("o", "warn"))]), &LastGood::default());
    assert!(judged.set.is_none() && judged.without_good);
    assert_eq!(forces(&judged)["o"], Force::This, "and of the objects is said what they are");
}

#[test]
fn no_policy_at_all_is_an_error_unless_it_is_allowed() {
    for bad in [objects(&[]), objects(&[("a", policy("a", "wran"))])] {
        let judged = of(&files(&[]), &bad, &LastGood::default());
        assert!(judged.set.is_none());
        assert!(told(&judged).contains("there is no policy at all"), "{}", told(&judged));
        let allowed = Settings { allow_empty: true, ..settings() };
        let sources = Sources { files: None, objects: Some(&bad) };
        assert!(judge(&sources, &LastGood::default(), &allowed).set.is_some());
    }
    let alone = judge(&Sources { files: None, objects: None }, &LastGood::default(), &settings());
    assert!(told(&alone).contains("no directory of policies is named"));
    let objects_alone = objects(&[("a", policy("a", "warn"))]);
    let sources = Sources { files: None, objects: Some(&objects_alone) };
    assert_eq!(names(judge(&sources, &LastGood::default(), &settings()).set.as_ref()), ["a"]);
}

#[test]
fn what_was_saved_serves_what_is_there_and_bad_and_is_told() {
    let good = |name: &str| Good { text: policy(name, "warn"), saved: true };
    let saved_files = Some(Good { text: files(&[&policy("f", "warn")]).texts, saved: true });
    let saved =
        LastGood { files: saved_files, objects: [("a".to_owned(), good("a")), ("b".to_owned(), good("b"))].into() };
    let judged = of(&files(&[&policy("f", "wran")]), &objects(&[("a", policy("a", "wran"))]), &saved);
    assert_eq!(names(judged.set.as_ref()), ["a", "f"], "b is gone on purpose");
    assert!(judged.from_saved && !judged.without_good);
    let fine = of(&files(&[&policy("f", "warn")]), &objects(&[("a", policy("a", "warn"))]), &saved);
    assert!(!fine.from_saved);
    assert!(!fine.good.files.unwrap().saved && !fine.good.objects["a"].saved);
}

#[test]
fn what_does_not_compile_under_other_settings_is_lost_and_kept() {
    let selects = policy("a", "warn")
        .replace("\"mode\"", "\"namespaces\": {\"selector\": {\"matchLabels\": {\"team\": \"x\"}}}, \"mode\"");
    let stored = objects(&[("a", selects)]);
    let first = judge(&Sources { files: None, objects: Some(&stored) }, &LastGood::default(), &settings());
    assert_eq!(names(first.set.as_ref()), ["a"]);
    let strict = Settings { trusted_labels: TrustedLabels::Only(Vec::new()), allow_empty: true, ..settings() };
    let second = judge(&Sources { files: None, objects: Some(&stored) }, &first.good, &strict);
    assert_eq!(second.lost, ["a"]);
    assert_eq!(second.good.objects, first.good.objects);
    assert!(told(&second).contains("trustedNamespaceLabels"), "{}", told(&second));
    assert!(second.set.is_some(), "while something is in force it is for the configuration to be refused");
    let at_start = second.without_losses();
    assert!(at_start.set.is_none(), "at start nothing may come into force without it");
    assert!(told(&at_start).contains("ImagePolicy a: a version of this object was in force"), "{}", told(&at_start));
    assert!(told(&at_start).contains("or delete it"), "{}", told(&at_start));
}

#[test]
fn a_bad_object_whose_status_says_that_it_was_in_force_is_lost_where_nothing_good_is_known_of_it() {
    let ready = |reason: &str| json!({"conditions": [{"type": "Ready", "reason": reason}]});
    for (status, is_lost) in [
        (json!({"hash": "h"}), true),
        (ready("InForce"), true),
        (ready("EarlierVersionInForce"), true),
        (ready("Lost"), true),
        (ready("Invalid"), false),
        (ready("Waiting"), false),
        (Value::Null, false),
    ] {
        let mut now = objects(&[("a", policy("a", "wran")), ("b", policy("b", "warn"))]);
        now.get_mut("a").unwrap().status = status.clone();
        let judged = of(&files(&[]), &now, &LastGood::default()).without_losses();
        assert_eq!(judged.set.is_none(), is_lost, "{status}");
        assert_eq!(told(&judged).contains("was in force"), is_lost, "{status}");
        now.get_mut("a").unwrap().text = policy("a", "warn");
        assert!(of(&files(&[]), &now, &LastGood::default()).without_losses().set.is_some(), "it was corrected");
        now.remove("a");
        assert!(of(&files(&[]), &now, &LastGood::default()).without_losses().set.is_some(), "it was deleted");
    }
}

/// A policy whose one rule has this many tags that are none.
fn wrong(name: &str, tags: usize) -> String {
    let tags = vec!["\"!\""; tags].join(",");
    policy(name, "warn").replace("[\"**\"]", &format!("[\"**\"], \"tags\": [{tags}]"))
}

#[test]
fn what_is_wrong_with_a_hostile_object_is_bounded_and_the_others_do_not_mind() {
    let (many, large) = (wrong("many", 50_000), wrong("large", 400_000));
    assert!(many.len() < super::MAX_BYTES && large.len() > super::MAX_BYTES);
    let now = objects(&[("many", many), ("large", large), ("fine", policy("fine", "warn"))]);
    let judged = of(&files(&[]), &now, &LastGood::default());
    assert_eq!(names(judged.set.as_ref()), ["fine"]);
    assert_eq!(judged.standings["many"].problems.len(), 101);
    let large = &judged.standings["large"].problems;
    assert_eq!(large.len(), 1);
    assert!(large[0].message.contains("an object may have 256 KiB"), "{large:?}");
    let good = objects(&[("large", policy("large", "warn"))]);
    let first = of(&files(&[]), &good, &LastGood::default());
    let second = of(&files(&[]), &now, &first.good);
    assert_eq!(forces(&second)["large"], Force::Earlier, "its last good version serves");
}

#[test]
fn a_file_larger_than_a_config_map_is_one_problem() {
    let large = format!("{}\n# {}\n", policy("f", "wran"), "x".repeat(1 << 20));
    let judged = of(&files(&[&large]), &objects(&[]), &LastGood::default());
    assert!(judged.set.is_none());
    assert_eq!(
        told(&judged).lines().next(),
        Some("f0.yaml: error: it has 1025 KiB, and a file of policies may have 1024 KiB; split it")
    );
    let fine = format!("{}\n# {}\n", policy("f", "warn"), "x".repeat(1 << 19));
    assert_eq!(names(of(&files(&[&fine]), &objects(&[]), &LastGood::default()).set.as_ref()), ["f"]);
}
