//! Policies: read from files, compiled once, and the two pure functions `plan` and `decide`.

mod channel;
mod compile;
mod coverage;
mod decide;
mod examine;
mod exception;
mod facts;
mod facts_file;
mod few;
pub mod file;
mod finding_id;
mod image_facts;
mod judge;
mod lint;
mod lookups;
mod metadata;
mod plan;
mod reasons;
mod release;
mod releases;
mod resource;
mod show;
mod tags;
mod test_file;
mod verdict;

pub use compile::{Labels, NoPolicy, NonCanonicalHost, Owner, PolicySet, Settings, TrustedLabels};
pub use coverage::{Coverage, Item, What};
pub use decide::decide;
pub use facts::{Age, Answer, Asked, Budget, Facts, Failure, ImageLabels, Lookup, Resolved, Source, Undecided, gather};
pub use facts_file::FactsFile;
pub use few::Few;
pub use file::{Mode, policy_schema};
pub use finding_id::{Check, FindingId};
pub use image_facts::{BASE_NAME, Created, ImageFacts, PlatformFacts, REVISION, SOURCE, VERSION as VERSION_LABEL};
pub use lint::{LintCode, Linted, lint};
pub use metadata::{LabelFinding, check_labels};
pub use plan::Plan;
pub use reasons::{About, Reason};
pub use releases::{Choice, Current, Governed, Loaded, Mismatch, Releases, SEVERAL, Snapshots};
pub use resource::{CustomKind, GROUP, VERSION, policy_crd, release_crd};
pub use show::{IMAGE_BYTES, printable, shown};
pub use test_file::{Case, Difference, Expectation, Seen, SeenFinding, TestFile, test_schema};
pub use verdict::{AllowReason, Applied, Decision, Finding, ImageVerdict, Level, OneRelease, Pinning, Verdict};

use crate::image::{Reference, ReferenceError};
use std::borrow::Cow;
use std::fmt;

/// Seconds since the epoch. The engine has no clock: whoever asks says when.
pub type Seconds = i64;

/// What is asked: the object around the images, as far as a verdict can depend on it.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The object's kind, `Deployment`; shown in texts.
    pub kind: &'a str,
    /// Where the object lives; none for cluster-scoped objects (every policy applies to them).
    pub namespace: Option<&'a str>,
    /// Its name; for `generateName` the prefix with `*` at its end; may be empty.
    pub name: &'a str,
    /// The namespace's labels from the API server's own object; none: not known (a policy with a selector then applies).
    pub namespace_labels: Option<&'a Labels>,
    /// A Pod: the boundary. Anything else is a template, early feedback.
    pub is_pod: bool,
    /// For what it is judged.
    pub stage: Stage,
    /// The environment that the namespace belongs to, where whoever asks knows it better than the namespace tells: the
    /// command line, of a file in an overlay. In admission there is none: the object's author would choose it.
    pub environment: Option<&'a str>,
    /// Images of the object that an update leaves as they are: they are not judged, but a release is one for all of them.
    pub beside: &'a [ImageUse<'a>],
    /// The releases that govern the namespace, or why none does; see [`Releases::govern`].
    pub governed: Governed<'a>,
    /// Now, for the expiry of exceptions.
    pub now: Seconds,
}

/// For what a request is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stage {
    /// Before it is stored, to write digests into a Pod: what is missing is still to come.
    Mutation,
    /// Before it is stored, as the last word: what is missing is missing.
    Admission,
    /// On the command line, with registries: judged as if the pins had been written.
    Command,
    /// On the command line without them: no fact is asked that only a pin needs.
    Offline,
}

/// One image of the object, where it stands, and what it says.
#[derive(Clone, Debug)]
pub struct ImageUse<'a> {
    /// Which of a PodSpec's lists it is in.
    pub list: List,
    /// The container's (or volume's) name, if it has one.
    pub container: Option<&'a str>,
    /// The path in the object sent: `spec.template.spec.containers[0].image`.
    pub field: FieldPath<'a>,
    /// As written.
    pub image: &'a str,
    /// As read.
    pub reference: Result<Reference<'a>, ReferenceError>,
    /// Our own proof says that this tag had this digest when we pinned it, moments ago.
    pub pin_proven: bool,
}

/// The four places of a PodSpec, and places that configuration added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum List {
    /// `initContainers`, sidecars among them.
    InitContainers,
    /// `containers`.
    Containers,
    /// `ephemeralContainers`.
    EphemeralContainers,
    /// `volumes` with an `image`.
    Volumes,
    /// A configured path that ends at a string.
    Configured,
}

impl List {
    /// As texts name an entry: `init container`, `container`, `ephemeral container`, `volume`, `image`.
    pub fn noun(self) -> &'static str {
        match self {
            List::InitContainers => "init container",
            List::Containers => "container",
            List::EphemeralContainers => "ephemeral container",
            List::Volumes => "volume",
            List::Configured => "image",
        }
    }
}

/// Where an image stands in its object; a string only when somebody prints it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FieldPath<'a> {
    /// `{spec}.containers[{index}].image`: the PodSpec's path, the list, the index in it.
    PodSpec {
        /// The path of the PodSpec, `spec.template.spec`.
        spec: Cow<'a, str>,
        /// Which list of it.
        list: List,
        /// The index in that list of the object sent.
        index: u32,
    },
    /// A configured path with its indexes filled in.
    Literal(Cow<'a, str>),
}

impl fmt::Display for FieldPath<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FieldPath::Literal(path) => f.write_str(path),
            FieldPath::PodSpec { spec, list, index } => match list {
                List::InitContainers => write!(f, "{spec}.initContainers[{index}].image"),
                List::EphemeralContainers => write!(f, "{spec}.ephemeralContainers[{index}].image"),
                List::Volumes => write!(f, "{spec}.volumes[{index}].image.reference"),
                List::Containers | List::Configured => {
                    write!(f, "{spec}.containers[{index}].image")
                }
            },
        }
    }
}
