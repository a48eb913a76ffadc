//! Which Pods run what: counted in memory, so that the first of a kind and the last one are told, and nothing between.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use jiff::Timestamp;

use super::known::Known;
use super::pods::Pod;
use super::record::{Change, Event, Run};

/// What is known of all Pods.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// By uid. Pods that run nothing are not kept.
    pods: HashMap<String, Held>,
    /// What runs, by namespace; none is empty.
    standing: Standings,
    /// A list that is not complete yet.
    listed: HashMap<String, (Held, Vec<Option<Timestamp>>)>,
    /// What that list names: Pods of one kind share it.
    named: HashSet<Arc<Run>>,
}

type Standings = BTreeMap<Arc<str>, BTreeMap<Arc<Run>, Standing>>;

/// What one Pod runs.
#[derive(Debug)]
struct Held {
    namespace: Arc<str>,
    runs: Vec<Arc<Run>>,
}

/// How many Pods run something, and since when.
#[derive(Clone, Copy, Debug)]
struct Standing {
    pods: usize,
    since: Timestamp,
}

impl Ledger {
    /// What somebody else has written; no Pod of it has been seen yet.
    pub fn of(known: Known) -> Self {
        let namespace = |(name, known): (String, super::known::Namespace)| {
            let runs = known.runs.into_iter().map(|(run, since)| (Arc::new(run), Standing { pods: 0, since }));
            (name.into(), runs.collect())
        };
        Ledger { standing: known.namespaces.into_iter().map(namespace).collect(), ..Ledger::default() }
    }

    /// All Pods are about to be listed.
    pub fn list_begins(&mut self) {
        self.listed.clear();
        self.named.clear();
    }

    /// One of them.
    pub fn listed(&mut self, pod: &Pod) {
        let runs = pod.runs();
        if runs.is_empty() {
            return;
        }
        let namespace = self.namespace(&pod.namespace);
        let (runs, since) = runs.into_iter().map(|(run, since)| (self.named(run), since)).unzip();
        self.listed.insert(pod.uid.clone(), (Held { namespace, runs }, since));
    }

    /// That was all: what differs from what was known is told. `seen`: until when that was watched.
    pub fn list_done(&mut self, now: Timestamp, seen: Option<Timestamp>) -> Vec<Change> {
        let listed = std::mem::take(&mut self.listed);
        self.named = HashSet::new();
        let mut standing = Standings::new();
        self.pods.clear();
        for (uid, (held, since)) in listed {
            let runs = standing.entry(Arc::clone(&held.namespace)).or_default();
            for (run, since) in held.runs.iter().zip(since) {
                let since = since.unwrap_or(now);
                let there = runs.entry(Arc::clone(run)).or_insert(Standing { pods: 0, since });
                there.pods += 1;
                there.since = there.since.min(since);
            }
            self.pods.insert(uid, held);
        }
        let before = std::mem::take(&mut self.standing);
        let mut changes = Vec::new();
        for (namespace, runs) in &mut standing {
            let known = before.get(namespace);
            for (run, standing) in runs {
                match known.and_then(|known| known.get(run)) {
                    // A container that was started anew does not make the run younger.
                    Some(known) => standing.since = known.since,
                    None => changes.push(change(namespace, Event::Observed, run, standing.since, None)),
                }
            }
        }
        for (namespace, runs) in &before {
            let now_running = standing.get(namespace);
            for (run, known) in runs {
                if !now_running.is_some_and(|runs| runs.contains_key(run)) {
                    changes.push(change(namespace, Event::Ended, run, known.since, seen));
                }
            }
        }
        self.standing = standing;
        changes
    }

    /// A Pod came or changed.
    pub fn applied(&mut self, pod: &Pod, now: Timestamp) -> Vec<Change> {
        let runs = pod.runs();
        if runs.is_empty() {
            return self.gone(&pod.uid);
        }
        let namespace = self.namespace(&pod.namespace);
        let mut changes = Vec::new();
        let mut held = Vec::with_capacity(runs.len());
        for (run, since) in runs {
            let standing = self.standing.entry(Arc::clone(&namespace)).or_default();
            let run =
                standing.get_key_value(&run).map_or_else(|| Arc::new(run.clone()), |(known, _)| Arc::clone(known));
            let since = since.unwrap_or(now);
            let there = standing.entry(Arc::clone(&run)).or_insert_with(|| {
                changes.push(change(&namespace, Event::Began, &run, since, None));
                Standing { pods: 0, since }
            });
            there.pods += 1;
            held.push(run);
        }
        // What it still runs was counted up before it is counted down: it never seems to end.
        if let Some(before) = self.pods.insert(pod.uid.clone(), Held { namespace, runs: held }) {
            changes.extend(self.count_down(before));
        }
        changes
    }

    /// The Pod of this uid is gone.
    pub fn gone(&mut self, uid: &str) -> Vec<Change> {
        self.pods.remove(uid).map(|held| self.count_down(held)).unwrap_or_default()
    }

    /// What runs in a namespace, and since when.
    pub fn running(&self, namespace: &str) -> impl Iterator<Item = (&Run, Timestamp)> {
        self.standing.get(namespace).into_iter().flatten().map(|(run, standing)| (run.as_ref(), standing.since))
    }

    /// The namespaces in which something runs.
    pub fn namespaces(&self) -> impl Iterator<Item = &str> {
        self.standing.keys().map(Arc::as_ref)
    }

    fn count_down(&mut self, held: Held) -> Vec<Change> {
        let mut changes = Vec::new();
        let Some(standing) = self.standing.get_mut(&held.namespace) else { return changes };
        for run in held.runs {
            let Some(there) = standing.get_mut(&run) else { continue };
            there.pods = there.pods.saturating_sub(1);
            if there.pods == 0 {
                changes.push(change(&held.namespace, Event::Ended, &run, there.since, None));
                standing.remove(&run);
            }
        }
        if standing.is_empty() {
            self.standing.remove(&held.namespace);
        }
        changes
    }

    /// Pods of one namespace share its name.
    fn namespace(&self, name: &str) -> Arc<str> {
        let known = self.standing.get_key_value(name).map(|(known, _)| known);
        known.map_or_else(|| name.into(), Arc::clone)
    }

    fn named(&mut self, run: Run) -> Arc<Run> {
        if let Some(known) = self.named.get(&run) {
            return Arc::clone(known);
        }
        let run = Arc::new(run);
        self.named.insert(Arc::clone(&run));
        run
    }
}

fn change(namespace: &str, event: Event, run: &Run, since: Timestamp, seen: Option<Timestamp>) -> Change {
    Change { namespace: namespace.to_owned(), event, run: run.clone(), since, seen }
}
