//! The review that `hook test` sends, and what its answer has to be.

use std::collections::BTreeMap;
use std::hash::{BuildHasher as _, RandomState};

use serde::Deserialize;
use serde_json::{Value, json};

use crate::policy::Decision;

/// The namespace that the review is about; there is one in every cluster.
const NAMESPACE: &str = "default";
/// An image that nobody has. It is judged, never pulled.
const IMAGE: &str = "registry.example.com/tagwarden/helm-test:v1.0.0";
const VERSION: &str = "admission.k8s.io/v1";
const KIND: &str = "AdmissionReview";
const DECISIONS: [Decision; 5] =
    [Decision::Allow, Decision::Audit, Decision::Warn, Decision::Unresolved, Decision::Deny];

/// What a review was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Judgement {
    /// What was decided.
    pub decision: Decision,
    /// Of the policies that judged; none where none are in force.
    pub policy_hash: Option<String>,
}

/// Something that no other review is called.
pub(super) fn uid() -> String {
    let [a, b] = [0, 1].map(|salt: u8| RandomState::new().hash_one(salt));
    // A random UUID: RFC 9562, 5.4.
    let (third, fourth) = (a & 0xfff, b >> 48 & 0x3fff | 0x8000);
    format!("{:08x}-{:04x}-4{third:03x}-{fourth:04x}-{:012x}", a >> 32, a >> 16 & 0xffff, b & 0xffff_ffff_ffff)
}

/// The creation of a Pod, as the API server asks about it in a dry run.
pub(super) fn review(uid: &str) -> Value {
    let kind = json!({"group": "", "version": "v1", "kind": "Pod"});
    let resource = json!({"group": "", "version": "v1", "resource": "pods"});
    json!({
        "apiVersion": VERSION,
        "kind": KIND,
        "request": {
            "uid": uid,
            "kind": kind,
            "resource": resource,
            "requestKind": kind,
            "requestResource": resource,
            "name": "tagwarden-helm-test",
            "namespace": NAMESPACE,
            "operation": "CREATE",
            "userInfo": {"username": "tagwarden:hook:test", "groups": ["system:authenticated"]},
            "object": {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": "tagwarden-helm-test", "namespace": NAMESPACE},
                "spec": {"containers": [{"name": "main", "image": IMAGE}]},
            },
            "oldObject": null,
            "dryRun": true,
            "options": {"apiVersion": "meta.k8s.io/v1", "kind": "CreateOptions", "dryRun": ["All"]},
        },
    })
}

/// Reads the answer to the review with this uid, no more kindly than the API server does.
///
/// # Errors
/// Half a sentence: what is wrong with it.
pub(super) fn read(body: &[u8], uid: &str) -> Result<Judgement, String> {
    let answer: Answer =
        serde_json::from_slice(body).map_err(|error| format!("the answer is no AdmissionReview: {error}"))?;
    if (answer.api_version.as_str(), answer.kind.as_str()) != (VERSION, KIND) {
        return Err(format!("the answer is a {} of {}, not an {KIND} of {VERSION}", answer.kind, answer.api_version));
    }
    let response = answer.response;
    if response.uid != uid {
        return Err(format!("the answer is to the review '{}', asked was '{uid}'", response.uid));
    }
    let mut annotations = response.audit_annotations;
    let name = annotations.remove("decision").ok_or("the answer does not tell its decision")?;
    let decision = DECISIONS.into_iter().find(|decision| decision.name() == name);
    let decision = decision.ok_or_else(|| format!("the answer's decision is '{name}', which is none"))?;
    if response.allowed != decision.admits() {
        let allowed = response.allowed;
        return Err(format!("the answer contradicts itself: its decision is '{name}', and 'allowed' is {allowed}"));
    }
    Ok(Judgement { decision, policy_hash: annotations.remove("policy-hash") })
}

#[derive(Deserialize)]
struct Answer {
    #[serde(rename = "apiVersion")]
    api_version: String,
    kind: String,
    response: Response,
}

#[derive(Deserialize)]
struct Response {
    uid: String,
    allowed: bool,
    #[serde(rename = "auditAnnotations", default)]
    audit_annotations: BTreeMap<String, String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(change: impl FnOnce(&mut Value)) -> Result<Judgement, String> {
        let mut answer = json!({
            "apiVersion": VERSION, "kind": KIND,
            "response": {
                "uid": "u", "allowed": true,
                "auditAnnotations": {"decision": "allow", "policy-hash": "0123456789abcdef", "policies": "basic"},
            },
        });
        change(&mut answer);
        read(answer.to_string().as_bytes(), "u")
    }

    #[test]
    fn an_answer_tells_its_decision_and_by_which_policies() {
        let judgement = answer(|_| {}).unwrap();
        assert_eq!(
            judgement,
            Judgement { decision: Decision::Allow, policy_hash: Some("0123456789abcdef".to_owned()) }
        );
        let denied = answer(|answer| {
            answer["response"] = json!({"uid": "u", "allowed": false, "auditAnnotations": {"decision": "deny"}});
        });
        assert_eq!(denied, Ok(Judgement { decision: Decision::Deny, policy_hash: None }));
    }

    #[test]
    fn what_the_api_server_would_not_take_is_no_answer() {
        let changed = |pointer: &str, value: Value| {
            let changed = answer(|answer| *answer.pointer_mut(pointer).unwrap() = value);
            changed.unwrap_err()
        };
        assert!(
            changed("/apiVersion", json!("admission.k8s.io/v1beta1")).contains("of admission.k8s.io/v1beta1, not an")
        );
        assert!(changed("/kind", json!("Status")).contains("is a Status"));
        assert_eq!(changed("/response/uid", json!("v")), "the answer is to the review 'v', asked was 'u'");
        assert!(changed("/response/allowed", json!(false)).contains("contradicts itself"));
        assert!(changed("/response/allowed", json!("yes")).contains("no AdmissionReview"));
        assert!(changed("/response/auditAnnotations", json!({})).contains("does not tell its decision"));
        assert!(changed("/response/auditAnnotations/decision", json!("maybe")).contains("which is none"));
        assert!(read(b"<html>", "u").unwrap_err().contains("no AdmissionReview"));
    }

    #[test]
    fn an_undecided_review_is_not_allowed() {
        for (decision, allowed) in [("audit", true), ("warn", true), ("unresolved", false), ("deny", false)] {
            let with = |allowed: bool| {
                answer(|answer| {
                    answer["response"]["auditAnnotations"]["decision"] = json!(decision);
                    answer["response"]["allowed"] = json!(allowed);
                })
            };
            assert!(with(allowed).is_ok() && with(!allowed).is_err(), "{decision}");
        }
    }

    #[test]
    fn a_uid_is_a_random_uuid_and_the_review_one_that_we_read() {
        let (one, other) = (uid(), uid());
        assert_ne!(one, other);
        let parts: Vec<_> = one.split('-').map(str::len).collect();
        assert_eq!(parts, [8, 4, 4, 4, 12], "{one}");
        assert!(one[14..].starts_with('4') && one[19..].starts_with(['8', '9', 'a', 'b']), "{one}");
        let text = review(&one).to_string();
        let request = crate::review::read(text.as_bytes()).unwrap();
        assert_eq!((request.uid.as_ref(), request.dry_run), (one.as_str(), true));
    }
}
