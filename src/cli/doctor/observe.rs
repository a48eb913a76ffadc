//! Everything that doctor looks at, read first; the checks then judge it without asking anything.

mod replicas;
mod review;
mod rights;

use std::collections::BTreeSet;

use futures_util::future::join_all;
use serde_json::Value;

use super::json::{at, has_labels, list, text};
use crate::certs::{State, Validity};
use crate::cluster::{AuthoritySecret, Cluster, Page, Reader, Unread};
use crate::config::{Config, Overrides};
pub(super) use replicas::Replica;
pub(super) use review::Reviewed;
pub(super) use rights::{Right, RightKind};

/// The webhook on Pods, which is the boundary; the chart's names are fixed.
pub(super) const VALIDATE: &str = "validate.tagwarden.dev";
/// Early feedback on what makes Pods.
pub(super) const WORKLOADS: &str = "workloads.tagwarden.dev";
/// The mutating one.
pub(super) const PIN: &str = "pin.tagwarden.dev";
const OURS: &str = ".tagwarden.dev";
const ADMISSION: &str = "/apis/admissionregistration.k8s.io/v1";
const LABELS: &str = "labelSelector=app.kubernetes.io%2Fname%3Dtagwarden%2Capp.kubernetes.io%2Fcomponent%3Dwebhook";

/// What was asked for and may have been forbidden.
pub(super) type Read<T> = Result<T, Unread>;

/// Which release is meant.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted<'a> {
    pub namespace: Option<&'a str>,
    pub name: Option<&'a str>,
}

/// A release.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Release {
    /// Its full name, which its objects have.
    pub name: String,
    pub namespace: String,
}

/// Everything that was read.
pub(super) struct Observed {
    pub release: Release,
    pub now: i64,
    /// `v1.36.3`, and the API server's clock minus ours in seconds.
    pub version: Read<(String, Option<i64>)>,
    /// All of the cluster.
    pub validating: Read<Vec<Value>>,
    /// All of the cluster.
    pub mutating: Read<Vec<Value>>,
    /// None: there is no such ConfigMap, or no such key. An error: what is wrong with the text.
    pub config: Read<Option<Result<Config, String>>>,
    pub deployment: Read<Option<Value>>,
    pub service: Read<Option<Value>>,
    pub slices: Read<Vec<Value>>,
    pub budgets: Read<Vec<Value>>,
    pub replicas: Read<Vec<Replica>>,
    /// None: this is not how certificates are made.
    pub authority: Option<Read<Result<Authority, String>>>,
    /// ImagePolicy objects, where they are policies.
    pub objects: Option<Read<Vec<Value>>>,
    pub rights: Read<Vec<(Right, bool)>>,
    /// Objects that look as if the cluster could not come up without their namespace.
    pub infrastructure: Read<Vec<Infrastructure>>,
    pub reviewed: Reviewed,
}

/// What the Secret of the authority holds.
pub(super) struct Authority {
    /// What caBundle is to be, PEM.
    pub bundle: String,
    /// Of the one that signs.
    pub validity: Validity,
}

/// A sign that a namespace belongs to what the cluster needs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Infrastructure {
    pub namespace: String,
    /// `DaemonSet kube-flannel-ds, on the host's network`.
    pub sign: String,
}

