//! What registries say of a release's images: asked side by side, each image once, or read from a file of facts.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use clap::Args;
use futures_util::StreamExt as _;
use futures_util::stream;
use tokio::time::Instant;

use crate::cli::engine::{configuration, facts_file};
use crate::cli::registries::{DEADLINE, Registries, remedy};
use crate::cli::{Exit, Surroundings};
use crate::config::{Config, Overrides};
use crate::document::Diagnostic;
use crate::image::DigestBuf;
use crate::policy::{Age, Answer, Asked, Budget, FactsFile, Lookup, REVISION, printable};
use crate::registry::{Failure, Inspection, Settings};
use crate::release::{Change, Image, ImageChange, ReleaseFile, commit_in, is_commit};

/// Images that are asked for at one time.
const AT_ONCE: usize = 16;

/// Who is asked.
#[derive(Debug, Args)]
pub(super) struct OriginArgs {
    /// The server's configuration file: its registries, time-outs and workloads hold here too
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Take what registries would say from this file instead of asking them; it knows no platforms
    #[arg(long, value_name = "FILE")]
    facts: Option<PathBuf>,
}

/// Who knows.
pub(super) enum Origin {
    /// The registries of the images.
    Registries(Settings),
    /// A file that says what they would answer.
    File(FactsFile),
}

impl OriginArgs {
    /// None, after what is wrong with one of the files was written to standard error.
    pub fn origin(&self, surroundings: &mut Surroundings<'_>) -> Option<Origin> {
        self.read(surroundings).map(|(_, origin)| origin)
    }

    /// The same, and the configuration.
    pub fn read(&self, surroundings: &mut Surroundings<'_>) -> Option<(Config, Origin)> {
        let config = configuration(self.config.as_deref(), &Overrides::default(), surroundings)?;
        let origin = match &self.facts {
            None => Origin::Registries(config.registry.clone()),
            Some(file) => Origin::File(facts_file(file, surroundings)?),
        };
        Some((config, origin))
    }
}

/// How much is asked of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Depth {
    /// What its tag is: one HEAD. Where that is not what is written, its platforms too, as far as they can be had: what is
    /// written may be one of them.
    Digest,
    /// That, and the rest where it is not what is written.
    MoreIfMoved,
    /// All that a lock says.
    All,
}

/// What a registry says of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Told {
    /// What its tag is, or what it is itself.
    pub digest: DigestBuf,
    /// The rest, where it was asked.
    pub more: Option<More>,
}

/// What an image says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct More {
    /// An index's children; none: the facts do not say.
    pub platforms: Option<BTreeMap<String, DigestBuf>>,
    /// The commit that its label names.
    pub revision: Option<String>,
}

/// Why there is no answer, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unanswered {
    pub why: String,
    pub help: String,
}

/// By the images' names.
pub(super) type Answers = BTreeMap<String, Result<Told, Unanswered>>;

/// Asks about these images.
///
/// # Errors
/// What registries are asked with (an authority, say) cannot be used.
pub(super) fn ask(
    origin: Origin,
    images: &[(&Image, Depth)],
    surroundings: &mut Surroundings<'_>,
) -> anyhow::Result<Answers> {
    let settings = match origin {
        Origin::File(facts) => {
            let told = |(image, _): &(&Image, Depth)| (image.name.clone(), told(image, &facts));
            return Ok(images.iter().map(told).collect());
        }
        Origin::Registries(_) if images.is_empty() => return Ok(Answers::new()),
        Origin::Registries(settings) => settings,
    };
    let hosts: BTreeSet<String> = images.iter().map(|(image, _)| host(image).0.to_owned()).collect();
    let registries = Registries::new(settings, hosts, surroundings)?;
    let answers = stream::iter(images).map(|(image, depth)| answered(image, *depth, &registries));
    Ok(registries.wait("the release", surroundings, answers.buffer_unordered(AT_ONCE).collect()))
}

/// Registry and repository.
fn host(image: &Image) -> (&str, &str) {
    image.repository.split_once('/').unwrap_or((&image.repository, ""))
}

/// What is asked for: the tag, where there is one.
fn reference(image: &Image) -> &str {
    image.tag.as_deref().or(image.digest.as_ref().map(DigestBuf::as_str)).unwrap_or_default()
}

async fn answered(image: &Image, depth: Depth, registries: &Registries) -> (String, Result<Told, Unanswered>) {
    let (host, _) = host(image);
    let answer = asked(image, depth, registries).await;
    let answer = answer.map_err(|failure| {
        let help = remedy(failure.kind, host);
        Unanswered { why: failure.what, help }
    });
    (image.name.clone(), answer)
}

