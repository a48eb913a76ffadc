//! The releases that a command judges by: files that are named, else what the configuration names.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Surroundings, files};
use crate::cluster::StoredObjects;
use crate::config::{ReleaseOrigin, ReleaseSource};
use crate::document::{Color, Diagnostic, render};
use crate::policy::{Loaded, Releases, Snapshots};
use crate::release::ReleaseFile;
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
    if !named.is_empty() {
        let (snapshots, names) = snapshots(named, surroundings)?;
        let (name, others) = names.split_first()?;
        tell_previous(name, others, &snapshots, surroundings);
        return Some(Releases::everywhere(name, snapshots));
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
    let (snapshots, _) = snapshots(&found, surroundings)?;
    Some(Loaded::Releases(Arc::new(snapshots)))
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

/// Tells which releases of `previous` are not given, and which are given in vain.
fn tell_previous(name: &str, others: &[String], snapshots: &Snapshots, surroundings: &mut Surroundings<'_>) {
    let governing = snapshots.releases().find(|release| release.name() == name);
    let listed = |other: &&String| governing.is_some_and(|release| release.previous().contains(other));
    for other in others.iter().filter(|other| !listed(other)) {
        let told = format!("--release of {other} has no effect: {name}, which governs, does not list it as previous");
        let _ = writeln!(surroundings.err, "note: {told}");
    }
}

/// The releases of these files, and their names in the order of the files; of each whose lock is stale a warning. None,
/// after every problem was written to standard error.
fn snapshots(paths: &[PathBuf], surroundings: &mut Surroundings<'_>) -> Option<(Snapshots, Vec<String>)> {
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
            let read = texts.iter().filter_map(|(name, text)| ReleaseFile::read(name, text).ok());
            Some((snapshots, read.map(|file| file.release.name().to_owned()).collect()))
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
