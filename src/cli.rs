//! The command line: one file a verb, one file an output format, one table of exit codes.
//!
//! Nothing here touches the standard streams: what a verb reads and writes is handed in as [`Surroundings`], so that
//! tests can look at it and a closed pipe is an error like any other.

mod check;
mod completions;
mod demo;
mod doctor;
mod engine;
mod explain;
mod facts;
mod files;
mod git;
mod hook;
mod init;
mod labels;
mod lint;
mod live;
mod man;
mod objects;
mod outputs;
mod path_pattern;
mod pin;
mod registries;
mod release;
mod releases;
mod report;
mod resolve;
mod schema;
mod serve;
mod store;
mod test;
mod values_file;

use std::ffi::OsStr;
use std::io::{self, Read, Write};
use std::path::Path;
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};

pub use check::CheckArgs;
pub use completions::CompletionsArgs;
pub use demo::DemoArgs;
pub use demo::registry::{ExampleImage, ExampleRegistry};
pub use doctor::{Cause, DoctorArgs, causes};
pub use explain::ExplainArgs;
pub use hook::HookArgs;
pub use init::InitArgs;
pub use labels::LabelsArgs;
pub use lint::LintArgs;
pub use man::ManArgs;
pub use pin::PinArgs;
pub use release::ReleaseArgs;
pub use resolve::ResolveArgs;
pub use schema::SchemaArgs;
pub use serve::ServeArgs;
pub use test::TestArgs;

use crate::document::Color;
use crate::policy::Seconds;

/// A Kubernetes admission webhook that enforces image-tag policy, and the same judgement on the command line.
#[derive(Debug, Parser)]
#[command(
    name = "tagwarden",
    version,
    disable_help_subcommand = true,
    after_help = "Exit codes: 0 clean; 1 an enforced violation; 2 usage, configuration, policy or input error; \
                  3 could not decide (a registry gave no answer); 4 drift (a lock is stale, a tag moved). \
                  Where several hold: 2, then 1, then 4, then 3.\n\n\
                  Start with:\n  tagwarden demo\n  tagwarden init\n  tagwarden explain --offline nginx:latest\n  \
                  tagwarden check --policies policies/starter deploy/"
)]
pub struct Cli {
    /// When to colour the output; without it NO_COLOR, FORCE_COLOR, CLICOLOR_FORCE and the terminal decide
    #[arg(long, global = true, value_enum, value_name = "WHEN", default_value_t)]
    pub color: ColorChoice,
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Run the admission server
    Serve(ServeArgs),
    /// Judge manifests: files, directories, or `-` for standard input
    Check(CheckArgs),
    /// Show every step from an image reference to its verdict
    Explain(ExplainArgs),
    /// Find errors in policies, and what works in them but is probably not meant
    Lint(LintArgs),
    /// Run the tests beside policies, offline
    Test(TestArgs),
    /// Write a commented starter policy, its test, and their schemas for the editor
    Init(InitArgs),
    /// Rewrite manifests, values, Compose files and Dockerfiles to `tag@digest`, keeping comments and layout
    Pin(PinArgs),
    /// Work with releases: what a system consists of, each image at one version, and what of it ran where
    Release(ReleaseArgs),
    /// Ask registries for the digest, media type and platforms of images
    Resolve(ResolveArgs),
    /// Check what images say of themselves
    Labels(LabelsArgs),
    /// Print the JSON Schema (draft-07) of a file format
    Schema(SchemaArgs),
    /// Find out what is wrong with an installation: configurations, certificates, replicas, policies, permissions
    Doctor(DoctorArgs),
    /// Show it all on this machine, without a cluster: the real server, example manifests, the verdicts
    Demo(DemoArgs),
    /// Print what a shell completes
    Completions(CompletionsArgs),
    /// Print manual pages
    Man(ManArgs),
    /// What the chart's hooks run, inside the cluster
    Hook(HookArgs),
}

/// When output is coloured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ColorChoice {
    /// On a terminal, or as the environment says
    #[default]
    Auto,
    /// Also into a pipe or a file
    Always,
    /// Not even on a terminal
    Never,
}

impl ColorChoice {
    /// The flag, then `NO_COLOR`, then `FORCE_COLOR` and `CLICOLOR_FORCE` (not empty, not `0`), then the terminal.
    pub fn decide(self, terminal: bool, variable: impl Fn(&str) -> Option<String>) -> Color {
        let set = |name| variable(name).is_some_and(|value| !value.is_empty());
        let forced = |name| variable(name).is_some_and(|value| !value.is_empty() && value != "0");
        let colored = match self {
            ColorChoice::Always => true,
            ColorChoice::Never => false,
            ColorChoice::Auto if set("NO_COLOR") => false,
            ColorChoice::Auto => terminal || forced("FORCE_COLOR") || forced("CLICOLOR_FORCE"),
        };
        if colored { Color::Always } else { Color::Never }
    }
}

/// What a verb reads and writes, and what it needs to know of the process around it.
pub struct Surroundings<'w> {
    /// Standard input.
    pub input: &'w mut dyn Read,
    /// Standard output: carries the chosen format and nothing else.
    pub out: &'w mut dyn Write,
    /// Standard error: everything for people that is not the answer.
    pub err: &'w mut dyn Write,
    /// Whether `out` is coloured.
    pub color: Color,
    /// The columns of the terminal that `out` is; none: it is none.
    pub width: Option<usize>,
    /// Whether `err` is told what takes long.
    pub progress: Progress,
    /// Seconds since the epoch; exceptions expire by it.
    pub now: Seconds,
}

/// How an output is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Screen {
    /// Whether it is coloured.
    color: Color,
    /// The columns of the terminal that it is; none: lines may be as long as they are.
    width: Option<usize>,
}

