//! Certificates that the server makes itself, with an API server that comes late, goes away, and forbids.

use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use serde_json::{Value, json};
use tagwarden::certs::{Authority, names, validity};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::api_double::{kubeconfig, nobody, serve};
use crate::https_support::{Certificate, Server, Setup, client_tls, now, program, until};

const CONFIG: &str = "tls: {mode: self-managed, service: tagwarden, leafLifetime: 1h, caLifetime: 5h}\n\
                      webhooks: {validating: tagwarden}\nshutdownDelay: 0s\n";

/// As much of an API server as one replica needs: namespaces without end, one Secret, and a configuration that trusts
/// what the Secret holds, as an elected replica would see to.
#[derive(Clone, Default)]
struct ApiServer {
    secret: Arc<Mutex<Option<Value>>>,
    /// Paths that contain this are forbidden; empty: none.
    forbidden: Arc<Mutex<String>>,
}

impl ApiServer {
    /// Listens there until the task is aborted.
    async fn listen(&self, address: SocketAddr) -> JoinHandle<()> {
        let listener = TcpListener::bind(address).await.unwrap();
        let api = self.clone();
        serve(listener, move |request| {
            let api = api.clone();
            async move { api.answer(request).await }
        })
    }

    async fn answer(&self, request: Request<Incoming>) -> (u16, Value) {
        let (method, path) = (request.method().clone(), request.uri().to_string());
        if path.contains("watch=") {
            return std::future::pending().await;
        }
        let body = request.into_body().collect().await.unwrap().to_bytes();
        self.respond(&method, &path, &body)
    }

    fn respond(&self, method: &Method, path: &str, body: &[u8]) -> (u16, Value) {
        let status = |code: u16, reason: &str| {
            (code, json!({"apiVersion": "v1", "kind": "Status", "status": "Failure", "reason": reason, "code": code}))
        };
        let forbidden = self.forbidden.lock().unwrap().clone();
        let mut secret = self.secret.lock().unwrap();
        if !forbidden.is_empty() && path.contains(&forbidden) {
            return status(403, "Forbidden");
        }
        if path.starts_with("/api/v1/namespaces?") {
            return (
                200,
                json!({"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadataList",
                "metadata": {"resourceVersion": "7"}, "items": []}),
            );
        }
        if path.contains("validatingwebhookconfigurations/tagwarden") {
            let bundle = secret.as_ref().map(|secret| secret["data"]["ca.crt"].clone()).unwrap_or_default();
            let service = json!({"name": "tagwarden", "namespace": "tagwarden"});
            return (
                200,
                json!({"apiVersion": "admissionregistration.k8s.io/v1",
                "kind": "ValidatingWebhookConfiguration", "metadata": {"name": "tagwarden"},
                "webhooks": [{"name": "a.b.c", "sideEffects": "None", "admissionReviewVersions": ["v1"],
                    "clientConfig": {"service": service, "caBundle": bundle}}]}),
            );
        }
        match (method, path.contains("/secrets")) {
            (&Method::GET, true) if path.contains("tagwarden-ca") => {
                secret.clone().map_or_else(|| status(404, "NotFound"), |secret| (200, secret))
            }
            (&Method::POST, true) => {
                let made: Value = serde_json::from_slice(body).unwrap();
                if made["metadata"]["name"] == "tagwarden-ca" {
                    *secret = Some(made.clone());
                }
                (201, made)
            }
            _ => status(404, "NotFound"),
        }
    }

    /// The authority's certificate, PEM.
    fn authority(&self) -> String {
        use base64::Engine as _;
        let secret = self.secret.lock().unwrap().clone().unwrap();
        let pem = base64::prelude::BASE64_STANDARD.decode(secret["data"]["ca.crt"].as_str().unwrap());
        String::from_utf8(pem.unwrap()).unwrap()
    }
}

fn setup(address: SocketAddr, config: &str) -> Setup {
    Setup { certificate: Certificate::SelfManaged, kubeconfig: Some(kubeconfig(address)), ..Setup::config(config) }
}

async fn connect(server: &Server, config: ClientConfig, name: &str) -> std::io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(server.webhook).await?;
    let name = ServerName::try_from(name.to_owned()).unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, stream).await
}

async fn ready(server: &Server) {
    until("ready", async || (server.get("/readyz").await.0 == StatusCode::OK).then_some(())).await;
}

