//! What outlives a restart during a registry's outage: last-known digests, saved by the elected replica, read at start.

use std::time::Duration;

use tokio::time::MissedTickBehavior;

use super::home::Home;
use crate::cluster::{Document, Leadership};
use crate::registry::Resolver;

/// The ConfigMap's name.
const NAME: &str = "tagwarden-last-known";
/// Bytes of the document; a ConfigMap holds 1 MiB and writes bytes as base64.
const LIMIT: usize = 512 << 10;
/// How often the elected replica saves.
const INTERVAL: Duration = Duration::from_secs(30);

/// Takes in what was saved, once, before the first review; then saves whenever this replica is the elected one.
///
/// Whatever fails here is told and serves nobody worse: the registry is asked then.
pub(super) async fn keep(resolver: Resolver, home: &Home) {
    let document = Document::of(&home.cluster, &home.namespace, NAME);
    match document.read().await {
        Ok(Some(bytes)) => match resolver.recall(&bytes) {
            Ok(digests) => tracing::info!(digests, "last-known digests are remembered"),
            Err(problem) => tracing::warn!(problem, "the saved last-known digests cannot be used"),
        },
        Ok(None) => {}
        Err(problem) => tracing::warn!(problem, "cannot read the saved last-known digests"),
    }
    tokio::spawn(save(resolver, document, home.leadership.clone()));
}

async fn save(resolver: Resolver, document: Document, leadership: Leadership) {
    let mut ticks = tokio::time::interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if !leadership.held() {
            continue;
        }
        let bytes = resolver.remembered(LIMIT);
        if bytes.is_empty() {
            continue;
        }
        if let Err(problem) = document.write(bytes).await {
            tracing::warn!(problem, "cannot save the last-known digests");
        }
    }
}
