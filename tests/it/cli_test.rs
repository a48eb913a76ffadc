//! `test`: whole outputs, exit codes, coverage, and files that are broken in every way that files can be.

use std::fmt::Write as _;

use serde_json::json;

use crate::cli_formats::validate_junit;
use crate::cli_support::{Ran, Scene};

const POLICY: &str = r##"apiVersion: tagwarden.dev/v1
kind: ImagePolicy
metadata: {name: acme-images}
spec:
  mode: enforce
  tagClasses:
    build: {pattern: 'build-\d+'}
  rules:
    - name: first-party
      images: ["registry.example.com/acme/**", "registry.example.com/team/**"]
      tags: [release, build, '\d{8}']
    - images: ["registry.example.com/mirror/**"]
  overrides:
    - {namespaces: ["sandbox-*"], mode: audit}
  exceptions:
    - id: EX-1
      images: ["registry.example.com/acme/legacy"]
      namespaces: [billing]
      checks: [tags]
      owner: billing-team
      ticket: SEC-1
      reason: vendor rebuild pending
      expires: 2026-06-30
"##;

const TEST: &str = r#"apiVersion: tagwarden.dev/v1
kind: ImagePolicyTest
policies: [acme.yaml]
now: 2026-03-01T00:00:00Z
cases:
  - {name: a release, image: "registry.example.com/acme/api:v1.4.2", expect: allow}
  - {name: latest, image: "registry.example.com/acme/api:latest", expect: deny, ids: [TW120]}
  - {image: "docker.io/library/nginx:1.27.3", namespace: shop, expect: deny, ids: [TW110]}
"#;

/// The policy and a file of tests beside it.
fn scene(test: &str) -> Scene {
    Scene::new(&[("p/acme.yaml", POLICY), ("p/acme.test.yaml", test)])
}

fn test(scene: &Scene, arguments: &[&str]) -> Ran {
    scene.run(&[&["test"], arguments].concat())
}

