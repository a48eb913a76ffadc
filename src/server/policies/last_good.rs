//! What outlives bad edits and the loss of all replicas: the policies in force, saved by the elected replica, read at start.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

use super::files::Texts;
use super::judge::{Good, LastGood};
use crate::cluster::{Document, Leadership, Stored};
use crate::metrics::Metrics;
use crate::server::home::Home;

/// The ConfigMap's name.
const NAME: &str = "tagwarden-last-good";
/// Bytes of the document; a ConfigMap holds 1 MiB.
const LIMIT: usize = 900 << 10;
/// How long after a failure it is read again.
const AGAIN: Duration = Duration::from_secs(2);
/// How often the elected replica looks whether what is saved is still that, and tries again what it could not save.
const INTERVAL: Duration = Duration::from_secs(30);

/// The document: texts with their names.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Saved {
    /// None: no file has ever been good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    files: Option<Texts>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    objects: BTreeMap<String, String>,
}

/// What was saved, once it is read.
pub(super) type Read = watch::Receiver<Option<Arc<LastGood>>>;
/// Takes what is in force, to save it.
pub(super) type Save = watch::Sender<Option<Arc<LastGood>>>;

/// Begins to read what was saved, until that succeeds, and to save whenever this replica is the elected one. Without a
/// namespace of our own nothing was saved and nothing will be.
pub(super) fn keep(home: Option<&Home>, metrics: &Arc<Metrics>) -> (Read, Save) {
    let (save, in_force) = watch::channel(None);
    let Some(home) = home else {
        return (watch::channel(Some(Arc::default())).1, save);
    };
    let (told, read) = watch::channel(None);
    let document = Document::of(&home.cluster, &home.namespace, NAME);
    tokio::spawn(recall(document.clone(), told));
    tokio::spawn(save_on(document, in_force, home.leadership.clone(), Arc::clone(metrics)));
    (read, save)
}

async fn recall(document: Document, tell: watch::Sender<Option<Arc<LastGood>>>) {
    let mut known = None;
    loop {
        match document.read().await {
            Ok(bytes) => {
                tell.send_replace(Some(Arc::new(read(bytes.as_deref()))));
                return;
            }
            Err(problem) if known.as_ref() != Some(&problem) => {
                tracing::warn!(problem, "cannot read the saved policies; trying again");
                known = Some(problem);
            }
            Err(_) => {}
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// Of a document; where it cannot be read nothing was saved.
fn read(bytes: Option<&[u8]>) -> LastGood {
    let Some(bytes) = bytes.filter(|bytes| !bytes.is_empty()) else { return LastGood::default() };
    let saved = match serde_json::from_slice::<Saved>(bytes) {
        Ok(saved) => saved,
        Err(error) => {
            tracing::warn!(%error, "the saved policies cannot be read; they are written anew when the present ones are good");
            return LastGood::default();
        }
    };
    let objects = saved.objects.into_iter().map(|(name, text)| (name, Good { text, saved: true }));
    LastGood { files: saved.files.map(|text| Good { text, saved: true }), objects: objects.collect() }
}

fn bytes(good: &LastGood) -> Vec<u8> {
    let objects = good.objects.iter().map(|(name, good)| (name.clone(), good.text.clone())).collect();
    let saved = Saved { files: good.files.as_ref().map(|good| good.text.clone()), objects };
    // Strings and maps of strings can always be written.
    serde_json::to_vec(&saved).unwrap_or_default()
}

async fn save_on(
    document: Document,
    mut in_force: watch::Receiver<Option<Arc<LastGood>>>,
    mut leadership: Leadership,
    metrics: Arc<Metrics>,
) {
    let mut saver = Saver { document, told: None };
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
        if let Err(problem) = saver.save(bytes(&good)).await {
            saver.tell(problem);
            metrics.last_good_not_saved();
        }
    }
}

struct Saver {
    document: Document,
    /// What went wrong last, to say it once.
    told: Option<String>,
}

impl Saver {
    async fn save(&mut self, bytes: Vec<u8>) -> Result<(), String> {
        if bytes.len() > LIMIT {
            return Err(format!(
                "the policies are {} KiB, more than the {} KiB that are saved; shorten them",
                bytes.len() >> 10,
                LIMIT >> 10
            ));
        }
        let length = bytes.len();
        if self.document.write(bytes).await? == Stored::Anew {
            tracing::info!(bytes = length, "the policies in force are saved");
        }
        self.told = None;
        Ok(())
    }

    fn tell(&mut self, problem: String) {
        if self.told.as_ref() != Some(&problem) {
            tracing::warn!(
                problem,
                "the policies in force are not saved; after a bad edit a restart would not find them"
            );
            self.told = Some(problem);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{bytes, read};
    use crate::server::policies::judge::{Good, LastGood};

    #[test]
    fn what_was_saved_is_read_again_and_known_to_be_of_another_process() {
        let good = |text: &str| Good { text: text.to_owned(), saved: false };
        let files = Some(Good { text: vec![("p.yaml".to_owned(), "a: 1".to_owned())], saved: false });
        let last = LastGood { files, objects: [("a".to_owned(), good("{}"))].into() };
        let again = read(Some(&bytes(&last)));
        assert_eq!(again.files.as_ref().unwrap().text, last.files.as_ref().unwrap().text);
        assert!(again.files.unwrap().saved && again.objects["a"].saved);
        assert_eq!(again.objects["a"].text, "{}");
    }

    #[test]
    fn what_cannot_be_read_is_nothing() {
        for text in [None, Some(&b""[..]), Some(b"{"), Some(b"{\"filez\": []}"), Some(b"[]")] {
            assert_eq!(read(text), LastGood::default(), "{text:?}");
        }
    }
}
