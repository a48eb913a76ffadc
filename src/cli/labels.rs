//! `tagwarden labels check`: whether an image's labels say where it comes from, and what they say agrees with its tag.

mod git;
mod output;
mod source;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, Subcommand};
use tokio::time::Instant;

use self::git::{Known, Repository};
use super::engine::{configuration, facts_file};
use super::registries::{DEADLINE, Registries};
use super::report::Format;
use super::resolve::{Wrong, read, undecided};
use super::{Exit, Surroundings, written};
use crate::config::{Config, Overrides};
use crate::image::{DigestBuf, Reference};
use crate::policy::{
    self, Age, Answer, Asked, Budget, FactsFile, FindingId, ImageFacts, LabelFinding, Lookup, REVISION, Undecided,
    check_labels, printable,
};
use crate::registry::{Failure, FailureKind};

/// The arguments of `labels`.
#[derive(Debug, Args)]
pub struct LabelsArgs {
    #[command(subcommand)]
    verb: LabelsVerb,
}

/// What is done with labels.
#[derive(Debug, Subcommand)]
enum LabelsVerb {
    /// Are revision, version and source there, and do they agree with the tag, the repository and its history?
    Check(LabelsCheckArgs),
}

/// The arguments of `labels check`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    tagwarden labels check registry.example.com/acme/api:v1.4.2\n  \
    tagwarden labels check registry.example.com/acme/api:1a2b3c4 --git . --branch main\n  \
    tagwarden labels check --source https://git.example.com/acme/api --format json registry.example.com/acme/api:v1.4.2\n\n\
    On every platform of the image org.opencontainers.image.revision, .version and .source must be there. A commit tag begins \
    the revision, `git-<40 hex>` is it, and for other tags it is a full commit; a version tag is the version. The source \
    is the address of a repository: that of --source, else that of the remote `origin` of --git.\n\n\
    Exit codes: 0 they are and agree; 1 they do not, or it is no image reference; 2 usage or configuration error, or no \
    repository; 3 the registry gave no answer, or the history is cut off.")]
struct LabelsCheckArgs {
    /// The image, in full
    #[arg(value_name = "IMAGE")]
    image: String,
    /// A clone of the repository that the image is built from: the revision must be a commit in it
    #[arg(long, value_name = "DIR")]
    git: Option<PathBuf>,
    /// The branch that the revision must be on: as the remote `origin` has it, else the local one
    #[arg(long, value_name = "BRANCH", requires = "git")]
    branch: Option<String>,
    /// The address of the repository that the source must name
    #[arg(long, value_name = "URL", value_parser = address)]
    source: Option<String>,
    /// The server's configuration file: its registries, time-outs and references decide here too
    #[arg(long, value_name = "FILE", conflicts_with = "facts")]
    config: Option<PathBuf>,
    /// Take what the registry would say from this file instead of asking it
    #[arg(long, value_name = "FILE")]
    facts: Option<PathBuf>,
    /// The output's format
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t)]
    format: Format,
}

/// What was learned of an image and is wrong with it.
#[derive(Default)]
struct Checked {
    digest: Option<DigestBuf>,
    facts: Option<Arc<ImageFacts>>,
    findings: Vec<Wrong>,
    /// What was not compared, and why.
    notes: Vec<&'static str>,
}

/// Runs the verb that is asked for.
pub(super) fn run(args: &LabelsArgs, surroundings: &mut Surroundings<'_>) -> anyhow::Result<Exit> {
    let LabelsVerb::Check(args) = &args.verb;
    check(args, surroundings)
}

