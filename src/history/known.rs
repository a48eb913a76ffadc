//! What the lines written so far come to: what a replica has to know that goes on with them.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::record::{Event, Read, Record, Release, Run, What};

/// The end of a history.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// What runs by it; only namespaces in which something ran.
    pub(super) namespaces: BTreeMap<String, Namespace>,
    /// The time of the last record.
    pub(super) last: Option<Timestamp>,
}

/// The same of one namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Namespace {
    /// What runs, and since when.
    pub runs: BTreeMap<Run, Timestamp>,
    /// The release that it changed to last.
    pub release: Option<Release>,
}

impl Known {
    /// Takes the next line.
    pub fn line(&mut self, line: &str) {
        let Read::Record(record) = Record::read(line) else { return };
        self.last = self.last.max(Some(record.time));
        let What::Change(change) = record.what else { return };
        let namespace = self.namespaces.entry(change.namespace).or_default();
        let mut began = None;
        match change.event {
            Event::Began | Event::Observed => {
                began = change.run.release.clone();
                namespace.runs.entry(change.run).or_insert(change.since);
            }
            Event::Ended => drop(namespace.runs.remove(&change.run)),
        }
        let next = succession(namespace.release.as_ref(), namespace.runs.keys(), began.as_ref());
        namespace.release = next.or(namespace.release.take());
    }
}

/// The release that a namespace changes to, if it changes to another one: the one that begins to run, or the only one left
/// where that which it changed to last is gone, as when a rollout was taken back half-way.
pub(super) fn succession<'r>(
    present: Option<&Release>,
    running: impl Iterator<Item = &'r Run>,
    began: Option<&Release>,
) -> Option<Release> {
    if let Some(began) = began {
        return (present != Some(began)).then(|| began.clone());
    }
    let mut releases: Vec<&Release> = running.filter_map(|run| run.release.as_ref()).collect();
    releases.sort_unstable();
    releases.dedup();
    match releases[..] {
        [only] if present != Some(only) => Some(only.clone()),
        _ => None,
    }
}
