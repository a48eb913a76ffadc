//! The cluster of the run: the node that the suite starts, or one that exists.

use super::images::{self, Crane};
use super::kubectl::{Kubectl, Outcome};
use super::node::{self, Node};
use super::wait::{PATIENCE, until, until_true};
use serde_json::{Value, json};
use std::env;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use tempfile::TempDir;

/// Selects the server's Pods.
pub const SERVERS: &str = "app.kubernetes.io/name=tagwarden,app.kubernetes.io/component=webhook";

/// A cluster to install into.
///
/// `TAGWARDEN_E2E_KUBECONFIG` names one that exists (kind, k3d) by a kubeconfig with a client certificate of an
/// administrator, and `TAGWARDEN_E2E_IMAGE` the image to install, `repository:tag`, which its nodes can pull or hold
/// already (`kind load image-archive`). `TAGWARDEN_E2E_RUNNING_IMAGE` (default `registry.k8s.io/pause:3.10`) is what
/// Pods that have to run are made of. Without the first the suite starts a node of its own.
#[derive(Debug)]
pub struct Cluster {
    node: Option<Node>,
    kubectl: Kubectl,
    scratch: PathBuf,
    /// Removed with it; the folder of a node is removed by who made it.
    _temporary: Option<TempDir>,
    image: (String, String),
    running_image: String,
    /// Errors that API servers counted which have ended since.
    carried: Mutex<f64>,
}

impl Cluster {
    /// Starts or finds it.
    pub fn start() -> Self {
        match env::var_os("TAGWARDEN_E2E_KUBECONFIG") {
            Some(kubeconfig) => Cluster::existing(PathBuf::from(kubeconfig)),
            None => Cluster::node(),
        }
    }

    fn node() -> Self {
        let folder = images::folder_of("TAGWARDEN_NODE_FOLDER", "tests/node/inside.sh, which has to run the suite,");
        let node = Node::start(&folder);
        let crane = Crane::find();
        crane.push_pause(&folder);
        let image = crane.push_tagwarden(&folder);
        let kubectl = Kubectl {
            program: node.program("kubectl"),
            kubeconfig: node.kubeconfig(),
            home: folder.clone(),
            namespace: None,
        };
        let cluster = Cluster {
            kubectl,
            image,
            running_image: images::API.to_owned(),
            scratch: folder,
            _temporary: None,
            carried: Mutex::default(),
            node: Some(node),
        };
        let ready = ["wait", "--for=condition=Ready", "--timeout=5s", "node", node::NAME];
        until_true("the node to be ready", PATIENCE, || {
            cluster.node.iter().for_each(Node::check);
            cluster.kubectl.run(&ready).succeeded()
        });
        cluster
    }

    fn existing(kubeconfig: PathBuf) -> Self {
        let image = env::var("TAGWARDEN_E2E_IMAGE").expect("TAGWARDEN_E2E_IMAGE names the image, repository:tag");
        let (repository, tag) = image.rsplit_once(':').expect("TAGWARDEN_E2E_IMAGE has a tag");
        let temporary = tempfile::Builder::new().prefix("tagwarden-e2e-").tempdir().expect("a folder can be made");
        let scratch = temporary.path().to_owned();
        Cluster {
            node: None,
            kubectl: Kubectl { program: "kubectl".into(), kubeconfig, home: scratch.clone(), namespace: None },
            image: (repository.to_owned(), tag.to_owned()),
            running_image: env::var("TAGWARDEN_E2E_RUNNING_IMAGE")
                .unwrap_or_else(|_| "registry.k8s.io/pause:3.10".to_owned()),
            scratch,
            _temporary: Some(temporary),
            carried: Mutex::default(),
        }
    }

    /// The node, where the suite started it; scenarios that meddle with its processes need that.
    pub fn own_node(&self) -> Option<&Node> {
        self.node.as_ref()
    }

    /// kubectl as the administrator.
    pub fn admin(&self) -> &Kubectl {
        &self.kubectl
    }

