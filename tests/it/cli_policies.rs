//! The example policies keep what their folders promise: judged by the real binary, manifest by manifest.

use std::path::{Path, PathBuf};

use tagwarden::cli::Exit;

use crate::cli_support::{Scene, run_at};

fn policies() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("policies")
}

/// Entries of a directory, in order.
fn entries(directory: &Path) -> Vec<PathBuf> {
    let mut entries: Vec<_> = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    entries
}

#[test]
fn every_example_lets_pass_and_refuses_what_it_says() {
    let scene = Scene::new(&[]);
    let folders: Vec<_> = entries(&policies()).into_iter().filter(|path| path.is_dir()).collect();
    assert!(folders.len() >= 6, "starter and five examples at least");
    for folder in folders {
        let name = folder.file_name().unwrap().to_str().unwrap();
        let readme = std::fs::read_to_string(folder.join("README.md")).unwrap();
        for (kind, code) in [("pass", 0), ("refuse", 1)] {
            let manifests = entries(&folder.join("manifests").join(kind));
            assert!(!manifests.is_empty(), "{name} has nothing to {kind}");
            for manifest in manifests {
                let file = format!("{kind}/{}", manifest.file_name().unwrap().to_str().unwrap());
                let mut arguments = vec!["check", "--policies", folder.to_str().unwrap(), "--format", "json"];
                // What a registry would say; the other examples ask none.
                let facts = folder.join("facts/registry.yaml");
                if facts.exists() {
                    arguments.extend(["--facts", facts.to_str().unwrap()]);
                }
                // The release that governs; its name is the latest of them.
                let place = folder.join("releases");
                let mut releases = if place.is_dir() { entries(&place) } else { Vec::new() };
                releases.sort();
                for release in releases.iter().rev() {
                    arguments.extend(["--release", release.to_str().unwrap()]);
                }
                arguments.push(manifest.to_str().unwrap());
                let ran = scene.run(&arguments);
                assert_eq!((ran.code, ran.stderr.as_str()), (code, ""), "{name}/{file}: {}", ran.stdout);
                let summary = &ran.json()["summary"];
                assert_eq!(summary["deny"].as_u64().unwrap() > 0, code == 1, "{name}/{file}");
                assert!(summary["images"].as_u64().unwrap() > 0, "{name}/{file} has no image");
                assert_eq!(summary["uncoveredNamespaces"], serde_json::json!([]), "{name}/{file}");
                assert!(readme.contains(&file), "{name}/README.md does not mention {file}");
            }
        }
    }
}

#[test]
fn an_exception_ends_with_its_day() {
    let folder = policies().join("exceptions");
    let manifest = folder.join("manifests/pass/billing.yaml");
    let arguments = ["tagwarden", "check", "--policies", folder.to_str().unwrap(), manifest.to_str().unwrap()];
    // The last second of 2099-12-31, UTC, and the first one after it.
    let last = 4_102_444_799;
    let (exit, out) = run_at(last, &arguments);
    assert_eq!(exit, Exit::Clean);
    assert!(out.contains("exception EX-2026-014"), "{out}");
    let (exit, out) = run_at(last + 1, &arguments);
    assert_eq!(exit, Exit::Violation);
    assert!(!out.contains("EX-2026-014"), "{out}");
}

#[test]
fn a_configuration_with_objects_says_that_they_are_not_read_here() {
    let policy = "apiVersion: tagwarden.dev/v1\nkind: ImagePolicy\nmetadata: {name: a}\nspec: {mode: enforce, rules: [{images: [\"**\"]}]}\n";
    let pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: x}\nspec: {containers: [{name: a, image: \"nginx:v1\"}]}\n";
    for (objects, noted) in [("true", true), ("false", false)] {
        let config = format!("policies: {{dirs: [policies], objects: {objects}}}\n");
        let scene = Scene::new(&[("config.yaml", &config), ("policies/p.yaml", policy), ("pod.yaml", pod)]);
        let ran = scene.run(&["check", "--config", "config.yaml", "--offline", "pod.yaml"]);
        assert_eq!(ran.code, 0, "{ran:?}");
        assert_eq!(ran.stderr.contains("ImagePolicy objects are not read here"), noted, "{ran:?}");
    }
}
