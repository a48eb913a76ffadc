//! Which builds approve a digest: the tags that its labels name, and those of the tag list.

use std::borrow::Cow;
use std::cmp::Reverse;

use super::compile::{ClassNames, Comparison, Policy};
use super::examine::{Examination, Open};
use super::facts::{Ground, Tagged};
use super::file::Search;
use super::image_facts::{REVISION, VERSION};
use super::lookups::Want;
use super::tags::built_in;
use super::{Age, Budget, Failure, ImageLabels, Resolved, Undecided};
use crate::image::{Class, DigestBuf, TagFacts};

/// How many tags that releases name are asked about.
const FROM_RELEASES: usize = 3;
/// How many tags that the labels name are asked about.
const FROM_LABELS: usize = 6;
/// How many tags of the list are compared.
const FROM_LIST: usize = 200;
/// How many of them in one round.
const BATCH: usize = 16;

/// Whether a digest is an approved build.
pub(super) enum Approval<'x> {
    Yes,
    No,
    Open(Open<'x>),
}

/// What came of some tags.
enum Step {
    Approved,
    /// Answers are still to come.
    Wait,
    Not,
}

/// What is known of the tags that were asked about so far.
#[derive(Default)]
struct Asked<'x> {
    failed: Option<Open<'x>>,
    /// Those that are remembered with another digest.
    remembered: Vec<String>,
}

impl<'x> Asked<'x> {
    fn fails(&mut self, cause: Open<'x>) {
        self.failed = worse(self.failed.take(), cause);
    }
}

/// What came of the tags that releases and labels name.
enum ByNames<'x> {
    Approved,
    /// Answers are still to come.
    Wait,
    /// None has the digest. What failed, and which tags are remembered with another digest.
    Not(Option<Open<'x>>, Vec<String>),
}

