//! The history of releases, written by the elected replica from what it sees of Pods; nothing that is served waits for it.

mod sink;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tokio_util::sync::CancellationToken;

use self::sink::Sink;
use super::home::Home;
use crate::cluster::{Cluster, Events, Leadership, Pods};
use crate::config;
use crate::history::{PodChange, Record, ReleaseChange, Session};
use crate::metrics::Metrics;

/// How often what could not be written is tried again, and looked whether it is time to tell that the watch goes on.
const TICK: Duration = Duration::from_secs(5);
/// Lines that wait for a sink that fails. With more the watch begins anew, and what was missed shows as a gap.
const WAITING: usize = 10_000;
/// Changes that wait to be told in the cluster.
const EVENTS: usize = 256;
/// The longest that the last lines may take.
const FAREWELL: Duration = Duration::from_secs(2);

/// The writer of the history.
pub(super) struct Keeper {
    over: CancellationToken,
    task: JoinHandle<()>,
}

/// Begins to write whenever this replica is the elected one.
pub(super) fn keep(home: &Home, settings: &config::History, metrics: &Arc<Metrics>) -> Keeper {
    let over = CancellationToken::new();
    let (tell, changes) = mpsc::channel(EVENTS);
    let events = Events::of(&home.cluster, home.replica.clone());
    tokio::spawn(tell_all(events, changes, Arc::clone(metrics)));
    let sink = settings.file.clone().map_or(Sink::Stdout, Sink::File);
    let writer = Writer {
        cluster: home.cluster.clone(),
        leadership: home.leadership.clone(),
        sink: Arc::new(sink),
        waiting: VecDeque::new(),
        told: None,
        blind: None,
        tell,
        metrics: Arc::clone(metrics),
    };
    let task = tokio::spawn(writer.run(over.clone()));
    Keeper { over, task }
}

impl Keeper {
    /// Writes until when it watched, and ends. To be called while the Lease is still held.
    pub async fn end(self) {
        self.over.cancel();
        let mut task = self.task;
        if timeout(FAREWELL, &mut task).await.is_err() {
            tracing::warn!("the last lines of the history are not written in time; the next replica tells of a gap");
            task.abort();
        }
    }
}

struct Writer {
    cluster: Cluster,
    leadership: Leadership,
    sink: Arc<Sink>,
    /// Lines that are not written yet.
    waiting: VecDeque<String>,
    /// What went wrong with the sink last, to say it once.
    told: Option<String>,
    /// The same of the watch.
    blind: Option<String>,
    tell: mpsc::Sender<ReleaseChange>,
    metrics: Arc<Metrics>,
}

/// Why a watch ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    /// The process ends.
    Over,
    /// This replica is not the elected one any more.
    Succeeded,
    /// Too much could not be written.
    Stuck,
}

impl Writer {
    async fn run(mut self, over: CancellationToken) {
        loop {
            tokio::select! {
                () = over.cancelled() => return,
                () = elected(&mut self.leadership) => {}
            }
            let ended = self.term(&over).await;
            self.metrics.history_watched(false);
            match ended {
                Ended::Over => return,
                Ended::Succeeded => {}
                Ended::Stuck => tokio::select! {
                    () = over.cancelled() => return,
                    () = sleep(TICK) => {}
                },
            }
        }
    }

    /// While this replica is the elected one.
    async fn term(&mut self, over: &CancellationToken) -> Ended {
        self.waiting.clear();
        let sink = Arc::clone(&self.sink);
        let known = match blocking(move || sink.known()).await {
            Ok(known) => known,
            Err(problem) => {
                self.failed(problem);
                return Ended::Stuck;
            }
        };
        let mut session = Session::new(known);
        let mut pods = Pods::watched(&self.cluster);
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let ended = loop {
            tokio::select! {
                change = pods.next() => self.take(change, &mut session).await,
                _ = ticks.tick() => {
                    let beat = session.beat(now());
                    self.write(beat).await;
                }
                () = self.leadership.changed() => {}
                () = over.cancelled() => break Ended::Over,
            }
            if !self.leadership.held() {
                break Ended::Succeeded;
            }
            if self.waiting.len() > WAITING {
                break Ended::Stuck;
            }
        };
        let end = session.ends(now());
        self.write(end).await;
        ended
    }

    async fn take(&mut self, change: PodChange, session: &mut Session) {
        if let PodChange::Failed(problem) = &change
            && self.blind.as_ref() != Some(problem)
        {
            tracing::warn!(problem, "cannot watch Pods; the history has a gap where they are not seen; trying again");
            self.blind = Some(problem.clone());
        }
        let listed = change == PodChange::ListDone;
        let told = session.take(change, now());
        if session.watches() {
            self.blind = None;
        }
        self.metrics.history_watched(session.watches());
        if listed {
            tracing::info!(lines = told.records.len(), "the history is written by this replica");
        }
        self.write(told.records).await;
        for change in told.changes {
            let namespace = change.namespace.clone();
            if self.tell.try_send(change).is_err() {
                self.metrics.history_event_failed();
                tracing::warn!(namespace, "too many changes of releases at once; one is not told as an Event");
            }
        }
    }

    /// Writes these behind what waits. What cannot be written waits on.
    async fn write(&mut self, records: impl IntoIterator<Item = Record>) {
        self.waiting.extend(records.into_iter().map(|record| record.line()));
        if self.waiting.is_empty() {
            return;
        }
        let (sink, mut waiting) = (Arc::clone(&self.sink), std::mem::take(&mut self.waiting));
        let written = tokio::task::spawn_blocking(move || {
            let written = sink.append(&mut waiting);
            (waiting, written)
        });
        match written.await {
            Ok((left, Ok(()))) => {
                self.waiting = left;
                self.told = None;
            }
            Ok((left, Err(problem))) => {
                self.waiting = left;
                self.failed(problem);
            }
            Err(error) => self.failed(error.to_string()),
        }
    }

    fn failed(&mut self, problem: String) {
        self.metrics.history_not_written();
        if self.told.as_ref() != Some(&problem) {
            tracing::error!(problem, "the history is not written; trying again");
            self.told = Some(problem);
        }
    }
}

/// Waits until this replica is the elected one.
async fn elected(leadership: &mut Leadership) {
    while !leadership.held() {
        leadership.changed().await;
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, String> + Send + 'static) -> Result<T, String> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => Err(error.to_string()),
    }
}

/// Tells each change in its namespace, one after the other, until nobody writes any more.
async fn tell_all(events: Events, mut changes: mpsc::Receiver<ReleaseChange>, metrics: Arc<Metrics>) {
    while let Some(change) = changes.recv().await {
        let note = match &change.from {
            Some(from) => format!("release {from} to {}", change.to),
            None => format!("release {}, where none was known before", change.to),
        };
        if let Err(problem) = events.tell(&change.namespace, "ReleaseChanged", &note, now()).await {
            metrics.history_event_failed();
            tracing::warn!(problem, "a change of releases is not told as an Event");
        }
    }
}

/// In milliseconds, so that lines are short and in order.
fn now() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now)
}
