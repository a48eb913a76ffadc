//! What objects come to: which of them hold, what stays of bad ones, and what is told.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{GoodObjects, Judged, judge, stored};
use crate::cluster::{StoredObject, StoredObjects};
use crate::server::objects::Force;

fn spec(release: &str, tag: &str) -> Value {
    json!({"release": release, "images": {"app": {"repo": "registry.example.com/acme/app", "tag": tag}}})
}

/// An object that was created at the second `age`.
fn object(uid: &str, age: u8, spec: &Value) -> StoredObject {
    let text = json!({"apiVersion": "tagwarden.dev/v1", "kind": "ImageRelease", "spec": spec}).to_string();
    let created = format!("2026-01-01T00:00:{age:02}Z");
    StoredObject { uid: uid.to_owned(), generation: 1, created, text, ..StoredObject::default() }
}

fn objects(list: &[(&str, StoredObject)]) -> StoredObjects {
    list.iter().map(|(name, object)| ((*name).to_owned(), object.clone())).collect()
}

/// `release:tag` of everything that is loaded.
fn loaded(judged: &Judged) -> Vec<String> {
    let releases = judged.snapshots.iter().flat_map(crate::policy::Snapshots::releases);
    releases.map(|one| format!("{}:{}", one.name(), one.images()[0].tag.as_deref().unwrap_or_default())).collect()
}

fn forces(judged: &Judged) -> BTreeMap<&str, Force> {
    judged.standings.iter().map(|(name, standing)| (name.as_str(), standing.force)).collect()
}

fn told(judged: &Judged) -> String {
    judged.problems.iter().map(|problem| format!("{problem}\n")).collect()
}

#[test]
fn a_release_is_read_from_spec_and_has_the_id_of_its_file() {
    let file = "release: r1\nimages:\n  app: {repo: registry.example.com/acme/app, tag: v1.0.0}\nweights: {canary: 10, stable: 90}\n";
    let mut same = spec("r1", "v1.0.0");
    same["weights"] = json!({"stable": 90, "canary": 10});
    let judged = judge(&objects(&[("one", object("u", 1, &same))]), &GoodObjects::new());
    assert_eq!(loaded(&judged), ["r1:v1.0.0"]);
    let id = crate::release::Release::read("r1.yaml", file).unwrap().id().as_str().to_owned();
    assert_eq!(judged.standings["one"].hash, Some(id));
    assert_eq!((forces(&judged)["one"], judged.problems.len()), (Force::This, 0));
}

#[test]
fn a_bad_version_keeps_the_last_good_one_of_its_object_and_says_where() {
    let first = judge(&objects(&[("one", object("u", 1, &spec("r1", "v1.0.0")))]), &GoodObjects::new());
    let mut bad = spec("r1", "latest");
    bad["images"]["app"]["tagg"] = json!("x");
    let list = objects(&[("one", object("u", 1, &bad)), ("two", object("v", 2, &spec("r2", "v2.0.0")))]);
    let second = judge(&list, &first.good);
    assert_eq!(loaded(&second), ["r1:v1.0.0", "r2:v2.0.0"]);
    assert_eq!(forces(&second), [("one", Force::Earlier), ("two", Force::This)].into());
    let said = told(&second);
    assert!(said.contains("ImageRelease one: spec.images.app.tagg: unknown key 'tagg'; did you mean 'tag'?"), "{said}");
    assert!(said.contains("ImageRelease one: spec.images.app.tag: the tag 'latest' moves"), "{said}");
    assert_eq!(second.standings["one"].hash, first.standings["one"].hash);
    let third = judge(&list, &second.good);
    assert_eq!(loaded(&third), loaded(&second), "for as long as it stays bad");
}

#[test]
fn an_object_that_goes_takes_its_release_along_and_one_made_anew_is_another() {
    let first = judge(&objects(&[("one", object("u", 1, &spec("r1", "v1.0.0")))]), &GoodObjects::new());
    let gone = judge(&StoredObjects::new(), &first.good);
    assert!(gone.snapshots.is_none() && gone.good.is_empty() && gone.problems.is_empty());
    let anew = judge(&objects(&[("one", object("w", 5, &spec("r1", "latest")))]), &first.good);
    assert!(anew.snapshots.is_none() && anew.without_good, "what was good of the first says nothing of it");
    assert_eq!(forces(&anew)["one"], Force::None);
}

#[test]
fn of_two_of_one_name_the_older_holds_until_it_goes() {
    let old = object("old", 1, &spec("r1", "v1.0.0"));
    let new = object("new", 2, &spec("r1", "v2.0.0"));
    // In the order of their names the younger one comes first.
    let both = judge(&objects(&[("a-young", new.clone()), ("z-old", old)]), &GoodObjects::new());
    assert_eq!(loaded(&both), ["r1:v1.0.0"]);
    assert_eq!(forces(&both), [("a-young", Force::None), ("z-old", Force::This)].into());
    let said = told(&both);
    assert!(
        said.starts_with("ImageRelease a-young: spec.release: the ImageRelease z-old, which is older, has"),
        "{said}"
    );
    let alone = judge(&objects(&[("a-young", new)]), &both.good);
    assert_eq!(loaded(&alone), ["r1:v2.0.0"]);
}

