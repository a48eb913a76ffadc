//! What a Pod says around its images, as far as pinning them depends on it: controller, annotations, pull secrets.

use super::json;
use super::request::Text;
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use std::borrow::Cow;
use std::fmt;

/// The annotation that keeps images as they were written. For people; never trusted.
pub const IMAGES_ANNOTATION: &str = "tagwarden.dev/images";
/// The annotation that holds the proofs of our pins.
pub const PINS_ANNOTATION: &str = "tagwarden.dev/pins";

/// The annotation that names the release whose images a Pod has, and its id. For people and for the history; never trusted.
pub const RELEASE_ANNOTATION: &str = "tagwarden.dev/release";

/// Controllers of Kubernetes itself: they compare templates, not Pods, so a pinned Pod is still theirs. Any other
/// operator may compare its Pods with what it wanted, and recreate them for ever.
const BUILT_IN_CONTROLLERS: [(&str, &str); 5] = [
    ("apps", "ReplicaSet"),
    ("apps", "StatefulSet"),
    ("apps", "DaemonSet"),
    ("batch", "Job"),
    ("", "ReplicationController"),
];

/// `metadata` of a Pod.
#[derive(Debug, Default)]
pub struct PodMetadata<'a> {
    controllers: Vec<Controller<'a>>,
    /// Its annotations.
    pub(super) annotations: Annotations<'a>,
}

/// An owner reference with `controller: true`. Valid objects have one at most.
#[derive(Debug)]
struct Controller<'a> {
    group: Cow<'a, str>,
    kind: Cow<'a, str>,
    uid: Cow<'a, str>,
}

/// The annotations of a Pod: ours, and how much the others hold.
#[derive(Debug, Default)]
pub(super) struct Annotations<'a> {
    /// Where a further one would be written.
    pub(super) place: Place,
    /// [`IMAGES_ANNOTATION`].
    pub(super) images: Option<Cow<'a, str>>,
    /// [`PINS_ANNOTATION`].
    pub(super) pins: Option<Cow<'a, str>>,
    /// [`RELEASE_ANNOTATION`].
    pub(super) release: Option<Cow<'a, str>>,
    /// Keys and values of all others, in bytes.
    pub(super) other_bytes: usize,
}

/// Whether an object can take a further annotation, and how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Place {
    /// It has no `metadata`.
    #[default]
    Nowhere,
    /// It has no annotations, or `null`: the map is to be written.
    Map,
    /// Into its map.
    Key,
}

impl<'a> PodMetadata<'a> {
    /// Reads it from the Pod's text; none where it is not as the API server writes it: such a Pod is left alone.
    #[must_use]
    pub fn read(object: &'a str) -> Option<Self> {
        let object: Object<'a> = json::from_str(object).ok()?;
        let Some(metadata) = object.metadata else {
            return Some(PodMetadata::default());
        };
        let owners = metadata.owner_references.unwrap_or_default();
        let controllers = owners.into_iter().filter(|owner| owner.controller == Some(true)).map(Owner::split);
        let annotations = metadata.annotations.unwrap_or(Annotations { place: Place::Map, ..Annotations::default() });
        Some(PodMetadata { controllers: controllers.collect(), annotations })
    }

    /// Whether its images may be written: it has no controller, or one of Kubernetes itself, or one of `owners` (API
    /// group and kind). This loosens nothing: an image that is not pinned is judged as it is.
    #[must_use]
    pub fn may_be_pinned(&self, owners: &[(String, String)]) -> bool {
        self.controllers.iter().all(|controller| {
            let (group, kind) = (&*controller.group, &*controller.kind);
            BUILT_IN_CONTROLLERS.contains(&(group, kind)) || owners.iter().any(|(g, k)| (&**g, &**k) == (group, kind))
        })
    }

    /// The uid of its controller, if it has exactly one.
    #[must_use]
    pub fn controller_uid(&self) -> Option<&str> {
        match self.controllers.as_slice() {
            [one] if !one.uid.is_empty() => Some(&one.uid),
            _ => None,
        }
    }

