//! The format of files of tests: every key decides something, and every mistake is told with its place.

use crate::cli_support::{Ran, Scene};

const DIGEST: &str = "sha256:1111111111111111111111111111111111111111111111111111111111111111";

const POLICY: &str = r#"apiVersion: tagwarden.dev/v1
kind: ImagePolicy
metadata: {name: strict}
spec:
  mode: enforce
  namespaces: {exclude: [open], selector: {matchLabels: {tier: app}}}
  rules:
    - name: pinned
      images: ["registry.example.com/acme/**"]
      tags: [release, channel]
      channel: {sameDigestAs: [release], search: labels}
      pin: pods
  exceptions:
    - id: EX-1
      images: ["registry.example.com/old/**"]
      namespaces: [shop]
      checks: [registry]
      owner: shop
      ticket: T-1
      reason: to be moved
      expires: 2026-06-30
"#;

/// A file in which every key is needed: whatever of it is changed, a case fails or the file is wrong.
const TEST: &str = r#"apiVersion: tagwarden.dev/v1
kind: ImagePolicyTest
policies: [strict.yaml]
now: 2026-03-01T00:00:00Z
namespaces:
  shop: {labels: {tier: app}}
  tools: {labels: {tier: infra}}
registry:
  registry.example.com/acme/api:
    tags: {v1.4.2: "DIGEST", env-prod: "DIGEST"}
    images: {"DIGEST": {labels: {org.opencontainers.image.version: v1.4.2}}}
cases:
  - {name: pinned, image: "registry.example.com/acme/api:v1.4.2", namespace: shop, expect: allow, pinned: "registry.example.com/acme/api:v1.4.2@DIGEST", rule: pinned}
  - {name: channel, image: "registry.example.com/acme/api:env-prod", namespace: shop, expect: allow}
  - {name: template, image: "registry.example.com/acme/api:v1.4.2", kind: Job, namespace: shop, expect: allow, pinned: none}
  - {name: excused, image: "registry.example.com/old/x:1", namespace: shop, expect: warn, ids: [TW110], exception: EX-1, message: let in by exception}
  - {name: elsewhere, image: nginx, namespace: tools, expect: allow}
  - {name: unknown, image: "docker.io/library/nginx:1", namespace: other, expect: deny, ids: [TW110]}
  - {name: whole, manifest: m/pod.yaml, namespace: shop, expect: deny, ids: [TW110]}
  - {name: one, manifest: m/pod.yaml, namespace: shop, container: api, expect: allow}
"#;

const POD: &str = "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec:\n  containers:\n  \
    - {name: api, image: \"registry.example.com/acme/api:v1.4.2\"}\n  - {name: web, image: \"docker.io/library/nginx:1\"}\n";

fn run(text: &str, more: &[(&str, &str)]) -> Ran {
    let scene = Scene::new(&[("strict.yaml", POLICY), ("m/pod.yaml", POD)]);
    scene.write("t.test.yaml", text.replace("DIGEST", DIGEST).as_bytes());
    more.iter().for_each(|(path, text)| scene.write(path, text.as_bytes()));
    scene.run(&["test", "--quiet", "t.test.yaml"])
}

/// The names of the cases that failed.
fn failed(ran: &Ran) -> Vec<&str> {
    ran.stdout.lines().filter_map(|line| line.strip_prefix("error: ")?.split(':').next()).collect()
}

