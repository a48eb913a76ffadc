//! Whether the images of an object are those of one release: TW300 to TW303.
//!
//! A release is a complete snapshot, so this is the one judgement that looks at several images together: of the releases that
//! govern the namespace, the one is taken that most images fit, and each image is held against that.

use std::borrow::Cow;
use std::sync::Arc;

use super::compile::{Policy, Rule};
use super::examine::{Examination, Open, Subject, Taken};
use super::facts::Tagged;
use super::file::Release as Asks;
use super::judge::{Judge, Violation};
use super::lookups::Want;
use super::plan::Planned;
use super::show::{IMAGE_BYTES, printable};
use super::tags::Tag;
use super::{Age, Budget, Check, Facts, Failure, FindingId, Governed, Mode, Undecided};
use crate::image::{Digest, DigestBuf, Reference};
use crate::release::{Image, Release};

/// How an image stands to one release.
enum Standing<'x> {
    Fits,
    /// Its repository is not in it.
    Absent,
    /// It is there with another tag or digest. What the image is, as far as it is known.
    Differs(Option<DigestBuf>),
    Open(Open<'x>),
}

/// How an image stands to the release that the whole object is held against.
#[derive(Debug)]
pub(super) enum OfRelease {
    Fits,
    /// Which finding, what it says, and what to write instead.
    Violates(FindingId, String, Option<String>),
    Open(Undecided),
}

/// What came of holding an object's images against the releases that govern its namespace.
pub(super) struct Agreement<'x> {
    /// For each image, where a rule asks.
    pub images: Vec<Option<OfRelease>>,
    /// Questions that are still to be answered, by the image's place: those that are judged first, then those beside them.
    pub wants: Vec<(usize, Want<'x>)>,
    /// The place of the release that every image fits, those that are not judged among them; none: there is none.
    pub release: Option<usize>,
}

/// Images on one side of an update, each as it stands to every release.
type Table<'x> = Vec<Option<Vec<Standing<'x>>>>;
/// Why it is not known which release governs.
const LABELS_UNKNOWN: &str = "the namespace's labels, which choose its release, could not be had; try again (on the \
                              command line: --namespace-labels KEY=VALUE)";

impl Governed<'_> {
    /// Why no release governs a namespace; none: one does.
    #[must_use]
    pub fn why_none(self, namespace: Option<&str>) -> Option<String> {
        let why = match self {
            Governed::By(_) => return None,
            Governed::LabelsUnknown => return Some(LABELS_UNKNOWN.to_owned()),
            Governed::Unlabelled(key) => format!(": it does not have the label {}", printable(key, IMAGE_BYTES)),
            Governed::NotLoaded(name) => format!(": {} is not loaded", printable(name, IMAGE_BYTES)),
            Governed::NeverLoaded(why) => format!(": {}", printable(why, 300)),
            Governed::Unconfigured => {
                "; 'releases' of the configuration name none (on the command line: --release FILE, or --config)"
                    .to_owned()
            }
            Governed::Unchosen => "; 'releases' of the configuration name none for it".to_owned(),
        };
        let namespace = printable(namespace.unwrap_or("(cluster)"), IMAGE_BYTES);
        Some(format!("no release governs the namespace {namespace}{why}"))
    }
}

