//! Pods under watch, with nothing of them in memory but what says what they run.

use std::borrow::Cow;
use std::pin::Pin;

use futures_util::{Stream, StreamExt as _};
use k8s_openapi::NamespaceResourceScope;
use kube::api::ObjectMeta;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Config, Event, watcher};
use kube::{Api, Resource};
use serde::{Deserialize, Deserializer};

use super::Cluster;
use crate::history::{Container, ContainerKind, Pod, PodChange};

/// All Pods of a cluster under watch, which ends when this is dropped.
pub struct Pods {
    events: Pin<Box<dyn Stream<Item = watcher::Result<Event<Written>>> + Send>>,
}

impl Pods {
    /// Begins to list, then to watch, through every absence of the API server.
    #[must_use]
    pub fn watched(cluster: &Cluster) -> Self {
        let api: Api<Written> = Api::all(cluster.client.clone());
        Pods { events: watcher(api, Config::default()).default_backoff().boxed() }
    }

    /// The next change. Nothing is lost where this is given up.
    pub async fn next(&mut self) -> PodChange {
        match self.events.next().await {
            Some(Ok(Event::Init)) => PodChange::Listing,
            Some(Ok(Event::InitApply(pod))) => PodChange::Listed(pod.pod),
            Some(Ok(Event::InitDone)) => PodChange::ListDone,
            Some(Ok(Event::Apply(pod))) => PodChange::Applied(pod.pod),
            Some(Ok(Event::Delete(pod))) => PodChange::Gone(pod.pod.uid),
            Some(Err(error)) => PodChange::Failed(sentence(&error)),
            // A watch never ends by itself.
            None => std::future::pending().await,
        }
    }
}

fn sentence(error: &watcher::Error) -> String {
    match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status))
        | watcher::Error::WatchFailed(kube::Error::Api(status))
        | watcher::Error::WatchError(status)
            if status.code == 403 =>
        {
            "listing and watching Pods is forbidden: apply the chart again with 'config.history.enabled', its ClusterRole grants both"
                .to_owned()
        }
        _ => error.to_string(),
    }
}

/// A Pod as it is written, read and at once reduced.
#[derive(Clone, Debug)]
struct Written {
    metadata: ObjectMeta,
    pod: Pod,
}

/// What is read of it; deriving skips everything else.
#[derive(Deserialize)]
struct Wire {
    metadata: Metadata,
    #[serde(default)]
    spec: Spec,
    #[serde(default)]
    status: Status,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    name: Option<String>,
    namespace: Option<String>,
    uid: Option<String>,
    resource_version: Option<String>,
    annotations: Option<Annotations>,
}

#[derive(Deserialize)]
struct Annotations {
    #[serde(rename = "tagwarden.dev/release")]
    release: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    containers: Option<Vec<Named>>,
    init_containers: Option<Vec<Named>>,
    ephemeral_containers: Option<Vec<Named>>,
}

#[derive(Deserialize)]
struct Named {
    name: String,
    #[serde(default)]
    image: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    phase: Option<String>,
    start_time: Option<String>,
    container_statuses: Option<Vec<ContainerStatus>>,
    init_container_statuses: Option<Vec<ContainerStatus>>,
    ephemeral_container_statuses: Option<Vec<ContainerStatus>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ContainerStatus {
    name: String,
    #[serde(default, rename = "imageID")]
    image_id: String,
    state: Option<State>,
    last_state: Option<State>,
}

#[derive(Deserialize)]
struct State {
    running: Option<Started>,
    terminated: Option<Started>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Started {
    started_at: Option<String>,
}

impl Wire {
    fn containers(&mut self) -> Vec<Container> {
        let Wire { spec, status, .. } = self;
        let lists = [
            (ContainerKind::Declared, spec.containers.take(), status.container_statuses.take()),
            (ContainerKind::Declared, spec.init_containers.take(), status.init_container_statuses.take()),
            (ContainerKind::Ephemeral, spec.ephemeral_containers.take(), status.ephemeral_container_statuses.take()),
        ];
        let mut containers = Vec::new();
        for (kind, named, statuses) in lists {
            let named = named.unwrap_or_default();
            for told in statuses.into_iter().flatten() {
                let Some(found) = named.iter().find(|named| named.name == told.name) else { continue };
                let states = [&told.state, &told.last_state].into_iter().flatten();
                let started = states.flat_map(|state| [&state.running, &state.terminated]).flatten();
                let started = started.filter_map(|started| started.started_at.clone()).next();
                containers.push(Container {
                    kind,
                    image: found.image.clone(),
                    runs: told.state.as_ref().is_some_and(|state| state.running.is_some()),
                    started: started.or_else(|| status.start_time.clone()),
                    image_id: told.image_id,
                });
            }
        }
        containers
    }
}

impl<'de> Deserialize<'de> for Written {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut wire = Wire::deserialize(deserializer)?;
        let containers = wire.containers();
        let Metadata { name, namespace, uid, resource_version, annotations } = wire.metadata;
        let pod = Pod {
            uid: uid.clone().unwrap_or_default(),
            namespace: namespace.clone().unwrap_or_default(),
            phase: wire.status.phase.unwrap_or_default(),
            release: annotations.and_then(|annotations| annotations.release),
            containers,
        };
        let metadata = ObjectMeta { name, namespace, uid, resource_version, ..ObjectMeta::default() };
        Ok(Written { metadata, pod })
    }
}

impl Resource for Written {
    type DynamicType = ();
    type Scope = NamespaceResourceScope;

