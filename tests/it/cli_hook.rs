//! `tagwarden hook` as far as it comes without a cluster: its arguments, its files, and nobody to talk to.

use crate::api_double::kubeconfig;
use crate::cli_support::{Ran, Scene};

const POLICY: &str = "apiVersion: tagwarden.dev/v1
kind: ImagePolicy
metadata: {name: basic}
spec:
  mode: enforce
  rules:
    - {name: first-party, images: [\"registry.example.com/acme/**\"], tags: [release]}
";
const CONFIG: &str = "policies: {dirs: [policies]}\nwebhooks: {validating: tagwarden, mutating: tagwarden}\n";

/// Runs a hook with a cluster that nobody serves, which is reached by the file `kubeconfig` of the scene.
fn run(scene: &Scene, arguments: &[&str]) -> Ran {
    let mut command = scene.command(&[&["hook"][..], arguments].concat());
    command.env("KUBECONFIG", scene.path().join("kubeconfig")).env_remove("KUBERNETES_SERVICE_HOST");
    Ran::from(command.output().unwrap())
}

/// The way to an API server whose port was free a moment ago.
fn nowhere() -> String {
    kubeconfig(std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap())
}

fn scene(config: &str, policy: &str) -> Scene {
    Scene::new(&[("config.yaml", config), ("policies/basic.yaml", policy), ("kubeconfig", &nowhere())])
}

#[test]
fn help_says_who_runs_it_and_what_it_does() {
    let scene = Scene::new(&[]);
    let overview = scene.run(&["hook", "--help"]).stdout;
    for (hook, said) in [("pre-delete", "helm uninstall --no-hooks"), ("test", "helm test")] {
        assert!(overview.contains(&format!("  {hook} ")), "{overview}");
        let help = scene.run(&["hook", hook, "--help"]);
        assert!(help.code == 0 && help.stdout.contains(said), "{}", help.stdout);
        for (arguments, said) in
            [(&["--timeout", "5s"][..], "--config"), (&["--config", "x", "--timeout", "0s"], "from 1s to 1h")]
        {
            let ran = scene.run(&[&["hook", hook], arguments].concat());
            assert!(ran.code == 2 && ran.stderr.contains(said), "{}", ran.stderr);
        }
    }
}

#[test]
fn a_configuration_that_does_not_compile_is_shown_with_its_line() {
    let scene = scene("policies: {dirs: [policies]}\nwebhook: {}\n", POLICY);
    for hook in ["pre-delete", "test"] {
        let ran = run(&scene, &[hook, "--config", "config.yaml"]);
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""));
        assert!(ran.stderr.contains("config.yaml:2:1") && ran.stderr.contains("'webhooks'"), "{}", ran.stderr);
    }
}

#[test]
fn an_uninstall_needs_only_the_names_of_the_webhooks() {
    for (config, goes_on) in [
        (format!("{CONFIG}limitz: {{}}\n"), true),
        (format!("{CONFIG}log: {{level: loud}}\n"), true),
        (CONFIG.replace("mutating:", "mutatin:"), false),
        (CONFIG.replace("mutating: tagwarden", "mutating: Not_A_Name"), false),
        (format!("{CONFIG}webhooks: {{validating: other}}\n"), false),
        (format!("{CONFIG}---\nwebhooks: {{}}\n"), false),
    ] {
        let scene = scene(&config, POLICY);
        let ran = run(&scene, &["pre-delete", "--config", "config.yaml", "--timeout", "1s"]);
        assert!(ran.code == 2 && ran.stderr.contains("config.yaml:"), "the mistake is told: {}", ran.stderr);
        assert_eq!(ran.stderr.contains("note: only 'webhooks' is needed"), goes_on, "{config}: {}", ran.stderr);
        assert_eq!(
            ran.stdout.matches("failed  cannot delete the ").count(),
            if goes_on { 2 } else { 0 },
            "{}",
            ran.stdout
        );
        let tested = run(&scene, &["test", "--config", "config.yaml", "--timeout", "1s"]);
        assert!(!tested.stdout.contains("ok "), "the test asks for all of it: {}", tested.stdout);
    }
}

