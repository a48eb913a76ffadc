//! Whether the API server trusts our certificate, by what our own webhook configurations say; waited for before we are ready.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::time::Instant;

use super::accept::jittered;
use super::state::Shared;
use super::tls::Tls;
use crate::cluster::{WebhookConfiguration, WebhookConfigurations, WebhookKind};
use crate::config::Webhooks;

/// How often it is looked whether they trust us, until they do.
const INTERVAL: Duration = Duration::from_secs(1);
/// How long a configuration that is not there is waited for: whoever installs us applies it in a moment. After that it
/// counts as one by which nobody calls, since nobody does; somebody took it out so that Pods are no longer refused.
const ABSENCE: Duration = Duration::from_secs(30);

/// Waits until every configuration that is named and there trusts our certificate. From then on it counts as trusted:
/// neither an API server that is away nor an edit takes a replica out that others would have to replace.
pub(super) fn wait(shared: Arc<Shared>, front: Arc<ArcSwapOption<Tls>>, configurations: WebhookConfigurations) {
    shared.readiness.ca_bundle_missing("the webhook configurations have not been read yet".to_owned());
    tokio::spawn(async move {
        let mut told = String::new();
        let mut absence = Absence::default();
        loop {
            let webhooks = shared.live.load().config.webhooks.clone();
            let tls = front.load_full();
            let problem = match look(&configurations, &webhooks, tls.as_deref()).await {
                Standing::Trusted => {
                    tracing::info!("the webhook configurations trust our certificate");
                    break;
                }
                Standing::Absent(problem) if absence.lasts() => {
                    tracing::warn!(problem, "ready without it, since nobody calls by it; apply the chart again");
                    break;
                }
                Standing::Absent(problem) | Standing::Untrusted(problem) => problem,
            };
            if told != problem {
                tracing::info!(problem, "waiting for caBundle");
                told.clone_from(&problem);
            }
            shared.readiness.ca_bundle_missing(problem);
            tokio::time::sleep(jittered(INTERVAL)).await;
        }
        shared.readiness.ca_bundle_in_place();
    });
}

/// What the configurations say, all in all.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// All trust us.
    Trusted,
    /// All that are there do, and one is not there: this one.
    Absent(String),
    /// One does not, for this reason, or nobody knows.
    Untrusted(String),
}

/// Since when a configuration is known not to be there.
#[derive(Default)]
struct Absence {
    since: Option<Instant>,
}

impl Absence {
    /// Whether it was not there for so long that nobody is about to apply it.
    fn lasts(&mut self) -> bool {
        ABSENCE <= self.since.get_or_insert_with(Instant::now).elapsed()
    }
}

/// Whether the configurations that are there trust this certificate.
pub(super) async fn look(configurations: &WebhookConfigurations, webhooks: &Webhooks, tls: Option<&Tls>) -> Standing {
    let Some(tls) = tls else { return Standing::Untrusted("there is no certificate yet".to_owned()) };
    let mut absent = None;
    for (kind, name) in named(webhooks) {
        let trusted = match configurations.read(kind, name).await {
            Ok(Some(found)) => trusts(&found, tls),
            Ok(None) => {
                absent.get_or_insert_with(|| format!("{} '{name}' is not there", kind.name()));
                Ok(())
            }
            Err(problem) => Err(problem),
        };
        if let Err(problem) = trusted {
            return Standing::Untrusted(problem);
        }
    }
    absent.map_or(Standing::Trusted, Standing::Absent)
}

/// The configurations that are named.
pub fn named(webhooks: &Webhooks) -> impl Iterator<Item = (WebhookKind, &str)> {
    let validating = webhooks.validating.as_deref().map(|name| (WebhookKind::Validating, name));
    let mutating = webhooks.mutating.as_deref().map(|name| (WebhookKind::Mutating, name));
    validating.into_iter().chain(mutating)
}

/// Whether each webhook of a configuration trusts this certificate.
///
/// # Errors
/// One sentence that names the first webhook that does not, and why.
fn trusts(configuration: &WebhookConfiguration, tls: &Tls) -> Result<(), String> {
    let now = super::now();
    configuration.webhooks.iter().try_for_each(|webhook| {
        tls.trusted_by(&webhook.ca_bundle, webhook.host().as_deref(), now).map_err(|problem| {
            format!("{} '{}', webhook '{}': {problem}", configuration.kind.name(), configuration.name, webhook.name)
        })
    })
}
