//! The server's file and the policies as the chart renders them, read by the library that the server reads them with.

use std::path::Path;

use serde_json::json;
use tagwarden::config::{Config, Overrides};
use tagwarden::document::Color;
use tagwarden::policy::Mode;

use super::render::{CHART, FULL, Render, refusal, render, text_of, yaml};

#[track_caller]
fn read(render: &Render) -> Config {
    let read = Config::from_text("config.yaml", render.config_text(), &Overrides::default());
    read.unwrap_or_else(|error| panic!("{}\n{}", error.rendered(Color::Never), render.config_text()))
}

#[test]
fn the_server_reads_the_file_of_every_mode() {
    for values in [
        "{}",
        FULL,
        "{certManager: {enabled: true}}",
        "{tls: {existingSecret: x, caBundle: \"-----BEGIN CERTIFICATE-----\"}}",
        "{imagePolicies: {enabled: true}, policies: []}",
        "{clientAuthentication: {enabled: true, secretName: ca, names: [kube-apiserver]}}",
        "{listenAddress: \"::\"}",
    ] {
        read(&render(values));
    }
}

/// What the server would refuse only when it starts next is refused before anything is applied.
#[test]
fn mistakes_in_config_are_refused_with_their_place() {
    for (config, place, problem) in [
        ("{shutdownDealy: 20s}", "/config", "additional properties 'shutdownDealy'"),
        ("{limits: {request: 5}}", "/config/limits", "additional properties 'request'"),
        ("{registries: [{host: a, privat: true}]}", "/config/registries/0", "additional properties 'privat'"),
        ("{log: {level: loud}}", "/config/log/level", "value must be one of 'error', 'warn'"),
        ("{limits: {requests: many}}", "/config/limits/requests", "got string, want integer"),
        ("{listen: 5}", "/config/listen", "got number, want object"),
    ] {
        let said = refusal(&format!("{{config: {config}}}"));
        assert!(said.contains(&format!("at '{place}'")) && said.contains(problem), "{config}: {said}");
    }
    let whole = "{shutdownDelay: 20s, limits: {requests: 5, bodyBytes: 16MiB}, log: {level: debug}, \
                 registries: [{host: gcr.io, credentials: {helper: gcr}}], cache: {entries: 10}, \
                 workloads: [{group: example.com, kind: Thing, paths: [spec.template.spec]}]}";
    read(&render(&format!("{{config: {whole}}}")));
}

#[test]
fn values_arrive_in_the_servers_settings() {
    let config = read(&render("{}"));
    assert_eq!(config.settings.max_mode, Mode::Audit);
    assert_eq!(config.webhook.port(), 10250);
    assert_eq!(config.health.port(), 8080);
    assert_eq!(config.shutdown_delay.as_secs(), 15);
    assert!(config.infrastructure_namespaces.is_empty() && !config.pull_secrets);
    let config = read(&render(FULL));
    assert_eq!(config.settings.max_mode, Mode::Enforce);
    assert_eq!(config.infrastructure_namespaces.len(), 2);
    assert!(config.pull_secrets);
    assert_eq!(config.registry.registries.len(), 2);
    let origins: Vec<_> = config.releases.iter().map(|source| source.origin.to_string()).collect();
    let [system, others] = ["system", "others"].map(|name| format!("/etc/tagwarden/releases/{name}"));
    assert_eq!(origins, [system.as_str(), &system, "ImageRelease objects", &others]);
    let v6 = read(&render("{listenAddress: \"::\", containerPort: 9443}"));
    assert!(v6.webhook.is_ipv6() && v6.webhook.port() == 9443 && v6.health.is_ipv6());
}

/// Without a volume lines go to standard output; with one they go to a file on it, which the Pod's user may write.
#[test]
fn the_history_goes_where_its_volume_is() {
    let path = "/var/lib/tagwarden/history.jsonl";
    let own = "/var/lib/tagwarden/own.jsonl";
    let volume = "history: {volume: {persistentVolumeClaim: {claimName: ours}}}";
    for (values, enabled, file) in [
        ("{}".to_owned(), false, None),
        ("{config: {history: {enabled: true}}}".to_owned(), true, None),
        (format!("{{config: {{history: {{enabled: true}}}}, {volume}}}"), true, Some(path)),
        (format!("{{config: {{history: {{enabled: true, file: {own}}}}}, {volume}}}"), true, Some(own)),
    ] {
        let render = render(&values);
        let history = read(&render).history;
        assert_eq!((history.enabled, history.file.as_deref()), (enabled, file.map(Path::new)), "{values}");
        let spec = &render.pod()["spec"];
        let named =
            |list: &serde_json::Value| list.as_array().unwrap().iter().find(|item| item["name"] == "history").cloned();
        let expected = file.map(|_| json!({"name": "history", "mountPath": "/var/lib/tagwarden"}));
        assert_eq!(named(&spec["containers"][0]["volumeMounts"]), expected, "{values}");
        let expected = file.map(|_| json!({"name": "history", "persistentVolumeClaim": {"claimName": "ours"}}));
        assert_eq!(named(&spec["volumes"]), expected, "{values}");
        assert_eq!(spec["securityContext"]["fsGroup"], 65532);
    }
}

