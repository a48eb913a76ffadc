//! The Pods: what they may, how they are replaced and spread, and which changes roll them.

use serde_json::{Value, json};

use super::render::{FULL, Render, render};
use super::restricted;

/// Every PodSpec of a render: of the server, of the hook, of the test.
fn pod_specs(render: &Render) -> Vec<&Value> {
    let specs = render.objects.iter().filter_map(|object| match object["kind"].as_str()? {
        "Pod" => Some(&object["spec"]),
        "Deployment" | "Job" => Some(&object["spec"]["template"]["spec"]),
        _ => None,
    });
    let specs: Vec<_> = specs.collect();
    assert_eq!(specs.len(), 3, "the Deployment, the hook's Job, the test's Pod");
    specs
}

/// Row 71.
#[test]
fn row_71_every_pod_passes_pod_security_restricted() {
    for values in ["{}", FULL] {
        for spec in pod_specs(&render(values)) {
            assert_eq!(restricted::problems(spec), Vec::<String>::new(), "{spec}");
            let container = &spec["containers"][0]["securityContext"];
            assert_eq!(container["readOnlyRootFilesystem"], true);
            assert_eq!(spec["securityContext"]["runAsUser"], 65532);
            assert_eq!(spec["securityContext"]["runAsGroup"], 65532);
        }
    }
    let host = render("{hostNetwork: true, containerPort: 10260, healthPort: 10261}");
    assert_eq!(restricted::problems(&host.pod()["spec"]), ["hostNetwork is true"]);
}

/// Row 71: each Pod runs as an account of its own, and accounts give their token to nobody who does not ask for it.
#[test]
fn row_71_tokens_are_mounted_where_they_are_asked_for() {
    let render = render("{}");
    let mut accounts: Vec<_> =
        pod_specs(&render).iter().map(|spec| spec["serviceAccountName"].as_str().unwrap()).collect();
    accounts.sort_unstable();
    assert_eq!(accounts, ["tagwarden", "tagwarden-pre-delete", "tagwarden-test"]);
    for account in accounts {
        assert_eq!(render.object("ServiceAccount", account)["automountServiceAccountToken"], false);
    }
    for spec in pod_specs(&render) {
        assert_eq!(spec["automountServiceAccountToken"], true);
    }
}

/// No image but ours, with tag and digest as given.
#[test]
fn every_pod_runs_our_image() {
    for (values, image) in [
        ("{}", "ghcr.io/tagwarden/tagwarden:v0.1.0"),
        ("{image: {tag: v9.9.9}}", "ghcr.io/tagwarden/tagwarden:v9.9.9"),
        (
            "{image: {digest: \"sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"}}",
            "ghcr.io/tagwarden/tagwarden:v0.1.0@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        ),
        (
            "{global: {imageRegistry: \"mirror.example.com:5000/hub\"}}",
            "mirror.example.com:5000/hub/tagwarden/tagwarden:v0.1.0",
        ),
        (
            "{image: {repository: tagwarden}, global: {imageRegistry: mirror.example.com}}",
            "mirror.example.com/tagwarden:v0.1.0",
        ),
    ] {
        for spec in pod_specs(&render(values)) {
            assert_eq!(spec["containers"].as_array().unwrap().len(), 1);
            assert_eq!(spec["containers"][0]["image"], image, "{values}");
        }
    }
}

#[test]
fn a_rollout_never_has_fewer_replicas_than_wanted_and_ends_them_in_peace() {
    let render = render("{}");
    let deployment = &render.object("Deployment", "tagwarden")["spec"];
    assert_eq!(deployment["replicas"], 2);
    assert_eq!(deployment["strategy"]["rollingUpdate"], json!({"maxUnavailable": 0, "maxSurge": 1}));
    let pod = &render.pod()["spec"];
    assert_eq!(pod["terminationGracePeriodSeconds"], 45);
    assert_eq!(pod["priorityClassName"], "system-cluster-critical");
    for probe in ["livenessProbe", "readinessProbe"] {
        assert_eq!(pod["containers"][0][probe]["httpGet"]["port"], "health");
    }
    assert_eq!(pod["containers"][0]["livenessProbe"]["httpGet"]["path"], "/livez");
    assert_eq!(pod["containers"][0]["readinessProbe"]["httpGet"]["path"], "/readyz");
    let quota = &render.object("ResourceQuota", "tagwarden")["spec"]["scopeSelector"]["matchExpressions"][0];
    assert_eq!(*quota, json!({"scopeName": "PriorityClass", "operator": "In", "values": ["system-cluster-critical"]}));
}

