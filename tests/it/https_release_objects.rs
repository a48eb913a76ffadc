//! Releases of directories and of ImageRelease objects, as far as their API server has to misbehave on demand: not installed,
//! gone, and what was saved unreadable.
//!
//! What a real one does with them is in tests/cluster/releases.rs. The double has to answer while a server starts, and that is
//! waited for on a thread: so the tests have several.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use hyper::StatusCode;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::api_double::{kubeconfig, serve};
use crate::https_support::{Server, Setup, pod_review, until};

const POLICY: &str = "apiVersion: tagwarden.dev/v1
kind: ImagePolicy
metadata: {name: releases}
spec: {mode: enforce, rules: [{name: any, images: [\"registry.example.com/**\"], release: require}]}
";

const OBJECTS: &str = "/apis/tagwarden.dev/v1/imagereleases";
const SAVED: &str = "/api/v1/namespaces/home/configmaps/tagwarden-last-good-releases";

/// What is answered at some paths, a status and a body (status 0: never anything); watches say nothing, and anything else is an empty list, or not there.
struct ApiServer {
    address: SocketAddr,
    answers: Arc<Mutex<BTreeMap<String, (u16, Value)>>>,
    task: JoinHandle<()>,
}

impl ApiServer {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let answers = Arc::new(Mutex::new(BTreeMap::from([(OBJECTS.to_owned(), failure(404, "NotFound"))])));
        let told = Arc::clone(&answers);
        let task = serve(listener, move |request| answer(request.uri().clone(), Arc::clone(&told)));
        ApiServer { address, answers, task }
    }

    fn say(&self, path: &str, answer: (u16, Value)) {
        self.answers.lock().unwrap().insert(path.to_owned(), answer);
    }

    /// A server whose namespaces take the releases that `releases` says, which is YAML.
    fn setup(&self, releases: &str, files: Vec<(&'static str, String)>) -> Setup {
        Setup {
            kubeconfig: Some(kubeconfig(self.address)),
            policies: vec![("p.yaml", POLICY.to_owned())],
            files,
            own_namespace: Some("home"),
            ..Setup::config(&format!("releases: {releases}\nshutdownDelay: 0s\n"))
        }
    }
}

async fn answer(uri: hyper::Uri, answers: Arc<Mutex<BTreeMap<String, (u16, Value)>>>) -> (u16, Value) {
    if uri.query().is_some_and(|query| query.contains("watch=")) {
        return std::future::pending().await;
    }
    let told = answers.lock().unwrap().get(uri.path()).cloned();
    match told {
        Some((0, _)) => std::future::pending().await,
        Some(answer) => answer,
        // Labels are not to be had; nor is the Lease.
        None if uri.path().contains("/namespaces/") => failure(404, "NotFound"),
        None => (200, list(&[])),
    }
}

fn failure(code: u16, reason: &str) -> (u16, Value) {
    let status = json!({"apiVersion": "v1", "kind": "Status", "status": "Failure", "reason": reason, "code": code, "message": reason});
    (code, status)
}

fn list(items: &[Value]) -> Value {
    json!({"apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": "7"}, "items": items})
}

fn digest(letter: char) -> String {
    format!("sha256:{}", letter.to_string().repeat(64))
}

/// An image of the repository `app` by its digest.
fn app(letter: char) -> String {
    format!("registry.example.com/acme/app@{}", digest(letter))
}

fn spec(release: &str, letter: char) -> Value {
    json!({"release": release, "images": {"app": {"repo": "registry.example.com/acme/app", "digest": digest(letter)}}})
}

fn object(name: &str, spec: &Value) -> Value {
    json!({"metadata": {"name": name, "uid": format!("uid-{name}"), "generation": 1, "resourceVersion": "7",
        "creationTimestamp": "2026-01-02T03:04:05Z"}, "spec": spec})
}

/// The ConfigMap that the elected replica fills.
fn saved(document: &Value) -> (u16, Value) {
    let bytes = k8s_openapi::ByteString(document.to_string().into_bytes());
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "tagwarden-last-good-releases"},
        "binaryData": {"document": bytes}});
    (200, map)
}

/// The finding that an image is refused by; empty where it is allowed.
async fn refused(server: &Server, image: &str) -> String {
    let response = server.review(&pod_review("shop", image)).await;
    if response["allowed"] == true { String::new() } else { response["status"]["message"].to_string() }
}

