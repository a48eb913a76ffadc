//! Every place and every kind in which an image can reach the cluster.

use crate::harness::{Bed, Outcome, PATIENCE, User, until_true};
use crate::objects::{BAD, BASIC, GOOD, deployment, pod, template, with};
use serde_json::{Value, json};

#[test]
fn row_23_each_place_of_a_pod_is_judged() {
    let bed = Bed::named("row-23").policy("basic.yaml", BASIC).start();
    let everywhere = |main: &str, init: &str, volume: &str| {
        json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"},
            "spec": {
                "containers": [{"name": "main", "image": main}],
                "initContainers": [{"name": "first", "image": init}],
                "volumes": [
                    {"name": "scratch", "emptyDir": {}},
                    {"name": "data", "image": {"reference": volume}},
                ],
            },
        })
    };
    let dana = bed.dana();
    dana.create(&everywhere(BAD, GOOD, GOOD)).denied().says("1 of 3 images").says("1. TW120 tags: container \"main\"");
    dana.create(&everywhere(GOOD, BAD, GOOD))
        .denied()
        .says("1 of 3 images")
        .says("1. TW120 tags: init container \"first\"");
    dana.create(&everywhere(GOOD, GOOD, BAD)).denied().says("1 of 3 images").says("1. TW120 tags: volume \"data\"");
    dana.create(&everywhere(BAD, BAD, BAD)).denied().says("3 of 3 images").says("\n3. TW120 tags: ");
    dana.create(&everywhere(GOOD, GOOD, GOOD)).accepted();
}

#[test]
fn row_24_kubectl_debug_is_denied_for_a_bad_image() {
    let bed = Bed::named("row-24").policy("basic.yaml", BASIC).start();
    let dana = bed.dana();
    dana.create(&pod("p", GOOD)).accepted();
    let debug = |image: &str| dana.run(&["debug", "pod/p", &format!("--image={image}"), "--container=look"]);
    debug("busybox")
        .denied()
        .says("tagwarden denied Pod row-24/p: 1 of 1 images")
        .says("1. TW110 registry: ephemeral container \"look\", image busybox");
    debug("registry.example.com/acme/debug:v1.0.0").accepted();
    let stored = dana.get("pod/p").unwrap();
    assert_eq!(stored["spec"]["ephemeralContainers"].as_array().unwrap().len(), 1);
    // `--copy-to` makes another Pod, an ordinary creation.
    dana.run(&["debug", "pod/p", "--image=busybox", "--copy-to=copy"]).denied();
}

#[test]
fn row_25_sidecars_and_image_volumes_are_judged() {
    let bed = Bed::named("row-25").policy("basic.yaml", BASIC).start();
    let sidecar = |image: &str| {
        with(
            pod("sidecar", GOOD),
            "/spec/initContainers",
            json!([
                {"name": "proxy", "image": image, "restartPolicy": "Always"},
            ]),
        )
    };
    let volume = |image: &str| {
        with(
            deployment("volume", GOOD),
            "/spec/template/spec/volumes",
            json!([
                {"name": "models", "image": {"reference": image, "pullPolicy": "IfNotPresent"}},
            ]),
        )
    };
    let dana = bed.dana();
    dana.create(&sidecar(BAD)).denied().says("\"proxy\"");
    dana.create(&sidecar(GOOD)).accepted();
    dana.create(&volume(BAD)).denied().says("\"models\"");
    dana.create(&volume(GOOD)).accepted();
}

/// Each built-in kind with a template, around one image.
fn kinds(image: &str) -> Vec<Value> {
    let selected = json!({"matchLabels": {"app": "x"}});
    let never = with(template(image), "/spec/restartPolicy", json!("Never"));
    let object = |version: &str, kind: &str, spec: Value| json!({"apiVersion": version, "kind": kind, "metadata": {"name": "x"}, "spec": spec});
    vec![
        object("apps/v1", "Deployment", json!({"replicas": 0, "selector": selected, "template": template(image)})),
        object(
            "apps/v1",
            "StatefulSet",
            json!({"replicas": 0, "serviceName": "x", "selector": selected, "template": template(image)}),
        ),
        object("apps/v1", "DaemonSet", json!({"selector": selected, "template": template(image)})),
        object("apps/v1", "ReplicaSet", json!({"replicas": 0, "selector": selected, "template": template(image)})),
        object(
            "v1",
            "ReplicationController",
            json!({"replicas": 0, "selector": {"app": "x"}, "template": template(image)}),
        ),
        object("batch/v1", "Job", json!({"template": never})),
        object("batch/v1", "CronJob", json!({"schedule": "0 0 1 1 *", "jobTemplate": {"spec": {"template": never}}})),
        json!({"apiVersion": "v1", "kind": "PodTemplate", "metadata": {"name": "x"}, "template": template(image)}),
    ]
}

#[test]
fn row_26_each_kind_with_a_template_is_judged_when_created_and_when_changed() {
    let bed = Bed::named("row-26").policy("basic.yaml", BASIC).start();
    let admin = bed.admin();
    for (good, bad) in kinds(GOOD).iter().zip(kinds(BAD)) {
        let kind = good["kind"].as_str().unwrap();
        let heading = format!("tagwarden denied {kind} row-26/x: 1 of 1 images");
        admin.create(&bad).denied().says(&heading).says("container \"main\"");
        admin.create(good).accepted();
        if kind == "Job" {
            continue; // the API server itself refuses any change of its template
        }
        admin.apply(&bad).denied().says(&heading);
        let labelled = with(good.clone(), "/metadata/labels", json!({"team": "shop"}));
        admin.apply(&labelled).accepted();
    }
}

