//! A server as a process of its own, clients for it, and reviews to send.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

pub use crate::wait::{PATIENCE, until};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::client::conn::{http1, http2};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::{Value, json};
use tagwarden::certs::{Authority, Pair};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Lets releases in, from anywhere.
pub const RELEASES: &str = "apiVersion: tagwarden.dev/v1
kind: ImagePolicy
metadata: {name: releases}
spec: {mode: enforce, rules: [{name: any, images: [\"**\"], tags: [release]}]}
";

pub fn now() -> i64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(elapsed.as_secs()).unwrap()
}

/// What a server is started with.
pub struct Setup {
    pub config: String,
    pub policies: Vec<(&'static str, String)>,
    pub authority: Authority,
    /// In seconds.
    pub certificate_lifetime: i64,
    pub certificate: Certificate,
    pub kubeconfig: Option<String>,
    /// The namespace that it takes for its own.
    pub own_namespace: Option<&'static str>,
    /// Further files, by name.
    pub files: Vec<(&'static str, String)>,
}

/// Where the server's certificate comes from.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Certificate {
    /// Files that the flags name.
    Files,
    /// The server makes it, as the configuration says; POD_NAMESPACE is `tagwarden`.
    SelfManaged,
}

impl Default for Setup {
    fn default() -> Self {
        Setup {
            config: String::new(),
            policies: vec![("p.yaml", RELEASES.to_owned())],
            authority: Authority::new("tests", now(), 86_400).unwrap(),
            certificate_lifetime: 86_400,
            certificate: Certificate::Files,
            kubeconfig: None,
            own_namespace: None,
            files: Vec::new(),
        }
    }
}

impl Setup {
    pub fn config(config: &str) -> Self {
        Setup { config: config.to_owned(), ..Setup::default() }
    }

    /// Starts it and waits until it listens.
    pub fn start(self) -> Server {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        fs::create_dir(root.join("policies")).unwrap();
        for (name, text) in &self.policies {
            fs::write(root.join("policies").join(name), text).unwrap();
        }
        let pair = server_pair(&self.authority, self.certificate_lifetime);
        write_pair(root, &pair);
        fs::write(root.join("config.yaml"), &self.config).unwrap();
        for (name, text) in &self.files {
            fs::create_dir_all(root.join(name).parent().unwrap()).unwrap();
            fs::write(root.join(name), text).unwrap();
        }
        let mut command = program();
        command.current_dir(root).args(["serve", "--config", "config.yaml", "--policies", "policies"]);
        match self.certificate {
            Certificate::Files => command.args(["--tls-cert", "tls.crt", "--tls-key", "tls.key"]),
            Certificate::SelfManaged => command.env("POD_NAMESPACE", "tagwarden"),
        };
        command.args(["--log-format", "json", "--listen", "127.0.0.1:0", "--health-listen", "127.0.0.1:0"]);
        match &self.kubeconfig {
            None => command.arg("--no-cluster"),
            Some(text) => {
                fs::write(root.join("kubeconfig"), text).unwrap();
                command.env("KUBECONFIG", root.join("kubeconfig"))
            }
        };
        if let Some(namespace) = self.own_namespace {
            command.env("POD_NAMESPACE", namespace);
        }
        Server::spawn(command, directory, self.authority)
    }
}

/// The program under test, without anything that the environment of the tests would tell it.
pub fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tagwarden"));
    for (name, _) in std::env::vars() {
        if name.starts_with("TAGWARDEN_") || name.starts_with("KUBE") || name == "POD_NAMESPACE" {
            command.env_remove(name);
        }
    }
    command
}

pub fn server_pair(authority: &Authority, lifetime: i64) -> Pair {
    authority.server(&["localhost".to_owned()], now(), lifetime).unwrap()
}

/// Both files anew, each in one step, as a careful program writes them.
pub fn write_pair(root: &Path, pair: &Pair) {
    for (name, text) in [("tls.crt", &pair.cert), ("tls.key", &pair.key)] {
        let temporary = root.join(format!("{name}.new"));
        fs::write(&temporary, text).unwrap();
        fs::rename(&temporary, root.join(name)).unwrap();
    }
}

/// The lines of a log, as they come.
#[derive(Clone)]
pub struct Log(Arc<(Mutex<Lines>, Condvar)>);

#[derive(Default)]
struct Lines {
    read: Vec<String>,
    /// Nobody reads on.
    paused: bool,
}

impl Log {
    fn of(stderr: std::process::ChildStderr) -> Self {
        let log = Log(Arc::default());
        let writer = log.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let (lines, changed) = &*writer.0;
                let mut lines = changed.wait_while(lines.lock().unwrap(), |lines| lines.paused).unwrap();
                lines.read.push(line);
                changed.notify_all();
            }
        });
        log
    }

    /// From now on the program's standard error is not read: soon its pipe is full.
    pub fn pause(&self) {
        self.0.0.lock().unwrap().paused = true;
    }

    /// It is read again.
    pub fn resume(&self) {
        self.0.0.lock().unwrap().paused = false;
        self.0.1.notify_all();
    }

    /// The first line that fits, when it is there.
    pub fn wait(&self, fits: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        let mut lines = self.0.0.lock().unwrap();
        loop {
            let parsed = lines.read.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            if let Some(found) = parsed.into_iter().find(&fits) {
                return found;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "no such line in the log:\n{}", lines.read.join("\n"));
            lines = self.0.1.wait_timeout(lines, left).unwrap().0;
        }
    }

    pub fn text(&self) -> String {
        self.0.0.lock().unwrap().read.join("\n")
    }
}