impl Observed {
    /// Finds the release and reads all of it.
    ///
    /// # Errors
    /// One sentence: there is no cluster or no release, or several and none was chosen.
    pub async fn read(cluster: &Cluster, wanted: Wanted<'_>) -> Result<Self, String> {
        let reader = Reader::of(cluster);
        let version = version(&reader).await;
        if let Err(Unread::Failed(why)) = &version {
            return Err(format!("{why}; is this the right cluster? see --context"));
        }
        let validating = all(&reader, &format!("{ADMISSION}/validatingwebhookconfigurations")).await;
        let mutating = all(&reader, &format!("{ADMISSION}/mutatingwebhookconfigurations")).await;
        let release = find(&reader, &validating, &mutating, wanted).await?;
        let inside = |path: &str| {
            let (api, plural) = path.rsplit_once('/').unwrap_or(("", path));
            format!("{api}/namespaces/{}/{plural}", release.namespace)
        };
        let name = &release.name;
        let config = config(&reader, &format!("{}/{name}-config", inside("/api/v1/configmaps"))).await;
        let deployment = reader.object(&format!("{}/{name}", inside("/apis/apps/v1/deployments"))).await;
        let service = reader.object(&format!("{}/{name}", inside("/api/v1/services"))).await;
        let slices = format!(
            "{}?labelSelector=kubernetes.io%2Fservice-name%3D{name}",
            inside("/apis/discovery.k8s.io/v1/endpointslices")
        );
        let slices = all(&reader, &slices).await;
        let budgets = all(&reader, &inside("/apis/policy/v1/poddisruptionbudgets")).await;
        let pods = all(&reader, &inside("/api/v1/pods")).await;
        let ours = pods.map(|pods| of_deployment(pods, deployment.as_ref().ok().and_then(Option::as_ref)));
        let before = match &ours {
            Ok(pods) => Ok(replicas::read(&reader, &release.namespace, pods).await),
            Err(why) => Err(why.clone()),
        };
        let known = config.as_ref().ok().and_then(Option::as_ref).and_then(|config| config.as_ref().ok());
        let authority = match known.is_some_and(is_self_managed) {
            true => Some(authority(cluster, &release.namespace).await),
            false => None,
        };
        let objects = match known.is_some_and(|config| config.policy_objects) {
            true => Some(all(&reader, "/apis/tagwarden.dev/v1/imagepolicies").await),
            false => None,
        };
        let account = deployment.as_ref().ok().and_then(Option::as_ref);
        let account = account.map(|deployment| text(deployment, "/spec/template/spec/serviceAccountName").to_owned());
        let rights = rights::read(&reader, &release, account, known).await;
        let infrastructure = infrastructure(&reader, &validating, &mutating).await;
        let reviewed = review::send(&reader, &release, &validating, before.as_deref().unwrap_or_default()).await;
        Ok(Observed {
            now: crate::server::now(),
            version,
            validating,
            mutating,
            config,
            deployment,
            service,
            slices,
            budgets,
            replicas: before,
            authority,
            objects,
            rights,
            infrastructure,
            reviewed,
            release,
        })
    }

    /// Our validating configuration, where it could be read and is there.
    pub fn our_validating(&self) -> Option<&Value> {
        ours(self.validating.as_deref().unwrap_or_default(), &self.release)
    }

    /// Our mutating configuration, where it could be read and is there.
    pub fn our_mutating(&self) -> Option<&Value> {
        ours(self.mutating.as_deref().unwrap_or_default(), &self.release)
    }

    /// The server's configuration, where it could be read and compiles.
    pub fn configuration(&self) -> Option<&Config> {
        self.config.as_ref().ok()?.as_ref()?.as_ref().ok()
    }
}

/// Whether the replicas make their certificates themselves.
pub(super) fn is_self_managed(config: &Config) -> bool {
    matches!(config.tls.certificate, crate::config::CertificateSource::SelfManaged(_))
}

/// The configuration of this release.
pub(super) fn ours<'v>(configurations: &'v [Value], release: &Release) -> Option<&'v Value> {
    configurations.iter().find(|found| is_ours(found) && text(found, "/metadata/name") == release.name)
}

/// Whether a configuration holds webhooks of ours.
pub(super) fn is_ours(configuration: &Value) -> bool {
    list(configuration, "/webhooks").iter().any(|webhook| text(webhook, "/name").ends_with(OURS))
}

/// Every object of a list; one that is not served is empty.
async fn all(reader: &Reader, path: &str) -> Read<Vec<Value>> {
    let listed = reader.list(path, |text| serde_json::from_str(text).ok()).await;
    listed.map(Option::unwrap_or_default)
}

