//! The releases that a command judges by: files that are named, else what the configuration names.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Surroundings, files};
use crate::cluster::StoredObjects;
use crate::config::{ReleaseOrigin, ReleaseSource};
use crate::document::{Color, Diagnostic, render};
use crate::policy::{Loaded, Releases, Snapshots};
use crate::server::releases_of_objects;
use crate::watch::policy_files;

/// Why objects have no releases where only files are read.
const UNREAD: &str = "ImageRelease objects are not read here; name their files by --release";

/// Reads them. `objects`: those of the cluster; none: nobody reads them here. None, after every problem in them was written to
/// standard error.
pub(super) fn read(
    named: &[PathBuf],
    configured: &[ReleaseSource],
    objects: Option<&StoredObjects>,
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
        let loaded = match (&source.origin, objects) {
            (ReleaseOrigin::Directory(dir), _) => directory(dir, surroundings)?,
            (ReleaseOrigin::Objects, Some(objects)) => of_objects(objects, surroundings)?,
            (ReleaseOrigin::Objects, None) => Loaded::Never(UNREAD.to_owned()),
        };
        choices.push((source.choice.clone(), loaded));
    }
    if objects.is_none() && configured.iter().any(|source| source.origin == ReleaseOrigin::Objects) {
        let _ = writeln!(surroundings.err, "note: 'releases' names objects, and {UNREAD}");
    }
    Some(Releases::new(choices))
}

/// The releases of a directory. None, after every problem was written to standard error.
fn directory(dir: &Path, surroundings: &mut Surroundings<'_>) -> Option<Loaded> {
    let found = match policy_files(dir) {
        Ok(found) => found,
        Err(problem) => {
            files::complain(&[Diagnostic::of_file(&files::shown(dir), problem)], "", surroundings);
            return None;
        }
    };
    Some(Loaded::Releases(Arc::new(snapshots(&found, surroundings)?)))
}

/// The releases of the cluster's objects. None, after every problem was written to standard error.
fn of_objects(objects: &StoredObjects, surroundings: &mut Surroundings<'_>) -> Option<Loaded> {
    match releases_of_objects(objects) {
        Ok(snapshots) => Some(Loaded::Releases(Arc::new(snapshots))),
        Err(problems) => {
            for problem in problems {
                let _ = writeln!(surroundings.err, "error: {problem}");
            }
            None
        }
    }
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
