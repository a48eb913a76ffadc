//! What people do wrong with releases, and what they are told: nothing is lost, and the remedy is named.

use std::fs;

use crate::cli_release::{DESIGN, push, read, release, scene, shown};
use crate::cli_support::{Ran, Scene};

const POLICY: &str = "apiVersion: tagwarden.dev/v1
kind: ImagePolicy
metadata: {name: own}
spec:
  mode: enforce
  rules:
    - {name: ours, images: [\"r.example.com/acme/*\"], release: require}
";

const OLD: &str = "release: system-1\nimages: {app: {repo: r.example.com/acme/app, tag: v1.2.2}}\n";

/// Runs `explain` of an image of the release against a policy that requires one.
fn explain(scene: &Scene, flags: &[&str], image: &str) -> Ran {
    scene.write("policies/own.yaml", POLICY.as_bytes());
    scene.run(&[&["explain", "--policies", "policies", "--offline"], flags, &[image]].concat())
}

#[test]
fn values_never_take_the_place_of_their_release() {
    let (scene, _loopback) = scene();
    fs::hard_link(scene.path().join("r.yaml"), scene.path().join("hard.yaml")).unwrap();
    std::os::unix::fs::symlink("r.yaml", scene.path().join("soft.yaml")).unwrap();
    let told = "error: --output is the release file itself, and values would take its place: name another file\n";
    for output in ["r.yaml", "./r.yaml", "hard.yaml", "soft.yaml"] {
        let ran = scene.run(&["release", "values", "r.yaml", "-o", output]);
        assert_eq!((ran.code, ran.stderr.as_str()), (2, told), "{output}");
        assert_eq!(read(&scene, "r.yaml"), DESIGN);
    }
    scene.write("other.yaml", b"old");
    assert_eq!(scene.run(&["release", "values", "r.yaml", "-o", "other.yaml"]).code, 0, "another file is replaced");
    assert!(read(&scene, "other.yaml").starts_with("# The release system-2026-01-11-expA ("));
}

#[test]
fn the_release_on_standard_input_is_not_written_over_either() {
    let (scene, _loopback) = scene();
    let run = |output: &str| {
        let input = fs::File::open(scene.path().join("r.yaml")).unwrap();
        let mut command = scene.command(&["release", "values", "-", "-o", output]);
        command.stdin(input).output().unwrap().status.code()
    };
    assert_eq!((run("r.yaml"), read(&scene, "r.yaml").as_str()), (Some(2), DESIGN));
    assert_eq!(run("v.yaml"), Some(0));
}

#[test]
fn a_previous_release_that_is_not_given_is_told_and_one_in_vain_too() {
    let next = DESIGN.replace("release: system-2026-01-11-expA", "release: system-2\nprevious: [system-1]");
    let scene = Scene::new(&[("new.yaml", &next), ("old.yaml", OLD), ("releases/new.yaml", &next)]);
    scene.write("config.yaml", b"releases: [{dir: releases}]\n");
    let image = "r.example.com/acme/app:v1.2.2";
    let alone = explain(&scene, &["--release", "new.yaml"], image);
    let told = "note: the release 'system-2' lists 'system-1' in 'previous', which is not loaded, and not allowed\n";
    assert_eq!((alone.code, alone.stderr.as_str()), (1, told));
    let both = explain(&scene, &["--release", "new.yaml", "--release", "old.yaml"], image);
    assert_eq!((both.code, both.stderr.as_str()), (0, ""));
    let swapped = explain(&scene, &["--release", "old.yaml", "--release", "new.yaml"], image);
    let told = "note: --release of system-2 has no effect: system-1, which governs, does not list it as previous\n";
    assert_eq!((swapped.code, swapped.stderr.as_str()), (0, told));
    let told = "note: the release 'system-2' lists 'system-1' in 'previous', which is not loaded, and not allowed\n";
    let configured = explain(&scene, &["--config", "config.yaml"], image);
    assert_eq!((configured.code, configured.stderr.as_str()), (1, told));
}

#[test]
fn a_check_says_that_a_digest_is_a_childs() {
    let (scene, loopback) = scene();
    assert_eq!(release(&scene, &["lock", "--write", "r.yaml"]).code, 0);
    let app = shown(&scene, "r.yaml")["images"][0].clone();
    let (index, child) = (app["digest"].as_str().unwrap(), app["platforms"]["linux/arm64"].as_str().unwrap());
    scene.write("child.yaml", DESIGN.replace("tag: v1.2.3", &format!("tag: v1.2.3, digest: '{child}'")).as_bytes());
    let told = format!("error: the digest is that of linux/arm64 alone, and v1.2.3 is the index {index}\n");
    let check = release(&scene, &["lock", "--check", "child.yaml"]);
    assert!(check.code == 4 && check.stdout.contains(&told), "{}", check.stdout);
    let unlocked =
        "error: it has no id: it is not locked\n--> child.yaml\n = help: `tagwarden release lock --write` adds it\n";
    assert!(check.stdout.contains(unlocked) && !check.stdout.contains("something changed"), "{}", check.stdout);
    let locked = release(&scene, &["lock", "child.yaml"]);
    assert!(locked.code == 4 && locked.stderr.contains(&told), "{}", locked.stderr);

    let new = push(&loopback, "acme/app", "v1.2.3", "2", None, &["linux/amd64", "linux/arm64"]);
    let before = loopback.registry.requests();
    let moved = release(&scene, &["lock", "--check", "r.yaml"]);
    assert!(moved.stdout.contains(&format!("error: the tag has moved: v1.2.3 is {new}, and ")), "{}", moved.stdout);
    assert!(loopback.registry.requests() - before <= 5, "one HEAD each, and what moved once more");
}

#[test]
fn a_stale_lock_is_a_warning_wherever_it_is_read() {
    let (scene, _loopback) = scene();
    assert_eq!(release(&scene, &["lock", "--write", "r.yaml"]).code, 0);
    let image = "r.example.com/acme/app:v1.2.3";
    let values = || scene.run(&["release", "values", "r.yaml"]);
    let whole = explain(&scene, &["--release", "r.yaml"], image);
    assert_eq!((values().stderr.as_str(), whole.stderr.as_str()), ("", ""));
    scene.write("r.yaml", read(&scene, "r.yaml").replace("10, stableWeight: 90", "20, stableWeight: 80").as_bytes());
    scene.write(
        "pod.yaml",
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: p}}\nspec: {{containers: [{{name: a, image: {image}}}]}}\n"
        )
        .as_bytes(),
    );
    let check = scene.run(&["check", "--policies", "policies", "--offline", "--release", "r.yaml", "pod.yaml"]);
    for ran in [values(), explain(&scene, &["--release", "r.yaml"], image), check] {
        assert!(ran.stderr.contains("warning: the id sha256:"), "{}", ran.stderr);
        assert!(ran.stderr.contains("`tagwarden release lock --write` seals it again"), "{}", ran.stderr);
    }
    scene.write("never.yaml", DESIGN.as_bytes());
    assert_eq!(explain(&scene, &["--release", "never.yaml"], image).stderr, "", "never locked is no stale lock");
}

