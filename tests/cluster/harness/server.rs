//! The real server under test: the built binary with policies, certificates and ports of its own.

use super::control_plane::{Cluster, User};
use super::http;
use super::pki::{self, Authority, Files};
use super::process::Process;
use super::wait::{PATIENCE, until, until_true};
use serde_json::Value;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::{Command, ExitStatus};

/// The Service that [`super::Bed`] calls the server through, and thus a name of its certificate.
pub const SERVICE: &str = "tagwarden";

/// A running `tagwarden serve`.
#[derive(Debug)]
pub struct Server {
    process: Process,
    folder: PathBuf,
    log: PathBuf,
    webhook: SocketAddr,
    health: SocketAddr,
}

/// How to start one.
#[derive(Debug)]
pub struct ServerOptions<'a> {
    /// Names the process's folder; unique.
    pub name: &'a str,
    /// The namespace whose Service calls it, and which it takes for its own.
    pub namespace: &'a str,
    /// File name and text of each policy file.
    pub policies: &'a [(&'a str, &'a str)],
    /// The server's configuration file, if it needs one.
    pub config: Option<&'a str>,
    /// Who signs its certificate.
    pub authority: &'a Authority,
}

/// What a process is started with.
struct Launch<'a> {
    name: &'a str,
    namespace: &'a str,
    policies: &'a [(&'a str, &'a str)],
    config: Option<&'a str>,
    /// None: it makes its own.
    identity: Option<&'a pki::Identity>,
}

impl Server {
    /// Starts a server and waits until its ports are known, not until it is ready.
    pub fn start(cluster: &Cluster, options: &ServerOptions<'_>) -> Self {
        let ServerOptions { name, namespace, policies, config, authority: _ } = *options;
        let identity = identity(options);
        Server::launch(cluster, &Launch { name, namespace, policies, config, identity: Some(&identity) })
    }

    /// The same for one that makes its certificate itself, as `config` says.
    pub fn self_managed(
        cluster: &Cluster,
        name: &str,
        namespace: &str,
        policies: &[(&str, &str)],
        config: &str,
    ) -> Self {
        Server::launch(cluster, &Launch { name, namespace, policies, config: Some(config), identity: None })
    }

    fn launch(cluster: &Cluster, launch: &Launch<'_>) -> Self {
        let folder = cluster.folder(launch.name);
        let policies = folder.join("policies");
        fs::create_dir(&policies).expect("the folder is new");
        for (name, text) in launch.policies {
            pki::replace(&policies.join(name), text);
        }
        let mut command = Command::new(program());
        command.arg("serve");
        if let Some(config) = launch.config {
            let path = folder.join("config.yaml");
            pki::replace(&path, config);
            command.arg("--config").arg(path);
        }
        if let Some(identity) = launch.identity {
            let Files { certificate, key } = identity.write(&folder, "tls");
            command.arg("--tls-cert").arg(certificate).arg("--tls-key").arg(key);
        }
        command
            .arg("--policies")
            .arg(&policies)
            .args(["--listen", "127.0.0.1:0"])
            .args(["--health-listen", "127.0.0.1:0"])
            .args(["--log-format", "json"])
            .env("KUBECONFIG", cluster.kubeconfig(User::Tagwarden))
            .env("POD_NAMESPACE", launch.namespace);
        let log = folder.join("server.log");
        let mut process = Process::start(&mut command, &log, cluster.watchdog());
        let listening = until("the server's line \"listening\"", PATIENCE, || {
            let text = fs::read_to_string(&log).unwrap_or_default();
            let ended = process.ended();
            assert!(ended.is_none(), "the server ended with {ended:?}; its log:\n{text}");
            text.lines()
                .filter_map(|line| serde_json::from_str::<Value>(line).ok())
                .find(|line| field(line, "message").as_deref() == Some("listening"))
        });
        let address = |name: &str| {
            let text =
                field(&listening, name).unwrap_or_else(|| panic!("the line \"listening\" has no {name}: {listening}"));
            let address: SocketAddr = text.parse().expect("it is an address");
            SocketAddr::from((Ipv4Addr::LOCALHOST, address.port()))
        };
        Server { webhook: address("webhook"), health: address("health"), process, folder, log }
    }

