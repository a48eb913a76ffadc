//! The accept loop and the life of a connection: bounds on everything a client can make us wait for, and the drain.

use std::convert::Infallible;
use std::future::poll_fn;
use std::hash::{BuildHasher as _, RandomState};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use axum::Router;
use axum::body::Body;
use futures_util::FutureExt as _;
use http::{HeaderValue, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulConnection;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;

use super::activity::{Activity, Due, Watched};
use super::tls::Tls;
use crate::metrics::Metrics;

/// Requests at one time on one HTTP/2 connection; the API server sends at most as many.
const MAX_STREAMS: u32 = 250;
/// Bytes of a request's head.
const MAX_HEAD: usize = 64 << 10;
/// Between pings on an HTTP/2 connection, and how long their answers may take.
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(15);
/// After an accept that failed for want of file descriptors: the next one would fail as well.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Where the server is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Serving.
    Serving,
    /// About to end: still accepting, and telling clients to go elsewhere.
    Closing,
    /// Accepting no more, finishing what was begun.
    Draining,
}

/// How long a connection's parts may take.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// The TLS handshake.
    pub handshake: Duration,
    /// A request's head, from its first byte.
    pub header: Duration,
    /// Between two requests.
    pub idle: Duration,
    /// All of it, more or less.
    pub age: Duration,
}

/// Whether a port speaks TLS.
#[derive(Clone, Debug)]
pub enum Security {
    /// No.
    Plain,
    /// Yes; new connections get what is in there. Until there is something, they are closed.
    Tls(Arc<ArcSwapOption<Tls>>),
}

/// A port: what it speaks, what answers behind it, and its bounds.
#[derive(Clone)]
pub struct Port {
    /// TLS or not.
    pub security: Security,
    /// What answers.
    pub router: Router,
    /// Connections at one time. Further ones wait unaccepted.
    pub connections: usize,
    /// For new connections.
    pub times: Arc<ArcSwap<Times>>,
    /// Counts connections, and those that come to nothing; none: nobody counts.
    pub metrics: Option<Arc<Metrics>>,
}

impl Port {
    fn rejected(&self, reason: &'static str) {
        if let Some(metrics) = &self.metrics {
            metrics.rejected(reason);
        }
    }
}

/// Accepts until the phase says otherwise, then returns when the last connection has ended.
pub async fn serve(listener: TcpListener, port: Port, phase: watch::Receiver<Phase>) {
    let slots = Arc::new(Semaphore::new(port.connections));
    let connections = TaskTracker::new();
    let port = Arc::new(port);
    let mut draining = phase.clone();
    let mut drain = pin!(draining.wait_for(|phase| *phase == Phase::Draining));
    loop {
        let slot = tokio::select! {
            biased;
            _ = &mut drain => break,
            slot = Arc::clone(&slots).acquire_owned() => slot,
        };
        let accepted = tokio::select! {
            biased;
            _ = &mut drain => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                let life = connection(stream, Arc::clone(&port), phase.clone());
                connections.spawn(life.map(|()| drop(slot)));
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    // Whoever is in the queue already would otherwise be reset.
    while let Some(Ok((stream, _))) = listener.accept().now_or_never() {
        connections.spawn(connection(stream, Arc::clone(&port), phase.clone()));
    }
    drop(listener);
    connections.close();
    connections.wait().await;
}

async fn connection(stream: TcpStream, port: Arc<Port>, phase: watch::Receiver<Phase>) {
    let _open = port.metrics.as_ref().map(|metrics| metrics.connection());
    let times = **port.times.load();
    // Answers are one write each; waiting for more would only delay them. A socket that refuses is closing.
    let _ = stream.set_nodelay(true);
    let Security::Tls(tls) = &port.security else {
        return http1_connection(stream, port.router.clone(), times, phase).await;
    };
    let Some(tls) = tls.load_full() else {
        port.rejected("no-certificate");
        return;
    };
    let acceptor = TlsAcceptor::from(Arc::clone(&tls.config));
    let stream = match timeout(times.handshake, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            port.rejected("tls-handshake");
            tracing::debug!(%error, "TLS handshake failed");
            return;
        }
        Err(_) => {
            port.rejected("tls-handshake-time");
            return;
        }
    };
    let session = stream.get_ref().1;
    let router = if tls.admits(session.peer_certificates()) { port.router.clone() } else { strangers() };
    if session.alpn_protocol() == Some(b"h2") {
        http2_connection(stream, router, times, phase).await;
    } else {
        http1_connection(stream, router, times, phase).await;
    }
}

/// What a client gets whose certificate has none of the names: nothing of any policy.
fn strangers() -> Router {
    let answer = (StatusCode::FORBIDDEN, "the client's certificate has none of the names that may ask here\n");
    Router::new().fallback(move || std::future::ready(answer))
}

async fn http1_connection<S>(stream: S, router: Router, times: Times, phase: watch::Receiver<Phase>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let activity = Activity::http1();
    let io = TokioIo::new(Watched { stream, activity: Arc::clone(&activity) });
    let mut builder = http1::Builder::new();
    // A client that has sent its request and closes its half still gets its answer.
    builder.half_close(true).max_buf_size(MAX_HEAD).timer(TokioTimer::new()).header_read_timeout(None);
    let service = service_fn(|request| answer(request, router.clone(), Arc::clone(&activity), LastAnswer::Said));
    drive(builder.serve_connection(io, service), &activity, times, phase, Farewell::AfterAnswer).await;
}

async fn http2_connection<S>(stream: S, router: Router, times: Times, phase: watch::Receiver<Phase>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let activity = Activity::http2();
    let io = TokioIo::new(Watched { stream, activity: Arc::clone(&activity) });
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(u32::try_from(MAX_HEAD).unwrap_or(u32::MAX))
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT);
    let requests = Arc::clone(&activity);
    let service = service_fn(move |request| answer(request, router.clone(), Arc::clone(&requests), LastAnswer::Unsaid));
    drive(builder.serve_connection(io, service), &activity, times, phase, Farewell::Frame).await;
}

