//! `release lock`: every tag resolved, and digest, commit, platforms and id written beside it.

use std::path::PathBuf;

use clap::Args;

use super::reading::{self, Becomes, deliver};
use super::resolve::{self, Answers, Depth, Drift, OriginArgs, judge};
use crate::cli::report::count;
use crate::cli::{Exit, Surroundings, files, written};
use crate::document::{Diagnostic, render};
use crate::release::{Change, Image, ReleaseFile};

/// The arguments of `release lock`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    tagwarden release lock --write releases/system.yaml\n  \
    tagwarden release lock --check releases/system.yaml\n  \
    tagwarden release lock --config tagwarden.yaml releases/system.yaml > locked.yaml\n\n\
    Each image's tag is resolved, side by side: its digest (of the index, where it has several platforms), the digests \
    of its platforms and the commit of its label org.opencontainers.image.revision are written beside it, and the id \
    over all of it. Nothing else in the file changes. Without --write the locked file is printed.\n\n\
    An image whose tag is no more the digest that is written is drift: nothing is written without --update.\n\n\
    Exit codes: 0 locked, or with --check: it is; 1 an image's tag and label name two commits; 2 usage, configuration or \
    input error; 3 a registry gave no answer; 4 a tag has moved, or with --check: the lock is stale. Where several \
    hold: 2, 1, 4, 3. Unless it is 0, nothing is written.")]
pub(super) struct LockArgs {
    /// The release file; `-` is standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Write the file, instead of printing it
    #[arg(long, conflicts_with = "check")]
    write: bool,
    /// Write nothing, and exit 4 where the lock is stale: a tag moved, a digest is missing, the id is another
    #[arg(long)]
    check: bool,
    /// Replace digests whose tags have moved on
    #[arg(long, conflicts_with = "check")]
    update: bool,
    #[command(flatten)]
    origin: OriginArgs,
}

pub(super) fn run(args: &LockArgs, surroundings: &mut Surroundings<'_>) -> anyhow::Result<Exit> {
    let becomes = Becomes::of(args.write, &args.file)?;
    let Some(origin) = args.origin.origin(surroundings) else { return Ok(Exit::Error) };
    let Some(file) = reading::read_strictly(&args.file, surroundings) else { return Ok(Exit::Error) };
    let drift = if args.update { Drift::Updated } else { Drift::Told };
    let depth = |image: &Image| match args.check {
        true => Depth::Digest,
        false => depth(image, drift),
    };
    // Of a digest without a tag there is nothing that could be stale.
    let asked = |image: &&Image| !args.check || image.tag.is_some();
    let images: Vec<_> = file.release.images().iter().filter(asked).map(|image| (image, depth(image))).collect();
    let answers = resolve::ask(origin, &images, surroundings)?;
    if args.check {
        return check(&file, &answers, surroundings);
    }
    let changes = match judged(&file, &answers, drift) {
        Ok(changes) => changes,
        Err(problems) => return Ok(complain(problems, &file, surroundings)),
    };
    let Some(new) = reading::told(file.sealed(&changes), file.text(), surroundings) else { return Ok(Exit::Error) };
    deliver(becomes, &args.file, &file, &new, surroundings)
}

/// How much has to be asked of an image.
pub(super) fn depth(image: &Image, drift: Drift) -> Depth {
    let whole = image.digest.is_some() && (image.commit.is_some() || !image.platforms.is_empty());
    match (whole, drift) {
        (false, _) => Depth::All,
        (true, Drift::Told) => Depth::Digest,
        (true, Drift::Updated) => Depth::MoreIfMoved,
    }
}

/// What keeps a release from being locked, and how the verb ends by it.
pub(super) type Problem = (Exit, Box<Diagnostic>);

/// The changes of all images that were asked for; else every problem.
pub(super) fn judged(file: &ReleaseFile, answers: &Answers, drift: Drift) -> Result<Vec<Change>, Vec<Problem>> {
    let (mut changes, mut problems) = (Vec::new(), Vec::new());
    for image in file.release.images() {
        let Some(answer) = answers.get(&image.name) else { continue };
        match judge(file, image, answer, drift) {
            Ok(found) => changes.extend(found),
            Err(problem) => problems.push(problem),
        }
    }
    if problems.is_empty() { Ok(changes) } else { Err(problems) }
}

/// Tells the problems on standard error; how the verb ends.
pub(super) fn complain(problems: Vec<Problem>, file: &ReleaseFile, surroundings: &mut Surroundings<'_>) -> Exit {
    let exit = problems.iter().map(|(exit, _)| *exit).fold(Exit::Clean, Exit::and);
    let diagnostics: Vec<Diagnostic> = problems.into_iter().map(|(_, diagnostic)| *diagnostic).collect();
    files::complain(&diagnostics, file.text(), surroundings);
    exit
}

/// Tells what is stale.
fn check(file: &ReleaseFile, answers: &Answers, surroundings: &mut Surroundings<'_>) -> anyhow::Result<Exit> {
    let mut stale: Vec<Diagnostic> = Vec::new();
    let mut verdict = Exit::Clean;
    let images = file.release.images();
    for image in images {
        if image.digest.is_none() {
            let problem = file.problem_of(&image.name, "it has no digest: it is not locked");
            stale.push(problem.help("`tagwarden release lock --write` adds it"));
        }
        let Some(answer) = answers.get(&image.name) else { continue };
        match judge(file, image, answer, Drift::Told) {
            Ok(_) => {}
            Err((Exit::Drift, problem)) => stale.push(*problem),
            Err(problem) => verdict = verdict.and(complain(vec![problem], file, surroundings)),
        }
    }
    let id = file.release.id();
    if file.written_id.is_none() {
        let problem = Diagnostic::of_file(file.file_name(), "it has no id: it is not locked");
        stale.push(problem.help("`tagwarden release lock --write` adds it"));
    }
    stale.extend(file.stale().map(reading::as_error));
    if !stale.is_empty() {
        verdict = verdict.and(Exit::Drift);
    }
    let (color, out) = (surroundings.color, &mut surroundings.out);
    let mut printed = stale.iter().try_for_each(|problem| writeln!(out, "{}", render(problem, file.text(), color)));
    if printed.is_ok() {
        let end = match (stale.len(), verdict) {
            (0, Exit::Clean) => format!("the lock holds: {}, {id}", file.release.name()),
            (0, _) => "whether the lock holds is not known".to_owned(),
            (number, _) => format!("the lock is stale: {}", count(number, "difference")),
        };
        printed = writeln!(out, "{}: {}: {end}", file.file_name(), count(images.len(), "image"));
    }
    written(printed.and_then(|()| surroundings.out.flush()), verdict)
}
