//! What runs in a cluster, by what would make its Pods again: a Deployment for those of its ReplicaSets, say.

mod objects;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use kube::core::GroupVersionKind;
use serde_json::Value;

use self::objects::{Controller, Namespace, Pod, Template};
use super::{Cluster, Reader};
use crate::policy::Labels;

/// Where each built-in kind is listed: API group, kind, path below a namespace.
const KINDS: [(&str, &str, &str); 7] = [
    ("apps", "Deployment", "/apis/apps/v1"),
    ("apps", "ReplicaSet", "/apis/apps/v1"),
    ("apps", "StatefulSet", "/apis/apps/v1"),
    ("apps", "DaemonSet", "/apis/apps/v1"),
    ("", "ReplicationController", "/api/v1"),
    ("batch", "Job", "/apis/batch/v1"),
    ("batch", "CronJob", "/apis/batch/v1"),
];
/// Namespaces that the chart always leaves out.
const ALWAYS_EXEMPT: [&str; 2] = ["kube-system", "kube-node-lease"];
/// Our webhook configurations, whatever the release is called.
const OURS: &str = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations?labelSelector=app.kubernetes.io%2Fname%3Dtagwarden";

/// What is to be looked at.
#[derive(Clone, Copy, Debug)]
pub struct Scope<'a> {
    /// This namespace only.
    pub namespace: Option<&'a str>,
    /// Kinds besides the built-in ones that make Pods: API group and kind.
    pub kinds: &'a [(String, String)],
}

/// Everything that runs, and what was left out.
#[derive(Debug, Default)]
pub struct Inventory {
    /// The namespaces with their labels.
    pub namespaces: BTreeMap<String, Labels>,
    /// Namespaces that the API server does not ask us about: those that the chart always leaves out, and those that our
    /// live webhook configuration does.
    pub exempt: BTreeSet<String>,
    /// What would make Pods, each with those that it made.
    pub workloads: Vec<RunningWorkload>,
    /// Counts of what is not in `workloads`.
    pub left_out: LeftOut,
    /// Kinds that could not be listed, a sentence each. Their Pods are in `workloads` as they are written.
    pub unlisted: Vec<String>,
}

/// What is not judged because nothing would make it again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// Pods that have succeeded, failed, or are being deleted.
    pub ended: usize,
    /// Static Pods of nodes, which their kubelet makes.
    pub mirrored: usize,
    /// Workloads without Pods that make none: scaled to zero, suspended, done.
    pub idle: usize,
}

/// Who is named as the owner.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct OwnerName {
    /// Its namespace.
    pub namespace: String,
    /// `Deployment`, say.
    pub kind: String,
    /// Its name.
    pub name: String,
}

/// An object from whose template Pods are made, or a Pod that nothing would make again.
#[derive(Clone, Debug, PartialEq)]
pub struct RunningWorkload {
    /// The owner at the end of the chain of controllers.
    pub owner: OwnerName,
    /// The API group of `object`.
    pub group: String,
    /// Its kind.
    pub kind: String,
    /// As JSON.
    pub object: String,
    /// Pods of it that live.
    pub pods: usize,
    /// By container: the digests that its Pods run, and how many run each.
    pub digests: BTreeMap<String, BTreeMap<String, usize>>,
    /// Why a Pod with a controller stands for itself.
    pub note: Option<String>,
}

