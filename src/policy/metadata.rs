//! What is wrong with what an image says of itself: its labels, platforms, age and base images under one rule.

use super::compile::{BaseImages, DAY, LabelDemand, Metadata};
use super::file::Match;
use super::image_facts::{Created, ImageFacts, PlatformFacts, REVISION, SOURCE, VERSION};
use super::show::{IMAGE_BYTES, first_few, printable};
use super::{Check, FindingId, Seconds};
use crate::image::{Class, Classes, Platform, Reference, TagFacts};

/// How many platforms, or labels, a text names.
const SHOWN: usize = 3;
/// Bytes of a label that texts show.
const LABEL_BYTES: usize = 100;
/// Up to this moment (1980-01-02) dates are those that reproducible builds write in the place of one: the beginning of
/// Unix time, and that of the dates of ZIP archives.
const NO_DATE: Seconds = 315_619_200;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelFinding {
    /// Which.
    pub id: FindingId,
    /// The check that it belongs to.
    pub check: Check,
    /// One line of printable ASCII that names label and platforms; what stems from the image is escaped and cut.
    pub message: String,
}

/// What the labels of an image must say where no rule is asked: revision and version agree with the tag, and a source is
/// there of which `source` finds nothing wrong. All of that on every platform.
#[must_use]
pub fn check_labels(
    image: &ImageFacts,
    tag: Option<&str>,
    source: impl Fn(&str) -> Option<String>,
) -> Vec<LabelFinding> {
    let facts = tag.map(TagFacts::of).unwrap_or_else(TagFacts::digest_only);
    let seen = Seen { image, tag, suffix: facts.arch, classes: facts.classes, rule: "", now: 0 };
    let mut findings = seen.violations(&Metadata::of_tag());
    let of_source = seen.grouped(&seen.all(), |one| match one.labels.get(SOURCE) {
        None => Some(absent(SOURCE)),
        Some(value) => source(value).map(|wrong| format!("{}, {wrong}", is(SOURCE, value))),
    });
    findings.extend(of_source.map(|message| LabelFinding { id: FindingId::Tw400, check: Check::Labels, message }));
    findings.sort_by_key(|finding| finding.id);
    findings
}

/// An image as a rule looks at it.
pub(super) struct Seen<'s> {
    pub image: &'s ImageFacts,
    pub tag: Option<&'s str>,
    /// The architecture that the tag names.
    pub suffix: Option<&'s str>,
    /// The built-in classes that the tag is of in this policy.
    pub classes: Classes,
    /// The rule for texts: `rule first-party`.
    pub rule: &'s str,
    pub now: Seconds,
}

impl<'s> Seen<'s> {
    /// Everything that is wrong, at most one finding a check, in the order of the ids.
    pub fn violations(&self, metadata: &Metadata) -> Vec<LabelFinding> {
        let judged = self.judged(&metadata.platforms);
        let (base, classes) = (self.plain_tag(), self.classes);
        let revision = (metadata.revision == Match::Match).then(|| {
            self.grouped(&judged, |one| wrong_revision(base, classes, one.labels.get(REVISION).map(String::as_str)))
        });
        let version = (metadata.version == Match::Match).then(|| {
            self.grouped(&judged, |one| wrong_version(base, classes, one.labels.get(VERSION).map(String::as_str)))
        });
        let age = metadata.max_days.map(|days| self.grouped(&judged, |one| self.too_old(days, one.created)));
        let base_images = metadata.base_images.as_ref().map(|allowed| self.base_images(&judged, allowed));
        let found = [
            (FindingId::Tw400, Check::Labels, self.labels(&judged, &metadata.labels)),
            (FindingId::Tw401, Check::Revision, revision.flatten()),
            (FindingId::Tw402, Check::Version, version.flatten()),
            (FindingId::Tw403, Check::Platforms, self.platforms(&metadata.platforms)),
            (FindingId::Tw404, Check::Age, age.flatten()),
            (FindingId::Tw405, Check::BaseImages, base_images.flatten()),
        ];
        let finding =
            |(id, check, message): (_, _, Option<String>)| Some(LabelFinding { id, check, message: message? });
        found.into_iter().filter_map(finding).collect()
    }

