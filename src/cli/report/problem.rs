//! What is wrong and where, in the neutral form that the formats of code hosts (SARIF, GitHub, GitLab) are written from,
//! whichever verb found it.

use std::borrow::Cow;
use std::collections::HashMap;

use sha2::{Digest as _, Sha256};

use crate::document::{Diagnostic, Severity, Span};
use crate::policy::Level;

/// One thing that is wrong. Its texts may hold what a manifest's author wrote: a format escapes them as it needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) struct Problem {
    /// The rule that it breaks: the id of one of the [`Rule`]s (`TW120`).
    pub id: Cow<'static, str>,
    /// What that rule says, in a few words.
    pub title: Cow<'static, str>,
    /// How loud it is.
    pub level: Level,
    /// What is wrong, one sentence.
    pub message: String,
    /// What to do and whom to ask, a line each.
    pub help: Vec<String>,
    /// Where it stands; none: nowhere in a file.
    pub site: Option<Site>,
    /// The object that it is found in, `Deployment shop/checkout`.
    pub object: Option<String>,
    /// What makes it the same problem when lines move: names, no line numbers. File and id belong to it anyway.
    pub identity: Vec<String>,
    /// Why it is let through although it is one: the exception.
    pub suppressed: Option<String>,
}

/// A place in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) struct Site {
    /// The file's name as shown; a path relative to the working directory where it is below it.
    pub file: String,
    /// Where in it; none: the file as a whole.
    pub region: Option<Region>,
}

/// Lines and columns, from 1; columns in characters. The end is the place after the last character.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli) struct Region {
    /// The first line.
    pub line: usize,
    /// The first column in it.
    pub column: usize,
    /// The last line.
    pub end_line: usize,
    /// The column after the last one in it.
    pub end_column: usize,
}

impl Region {
    /// From a place whose line and column are known to the end of a span of the text that begins there.
    pub fn of(text: &str, span: &Span, line: usize, column: usize) -> Self {
        let marked = text.get(span.clone()).unwrap_or_default();
        // A span that takes the line's break with it ends where the line does.
        let marked = marked.trim_end_matches(['\r', '\n']);
        let breaks = marked.matches('\n').count();
        let last = marked.rsplit('\n').next().unwrap_or_default().chars().count();
        let end_column = if breaks == 0 { column + last } else { last + 1 };
        Region { line, column, end_line: line + breaks, end_column }
    }
}

/// A kind of problem: what a code host shows of it once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) struct Rule {
    /// `TW120`.
    pub id: &'static str,
    /// What it says, in a few words.
    pub title: &'static str,
    /// What to do, in a sentence or two.
    pub help: &'static str,
    /// Where that is written at length.
    pub uri: String,
}

impl Problem {
    /// A diagnostic of a file (`text` is all of it) as a problem; without a code of its own it takes `id`.
    pub fn of(diagnostic: &Diagnostic, text: &str, id: &'static str, title: &'static str) -> Self {
        let region = |span| Region::of(text, span, diagnostic.line, diagnostic.column);
        Problem {
            id: diagnostic.code.clone().map_or(Cow::Borrowed(id), Cow::Owned),
            title: Cow::Borrowed(title),
            level: match diagnostic.severity {
                Severity::Note => Level::Note,
                Severity::Warning => Level::Warning,
                Severity::Error => Level::Error,
            },
            message: diagnostic.message.clone(),
            help: diagnostic.help.clone(),
            site: Some(Site { file: diagnostic.file.clone(), region: diagnostic.span.as_ref().map(region) }),
            object: None,
            identity: vec![diagnostic.message.clone()],
            suppressed: None,
        }
    }
}

/// A fingerprint for each problem: 64 hex digits, the same when lines move, no two equal. Where several problems have one
/// identity, they are told apart by their order.
pub(in crate::cli) fn fingerprints(problems: &[Problem]) -> Vec<String> {
    let mut seen: HashMap<Vec<&str>, usize> = HashMap::new();
    let print = |problem| {
        let parts = parts(problem);
        let mut hash = Sha256::new();
        for part in &parts {
            hash.update(part.len().to_le_bytes());
            hash.update(part);
        }
        let occurrence = seen.entry(parts).or_default();
        hash.update(occurrence.to_le_bytes());
        *occurrence += 1;
        hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    };
    problems.iter().map(print).collect()
}

/// All that a problem is known by.
fn parts(problem: &Problem) -> Vec<&str> {
    let file = problem.site.as_ref().map_or("", |site| &site.file);
    let identity = problem.identity.iter().map(String::as_str);
    [problem.id.as_ref(), file].into_iter().chain(identity).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(file: &str, line: usize, identity: &[&str]) -> Problem {
        Problem {
            id: "TW120".into(),
            title: "".into(),
            level: Level::Error,
            message: "m".into(),
            help: Vec::new(),
            site: Some(Site {
                file: file.into(),
                region: Some(Region { line, column: 1, end_line: line, end_column: 2 }),
            }),
            object: None,
            identity: identity.iter().map(|&part| part.into()).collect(),
            suppressed: None,
        }
    }

    #[test]
    fn fingerprints_stay_when_lines_move_and_are_never_equal() {
        let one = fingerprints(&[problem("a", 1, &["x", "y"])]);
        assert_eq!(one, fingerprints(&[problem("a", 9, &["x", "y"])]));
        assert_eq!(one[0].len(), 64);
        let others = [problem("b", 1, &["x", "y"]), problem("a", 1, &["xy", ""]), problem("a", 1, &["x"])];
        let same = [problem("a", 1, &["x", "y"]), problem("a", 2, &["x", "y"])];
        let all: Vec<_> = same.into_iter().chain(others).collect();
        let prints = fingerprints(&all);
        assert_eq!(prints[0], one[0]);
        assert_eq!(prints.iter().collect::<std::collections::HashSet<_>>().len(), all.len());
    }

    #[test]
    fn a_region_ends_after_its_last_character() {
        let region = |text: &str, span: Span, line, column| {
            let region = Region::of(text, &span, line, column);
            (region.line, region.column, region.end_line, region.end_column)
        };
        assert_eq!(region("a: é b", 3..5, 1, 4), (1, 4, 1, 5));
        assert_eq!(region("a: |\n  bc\n  d\n", 3..14, 1, 4), (1, 4, 3, 4));
        assert_eq!(region("a", 0..99, 1, 1), (1, 1, 1, 1), "a span outside the text is empty");
    }
}
