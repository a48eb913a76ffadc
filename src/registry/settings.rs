//! What the server's configuration says of registries; plain data that `config` fills.

use std::path::PathBuf;
use std::time::Duration;

use crate::image::NameGlob;

/// Everything about registries that can be set.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// The configured registries (`registries`).
    pub registries: Vec<RegistrySettings>,
    /// Connecting, name resolution and TLS handshake included (`timeouts.connect`).
    pub connect: Duration,
    /// One request, from its first byte to its answer's last (`timeouts.request`).
    pub request: Duration,
    /// `cache`.
    pub cache: CacheSettings,
    /// `limits.lookups*`.
    pub lookups: LookupLimits,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            registries: Vec::new(),
            connect: Duration::from_secs(1),
            request: Duration::from_secs(2),
            cache: CacheSettings::default(),
            lookups: LookupLimits::default(),
        }
    }
}

/// One entry of `registries`.
#[derive(Clone, Debug, PartialEq)]
pub struct RegistrySettings {
    /// The host that policies name, canonical: `registry.example.com`, `registry.example.com:5000`, `docker.io`.
    pub host: String,
    /// Where to ask instead: `https://mirror.example.com` or with a path; requests get `?ns=host`.
    pub endpoint: Option<String>,
    /// Authorities, PEM, that its certificate may stem from besides the public ones.
    pub ca: Option<PathBuf>,
    /// Client certificate and key, PEM.
    pub client_cert: Option<(PathBuf, PathBuf)>,
    /// Asked by plain HTTP.
    pub insecure: bool,
    /// Loopback, RFC 1918 and unique-local addresses are fine for it.
    pub private: bool,
    /// Credentials of our own for it.
    pub credentials: Option<ConfiguredCredentials>,
    /// Whose Pods may benefit from them, by namespace; none: all.
    pub credential_namespaces: Option<Vec<NameGlob>>,
    /// Token servers that may get its credentials besides its own host: `auth.example.com`, with a port where it is not 443.
    pub realm_hosts: Vec<String>,
    /// Requests to it at one time; never more than `limits.lookupsPerHost`.
    pub max_concurrent: Option<usize>,
}

/// Where configured credentials come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfiguredCredentials {
    /// A file of the form `.dockerconfigjson`, reloaded when it changes.
    DockerConfig(PathBuf),
    /// A program that is asked.
    Helper(Helper),
}

/// The credential helpers that may be run; they are found on the PATH.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Helper {
    /// `docker-credential-ecr-login`, for Amazon's registries.
    EcrLogin,
    /// `docker-credential-gcr`, for Google's.
    Gcr,
    /// `docker-credential-acr-env`, for Microsoft's.
    AcrEnv,
}

/// `cache`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheSettings {
    /// How long a tag that does not move is remembered.
    pub immutable_ttl: Duration,
    /// How long a tag that moves is remembered.
    pub floating_ttl: Duration,
    /// How long beyond that the last answer serves while the registry fails; never for tags that move.
    pub stale_for: Duration,
    /// Entries at most.
    pub entries: u64,
    /// Bytes at most.
    pub bytes: u64,
}

impl Default for CacheSettings {
    fn default() -> Self {
        CacheSettings {
            immutable_ttl: Duration::from_secs(600),
            floating_ttl: Duration::from_secs(30),
            stale_for: Duration::from_secs(3600),
            entries: 100_000,
            bytes: 32 << 20,
        }
    }
}

/// `limits.lookups*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LookupLimits {
    /// Requests to one host at one time.
    pub per_host: usize,
    /// Lookups for one namespace at one time.
    pub per_namespace: usize,
    /// Lookups of one review in all.
    pub per_review: usize,
}

impl Default for LookupLimits {
    fn default() -> Self {
        LookupLimits { per_host: 64, per_namespace: 32, per_review: 50 }
    }
}
