//! `tagwarden release`: what a system consists of, from its file to what runs.

mod diff;
mod history;
mod import;
mod lock;
mod reading;
mod resolve;
mod running;
mod set;
mod show;
mod snapshot;
mod used;
mod values;
mod verify;

use clap::{Args, Subcommand};

use super::{Exit, Surroundings};
use diff::DiffArgs;
use history::HistoryArgs;
use import::ImportArgs;
use lock::LockArgs;
use set::SetArgs;
use show::ShowArgs;
use snapshot::SnapshotArgs;
use values::ValuesArgs;
use verify::VerifyArgs;

/// The arguments of `release`.
#[derive(Debug, Args)]
pub struct ReleaseArgs {
    #[command(subcommand)]
    verb: ReleaseVerb,
}

/// What to do with releases.
#[derive(Debug, Subcommand)]
enum ReleaseVerb {
    /// Resolve every tag, and write digest, commit, platforms and id
    Lock(LockArgs),
    /// Give images another version, resolved and locked
    Set(SetArgs),
    /// Print Helm values: the images and the free sections
    Values(ValuesArgs),
    /// Compare manifests, or what runs in the cluster, with a release
    Verify(VerifyArgs),
    /// Tell what is different between two releases: a pull request's body, say
    Diff(DiffArgs),
    /// Show a release
    Show(ShowArgs),
    /// Write a release file of what runs in the cluster
    Snapshot(SnapshotArgs),
    /// Tell which release and which digests a namespace ran, from when to when
    History(HistoryArgs),
    /// Make a release file of another format: ImagesLock, promotion list, relocation map, Freight, Compose file
    Import(ImportArgs),
}

pub(super) fn run(args: &ReleaseArgs, surroundings: &mut Surroundings<'_>) -> anyhow::Result<Exit> {
    match &args.verb {
        ReleaseVerb::Lock(args) => lock::run(args, surroundings),
        ReleaseVerb::Set(args) => set::run(args, surroundings),
        ReleaseVerb::Values(args) => values::run(args, surroundings),
        ReleaseVerb::Verify(args) => verify::run(args, surroundings),
        ReleaseVerb::Diff(args) => diff::run(args, surroundings),
        ReleaseVerb::Show(args) => show::run(args, surroundings),
        ReleaseVerb::Snapshot(args) => snapshot::run(args, surroundings),
        ReleaseVerb::History(args) => history::run(args, surroundings),
        ReleaseVerb::Import(args) => import::run(args, surroundings),
    }
}
