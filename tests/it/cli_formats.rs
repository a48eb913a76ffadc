//! The formats of `check`: one report of everything that can be found, in each of them, held against what is published
//! of the format, and against names that try to break out of it.

mod hostile;
mod limits;
mod outputs;
pub(crate) mod schemas;
mod snapshots;

use crate::cli_support::{Ran, Scene};
use crate::python;

/// All formats but `plain`, which is no document, and `table`, which is none either.
const DOCUMENTS: [&str; 6] = ["json", "sarif", "junit", "github", "gitlab", "markdown"];

const POLICY: &str = r##"apiVersion: tagwarden.dev/v1
kind: ImagePolicy
metadata: {name: acme-images}
spec:
  mode: enforce
  owner: {contact: "#platform-security", docs: "https://wiki.example.com/images"}
  namespaces: {exclude: [forgotten]}
  rules:
    - name: first-party
      images: ["registry.example.com/acme/**"]
      tags: [release, commit]
  overrides:
    - {namespaces: ["sandbox-*"], mode: audit}
    - {namespaces: ["trial-*"], mode: warn}
  exceptions:
    - id: EX-2026-014
      images: ["registry.example.com/acme/legacy:2019-final"]
      namespaces: [billing]
      checks: [tags]
      owner: billing-team
      ticket: SEC-1234
      reason: vendor rebuild pending
      expires: 2099-12-31
"##;

/// Makes a namespace that no policy covers a finding about the object as a whole.
const CONFIG: &str = "policies: {noPolicy: deny}\n";

/// Two denied images and one that passes.
const CHECKOUT: &str = "\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: checkout
  namespace: shop-prod
spec:
  template:
    spec:
      initContainers:
        - name: migrate
          image: registry.example.com/acme/migrate:v1.4.1
      containers:
        - name: api
          image: registry.example.com/acme/api:latest # to be released
        - name: web
          image: 'docker.io/library/nginx:1.27.3'
";

/// One Pod each: warned of, audited, undecided without a registry, let in by an exception, of an uncovered namespace.
const OTHERS: &str = "\
apiVersion: v1
kind: Pod
metadata: {name: try, namespace: trial-a}
spec: {containers: [{name: c, image: 'registry.example.com/acme/api:main'}]}
---
apiVersion: v1
kind: Pod
metadata: {name: play, namespace: sandbox-a}
spec: {containers: [{name: c, image: 'registry.example.com/acme/api:main'}]}
---
apiVersion: v1
kind: Pod
metadata: {name: pinned, namespace: shop-prod}
spec:
  containers:
    - name: c
      image: registry.example.com/acme/api:v1.4.2@sha256:77b0c9d2e4f177b0c9d2e4f177b0c9d2e4f177b0c9d2e4f177b0c9d2e4f177b0
---
apiVersion: v1
kind: Pod
metadata: {name: invoices, namespace: billing}
spec: {containers: [{name: c, image: 'registry.example.com/acme/legacy:2019-final'}]}
---
apiVersion: v1
kind: Pod
metadata: {name: alone, namespace: forgotten}
spec: {containers: [{name: c, image: 'registry.example.com/acme/api:v1.4.2'}]}
";

/// What `helm template` writes.
const RENDERED: &str = "\
---
# Source: shop/templates/worker.yaml
apiVersion: batch/v1
kind: Job
metadata: {name: worker, namespace: shop-prod}
spec: {template: {spec: {containers: [{name: work, image: 'registry.example.com/acme/worker:edge'}]}}}
---
# Source: shop/templates/service.yaml
apiVersion: v1
kind: Service
metadata: {name: worker}
";

const BROKEN: &str = "apiVersion: v1\nkind: Pod\nmetadata:\n\tname: tabs\n";

/// A report of everything that can be found.
fn scene() -> Scene {
    let files = [
        ("policies/acme.yaml", POLICY),
        ("config.yaml", CONFIG),
        ("deploy/broken.yaml", BROKEN),
        ("deploy/checkout.yaml", CHECKOUT),
        ("deploy/others.yaml", OTHERS),
        ("deploy/rendered.yaml", RENDERED),
        ("deploy/values.yaml", "image: {repository: nginx}\n"),
    ];
    Scene::new(&files)
}

/// `check` of files of the scene, and more arguments.
fn check(scene: &Scene, arguments: &[&str]) -> Ran {
    scene.run(&[&["check", "--policies", "policies", "--config", "config.yaml", "--offline"], arguments].concat())
}

/// Holds a report against the schema of what Jenkins reads.
pub fn validate_junit(xml: &str) {
    let schema = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/schemas/junit-10.xsd");
    let program = "import sys, xmlschema\nxmlschema.XMLSchema(sys.argv[1]).validate(sys.stdin.read().encode())\n";
    python::run(program, &[schema], xml);
}
