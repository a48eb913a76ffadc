//! What is different between two releases, and what whoever approves it should look at.

mod repositories;

use std::collections::BTreeSet;

use serde_json::Value as Json;

pub use self::repositories::Compared;

use super::check::commit_in;
use super::{Image, ReleaseFile};
use crate::document::push_key;
use crate::image::{Class, DigestBuf, TagFacts};

/// Platforms that a sentence names.
const NAMED: usize = 4;

/// What is different.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// Images that are new, gone, or not the same, in the order of their names.
    pub images: Vec<ImageDifference>,
    /// Values of free sections, and of an image's own keys, in the order of their paths.
    pub values: Vec<ValueDifference>,
    /// What changed in the repository that keeps the file, where both say at which commit they were.
    pub link: Option<String>,
    /// What to look at, a sentence each.
    pub verify: Vec<String>,
}

/// An image of one release or of both.
#[derive(Clone, Debug, PartialEq)]
pub struct ImageDifference {
    /// What it is called.
    pub name: String,
    /// As it was; none: it is new.
    pub old: Option<Image>,
    /// As it is; none: it is gone.
    pub new: Option<Image>,
    /// Where its commits are shown, where both are known and its repository's host is.
    pub link: Option<String>,
}

/// A value that is not the same.
#[derive(Clone, Debug, PartialEq)]
pub struct ValueDifference {
    /// Where it stands: `experiment.istio.canaryWeight`.
    pub path: String,
    /// As it was; none: there was none.
    pub old: Option<Json>,
    /// As it is; none: there is none.
    pub new: Option<Json>,
}

impl Difference {
    /// Of two releases.
    #[must_use]
    pub fn between(old: &ReleaseFile, new: &ReleaseFile) -> Self {
        let mut values = Vec::new();
        compare(&mut String::new(), Some(&own(old)), Some(&own(new)), &mut values);
        let images = images(old, new);
        let origins = old.origin.as_ref().zip(new.origin.as_ref()).filter(|(old, new)| old.repo == new.repo);
        let link = origins.and_then(|(old, new)| compare_link(&new.repo, old.commit.as_ref()?, new.commit.as_ref()?));
        let verify = verify(old, new, &images);
        Difference { images, values, link, verify }
    }

    /// Whether both declare the same.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.images.is_empty() && self.values.is_empty()
    }
}

impl ImageDifference {
    /// The commits of both, where they are known: what the file says, else what the tag does.
    #[must_use]
    pub fn commits(&self) -> (Option<&str>, Option<&str>) {
        (self.old.as_ref().and_then(commit_of), self.new.as_ref().and_then(commit_of))
    }

    /// Platforms whose digests are others, each with what it was and is. Where one side names none, the digest beside them
    /// says it all; unless nothing else is different.
    #[must_use]
    pub fn platforms(&self) -> Vec<(&str, Option<&DigestBuf>, Option<&DigestBuf>)> {
        let (Some(old), Some(new)) = (&self.old, &self.new) else { return Vec::new() };
        let told = !old.platforms.is_empty() && !new.platforms.is_empty() || self.only_platforms();
        let names: BTreeSet<&String> = old.platforms.keys().chain(new.platforms.keys()).collect();
        let sides = names.into_iter().map(|name| (name.as_str(), old.platforms.get(name), new.platforms.get(name)));
        sides.filter(|(_, old, new)| told && old != new).collect()
    }

    /// Whether nothing is different but the digests of the platforms, which admission believes, too.
    #[must_use]
    pub fn only_platforms(&self) -> bool {
        let (Some(old), Some(new)) = (&self.old, &self.new) else { return false };
        let same = (&old.repository, &old.tag, &old.digest) == (&new.repository, &new.tag, &new.digest);
        same && old.platforms != new.platforms
    }
}

fn commit_of(image: &Image) -> Option<&str> {
    image.commit.as_deref().or_else(|| commit_in(image.tag.as_deref()?))
}

fn images(old: &ReleaseFile, new: &ReleaseFile) -> Vec<ImageDifference> {
    let of = |file: &ReleaseFile, name: &str| {
        let images = file.release.images();
        let at = images.binary_search_by(|image| image.name.as_str().cmp(name)).ok()?;
        images.get(at).cloned()
    };
    let both = old.release.images().iter().chain(new.release.images());
    let names: BTreeSet<&str> = both.map(|image| image.name.as_str()).collect();
    let difference = |name: &str| {
        let mut found = ImageDifference { name: name.to_owned(), old: of(old, name), new: of(new, name), link: None };
        if found.old.as_ref().map(declared) == found.new.as_ref().map(declared) && !found.only_platforms() {
            return None;
        }
        found.link = link(&found, Some(new));
        Some(found)
    };
    names.into_iter().filter_map(difference).collect()
}