    /// [`Server::start`], and waits until it is ready.
    pub fn ready(cluster: &Cluster, options: &ServerOptions<'_>) -> Self {
        let server = Server::start(cluster, options);
        until_true(&format!("readiness of\n{}", server.log()), PATIENCE, || server.is_ready());
        server
    }

    /// Where reviews go.
    pub fn webhook(&self) -> SocketAddr {
        self.webhook
    }

    /// Where health and metrics are.
    pub fn health(&self) -> SocketAddr {
        self.health
    }

    pub fn is_ready(&self) -> bool {
        http::get(self.health, "/readyz").is_some_and(|answer| answer.status == 200)
    }

    /// `/readyz?verbose`, whatever its status.
    pub fn readiness(&self) -> String {
        http::get(self.health, "/readyz?verbose").map_or_else(String::new, |answer| answer.body)
    }

    /// The sum of all series of a metric whose labels contain `labels`.
    pub fn metric(&self, name: &str, labels: &str) -> f64 {
        let Some(answer) = http::get(self.health, "/metrics") else {
            return 0.0;
        };
        answer
            .body
            .lines()
            .filter_map(|line| line.strip_prefix(name))
            .filter(|rest| rest.starts_with(['{', ' ']) && rest.contains(labels))
            .filter_map(|rest| rest.rsplit(' ').next()?.parse::<f64>().ok())
            .sum()
    }

    /// Replaces a policy file and waits until the server has read it.
    pub fn change_policy(&self, name: &str, text: &str) {
        let hashes = || {
            http::get(self.health, "/metrics").map_or_else(Vec::new, |answer| {
                answer
                    .body
                    .lines()
                    .filter(|line| line.starts_with("tagwarden_policy_info{"))
                    .map(str::to_owned)
                    .collect::<Vec<_>>()
            })
        };
        let old = hashes();
        assert!(!old.is_empty(), "the server shows no tagwarden_policy_info");
        self.change_policy_text(name, text);
        until_true("the changed policy to be loaded", PATIENCE, || hashes() != old);
    }

    /// Replaces a policy file, whatever the server makes of it.
    pub fn change_policy_text(&self, name: &str, text: &str) {
        pki::replace(&self.folder.join("policies").join(name), text);
    }

    /// Puts another certificate in place of the one it serves.
    pub fn change_certificate(&self, identity: &pki::Identity) {
        identity.write(&self.folder, "tls");
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits until the log says this: the thread that writes it lets lines gather for a moment.
    pub fn logs(&self, text: &str) {
        until_true(&format!("'{text}' in the log"), PATIENCE, || self.log().contains(text));
    }

    /// Sends a signal by its name.
    pub fn signal(&self, name: &str) {
        self.process.signal(name);
    }

    /// Ends it at once, as a lost node would.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.process.ended()
    }
}

/// A certificate for both ways of calling: the Service's names, and the address of the URL.
pub fn identity(options: &ServerOptions<'_>) -> pki::Identity {
    let service = format!("{SERVICE}.{}.svc", options.namespace);
    let full = format!("{service}.cluster.local");
    options.authority.server("tagwarden", &["127.0.0.1", &service, &full])
}

/// The binary of this build, or another one, a released one for example.
pub fn program() -> PathBuf {
    std::env::var_os("TAGWARDEN_BINARY").map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_tagwarden")), PathBuf::from)
}

/// A field of a log line, at its top or under `fields`.
fn field(line: &Value, name: &str) -> Option<String> {
    let value = line.get(name).or_else(|| line.get("fields")?.get(name))?;
    value.as_str().map(str::to_owned)
}
