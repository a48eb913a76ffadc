//! A place where a file names an image, and how a digest is written there without touching anything else.

use std::borrow::Cow;

use crate::document::{Edit, Entry, Node, Span, Value, quote_of};
use crate::image::{Reference, ReferenceError};

/// A place where a file names an image.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Spot {
    /// What to point at.
    pub place: Span,
    /// The image, as far as it can be told from the file.
    pub image: String,
    /// What can be done about it.
    pub target: Target,
}

/// What can be done about an image.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Target {
    /// A digest can be written.
    Slot(Slot),
    /// The image is known, but its digest has to be written by hand, if it has none.
    Fixed(Reason),
    /// Which image it is cannot be told from the file.
    Unknown(Reason),
    /// It is nothing to pin here.
    Left(Cow<'static, str>),
}

/// Why not, and what to do about it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Reason {
    /// One clause.
    pub why: Cow<'static, str>,
    /// The remedy; empty where there is none.
    pub help: Cow<'static, str>,
}

impl Reason {
    pub fn new(why: impl Into<Cow<'static, str>>, help: impl Into<Cow<'static, str>>) -> Self {
        Reason { why: why.into(), help: help.into() }
    }

    /// Of what is no image reference.
    pub fn unreadable(error: &ReferenceError) -> Self {
        let why = format!("not a valid image reference: {} (at byte {})", error.message(), error.position);
        let help = error.suggestion.as_ref().map(|better| format!("did you mean {better}?"));
        Reason::new(why, help.unwrap_or_default())
    }
}

/// Where a digest goes: in the place of these bytes (the old digest, or nothing), with these texts around it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Slot {
    pub span: Span,
    pub before: String,
    pub after: String,
}

impl Slot {
    /// What to do to the text.
    pub fn edit(&self, digest: &str) -> Edit {
        Edit { span: self.span.clone(), text: format!("{}{digest}{}", self.before, self.after) }
    }
}

impl Spot {
    /// An image whose reference ends where a scalar (or a word) does: `span` is that of the scalar, quotes included, and
    /// `value` its text, which is the reference or the end of it.
    pub fn ending(text: &str, span: &Span, value: &str, image: String) -> Self {
        let target = match Reference::parse(&image) {
            Err(error) => Target::Unknown(Reason::unreadable(&error)),
            Ok(reference) => slot_at_end(text, span, value, &reference).map_or_else(unwritable, Target::Slot),
        };
        Spot { place: span.clone(), image, target }
    }

    /// A node whose text is the image.
    pub fn whole(text: &str, node: &Node) -> Self {
        let value = node.as_str().unwrap_or_default();
        Spot::ending(text, &node.span, value, value.to_owned())
    }
}

/// For what is written in a way that hides where its digest would go.
pub(super) fn unwritable() -> Target {
    Target::Fixed(Reason::new(
        "the way it is written leaves no safe place for a digest",
        "write the image on one line, plain or in simple quotes",
    ))
}

/// The slot at the end of a scalar's content, or that of the digest with which it ends.
fn slot_at_end(text: &str, span: &Span, value: &str, reference: &Reference<'_>) -> Option<Slot> {
    let raw = text.get(span.clone())?.trim_end();
    let inner = raw.strip_suffix(['"', '\'']).filter(|_| raw.len() > 1);
    // Escapes hide the content, not where it ends.
    let literal = [Some(raw), inner].into_iter().flatten().find(|raw| raw.ends_with(value));
    let end = span.start + literal.or(inner.filter(|_| raw.ends_with('"')))?.len();
    if let Some(digest) = reference.digest() {
        let start = end.checked_sub(digest.as_str().len()).filter(|_| literal.is_some())?;
        return Some(Slot { span: start..end, before: String::new(), after: String::new() });
    }
    let before = if reference.tag_defaulted() { ":latest@" } else { "@" };
    Some(Slot { span: end..end, before: before.to_owned(), after: String::new() })
}

/// The slot of a key that holds a digest, or nothing yet.
pub(super) fn slot_of_key(text: &str, entry: &Entry) -> Option<Slot> {
    let span = &entry.value.span;
    let raw = text.get(span.clone())?;
    let simple = |span: Span| Some(Slot { span, before: String::new(), after: String::new() });
    let quote = quote_of(text, &entry.key_span);
    match &entry.value.value {
        Value::String(value) if value.is_empty() && matches!(raw, "\"\"" | "''") => {
            simple(span.start + 1..span.start + 1)
        }
        Value::String(value) if !value.is_empty() => {
            let raw = raw.trim_end();
            let end =
                [Some(raw), raw.strip_suffix(['"', '\''])].into_iter().flatten().find(|raw| raw.ends_with(value))?;
            let end = span.start + end.len();
            simple(end - value.len()..end)
        }
        Value::Null if raw.is_empty() => {
            let rest = text.get(entry.key_span.end..)?;
            let colon = rest.find(':').filter(|at| rest[..*at].trim().is_empty())?;
            let at = entry.key_span.end + colon + 1;
            let line = text.get(at..)?.lines().next().unwrap_or_default();
            let free = line.trim_start().chars().next().is_none_or(|next| matches!(next, '#' | ',' | '}'));
            free.then(|| Slot { span: at..at, before: format!(" {quote}"), after: quote.to_owned() })
        }
        Value::Null if matches!(raw, "~" | "null" | "Null" | "NULL") => {
            Some(Slot { span: span.clone(), before: quote.to_owned(), after: quote.to_owned() })
        }
        _ => None,
    }
}

