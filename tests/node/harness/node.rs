//! A whole one-node Kubernetes of real processes: etcd, control plane, registry, containerd, kubelet, kube-proxy.
//!
//! It runs in the namespaces that `inside.sh` made, so ports and addresses are fixed and whatever is started here, or by
//! what is started here, ends with them.

use super::assets::Assets;
use super::pki::{Authority, Identity};
use super::process::{Process, Watchdog};
use super::wait::{PATIENCE, until_true};
use rcgen::KeyPair;
use serde_json::json;
use std::ffi::OsStr;
use std::fs;
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// The node's address, also the registry's: in a Pod, localhost is the Pod.
pub const ADDRESS: &str = "10.99.0.1";

/// Where the registry listens.
pub const REGISTRY: &str = "10.99.0.1:5000";

/// The name under which Pods and policies know that registry; containerd is told where it is.
pub const REGISTRY_HOST: &str = "registry.example.com";

/// The name in the certificate that the API server shows to webhooks that ask for one.
pub const WEBHOOK_CLIENT: &str = "kube-apiserver-webhooks";

const API_SERVER: &str = "https://127.0.0.1:6443";
/// The name of the node's object.
pub const NAME: &str = "n1";

/// The running node.
#[derive(Debug)]
pub struct Node {
    folder: PathBuf,
    assets: Assets,
    watchdog: &'static Watchdog,
    etcd: Process,
    api_server: Mutex<Process>,
    registry: Mutex<Process>,
    others: Mutex<Vec<Process>>,
}

/// A component or person with a kubeconfig: CN is the user, O the group.
const USERS: [(&str, &str, Option<&str>); 5] = [
    ("admin", "admin", Some("system:masters")),
    ("controller-manager", "system:kube-controller-manager", None),
    ("scheduler", "system:kube-scheduler", None),
    ("kubelet", "system:node:n1", Some("system:nodes")),
    ("proxy", "system:kube-proxy", None),
];

const AUDIT_POLICY: &str = r#"
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
  - {level: None, namespaces: [load]}
  - {level: Metadata, verbs: [create, update, patch], resources: [{group: "", resources: [pods]}]}
  - {level: None}
"#;

impl Node {
    /// Starts everything and waits until the node is ready.
    pub fn start(folder: &Path) -> Self {
        let assets = Assets::find();
        // inside.sh ends what is left and removes the folder; this one is for processes that a scenario forgets.
        let watchdog: &'static Watchdog = Box::leak(Box::new(Watchdog::start(&folder.join("none"))));
        let cgroup = std::env::var("TAGWARDEN_NODE_CGROUP").expect("inside.sh names the control group");
        write_identities(folder);
        write_webhook_client(folder);
        write_configurations(folder, &cgroup);

        let start = |program: &Path, arguments: &[&str]| start(folder, watchdog, program, arguments);
        let registry = start_registry(folder, watchdog);
        let containerd = start(Path::new("containerd"), &["--config=containerd.toml"]);
        let etcd = start(
            &assets.program("etcd"),
            &[
                // In memory: another's writes on the same disk would stall every write here.
                "--data-dir=/run/etcd",
                "--listen-client-urls=http://127.0.0.1:2379",
                "--advertise-client-urls=http://127.0.0.1:2379",
                "--listen-peer-urls=http://127.0.0.1:2380",
                "--log-level=error",
            ],
        );
        let api_server = start_api_server(folder, watchdog, &assets);
        // The kubelet gives up where there is no runtime.
        until_true("containerd to listen", PATIENCE, || UnixStream::connect(folder.join("containerd.sock")).is_ok());
        let node = Node {
            folder: folder.to_owned(),
            watchdog,
            etcd,
            api_server: Mutex::new(api_server),
            registry: Mutex::new(registry),
            others: Mutex::new(vec![
                containerd,
                start(
                    &assets.program("kube-controller-manager"),
                    &[
                        "--kubeconfig=controller-manager.kubeconfig",
                        "--service-account-private-key-file=accounts.key",
                        "--root-ca-file=ca.crt",
                        "--use-service-account-credentials=true",
                        "--bind-address=127.0.0.1",
                        "--leader-elect=false", // it would end itself when a write takes long
                    ],
                ),
                start(
                    &assets.program("kube-scheduler"),
                    &["--kubeconfig=scheduler.kubeconfig", "--bind-address=127.0.0.1", "--leader-elect=false"],
                ),
                start(
                    &assets.program("kubelet"),
                    &[
                        "--kubeconfig=kubelet.kubeconfig",
                        "--config=kubelet.yaml",
                        "--hostname-override=n1",
                        "--node-ip=10.99.0.1",
                        &format!("--root-dir={}", folder.join("kubelet").display()),
                    ],
                ),
                start(
                    &assets.program("kube-proxy"),
                    &[
                        "--kubeconfig=proxy.kubeconfig",
                        "--proxy-mode=nftables",
                        "--cluster-cidr=10.244.0.0/16",
                        "--hostname-override=n1",
                        "--bind-address=10.99.0.1",
                        "--conntrack-max-per-core=0",
                    ],
                ),
            ]),
            assets,
        };
        until_true("the registry to listen", PATIENCE, || TcpStream::connect(REGISTRY).is_ok());
        node
    }

