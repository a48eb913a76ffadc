//! What the configuration accepts, what it refuses and where, and which source wins.

use std::path::PathBuf;
use std::time::Duration;

use super::{
    CertificateSource, Config, History, LogFormat, Overrides, ReleaseOrigin, SelfManaged, Webhooks, config_schema,
};
use crate::policy::{Mode, NoPolicy, TrustedLabels};
use crate::registry::{ConfiguredCredentials, Helper};

fn read(text: &str) -> Result<Config, super::ConfigError> {
    Config::from_text("config.yaml", text, &Overrides::default())
}

/// Every key at another value than its default.
const EVERY_KEY: &str = r#"
listen: {webhook: "127.0.0.1:9443", health: "[::1]:9080"}
tls: {mode: files, cert: a.pem, key: b.pem, clientCA: ca.pem, clientNames: [kube-apiserver]}
webhooks: {validating: tagwarden, mutating: tagwarden.mutating}
policies: {dirs: [one, two], objects: true, allowEmpty: true, noPolicy: warn, maxMode: audit}
trustedNamespaceLabels: [environment]
infrastructureNamespaces: [cilium]
exemptRequesters: {users: [alice], groups: [platform]}
registries:
  - host: registry.example.com:5000
    endpoint: https://mirror.example.com/cache/
    ca: ca.pem
    clientCert: {cert: client.pem, key: client.key}
    private: true
    credentials: {dockerConfig: config.json}
    credentialNamespaces: ["shop-*"]
    realmHosts: [auth.example.com]
    maxConcurrent: 7
  - {host: plain.example.com, insecure: true, endpoint: "http://127.0.0.1:5000", credentials: {helper: ecr-login}}
workloads: [{group: argoproj.io, kind: Rollout, paths: [spec.template.spec]}]
mutation: {owners: [{group: argoproj.io, kind: Rollout}]}
releases:
  - {dir: one, namespaces: {include: ["shop-*"]}, current: system-1}
  - {dir: two, currentLabel: environment}
  - {objects: true}
history: {enabled: true, file: /var/lib/tagwarden/history.jsonl}
pullSecrets: {enabled: true}
references: {nonCanonicalHost: normalise}
limits: {bodyBytes: 1MiB, inFlightBytes: 2MiB, requests: 3, images: 4, referenceBytes: 5, connections: 6,
         lookupsPerHost: 11, lookupsPerNamespace: 12, lookupsPerReview: 13}
timeouts: {handshake: 1s, header: 2s, idle: 3s, margin: 4ms, connect: 5s, request: 6s}
cache: {immutableTtl: 1m, floatingTtl: 2s, staleFor: 0s, entries: 3, bytes: 4KiB}
shutdownDelay: 0s
maxConnectionAge: 1m
log: {format: json, level: debug}
"#;

