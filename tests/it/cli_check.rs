//! `check`: whole outputs, each exit code, and inputs that are broken in every way that files can be.

use serde_json::json;

use crate::cli_support::{Ran, Scene};

const POLICY: &str = r##"apiVersion: tagwarden.dev/v1
kind: ImagePolicy
metadata: {name: acme-images}
spec:
  mode: enforce
  owner: {contact: "#platform-security", docs: "https://wiki.example.com/images"}
  rules:
    - name: first-party
      images: ["registry.example.com/acme/**"]
      tags: [release, commit]
  overrides:
    - {namespaces: ["sandbox-*"], mode: audit}
    - {namespaces: ["trial-*"], mode: warn}
"##;

const DEPLOYMENT: &str = "\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: checkout
  namespace: shop-prod
spec:
  template:
    spec:
      initContainers:
        - name: migrate
          image: registry.example.com/acme/migrate:v1.4.1
      containers:
        - name: api
          image: registry.example.com/acme/api:latest # to be released
        - name: web
          image: 'docker.io/library/nginx:1.27.3'
";

/// A Pod of one image in a namespace.
fn pod(namespace: &str, image: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: p, namespace: {namespace}}}\n\
         spec: {{containers: [{{name: c, image: \"{image}\"}}]}}\n"
    )
}

const GOOD: &str = "registry.example.com/acme/api:v1.4.2";
const BAD: &str = "registry.example.com/acme/api:main";

/// A scene with the policy and these manifests.
fn scene(files: &[(&str, &str)]) -> Scene {
    let scene = Scene::new(files);
    scene.write("policies/acme.yaml", POLICY.as_bytes());
    scene
}

/// `check --policies policies` and more.
fn check(scene: &Scene, arguments: &[&str]) -> Ran {
    scene.run(&[&["check", "--policies", "policies"], arguments].concat())
}

#[test]
fn findings_look_like_those_of_a_compiler() {
    let scene = scene(&[("deploy/checkout.yaml", DEPLOYMENT)]);
    let ran = check(&scene, &["deploy"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (1, ""));
    insta::assert_snapshot!(ran.stdout, @r#"
        error[TW120]: latest is a floating tag; rule first-party accepts release (v1.2.3), commit (7-40 hex)
          --> deploy/checkout.yaml:14:18
           |
        14 |           image: registry.example.com/acme/api:latest # to be released
           |                  ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^ container "api"
           |
           = help: policy acme-images, rule first-party, mode enforce
           = help: object Deployment shop-prod/checkout
           = help: ask #platform-security, read https://wiki.example.com/images#TW120

        error[TW110]: no rule names docker.io/library/nginx; rules name registry.example.com/acme/**
          --> deploy/checkout.yaml:16:18
           |
        16 |           image: 'docker.io/library/nginx:1.27.3'
           |                  ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^ container "web"
           |
           = help: policy acme-images, mode enforce
           = help: object Deployment shop-prod/checkout
           = help: ask #platform-security, read https://wiki.example.com/images#TW110

        checked 1 file, 1 object, 3 images: 2 denied, 0 warnings, 0 audited
    "#);
}

#[test]
fn colour_is_written_when_asked_for_and_never_into_a_pipe() {
    let scene = scene(&[("pod.yaml", &pod("a", BAD))]);
    let plain = check(&scene, &["pod.yaml"]);
    assert!(!plain.stdout.contains('\u{1b}'));
    let colored = check(&scene, &["--color", "always", "pod.yaml"]);
    insta::assert_snapshot!(colored.stdout.replace('\u{1b}', "ESC"), @r#"
        ESC[1mESC[91merror[TW120]ESC[0mESC[1m: main is a floating tag; rule first-party accepts release (v1.2.3), commit (7-40 hex)ESC[0m
         ESC[1mESC[94m--> ESC[0mpod.yaml:4:38
          ESC[1mESC[94m|ESC[0m
        ESC[1mESC[94m4ESC[0m ESC[1mESC[94m|ESC[0m spec: {containers: [{name: c, image: "registry.example.com/acme/api:main"}]}
          ESC[1mESC[94m|ESC[0m                                      ESC[1mESC[91m^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^ESC[0m ESC[1mESC[91mcontainer "c"ESC[0m
          ESC[1mESC[94m|ESC[0m
          ESC[1mESC[94m= ESC[0mESC[1mhelpESC[0m: policy acme-images, rule first-party, mode enforce
          ESC[1mESC[94m= ESC[0mESC[1mhelpESC[0m: object Pod a/p
          ESC[1mESC[94m= ESC[0mESC[1mhelpESC[0m: ask #platform-security, read https://wiki.example.com/images#TW120

        checked 1 file, 1 object, 1 image: 1 denied, 0 warnings, 0 audited
    "#);
    let output =
        scene.command(&["check", "--policies", "policies", "pod.yaml"]).env("FORCE_COLOR", "1").output().unwrap();
    assert_eq!(Ran::from(output), colored);
    assert_eq!(
        check(&scene, &["--color", "always", "--format", "json", "pod.yaml"]),
        check(&scene, &["--format", "json", "pod.yaml"])
    );
}

#[test]
fn the_machine_interface_has_every_key() {
    let scene = scene(&[("deploy/checkout.yaml", DEPLOYMENT)]);
    let ran = check(&scene, &["--format", "json", "deploy"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (1, ""));
    insta::assert_snapshot!(ran.stdout, @r#"
        {
          "schemaVersion": 1,
          "summary": {
            "files": 1,
            "objects": 1,
            "images": 3,
            "skippedKinds": {},
            "noManifest": [],
            "infrastructureNamespaces": [],
            "uncoveredNamespaces": [],
            "deferredImages": [],
            "notes": [],
            "unchangedFiles": 0,
            "unchangedImages": 0,
            "templates": [],
            "brokenFiles": 0,
            "deny": 2,
            "warn": 0,
            "audit": 0,
            "unresolved": 0
          },
          "findings": [
            {
              "id": "TW120",
              "check": "tags",
              "level": "error",
              "mode": "enforce",
              "policy": "acme-images",
              "rule": "first-party",
              "exception": null,
              "object": {
                "kind": "Deployment",
                "namespace": "shop-prod",
                "name": "checkout"
              },
              "container": "api",
              "field": "spec.template.spec.containers[0].image",
              "image": "registry.example.com/acme/api:latest",
              "canonical": "registry.example.com/acme/api:latest",
              "digest": null,
              "message": "latest is a floating tag; rule first-party accepts release (v1.2.3), commit (7-40 hex)",
              "use": null,
              "file": "deploy/checkout.yaml",
              "line": 14,
              "column": 18
            },
            {
              "id": "TW110",
              "check": "registry",
              "level": "error",
              "mode": "enforce",
              "policy": "acme-images",
              "rule": null,
              "exception": null,
              "object": {
                "kind": "Deployment",
                "namespace": "shop-prod",
                "name": "checkout"
              },
              "container": "web",
              "field": "spec.template.spec.containers[1].image",
              "image": "docker.io/library/nginx:1.27.3",
              "canonical": "docker.io/library/nginx:1.27.3",
              "digest": null,
              "message": "no rule names docker.io/library/nginx; rules name registry.example.com/acme/**",
              "use": null,
              "file": "deploy/checkout.yaml",
              "line": 16,
              "column": 18
            }
          ]
        }
    "#);
}

#[test]
fn an_empty_image_and_no_image_at_all_are_judged() {
    let scene = scene(&[("pod.yaml", &pod("a", ""))]);
    let ran = check(&scene, &["--format", "json", "pod.yaml"]);
    assert_eq!((ran.code, &ran.json()["findings"][0]["id"]), (1, &json!("TW100")));
    // In a template whoever makes the Pod may fill it in: left to the Pod, and said.
    let template = DEPLOYMENT
        .replace("registry.example.com/acme/api:latest", "\"\"")
        .replace("docker.io/library/nginx:1.27.3", GOOD);
    scene.write("pod.yaml", template.as_bytes());
    let ran = check(&scene, &["pod.yaml"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    insta::assert_snapshot!(ran.stdout, @r"
        checked 1 file, 1 object, 2 images: 0 denied, 0 warnings, 0 audited
        not judged yet: Deployment shop-prod/checkout: spec.template.spec.containers[0].image is blank; it is judged when its Pod is created
    ");
}

#[test]
fn the_namespace_is_the_manifest_s_else_the_flag_s_else_default() {
    let scene = scene(&[]);
    let nowhere = pod("x", BAD).replace(", namespace: x", "");
    for (text, flag, code, level) in [
        (pod("shop", BAD), "sandbox-1", 1, "error"),
        (pod("trial-1", BAD), "shop", 0, "warning"),
        (nowhere.clone(), "sandbox-1", 0, "note"),
        (nowhere.clone(), "shop", 1, "error"),
    ] {
        scene.write("m.yaml", text.as_bytes());
        let ran = check(&scene, &["--format", "json", "--namespace", flag, "m.yaml"]);
        assert_eq!((ran.code, &ran.json()["findings"][0]["level"]), (code, &json!(level)), "{text}");
    }
    let ran = check(&scene, &["--format", "json", "m.yaml"]);
    assert_eq!(ran.json()["findings"][0]["object"], json!({"kind": "Pod", "namespace": "default", "name": "p"}));
}

#[test]
fn selectors_see_the_labels_given_and_apply_where_there_are_none() {
    let scene = scene(&[("m.yaml", &pod("shop", BAD))]);
    let policy = POLICY.replace("  rules:", "  namespaces: {selector: {matchLabels: {tier: app}}}\n  rules:");
    scene.write("policies/acme.yaml", policy.as_bytes());
    assert_eq!(check(&scene, &["m.yaml"]).code, 1);
    assert_eq!(check(&scene, &["--namespace-labels", "a=b", "--namespace-labels", "tier=app", "m.yaml"]).code, 1);
    let ran = check(&scene, &["--namespace-labels", "tier=batch", "m.yaml"]);
    assert_eq!(ran.code, 0);
    insta::assert_snapshot!(ran.stdout, @r"
        checked 1 file, 1 object, 1 image: 0 denied, 0 warnings, 0 audited
        no policy covers: namespace shop
    ");
}

#[test]
fn findings_fail_by_weight() {
    let scene = scene(&[
        ("deny.yaml", &pod("a", BAD)),
        ("warn.yaml", &pod("trial-1", BAD)),
        ("audit.yaml", &pod("sandbox-1", BAD)),
    ]);
    for (arguments, code) in [
        (&["deny.yaml"][..], 1),
        (&["--exit-zero", "deny.yaml"], 0),
        (&["warn.yaml", "audit.yaml"], 0),
        (&["--fail-on", "warn", "warn.yaml"], 1),
        (&["--fail-on", "warn", "audit.yaml"], 0),
        (&["--fail-on", "audit", "audit.yaml"], 1),
        (&["--fail-on", "audit", "warn.yaml"], 1),
        (&["--fail-on", "warn", "--format", "json", "warn.yaml"], 1),
        (&["--offline", "deny.yaml", "warn.yaml"], 1),
    ] {
        assert_eq!(check(&scene, arguments).code, code, "{arguments:?}");
    }
    let summary =
        check(&scene, &["--format", "json", "deny.yaml", "warn.yaml", "audit.yaml"]).json()["summary"].clone();
    let counts =
        ["files", "objects", "images", "deny", "warn", "audit", "unresolved"].map(|key| summary[key].as_u64().unwrap());
    assert_eq!(counts, [3, 3, 3, 1, 1, 1, 0]);
}

#[test]
fn lists_several_documents_and_json_keep_their_places() {
    let list = format!(
        "# A list, then more.\napiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Pod\n  metadata: {{name: a}}\n  \
         spec:\n    containers:\n    - {{name: c, image: {GOOD}}}\n    - {{name: d, image: {BAD}}}\n---\n{}",
        pod("b", BAD)
    );
    let json = format!(
        "{{\"apiVersion\": \"v1\", \"kind\": \"Pod\",\n \"spec\": {{\"volumes\": [{{\"name\": \"v\",\n  \"image\": {{\"reference\": \"{BAD}\"}}}}]}}}}"
    );
    let scene = scene(&[("a.yaml", &list), ("b.json", &json)]);
    let ran = check(&scene, &["--format", "json", "a.yaml", "b.json"]);
    let places: Vec<_> = ran.json()["findings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|finding| {
            let text = |key: &str| finding[key].as_str().unwrap_or("-").to_owned();
            format!(
                "{}:{}:{} {} {}",
                text("file"),
                finding["line"],
                finding["column"],
                text("container"),
                text("field")
            )
        })
        .collect();
    assert_eq!(
        places,
        [
            "a.yaml:11:24 d spec.containers[1].image",
            "a.yaml:16:38 c spec.containers[0].image",
            "b.json:3:26 v spec.volumes[0].image.reference",
        ]
    );
}

#[test]
fn helm_output_on_standard_input_keeps_its_template_s_names() {
    let rendered = format!(
        "---\n# Source: shop/templates/pod.yaml\n{}---\n# Source: shop/templates/service.yaml\napiVersion: v1\nkind: Service\nmetadata: {{name: s}}\n",
        pod("a", BAD)
    );
    let scene = scene(&[]);
    let ran = scene.run_with_input(&["check", "--policies", "policies", "-"], &rendered);
    assert_eq!((ran.code, ran.stderr.as_str()), (1, ""));
    insta::assert_snapshot!(ran.stdout, @r#"
        error[TW120]: main is a floating tag; rule first-party accepts release (v1.2.3), commit (7-40 hex)
         --> shop/templates/pod.yaml:6:38
          |
        6 | spec: {containers: [{name: c, image: "registry.example.com/acme/api:main"}]}
          |                                      ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^ container "c"
          |
          = help: policy acme-images, rule first-party, mode enforce
          = help: object Pod a/p
          = help: ask #platform-security, read https://wiki.example.com/images#TW120
          = help: line 6 is one of the rendered text, <stdin>

        checked 1 file, 1 object, 1 image: 1 denied, 0 warnings, 0 audited
        not judged, kinds without known images: Service (1)
    "#);
}

#[test]
fn what_is_not_judged_is_counted_and_named() {
    let scene = scene(&[
        ("d/pod.yaml", &pod("a", GOOD)),
        ("d/values.yaml", "image: {repository: nginx, tag: latest}\n"),
        (
            "d/more.yaml",
            "apiVersion: v1\nkind: Service\n---\napiVersion: v1\nkind: Service\n---\napiVersion: x.io/v1\nkind: Rollout\n",
        ),
        ("d/empty.yaml", "# nothing\n"),
    ]);
    let ran = check(&scene, &["d"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    insta::assert_snapshot!(ran.stdout, @r"
        checked 4 files, 1 object, 1 image: 0 denied, 0 warnings, 0 audited
        not judged, kinds without known images: Rollout (1), Service (2)
        not judged, 1 file without apiVersion and kind: d/values.yaml
    ");
    let summary = check(&scene, &["--format", "json", "d"]).json()["summary"].clone();
    assert_eq!(summary["skippedKinds"], json!({"Rollout": 1, "Service": 2}));
    assert_eq!(summary["noManifest"], json!(["d/values.yaml"]));
}

#[test]
fn a_broken_file_does_not_keep_the_others_from_being_judged() {
    let scene = scene(&[
        ("d/a-tab.yaml", "apiVersion: v1\n\tkind: Pod\n"),
        ("d/b-bad.yaml", &pod("a", BAD)),
        ("d/d-twice.yaml", "kind: Pod\nkind: Pod\n"),
    ]);
    scene.write("d/c-latin1.yaml", b"apiVersion: v1\nkind: Pod # caf\xe9\n");
    std::os::unix::fs::symlink("nowhere.yaml", scene.path().join("d/e-gone.yaml")).unwrap();
    std::os::unix::fs::symlink(scene.path(), scene.path().join("d/f-loop")).unwrap();
    let ran = check(&scene, &["d", "missing.yaml"]);
    assert_eq!(ran.code, 2, "an error is graver than the violation beside it");
    insta::assert_snapshot!(ran.stderr, @r"
        error: not valid YAML: while scanning a plain scalar, found a tab
         --> d/a-tab.yaml:1:13
          |
        1 | apiVersion: v1
          |             ^

        error: not UTF-8: byte 0xe9 at line 2, column 16
        --> d/c-latin1.yaml
         = help: save the file as UTF-8

        error: the key 'kind' stands twice in one map
         --> d/d-twice.yaml:2:1
          |
        2 | kind: Pod
          | ^^^^
          |
          = help: the first one is on line 1; keep one of them

        error: cannot be read: no such file or directory
        --> d/e-gone.yaml
         = help: check the path; `-` reads standard input

        error: cannot be read: no such file or directory
        --> missing.yaml
         = help: check the path; `-` reads standard input
    ");
    insta::assert_snapshot!(ran.stdout, @r#"
        error[TW120]: main is a floating tag; rule first-party accepts release (v1.2.3), commit (7-40 hex)
         --> d/b-bad.yaml:4:38
          |
        4 | spec: {containers: [{name: c, image: "registry.example.com/acme/api:main"}]}
          |                                      ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^ container "c"
          |
          = help: policy acme-images, rule first-party, mode enforce
          = help: object Pod a/p
          = help: ask #platform-security, read https://wiki.example.com/images#TW120

        checked 4 files, 1 object, 1 image: 1 denied, 0 warnings, 0 audited
        not judged, kinds without known images: ImagePolicy (1)
        not judged, or not in full: 5 broken files, see the errors
    "#);
    assert_eq!(check(&scene, &["--exit-zero", "d"]).code, 2, "what could not be read was not judged");
}

#[test]
fn policies_are_needed_and_must_be_right() {
    let scene = scene(&[
        ("m.yaml", &pod("a", GOOD)),
        ("none/README.md", ""),
        ("wrong/p.yaml", &POLICY.replace("rules:", "rule:")),
    ]);
    let ran = scene.run(&["check", "m.yaml"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (2, ""));
    assert_eq!(ran.stderr, "error: no policy to check against: name a directory of policy files with --policies DIR\n");

    let ran = scene.run(&["check", "--policies", "none", "m.yaml"]);
    assert_eq!(
        (ran.code, ran.stderr.as_str()),
        (2, "error: no policy file in none: put a *.yaml, *.yml or *.json there\n")
    );

    let ran = scene.run(&["check", "--policies", "gone", "m.yaml"]);
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.starts_with("error: cannot read gone"), "{}", ran.stderr);

    let ran = scene.run(&["check", "--policies", "wrong", "m.yaml"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (2, ""));
    insta::assert_snapshot!(ran.stderr, @r"
        error: the key 'rules' is missing here
         --> wrong/p.yaml:5:3
          |
        5 |   mode: enforce
          |   ^^^^^^^^^^^^^

        error: unknown key 'rule'
         --> wrong/p.yaml:7:3
          |
        7 |   rule:
          |   ^^^^
          |
          = help: did you mean 'rules'?
    ");
}

#[test]
fn policies_of_several_directories_hold_together() {
    let strict = POLICY.replace("acme-images", "strict").replace("[release, commit]", "[release]");
    let scene = scene(&[("m.yaml", &pod("a", "registry.example.com/acme/api:4f2a1b0")), ("more/strict.yaml", &strict)]);
    assert_eq!(check(&scene, &["m.yaml"]).code, 0);
    let ran = check(&scene, &["--policies", "more", "--format", "json", "m.yaml"]);
    assert_eq!((ran.code, &ran.json()["findings"][0]["policy"]), (1, &json!("strict")));
}

#[test]
fn hostile_image_strings_are_shown_escaped() {
    let text = pod("a", "ngin\\e[31mx\\u202e") + "# \u{202e}\n---\napiVersion: x\nkind: \"a\\e[2Jb\"\n";
    let text = text.replace("name: c", "name: \"c\\e[2J\"").replace("name: p", "name: \"p\\e[2J\"");
    let scene = scene(&[("m.yaml", &text)]);
    let ran = check(&scene, &["m.yaml"]);
    assert_eq!(ran.code, 1);
    assert!(!ran.stdout.contains(['\u{1b}', '\u{202e}']), "{:?}", ran.stdout);
}

#[test]
fn the_server_s_configuration_decides_here_too() {
    let scene = scene(&[
        ("infrastructure.yaml", &pod("kube-system", BAD)),
        ("rollout.yaml", &pod("a", BAD).replace("v1", "x.io/v1").replace("kind: Pod", "kind: Rollout")),
        ("bad.yaml", &pod("a", BAD)),
    ]);
    let config = "policies: {dirs: [policies]}\ninfrastructureNamespaces: [kube-system]\n\
                  workloads: [{group: x.io, kind: Rollout, paths: [spec]}]\n";
    scene.write("config.yaml", config.as_bytes());
    let ran = scene.run(&["check", "--config", "config.yaml", "infrastructure.yaml", "rollout.yaml"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (1, ""));
    insta::assert_snapshot!(ran.stdout, @r#"
        error[TW120]: main is a floating tag; rule first-party accepts release (v1.2.3), commit (7-40 hex)
         --> rollout.yaml:4:38
          |
        4 | spec: {containers: [{name: c, image: "registry.example.com/acme/api:main"}]}
          |                                      ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^ container "c"
          |
          = help: policy acme-images, rule first-party, mode enforce
          = help: object Rollout a/p
          = help: ask #platform-security, read https://wiki.example.com/images#TW120

        checked 2 files, 1 object, 1 image: 1 denied, 0 warnings, 0 audited
        not judged, infrastructure: namespace kube-system
    "#);
    let explained = scene.run(&["explain", "--config", "config.yaml", "--namespace", "kube-system", BAD]);
    assert_eq!(explained.code, 0, "{explained:?}");
    assert!(explained.stdout.contains("allow (never judged)"), "{explained:?}");

    scene.write("config.yaml", config.replace("policies: {", "policies: {maxMode: warn, ").as_bytes());
    assert_eq!(scene.run(&["check", "--config", "config.yaml", "bad.yaml"]).code, 0);

    scene.write("config.yaml", b"polices: {}\n");
    let ran = scene.run(&["check", "--config", "config.yaml", "bad.yaml"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (2, ""));
    assert!(ran.stderr.contains("config.yaml:1:1") && ran.stderr.contains("'policies'"), "{}", ran.stderr);

    let ran = scene.run(&["check", "--config", "gone.yaml", "bad.yaml"]);
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.contains("gone.yaml"), "{}", ran.stderr);
}

#[test]
fn a_finding_about_the_object_points_at_its_kind() {
    let scene = scene(&[("m.yaml", &pod("shop", GOOD)), ("config.yaml", "policies: {noPolicy: deny}\n")]);
    scene.write(
        "policies/acme.yaml",
        POLICY.replace("  rules:", "  namespaces: {include: [\"*-prod\"]}\n  rules:").as_bytes(),
    );
    assert_eq!(check(&scene, &["m.yaml"]).code, 0, "without a configuration an uncovered namespace is only named");
    let ran = check(&scene, &["--config", "config.yaml", "m.yaml"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (1, ""));
    insta::assert_snapshot!(ran.stdout, @r"
        error[TW198]: no policy covers the namespace shop; ask whoever keeps the policies for one
         --> m.yaml:2:7
          |
        2 | kind: Pod
          |       ^^^
          |
          = help: object Pod shop/p

        checked 1 file, 1 object, 1 image: 1 denied, 0 warnings, 0 audited
        no policy covers: namespace shop
    ");
    let json = check(&scene, &["--config", "config.yaml", "--format", "json", "m.yaml"]).json();
    let finding = &json["findings"][0];
    assert_eq!((&finding["id"], &finding["image"], &finding["container"]), (&json!("TW198"), &json!(""), &json!(null)));
    assert_eq!((&finding["policy"], &finding["line"], &finding["column"]), (&json!(""), &json!(2), &json!(7)));

    let ran = scene.run(&["explain", "--policies", "policies", "--config", "config.yaml", "--format", "json", GOOD]);
    assert_eq!((ran.code, &ran.json()["findings"][0]["id"]), (1, &json!("TW198")));
    assert_eq!(ran.json()["policies"][0]["applies"], false);
}

#[test]
fn rules_and_objects_without_a_name_are_called_something() {
    let scene = scene(&[("m.yaml", &pod("a", BAD).replace("name: p, ", ""))]);
    scene.write(
        "policies/acme.yaml",
        POLICY.replace("    - name: first-party\n      images", "    - images").as_bytes(),
    );
    let ran = check(&scene, &["m.yaml"]);
    assert!(ran.stdout.contains("policy acme-images, rule 1, mode enforce"), "{}", ran.stdout);
    assert!(ran.stdout.contains("object Pod a/(no name)"), "{}", ran.stdout);
}
