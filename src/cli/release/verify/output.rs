//! What `release verify` prints: every difference and the counts, or the stable JSON.

use std::io::{self, Write};

use serde::Serialize;

use super::compare::{Comparison, Outcome};
use crate::cli::release::used::AllUsed;
use crate::cli::report::json::{SCHEMA_VERSION, print};
use crate::cli::report::{count, shown};
use crate::image::DigestBuf;
use crate::release::Release;

/// A block for each difference, and one line of counts.
pub(super) fn plain(release: &Release, comparison: &Comparison, all: &AllUsed, out: &mut dyn Write) -> io::Result<()> {
    let mut block = |word: &str, head: &str, lines: &[&str]| -> io::Result<()> {
        writeln!(out, "{word:<11}{}", shown(head))?;
        lines.iter().try_for_each(|line| writeln!(out, "           {}", shown(line)))
    };
    for (used, outcome) in comparison.outcomes.iter().filter(|(_, outcome)| !is_fine(outcome)) {
        let why = message(outcome).unwrap_or_default();
        let lines = [used.shown(), why];
        let lines: Vec<&str> = lines.iter().map(String::as_str).filter(|line| !line.is_empty()).collect();
        block(word(outcome), &used.image, &lines)?;
    }
    for (name, reference) in &comparison.missing {
        block("missing", name, &[&format!("{reference} is used nowhere")])?;
    }
    for (name, commit) in &comparison.other_commits {
        block("commit", name, &[&format!("built from {commit}")])?;
    }
    for name in &comparison.uncommitted {
        block("undecided", name, &["its commit is not known: `tagwarden release lock` asks for it"])?;
    }
    for skipped in &all.skipped {
        writeln!(out, "not looked at: {}", shown(skipped))?;
    }
    for unknown in &all.unknown {
        let told =
            "undecided: a kind with images that nobody told us where to find; name it in 'workloads' of --config";
        writeln!(out, "not looked at: {}, {told}", shown(unknown))?;
    }
    for unlisted in &all.unlisted {
        writeln!(out, "not listed, so that Pods are compared as they are written: {}", shown(unlisted))?;
    }
    let is = |wanted: fn(&Outcome) -> bool| comparison.count(wanted);
    let other = comparison.other_commits.len() + comparison.uncommitted.len();
    let of_commit = comparison.held_against_commit.saturating_sub(other);
    let counts = [
        (is(|outcome| *outcome == Outcome::Equal), "equal"),
        (is(|outcome| *outcome == Outcome::ByTag), "by tag alone"),
        (is(|outcome| matches!(outcome, Outcome::Different(_) | Outcome::Unreadable(_))), "different"),
        (is(|outcome| *outcome == Outcome::Extra), "extra"),
        (comparison.missing.len(), "missing"),
        (of_commit, "of the commit"),
        (comparison.other_commits.len(), "of another commit"),
        (is(|outcome| matches!(outcome, Outcome::Undecided(_))) + comparison.uncommitted.len(), "undecided"),
        (is(|outcome| *outcome == Outcome::Ignored), "ignored"),
    ];
    let counted: Vec<String> =
        counts.iter().filter(|(number, _)| *number > 0).map(|(number, what)| format!("{number} {what}")).collect();
    let counted = if counted.is_empty() { "nothing to compare".to_owned() } else { counted.join(", ") };
    let (images, objects) = (count(comparison.outcomes.len(), "image"), count(all.objects, "object"));
    let head = format!("release {} ({})", shown(release.name()), release.id().short());
    writeln!(out, "{head}: {objects}, {images}: {counted}")?;
    out.flush()
}

fn is_fine(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Equal | Outcome::ByTag | Outcome::Ignored)
}

/// Its word in both formats.
fn word(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Equal => "equal",
        Outcome::ByTag => "by-tag",
        Outcome::Ignored => "ignored",
        Outcome::Extra => "extra",
        Outcome::Different(_) | Outcome::Unreadable(_) => "different",
        Outcome::Undecided(_) => "undecided",
    }
}

fn message(outcome: &Outcome) -> Option<String> {
    match outcome {
        Outcome::Unreadable(why) => Some(format!("not a valid image reference: {why}")),
        Outcome::Different(declared) => Some(format!("the release has {declared}")),
        Outcome::Undecided(why) => Some(why.clone()),
        Outcome::Equal | Outcome::ByTag | Outcome::Ignored | Outcome::Extra => None,
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Output<'r> {
    schema_version: u32,
    release: &'r str,
    id: &'r str,
    objects: usize,
    images: Vec<ImageOutput<'r>>,
    missing: Vec<MissingOutput<'r>>,
    other_commits: Vec<CommitOutput<'r>>,
    unknown_commits: &'r [String],
    not_looked_at: Vec<&'r str>,
    unlisted_kinds: &'r [String],
}

/// One image that is used. Every key is always there.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ImageOutput<'r> {
    image: &'r str,
    object: &'r str,
    container: &'r str,
    file: Option<&'r str>,
    line: Option<usize>,
    runs: Vec<&'r str>,
    outcome: &'static str,
    message: Option<String>,
}

#[derive(Serialize)]
struct MissingOutput<'r> {
    name: &'r str,
    image: &'r str,
}

#[derive(Serialize)]
struct CommitOutput<'r> {
    name: &'r str,
    commit: &'r str,
}

pub(super) fn json(release: &Release, comparison: &Comparison, all: &AllUsed, out: &mut dyn Write) -> io::Result<()> {
    let images = comparison.outcomes.iter().map(|(used, outcome)| ImageOutput {
        image: &used.image,
        object: &used.object,
        container: &used.label,
        file: used.place.as_ref().map(|(file, _)| file.as_str()),
        line: used.place.as_ref().map(|(_, line)| *line),
        runs: used.runs.iter().map(DigestBuf::as_str).collect(),
        outcome: word(outcome),
        message: message(outcome),
    });
    let output = Output {
        schema_version: SCHEMA_VERSION,
        release: release.name(),
        id: release.id().as_str(),
        objects: all.objects,
        images: images.collect(),
        missing: comparison.missing.iter().map(|(name, image)| MissingOutput { name, image }).collect(),
        other_commits: comparison.other_commits.iter().map(|(name, commit)| CommitOutput { name, commit }).collect(),
        unknown_commits: &comparison.uncommitted,
        not_looked_at: all.skipped.iter().chain(&all.unknown).map(String::as_str).collect(),
        unlisted_kinds: &all.unlisted,
    };
    print(&output, out)
}
