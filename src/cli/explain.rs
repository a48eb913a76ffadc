//! `tagwarden explain`: every step from an image reference to its verdict.

mod json;
mod manifest;
mod text;

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;

use super::engine::{Engine, EngineArgs};
use super::facts::Learner;
use super::report::{Format, Located, Subject, owner};
use super::{Exit, Surroundings, written};
use crate::image::{DigestBuf, Reference, ReferenceError, Refusal};
use crate::policy::{
    About, AllowReason, Applied, Decision, Facts, FieldPath, Finding, FindingId, Governed, ImageFacts, ImageUse,
    ImageVerdict, Labels, List, NonCanonicalHost, Pinning, Plan, PolicySet, Reason, Request, Resolved, Settings,
    Undecided, Verdict, decide,
};

/// The arguments of `explain`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    tagwarden explain --offline nginx:latest\n  \
    tagwarden explain --policies policies/starter --namespace shop-prod registry.example.com/acme/api:v1.4.2\n  \
    tagwarden explain --offline --format json ghcr.io/org/app@sha256:...\n  \
    tagwarden explain --policies policies/starter --offline -f deploy/checkout.yaml\n\n\
    Without --policies the reference is parsed, classified, and held against the shapes that are always refused.\n\
    The image is judged as that of a Pod. What only a registry knows is asked of the registries that policies name, at \
    most for 30 s, with the credentials of --config or of `docker login`; --facts says what they would answer; with \
    --offline it stays undecided.\n\n\
    Exit codes: 0 admitted; 1 denied; 2 usage or policy error; 3 could not decide.")]
pub struct ExplainArgs {
    /// The image reference, exactly as it would be written in a manifest
    #[arg(value_name = "IMAGE", required_unless_present = "file")]
    image: Option<String>,
    /// Explain each image of this file of manifests instead; `-` is standard input
    #[arg(short, long, value_name = "FILE", conflicts_with = "image")]
    file: Option<PathBuf>,
    #[command(flatten)]
    engine: EngineArgs,
    /// The output's format
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t)]
    format: Format,
}

/// All steps, for either format.
struct Explanation<'a> {
    /// As written.
    image: &'a str,
    /// As read.
    reference: Result<Reference<'a>, ReferenceError>,
    /// The class shown.
    class: Option<String>,
    /// The trap that the reference is refused as.
    refused: Option<Refusal>,
    /// Where it is judged.
    namespace: &'a str,
    /// The namespace's labels; none: not known.
    labels: Option<Labels>,
    /// Whether the configuration calls the namespace infrastructure: nothing in it is judged.
    infrastructure: bool,
    /// Each policy loaded, in name order; none: no policies were given.
    policies: Option<Vec<Step>>,
    /// Which release governs the namespace, where a rule asks for one.
    release: Option<Governing>,
    /// Findings of no policy.
    findings: Vec<Located>,
    /// What registries (or a file) said, a line each.
    facts: Vec<Fact>,
    /// What images say of themselves, by their digests.
    images: Vec<(String, Result<Arc<ImageFacts>, Undecided>)>,
    /// What is to be known although nothing is wrong.
    notes: Vec<String>,
    /// The image as it would be written into a Pod.
    pinned: Option<Pinned>,
    /// What comes of it.
    decision: Decision,
}

/// Which release governs, or why none does.
struct Governing {
    /// Its name and id.
    release: Option<(String, DigestBuf)>,
    /// By what it governs: `--release` or `configuration`.
    by: &'static str,
    /// Why none does.
    why_none: Option<String>,
}

/// What is known of a tag, or why nothing is.
#[derive(Debug)]
struct Fact {
    /// The tag asked for: the image's own, or one that may carry the same digest.
    tag: String,
    /// Its digest and how that came, or why there is none.
    answer: Result<Resolved, Undecided>,
}

