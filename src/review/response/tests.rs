//! Tests of the answer.

use super::{Outcome, answer, audit_annotations};
use crate::image::{DigestBuf, Reference};
use crate::policy::{
    Answer, Decision, Facts, Few, FieldPath, ImageVerdict, List, Mode, Pinning, PolicySet, Resolved, Settings, Verdict,
    decide, gather,
};
use crate::review::testing::{container, pod, review};
use crate::review::{About, Considered, ExemptRequesters, Pass, Workloads, consider, read};
use proptest::prelude::*;
use serde_json::{Value, json};

const POLICY: &str = r##"
apiVersion: tagwarden.dev/v1
kind: ImagePolicy
metadata: {name: acme-images}
spec:
  mode: enforce
  owner: {contact: "#platform-security", docs: "https://wiki.example.com/images"}
  rules:
    - {name: first-party, images: ["registry.example.com/acme/**"], tags: [release]}
    - {name: vendor, images: ["registry.example.com/mirror/**"], tags: [release], mode: warn}
"##;

fn policies() -> PolicySet {
    PolicySet::compile(&[("policy.yaml", POLICY)], Settings::default()).unwrap()
}

/// What every tag is at the only registry there is.
fn digest() -> DigestBuf {
    DigestBuf::parse(&format!("sha256:{}", "ab".repeat(32))).unwrap()
}

/// The whole way of a review, as the server goes it.
fn answered(review: &Value) -> Value {
    let policies = policies();
    let body = review.to_string();
    let request = read(body.as_bytes()).unwrap();
    let about = About::of(&request);
    let question =
        about.policy_request(None, &[], crate::policy::Governed::default(), crate::policy::Stage::Admission, 0);
    let answer = match consider(&request, &about, &Workloads::default(), &ExemptRequesters::default()) {
        Considered::Pass(pass) => answer(&about, Outcome::Passed(&pass), Some(&policies), &[]),
        Considered::UnknownKind => {
            let verdict = decide(policies.plan_unknown_kind(&question, &about.shown_kind()), &[], &Facts::default());
            answer(&about, Outcome::Judged(&verdict), Some(&policies), &[])
        }
        Considered::Judge(collected) => {
            let images = collected.images();
            let plan = policies.plan(&question, &images);
            let facts =
                gather(&plan, |_| Answer::Digest(Ok(Resolved::now(digest()))), Facts::default().absent().clone());
            let verdict = decide(plan, &images, &facts);
            answer(&about, Outcome::Judged(&verdict), Some(&policies), &collected.warnings)
        }
    };
    serde_json::from_slice(&answer).unwrap()
}

fn created(images: &[(&str, &str)]) -> Value {
    let containers = images.iter().map(|(name, image)| container(name, image)).collect();
    answered(&review("CREATE", "", "Pod", pod(containers), Value::Null))
}

