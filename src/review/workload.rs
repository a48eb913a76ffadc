//! Where each kind keeps its images, and which of them an update changed.

mod changes;
mod path;
mod walk;

use super::{AdmissionRequest, Operation};
use crate::image::{Reference, ReferenceError};
use crate::policy::{FieldPath, ImageUse, List, printable};
use path::Path;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};
use walk::{Entry, Found, Image};

/// More warnings than an answer can carry are not collected.
const MAX_WARNINGS: usize = 64;

/// A configured kind: an entry of `workloads` in the server's configuration.
///
/// Paths are keys joined by dots, with `[]` for every element of a list and `["a.b/c"]` for a key that holds dots or
/// slashes: `spec.template.spec`, `spec.tasks[].steps[].image`, `metadata.annotations["example.com/image"]`. What a path
/// ends at decides: a string is an image, an object is a PodSpec.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkloadKind {
    /// The API group, `argoproj.io`; empty for the core group.
    pub group: String,
    /// The kind, `Rollout`.
    pub kind: String,
    /// Where its images or PodSpecs are.
    pub paths: Vec<String>,
}

/// The built-in table and the configured kinds.
#[derive(Clone, Debug, Default)]
pub struct Workloads {
    /// By group, then by kind.
    configured: HashMap<String, HashMap<String, Vec<Path>>>,
}

/// What becomes of an image that is blank, or an expression that something will replace.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Deferral {
    /// A Pod: judged as it is.
    None,
    /// A built-in template: blank may be filled in by whoever makes the Pod.
    Blank,
    /// A configured kind: its controller may replace `$(params.image)`, too.
    BlankAndExpressions,
}

impl Workloads {
    /// Reads the paths of the configured kinds. An entry for a built-in kind adds to it, and so does a second entry for
    /// one kind.
    ///
    /// # Errors
    /// An empty kind or a path that is none, with the index of its entry and the reason.
    pub fn new(configured: Vec<WorkloadKind>) -> Result<Self, (usize, String)> {
        let mut workloads = Workloads::default();
        for (index, entry) in configured.into_iter().enumerate() {
            if entry.kind.is_empty() {
                return Err((index, "kind is empty".to_owned()));
            }
            if entry.paths.is_empty() {
                return Err((index, format!("kind {} has no paths: write for example spec.template.spec", entry.kind)));
            }
            let built_in = Path::built_in(&entry.group, &entry.kind);
            let mut paths = Vec::new();
            for text in &entry.paths {
                let path = Path::parse(text).map_err(|reason| (index, format!("kind {}: {reason}", entry.kind)))?;
                paths.push(path);
            }
            let known = workloads.configured.entry(entry.group).or_default().entry(entry.kind).or_default();
            for path in paths {
                if built_in != Some(&path) && !known.contains(&path) {
                    known.push(path);
                }
            }
        }
        Ok(workloads)
    }

    /// Whether it is known where objects of this kind keep their images.
    pub fn knows(&self, group: &str, kind: &str) -> bool {
        self.paths(group, kind).next().is_some()
    }

    /// The kinds that were configured, by group; built-in ones only where paths were added to them.
    pub fn configured(&self) -> impl Iterator<Item = (&str, &str)> {
        let kinds = self.configured.iter();
        kinds.flat_map(|(group, kinds)| kinds.keys().map(move |kind| (group.as_str(), kind.as_str())))
    }

    /// Collects what is to be judged of a CREATE or UPDATE; of anything else, nothing.
    pub fn read<'a>(&self, request: &AdmissionRequest<'a>) -> Collected<'a> {
        let Some(object) = request.object else {
            return Collected::default();
        };
        match request.operation {
            Operation::Create => self.read_object(&request.group, &request.kind, object.get(), None),
            Operation::Update => {
                self.read_object(&request.group, &request.kind, object.get(), request.old_object.map(RawValue::get))
            }
            Operation::Delete | Operation::Connect => Collected::default(),
        }
    }

    /// Collects the images of an object given as JSON text; with `old_object`, those that differ from it.
    pub fn read_object<'a>(
        &self,
        group: &str,
        kind: &str,
        object: &'a str,
        old_object: Option<&'a str>,
    ) -> Collected<'a> {
        let found = self.found(group, kind, object);
        let old = old_object.map(|old_object| (old_object, self.found(group, kind, old_object)));
        let changed = match &old {
            None => Changed::All,
            Some((old_object, old)) => {
                if found == *old && !found.entries.iter().any(|entry| matches!(entry.image, Image::Wrong(_))) {
                    Changed::None
                } else {
                    Changed::Some(changes::changed(&found, old, |number| {
                        let top = self.paths(group, kind).nth(number).map_or("", Path::top);
                        top_level(object, top).is_some_and(|text| Some(text) == top_level(old_object, top))
                    }))
                }
            }
        };
        let deferral = match Path::built_in(group, kind) {
            Some(_) if group.is_empty() && kind == "Pod" => Deferral::None,
            Some(_) => Deferral::Blank,
            None => Deferral::BlankAndExpressions,
        };
        let mut collected = Collected::sorted(found, &changed, deferral, self.knows(group, kind));
        collected.old = old.map(|(_, old)| old).unwrap_or_default();
        collected
    }

    fn found<'a>(&self, group: &str, kind: &str, object: &'a str) -> Found<'a> {
        let mut found = Found::default();
        for (number, path) in self.paths(group, kind).enumerate() {
            found.follow(object, path, number);
        }
        found
    }

    /// The built-in path first, then the configured ones.
    fn paths<'s>(&'s self, group: &str, kind: &str) -> impl Iterator<Item = &'s Path> {
        let configured = self.configured.get(group).and_then(|kinds| kinds.get(kind));
        Path::built_in(group, kind).into_iter().chain(configured.into_iter().flatten())
    }
}

