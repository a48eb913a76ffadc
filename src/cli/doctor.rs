//! `tagwarden doctor`: what an installation in a cluster is like, compared with what it should be; each finding with its remedy.

mod causes;
mod checks;
mod json;
mod numbers;
mod observe;
mod output;

use anyhow::{Context as _, bail};
use clap::Args;

use super::report::Format;
use super::{Exit, Surroundings, written};
use crate::cluster::Cluster;
pub use causes::{Cause, Level, causes};
use observe::{Observed, Wanted};

/// The arguments of `doctor`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    tagwarden doctor\n  \
    tagwarden doctor --context prod --format json\n\n\
    Run it as a cluster admin, from anywhere with a kubeconfig (KUBECONFIG, or the current one of kubectl). It reads the \
    webhook configurations, the release's objects and, through the API server, health and metrics of every replica; it \
    asks what the server's account may do; and it has the API server judge the creation of one Pod as a dry run. It \
    changes nothing. What it cannot read it says, and never calls well.\n\n\
    Exit codes: 0 nothing is wrong (warnings aside); 1 there is a problem; 2 usage, no cluster, or no installation in it; \
    3 something could not be checked. Where several hold: 2, 1, 3.")]
pub struct DoctorArgs {
    /// The context of the kubeconfig to use
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
    /// The namespace of the release [default: found by the webhook configurations]
    #[arg(short, long, value_name = "NAME")]
    namespace: Option<String>,
    /// The release's full name, that of its webhook configurations [default: found, where there is one]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// The output's format
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t)]
    format: Format,
}

pub(super) fn run(args: &DoctorArgs, surroundings: &mut Surroundings<'_>) -> anyhow::Result<Exit> {
    // One thread is enough for waiting.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.context("cannot start what asks the API server")?;
    let wanted = Wanted { namespace: args.namespace.as_deref(), name: args.name.as_deref() };
    let observed = runtime.block_on(async {
        let cluster = Cluster::of_caller(args.context.as_deref()).await.map_err(anyhow::Error::msg)?;
        match Observed::read(&cluster, wanted).await {
            Ok(observed) => Ok(observed),
            Err(problem) => bail!(problem),
        }
    })?;
    let outcomes = checks::all(&observed);
    let exit = outcomes.iter().map(|outcome| exit_of(outcome.level())).fold(Exit::Clean, Exit::and);
    let told = match args.format {
        Format::Plain => output::plain(&observed.release, &outcomes, surroundings),
        Format::Json => output::json(&observed.release, &outcomes, surroundings),
    };
    written(told, exit)
}

fn exit_of(level: Level) -> Exit {
    match level {
        Level::Ok | Level::Warning => Exit::Clean,
        Level::Unknown => Exit::Undecided,
        Level::Problem => Exit::Violation,
    }
}
