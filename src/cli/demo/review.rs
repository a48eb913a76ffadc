//! A manifest as the review that the API server would send of it.

use anyhow::{Context as _, bail};
use serde_json::{Value, json};

use crate::document::{self, Source};

/// A review ready to be sent.
#[derive(Debug)]
pub(super) struct Review {
    /// As kubectl names the object: `deployment.apps/checkout`.
    pub object: String,
    /// The webhook that the API server would call, by its name.
    pub webhook: &'static str,
    /// The AdmissionReview.
    pub body: Value,
}

impl Review {
    /// The review of creating the one object of a manifest.
    pub fn of(file: &str, text: &str, uid: &str) -> anyhow::Result<Self> {
        let (documents, problems) = document::parse(&Source::new(file, text));
        if let Some(problem) = problems.first() {
            bail!("{problem}");
        }
        let object = documents.first().with_context(|| format!("{file} is empty"))?.root.to_json();
        let field = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let (kind, name, namespace) = (field("/kind"), field("/metadata/name"), field("/metadata/namespace"));
        let api_version = field("/apiVersion");
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        // The resource of each built-in kind is its kind in lower case, in the plural.
        let singular = kind.to_lowercase();
        let resource = format!("{singular}s");
        let kind_of = json!({"group": group, "version": version, "kind": kind});
        let resource_of = json!({"group": group, "version": version, "resource": resource});
        let body = json!({
            "apiVersion": "admission.k8s.io/v1",
            "kind": "AdmissionReview",
            "request": {
                "uid": uid,
                "kind": kind_of,
                "resource": resource_of,
                "requestKind": kind_of,
                "requestResource": resource_of,
                "name": name,
                "namespace": namespace,
                "operation": "CREATE",
                "userInfo": {"username": "jane", "groups": ["system:authenticated"]},
                "object": object,
                "oldObject": null,
                "dryRun": false,
                "options": {"apiVersion": "meta.k8s.io/v1", "kind": "CreateOptions", "fieldManager": "kubectl-create"},
            },
        });
        let dotted = if group.is_empty() { String::new() } else { format!(".{group}") };
        Ok(Review {
            object: format!("{singular}{dotted}/{name}"),
            webhook: if kind == "Pod" { "validate.tagwarden.dev" } else { "workloads.tagwarden.dev" },
            body,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Review;

    #[test]
    fn a_manifest_becomes_the_review_of_its_creation() {
        let text = "{apiVersion: apps/v1, kind: Deployment, metadata: {name: a, namespace: b}}";
        let review = Review::of("f.yaml", text, "uid-1").unwrap();
        assert_eq!(review.object, "deployment.apps/a");
        assert_eq!(review.webhook, "workloads.tagwarden.dev");
        let request = &review.body["request"];
        assert_eq!(request["resource"]["resource"], "deployments");
        assert_eq!((&request["namespace"], &request["operation"]), (&"b".into(), &"CREATE".into()));
        let pod = Review::of("f.yaml", "{apiVersion: v1, kind: Pod, metadata: {name: a}}", "uid-2").unwrap();
        assert_eq!((pod.object.as_str(), pod.webhook), ("pod/a", "validate.tagwarden.dev"));
    }
}
