//! Whether the API server trusts our certificate, by what our own webhook configurations say; waited for before we are ready.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;

use super::accept::jittered;
use super::state::Shared;
use super::tls::Tls;
use crate::cluster::{WebhookConfiguration, WebhookConfigurations, WebhookKind};
use crate::config::Webhooks;

/// How often it is looked whether they trust us, until they do.
const INTERVAL: Duration = Duration::from_secs(1);

/// Waits until every configuration that is named trusts our certificate. From then on it counts as trusted: neither an
/// API server that is away nor an edit takes a replica out that others would have to replace.
pub(super) fn wait(shared: Arc<Shared>, front: Arc<ArcSwapOption<Tls>>, configurations: WebhookConfigurations) {
    shared.readiness.ca_bundle_missing("the webhook configurations have not been read yet".to_owned());
    tokio::spawn(async move {
        let mut told = String::new();
        loop {
            let webhooks = shared.live.load().config.webhooks.clone();
            let tls = front.load_full();
            let Err(problem) = trusted(&configurations, &webhooks, tls.as_deref()).await else {
                shared.readiness.ca_bundle_in_place();
                tracing::info!("the webhook configurations trust our certificate");
                return;
            };
            if told != problem {
                tracing::info!(problem, "waiting for caBundle");
                told.clone_from(&problem);
            }
            shared.readiness.ca_bundle_missing(problem);
            tokio::time::sleep(jittered(INTERVAL)).await;
        }
    });
}

async fn trusted(configurations: &WebhookConfigurations, webhooks: &Webhooks, tls: Option<&Tls>) -> Result<(), String> {
    let tls = tls.ok_or("there is no certificate yet")?;
    for (kind, name) in named(webhooks) {
        let found = configurations.read(kind, name).await?;
        let found = found.ok_or_else(|| format!("{} '{name}' is not there", kind.name()))?;
        trusts(&found, tls)?;
    }
    Ok(())
}

/// The configurations that are named.
pub(super) fn named(webhooks: &Webhooks) -> impl Iterator<Item = (WebhookKind, &str)> {
    let validating = webhooks.validating.as_deref().map(|name| (WebhookKind::Validating, name));
    let mutating = webhooks.mutating.as_deref().map(|name| (WebhookKind::Mutating, name));
    validating.into_iter().chain(mutating)
}

/// Whether each webhook of a configuration trusts this certificate.
///
/// # Errors
/// One sentence that names the first webhook that does not, and why.
pub(super) fn trusts(configuration: &WebhookConfiguration, tls: &Tls) -> Result<(), String> {
    let now = super::now();
    configuration.webhooks.iter().try_for_each(|webhook| {
        tls.trusted_by(&webhook.ca_bundle, webhook.host().as_deref(), now).map_err(|problem| {
            format!("{} '{}', webhook '{}': {problem}", configuration.kind.name(), configuration.name, webhook.name)
        })
    })
}
