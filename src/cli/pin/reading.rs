//! What kind of file a text is, by its content first and by its name where that leaves it open, and its images.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use super::spot::Spot;
use super::{compose, dockerfile, kustomize, manifest, values};
use crate::cli::files;
use crate::cli::objects::{self, Part};
use crate::document::{self, Diagnostic, Node, Source, Value};
use crate::review::Workloads;

/// What was found in one file.
#[derive(Debug, Default)]
pub(super) struct Reading {
    /// Its images, in the order of their places.
    pub spots: Vec<Spot>,
    /// Objects of kinds without known images: kind to count.
    pub other_kinds: BTreeMap<String, usize>,
    /// Whether a document of it is of no kind that is known here.
    pub unrecognised: bool,
    /// What is wrong with the text; its images are not all known then.
    pub problems: Vec<Diagnostic>,
}

/// Whether a file of a directory is read, by its name.
pub(super) fn is_wanted(name: &str) -> bool {
    files::is_manifest(name) || kustomize::is_named(name) || dockerfile::is_named(name)
}

/// Whether a directory is looked into. The templates of a chart are no YAML before they are rendered.
pub(super) fn is_entered(directory: &Path) -> bool {
    !files::is_templates(directory)
}

/// Finds the images of a text. `name` is the file's, without its directory.
pub(super) fn read(source: &Source<'_>, name: &str, workloads: &Workloads) -> Reading {
    let text = source.text();
    let mut reading = Reading::default();
    let plain = files::is_manifest(name) || kustomize::is_named(name);
    if dockerfile::is_named(name) || (!plain && dockerfile::looks_like(text)) {
        dockerfile::spots(text, &mut reading.spots);
    } else {
        let (documents, problems) = document::parse(source);
        reading.problems = problems;
        documents.iter().for_each(|document| read_document(text, &document.root, name, workloads, &mut reading));
    }
    reading.spots.sort_by_key(|spot| spot.place.start);
    // What comes through an alias stands once, where it is defined.
    let mut seen = HashSet::new();
    reading.spots.retain(|spot| seen.insert((spot.place.clone(), spot.image.clone())));
    reading
}

fn read_document(text: &str, root: &Node, name: &str, workloads: &Workloads, reading: &mut Reading) {
    if root.value == Value::Null {
        return;
    }
    let parts = objects::parts(root);
    let spots = &mut reading.spots;
    if manifest::has_object(&parts) {
        for part in &parts {
            match part {
                Part::Object(object) => manifest::object(text, object, workloads, &mut reading.other_kinds, spots),
                Part::NoManifest => reading.unrecognised = true,
            }
        }
    } else if kustomize::is_named(name) {
        kustomize::spots(text, root.get("images"), spots);
    } else if values::is_named(name) {
        values::spots(text, root, spots);
    } else if compose::is_named(name) {
        compose::spots(text, root, spots);
    } else if !manifest::is_no_object(root) {
        reading.unrecognised = true;
    } else if compose::looks_like(root) {
        compose::spots(text, root, spots);
    } else if kustomize::looks_like(root) {
        kustomize::spots(text, root.get("images"), spots);
    } else if values::looks_like(root) {
        values::spots(text, root, spots);
    } else {
        reading.unrecognised = true;
    }
}
