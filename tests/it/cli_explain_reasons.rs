//! `explain` and its reasons: for each, the line of the policy that it rests on.

use crate::cli_support::Scene;

const POLICY: &str = r#"apiVersion: tagwarden.dev/v1
kind: ImagePolicy
metadata: {name: acme}
spec:
  mode: enforce
  namespaces:
    include: ["shop-*", "free", "sandbox-*"]
    exclude: [shop-test]
    selector: {matchLabels: {tier: app}, matchExpressions: [{key: zone, operator: Exists}]}
  tagClasses: {build: {pattern: 'build-\d+'}}
  rules:
    - {name: legacy, images: ["registry.example.com/acme/legacy"], mode: warn}
    - name: ours
      images: ["registry.example.com/acme/*", "registry.example.com/acme/deep/**"]
      tags: [build, release, 'r\d+']
      modes: {tags: audit}
  overrides:
    - {namespaces: ["sandbox-*"], mode: warn}
  exceptions:
    - id: EX-7
      images: ["registry.example.com/acme/api:old"]
      namespaces: ["*"]
      checks: [tags]
      owner: o
      ticket: t
      reason: r
      expires: 2020-01-31
"#;

/// What is said under the policy's name, for an image in a namespace with these labels.
fn reasons(namespace: &str, labels: &[&str], image: &str) -> Vec<String> {
    let scene = Scene::new(&[("policies/acme.yaml", POLICY), ("config.yaml", "policies: {maxMode: warn}\n")]);
    let mut arguments = vec!["explain", "--policies", "policies", "--offline", "-n", namespace, "--format", "json"];
    labels.iter().for_each(|label| arguments.extend(["--namespace-labels", *label]));
    arguments.push(image);
    let explained = scene.run(&arguments).json();
    let reasons = explained["policies"][0]["reasons"].as_array().unwrap().iter();
    reasons.map(|r| format!("{}: {}", r["about"].as_str().unwrap(), r["text"].as_str().unwrap())).collect()
}

const APP: [&str; 2] = ["tier=app", "zone=a"];

#[test]
fn whether_a_policy_applies_has_its_reason() {
    let image = "registry.example.com/acme/api:v1.0.0";
    for (namespace, labels, reason) in [
        ("other", &APP[..], "no glob of include matches other"),
        ("shop-test", &APP, "exclude \"shop-test\" matches shop-test"),
        ("shop-a", &APP, "include \"shop-*\" matches shop-a; its labels meet the selector"),
        (
            "shop-a",
            &[],
            "include \"shop-*\" matches shop-a; its labels are not known, so the selector is taken to match",
        ),
        (
            "shop-a",
            &["tier=db"],
            "include \"shop-*\" matches shop-a; the selector demands tier In (app), and the namespace has db",
        ),
        (
            "shop-a",
            &["tier=app"],
            "include \"shop-*\" matches shop-a; the selector demands zone Exists, and the namespace does not have it",
        ),
    ] {
        assert_eq!(reasons(namespace, labels, image)[0], format!("namespaces: {reason}"));
    }
}

#[test]
fn rule_tag_mode_and_exception_have_theirs() {
    let api = |tag: &str| format!("registry.example.com/acme/api:{tag}");
    let of = |namespace: &str, image: &str| reasons(namespace, &APP, image).split_off(1);
    let second = "rule: ours names it by \"registry.example.com/acme/*\", and the rule before it does not";
    assert_eq!(of("shop-a", &api("v1.0.0")), [second, "tag: v1.0.0: class release, which tags lists"]);
    assert_eq!(of("shop-a", &api("build-7")), [second, "tag: build-7: class build, which tags lists"]);
    assert_eq!(of("shop-a", &api("r7")), [second, "tag: r7: the pattern 'r\\d+' matches it"]);
    let audited = "mode: tags is audit by modes.tags of rule ours";
    assert_eq!(of("shop-a", &api("main")), [second, audited]);
    assert_eq!(of("shop-a", &api("old")), [second, audited, "exception: EX-7 ended: its expires is 2020-01-31"]);
    assert_eq!(of("sandbox-b", &api("main")), [second, "mode: tags is warn by override 1 (sandbox-*)"]);
    let first = "rule: legacy names it by \"registry.example.com/acme/legacy\"";
    assert_eq!(
        of("free", "registry.example.com/acme/legacy:v1"),
        [first, "tag: v1: it does not float, and the rule lists no tags"]
    );
    assert_eq!(of("free", "registry.example.com/acme/legacy"), [first, "mode: tags is warn by mode of rule legacy"]);
    assert_eq!(
        of("free", "docker.io/library/nginx:1"),
        ["rule: none of 2 names it, and unmatched is deny", "mode: registry is enforce by spec.mode"]
    );
    assert_eq!(of("free", "nginx:"), ["mode: reference is enforce by spec.mode"], "it is no reference");
}