#[test]
fn set_checks_its_arguments_before_the_file() {
    let (scene, loopback) = scene();
    push(&loopback, "acme/app", "v1.2.4", "3", None, &["linux/amd64"]);
    let shared = DESIGN.replace("images:\n", "images:\n  job: {repo: r.example.com/acme/app, tag: v1.2.3}\n");
    scene.write("shared.yaml", shared.as_bytes());
    let wrong = "invalid value 'app=ghcr.io/acme/app:v1.3.0' for '[IMAGE=VERSION]...': write the tag alone: app=v1.3.0";
    for (arguments, told) in [
        (&["r.yaml", "app=v1.2.4", "app=v1.2.5"][..], "app is given twice: give each image one version\n"),
        (&["r.yaml", "app=ghcr.io/acme/app:v1.3.0"], wrong),
        (&["r.yaml", "app=sha256:12"], "invalid value 'app=sha256:12' for '[IMAGE=VERSION]...': write app=@sha256:12"),
        (&["r.yaml", "app=latest"], "invalid value 'app=latest' for '[IMAGE=VERSION]...': the tag 'latest' moves"),
        (
            &["shared.yaml", "app=v1.2.4"],
            "with app=v1.2.4: the repository 'r.example.com/acme/app' stands here at two versions\n--> shared.yaml\n",
        ),
    ] {
        let ran = release(&scene, &[&["set"], arguments].concat());
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{arguments:?}");
        assert!(ran.stderr.starts_with(&format!("error: {told}")), "{arguments:?}: {}", ran.stderr);
    }
    scene.write("event.json", b"{\"image\": \"r.example.com/acme/app\", \"tag\": \"latest\"}");
    let event = release(&scene, &["set", "r.yaml", "--from-event", "event.json"]);
    let told = "error: event.json is no event to trust: the tag 'latest' moves, and a release names versions: ";
    assert!(event.code == 2 && event.stderr.starts_with(told), "{}", event.stderr);
    assert_eq!(release(&scene, &["set", "shared.yaml", "app=v1.2.4", "job=v1.2.4"]).code, 0);
}

