//! `tagwarden lint` as a process: its output on a terminal and for programs, its exit codes, what it reads.

use std::path::Path;

use serde_json::json;
use tagwarden::cli::Exit;

use crate::cli_formats::schemas::{valid_gitlab, valid_sarif};
use crate::cli_support::{Scene, run_at};

const CLEAN: &str = "apiVersion: tagwarden.dev/v1\nkind: ImagePolicy\nmetadata: {name: clean}\nspec:\n  mode: enforce\n  \
    rules: [{images: [\"registry.example.com/acme/**\"], tags: [release]}]\n";

const WARNED: &str = r#"apiVersion: tagwarden.dev/v1
kind: ImagePolicy
metadata: {name: warned}
spec:
  mode: enforce
  rules:
    - name: first-party
      images: ["registry.example.com/acme/**"]
      tags: [release, '\d{8}']
    - name: api
      images: ["registry.example.com/acme/api"]
      tags: [release]
"#;

const BROKEN: &str = "apiVersion: tagwarden.dev/v1\nkind: ImagePolicy\nmetadata: {name: broken}\nspec:\n  mode: enforc\n  \
    rules: [{images: [\"**\"]}]\n";

#[test]
fn a_terminal_shows_each_warning_with_its_place_and_a_case() {
    let scene = Scene::new(&[("policy.yaml", WARNED), ("broken.yaml", BROKEN)]);
    let ran = scene.run(&["lint", "policy.yaml", "broken.yaml"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (2, ""));
    insta::assert_snapshot!(ran.stdout, @r###"
    error: 'enforc' is not a value of this key
     --> broken.yaml:5:9
      |
    5 |   mode: enforc
      |         ^^^^^^
      |
      = help: did you mean 'enforce'?

    warning[TW805]: this pattern matches digits and dates only
     --> policy.yaml:9:23
      |
    9 |       tags: [release, '\d{8}']
      |                       ^^^^^^^ a number or a day says nothing about a build
      |
      = help: several builds of one day share such a tag; ask for a version or a commit beside it

    warning[TW801]: rule api can never be reached
      --> policy.yaml:10:13
       |
    10 |     - name: api
       |             ^^^ rule first-party decides every image it names
       |
       = help: `registry.example.com/acme/api` is already decided by rule first-party, glob "registry.example.com/acme/**"
       = help: put it above rule first-party, or take it out

    linted 2 files, 1 policy: 1 error, 2 warnings
    "###);
    let colored = scene.run(&["--color", "always", "lint", "--allow", "TW805", "policy.yaml"]);
    assert_eq!((colored.code, colored.stderr.as_str()), (0, ""));
    insta::assert_snapshot!(colored.stdout.replace('\u{1b}', "ESC"), @r###"
    ESC[1mESC[33mwarning[TW801]ESC[0mESC[1m: rule api can never be reachedESC[0m
      ESC[1mESC[94m--> ESC[0mpolicy.yaml:10:13
       ESC[1mESC[94m|ESC[0m
    ESC[1mESC[94m10ESC[0m ESC[1mESC[94m|ESC[0m     - name: api
       ESC[1mESC[94m|ESC[0m             ESC[1mESC[33m^^^ESC[0m ESC[1mESC[33mrule first-party decides every image it namesESC[0m
       ESC[1mESC[94m|ESC[0m
       ESC[1mESC[94m= ESC[0mESC[1mhelpESC[0m: `registry.example.com/acme/api` is already decided by rule first-party, glob "registry.example.com/acme/**"
       ESC[1mESC[94m= ESC[0mESC[1mhelpESC[0m: put it above rule first-party, or take it out

    linted 1 file, 1 policy: 0 errors, 1 warning
    "###);
}

#[test]
fn exit_codes_follow_errors_then_what_fails() {
    let scene = Scene::new(&[("clean.yaml", CLEAN), ("warned.yaml", WARNED), ("broken.yaml", BROKEN)]);
    for (arguments, code) in [
        (&["clean.yaml"][..], 0),
        (&["--fail-on", "warn", "clean.yaml"], 0),
        (&["warned.yaml"], 0),
        (&["--fail-on", "warn", "warned.yaml"], 1),
        (&["--fail-on", "warn", "--allow", "TW801", "warned.yaml"], 1),
        (&["--fail-on", "warn", "--allow", "TW801", "--allow", "TW805", "warned.yaml"], 0),
        (&["broken.yaml"], 2),
        (&["--fail-on", "warn", "warned.yaml", "broken.yaml"], 2),
        (&["--exit-zero", "warned.yaml"], 0),
        (&["--exit-zero", "warned.yaml", "broken.yaml"], 2),
        (&["--exit-zero", "missing.yaml"], 2),
        (&["missing.yaml", "clean.yaml"], 2),
    ] {
        let ran = scene.run(&[&["lint"], arguments].concat());
        assert_eq!((ran.code, ran.stderr.as_str()), (code, ""), "{arguments:?}: {}", ran.stdout);
    }
    for (arguments, said) in [
        (&["--fail-on", "warn", "--exit-zero", "x"][..], "cannot be used with"),
        (&["--allow", "TW8001", "x"], "there is no such code; did you mean 'TW800'?"),
        (&["--allow", "release", "x"], "there is no such code; lint gives TW800 to TW817"),
        (&[], "<PATH>..."),
    ] {
        let ran = scene.run(&[&["lint"], arguments].concat());
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{arguments:?}");
        assert!(ran.stderr.contains(said), "{}", ran.stderr);
    }
}

#[test]
fn programs_get_every_key_of_every_diagnostic() {
    let scene = Scene::new(&[("warned.yaml", WARNED), ("broken.yaml", BROKEN)]);
    let ran = scene.run(&["lint", "--format", "json", "warned.yaml", "broken.yaml", "missing.yaml"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (2, ""));
    let output = ran.json();
    assert_eq!(output["schemaVersion"], 1);
    assert_eq!(output["summary"], json!({"files": 2, "policies": 1, "errors": 2, "warnings": 2}));
    let diagnostics = output["diagnostics"].as_array().unwrap();
    assert_eq!(diagnostics.len(), 4);
    let missing = diagnostics.iter().find(|found| found["file"] == "missing.yaml").unwrap();
    assert_eq!(
        (&missing["code"], &missing["severity"], &missing["line"]),
        (&json!(null), &json!("error"), &json!(null))
    );
    assert_eq!(
        diagnostics[3],
        json!({
            "code": "TW801", "severity": "warning", "message": "rule api can never be reached",
            "label": "rule first-party decides every image it names",
            "help": [
                "`registry.example.com/acme/api` is already decided by rule first-party, glob \"registry.example.com/acme/**\"",
                "put it above rule first-party, or take it out"
            ],
            "file": "warned.yaml", "line": 10, "column": 13, "endLine": 10, "endColumn": 16
        })
    );
}

#[test]
fn files_directories_and_standard_input_are_one_set() {
    let again = CLEAN.replace("clean", "again");
    let files =
        [("policies/a.yaml", CLEAN), ("policies/b.yml", &again), ("policies/a.test.yaml", "kind: ImagePolicyTest\n")];
    let scene = Scene::new(&[&files[..], &[("policies/deeper/c.yaml", BROKEN), ("empty/README.md", "")]].concat());
    let ran = scene.run(&["lint", "policies", "policies/a.yaml"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "linted 2 files, 2 policies: 0 errors, 0 warnings\n"));
    let ran = scene.run_with_input(&["lint", "policies", "-"], CLEAN);
    assert_eq!(ran.code, 2);
    assert!(ran.stdout.contains("a policy of the name 'clean' was read before"), "{}", ran.stdout);
    let ran = scene.run(&["lint", "empty", "policies"]);
    assert_eq!(ran.code, 2);
    assert!(ran.stdout.contains("there is no policy file in this directory"), "{}", ran.stdout);
    assert!(ran.stdout.ends_with("linted 2 files, 2 policies: 1 error, 0 warnings\n"), "{}", ran.stdout);
    let ran = scene.run(&["lint", "policies/a.test.yaml"]);
    assert_eq!(ran.code, 2);
    assert!(ran.stdout.contains("this is a policy test, not a policy"), "{}", ran.stdout);
}

#[test]
fn what_is_no_text_is_placed_and_the_others_are_linted() {
    let scene = Scene::new(&[("warned.yaml", WARNED)]);
    scene.write("latin.yaml", b"# caf\xe9\n");
    let ran = scene.run(&["lint", "latin.yaml", "warned.yaml"]);
    assert_eq!(ran.code, 2);
    assert!(ran.stdout.contains("not UTF-8: byte 0xe9 at line 1, column 6"), "{}", ran.stdout);
    assert!(ran.stdout.ends_with("linted 1 file, 1 policy: 1 error, 2 warnings\n"), "{}", ran.stdout);
}

#[test]
fn the_servers_settings_decide() {
    let by_label =
        CLEAN.replace("  rules", "  namespaces: {selector: {matchLabels: {tier: app}}}\n  unmatched: allow\n  rules");
    let scene = Scene::new(&[
        ("policy.yaml", by_label.as_str()),
        ("trusting.yaml", "trustedNamespaceLabels: [tier]\npolicies: {maxMode: warn}\n"),
        ("strict.yaml", "trustedNamespaceLabels: []\n"),
        ("wrong.yaml", "policies: {maxMod: warn}\n"),
    ]);
    let ran = scene.run(&["lint", "policy.yaml"]);
    assert!(ran.code == 0 && ran.stdout.contains("TW814"), "{}", ran.stdout);
    let ran = scene.run(&["lint", "--config", "trusting.yaml", "policy.yaml"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "linted 1 file, 1 policy: 0 errors, 0 warnings\n"));
    let ran = scene.run(&["lint", "--config", "strict.yaml", "policy.yaml"]);
    assert_eq!(ran.code, 2);
    assert!(ran.stdout.contains("the namespace label 'tier' is not trusted"), "{}", ran.stdout);
    let ran = scene.run(&["lint", "--config", "wrong.yaml", "policy.yaml"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (2, ""));
    assert!(ran.stderr.contains("did you mean 'maxMode'?"), "{}", ran.stderr);
}

#[test]
fn a_closed_pipe_ends_it_quietly() {
    let scene = Scene::new(&[("warned.yaml", WARNED)]);
    let mut child = scene.command(&["lint", "--fail-on", "warn", "warned.yaml"]).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(1), &b""[..]));
}

#[test]
fn every_example_policy_is_clean() {
    let folders = std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("policies")).unwrap();
    let mut seen = 0;
    for folder in folders.map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()) {
        seen += 1;
        let name = folder.file_name().unwrap().to_str().unwrap().to_owned();
        let mut arguments = vec!["tagwarden", "lint", "--fail-on", "warn"];
        // An example must not expire; its own text says what a real one should do.
        if name == "exceptions" {
            arguments.extend(["--allow", "TW809"]);
        }
        arguments.push(folder.to_str().unwrap());
        let (exit, out) = run_at(1_795_780_800, &arguments);
        assert_eq!(exit, Exit::Clean, "{name}: {out}");
    }
    assert!(seen >= 7, "only {seen} examples");
}

#[test]
fn the_formats_of_code_hosts_carry_code_place_and_remedy() {
    let scene = Scene::new(&[("warned.yaml", WARNED), ("broken.yaml", BROKEN)]);
    let run = |format: &str, more: &[&str]| {
        let arguments = [&["lint", "--format", format, "warned.yaml", "broken.yaml", "missing.yaml"], more].concat();
        let ran = scene.run(&arguments);
        assert_eq!((ran.code, ran.stderr.as_str()), (2, ""), "{format}");
        ran
    };
    let sarif = run("sarif", &[]).json();
    valid_sarif(&sarif);
    let results = sarif["runs"][0]["results"].as_array().unwrap();
    let ids: Vec<_> =
        results.iter().map(|result| (result["ruleId"].as_str().unwrap(), result["level"].as_str().unwrap())).collect();
    assert_eq!(ids, [("invalid-policy", "error"), ("TW805", "warning"), ("TW801", "warning")]);
    let region = &results[2]["locations"][0]["physicalLocation"]["region"];
    assert_eq!(
        (&region["startLine"], &region["startColumn"], &region["endColumn"]),
        (&json!(10), &json!(13), &json!(16))
    );
    assert!(sarif["runs"][0].to_string().contains("missing.yaml"), "what could not be read is a notification");

    let github = run("github", &[]).stdout;
    assert!(github.contains("::error file=broken.yaml,line=5"), "{github}");
    assert!(github.contains("::warning file=warned.yaml,line=10") && github.contains("TW801"), "{github}");
    assert!(github.ends_with("linted 2 files, 1 policy: 2 errors, 2 warnings\n"), "{github}");

    let gitlab = run("gitlab", &[]).json();
    valid_gitlab(&gitlab);
    let names: Vec<_> = gitlab.as_array().unwrap().iter().map(|found| found["check_name"].as_str().unwrap()).collect();
    assert!(
        names.contains(&"TW801") && names.contains(&"broken-input") && names.contains(&"invalid-policy"),
        "{names:?}"
    );

    let junit = run("junit", &[]).stdout;
    assert!(junit.contains("tests=\"4\" failures=\"2\""), "{junit}");
    let junit = run("junit", &["--fail-on", "warn"]).stdout;
    assert!(junit.contains("tests=\"4\" failures=\"4\"") && junit.contains("type=\"TW801\""), "{junit}");
}

#[test]
fn several_formats_are_written_at_once() {
    let scene = Scene::new(&[("warned.yaml", WARNED)]);
    let ran = scene.run(&["lint", "--format", "plain", "--format", "json", "--output", "lint.json", "warned.yaml"]);
    assert_eq!(ran.code, 0);
    assert!(ran.stdout.ends_with("linted 1 file, 1 policy: 0 errors, 2 warnings\n"), "{}", ran.stdout);
    let written = std::fs::read_to_string(scene.path().join("lint.json")).unwrap();
    assert!(written.contains("\"warnings\": 2"), "{written}");
}
