//! What is to be done with a request, before any policy is asked.

use super::exempt::{Exempt, Metadata, exemption};
use super::{AdmissionRequest, Collected, ExemptRequesters, Operation, Workloads};
use crate::policy::{Governed, ImageUse, Labels, Request, Seconds, Stage, printable};
use serde_json::value::RawValue;
use std::borrow::Cow;

/// The next step for a request.
#[derive(Debug)]
pub enum Considered<'a> {
    /// Allowed without asking a policy.
    Pass(Pass),
    /// To be judged: plan, decide, answer.
    Judge(Collected<'a>),
    /// A created object of a kind that no table knows: the policies' finding TW199 decides.
    UnknownKind,
}

/// Why a request is allowed without asking a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pass {
    /// DELETE or CONNECT: nothing new will run.
    NothingToJudge,
    /// An update that changes no image; how many there are.
    Unchanged(usize),
    /// An update of an object of a kind that no table knows.
    UnknownKind,
    /// A namespace that the configuration takes out.
    InfrastructureNamespace,
    /// A mirror Pod, or a requester that configuration exempts.
    Exempt(Exempt),
}

impl Pass {
    /// A short name for logs, metrics and audit annotations.
    pub fn reason(&self) -> &'static str {
        match self {
            Pass::NothingToJudge => "nothing-to-judge",
            Pass::Unchanged(_) => "unchanged",
            Pass::UnknownKind => "unknown-kind",
            Pass::InfrastructureNamespace => "infrastructure-namespace",
            Pass::Exempt(Exempt::MirrorPod) => "mirror-pod",
            Pass::Exempt(Exempt::Requester(_)) => "exempt-requester",
        }
    }

    /// What the requester is told, if anything.
    pub fn warning(&self, about: &About<'_>) -> Option<String> {
        match self {
            Pass::NothingToJudge
            | Pass::Unchanged(_)
            | Pass::InfrastructureNamespace
            | Pass::Exempt(Exempt::Requester(_)) => None,
            Pass::UnknownKind => Some(format!(
                "tagwarden does not know where {} keeps its images: this update passes unjudged, a create would not; add the kind to workloads in the configuration",
                about.shown_kind()
            )),
            Pass::Exempt(Exempt::MirrorPod) => Some(
                "tagwarden does not judge mirror pods: the kubelet runs this pod from a file of its node already"
                    .to_owned(),
            ),
        }
    }
}

/// Says what is to be done with a request; `about` is [`About::of`] it.
pub fn consider<'a>(
    request: &AdmissionRequest<'a>,
    about: &About<'a>,
    workloads: &Workloads,
    requesters: &ExemptRequesters,
) -> Considered<'a> {
    if matches!(request.operation, Operation::Delete | Operation::Connect) {
        return Considered::Pass(Pass::NothingToJudge);
    }
    if let Some(exempt) = exemption(request, about, requesters) {
        return Considered::Pass(Pass::Exempt(exempt));
    }
    let is_update = request.operation == Operation::Update;
    if !workloads.knows(&request.group, &request.kind) {
        return if is_update { Considered::Pass(Pass::UnknownKind) } else { Considered::UnknownKind };
    }
    let collected = workloads.read(request);
    if is_update && collected.judged() == 0 && collected.deferred == 0 {
        return Considered::Pass(Pass::Unchanged(collected.unchanged));
    }
    Considered::Judge(collected)
}

/// What a text or an answer says of the object around the images.
#[derive(Clone, Debug, Default)]
pub struct About<'a> {
    /// To be echoed.
    pub uid: Cow<'a, str>,
    /// The kind's API group; empty for the core group.
    pub group: Cow<'a, str>,
    /// The kind; empty where the review could not be read.
    pub kind: Cow<'a, str>,
    /// None for cluster-scoped objects.
    pub namespace: Option<Cow<'a, str>>,
    /// For `generateName` the prefix with `*` at its end.
    pub name: Cow<'a, str>,
    /// Whether it has the annotation of a mirror Pod, which anybody may forge.
    pub(super) is_mirror: bool,
    /// The object of a CREATE, whose name may have been generated.
    pub(super) created: Option<&'a str>,
}

