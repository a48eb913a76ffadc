//! kubectl's side of the demo: the command as typed, the object that it makes, and the answer as it shows it.

use serde_json::Value;

use super::examples::Promise;
use super::review::Review;

/// The namespace of what is run.
const NAMESPACE: &str = "shop-prod";

/// What somebody typed.
#[derive(Clone, Debug)]
pub(super) enum Command<'c> {
    /// `kubectl create -f FILE`, with the file's text.
    Create {
        /// As typed.
        file: &'c str,
        /// What is in it.
        text: &'c str,
    },
    /// `kubectl run NAME --image IMAGE`.
    Run {
        /// Of the Pod and its container.
        name: &'c str,
        /// As typed.
        image: &'c str,
    },
}

/// What the server answered, as kubectl would print it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Shown {
    /// The lines.
    pub text: String,
    /// What became of the object.
    pub verdict: Promise,
}

impl Command<'_> {
    /// The line typed.
    pub fn line(&self) -> String {
        match self {
            Command::Create { file, .. } => format!("$ kubectl create -f {file}\n"),
            Command::Run { name, image } => format!("$ kubectl run {name} -n {NAMESPACE} --image {image}\n"),
        }
    }

    /// The review that the API server sends of it.
    pub fn review(&self, uid: &str) -> anyhow::Result<Review> {
        match self {
            Command::Create { file, text } => Review::of(file, text, uid),
            Command::Run { name, image } => {
                let pod = format!(
                    "{{apiVersion: v1, kind: Pod, metadata: {{name: {name}, namespace: {NAMESPACE}, labels: {{run: {name}}}}}, \
                     spec: {{containers: [{{name: {name}, image: \"{image}\"}}]}}}}"
                );
                Review::of("the Pod", &pod, uid)
            }
        }
    }

    /// Reads the webhooks' answers in their order, up to the first that denies: warnings first, each once, as kubectl
    /// does, then the object or the error. None where one is no answer to this review.
    pub fn show(&self, review: &Review, answers: &[(&str, Value)]) -> Option<Shown> {
        let mut warnings: Vec<&str> = Vec::new();
        let mut denied = None;
        for (webhook, answer) in answers {
            let response = answer.get("response")?;
            if answer["kind"] != "AdmissionReview" || response["uid"] != review.body["request"]["uid"] {
                return None;
            }
            for warning in response["warnings"].as_array().into_iter().flatten().filter_map(Value::as_str) {
                if !warnings.contains(&warning) {
                    warnings.push(warning);
                }
            }
            if !response["allowed"].as_bool()? {
                denied = Some((webhook, &response["status"]));
                break;
            }
        }
        let mut text: String = warnings.iter().map(|warning| format!("Warning: {warning}\n")).collect();
        let Some((webhook, status)) = denied else {
            text.push_str(&format!("{} created\n", review.object));
            return Some(Shown { text, verdict: Promise::Pass });
        };
        let during = match self {
            Command::Create { file, .. } => format!("error when creating \"{file}\": "),
            Command::Run { .. } => String::new(),
        };
        text.push_str(&format!(
            "Error from server ({}): {during}admission webhook \"{webhook}\" denied the request: {}\n",
            status["reason"].as_str()?,
            status["message"].as_str()?.trim_end(),
        ));
        Some(Shown { text, verdict: Promise::Refuse })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const CREATE: Command<'static> =
        Command::Create { file: "f.yaml", text: "{apiVersion: v1, kind: Pod, metadata: {name: a}}" };

    fn show(command: &Command<'_>, answers: &[(&str, Value)]) -> Option<Shown> {
        command.show(&command.review("u").unwrap(), answers)
    }

    #[test]
    fn an_admitted_object_is_created_after_its_warnings() {
        let answer = json!({"kind": "AdmissionReview", "response": {"uid": "u", "allowed": true, "warnings": ["w"]}});
        let shown = show(&CREATE, &[("one", answer.clone()), ("two", answer)]).unwrap();
        assert_eq!(shown, Shown { text: "Warning: w\npod/a created\n".to_owned(), verdict: Promise::Pass });
    }

    #[test]
    fn a_denial_reads_as_kubectl_prints_it() {
        let status = json!({"code": 403, "reason": "Forbidden", "message": "no\n"});
        let answer = json!({"kind": "AdmissionReview", "response": {"uid": "u", "allowed": false, "status": status}});
        let answers = [("validate.tagwarden.dev", answer)];
        let denied = |text: &str| Shown { text: text.to_owned(), verdict: Promise::Refuse };
        let created = "Error from server (Forbidden): error when creating \"f.yaml\": admission webhook \
                       \"validate.tagwarden.dev\" denied the request: no\n";
        assert_eq!(show(&CREATE, &answers), Some(denied(created)));
        let run = Command::Run { name: "a", image: "b/c:d" };
        let ran =
            "Error from server (Forbidden): admission webhook \"validate.tagwarden.dev\" denied the request: no\n";
        assert_eq!(show(&run, &answers), Some(denied(ran)));
        assert_eq!(run.line(), "$ kubectl run a -n shop-prod --image b/c:d\n");
        let review = run.review("u").unwrap();
        assert_eq!(review.body["request"]["object"]["spec"]["containers"][0]["image"], "b/c:d");
    }

    #[test]
    fn another_review_s_answer_is_none() {
        let answer = json!({"kind": "AdmissionReview", "response": {"uid": "other", "allowed": true}});
        assert_eq!(show(&CREATE, &[("one", answer)]), None);
        assert_eq!(show(&CREATE, &[("one", json!({}))]), None);
    }
}