async fn version(reader: &Reader) -> Read<(String, Option<i64>)> {
    let page = reader.page("/version").await?;
    let skew = skew(&page);
    let version: Value = serde_json::from_str(&page.accepted()?)
        .map_err(|_| Unread::Failed("what answers there is no API server of Kubernetes".to_owned()))?;
    Ok((text(&version, "/gitVersion").to_owned(), skew))
}

/// The clock of whoever answered minus ours.
pub(super) fn skew(page: &Page) -> Option<i64> {
    let date = jiff::fmt::rfc2822::parse(page.date.as_deref()?).ok()?;
    Some(date.timestamp().as_second() - crate::server::now())
}

/// By the webhook configurations, else by the Deployment of one that has lost both.
async fn find(
    reader: &Reader,
    validating: &Read<Vec<Value>>,
    mutating: &Read<Vec<Value>>,
    wanted: Wanted<'_>,
) -> Result<Release, String> {
    let mut found: BTreeSet<(String, String)> = BTreeSet::new();
    for configuration in [validating, mutating].into_iter().flatten().flatten().filter(|found| is_ours(found)) {
        let mut namespaces =
            list(configuration, "/webhooks").iter().map(|w| text(w, "/clientConfig/service/namespace"));
        let named = namespaces.find(|namespace| !namespace.is_empty());
        let namespace = named.or(wanted.namespace).unwrap_or_default();
        found.insert((text(configuration, "/metadata/name").to_owned(), namespace.to_owned()));
    }
    let deployments = match wanted.namespace {
        Some(namespace) => format!("/apis/apps/v1/namespaces/{namespace}/deployments?{LABELS}"),
        None => format!("/apis/apps/v1/deployments?{LABELS}"),
    };
    let deployments = all(reader, &deployments).await;
    for deployment in deployments.iter().flatten() {
        found.insert((
            text(deployment, "/metadata/name").to_owned(),
            text(deployment, "/metadata/namespace").to_owned(),
        ));
    }
    let is_wanted = |(name, namespace): &&(String, String)| {
        wanted.name.is_none_or(|wanted| wanted == name) && wanted.namespace.is_none_or(|wanted| wanted == namespace)
    };
    let chosen: Vec<&(String, String)> = found.iter().filter(is_wanted).collect();
    match chosen[..] {
        [(name, namespace)] => Ok(Release { name: name.clone(), namespace: namespace.clone() }),
        [] => Err(match (validating, mutating, &deployments) {
            (Err(why), _, _) | (_, Err(why), _) | (_, _, Err(why)) => {
                format!("cannot look for an installation of tagwarden: {why}")
            }
            _ if !found.is_empty() => format!("there is no such release; there are: {}", named(found.iter())),
            _ => "tagwarden is not installed in this cluster: there are no webhook configurations and no Deployment of it".to_owned(),
        }),
        _ => Err(format!("there are several releases, choose one by --name and --namespace: {}", named(chosen.into_iter()))),
    }
}

fn named<'r>(releases: impl Iterator<Item = &'r (String, String)>) -> String {
    releases.map(|(name, namespace)| format!("{name} in {namespace}")).collect::<Vec<_>>().join(", ")
}

async fn config(reader: &Reader, path: &str) -> Read<Option<Result<Config, String>>> {
    let Some(map) = reader.object(path).await? else { return Ok(None) };
    let Some(text) = map.pointer("/data/config.yaml").and_then(Value::as_str) else { return Ok(None) };
    let config = Config::from_text("config.yaml", text, &Overrides::default());
    Ok(Some(config.map_err(|error| error.to_string())))
}

/// The Pods that a Deployment selects; without it, none.
fn of_deployment(pods: Vec<Value>, deployment: Option<&Value>) -> Vec<Value> {
    let Some(deployment) = deployment else { return Vec::new() };
    let selector = at(deployment, "/spec/selector/matchLabels");
    let lives = |pod: &Value| {
        at(pod, "/metadata/deletionTimestamp").is_null()
            && !["Succeeded", "Failed"].contains(&text(pod, "/status/phase"))
    };
    pods.into_iter().filter(|pod| has_labels(pod, selector) && lives(pod)).collect()
}

