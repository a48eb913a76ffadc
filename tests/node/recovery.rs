//! It comes back by itself from what is worse than a drain: every replica gone at once, the registry with them, a wrong authority.

use crate::Bed;
use crate::harness::{API, FLOATING, INFRASTRUCTURE, Kubectl, Load, Mix, PATIENCE, Release};
use crate::harness::{merged, policy, until, until_true, workload};
use crate::install::try_out;
use crate::tls::certificates;
use serde_json::json;
use std::time::Instant;

fn shop(bed: &Bed) -> Kubectl {
    bed.cluster.namespace("shop", &json!({}))
}

/// Ends every replica at once, without a drain, as the loss of their nodes would.
fn lose_all(release: &Release<'_>) -> Vec<String> {
    let pods = release.pods();
    let mut arguments = vec!["delete", "pod", "--force", "--grace-period=0"];
    arguments.extend(pods.iter().map(String::as_str));
    release.admin().run(&arguments).accepted();
    pods
}

/// What the elected replica has saved in a ConfigMap of ours.
fn saved(release: &Release<'_>, name: &str) -> String {
    let map = release.admin().get(&format!("configmap/{name}")).unwrap();
    let data = map["binaryData"].as_object().into_iter().flatten();
    data.map(|(_, bytes)| crate::tls::decoded(bytes)).collect()
}

/// Waits until two new replicas are ready, and says how long that took.
fn back(bed: &Bed, release: &Release<'_>, lost: &[String], what: &str, begun: Instant) {
    let now = release.settled(2);
    assert!(lost.iter().all(|pod| !now.contains(pod)), "both replicas are new");
    bed.report.figure(format!("{what}: two replicas ready again after {:.1} s", begun.elapsed().as_secs_f64()));
}

pub fn row_48_all_replicas_lost_under_audit(bed: &Bed) {
    let release = bed.release();
    let fail = json!({
        "maxMode": "audit", "webhook": {"failurePolicy": "Fail"}, "infrastructureNamespaces": [INFRASTRUCTURE],
        "policies": [policy("acme", &json!({}))],
    });
    release.install(&merged(&release.image_values(), &fail));
    let inside = shop(bed);
    try_out(&inside, FLOATING).accepted();
    let begun = Instant::now();
    let lost = lose_all(&release);
    back(bed, &release, &lost, "all replicas lost under audit", begun);
    until_true("Pods to be let in again", PATIENCE, || try_out(&inside, FLOATING).succeeded());
}

pub fn row_48_all_replicas_lost_under_enforcement(bed: &Bed) {
    let release = bed.enforce();
    let inside = shop(bed);
    let begun = Instant::now();
    let lost = lose_all(&release);
    try_out(&inside, FLOATING).refused();
    back(bed, &release, &lost, "all replicas lost under enforcement", begun);
    until_true("Pods to be let in again", PATIENCE, || try_out(&inside, API).succeeded());
    try_out(&inside, FLOATING).denied();
}

pub fn replicas_daemons_and_registry_lost_at_once(bed: &Bed) {
    let release = bed.enforce();
    // A network's daemons live where enforcement does not reach; those of a shop have to wait for a verdict.
    let places = [bed.cluster.namespace(INFRASTRUCTURE, &json!({})), shop(bed)];
    for place in &places {
        place.apply(&workload("DaemonSet", "daemons", bed.cluster.running_image())).accepted();
        place.run(&["rollout", "status", "daemonset/daemons", "--timeout=60s"]).accepted();
    }
    // The digests that replicas saw are saved by the elected one, for replicas that start while the registry is away.
    let load = Load::start(&bed.cluster, Mix::Enforced); // so that each has seen some
    let known = || saved(&release, "tagwarden-last-known").contains("acme/api");
    until_true("the last-known digests to be saved", 2 * PATIENCE, known);
    let counts = load.finish();
    assert!(counts.failures.is_empty(), "{:?}", counts.failures.first());

    let begun = Instant::now();
    bed.node().stop_registry();
    let lost = lose_all(&release);
    for place in &places {
        place.run(&["delete", "pods", "--force", "--grace-period=0", "-l", "app=daemons"]).accepted();
    }
    back(bed, &release, &lost, "replicas, daemons and registry lost at once", begun);
    for place in &places {
        place.run(&["rollout", "status", "daemonset/daemons", "--timeout=120s"]).accepted();
    }
    bed.report.figure(format!("the daemons' Pods ready again after {:.1} s", begun.elapsed().as_secs_f64()));
    bed.node().start_registry();
    for place in &places {
        place.run(&["delete", "daemonset/daemons"]).accepted();
    }
}

