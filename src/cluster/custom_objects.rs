//! Our own objects, ImagePolicy and ImageRelease: kept by a watch, through every absence of the API server, and the status
//! that is written into them.

mod written;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use kube::Api;
use kube::api::{ListParams, Patch, PatchParams};
use kube::runtime::watcher::{self, Config, Event, watcher};
use serde_json::{Value, json};
use tokio::sync::watch;

use self::written::Written;
use super::Cluster;
use super::ask::{answered, ask};
use crate::policy::{CustomKind, GROUP};

/// After the first failure of a watch the next attempt comes; the time doubles with each further one, to [`SLOWEST`].
const FIRST: Duration = Duration::from_millis(500);
/// How long the definition's coming, or the API server's, may stay unseen.
const SLOWEST: Duration = Duration::from_secs(5);

/// An object, as far as it is ours.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoredObject {
    /// Tells it from an earlier object of the same name.
    pub uid: String,
    /// Counts the versions of its spec.
    pub generation: i64,
    /// When it was created, as the API server writes times: in UTC, to the second.
    pub created: String,
    /// The object as JSON: every key but `status`, and of the metadata the name.
    pub text: String,
    /// The status that it has; null: none.
    pub status: Value,
}

/// The objects by name.
pub type StoredObjects = BTreeMap<String, StoredObject>;

/// What is known of the objects.
#[derive(Clone, Debug, Default)]
pub struct Listing {
    /// None until all were listed once; then the last that was seen, also while the API server is away.
    pub objects: Option<Arc<StoredObjects>>,
    /// Why they cannot be listed or watched now.
    pub problem: Option<String>,
}

/// The objects of one kind under watch. Clones share the watch, which ends with the last of them.
#[derive(Clone, Debug)]
pub struct CustomObjects {
    kind: CustomKind,
    listing: watch::Receiver<Listing>,
    api: Api<Written>,
}

impl CustomObjects {
    /// Begins to watch.
    #[must_use]
    pub fn watched(cluster: &Cluster, kind: CustomKind) -> Self {
        let api: Api<Written> = Api::all_with(cluster.client.clone(), &kind);
        let (tell, listing) = watch::channel(Listing::default());
        tokio::spawn(follow(api.clone(), kind, tell));
        CustomObjects { kind, listing, api }
    }

    /// Their kind.
    #[must_use]
    pub const fn kind(&self) -> CustomKind {
        self.kind
    }

    /// All objects as they are now, without a watch.
    ///
    /// # Errors
    /// One sentence: the API server did not answer, or not in time, or forbids it, or knows no such objects.
    pub async fn listed(cluster: &Cluster, kind: CustomKind) -> Result<StoredObjects, String> {
        let api: Api<Written> = Api::all_with(cluster.client.clone(), &kind);
        let what = format!("list {} objects", kind.name());
        let list = ask(&what, api.list(&ListParams::default())).await?;
        let mut objects = StoredObjects::new();
        list.items.into_iter().for_each(|object| insert(&mut objects, kind, object));
        Ok(objects)
    }

    /// What is known of them; the receiver tells of changes.
    #[must_use]
    pub fn listing(&self) -> watch::Receiver<Listing> {
        self.listing.clone()
    }

    /// Writes the status of one object, where it is still the one that was judged.
    ///
    /// # Errors
    /// One sentence: the API server did not answer, or not in time, or refuses it; the object is gone or another one.
    pub async fn write_status(&self, name: &str, uid: &str, status: &Value) -> Result<(), String> {
        let patch = json!({"metadata": {"uid": uid}, "status": status});
        let params = PatchParams::default();
        let written = answered(self.api.patch_status(name, &params, &Patch::Merge(patch))).await;
        written.map(drop).map_err(|problem| problem.to_string())
    }
}

