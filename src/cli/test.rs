//! `tagwarden test`: the tests beside policies, offline and at a fixed time, by the same functions as in admission.

mod coverage;
mod failure;
mod json;
mod junit;
mod load;
mod manifest;
mod plain;
mod run;

use std::collections::HashSet;
use std::fs;
use std::path::PathBuf;

use anyhow::bail;
use clap::{Args, ValueEnum};

use super::files::{self, Found};
use super::outputs::Outputs;
use super::{Exit, Surroundings};
use crate::document::Diagnostic;
use crate::policy::{Coverage, Difference, Seen};
use crate::watch::is_test_file;
use coverage::Threshold;
use load::{Loaded, Loader};

/// The arguments of `test`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    tagwarden test policies/\n  \
    tagwarden test --filter latest policies/starter/policy.test.yaml\n  \
    tagwarden test --coverage-threshold 100 policies/\n  \
    tagwarden test --format junit policies/ > tests.xml\n\n\
    Directories are searched for *.test.yaml, *.test.yml and *.test.json, names that begin with a dot left out. A file \
    of tests names its policies, the time, what registries would say, and cases: an image or a manifest, and what must \
    become of it. Nothing is asked of any network. The file's format: tagwarden schema test.\n\n\
    Exit codes: 0 every case passed; 1 a case failed, or the coverage is below the threshold; 2 usage, or a file that \
    cannot be read, understood or compiled (the others are still tested). Where several hold: 2, 1.")]
pub struct TestArgs {
    /// Files of tests, and directories that have some below them
    #[arg(value_name = "PATH", required = true)]
    paths: Vec<PathBuf>,
    /// Run only cases that have this text in `FILE: NAME`
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
    /// Print failures alone
    #[arg(short, long)]
    quiet: bool,
    /// Tell which rules, tag entries, classes, overrides and exceptions no case touches
    #[arg(long, conflicts_with = "filter")]
    coverage: bool,
    /// The same, and exit 1 where less than this percentage is touched
    #[arg(long, value_name = "PERCENT", conflicts_with = "filter")]
    coverage_threshold: Option<Threshold>,
    #[command(flatten)]
    outputs: Outputs<Format>,
}

/// The output formats of `test`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    #[default]
    Plain,
    /// For programs
    Json,
    /// For CI: JUnit's XML
    Junit,
}

/// Everything that was tested.
#[derive(Debug, Default)]
struct Report {
    /// Files whose cases were run.
    files: Vec<Loaded>,
    /// The cases, in the order of the files and of their places.
    outcomes: Vec<Outcome>,
    /// Cases that the filter left out.
    left_out: usize,
    /// Files and directories that could not be tested, or not in full.
    broken: Vec<String>,
    /// What the cases touched, where that was asked for.
    coverage: Option<Coverage>,
}

/// What became of one case.
#[derive(Debug)]
struct Outcome {
    /// Its file, in [`Report::files`].
    file: usize,
    /// Its place among the file's cases.
    case: usize,
    /// What it is called.
    name: String,
    /// What was seen.
    seen: Seen,
    /// Where that differs from what is expected; empty: it passed.
    differences: Vec<Difference>,
}

impl Report {
    fn failed(&self) -> usize {
        self.outcomes.iter().filter(|outcome| !outcome.differences.is_empty()).count()
    }

    fn passed(&self) -> usize {
        self.outcomes.len() - self.failed()
    }

    /// `FILE: NAME`, as the filter sees it and as lines show it.
    fn title(&self, outcome: &Outcome) -> String {
        format!("{}: {}", self.files[outcome.file].name, outcome.name)
    }
}

/// Runs every case there is, then prints; a broken file does not keep the others from being tested.
pub(super) fn run(args: &TestArgs, surroundings: &mut Surroundings<'_>) -> anyhow::Result<Exit> {
    let wants_coverage = args.coverage || args.coverage_threshold.is_some();
    let mut report = Report { coverage: wants_coverage.then(Coverage::default), ..Report::default() };
    let mut loader = Loader::default();
    for path in test_files(&args.paths, &mut report, surroundings) {
        match loader.load(&path, surroundings) {
            Some(loaded) => run::file(loaded, args.filter.as_deref(), &mut report, surroundings),
            None => report.broken.push(files::shown(&path)),
        }
    }
    if let Some(filter) = &args.filter
        && report.outcomes.is_empty()
        && report.broken.is_empty()
    {
        bail!(
            "no case has '{}' in 'FILE: NAME': run without --filter to see their names",
            files::shown(filter.as_ref())
        );
    }
    let failed = if report.failed() > 0 { Exit::Violation } else { Exit::Clean };
    let covered = coverage::verdict(report.coverage.as_ref(), args.coverage_threshold);
    let broken = if !report.broken.is_empty() { Exit::Error } else { Exit::Clean };
    args.outputs.write(failed.and(covered).and(broken), surroundings, |format, screen, out| match format {
        Format::Plain => plain::write(&report, args, screen.color, out),
        Format::Json => json::write(&report, out),
        Format::Junit => junit::write(&report, out),
    })
}

/// The files of tests that the paths stand for, each once.
fn test_files(paths: &[PathBuf], report: &mut Report, surroundings: &mut Surroundings<'_>) -> Vec<PathBuf> {
    let mut tests = Vec::new();
    let mut problems = Vec::new();
    for path in paths {
        if path.as_os_str() == "-" {
            let message = "tests are not read from standard input: their paths are relative to their file";
            problems.push(Diagnostic::of_file(files::STDIN, message).help("name the file"));
        } else if path.is_dir() {
            let before = (tests.len(), problems.len());
            for found in files::below(path) {
                match found {
                    Found::File(file) if is_test_file(&file) => tests.push(file),
                    Found::Problem(problem) => problems.push(problem),
                    Found::File(_) | Found::Stdin => {}
                }
            }
            if (tests.len(), problems.len()) == before {
                let nothing = Diagnostic::of_file(&files::shown(path), "there is no file of tests in this directory");
                problems.push(nothing.help("they are called NAME.test.yaml; `tagwarden init` writes one"));
            }
        } else {
            tests.push(path.clone());
        }
    }
    report.broken.extend(problems.iter().map(|problem| problem.file.clone()));
    files::complain(&problems, "", surroundings);
    let mut seen = HashSet::new();
    tests.retain(|file| fs::canonicalize(file).map_or(true, |real| seen.insert(real)));
    tests
}
