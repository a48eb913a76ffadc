//! What outlives bad edits and the loss of all replicas: documents that the elected replica saves, read at start.

use std::sync::Arc;
use std::time::Duration;

use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

use super::home::Home;
use crate::cluster::{Document, Leadership, Stored};
use crate::metrics::Metrics;

/// Bytes of a document; a ConfigMap holds 1 MiB.
const LIMIT: usize = 900 << 10;
/// How long after a failure it is read again.
const AGAIN: Duration = Duration::from_secs(2);
/// How often the elected replica looks whether what is saved is still that, and tries again what it could not save.
const INTERVAL: Duration = Duration::from_secs(30);

/// A document: what is in it, and how it is written. `R` is what is read of it, `S` what is in force.
pub(super) struct Kept<R, S> {
    /// The ConfigMap's name.
    pub name: &'static str,
    /// What it holds, for people: `policies`.
    pub what: &'static str,
    /// What was read, of a document; where it cannot be read nothing was saved.
    pub read: fn(Option<&[u8]>) -> R,
    /// The document that is to be, by what is in force and by the one that is there.
    pub bytes: fn(&S, Option<&[u8]>) -> Vec<u8>,
    /// Counts an attempt to save it that failed.
    pub not_saved: fn(&Metrics),
}

impl<R, S> Clone for Kept<R, S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<R, S> Copy for Kept<R, S> {}

/// What is known of a document that is read.
#[derive(Clone, Debug)]
pub(super) enum Recalled<R> {
    /// Nothing yet.
    Unread,
    /// Nothing yet: it cannot be read, and is tried again.
    Failing,
    /// What it holds.
    Read(Arc<R>),
}

impl<R> Recalled<R> {
    /// What it holds, once that is known.
    pub fn known(&self) -> Option<&Arc<R>> {
        match self {
            Recalled::Read(read) => Some(read),
            Recalled::Unread | Recalled::Failing => None,
        }
    }
}

/// What was saved, once it is read.
pub(super) type Read<R> = watch::Receiver<Recalled<R>>;
/// Takes what is in force, to save it.
pub(super) type Save<S> = watch::Sender<Option<Arc<S>>>;

/// Begins to read what was saved, until that succeeds, and to save whenever this replica is the elected one. Without a
/// namespace of our own nothing was saved and nothing will be.
pub(super) fn keep<R, S>(kept: Kept<R, S>, home: Option<&Home>, metrics: &Arc<Metrics>) -> (Read<R>, Save<S>)
where
    R: Default + Send + Sync + 'static,
    S: Send + Sync + 'static,
{
    let (save, in_force) = watch::channel(None);
    let Some(home) = home else {
        return (watch::channel(Recalled::Read(Arc::default())).1, save);
    };
    let (told, read) = watch::channel(Recalled::Unread);
    let document = Document::of(&home.cluster, &home.namespace, kept.name);
    tokio::spawn(recall(kept, document.clone(), told));
    tokio::spawn(save_on(kept, document, in_force, home.leadership.clone(), Arc::clone(metrics)));
    (read, save)
}

/// What a document says as JSON; nothing where it is empty, or cannot be read, which is told.
pub(super) fn decoded<T: Default + DeserializeOwned>(what: &str, bytes: Option<&[u8]>) -> T {
    let Some(bytes) = bytes.filter(|bytes| !bytes.is_empty()) else { return T::default() };
    serde_json::from_slice(bytes).unwrap_or_else(|error| {
        tracing::warn!(%error, "the saved {what} cannot be read; they are written anew when the present ones are good");
        T::default()
    })
}

async fn recall<R, S>(kept: Kept<R, S>, document: Document, tell: watch::Sender<Recalled<R>>) {
    let mut known = None;
    loop {
        match document.read().await {
            Ok(bytes) => {
                tell.send_replace(Recalled::Read(Arc::new((kept.read)(bytes.as_deref()))));
                return;
            }
            Err(problem) if known.as_ref() != Some(&problem) => {
                tracing::warn!(problem, "cannot read the saved {}; trying again", kept.what);
                tell.send_replace(Recalled::Failing);
                known = Some(problem);
            }
            Err(_) => {}
        }
        tokio::time::sleep(AGAIN).await;
    }
}

async fn save_on<R, S>(
    kept: Kept<R, S>,
    document: Document,
    mut in_force: watch::Receiver<Option<Arc<S>>>,
    mut leadership: Leadership,
    metrics: Arc<Metrics>,
) {
    let mut saver = Saver { kept, document, told: None };
    let mut ticks = tokio::time::interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            changed = in_force.changed() => if changed.is_err() { return },
            () = leadership.changed() => {}
        }
        let good = in_force.borrow_and_update().clone();
        let Some(good) = good.filter(|_| leadership.held()) else { continue };
        if let Err(problem) = saver.save(&good).await {
            saver.tell(problem);
            (kept.not_saved)(&metrics);
        }
    }
}

struct Saver<R, S> {
    kept: Kept<R, S>,
    document: Document,
    /// What went wrong last, to say it once.
    told: Option<String>,
}

impl<R, S> Saver<R, S> {
    async fn save(&mut self, good: &S) -> Result<(), String> {
        let what = self.kept.what;
        let mut length = 0;
        let stored = self.document.update(|there| {
            let bytes = (self.kept.bytes)(good, there);
            length = bytes.len();
            fits(what, length).map(|()| bytes)
        });
        if stored.await? == Stored::Anew {
            tracing::info!(bytes = length, "the {what} in force are saved");
        }
        self.told = None;
        Ok(())
    }

    fn tell(&mut self, problem: String) {
        if self.told.as_ref() != Some(&problem) {
            let what = self.kept.what;
            tracing::warn!(
                problem,
                "the {what} in force are not saved; after a bad edit a restart would not find them"
            );
            self.told = Some(problem);
        }
    }
}

/// # Errors
/// One sentence: a document of this length is not saved.
fn fits(what: &str, length: usize) -> Result<(), String> {
    if length <= LIMIT {
        return Ok(());
    }
    let (is, limit) = (length >> 10, LIMIT >> 10);
    Err(format!("the {what} are {is} KiB, more than the {limit} KiB that are saved; shorten them"))
}

#[cfg(test)]
mod tests {
    use super::{LIMIT, decoded, fits};

    #[test]
    fn what_cannot_be_read_is_nothing() {
        for text in [None, Some(&b""[..]), Some(b"{"), Some(b"[1, \"a\"]")] {
            assert_eq!(decoded::<Vec<u8>>("numbers", text), Vec::<u8>::new(), "{text:?}");
        }
        assert_eq!(decoded::<Vec<u8>>("numbers", Some(b"[1]")), [1]);
    }

    #[test]
    fn what_is_too_large_is_not_saved() {
        assert_eq!(fits("releases", LIMIT), Ok(()));
        let told = fits("releases", LIMIT + 1).unwrap_err();
        assert!(told.contains("the releases are 900 KiB, more than the 900 KiB"), "{told}");
    }
}
