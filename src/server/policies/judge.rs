//! From what files and objects say, and what was good last, to the set that is to be in force, and what there is to tell.
//!
//! For files the unit is the whole set, for objects the object. Nothing here reads, waits or remembers.

use std::collections::BTreeMap;

use super::files::{ReadFiles, Texts};
use super::problem::Problem;
use crate::cluster::{StoredObject, StoredObjects};
use crate::document::Diagnostic;
use crate::policy::{CustomKind, PolicySet, Settings};
use crate::server::objects::{Force, MAX_BYTES, ObjectProblem, Standing, was_in_force};

const KIND: CustomKind = CustomKind::ImagePolicy;

/// What there is to make a set of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sources<'s> {
    /// None: no directory is named.
    pub files: Option<&'s ReadFiles>,
    /// None: objects are no source.
    pub objects: Option<&'s StoredObjects>,
}

/// A version that compiled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Good<T> {
    pub text: T,
    /// By another process: it was saved.
    pub saved: bool,
}

/// The last good version of each source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct LastGood {
    pub files: Option<Good<Texts>>,
    /// By the object's name. May hold what does not compile any more under other settings; it is kept while its object
    /// has nothing better.
    pub objects: BTreeMap<String, Good<String>>,
}

/// What judging came to.
#[derive(Debug)]
pub(super) struct Judged {
    /// None: there is nothing that could be in force.
    pub set: Option<PolicySet>,
    /// What is good from now on, if the set comes into force.
    pub good: LastGood,
    pub problems: Vec<Problem>,
    pub standings: BTreeMap<String, Standing>,
    /// Whether files, or some object, have errors and no good version is known of them.
    pub without_good: bool,
    /// Whether a part of the set was saved by another process.
    pub from_saved: bool,
    /// Objects that are [`Force::Lost`].
    pub lost: Vec<String>,
}

impl Judged {
    /// Where nothing is in force yet, a policy that is lost must not be missing silently: there is no set then.
    #[must_use]
    pub fn without_losses(mut self) -> Self {
        if !self.lost.is_empty() {
            self.set = None;
            self.problems.extend(self.lost.iter().map(|name| Problem::Object(lost(name))));
        }
        self
    }

    /// What was judged are the saved objects, because those of the cluster cannot be listed.
    #[must_use]
    pub fn of_saved_objects(mut self, problem: &str) -> Self {
        self.from_saved = true;
        self.good.objects.values_mut().for_each(|good| good.saved = true);
        self.problems.push(Problem::Unlisted(problem.to_owned()));
        self
    }
}

impl LastGood {
    /// The objects, as far as they are known here: without uid, generation and status.
    pub fn stored(&self) -> StoredObjects {
        let stored = |good: &Good<String>| StoredObject { text: good.text.clone(), ..StoredObject::default() };
        self.objects.iter().map(|(name, good)| (name.clone(), stored(good))).collect()
    }
}

/// Judges everything anew.
pub(super) fn judge(sources: &Sources<'_>, known: &LastGood, settings: &Settings) -> Judged {
    let mut judged = Judged {
        set: None,
        good: LastGood::default(),
        problems: Vec::new(),
        standings: BTreeMap::new(),
        without_good: false,
        from_saved: false,
        lost: Vec::new(),
    };
    let mut parts = Vec::new();
    let files = judge_files(sources, known, settings, &mut judged);
    if let Some(objects) = sources.objects {
        let names: Vec<String> = files.iter().flat_map(PolicySet::policies).map(|(name, _)| name.to_owned()).collect();
        judge_objects(objects, &names, known, settings, &mut judged, &mut parts);
    }
    let Some(files) = files else { return judged };
    parts.push(files);
    let set = PolicySet::of_parts(parts, settings.clone());
    if sources.objects.is_some() && set.policies().next().is_none() && !settings.allow_empty {
        judged.problems.push(Problem::Set(
            "there is no policy at all; create an ImagePolicy, or set policies.allowEmpty if that is meant",
        ));
        return judged;
    }
    judged.set = Some(set);
    judged
}

