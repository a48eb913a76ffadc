//! The history of releases: what `release history` tells of lines, and what the server wants before it writes any.
//!
//! What it writes of real Pods is in tests/cluster/history.rs.

use std::fs;

use serde_json::json;

use crate::cli_support::{Ran, Scene};
use crate::https_support::{RELEASES, program};

const HEAD: &str = r#"{"schemaVersion":1,"kind":"tagwardenHistory","time":"#;

/// The example of docs/history.md: a release that ran before anybody watched, a rollout, half a line of a replica that was killed, and what the
/// next one found.
pub const LINES: &str = include_str!("../../docs/history.jsonl");

fn history(lines: &str, arguments: &[&str]) -> Ran {
    let scene = Scene::new(&[("history.jsonl", lines)]);
    scene.run(&[&["release", "history", "history.jsonl"], arguments].concat())
}

#[test]
fn all_of_it_is_a_table_with_the_gaps_below_it() {
    let ran = history(LINES, &["-n", "shop-prod"]);
    let expected = "\
RELEASE                          IMAGE                                 DIGEST               FROM                  TO
system-04 (sha256:404040404040)  registry.example.com/acme/api:v1.2.3  sha256:111111111111  2026-02-27T08:00:00Z  2026-03-02T09:01:30Z
system-04 (sha256:404040404040)  registry.example.com/acme/web:v2.0.0  sha256:222222222222  2026-02-27T08:00:03Z  unwatched, after 2026-03-02T10:00:00Z
system-11 (sha256:111111111111)  registry.example.com/acme/api:v1.3.0  sha256:333333333333  2026-03-02T09:01:00Z  running
none                             registry.example.com/acme/job:v7.0.0  sha256:444444444444  2026-03-02T10:07:00Z  running

watched from 2026-02-28T12:00:00Z to 2026-03-02T10:00:00Z
nobody watched from 2026-03-02T10:00:00Z to 2026-03-02T10:15:00Z
watched from 2026-03-02T10:15:00Z to 2026-03-02T12:15:00Z
";
    assert_eq!(ran.stdout, expected);
    assert_eq!(ran.code, 0);
    assert_eq!(
        ran.stderr,
        "warning: 1 line of the history cannot be read and is left out: half-written, or of a later version of tagwarden\n"
    );
}

#[test]
fn a_moment_is_told_with_what_is_known_of_it() {
    for (at, code, says, images) in [
        ("2026-03-01", 0, "RELEASE", &["api:v1.2.3", "web:v2.0.0"][..]),
        // Between the first Pod of the new release and the last one of the old.
        ("2026-03-02T10:01:15+01:00", 0, "RELEASE", &["api:v1.2.3", "web:v2.0.0", "api:v1.3.0"]),
        ("2026-03-02T12:00:00Z", 0, "RELEASE", &["api:v1.3.0", "job:v7.0.0"]),
        (
            "2026-03-02T10:10:00Z",
            3,
            "nobody watched from 2026-03-02T10:00:00Z to 2026-03-02T10:15:00Z\nbegun before, ",
            &["web:v2.0.0", "api:v1.3.0", "job:v7.0.0"],
        ),
        ("2026-02-28", 3, "the history begins at 2026-02-28T12:00:00Z\n", &["api:v1.2.3", "web:v2.0.0"]),
        ("2026-02-01", 3, "the history begins at 2026-02-28T12:00:00Z\n", &[]),
        ("2026-03-09", 3, "the history ends at 2026-03-02T12:15:00Z\n", &["api:v1.3.0", "job:v7.0.0"]),
    ] {
        let ran = history(LINES, &["-n", "shop-prod", "--at", at]);
        assert_eq!(ran.code, code, "{at}: {ran:?}");
        assert!(ran.stdout.contains(says), "{at}: {}", ran.stdout);
        let told: Vec<&str> =
            ran.stdout.lines().filter_map(|line| line.split("/acme/").nth(1)?.split(' ').next()).collect();
        assert_eq!(told, images, "{at}: {}", ran.stdout);
    }
}

#[test]
fn that_nothing_ran_is_an_answer_and_other_names_are_told() {
    let ran = history(LINES, &["-n", "shop-prd", "--at", "2026-03-01"]);
    let expected =
        "nothing ran in the namespace shop-prd at 2026-03-01T00:00:00Z\nthe history tells of bank, shop-prod\n";
    assert_eq!((ran.code, ran.stdout.as_str()), (0, expected));
    let ran = history(LINES, &["-n", "bank", "--at", "2026-03-02T12:00:00Z"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "nothing ran in the namespace bank at 2026-03-02T12:00:00Z\n"));
    let ran = history(LINES, &["-n", "shop-prd"]);
    assert!(
        ran.code == 0 && ran.stdout.starts_with("nothing is known to have run in the namespace shop-prd\n"),
        "{ran:?}"
    );
}

