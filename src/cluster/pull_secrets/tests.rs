//! Pull secrets against an API server that is a script.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::future::join_all;
use http::{Response, StatusCode};
use http_body_util::Full;
use kube::client::Body;
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::{FETCH_TIME, FETCHES, Lives, NAMES, PullSecretBytes, PullSecretKind, PullSecrets};
use crate::cluster::Cluster;

/// What is at which path, and what was asked for. `gate` lets as many answers out as it has permits.
struct Script {
    objects: Mutex<HashMap<String, (u16, Value)>>,
    asked: Mutex<Vec<String>>,
    gate: Semaphore,
}

impl Script {
    fn new(objects: &[(&str, u16, Value)]) -> Arc<Self> {
        let objects = objects.iter().map(|(path, code, value)| ((*path).to_owned(), (*code, value.clone())));
        let (objects, asked) = (Mutex::new(objects.collect()), Mutex::default());
        Arc::new(Script { objects, asked, gate: Semaphore::new(Semaphore::MAX_PERMITS) })
    }

    fn cluster(self: &Arc<Self>) -> Cluster {
        let script = Arc::clone(self);
        let service = tower::service_fn(move |request: http::Request<Body>| {
            let script = Arc::clone(&script);
            async move { Ok::<_, Infallible>(script.answer(request.uri().path()).await) }
        });
        Cluster::of(kube::Client::new(service, "default"))
    }

    async fn answer(&self, path: &str) -> Response<Full<Bytes>> {
        self.asked.lock().unwrap().push(path.to_owned());
        let _permit = self.gate.acquire().await.unwrap();
        let found = self.objects.lock().unwrap().get(path).cloned();
        let (code, value) = found.unwrap_or_else(|| (404, status(404)));
        let mut response = Response::new(Full::new(Bytes::from(value.to_string())));
        *response.status_mut() = StatusCode::from_u16(code).unwrap();
        response
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }

    fn put(&self, path: &str, value: Value) {
        self.objects.lock().unwrap().insert(path.to_owned(), (200, value));
    }
}

fn status(code: u16) -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "message": "WORDS", "reason": "X"})
}

fn object(kind: &str, key: &str, text: &str) -> Value {
    json!({"kind": "Secret", "metadata": {"name": "x"}, "type": kind, "data": {key: STANDARD.encode(text), "more": "!"}})
}

fn config_json(text: &str) -> Value {
    object("kubernetes.io/dockerconfigjson", ".dockerconfigjson", text)
}

fn secret(name: &str) -> String {
    format!("/api/v1/namespaces/shop/secrets/{name}")
}

fn account(name: &str) -> String {
    format!("/api/v1/namespaces/shop/serviceaccounts/{name}")
}

fn later() -> Instant {
    Instant::now() + Duration::from_secs(30)
}

/// No question of a test that is not about time runs out of it.
fn pull_secrets(script: &Arc<Script>) -> PullSecrets {
    PullSecrets::with(&script.cluster(), Lives::default(), Duration::from_secs(30))
}

async fn read(script: &Arc<Script>, names: &[&str], service_account: &str) -> PullSecretBytes {
    pull_secrets(script).read("shop", names, service_account, later()).await
}

fn texts(read: &PullSecretBytes) -> Vec<String> {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_owned()).unwrap();
    read.secrets.iter().map(|secret| format!("{}: {}", secret.name, text(&secret.bytes))).collect()
}

#[tokio::test]
async fn the_pods_secrets_are_read_in_their_order() {
    let script = Script::new(&[
        (&secret("a"), 200, config_json("{\"a\"}")),
        (&secret("b"), 200, object("kubernetes.io/dockercfg", ".dockercfg", "{\"b\"}")),
        (&account("default"), 200, json!({"imagePullSecrets": [{"name": "c"}]})),
    ]);
    let read = read(&script, &["b", "", "a", "b"], "").await;
    assert_eq!(texts(&read), ["b: {\"b\"}", "a: {\"a\"}"]);
    assert_eq!(
        (read.secrets[0].kind, read.secrets[1].kind),
        (PullSecretKind::DockerCfg, PullSecretKind::DockerConfigJson)
    );
    assert!(read.problems.is_empty() && read.no_access.is_empty(), "{read:?}");
    assert_eq!(script.asked().len(), 2, "not the service account");
}

#[tokio::test]
async fn the_service_accounts_serve_a_pod_that_names_none() {
    let script = Script::new(&[
        (&secret("a"), 200, config_json("A")),
        (&secret("b"), 200, config_json("B")),
        (&account("default"), 200, json!({"imagePullSecrets": [{"name": "a"}, {}]})),
        (&account("builder"), 200, json!({"imagePullSecrets": [{"name": "b"}], "secrets": [{"name": "x"}]})),
        (&account("bare"), 200, json!({"metadata": {}})),
    ]);
    assert_eq!(texts(&read(&script, &[], "").await), ["a: A"]);
    assert_eq!(texts(&read(&script, &[""], "builder").await), ["b: B"]);
    let bare = read(&script, &[], "bare").await;
    assert!(bare.secrets.is_empty() && bare.problems.is_empty());
    let missing = read(&script, &[], "gone").await;
    assert_eq!(missing.problems, ["service account shop/gone does not exist"]);
}