#[test]
fn every_key_is_read() {
    let config = read(EVERY_KEY).unwrap();
    assert_eq!(config.webhook.to_string(), "127.0.0.1:9443");
    assert_eq!(config.health.to_string(), "[::1]:9080");
    assert_eq!(config.tls.client_names, ["kube-apiserver"]);
    assert_eq!(config.tls.client_ca, Some("ca.pem".into()));
    let files = CertificateSource::Files { cert: Some("a.pem".into()), key: Some("b.pem".into()) };
    assert_eq!(config.tls.certificate, files);
    let webhooks =
        Webhooks { validating: Some("tagwarden".to_owned()), mutating: Some("tagwarden.mutating".to_owned()) };
    assert_eq!(config.webhooks, webhooks);
    let origins: Vec<_> = config.releases.iter().map(|source| source.origin.to_string()).collect();
    assert_eq!(origins, ["one", "two", "ImageRelease objects"]);
    let newest: Vec<_> = config.releases.iter().map(|source| source.choice.wants_newest()).collect();
    assert_eq!(newest, [false, false, true]);
    assert_eq!(config.policy_dirs, [PathBuf::from("one"), PathBuf::from("two")]);
    assert!(config.policy_objects);
    assert!(config.settings.allow_empty);
    assert_eq!(config.settings.no_policy, NoPolicy::Warn);
    assert_eq!(config.settings.max_mode, Mode::Audit);
    assert!(matches!(&config.settings.trusted_labels, TrustedLabels::Only(l) if l == &["environment"]));
    assert!(config.infrastructure_namespaces.contains("cilium"));
    assert!(config.workloads.knows("argoproj.io", "Rollout"));
    assert_eq!(config.limits.body_bytes, 1 << 20);
    assert_eq!(config.limits.in_flight_bytes, 2 << 20);
    assert_eq!((config.limits.requests, config.limits.connections), (3, 6));
    assert_eq!(config.settings.max_images, 4);
    assert_eq!(config.settings.max_reference_bytes, 5);
    assert_eq!(config.timeouts.idle, Duration::from_secs(3));
    assert_eq!(config.timeouts.margin, Duration::from_millis(4));
    assert!(config.pull_secrets);
    let history = History { enabled: true, file: Some("/var/lib/tagwarden/history.jsonl".into()) };
    assert_eq!(config.history, history);
    assert_eq!(config.mutation_owners, [("argoproj.io".to_owned(), "Rollout".to_owned())]);
    assert_eq!(config.shutdown_delay, Duration::ZERO);
    assert_eq!(config.max_connection_age, Duration::from_secs(60));
    assert_eq!(config.log.format, Some(LogFormat::Json));
}

#[test]
fn releases_come_from_a_directory_or_from_objects() {
    let written = |entry: &str| read(&format!("releases:\n  - {entry}\n"));
    let origin = |entry: &str| written(entry).unwrap().releases[0].origin.clone();
    assert_eq!(origin("{dir: a, objects: false}"), ReleaseOrigin::Directory("a".into()));
    assert_eq!(origin("{objects: true, current: r1}"), ReleaseOrigin::Objects);
    for (entry, place, problem, help) in [
        ("{dir: a, objects: true}", "2:23", "'dir' and 'objects' both", "take one of the two out"),
        ("{objects: false}", "2:5", "neither 'dir' nor 'objects'", "`objects: true`"),
        ("{current: r1}", "2:5", "neither 'dir' nor 'objects'", "`dir: DIR`"),
        ("{dir: ''}", "2:11", "no directory", "name the directory"),
    ] {
        let told = written(entry).unwrap_err().to_string();
        assert!(told.contains(place) && told.contains(problem) && told.contains(help), "{entry}: {told}");
    }
}

#[test]
fn everything_about_registries_is_read() {
    let config = read(EVERY_KEY).unwrap().registry;
    let [first, second] = config.registries.as_slice() else { panic!("two registries") };
    assert_eq!(first.host, "registry.example.com:5000");
    assert_eq!(first.endpoint.as_deref(), Some("https://mirror.example.com/cache"));
    assert_eq!(first.ca, Some("ca.pem".into()));
    assert_eq!(first.client_cert, Some(("client.pem".into(), "client.key".into())));
    assert!(first.private && !first.insecure);
    assert_eq!(first.credentials, Some(ConfiguredCredentials::DockerConfig("config.json".into())));
    let namespaces = first.credential_namespaces.as_deref().unwrap();
    assert!(namespaces.iter().any(|glob| glob.matches("shop-prod")) && !namespaces[0].matches("pay"));
    assert_eq!(first.realm_hosts, ["auth.example.com"]);
    assert_eq!(first.max_concurrent, Some(7));
    assert!(second.insecure && !second.private);
    assert_eq!(second.endpoint.as_deref(), Some("http://127.0.0.1:5000"));
    assert_eq!(second.credentials, Some(ConfiguredCredentials::Helper(Helper::EcrLogin)));
    assert_eq!((config.connect, config.request), (Duration::from_secs(5), Duration::from_secs(6)));
    let lookups = config.lookups;
    assert_eq!((lookups.per_host, lookups.per_namespace, lookups.per_review), (11, 12, 13));
    let cache = config.cache;
    assert_eq!((cache.immutable_ttl, cache.floating_ttl), (Duration::from_secs(60), Duration::from_secs(2)));
    assert_eq!((cache.stale_for, cache.entries, cache.bytes), (Duration::ZERO, 3, 4096));
}

