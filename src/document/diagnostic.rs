//! Diagnostics: what is wrong, where, and what to do, rendered as rustc does.

use std::fmt::Write as _;

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};

use super::Span;
use super::source::floor_boundary;

/// How bad a problem is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Worth knowing.
    Note,
    /// Works, but probably not as meant.
    Warning,
    /// Refused.
    Error,
}

/// One problem of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// A stable code, shown in brackets (`TW120`).
    pub code: Option<String>,
    /// The file as shown.
    pub file: String,
    /// Where in it; none where the file as a whole is meant.
    pub span: Option<Span>,
    /// The line of the span's start, from 1; 0 without a span.
    pub line: usize,
    /// The column of the span's start in characters, from 1; 0 without a span.
    pub column: usize,
    /// One sentence, lower case, without a full stop.
    pub message: String,
    /// Text beside the caret.
    pub label: Option<String>,
    /// What to do, a line each.
    pub help: Vec<String>,
}

impl Diagnostic {
    /// An error about a file as a whole.
    #[must_use]
    pub fn of_file(file: &str, message: impl Into<String>) -> Self {
        Diagnostic {
            severity: Severity::Error,
            code: None,
            file: file.to_owned(),
            span: None,
            line: 0,
            column: 0,
            message: message.into(),
            label: None,
            help: Vec::new(),
        }
    }

    /// The same with a line of help.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help.push(help.into());
        self
    }

    /// The same with text beside the caret.
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }
}

/// One line, for logs: `FILE:LINE:COLUMN: error: message; help`.
impl std::fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.file)?;
        if self.span.is_some() {
            write!(f, ":{}:{}", self.line, self.column)?;
        }
        let severity = match self.severity {
            Severity::Note => "note",
            Severity::Warning => "warning",
            Severity::Error => "error",
        };
        write!(f, ": {severity}: {}", self.message)?;
        self.help.iter().try_for_each(|help| write!(f, "; {help}"))
    }
}

/// Whether escape sequences for colour are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Color {
    /// Plain text.
    Never,
    /// ANSI colours.
    Always,
}

/// The diagnostic with its source line and a caret under the place; `text` is the whole file.
#[must_use]
pub fn render(diagnostic: &Diagnostic, text: &str, color: Color) -> String {
    let excerpt = diagnostic.span.as_ref().filter(|_| !text.is_empty()).map(|span| Excerpt::of(text, span));
    render_excerpt(diagnostic, excerpt.as_ref(), color)
}

/// The same where no more is at hand than the line (see [`Excerpt`]); without it the file alone is named.
#[must_use]
pub fn render_excerpt(diagnostic: &Diagnostic, excerpt: Option<&Excerpt>, color: Color) -> String {
    let level = match diagnostic.severity {
        Severity::Note => Level::NOTE,
        Severity::Warning => Level::WARNING,
        Severity::Error => Level::ERROR,
    };
    let title = level.primary_title(&diagnostic.message);
    let title = match &diagnostic.code {
        Some(code) => title.id(code),
        None => title,
    };
    let group = match excerpt {
        Some(excerpt) => {
            let mut mark = AnnotationKind::Primary.span(excerpt.span.clone());
            if let Some(label) = &diagnostic.label {
                mark = mark.label(label);
            }
            let snippet = Snippet::source(&excerpt.text).line_start(diagnostic.line.max(1)).annotation(mark);
            match excerpt.cut {
                Cut::Nowhere => title.element(snippet.path(&diagnostic.file)),
                // Counted in the cut text, the column would be a wrong one.
                Cut::InFront => {
                    let origin = annotate_snippets::Origin::path(&diagnostic.file);
                    title.element(origin.line(diagnostic.line).char_column(diagnostic.column)).element(snippet)
                }
            }
        }
        None => title.element(annotate_snippets::Origin::path(&diagnostic.file)),
    };
    let group = diagnostic.help.iter().fold(group, |group, help| group.element(Level::HELP.message(help)));
    let renderer = match color {
        Color::Never => Renderer::plain(),
        Color::Always => Renderer::styled(),
    };
    let mut out = renderer.render(&[group]);
    let _ = writeln!(out);
    out
}

/// What is shown of a text around a place: the line where it begins, of a very long one the part around it. It is
/// small, so that findings can outlive the text that they were made in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Excerpt {
    text: String,
    /// The place in `text`; never outside it, on which the renderer would panic.
    span: Span,
    cut: Cut,
}

/// Whether a line is shown from its beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cut {
    Nowhere,
    InFront,
}

impl Excerpt {
    /// Bytes of a line that are shown; JSON without line ends has lines of megabytes.
    const MOST: usize = 1000;
    /// Bytes of a longer one that are shown on either side of the place.
    const AROUND: usize = 200;

    /// The line of `text` on which `span` begins.
    #[must_use]
    pub fn of(text: &str, span: &Span) -> Self {
        let start = floor_boundary(text, span.start);
        let line_start = memchr::memrchr(b'\n', &text.as_bytes()[..start]).map_or(0, |at| at + 1);
        let line_end = memchr::memchr(b'\n', &text.as_bytes()[start..]).map_or(text.len(), |at| start + at);
        let line = text[line_start..line_end].trim_end_matches('\r');
        let from = (start - line_start).min(line.len());
        let to = floor_boundary(line, (span.end.max(start) - line_start).min(line.len())).max(from);
        if line.len() <= Self::MOST {
            return Excerpt { text: line.to_owned(), span: from..to, cut: Cut::Nowhere };
        }
        let first = floor_boundary(line, from.saturating_sub(Self::AROUND));
        let to = floor_boundary(line, to.min(from + Self::MOST));
        let last = floor_boundary(line, to + Self::AROUND);
        let cut = if first == 0 { Cut::Nowhere } else { Cut::InFront };
        Excerpt { text: line[first..last].to_owned(), span: from - first..to - first, cut }
    }
}

#[cfg(test)]
mod tests {
    use super::{Color, Excerpt, render};
    use crate::document::Source;

    #[test]
    fn of_a_very_long_line_the_part_around_the_place_is_shown_with_its_true_column() {
        let text = format!("first\n[{}, \"wrong\", {}]\n", "\"é\",".repeat(5_000), "0,".repeat(5_000));
        let at = text.find("wrong").unwrap();
        let diagnostic = Source::new("f.json", &text).error(at..at + 5, "no");
        let shown = render(&diagnostic, &text, Color::Never);
        assert!(shown.len() < 2_000, "{}", shown.len());
        assert!(shown.contains("--> f.json:2:20005\n") && shown.contains("\"wrong\","), "{shown}");
        assert_eq!(Excerpt::of(&text, &(at..at + 5)).span.len(), 5);
    }

    #[test]
    fn whatever_the_span_an_excerpt_lies_in_its_text() {
        let text = "aé\r\nb";
        for start in 0..9 {
            for end in 0..9 {
                let excerpt = Excerpt::of(text, &(start..end));
                assert!(excerpt.text.get(excerpt.span.clone()).is_some(), "{start}..{end}: {excerpt:?}");
            }
        }
    }
}