    /// What [`PINS_ANNOTATION`] says.
    #[must_use]
    pub fn pins(&self) -> Option<&str> {
        self.annotations.pins.as_deref()
    }

    /// What [`RELEASE_ANNOTATION`] says.
    #[must_use]
    pub fn release(&self) -> Option<&str> {
        self.annotations.release.as_deref()
    }

    /// What [`IMAGES_ANNOTATION`] says.
    #[must_use]
    pub fn images(&self) -> Option<&str> {
        self.annotations.images.as_deref()
    }
}

/// Whose pull secrets a Pod is pulled with, by names only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PullNames<'a> {
    /// `spec.imagePullSecrets`, in their order.
    pub secrets: Vec<Cow<'a, str>>,
    /// `spec.serviceAccountName`; `default` where none is written.
    pub service_account: Cow<'a, str>,
}

impl<'a> PullNames<'a> {
    /// Reads them from the Pod's text; of what is not as it should be, nothing.
    #[must_use]
    pub fn read(object: &'a str) -> Self {
        let spec = json::from_str(object).ok().and_then(|object: PullObject<'a>| object.spec).unwrap_or_default();
        let secrets = spec.image_pull_secrets.unwrap_or_default();
        let named = |text: &Text<'a>| !text.0.is_empty();
        PullNames {
            secrets: secrets.into_iter().filter_map(|secret| secret.name).filter(named).map(|name| name.0).collect(),
            service_account: spec.service_account_name.filter(named).map_or(Cow::Borrowed("default"), |name| name.0),
        }
    }
}

#[derive(Deserialize)]
struct PullObject<'a> {
    #[serde(borrow, default)]
    spec: Option<PullSpec<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PullSpec<'a> {
    #[serde(borrow, default)]
    image_pull_secrets: Option<Vec<SecretName<'a>>>,
    #[serde(borrow, default)]
    service_account_name: Option<Text<'a>>,
}

#[derive(Deserialize)]
struct SecretName<'a> {
    #[serde(borrow, default)]
    name: Option<Text<'a>>,
}

#[derive(Deserialize)]
struct Object<'a> {
    #[serde(borrow, default)]
    metadata: Option<Metadata<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata<'a> {
    #[serde(borrow, default)]
    annotations: Option<Annotations<'a>>,
    #[serde(borrow, default)]
    owner_references: Option<Vec<Owner<'a>>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Owner<'a> {
    #[serde(borrow, default)]
    api_version: Option<Text<'a>>,
    #[serde(borrow, default)]
    kind: Option<Text<'a>>,
    #[serde(borrow, default)]
    uid: Option<Text<'a>>,
    #[serde(default)]
    controller: Option<bool>,
}

impl<'a> Owner<'a> {
    /// `apps/v1` is the group `apps`, `v1` the core group.
    fn split(self) -> Controller<'a> {
        let text = |text: Option<Text<'a>>| text.map(|text| text.0).unwrap_or_default();
        let group = match text(self.api_version) {
            Cow::Borrowed(version) => Cow::Borrowed(version.split_once('/').map_or("", |(group, _)| group)),
            Cow::Owned(version) => Cow::Owned(version.split_once('/').map_or("", |(group, _)| group).to_owned()),
        };
        Controller { group, kind: text(self.kind), uid: text(self.uid) }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Annotations<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;

        impl<'de> Visitor<'de> for Entries {
            type Value = Annotations<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("annotations")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Annotations<'de>, A::Error> {
                let mut annotations = Annotations { place: Place::Key, ..Annotations::default() };
                while let Some((key, value)) = map.next_entry::<Text<'de>, Text<'de>>()? {
                    match &*key.0 {
                        IMAGES_ANNOTATION => annotations.images = Some(value.0),
                        PINS_ANNOTATION => annotations.pins = Some(value.0),
                        RELEASE_ANNOTATION => annotations.release = Some(value.0),
                        _ => annotations.other_bytes += key.0.len() + value.0.len(),
                    }
                }
                Ok(annotations)
            }
        }

        deserializer.deserialize_map(Entries)
    }
}

