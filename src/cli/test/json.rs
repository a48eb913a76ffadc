//! JSON for programs: the stable interface, its keys exactly as documented; fields are added, never renamed.

use std::io::{self, Write};

use serde::Serialize;

use super::coverage::permille;
use super::{Outcome, Report};
use crate::cli::report::json::{SCHEMA_VERSION, print};
use crate::document::Source;
use crate::policy::{Coverage, Difference, SeenFinding};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Output<'r> {
    schema_version: u32,
    summary: Summary,
    cases: Vec<CaseOutput<'r>>,
    /// Files and directories that could not be tested, or not in full.
    broken: &'r [String],
    /// Null where it was not asked for.
    coverage: Option<CoverageOutput<'r>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Summary {
    files: usize,
    cases: usize,
    passed: usize,
    failed: usize,
    left_out: usize,
    broken_files: usize,
}

#[derive(Serialize)]
struct CaseOutput<'r> {
    file: &'r str,
    name: &'r str,
    line: usize,
    column: usize,
    passed: bool,
    /// What was seen.
    decision: &'static str,
    ids: Vec<&'static str>,
    pinned: &'r [String],
    findings: Vec<FindingOutput<'r>>,
    differences: Vec<DifferenceOutput<'r>>,
}

#[derive(Serialize)]
struct FindingOutput<'r> {
    id: &'static str,
    check: &'static str,
    mode: &'static str,
    policy: &'r str,
    rule: Option<&'r str>,
    exception: Option<&'r str>,
    image: Option<&'r str>,
    message: &'r str,
}

#[derive(Serialize)]
struct DifferenceOutput<'r> {
    key: &'static str,
    expected: &'r str,
    seen: &'r str,
}

#[derive(Serialize)]
struct CoverageOutput<'r> {
    touched: usize,
    total: usize,
    /// Rounded down to a tenth.
    percent: f64,
    untouched: Vec<ItemOutput<'r>>,
}

#[derive(Serialize)]
struct ItemOutput<'r> {
    what: &'static str,
    name: &'r str,
    policy: &'r str,
    rule: Option<&'r str>,
    file: &'r str,
    line: usize,
    column: usize,
}

/// Writes the report.
pub(super) fn write(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    let summary = Summary {
        files: report.files.len(),
        cases: report.outcomes.len(),
        passed: report.passed(),
        failed: report.failed(),
        left_out: report.left_out,
        broken_files: report.broken.len(),
    };
    // One index of lines a file, not one a case.
    let sources: Vec<Source<'_>> = report.files.iter().map(|file| Source::new(&file.name, &file.text)).collect();
    let cases = report.outcomes.iter().map(|outcome| case(outcome, report, &sources)).collect();
    let coverage = report.coverage.as_ref().map(coverage);
    print(&Output { schema_version: SCHEMA_VERSION, summary, cases, broken: &report.broken, coverage }, out)
}

fn case<'r>(outcome: &'r Outcome, report: &'r Report, sources: &[Source<'_>]) -> CaseOutput<'r> {
    let file = &report.files[outcome.file];
    let seen = &outcome.seen;
    let (line, column) = sources[outcome.file].position(file.file.cases[outcome.case].expect.span.start);
    CaseOutput {
        file: &file.name,
        name: &outcome.name,
        line,
        column,
        passed: outcome.differences.is_empty(),
        decision: seen.decision().name(),
        ids: seen.ids().iter().map(|id| id.code()).collect(),
        pinned: &seen.pinned,
        findings: seen.findings.iter().map(finding).collect(),
        differences: outcome.differences.iter().map(difference).collect(),
    }
}

fn finding(finding: &SeenFinding) -> FindingOutput<'_> {
    FindingOutput {
        id: finding.id.code(),
        check: finding.check.name(),
        mode: finding.mode.name(),
        policy: &finding.policy,
        rule: finding.rule.as_deref(),
        exception: finding.exception.as_deref(),
        image: finding.image.as_deref(),
        message: &finding.message,
    }
}

fn difference(difference: &Difference) -> DifferenceOutput<'_> {
    DifferenceOutput { key: difference.key, expected: &difference.expected, seen: &difference.seen }
}

fn coverage(coverage: &Coverage) -> CoverageOutput<'_> {
    let untouched = coverage.items().filter(|(_, item)| !item.touched).map(|(file, item)| ItemOutput {
        what: item.what.name(),
        name: &item.shown,
        policy: &item.policy,
        rule: item.rule.as_deref(),
        file,
        line: item.line,
        column: item.column,
    });
    CoverageOutput {
        touched: coverage.touched(),
        total: coverage.total(),
        percent: permille(coverage) as f64 / 10.0,
        untouched: untouched.collect(),
    }
}
