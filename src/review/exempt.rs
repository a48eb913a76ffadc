//! Requests that are allowed without a look at their images: mirror Pods, and requesters that configuration names.

use super::request::Text;
use super::{About, AdmissionRequest, Operation};
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

/// Accounts that act for everybody: to exempt one is to switch the policy off.
const CONTROLLERS: [&str; 4] =
    ["system:kube-controller-manager", "system:kube-scheduler", "system:apiserver", "system:anonymous"];
const CONTROLLER_PREFIXES: [&str; 3] =
    ["system:serviceaccount:kube-system:", "system:serviceaccount:openshift-infra:", "system:node:"];

/// Users and groups that configuration exempts, by their exact names.
#[derive(Clone, Debug, Default)]
pub struct ExemptRequesters {
    users: HashSet<String>,
    groups: HashSet<String>,
}

impl ExemptRequesters {
    /// Takes the names of `exemptRequesters` in the server's configuration.
    ///
    /// # Errors
    /// A name that would exempt everybody: a controller's or node's account, a `system:` group (service accounts'
    /// groups among them), a wildcard, or nothing at all.
    pub fn new(users: Vec<String>, groups: Vec<String>) -> Result<Self, String> {
        for user in &users {
            check_name("users", user)?;
            if CONTROLLERS.contains(&user.as_str()) || CONTROLLER_PREFIXES.iter().any(|prefix| user.starts_with(prefix))
            {
                return Err(format!(
                    "exemptRequesters.users: {user:?} acts for everybody, exempting it would switch the policy off; name the account of one person or pipeline"
                ));
            }
        }
        for group in &groups {
            check_name("groups", group)?;
            if group.starts_with("system:") {
                return Err(format!(
                    "exemptRequesters.groups: {group:?} is a system group, exempting it would switch the policy off; name a group of your own"
                ));
            }
        }
        Ok(ExemptRequesters { users: users.into_iter().collect(), groups: groups.into_iter().collect() })
    }

    fn exempt(&self, request: &AdmissionRequest<'_>) -> Option<String> {
        if self.users.contains(&*request.user.username) {
            return Some(format!("user {}", request.user.username));
        }
        let group = request.user.groups.iter().find(|group| self.groups.contains(&***group))?;
        Some(format!("group {group}"))
    }
}

fn check_name(list: &str, name: &str) -> Result<(), String> {
    if name.trim().is_empty() {
        return Err(format!("exemptRequesters.{list}: an empty name"));
    }
    if name.contains('*') {
        return Err(format!("exemptRequesters.{list}: {name:?} holds a wildcard; names are exact"));
    }
    Ok(())
}

/// Why a request is allowed without a look at its images.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exempt {
    /// A static Pod that a kubelet reports: it runs already, whatever is answered.
    MirrorPod,
    /// A requester that configuration exempts: `user NAME` or `group NAME`. Count it and log it.
    Requester(String),
}

/// Whether a request is exempt. Nothing that a user can set on the object exempts it: the annotation of a mirror Pod
/// counts only when a node sends it.
pub fn exemption(request: &AdmissionRequest<'_>, about: &About<'_>, requesters: &ExemptRequesters) -> Option<Exempt> {
    if !matches!(request.operation, Operation::Create | Operation::Update) {
        return None;
    }
    if is_pod(request) && about.is_mirror && is_node(request) {
        return Some(Exempt::MirrorPod);
    }
    requesters.exempt(request).map(Exempt::Requester)
}

fn is_pod(request: &AdmissionRequest<'_>) -> bool {
    request.group.is_empty() && request.kind == "Pod"
}

fn is_node(request: &AdmissionRequest<'_>) -> bool {
    let name = request.user.username.strip_prefix("system:node:");
    name.is_some_and(|name| !name.is_empty()) && request.user.groups.iter().any(|group| group == "system:nodes")
}

/// What an object's `metadata` says, as far as it matters here.
#[derive(Debug, Default)]
pub(super) struct Metadata<'a> {
    /// `generateName`; empty where the object has a name.
    pub(super) generate_name: Cow<'a, str>,
    /// Whether it has the annotation `kubernetes.io/config.mirror`.
    pub(super) is_mirror: bool,
}

impl<'a> Metadata<'a> {
    /// Reads an object's metadata where something depends on it; otherwise spares the pass over the object.
    pub(super) fn of(request: &AdmissionRequest<'a>) -> Self {
        let needed = request.name.is_empty() || (is_pod(request) && is_node(request));
        match request.object {
            Some(object) if needed => Metadata::read(object.get()),
            _ => Metadata::default(),
        }
    }

    /// Reads it from an object's text; of what is not as it should be, nothing (that never exempts anything).
    pub(super) fn read(object: &'a str) -> Self {
        let Ok(Object { metadata: Some(metadata) }) = super::json::from_str(object) else {
            return Metadata::default();
        };
        Metadata {
            generate_name: metadata.generate_name.map(|text| text.0).unwrap_or_default(),
            is_mirror: metadata.annotations.is_some_and(|annotations| annotations.is_mirror),
        }
    }
}

#[derive(Deserialize)]
struct Object<'a> {
    #[serde(borrow, default)]
    metadata: Option<Meta<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Meta<'a> {
    #[serde(borrow, default)]
    generate_name: Option<Text<'a>>,
    #[serde(default)]
    annotations: Option<Annotations>,
}

