//! values.yaml: every value is documented, in the schema, and does something.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Map, Value};

use super::generated::documented_values;
use super::render::{CHART, FULL, Render, helm, refusal, render, root, template, text_of, yaml};

#[test]
fn the_chart_passes_helms_linter() {
    for values in ["{}", FULL] {
        let arguments = ["lint", "--strict", "--kube-version", "1.36.3", "--values", "-", CHART];
        let output = helm(&arguments, values);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    }
    let output = helm(&["lint", "--strict", "--values", "-", CHART], "{replicaCount: many}");
    assert!(!output.status.success());
}

/// The default render, and that of everything, twice.
#[test]
fn two_renders_are_byte_equal() {
    for values in ["{}", FULL] {
        assert_eq!(render(values).text, render(values).text);
    }
}

#[test]
fn unknown_values_are_refused_at_every_level() {
    for values in [
        "{replicas: 3}",
        "{webhook: {timeout: 5}}",
        "{tls: {secret: x}}",
        "{image: {name: x}}",
        "{certManager: {issuerRef: {nme: x}}}",
        "{grafana: {dashboards: {on: true}}}",
        "{livenessProbe: {httpGet: {}}}",
        "{registryCredentials: [{host: a, secretName: b, key: c}]}",
    ] {
        let said = refusal(values);
        assert!(said.contains("additional properties"), "{values}: {said}");
    }
}

#[test]
fn wrong_values_are_refused_with_their_place() {
    for (values, place) in [
        ("{replicaCount: two}", "/replicaCount"),
        ("{maxMode: on}", "/maxMode"),
        ("{webhook: {failurePolicy: fail}}", "/webhook/failurePolicy"),
        ("{image: {digest: abc}}", "/image/digest"),
        ("{tls: {leafLifetime: 7d}}", "/tls/leafLifetime"),
        ("{tls: {caBundle: abc}}", "/tls/caBundle"),
        ("{containerPort: 70000}", "/containerPort"),
        ("{policies: [{kind: ImagePolicy}]}", "/policies/0"),
        ("{releases: [{configMap: a, objects: true}], imageReleases: {enabled: true}}", "/releases/0"),
        ("{releases: [{current: r1}]}", "/releases/0"),
        ("{releases: [{objects: false}]}", "/releases/0/objects"),
        ("{infrastructureNamespaces: [\"kube-*\"]}", "/infrastructureNamespaces/0"),
        ("{podDisruptionBudget: {minAvailable: most}}", "/podDisruptionBudget/minAvailable"),
    ] {
        let said = refusal(values);
        assert!(said.contains(&format!("at '{place}'")), "{values}: {said}");
    }
}

/// The schema closes every object that the chart itself defines.
#[test]
fn the_schema_is_strict_and_names_every_value_with_a_comment() {
    let schema = yaml(&text_of(&format!("{CHART}/values.schema.json")));
    for value in documented_values() {
        let keys: Vec<_> = value.path.split('.').collect();
        let mut place = &schema;
        for (depth, key) in keys.iter().enumerate() {
            assert_eq!(place["additionalProperties"], false, "{}", keys[..depth].join("."));
            place = &place["properties"][key];
            assert!(!place.is_null(), "{} is not in the schema", value.path);
        }
    }
}

/// The values under a path, as a document.
fn nested(path: &str, value: &Value) -> Value {
    path.rsplit('.').fold(value.clone(), |inner, key| Value::Object(Map::from_iter([(key.to_owned(), inner)])))
}

fn merge(into: &mut Value, from: &Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from.clone(),
    }
}

/// For every documented value, `tests/chart/effects.yaml` names another one, and what has to be given for it to matter.
#[test]
fn every_value_has_an_effect() {
    let effects: BTreeMap<String, Value> = serde_saphyr::from_str(&text_of("tests/chart/effects.yaml")).unwrap();
    let documented: Vec<_> = documented_values().into_iter().map(|value| value.path).collect();
    for path in effects.keys() {
        assert!(documented.contains(path), "{path} is no value any more: take it out of effects.yaml");
    }
    let next = AtomicUsize::new(0);
    let defaults = render("{}").text;
    let check = |path: &String| {
        let effect = effects.get(path).unwrap_or_else(|| panic!("{path}: name another value in effects.yaml"));
        let given = if effect["given"].is_null() { Value::Object(Map::new()) } else { effect["given"].clone() };
        let mut changed = given.clone();
        merge(&mut changed, &nested(path, &effect["set"]));
        let before = || template(&["tagwarden", CHART, "--namespace", "tagwarden"], &given.to_string()).stdout;
        let before = if effect["given"].is_null() { defaults.clone().into_bytes() } else { before() };
        assert_ne!(before, render(&changed.to_string()).text.into_bytes(), "{path} has no effect");
    };
    // A render is a process of its own; side by side they take half the time.
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while let Some(path) = documented.get(next.fetch_add(1, Ordering::Relaxed)) {
                    check(path);
                }
            });
        }
    });
}

