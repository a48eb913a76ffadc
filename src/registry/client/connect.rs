//! Connections: a name resolved, its addresses checked, one of those dialled, and TLS on top, all within one time-out.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use http::header::{HOST, PROXY_AUTHORIZATION};
use http::{Method, Request};
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;

use super::super::egress;
use super::super::failure::{Failure, FailureKind};
use super::HEADER_BYTES;
use super::peer::{Peer, Scheme};
use super::proxy::{Proxies, Proxy};
use super::tls::{self, Tls};

/// Addresses of one name that are tried.
const MOST_ADDRESSES: usize = 8;
/// How long an address may hesitate before the next is tried beside it. RFC 8305 says 250 ms; we have one second for all.
const STAGGER: Duration = Duration::from_millis(150);
/// Names looked up at one time by the whole process. A look-up that nobody waits for any more still holds a thread, for
/// as long as getaddrinfo likes (5 s and more on SERVFAIL or silence).
static LOOKUPS: Semaphore = Semaphore::const_new(64);

pub(in crate::registry) type Later<T> = Pin<Box<dyn Future<Output = io::Result<T>> + Send>>;

/// Names and sockets: the system's, or a test's.
pub(in crate::registry) trait Network: Send + Sync {
    /// The addresses of a name, in the order of preference.
    fn resolve(&self, host: &str) -> Later<Vec<IpAddr>>;
    /// A connection to exactly this address.
    fn dial(&self, address: SocketAddr) -> Later<TcpStream>;
}

/// getaddrinfo and TCP.
pub(in crate::registry) struct System;

impl Network for System {
    fn resolve(&self, host: &str) -> Later<Vec<IpAddr>> {
        let host = host.to_owned();
        Box::pin(async move {
            let permit = LOOKUPS.acquire().await.map_err(io::Error::other)?;
            let lookup = tokio::spawn(async move {
                let _permit = permit;
                let found = tokio::net::lookup_host((host, 0)).await?;
                Ok(found.map(|address| address.ip()).collect())
            });
            lookup.await.map_err(io::Error::other)?
        })
    }

    fn dial(&self, address: SocketAddr) -> Later<TcpStream> {
        Box::pin(async move {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            Ok(stream)
        })
    }
}

/// What a new connection needs.
pub(super) struct Connector {
    pub network: Arc<dyn Network>,
    pub proxies: Proxies,
    pub tls: Tls,
    /// For name, TCP and TLS together.
    pub limit: Duration,
}

/// A new connection.
pub(super) struct Opened {
    pub stream: Watched,
    pub ending: Ending,
    pub version: Version,
    /// Plain HTTP by way of a proxy: requests have absolute URLs, and what the proxy wants to see of us.
    pub absolute: Option<Proxy>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    Http1,
    Http2,
}

/// What an attempt was busy with when its time was up.
#[derive(Clone, Copy)]
enum Step {
    Name,
    Tcp,
    Proxy,
    Tls,
}

impl Connector {
    /// A connection to an address of the peer's that was checked.
    ///
    /// # Errors
    /// Timeout, Unreachable, Tls.
    pub async fn open(&self, peer: &Peer) -> Result<Opened, Failure> {
        let mut step = Step::Name;
        match timeout(self.limit, self.steps(peer, &mut step)).await {
            Ok(opened) => opened,
            Err(_) => {
                let what = match step {
                    Step::Name => "has a name that does not resolve",
                    Step::Tcp => "does not accept connections",
                    Step::Proxy => "is not reached by the proxy",
                    Step::Tls => "does not complete the TLS handshake",
                };
                Err(peer.failure(FailureKind::Timeout, &format!("{what} within {:?}", self.limit)))
            }
        }
    }

