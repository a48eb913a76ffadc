//! Our webhook configurations: there, complete, and as the chart renders them.

use serde_json::Value;

use super::{Seen, count};
use crate::cli::doctor::causes::{
    CHANGED_AFTER, CONDITIONS, FAIL_CLOSED, FAIL_ELSEWHERE, FAIL_OPEN, MUTATING_MISSING, NARROWED, NOT_EXCLUDED, RULES,
    SETTINGS, VALIDATING_MISSING, WEBHOOK_MISSING, WRONG_TARGET,
};
use crate::cli::doctor::json::{at, list, text, texts};
use crate::cli::doctor::observe::{Observed, PIN, VALIDATE, WORKLOADS, is_ours};
use crate::policy::Mode;

/// Group, resource and operations that the webhooks on Pods are called for.
const PODS: &[(&str, &str, &[&str])] =
    &[("", "pods", &["CREATE", "UPDATE"]), ("", "pods/ephemeralcontainers", &["UPDATE"])];
/// The same of what makes Pods.
const TEMPLATES: &[(&str, &str, &[&str])] = &[
    ("apps", "deployments", BOTH),
    ("apps", "statefulsets", BOTH),
    ("apps", "daemonsets", BOTH),
    ("apps", "replicasets", BOTH),
    ("", "replicationcontrollers", BOTH),
    ("", "podtemplates", BOTH),
    ("batch", "jobs", BOTH),
    ("batch", "cronjobs", BOTH),
];
const BOTH: &[&str] = &["CREATE", "UPDATE"];
/// The condition of the chart that lets bookkeeping through while no replica answers.
const CONDITION: &str = "images-may-have-changed";
const POD_CONDITION: &str = include_str!("../conditions/pods.cel");
const TEMPLATE_CONDITION: &str = include_str!("../conditions/workloads.cel");
/// Seconds that a webhook may take: less is no time for a registry, more is what some clusters forbid.
const TIMEOUTS: std::ops::RangeInclusive<i64> = 2..=13;
/// Namespaces that the chart always leaves out, besides our own.
const ALWAYS: [&str; 2] = ["kube-system", "kube-node-lease"];

/// Both configurations are there, with the chart's webhooks.
pub(super) fn there(observed: &Observed) -> Seen {
    let mut seen = Seen::default();
    let name = &observed.release.name;
    let kinds = [
        (
            "ValidatingWebhookConfiguration",
            &observed.validating,
            observed.our_validating(),
            &[VALIDATE, WORKLOADS][..],
            VALIDATING_MISSING,
        ),
        ("MutatingWebhookConfiguration", &observed.mutating, observed.our_mutating(), &[PIN], MUTATING_MISSING),
    ];
    for (kind, read, found, expected, missing) in kinds {
        if seen.read(&format!("{kind}s"), read).is_none() {
            continue;
        }
        let Some(found) = found else {
            seen.finds(missing, format!("there is no {kind} '{name}'"));
            continue;
        };
        for webhook in expected {
            if !list(found, "/webhooks").iter().any(|found| text(found, "/name") == *webhook) {
                seen.finds(WEBHOOK_MISSING, format!("{kind} '{name}' has no webhook {webhook}"));
            }
        }
        seen.good(format!("{kind} '{name}' with {}", count(list(found, "/webhooks").len(), "webhook")));
    }
    seen
}

/// What each webhook of ours is called for, and how.
pub(super) fn settings(observed: &Observed) -> Seen {
    let mut seen = Seen::default();
    each(observed, &mut seen, |webhook, seen| {
        let name = text(webhook, "/name");
        let (rules, condition) = match name {
            VALIDATE | PIN => (PODS, POD_CONDITION),
            WORKLOADS => (TEMPLATES, TEMPLATE_CONDITION),
            _ => (&[][..], ""),
        };
        for (group, resource, operations) in rules {
            for operation in operations.iter().filter(|operation| !covers(webhook, group, resource, operation)) {
                seen.finds(RULES, format!("the rules of {name} leave out {operation} of {resource}"));
            }
        }
        target(observed, webhook, seen);
        let expected = [("/matchPolicy", "Equivalent"), ("/sideEffects", "None")];
        let ours = [("/reinvocationPolicy", "IfNeeded")];
        for (key, value) in expected.iter().chain(ours.iter().filter(|_| name == PIN)) {
            // Taken away it costs a finding of its own where somebody comes after us.
            if text(webhook, key) != *value {
                seen.finds(SETTINGS, format!("{name} has {} {}, the chart {value}", &key[1..], shown(webhook, key)));
            }
        }
        let seconds = at(webhook, "/timeoutSeconds").as_i64().unwrap_or(10);
        if !TIMEOUTS.contains(&seconds) {
            seen.finds(
                SETTINGS,
                format!("{name} has timeoutSeconds {seconds}, not {} to {}", TIMEOUTS.start(), TIMEOUTS.end()),
            );
        }
        if !condition.is_empty() && !has_condition(webhook, condition) {
            seen.finds(CONDITIONS, format!("the matchCondition {CONDITION} of {name} is not the chart's"));
        }
    });
    seen.good("rules, targets, time-outs and conditions as the chart has them");
    seen
}

