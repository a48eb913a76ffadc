//! Objects of the cluster as sources: under watch, how each stands, and what is wrong with it, which its status says.

mod status;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use tokio::sync::watch;

pub(super) use self::status::was_in_force;
use crate::cluster::{Cluster, CustomObjects, Leadership, Listing, StoredObjects};
use crate::document::{Diagnostic, Source, parse, path_of};
use crate::policy::CustomKind;

/// Bytes of an object's text as JSON. Also of those that never come into force each replica holds them all.
pub(super) const MAX_BYTES: usize = 256 << 10;

/// The objects of one kind under watch; the elected replica writes their statuses.
pub(super) struct WatchedObjects {
    listing: watch::Receiver<Listing>,
    /// What was seen of them last.
    seen: Listing,
    standings: watch::Sender<Standings>,
}

/// What objects were judged to be, and as which versions.
#[derive(Clone, Debug, Default)]
pub(super) struct Standings {
    pub objects: Arc<StoredObjects>,
    pub by_name: BTreeMap<String, Standing>,
    /// Whether the whole that they are part of is in force.
    pub set_in_force: bool,
}

/// Which version of an object is in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Force {
    /// The one that is stored.
    This,
    /// The last good one.
    Earlier,
    /// None, and some version was: the last good one is none any more under these settings, or is not known.
    Lost,
    /// None, as ever.
    None,
}

/// How an object stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Standing {
    pub force: Force,
    /// Of the version in force: a policy's hash, a release's id.
    pub hash: Option<String>,
    pub problems: Vec<ObjectProblem>,
}

/// A problem of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ObjectProblem {
    pub kind: CustomKind,
    /// The object's name.
    pub object: String,
    /// Where in it: `spec.rules[0].tags[1]`; empty: the object as a whole.
    pub path: String,
    /// One sentence.
    pub message: String,
    /// What to do, a line each.
    pub help: Vec<String>,
}

impl WatchedObjects {
    /// Begins to watch, and where there is a leadership to write statuses.
    pub fn begin(cluster: &Cluster, kind: CustomKind, leadership: Option<&Leadership>) -> Self {
        let objects = CustomObjects::watched(cluster, kind);
        let (standings, judged) = watch::channel(Standings::default());
        let listing = objects.listing();
        if let Some(leadership) = leadership {
            tokio::spawn(status::keep(objects, judged, leadership.clone()));
        }
        WatchedObjects { listing, seen: Listing::default(), standings }
    }

    /// What is known of them now.
    pub fn listing(&self) -> Listing {
        self.listing.borrow().clone()
    }

    /// Waits until there is something new about them.
    pub async fn stirred(&mut self) {
        if self.listing.changed().await.is_err() {
            std::future::pending().await
        }
    }

    /// Whether objects have changed since the last time, or what keeps them from being listed; statuses do not count.
    pub fn changed(&mut self) -> bool {
        let now = self.listing.borrow_and_update().clone();
        let changed = match (&now.objects, &self.seen.objects) {
            (Some(now), Some(seen)) => !Arc::ptr_eq(now, seen) && differ(now, seen),
            (None, None) => now.problem != self.seen.problem,
            _ => true,
        };
        self.seen = now;
        changed
    }

    /// Says how they stand.
    pub fn publish(&self, standings: Standings) {
        self.standings.send_replace(standings);
    }
}

fn differ(now: &StoredObjects, seen: &StoredObjects) -> bool {
    now.len() != seen.len()
        || now.iter().zip(seen.iter()).any(|((name, object), (other, seen))| {
            name != other || object.uid != seen.uid || object.generation != seen.generation || object.text != seen.text
        })
}

impl ObjectProblem {
    /// The problems of a text of an object, which is all of it or what stands at the path `within`; a stored object has no
    /// lines, so each is told by its path.
    pub fn all(kind: CustomKind, object: &str, within: &str, text: &str, problems: Vec<Diagnostic>) -> Vec<Self> {
        let (documents, _) = parse(&Source::new(object, text));
        let path = |problem: &Diagnostic| {
            let root = &documents.first()?.root;
            Some(path_of(root, problem.span.as_ref()?))
        };
        let told = problems.into_iter().map(|problem| {
            let path = path(&problem).unwrap_or_default();
            let separator = if within.is_empty() || path.is_empty() { "" } else { "." };
            ObjectProblem {
                kind,
                object: object.to_owned(),
                path: format!("{within}{separator}{path}"),
                message: problem.message,
                help: problem.help,
            }
        });
        told.collect()
    }

    /// The object has more bytes than [`MAX_BYTES`].
    pub fn too_large(kind: CustomKind, object: &str, length: usize) -> Self {
        let help = match kind {
            CustomKind::ImagePolicy => "split it into several policies, or use fewer and wider patterns",
            CustomKind::ImageRelease => "take out sections that only your own tools read, and keep the rest in files",
        };
        ObjectProblem {
            kind,
            object: object.to_owned(),
            path: String::new(),
            message: format!("it has {} KiB, and an object may have {} KiB", length.div_ceil(1 << 10), MAX_BYTES >> 10),
            help: vec![help.to_owned()],
        }
    }
}

/// One line: `ImagePolicy NAME: PATH: message; help`.
impl fmt::Display for ObjectProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: ", self.kind.name(), self.object)?;
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)?;
        self.help.iter().try_for_each(|help| write!(f, "; {help}"))
    }
}
