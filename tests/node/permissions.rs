//! What our account may do is the documented table, by feature set, and what it cannot do without is not more.

use crate::Bed;
use crate::harness::{NAMESPACE, Release, merged};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// `verbs group/resource[names]` of one rule.
type Rules = BTreeSet<String>;

/// What the table "Permissions" of the documentation gives in our own namespace, under self-managed certificates.
const OWN: &[&str] = &[
    "get,list,watch /namespaces",
    "get,patch admissionregistration.k8s.io/mutatingwebhookconfigurations[tagwarden]",
    "get,patch admissionregistration.k8s.io/validatingwebhookconfigurations[tagwarden]",
    "create coordination.k8s.io/leases",
    "get,patch coordination.k8s.io/leases[tagwarden-ca]",
    "get,patch coordination.k8s.io/leases[tagwarden]",
    "get,update /configmaps[tagwarden-last-good]",
    "get,update /configmaps[tagwarden-last-known]",
    "get,update /secrets[tagwarden-ca]",
    "get,update /secrets[tagwarden-pins]",
];

/// What of it holds in every other namespace.
const ELSEWHERE: &[&str] = &[
    "get,list,watch /namespaces",
    "get,patch admissionregistration.k8s.io/mutatingwebhookconfigurations[tagwarden]",
    "get,patch admissionregistration.k8s.io/validatingwebhookconfigurations[tagwarden]",
];

const OBJECTS: &[&str] = &["get,list,watch tagwarden.dev/imagepolicies", "patch tagwarden.dev/imagepolicies/status"];

const HISTORY: &[&str] = &["list,watch /pods", "create events.k8s.io/events"];
const RELEASES: &[&str] = &["get,list,watch tagwarden.dev/imagereleases", "patch tagwarden.dev/imagereleases/status"];

const SAVED_RELEASES: &[&str] = &["get,update /configmaps[tagwarden-last-good-releases]"];

const PULL_SECRETS: &[&str] = &["get /secrets", "get /serviceaccounts"];

pub fn row_72_the_account_may_do_what_the_table_says(bed: &Bed) {
    let release = bed.release();
    let base = release.image_values();
    let shop = "shop";
    bed.cluster.namespace(shop, &json!({}));
    let sweep = |values: &Value| {
        release.upgrade(values, &[]).accepted();
        (granted(bed, NAMESPACE), granted(bed, shop))
    };

    let (own, elsewhere) = sweep(&base);
    same(&own, &[OWN]);
    same(&elsewhere, &[ELSEWHERE]);

    let (own, elsewhere) = sweep(&merged(&base, &json!({"imagePolicies": {"enabled": true}})));
    same(&own, &[OWN, OBJECTS]);
    same(&elsewhere, &[ELSEWHERE, OBJECTS]);

    let (own, elsewhere) = sweep(&merged(&base, &json!({"config": {"history": {"enabled": true}}})));
    same(&own, &[OWN, HISTORY]);
    same(&elsewhere, &[ELSEWHERE, HISTORY]);
    let releases = json!({"imageReleases": {"enabled": true}, "releases": [{"objects": true}]});
    let (own, elsewhere) = sweep(&merged(&base, &releases));
    same(&own, &[OWN, RELEASES, SAVED_RELEASES]);
    same(&elsewhere, &[ELSEWHERE, RELEASES]);

    let pull_secrets = json!({"pullSecrets": {"enabled": true, "namespaces": [shop]}});
    let (own, elsewhere) = sweep(&merged(&base, &pull_secrets));
    same(&own, &[OWN]);
    same(&elsewhere, &[ELSEWHERE, PULL_SECRETS]);

    // With a certificate from elsewhere there is no authority to keep and no caBundle to patch.
    let existing = json!({"tls": {"existingSecret": "own", "caBundle": crate::harness::Authority::new("own").pem}});
    let (own, _) = sweep(&merged(&base, &existing));
    let without = |rule: &&&str| !rule.contains("tagwarden-ca");
    let reduced: Vec<String> =
        OWN.iter().filter(without).map(|rule| rule.replace("get,patch admission", "get admission")).collect();
    same(&own, &[&reduced.iter().map(String::as_str).collect::<Vec<_>>()]);
    release.remove();
}

