//! `explain`: the machine interface over every case of the reference table, and whole outputs for people.

use serde_json::{Value, json};

use crate::cli_support::Scene;

/// Cells of the table as they are meant: `\s` and its like, `{a*64}`.
fn expanded(cell: &str) -> String {
    let cell = cell.replace("\\s", " ").replace("\\t", "\t").replace("\\n", "\n").replace("\\r", "\r");
    let mut out = String::new();
    let mut rest = cell.as_str();
    while let Some((before, after)) = rest.split_once('{') {
        let Some((repeat, end)) = after.split_once('}') else { break };
        let (text, times) = repeat.split_once('*').expect("{text*times}");
        out += before;
        out += &text.repeat(times.parse().unwrap());
        rest = end;
    }
    out + rest
}

/// A cell, or nothing where there is a dash.
fn optional(cell: &str) -> Option<String> {
    (cell != "-").then(|| expanded(cell))
}

#[test]
fn every_line_of_the_reference_table_is_explained() {
    let scene = Scene::new(&[]);
    let table = include_str!("../cases/references.tsv");
    let lines: Vec<_> = table.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    assert!(lines.len() > 50);
    for line in lines {
        let cells: Vec<_> = line.split('\t').collect();
        let image = expanded(cells[0]);
        let ran = scene.run(&["explain", "--offline", "--format", "json", "--", &image]);
        assert_eq!(ran.stderr, "", "{line}");
        let explained = ran.json();
        let keys: Vec<_> = explained.as_object().unwrap().keys().map(String::as_str).collect();
        for key in ["schemaVersion", "image", "reference", "error", "refused", "policies", "pinned", "decision"] {
            assert!(keys.contains(&key), "{line}: no {key}");
        }
        assert_eq!(explained["schemaVersion"], 1);
        assert_eq!(explained["image"], json!(image));
        assert_eq!((&explained["policies"], &explained["pinned"]), (&json!([]), &Value::Null));
        if cells[1] == "!" {
            assert_eq!(explained["reference"], Value::Null, "{line}");
            assert_eq!(explained["error"]["reason"], cells[2], "{line}");
            assert!(explained["error"]["position"].as_u64().unwrap() <= image.len() as u64, "{line}");
            assert!(!explained["error"]["message"].as_str().unwrap().is_empty(), "{line}");
            assert!(explained["error"].as_object().unwrap().contains_key("suggestion"), "{line}");
            assert_eq!((&explained["decision"], ran.code), (&json!("deny"), 1), "{line}");
            continue;
        }
        let defaulted = cells[4].ends_with('*');
        let reference = &explained["reference"];
        assert_eq!(explained["error"], Value::Null, "{line}");
        assert_eq!(reference["registry"], json!(expanded(cells[1])), "{line}");
        assert_eq!(reference["canonicalRegistry"], json!(expanded(cells[2])), "{line}");
        assert_eq!(reference["repository"], json!(expanded(cells[3])), "{line}");
        assert_eq!(reference["tag"], json!(optional(cells[4].trim_end_matches('*'))), "{line}");
        assert_eq!(reference["tagDefaulted"], json!(defaulted), "{line}");
        assert_eq!(reference["digest"], json!(optional(cells[5])), "{line}");
        if defaulted {
            assert_eq!(reference["class"], "latest", "{line}");
        }
        // A short name alone is refused only where a policy says so.
        let refused = cells[6].split(',').find(|refusal| !matches!(*refusal, "ShortName" | "-"));
        assert_eq!(explained["refused"], json!(refused), "{line}");
        let decision = if refused.is_some() { ("deny", 1) } else { ("allow", 0) };
        assert_eq!((explained["decision"].as_str().unwrap(), ran.code), decision, "{line}");
    }
}

#[test]
fn classes_are_named() {
    let scene = Scene::new(&[]);
    for (tag, class) in [
        ("v1.2.3", Some("release")),
        ("v1.2.3-amd64", Some("release")),
        ("v1.2.3-rc.1", Some("prerelease")),
        ("1.2.3", Some("semver")),
        ("4f2a1b0", Some("commit")),
        ("env-prod", Some("channel")),
        ("LATEST", Some("latest")),
        ("main", Some("floating")),
        ("2019-final", None),
    ] {
        let image = format!("registry.example.com/acme/api:{tag}");
        let explained = scene.run(&["explain", "--offline", "--format", "json", &image]).json();
        assert_eq!(explained["reference"]["class"], json!(class), "{tag}");
    }
}