/// An image with another digest, and `latest` written out where it has no tag.
pub(super) fn pinned(image: &str, reference: &Reference<'_>, digest: &str) -> String {
    let name = image.split('@').next().unwrap_or(image);
    let tag = if reference.tag_defaulted() { ":latest" } else { "" };
    format!("{name}{tag}@{digest}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::{Source, entry, parse};

    const OLD: &str = "sha256:1111111111111111111111111111111111111111111111111111111111111111";

    fn root(text: &str) -> Node {
        let (mut documents, problems) = parse(&Source::new("f.yaml", text));
        assert_eq!(problems, [], "{text}");
        documents.remove(0).root
    }

    /// A text with `NEW` where the digest of the image at `image` goes, or why it goes nowhere.
    fn written(text: &str) -> String {
        let root = root(text);
        match Spot::whole(text, root.at("image").unwrap()).target {
            Target::Slot(slot) => {
                let Edit { span, text: new } = slot.edit("NEW");
                format!("{}{new}{}", &text[..span.start], &text[span.end..])
            }
            Target::Fixed(reason) | Target::Unknown(reason) => reason.why.into_owned(),
            Target::Left(why) => why.into_owned(),
        }
    }

    #[test]
    fn a_digest_goes_where_the_content_ends_whatever_is_around_it() {
        for (before, after) in [
            ("image: a:1 # c\n", "image: a:1@NEW # c\n"),
            ("image:   a:1", "image:   a:1@NEW"),
            ("image: 'a:1'   # c\r\n", "image: 'a:1@NEW'   # c\r\n"),
            ("image: \"a:1\"\n", "image: \"a:1@NEW\"\n"),
            ("image: \"a\\x3a1\"\n", "image: \"a\\x3a1@NEW\"\n"),
            ("image: \"a\\\n  :1\"\n", "image: \"a\\\n  :1@NEW\"\n"),
            ("image: |-\n  a:1\nb: c\n", "image: |-\n  a:1@NEW\nb: c\n"),
            ("image: >- # c\n    a:1\n\n# c\nb: c\n", "image: >- # c\n    a:1@NEW\n\n# c\nb: c\n"),
            ("image: &x a:1\nb: *x\n", "image: &x a:1@NEW\nb: *x\n"),
            ("image: !!str 'a:1'\n", "image: !!str 'a:1@NEW'\n"),
            ("{image: a:1,b: c}", "{image: a:1@NEW,b: c}"),
            ("{\"image\":\"a:1\",\"b\":\"c\"}", "{\"image\":\"a:1@NEW\",\"b\":\"c\"}"),
            ("{\"image\":\"a\\/b:1\"}", "{\"image\":\"a\\/b:1@NEW\"}"),
            ("image: a\n", "image: a:latest@NEW\n"),
            ("\u{feff}image: a:1\n", "\u{feff}image: a:1@NEW\n"),
            ("image:\n  a:1\n", "image:\n  a:1@NEW\n"),
            ("? image\n: a:1\n", "? image\n: a:1@NEW\n"),
        ] {
            assert_eq!(written(before), after);
        }
    }

    #[test]
    fn an_old_digest_is_replaced_and_nothing_else() {
        for quote in ["", "'", "\""] {
            let before = format!("image: {quote}a:1@{OLD}{quote} # c\n");
            assert_eq!(written(&before), before.replace(OLD, "NEW"));
        }
        let hidden = format!("image: \"a\\x3a1@{OLD}\"\n");
        assert!(written(&hidden).contains("no safe place"), "{}", written(&hidden));
    }

    #[test]
    fn what_is_no_reference_has_no_slot() {
        assert!(
            written("image: |\n  a:1\n").starts_with("not a valid image reference"),
            "its line break is a part of it"
        );
        assert!(written("image: '{{ .Values.image }}'\n").starts_with("not a valid image reference"));
    }

    #[test]
    fn a_key_takes_a_digest_filled_or_not() {
        for (before, after) in [
            ("digest: \"\" # c\n", "digest: \"NEW\" # c\n"),
            ("digest: ''\n", "digest: 'NEW'\n"),
            ("digest:\ntag: x\n", "digest: NEW\ntag: x\n"),
            ("digest:   # c\n", "digest: NEW   # c\n"),
            ("digest: null\n", "digest: NEW\n"),
            ("digest: ~\r\n", "digest: NEW\r\n"),
            ("{digest: , tag: x}", "{digest: NEW , tag: x}"),
            ("{\"digest\": null}", "{\"digest\": \"NEW\"}"),
            ("digest: sha256:old # c\n", "digest: NEW # c\n"),
            ("digest: 'sha256:old'\n", "digest: 'NEW'\n"),
        ] {
            let root = root(before);
            let Edit { span, text } = slot_of_key(before, entry(&root, "digest").unwrap()).unwrap().edit("NEW");
            assert_eq!(format!("{}{text}{}", &before[..span.start], &before[span.end..]), after);
        }
        for hidden in ["digest: &a\ntag: x\n", "digest: !!str\n", "digest: 1\n", "{digest}", "digest: [a]\n"] {
            let root = root(hidden);
            assert_eq!(slot_of_key(hidden, entry(&root, "digest").unwrap()), None, "{hidden}");
        }
    }
}
