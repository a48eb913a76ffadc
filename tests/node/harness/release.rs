//! The chart's release: installed from the checkout by Helm, upgraded, looked at, removed.

use super::cluster::{Cluster, SERVERS};
use super::images;
use super::kubectl::{Kubectl, Outcome};
use super::node::{REGISTRY, REGISTRY_HOST};
use super::wait::{PATIENCE, until, until_true};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::path::PathBuf;
use std::process::Command;

/// The namespace of the release; it enforces Pod Security `restricted`.
pub const NAMESPACE: &str = "tagwarden";

/// The release's name, and with it the chart's full name.
const NAME: &str = "tagwarden";

/// What uninstalling keeps.
pub const CRD: &str = "imagepolicies.tagwarden.dev";

const CHART: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/charts/tagwarden");

/// The namespace that every enforcing release leaves alone.
pub const INFRASTRUCTURE: &str = "infrastructure";

/// The one release of the run.
#[derive(Debug)]
pub struct Release<'a> {
    cluster: &'a Cluster,
    helm: PathBuf,
}

impl<'a> Release<'a> {
    pub fn new(cluster: &'a Cluster) -> Self {
        Release { cluster, helm: images::folder_of("TAGWARDEN_CHART_TOOLS", "tests/chart/build.sh").join("helm") }
    }

    /// kubectl in the release's namespace.
    pub fn admin(&self) -> Kubectl {
        self.cluster.admin().within(NAMESPACE)
    }

    /// What every installation of the suite says: the image under test. All else is the chart's default.
    pub fn image_values(&self) -> Value {
        let (repository, tag) = self.cluster.image();
        json!({"image": {"repository": repository, "tag": tag}})
    }

    /// Enforcement as the scenarios under load want it: Fail on the boundary, Pods pinned by what the node's registry says
    /// (where there is one), certificates as short-lived as they can be, and a shutdown delay of seconds.
    pub fn enforcing(&self) -> Value {
        let (rule, registries) = match self.cluster.own_node() {
            Some(_) => (json!({"pin": "pods"}), json!([registry()])),
            None => (json!({}), json!([])),
        };
        let values = json!({
            "maxMode": "enforce",
            "infrastructureNamespaces": [INFRASTRUCTURE],
            "policies": [policy("acme", &rule)],
            "tls": {"leafLifetime": "2m"},
            "config": {"shutdownDelay": "5s", "registries": registries},
        });
        merged(&self.image_values(), &values)
    }

    /// `helm upgrade --install` with exactly these values, and waits until the replicas that serve were started with them
    /// and no other is left. Changes of policies reach running replicas without a restart; scenarios that are about
    /// something else begin with fresh ones.
    pub fn install(&self, values: &Value) -> Vec<String> {
        self.change(values, values).accepted();
        let replicas = values["replicaCount"].as_u64().unwrap_or(2);
        self.settled(usize::try_from(replicas).expect("few replicas"))
    }

    /// `helm upgrade` with other values and the replicas that were started with `first`, as long as the change reaches them
    /// without a restart (policies do); waits until all replicas are ready.
    #[must_use = "say whether it should have been accepted or refused"]
    pub fn change(&self, first: &Value, values: &Value) -> Outcome {
        self.upgrade(&stamped(first, values), &["--wait", "--timeout=120s"])
    }

    /// `helm upgrade --install` with exactly these values and further options.
    #[must_use = "say whether it should have been accepted or refused"]
    pub fn upgrade(&self, values: &Value, options: &[&str]) -> Outcome {
        self.cluster.namespace(NAMESPACE, &json!({"pod-security.kubernetes.io/enforce": "restricted"}));
        let file = self.write(values);
        let mut arguments = vec!["upgrade", "--install", NAME, CHART, "--values", &file];
        arguments.extend(options);
        self.helm(&arguments)
    }

    /// The render, as GitOps makes it.
    pub fn render(&self, values: &Value) -> String {
        let file = self.write(values);
        let version = ["--kube-version", "1.36.3"]; // a Helm built by Go takes every cluster for 1.20
        let mut arguments = vec!["template", NAME, CHART, "--values", &file];
        arguments.extend(version);
        self.helm(&arguments).accepted().stdout
    }

    /// `helm test`.
    #[must_use = "say whether it should have been accepted or refused"]
    pub fn test(&self) -> Outcome {
        self.helm(&["test", NAME, "--timeout=180s"])
    }

    /// Helm in the release's namespace.
    #[must_use = "say whether it should have been accepted or refused"]
    pub fn helm(&self, arguments: &[&str]) -> Outcome {
        let mut command = Command::new(&self.helm);
        command.args(arguments).args(["--namespace", NAMESPACE]);
        command.env("KUBECONFIG", self.cluster.kubeconfig()).env("HOME", self.cluster.scratch());
        Outcome::of(&mut command, &format!("helm {}", arguments.join(" ")), "")
    }