impl Screen {
    /// That of a file.
    const FILE: Screen = Screen { color: Color::Never, width: None };
}

/// Whether people are told what a verb waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Somebody watches: standard error is a terminal.
    Shown,
    /// Nobody does.
    Hidden,
}

/// How a verb ended; the process's exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// 0: nothing enforced is violated.
    Clean,
    /// 1: an enforced violation.
    Violation,
    /// 2: usage, configuration, policy or input error.
    Error,
    /// 3: a fact was missing, so there is no answer.
    Undecided,
    /// 4: a lock is stale, or a tag moved.
    Drift,
}

impl Exit {
    /// The number the process ends with.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Exit::Clean => 0,
            Exit::Violation => 1,
            Exit::Error => 2,
            Exit::Undecided => 3,
            Exit::Drift => 4,
        }
    }

    /// Of two that both hold, the one to report: 2, then 1, then 4, then 3.
    #[must_use]
    pub fn and(self, other: Exit) -> Exit {
        let rank = |exit| match exit {
            Exit::Clean => 0,
            Exit::Undecided => 1,
            Exit::Drift => 2,
            Exit::Violation => 3,
            Exit::Error => 4,
        };
        if rank(other) > rank(self) { other } else { self }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit.code())
    }
}

/// The name in usage texts: as typed for a kubectl plugin, else the program's own.
#[must_use]
pub fn shown_name(program: Option<&OsStr>) -> &'static str {
    let stem = program.and_then(|path| Path::new(path).file_stem()).and_then(OsStr::to_str);
    if stem == Some("kubectl-tagwarden") { "kubectl tagwarden" } else { "tagwarden" }
}

/// Runs a verb. Its errors are one sentence each on standard error, and exit code 2.
pub fn run(cli: Cli, surroundings: &mut Surroundings<'_>) -> Exit {
    let ended = match cli.verb {
        Verb::Serve(args) => Ok(match serve::serve(args, surroundings.err) {
            0 => Exit::Clean,
            _ => Exit::Error,
        }),
        Verb::Check(args) => check::run(&args, surroundings),
        Verb::Explain(args) => explain::run(&args, surroundings),
        Verb::Lint(args) => lint::run(&args, surroundings),
        Verb::Release(args) => release::run(&args, surroundings),
        Verb::Resolve(args) => resolve::run(&args, surroundings),
        Verb::Test(args) => test::run(&args, surroundings),
        Verb::Init(args) => init::run(&args, surroundings),
        Verb::Pin(args) => pin::run(&args, surroundings),
        Verb::Labels(args) => labels::run(&args, surroundings),
        Verb::Schema(args) => schema::run(&args, surroundings),
        Verb::Demo(args) => demo::run(&args, surroundings),
        Verb::Doctor(args) => doctor::run(&args, surroundings),
        Verb::Completions(args) => completions::run(&args, surroundings),
        Verb::Man(args) => man::run(&args, surroundings),
        Verb::Hook(args) => hook::run(&args, surroundings),
    };
    ended.unwrap_or_else(|error| {
        // Nobody is left to tell when standard error is closed too.
        let _ = writeln!(surroundings.err, "error: {error:#}");
        Exit::Error
    })
}

/// Ends a verb whose verdict stands and whose output was tried. Whoever closes the pipe has read enough: that changes
/// no verdict and deserves no message.
fn written(result: io::Result<()>, verdict: Exit) -> anyhow::Result<Exit> {
    match result {
        Ok(()) => Ok(verdict),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(verdict),
        Err(error) => Err(anyhow::Error::new(error).context("cannot write the output")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_graver_exit_code_wins() {
        let in_order = [Exit::Clean, Exit::Undecided, Exit::Drift, Exit::Violation, Exit::Error];
        for (at, &lesser) in in_order.iter().enumerate() {
            for &graver in &in_order[at..] {
                assert_eq!(lesser.and(graver), graver);
                assert_eq!(graver.and(lesser), graver);
            }
        }
        assert_eq!(in_order.map(Exit::code), [0, 3, 4, 1, 2]);
    }

    #[test]
    fn colour_is_decided_by_flag_then_environment_then_terminal() {
        let none = |_: &str| None;
        let only =
            |wanted: &'static str, value: &'static str| move |name: &str| (name == wanted).then(|| value.to_owned());
        assert_eq!(ColorChoice::Auto.decide(true, none), Color::Always);
        assert_eq!(ColorChoice::Auto.decide(false, none), Color::Never);
        assert_eq!(ColorChoice::Auto.decide(true, only("NO_COLOR", "1")), Color::Never);
        assert_eq!(ColorChoice::Auto.decide(true, only("NO_COLOR", "")), Color::Always);
        assert_eq!(ColorChoice::Auto.decide(false, only("FORCE_COLOR", "1")), Color::Always);
        assert_eq!(ColorChoice::Auto.decide(false, only("CLICOLOR_FORCE", "1")), Color::Always);
        assert_eq!(ColorChoice::Auto.decide(false, only("CLICOLOR_FORCE", "0")), Color::Never);
        assert_eq!(ColorChoice::Always.decide(false, only("NO_COLOR", "1")), Color::Always);
        assert_eq!(ColorChoice::Never.decide(true, only("FORCE_COLOR", "1")), Color::Never);
    }

    #[test]
    fn a_kubectl_plugin_is_called_as_it_was_typed() {
        assert_eq!(shown_name(Some(OsStr::new("/usr/bin/kubectl-tagwarden"))), "kubectl tagwarden");
        assert_eq!(shown_name(Some(OsStr::new("./tagwarden"))), "tagwarden");
        assert_eq!(shown_name(None), "tagwarden");
    }

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory as _;
        Cli::command().debug_assert();
    }
}
