//! Images that are used, against those of a release.

use std::collections::{BTreeMap, BTreeSet};

use crate::cli::release::resolve::{self, Depth, Origin, Told, Unanswered};
use crate::cli::release::used::Used;
use crate::cli::{Exit, Surroundings};
use crate::image::{DigestBuf, GlobSet, Reference};
use crate::release::{Image, Release};

/// What comes of one image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Equal,
    /// Its tag is the release's, and nobody was asked for the digest.
    ByTag,
    /// It is no image reference.
    Unreadable(String),
    Extra,
    /// What the release has in its place.
    Different(String),
    /// Why it cannot be said.
    Undecided(String),
    /// It was left out by a glob.
    Ignored,
}

/// A release, and all that is used.
pub(super) struct Comparison {
    /// Each image that is used.
    pub outcomes: Vec<(Used, Outcome)>,
    /// Images of the release that are used nowhere: name, and reference.
    pub missing: Vec<(String, String)>,
    /// Images of another commit than asked for: name, and that commit.
    pub other_commits: Vec<(String, String)>,
    /// Images whose commit nobody knows.
    pub uncommitted: Vec<String>,
    /// How many images were held against a commit.
    pub held_against_commit: usize,
    /// What has to be resolved, by canonical repository and tag: the places in `outcomes`, and what the digest must be.
    open: BTreeMap<(String, String), Vec<(usize, Expected)>>,
}

/// With what a digest is compared.
#[derive(Clone, Debug)]
enum Expected {
    /// The release's, and those of the platforms that it lists.
    OneOf(Vec<DigestBuf>),
    /// Those that are written or run: the release has the tag alone.
    Is(Vec<DigestBuf>),
}

impl Expected {
    fn known(&self) -> &[DigestBuf] {
        match self {
            Expected::OneOf(_) => &[],
            Expected::Is(known) => known,
        }
    }

    /// What comes of it, by what the tag is.
    fn met(&self, repository: &str, tag: &str, told: &Told) -> Outcome {
        let digest = &told.digest;
        match self {
            Expected::OneOf(declared) if declared.contains(digest) => Outcome::Equal,
            Expected::OneOf(declared) => {
                let locked = declared.first().map(DigestBuf::short).unwrap_or_default();
                Outcome::Different(format!("{tag} at {locked}, and it is {} now", digest.short()))
            }
            Expected::Is(known) => {
                let children = told.more.iter().filter_map(|more| more.platforms.as_ref());
                let are: Vec<&DigestBuf> = children.flat_map(BTreeMap::values).chain([digest]).collect();
                match known.iter().all(|known| are.contains(&known)) {
                    true => Outcome::Equal,
                    false => Outcome::Different(format!("{repository}:{tag}@{digest}")),
                }
            }
        }
    }
}

impl Comparison {
    /// Compares, as far as no registry has to be asked.
    pub fn new(release: &Release, used: Vec<Used>, ignored: Option<&GlobSet>) -> Self {
        let mut comparison = Comparison {
            outcomes: Vec::with_capacity(used.len()),
            missing: Vec::new(),
            other_commits: Vec::new(),
            uncommitted: Vec::new(),
            held_against_commit: 0,
            open: BTreeMap::new(),
        };
        let mut seen = BTreeSet::new();
        for one in used {
            let outcome = comparison.outcome(&one, release, ignored, &mut seen);
            comparison.outcomes.push((one, outcome));
        }
        let absent = release.images().iter().filter(|image| !seen.contains(image.repository.as_str()));
        comparison.missing = absent.map(|image| (image.name.clone(), reference(image))).collect();
        comparison
    }

