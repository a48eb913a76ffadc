//! `release verify`: whether manifests, or what runs, are the images of a release; which are extra, missing, different.

mod compare;
mod output;
mod running;

use std::collections::BTreeSet;
use std::path::PathBuf;

use anyhow::bail;
use clap::Args;

use self::compare::{Comparison, Used};
use super::reading::read;
use crate::cli::engine::configuration;
use crate::cli::live::Live;
use crate::cli::objects::{self, Part};
use crate::cli::report::Format;
use crate::cli::{Exit, Surroundings, files, written};
use crate::config::{Config, Overrides};
use crate::document::{self, Diagnostic, Source};
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
    or the cluster cannot be read; 3 a registry gave no answer. Where several hold: 2, 1, 3.")]
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
    #[arg(short, long, value_name = "NAME", requires = "cluster")]
    namespace: Option<String>,
    /// The context of the kubeconfig to use with --cluster
    #[arg(long, value_name = "NAME", requires = "cluster")]
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
    #[arg(long)]
    offline: bool,
    /// The server's configuration file: its registries and workloads hold here too
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The output's format
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t)]
    format: Format,
}

/// Reads both sides, compares, and tells every difference.
pub(super) fn run(args: &VerifyArgs, surroundings: &mut Surroundings<'_>) -> anyhow::Result<Exit> {
    if args.paths.is_empty() && !args.cluster && args.commit.is_none() {
        bail!("nothing to compare with: name manifests (`-` is standard input), or --cluster, or --commit");
    }
    let Some(config) = configuration(args.config.as_deref(), &Overrides::default(), surroundings) else {
        return Ok(Exit::Error);
    };
    let Some(file) = read(&args.file, surroundings) else { return Ok(Exit::Error) };
    let ignored = together(&args.ignore)?;
    let mut sides = Sides::default();
    if args.cluster {
        running::read(&Live::reach(args.context.as_deref())?, args.namespace.as_deref(), &config, &mut sides)?;
    }
    for found in files::find(&args.paths) {
        sides.input(found, &config, surroundings);
    }
    let used = std::mem::take(&mut sides.used);
    let mut comparison = Comparison::new(&file.release, used, ignored.as_ref());
    if args.partial || (args.paths.is_empty() && !args.cluster) {
        comparison.missing.clear();
    }
    if !args.offline {
        comparison.ask(config.registry, surroundings)?;
    }
    if let Some(commit) = &args.commit {
        comparison.of_commit(&file.release, commit, together(&args.first_party)?.as_ref());
    }
    let verdict = if sides.broken > 0 { Exit::Error } else { Exit::Clean }.and(comparison.exit());
    let printed = match args.format {
        Format::Plain => output::plain(&file.release, &comparison, &sides, surroundings.out),
        Format::Json => output::json(&file.release, &comparison, &sides, surroundings.out),
    };
    written(printed, verdict)
}

/// What is compared with the release.
#[derive(Debug, Default)]
struct Sides {
    used: Vec<Used>,
    /// Files and objects that were looked at.
    files: usize,
    objects: usize,
    /// Inputs that could not be read.
    broken: usize,
    /// Kinds that no table knows, and files that are no manifests.
    skipped: BTreeSet<String>,
}

impl Sides {
    /// Takes the images of a file.
    fn input(&mut self, found: files::Found, config: &Config, surroundings: &mut Surroundings<'_>) {
        let (name, text) = match found {
            files::Found::Stdin => (files::STDIN.to_owned(), files::read_text(files::STDIN, &mut *surroundings.input)),
            files::Found::File(path) => (files::shown(&path), files::read_file(&path)),
            files::Found::Problem(problem) => (String::new(), Err(Box::new(problem))),
        };
        self.files += 1;
        match text {
            Ok(text) => self.text(&name, &text, config, surroundings),
            Err(problem) => self.complain(&[*problem], "", surroundings),
        }
    }

    fn text(&mut self, name: &str, text: &str, config: &Config, surroundings: &mut Surroundings<'_>) {
        let source = Source::new(name, text);
        let (documents, problems) = document::parse(&source);
        for document in &documents {
            for part in objects::parts(&document.root) {
                match part {
                    Part::Object(object) => self.object(&object, &source, config),
                    Part::NoManifest => drop(self.skipped.insert(format!("{name} (no manifest)"))),
                }
            }
        }
        if !problems.is_empty() {
            self.complain(&problems, text, surroundings);
        }
    }

    fn object(&mut self, object: &objects::Object<'_>, source: &Source<'_>, config: &Config) {
        if !config.workloads.knows(object.group, object.kind) {
            self.skipped.insert(object.kind.to_owned());
            return;
        }
        self.objects += 1;
        let json = object.node.to_json().to_string();
        let collected = config.workloads.read_object(object.group, object.kind, &json, None);
        let namespace = object.namespace().map(|namespace| format!("{namespace}/")).unwrap_or_default();
        let named = format!("{} {namespace}{}", object.kind, object.name());
        for image in collected.images() {
            let node = object.node.at(&image.field.to_string()).unwrap_or_else(|| object.anchor());
            let (line, _) = source.position(node.span.start);
            self.used.push(Used::written(image.image, &named, image.list, image.container).at(source.name(), line));
        }
        for warning in &collected.warnings {
            self.skipped.insert(format!("{named}: {warning}"));
        }
    }

    fn complain(&mut self, problems: &[Diagnostic], text: &str, surroundings: &mut Surroundings<'_>) {
        self.broken += 1;
        files::complain(problems, text, surroundings);
    }
}

impl Comparison {
    /// Holds each image of the release against a commit.
    fn of_commit(&mut self, release: &Release, commit: &str, first_party: Option<&GlobSet>) {
        for image in release.images() {
            if first_party.is_some_and(|globs| globs.first_match(&image.repository).is_none()) {
                continue;
            }
            let by_tag = image.tag.as_deref().and_then(commit_in);
            match (by_tag, &image.commit) {
                (_, Some(built)) if built == commit => {}
                (Some(tag), None) if commit.starts_with(tag) => {}
                (None, None) => self.uncommitted.push(image.name.clone()),
                (by_tag, built) => {
                    let built = built.as_deref().or(by_tag).unwrap_or_default().to_owned();
                    self.other_commits.push((image.name.clone(), built));
                }
            }
        }
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
