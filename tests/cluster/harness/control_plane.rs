//! The cluster that all tests share: etcd, kube-apiserver and kube-controller-manager on loopback.

use super::assets::Assets;
use super::kubectl::Kubectl;
use super::pki::{Authority, Identity};
use super::process::{Process, Watchdog};
use super::wait::{PATIENCE, until, until_true};
use rcgen::KeyPair;
use serde_json::{Value, json};
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, OnceLock};

/// A running cluster. There are no nodes and no scheduler: Pods are objects and stay pending.
#[derive(Debug)]
pub struct Cluster {
    folder: PathBuf,
    watchdog: &'static Watchdog,
    kubectl: PathBuf,
    _processes: Mutex<Vec<Process>>,
}

/// Who speaks to the API server.
#[derive(Clone, Copy, Debug)]
pub enum User {
    /// The cluster's administrator, in `system:masters`.
    Admin,
    /// A developer, in group `developers`: may edit, as a tenant does, in every namespace.
    Dana,
    /// The kubelet of node n1.
    Node,
    /// Our server: what it may do is what the shipped role says.
    Tagwarden,
    /// kube-controller-manager.
    ControllerManager,
}

const AUDIT_POLICY: &str = r#"
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
  - level: RequestResponse
    verbs: [create, update, patch]
    resources: [{group: "", resources: [pods, pods/ephemeralcontainers]}, {group: apps}, {group: batch}]
  - level: None
"#;

impl Cluster {
    /// The one cluster of this run, started by whoever asks first.
    pub fn shared() -> &'static Cluster {
        static CLUSTER: OnceLock<Cluster> = OnceLock::new();
        CLUSTER.get_or_init(Cluster::start)
    }

    fn start() -> Self {
        let assets = Assets::find();
        let folder = tempfile::Builder::new()
            .prefix("tagwarden-cluster-")
            .tempdir()
            .expect("a temporary folder can be made")
            .keep(); // the watchdog removes it
        let watchdog: &'static Watchdog = Box::leak(Box::new(Watchdog::start(&folder)));
        let [etcd_port, peer_port, api_port] = free_ports();

        let authority = Authority::new("cluster-ca");
        fs::write(folder.join("ca.crt"), &authority.pem).expect("the folder can be written");
        for user in User::ALL {
            write_kubeconfig(&folder, api_port, user, &authority);
        }
        let mut processes = vec![
            start_etcd(&assets, &folder, watchdog, etcd_port, peer_port),
            start_api_server(&assets, &folder, watchdog, etcd_port, api_port, &authority),
        ];
        let cluster = Cluster { kubectl: assets.program("kubectl"), watchdog, _processes: Mutex::default(), folder };
        let admin = cluster.as_user(User::Admin);
        until_true("kube-apiserver to be ready", PATIENCE, || {
            for process in &mut processes {
                let ended = process.ended();
                assert!(ended.is_none(), "{process:?} ended with {ended:?}; its log: {}", cluster.logs());
            }
            admin.run(&["get", "--raw", "/readyz"]).succeeded()
        });
        processes.push(start_controller_manager(&assets, &cluster.folder, watchdog));
        admin.apply(&roles()).accepted();
        Cluster { _processes: Mutex::new(processes), ..cluster }
    }

    pub fn as_user(&self, user: User) -> Kubectl {
        Kubectl {
            program: self.kubectl.clone(),
            kubeconfig: self.kubeconfig(user),
            home: self.folder.clone(),
            namespace: None,
        }
    }

    pub fn kubeconfig(&self, user: User) -> PathBuf {
        kubeconfig(&self.folder, user)
    }

    /// A folder of one test.
    pub fn folder(&self, name: &str) -> PathBuf {
        let folder = self.folder.join(name);
        fs::create_dir(&folder).expect("names of tests are unique");
        folder
    }

    pub fn watchdog(&self) -> &'static Watchdog {
        self.watchdog
    }

    /// Makes a namespace in which Pods can be created.
    pub fn create_namespace(&self, name: &str, labels: &Value) {
        let admin = self.as_user(User::Admin);
        admin
            .create(&json!({
                "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels},
            }))
            .accepted();
        let inside = admin.within(name);
        // Pods are refused until the controller has made the account they run as.
        until("the default service account", PATIENCE, || inside.get("serviceaccount/default"));
    }

    /// The audit line of a Pod's creation, refused or not.
    pub fn audited_creation(&self, namespace: &str, pod: &str) -> Value {
        let is_it = |event: &Value| {
            event["verb"] == "create"
                && event["objectRef"]["resource"] == "pods"
                && event["objectRef"]["namespace"] == namespace
                && event["requestObject"]["metadata"]["name"] == pod
        };
        until(&format!("the audit line of Pod {namespace}/{pod}"), PATIENCE, || {
            let log = fs::File::open(self.folder.join("audit.log")).ok()?;
            BufReader::new(log)
                .lines()
                .map_while(Result::ok)
                .filter(|line| line.contains(namespace)) // some lines of other tests are 17 MB long
                .filter_map(|line| serde_json::from_str(&line).ok()) // the last may be half written
                .find(is_it)
        })
    }

    /// The sum of all series of a metric of the API server.
    pub fn metric(&self, name: &str) -> f64 {
        let text = self.as_user(User::Admin).run(&["get", "--raw", "/metrics"]).accepted().stdout;
        text.lines()
            .filter_map(|line| line.strip_prefix(name))
            .filter(|rest| rest.starts_with(['{', ' ']))
            .filter_map(|rest| rest.rsplit(' ').next()?.parse::<f64>().ok())
            .sum()
    }

    fn logs(&self) -> String {
        ["etcd.log", "kube-apiserver.log"]
            .map(|name| fs::read_to_string(self.folder.join(name)).unwrap_or_default())
            .concat()
    }
}