/// The deadline leaves every attempt the verb's own patience.
#[test]
fn deadlines_of_hooks_are_longer_than_their_patience() {
    let render = render("{}");
    let patience = |verb: &str| {
        let help = std::process::Command::new(env!("CARGO_BIN_EXE_tagwarden")).args(["hook", verb, "--help"]).output();
        let help = String::from_utf8(help.unwrap().stdout).unwrap();
        let (_, timeout) = help.split_once("--timeout").unwrap_or_else(|| panic!("{help}"));
        let (_, rest) = timeout.split_once("[default: ").unwrap_or_else(|| panic!("{help}"));
        rest.split_once("s]").unwrap().0.parse::<u64>().unwrap()
    };
    let job = &render.object("Job", "tagwarden-pre-delete")["spec"];
    let attempts = job["backoffLimit"].as_u64().unwrap() + 1;
    // Kubernetes waits 10 s before the second attempt, and twice as long before each that follows.
    let pauses: u64 = (1..attempts).map(|attempt| 5 << attempt).sum();
    assert!(job["activeDeadlineSeconds"].as_u64().unwrap() >= attempts * patience("pre-delete") + pauses + 30);
    let test = &render.object("Pod", "tagwarden-test")["spec"];
    assert!(test["activeDeadlineSeconds"].as_u64().unwrap() >= patience("test") + 30);
}

/// The NetworkPolicy lets out DNS, also of OpenShift, and the ports at which registries listen by what the values say.
#[test]
fn ports_that_values_spell_are_let_out() {
    let ports = |values: &str, name: &str| {
        let render = render(values);
        let egress = render.object("NetworkPolicy", name)["spec"]["egress"].clone();
        let of = |index: usize| {
            let ports = egress[index]["ports"].as_array().unwrap().clone();
            ports
                .into_iter()
                .map(|port| (port["port"].as_u64().unwrap(), port["protocol"] == "TCP"))
                .collect::<Vec<_>>()
        };
        (of(0), of(1).into_iter().map(|(port, _)| port).collect::<Vec<_>>())
    };
    let dns = vec![(53, false), (53, true), (5353, false), (5353, true)];
    assert_eq!(ports("{}", "tagwarden"), (dns.clone(), vec![443, 6443, 8443]));
    assert_eq!(ports("{}", "tagwarden-hooks").0, dns);
    for (values, further) in [
        ("{config: {registries: [{host: \"a.example.com:5000\"}]}}", &[5000][..]),
        ("{config: {registries: [{host: \"[fd00::1]:5000\"}, {host: \"[fd00::2]\"}]}}", &[5000]),
        ("{config: {registries: [{host: a, endpoint: \"https://mirror.example.com:5001/x\"}]}}", &[5001]),
        ("{config: {registries: [{host: a, endpoint: \"https://mirror.example.com\"}]}}", &[]),
        ("{config: {registries: [{host: a, insecure: true}]}}", &[80]),
        ("{config: {registries: [{host: \"a:5000\", insecure: true}]}}", &[5000]),
        ("{registryCredentials: [{host: \"a.example.com:5002\", secretName: x}]}", &[5002]),
        (
            "{policies: [{apiVersion: a, kind: b, metadata: {name: c}, spec: {rules: [{images: [\"a.example.com:5003/**\", \"b/c:1234\"]}]}}]}",
            &[5003],
        ),
        (
            "{policies: [\"images: [a.example.com:5004/x/*, 'b:5005/**', \\\"*.c.org:5006/**\\\"]\"]}",
            &[5004, 5005, 5006],
        ),
        ("{policies: [\"# see https://a.example.com:8081/x\"]}", &[]),
    ] {
        let expected = [&[443, 6443, 8443], further].concat();
        assert_eq!(ports(values, "tagwarden").1, expected, "{values}");
    }
}

