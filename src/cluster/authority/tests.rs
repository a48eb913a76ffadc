//! One Secret and an API server that answers as it is told to: who makes it, who changes it, and what is told of failures.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use http::{Method, Request, Response};
use kube::client::Body;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::{AuthoritySecret, SecretData, Written};
use crate::cluster::Cluster;

/// As much of an API server as one Secret needs.
#[derive(Clone, Default)]
struct ApiServer {
    stored: Arc<Mutex<Option<Value>>>,
    /// Status codes for the next requests; then it works.
    failures: Arc<Mutex<Vec<u16>>>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl ApiServer {
    fn holding(secret: Value) -> Self {
        let server = ApiServer::default();
        *server.stored.lock().unwrap() = Some(secret);
        server
    }

    fn secret(&self) -> AuthoritySecret {
        let server = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let server = server.clone();
            async move { Ok::<_, Infallible>(server.answer(request).await) }
        });
        AuthoritySecret::of(&Cluster::of(kube::Client::new(service, "default")), "tagwarden")
    }

    async fn answer(&self, request: Request<Body>) -> Response<Body> {
        self.asked.lock().unwrap().push(format!("{} {}", request.method(), request.uri().path()));
        if let Some(code) = self.failures.lock().unwrap().pop() {
            return status(code, "Failing");
        }
        let method = request.method().clone();
        let body = request.into_body().collect_bytes().await.unwrap();
        let mut stored = self.stored.lock().unwrap();
        if method == Method::GET {
            return stored.as_ref().map_or_else(|| status(404, "NotFound"), |stored| response(200, stored));
        }
        let version = |object: &Value| object["metadata"]["resourceVersion"].as_str().unwrap_or("0").to_owned();
        let mut sent: Value = serde_json::from_slice(&body).unwrap();
        match &*stored {
            Some(_) if method == Method::POST => return status(409, "AlreadyExists"),
            Some(old) if version(old) != version(&sent) => return status(409, "Conflict"),
            None if method == Method::PUT => return status(404, "NotFound"),
            _ => {}
        }
        let next: u32 = version(&sent).parse().unwrap();
        sent["metadata"]["resourceVersion"] = json!((next + 1).to_string());
        *stored = Some(sent.clone());
        response(200, &sent)
    }

    fn stored(&self) -> Value {
        self.stored.lock().unwrap().clone().unwrap()
    }
}

fn status(code: u16, reason: &str) -> Response<Body> {
    let body = json!({"apiVersion": "v1", "kind": "Status", "status": "Failure", "reason": reason, "code": code,
        "message": "secret words"});
    response(code, &body)
}

fn response(code: u16, body: &Value) -> Response<Body> {
    Response::builder().status(code).body(Body::from(body.to_string().into_bytes())).unwrap()
}

fn object(data: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Secret", "data": data, "metadata": {"name": "tagwarden-ca",
        "resourceVersion": "7", "labels": {"app": "tagwarden"}, "annotations": {"tagwarden.dev/rotate": "one"}}})
}

fn data(value: &str) -> SecretData {
    SecretData::from([("ca.crt".to_owned(), Zeroizing::new(value.as_bytes().to_vec()))])
}

#[tokio::test]
async fn where_there_is_none_the_first_makes_it_and_the_second_reads_again() {
    let server = ApiServer::default();
    let secret = server.secret();
    let (one, other) = (secret.read().await.unwrap(), secret.read().await.unwrap());
    assert!(one.data.is_empty() && one.rotate.is_empty());
    assert_eq!(secret.write(&one, &data("one")).await, Ok(Written::Done));
    assert_eq!(secret.write(&other, &data("other")).await, Ok(Written::Overtaken));
    assert_eq!(secret.read().await.unwrap().data, data("one"));
    let path = "/api/v1/namespaces/tagwarden/secrets";
    assert_eq!(server.asked.lock().unwrap()[2], format!("POST {path}"));
}

#[tokio::test]
async fn an_empty_one_is_filled_once_and_keeps_what_the_chart_wrote() {
    let server = ApiServer::holding(object(&Value::Null));
    let secret = server.secret();
    let (one, other) = (secret.read().await.unwrap(), secret.read().await.unwrap());
    assert!(one.data.is_empty());
    assert_eq!(one.rotate, "one");
    assert_eq!(secret.write(&one, &data("one")).await, Ok(Written::Done));
    assert_eq!(secret.write(&other, &data("other")).await, Ok(Written::Overtaken));
    let stored = server.stored();
    assert_eq!(stored["metadata"]["labels"]["app"], "tagwarden");
    assert_eq!(stored["data"], json!({"ca.crt": "b25l"}));
    let now = secret.read().await.unwrap();
    assert_eq!(secret.write(&now, &data("two")).await, Ok(Written::Done));
    *server.stored.lock().unwrap() = None;
    assert_eq!(secret.write(&now, &data("two")).await, Ok(Written::Overtaken), "it vanished meanwhile");
}

#[tokio::test]
async fn what_cannot_be_had_is_one_sentence_without_a_word_of_the_secret() {
    let server = ApiServer::holding(object(&json!({"ca.key": "hunter2!"})));
    let said = server.secret().read().await.err();
    let expected = "cannot read the Secret tagwarden-ca: the API server cannot be asked, or its answer not be read";
    assert_eq!(said.as_deref(), Some(expected));
    let server = ApiServer::default();
    let secret = server.secret();
    let found = secret.read().await.unwrap();
    server.failures.lock().unwrap().extend([403, 500]);
    let said = secret.read().await.err();
    assert_eq!(said.as_deref(), Some("cannot read the Secret tagwarden-ca: the API server says 500 (Failing)"));
    let said = secret.write(&found, &data("hunter2")).await.err();
    let expected = "cannot make the Secret tagwarden-ca (it belongs to the chart: apply that again): \
                    the API server says 403 (Failing)";
    assert_eq!(said.as_deref(), Some(expected));
}
