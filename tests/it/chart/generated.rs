//! What is generated: the values in the chart's README, the schema of `config`, the plain manifests and the kustomize base.
//!
//! The tests fail where a file is stale. `make manifests` runs them with UPDATE_MANIFESTS=1, and then they write instead.

use std::fmt::Write as _;
use std::process::Command;

use serde_json::Value;

use super::render::{CHART, Render, render, root, template, text_of, yaml};
use super::restricted;

const BEGIN: &str = "<!-- values: begin -->\n";
const END: &str = "<!-- values: end -->\n";

/// A value of values.yaml that has a comment.
pub struct Documented {
    /// `webhook.timeoutSeconds`.
    pub path: String,
    /// The text after `# -- `.
    pub text: String,
    /// The last `## ` before it.
    pub section: String,
}

/// The values with a comment, in the order of the file. Fails where a key has neither a comment nor commented keys below.
pub fn documented_values() -> Vec<Documented> {
    read_values(&text_of(&format!("{CHART}/values.yaml"))).unwrap_or_else(|problem| panic!("values.yaml: {problem}"))
}

fn read_values(text: &str) -> Result<Vec<Documented>, String> {
    let mut found = Vec::new();
    let mut section = String::new();
    let mut comment: Option<String> = None;
    // Keys that lead to here, each with its indentation; and the indentation of a documented key, whose inside is its own.
    let mut above: Vec<(usize, &str)> = Vec::new();
    let mut inside: Option<usize> = None;
    for line in text.lines() {
        let trimmed = line.trim_start();
        let indentation = line.len() - trimmed.len();
        if trimmed.is_empty() || inside.is_some_and(|documented| indentation > documented) {
            continue;
        }
        inside = None;
        if let Some(heading) = line.strip_prefix("## ") {
            heading.clone_into(&mut section);
        } else if let Some(words) = trimmed.strip_prefix("# -- ") {
            comment = Some(words.to_owned());
        } else if let Some((key, rest)) = trimmed.split_once(':').filter(|_| !trimmed.starts_with('#')) {
            above.retain(|(outer, _)| *outer < indentation);
            let mut path: Vec<_> = above.iter().map(|(_, key)| *key).collect();
            path.push(key);
            let path = path.join(".");
            match comment.take() {
                Some(text) => {
                    inside = Some(indentation);
                    found.push(Documented { path, text, section: section.clone() });
                }
                None if rest.is_empty() => above.push((indentation, key)),
                None => return Err(format!("{path} has no comment above it: write '# -- what it means'")),
            }
        }
    }
    Ok(found)
}

/// The tables of values, one a section.
fn values_as_markdown() -> String {
    let values = yaml(&text_of(&format!("{CHART}/values.yaml")));
    let mut text = String::new();
    let mut section = None;
    for value in documented_values() {
        if section.as_ref() != Some(&value.section) {
            let heading = if value.section.is_empty() { "General" } else { &value.section };
            write!(text, "\n### {heading}\n\n| value | default | meaning |\n| --- | --- | --- |\n").unwrap();
            section = Some(value.section.clone());
        }
        let default = &values[value.path.split('.').next().unwrap()];
        let default = value.path.split('.').skip(1).fold(default, |place, key| &place[key]).to_string();
        let default = if default.len() > 60 { "see values.yaml".to_owned() } else { format!("`{default}`") };
        writeln!(text, "| `{}` | {default} | {} |", value.path, value.text.replace('|', "\\|")).unwrap();
    }
    text
}

/// The file is as generated, or is written.
#[track_caller]
fn assert_current(path: &str, generated: &str) {
    let file = root().join(path);
    if std::env::var_os("UPDATE_MANIFESTS").is_some() {
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, generated).unwrap();
        return;
    }
    let is = std::fs::read_to_string(file).unwrap_or_default();
    assert!(is == generated, "{path} is stale; run 'make manifests' and commit what it writes");
}