/// A running server; killed when it is dropped.
pub struct Server {
    pub webhook: SocketAddr,
    pub health: SocketAddr,
    pub log: Log,
    pub directory: TempDir,
    /// Makes certificates that clients of this server trust.
    pub authority: Authority,
    /// What its clients trust.
    pub ca: String,
    child: Child,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    fn spawn(mut command: Command, directory: TempDir, authority: Authority) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let log = Log::of(child.stderr.take().unwrap());
        let listening = log.wait(|line| line["message"] == "listening");
        let address = |name: &str| listening[name].as_str().unwrap().parse().unwrap();
        let (webhook, health, ca) = (address("webhook"), address("health"), authority.pem().to_owned());
        Server { webhook, health, ca, child, log, directory, authority }
    }

    /// `serve --dev` in a directory, which it makes its own certificates in.
    pub fn dev(directory: TempDir) -> Self {
        let mut command = program();
        command.current_dir(directory.path()).args(["serve", "--dev", "--log-format", "json"]);
        command.args(["--listen", "127.0.0.1:0", "--health-listen", "127.0.0.1:0"]);
        let unused = Authority::new("unused", now(), 86_400).unwrap();
        let mut server = Server::spawn(command, directory, unused);
        server.ca = fs::read_to_string(server.path("certs/dev/ca.crt")).unwrap();
        server
    }

    /// Of the process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Writes a file in one step, so that no half of it is ever seen.
    pub fn write(&self, name: &str, text: &str) {
        let temporary = self.path(".new");
        fs::write(&temporary, text).unwrap();
        fs::rename(&temporary, self.path(name)).unwrap();
    }

    /// Sends SIGTERM.
    pub fn terminate(&self) {
        let status = Command::new("sh").args(["-c", &format!("kill -TERM {}", self.child.id())]).status().unwrap();
        assert!(status.success());
    }

    /// Waits until the process has ended.
    pub async fn ended(&mut self) -> ExitStatus {
        let child = &mut self.child;
        until("the server ends", async || child.try_wait().unwrap()).await
    }

    /// A connection that trusts the server's authority and speaks HTTP/1.1.
    pub async fn http1(&self) -> Connection {
        Connection::open(self.webhook, self.tls(&[b"http/1.1"])).await.unwrap()
    }

    /// The same for HTTP/2.
    pub async fn http2(&self) -> Connection {
        Connection::open(self.webhook, self.tls(&[b"h2"])).await.unwrap()
    }

    pub async fn connection(&self, protocol: Protocol) -> Connection {
        match protocol {
            Protocol::Http1 => self.http1().await,
            Protocol::Http2 => self.http2().await,
        }
    }

    /// A TLS connection for clients that misbehave.
    pub async fn raw(&self) -> TlsStream<TcpStream> {
        tls_connect(self.webhook, self.tls(&[b"http/1.1"])).await.unwrap()
    }

    pub fn tls(&self, protocols: &[&[u8]]) -> ClientConfig {
        client_tls(&self.ca, None, protocols)
    }

    /// Status and text of a path of the health port.
    pub async fn get(&self, path: &str) -> (StatusCode, String) {
        let stream = TcpStream::connect(self.health).await.unwrap();
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let request = Request::get(path).header("host", "health").body(Full::<Bytes>::default()).unwrap();
        let response = sender.send_request(request).await.unwrap();
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    /// The value of a metric, named with its labels as `/metrics` shows them; none where it is not shown.
    pub async fn metric(&self, name: &str) -> Option<f64> {
        let (_, text) = self.get("/metrics").await;
        let line = text.lines().find(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(' ')))?;
        line.rsplit(' ').next()?.parse().ok()
    }

    /// Sends a review over a new connection and gives its `response`.
    pub async fn review(&self, review: &Value) -> Value {
        self.http1().await.review("/validate", review).await
    }

    pub async fn allows(&self, image: &str) -> bool {
        self.review(&pod_review("shop", image)).await["allowed"] == true
    }
}