/// What makes an image another one.
fn declared(image: &Image) -> (String, Option<String>, Option<DigestBuf>) {
    (image.repository.clone(), image.tag.clone(), image.digest.clone())
}

/// Where the commits between two versions of an image are shown. `file`: may say where its source is.
fn link(image: &ImageDifference, file: Option<&ReleaseFile>) -> Option<String> {
    let (from, to) = image.commits();
    let (from, to) = from.zip(to).filter(|(from, to)| from != to)?;
    let node = file.and_then(|file| file.root.get("images")?.get(&image.name)?.get("source"));
    let named = node.and_then(crate::document::Node::as_str).map(str::to_owned);
    compare_link(&named.or_else(|| source_of(&image.new.as_ref()?.repository))?, from, to)
}

/// The source repository that an image's own most often has, on hosts that keep both.
fn source_of(repository: &str) -> Option<String> {
    let (host, path) = repository.split_once('/')?;
    match host {
        "ghcr.io" => {
            let mut parts = path.split('/');
            Some(format!("https://github.com/{}/{}", parts.next()?, parts.next()?))
        }
        "registry.gitlab.com" => Some(format!("https://gitlab.com/{path}")),
        _ => None,
    }
}

/// The page on which a host shows what lies between two commits; none: it is a host of which that is not known.
fn compare_link(repository: &str, from: &str, to: &str) -> Option<String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/".contains(&byte);
    let rest = repository.strip_prefix("https://")?.trim_end_matches('/').trim_end_matches(".git");
    let (host, path) = rest.split_once('/')?;
    if !rest.bytes().all(plain) || path.is_empty() {
        return None;
    }
    let github = host == "github.com" || host.starts_with("github.");
    let gitlab = host == "gitlab.com" || host.starts_with("gitlab.");
    match (github, gitlab) {
        (true, _) => Some(format!("https://{host}/{path}/compare/{from}...{to}")),
        (_, true) => Some(format!("https://{host}/{path}/-/compare/{from}...{to}")),
        _ => None,
    }
}

/// What is the author's own: the free sections, and the images' further keys.
fn own(file: &ReleaseFile) -> Json {
    let sections = file.free().into_iter().map(|section| (section.key.clone(), section.value.to_json()));
    let mut own: serde_json::Map<String, Json> = sections.collect();
    let images = file.root.get("images").map(crate::document::Node::to_json).unwrap_or_default();
    let further = images.as_object().into_iter().flatten().filter_map(|(name, image)| {
        let keys = image.as_object()?.iter().filter(|(key, _)| !super::file::IMAGE.contains(&key.as_str()));
        let keys: serde_json::Map<String, Json> = keys.map(|(key, value)| (key.clone(), value.clone())).collect();
        (!keys.is_empty()).then(|| (name.clone(), keys.into()))
    });
    let further: serde_json::Map<String, Json> = further.collect();
    if !further.is_empty() {
        own.insert("images".to_owned(), further.into());
    }
    own.into()
}

/// Collects what is not the same, down to where it is.
fn compare(path: &mut String, old: Option<&Json>, new: Option<&Json>, found: &mut Vec<ValueDifference>) {
    if old == new {
        return;
    }
    if let (Some(Json::Object(old)), Some(Json::Object(new))) = (old, new) {
        let keys: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
        for key in keys {
            let length = path.len();
            push_key(path, key);
            compare(path, old.get(key), new.get(key), found);
            path.truncate(length);
        }
        return;
    }
    found.push(ValueDifference { path: path.clone(), old: old.cloned(), new: new.cloned() });
}

fn verify(old: &ReleaseFile, new: &ReleaseFile, images: &[ImageDifference]) -> Vec<String> {
    let mut sentences = Vec::new();
    for image in images {
        sentences.extend(if image.only_platforms() { of_platforms(image) } else { of_image(image) });
    }
    sentences.extend(of_lock(new));
    let (was, is) = (old.release.name(), new.release.name());
    if was != is && !new.release.previous().iter().any(|name| name == was) {
        sentences.push(format!("'{was}' is not in 'previous': there is no way back to it"));
    }
    if was == is && !images.is_empty() {
        sentences.push(format!("both are called '{is}': a release of another content needs a name of its own"));
    }
    sentences
}

