//! A server that does with each connection and each request what it is told: answer well, answer badly, or not at all.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::BoxFuture;
use hyper::body::Bytes;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tagwarden::certs::Pair;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// The most bytes of a request's head.
const MAX_HEAD: usize = 64 << 10;

/// A request as it came.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    pub method: String,
    /// Path and query.
    pub target: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: String,
    /// Which connection of its listener it came over, counted from 1.
    pub connection: usize,
}

impl Asked {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap()
    }

    /// A value of the query, percent-decoded.
    pub fn query(&self, name: &str) -> Option<String> {
        form_value(self.target.split_once('?')?.1, name)
    }

    /// A value of a body that is a form.
    pub fn form(&self, name: &str) -> Option<String> {
        form_value(&self.body, name)
    }
}

fn form_value(text: &str, name: &str) -> Option<String> {
    let value = text.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))?;
    let mut bytes = Vec::new();
    let mut rest = value.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let code = after.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        match (first, code.and_then(|hex| u8::from_str_radix(hex, 16).ok())) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = &after[2..];
                continue;
            }
            (b'+', _) => bytes.push(b' '),
            _ => bytes.push(first),
        }
        rest = after;
    }
    String::from_utf8(bytes).ok()
}

/// An answer that keeps to HTTP, whatever it says.
#[derive(Clone, Debug)]
pub struct Reply {
    status: u16,
    headers: Vec<(String, String)>,
    body: Bytes,
}

impl Reply {
    pub fn new(status: u16) -> Self {
        Reply { status, headers: Vec::new(), body: Bytes::new() }
    }

    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// Takes a header out, to be left out or written anew.
    pub fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        self
    }

    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// As bytes of HTTP/1.1; without the body where the method is HEAD.
    fn bytes(&self, method: &str) -> Vec<u8> {
        let mut head = format!("HTTP/1.1 {} Status\r\n", self.status);
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        let bodiless = self.status == 204 || self.status == 304 || self.status < 200;
        if !bodiless && !self.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-length")) {
            head.push_str(&format!("content-length: {}\r\n", self.body.len()));
        }
        head.push_str("\r\n");
        let mut bytes = head.into_bytes();
        if method != "HEAD" && !bodiless {
            bytes.extend_from_slice(&self.body);
        }
        bytes
    }
}

/// One move of an answer that does not keep to HTTP.
#[derive(Clone, Debug)]
pub enum Step {
    Send(Bytes),
    /// The same so many times, or until nobody takes it any more.
    Repeat(Bytes, usize),
    /// One byte in each of these spans.
    Drip(Bytes, Duration),
    /// Nothing more, with the connection left open for as long as the other side has it open.
    Silence,
    /// Ends the connection with a TCP reset.
    Reset,
    /// The connection is good for another request.
    Next,
}

impl Step {
    pub fn send(bytes: impl AsRef<[u8]>) -> Self {
        Step::Send(Bytes::copy_from_slice(bytes.as_ref()))
    }

    pub fn forever(bytes: impl AsRef<[u8]>) -> Self {
        Step::Repeat(Bytes::copy_from_slice(bytes.as_ref()), usize::MAX)
    }

    /// One byte a second.
    pub fn drip(bytes: impl AsRef<[u8]>) -> Self {
        Step::Drip(Bytes::copy_from_slice(bytes.as_ref()), Duration::from_secs(1))
    }
}

/// What becomes of a request.
#[derive(Clone, Debug)]
pub enum Act {
    Reply(Reply),
    /// These steps; then the end of the connection, unless the last is [`Step::Next`].
    Play(Vec<Step>),
}

impl From<Reply> for Act {
    fn from(reply: Reply) -> Self {
        Act::Reply(reply)
    }
}

/// Says what becomes of each request.
pub type Handler = Arc<dyn Fn(&Asked) -> Act + Send + Sync>;

/// Bytes both ways.
pub trait Transport: AsyncRead + AsyncWrite + Unpin + Send {
    fn tcp(&self) -> &TcpStream;
}

impl Transport for TcpStream {
    fn tcp(&self) -> &TcpStream {
        self
    }
}

impl Transport for TlsStream<TcpStream> {
    fn tcp(&self) -> &TcpStream {
        self.get_ref().0
    }
}

/// Has a connection for itself, after TLS.
pub type Custom = Arc<dyn Fn(Box<dyn Transport>) -> BoxFuture<'static, ()> + Send + Sync>;

/// What becomes of a connection.
#[derive(Clone)]
pub enum Mode {
    /// HTTP/1.1 over TLS.
    Tls(Arc<ServerConfig>),
    /// HTTP/1.1 without TLS.
    Plain,
    /// These steps on the bare connection, once the first bytes have come.
    Bare(Vec<Step>),
    /// Something else over TLS.
    Custom(Arc<ServerConfig>, Custom),
}

/// TLS for a server with this pair, which speaks these protocols.
pub fn server_tls(pair: &Pair, protocols: &[&[u8]]) -> Arc<ServerConfig> {
    let chain = CertificateDer::pem_slice_iter(pair.cert.as_bytes()).map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = builder.with_no_client_auth().with_single_cert(chain, key).unwrap();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    Arc::new(config)
}

struct Shared {
    mode: Mutex<Mode>,
    handler: Handler,
    connections: AtomicUsize,
    /// Connections open now, and the most there ever were at one time.
    open: Mutex<(usize, usize)>,
}

/// A listener and its connections; they end with it.
pub struct Listener {
    pub address: SocketAddr,
    shared: Arc<Shared>,
    task: Option<JoinHandle<()>>,
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
        }
    }
}

