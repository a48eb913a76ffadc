//! The composite action: its steps run as GitHub's runner runs them, with inputs, outputs and the files that it gives.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use tagwarden::document::{Node, Source, Value, parse};

use super::{ours, path_with, pod, program_folder, repository, snippet, valid};
use crate::cli_support::{Ran, Scene};

/// What became of a run.
struct Ended {
    /// That of the last step that ran.
    ran: Ran,
    /// `steps.ID.outputs.NAME` of all steps.
    outputs: BTreeMap<String, String>,
    /// The job's summary.
    summary: String,
}

/// Runs the action in a folder, with `PATH` as given.
fn run(scene: &Scene, inputs: &[(&str, &str)], path: &std::ffi::OsStr) -> Ended {
    let text = std::fs::read_to_string(ours("action.yml")).unwrap();
    let (documents, problems) = parse(&Source::new("action.yml", &text));
    assert_eq!(problems, []);
    let root = &documents[0].root;
    let mut known = BTreeMap::from([("github.action_path".to_owned(), env!("CARGO_MANIFEST_DIR").to_owned())]);
    for (name, default) in entries(root.get("inputs").unwrap()) {
        known.insert(format!("inputs.{name}"), default.get("default").and_then(Node::as_str).unwrap().to_owned());
    }
    for (name, value) in inputs {
        let old = known.insert(format!("inputs.{name}"), (*value).to_owned());
        assert!(old.is_some(), "there is no input {name}");
    }
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let mut ended = Ended {
        ran: Ran { code: 0, stdout: String::new(), stderr: String::new() },
        outputs: known,
        summary: String::new(),
    };
    for step in root.at("runs.steps").and_then(Node::as_list).unwrap() {
        let string = |key: &str| step.get(key).and_then(Node::as_str).unwrap();
        assert_eq!(string("shell"), "bash");
        std::fs::write(at("step.sh"), string("run")).unwrap();
        std::fs::write(at("output"), "").unwrap();
        std::fs::write(at("summary"), "").unwrap();
        // What `shell: bash` stands for.
        let mut command = Command::new("bash");
        command.args(["--noprofile", "--norc", "-eo", "pipefail"]).arg(at("step.sh")).current_dir(scene.path());
        command.env("PATH", path).env("HOME", folder.path()).env("RUNNER_TEMP", folder.path());
        command.env("GITHUB_OUTPUT", at("output")).env("GITHUB_STEP_SUMMARY", at("summary"));
        for (name, value) in entries(step.get("env").unwrap()) {
            command.env(name, evaluated(value.as_str().unwrap(), &ended.outputs));
        }
        ended.ran = Ran::from(command.output().unwrap());
        for line in std::fs::read_to_string(at("output")).unwrap().lines() {
            let (name, value) = line.split_once('=').unwrap();
            ended.outputs.insert(format!("steps.{}.outputs.{name}", string("id")), value.to_owned());
        }
        ended.summary = std::fs::read_to_string(at("summary")).unwrap();
        if ended.ran.code != 0 {
            break;
        }
    }
    let output = root.at("outputs.sarif.value").and_then(Node::as_str).unwrap();
    let value = evaluated(output, &ended.outputs);
    ended.outputs.insert("sarif".to_owned(), value);
    ended
}

fn entries(node: &Node) -> Vec<(&str, &Node)> {
    let Value::Map(entries) = &node.value else { panic!("no map: {node:?}") };
    entries.iter().map(|entry| (entry.key.as_str(), &entry.value)).collect()
}

/// An expression: one name in `${{ }}`, as all of ours are; what is not known is empty.
fn evaluated(text: &str, known: &BTreeMap<String, String>) -> String {
    let name = text.strip_prefix("${{ ").and_then(|rest| rest.strip_suffix(" }}")).unwrap();
    known.get(name).cloned().unwrap_or_default()
}

fn with_program() -> std::ffi::OsString {
    path_with(&program_folder())
}

#[test]
fn findings_become_annotations_a_summary_and_sarif() {
    let scene = repository("latest");
    let ended = run(&scene, &[("paths", "deploy")], &with_program());
    assert_eq!(ended.ran.code, 1, "{:?}", ended.ran);
    assert!(ended.ran.stdout.starts_with("::error file=deploy/api.yaml,line=4,"), "{}", ended.ran.stdout);
    assert!(ended.summary.starts_with("## Tagwarden: 1 denied"), "{}", ended.summary);
    assert_eq!(ended.outputs["sarif"], "tagwarden.sarif");
    let sarif: serde_json::Value =
        serde_json::from_slice(&std::fs::read(scene.path().join("tagwarden.sarif")).unwrap()).unwrap();
    assert_eq!(sarif["runs"][0]["results"][0]["ruleId"], "TW120");

    let good = run(&repository("v1.4.2"), &[("paths", "deploy")], &with_program());
    assert_eq!(good.ran.code, 0, "{:?}", good.ran);
}