impl<'x, 'p> Examination<'x, 'p> {
    /// Whether a tag of one of the classes has this digest. `ground`: that of the digest itself.
    ///
    /// What agrees may be remembered. Before "no" is said, the channel's own tag and the tags that the labels name are
    /// asked afresh; tags of the list are of classes that do not move, and a remembered digest will do.
    pub(super) fn approval(
        &mut self,
        policy: &'p Policy,
        classes: &'p ClassNames,
        search: Search,
        digest: &DigestBuf,
        ground: Ground<'x>,
    ) -> Approval<'x> {
        let (failed, remembered) = match self.by_names(policy, classes, digest) {
            ByNames::Approved => return Approval::Yes,
            ByNames::Wait => return Approval::Open(self.missing()),
            ByNames::Not(failed, remembered) => (failed, remembered),
        };
        let already = self.wants.len();
        let from_list = match search {
            Search::Labels => Approval::No,
            Search::Tags => self.by_list(policy, classes, digest),
        };
        // What the list taught stays good if the channel turns out to have another digest.
        if matches!(from_list, Approval::Yes) || self.wants.len() > already {
            return from_list;
        }
        if let Err(cause) = self.firm(ground) {
            return Approval::Open(cause);
        }
        if !remembered.is_empty() {
            let again = |tag| Want::Other(Cow::Owned(tag), Age::Now, Budget::Review);
            self.wants.extend(remembered.into_iter().map(again));
            return Approval::Open(self.missing());
        }
        match (failed, from_list) {
            (Some(one), Approval::Open(other)) => Approval::Open(graver(one, other)),
            (Some(cause), Approval::No) => Approval::Open(cause),
            (_, approval) => approval,
        }
    }

    /// Asks the tags that governing releases give the digest, then those that its own labels name: versions, then revisions.
    fn by_names(&mut self, policy: &Policy, classes: &ClassNames, digest: &DigestBuf) -> ByNames<'x> {
        let none = ImageLabels::new();
        let mut asked = Asked::default();
        let own = self.subject.reference.tag();
        let released = self.released_tags(digest).into_iter().filter(|tag| Some(*tag) != own);
        let released: Vec<String> = released
            .filter(|tag| rank(policy, classes, tag).is_some())
            .take(FROM_RELEASES)
            .map(str::to_owned)
            .collect();
        match self.ask_about(released, digest, &mut asked) {
            Step::Approved => return ByNames::Approved,
            Step::Wait => return ByNames::Wait,
            Step::Not => {}
        }
        let labels = match self.facts.labels(&self.subject.name, digest.as_str()) {
            None => {
                self.wants.push(Want::Labels(Cow::Owned(digest.as_str().to_owned())));
                return ByNames::Wait;
            }
            Some(Ok(labels)) => labels,
            Some(Err(cause)) => {
                if cause.failure != Failure::NotFound {
                    asked.failed = worse(asked.failed, Cow::Borrowed(cause));
                }
                &none
            }
        };
        for tags in self.named(policy, classes, labels) {
            match self.ask_about(tags, digest, &mut asked) {
                Step::Approved => return ByNames::Approved,
                Step::Wait => return ByNames::Wait,
                Step::Not => {}
            }
        }
        ByNames::Not(asked.failed, asked.remembered)
    }

    /// Whether one of these tags has the digest.
    fn ask_about(&mut self, tags: Vec<String>, digest: &DigestBuf, asked: &mut Asked<'x>) -> Step {
        let mut waits = false;
        for tag in tags {
            match self.facts.tagged(&self.subject.name, &tag) {
                Tagged::Unknown => {
                    self.wants.push(Want::Other(Cow::Owned(tag), Age::Remembered, Budget::Review));
                    waits = true;
                }
                Tagged::Answer(resolved, _) if resolved.digest == *digest => {
                    self.held(&tag, resolved);
                    return Step::Approved;
                }
                Tagged::Answer(_, Ground::Firm) => {}
                Tagged::Answer(_, Ground::Ask) => asked.remembered.push(tag),
                Tagged::Answer(_, Ground::Failed(cause)) => asked.fails(Cow::Borrowed(cause)),
                Tagged::Answer(_, Ground::Old) => asked.fails(Cow::Owned(self.too_old())),
                // That there is no such tag is an answer.
                Tagged::Failed(cause) if cause.failure == Failure::NotFound => {}
                Tagged::Failed(cause) => asked.fails(Cow::Borrowed(cause)),
            }
        }
        if waits { Step::Wait } else { Step::Not }
    }

    /// The tags of the classes that labels name, in the two steps in which they are asked about.
    fn named(&self, policy: &Policy, classes: &ClassNames, labels: &ImageLabels) -> [Vec<String>; 2] {
        let mut versions = Vec::new();
        if let Some(version) = labels.get(VERSION) {
            versions.extend([version.clone(), format!("v{version}")]);
        }
        let mut revisions = Vec::new();
        if let Some(revision) = labels.get(REVISION).filter(|text| text.bytes().all(|b| b.is_ascii_hexdigit())) {
            revisions.extend([40, 12, 8, 7].into_iter().filter_map(|length| revision.get(..length)).map(str::to_owned));
            revisions.push(format!("git-{revision}"));
        }
        let own = self.subject.reference.tag();
        let fits = |tag: &String| Some(tag.as_str()) != own && rank(policy, classes, tag).is_some();
        versions.retain(fits);
        revisions.retain(fits);
        revisions.truncate(FROM_LABELS - versions.len());
        [versions, revisions]
    }

    /// Compares the tags of the list, releases first and highest first, then commits.
    fn by_list(&mut self, policy: &Policy, classes: &ClassNames, digest: &DigestBuf) -> Approval<'x> {
        let tags: &'x [String] = match self.facts.tags(&self.subject.name) {
            None => {
                self.wants.push(Want::Tags);
                return Approval::Open(self.missing());
            }
            Some(Err(cause)) => return Approval::Open(Cow::Borrowed(cause)),
            Some(Ok(tags)) => tags,
        };
        let (candidates, left) = self.candidates(policy, classes, tags);
        let mut failed = None;
        let mut unknown = Vec::new();
        for tag in candidates {
            match self.facts.tagged(&self.subject.name, tag) {
                Tagged::Unknown => unknown.push(tag),
                Tagged::Answer(resolved, _) if resolved.digest == *digest => {
                    self.held(tag, resolved);
                    return Approval::Yes;
                }
                Tagged::Answer(..) => {}
                Tagged::Failed(cause) if cause.failure == Failure::NotFound => {}
                Tagged::Failed(cause) => failed = worse(failed, Cow::Borrowed(cause)),
            }
        }
        // A registry that fails or limits our rate is not asked for the rest.
        if let Some(cause) = failed {
            return Approval::Open(cause);
        }
        if !unknown.is_empty() {
            let batch = unknown.into_iter().take(BATCH);
            self.wants.extend(batch.map(|tag| Want::Other(Cow::Borrowed(tag), Age::Remembered, Budget::Search)));
            return Approval::Open(self.missing());
        }
        if left > 0 {
            let detail = format!(
                "none of {FROM_LIST} tags has its digest, and {left} are left; label the image with {VERSION} or {REVISION}"
            );
            return Approval::Open(Cow::Owned(Undecided::new(Failure::Unreachable, detail)));
        }
        Approval::No
    }

    /// The tags of the list that are compared, in order, and how many more there are.
    fn candidates<'t>(&self, policy: &Policy, classes: &ClassNames, tags: &'t [String]) -> (Vec<&'t str>, usize) {
        let own = self.subject.reference.tag();
        let ranked = |tag: &'t String| rank(policy, classes, tag).map(|rank| (rank, tag.as_str()));
        let mut found: Vec<_> = tags.iter().filter(|tag| Some(tag.as_str()) != own).filter_map(ranked).collect();
        let left = found.len().saturating_sub(FROM_LIST);
        if left > 0 {
            found.select_nth_unstable(FROM_LIST);
            found.truncate(FROM_LIST);
        }
        found.sort_unstable();
        found.dedup();
        (found.into_iter().map(|(_, tag)| tag).collect(), left)
    }

    /// The highest release that was met on the way, where anybody may be told.
    pub(super) fn highest_release(&self, policy: &Policy, compare: &Comparison) -> Option<String> {
        let tags = self.facts.tags(&self.subject.name)?.as_ref().ok()?;
        let (candidates, _) = self.candidates(policy, &compare.releases, tags);
        let is_public = |tag: &&str| {
            let known: Option<&Resolved> =
                self.facts.digest(&self.subject.name, tag).and_then(|known| known.as_ref().ok());
            known.is_some_and(|resolved| resolved.public) && TagFacts::of(tag).arch.is_none()
        };
        candidates.into_iter().find(is_public).map(|tag| format!("{}:{tag}", self.subject.name))
    }
}

