//! For unit tests of `registry`: scripted servers on loopback, certificates, and a network of names that are nowhere else.

use std::collections::HashMap;
use std::future::pending;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::RootCertStore;
use rustls::pki_types::PrivateKeyDer;
use rustls::server::WebPkiClientVerifier;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::client::{Network, Proxies, Surroundings};
use super::settings::RegistrySettings;

/// How long anything may take before a test gives up.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// An entry of `registries` in which nothing but the host is set.
pub fn registry(host: &str) -> RegistrySettings {
    RegistrySettings {
        host: host.to_owned(),
        endpoint: None,
        ca: None,
        client_cert: None,
        insecure: false,
        private: false,
        credentials: None,
        credential_namespaces: None,
        realm_hosts: Vec::new(),
        max_concurrent: None,
    }
}

/// What a scripted server does next with a connection.
#[derive(Clone, Debug)]
pub enum Act {
    /// Writes these bytes.
    Write(Vec<u8>),
    /// Writes them again and again, until the client goes away.
    Flood(Vec<u8>),
    /// Writes one byte after the other, one in 50 ms, until the client goes away.
    Trickle(Vec<u8>),
    /// Does nothing until the client goes away.
    Hang,
    /// Closes the connection.
    Close,
    /// Resets it.
    Reset,
}

/// A complete answer, with its length.
pub fn answer(status: &str, headers: &str, body: &str) -> Vec<Act> {
    raw(&format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\n\r\n{body}", body.len()))
}

/// These bytes; the connection stays open for another request.
pub fn raw(text: &str) -> Vec<Act> {
    vec![Act::Write(text.as_bytes().to_vec())]
}

/// What a request looked like on the wire.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Request line and headers.
    pub head: String,
    /// As long as its Content-Length says.
    pub body: Vec<u8>,
}

impl Seen {
    /// `GET /v2/ HTTP/1.1`.
    pub fn line(&self) -> &str {
        self.head.lines().next().unwrap()
    }

    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.into_iter().find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

type Script = dyn Fn(&Seen, usize) -> Vec<Act> + Send + Sync;

/// A server of HTTP/1.1 that does what a script says; its end is the end of the test's runtime.
pub struct Server {
    /// Where it listens.
    pub address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    /// Connections accepted, and those that are over.
    counts: watch::Receiver<(usize, usize)>,
}

impl Server {
    /// Plain HTTP. The script gets each request and its number, from 0.
    pub async fn plain(script: impl Fn(&Seen, usize) -> Vec<Act> + Send + Sync + 'static) -> Self {
        Server::start(None, Arc::new(script)).await
    }

    /// HTTPS.
    pub async fn tls(
        config: rustls::ServerConfig,
        script: impl Fn(&Seen, usize) -> Vec<Act> + Send + Sync + 'static,
    ) -> Self {
        Server::start(Some(Arc::new(config)), Arc::new(script)).await
    }

    /// HTTP/2 over TLS; the answer to each path.
    pub async fn http2(config: rustls::ServerConfig, answer: fn(&str) -> http::Response<Full<Bytes>>) -> Self {
        let (listener, server, counts) = Server::listen().await;
        let (counts, config) = (Arc::new(counts), Arc::new(config));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                counts.send_modify(|(opened, _)| *opened += 1);
                let (counts, config) = (Arc::clone(&counts), Arc::clone(&config));
                tokio::spawn(async move {
                    if let Ok(stream) = tokio_rustls::TlsAcceptor::from(config).accept(stream).await {
                        let service = hyper::service::service_fn(move |request: http::Request<_>| {
                            let _: &hyper::body::Incoming = request.body();
                            std::future::ready(Ok::<_, std::convert::Infallible>(answer(request.uri().path())))
                        });
                        let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                        let _ = builder.serve_connection(TokioIo::new(stream), service).await;
                    }
                    counts.send_modify(|(_, over)| *over += 1);
                });
            }
        });
        server
    }

    /// Does the same with each connection, without reading a request.
    pub async fn rude(acts: Vec<Act>) -> Self {
        let (listener, server, counts) = Server::listen().await;
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                counts.send_modify(|(opened, _)| *opened += 1);
                let acts = acts.clone();
                tokio::spawn(async move {
                    let _ = perform(&mut stream, acts, reset_on_drop).await;
                });
            }
        });
        server
    }

    /// A proxy that makes a tunnel to one place, whatever it is asked for.
    pub async fn tunnel(to: SocketAddr) -> Self {
        let (listener, server, counts) = Server::listen().await;
        let seen = Arc::clone(&server.seen);
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                counts.send_modify(|(opened, _)| *opened += 1);
                let seen = Arc::clone(&seen);
                tokio::spawn(async move {
                    let request = read(&mut client).await?;
                    seen.lock().unwrap().push(request);
                    client.write_all(b"HTTP/1.1 200 Fine\r\n\r\n").await?;
                    tokio::io::copy_bidirectional(&mut client, &mut TcpStream::connect(to).await?).await
                });
            }
        });
        server
    }

    /// The requests so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// How many connections were accepted.
    pub fn connections(&self) -> usize {
        self.counts.borrow().0
    }

    /// Waits until that many connections are over.
    pub async fn closed(&self, count: usize) {
        let mut counts = self.counts.clone();
        let over = counts.wait_for(|(_, over)| *over >= count);
        tokio::time::timeout(PATIENCE, over).await.expect("connections end in time").unwrap();
    }

    async fn listen() -> (TcpListener, Self, watch::Sender<(usize, usize)>) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, counts) = watch::channel((0, 0));
        (listener, Server { address, seen: Arc::default(), counts }, sender)
    }

    async fn start(config: Option<Arc<rustls::ServerConfig>>, script: Arc<Script>) -> Self {
        let (listener, server, counts) = Server::listen().await;
        let (counts, seen) = (Arc::new(counts), Arc::clone(&server.seen));
        let number = Arc::new(AtomicUsize::new(0));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                counts.send_modify(|(opened, _)| *opened += 1);
                let (counts, seen, script) = (Arc::clone(&counts), Arc::clone(&seen), Arc::clone(&script));
                let (config, number) = (config.clone(), Arc::clone(&number));
                tokio::spawn(async move {
                    match config {
                        None => {
                            let _ = serve(stream, &script, &seen, &number, reset_on_drop).await;
                        }
                        Some(config) => {
                            if let Ok(stream) = tokio_rustls::TlsAcceptor::from(config).accept(stream).await {
                                let _ = serve(stream, &script, &seen, &number, |_| ()).await;
                            }
                        }
                    }
                    counts.send_modify(|(_, over)| *over += 1);
                });
            }
        });
        server
    }
}

