//! The job that docs/ci.md shows for GitLab: its lines run as a runner runs them, its reports where it says they are.

use std::process::Command;

use tagwarden::document::{Node, Source, parse};

use super::{path_with, program_folder, repository, snippet, valid};

#[test]
fn the_job_writes_the_reports_that_it_names() {
    let job = snippet("tagwarden:\n");
    let scene = repository("latest");
    scene.write(".gitlab-ci.yml", job.as_bytes());
    valid("vendor.gitlab-ci", &scene.path().join(".gitlab-ci.yml"));

    let source = Source::new("job", &job);
    let (documents, problems) = parse(&source);
    assert_eq!(problems, []);
    let root = &documents[0].root;
    let lines: Vec<_> = root
        .at("tagwarden.script")
        .and_then(Node::as_list)
        .unwrap()
        .iter()
        .map(|line| line.as_str().unwrap())
        .collect();
    let mut command = Command::new("sh");
    command.args(["-e", "-c", &lines.join("\n")]).current_dir(scene.path()).env("PATH", path_with(&program_folder()));
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1), "the job fails: {output:?}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("error[TW120]"), "its log has the findings");

    let report = |kind: &str| {
        let path = root.at(&format!("tagwarden.artifacts.reports.{kind}")).and_then(Node::as_str).unwrap();
        std::fs::read_to_string(scene.path().join(path)).unwrap()
    };
    let quality: serde_json::Value = serde_json::from_str(&report("codequality")).unwrap();
    assert_eq!(quality[0]["location"]["path"], "deploy/api.yaml");
    assert!(report("junit").contains("<testsuite name=\"deploy/api.yaml\" tests=\"1\""));
    assert_eq!(root.at("tagwarden.artifacts.when").and_then(Node::as_str), Some("always"), "also where the job fails");
}
