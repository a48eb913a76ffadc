//! The one table of what doctor finds: a code for ever, how grave it is, and what to do about it.
//!
//! `docs/doctor.md` says the same, held to this table by a test. `{name}` and `{namespace}` stand for the release's.

use serde::Serialize;

/// How grave something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Nothing is wrong.
    Ok,
    /// It works, and will not for ever, or not for everybody.
    Warning,
    /// It could not be looked at.
    Unknown,
    /// Something does not work, or protects nothing.
    Problem,
}

impl Level {
    /// As it is printed.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Level::Ok => "ok",
            Level::Warning => "warning",
            Level::Unknown => "unknown",
            Level::Problem => "problem",
        }
    }
}

/// One thing that can be wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cause {
    /// Its name for ever.
    pub code: &'static str,
    /// How grave it is.
    pub level: Level,
    /// What to do.
    pub remedy: &'static str,
}

macro_rules! causes {
    ($($name:ident $level:ident $code:literal: $remedy:literal,)*) => {
        $(pub(super) const $name: Cause = Cause { code: $code, level: Level::$level, remedy: $remedy };)*
        /// Every cause, in the order of the checks.
        #[must_use]
        pub fn causes() -> &'static [Cause] {
            &[$($name),*]
        }
    };
}

causes! {
    UNREAD Unknown "unread":
        "run doctor as somebody who may read it, a cluster admin say",
    API_VERSION Warning "api-server-version":
        "supported are Kubernetes 1.33 to 1.37: upgrade the cluster, or tagwarden",
    CLOCK_OF_REPLICA Warning "clock-of-replica":
        "let the node's clock be kept by NTP; replicas that differ by more than 10 s may both think that they are elected, and certificates may not hold yet",
    CLOCK_HERE Warning "clock-here":
        "set this machine's clock: what doctor says of certificates is reckoned by it",
    VALIDATING_MISSING Problem "validating-missing":
        "nothing is judged; bring it back: helm upgrade {name} charts/tagwarden --namespace {namespace} --values values.yaml --set webhook.failurePolicy=Ignore --wait, then the same without --set",
    MUTATING_MISSING Problem "mutating-missing":
        "no image is pinned; bring it back: helm upgrade {name} charts/tagwarden --namespace {namespace} --values values.yaml --wait",
    WEBHOOK_MISSING Problem "webhook-missing":
        "apply the chart again: helm upgrade {name} charts/tagwarden --namespace {namespace} --values values.yaml --wait",
    WRONG_TARGET Problem "webhook-target":
        "the API server calls something else: apply the chart again, or put its clientConfig.service back",
    RULES Problem "webhook-rules":
        "what the rules leave out is never judged: apply the chart again",
    FAIL_OPEN Warning "failure-policy-open":
        "under maxMode: enforce Pods are created unjudged while no replica answers: take webhook.failurePolicy out of the values, and apply the chart again",
    FAIL_CLOSED Warning "failure-policy-closed":
        "nothing is enforced, and yet no Pod is created while no replica answers: take webhook.failurePolicy out of the values, and apply the chart again",
    FAIL_ELSEWHERE Problem "failure-policy-elsewhere":
        "only validate.tagwarden.dev may fail closed; with this one nothing could be changed while no replica answers: put Ignore back, by applying the chart again",
    NOT_EXCLUDED Problem "namespace-not-excluded":
        "replicas, or what the cluster needs to come up, could not start again while none answers: apply the chart again, it excludes these by name",
    NARROWED Warning "webhook-selector":
        "whoever may set those labels takes objects out of reach: take the selector away, and leave namespaces out by name or in the policies",
    SETTINGS Warning "webhook-settings":
        "apply the chart again: helm upgrade {name} charts/tagwarden --namespace {namespace} --values values.yaml --wait",
    CONDITIONS Warning "webhook-conditions":
        "apply the chart again: its matchConditions let labels, finalizers and scaling through while no replica answers, and cannot fail",
    CHANGED_AFTER Problem "changed-after-us":
        "what that webhook changes is not pinned: put reinvocationPolicy: IfNeeded back, by applying the chart again",
    BUNDLE_EMPTY Problem "ca-bundle-empty":
        "the API server cannot call: self-managed: the elected replica writes it within seconds, see its log if it does not; cert-manager: its cainjector does, see the annotation cert-manager.io/inject-ca-from; otherwise give tls.caBundle in the values",
    BUNDLE_BAD Problem "ca-bundle-unreadable":
        "put PEM certificates of authorities there: self-managed: the elected replica does, see its log; otherwise tls.caBundle in the values",
    BUNDLE_ENDED Problem "ca-bundle-expired":
        "self-managed: kubectl -n {namespace} annotate secret tagwarden-ca tagwarden.dev/rotate=now --overwrite; otherwise renew the authority, and put it into tls.caBundle",
    BUNDLE_DISTRUSTS Problem "ca-bundle-distrusts":
        "calls to that replica fail: self-managed: the elected replica repairs caBundle within seconds, see its log if it does not; otherwise put the authority of the certificate into tls.caBundle",
    BUNDLE_EDITED Warning "ca-bundle-edited":
        "somebody or something writes caBundle besides the elected replica: find it by kubectl get --show-managed-fields, and let it leave the field alone",
    NO_AUTHORITY Problem "authority-missing":
        "the Secret tagwarden-ca is the authority of all replicas: apply the chart again, and see the log of the elected replica",
    AUTHORITY_ENDING Warning "authority-expiring":
        "it should have been replaced at two thirds of its life: kubectl -n {namespace} annotate secret tagwarden-ca tagwarden.dev/rotate=now --overwrite, and see the log of the elected replica",
    LEAF_ENDED Problem "certificate-expired":
        "no call reaches a replica with it: self-managed: see the replica's log; otherwise renew the certificate in the Secret that is mounted",
    LEAF_ENDING Warning "certificate-expiring":
        "it should have been renewed: self-managed: see the log, and the Secret tagwarden-ca; otherwise cert-manager, or whoever renews the Secret",
    NO_SERVICE Problem "service-missing":
        "the API server has nobody to call: helm upgrade {name} charts/tagwarden --namespace {namespace} --values values.yaml --wait",
    SERVICE_PORT Problem "service-port":
        "the webhook configurations call a port that the Service does not have: apply the chart again",
    SERVICE_SELECTS Problem "service-selects-none":
        "put the chart's selector back: apply the chart again",
    NO_ENDPOINTS Problem "service-no-endpoints":
        "no replica can be called: kubectl -n {namespace} get pods, and see /readyz?verbose of one; where Pods are refused meanwhile and it cannot wait, break the glass: kubectl delete validatingwebhookconfiguration {name}",
    NO_DEPLOYMENT Problem "deployment-missing":
        "there is no server: helm upgrade {name} charts/tagwarden --namespace {namespace} --values values.yaml --wait",
    FEW_REPLICAS Warning "replicas-few":
        "set replicaCount to 2 or more: a single one is away whenever its node is drained",
    PODS_MISSING Problem "replicas-missing":
        "kubectl -n {namespace} describe replicaset says why Pods are not created; where a quota for the priority class is missing, set resourceQuota.enabled",
    NOT_READY Problem "replica-not-ready":
        "see what is said, and kubectl -n {namespace} describe pod and logs of it",
    VERSION_SKEW Warning "version-skew":
        "wait for the rollout to end: kubectl -n {namespace} rollout status deployment/{name}; if it does not, see the Pods that are not ready",
    NO_BUDGET Warning "budget-missing":
        "set podDisruptionBudget.enabled: a drain may otherwise take all replicas at once",
    CONFIGURATION Problem "configuration-broken":
        "correct `config` in the values, and apply the chart again: replicas that start with it do not become ready",
    NO_POLICIES Problem "policies-none":
        "see what /readyz?verbose and the log of that replica say, and correct the policies",
    POLICIES_REFUSED Problem "policies-refused":
        "correct the file or object that is named; the last good set serves until then",
    POLICIES_SAVED Warning "policies-saved":
        "the set of another process serves, since the present one has mistakes: correct those before the next change of anything",
    POLICIES_DIFFER Problem "policies-differ":
        "a changed ConfigMap takes up to two minutes to reach all replicas; if they still differ then, see /readyz?verbose of each, and restart the one that stayed behind",
    OBJECT_REFUSED Problem "policy-object-refused":
        "correct the object: kubectl get imagepolicy -o yaml shows status.diagnostics; an earlier good version stays in force",
    NOT_PERMITTED Problem "permission-missing":
        "apply the chart again: its roles allow it",
    TOO_MUCH Warning "permission-too-much":
        "the server needs none of it: take away the binding that gives it, kubectl get rolebindings,clusterrolebindings -A -o wide lists them by account",
    REGISTRY_FAILING Warning "registry-failing":
        "see the replicas' logs for why: credentials, rate limits, or a NetworkPolicy (networkPolicy.egressPorts); tagwarden resolve IMAGE asks from here",
    INFRASTRUCTURE Warning "infrastructure-unlisted":
        "while no replica answers, Pods there would be refused, and the cluster may not come up again: add the namespace to infrastructureNamespaces, or set infrastructureNamespacesReviewed if it can wait",
    REVIEW_FAILED Problem "review-failed":
        "the API server cannot call: a certificate error is told above; a time-out is a NetworkPolicy, a firewall or the CNI between the control plane and the Pods",
    REVIEW_UNCALLED Problem "review-unheard":
        "Pods are created unjudged: see apiserver_admission_webhook_fail_open_count and the API server's log; a NetworkPolicy, a firewall or a certificate keeps its call from the replicas",
}

#[cfg(test)]
mod tests {
    use super::causes;

    #[test]
    fn codes_are_given_once_and_remedies_say_something() {
        for (index, cause) in causes().iter().enumerate() {
            assert!(causes()[..index].iter().all(|other| other.code != cause.code), "{}", cause.code);
            assert!(cause.remedy.len() > 20 && !cause.remedy.ends_with('.'), "{}", cause.code);
        }
    }
}