#[test]
fn programs_get_every_key() {
    let told = history(LINES, &["-n", "shop-prod", "--format", "json", "--at", "2026-03-02T12:00:00Z"]).json();
    let hex = |digit: &str| format!("sha256:{}", digit.repeat(64));
    let expected = json!({"schemaVersion": 1, "namespace": "shop-prod", "at": "2026-03-02T12:00:00Z", "known": true,
        "runs": [
            {"release": {"name": "system-11", "id": hex("1")}, "image": "registry.example.com/acme/api:v1.3.0", "digest": hex("3"),
                "from": "2026-03-02T09:01:00Z", "to": null, "seen": null},
            {"release": null, "image": "registry.example.com/acme/job:v7.0.0", "digest": hex("4"),
                "from": "2026-03-02T10:07:00Z", "to": null, "seen": null}],
        "watched": [{"from": "2026-02-28T12:00:00Z", "to": "2026-03-02T10:00:00Z"},
            {"from": "2026-03-02T10:15:00Z", "to": "2026-03-02T12:15:00Z"}],
        "brokenLines": 1});
    assert_eq!(told, expected);
    let all = history(LINES, &["-n", "shop-prod", "--format", "json"]).json();
    assert_eq!((&all["at"], &all["known"]), (&json!(null), &json!(null)));
    let unwatched = &all["runs"][1];
    assert_eq!(
        (&unwatched["to"], &unwatched["seen"]),
        (&json!("2026-03-02T10:15:00Z"), &json!("2026-03-02T10:00:00Z"))
    );
    let unknown = history(LINES, &["-n", "shop-prod", "--format", "json", "--at", "2026-02-01"]);
    assert_eq!((unknown.code, &unknown.json()["known"]), (3, &json!(false)));
}

/// `kubectl logs` gives both streams of the server, with prefixes if it is told to, and of several Pods one after the other.
#[test]
fn other_lines_are_skipped_and_the_order_does_not_matter() {
    let scene = Scene::new(&[]);
    let run = |input: &str| scene.run_with_input(&["release", "history", "-", "-n", "shop-prod"], input);
    let plain = run(LINES);
    assert_eq!(plain.code, 0, "{plain:?}");
    let log = "{\"level\":\"INFO\",\"message\":\"decision\"}\nnot even JSON\n\n";
    let mixed: String = LINES.lines().map(|line| format!("{log}[pod/tagwarden-1/tagwarden] {line}\r\n")).collect();
    assert_eq!(run(&mixed), plain);
    let (first, second): (Vec<&str>, Vec<&str>) =
        LINES.lines().partition(|line| line < &format!("{HEAD}\"2026-03-02T10:1").as_str());
    let turned = [second, first].concat().join("\n");
    assert_eq!(run(&turned), plain);
}

#[test]
fn what_holds_no_history_says_where_to_get_one() {
    for (lines, says) in [
        ("", "there is no history in history.jsonl (0 lines)"),
        ("a\nb\n", "there is no history in history.jsonl (2 lines)"),
        (&LINES[..60], "there is no history in history.jsonl (1 line)"),
    ] {
        let ran = history(lines, &["-n", "shop-prod"]);
        assert!(ran.code == 2 && ran.stdout.is_empty(), "{ran:?}");
        assert!(ran.stderr.contains(says) && ran.stderr.contains("kubectl exec -n tagwarden"), "{}", ran.stderr);
    }
    let scene = Scene::new(&[]);
    for (arguments, says) in [
        (&["-n", "a"][..], "name the file that the server appends its history to"),
        (&["nowhere.jsonl", "-n", "a"], "cannot read nowhere.jsonl: no such file or directory"),
        (&["nowhere.jsonl"], "--namespace"),
        (&["nowhere.jsonl", "-n", "a", "--at", "2026-03-01T10:00:00"], "with the zone"),
    ] {
        let ran = scene.run(&[&["release", "history"], arguments].concat());
        assert!(ran.code == 2 && ran.stderr.contains(says), "{ran:?}");
    }
}

/// Names in the lines come from Pods: they do not reach a terminal as they are.
#[test]
fn what_pods_are_called_is_shown_escaped() {
    let line = format!(
        "{HEAD}\"2026-03-01T10:00:00Z\",\"event\":\"began\",\"namespace\":\"shop-prod\",\"release\":{{\"name\":\"a\\u001b[31m\",\"id\":\"x\"}},\
         \"image\":\"b\\u001b[32m\",\"digest\":\"c\\u001b[33m\",\"since\":\"2026-03-01T10:00:00Z\"}}\n"
    );
    let ran = history(&line, &["-n", "shop-prod"]);
    assert!(ran.code == 0 && !ran.stdout.contains('\u{1b}') && ran.stdout.contains("b\\u{1b}[32m"), "{ran:?}");
}

/// What the server answers that is started with this configuration and cannot do what it says.
fn refused(config: &str, arguments: &[&str], namespace: Option<&str>) -> String {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("policies")).unwrap();
    fs::write(folder.path().join("policies/p.yaml"), RELEASES).unwrap();
    fs::write(folder.path().join("config.yaml"), config).unwrap();
    let kubeconfig = crate::api_double::kubeconfig(([127, 0, 0, 1], 1).into());
    fs::write(folder.path().join("kubeconfig"), kubeconfig).unwrap();
    let mut command = program();
    command.current_dir(folder.path()).env("KUBECONFIG", folder.path().join("kubeconfig"));
    command.args(["serve", "--config", "config.yaml", "--policies", "policies", "--listen", "127.0.0.1:0"]);
    command.args(["--health-listen", "127.0.0.1:0"]).args(arguments);
    if let Some(namespace) = namespace {
        command.env("POD_NAMESPACE", namespace);
    }
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn it_needs_a_cluster_and_a_namespace_of_its_own() {
    let enabled = "history: {enabled: true}\n";
    let said = refused(enabled, &["--no-cluster"], Some("home"));
    assert!(said.contains("'history.enabled' needs a cluster") && said.contains("--no-cluster"), "{said}");
    let said = refused(enabled, &[], None);
    assert!(
        said.contains("'history.enabled' needs to know its own namespace") && said.contains("POD_NAMESPACE"),
        "{said}"
    );
    // Without it nothing of that is missing: what is missing next is a certificate.
    for (arguments, namespace) in [(&["--no-cluster"][..], Some("home")), (&[], None)] {
        let said = refused("history: {enabled: false}\n", arguments, namespace);
        assert!(said.contains("a certificate and its key are needed"), "{said}");
    }
}
