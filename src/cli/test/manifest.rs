//! The manifests that cases name: each read once, its objects as JSON, as reviews have them.

use std::collections::HashMap;
use std::path::Path;
use std::rc::Rc;

use super::load;
use crate::cli::objects::{Part, parts};
use crate::cli::{Surroundings, files};
use crate::document::{self, Source};
use crate::policy::file::Text;

/// Manifests by their paths as written.
#[derive(Debug, Default)]
pub(super) struct Manifests {
    /// None: one that could not be read, which was told.
    known: HashMap<String, Option<Rc<Vec<Object>>>>,
}

/// A Kubernetes object, owned.
#[derive(Debug)]
pub(super) struct Object {
    /// `apps` of `apps/v1`; empty for the core group.
    pub group: String,
    /// `Deployment`.
    pub kind: String,
    /// As written, or the prefix of a generated one with `*`.
    pub name: String,
    /// As written.
    pub namespace: Option<String>,
    /// The whole, as JSON.
    pub json: String,
}

impl Manifests {
    /// The objects of a manifest. None, after what is wrong with it was told, once.
    pub fn get(
        &mut self,
        named: &Text,
        folder: &Path,
        source: &Source<'_>,
        surroundings: &mut Surroundings<'_>,
    ) -> Option<Rc<Vec<Object>>> {
        if let Some(known) = self.known.get(&named.value) {
            return known.clone();
        }
        let objects = objects(named, folder, source, surroundings).map(Rc::new);
        self.known.insert(named.value.clone(), objects.clone());
        objects
    }
}

fn objects(
    named: &Text,
    folder: &Path,
    source: &Source<'_>,
    surroundings: &mut Surroundings<'_>,
) -> Option<Vec<Object>> {
    let (name, text) = load::read(named, folder, source, surroundings)?;
    let (documents, problems) = document::parse(&Source::new(&name, &text));
    if !problems.is_empty() {
        files::complain(&problems, &text, surroundings);
        return None;
    }
    let owned = |part| match part {
        Part::Object(object) => Some(Object {
            group: object.group.to_owned(),
            kind: object.kind.to_owned(),
            name: object.name(),
            namespace: object.namespace().map(str::to_owned),
            json: object.node.to_json().to_string(),
        }),
        Part::NoManifest => None,
    };
    Some(documents.iter().flat_map(|document| parts(&document.root)).filter_map(owned).collect())
}
