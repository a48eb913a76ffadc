//! What the inventory reads of an object, and nothing else of it: a Pod has some kilobytes, and a cluster many Pods.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::value::RawValue;

use super::OwnerName;
use crate::policy::Labels;

/// A Pod.
#[derive(Debug)]
pub(super) struct Pod {
    pub name: OwnerName,
    pub controller: Option<Controller>,
    /// It has ended, or is about to.
    pub ended: bool,
    /// A node's own, which the API server only mirrors.
    pub mirrored: bool,
    /// Container and digest that it runs, as far as they are known.
    pub digests: Vec<(String, String)>,
    /// As JSON.
    pub object: String,
}

/// An object that makes Pods.
#[derive(Debug)]
pub(super) struct Template {
    pub uid: String,
    pub group: String,
    pub name: OwnerName,
    pub controller: Option<Controller>,
    /// It would make Pods now.
    pub is_active: bool,
    /// As JSON.
    pub object: String,
}

/// Whoever an object is managed by.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Controller {
    pub kind: String,
    pub name: String,
    pub uid: String,
    #[serde(default)]
    controller: bool,
}

/// A namespace.
#[derive(Debug)]
pub(super) struct Namespace {
    pub name: String,
    pub labels: Labels,
}

impl Pod {
    /// Of an item of a list; none where it is no Pod at all.
    pub fn read(text: &str) -> Option<Self> {
        let written: WrittenPod = serde_json::from_str(text).ok()?;
        let WrittenPod { metadata, status } = written;
        let lists = [status.container_statuses, status.init_container_statuses, status.ephemeral_container_statuses];
        let digest = |status: ContainerStatus| {
            // An image id without a repository may be the digest of a configuration, which no tag is.
            let digest = status.image_id?.rsplit_once('@').map(|(_, digest)| digest.to_owned())?;
            Some((status.name, digest))
        };
        let digests = lists.into_iter().flatten().flatten().filter_map(digest).collect();
        let ended =
            matches!(status.phase.as_deref(), Some("Succeeded" | "Failed")) || metadata.deletion_timestamp.is_some();
        Some(Pod {
            ended,
            mirrored: metadata.annotations.as_ref().is_some_and(|annotations| annotations.mirror.is_some()),
            digests,
            controller: metadata.controller(),
            name: metadata.named("Pod"),
            object: text.to_owned(),
        })
    }
}

impl Template {
    /// Of an item of a list; none where it is no object at all.
    pub fn read((group, kind): (&str, &str), text: &str) -> Option<Self> {
        let WrittenTemplate { metadata, spec, status } = serde_json::from_str(text).ok()?;
        let spec: Spec = part(spec);
        let done = |condition: &Condition| {
            matches!(condition.r#type.as_str(), "Complete" | "Failed") && condition.status == "True"
        };
        let TemplateStatus { conditions } = part(status);
        let is_done = kind == "Job" && conditions.iter().flatten().any(done);
        Some(Template {
            uid: metadata.uid.clone(),
            group: group.to_owned(),
            controller: metadata.controller(),
            is_active: spec.replicas != Some(0) && spec.suspend != Some(true) && !is_done,
            name: metadata.named(kind),
            object: text.to_owned(),
        })
    }
}

impl Namespace {
    /// Of an item of a list; none where it is none.
    pub fn read(text: &str) -> Option<Self> {
        #[derive(Deserialize)]
        struct Written {
            metadata: Named,
        }
        #[derive(Deserialize)]
        struct Named {
            name: String,
            #[serde(default)]
            labels: BTreeMap<String, String>,
        }
        let Written { metadata } = serde_json::from_str(text).ok()?;
        Some(Namespace { name: metadata.name, labels: metadata.labels })
    }
}

#[derive(Deserialize)]
struct WrittenPod {
    metadata: Metadata,
    #[serde(default)]
    status: PodStatus,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PodStatus {
    phase: Option<String>,
    container_statuses: Option<Vec<ContainerStatus>>,
    init_container_statuses: Option<Vec<ContainerStatus>>,
    ephemeral_container_statuses: Option<Vec<ContainerStatus>>,
}

#[derive(Deserialize)]
struct ContainerStatus {
    name: String,
    #[serde(rename = "imageID")]
    image_id: Option<String>,
}

#[derive(Deserialize)]
struct WrittenTemplate<'t> {
    metadata: Metadata,
    #[serde(borrow)]
    spec: Option<&'t RawValue>,
    #[serde(borrow)]
    status: Option<&'t RawValue>,
}

/// Keys that say whether Pods would be made.
#[derive(Default, Deserialize)]
struct Spec {
    replicas: Option<i64>,
    suspend: Option<bool>,
}

/// A part that a configured kind may use for something else: then it says nothing.
fn part<T: Default + DeserializeOwned>(text: Option<&RawValue>) -> T {
    text.and_then(|text| serde_json::from_str(text.get()).ok()).unwrap_or_default()
}

#[derive(Default, Deserialize)]
struct TemplateStatus {
    conditions: Option<Vec<Condition>>,
}

#[derive(Deserialize)]
struct Condition {
    #[serde(default)]
    r#type: String,
    #[serde(default)]
    status: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    name: String,
    #[serde(default)]
    namespace: String,
    #[serde(default)]
    uid: String,
    owner_references: Option<Vec<Controller>>,
    deletion_timestamp: Option<IgnoredAny>,
    annotations: Option<Annotations>,
}

#[derive(Deserialize)]
struct Annotations {
    #[serde(rename = "kubernetes.io/config.mirror")]
    mirror: Option<IgnoredAny>,
}

impl Metadata {
    fn controller(&self) -> Option<Controller> {
        self.owner_references.iter().flatten().find(|owner| owner.controller).cloned()
    }

    fn named(self, kind: &str) -> OwnerName {
        OwnerName { namespace: self.namespace, kind: kind.to_owned(), name: self.name }
    }
}