#[tokio::test]
async fn what_is_of_no_use_is_named_without_the_servers_words() {
    let script = Script::new(&[
        (&secret("good"), 200, config_json("A")),
        (&secret("opaque"), 200, object("Opaque", ".dockerconfigjson", "s3cr3t")),
        (&secret("other-key"), 200, object("kubernetes.io/dockerconfigjson", ".dockercfg", "s3cr3t")),
        (&secret("empty"), 200, json!({"type": "kubernetes.io/dockercfg"})),
        (&secret("broken"), 200, json!({"type": "kubernetes.io/dockercfg", "data": {".dockercfg": "s3cr3t!"}})),
        (&secret("failing"), 500, status(500)),
    ]);
    let names = ["opaque", "other-key", "good", "empty", "broken", "failing", "missing"];
    let read = read(&script, &names, "").await;
    assert_eq!(texts(&read), ["good: A"]);
    let expected = [
        "pull secret shop/opaque is of type Opaque: \
            images are pulled with kubernetes.io/dockerconfigjson or kubernetes.io/dockercfg",
        "pull secret shop/other-key has no key .dockerconfigjson",
        "pull secret shop/empty has no key .dockercfg",
        "pull secret shop/broken is not a Secret as the API server writes them",
        "pull secret shop/failing cannot be read from the API server",
        "pull secret shop/missing does not exist",
    ];
    assert_eq!(read.problems, expected);
}

#[tokio::test]
async fn a_name_never_leads_to_another_namespace() {
    let script = Script::new(&[(&secret("a.b-c"), 200, config_json("A"))]);
    let long = "a".repeat(254);
    let evil = ["../../other/secrets/theirs", "a/b", "a?b", "A", "a..b", "-a", "a-", "%2e%2e", "a\n", &long];
    for name in evil {
        let read = read(&script, &[name], "").await;
        assert!(read.problems[0].ends_with(" has no name that the API server allows"), "{read:?}");
        let read = pull_secrets(&script).read("shop", &[], name, later()).await;
        assert_eq!(read.problems.len(), 1, "{name}");
        let read = pull_secrets(&script).read(name, &["a.b-c"], "", later()).await;
        assert_eq!(read.problems.len(), 1, "{name}");
    }
    assert_eq!(script.asked(), [""; 0]);
    assert_eq!(texts(&read(&script, &["a.b-c"], "").await), ["a.b-c: A"]);
}

#[tokio::test]
async fn not_being_allowed_is_no_problem_and_asked_once_for_a_namespace() {
    let names: Vec<_> = (0..50).map(|n| format!("s{n}")).collect();
    let objects: Vec<_> = names.iter().map(|name| (secret(name), 403, status(403))).collect();
    let mut objects: Vec<_> = objects.iter().map(|(path, code, value)| (path.as_str(), *code, value.clone())).collect();
    let (default, elsewhere) = (account("default"), "/api/v1/namespaces/bank/secrets/a");
    objects.push((&default, 403, status(403)));
    objects.push((elsewhere, 200, config_json("A")));
    let script = Script::new(&objects);
    let pull_secrets = pull_secrets(&script);
    for name in &names {
        let read = pull_secrets.read("shop", &[name], "", later()).await;
        assert_eq!(read.no_access, [format!("pull secret shop/{name}")]);
        assert!(read.problems.is_empty() && read.secrets.is_empty());
    }
    assert_eq!(script.asked(), [secret("s0")]);
    let read = pull_secrets.read("shop", &[], "", later()).await;
    assert_eq!(read.no_access, ["service account shop/default"]);
    assert_eq!(script.asked(), [secret("s0"), account("default")]);
    assert_eq!(texts(&pull_secrets.read("bank", &["a"], "", later()).await), ["a: A"], "another namespace");
}

#[tokio::test]
async fn five_thousand_pods_are_one_question() {
    let script = Script::new(&[
        (&secret("a"), 200, config_json("A")),
        (&account("default"), 200, json!({"imagePullSecrets": [{"name": "a"}]})),
    ]);
    let pull_secrets = pull_secrets(&script);
    let pods = (0..5000).map(|_| pull_secrets.read("shop", &[], "", later()));
    assert!(join_all(pods).await.iter().all(|read| texts(read) == ["a: A"]));
    assert_eq!(script.asked(), [account("default"), secret("a")]);
}

