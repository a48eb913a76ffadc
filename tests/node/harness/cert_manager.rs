//! cert-manager: its definitions in the cluster, and its controllers as a process beside the control plane.

use super::cluster::Cluster;
use super::images::folder_of;
use super::kubectl::Kubectl;
use super::node::Node;
use super::process::Process;
use serde_json::json;
use std::path::{Path, PathBuf};

/// cert-manager, until it is dropped.
#[derive(Debug)]
pub struct CertManager {
    admin: Kubectl,
    folder: PathBuf,
    process: Process,
}

/// What becomes of an authority in caBundle that has been renewed.
#[derive(Clone, Copy, Debug)]
pub enum Injector {
    /// It stays beside the new one until it ends, as since cert-manager 1.19.
    Merges,
    /// It goes at once, as before.
    Replaces,
}

impl CertManager {
    /// Installs it into the node's cluster.
    pub fn start(cluster: &Cluster, node: &Node, injector: Injector) -> Self {
        let folder = folder_of("TAGWARDEN_CERT_MANAGER", "tests/certmanager/build.sh");
        let admin = cluster.admin().clone();
        let definitions = folder.join("crds").display().to_string();
        admin.run(&["create", "-f", &definitions]).accepted(); // too large for what `apply` remembers
        admin.run(&["wait", "--for=condition=Established", "-f", &definitions, "--timeout=60s"]).accepted();
        CertManager { process: start(&folder, node, injector), admin, folder }
    }

    /// Ends its controllers and starts others, which take over what is there.
    pub fn restart(&mut self, node: &Node, injector: Injector) {
        self.check();
        self.process.kill();
        self.process = start(&self.folder, node, injector);
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
        self.process.kill();
        // Also while a failed scenario unwinds, so nothing may be asserted here. Its objects go with their definitions.
        let definitions = self.folder.join("crds").display().to_string();
        let _ = self.admin.run(&["delete", "--ignore-not-found", "-f", &definitions]);
    }
}

fn start(folder: &Path, node: &Node, injector: Injector) -> Process {
    let merging = match injector {
        Injector::Merges => "CAInjectorMerging=true",
        Injector::Replaces => "CAInjectorMerging=false",
    };
    node.start_beside(&folder.join("certmanager"), &[merging])
}
