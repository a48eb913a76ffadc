//! From the start to the end: what keeps a server from starting, what makes it ready, what it does without its API
//! server, and how it goes.

use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use hyper::StatusCode;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

use crate::api_double::{kubeconfig, nobody, serve};
use crate::https_support::{
    Connection, PROTOCOLS, Protocol, RELEASES, Server, Setup, client_tls, now, pod_review, program, server_pair, until,
    write_pair,
};

/// Applies where the namespace has the label `environment: prod`, or where that is not known.
const IN_PROD: &str = "apiVersion: tagwarden.dev/v1
kind: ImagePolicy
metadata: {name: prod}
spec:
  mode: enforce
  namespaces: {selector: {matchLabels: {environment: prod}}}
  rules: [{images: [\"**\"], tags: [release]}]
";

const TRUSTED: &str = "trustedNamespaceLabels: [environment]\nshutdownDelay: 0s\n";

/// A setup for a cluster whose API server is at `address`.
fn in_cluster(address: SocketAddr, policy: &str) -> Setup {
    Setup {
        config: TRUSTED.to_owned(),
        kubeconfig: Some(kubeconfig(address)),
        policies: vec![("p.yaml", policy.to_owned())],
        ..Setup::default()
    }
}

/// As much of an API server as namespaces need: a list, and a watch in which nothing happens.
struct ApiServer {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl ApiServer {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let paths = Arc::clone(&asked);
        let task = serve(listener, move |request| {
            let path = request.uri().to_string();
            paths.lock().unwrap().push(path.clone());
            answer(path)
        });
        ApiServer { address, asked, task }
    }

    async fn stop(self) {
        self.task.abort();
        let _ = self.task.await;
    }
}

fn namespace(name: &str, environment: &str) -> Value {
    let labels = json!({"environment": environment, "kubernetes.io/metadata.name": name});
    json!({"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata",
        "metadata": {"name": name, "labels": labels, "resourceVersion": "7", "uid": name}})
}

async fn answer(path: String) -> (u16, Value) {
    if path.contains("watch=") {
        std::future::pending().await
    } else if path.starts_with("/api/v1/namespaces?") {
        let items = [namespace("shop", "prod"), namespace("lab", "test")];
        (
            200,
            json!({"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadataList",
            "metadata": {"resourceVersion": "7"}, "items": items}),
        )
    } else if path.starts_with("/api/v1/namespaces/fresh") {
        (200, namespace("fresh", "test"))
    } else {
        (
            404,
            json!({"apiVersion": "v1", "kind": "Status", "status": "Failure", "reason": "NotFound", "code": 404,
            "message": "not found"}),
        )
    }
}

#[tokio::test]
async fn row_60_labels_decide_and_go_on_deciding_without_the_api_server() {
    let api = ApiServer::start().await;
    let server = in_cluster(api.address, IN_PROD).start();
    until("ready", async || (server.get("/readyz").await.0 == StatusCode::OK).then_some(())).await;
    let mut connection = server.http1().await;
    let mut allowed = async |namespace: &str| {
        connection.review("/validate?timeout=2s", &pod_review(namespace, "nginx:latest")).await["allowed"].clone()
    };
    assert_eq!(allowed("shop").await, false, "prod by its label");
    assert_eq!(allowed("lab").await, true, "another label");
    assert_eq!(allowed("fresh").await, true, "asked for once, because the watch has not seen it");
    assert_eq!(allowed("missing").await, false, "no labels to be had: the selector applies");
    let asked = api.asked.lock().unwrap().clone();
    assert_eq!(asked.iter().filter(|path| path.contains("namespaces/fresh")).count(), 1, "{asked:?}");
    api.stop().await;
    assert_eq!(allowed("shop").await, false);
    assert_eq!(allowed("lab").await, true, "what was known still serves");
    assert_eq!(server.get("/readyz").await.0, StatusCode::OK, "and stays ready");
}

#[tokio::test]
async fn row_60_without_ever_reaching_the_api_server_it_serves_and_is_not_ready() {
    let server = in_cluster(nobody().await, IN_PROD).start();
    let (status, said) = server.get("/readyz?verbose").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(said.contains("[-]namespaces") && said.contains("[+]policies"), "{said}");
    assert_eq!(server.get("/livez").await.0, StatusCode::OK);
    assert!(!server.allows("nginx:latest").await && server.allows("nginx:v1.2.3").await);
}

#[tokio::test]
async fn row_19_at_the_deadline_there_is_a_verdict_and_no_dropped_connection() {
    // Takes connections, and never says anything.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = in_cluster(silent.local_addr().unwrap(), IN_PROD).start();
    for protocol in PROTOCOLS {
        let mut connection = server.connection(protocol).await;
        for (image, allowed) in [("nginx:latest", false), ("nginx:v1.2.3", true)] {
            let began = Instant::now();
            let response = connection.review("/validate?timeout=1s", &pod_review("shop", image)).await;
            assert_eq!(response["allowed"], allowed, "{protocol:?} {image}");
            assert!(began.elapsed() < 5 * Duration::from_millis(500), "{:?}", began.elapsed());
        }
    }
}

#[tokio::test]
async fn row_56_a_bad_first_policy_in_a_cluster_is_up_not_ready_and_lets_nothing_in() {
    let api = ApiServer::start().await;
    let server = in_cluster(api.address, "kind: ImagePolicy\nspec: {mod: enforce}\n").start();
    for image in ["nginx:latest", "nginx:v1.2.3"] {
        let response = server.review(&pod_review("shop", image)).await;
        assert!(response["status"]["message"].as_str().unwrap().contains("TW999"), "{response}");
    }
    let (status, said) = server.get("/readyz?verbose").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(said.contains("[-]policies") && said.contains("did you mean 'mode'?"), "{said}");
    server.log.wait(|line| line["problem"].as_str().is_some_and(|text| text.contains("did you mean 'mode'?")));
    server.write("policies/p.yaml", RELEASES);
    until("ready", async || (server.get("/readyz").await.0 == StatusCode::OK).then_some(())).await;
    assert!(server.allows("nginx:v1.2.3").await);
}

#[tokio::test]
async fn row_55_ready_once_everything_is_there_and_alive_throughout() {
    let server = Setup::default().start();
    let (status, said) = server.get("/readyz").await;
    assert_eq!((status, said.as_str()), (StatusCode::OK, "ok\n"));
    let (_, said) = server.get("/readyz?verbose").await;
    for condition in ["[+]certificate", "[+]policies", "[+]namespaces", "[+]serving"] {
        assert!(said.contains(condition), "{said}");
    }
    assert_eq!(server.get("/livez").await, (StatusCode::OK, "ok\n".to_owned()));
    assert_eq!(server.get("/validate").await.0, StatusCode::NOT_FOUND, "reviews have a port of their own");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_57_sigterm_under_load_loses_no_call() {
    let mut server = Setup::config("shutdownDelay: 2s\n").start();
    let (address, authority) = (server.webhook, server.authority.pem().to_owned());
    // As a Service's endpoints: a client that finds it not ready goes elsewhere.
    let (gone, not_ready) = tokio::sync::watch::channel(false);
    let mut clients = JoinSet::new();
    for protocol in PROTOCOLS {
        for _ in 0..2 {
            let (authority, not_ready) = (authority.clone(), not_ready.clone());
            clients.spawn(async move {
                let name: &[u8] = if matches!(protocol, Protocol::Http2) { b"h2" } else { b"http/1.1" };
                let open = || Connection::open(address, client_tls(&authority, None, &[name]));
                let mut connection = open().await.unwrap();
                let (mut answers, mut told_to_go) = (0, 0);
                while !*not_ready.borrow() {
                    let answer =
                        connection.post("/validate", pod_review("shop", "nginx:v1.2.3").to_string()).await.unwrap();
                    assert_eq!(answer.status(), StatusCode::OK);
                    answers += 1;
                    if answer.headers().get("connection").is_some_and(|value| value == "close") {
                        told_to_go += 1;
                        connection = open().await.unwrap();
                    }
                }
                (protocol, answers, told_to_go)
            });
        }
    }
    until("load", async || {
        let name = "tagwarden_admission_duration_seconds_count{endpoint=\"validate\"}";
        (server.metric(name).await? > 50.0).then_some(())
    })
    .await;
    server.terminate();
    let began = Instant::now();
    until("not ready", async || (server.get("/readyz").await.0 != StatusCode::OK).then_some(())).await;
    // A good part of the delay passes under load before the last client has noticed.
    until("half of the delay", async || (began.elapsed() > Duration::from_secs(1)).then_some(())).await;
    gone.send(true).unwrap();
    while let Some(client) = clients.join_next().await {
        let (protocol, answers, told_to_go) = client.expect("a call failed");
        assert!(answers > 0);
        assert_eq!(told_to_go > 0, matches!(protocol, Protocol::Http1), "Connection: close is for HTTP/1.1");
    }
    assert!(server.ended().await.success());
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn row_57_what_was_begun_is_finished_before_the_end() {
    let mut server = Setup::config("shutdownDelay: 0s\n").start();
    for protocol in PROTOCOLS {
        // Open, and idle, while the server goes.
        std::mem::forget(server.connection(protocol).await);
    }
    let mut held = server.raw().await;
    let body = pod_review("shop", "nginx:v1.2.3").to_string();
    let head = format!(
        "POST /validate HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    held.write_all(head.as_bytes()).await.unwrap();
    until("it has begun", async || (server.metric("tagwarden_in_flight_requests").await? >= 1.0).then_some(())).await;
    server.terminate();
    until("no longer listening", async || TcpStream::connect(server.webhook).await.is_err().then_some(())).await;
    held.write_all(body.as_bytes()).await.unwrap();
    let mut answer = String::new();
    held.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("connection: close"), "{answer}");
    assert!(server.ended().await.success());
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once() {
    let mut server = Setup::config("shutdownDelay: 1h\n").start();
    server.terminate();
    server.log.wait(|line| line["message"].as_str().is_some_and(|text| text.starts_with("about to end")));
    server.terminate();
    assert!(server.ended().await.success());
}

/// The exit code and standard error of a `serve` that does not come up.
async fn refused(directory: &std::path::Path, arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = program();
    command.current_dir(directory).arg("serve").args(arguments).stderr(Stdio::piped()).stdout(Stdio::null());
    let child = command.spawn().unwrap();
    let output = tokio::task::spawn_blocking(move || child.wait_with_output().unwrap());
    let output = tokio::time::timeout(crate::https_support::PATIENCE, output).await.expect("it runs on").unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[tokio::test]
async fn what_keeps_it_from_starting_is_one_sentence_and_exit_2() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    let authority = tagwarden::certs::Authority::new("tests", now(), 1000).unwrap();
    write_pair(root, &server_pair(&authority, 1000));
    let other = server_pair(&authority, 1000);
    for (name, text) in [
        ("other.key", other.key.as_str()),
        ("empty", ""),
        ("bad.yaml", "lissen: {}\n"),
        ("objects.yaml", "policies: {objects: true}\n"),
    ] {
        std::fs::write(root.join(name), text).unwrap();
    }
    std::fs::create_dir(root.join("policies")).unwrap();
    std::fs::write(root.join("policies/p.yaml"), RELEASES).unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let taken = taken.local_addr().unwrap().to_string();

    let fine = ["--no-cluster", "--policies", "policies", "--listen", "127.0.0.1:0", "--health-listen", "127.0.0.1:0"];
    let pair = ["--tls-cert", "tls.crt", "--tls-key", "tls.key"];
    for (arguments, said) in [
        (&["--listen", &taken][..], "cannot listen on 127.0.0.1:"),
        (&["--health-listen", &taken], "cannot listen on 127.0.0.1:"),
        (&["--tls-key", "other.key"], "the key in other.key does not fit the certificate in tls.crt"),
        (&["--tls-key", "missing.key"], "cannot read missing.key: "),
        (&["--tls-key", "empty"], "empty: there is no PEM private key in it"),
        (&["--tls-cert", "empty"], "empty: there is no PEM certificate in it"),
        (&["--config", "missing.yaml"], "cannot read the configuration"),
        (&["--config", "bad.yaml"], "did you mean 'listen'?"),
        (&["--config", "objects.yaml"], "'policies.objects: true' needs a cluster"),
        (&["--policies", "missing"], "cannot read missing"),
        (&["--max-mode", "enforced"], "did you mean 'enforce'?"),
        (&["--polices", "x"], "--policies"),
    ] {
        // A flag that is given twice is an error of its own: what the case changes is left out of the rest.
        let mut all: Vec<&str> = arguments.to_vec();
        let rest = fine[1..].chunks(2).chain(pair.chunks(2)).filter(|flag| !arguments.contains(&flag[0]));
        all.extend(rest.flatten());
        all.push(fine[0]);
        let (code, errors) = refused(root, &all).await;
        assert_eq!(code, Some(2), "{arguments:?}: {errors}");
        assert!(errors.contains(said), "{arguments:?}: {errors}");
        assert!(!errors.contains("panicked"), "{errors}");
    }
    let (code, errors) = refused(root, &fine).await;
    assert_eq!(code, Some(2));
    assert!(errors.contains("name both by --tls-cert and --tls-key"), "{errors}");
    let without_cluster: Vec<&str> = fine[1..].iter().chain(&pair).copied().collect();
    let (code, errors) = refused(root, &without_cluster).await;
    assert_eq!(code, Some(2));
    assert!(errors.contains("KUBECONFIG") && errors.contains("--no-cluster"), "{errors}");
}

#[tokio::test]
async fn row_56_bad_policies_outside_a_cluster_are_all_told_and_exit_2() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    let authority = tagwarden::certs::Authority::new("tests", now(), 1000).unwrap();
    write_pair(root, &server_pair(&authority, 1000));
    std::fs::create_dir(root.join("policies")).unwrap();
    std::fs::write(root.join("policies/a.yaml"), RELEASES.replace("rules", "rulez")).unwrap();
    std::fs::write(root.join("policies/b.yaml"), RELEASES.replace("enforce", "enforced")).unwrap();
    let arguments = ["--no-cluster", "--policies", "policies", "--tls-cert", "tls.crt", "--tls-key", "tls.key"];
    let (code, errors) = refused(root, &arguments).await;
    assert_eq!(code, Some(2));
    for said in ["policies/a.yaml:4", "did you mean 'rules'?", "policies/b.yaml:4", "did you mean 'enforce'?", "^^^"] {
        assert!(errors.contains(said), "{errors}");
    }
}

#[tokio::test]
async fn variables_stand_in_for_flags_and_flags_win() {
    let directory = tempfile::tempdir().unwrap();
    let run = |variable: &'static str, flag: Option<&'static str>| {
        let mut command = program();
        command.current_dir(directory.path()).env("TAGWARDEN_MAX_MODE", variable).env("TAGWARDEN_NO_CLUSTER", "true");
        command.arg("serve").args(flag.map(|mode| ["--max-mode", mode]).into_iter().flatten());
        String::from_utf8(command.output().unwrap().stderr).unwrap()
    };
    assert!(run("loud", None).contains("loud"), "the variable is read");
    assert!(run("loud", Some("audit")).contains("--tls-cert"), "and not where a flag stands in its place");
}

#[tokio::test]
async fn dev_needs_nothing_but_a_directory() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    std::fs::create_dir_all(root.join("policies/starter")).unwrap();
    std::fs::write(root.join("policies/starter/p.yaml"), RELEASES).unwrap();
    let server = Server::dev(directory);
    assert!(server.allows("nginx:v1.2.3").await && !server.allows("nginx:latest").await);
    use std::os::unix::fs::PermissionsExt as _;
    let mode = std::fs::metadata(server.path("certs/dev/tls.key")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}