impl<'p> Judge<'p> {
    /// The releases that govern the namespace: the active one first.
    pub fn governing(&self) -> &'p [Arc<Release>] {
        match self.request.governed {
            Governed::By(releases) => releases,
            _ => &[],
        }
    }

    /// What text alone says against an image under a rule that requires a release.
    pub fn against_release(&self, rule: &Rule, tag: &Tag<'_, '_>, name: &str) -> Option<Violation> {
        if rule.release == Asks::Ignore {
            return None;
        }
        let violation = |id, message, use_instead| Violation { id, check: Check::Release, message, use_instead };
        let releases = match self.request.governed {
            Governed::By(releases) => releases,
            Governed::LabelsUnknown => return None,
            other => {
                let why = other.why_none(self.request.namespace).unwrap_or_default();
                return Some(violation(FindingId::Tw302, why, None));
            }
        };
        let standings = || releases.iter().map(|release| by_text(tag.reference, name, release));
        let none_fits = |standing| matches!(standing, Some(Standing::Absent | Standing::Differs(_)));
        let active = releases.first().filter(|_| standings().all(none_fits))?;
        Some(match active.of_repository(name).next() {
            None => violation(FindingId::Tw300, absent(name, active), None),
            Some(image) => {
                let known = tag.reference.digest().map(DigestBuf::from);
                let message = differs(tag.reference, known.as_ref(), image, active);
                violation(FindingId::Tw301, message, instead(tag.reference, image))
            }
        })
    }

    /// Holds all images against the governing releases. `beside`: those that an update leaves as they are. They are not blamed for
    /// anything, and the release is one that they fit, so that what changes must fit it, too; those that fit none are of no account.
    pub fn agreement<'x>(
        &'x self,
        planned: &'x [Planned<'p>],
        beside: &'x [Subject<'p>],
        facts: &'x Facts,
    ) -> Agreement<'x> {
        let mut agreement = Agreement { images: Vec::new(), wants: Vec::new(), release: None };
        if !planned.iter().any(Planned::is_of_a_release) {
            return agreement;
        }
        if matches!(self.request.governed, Governed::LabelsUnknown) {
            let unknown = || OfRelease::Open(Undecided::new(Failure::Unreachable, LABELS_UNKNOWN));
            agreement.images = planned.iter().map(|planned| planned.is_of_a_release().then(unknown)).collect();
            return agreement;
        }
        let releases = self.governing();
        // Mostly all images are, as they are written, those of the active release: then no other comes into question.
        let of_active = |name: &str, reference: &Reference<'_>| {
            let active = releases.first();
            active.is_some_and(|active| matches!(by_text(reference, name, active), Some(Standing::Fits)))
        };
        let asked =
            || planned.iter().filter(|planned| planned.is_of_a_release()).filter_map(|one| one.subject.as_ref());
        if asked().chain(beside).all(|subject| of_active(&subject.name, &subject.reference)) {
            agreement.images =
                planned.iter().map(|planned| planned.is_of_a_release().then_some(OfRelease::Fits)).collect();
            agreement.release = Some(0);
            return agreement;
        }
        let mut standings = |at: usize, subject: &'x Subject<'p>| -> Vec<Standing<'x>> {
            let mut examination = Examination::new(self, subject, facts, Taken::Wants);
            let row = releases.iter().map(|release| examination.standing(release)).collect();
            agreement.wants.extend(examination.wants.into_iter().map(|want| (at, want)));
            row
        };
        let asked = planned.iter().map(|planned| planned.subject.as_ref().filter(|_| planned.is_of_a_release()));
        let table: Table<'x> = asked.enumerate().map(|(at, subject)| Some(standings(at, subject?))).collect();
        let first = planned.len();
        let beside: Table<'x> =
            beside.iter().enumerate().map(|(at, subject)| Some(standings(first + at, subject))).collect();
        let enforced: Vec<bool> =
            planned.iter().map(|planned| self.mode_of_release(planned) == Some(Mode::Enforce)).collect();
        let misfits = |at: usize| {
            let counted = |only: bool| {
                table
                    .iter()
                    .zip(&enforced)
                    .filter(|(row, enforced)| is_misfit(row, at) && (**enforced || !only))
                    .count()
            };
            let beside = beside.iter().filter(|row| is_misfit(row, at) && fits_any(row)).count();
            (beside, counted(true), counted(false))
        };
        // Of several that fit alike the first, which is the active one where it is among them.
        let chosen = (0..releases.len()).min_by_key(|at| misfits(*at)).unwrap_or_default();
        let fits = |row: &Option<Vec<Standing<'_>>>| {
            row.as_ref().is_none_or(|row| matches!(row.get(chosen), Some(Standing::Fits)))
        };
        let all_fit = !releases.is_empty() && table.iter().chain(&beside).all(fits);
        agreement.release = all_fit.then_some(chosen);
        // Where it is not known what stands beside them, it is not known whether they are of one release.
        let open = beside.iter().flatten().find_map(|row| match row.get(chosen) {
            Some(Standing::Open(cause)) => Some(cause.clone().into_owned()),
            _ => None,
        });
        let rows = table.into_iter().zip(planned);
        agreement.images = rows
            .map(|(row, planned)| {
                Some(match (self.of_release(row?, planned, chosen), &open) {
                    (OfRelease::Fits, Some(cause)) => OfRelease::Open(cause.clone()),
                    (standing, _) => standing,
                })
            })
            .collect();
        agreement
    }

    /// The strictest mode in which a rule requires a release of an image.
    pub fn mode_of_release(&self, planned: &Planned<'p>) -> Option<Mode> {
        let demands = planned.subject.iter().flat_map(|subject| &subject.demands).filter(|demand| demand.release);
        let modes = demands.map(|demand| {
            let policy = self.applying[demand.at];
            self.mode(policy, Some((demand.rule, &policy.rules[demand.rule])), Check::Release)
        });
        modes.max()
    }

    /// One image's standing to the chosen release, and where it does not fit, why.
    fn of_release(&self, mut row: Vec<Standing<'_>>, planned: &Planned<'p>, chosen: usize) -> OfRelease {
        let releases = self.governing();
        let (Some(subject), Some(release)) = (&planned.subject, releases.get(chosen)) else {
            // A demand is made only where releases govern.
            return OfRelease::Open(Undecided::new(Failure::Unreachable, "no release was held against it"));
        };
        let fits = row.iter().position(|standing| matches!(standing, Standing::Fits));
        let known = match row.swap_remove(chosen) {
            Standing::Fits => return OfRelease::Fits,
            Standing::Open(cause) => return OfRelease::Open(cause.into_owned()),
            Standing::Absent => None,
            Standing::Differs(known) => known,
        };
        if let Some(other) = fits.and_then(|at| releases.get(at)) {
            let message = format!(
                "{} is of release {}, and the other images of this object are of {}",
                printable(subject.repository(), IMAGE_BYTES),
                shown(other),
                shown(release)
            );
            let use_instead =
                release.of_repository(&subject.name).next().and_then(|image| instead(&subject.reference, image));
            return OfRelease::Violates(FindingId::Tw303, message, use_instead);
        }
        match release.of_repository(&subject.name).next() {
            None => OfRelease::Violates(FindingId::Tw300, absent(&subject.name, release), None),
            Some(image) => {
                let message = differs(&subject.reference, known.as_ref(), image, release);
                OfRelease::Violates(FindingId::Tw301, message, instead(&subject.reference, image))
            }
        }
    }

    /// The image of the active release that a rule lets in, for an image that it does not.
    pub fn of_active_release(&self, policy: &Policy, rule: &Rule, name: &str) -> Option<String> {
        let active = self.governing().first()?;
        active.of_repository(name).find_map(|image| {
            let text = match (&image.tag, &image.digest) {
                (Some(tag), _) => format!("{name}:{tag}"),
                (None, Some(digest)) => format!("{name}@{digest}"),
                (None, None) => return None,
            };
            let reference = Reference::parse(&text).ok()?;
            let facts = reference.tag_facts();
            let mut matched = Vec::new();
            if let Some(tag) = reference.tag() {
                policy.tag_patterns.all_matches(tag, |id| matched.push(id));
            }
            let tag = Tag { reference: &reference, facts: &facts, floating: false, matched: &matched };
            let accepted = tag.violates(policy, rule).is_none();
            accepted.then_some(text)
        })
    }
}