async fn asked(image: &Image, depth: Depth, registries: &Registries) -> Result<Told, Failure> {
    let ((host, repository), reference) = (host(image), reference(image));
    let (resolver, asker, deadline) = (&registries.resolver, registries.asker(None), Instant::now() + DEADLINE);
    if depth != Depth::All {
        let digest = resolver.digest(host, repository, reference, asker, deadline).await?;
        let moved = image.digest.as_ref().is_some_and(|old| *old != digest);
        match depth {
            Depth::Digest if moved => {
                let more = resolver.inspect(host, repository, digest.as_str(), asker, deadline).await.ok();
                let more =
                    more.map(|Inspection { platforms, revision, .. }| More { platforms: Some(platforms), revision });
                return Ok(Told { digest, more });
            }
            Depth::Digest => return Ok(Told { digest, more: None }),
            Depth::MoreIfMoved if image.digest.as_ref() == Some(&digest) => return Ok(Told { digest, more: None }),
            Depth::MoreIfMoved | Depth::All => {}
        }
    }
    let Inspection { digest, platforms, revision } =
        resolver.inspect(host, repository, reference, asker, deadline).await?;
    Ok(Told { digest, more: Some(More { platforms: Some(platforms), revision }) })
}

fn told(image: &Image, facts: &FactsFile) -> Result<Told, Unanswered> {
    let unanswered = |why: String| {
        let help = "add it to the file of --facts, or leave that out to ask the registry".to_owned();
        Unanswered { why, help }
    };
    let name = image.repository.as_str();
    let digest = match (&image.tag, &image.digest) {
        (Some(tag), _) => {
            let what = Asked::Digest { tag, floating: false, age: Age::Now, budget: Budget::Review };
            match facts.answer(&Lookup { name, what }) {
                Answer::Digest(Ok(resolved)) => resolved.digest,
                Answer::Digest(Err(undecided)) => return Err(unanswered(undecided.detail.into_owned())),
                _ => return Err(unanswered("the facts answer something else".to_owned())),
            }
        }
        (None, Some(digest)) => digest.clone(),
        (None, None) => return Err(unanswered("neither tag nor digest".to_owned())),
    };
    let what = Asked::Labels { digest: digest.as_str() };
    let revision = match facts.answer(&Lookup { name, what }) {
        Answer::Labels(Ok(mut labels)) => labels.remove(REVISION),
        // An image of which the facts know the tag alone says nothing of itself.
        _ => None,
    };
    Ok(Told { digest, more: Some(More { platforms: None, revision }) })
}

/// What becomes of digests whose tags have moved on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Drift {
    /// It is told, and nothing is written.
    Told,
    /// They are replaced.
    Updated,
}

/// What is to be written of an image; else how the verb ends, and why.
pub(super) fn judge(
    file: &ReleaseFile,
    image: &Image,
    answer: &Result<Told, Unanswered>,
    drift: Drift,
) -> Result<Vec<Change>, (Exit, Box<Diagnostic>)> {
    let refused = |exit, told: String, help: &str| (exit, Box::new(file.problem_of(&image.name, told).help(help)));
    let told = match answer {
        Ok(told) => told,
        Err(Unanswered { why, help }) => {
            let what = format!("{} is not known: {why}", shown(image));
            return Err(refused(Exit::Undecided, what, help));
        }
    };
    let old = image.digest.as_ref();
    let moved = old.is_some_and(|old| *old != told.digest);
    let more = told.more.as_ref();
    if moved && drift == Drift::Told {
        let children = more.and_then(|more| more.platforms.as_ref());
        let child = children.into_iter().flatten().find(|(_, child)| Some(*child) == old);
        let tag = image.tag.as_deref().unwrap_or_default();
        let (is, was) = (&told.digest, old.map(DigestBuf::as_str).unwrap_or_default());
        return Err(match child {
            Some((platform, _)) => refused(
                Exit::Drift,
                format!("the digest is that of {platform} alone, and {tag} is the index {is}"),
                "`--update` writes the index's",
            ),
            None => refused(
                Exit::Drift,
                format!("the tag has moved: {tag} is {is}, and {was} is written"),
                "a tag of a version should not move: ask who moved it; `--update` takes what it is now",
            ),
        });
    }
    let named = image.tag.as_deref().and_then(commit_in);
    let revision = more.and_then(|more| more.revision.as_deref());
    if let (Some(named), Some(revision)) = (named, revision)
        && !(revision.starts_with(named) || named.starts_with(revision))
    {
        let what = format!("its tag names the commit {named}, and its label the commit {}", printable(revision, 80));
        return Err(refused(Exit::Violation, what, "ask who built it: one of them is not true"));
    }
    Ok(changes(image, told, moved))
}

