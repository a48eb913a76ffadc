//! Reading nodes into types: strict, all problems at once, each with the nearest valid key.
//!
//! serde stops at the first problem; people who edit policies want them all. So the types of files are declared
//! with the macros [`object!`] and [`choice!`], which make the struct or enum, its reader, and (through schemars)
//! its JSON Schema from one list of keys.

use std::borrow::Cow;
use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator};

use super::{Diagnostic, Entry, Node, Source, Span, Value};

/// Problems noted for one text; more would help nobody and cost memory for each.
const MAX_PROBLEMS: usize = 100;

/// Collects what is wrong while a document is read.
#[derive(Debug)]
pub struct Reader<'s> {
    /// The text that is read.
    pub source: &'s Source<'s>,
    /// Problems so far; never more than 100 and one that says that there are more.
    pub diagnostics: Vec<Diagnostic>,
    /// The last problem beyond those.
    surplus: Option<Diagnostic>,
}

impl<'s> Reader<'s> {
    /// A reader without problems.
    #[must_use]
    pub fn new(source: &'s Source<'s>) -> Self {
        Reader { source, diagnostics: Vec::new(), surplus: None }
    }

    /// Notes an error and hands it back for a label or help.
    pub fn error(&mut self, span: Span, message: impl Into<String>) -> &mut Diagnostic {
        let name = self.source.name();
        if self.diagnostics.len() == MAX_PROBLEMS {
            let more = format!("more than {MAX_PROBLEMS} problems; correct these first");
            self.diagnostics.push(Diagnostic::of_file(name, more));
        }
        if self.is_full() {
            // Without its place: finding that takes longer the longer the line is.
            return self.surplus.insert(Diagnostic::of_file(name, message));
        }
        self.diagnostics.push(self.source.error(span, message));
        let last = self.diagnostics.len() - 1;
        &mut self.diagnostics[last]
    }

    /// Whether further problems are counted no more, and looking for them is in vain.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.diagnostics.len() > MAX_PROBLEMS
    }

    /// Notes that `node` should have been `expected`.
    pub fn mismatch(&mut self, node: &Node, expected: &str) {
        let found = node.describe();
        let error = self.error(first_line(self.source, &node.span), format!("expected {expected}, found {found}"));
        if expected.starts_with("a string") && matches!(node.value, Value::Bool(_) | Value::Int(_) | Value::Float(_)) {
            error.help.push("put it in quotes".to_owned());
        }
    }

    /// Reads a map with exactly these keys; others are errors that name the nearest.
    pub fn fields<'n>(&mut self, node: &'n Node, keys: &[&'static str]) -> Option<Fields<'n>> {
        let Value::Map(entries) = &node.value else {
            self.mismatch(node, "a map");
            return None;
        };
        for entry in entries {
            if self.is_full() {
                return None;
            }
            if !keys.contains(&entry.key.as_str()) {
                let error = self.error(entry.key_span.clone(), format!("unknown key '{}'", printable(&entry.key)));
                error.help.push(match nearest(&entry.key, keys) {
                    Some(key) => format!("did you mean '{key}'?"),
                    None => format!("valid keys here: {}", keys.join(", ")),
                });
            }
        }
        Some(Fields { node })
    }
}

/// A map being read.
#[derive(Clone, Copy, Debug)]
pub struct Fields<'n> {
    node: &'n Node,
}

impl Fields<'_> {
    /// Reads one key. None after a diagnostic: it is required and missing, or its value does not fit.
    pub fn take<T: Read>(&self, key: &str, reader: &mut Reader<'_>) -> Option<T> {
        if let Some(node) = self.node.get(key) {
            return T::read(node, reader);
        }
        let absent = T::absent();
        if absent.is_none() {
            reader.error(first_line(reader.source, &self.node.span), format!("the key '{key}' is missing here"));
        }
        absent
    }
}

/// A type that can be read from a node.
///
/// What is read counts only if the reader noted nothing: to find further problems, reading goes on after one with
/// what could be read (an element that does not fit is left out of its list, a wrong word becomes some right one).
pub trait Read: Sized {
    /// Reads it. None, or something that must not be used, after at least one error was noted.
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self>;

    /// What a missing key means; none: the key is required.
    #[must_use]
    fn absent() -> Option<Self> {
        None
    }
}