impl Inventory {
    /// Lists all of it.
    ///
    /// # Errors
    /// One sentence: Pods or namespaces cannot be listed.
    pub async fn read(cluster: &Cluster, scope: Scope<'_>) -> Result<Self, String> {
        let reader = Reader::of(cluster);
        let mut inventory = Inventory { namespaces: namespaces(&reader, scope).await?, ..Inventory::default() };
        inventory.exempt = exempt(&reader).await;
        let mut templates = HashMap::new();
        for (group, kind, root) in KINDS {
            let plural = format!("{}s", kind.to_ascii_lowercase());
            inventory.list(&reader, (group, kind), &path(root, scope.namespace, &plural), &mut templates).await;
        }
        for (group, kind) in scope.kinds {
            if KINDS.iter().any(|built_in| (built_in.0, built_in.1) == (group, kind)) || kind == "Pod" {
                continue;
            }
            match served(cluster, group, kind).await {
                Ok(Some((root, plural))) => {
                    let path = path(&root, scope.namespace, &plural);
                    inventory.list(&reader, (group, kind), &path, &mut templates).await;
                }
                // A kind that the cluster does not have runs nothing.
                Ok(None) => {}
                Err(problem) => inventory.unlisted.push(format!("{kind}: {problem}")),
            }
        }
        let pods = reader.list(&path("/api/v1", scope.namespace, "pods"), Pod::read).await;
        let pods = pods.map_err(|why| format!("cannot list Pods: {why}"))?.unwrap_or_default();
        inventory.gather(templates, pods);
        Ok(inventory)
    }

    async fn list(&mut self, reader: &Reader, kind: (&str, &str), path: &str, into: &mut HashMap<String, Template>) {
        match reader.list(path, |text| Template::read(kind, text)).await {
            Ok(listed) => into.extend(listed.into_iter().flatten().map(|template| (template.uid.clone(), template))),
            Err(why) => self.unlisted.push(format!("{}: {why}", kind.1)),
        }
    }

    /// Gives every Pod to what would make it again.
    fn gather(&mut self, templates: HashMap<String, Template>, pods: Vec<Pod>) {
        let mut made: HashMap<String, RunningWorkload> = HashMap::new();
        for pod in pods {
            if pod.mirrored {
                self.left_out.mirrored += 1;
                continue;
            }
            if pod.ended {
                self.left_out.ended += 1;
                continue;
            }
            let template = pod.controller.as_ref().and_then(|controller| templates.get(&controller.uid));
            match template {
                Some(template) => {
                    let workload = made
                        .entry(template.uid.clone())
                        .or_insert_with(|| RunningWorkload::of(template, top(template, &templates)));
                    workload.add(&pod.digests);
                }
                None => self.workloads.push(RunningWorkload::pod(pod)),
            }
        }
        for template in templates.values() {
            let is_topmost = template.controller.as_ref().is_none_or(|owner| !templates.contains_key(&owner.uid));
            if let Some(workload) = made.remove(&template.uid) {
                self.workloads.push(workload);
            } else if is_topmost && template.is_active {
                self.workloads.push(RunningWorkload::of(template, template));
            } else if is_topmost && !has_made(template, &templates, &made) {
                self.left_out.idle += 1;
            }
        }
        // What is the same in two of an owner's templates is said once, by the owner's own.
        self.workloads.sort_by(|a, b| {
            (&a.owner, a.kind != a.owner.kind, &a.object).cmp(&(&b.owner, b.kind != b.owner.kind, &b.object))
        });
    }
}

impl RunningWorkload {
    fn of(template: &Template, owner: &Template) -> Self {
        RunningWorkload {
            owner: owner.name.clone(),
            group: template.group.clone(),
            kind: template.name.kind.clone(),
            object: template.object.clone(),
            pods: 0,
            digests: BTreeMap::new(),
            note: None,
        }
    }

    fn pod(pod: Pod) -> Self {
        let note = pod.controller.as_ref().map(|Controller { kind, name, .. }| {
            format!("its controller {kind} {name} is not known to make Pods: the Pod is judged as it is written")
        });
        let owner = match pod.controller {
            Some(Controller { kind, name, .. }) => OwnerName { namespace: pod.name.namespace, kind, name },
            None => pod.name,
        };
        let mut workload = RunningWorkload {
            owner,
            group: String::new(),
            kind: "Pod".to_owned(),
            object: pod.object,
            pods: 0,
            digests: BTreeMap::new(),
            note,
        };
        workload.add(&pod.digests);
        workload
    }

    fn add(&mut self, digests: &[(String, String)]) {
        self.pods += 1;
        for (container, digest) in digests {
            *self.digests.entry(container.clone()).or_default().entry(digest.clone()).or_default() += 1;
        }
    }
}

