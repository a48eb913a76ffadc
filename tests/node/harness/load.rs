//! Steady load: server-side dry-run creations of Pods through the API server, each answer checked.
//!
//! Calls begin by the clock, whether or not earlier ones have been answered, as those of many people do. Every second Pod
//! is one that has to be refused: a call that our webhook never judged would let it through, so failing open is as
//! visible as failing closed.

use super::cluster::Cluster;
use super::images::{API, FLOATING};
use super::wait::{PATIENCE, until_true};
use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::time;
use tokio_rustls::TlsConnector;

/// Calls a second, unless `TAGWARDEN_E2E_RATE` says otherwise.
const RATE: u32 = 100;

/// Longer than the API server lets a creation take.
const LIMIT: Duration = Duration::from_secs(40);

/// Calls under way at one time; more would only measure this machine.
const MOST_UNDER_WAY: u64 = 1500;

/// The namespace of the Pods that are never made.
const NAMESPACE: &str = "load";

/// What is sent, and what has to become of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mix {
    /// By turns a Pod that has to be let in and one that we have to refuse.
    Enforced,
    /// The same Pods where nothing is enforced: all have to be let in.
    Audited,
}

/// Load that is running.
#[derive(Debug)]
pub struct Load {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// What became of the calls.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    /// Calls that were sent.
    pub calls: u64,
    /// Let in, as they had to be.
    pub allowed: u64,
    /// Refused by our verdict, as they had to be.
    pub refused: u64,
    /// The API server itself was away, while a scenario had it be.
    pub unavailable: u64,
    /// What became of all others: calls that a webhook failed, wrong verdicts, any other error.
    pub failures: Vec<String>,
    /// The slowest answer that was none of `unavailable`.
    pub slowest: Duration,
}

#[derive(Debug)]
struct Shared {
    mix: Mix,
    stop: AtomicBool,
    outage: AtomicBool,
    under_way: AtomicU64,
    counts: Mutex<Counts>,
}

/// How one call ended.
enum End {
    Allowed,
    Refused,
    Unavailable(String),
    Failed(String),
}

impl Load {
    /// Starts it and waits until it runs, and its Pods are judged as they have to be.
    pub fn start(cluster: &Cluster, mix: Mix) -> Self {
        cluster.namespace(NAMESPACE, &json!({}));
        let target = Arc::new(Target::of(cluster));
        let shared = Arc::new(Shared {
            mix,
            stop: AtomicBool::new(false),
            outage: AtomicBool::new(false),
            under_way: AtomicU64::new(0),
            counts: Mutex::default(),
        });
        let inside = Arc::clone(&shared);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(run(target, inside));
        });
        let load = Load { shared, thread: Some(thread) };
        load.reach(100);
        load
    }

    /// Waits until this many further calls have been sent: the suite's only measure of "for a while".
    pub fn reach(&self, further: u64) {
        let goal = self.calls() + further;
        let limit = PATIENCE + Duration::from_secs(further / 20);
        until_true(&format!("{further} further calls"), limit, || self.calls() >= goal);
    }

    /// Runs `meddle`, in which the API server itself may be away, until it answers its calls again. A call that a webhook
    /// failed is a failure then too.
    pub fn while_away(&self, meddle: impl FnOnce()) {
        self.shared.outage.store(true, Ordering::SeqCst);
        meddle();
        // What began before has to end before an error counts again.
        let answered = || {
            let counts = self.counts();
            counts.allowed + counts.refused
        };
        let goal = answered() + 200;
        until_true("calls to be answered again", PATIENCE, || answered() >= goal);
        until_true("the calls of the outage to end", PATIENCE, || self.shared.under_way.load(Ordering::SeqCst) < 20);
        self.shared.outage.store(false, Ordering::SeqCst);
    }

    /// What became of the calls so far.
    pub fn counts(&self) -> Counts {
        self.shared.counts.lock().expect("no call panics while it counts").clone()
    }

    /// Ends it, waits for the answers under way, and says what became of them all.
    pub fn finish(mut self) -> Counts {
        self.end();
        self.counts()
    }

    fn calls(&self) -> u64 {
        self.shared.counts.lock().expect("no call panics while it counts").calls
    }

    fn end(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            // Also while a failed scenario unwinds, so nothing may be asserted here.
            let _ = thread.join();
        }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.end();
    }
}

impl Counts {
    fn add(&mut self, end: End, took: Duration) {
        if !matches!(end, End::Unavailable(_)) {
            self.slowest = self.slowest.max(took);
        }
        match end {
            End::Allowed => self.allowed += 1,
            End::Refused => self.refused += 1,
            End::Unavailable(_) => self.unavailable += 1,
            End::Failed(what) => self.failures.push(format!("after {} ms: {what}", took.as_millis())),
        }
    }
}

async fn run(target: Arc<Target>, shared: Arc<Shared>) {
    let rate = std::env::var("TAGWARDEN_E2E_RATE").ok().and_then(|text| text.parse().ok()).unwrap_or(RATE);
    let mut clock = time::interval(Duration::from_secs(1) / rate);
    let mut number: u64 = 0;
    while !shared.stop.load(Ordering::SeqCst) {
        clock.tick().await;
        if shared.under_way.load(Ordering::SeqCst) >= MOST_UNDER_WAY {
            continue;
        }
        number += 1;
        shared.under_way.fetch_add(1, Ordering::SeqCst);
        shared.counts.lock().expect("no call panics while it counts").calls += 1;
        let (target, shared) = (Arc::clone(&target), Arc::clone(&shared));
        tokio::spawn(async move {
            let before = shared.outage.load(Ordering::SeqCst);
            let begun = Instant::now();
            let end = target.call(number.is_multiple_of(2), shared.mix).await;
            let away = before || shared.outage.load(Ordering::SeqCst);
            let end = match end {
                End::Unavailable(what) if !away => End::Failed(what),
                other => other,
            };
            shared.counts.lock().expect("no call panics while it counts").add(end, begun.elapsed());
            shared.under_way.fetch_sub(1, Ordering::SeqCst);
        });
    }
    while shared.under_way.load(Ordering::SeqCst) > 0 {
        clock.tick().await;
    }
}