const POLICIES: &str = r##"apiVersion: tagwarden.dev/v1
kind: ImagePolicy
metadata: {name: production}
spec:
  mode: enforce
  owner: {contact: "#platform", docs: "https://wiki.example.com/images"}
  namespaces: {include: ["*-prod"]}
  rules:
    - {name: ours, images: ["registry.example.com/acme/**"], tags: [release]}
---
apiVersion: tagwarden.dev/v1
kind: ImagePolicy
metadata: {name: everywhere}
spec:
  mode: warn
  rules:
    - {images: ["**"]}
"##;

#[test]
fn every_step_is_shown_to_people() {
    let scene = Scene::new(&[("p/p.yaml", POLICIES)]);
    let ran = scene.run(&["explain", "--policies", "p", "-n", "shop-prod", "registry.example.com/acme/api"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (1, ""));
    insta::assert_snapshot!(ran.stdout, @r#"
        image       registry.example.com/acme/api
        registry    registry.example.com
        repository  acme/api
        tag         latest (none is written)
        digest      none
        class       latest
        refused     no
        namespace   shop-prod (labels unknown, so selectors match)
        policy      everywhere: applies
          where     no namespace is named, so it applies to all
          rule      rule 1 names it by "**"
          mode      tags is warn by spec.mode
          finding   TW120 tags, mode warn
                    no tag is written, which means latest, a floating tag; rule 1 accepts any tag that does not float, and digests
          allowed   because its mode is warn
        policy      production: applies
          where     include "*-prod" matches shop-prod
          rule      ours names it by "registry.example.com/acme/**"
          mode      tags is enforce by spec.mode
          finding   TW120 tags, mode enforce
                    no tag is written, which means latest, a floating tag; rule ours accepts release (v1.2.3)
          owner     #platform
          read      https://wiki.example.com/images#TW120
        verdict     deny
    "#);
}

#[test]
fn a_policy_that_does_not_apply_is_shown_as_such() {
    let scene = Scene::new(&[("p/p.yaml", POLICIES)]);
    let arguments = ["explain", "--policies", "p", "--namespace-labels", "tier=app", "nginx:1.27.3"];
    let ran = scene.run(&arguments);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    insta::assert_snapshot!(ran.stdout, @r#"
        image       nginx:1.27.3
        registry    docker.io (none is written)
        repository  library/nginx
        tag         1.27.3
        digest      none
        class       semver
        refused     no
        namespace   default (kubernetes.io/metadata.name=default, tier=app)
        policy      everywhere: applies
          where     no namespace is named, so it applies to all
          rule      rule 1 names it by "**"
          tag       1.27.3: it does not float, and the rule lists no tags
          allowed   by rule 1
        policy      production: does not apply to this namespace
          where     no glob of include matches default
        verdict     allow
    "#);
}

#[test]
fn the_machine_interface_has_every_policy_and_whole_findings() {
    let scene = Scene::new(&[("p/p.yaml", POLICIES)]);
    let arguments = ["explain", "--policies", "p", "--format", "json", "-n"];
    let denied = scene.run(&[&arguments[..], &["shop-prod", "registry.example.com/acme/api:main"]].concat());
    assert_eq!(denied.code, 1);
    insta::assert_snapshot!(denied.stdout, @r#"
        {
          "schemaVersion": 1,
          "image": "registry.example.com/acme/api:main",
          "reference": {
            "registry": "registry.example.com",
            "canonicalRegistry": "registry.example.com",
            "repository": "acme/api",
            "tag": "main",
            "tagDefaulted": false,
            "digest": null,
            "class": "floating"
          },
          "error": null,
          "refused": null,
          "policies": [
            {
              "name": "everywhere",
              "applies": true,
              "reasons": [
                {
                  "about": "namespaces",
                  "text": "no namespace is named, so it applies to all"
                },
                {
                  "about": "rule",
                  "text": "rule 1 names it by \"**\""
                },
                {
                  "about": "mode",
                  "text": "tags is warn by spec.mode"
                }
              ],
              "rule": "rule 1",
              "findings": [
                {
                  "id": "TW120",
                  "check": "tags",
                  "level": "warning",
                  "mode": "warn",
                  "policy": "everywhere",
                  "rule": "rule 1",
                  "exception": null,
                  "object": null,
                  "container": null,
                  "field": null,
                  "image": "registry.example.com/acme/api:main",
                  "canonical": "registry.example.com/acme/api:main",
                  "digest": null,
                  "message": "main is a floating tag; rule 1 accepts any tag that does not float, and digests",
                  "use": null,
                  "file": null,
                  "line": null,
                  "column": null
                }
              ]
            },
            {
              "name": "production",
              "applies": true,
              "reasons": [
                {
                  "about": "namespaces",
                  "text": "include \"*-prod\" matches shop-prod"
                },
                {
                  "about": "rule",
                  "text": "ours names it by \"registry.example.com/acme/**\""
                },
                {
                  "about": "mode",
                  "text": "tags is enforce by spec.mode"
                }
              ],
              "rule": "ours",
              "findings": [
                {
                  "id": "TW120",
                  "check": "tags",
                  "level": "error",
                  "mode": "enforce",
                  "policy": "production",
                  "rule": "ours",
                  "exception": null,
                  "object": null,
                  "container": null,
                  "field": null,
                  "image": "registry.example.com/acme/api:main",
                  "canonical": "registry.example.com/acme/api:main",
                  "digest": null,
                  "message": "main is a floating tag; rule ours accepts release (v1.2.3)",
                  "use": null,
                  "file": null,
                  "line": null,
                  "column": null
                }
              ]
            }
          ],
          "release": null,
          "findings": [],
          "facts": [],
          "images": [],
          "notes": [],
          "pinned": null,
          "decision": "deny"
        }
    "#);

    let warned = scene.run(&[&arguments[..], &["shop-dev", "registry.example.com/acme/api:main"]].concat());
    assert_eq!(warned.code, 0);
    let explained = warned.json();
    assert_eq!(explained["decision"], "warn");
    let reasons = json!([{"about": "namespaces", "text": "no glob of include matches shop-dev"}]);
    let expected = json!({"name": "production", "applies": false, "reasons": reasons, "rule": null, "findings": []});
    assert_eq!(explained["policies"][1], expected);
}

#[test]
fn what_a_policy_refuses_as_a_trap_is_named() {
    let scene = Scene::new(&[("p/p.yaml", &POLICIES.replace("mode: enforce", "mode: enforce\n  shortNames: deny"))]);
    let arguments = ["explain", "--policies", "p", "--format", "json", "-n", "a-prod"];
    for (image, refused) in
        [("nginx:1.2.3", "ShortName"), ("sha256:2d71164", "ImageId"), ("ghcr.io:443/a/b:v1.0.0", "NonCanonicalHost")]
    {
        let ran = scene.run(&[&arguments[..], &[image]].concat());
        assert_eq!((ran.code, &ran.json()["refused"]), (1, &json!(refused)), "{image}");
    }
}

#[test]
fn without_policies_the_shape_alone_decides() {
    let scene = Scene::new(&[]);
    let ran = scene.run(&["explain", "nginx"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    insta::assert_snapshot!(ran.stdout, @r"
        image       nginx
        registry    docker.io (none is written)
        repository  library/nginx
        tag         latest (none is written)
        digest      none
        class       latest
        refused     no
        policies    none given (--policies DIR)
        verdict     allow (by its shape alone)
    ");

    let ran = scene.run(&["explain", "--offline", "ghcr.io/org/App:v1\u{1b}[31m"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (1, ""));
    insta::assert_snapshot!(ran.stdout, @r"
        image       ghcr.io/org/App:v1\u{1b}[31m
        error       Uppercase at byte 12: a repository is written in lower case
        policies    none given (--policies DIR)
        verdict     deny
    ");

    let ran = scene.run(&["explain", "--offline", "sha256:2d71164"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (1, ""));
    insta::assert_snapshot!(ran.stdout, @r"
        image       sha256:2d71164
        registry    docker.io (none is written)
        repository  library/sha256
        tag         2d71164
        digest      none
        class       commit
        refused     ImageId: this is an image id, and a node runs any cached image whose id begins so; write the image's name
        policies    none given (--policies DIR)
        verdict     deny
    ");
}
