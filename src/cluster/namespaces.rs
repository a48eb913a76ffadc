//! Labels of namespaces, kept by a watch; what it has not seen yet is asked for once, under the request's deadline.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use futures_util::StreamExt as _;
use k8s_openapi::api::core::v1::Namespace;
use kube::Api;
use kube::core::PartialObjectMeta;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{Config, Event, watcher};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::Cluster;
use crate::policy::Labels;

/// Questions to the API server at one time. More namespaces than these that nobody has seen are a flood; their
/// labels stay unknown, and policies with a selector then apply.
const FETCHES: usize = 8;
/// The longest that one question may take, whatever the request's deadline leaves.
const FETCH_TIME: Duration = Duration::from_secs(2);

/// A namespace without its spec and status: the API server sends no more where this is asked for.
type Object = PartialObjectMeta<Namespace>;
type Known = HashMap<String, Arc<Labels>>;

/// Labels by the namespace's name. Clones share what they know.
#[derive(Clone)]
pub struct Namespaces {
    shared: Arc<Shared>,
}

struct Shared {
    known: ArcSwap<Known>,
    synced: AtomicBool,
    fetch: Option<(Api<Object>, Semaphore)>,
}

impl Namespaces {
    /// Of no cluster: labels are never known.
    #[must_use]
    pub fn unknown() -> Self {
        Self::with(None)
    }

    /// Of a cluster; the watch runs until the process ends, through every absence of the API server.
    #[must_use]
    pub fn watched(cluster: &Cluster) -> Self {
        let api: Api<Object> = Api::all(cluster.client.clone());
        let namespaces = Self::with(Some((api.clone(), Semaphore::new(FETCHES))));
        tokio::spawn(namespaces.clone().follow(api));
        namespaces
    }

    fn with(fetch: Option<(Api<Object>, Semaphore)>) -> Self {
        let shared = Shared { known: ArcSwap::default(), synced: AtomicBool::new(fetch.is_none()), fetch };
        Namespaces { shared: Arc::new(shared) }
    }

    /// Whether all namespaces were seen once. Stays so: what is known still serves while the API server is away.
    #[must_use]
    pub fn synced(&self) -> bool {
        self.shared.synced.load(Ordering::Acquire)
    }

    /// The labels of a namespace, from the API server's own object; none where they cannot be had before `deadline`.
    pub async fn labels(&self, name: &str, deadline: Instant) -> Option<Arc<Labels>> {
        if let Some(labels) = self.shared.known.load().get(name) {
            return Some(Arc::clone(labels));
        }
        let (api, permits) = self.shared.fetch.as_ref()?;
        let _permit = permits.try_acquire().ok()?;
        let deadline = deadline.min(Instant::now() + FETCH_TIME);
        match tokio::time::timeout_at(deadline, api.get_opt(name)).await {
            Ok(Ok(object)) => object.map(|object| Arc::new(labels_of(&object))),
            Ok(Err(error)) => {
                tracing::warn!(error = %error, "cannot read a namespace's labels");
                None
            }
            Err(_) => {
                tracing::warn!("the API server did not say a namespace's labels in time");
                None
            }
        }
    }

    async fn follow(self, api: Api<Object>) {
        let mut events = std::pin::pin!(watcher(api, Config::default()).default_backoff());
        let mut listed = Known::new();
        while let Some(event) = events.next().await {
            match event {
                Ok(event) => self.apply(event, &mut listed),
                Err(error) => tracing::warn!(error = %error, "cannot watch namespaces; what is known still serves"),
            }
        }
    }

    /// `listed` collects a list until it is complete, so that no namespace is missing meanwhile.
    fn apply(&self, event: Event<Object>, listed: &mut Known) {
        match event {
            Event::Init => listed.clear(),
            Event::InitApply(object) => {
                insert(listed, &object);
            }
            Event::InitDone => {
                self.shared.known.store(Arc::new(std::mem::take(listed)));
                self.shared.synced.store(true, Ordering::Release);
            }
            // One change among some thousand pointers: copying them is cheaper than any lock that readers would meet.
            Event::Apply(object) => {
                let mut known = Known::clone(&self.shared.known.load());
                insert(&mut known, &object);
                self.shared.known.store(Arc::new(known));
            }
            Event::Delete(object) => {
                let mut known = Known::clone(&self.shared.known.load());
                known.remove(object.metadata.name.as_deref().unwrap_or_default());
                self.shared.known.store(Arc::new(known));
            }
        }
    }
}

fn insert(known: &mut Known, object: &Object) {
    if let Some(name) = &object.metadata.name {
        known.insert(name.clone(), Arc::new(labels_of(object)));
    }
}

fn labels_of(object: &Object) -> Labels {
    object.metadata.labels.clone().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{Event, Known, Namespaces, Object};
    use tokio::time::Instant;

    fn object(name: &str, value: &str) -> Object {
        serde_json::from_value(serde_json::json!({"metadata": {"name": name, "labels": {"environment": value}}}))
            .unwrap()
    }

    async fn environment(namespaces: &Namespaces, name: &str) -> Option<String> {
        let labels = namespaces.labels(name, Instant::now()).await?;
        labels.get("environment").cloned()
    }

    #[tokio::test]
    async fn a_list_replaces_what_was_known_only_when_it_is_complete() {
        let namespaces = Namespaces::unknown();
        let mut listed = Known::new();
        for event in [Event::Init, Event::InitApply(object("shop", "prod")), Event::InitDone] {
            namespaces.apply(event, &mut listed);
        }
        assert!(namespaces.synced());
        assert_eq!(environment(&namespaces, "shop").await.as_deref(), Some("prod"));
        for event in [Event::Init, Event::InitApply(object("bank", "test"))] {
            namespaces.apply(event, &mut listed);
        }
        assert_eq!(environment(&namespaces, "shop").await.as_deref(), Some("prod"), "still the old list");
        assert_eq!(environment(&namespaces, "bank").await, None);
        namespaces.apply(Event::InitDone, &mut listed);
        assert_eq!(environment(&namespaces, "shop").await, None);
        assert_eq!(environment(&namespaces, "bank").await.as_deref(), Some("test"));
    }

    #[tokio::test]
    async fn changes_and_deletions_are_followed() {
        let namespaces = Namespaces::unknown();
        let mut listed = Known::new();
        namespaces.apply(Event::Apply(object("shop", "dev")), &mut listed);
        namespaces.apply(Event::Apply(object("shop", "prod")), &mut listed);
        assert_eq!(environment(&namespaces, "shop").await.as_deref(), Some("prod"));
        namespaces.apply(Event::Delete(object("shop", "prod")), &mut listed);
        assert_eq!(environment(&namespaces, "shop").await, None);
    }
}
