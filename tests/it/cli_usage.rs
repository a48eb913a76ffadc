//! The command line itself: help, version, wrong flags and verbs, schema, closed pipes.

use std::io::Read as _;

use crate::cli_support::Scene;

#[test]
fn help_and_version_go_to_standard_output() {
    let scene = Scene::new(&[]);
    let version = scene.run(&["--version"]);
    assert_eq!((version.code, version.stdout.as_str()), (0, concat!("tagwarden ", env!("CARGO_PKG_VERSION"), "\n")));
    for verb in [
        "serve",
        "check",
        "test",
        "lint",
        "explain",
        "resolve",
        "labels",
        "pin",
        "init",
        "schema",
        "doctor",
        "demo",
        "completions",
        "man",
        "hook",
    ] {
        let help = scene.run(&[verb, "--help"]);
        assert_eq!((help.code, help.stderr.as_str()), (0, ""), "{verb}");
        assert!(help.stdout.contains(&format!("Usage: tagwarden {verb}")), "{}", help.stdout);
        assert!(scene.run(&["--help"]).stdout.contains(&format!("  {verb} ")), "{verb} is missing in the overview");
    }
}

#[test]
fn usage_is_shown_as_a_plugin_of_kubectl_is_called() {
    let scene = Scene::new(&[]);
    let plugin = scene.path().join("kubectl-tagwarden");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_tagwarden"), &plugin).unwrap();
    let output = std::process::Command::new(plugin).args(["check", "--help"]).output().unwrap();
    assert!(String::from_utf8(output.stdout).unwrap().contains("Usage: kubectl tagwarden check"));
}

#[test]
fn what_is_mistyped_is_named_with_the_nearest() {
    let scene = Scene::new(&[]);
    for (arguments, named, nearest) in [
        (&["chek", "x"][..], "'chek'", "'check'"),
        (&["check", "--polices", "p", "x"], "'--polices'", "'--policies'"),
        (&["explain", "--ofline", "x"], "'--ofline'", "'--offline'"),
        (&["check", "--fail-on", "wran", "x"], "'wran'", "warn"),
    ] {
        let ran = scene.run(arguments);
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{arguments:?}");
        assert!(ran.stderr.contains(named) && ran.stderr.contains(nearest), "{}", ran.stderr);
    }
}

#[test]
fn usage_errors_end_with_2_and_say_what_to_do() {
    let scene = Scene::new(&[]);
    for (arguments, said) in [
        (&[][..], "Usage: tagwarden"),
        (&["check"], "<PATH>"),
        (&["check", "--policies", "p", "--exit-zero", "--fail-on", "warn", "x"], "cannot be used with"),
        (&["check", "--namespace", "Shop", "x"], "a-z, 0-9 and '-'"),
        (&["check", "--namespace-labels", "prod", "x"], "KEY=VALUE"),
        (&["check", "--facts", "f", "--offline", "x"], "cannot be used with"),
        (&["explain", "--facts", "f", "--offline", "x"], "cannot be used with"),
        (&["resolve"], "<IMAGE>"),
        (&["resolve", "--format", "table", "a.b/c"], "[possible values: plain, json]"),
        (&["explain"], "<IMAGE>"),
        (&["explain", "--format", "sarif", "a.b/c"], "[possible values: plain, json]"),
        (
            &["schema", "crds"],
            "there is no such schema; use `policy`, `test`, `config`, `release`, `crd` or `release-crd`",
        ),
        (
            &["schema", "polcy"],
            "there is no such schema; use `policy`, `test`, `config`, `release`, `crd` or `release-crd`",
        ),
        (&["release", "set", "r.yaml"], "<IMAGE=VERSION>"),
        (&["release", "set", "r.yaml", "a=v1", "--from-event", "e"], "cannot be used with"),
        (&["release", "set", "r.yaml", "a=v1", "--as", "a b"], "a name has 1 to 128 letters"),
        (&["release", "lock", "r.yaml", "--check", "--write"], "cannot be used with"),
    ] {
        let ran = scene.run(arguments);
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{arguments:?}: {}", ran.stderr);
        assert!(ran.stderr.contains(said), "{arguments:?}: {}", ran.stderr);
    }
}

#[test]
fn the_schemas_of_files_are_printed() {
    let scene = Scene::new(&[]);
    let ran = scene.run(&["schema", "policy"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    assert!(ran.json()["$schema"].as_str().unwrap().contains("draft-07"));
    assert_eq!(scene.run(&["schema"]), ran, "policy is what is meant without a name");
    let config = scene.run(&["schema", "config"]).json();
    let test = scene.run(&["schema", "test"]).json();
    assert!(test["properties"]["cases"].is_object() && test["additionalProperties"] == false, "{test}");
    assert!(config["properties"]["shutdownDelay"].is_object() && config["additionalProperties"] == false, "{config}");
}

/// A deny is shown in red where there is colour at all.
#[test]
fn no_color_wins_over_what_forces_colour() {
    let policy = "apiVersion: tagwarden.dev/v1\nkind: ImagePolicy\nmetadata: {name: p}\n\
                  spec: {mode: enforce, rules: [{images: [\"**\"]}]}\n";
    let pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {containers: [{name: c, image: nginx}]}\n";
    let scene = Scene::new(&[("p/p.yaml", policy), ("pod.yaml", pod)]);
    for (variables, colored) in [
        (&[][..], false),
        (&["FORCE_COLOR"], true),
        (&["CLICOLOR_FORCE"], true),
        (&["FORCE_COLOR", "NO_COLOR"], false),
        (&["CLICOLOR_FORCE", "NO_COLOR"], false),
    ] {
        let mut command = scene.command(&["check", "--policies", "p", "pod.yaml"]);
        command.envs(variables.iter().map(|variable| (variable, "1")));
        let output = command.output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        assert_eq!((output.status.code(), said.contains('\u{1b}')), (Some(1), colored), "{variables:?}: {said:?}");
    }
}

#[test]
fn a_closed_pipe_ends_quietly_with_the_verdict() {
    let policy = "apiVersion: tagwarden.dev/v1\nkind: ImagePolicy\nmetadata: {name: p}\n\
                  spec: {mode: enforce, rules: [{images: [\"**\"]}]}\n";
    let pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: many}\nspec: {containers: [{name: c, image: nginx}]}\n---\n";
    // More than a pipe holds, so that the binary is still writing when the reader has gone.
    let scene = Scene::new(&[("p/p.yaml", policy), ("pods.yaml", &pod.repeat(500))]);
    for format in ["plain", "json"] {
        let arguments = ["check", "--policies", "p", "--format", format, "pods.yaml"];
        let mut child = scene.command(&arguments).spawn().unwrap();
        drop(child.stdout.take());
        let mut stderr = String::new();
        child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
        assert_eq!((child.wait().unwrap().code(), stderr.as_str()), (Some(1), ""), "{format}");
    }
    let mut child = scene.command(&["schema"]).spawn().unwrap();
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn output_that_cannot_be_written_is_an_error() {
    let scene = Scene::new(&[]);
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = scene.command(&["schema"]).stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.starts_with("error: cannot write the output: "), "{said}");
}
