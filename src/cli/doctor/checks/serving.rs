//! Whether there are replicas to call, and the Service leads to them.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Seen, count};
use crate::cli::doctor::causes::{
    FEW_REPLICAS, NO_BUDGET, NO_DEPLOYMENT, NO_ENDPOINTS, NO_SERVICE, NOT_READY, PODS_MISSING, SERVICE_PORT,
    SERVICE_SELECTS, VERSION_SKEW,
};
use crate::cli::doctor::json::{at, has_labels, list, text};
use crate::cli::doctor::observe::{Observed, Replica};

/// The Service that the configurations name has their port, selects our Pods, and has endpoints.
pub(super) fn service(observed: &Observed) -> Seen {
    let mut seen = Seen::default();
    let name = &observed.release.name;
    let Some(found) = seen.read(&format!("the Service {name}"), &observed.service) else { return seen };
    let Some(service) = found else {
        seen.finds(NO_SERVICE, format!("there is no Service {}/{name}", observed.release.namespace));
        return seen;
    };
    let configurations = [observed.our_validating(), observed.our_mutating()];
    let webhooks = configurations.into_iter().flatten().flat_map(|ours| list(ours, "/webhooks"));
    let called = webhooks.map(|webhook| at(webhook, "/clientConfig/service/port").as_i64().unwrap_or(443));
    let called: BTreeSet<i64> = called.collect();
    for port in &called {
        if !list(service, "/spec/ports").iter().any(|served| at(served, "/port").as_i64() == Some(*port)) {
            seen.finds(SERVICE_PORT, format!("the Service {name} has no port {port}"));
        }
    }
    let template = match &observed.deployment {
        Ok(Some(deployment)) => at(deployment, "/spec/template"),
        _ => &Value::Null,
    };
    if !template.is_null() && !has_labels(template, at(service, "/spec/selector")) {
        seen.finds(SERVICE_SELECTS, format!("the selector of the Service {name} fits no Pod of the Deployment"));
    }
    if let Some(slices) = seen.read("EndpointSlices", &observed.slices) {
        let endpoints = slices.iter().flat_map(|slice| list(slice, "/endpoints"));
        let ready = endpoints.filter(|endpoint| at(endpoint, "/conditions/ready").as_bool() != Some(false));
        let ready: BTreeSet<&str> = ready.map(|endpoint| text(endpoint, "/targetRef/name")).collect();
        if ready.is_empty() {
            seen.finds(NO_ENDPOINTS, format!("the Service {name} has no ready endpoint"));
        }
        let ports: Vec<String> = called.iter().map(i64::to_string).collect();
        seen.good(format!("port {} leads to {}", ports.join(", "), count(ready.len(), "ready endpoint")));
    }
    seen
}

/// As many replicas as there should be, ready, of one version, and not to be drained at once.
pub(super) fn replicas(observed: &Observed) -> Seen {
    let mut seen = Seen::default();
    let name = &observed.release.name;
    let Some(found) = seen.read(&format!("the Deployment {name}"), &observed.deployment) else { return seen };
    let Some(deployment) = found else {
        seen.finds(NO_DEPLOYMENT, format!("there is no Deployment {}/{name}", observed.release.namespace));
        return seen;
    };
    let wanted = at(deployment, "/spec/replicas").as_i64().unwrap_or(1);
    if wanted < 2 {
        seen.finds(FEW_REPLICAS, format!("the Deployment {name} has replicas: {wanted}"));
    }
    let failure = list(deployment, "/status/conditions").iter().find(|c| text(c, "/type") == "ReplicaFailure");
    if let Some(failure) = failure.filter(|failure| text(failure, "/status") == "True") {
        seen.finds(PODS_MISSING, format!("Pods cannot be created: {}", text(failure, "/message")));
    }
    if let Some(replicas) = seen.read("Pods", &observed.replicas) {
        let there = i64::try_from(replicas.len()).unwrap_or(i64::MAX);
        if there < wanted && failure.is_none() {
            seen.finds(PODS_MISSING, format!("{there} of {wanted} Pods are there"));
        }
        for replica in replicas {
            readiness(replica, &mut seen);
        }
        let versions: BTreeSet<&str> = replicas.iter().filter_map(Replica::version).collect();
        if versions.len() > 1 {
            seen.finds(VERSION_SKEW, format!("the replicas are of several versions: {}", joined(&versions)));
        }
        let ready = replicas.iter().filter(|replica| replica.is_ready).count();
        seen.good(format!("{ready} of {wanted} ready, version {}", joined(&versions)));
    }
    if let Some(budgets) = seen.read("PodDisruptionBudgets", &observed.budgets) {
        let template = at(deployment, "/spec/template");
        if budgets.iter().any(|budget| has_labels(template, at(budget, "/spec/selector/matchLabels"))) {
            seen.good("a PodDisruptionBudget");
        } else {
            seen.finds(NO_BUDGET, "no PodDisruptionBudget selects the replicas");
        }
    }
    seen
}

fn readiness(replica: &Replica, seen: &mut Seen) {
    let name = &replica.name;
    match &replica.readyz {
        Ok(page) if page.status == 200 && replica.is_ready => {}
        Ok(page) if page.status == 200 => {
            seen.finds(NOT_READY, format!("{name} says that it is ready, and its Pod does not count as ready"));
        }
        Ok(page) => seen.finds(NOT_READY, format!("{name} is not ready: {}", unmet(&page.text))),
        Err(_) if !replica.waiting.is_empty() => {
            seen.finds(NOT_READY, format!("{name} does not run: {}", replica.waiting));
        }
        Err(why) if replica.is_ready => seen.unknown(&format!("{name} counts as ready, and cannot be asked: {why}")),
        Err(why) => seen.finds(NOT_READY, format!("{name} is not ready, and cannot be asked why: {why}")),
    }
}

/// The conditions of `/readyz?verbose` that are not met, with what is said of them.
pub(super) fn unmet(page: &str) -> String {
    let mut parts: Vec<String> = Vec::new();
    let mut is_unmet = false;
    for line in page.lines() {
        match (line.strip_prefix("[-]"), line.starts_with("    ")) {
            (Some(condition), _) => {
                is_unmet = true;
                parts.push(condition.split_whitespace().next().unwrap_or_default().to_owned());
            }
            (None, true) if is_unmet => {
                if let Some(last) = parts.last_mut() {
                    let separator = if last.contains(": ") { " " } else { ": " };
                    last.push_str(separator);
                    last.push_str(line.trim());
                }
            }
            _ => is_unmet = false,
        }
    }
    parts.join("; ")
}

fn joined(names: &BTreeSet<&str>) -> String {
    names.iter().copied().collect::<Vec<_>>().join(", ")
}