    /// The platforms that are looked at: those that the rule lists and, where the tag names an architecture, that are of
    /// it. Where none of them is there, all are: a list that is only told of must not hide what is wrong with the image.
    fn judged(&self, listed: &[Platform]) -> Vec<&'s PlatformFacts> {
        let is_listed = |one: &&PlatformFacts| self.wanted(listed).any(|wanted| one.platform.meets(wanted));
        let met: Vec<_> = self.image.platforms.iter().filter(is_listed).collect();
        if met.is_empty() { self.all() } else { met }
    }

    fn all(&self) -> Vec<&'s PlatformFacts> {
        self.image.platforms.iter().collect()
    }

    /// Those of the list that an image with this tag must be there for: all, or the ones of the tag's architecture.
    fn wanted<'l>(&self, listed: &'l [Platform]) -> impl Iterator<Item = &'l Platform> {
        let suffix = self.suffix;
        listed.iter().filter(move |wanted| suffix.is_none_or(|suffix| wanted.is_of(suffix)))
    }

    /// The tag without its architecture; empty where there is none.
    fn plain_tag(&self) -> &'s str {
        let tag = self.tag.unwrap_or_default();
        let base = self.suffix.and_then(|suffix| tag.strip_suffix(suffix)?.strip_suffix('-'));
        base.unwrap_or(tag)
    }

    /// What is wrong on which of the platforms: each text with the platforms that it is about.
    fn grouped(&self, judged: &[&PlatformFacts], wrong: impl Fn(&PlatformFacts) -> Option<String>) -> Option<String> {
        let mut groups: Vec<(String, Vec<&str>)> = Vec::new();
        for one in judged {
            let Some(text) = wrong(one) else { continue };
            match groups.iter_mut().find(|(known, _)| *known == text) {
                Some((_, platforms)) => platforms.push(one.platform.as_str()),
                None => groups.push((text, vec![one.platform.as_str()])),
            }
        }
        let texts = groups.iter().map(|(text, platforms)| format!("on {}: {text}", first_few(platforms, SHOWN)));
        listed(texts.collect())
    }

    fn labels(&self, judged: &[&PlatformFacts], demands: &[LabelDemand]) -> Option<String> {
        let of_demand = |demand: &LabelDemand| {
            let key = &demand.key;
            let wrong = self.grouped(judged, |one| match one.labels.get(key) {
                None => Some(absent(key)),
                Some(value) => demand.pattern.first_match(value).is_none().then(|| is(key, value)),
            });
            wrong.map(|wrong| format!("{wrong}, and {} wants '{}'", self.rule, demand.shown))
        };
        listed(demands.iter().filter_map(of_demand).collect())
    }

    /// What is missing of the platforms that the rule lists; and the architecture that the tag names and the image is not.
    fn platforms(&self, wanted: &[Platform]) -> Option<String> {
        if wanted.is_empty() {
            return None;
        }
        let there = || {
            let names: Vec<&str> = self.image.platforms.iter().map(|one| one.platform.as_str()).collect();
            first_few(&names, SHOWN)
        };
        if let Some(suffix) = self.suffix {
            let others = self.image.platforms.iter().filter(|one| !one.platform.is_of(suffix));
            let others: Vec<&str> = others.map(|one| one.platform.as_str()).collect();
            if !others.is_empty() {
                return Some(format!("the tag says {suffix}, and the image is for {}", first_few(&others, SHOWN)));
            }
            if self.wanted(wanted).next().is_none() {
                let listed: Vec<&str> = wanted.iter().map(Platform::as_str).collect();
                return Some(format!("the tag says {suffix}, and {} wants {}", self.rule, first_few(&listed, SHOWN)));
            }
        }
        let is_there = |wanted: &&Platform| self.image.platforms.iter().any(|one| one.platform.meets(wanted));
        let missing = self.wanted(wanted).filter(|wanted| !is_there(wanted));
        let missing: Vec<&str> = missing.map(Platform::as_str).collect();
        (!missing.is_empty()).then(|| {
            format!("not there for {}, which {} wants; it is for {}", first_few(&missing, SHOWN), self.rule, there())
        })
    }

    fn too_old(&self, days: Seconds, created: Created) -> Option<String> {
        match created {
            Created::Absent => Some("it does not say when it was created".to_owned()),
            Created::Unreadable => Some("when it was created is written as no moment".to_owned()),
            Created::At(at) if at < NO_DATE => {
                Some(format!("it says that it was created at {created}, as reproducible builds do of any image"))
            }
            Created::At(at) if at > self.now.saturating_add(DAY) => {
                Some(format!("it says that it was created at {created}, which is still to come"))
            }
            Created::At(at) => {
                let age = self.now.saturating_sub(at);
                (age > days.saturating_mul(DAY)).then(|| {
                    format!("it was created {} days ago, more than the {days} that {} allows", age / DAY, self.rule)
                })
            }
        }
    }

    fn base_images(&self, judged: &[&PlatformFacts], allowed: &BaseImages) -> Option<String> {
        let wrong = self.grouped(judged, |one| {
            let mut bases = one.bases().peekable();
            if bases.peek().is_none() {
                return Some("it names no base image".to_owned());
            }
            bases.find_map(|base| wrong_base(base, allowed))
        });
        wrong.map(|wrong| format!("{wrong}; {} allows {}", self.rule, allowed.shown))
    }
}

