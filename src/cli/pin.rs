//! `tagwarden pin`: rewrites manifests, kustomizations, Helm values, Compose files and Dockerfiles to `tag@digest`.

mod compose;
mod diff;
mod digests;
mod dockerfile;
mod judge;
mod kustomize;
mod manifest;
mod output;
mod reading;
mod spot;
mod values;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::bail;
use clap::Args;

use super::engine::{configuration, facts_file};
use super::files::{self, Found, Wanted};
use super::report::Format;
use super::store;
use super::{Exit, Surroundings, written};
use crate::config::Overrides;
use crate::document::{Color, Diagnostic, Edit, Edits, Source, Span};
use crate::review::Workloads;
use digests::{Digests, Origin};
use judge::{Drift, Floating, Outcome, Status, Terms};
use output::{Image, PinnedFile, Report};
use spot::Slot;

/// The arguments of `pin`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    tagwarden pin deploy/\n  \
    tagwarden pin --write deploy/ Dockerfile\n  \
    tagwarden pin --check --format json .\n  \
    helm template shop charts/shop | tagwarden pin - | kubectl apply -f -\n\n\
    Read are Kubernetes manifests, kustomizations (`images`), Helm values (`repository`, `tag` and `digest`), Compose \
    files and Dockerfiles (`FROM`, `COPY --from`). Only the bytes of the images change. Without --write nothing is \
    written: the changes are shown as a diff; of standard input (`-`) the new text is printed.\n\n\
    Tags that are meant to move (latest, main, env-prod, no tag at all) are left without --floating. Where an image has \
    a digest and its tag has moved on, that is told, and written with --update. Each host that is written in an image \
    is asked, with the credentials of --config or of `docker login`.\n\n\
    Exit codes: 0 done, or with --check: all that can be pinned is; 2 usage, configuration or input error (other files \
    are still pinned); 3 a registry gave no answer (other images are still pinned); 4 with --check: an image is not \
    pinned, or its tag has moved. Where several hold: 2, 4, 3.")]
pub struct PinArgs {
    /// Files and directories; `-` is standard input
    #[arg(value_name = "PATH", required = true)]
    paths: Vec<PathBuf>,
    /// Write the files, instead of showing what would change
    #[arg(long, conflicts_with = "check")]
    write: bool,
    /// Write nothing, and exit 4 where an image is not pinned or its tag has moved
    #[arg(long)]
    check: bool,
    /// Pin also tags that are meant to move: latest and other floating ones, channels, no tag at all
    #[arg(long)]
    floating: bool,
    /// Replace digests whose tags have moved on
    #[arg(long, conflicts_with = "check")]
    update: bool,
    /// The server's configuration file: its registries, time-outs, workloads and references decide here too
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Take what registries would say from this file instead of asking them
    #[arg(long, value_name = "FILE")]
    facts: Option<PathBuf>,
    /// The output's format
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t)]
    format: Format,
}

/// What is done with what was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    /// Show what would change.
    Show,
    /// Write the files.
    Write,
    /// Tell what is not pinned.
    Check,
    /// Print the new text of standard input.
    Filter,
}

impl PinArgs {
    fn action(&self) -> anyhow::Result<Action> {
        let stdin = self.paths.iter().any(|path| path.as_os_str() == "-");
        Ok(match (self.write, self.check) {
            (true, _) if stdin => bail!("standard input cannot be written: leave out --write, and `-` is printed"),
            (true, _) => Action::Write,
            (false, true) => Action::Check,
            (false, false) if !stdin || self.format == Format::Json => Action::Show,
            (false, false) if self.paths.len() > 1 => {
                bail!("the new text of `-` is printed, so it stands alone: name the other paths in a run of their own")
            }
            (false, false) => Action::Filter,
        })
    }
}

/// Finds every image, asks what their tags are, and shows or writes; a broken file does not keep others from it.
pub(super) fn run(args: &PinArgs, surroundings: &mut Surroundings<'_>) -> anyhow::Result<Exit> {
    let action = args.action()?;
    let Some(config) = configuration(args.config.as_deref(), &Overrides::default(), surroundings) else {
        return Ok(Exit::Error);
    };
    let origin = match &args.facts {
        None => Origin::Registries(config.registry),
        Some(file) => match facts_file(file, surroundings) {
            Some(facts) => Origin::File(facts),
            None => return Ok(Exit::Error),
        },
    };
    let terms = Terms {
        settings: &config.settings,
        floating: if args.floating { Floating::Pinned } else { Floating::Left },
        drift: if args.update { Drift::Updated } else { Drift::Told },
    };
    let mut report = Report { action, files: Vec::new(), broken: 0 };
    let mut seen = HashSet::new();
    for found in files::find_wanted(&args.paths, &WANTED) {
        // Two paths may lead to one file, which is then read and written once.
        let again = matches!(&found, Found::File(path) if fs::canonicalize(path).is_ok_and(|path| !seen.insert(path)));
        if !again {
            take(found, &config.workloads, &mut report, surroundings);
        }
    }
    let questions: BTreeSet<_> = report.images().filter_map(|image| judge::question(&image.spot, &terms)).collect();
    let digests = digests::ask(origin, questions, surroundings)?;
    for file in &mut report.files {
        pin(file, &terms, &digests);
        let done = verified(file, &config.workloads).and_then(|new| match (action, &file.path) {
            (Action::Write, Some(path)) if !file.edits.is_empty() => {
                store::replace(path, &file.text, &new)?;
                file.written = true;
                Ok(())
            }
            _ => Ok(()),
        });
        if let Err(problem) = done {
            file.failed();
            report.broken += 1;
            files::complain(&[*problem], "", surroundings);
        }
    }
    let verdict = exit(&report);
    let color = surroundings.color;
    let printed = match (args.format, action) {
        (Format::Json, _) => output::json(&report, surroundings.out),
        (Format::Plain, Action::Filter) => {
            // A closed standard error takes nothing from the text.
            let _ = output::plain(&report, Color::Never, surroundings.err);
            output::text(&report, surroundings.out)
        }
        (Format::Plain, _) => output::plain(&report, color, surroundings.out),
    };
    written(printed, verdict)
}

