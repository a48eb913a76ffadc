//! What a person sees who works with kubectl all day.

use crate::harness::{Bed, CallPath, Kubectl, PATIENCE, until, until_true};
use crate::objects::{BAD, BASIC, BETTER, GOOD, TIGHTENED, WEB, deployment, pod, with};
use serde_json::{Value, json};

/// A Deployment of an image that no rule names: the text that kubectl prints, whole.
fn assert_refused_with_the_whole_text(bed: &Bed) {
    let outcome = bed.dana().run(&["create", "deployment", "x", "--image=nginx:latest"]).refused();
    let (text, request) = outcome.stderr.split_once("(request ").unwrap_or_else(|| panic!("{outcome}"));
    let namespace = &bed.namespace;
    assert_eq!(
        text,
        format!(
            r#"error: failed to create deployment: admission webhook "workloads.tagwarden.dev" denied the request: tagwarden denied Deployment {namespace}/x: 1 of 1 images break policy basic

1. TW110 registry: container "nginx", image nginx:latest
   no rule names docker.io/library/nginx; rules name registry.example.com/acme/**

Owner: #platform  Help: https://wiki.example.com/images#TW110
Reproduce: tagwarden check --namespace {namespace} FILE  "#
        )
    );
    let request = request.strip_suffix(")\n").unwrap();
    assert!(request.len() == 8 && request.bytes().all(|byte| byte.is_ascii_hexdigit()), "{outcome}");
    assert!(bed.admin().get("deployment/x").is_none(), "nothing was made");
}

#[test]
fn row_07_create_deployment_is_refused_with_the_whole_text_called_by_url() {
    let bed = Bed::named("row-07-url").policy("basic.yaml", BASIC).start();
    assert_refused_with_the_whole_text(&bed);
    bed.dana().run(&["run", "api", &format!("--image={GOOD}")]).accepted().does_not_say("Warning");
    let stored = bed.dana().get("pod/api").unwrap();
    assert_eq!(stored["spec"]["containers"][0]["image"], GOOD);
}

#[test]
fn row_07_create_deployment_is_refused_with_the_whole_text_called_by_service() {
    let bed = Bed::named("row-07-service").policy("basic.yaml", BASIC).call(CallPath::Service).start();
    assert_refused_with_the_whole_text(&bed);
    bed.dana().run(&["run", "api", &format!("--image={GOOD}")]).accepted().does_not_say("Warning");
    bed.dana()
        .run(&["run", "bad", &format!("--image={BAD}")])
        .denied()
        .says("Error from server (Forbidden): admission webhook \"validate.tagwarden.dev\" denied the request: tagwarden denied Pod row-07-service/bad: ")
        .says("1. TW120 tags: container \"bad\"");
}

/// Plays the kubelet: says of every Pod of the namespace that it runs and is ready.
fn make_pods_ready(admin: &Kubectl) {
    let pods: Value = serde_json::from_str(&admin.run(&["get", "pods", "-o", "json"]).accepted().stdout).unwrap();
    let ready = json!({"status": {"phase": "Running", "conditions": [
        {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"},
    ]}});
    for pod in pods["items"].as_array().unwrap() {
        let name = pod["metadata"]["name"].as_str().unwrap();
        // A Pod that is gone by now needs nothing more.
        let _ = admin.run(&["patch", "pod", name, "--subresource=status", "-p", &ready.to_string()]);
    }
}

fn finish_rollout(bed: &Bed) {
    let admin = bed.admin();
    until_true("the rollout to finish", PATIENCE, || {
        make_pods_ready(&admin);
        let status = ["rollout", "status", "deployment/x", "--timeout=1s"];
        bed.dana().run(&status).succeeded()
    });
}

#[test]
fn row_30_set_image_and_rollouts_are_judged_by_the_images_they_bring() {
    let bed = Bed::named("row-30-rollout").policy("basic.yaml", BASIC).start();
    let dana = bed.dana();
    dana.create(&deployment("x", GOOD)).accepted();
    finish_rollout(&bed);

    dana.run(&["set", "image", "deployment/x", &format!("main={BAD}")])
        .denied()
        .says("1. TW120 tags: container \"main\"");
    dana.run(&["set", "image", "deployment/x", &format!("main={BETTER}")]).accepted();
    finish_rollout(&bed);
    dana.run(&["rollout", "restart", "deployment/x"]).accepted();
    finish_rollout(&bed);

    // Going back brings back an image, which the policy of now judges.
    dana.run(&["set", "image", "deployment/x", &format!("main={WEB}")]).accepted();
    finish_rollout(&bed);
    bed.server.change_policy("basic.yaml", TIGHTENED);
    dana.run(&["rollout", "undo", "deployment/x"]).denied();
    dana.run(&["rollout", "restart", "deployment/x"]).accepted();
    finish_rollout(&bed);
}

#[test]
fn row_28_apply_on_the_client_and_on_the_server_are_judged_alike() {
    let bed = Bed::named("row-28-apply").policy("basic.yaml", BASIC).start();
    let dana = bed.dana();
    let server_side = |object: &Value| dana.run_with(&["apply", "--server-side", "-f", "-"], &object.to_string());

    dana.apply(&deployment("client", BAD)).denied();
    dana.apply(&deployment("client", GOOD)).accepted();
    dana.apply(&deployment("client", BAD)).denied();
    dana.apply(&deployment("client", BETTER)).accepted();

    server_side(&deployment("server", BAD)).denied().says("Deployment row-28-apply/server");
    server_side(&deployment("server", GOOD)).accepted();
    server_side(&deployment("server", BAD)).denied();
    server_side(&pod("server", BAD)).denied().says("Pod row-28-apply/server");
    server_side(&pod("server", GOOD)).accepted();

    // Applying again what is there changes no image.
    bed.server.change_policy("basic.yaml", TIGHTENED);
    dana.apply(&with(deployment("client", BETTER), "/spec/replicas", json!(2))).accepted();
    server_side(&with(deployment("server", GOOD), "/spec/replicas", json!(2))).accepted();
}

#[test]
fn row_28_an_object_whose_name_is_generated_is_judged() {
    let bed = Bed::named("row-28-generate").policy("basic.yaml", BASIC).start();
    let generated = |image| with(pod("x", image), "/metadata", json!({"generateName": "job-"}));
    // The API server makes the name up between the mutating and the validating webhooks.
    bed.dana().create(&generated(BAD)).denied().says("tagwarden denied Pod row-28-generate/job-*: 1 of 1 images");
    let created = bed.dana().create(&generated(GOOD)).accepted();
    assert!(created.stdout.starts_with("pod/job-"), "{created}");
}

#[test]
fn row_29_what_runs_can_be_labelled_scaled_and_deleted_under_a_later_policy() {
    let bed = Bed::named("row-29").policy("basic.yaml", BASIC).start();
    let dana = bed.dana();
    dana.create(&pod("old", GOOD)).accepted();
    dana.create(&deployment("x", GOOD)).accepted();
    finish_rollout(&bed);
    bed.server.change_policy("basic.yaml", TIGHTENED);
    dana.create(&pod("new", GOOD)).denied();

    dana.run(&["label", "pod/old", "team=shop"]).accepted();
    dana.run(&["annotate", "pod/old", "note=1"]).accepted();
    dana.run(&["label", "deployment/x", "team=shop"]).accepted();
    dana.run(&["set", "env", "deployment/x", "A=1"]).accepted(); // the server compares the images
    dana.run(&["scale", "deployment/x", "--replicas=0"]).accepted();
    dana.run(&["delete", "pod/old"]).accepted();
    dana.run(&["delete", "deployment/x"]).accepted();
}

#[test]
fn row_29_a_new_pod_of_an_old_template_is_refused_where_its_owner_sees_it() {
    let bed = Bed::named("row-29-event").policy("basic.yaml", BASIC).start();
    let dana = bed.dana();
    dana.create(&with(deployment("x", GOOD), "/spec/replicas", json!(0))).accepted();
    bed.server.change_policy("basic.yaml", TIGHTENED);
    dana.run(&["scale", "deployment/x", "--replicas=1"]).accepted();
    let event = until("an event that tells why there is no Pod", PATIENCE, || {
        let events = ["get", "events", "--field-selector=reason=FailedCreate", "-o", "json"];
        let events: Value = serde_json::from_str(&dana.run(&events).accepted().stdout).unwrap();
        events["items"][0]["message"].as_str().map(str::to_owned)
    });
    assert!(event.contains("tagwarden denied Pod row-29-event/x-"), "{event}");
    assert!(event.contains("1. TW110 registry: container \"main\""), "{event}");
}

#[test]
fn row_30_an_update_is_judged_by_the_one_image_it_changes() {
    let bed = Bed::named("row-30").policy("basic.yaml", BASIC).start();
    let dana = bed.dana();
    let two = with(
        pod("two", GOOD),
        "/spec/containers",
        json!([
            {"name": "main", "image": GOOD}, {"name": "side", "image": WEB},
        ]),
    );
    dana.create(&two).accepted();
    bed.server.change_policy("basic.yaml", TIGHTENED);

    let side = "registry.example.com/acme/web";
    dana.run(&["set", "image", "pod/two", &format!("side={side}:v2.1.0")]).accepted();
    dana.run(&["set", "image", "pod/two", &format!("side={side}:latest")])
        .denied()
        .says("1. TW120 tags: container \"side\"")
        .does_not_say("\"main\"");
    // An image and the number of replicas in one update: judged, whatever else changes.
    dana.create(&with(deployment("x", WEB), "/spec/replicas", json!(3))).accepted();
    let lowered = json!({"spec": {"replicas": 1, "template": {"spec": {"containers": [
        {"name": "main", "image": BAD},
    ]}}}});
    dana.run(&["patch", "deployment/x", "-p", &lowered.to_string()]).denied();
}
