//! The whole story of a review: from its bytes to the answer's.

use std::panic::{AssertUnwindSafe, catch_unwind};

use futures_util::FutureExt as _;
use tokio::time::Instant;

use super::case::Case;
pub(super) use super::case::Endpoint;
use super::mutate::mutate;
use super::slot::Slot;
use super::state::Shared;
use crate::policy::{Facts, ImageUse, PolicySet, Request, Stage, Verdict, decide, printable};
use crate::review::{
    self, About, AdmissionRequest, Collected, Considered, Outcome, Pass, ReviewError, answer, consider, uid_of,
};

/// Answers a review. An AdmissionReview comes back whatever happens, a panic included. `slot` is given away where the
/// review has to wait for a registry.
///
/// # Errors
/// The bytes are no review.
pub(super) async fn admit(
    shared: &Shared,
    endpoint: Endpoint,
    body: &[u8],
    deadline: Instant,
    slot: &mut Slot<'_>,
) -> Result<Vec<u8>, ReviewError> {
    survive(shared, endpoint, body, story(shared, endpoint, body, deadline, slot)).await
}

/// The story: read it, see whether it is to be judged at all, judge or pin, answer, tell.
async fn story(
    shared: &Shared,
    endpoint: Endpoint,
    body: &[u8],
    deadline: Instant,
    slot: &mut Slot<'_>,
) -> Result<Vec<u8>, ReviewError> {
    let began = Instant::now();
    let live = shared.live.load_full();
    let releases = shared.releases.load_full();
    let request = review::read(body)?;
    let about = About::of(&request);
    let now = super::now();
    let case = Case {
        shared,
        live: &live,
        releases: &releases,
        request: &request,
        about: &about,
        endpoint,
        began,
        deadline,
        now,
    };

    let considered = match live.config.infrastructure_namespaces.contains(&*request.namespace) {
        true => Considered::Pass(Pass::InfrastructureNamespace),
        false => consider(&request, &about, &live.config.workloads, &live.config.exempt_requesters),
    };
    Ok(match endpoint {
        Endpoint::Mutate => mutate(&case, &considered, slot).await,
        Endpoint::Validate => validate(&case, &considered, slot).await,
    })
}

/// The last word: the object as it would be stored is judged by itself, whatever `/mutate` did.
async fn validate(case: &Case<'_>, considered: &Considered<'_>, slot: &mut Slot<'_>) -> Vec<u8> {
    let (live, about) = (case.live, case.about);
    let collected = match considered {
        Considered::Pass(pass) => {
            case.passed(Some(pass.reason()));
            return answer(about, Outcome::Passed(pass), live.policies.as_ref(), &[]);
        }
        Considered::UnknownKind => None,
        Considered::Judge(collected) => Some(collected),
    };
    let Some(policies) = &live.policies else {
        let verdict = Verdict::internal_failure(live.config.settings.max_mode, NO_POLICIES.to_owned());
        case.judged(&verdict);
        return answer(about, Outcome::Judged(&verdict), None, &[]);
    };
    let mut images = collected.map(Collected::images).unwrap_or_default();
    let warnings = collected.map(|collected| collected.warnings.as_slice()).unwrap_or_default();
    let has_digest = |image: &ImageUse<'_>| image.reference.as_ref().is_ok_and(|read| read.digest().is_some());
    if let Some(pod) = images.iter().any(has_digest).then(|| case.pod()).flatten() {
        case.prove(&pod, &mut images);
    }

    let labels = case.labels(policies).await;
    let governed = case.releases.may_govern(&case.request.namespace);
    let beside = collected.filter(|_| governed).map(Collected::beside).unwrap_or_default();
    let asked = case.question(labels.as_deref(), &beside, Stage::Admission);
    let verdict = match collected {
        Some(_) => case.judge(policies, &asked, &images, slot).await,
        None => unknown_kind(policies, &asked, case.request),
    };
    case.judged(&verdict);
    answer(about, Outcome::Judged(&verdict), Some(policies), warnings)
}

/// Said of every request until the first policies have compiled.
const NO_POLICIES: &str = "no policies are in force: those in the files have errors, see the log and /readyz?verbose";

/// The verdict on a kind that nobody told us about; no fact bears on it.
fn unknown_kind<'p>(policies: &'p PolicySet, asked: &Request<'p>, request: &AdmissionRequest<'_>) -> Verdict<'p> {
    // `Rollout.argoproj.io`; in the core group the kind alone.
    let shown = match request.group.is_empty() {
        true => request.kind.clone().into_owned(),
        false => format!("{}.{}", request.kind, request.group),
    };
    decide(policies.plan_unknown_kind(asked, &shown), &[], &Facts::default())
}

/// Runs a story; where it panics, that one request is refused (as far as `maxMode` lets anything be refused), or on
/// `/mutate` left as it is, and the process lives on. Nothing that a story can leave half done is shared: it reads snapshots and adds to counters.
async fn survive(
    shared: &Shared,
    endpoint: Endpoint,
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
    if endpoint == Endpoint::Mutate {
        tracing::error!(uid = %printable(&uid, 128), "pinning failed; the object is left as it is");
        return Ok(answer(&About::uid_only(uid), Outcome::Untouched, None, &[]));
    }
    let live = shared.live.load();
    let message = "tagwarden failed on this request; its log says where".to_owned();
    let verdict = Verdict::internal_failure(live.config.settings.max_mode, message);
    tracing::error!(uid = %printable(&uid, 128), decision = verdict.decision.name(), "judging a review failed");
    Ok(answer(&About::uid_only(uid), Outcome::Judged(&verdict), None, &[]))
}

#[cfg(test)]
mod tests {
    use super::{Endpoint, Instant, ReviewError, Shared, admit, survive};
    use crate::config::Config;
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
        Shared::for_tests(live)
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
        let answer = admit(shared, endpoint, body, deadline, &mut shared.places.take().unwrap()).await.unwrap();
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
            let answer =
                survive(&shared, Endpoint::Validate, &review("shop", "nginx:v1.2.3"), failing()).await.unwrap();
            let answer: Value = serde_json::from_slice(&answer).unwrap();
            assert_eq!(answer["response"]["uid"], "u-1");
            assert_eq!(answer["response"]["allowed"], allowed, "{mode:?}");
            let annotations = answer["response"]["auditAnnotations"].to_string();
            assert!(annotations.contains("TW999"), "{annotations}");
            assert!(shared.metrics.text().unwrap().contains("tagwarden_panics_total 1"));
            let next = response(&shared, Endpoint::Validate, &review("shop", "nginx:v1.2.3")).await;
            assert_eq!(next["allowed"], true, "the next request is judged as ever");

            let answer = survive(&shared, Endpoint::Mutate, &review("shop", "nginx:v1.2.3"), failing()).await.unwrap();
            let answer: Value = serde_json::from_slice(&answer).unwrap();
            assert_eq!(answer["response"], json!({"uid": "u-1", "allowed": true}), "pinning never denies");
        }
    }
}
