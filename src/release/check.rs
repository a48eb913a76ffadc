//! What a release file says that cannot be, or is probably not meant.

use std::collections::{BTreeMap, HashMap};

use super::Image;
use crate::document::{Diagnostic, Entry, Node, Reader, Severity, Source, Span, Value};
use crate::image::{Class, DigestBuf, TagFacts};

/// One repository at two versions: which of them is meant of a Pod could not be told.
pub(super) fn repositories(images: &[(&Entry, &Image)], reader: &mut Reader<'_>) {
    let mut by_repository: HashMap<&str, &(&Entry, &Image)> = HashMap::with_capacity(images.len());
    for one in images {
        let said = by_repository.entry(&one.1.repository).or_insert(one);
        if says(one.1) > says(said.1) {
            *said = one;
        }
    }
    for (entry, image) in images {
        let Some((other_entry, other)) = by_repository.get(image.repository.as_str()) else { continue };
        // What has no version at all was told already.
        if (&image.tag, &image.digest) == (&other.tag, &other.digest) || says(image) == (false, false) {
            continue;
        }
        if reader.is_full() {
            return;
        }
        let line = reader.source.position(other_entry.key_span.start).0;
        let told = format!("the repository '{}' stands here at two versions", image.repository);
        let error = reader.error(entry.key_span.clone(), told);
        let (name, this, that) = (&other.name, version(image), version(other));
        let remedy = match (&image.digest, &other.digest) {
            (None, Some(_)) => {
                "give both the same tag and digest, or take the digest out and run `tagwarden release lock`"
            }
            (Some(_), Some(_)) => "give both the same tag and digest",
            _ => "give both the same version",
        };
        error.help.push(format!("'{name}' on line {line} has {that}, and '{}' has {this}; {remedy}", image.name));
        error.label = Some(this);
    }
}

/// How much an image says of its version: the one of a repository that says most is what the others are held against.
fn says(image: &Image) -> (bool, bool) {
    (image.digest.is_some(), image.tag.is_some())
}

fn version(image: &Image) -> String {
    match (&image.tag, &image.digest) {
        (Some(tag), None) => format!("'{tag}'"),
        (Some(tag), Some(digest)) => format!("'{tag}' ({})", digest.short()),
        (None, Some(digest)) => digest.short().to_owned(),
        (None, None) => "no version".to_owned(),
    }
}

/// A digest of an index's child in the place of the index: other machines would not find theirs.
pub(super) fn is_no_child(
    digest: &DigestBuf,
    platforms: &BTreeMap<String, DigestBuf>,
    at: Span,
    reader: &mut Reader<'_>,
) {
    if let Some((platform, _)) = platforms.iter().find(|(_, child)| *child == digest) {
        let error = reader.error(at, format!("this is the digest of {platform} alone, not of the index"));
        error.help.push("take 'digest' out and run `tagwarden release lock`, which writes the index's".to_owned());
    }
}

/// A tag that names a commit, and another commit beside it.
pub(super) fn commit_of_tag(tag: &str, commit: &str, at: Span, reader: &mut Reader<'_>) {
    if let Some(named) = commit_in(tag).filter(|named| !(commit.starts_with(named) || named.starts_with(commit))) {
        let error = reader.error(at, format!("the tag names the commit {named}, not this one"));
        error.help.push("one of them is wrong: take 'commit' out and run `tagwarden release lock`".to_owned());
    }
}

/// Whether a tag moves (`latest`, `main`), so that it names no version.
#[must_use]
pub fn is_moving(tag: &str) -> bool {
    let classes = TagFacts::of(tag).classes;
    classes.contains(Class::Latest) || classes.contains(Class::Floating)
}

/// The commit that a tag of the classes commit and git-commit names.
#[must_use]
pub fn commit_in(tag: &str) -> Option<&str> {
    let facts = TagFacts::of(tag);
    let bare = facts.arch.and_then(|arch| tag.strip_suffix(arch)?.strip_suffix('-')).unwrap_or(tag);
    if facts.classes.contains(Class::GitCommit) {
        return bare.strip_prefix("git-");
    }
    facts.classes.contains(Class::Commit).then_some(bare)
}

/// The weights of a canary and of what is stable beside it are shares of one whole.
pub(super) fn weights(free: &[&Entry], source: &Source<'_>) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    free.iter().for_each(|entry| weights_in(&entry.value, source, &mut found));
    found
}

fn weights_in(node: &Node, source: &Source<'_>, found: &mut Vec<Diagnostic>) {
    match &node.value {
        Value::List(nodes) => nodes.iter().for_each(|node| weights_in(node, source, found)),
        Value::Map(entries) => {
            if let (Some(canary), Some(stable)) = (node.get("canaryWeight"), node.get("stableWeight")) {
                found.extend(unbalanced(canary, stable, source));
            }
            entries.iter().for_each(|entry| weights_in(&entry.value, source, found));
        }
        _ => {}
    }
}

fn unbalanced(canary: &Node, stable: &Node, source: &Source<'_>) -> Option<Diagnostic> {
    let number = |node: &Node| match &node.value {
        Value::Int(number) => Some(*number),
        _ => None,
    };
    let warn = |node: &Node, message: String| {
        let diagnostic = source.diagnostic(Severity::Warning, node.span.clone(), message);
        Some(diagnostic.help("write two whole numbers that add up to 100"))
    };
    for node in [canary, stable] {
        if number(node).is_none() {
            let end = source.end_on_first_line(&node.span);
            let message = format!("a weight is a whole number, found {}", node.describe());
            return warn(&Node { span: node.span.start..end, value: Value::Null }, message);
        }
    }
    let (canary_weight, stable_weight) = (number(canary)?, number(stable)?);
    let sum = i128::from(canary_weight) + i128::from(stable_weight);
    if canary_weight < 0 || stable_weight < 0 {
        return warn(
            canary,
            format!("a weight is less than 0: canaryWeight {canary_weight}, stableWeight {stable_weight}"),
        );
    }
    let told = format!("canaryWeight {canary_weight} and stableWeight {stable_weight} make {sum}, not 100");
    if sum == 100 { None } else { warn(canary, told) }
}
