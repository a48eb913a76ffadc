//! What stands around the servers: certificate, registry, files, and the commands that start them.

use std::fs;
use std::net::SocketAddr;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use serde_json::json;
use tagwarden::certs::Authority;
use tagwarden::cli::{ExampleImage, ExampleRegistry};
use tagwarden::image::DigestBuf;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::client::Client;
use crate::machine::{Core, Machine};
use crate::reviews::IMAGES;
use crate::server::Server;

/// In seconds.
const LIFETIME: i64 = 86_400;
/// Where files are in memory.
const MEMORY: &str = "/dev/shm";
pub const HOST: &str = "registry.example.com";
/// The repository of the many tags.
const MANY: &str = "acme/many";

/// The place of one `make bench`.
pub struct Scene {
    pub machine: Machine,
    pub client: Client,
    pub registry: ExampleRegistry,
    /// `name:tag@digest` of the review's three images.
    pub pinned: [String; 3],
    many: DigestBuf,
    folder: TempDir,
    /// The registry lives in it.
    pub runtime: Runtime,
}

impl Scene {
    pub fn set() -> anyhow::Result<Self> {
        let in_memory = Path::new(MEMORY).is_dir();
        let parent = if in_memory { PathBuf::from(MEMORY) } else { std::env::temp_dir() };
        let folder = tempfile::Builder::new().prefix("tagwarden-bench-").tempdir_in(parent)?;
        let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs())?;
        let authority = Authority::new("bench", now, LIFETIME)?;
        let pair = authority.server(&["127.0.0.1".to_owned()], now, LIFETIME)?;
        fs::write(folder.path().join("tls.crt"), &pair.cert)?;
        fs::write(folder.path().join("tls.key"), &*pair.key)?;

        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let registry = runtime.block_on(ExampleRegistry::start(now))?;
        fs::write(folder.path().join("registry.crt"), registry.authority())?;
        let mut pinned = Vec::new();
        for (repository, tag) in IMAGES {
            let image = ExampleImage { platforms: &["linux/amd64"], labels: &[("of", repository)] };
            let digest = registry.push(repository, &image)?;
            registry.tag(repository, tag, &digest);
            pinned.push(format!("{HOST}/{repository}:{tag}@{digest}"));
        }
        let many = registry.push(MANY, &ExampleImage { platforms: &["linux/amd64"], labels: &[] })?;
        Ok(Scene {
            machine: Machine::new()?,
            client: Client::new(authority.pem())?,
            registry,
            pinned: pinned.try_into().ok().context("there are three images")?,
            many,
            folder,
            runtime,
        })
    }

    /// How the bench is placed, for the reader of the figures.
    pub fn told(&self) -> String {
        let program = match std::env::var_os("TAGWARDEN_BENCH_PROGRAM") {
            Some(other) => other.display().to_string(),
            None => "this build".to_owned(),
        };
        let log = if self.folder.path().starts_with(MEMORY) { "in memory" } else { "on disk, for want of /dev/shm" };
        format!("program: {program}; {}; the log is on, to a file {log}", self.machine.told())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn scratch(&self) -> &Path {
        self.folder.path()
    }

    /// Writes a file of the scene.
    pub fn file(&self, name: &str, text: &str) -> anyhow::Result<PathBuf> {
        let path = self.path(name);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(&path, text)?;
        Ok(path)
    }

    /// A review with its images pinned.
    pub fn with_digests(&self, review: &str) -> String {
        IMAGES.iter().zip(&self.pinned).fold(review.to_owned(), |review, ((repository, tag), pinned)| {
            review.replace(&format!("\"{HOST}/{repository}:{tag}\""), &format!("\"{pinned}\""))
        })
    }

    /// The configuration's entry of the registry.
    pub fn registries(&self) -> String {
        self.registries_at(SocketAddr::from(([127, 0, 0, 1], self.registry.port())))
    }

    /// The same, where the registry is reached there.
    pub fn registries_at(&self, address: SocketAddr) -> String {
        let ca = self.path("registry.crt");
        format!(
            "registries: [{{host: {HOST}, endpoint: \"https://{address}\", private: true, ca: {}}}]\n",
            ca.display()
        )
    }

    /// Images of the registry by tags that nobody has asked for yet, pinned: those of these numbers.
    pub fn many(&self, numbers: Range<usize>) -> Vec<String> {
        let tag = |number: usize| {
            let tag = format!("v1.0.{number}");
            self.registry.tag(MANY, &tag, &self.many);
            format!("{HOST}/{MANY}:{tag}@{}", self.many)
        };
        numbers.map(tag).collect()
    }

    /// The floor as a process.
    pub fn floor(&self) -> anyhow::Result<Server> {
        let mut command = self.machine.command(Core::Server, std::env::current_exe()?);
        command.args(["--floor", "127.0.0.1:0"]).arg(self.path("tls.crt")).arg(self.path("tls.key"));
        Server::start(command, &self.path("floor.log"))
    }

    /// A server of this name with this configuration and policy, outside any cluster, started and ready.
    pub fn server(&self, name: &str, config: &str, policy: &str) -> anyhow::Result<Server> {
        self.start(&Setup { name, config, policies: &[policy.to_owned()], cluster: None })
    }

    /// A server that is set up so, started and ready.
    pub fn start(&self, setup: &Setup<'_>) -> anyhow::Result<Server> {
        let name = setup.name;
        Server::start(self.command(setup)?, &self.path(&format!("{name}.log")))
            .with_context(|| format!("the server with {name}"))
    }

    fn command(&self, setup: &Setup<'_>) -> anyhow::Result<Command> {
        let name = setup.name;
        let config = self.file(&format!("{name}.yaml"), setup.config)?;
        let policies = self.path(&format!("policies-{name}"));
        for (number, policy) in setup.policies.iter().enumerate() {
            self.file(&format!("policies-{name}/{number}.yaml"), policy)?;
        }
        let program = std::env::var_os("TAGWARDEN_BENCH_PROGRAM");
        let program = program.unwrap_or_else(|| env!("CARGO_BIN_EXE_tagwarden").into());
        let mut command = self.machine.command(Core::Server, program);
        command.args(["serve", "--listen", "127.0.0.1:0", "--health-listen", "127.0.0.1:0", "--log-format", "json"]);
        command.arg("--config").arg(config).arg("--policies").arg(policies);
        command.arg("--tls-cert").arg(self.path("tls.crt")).arg("--tls-key").arg(self.path("tls.key"));
        match setup.cluster {
            None => command.arg("--no-cluster"),
            Some(address) => {
                let way = self.file(&format!("{name}.kubeconfig"), &kubeconfig(address))?;
                command.env("KUBECONFIG", way).env("POD_NAMESPACE", "tagwarden")
            }
        };
        Ok(command)
    }
}

/// What a server is started with.
pub struct Setup<'a> {
    pub name: &'a str,
    pub config: &'a str,
    /// Files of policies.
    pub policies: &'a [String],
    /// Where its API server is; none: it is outside any cluster.
    pub cluster: Option<SocketAddr>,
}

/// The way to an API server, in the clear and without a user.
fn kubeconfig(address: SocketAddr) -> String {
    json!({"apiVersion": "v1", "kind": "Config", "current-context": "bench",
        "clusters": [{"name": "bench", "cluster": {"server": format!("http://{address}")}}],
        "contexts": [{"name": "bench", "context": {"cluster": "bench", "user": "bench"}}],
        "users": [{"name": "bench", "user": {}}]})
    .to_string()
}
