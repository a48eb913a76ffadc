//! What is read of a configuration, and that exactly one field of it is written.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use http::{Method, Request, Response};
use kube::client::Body;
use serde_json::{Value, json};

use super::{Webhook, WebhookConfigurations, WebhookKind};
use crate::cluster::Cluster;

type Asked = Arc<Mutex<Vec<(Method, String, Value)>>>;

/// An API server that answers each question with this, and notes it.
fn server(code: u16, answer: Value) -> (WebhookConfigurations, Asked) {
    let asked = Asked::default();
    let noted = Arc::clone(&asked);
    let service = tower::service_fn(move |request: Request<Body>| {
        let (noted, answer) = (Arc::clone(&noted), answer.to_string().into_bytes());
        async move {
            let (head, body) = request.into_parts();
            let body = body.collect_bytes().await.unwrap();
            let body = serde_json::from_slice(&body).unwrap_or_default();
            noted.lock().unwrap().push((head.method, head.uri.to_string(), body));
            Ok::<_, Infallible>(Response::builder().status(code).body(Body::from(answer)).unwrap())
        }
    });
    (WebhookConfigurations::of(&Cluster::of(kube::Client::new(service, "default"))), asked)
}

fn configuration(kind: WebhookKind) -> Value {
    let webhook = |name: &str, client: Value| json!({"name": name, "clientConfig": client, "sideEffects": "None", "admissionReviewVersions": ["v1"]});
    json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": kind.name(),
    "metadata": {"name": "tagwarden", "uid": "u-1"},
    "webhooks": [
        webhook("a.tagwarden.dev", json!({"service": {"name": "tw", "namespace": "ns"}, "caBundle": "b25l"})),
        webhook("b.tagwarden.dev", json!({"url": "https://[::1]:8443/validate"})),
    ]})
}

#[tokio::test]
async fn each_webhook_is_read_with_whom_it_dials_and_whom_it_trusts() {
    for (kind, resource) in [
        (WebhookKind::Validating, "validatingwebhookconfigurations"),
        (WebhookKind::Mutating, "mutatingwebhookconfigurations"),
    ] {
        let (configurations, asked) = server(200, configuration(kind));
        let found = configurations.read(kind, "tagwarden").await.unwrap().unwrap();
        let webhook = |name: &str, host: &str, ca_bundle: &[u8]| Webhook {
            name: name.to_owned(),
            host: Some(host.to_owned()),
            ca_bundle: ca_bundle.to_vec(),
        };
        assert_eq!(
            found.webhooks,
            [webhook("a.tagwarden.dev", "tw.ns.svc", b"one"), webhook("b.tagwarden.dev", "::1", b"")]
        );
        let path = format!("/apis/admissionregistration.k8s.io/v1/{resource}/tagwarden");
        assert_eq!(asked.lock().unwrap()[0].1, path);

        configurations.set_ca_bundle(&found, b"two").await.unwrap();
        let (method, uri, body) = asked.lock().unwrap().pop().unwrap();
        assert_eq!(method, Method::PATCH);
        assert!(
            uri.starts_with(&path) && uri.contains("fieldManager=tagwarden-ca-bundle") && uri.contains("force=true")
        );
        let only = |name: &str| json!({"name": name, "clientConfig": {"caBundle": "dHdv"}});
        let expected = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": kind.name(),
            "metadata": {"name": "tagwarden", "uid": "u-1"},
            "webhooks": [only("a.tagwarden.dev"), only("b.tagwarden.dev")]});
        assert_eq!(body, expected);
    }
}

#[tokio::test]
async fn one_that_is_not_there_is_none_and_one_that_is_forbidden_a_sentence() {
    let status = |code: u16, reason: &str| json!({"apiVersion": "v1", "kind": "Status", "status": "Failure", "reason": reason, "code": code});
    let (configurations, _) = server(404, status(404, "NotFound"));
    assert_eq!(configurations.read(WebhookKind::Mutating, "a").await, Ok(None));
    let (configurations, _) = server(403, status(403, "Forbidden"));
    let expected = "cannot read the ValidatingWebhookConfiguration 'a': the API server says 403 (Forbidden)";
    assert_eq!(configurations.read(WebhookKind::Validating, "a").await, Err(expected.to_owned()));
}
