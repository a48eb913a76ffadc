//! One Pod that the API server is asked to create as a dry run: the only way to see that it can call us.

use serde_json::{Value, json};

use super::{Read, Release, Replica, VALIDATE, ours};
use crate::cli::doctor::json::{list, text, texts};
use crate::cli::doctor::numbers::samples;
use crate::cluster::{Reader, Unread};

/// An image that nobody has; nothing is pulled in a dry run.
const IMAGE: &str = "registry.example.com/tagwarden/doctor:v1.0.0";

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli::doctor) enum Reviewed {
    /// We were asked; the API server's words where the Pod was refused.
    Heard {
        /// Where.
        namespace: String,
        /// What we said.
        verdict: &'static str,
    },
    /// The API server could not call.
    Failed(String),
    /// The Pod was let in, and no replica was asked about it.
    Unheard {
        /// Where.
        namespace: String,
    },
    /// It could not be tried.
    Untried(Unread),
}

/// Sends it into a namespace in which we are asked.
pub(super) async fn send(
    reader: &Reader,
    release: &Release,
    validating: &Read<Vec<Value>>,
    before: &[Replica],
) -> Reviewed {
    let untried = |why: &str| Reviewed::Untried(Unread::Failed(why.to_owned()));
    let configurations = match validating {
        Ok(configurations) => configurations,
        Err(why) => return Reviewed::Untried(why.clone()),
    };
    let Some(configuration) = ours(configurations, release) else {
        return untried("there is no ValidatingWebhookConfiguration to be called by");
    };
    let namespaces = match super::all(reader, "/api/v1/namespaces").await {
        Ok(namespaces) => namespaces,
        Err(why) => return Reviewed::Untried(why),
    };
    let excluded = excluded(configuration);
    let names = namespaces.iter().map(|namespace| text(namespace, "/metadata/name"));
    let mut open: Vec<&str> = names.filter(|name| !excluded.contains(name) && *name != "kube-public").collect();
    open.sort_by_key(|name| *name != "default");
    let Some(namespace) = open.first().copied() else { return untried("every namespace is excluded") };

    let pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "tagwarden-doctor", "namespace": namespace},
        "spec": {
            "automountServiceAccountToken": false,
            "securityContext": {"runAsNonRoot": true, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{
                "name": "main", "image": IMAGE,
                "resources": {"requests": {"cpu": "1m", "memory": "1Mi"}, "limits": {"cpu": "1m", "memory": "1Mi"}},
                "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
            }],
        },
    });
    let counted = heard(before.iter().filter_map(|replica| Some((&*replica.name, replica.metrics.as_deref().ok()?))));
    let path = format!("/api/v1/namespaces/{namespace}/pods?dryRun=All");
    let page = match reader.post(&path, &pod).await {
        Ok(page) => page,
        Err(why) => return Reviewed::Untried(why),
    };
    let namespace = namespace.to_owned();
    match page.status {
        200..=299 => {}
        _ => {
            return match page.refusal() {
                Unread::Forbidden(said) if said.contains(&format!("\"{VALIDATE}\" denied the request")) => {
                    Reviewed::Heard { namespace, verdict: "refused" }
                }
                Unread::Failed(said) if said.contains("failed calling webhook") && said.contains(".tagwarden.dev") => {
                    Reviewed::Failed(said)
                }
                other => Reviewed::Untried(other),
            };
        }
    }
    if before.is_empty() {
        return untried("no replica could be asked whether it was called");
    }
    let mut after = Vec::new();
    for replica in before {
        match super::replicas::metrics(reader, &release.namespace, replica).await {
            Ok(metrics) => after.push((replica.name.clone(), metrics)),
            Err(why) => return Reviewed::Untried(why),
        }
    }
    let now = heard(after.iter().map(|(name, metrics)| (name.as_str(), metrics.as_str())));
    if now > counted { Reviewed::Heard { namespace, verdict: "let in" } } else { Reviewed::Unheard { namespace } }
}

/// Dry runs that replicas were asked about so far.
fn heard<'m>(metrics: impl Iterator<Item = (&'m str, &'m str)>) -> f64 {
    let samples = metrics.flat_map(|(_, metrics)| samples(metrics, "tagwarden_admission_requests_total"));
    let dry = samples.filter(|s| s.label("endpoint") == "validate" && s.label("dry_run") == "true");
    dry.map(|sample| sample.value).sum()
}

/// The namespaces that the webhook on Pods leaves out by name.
fn excluded(configuration: &Value) -> Vec<&str> {
    let pods = list(configuration, "/webhooks").iter().filter(|webhook| text(webhook, "/name") == VALIDATE);
    let expressions = pods.flat_map(|webhook| list(webhook, "/namespaceSelector/matchExpressions"));
    let by_name =
        expressions.filter(|e| text(e, "/key") == "kubernetes.io/metadata.name" && text(e, "/operator") == "NotIn");
    by_name.flat_map(|expression| texts(expression, "/values")).collect()
}