/// The set of the files, or of their last good version; none: neither is there.
fn judge_files(sources: &Sources<'_>, known: &LastGood, settings: &Settings, judged: &mut Judged) -> Option<PolicySet> {
    // With objects there may be no policy in the files.
    let settings = match sources.objects {
        Some(_) => &part_of(settings),
        None => settings,
    };
    let problems = match sources.files {
        None if settings.allow_empty => return Some(PolicySet::of_parts(Vec::new(), settings.clone())),
        None => vec![
            Diagnostic::of_file("policies", "no directory of policies is named")
                .help("name one by --policies or policies.dirs"),
        ],
        Some(read) if !read.unreadable.is_empty() => read.unreadable.clone(),
        Some(read) => match PolicySet::compile(&read.texts, settings.clone()) {
            Ok(set) => {
                judged.good.files = Some(Good { text: read.texts.clone(), saved: false });
                return Some(set);
            }
            Err(problems) => problems,
        },
    };
    judged.problems.extend(problems.into_iter().map(Problem::File));
    let set = known.files.as_ref().and_then(|good| PolicySet::compile(&good.text, settings.clone()).ok());
    match (&set, &known.files) {
        (Some(_), Some(good)) => {
            judged.from_saved |= good.saved;
            judged.good.files = Some(good.clone());
        }
        _ => judged.without_good = true,
    }
    set
}

/// `names`: those of the policies of files, which no object may have too.
fn judge_objects(
    objects: &StoredObjects,
    names: &[String],
    known: &LastGood,
    settings: &Settings,
    judged: &mut Judged,
    parts: &mut Vec<PolicySet>,
) {
    let settings = part_of(settings);
    for (name, object) in objects {
        if names.contains(name) {
            let problem = taken(name);
            judged.problems.push(Problem::Object(problem.clone()));
            let standing = Standing { force: Force::None, hash: None, problems: vec![problem] };
            judged.standings.insert(name.clone(), standing);
            continue;
        }
        let compile = |text: &str| PolicySet::compile(&[(name, text)], settings.clone());
        let compile_stored = |text: &str| match text.len() {
            ..=MAX_BYTES => compile(text).map_err(|problems| ObjectProblem::all(KIND, name, "", text, problems)),
            length => Err(vec![ObjectProblem::too_large(KIND, name, length)]),
        };
        let known = known.objects.get(name);
        let (set, force, problems) = match compile_stored(&object.text) {
            Ok(set) => {
                let good = Good { text: object.text.clone(), saved: false };
                judged.good.objects.insert(name.clone(), good);
                (Some(set), Force::This, Vec::new())
            }
            Err(problems) => {
                let earlier = known.and_then(|good| compile(&good.text).ok());
                let force = match (&earlier, known) {
                    (Some(_), _) => Force::Earlier,
                    (None, Some(_)) => Force::Lost,
                    (None, None) if was_in_force(&object.status) => Force::Lost,
                    (None, None) => Force::None,
                };
                (earlier, force, problems)
            }
        };
        if let (Force::Earlier | Force::Lost, Some(good)) = (force, known) {
            judged.good.objects.insert(name.clone(), good.clone());
            judged.from_saved |= good.saved && force == Force::Earlier;
        }
        judged.without_good |= matches!(force, Force::Lost | Force::None);
        judged.lost.extend((force == Force::Lost).then(|| name.clone()));
        judged.problems.extend(problems.iter().cloned().map(Problem::Object));
        let hash = set.as_ref().and_then(|set| set.policies().next()).map(|(_, hash)| hash.to_owned());
        judged.standings.insert(name.clone(), Standing { force, hash, problems });
        parts.extend(set);
    }
}

fn taken(name: &str) -> ObjectProblem {
    ObjectProblem {
        kind: KIND,
        object: name.to_owned(),
        path: "metadata.name".to_owned(),
        message: format!("a file has a policy of the name '{name}' too"),
        help: vec!["names are unique over all files and objects; give this one another".to_owned()],
    }
}

fn lost(name: &str) -> ObjectProblem {
    ObjectProblem {
        kind: KIND,
        object: name.to_owned(),
        path: String::new(),
        message: "a version of this object was in force, and none that is known compiles, so nothing comes into force \
                  without it"
            .to_owned(),
        help: vec!["correct this object, go back to the settings under which it compiled, or delete it".to_owned()],
    }
}

/// Whether there is a policy at all is asked of the whole.
fn part_of(settings: &Settings) -> Settings {
    Settings { allow_empty: true, ..settings.clone() }
}

#[cfg(test)]
mod tests;
