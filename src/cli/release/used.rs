//! The images that manifests, or workloads of a cluster, use.

use std::collections::BTreeSet;

use crate::cli::objects::{self, Part};
use crate::cli::report::label;
use crate::cli::{Surroundings, files};
use crate::config::Config;
use crate::document::{self, Diagnostic, Node, Source, Value};
use crate::image::DigestBuf;
use crate::policy::List;

/// An image that is used somewhere.
#[derive(Clone, Debug)]
pub(super) struct Used {
    /// As written.
    pub image: String,
    /// The object: `Deployment shop/checkout`.
    pub object: String,
    /// `container "api"`.
    pub label: String,
    /// File and line, where it is of a file.
    pub place: Option<(String, usize)>,
    /// The digests that run, where that is known.
    pub runs: Vec<DigestBuf>,
}

impl Used {
    /// An image as a manifest has it.
    pub fn written(image: &str, object: &str, list: List, container: Option<&str>) -> Self {
        let label = label(list, container);
        Used { image: image.to_owned(), object: object.to_owned(), label, place: None, runs: Vec::new() }
    }

    /// The same at a place of a file.
    fn at(self, file: &str, line: usize) -> Self {
        Used { place: Some((file.to_owned(), line)), ..self }
    }

    /// `deploy/app.yaml:12: Deployment shop/app, container "app"`.
    pub fn shown(&self) -> String {
        let object = format!("{}, {}", self.object, self.label);
        match &self.place {
            Some((file, line)) => format!("{file}:{line}: {object}"),
            None => object,
        }
    }
}

/// All that is used, and what was not looked at.
#[derive(Debug, Default)]
pub(super) struct AllUsed {
    pub images: Vec<Used>,
    /// Objects that were looked at.
    pub objects: usize,
    /// Inputs that could not be read.
    pub broken: usize,
    /// Kinds that no table knows, and files that are no manifests.
    pub skipped: BTreeSet<String>,
    /// Objects of kinds that no table knows, and in which something is called an image.
    pub unknown: BTreeSet<String>,
    /// Kinds of a cluster that could not be listed, a sentence each: their Pods are there, and what has none is not.
    pub unlisted: Vec<String>,
}

impl AllUsed {
    /// Takes the images of a file; what is wrong with it is told.
    pub fn input(&mut self, found: files::Found, config: &Config, surroundings: &mut Surroundings<'_>) {
        let (name, text) = match found {
            files::Found::Stdin => (files::STDIN.to_owned(), files::read_text(files::STDIN, &mut *surroundings.input)),
            files::Found::File(path) => (files::shown(&path), files::read_file(&path)),
            files::Found::Problem(problem) => (String::new(), Err(Box::new(problem))),
        };
        match text {
            Ok(text) => self.text(&name, &text, config, surroundings),
            Err(problem) => self.complain(&[*problem], "", surroundings),
        }
    }

    /// The same of a text.
    pub fn text(&mut self, name: &str, text: &str, config: &Config, surroundings: &mut Surroundings<'_>) {
        let source = Source::new(name, text);
        let (documents, problems) = document::parse(&source);
        for document in &documents {
            for part in objects::parts(&document.root) {
                match part {
                    Part::Object(object) => self.object(&object, &source, config),
                    Part::NoManifest => drop(self.skipped.insert(format!("{name} (no manifest)"))),
                }
            }
        }
        if !problems.is_empty() {
            self.complain(&problems, text, surroundings);
        }
    }

    fn object(&mut self, object: &objects::Object<'_>, source: &Source<'_>, config: &Config) {
        if !config.workloads.knows(object.group, object.kind) {
            let of = if has_image(object.node) { &mut self.unknown } else { &mut self.skipped };
            of.insert(object.kind.to_owned());
            return;
        }
        self.objects += 1;
        let json = object.node.to_json().to_string();
        let collected = config.workloads.read_object(object.group, object.kind, &json, None);
        let namespace = object.namespace().map(|namespace| format!("{namespace}/")).unwrap_or_default();
        let named = format!("{} {namespace}{}", object.kind, object.name());
        for image in collected.images() {
            let node = object.node.at(&image.field.to_string()).unwrap_or_else(|| object.anchor());
            let (line, _) = source.position(node.span.start);
            self.images.push(Used::written(image.image, &named, image.list, image.container).at(source.name(), line));
        }
        for warning in &collected.warnings {
            self.skipped.insert(format!("{named}: {warning}"));
        }
    }

    fn complain(&mut self, problems: &[Diagnostic], text: &str, surroundings: &mut Surroundings<'_>) {
        self.broken += 1;
        files::complain(problems, text, surroundings);
    }
}

/// Whether a key anywhere says that something has an image: of a kind that no table knows nobody can tell more.
fn has_image(node: &Node) -> bool {
    match &node.value {
        Value::List(nodes) => nodes.iter().any(has_image),
        Value::Map(entries) => entries.iter().any(|entry| {
            matches!(entry.key.as_str(), "image" | "images" | "containers") && entry.value.value != Value::Null
                || has_image(&entry.value)
        }),
        _ => false,
    }
}