pub fn row_72_nothing_is_refused_to_the_server(bed: &Bed) {
    // An answer 403 to our account would show in its log.
    let release = bed.enforce();
    for pod in release.pods() {
        let log = release.log(&pod);
        let refused: Vec<&str> = log.lines().filter(|line| line.contains("forbidden")).collect();
        assert!(refused.is_empty(), "the server was refused something: {refused:?}");
    }
}

#[track_caller]
fn same(granted: &Rules, documented: &[&[&str]]) {
    let documented: Rules = documented.iter().flat_map(|part| part.iter().map(ToString::to_string)).collect();
    let more: Vec<_> = granted.difference(&documented).collect();
    let less: Vec<_> = documented.difference(granted).collect();
    assert!(more.is_empty() && less.is_empty(), "granted beyond the table: {more:?}; missing: {less:?}");
}

/// The rules of our account in a namespace, without those that every account has.
fn granted(bed: &Bed, namespace: &str) -> Rules {
    let ours = reviewed(bed, namespace, "tagwarden");
    let everybodys = reviewed(bed, namespace, "nobody-in-particular");
    ours.difference(&everybodys).cloned().collect()
}

/// `kubectl auth can-i --list`, as the API server answers it.
fn reviewed(bed: &Bed, namespace: &str, account: &str) -> Rules {
    let review = json!({
        "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectRulesReview", "spec": {"namespace": namespace},
    });
    let user = format!("--as=system:serviceaccount:{NAMESPACE}:{account}");
    let groups = [
        "--as-group=system:serviceaccounts",
        &format!("--as-group=system:serviceaccounts:{NAMESPACE}"),
        "--as-group=system:authenticated",
    ];
    let mut arguments = vec!["create", "--validate=false", "-f", "-", "-o", "json", &user];
    arguments.extend(groups);
    let answer = bed.cluster.admin().run_with(&arguments, &review.to_string()).accepted().stdout;
    let answer: Value = serde_json::from_str(&answer).expect("kubectl prints JSON");
    assert_ne!(answer["status"]["incomplete"], true, "the API server knows all rules: {answer}");
    assert!(answer["status"]["resourceRules"].is_array(), "{answer}");
    let mut rules = Rules::new();
    for rule in answer["status"]["resourceRules"].as_array().unwrap() {
        let mut verbs = texts(&rule["verbs"]);
        verbs.sort_unstable();
        let names = texts(&rule["resourceNames"]);
        for group in texts(&rule["apiGroups"]) {
            for resource in texts(&rule["resources"]) {
                let plain = format!("{} {group}/{resource}", verbs.join(","));
                if names.is_empty() {
                    rules.insert(plain.clone());
                }
                rules.extend(names.iter().map(|name| format!("{plain}[{name}]")));
            }
        }
    }
    rules
}

fn texts(list: &Value) -> Vec<String> {
    let texts = list.as_array().into_iter().flatten();
    texts.filter_map(|text| text.as_str().map(str::to_owned)).collect()
}

pub fn row_71_the_process_is_confined(bed: &Bed) {
    let release = bed.enforce();
    let labels = bed.cluster.admin().get(&format!("namespace/{NAMESPACE}")).unwrap()["metadata"]["labels"].clone();
    assert_eq!(labels["pod-security.kubernetes.io/enforce"], "restricted", "the namespace that it runs in");
    inside_is_confined(bed, &release);
}

/// What the kernel says of the processes, not what the chart asked for.
fn inside_is_confined(bed: &Bed, release: &Release<'_>) {
    for pod in release.pod_objects() {
        let container = &pod["spec"]["containers"][0]["securityContext"];
        assert_eq!(container["readOnlyRootFilesystem"], true, "{container}");
    }
    let Some(node) = bed.cluster.own_node() else { return };
    let servers = node.servers();
    assert_eq!(servers.len(), 2, "both replicas are processes of this node");
    for (pod, status) in servers {
        for line in ["Uid:\t65532\t65532\t65532\t65532", "CapEff:\t0000000000000000", "CapBnd:\t0000000000000000"] {
            assert!(status.contains(line), "{pod}: {line:?} in {status}");
        }
        for line in ["NoNewPrivs:\t1", "Seccomp:\t2"] {
            assert!(status.contains(line), "{pod}: {line:?} in {status}");
        }
    }
}
