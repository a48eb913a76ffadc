//! `tagwarden check --cluster` against real controllers: whose Pods they are, and who may not ask.

use crate::harness::{Cluster, PATIENCE, User, program, until};
use crate::objects::{BAD, BASIC, GOOD, pod};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::process::Command;

/// How a run ended.
struct Ran {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

/// Runs `check --cluster` on this namespace with the suite's ordinary policy.
fn check(cluster: &Cluster, user: User, namespace: &str, policies: &Path) -> Ran {
    let output = Command::new(program())
        .args(["check", "--cluster", "--offline", "--format", "json", "--namespace", namespace, "--policies"])
        .arg(policies)
        .env("KUBECONFIG", cluster.kubeconfig(user))
        .output()
        .unwrap();
    Ran {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

fn spec(image: &str) -> Value {
    json!({"metadata": {"labels": {"app": "x"}}, "spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": image}]}})
}

/// `kind/name: image, Pods` of every finding.
fn listed(report: &Value) -> Vec<String> {
    let findings = report["findings"].as_array().into_iter().flatten();
    let line = |finding: &Value| {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let object = &finding["object"];
        format!("{}/{}: {}, {}", text(&object["kind"]), text(&object["name"]), text(&finding["image"]), finding["pods"])
    };
    findings.map(line).collect()
}

#[test]
fn what_runs_is_judged_under_the_name_of_whoever_owns_it() {
    let (cluster, namespace) = (Cluster::shared(), "check-cluster");
    cluster.create_namespace(namespace, &json!({}));
    let admin = cluster.as_user(User::Admin).within(namespace);
    let mut template = spec(BAD);
    template["spec"]["restartPolicy"] = "Always".into();
    let deployment = |name: &str, image: &str| {
        let mut template = template.clone();
        template["spec"]["containers"][0]["image"] = image.into();
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
            "spec": {"replicas": 2, "selector": {"matchLabels": {"app": "x", "name": name}},
                "template": {"metadata": {"labels": {"app": "x", "name": name}}, "spec": template["spec"]}}})
    };
    admin.create(&deployment("bad", BAD)).accepted();
    admin.create(&deployment("good", GOOD)).accepted();
    let job = json!({"spec": {"template": spec(BAD)}});
    let nightly = json!({"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "nightly"},
        "spec": {"schedule": "0 0 1 1 *", "jobTemplate": job}});
    admin.create(&nightly).accepted();
    admin.create(&pod("bare", BAD)).accepted();

    let policies = cluster.folder("check-cluster-policies");
    fs::write(policies.join("basic.yaml"), BASIC).unwrap();
    let report = until("the Deployments to have their Pods", PATIENCE, || {
        let ran = check(cluster, User::Admin, namespace, &policies);
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(1), ""), "{}", ran.stdout);
        let report: Value = serde_json::from_str(&ran.stdout).unwrap();
        (report["summary"]["running"]["pods"] == 5).then_some(report)
    });
    let expected =
        [format!("CronJob/nightly: {BAD}, 0"), format!("Deployment/bad: {BAD}, 2"), format!("Pod/bare: {BAD}, 1")];
    assert_eq!(listed(&report), expected, "{report}");

    // Somebody without any right is told what he lacks.
    let ran = check(cluster, User::Node, namespace, &policies);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""));
    assert!(ran.stderr.starts_with("error: cannot read namespaces: "), "{}", ran.stderr);
    let _ = cluster.as_user(User::Admin).run(&["delete", "namespace", namespace, "--wait=false"]);
}
