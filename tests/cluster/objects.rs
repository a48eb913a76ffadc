//! Policies and objects that several tests use.

use serde_json::{Value, json};

/// One registry, immutable tags: the second of the smallest useful policies, with an owner.
pub const BASIC: &str = r##"
apiVersion: tagwarden.dev/v1
kind: ImagePolicy
metadata: {name: basic}
spec:
  mode: enforce
  owner: {team: platform, contact: "#platform", docs: "https://wiki.example.com/images"}
  rules:
    - name: first-party
      images: ["registry.example.com/acme/**"]
      tags: [release, commit]
"##;

/// [`BASIC`] after it was tightened: nothing of acme/api may run any more.
pub const TIGHTENED: &str = r##"
apiVersion: tagwarden.dev/v1
kind: ImagePolicy
metadata: {name: basic}
spec:
  mode: enforce
  rules:
    - name: first-party
      images: ["registry.example.com/acme/web", "registry.example.com/acme/debug"]
      tags: [release, commit]
"##;

/// An image that [`BASIC`] lets in and [`TIGHTENED`] does not.
pub const GOOD: &str = "registry.example.com/acme/api:v1.4.2";

/// A further one.
pub const BETTER: &str = "registry.example.com/acme/api:v1.4.3";

/// An image that both let in.
pub const WEB: &str = "registry.example.com/acme/web:v2.0.0";

/// An image that neither lets in: the registry is named, the tag floats.
pub const BAD: &str = "registry.example.com/acme/api:latest";

/// A Pod of one container, `main`.
pub fn pod(name: &str, image: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
        "spec": {"containers": [{"name": "main", "image": image}]},
    })
}

/// What a template of any kind holds.
pub fn template(image: &str) -> Value {
    json!({
        "metadata": {"labels": {"app": "x"}},
        "spec": {"containers": [{"name": "main", "image": image}]},
    })
}

/// A Deployment of one replica.
pub fn deployment(name: &str, image: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
        "spec": {"selector": {"matchLabels": {"app": "x"}}, "template": template(image)},
    })
}

/// Sets a value deep inside an object and returns the whole.
pub fn with(mut object: Value, pointer: &str, value: Value) -> Value {
    let (parent, key) = pointer.rsplit_once('/').expect("a pointer begins with a slash");
    let parent = object.pointer_mut(parent).expect("the parent exists");
    parent[key] = value;
    object
}
