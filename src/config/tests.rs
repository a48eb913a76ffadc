//! What the configuration accepts, what it refuses and where, and which source wins.

use std::path::PathBuf;
use std::time::Duration;

use super::{Config, LogFormat, Overrides, config_schema};
use crate::policy::{Mode, NoPolicy, TrustedLabels};

fn read(text: &str) -> Result<Config, super::ConfigError> {
    Config::from_text("config.yaml", text, &Overrides::default())
}

#[test]
fn every_key_is_read() {
    let config = read(
        r#"
listen: {webhook: "127.0.0.1:9443", health: "[::1]:9080"}
tls: {mode: files, cert: a.pem, key: b.pem, clientCA: ca.pem, clientNames: [kube-apiserver]}
policies: {dirs: [one, two], objects: false, allowEmpty: true, noPolicy: warn, maxMode: audit}
trustedNamespaceLabels: [environment]
infrastructureNamespaces: [cilium]
exemptRequesters: {users: [alice], groups: [platform]}
registries: []
workloads: [{group: argoproj.io, kind: Rollout, paths: [spec.template.spec]}]
mutation: {owners: []}
releases: []
pullSecrets: {enabled: false}
references: {nonCanonicalHost: normalise}
limits: {bodyBytes: 1MiB, inFlightBytes: 2MiB, requests: 3, images: 4, referenceBytes: 5, connections: 6,
         lookupsPerHost: 64, lookupsPerNamespace: 32, lookupsPerReview: 50}
timeouts: {handshake: 1s, header: 2s, idle: 3s, margin: 4ms, connect: 1s, request: 2s}
cache: {immutableTtl: 10m, floatingTtl: 30s, staleFor: 1h, entries: 100000, bytes: 32MiB}
shutdownDelay: 0s
maxConnectionAge: 1m
log: {format: json, level: debug}
"#,
    )
    .unwrap();
    assert_eq!(config.webhook.to_string(), "127.0.0.1:9443");
    assert_eq!(config.health.to_string(), "[::1]:9080");
    assert_eq!(config.tls.client_names, ["kube-apiserver"]);
    assert_eq!(config.policy_dirs, [PathBuf::from("one"), PathBuf::from("two")]);
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
    assert_eq!(config.shutdown_delay, Duration::ZERO);
    assert_eq!(config.max_connection_age, Duration::from_secs(60));
    assert_eq!(config.log.format, Some(LogFormat::Json));
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
    assert_eq!(config.tls.cert, Some("flag.pem".into()));
    assert_eq!(config.tls.key, Some("file.key".into()), "what no flag says stays");
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
        ("tls: {mode: self-managed}", "is not supported yet"),
        ("policies: {objects: true}", "'policies.objects: true' is not supported yet"),
        ("registries: [{host: a}]", "config.yaml:1:13: error: 'registries' is not supported yet"),
        ("mutation: {owners: [{}]}", "'mutation.owners' is not supported yet"),
        ("releases: [{}]", "'releases' is not supported yet"),
        ("pullSecrets: {enabled: true}", "is not supported yet"),
        ("limits: {lookupsPerHost: 65}", "is not supported yet"),
        ("cache: {entries: 5}", "is not supported yet"),
        ("timeouts: {connect: 3s}", "is not supported yet"),
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
