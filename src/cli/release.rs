//! `tagwarden release`: what a system consists of, from its file to what runs.

mod history;
mod snapshot;
mod verify;

use std::path::Path;

use clap::{Args, Subcommand};

use super::{Exit, Surroundings, files};
use crate::release::ReleaseFile;
use history::HistoryArgs;
use snapshot::SnapshotArgs;
use verify::VerifyArgs;

/// The arguments of `release`.
#[derive(Debug, Args)]
pub struct ReleaseArgs {
    /// What to do.
    #[command(subcommand)]
    verb: ReleaseVerb,
}

/// The verbs of `release`.
#[derive(Debug, Subcommand)]
enum ReleaseVerb {
    /// Tell which release and which digests a namespace ran, from when to when
    History(HistoryArgs),
    /// Compare manifests, or what runs in the cluster, with a release
    Verify(VerifyArgs),
    /// Write a release file of what runs in the cluster
    Snapshot(SnapshotArgs),
}

/// Runs one of them.
pub(super) fn run(args: &ReleaseArgs, surroundings: &mut Surroundings<'_>) -> anyhow::Result<Exit> {
    match &args.verb {
        ReleaseVerb::History(args) => history::run(args, surroundings),
        ReleaseVerb::Verify(args) => verify::run(args, surroundings),
        ReleaseVerb::Snapshot(args) => snapshot::run(args, surroundings),
    }
}

/// Reads a release file; `-` is standard input. None, after every problem in it was written to standard error.
fn read(path: &Path, surroundings: &mut Surroundings<'_>) -> Option<ReleaseFile> {
    let (name, text) = match path.as_os_str() == "-" {
        true => (files::STDIN.to_owned(), files::read_text(files::STDIN, &mut *surroundings.input)),
        false => (files::shown(path), files::read_file(path)),
    };
    let text = match text {
        Ok(text) => text,
        Err(problem) => {
            files::complain(&[*problem], "", surroundings);
            return None;
        }
    };
    match ReleaseFile::read(&name, &text) {
        Ok(file) => Some(file),
        Err(problems) => {
            files::complain(&problems, &text, surroundings);
            None
        }
    }
}
