//! `tagwarden hook pre-delete`: takes our webhook configurations away while what they call still answers.
//!
//! Helm deletes webhook configurations after Deployments and Services. Under `failurePolicy: Fail` the API server would
//! refuse every Pod in between, and for good where the uninstall breaks off there.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::bail;
use clap::Args;
use futures_util::future::join_all;

use super::patience::{Again, Patience};
use super::{duration, failed, ok, runtime};
use crate::cli::{Exit, Surroundings, written};
use crate::cluster::{Cluster, Deleted, WebhookConfigurations, WebhookKind};
use crate::config::{Config, Overrides, Webhooks};
use crate::document::Color;
use crate::server::named_configurations;

/// The arguments of `hook pre-delete`.
#[derive(Debug, Args)]
#[command(after_help = "The chart's pre-delete hook runs this. It deletes the two configurations that `webhooks` of \
    --config names; one that is absent already is fine. Without it: \
    kubectl delete validatingwebhookconfiguration,mutatingwebhookconfiguration NAME, then helm uninstall --no-hooks.\n\n\
    Exit codes: 0 both are gone; 2 one is not, and why.")]
pub(super) struct PreDeleteArgs {
    /// The server's configuration file
    #[arg(long, env = "TAGWARDEN_CONFIG", value_name = "FILE")]
    config: PathBuf,
    /// How long to try
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = duration)]
    timeout: Duration,
}

pub(super) fn run(args: &PreDeleteArgs, surroundings: &mut Surroundings<'_>) -> anyhow::Result<Exit> {
    let Some(webhooks) = webhooks(&args.config, surroundings) else { return Ok(Exit::Error) };
    let names: Vec<_> = named_configurations(&webhooks).collect();
    if names.is_empty() {
        bail!(
            "{} names no webhook configurations to delete: name ours in 'webhooks.validating' and 'webhooks.mutating'",
            args.config.display()
        );
    }
    let outcomes = runtime()?.block_on(async {
        let cluster = Cluster::configured().await.map_err(anyhow::Error::msg)?;
        let configurations = WebhookConfigurations::of(&cluster);
        let patience = Patience::of(args.timeout);
        // Side by side: one that cannot be deleted must not keep the other alive.
        let deletions = names.iter().map(|(kind, name)| delete(&configurations, *kind, name, patience));
        Ok::<_, anyhow::Error>(join_all(deletions).await)
    })?;
    let (mut exit, mut told) = (Exit::Clean, Ok(()));
    for ((kind, name), outcome) in names.iter().zip(outcomes) {
        let kind = kind.name();
        let line = match outcome {
            Ok(Deleted::Object) => ok(&format!("{kind} '{name}' is deleted"), surroundings),
            Ok(Deleted::Nothing) => ok(&format!("{kind} '{name}' was not there"), surroundings),
            Err(problem) => {
                exit = Exit::Error;
                failed(&problem, surroundings)
            }
        };
        told = told.and(line);
    }
    written(told, exit)
}

/// What the configuration says of our webhooks. A mistake elsewhere in it is told and must not keep an uninstall from
/// succeeding. None, after every problem was written, where the mistake is in what is asked for.
fn webhooks(file: &Path, surroundings: &mut Surroundings<'_>) -> Option<Webhooks> {
    let error = match Config::load(Some(file), &Overrides::default()) {
        Ok(config) => return Some(config.webhooks),
        Err(error) => error,
    };
    // Nobody is left to tell when standard error is closed.
    let _ = write!(surroundings.err, "{}", error.rendered(Color::Never));
    let webhooks = error.webhooks()?;
    let _ = writeln!(
        surroundings.err,
        "note: only 'webhooks' is needed of the configuration, which has no errors; going on"
    );
    Some(webhooks)
}

/// Every problem is worth another try: also a permission takes a moment to arrive where it was granted.
async fn delete(
    configurations: &WebhookConfigurations,
    kind: WebhookKind,
    name: &str,
    mut patience: Patience,
) -> Result<Deleted, String> {
    loop {
        match configurations.delete(kind, name).await {
            Err(problem) if patience.again().await == Again::No => return Err(problem),
            Err(_) => {}
            deleted => return deleted,
        }
    }
}