/// Until nobody listens any more.
async fn follow(api: Api<Written>, kind: CustomKind, tell: watch::Sender<Listing>) {
    let mut events = std::pin::pin!(watcher(api, Config::default()));
    let mut listed = StoredObjects::new();
    let mut retries = Retries::default();
    loop {
        let event = tokio::select! {
            () = tell.closed() => return,
            event = events.next() => event,
        };
        let Some(event) = event else { return };
        let wait = retries.after(&event);
        match event {
            Ok(event) => apply(event, kind, &mut listed, &tell),
            Err(error) => failed(&error, kind, &tell),
        }
        if let Some(wait) = wait {
            tokio::select! {
                () = tell.closed() => return,
                () = tokio::time::sleep(wait) => {}
            }
        }
    }
}

/// `listed` collects a list until it is complete, so that no object is missing meanwhile.
fn apply(event: Event<Written>, kind: CustomKind, listed: &mut StoredObjects, tell: &watch::Sender<Listing>) {
    match event {
        Event::Init => listed.clear(),
        Event::InitApply(object) => insert(listed, kind, object),
        Event::InitDone => {
            let objects = Some(Arc::new(std::mem::take(listed)));
            tell.send_replace(Listing { objects, problem: None });
        }
        Event::Apply(object) => change(tell, |known| insert(known, kind, object)),
        Event::Delete(object) => change(tell, |known| {
            known.remove(object.name());
        }),
    }
}

fn change(tell: &watch::Sender<Listing>, change: impl FnOnce(&mut StoredObjects)) {
    tell.send_modify(|listing| {
        change(Arc::make_mut(listing.objects.get_or_insert_default()));
        listing.problem = None;
    });
}

/// Each problem is logged once, however often it comes back in a row.
fn failed(error: &watcher::Error, kind: CustomKind, tell: &watch::Sender<Listing>) {
    let problem = sentence(error, kind);
    let news = tell.borrow().problem.as_ref() != Some(&problem);
    if news {
        let kind = kind.name();
        tracing::warn!(problem, "cannot watch {kind} objects; those that are known still serve; trying again");
        tell.send_modify(|listing| listing.problem = Some(problem));
    }
}

fn sentence(error: &watcher::Error, kind: CustomKind) -> String {
    let (plural, schema) = (kind.plural(), kind.schema());
    let code = match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status))
        | watcher::Error::WatchFailed(kube::Error::Api(status))
        | watcher::Error::WatchError(status) => status.code,
        _ => 0,
    };
    match code {
        404 => format!(
            "the CustomResourceDefinition {plural}.{GROUP} is not installed: apply the chart again, or `tagwarden schema {schema}`"
        ),
        403 => format!(
            "listing and watching {plural}.{GROUP} is forbidden: apply the chart again, its ClusterRole grants both"
        ),
        _ => error.to_string(),
    }
}

fn insert(known: &mut StoredObjects, kind: CustomKind, object: Written) {
    if !object.name().is_empty() {
        known.insert(object.name().to_owned(), object.stored(kind));
    }
}

/// How long to wait after each failure in a row.
#[derive(Debug)]
struct Retries(Duration);

impl Default for Retries {
    fn default() -> Self {
        Retries(FIRST)
    }
}