impl<'x> Examination<'x, '_> {
    /// How the image stands to a release; what has to be known for that is wanted.
    fn standing(&mut self, release: &'x Release) -> Standing<'x> {
        if let Some(known) = by_text(&self.subject.reference, &self.subject.name, release) {
            return known;
        }
        let (digest, ground) = match self.target() {
            None => return Standing::Differs(None),
            Some(Ok(target)) => target,
            Some(Err(cause)) => return Standing::Open(cause),
        };
        let mut open = None;
        for image in release.of_repository(&self.subject.name) {
            match (&image.digest, &image.tag) {
                (Some(declared), _) if is_one_of(&digest, declared, image) => return Standing::Fits,
                (Some(_), _) | (None, None) => {}
                // The file is not locked: its tag is what it declares.
                (None, Some(tag)) => match self.declared(tag, &digest) {
                    Ok(true) => return Standing::Fits,
                    Ok(false) => {}
                    Err(cause) => open = Some(cause),
                },
            }
        }
        if let Some(cause) = open {
            return Standing::Open(cause);
        }
        // What disagrees must not rest on an old answer.
        match self.firm(ground) {
            Ok(()) => Standing::Differs(Some(digest)),
            Err(cause) => Standing::Open(cause),
        }
    }

    /// Whether the tag that a release declares has a digest.
    fn declared(&mut self, tag: &'x str, digest: &DigestBuf) -> Result<bool, Open<'x>> {
        let own = self.subject.reference.tag() == Some(tag);
        let want = |age| match own {
            true => Want::Own(age),
            false => Want::Other(Cow::Borrowed(tag), age, Budget::Review),
        };
        match self.facts.tagged(&self.subject.name, tag) {
            Tagged::Unknown => {
                self.wants.push(want(Age::Remembered));
                Err(self.missing())
            }
            Tagged::Failed(failed) => Err(Cow::Borrowed(failed)),
            Tagged::Answer(resolved, _) if resolved.digest == *digest => {
                self.held(tag, resolved);
                Ok(true)
            }
            Tagged::Answer(_, ground) => match ground {
                super::facts::Ground::Firm => Ok(false),
                super::facts::Ground::Ask => {
                    self.wants.push(want(Age::Now));
                    Err(self.missing())
                }
                super::facts::Ground::Failed(failed) => Err(Cow::Borrowed(failed)),
                super::facts::Ground::Old => Err(Cow::Owned(self.too_old())),
            },
        }
    }

    /// Whether a digest is that of an image of a governing release: the index as it is declared, never a child.
    pub(super) fn released(&mut self, digest: &DigestBuf) -> Result<bool, Open<'x>> {
        if matches!(self.judge.request.governed, Governed::LabelsUnknown) {
            return Err(Cow::Owned(Undecided::new(Failure::Unreachable, LABELS_UNKNOWN)));
        }
        let mut open = None;
        let releases: &'x [Arc<Release>] = self.judge.governing();
        for image in releases.iter().flat_map(|release| release.of_repository(&self.subject.name)) {
            match (&image.digest, &image.tag) {
                (Some(declared), _) if declared == digest => return Ok(true),
                (Some(_), _) | (None, None) => {}
                (None, Some(tag)) => match self.declared(tag, digest) {
                    Ok(true) => return Ok(true),
                    Ok(false) => {}
                    Err(cause) => open = Some(cause),
                },
            }
        }
        open.map_or(Ok(false), Err)
    }

    /// Tags that governing releases give to this digest: whoever wrote the release named them.
    pub(super) fn released_tags(&self, digest: &DigestBuf) -> Vec<&'x str> {
        let releases: &'x [Arc<Release>] = self.judge.governing();
        let images = releases.iter().flat_map(|release| release.of_repository(&self.subject.name));
        let may_be = |image: &&Image| image.digest.as_ref().is_none_or(|declared| declared == digest);
        images.filter(may_be).filter_map(|image| image.tag.as_deref()).collect()
    }
}

