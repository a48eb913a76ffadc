//! From the first evening to the last: default values, `helm test`, enforcement, changes of policy, rollback, removal.

use crate::Bed;
use crate::harness::{API, CRD, FLOATING, INFRASTRUCTURE, Kubectl, Load, Mix, NAMESPACE, NGINX, PATIENCE, Release};
use crate::harness::{Outcome, http, merged, policy, until, until_true};
use serde_json::{Value, json};
use std::time::Instant;

/// A namespace of people who deploy.
fn shop(bed: &Bed) -> Kubectl {
    bed.cluster.namespace("shop", &json!({}))
}

/// Creates a Pod for good, in place of an earlier one.
pub fn create(inside: &Kubectl, name: &str, image: &str) -> Outcome {
    inside.run(&["delete", "pod", name, "--ignore-not-found", "--force", "--grace-period=0"]).accepted();
    inside.run(&["run", name, "--image", image])
}

/// What would become of a Pod of this image.
pub fn try_out(inside: &Kubectl, image: &str) -> Outcome {
    inside.run(&["run", "probe", "--dry-run=server", "--image", image])
}

pub fn row_50_first_install_blocks_nothing(bed: &Bed) {
    let release = bed.release();
    release.remove();
    let inside = shop(bed);
    // Nothing but the image under test is said. Pods go on being created while it is installed: the configurations
    // are there before our caBundle is, and say Ignore.
    let load = Load::start(&bed.cluster, Mix::Audited);
    let begun = Instant::now();
    release.upgrade(&release.image_values(), &["--wait", "--timeout=120s"]).accepted();
    bed.report.figure(format!("helm install to ready, two replicas: {:.1} s", begun.elapsed().as_secs_f64()));
    load.reach(100);
    let counts = load.finish();
    assert!(counts.failures.is_empty(), "creations failed during the installation: {:?}", counts.failures);
    bed.report.figure(format!("creations during the first installation: {}, none refused", counts.calls));

    create(&inside, "nginx", NGINX).accepted();
    let verdict = "validate.tagwarden.dev/decision";
    if let Some(event) = bed.cluster.audited_creation("shop", "nginx") {
        let annotations = &event["annotations"];
        assert_eq!(annotations[verdict], "audit", "{annotations}");
        assert!(annotations.to_string().contains("TW120"), "the finding is in the audit annotations: {annotations}");
        assert_eq!(event["responseStatus"]["code"], 201, "{event}");
    }
    let found = |pod: &String| {
        let line = |line: &&str| line.contains("TW120") && line.contains("nginx");
        let metric = bed.cluster.pod_metric(NAMESPACE, pod, "tagwarden_violations_total", "mode=\"audit\"");
        release.log(pod).lines().any(|text| line(&text)) && metric > 0.0
    };
    assert!(release.pods().iter().any(found), "a replica has the finding in its log and in a metric");
}

pub fn helm_test_sends_a_real_review(bed: &Bed) {
    let release = bed.release();
    release.install(&release.image_values());
    release.test().accepted();
}

pub fn enforcing_is_one_change_of_values(bed: &Bed) {
    let release = bed.release();
    release.install(&release.image_values());
    let inside = shop(bed);
    create(&inside, "nginx", NGINX).accepted();
    // Without a word on the cluster's own namespaces there is no enforcement.
    let enforce = json!({"maxMode": "enforce"});
    let first = release.image_values();
    let hasty = merged(&first, &enforce);
    release.change(&first, &hasty).refused().says("infrastructureNamespaces");

    let reviewed = merged(&hasty, &json!({"infrastructureNamespaces": [INFRASTRUCTURE]}));
    release.change(&first, &reviewed).accepted();
    until_true("the Pod to be refused", PATIENCE, || !try_out(&inside, NGINX).succeeded());
    create(&inside, "nginx", NGINX).denied().says("TW120");
    if let Some(event) = bed.cluster.audited_creation("shop", "nginx") {
        assert_eq!(event["responseStatus"]["code"], 403, "{event}");
    }
    release.test().accepted();
}

/// What `kubectl edit` saves when a person puts `mirror/**` in the place of `acme/**`.
const EDITOR: &str = "sed -i s,acme/,mirror/,";

pub fn policy_changed_by_kubectl_edit(bed: &Bed) {
    let release = bed.enforce();
    let inside = shop(bed);
    until_true("the release's own policy to hold", PATIENCE, || try_out(&inside, API).succeeded());
    let before = release.pods();
    let edit = ["edit", "configmap/tagwarden-policies"];
    let mut kubectl = release.admin().command(&edit);
    Outcome::of(kubectl.env("KUBE_EDITOR", EDITOR), "kubectl edit", "").accepted();
    // Both replicas read it, as the kubelet renews the mounted file.
    until_true("the edited policy to hold", 2 * PATIENCE, || {
        try_out(&inside, API).stderr.contains("TW110") && agree(bed, &before)
    });
    assert_eq!(release.pods(), before, "no replica was restarted for it");
    // Helm puts back what the values say.
    release.change(&release.enforcing(), &release.enforcing()).accepted();
    until_true("the release's own policy to hold again", 2 * PATIENCE, || {
        try_out(&inside, API).succeeded() && agree(bed, &before)
    });
}

