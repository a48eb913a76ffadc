//! Which release governs a namespace: the first choice of the configuration that is about it, among what is loaded.

#[cfg(feature = "server")] // choices stand in the server's configuration alone
mod written;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Labels;
use super::compile::NamespaceFilter;
use crate::document::Diagnostic;
use crate::release::{Release, ReleaseFile};

/// What governs a namespace.
#[derive(Clone, Copy, Debug, Default)]
pub enum Governed<'a> {
    /// The first of these releases; the others stay allowed beside it, for rollback. Never empty.
    By(&'a [Arc<Release>]),
    /// Nothing: whoever asks knows of no releases.
    #[default]
    Unconfigured,
    /// Nothing: no choice is about the namespace, or the object is outside of namespaces.
    Unchosen,
    /// Nothing: the namespace does not have the label that would name its release.
    Unlabelled(&'a str),
    /// Nothing: a release of this name is not loaded.
    NotLoaded(&'a str),
    /// Nothing: none was ever loaded from where the choice takes them, for this reason.
    NeverLoaded(&'a str),
    /// It cannot be said: the namespace's labels could not be had.
    LabelsUnknown,
}

/// For which namespaces a choice is, and which release it chooses for them.
#[derive(Clone, Debug)]
pub struct Choice {
    /// The namespaces that it is about.
    pub(crate) namespaces: NamespaceFilter,
    /// Which of the loaded releases governs them.
    pub(crate) current: Current,
}

/// Which of several releases governs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Current {
    /// The one that no other lists among its previous ones.
    Newest,
    /// The one of this name.
    Named(String),
    /// The one that this label of the namespace names; a label that the server trusts.
    Label(String),
}

/// Releases of one source: as they were read last without an error.
#[derive(Clone, Debug)]
pub enum Loaded {
    /// These.
    Releases(Arc<Snapshots>),
    /// None ever, and why.
    Never(String),
}

/// All releases of a source, each as a namespace would be governed by it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Snapshots {
    /// By name: the release, and those of its previous ones that are there.
    by_name: BTreeMap<String, Vec<Arc<Release>>>,
    newest: Option<String>,
    /// What is odd about their files, a line each.
    odd: Vec<String>,
}

/// Why releases of one source do not go together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mismatch {
    /// Two have this name.
    Twice(String),
    /// There is none.
    Empty,
}

impl Snapshots {
    /// Releases that were read from one source.
    ///
    /// # Errors
    /// Two of one name, or none at all.
    pub fn new(releases: Vec<Release>) -> Result<Self, Mismatch> {
        if releases.is_empty() {
            return Err(Mismatch::Empty);
        }
        let mut all: BTreeMap<String, Arc<Release>> = BTreeMap::new();
        for release in releases {
            if let Some(first) = all.insert(release.name().to_owned(), Arc::new(release)) {
                return Err(Mismatch::Twice(first.name().to_owned()));
            }
        }
        let followed: BTreeSet<&str> =
            all.values().flat_map(|release| release.previous()).map(String::as_str).collect();
        let mut heads = all.keys().filter(|name| !followed.contains(name.as_str()));
        let newest = match (heads.next(), heads.next()) {
            (Some(only), None) => Some(only.clone()),
            _ => None,
        };
        let with_previous = |release: &Arc<Release>| {
            let previous = release.previous().iter().filter_map(|name| all.get(name).cloned());
            std::iter::once(release.clone()).chain(previous).collect()
        };
        let by_name = all.values().map(|release| (release.name().to_owned(), with_previous(release))).collect();
        Ok(Snapshots { by_name, newest, odd: Vec::new() })
    }

    /// The same of files, with what is odd about them.
    ///
    /// # Errors
    /// Those of [`Snapshots::new`].
    pub fn of_files(files: Vec<ReleaseFile>) -> Result<Self, Mismatch> {
        let odd = files.iter().flat_map(|file| file.stale_id().into_iter().chain(file.warnings.iter().cloned()));
        let odd = odd.map(|warning| warning.to_string()).collect();
        let snapshots = Snapshots::new(files.into_iter().map(|file| file.release).collect())?;
        Ok(Snapshots { odd, ..snapshots })
    }

