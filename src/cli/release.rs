//! `tagwarden release`: what a system consists of, and what of it ran where.

mod history;

use clap::{Args, Subcommand};

use super::{Exit, Surroundings};
use history::HistoryArgs;

/// The arguments of `release`.
#[derive(Debug, Args)]
pub struct ReleaseArgs {
    #[command(subcommand)]
    verb: ReleaseVerb,
}

/// What to do with releases.
#[derive(Debug, Subcommand)]
enum ReleaseVerb {
    /// Tell which release and which digests a namespace ran, from when to when
    History(HistoryArgs),
}

pub(super) fn run(args: &ReleaseArgs, surroundings: &mut Surroundings<'_>) -> anyhow::Result<Exit> {
    match &args.verb {
        ReleaseVerb::History(args) => history::run(args, surroundings),
    }
}