#[tokio::test]
async fn row_60_an_api_server_that_comes_late_finds_it_alive_and_makes_it_ready() {
    let address = nobody().await;
    let server = setup(address, CONFIG).start();
    server.log.wait(|line| line["problem"].as_str().is_some_and(|text| text.contains("read the Secret tagwarden-ca")));
    for expected in
        ["[-]certificate not ready\n    there is none yet", "[-]caBundle not ready\n    there is no certificate yet"]
    {
        until(expected, async || {
            let (status, said) = server.get("/readyz?verbose").await;
            (status == StatusCode::SERVICE_UNAVAILABLE && said.contains(expected)).then_some(())
        })
        .await;
    }
    assert_eq!(server.get("/livez").await.0, StatusCode::OK);
    let unused = Authority::new("unused", now(), 1000).unwrap();
    let refused = connect(&server, client_tls(unused.pem(), None, &[]), "tagwarden.tagwarden.svc").await;
    assert!(refused.is_err(), "a handshake without a certificate");
    assert_eq!(server.metric("tagwarden_rejected_requests_total{reason=\"no-certificate\"}").await, Some(1.0));

    let api = ApiServer::default();
    let listening = api.listen(address).await;
    ready(&server).await;
    let ca = api.authority();
    let ends = validity(ca.as_bytes()).unwrap().not_after;
    assert!((ends - now() - 5 * 3600).abs() < 120, "caLifetime: {ends}");
    for name in ["tagwarden.tagwarden.svc", "tagwarden.tagwarden.svc.cluster.local"] {
        connect(&server, client_tls(&ca, None, &[b"h2"]), name).await.unwrap();
    }
    let expiry = server.metric("tagwarden_certificate_expiry_timestamp_seconds").await.unwrap();
    assert!((expiry - f64::from(i32::try_from(now()).unwrap()) - 3600.0).abs() < 120.0, "leafLifetime: {expiry}");

    // Without the API server it goes on, and signs by what is in memory: here, because the Service gets another name.
    listening.abort();
    server.write("config.yaml", &CONFIG.replace("service: tagwarden", "service: other"));
    let other = "other.tagwarden.svc";
    until("a certificate of the other name", async || connect(&server, client_tls(&ca, None, &[]), other).await.ok())
        .await;
    assert_eq!(server.get("/readyz").await.0, StatusCode::OK, "and stays ready");
    assert!(!server.log.text().contains("PRIVATE KEY"));
}

#[tokio::test]
async fn what_the_api_server_forbids_is_told_and_keeps_it_from_being_ready() {
    let address = nobody().await;
    let api = ApiServer::default();
    *api.forbidden.lock().unwrap() = "validatingwebhookconfigurations".to_owned();
    let _listening = api.listen(address).await;
    let server = setup(address, CONFIG).start();
    let expected = "may not read the ValidatingWebhookConfiguration 'tagwarden': ";
    until("the reason", async || {
        let (status, said) = server.get("/readyz?verbose").await;
        (status == StatusCode::SERVICE_UNAVAILABLE && said.contains(expected)).then_some(())
    })
    .await;
    api.forbidden.lock().unwrap().clear();
    ready(&server).await;
    *api.forbidden.lock().unwrap() = "secrets".to_owned();
    until("the Secret's sentence", async || {
        let sentence = "cannot read the Secret tagwarden-ca: the API server says 403 (Forbidden)";
        server.log.text().contains(sentence).then_some(())
    })
    .await;
    assert_eq!(server.get("/readyz").await.0, StatusCode::OK, "what is in memory serves");
}

#[tokio::test]
async fn clients_must_show_what_the_configuration_asks_for_and_the_last_good_file_counts() {
    let address = nobody().await;
    let api = ApiServer::default();
    let _listening = api.listen(address).await;
    let [clients, others] = [(); 2].map(|()| Authority::new("clients", now(), 86_400).unwrap());
    let config = CONFIG.replace("tls: {", "tls: {clientCA: client-ca.crt, clientNames: [kube-apiserver], ");
    let server = Setup { files: vec![("client-ca.crt", clients.pem().to_owned())], ..setup(address, &config) }.start();
    ready(&server).await;
    let ca = api.authority();
    let answered = async |authority: &Authority| {
        let pair = authority.client("kube-apiserver", now(), 1000).unwrap();
        let stream =
            connect(&server, client_tls(&ca, Some(&pair), &[b"http/1.1"]), "tagwarden.tagwarden.svc").await.ok()?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.ok()?;
        tokio::spawn(connection);
        let request = Request::get("/").header("host", "x").body(Full::<Bytes>::default()).unwrap();
        sender.send_request(request).await.ok().map(|answer| answer.status())
    };
    assert_eq!(answered(&clients).await, Some(StatusCode::NOT_FOUND));
    assert_eq!(answered(&others).await, None);
    server.write("client-ca.crt", "no authority");
    until("the refusal is told", async || {
        (server.metric("tagwarden_certificate_last_reload_successful").await? == 0.0).then_some(())
    })
    .await;
    assert_eq!(answered(&clients).await, Some(StatusCode::NOT_FOUND));
    server.write("client-ca.crt", others.pem());
    until("the other clients are let in", async || answered(&others).await).await;
    assert_eq!(answered(&clients).await, None);
    assert_eq!(server.metric("tagwarden_certificate_last_reload_successful").await, Some(1.0));
}