    async fn steps(&self, peer: &Peer, step: &mut Step) -> Result<Opened, Failure> {
        let proxy = self.proxies.towards(&peer.origin);
        let tcp = match proxy {
            None => self.direct(peer, step).await?,
            Some(proxy) => {
                *step = Step::Proxy;
                self.by_proxy(peer, proxy).await?
            }
        };
        let ending = Ending::default();
        if peer.origin.scheme == Scheme::Http {
            let stream = Watched { inner: Box::new(tcp), ending: ending.clone() };
            return Ok(Opened { stream, ending, version: Version::Http1, absolute: proxy.cloned() });
        }
        let inner: Box<dyn Stream> = match proxy {
            None => Box::new(tcp),
            Some(proxy) => tunnel(peer, proxy, tcp).await?,
        };
        *step = Step::Tls;
        let name = ServerName::try_from(peer.origin.host.clone())
            .map_err(|_| peer.failure(FailureKind::Tls, "has a name that no certificate can have"))?;
        let connector = TlsConnector::from(self.tls.towards(peer.standing));
        let tls = connector.connect(name, inner).await.map_err(|error| match tls::objection(&error) {
            Some(objection) => peer.quoting(FailureKind::Tls, objection, &error),
            None => peer.quoting(FailureKind::Unreachable, "breaks off the TLS handshake", &error),
        })?;
        let version = if tls.get_ref().1.alpn_protocol() == Some(b"h2") { Version::Http2 } else { Version::Http1 };
        let stream = Watched { inner: Box::new(tls), ending: ending.clone() };
        Ok(Opened { stream, ending, version, absolute: None })
    }

    /// To one of the peer's own addresses.
    async fn direct(&self, peer: &Peer, step: &mut Step) -> Result<TcpStream, Failure> {
        let found = self
            .addresses(&peer.origin.host)
            .await
            .map_err(|error| peer.quoting(FailureKind::Unreachable, "has a name that does not resolve", &error))?;
        *step = Step::Tcp;
        let (mut fine, mut refused) = (Vec::new(), None);
        for ip in found {
            match egress::address(ip, peer.reach) {
                Ok(()) => fine.push(SocketAddr::new(ip, peer.origin.port)),
                Err(what) => refused = refused.or(Some((ip, what))),
            }
        }
        if let (true, Some((ip, what))) = (fine.is_empty(), refused) {
            let what = format!("resolves to {what}, and was not asked; see 'private'");
            return Err(peer.quoting(FailureKind::Unreachable, &what, &ip));
        }
        if fine.is_empty() {
            return Err(peer.failure(FailureKind::Unreachable, "has a name without addresses"));
        }
        self.dial_any(fine).await.map_err(|error| {
            let what = match error.kind() {
                io::ErrorKind::ConnectionRefused => "refuses connections",
                io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => "is not on any network we reach",
                _ => "cannot be connected to",
            };
            peer.quoting(FailureKind::Unreachable, what, &error)
        })
    }

    async fn addresses(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        match host.parse() {
            Ok(ip) => Ok(vec![ip]),
            Err(_) => self.network.resolve(host).await,
        }
    }

    /// The first connection that comes about: the next address is tried when one fails or hesitates, the families in
    /// turns.
    async fn dial_any(&self, addresses: Vec<SocketAddr>) -> io::Result<TcpStream> {
        let mut waiting = in_turns(addresses).into_iter().take(MOST_ADDRESSES);
        let mut attempts: FuturesUnordered<_> =
            waiting.next().map(|first| self.network.dial(first)).into_iter().collect();
        let mut first_error = None;
        loop {
            let hesitates = async {
                if waiting.len() == 0 {
                    std::future::pending::<()>().await;
                }
                sleep(STAGGER).await;
            };
            tokio::select! {
                done = attempts.next() => match done {
                    Some(Ok(stream)) => return Ok(stream),
                    Some(Err(error)) => { first_error.get_or_insert(error); }
                    None => return Err(first_error.unwrap_or_else(|| io::Error::other("no address"))),
                },
                () = hesitates => {}
            }
            if let Some(next) = waiting.next() {
                attempts.push(self.network.dial(next));
            }
        }
    }

    /// To the proxy. Its address is the operator's choice; the peer's cannot be checked, so that it must be a name.
    async fn by_proxy(&self, peer: &Peer, proxy: &Proxy) -> Result<TcpStream, Failure> {
        if egress::is_literal(&peer.origin.host) {
            let what = "is an address without a name, and is not asked by way of a proxy; list it in NO_PROXY";
            return Err(peer.failure(FailureKind::Unreachable, what));
        }
        let unreachable = |error: io::Error| {
            peer.quoting(FailureKind::Unreachable, "is to be asked by way of a proxy, which is not reached", &error)
        };
        let found = self.addresses(&proxy.host).await.map_err(unreachable)?;
        let addresses = found.into_iter().map(|ip| SocketAddr::new(ip, proxy.port)).collect();
        self.dial_any(addresses).await.map_err(unreachable)
    }
}