    /// The administrator's kubeconfig.
    pub fn kubeconfig(&self) -> PathBuf {
        self.folder.join("admin.kubeconfig")
    }

    /// The folder of all its files and logs.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// A program of Kubernetes.
    pub fn program(&self, name: &str) -> PathBuf {
        self.assets.program(name)
    }

    /// What the API server wrote to its audit log.
    pub fn audit_log(&self) -> String {
        fs::read_to_string(self.folder.join("audit.log")).unwrap_or_default()
    }

    /// `/proc/PID/status` of every running server of ours, by the name of its Pod.
    pub fn servers(&self) -> Vec<(String, String)> {
        let processes = fs::read_dir("/proc").expect("there is /proc").flatten();
        let of_ours = |process: &fs::DirEntry| {
            let comm = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            comm.trim() == "tagwarden"
        };
        let read = |process: fs::DirEntry| {
            let environment = fs::read(process.path().join("environ")).ok()?;
            let host = environment.split(|byte| *byte == 0).find_map(|entry| entry.strip_prefix(b"HOSTNAME="))?;
            let status = fs::read_to_string(process.path().join("status")).ok()?;
            Some((String::from_utf8_lossy(host).into_owned(), status))
        };
        processes.filter(of_ours).filter_map(read).collect()
    }

    /// Fails if a process that nobody stopped has ended.
    pub fn check(&self) {
        for process in self.others.lock().expect("no scenario panics in here").iter_mut() {
            let ended = process.ended();
            assert!(
                ended.is_none(),
                "{process:?} ended with {ended:?}; TAGWARDEN_E2E_LOGS names a folder to keep logs in"
            );
        }
    }

    /// Ends the API server as a service manager does, and starts another one. Clients that hold on to their watches can
    /// keep it for a minute, so it is killed in the end, as a service manager does as well.
    pub fn restart_api_server(&self) {
        let mut process = self.api_server.lock().expect("no scenario panics in here");
        process.signal("TERM");
        let patient_until = Instant::now() + Duration::from_secs(5);
        until_true("the API server to end", PATIENCE, || process.ended().is_some() || Instant::now() >= patient_until);
        process.kill();
        *process = start_api_server(&self.folder, self.watchdog, &self.assets);
    }

    /// Brings back whatever a scenario that failed has left stopped.
    pub fn heal(&self) {
        self.resume_etcd();
        let gone = self.registry.lock().expect("no scenario panics in here").ended().is_some();
        if gone {
            self.start_registry();
        }
    }

    /// Starts a further program that acts as the administrator, with its output in a file named after it.
    pub fn start_beside(&self, program: &Path, arguments: &[&str]) -> Process {
        let mut command = Command::new(program);
        command.args(arguments).env("KUBECONFIG", self.kubeconfig()).current_dir(&self.folder);
        Process::start(&mut command, &log_file(&self.folder, name_of(program)), self.watchdog)
    }