/// Ports and paths that Pods mount and probe are those that the file tells the server.
#[test]
fn the_file_and_the_pods_agree() {
    for values in ["{}", FULL, "{containerPort: 9443, healthPort: 9090}"] {
        let render = render(values);
        let container = &render.pod()["spec"]["containers"][0];
        let config = render.config();
        for (index, key) in ["webhook", "health"].into_iter().enumerate() {
            let port = container["ports"][index]["containerPort"].as_u64().unwrap();
            assert_eq!(container["ports"][index]["name"], key);
            assert!(config["listen"][key].as_str().unwrap().ends_with(&format!(":{port}")), "{values}");
        }
        let mounts: Vec<_> = container["volumeMounts"].as_array().unwrap().iter().collect();
        let mounted = |path: &str| mounts.iter().any(|mount| path.starts_with(mount["mountPath"].as_str().unwrap()));
        let arguments = container["args"].as_array().unwrap();
        assert_eq!(arguments[..3], [json!("serve"), json!("--config"), json!("/etc/tagwarden/config/config.yaml")]);
        for path in
            ["/policies/dirs/0", "/tls/cert", "/tls/key", "/tls/clientCA", "/registries/0/credentials/dockerConfig"]
        {
            let Some(path) = config.pointer(path) else { continue };
            assert!(mounted(path.as_str().unwrap()), "{path} is not mounted");
        }
    }
}

/// The names in the file are those of the objects beside it.
#[test]
fn the_file_names_our_own_objects() {
    let render = render("{fullnameOverride: guard}");
    let config = yaml(render.object("ConfigMap", "guard-config")["data"]["config.yaml"].as_str().unwrap());
    render.object("Service", config["tls"]["service"].as_str().unwrap());
    render.object("ValidatingWebhookConfiguration", config["webhooks"]["validating"].as_str().unwrap());
    render.object("MutatingWebhookConfiguration", config["webhooks"]["mutating"].as_str().unwrap());
    let validating = render.object("ValidatingWebhookConfiguration", "guard");
    assert_eq!(validating["webhooks"][0]["clientConfig"]["service"]["name"], "guard");
}

/// The first install: one policy, the starter of the examples, and it blocks nothing.
#[test]
fn the_default_policy_is_the_starter() {
    let starter = text_of("policies/starter/policy.yaml");
    assert_eq!(text_of(&format!("{CHART}/files/no-floating-tags.yaml")), starter);
    let values = yaml(&text_of(&format!("{CHART}/values.yaml")));
    assert_eq!(values["policies"], json!([yaml(&starter)]));
    assert_eq!(values["maxMode"], "audit");
    let render = render("{}");
    let policies = render.object("ConfigMap", "tagwarden-policies")["data"].as_object().unwrap();
    assert_eq!(policies.keys().collect::<Vec<_>>(), ["no-floating-tags.yaml"]);
    assert_eq!(yaml(policies["no-floating-tags.yaml"].as_str().unwrap()), yaml(&starter));
}

#[test]
fn policies_are_documents_or_texts() {
    let render = render(FULL);
    let policies = &render.object("ConfigMap", "tagwarden-policies")["data"];
    assert_eq!(yaml(policies["first.yaml"].as_str().unwrap())["metadata"]["name"], "first");
    assert_eq!(yaml(policies["policy-1.yaml"].as_str().unwrap())["metadata"]["name"], "second");
    // YAML would take the first line's indentation for that of the whole text, and refuse the second line.
    let text = "\n   # indented\nkind: ImagePolicy\n";
    let indented = self::render(&json!({"policies": [text]}).to_string());
    assert_eq!(indented.object("ConfigMap", "tagwarden-policies")["data"]["policy-0.yaml"], text);
    let own = self::render("{existingPolicyConfigMap: mine}");
    assert!(own.kind("ConfigMap").all(|map| map["metadata"]["name"] != "tagwarden-policies"));
    assert_eq!(own.pod()["spec"]["volumes"][1]["configMap"]["name"], "mine");
}