fn check(args: &LabelsCheckArgs, surroundings: &mut Surroundings<'_>) -> anyhow::Result<Exit> {
    let Some(config) = configuration(args.config.as_deref(), &Overrides::default(), surroundings) else {
        return Ok(Exit::Error);
    };
    // A repository that is none is an error, whatever is wrong with the image.
    let repository = args.git.as_deref().map(|folder| Repository::open(folder, args.branch.as_deref())).transpose()?;
    let mut resolution = read(&args.image, &config.settings);
    let mut checked = Checked::default();
    match (resolution.finding.take(), &resolution.reference) {
        (Some(wrong), _) => checked.findings.push(wrong),
        (None, None) => anyhow::bail!("an image was neither read nor refused: please report it"),
        (None, Some(reference)) => {
            let learned = match &args.facts {
                Some(file) => {
                    let Some(facts) = facts_file(file, surroundings) else { return Ok(Exit::Error) };
                    from_file(reference, &facts)
                }
                None => from_registry(reference, config, surroundings)?,
            };
            match learned {
                Ok((digest, facts)) => {
                    judge(args, reference, &facts, repository.as_ref(), &mut checked)?;
                    (checked.digest, checked.facts) = (Some(digest), Some(facts));
                }
                Err(wrong) => checked.findings.push(wrong),
            }
        }
    }
    let verdict = checked.findings.iter().map(Wrong::exit).fold(Exit::Clean, Exit::and);
    let branch = repository.as_ref().and_then(Repository::branch);
    let shown =
        output::Shown { image: &args.image, reference: resolution.reference.as_ref(), branch, checked: &checked };
    let printed = match args.format {
        Format::Plain => output::plain(&shown, surroundings.out),
        Format::Json => output::json(&shown, surroundings.out),
    };
    written(printed, verdict)
}

/// Digest and facts of an image, or why there are none.
type Learned = Result<(DigestBuf, Arc<ImageFacts>), Wrong>;

fn from_registry(
    reference: &Reference<'_>,
    config: Config,
    surroundings: &mut Surroundings<'_>,
) -> anyhow::Result<Learned> {
    let host = reference.canonical_registry().into_owned();
    let registries = Registries::new(config.registry, BTreeSet::from([host.clone()]), surroundings)?;
    let (resolver, asker, deadline) = (&registries.resolver, registries.asker(None), Instant::now() + DEADLINE);
    let repository = reference.repository();
    let answer = async {
        let digest = match (reference.tag(), reference.digest()) {
            (Some(tag), _) => resolver.digest(&host, &repository, tag, asker, deadline).await?,
            (None, Some(digest)) => DigestBuf::from(digest),
            (None, None) => return Err(Failure::new(FailureKind::Protocol, "neither tag nor digest is written")),
        };
        let facts = resolver.image(&host, &repository, digest.as_str(), asker, deadline).await?;
        Ok((digest, facts))
    };
    let learned = registries.wait("the image", surroundings, answer);
    Ok(learned.map_err(|failure| undecided(&failure, &host)).and_then(|learned| agreeing(reference, learned)))
}

fn from_file(reference: &Reference<'_>, facts: &FactsFile) -> Learned {
    let name = reference.name();
    let ask = |what| facts.answer(&Lookup { name: &name, what });
    let digest = match (reference.tag(), reference.digest()) {
        (Some(tag), _) => match ask(Asked::Digest { tag, floating: false, age: Age::Now, budget: Budget::Review }) {
            Answer::Digest(known) => known.map(|resolved| resolved.digest).map_err(|why| not_told(&why))?,
            _ => return Err(not_told(&other_answer())),
        },
        (None, Some(digest)) => DigestBuf::from(digest),
        (None, None) => return Err(not_told(&other_answer())),
    };
    match ask(Asked::Image { digest: digest.as_str() }) {
        Answer::Image(Ok(facts)) => agreeing(reference, (digest, facts)),
        Answer::Image(Err(why)) => Err(not_told(&why)),
        _ => Err(not_told(&other_answer())),
    }
}

fn other_answer() -> Undecided {
    Undecided::new(policy::Failure::Protocol, "the facts answer something else")
}

/// The finding on what the facts do not say.
fn not_told(why: &Undecided) -> Wrong {
    Wrong {
        id: why.failure.finding(),
        reason: "not-told",
        message: why.detail.to_string(),
        help: Some("add it to the file of --facts, or leave that out to ask the registry".to_owned()),
    }
}