/// Whether the last answer of a connection says that it is.
#[derive(Clone, Copy)]
enum LastAnswer {
    /// By `Connection: close`.
    Said,
    /// HTTP/2 forbids that header.
    Unsaid,
}

async fn answer(
    request: Request<Incoming>,
    router: Router,
    activity: Arc<Activity>,
    last: LastAnswer,
) -> Result<Response<Body>, Infallible> {
    let in_flight = activity.request();
    let mut response = router.oneshot(request).await?;
    drop(in_flight);
    if activity.is_closing() && matches!(last, LastAnswer::Said) {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(response)
}

/// How a connection that still works is ended without losing a request that is on its way.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Farewell {
    /// HTTP/1: the next answer says so; an idle connection is left to its client until the drain.
    AfterAnswer,
    /// HTTP/2: a GOAWAY frame.
    Frame,
}

enum Event {
    Ended(Result<(), hyper::Error>),
    Late,
    Changed,
    Aged,
}

/// Runs a connection to its end, whoever brings that about.
async fn drive<C>(
    connection: C,
    activity: &Activity,
    times: Times,
    mut phase: watch::Receiver<Phase>,
    farewell: Farewell,
) where
    C: GracefulConnection<Error = hyper::Error>,
{
    let mut connection = pin!(connection);
    let mut age = pin!(sleep_until(Instant::now() + jittered(times.age)));
    let mut aged = false;
    // Once set, the connection was told to end and has this long left.
    let mut leave = None;
    let mut timer = pin!(sleep_until(Instant::now() + times.header));
    phase.mark_changed();
    loop {
        let event = {
            let step = poll_fn(|cx| {
                if let Poll::Ready(ended) = connection.as_mut().poll(cx) {
                    return Poll::Ready(Event::Ended(ended));
                }
                let due = leave.unwrap_or_else(|| match activity.due(times.header, times.idle) {
                    Due::Busy => timer.deadline(),
                    Due::Head(due) | Due::Idle(due) => due,
                });
                // Moved only to something earlier; where it turns out to be early, it is set anew when it fires.
                if due < timer.deadline() {
                    timer.as_mut().reset(due);
                }
                timer.as_mut().poll(cx).map(|()| Event::Late)
            });
            tokio::select! {
                biased;
                event = step => event,
                _ = phase.changed() => Event::Changed,
                () = &mut age, if !aged => Event::Aged,
            }
        };
        match event {
            Event::Ended(ended) => {
                if let Err(error) = ended {
                    tracing::debug!(%error, "connection ended");
                }
                return;
            }
            Event::Late => {
                let now = Instant::now();
                match (leave, activity.due(times.header, times.idle)) {
                    (Some(due), _) if due <= now => return,
                    (Some(due), _) => timer.as_mut().reset(due),
                    (None, Due::Head(due)) if due <= now => return,
                    (None, Due::Idle(due)) if due <= now => {
                        connection.as_mut().graceful_shutdown();
                        leave = Some(now + times.header);
                        timer.as_mut().reset(now + times.header);
                    }
                    (None, Due::Busy) => timer.as_mut().reset(now + times.header),
                    (None, Due::Head(due) | Due::Idle(due)) => timer.as_mut().reset(due),
                }
            }
            Event::Changed => match *phase.borrow_and_update() {
                Phase::Serving => {}
                Phase::Closing => activity.close_after_answer(),
                Phase::Draining => connection.as_mut().graceful_shutdown(),
            },
            Event::Aged => {
                aged = true;
                match farewell {
                    Farewell::AfterAnswer => activity.close_after_answer(),
                    Farewell::Frame => connection.as_mut().graceful_shutdown(),
                }
            }
        }
    }
}

/// Between 90 and 110 of a hundred parts, so that what began together does not go on together.
pub(super) fn jittered(age: Duration) -> Duration {
    let random = u32::try_from(RandomState::new().hash_one(()) % 21).unwrap_or_default();
    age / 100 * (90 + random)
}
