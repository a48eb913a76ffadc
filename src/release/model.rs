//! A release as it is judged by: its name, its id, and its images by repository.

use std::collections::{BTreeMap, HashMap};

use crate::image::DigestBuf;

/// A complete snapshot of a system's images.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    name: String,
    id: DigestBuf,
    images: Vec<Image>,
    previous: Vec<String>,
    by_repository: HashMap<String, Vec<usize>>,
}

/// One image of a release. It has a tag, a digest, or both.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Image {
    /// What the release calls it: `app`.
    pub name: String,
    /// Registry host and repository, canonical: `ghcr.io/acme/app`.
    pub repository: String,
    /// Its tag, where one is written.
    pub tag: Option<String>,
    /// Of the index where it has several platforms; none: the file is not locked.
    pub digest: Option<DigestBuf>,
    /// The commit that it was built from, by its own label.
    pub commit: Option<String>,
    /// The digests of an index's images by platform, `linux/amd64`.
    pub platforms: BTreeMap<String, DigestBuf>,
}

impl Release {
    /// A release of these images. `id`: what [`Release::id`] says; `previous`: names of releases that stay allowed.
    #[must_use]
    pub fn new(name: String, id: DigestBuf, images: Vec<Image>, previous: Vec<String>) -> Self {
        let mut by_repository: HashMap<String, Vec<usize>> = HashMap::with_capacity(images.len());
        for (index, image) in images.iter().enumerate() {
            by_repository.entry(image.repository.clone()).or_default().push(index);
        }
        Release { name, id, images, previous, by_repository }
    }

    /// Its name, `system-2026-01-11-expA`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The hash of what it declares: the canonical list of images, and every free section.
    #[must_use]
    pub fn id(&self) -> &DigestBuf {
        &self.id
    }

    /// Its images, in the order of their names.
    #[must_use]
    pub fn images(&self) -> &[Image] {
        &self.images
    }

    /// Names of releases that stay allowed beside it, for rollback.
    #[must_use]
    pub fn previous(&self) -> &[String] {
        &self.previous
    }

    /// Its images of a repository (`ghcr.io/acme/app`, canonical).
    pub fn of_repository(&self, repository: &str) -> impl Iterator<Item = &Image> {
        let indexes = self.by_repository.get(repository).map(Vec::as_slice).unwrap_or_default();
        indexes.iter().filter_map(|index| self.images.get(*index))
    }
}

#[cfg(test)]
mod tests {
    use super::{Image, Release};
    use crate::image::DigestBuf;

    #[test]
    fn images_are_found_by_their_repository_and_nothing_like_it() {
        let id = DigestBuf::parse(&format!("sha256:{}", "a".repeat(64))).unwrap();
        let image = |name: &str, repository: &str| Image {
            name: name.to_owned(),
            repository: repository.to_owned(),
            tag: Some("v1.0.0".to_owned()),
            ..Image::default()
        };
        let images =
            vec![image("app", "r.example.com/a"), image("job", "r.example.com/a"), image("x", "r.example.com/x")];
        let release = Release::new("one".to_owned(), id, images, Vec::new());
        let named = |repository| release.of_repository(repository).map(|image| image.name.as_str()).collect::<Vec<_>>();
        assert_eq!(named("r.example.com/a"), ["app", "job"]);
        assert_eq!(named("r.example.com/aa"), [""; 0]);
    }
}
