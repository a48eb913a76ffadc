//! The server's settings: flags before variables before the file before defaults, checked as a whole.

mod file;
mod registries;
mod resolve;
mod tls;
mod values;

use std::collections::BTreeSet;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use file::{LogFormat, LogLevel, config_schema};
pub use values::{parse_duration, parse_size};

use crate::document::{Color, Diagnostic, render};
use crate::policy::{Choice, Mode, Settings, TrustedLabels};
use crate::registry;
use crate::review::{ExemptRequesters, Workloads};

/// Everything that can be set, resolved.
#[derive(Clone, Debug)]
pub struct Config {
    /// Address of the webhook. Fixed while running.
    pub webhook: SocketAddr,
    /// Address of health and metrics. Fixed while running.
    pub health: SocketAddr,
    /// The certificate, and what clients must show. Where it comes from is fixed while running.
    pub tls: Tls,
    /// Our own webhook configurations.
    pub webhooks: Webhooks,
    /// Directories of policy files.
    pub policy_dirs: Vec<PathBuf>,
    /// Whether ImagePolicy objects of the cluster are policies too.
    pub policy_objects: bool,
    /// Where releases are, and which namespaces they govern; the first that fits holds.
    pub releases: Vec<ReleaseSource>,
    /// What the engine needs.
    pub settings: Settings,
    /// The kinds that have images.
    pub workloads: Workloads,
    /// Requesters that are never judged.
    pub exempt_requesters: ExemptRequesters,
    /// Namespaces that are never judged.
    pub infrastructure_namespaces: BTreeSet<String>,
    /// Registries, and what is remembered of them.
    pub registry: registry::Settings,
    /// Whether pull secrets of Pods and service accounts are read.
    pub pull_secrets: bool,
    /// The history of releases. Fixed while running.
    pub history: History,
    /// Controllers whose Pods may be pinned besides the built-in ones: API group and kind.
    pub mutation_owners: Vec<(String, String)>,
    /// Bounds. Fixed while running.
    pub limits: Limits,
    /// How long things may take.
    pub timeouts: Timeouts,
    /// How long connections are still accepted after SIGTERM.
    pub shutdown_delay: Duration,
    /// After which a connection is closed.
    pub max_connection_age: Duration,
    /// The log. Fixed while running.
    pub log: Log,
}

/// Where releases come from, and for whom they are.
#[derive(Clone, Debug)]
pub struct ReleaseSource {
    /// Where they are.
    pub origin: ReleaseOrigin,
    /// For which namespaces, and which of them.
    pub choice: Choice,
}

/// Where releases are.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ReleaseOrigin {
    /// In the release files of a directory.
    Directory(PathBuf),
    /// In ImageRelease objects of the cluster.
    Objects,
}

/// For people, and for labels of metrics: the directory, or what kind of objects.
impl fmt::Display for ReleaseOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReleaseOrigin::Directory(dir) => dir.display().fmt(f),
            ReleaseOrigin::Objects => f.write_str("ImageRelease objects"),
        }
    }
}

/// The server's certificate and what clients must show.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// Where the certificate comes from.
    pub certificate: CertificateSource,
    /// Authority of client certificates; none: clients need none.
    pub client_ca: Option<PathBuf>,
    /// Names of which a client's certificate must have one; empty: any name does.
    pub client_names: Vec<String>,
}

impl Tls {
    /// Whether `other` gets its certificate in the same way.
    fn is_made_like(&self, other: &Tls) -> bool {
        std::mem::discriminant(&self.certificate) == std::mem::discriminant(&other.certificate)
    }
}

/// Where the server's certificate comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CertificateSource {
    /// Files, which somebody else renews.
    Files {
        /// The chain, PEM.
        cert: Option<PathBuf>,
        /// Its key, PEM.
        key: Option<PathBuf>,
    },
    /// The replicas themselves.
    SelfManaged(SelfManaged),
}

impl Default for CertificateSource {
    fn default() -> Self {
        CertificateSource::Files { cert: None, key: None }
    }
}

/// Certificates that the replicas make themselves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SelfManaged {
    /// Our Service, whose names the certificate gets.
    pub service: String,
    /// How long a certificate holds.
    pub leaf_lifetime: Duration,
    /// How long the authority that signs it holds.
    pub ca_lifetime: Duration,
}

/// Our own webhook configurations; none are named: nobody waits for them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Webhooks {
    /// Name of the ValidatingWebhookConfiguration.
    pub validating: Option<String>,
    /// Name of the MutatingWebhookConfiguration.
    pub mutating: Option<String>,
}

impl Webhooks {
    /// Whether none is named.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.validating.is_none() && self.mutating.is_none()
    }
}

/// The history of releases.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// Whether it is written.
    pub enabled: bool,
    /// The file that it is appended to; none: standard output.
    pub file: Option<PathBuf>,
}

/// Bounds of one request and of all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one review.
    pub body_bytes: usize,
    /// Bytes of all reviews that are being read or judged.
    pub in_flight_bytes: usize,
    /// Reviews at one time.
    pub requests: usize,
    /// Connections at one time.
    pub connections: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { body_bytes: 16 << 20, in_flight_bytes: 64 << 20, requests: 512, connections: 1024 }
    }
}