/// What is wrong with a revision label, given the tag without its architecture.
fn wrong_revision(tag: &str, classes: Classes, label: Option<&str>) -> Option<String> {
    let Some(label) = label else { return Some(absent(REVISION)) };
    let is_full = matches!(label.len(), 40 | 64);
    let shown = || printable(tag, IMAGE_BYTES);
    if let Some(commit) = tag.strip_prefix("git-").filter(|_| classes.contains(Class::GitCommit)) {
        return (label != commit).then(|| format!("{}, and the tag is {}", is(REVISION, label), shown()));
    }
    if !is_hex(label) || !(is_full || classes.contains(Class::Commit)) {
        return Some(format!("{}, which is no full commit", is(REVISION, label)));
    }
    let differs = classes.contains(Class::Commit) && !label.starts_with(tag);
    differs.then(|| format!("{}, which does not begin with the tag {}", is(REVISION, label), shown()))
}

/// What is wrong with a version label, given the tag without its architecture.
fn wrong_version(tag: &str, classes: Classes, label: Option<&str>) -> Option<String> {
    let Some(label) = label else { return Some(absent(VERSION)) };
    if label.is_empty() {
        return Some(format!("the label {VERSION} is empty"));
    }
    let is_version = [Class::Release, Class::Prerelease, Class::Semver].iter().any(|class| classes.contains(*class));
    (is_version && plain_version(label) != plain_version(tag))
        .then(|| format!("{}, and the tag is {}", is(VERSION, label), printable(tag, IMAGE_BYTES)))
}

/// A version without the `v` in front of it.
fn plain_version(version: &str) -> &str {
    version.strip_prefix('v').unwrap_or(version)
}

/// What is wrong with the name of a base image.
fn wrong_base(base: &str, allowed: &BaseImages) -> Option<String> {
    let shown = printable(base, IMAGE_BYTES);
    let Ok(reference) = Reference::parse(base) else {
        return Some(format!("its base image is '{shown}', which is no image reference"));
    };
    let name = reference.name();
    allowed.globs.first_match(&name).is_none().then(|| format!("its base image is {shown}"))
}

fn absent(label: &str) -> String {
    format!("the label {} is absent", printable(label, LABEL_BYTES))
}

fn is(label: &str, value: &str) -> String {
    format!("the label {} is '{}'", printable(label, LABEL_BYTES), printable(value, LABEL_BYTES))
}

