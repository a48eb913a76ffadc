//! Diagnostics: what is wrong, where, and what to do, rendered as rustc does.

use std::fmt::Write as _;

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};

use super::Span;

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
    // Only the lines that are shown are handed over, so that a large file costs no more than a small one, and
    // the span is clamped to them: the renderer panics on a range outside its text.
    let window;
    let group = match &diagnostic.span {
        Some(span) if !text.is_empty() => {
            window = Window::around(text, span);
            let mut mark = AnnotationKind::Primary.span(window.span.clone());
            if let Some(label) = &diagnostic.label {
                mark = mark.label(label);
            }
            let snippet = Snippet::source(window.text).line_start(diagnostic.line.max(1)).path(&diagnostic.file);
            title.element(snippet.annotation(mark))
        }
        _ => title.element(annotate_snippets::Origin::path(&diagnostic.file)),
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

/// The lines of a text that a span touches (the first one only, where it touches many), and the span in them.
struct Window<'t> {
    text: &'t str,
    span: Span,
}

impl<'t> Window<'t> {
    fn around(text: &'t str, span: &Span) -> Self {
        let start = span.start.min(text.len());
        let line_start = text[..start].rfind('\n').map_or(0, |at| at + 1);
        let line_end = text[start..].find('\n').map_or(text.len(), |at| start + at);
        let line = text[line_start..line_end].trim_end_matches('\r');
        let from = (start - line_start).min(line.len());
        let to = (span.end.max(start) - line_start).min(line.len());
        Window { text: line, span: from..to }
    }
}
