//! A Code Quality report of GitLab: a JSON array of what its documentation calls violations
//! (<https://docs.gitlab.com/ci/testing/code_quality/#code-quality-report-format>).

use std::io::{self, Write};

use serde::Serialize;

use super::json::print;
use super::problem::{Problem, Run, fingerprints};
use crate::policy::Level;

#[derive(Serialize)]
struct Violation<'r> {
    description: String,
    check_name: &'r str,
    fingerprint: String,
    severity: &'static str,
    location: Location<'r>,
}

#[derive(Serialize)]
struct Location<'r> {
    path: &'r str,
    lines: Lines,
}

#[derive(Serialize)]
struct Lines {
    begin: usize,
    end: usize,
}

/// Writes the report; what could not be looked at stands in it, too.
pub(in crate::cli) fn write(run: &Run, out: &mut dyn Write) -> io::Result<()> {
    let found = run.problems.iter().zip(fingerprints(&run.problems)).map(|(problem, print)| {
        let severity = match problem.level {
            _ if problem.suppressed.is_some() => "info",
            Level::Error => "critical",
            Level::Warning => "minor",
            Level::Note => "info",
        };
        violation(problem, print, severity)
    });
    let failures = run.failures.iter().zip(fingerprints(&run.failures));
    let failures = failures.map(|(problem, print)| violation(problem, print, "blocker"));
    let violations: Vec<_> = found.chain(failures).collect();
    print(&violations, out)
}

fn violation<'r>(problem: &'r Problem, fingerprint: String, severity: &'static str) -> Violation<'r> {
    let about = [problem.about.as_deref(), problem.object.as_deref()];
    let about: Vec<_> = about.into_iter().flatten().collect();
    let about = if about.is_empty() { String::new() } else { format!(" ({})", about.join(", ")) };
    let site = problem.site.as_ref();
    let region = site.and_then(|site| site.region);
    Violation {
        description: format!("{}: {}{about}", problem.id, problem.message),
        check_name: &problem.id,
        fingerprint,
        severity,
        location: Location {
            path: site.map_or("", |site| &site.file),
            // A line has to be given; that of a file as a whole is its first.
            lines: Lines {
                begin: region.map_or(1, |region| region.line),
                end: region.map_or(1, |region| region.end_line),
            },
        },
    }
}