/// Whether all replicas have loaded one and the same set of policies.
fn agree(bed: &Bed, pods: &[String]) -> bool {
    let hashes: Vec<String> = pods.iter().map(|pod| policy_hashes(bed, pod)).collect();
    hashes.iter().all(|hash| hash == &hashes[0])
}

/// Every loaded policy with the hash of the set.
fn policy_hashes(bed: &Bed, pod: &str) -> String {
    let metrics = bed.cluster.pod_page(NAMESPACE, pod, "metrics").accepted().stdout;
    metrics.lines().filter(|line| line.starts_with("tagwarden_policy_info{")).collect()
}

pub fn policy_applied_as_an_object(bed: &Bed) {
    let release = bed.release();
    release.install(&merged(&release.enforcing(), &json!({"imagePolicies": {"enabled": true}})));
    let admin = bed.cluster.admin();
    let inside = shop(bed);
    until_true("the release's own policy to hold", PATIENCE, || try_out(&inside, API).succeeded());
    let object = |images: &str| {
        let rules = json!([{"images": [images], "tags": ["release"]}]);
        json!({
            "apiVersion": "tagwarden.dev/v1", "kind": "ImagePolicy", "metadata": {"name": "shop"},
            "spec": {"mode": "enforce", "namespaces": {"include": ["shop"]}, "rules": rules},
        })
    };
    admin.apply(&object("registry.example.com/mirror/**")).accepted();
    until_true("the object to hold beside the file", PATIENCE, || try_out(&inside, API).stderr.contains("TW110"));
    let condition = |kind: &str| ready(admin, kind);
    until_true("the status to say so", PATIENCE, || condition("Ready").as_deref() == Some("True"));

    // A typo is told in the status, and what was in force stays.
    let mut typo = object("registry.example.com/**");
    typo["spec"]["rules"][0]["tagz"] = json!(["release"]);
    admin.run_with(&["apply", "--validate=false", "-f", "-"], &typo.to_string()).accepted();
    until_true("the status to refuse the typo", PATIENCE, || condition("Ready").as_deref() == Some("False"));
    let status = admin.get("imagepolicies.tagwarden.dev/shop").unwrap()["status"].to_string();
    assert!(status.contains("tagz"), "the status names the key: {status}");
    try_out(&inside, API).denied().says("TW110");

    admin.run(&["delete", "imagepolicies.tagwarden.dev/shop"]).accepted();
    until_true("the object to hold no more", PATIENCE, || try_out(&inside, API).succeeded());
}

/// The status of a condition of the ImagePolicy `shop`.
fn ready(admin: &Kubectl, kind: &str) -> Option<String> {
    let object = admin.get("imagepolicies.tagwarden.dev/shop")?;
    let conditions = object["status"]["conditions"].as_array()?;
    let condition = conditions.iter().find(|condition| condition["type"] == kind)?;
    condition["status"].as_str().map(str::to_owned)
}

pub fn upgrade_rolled_back(bed: &Bed) {
    let release = bed.enforce();
    let inside = shop(bed);
    until_true("the first policy to hold", PATIENCE, || try_out(&inside, API).succeeded());
    let open = json!({"policies": [policy("acme", &json!({"images": ["registry.example.com/mirror/**"]}))]});
    let first = release.enforcing();
    release.change(&first, &merged(&first, &open)).accepted();
    until_true("the second policy to hold", 2 * PATIENCE, || try_out(&inside, API).stderr.contains("TW110"));
    release.helm(&["rollback", "tagwarden", "--wait", "--timeout=120s"]).accepted();
    until_true("the first policy to hold again", 2 * PATIENCE, || try_out(&inside, API).succeeded());
    try_out(&inside, FLOATING).denied();
}

pub fn bad_policy_in_values(bed: &Bed) {
    let release = bed.enforce();
    let inside = shop(bed);
    let before = release.pods();
    let mut values = release.enforcing();
    values["policies"][0]["spec"]["rules"][0]["tagz"] = json!(["release"]);
    release.change(&release.enforcing(), &values).accepted();
    release.policies_read(false);
    // What was in force stays in force.
    assert_eq!(release.settled(2), before);
    try_out(&inside, API).accepted();
    try_out(&inside, FLOATING).denied();
    for pod in &before {
        let log = release.log(pod);
        assert!(log.contains("tagz") && log.contains("acme.yaml:"), "the log has the line: {log}");
        let ready = bed.cluster.pod_page(NAMESPACE, pod, "readyz?verbose").accepted().stdout;
        assert!(ready.contains("tagz"), "readiness shows it: {ready}");
    }
    let outcome = release.test().refused();
    let text = format!("{}{}", outcome.stdout, outcome.stderr);
    assert!(text.contains("tagz") && text.contains("acme.yaml:"), "helm test shows the line: {text}");
    release.change(&release.enforcing(), &release.enforcing()).accepted();
    release.policies_read(true);
}