#[test]
fn every_key_decides_something() {
    let whole = run(TEST, &[]);
    assert_eq!((whole.code, whole.stdout.as_str(), whole.stderr.as_str()), (0, "", ""));
    let mild = ("mild.yaml", &*POLICY.replace("mode: enforce", "mode: audit"));
    let labels = "    images: {\"DIGEST\": {labels: {org.opencontainers.image.version: v1.4.2}}}\n";
    let cases: &[(&str, &str, &[&str])] = &[
        ("[strict.yaml]", "[mild.yaml]", &["pinned", "excused", "unknown", "whole"]),
        ("now: 2026", "now: 2027", &["excused"]),
        ("tools: {labels: {tier: infra}}", "tools: {labels: {tier: app}}", &["elsewhere"]),
        ("  tools: {labels: {tier: infra}}\n", "", &["elsewhere"]),
        ("  shop: {labels: {tier: app}}\n", "  shop: {}\n", &["pinned", "excused", "whole"]),
        ("{v1.4.2: \"DIGEST\"", "{v1.4.3: \"DIGEST\"", &["pinned", "channel", "template", "whole", "one"]),
        (labels, "", &["channel"]),
        ("api:env-prod\"", "api:env-test\"", &["channel"]),
        (
            "manifest: m/pod.yaml, namespace: shop, expect: deny",
            "image: \"registry.example.com/acme/api:v1.4.2\", namespace: shop, expect: deny",
            &["whole"],
        ),
        ("container: api", "container: web", &["one"]),
        (", container: api", "", &["one"]),
        ("namespace: tools", "namespace: shop", &["elsewhere"]),
        (", kind: Job", "", &["template"]),
        ("kind: Job, namespace: shop, expect: allow", "kind: Job, namespace: shop, expect: audit", &["template"]),
        ("expect: warn, ids: [TW110]", "expect: warn, ids: [TW120]", &["excused"]),
        ("expect: warn, ids: [TW110]", "expect: warn, ids: [TW110, TW120]", &["excused"]),
        ("v1.4.2@DIGEST", "v1.4.3@DIGEST", &["pinned"]),
        ("pinned: \"registry.example.com/acme/api:v1.4.2@DIGEST\"", "pinned: none", &["pinned"]),
        ("message: let in by exception", "message: let in by nobody", &["excused"]),
        (
            "image: \"registry.example.com/acme/api:v1.4.2\", namespace: shop, expect: allow, pinned: \"registry.example.com/acme/api:v1.4.2@DIGEST\", rule",
            "image: nginx, namespace: tools, expect: allow, rule",
            &["pinned"],
        ),
        (
            "image: \"registry.example.com/old/x:1\", namespace: shop, expect: warn, ids: [TW110], exception",
            "image: \"registry.example.com/acme/api:v9.9.9\", namespace: shop, expect: unresolved, exception",
            &["excused"],
        ),
        ("name: unknown", "name: renamed", &[]),
    ];
    for (from, to, expected) in cases {
        assert!(TEST.contains(from), "{from}");
        let ran = run(&TEST.replacen(from, to, 1), &[mild]);
        assert_eq!(ran.stderr, "", "{from} -> {to}");
        assert_eq!((failed(&ran).as_slice(), ran.code), (*expected, i32::from(!expected.is_empty())), "{from} -> {to}");
    }
}