#[test]
fn a_line_a_case_and_the_counts() {
    let ran = test(&scene(TEST), &["p"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    insta::assert_snapshot!(ran.stdout, @r"
    ok      p/acme.test.yaml: a release
    ok      p/acme.test.yaml: latest
    ok      p/acme.test.yaml: docker.io/library/nginx:1.27.3 in shop

    3 cases, 3 passed, 0 failed
    ");
    assert_eq!(test(&scene(TEST), &["--quiet", "p"]), Ran { code: 0, stdout: String::new(), stderr: String::new() });
}

/// A case of which everything is wrong, and one that passes.
fn failing() -> String {
    TEST.replace(
        "expect: allow",
        "expect: warn, ids: [TW110], rule: rule 2, exception: EX-1, message: floats, pinned: none",
    )
    .replace(
        "image: \"docker.io/library/nginx:1.27.3\", namespace: shop",
        "image: \"registry.example.com/acme/api:main\"",
    )
    .replace("ids: [TW110]}", "ids: [TW120]}")
}

#[test]
fn failures_look_like_those_of_a_compiler() {
    let scene = scene(&failing());
    let ran = test(&scene, &["p"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (1, ""));
    insta::assert_snapshot!(ran.stdout, @r#"
        FAILED  p/acme.test.yaml: a release
        ok      p/acme.test.yaml: latest
        ok      p/acme.test.yaml: registry.example.com/acme/api:main

        error: a release: expected warn, seen allow
         --> p/acme.test.yaml:6:78
          |
        6 |   - {name: a release, image: "registry.example.com/acme/api:v1.4.2", expect: warn, ids: [TW110], rule: rule 2, exception: EX-1, messa...
          |                                                                              ^^^^ seen: allow
          |
          = help: see every step: tagwarden explain --policies p --offline registry.example.com/acme/api:v1.4.2
          - expect: warn
          + expect: allow
          - ids: TW110
          + ids: none
          - message: floats
          - rule: rule 2
          + rule: first-party
          - exception: EX-1
          + exception: none

        3 cases, 2 passed, 1 failed
    "#);
    let changed = POLICY.replace("mode: enforce", "mode: warn");
    scene.write("p/acme.yaml", changed.as_bytes());
    scene.write("p/acme.test.yaml", TEST.as_bytes());
    let ran = test(&scene, &["p", "--quiet", "--color", "always"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (1, ""), "the policy has changed, and its tests notice");
    insta::assert_snapshot!(ran.stdout.replace('\u{1b}', "ESC"), @r#"
        ESC[1mESC[91merrorESC[0mESC[1m: latest: expected deny, seen warnESC[0m
         ESC[1mESC[94m--> ESC[0mp/acme.test.yaml:7:75
          ESC[1mESC[94m|ESC[0m
        ESC[1mESC[94m7ESC[0m ESC[1mESC[94m|ESC[0m   - {name: latest, image: "registry.example.com/acme/api:latest", expect: deny, ids: [TW120]}
          ESC[1mESC[94m|ESC[0m                                                                           ESC[1mESC[91m^^^^ESC[0m ESC[1mESC[91mseen: warnESC[0m
          ESC[1mESC[94m|ESC[0m
          ESC[1mESC[94m= ESC[0mESC[1mhelpESC[0m: see every step: tagwarden explain --policies p --offline registry.example.com/acme/api:latest
          ESC[31m- expect: denyESC[0m
          ESC[32m+ expect: warnESC[0m
          seen: TW120 tags, policy acme-images, rule first-party, mode warn: latest is a floating tag; rule first-party accepts release (v1.2.3), build (build-\d+), tags like \d{8}

        ESC[1mESC[91merrorESC[0mESC[1m: docker.io/library/nginx:1.27.3 in shop: expected deny, seen warnESC[0m
         ESC[1mESC[94m--> ESC[0mp/acme.test.yaml:8:72
          ESC[1mESC[94m|ESC[0m
        ESC[1mESC[94m8ESC[0m ESC[1mESC[94m|ESC[0m   - {image: "docker.io/library/nginx:1.27.3", namespace: shop, expect: deny, ids: [TW110]}
          ESC[1mESC[94m|ESC[0m                                                                        ESC[1mESC[91m^^^^ESC[0m ESC[1mESC[91mseen: warnESC[0m
          ESC[1mESC[94m|ESC[0m
          ESC[1mESC[94m= ESC[0mESC[1mhelpESC[0m: see every step: tagwarden explain --policies p --offline --namespace shop docker.io/library/nginx:1.27.3
          ESC[31m- expect: denyESC[0m
          ESC[32m+ expect: warnESC[0m
          seen: TW110 registry, policy acme-images, mode warn: no rule names docker.io/library/nginx; rules name registry.example.com/acme/**, registry.example.com/team/**, registry.example.com/mirror/**

        3 cases, 1 passed, 2 failed
    "#);
}

#[test]
fn the_command_that_is_named_shows_the_same_verdict() {
    let (scene, digest) = (scene(TEST), format!("sha256:{}", "a".repeat(64)));
    scene.write("p/acme.yaml", POLICY.replace("tags: [release, build, '\\d{8}']", "pin: pods").as_bytes());
    let text = TEST
        .replace(
            "cases:",
            &format!("registry: {{registry.example.com/acme/api: {{tags: {{v1.4.2: \"{digest}\"}}}}}}\ncases:"),
        )
        .replace("expect: allow", "namespace: shop, expect: audit");
    scene.write("p/acme.test.yaml", text.as_bytes());
    let ran = test(&scene, &["p", "--filter", "a release"]);
    let named = ran.stdout.lines().find_map(|line| line.split_once("see every step: tagwarden ")).unwrap().1;
    let explained = scene.run(&named.split(' ').collect::<Vec<_>>());
    assert_eq!((explained.code, explained.stderr.as_str()), (0, ""), "{named}");
    assert!(explained.stdout.contains(&format!("v1.4.2@{digest}\n")), "{named}: {}", explained.stdout);
}

#[test]
fn programs_read_the_same_in_json_and_junit() {
    let scene = scene(&failing());
    let ran = test(&scene, &["p", "--format", "json", "--filter", "main"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    let json = ran.json();
    assert_eq!(
        json["summary"],
        json!({"files": 1, "cases": 1, "passed": 1, "failed": 0, "leftOut": 2, "brokenFiles": 0})
    );
    assert_eq!(
        json["cases"][0],
        json!({
            "file": "p/acme.test.yaml", "name": "registry.example.com/acme/api:main", "line": 8, "column": 59,
            "passed": true, "decision": "deny", "ids": ["TW120"], "pinned": [],
            "findings": [{
                "id": "TW120", "check": "tags", "mode": "enforce", "policy": "acme-images", "rule": "first-party",
                "exception": null, "image": "registry.example.com/acme/api:main",
                "message": "main is a floating tag; rule first-party accepts release (v1.2.3), build (build-\\d+), tags like \\d{8}",
            }],
            "differences": [],
        })
    );
    assert_eq!((&json["broken"], &json["coverage"]), (&json!([]), &json!(null)));

    scene.write("p/broken.test.yaml", b"kind: ImagePolicyTest\n");
    let ran = test(&scene, &["p", "--format", "json", "--output", "out.json", "--format", "junit"]);
    assert_eq!(ran.code, 2);
    let written: serde_json::Value =
        serde_json::from_slice(&std::fs::read(scene.path().join("out.json")).unwrap()).unwrap();
    assert_eq!(written["broken"], json!(["p/broken.test.yaml"]));
    assert_eq!(written["cases"][0]["differences"][0], json!({"key": "expect", "expected": "warn", "seen": "allow"}));
    validate_junit(&ran.stdout);
    insta::assert_snapshot!(ran.stdout, @r#"
        <?xml version="1.0" encoding="UTF-8"?>
        <testsuites name="tagwarden test" tests="4" failures="1" errors="1">
            <testsuite name="p/acme.test.yaml" tests="3" skipped="0" errors="0" failures="1">
                <testcase name="a release" classname="p/acme.test.yaml">
                    <failure message="a release: expected warn, seen allow" type="verdict">error: a release: expected warn, seen allow
         --&gt; p/acme.test.yaml:6:78
          |
        6 |   - {name: a release, image: &quot;registry.example.com/acme/api:v1.4.2&quot;, expect: warn, ids: [TW110], rule: rule 2, exception: EX-1, messa...
          |                                                                              ^^^^ seen: allow
          |
          = help: see every step: tagwarden explain --policies p --offline registry.example.com/acme/api:v1.4.2
          - expect: warn
          + expect: allow
          - ids: TW110
          + ids: none
          - message: floats
          - rule: rule 2
          + rule: first-party
          - exception: EX-1
          + exception: none
        </failure>
                </testcase>
                <testcase name="latest" classname="p/acme.test.yaml"/>
                <testcase name="registry.example.com/acme/api:main" classname="p/acme.test.yaml"/>
            </testsuite>
            <testsuite name="p/broken.test.yaml" tests="1" skipped="0" errors="1" failures="0">
                <testcase name="the file can be tested" classname="p/broken.test.yaml">
                    <error message="not tested, or not in full: see standard error" type="broken"/>
                </testcase>
            </testsuite>
        </testsuites>
    "#);
}

#[test]
fn a_filter_chooses_cases_and_one_that_chooses_none_is_a_mistake() {
    let scene = scene(TEST);
    let ran = test(&scene, &["p", "--filter", "acme.test.yaml: a rel"]);
    assert_eq!(ran.code, 0);
    assert_eq!(ran.stdout, "ok      p/acme.test.yaml: a release\n\n1 case, 1 passed, 0 failed, 2 left out\n");
    let ran = test(&scene, &["p", "--filter", "nowhere"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (2, ""));
    assert!(ran.stderr.contains("no case has 'nowhere' in 'FILE: NAME'"), "{}", ran.stderr);
}

/// One case for each part of the policy.
const COVERING: &[&str] = &[
    r#"{image: "registry.example.com/acme/api:v1.4.2", expect: allow}"#,
    r#"{image: "registry.example.com/team/api:build-7", expect: allow}"#,
    r#"{image: "registry.example.com/acme/api:20260301", expect: allow}"#,
    r#"{image: "registry.example.com/mirror/nginx:1.27.3", expect: allow}"#,
    r#"{image: "registry.example.com/acme/api:main", namespace: sandbox-a, expect: audit}"#,
    r#"{image: "registry.example.com/acme/legacy:old", namespace: billing, expect: warn}"#,
];

fn of_cases<'c>(cases: impl IntoIterator<Item = &'c &'c str>) -> String {
    let head = &TEST[..TEST.find("cases:").unwrap()];
    let lines: String = cases.into_iter().map(|case| format!("  - {case}\n")).collect();
    format!("{head}cases:\n{lines}")
}

#[test]
fn coverage_names_every_part_that_no_case_touches() {
    let all = scene(&of_cases(COVERING));
    let ran = test(&all, &["p", "--quiet", "--coverage-threshold", "100"]);
    assert_eq!(ran, Ran { code: 0, stdout: String::new(), stderr: String::new() });
    // Without any one of the cases, something is not touched.
    let untouched: &[&[&str]] = &[
        // Another image of the first glob is among the others.
        &["p/acme.yaml:11:14: tag release of rule first-party"],
        &[
            "p/acme.yaml:7:5: tag class build",
            "p/acme.yaml:10:48: images registry.example.com/team/** of rule first-party",
            "p/acme.yaml:11:23: tag build of rule first-party",
        ],
        &["p/acme.yaml:11:30: tag \\d{8} of rule first-party"],
        &["p/acme.yaml:12:15: rule 2"],
        &["p/acme.yaml:14:20: override sandbox-*: audit"],
        &["p/acme.yaml:16:11: exception EX-1"],
    ];
    for (without, expected) in untouched.iter().enumerate() {
        let others = COVERING.iter().enumerate().filter(|(at, _)| *at != without).map(|(_, case)| case);
        let ran = test(&scene(&of_cases(others)), &["p", "--coverage"]);
        let told: Vec<&str> = ran.stdout.lines().filter_map(|line| line.strip_prefix("not touched: ")).collect();
        let expected: Vec<String> = expected.iter().map(|part| format!("{part}, policy acme-images")).collect();
        assert_eq!((ran.code, told), (0, expected.iter().map(String::as_str).collect()), "{}", COVERING[without]);
    }
    // What is refused touches its rule, and no entry of it; what passes by itself touches no override.
    let refused = &[r#"{image: "registry.example.com/acme/api:v1", namespace: sandbox-a, expect: audit}"#];
    let ran = test(&scene(&of_cases(refused)), &["p", "--coverage"]);
    assert!(ran.stdout.contains("coverage: 3 of 10 parts touched, 30.0 %\n"), "{}", ran.stdout);
    let passes = &[r#"{image: "registry.example.com/acme/api:v1.0.0", namespace: sandbox-a, expect: allow}"#];
    let ran = test(&scene(&of_cases(passes)), &["p", "--coverage"]);
    assert!(ran.stdout.contains("not touched: p/acme.yaml:14:20: override"), "{}", ran.stdout);
}

#[test]
fn a_threshold_that_is_missed_fails_and_several_files_add_up() {
    let (first, second) = COVERING.split_at(4);
    let scene = scene(&of_cases(first));
    let ran = test(&scene, &["p", "--coverage-threshold", "81"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (1, ""));
    insta::assert_snapshot!(ran.stdout, @r"
        ok      p/acme.test.yaml: registry.example.com/acme/api:v1.4.2
        ok      p/acme.test.yaml: registry.example.com/team/api:build-7
        ok      p/acme.test.yaml: registry.example.com/acme/api:20260301
        ok      p/acme.test.yaml: registry.example.com/mirror/nginx:1.27.3

        not touched: p/acme.yaml:14:20: override sandbox-*: audit, policy acme-images
        not touched: p/acme.yaml:16:11: exception EX-1, policy acme-images
        coverage: 8 of 10 parts touched, 80.0 %, less than 81 %

        4 cases, 4 passed, 0 failed
    ");
    assert_eq!(test(&scene, &["p", "--coverage-threshold", "80"]).code, 0);
    assert_eq!(test(&scene, &["p", "--quiet", "--coverage-threshold", "81"]).code, 1);
    let json = test(&scene, &["p", "--coverage", "--format", "json"]).json();
    assert_eq!(json["coverage"]["percent"], json!(80.0));
    assert_eq!(
        json["coverage"]["untouched"][1],
        json!({"what": "exception", "name": "EX-1", "policy": "acme-images", "rule": null, "file": "p/acme.yaml",
               "line": 16, "column": 11})
    );

    // The same policy by another way to it.
    let text = of_cases(second).replace("[acme.yaml]", "[../p/./acme.yaml]");
    scene.write("q/more.test.yml", text.as_bytes());
    let ran = test(&scene, &["p", "q", "p/acme.test.yaml", "--coverage-threshold", "100%"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    assert!(ran.stdout.ends_with("coverage: 10 of 10 parts touched, 100.0 %\n\n6 cases, 6 passed, 0 failed\n"));

    for arguments in [&["p", "--coverage", "--filter", "a"][..], &["p", "--coverage-threshold", "101"]] {
        assert_eq!(test(&scene, arguments).code, 2, "{arguments:?}");
    }
}

/// What two rules share by an anchor is a part of each.
#[test]
fn a_list_behind_an_anchor_counts_for_every_rule_that_has_it() {
    let policy = "apiVersion: tagwarden.dev/v1\nkind: ImagePolicy\nmetadata: {name: p}\nspec:\n  mode: enforce\n  rules:\n    \
        - {name: one, images: [\"r.example.com/one/**\"], tags: &t [release, commit]}\n    \
        - {name: two, images: [\"r.example.com/two/**\"], tags: *t }\n";
    let tests = "apiVersion: tagwarden.dev/v1\nkind: ImagePolicyTest\npolicies: [p.yaml]\nnow: 2026-03-01T00:00:00Z\ncases:\n  \
        - {image: \"r.example.com/one/api:v1.0.0\", expect: allow}\n  \
        - {image: \"r.example.com/one/api:4f2a1b0\", expect: allow}\n";
    let ran = test(&Scene::new(&[("p.yaml", policy), ("p.test.yaml", tests)]), &["--coverage", "--quiet", "."]);
    insta::assert_snapshot!(ran.stdout, @r"
    not touched: p.yaml:7:63: tag release of rule two, policy p
    not touched: p.yaml:7:72: tag commit of rule two, policy p
    not touched: p.yaml:8:14: rule two, policy p
    coverage: 3 of 6 parts touched, 50.0 %
    ");
}

#[test]
fn the_tests_beside_the_example_policies_pass_and_touch_every_part() {
    let root = env!("CARGO_MANIFEST_DIR");
    let output =
        Scene::new(&[]).command(&["test", "--coverage-threshold", "100", "policies/"]).current_dir(root).output();
    let ran = Ran::from(output.unwrap());
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{}", ran.stdout);
    for entry in std::fs::read_dir(format!("{root}/policies")).unwrap() {
        let folder = entry.unwrap().path();
        assert!(!folder.is_dir() || folder.join("policy.test.yaml").is_file(), "{} has no tests", folder.display());
    }
}

#[test]
fn broken_files_are_told_with_their_places_and_the_others_are_tested() {
    let good = ("p/acme.test.yaml", TEST);
    let manifest = |named: &str| of_cases(&[format!("{{manifest: {named}, expect: allow}}").as_str()]);
    let manifests = [manifest("nowhere.yaml"), manifest("values.yaml"), manifest("bad.yaml"), manifest("m.yaml")];
    let container = manifests[3].replace("expect", "container: web, expect");
    let cases: &[(&str, &str)] = &[
        ("", "there is no document in this file"),
        ("apiVersion:\ttagwarden.dev/v1\n\tkind: x\n", "p/x.test.yaml:1:13"),
        (&TEST.replace("now:", "policies: []\nnow:"), "the key 'policies' stands twice in one map"),
        (&TEST.replace("acme.yaml", "nowhere.yaml"), "p/nowhere.yaml: cannot be read: no such file or directory"),
        (&TEST.replace("acme.yaml", "empty"), "there is no policy file in this directory"),
        (&TEST.replace("acme.yaml", "broken.yaml"), "p/broken.yaml:5:9"),
        (&TEST.replace("cases:", "config: nowhere.yaml\ncases:"), "p/nowhere.yaml: cannot be read"),
        (&TEST.replace("cases:", "config: broken.yaml\ncases:"), "unknown key 'metadata'"),
        (&format!("{TEST}---\n{TEST}"), "a second document in a file of tests"),
        (POLICY, "this is a policy, not a policy test"),
        (&TEST[..TEST.len() - 20], "not valid YAML"),
        (&manifests[0], "p/nowhere.yaml: cannot be read"),
        (&manifests[1], "there is nothing to judge in this manifest"),
        (&manifests[2], "p/bad.yaml:1:"),
        (&container, "no container of the name 'web' has an image in m.yaml"),
    ];
    for (text, said) in cases {
        let scene = Scene::new(&[
            good,
            ("p/acme.yaml", POLICY),
            ("p/x.test.yaml", text),
            ("p/broken.yaml", &POLICY.replace("mode: enforce", "mode: enforced")),
            ("p/empty/README.md", ""),
            ("p/values.yaml", "image: {repository: nginx}\n"),
            ("p/bad.yaml", "{a: ["),
            ("p/m.yaml", "{apiVersion: v1, kind: Pod, spec: {containers: [{name: api, image: nginx}]}}"),
        ]);
        let ran = test(&scene, &["p"]);
        assert_eq!(ran.code, 2, "{said}: {ran:?}");
        assert!(ran.stderr.contains(said), "{said}: {}", ran.stderr);
        assert!(ran.stdout.contains("ok      p/acme.test.yaml: a release\n"), "{said}: {}", ran.stdout);
        assert!(
            ran.stdout.ends_with("; not tested, or not in full: 1 broken file, see the errors\n"),
            "{}",
            ran.stdout
        );
    }
}

#[test]
fn files_that_are_odd_but_right_are_read() {
    let dos = format!("\u{feff}{}", TEST.replace('\n', "\r\n"));
    assert_eq!(test(&scene(&dos), &["p"]).code, 0);
    let json = tagwarden::document::parse(&tagwarden::document::Source::new("t", TEST)).0[0].root.to_json().to_string();
    let scene = Scene::new(&[("p/acme.yaml", POLICY), ("p/acme.test.json", &json)]);
    std::os::unix::fs::symlink(scene.path(), scene.path().join("p/loop")).unwrap();
    let ran = test(&scene, &["p"]);
    assert_eq!((ran.code, ran.stdout.lines().count()), (0, 5), "{}", ran.stdout);
    // A directory of policies leaves the tests in it out, and the schemas beside them.
    scene.write("p/v1.schema.json", b"{}");
    scene.write("p/acme.test.json", json.replace("acme.yaml", ".").as_bytes());
    assert_eq!(test(&scene, &["p/acme.test.json"]).code, 0);
    assert_eq!(scene.run(&["explain", "--policies", "p", "--offline", "registry.example.com/acme/a:v1.0.0"]).code, 0);
}

#[test]
fn paths_without_tests_are_mistakes() {
    let scene = scene(TEST);
    scene.write("d/m.yaml", b"");
    scene.write("latin.test.yaml", b"name: caf\xe9\n");
    for (path, said) in [
        ("d", "error: there is no file of tests in this directory\n--> d\n"),
        ("nowhere", "error: cannot be read: no such file or directory\n--> nowhere\n"),
        ("-", "error: tests are not read from standard input: their paths are relative to their file\n--> <stdin>\n"),
        ("latin.test.yaml", "error: not UTF-8: byte 0xe9 at line 1, column 10\n--> latin.test.yaml\n"),
    ] {
        let ran = test(&scene, &[path]);
        assert_eq!(ran.code, 2, "{path}: {ran:?}");
        assert!(ran.stderr.starts_with(said) && ran.stderr.contains("= help: "), "{path}: {}", ran.stderr);
        assert!(ran.stdout.ends_with("1 broken file, see the errors\n"), "{path}: {}", ran.stdout);
    }
    assert_eq!(test(&scene, &[]).code, 2);
}

/// A failure and a broken file: the graver code wins.
#[test]
fn a_broken_file_weighs_more_than_a_failed_case() {
    let scene = scene(&failing());
    assert_eq!(test(&scene, &["p"]).code, 1);
    scene.write("p/x.test.yaml", b"{");
    assert_eq!(test(&scene, &["p", "--coverage-threshold", "100"]).code, 2);
}

#[test]
fn a_thousand_cases_are_one_run() {
    let mut cases = String::new();
    for number in 0..500 {
        let _ =
            writeln!(cases, "  - {{image: \"registry.example.com/acme/app-{number}:v1.{number}.0\", expect: allow}}");
        let _ = writeln!(
            cases,
            "  - {{image: \"registry.example.com/team/app-{number}:main\", namespace: shop-{number}, expect: deny, ids: [TW120]}}"
        );
    }
    let scene = scene(&format!("{}{cases}", of_cases(&[])));
    let ran = test(&scene, &["p", "--coverage"]);
    assert!(ran.code == 0 && ran.stdout.ends_with("\n1000 cases, 1000 passed, 0 failed\n"), "{}", ran.stderr);
    scene.write("p/acme.test.yaml", format!("{}{}", of_cases(&[]), cases.replacen("allow", "deny", 1)).as_bytes());
    assert_eq!(test(&scene, &["p", "--quiet"]).code, 1);
    // Whoever has read enough closes the pipe, while there is more to come than it holds.
    let mut child = scene.command(&["test", "p", "--format", "json"]).spawn().unwrap();
    drop(child.stdout.take());
    let ran = child.wait_with_output().unwrap();
    assert_eq!((ran.status.code(), ran.stderr), (Some(1), Vec::new()));
}