    fn outcome<'r>(
        &mut self,
        used: &Used,
        release: &'r Release,
        ignored: Option<&GlobSet>,
        seen: &mut BTreeSet<&'r str>,
    ) -> Outcome {
        let parsed = match Reference::parse(&used.image) {
            Ok(parsed) => parsed,
            Err(error) => return Outcome::Unreadable(error.message().to_string()),
        };
        let name = parsed.name().into_owned();
        let images: Vec<&Image> = release.of_repository(&name).collect();
        let Some(first) = images.first() else {
            let is_ignored = ignored.is_some_and(|globs| globs.first_match(&name).is_some());
            return if is_ignored { Outcome::Ignored } else { Outcome::Extra };
        };
        seen.insert(&first.repository);
        let declared: Vec<DigestBuf> =
            images.iter().flat_map(|image| image.digest.iter().chain(image.platforms.values())).cloned().collect();
        let same_tag = parsed.tag().is_some() && images.iter().any(|image| image.tag.as_deref() == parsed.tag());
        let known: Vec<DigestBuf> = match parsed.digest() {
            _ if !used.runs.is_empty() => used.runs.clone(),
            Some(digest) => vec![digest.into()],
            None => Vec::new(),
        };
        let here = self.outcomes.len();
        match (known.first(), declared.is_empty()) {
            (Some(_), false) if known.iter().all(|digest| declared.contains(digest)) => Outcome::Equal,
            (Some(_), false) => Outcome::Different(reference(first)),
            // The release has the tag alone, which must be this digest.
            (Some(_), true) => {
                let tag = first.tag.clone().unwrap_or_default();
                self.open.entry((name, tag)).or_default().push((here, Expected::Is(known)));
                match same_tag {
                    true => Outcome::ByTag,
                    false => {
                        Outcome::Undecided("the release has a tag alone: lock it, or leave out --offline".to_owned())
                    }
                }
            }
            (None, _) if !same_tag => Outcome::Different(reference(first)),
            (None, true) => Outcome::Equal,
            (None, false) => {
                let tag = parsed.tag().unwrap_or_default().to_owned();
                self.open.entry((name, tag)).or_default().push((here, Expected::OneOf(declared)));
                Outcome::ByTag
            }
        }
    }

    /// Asks for the digests of tags, side by side.
    ///
    /// # Errors
    /// What registries are asked with (an authority, say) cannot be used.
    pub fn ask(&mut self, origin: Origin, surroundings: &mut Surroundings<'_>) -> anyhow::Result<()> {
        let open = std::mem::take(&mut self.open);
        let asked: Vec<(Image, Depth)> = open.iter().map(|((name, tag), places)| asked(name, tag, places)).collect();
        let asked: Vec<(&Image, Depth)> = asked.iter().map(|(image, depth)| (image, *depth)).collect();
        let answers = resolve::ask(origin, &asked, surroundings)?;
        for ((image, _), ((_, tag), places)) in asked.iter().zip(&open) {
            let Some(answer) = answers.get(&image.name) else { continue };
            for (at, expected) in places {
                let Some((_, outcome)) = self.outcomes.get_mut(*at) else { continue };
                *outcome = match answer {
                    Ok(told) => expected.met(&image.repository, tag, told),
                    Err(Unanswered { why, help }) => Outcome::Undecided(format!("{why}; {help}")),
                };
            }
        }
        Ok(())
    }

    /// How many images came out like this.
    pub fn count(&self, is: impl Fn(&Outcome) -> bool) -> usize {
        self.outcomes.iter().filter(|(_, outcome)| is(outcome)).count()
    }

    /// What the worst of them comes to.
    pub fn exit(&self) -> Exit {
        let of = |outcome: &Outcome| match outcome {
            Outcome::Equal | Outcome::ByTag | Outcome::Ignored => Exit::Clean,
            Outcome::Unreadable(_) | Outcome::Extra | Outcome::Different(_) => Exit::Violation,
            Outcome::Undecided(_) => Exit::Undecided,
        };
        let differs = !self.missing.is_empty() || !self.other_commits.is_empty();
        let whole = if differs { Exit::Violation } else { Exit::Clean };
        let unknown = if self.uncommitted.is_empty() { Exit::Clean } else { Exit::Undecided };
        self.outcomes.iter().map(|(_, outcome)| of(outcome)).fold(whole.and(unknown), Exit::and)
    }
}

