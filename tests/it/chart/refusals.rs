//! Combinations of values that cannot work: each is refused by a sentence that names the values.

use super::render::{CHART, refusal, refusal_of, render, template};

/// Values that are refused, what the sentence says, and the nearest values that are fine.
const CASES: &[(&str, &str, &str)] = &[
    (
        "{certManager: {enabled: true}, tls: {existingSecret: mine}}",
        "certManager.enabled is true and tls.existingSecret is set",
        "{certManager: {enabled: true}}",
    ),
    (
        "{history: {volume: {emptyDir: {}}}}",
        "history.volume is set and config.history.enabled is not true",
        "{history: {volume: {emptyDir: {}}}, config: {history: {enabled: true}}}",
    ),
    (
        "{history: {volume: {name: a, emptyDir: {}}}, config: {history: {enabled: true}}}",
        "history.volume has a name",
        "{history: {volume: {emptyDir: {}}}, config: {history: {enabled: true}}}",
    ),
    (
        "{history: {volume: {emptyDir: {}}}, config: {history: {enabled: true, file: /data/h.jsonl}}}",
        "config.history.file is /data/h.jsonl and history.volume is mounted at /var/lib/tagwarden",
        "{history: {volume: {emptyDir: {}}}, config: {history: {enabled: true, file: /var/lib/tagwarden/h.jsonl}}}",
    ),
    (
        "{config: {history: {enabled: true, file: /data/h.jsonl}}}",
        "config.history.file is /data/h.jsonl and there is no volume to write to",
        "{config: {history: {enabled: true, file: /data/h.jsonl}}, volumes: [{name: d, emptyDir: {}}], \
         volumeMounts: [{name: d, mountPath: /data}]}",
    ),
    ("{replicaCount: 0}", "replicaCount is 0", "{replicaCount: 1, podDisruptionBudget: {enabled: false}}"),
    (
        "{podDisruptionBudget: {minAvailable: 2}}",
        "podDisruptionBudget.minAvailable is 2 and replicaCount is 2",
        "{podDisruptionBudget: {minAvailable: 2}, replicaCount: 3}",
    ),
    // Kubernetes rounds up: 51% of two are two.
    (
        "{podDisruptionBudget: {minAvailable: 51%}}",
        "podDisruptionBudget.minAvailable is 51% and replicaCount is 2",
        "{podDisruptionBudget: {minAvailable: 50%}}",
    ),
    (
        "{replicaCount: 1}",
        "podDisruptionBudget.minAvailable is 1 and replicaCount is 1",
        "{replicaCount: 1, podDisruptionBudget: {minAvailable: 0}}",
    ),
    ("{maxMode: enforce}", "infrastructureNamespaces is empty", "{maxMode: enforce, infrastructureNamespaces: [cni]}"),
    (
        "{maxMode: enforce, webhook: {failurePolicy: Ignore}}",
        "infrastructureNamespaces is empty",
        "{maxMode: enforce, infrastructureNamespacesReviewed: true}",
    ),
    (
        "{webhook: {failurePolicy: Fail}}",
        "webhook.failurePolicy is Fail, and infrastructureNamespaces is empty",
        "{webhook: {failurePolicy: Fail}, infrastructureNamespaces: [cni]}",
    ),
    (
        "{maxMode: enforce, infrastructureNamespaces: [cni], replicaCount: 1, podDisruptionBudget: {enabled: false}}",
        "replicaCount is 1 and failurePolicy is Fail (webhook.failurePolicy, or maxMode: enforce)",
        "{maxMode: enforce, infrastructureNamespaces: [cni], replicaCount: 1, podDisruptionBudget: {enabled: false}, \
         webhook: {allowSingleReplicaFail: true}}",
    ),
    ("{webhook: {timeoutSeconds: 0}}", "webhook.timeoutSeconds is 0", "{webhook: {timeoutSeconds: 1}}"),
    ("{webhook: {timeoutSeconds: 31}}", "webhook.timeoutSeconds is 31", "{webhook: {timeoutSeconds: 29}}"),
    (
        "{webhook: {timeoutSeconds: 30}}",
        "terminationGracePeriodSeconds is 45: config.shutdownDelay and webhook.timeoutSeconds take 45",
        "{webhook: {timeoutSeconds: 30}, terminationGracePeriodSeconds: 46}",
    ),
    (
        "{config: {shutdownDelay: 40s}}",
        "config.shutdownDelay and webhook.timeoutSeconds take 45",
        "{config: {shutdownDelay: 39s}}",
    ),
    (
        "{config: {shutdownDelay: 1m}}",
        "config.shutdownDelay and webhook.timeoutSeconds take 65",
        "{config: {shutdownDelay: 1m}, terminationGracePeriodSeconds: 66}",
    ),
    (
        "{config: {shutdownDelay: 39s500ms}}",
        "config.shutdownDelay and webhook.timeoutSeconds take 45",
        "{config: {shutdownDelay: 0m38s999ms}}",
    ),
    (
        "{config: {shutdownDelay: 1h}}",
        "config.shutdownDelay and webhook.timeoutSeconds take 3605",
        "{config: {shutdownDelay: 500ms}}",
    ),
    (
        "{releases: [{configMap: system}, {objects: true}]}",
        "releases[1].objects is true and imageReleases.enabled is false",
        "{releases: [{configMap: system}, {objects: true}], imageReleases: {enabled: true}}",
    ),
    (
        "{policies: []}",
        "policies is empty, existingPolicyConfigMap is not set and imagePolicies.enabled is false",
        "{policies: [], config: {policies: {allowEmpty: true}}}",
    ),
    (
        "{policies: [{apiVersion: a, kind: b, metadata: {name: c}, spec: {}}], existingPolicyConfigMap: mine}",
        "policies and existingPolicyConfigMap are both set",
        "{existingPolicyConfigMap: mine}",
    ),
    (
        "{policies: [{apiVersion: a, kind: b, metadata: {name: c}, spec: {}}, {apiVersion: a, kind: b, metadata: {name: c}, spec: {}}]}",
        "policies names two policies c",
        "{policies: [{apiVersion: a, kind: b, metadata: {name: c}, spec: {}}, {apiVersion: a, kind: b, metadata: {name: d}, spec: {}}]}",
    ),
    (
        "{pullSecrets: {namespaces: [shop]}}",
        "pullSecrets.namespaces is set and pullSecrets.enabled is false",
        "{pullSecrets: {enabled: true, namespaces: [shop]}}",
    ),
    (
        "{pullSecrets: {clusterWide: true}}",
        "pullSecrets.clusterWide is true and pullSecrets.enabled is false",
        "{pullSecrets: {enabled: true, clusterWide: true}}",
    ),
    (
        "{pullSecrets: {enabled: true, clusterWide: true, namespaces: [shop]}}",
        "pullSecrets.clusterWide is true and pullSecrets.namespaces is set",
        "{pullSecrets: {enabled: true, clusterWide: true}}",
    ),
    (
        "{pullSecrets: {enabled: true}}",
        "pullSecrets.namespaces is empty and pullSecrets.clusterWide is false",
        "{pullSecrets: {enabled: true, namespaces: [shop]}}",
    ),
    (
        "{tls: {existingSecret: mine}}",
        "tls.existingSecret is set and tls.caBundle is empty",
        "{tls: {existingSecret: mine}, webhook: {annotations: {cert-manager.io/inject-ca-from-secret: ns/ca}}}",
    ),
    (
        "{tls: {existingSecret: mine}, webhook: {annotations: {example.com/owner: platform}}}",
        "tls.existingSecret is set and tls.caBundle is empty",
        "{tls: {existingSecret: mine}, webhook: {annotations: {service.beta.openshift.io/inject-cabundle: \"true\"}}}",
    ),
    (
        "{tls: {caBundle: \"-----BEGIN CERTIFICATE-----\"}}",
        "tls.caBundle is set without tls.existingSecret",
        "{tls: {existingSecret: mine, caBundle: \"-----BEGIN CERTIFICATE-----\"}}",
    ),
    (
        "{certManager: {issuerRef: {name: ours}}}",
        "certManager.issuerRef is set and certManager.enabled is false",
        "{certManager: {enabled: true, issuerRef: {name: ours}}}",
    ),
    (
        "{certManager: {enabled: true}, tls: {leafLifetime: 59m59s}}",
        "tls.leafLifetime is 59m59s: cert-manager makes no certificate",
        "{certManager: {enabled: true}, tls: {leafLifetime: 59m60s}}",
    ),
    (
        "{clientAuthentication: {enabled: true}}",
        "clientAuthentication.secretName is empty",
        "{clientAuthentication: {enabled: true, secretName: ca}}",
    ),
    (
        "{clientAuthentication: {names: [kube-apiserver]}}",
        "clientAuthentication.names is set and clientAuthentication.enabled is false",
        "{clientAuthentication: {enabled: true, secretName: ca, names: [kube-apiserver]}}",
    ),
    (
        "{namespaceLabelGuard: {enabled: true}}",
        "namespaceLabelGuard.enabled is true and trustedNamespaceLabels is empty",
        "{namespaceLabelGuard: {enabled: true}, trustedNamespaceLabels: [team]}",
    ),
    (
        "{hostNetwork: true, healthPort: 10261}",
        "hostNetwork is true and containerPort is 10250: on nodes the kubelet listens there",
        "{hostNetwork: true, containerPort: 10260, healthPort: 10261}",
    ),
    (
        "{hostNetwork: true, containerPort: 10260}",
        "hostNetwork is true and healthPort is 8080",
        "{containerPort: 10260}",
    ),
    (
        "{hostNetwork: true, containerPort: 10260, healthPort: 10256}",
        "hostNetwork is true and healthPort is 10256: on nodes kube-proxy listens there",
        "{hostNetwork: true, containerPort: 10260, healthPort: 9090}",
    ),
    ("{service: {port: 8080}}", "service.port and healthPort are both 8080", "{service: {port: 8443}}"),
    ("{healthPort: 10250}", "containerPort and healthPort are both 10250", "{healthPort: 10251}"),
    (
        "{serviceMonitor: {enabled: true}}",
        "serviceMonitor.enabled is true and networkPolicy.monitoring is empty",
        "{serviceMonitor: {enabled: true}, networkPolicy: {enabled: false}}",
    ),
    (
        "{prometheusRule: {enabled: true}}",
        "prometheusRule.enabled is true and networkPolicy.monitoring is empty",
        "{prometheusRule: {enabled: true}, networkPolicy: {monitoring: [{podSelector: {}}]}}",
    ),
    (
        "{config: {registries: [{private: true}]}}",
        "config.registries[0] has no host",
        "{config: {registries: [{host: a}]}}",
    ),
    (
        "{commonLabels: {app.kubernetes.io/component: x}}",
        "commonLabels has app.kubernetes.io/component",
        "{commonLabels: {app.kubernetes.io/part-of: x}}",
    ),
    (
        "{commonLabels: {app.kubernetes.io/name: x}}",
        "commonLabels has app.kubernetes.io/name",
        "{commonLabels: {name: x}}",
    ),
    (
        "{podLabels: {app.kubernetes.io/instance: x}}",
        "podLabels has app.kubernetes.io/instance",
        "{podLabels: {instance: x}}",
    ),
    ("{fullnameOverride: \"123\"}", "objects would be named \"123\"", "{fullnameOverride: t123}"),
    ("{fullnameOverride: \"true\"}", "objects would be named \"true\"", "{fullnameOverride: truth}"),
    (
        "{registryCredentials: [{host: a.example.com, secretName: x}, {host: a.example.com, secretName: z}]}",
        "registryCredentials names a.example.com twice",
        "{registryCredentials: [{host: a.example.com, secretName: x}, {host: b.example.com, secretName: x}]}",
    ),
    (
        "{registryCredentials: [{host: a.example.com, secretName: x}], \
         config: {registries: [{host: a.example.com, credentials: {helper: gcr}}]}}",
        "registryCredentials and config.registries both name credentials for a.example.com",
        "{registryCredentials: [{host: a.example.com, secretName: x}], config: {registries: [{host: a.example.com}]}}",
    ),
    (
        "{serviceAccount: {create: false}}",
        "serviceAccount.create is false and serviceAccount.name is empty",
        "{serviceAccount: {create: false, name: ours}}",
    ),
];