#[test]
fn explain_names_the_release_its_image_and_what_is_missing_for_one() {
    let scene = Scene::new(&[("r.yaml", DESIGN), ("config.yaml", "trustedNamespaceLabels: [example.com/release]\n")]);
    let config = "releases: [{dir: releases, currentLabel: example.com/release}]\ntrustedNamespaceLabels: [example.com/release]\n";
    scene.write("config.yaml", config.as_bytes());
    scene.write("releases/r.yaml", DESIGN.as_bytes());
    let image = "r.example.com/acme/app:v1.2.3";
    let id = shown(&scene, "r.yaml")["id"].as_str().unwrap().to_owned();
    let label = ["--config", "config.yaml", "--namespace-labels", "example.com/release=system-2026-01-11-expA"];
    for (flags, by) in [(&["--release", "r.yaml"][..], "--release"), (&label, "configuration")] {
        let ran = explain(&scene, flags, image);
        let line = format!("\nrelease     system-2026-01-11-expA ({}), by {by}\n", &id[..19]);
        assert!(ran.code == 0 && ran.stdout.contains(&line), "{}", ran.stdout);
        let reason = "\n  release   rule ours asks for one: it is app of system-2026-01-11-expA (v1.2.3)\n";
        assert!(ran.stdout.contains(reason), "{}", ran.stdout);
        let json = explain(&scene, &[flags, &["--format", "json"]].concat(), image).json();
        assert_eq!(
            (json["release"]["name"].as_str(), json["release"]["by"].as_str()),
            (Some("system-2026-01-11-expA"), Some(by))
        );
        assert_eq!(
            (json["release"]["id"].as_str(), &json["release"]["whyNone"]),
            (Some(&*id), &serde_json::Value::Null)
        );
    }
    let other = explain(&scene, &["--release", "r.yaml"], "r.example.com/acme/app:v9.9.9");
    assert!(other.stdout.contains("\n  release   rule ours asks for one: not met\n"), "{}", other.stdout);
    let none = explain(&scene, &[], image);
    let why = "no release governs the namespace default; 'releases' of the configuration name none (on the command line: \
               --release FILE, or --config)\n";
    assert!(none.code == 1 && none.stdout.contains(&format!("\nrelease     none: {why}")), "{}", none.stdout);
    let unknown = explain(&scene, &["--config", "config.yaml"], image);
    assert_eq!(unknown.code, 3);
    assert!(
        unknown.stdout.contains("try again (on the command line: --namespace-labels KEY=VALUE)"),
        "{}",
        unknown.stdout
    );
    let unasked = explain(&scene, &["--release", "r.yaml", "--format", "json"], "r.example.com/other:v1").json();
    assert_eq!(unasked["release"], serde_json::Value::Null, "no rule asks");
}

#[test]
fn the_wrong_kind_of_file_is_named() {
    let scene = Scene::new(&[("r.yaml", DESIGN), ("policies/own.yaml", POLICY)]);
    let linted = scene.run(&["lint", "r.yaml"]);
    assert_eq!(linted.code, 2);
    assert!(linted.stdout.starts_with("error: this is a release file, and not a policy\n"), "{}", linted.stdout);
    assert_eq!(scene.run(&["lint", "policies/own.yaml"]).code, 0);
    for (path, told, help) in [
        ("policies/own.yaml", "this is an object, and not a release file", "`tagwarden lint` reads policies"),
        ("policies", "cannot be read: is a directory", "name a file in it"),
    ] {
        let ran = scene.run(&["release", "show", path]);
        assert!(ran.code == 2 && ran.stderr.contains(told) && ran.stderr.contains(help), "{path}: {}", ran.stderr);
    }
}
