//! Workflow commands of GitHub Actions
//! (<https://docs.github.com/en/actions/reference/workflow-commands-for-github-actions>): annotations on the lines of a
//! pull request.
//!
//! A step can have ten annotations of each level, and what comes after them is lost without a word. So the eleventh and
//! later ones are written as lines of the log, and their number is said.

use std::io::{self, Write};

use super::problem::{Problem, Run};
use super::shown;
use crate::policy::Level;

/// Annotations of one level that a step can have.
const LIMIT: usize = 10;

/// Writes the annotations, the rest as lines of the log, and a summary at the end.
pub(in crate::cli) fn write(run: &Run, summary: &str, out: &mut dyn Write) -> io::Result<()> {
    let mut given = [0; 3];
    let mut rest = Vec::new();
    // What could not be looked at comes first: nothing else is known of it.
    for problem in run.failures.iter().chain(&run.problems) {
        let given = &mut given[problem.level as usize];
        *given += 1;
        match *given > LIMIT {
            true => rest.push(problem),
            false => writeln!(out, "{}", command(problem))?,
        }
    }
    for problem in &rest {
        writeln!(out, "{}", quiet(&line(problem)))?;
    }
    if !rest.is_empty() {
        writeln!(out, "{} more, in the lines above: a step has at most {LIMIT} annotations of each level", rest.len())?;
    }
    for line in summary.lines() {
        writeln!(out, "{}", quiet(line))?;
    }
    out.flush()
}

fn command(problem: &Problem) -> String {
    let name = match problem.level {
        Level::Error => "error",
        Level::Warning => "warning",
        Level::Note => "notice",
    };
    let mut properties = Vec::new();
    if let Some(site) = &problem.site {
        properties.push(format!("file={}", property(&site.file)));
        if let Some(region) = site.region {
            properties.push(format!("line={},endLine={}", region.line, region.end_line));
            // Columns that span lines are refused.
            if region.line == region.end_line {
                properties.push(format!("col={},endColumn={}", region.column, region.end_column));
            }
        }
    }
    properties.push(format!("title={}", property(&format!("{} {}", problem.id, problem.title))));
    // Where there is no file, the object is the place.
    let object = problem.object.as_deref().filter(|_| problem.site.is_none());
    let lines = std::iter::once(problem.message.as_str()).chain(object).chain(problem.details());
    let message = lines.map(data).collect::<Vec<_>>().join("%0A");
    format!("::{name} {}::{message}", properties.join(","))
}

/// A message: what would end the line, and what begins an escape.
fn data(text: &str) -> String {
    shown(text).replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// A property's value: also what would end it.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

/// A problem as a line of the log.
fn line(problem: &Problem) -> String {
    let site = problem.site.as_ref().map_or_else(String::new, |site| match site.region {
        Some(region) => format!(" {}:{}:{}", site.file, region.line, region.column),
        None => format!(" {}", site.file),
    });
    format!("{}[{}]{site}: {}", problem.level.name(), problem.id, problem.message)
}

/// Text of several lines for the log of whatever runs us: the source lines in it are somebody else's.
pub(in crate::cli) fn quieted(text: &str) -> std::borrow::Cow<'_, str> {
    if text.contains("##[") { text.replace("##[", "## [").into() } else { text.into() }
}

/// A line for the log. The runner obeys commands of its older form, `##[...]`, anywhere in a line.
fn quiet(line: &str) -> String {
    shown(line).replace("##[", "## [")
}