/// The order in which candidates are asked about.
type Rank<'t> = (u8, Reverse<[(usize, &'t str); 3]>);

/// The rank of a tag that is of one of the classes and of none that floats; none: it approves nothing.
fn rank<'t>(policy: &Policy, classes: &ClassNames, tag: &'t str) -> Option<Rank<'t>> {
    if !is_tag(tag) {
        return None;
    }
    let facts = TagFacts::of(tag);
    let known = built_in(&facts, &policy.classes);
    if known.iter().any(Class::is_floating) {
        return None;
    }
    let mut is_listed = known.iter().any(|class| classes.built_in.contains(class));
    let mut floats = false;
    if !policy.classes.list.is_empty() {
        policy.tag_patterns.all_matches(tag, |id| {
            is_listed |= classes.own.contains(&id);
            floats |= policy.classes.list.get(id).is_some_and(|class| class.floating);
        });
    }
    let order = match known.iter().next() {
        Some(Class::Release) => 0,
        Some(Class::Prerelease | Class::Semver) => 1,
        Some(Class::Commit | Class::GitCommit) => 3,
        _ => 2,
    };
    (is_listed && !floats).then(|| (order, Reverse(if order < 2 { version(tag) } else { Default::default() })))
}

/// The three numbers of a version, each with its length in front, so that they compare as numbers of any size.
fn version(tag: &str) -> [(usize, &str); 3] {
    let core = tag.strip_prefix('v').unwrap_or(tag).split('-').next().unwrap_or_default();
    let mut numbers = core.split('.').map(|number| (number.len(), number));
    std::array::from_fn(|_| numbers.next().unwrap_or_default())
}