/// The end of the chain of controllers, as far as they were listed.
fn top<'t>(mut template: &'t Template, templates: &'t HashMap<String, Template>) -> &'t Template {
    // Nobody keeps owners from naming each other in a circle.
    for _ in 0..8 {
        match template.controller.as_ref().and_then(|controller| templates.get(&controller.uid)) {
            Some(owner) => template = owner,
            None => break,
        }
    }
    template
}

/// Whether some other template under this owner has Pods, an old ReplicaSet of a Deployment that goes to zero say.
fn has_made(owner: &Template, templates: &HashMap<String, Template>, made: &HashMap<String, RunningWorkload>) -> bool {
    made.keys().filter_map(|uid| templates.get(uid)).any(|template| top(template, templates).uid == owner.uid)
}

async fn namespaces(reader: &Reader, scope: Scope<'_>) -> Result<BTreeMap<String, Labels>, String> {
    let listed = match scope.namespace {
        None => reader.list("/api/v1/namespaces", Namespace::read).await,
        Some(name) => reader
            .object(&format!("/api/v1/namespaces/{name}"))
            .await
            .map(|found| found.map(|object| Namespace::read(&object.to_string()).into_iter().collect())),
    };
    let listed = listed.map_err(|why| format!("cannot read namespaces: {why}"))?;
    match (listed, scope.namespace) {
        (Some(listed), _) => Ok(listed.into_iter().map(|namespace| (namespace.name, namespace.labels)).collect()),
        (None, Some(name)) => Err(format!("there is no namespace '{name}' in this cluster")),
        (None, None) => Err("cannot read namespaces: this is no API server of Kubernetes".to_owned()),
    }
}

/// Namespaces that a live configuration of ours leaves out by name. Where it cannot be read, only those that the chart
/// always does.
async fn exempt(reader: &Reader) -> BTreeSet<String> {
    let mut exempt: BTreeSet<String> = ALWAYS_EXEMPT.iter().map(|name| (*name).to_owned()).collect();
    let Ok(Some(list)) = reader.object(OURS).await else { return exempt };
    let webhooks = list["items"].as_array().into_iter().flatten().flat_map(|item| item["webhooks"].as_array());
    let pods = webhooks.flatten().filter(|webhook| webhook["name"] == "validate.tagwarden.dev");
    exempt.extend(pods.flat_map(excluded_names));
    exempt
}

/// The names that a webhook's namespaceSelector leaves out.
fn excluded_names(webhook: &Value) -> Vec<String> {
    let expressions = webhook["namespaceSelector"]["matchExpressions"].as_array().into_iter().flatten();
    let by_name = expressions
        .filter(|expression| expression["key"] == "kubernetes.io/metadata.name" && expression["operator"] == "NotIn");
    let values = by_name.flat_map(|expression| expression["values"].as_array().into_iter().flatten());
    values.filter_map(Value::as_str).map(str::to_owned).collect()
}

/// Where a kind is listed: the root of its API, and its plural. None where the cluster does not serve it.
async fn served(cluster: &Cluster, group: &str, kind: &str) -> Result<Option<(String, String)>, String> {
    let found = match kube::discovery::group(&cluster.client, group).await {
        Ok(found) => found,
        Err(kube::Error::Discovery(_)) => return Ok(None),
        Err(kube::Error::Api(status)) if status.code == 404 => return Ok(None),
        Err(error) => return Err(error.to_string()),
    };
    let Some((resource, _)) = found.recommended_kind(kind) else { return Ok(None) };
    let GroupVersionKind { group, version, .. } = GroupVersionKind::gvk(&resource.group, &resource.version, kind);
    let root = if group.is_empty() { format!("/api/{version}") } else { format!("/apis/{group}/{version}") };
    Ok(Some((root, resource.plural)))
}

fn path(root: &str, namespace: Option<&str>, plural: &str) -> String {
    match namespace {
        Some(namespace) => format!("{root}/namespaces/{namespace}/{plural}"),
        None => format!("{root}/{plural}"),
    }
}

#[cfg(test)]
mod tests;