#[test]
fn row_01_02_07_09_a_denial_is_what_the_api_server_expects() {
    let answer = created(&[
        ("api", "registry.example.com/acme/api:latest"),
        ("log", "registry.example.com/acme/log:v1.0.0"),
        ("job", "docker.io/library/busybox:1.36"),
    ]);
    assert_eq!(answer["apiVersion"], "admission.k8s.io/v1");
    assert_eq!(answer["kind"], "AdmissionReview");
    let response = answer["response"].as_object().unwrap();
    assert_eq!(response["uid"], "6b1f2c9e-0d3a-4a43-9ef8-0b8f2ad5a1b7");
    assert_eq!(response["allowed"], false);
    assert!(!response.contains_key("patch") && !response.contains_key("patchType"));
    let status = &response["status"];
    assert_eq!(
        (&status["status"], &status["reason"], &status["code"]),
        (&json!("Failure"), &json!("Forbidden"), &json!(403))
    );
    let message = status["message"].as_str().unwrap();
    assert!(
        message.starts_with("tagwarden denied Pod shop-prod/checkout: 2 of 3 images break policy acme-images\n"),
        "{message}"
    );
    assert!(message.contains("Owner: #platform-security  Help: https://wiki.example.com/images#TW120\n"), "{message}");
    assert_eq!(status["details"]["kind"], "Pod");
    assert_eq!(status["details"]["name"], "checkout");
    let causes: Vec<_> = status["details"]["causes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|cause| (cause["reason"].as_str().unwrap(), cause["field"].as_str().unwrap()))
        .collect();
    assert_eq!(causes, [("TW120", "spec.containers[0].image"), ("TW110", "spec.containers[2].image")]);
}

#[test]
fn row_09_causes_name_every_violation_up_to_a_hundred() {
    for (images, causes) in [(7, 7), (250, 100)] {
        let names: Vec<String> = (0..images).map(|number| format!("c{number}")).collect();
        let containers: Vec<_> = names.iter().map(|name| (name.as_str(), "nginx")).collect();
        let answer = created(&containers);
        assert_eq!(answer["response"]["status"]["details"]["causes"].as_array().unwrap().len(), causes);
    }
}

#[test]
fn an_allow_has_no_status_and_carries_warnings() {
    let fine = created(&[("api", "registry.example.com/acme/api:v1.0.0")]);
    assert_eq!(fine["response"]["allowed"], true);
    assert!(fine["response"].get("status").is_none() && fine["response"].get("warnings").is_none());
    let warned = created(&[("proxy", "registry.example.com/mirror/proxy:edge")]);
    assert_eq!(warned["response"]["allowed"], true);
    let warning = warned["response"]["warnings"][0].as_str().unwrap();
    assert!(
        warning.starts_with("TW120 tags: container \"proxy\", image registry.example.com/mirror/proxy:edge: "),
        "{warning}"
    );
}

#[test]
fn row_11_the_digest_that_we_wrote_is_recorded() {
    let mut verdict = Verdict { decision: Decision::Allow, ..Verdict::default() };
    for (index, pin) in [Pinning::Write(digest()), Pinning::Told(digest()), Pinning::None].into_iter().enumerate() {
        verdict.images.push(ImageVerdict {
            list: List::Containers,
            container: None,
            field: FieldPath::PodSpec { spec: "spec".into(), list: List::Containers, index: index as u32 },
            image: "a:v1",
            reference: Reference::parse("a:v1").ok(),
            class: None,
            applied: Few::default(),
            pin,
            notes: Vec::new(),
            decision: Decision::Allow,
        });
    }
    let annotations = audit_annotations(Outcome::Judged(&verdict), None);
    assert_eq!(annotations.unwrap().digest, format!("spec.containers[0].image={}", digest()));
}

#[test]
fn row_11_audit_annotations_are_recorded_on_every_verdict() {
    let hash = policies().hash().to_owned();
    let digest = digest();
    let pinned = format!("registry.example.com/acme/api:v1.0.0@{digest}");
    let denied = created(&[("api", &pinned), ("job", "busybox")]);
    let annotations = &denied["response"]["auditAnnotations"];
    assert_eq!(annotations["decision"], "deny");
    assert_eq!(annotations["policies"], "acme-images");
    assert_eq!(annotations["policy-hash"], json!(hash));
    assert_eq!(annotations["findings"], "TW110 enforce acme-images spec.containers[1].image");
    assert_eq!(annotations["digest"], json!(format!("spec.containers[0].image={digest}")));
    let unchanged =
        answered(&review("UPDATE", "", "Pod", pod(vec![container("a", "bad")]), pod(vec![container("a", "bad")])));
    assert_eq!(unchanged["response"]["allowed"], true);
    assert_eq!(
        unchanged["response"]["auditAnnotations"],
        json!({"decision": "allow", "reason": "unchanged", "policy-hash": hash})
    );

    let names: Vec<String> = (0..400).map(|number| format!("c{number}")).collect();
    let containers: Vec<_> = names.iter().map(|name| (name.as_str(), pinned.as_str())).chain([("x", "bad")]).collect();
    for (key, value) in created(&containers)["response"]["auditAnnotations"].as_object().unwrap() {
        assert!(
            key.len() <= 63 && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte)),
            "{key}"
        );
        assert!(value.as_str().unwrap().len() <= 1000, "{key}");
    }
}