impl Retries {
    /// What to wait after this event before the next one is asked for. That a list begins says nothing yet: it comes
    /// before each attempt.
    fn after(&mut self, event: &watcher::Result<Event<Written>>) -> Option<Duration> {
        match event {
            Ok(Event::Init | Event::InitApply(_)) => None,
            Ok(Event::InitDone | Event::Apply(_) | Event::Delete(_)) => {
                *self = Retries::default();
                None
            }
            Err(_) => {
                let wait = self.0;
                self.0 = (wait * 2).min(SLOWEST);
                Some(wait)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Event, Listing, Retries, StoredObjects, Written, apply, failed};
    use crate::policy::CustomKind;
    use kube::runtime::watcher;
    use serde_json::{Value, json};
    use tokio::sync::watch;

    const KIND: CustomKind = CustomKind::ImagePolicy;

    fn object(name: &str, spec: Value) -> Written {
        let object = json!({"metadata": {"name": name, "uid": "u", "generation": 3, "creationTimestamp": "2026-01-02T03:04:05Z", "labels": {"a": "b"}},
            "spec": spec, "specs": 1, "status": {"hash": "h"}});
        serde_json::from_str(&object.to_string()).unwrap()
    }

    fn names(tell: &watch::Sender<Listing>) -> Option<Vec<String>> {
        tell.borrow().objects.as_ref().map(|objects| objects.keys().cloned().collect())
    }

    #[test]
    fn a_list_counts_when_it_is_complete_and_changes_are_followed() {
        let (tell, _told) = watch::channel(Listing::default());
        let mut listed = StoredObjects::new();
        for event in [Event::Init, Event::InitApply(object("a", json!({})))] {
            apply(event, KIND, &mut listed, &tell);
            assert_eq!(names(&tell), None, "half a list is none");
        }
        apply(Event::InitDone, KIND, &mut listed, &tell);
        assert_eq!(names(&tell).unwrap(), ["a"]);
        apply(Event::Apply(object("b", json!({}))), KIND, &mut listed, &tell);
        apply(Event::Delete(object("a", json!({}))), KIND, &mut listed, &tell);
        assert_eq!(names(&tell).unwrap(), ["b"]);
        for event in [Event::Init, Event::InitApply(object("c", json!({})))] {
            apply(event, KIND, &mut listed, &tell);
        }
        assert_eq!(names(&tell).unwrap(), ["b"], "the old list until the new one is complete");
        apply(Event::InitDone, KIND, &mut listed, &tell);
        assert_eq!(names(&tell).unwrap(), ["c"]);
    }

    #[test]
    fn an_object_is_every_key_but_its_status_and_the_api_servers_metadata() {
        let (tell, told) = watch::channel(Listing::default());
        apply(Event::Apply(object("a", json!({"mode": "warn"}))), KIND, &mut StoredObjects::new(), &tell);
        let stored = told.borrow().objects.as_ref().unwrap()["a"].clone();
        let text: Value = serde_json::from_str(&stored.text).unwrap();
        let expected = json!({"apiVersion": "tagwarden.dev/v1", "kind": "ImagePolicy", "metadata": {"name": "a"},
            "spec": {"mode": "warn"}, "specs": 1});
        assert_eq!(text, expected);
        assert_eq!(stored.created, "2026-01-02T03:04:05Z");
        assert_eq!((stored.generation, stored.status), (3, json!({"hash": "h"})));
    }

    #[test]
    fn a_failure_keeps_what_is_known_and_says_what_to_do() {
        let (tell, told) = watch::channel(Listing::default());
        apply(Event::Apply(object("a", json!({}))), KIND, &mut StoredObjects::new(), &tell);
        for (code, expected) in [(404, "schema crd"), (403, "ClusterRole"), (500, "boom")] {
            let status = json!({"status": "Failure", "message": "boom", "reason": "x", "code": code});
            failed(&watcher::Error::WatchError(serde_json::from_value(status).unwrap()), KIND, &tell);
            assert!(told.borrow().problem.as_ref().unwrap().contains(expected), "{:?}", told.borrow().problem);
        }
        assert_eq!(names(&tell).unwrap(), ["a"]);
        apply(Event::Apply(object("a", json!({}))), KIND, &mut StoredObjects::new(), &tell);
        assert_eq!(told.borrow().problem, None, "it is over when the next event comes");
    }

    #[test]
    fn attempts_slow_down_to_five_seconds_until_a_list_is_complete() {
        let mut retries = Retries::default();
        let failure = || {
            let status = json!({"status": "Failure", "message": "boom", "reason": "x", "code": 404});
            Err(watcher::Error::WatchError(serde_json::from_value(status).unwrap()))
        };
        let mut waits = Vec::new();
        for _ in 0..6 {
            for event in [Ok(Event::Init), Ok(Event::InitApply(object("a", json!({})))), failure()] {
                waits.extend(retries.after(&event).map(|wait| wait.as_millis()));
            }
        }
        assert_eq!(waits, [500, 1000, 2000, 4000, 5000, 5000]);
        for good in [Event::InitDone, Event::Apply(object("a", json!({}))), Event::Delete(object("a", json!({})))] {
            assert_eq!(retries.after(&Ok(good)), None);
            assert_eq!(retries.after(&failure()).unwrap().as_millis(), 500);
        }
    }
}