#[test]
fn what_cannot_work_is_refused_by_a_sentence_and_its_neighbour_is_fine() {
    for (refused, sentence, fine) in CASES {
        let said = refusal(refused);
        assert!(said.contains(sentence), "{refused}\nshould say: {sentence}\nsaid: {said}");
        render(fine);
    }
}

#[test]
fn it_is_not_installed_where_it_would_be_left_out_of_its_own_protection() {
    for namespace in ["default", "kube-system", "kube-public", "kube-node-lease"] {
        let output = template(&["tagwarden", CHART, "--namespace", namespace], "{}");
        let said = refusal_of(output, namespace);
        assert!(said.contains(&format!("the namespace is {namespace}")), "{said}");
    }
}

/// A flag and its variable hold over the file, so they would contradict what Pods, Service and webhooks say.
#[test]
fn arguments_and_variables_that_the_chart_owns_are_refused() {
    let help = std::process::Command::new(env!("CARGO_BIN_EXE_tagwarden")).args(["serve", "--help"]).output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let named = |pattern| {
        let pattern = regex::Regex::new(pattern).unwrap();
        let names = pattern.captures_iter(&help).map(|found| found[1].to_owned());
        names.collect::<std::collections::BTreeSet<_>>()
    };
    let (flags, variables) = (named(r"(?m)^ +(?:-\w, )?(--[a-z-]+)"), named(r"\[env: ([A-Z_]+)"));
    assert!(flags.len() > 9 && variables.len() > 9, "{flags:?} {variables:?}");
    let free = ["--log-format", "--color", "--help", "--version", "TAGWARDEN_LOG_FORMAT"];
    for flag in flags.iter().filter(|flag| !free.contains(&flag.as_str())) {
        for argument in [flag.clone(), format!("{flag}=x")] {
            let said = refusal(&format!("{{extraArgs: [\"{argument}\", x]}}"));
            assert!(
                said.contains(&format!("extraArgs has \"{argument}\": what that flag sets is the chart's")),
                "{said}"
            );
        }
    }
    for name in variables.iter().map(String::as_str).filter(|name| !free.contains(name)).chain(["POD_NAMESPACE"]) {
        let said = refusal(&format!("{{extraEnv: [{{name: {name}, value: x}}]}}"));
        assert!(said.contains(&format!("extraEnv has {name}: what that variable sets is the chart's")), "{said}");
    }
    render("{extraArgs: [--log-format, text], extraEnv: [{name: TAGWARDEN_LOG_FORMAT, value: text}]}");
}

