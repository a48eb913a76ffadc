//! One image under one rule, in the light of facts: what is wrong, what could not be decided, what is still to be asked.
//!
//! `missing` and `decide` run the same examination; one takes its wants, the other its findings, so they cannot disagree.
//! What is only said of a finding is made where somebody reads it.

use std::borrow::Cow;

use super::channel::Approval;
use super::compile::{Comparison, Metadata, Policy};
use super::facts::{Ground, Tagged};
use super::file::{ApprovedBy, Pin, Pinned};
use super::judge::{Excusable, Judge, Ruling, Violation};
use super::lookups::{Shelf, Want};
use super::metadata::Seen;
use super::release::{self, OfRelease};
use super::show::{IMAGE_BYTES, printable};
use super::tags::built_in;
use super::{
    Age, Asked, Budget, Check, Facts, Failure, Few, Finding, FindingId, Lookup, Mode, Resolved, Source, Stage,
    Undecided,
};
use crate::image::{Digest, DigestBuf, Reference};

/// An image about which something is to be learned.
#[derive(Clone, Debug)]
pub(super) struct Subject<'p> {
    /// Its canonical registry and repository.
    pub name: Cow<'p, str>,
    pub reference: Reference<'p>,
    pub moving: Moving,
    /// One for each policy whose rule asks for something.
    pub demands: Few<Demand<'p>>,
    shelf: Shelf,
}

/// Whether a tag may move, over all policies that apply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moving {
    /// It is of a class, and of none that floats.
    Never,
    /// It is of no class: remembered as if it floated.
    Unknown,
    /// It is of a floating class.
    Always,
}

/// What one rule wants to know of an image.
#[derive(Clone, Debug)]
pub(super) struct Demand<'p> {
    /// The policy's place among those that apply.
    pub at: usize,
    /// The rule's place in its policy.
    pub rule: usize,
    /// Whether exceptions may let the image in.
    pub excusable: bool,
    /// Whether tag and digest must be compared (TW200).
    pub agrees: bool,
    /// Whether its tag is to be pinned; `none` where it has a digest.
    pub pin: Pin,
    /// With what its digest is compared (TW201).
    pub compare: Option<&'p Comparison>,
    /// Whether it must be in the governing release (TW300 to TW303).
    pub release: bool,
    /// What the image must say of itself (TW400 to TW405).
    pub metadata: Option<&'p Metadata>,
}

impl<'p> Subject<'p> {
    pub fn new(name: Cow<'p, str>, reference: Reference<'p>, moving: Moving, demands: Few<Demand<'p>>) -> Self {
        Subject { name, reference, moving, demands, shelf: Shelf::default() }
    }

    /// The lookup that answers a want.
    pub fn lookup(&self, want: &Want<'_>) -> Lookup<'_> {
        let what = match want {
            Want::Own(age) => Asked::Digest {
                tag: self.reference.tag().unwrap_or_default(),
                floating: self.moving != Moving::Never,
                age: *age,
                budget: Budget::Review,
            },
            Want::Other(tag, age, budget) => {
                Asked::Digest { tag: self.shelf.keep(tag), floating: false, age: *age, budget: *budget }
            }
            Want::Labels(digest) => Asked::Labels { digest: self.shelf.keep(digest) },
            Want::Image(digest) => Asked::Image { digest: self.shelf.keep(digest) },
            Want::Tags => Asked::Tags,
        };
        Lookup { name: &self.name, what }
    }

    /// The registry's host, for texts.
    pub fn host(&self) -> &str {
        self.name.split('/').next().unwrap_or_default()
    }

    /// The repository, for texts.
    pub fn repository(&self) -> &str {
        self.name.split_once('/').map_or("", |(_, repository)| repository)
    }
}

/// Why a question is still open: a failure, or that nobody has answered yet.
pub(super) type Open<'x> = Cow<'x, Undecided>;

/// What is taken of an examination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// What is to be learned: the findings have no texts then.
    Wants,
    /// The findings.
    Findings,
}

/// Examines one image.
pub(super) struct Examination<'x, 'p> {
    taken: Taken,
    pub judge: &'x Judge<'p>,
    pub subject: &'x Subject<'p>,
    pub facts: &'x Facts,
    /// What must be learned before the examination can say more.
    pub wants: Vec<Want<'x>>,
    /// What its author is told although nothing is wrong.
    pub notes: Vec<String>,
}

