//! The releases that a command judges by: files that are named, else the directories of the configuration.

use std::path::PathBuf;
use std::sync::Arc;

use super::{Surroundings, files};
use crate::config::ReleaseSource;
use crate::document::{Color, Diagnostic, render};
use crate::policy::{Loaded, Releases, Snapshots};
use crate::watch::policy_files;

/// Reads them. None, after every problem in them was written to standard error.
pub(super) fn read(
    named: &[PathBuf],
    configured: &[ReleaseSource],
    surroundings: &mut Surroundings<'_>,
) -> Option<Releases> {
    if let Some(first) = named.first() {
        let snapshots = snapshots(named, surroundings)?;
        let texts = files::read_file(first).ok()?;
        let name = crate::release::Release::read(&files::shown(first), &texts).ok()?.name().to_owned();
        return Some(Releases::everywhere(&name, snapshots));
    }
    let mut choices = Vec::with_capacity(configured.len());
    for source in configured {
        let found = match policy_files(&source.dir) {
            Ok(found) => found,
            Err(problem) => {
                files::complain(&[Diagnostic::of_file(&files::shown(&source.dir), problem)], "", surroundings);
                return None;
            }
        };
        choices.push((source.choice.clone(), Loaded::Releases(Arc::new(snapshots(&found, surroundings)?))));
    }
    Some(Releases::new(choices))
}

/// The releases of these files. None, after every problem was written to standard error.
fn snapshots(paths: &[PathBuf], surroundings: &mut Surroundings<'_>) -> Option<Snapshots> {
    let (mut texts, mut problems) = (Vec::with_capacity(paths.len()), Vec::new());
    for path in paths {
        match files::read_file(path) {
            Ok(text) => texts.push((files::shown(path), text)),
            Err(problem) => problems.push(*problem),
        }
    }
    files::complain(&problems, "", surroundings);
    if !problems.is_empty() {
        return None;
    }
    match Snapshots::read(&texts) {
        Ok(snapshots) => {
            for warning in snapshots.warnings() {
                // A closed standard error takes nothing from the verdict.
                let _ = writeln!(surroundings.err, "note: {warning}");
            }
            Some(snapshots)
        }
        Err(problems) => {
            for problem in problems {
                let text = texts.iter().find(|(name, _)| *name == problem.file).map_or("", |(_, text)| text);
                let _ = writeln!(surroundings.err, "{}", render(&problem, text, Color::Never));
            }
            None
        }
    }
}
