//! The JSON Schema of policy files agrees with their reader on keys, types and enums, and so does the custom resource.

use std::fs;
use std::path::Path;

use tagwarden::document::{Source, parse};
use tagwarden::policy::{PolicySet, Settings, policy_crd, policy_schema, release_crd};
use tagwarden::release::{ReleaseFile, release_schema};

/// Documents that the schema lets through and only compiling refuses: a marker in the corpus says why.
const COMPILE_ONLY: &str = "# only compiling knows:";

/// One policy document a case: those of the data cases are valid, those of tests/schema say what they are in a comment.
fn corpus() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let mut texts = Vec::new();
    for entry in fs::read_dir(root.join("cases")).unwrap() {
        let path = entry.unwrap().path().join("policy.yaml");
        if path.exists() {
            texts.push((path.display().to_string(), fs::read_to_string(&path).unwrap()));
        }
    }
    let corpus = fs::read_to_string(root.join("schema/corpus.yaml")).unwrap();
    for (number, part) in corpus.split("\n---\n").enumerate() {
        texts.push((format!("corpus document {}", number + 1), part.to_owned()));
    }
    texts
}

#[test]
fn schema_and_reader_agree_over_the_corpus() {
    let schema = policy_schema();
    let validator = jsonschema::draft7::new(&schema).expect("the schema is valid draft-07");
    let (mut valid, mut invalid, mut compile_only) = (0, 0, 0);
    for (name, text) in corpus() {
        let (documents, problems) = parse(&Source::new(&name, &text));
        assert_eq!(problems, vec![], "{name}");
        let by_schema = documents.iter().all(|document| validator.is_valid(&document.root.to_json()));
        let read = PolicySet::compile(&[(&name, &text)], Settings::default());
        let errors: Vec<_> = documents
            .iter()
            .flat_map(|d| validator.iter_errors(&d.root.to_json()).map(|e| e.to_string()).collect::<Vec<_>>())
            .collect();
        if text.contains(COMPILE_ONLY) {
            compile_only += 1;
            assert!(by_schema, "{name}: the schema refuses what it is said not to know: {errors:?}\n{text}");
            assert!(read.is_err(), "{name}: compiles\n{text}");
        } else {
            assert_eq!(by_schema, read.is_ok(), "{name}: schema says {errors:?}, reader says {:?}\n{text}", read.err());
            if by_schema { valid += 1 } else { invalid += 1 }
        }
    }
    assert!(
        valid > 20 && invalid > 20 && compile_only > 5,
        "{valid} valid, {invalid} invalid, {compile_only} by compiling"
    );
}

#[test]
fn the_schema_is_draft_07_and_explains_every_key() {
    let schema = policy_schema();
    assert_eq!(schema["$schema"], "http://json-schema.org/draft-07/schema#");
    let spec = &schema["definitions"]["Spec"]["properties"];
    for key in ["mode", "rules", "exceptions", "tagClasses", "noExceptions"] {
        let text = spec[key].to_string();
        assert!(text.contains("description"), "{key} has no description: {text}");
    }
}

/// Every schema below, with the path of it.
fn schemas<'s>(path: &str, schema: &'s serde_json::Value, all: &mut Vec<(String, &'s serde_json::Value)>) {
    all.push((path.to_owned(), schema));
    for (key, inner) in schema["properties"].as_object().into_iter().flatten() {
        schemas(&format!("{path}.{key}"), inner, all);
    }
    for keyword in ["items", "additionalProperties"] {
        if schema[keyword].is_object() {
            schemas(&format!("{path}[]"), &schema[keyword], all);
        }
    }
}

#[test]
fn the_custom_resources_are_structural_keep_unknown_keys_and_explain_every_key() {
    let (policy, release) = (policy_crd(), release_crd());
    structural(&policy, 80);
    structural(&release, 30);
    let mode = &of_crd(&policy)["properties"]["spec"]["properties"]["mode"];
    assert_eq!(mode["enum"], serde_json::json!(["audit", "warn", "enforce"]));
    assert!(mode["description"].as_str().unwrap().contains("- enforce: Denied."), "{mode}");
    let spec = &of_crd(&release)["properties"]["spec"];
    assert_eq!(spec["required"], serde_json::json!(["release", "images"]));
    let image = &spec["properties"]["images"]["additionalProperties"];
    assert_eq!(image["required"], serde_json::json!(["repo"]));
    assert_eq!(image["properties"]["tag"]["type"], "string");
}

fn of_crd(crd: &serde_json::Value) -> &serde_json::Value {
    &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
}

