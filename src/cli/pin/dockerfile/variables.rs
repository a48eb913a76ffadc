//! Build arguments with the defaults that a Dockerfile gives them, and their expansion.

use std::collections::HashMap;

/// What is declared before the first stage.
#[derive(Debug, Default)]
pub(super) struct Variables(HashMap<String, String>);

impl Variables {
    /// Takes one `NAME=default`; one without a default, or whose default cannot be told, is not known.
    pub fn declare(&mut self, word: &str) {
        let Some((name, default)) = word.split_once('=') else { return };
        let quoted = |quote| default.len() > 1 && default.starts_with(quote) && default.ends_with(quote);
        let bare = if quoted('"') || quoted('\'') { &default[1..default.len() - 1] } else { default };
        match self.expand(bare) {
            Ok(default) => self.0.insert(name.to_owned(), default),
            Err(_) => self.0.remove(name),
        };
    }

    /// A text with every variable's default in its place.
    ///
    /// # Errors
    /// The first variable that has none, or is written in a way that is not read here.
    pub fn expand(&self, text: &str) -> Result<String, String> {
        let mut out = String::new();
        let mut rest = text;
        while let Some((front, after)) = rest.split_once('$') {
            out.push_str(front);
            let inner = after.strip_prefix('{').and_then(|inner| inner.split_once('}'));
            let (inner, after) = inner.unwrap_or_else(|| {
                after.split_at(after.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(after.len()))
            });
            out.push_str(self.value(inner).ok_or(inner)?);
            rest = after;
        }
        out.push_str(rest);
        Ok(out)
    }

    /// `NAME`, `NAME:-default` or `NAME-default`.
    fn value<'v>(&'v self, inner: &'v str) -> Option<&'v str> {
        let end = inner.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(inner.len());
        let (name, modifier) = inner.split_at(end);
        let known = self.0.get(name).map(String::as_str);
        match modifier.split_at_checked(2) {
            _ if modifier.is_empty() => known,
            Some((":-", default)) => known.filter(|value| !value.is_empty()).or(Some(default)),
            _ => modifier.strip_prefix('-').map(|default| known.unwrap_or(default)),
        }
        .filter(|value| !value.contains('$'))
    }
}