async fn ready(server: &Server) {
    until("ready", async || (server.get("/readyz").await.0 == StatusCode::OK).then_some(())).await;
}

async fn told(server: &Server, words: &str) -> String {
    until(words, async || {
        let (_, told) = server.get("/readyz?verbose").await;
        told.contains(words).then_some(told)
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn objects_that_cannot_be_listed_let_nothing_in_and_what_is_known_serves_on() {
    let api = ApiServer::start().await;
    let server = api.setup("[{objects: true}]", Vec::new()).start();
    ready(&server).await;
    let readiness = told(&server, "the ImageRelease objects cannot be listed").await;
    assert!(readiness.contains("[+]releases") && readiness.contains("is not installed"), "{readiness}");
    let denial = refused(&server, &app('a')).await;
    assert!(denial.contains("TW302") && denial.contains("cannot be listed"), "{denial}");
    assert_eq!(
        server.metric("tagwarden_release_last_reload_successful{source=\"ImageRelease objects\"}").await,
        Some(0.0)
    );
    api.say(OBJECTS, (200, list(&[])));
    told(&server, "there is no ImageRelease object: create one").await;
    assert!(refused(&server, &app('a')).await.contains("TW302"));
    server.write("config.yaml", "releases: []\n");
    until("objects are no source", async || refused(&server, &app('a')).await.contains("name none").then_some(()))
        .await;
    api.say(OBJECTS, (200, list(&[object("one", &spec("r1", 'a'))])));
    server.write("config.yaml", "releases: [{objects: true}]\n");
    until("the object's image is let in", async || refused(&server, &app('a')).await.is_empty().then_some(())).await;
    assert!(refused(&server, &app('b')).await.contains("TW301"));
    assert!(refused(&server, "registry.example.com/acme/other:v1.0.0").await.contains("TW300"));
    api.task.abort();
    let _ = api.task.await;
    assert!(refused(&server, &app('a')).await.is_empty(), "what is known serves");
    assert!(refused(&server, &app('b')).await.contains("TW301"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_object_is_told_by_its_path_and_does_not_stop_the_others() {
    let api = ApiServer::start().await;
    let mut bad = object("typo", &spec("r2", 'b'));
    bad["spec"]["images"]["app"]["digset"] = json!("x");
    api.say(OBJECTS, (200, list(&[object("one", &spec("r1", 'a')), bad])));
    let server = api.setup("[{objects: true}]", Vec::new()).start();
    ready(&server).await;
    assert!(refused(&server, &app('a')).await.is_empty());
    let said = "ImageRelease typo: spec.images.app.digset: unknown key 'digset'; did you mean 'digest'?";
    told(&server, said).await;
    let line = server.log.wait(|line| line["object"] == "typo" && line["path"] == "spec.images.app.digset");
    assert!(line["problem"].as_str().unwrap().contains("did you mean 'digest'?"), "{line}");
    for (metric, value) in [
        ("tagwarden_release_last_reload_successful{source=\"ImageRelease objects\"}", 0.0),
        ("tagwarden_releases_from_last_good{source=\"ImageRelease objects\"}", 0.0),
    ] {
        assert_eq!(server.metric(metric).await, Some(value), "{metric}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_with_errors_waits_for_what_was_saved_of_it_and_serves_that_until_it_is_good() {
    let api = ApiServer::start().await;
    api.say(SAVED, failure(500, "InternalError"));
    let bad = spec("r1", 'a').to_string().replace("sha256:", "sha25:");
    let server = api.setup("[{dir: releases}]", vec![("releases/r1.json", bad)]).start();
    told(&server, "releases/r1.json:1:").await;
    assert!(refused(&server, &app('a')).await.contains("TW302"));
    let files = json!([["r1.json", spec("r1", 'a').to_string()]]);
    let other = json!([["r9.json", spec("r9", 'b').to_string()]]);
    api.say(
        SAVED,
        saved(&json!({"directories": {"releases": {"read": 1_700_000_000, "files": files},
            "releases2": {"read": 1, "files": other}}})),
    );
    until("what was saved serves", async || refused(&server, &app('a')).await.is_empty().then_some(())).await;
    assert!(refused(&server, &app('b')).await.contains("TW301"), "of another directory");
    let told = told(&server, "what was saved when they had no errors is in force").await;
    assert!(told.contains("[+]releases") && told.contains("r1.json"), "{told}");
    for (metric, value) in [
        ("tagwarden_releases_from_last_good{source=\"releases\"}", 1.0),
        ("tagwarden_release_last_reload_successful{source=\"releases\"}", 0.0),
        ("tagwarden_release_loaded_timestamp_seconds{source=\"releases\"}", 1_700_000_000.0),
    ] {
        assert_eq!(server.metric(metric).await, Some(value), "{metric}");
    }
    server.write("releases/r1.json", &spec("r1", 'b').to_string());
    until("the good file decides", async || refused(&server, &app('b')).await.is_empty().then_some(())).await;
    assert!(refused(&server, &app('a')).await.contains("TW301"));
    assert_eq!(server.metric("tagwarden_releases_from_last_good{source=\"releases\"}").await, Some(0.0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_directory_does_not_get_what_was_saved_of_the_old_one() {
    let api = ApiServer::start().await;
    let files = json!([["r1.json", spec("r1", 'a').to_string()]]);
    api.say(SAVED, saved(&json!({"directories": {"old": {"read": 7, "files": files}}})));
    let bad = || vec![("old/r1.json", "{".to_owned()), ("new/r1.json", "{".to_owned())];
    let old = api.setup("[{dir: old}]", bad()).start();
    until("what was saved serves", async || refused(&old, &app('a')).await.is_empty().then_some(())).await;
    old.write("config.yaml", "releases: [{dir: new}]\n");
    until("the other directory", async || refused(&old, &app('a')).await.contains("of new have errors").then_some(()))
        .await;
    let new = api.setup("[{dir: new}]", bad()).start();
    ready(&new).await;
    assert!(refused(&new, &app('a')).await.contains("TW302"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_has_not_read_its_releases_yet_is_not_ready() {
    let api = ApiServer::start().await;
    // Neither answered nor refused: the question is open.
    api.say(SAVED, (0, Value::Null));
    let server = api.setup("[{dir: nowhere}]", Vec::new()).start();
    let readiness = told(&server, "cannot read nowhere").await;
    assert!(readiness.contains("[-]releases"), "{readiness}\n{}", server.log.text());
    api.say(SAVED, failure(403, "Forbidden"));
    ready(&server).await;
    assert!(refused(&server, &app('a')).await.contains("TW302"), "nothing was saved, as far as can be known");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn objects_that_were_saved_serve_where_they_cannot_be_listed_and_the_list_goes_before_them() {
    let api = ApiServer::start().await;
    let item = json!({"name": "one", "created": "2026-01-02T03:04:05Z", "spec": spec("r1", 'a').to_string()});
    api.say(SAVED, saved(&json!({"objects": {"read": 7, "items": {"uid-one": item}}})));
    let server = api.setup("[{objects: true}]", Vec::new()).start();
    ready(&server).await;
    until("what was saved serves", async || refused(&server, &app('a')).await.is_empty().then_some(())).await;
    let told = told(&server, "what was saved when they had no errors is in force").await;
    assert!(told.contains("cannot be listed"), "{told}");
    // The one that was saved, now with an error; and one more.
    let mut bad = object("one", &spec("r1", 'a'));
    bad["spec"]["images"]["app"]["digest"] = json!("sha256:x");
    api.say(
        OBJECTS,
        (
            200,
            list(&[
                bad,
                object(
                    "two",
                    &json!({"release": "r2", "previous": ["r1"],
        "images": {"app": {"repo": "registry.example.com/acme/app", "digest": digest('b')}}}),
                ),
            ]),
        ),
    );
    until("the list decides", async || refused(&server, &app('b')).await.is_empty().then_some(())).await;
    assert!(refused(&server, &app('a')).await.is_empty(), "what was saved of the bad one stays");
}

#[test]
fn objects_need_a_cluster() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    std::fs::create_dir(root.join("policies")).unwrap();
    std::fs::write(root.join("policies/p.yaml"), POLICY).unwrap();
    std::fs::write(root.join("config.yaml"), "releases: [{dir: policies}, {objects: true}]\n").unwrap();
    let mut command = crate::https_support::program();
    command.current_dir(root).args(["serve", "--config", "config.yaml", "--policies", "policies", "--dev"]);
    let output = command.args(["--listen", "127.0.0.1:0", "--health-listen", "127.0.0.1:0"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("'releases[1].objects: true' needs a cluster: name a directory by 'dir'"), "{said}");
}
