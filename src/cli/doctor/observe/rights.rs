//! What the server's account may do, asked of the API server itself.

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::{Read, Release, is_self_managed};
use crate::cluster::{Reader, Unread};
use crate::config::{Config, ReleaseOrigin};

/// Whether the account is to have a right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli::doctor) enum RightKind {
    /// A feature that is on needs it.
    Needed,
    /// Nothing needs it, and whoever takes the server over could do harm by it.
    Surprising,
}

/// One right: a verb on a resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli::doctor) struct Right {
    pub kind: RightKind,
    pub verb: &'static str,
    group: &'static str,
    pub resource: &'static str,
    subresource: &'static str,
    /// The object's name; empty: any.
    pub name: String,
    /// In our own namespace; else in all.
    is_ours: bool,
}

impl Right {
    fn new(kind: RightKind, verb: &'static str, group: &'static str, resource: &'static str) -> Self {
        Right { kind, verb, group, resource, subresource: "", name: String::new(), is_ours: false }
    }

    /// One of the cluster, for tests of what is made of it.
    #[cfg(test)]
    pub fn for_tests(kind: RightKind, verb: &'static str, resource: &'static str) -> Self {
        Right::new(kind, verb, "", resource)
    }

    fn on(self, name: &str) -> Self {
        Right { name: name.to_owned(), ..self }
    }

    fn ours(self) -> Self {
        Right { is_ours: true, ..self }
    }

    /// For people: `get secrets/tagwarden-pins`.
    pub fn shown(&self) -> String {
        let slash = |part: &str| if part.is_empty() { String::new() } else { format!("/{part}") };
        let place = if self.is_ours { "" } else { " in the cluster" };
        format!("{} {}{}{}{place}", self.verb, self.resource, slash(self.subresource), slash(&self.name))
    }

    fn question(&self, release: &Release, account: &str) -> Value {
        let namespace = if self.is_ours { release.namespace.as_str() } else { "" };
        json!({
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SubjectAccessReview",
            "spec": {
                "user": format!("system:serviceaccount:{}:{account}", release.namespace),
                "groups": [
                    "system:serviceaccounts",
                    format!("system:serviceaccounts:{}", release.namespace),
                    "system:authenticated",
                ],
                "resourceAttributes": {
                    "verb": self.verb, "group": self.group, "resource": self.resource,
                    "subresource": self.subresource, "name": self.name, "namespace": namespace,
                },
            },
        })
    }
}

/// Each right with whether the account has it.
pub(super) async fn read(
    reader: &Reader,
    release: &Release,
    account: Option<String>,
    config: Option<&Config>,
) -> Read<Vec<(Right, bool)>> {
    let Some(account) = account else { return Err(Unread::Failed("the Deployment names the account".to_owned())) };
    let Some(config) = config else {
        return Err(Unread::Failed(
            "what is needed depends on the server's configuration, which cannot be read".to_owned(),
        ));
    };
    let account = if account.is_empty() { "default" } else { &account };
    let rights = of_features(release, config);
    let asked = join_all(rights.iter().map(|right| allowed(reader, right.question(release, account)))).await;
    let asked: Result<Vec<bool>, Unread> = asked.into_iter().collect();
    Ok(rights.into_iter().zip(asked?).collect())
}

async fn allowed(reader: &Reader, question: Value) -> Read<bool> {
    let page = reader.post("/apis/authorization.k8s.io/v1/subjectaccessreviews", &question).await?;
    let answer: Value = serde_json::from_str(&page.accepted()?)
        .map_err(|_| Unread::Failed("the API server's answer cannot be read".to_owned()))?;
    Ok(answer["status"]["allowed"] == true)
}