/// One node is enough: spreading is wished for, never demanded.
#[test]
fn replicas_spread_where_they_can() {
    let render = render("{}");
    let pod = &render.pod()["spec"];
    let spreading = pod["topologySpreadConstraints"].as_array().unwrap();
    let keys: Vec<_> = spreading.iter().map(|one| one["topologyKey"].as_str().unwrap()).collect();
    assert_eq!(keys, ["kubernetes.io/hostname", "topology.kubernetes.io/zone"]);
    assert!(spreading.iter().all(|one| one["whenUnsatisfiable"] == "ScheduleAnyway"));
    let affinity = &pod["affinity"]["podAntiAffinity"];
    assert!(affinity.get("requiredDuringSchedulingIgnoredDuringExecution").is_none());
    assert_eq!(affinity["preferredDuringSchedulingIgnoredDuringExecution"].as_array().unwrap().len(), 1);
}

/// Everything that selects our Pods selects the server's, and not those of the hook and the test.
#[test]
fn selectors_select_the_servers_pods_and_no_others() {
    let render = render(FULL);
    let selectors = [
        &render.object("Deployment", "tagwarden")["spec"]["selector"]["matchLabels"],
        &render.object("Service", "tagwarden")["spec"]["selector"],
        &render.object("PodDisruptionBudget", "tagwarden")["spec"]["selector"]["matchLabels"],
        &render.object("NetworkPolicy", "tagwarden")["spec"]["podSelector"]["matchLabels"],
    ];
    let selects = |selector: &Value, labels: &Value| {
        selector.as_object().unwrap().iter().all(|(key, value)| labels[key] == *value)
    };
    let hook = &render.object("Job", "tagwarden-pre-delete")["spec"]["template"]["metadata"]["labels"];
    let test = &render.object("Pod", "tagwarden-test")["metadata"]["labels"];
    for selector in selectors {
        assert!(selects(selector, &render.pod()["metadata"]["labels"]), "{selector}");
        assert!(!selects(selector, hook) && !selects(selector, test), "{selector}");
    }
}

/// `helm upgrade --wait` ends when a changed file is in force; policies reload in running replicas.
#[test]
fn the_servers_file_rolls_the_pods_and_policies_do_not() {
    let before = render("{}");
    for reloads in [
        "{policies: [{apiVersion: a, kind: b, metadata: {name: other}, spec: {}}]}",
        "{webhook: {timeoutSeconds: 10}}",
        "{networkPolicy: {enabled: false}}",
    ] {
        assert_eq!(render(reloads).pod(), before.pod(), "{reloads}");
    }
    for restarts in [
        "{maxMode: enforce, infrastructureNamespaces: [cni]}",
        "{config: {cache: {staleFor: 2h}}}",
        "{trustedNamespaceLabels: [team]}",
        "{config: {log: {level: debug}}}",
        "{config: {limits: {requests: 100}}}",
        "{listenAddress: \"::\"}",
        "{certManager: {enabled: true}}",
    ] {
        let after = render(restarts);
        let checksum = |render: &Render| render.pod()["metadata"]["annotations"]["tagwarden.dev/config"].clone();
        assert_ne!(checksum(&after), checksum(&before), "{restarts}");
    }
}

/// Two objects of one key must not come out of one release; an upgrade of the chart alone rolls nothing.
#[test]
fn labels_of_pods_do_not_hold_the_charts_version() {
    let render = render("{}");
    assert!(render.pod()["metadata"]["labels"].get("helm.sh/chart").is_none());
    let names = render.objects.iter().map(|object| {
        let metadata = &object["metadata"];
        format!("{} {} {}", object["kind"], metadata["namespace"], metadata["name"])
    });
    let mut names: Vec<_> = names.collect();
    let count = names.len();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), count);
}

#[test]
fn credentials_of_registries_are_mounted_once_and_named_in_the_configuration() {
    let render = render(FULL);
    let mounts = render.pod()["spec"]["containers"][0]["volumeMounts"].as_array().unwrap();
    let mounted = mounts.iter().filter(|mount| mount["mountPath"] == "/etc/tagwarden/registry-credentials/registry");
    assert_eq!(mounted.count(), 1, "two registries, one Secret");
    let credentials = json!({"dockerConfig": "/etc/tagwarden/registry-credentials/registry/.dockerconfigjson"});
    assert_eq!(
        render.config()["registries"],
        json!([
            {"host": "registry.example.com:5001", "private": true, "credentials": credentials, "credentialNamespaces": ["shop-*"]},
            {"host": "other.example.com", "credentials": credentials},
        ])
    );
}