/// What of a release is not locked, or probably not meant.
fn of_lock(new: &ReleaseFile) -> Vec<String> {
    let mut sentences = Vec::new();
    let unlocked: Vec<&str> =
        new.release.images().iter().filter(|image| image.digest.is_none()).map(|image| image.name.as_str()).collect();
    if !unlocked.is_empty() {
        sentences.push(format!("without a digest: {}; run `tagwarden release lock`", unlocked.join(", ")));
    } else if new.written_id.as_ref() != Some(new.release.id()) {
        sentences.push("the id is not that of the content; run `tagwarden release lock`".to_owned());
    }
    sentences.extend(new.warnings.iter().map(|warning| warning.message.clone()));
    sentences
}

/// One digest has one set of platforms: one of the two files is wrong, or does not know them.
fn of_platforms(image: &ImageDifference) -> Option<String> {
    let names: Vec<&str> = image.platforms().into_iter().map(|(name, ..)| name).collect();
    let more = names.len().saturating_sub(NAMED);
    let more = if more > 0 { format!(", +{more} more") } else { String::new() };
    let named = names.iter().take(NAMED).copied().collect::<Vec<_>>().join(", ");
    Some(format!("{}: {named}{more} of the same version is another image; which does the registry have", image.name))
}

fn of_image(image: &ImageDifference) -> Option<String> {
    let name = &image.name;
    let (old, new) = match (&image.old, &image.new) {
        (None, _) => return Some(format!("{name} is new: who owns it, and what needs it")),
        (_, None) => return Some(format!("{name} is gone: nothing may need it any more")),
        (Some(old), Some(new)) => (old, new),
    };
    if old.repository != new.repository {
        return Some(format!("{name} comes from another repository: {}, not {}", new.repository, old.repository));
    }
    if old.tag == new.tag && old.digest.is_some() && new.digest.is_some() {
        let tag = new.tag.as_deref().unwrap_or("the digest");
        return Some(format!("{name}: {tag} is another image than it was; who moved it"));
    }
    if let (Some(from), Some(to)) = (version(old), version(new))
        && to < from
    {
        return Some(format!("{name} goes back from {} to {}", tag(old), tag(new)));
    }
    match image.commits() {
        (Some(from), Some(to)) if from != to => Some(format!("{name}: what lies between {from} and {to}")),
        _ if old.tag != new.tag => Some(format!("{name}: what is new in {}", tag(new))),
        _ => None,
    }
}

fn tag(image: &Image) -> &str {
    image.tag.as_deref().unwrap_or("its digest")
}