/// The first few of several things that are wrong.
fn listed(texts: Vec<String>) -> Option<String> {
    let more = texts.len().saturating_sub(SHOWN);
    let shown = texts.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join("; ");
    match (texts.is_empty(), more) {
        (true, _) => None,
        (false, 0) => Some(shown),
        (false, more) => Some(format!("{shown}; +{more} more")),
    }
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::{VERSION, check_labels, wrong_revision, wrong_version};
    use crate::image::{DigestBuf, Platform, TagFacts};
    use crate::policy::{ImageFacts, PlatformFacts};

    const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

    /// A check of a label under a tag without an architecture.
    fn fine(
        check: impl Fn(&str, crate::image::Classes, Option<&str>) -> Option<String>,
        tag: &str,
        label: &str,
    ) -> bool {
        check(tag, TagFacts::of(tag).classes, Some(label)).is_none()
    }

    #[test]
    fn a_commit_tag_begins_the_revision_and_other_tags_need_a_full_one() {
        let longer = format!("{COMMIT}{}", "0".repeat(24));
        let git = format!("git-{COMMIT}");
        for (tag, label) in [
            (&COMMIT[..7], COMMIT),
            (COMMIT, COMMIT),
            (&COMMIT[..7], &longer),
            (&COMMIT[..8], &COMMIT[..8]),
            (&git, COMMIT),
            ("v1.2.3", COMMIT),
            ("", &longer),
        ] {
            assert!(fine(wrong_revision, tag, label), "{tag} {label}");
        }
        for (tag, label) in [
            (&COMMIT[1..8], COMMIT),
            (&COMMIT[..9], &COMMIT[..8]),
            (&COMMIT[..7], &format!("{}-dirty", &COMMIT[..12])),
            (&COMMIT[..7], &COMMIT.to_uppercase()),
            (&git, &longer),
            (&git, &COMMIT[..12]),
            ("v1.2.3", &COMMIT[..12]),
            ("v1.2.3", ""),
            ("", "main"),
            (&COMMIT[..7], ""),
        ] {
            assert!(!fine(wrong_revision, tag, label), "{tag} {label}");
        }
        assert!(wrong_revision("v1.2.3", TagFacts::of("v1.2.3").classes, None).is_some());
    }

    #[test]
    fn a_version_is_that_of_the_tag_and_the_v_does_not_count() {
        for (tag, label) in [
            ("v1.2.3", "v1.2.3"),
            ("v1.2.3", "1.2.3"),
            ("1.2.3", "v1.2.3"),
            ("v1.2.3-rc.1", "1.2.3-rc.1"),
            ("env-prod", "9.9.9"),
            ("", "x"),
        ] {
            assert!(fine(wrong_version, tag, label), "{tag} {label}");
        }
        for (tag, label) in [
            ("v1.2.3", "1.2.4"),
            ("v1.2.3", "vv1.2.3"),
            ("v1.2.3", "1.2.3-rc.1"),
            ("v1.2.3-rc.1", "1.2.3"),
            ("v1.2.3", ""),
            ("env-prod", ""),
        ] {
            assert!(!fine(wrong_version, tag, label), "{tag} {label}");
        }
    }

    #[test]
    fn messages_are_short_and_escaped_whatever_the_image_says() {
        let digest = DigestBuf::parse(&format!("sha256:{}", "a".repeat(64))).unwrap();
        let platform = |number: usize| {
            let platform = Platform::parse(&format!("linux/{}{number}", "x".repeat(60))).unwrap();
            let mut facts = PlatformFacts::silent(platform, digest.clone());
            facts.labels.insert(VERSION.to_owned(), format!("{number}\u{1b}\u{430}\n{}", "y".repeat(5_000)));
            facts
        };
        let image = ImageFacts { platforms: (0..32).map(platform).collect() };
        let found = check_labels(&image, Some("v1.2.3-amd64"), |_| None);
        assert_eq!(found.iter().map(|finding| finding.id.code()).collect::<Vec<_>>(), ["TW400", "TW401", "TW402"]);
        for finding in found {
            let message = &finding.message;
            assert!(message.len() < 1_200 && message.bytes().all(|b| (b' '..=b'~').contains(&b)), "{message}");
        }
    }
}