impl Read for String {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        match &node.value {
            Value::String(text) => Some(text.clone()),
            _ => {
                reader.mismatch(node, "a string");
                None
            }
        }
    }
}

impl Read for bool {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        match &node.value {
            Value::Bool(value) => Some(*value),
            _ => {
                reader.mismatch(node, "true or false");
                None
            }
        }
    }
}

impl Read for u64 {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        match &node.value {
            Value::Int(value) if *value >= 0 => Some(value.unsigned_abs()),
            _ => {
                reader.mismatch(node, "a whole number, 0 or more");
                None
            }
        }
    }
}

impl<T: Read> Read for Option<T> {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        if node.value == Value::Null {
            // What a template lost must not read as what was never asked: `tags:` would let in more than `tags: [release]`.
            reader
                .error(node.span.clone(), "there is no value here")
                .help
                .push("give one, or take the key out".to_owned());
            return Some(None);
        }
        Some(T::read(node, reader))
    }

    fn absent() -> Option<Self> {
        Some(None)
    }
}

impl<T: Read> Read for Vec<T> {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        let Value::List(nodes) = &node.value else {
            reader.mismatch(node, "a list");
            return None;
        };
        let read = |node| if reader.is_full() { None } else { T::read(node, reader) };
        Some(nodes.iter().filter_map(read).collect())
    }
}

impl<T: Read> Read for BTreeMap<String, T> {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        let Value::Map(entries) = &node.value else {
            reader.mismatch(node, "a map");
            return None;
        };
        let read = |e: &Entry| {
            let value = if reader.is_full() { None } else { T::read(&e.value, reader) };
            value.map(|value| (e.key.clone(), value))
        };
        Some(entries.iter().filter_map(read).collect())
    }
}

/// A value that remembers where it stood, for problems that only later steps can see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spanned<T> {
    /// The value.
    pub value: T,
    /// Its place.
    pub span: Span,
}

impl<T: Read> Read for Spanned<T> {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        let value = T::read(node, reader)?;
        Some(Spanned { value, span: first_line(reader.source, &node.span) })
    }
}

impl<T: JsonSchema> JsonSchema for Spanned<T> {
    fn inline_schema() -> bool {
        T::inline_schema()
    }
    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }
    fn schema_id() -> Cow<'static, str> {
        T::schema_id()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}

/// A map with free keys, in the order written, each key with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table<T>(pub Vec<(Spanned<String>, T)>);

impl<T: Read> Read for Table<T> {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        let Value::Map(entries) = &node.value else {
            reader.mismatch(node, "a map");
            return None;
        };
        let read = |e: &Entry| {
            let key = Spanned { value: e.key.clone(), span: e.key_span.clone() };
            let value = if reader.is_full() { None } else { T::read(&e.value, reader) };
            value.map(|value| (key, value))
        };
        Some(Table(entries.iter().filter_map(read).collect()))
    }
}

impl<T: JsonSchema> JsonSchema for Table<T> {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        format!("Table_of_{}", T::schema_name()).into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        BTreeMap::<String, T>::json_schema(generator)
    }
}

/// The part of a span on its first line: a caret under a whole block would hide the place.
fn first_line(source: &Source<'_>, span: &Span) -> Span {
    span.start..source.end_on_first_line(span)
}

/// A key as it may be shown: no control characters, not endless.
pub(crate) fn printable(key: &str) -> String {
    key.chars().take(60).flat_map(char::escape_debug).collect()
}

/// The candidate nearest to what was typed, if one is near enough to have been meant.
#[must_use]
pub fn nearest<'c>(typed: &str, candidates: &[&'c str]) -> Option<&'c str> {
    let typed = typed.to_lowercase();
    let length = typed.chars().count();
    let allowed = 1 + length.min(20) / 4;
    candidates
        .iter()
        // What is longer by more than the distance allowed is too far away; comparing long texts takes long.
        .filter(|candidate| candidate.chars().count() + allowed >= length)
        .map(|candidate| (strsim::damerau_levenshtein(&typed, &candidate.to_lowercase()), *candidate))
        .filter(|(distance, candidate)| {
            *distance <= allowed && *distance < candidate.len() || candidate.to_lowercase().starts_with(&typed)
        })
        .min()
        .map(|(_, candidate)| candidate)
}

