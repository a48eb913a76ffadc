//! Whom the configurations leave out, and what holds while a part of us is away.

use crate::Bed;
use crate::harness::{API, FLOATING, INFRASTRUCTURE, Kubectl, NAMESPACE, PATIENCE};
use crate::harness::{merged, policy, until_true, workload};
use crate::install::{create, try_out};
use serde_json::{Value, json};

fn shop(bed: &Bed) -> Kubectl {
    bed.cluster.namespace("shop", &json!({}))
}

pub fn row_45_46_47_namespaces_are_left_out_by_name_alone(bed: &Bed) {
    bed.enforce();
    let inside = shop(bed);
    bed.cluster.namespace(INFRASTRUCTURE, &json!({}));
    let admin = bed.cluster.admin();
    for name in ["kube-system", INFRASTRUCTURE] {
        try_out(&admin.within(name), FLOATING).accepted();
    }
    // Our own namespace enforces Pod Security, and that is all that refuses a Pod there.
    try_out(&admin.within(NAMESPACE), FLOATING).refused().does_not_say("tagwarden denied").says("PodSecurity");

    // Labels that other products take for an exemption, ours by their looks, and one that nobody may forge.
    for label in [
        "tagwarden.dev/ignore=true",
        "admission.tagwarden.dev/exempt=true",
        "control-plane=true",
        "openpolicyagent.org/webhook=ignore",
        "policies.kyverno.io/ignore=true",
        "app.kubernetes.io/name=tagwarden",
        "pod-security.kubernetes.io/enforce=privileged",
    ] {
        admin.run(&["label", "--overwrite", "namespace/shop", label]).accepted();
    }
    // Kubernetes itself writes this one back: its value is the name.
    let _ = admin.run(&["label", "--overwrite", "namespace/shop", "kubernetes.io/metadata.name=kube-system"]);
    try_out(&inside, FLOATING).denied();

    for kind in ["validatingwebhookconfiguration/tagwarden", "mutatingwebhookconfiguration/tagwarden"] {
        for webhook in admin.get(kind).unwrap()["webhooks"].as_array().unwrap() {
            assert_eq!(webhook["objectSelector"], json!({}), "nothing is left out by its own labels: {webhook}");
            let excluded = webhook["namespaceSelector"]["matchExpressions"][0]["values"].to_string();
            for name in ["kube-system", "kube-node-lease", NAMESPACE, INFRASTRUCTURE] {
                assert!(excluded.contains(name), "{name} in {excluded}");
            }
        }
    }
    admin.run(&["delete", "namespace", "shop"]).accepted();
}

pub fn row_33_bookkeeping_goes_on_while_no_replica_is_there(bed: &Bed) {
    let release = bed.enforce();
    let inside = shop(bed);
    until_true("Pods to be let in", PATIENCE, || try_out(&inside, API).succeeded());
    inside.apply(&workload("Deployment", "web", API)).accepted();
    if bed.cluster.own_node().is_some() {
        inside.run(&["rollout", "status", "deployment/web", "--timeout=60s"]).accepted();
    }
    create(&inside, "finalized", API).accepted();
    let finalizers = |value: Value| json!({"metadata": {"finalizers": value}}).to_string();
    let patch = |patch: &str| inside.run(&["patch", "pod/finalized", "--type=merge", "-p", patch]);
    patch(&finalizers(json!(["example.com/wait"]))).accepted();

    release.admin().run(&["scale", "deployment/tagwarden", "--replicas=0"]).accepted();
    release.settled(0);
    try_out(&inside, API).refused().says("failed calling webhook");
    inside.run(&["label", "pod/finalized", "team=shop"]).accepted();
    inside.run(&["delete", "pod/finalized", "--wait=false"]).accepted();
    patch(&finalizers(Value::Null)).accepted();
    until_true("the Pod to be gone", PATIENCE, || inside.get("pod/finalized").is_none());
    inside.run(&["scale", "deployment/web", "--replicas=0"]).accepted();
    until_true("the Deployment's Pods to be gone", PATIENCE, || {
        inside.run(&["get", "pods", "-l", "app=web", "-o", "name"]).accepted().stdout.is_empty()
    });
    inside.run(&["delete", "deployment/web"]).accepted();
    release.admin().run(&["scale", "deployment/tagwarden", "--replicas=2"]).accepted();
    release.settled(2);
}

pub fn row_36_pods_of_other_controllers_are_not_pinned(bed: &Bed) {
    bed.enforce();
    let inside = shop(bed);
    let stored = |name: &str, owners: Value| {
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "ownerReferences": owners},
            "spec": {"containers": [{"name": "main", "image": API}]},
        });
        let answer = inside.run_with(&["create", "--dry-run=server", "-o", "json", "-f", "-"], &pod.to_string());
        let pod: Value = serde_json::from_str(&answer.accepted().stdout).unwrap();
        pod["spec"]["containers"][0]["image"].as_str().unwrap().to_owned()
    };
    let owner = |api: &str, kind: &str| json!([{"apiVersion": api, "kind": kind, "name": "x", "uid": "8a5ac8d4-7a31-4d21-9d49-0b0f5cfa47c5", "controller": true}]);
    let pinned = format!("{API}@sha256:");
    assert!(stored("own", json!([])).starts_with(&pinned), "a Pod without a controller is pinned");
    assert!(stored("job", owner("batch/v1", "Job")).starts_with(&pinned), "and one of Kubernetes' own");
    assert_eq!(stored("other", owner("example.com/v1", "Database")), API, "and no other");
}

pub fn row_65_without_the_pin_the_verdict_is_still_right(bed: &Bed) {
    let release = bed.release();
    let required = json!({"policies": [policy("acme", &json!({"pin": "required"}))]});
    release.install(&merged(&release.enforcing(), &required));
    let inside = shop(bed);
    until_true("Pods to be pinned and let in", PATIENCE, || try_out(&inside, API).succeeded());
    let mutating = bed.cluster.admin().get("mutatingwebhookconfiguration/tagwarden").unwrap();
    assert_eq!(mutating["webhooks"][0]["failurePolicy"], "Ignore");
    let validating = bed.cluster.admin().get("validatingwebhookconfiguration/tagwarden").unwrap();
    assert_eq!(validating["webhooks"][0]["failurePolicy"], "Fail");

    // The mutating webhook cannot be called: it is skipped, and the boundary judges what is there.
    let kind = "mutatingwebhookconfiguration/tagwarden";
    let port = |port: u16| {
        let patch = json!([{"op": "replace", "path": "/webhooks/0/clientConfig/service/port", "value": port}]);
        bed.cluster.admin().run(&["patch", kind, "--type=json", "-p", &patch.to_string()]).accepted();
    };
    port(9);
    until_true("the Pod without a digest to be refused", PATIENCE, || try_out(&inside, API).stderr.contains("TW121"));
    try_out(&inside, FLOATING).denied().says("TW120");
    port(443);
    until_true("Pods to be pinned again", PATIENCE, || try_out(&inside, API).succeeded());
}
