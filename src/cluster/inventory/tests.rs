//! Which Pods belong to whom, and what is left out.

use super::objects::{Pod, Template};
use super::{Inventory, LeftOut, excluded_names};
use serde_json::{Value, json};
use std::collections::HashMap;

fn owned_by(kind: &str, uid: &str) -> Value {
    json!([{"apiVersion": "x/v1", "kind": kind, "name": format!("the-{kind}"), "uid": uid, "controller": true}])
}

fn object(uid: &str, owners: &Value, rest: &Value) -> String {
    let mut object = json!({"metadata": {"name": uid, "namespace": "shop", "uid": uid, "ownerReferences": owners}});
    let more = rest.as_object().unwrap().clone();
    object.as_object_mut().unwrap().extend(more);
    object.to_string()
}

fn pod(name: &str, owners: &Value, phase: &str, digest: &str) -> Pod {
    let statuses = json!([{"name": "main", "imageID": format!("registry.example.com/acme/api@{digest}")}]);
    let status = json!({"phase": phase, "containerStatuses": statuses});
    Pod::read(&object(name, owners, &json!({"status": status}))).unwrap()
}

fn gathered(templates: Vec<Template>, pods: Vec<Pod>) -> Inventory {
    let mut inventory = Inventory::default();
    let templates: HashMap<_, _> = templates.into_iter().map(|template| (template.uid.clone(), template)).collect();
    inventory.gather(templates, pods);
    inventory
}

fn template(kind: &str, uid: &str, owners: &Value, rest: &Value) -> Template {
    Template::read(("apps", kind), &object(uid, owners, rest)).unwrap()
}

/// `owner kind/name: kind of the object, Pods` of everything that is judged.
fn shown(inventory: &Inventory) -> Vec<String> {
    let workloads = inventory.workloads.iter();
    workloads.map(|w| format!("{} {}: {}, {}", w.owner.kind, w.owner.name, w.kind, w.pods)).collect()
}

#[test]
fn pods_belong_to_the_end_of_their_chain_of_controllers() {
    let none = json!([]);
    let inventory = gathered(
        vec![
            template("Deployment", "d", &none, &json!({"spec": {"replicas": 2}})),
            template("ReplicaSet", "old", &owned_by("Deployment", "d"), &json!({"spec": {"replicas": 1}})),
            template("ReplicaSet", "new", &owned_by("Deployment", "d"), &json!({"spec": {"replicas": 2}})),
            template("ReplicaSet", "ancient", &owned_by("Deployment", "d"), &json!({"spec": {"replicas": 0}})),
        ],
        vec![
            pod("a", &owned_by("ReplicaSet", "old"), "Running", "sha256:1"),
            pod("b", &owned_by("ReplicaSet", "new"), "Running", "sha256:2"),
            pod("c", &owned_by("ReplicaSet", "new"), "Pending", "sha256:2"),
        ],
    );
    assert_eq!(
        shown(&inventory),
        ["Deployment d: Deployment, 0", "Deployment d: ReplicaSet, 2", "Deployment d: ReplicaSet, 1"]
    );
    assert_eq!(inventory.workloads[1].digests["main"]["sha256:2"], 2);
    assert_eq!(inventory.left_out, LeftOut::default());
}

#[test]
fn a_pod_nobody_would_make_again_stands_for_itself_and_one_of_a_stranger_says_so() {
    let inventory = gathered(
        Vec::new(),
        vec![
            pod("bare", &json!([]), "Running", "sha256:1"),
            pod("w-1", &owned_by("Workflow", "w"), "Running", "sha256:1"),
        ],
    );
    assert_eq!(shown(&inventory), ["Pod bare: Pod, 1", "Workflow the-Workflow: Pod, 1"]);
    assert_eq!(inventory.workloads[0].note, None);
    assert!(inventory.workloads[1].note.as_ref().unwrap().contains("Workflow the-Workflow"));
}

#[test]
fn what_makes_no_pods_is_counted_and_what_will_is_judged() {
    let none = json!([]);
    let deleted = Pod::read(&object("gone", &none, &json!({})).replacen(
        "{\"metadata\":{",
        "{\"metadata\":{\"deletionTimestamp\":\"x\",",
        1,
    ));
    let mirror = "{\"metadata\":{\"annotations\":{\"kubernetes.io/config.mirror\":\"h\"},";
    let mirrored = Pod::read(&object("static", &none, &json!({})).replacen("{\"metadata\":{", mirror, 1));
    let done = json!({"status": {"conditions": [{"type": "Complete", "status": "True"}]}});
    let inventory = gathered(
        vec![
            template("Deployment", "zero", &none, &json!({"spec": {"replicas": 0}})),
            template("CronJob", "nightly", &none, &json!({"spec": {}})),
            template("CronJob", "suspended", &none, &json!({"spec": {"suspend": true}})),
            Template::read(("batch", "Job"), &object("done", &none, &done)).unwrap(),
            template("Odd", "odd", &none, &json!({"spec": {"replicas": "many"}, "status": 7})),
        ],
        vec![
            pod("s", &none, "Succeeded", "sha256:1"),
            pod("f", &none, "Failed", "sha256:1"),
            deleted.unwrap(),
            mirrored.unwrap(),
        ],
    );
    assert_eq!(shown(&inventory), ["CronJob nightly: CronJob, 0", "Odd odd: Odd, 0"]);
    assert_eq!(inventory.left_out, LeftOut { ended: 3, mirrored: 1, idle: 3 });
}

#[test]
fn owners_in_a_circle_do_not_hang() {
    let inventory = gathered(
        vec![template("A", "a", &owned_by("B", "b"), &json!({})), template("B", "b", &owned_by("A", "a"), &json!({}))],
        vec![pod("p", &owned_by("A", "a"), "Running", "sha256:1")],
    );
    assert_eq!(inventory.workloads.len(), 1);
}

#[test]
fn an_image_id_without_a_repository_is_no_digest_of_a_tag() {
    let statuses = json!([{"name": "main", "imageID": "sha256:2d71164"}, {"name": "other", "imageID": ""}]);
    let pod = Pod::read(&object("p", &json!([]), &json!({"status": {"containerStatuses": statuses}}))).unwrap();
    assert_eq!(pod.digests, []);
}

#[test]
fn only_names_that_are_left_out_are_exempt() {
    let webhook = json!({"namespaceSelector": {"matchExpressions": [
        {"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": ["tagwarden", "cni"]},
        {"key": "kubernetes.io/metadata.name", "operator": "In", "values": ["a"]},
        {"key": "team", "operator": "NotIn", "values": ["b"]},
    ]}});
    assert_eq!(excluded_names(&webhook), ["tagwarden", "cni"]);
    assert_eq!(excluded_names(&json!({})), [] as [&str; 0]);
}