/// An image with its digest.
#[derive(Debug)]
struct Pinned {
    /// In full.
    reference: String,
    /// Whether it would really be written.
    written: Written,
}

/// What would become of a pin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Written {
    /// Admission writes it into Pods.
    Yes,
    /// The check `digest` is not enforced, so it is only told.
    Told,
}

/// What one policy says.
struct Step {
    /// The policy's name.
    name: String,
    /// What it ruled; none: it does not apply to the namespace.
    ruling: Option<Ruling>,
    /// What that rests on.
    reasons: Vec<Reason>,
}

/// A policy's ruling.
struct Ruling {
    /// The rule that decided.
    rule: Option<String>,
    /// What is wrong.
    findings: Vec<Located>,
    /// Why it was let in, if it was.
    allowed: Option<String>,
}

/// Explains, prints, and ends as the decision says.
pub(super) fn run(args: &ExplainArgs, surroundings: &mut Surroundings<'_>) -> anyhow::Result<Exit> {
    let Some(engine) = args.engine.prepare(surroundings)? else { return Ok(Exit::Error) };
    let Some(image) = &args.image else { return manifest::run(args, &engine, surroundings) };
    let explanation = match &engine.policies {
        Some(policies) => by_policies(args, image, policies, &engine, surroundings)?,
        None => by_shape(args, image, &engine.settings),
    };
    let printed = match args.format {
        Format::Plain => text::write(&explanation, surroundings.out),
        Format::Json => json::write(&explanation, surroundings.out),
    };
    written(printed, exit(explanation.decision))
}

fn exit(decision: Decision) -> Exit {
    match decision {
        Decision::Allow | Decision::Audit | Decision::Warn => Exit::Clean,
        Decision::Unresolved => Exit::Undecided,
        Decision::Deny => Exit::Violation,
    }
}

/// Without policies: what the reference is, and whether it is one of the shapes that no default admits.
fn by_shape<'a>(args: &'a ExplainArgs, image: &'a str, settings: &Settings) -> Explanation<'a> {
    let reference = Reference::parse(image);
    let refused = reference.as_ref().ok().and_then(|reference| refused_by_default(reference, settings));
    let denied = reference.is_err() || refused.is_some();
    Explanation {
        image,
        class: reference.as_ref().ok().and_then(built_in_class),
        reference,
        refused,
        namespace: args.engine.namespace(),
        labels: args.engine.labels_of(args.engine.namespace()),
        infrastructure: false,
        policies: None,
        release: None,
        findings: Vec::new(),
        facts: Vec::new(),
        images: Vec::new(),
        notes: Vec::new(),
        pinned: None,
        decision: if denied { Decision::Deny } else { Decision::Allow },
    }
}

/// The first trap that the settings do not relax. A short name is allowed unless a policy says otherwise.
fn refused_by_default(reference: &Reference<'_>, settings: &Settings) -> Option<Refusal> {
    let normalised = settings.non_canonical_host == NonCanonicalHost::Normalise;
    reference.refusals().iter().find(|refusal| match refusal {
        Refusal::ShortName => false,
        Refusal::NonCanonicalHost => !normalised,
        _ => true,
    })
}

fn built_in_class(reference: &Reference<'_>) -> Option<String> {
    reference.tag_facts().classes.iter().next().map(|class| class.name().to_owned())
}

/// With policies: the verdict that admission would reach for a Pod with this image.
fn by_policies<'a>(
    args: &'a ExplainArgs,
    image: &'a str,
    policies: &PolicySet,
    engine: &Engine,
    surroundings: &mut Surroundings<'_>,
) -> anyhow::Result<Explanation<'a>> {
    let namespace = args.engine.namespace();
    let labels = args.engine.labels_of(namespace);
    let learner = Learner::new(&engine.origin, policies);
    let request = Request {
        kind: "Pod",
        namespace: Some(namespace),
        name: "",
        namespace_labels: labels.as_ref(),
        is_pod: true,
        environment: None,
        beside: &[],
        governed: engine.releases.govern(Some(namespace), labels.as_ref()),
        stage: learner.stage(),
        now: surroundings.now,
    };
    let images = [ImageUse {
        list: List::Containers,
        container: None,
        field: FieldPath::Literal("".into()),
        image,
        reference: Reference::parse(image),
        pin_proven: false,
    }];
    let judged = Judged::new(&request, &images, policies, engine, |plan| {
        learner.facts(plan, namespace, "the image", surroundings)
    })?;
    Ok(judged.explain(&images[0], 0, namespace, labels.clone()))
}