impl Listener {
    pub async fn start(mode: Mode, handler: Handler) -> Self {
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let shared = Arc::new(Shared {
            mode: Mutex::new(mode),
            handler,
            connections: AtomicUsize::new(0),
            open: Mutex::default(),
        });
        let address = socket.local_addr().unwrap();
        let task = Some(tokio::spawn(accept(socket, Arc::clone(&shared))));
        Listener { address, shared, task }
    }

    /// What becomes of connections from now on.
    pub fn mode(&self, mode: Mode) {
        *self.shared.mode.lock().unwrap() = mode;
    }

    /// Connections so far.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// The most connections that were open at one time.
    pub fn most_open(&self) -> usize {
        self.shared.open.lock().unwrap().1
    }

    /// Ends every connection; new ones are refused.
    pub async fn stop(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
            let _ = task.await;
        }
    }

    /// Listens again, where it did before.
    pub async fn resume(&mut self) {
        self.stop().await;
        let socket = TcpListener::bind(self.address).await.unwrap();
        self.task = Some(tokio::spawn(accept(socket, Arc::clone(&self.shared))));
    }
}

async fn accept(socket: TcpListener, shared: Arc<Shared>) {
    // Ends with the task, and every connection with it.
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = socket.accept().await {
        let number = shared.connections.fetch_add(1, Ordering::SeqCst) + 1;
        let counted = Counted::new(Arc::clone(&shared));
        let shared = Arc::clone(&shared);
        connections.spawn(async move {
            // Whatever goes wrong here is the other side's going away.
            let _ = connection(stream, &shared, number).await;
            drop(counted);
        });
        while connections.try_join_next().is_some() {}
    }
}

/// An open connection.
struct Counted(Arc<Shared>);

impl Counted {
    fn new(shared: Arc<Shared>) -> Self {
        let mut open = shared.open.lock().unwrap();
        *open = (open.0 + 1, open.1.max(open.0 + 1));
        drop(open);
        Counted(shared)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.open.lock().unwrap().0 -= 1;
    }
}

async fn connection(mut stream: TcpStream, shared: &Shared, number: usize) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mode = shared.mode.lock().unwrap().clone();
    match mode {
        Mode::Plain => serve(Box::new(stream), shared, number).await,
        Mode::Tls(config) => {
            let stream = TlsAcceptor::from(config).accept(stream).await?;
            serve(Box::new(stream), shared, number).await
        }
        Mode::Custom(config, custom) => {
            let stream = TlsAcceptor::from(config).accept(stream).await?;
            custom(Box::new(stream)).await;
            Ok(())
        }
        Mode::Bare(steps) => {
            stream.read_u8().await?;
            play(&mut stream, &steps).await.map(|_| ())
        }
    }
}

/// Answers request after request.
async fn serve(mut stream: Box<dyn Transport>, shared: &Shared, number: usize) -> std::io::Result<()> {
    let mut buffered = Vec::new();
    while let Some(asked) = read_request(&mut stream, &mut buffered, number).await? {
        match (shared.handler)(&asked) {
            Act::Reply(reply) => stream.write_all(&reply.bytes(&asked.method)).await?,
            Act::Play(steps) => {
                if play(&mut *stream, &steps).await? == After::End {
                    return stream.shutdown().await;
                }
            }
        }
        stream.flush().await?;
    }
    Ok(())
}

#[derive(PartialEq, Eq)]
enum After {
    Next,
    End,
}

async fn play(stream: &mut dyn Transport, steps: &[Step]) -> std::io::Result<After> {
    for step in steps {
        match step {
            Step::Send(bytes) => stream.write_all(bytes).await?,
            Step::Repeat(bytes, times) => {
                for _ in 0..*times {
                    stream.write_all(bytes).await?;
                }
            }
            Step::Drip(bytes, span) => {
                let mut ticks = tokio::time::interval(*span);
                for byte in bytes.iter() {
                    ticks.tick().await;
                    stream.write_all(&[*byte]).await?;
                    stream.flush().await?;
                }
            }
            Step::Silence => {
                stream.flush().await?;
                let mut ignored = [0; 1024];
                while stream.read(&mut ignored).await? > 0 {}
            }
            Step::Reset => {
                stream.flush().await?;
                stream.tcp().set_zero_linger()?;
                return Err(std::io::ErrorKind::ConnectionReset.into());
            }
            Step::Next => return Ok(After::Next),
        }
    }
    stream.flush().await?;
    Ok(After::End)
}

/// The next request; none: the connection has ended.
async fn read_request(
    stream: &mut Box<dyn Transport>,
    buffered: &mut Vec<u8>,
    connection: usize,
) -> std::io::Result<Option<Asked>> {
    let head_end = loop {
        if let Some(at) = buffered.windows(4).position(|four| four == b"\r\n\r\n") {
            break at + 4;
        }
        if buffered.len() > MAX_HEAD || stream.read_buf(buffered).await? == 0 {
            return Ok(None);
        }
    };
    let head = String::from_utf8_lossy(&buffered[..head_end]).into_owned();
    buffered.drain(..head_end);
    let mut lines = head.split("\r\n");
    let mut words = lines.next().unwrap_or_default().split(' ').map(str::to_owned);
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let headers = lines.filter_map(|line| line.split_once(':'));
    let headers = headers.map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned())).collect();
    let mut asked = Asked { method, target, headers, body: String::new(), connection };
    let length = asked.header("content-length").map_or(0, |text| text.parse().unwrap());
    while buffered.len() < length {
        if stream.read_buf(buffered).await? == 0 {
            return Ok(None);
        }
    }
    asked.body = String::from_utf8_lossy(&buffered[..length]).into_owned();
    buffered.drain(..length);
    Ok(Some(asked))
}