    /// Reads all files of one source as one unit: a file is a name to show and its text.
    ///
    /// # Errors
    /// Every problem of every file. Nothing of the source is usable then.
    pub fn read<N: AsRef<str>, T: AsRef<str>>(files: &[(N, T)]) -> Result<Self, Vec<Diagnostic>> {
        let (mut read, mut problems) = (Vec::new(), Vec::new());
        let mut places: BTreeMap<String, &str> = BTreeMap::new();
        for (name, text) in files {
            match ReleaseFile::read(name.as_ref(), text.as_ref()) {
                Ok(file) => {
                    let release = file.release.name();
                    if let Some(first) = places.insert(release.to_owned(), name.as_ref()) {
                        let twice = format!("the release '{release}' was read before, in {first}");
                        let problem = Diagnostic::of_file(name.as_ref(), twice);
                        problems.push(problem.help("names of releases are unique; give this one another"));
                    }
                    read.push(file);
                }
                Err(found) => problems.extend(found),
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        let name = files.first().map_or("releases", |(name, _)| name.as_ref());
        Snapshots::of_files(read).map_err(|mismatch| {
            let problem = match mismatch {
                Mismatch::Empty => Diagnostic::of_file(name, "there is no release file here")
                    .help("put a *.yaml, *.yml or *.json with the keys 'release' and 'images' there"),
                Mismatch::Twice(name) => Diagnostic::of_file(&name, "a release of this name was read twice"),
            };
            vec![problem]
        })
    }

    /// All releases, by their names.
    pub fn releases(&self) -> impl Iterator<Item = &Release> {
        self.by_name.values().filter_map(|snapshot| snapshot.first()).map(|release| &**release)
    }

    /// The one that no other lists among its previous ones; none where that holds for several, or for none.
    #[must_use]
    pub fn newest(&self) -> Option<&str> {
        self.newest.as_deref()
    }

    /// What works, but is probably not meant, a line each: an id that is written and is not the content's (the release has
    /// the content's), what else is odd about a file, a previous release that is not here.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let missing = self.missing().map(|(release, name)| {
            format!("the release '{release}' lists '{name}' in 'previous', which is not loaded, and not allowed")
        });
        self.odd.iter().cloned().chain(missing).collect()
    }

    /// Names of releases that one lists as previous, and that are not here: who lists it, and the name.
    pub fn missing(&self) -> impl Iterator<Item = (&str, &str)> {
        self.releases().flat_map(|release| {
            let absent = release.previous().iter().filter(|name| !self.by_name.contains_key(*name));
            absent.map(|name| (release.name(), name.as_str()))
        })
    }

    fn get(&self, name: &str) -> Option<&[Arc<Release>]> {
        self.by_name.get(name).map(Vec::as_slice)
    }
}

/// The choices of a configuration, each with the releases that it chooses from.
#[derive(Clone, Debug, Default)]
pub struct Releases {
    choices: Vec<(Choice, Loaded)>,
}

impl Releases {
    /// The first choice that is about a namespace holds.
    #[must_use]
    pub fn new(choices: Vec<(Choice, Loaded)>) -> Self {
        Releases { choices }
    }

    /// Releases that govern every namespace, whatever its labels are: the first of them, the others beside it. For the
    /// command line and for tests.
    #[must_use]
    pub fn everywhere(current: &str, snapshots: Snapshots) -> Self {
        let choice = Choice { namespaces: NamespaceFilter::everywhere(), current: Current::Named(current.to_owned()) };
        Releases { choices: vec![(choice, Loaded::Releases(Arc::new(snapshots)))] }
    }

