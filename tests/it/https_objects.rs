//! ImagePolicy objects as far as their API server has to misbehave on demand: not installed, forbidden, gone.
//!
//! What a real one does with them is in tests/cluster/policies.rs.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use hyper::StatusCode;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::api_double::{kubeconfig, serve};
use crate::https_support::{RELEASES, Server, Setup, until};

/// What is answered, a status and a body: to listing the objects, and to reading what was saved. Watches say nothing.
#[derive(Clone)]
struct Answers {
    objects: (u16, Value),
    saved: (u16, Value),
}

struct ApiServer {
    address: SocketAddr,
    answers: Arc<Mutex<Answers>>,
    task: JoinHandle<()>,
}

impl ApiServer {
    async fn start(status: u16, body: Value) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let nothing = Answers { objects: (status, body), saved: (404, failure(404, "NotFound")) };
        let answers = Arc::new(Mutex::new(nothing));
        let told = Arc::clone(&answers);
        let task = serve(listener, move |request| answer(request.uri().to_string(), Arc::clone(&told)));
        ApiServer { address, answers, task }
    }

    fn say(&self, status: u16, body: Value) {
        self.answers.lock().unwrap().objects = (status, body);
    }
}

async fn answer(path: String, answers: Arc<Mutex<Answers>>) -> (u16, Value) {
    if path.contains("watch=") {
        std::future::pending().await
    } else if path.starts_with("/apis/tagwarden.dev/v1/imagepolicies?") {
        answers.lock().unwrap().objects.clone()
    } else if path.ends_with("/configmaps/tagwarden-last-good") {
        answers.lock().unwrap().saved.clone()
    } else if path.contains("/namespaces/") {
        // Labels are not to be had, so a selector applies; nor is the Lease.
        (404, failure(404, "NotFound"))
    } else {
        (200, json!({"apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": "7"}, "items": []}))
    }
}

fn failure(code: u16, reason: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Status", "status": "Failure", "reason": reason, "code": code, "message": reason})
}

/// A policy that lets `tag` in, from anywhere.
fn object(name: &str, tag: &str) -> Value {
    json!({"metadata": {"name": name, "uid": name, "generation": 1, "resourceVersion": "7"},
        "spec": {"mode": "enforce", "rules": [{"images": ["**"], "tags": [tag]}]}})
}

fn list(items: &[Value]) -> Value {
    json!({"apiVersion": "tagwarden.dev/v1", "kind": "ImagePolicyList", "metadata": {"resourceVersion": "7"}, "items": items})
}

fn setup(api: &ApiServer, config: &str) -> Setup {
    let kubeconfig = Some(kubeconfig(api.address));
    Setup { kubeconfig, policies: Vec::new(), ..Setup::config(&format!("{config}shutdownDelay: 0s\n")) }
}

async fn ready(server: &Server) {
    until("ready", async || (server.get("/readyz").await.0 == StatusCode::OK).then_some(())).await;
}

#[tokio::test]
async fn row_56_until_the_objects_were_listed_it_is_not_ready_and_lets_nothing_in() {
    let api = ApiServer::start(404, failure(404, "NotFound")).await;
    // Files alone would let it in: what is not listed yet might not.
    let config = setup(&api, "policies: {objects: true}\n");
    let server = Setup { policies: vec![("p.yaml", RELEASES.to_owned())], ..config }.start();
    for (status, reason, said) in [(404, "NotFound", "is not installed"), (403, "Forbidden", "ClusterRole")] {
        api.say(status, failure(status, reason));
        let told = until("the reason", async || {
            let (status, told) = server.get("/readyz?verbose").await;
            assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
            told.contains(said).then_some(told)
        })
        .await;
        assert!(told.contains("[-]policies") && told.contains("have not been listed yet"), "{told}");
        assert!(!server.allows("nginx:v1.2.3").await);
        assert_eq!(server.metric("tagwarden_policy_last_reload_successful").await, Some(0.0));
    }
    server.log.wait(|line| line["problem"].as_str().is_some_and(|text| text.contains("is not installed")));
    api.say(200, list(&[object("own", "semver")]));
    ready(&server).await;
    assert!(server.allows("nginx:v1.2.3").await && !server.allows("nginx:1.2.3").await, "both have to let it in");
    api.task.abort();
    let _ = api.task.await;
    assert!(server.allows("nginx:v1.2.3").await && !server.allows("nginx:latest").await, "what is known serves");
    assert_eq!(server.get("/readyz").await.0, StatusCode::OK);
}