/// The verdict on images, and all that is needed to explain it.
struct Judged<'v> {
    policies: &'v PolicySet,
    request: Request<'v>,
    facts: Facts,
    verdict: Verdict<'v>,
    /// Whether the configuration calls the namespace infrastructure: the API server sends no review from there.
    infrastructure: bool,
    /// By what releases govern: `--release` or `configuration`.
    releases_by: &'static str,
}

impl<'v> Judged<'v> {
    fn new(
        request: &Request<'v>,
        images: &[ImageUse<'v>],
        policies: &'v PolicySet,
        engine: &Engine,
        learn: impl FnOnce(&Plan<'_>) -> anyhow::Result<Facts>,
    ) -> anyhow::Result<Self> {
        let releases_by = engine.releases_by;
        let infrastructure = request.namespace.is_some_and(|namespace| engine.infrastructure.contains(namespace));
        if infrastructure {
            let verdict = Verdict { decision: Decision::Allow, ..Verdict::default() };
            let facts = Facts::default();
            return Ok(Judged { policies, request: *request, facts, verdict, infrastructure, releases_by });
        }
        let plan = policies.plan(request, images);
        let facts = learn(&plan)?;
        let verdict = decide(plan, images, &facts);
        Ok(Judged { policies, request: *request, facts, verdict, infrastructure, releases_by })
    }

    /// Which release governs the namespace.
    fn governing(&self) -> Governing {
        let Request { governed, namespace, .. } = self.request;
        let release = match governed {
            Governed::By(releases) => releases.first().map(|first| (first.name().to_owned(), first.id().clone())),
            _ => None,
        };
        Governing { release, by: self.releases_by, why_none: governed.why_none(namespace) }
    }

    /// The steps to the verdict on image number `index`.
    fn explain<'a>(
        &self,
        image_use: &ImageUse<'a>,
        index: usize,
        namespace: &'a str,
        labels: Option<Labels>,
    ) -> Explanation<'a> {
        let Judged { policies, request, facts, verdict, infrastructure, .. } = self;
        let image = verdict.images.get(index);
        let reference = image_use.reference.clone();
        let subject = image.map(|image| Subject { field: None, ..Subject::of(image, facts) });
        let located = |finding: &Finding<'_>| Located {
            finding: finding.into(),
            object: None,
            subject: subject.clone(),
            place: None,
            owner: owner(policies, finding.policy),
            pods: None,
        };
        let applied = image.map_or(&[][..], |image| &image.applied);
        let class = image.and_then(|image| image.class).map(str::to_owned);
        let steps = steps(policies, request, verdict, image, located);
        let asks = steps.iter().flat_map(|step| &step.reasons).any(|reason| reason.about == About::Release);
        Explanation {
            image: image_use.image,
            refused: reference.as_ref().ok().and_then(|reference| refused_by_policy(reference, applied)),
            class: class.or_else(|| reference.as_ref().ok().and_then(built_in_class)),
            facts: reference.as_ref().map(|reference| known(reference, facts)).unwrap_or_default(),
            images: reference.as_ref().map(|reference| images_known(reference, facts)).unwrap_or_default(),
            notes: image.map_or_else(Vec::new, |image| image.notes.clone()),
            pinned: image.and_then(pinned),
            reference,
            namespace,
            labels,
            infrastructure: *infrastructure,
            policies: Some(steps),
            release: asks.then(|| self.governing()),
            findings: verdict.object_findings.iter().map(located).collect(),
            decision: image.map_or(verdict.decision, |image| {
                // What is wrong with the object as a whole is wrong with each of its images.
                let of_object = verdict.object_findings.iter().map(|finding| finding.mode.into());
                of_object.fold(image.decision, Decision::max)
            }),
        }
    }
}

