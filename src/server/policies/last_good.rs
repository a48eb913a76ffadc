//! The policies in force as they are saved: the texts of files and objects with their names.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::files::Texts;
use super::judge::{Good, LastGood};
use crate::metrics::Metrics;
use crate::server::home::Home;
use crate::server::saved::{self, Kept, decoded};

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

const KEPT: Kept<LastGood, LastGood> = Kept {
    name: "tagwarden-last-good",
    what: "policies",
    read,
    // The set is a whole: what is there counts for nothing.
    bytes: |good, _| bytes(good),
    not_saved: Metrics::last_good_not_saved,
};

/// What was saved, once it is read.
pub(super) type Read = saved::Read<LastGood>;
/// Takes what is in force, to save it.
pub(super) type Save = saved::Save<LastGood>;

/// See [`saved::keep`].
pub(super) fn keep(home: Option<&Home>, metrics: &Arc<Metrics>) -> (Read, Save) {
    saved::keep(KEPT, home, metrics)
}

fn read(bytes: Option<&[u8]>) -> LastGood {
    let saved: Saved = decoded(KEPT.what, bytes);
    let objects = saved.objects.into_iter().map(|(name, text)| (name, Good { text, saved: true }));
    LastGood { files: saved.files.map(|text| Good { text, saved: true }), objects: objects.collect() }
}

fn bytes(good: &LastGood) -> Vec<u8> {
    let objects = good.objects.iter().map(|(name, good)| (name.clone(), good.text.clone())).collect();
    let saved = Saved { files: good.files.as_ref().map(|good| good.text.clone()), objects };
    // Strings and maps of strings can always be written.
    serde_json::to_vec(&saved).unwrap_or_default()
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
