//! The whole story of a review: from its bytes to the answer's, in one function.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use futures_util::FutureExt as _;
use tokio::time::Instant;

use super::state::{Live, Shared};
use crate::metrics::Review as Reviewed;
use crate::policy::{Decision, Facts, Labels, PolicySet, Verdict, decide, printable};
use crate::review::{
    self, About, AdmissionRequest, Collected, Considered, Outcome, Pass, ReviewError, answer, consider, uid_of,
};
use crate::telemetry::{self, Decided};

/// Which of the two paths was called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Endpoint {
    /// Judges.
    Validate,
    /// Will pin images; until then it changes nothing.
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

/// Answers a review. An AdmissionReview comes back whatever happens, a panic included.
///
/// # Errors
/// The bytes are no review.
pub(super) async fn admit(
    shared: &Shared,
    endpoint: Endpoint,
    body: &[u8],
    deadline: Instant,
) -> Result<Vec<u8>, ReviewError> {
    survive(shared, body, story(shared, endpoint, body, deadline)).await
}

/// The story: read it, see whether it is to be judged at all, learn what the policies ask for, judge, answer, tell.
async fn story(shared: &Shared, endpoint: Endpoint, body: &[u8], deadline: Instant) -> Result<Vec<u8>, ReviewError> {
    let began = Instant::now();
    let live = shared.live.load_full();
    let request = review::read(body)?;
    let about = About::of(&request);
    let teller = Teller { shared, live: &live, request: &request, endpoint, began };

    if endpoint == Endpoint::Mutate {
        teller.passed(None);
        return Ok(answer(&about, Outcome::Untouched, None, &[]));
    }
    if live.config.infrastructure_namespaces.contains(&*request.namespace) {
        let pass = Pass::InfrastructureNamespace;
        teller.passed(Some(pass.reason()));
        return Ok(answer(&about, Outcome::Passed(&pass), live.policies.as_ref(), &[]));
    }
    let considered = consider(&request, &about, &live.config.workloads, &live.config.exempt_requesters);
    let collected = match &considered {
        Considered::Pass(pass) => {
            teller.passed(Some(pass.reason()));
            return Ok(answer(&about, Outcome::Passed(pass), live.policies.as_ref(), &[]));
        }
        Considered::UnknownKind => None,
        Considered::Judge(collected) => Some(collected),
    };
    let Some(policies) = &live.policies else {
        let verdict = Verdict::internal_failure(live.config.settings.max_mode, NO_POLICIES.to_owned());
        teller.judged(&verdict);
        return Ok(answer(&about, Outcome::Judged(&verdict), None, &[]));
    };
    let images = collected.map(Collected::images).unwrap_or_default();
    let warnings = collected.map(|collected| collected.warnings.as_slice()).unwrap_or_default();

    let labels = labels(shared, policies, &request, deadline).await;
    let asked = about.policy_request(labels.as_deref(), super::now());
    let plan = match collected {
        Some(_) => policies.plan(&asked, &images),
        None => policies.plan_unknown_kind(&asked, &qualified_kind(&request)),
    };
    // No rule of this build asks for a fact. Those that will are answered here, under `deadline`.
    let facts = Facts::default();
    let verdict = decide(plan, &images, &facts);
    teller.judged(&verdict);
    Ok(answer(&about, Outcome::Judged(&verdict), Some(policies), warnings))
}

/// Said of every request until the first policies have compiled.
const NO_POLICIES: &str = "no policies are in force: those in the files have errors, see the log and /readyz?verbose";

/// The namespace's labels, where they could make a difference and can be had in time.
async fn labels(
    shared: &Shared,
    policies: &PolicySet,
    request: &AdmissionRequest<'_>,
    deadline: Instant,
) -> Option<Arc<Labels>> {
    if request.namespace.is_empty() || !policies.needs_labels(&request.namespace) {
        return None;
    }
    shared.namespaces.labels(&request.namespace, deadline).await
}

