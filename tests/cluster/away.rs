//! What still works while our server is away, and that the conditions that see to it never fail.

use crate::harness::{Bed, Outcome, PATIENCE, until};
use crate::objects::{BAD, BASIC, GOOD, WEB, deployment, pod, with};
use serde_json::{Value, json};

/// Our webhooks cannot be reached, and the API server says so.
fn unreachable(outcome: Outcome) {
    outcome.refused().says("failed calling webhook").does_not_say("tagwarden denied");
}

/// The names of the ReplicaSets of Deployment `x` that run `image`, once there is one.
fn replica_set(bed: &Bed, image: &str) -> String {
    until(&format!("a ReplicaSet of {image}"), PATIENCE, || {
        let sets = bed.admin().run(&["get", "replicasets", "-o", "json"]).accepted();
        let sets: Value = serde_json::from_str(&sets.stdout).unwrap();
        let matching = |set: &&Value| set["spec"]["template"]["spec"]["containers"][0]["image"] == image;
        let set = sets["items"].as_array()?.iter().find(matching)?;
        set["metadata"]["name"].as_str().map(str::to_owned)
    })
}

#[test]
fn row_33_with_the_server_gone_bookkeeping_goes_on() {
    // Fail on all three webhooks: what passes does so because nobody is called.
    let mut bed = Bed::named("row-33").policy("basic.yaml", BASIC).failure_policy("Fail").start();
    let admin = bed.admin();
    let finalized = with(pod("p", GOOD), "/metadata/finalizers", json!(["example.com/wait"]));
    admin.create(&finalized).accepted();
    admin.create(&deployment("x", GOOD)).accepted();
    let old = replica_set(&bed, GOOD);
    admin.run(&["set", "image", "deployment/x", &format!("main={WEB}")]).accepted();
    replica_set(&bed, WEB);

    bed.server.kill();
    unreachable(admin.create(&pod("new", GOOD)));
    unreachable(admin.create(&deployment("new", GOOD)));
    unreachable(admin.run(&["set", "image", "pod/p", &format!("main={WEB}")]));

    admin.run(&["label", "pod/p", "team=shop"]).accepted();
    let running = json!({"status": {"phase": "Running"}}).to_string();
    admin.run(&["patch", "pod/p", "--subresource=status", "-p", &running]).accepted();
    admin.run(&["delete", "pod/p", "--wait=false"]).accepted();
    admin.run(&["patch", "pod/p", "--type=merge", "-p", r#"{"metadata":{"finalizers":null}}"#]).accepted();
    until("the Pod to be gone", PATIENCE, || admin.get("pod/p").is_none().then_some(()));

    let replicas = |count: u32| json!({"spec": {"replicas": count}}).to_string();
    let old = format!("replicaset/{old}");
    admin.run(&["patch", &old, "-p", &replicas(0)]).accepted(); // an update of the object itself
    admin.run(&["scale", &old, "--replicas=0"]).accepted(); // its subresource
    admin.run(&["patch", "deployment/x", "-p", &replicas(0)]).accepted();
    admin.run(&["delete", "deployment/x"]).accepted();
}

#[test]
fn row_32_finalizers_come_off_an_object_that_is_being_deleted_under_a_later_policy() {
    let bed = Bed::named("row-32").policy("basic.yaml", BASIC).start();
    let admin = bed.admin();
    let finalized = |object: Value| with(object, "/metadata/finalizers", json!(["example.com/wait"]));
    let objects = [("pod/p", finalized(pod("p", GOOD))), ("deployment/d", finalized(deployment("d", GOOD)))];
    for (name, object) in &objects {
        admin.create(object).accepted();
        admin.run(&["delete", name, "--wait=false"]).accepted();
    }
    bed.server.change_policy("basic.yaml", crate::objects::TIGHTENED);
    for (name, _) in &objects {
        let deleted = admin.get(name).unwrap()["metadata"]["deletionTimestamp"].clone();
        assert!(deleted.is_string(), "{name} is being deleted");
        // Being deleted exempts nothing but what is unchanged.
        let image = ["set", "image", name, &format!("main={BAD}")];
        admin.run(&image).denied();
        admin.run(&["patch", name, "--type=merge", "-p", r#"{"metadata":{"finalizers":null}}"#]).accepted();
        until("the object to be gone", PATIENCE, || admin.get(name).is_none().then_some(()));
    }
}

#[test]
fn row_34_conditions_stand_any_object_even_before_validation() {
    let bed = Bed::named("row-34").policy("basic.yaml", BASIC).failure_policy("Fail").start();
    let admin = bed.admin();
    let invalid = |outcome: Outcome| {
        outcome.refused().says("is invalid").does_not_say("webhook").does_not_say("condition");
    };
    admin.create(&pod("p", GOOD)).accepted();
    admin.create(&deployment("d", GOOD)).accepted();
    // Of the four lists of a Pod this one has a single one: there is not even an account's volume.
    admin.create(&with(pod("bare", GOOD), "/spec/automountServiceAccountToken", json!(false))).accepted();
    admin.run(&["label", "pod/bare", "team=shop"]).accepted();
    admin.run(&["set", "image", "pod/bare", &format!("main={BAD}")]).denied();

    // The mutating webhook sees objects that nobody has validated yet.
    for spec in [
        json!({}),
        json!({"containers": null}),
        json!({"containers": []}),
        json!({"containers": [null], "initContainers": [null], "volumes": [null]}),
        json!({"containers": [{"name": "main"}], "volumes": [{"name": "v"}, {"name": "i", "image": {}}]}),
        json!({"containers": [{"name": "a", "image": GOOD}, {"name": "a", "image": GOOD}]}),
    ] {
        let broken = with(pod("q", GOOD), "/spec", spec.clone());
        invalid(admin.run_with(&["create", "--validate=false", "-f", "-"], &broken.to_string()));
        let broken = with(pod("p", GOOD), "/spec", spec.clone());
        invalid(admin.replace(&broken));
        let broken = with(deployment("d", GOOD), "/spec/template/spec", spec);
        invalid(admin.replace(&broken));
    }
    // Lists that appear, vanish and change their order.
    let volumes = |names: &[&str]| {
        let volumes: Vec<Value> = names.iter().map(|name| json!({"name": name, "emptyDir": {}})).collect();
        with(deployment("d", GOOD), "/spec/template/spec/volumes", json!(volumes))
    };
    for object in [volumes(&["a", "b"]), volumes(&["b", "a"]), deployment("d", GOOD)] {
        admin.replace(&object).accepted();
    }
    // A list that is there on one side only must not hide the image that changes with it.
    let both = with(volumes(&["a"]), "/spec/template/spec/containers/0/image", json!(BAD));
    admin.replace(&both).denied();

    // Of all tests so far, not of this one alone: no condition may ever fail.
    let metric = |name: &str| bed.cluster.metric(&format!("apiserver_admission_match_condition_{name}"));
    assert!(metric("evaluation_seconds_count") > 0.0, "conditions are evaluated");
    assert_eq!(metric("evaluation_errors_total"), 0.0, "conditions that failed");
}