    /// What governs a namespace. `labels`: from the API server's own object; none: not known.
    #[must_use]
    pub fn govern<'a>(&'a self, namespace: Option<&str>, labels: Option<&'a Labels>) -> Governed<'a> {
        if self.choices.is_empty() {
            return Governed::Unconfigured;
        }
        let Some(namespace) = namespace else { return Governed::Unchosen };
        for (choice, loaded) in &self.choices {
            match choice.namespaces.is_about(namespace, labels) {
                Some(true) => return choice.of(loaded, labels),
                Some(false) => {}
                // A choice further down may not hold in its place.
                None => return Governed::LabelsUnknown,
            }
        }
        Governed::Unchosen
    }

    /// Whether a release could govern a namespace of this name.
    #[must_use]
    pub fn may_govern(&self, namespace: &str) -> bool {
        self.choices.iter().any(|(choice, _)| choice.namespaces.names_match(namespace))
    }

    /// Whether the labels of a namespace of this name could make a difference.
    #[must_use]
    pub fn needs_labels(&self, namespace: &str) -> bool {
        self.choices.iter().any(|(choice, _)| {
            choice.namespaces.names_match(namespace)
                && (choice.namespaces.needs_labels() || matches!(choice.current, Current::Label(_)))
        })
    }
}

impl Choice {
    /// The newest release, for every namespace.
    #[must_use]
    pub fn newest_everywhere() -> Self {
        Choice { namespaces: NamespaceFilter::everywhere(), current: Current::Newest }
    }

    /// Whether it takes the release that no other lists as previous.
    #[must_use]
    pub fn wants_newest(&self) -> bool {
        self.current == Current::Newest
    }

    /// What it chooses.
    fn of<'a>(&'a self, loaded: &'a Loaded, labels: Option<&'a Labels>) -> Governed<'a> {
        let snapshots = match loaded {
            Loaded::Never(why) => return Governed::NeverLoaded(why),
            Loaded::Releases(snapshots) => snapshots,
        };
        let name = match (&self.current, labels) {
            (Current::Named(name), _) => name,
            (Current::Newest, _) => match snapshots.newest() {
                Some(name) => name,
                None => return Governed::NeverLoaded(SEVERAL),
            },
            (Current::Label(_), None) => return Governed::LabelsUnknown,
            (Current::Label(key), Some(labels)) => match labels.get(key) {
                Some(name) => name.as_str(),
                None => return Governed::Unlabelled(key),
            },
        };
        snapshots.get(name).map_or(Governed::NotLoaded(name), Governed::By)
    }
}

