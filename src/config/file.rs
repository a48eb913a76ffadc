//! The server's configuration file as people write it: every key, read strictly, with the schema of the same types.

use super::values::{Interval, Size};
use crate::document::{Later, Spanned, choice, object, schema_of};
use crate::policy::file::Namespaces;
use crate::policy::{Mode, NoPolicy, NonCanonicalHost};

/// A text that stands somewhere.
pub(super) type Text = Spanned<String>;

object! {
    /// Where releases are, a directory or ImageRelease objects, and the namespaces that they govern.
    pub struct Release {
        /// The namespaces: include AND NOT exclude AND selector; omitted: every one.
        namespaces: "namespaces" => Option<Namespaces>,
        /// A directory of release files (*.yaml, *.yml, *.json; not searched recursively): a mounted ConfigMap, say.
        dir: "dir" => Option<Text>,
        /// Whether the releases are the cluster's ImageRelease objects; in the place of dir.
        objects: "objects" => Option<Spanned<bool>>,
        /// The name of the release that governs; omitted: the one that no other lists as previous.
        current: "current" => Option<Text>,
        /// The namespace label whose value names the release that governs; in the place of current.
        current_label: "currentLabel" => Option<Text>,
    }
}

object! {
    /// The server's configuration. All keys but listen, tls.mode, limits, history and log reload while it runs.
    pub struct ConfigFile {
        /// Addresses to listen on.
        listen: "listen" => Option<Listen>,
        /// The certificate, and whether clients must have one.
        tls: "tls" => Option<Tls>,
        /// Our own webhook configurations: readiness waits until the API server trusts our certificate by them.
        webhooks: "webhooks" => Option<Webhooks>,
        /// Where policies are, and what holds for all of them.
        policies: "policies" => Option<Policies>,
        /// Keys of namespace labels that policies may use.
        trusted_namespace_labels: "trustedNamespaceLabels" => Option<Vec<String>>,
        /// Namespaces that are never judged: what the cluster needs to come up.
        infrastructure_namespaces: "infrastructureNamespaces" => Option<Vec<Text>>,
        /// Requesters that are never judged, by exact names.
        exempt_requesters: "exemptRequesters" => Option<Spanned<ExemptRequesters>>,
        /// What is to be known of registries besides the policies that name them.
        registries: "registries" => Option<Vec<Spanned<Registry>>>,
        /// Further kinds that have images.
        workloads: "workloads" => Option<Vec<Spanned<Workload>>>,
        /// Pinning.
        mutation: "mutation" => Option<Mutation>,
        /// Which release governs which namespace; the first entry that is about a namespace holds.
        releases: "releases" => Option<Vec<Spanned<Release>>>,
        /// The history of releases: what ran where, from when to when.
        history: "history" => Option<History>,
        /// Reading pull secrets.
        pull_secrets: "pullSecrets" => Option<PullSecrets>,
        /// How image references are read.
        references: "references" => Option<References>,
        /// Bounds of one request and of all.
        limits: "limits" => Option<Limits>,
        /// How long things may take.
        timeouts: "timeouts" => Option<Timeouts>,
        /// What is remembered of registries, and for how long.
        cache: "cache" => Option<Cache>,
        /// How long connections are still accepted after SIGTERM (default 15s).
        shutdown_delay: "shutdownDelay" => Option<Interval>,
        /// After which a connection is closed, so that load spreads over replicas (default 5m).
        max_connection_age: "maxConnectionAge" => Option<Spanned<Interval>>,
        /// The log on standard error.
        log: "log" => Option<Log>,
    }
}

object! {
    /// Addresses to listen on.
    pub struct Listen {
        /// Of the webhook, over TLS (default 0.0.0.0:8443).
        webhook: "webhook" => Option<Text>,
        /// Of health and metrics, without TLS (default 0.0.0.0:8080).
        health: "health" => Option<Text>,
    }
}

choice! {
    /// Where the server's certificate comes from.
    pub enum TlsMode {
        /// From files.
        Files = "files",
        /// The replicas make it: an authority in a Secret that they share, and a short-lived certificate in each.
        SelfManaged = "self-managed",
    }
}

object! {
    /// The certificate, and whether clients must have one.
    pub struct Tls {
        /// Where the certificate comes from (default files).
        mode: "mode" => Option<Spanned<TlsMode>>,
        /// The certificate chain, PEM; under mode files.
        cert: "cert" => Option<Text>,
        /// Its key, PEM; under mode files.
        key: "key" => Option<Text>,
        /// Our Service, whose names the certificate gets; under mode self-managed.
        service: "service" => Option<Text>,
        /// How long a certificate holds; under mode self-managed (default 168h, from 2m to 720h).
        leaf_lifetime: "leafLifetime" => Option<Spanned<Interval>>,
        /// How long the authority holds; under mode self-managed (default 8760h, from four times leafLifetime to 87600h).
        ca_lifetime: "caLifetime" => Option<Spanned<Interval>>,
        /// With it, clients must show a certificate of this authority.
        client_ca: "clientCA" => Option<String>,
        /// With them, the client's certificate must have one of these names (CN or DNS).
        client_names: "clientNames" => Option<Spanned<Vec<String>>>,
    }
}

