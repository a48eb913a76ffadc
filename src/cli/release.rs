//! `tagwarden release`: what a system consists of, and what of it ran where.

mod diff;
mod import;
mod lock;
mod reading;
mod resolve;
mod set;
mod show;
mod values;

use clap::{Args, Subcommand};

use super::{Exit, Surroundings};
use diff::DiffArgs;
use import::ImportArgs;
use lock::LockArgs;
use set::SetArgs;
use show::ShowArgs;
use values::ValuesArgs;

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
    /// Tell what is different between two releases: a pull request's body, say
    Diff(DiffArgs),
    /// Show a release
    Show(ShowArgs),
    /// Make a release file of another format: ImagesLock, promotion list, relocation map, Freight, Compose file
    Import(ImportArgs),
}

pub(super) fn run(args: &ReleaseArgs, surroundings: &mut Surroundings<'_>) -> anyhow::Result<Exit> {
    match &args.verb {
        ReleaseVerb::Lock(args) => lock::run(args, surroundings),
        ReleaseVerb::Set(args) => set::run(args, surroundings),
        ReleaseVerb::Values(args) => values::run(args, surroundings),
        ReleaseVerb::Diff(args) => diff::run(args, surroundings),
        ReleaseVerb::Show(args) => show::run(args, surroundings),
        ReleaseVerb::Import(args) => import::run(args, surroundings),
    }
}