const WANTED: Wanted = Wanted {
    file: reading::is_wanted,
    directory: reading::is_entered,
    help: "looked for are *.yaml, *.yml, *.json, Dockerfile, *.Dockerfile, Dockerfile.*, Containerfile and Kustomization",
};

/// Reads a file into the report; what is wrong with it goes to standard error.
fn take(found: Found, workloads: &Workloads, report: &mut Report, surroundings: &mut Surroundings<'_>) {
    let (name, path, text) = match found {
        Found::Stdin => (files::STDIN.to_owned(), None, files::read_text(files::STDIN, &mut *surroundings.input)),
        Found::File(path) => (files::shown(&path), Some(path.clone()), files::read_file(&path)),
        Found::Problem(problem) => (String::new(), None, Err(Box::new(problem))),
    };
    let text = match text {
        Ok(text) => text,
        Err(problem) => {
            report.broken += 1;
            return files::complain(&[*problem], "", surroundings);
        }
    };
    let source = Source::new(&name, &text);
    let reading = reading::read(&source, &file_name(path.as_deref()), workloads);
    if !reading.problems.is_empty() {
        report.broken += 1;
        return files::complain(&reading.problems, &text, surroundings);
    }
    let image = |spot: spot::Spot| {
        let (line, column) = source.position(spot.place.start);
        Image { spot, line, column, outcome: None }
    };
    report.files.push(PinnedFile {
        images: reading.spots.into_iter().map(image).collect(),
        other_kinds: reading.other_kinds,
        unrecognised: reading.unrecognised,
        edits: Edits::default(),
        written: false,
        name,
        path,
        text,
    });
}

/// Judges the images of a file, and collects what is to be written.
fn pin(file: &mut PinnedFile, terms: &Terms<'_>, digests: &Digests) {
    let judged: Vec<_> = file.images.iter().map(|image| judge::judge(&image.spot, terms, digests)).collect();
    let edit = |(outcome, slot): &(Outcome, Option<&Slot>)| Some(slot.as_ref()?.edit(outcome.digest.as_deref()?));
    let edits: Vec<Option<Edit>> = judged.iter().map(edit).collect();
    // One place may serve several images through aliases; then it must be the same digest for all.
    let mut wanted: HashMap<&Span, &str> = HashMap::new();
    let mut contradicted: HashSet<&Span> = HashSet::new();
    for Edit { span, text } in edits.iter().flatten() {
        if *wanted.entry(span).or_insert(text) != text {
            contradicted.insert(span);
        }
    }
    let outcomes: Vec<_> = judged.into_iter().map(|(outcome, _)| outcome).collect();
    for ((image, outcome), edit) in file.images.iter_mut().zip(outcomes).zip(&edits) {
        let fits = edit.as_ref().is_none_or(|edit| !contradicted.contains(&edit.span) && file.edits.add(edit.clone()));
        image.outcome = Some(if fits { outcome } else { outcome.contradicted() });
    }
}

/// The new text, once it was read again and says of every image what is meant.
fn verified(file: &PinnedFile, workloads: &Workloads) -> Result<String, Box<Diagnostic>> {
    if file.edits.is_empty() {
        return Ok(String::new());
    }
    let new = file.edits.apply(&file.text);
    let reading = reading::read(&Source::new(&file.name, &new), &file_name(file.path.as_deref()), workloads);
    let meant = file.images.iter().map(Image::meant);
    if reading.problems.is_empty() && reading.spots.iter().map(|spot| spot.image.as_str()).eq(meant) {
        return Ok(new);
    }
    let problem = Diagnostic::of_file(&file.name, "left as it is: with its digests it would not read as meant");
    Err(Box::new(problem.help("pin its images by hand, and please report it")))
}

/// 2 where something could not be read or written, else 4 where a check found something, else 3 where a tag is not known.
fn exit(report: &Report) -> Exit {
    let count = |statuses: &[Status]| report.count(statuses) > 0;
    let found = report.action == Action::Check && count(&[Status::Changed, Status::Drifted, Status::Skipped]);
    let undecided = count(&[Status::Undecided]);
    let of = |holds, exit| if holds { exit } else { Exit::Clean };
    of(report.broken > 0, Exit::Error).and(of(found, Exit::Drift)).and(of(undecided, Exit::Undecided))
}

/// A file's name without its directory; empty for standard input.
fn file_name(path: Option<&Path>) -> String {
    path.and_then(Path::file_name).map_or_else(String::new, |name| name.to_string_lossy().into_owned())
}