/// `Rollout.argoproj.io`; in the core group the kind alone.
fn qualified_kind(request: &AdmissionRequest<'_>) -> String {
    if request.group.is_empty() {
        return request.kind.clone().into_owned();
    }
    format!("{}.{}", request.kind, request.group)
}

/// Tells of a decision in the log and the metrics.
struct Teller<'a> {
    shared: &'a Shared,
    live: &'a Live,
    request: &'a AdmissionRequest<'a>,
    endpoint: Endpoint,
    began: Instant,
}

impl Teller<'_> {
    /// Allowed without asking a policy; `reason` is none on `/mutate`, where none is ever asked.
    fn passed(&self, reason: Option<&'static str>) {
        if let Some(reason) = reason {
            self.shared.metrics.passed(reason);
        }
        self.tell(Decision::Allow, reason, None);
    }

    fn judged(&self, verdict: &Verdict<'_>) {
        let metrics = &self.shared.metrics;
        for finding in verdict.findings() {
            metrics.violation(finding.policy, finding.id.check(), finding.mode);
        }
        for image in &verdict.images {
            metrics.image(image.class, image.decision);
        }
        if verdict.policies.is_empty() {
            metrics.uncovered();
        }
        self.tell(verdict.decision, None, Some(verdict));
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

/// Runs a story; where it panics, that one request is refused (as far as `maxMode` lets anything be refused) and the
/// process lives on. Nothing that a story can leave half done is shared: it reads snapshots and adds to counters.
async fn survive(
    shared: &Shared,
    body: &[u8],
    story: impl Future<Output = Result<Vec<u8>, ReviewError>>,
) -> Result<Vec<u8>, ReviewError> {
    if let Ok(told) = AssertUnwindSafe(story).catch_unwind().await {
        return told;
    }
    shared.metrics.panicked();
    // Whatever tripped the story may trip this as well.
    let uid = catch_unwind(|| uid_of(body)).ok().flatten();
    let Some(uid) = uid else {
        return Err(ReviewError("tagwarden failed on this review, and found no uid to answer to".to_owned()));
    };
    let live = shared.live.load();
    let message = "tagwarden failed on this request; its log says where".to_owned();
    let verdict = Verdict::internal_failure(live.config.settings.max_mode, message);
    tracing::error!(uid = %printable(&uid, 128), decision = verdict.decision.name(), "judging a review failed");
    Ok(answer(&About::uid_only(uid), Outcome::Judged(&verdict), None, &[]))
}

#[cfg(test)]
mod tests {
    use super::{Endpoint, Instant, ReviewError, Shared, admit, survive};
    use crate::cluster::Namespaces;
    use crate::config::Config;
    use crate::metrics::Metrics;
    use crate::policy::{Mode, PolicySet};
    use crate::server::state::Live;
    use serde_json::{Value, json};
    use std::sync::Arc;
    use std::time::Duration;

    const POLICY: &str = "
apiVersion: tagwarden.dev/v1
kind: ImagePolicy
metadata: {name: p}
spec: {mode: enforce, rules: [{images: [\"**\"], tags: [release]}]}
";

    fn shared(max_mode: Mode) -> Shared {
        let mut config = Config::default();
        config.settings.max_mode = max_mode;
        config.infrastructure_namespaces.insert("cilium".to_owned());
        let policies = PolicySet::compile(&[("p.yaml", POLICY)], config.settings.clone()).unwrap();
        let live = Live { config, policies: Some(policies) };
        Shared::new(live, Namespaces::unknown(), Arc::new(Metrics::new().unwrap()))
    }

    fn review(namespace: &str, image: &str) -> Vec<u8> {
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"},
            "spec": {"containers": [{"name": "c", "image": image}]}});
        let review = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
            "uid": "u-1", "kind": {"group": "", "version": "v1", "kind": "Pod"},
            "resource": {"group": "", "version": "v1", "resource": "pods"},
            "name": "x", "namespace": namespace, "operation": "CREATE",
            "userInfo": {"username": "alice"}, "object": pod, "oldObject": null, "dryRun": false}});
        serde_json::to_vec(&review).unwrap()
    }

    async fn response(shared: &Shared, endpoint: Endpoint, body: &[u8]) -> Value {
        let deadline = Instant::now() + Duration::from_secs(5);
        let answer = admit(shared, endpoint, body, deadline).await.unwrap();
        let answer: Value = serde_json::from_slice(&answer).unwrap();
        assert_eq!(answer["response"]["uid"], "u-1");
        answer["response"].clone()
    }

    #[tokio::test]
    async fn images_are_judged_by_the_policies() {
        let shared = shared(Mode::Enforce);
        let denied = response(&shared, Endpoint::Validate, &review("shop", "nginx:latest")).await;
        assert_eq!((&denied["allowed"], &denied["status"]["code"]), (&json!(false), &json!(403)));
        let allowed = response(&shared, Endpoint::Validate, &review("shop", "nginx:v1.2.3")).await;
        assert_eq!(allowed["allowed"], true);
        let counted = shared.metrics.text().unwrap();
        assert!(
            counted.contains(r#"tagwarden_violations_total{check="tags",mode="enforce",policy="p"} 1"#),
            "{counted}"
        );
    }

    #[tokio::test]
    async fn mutate_allows_and_changes_nothing() {
        let answer = response(&shared(Mode::Enforce), Endpoint::Mutate, &review("shop", "nginx:latest")).await;
        assert_eq!(answer["allowed"], true);
        assert!(answer.get("patch").is_none() && answer.get("patchType").is_none());
    }

    #[tokio::test]
    async fn infrastructure_namespaces_are_never_judged() {
        let shared = shared(Mode::Enforce);
        assert_eq!(response(&shared, Endpoint::Validate, &review("cilium", "nginx:latest")).await["allowed"], true);
        let counted = shared.metrics.text().unwrap();
        assert!(counted.contains(r#"tagwarden_unjudged_requests_total{reason="infrastructure-namespace"} 1"#));
    }

    /// Row 56: no policies is not "allow all".
    #[tokio::test]
    async fn row_56_without_policies_in_force_nothing_is_let_in() {
        let shared = shared(Mode::Enforce);
        shared.live.store(Arc::new(Live { config: Config::default(), policies: None }));
        let denied = response(&shared, Endpoint::Validate, &review("shop", "nginx:v1.2.3")).await;
        assert_eq!(denied["allowed"], false);
        assert!(denied["status"]["message"].as_str().unwrap().contains("TW999"), "{denied}");
    }

    /// Row 1: the uid is echoed even where we failed ourselves; the failure counts under `maxMode`.
    #[tokio::test]
    async fn row_01_a_panic_refuses_that_one_request_under_max_mode() {
        async fn failing() -> Result<Vec<u8>, ReviewError> {
            panic!("on demand")
        }
        for (mode, allowed) in [(Mode::Enforce, false), (Mode::Warn, true), (Mode::Audit, true)] {
            let shared = shared(mode);
            let answer = survive(&shared, &review("shop", "nginx:v1.2.3"), failing()).await.unwrap();
            let answer: Value = serde_json::from_slice(&answer).unwrap();
            assert_eq!(answer["response"]["uid"], "u-1");
            assert_eq!(answer["response"]["allowed"], allowed, "{mode:?}");
            let annotations = answer["response"]["auditAnnotations"].to_string();
            assert!(annotations.contains("TW999"), "{annotations}");
            assert!(shared.metrics.text().unwrap().contains("tagwarden_panics_total 1"));
            let next = response(&shared, Endpoint::Validate, &review("shop", "nginx:v1.2.3")).await;
            assert_eq!(next["allowed"], true, "the next request is judged as ever");
        }
    }
}
