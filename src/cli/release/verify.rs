//! `release verify`: whether manifests, or what runs, are the images of a release; which are extra, missing, different.

mod compare;
mod output;

use std::path::PathBuf;

use anyhow::bail;
use clap::Args;

use self::compare::Comparison;
use super::reading::read;
use super::resolve::OriginArgs;
use super::running::{self, Which};
use super::used::AllUsed;
use crate::cli::live::Live;
use crate::cli::report::Format;
use crate::cli::{Exit, Surroundings, files, written};
use crate::image::{GlobSet, ImageGlob};
use crate::release::{Release, commit_in};

/// The arguments of `release verify`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    helm template shop charts/shop -f releases/values.yaml | tagwarden release verify release.yaml -\n  \
    tagwarden release verify --partial release.yaml deploy/checkout\n  \
    tagwarden release verify release.yaml --cluster -n shop-prod\n  \
    tagwarden release verify release.yaml --commit \"$(git rev-parse HEAD)\"\n\n\
    An image is equal where its digest is the release's, or that of a platform that the release lists. Where only a tag is \
    written and it is the release's, the registry is asked for its digest; with --offline the tag alone is believed, and \
    counted so.\n\n\
    Exit codes: 0 equal; 1 something is extra, missing, different, or of another commit; 2 usage, file or manifest error, \
    or the cluster cannot be read; 3 a registry gave no answer, a kind of the cluster cannot be listed, or a commit is not known. Where several hold: 2, 1, 3.")]
pub struct VerifyArgs {
    /// The release file
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Manifests: files, directories, or `-` for standard input
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Compare what runs in the cluster; --namespace limits it to one
    #[arg(long, conflicts_with = "paths")]
    cluster: bool,
    /// The namespace to look at with --cluster
    #[arg(short, long, value_name = "NAME")]
    namespace: Option<String>,
    /// The context of the kubeconfig to use with --cluster
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
    /// Manifests of a part: images of the release that are used nowhere are no difference
    #[arg(long)]
    partial: bool,
    /// Images that are not the release's business: an image glob, as in a policy; may be given several times
    #[arg(long, value_name = "GLOB", value_parser = glob)]
    ignore: Vec<ImageGlob>,
    /// Each image of the release must be built from this commit: by its tag (`git-SHA`, a commit tag) or its `commit`
    #[arg(long, value_name = "SHA", value_parser = commit)]
    commit: Option<String>,
    /// With --commit, the images that it is about: an image glob; may be given several times [default: all]
    #[arg(long, value_name = "GLOB", value_parser = glob, requires = "commit")]
    first_party: Vec<ImageGlob>,
    /// Ask no registry: a tag that is the release's is believed
    #[arg(long, conflicts_with = "facts")]
    offline: bool,
    #[command(flatten)]
    origin: OriginArgs,
    /// The output's format
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t)]
    format: Format,
}

/// Reads both sides, compares, and tells every difference.
pub(super) fn run(args: &VerifyArgs, surroundings: &mut Surroundings<'_>) -> anyhow::Result<Exit> {
    if args.paths.is_empty() && !args.cluster && args.commit.is_none() {
        bail!("nothing to compare with: name manifests (`-` is standard input), or --cluster, or --commit");
    }
    if !args.cluster && (args.namespace.is_some() || args.context.is_some()) {
        bail!("--namespace and --context are for --cluster: add that, or leave them out");
    }
    let Some((config, origin)) = args.origin.read(surroundings) else { return Ok(Exit::Error) };
    let Some(file) = read(&args.file, surroundings) else { return Ok(Exit::Error) };
    let ignored = together(&args.ignore)?;
    let mut all = AllUsed::default();
    if args.cluster {
        running::read(
            &Live::reach(args.context.as_deref())?,
            args.namespace.as_deref(),
            Which::All,
            &config,
            &mut all,
        )?;
    }
    for found in files::find(&args.paths) {
        all.input(found, &config, surroundings);
    }
    let used = std::mem::take(&mut all.images);
    // A pipe whose first command failed must not pass.
    let is_nothing = used.is_empty() && !args.paths.is_empty() && all.broken == 0;
    let mut comparison = Comparison::new(&file.release, used, ignored.as_ref());
    if args.partial || (args.paths.is_empty() && !args.cluster) {
        comparison.missing.clear();
    }
    if !args.offline {
        comparison.ask(origin, surroundings)?;
    }
    if let Some(commit) = &args.commit {
        let held = comparison.of_commit(&file.release, commit, together(&args.first_party)?.as_ref());
        if held == 0 {
            bail!("no image of the release is named by --first-party: nothing was held against the commit");
        }
    }
    if is_nothing {
        let nothing = "there is no image in what was given: see whether it is what you meant, and whether the command before the pipe failed";
        let _ = writeln!(surroundings.err, "error: {nothing}");
    }
    let read = if all.broken > 0 || is_nothing { Exit::Error } else { Exit::Clean };
    let listed = if all.unlisted.is_empty() && all.unknown.is_empty() { Exit::Clean } else { Exit::Undecided };
    let verdict = read.and(listed).and(comparison.exit());
    let printed = match args.format {
        Format::Plain => output::plain(&file.release, &comparison, &all, surroundings.out),
        Format::Json => output::json(&file.release, &comparison, &all, surroundings.out),
    };
    written(printed, verdict)
}

impl Comparison {
    /// Holds each image of the release against a commit; how many were.
    fn of_commit(&mut self, release: &Release, commit: &str, first_party: Option<&GlobSet>) -> usize {
        let mut held = 0;
        for image in release.images() {
            if first_party.is_some_and(|globs| globs.first_match(&image.repository).is_none()) {
                continue;
            }
            held += 1;
            let by_tag = image.tag.as_deref().and_then(commit_in);
            match (by_tag, &image.commit) {
                // A file may write the first digits of a commit, as a tag does.
                (_, Some(built)) if commit.starts_with(built) => {}
                (Some(tag), None) if commit.starts_with(tag) => {}
                (None, None) => self.uncommitted.push(image.name.clone()),
                (by_tag, built) => {
                    let built = built.as_deref().or(by_tag).unwrap_or_default().to_owned();
                    self.other_commits.push((image.name.clone(), built));
                }
            }
        }
        self.held_against_commit = held;
        held
    }
}

/// Globs as one automaton; none where there are none.
fn together(globs: &[ImageGlob]) -> anyhow::Result<Option<GlobSet>> {
    if globs.is_empty() {
        return Ok(None);
    }
    let patterns: Vec<String> = globs.iter().map(ImageGlob::to_regex).collect();
    match GlobSet::new(&patterns) {
        Ok(set) => Ok(Some(set)),
        Err((_, message)) => bail!("the globs do not compile together: {message}"),
    }
}

fn glob(text: &str) -> Result<ImageGlob, String> {
    ImageGlob::parse(text).map_err(|error| match error.help {
        Some(help) => format!("{}; {help}", error.message),
        None => error.message,
    })
}

fn commit(text: &str) -> Result<String, String> {
    let is_hex = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    match text.len() {
        40 | 64 if is_hex => Ok(text.to_owned()),
        _ => Err("a whole commit is needed here, 40 or 64 of 0-9 and a-f: `git rev-parse HEAD` prints it".to_owned()),
    }
}
