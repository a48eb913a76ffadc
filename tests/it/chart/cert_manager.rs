//! cert-manager mode: which of its objects there are, and that they lead to one another.

use serde_json::{Value, json};

use super::render::{Render, render};

/// Kind and name of the objects that are cert-manager's.
fn objects(render: &Render) -> Vec<String> {
    let ours = render.objects.iter().filter(|object| object["apiVersion"] == "cert-manager.io/v1");
    let name = |object: &Value| format!("{} {}", object["kind"], object["metadata"]["name"]).replace('"', "");
    let mut names: Vec<String> = ours.map(name).collect();
    names.sort();
    names
}

#[test]
fn only_that_mode_has_objects_of_cert_manager() {
    assert!(objects(&render("{}")).is_empty());
    assert!(objects(&render("{tls: {existingSecret: x, caBundle: \"-----BEGIN CERTIFICATE-----\"}}")).is_empty());
}

/// A self-signed certificate would be its own authority, and each renewal a change of caBundle.
#[test]
fn without_an_issuer_an_authority_of_one_key_signs() {
    let render = render("{certManager: {enabled: true}, tls: {leafLifetime: 24h, caLifetime: 4000h}}");
    let all = [
        "Certificate tagwarden",
        "Certificate tagwarden-authority",
        "Issuer tagwarden",
        "Issuer tagwarden-self-signed",
    ];
    assert_eq!(objects(&render), all);
    let authority = &render.object("Certificate", "tagwarden-authority")["spec"];
    assert_eq!(authority["issuerRef"]["name"], "tagwarden-self-signed");
    assert_eq!(render.object("Issuer", "tagwarden-self-signed")["spec"], json!({"selfSigned": {}}));
    assert_eq!(authority["isCA"], true);
    assert_eq!(authority["privateKey"]["rotationPolicy"], "Never");
    assert_eq!(authority["duration"], "4000h");
    assert!(authority["commonName"].is_string(), "without a name no verifier finds it");
    let issuer = &render.object("Issuer", "tagwarden")["spec"];
    assert_eq!(issuer["ca"]["secretName"], authority["secretName"]);
    let leaf = &render.object("Certificate", "tagwarden")["spec"];
    assert_eq!(leaf["issuerRef"]["name"], "tagwarden");
    assert_eq!(leaf["duration"], "24h");
    assert_eq!(leaf["dnsNames"], json!(["tagwarden.tagwarden.svc", "tagwarden.tagwarden.svc.cluster.local"]));
    assert!(leaf.get("isCA").is_none());
}

#[test]
fn an_issuer_of_ones_own_signs_and_nothing_else_is_made() {
    let render = render("{certManager: {enabled: true, issuerRef: {name: ours, kind: ClusterIssuer}}}");
    assert_eq!(objects(&render), ["Certificate tagwarden"]);
    let leaf = &render.object("Certificate", "tagwarden")["spec"];
    assert_eq!(leaf["issuerRef"], json!({"name": "ours", "kind": "ClusterIssuer"}));
}

#[test]
fn the_secret_is_mounted_and_its_authority_injected() {
    let render = render("{certManager: {enabled: true}}");
    let secret = &render.object("Certificate", "tagwarden")["spec"]["secretName"];
    let volumes = render.pod()["spec"]["volumes"].as_array().unwrap();
    assert!(volumes.iter().any(|volume| &volume["secret"]["secretName"] == secret), "{secret} is mounted");
    for kind in ["ValidatingWebhookConfiguration", "MutatingWebhookConfiguration"] {
        let annotations = &render.object(kind, "tagwarden")["metadata"]["annotations"];
        assert_eq!(annotations["cert-manager.io/inject-ca-from"], "tagwarden/tagwarden");
    }
}