#[tokio::test]
async fn a_bad_object_is_told_by_its_path_and_does_not_stop_the_others() {
    let mut bad = object("typo", "relase");
    bad["spec"]["rulez"] = json!([]);
    let api = ApiServer::start(200, list(&[object("own", "release"), bad])).await;
    let server = setup(&api, "policies: {objects: true}\n").start();
    ready(&server).await;
    assert!(server.allows("nginx:v1.2.3").await && !server.allows("nginx:latest").await);
    let (_, told) = server.get("/readyz?verbose").await;
    for said in [
        "ImagePolicy typo: spec.rulez: unknown key 'rulez'; did you mean 'rules'?",
        "ImagePolicy typo: spec.rules[0].tags[0]: 'relase' is not a tag class or a pattern; did you mean 'release'?",
    ] {
        assert!(told.contains(said), "{told}");
    }
    let line = server.log.wait(|line| line["object"] == "typo" && line["path"] == "spec.rulez");
    assert!(line["problem"].as_str().unwrap().contains("did you mean 'rules'?"), "{line}");
    assert_eq!(server.metric("tagwarden_policies{state=\"loaded\"}").await, Some(1.0));
    assert_eq!(server.metric("tagwarden_policies{state=\"failed\"}").await, Some(1.0));
    assert_eq!(server.metric("tagwarden_policy_last_reload_successful").await, Some(0.0));
    assert_eq!(server.metric("tagwarden_policy_set_from_last_good").await, Some(0.0));
}

#[tokio::test]
async fn row_56_no_policy_at_all_is_not_ready_unless_it_is_allowed() {
    let api = ApiServer::start(200, list(&[])).await;
    let server = setup(&api, "policies: {objects: true}\n").start();
    until("what is missing is told", async || {
        server.get("/readyz?verbose").await.1.contains("there is no policy at all").then_some(())
    })
    .await;
    assert_eq!(server.get("/readyz").await.0, StatusCode::SERVICE_UNAVAILABLE);
    assert!(!server.allows("nginx:v1.2.3").await);
    let allowed = setup(&api, "policies: {objects: true, allowEmpty: true}\n").start();
    ready(&allowed).await;
    assert!(allowed.allows("nginx:latest").await);
}

#[tokio::test]
async fn objects_come_and_go_with_the_configuration() {
    let api = ApiServer::start(200, list(&[object("own", "release")])).await;
    let config = setup(&api, "");
    let server = Setup { policies: vec![("p.yaml", RELEASES.replace("[release]", "[semver]"))], ..config }.start();
    assert!(server.allows("nginx:1.2.3").await, "objects are no source");
    server.write("config.yaml", "policies: {objects: true}\n");
    until("the object decides", async || (!server.allows("nginx:1.2.3").await).then_some(())).await;
    assert!(server.allows("nginx:v1.2.3").await);
    server.write("config.yaml", "policies: {objects: false}\n");
    until("files alone decide", async || server.allows("nginx:1.2.3").await.then_some(())).await;
}

#[tokio::test]
async fn a_configuration_under_which_an_object_in_force_has_errors_is_not_taken() {
    let mut selects = object("own", "release");
    selects["spec"]["namespaces"] = json!({"selector": {"matchLabels": {"environment": "prod"}}});
    // Beside one that has none: the set alone would do.
    let api = ApiServer::start(200, list(&[selects, object("other", "semver")])).await;
    let server = setup(&api, "policies: {objects: true}\ntrustedNamespaceLabels: [environment]\n").start();
    ready(&server).await;
    assert!(!server.allows("nginx:latest").await);
    server.write("config.yaml", "policies: {objects: true, maxMode: audit}\n");
    server.log.wait(|line| line["object"] == "own" && line["problem"].as_str().is_some_and(|p| p.contains("trusted")));
    assert!(!server.allows("nginx:latest").await, "the old configuration stays, and the policy with it");
    server.write("config.yaml", "policies: {objects: true, maxMode: audit}\ntrustedNamespaceLabels: [environment]\n");
    until("the configuration is taken", async || server.allows("nginx:latest").await.then_some(())).await;
}