#[test]
fn the_readme_documents_every_value() {
    let path = format!("{CHART}/README.md");
    let text = text_of(&path);
    let (before, rest) = text.split_once(BEGIN).expect("the README has the mark where values begin");
    let (_, after) = rest.split_once(END).expect("the README has the mark where values end");
    assert_current(&path, &format!("{before}{BEGIN}{}\n{END}{after}", values_as_markdown()));
}

/// What the binary prints.
#[track_caller]
fn printed(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_tagwarden")).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The schema of the configuration file as a part of that of the values: references go to the part, and no key is
/// required, since values may be given in several files and the chart adds its own.
fn as_part(schema: &mut Value) {
    match schema {
        Value::Object(keys) => {
            for key in ["$schema", "$id", "title"] {
                keys.remove(key);
            }
            keys.retain(|key, value| key != "required" || !value.is_array());
            if let Some(Value::String(reference)) = keys.get_mut("$ref") {
                *reference = reference.replace("#/definitions/", "#/properties/config/definitions/");
            }
            keys.values_mut().for_each(as_part);
        }
        Value::Array(items) => items.iter_mut().for_each(as_part),
        _ => {}
    }
}

#[test]
fn the_schema_of_config_is_the_binarys() {
    const BEGIN: &str = "\n    \"config\": ";
    const END: &str = "\n    },";
    let mut part: Value = serde_json::from_str(&printed(&["schema", "config"])).unwrap();
    as_part(&mut part);
    let path = format!("{CHART}/values.schema.json");
    let text = text_of(&path);
    let (before, rest) = text.split_once(BEGIN).expect("the values have a key config");
    let (_, after) = rest.split_once(END).expect("which ends");
    let part = format!("{part:#}").replace('\n', "\n    ");
    assert_current(&path, &format!("{before}{BEGIN}{part},{after}"));
}

/// The release's manifests for people without Helm: in the namespace `tagwarden`, without hooks and Helm's own labels.
fn manifests() -> String {
    let rendered = Render::of(template(&["tagwarden", CHART, "--namespace", "tagwarden", "--no-hooks"], "{}"));
    let helms = ["app.kubernetes.io/managed-by: ", "helm.sh/chart: ", "# Source: "];
    let lines = rendered.text.lines().filter(|line| !helms.iter().any(|helm| line.trim_start().starts_with(helm)));
    let body: Vec<_> = lines.collect();
    let body = body.join("\n");
    format!("{NAMESPACE}{}\n", body.trim_end())
}

/// Before everything else, so that `kubectl apply` finds it there.
const NAMESPACE: &str = "\
# Tagwarden as the chart's default values render it; written by `make manifests`. It blocks nothing: maxMode is audit.
apiVersion: v1
kind: Namespace
metadata:
  name: tagwarden
  labels:
    pod-security.kubernetes.io/enforce: restricted
    pod-security.kubernetes.io/warn: restricted
    pod-security.kubernetes.io/audit: restricted
";

const KUSTOMIZATION: &str = "\
# A base for overlays: the chart's default values as rendered. Written by `make manifests`.
#
# An overlay's `namespace` has to arrive in the webhook configurations too, which leave our own namespace out. `vars` are
# filled in when everything else is done; `replacements` of a base are before the overlay names its namespace.
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources:
  - tagwarden.yaml
vars:
  - name: TAGWARDEN_NAMESPACE
    objref: {apiVersion: apps/v1, kind: Deployment, name: tagwarden}
    fieldref: {fieldpath: metadata.namespace}
configurations:
  - references.yaml
";

/// Where `$(TAGWARDEN_NAMESPACE)` stands.
const REFERENCES: &str = "\
# Where kustomize fills in our own namespace. Written by `make manifests`.
varReference:
  - {kind: ValidatingWebhookConfiguration, path: webhooks/namespaceSelector/matchExpressions/values}
  - {kind: MutatingWebhookConfiguration, path: webhooks/namespaceSelector/matchExpressions/values}
";

/// The manifests as the base holds them: our own namespace, as an item of a list of names, is filled in by kustomize.
fn base() -> String {
    let manifests = manifests();
    let base = manifests.replace("\n            - tagwarden\n", "\n            - $(TAGWARDEN_NAMESPACE)\n");
    let lines = base.lines().filter(|line| line.trim_start() == "- $(TAGWARDEN_NAMESPACE)").count();
    let webhooks = Render::from_text(manifests);
    let webhooks = webhooks.objects.iter().filter_map(|object| object["webhooks"].as_array()).map(Vec::len);
    assert_eq!(lines, webhooks.sum::<usize>(), "one place in each webhook");
    base
}

#[test]
fn the_plain_manifests_are_the_charts() {
    assert_current("deploy/install.yaml", &manifests());
    assert_current("deploy/kustomize/tagwarden.yaml", &base());
    assert_current("deploy/kustomize/kustomization.yaml", KUSTOMIZATION);
    assert_current("deploy/kustomize/references.yaml", REFERENCES);
}

#[test]
fn the_plain_manifests_hold_everything_but_hooks() {
    let plain = Render::from_text(manifests());
    let chart = render("{}");
    let hooked = |object: &&serde_json::Value| !object["metadata"]["annotations"]["helm.sh/hook"].is_null();
    let hooks = chart.objects.iter().filter(hooked).count();
    assert!(hooks > 0 && plain.objects.iter().filter(hooked).count() == 0);
    assert_eq!(plain.objects.len(), chart.objects.len() - hooks + 1, "the namespace comes in addition");
    assert_eq!(plain.objects[0]["kind"], "Namespace");
    assert!(!plain.text.contains("helm"), "nothing of Helm's is left");
    assert_eq!(plain.pod()["metadata"], chart.pod()["metadata"]);
    assert_eq!(restricted::problems(&plain.pod()["spec"]), Vec::<String>::new());
}

/// The definitions are what the binary prints, and stay when the release goes.
#[test]
fn the_definitions_of_our_objects_are_the_binarys() {
    for (value, plural, word) in
        [("imagePolicies", "imagepolicies", "crd"), ("imageReleases", "imagereleases", "release-crd")]
    {
        let printed = printed(&["schema", word]);
        assert_current(&format!("{CHART}/files/{plural}.crd.json"), &printed);
        let render = render(&format!("{{{value}: {{enabled: true}}}}"));
        assert_eq!(render.kind("CustomResourceDefinition").count(), 1, "{value} brings its own");
        let definition = render.object("CustomResourceDefinition", &format!("{plural}.tagwarden.dev"));
        assert_eq!(definition["metadata"]["annotations"]["helm.sh/resource-policy"], "keep");
        assert_eq!(definition["spec"], yaml(&printed)["spec"]);
        let without = self::render(&format!("{{{value}: {{enabled: true}}, crds: {{install: false}}}}"));
        assert_eq!(without.kind("CustomResourceDefinition").count(), 0);
    }
    let both = render("{imagePolicies: {enabled: true}, imageReleases: {enabled: true}}");
    assert_eq!(both.kind("CustomResourceDefinition").count(), 2);
}

mod tests {
    use super::read_values;

    #[test]
    fn comments_belong_to_the_key_below_them() {
        let text = "## Part\n\n# -- one\na:\n  inner: 1\n\nb:\n  # -- two\n  c: 1\n  d:\n    # -- three\n    e: []\n# -- four\nf: 1\n";
        let read: Vec<_> = read_values(text).ok().unwrap().into_iter().map(|v| (v.path, v.text)).collect();
        let expected = [("a", "one"), ("b.c", "two"), ("b.d.e", "three"), ("f", "four")];
        assert_eq!(read, expected.map(|(path, text)| (path.to_owned(), text.to_owned())));
    }

    #[test]
    fn a_key_without_a_comment_is_found() {
        for text in ["a: 1\n", "b:\n  # -- two\n  c: 1\n  d: 2\n", "# -- one\na:\n  x: 1\nb: 2\n"] {
            assert!(read_values(text).is_err(), "{text}");
        }
    }
}
