//! JUnit's XML: a suite a file, a test case a case.

use std::io::{self, Write};

use quick_junit::{NonSuccessKind, TestCase, TestCaseStatus, TestSuite};

use super::failure;
use super::{Outcome, Report};
use crate::cli::report::junit;
use crate::document::Color;

/// Writes the report.
pub(super) fn write(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    let mut suites = Vec::new();
    for (index, file) in report.files.iter().enumerate() {
        let mut suite = TestSuite::new(&file.name);
        let own = report.outcomes.iter().filter(|outcome| outcome.file == index);
        suite.add_test_cases(own.map(|outcome| case(report, outcome)));
        suites.push(suite);
    }
    // Whoever reads this report alone must not take a file that was never tested for one that passed.
    for file in &report.broken {
        let mut error = TestCaseStatus::non_success(NonSuccessKind::Error);
        error.set_message("not tested, or not in full: see standard error").set_type("broken");
        let mut case = TestCase::new("the file can be tested", error);
        case.set_classname(file);
        let mut suite = TestSuite::new(file);
        suite.add_test_case(case);
        suites.push(suite);
    }
    junit::write("tagwarden test", suites, out)
}

fn case(report: &Report, outcome: &Outcome) -> TestCase {
    let loaded = &report.files[outcome.file];
    let status = match failure::diagnostic(loaded, outcome) {
        None => TestCaseStatus::success(),
        Some(diagnostic) => {
            let mut failed = TestCaseStatus::non_success(NonSuccessKind::Failure);
            failed.set_message(&diagnostic.message).set_type("verdict");
            failed.set_description(failure::text(report, outcome, Color::Never).unwrap_or_default());
            failed
        }
    };
    let mut case = TestCase::new(&outcome.name, status);
    case.set_classname(&loaded.name);
    case
}