#[track_caller]
fn structural(crd: &serde_json::Value, at_least: usize) {
    let mut all = Vec::new();
    schemas("", of_crd(crd), &mut all);
    assert!(all.len() > at_least, "{}", all.len());
    for (path, schema) in all {
        for keyword in ["$ref", "$schema", "$id", "definitions", "oneOf", "anyOf", "allOf", "const", "title", "default"]
        {
            assert!(schema[keyword].is_null(), "{path} has {keyword}: {schema}");
        }
        assert_ne!(schema["additionalProperties"], false, "{path}");
        let open = schema["x-kubernetes-preserve-unknown-fields"] == true;
        let ours = !path.starts_with(".status");
        assert!(schema["type"].is_string() || open, "{path} has no type: {schema}");
        if schema["properties"].is_object() && ours {
            assert!(open, "{path} drops typing errors: {schema}");
        }
        let common = ["", ".apiVersion", ".kind", ".metadata"].contains(&path.as_str()) || path.ends_with("[]");
        assert!(common || schema["description"].is_string(), "{path} has no description: {schema}");
    }
}

/// The chart's copy, which `make manifests` writes anew.
#[test]
fn the_charts_custom_resources_are_the_ones_that_are_printed() {
    for (crd, word, file) in [(policy_crd(), "crd", "imagepolicies"), (release_crd(), "release-crd", "imagereleases")] {
        let path = format!("charts/tagwarden/files/{file}.crd.json");
        let printed = format!("{crd:#}\n");
        let copy = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(&path)).unwrap();
        assert_eq!(copy, printed, "write it anew: tagwarden schema {word} > {path}");
        let ran = crate::cli_support::Scene::new(&[]).run(&["schema", word]);
        assert_eq!(ran.stdout, printed);
    }
}

#[test]
fn the_schema_of_release_files_and_their_reader_agree() {
    let schema = release_schema();
    let validator = jsonschema::draft7::new(&schema).expect("the schema is valid draft-07");
    let digest = format!("'sha256:{}'", "a".repeat(64));
    let of_image = |image: &str| format!("release: r\nimages: {{app: {{{}}}}}\n", image.replace("DIGEST", &digest));
    let texts = [
        of_image("repo: ghcr.io/acme/app, tag: v1.2.3"),
        of_image("repo: ghcr.io/acme/app, digest: DIGEST, commit: 4f2a1b0, team: {a: 1}"),
        of_image("repo: ghcr.io/acme/app, tag: v1, build: {id: '1', tags: [v1]}, platforms: {linux/amd64: DIGEST}"),
        of_image("repo: ghcr.io/acme/app, tag: v1")
            + "own: {a: [1]}\nprevious: [q]\nsource: {repo: x, commit: 4f2a1b0}\n",
        of_image("repo: ghcr.io/acme/app"),
        of_image("tag: v1"),
        of_image("repo: ghcr.io/acme/app, tag: 1.10"),
        of_image("repo: ghcr.io/acme/app, tag: 'v 1'"),
        of_image("repo: ghcr.io/acme/app, digest: 'sha256:1'"),
        of_image("repo: ghcr.io/acme/app, tag: v1, commit: main"),
        of_image("repo: ghcr.io/acme/app, tag: v1, build: {no: x}"),
        of_image("repo: ghcr.io/acme/app, tag: v1, platforms: [DIGEST]"),
        of_image("repo: ghcr.io/acme/app, tag: v1") + "previous: ['a b']\n",
        of_image("repo: ghcr.io/acme/app, tag: v1") + "source: {branch: x}\n",
        of_image("repo: ghcr.io/acme/app, tag: v1") + "id: x\n",
        "release: a b\nimages: {app: {repo: ghcr.io/acme/app, tag: v1}}\n".to_owned(),
        "release: r\nimages: {a b: {repo: ghcr.io/acme/app, tag: v1}}\n".to_owned(),
        "release: r\nimages: {}\n".to_owned(),
        "release: r\n".to_owned(),
        "images: {app: {repo: ghcr.io/acme/app, tag: v1}}\n".to_owned(),
        "[]\n".to_owned(),
    ];
    let mut valid = 0;
    for text in &texts {
        let (documents, _) = parse(&Source::new("r.yaml", text));
        let by_schema = validator.is_valid(&documents[0].root.to_json());
        let read = ReleaseFile::read("r.yaml", text);
        assert_eq!(by_schema, read.is_ok(), "{text}\n{:?}", read.err());
        valid += usize::from(by_schema);
    }
    assert_eq!(valid, 4, "each way to be wrong is one");
    let printed = crate::cli_support::Scene::new(&[]).run(&["schema", "release"]);
    assert_eq!((printed.code, printed.json()), (0, schema));
}