#[test]
fn an_empty_file_means_the_defaults() {
    for text in ["", "---\n", "# nothing\n"] {
        let config = read(text).unwrap();
        assert_eq!(config.webhook.to_string(), "0.0.0.0:8443");
        assert_eq!(config.settings.max_mode, Mode::Enforce);
        assert!(config.timeouts.idle > Duration::from_secs(90), "row 21: longer than the API server's own");
        assert!(matches!(&config.settings.trusted_labels, TrustedLabels::Only(l) if l.is_empty()));
    }
}

#[test]
fn flags_win_over_the_file() {
    let overrides = Overrides {
        policy_dirs: vec!["flag".into()],
        webhook: Some(([127, 0, 0, 1], 1).into()),
        max_mode: Some(Mode::Warn),
        tls_cert: Some("flag.pem".into()),
        ..Overrides::default()
    };
    let text = "policies: {dirs: [file], maxMode: audit}\ntls: {cert: file.pem, key: file.key}\n";
    let config = Config::from_text("config.yaml", text, &overrides).unwrap();
    assert_eq!(config.policy_dirs, [PathBuf::from("flag")]);
    assert_eq!(config.settings.max_mode, Mode::Warn);
    assert_eq!(config.webhook.port(), 1);
    let files = CertificateSource::Files { cert: Some("flag.pem".into()), key: Some("file.key".into()) };
    assert_eq!(config.tls.certificate, files, "what no flag says stays");
}

/// Each bad value, and a part of what is said about it.
#[test]
fn problems_name_the_place_and_the_remedy() {
    for (text, expected) in [
        ("lisen: {}", "did you mean 'listen'?"),
        ("policies: {maxMode: enforced}", "did you mean 'enforce'?"),
        ("listen: {webhook: \":8443\"}", "config.yaml:1:19: error: not an address"),
        ("timeouts: {idle: 0s}", "over 0s"),
        ("timeouts: {idle: 5}", "expected a duration"),
        ("timeouts: {idle: 5x}", "not a duration"),
        ("limits: {requests: 0}", "from 1 to"),
        ("limits: {bodyBytes: 16MB}", "not a size"),
        ("limits: {bodyBytes: 2MiB, inFlightBytes: 1MiB}", "never fits"),
        ("tls: {clientNames: [a]}", "'clientNames' without 'clientCA'"),
        ("tls: {mode: self_managed}", "did you mean 'self-managed'?"),
        ("webhooks: {validating: \"\"}", "config.yaml:1:24: error: not the name of a webhook configuration"),
        ("webhooks: {mutating: Tagwarden}", "not the name of a webhook configuration"),
        ("webhooks: {validate: a}", "did you mean 'validating'?"),
        ("releases: [{}]", "config.yaml:1:12: error: neither 'dir' nor 'objects'"),
        ("releases: [{dir: \"\"}]", "config.yaml:1:18: error: no directory"),
        ("releases: [{dir: a, current: b, currentLabel: c}]", "both say which release governs"),
        ("releases: [{dir: a, currentLabel: c}]", "the namespace label 'c' is not trusted"),
        (
            "releases: [{dir: a, namespaces: {selector: {matchLabels: {d: e}}}}]",
            "the namespace label 'd' is not trusted",
        ),
        ("releases: [{dir: a, namespaces: {include: [\"a/b\"]}}]", "config.yaml:1:"),
        ("registries: [{hots: a.io}]", "did you mean 'host'?"),
        ("registries: [{host: Registry.io}]", "config.yaml:1:21: error: not a registry host"),
        ("registries: [{host: \"*.io\"}]", "not a registry host"),
        ("registries: [{host: a.io/b}]", "not a registry host"),
        ("registries: [{host: a.io}, {host: a.io}]", "'a.io' stands above already"),
        ("registries: [{host: a.io, protected: true}]", "'registries[].protected' is not supported yet"),
        ("registries: [{host: a.io, endpoint: b.io}]", "begins with https://"),
        ("registries: [{host: a.io, endpoint: \"http://b.io\"}]", "needs 'insecure: true'"),
        ("registries: [{host: a.io, endpoint: \"https://u:p@b.io\"}]", "holds no credentials"),
        ("registries: [{host: a.io, endpoint: \"https://b.io/?x=y\"}]", "has no query"),
        ("registries: [{host: a.io, insecure: true, endpoint: \"https://b.io\"}]", "'insecure: true'"),
        ("registries: [{host: a.io, insecure: true, ca: a.pem}]", "there is no TLS"),
        ("registries: [{host: a.io, credentials: {}}]", "either 'dockerConfig' or 'helper'"),
        ("registries: [{host: a.io, credentials: {helper: gcs}}]", "did you mean 'gcr'?"),
        ("registries: [{host: a.io, credentialNamespaces: [a]}]", "without 'credentials'"),
        ("registries: [{host: a.io, maxConcurrent: 0}]", "from 1 to"),
        ("mutation: {owners: [{group: a.io, kind: \"*\"}]}", "not a kind of controller"),
        ("limits: {lookupsPerReview: 0}", "from 1 to"),
        ("history: {file: a}", "config.yaml:1:17: error: 'history.file' without 'history.enabled: true'"),
        ("history: {enabled: false, file: a}", "'history.file' without 'history.enabled: true'"),
        ("history: {enabled: true, file: \"\"}", "config.yaml:1:32: error: not a file's name"),
        ("history: {enable: true}", "did you mean 'enabled'?"),
        ("cache: {immutableTtl: 0s}", "over 0s"),
        ("exemptRequesters: {groups: [\"system:masters\"]}", "system"),
        ("infrastructureNamespaces: [\"kube-*\"]", "exact names"),
        ("workloads: [{group: a.io, kind: \"\", paths: [spec]}]", "config.yaml:1:13"),
        ("log: {}\n---\nlog: {}\n", "a second document"),
        ("log: [", "config.yaml:1"),
    ] {
        let said = read(text).unwrap_err().to_string();
        assert!(said.contains(expected), "{text}: {said}");
    }
}

