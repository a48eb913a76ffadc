//! Text for people: a line a case, each failure as a compiler shows an error, what is not covered, and the counts.

use std::io::{self, Write};

use super::coverage::{Threshold, permille};
use super::failure::{self, escaped};
use super::{Report, TestArgs};
use crate::document::Color;
use crate::policy::{Coverage, Item, What};

/// Writes the report. Quiet, it says nothing of what passed, and nothing at all where everything did.
pub(super) fn write(report: &Report, args: &TestArgs, color: Color, out: &mut dyn Write) -> io::Result<()> {
    let (red, green, end) = match color {
        Color::Never => ("", "", ""),
        Color::Always => ("\u{1b}[1m\u{1b}[31m", "\u{1b}[32m", "\u{1b}[0m"),
    };
    if !args.quiet {
        for outcome in &report.outcomes {
            let mark = match outcome.differences.is_empty() {
                true => format!("{green}ok{end}    "),
                false => format!("{red}FAILED{end}"),
            };
            writeln!(out, "{mark}  {}", escaped(&report.title(outcome)))?;
        }
        writeln!(out)?;
    }
    for text in report.outcomes.iter().filter_map(|outcome| failure::text(report, outcome, color)) {
        writeln!(out, "{text}")?;
    }
    let missed = report.coverage.as_ref().zip(args.coverage_threshold).filter(|(all, least)| least.is_missed_by(all));
    let summed = !args.quiet || report.failed() > 0 || !report.broken.is_empty();
    if let Some(coverage) = report.coverage.as_ref().filter(|_| !args.quiet || args.coverage || missed.is_some()) {
        covered(coverage, missed.map(|(_, least)| least), out)?;
        if summed {
            writeln!(out)?;
        }
    }
    if summed {
        summary(report, out)?;
    }
    out.flush()
}

/// What no case touches, and how much that leaves.
fn covered(coverage: &Coverage, missed: Option<Threshold>, out: &mut dyn Write) -> io::Result<()> {
    for (file, item) in coverage.items().filter(|(_, item)| !item.touched) {
        writeln!(out, "not touched: {file}:{}:{}: {}", item.line, item.column, named(item))?;
    }
    let permille = permille(coverage);
    let below = missed.map_or_else(String::new, |threshold| format!(", less than {}", threshold.shown()));
    writeln!(
        out,
        "coverage: {} of {} touched, {}.{} %{below}",
        coverage.touched(),
        count(coverage.total(), "part"),
        permille / 10,
        permille % 10,
    )
}

/// `tag commit of rule first-party, policy acme-images`.
fn named(item: &Item) -> String {
    let shown = match item.what {
        // A rule without a name is already called `rule 2`.
        What::Rule if item.shown.starts_with("rule ") => item.shown.clone(),
        what => format!("{} {}", what.name(), escaped(&item.shown)),
    };
    let rule = match &item.rule {
        Some(rule) if item.what != What::Rule => match rule.starts_with("rule ") {
            true => format!(" of {rule}"),
            false => format!(" of rule {rule}"),
        },
        _ => String::new(),
    };
    format!("{shown}{rule}, policy {}", item.policy)
}

/// `12 cases, 11 passed, 1 failed`.
fn summary(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    let cases = count(report.outcomes.len(), "case");
    write!(out, "{cases}, {} passed, {} failed", report.passed(), report.failed())?;
    if report.left_out > 0 {
        write!(out, ", {} left out", report.left_out)?;
    }
    if !report.broken.is_empty() {
        write!(out, "; not tested, or not in full: {}, see the errors", count(report.broken.len(), "broken file"))?;
    }
    writeln!(out)
}

/// `1 file`, `2 files`.
fn count(number: usize, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}
