//! The webhook configurations: those that the cluster suite applies, with namespaces left out by name alone.

use serde_json::{Value, json};

use super::render::{FULL, Render, render, strings, text_of, yaml};

const ENFORCE: &str = "{maxMode: enforce, infrastructureNamespaces: [calico-system, ingress]}";

fn webhooks(render: &Render) -> Vec<Value> {
    let of = |kind| render.object(kind, "tagwarden")["webhooks"].as_array().unwrap().clone();
    [of("ValidatingWebhookConfiguration"), of("MutatingWebhookConfiguration")].concat()
}

fn named<'w>(webhooks: &'w [Value], name: &str) -> &'w Value {
    webhooks.iter().find(|webhook| webhook["name"] == name).unwrap_or_else(|| panic!("no webhook {name}"))
}

/// Whatever the cluster suite shows of its configurations holds of the chart's.
#[test]
fn the_configurations_are_those_that_the_cluster_suite_applies() {
    let render = render("{maxMode: enforce, infrastructureNamespacesReviewed: true}");
    for (kind, file) in [("Validating", "validating"), ("Mutating", "mutating")] {
        let shipped = yaml(&text_of(&format!("tests/cluster/webhooks/{file}.yaml")));
        let rendered = render.object(&format!("{kind}WebhookConfiguration"), "tagwarden");
        assert_eq!(rendered["webhooks"], shipped["webhooks"], "{file}");
    }
}

#[test]
fn only_the_boundary_fails_closed_and_only_under_enforcement() {
    for (values, expected) in [
        ("{}", "Ignore"),
        ("{maxMode: warn}", "Ignore"),
        (ENFORCE, "Fail"),
        ("{maxMode: enforce, infrastructureNamespaces: [x], webhook: {failurePolicy: Ignore}}", "Ignore"),
        ("{infrastructureNamespaces: [x], webhook: {failurePolicy: Fail}}", "Fail"),
    ] {
        let webhooks = webhooks(&render(values));
        assert_eq!(named(&webhooks, "validate.tagwarden.dev")["failurePolicy"], expected, "{values}");
        for name in ["workloads.tagwarden.dev", "pin.tagwarden.dev"] {
            assert_eq!(named(&webhooks, name)["failurePolicy"], "Ignore", "{name}, {values}");
        }
    }
}

/// Row 46: a label of an object never exempts it.
#[test]
fn row_46_no_webhook_selects_objects_by_their_labels() {
    for values in ["{}", ENFORCE, FULL] {
        for webhook in webhooks(&render(values)) {
            assert!(webhook.get("objectSelector").is_none(), "{webhook}");
        }
    }
}

/// Row 47: what the cluster needs to come up is left out, by a name that nobody can give to another namespace.
#[test]
fn row_47_namespaces_are_left_out_by_name() {
    for (values, expected) in [
        ("{}", &["kube-system", "kube-node-lease", "tagwarden"][..]),
        (ENFORCE, &["kube-system", "kube-node-lease", "tagwarden", "calico-system", "ingress"]),
        // Named twice is left out once.
        ("{infrastructureNamespaces: [kube-system]}", &["kube-system", "kube-node-lease", "tagwarden"]),
    ] {
        for webhook in webhooks(&render(values)) {
            let expressions = webhook["namespaceSelector"]["matchExpressions"].as_array().unwrap();
            assert_eq!(expressions.len(), 1, "{values}");
            assert_eq!(expressions[0]["key"], "kubernetes.io/metadata.name");
            assert_eq!(expressions[0]["operator"], "NotIn");
            assert_eq!(strings(&expressions[0]["values"]), expected, "{values}");
        }
    }
}

#[test]
fn a_further_selector_never_replaces_the_exclusion_by_name() {
    for webhook in webhooks(&render(FULL)) {
        let selector = &webhook["namespaceSelector"];
        assert_eq!(selector["matchLabels"], json!({"watched": "true"}));
        assert_eq!(selector["matchExpressions"][0]["operator"], "NotIn");
        assert_eq!(selector["matchExpressions"][1], json!({"key": "team", "operator": "Exists"}));
    }
}

#[test]
fn rules_for_further_kinds_are_a_webhook_that_is_called_for_every_change() {
    let webhooks = webhooks(&render(FULL));
    let configured = named(&webhooks, "configured.tagwarden.dev");
    assert_eq!(configured["failurePolicy"], "Ignore");
    assert!(configured.get("matchConditions").is_none(), "where such a kind has its images no condition knows");
    assert_eq!(strings(&configured["rules"][0]["resources"]), ["rollouts"]);
    assert_eq!(configured["clientConfig"]["service"]["path"], "/validate");
    let without = self::webhooks(&render("{}"));
    assert!(without.iter().all(|webhook| webhook["name"] != "configured.tagwarden.dev"));
}

#[test]
fn further_conditions_stand_beside_ours() {
    for name in ["validate.tagwarden.dev", "workloads.tagwarden.dev", "pin.tagwarden.dev"] {
        let webhooks = webhooks(&render(FULL));
        let conditions = named(&webhooks, name)["matchConditions"].as_array().unwrap();
        let names: Vec<_> = conditions.iter().map(|condition| condition["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["images-may-have-changed", "not-the-backup"], "{name}");
    }
}

/// Row 49: what is not in the render, an upgrade leaves alone.
#[test]
fn row_49_the_bundle_is_templated_only_where_its_owner_gave_it() {
    let pem = "-----BEGIN CERTIFICATE-----\nabc\n-----END CERTIFICATE-----\n";
    let existing = json!({"tls": {"existingSecret": "mine", "caBundle": pem}}).to_string();
    for (values, there) in
        [("{}", false), (ENFORCE, false), ("{certManager: {enabled: true}}", false), (&existing, true)]
    {
        for webhook in webhooks(&render(values)) {
            assert_eq!(webhook["clientConfig"].get("caBundle").is_some(), there, "{values}");
        }
    }
    let injected = render("{certManager: {enabled: true}}");
    for kind in ["ValidatingWebhookConfiguration", "MutatingWebhookConfiguration"] {
        let annotations = &injected.object(kind, "tagwarden")["metadata"]["annotations"];
        assert_eq!(annotations["cert-manager.io/inject-ca-from"], "tagwarden/tagwarden");
    }
}

#[test]
fn the_label_guard_watches_the_labels_that_policies_use_and_every_way_to_set_them() {
    let render = render(FULL);
    let policy = render.object("ValidatingAdmissionPolicy", "tagwarden-namespace-labels");
    let spec = &policy["spec"];
    assert_eq!(spec["failurePolicy"], "Fail");
    let rule = &spec["matchConstraints"]["resourceRules"][0];
    assert_eq!(strings(&rule["resources"]), ["namespaces", "namespaces/status", "namespaces/finalize"]);
    assert_eq!(spec["variables"][2]["expression"], r#"["team","example.com/env"]"#);
    let expression = spec["validations"][0]["expression"].as_str().unwrap();
    assert!(expression.contains(r#"["system:masters","platform"]"#), "{expression}");
    let binding = render.object("ValidatingAdmissionPolicyBinding", "tagwarden-namespace-labels");
    assert_eq!(binding["spec"], json!({"policyName": "tagwarden-namespace-labels", "validationActions": ["Deny"]}));
}