/// What was learned, unless a digest is written that is not the tag's.
fn agreeing(reference: &Reference<'_>, learned: (DigestBuf, Arc<ImageFacts>)) -> Learned {
    match (reference.tag(), reference.digest()) {
        (Some(tag), Some(digest)) if learned.0 != digest => Err(Wrong {
            id: FindingId::Tw200,
            reason: "digest",
            message: format!("{tag} is {}, not {}", learned.0, digest.as_str()),
            help: Some("write the tag alone, or the digest that it is now".to_owned()),
        }),
        _ => Ok(learned),
    }
}

/// Holds what an image says of itself against its tag, the repository it should come from, and that one's history.
fn judge(
    args: &LabelsCheckArgs,
    reference: &Reference<'_>,
    image: &ImageFacts,
    repository: Option<&Repository>,
    checked: &mut Checked,
) -> anyhow::Result<()> {
    let origin = repository.map(Repository::origin).transpose()?.flatten();
    let expected = args.source.as_deref().or(origin.as_deref()).and_then(source::repository);
    if expected.is_none() {
        checked.notes.push(match repository {
            Some(_) => {
                "the source is compared with nothing: the remote 'origin' of --git names no address; --source does"
            }
            None => "the source is compared with nothing: name its repository with --source or --git",
        });
    }
    let wrong_source = |value: &str| match (source::repository(value), &expected) {
        (None, _) => Some(match source::stray(value) {
            Some(c) => format!("which is no address of a repository: it has {}, and none may", name_of(c)),
            None => "which is no address of a repository".to_owned(),
        }),
        (Some(named), Some(expected)) if named != *expected => {
            Some(format!("which is not {}", printable(expected, 120)))
        }
        _ => None,
    };
    let found = check_labels(image, reference.tag(), wrong_source);
    checked.findings.extend(found.into_iter().map(Wrong::from));
    let Some(repository) = repository else { return Ok(()) };
    for (commit, platforms) in commits(image) {
        checked.findings.extend(wrong_commit(repository, commit, &platforms.join(", "))?);
    }
    Ok(())
}

/// The commits that the image names, each with the platforms on which it does. What is none was told already.
fn commits(image: &ImageFacts) -> BTreeMap<&str, Vec<&str>> {
    let mut commits: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for one in &image.platforms {
        if let Some(commit) = one.labels.get(REVISION).filter(|label| git::is_commit(label)) {
            commits.entry(commit).or_default().push(one.platform.as_str());
        }
    }
    commits
}

/// What is wrong with a commit in the repository.
fn wrong_commit(repository: &Repository, commit: &str, platforms: &str) -> anyhow::Result<Option<Wrong>> {
    let branch = repository.branch().unwrap_or_default();
    let (id, reason, message, help) = match repository.knows(commit)? {
        Known::Yes => return Ok(None),
        Known::Absent => (
            FindingId::Tw401,
            "revision",
            format!("the repository has no commit {commit}, from which the image says it was built on {platforms}"),
            "build from a commit that was pushed; if the clone is old, fetch first",
        ),
        Known::Elsewhere => (
            FindingId::Tw401,
            "revision",
            format!("the commit {commit}, from which the image says it was built on {platforms}, is not on {branch}"),
            "build from a commit of the branch; if the clone is old, fetch first",
        ),
        Known::CutOff => (
            FindingId::Tw900,
            "shallow",
            format!("the history of the repository is cut off, so nothing is known of the commit {commit}"),
            "fetch all of it: git fetch --unshallow (actions/checkout: fetch-depth: 0)",
        ),
    };
    Ok(Some(Wrong { id, reason, message, help: Some(help.to_owned()) }))
}

impl From<LabelFinding> for Wrong {
    fn from(finding: LabelFinding) -> Self {
        let LabelFinding { id, check, message } = finding;
        Wrong { id, reason: check.name(), message, help: Some(id.remedy().to_owned()) }
    }
}

/// A character as a message shows it.
fn name_of(c: char) -> String {
    match c {
        '!'..='~' => format!("'{c}'"),
        ' ' => "a blank".to_owned(),
        c => format!("U+{:04X}", u32::from(c)),
    }
}

/// `--source`.
fn address(text: &str) -> Result<String, String> {
    match source::repository(text) {
        Some(_) => Ok(text.to_owned()),
        None => Err("write the address of a repository, https://git.example.com/acme/api say".to_owned()),
    }
}