/// Whether a registry's word is a tag at all, by the grammar of references.
fn is_tag(text: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    text.len() <= 128
        && text.bytes().next().is_some_and(word)
        && text.bytes().all(|byte| word(byte) || matches!(byte, b'.' | b'-'))
}

/// The graver of a failure so far, if any, and a further one.
fn worse<'x>(known: Option<Open<'x>>, other: Open<'x>) -> Option<Open<'x>> {
    Some(match known {
        Some(known) => graver(known, other),
        None => other,
    })
}

/// The failure that lets in less; the first of two alike.
fn graver<'x>(one: Open<'x>, other: Open<'x>) -> Open<'x> {
    let weight = |cause: &Open<'_>| match cause.failure {
        Failure::Unreachable => 0,
        Failure::RateLimited => 1,
        Failure::NotFound => 2,
        Failure::Protocol => 3,
    };
    if weight(&other) > weight(&one) { other } else { one }
}

#[cfg(test)]
mod tests {
    use super::{Rank, is_tag, rank};
    use crate::policy::{PolicySet, Settings};

    const POLICY: &str = "apiVersion: tagwarden.dev/v1\nkind: ImagePolicy\nmetadata: {name: a}\nspec:\n  mode: enforce\n  \
        tagClasses:\n    build: {pattern: 'build-\\d+'}\n    semver: {pattern: '\\d+\\.\\d+\\.\\d+', floating: true}\n  \
        rules:\n    - {images: [r.example.com/a], tags: [channel], channel: {sameDigestAs: [release, prerelease, commit, build]}}\n";

    #[test]
    fn releases_come_first_and_the_highest_of_them() {
        let set = PolicySet::compile(&[("a.yaml", POLICY)], Settings::default()).unwrap();
        let policy = &set.policies[0];
        let classes = &policy.rules[0].channel.compare.as_ref().unwrap().classes;
        let mut ranked: Vec<(Rank<'_>, &str)> = [
            "0123456",
            "v1.2.3",
            "build-7",
            "v1.10.0",
            "v1.9.9",
            "v2.0.0-rc.1",
            "env-prod",
            "latest",
            "1.2.3",
            "word",
            "v18446744073709551616.0.0",
        ]
        .into_iter()
        .filter_map(|tag| rank(policy, classes, tag).map(|rank| (rank, tag)))
        .collect();
        ranked.sort();
        let tags: Vec<&str> = ranked.into_iter().map(|(_, tag)| tag).collect();
        let expected =
            ["v18446744073709551616.0.0", "v1.10.0", "v1.9.9", "v1.2.3", "v2.0.0-rc.1", "build-7", "0123456"];
        assert_eq!(tags, expected, "and nothing that floats, for any reason, or is not listed");
    }

    #[test]
    fn what_no_reference_could_name_is_no_tag() {
        for text in ["v1", "_a", "A.b-c"] {
            assert!(is_tag(text), "{text}");
        }
        for text in ["", "-a", ".a", "a b", "a/b", "a:b", "\u{e9}", "a\n", &"a".repeat(129)] {
            assert!(!is_tag(text), "{text}");
        }
    }
}