/// Why none of several governs.
pub const SEVERAL: &str = "several are loaded, and none of them follows all others by `previous`";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::{DigestBuf, NameGlob};

    fn release(name: &str, previous: &[&str]) -> Release {
        let id = DigestBuf::parse(&format!("sha256:{}", "a".repeat(64))).unwrap();
        Release::new(name.to_owned(), id, Vec::new(), previous.iter().map(|name| (*name).to_owned()).collect())
    }

    fn snapshots(list: &[(&str, &[&str])]) -> Snapshots {
        Snapshots::new(list.iter().map(|(name, previous)| release(name, previous)).collect()).unwrap()
    }

    fn choice(include: &str, current: Current) -> Choice {
        let include = Some(vec![NameGlob::parse(include).unwrap()]);
        Choice { namespaces: NamespaceFilter { include, ..NamespaceFilter::everywhere() }, current }
    }

    /// `one+two`: the first governs; or why none does.
    fn governed(governed: Governed<'_>) -> String {
        match governed {
            Governed::By(releases) => releases.iter().map(|release| release.name()).collect::<Vec<_>>().join("+"),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn the_newest_is_the_one_that_nobody_follows() {
        assert_eq!(snapshots(&[("a", &[]), ("b", &["a"]), ("c", &["b", "a"])]).newest(), Some("c"));
        assert_eq!(snapshots(&[("a", &[])]).newest(), Some("a"));
        assert_eq!(snapshots(&[("a", &[]), ("b", &[])]).newest(), None, "two heads");
        assert_eq!(snapshots(&[("a", &["b"]), ("b", &["a"])]).newest(), None, "a ring has none");
    }

    #[test]
    fn previous_releases_are_those_that_are_there_and_the_others_are_told() {
        let known = snapshots(&[("b", &["a", "gone"]), ("a", &[])]);
        assert_eq!(known.missing().collect::<Vec<_>>(), [("b", "gone")]);
        assert_eq!(
            known.warnings(),
            ["the release 'b' lists 'gone' in 'previous', which is not loaded, and not allowed"]
        );
        let releases = Releases::everywhere("b", known);
        assert_eq!(governed(releases.govern(Some("x"), None)), "b+a");
    }

    #[test]
    fn a_file_that_was_edited_after_its_lock_is_told_and_has_the_id_of_its_content() {
        let image = "images: {app: {repo: r.example.com/app, tag: v1.0.0}}";
        let canary = "canary: {canaryWeight: 10, stableWeight: 80}";
        let open = Snapshots::read(&[("a.yaml", format!("release: a\n{image}\n{canary}\n"))]).unwrap();
        let id = open.releases().next().unwrap().id().clone();
        assert_eq!(open.warnings().len(), 1, "{:?}", open.warnings());
        assert!(open.warnings()[0].starts_with("a.yaml:3:24: warning: canaryWeight 10 and"), "{:?}", open.warnings());
        let other = format!("sha256:{}", "b".repeat(64));
        for (written, warnings) in [(id.as_str(), 1), (&*other, 2)] {
            let text = format!("release: a\nid: {written}\n{image}\n{canary}\n");
            let read = Snapshots::read(&[("a.yaml", text)]).unwrap();
            assert_eq!((read.releases().next().unwrap().id(), read.warnings().len()), (&id, warnings), "{written}");
            let stale =
                "a.yaml:2:5: warning: the id sha256:bbbbbbbbbbbb is written, and that of the content is sha256:";
            assert_eq!(read.warnings().iter().any(|line| line.starts_with(stale)), written == other);
        }
    }

    #[test]
    fn a_name_stands_once_and_an_empty_source_is_none() {
        assert_eq!(Snapshots::new(vec![release("a", &[]), release("a", &[])]), Err(Mismatch::Twice("a".to_owned())));
        assert_eq!(Snapshots::new(Vec::new()), Err(Mismatch::Empty));
    }

    #[test]
    fn the_first_choice_that_is_about_a_namespace_holds() {
        let loaded = || Loaded::Releases(Arc::new(snapshots(&[("a", &[]), ("b", &["a"])])));
        let releases = Releases::new(vec![
            (choice("shop-*", Current::Named("a".to_owned())), loaded()),
            (choice("old-*", Current::Named("z".to_owned())), loaded()),
            (choice("new-*", Current::Newest), loaded()),
            (choice("by-*", Current::Label("example.com/release".to_owned())), loaded()),
            (choice("never-*", Current::Newest), Loaded::Never("unreadable".to_owned())),
        ]);
        let labels: Labels = [("example.com/release".to_owned(), "b".to_owned())].into();
        let of = |namespace, labels| governed(releases.govern(Some(namespace), labels));
        assert_eq!(of("shop-x", None), "a");
        assert_eq!(of("old-x", None), "NotLoaded(\"z\")");
        assert_eq!(of("new-x", None), "b+a");
        assert_eq!(of("by-x", Some(&labels)), "b+a");
        let none = Labels::new();
        assert_eq!(of("by-x", Some(&none)), "Unlabelled(\"example.com/release\")");
        assert_eq!(of("by-x", None), "LabelsUnknown");
        assert_eq!(of("never-x", None), "NeverLoaded(\"unreadable\")");
        assert_eq!(of("other", None), "Unchosen");
        assert_eq!(governed(releases.govern(None, None)), "Unchosen");
        assert_eq!(governed(Releases::default().govern(Some("x"), None)), "Unconfigured");
        assert!(releases.needs_labels("by-x") && !releases.needs_labels("shop-x"));
    }
}
