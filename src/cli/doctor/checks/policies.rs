//! What the replicas judge by: their configuration, one and the same policies, and registries that answer.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{Seen, count};
use crate::cli::doctor::causes::{
    CONFIGURATION, NO_POLICIES, OBJECT_REFUSED, POLICIES_DIFFER, POLICIES_REFUSED, POLICIES_SAVED, REGISTRY_FAILING,
};
use crate::cli::doctor::json::{list, text};
use crate::cli::doctor::numbers::samples;
use crate::cli::doctor::observe::{Observed, Replica};

/// The server's configuration compiles.
pub(super) fn configuration(observed: &Observed) -> Seen {
    let mut seen = Seen::default();
    let name = format!("{}-config", observed.release.name);
    match seen.read(&format!("the ConfigMap {name}"), &observed.config) {
        None => {}
        Some(None) => seen.finds(CONFIGURATION, format!("there is no ConfigMap {name} with a config.yaml")),
        Some(Some(Err(problems))) => {
            let first = problems.lines().next().unwrap_or_default();
            seen.finds(CONFIGURATION, format!("the ConfigMap {name} does not compile: {first}"));
        }
        Some(Some(Ok(config))) => {
            let objects = if config.policy_objects { ", policies of files and objects" } else { "" };
            seen.good(format!("maxMode {}{objects}", config.settings.max_mode.name()));
        }
    }
    seen
}

/// Every replica has the same policies in force, and they are those that people wrote.
pub(super) fn policies(observed: &Observed) -> Seen {
    let mut seen = Seen::default();
    let Some(replicas) = seen.read("Pods", &observed.replicas) else { return seen };
    let mut sets: BTreeMap<Vec<(&str, &str)>, Vec<&str>> = BTreeMap::new();
    for replica in replicas {
        let Some(policies) = replica.policies() else {
            let why = replica.metrics.as_ref().err().map(ToString::to_string).unwrap_or_default();
            seen.unknown(&format!("the metrics of {} cannot be read: {why}", replica.name));
            continue;
        };
        if policies.is_empty() && !allows_none(observed) {
            seen.finds(NO_POLICIES, format!("{} has no policy in force", replica.name));
        }
        if replica.number("tagwarden_policy_last_reload_successful") == Some(0.0) {
            seen.finds(
                POLICIES_REFUSED,
                format!("{} refused the policies as they stand now{}", replica.name, why(replica)),
            );
        }
        if replica.number("tagwarden_policy_set_from_last_good") == Some(1.0) {
            seen.finds(POLICIES_SAVED, format!("{} serves policies that another process saved", replica.name));
        }
        sets.entry(policies).or_default().push(&replica.name);
    }
    if sets.len() > 1 {
        let by = sets.iter().map(|(policies, names)| format!("{} by {}", names.join(" and "), hashes(policies)));
        seen.finds(
            POLICIES_DIFFER,
            format!("the replicas judge by different policies: {}", by.collect::<Vec<_>>().join(", ")),
        );
    }
    if let Some((policies, _)) = sets.iter().next() {
        seen.good(format!(
            "{} in force on {}: {}",
            plural(policies.len()),
            count(replicas.len(), "replica"),
            hashes(policies)
        ));
    } else if seen.findings.is_empty() {
        seen.unknown("there is no replica to ask");
    }
    if let Some(objects) = observed.objects.as_ref().and_then(|objects| seen.read("ImagePolicy objects", objects)) {
        objects.iter().for_each(|object| refused(object, &mut seen));
        seen.good(count(objects.len(), "ImagePolicy object"));
    }
    seen
}

fn allows_none(observed: &Observed) -> bool {
    observed.configuration().is_some_and(|config| config.settings.allow_empty)
}

fn plural(policies: usize) -> String {
    if policies == 1 { "1 policy".to_owned() } else { format!("{policies} policies") }
}

fn hashes(policies: &[(&str, &str)]) -> String {
    if policies.is_empty() {
        return "none".to_owned();
    }
    policies.iter().map(|(name, hash)| format!("{name} {hash}")).collect::<Vec<_>>().join(", ")
}

/// What `/readyz?verbose` says of policies.
fn why(replica: &Replica) -> String {
    let Ok(page) = &replica.readyz else { return String::new() };
    let lines = page.text.lines().skip_while(|line| !line.contains("]policies ")).skip(1);
    let said: Vec<&str> = lines.take_while(|line| line.starts_with("    ")).map(str::trim).collect();
    if said.is_empty() { String::new() } else { format!(": {}", said.join(" ")) }
}

fn refused(object: &Value, seen: &mut Seen) {
    let ready = list(object, "/status/conditions").iter().find(|c| text(c, "/type") == "Ready");
    let Some(ready) = ready.filter(|ready| text(ready, "/status") == "False") else { return };
    let name = text(object, "/metadata/name");
    let diagnostic = list(object, "/status/diagnostics").first();
    let said = diagnostic.map_or("", |diagnostic| text(diagnostic, "/message"));
    seen.finds(OBJECT_REFUSED, format!("the ImagePolicy {name} is refused ({}): {said}", text(ready, "/reason")));
}

/// The registries that policies name answer the replicas.
pub(super) fn registries(observed: &Observed) -> Seen {
    let mut seen = Seen::default();
    let Some(replicas) = seen.read("Pods", &observed.replicas) else { return seen };
    let mut asked: BTreeMap<&str, (f64, f64, BTreeSet<&str>)> = BTreeMap::new();
    let mut told = 0;
    for metrics in replicas.iter().filter_map(|replica| replica.metrics.as_deref().ok()) {
        told += 1;
        for sample in samples(metrics, "tagwarden_registry_requests_total") {
            let (good, bad, results) = asked.entry(sample.label("registry")).or_default();
            match sample.label("result") {
                // That something is not there is an answer too.
                "ok" | "not-found" => *good += sample.value,
                result if sample.value > 0.0 => {
                    *bad += sample.value;
                    results.insert(result);
                }
                _ => {}
            }
        }
    }
    if told == 0 {
        seen.unknown("no replica's metrics can be read");
        return seen;
    }
    for (registry, (good, bad, results)) in &asked {
        // A registry that mostly answers has had its moments.
        if bad * 10.0 > *good {
            let results: Vec<&str> = results.iter().copied().collect();
            seen.finds(
                REGISTRY_FAILING,
                format!(
                    "{registry}: {bad} of {} lookups failed since the replicas started: {}",
                    good + bad,
                    results.join(", ")
                ),
            );
        }
    }
    let names: Vec<&str> = asked.keys().copied().collect();
    seen.good(if names.is_empty() {
        "none was asked so far".to_owned()
    } else {
        format!("answer: {}", names.join(", "))
    });
    seen
}
