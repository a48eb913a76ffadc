//! `check` and `explain` with facts from a file and from nowhere: what they say, and how they exit.

use crate::cli_support::{Ran, Scene};

/// Digests of the facts: of a release, of another build, and one that nobody has.
const RELEASE: &str = "sha256:1111111111111111111111111111111111111111111111111111111111111111";
const OTHER: &str = "sha256:2222222222222222222222222222222222222222222222222222222222222222";

/// A policy over two repositories: everything is enforced in the one, told in the other.
const POLICY: &str = "apiVersion: tagwarden.dev/v1
kind: ImagePolicy
metadata: {name: p}
spec:
  mode: enforce
  rules:
    - {name: strict, images: [\"r.example.com/acme/**\"], tags: [release, channel], pin: pods}
    - {name: mild, images: [\"r.example.com/mild/**\"], tags: [release, channel], pin: pods, mode: warn}
";

fn facts() -> String {
    let repository = |name: &str, channel: &str| {
        format!("  r.example.com/{name}: {{tags: {{v1.0.0: \"{RELEASE}\", env-prod: \"{channel}\"}}}}\n")
    };
    format!(
        "apiVersion: tagwarden.dev/v1\nkind: ImageFacts\nregistry:\n{}{}{}",
        repository("acme/approved", RELEASE),
        repository("mild/approved", RELEASE),
        repository("acme/unapproved", OTHER)
    )
}

fn scene() -> Scene {
    Scene::new(&[("p/p.yaml", POLICY), ("facts.yaml", &facts())])
}

/// A Pod with these images.
fn pod(images: &[&str]) -> String {
    let container = |(at, image): (usize, &&str)| format!("    - {{name: c{at}, image: \"{image}\"}}\n");
    let containers: String = images.iter().enumerate().map(container).collect();
    format!("apiVersion: v1\nkind: Pod\nmetadata: {{name: a, namespace: shop}}\nspec:\n  containers:\n{containers}")
}

fn check(scene: &Scene, flags: &[&str], images: &[&str]) -> Ran {
    let mut arguments = vec!["check", "--policies", "p", "--format", "json", "-"];
    arguments.extend(flags);
    scene.run_with_input(&arguments, &pod(images))
}

/// The ids found, and the counts of the summary: denied, undecided, warned of.
fn found(ran: &Ran) -> (Vec<String>, [u64; 3]) {
    let json = ran.json();
    let ids = json["findings"].as_array().unwrap().iter().map(|finding| finding["id"].as_str().unwrap().to_owned());
    (ids.collect(), ["deny", "unresolved", "warn"].map(|key| json["summary"][key].as_u64().unwrap()))
}

/// Flags, images, then what must come of them: the exit code, the ids, the counts.
type Case<'c> = (&'c [&'c str], &'c [&'c str], i32, &'c [&'c str], [u64; 3]);

const FILE: &[&str] = &["--facts", "facts.yaml"];
const OFFLINE: &[&str] = &["--offline"];

#[test]
fn facts_decide_and_what_lacks_them_exits_with_3() {
    let scene = scene();
    let mismatch = format!("r.example.com/acme/approved:v1.0.0@{OTHER}");
    let agreeing = format!("r.example.com/acme/approved:v1.0.0@{RELEASE}");
    let cases: &[Case<'_>] = &[
        // Decided by the facts.
        (FILE, &["r.example.com/acme/approved:v1.0.0"], 0, &[], [0, 0, 0]),
        (FILE, &["r.example.com/acme/approved:env-prod"], 0, &[], [0, 0, 0]),
        (FILE, &[&agreeing], 0, &[], [0, 0, 0]),
        (FILE, &["r.example.com/acme/unapproved:env-prod"], 1, &["TW201"], [1, 0, 0]),
        (FILE, &[&mismatch], 1, &["TW200"], [1, 0, 0]),
        // The facts lack a tag, or the whole repository.
        (FILE, &["r.example.com/acme/approved:v9.0.0"], 3, &["TW901"], [0, 1, 0]),
        (FILE, &["r.example.com/acme/elsewhere:v1.0.0"], 3, &["TW900"], [0, 1, 0]),
        // A violation weighs more than what is undecided.
        (
            FILE,
            &["r.example.com/acme/elsewhere:v1.0.0", "r.example.com/acme/approved:latest"],
            1,
            &["TW900", "TW120"],
            [1, 1, 0],
        ),
        // Told, not enforced: it does not count.
        (FILE, &["r.example.com/mild/elsewhere:v1.0.0"], 0, &["TW900"], [0, 0, 1]),
        // Without facts nothing is asked that only a pin needs.
        (OFFLINE, &["r.example.com/acme/approved:v1.0.0"], 0, &[], [0, 0, 0]),
        (OFFLINE, &["r.example.com/acme/approved:env-prod"], 3, &["TW900"], [0, 1, 0]),
        (OFFLINE, &[&agreeing], 3, &["TW900"], [0, 1, 0]),
        (OFFLINE, &["r.example.com/mild/approved:env-prod"], 0, &["TW900"], [0, 0, 1]),
    ];
    for (flags, images, code, ids, counts) in cases {
        let ran = check(&scene, flags, images);
        assert_eq!((ran.code, ran.stderr.as_str()), (*code, ""), "{flags:?} {images:?}: {}", ran.stdout);
        let (found, counted) = found(&ran);
        assert_eq!((found.iter().map(String::as_str).collect::<Vec<_>>().as_slice(), counted), (*ids, *counts));
    }
}

#[test]
fn undecided_is_never_folded_into_another_code() {
    let scene = scene();
    let undecided = &["r.example.com/acme/elsewhere:v1.0.0"];
    let denied = &["r.example.com/acme/approved:latest"];
    for (flags, images, code) in [
        (&["--exit-zero"][..], undecided, 3),
        (&["--exit-zero"], denied, 0),
        (&["--fail-on", "warn"], undecided, 3),
        (&["--fail-on", "warn"], denied, 1),
    ] {
        assert_eq!(check(&scene, &[FILE, flags].concat(), images).code, code, "{flags:?} {images:?}");
    }
    // What is broken weighs more than either.
    let broken = format!("{}---\n}}\n", pod(undecided));
    let ran = scene.run_with_input(&["check", "--policies", "p", "--facts", "facts.yaml", "-"], &broken);
    assert_eq!(ran.code, 2, "{}", ran.stdout);
    assert!(ran.stdout.contains("0 denied, 1 undecided, "), "{}", ran.stdout);
}

#[test]
fn a_template_is_undecided_as_a_pod_is() {
    let scene = scene();
    let deployment = "{apiVersion: apps/v1, kind: Deployment, metadata: {name: a, namespace: b}, spec: {template: \
                      {spec: {containers: [{name: c, image: \"r.example.com/acme/approved:env-prod\"}]}}}}";
    for (flags, code) in [(FILE, 0), (OFFLINE, 3)] {
        let arguments = [&["check", "--policies", "p", "-"], flags].concat();
        assert_eq!(scene.run_with_input(&arguments, deployment).code, code, "{flags:?}");
    }
}

#[test]
fn a_finding_has_the_digest_that_was_learned() {
    let scene = scene();
    let digest = |images: &[&str]| check(&scene, FILE, images).json()["findings"][0]["digest"].clone();
    assert_eq!(digest(&["r.example.com/acme/unapproved:env-prod"]), OTHER);
    // What is written in the image is what a node would run.
    assert_eq!(digest(&[&format!("r.example.com/acme/approved:v1.0.0@{OTHER}")]), OTHER);
    assert_eq!(digest(&["r.example.com/acme/elsewhere:v1.0.0"]), serde_json::Value::Null);
}

#[test]
fn errors_in_facts_are_shown_with_their_places() {
    let broken = facts().replace(OTHER, "sha256:22").replace("kind: ImageFacts", "kind: ImageFact");
    let scene = Scene::new(&[("p/p.yaml", POLICY), ("facts.yaml", &broken)]);
    let ran = check(&scene, FILE, &["r.example.com/acme/approved:v1.0.0"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (2, ""));
    for said in ["--> facts.yaml:2:7", "did you mean 'ImageFacts'?", "--> facts.yaml:6:", "not a digest", "^^^"] {
        assert!(ran.stderr.contains(said), "{said}: {}", ran.stderr);
    }
    let explained =
        scene.run(&["explain", "--policies", "p", "--facts", "facts.yaml", "r.example.com/acme/approved:v1.0.0"]);
    assert_eq!((explained.code, explained.stderr), (2, ran.stderr));

    let absent = check(&scene, &["--facts", "nowhere.yaml"], &["r.example.com/acme/approved:v1.0.0"]);
    assert_eq!((absent.code, absent.stdout.as_str()), (2, ""));
    assert!(
        absent.stderr.contains("cannot be read: no such file or directory\n--> nowhere.yaml\n"),
        "{}",
        absent.stderr
    );
}

fn explain(scene: &Scene, flags: &[&str], image: &str) -> Ran {
    scene.run(&[&["explain", "--policies", "p", "-n", "shop"], flags, &[image]].concat())
}

#[test]
fn explain_shows_the_facts_the_candidates_and_the_pin() {
    let ran = explain(&scene(), FILE, "r.example.com/acme/approved:env-prod");
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    insta::assert_snapshot!(ran.stdout, @r#"
    image       r.example.com/acme/approved:env-prod
    registry    r.example.com
    repository  acme/approved
    tag         env-prod
    digest      none
    class       channel, environment prod
    refused     no
    fact        env-prod is sha256:1111111111111111111111111111111111111111111111111111111111111111
    fact        v1.0.0 is sha256:1111111111111111111111111111111111111111111111111111111111111111
    namespace   shop (labels unknown, so selectors match)
    policy      p: applies
      where     no namespace is named, so it applies to all
      rule      strict names it by "r.example.com/acme/**"
      tag       env-prod: class channel, which tags lists
      mode      digest is enforce by spec.mode
      allowed   by strict
    pinned      r.example.com/acme/approved:env-prod@sha256:1111111111111111111111111111111111111111111111111111111111111111
    verdict     allow
    "#);

    // Where the check is not enforced, admission writes nothing.
    let ran = explain(&scene(), FILE, "r.example.com/mild/approved:v1.0.0");
    let told = format!("pinned      no; were digest enforced: r.example.com/mild/approved:v1.0.0@{RELEASE}\n");
    assert!(ran.stdout.contains(&told), "{}", ran.stdout);

    let ran = explain(&scene(), FILE, "r.example.com/acme/unapproved:env-prod");
    assert_eq!((ran.code, ran.stderr.as_str()), (1, ""));
    assert!(ran.stdout.contains(&format!("fact        v1.0.0 is {RELEASE}\n")), "{}", ran.stdout);
    assert!(!ran.stdout.contains("pinned"), "{}", ran.stdout);
}

#[test]
fn explain_says_what_is_undecided_and_exits_with_3() {
    let scene = scene();
    let ran = explain(&scene, FILE, "r.example.com/acme/elsewhere:v1.0.0");
    assert_eq!((ran.code, ran.stderr.as_str()), (3, ""));
    let fact = "fact        v1.0.0: TW900 the facts do not name r.example.com/acme/elsewhere\n";
    assert!(ran.stdout.contains(fact), "{}", ran.stdout);
    assert!(ran.stdout.ends_with("verdict     unresolved\n"), "{}", ran.stdout);
    let ran = explain(&scene, OFFLINE, "r.example.com/acme/approved:env-prod");
    assert_eq!(ran.code, 3);
    assert!(ran.stdout.contains("no registry was asked (--offline)"), "{}", ran.stdout);
    assert_eq!(explain(&scene, OFFLINE, "r.example.com/acme/approved:v1.0.0").code, 0);
    assert_eq!(explain(&scene, FILE, "r.example.com/mild/elsewhere:v1.0.0").code, 0);
}

#[test]
fn explain_tells_programs_of_facts_and_pins() {
    let scene = scene();
    let json = |flags: &[&str], image: &str| {
        let flags = [flags, &["--format", "json"]].concat();
        let json = explain(&scene, &flags, image).json();
        ["facts", "pinned", "decision"].map(|key| json[key].clone())
    };
    let fact = |tag: &str, digest: &str| serde_json::json!({"tag": tag, "digest": digest, "source": "now", "movedFrom": null, "undecided": null});
    let approved = format!("r.example.com/acme/approved:env-prod@{RELEASE}");
    assert_eq!(
        json(FILE, "r.example.com/acme/approved:env-prod"),
        [serde_json::json!([fact("env-prod", RELEASE), fact("v1.0.0", RELEASE)]), approved.into(), "allow".into()]
    );
    let undecided =
        serde_json::json!({"id": "TW901", "message": "the facts name r.example.com/acme/approved, without v9.0.0"});
    assert_eq!(
        json(FILE, "r.example.com/acme/approved:v9.0.0"),
        [
            serde_json::json!([{"tag": "v9.0.0", "digest": null, "source": null, "movedFrom": null, "undecided": undecided}]),
            serde_json::Value::Null,
            "unresolved".into()
        ]
    );
    assert_eq!(
        json(OFFLINE, "r.example.com/acme/approved:v1.0.0"),
        [serde_json::json!([]), serde_json::Value::Null, "allow".into()]
    );
}
