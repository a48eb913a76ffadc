//! Reviews for tests, as the API server would send them.

use serde_json::{Value, json};

/// A review of an operation on an object; `old_object` may be null.
pub(super) fn review(operation: &str, group: &str, kind: &str, object: Value, old_object: Value) -> Value {
    json!({
        "kind": "AdmissionReview",
        "apiVersion": "admission.k8s.io/v1",
        "request": {
            "uid": "6b1f2c9e-0d3a-4a43-9ef8-0b8f2ad5a1b7",
            "kind": {"group": group, "version": "v1", "kind": kind},
            "resource": {"group": group, "version": "v1", "resource": "things"},
            "requestKind": {"group": group, "version": "v1beta1", "kind": kind},
            "requestResource": {"group": group, "version": "v1beta1", "resource": "things"},
            "name": "checkout",
            "namespace": "shop-prod",
            "operation": operation,
            "userInfo": {"username": "jane", "uid": "7", "groups": ["dev", "system:authenticated"], "extra": {"a": ["b"]}},
            "object": object,
            "oldObject": old_object,
            "dryRun": false,
            "options": {"kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1"},
        },
    })
}

/// A container.
pub(super) fn container(name: &str, image: &str) -> Value {
    json!({"name": name, "image": image, "env": [{"name": "PASSWORD", "value": "hunter2"}]})
}

/// A Pod of containers.
pub(super) fn pod(containers: Vec<Value>) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "checkout"}, "spec": {"containers": containers}})
}
