//! Connections kept for the next request: a few idle ones of HTTP/1, and one of HTTP/2 that requests share.
//!
//! Ours and not hyper-util's, because three things need it: a request that failed on a kept connection is sent again on a
//! new one and on no other; a cold burst waits for one handshake to learn whether HTTP/2 will carry it; and a connection
//! that let a request run into its time-out is never used again.

use std::collections::HashMap;
use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};

use super::super::failure::{Failure, FailureKind};
use super::HEADER_BYTES;
use super::connect::{Connector, Ending, Version};
use super::peer::{Origin, Peer};
use super::proxy::Proxy;

/// Sockets of one client, idle ones included. A registry gets at most `limits.lookupsPerHost` requests at one time.
const SOCKETS: usize = 64;
/// Kept while idle.
const IDLE: usize = 16;
/// After this a connection takes no further request, so that a name that moved is looked up again.
const OLDEST: Duration = Duration::from_secs(300);
/// Origins whose cold bursts are lined up; further ones (a registry may redirect blobs anywhere) are not.
const LINES: usize = 16;

/// The connections of one client.
pub(super) struct Pool {
    connector: Connector,
    idle_for: Duration,
    sockets: Arc<Semaphore>,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    /// The last one is the freshest.
    connections: Vec<(Origin, Connection)>,
    lines: HashMap<Origin, Arc<Line>>,
}

/// Where requests wait while the first of them finds out what its origin speaks.
#[derive(Default)]
struct Line {
    gate: tokio::sync::Mutex<()>,
    /// Set once a connection turned out to be HTTP/1: waiting for others is useless then.
    each_its_own: std::sync::atomic::AtomicBool,
}

#[derive(Clone)]
struct Shared {
    life: Arc<Life>,
    ending: Ending,
    absolute: Option<Proxy>,
}

struct Connection {
    sender: Sender,
    shared: Shared,
}

enum Sender {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

/// What a connection's users and its driver tell each other.
struct Life {
    born: Instant,
    state: Mutex<(usize, Instant)>,
    over: Notify,
}

/// Whether a connection carried requests before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wear {
    New,
    Used,
}

/// Which connections will do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Want {
    Any,
    New,
}

/// A connection lent for one request. Dropped without [`Lease::give_back`], it is closed (HTTP/1), or takes no further
/// request (HTTP/2).
pub(super) struct Lease {
    pool: Arc<Pool>,
    origin: Origin,
    sender: Option<Sender>,
    shared: Shared,
    pub wear: Wear,
}

impl Pool {
    pub fn new(connector: Connector, idle_for: Duration) -> Arc<Self> {
        let sockets = Arc::new(Semaphore::new(SOCKETS));
        Arc::new(Pool { connector, idle_for, sockets, kept: Mutex::default() })
    }

    /// A connection to the peer.
    ///
    /// # Errors
    /// Timeout, Unreachable, Tls.
    pub async fn lease(self: &Arc<Self>, peer: &Peer, want: Want) -> Result<Lease, Failure> {
        if want == Want::Any
            && let Some(lease) = self.kept_one(&peer.origin).await
        {
            return Ok(lease);
        }
        let line = self.line(&peer.origin);
        let limit = self.connector.limit;
        let late = || {
            let what = format!("cannot be connected to within {limit:?}: other connections to it are waited for");
            peer.failure(FailureKind::Timeout, &what)
        };
        let _gate = if line.each_its_own.load(std::sync::atomic::Ordering::Relaxed) {
            None
        } else {
            Some(timeout(limit, line.gate.lock()).await.map_err(|_| late())?)
        };
        // Whoever stood in line before may have opened one that all can share.
        if want == Want::Any
            && let Some(lease) = self.kept_one(&peer.origin).await
        {
            return Ok(lease);
        }
        let permit = timeout(limit, Arc::clone(&self.sockets).acquire_owned()).await;
        let Ok(Ok(permit)) = permit else { return Err(late()) };
        let opened = self.connector.open(peer).await?;
        if opened.version == Version::Http1 {
            line.each_its_own.store(true, std::sync::atomic::Ordering::Relaxed);
        }
        let now = Instant::now();
        let life = Arc::new(Life { born: now, state: Mutex::new((1, now)), over: Notify::new() });
        let shared = Shared { life: Arc::clone(&life), ending: opened.ending, absolute: opened.absolute };
        let io = TokioIo::new(opened.stream);
        let broken =
            |error: hyper::Error| peer.quoting(FailureKind::Unreachable, "breaks off the connection at once", &error);
        let sender = match opened.version {
            Version::Http1 => {
                let (sender, connection) = http1::Builder::new()
                    .max_buf_size(2 * HEADER_BYTES)
                    .max_header_size(HEADER_BYTES)
                    .handshake(io)
                    .await
                    .map_err(broken)?;
                self.drive(connection, life, permit);
                Sender::Http1(sender)
            }
            Version::Http2 => {
                let (sender, connection) = http2_settings().handshake(io).await.map_err(broken)?;
                self.drive(connection, life, permit);
                self.keep(&peer.origin, Sender::Http2(sender.clone()), shared.clone());
                Sender::Http2(sender)
            }
        };
        let origin = peer.origin.clone();
        Ok(Lease { pool: Arc::clone(self), origin, sender: Some(sender), shared, wear: Wear::New })
    }

