//! An answer as kubectl shows it to whoever ran `kubectl create -f`.

use serde_json::Value;

use super::examples::Promise;
use super::review::Review;

/// What the server answered, as kubectl would print it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Shown {
    /// The lines.
    pub text: String,
    /// What became of the object.
    pub verdict: Promise,
}

/// Reads an answer: warnings first, as kubectl does, then the object or the error. None where it is no answer to this review.
pub(super) fn show(file: &str, review: &Review, answer: &Value) -> Option<Shown> {
    let response = answer.get("response")?;
    if answer["kind"] != "AdmissionReview" || response["uid"] != review.body["request"]["uid"] {
        return None;
    }
    let warnings = response["warnings"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let mut text: String = warnings.map(|warning| format!("Warning: {warning}\n")).collect();
    if response["allowed"].as_bool()? {
        text.push_str(&format!("{} created\n", review.object));
        return Some(Shown { text, verdict: Promise::Pass });
    }
    let status = &response["status"];
    text.push_str(&format!(
        "Error from server ({}): error when creating \"{file}\": admission webhook \"{}\" denied the request: {}\n",
        status["reason"].as_str()?,
        review.webhook,
        status["message"].as_str()?.trim_end(),
    ));
    Some(Shown { text, verdict: Promise::Refuse })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn review() -> Review {
        Review::of("f.yaml", "{apiVersion: v1, kind: Pod, metadata: {name: a}}", "u").unwrap()
    }

    #[test]
    fn an_admitted_object_is_created_after_its_warnings() {
        let answer = json!({"kind": "AdmissionReview", "response": {"uid": "u", "allowed": true, "warnings": ["w"]}});
        let shown = show("f.yaml", &review(), &answer).unwrap();
        assert_eq!(shown, Shown { text: "Warning: w\npod/a created\n".to_owned(), verdict: Promise::Pass });
    }

    #[test]
    fn a_denial_reads_as_kubectl_prints_it() {
        let status = json!({"code": 403, "reason": "Forbidden", "message": "no\n"});
        let answer = json!({"kind": "AdmissionReview", "response": {"uid": "u", "allowed": false, "status": status}});
        let shown = show("f.yaml", &review(), &answer).unwrap();
        let text = "Error from server (Forbidden): error when creating \"f.yaml\": admission webhook \
                    \"validate.tagwarden.dev\" denied the request: no\n";
        assert_eq!(shown, Shown { text: text.to_owned(), verdict: Promise::Refuse });
    }

    #[test]
    fn another_review_s_answer_is_none() {
        let answer = json!({"kind": "AdmissionReview", "response": {"uid": "other", "allowed": true}});
        assert_eq!(show("f.yaml", &review(), &answer), None);
        assert_eq!(show("f.yaml", &review(), &json!({})), None);
    }
}
