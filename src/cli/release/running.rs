//! What runs in a cluster, as images that are used.

use std::collections::BTreeSet;

use anyhow::bail;

use super::used::{AllUsed, Used};
use crate::cli::live::Live;
use crate::cluster::{Inventory, RunningWorkload, Scope};
use crate::config::Config;
use crate::image::DigestBuf;

/// Which workloads are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Which {
    /// Every one that makes Pods, also where it has none just now.
    All,
    /// Those that have Pods.
    WithPods,
}

/// Lists what runs, in a namespace or in all that are not exempt.
///
/// # Errors
/// One sentence: Pods or namespaces cannot be listed.
pub(super) fn read(
    live: &Live,
    namespace: Option<&str>,
    which: Which,
    config: &Config,
    all: &mut AllUsed,
) -> anyhow::Result<()> {
    let kinds: Vec<(String, String)> =
        config.workloads.configured().map(|(group, kind)| (group.to_owned(), kind.to_owned())).collect();
    let scope = Scope { namespace, kinds: &kinds };
    let inventory = live.runtime.block_on(Inventory::read(&live.cluster, scope)).map_err(anyhow::Error::msg)?;
    if inventory.namespaces.is_empty() {
        bail!("the cluster has no namespace: is this the right one? see --context");
    }
    for workload in inventory.workloads.iter().filter(|workload| which == Which::All || workload.pods > 0) {
        let of = workload.owner.namespace.as_str();
        // A namespace that is asked for by its name is looked at, whatever it is.
        let left_out = inventory.exempt.contains(of) || config.infrastructure_namespaces.contains(of);
        if namespace.is_none() && left_out {
            all.skipped.insert(format!("namespace {of}"));
            continue;
        }
        of_workload(workload, config, all);
    }
    let owners: BTreeSet<&str> = all.images.iter().map(|used| used.object.as_str()).collect();
    all.objects = owners.len();
    all.unlisted.extend(inventory.unlisted);
    Ok(())
}

fn of_workload(workload: &RunningWorkload, config: &Config, all: &mut AllUsed) {
    let owner = &workload.owner;
    let named = format!("{} {}/{}", owner.kind, owner.namespace, owner.name);
    let collected = config.workloads.read_object(&workload.group, &workload.kind, &workload.object, None);
    for image in collected.images() {
        let mut used = Used::written(image.image, &named, image.list, image.container);
        let digests = image.container.and_then(|container| workload.digests.get(container));
        let digests = digests.into_iter().flat_map(|digests| digests.keys());
        used.runs = digests.filter_map(|digest| DigestBuf::parse(digest).ok()).collect();
        take(used, all);
    }
    for warning in &collected.warnings {
        all.skipped.insert(format!("{named}: {warning}"));
    }
}

/// An owner's template and that of what it made (a ReplicaSet, which has the Pods) say the same: it is one use.
fn take(used: Used, all: &mut AllUsed) {
    // Workloads come by their owners.
    let of_owner = all.images.iter_mut().rev().take_while(|other| other.object == used.object);
    match of_owner.filter(|other| (&other.label, &other.image) == (&used.label, &used.image)).last() {
        Some(other) => {
            other.runs.extend(used.runs);
            other.runs.sort();
            other.runs.dedup();
        }
        None => all.images.push(used),
    }
}