#[test]
fn every_input_has_its_effect() {
    let scene = repository("v1.4.2");
    let path = with_program();
    scene.write("more/a b.yaml", pod("latest").as_bytes());
    assert_eq!(run(&scene, &[("paths", "deploy\nmore/a b.yaml\n")], &path).ran.code, 1);
    assert_eq!(run(&scene, &[("paths", "chart")], &path).ran.code, 2, "a template is no YAML");
    scene.write("strict/p.yaml", super::POLICY.replace("acme}", "none}").replace("release", "commit").as_bytes());
    assert_eq!(run(&scene, &[("paths", "deploy"), ("policies", "policies\nstrict\n")], &path).ran.code, 1);
    let exits = [("paths", "more"), ("args", "--exit-zero\n--namespace=shop")];
    let ended = run(&scene, &exits, &path);
    assert_eq!(ended.ran.code, 0);
    assert!(ended.ran.stdout.contains("object Pod shop/api"), "{}", ended.ran.stdout);

    std::fs::remove_file(scene.path().join("tagwarden.sarif")).unwrap();
    let quiet = run(&scene, &[("paths", "deploy"), ("sarif", ""), ("summary", "false")], &path);
    assert_eq!((quiet.ran.code, quiet.summary.as_str(), quiet.outputs["sarif"].as_str()), (0, "", ""));
    assert!(!scene.path().join("tagwarden.sarif").exists());
}

#[test]
fn no_input_is_read_as_a_command() {
    let scene = repository("v1.4.2");
    let trick = "$(touch pwned) `touch pwned`; touch pwned\n-";
    for input in ["paths", "policies", "args", "sarif", "summary"] {
        run(&scene, &[("paths", "deploy"), (input, trick)], &with_program());
        assert!(!scene.path().join("pwned").exists(), "{input}");
    }
}

/// A PATH with a shell's tools, and the folders given before them; no Tagwarden.
fn bare(folders: &[&Path]) -> std::ffi::OsString {
    let folders = folders.iter().map(|folder| folder.to_path_buf());
    std::env::join_paths(folders.chain(["/usr/bin".into(), "/bin".into()])).unwrap()
}

#[test]
fn the_program_is_that_of_the_input_else_that_on_the_path_else_it_is_built() {
    use std::os::unix::fs::PermissionsExt as _;

    let scene = repository("v1.4.2");
    let paths = ("paths", "deploy");
    let program = env!("CARGO_BIN_EXE_tagwarden");
    let named = run(&scene, &[paths, ("tagwarden", program)], &bare(&[]));
    assert_eq!((named.ran.code, named.outputs["steps.program.outputs.program"].as_str()), (0, program));
    let found = run(&scene, &[paths], &bare(&[&program_folder()]));
    assert_eq!((found.ran.code, found.outputs["steps.program.outputs.program"].as_str()), (0, program));

    // A build of the real program takes minutes: this cargo takes note of what it is asked, and "builds" by copying.
    let tools = tempfile::tempdir().unwrap();
    let cargo = tools.path().join("cargo");
    let script = format!(
        "#!/bin/sh\nprintf '%s ' \"$@\" > \"{}\"\nmkdir -p \"$6/bin\" && cp '{program}' \"$6/bin/tagwarden\"\n",
        tools.path().join("asked").display()
    );
    std::fs::write(&cargo, script).unwrap();
    std::fs::set_permissions(&cargo, std::fs::Permissions::from_mode(0o755)).unwrap();
    let built = run(&scene, &[paths], &bare(&[tools.path()]));
    assert_eq!(built.ran.code, 0, "{:?}", built.ran);
    let asked = std::fs::read_to_string(tools.path().join("asked")).unwrap();
    let expected = format!("install --locked --path {} --root ", env!("CARGO_MANIFEST_DIR"));
    assert!(asked.starts_with(&expected), "{asked}");
    assert!(built.outputs["steps.program.outputs.program"].ends_with("/tagwarden/bin/tagwarden"));
}

#[test]
fn the_action_and_its_example_are_valid_and_name_the_same_inputs() {
    valid("vendor.github-actions", &ours("action.yml"));
    let workflow = snippet("name: images");
    let scene = Scene::new(&[("workflow.yml", &workflow)]);
    valid("vendor.github-workflows", &scene.path().join("workflow.yml"));

    let action = std::fs::read_to_string(ours("action.yml")).unwrap();
    let (action, _) = parse(&Source::new("action.yml", &action));
    let inputs: Vec<_> =
        entries(action[0].root.get("inputs").unwrap()).iter().map(|(name, _)| (*name).to_owned()).collect();
    let (workflow, _) = parse(&Source::new("workflow.yml", &workflow));
    let used = workflow[0].root.at("jobs.tagwarden.steps[1].with").unwrap();
    assert!(entries(used).iter().all(|(name, _)| inputs.iter().any(|input| input == name)), "{used:?}");
    let documented = std::fs::read_to_string(ours("docs/ci.md")).unwrap();
    for (name, input) in entries(action[0].root.get("inputs").unwrap()) {
        let default = input.get("default").and_then(Node::as_str).unwrap();
        let default = if default.is_empty() { " ".to_owned() } else { format!(" `{default}` ") };
        assert!(
            documented.contains(&format!("| `{name}` |{default}|")),
            "docs/ci.md has no row for {name} and its default"
        );
    }
}