    /// Stops etcd from running, without ending it.
    pub fn pause_etcd(&self) {
        self.etcd.signal("STOP");
    }

    /// Lets etcd run again.
    pub fn resume_etcd(&self) {
        self.etcd.signal("CONT");
    }

    /// Ends the registry at once.
    pub fn stop_registry(&self) {
        self.registry.lock().expect("no scenario panics in here").kill();
    }

    /// Starts the registry again, with what it held.
    pub fn start_registry(&self) {
        *self.registry.lock().expect("no scenario panics in here") = start_registry(&self.folder, self.watchdog);
        until_true("the registry to listen", PATIENCE, || TcpStream::connect(REGISTRY).is_ok());
    }
}

/// Starts a program in the node's folder, with its output in a file named after it.
fn start(folder: &Path, watchdog: &'static Watchdog, program: &Path, arguments: &[&str]) -> Process {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(folder);
    Process::start(&mut command, &log_file(folder, name_of(program)), watchdog)
}

fn name_of(program: &Path) -> &str {
    program.file_name().and_then(OsStr::to_str).expect("programs have names")
}

/// A name that no earlier process of the same program has taken.
fn log_file(folder: &Path, name: &str) -> PathBuf {
    let names = (1..).map(|number| folder.join(format!("{name}.{number}.log")));
    names.into_iter().find(|path| !path.exists()).expect("there is always a next number")
}

fn start_registry(folder: &Path, watchdog: &'static Watchdog) -> Process {
    start(folder, watchdog, Path::new("docker-registry"), &["serve", "registry.yaml"])
}

fn start_api_server(folder: &Path, watchdog: &'static Watchdog, assets: &Assets) -> Process {
    start(
        folder,
        watchdog,
        &assets.program("kube-apiserver"),
        &[
            "--etcd-servers=http://127.0.0.1:2379",
            "--secure-port=6443",
            "--bind-address=0.0.0.0",
            &format!("--advertise-address={ADDRESS}"),
            "--service-cluster-ip-range=10.0.0.0/24",
            "--authorization-mode=Node,RBAC",
            "--allow-privileged=true",
            "--client-ca-file=ca.crt",
            "--tls-cert-file=apiserver.crt",
            "--tls-private-key-file=apiserver.key",
            "--service-account-issuer=https://kubernetes.default.svc",
            "--service-account-key-file=accounts.crt",
            "--service-account-signing-key-file=accounts.key",
            "--kubelet-client-certificate=kubelet-client.crt",
            "--kubelet-client-key=kubelet-client.key",
            "--kubelet-preferred-address-types=InternalIP",
            "--admission-control-config-file=admission.json",
            "--audit-policy-file=audit-policy.yaml",
            "--audit-log-path=audit.log",
        ],
    )
}

fn write_identities(folder: &Path) {
    let authority = Authority::new("node-ca");
    write(folder, "ca.crt", &authority.pem);
    let names = ["127.0.0.1", "10.0.0.1", ADDRESS, "localhost", "kubernetes.default.svc"];
    authority.server("kube-apiserver", &names).write(folder, "apiserver");
    authority.server(NAME, &[ADDRESS, NAME]).write(folder, "kubelet-serving");
    authority.client("kube-apiserver-kubelet-client", Some("system:masters")).write(folder, "kubelet-client");
    let accounts = KeyPair::generate().expect("a key can be made");
    Identity { certificate: accounts.public_key_pem(), key: accounts.serialize_pem() }.write(folder, "accounts");
    for (file, user, group) in USERS {
        let identity = authority.client(user, group).write(folder, file);
        let config = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "node", "cluster": {"server": API_SERVER, "certificate-authority": folder.join("ca.crt")}}],
            "users": [{"name": user, "user": {
                "client-certificate": identity.certificate,
                "client-key": identity.key,
            }}],
            "contexts": [{"name": "node", "context": {"cluster": "node", "user": user}}],
            "current-context": "node",
        });
        write(folder, &format!("{file}.kubeconfig"), &config.to_string());
    }
}

