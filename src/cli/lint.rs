//! `tagwarden lint`: every error of policies, and what works in them but is probably not meant.

mod found;
mod json;

use std::collections::HashSet;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use super::engine::configuration;
use super::outputs::Outputs;
use super::report::count;
use super::report::{github, gitlab, sarif};
use super::{Exit, Surroundings, files};
use crate::config::Overrides;
use crate::document::{Color, Diagnostic, Severity, nearest, render};
use crate::policy::{LintCode, Settings, TrustedLabels, lint};
use crate::release::ReleaseFile;
use crate::watch::policy_files;

/// The arguments of `lint`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    tagwarden lint policies/starter\n  \
    tagwarden lint --fail-on warn policies/*/policy.yaml\n  \
    tagwarden lint --allow TW809 --format json policies/exceptions\n\n\
    All files together are one set, as the server loads it. Of a directory *.yaml, *.yml and *.json are read, not \
    searched further down; policy tests (*.test.yaml) and names that begin with a dot are left out.\n\n\
    What a code means, with an example and a remedy: docs/lint.md.\n\n\
    Exit codes: 0 no error (warnings only, or none); 1 warnings, with --fail-on warn; 2 an error in a policy, or a usage \
    or input error.")]
pub struct LintArgs {
    /// Policy files and directories of them; `-` is standard input
    #[arg(value_name = "PATH", required = true)]
    paths: Vec<PathBuf>,
    /// The server's configuration file: its settings decide here too
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    outputs: Outputs<LintFormat>,
    /// Leave a warning out, by its code; may be given several times
    #[arg(long, value_name = "CODE", value_parser = code)]
    allow: Vec<LintCode>,
    /// Exit 1 for warnings
    #[arg(long, value_enum, value_name = "SEVERITY", conflicts_with = "exit_zero")]
    fail_on: Option<FailOn>,
    /// Exit 0 whatever was found in policies, for CI systems that judge the report (input errors still exit 2)
    #[arg(long)]
    exit_zero: bool,
}

/// The formats of `lint`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum LintFormat {
    /// For people
    #[default]
    Plain,
    /// For programs
    Json,
    /// SARIF 2.1.0, for code scanning and editors
    Sarif,
    /// JUnit XML, for what shows test results
    Junit,
    /// Workflow commands of GitHub Actions: annotations on the lines of a pull request
    Github,
    /// A Code Quality report of GitLab
    Gitlab,
}

/// The weakest diagnostics that fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum FailOn {
    /// Warnings
    Warn,
}

/// Reads `--allow`.
fn code(typed: &str) -> Result<LintCode, String> {
    if let Some(known) = LintCode::ALL.into_iter().find(|known| known.code() == typed) {
        return Ok(known);
    }
    let codes = LintCode::ALL.map(LintCode::code);
    Err(match nearest(typed, &codes) {
        Some(near) => format!("there is no such code; did you mean '{near}'?"),
        None => format!("there is no such code; lint gives {} to {}", codes[0], codes[codes.len() - 1]),
    })
}

/// What was read and what was found in it.
struct Findings {
    /// Name and text of each file.
    files: Vec<(String, String)>,
    policies: usize,
    /// Errors first.
    diagnostics: Vec<Diagnostic>,
    /// Whether warnings fail.
    fail_on: Option<FailOn>,
    /// How many of them say that something could not be read: the first.
    unread: usize,
}

impl Findings {
    fn number(&self, severity: Severity) -> usize {
        self.diagnostics.iter().filter(|diagnostic| diagnostic.severity == severity).count()
    }

    fn text_of(&self, diagnostic: &Diagnostic) -> &str {
        self.files.iter().find(|(name, _)| *name == diagnostic.file).map_or("", |(_, text)| text)
    }
}

pub(super) fn run(args: &LintArgs, surroundings: &mut Surroundings<'_>) -> anyhow::Result<Exit> {
    let Some(settings) = settings(args.config.as_deref(), surroundings) else { return Ok(Exit::Error) };
    let (files, mut diagnostics) = read(&args.paths, surroundings);
    let unread = diagnostics.len();
    let mut policies = 0;
    // Where nothing could be read, that there is no policy would be said of no file.
    if !files.is_empty() || unread == 0 {
        let linted = lint(&files, &settings, surroundings.now);
        policies = linted.policies;
        diagnostics.extend(linted.diagnostics);
    }
    let allowed: Vec<&str> = args.allow.iter().map(|code| code.code()).collect();
    diagnostics.retain(|found| !found.code.as_deref().is_some_and(|code| allowed.contains(&code)));
    diagnostics.sort_by_key(|found| found.severity != Severity::Error);
    let findings = Findings { files, policies, diagnostics, fail_on: args.fail_on, unread };
    let verdict = exit(args, &findings);
    args.outputs.write(verdict, surroundings, |format, screen, out| match format {
        LintFormat::Plain => plain(&findings, screen.color, out),
        LintFormat::Json => json::write(&findings, out),
        LintFormat::Sarif => sarif::write(&found::run(&findings), out),
        LintFormat::Junit => found::junit(&findings, out),
        LintFormat::Github => github::write(&found::run(&findings), &summary(&findings), out),
        LintFormat::Gitlab => gitlab::write(&found::run(&findings), out),
    })
}

/// The settings that policies are compiled under. None, after what is wrong with them was written to standard error.
fn settings(file: Option<&Path>, surroundings: &mut Surroundings<'_>) -> Option<Settings> {
    let settings = configuration(file, &Overrides::default(), surroundings)?.settings;
    Some(if file.is_some() { settings } else { Settings { trusted_labels: TrustedLabels::All, ..settings } })
}

/// Reads all files, each once, and notes what cannot be read.
fn read(paths: &[PathBuf], surroundings: &mut Surroundings<'_>) -> (Vec<(String, String)>, Vec<Diagnostic>) {
    let (mut texts, mut problems) = (Vec::new(), Vec::new());
    let mut seen = HashSet::new();
    for path in paths {
        if path.as_os_str() == "-" {
            match files::read_text(files::STDIN, &mut *surroundings.input) {
                Ok(text) => sort(files::STDIN.to_owned(), text, &mut texts, &mut problems),
                Err(problem) => problems.push(*problem),
            }
            continue;
        }
        for file in files_of(path, &mut problems) {
            // A file that is named and in a directory that is named holds one policy, not two of one name.
            if fs::canonicalize(&file).is_ok_and(|real| !seen.insert(real)) {
                continue;
            }
            match files::read_file(&file) {
                Ok(text) => sort(files::shown(&file), text, &mut texts, &mut problems),
                Err(problem) => problems.push(*problem),
            }
        }
    }
    (texts, problems)
}

/// Puts a file among the texts, or where it is a release file among the problems: no line of it is right in a policy.
fn sort(name: String, text: String, texts: &mut Vec<(String, String)>, problems: &mut Vec<Diagnostic>) {
    if text.contains("release") && ReleaseFile::read(&name, &text).is_ok() {
        let release = Diagnostic::of_file(&name, "this is a release file, and not a policy");
        return problems
            .push(release.help("`tagwarden release show` reads it, and `tagwarden release lock --check` checks it"));
    }
    texts.push((name, text));
}

/// The file itself, or those of a directory.
fn files_of(path: &Path, problems: &mut Vec<Diagnostic>) -> Vec<PathBuf> {
    if !path.is_dir() {
        return vec![path.to_owned()];
    }
    let shown = files::shown(path);
    match policy_files(path) {
        Ok(files) if files.is_empty() => {
            let nothing = Diagnostic::of_file(&shown, "there is no policy file in this directory");
            problems
                .push(nothing.help("policies end in .yaml, .yml or .json; directories are not searched further down"));
            files
        }
        Ok(files) => files,
        Err(error) => {
            problems.push(Diagnostic::of_file(&shown, error));
            Vec::new()
        }
    }
}

/// 2 for errors, else 1 for warnings where they fail.
fn exit(args: &LintArgs, findings: &Findings) -> Exit {
    let errors = findings.number(Severity::Error) > 0;
    let warnings = findings.number(Severity::Warning) > 0 && args.fail_on == Some(FailOn::Warn);
    match errors {
        true => Exit::Error,
        false if warnings && !args.exit_zero => Exit::Violation,
        false => Exit::Clean,
    }
}

/// Each diagnostic as rustc shows one, then a line that sums up.
fn plain(findings: &Findings, color: Color, out: &mut dyn Write) -> io::Result<()> {
    for diagnostic in &findings.diagnostics {
        writeln!(out, "{}", render(diagnostic, findings.text_of(diagnostic), color))?;
    }
    writeln!(out, "{}", summary(findings))?;
    out.flush()
}

/// `linted 3 files, 5 policies: 0 errors, 2 warnings`.
fn summary(findings: &Findings) -> String {
    let (errors, warnings) = (findings.number(Severity::Error), findings.number(Severity::Warning));
    let policies =
        if findings.policies == 1 { "1 policy".to_owned() } else { format!("{} policies", findings.policies) };
    let (files, errors, warnings) =
        (count(findings.files.len(), "file"), count(errors, "error"), count(warnings, "warning"));
    format!("linted {files}, {policies}: {errors}, {warnings}")
}