const SELF: &str = r#"apiVersion: tagwarden.dev/v1
kind: ImagePolicy
metadata: {name: own}
spec:
  mode: enforce
  rules:
    - {name: ours, images: ["r.example.com/a"], revision: match, version: match, age: {max: 90d}}
"#;

const SELF_FACTS: &str = r#"apiVersion: tagwarden.dev/v1
kind: ImageFacts
registry:
  r.example.com/a:
    tags: {v1.0.0: "sha256:1111111111111111111111111111111111111111111111111111111111111111", v2.0.0: "sha256:2222222222222222222222222222222222222222222222222222222222222222"}
    images:
      "sha256:1111111111111111111111111111111111111111111111111111111111111111":
        created: 2999-01-01T00:00:00Z
        base: registry.example.com/base/go:1
        labels: {org.opencontainers.image.version: v1.0.0}
        platforms: {linux/amd64: {}, linux/arm64: {labels: {org.opencontainers.image.revision: 0123456789abcdef0123456789abcdef01234567}}}
"#;

#[test]
fn what_an_image_says_of_itself_is_told_and_what_of_it_holds() {
    let scene = Scene::new(&[("policies/own.yaml", SELF), ("facts.yaml", SELF_FACTS)]);
    let explain = |flags: &[&str], tag: &str| {
        let image = format!("r.example.com/a:{tag}");
        scene.run(&[&["explain", "--policies", "policies"], flags, &[&image]].concat())
    };
    let facts = ["--facts", "facts.yaml"];
    let ran = explain(&facts, "v1.0.0");
    assert_eq!(ran.code, 1, "{}", ran.stdout);
    let (one, two) = (format!("sha256:{}", "1".repeat(64)), format!("sha256:{}", "2".repeat(64)));
    let amd = format!(
        "fact        {one} on linux/amd64: created 2999-01-01T00:00:00Z, version v1.0.0, base registry.example.com/base/go:1\n"
    );
    assert!(ran.stdout.contains(&amd), "{}", ran.stdout);
    assert!(ran.stdout.contains(&format!("fact        {one} on linux/arm64: ")), "{}", ran.stdout);
    let asks = "  metadata  rule ours asks revision, version, age: ";
    assert!(ran.stdout.contains(&format!("{asks}revision, age not met\n")), "{}", ran.stdout);
    let silent = explain(&facts, "v2.0.0").stdout;
    assert!(silent.contains(&format!("fact        {two} on linux/amd64: created at no told time\n")), "{silent}");
    assert!(silent.contains(&format!("{asks}revision, version, age not met\n")), "{silent}");
    let offline = explain(&["--offline"], "v1.0.0");
    assert_eq!(offline.code, 3);
    assert!(offline.stdout.contains(&format!("{asks}not decided\n")), "{}", offline.stdout);

    let json = explain(&["--facts", "facts.yaml", "--format", "json"], "v1.0.0").json();
    let arm = &json["images"][0]["platforms"][1];
    assert_eq!((&json["images"][0]["digest"], &arm["created"]), (&one.into(), &"2999-01-01T00:00:00Z".into()));
    assert_eq!(arm["labels"]["org.opencontainers.image.revision"], "0123456789abcdef0123456789abcdef01234567");
    assert_eq!(arm["bases"][0], "registry.example.com/base/go:1");
}

#[test]
fn what_the_server_lowers_is_said() {
    let scene = Scene::new(&[
        ("policies/acme.yaml", POLICY),
        ("config.yaml", "policies: {maxMode: warn}\ntrustedNamespaceLabels: [tier, zone]\n"),
    ]);
    let arguments =
        ["explain", "--policies", "policies", "--config", "config.yaml", "--offline", "-n", "free", "nginx:1"];
    let ran = scene.run(&arguments);
    assert!(
        ran.stdout.contains("  mode      registry is enforce by spec.mode, lowered to warn by maxMode\n"),
        "{}",
        ran.stdout
    );
}
