//! One review on its way: what it is judged under, its steps, and how it is told of.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::time::Instant;

use super::facts;
use super::slot::Slot;
use super::state::{Live, Shared};
use crate::metrics::Review as Reviewed;
use crate::policy::{Decision, ImageUse, Labels, PolicySet, Releases, Request, Seconds, Stage, Verdict, decide};
use crate::review::{About, AdmissionRequest, PodMetadata, Proofs, slot};
use crate::telemetry::{self, Decided};

/// Which of the two paths was called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Endpoint {
    /// Judges.
    Validate,
    /// Pins images, and never denies.
    Mutate,
}

impl Endpoint {
    fn name(self) -> &'static str {
        match self {
            Endpoint::Validate => "validate",
            Endpoint::Mutate => "mutate",
        }
    }
}

/// A review, and what all its steps look at.
#[derive(Clone, Copy)]
pub(super) struct Case<'c> {
    pub shared: &'c Shared,
    pub live: &'c Live,
    /// Which release governs which namespace.
    pub releases: &'c Releases,
    pub request: &'c AdmissionRequest<'c>,
    pub about: &'c About<'c>,
    pub endpoint: Endpoint,
    pub began: Instant,
    pub deadline: Instant,
    /// By the clock of the calendar, for whatever expires.
    pub now: Seconds,
}

impl Case<'_> {
    /// Whether the object is a Pod: the boundary, and all that is ever patched.
    pub fn is_pod(&self) -> bool {
        self.request.group.is_empty() && self.request.kind == "Pod"
    }

    /// What the Pod says around its images; none for anything else, and for what the API server would not write so.
    pub fn pod(&self) -> Option<PodMetadata<'_>> {
        PodMetadata::read(self.request.object.filter(|_| self.is_pod())?.get())
    }

    /// The namespace's labels, where they could make a difference and can be had in time.
    pub async fn labels(&self, policies: &PolicySet) -> Option<Arc<Labels>> {
        let namespace = &*self.request.namespace;
        let needed = || policies.needs_labels(namespace) || self.releases.needs_labels(namespace);
        if namespace.is_empty() || !needed() {
            return None;
        }
        self.shared.namespaces.labels(namespace, self.deadline).await
    }

    /// What is asked of the policies. `beside`: images of the object that are not judged, where a release could govern.
    pub fn question<'q>(&'q self, labels: Option<&'q Labels>, beside: &'q [ImageUse<'q>], stage: Stage) -> Request<'q> {
        let governed = self.releases.govern(self.about.namespace.as_deref(), labels);
        self.about.policy_request(labels, beside, governed, stage, self.now)
    }

    /// Marks the images whose agreement with their tag our own proofs vouch for, and gives these proofs.
    pub fn prove(&self, pod: &PodMetadata<'_>, images: &mut [ImageUse<'_>]) -> BTreeMap<String, String> {
        let mut held = BTreeMap::new();
        let Some(annotation) = pod.pins() else {
            return held;
        };
        let proofs = Proofs::read(annotation);
        self.shared.pins.with(|keys| {
            for image in images {
                let Some(proof) = proofs.of(keys, &self.request.namespace, image, self.now) else { continue };
                image.pin_proven = true;
                held.extend(slot(image.list, image.container).map(|slot| (slot, proof.to_owned())));
            }
        });
        held
    }

    /// Plans, learns what is missing, decides.
    pub async fn judge<'a>(
        &self,
        policies: &'a PolicySet,
        asked: &Request<'a>,
        images: &[ImageUse<'a>],
        slot: &mut Slot<'_>,
    ) -> Verdict<'a> {
        let plan = policies.plan(asked, images);
        let facts = facts::learn(self, &plan, slot).await;
        decide(plan, images, &facts)
    }

    /// Allowed without asking a policy; `reason` is none on `/mutate`, where that is no event.
    pub fn passed(&self, reason: Option<&'static str>) {
        if let Some(reason) = reason {
            self.shared.metrics.passed(reason);
        }
        self.tell(Decision::Allow, reason, None);
    }

    /// Judged, as the last word.
    pub fn judged(&self, verdict: &Verdict<'_>) {
        let metrics = &self.shared.metrics;
        for finding in verdict.findings() {
            metrics.violation(finding.policy, finding.check, finding.mode);
        }
        for image in &verdict.images {
            metrics.image(image.class, image.decision);
        }
        if verdict.policies.is_empty() {
            metrics.uncovered();
        }
        self.tell(verdict.decision, None, Some(verdict));
    }

    /// Judged to be pinned: allowed, whatever the verdict; `/validate` counts what is wrong.
    pub fn pinned(&self, verdict: &Verdict<'_>) {
        self.tell(Decision::Allow, None, Some(verdict));
    }

    fn tell(&self, decision: Decision, reason: Option<&'static str>, verdict: Option<&Verdict<'_>>) {
        let duration = self.began.elapsed();
        self.shared.metrics.reviewed(&Reviewed {
            endpoint: self.endpoint.name(),
            operation: self.request.operation.name(),
            kind: &self.request.kind,
            decision,
            dry_run: self.request.dry_run,
            duration,
        });
        let policy_hash = self.live.policies.as_ref().map(PolicySet::hash).unwrap_or_default();
        let endpoint = self.endpoint.name();
        telemetry::decision(self.request, &Decided { endpoint, decision, reason, verdict, policy_hash, duration });
    }
}
