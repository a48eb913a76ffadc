//! The records of one namespace as intervals, and what of the time nobody watched.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::record::{Change, Event, Record, Run, What};

/// What ran in one namespace, from when to when.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Timeline {
    /// By their beginning.
    pub intervals: Vec<Interval>,
    /// When somebody watched: in order, apart from each other. What lies between two of them is a gap.
    pub watched: Vec<Span>,
}

/// A time during which something ran.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interval {
    /// What ran.
    pub run: Run,
    /// Since when.
    pub from: Timestamp,
    /// Until when.
    pub to: End,
}

/// The end of an interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It ran when the history ends.
    Running,
    /// It ended then.
    At(Timestamp),
    /// It ended while nobody watched.
    Between {
        /// It was last known to run.
        seen: Timestamp,
        /// It was first known to have ended.
        gone: Timestamp,
    },
}

/// A time during which somebody watched, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Its beginning.
    pub from: Timestamp,
    /// Its end.
    pub to: Timestamp,
}

/// What is known of one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer<'t> {
    /// Whether somebody watched then: what ran is this and nothing else.
    pub watched: bool,
    /// What ran; where nobody watched, what ran before that moment and is not known to have ended by then.
    pub running: Vec<&'t Interval>,
    /// Of a moment that nobody watched: until when somebody had, and from when somebody did again.
    pub gap: (Option<Timestamp>, Option<Timestamp>),
}

impl Timeline {
    /// Of these records in any order; those of other namespaces tell only that somebody watched.
    #[must_use]
    pub fn of(mut records: Vec<Record>, namespace: &str) -> Self {
        // Files of several replicas may have been put one behind the other. Records of one time keep their order.
        records.sort_by_key(|record| record.time);
        let told = told_at_starts(&records, namespace);
        let mut building = Building::default();
        for record in records {
            match record.what {
                What::Watching { since, resumes } => {
                    if since == record.time && !resumes {
                        building.starts_anew(since, told.get(&since));
                    }
                    building.watched(since, record.time);
                }
                What::Change(change) => {
                    building.watched_to(record.time);
                    if change.namespace == namespace {
                        building.change(record.time, change);
                    }
                }
            }
        }
        building.done()
    }

    /// What is known of one moment.
    #[must_use]
    pub fn at(&self, time: Timestamp) -> Answer<'_> {
        let watched = self.watched.iter().any(|span| span.from <= time && time <= span.to);
        let runs = |interval: &&Interval| {
            interval.from <= time
                && match interval.to {
                    End::Running => true,
                    End::At(end) => time < end,
                    End::Between { gone, .. } => time < gone,
                }
        };
        let before = self.watched.iter().map(|span| span.to).rfind(|to| *to < time);
        let after = self.watched.iter().map(|span| span.from).find(|from| time < *from);
        Answer { watched, running: self.intervals.iter().filter(runs).collect(), gap: (before, after) }
    }
}

/// What each watch that knew of nothing before told at its beginning.
fn told_at_starts(records: &[Record], namespace: &str) -> BTreeMap<Timestamp, BTreeSet<Run>> {
    let mut told = BTreeMap::<Timestamp, BTreeSet<Run>>::new();
    for record in records {
        if let What::Change(change) = &record.what
            && change.namespace == namespace
            && change.event == Event::Observed
        {
            told.entry(record.time).or_default().insert(change.run.clone());
        }
    }
    told
}

#[derive(Default)]
struct Building {
    intervals: Vec<Interval>,
    /// What runs: its index among the intervals.
    open: BTreeMap<Run, usize>,
    /// The watches whose beginning is there, and their ends so far. Of others nobody knows what they told before.
    watches: BTreeMap<Timestamp, Timestamp>,
}

impl Building {
    fn watched(&mut self, since: Timestamp, to: Timestamp) {
        if since == to {
            self.watches.entry(since).or_insert(to);
        } else if let Some(end) = self.watches.get_mut(&since) {
            *end = to.max(*end);
        }
    }

    /// A change is told by whoever began last.
    fn watched_to(&mut self, time: Timestamp) {
        if let Some(mut last) = self.watches.last_entry() {
            let end = time.max(*last.get());
            last.insert(end);
        }
    }

    /// Watches overlap where one replica has not noticed yet that another is the elected one.
    fn done(mut self) -> Timeline {
        self.intervals.sort_by(|a, b| (a.from, &a.run).cmp(&(b.from, &b.run)));
        let mut watched: Vec<Span> = Vec::new();
        for (from, to) in self.watches {
            match watched.last_mut() {
                Some(last) if from <= last.to => last.to = last.to.max(to),
                _ => watched.push(Span { from, to }),
            }
        }
        Timeline { intervals: self.intervals, watched }
    }

    /// What is not told of at the beginning of a watch that tells all has ended before.
    fn starts_anew(&mut self, now: Timestamp, told: Option<&BTreeSet<Run>>) {
        let last = self.watches.values().max().copied();
        let intervals = &mut self.intervals;
        self.open.retain(|run, index| {
            let runs = told.is_some_and(|told| told.contains(run));
            if !runs && let Some(interval) = intervals.get_mut(*index) {
                interval.to = End::Between { seen: last.unwrap_or(interval.from), gone: now };
            }
            runs
        });
    }

    fn change(&mut self, time: Timestamp, change: Change) {
        let Change { event, run, since, seen, .. } = change;
        let intervals = &mut self.intervals;
        if event != Event::Ended {
            // Whoever watched before saw that it did not run, whatever the clock of its node says.
            let unseen = self.watches.range(..time).map(|(_, end)| *end).max();
            let from = match event {
                Event::Observed => unseen.map_or(since, |unseen| since.max(unseen)),
                Event::Began | Event::Ended => since,
            };
            // Told twice by two replicas, it still began once.
            self.open.entry(run).or_insert_with_key(|run| {
                intervals.push(Interval { run: run.clone(), from, to: End::Running });
                intervals.len() - 1
            });
            return;
        }
        let end = seen.map_or(End::At(time), |seen| End::Between { seen, gone: time });
        if let Some(interval) = self.open.remove(&run).and_then(|index| intervals.get_mut(index)) {
            interval.to = end;
        } else if !intervals.iter().any(|interval| interval.run == run && interval.from == since) {
            // It did not come twice: the line about its beginning is lost.
            intervals.push(Interval { run, from: since, to: end });
        }
    }
}

#[cfg(test)]
mod tests;