/// Everything that was learned of the image's repository: its own tag first, then the others in their order.
fn known(reference: &Reference<'_>, facts: &Facts) -> Vec<Fact> {
    let name = reference.name();
    let mut known: Vec<_> =
        facts.digests(&name).map(|(tag, answer)| Fact { tag: tag.to_owned(), answer: answer.clone() }).collect();
    known.sort_by(|a, b| {
        let other = |fact: &Fact| Some(fact.tag.as_str()) != reference.tag();
        (other(a), &a.tag).cmp(&(other(b), &b.tag))
    });
    known
}

/// What was learned of the repository's images, in the order of their digests.
fn images_known(reference: &Reference<'_>, facts: &Facts) -> Vec<(String, Result<Arc<ImageFacts>, Undecided>)> {
    let name = reference.name();
    let mut known: Vec<_> = facts.images(&name).map(|(digest, known)| (digest.to_owned(), known.clone())).collect();
    known.sort_by(|a, b| a.0.cmp(&b.0));
    known
}

/// The image with the digest that policies ask for.
fn pinned(image: &ImageVerdict<'_>) -> Option<Pinned> {
    let (digest, written) = match &image.pin {
        Pinning::None => return None,
        Pinning::Write(digest) => (digest, Written::Yes),
        Pinning::Told(digest) => (digest, Written::Told),
    };
    Some(Pinned { reference: format!("{}@{digest}", image.reference?), written })
}

/// The trap that a policy refuses the reference as: the one that its finding names.
fn refused_by_policy(reference: &Reference<'_>, applied: &[Applied<'_>]) -> Option<Refusal> {
    let mut findings = applied.iter().flat_map(|applied| &applied.findings);
    let finding = findings.find(|finding| finding.id == FindingId::Tw101)?;
    let named = reference.refusals().iter().find(|refusal| finding.message.contains(refusal.message()));
    named.or_else(|| reference.refusals().iter().next())
}

/// Every loaded policy, those that do not apply among them.
fn steps(
    policies: &PolicySet,
    request: &Request<'_>,
    verdict: &Verdict<'_>,
    image: Option<&ImageVerdict<'_>>,
    located: impl Fn(&Finding) -> Located,
) -> Vec<Step> {
    let applied = image.map_or(&[][..], |image| &image.applied);
    let step = |name: &str| {
        let ruling = applied.iter().find(|applied| applied.policy == name).map(|applied| Ruling {
            rule: applied.rule.map(str::to_owned),
            findings: applied.findings.iter().map(&located).collect(),
            allowed: applied.allowed.map(reason),
        });
        let applies = verdict.policies.contains(&name);
        let silent = Ruling { rule: None, findings: Vec::new(), allowed: None };
        let release = verdict.release.as_ref().map(|one| one.release);
        let reasons = policies.reasons(name, request, image, release);
        Step { name: name.to_owned(), ruling: applies.then(|| ruling.unwrap_or(silent)), reasons }
    };
    policies.policies().map(|(name, _)| step(name)).collect()
}

/// Why a policy lets an image in.
fn reason(allowed: AllowReason<'_>) -> String {
    match allowed {
        AllowReason::Rule(rule) => format!("by {rule}"),
        AllowReason::Unmatched => "because no rule names it, and unmatched is allow".to_owned(),
        AllowReason::Exception(id) => format!("by exception {id}"),
        AllowReason::NotEnforced(mode) => format!("because its mode is {}", mode.name()),
    }
}