#[test]
fn names_follow_the_release_unless_they_are_given() {
    for (release, values, expected) in [
        ("tagwarden", "{}", "tagwarden"),
        ("tagwarden-blue", "{}", "tagwarden-blue"),
        ("security", "{}", "security-tagwarden"),
        ("security", "{nameOverride: guard}", "security-guard"),
        ("security", "{fullnameOverride: guard}", "guard"),
    ] {
        let render = Render::of(template(&[release, CHART, "--namespace", "guarding"], values));
        render.object("Deployment", expected);
        let configuration = render.object("ValidatingWebhookConfiguration", expected);
        let service = &configuration["webhooks"][0]["clientConfig"]["service"];
        assert_eq!((&service["name"], &service["namespace"]), (&expected.into(), &"guarding".into()));
        render.object("Lease", "tagwarden");
    }
}

/// Names that YAML would take for numbers arrive as texts.
#[test]
fn numeric_names_are_texts() {
    let values = "{policies: [], existingPolicyConfigMap: \"5\", tls: {existingSecret: \"6\", caBundle: \"-----BEGIN CERTIFICATE-----\"}, \
                  infrastructureNamespaces: [\"7\"], pullSecrets: {enabled: true, namespaces: [\"8\"]}, commonLabels: {a: \"9\"}, \
                  nameOverride: \"10\", fullnameOverride: guard, serviceAccount: {name: \"11\"}, priorityClassName: \"12\", \
                  imagePullSecrets: [\"13\"], clientAuthentication: {enabled: true, secretName: \"14\"}, \
                  registryCredentials: [{host: a.example.com, secretName: \"15\"}], serviceMonitor: {enabled: true}, \
                  networkPolicy: {monitoring: [{podSelector: {}}]}}";
    let numeric = Render::of(template(&["123", CHART, "--namespace", "1e3"], values));
    for object in &numeric.objects {
        let metadata = &object["metadata"];
        assert!(metadata["name"].is_string(), "{object}");
        assert!(
            metadata["namespace"].is_null() || metadata["namespace"] == "1e3" || metadata["namespace"] == "8",
            "{object}"
        );
        assert!(metadata["labels"].as_object().unwrap().values().all(Value::is_string), "{object}");
        for subject in object["subjects"].as_array().into_iter().flatten() {
            assert!(subject["name"].is_string() && subject["namespace"] == "1e3", "{object}");
        }
        for webhook in object["webhooks"].as_array().into_iter().flatten() {
            assert_eq!(webhook["clientConfig"]["service"]["namespace"], "1e3");
        }
    }
    let pod = &numeric.object("Deployment", "guard")["spec"]["template"]["spec"];
    assert_eq!((&pod["serviceAccountName"], &pod["priorityClassName"]), (&"11".into(), &"12".into()));
    assert_eq!(pod["imagePullSecrets"][0]["name"], "13");
    let volumes = pod["volumes"].as_array().unwrap();
    let sources: Vec<_> =
        volumes.iter().map(|volume| [&volume["configMap"]["name"], &volume["secret"]["secretName"]]).collect();
    for name in ["5", "6", "14", "15"] {
        assert!(sources.iter().flatten().any(|source| **source == name), "{name}: {volumes:?}");
    }
    assert_eq!(numeric.object("ServiceMonitor", "guard")["spec"]["namespaceSelector"]["matchNames"][0], "1e3");
}

#[test]
fn common_labels_are_on_every_object_and_pod() {
    let render = render(FULL);
    let ours = render.objects.iter().filter(|object| {
        let name = object["metadata"]["name"].as_str().unwrap();
        name != "further" && name != "tagwarden-templated"
    });
    for object in ours {
        assert_eq!(object["metadata"]["labels"]["example.com/team"], "platform", "{object}");
    }
    assert_eq!(render.pod()["metadata"]["labels"]["example.com/team"], "platform");
    render.object("ConfigMap", "tagwarden-templated");
}

/// A parent chart turns it off and on, and shares `global` with values that are not ours.
#[test]
fn it_works_as_a_dependency_of_another_chart() {
    let folder = tempfile::tempdir().unwrap();
    let parent = folder.path().join("parent");
    copy(&root().join("tests/chart/parent"), &parent);
    copy(&root().join(CHART), &parent.join("charts/tagwarden"));
    let path = parent.to_str().unwrap();
    let on = Render::of(template(&["shop", path, "--namespace", "shop"], "{}"));
    let deployment = on.object("Deployment", "shop-tagwarden");
    let image = &deployment["spec"]["template"]["spec"]["containers"][0]["image"];
    assert_eq!(image, "mirror.example.com/tagwarden/tagwarden:v0.1.0");
    let config = on.object("ConfigMap", "shop-tagwarden-config")["data"]["config.yaml"].as_str().unwrap();
    assert_eq!(yaml(config)["policies"]["maxMode"], "warn");
    let off = Render::of(template(&["shop", path, "--namespace", "shop"], "{tagwarden: {enabled: false}}"));
    assert!(off.objects.is_empty());
    let refused = template(&["shop", path, "--namespace", "shop"], "{tagwarden: {unknown: 1}}");
    assert!(String::from_utf8(refused.stderr).unwrap().contains("additional properties 'unknown'"));
}

fn copy(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}