#[test]
fn a_younger_object_that_takes_an_older_ones_name_keeps_its_own_release() {
    let old = object("old", 1, &spec("r1", "v1.0.0"));
    let first =
        judge(&objects(&[("a", old.clone()), ("b", object("new", 2, &spec("r2", "v2.0.0")))]), &GoodObjects::new());
    let second = judge(&objects(&[("a", old), ("b", object("new", 2, &spec("r1", "v3.0.0")))]), &first.good);
    assert_eq!(loaded(&second), ["r1:v1.0.0", "r2:v2.0.0"]);
    assert_eq!(forces(&second)["b"], Force::Earlier);
    // The older one takes the younger's: it holds, and what was good of the younger comes back when it gives the name up.
    let taken = judge(
        &objects(&[("a", object("old", 1, &spec("r2", "v9.0.0"))), ("b", object("new", 2, &spec("r2", "latest")))]),
        &second.good,
    );
    assert_eq!((loaded(&taken), forces(&taken)["b"]), (vec!["r2:v9.0.0".to_owned()], Force::None));
    let back = judge(
        &objects(&[("a", object("old", 1, &spec("r1", "v1.0.0"))), ("b", object("new", 2, &spec("r2", "latest")))]),
        &taken.good,
    );
    assert_eq!(loaded(&back), ["r1:v1.0.0", "r2:v2.0.0"]);
}

#[test]
fn what_was_saved_serves_an_object_that_is_bad_and_is_told() {
    let first = judge(&objects(&[("one", object("u", 1, &spec("r1", "v1.0.0")))]), &GoodObjects::new());
    let mut saved = first.good;
    saved.values_mut().for_each(|good| good.saved = true);
    let bad = judge(&objects(&[("one", object("u", 1, &spec("r1", "latest")))]), &saved);
    assert!(bad.from_saved && !bad.without_good);
    assert_eq!((loaded(&bad), forces(&bad)["one"]), (vec!["r1:v1.0.0".to_owned()], Force::Earlier));
    let good = judge(&objects(&[("one", object("u", 1, &spec("r1", "v1.0.1")))]), &saved);
    assert!(!good.from_saved && !good.good["u"].saved);
    let unlisted = judge(&stored(&saved), &GoodObjects::new());
    assert_eq!(loaded(&unlisted), ["r1:v1.0.0"], "the saved objects can stand in for the cluster's");
}

#[test]
fn an_object_that_was_in_force_and_of_which_nothing_is_known_is_lost() {
    let mut bad = object("u", 1, &spec("r1", "latest"));
    bad.status = json!({"id": "sha256:x"});
    let judged = judge(&objects(&[("one", bad)]), &GoodObjects::new());
    assert_eq!((forces(&judged)["one"], judged.without_good), (Force::Lost, true));
}

#[test]
fn an_object_that_is_no_release_is_told_as_a_whole() {
    let mut empty = object("u", 1, &json!({}));
    empty.text = "{\"kind\":\"ImageRelease\"}".to_owned();
    assert!(
        told(&judge(&objects(&[("one", empty)]), &GoodObjects::new()))
            .contains("ImageRelease one: an ImageRelease without 'spec'")
    );
    let mut beside = object("u", 1, &spec("r1", "v1.0.0"));
    beside.text = beside.text.replacen("{", "{\"images\":{},", 1);
    let judged = judge(&objects(&[("one", beside)]), &GoodObjects::new());
    assert!(
        judged.snapshots.is_none() && told(&judged).contains("unknown key 'images' beside 'spec'"),
        "{}",
        told(&judged)
    );
    let mut large = spec("r1", "v1.0.0");
    large["notes"] = json!("x".repeat(super::MAX_BYTES));
    let judged = judge(&objects(&[("one", object("u", 1, &large))]), &GoodObjects::new());
    assert!(judged.snapshots.is_none() && told(&judged).contains("an object may have 256 KiB"), "{}", told(&judged));
    let deep = format!("{{\"spec\":{}1{}}}", "{\"a\":".repeat(5000), "}".repeat(5000));
    let nested = StoredObject { uid: "d".to_owned(), text: deep, ..StoredObject::default() };
    let judged =
        judge(&objects(&[("deep", nested), ("one", object("u", 1, &spec("r1", "v1.0.0")))]), &GoodObjects::new());
    assert_eq!((loaded(&judged), forces(&judged)["deep"]), (vec!["r1:v1.0.0".to_owned()], Force::None));
}
