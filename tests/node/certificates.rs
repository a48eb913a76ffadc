//! A certificate of one's own, and the certificate that the API server shows to us.

use crate::Bed;
use crate::harness::{API, Authority, FLOATING, NAMESPACE, PATIENCE, WEBHOOK_CLIENT};
use crate::harness::{merged, until_true};
use crate::install::try_out;
use serde_json::{Value, json};

/// Our Service's names.
const NAMES: [&str; 2] = ["tagwarden.tagwarden.svc", "tagwarden.tagwarden.svc.cluster.local"];

/// A Secret with a certificate for our Service.
fn secret(name: &str, authority: &Authority) -> Value {
    let identity = authority.server("tagwarden", &NAMES);
    json!({
        "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls", "metadata": {"name": name},
        "stringData": {"tls.crt": identity.certificate, "tls.key": identity.key, "ca.crt": authority.pem},
    })
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
