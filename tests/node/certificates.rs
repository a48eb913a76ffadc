//! The two certificate modes in which somebody else makes the certificate: cert-manager, and a Secret of one's own.

use crate::Bed;
use crate::harness::{API, Authority, FLOATING, Load, Mix, NAMESPACE, PATIENCE, Release, Row, WEBHOOK_CLIENT};
use crate::harness::{merged, until_true};
use crate::install::try_out;
use serde_json::{Value, json};

/// Our Service's names.
const NAMES: [&str; 2] = ["tagwarden.tagwarden.svc", "tagwarden.tagwarden.svc.cluster.local"];

/// A Secret as cert-manager writes it.
fn secret(name: &str, authority: &Authority) -> Value {
    let identity = authority.server("tagwarden", &NAMES);
    json!({
        "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls", "metadata": {"name": name},
        "stringData": {"tls.crt": identity.certificate, "tls.key": identity.key, "ca.crt": authority.pem},
    })
}

/// The two kinds of cert-manager that the chart makes objects of, with nobody to act on them.
fn definitions() -> Value {
    let definition = |plural: &str, kind: &str| {
        json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": format!("{plural}.cert-manager.io")},
            "spec": {
                "group": "cert-manager.io", "scope": "Namespaced",
                "names": {"plural": plural, "singular": kind.to_lowercase(), "kind": kind},
                "versions": [{
                    "name": "v1", "served": true, "storage": true,
                    "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}},
                }],
            },
        })
    };
    json!({"apiVersion": "v1", "kind": "List", "items": [
        definition("certificates", "Certificate"), definition("issuers", "Issuer"),
    ]})
}

/// What cert-manager's injector does.
fn inject(bed: &Bed, release: &Release<'_>, authorities: &str) {
    let bundle = crate::tls::base64(authorities);
    let admin = bed.cluster.admin();
    for kind in ["validatingwebhookconfiguration/tagwarden", "mutatingwebhookconfiguration/tagwarden"] {
        until_true("the configurations to be there", PATIENCE, || admin.get(kind).is_some());
        let count = admin.get(kind).unwrap()["webhooks"].as_array().map_or(0, Vec::len);
        let put =
            |index| json!({"op": "add", "path": format!("/webhooks/{index}/clientConfig/caBundle"), "value": bundle});
        let patch: Value = (0..count).map(put).collect();
        admin.run(&["patch", kind, "--type=json", "-p", &patch.to_string()]).accepted();
    }
    assert!(release.bundles().iter().all(|now| now == &bundle), "the bundles are injected");
}

pub fn row_54_cert_manager(bed: &Bed) {
    let release = bed.release();
    release.remove();
    let admin = bed.cluster.admin();
    admin.apply(&definitions()).accepted();
    admin.run(&["wait", "--for=condition=Established", "crd/certificates.cert-manager.io", "--timeout=30s"]).accepted();
    admin.run(&["wait", "--for=condition=Established", "crd/issuers.cert-manager.io", "--timeout=30s"]).accepted();
    let mut values = merged(&release.enforcing(), &json!({"certManager": {"enabled": true}}));
    // cert-manager refuses certificates of minutes.
    values["tls"] = json!({});
    release.upgrade(&values, &[]).accepted();

    // What cert-manager finds, and what it makes of it.
    let certificate = release.admin().get("certificates.cert-manager.io/tagwarden").unwrap();
    assert_eq!(certificate["spec"]["dnsNames"], json!(NAMES));
    let name = certificate["spec"]["secretName"].as_str().unwrap().to_owned();
    let (first, second) = (Authority::new("first"), Authority::new("second"));
    release.admin().apply(&secret(&name, &first)).accepted();
    inject(bed, &release, &first.pem);
    let before = release.settled(2);

    // A renewal under another authority, as a person would have it: both trusted, then the new pair, then the new one alone.
    let failed_before = bed.cluster.failed_calls();
    let load = Load::start(&bed.cluster, Mix::Enforced);
    inject(bed, &release, &format!("{}{}", first.pem, second.pem));
    load.reach(300); // until the API server has noticed
    let ends = |pod: &String| {
        bed.cluster.pod_metric(NAMESPACE, pod, "tagwarden_certificate_last_reload_successful", "") == 1.0
            && release.log(pod).matches("a certificate is in use").count() >= 2
    };
    release.admin().apply(&secret(&name, &second)).accepted();
    until_true("both replicas to use the new certificate", 2 * PATIENCE, || before.iter().all(ends));
    inject(bed, &release, &second.pem);
    load.reach(300);
    assert_eq!(release.settled(2), before, "no replica was restarted");
    bed.report.add(Row::new(&bed.cluster, "cert-manager renews under another CA", load.finish(), failed_before));

    // An upgrade leaves what was injected alone.
    release.upgrade(&values, &["--wait", "--timeout=120s"]).accepted();
    assert!(release.bundles().iter().all(|bundle| bundle == &crate::tls::base64(&second.pem)));
    release.test().accepted();
    release.remove();
    admin.run(&["delete", "crd", "certificates.cert-manager.io", "issuers.cert-manager.io"]).accepted();
}

