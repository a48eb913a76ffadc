//! One replica's watch, from its first complete list to its end: what it has to write of what it sees.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use super::known::{Known, succession};
use super::ledger::Ledger;
use super::pods::PodChange;
use super::record::{Change, Event, Record, Release, What};

/// How often a watch in which nothing happens is told of: so much of its end is unknown after a crash.
const BEAT: Duration = Duration::from_secs(600);

/// A watch over all Pods.
#[derive(Debug)]
pub struct Session {
    ledger: Ledger,
    /// The release that each namespace changed to last.
    releases: BTreeMap<String, Release>,
    resumes: Resumes,
    /// When the list was complete; none: it is not yet, and nothing is told.
    since: Option<Timestamp>,
    /// When a record last told of the watch.
    told: Timestamp,
    /// Until when what was known before is known to have run.
    seen: Option<Timestamp>,
    /// Since when Pods cannot be seen.
    blind: Option<Timestamp>,
}

/// What the first list is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Resumes {
    /// Nothing: all of it is told.
    Nothing,
    /// What is written, or what was seen before an interruption.
    Written,
}

/// What is to be done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// To be written, in this order.
    pub records: Vec<Record>,
    /// To be told in the cluster.
    pub changes: Vec<ReleaseChange>,
}

/// A namespace runs another release than before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReleaseChange {
    /// The namespace.
    pub namespace: String,
    /// What it ran before; none: no release.
    pub from: Option<Release>,
    /// What it runs now.
    pub to: Release,
}

impl Session {
    /// Goes on with what is written (`known`); none: there is nothing that could be read.
    #[must_use]
    pub fn new(known: Option<Known>) -> Self {
        let resumes = if known.is_some() { Resumes::Written } else { Resumes::Nothing };
        let known = known.unwrap_or_default();
        let release =
            |(name, namespace): (&String, &super::known::Namespace)| Some((name.clone(), namespace.release.clone()?));
        Session {
            releases: known.namespaces.iter().filter_map(release).collect(),
            resumes,
            since: None,
            told: Timestamp::MIN,
            seen: known.last,
            blind: None,
            ledger: Ledger::of(known),
        }
    }

    /// Whether all Pods are seen now.
    #[must_use]
    pub fn watches(&self) -> bool {
        self.since.is_some() && self.blind.is_none()
    }

    /// Takes the next change, seen `now`.
    pub fn take(&mut self, change: PodChange, now: Timestamp) -> Told {
        match change {
            PodChange::Failed(_) => {
                self.blind.get_or_insert(now);
                Told::default()
            }
            PodChange::Listing => {
                self.ledger.list_begins();
                // A list that is due without a failure interrupts as well, until it is complete.
                self.blind.get_or_insert(now);
                Told::default()
            }
            PodChange::Listed(pod) => {
                self.ledger.listed(&pod);
                Told::default()
            }
            PodChange::ListDone => self.list_done(now),
            PodChange::Applied(pod) => {
                self.blind = None;
                let changes = self.ledger.applied(&pod, now);
                self.tell(changes, now)
            }
            PodChange::Gone(uid) => {
                self.blind = None;
                let changes = self.ledger.gone(&uid);
                self.tell(changes, now)
            }
        }
    }

    /// That the watch goes on, where that was not told for a while.
    pub fn beat(&mut self, now: Timestamp) -> Option<Record> {
        let due = now.duration_since(self.told).unsigned_abs() >= BEAT;
        if due && self.watches() { self.watched_until(now) } else { None }
    }

    /// How long it watched, at its end.
    pub fn ends(&mut self, now: Timestamp) -> Option<Record> {
        self.watched_until(self.blind.unwrap_or(now))
    }

    fn watched_until(&mut self, time: Timestamp) -> Option<Record> {
        let since = self.since?;
        self.told = time;
        Some(Record { time, what: What::Watching { since, resumes: self.resumes == Resumes::Written } })
    }

    /// What was seen before an interruption ends there; with this list another watch begins.
    fn list_done(&mut self, now: Timestamp) -> Told {
        let blind = self.blind.take();
        let mut records = Vec::new();
        if let (Some(_), Some(blind)) = (self.since, blind) {
            self.seen = Some(blind);
            records.extend(self.watched_until(blind));
            self.resumes = Resumes::Written;
        }
        self.since = Some(now);
        records.extend(self.watched_until(now));
        let changes = self.ledger.list_done(now, self.seen);
        let told = self.tell(changes, now);
        records.extend(told.records);
        if self.resumes == Resumes::Nothing {
            self.settle();
            return Told { records, changes: Vec::new() };
        }
        Told { records, changes: told.changes }
    }

    /// Where nobody knows what ran before nothing has changed; of several releases the one whose first container is the
    /// youngest is what a rollout is about to.
    fn settle(&mut self) {
        let namespaces: Vec<String> = self.ledger.namespaces().map(str::to_owned).collect();
        for namespace in namespaces {
            let releases =
                self.ledger.running(&namespace).filter_map(|(run, since)| Some((since, run.release.as_ref()?)));
            let youngest = releases.max().map(|(_, release)| release.clone());
            if let Some(release) = youngest {
                self.releases.insert(namespace, release);
            }
        }
    }

    fn tell(&mut self, changes: Vec<Change>, now: Timestamp) -> Told {
        let mut told = Told::default();
        // Each namespace once: a release is several images. Of several that began the youngest counts.
        let mut moved: BTreeMap<String, Option<(Timestamp, Release)>> = BTreeMap::new();
        for change in changes {
            let began = change.run.release.as_ref().filter(|_| change.event != Event::Ended);
            let began = began.map(|release| (change.since, release.clone()));
            let latest = moved.entry(change.namespace.clone()).or_default();
            *latest = latest.take().max(began);
            told.records.push(Record { time: now, what: What::Change(change) });
        }
        for (namespace, began) in moved {
            let running = self.ledger.running(&namespace).map(|(run, _)| run);
            let began = began.as_ref().map(|(_, release)| release);
            if let Some(to) = succession(self.releases.get(&namespace), running, began) {
                let from = self.releases.insert(namespace.clone(), to.clone());
                told.changes.push(ReleaseChange { namespace, from, to });
            }
        }
        told
    }
}

#[cfg(test)]
mod tests;