/// What text alone says of an image and a release; none: a digest has to be known.
fn by_text<'x>(reference: &Reference<'_>, name: &str, release: &Release) -> Option<Standing<'x>> {
    let mut images = release.of_repository(name).peekable();
    if images.peek().is_none() {
        return Some(Standing::Absent);
    }
    let mut all_differ = true;
    for image in images {
        match (reference.digest(), &image.digest) {
            (Some(written), Some(declared)) => {
                if is_one_of(&written, declared, image) {
                    return Some(Standing::Fits);
                }
            }
            // Tag against tag, where nobody wrote a digest: what is not locked declares its tag.
            (None, None) => {
                if reference.tag().is_some() && reference.tag() == image.tag.as_deref() {
                    return Some(Standing::Fits);
                }
            }
            (Some(_), None) | (None, Some(_)) => all_differ = false,
        }
    }
    all_differ.then(|| Standing::Differs(reference.digest().map(DigestBuf::from)))
}

/// Whether a digest is the declared one, or that of one of its platforms.
fn is_one_of<D>(digest: &D, declared: &DigestBuf, image: &Image) -> bool
where
    DigestBuf: PartialEq<D>,
{
    declared == digest || image.platforms.values().any(|child| child == digest)
}

/// Whether an image is not of a release.
fn is_misfit(row: &Option<Vec<Standing<'_>>>, at: usize) -> bool {
    let standing = row.as_ref().and_then(|row| row.get(at));
    matches!(standing, Some(Standing::Absent | Standing::Differs(_)))
}

