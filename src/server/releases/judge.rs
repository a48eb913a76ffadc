//! From what ImageRelease objects say, and what was good of each last, to the releases that are loaded and what there is to
//! tell.
//!
//! Nothing here reads, waits or remembers.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use crate::cluster::{StoredObject, StoredObjects};
use crate::policy::{CustomKind, Snapshots, printable};
use crate::release::ReleaseFile;
use crate::server::objects::{Force, MAX_BYTES, ObjectProblem, Standing, was_in_force};

const KIND: CustomKind = CustomKind::ImageRelease;

/// The keys of an object.
const KEYS: [&str; 4] = ["apiVersion", "kind", "metadata", "spec"];

/// A version of an object that has no errors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::server) struct GoodObject {
    /// The object's name.
    pub name: String,
    /// When it was created.
    pub created: String,
    /// Its `spec` as JSON: a release file.
    pub spec: String,
    /// By another process: it was saved.
    pub saved: bool,
}

/// The last good version of each object by its uid: one that is made anew under a name is another one.
pub(in crate::server) type GoodObjects = BTreeMap<String, GoodObject>;

/// What judging came to.
#[derive(Debug, Default)]
pub(in crate::server) struct Judged {
    /// None: there is not one release.
    pub snapshots: Option<Snapshots>,
    /// What is good from now on.
    pub good: GoodObjects,
    /// By the object's name.
    pub standings: BTreeMap<String, Standing>,
    /// Of all objects.
    pub problems: Vec<ObjectProblem>,
    /// Whether some object has errors and no good version of it is known.
    pub without_good: bool,
    /// Whether some release was saved by another process.
    pub from_saved: bool,
}

/// Judges every object anew: the unit is the object, and of two that give one name to their releases the older one holds.
pub(in crate::server) fn judge(objects: &StoredObjects, known: &GoodObjects) -> Judged {
    let mut by_age: Vec<(&String, &StoredObject)> = objects.iter().collect();
    by_age.sort_by(|(name, object), (other_name, other)| (&object.created, name).cmp(&(&other.created, other_name)));
    let mut judged = Judged::default();
    let mut releases: Vec<ReleaseFile> = Vec::new();
    let mut holders: BTreeMap<String, &str> = BTreeMap::new();
    for (name, object) in by_age {
        let known = known.get(&object.uid);
        let earlier = || known.and_then(|good| ReleaseFile::read(name, &good.spec).ok());
        let (release, force, problems) = match free(read(name, &object.text), name, &holders) {
            Ok((release, spec)) => {
                let good = GoodObject { name: name.clone(), created: object.created.clone(), spec, saved: false };
                judged.good.insert(object.uid.clone(), good);
                (Some(release), Force::This, Vec::new())
            }
            Err(problems) => match (earlier(), known) {
                // An older object took its name meanwhile.
                (Some(release), Some(_)) if holders.contains_key(release.release.name()) => {
                    (None, Force::None, problems)
                }
                (Some(release), Some(_)) => (Some(release), Force::Earlier, problems),
                (None, _) | (_, None) if was_in_force(&object.status) => (None, Force::Lost, problems),
                (None, _) | (_, None) => (None, Force::None, problems),
            },
        };
        if let (false, Some(good)) = (force == Force::This, known) {
            // Also what does not hold now: it may when its object or another one changes.
            judged.good.insert(object.uid.clone(), good.clone());
            judged.from_saved |= good.saved && force == Force::Earlier;
        }
        judged.without_good |= force != Force::This && known.is_none();
        judged.problems.extend(problems.iter().cloned());
        let hash = release.as_ref().map(|release| release.release.id().as_str().to_owned());
        judged.standings.insert(name.clone(), Standing { force, hash, problems });
        holders.extend(release.as_ref().map(|release| (release.release.name().to_owned(), name.as_str())));
        releases.extend(release);
    }
    // Names are unique, so nothing but an empty list is refused.
    judged.snapshots = Snapshots::of_files(releases).ok();
    judged
}

/// The objects as far as a saved document knows them: without generation and status.
pub(in crate::server) fn stored(good: &GoodObjects) -> StoredObjects {
    let stored = |(uid, good): (&String, &GoodObject)| {
        let text = format!("{{\"spec\":{}}}", good.spec);
        let object = StoredObject { uid: uid.clone(), created: good.created.clone(), text, ..StoredObject::default() };
        (good.name.clone(), object)
    };
    good.iter().map(stored).collect()
}

/// The release of an object's text, and its `spec`.
fn read(name: &str, text: &str) -> Result<(ReleaseFile, String), Vec<ObjectProblem>> {
    if text.len() > MAX_BYTES {
        return Err(vec![ObjectProblem::too_large(KIND, name, text.len())]);
    }
    let keys: BTreeMap<String, &RawValue> = serde_json::from_str(text).unwrap_or_default();
    let unknown: Vec<_> = keys.keys().filter(|key| !KEYS.contains(&key.as_str())).collect();
    if !unknown.is_empty() {
        let help = || vec!["a release file stands under 'spec': move it there, or take it out".to_owned()];
        let told =
            |key: &&String| problem(name, "", format!("unknown key '{}' beside 'spec'", printable(key, 60)), help());
        return Err(unknown.iter().map(told).collect());
    }
    let Some(spec) = keys.get("spec").map(|spec| spec.get()) else {
        let help = vec!["write the release file under 'spec'".to_owned()];
        return Err(vec![problem(name, "", "an ImageRelease without 'spec'".to_owned(), help)]);
    };
    match ReleaseFile::read(name, spec) {
        Ok(release) => Ok((release, spec.to_owned())),
        Err(problems) => Err(ObjectProblem::all(KIND, name, "spec", spec, problems)),
    }
}

/// The same, where no older object has a release of that name.
fn free(
    read: Result<(ReleaseFile, String), Vec<ObjectProblem>>,
    name: &str,
    holders: &BTreeMap<String, &str>,
) -> Result<(ReleaseFile, String), Vec<ObjectProblem>> {
    let (release, spec) = read?;
    let Some(first) = holders.get(release.release.name()) else { return Ok((release, spec)) };
    let twice = format!("the ImageRelease {first}, which is older, has the release '{}' too", release.release.name());
    let help = vec!["names of releases are unique; give this one another, or delete one of the two".to_owned()];
    Err(vec![problem(name, "spec.release", twice, help)])
}

fn problem(object: &str, path: &str, message: String, help: Vec<String>) -> ObjectProblem {
    ObjectProblem { kind: KIND, object: object.to_owned(), path: path.to_owned(), message, help }
}

#[cfg(test)]
mod tests;