#[test]
fn settings_and_configuration_decide_verdicts() {
    let head =
        "apiVersion: tagwarden.dev/v1\nkind: ImagePolicyTest\npolicies: [strict.yaml]\nnow: 2026-03-01T00:00:00Z\n";
    let with = |settings: &str, case: &str| {
        run(
            &format!("{head}{settings}\ncases: [{{name: c, {case}}}]\n"),
            &[
                (
                    "server.yaml",
                    "policies: {maxMode: warn, noPolicy: deny}\ntrustedNamespaceLabels: [tier]\n\
                         references: {nonCanonicalHost: normalise}\ninfrastructureNamespaces: [kube-system]\n\
                         workloads: [{group: x.io, kind: Task, paths: [spec.image]}]\n",
                ),
                ("m/task.yaml", "{apiVersion: x.io/v1, kind: Task, metadata: {name: t}, spec: {image: nginx}}"),
            ],
        )
    };
    let nginx = "image: \"docker.io/library/nginx:1\"";
    let loud = "image: \"REGISTRY.example.com/acme/api:v1.4.2\"";
    for (settings, case, without) in [
        ("settings: {maxMode: audit}", format!("{nginx}, expect: audit"), 1),
        ("settings: {noPolicy: deny}", format!("{nginx}, namespace: open, expect: deny, ids: [TW198]"), 1),
        ("settings: {nonCanonicalHost: normalise}", format!("{loud}, expect: allow"), 1),
        ("settings: {trustedNamespaceLabels: [tier]}", format!("{nginx}, expect: deny"), 0),
        ("config: server.yaml", format!("{nginx}, expect: warn"), 1),
        ("config: server.yaml", format!("{nginx}, namespace: open, expect: warn, ids: [TW198]"), 1),
        ("config: server.yaml", format!("{loud}, expect: allow"), 1),
        ("config: server.yaml", format!("{nginx}, namespace: kube-system, expect: allow"), 1),
        ("config: server.yaml", "manifest: m/task.yaml, expect: warn, ids: [TW110]".to_owned(), 2),
        ("config: server.yaml", "manifest: m/pod.yaml, namespace: kube-system, expect: allow".to_owned(), 1),
    ] {
        let ran = with(settings, &case);
        assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{settings}: {case}: {}", ran.stdout);
        assert_eq!(with("", &case).code, without, "without {settings}: {case}");
    }
    let untrusted = with("settings: {trustedNamespaceLabels: []}", &format!("{nginx}, expect: deny"));
    assert_eq!(untrusted.code, 2);
    assert!(untrusted.stderr.contains("the namespace label 'tier' is not trusted"), "{}", untrusted.stderr);
    let told = with("settings: {maxMode: audit}", &format!("{nginx}, expect: deny"));
    assert!(told.stdout.contains("see every step (without the 'settings' of this file): tagwarden"), "{}", told.stdout);
}

/// Two images in one manifest, under limits of one image and of two, and of the length of one of them.
#[test]
fn limits_of_the_configuration_decide_verdicts() {
    for (limits, ids) in [
        ("limits: {images: 1}", "[TW197]"),
        ("limits: {images: 2}", "[TW110]"),
        ("limits: {referenceBytes: 30}", "[TW110, TW197]"),
        ("", "[TW110]"),
    ] {
        let case = |ids: &str| {
            let text = format!(
                "apiVersion: tagwarden.dev/v1\nkind: ImagePolicyTest\npolicies: [strict.yaml]\nnow: 2026-03-01T00:00:00Z\n\
                 config: server.yaml\nnamespaces: {{shop: {{labels: {{tier: app}}}}}}\n\
                 cases: [{{name: c, manifest: m/pod.yaml, namespace: shop, expect: deny, ids: {ids}}}]\n"
            );
            let config = format!("policies: {{maxMode: enforce}}\ntrustedNamespaceLabels: [tier]\n{}", limits);
            run(&text, &[("server.yaml", &config)])
        };
        for said in ["[TW197]", "[TW110]", "[TW110, TW197]"] {
            let ran = case(said);
            assert_eq!(
                (ran.code, ran.stderr.as_str()),
                (i32::from(said != ids), ""),
                "{limits}: {said}: {}",
                ran.stdout
            );
        }
    }
}

