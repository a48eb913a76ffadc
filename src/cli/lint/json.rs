//! What lint found as JSON for programs: its keys are stable; fields are added, never renamed.

use std::io::{self, Write};

use serde::Serialize;

use super::Findings;
use crate::cli::report::json::{SCHEMA_VERSION, print};
use crate::cli::report::problem::Region;
use crate::document::{Diagnostic, Severity};

/// What `lint --format json` prints.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct LintOutput<'f> {
    schema_version: u32,
    summary: SummaryOutput,
    diagnostics: Vec<DiagnosticOutput<'f>>,
}

#[derive(Serialize)]
struct SummaryOutput {
    files: usize,
    policies: usize,
    errors: usize,
    warnings: usize,
}

/// One diagnostic. Every key is always there.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DiagnosticOutput<'f> {
    /// `TW801`; none for errors.
    code: Option<&'f str>,
    severity: &'static str,
    message: &'f str,
    /// What stands beside the caret.
    label: Option<&'f str>,
    help: &'f [String],
    file: &'f str,
    /// None where the file as a whole is meant, as with the next three.
    line: Option<usize>,
    column: Option<usize>,
    end_line: Option<usize>,
    /// The column after the last character.
    end_column: Option<usize>,
}

/// Writes them.
pub(super) fn write(findings: &Findings, out: &mut dyn Write) -> io::Result<()> {
    let one = |diagnostic| output(diagnostic, findings.text_of(diagnostic));
    let output = LintOutput {
        schema_version: SCHEMA_VERSION,
        summary: SummaryOutput {
            files: findings.files.len(),
            policies: findings.policies,
            errors: findings.number(Severity::Error),
            warnings: findings.number(Severity::Warning),
        },
        diagnostics: findings.diagnostics.iter().map(one).collect(),
    };
    print(&output, out)
}

fn output<'f>(diagnostic: &'f Diagnostic, text: &str) -> DiagnosticOutput<'f> {
    let region = diagnostic.span.as_ref().map(|span| Region::of(text, span, diagnostic.line, diagnostic.column));
    DiagnosticOutput {
        code: diagnostic.code.as_deref(),
        severity: match diagnostic.severity {
            Severity::Note => "note",
            Severity::Warning => "warning",
            Severity::Error => "error",
        },
        message: &diagnostic.message,
        label: diagnostic.label.as_deref(),
        help: &diagnostic.help,
        file: &diagnostic.file,
        line: region.map(|region| region.line),
        column: region.map(|region| region.column),
        end_line: region.map(|region| region.end_line),
        end_column: region.map(|region| region.end_column),
    }
}