    /// Waits until the Deployment has rolled out.
    pub fn rolled_out(&self) {
        self.admin().run(&["rollout", "status", "deployment/tagwarden", "--timeout=120s"]).accepted();
    }

    /// Names of the server's Pods that are not being deleted.
    pub fn pods(&self) -> Vec<String> {
        self.pod_objects()
            .iter()
            .filter(|pod| pod["metadata"]["deletionTimestamp"].is_null())
            .filter_map(|pod| pod["metadata"]["name"].as_str().map(str::to_owned))
            .collect()
    }

    /// The server's Pods, those being deleted included.
    pub fn pod_objects(&self) -> Vec<Value> {
        let pods = self.admin().run(&["get", "pods", "-o", "json", "-l", SERVERS]).accepted().stdout;
        let pods: Value = serde_json::from_str(&pods).expect("kubectl prints JSON");
        pods["items"].as_array().cloned().unwrap_or_default()
    }

    /// Waits until exactly this many Pods of the server are there, all ready and none ending.
    pub fn settled(&self, count: usize) -> Vec<String> {
        until(&format!("{count} ready Pods and no other"), 2 * PATIENCE, || {
            let pods = self.pod_objects();
            let ready = |pod: &&Value| {
                let conditions = pod["status"]["conditions"].as_array();
                let ready = |condition: &Value| condition["type"] == "Ready" && condition["status"] == "True";
                pod["metadata"]["deletionTimestamp"].is_null() && conditions.is_some_and(|all| all.iter().any(ready))
            };
            (pods.len() == count && pods.iter().filter(ready).count() == count).then(|| self.pods())
        })
    }

    /// `helm uninstall`, and waits until nothing of it is left; the ImagePolicy objects and their definition go too, which
    /// Helm keeps.
    pub fn remove(&self) {
        if self.helm(&["status", NAME]).succeeded() {
            self.helm(&["uninstall", NAME, "--wait", "--timeout=120s"]).accepted();
        }
        let admin = self.cluster.admin();
        admin.run(&["delete", "customresourcedefinition", "--ignore-not-found", CRD]).accepted();
        self.settled(0);
    }

    /// Waits until the last reading of policies was a success, or was none, on every replica.
    pub fn policies_read(&self, success: bool) {
        let wanted = f64::from(u8::from(success));
        until_true("every replica to have read the policies", 2 * PATIENCE, || {
            let last =
                |pod: &String| self.cluster.pod_metric(NAMESPACE, pod, "tagwarden_policy_last_reload_successful", "");
            self.pods().iter().all(|pod| last(pod) == wanted)
        });
    }

    /// A Pod's log.
    pub fn log(&self, pod: &str) -> String {
        self.admin().run(&["logs", pod]).accepted().stdout
    }

    /// The caBundle of each webhook of our two configurations, as the API server has it: base64.
    pub fn bundles(&self) -> Vec<String> {
        let both = ["validatingwebhookconfiguration/tagwarden", "mutatingwebhookconfiguration/tagwarden"];
        let configurations = both.iter().filter_map(|name| self.cluster.admin().get(name));
        let webhooks = configurations.flat_map(|configuration| configuration["webhooks"].as_array().cloned());
        let bundle = |webhook: Value| webhook["clientConfig"]["caBundle"].as_str().unwrap_or("").to_owned();
        webhooks.flatten().map(bundle).collect()
    }

    fn write(&self, values: &Value) -> String {
        let path = self.cluster.scratch().join("values.json");
        std::fs::write(&path, values.to_string()).expect("the folder can be written");
        path.display().to_string()
    }
}

/// Values with a mark on the Pods that tells which values they were started with.
pub fn stamped(first: &Value, values: &Value) -> Value {
    let digest = Sha256::digest(first.to_string());
    merged(&json!({"podAnnotations": {"suite": format!("{digest:x}")}}), values)
}

/// What the server's configuration says of the node's registry.
pub fn registry() -> Value {
    json!({"host": REGISTRY_HOST, "endpoint": format!("http://{REGISTRY}"), "insecure": true, "private": true})
}

/// An enforcing policy of one rule: releases and commits of acme's repositories, and what `further` adds to the rule.
pub fn policy(name: &str, further: &Value) -> Value {
    let rule = json!({"images": [format!("{REGISTRY_HOST}/acme/**")], "tags": ["release", "commit"]});
    json!({
        "apiVersion": "tagwarden.dev/v1", "kind": "ImagePolicy", "metadata": {"name": name},
        "spec": {"mode": "enforce", "rules": [merged(&rule, further)]},
    })
}

/// Values with those of `over` laid over them, as Helm merges them: maps by key, all else as a whole.
pub fn merged(under: &Value, over: &Value) -> Value {
    let (Value::Object(under), Value::Object(over)) = (under, over) else {
        return over.clone();
    };
    let mut all = under.clone();
    for (key, value) in over {
        let merged = all.get(key).map_or_else(|| value.clone(), |old| merged(old, value));
        all.insert(key.clone(), merged);
    }
    Value::Object(all)
}
