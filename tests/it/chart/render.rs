//! Runs helm over the chart and gives what it renders as objects.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

/// The chart, from the root of the repository.
pub const CHART: &str = "charts/tagwarden";

/// A helm built by `go install` believes that every cluster is old.
const KUBE_VERSION: &str = "1.36.3";

/// Values that turn on everything there is, for what must hold of all objects.
pub const FULL: &str = include_str!("../../chart/full.yaml");

/// The root of the repository.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The text of a file of the repository.
#[track_caller]
pub fn text_of(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// YAML of one document.
#[track_caller]
pub fn yaml(text: &str) -> Value {
    serde_saphyr::from_str(text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// What helm rendered.
pub struct Render {
    pub text: String,
    pub objects: Vec<Value>,
}

/// Renders the chart with these values, as the release and the namespace `tagwarden`.
#[track_caller]
pub fn render(values: &str) -> Render {
    Render::of(template(&["tagwarden", CHART, "--namespace", "tagwarden"], values))
}

/// The sentence with which the chart refuses these values.
#[track_caller]
pub fn refusal(values: &str) -> String {
    refusal_of(template(&["tagwarden", CHART, "--namespace", "tagwarden"], values), values)
}

/// The sentence of a render that must have failed.
#[track_caller]
pub fn refusal_of(output: Output, what: &str) -> String {
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success(), "rendered, and should not have: {what}");
    errors
}

/// `helm template` with these arguments and values on its standard input.
pub fn template(arguments: &[&str], values: &str) -> Output {
    let arguments = [&["template", "--kube-version", KUBE_VERSION, "--values", "-"], arguments].concat();
    helm(&arguments, values)
}

/// Runs helm in the root of the repository.
pub fn helm(arguments: &[&str], input: &str) -> Output {
    let folder = std::env::var_os("TAGWARDEN_HELM")
        .expect("run 'make test', or set TAGWARDEN_HELM to the folder that tests/chart/build.sh prints");
    let mut child = Command::new(PathBuf::from(folder).join("helm"))
        .args(arguments)
        .current_dir(root())
        .env("HELM_CACHE_HOME", env!("CARGO_TARGET_TMPDIR"))
        .env("HELM_CONFIG_HOME", env!("CARGO_TARGET_TMPDIR"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_owned();
    let writer = std::thread::spawn(move || drop(stdin.write_all(input.as_bytes())));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    output
}

impl Render {
    #[track_caller]
    pub fn of(output: Output) -> Self {
        assert!(output.status.success(), "helm refused:\n{}", String::from_utf8_lossy(&output.stderr));
        Self::from_text(String::from_utf8(output.stdout).unwrap())
    }

    #[track_caller]
    pub fn from_text(text: String) -> Self {
        let documents: Vec<Value> = serde_saphyr::from_multiple(&text).unwrap_or_else(|e| panic!("{e}\n{text}"));
        let objects = documents.into_iter().filter(|document| !document.is_null()).collect();
        Render { text, objects }
    }

    /// Objects of this kind.
    pub fn kind<'r>(&'r self, kind: &'r str) -> impl Iterator<Item = &'r Value> {
        self.objects.iter().filter(move |object| object["kind"] == kind)
    }

    /// The object of this kind and name.
    #[track_caller]
    pub fn object(&self, kind: &str, name: &str) -> &Value {
        let mut objects = self.objects.iter();
        let found = objects.find(|object| object["kind"] == kind && object["metadata"]["name"] == name);
        found.unwrap_or_else(|| panic!("no {kind} {name} in\n{}", self.text))
    }

    /// The server's configuration file, as text.
    #[track_caller]
    pub fn config_text(&self) -> &str {
        self.object("ConfigMap", "tagwarden-config")["data"]["config.yaml"].as_str().unwrap()
    }

    /// The server's configuration file.
    #[track_caller]
    pub fn config(&self) -> Value {
        yaml(self.config_text())
    }

    /// The server's Pods.
    #[track_caller]
    pub fn pod(&self) -> &Value {
        &self.object("Deployment", "tagwarden")["spec"]["template"]
    }
}

/// The strings of a list.
#[track_caller]
pub fn strings(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|item| item.as_str().unwrap()).collect()
}