#[tokio::test]
async fn row_56_a_bad_first_policy_waits_for_what_was_saved_and_serves_that() {
    let api = ApiServer::start(200, list(&[])).await;
    api.answers.lock().unwrap().saved = (500, failure(500, "InternalError"));
    let config = setup(&api, "");
    let bad = vec![("p.yaml", RELEASES.replace("enforce", "enforced"))];
    let server = Setup { policies: bad, own_namespace: Some("home"), ..config }.start();
    let told = until("what is missing is told", async || {
        let (status, told) = server.get("/readyz?verbose").await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        told.contains("cannot be read yet").then_some(told)
    })
    .await;
    assert!(told.contains("did you mean 'enforce'?"), "{told}");
    assert!(!server.allows("nginx:v1.2.3").await);
    server.log.wait(|line| line["message"] == "cannot read the saved policies; trying again");
    let saved = json!({"files": [["p.yaml", RELEASES]]}).to_string();
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "tagwarden-last-good"},
        "binaryData": {"document": k8s_openapi::ByteString(saved.into_bytes())}});
    api.answers.lock().unwrap().saved = (200, map);
    ready(&server).await;
    assert!(server.allows("nginx:v1.2.3").await && !server.allows("nginx:latest").await);
    assert_eq!(server.metric("tagwarden_policy_set_from_last_good").await, Some(1.0));
    let (_, told) = server.get("/readyz?verbose").await;
    assert!(told.contains("what was saved") && told.contains("p.yaml:4:"), "{told}");
    server.write("policies/p.yaml", &RELEASES.replace("[release]", "[semver]"));
    until("the good file decides", async || server.allows("nginx:1.2.3").await.then_some(())).await;
    assert_eq!(server.metric("tagwarden_policy_set_from_last_good").await, Some(0.0));
}

/// What the elected replica saved of objects, as its ConfigMap holds it.
fn saved_objects(objects: &[Value]) -> Value {
    let text = |object: &Value| {
        let mut policy = object.clone();
        policy["apiVersion"] = json!("tagwarden.dev/v1");
        policy["kind"] = json!("ImagePolicy");
        policy["metadata"] = json!({"name": object["metadata"]["name"]});
        policy.to_string()
    };
    let named =
        objects.iter().map(|object| (object["metadata"]["name"].as_str().unwrap().to_owned(), text(object).into()));
    let saved = json!({"objects": Value::Object(named.collect())}).to_string();
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "tagwarden-last-good"},
        "binaryData": {"document": k8s_openapi::ByteString(saved.into_bytes())}})
}

#[tokio::test]
async fn row_56_a_start_under_settings_that_an_object_in_force_does_not_compile_under_is_not_ready() {
    let mut selects = object("own", "release");
    selects["spec"]["namespaces"] = json!({"selector": {"matchLabels": {"environment": "prod"}}});
    let both = [selects, object("other", "semver")];
    let api = ApiServer::start(200, list(&both)).await;
    api.answers.lock().unwrap().saved = (200, saved_objects(&both));
    let server = Setup { own_namespace: Some("home"), ..setup(&api, "policies: {objects: true}\n") }.start();
    let told = until("what is lost is told", async || {
        let (status, told) = server.get("/readyz?verbose").await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{told}");
        told.contains("ImagePolicy own: a version of this object was in force").then_some(told)
    })
    .await;
    assert!(told.contains("trustedNamespaceLabels") && told.contains("or delete it"), "{told}");
    assert!(!server.allows("nginx:1.2.3").await, "the other one alone would let it in");
    server.write("config.yaml", "policies: {objects: true}\ntrustedNamespaceLabels: [environment]\n");
    ready(&server).await;
    assert!(server.allows("nginx:v1.2.3").await && !server.allows("nginx:1.2.3").await, "both have to let it in");
}

#[tokio::test]
async fn row_56_where_objects_cannot_be_listed_those_that_were_saved_serve() {
    let api = ApiServer::start(404, failure(404, "NotFound")).await;
    api.answers.lock().unwrap().saved = (200, saved_objects(&[object("own", "release")]));
    let server = Setup { own_namespace: Some("home"), ..setup(&api, "policies: {objects: true}\n") }.start();
    ready(&server).await;
    assert!(server.allows("nginx:v1.2.3").await && !server.allows("nginx:1.2.3").await);
    let (_, told) = server.get("/readyz?verbose").await;
    for said in ["what was saved", "cannot be listed", "is not installed"] {
        assert!(told.contains(said), "{told}");
    }
    assert_eq!(server.metric("tagwarden_policy_set_from_last_good").await, Some(1.0));
    assert_eq!(server.metric("tagwarden_policy_last_reload_successful").await, Some(0.0));
    api.say(200, list(&[object("new", "semver")]));
    until("the list decides", async || server.allows("nginx:1.2.3").await.then_some(())).await;
    assert_eq!(server.metric("tagwarden_policy_set_from_last_good").await, Some(0.0));
    assert_eq!(server.metric("tagwarden_policy_last_reload_successful").await, Some(1.0));
}