impl<'a> About<'a> {
    /// Of a request.
    pub fn of(request: &AdmissionRequest<'a>) -> Self {
        let metadata = Metadata::of(request);
        let prefix = metadata.generate_name;
        let name = match request.name.is_empty() {
            false => request.name.clone(),
            true if prefix.is_empty() => prefix,
            true => Cow::Owned(format!("{prefix}*")),
        };
        About {
            uid: request.uid.clone(),
            group: request.group.clone(),
            kind: request.kind.clone(),
            namespace: (!request.namespace.is_empty()).then(|| request.namespace.clone()),
            name,
            is_mirror: metadata.is_mirror,
            created: request.object.filter(|_| request.operation == Operation::Create).map(RawValue::get),
        }
    }

    /// The name for people: where it was generated, the prefix they wrote and `*`.
    ///
    /// Validating webhooks see the name that the API server made up (mutating ones see none). Only a denial asks, so
    /// only a denial reads the object's metadata for it.
    pub(super) fn shown_name(&self) -> Cow<'_, str> {
        let prefix = self.created.map(|object| Metadata::read(object).generate_name).unwrap_or_default();
        match !prefix.is_empty() && self.name.starts_with(&*prefix) {
            true => Cow::Owned(format!("{prefix}*")),
            false => Cow::Borrowed(&self.name),
        }
    }

    /// Of a request that could not be read or judged: its uid alone.
    pub fn uid_only(uid: String) -> About<'static> {
        About { uid: Cow::Owned(uid), ..About::default() }
    }

    /// What the policies are asked. `labels`: the namespace's, from the API server's own object; `now`: for exceptions' expiry.
    pub fn policy_request<'s>(
        &'s self,
        labels: Option<&'s Labels>,
        beside: &'s [ImageUse<'s>],
        governed: Governed<'s>,
        stage: Stage,
        now: Seconds,
    ) -> Request<'s> {
        Request {
            kind: &self.kind,
            namespace: self.namespace.as_deref(),
            name: &self.name,
            namespace_labels: labels,
            is_pod: self.group.is_empty() && self.kind == "Pod",
            environment: None,
            beside,
            governed,
            stage,
            now,
        }
    }

    /// `Deployment`, or `Rollout.argoproj.io` outside the groups of Kubernetes itself.
    pub fn shown_kind(&self) -> String {
        let kind = if self.kind.is_empty() { "object".to_owned() } else { printable(&self.kind, 63) };
        if matches!(&*self.group, "" | "apps" | "batch") {
            kind
        } else {
            format!("{kind}.{}", printable(&self.group, 100))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{About, Considered, Pass, consider};
    use crate::review::testing::{container, pod, review};
    use crate::review::{ExemptRequesters, Workloads, read};
    use serde_json::{Value, json};

    /// What is to be done, in one word and a number.
    fn considered(review: &Value) -> (&'static str, usize) {
        let body = review.to_string();
        let request = read(body.as_bytes()).unwrap();
        match consider(&request, &About::of(&request), &Workloads::default(), &ExemptRequesters::default()) {
            Considered::Pass(pass) => (pass.reason(), 0),
            Considered::Judge(collected) => ("judge", collected.judged()),
            Considered::UnknownKind => ("unknown kind", 0),
        }
    }

    fn api(image: &str) -> Value {
        pod(vec![container("api", image)])
    }

    #[test]
    fn each_operation_has_its_way() {
        for (operation, kind, new, old, expected) in [
            ("CREATE", "Pod", api("a:1"), Value::Null, ("judge", 1)),
            ("UPDATE", "Pod", api("a:2"), api("a:1"), ("judge", 1)),
            ("UPDATE", "Pod", api("a:1"), api("a:1"), ("unchanged", 0)),
            ("UPDATE", "Pod", api("a:1"), Value::Null, ("judge", 1)),
            ("DELETE", "Pod", Value::Null, api("a:1"), ("nothing-to-judge", 0)),
            ("CONNECT", "PodExecOptions", json!({}), Value::Null, ("nothing-to-judge", 0)),
            ("CREATE", "Gizmo", json!({}), Value::Null, ("unknown kind", 0)),
            ("UPDATE", "Gizmo", json!({}), json!({}), ("unknown-kind", 0)),
        ] {
            assert_eq!(considered(&review(operation, "", kind, new, old)), expected, "{operation} {kind}");
        }
    }

    #[test]
    fn row_29_everything_but_images_may_change() {
        let deployment = |replicas: usize, image: &str, label: &str| {
            let spec = pod(vec![container("api", image)])["spec"].clone();
            json!({"metadata": {"labels": {"a": label}}, "spec": {"replicas": replicas, "template": {"spec": spec}}})
        };
        let update = |new: Value| considered(&review("UPDATE", "apps", "Deployment", new, deployment(3, "bad", "x")));
        assert_eq!(update(deployment(0, "bad", "y")), ("unchanged", 0));
        assert_eq!(update(deployment(0, "worse", "x")), ("judge", 1));
    }

    #[test]
    fn row_28_a_create_that_is_being_deleted_is_judged() {
        let mut object = api("a:1");
        object["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        assert_eq!(considered(&review("CREATE", "", "Pod", object.clone(), Value::Null)), ("judge", 1));
        assert_eq!(considered(&review("UPDATE", "", "Pod", object.clone(), object)), ("unchanged", 0));
    }

    #[test]
    fn ephemeral_containers_come_on_a_subresource() {
        let mut new = api("a:1");
        new["spec"]["ephemeralContainers"] = json!([container("debugger", "busybox")]);
        let mut review = review("UPDATE", "", "Pod", new, api("a:1"));
        review["request"]["subResource"] = json!("ephemeralcontainers");
        assert_eq!(considered(&review), ("judge", 1));
    }

    #[test]
    fn row_28_names_and_namespaces_are_the_requests_own() {
        let mut review = review(
            "CREATE",
            "",
            "Pod",
            json!({"metadata": {"generateName": "checkout-7d9-"}, "spec": {}}),
            Value::Null,
        );
        review["request"]["name"] = json!("");
        let body = review.to_string();
        let about = About::of(&read(body.as_bytes()).unwrap());
        assert_eq!((&*about.name, about.namespace.as_deref()), ("checkout-7d9-*", Some("shop-prod")));
        let request =
            about.policy_request(None, &[], crate::policy::Governed::default(), crate::policy::Stage::Admission, 7);
        assert!(request.is_pod);
        assert_eq!(
            (request.kind, request.name, request.namespace, request.now),
            ("Pod", "checkout-7d9-*", Some("shop-prod"), 7)
        );

        review["request"]["namespace"] = json!("");
        review["request"]["kind"]["group"] = json!("example.com");
        let body = review.to_string();
        let about = About::of(&read(body.as_bytes()).unwrap());
        assert_eq!(
            about
                .policy_request(None, &[], crate::policy::Governed::default(), crate::policy::Stage::Admission, 0)
                .namespace,
            None
        );
        assert!(
            !about
                .policy_request(None, &[], crate::policy::Governed::default(), crate::policy::Stage::Admission, 0)
                .is_pod
        );
        assert_eq!(about.shown_kind(), "Pod.example.com");
    }

    #[test]
    fn row_28_a_generated_name_is_shown_as_what_was_written() {
        for (operation, name, generate_name, shown) in [
            ("CREATE", "job-kndbj", "job-", "job-*"),
            ("CREATE", "", "job-", "job-*"),
            ("CREATE", "mine", "job-", "mine"),
            ("CREATE", "mine", "", "mine"),
            ("UPDATE", "job-kndbj", "job-", "job-kndbj"),
        ] {
            let object = json!({"metadata": {"name": name, "generateName": generate_name}, "spec": {}});
            let mut review = review(operation, "", "Pod", object, Value::Null);
            review["request"]["name"] = json!(name);
            let body = review.to_string();
            assert_eq!(About::of(&read(body.as_bytes()).unwrap()).shown_name(), shown, "{operation} {name}");
        }
    }

    #[test]
    fn what_passes_unjudged_says_so_where_it_matters() {
        let about = About { kind: "Gizmo".into(), group: "example.com".into(), ..About::default() };
        assert!(Pass::UnknownKind.warning(&about).unwrap().contains("Gizmo.example.com"));
        assert!(Pass::Exempt(super::Exempt::MirrorPod).warning(&about).is_some());
        assert!(Pass::Unchanged(3).warning(&about).is_none());
    }
}