#[test]
fn a_configuration_without_names_of_webhooks_is_of_no_use_to_a_hook() {
    let scene = scene("policies: {dirs: [policies]}\n", POLICY);
    for (hook, key) in [("pre-delete", "'webhooks.mutating'"), ("test", "'webhooks.validating'")] {
        let ran = run(&scene, &[hook, "--config", "config.yaml"]);
        assert_eq!(ran.code, 2);
        assert!(ran.stderr.contains("config.yaml names no webhook configuration"), "{}", ran.stderr);
        assert!(ran.stderr.contains(key), "{}", ran.stderr);
    }
}

#[test]
fn policies_that_do_not_compile_fail_the_test_with_line_and_caret() {
    let scene = scene(CONFIG, &POLICY.replace("tags: [release]", "tags: [relase]"));
    let ran = run(&scene, &["test", "--config", "config.yaml"]);
    assert_eq!(ran.code, 2);
    assert_eq!(
        ran.stdout,
        "ok      configuration: config.yaml compiles\n\
         failed  policies: they do not compile, see the lines with carets; correct them\n"
    );
    assert!(ran.stderr.contains("policies/basic.yaml:7:"), "{}", ran.stderr);
    assert!(ran.stderr.contains("relase") && ran.stderr.contains('^'), "{}", ran.stderr);
}

#[test]
fn no_policy_at_all_is_one_the_server_would_not_be_ready_with() {
    let empty = Scene::new(&[("config.yaml", CONFIG), ("policies/readme.txt", "x"), ("kubeconfig", &nowhere())]);
    let ran = run(&empty, &["test", "--config", "config.yaml"]);
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.contains("there is no policy at all"), "{}", ran.stderr);
    let missing = Scene::new(&[("config.yaml", CONFIG), ("kubeconfig", &nowhere())]);
    let ran = run(&missing, &["test", "--config", "config.yaml"]);
    assert!(ran.code == 2 && ran.stdout.contains("failed  policies: "), "{ran:?}");
}

#[test]
fn an_api_server_that_is_away_is_asked_until_the_timeout() {
    let scene = scene(CONFIG, POLICY);
    let tested = run(&scene, &["test", "--config", "config.yaml", "--timeout", "1s"]);
    assert_eq!(tested.code, 2);
    assert!(tested.stdout.contains("ok      policies: 1 compile, hash "), "{}", tested.stdout);
    let problem = "cannot read the ValidatingWebhookConfiguration 'tagwarden': the API server cannot be asked";
    assert!(tested.stdout.contains(&format!("failed  {problem}")), "{}", tested.stdout);
    assert_eq!(tested.stderr.matches("waiting ").count(), 1, "the same problem is told once: {}", tested.stderr);
    let deleted = run(&scene, &["pre-delete", "--config", "config.yaml", "--timeout", "1s"]);
    assert_eq!(deleted.code, 2);
    for kind in ["Validating", "Mutating"] {
        let failed = format!("failed  cannot delete the {kind}WebhookConfiguration 'tagwarden': ");
        assert!(deleted.stdout.contains(&failed), "{}", deleted.stdout);
    }
}

#[test]
fn outside_a_cluster_a_kubeconfig_is_needed() {
    let scene = scene(CONFIG, POLICY);
    for hook in ["pre-delete", "test"] {
        let mut command = scene.command(&["hook", hook, "--config", "config.yaml"]);
        command.env_remove("KUBECONFIG").env_remove("KUBERNETES_SERVICE_HOST");
        let ran = Ran::from(command.output().unwrap());
        assert_eq!(ran.code, 2);
        assert!(
            ran.stderr.contains("this is no Pod and KUBECONFIG is not set: name a cluster there"),
            "{}",
            ran.stderr
        );
    }
}