fn changes(image: &Image, told: &Told, moved: bool) -> Vec<Change> {
    let mut changes = vec![ImageChange::Digest(Some(told.digest.clone()))];
    let more = told.more.as_ref();
    match more.and_then(|more| more.revision.as_deref()).filter(|revision| is_commit(revision)) {
        Some(revision) => changes.push(ImageChange::Commit(Some(revision.to_owned()))),
        // What is written is of another image.
        None if moved => changes.push(ImageChange::Commit(None)),
        None => {}
    }
    match more.and_then(|more| more.platforms.clone()) {
        Some(platforms) => changes.push(ImageChange::Platforms(platforms)),
        None if moved => changes.push(ImageChange::Platforms(BTreeMap::new())),
        None => {}
    }
    changes.into_iter().map(|change| Change::Image(image.name.clone(), change)).collect()
}

/// An image, for a message.
fn shown(image: &Image) -> String {
    let between = if image.tag.is_some() { ":" } else { "@" };
    format!("{}{between}{}", image.repository, reference(image))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(letter: char) -> DigestBuf {
        DigestBuf::parse(&format!("sha256:{}", letter.to_string().repeat(64))).unwrap()
    }

    fn file(image: &str) -> ReleaseFile {
        let image = image.replace("<a>", digest('a').as_str()).replace("<c>", digest('c').as_str());
        ReleaseFile::read("r.yaml", &format!("release: r\nimages:\n  app: {{repo: r.example.com/app, {image}}}\n"))
            .unwrap()
    }

    fn judged(image: &str, told: Told, drift: Drift) -> Result<String, (Exit, String)> {
        let file = file(image);
        let judged = judge(&file, &file.release.images()[0], &Ok(told), drift);
        let changed = judged.map_err(|(exit, problem)| (exit, problem.message))?;
        Ok(file.changed(&changed).unwrap().text().lines().last().unwrap_or_default().to_owned())
    }

    fn told(letter: char, platforms: Option<&[(&str, char)]>, revision: Option<&str>) -> Told {
        let named = |(name, letter): &(&str, char)| ((*name).to_owned(), digest(*letter));
        let platforms = platforms.map(|platforms| platforms.iter().map(named).collect());
        Told { digest: digest(letter), more: Some(More { platforms, revision: revision.map(str::to_owned) }) }
    }

    #[test]
    fn facts_of_another_digest_do_not_stay() {
        let before = "tag: v1, digest: '<a>', commit: 4f2a1b0, platforms: {linux/amd64: '<c>'}";
        let line = judged(before, told('b', None, None), Drift::Updated).unwrap();
        assert_eq!(line, format!("  app: {{repo: r.example.com/app, tag: v1, digest: '{}'}}", digest('b')));
        let line = judged(before, told('b', Some(&[]), Some("not a commit")), Drift::Updated).unwrap();
        assert!(line.ends_with(&format!("digest: '{}'}}", digest('b'))), "{line}");
        let same = judged(before, told('a', None, None), Drift::Told).unwrap();
        assert!(same.contains("commit: 4f2a1b0") && same.contains("platforms:"), "{same}");
    }

    #[test]
    fn a_tag_that_moved_is_drift_and_a_child_is_named() {
        let before = "tag: v1, digest: '<a>'";
        let (exit, message) = judged(before, told('b', None, None), Drift::Told).unwrap_err();
        assert_eq!(exit, Exit::Drift);
        assert_eq!(message, format!("the tag has moved: v1 is {}, and {} is written", digest('b'), digest('a')));
        let (_, message) = judged(before, told('b', Some(&[("linux/arm64", 'a')]), None), Drift::Told).unwrap_err();
        assert_eq!(message, format!("the digest is that of linux/arm64 alone, and v1 is the index {}", digest('b')));
    }

    #[test]
    fn a_tag_and_a_label_that_name_two_commits_are_a_violation() {
        let (exit, message) = judged("tag: 4f2a1b0", told('a', None, Some("5f2a1b0")), Drift::Told).unwrap_err();
        assert_eq!(exit, Exit::Violation);
        assert_eq!(message, "its tag names the commit 4f2a1b0, and its label the commit 5f2a1b0");
        assert!(judged("tag: 4f2a1b0", told('a', None, Some("4f2a1b0c")), Drift::Told).is_ok());
    }
}