/// Wrong in every line of the cases; the schema knows the first ones too.
const MISTAKES: &[(&str, &str, bool)] = &[
    ("image: a, expect: denied", "'denied' is not a value of this key", true),
    ("image: a", "the key 'expect' is missing here", true),
    ("image: a, expect: deny, id: [TW120]", "unknown key 'id'", true),
    ("image: a, expect: deny, ids: [TW12]", "'TW12' is not the id of a finding", true),
    ("image: a, expect: deny, ids: [120]", "expected the id of a finding (TW120), found the number 120", true),
    ("image: a, expect: deny, ids: [TW121]", "no test can bring TW121 about: it is judged in admission", true),
    ("image: a, expect: deny, ids: [TW203]", "no test can bring TW203 about", true),
    ("image: 1.2, expect: deny", "expected a string, found the number 1.2", true),
    ("image: a, expect: deny, ids: [TW120, TW120]", "TW120 stands twice", false),
    ("image: a, expect: deny, ids: []", "an empty list of ids", false),
    ("image: a, expect: allow, ids: [TW120]", "'ids' is about findings, and what is allowed has none", false),
    ("image: a, expect: allow, message: b", "'message' is about findings", false),
    ("image: a, expect: allow, exception: EX-1", "'exception' is about findings", false),
    ("image: a, manifest: b, expect: deny", "a case has an image or a manifest, not both", false),
    ("expect: deny", "this case has neither 'image' nor 'manifest'", false),
    ("image: a, container: b, expect: deny", "an image stands in no container", false),
    ("manifest: a, kind: Job, expect: deny", "a manifest says itself of what kind it is", false),
    ("image: a, namespace: Shop, expect: deny", "not a name that a namespace can have", false),
    ("image: a, name: '', expect: deny", "an empty 'name'", false),
    ("image: a, message: ' ', expect: deny", "an empty 'message'", false),
    ("image: a, expect: allow, pinned: a:v1", "not an image with tag and digest", false),
    ("image: a, expect: allow, pinned: 'a b'", "not an image with tag and digest", false),
    ("image: a, expect: deny, pinned: 'a:v1@DIGEST'", "what is refused is not pinned", false),
    ("image: a, kind: Job, expect: allow, pinned: 'a:v1@DIGEST'", "only Pods are pinned", false),
    ("image: a, expect: allow, rule: pined", "no policy under test has the rule 'pined'", false),
    ("image: a, expect: deny, exception: EX-2", "no policy under test has the exception 'EX-2'", false),
];

fn of_case(case: &str) -> String {
    let head = &TEST[..TEST.find("cases:").unwrap()];
    format!("{head}cases:\n  - {{{case}}}\n").replace("DIGEST", DIGEST)
}

#[test]
fn every_mistake_in_a_case_is_told_with_its_place() {
    let validator = jsonschema::draft7::new(&tagwarden::policy::test_schema()).expect("valid draft-07");
    let by_schema = |text: &str| {
        let (documents, problems) = tagwarden::document::parse(&tagwarden::document::Source::new("t", text));
        assert_eq!(problems, [], "{text}");
        validator.is_valid(&documents[0].root.to_json())
    };
    assert!(by_schema(&TEST.replace("DIGEST", DIGEST)));
    for (case, said, schema_knows) in MISTAKES {
        let text = of_case(case);
        let ran = run(&text, &[]);
        assert_eq!((ran.code, ran.stderr.matches("error: ").count()), (2, 1), "{case}: {}", ran.stderr);
        for said in [said, "--> t.test.yaml:13:", "^"] {
            assert!(ran.stderr.contains(said), "{case}: {said}: {}", ran.stderr);
        }
        assert!(
            ran.stderr.contains("= help: ")
                || said.contains("missing")
                || said.contains("expected")
                || said.contains("twice"),
            "{}",
            ran.stderr
        );
        assert_eq!(by_schema(&text), !schema_knows, "{case}");
    }
    let nothing_known = of_case("image: a, expect: allow, pinned: 'a:v1@DIGEST'");
    let without = nothing_known.split("registry:\n").next().unwrap().to_owned()
        + "cases:"
        + nothing_known.split("cases:").nth(1).unwrap();
    let ran = run(&without, &[]);
    assert!(ran.stderr.contains("nothing is pinned without a registry"), "{}", ran.stderr);
}