/// Our Service and the path that belongs to the webhook.
fn target(observed: &Observed, webhook: &Value, seen: &mut Seen) {
    let (name, release) = (text(webhook, "/name"), &observed.release);
    let service = at(webhook, "/clientConfig/service");
    let path = if name == PIN { "/mutate" } else { "/validate" };
    let called = [text(service, "/namespace"), text(service, "/name"), text(service, "/path")];
    if called != [release.namespace.as_str(), release.name.as_str(), path] {
        let url = text(webhook, "/clientConfig/url");
        let called = if url.is_empty() { called.join("/").replace("//", "/") } else { url.to_owned() };
        seen.finds(WRONG_TARGET, format!("{name} calls '{called}', not {path} of the Service {}", release.name));
    }
}

/// Namespaces that have to be out of reach, and nothing else that anybody could leave by.
pub(super) fn namespaces(observed: &Observed) -> Seen {
    let mut seen = Seen::default();
    let configured = observed.configuration().map(|config| &config.infrastructure_namespaces);
    let mut wanted: Vec<&str> = ALWAYS.to_vec();
    wanted.push(&observed.release.namespace);
    wanted.extend(configured.into_iter().flatten().map(String::as_str));
    each(observed, &mut seen, |webhook, seen| {
        let name = text(webhook, "/name");
        let excluded = excluded(webhook);
        for namespace in wanted.iter().filter(|namespace| !excluded.contains(namespace)) {
            seen.finds(NOT_EXCLUDED, format!("{name} does not leave out the namespace {namespace}"));
        }
        let expressions = list(webhook, "/namespaceSelector/matchExpressions");
        let others = expressions.iter().filter(|expression| !is_by_name(expression));
        let labels = at(webhook, "/namespaceSelector/matchLabels").as_object().into_iter().flatten();
        let keys: Vec<&str> =
            others.map(|expression| text(expression, "/key")).chain(labels.map(|(key, _)| key.as_str())).collect();
        if !keys.is_empty() {
            seen.finds(
                NARROWED,
                format!("{name} is called only in namespaces with certain labels: {}", keys.join(", ")),
            );
        }
        let objects = at(webhook, "/objectSelector").as_object().is_some_and(|selector| !selector.is_empty());
        if objects {
            seen.finds(NARROWED, format!("{name} is called only for objects with certain labels"));
        }
    });
    seen.good(format!("left out by name: {}", wanted.join(", ")));
    seen
}

/// Fails closed where it enforces, and nowhere else.
pub(super) fn failure_policy(observed: &Observed) -> Seen {
    let mut seen = Seen::default();
    let mut policy = "";
    each(observed, &mut seen, |webhook, seen| {
        let (name, fails) = (text(webhook, "/name"), text(webhook, "/failurePolicy"));
        if name != VALIDATE && fails != "Ignore" {
            seen.finds(FAIL_ELSEWHERE, format!("{name} has failurePolicy {}", shown(webhook, "/failurePolicy")));
        }
    });
    let Some(webhook) = observed.our_validating().and_then(validate) else { return seen };
    let Some(config) = observed.configuration() else {
        seen.unknown("which one is right follows from maxMode, and the server's configuration cannot be read");
        return seen;
    };
    let fails = text(webhook, "/failurePolicy");
    if !fails.is_empty() {
        policy = fails;
    }
    let mode = config.settings.max_mode;
    match (mode, policy) {
        (Mode::Enforce, "Ignore") => {
            seen.finds(FAIL_OPEN, format!("{VALIDATE} has failurePolicy Ignore, and maxMode is enforce"))
        }
        (Mode::Audit | Mode::Warn, "Fail") => {
            seen.finds(FAIL_CLOSED, format!("{VALIDATE} has failurePolicy Fail, and maxMode is {}", mode.name()));
        }
        _ => seen.good(format!("{policy} under maxMode: {}", mode.name())),
    }
    seen
}