/// The API server, and connections to it that are free.
struct Target {
    authority: String,
    name: ServerName<'static>,
    tls: TlsConnector,
    good: Bytes,
    bad: Bytes,
    idle: Mutex<Vec<SendRequest<Full<Bytes>>>>,
}

impl Target {
    /// Speaks to the API server as the administrator of the cluster's kubeconfig does.
    fn of(cluster: &Cluster) -> Self {
        let view = ["config", "view", "--raw", "--minify", "--flatten", "-o", "json"];
        let view = cluster.admin().run(&view).accepted().stdout;
        let view: Value = serde_json::from_str(&view).expect("kubectl prints JSON");
        let pem = |pointer: &str| {
            let text = view.pointer(pointer).and_then(Value::as_str);
            decode(
                text.unwrap_or_else(|| panic!("the kubeconfig has no {pointer}; the load needs a client certificate")),
            )
        };
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(&pem("/clusters/0/cluster/certificate-authority-data")) {
            roots.add(certificate.expect("the authority is PEM")).expect("the authority is one");
        }
        let chain: Vec<_> = CertificateDer::pem_slice_iter(&pem("/users/0/user/client-certificate-data"))
            .map(|certificate| certificate.expect("the client's certificate is PEM"))
            .collect();
        let key = PrivateKeyDer::from_pem_slice(&pem("/users/0/user/client-key-data")).expect("the key is PEM");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the provider knows TLS")
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, key)
            .expect("key and certificate belong together");
        let server = view["clusters"][0]["cluster"]["server"].as_str().expect("the kubeconfig names the server");
        let authority = server.strip_prefix("https://").expect("the API server speaks TLS").trim_end_matches('/');
        let (host, _) = authority.rsplit_once(':').expect("the API server's address has a port");
        let pod = |image: &str| {
            let pod = json!({
                "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "load"},
                "spec": {"containers": [{"name": "main", "image": image}]},
            });
            Bytes::from(pod.to_string())
        };
        Target {
            name: ServerName::try_from(host.to_owned()).expect("the API server has a name or an address"),
            authority: authority.to_owned(),
            tls: TlsConnector::from(Arc::new(config)),
            good: pod(API),
            bad: pod(FLOATING),
            idle: Mutex::default(),
        }
    }

    async fn call(&self, good: bool, mix: Mix) -> End {
        let body = if good { &self.good } else { &self.bad };
        let (status, text) = match time::timeout(LIMIT, self.post(body.clone())).await {
            Err(_) => return End::Unavailable(format!("no answer within {} s", LIMIT.as_secs())),
            Ok(Err(error)) => return End::Unavailable(error),
            Ok(Ok(answer)) => answer,
        };
        if text.contains("failed calling webhook") {
            return End::Failed(text);
        }
        let denied = status == StatusCode::FORBIDDEN && text.contains("tagwarden denied");
        let must_pass = good || mix == Mix::Audited;
        match (status, must_pass) {
            (StatusCode::CREATED, true) => End::Allowed,
            (StatusCode::CREATED, false) => End::Failed("a Pod was let in that has to be refused".to_owned()),
            (_, true) if denied => End::Failed(format!("a Pod was refused that has to be let in: {text}")),
            (_, false) if denied => End::Refused,
            _ => End::Unavailable(format!("{status}: {text}")),
        }
    }

    /// Sends one creation over a connection that is free, or a new one.
    async fn post(&self, body: Bytes) -> Result<(StatusCode, String), String> {
        let mut sender = match self.free() {
            Some(sender) => sender,
            None => self.connect().await?,
        };
        let request = Request::builder()
            .method(Method::POST)
            .uri(format!("/api/v1/namespaces/{NAMESPACE}/pods?dryRun=All"))
            .header(header::HOST, &self.authority)
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(body))
            .map_err(|error| error.to_string())?;
        let answer = sender.send_request(request).await.map_err(|error| format!("sending: {error}"))?;
        let status = answer.status();
        let bytes = answer.into_body().collect().await.map_err(|error| format!("reading: {error}"))?.to_bytes();
        self.idle.lock().expect("no call panics while it holds it").push(sender);
        Ok((status, String::from_utf8_lossy(&bytes).into_owned()))
    }

    fn free(&self) -> Option<SendRequest<Full<Bytes>>> {
        let mut idle = self.idle.lock().expect("no call panics while it holds it");
        idle.retain(SendRequest::is_ready);
        idle.pop()
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, String> {
        let stream = TcpStream::connect(&self.authority).await.map_err(|error| format!("connecting: {error}"))?;
        let stream =
            self.tls.connect(self.name.clone(), stream).await.map_err(|error| format!("TLS handshake: {error}"))?;
        let (sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| format!("handshake: {error}"))?;
        tokio::spawn(connection);
        Ok(sender)
    }
}

/// RFC 4648, as kubeconfigs hold PEM.
fn decode(text: &str) -> Vec<u8> {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.decode(text).expect("kubectl prints base64")
}
