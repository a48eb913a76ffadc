//! The story of `/mutate`, which never denies: which images of a Pod are written with their digests, and with which.

use std::collections::HashMap;

use super::case::Case;
use super::slot::Slot;
use super::sticky::Key;
use crate::image::{Digest, DigestBuf, Reference};
use crate::policy::{
    Age, Answer, Asked, Budget, Check, Facts, ImageUse, ImageVerdict, List, Mode, Pinning, PolicySet, Request,
    Resolved, Stage, Verdict, decide, printable,
};
use crate::review::{
    self, Annotating, Collected, Considered, Outcome, PodMetadata, PullNames, Rewrite, answer, patch, prove,
    slot as slot_of, with_digest,
};

/// Bytes of a container's name in a warning.
const NAME_BYTES: usize = 63;

/// Answers a review: with a patch where an image of a Pod is to be pinned, untouched in every other case.
pub(super) async fn mutate(case: &Case<'_>, considered: &Considered<'_>, slot: &mut Slot<'_>) -> Vec<u8> {
    if let (Considered::Judge(collected), Some(policies)) = (considered, &case.live.policies)
        && let Some(pod) = case.pod().filter(|pod| pod.may_be_pinned(&case.live.config.mutation_owners))
        && let Some(answer) = pin(case, policies, collected, &pod, slot).await
    {
        return answer;
    }
    case.passed(None);
    answer(case.about, Outcome::Untouched, None, &[])
}

/// Judges the images that have no digest, and writes the digests that were judged. Where a release governs the namespace
/// the other images are looked at too: a release is one for all of them. None where nothing could be written.
async fn pin(
    case: &Case<'_>,
    policies: &PolicySet,
    collected: &Collected<'_>,
    pod: &PodMetadata<'_>,
    slot: &mut Slot<'_>,
) -> Option<Vec<u8>> {
    let mut images = collected.images();
    let governed = case.releases.may_govern(&case.request.namespace);
    if !images.iter().any(is_open) && !governed && pod.release().is_none() {
        return None;
    }
    let proofs = case.prove(pod, &mut images);
    let old = case.request.old_object.and_then(|old| PodMetadata::read(old.get()));
    let labels = case.labels(policies).await;
    let beside = if governed { collected.beside() } else { Vec::new() };
    let asked = case.question(labels.as_deref(), &beside, Stage::Mutation);

    let lost = Lost { policies, asked: &asked, noted: old.as_ref().and_then(noted).unwrap_or_default() };
    let mut rewrites = Vec::new();
    let (mut open, mut others) = (Vec::new(), Vec::new());
    for (image, before) in images.iter().zip(collected.replaced()) {
        match before.filter(|before| is_open(image) && lost.comes_back(image, before)) {
            Some(before) => {
                rewrites.extend(Rewrite::new(image, before.to_owned()));
                others.push(ImageUse { image: before, reference: Reference::parse(before), ..image.clone() });
            }
            None if is_open(image) => open.push(image.clone()),
            None => others.push(image.clone()),
        }
    }
    if !governed {
        others.clear();
    }

    let Judged { rewrites: judged, warnings, release } = judge(case, policies, &asked, pod, &open, &others, slot).await;
    rewrites.extend(judged);

    let slots = collected.slots();
    let annotating = match &*case.request.subresource {
        "" => Annotating::Allowed {
            object: pod,
            old: old.as_ref(),
            slots: &slots,
            proofs: &proofs,
            release: release.as_deref(),
        },
        _ => Annotating::Forbidden,
    };
    let patch = patch(&rewrites, annotating);
    let outcome = patch.as_ref().map_or(Outcome::Untouched, Outcome::Patched);
    Some(answer(case.about, outcome, None, &warnings))
}

/// Whether an image may get a digest: it is readable, has none, and stands in a place of a PodSpec.
fn is_open(image: &ImageUse<'_>) -> bool {
    image.reference.as_ref().is_ok_and(|reference| reference.digest().is_none()) && image.list != List::Configured
}

/// What comes of judging the images without a digest.
struct Judged<'a> {
    /// What is to be written, with its proofs.
    rewrites: Vec<Rewrite<'a>>,
    /// What the requester is told of the others.
    warnings: Vec<String>,
    /// What the annotation says of the release that all images are of, where a rule enforces one.
    release: Option<String>,
}

