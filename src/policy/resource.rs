//! The custom resources: policies and releases as objects of the cluster, under schemas made from the types that describe them.

use serde_json::{Value, json};

use super::file::PolicyDocument;
use crate::document::structural_schema_of;
use crate::release::release_structure;

/// The API group of our objects.
pub const GROUP: &str = "tagwarden.dev";
/// The version of it.
pub const VERSION: &str = "v1";

/// A kind of objects of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CustomKind {
    /// Policies.
    ImagePolicy,
    /// Releases.
    ImageRelease,
}

impl CustomKind {
    /// The kind as objects write it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            CustomKind::ImagePolicy => "ImagePolicy",
            CustomKind::ImageRelease => "ImageRelease",
        }
    }

    /// Its plural, as paths of the API name it.
    #[must_use]
    pub const fn plural(self) -> &'static str {
        match self {
            CustomKind::ImagePolicy => "imagepolicies",
            CustomKind::ImageRelease => "imagereleases",
        }
    }

    /// The word of `tagwarden schema` that prints its definition.
    #[must_use]
    pub const fn schema(self) -> &'static str {
        match self {
            CustomKind::ImagePolicy => "crd",
            CustomKind::ImageRelease => "release-crd",
        }
    }
}

/// The CustomResourceDefinition of ImagePolicy objects, as `kubectl apply` takes it.
///
/// Unknown keys are kept and keys that are not supported yet accepted: what is wrong with them the server says in the
/// object's status, with the nearest valid key.
#[must_use]
pub fn policy_crd() -> Value {
    let hash = text("The hash of the version in force, as logs and metrics show it; none where no version is.");
    let schema = whole(structural_schema_of::<PolicyDocument>(), "policy", ("hash", hash));
    let mode = column("Mode", "string", ".spec.mode", "What becomes of a violation.");
    definition(CustomKind::ImagePolicy, "imagepolicy", "imgpol", schema, vec![mode])
}

/// The CustomResourceDefinition of ImageRelease objects, as `kubectl apply` takes it: `spec` is a release file as it stands.
///
/// Unknown keys of a release and of an image are the author's own, and kept.
#[must_use]
pub fn release_crd() -> Value {
    let id = text("The id of the version in force, as logs and metrics show it; none where no version is.");
    let schema = json!({"type": "object", "description": "A release of images.", "x-kubernetes-preserve-unknown-fields": true,
        "properties": {"spec": release_structure()}});
    let columns = vec![
        column("Release", "string", ".spec.release", "The name that people give it."),
        column("Id", "string", ".status.id", "The hash of what is in force."),
    ];
    definition(CustomKind::ImageRelease, "imagerelease", "imgrel", whole(schema, "release", ("id", id)), columns)
}

fn column(name: &str, kind: &str, path: &str, description: &str) -> Value {
    json!({"name": name, "type": kind, "jsonPath": path, "description": description})
}

/// What is common to all objects is the API server's own, and a schema may say no more of it.
fn whole(mut schema: Value, what: &str, fingerprint: (&str, Value)) -> Value {
    for (key, kind) in [("apiVersion", "string"), ("kind", "string"), ("metadata", "object")] {
        schema["properties"][key] = json!({"type": kind});
    }
    schema["properties"]["status"] = status(what, fingerprint);
    schema["required"] = json!(["spec"]);
    schema
}

/// `columns`: those that come before what the server says.
fn definition(kind: CustomKind, singular: &str, short: &str, schema: Value, mut columns: Vec<Value>) -> Value {
    columns.extend([
        column(
            "Ready",
            "string",
            ".status.conditions[?(@.type==\"Ready\")].status",
            "Whether this version is in force.",
        ),
        column("Reason", "string", ".status.conditions[?(@.type==\"Ready\")].reason", "Why, or why not."),
        column("Age", "date", ".metadata.creationTimestamp", "Since it was created."),
    ]);
    if kind == CustomKind::ImageRelease {
        // Names and ids are long; why a version is not in force is one `-o wide` away.
        columns.iter_mut().filter(|column| column["name"] == "Reason").for_each(|column| column["priority"] = json!(1));
    }
    let (name, plural) = (kind.name(), kind.plural());
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{plural}.{GROUP}")},
        "spec": {
            "group": GROUP,
            "scope": "Cluster",
            "names": {
                "kind": name, "listKind": format!("{name}List"), "plural": plural, "singular": singular,
                "shortNames": [short],
            },
            "versions": [{
                "name": VERSION, "served": true, "storage": true,
                "schema": {"openAPIV3Schema": schema},
                "subresources": {"status": {}},
                "additionalPrinterColumns": columns,
            }],
        },
    })
}

fn text(description: &str) -> Value {
    json!({"type": "string", "description": description})
}

/// What the server writes.
fn status(what: &str, (name, fingerprint): (&str, Value)) -> Value {
    let generation =
        json!({"type": "integer", "format": "int64", "description": "The version of the object that this is about."});
    json!({
        "type": "object",
        "description": format!("What the server made of the {what}; written by the server."),
        "properties": {
            "observedGeneration": generation,
            name: fingerprint,
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
