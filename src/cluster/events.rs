//! Events of the cluster: what is told to people who look at a namespace.

use http::{Request, header};
use jiff::Timestamp;
use serde::de::IgnoredAny;
use serde_json::json;

use super::Cluster;
use super::ask::ask;

/// Characters of a note; the API server takes no more.
const NOTE: usize = 1024;

/// Writes Events under one replica's name.
#[derive(Clone)]
pub struct Events {
    client: kube::Client,
    replica: String,
}

impl Events {
    /// Of this replica.
    #[must_use]
    pub fn of(cluster: &Cluster, replica: String) -> Self {
        Events { client: cluster.once.clone(), replica }
    }

    /// Tells something about a namespace in that namespace (API group events.k8s.io, version v1).
    ///
    /// # Errors
    /// One sentence: the API server did not answer, or not in time, or refuses it.
    pub async fn tell(&self, namespace: &str, reason: &str, note: &str, now: Timestamp) -> Result<(), String> {
        let note: String = note.chars().take(NOTE).collect();
        let event = json!({
            "apiVersion": "events.k8s.io/v1", "kind": "Event",
            "metadata": {"generateName": "tagwarden-", "namespace": namespace},
            "eventTime": format!("{now:.6}"), "type": "Normal", "reason": reason, "action": reason, "note": note,
            // An Event stands in the namespace of what it is about; a Namespace is taken to be in itself.
            "regarding": {"apiVersion": "v1", "kind": "Namespace", "name": namespace, "namespace": namespace},
            "reportingController": "tagwarden.dev/history", "reportingInstance": self.replica,
        });
        let path = format!("/apis/events.k8s.io/v1/namespaces/{namespace}/events");
        let request = Request::post(path).header(header::CONTENT_TYPE, "application/json");
        let request = request.body(event.to_string().into_bytes()).map_err(|error| error.to_string())?;
        let written = self.client.request::<IgnoredAny>(request);
        ask(&format!("create an Event in the namespace {namespace}"), written).await.map(drop)
    }
}
