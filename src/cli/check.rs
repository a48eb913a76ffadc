//! `tagwarden check`: manifests in, findings out, by the same two functions as in admission.

mod cluster;
mod judge;
mod objects;

use std::path::PathBuf;

use anyhow::bail;
use clap::{Args, ValueEnum};

use super::engine::EngineArgs;
use super::facts::Learner;
use super::files::{self, Found};
use super::report::{Format, Input, Report, format, json, plain};
use super::{Exit, Surroundings, written};
use crate::config::Config;
use crate::document::{self, Source};
use judge::Judge;
pub(super) use judge::owner;
use objects::Part;

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
    /// The output's format: `plain` or `json`
    #[arg(long, value_name = "FORMAT", default_value = "plain", value_parser = format)]
    format: Format,
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
    #[arg(long, hide = true, value_parser = not_yet)]
    diff_base: Option<String>,
    #[arg(long, hide = true, value_parser = not_yet)]
    values: Option<String>,
    #[arg(long, hide = true, value_parser = not_yet)]
    layout: Option<String>,
    #[arg(long, hide = true, value_parser = not_yet)]
    output: Option<String>,
}

fn not_yet(_: &str) -> Result<String, String> {
    Err("this flag is not supported yet".to_owned())
}

/// Judges everything there is, then prints; a broken file does not keep the others from being judged.
pub(super) fn run(args: &CheckArgs, surroundings: &mut Surroundings<'_>) -> anyhow::Result<Exit> {
    let live = args.live.reach()?;
    let objects = |config: &Config| live.as_ref().map_or_else(|| Ok(Vec::new()), |live| live.policies(config));
    let Some(engine) = args.engine.prepare_with(objects, surroundings)? else { return Ok(Exit::Error) };
    let Some(policies) = &engine.policies else {
        bail!("no policy to check against: name a directory of policy files with --policies DIR");
    };
    let learner = Learner::new(&engine.origin, policies);
    let mut judge = Judge { policies, engine: &engine, args: &args.engine, now: surroundings.now, learner };
    let report = match &live {
        Some(live) => live.judge(&mut judge, surroundings)?,
        None => judge_all(args, &mut judge, surroundings)?,
    };
    let verdict = exit(args, &report);
    let printed = match args.format {
        Format::Plain => plain::write(&report, surroundings.color, surroundings.out),
        Format::Json => json::write(&report, surroundings.out),
    };
    written(printed, verdict)
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
    let unlisted = if report.summary.unlisted.is_empty() { Exit::Clean } else { Exit::Undecided };
    violation.and(undecided).and(unlisted).and(if report.summary.broken > 0 { Exit::Error } else { Exit::Clean })
}

fn judge_all(args: &CheckArgs, judge: &mut Judge<'_>, surroundings: &mut Surroundings<'_>) -> anyhow::Result<Report> {
    let mut report = Report::default();
    for found in files::find(&args.paths) {
        let (name, text) = match found {
            Found::Stdin => (files::STDIN.to_owned(), files::read_text(files::STDIN, &mut *surroundings.input)),
            Found::File(path) => (files::shown(&path), files::read_file(&path)),
            Found::Problem(problem) => (String::new(), Err(Box::new(problem))),
        };
        match text {
            Ok(text) => judge_text(Input { name, text }, judge, &mut report, surroundings)?,
            Err(problem) => {
                report.summary.broken += 1;
                files::complain(&[*problem], "", surroundings);
            }
        }
    }
    Ok(report)
}

/// Judges every object of a text; what is wrong with the text itself goes to standard error.
fn judge_text(
    input: Input,
    judge: &mut Judge<'_>,
    report: &mut Report,
    surroundings: &mut Surroundings<'_>,
) -> anyhow::Result<()> {
    let source = Source::new(&input.name, &input.text);
    let (documents, problems) = document::parse(&source);
    let index = report.inputs.len();
    report.summary.files += 1;
    for document in &documents {
        for part in objects::parts(&document.root) {
            match part {
                Part::Object(object) => {
                    let context = judge::Context { source: &source, index, template: document.template.as_deref() };
                    judge.object(&object, &context, report, surroundings)?;
                }
                // What a syntax error left over is no finding of its own.
                Part::NoManifest if problems.is_empty() => {
                    report.summary.is_no_manifest(document.template.as_deref().unwrap_or(&input.name));
                }
                Part::NoManifest => {}
            }
        }
    }
    if !problems.is_empty() {
        report.summary.broken += 1;
        files::complain(&problems, &input.text, surroundings);
    }
    report.inputs.push(input);
    Ok(())
}