/// Judges the images without a digest, and with them the `others`, of which nothing is written.
async fn judge<'a>(
    case: &Case<'_>,
    policies: &PolicySet,
    asked: &Request<'_>,
    pod: &PodMetadata<'_>,
    open: &[ImageUse<'a>],
    others: &[ImageUse<'a>],
    slot: &mut Slot<'_>,
) -> Judged<'a> {
    if open.is_empty() && others.is_empty() {
        return Judged { rewrites: Vec::new(), warnings: Vec::new(), release: None };
    }
    let keys = sticky_keys(case, policies, pod, open);
    let held = held(case, &keys, open).await;
    let uses = open.iter().zip(&held).map(|(image, held)| with_held(image, held.as_ref()));
    let uses: Vec<ImageUse<'_>> = uses.chain(others.iter().cloned()).collect();
    let mut verdict = case.judge(policies, asked, &uses, slot).await;
    let hold = holds(&verdict, &held);
    if !hold {
        // What was written an hour ago would not be written now: begin afresh.
        for key in keys.iter().flatten() {
            case.shared.sticky.forget(key).await;
        }
        let uses: Vec<ImageUse<'_>> = open.iter().chain(others).cloned().collect();
        verdict = case.judge(policies, asked, &uses, slot).await;
    }
    case.pinned(&verdict);

    let (mut rewrites, mut warnings) = (Vec::new(), Vec::new());
    for (((image, key), held), judged) in open.iter().zip(&keys).zip(&held).zip(&verdict.images) {
        let text = match (held.as_ref().filter(|_| hold), &judged.pin) {
            (Some(held), _) => Some(held.text.clone()),
            (None, Pinning::Write(digest)) => {
                remember(case, key.as_ref(), digest, &verdict).await;
                Digest::parse(digest.as_str()).ok().and_then(|digest| with_digest(image.image, digest))
            }
            (None, Pinning::None | Pinning::Told(_)) => None,
        };
        match text {
            Some(text) => rewrites.extend(proven(case, image, text)),
            None => warnings.extend(unresolved(judged)),
        }
    }
    // As with digests: what is not enforced writes nothing.
    let of_one = verdict.release.filter(|one| one.mode == Mode::Enforce && verdict.decision.admits());
    let release = of_one.map(|one| format!("{} {}", one.release.name(), one.release.id()));
    warnings.extend(review::warnings(&of_answers(verdict), case.about));
    Judged { rewrites, warnings, release }
}

/// What is to be told of the answers that our pins rest on: that a tag has moved, or that the registry fails and this is
/// what it said last. `/validate` believes our proof and asks no registry again, so it will not come to know.
fn of_answers(mut verdict: Verdict<'_>) -> Verdict<'_> {
    verdict.object_findings.clear();
    verdict.images.retain(|image| matches!(image.pin, Pinning::Write(_)));
    let applied = verdict.images.iter_mut().flat_map(|image| &mut image.applied);
    applied.for_each(|applied| applied.findings.retain(|finding| finding.check == Check::Moved));
    verdict
}

/// An image with its digest, and our proof that the two agreed.
fn proven<'a>(case: &Case<'_>, image: &ImageUse<'a>, text: String) -> Option<Rewrite<'a>> {
    let mut rewrite = Rewrite::new(image, text)?;
    if let (Some(slot), Ok(pinned)) = (&rewrite.slot, Reference::parse(&rewrite.to)) {
        let namespace = &case.request.namespace;
        rewrite.proof = case.shared.pins.with(|keys| prove(keys, namespace, slot, &pinned, case.now));
    }
    Some(rewrite)
}

/// What is said of an image that is left as written because nobody knows its digest, where that matters to anybody.
fn unresolved(judged: &ImageVerdict<'_>) -> Option<String> {
    let finding = judged.findings().find(|finding| finding.is_undecided() && finding.mode > Mode::Audit)?;
    let name = judged.container.map(|name| format!(" \"{}\"", printable(name, NAME_BYTES))).unwrap_or_default();
    let (noun, code) = (judged.list.noun(), finding.id.code());
    Some(format!("{noun}{name}: the digest of its image is not known ({code}); it is left as written, and judged so"))
}

/// An image that had a digest before the update and lost it, which is what `kubectl apply` of a manifest as written does.
struct Lost<'l> {
    policies: &'l PolicySet,
    asked: &'l Request<'l>,
    /// What our annotation in the old object says of its images, as written.
    noted: HashMap<String, String>,
}

