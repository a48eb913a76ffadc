//! `tagwarden check`: manifests in, findings out, by the same two functions as in admission.

mod base;
mod cluster;
mod inputs;
mod judge;
mod values;

use std::path::{Path, PathBuf};

use anyhow::bail;
use clap::{Args, ValueEnum};

use super::engine::{Elsewhere, EngineArgs};
use super::facts::Learner;
use super::files;
use super::outputs::Outputs;
use super::path_pattern::PathPattern;
use super::report::{self, CheckFormat, Located, Passed, Report};
use super::{Exit, Surroundings};
use crate::config::Config;
use crate::policy::Mode;
use base::Base;
use inputs::{ENVIRONMENT, NAMESPACE, Patterns};
use judge::Judge;

/// The arguments of `check`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    tagwarden check --policies policies/starter deploy/\n  \
    helm template shop charts/shop | tagwarden check --policies policies --namespace shop-prod -\n  \
    tagwarden check --policies policies --offline deploy/\n  \
    tagwarden check --policies policies --format json --exit-zero deploy/ > report.json\n  \
    tagwarden check --policies policies --cluster\n\n\
    Directories are searched for *.yaml, *.yml and *.json, names that begin with a dot left out. An object is judged \
    in the namespace it names, else in that of --namespace, else in `default`.\n\n\
    With --cluster nothing is read from files but policies: what runs is judged by the template that its Pods would be \
    created from again, under the owner's name, in the real namespaces. Who asks needs to list namespaces, Pods and the \
    kinds that make them.\n\n\
    Where a policy asks what only a registry knows (does the tag carry this digest? is the channel an approved build?), \
    the registries that policies name are asked, at most 30 s for each object, with the credentials of --config or of \
    `docker login`; or --facts says what they would answer; or, with --offline, it stays undecided.\n\n\
    Exit codes: 0 clean; 1 an enforced violation; 2 usage, policy or input error (the rest is still judged); 3 what \
    is enforced could not be decided. Where several hold: 2, 1, 3.")]
pub struct CheckArgs {
    /// Files and directories of manifests; `-` is standard input
    #[arg(value_name = "PATH", required_unless_present = "cluster")]
    paths: Vec<PathBuf>,
    #[command(flatten)]
    live: cluster::ClusterArgs,
    #[command(flatten)]
    engine: EngineArgs,
    #[command(flatten)]
    outputs: Outputs<CheckFormat>,
    /// Exit 1 also for findings that only warn, or that are only audited
    #[arg(long, value_enum, value_name = "MODE", conflicts_with = "exit_zero")]
    fail_on: Option<FailOn>,
    /// Exit 0 whatever was found, for CI systems that judge the report (errors still exit 2, what is undecided 3)
    #[arg(long)]
    exit_zero: bool,
    /// Judge only images that changed since the present branch left this git revision
    #[arg(long, value_name = "REVISION", conflicts_with = "cluster")]
    diff_base: Option<String>,
    /// Read files whose paths match (`charts/*/values*.yaml`) as Helm values, and judge the images in them; may be
    /// given several times
    #[arg(long, value_name = "GLOB", value_parser = PathPattern::parse, conflicts_with = "cluster")]
    values: Vec<PathPattern>,
    /// Take environment and namespace from the paths of files: `apps/{service}/overlays/{env}/values.yaml`
    #[arg(long, value_name = "PATTERN", value_parser = layout, conflicts_with = "cluster")]
    layout: Option<PathPattern>,
}

/// The weakest findings that fail a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum FailOn {
    /// Warnings and what is enforced
    Warn,
    /// Every finding
    Audit,
}

/// A pattern that says something of its files.
fn layout(text: &str) -> Result<PathPattern, String> {
    let pattern = PathPattern::parse(text)?;
    if pattern.names().iter().any(|name| name == ENVIRONMENT || name == NAMESPACE) {
        return Ok(pattern);
    }
    Err("name what the path says with {env}, {namespace}, or both".to_owned())
}

/// Judges everything there is, then prints; a broken file does not keep the others from being judged.
pub(super) fn run(args: &CheckArgs, surroundings: &mut Surroundings<'_>) -> anyhow::Result<Exit> {
    let live = args.live.reach()?;
    let objects =
        |config: &Config| live.as_ref().map_or_else(|| Ok(Elsewhere::default()), |live| live.elsewhere(config));
    let Some(engine) = args.engine.prepare_with(objects, surroundings)? else { return Ok(Exit::Error) };
    let Some(policies) = &engine.policies else {
        bail!("no policy to check against: name a directory of policy files with --policies DIR");
    };
    let learner = Learner::new(&engine.origin, policies);
    let base = match &args.diff_base {
        Some(revision) => {
            let captured =
                |path: &Path, name| Some(args.layout.as_ref()?.capture(&path.to_string_lossy(), name)?.to_owned());
            let overlay = |path: &Path| (captured(path, ENVIRONMENT), captured(path, NAMESPACE));
            Some(Base::read(&args.paths, revision, &engine.workloads, overlay)?)
        }
        None => None,
    };
    let passed = if args.outputs.want(CheckFormat::Junit) { Passed::Listed } else { Passed::Counted };
    let judge = Judge { policies, engine: &engine, args: &args.engine, now: surroundings.now, learner, base, passed };
    let patterns = Patterns { values: &args.values, layout: args.layout.as_ref() };
    let report = match &live {
        Some(live) => live.judge(&judge, surroundings)?,
        None => inputs::judge_all(files::find(&args.paths), &judge, &patterns, surroundings)?,
    };
    let verdict = exit(args, &report);
    args.outputs.write(verdict, surroundings, |format, screen, out| report::write(&report, format, screen, out))
}

/// 2 where something could not be judged, else 1 where a finding weighs enough, else 3 where a fact was missing.
fn exit(args: &CheckArgs, report: &Report) -> Exit {
    let tally = report.tally();
    let least = match args.fail_on {
        None => Mode::Enforce,
        Some(FailOn::Warn) => Mode::Warn,
        Some(FailOn::Audit) => Mode::Audit,
    };
    // What could not be decided is no violation: enforced it exits 3, and in warn and audit it does not count.
    let fails = |located: &&Located| located.finding.mode >= least && !located.finding.undecided;
    let failing = if args.exit_zero { 0 } else { report.findings.iter().filter(fails).count() };
    let violation = if failing > 0 { Exit::Violation } else { Exit::Clean };
    let undecided = if tally.unresolved > 0 { Exit::Undecided } else { Exit::Clean };
    let unlisted = if report.summary.unlisted.is_empty() { Exit::Clean } else { Exit::Undecided };
    violation.and(undecided).and(unlisted).and(if report.summary.broken > 0 { Exit::Error } else { Exit::Clean })
}
