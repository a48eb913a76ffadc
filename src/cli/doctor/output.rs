//! What doctor prints: a line a check, or several where something is wrong; or the same as JSON.

use std::io;

use serde::Serialize;

use super::causes::Level;
use super::checks::Outcome;
use super::observe::Release;
use crate::cli::Surroundings;
use crate::cli::report::json::{SCHEMA_VERSION, print};
use crate::cli::report::shown;
use crate::document::Color;

/// For people.
pub(super) fn plain(release: &Release, outcomes: &[Outcome], surroundings: &mut Surroundings<'_>) -> io::Result<()> {
    let out = &mut *surroundings.out;
    for line in outcomes.iter().flat_map(|outcome| lines(release, outcome)) {
        let word = painted(line.level, surroundings.color);
        writeln!(out, "{word} {}: {}", line.check, shown(&line.message))?;
        if let Some(remedy) = &line.remedy {
            writeln!(out, "         do: {remedy}")?;
        }
    }
    let tally = Tally::of(outcomes);
    writeln!(
        out,
        "release {} in namespace {}: {} checks, {} ok, {} with warnings, {} with problems, {} that could not be done",
        release.name,
        release.namespace,
        outcomes.len(),
        tally.ok,
        tally.warnings,
        tally.problems,
        tally.unknown
    )?;
    out.flush()
}

/// For programs.
pub(super) fn json(release: &Release, outcomes: &[Outcome], surroundings: &mut Surroundings<'_>) -> io::Result<()> {
    let output = Output {
        schema_version: SCHEMA_VERSION,
        release: ReleaseOutput { name: &release.name, namespace: &release.namespace },
        summary: Tally::of(outcomes),
        checks: outcomes.iter().flat_map(|outcome| lines(release, outcome)).collect(),
    };
    print(&output, surroundings.out)
}

fn painted(level: Level, color: Color) -> String {
    let word = format!("{:<8}", level.name());
    let code = match level {
        Level::Ok => 32,
        Level::Warning => 33,
        Level::Unknown => 35,
        Level::Problem => 31,
    };
    match color {
        Color::Always => format!("\u{1b}[1;{code}m{word}\u{1b}[0m"),
        Color::Never => word,
    }
}

/// The findings of a check, or that there is none.
fn lines<'o>(release: &Release, outcome: &'o Outcome) -> Vec<Line<'o>> {
    if outcome.findings.is_empty() {
        let message = outcome.seen.clone();
        return vec![Line { check: outcome.check, level: Level::Ok, code: None, message, remedy: None }];
    }
    let line = |finding: &'o super::checks::Finding| {
        let remedy = finding.cause.remedy.replace("{namespace}", &release.namespace).replace("{name}", &release.name);
        Line {
            check: outcome.check,
            level: finding.cause.level,
            code: Some(finding.cause.code),
            message: finding.message.clone(),
            remedy: Some(remedy),
        }
    };
    outcome.findings.iter().map(line).collect()
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Output<'o> {
    schema_version: u32,
    release: ReleaseOutput<'o>,
    summary: Tally,
    checks: Vec<Line<'o>>,
}

#[derive(Serialize)]
struct ReleaseOutput<'o> {
    name: &'o str,
    namespace: &'o str,
}

/// One line. Every key is always there.
#[derive(Serialize)]
struct Line<'o> {
    check: &'static str,
    level: Level,
    code: Option<&'o str>,
    message: String,
    remedy: Option<String>,
}

/// Checks by the gravest that was found.
#[derive(Default, Serialize)]
struct Tally {
    ok: usize,
    warnings: usize,
    problems: usize,
    unknown: usize,
}

impl Tally {
    fn of(outcomes: &[Outcome]) -> Self {
        let mut tally = Tally::default();
        for outcome in outcomes {
            match outcome.level() {
                Level::Ok => tally.ok += 1,
                Level::Warning => tally.warnings += 1,
                Level::Problem => tally.problems += 1,
                Level::Unknown => tally.unknown += 1,
            }
        }
        tally
    }
}
