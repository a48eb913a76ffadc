//! `tagwarden check`: manifests in, findings out, by the same two functions as in admission.

mod inputs;
mod judge;
pub(super) mod objects;

use std::path::PathBuf;

use anyhow::bail;
use clap::{Args, ValueEnum};

use super::engine::EngineArgs;
use super::facts::Learner;
use super::files;
use super::outputs::Outputs;
use super::report::{Format, Report, json, plain};
use super::{Exit, Surroundings};
use judge::Judge;
pub(super) use judge::owner;

/// The arguments of `check`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    tagwarden check --policies policies/starter deploy/\n  \
    helm template shop charts/shop | tagwarden check --policies policies --namespace shop-prod -\n  \
    tagwarden check --policies policies --offline deploy/\n  \
    tagwarden check --policies policies --format json --exit-zero deploy/ > report.json\n\n\
    Directories are searched for *.yaml, *.yml and *.json, names that begin with a dot left out. An object is judged \
    in the namespace it names, else in that of --namespace, else in `default`.\n\n\
    Where a policy asks what only a registry knows (does the tag carry this digest? is the channel an approved build?), \
    the registries that policies name are asked, at most 30 s for each object, with the credentials of --config or of \
    `docker login`; or --facts says what they would answer; or, with --offline, it stays undecided.\n\n\
    Exit codes: 0 clean; 1 an enforced violation; 2 usage, policy or input error (the rest is still judged); 3 what \
    is enforced could not be decided. Where several hold: 2, 1, 3.")]
pub struct CheckArgs {
    /// Files and directories of manifests; `-` is standard input
    #[arg(value_name = "PATH", required = true)]
    paths: Vec<PathBuf>,
    #[command(flatten)]
    engine: EngineArgs,
    #[command(flatten)]
    outputs: Outputs<Format>,
    /// Exit 1 also for findings that only warn, or that are only audited
    #[arg(long, value_enum, value_name = "MODE", conflicts_with = "exit_zero")]
    fail_on: Option<FailOn>,
    /// Exit 0 whatever was found, for CI systems that judge the report (errors still exit 2, what is undecided 3)
    #[arg(long)]
    exit_zero: bool,
    #[command(flatten)]
    later: Later,
}

/// The weakest findings that fail a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum FailOn {
    /// Warnings and what is enforced
    Warn,
    /// Every finding
    Audit,
}

/// Flags of the documented interface that this version refuses by name instead of calling them unknown.
#[derive(Debug, Args)]
struct Later {
    #[arg(long, hide = true, value_parser = not_yet, num_args = 0..=1, default_missing_value = "")]
    cluster: Option<String>,
    #[arg(long, hide = true, value_parser = not_yet)]
    diff_base: Option<String>,
    #[arg(long, hide = true, value_parser = not_yet)]
    values: Option<String>,
    #[arg(long, hide = true, value_parser = not_yet)]
    layout: Option<String>,
}

fn not_yet(_: &str) -> Result<String, String> {
    Err("this flag is not supported yet".to_owned())
}

/// Judges everything there is, then prints; a broken file does not keep the others from being judged.
pub(super) fn run(args: &CheckArgs, surroundings: &mut Surroundings<'_>) -> anyhow::Result<Exit> {
    let Some(engine) = args.engine.prepare(surroundings)? else { return Ok(Exit::Error) };
    let Some(policies) = &engine.policies else {
        bail!("no policy to check against: name a directory of policy files with --policies DIR");
    };
    let learner = Learner::new(&engine.origin, policies);
    let judge = Judge { policies, engine: &engine, args: &args.engine, now: surroundings.now, learner };
    let report = inputs::judge_all(files::find(&args.paths), &judge, surroundings)?;
    let verdict = exit(args, &report);
    args.outputs.write(verdict, surroundings, |format, color, out| match format {
        Format::Plain => plain::write(&report, color, out),
        Format::Json => json::write(&report, out),
    })
}

/// 2 where something could not be judged, else 1 where a finding weighs enough, else 3 where a fact was missing.
fn exit(args: &CheckArgs, report: &Report) -> Exit {
    let tally = report.tally();
    let failing = match args.fail_on {
        _ if args.exit_zero => 0,
        None => tally.deny,
        Some(FailOn::Warn) => tally.deny + tally.warn,
        Some(FailOn::Audit) => tally.deny + tally.warn + tally.audit,
    };
    let violation = if failing > 0 { Exit::Violation } else { Exit::Clean };
    let undecided = if tally.unresolved > 0 { Exit::Undecided } else { Exit::Clean };
    violation.and(undecided).and(if report.summary.broken > 0 { Exit::Error } else { Exit::Clean })
}
