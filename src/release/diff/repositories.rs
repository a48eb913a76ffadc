//! What is different where manifests are on one side or on both: they name no images, so repositories are compared.

use std::collections::{BTreeMap, BTreeSet};

use super::{Difference, ImageDifference, declared, link, of_image, of_lock};
use crate::release::{Image, ReleaseFile};

/// One side of a comparison.
#[derive(Clone, Copy, Debug)]
pub enum Compared<'a> {
    /// What a release declares.
    Release(&'a ReleaseFile),
    /// The images that manifests use, of a repository maybe several versions; their names are of no meaning.
    Manifests(&'a [Image]),
}

impl Difference {
    /// By the repositories of both sides. An image is called as a release calls it, else by its repository. Where a
    /// repository has several versions on a side, those that both have are left out, and the others stand alone.
    #[must_use]
    pub fn by_repository(old: Compared<'_>, new: Compared<'_>) -> Self {
        let file = [new, old].into_iter().find_map(Compared::release);
        let (before, after) = (old.versions(), new.versions());
        let repositories: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
        let (mut images, mut verify) = (Vec::new(), Vec::new());
        for repository in repositories {
            let versions = |side: &BTreeMap<String, Vec<Image>>| side.get(repository).cloned().unwrap_or_default();
            let (before, after) = (versions(&before), versions(&after));
            let called = file.and_then(|file| file.release.of_repository(repository).next());
            let name = called.map_or(repository.as_str(), |image| &image.name);
            let found = of_repository(name, &before, &after, file);
            if after.len() > 1 {
                let all: Vec<&str> = after.iter().map(version).collect();
                verify.push(format!("{name} is used in {} versions at once: {}", all.len(), all.join(", ")));
            } else if before.len() <= 1 {
                verify.extend(found.iter().filter_map(of_image));
            }
            images.extend(found);
        }
        match new {
            Compared::Release(file) => verify.extend(of_lock(file)),
            Compared::Manifests(images) => verify.extend(unpinned(images)),
        }
        Difference { images, values: Vec::new(), link: None, verify }
    }
}

impl<'a> Compared<'a> {
    fn release(self) -> Option<&'a ReleaseFile> {
        match self {
            Compared::Release(file) => Some(file),
            Compared::Manifests(_) => None,
        }
    }

    /// By repository, each version once.
    fn versions(self) -> BTreeMap<String, Vec<Image>> {
        let mut all: BTreeMap<String, Vec<Image>> = BTreeMap::new();
        match self {
            Compared::Release(file) => {
                for image in file.release.images() {
                    let versions = all.entry(image.repository.clone()).or_default();
                    // Several of one repository agree, and one may say what the other leaves open.
                    match versions.first_mut() {
                        None => versions.push(image.clone()),
                        Some(first) => {
                            first.tag = first.tag.take().or_else(|| image.tag.clone());
                            first.digest = first.digest.take().or_else(|| image.digest.clone());
                            first.commit = first.commit.take().or_else(|| image.commit.clone());
                        }
                    }
                }
            }
            Compared::Manifests(images) => {
                for image in images {
                    let versions = all.entry(image.repository.clone()).or_default();
                    if !versions.iter().any(|other| declared(other) == declared(image)) {
                        versions.push(image.clone());
                    }
                }
                all.values_mut().for_each(|versions| versions.sort_by_key(declared));
            }
        }
        all
    }
}

fn of_repository(name: &str, before: &[Image], after: &[Image], file: Option<&ReleaseFile>) -> Vec<ImageDifference> {
    let without = |all: &[Image], others: &[Image]| -> Vec<Image> {
        let only = |image: &&Image| !others.iter().any(|other| declared(other) == declared(image));
        all.iter().filter(only).cloned().collect()
    };
    let (gone, come) = (without(before, after), without(after, before));
    let of = |old: Option<&Image>, new: Option<&Image>| {
        let mut found = ImageDifference { name: name.to_owned(), old: old.cloned(), new: new.cloned(), link: None };
        found.link = link(&found, file);
        found
    };
    match (gone.as_slice(), come.as_slice()) {
        ([old], [new]) => vec![of(Some(old), Some(new))],
        (gone, come) => {
            let gone = gone.iter().map(|old| of(Some(old), None));
            gone.chain(come.iter().map(|new| of(None, Some(new)))).collect()
        }
    }
}