impl Lost<'_> {
    /// Whether `before` is this image with a digest, and that digest is to come back: we wrote it, or would write it.
    /// Nothing is looked up, and nothing new can come in this way: what comes back runs already.
    fn comes_back(&self, image: &ImageUse<'_>, before: &str) -> bool {
        let digest = Reference::parse(before).ok().and_then(|reference| reference.digest());
        let Some(digest) = digest.filter(|digest| with_digest(image.image, *digest).as_deref() == Some(before)) else {
            return false;
        };
        let slot = slot_of(image.list, image.container);
        let noted = slot.and_then(|slot| self.noted.get(&slot)).is_some_and(|written| written == image.image);
        noted || self.would_write(image, digest.into())
    }

    /// Whether the policies ask for a pin here, judged as if the registry had just said this digest.
    fn would_write(&self, image: &ImageUse<'_>, digest: DigestBuf) -> bool {
        let Ok(reference) = &image.reference else { return false };
        let Some(tag) = reference.tag() else { return false };
        let name = reference.name();
        let asked = Asked::Digest { tag, floating: false, age: Age::Now, budget: Budget::Review };
        let mut facts = Facts::default();
        facts.learn(&name, &asked, Answer::Digest(Ok(Resolved::now(digest.clone()))));
        let image = std::slice::from_ref(image);
        let verdict = decide(self.policies.plan(self.asked, image), image, &facts);
        verdict.images.first().is_some_and(|judged| judged.pin == Pinning::Write(digest))
    }
}

/// What our annotation says of the images as written.
fn noted(pod: &PodMetadata<'_>) -> Option<HashMap<String, String>> {
    serde_json::from_str(pod.images()?).ok()
}

/// A digest that an image of this controller's Pods was given within the hour.
#[derive(Clone)]
struct Held {
    /// The image with it.
    text: String,
    /// Which policies applied.
    policies: Key,
}

/// For each image, under which key its digest is kept; none for Pods without a controller.
///
/// Owners, like everything in a Pod, are anybody's word. What a forged one can reach is a digest that was judged within
/// the hour for the same namespace, place, image, policies and pull secrets, and it is judged again.
fn sticky_keys(
    case: &Case<'_>,
    policies: &PolicySet,
    pod: &PodMetadata<'_>,
    open: &[ImageUse<'_>],
) -> Vec<Option<Key>> {
    let (Some(uid), Some(object)) = (pod.controller_uid(), case.request.object) else {
        return vec![None; open.len()];
    };
    let pull = PullNames::read(object.get());
    let of = |image: &ImageUse<'_>| {
        let slot = slot_of(image.list, image.container)?;
        let mode = case.live.config.settings.max_mode.name();
        let parts = [uid, &case.request.namespace, &slot, image.image, policies.hash(), mode, &pull.service_account];
        Some(Key::of(parts.into_iter().chain(pull.secrets.iter().map(AsRef::as_ref))))
    };
    open.iter().map(of).collect()
}

async fn held(case: &Case<'_>, keys: &[Option<Key>], open: &[ImageUse<'_>]) -> Vec<Option<Held>> {
    let mut all = Vec::with_capacity(open.len());
    for (key, image) in keys.iter().zip(open) {
        let found = match key {
            Some(key) => case.shared.sticky.find(key, case.now).await,
            None => None,
        };
        all.push(found.and_then(|(digest, policies)| {
            let text = with_digest(image.image, Digest::parse(digest.as_str()).ok()?)?;
            Some(Held { text, policies })
        }));
    }
    all
}

/// The image as it would be written, whose agreement of tag and digest was judged when it was first written.
fn with_held<'h>(image: &ImageUse<'h>, held: Option<&'h Held>) -> ImageUse<'h> {
    match held {
        None => image.clone(),
        Some(Held { text, .. }) => {
            ImageUse { image: text, reference: Reference::parse(text), pin_proven: true, ..image.clone() }
        }
    }
}

/// Whether every digest that was held is still let in, by the policies by which it was.
fn holds(verdict: &Verdict<'_>, held: &[Option<Held>]) -> bool {
    let policies = applying(verdict);
    held.iter().enumerate().filter_map(|(index, held)| Some((index, held.as_ref()?))).all(|(index, held)| {
        held.policies == policies && verdict.images.get(index).is_some_and(|image| image.decision.admits())
    })
}

fn applying(verdict: &Verdict<'_>) -> Key {
    Key::of(verdict.policies.iter().copied())
}

/// Keeps a digest for the controller's next Pods; a dry run leaves nothing behind.
async fn remember(case: &Case<'_>, key: Option<&Key>, digest: &DigestBuf, verdict: &Verdict<'_>) {
    if let Some(key) = key.filter(|_| !case.request.dry_run) {
        case.shared.sticky.keep(*key, digest.clone(), applying(verdict), case.now).await;
    }
}

#[cfg(test)]
mod tests;