object! {
    /// Our own webhook configurations, by name.
    pub struct Webhooks {
        /// The ValidatingWebhookConfiguration.
        validating: "validating" => Option<Text>,
        /// The MutatingWebhookConfiguration.
        mutating: "mutating" => Option<Text>,
    }
}

object! {
    /// Where policies are, and what holds for all of them.
    pub struct Policies {
        /// Directories of policy files; not recursive.
        dirs: "dirs" => Option<Vec<String>>,
        /// Whether ImagePolicy objects of the cluster are policies too (default false).
        objects: "objects" => Option<bool>,
        /// Whether a server without any policy may start (default false).
        allow_empty: "allowEmpty" => Option<bool>,
        /// What becomes of a namespace that no policy covers: allow (default), warn, deny.
        no_policy: "noPolicy" => Option<NoPolicy>,
        /// Caps every denial: audit, warn, enforce (default).
        max_mode: "maxMode" => Option<Mode>,
    }
}

object! {
    /// Requesters that are never judged, by exact names.
    pub struct ExemptRequesters {
        /// Users.
        users: "users" => Option<Vec<String>>,
        /// Groups.
        groups: "groups" => Option<Vec<String>>,
    }
}

object! {
    /// A kind that has images.
    pub struct Workload {
        /// Its API group; empty for the core group.
        group: "group" => String,
        /// The kind.
        kind: "kind" => String,
        /// Where its images or PodSpecs are.
        paths: "paths" => Vec<String>,
    }
}

object! {
    /// What is to be known of a registry besides the policies that name it.
    pub struct Registry {
        /// Its host as policies name it, with a port where that is not 443.
        host: "host" => Text,
        /// Where to ask instead: a mirror, https://mirror.example.com. Policies still judge by the host.
        endpoint: "endpoint" => Option<Text>,
        /// A file of authorities, PEM, that its certificate may stem from besides the public ones.
        ca: "ca" => Option<Text>,
        /// A certificate of ours that it wants to see.
        client_cert: "clientCert" => Option<Spanned<ClientCert>>,
        /// Whether it is asked by plain HTTP (default false).
        insecure: "insecure" => Option<bool>,
        /// Whether loopback, RFC 1918 and unique-local addresses are fine for it (default false).
        private: "private" => Option<bool>,
        /// Whether its tags must not be deleted (not supported yet).
        protected: "protected" => Option<Spanned<Later>>,
        /// Credentials of our own for it.
        credentials: "credentials" => Option<Spanned<Credentials>>,
        /// Globs over the namespaces whose Pods may benefit from those credentials; omitted: all.
        credential_namespaces: "credentialNamespaces" => Option<Spanned<Vec<Text>>>,
        /// Token servers besides its own host that may get its credentials.
        realm_hosts: "realmHosts" => Option<Vec<Text>>,
        /// Requests to it at one time; never more than limits.lookupsPerHost.
        max_concurrent: "maxConcurrent" => Option<Spanned<u64>>,
    }
}

object! {
    /// A certificate of ours.
    pub struct ClientCert {
        /// The chain, PEM.
        cert: "cert" => String,
        /// Its key, PEM.
        key: "key" => String,
    }
}

object! {
    /// Credentials of our own for a registry: one of the two.
    pub struct Credentials {
        /// A file of the form .dockerconfigjson; read again when it changes.
        docker_config: "dockerConfig" => Option<String>,
        /// A credential helper on the PATH.
        helper: "helper" => Option<Helper>,
    }
}

choice! {
    /// The credential helpers that may be run.
    pub enum Helper {
        /// docker-credential-ecr-login, for Amazon's registries.
        EcrLogin = "ecr-login",
        /// docker-credential-gcr, for Google's.
        Gcr = "gcr",
        /// docker-credential-acr-env, for Microsoft's.
        AcrEnv = "acr-env",
    }
}

impl From<Helper> for crate::registry::Helper {
    fn from(helper: Helper) -> Self {
        match helper {
            Helper::EcrLogin => crate::registry::Helper::EcrLogin,
            Helper::Gcr => crate::registry::Helper::Gcr,
            Helper::AcrEnv => crate::registry::Helper::AcrEnv,
        }
    }
}

