//! A release file where there is none yet: of what another format says, or of what runs.

use std::collections::HashMap;

use super::{Image, ReleaseFile, is_name};
use crate::document::{Diagnostic, rendered_text, to_yaml};

impl ReleaseFile {
    /// A release file of these images, in the order of their names; with its id where every image has a digest.
    /// `file_name` is shown in problems.
    ///
    /// # Errors
    /// Together they are no release: two of one name, one repository at two versions, a tag that moves.
    pub fn made(file_name: &str, release: &str, images: &[Image]) -> Result<Self, Vec<Diagnostic>> {
        let mut images: Vec<&Image> = images.iter().collect();
        images.sort_by(|a, b| a.name.cmp(&b.name));
        let text: String = images.iter().map(|image| written(image)).collect();
        let file = ReleaseFile::read(file_name, &format!("release: {}images:\n{text}", to_yaml(&release.into())))?;
        if images.iter().all(|image| image.digest.is_some()) { file.sealed(&[]) } else { Ok(file) }
    }
}

fn written(image: &Image) -> String {
    let digest = image.digest.as_ref().map(ToString::to_string);
    let pairs = [
        ("repo", Some(image.repository.clone())),
        ("tag", image.tag.clone()),
        ("digest", digest),
        ("commit", image.commit.clone()),
    ];
    let mut lines = format!("  {}:\n", rendered_text(&image.name, ""));
    for (key, value) in pairs.into_iter().filter_map(|(key, value)| Some((key, value?))) {
        lines.push_str(&format!("    {key}: {}", to_yaml(&value.into())));
    }
    if !image.platforms.is_empty() {
        let platforms: Vec<String> =
            image.platforms.iter().map(|(platform, digest)| format!("{platform}: {digest}")).collect();
        lines.push_str(&format!("    platforms: {{{}}}\n", platforms.join(", ")));
    }
    lines
}

/// What an image may be called, best first: as its repository ends, and with more of that in front.
#[must_use]
pub fn names_for(repository: &str) -> Vec<String> {
    let parts: Vec<&str> = repository.split('/').skip(1).collect();
    let ends = (1..=parts.len()).filter_map(|count| Some(parts.get(parts.len() - count..)?.join("-")));
    ends.filter(|name| is_name(name)).collect()
}

/// A name for each of these repositories, in their order: as short as tells it apart, and with its registry where nothing
/// else does.
#[must_use]
pub fn names_of<'r>(repositories: impl IntoIterator<Item = &'r str>) -> Vec<String> {
    let whole = |repository: &str| repository.replace(['/', ':'], "-");
    let candidates = |repository: &str| names_for(repository).into_iter().chain([whole(repository)]);
    let all: Vec<Vec<String>> = repositories.into_iter().map(|repository| candidates(repository).collect()).collect();
    let mut wanted: HashMap<&str, usize> = HashMap::new();
    all.iter().flatten().for_each(|name| *wanted.entry(name).or_default() += 1);
    let own =
        |names: &Vec<String>| names.iter().find(|name| wanted.get(name.as_str()) == Some(&1)).or(names.last()).cloned();
    all.iter().filter_map(own).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::DigestBuf;

    #[test]
    fn what_is_made_reads_as_it_was_given() {
        let digest = DigestBuf::parse(&format!("sha256:{}", "a".repeat(64))).unwrap();
        let child = DigestBuf::parse(&format!("sha256:{}", "b".repeat(64))).unwrap();
        let one = Image {
            name: "on".to_owned(),
            repository: "r.example.com/acme/app".to_owned(),
            tag: Some("1.10".to_owned()),
            digest: Some(digest.clone()),
            commit: Some("1234567".to_owned()),
            platforms: [("linux/arm64/v8".to_owned(), child)].into(),
        };
        let two = Image {
            name: "1".to_owned(),
            repository: "r.example.com/b".to_owned(),
            digest: Some(digest),
            ..Image::default()
        };
        let file = ReleaseFile::made("f", "2026", &[one.clone(), two.clone()]).unwrap();
        assert_eq!(
            (file.release.images(), file.is_locked()),
            (&[two.clone(), one.clone()][..], true),
            "{}",
            file.text()
        );
        let open = ReleaseFile::made("f", "2026", &[Image { digest: None, ..one.clone() }]).unwrap();
        assert_eq!((open.written_id, open.release.name()), (None, "2026"));
        assert!(ReleaseFile::made("f", "2026", &[one.clone(), one]).is_err());
        assert!(ReleaseFile::made("f", "2026", &[]).is_err());
    }

    #[test]
    fn names_are_what_repositories_end_with() {
        assert_eq!(names_for("r.example.com/team/acme/app"), ["app", "acme-app", "team-acme-app"]);
        assert_eq!(names_for("docker.io/library/nginx"), ["nginx", "library-nginx"]);
    }

    #[test]
    fn names_tell_repositories_apart() {
        let repositories = [
            "r.example.com/acme/api",
            "r.example.com/shop/api",
            "r.example.com/web",
            "r.example.com:5000/web",
            "r.example.com/job",
        ];
        let names = ["acme-api", "shop-api", "r.example.com-web", "r.example.com-5000-web", "job"];
        assert_eq!(names_of(repositories), names);
    }
}