#[cfg(test)]
mod tests {
    use super::{Place, PodMetadata, PullNames};
    use serde_json::{Value, json};

    fn owned(api_version: &str, kind: &str) -> Value {
        json!({"metadata": {"ownerReferences": [
            {"apiVersion": "example.com/v1", "kind": "Bystander", "name": "b", "uid": "u-0"},
            {"apiVersion": api_version, "kind": kind, "name": "x", "uid": "u-1", "controller": true}]}})
    }

    #[test]
    fn row_36_only_pods_of_known_controllers_may_be_pinned() {
        let mine = [("example.com".to_owned(), "Database".to_owned())];
        for (version, kind, plain, listed) in [
            ("apps/v1", "ReplicaSet", true, true),
            ("apps/v1", "StatefulSet", true, true),
            ("apps/v1beta2", "DaemonSet", true, true),
            ("batch/v1", "Job", true, true),
            ("v1", "ReplicationController", true, true),
            ("example.com/v1", "Database", false, true),
            ("example.com/v1", "Cluster", false, false),
            // A name alone is not enough: groups are anybody's.
            ("example.com/v1", "ReplicaSet", false, false),
            ("v1", "ReplicaSet", false, false),
            ("v1", "Node", false, false),
            ("", "", false, false),
        ] {
            let text = owned(version, kind).to_string();
            let metadata = PodMetadata::read(&text).unwrap();
            assert_eq!(metadata.may_be_pinned(&[]), plain, "{version} {kind}");
            assert_eq!(metadata.may_be_pinned(&mine), listed, "{version} {kind}");
            assert_eq!(metadata.controller_uid(), Some("u-1"));
        }
        let without = PodMetadata::read(r#"{"metadata": {"name": "x"}}"#).unwrap();
        assert!(without.may_be_pinned(&[]));
        assert_eq!(without.controller_uid(), None);
    }

    #[test]
    fn annotations_say_where_a_further_one_goes() {
        let place = |text| PodMetadata::read(text).map(|metadata| metadata.annotations.place);
        assert_eq!(place("{}"), Some(Place::Nowhere));
        assert_eq!(place(r#"{"metadata": null}"#), Some(Place::Nowhere));
        assert_eq!(place(r#"{"metadata": {}}"#), Some(Place::Map));
        assert_eq!(place(r#"{"metadata": {"annotations": null}}"#), Some(Place::Map));
        assert_eq!(place(r#"{"metadata": {"annotations": {}}}"#), Some(Place::Key));
        let text =
            r#"{"metadata": {"annotations": {"a": "bcd", "tagwarden.dev/pins": "p", "tagwarden.dev/images": "i"}}}"#;
        let metadata = PodMetadata::read(text).unwrap();
        assert_eq!((metadata.pins(), metadata.images(), metadata.annotations.other_bytes), (Some("p"), Some("i"), 4));
    }

    #[test]
    fn what_no_api_server_writes_is_none() {
        for text in [
            r#"{"metadata": {"annotations": []}}"#,
            r#"{"metadata": {"annotations": {"a": 1}}}"#,
            r#"{"metadata": {"annotations": {}, "annotations": {}}}"#,
            r#"{"metadata": {"ownerReferences": {}}}"#,
            r#"{"metadata": {"ownerReferences": [{"controller": "true"}]}}"#,
        ] {
            assert!(PodMetadata::read(text).is_none(), "{text}");
        }
    }

    #[test]
    fn pull_secrets_are_named_by_the_pod() {
        let text = r#"{"spec": {"imagePullSecrets": [{"name": "a"}, {}, {"name": ""}, {"name": "b"}], "serviceAccountName": "robot"}}"#;
        let names = PullNames::read(text);
        assert_eq!((names.secrets.join(","), &*names.service_account), ("a,b".to_owned(), "robot"));
        for text in ["{}", r#"{"spec": {"imagePullSecrets": null}}"#, r#"{"spec": {"imagePullSecrets": 7}}"#] {
            let names = PullNames::read(text);
            assert_eq!((names.secrets.len(), &*names.service_account), (0, "default"), "{text}");
        }
    }
}