object! {
    /// Pinning.
    pub struct Mutation {
        /// Controllers whose Pods may be pinned besides the built-in ones.
        owners: "owners" => Option<Vec<Spanned<Controller>>>,
    }
}

object! {
    /// A kind of controller.
    pub struct Controller {
        /// Its API group; empty for the core group.
        group: "group" => String,
        /// The kind.
        kind: "kind" => String,
    }
}

object! {
    /// The history of releases: what ran where, from when to when.
    pub struct History {
        /// Whether the elected replica writes it (default false); needs a cluster, and permission to watch Pods and create Events.
        enabled: "enabled" => Option<bool>,
        /// The file that it appends to, on a volume that the replicas share; omitted: standard output.
        file: "file" => Option<Text>,
    }
}

object! {
    /// Reading pull secrets.
    pub struct PullSecrets {
        /// Whether those of Pods and their service accounts are read (default false); needs permission to.
        enabled: "enabled" => Option<Spanned<bool>>,
    }
}

object! {
    /// How image references are read.
    pub struct References {
        /// A registry host that is not written canonically: refuse (default) or normalise.
        non_canonical_host: "nonCanonicalHost" => Option<NonCanonicalHost>,
    }
}

object! {
    /// Bounds of one request and of all.
    pub struct Limits {
        /// Of one review (default 16MiB).
        body_bytes: "bodyBytes" => Option<Spanned<Size>>,
        /// Of all reviews being read or judged (default 64MiB).
        in_flight_bytes: "inFlightBytes" => Option<Spanned<Size>>,
        /// Reviews at one time (default 512).
        requests: "requests" => Option<Spanned<u64>>,
        /// Images of one object (default 1000).
        images: "images" => Option<Spanned<u64>>,
        /// Of one image reference (default 4096).
        reference_bytes: "referenceBytes" => Option<Spanned<Size>>,
        /// Connections at one time (default 1024).
        connections: "connections" => Option<Spanned<u64>>,
        /// Registry lookups at one time and host (default 64).
        lookups_per_host: "lookupsPerHost" => Option<Spanned<u64>>,
        /// Registry lookups at one time and namespace (default 32).
        lookups_per_namespace: "lookupsPerNamespace" => Option<Spanned<u64>>,
        /// Registry lookups of one review (default 50).
        lookups_per_review: "lookupsPerReview" => Option<Spanned<u64>>,
    }
}

object! {
    /// How long things may take.
    pub struct Timeouts {
        /// A TLS handshake (default 5s).
        handshake: "handshake" => Option<Spanned<Interval>>,
        /// The head of a request, from its first byte (default 5s).
        header: "header" => Option<Spanned<Interval>>,
        /// A connection without a request (default 120s; the API server closes after 90s).
        idle: "idle" => Option<Spanned<Interval>>,
        /// What is kept back of a review's time for the way of the answer (default 500ms).
        margin: "margin" => Option<Interval>,
        /// Connecting to a registry (default 1s).
        connect: "connect" => Option<Spanned<Interval>>,
        /// One request to a registry (default 2s).
        request: "request" => Option<Spanned<Interval>>,
    }
}

object! {
    /// What is remembered of registries, and for how long.
    pub struct Cache {
        /// How long a tag that does not move is remembered (default 10m).
        immutable_ttl: "immutableTtl" => Option<Spanned<Interval>>,
        /// How long a tag that moves is remembered (default 30s).
        floating_ttl: "floatingTtl" => Option<Spanned<Interval>>,
        /// How long what is old still serves while the registry is away (default 1h); never for a tag that moves.
        stale_for: "staleFor" => Option<Interval>,
        /// Entries at most (default 100000).
        entries: "entries" => Option<Spanned<u64>>,
        /// Bytes at most (default 32MiB).
        bytes: "bytes" => Option<Spanned<Size>>,
    }
}

choice! {
    /// How a log line looks.
    pub enum LogFormat {
        /// For machines.
        Json = "json",
        /// For people.
        Text = "text",
    }
}

choice! {
    /// What is logged.
    pub enum LogLevel {
        /// Failures of our own.
        Error = "error",
        /// And what needs attention.
        Warn = "warn",
        /// And every decision.
        Info = "info",
        /// And connections.
        Debug = "debug",
        /// And everything else.
        Trace = "trace",
    }
}

object! {
    /// The log on standard error.
    pub struct Log {
        /// text on a terminal, json otherwise.
        format: "format" => Option<LogFormat>,
        /// From which level on (default info).
        level: "level" => Option<LogLevel>,
    }
}

/// The JSON Schema (draft-07) of the configuration file, made from the types that read it.
#[must_use]
pub fn config_schema() -> serde_json::Value {
    schema_of::<ConfigFile>("config-v1.schema.json", "Tagwarden configuration")
}
