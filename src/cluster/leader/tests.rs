//! Leases on an API server that fails and stays silent as it is told to: who holds which, and for how long at the most.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{Method, Request, Response};
use kube::client::Body;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::time::{Instant, timeout};

use super::{Leadership, Lease};
use crate::cluster::{Cluster, impatient};

/// As much of an API server as Leases need, by path.
#[derive(Clone, Default)]
struct ApiServer {
    leases: Arc<Mutex<BTreeMap<String, Value>>>,
    /// How many of the next requests fail.
    failures: Arc<Mutex<u32>>,
}

impl ApiServer {
    fn sought(&self, lease: Lease, identity: &str) -> Leadership {
        let server = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let server = server.clone();
            async move { Ok::<_, Infallible>(server.answer(request).await) }
        });
        let cluster = Cluster::of(kube::Client::new(service, "default"));
        Leadership::sought(&cluster, lease, "tagwarden".to_owned(), identity.to_owned())
    }

    async fn answer(&self, request: Request<Body>) -> Response<Body> {
        let left = self.failures.lock().unwrap().checked_sub(1);
        if let Some(left) = left {
            *self.failures.lock().unwrap() = left;
            return response(500, &json!({"status": "Failure", "reason": "Failing", "code": 500}));
        }
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let sent = request.into_body().collect_bytes().await.unwrap();
        let mut leases = self.leases.lock().unwrap();
        // The chart ships them empty.
        let lease = leases.entry(path).or_insert_with(|| json!({"metadata": {"name": "x"}}));
        if method == Method::PATCH {
            let sent: Value = serde_json::from_slice(&sent).unwrap();
            for (field, value) in sent["spec"].as_object().unwrap() {
                lease["spec"][field] = value.clone();
            }
        }
        response(200, lease)
    }

    fn holders(&self) -> Vec<(String, Value)> {
        let leases = self.leases.lock().unwrap();
        leases.iter().map(|(path, lease)| (path.clone(), lease["spec"]["holderIdentity"].clone())).collect()
    }
}

fn response(code: u16, body: &Value) -> Response<Body> {
    Response::builder().status(code).body(Body::from(body.to_string().into_bytes())).unwrap()
}

async fn until(leadership: &mut Leadership, held: bool) {
    let changes = async {
        while leadership.held() != held {
            leadership.changed().await;
        }
    };
    timeout(Duration::from_secs(60), changes).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn whoever_resigns_is_succeeded_at_the_next_look_and_not_when_the_lease_runs_out() {
    let server = ApiServer::default();
    let mut first = server.sought(Lease::Shared, "first");
    until(&mut first, true).await;
    let mut second = server.sought(Lease::Shared, "second");
    assert!(timeout(Duration::from_secs(60), second.changed()).await.is_err(), "the first renews it");
    let from = Instant::now();
    first.resign().await;
    assert!(!first.held());
    until(&mut second, true).await;
    assert!(from.elapsed() < Duration::from_secs(6), "{:?}", from.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_cannot_be_renewed_is_not_held_any_more_and_then_again() {
    let server = ApiServer::default();
    let mut leadership = server.sought(Lease::Shared, "one");
    until(&mut leadership, true).await;
    *server.failures.lock().unwrap() = 3;
    let from = Instant::now();
    until(&mut leadership, false).await;
    assert!(from.elapsed() < Duration::from_secs(15), "{:?}", from.elapsed());
    until(&mut leadership, true).await;
    assert_eq!(*server.failures.lock().unwrap(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_nonsense_in_a_lease_makes_of_the_library_is_got_over() {
    let server = ApiServer::default();
    let mut leadership = server.sought(Lease::Shared, "one");
    until(&mut leadership, true).await;
    for lease in server.leases.lock().unwrap().values_mut() {
        lease["spec"] = json!({"holderIdentity": "x", "leaseDurationSeconds": "x", "renewTime": "x"});
    }
    until(&mut leadership, false).await;
    for lease in server.leases.lock().unwrap().values_mut() {
        lease["spec"] = json!({});
    }
    until(&mut leadership, true).await;
}

#[tokio::test(start_paused = true)]
async fn each_lease_is_of_its_own() {
    let server = ApiServer::default();
    let mut shared = server.sought(Lease::Shared, "of-files");
    until(&mut shared, true).await;
    let mut authority = server.sought(Lease::Authority, "self-managed");
    until(&mut authority, true).await;
    let of = |name: &str, holder: &str| {
        (format!("/apis/coordination.k8s.io/v1/namespaces/tagwarden/leases/{name}"), json!(holder))
    };
    assert_eq!(server.holders(), [of("tagwarden", "of-files"), of("tagwarden-ca", "self-managed")]);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_stays_silent_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    let client = kube::Client::try_from(impatient(kube::Config::new(url))).unwrap();
    let leases = kube::Api::<k8s_openapi::api::coordination::v1::Lease>::namespaced(client, "tagwarden");
    let asked = timeout(Duration::from_secs(30), leases.get("tagwarden")).await;
    assert!(asked.expect("it ends by itself").is_err());
    drop(listener);
}
