//! The verdict: a plan and the facts for it in, a verdict out; pure and total.

use super::{Decision, Facts, Finding, ImageUse, ImageVerdict, Mode, Plan, Verdict};

/// Judges. `images` are those that the plan was made for. Cannot fail.
///
/// The strictest of all policies holds for an image, the strictest of all images for the request.
#[must_use]
pub fn decide<'a>(plan: Plan<'a>, images: &[ImageUse<'a>], facts: &Facts) -> Verdict<'a> {
    // A lookup that `facts` do not answer would be a finding of its own here. There is none that could be asked.
    debug_assert!(facts.is_empty() && plan.lookups().is_empty());
    let object = strictest(plan.object_findings.iter().map(|finding| finding.mode));
    let judged: Vec<ImageVerdict<'a>> = images
        .iter()
        .zip(plan.images)
        .map(|(image, (class, applied))| ImageVerdict {
            list: image.list,
            container: image.container,
            field: image.field.clone(),
            image: image.image,
            reference: image.reference.as_ref().ok().copied(),
            class,
            decision: applied
                .iter()
                .map(|a| decision_of(a.finding.as_ref(), a.allowed.is_some()))
                .max()
                .unwrap_or(Decision::Allow),
            applied,
        })
        .collect();
    let decision = judged.iter().map(|image| image.decision).chain([object]).max().unwrap_or_default();
    Verdict { decision, policies: plan.policies, object_findings: plan.object_findings, images: judged }
}

/// What one policy's word on one image comes to. Without a reason to allow, it is a denial.
fn decision_of(finding: Option<&Finding<'_>>, allowed: bool) -> Decision {
    match finding {
        Some(finding) if allowed || finding.mode == Mode::Enforce => finding.mode.into(),
        None if allowed => Decision::Allow,
        _ => Decision::Deny,
    }
}

fn strictest(modes: impl Iterator<Item = Mode>) -> Decision {
    modes.max().map_or(Decision::Allow, Decision::from)
}
