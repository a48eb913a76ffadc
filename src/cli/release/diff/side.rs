//! One side of `release diff`: a release file, or manifests.

use std::fmt;
use std::path::Path;

use crate::cli::objects::{self, Part};
use crate::cli::release::reading;
use crate::cli::release::used::AllUsed;
use crate::cli::report::markdown::code;
use crate::cli::report::{SHOWN_BYTES, shown};
use crate::cli::{Surroundings, files};
use crate::config::Config;
use crate::document::{Diagnostic, Source, parse};
use crate::image::Reference;
use crate::policy::printable;
use crate::release::{Compared, Image, ReleaseFile};

/// What is compared.
pub(super) enum Side {
    /// A release file.
    Release(Box<ReleaseFile>),
    /// Manifests, and the images that they use.
    Manifests {
        /// As they are named.
        name: String,
        images: Vec<Image>,
    },
}

impl Side {
    /// What it is called.
    pub fn name(&self) -> &str {
        match self {
            Side::Release(file) => file.release.name(),
            Side::Manifests { name, .. } => name,
        }
    }

    /// For the engine.
    pub fn compared(&self) -> Compared<'_> {
        match self {
            Side::Release(file) => Compared::Release(file),
            Side::Manifests { images, .. } => Compared::Manifests(images),
        }
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Side::Release(file) => write!(f, "{} ({})", file.release.name(), file.release.id().short()),
            Side::Manifests { name, .. } => write!(f, "manifests of {}", shown(name)),
        }
    }
}

/// The same as Markdown.
pub(super) fn markdown(side: &Side) -> String {
    match side {
        Side::Release(file) => format!("{} ({})", code(file.release.name()), code(file.release.id().short())),
        Side::Manifests { name, .. } => format!("the manifests of {}", code(name)),
    }
}

/// Reads a side. None, after what is wrong with it was written to standard error.
///
/// # Errors
/// git cannot be asked, or has no such file.
pub(super) fn read(path: &Path, config: &Config, surroundings: &mut Surroundings<'_>) -> anyhow::Result<Option<Side>> {
    let mut all = AllUsed::default();
    if path.is_dir() {
        for found in files::find(&[path.to_owned()]) {
            all.input(found, config, surroundings);
        }
        return Ok(manifests(files::shown(path), &all, surroundings));
    }
    let Some((name, text)) = reading::text_at_revision(path, surroundings)? else { return Ok(None) };
    if has_objects(&name, &text) {
        all.text(&name, &text, config, surroundings);
        return Ok(manifests(name, &all, surroundings));
    }
    let file = reading::told(ReleaseFile::read(&name, &text), &text, surroundings);
    Ok(file.map(|file| Side::Release(Box::new(file))))
}

/// Whether it holds Kubernetes objects, and is no release file that has the same keys as sections of its own.
fn has_objects(name: &str, text: &str) -> bool {
    let (documents, _) = parse(&Source::new(name, text));
    let is_release = documents.first().is_some_and(|document| document.root.get("release").is_some());
    let is_object = |part: &Part<'_>| matches!(part, Part::Object(_));
    !is_release && documents.iter().any(|document| objects::parts(&document.root).iter().any(is_object))
}

fn manifests(name: String, all: &AllUsed, surroundings: &mut Surroundings<'_>) -> Option<Side> {
    for skipped in all.skipped.iter().chain(&all.unknown) {
        // A closed standard error takes nothing from the verdict.
        let _ = writeln!(surroundings.err, "note: not looked at: {}", shown(skipped));
    }
    let (mut images, mut problems) = (Vec::new(), Vec::new());
    for used in &all.images {
        let reference = match Reference::parse(&used.image) {
            Ok(reference) => reference,
            Err(error) => {
                let told = format!("'{}' is not an image: {}", printable(&used.image, SHOWN_BYTES), error.message());
                problems.push(Diagnostic::of_file(&used.shown(), told).help("`tagwarden check` says more"));
                continue;
            }
        };
        let repository = reference.name().into_owned();
        let (tag, digest) = (reference.tag().map(str::to_owned), reference.digest().map(Into::into));
        images.push(Image { repository, tag, digest, ..Image::default() });
    }
    if images.is_empty() && problems.is_empty() && all.broken == 0 {
        let problem = Diagnostic::of_file(&name, "no image is used in these manifests");
        problems.push(problem.help("name a release file, or manifests of what makes Pods"));
    }
    files::complain(&problems, "", surroundings);
    (problems.is_empty() && all.broken == 0).then_some(Side::Manifests { name, images })
}
