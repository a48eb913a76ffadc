//! What each replica says of itself on its health port, asked through the API server.

use futures_util::future::join_all;
use serde_json::Value;

use super::{Read, skew};
use crate::cli::doctor::json::{list, text};
use crate::cli::doctor::numbers::{number, samples};
use crate::cluster::{Page, Reader};

/// The health port where the Pod does not say.
const HEALTH: i64 = 8080;

/// One replica.
pub(in crate::cli::doctor) struct Replica {
    /// The Pod's name.
    pub name: String,
    /// Its health port.
    pub port: i64,
    /// Whether the cluster counts it as ready.
    pub is_ready: bool,
    /// What keeps its container from running; empty: nothing is known.
    pub waiting: String,
    /// Its `/readyz?verbose`, with any status.
    pub readyz: Read<Page>,
    /// Its metrics.
    pub metrics: Read<String>,
    /// The chain that it serves, PEM; none: it has none yet, or is of a version that does not say.
    pub certificate: Read<Option<String>>,
    /// Its clock minus ours in seconds.
    pub skew: Option<i64>,
}

impl Replica {
    /// A metric without labels.
    pub fn number(&self, name: &str) -> Option<f64> {
        number(self.metrics.as_ref().ok()?, name)
    }

    /// The hash of each policy in force, as one text.
    pub fn policies(&self) -> Option<Vec<(&str, &str)>> {
        let infos = samples(self.metrics.as_ref().ok()?, "tagwarden_policy_info");
        let mut policies: Vec<_> = infos.iter().map(|info| (info.label("policy"), info.label("hash"))).collect();
        policies.sort_unstable();
        Some(policies)
    }

    /// Its version.
    pub fn version(&self) -> Option<&str> {
        samples(self.metrics.as_ref().ok()?, "tagwarden_build_info").first().map(|info| info.label("version"))
    }
}

/// Asks all of them side by side.
pub(super) async fn read(reader: &Reader, namespace: &str, pods: &[Value]) -> Vec<Replica> {
    join_all(pods.iter().map(|pod| one(reader, namespace, pod))).await
}

async fn one(reader: &Reader, namespace: &str, pod: &Value) -> Replica {
    let name = text(pod, "/metadata/name");
    let port = port(pod);
    let base = base(namespace, name, port);
    let is_ready =
        list(pod, "/status/conditions").iter().any(|c| text(c, "/type") == "Ready" && text(c, "/status") == "True");
    let [readyz, metrics, certificate] =
        ["readyz?verbose", "metrics", "certificate"].map(|page| format!("{base}/{page}"));
    // Side by side: a replica that hangs takes its time once.
    let (readyz, metrics, certificate) =
        tokio::join!(reader.page(&readyz), reader.page(&metrics), reader.page(&certificate));
    let readyz = readyz.and_then(from_pod);
    let skew = readyz.as_ref().ok().and_then(skew);
    let metrics = metrics.and_then(from_pod).and_then(Page::accepted);
    let certificate = certificate.and_then(from_pod).and_then(|page| match page.status {
        404 => Ok(None),
        _ => page.accepted().map(Some),
    });
    Replica { name: name.to_owned(), port, is_ready, waiting: waiting(pod), readyz, metrics, certificate, skew }
}

/// Its metrics as they are now.
pub(super) async fn metrics(reader: &Reader, namespace: &str, replica: &Replica) -> Read<String> {
    let base = base(namespace, &replica.name, replica.port);
    reader.page(&format!("{base}/metrics")).await.and_then(from_pod).and_then(Page::accepted)
}

fn base(namespace: &str, name: &str, port: i64) -> String {
    format!("/api/v1/namespaces/{namespace}/pods/{name}:{port}/proxy")
}

/// The API server answers in the Pod's place, with a Status, where it may not or cannot reach it.
fn from_pod(page: Page) -> Read<Page> {
    if page.text.starts_with('{') && page.status >= 400 { Err(page.refusal()) } else { Ok(page) }
}

fn port(pod: &Value) -> i64 {
    let ports = list(pod, "/spec/containers").iter().flat_map(|container| list(container, "/ports"));
    let health = ports.filter(|port| text(port, "/name") == "health").find_map(|port| port["containerPort"].as_i64());
    health.unwrap_or(HEALTH)
}

/// Why its container does not run, as the kubelet says it; or why it is on no node.
fn waiting(pod: &Value) -> String {
    let statuses = list(pod, "/status/containerStatuses").iter();
    let mut waiting = statuses.filter_map(|status| status.pointer("/state/waiting"));
    if let Some(waiting) = waiting.next() {
        return format!("{} {}", text(waiting, "/reason"), text(waiting, "/message")).trim().to_owned();
    }
    let unscheduled = list(pod, "/status/conditions")
        .iter()
        .find(|c| text(c, "/type") == "PodScheduled" && text(c, "/status") == "False");
    unscheduled.map_or_else(String::new, |condition| text(condition, "/message").to_owned())
}

#[cfg(test)]
mod tests {
    use super::{from_pod, port, waiting};
    use crate::cluster::{Page, Unread};
    use serde_json::json;

    #[test]
    fn an_answer_of_the_api_server_is_none_of_the_pod() {
        let page = |status, text: &str| Page { status, date: None, text: text.to_owned() };
        let status = r#"{"kind":"Status","message":"error trying to reach service: dial tcp"}"#;
        assert!(matches!(from_pod(page(503, status)), Err(Unread::Failed(why)) if why.contains("dial tcp")));
        assert!(matches!(from_pod(page(403, status)), Err(Unread::Forbidden(_))));
        assert_eq!(from_pod(page(503, "[-]policies not ready\nnot ready\n")).unwrap().status, 503);
    }

    #[test]
    fn a_pod_tells_its_port_and_what_it_waits_for() {
        let pod = json!({"spec": {"containers": [{"ports": [{"name": "webhook", "containerPort": 1}, {"name": "health", "containerPort": 9}]}]},
            "status": {"containerStatuses": [{"state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such tag"}}}]}});
        assert_eq!((port(&pod), waiting(&pod).as_str()), (9, "ImagePullBackOff no such tag"));
        assert_eq!((port(&json!({})), waiting(&json!({})).as_str()), (8080, ""));
        let pending =
            json!({"status": {"conditions": [{"type": "PodScheduled", "status": "False", "message": "0/1 nodes"}]}});
        assert_eq!(waiting(&pending), "0/1 nodes");
    }
}