#[tokio::test]
async fn answers_are_remembered_as_long_as_they_should() {
    let zero = Duration::ZERO;
    let (found, not_found, forbidden) = (
        Lives { found: zero, ..Lives::default() },
        Lives { not_found: zero, ..Lives::default() },
        Lives { forbidden: zero, ..Lives::default() },
    );
    // How many questions two reads are.
    let cases = [("good", [2, 1, 1]), ("missing", [1, 2, 1]), ("forbidden", [1, 1, 2])];
    for (name, expected) in cases {
        for (lives, expected) in [found, not_found, forbidden].into_iter().zip(expected) {
            let script =
                Script::new(&[(&secret("good"), 200, config_json("A")), (&secret("forbidden"), 403, status(403))]);
            let pull_secrets = PullSecrets::with(&script.cluster(), lives, Duration::from_secs(30));
            for _ in 0..2 {
                pull_secrets.read("shop", &[name], "", later()).await;
            }
            assert_eq!(script.asked().len(), expected, "{name} {lives:?}");
        }
    }
    let defaults = Lives::default();
    assert_eq!([defaults.found, defaults.not_found, defaults.forbidden].map(|life| life.as_secs()), [30, 5, 60]);
    assert_eq!(FETCH_TIME.as_secs(), 2);
}

#[tokio::test]
async fn a_changed_secret_serves_once_the_old_one_is_forgotten() {
    let script = Script::new(&[(&secret("a"), 200, config_json("old"))]);
    let lives = Lives { found: Duration::ZERO, ..Lives::default() };
    let pull_secrets = PullSecrets::with(&script.cluster(), lives, Duration::from_secs(30));
    assert_eq!(texts(&pull_secrets.read("shop", &["a"], "", later()).await), ["a: old"]);
    script.put(&secret("a"), config_json("new"));
    assert_eq!(texts(&pull_secrets.read("shop", &["a"], "", later()).await), ["a: new"]);
}

#[tokio::test]
async fn the_deadline_ends_the_waiting_and_not_the_question() {
    let script = Script::new(&[(&secret("a"), 200, config_json("A"))]);
    let all = script.gate.forget_permits(Semaphore::MAX_PERMITS);
    let pull_secrets = pull_secrets(&script);
    let read = pull_secrets.read("shop", &["a"], "", Instant::now() + Duration::from_millis(50)).await;
    assert_eq!(read.problems, ["pull secret shop/a could not be read in time"]);
    script.gate.add_permits(all);
    assert_eq!(texts(&pull_secrets.read("shop", &["a"], "", later()).await), ["a: A"]);
    assert!(script.asked().len() <= 1, "the first question's answer serves: {:?}", script.asked());
}

#[tokio::test]
async fn a_silent_server_is_given_up_and_asked_little() {
    let script = Script::new(&[]);
    script.gate.forget_permits(Semaphore::MAX_PERMITS);
    let pull_secrets = PullSecrets::with(&script.cluster(), Lives::default(), Duration::from_millis(200));
    let names: Vec<_> = (0..NAMES).map(|n| format!("s{n}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let read = pull_secrets.read("shop", &names, "", later()).await;
    assert_eq!(read.problems.len(), NAMES);
    assert_eq!(read.problems[0], "pull secret shop/s0 was not given by the API server in time");
    assert!(script.asked().len() <= FETCHES, "at one time: {:?}", script.asked());
}

#[tokio::test]
async fn one_pod_makes_few_questions() {
    let script = Script::new(&[(&secret("s0"), 200, config_json("A"))]);
    let names: Vec<_> = (0..=NAMES).map(|n| format!("s{n}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let many = read(&script, &names, "").await;
    assert_eq!(script.asked().len(), NAMES);
    assert_eq!(many.problems[0], "17 pull secrets are named; the first 16 are tried");
    assert_eq!(texts(&many), ["s0: A"]);
    let enough = read(&script, &names[..NAMES], "").await;
    assert_eq!(enough.problems.len(), NAMES - 1, "those that do not exist");
}

#[tokio::test]
async fn what_is_remembered_is_bounded_in_bytes() {
    let script = Script::new(&[]);
    let pull_secrets = pull_secrets(&script);
    for n in 0..40 {
        let name = format!("s{n}");
        script.put(&secret(&name), config_json(&"x".repeat(1 << 20)));
        let read = pull_secrets.read("shop", &[&name], "", later()).await;
        assert_eq!(read.secrets[0].bytes.len(), 1 << 20);
    }
    pull_secrets.answers.run_pending_tasks().await;
    let held = pull_secrets.answers.weighted_size();
    assert!((8 << 20..=16 << 20).contains(&held), "{held}");
}

#[test]
fn debugging_shows_no_secret() {
    let bytes = Arc::new(zeroize::Zeroizing::new(b"s3cr3t".to_vec()));
    let raw = super::RawPullSecret { name: "a".to_owned(), kind: PullSecretKind::DockerCfg, bytes };
    assert_eq!(format!("{raw:?}"), "RawPullSecret { name: \"a\", kind: DockerCfg, .. }");
}
