//! A named text and the way from byte offsets to lines and columns.

use super::{Diagnostic, Severity, Span};

/// A file's name, as shown, and its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source<'t> {
    name: &'t str,
    text: &'t str,
    /// Byte offset of the start of each line.
    lines: Vec<usize>,
    /// Whether a byte is a character: then a column is known without counting along its line.
    ascii: bool,
}

impl<'t> Source<'t> {
    /// A text and the name to show for it.
    #[must_use]
    pub fn new(name: &'t str, text: &'t str) -> Self {
        let breaks = memchr::memchr_iter(b'\n', text.as_bytes()).map(|at| at + 1);
        Source { name, text, lines: std::iter::once(0).chain(breaks).collect(), ascii: text.is_ascii() }
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &'t str {
        self.name
    }

    /// The text.
    #[must_use]
    pub fn text(&self) -> &'t str {
        self.text
    }

    /// Line and column (both from 1, the column in characters) of a byte offset; past the end, of the end.
    #[must_use]
    pub fn position(&self, offset: usize) -> (usize, usize) {
        let offset = floor_boundary(self.text, offset);
        let line = self.lines.partition_point(|&start| start <= offset);
        let start = self.lines[line - 1];
        let before = if self.ascii { offset - start } else { self.text[start..offset].chars().count() };
        (line, before + 1)
    }

    /// The byte offset of a line (from 1) and column (from 0, in characters); the end where there is none.
    #[must_use]
    pub fn offset(&self, line: usize, column: usize) -> usize {
        let Some(&start) = self.lines.get(line.saturating_sub(1)) else {
            return self.text.len();
        };
        let rest = &self.text[start..];
        rest.char_indices().nth(column).map_or(self.text.len(), |(at, _)| start + at)
    }

    /// Where a place ends, or the line on which it begins.
    #[must_use]
    pub fn end_on_first_line(&self, span: &Span) -> usize {
        let text = self.text.get(span.clone()).unwrap_or_default();
        span.start + text.lines().next().map_or(0, |line| line.trim_end().len())
    }

    /// An error at a place of this text.
    #[must_use]
    pub fn error(&self, span: Span, message: impl Into<String>) -> Diagnostic {
        self.diagnostic(Severity::Error, span, message)
    }

    /// A diagnostic at a place of this text; the span is clamped to it and to character boundaries.
    #[must_use]
    pub fn diagnostic(&self, severity: Severity, span: Span, message: impl Into<String>) -> Diagnostic {
        let start = floor_boundary(self.text, span.start);
        let end = floor_boundary(self.text, span.end).max(start);
        let (line, column) = self.position(start);
        Diagnostic {
            severity,
            code: None,
            file: self.name.to_owned(),
            span: Some(start..end),
            line,
            column,
            message: message.into(),
            label: None,
            help: Vec::new(),
        }
    }
}

/// The nearest character boundary at or before `offset`.
pub(super) fn floor_boundary(text: &str, offset: usize) -> usize {
    let mut at = offset.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::Source;

    #[test]
    fn positions_and_offsets_are_inverse_and_never_leave_the_text() {
        let source = Source::new("f", "ab\ncé\n\nx");
        assert_eq!(source.position(0), (1, 1));
        assert_eq!(source.position(4), (2, 2));
        assert_eq!(source.position(5), (2, 2), "inside a character counts as its start");
        assert_eq!(source.position(7), (3, 1));
        assert_eq!(source.position(99), (4, 2));
        assert_eq!(source.offset(2, 1), 4);
        assert_eq!(source.offset(9, 0), 9);
    }
}
