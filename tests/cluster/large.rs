//! Objects as large as an API server takes, and what they grow to on their way to us.

use crate::harness::{Bed, Outcome};
use crate::objects::{BAD, BASIC, GOOD, WEB, deployment, pod, template, with};
use serde_json::{Value, json};

/// A Pod as large as the API server takes, in many small things or in one large one.
fn large(name: &str, image: &str, bytes: usize, piece: &str) -> Value {
    let variables: Vec<Value> =
        (0..bytes / piece.len()).map(|index| json!({"name": format!("V{index}"), "value": piece})).collect();
    with(pod(name, image), "/spec/containers/0/env", json!(variables))
}

#[test]
fn row_14_the_largest_objects_are_judged_and_can_be_labelled() {
    let bed = Bed::named("row-14").policy("basic.yaml", BASIC).failure_policy("Fail").start();
    let admin = bed.admin();
    let dry_run = |object: &Value| admin.run_with(&["create", "--dry-run=server", "-f", "-"], &object.to_string());
    // 2.9 MiB in one request: more than etcd stores, so the verdict is asked for alone.
    let piece = "x".repeat(100_000);
    let size = 2_900_000;
    dry_run(&large("p", BAD, size, &piece)).denied();
    dry_run(&large("p", GOOD, size, &piece)).accepted();

    // What etcd does store, twice in one review.
    let size = 1_300_000;
    admin.create(&large("p", GOOD, size, &piece)).accepted();
    admin.run(&["label", "pod/p", "team=shop"]).accepted();
    admin.run(&["set", "image", "pod/p", &format!("main={BAD}")]).denied();
    admin.run(&["set", "image", "pod/p", &format!("main={WEB}")]).accepted();
}

#[test]
fn row_34_conditions_stay_within_their_budget_on_long_lists() {
    let bed = Bed::named("row-34-cost").policy("basic.yaml", BASIC).failure_policy("Fail").start();
    let admin = bed.admin();
    let volumes = |count: usize| -> Vec<Value> {
        (0..count).map(|index| json!({"name": format!("v{index}"), "emptyDir": {}})).collect()
    };
    let long = |count: usize, replicas: u32, image: &str| {
        let object = with(deployment("long", image), "/spec/template/spec/volumes", json!(volumes(count)));
        let object = with(object, "/spec/replicas", json!(replicas));
        with(object, "/spec/template/metadata", template(image)["metadata"].clone())
    };
    // About as many elements as etcd stores beside the record of who owns which field, compared to the last.
    let count = 12_000;
    admin.create(&long(count, 0, GOOD)).accepted();
    admin.replace(&long(count, 1, GOOD)).accepted();
    admin.replace(&long(count + 1, 1, GOOD)).accepted();
    admin.replace(&long(count + 1, 1, BAD)).denied();
}

/// Sends an object as it is, where kubectl would write `<` as six characters and go over the limit of
/// 3 MiB that the API server sets for a request.
fn create_raw(bed: &Bed, query: &str, object: &Value) -> Outcome {
    let path = format!("/api/v1/namespaces/{}/pods{query}", bed.namespace);
    bed.admin().run_with(&["create", "--raw", &path, "-f", "-"], &object.to_string())
}

#[test]
fn row_14_objects_that_grow_sixfold_in_a_review_are_judged() {
    // The API server writes `<` as `\u003c`: a 1.3 MB Pod becomes a review of 15.6 MB when it is updated.
    let bed = Bed::named("row-14-escapes").policy("basic.yaml", BASIC).failure_policy("Fail").start();
    let piece = "<".repeat(100_000);
    let size = 1_300_000;
    create_raw(&bed, "", &large("bad", BAD, size, &piece)).denied();
    create_raw(&bed, "", &large("p", GOOD, size, &piece)).accepted();
    let image = |image: &str| bed.admin().run(&["set", "image", "pod/p", &format!("main={image}")]);
    image(BAD).denied();
    image(WEB).accepted();
}

#[test]
fn row_13_what_is_over_the_body_limit_never_passes_the_boundary() {
    let bed = Bed::named("row-13").policy("basic.yaml", BASIC).start();
    // 2.9 MB of `<` in a creation: 17.4 MB on its way to us.
    let pod = large("p", BAD, 2_900_000, &"<".repeat(100_000));
    create_raw(&bed, "?dryRun=All", &pod).refused();
}