/// Mutating webhooks that come after ours, by name, and may change images again.
pub(super) fn others(observed: &Observed) -> Seen {
    let mut seen = Seen::default();
    let Some(configurations) = seen.read("MutatingWebhookConfigurations", &observed.mutating) else { return seen };
    let Some(ours) = observed.our_mutating() else {
        seen.good("nobody is after us, because we pin nothing");
        return seen;
    };
    let pin = list(ours, "/webhooks").iter().find(|webhook| text(webhook, "/name") == PIN);
    let again = pin.is_some_and(|webhook| text(webhook, "/reinvocationPolicy") == "IfNeeded");
    let later = configurations
        .iter()
        .filter(|other| !is_ours(other) && text(other, "/metadata/name") > text(ours, "/metadata/name"));
    let on_pods = |other: &&Value| list(other, "/webhooks").iter().any(|webhook| covers(webhook, "", "pods", "CREATE"));
    let later: Vec<&str> = later.filter(on_pods).map(|other| text(other, "/metadata/name")).collect();
    if later.is_empty() {
        seen.good("none changes Pods after us");
    } else if again {
        seen.good(format!("we are asked again after {}", later.join(", ")));
    } else {
        seen.finds(
            CHANGED_AFTER,
            format!("Pods are changed after us by {}, and we are not asked again", later.join(", ")),
        );
    }
    seen
}

/// The webhook on Pods.
pub(super) fn validate(configuration: &Value) -> Option<&Value> {
    list(configuration, "/webhooks").iter().find(|webhook| text(webhook, "/name") == VALIDATE)
}

/// The namespaces that a webhook leaves out by name.
pub(super) fn excluded(webhook: &Value) -> Vec<&str> {
    let expressions = list(webhook, "/namespaceSelector/matchExpressions").iter();
    expressions
        .filter(|expression| is_by_name(expression))
        .flat_map(|expression| texts(expression, "/values"))
        .collect()
}

fn is_by_name(expression: &Value) -> bool {
    text(expression, "/key") == "kubernetes.io/metadata.name" && text(expression, "/operator") == "NotIn"
}

/// Looks at every webhook of both configurations, as far as they can be read and are there.
fn each<'o>(observed: &'o Observed, seen: &mut Seen, mut look: impl FnMut(&'o Value, &mut Seen)) {
    let mut found = 0;
    for (what, read, ours) in [
        ("ValidatingWebhookConfigurations", &observed.validating, observed.our_validating()),
        ("MutatingWebhookConfigurations", &observed.mutating, observed.our_mutating()),
    ] {
        if seen.read(what, read).is_none() {
            continue;
        }
        for webhook in ours.into_iter().flat_map(|ours| list(ours, "/webhooks")) {
            found += 1;
            look(webhook, seen);
        }
    }
    if found == 0 && seen.findings.is_empty() {
        seen.unknown("there is no webhook of ours");
    }
}

/// Whether a webhook is called for an operation on a resource.
fn covers(webhook: &Value, group: &str, resource: &str, operation: &str) -> bool {
    let base = resource.split('/').next().unwrap_or_default();
    let subresource = resource.split_once('/').map(|(_, subresource)| subresource);
    let any = |rule: &Value, key: &str, wanted: &dyn Fn(&str) -> bool| texts(rule, key).into_iter().any(wanted);
    list(webhook, "/rules").iter().any(|rule| {
        any(rule, "/apiGroups", &|found| found == "*" || found == group)
            && any(rule, "/apiVersions", &|found| found == "*" || found == "v1")
            && any(rule, "/operations", &|found| found == "*" || found == operation)
            && any(rule, "/resources", &|found| {
                found == resource
                    || found == "*/*"
                    || (found == "*" && subresource.is_none())
                    || found == format!("{base}/*")
                    || subresource.is_some_and(|subresource| found == format!("*/{subresource}"))
            })
            && text(rule, "/scope") != "Cluster"
    })
}

/// Whether the chart's condition is there, whatever white space it has.
fn has_condition(webhook: &Value, expected: &str) -> bool {
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let condition = list(webhook, "/matchConditions").iter().find(|condition| text(condition, "/name") == CONDITION);
    condition.is_some_and(|condition| words(text(condition, "/expression")) == words(expected))
}

fn shown<'v>(webhook: &'v Value, key: &str) -> &'v str {
    match text(webhook, key) {
        "" => "(none)",
        found => found,
    }
}