/// What has to be asked of a tag, and how much: a digest that is not the tag's own may be one of its platforms.
fn asked(name: &str, tag: &str, places: &[(usize, Expected)]) -> (Image, Depth) {
    let known: BTreeSet<&DigestBuf> = places.iter().flat_map(|(_, expected)| expected.known()).collect();
    let depth = match known.len() {
        0 => Depth::Digest,
        1 => Depth::MoreIfMoved,
        _ => Depth::All,
    };
    let image = Image {
        name: format!("{name}:{tag}"),
        repository: name.to_owned(),
        tag: Some(tag.to_owned()),
        digest: known.first().map(|digest| (*digest).clone()),
        ..Image::default()
    };
    (image, depth)
}

/// An image of the release as a manifest would have it.
fn reference(image: &Image) -> String {
    let tag = image.tag.as_ref().map(|tag| format!(":{tag}")).unwrap_or_default();
    let digest = image.digest.as_ref().map(|digest| format!("@{digest}")).unwrap_or_default();
    format!("{}{tag}{digest}", image.repository)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Exit;
    use crate::policy::List;

    fn digest(digit: char) -> String {
        format!("sha256:{}", digit.to_string().repeat(64))
    }

    fn release() -> Release {
        let text = format!(
            "release: one\nimages:\n  app: {{repo: r.example.com/app, tag: v1.0.0, digest: \"{a}\", platforms: {{linux/amd64: \"{b}\"}}}}\n  \
             plain: {{repo: r.example.com/plain, tag: v2.0.0}}\n",
            a = digest('a'),
            b = digest('b'),
        );
        Release::read("release.yaml", &text).unwrap()
    }

    fn compared(image: &str, runs: &[char]) -> (Outcome, Exit) {
        let mut used = Used::written(image, "Pod a/b", List::Containers, Some("c"));
        used.runs = runs.iter().map(|digit| DigestBuf::parse(&digest(*digit)).unwrap()).collect();
        let mut comparison = Comparison::new(&release(), vec![used], None);
        comparison.missing.clear();
        let exit = comparison.exit();
        (comparison.outcomes.swap_remove(0).1, exit)
    }

    #[test]
    fn digests_decide_and_tags_where_there_are_none() {
        let (a, b, c) = (digest('a'), digest('b'), digest('c'));
        for (image, runs, expected) in [
            (format!("r.example.com/app:v1.0.0@{a}"), &[][..], Exit::Clean),
            (format!("r.example.com/app@{b}"), &[], Exit::Clean),
            ("r.example.com/app:v1.0.0".to_owned(), &[], Exit::Clean),
            ("r.example.com/app:v1.0.0".to_owned(), &['a'], Exit::Clean),
            ("r.example.com/app:other".to_owned(), &['a', 'b'], Exit::Clean),
            ("r.example.com/app:v1.0.0".to_owned(), &['a', 'c'], Exit::Violation),
            (format!("r.example.com/app:v1.0.0@{c}"), &[], Exit::Violation),
            ("r.example.com/app:v1.0.1".to_owned(), &[], Exit::Violation),
            ("r.example.com/plain:v2.0.0".to_owned(), &[], Exit::Clean),
            ("r.example.com/plain:v2.0.1".to_owned(), &[], Exit::Violation),
            (format!("r.example.com/plain@{c}"), &[], Exit::Undecided),
            ("r.example.com/else:v1.0.0".to_owned(), &[], Exit::Violation),
            ("r.example.com/App".to_owned(), &[], Exit::Violation),
        ] {
            assert_eq!(compared(&image, runs).1, expected, "{image} {runs:?}");
        }
        assert_eq!(compared("r.example.com/app:v1.0.0", &[]).0, Outcome::ByTag);
        assert_eq!(compared("r.example.com/else:v1.0.0", &[]).0, Outcome::Extra);
    }

    #[test]
    fn what_is_used_nowhere_is_missing_and_what_a_glob_names_is_left_out() {
        let used = Used::written("r.example.com/sidecar:v1.0.0", "Pod a/b", List::Containers, None);
        let glob = crate::image::ImageGlob::parse("r.example.com/side*").unwrap();
        let globs = GlobSet::new(&[glob.to_regex()]).unwrap();
        let comparison = Comparison::new(&release(), vec![used], Some(&globs));
        assert_eq!(comparison.outcomes[0].1, Outcome::Ignored);
        let missing: Vec<_> = comparison.missing.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!((missing, comparison.exit()), (vec!["app", "plain"], Exit::Violation));
    }
}