pub fn existing_secret(bed: &Bed) {
    let release = bed.release();
    release.remove();
    let authority = Authority::new("own");
    let inside = bed.cluster.namespace(NAMESPACE, &json!({"pod-security.kubernetes.io/enforce": "restricted"}));
    inside.apply(&secret("own-certificate", &authority)).accepted();
    let tls = json!({"tls": {"existingSecret": "own-certificate", "caBundle": authority.pem}});
    let mut values = release.enforcing();
    values["tls"] = json!({});
    let values = merged(&values, &tls);
    release.install(&values);
    let shop = bed.cluster.namespace("shop", &json!({}));
    until_true("Pods to be let in", PATIENCE, || try_out(&shop, API).succeeded());
    try_out(&shop, FLOATING).denied();
    release.test().accepted();
    release.remove();
    inside.run(&["delete", "secret", "own-certificate"]).accepted();
}

pub fn row_66_only_the_api_server_may_call(bed: &Bed) {
    let release = bed.release();
    let node = bed.node();
    let ca = std::fs::read_to_string(node.folder().join("webhook-client-ca.crt")).expect("the node has its authority");
    let inside = bed.cluster.namespace(NAMESPACE, &json!({"pod-security.kubernetes.io/enforce": "restricted"}));
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "callers"}, "stringData": {"ca.crt": ca},
    });
    inside.apply(&secret).accepted();
    let callers = |names: &[&str]| {
        merged(
            &release.enforcing(),
            &json!({"clientAuthentication": {"enabled": true, "secretName": "callers", "names": names}}),
        )
    };
    release.install(&callers(&[WEBHOOK_CLIENT]));
    let shop = bed.cluster.namespace("shop", &json!({}));
    until_true("the API server to be let in", PATIENCE, || try_out(&shop, API).succeeded());
    try_out(&shop, FLOATING).denied();

    let pods = release.pod_objects();
    let bundle = release.bundles().remove(0);
    for pod in &pods {
        let address = pod["status"]["podIP"].as_str().unwrap();
        let answer = crate::tls::posted(address, &bundle).unwrap_or_else(|error| error);
        assert!(!answer.contains("200 OK") && !answer.contains("TW") && !answer.contains("acme"), "{answer}");
    }
    // Another name than the API server's own keeps even that out.
    release.install(&callers(&["somebody-else"]));
    until_true("the API server to be kept out", PATIENCE, || {
        try_out(&shop, API).stderr.contains("failed calling webhook")
    });
    release.install(&release.enforcing());
    for pod in release.pod_objects() {
        let address = pod["status"]["podIP"].as_str().unwrap().to_owned();
        let answer = crate::tls::posted(&address, &release.bundles()[0]).unwrap();
        assert!(answer.starts_with("HTTP/1.") && answer.contains(" 4"), "without it anybody gets an answer: {answer}");
    }
    inside.run(&["delete", "secret", "callers"]).accepted();
}