#[test]
fn row_41_a_created_object_of_an_unknown_kind_is_denied_and_an_update_warned_of() {
    let created = answered(&review("CREATE", "example.com", "Gizmo", json!({}), Value::Null));
    assert_eq!(created["response"]["allowed"], false);
    assert_eq!(created["response"]["status"]["details"]["group"], "example.com");
    let message = created["response"]["status"]["message"].as_str().unwrap();
    assert!(message.contains("1. TW199 kind: Gizmo.example.com\n"), "{message}");
    let updated = answered(&review("UPDATE", "example.com", "Gizmo", json!({}), json!({})));
    assert_eq!(updated["response"]["allowed"], true);
    assert!(updated["response"]["warnings"][0].as_str().unwrap().contains("Gizmo.example.com"));
}

#[test]
fn a_value_of_a_wrong_type_is_denied_as_tw100() {
    let spec = json!({"template": {"spec": {"containers": [{"name": "a", "image": {"x": 1}}]}}});
    let denied = answered(&review("CREATE", "apps", "Deployment", json!({"spec": spec}), Value::Null));
    let cause = &denied["response"]["status"]["details"]["causes"][0];
    assert_eq!(
        (&cause["reason"], &cause["field"]),
        (&json!("TW100"), &json!("spec.template.spec.containers[0].image"))
    );
}

#[test]
fn row_01_our_own_failure_still_echoes_the_uid() {
    let about = About::uid_only("abc".to_owned());
    for (mode, allowed) in [(Mode::Enforce, false), (Mode::Warn, true), (Mode::Audit, true)] {
        let verdict = Verdict::internal_failure(mode, "tagwarden failed on this request".to_owned());
        let answer: Value = serde_json::from_slice(&answer(&about, Outcome::Judged(&verdict), None, &[])).unwrap();
        assert_eq!((&answer["response"]["uid"], &answer["response"]["allowed"]), (&json!("abc"), &json!(allowed)));
    }
}

#[test]
fn row_02_mutate_answers_allowed_without_a_patch() {
    let answer = answer(&About::uid_only("abc".to_owned()), Outcome::Untouched, None, &[]);
    assert_eq!(
        String::from_utf8(answer).unwrap(),
        r#"{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","response":{"uid":"abc","allowed":true}}"#
    );
}

#[test]
fn row_70_nothing_of_the_environment_is_repeated() {
    let answer = created(&[("api", "bad image"), ("b", "registry.example.com/mirror/x:edge")]).to_string();
    assert!(!answer.contains("hunter2") && !answer.contains("PASSWORD"));
}

#[test]
fn warnings_beyond_what_is_passed_on_are_counted() {
    let lines: Vec<String> = (0..20).map(|number| format!("line {number}")).chain(["line 3".to_owned()]).collect();
    let bounded = super::bounded_warnings(lines);
    assert_eq!(bounded.len(), 15);
    assert_eq!(bounded[14], "tagwarden: +6 more warnings");
}

proptest! {
    #[test]
    fn row_10_warnings_are_bounded_lines_no_two_alike(lines in proptest::collection::vec("(?s).{0,300}", 0..40)) {
        let about = About::uid_only("abc".to_owned());
        let answer: Value = serde_json::from_slice(&answer(&about, Outcome::Passed(&Pass::NothingToJudge), None, &lines)).unwrap();
        let warnings: Vec<&str> = answer["response"]["warnings"].as_array().map(|lines| lines.iter().filter_map(Value::as_str).collect()).unwrap_or_default();
        prop_assert!(warnings.len() <= 15);
        prop_assert!(warnings.iter().map(|line| line.len()).sum::<usize>() <= 4096);
        prop_assert!(warnings.iter().all(|line| line.len() <= 200 && line.bytes().all(|byte| matches!(byte, b' '..=b'~'))));
        let unique: std::collections::HashSet<_> = warnings.iter().collect();
        prop_assert_eq!(unique.len(), warnings.len());
    }

    #[test]
    fn row_1_2_every_answer_echoes_its_uid_and_never_patches(uid in "(?s).{1,80}", image in "(?s).{0,200}", name in "(?s).{0,80}") {
        let mut review = review("CREATE", "", "Pod", pod(vec![container(&name, &image)]), Value::Null);
        review["request"]["uid"] = json!(uid);
        let answer = answered(&review);
        prop_assert_eq!(&answer["response"]["uid"], &json!(uid));
        prop_assert_eq!(&answer["response"]["allowed"], &json!(false), "no rule names it");
        prop_assert!(answer["response"].get("patch").is_none() && answer["response"].get("patchType").is_none());
    }
}