fn self_managed(tls: &str) -> String {
    format!("tls: {{mode: self-managed, {tls}}}\nwebhooks: {{validating: tagwarden}}\n")
}

#[test]
fn certificates_of_our_own_have_a_service_and_lifetimes() {
    let hours = |hours: u64| Duration::from_secs(hours * 3600);
    for (text, leaf, ca) in [
        ("service: tagwarden", hours(168), hours(8760)),
        ("service: tagwarden, leafLifetime: 2m, caLifetime: 8m", Duration::from_secs(120), Duration::from_secs(480)),
        ("service: tagwarden, leafLifetime: 720h, caLifetime: 87600h", hours(720), hours(87_600)),
    ] {
        let config = read(&self_managed(text)).unwrap();
        let service = "tagwarden".to_owned();
        let expected = SelfManaged { service, leaf_lifetime: leaf, ca_lifetime: ca };
        assert_eq!(config.tls.certificate, CertificateSource::SelfManaged(expected), "{text}");
    }
    let config = read(&self_managed("service: a, clientCA: ca.pem, clientNames: [kube-apiserver]")).unwrap();
    assert_eq!((config.tls.client_ca, config.tls.client_names.len()), (Some("ca.pem".into()), 1));
}

#[test]
fn certificates_of_two_origins_contradict_each_other() {
    for (text, expected) in [
        (self_managed("service: a, cert: a.pem"), "config.yaml:1:45: error: 'cert' contradicts 'mode: self-managed'"),
        (self_managed("service: a, key: a.pem"), "'key' contradicts 'mode: self-managed'"),
        (self_managed("leafLifetime: 2m"), "'mode: self-managed' without 'service'"),
        (self_managed("service: a.b.svc"), "not a Service's name"),
        (self_managed("service: 1a"), "not a Service's name"),
        (self_managed("service: a, leafLifetime: 119s"), "from 2m to 720h"),
        (self_managed("service: a, leafLifetime: 721h"), "from 2m to 720h"),
        (self_managed("service: a, caLifetime: 671h"), "four times 'leafLifetime'"),
        (self_managed("service: a, leafLifetime: 2m, caLifetime: 479s"), "four times 'leafLifetime'"),
        (self_managed("service: a, caLifetime: 87601h"), "to 87600h"),
        (self_managed("service: a, clientNames: [b]"), "'clientNames' without 'clientCA'"),
        ("tls: {mode: self-managed, service: a}".to_owned(), "without 'webhooks'"),
        ("tls: {service: a}".to_owned(), "'service' contradicts 'mode: files'"),
        ("tls: {mode: files, leafLifetime: 2m}".to_owned(), "'leafLifetime' contradicts 'mode: files'"),
        ("tls: {caLifetime: 2m}".to_owned(), "'caLifetime' contradicts 'mode: files'"),
    ] {
        let said = read(&text).unwrap_err().to_string();
        assert!(said.contains(expected), "{text}: {said}");
    }
    let flags = Overrides { tls_key: Some("flag.pem".into()), ..Overrides::default() };
    let said = Config::from_text("config.yaml", &self_managed("service: a"), &flags).unwrap_err().to_string();
    assert!(said.contains("take out --tls-cert and --tls-key"), "{said}");
}

