//! The verdict: a plan and the facts for it in, a verdict out; pure and total.

use super::examine::{Examination, Subject, Taken};
use super::facts::Tagged;
use super::file::Pin;
use super::judge::{Judge, allowed};
use super::plan::Planned;
use super::release::OfRelease;
use super::{
    AllowReason, Applied, Check, Decision, Facts, Finding, ImageUse, ImageVerdict, Mode, OneRelease, Pinning, Plan,
    Stage, Verdict,
};

/// Judges. `images` are those that the plan was made for. Cannot fail: a fact that is not there is itself a finding.
///
/// The strictest of all policies holds for an image, the strictest of all images for the request.
#[must_use]
pub fn decide<'a>(plan: Plan<'a>, images: &[ImageUse<'a>], facts: &Facts) -> Verdict<'a> {
    let Plan { judge, object_findings, images: planned, beside } = plan;
    let object = strictest(object_findings.iter().map(|finding| finding.mode));
    let agreement = judge.agreement(&planned, &beside, facts);
    let (standings, chosen) = (agreement.images, agreement.release);
    let mode = planned.iter().filter_map(|planned| judge.mode_of_release(planned)).max();
    let mut standings = standings.into_iter();
    let judged: Vec<ImageVerdict<'a>> = images
        .iter()
        .zip(planned)
        .map(|(image, planned)| judge.verdict(image, planned, standings.next().flatten().as_ref(), facts))
        .collect();
    let decision = judged.iter().map(|image| image.decision).chain([object]).max().unwrap_or_default();
    let policies = judge.applying.iter().map(|policy| policy.name.as_str()).collect();
    let is_of_one = || judged.iter().flat_map(ImageVerdict::findings).all(|finding| finding.check != Check::Release);
    let chosen = chosen.and_then(|at| judge.governing().get(at)).filter(|_| is_of_one());
    let release = chosen.zip(mode).map(|(release, mode)| OneRelease { release, mode });
    Verdict { decision, policies, object_findings, images: judged, release }
}

impl<'a> Judge<'a> {
    fn verdict(
        &self,
        image: &ImageUse<'a>,
        planned: Planned<'a>,
        release: Option<&OfRelease>,
        facts: &Facts,
    ) -> ImageVerdict<'a> {
        let Planned { class, mut applied, subject } = planned;
        let notes =
            subject.as_ref().map(|subject| self.examine(subject, release, facts, &mut applied)).unwrap_or_default();
        let of = |one: &Applied<'_>| decision_of(&one.findings, one.allowed.is_some());
        let decision = applied.iter().map(of).max().unwrap_or(Decision::Allow);
        let pin = subject.map_or(Pinning::None, |subject| self.pinning(&subject, facts, decision));
        ImageVerdict {
            list: image.list,
            container: image.container,
            field: image.field.clone(),
            image: image.image,
            reference: image.reference.as_ref().ok().copied(),
            class,
            decision,
            applied,
            pin,
            notes,
        }
    }

    /// Adds what facts say to what text said. Hands back what is to be told although nothing is wrong.
    fn examine(
        &self,
        subject: &Subject<'a>,
        release: Option<&OfRelease>,
        facts: &Facts,
        applied: &mut [Applied<'a>],
    ) -> Vec<String> {
        let mut examination = Examination::new(self, subject, facts, Taken::Findings);
        for demand in &subject.demands {
            let found = examination.judge(demand, release);
            if let Some(applied) = applied.get_mut(demand.at).filter(|_| !found.is_empty()) {
                applied.findings.extend(found);
                applied.allowed = allowed(&applied.findings, applied.rule.map(AllowReason::Rule));
            }
        }
        examination.notes
    }

    /// What becomes of a Pod's image without a digest, where a rule asks for a pin and no policy refuses the image.
    fn pinning(&self, subject: &Subject<'a>, facts: &Facts, decision: Decision) -> Pinning {
        let asks = subject.demands.iter().filter(|demand| demand.pin != Pin::None);
        let writes = asks
            .map(|demand| {
                let policy = self.applying[demand.at];
                self.mode(policy, Some((demand.rule, &policy.rules[demand.rule])), Check::Digest)
            })
            .max();
        let is_pinned = self.request.is_pod && matches!(self.request.stage, Stage::Mutation | Stage::Command);
        let (Some(mode), Some(tag), true, true) = (writes, subject.reference.tag(), is_pinned, decision.admits())
        else {
            return Pinning::None;
        };
        match (facts.tagged(&subject.name, tag), mode) {
            (Tagged::Answer(resolved, _), Mode::Enforce) => Pinning::Write(resolved.digest.clone()),
            (Tagged::Answer(resolved, _), _) => Pinning::Told(resolved.digest.clone()),
            _ => Pinning::None,
        }
    }
}

/// What one policy's word on one image comes to. Without a reason to allow, it is a denial.
fn decision_of(findings: &[Finding<'_>], allowed: bool) -> Decision {
    let found = findings.iter().map(|finding| match finding.mode {
        Mode::Enforce if finding.is_undecided() => Decision::Unresolved,
        mode => mode.into(),
    });
    match found.max() {
        Some(decision) if allowed || !decision.admits() => decision,
        None if allowed => Decision::Allow,
        _ => Decision::Deny,
    }
}

fn strictest(modes: impl Iterator<Item = Mode>) -> Decision {
    modes.max().map_or(Decision::Allow, Decision::from)
}
