//! Documents against the published schemas of their formats, with findings and without.

use std::collections::HashSet;

use serde_json::Value;

use super::{check, scene, validate_junit};

fn validator(text: &str) -> jsonschema::Validator {
    let schema = serde_json::from_str(text).unwrap();
    jsonschema::options().should_validate_formats(true).build(&schema).unwrap()
}

fn valid(validator: &jsonschema::Validator, document: &Value) {
    let errors: Vec<_> =
        validator.iter_errors(document).map(|error| format!("{}: {error}", error.instance_path)).collect();
    assert_eq!(errors, [] as [String; 0], "{document:#}");
}

pub(crate) fn valid_sarif(document: &Value) {
    valid(&validator(include_str!("../../data/schemas/sarif-schema-2.1.0.json")), document);
}

pub(crate) fn valid_gitlab(document: &Value) {
    let validator = validator(include_str!("../../data/schemas/gitlab-codeclimate.json"));
    let violations = document.as_array().unwrap();
    violations.iter().for_each(|violation| valid(&validator, violation));
    let prints: HashSet<_> = violations.iter().map(|violation| violation["fingerprint"].as_str().unwrap()).collect();
    assert_eq!(prints.len(), violations.len(), "fingerprints are unique");
    for violation in violations {
        let severity = violation["severity"].as_str().unwrap();
        assert!(["info", "minor", "major", "critical", "blocker"].contains(&severity), "{severity}");
        let location = &violation["location"];
        assert!(location["lines"]["begin"].as_u64() >= Some(1) && location["path"] != "", "{location}");
    }
}

/// What each format has to satisfy; whether it says that something is wrong.
fn valid_output(scene: &crate::cli_support::Scene, path: &str) {
    valid_sarif(&check(scene, &["--format", "sarif", path]).json());
    valid_gitlab(&check(scene, &["--format", "gitlab", path]).json());
    validate_junit(&check(scene, &["--format", "junit", path]).stdout);
}

#[test]
fn reports_are_valid() {
    let scene = scene();
    valid_output(&scene, "deploy");
}

#[test]
fn reports_of_nothing_are_valid() {
    let scene = scene();
    scene.write("good.yaml", super::OTHERS.split("---\n").last().unwrap().replace("forgotten", "shop").as_bytes());
    for path in ["good.yaml", "deploy/values.yaml"] {
        valid_output(&scene, path);
        assert_eq!(check(&scene, &["--format", "sarif", path]).json()["runs"][0]["results"], serde_json::json!([]));
        assert_eq!(check(&scene, &["--format", "gitlab", path]).stdout, "[]\n");
        let github = check(&scene, &["--format", "github", path]).stdout;
        assert!(github.starts_with("checked 1 file") && !github.contains("::"), "{github}");
    }
    let junit = check(&scene, &["--format", "junit", "good.yaml"]).stdout;
    assert!(junit.contains("tests=\"1\" failures=\"0\" errors=\"0\""), "{junit}");
}

#[test]
fn the_schemas_refuse_what_is_none_of_their_documents() {
    let sarif = validator(include_str!("../../data/schemas/sarif-schema-2.1.0.json"));
    assert!(!sarif.is_valid(&serde_json::json!({"version": "2.1.0", "runs": [{"results": []}]})), "a run has a tool");
    let gitlab = validator(include_str!("../../data/schemas/gitlab-codeclimate.json"));
    assert!(!gitlab.is_valid(&serde_json::json!({"description": "d", "severity": "info", "location": {}})));
    let failed = std::panic::catch_unwind(|| validate_junit("<testsuites skipped=\"1\"></testsuites>"));
    assert!(failed.is_err(), "Jenkins knows no such attribute there");
}

#[test]
fn sarif_says_what_code_scanning_needs() {
    let scene = scene();
    let sarif = check(&scene, &["--format", "sarif", "deploy"]).json();
    let run = &sarif["runs"][0];
    let rules = run["tool"]["driver"]["rules"].as_array().unwrap();
    let codes: Vec<_> = rules.iter().map(|rule| rule["id"].as_str().unwrap()).collect();
    assert_eq!(codes, tagwarden::policy::FindingId::ALL.map(|id| id.code()));
    for result in run["results"].as_array().unwrap() {
        assert_eq!(rules[result["ruleIndex"].as_u64().unwrap() as usize]["id"], result["ruleId"]);
    }
    let broken = &run["invocations"][0];
    assert_eq!(broken["executionSuccessful"], false);
    assert_eq!(broken["toolExecutionNotifications"].as_array().unwrap().len(), 1);
    let whole = check(&scene, &["--format", "sarif", "deploy/checkout.yaml"]).json();
    assert_eq!(whole["runs"][0]["invocations"][0]["executionSuccessful"], true);
}

#[test]
fn regions_are_those_of_the_images_text() {
    let scene = scene();
    let sarif = check(&scene, &["--format", "sarif", "deploy/checkout.yaml", "deploy/rendered.yaml"]).json();
    let mut cut = Vec::new();
    for result in sarif["runs"][0]["results"].as_array().unwrap() {
        let place = &result["locations"][0]["physicalLocation"];
        let text =
            std::fs::read_to_string(scene.path().join(place["artifactLocation"]["uri"].as_str().unwrap())).unwrap();
        let number = |key: &str| place["region"][key].as_u64().unwrap() as usize;
        assert_eq!(number("startLine"), number("endLine"));
        let line: Vec<char> = text.lines().nth(number("startLine") - 1).unwrap().chars().collect();
        cut.push(line[number("startColumn") - 1..number("endColumn") - 1].iter().collect::<String>());
    }
    let images = ["registry.example.com/acme/api:latest", "'docker.io/library/nginx:1.27.3'"];
    assert_eq!(cut, [images[0], images[1], "'registry.example.com/acme/worker:edge'"]);
}

#[test]
fn fingerprints_stay_when_lines_move_and_differ_between_files() {
    let scene = scene();
    let prints = |path: &str| {
        let sarif = check(&scene, &["--format", "sarif", path]).json();
        let results = sarif["runs"][0]["results"].as_array().unwrap().clone();
        results.iter().map(|result| result["partialFingerprints"].clone()).collect::<Vec<_>>()
    };
    let before = prints("deploy/checkout.yaml");
    scene.write("deploy/checkout.yaml", format!("# new\n\n{}", super::CHECKOUT).as_bytes());
    assert_eq!(prints("deploy/checkout.yaml"), before);
    assert_eq!(prints(scene.path().join("deploy/checkout.yaml").to_str().unwrap()), before, "written in full");
    scene.write("other.yaml", super::CHECKOUT.as_bytes());
    assert!(prints("other.yaml").iter().all(|print| !before.contains(print)));
}
