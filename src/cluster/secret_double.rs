//! As much of an API server as one Secret needs: it stores what is sent, by the rules of versions, and fails as it is told to.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use http::{Method, Request, Response};
use kube::client::Body;
use serde_json::{Value, json};

use super::Cluster;

/// Clones share the Secret.
#[derive(Clone, Default)]
pub(super) struct SecretServer {
    /// None: there is no Secret.
    pub stored: Arc<Mutex<Option<Value>>>,
    /// Status codes for the next requests, the last one first; 0 for one that works. Then all do.
    pub failures: Arc<Mutex<Vec<u16>>>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl SecretServer {
    /// One that holds this Secret.
    pub fn holding(secret: Value) -> Self {
        let server = SecretServer::default();
        *server.stored.lock().unwrap() = Some(secret);
        server
    }

    /// The way to it.
    pub fn cluster(&self) -> Cluster {
        let server = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let server = server.clone();
            async move { Ok::<_, Infallible>(server.answer(request).await) }
        });
        Cluster::of(kube::Client::new(service, "default"))
    }

    /// The Secret, which is there.
    pub fn stored(&self) -> Value {
        self.stored.lock().unwrap().clone().unwrap()
    }

    /// Methods and paths since the last time.
    pub fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }

    async fn answer(&self, request: Request<Body>) -> Response<Body> {
        self.asked.lock().unwrap().push(format!("{} {}", request.method(), request.uri().path()));
        let failure = self.failures.lock().unwrap().pop();
        if let Some(code) = failure.filter(|code| *code != 0) {
            return status(code, if code == 404 { "NotFound" } else { "Failing" });
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
}

fn status(code: u16, reason: &str) -> Response<Body> {
    let body = json!({"apiVersion": "v1", "kind": "Status", "status": "Failure", "reason": reason, "code": code,
        "message": "secret words"});
    response(code, &body)
}

fn response(code: u16, body: &Value) -> Response<Body> {
    Response::builder().status(code).body(Body::from(body.to_string().into_bytes())).unwrap()
}