    /// The administrator's kubeconfig.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubectl.kubeconfig
    }

    /// A folder for files of scenarios.
    pub fn scratch(&self) -> &Path {
        &self.scratch
    }

    /// Repository and tag of the image under test.
    pub fn image(&self) -> (&str, &str) {
        (&self.image.0, &self.image.1)
    }

    /// An image whose containers run until they are told to end.
    pub fn running_image(&self) -> &str {
        &self.running_image
    }

    /// Makes a namespace, or takes it as it is.
    pub fn namespace(&self, name: &str, labels: &Value) -> Kubectl {
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}});
        self.kubectl.apply(&namespace).accepted();
        let inside = self.kubectl.within(name);
        // Pods are refused until the controller has made the account they run as.
        until("the default service account", PATIENCE, || inside.get("serviceaccount/default"));
        inside
    }

    /// The latest audit line of a Pod's creation; none on a cluster that exists, whose log cannot be read.
    pub fn audited_creation(&self, namespace: &str, pod: &str) -> Option<Value> {
        let node = self.node.as_ref()?;
        let is_it = |event: &Value| {
            event["verb"] == "create"
                && event["objectRef"]["resource"] == "pods"
                && event["objectRef"]["namespace"] == namespace
                && event["objectRef"]["name"] == pod
        };
        Some(until(&format!("the audit line of Pod {namespace}/{pod}"), PATIENCE, || {
            node.audit_log().lines().rev().filter_map(|line| serde_json::from_str(line).ok()).find(is_it)
        }))
    }

    /// Webhook calls of ours that failed in the API server's own eyes: those that failed open, and rejections that
    /// were no verdict. Summed across restarts of the API server.
    pub fn failed_calls(&self) -> f64 {
        self.carried() + self.counted_failures()
    }

    /// Ends the API server and starts another, which counts from zero.
    pub fn restart_api_server(&self, node: &Node) {
        let counted = self.counted_failures();
        *self.carried.lock().expect("no scenario panics in here") += counted;
        node.restart_api_server();
        self.wait_for_api_server();
    }

    /// Waits until the API server says that it is ready.
    pub fn wait_for_api_server(&self) {
        until_true("the API server to be ready", PATIENCE, || {
            self.kubectl.run(&["get", "--raw", "/readyz"]).succeeded()
        });
    }

    /// Prints what helps to understand a scenario that failed.
    pub fn explain(&self) {
        for arguments in [
            &["get", "pods,jobs", "--namespace", super::release::NAMESPACE, "-o", "wide"][..],
            &[
                "logs",
                "--namespace",
                super::release::NAMESPACE,
                "--all-containers",
                "--prefix",
                "--tail=12",
                "-l",
                SERVERS,
            ],
        ] {
            println!("{}", self.kubectl.run(arguments));
        }
    }

    fn carried(&self) -> f64 {
        *self.carried.lock().expect("no scenario panics in here")
    }

    fn counted_failures(&self) -> f64 {
        let metrics = self.kubectl.run(&["get", "--raw", "/metrics"]).accepted().stdout;
        let open = sum(&metrics, "apiserver_admission_webhook_fail_open_count", |_| true);
        let rejected =
            sum(&metrics, "apiserver_admission_webhook_rejection_count", |l| !l.contains("error_type=\"no_error\""));
        open + rejected
    }

    /// A metric of one Pod of ours, summed over its series with these labels.
    pub fn pod_metric(&self, namespace: &str, pod: &str, name: &str, labels: &str) -> f64 {
        let metrics = self.pod_page(namespace, pod, "metrics").accepted().stdout;
        sum(&metrics, name, |line| line.contains(labels))
    }

    /// A page of a Pod's health port, by the API server.
    pub fn pod_page(&self, namespace: &str, pod: &str, page: &str) -> Outcome {
        self.kubectl.run(&["get", "--raw", &format!("/api/v1/namespaces/{namespace}/pods/{pod}:8080/proxy/{page}")])
    }
}

/// The sum of a metric's series whose labels are wanted.
fn sum(text: &str, name: &str, wanted: impl Fn(&str) -> bool) -> f64 {
    text.lines()
        .filter_map(|line| line.strip_prefix(name))
        .filter(|rest| rest.starts_with(['{', ' ']) && wanted(rest))
        .filter_map(|rest| rest.rsplit(' ').next()?.parse::<f64>().ok())
        .sum()
}
