//! `tagwarden doctor` and `check --cluster` on a cluster that lives: broken states are planted one by one, found with their
//! remedy, and gone again when they are mended.

use crate::Bed;
use crate::harness::{API, FLOATING, INFRASTRUCTURE, Kubectl, NAMESPACE, PATIENCE, Release};
use crate::harness::{merged, policy, until, until_true, workload};
use serde_json::{Value, json};
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

const VALIDATING: &str = "validatingwebhookconfiguration/tagwarden";
const MUTATING: &str = "mutatingwebhookconfiguration/tagwarden";
/// Our Service's names.
const NAMES: [&str; 2] = ["tagwarden.tagwarden.svc", "tagwarden.tagwarden.svc.cluster.local"];

/// The program under test as an admin runs it.
fn tagwarden(bed: &Bed, arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tagwarden"));
    command.args(arguments).env("KUBECONFIG", bed.cluster.kubeconfig()).env("HOME", bed.cluster.scratch());
    let output = command.output().expect("the program starts");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("it prints text");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// What doctor says now: its exit code and its report.
fn doctor(bed: &Bed) -> (Option<i32>, Value) {
    let (code, stdout, stderr) = tagwarden(bed, &["doctor", "--format", "json"]);
    let report = serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{error}: {stdout}{stderr}"));
    (code, report)
}

/// Codes of what is found, in order.
fn codes(report: &Value) -> Vec<String> {
    let lines = report["checks"].as_array().into_iter().flatten();
    lines.filter_map(|line| line["code"].as_str().map(str::to_owned)).collect()
}

/// Waits until nothing at all is found.
fn healthy(bed: &Bed) {
    let mut told = Vec::new();
    until("doctor to find nothing", 2 * PATIENCE, || {
        let (code, report) = doctor(bed);
        let codes = codes(&report);
        if codes != told {
            println!("    not yet well: {}", codes.join(", "));
            told.clone_from(&codes);
        }
        (code == Some(0) && codes.is_empty()).then_some(())
    });
}

/// Waits until this is found, with what is to be done about it and an exit code that fits.
fn finds(bed: &Bed, code: &str) -> Value {
    let found = until(&format!("doctor to find {code}"), 2 * PATIENCE, || {
        let (exit, report) = doctor(bed);
        let line = report["checks"].as_array()?.iter().find(|line| line["code"] == code)?.clone();
        let grave = line["level"] == "problem";
        assert!(!grave || exit == Some(1), "a problem is exit code 1: {exit:?}, {report}");
        Some(line)
    });
    assert!(found["remedy"].as_str().is_some_and(|remedy| remedy.len() > 20), "{found}");
    println!("    {code}: {}", found["message"].as_str().unwrap_or_default());
    found
}

/// An object as it is, to be put back.
fn saved(admin: &Kubectl, what: &str) -> Value {
    let mut object = admin.get(what).unwrap_or_else(|| panic!("there is no {what}"));
    let metadata = object["metadata"].as_object_mut().expect("an object has metadata");
    for key in ["resourceVersion", "uid", "managedFields", "creationTimestamp", "generation"] {
        metadata.remove(key);
    }
    object.as_object_mut().expect("it is an object").remove("status");
    object
}

/// Breaks an object by a JSON patch, or deletes it; finds the codes, puts it back, and waits until all is well.
fn planted(bed: &Bed, what: &str, patch: Option<&Value>, expected: &[&str]) {
    let admin = bed.release().admin();
    let before = saved(&admin, what);
    match patch {
        Some(patch) => admin.run(&["patch", what, "--type=json", "-p", &patch.to_string()]).accepted(),
        None => admin.run(&["delete", what]).accepted(),
    };
    for code in expected {
        finds(bed, code);
    }
    if admin.get(what).is_none() {
        admin.run_with(&["create", "-f", "-"], &before.to_string()).accepted();
    } else {
        admin.run_with(&["replace", "-f", "-"], &before.to_string()).accepted();
    }
    healthy(bed);
}

/// Enforcing, with objects as policies too.
fn values(release: &Release<'_>) -> Value {
    merged(&release.enforcing(), &json!({"imagePolicies": {"enabled": true}}))
}

pub fn broken_states_are_found(bed: &Bed) {
    let release = bed.release();
    release.install(&values(&release));
    healthy(bed);
    let (code, stdout, stderr) = tagwarden(bed, &["doctor"]);
    println!("{stdout}");
    assert_eq!((code, stderr.as_str()), (Some(0), ""), "{stdout}");

    let replace = |path: &str, value: Value| json!([{"op": "replace", "path": path, "value": value}]);
    planted(bed, VALIDATING, None, &["validating-missing"]);
    planted(bed, MUTATING, None, &["mutating-missing"]);
    planted(bed, VALIDATING, Some(&replace("/webhooks/0/failurePolicy", "Ignore".into())), &["failure-policy-open"]);
    let names = json!(["kube-system", "kube-node-lease", INFRASTRUCTURE]);
    let path = "/webhooks/0/namespaceSelector/matchExpressions/0/values";
    planted(bed, VALIDATING, Some(&replace(path, names)), &["namespace-not-excluded"]);
    planted(bed, VALIDATING, Some(&replace("/webhooks/0/rules/0/operations", json!(["CREATE"]))), &["webhook-rules"]);
    let selector = replace("/spec/selector", json!({"app": "nobody"}));
    // The API server goes on calling over the connection that it has: only the objects tell.
    planted(bed, "service/tagwarden", Some(&selector), &["service-selects-none", "service-no-endpoints"]);
    planted(bed, "poddisruptionbudget/tagwarden", None, &["budget-missing"]);
    let bare = json!([{"op": "remove", "path": "/rules/0"}]);
    planted(bed, "clusterrole/tagwarden", Some(&bare), &["permission-missing"]);
}

pub fn a_ca_bundle_that_nobody_repairs_is_found(bed: &Bed) {
    let release = bed.release();
    release.install(&values(&release));
    healthy(bed);
    // The elected replica repairs an edit within two seconds; without its right it cannot.
    let admin = release.admin();
    let role = saved(&admin, "clusterrole/tagwarden");
    let configurations = [saved(&admin, VALIDATING), saved(&admin, MUTATING)];
    let verbs = json!([{"op": "replace", "path": "/rules/1/verbs", "value": ["get"]}]).to_string();
    admin.run(&["patch", "clusterrole/tagwarden", "--type=json", "-p", &verbs]).accepted();
    finds(bed, "permission-missing");
    let stranger = crate::tls::base64(&crate::harness::Authority::new("stranger").pem);
    for (patch, codes) in [
        (
            json!([{"op": "replace", "path": "/webhooks/0/clientConfig/caBundle", "value": stranger}]),
            &["ca-bundle-distrusts", "ca-bundle-edited", "review-failed"][..],
        ),
        (json!([{"op": "remove", "path": "/webhooks/0/clientConfig/caBundle"}]), &["ca-bundle-empty"]),
    ] {
        admin.run(&["patch", VALIDATING, "--type=json", "-p", &patch.to_string()]).accepted();
        for code in codes {
            finds(bed, code);
        }
        let (_, stdout, _) = tagwarden(bed, &["doctor"]);
        println!("{stdout}");
    }
    admin.run_with(&["replace", "-f", "-"], &role.to_string()).accepted();
    for configuration in configurations {
        admin.run_with(&["replace", "-f", "-"], &configuration.to_string()).accepted();
    }
    healthy(bed);
}

pub fn policies_that_are_not_in_force_are_found(bed: &Bed) {
    let release = bed.release();
    release.install(&values(&release));
    healthy(bed);
    let admin = release.admin();
    let wrong = json!({
        "apiVersion": "tagwarden.dev/v1", "kind": "ImagePolicy", "metadata": {"name": "typo"},
        "spec": {"mode": "enforce", "namespaces": {"include": ["nowhere"]}, "rules": [{"images": ["**"], "tagz": ["release"]}]},
    });
    admin.run_with(&["apply", "--validate=false", "-f", "-"], &wrong.to_string()).accepted();
    let found = finds(bed, "policy-object-refused");
    assert!(
        found["message"].as_str().is_some_and(|message| message.contains("typo") && message.contains("tagz")),
        "{found}"
    );
    admin.run(&["delete", "imagepolicies.tagwarden.dev/typo"]).accepted();
    healthy(bed);

    let broken = json!({"data": {"acme.yaml": "apiVersion: tagwarden.dev/v1\nkind: ImagePolicy\nspec: {rulez: []}\n"}});
    admin.run(&["patch", "configmap/tagwarden-policies", "-p", &broken.to_string()]).accepted();
    release.policies_read(false);
    let found = finds(bed, "policies-refused");
    assert!(found["message"].as_str().is_some_and(|message| message.contains("rulez")), "says what is wrong: {found}");
    release.change(&values(&release), &values(&release)).accepted();
    release.policies_read(true);
    healthy(bed);

    // What looks like the cluster's own network is judged, while we fail closed.
    let inside = bed.cluster.namespace("doctor-cni", &json!({}));
    let mut daemons = workload("DaemonSet", "cni", bed.cluster.running_image());
    daemons["spec"]["template"]["spec"]["hostNetwork"] = true.into();
    daemons["spec"]["template"]["spec"]["nodeSelector"] = json!({"no": "node"});
    inside.apply(&daemons).accepted();
    finds(bed, "infrastructure-unlisted");
    bed.cluster.admin().run(&["delete", "namespace", "doctor-cni"]).accepted();
    healthy(bed);
}

pub fn a_certificate_that_has_ended_is_found(bed: &Bed) {
    let release = bed.release();
    release.remove();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is set").as_secs();
    let now = i64::try_from(now).expect("a date of this age");
    let authority = tagwarden::certs::Authority::new("own", now, 30 * 86_400).expect("an authority can be made");
    let inside = bed.cluster.namespace(NAMESPACE, &json!({"pod-security.kubernetes.io/enforce": "restricted"}));
    let secret = |lifetime: i64| {
        let pair = authority.server(&NAMES.map(str::to_owned), now, lifetime).expect("it signs");
        json!({
            "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls", "metadata": {"name": "ending"},
            "stringData": {"tls.crt": pair.cert, "tls.key": pair.key},
        })
    };
    inside.apply(&secret(20 * 86_400)).accepted();
    let mut values = release.enforcing();
    values["tls"] = json!({"existingSecret": "ending", "caBundle": authority.pem()});
    release.install(&values);
    healthy(bed);
    inside.apply(&secret(-60)).accepted();
    until("the replicas to serve it", 4 * PATIENCE, || {
        codes(&doctor(bed).1).contains(&"certificate-expired".to_owned()).then_some(())
    });
    finds(bed, "certificate-expired");
    finds(bed, "ca-bundle-distrusts");
    let found = finds(bed, "replica-not-ready");
    let said = found["message"].as_str().unwrap_or_default().contains("is not ready: certificate: has ended");
    assert!(said, "the replica itself says why: {found}");
    release.remove();
    inside.run(&["delete", "secret", "ending"]).accepted();
}

pub fn what_runs_and_would_be_refused_is_listed(bed: &Bed) {
    let release = bed.release();
    // Nothing is enforced yet: both run.
    let audited = merged(&release.enforcing(), &json!({"maxMode": "audit"}));
    release.install(&audited);
    let inside = bed.cluster.namespace("shop", &json!({}));
    for (name, image) in [("floating", FLOATING), ("clean", API)] {
        inside.apply(&workload("Deployment", name, image)).accepted();
        inside.run(&["rollout", "status", &format!("deployment/{name}"), "--timeout=60s"]).accepted();
    }
    let folder = bed.cluster.scratch().join("check-cluster");
    std::fs::create_dir_all(&folder).expect("the folder can be made");
    std::fs::write(folder.join("acme.json"), policy("acme", &json!({})).to_string()).expect("it can be written");
    let folder = folder.display().to_string();
    let check = ["check", "--cluster", "--policies", &folder, "--namespace", "shop", "--offline"];
    let (code, stdout, stderr) = tagwarden(bed, &check);
    println!("{stdout}");
    assert_eq!((code, stderr.as_str()), (Some(1), ""), "{stdout}");
    let (_, stdout, _) = tagwarden(bed, &[&check[..], &["--format", "json"]].concat());
    let report: Value = serde_json::from_str(&stdout).expect("it prints JSON");
    let findings: Vec<&Value> = report["findings"]
        .as_array()
        .expect("there are findings")
        .iter()
        .filter(|f| f["object"]["kind"] == "Deployment")
        .collect();
    let [finding] = findings[..] else { panic!("one Deployment is listed: {report}") };
    assert_eq!(finding["object"]["name"], "floating", "{report}");
    assert_eq!((&finding["id"], &finding["pods"], &finding["image"]), (&json!("TW120"), &json!(1), &json!(FLOATING)));
    assert!(!stdout.contains("clean"), "the clean one is not listed: {report}");

    // And that is what enforcement does to its next Pod.
    release.install(&release.enforcing());
    inside.run(&["delete", "pods", "--force", "--grace-period=0", "-l", "app=floating"]).accepted();
    until_true("the next Pod to be refused", PATIENCE, || {
        let deployment = inside.get("deployment/floating").expect("it is there");
        deployment["status"]["conditions"].to_string().contains("TW120")
    });
    for name in ["floating", "clean"] {
        inside.run(&["delete", &format!("deployment/{name}")]).accepted();
    }
}
