//! The shipped webhook configurations, registered for one namespace.

use super::control_plane::{Cluster, User};
use super::server::{SERVICE, Server};
use super::wait::{PATIENCE, until_true};
use serde_json::{Value, json};
use std::net::SocketAddr;

const VALIDATING: &str = include_str!("../webhooks/validating.yaml");
const MUTATING: &str = include_str!("../webhooks/mutating.yaml");

/// How the API server reaches a webhook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallPath {
    /// By URL: HTTP/2, and no server name, since the URL holds an address.
    Url,
    /// By Service: HTTP/1.1, with the Service's name as server name.
    Service,
}

/// What to register.
#[derive(Debug)]
pub struct Registration<'a> {
    pub namespace: &'a str,
    pub address: SocketAddr,
    /// Where the mutating webhook is, if not there.
    pub mutating: Option<SocketAddr>,
    pub call: CallPath,
    /// PEM, of one or more authorities; empty: caBundle is left out, as by the chart.
    pub authorities: &'a str,
    /// In place of the shipped failure policies.
    pub failure_policy: Option<&'a str>,
    /// In place of the shipped time-out, seconds.
    pub timeout: Option<u32>,
    /// Rules of a further webhook, for kinds that the server's configuration adds.
    pub configured_kinds: Option<Value>,
}

/// Registered configurations; removed when dropped.
#[derive(Debug)]
pub struct Webhooks {
    cluster: &'static Cluster,
    namespace: String,
}

impl Webhooks {
    pub fn install(cluster: &'static Cluster, registration: &Registration<'_>) -> Self {
        let webhooks = Webhooks { cluster, namespace: registration.namespace.to_owned() };
        if registration.call == CallPath::Service {
            let admin = cluster.as_user(User::Admin).within(registration.namespace);
            admin.apply(&service()).accepted();
        }
        webhooks.apply(registration);
        webhooks
    }

    /// Registers again with other parameters, as a rotation of authorities does.
    pub fn apply(&self, registration: &Registration<'_>) {
        let admin = self.cluster.as_user(User::Admin);
        for configuration in Webhooks::documents(registration) {
            admin.apply(&configuration).accepted();
        }
    }

    /// Both configurations as they are registered.
    pub fn documents(registration: &Registration<'_>) -> [Value; 2] {
        [VALIDATING, MUTATING].map(|shipped| configuration(shipped, registration))
    }

    /// Waits until the API server calls both endpoints: a configuration takes effect with a delay.
    pub fn wait_until_called(&self, servers: &[&Server]) {
        let admin = self.cluster.as_user(User::Admin).within(&self.namespace);
        let called = |endpoint: &str| {
            let label = format!("endpoint=\"{endpoint}\"");
            servers.iter().any(|server| server.metric("tagwarden_admission_requests_total", &label) > 0.0)
        };
        until_true("the webhooks to be called", PATIENCE, || {
            let probe = ["run", "probe", "--dry-run=server", "--image=probe.invalid/probe:latest"];
            // Whatever the verdict is: what counts is that the server was asked.
            let _ = admin.run(&probe);
            called("validate") && called("mutate")
        });
    }
}

impl Drop for Webhooks {
    fn drop(&mut self) {
        let admin = self.cluster.as_user(User::Admin);
        // Also while a failed test unwinds, so nothing may be asserted here.
        let _ = admin.run(&[
            "delete",
            "--ignore-not-found",
            "validatingwebhookconfiguration,mutatingwebhookconfiguration",
            &self.namespace,
        ]);
    }
}

/// A Service that the API server dials without kube-proxy: it takes an ExternalName as it stands.
fn service() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": SERVICE},
        "spec": {"type": "ExternalName", "externalName": "localhost"},
    })
}

fn configuration(shipped: &str, registration: &Registration<'_>) -> Value {
    let mut configuration: Value = serde_saphyr::from_str(shipped).expect("the shipped configuration is YAML");
    configuration["metadata"]["name"] = json!(registration.namespace);
    let webhooks = configuration["webhooks"].as_array_mut().expect("there are webhooks");
    if let Some(rules) = &registration.configured_kinds {
        let workloads = |webhook: &&Value| webhook["name"] == "workloads.tagwarden.dev";
        if let Some(mut further) = webhooks.iter().find(workloads).cloned() {
            further["name"] = json!("configured.tagwarden.dev");
            further["rules"] = rules.clone();
            // What a configured kind looks like is not known here, so the server compares.
            further["matchConditions"] = json!([]);
            webhooks.push(further);
        }
    }
    for webhook in webhooks {
        let path = webhook["clientConfig"]["service"]["path"].clone();
        let path = path.as_str().expect("a path");
        let address = registration.mutating.filter(|_| path == "/mutate").unwrap_or(registration.address);
        webhook["clientConfig"] = client_config(path, address, registration);
        if let Some(policy) = registration.failure_policy {
            webhook["failurePolicy"] = json!(policy);
        }
        if let Some(seconds) = registration.timeout {
            webhook["timeoutSeconds"] = json!(seconds);
        }
        webhook["namespaceSelector"]["matchExpressions"].as_array_mut().expect("namespaces are selected by name").push(
            json!({
                "key": "kubernetes.io/metadata.name", "operator": "In",
                "values": [registration.namespace],
            }),
        );
    }
    configuration
}

fn client_config(path: &str, address: SocketAddr, registration: &Registration<'_>) -> Value {
    let mut config = match registration.call {
        CallPath::Url => json!({"url": format!("https://{address}{path}")}),
        CallPath::Service => json!({"service": {
            "namespace": registration.namespace, "name": SERVICE,
            "path": path, "port": address.port(),
        }}),
    };
    if !registration.authorities.is_empty() {
        config["caBundle"] = json!(base64(registration.authorities.as_bytes()));
    }
    config
}

/// RFC 4648 with padding.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let group =
            (0..3).fold(0_usize, |group, index| group << 8 | usize::from(chunk.get(index).copied().unwrap_or(0)));
        for index in 0..4 {
            let sextet = ALPHABET[group >> (18 - 6 * index) & 63];
            text.push(if index <= chunk.len() { char::from(sextet) } else { '=' });
        }
    }
    text
}