/// How long things may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// A TLS handshake.
    pub handshake: Duration,
    /// The head of a request, from its first byte.
    pub header: Duration,
    /// A connection without a request.
    pub idle: Duration,
    /// What is kept back of a review's time for the way of the answer.
    pub margin: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Timeouts {
            handshake: Duration::from_secs(5),
            header: Duration::from_secs(5),
            idle: Duration::from_secs(120),
            margin: Duration::from_millis(500),
        }
    }
}

/// The log on standard error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Log {
    /// None: text on a terminal, JSON otherwise.
    pub format: Option<LogFormat>,
    /// From which level on.
    pub level: LogLevel,
}

impl Default for Log {
    fn default() -> Self {
        Log { format: None, level: LogLevel::Info }
    }
}

impl Default for Config {
    /// What holds where nothing is set.
    fn default() -> Self {
        Config {
            webhook: (Ipv4Addr::UNSPECIFIED, 8443).into(),
            health: (Ipv4Addr::UNSPECIFIED, 8080).into(),
            tls: Tls::default(),
            webhooks: Webhooks::default(),
            policy_dirs: Vec::new(),
            policy_objects: false,
            releases: Vec::new(),
            settings: Settings { trusted_labels: TrustedLabels::Only(Vec::new()), ..Settings::default() },
            workloads: Workloads::default(),
            exempt_requesters: ExemptRequesters::default(),
            infrastructure_namespaces: BTreeSet::new(),
            registry: registry::Settings::default(),
            pull_secrets: false,
            history: History::default(),
            mutation_owners: Vec::new(),
            limits: Limits::default(),
            timeouts: Timeouts::default(),
            shutdown_delay: Duration::from_secs(15),
            max_connection_age: Duration::from_secs(300),
            log: Log::default(),
        }
    }
}

/// What flags and variables say; it comes before what the file says.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// `--policies`; replaces the file's list.
    pub policy_dirs: Vec<PathBuf>,
    /// `--listen`.
    pub webhook: Option<SocketAddr>,
    /// `--health-listen`.
    pub health: Option<SocketAddr>,
    /// `--tls-cert`.
    pub tls_cert: Option<PathBuf>,
    /// `--tls-key`.
    pub tls_key: Option<PathBuf>,
    /// `--max-mode`.
    pub max_mode: Option<Mode>,
    /// `--log-format`.
    pub log_format: Option<LogFormat>,
}

/// Why there is no configuration: every problem of the file, with its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// What is wrong.
    pub problems: Vec<Diagnostic>,
    /// The file's text, for rendering.
    pub text: String,
}

impl ConfigError {
    /// What the text says of `webhooks`, where that has no problem of its own, and neither has the text's syntax.
    #[must_use]
    pub fn webhooks(&self) -> Option<Webhooks> {
        resolve::webhooks(&self.text)
    }

    /// All problems with their source lines, for people.
    #[must_use]
    pub fn rendered(&self, color: Color) -> String {
        let one = |problem| render(problem, &self.text, color);
        self.problems.iter().map(one).collect()
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            write!(f, "{separator}{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

impl Config {
    /// Reads the file, if one is named, and lays the overrides over it.
    ///
    /// # Errors
    /// The file cannot be read, or every problem that it has.
    pub fn load(file: Option<&Path>, overrides: &Overrides) -> Result<Self, ConfigError> {
        let Some(path) = file else {
            return Self::from_text("", "", overrides);
        };
        let name = path.display().to_string();
        let text =
            std::fs::read(path).map_err(|error| format!("cannot read the configuration: {error}")).and_then(|bytes| {
                String::from_utf8(bytes).map_err(|_| "the configuration is not UTF-8, save it as UTF-8".to_owned())
            });
        match text {
            Ok(text) => Self::from_text(&name, &text, overrides),
            Err(problem) => {
                Err(ConfigError { problems: vec![Diagnostic::of_file(&name, problem)], text: String::new() })
            }
        }
    }

    /// The same from a text; `name` is shown in problems.
    ///
    /// # Errors
    /// Every problem of the text.
    pub fn from_text(name: &str, text: &str, overrides: &Overrides) -> Result<Self, ConfigError> {
        resolve::config(name, text, overrides).map_err(|problems| ConfigError { problems, text: text.to_owned() })
    }

    /// Names of the keys that differ and cannot change while running.
    #[must_use]
    pub fn needing_restart(&self, new: &Config) -> Vec<&'static str> {
        let engine_limits = |c: &Config| (c.settings.max_images, c.settings.max_reference_bytes, c.registry.lookups);
        let listen = |c: &Config| (c.webhook, c.health);
        let mut keys = Vec::new();
        if listen(self) != listen(new) {
            keys.push("listen");
        }
        if !self.tls.is_made_like(&new.tls) {
            keys.push("tls.mode");
        }
        if self.limits != new.limits || engine_limits(self) != engine_limits(new) {
            keys.push("limits");
        }
        if self.history != new.history {
            keys.push("history");
        }
        if self.log != new.log {
            keys.push("log");
        }
        keys
    }

    /// `new` with what cannot change while running as it is here.
    #[must_use]
    pub fn reloaded(&self, mut new: Config) -> Config {
        new.webhook = self.webhook;
        new.health = self.health;
        if !self.tls.is_made_like(&new.tls) {
            new.tls = self.tls.clone();
        }
        new.limits = self.limits;
        new.settings.max_images = self.settings.max_images;
        new.settings.max_reference_bytes = self.settings.max_reference_bytes;
        new.registry.lookups = self.registry.lookups;
        new.history = self.history.clone();
        new.log = self.log;
        new
    }
}

#[cfg(test)]
mod tests;