async fn authority(cluster: &Cluster, namespace: &str) -> Read<Result<Authority, String>> {
    let stored = AuthoritySecret::of(cluster, namespace).read().await.map_err(Unread::Failed)?;
    if stored.data.is_empty() {
        return Ok(Err("it is empty, or not there".to_owned()));
    }
    Ok(State::from_data(&stored.data)
        .map(|state| Authority { bundle: state.bundle(), validity: state.signer.validity() }))
}

/// DaemonSets and workloads that the cluster counts as critical, and whoever serves admission webhooks.
async fn infrastructure(
    reader: &Reader,
    validating: &Read<Vec<Value>>,
    mutating: &Read<Vec<Value>>,
) -> Read<Vec<Infrastructure>> {
    let kinds = [("DaemonSet", "daemonsets"), ("Deployment", "deployments"), ("StatefulSet", "statefulsets")];
    let paths: Vec<String> = kinds.iter().map(|(_, plural)| format!("/apis/apps/v1/{plural}")).collect();
    let listed = join_all(paths.iter().map(|path| all(reader, path))).await;
    let mut found = Vec::new();
    for ((kind, _), objects) in kinds.iter().zip(listed) {
        found.extend(objects?.iter().filter_map(|object| sign(kind, object)));
    }
    for configuration in [validating, mutating].into_iter().flatten().flatten().filter(|other| !is_ours(other)) {
        for webhook in list(configuration, "/webhooks") {
            let namespace = text(webhook, "/clientConfig/service/namespace").to_owned();
            let sign = format!("serves the webhook {}", text(webhook, "/name"));
            found.extend((!namespace.is_empty()).then_some(Infrastructure { namespace, sign }));
        }
    }
    found.sort();
    found.dedup_by(|later, first| later.namespace == first.namespace);
    Ok(found)
}

fn sign(kind: &str, object: &Value) -> Option<Infrastructure> {
    let spec = at(object, "/spec/template/spec");
    let priority = text(spec, "/priorityClassName");
    let why = if kind == "DaemonSet" && at(spec, "/hostNetwork") == &Value::Bool(true) {
        "on the host's network".to_owned()
    } else if ["system-node-critical", "system-cluster-critical"].contains(&priority) {
        format!("of priority {priority}")
    } else {
        return None;
    };
    let sign = format!("{kind} {}, {why}", text(object, "/metadata/name"));
    Some(Infrastructure { namespace: text(object, "/metadata/namespace").to_owned(), sign })
}

#[cfg(test)]
mod tests {
    use super::{Page, sign, skew};
    use serde_json::json;

    #[test]
    fn what_the_cluster_needs_shows_by_network_or_priority() {
        let object = |spec| json!({"metadata": {"name": "x", "namespace": "n"}, "spec": {"template": {"spec": spec}}});
        let shown = |kind, spec| sign(kind, &object(spec)).map(|found| found.sign);
        assert_eq!(shown("DaemonSet", json!({"hostNetwork": true})).unwrap(), "DaemonSet x, on the host's network");
        assert_eq!(shown("Deployment", json!({"hostNetwork": true})), None);
        let critical = json!({"priorityClassName": "system-cluster-critical"});
        assert_eq!(shown("Deployment", critical).unwrap(), "Deployment x, of priority system-cluster-critical");
        assert_eq!(shown("DaemonSet", json!({"priorityClassName": "high"})), None);
    }

    #[test]
    fn a_clock_is_read_from_the_date_of_an_answer() {
        let page = |date: &str| Page { date: Some(date.to_owned()), ..Page::default() };
        let skewed = skew(&page("Sun, 06 Nov 1994 08:49:37 GMT")).unwrap();
        assert_eq!(skewed + crate::server::now() - 784_111_777, 0);
        assert_eq!(skew(&page("yesterday")), None);
        assert_eq!(skew(&Page::default()), None);
    }
}