/// The table "Permissions" of the chart's README, as far as this configuration needs it, and what would be too much.
fn of_features(release: &Release, config: &Config) -> Vec<Right> {
    use RightKind::{Needed, Surprising};
    let needed = |verb, group, resource| Right::new(Needed, verb, group, resource);
    let mut rights: Vec<Right> = ["get", "list", "watch"].map(|verb| needed(verb, "", "namespaces")).to_vec();
    let leases = "coordination.k8s.io";
    for verb in ["get", "patch"] {
        rights.push(needed(verb, leases, "leases").on("tagwarden").ours());
    }
    rights.push(needed("create", leases, "leases").ours());
    for verb in ["get", "update"] {
        for name in ["tagwarden-last-known", "tagwarden-last-good"] {
            rights.push(needed(verb, "", "configmaps").on(name).ours());
        }
        rights.push(needed(verb, "", "secrets").on("tagwarden-pins").ours());
    }
    let mut on_configurations = vec!["get"];
    if is_self_managed(config) {
        for verb in ["get", "update"] {
            rights.push(needed(verb, "", "secrets").on("tagwarden-ca").ours());
        }
        for verb in ["get", "patch"] {
            rights.push(needed(verb, leases, "leases").on("tagwarden-ca").ours());
        }
        on_configurations.push("patch");
    }
    for verb in on_configurations {
        for resource in ["validatingwebhookconfigurations", "mutatingwebhookconfigurations"] {
            rights.push(needed(verb, "admissionregistration.k8s.io", resource).on(&release.name));
        }
    }
    if !config.releases.is_empty() {
        for verb in ["get", "update"] {
            rights.push(needed(verb, "", "configmaps").on("tagwarden-last-good-releases").ours());
        }
    }
    let objects = config.releases.iter().any(|source| source.origin == ReleaseOrigin::Objects);
    for (_, plural) in
        [(config.policy_objects, "imagepolicies"), (objects, "imagereleases")].iter().filter(|(is, _)| *is)
    {
        for verb in ["get", "list", "watch"] {
            rights.push(needed(verb, "tagwarden.dev", plural));
        }
        rights.push(Right { subresource: "status", ..needed("patch", "tagwarden.dev", plural) });
    }
    if config.history.enabled {
        for verb in ["list", "watch"] {
            rights.push(needed(verb, "", "pods"));
        }
        rights.push(needed("create", "events.k8s.io", "events"));
    }
    let surprising = |verb, group, resource| Right::new(Surprising, verb, group, resource);
    rights.push(surprising("list", "", "secrets"));
    rights.push(surprising("create", "", "pods"));
    rights.push(surprising("delete", "admissionregistration.k8s.io", "validatingwebhookconfigurations"));
    rights.push(surprising("create", "rbac.authorization.k8s.io", "clusterrolebindings"));
    rights
}

#[cfg(test)]
mod tests {
    use super::{RightKind, of_features};
    use crate::cli::doctor::observe::Release;
    use crate::config::{Config, Overrides};

    fn shown(text: &str, kind: RightKind) -> Vec<String> {
        let config = Config::from_text("c", text, &Overrides::default()).unwrap();
        let release = Release { name: "tagwarden".to_owned(), namespace: "tagwarden".to_owned() };
        of_features(&release, &config).iter().filter(|right| right.kind == kind).map(super::Right::shown).collect()
    }

    #[test]
    fn what_is_needed_follows_from_the_configuration() {
        let files = shown("{}", RightKind::Needed);
        let made = shown(
            "tls: {mode: self-managed, service: tagwarden}\nwebhooks: {validating: t, mutating: t}",
            RightKind::Needed,
        );
        let objects = shown("policies: {objects: true}", RightKind::Needed);
        let patch = "patch validatingwebhookconfigurations/tagwarden in the cluster".to_owned();
        assert!(!files.contains(&patch) && made.contains(&patch));
        assert!(made.contains(&"update secrets/tagwarden-ca".to_owned()));
        assert!(objects.contains(&"patch imagepolicies/status in the cluster".to_owned()));
        assert!(!files.iter().any(|right| right.contains("imagepolicies")));
        let history = shown("history: {enabled: true}", RightKind::Needed);
        for right in ["list pods in the cluster", "watch pods in the cluster", "create events in the cluster"] {
            assert!(history.contains(&right.to_owned()) && !files.contains(&right.to_owned()), "{right}");
        }
        assert!(files.contains(&"get secrets/tagwarden-pins".to_owned()));
        let releases = shown("releases: [{objects: true}]", RightKind::Needed);
        assert!(releases.contains(&"patch imagereleases/status in the cluster".to_owned()));
        assert!(releases.contains(&"update configmaps/tagwarden-last-good-releases".to_owned()));
        let directories = shown("releases: [{dir: a}]", RightKind::Needed);
        assert!(directories.contains(&"get configmaps/tagwarden-last-good-releases".to_owned()));
        assert!(!directories.iter().any(|right| right.contains("imagereleases")));
        assert!(!files.iter().any(|right| right.contains("releases")));
    }
}