fn reset_on_drop(stream: &mut TcpStream) {
    stream.set_zero_linger().unwrap();
}

async fn read<S: AsyncRead + Unpin>(stream: &mut S) -> io::Result<Seen> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let mut request = Seen { head: String::from_utf8_lossy(&head).into_owned(), body: Vec::new() };
    let length = request.header("content-length").map_or(0, |length| length.parse().unwrap());
    request.body.resize(length, 0);
    stream.read_exact(&mut request.body).await?;
    Ok(request)
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    script: &Arc<Script>,
    seen: &Mutex<Vec<Seen>>,
    number: &AtomicUsize,
    reset: impl Fn(&mut S),
) -> io::Result<()> {
    loop {
        let request = read(&mut stream).await?;
        seen.lock().unwrap().push(request.clone());
        let acts = script(&request, number.fetch_add(1, Ordering::SeqCst));
        if !perform(&mut stream, acts, &reset).await? {
            return Ok(());
        }
    }
}

/// Whether the connection goes on.
async fn perform<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    acts: Vec<Act>,
    reset: impl Fn(&mut S),
) -> io::Result<bool> {
    for act in acts {
        match act {
            Act::Write(bytes) => {
                stream.write_all(&bytes).await?;
                stream.flush().await?;
            }
            Act::Flood(bytes) => loop {
                stream.write_all(&bytes).await?;
            },
            Act::Trickle(bytes) => {
                let mut tick = tokio::time::interval(Duration::from_millis(50));
                for byte in bytes {
                    tick.tick().await;
                    stream.write_u8(byte).await?;
                    stream.flush().await?;
                }
            }
            Act::Hang => loop {
                if stream.read(&mut [0; 1024]).await? == 0 {
                    return Ok(false);
                }
            },
            Act::Close => {
                stream.shutdown().await?;
                return Ok(false);
            }
            Act::Reset => {
                reset(stream);
                return Ok(false);
            }
        }
    }
    Ok(true)
}

/// An authority of a test's own.
pub struct Authority {
    /// Its certificate, PEM.
    pub pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// When a leaf is valid.
#[derive(Clone, Copy, Debug)]
pub enum Validity {
    /// Now.
    Now,
    /// Not any more.
    Past,
    /// Not yet.
    Future,
}

/// A certificate and its key, PEM.
pub struct Leaf {
    /// The certificate.
    pub cert: String,
    /// The key.
    pub key: String,
}

impl Authority {
    /// A new one.
    pub fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).unwrap().pem();
        Authority { pem, issuer: Issuer::new(params, key) }
    }

    /// A leaf for these names and addresses.
    pub fn leaf(&self, names: &[&str], validity: Validity) -> Leaf {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(names.iter().map(ToString::to_string).collect::<Vec<_>>()).unwrap();
        let (from, to) = match validity {
            Validity::Now => (2020, 3000),
            Validity::Past => (2020, 2021),
            Validity::Future => (2999, 3000),
        };
        (params.not_before, params.not_after) = (date_time_ymd(from, 1, 1), date_time_ymd(to, 1, 1));
        let cert = params.signed_by(&key, &self.issuer).unwrap().pem();
        Leaf { cert, key: key.serialize_pem() }
    }

    /// The certificate as a file for `ca`.
    pub fn file(&self, directory: &tempfile::TempDir) -> PathBuf {
        file(directory, "ca.crt", &self.pem)
    }
}