/// Whether an image is of any release.
fn fits_any(row: &Option<Vec<Standing<'_>>>) -> bool {
    row.iter().flatten().any(|standing| matches!(standing, Standing::Fits))
}

/// `system-2026-01-11-expA`.
fn shown(release: &Release) -> String {
    printable(release.name(), IMAGE_BYTES)
}

/// What is said of a repository that is not there.
fn absent(name: &str, release: &Release) -> String {
    let count = release.images().len();
    let images = if count == 1 { "the one image".to_owned() } else { format!("the {count} images") };
    format!("{} is not among {images} of release {}", printable(name, IMAGE_BYTES), shown(release))
}

/// What is said of an image that is there as another one. `known`: its digest.
fn differs(reference: &Reference<'_>, known: Option<&DigestBuf>, image: &Image, release: &Release) -> String {
    let declared = match (&image.tag, &image.digest) {
        (Some(tag), Some(digest)) => format!("{} at {}", printable(tag, IMAGE_BYTES), digest.short()),
        (Some(tag), None) => printable(tag, IMAGE_BYTES),
        (None, Some(digest)) => digest.short().to_owned(),
        (None, None) => "nothing".to_owned(),
    };
    let name = printable(&image.name, IMAGE_BYTES);
    let has = format!("release {} has {name} as {declared}", shown(release));
    match (reference.tag(), known) {
        (Some(tag), Some(digest)) => {
            let moved = reference.digest().is_none() && image.tag.as_deref() == Some(tag);
            let now = if moved { " now" } else { "" };
            format!("{} is {}{now}; {has}", printable(tag, IMAGE_BYTES), digest.short())
        }
        (Some(tag), None) => format!("the tag is {}; {has}", printable(tag, IMAGE_BYTES)),
        (None, Some(digest)) => format!("the digest is {}; {has}", digest.short()),
        (None, None) => has,
    }
}

/// The image as the release has it; none where it would be refused for what it is: a tag that has moved since.
fn instead(reference: &Reference<'_>, image: &Image) -> Option<String> {
    let same_tag = reference.digest().is_none() && reference.tag().is_some() && reference.tag() == image.tag.as_deref();
    if same_tag {
        return None;
    }
    let tag = image.tag.as_ref().map(|tag| format!(":{tag}")).unwrap_or_default();
    let digest = image.digest.as_ref().map(|digest| format!("@{digest}")).unwrap_or_default();
    Some(format!("{}{tag}{digest}", image.repository))
}

/// What is not known where a digest could not be had.
pub(super) fn unknown(reference: &Reference<'_>) -> String {
    let shown = match (reference.tag(), reference.digest()) {
        (Some(tag), _) => printable(tag, IMAGE_BYTES),
        (None, Some(digest)) => short(digest),
        (None, None) => String::new(),
    };
    format!("whether {shown} is of the release")
}

fn short(digest: Digest<'_>) -> String {
    DigestBuf::from(digest).short().to_owned()
}