pub fn bad_edit_then_all_replicas_lost(bed: &Bed) {
    let release = bed.enforce();
    let inside = shop(bed);
    try_out(&inside, API).accepted();
    let good = || saved(&release, "tagwarden-last-good").contains("acme");
    until_true("the last good policies to be saved", PATIENCE, good);
    let broken = json!({"data": {"acme.yaml": "apiVersion: tagwarden.dev/v1\nkind: ImagePolicy\nspec: {rulez: []}\n"}});
    release.admin().run(&["patch", "configmap/tagwarden-policies", "-p", &broken.to_string()]).accepted();
    release.policies_read(false);
    let begun = Instant::now();
    let lost = lose_all(&release);
    back(bed, &release, &lost, "bad edit, then all replicas lost", begun);
    // By the policies that were in force before the edit, and saying so.
    until_true("Pods to be let in again", PATIENCE, || try_out(&inside, API).succeeded());
    try_out(&inside, FLOATING).denied();
    for pod in release.pods() {
        assert!(release.log(&pod).contains("rulez"), "the new replica's log shows the mistake");
    }
    release.change(&release.enforcing(), &release.enforcing()).accepted();
    release.policies_read(true);
}

pub fn row_51_three_replicas_start_at_once(bed: &Bed) {
    let release = bed.release();
    release.remove();
    release.install(&merged(&release.enforcing(), &json!({"replicaCount": 3})));
    let bundles = release.bundles();
    assert_eq!(bundles.len(), 3, "a bundle in each webhook");
    assert!(
        bundles.iter().all(|bundle| bundle == &bundles[0]) && certificates(&bundles[0]).len() == 1,
        "one authority"
    );
    if bed.cluster.own_node().is_some() {
        for pod in release.pod_objects() {
            let address = pod["status"]["podIP"].as_str().unwrap();
            assert!(
                crate::tls::trusted(address, &bundles[0]).is_ok(),
                "the certificate of {address} is not of the authority in the bundle"
            );
        }
    }
    let before = bed.cluster.failed_calls();
    let load = Load::start(&bed.cluster, Mix::Enforced);
    load.reach(300);
    let counts = load.finish();
    assert!(counts.failures.is_empty(), "{:?}", counts.failures.first());
    assert_eq!(bed.cluster.failed_calls() - before, 0.0, "every replica is trusted");
}

pub fn wrong_bundle_repaired(bed: &Bed) {
    let release = bed.enforce();
    let right = release.bundles();
    let stranger = crate::tls::base64(&crate::harness::Authority::new("stranger").pem);
    let patch = json!([{"op": "replace", "path": "/webhooks/0/clientConfig/caBundle", "value": stranger}]).to_string();
    let begun = Instant::now();
    for kind in ["validatingwebhookconfiguration/tagwarden", "mutatingwebhookconfiguration/tagwarden"] {
        bed.cluster.admin().run(&["patch", kind, "--type=json", "-p", &patch]).accepted();
    }
    until("the bundles to be right again", 2 * PATIENCE, || (release.bundles() == right).then_some(()));
    bed.report.figure(format!("a wrong caBundle was right again after {:.1} s", begun.elapsed().as_secs_f64()));
    let inside = shop(bed);
    until_true("Pods to be let in again", PATIENCE, || try_out(&inside, API).succeeded());
    try_out(&inside, FLOATING).denied();
}
