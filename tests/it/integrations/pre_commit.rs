//! The hooks of `.pre-commit-hooks.yaml`, run by pre-commit itself on a repository of its own.

use std::path::Path;
use std::process::Command;

use super::{ours, path_with, pod, program_folder, repository, snippet};
use crate::cli_support::{Ran, Scene, outside_hooks};
use crate::python;

fn git(folder: &Path, arguments: &[&str]) -> String {
    let identity = ["-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "init.defaultBranch=main"];
    let mut command = Command::new("git");
    command.args(identity).args(arguments).current_dir(folder).env("GIT_CONFIG_GLOBAL", "/dev/null");
    let output = outside_hooks(&mut command).output().unwrap();
    assert!(output.status.success(), "git {arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// A repository that holds our hooks, at a tag.
fn hooks() -> Scene {
    let hooks = Scene::new(&[]);
    std::fs::copy(ours(".pre-commit-hooks.yaml"), hooks.path().join(".pre-commit-hooks.yaml")).unwrap();
    git(hooks.path(), &["init", "-q"]);
    git(hooks.path(), &["add", "-A"]);
    git(hooks.path(), &["commit", "-qm", "hooks"]);
    git(hooks.path(), &["tag", "v0.1.0"]);
    hooks
}

/// Runs all hooks on all files of a repository, with the configuration that docs/ci.md shows.
fn run(scene: &Scene, hooks: &Scene) -> Ran {
    let config =
        snippet("repos:").replace("https://git.example.com/platform/tagwarden", hooks.path().to_str().unwrap());
    scene.write(".pre-commit-config.yaml", config.as_bytes());
    git(scene.path(), &["init", "-q"]);
    git(scene.path(), &["add", "-A"]);
    let home = tempfile::tempdir().unwrap();
    let mut command = python::program("pre-commit");
    command.args(["run", "--all-files", "--color", "never"]).current_dir(scene.path());
    command.env("PATH", path_with(&program_folder())).env("HOME", home.path()).env("PRE_COMMIT_HOME", home.path());
    // What git says of the repository that this test runs in is none of pre-commit's business.
    for variable in ["GIT_DIR", "GIT_INDEX_FILE", "GIT_WORK_TREE"] {
        command.env_remove(variable);
    }
    Ran::from(command.output().unwrap())
}

/// The hooks and how each ended.
fn ended(ran: &Ran) -> Vec<(String, String)> {
    let line = |line: &str| {
        let (name, rest) = line.split_once("....")?;
        Some((name.to_owned(), rest.trim_start_matches('.').to_owned()))
    };
    ran.stdout.lines().filter_map(line).collect()
}

#[test]
fn hooks_pass_a_good_repository_and_stop_a_bad_one() {
    let hooks = hooks();
    let names = ["tagwarden check", "tagwarden lint", "tagwarden test"];
    let all = |ends: [&str; 3]| {
        names.iter().zip(ends).map(|(name, end)| ((*name).to_owned(), end.to_owned())).collect::<Vec<_>>()
    };

    let good = run(&repository("v1.4.2"), &hooks);
    assert_eq!((ended(&good), good.code), (all(["Passed", "Passed", "Passed"]), 0), "{good:?}");

    let bad = run(&repository("latest"), &hooks);
    assert_eq!((ended(&bad), bad.code), (all(["Failed", "Passed", "Passed"]), 1), "{bad:?}");
    assert!(bad.stdout.contains("error[TW120]: latest is a floating tag"), "{}", bad.stdout);

    let scene = repository("v1.4.2");
    scene.write("policies/acme.yaml", super::POLICY.replace("release", "relaese").as_bytes());
    let broken = run(&scene, &hooks);
    assert_eq!((ended(&broken), broken.code), (all(["Failed", "Failed", "Failed"]), 1), "{broken:?}");
    assert!(broken.stdout.contains("relaese"), "{}", broken.stdout);

    let scene = repository("v1.4.2");
    scene.write("policies/acme.test.yaml", super::TEST.replace("allow", "deny").as_bytes());
    let untrue = run(&scene, &hooks);
    assert_eq!((ended(&untrue), untrue.code), (all(["Passed", "Passed", "Failed"]), 1), "{untrue:?}");
}

#[test]
fn templates_of_helm_are_left_out() {
    let scene = repository("v1.4.2");
    scene.write("deploy/templates/api.yaml", pod("latest").as_bytes());
    assert_eq!(run(&scene, &hooks()).code, 0);
}

#[test]
fn the_definition_is_one_that_pre_commit_takes() {
    let output =
        python::program("pre-commit").arg("validate-manifest").arg(ours(".pre-commit-hooks.yaml")).output().unwrap();
    assert!(output.status.success(), "{output:?}");
}
