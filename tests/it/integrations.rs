//! What makes Tagwarden part of other programs: the hooks of pre-commit, the action for GitHub, the snippets of docs/ci.md.

mod action;
mod gitlab;
mod pre_commit;

use std::path::{Path, PathBuf};

use crate::cli_support::Scene;
use crate::python;

const POLICY: &str = "apiVersion: tagwarden.dev/v1\nkind: ImagePolicy\nmetadata: {name: acme}\nspec:\n  mode: enforce\n  rules:\n    \
                      - images: [\"registry.example.com/acme/**\"]\n      tags: [release]\n";
const TEST: &str = "apiVersion: tagwarden.dev/v1\nkind: ImagePolicyTest\npolicies: [acme.yaml]\nnow: 2026-03-01T00:00:00Z\ncases:\n  \
                    - {image: \"registry.example.com/acme/api:v1.4.2\", expect: allow}\n";

/// A Pod of one image.
fn pod(tag: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: api}}\n\
         spec: {{containers: [{{name: api, image: 'registry.example.com/acme/api:{tag}'}}]}}\n"
    )
}

/// A repository with a policy, its test and a manifest.
fn repository(tag: &str) -> Scene {
    let pod = pod(tag);
    Scene::new(&[
        ("policies/acme.yaml", POLICY),
        ("policies/acme.test.yaml", TEST),
        ("deploy/api.yaml", &pod),
        ("chart/templates/api.yaml", "kind: {{ .Values.kind }}\n"),
    ])
}

/// A file of ours.
fn ours(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// A PATH with a folder before the others.
fn path_with(folder: &Path) -> std::ffi::OsString {
    let rest = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::iter::once(folder.to_owned()).chain(std::env::split_paths(&rest));
    std::env::join_paths(folders).unwrap()
}

/// The folder of the program under test.
fn program_folder() -> PathBuf {
    Path::new(env!("CARGO_BIN_EXE_tagwarden")).parent().unwrap().to_owned()
}

/// Holds a file against one of the published schemas that check-jsonschema carries.
fn valid(schema: &str, file: &Path) {
    let mut command = python::program("check-jsonschema");
    command.arg("--builtin-schema").arg(schema);
    if schema.ends_with("gitlab-ci") {
        command.args(["--data-transform", "gitlab-ci"]);
    }
    let output = command.arg(file).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

/// The blocks of YAML of docs/ci.md that begin with a line.
fn snippet(begin: &str) -> String {
    let document = std::fs::read_to_string(ours("docs/ci.md")).unwrap();
    let blocks = document.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next());
    let found: Vec<_> = blocks.filter(|block| block.starts_with(begin)).collect();
    assert_eq!(found.len(), 1, "{begin}");
    found[0].to_owned()
}