impl User {
    const ALL: [User; 5] = [User::Admin, User::Dana, User::Node, User::Tagwarden, User::ControllerManager];

    /// The user's name and group.
    fn name(self) -> (&'static str, Option<&'static str>) {
        match self {
            User::Admin => ("admin", Some("system:masters")),
            User::Dana => ("dana", Some("developers")),
            User::Node => ("system:node:n1", Some("system:nodes")),
            User::Tagwarden => ("tagwarden", None),
            User::ControllerManager => ("system:kube-controller-manager", None),
        }
    }
}

/// Three ports that are free now. They are held together, so that they differ.
fn free_ports() -> [u16; 3] {
    let listeners = [(); 3].map(|()| TcpListener::bind("127.0.0.1:0").expect("loopback has ports"));
    listeners.map(|listener| listener.local_addr().expect("it is bound").port())
}

fn start_etcd(assets: &Assets, folder: &Path, watchdog: &'static Watchdog, port: u16, peer_port: u16) -> Process {
    let clients = format!("http://127.0.0.1:{port}");
    let peers = format!("http://127.0.0.1:{peer_port}");
    let mut command = Command::new(assets.program("etcd"));
    command
        .arg("--data-dir")
        .arg(folder.join("etcd"))
        .args(["--listen-client-urls", &clients])
        .args(["--advertise-client-urls", &clients])
        .args(["--listen-peer-urls", &peers])
        .args(["--initial-advertise-peer-urls", &peers])
        .args(["--initial-cluster", &format!("default={peers}")])
        // Objects as large as the API server takes; by default etcd stops at half of that.
        .args(["--max-request-bytes", "8388608"])
        .args(["--log-level", "error"]);
    Process::start(&mut command, &folder.join("etcd.log"), watchdog)
}

fn start_api_server(
    assets: &Assets,
    folder: &Path,
    watchdog: &'static Watchdog,
    etcd_port: u16,
    port: u16,
    authority: &Authority,
) -> Process {
    let serving = authority
        .server("kube-apiserver", &["127.0.0.1", "10.0.0.1", "localhost", "kubernetes.default.svc"])
        .write(folder, "apiserver");
    let accounts = KeyPair::generate().expect("a key can be made");
    let accounts =
        Identity { certificate: accounts.public_key_pem(), key: accounts.serialize_pem() }.write(folder, "accounts");
    let audit_policy = folder.join("audit-policy.yaml");
    fs::write(&audit_policy, AUDIT_POLICY).expect("the folder can be written");

    let mut command = Command::new(assets.program("kube-apiserver"));
    command
        .arg(format!("--etcd-servers=http://127.0.0.1:{etcd_port}"))
        .arg(format!("--secure-port={port}"))
        .arg("--bind-address=127.0.0.1")
        .arg("--service-cluster-ip-range=10.0.0.0/24")
        .arg("--authorization-mode=Node,RBAC")
        .arg("--allow-privileged=true")
        .arg("--service-account-issuer=https://kubernetes.default.svc");
    for (flag, path) in [
        ("client-ca-file", &folder.join("ca.crt")),
        ("tls-cert-file", &serving.certificate),
        ("tls-private-key-file", &serving.key),
        ("service-account-key-file", &accounts.certificate),
        ("service-account-signing-key-file", &accounts.key),
        ("audit-policy-file", &audit_policy),
        ("audit-log-path", &folder.join("audit.log")),
    ] {
        command.arg(format!("--{flag}={}", path.display()));
    }
    Process::start(&mut command, &folder.join("kube-apiserver.log"), watchdog)
}

