//! A workload of one container, as the scenarios have controllers make Pods of it.

use serde_json::{Value, json};

/// A Deployment or DaemonSet whose Pods end a second after they are told to.
pub fn workload(kind: &str, name: &str, image: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name},
        "spec": {
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {
                    "terminationGracePeriodSeconds": 1,
                    "containers": [{"name": "main", "image": image, "imagePullPolicy": "IfNotPresent"}],
                },
            },
        },
    })
}