    fn kind((): &()) -> Cow<'_, str> {
        "Pod".into()
    }

    fn group((): &()) -> Cow<'_, str> {
        "".into()
    }

    fn version((): &()) -> Cow<'_, str> {
        "v1".into()
    }

    fn plural((): &()) -> Cow<'_, str> {
        "pods".into()
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
    use super::{Written, sentence};
    use crate::history::ContainerKind;
    use kube::runtime::watcher;
    use serde_json::json;

    #[test]
    fn a_pod_is_reduced_to_what_says_what_it_runs() {
        let running = |at: &str| json!({"running": {"startedAt": at}});
        let object = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "a", "namespace": "shop", "uid": "u", "resourceVersion": "7", "managedFields": [{"x": {}}],
                "annotations": {"tagwarden.dev/release": "system-04 sha256:0", "other": "y"}},
            "spec": {"containers": [{"name": "api", "image": "api:v1", "env": []}, {"name": "new", "image": "new:v1"}],
                "initContainers": [{"name": "init", "image": "init:v1"}],
                "ephemeralContainers": [{"name": "debug", "image": "debug:v1"}]},
            "status": {"phase": "Running", "startTime": "t0", "conditions": [{}], "containerStatuses": [
                    {"name": "api", "image": "other", "imageID": "api@sha256:1", "state": running("t2")},
                    {"name": "new", "imageID": "", "state": {"waiting": {"reason": "x"}}},
                    {"name": "nobody", "imageID": "x@sha256:1", "state": running("t2")}],
                "initContainerStatuses": [{"name": "init", "imageID": "init@sha256:2",
                    "state": {"terminated": {"startedAt": "t1", "exitCode": 0}}}],
                "ephemeralContainerStatuses": [{"name": "debug", "imageID": "debug@sha256:3",
                    "state": {"waiting": {}}, "lastState": {"terminated": {"startedAt": "t3"}}}]}});
        let written: Written = serde_json::from_value(object).unwrap();
        assert_eq!(written.metadata.resource_version.as_deref(), Some("7"));
        let pod = written.pod;
        assert_eq!((pod.uid.as_str(), pod.namespace.as_str(), pod.phase.as_str()), ("u", "shop", "Running"));
        assert_eq!(pod.release.as_deref(), Some("system-04 sha256:0"));
        let containers: Vec<_> = pod
            .containers
            .iter()
            .map(|c| (c.kind, c.image.as_str(), c.image_id.as_str(), c.runs, c.started.as_deref().unwrap()))
            .collect();
        let expected = [
            (ContainerKind::Declared, "api:v1", "api@sha256:1", true, "t2"),
            (ContainerKind::Declared, "new:v1", "", false, "t0"),
            (ContainerKind::Declared, "init:v1", "init@sha256:2", false, "t1"),
            (ContainerKind::Ephemeral, "debug:v1", "debug@sha256:3", false, "t3"),
        ];
        assert_eq!(containers, expected);
    }

    #[test]
    fn a_pod_without_anything_is_read_and_null_is_nothing() {
        for text in [
            "{\"metadata\":{}}",
            "{\"metadata\":{\"annotations\":null},\"spec\":{\"containers\":null},\"status\":{\"containerStatuses\":null}}",
        ] {
            let written: Written = serde_json::from_str(text).unwrap();
            assert!(written.pod.containers.is_empty() && written.pod.release.is_none());
        }
    }

    #[test]
    fn what_is_forbidden_names_the_remedy() {
        for (code, expected) in [(403, "config.history.enabled"), (500, "boom")] {
            let status = json!({"status": "Failure", "message": "boom", "reason": "x", "code": code});
            let said = sentence(&watcher::Error::WatchError(serde_json::from_value(status).unwrap()));
            assert!(said.contains(expected), "{said}");
        }
    }
}