#[test]
fn every_mistake_of_a_file_is_told_at_once() {
    let ran = run(
        "apiVersion: tagwarden.dev/v2\nkind: ImagePolicyTest\npolicies: []\nnow: 2026-03-01\nnamespaces:\n  Shop: {label: {a: b}}\n\
         registry:\n  nginx: {tags: {v1: \"sha256:1\"}}\nconfig: a.yaml\nsettings: {maxMode: warned, noPolicies: deny}\n\
         cases:\n  - {name: a, image: a, expect: allow}\n  - {name: a, image: a, expect: never}\n  - {}\ncase: []\n",
        &[],
    );
    assert_eq!(
        (ran.code, ran.stdout.as_str()),
        (2, "0 cases, 0 passed, 0 failed; not tested, or not in full: 1 broken file, see the errors\n")
    );
    insta::assert_snapshot!(ran.stderr, @r"
        error: 'tagwarden.dev/v2' is not a value of this key
         --> t.test.yaml:1:13
          |
        1 | apiVersion: tagwarden.dev/v2
          |             ^^^^^^^^^^^^^^^^
          |
          = help: did you mean 'tagwarden.dev/v1'?

        error: '2026-03-01' is not a moment
         --> t.test.yaml:4:6
          |
        4 | now: 2026-03-01
          |      ^^^^^^^^^^
          |
          = help: write one with its offset, as RFC 3339 does: 2026-03-01T00:00:00Z

        error: unknown key 'label'
         --> t.test.yaml:6:10
          |
        6 |   Shop: {label: {a: b}}
          |          ^^^^^
          |
          = help: did you mean 'labels'?

        error: 'warned' is not a value of this key
          --> t.test.yaml:10:21
           |
        10 | settings: {maxMode: warned, noPolicies: deny}
           |                     ^^^^^^
           |
           = help: did you mean 'warn'?

        error: unknown key 'noPolicies'
          --> t.test.yaml:10:29
           |
        10 | settings: {maxMode: warned, noPolicies: deny}
           |                             ^^^^^^^^^^
           |
           = help: did you mean 'noPolicy'?

        error: 'never' is not a value of this key
          --> t.test.yaml:13:33
           |
        13 |   - {name: a, image: a, expect: never}
           |                                 ^^^^^
           |
           = help: valid values: allow, audit, warn, deny, unresolved

        error: the key 'expect' is missing here
          --> t.test.yaml:14:5
           |
        14 |   - {}
           |     ^^

        error: unknown key 'case'
          --> t.test.yaml:15:1
           |
        15 | case: []
           | ^^^^
           |
           = help: did you mean 'cases'?
    ");
    let ran = run(
        "apiVersion: tagwarden.dev/v1\nkind: ImagePolicyTest\npolicies: []\nnow: 2026-03-01T00:00:00Z\n\
                   config: a.yaml\nsettings: {}\nnamespaces: {-a: {}}\nregistry: {nginx: {}}\ncases: []\n",
        &[],
    );
    assert_eq!(ran.code, 2);
    for said in [
        "3:11",
        "no policy is tested here",
        "9:8",
        "a file of tests without a case tests nothing",
        "'config' and 'settings' say the same thing twice",
        "not a name that a namespace can have",
        "write docker.io/library/nginx",
    ] {
        assert!(ran.stderr.contains(said), "{said}: {}", ran.stderr);
    }
}

#[test]
fn facts_of_tests_serve_check_and_explain() {
    let scene = Scene::new(&[("p/strict.yaml", POLICY)]);
    scene.write("t.test.yaml", TEST.replace("DIGEST", DIGEST).as_bytes());
    let image = "registry.example.com/acme/api:env-prod";
    let ran = scene.run(&["explain", "--policies", "p", "--facts", "t.test.yaml", image]);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{}", ran.stdout);
    assert!(ran.stdout.contains(&format!("pinned      {image}@{DIGEST}\n")), "{}", ran.stdout);
    scene.write("t.test.yaml", TEST.replace("DIGEST", "sha256:1").as_bytes());
    let ran = scene.run(&["explain", "--policies", "p", "--facts", "t.test.yaml", image]);
    assert!(ran.code == 2 && ran.stderr.contains("not a digest"), "{ran:?}");
}
