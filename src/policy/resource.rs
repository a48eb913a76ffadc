//! The custom resource: policies as objects of the cluster, under a schema made from the types that read them.

use serde_json::{Value, json};

use super::file::PolicyDocument;
use crate::document::structural_schema_of;

/// The API group of ImagePolicy objects.
pub const GROUP: &str = "tagwarden.dev";
/// The version of it.
pub const VERSION: &str = "v1";
/// Their kind.
pub const KIND: &str = "ImagePolicy";
/// Their plural, as paths of the API name them.
pub const PLURAL: &str = "imagepolicies";

/// The CustomResourceDefinition of ImagePolicy objects, as `kubectl apply` takes it.
///
/// Unknown keys are kept and keys that are not supported yet accepted: what is wrong with them the server says in the
/// object's status, with the nearest valid key.
#[must_use]
pub fn policy_crd() -> Value {
    let mut schema = structural_schema_of::<PolicyDocument>();
    // What is common to all objects is the API server's own, and a schema may say no more of it.
    for (key, kind) in [("apiVersion", "string"), ("kind", "string"), ("metadata", "object")] {
        schema["properties"][key] = json!({"type": kind});
    }
    schema["properties"]["status"] = status();
    schema["required"] = json!(["spec"]);
    let column = |name: &str, kind: &str, path: &str, description: &str| json!({"name": name, "type": kind, "jsonPath": path, "description": description});
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{PLURAL}.{GROUP}")},
        "spec": {
            "group": GROUP,
            "scope": "Cluster",
            "names": {
                "kind": KIND, "listKind": format!("{KIND}List"), "plural": PLURAL, "singular": "imagepolicy",
                "shortNames": ["imgpol"],
            },
            "versions": [{
                "name": VERSION, "served": true, "storage": true,
                "schema": {"openAPIV3Schema": schema},
                "subresources": {"status": {}},
                "additionalPrinterColumns": [
                    column("Mode", "string", ".spec.mode", "What becomes of a violation."),
                    column("Ready", "string", ".status.conditions[?(@.type==\"Ready\")].status", "Whether this version is in force."),
                    column("Reason", "string", ".status.conditions[?(@.type==\"Ready\")].reason", "Why, or why not."),
                    column("Age", "date", ".metadata.creationTimestamp", "Since it was created."),
                ],
            }],
        },
    })
}

/// What the server writes.
fn status() -> Value {
    let text = |description: &str| json!({"type": "string", "description": description});
    let generation =
        json!({"type": "integer", "format": "int64", "description": "The version of the object that this is about."});
    json!({
        "type": "object",
        "description": "What the server made of the policy; written by the server.",
        "properties": {
            "observedGeneration": generation,
            "hash": text("The hash of the version in force, as logs and metrics show it; none where no version is."),
            "conditions": {
                "type": "array",
                "description": "Ready: this version is in force. Invalid: this version has errors.",
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["type"],
                "items": {
                    "type": "object",
                    "description": "One condition.",
                    "required": ["type", "status", "reason", "message", "lastTransitionTime"],
                    "properties": {
                        "type": text("Ready or Invalid."),
                        "status": {"type": "string", "enum": ["True", "False", "Unknown"], "description": "Whether it holds."},
                        "reason": text("Of Ready: InForce, EarlierVersionInForce (this version has errors, the last good one serves), Lost (a version was in force, none that is known compiles), Invalid, Waiting (nothing at all is in force)."),
                        "message": text("The same as a sentence."),
                        "lastTransitionTime": {"type": "string", "format": "date-time", "description": "When the condition's status changed last."},
                        "observedGeneration": generation,
                    },
                },
            },
            "diagnostics": {
                "type": "array",
                "description": "What is wrong with this version: the first problems of it.",
                "x-kubernetes-list-type": "atomic",
                "items": {
                    "type": "object",
                    "description": "One problem.",
                    "required": ["path", "message"],
                    "properties": {
                        "path": text("Where: spec.rules[0].tags[1]."),
                        "message": text("What is wrong."),
                        "help": text("What to do."),
                    },
                },
            },
        },
    })
}