pub fn row_56_first_start_with_a_bad_policy(bed: &Bed) {
    let release = bed.release();
    release.remove();
    let mut values = merged(&release.image_values(), &json!({"policies": [policy("acme", &json!({}))]}));
    values["policies"][0]["spec"]["mode"] = json!("enforced");
    release.upgrade(&values, &[]).accepted();
    let pods = until("both replicas to run", PATIENCE, || {
        let running = |pod: &&Value| pod["status"]["phase"] == "Running";
        let pods = release.pod_objects();
        (pods.iter().filter(running).count() == 2).then(|| release.pods())
    });
    for pod in &pods {
        until_true("the log to show the line", PATIENCE, || {
            let log = release.log(pod);
            log.contains("enforced") && log.contains("acme.yaml:")
        });
        // kubectl hides the text of an answer that is an error.
        let _ = bed.cluster.pod_page(NAMESPACE, pod, "readyz?verbose").refused();
        if bed.cluster.own_node().is_some() {
            let address = release.admin().get(&format!("pod/{pod}")).unwrap()["status"]["podIP"].clone();
            let address = format!("{}:8080", address.as_str().unwrap()).parse().unwrap();
            let page = http::get(address, "/readyz?verbose").unwrap();
            assert!(page.status == 503 && page.body.contains("enforced"), "not ready, and says why: {}", page.body);
        }
        bed.cluster.pod_page(NAMESPACE, pod, "livez").accepted();
    }
    // The cure is the next upgrade; nothing has to be restarted.
    values["policies"][0]["spec"]["mode"] = json!("enforce");
    release.upgrade(&values, &["--wait", "--timeout=120s"]).accepted();
}

pub fn uninstalled_with_every_replica_stopped(bed: &Bed) {
    let release = bed.release();
    release.install(&merged(&release.enforcing(), &json!({"imagePolicies": {"enabled": true}})));
    let admin = bed.cluster.admin();
    admin.apply(&policy("kept", &json!({}))).accepted();
    let inside = shop(bed);
    until_true("enforcement", PATIENCE, || try_out(&inside, FLOATING).stderr.contains("tagwarden denied"));
    release.admin().run(&["scale", "deployment/tagwarden", "--replicas=0"]).accepted();
    release.settled(0);
    // This is what an uninstall in Helm's own order would leave behind, had it been cut short.
    try_out(&inside, API).refused().says("failed calling webhook");

    let begun = Instant::now();
    release.helm(&["uninstall", "tagwarden", "--wait", "--timeout=120s"]).accepted();
    bed.report.figure(format!("helm uninstall with no replica running: {:.1} s", begun.elapsed().as_secs_f64()));
    try_out(&inside, NGINX).accepted();
    until_true("nothing of ours to be left", PATIENCE, || leftovers(bed, &release).is_empty());
    assert!(admin.get(&format!("customresourcedefinition/{CRD}")).is_some(), "the definition is kept on purpose");
    assert!(admin.get("imagepolicies.tagwarden.dev/kept").is_some(), "and so are its objects");
    release.remove();
}

/// Everything in our namespace that is not Kubernetes' own, and everything outside that carries our label.
fn leftovers(bed: &Bed, release: &Release<'_>) -> Vec<String> {
    let list = |kubectl: &Kubectl, arguments: &[&str]| -> Vec<String> {
        kubectl.run(arguments).accepted().stdout.lines().map(str::to_owned).collect()
    };
    let admin = bed.cluster.admin();
    let resources =
        |namespaced: &str| list(admin, &["api-resources", "--verbs=list,delete", namespaced, "-o", "name"]).join(",");
    let inside = ["get", &resources("--namespaced=true"), "--ignore-not-found", "-o", "name"];
    let mut left = list(&release.admin(), &inside);
    let outside = [
        "get",
        &resources("--namespaced=false"),
        "--ignore-not-found",
        "-o",
        "name",
        "-l",
        "app.kubernetes.io/name=tagwarden",
    ];
    left.extend(list(admin, &outside));
    let ours = |name: &String| {
        let kept = name.contains(CRD);
        let of_every_namespace = ["configmap/kube-root-ca.crt", "serviceaccount/default"].contains(&name.as_str());
        // Events are history; the API server drops them after an hour.
        !(kept || of_every_namespace || name.starts_with("event"))
    };
    left.retain(ours);
    left
}