/// Annotations hold whole objects (`last-applied-configuration`): all but one are skipped unread.
struct Annotations {
    is_mirror: bool,
}

impl<'de> Deserialize<'de> for Annotations {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Keys;

        impl<'de> Visitor<'de> for Keys {
            type Value = Annotations;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("annotations")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Annotations, A::Error> {
                let mut is_mirror = false;
                while let Some(key) = map.next_key::<Text<'de>>()? {
                    is_mirror |= key.0 == "kubernetes.io/config.mirror";
                    map.next_value::<IgnoredAny>()?;
                }
                Ok(Annotations { is_mirror })
            }
        }

        deserializer.deserialize_map(Keys)
    }
}

#[cfg(test)]
mod tests {
    use super::{Exempt, ExemptRequesters, Metadata, exemption};
    use crate::review::testing::{container, pod, review};
    use crate::review::{About, read};
    use serde_json::{Value, json};

    fn exempt(review: &Value, requesters: &ExemptRequesters) -> Option<Exempt> {
        let body = review.to_string();
        let request = read(body.as_bytes()).unwrap();
        exemption(&request, &About::of(&request), requesters)
    }

    fn mirror(username: &str, groups: &[&str]) -> Value {
        let mut object = pod(vec![container("api", "bad")]);
        object["metadata"]["annotations"] = json!({"kubernetes.io/config.mirror": "abc", "other": "x"});
        let mut review = review("CREATE", "", "Pod", object, Value::Null);
        review["request"]["userInfo"] = json!({"username": username, "groups": groups});
        review
    }

    #[test]
    fn row_40_a_mirror_pod_is_exempt_when_a_node_sends_it() {
        let nobody = ExemptRequesters::default();
        let review = mirror("system:node:n1", &["system:nodes", "system:authenticated"]);
        assert_eq!(exempt(&review, &nobody), Some(Exempt::MirrorPod));
    }

    #[test]
    fn row_40_a_forged_mirror_pod_is_judged() {
        let nobody = ExemptRequesters::default();
        for (username, groups) in [
            ("jane", &["system:nodes"][..]),
            ("system:node:n1", &["system:authenticated"]),
            ("system:node:", &["system:nodes"]),
            ("xsystem:node:n1", &["system:nodes"]),
            ("system:serviceaccount:kube-system:daemon-set-controller", &["system:serviceaccounts"]),
        ] {
            assert_eq!(exempt(&mirror(username, groups), &nobody), None, "{username}");
        }
        let groups = ["system:nodes"];
        let mut unannotated = mirror("system:node:n1", &groups);
        unannotated["request"]["object"]["metadata"]["annotations"] = json!({"config.mirror": "x"});
        assert_eq!(exempt(&unannotated, &nobody), None);
        let mut deployment = mirror("system:node:n1", &groups);
        deployment["request"]["kind"] = json!({"group": "apps", "version": "v1", "kind": "Deployment"});
        assert_eq!(exempt(&deployment, &nobody), None);
    }

    #[test]
    fn requesters_are_exempt_by_exact_name() {
        let requesters = ExemptRequesters::new(vec!["jane".to_owned()], vec!["break-glass".to_owned()]).unwrap();
        let by = |username: &str, group: &str| {
            let mut review = review("UPDATE", "apps", "Deployment", json!({}), json!({}));
            review["request"]["userInfo"] = json!({"username": username, "groups": ["dev", group]});
            exempt(&review, &requesters)
        };
        assert_eq!(by("jane", "x"), Some(Exempt::Requester("user jane".to_owned())));
        assert_eq!(by("joe", "break-glass"), Some(Exempt::Requester("group break-glass".to_owned())));
        for (username, group) in [("Jane", "x"), ("jane2", "break"), ("", "")] {
            assert_eq!(by(username, group), None);
        }
    }

    #[test]
    fn names_that_would_exempt_everybody_are_refused() {
        for user in [
            "",
            " ",
            "*",
            "system:serviceaccount:shop:*",
            "system:serviceaccount:kube-system:replicaset-controller",
            "system:serviceaccount:openshift-infra:deploymentconfig-controller",
            "system:kube-controller-manager",
            "system:node:n1",
        ] {
            assert!(ExemptRequesters::new(vec![user.to_owned()], Vec::new()).is_err(), "{user}");
        }
        for group in
            ["", "dev*", "system:masters", "system:authenticated", "system:serviceaccounts:shop", "system:nodes"]
        {
            assert!(ExemptRequesters::new(Vec::new(), vec![group.to_owned()]).is_err(), "{group}");
        }
        let users = vec!["jane".to_owned(), "system:serviceaccount:ci:deployer".to_owned(), "system:admin".to_owned()];
        assert!(ExemptRequesters::new(users, vec!["break-glass".to_owned()]).is_ok());
    }

    #[test]
    fn metadata_of_any_shape_exempts_nothing() {
        for object in
            ["", "[]", r#"{"metadata":[1]}"#, r#"{"metadata":{"annotations":"kubernetes.io/config.mirror"}}"#, "null"]
        {
            let metadata = Metadata::read(object);
            assert!(!metadata.is_mirror && metadata.generate_name.is_empty(), "{object}");
        }
    }
}