/// The keys of the server's file that follow from other values, each with a value that differs from the default render.
const OWNED: &[(&str, &str)] = &[
    ("listen.webhook", "{listen: {webhook: \"0.0.0.0:1\"}}"),
    ("listen.health", "{listen: {health: \"0.0.0.0:1\"}}"),
    ("tls.mode", "{tls: {mode: files}}"),
    ("tls.cert", "{tls: {cert: /x}}"),
    ("tls.key", "{tls: {key: /x}}"),
    ("tls.service", "{tls: {service: x}}"),
    ("tls.leafLifetime", "{tls: {leafLifetime: 1h}}"),
    ("tls.caLifetime", "{tls: {caLifetime: 1h}}"),
    ("tls.clientCA", "{tls: {clientCA: /x}}"),
    ("tls.clientNames", "{tls: {clientNames: [x]}}"),
    ("webhooks.validating", "{webhooks: {validating: x}}"),
    ("webhooks.mutating", "{webhooks: {mutating: x}}"),
    ("policies.dirs", "{policies: {dirs: [/x]}}"),
    ("policies.objects", "{policies: {objects: true}}"),
    ("policies.maxMode", "{policies: {maxMode: enforce}}"),
    ("trustedNamespaceLabels", "{trustedNamespaceLabels: [x]}"),
    ("infrastructureNamespaces", "{infrastructureNamespaces: [x]}"),
    ("pullSecrets.enabled", "{pullSecrets: {enabled: true}}"),
];

#[test]
fn keys_that_follow_from_values_cannot_be_contradicted_in_config() {
    for (key, config) in OWNED {
        let said = refusal(&format!("{{config: {config}}}"));
        assert!(said.contains(&format!("config.{key} is ")) && said.contains("the chart's"), "{key}: {said}");
    }
    // Repeating what the chart says anyway is no contradiction, and other keys beside the chart's own are let through.
    let rendered =
        render("{config: {policies: {maxMode: audit, noPolicy: warn}, listen: {webhook: \"0.0.0.0:10250\"}}}");
    assert_eq!(rendered.config()["policies"]["noPolicy"], "warn");
    assert_eq!(rendered.config()["policies"]["maxMode"], "audit");
}