/// A file in a temporary directory.
pub fn file(directory: &tempfile::TempDir, name: &str, content: &str) -> PathBuf {
    let path = directory.path().join(name);
    std::fs::write(&path, content).unwrap();
    path
}

impl Leaf {
    /// A server of this certificate that speaks these protocols, and wants certificates of clients from an authority.
    pub fn server(&self, alpn: &[&str], clients: Option<&Authority>) -> rustls::ServerConfig {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(rustls::ALL_VERSIONS)
            .unwrap();
        let builder = match clients {
            None => builder.with_no_client_auth(),
            Some(authority) => {
                let mut roots = RootCertStore::empty();
                roots.add(der(&authority.pem)).unwrap();
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
                builder.with_client_cert_verifier(verifier)
            }
        };
        let key: PrivateKeyDer<'static> =
            rustls::pki_types::pem::PemObject::from_pem_slice(self.key.as_bytes()).unwrap();
        let mut config = builder.with_single_cert(vec![der(&self.cert)], key).unwrap();
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        config
    }
}

fn der(pem: &str) -> rustls::pki_types::CertificateDer<'static> {
    rustls::pki_types::pem::PemObject::from_pem_slice(pem.as_bytes()).unwrap()
}

/// What happens to those who dial an address of a [`Lab`].
#[derive(Clone, Copy, Debug)]
pub enum Route {
    /// They reach this server.
    To(SocketAddr),
    /// They wait for ever.
    Blackhole,
    /// They are refused.
    Refused,
}

/// Names and addresses of a test's own: nothing else resolves, nothing else is reached. Clones share everything.
#[derive(Clone, Default)]
pub struct Lab {
    inner: Arc<Mutex<LabInner>>,
}

#[derive(Default)]
struct LabInner {
    /// The answers for a name: each for one look-up, the last for all further ones. None: no answer ever comes.
    names: HashMap<String, Vec<Option<Vec<IpAddr>>>>,
    routes: HashMap<IpAddr, Route>,
    dialled: Vec<SocketAddr>,
}

impl Lab {
    /// A look-up of the name is answered so; said again, a later one is.
    pub fn name(self, name: &str, addresses: &[&str]) -> Self {
        let addresses = addresses.iter().map(|text| text.parse().unwrap()).collect();
        self.inner.lock().unwrap().names.entry(name.to_owned()).or_default().push(Some(addresses));
        self
    }

    /// Look-ups of the name are never answered.
    pub fn silent_name(self, name: &str) -> Self {
        self.inner.lock().unwrap().names.entry(name.to_owned()).or_default().push(None);
        self
    }

    /// What is at an address.
    pub fn route(self, address: &str, route: Route) -> Self {
        self.inner.lock().unwrap().routes.insert(address.parse().unwrap(), route);
        self
    }

    /// The addresses that were dialled.
    pub fn dialled(&self) -> Vec<SocketAddr> {
        self.inner.lock().unwrap().dialled.clone()
    }

    /// For a client that sees nothing but this.
    pub fn surroundings(&self) -> Surroundings {
        Surroundings { network: Arc::new(self.clone()), proxies: Proxies::default(), idle_for: Duration::from_secs(60) }
    }
}

impl Network for Lab {
    fn resolve(&self, host: &str) -> std::pin::Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send>> {
        let mut inner = self.inner.lock().unwrap();
        let found = inner
            .names
            .get_mut(host)
            .map(|answers| if answers.len() > 1 { answers.remove(0) } else { answers[0].clone() });
        Box::pin(async move {
            match found {
                None => Err(io::Error::other("no such name")),
                Some(None) => pending().await,
                Some(Some(addresses)) => Ok(addresses),
            }
        })
    }

    fn dial(&self, address: SocketAddr) -> std::pin::Pin<Box<dyn Future<Output = io::Result<TcpStream>> + Send>> {
        let mut inner = self.inner.lock().unwrap();
        inner.dialled.push(address);
        let route = inner.routes.get(&address.ip()).copied();
        Box::pin(async move {
            match route {
                Some(Route::To(server)) => TcpStream::connect(server).await,
                Some(Route::Blackhole) => pending().await,
                Some(Route::Refused) => Err(io::ErrorKind::ConnectionRefused.into()),
                None => Err(io::ErrorKind::NetworkUnreachable.into()),
            }
        })
    }
}