/// A version, for a sentence.
fn version(image: &Image) -> &str {
    let digest = || image.digest.as_ref().map(|digest| digest.short());
    image.tag.as_deref().or_else(digest).unwrap_or("none")
}

fn unpinned(images: &[Image]) -> Option<String> {
    let open = images.iter().filter(|image| image.digest.is_none()).map(|image| image.repository.as_str());
    let open: BTreeSet<&str> = open.collect();
    if open.is_empty() {
        return None;
    }
    let open: Vec<&str> = open.into_iter().collect();
    Some(format!("without a digest: {}; `tagwarden pin` writes it", open.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(repository: &str, tag: &str) -> Image {
        Image { repository: format!("ghcr.io/acme/{repository}"), tag: Some(tag.to_owned()), ..Image::default() }
    }

    /// `name old new` of every difference, and what is to be looked at.
    fn compared(old: Compared<'_>, new: Compared<'_>) -> (Vec<String>, Vec<String>) {
        let difference = Difference::by_repository(old, new);
        let side = |image: &Option<Image>| image.as_ref().map_or("none", version).to_owned();
        let line = |image: &ImageDifference| format!("{} {} {}", image.name, side(&image.old), side(&image.new));
        (difference.images.iter().map(line).collect(), difference.verify)
    }

    const FILE: &str = "release: r1\nimages:\n  app: {repo: ghcr.io/acme/app, tag: v1.2.3}\n  \
                        again: {repo: ghcr.io/acme/app, tag: v1.2.3}\n  web: {repo: ghcr.io/acme/web, tag: 4f2a1b0}\n";

    #[test]
    fn a_file_and_a_tree_are_compared_by_repository_and_named_by_the_file() {
        let file = ReleaseFile::read("r.yaml", FILE).unwrap();
        let tree = [image("app", "v1.2.3"), image("web", "5f2a1b0"), image("job", "v1.0.0")];
        let (images, verify) = compared(Compared::Release(&file), Compared::Manifests(&tree));
        assert_eq!(images, ["ghcr.io/acme/job none v1.0.0", "web 4f2a1b0 5f2a1b0"]);
        assert_eq!(
            verify,
            [
                "ghcr.io/acme/job is new: who owns it, and what needs it",
                "web: what lies between 4f2a1b0 and 5f2a1b0",
                "without a digest: ghcr.io/acme/app, ghcr.io/acme/job, ghcr.io/acme/web; `tagwarden pin` writes it",
            ]
        );
        let difference = Difference::by_repository(Compared::Release(&file), Compared::Manifests(&tree));
        let link = difference.images[1].link.as_deref();
        assert_eq!(link, Some("https://github.com/acme/web/compare/4f2a1b0...5f2a1b0"));
        let (images, _) = compared(Compared::Manifests(&tree[..1]), Compared::Release(&file));
        assert_eq!(images, ["web none 4f2a1b0"]);
        let same = [image("app", "v1.2.3"), image("web", "4f2a1b0")];
        assert!(Difference::by_repository(Compared::Release(&file), Compared::Manifests(&same)).is_none());
    }

    #[test]
    fn two_versions_of_a_repository_are_shown_as_such() {
        let one = [image("app", "v1.0.0")];
        let two = [image("app", "v1.1.0"), image("app", "v1.0.0"), image("app", "v1.1.0")];
        let three = [image("app", "v1.2.0"), image("app", "v1.1.0")];
        let (images, verify) = compared(Compared::Manifests(&one), Compared::Manifests(&two));
        assert_eq!(images, ["ghcr.io/acme/app none v1.1.0"]);
        assert_eq!(verify[0], "ghcr.io/acme/app is used in 2 versions at once: v1.0.0, v1.1.0");
        let (images, _) = compared(Compared::Manifests(&two), Compared::Manifests(&three));
        assert_eq!(images, ["ghcr.io/acme/app v1.0.0 v1.2.0"]);
        let (images, verify) = compared(Compared::Manifests(&three), Compared::Manifests(&one));
        assert_eq!(
            images,
            ["ghcr.io/acme/app v1.1.0 none", "ghcr.io/acme/app v1.2.0 none", "ghcr.io/acme/app none v1.0.0"]
        );
        assert_eq!(verify.len(), 1, "{verify:?}");
    }
}
