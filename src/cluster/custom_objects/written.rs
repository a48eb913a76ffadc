//! An object of ours as the API server writes it, read so that no object can hide the others.
//!
//! One item that cannot be decoded makes a whole list undecodable. The API server keeps nested values of any depth in
//! unknown keys, and in `managedFields` about them; serde_json reads 128 levels. So nothing is decoded that is not ours, and
//! what is in the other keys stays text: the strict readers of policies and releases say what is wrong with it.

use std::borrow::Cow;
use std::collections::BTreeMap;

use k8s_openapi::ClusterResourceScope;
use kube::Resource;
use kube::api::ObjectMeta;
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_json::value::RawValue;

use super::StoredObject;
use crate::policy::{CustomKind, GROUP, VERSION};

/// An object as it is written.
#[derive(Clone, Debug)]
pub(super) struct Written {
    metadata: ObjectMeta,
    created: String,
    /// Every key but `metadata`.
    keys: BTreeMap<String, Box<RawValue>>,
}

/// The metadata that are ours; deriving skips the others without recursion.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    name: Option<String>,
    uid: Option<String>,
    generation: Option<i64>,
    resource_version: Option<String>,
    creation_timestamp: Option<String>,
}

impl Written {
    /// Its name.
    pub fn name(&self) -> &str {
        self.metadata.name.as_deref().unwrap_or_default()
    }

    /// What it holds. `kind`: of the list that it comes from.
    pub fn stored(mut self, kind: CustomKind) -> StoredObject {
        // We wrote it ourselves; what cannot be read of it is written again.
        let status = self.keys.remove("status").and_then(|status| serde_json::from_str(status.get()).ok());
        StoredObject {
            text: self.text(kind),
            created: self.created,
            uid: self.metadata.uid.unwrap_or_default(),
            generation: self.metadata.generation.unwrap_or_default(),
            status: status.unwrap_or_default(),
        }
    }

    /// Lists leave out what all of their items are.
    fn text(&self, kind: CustomKind) -> String {
        let given = |key: &str| self.keys.get(key).map(|value| value.get());
        let (api_version, kind) = match given("kind").filter(|kind| *kind != "\"\"") {
            Some(kind) => (given("apiVersion").map(str::to_owned), kind.to_owned()),
            None => (None, quoted(kind.name())),
        };
        let api_version = api_version.unwrap_or_else(|| quoted(&format!("{GROUP}/{VERSION}")));
        let name = quoted(self.name());
        let mut text = format!("{{\"apiVersion\":{api_version},\"kind\":{kind},\"metadata\":{{\"name\":{name}}}");
        for (key, value) in self.keys.iter().filter(|(key, _)| !["apiVersion", "kind"].contains(&key.as_str())) {
            text.extend([",", &quoted(key), ":", value.get()]);
        }
        text.push('}');
        text
    }
}

fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

impl<'de> Deserialize<'de> for Written {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut keys = BTreeMap::<String, Box<RawValue>>::deserialize(deserializer)?;
        let metadata = keys.remove("metadata").ok_or_else(|| serde::de::Error::missing_field("metadata"))?;
        let ours: Metadata = serde_json::from_str(metadata.get()).map_err(serde::de::Error::custom)?;
        let metadata = ObjectMeta {
            name: ours.name,
            uid: ours.uid,
            generation: ours.generation,
            resource_version: ours.resource_version,
            ..ObjectMeta::default()
        };
        Ok(Written { metadata, created: ours.creation_timestamp.unwrap_or_default(), keys })
    }
}

impl Resource for Written {
    type DynamicType = CustomKind;
    type Scope = ClusterResourceScope;

    fn kind(kind: &CustomKind) -> Cow<'_, str> {
        kind.name().into()
    }

    fn group(_: &CustomKind) -> Cow<'_, str> {
        GROUP.into()
    }

    fn version(_: &CustomKind) -> Cow<'_, str> {
        VERSION.into()
    }

    fn plural(kind: &CustomKind) -> Cow<'_, str> {
        kind.plural().into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

#[cfg(test)]
mod tests {
    use super::Written;
    use crate::policy::CustomKind;
    use kube::api::{ObjectList, WatchEvent};
    use serde_json::{Value, json};

    /// Far more than serde_json reads.
    fn deep() -> String {
        format!("{}1{}", "{\"a\":".repeat(5000), "}".repeat(5000))
    }

    fn object(extra: &str) -> String {
        format!(
            "{{\"apiVersion\":\"tagwarden.dev/v1\",\"kind\":\"ImagePolicy\",\"metadata\":{{\"name\":\"a\",\"uid\":\"u\",\
             \"managedFields\":[{{\"fieldsV1\":{extra}}}]}},\"spec\":{{\"x\":{extra}}},\"status\":{{\"x\":{extra}}}}}"
        )
    }

    #[test]
    fn nothing_in_one_object_keeps_a_list_or_a_watch_from_being_read() {
        let (deep, fine) = (object(&deep()), object("1"));
        let list = format!("{{\"kind\":\"L\",\"apiVersion\":\"v1\",\"metadata\":{{}},\"items\":[{deep},{fine}]}}");
        let list: ObjectList<Written> = serde_json::from_str(&list).unwrap();
        let stored: Vec<_> = list.items.into_iter().map(|object| object.stored(CustomKind::ImagePolicy)).collect();
        assert!(stored[0].text.len() > 25_000 && stored[0].status == Value::Null);
        assert_eq!(stored[1].status, json!({"x": 1}));
        let event = format!("{{\"type\":\"MODIFIED\",\"object\":{deep}}}");
        assert!(
            matches!(serde_json::from_str(&event), Ok(WatchEvent::<Written>::Modified(object)) if object.name() == "a")
        );
    }

    #[test]
    fn what_an_object_says_of_itself_goes_before_what_its_list_says() {
        for (written, api_version, kind) in [
            (r#"{"metadata": {"name": "a"}}"#, "tagwarden.dev/v1", "ImagePolicy"),
            (r#"{"metadata": {"name": "a"}, "kind": "", "apiVersion": ""}"#, "tagwarden.dev/v1", "ImagePolicy"),
            (r#"{"metadata": {"name": "a"}, "kind": "K", "apiVersion": "v2"}"#, "v2", "K"),
        ] {
            let written: Written = serde_json::from_str(written).unwrap();
            let text: Value = serde_json::from_str(&written.stored(CustomKind::ImagePolicy).text).unwrap();
            assert_eq!(text, json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": "a"}}));
        }
        assert!(serde_json::from_str::<Written>("{}").is_err());
    }
}