fn start_controller_manager(assets: &Assets, folder: &Path, watchdog: &'static Watchdog) -> Process {
    let mut command = Command::new(assets.program("kube-controller-manager"));
    command
        .arg("--use-service-account-credentials=true")
        .arg("--bind-address=127.0.0.1")
        .arg("--secure-port=0")
        .arg("--leader-elect=false");
    for (flag, path) in [
        ("kubeconfig", &kubeconfig(folder, User::ControllerManager)),
        ("root-ca-file", &folder.join("ca.crt")),
        ("service-account-private-key-file", &folder.join("accounts.key")),
    ] {
        command.arg(format!("--{flag}={}", path.display()));
    }
    let log = folder.join("kube-controller-manager.log");
    Process::start(&mut command, &log, watchdog)
}

fn kubeconfig(folder: &Path, user: User) -> PathBuf {
    folder.join(format!("{user:?}.kubeconfig"))
}

fn write_kubeconfig(folder: &Path, port: u16, user: User, authority: &Authority) {
    let (name, group) = user.name();
    let files = authority.client(name, group).write(folder, &format!("{user:?}"));
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "cluster", "cluster": {
            "server": format!("https://127.0.0.1:{port}"),
            "certificate-authority": folder.join("ca.crt"),
        }}],
        "users": [{"name": name, "user": {
            "client-certificate": files.certificate,
            "client-key": files.key,
        }}],
        "contexts": [{"name": "context", "context": {"cluster": "cluster", "user": name}}],
        "current-context": "context",
    });
    fs::write(kubeconfig(folder, user), config.to_string()).expect("the folder can be written");
}

/// What Dana and our server may do.
fn roles() -> Value {
    let bind = |name: &str, role: &str, kind: &str, subject: &str| {
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
            "metadata": {"name": name},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": subject}],
        })
    };
    json!({"apiVersion": "v1", "kind": "List", "items": [
        bind("developers-edit", "edit", "Group", "developers"),
        {
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
            "metadata": {"name": "debug"},
            "rules": [{"apiGroups": [""], "resources": ["pods/ephemeralcontainers"], "verbs": ["patch", "update"]}],
        },
        bind("developers-debug", "debug", "Group", "developers"),
        {
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
            "metadata": {"name": "tagwarden"},
            "rules": [
                {"apiGroups": [""], "resources": ["namespaces"], "verbs": ["get", "list", "watch"]},
                {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "create", "update"]},
                {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get", "create", "update"]},
                {"apiGroups": [""], "resources": ["serviceaccounts"], "verbs": ["get"]},
                {
                    "apiGroups": ["admissionregistration.k8s.io"],
                    "resources": ["validatingwebhookconfigurations", "mutatingwebhookconfigurations"],
                    "verbs": ["get", "patch"],
                },
                {
                    "apiGroups": ["tagwarden.dev"],
                    "resources": ["imagepolicies", "imagereleases"],
                    "verbs": ["get", "list", "watch"],
                },
                {
                    "apiGroups": ["tagwarden.dev"],
                    "resources": ["imagepolicies/status", "imagereleases/status"],
                    "verbs": ["patch"],
                },
                {"apiGroups": [""], "resources": ["pods"], "verbs": ["list", "watch"]},
                {"apiGroups": ["events.k8s.io"], "resources": ["events"], "verbs": ["create"]},
                {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["get", "create", "patch"]},
            ],
        },
        bind("tagwarden", "tagwarden", "User", "tagwarden"),
    ]})
}