/// Both protocols of the webhook.
#[derive(Clone, Copy, Debug)]
pub enum Protocol {
    Http1,
    Http2,
}

pub const PROTOCOLS: [Protocol; 2] = [Protocol::Http1, Protocol::Http2];

pub fn client_tls(authority: &str, identity: Option<&Pair>, protocols: &[&[u8]]) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let builder = builder.with_root_certificates(roots);
    let mut config = match identity {
        None => builder.with_no_client_auth(),
        Some(pair) => {
            let chain = vec![CertificateDer::from_pem_slice(pair.cert.as_bytes()).unwrap()];
            let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).unwrap();
            builder.with_client_auth_cert(chain, key).unwrap()
        }
    };
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    config
}

pub async fn tls_connect(address: SocketAddr, config: ClientConfig) -> std::io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::try_from("localhost").unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, stream).await
}

/// What came back: status, headers, body.
pub type Answer = Response<Bytes>;

/// One connection of a client that behaves.
pub enum Connection {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

impl Connection {
    /// Speaks what TLS agreed on.
    pub async fn open(address: SocketAddr, config: ClientConfig) -> std::io::Result<Self> {
        let stream = tls_connect(address, config).await?;
        if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
            let handshake = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
            let (sender, connection) = handshake.map_err(std::io::Error::other)?;
            tokio::spawn(connection);
            return Ok(Connection::Http2(sender));
        }
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(std::io::Error::other)?;
        tokio::spawn(connection);
        Ok(Connection::Http1(sender))
    }

    pub async fn send(&mut self, request: Request<Full<Bytes>>) -> Result<Answer, hyper::Error> {
        let response = match self {
            Connection::Http1(sender) => {
                sender.ready().await?;
                sender.send_request(request).await?
            }
            Connection::Http2(sender) => {
                sender.ready().await?;
                sender.send_request(request).await?
            }
        };
        let (head, body) = response.into_parts();
        Ok(Response::from_parts(head, body.collect().await?.to_bytes()))
    }

    /// POSTs a body as the API server would.
    pub async fn post(&mut self, path: &str, body: impl Into<Bytes>) -> Result<Answer, hyper::Error> {
        self.send(post(path, body)).await
    }

    /// Sends a review and gives its `response`, after the checks that hold for every answer (row 1).
    pub async fn review(&mut self, path: &str, review: &Value) -> Value {
        let answer = self.post(path, review.to_string()).await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "{:?}", answer.body());
        response_of(&answer, review)
    }

    /// Whether the connection takes no further request.
    pub fn is_closed(&self) -> bool {
        match self {
            Connection::Http1(sender) => sender.is_closed(),
            Connection::Http2(sender) => sender.is_closed(),
        }
    }
}

pub fn post(path: &str, body: impl Into<Bytes>) -> Request<Full<Bytes>> {
    Request::post(format!("https://localhost{path}"))
        .header("host", "localhost")
        .header("content-type", "application/json")
        .body(Full::new(body.into()))
        .unwrap()
}

/// The answer's `response`, which belongs to this review.
pub fn response_of(answer: &Answer, review: &Value) -> Value {
    let value: Value = serde_json::from_slice(answer.body()).unwrap();
    assert_eq!(value["apiVersion"], "admission.k8s.io/v1");
    assert_eq!(value["kind"], "AdmissionReview");
    assert_eq!(value["response"]["uid"], review["request"]["uid"]);
    value["response"].clone()
}

pub fn pod(image: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x", "namespace": "shop"},
        "spec": {"containers": [{"name": "api", "image": image}]}})
}

/// The CREATE of a Pod with one container.
pub fn pod_review(namespace: &str, image: &str) -> Value {
    review("CREATE", namespace, &pod(image), &Value::Null)
}

/// A review of a Pod.
pub fn review(operation: &str, namespace: &str, object: &Value, old: &Value) -> Value {
    json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
        "uid": format!("uid-{}-{}", operation, object.to_string().len()),
        "kind": {"group": "", "version": "v1", "kind": "Pod"},
        "resource": {"group": "", "version": "v1", "resource": "pods"},
        "name": object["metadata"]["name"].as_str().unwrap_or_default(), "namespace": namespace,
        "operation": operation, "userInfo": {"username": "alice", "groups": ["system:authenticated"]},
        "object": object, "oldObject": old, "dryRun": false}})
}
