//! The releases in force as they are saved: the texts of each directory, and of each object by its uid.
//!
//! A source that is served from here is never saved again: by now another replica may have saved something newer of it. So
//! what the document has of it stays, and only what this process read without an error replaces anything.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::judge::{GoodObject, GoodObjects};
use crate::metrics::Metrics;
use crate::policy::Seconds;
use crate::server::home::Home;
use crate::server::saved::{self, Kept, decoded};

/// Name and text of each file.
pub(super) type Texts = Vec<(String, String)>;

/// The document.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Saved {
    /// By the path that the configuration names: another directory has nothing of this one.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub directories: BTreeMap<String, SavedDirectory>,
    /// None: they were no source, or never listed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    objects: Option<SavedObjects>,
}

/// What a directory held.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SavedDirectory {
    /// When it was read first as it is here.
    pub read: Seconds,
    pub files: Texts,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SavedObjects {
    /// When they were seen first as they are here.
    read: Seconds,
    /// By uid.
    items: BTreeMap<String, SavedObject>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SavedObject {
    name: String,
    created: String,
    spec: String,
}

/// What is in force, of each source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct InForce {
    /// By path. None: nothing that this process read, so what is saved of it stays.
    pub directories: BTreeMap<String, Option<SavedDirectory>>,
    pub objects: ObjectsInForce,
}

/// What is in force of objects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum ObjectsInForce {
    /// They are no source.
    #[default]
    NoSource,
    /// They were not listed yet: what is saved of them stays.
    Unlisted,
    /// These, seen then; of those that are marked as saved, what is saved stays.
    Listed(Seconds, GoodObjects),
}

const KEPT: Kept<Saved, InForce> = Kept {
    name: "tagwarden-last-good-releases",
    what: "releases",
    read: |bytes| decoded(WHAT, bytes),
    bytes,
    not_saved: Metrics::releases_not_saved,
};
const WHAT: &str = "releases";

/// What was saved, once it is read.
pub(super) type Read = saved::Read<Saved>;
/// Takes what is in force, to save it.
pub(super) type Save = saved::Save<InForce>;

/// See [`saved::keep`].
pub(super) fn keep(home: Option<&Home>, metrics: &Arc<Metrics>) -> (Read, Save) {
    saved::keep(KEPT, home, metrics)
}

impl Saved {
    /// The objects, and when they were seen; none: nothing is saved of them.
    pub fn objects(&self) -> Option<(Seconds, GoodObjects)> {
        let saved = self.objects.as_ref()?;
        let good = |(uid, object): (&String, &SavedObject)| {
            let SavedObject { name, created, spec } = object.clone();
            (uid.clone(), GoodObject { name, created, spec, saved: true })
        };
        Some((saved.read, saved.items.iter().map(good).collect()))
    }
}

fn bytes(in_force: &InForce, there: Option<&[u8]>) -> Vec<u8> {
    let there: Saved = decoded(WHAT, there);
    // Strings, numbers and maps of them can always be written.
    serde_json::to_vec(&merged(in_force, there)).unwrap_or_default()
}

/// The document that is to be, by the one that is there.
fn merged(in_force: &InForce, mut there: Saved) -> Saved {
    let mut directories = BTreeMap::new();
    for (path, read) in &in_force.directories {
        let before = there.directories.remove(path);
        let same = matches!((read, &before), (Some(read), Some(before)) if read.files == before.files);
        let now = if same || read.is_none() { before } else { read.clone() };
        directories.extend(now.map(|now| (path.clone(), now)));
    }
    let objects = match &in_force.objects {
        ObjectsInForce::NoSource => None,
        ObjectsInForce::Unlisted => there.objects,
        ObjectsInForce::Listed(read, good) => {
            let before = there.objects.unwrap_or_default();
            let item = |(uid, good): (&String, &GoodObject)| {
                let there = before.items.get(uid).filter(|_| good.saved).cloned();
                let GoodObject { name, created, spec, .. } = good.clone();
                (uid.clone(), there.unwrap_or(SavedObject { name, created, spec }))
            };
            let items: BTreeMap<_, _> = good.iter().map(item).collect();
            let read = if items == before.items { before.read } else { *read };
            Some(SavedObjects { read, items })
        }
    };
    Saved { directories, objects }
}

#[cfg(test)]
mod tests {
    use super::{InForce, ObjectsInForce, Saved, SavedDirectory, bytes, decoded, merged};
    use crate::server::releases::judge::{GoodObject, GoodObjects};

    fn directory(read: i64, text: &str) -> SavedDirectory {
        SavedDirectory { read, files: vec![("r.yaml".to_owned(), text.to_owned())] }
    }

    fn directories(list: &[(&str, Option<SavedDirectory>)]) -> InForce {
        let directories = list.iter().map(|(path, read)| ((*path).to_owned(), read.clone())).collect();
        InForce { directories, ..InForce::default() }
    }

    fn object(spec: &str, saved: bool) -> GoodObjects {
        let good = GoodObject { name: "one".to_owned(), created: "t".to_owned(), spec: spec.to_owned(), saved };
        [("u".to_owned(), good)].into()
    }

    fn listed(read: i64, good: GoodObjects) -> InForce {
        InForce { objects: ObjectsInForce::Listed(read, good), ..InForce::default() }
    }

    #[test]
    fn what_was_saved_is_read_again_and_known_to_be_of_another_process() {
        let mut in_force = directories(&[("/a", Some(directory(7, "x")))]);
        in_force.objects = ObjectsInForce::Listed(8, object("{}", false));
        let written = bytes(&in_force, None);
        let again: Saved = decoded("releases", Some(&written));
        assert_eq!(again.directories["/a"], directory(7, "x"));
        assert_eq!(again.objects(), Some((8, object("{}", true))));
        assert_eq!(bytes(&in_force, Some(&written)), written, "nothing changes");
    }

    #[test]
    fn a_directory_that_is_served_from_here_stays_as_it_is_saved_by_now_and_others_change() {
        let first =
            merged(&directories(&[("/a", Some(directory(1, "x"))), ("/b", Some(directory(1, "y")))]), Saved::default());
        let second = merged(&directories(&[("/a", None), ("/b", Some(directory(2, "z")))]), first.clone());
        assert_eq!(second.directories["/a"], directory(1, "x"));
        assert_eq!(second.directories["/b"], directory(2, "z"));
        let again = merged(&directories(&[("/b", Some(directory(9, "z")))]), second);
        assert_eq!(again.directories["/b"].read, 2, "the time of the first reading");
        assert!(!again.directories.contains_key("/a"), "it is no source any more");
    }

    #[test]
    fn objects_stay_where_they_are_not_listed_and_those_that_were_saved_too() {
        let first = merged(&listed(1, object("1", false)), Saved::default());
        let unlisted = InForce { objects: ObjectsInForce::Unlisted, ..InForce::default() };
        assert_eq!(merged(&unlisted, first.clone()), first);
        // Another replica has saved a newer version than the one that this one was started with.
        let newer = merged(&listed(2, object("2", false)), first);
        assert_eq!(merged(&listed(3, object("1", true)), newer.clone()), newer);
        assert_eq!(merged(&listed(3, GoodObjects::new()), newer.clone()).objects(), Some((3, GoodObjects::new())));
        assert_eq!(merged(&InForce::default(), newer), Saved::default());
    }
}