/// The numbers of a release tag, for comparing.
fn version(image: &Image) -> Option<[u64; 3]> {
    let tag = image.tag.as_deref()?;
    let facts = TagFacts::of(tag);
    if !facts.classes.contains(Class::Semver) || facts.classes.contains(Class::Prerelease) {
        return None;
    }
    let bare = facts.arch.and_then(|arch| tag.strip_suffix(arch)?.strip_suffix('-')).unwrap_or(tag);
    let mut numbers = bare.trim_start_matches('v').split('.').map(|number| number.parse().ok());
    Some([numbers.next()??, numbers.next()??, numbers.next()??])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> ReleaseFile {
        let long = ['a', 'b', 'c'].iter().fold(text.to_owned(), |text, letter| {
            text.replace(&format!("<{letter}>"), &format!("sha256:{}", letter.to_string().repeat(64)))
        });
        ReleaseFile::read("r.yaml", &long).unwrap_or_else(|problems| panic!("{long}\n{problems:?}"))
    }

    fn between(old: &str, new: &str) -> Difference {
        Difference::between(&file(old), &file(new))
    }

    const OLD: &str = "release: r1
source: {repo: 'https://github.com/acme/operation', commit: '1111111'}
images:
  app: {repo: ghcr.io/acme/app, tag: v1.2.3, digest: '<a>', commit: 4f2a1b0}
  web: {repo: registry.gitlab.com/acme/web, tag: 4f2a1b0, team: one}
  old: {repo: r.example.com/old, tag: v1}
experiment: {istio: {canaryWeight: 10, stableWeight: 90}}
";

    #[test]
    fn images_and_values_are_compared_and_linked() {
        let new = OLD
            .replace("v1.2.3, digest: '<a>', commit: 4f2a1b0", "v1.3.0, digest: '<b>', commit: 5f2a1b0")
            .replace("tag: 4f2a1b0, team: one", "tag: 6f2a1b0, team: two")
            .replace("old: {repo: r.example.com/old", "new: {repo: r.example.com/new")
            .replace("'1111111'", "'2222222'")
            .replace("release: r1", "release: r2")
            .replace("10, stableWeight: 90", "20, stableWeight: 90");
        let difference = between(OLD, &new);
        let names: Vec<_> = difference.images.iter().map(|image| image.name.as_str()).collect();
        assert_eq!(names, ["app", "new", "old", "web"]);
        let link = |at: usize| difference.images[at].link.as_deref();
        assert_eq!(link(0), Some("https://github.com/acme/app/compare/4f2a1b0...5f2a1b0"));
        assert_eq!(link(3), Some("https://gitlab.com/acme/web/-/compare/4f2a1b0...6f2a1b0"));
        assert_eq!((link(1), link(2)), (None, None));
        assert_eq!(difference.link.as_deref(), Some("https://github.com/acme/operation/compare/1111111...2222222"));
        let values: Vec<_> = difference.values.iter().map(|value| value.path.as_str()).collect();
        assert_eq!(values, ["experiment.istio.canaryWeight", "images.web.team"]);
        assert_eq!(
            difference.verify,
            [
                "app: what lies between 4f2a1b0 and 5f2a1b0",
                "new is new: who owns it, and what needs it",
                "old is gone: nothing may need it any more",
                "web: what lies between 4f2a1b0 and 6f2a1b0",
                "without a digest: new, web; run `tagwarden release lock`",
                "canaryWeight 20 and stableWeight 90 make 110, not 100",
                "'r1' is not in 'previous': there is no way back to it",
            ]
        );
    }

    #[test]
    fn what_is_the_same_is_no_difference() {
        let other = OLD.replace("'1111111'", "'2222222'").replace("commit: 4f2a1b0", "commit: 4f2a1b0c");
        assert!(between(OLD, &other).is_none());
        assert!(!between(OLD, &OLD.replace("<a>", "<b>")).is_none());
    }

    #[test]
    fn other_platforms_are_another_release() {
        let with =
            |platforms: &str| OLD.replace("digest: '<a>'", &format!("digest: '<a>', platforms: {{{platforms}}}"));
        let (b, c) = (with("linux/amd64: '<b>'"), with("linux/amd64: '<c>'"));
        for (old, new) in [(b.as_str(), c.as_str()), (OLD, &b), (&b, OLD)] {
            let difference = between(old, new);
            let names: Vec<_> = difference.images.iter().map(|image| image.name.as_str()).collect();
            assert_eq!(names, ["app"]);
            let app = &difference.images[0];
            let short = |digest: Option<&DigestBuf>| digest.map(|digest| digest.short().to_owned());
            let (old, new) = (app.old.as_ref().unwrap(), app.new.as_ref().unwrap());
            let of = |image: &Image| short(image.platforms.get("linux/amd64"));
            let steps: Vec<_> = app.platforms().into_iter().map(|(name, a, b)| (name, short(a), short(b))).collect();
            assert_eq!(steps, [("linux/amd64", of(old), of(new))]);
            let told = "app: linux/amd64 of the same version is another image; which does the registry have";
            assert_eq!(difference.verify[0], told);
        }
        assert!(between(&b, &b).is_none());
        let moved =
            between(&b, &with("linux/amd64: '<c>'").replace("<a>", "<b>").replace("linux/amd64: '<b>'", "x/y: '<c>'"));
        assert!(moved.verify[0].contains("who moved it") && moved.images[0].platforms().len() == 1);
        assert!(between(OLD, &b.replace("v1.2.3", "v1.2.4")).images[0].platforms().is_empty(), "the tag says it");
    }

    #[test]
    fn what_is_odd_is_named() {
        let verify = |from: &str, to: &str| between(OLD, &OLD.replace(from, to)).verify.join("\n");
        assert!(verify("<a>", "<b>").contains("app: v1.2.3 is another image than it was; who moved it"));
        assert!(verify("v1.2.3", "v1.2.2").contains("app goes back from v1.2.3 to v1.2.2"));
        assert!(verify("v1.2.3", "v1.10.0").contains("app: what is new in v1.10.0"));
        assert!(verify("ghcr.io/acme/app", "ghcr.io/evil/app").contains("another repository: ghcr.io/evil/app, not"));
        assert!(verify("<a>", "<b>").contains("both are called 'r1'"));
    }

    #[test]
    fn only_hosts_that_are_known_have_links() {
        for (repository, link) in [
            ("https://gitlab.example.com/a/b.git", Some("https://gitlab.example.com/a/b/-/compare/1...2")),
            ("https://github.example.com/a/b/", Some("https://github.example.com/a/b/compare/1...2")),
            ("https://git.example.com/a/b", None),
            ("http://github.com/a/b", None),
            ("https://github.com/a/b)<x", None),
            ("https://github.com/", None),
        ] {
            assert_eq!(compare_link(repository, "1", "2").as_deref(), link, "{repository}");
        }
    }
}