#[test]
fn where_the_certificate_comes_from_does_not_change_while_running() {
    let files = read("tls: {cert: a, key: b}\nwebhooks: {validating: tagwarden}").unwrap();
    let own = read(&self_managed("service: a, leafLifetime: 2m")).unwrap();
    assert_eq!(files.needing_restart(&own), ["tls.mode"]);
    assert_eq!(files.reloaded(own.clone()).tls, files.tls);
    assert_eq!(own.reloaded(files.clone()).tls, own.tls);
    let other = read(&self_managed("service: b")).unwrap();
    assert_eq!(own.needing_restart(&other), Vec::<&str>::new());
    assert_eq!(own.reloaded(other.clone()).tls, other.tls);
}

#[test]
fn all_problems_are_told_at_once() {
    let error = read("lisen: 1\nlog: {level: loud}\nlimits: {requests: 0}\n").unwrap_err();
    assert!(error.problems.len() >= 2, "{error}");
}

#[test]
fn what_cannot_change_while_running_is_named_and_kept() {
    let old = read("limits: {requests: 1}").unwrap();
    let new = read("listen: {webhook: \"127.0.0.1:1\"}\npolicies: {maxMode: audit}\nlog: {level: debug}").unwrap();
    assert_eq!(old.needing_restart(&new), ["listen", "limits", "log"]);
    let history = read("limits: {requests: 1}\nhistory: {enabled: true}").unwrap();
    assert_eq!(old.needing_restart(&history), ["history"]);
    assert_eq!(old.reloaded(history).history, History::default());
    let lookups = read("limits: {requests: 1, lookupsPerHost: 2}").unwrap();
    assert_eq!(old.needing_restart(&lookups), ["limits"]);
    assert_eq!(old.reloaded(lookups).registry.lookups.per_host, 64);
    let merged = old.reloaded(new);
    assert_eq!(merged.limits.requests, 1);
    assert_eq!(merged.webhook, old.webhook);
    assert_eq!(merged.settings.max_mode, Mode::Audit);
}

#[test]
fn the_schema_knows_the_keys_that_the_reader_knows() {
    let schema = config_schema();
    let validator = jsonschema::draft7::new(&schema).unwrap();
    assert!(validator.is_valid(&serde_json::json!({"limits": {"bodyBytes": "16MiB", "requests": 5}})));
    assert!(!validator.is_valid(&serde_json::json!({"limit": {}})));
    assert!(!validator.is_valid(&serde_json::json!({"policies": {"maxMode": "enforced"}})));
}
