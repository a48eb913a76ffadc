//! From what lint found to the neutral forms that its formats for other programs are written from.

use std::env;
use std::io::{self, Write};
use std::path::Path;

use quick_junit::{NonSuccessKind, TestCase, TestCaseStatus, TestSuite};

use super::{FailOn, Findings};
use crate::cli::report::found::relative;
use crate::cli::report::problem::{Problem, Rule, Run, Site};
use crate::cli::report::{junit as report, shown};
use crate::document::{Diagnostic, Severity};
use crate::policy::LintCode;

/// Where codes are described; the part after `#` is the code.
const LINT_URI: &str = "https://tagwarden.dev/lint";
/// What an error of a policy is called, which has no code.
const INVALID: &str = "invalid-policy";
const INVALID_TITLE: &str = "an error in a policy";
/// What a file that could not be read is called.
const BROKEN: &str = "broken-input";
const BROKEN_TITLE: &str = "an input that could not be read";

/// Everything that was found.
pub(super) fn run(findings: &Findings) -> Run {
    let here = env::current_dir().ok();
    let (unread, found) = findings.diagnostics.split_at(findings.unread.min(findings.diagnostics.len()));
    let problem = |diagnostic: &Diagnostic| {
        let title = title(diagnostic);
        let problem = Problem::of(diagnostic, findings.text_of(diagnostic), INVALID, title);
        placed(Problem { about: diagnostic.label.clone(), ..problem }, here.as_deref())
    };
    let failure = |diagnostic| placed(Problem::of(diagnostic, "", BROKEN, BROKEN_TITLE), here.as_deref());
    let invalid = Rule {
        id: INVALID,
        title: INVALID_TITLE,
        help: "correct it; nothing of a set with an error is loaded",
        uri: LINT_URI.to_owned(),
    };
    let rule = |code: LintCode| Rule {
        id: code.code(),
        title: code.title(),
        help: code.remedy(),
        uri: format!("{LINT_URI}#{}", code.code()),
    };
    Run {
        verb: "lint",
        rules: LintCode::ALL.into_iter().map(rule).chain([invalid]).collect(),
        problems: found.iter().map(problem).collect(),
        failures: unread.iter().map(failure).collect(),
    }
}

fn title(diagnostic: &Diagnostic) -> &'static str {
    let code = LintCode::ALL.into_iter().find(|code| diagnostic.code.as_deref() == Some(code.code()));
    code.map_or(INVALID_TITLE, LintCode::title)
}

/// The problem with its file as code hosts know it.
fn placed(problem: Problem, here: Option<&Path>) -> Problem {
    let site = problem.site.map(|site| Site { file: relative(&site.file, here), ..site });
    Problem { site, ..problem }
}

/// Writes a test suite for each file, with a case for each thing found; what only warns stands in its output, unless
/// warnings fail.
pub(super) fn junit(findings: &Findings, out: &mut dyn Write) -> io::Result<()> {
    let mut names: Vec<&str> = findings.files.iter().map(|(name, _)| name.as_str()).collect();
    let unread = findings.diagnostics.iter().take(findings.unread).map(|diagnostic| diagnostic.file.as_str());
    names.extend(unread);
    names.dedup();
    let suites = names.into_iter().map(|name| {
        let mut suite = TestSuite::new(name);
        let cases: Vec<TestCase> =
            findings.diagnostics.iter().filter(|found| found.file == name).map(|found| case(found, findings)).collect();
        if cases.is_empty() {
            suite.add_test_case(TestCase::new("nothing was found", TestCaseStatus::success()));
        }
        suite.add_test_cases(cases);
        suite
    });
    report::write("tagwarden lint", suites.collect(), out)
}

fn case(diagnostic: &Diagnostic, findings: &Findings) -> TestCase {
    let fails = match diagnostic.severity {
        Severity::Error => true,
        Severity::Warning => findings.fail_on == Some(FailOn::Warn),
        Severity::Note => false,
    };
    let code = diagnostic.code.as_deref().unwrap_or(INVALID);
    let message = shown(&diagnostic.message);
    let text = shown(&diagnostic.to_string()).into_owned();
    let status = match fails {
        true => {
            let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
            status.set_type(code).set_message(message.as_ref()).set_description(text.as_str());
            status
        }
        false => TestCaseStatus::success(),
    };
    let mut case = TestCase::new(format!("{code}, line {}: {message}", diagnostic.line), status);
    if !fails {
        case.set_system_out(text);
    }
    case
}