/// Declares a map with fixed keys: the struct, its strict reader, and its JSON Schema.
macro_rules! object {
    ($(#[$meta:meta])* $vis:vis struct $name:ident {
        $( $(#[$field_meta:meta])* $field:ident : $key:literal => $type:ty ),* $(,)?
    }) => {
        $(#[$meta])*
        #[derive(Clone, Debug, schemars::JsonSchema)]
        #[schemars(deny_unknown_fields)]
        $vis struct $name {
            $( $(#[$field_meta])* #[schemars(rename = $key)] pub $field: $type, )*
        }

        impl $crate::document::Read for $name {
            fn read(
                node: &$crate::document::Node,
                reader: &mut $crate::document::Reader<'_>,
            ) -> Option<Self> {
                let fields = reader.fields(node, &[$($key),*])?;
                // All are read before any may fail the whole, so that every problem is seen.
                $( let $field = fields.take::<$type>($key, reader); )*
                Some(Self { $( $field: $field? ),* })
            }
        }
    };
}
pub(crate) use object;

/// Declares a choice of words: the enum, its reader that names the nearest word, and its JSON Schema.
macro_rules! choice {
    ($(#[$meta:meta])* $vis:vis enum $name:ident {
        $( $(#[$variant_meta:meta])* $variant:ident = $word:literal ),* $(,)?
    }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, schemars::JsonSchema)]
        $vis enum $name {
            $( $(#[$variant_meta])* #[schemars(rename = $word)] $variant, )*
        }

        impl $name {
            /// Every value, in the order declared.
            $vis const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The word for it, as files write it.
            #[must_use]
            $vis const fn name(self) -> &'static str {
                match self { $( Self::$variant => $word, )* }
            }
        }

        impl std::str::FromStr for $name {
            type Err = String;
            fn from_str(word: &str) -> Result<Self, String> {
                let known = Self::ALL.iter().find(|value| value.name() == word);
                known.copied().ok_or_else(|| {
                    let words: Vec<&str> = Self::ALL.iter().map(|value| value.name()).collect();
                    match $crate::document::nearest(word, &words) {
                        Some(near) => format!("did you mean '{near}'?"),
                        None => format!("valid values: {}", words.join(", ")),
                    }
                })
            }
        }

        impl $crate::document::Read for $name {
            fn read(
                node: &$crate::document::Node,
                reader: &mut $crate::document::Reader<'_>,
            ) -> Option<Self> {
                let Some(word) = node.as_str() else {
                    reader.mismatch(node, concat!("one of ", $( $word, ", " ),*).trim_end_matches(", "));
                    return Self::ALL.first().copied();
                };
                match word.parse() {
                    Ok(value) => Some(value),
                    Err(help) => {
                        let shown: String = word.chars().take(60).flat_map(char::escape_debug).collect();
                        reader.error(node.span.clone(), format!("'{shown}' is not a value of this key")).help.push(help);
                        Self::ALL.first().copied()
                    }
                }
            }
        }
    };
}
pub(crate) use choice;

#[cfg(test)]
mod tests {
    use super::{MAX_PROBLEMS, Read, Reader, nearest};
    use crate::document::{Source, parse};

    #[test]
    fn problems_are_counted_to_a_hundred_and_the_last_says_so() {
        for (wrong, told) in
            [(MAX_PROBLEMS, MAX_PROBLEMS), (MAX_PROBLEMS + 1, MAX_PROBLEMS + 1), (50_000, MAX_PROBLEMS + 1)]
        {
            let text = format!("[{}]", vec!["1"; wrong].join(","));
            let source = Source::new("f.yaml", &text);
            let (documents, _) = parse(&source);
            let mut reader = Reader::new(&source);
            let read = Vec::<String>::read(&documents[0].root, &mut reader);
            assert_eq!((read, reader.diagnostics.len()), (Some(Vec::new()), told), "{wrong}");
            let last = reader.diagnostics.last().unwrap().to_string();
            assert_eq!(last.contains("more than 100 problems; correct these first"), wrong > MAX_PROBLEMS, "{last}");
        }
    }

    #[test]
    fn a_word_that_is_far_too_long_is_near_to_nothing() {
        assert_eq!(nearest("relase", &["release", "commit"]), Some("release"));
        assert_eq!(nearest("rel", &["release"]), Some("release"), "the beginning of a word");
        assert_eq!(nearest("releases-and-more", &["release"]), None);
    }
}
