//! What is read of a configuration, and that exactly one field of it is written.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use http::{Method, Request, Response};
use kube::client::Body;
use serde_json::{Value, json};

use super::{Deleted, ServiceTarget, Target, Webhook, WebhookConfigurations, WebhookKind};
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
        webhook("c.tagwarden.dev", json!({"service": {"name": "tw", "namespace": "ns", "path": "/validate", "port": 8443}})),
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
        let webhook = |name: &str, target, ca_bundle: &[u8]| Webhook {
            name: name.to_owned(),
            target,
            ca_bundle: ca_bundle.to_vec(),
        };
        let service = |port, path: &str| {
            Target::Service(ServiceTarget { namespace: "ns".into(), name: "tw".into(), port, path: path.into() })
        };
        assert_eq!(
            found.webhooks,
            [
                webhook("a.tagwarden.dev", service(443, "/"), b"one"),
                webhook("b.tagwarden.dev", Target::Url("https://[::1]:8443/validate".into()), b""),
                webhook("c.tagwarden.dev", service(8443, "/validate"), b""),
            ]
        );
        let hosts: Vec<_> = found.webhooks.iter().map(Webhook::host).collect();
        assert_eq!(hosts, ["tw.ns.svc", "::1", "tw.ns.svc"].map(|host| Some(host.to_owned())));
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
            "webhooks": [only("a.tagwarden.dev"), only("b.tagwarden.dev"), only("c.tagwarden.dev")]});
        assert_eq!(body, expected);
    }
}

fn status(code: u16, reason: &str, message: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Status", "status": "Failure", "reason": reason, "code": code, "message": message})
}

#[tokio::test]
async fn one_that_is_not_there_is_none_and_one_that_is_forbidden_a_sentence() {
    let (configurations, _) = server(404, status(404, "NotFound", "not found"));
    assert_eq!(configurations.read(WebhookKind::Mutating, "a").await, Ok(None));
    let (configurations, _) = server(403, status(403, "Forbidden", "User u cannot get"));
    let expected = "may not read the ValidatingWebhookConfiguration 'a': User u cannot get; apply the chart again, its roles allow it";
    assert_eq!(configurations.read(WebhookKind::Validating, "a").await, Err(expected.to_owned()));
}

#[tokio::test]
async fn what_is_absent_is_fine_to_delete_and_anything_else_is_one_sentence() {
    for kind in [WebhookKind::Validating, WebhookKind::Mutating] {
        let delete = async |code, answer| server(code, answer).0.delete(kind, "t").await;
        assert_eq!(delete(404, status(404, "NotFound", "not found")).await, Ok(Deleted::Nothing));
        let success = json!({"apiVersion": "v1", "kind": "Status", "status": "Success"});
        assert_eq!(delete(200, success).await, Ok(Deleted::Object));
        let name = kind.name();
        let expected =
            format!("may not delete the {name} 't': User u cannot delete; apply the chart again, its roles allow it");
        assert_eq!(delete(403, status(403, "Forbidden", "User u cannot delete")).await, Err(expected));
        let expected = format!("cannot delete the {name} 't': the API server says 500: etcd is away");
        assert_eq!(delete(500, status(500, "InternalError", "etcd is away")).await, Err(expected));
    }
}