/// The API server's certificate towards webhooks that ask for one: by default it has none.
fn write_webhook_client(folder: &Path) {
    let authority = Authority::new("webhook-client-ca");
    write(folder, "webhook-client-ca.crt", &authority.pem);
    let identity = authority.client(WEBHOOK_CLIENT, None).write(folder, "webhook-client");
    let kubeconfig = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "users": [{"name": "tagwarden.tagwarden.svc", "user": {
            "client-certificate": identity.certificate,
            "client-key": identity.key,
        }}],
    });
    write(folder, "webhooks.kubeconfig", &kubeconfig.to_string());
    let plugin = |name: &str| {
        json!({"name": name, "configuration": {
            "apiVersion": "apiserver.config.k8s.io/v1",
            "kind": "WebhookAdmissionConfiguration",
            "kubeConfigFile": folder.join("webhooks.kubeconfig"),
        }})
    };
    let admission = json!({
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "AdmissionConfiguration",
        "plugins": [plugin("ValidatingAdmissionWebhook"), plugin("MutatingAdmissionWebhook")],
    });
    write(folder, "admission.json", &admission.to_string());
}

fn write_configurations(folder: &Path, cgroup: &str) {
    let here = folder.display();
    write(folder, "audit-policy.yaml", AUDIT_POLICY);
    let registry = json!({
        "version": "0.1",
        "log": {"level": "error", "accesslog": {"disabled": true}},
        "storage": {"filesystem": {"rootdirectory": folder.join("registry")}},
        "http": {"addr": REGISTRY},
    });
    write(folder, "registry.yaml", &registry.to_string());
    for host in [REGISTRY_HOST, REGISTRY] {
        let hosts = folder.join("hosts").join(host);
        fs::create_dir_all(&hosts).expect("the folder can be written");
        let endpoint = format!("server = \"http://{REGISTRY}\"\n[host.\"http://{REGISTRY}\"]\n");
        write(&hosts, "hosts.toml", &endpoint);
    }
    write(
        folder,
        "containerd.toml",
        &format!(
            r#"
version = 2
root = "{here}/containerd/root"
state = "{here}/containerd/state"
[grpc]
  address = "{here}/containerd.sock"
[plugins."io.containerd.internal.v1.opt"]
  path = "{here}/containerd/opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{REGISTRY}/pause:v1.0.0"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = "{here}/hosts"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{here}/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
"#
        ),
    );
    let network = json!({
        "cniVersion": "1.0.0", "name": "pods",
        "plugins": [{
            "type": "bridge", "bridge": "cni0", "isGateway": true, "hairpinMode": true,
            "ipam": {
                "type": "host-local", "ranges": [[{"subnet": "10.244.0.0/24"}]], "routes": [{"dst": "0.0.0.0/0"}],
            },
        }],
    });
    fs::create_dir_all(folder.join("cni")).expect("the folder can be written");
    write(&folder.join("cni"), "10-bridge.conflist", &network.to_string());
    let kubelet = json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": {"enabled": false}, "webhook": {"enabled": false}, "x509": {"clientCAFile": folder.join("ca.crt")},
        },
        "authorization": {"mode": "AlwaysAllow"},
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": cgroup,
        "failCgroupV1": false,
        "failSwapOn": false,
        "containerRuntimeEndpoint": format!("unix://{here}/containerd.sock"),
        "podLogsDir": folder.join("pod-logs"),
        "tlsCertFile": folder.join("kubelet-serving.crt"),
        "tlsPrivateKeyFile": folder.join("kubelet-serving.key"),
        "resolvConf": "",
        "podCIDR": "10.244.0.0/24",
        "evictionHard": {"nodefs.available": "1%"},
        "imageGCHighThresholdPercent": 100,
        "localStorageCapacityIsolation": false,
        "registryPullQPS": 0,
        // Mounted ConfigMaps and Secrets are looked at this often.
        "syncFrequency": "5s",
    });
    write(folder, "kubelet.yaml", &kubelet.to_string());
}

fn write(folder: &Path, name: &str, text: &str) {
    fs::write(folder.join(name), text).expect("the node's folder can be written");
}