#[tokio::test]
async fn where_files_are_used_readiness_waits_for_whoever_sets_ca_bundle() {
    let address = nobody().await;
    let api = ApiServer::default();
    let _listening = api.listen(address).await;
    let config = "webhooks: {validating: tagwarden}\nshutdownDelay: 0s\n";
    let server = Setup { kubeconfig: Some(kubeconfig(address)), ..Setup::config(config) }.start();
    let waits_for = async |expected: &str| {
        until(expected, async || {
            let (status, said) = server.get("/readyz?verbose").await;
            (status == StatusCode::SERVICE_UNAVAILABLE && said.contains(expected)).then_some(())
        })
        .await;
    };
    let trust = |authority: &Authority| {
        use base64::Engine as _;
        let pem = base64::prelude::BASE64_STANDARD.encode(authority.pem());
        *api.secret.lock().unwrap() = Some(json!({"data": {"ca.crt": pem}}));
    };
    waits_for("ValidatingWebhookConfiguration 'tagwarden', webhook 'a.b.c': its caBundle is empty").await;
    trust(&Authority::new("somebody", now(), 1000).unwrap());
    waits_for("its caBundle does not vouch for our certificate").await;
    trust(&server.authority);
    waits_for("our certificate is not for 'tagwarden.tagwarden.svc'").await;
    let service = ["tagwarden.tagwarden.svc".to_owned()];
    let pair = server.authority.server(&service, now(), 86_400).unwrap();
    crate::https_support::write_pair(server.directory.path(), &pair);
    ready(&server).await;
    assert_eq!(names(&peer(&server).await)[1..], service);
    trust(&Authority::new("somebody", now(), 1000).unwrap());
    server.write("policies/p.yaml", "spec: [");
    until("a look at the files", async || {
        (server.metric("tagwarden_policy_last_reload_successful").await? == 0.0).then_some(())
    })
    .await;
    assert_eq!(server.get("/readyz").await.0, StatusCode::OK, "once it was trusted, an edit takes nobody out");
}

/// The certificate that a new connection sees.
async fn peer(server: &Server) -> Vec<u8> {
    let tls = server.tls(&[b"http/1.1"]);
    let stream = connect(server, tls, "tagwarden.tagwarden.svc").await.unwrap();
    stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
}

#[test]
fn what_contradicts_the_place_it_runs_in_ends_with_2_and_one_sentence() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let own = path("own.yaml", CONFIG);
    let webhooks = path("webhooks.yaml", "webhooks: {mutating: tagwarden}\n");
    let clients = path("clients.yaml", &CONFIG.replace("tls: {", "tls: {clientCA: nowhere.crt, "));
    let kubeconfig = path("kubeconfig", &kubeconfig(([127, 0, 0, 1], 1).into()));
    let pair = Authority::new("a", now(), 1000).unwrap().server(&["a".to_owned()], now(), 900).unwrap();
    let (cert, key) = (path("tls.crt", &pair.cert), path("tls.key", &pair.key));
    let files = ["--tls-cert", cert.to_str().unwrap(), "--tls-key", key.to_str().unwrap()];
    for (config, arguments, namespace, expected) in [
        (&own, &["--no-cluster"][..], "ns", "'tls.mode: self-managed' needs a cluster"),
        (&own, &["--dev"], "ns", "'tls.mode: self-managed' needs a cluster"),
        (&own, &[], "", "'tls.mode: self-managed' needs to know its own namespace: set POD_NAMESPACE"),
        (&own, &files, "ns", "take out --tls-cert and --tls-key"),
        (&webhooks, &["--dev"], "ns", "'webhooks' needs a cluster"),
        (&clients, &[], "ns", "cannot read nowhere.crt"),
    ] {
        let mut command = program();
        command.current_dir(directory.path()).arg("serve").arg("--config").arg(config).args(arguments);
        command.env("KUBECONFIG", &kubeconfig).env("POD_NAMESPACE", namespace);
        let output = command.stdin(Stdio::null()).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(said.starts_with("error: ") && said.contains(expected), "{arguments:?}: {said}");
        assert_eq!(said.matches("error: ").count(), 1, "one sentence: {said}");
    }
}