    /// Runs a connection until it ends, is over for its users, or nobody used it for a while.
    fn drive<C>(&self, connection: C, life: Arc<Life>, permit: OwnedSemaphorePermit)
    where
        C: Future<Output = hyper::Result<()>> + Send + 'static,
    {
        let idle_for = self.idle_for;
        tokio::spawn(async move {
            let _permit = permit;
            let mut connection = pin!(connection);
            loop {
                let look_again = match life.idle_since() {
                    Some(since) if since.elapsed() >= idle_for => return,
                    Some(since) => since + idle_for,
                    None => Instant::now() + idle_for,
                };
                tokio::select! {
                    // How it ended is noted by its stream, and told to whoever has a request on it.
                    _ = &mut connection => return,
                    () = life.over.notified() => return,
                    () = tokio::time::sleep_until(look_again) => {}
                }
            }
        });
    }

    async fn kept_one(self: &Arc<Self>, origin: &Origin) -> Option<Lease> {
        loop {
            let Connection { sender, shared } = self.take(origin)?;
            let ready = match sender {
                Sender::Http2(sender) => Some(Sender::Http2(sender)),
                // Its driver may not have got round yet to end the last request, or to notice that the server hung up.
                Sender::Http1(mut sender) => sender.ready().await.ok().map(|()| Sender::Http1(sender)),
            };
            if ready.is_some() {
                let pool = Arc::clone(self);
                return Some(Lease { pool, origin: origin.clone(), sender: ready, shared, wear: Wear::Used });
            }
        }
    }

    /// One that is kept and still alive: HTTP/1's is taken out, HTTP/2's is shared. Its use begins.
    fn take(&self, origin: &Origin) -> Option<Connection> {
        let mut kept = self.lock();
        kept.connections.retain(|(_, connection)| connection.lives());
        let at = kept.connections.iter().rposition(|(of, _)| of == origin)?;
        let shared = kept.connections[at].1.shared.clone();
        let sender = match &kept.connections[at].1.sender {
            Sender::Http2(sender) => Sender::Http2(sender.clone()),
            Sender::Http1(_) => kept.connections.remove(at).1.sender,
        };
        shared.life.begin();
        Some(Connection { sender, shared })
    }

    fn keep(&self, origin: &Origin, sender: Sender, shared: Shared) {
        let mut kept = self.lock();
        kept.connections.retain(|(_, connection)| connection.lives());
        if kept.connections.len() >= IDLE {
            // The one that waited longest; requests that it still carries (HTTP/2) go on.
            kept.connections.remove(0);
        }
        kept.connections.push((origin.clone(), Connection { sender, shared }));
    }

    fn retire(&self, life: &Arc<Life>) {
        self.lock().connections.retain(|(_, connection)| !Arc::ptr_eq(&connection.shared.life, life));
    }

    fn line(&self, origin: &Origin) -> Arc<Line> {
        let mut kept = self.lock();
        if kept.lines.len() >= LINES && !kept.lines.contains_key(origin) {
            return Arc::default();
        }
        Arc::clone(kept.lines.entry(origin.clone()).or_default())
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// h2 bounds by itself: CONTINUATION frames by the list's size, resets (20 remote ones not yet seen, 1024 local ones),
/// small DATA frames, and one PING or SETTINGS answer at a time.
fn http2_settings() -> http2::Builder<TokioExecutor> {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_header_list_size(HEADER_BYTES as u32)
        // A stream's window is what a server may send unasked; the largest body is 4 MiB.
        .initial_stream_window_size(256 * 1024)
        .initial_connection_window_size(1024 * 1024)
        .max_send_buf_size(64 * 1024)
        .keep_alive_interval(Duration::from_secs(10))
        .keep_alive_timeout(Duration::from_secs(2));
    builder
}

impl Connection {
    fn lives(&self) -> bool {
        let closed = match &self.sender {
            Sender::Http1(sender) => sender.is_closed(),
            Sender::Http2(sender) => sender.is_closed(),
        };
        !closed && self.shared.life.born.elapsed() < OLDEST && self.shared.ending.get().is_none()
    }
}

impl Life {
    fn begin(&self) {
        self.lock().0 += 1;
    }

    fn end(&self) {
        let mut state = self.lock();
        *state = (state.0.saturating_sub(1), Instant::now());
    }

    fn idle_since(&self) -> Option<Instant> {
        let (users, since) = *self.lock();
        (users == 0).then_some(since)
    }

    fn lock(&self) -> MutexGuard<'_, (usize, Instant)> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lease {
    /// The proxy that is to be shown a whole URL, if one is.
    pub fn absolute(&self) -> Option<&Proxy> {
        self.shared.absolute.as_ref()
    }

    pub fn version(&self) -> Version {
        match self.sender {
            Some(Sender::Http2(_)) => Version::Http2,
            _ => Version::Http1,
        }
    }

    /// How the connection ended, if it did.
    pub fn ending(&self) -> &Ending {
        &self.shared.ending
    }

    /// Sends a request; the answer's body follows.
    ///
    /// # Errors
    /// hyper's; none where the lease was given back.
    pub async fn send(&mut self, request: Request<Full<Bytes>>) -> Option<hyper::Result<Response<Incoming>>> {
        Some(match self.sender.as_mut()? {
            Sender::Http1(sender) => sender.send_request(request).await,
            Sender::Http2(sender) => sender.send_request(request).await,
        })
    }

    /// The answer was read to its end: the connection may carry another request.
    pub fn give_back(mut self) {
        if let Some(sender @ Sender::Http1(_)) = self.sender.take() {
            self.pool.keep(&self.origin, sender, self.shared.clone());
        }
        self.shared.life.end();
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        match self.sender.take() {
            // Given back, which counted the use's end.
            None => {}
            Some(Sender::Http1(_)) => self.shared.life.over.notify_one(),
            Some(Sender::Http2(_)) => {
                self.pool.retire(&self.shared.life);
                self.shared.life.end();
            }
        }
    }
}