/// Whether tag and digest agree.
enum Agreement<'x> {
    Yes,
    /// They do not, and a release tag has the digest, where the rule takes that for enough.
    ByRelease,
    No(&'x Resolved),
    Open(Open<'x>),
}

/// A question that stayed open, as a finding, and why.
struct Undecidable<'x, 'p> {
    cause: Open<'x>,
    finding: Finding<'p>,
}

/// What was found under one demand.
struct Outcome<'x, 'p> {
    ruling: Ruling<'p>,
    policy: &'p Policy,
    excusable: Option<Excusable<'x>>,
    findings: Vec<Finding<'p>>,
    open: Vec<Undecidable<'x, 'p>>,
}

impl<'x, 'p> Examination<'x, 'p> {
    pub fn new(judge: &'x Judge<'p>, subject: &'x Subject<'p>, facts: &'x Facts, taken: Taken) -> Self {
        Examination { taken, judge, subject, facts, wants: Vec::new(), notes: Vec::new() }
    }

    /// All that one rule finds. `release`: how the image stands to the release that the object is held against.
    pub fn judge(&mut self, demand: &Demand<'p>, release: Option<&OfRelease>) -> Vec<Finding<'p>> {
        let policy = self.judge.applying[demand.at];
        let image = Excusable { reference: &self.subject.reference, name: &self.subject.name };
        let mut outcome = Outcome {
            ruling: (demand.rule, &policy.rules[demand.rule]),
            policy,
            excusable: demand.excusable.then_some(image),
            findings: Vec::new(),
            open: Vec::new(),
        };
        let by_release = self.digest(demand, &mut outcome);
        if let Some(release) = release.filter(|_| demand.release) {
            self.of_release(release, &mut outcome);
        }
        // Nothing more is asked about an image that is refused.
        let refused = |outcome: &Outcome<'_, '_>| outcome.findings.iter().any(|found| found.mode == Mode::Enforce);
        if let Some(compare) = demand.compare.filter(|_| !by_release && !refused(&outcome)) {
            self.channel(compare, &mut outcome);
        }
        if let Some(metadata) = demand.metadata.filter(|_| !refused(&outcome)) {
            self.metadata(metadata, &mut outcome);
        }
        if demand.agrees || demand.pin != Pin::None {
            self.moved(&mut outcome);
        }
        outcome.findings.extend(outcome.open.into_iter().map(|open| open.finding));
        outcome.findings
    }

    /// Tag and digest (TW200), and the digest that a pin needs (TW121). True: a release tag approves the digest.
    fn digest(&mut self, demand: &Demand<'p>, outcome: &mut Outcome<'x, 'p>) -> bool {
        let Some(tag) = self.subject.reference.tag() else { return false };
        let shown = || printable(tag, IMAGE_BYTES);
        if let Some(written) = self.subject.reference.digest().filter(|_| demand.agrees) {
            match self.agreement(demand, outcome.policy, tag, written) {
                Agreement::Yes => {}
                Agreement::ByRelease => return true,
                Agreement::No(now) => {
                    self.found(outcome, FindingId::Tw200, Check::Digest, || {
                        let message = format!("{} is {}, not {}", shown(), now.digest.short(), written.short());
                        (message, self.pinned(tag, now))
                    });
                }
                Agreement::Open(cause) => {
                    let unknown = || format!("whether {} is {}", shown(), written.short());
                    self.undecided(outcome, Check::Digest, unknown, cause);
                }
            }
        }
        if demand.pin == Pin::None {
            return false;
        }
        match self.own_tag(tag) {
            Tagged::Unknown => {
                let cause = self.missing();
                self.undecided(outcome, Check::Digest, || format!("the digest of {}", shown()), cause);
            }
            Tagged::Failed(failed) => {
                let unknown = || format!("the digest of {}", shown());
                self.undecided(outcome, Check::Digest, unknown, Cow::Borrowed(failed));
            }
            Tagged::Answer(resolved, _) => {
                self.held(tag, resolved);
                let request = &self.judge.request;
                // What is not enforced is judged as if the pin had been written, and so is what is still to be pinned.
                let is_last_word = request.is_pod && request.stage == Stage::Admission;
                let mode = self.judge.mode(outcome.policy, Some(outcome.ruling), Check::Digest);
                if demand.pin == Pin::Required && is_last_word && mode == Mode::Enforce {
                    let rule = outcome.ruling.1;
                    self.found(outcome, FindingId::Tw121, Check::Digest, || {
                        let message =
                            format!("{} stands without a digest, which {} requires of Pods", shown(), rule.shown);
                        (message, self.pinned(tag, resolved))
                    });
                }
            }
        }
        false
    }

    /// Whether the tag has the digest that is written beside it.
    fn agreement(
        &mut self,
        demand: &Demand<'p>,
        policy: &'p Policy,
        tag: &'p str,
        written: Digest<'p>,
    ) -> Agreement<'x> {
        let already = self.wants.len();
        let said = match self.own_tag(tag) {
            Tagged::Unknown => return Agreement::Open(self.missing()),
            Tagged::Answer(resolved, _) if resolved.digest == written => {
                self.held(tag, resolved);
                return Agreement::Yes;
            }
            Tagged::Answer(resolved, ground) => self.firm(ground).map(|()| resolved),
            Tagged::Failed(failed) => Err(Cow::Borrowed(failed)),
        };
        if self.wants.len() > already {
            return Agreement::Open(self.missing());
        }
        if let Some(compare) = demand.compare.filter(|compare| compare.pinned == Pinned::Approved) {
            let digest = DigestBuf::from(written);
            let approval = match compare.approved_by {
                ApprovedBy::Release => self.approval_by_release(&digest, Ground::Firm),
                _ => self.approval(policy, &compare.releases, compare.search, &digest, Ground::Firm),
            };
            match approval {
                Approval::Yes => return Agreement::ByRelease,
                Approval::Open(cause) if said.is_ok() => return Agreement::Open(Cow::Owned(cause.into_owned())),
                Approval::Open(_) | Approval::No => {}
            }
        }
        match said {
            Ok(resolved) => Agreement::No(resolved),
            Err(cause) => Agreement::Open(cause),
        }
    }

    /// Whether it is in the release (TW300 to TW303).
    fn of_release(&self, release: &OfRelease, outcome: &mut Outcome<'x, 'p>) {
        match release {
            OfRelease::Fits => {}
            OfRelease::Violates(id, message, use_instead) => {
                self.found(outcome, *id, Check::Release, || (message.clone(), use_instead.clone()));
            }
            OfRelease::Open(cause) => {
                let unknown = || release::unknown(&self.subject.reference);
                self.undecided(outcome, Check::Release, unknown, Cow::Owned(cause.clone()));
            }
        }
    }

    /// Whether the digest is an approved build (TW201).
    fn channel(&mut self, compare: &'p Comparison, outcome: &mut Outcome<'x, 'p>) {
        let reference = &self.subject.reference;
        let shown = || reference.tag().map(|tag| printable(tag, IMAGE_BYTES));
        let (digest, ground) = match self.target() {
            None => return,
            Some(Ok(target)) => target,
            Some(Err(cause)) => {
                let unknown = || format!("whether {} carries an approved build", self.shown());
                return self.undecided(outcome, Check::Channel, unknown, cause);
            }
        };
        let approval = match compare.approved_by {
            ApprovedBy::Release => self.approval_by_release(&digest, ground),
            _ => self.approval(outcome.policy, &compare.classes, compare.search, &digest, ground),
        };
        match approval {
            Approval::Yes => {}
            Approval::No => {
                let (policy, rule) = (outcome.policy, outcome.ruling.1);
                self.found(outcome, FindingId::Tw201, Check::Channel, || {
                    let nobody = match compare.approved_by {
                        ApprovedBy::Release => "no release that governs the namespace".to_owned(),
                        _ => format!("no {} tag", compare.shown),
                    };
                    let message = match (shown(), reference.digest()) {
                        (Some(tag), None) => format!("{tag} is {}, which {nobody} carries", digest.short()),
                        _ => format!("{nobody} carries {}", digest.short()),
                    };
                    let of_release = self.judge.of_active_release(policy, rule, &self.subject.name);
                    (message, of_release.or_else(|| self.highest_release(policy, compare)))
                });
            }
            Approval::Open(cause) => {
                let what = || shown().unwrap_or_else(|| digest.short().to_owned());
                let unknown = || format!("whether {} carries an approved build", what());
                self.undecided(outcome, Check::Channel, unknown, cause);
            }
        }
    }

    /// Whether a governing release has the digest.
    fn approval_by_release(&mut self, digest: &DigestBuf, ground: Ground<'x>) -> Approval<'x> {
        match self.released(digest) {
            Ok(true) => Approval::Yes,
            Ok(false) => self.firm(ground).map_or_else(Approval::Open, |()| Approval::No),
            Err(cause) => Approval::Open(cause),
        }
    }

    /// Whether the image says of itself what the rule demands (TW400 to TW405).
    fn metadata(&mut self, metadata: &'p Metadata, outcome: &mut Outcome<'x, 'p>) {
        let (digest, ground) = match self.target() {
            None => return,
            Some(Ok(target)) => target,
            Some(Err(cause)) => return self.all_undecided(metadata.checks(), outcome, &cause),
        };
        let image = match self.facts.image(&self.subject.name, digest.as_str()) {
            None => {
                self.wants.push(Want::Image(Cow::Owned(digest.as_str().to_owned())));
                let cause = self.missing();
                return self.all_undecided(metadata.checks(), outcome, &cause);
            }
            Some(Err(cause)) => {
                return self.all_undecided(metadata.checks(), outcome, &Cow::Borrowed(cause));
            }
            Some(Ok(image)) => image,
        };
        let facts = self.subject.reference.tag_facts();
        let seen = Seen {
            image,
            tag: self.subject.reference.tag(),
            suffix: facts.arch,
            classes: built_in(&facts, &outcome.policy.classes),
            rule: &outcome.ruling.1.shown,
            now: self.judge.request.now,
        };
        let found = seen.violations(metadata);
        if found.is_empty() {
            return;
        }
        match self.firm(ground) {
            Ok(()) => found.into_iter().for_each(|one| self.found(outcome, one.id, one.check, || (one.message, None))),
            Err(cause) => self.all_undecided(found.iter().map(|one| one.check), outcome, &cause),
        }
    }

    /// The digest that a node would run, and whether a finding may rest on it: the one that is written, else the tag's.
    pub(super) fn target(&mut self) -> Option<Result<(DigestBuf, Ground<'x>), Open<'x>>> {
        let reference = &self.subject.reference;
        if let Some(written) = reference.digest() {
            return Some(Ok((DigestBuf::from(written), Ground::Firm)));
        }
        let tag = reference.tag()?;
        Some(match self.own_tag(tag) {
            Tagged::Unknown => Err(self.missing()),
            Tagged::Failed(failed) => Err(Cow::Borrowed(failed)),
            Tagged::Answer(resolved, ground) => {
                self.held(tag, resolved);
                Ok((resolved.digest.clone(), ground))
            }
        })
    }

    /// The image for texts: its tag, else its digest.
    fn shown(&self) -> String {
        let reference = &self.subject.reference;
        let digest = || reference.digest().map(|digest| digest.short().to_owned()).unwrap_or_default();
        reference.tag().map_or_else(digest, |tag| printable(tag, IMAGE_BYTES))
    }

    /// Whether a tag that should stay has moved (TW203).
    fn moved(&mut self, outcome: &mut Outcome<'x, 'p>) {
        let Some(tag) = self.subject.reference.tag().filter(|_| self.subject.moving == Moving::Never) else {
            return;
        };
        let Tagged::Answer(resolved, ground) = self.facts.tagged(&self.subject.name, tag) else { return };
        let Some(first) = &resolved.moved_from else { return };
        let shown = || printable(tag, IMAGE_BYTES);
        match self.firm(ground) {
            Ok(()) => self.found(outcome, FindingId::Tw203, Check::Moved, || {
                let (first, now) = (first.short(), resolved.digest.short());
                (format!("{} was {first} when it was first seen, and is {now} now", shown()), None)
            }),
            Err(cause) => {
                self.undecided(outcome, Check::Moved, || format!("whether {} has moved", shown()), cause);
            }
        }
    }

    /// What is known of the image's own tag; what is not is wanted.
    pub(super) fn own_tag(&mut self, tag: &str) -> Tagged<'x> {
        let known = self.facts.tagged(&self.subject.name, tag);
        if matches!(known, Tagged::Unknown) {
            self.wants.push(Want::Own(Age::Remembered));
        }
        known
    }

    /// Whether a finding may rest on what is known of the image's own tag; where the registry can be asked, it is.
    pub(super) fn firm(&mut self, ground: Ground<'x>) -> Result<(), Open<'x>> {
        match ground {
            Ground::Firm => Ok(()),
            Ground::Ask => {
                self.wants.push(Want::Own(Age::Now));
                Err(self.missing())
            }
            Ground::Failed(failed) => Err(Cow::Borrowed(failed)),
            Ground::Old => Err(Cow::Owned(self.too_old())),
        }
    }

    /// What is said of a fact that nobody has asked for yet.
    pub(super) fn missing(&self) -> Open<'x> {
        Cow::Borrowed(self.facts.absent())
    }

    /// What is said where only an old answer is to be had, and a finding would rest on it.
    pub(super) fn too_old(&self) -> Undecided {
        let host = printable(self.subject.host(), IMAGE_BYTES);
        Undecided::new(Failure::Unreachable, format!("{host} does not answer, and its last answer may hold no longer"))
    }

    /// Notes that a verdict rests on the last answer of a registry that fails.
    pub(super) fn held(&mut self, tag: &str, resolved: &Resolved) {
        let Source::Stale(seconds) = resolved.source else { return };
        let note = format!(
            "{} does not answer; its last answer, {} old, holds for {}:{}",
            printable(self.subject.host(), IMAGE_BYTES),
            age(seconds),
            printable(self.subject.repository(), IMAGE_BYTES),
            printable(tag, IMAGE_BYTES)
        );
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }

    /// The image with this digest, where anybody may be told.
    fn pinned(&self, tag: &str, resolved: &Resolved) -> Option<String> {
        resolved.public.then(|| format!("{}:{tag}@{}", self.subject.name, resolved.digest))
    }

    /// Something is wrong; `say` gives the message, and what to write instead.
    fn found(
        &self,
        outcome: &mut Outcome<'x, 'p>,
        id: FindingId,
        check: Check,
        say: impl FnOnce() -> (String, Option<String>),
    ) {
        let (message, use_instead) = match self.taken {
            Taken::Findings => say(),
            // Whether anything more is asked depends on the finding's mode alone.
            Taken::Wants => Default::default(),
        };
        let mode = self.judge.mode(outcome.policy, Some(outcome.ruling), check);
        let violation = Violation { id, check, message, use_instead };
        let rule = Some(outcome.ruling.1);
        outcome.findings.push(self.judge.finding(outcome.policy, rule, mode, violation, outcome.excusable));
    }

    /// What an image says of itself, which stays open for all of these checks.
    fn all_undecided(&self, checks: impl Iterator<Item = Check>, outcome: &mut Outcome<'x, 'p>, cause: &Open<'x>) {
        let unknown = || format!("what {} says of itself", self.shown());
        checks.for_each(|check| self.undecided(outcome, check, unknown, cause.clone()));
    }

    /// A question that stays open; where several checks failed for the same reason, the strictest speaks for all.
    fn undecided(
        &self,
        outcome: &mut Outcome<'x, 'p>,
        check: Check,
        unknown: impl FnOnce() -> String,
        cause: Open<'x>,
    ) {
        if self.taken == Taken::Wants {
            return;
        }
        let unknown = unknown();
        let finding = self.judge.undecided(outcome.policy, outcome.ruling, check, &unknown, &cause, outcome.excusable);
        match outcome.open.iter_mut().find(|known| known.cause == cause) {
            Some(known) if known.finding.mode >= finding.mode => {}
            Some(known) => known.finding = finding,
            None => outcome.open.push(Undecidable { cause, finding }),
        }
    }
}

/// `40 seconds`, `12 minutes`, `3 hours`.
fn age(seconds: u64) -> String {
    let (number, unit) = match seconds {
        0..=119 => (seconds, "second"),
        120..=7_199 => (seconds / 60, "minute"),
        _ => (seconds / 3_600, "hour"),
    };
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {unit}{plural}")
}

#[cfg(test)]
mod tests {
    #[test]
    fn an_age_is_told_in_the_unit_that_fits() {
        let cases = [(0, "0 seconds"), (1, "1 second"), (119, "119 seconds"), (720, "12 minutes"), (7_200, "2 hours")];
        for (seconds, shown) in cases {
            assert_eq!(super::age(seconds), shown);
        }
    }
}
