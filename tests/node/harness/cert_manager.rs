//! cert-manager: its definitions in the cluster, and its controllers as a process beside the control plane.

use super::cluster::Cluster;
use super::images::folder_of;
use super::kubectl::Kubectl;
use super::node::Node;
use super::process::Process;
use serde_json::json;

/// cert-manager, until it is dropped.
#[derive(Debug)]
pub struct CertManager {
    admin: Kubectl,
    definitions: String,
    process: Process,
}

impl CertManager {
    /// Installs it into the node's cluster.
    pub fn start(cluster: &Cluster, node: &Node) -> Self {
        let folder = folder_of("TAGWARDEN_CERT_MANAGER", "tests/certmanager/build.sh");
        let definitions = folder.join("crds").display().to_string();
        let admin = cluster.admin().clone();
        admin.run(&["create", "-f", &definitions]).accepted(); // too large for what `apply` remembers
        admin.run(&["wait", "--for=condition=Established", "-f", &definitions, "--timeout=60s"]).accepted();
        let process = node.start_beside(&folder.join("certmanager"), &[("KUBECONFIG", cluster.kubeconfig())]);
        CertManager { admin, definitions, process }
    }

    /// Has a Certificate renewed, as `cmctl renew` does: by a condition.
    pub fn renew(&self, namespace: &str, certificate: &str) {
        let condition = json!([{"op": "add", "path": "/status/conditions/-", "value": {
            "type": "Issuing", "status": "True", "reason": "ManuallyTriggered", "message": "asked for by the suite",
        }}]);
        let certificate = format!("certificates.cert-manager.io/{certificate}");
        let patch = ["patch", &certificate, "--subresource=status", "--type=json", "-p", &condition.to_string()];
        self.admin.within(namespace).run(&patch).accepted();
    }

    /// Fails if it has ended.
    pub fn check(&mut self) {
        let ended = self.process.ended();
        assert!(
            ended.is_none(),
            "cert-manager ended with {ended:?}; TAGWARDEN_E2E_LOGS names a folder to keep logs in"
        );
    }
}

impl Drop for CertManager {
    fn drop(&mut self) {
        // Also while a failed scenario unwinds, so nothing may be asserted here. Its objects go with it.
        let _ = self.admin.run(&["delete", "--ignore-not-found", "-f", &self.definitions]);
    }
}