/// A kind with two served versions that keeps images where only the configuration says.
fn widgets() -> Value {
    let version = |name: &str, stored: bool| {
        json!({
            "name": name, "served": true, "storage": stored,
            "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}},
        })
    };
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.example.com"},
        "spec": {
            "group": "example.com", "scope": "Namespaced",
            "names": {"kind": "Widget", "plural": "widgets", "singular": "widget"},
            "versions": [version("v1", true), version("v2", false)],
        },
    })
}

#[test]
fn row_27_a_configured_kind_is_judged_in_whichever_served_version_it_comes() {
    let cluster = crate::harness::Cluster::shared();
    let admin = cluster.as_user(User::Admin);
    admin.create(&widgets()).accepted();
    admin.run(&["wait", "--for=condition=Established", "crd/widgets.example.com", "--timeout=60s"]).accepted();
    let bed = Bed::named("row-27")
        .policy("basic.yaml", BASIC)
        .config(
            "workloads:\n  - {group: example.com, kind: Widget, paths: [\"spec.steps[].image\", spec.template.spec]}\n",
        )
        // The rules name v1 alone; `matchPolicy: Equivalent` makes the API server convert v2.
        .configured_kinds(json!([{
            "apiGroups": ["example.com"], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"],
            "resources": ["widgets"], "scope": "Namespaced",
        }]))
        .start();
    let widget = |version: &str, name: &str, image: &str| {
        json!({
            "apiVersion": format!("example.com/{version}"), "kind": "Widget", "metadata": {"name": name},
            "spec": {"steps": [{"name": "one", "image": image}], "template": template(GOOD)},
        })
    };
    let admin = bed.admin();
    for version in ["v1", "v2"] {
        admin
            .create(&widget(version, version, BAD))
            .denied()
            .says(&format!("tagwarden denied Widget row-27/{version}: 1 of 2 images"));
        admin.create(&widget(version, version, GOOD)).accepted();
        admin.apply(&widget(version, version, BAD)).denied();
    }
    let nested = with(widget("v2", "nested", GOOD), "/spec/template", template(BAD));
    admin.create(&nested).denied().says("container \"main\"");
}

/// A Pod that says of itself that it mirrors a static one.
fn mirror(name: &str, image: &str) -> Value {
    let annotated = with(
        pod(name, image),
        "/metadata",
        json!({
            "name": name,
            "annotations": {"kubernetes.io/config.mirror": "0123456789abcdef", "kubernetes.io/config.source": "file"},
        }),
    );
    with(annotated, "/spec/nodeName", json!("n1"))
}

#[test]
fn row_40_a_mirror_pod_passes_only_from_its_kubelet() {
    let bed = Bed::named("row-40").policy("basic.yaml", BASIC).start();
    let warned = |outcome: Outcome| outcome.accepted().says("Warning: ");
    warned(bed.as_user(User::Node).create(&mirror("static", BAD)));
    bed.dana().create(&mirror("forged", BAD)).denied();
    bed.dana().create(&mirror("honest", GOOD)).accepted().does_not_say("Warning");
    // The kubelet's name alone exempts nothing.
    bed.as_user(User::Node).create(&with(pod("plain", BAD), "/spec/nodeName", json!("n1"))).denied();
}

#[test]
fn row_45_a_tenant_who_labels_his_namespace_changes_nothing() {
    let bed = Bed::named("row-45").policy("basic.yaml", BASIC).start();
    bed.admin().run(&["create", "role", "tenant", "--verb=get,patch,update", "--resource=namespaces"]).accepted();
    bed.admin().run(&["create", "rolebinding", "tenant", "--role=tenant", "--group=developers"]).accepted();
    bed.dana().create(&pod("before", BAD)).denied();
    bed.dana()
        .run(&[
            "label",
            "namespace",
            "row-45",
            "--overwrite",
            "kubernetes.io/metadata.name=kube-system",
            "control-plane=true",
            "tagwarden.dev/ignore=true",
            "admission.tagwarden.dev/exclude=true",
        ])
        .accepted();
    let labels = bed.admin().get("namespace/row-45").unwrap()["metadata"]["labels"].clone();
    assert_eq!(labels["control-plane"], "true", "the labels are there: {labels}");
    // The API server itself sets this one back.
    assert_eq!(labels["kubernetes.io/metadata.name"], "row-45");
    bed.dana().create(&pod("after", BAD)).denied();
    bed.dana().create(&pod("good", GOOD)).accepted();
}

#[test]
fn row_45_only_trusted_labels_decide_and_they_do_so_as_soon_as_they_change() {
    let policy = BASIC.replace("  rules:", "  namespaces: {selector: {matchLabels: {tier: app}}}\n  rules:");
    let bed = Bed::named("row-45-trusted")
        .policy("basic.yaml", &policy)
        .config("trustedNamespaceLabels: [tier]\n")
        .labels(json!({"tier": "app"}))
        .start();
    let judged = || !bed.dana().run(&["run", "p", "--dry-run=server", &format!("--image={BAD}")]).succeeded();
    assert!(judged(), "the policy selects this namespace");
    let label = |value: &str| {
        let label = format!("tier={value}");
        bed.admin().run(&["label", "namespace", "row-45-trusted", "--overwrite", &label]).accepted();
    };
    label("system");
    until_true("the label to take the namespace out of the policy", PATIENCE, || !judged());
    label("app");
    until_true("the label to bring the namespace back", PATIENCE, judged);
}