/// Which images of an object are not those of the old one.
enum Changed {
    /// All: there is none.
    All,
    /// None.
    None,
    /// Those that are marked, in the order of the entries.
    Some(Vec<bool>),
}

impl Changed {
    fn is(&self, number: usize) -> bool {
        match self {
            Changed::All => true,
            Changed::None => false,
            // What nobody has compared is judged.
            Changed::Some(changed) => changed.get(number).copied().unwrap_or(true),
        }
    }
}

/// What one object has to be judged, and what there is to say beside it. Owns what [`ImageUse`]s borrow.
#[derive(Debug, Default)]
pub struct Collected<'a> {
    found: Found<'a>,
    /// Of the object before an update.
    old: Found<'a>,
    judged: Vec<usize>,
    /// Those that are the same in the old object.
    same: Vec<usize>,
    /// One line each: images that are deferred to the Pod.
    pub warnings: Vec<String>,
    /// Whether the kind is built in or configured.
    pub kind_known: bool,
    /// Images that are the same in the old object: not judged.
    pub unchanged: usize,
    /// Images left to the Pod's own review, with a warning.
    pub deferred: usize,
}

impl<'a> Collected<'a> {
    fn sorted(found: Found<'a>, changed: &Changed, deferral: Deferral, kind_known: bool) -> Self {
        let mut collected = Collected { kind_known, ..Collected::default() };
        for (number, entry) in found.entries.iter().enumerate() {
            if !changed.is(number) {
                collected.unchanged += 1;
                collected.same.push(number);
            } else if let Some(why) = deferral.reason(&entry.image) {
                collected.deferred += 1;
                if collected.warnings.len() < MAX_WARNINGS {
                    let field = printable(&field(&found, entry).to_string(), 100);
                    collected.warnings.push(format!("{field} {why}; it is judged when its Pod is created"));
                }
            } else {
                collected.judged.push(number);
            }
        }
        collected.found = found;
        collected
    }

    /// The images to judge, in the object's order, each parsed.
    pub fn images(&self) -> Vec<ImageUse<'_>> {
        self.judged
            .iter()
            .filter_map(|number| self.found.entries.get(*number))
            .map(|entry| self.image_use(entry))
            .collect()
    }

    /// The images that are the same in the old object: they are not judged, and are beside those that are.
    pub fn beside(&self) -> Vec<ImageUse<'_>> {
        let entries = self.same.iter().filter_map(|number| self.found.entries.get(*number));
        entries.map(|entry| self.image_use(entry)).collect()
    }

    /// For each of [`Collected::images`], what stood in its place before the update: in the list, under the name, where
    /// that occurs once on both sides.
    pub fn replaced(&self) -> Vec<Option<&str>> {
        changes::replaced(&self.found, &self.old, &self.judged)
    }

    /// Every image of the object, those that are not judged among them, as [`slot`](super::pins::slot) names it.
    pub fn slots(&self) -> BTreeSet<String> {
        self.found.entries.iter().filter_map(|entry| super::pins::slot(entry.list, entry.name.as_deref())).collect()
    }

    /// How many images are to be judged.
    pub fn judged(&self) -> usize {
        self.judged.len()
    }

    fn image_use<'s>(&'s self, entry: &'s Entry<'a>) -> ImageUse<'s> {
        let (image, reference): (&str, _) = match &entry.image {
            Image::Text(text) => (text, Reference::parse(text)),
            Image::Wrong(what) => (what, Err(ReferenceError::not_text())),
        };
        ImageUse {
            list: entry.list,
            container: entry.name.as_deref(),
            field: field(&self.found, entry),
            image,
            reference,
            pin_proven: false,
        }
    }
}

impl Deferral {
    /// Why this image is left to the Pod's review; none: it is judged now.
    fn reason(self, image: &Image<'_>) -> Option<&'static str> {
        let Image::Text(text) = image else {
            return None;
        };
        match self {
            Deferral::None => None,
            _ if text.is_empty() => Some("is blank"),
            Deferral::BlankAndExpressions if text.contains("$(") => Some("holds an unresolved $(...)"),
            Deferral::Blank | Deferral::BlankAndExpressions => None,
        }
    }
}

fn field<'s>(found: &'s Found<'_>, entry: &Entry<'_>) -> FieldPath<'s> {
    let place = Cow::Borrowed(found.places.get(entry.place).map_or("", String::as_str));
    match entry.list {
        List::Configured => FieldPath::Literal(place),
        list => FieldPath::PodSpec { spec: place, list, index: entry.index },
    }
}

/// The text under one key of an object.
fn top_level<'a>(object: &'a str, key: &str) -> Option<&'a str> {
    let map: HashMap<super::request::Text<'a>, &'a RawValue> = super::json::from_str(object).ok()?;
    map.into_iter().find(|(name, _)| name.0 == key).map(|(_, value)| value.get())
}

#[cfg(test)]
mod tests;
