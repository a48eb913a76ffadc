//! Other formats as release files: image locks, promotion lists, relocation maps, Freight, Compose files.

mod formats;

use std::collections::BTreeMap;

use super::{Image, ReleaseFile, is_moving, is_name, names_for};
use crate::document::{Diagnostic, Node, Reader, Source, Span, Value, parse, printable};
use crate::image::{DigestBuf, Reference, Refusal};

/// A format that is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Imported {
    /// An ImagesLock of kbld and imgpkg.
    ImagesLock,
    /// A list of image promotion (`dmap`).
    Promotion,
    /// A relocation map of a Cloud Native Application Bundle.
    Relocation,
    /// A Freight of Kargo.
    Freight,
    /// A Compose file.
    Compose,
}

/// A release file made of another format.
#[derive(Clone, Debug)]
pub struct Import {
    /// What it was.
    pub format: Imported,
    /// The release; with its id where every image has a digest.
    pub file: ReleaseFile,
    /// What of the other format is not in it, a sentence each.
    pub notes: Vec<String>,
}

/// What the other format does not say.
#[derive(Clone, Copy, Debug, Default)]
pub struct ImportTerms<'a> {
    /// The release's name; none: what the other format calls itself, else `fallback`.
    pub name: Option<&'a str>,
    /// A name where neither says one: that of the file.
    pub fallback: &'a str,
    /// Where the images of a promotion list are: `registry.k8s.io/acme`.
    pub registry: Option<&'a str>,
}

/// An image as another format names it.
#[derive(Clone, Debug)]
struct Found {
    /// What it is called there; none: the last part of its repository.
    name: Option<String>,
    /// The reference, in part or in whole.
    image: String,
    tag: Option<String>,
    digest: Option<String>,
    span: Span,
}

/// What was read of another format.
struct Contents {
    format: Imported,
    name: Option<String>,
    images: Vec<Found>,
    notes: Vec<String>,
}

/// Reads another format as a release.
///
/// # Errors
/// Every problem of it, in the order of their places.
pub fn import(file_name: &str, text: &str, terms: ImportTerms<'_>) -> Result<Import, Vec<Diagnostic>> {
    let source = Source::new(file_name, text);
    let (documents, problems) = parse(&source);
    if !problems.is_empty() {
        return Err(problems);
    }
    let mut roots = documents.iter().map(|document| &document.root).filter(|root| root.value != Value::Null);
    let (Some(root), None) = (roots.next(), roots.next()) else {
        let told = "not one document, and one is read";
        return Err(vec![Diagnostic::of_file(file_name, told).help("give a file of one document")]);
    };
    let mut reader = Reader::new(&source);
    let contents = formats::read(root, terms, &mut reader);
    let images = contents.as_ref().map(|contents| images(contents, &mut reader)).unwrap_or_default();
    let Some(mut contents) = contents.filter(|_| reader.diagnostics.is_empty()) else {
        return Err(reader.diagnostics);
    };
    let (images, notes) = images;
    contents.notes.extend(notes);
    if images.is_empty() {
        let told = "there is no image in it";
        return Err(vec![Diagnostic::of_file(file_name, told).help("a release has at least one")]);
    }
    let name = terms.name.or(contents.name.as_deref()).unwrap_or(terms.fallback);
    if !is_name(name) {
        let told = format!("'{}' is not a release's name", printable(name));
        return Err(vec![Diagnostic::of_file(file_name, told).help("give one by `--name`: system-2026-01-11")]);
    }
    let file = ReleaseFile::made(file_name, name, &images)?;
    Ok(Import { format: contents.format, file, notes: contents.notes })
}

/// The images with their names, and what was left out of them.
fn images(contents: &Contents, reader: &mut Reader<'_>) -> (Vec<Image>, Vec<String>) {
    let mut notes = Vec::new();
    let mut images: BTreeMap<String, Image> = BTreeMap::new();
    for found in &contents.images {
        let Some(image) = image(found, &mut notes, reader) else { continue };
        let same = |other: &Image| Image { name: String::new(), ..other.clone() } == image;
        if found.name.is_none() && images.values().any(same) {
            continue;
        }
        let names = names(found, &image.repository);
        let Some(name) = names.iter().find(|name| images.get(*name).is_none_or(same)) else {
            let told = format!("another image is called '{}' already", names.first().map_or("", String::as_str));
            let error = reader.error(found.span.clone(), told);
            error.help.push("import one of them, and add the other by hand".to_owned());
            continue;
        };
        images.insert(name.clone(), Image { name: name.clone(), ..image });
    }
    (images.into_values().collect(), notes)
}

/// An image that has no name yet.
fn image(found: &Found, notes: &mut Vec<String>, reader: &mut Reader<'_>) -> Option<Image> {
    let shown = printable(&found.image);
    let reference = match Reference::parse(&found.image) {
        Ok(reference) => reference,
        Err(error) => {
            let told = format!("'{shown}' is not an image: {}", error.message());
            let help = error
                .suggestion
                .map_or_else(|| "write it in full".to_owned(), |better| format!("did you mean {better}?"));
            reader.error(found.span.clone(), told).help.push(help);
            return None;
        }
    };
    // Other formats write short names and other spellings; what they mean is plain, and the release says it in full.
    let refused = |refusal: &Refusal| refusal.is_final();
    if let Some(refusal) = reference.refusals().iter().find(refused) {
        let told = format!("'{shown}' is of a refused shape ({}): {}", refusal.name(), refusal.message());
        reader.error(found.span.clone(), told).help.push("write the registry's name".to_owned());
        return None;
    }
    let repository = reference.name().into_owned();
    let written = reference.tag().filter(|_| !reference.tag_defaulted());
    let tag = found.tag.as_deref().or(written).filter(|tag| !tag.is_empty());
    let digest = match found.digest.as_deref().filter(|digest| !digest.is_empty()) {
        None => reference.digest().map(DigestBuf::from),
        Some(digest) => match DigestBuf::parse(digest) {
            Ok(digest) => Some(digest),
            Err(error) => {
                let told = format!("'{}' is not a digest: {}", printable(digest), error.message());
                reader.error(found.span.clone(), told).help.push("write sha256: and 64 hex digits".to_owned());
                return None;
            }
        },
    };
    let kept = tag.filter(|tag| digest.is_none() || !is_moving(tag));
    if let (Some(tag), None) = (tag, kept) {
        notes.push(format!("{repository}: the tag '{}' moves and is left out; its digest stays", printable(tag)));
    }
    if kept.is_none() && digest.is_none() {
        let error = reader.error(found.span.clone(), format!("'{shown}' has neither tag nor digest"));
        error.help.push("write the version that is meant".to_owned());
        return None;
    }
    Some(Image { repository, tag: kept.map(str::to_owned), digest, ..Image::default() })
}

/// What an image may be called, best first: as there, else after its repository.
fn names(found: &Found, repository: &str) -> Vec<String> {
    let named = found.name.as_deref().map(plain).filter(|name| is_name(name));
    named.into_iter().chain(names_for(repository)).collect()
}

/// A name without what names may not have.
fn plain(name: &str) -> String {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    name.chars()
        .map(|c| if fits(c) { c } else { '-' })
        .collect::<String>()
        .trim_start_matches(['-', '.', '_'])
        .to_owned()
}

/// The text of a key, if it is one.
fn text_of<'n>(node: &'n Node, key: &str) -> Option<&'n str> {
    node.get(key).and_then(Node::as_str).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests;