/// The families in turns, the first one's first, so that a family that leads nowhere costs one [`STAGGER`].
fn in_turns(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let first_family = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (first, second): (Vec<_>, Vec<_>) = addresses.into_iter().partition(|a| a.is_ipv6() == first_family);
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    let mut all = Vec::new();
    loop {
        let before = all.len();
        all.extend(first.next());
        all.extend(second.next());
        if all.len() == before {
            return all;
        }
    }
}

/// A way through the proxy to the peer (CONNECT, RFC 9110, 9.3.6).
async fn tunnel(peer: &Peer, proxy: &Proxy, tcp: TcpStream) -> Result<Box<dyn Stream>, Failure> {
    let broken = |error: hyper::Error| {
        peer.quoting(FailureKind::Unreachable, "is not reached by the proxy, which broke off", &error)
    };
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(HEADER_BYTES)
        .handshake::<_, Empty<bytes::Bytes>>(TokioIo::new(tcp))
        .await
        .map_err(broken)?;
    // Ends when the tunnel is made, or with this attempt.
    let driver = tokio::spawn(connection.with_upgrades());
    let authority = peer.origin.host_and_port();
    let mut request = Request::builder().method(Method::CONNECT).uri(&authority).header(HOST, &authority);
    if let Some(authorization) = &proxy.authorization {
        request = request.header(PROXY_AUTHORIZATION, authorization);
    }
    let request = request
        .body(Empty::new())
        .map_err(|error| peer.quoting(FailureKind::Unreachable, "cannot be named to a proxy", &error))?;
    let guard = AbortOnDrop(driver);
    let answer = sender.send_request(request).await.map_err(broken)?;
    let status = answer.status();
    if status == http::StatusCode::PROXY_AUTHENTICATION_REQUIRED {
        return Err(peer.failure(FailureKind::Unreachable, "is not reached: the proxy wants other credentials"));
    }
    if !status.is_success() {
        let what = format!("is not reached: the proxy answered {}", status.as_u16());
        return Err(peer.failure(FailureKind::Unreachable, &what));
    }
    let upgraded = hyper::upgrade::on(answer).await.map_err(broken)?;
    drop(guard);
    Ok(Box::new(TokioIo::new(upgraded)))
}

struct AbortOnDrop<T>(tokio::task::JoinHandle<T>);

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Anything that bytes go through.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// How a connection ended below HTTP: hyper's errors do not tell it apart for HTTP/2.
#[derive(Clone, Default)]
pub(super) struct Ending(Arc<Mutex<Option<End>>>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The other side said that there is no more.
    Closed,
    /// Reset, or the like.
    Broken,
    /// TLS objects: what it says of the peer.
    Tls(&'static str),
}

impl Ending {
    pub fn get(&self) -> Option<End> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What TLS says explains the rest.
    fn note(&self, end: End) {
        let mut noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if noted.is_none() || matches!(end, End::Tls(_)) {
            *noted = Some(end);
        }
    }

    fn failed(&self, error: &io::Error) {
        self.note(match tls::objection(error) {
            Some(objection) => End::Tls(objection),
            None if error.kind() == io::ErrorKind::UnexpectedEof => End::Closed,
            None => End::Broken,
        });
    }
}

/// A stream that remembers how it ended.
pub(super) struct Watched {
    inner: Box<dyn Stream>,
    ending: Ending,
}

impl AsyncRead for Watched {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let (room, before) = (buf.remaining(), buf.filled().len());
        let polled = Pin::new(&mut self.inner).poll_read(cx, buf);
        match &polled {
            Poll::Ready(Err(error)) => self.ending.failed(error),
            Poll::Ready(Ok(())) if room > 0 && buf.filled().len() == before => self.ending.note(End::Closed),
            _ => {}
        }
        polled
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.inner).poll_write(cx, buf);
        if let Poll::Ready(Err(error)) = &polled {
            self.ending.failed(error);
        }
        polled
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::in_turns;

    #[test]
    fn families_take_turns() {
        let turns = |list: &[&str]| {
            let all = in_turns(list.iter().map(|text| text.parse().unwrap()).collect());
            all.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(
            turns(&["[::1]:1", "[::2]:1", "[::3]:1", "1.1.1.1:1"]),
            ["[::1]:1", "1.1.1.1:1", "[::2]:1", "[::3]:1"]
        );
        assert_eq!(turns(&["1.1.1.1:1", "[::1]:1"]), ["1.1.1.1:1", "[::1]:1"]);
        assert!(turns(&[]).is_empty());
    }
}
