//! The HTTP client: one request out, one bounded answer back, over a connection to an address that was checked.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, HOST, HeaderValue, PROXY_AUTHORIZATION, USER_AGENT};
use http::{HeaderMap, Method, Request, StatusCode, Uri};
use http_body_util::Full;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use self::body::Short;
use self::connect::{Connector, End, Version};
use self::peer::{Home, Peer};
use self::pool::{Lease, Pool, Want, Wear};
use self::tls::Tls;
use super::failure::{Failure, FailureKind};
use super::settings::{RegistrySettings, Settings};

mod body;
mod connect;
mod peer;
mod pool;
mod proxy;
mod redirect;
mod tls;

pub(super) use self::connect::{Network, System};
pub(super) use self::proxy::Proxies;

/// Bytes that the headers of an answer may have in all.
const HEADER_BYTES: usize = 32 << 10;
/// Interim answers (1xx) that may precede one answer.
const INTERIM: usize = 8;
/// How long an idle connection is kept.
const IDLE_FOR: Duration = Duration::from_secs(60);

/// For what a request is made; decides which addresses and redirects are fine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Errand {
    /// To the registry itself (or its configured endpoint). No redirect to another host.
    Registry,
    /// To a token server that the registry named and `auth` has approved. Redirects are refused.
    Realm,
    /// For a blob: redirects to other hosts are followed by https to public addresses, without credentials.
    Blob,
}

/// A request to be sent.
#[derive(Clone, Debug)]
pub(super) struct Outgoing {
    /// HEAD, GET or POST.
    pub method: Method,
    /// Absolute.
    pub uri: Uri,
    /// Besides those that the client sets itself (Host, User-Agent, `Accept-Encoding: identity`).
    pub headers: HeaderMap,
    /// Of a POST.
    pub body: Bytes,
    /// Bytes that the answer's body may have; more is a Protocol failure.
    pub limit: usize,
    /// For what.
    pub errand: Errand,
}

/// What came back: any status but those that nobody asked for (1xx, 204 to 206, 304); redirects were followed or refused
/// by then.
#[derive(Clone, Debug)]
pub(super) struct Incoming {
    /// What the server says.
    pub status: StatusCode,
    /// At most 32 KiB in all.
    pub headers: HeaderMap,
    /// Within the request's limit; empty for HEAD.
    pub body: Bytes,
}

/// A client for one registry: its settings decide about TLS, private addresses and plain HTTP. Connections are pooled.
#[derive(Clone)]
pub(super) struct Client {
    inner: Arc<Inner>,
}

struct Inner {
    home: Home,
    request: Duration,
    pool: Arc<Pool>,
}

/// What a client takes from its surroundings; tests give it theirs.
pub(super) struct Surroundings {
    /// Names and sockets.
    pub network: Arc<dyn Network>,
    /// HTTP proxies.
    pub proxies: Proxies,
    /// How long an idle connection is kept.
    pub idle_for: Duration,
}

impl Surroundings {
    /// The system's network and the environment's proxies.
    ///
    /// # Errors
    /// One sentence: a proxy variable cannot be used.
    pub fn system() -> Result<Self, String> {
        Ok(Surroundings { network: Arc::new(System), proxies: Proxies::from_env()?, idle_for: IDLE_FOR })
    }
}

impl Client {
    /// Reads the CA and client certificate files, and the proxy variables. `registry`: its entry in the configuration, if
    /// it has one.
    ///
    /// # Errors
    /// One sentence: a file cannot be read or is not PEM, the endpoint is no URL, a proxy variable cannot be used.
    pub fn new(host: &str, registry: Option<&RegistrySettings>, settings: &Settings) -> Result<Self, String> {
        Client::within(Surroundings::system()?, host, registry, settings)
    }

    /// The same in other surroundings.
    ///
    /// # Errors
    /// As [`Client::new`].
    pub fn within(
        surroundings: Surroundings,
        host: &str,
        registry: Option<&RegistrySettings>,
        settings: &Settings,
    ) -> Result<Self, String> {
        let Surroundings { network, proxies, idle_for } = surroundings;
        let connector = Connector { network, proxies, tls: Tls::new(registry)?, limit: settings.connect };
        let home = Home::new(host, registry, settings)?;
        let pool = Pool::new(connector, idle_for);
        Ok(Client { inner: Arc::new(Inner { home, request: settings.request, pool }) })
    }

    /// Sends a request and reads the whole answer, by `deadline` and within `timeouts.request`; redirects are part of it.
    ///
    /// # Errors
    /// Timeout, Unreachable (refused by egress too), Tls, Protocol.
    pub async fn send(&self, request: Outgoing, deadline: Instant) -> Result<Incoming, Failure> {
        let inner = &*self.inner;
        let started = Instant::now();
        let mut peer = inner.home.first(&request.uri, request.errand)?;
        let until = deadline.min(started + inner.request);
        if until <= started {
            return Err(peer.failure(FailureKind::Timeout, "was not asked: there was no time left"));
        }
        match timeout_at(until, inner.follow(request, &mut peer)).await {
            Ok(answer) => answer,
            Err(_) if until == deadline => Err(peer.failure(FailureKind::Timeout, "did not answer in the time left")),
            Err(_) => Err(peer.failure(FailureKind::Timeout, &format!("did not answer within {:?}", inner.request))),
        }
    }
}

impl Inner {
    /// Follows redirects; `peer` is whom it is busy with.
    async fn follow(&self, mut request: Outgoing, peer: &mut Peer) -> Result<Incoming, Failure> {
        for _ in 0..=redirect::MOST {
            let answer = self.exchange(&request, peer).await?;
            if !redirect::is_one(answer.status) {
                return Ok(answer);
            }
            let (uri, next) = redirect::target(&self.home, peer, &request.uri, &answer.headers, request.errand)?;
            redirect::strip(&mut request.headers, &peer.origin, &next.origin);
            request.uri = uri;
            *peer = next;
        }
        Err(peer.failure(FailureKind::Protocol, &format!("redirects more than {} times", redirect::MOST)))
    }

    /// One request and its answer. A kept connection may have died unnoticed: what fails on one before an answer began is
    /// sent once more, on a new one.
    async fn exchange(&self, request: &Outgoing, peer: &Peer) -> Result<Incoming, Failure> {
        let lease = self.pool.lease(peer, Want::Any).await?;
        let used = lease.wear == Wear::Used;
        match attempt(lease, request, peer).await {
            Err(Attempt::Unanswered(_)) if used => {}
            Err(Attempt::Unanswered(failure) | Attempt::Failed(failure)) => return Err(failure),
            Ok(answer) => return Ok(answer),
        }
        let lease = self.pool.lease(peer, Want::New).await?;
        attempt(lease, request, peer).await.map_err(|(Attempt::Unanswered(failure) | Attempt::Failed(failure))| failure)
    }
}

/// How a request on one connection failed.
enum Attempt {
    /// The connection ended before an answer began.
    Unanswered(Failure),
    Failed(Failure),
}

async fn attempt(mut lease: Lease, request: &Outgoing, peer: &Peer) -> Result<Incoming, Attempt> {
    let protocol = |what: &str| Attempt::Failed(peer.failure(FailureKind::Protocol, what));
    let mut written = written(&lease, request, peer).map_err(Attempt::Failed)?;
    let flood = Arc::new((AtomicUsize::new(0), Notify::new()));
    let interim = Arc::clone(&flood);
    hyper::ext::on_informational(&mut written, move |_| {
        if interim.0.fetch_add(1, Ordering::Relaxed) >= INTERIM {
            interim.1.notify_one();
        }
    });
    let answer = tokio::select! {
        biased;
        () = flood.1.notified() => return Err(protocol("answers with interim answers only")),
        answer = lease.send(written) => answer,
    };
    let answer = match answer {
        Some(Ok(answer)) => answer,
        Some(Err(error)) if error.is_parse() => return Err(Attempt::Failed(broken(&lease, &error, peer, Begun::Yes))),
        Some(Err(error)) => return Err(Attempt::Unanswered(broken(&lease, &error, peer, Begun::No))),
        None => return Err(protocol("has no connection")),
    };
    let (head, body) = answer.into_parts();
    let limit = (request.method != Method::HEAD).then_some(request.limit);
    body::objection(head.status, &head.headers, limit).map_err(|what| protocol(&what))?;
    let body = match body::read(body, limit.unwrap_or(0)).await {
        Ok(body) => body,
        Err(Short::TooLarge(what)) => return Err(protocol(&what)),
        Err(Short::Broken(error)) => return Err(Attempt::Failed(broken(&lease, &error, peer, Begun::Yes))),
    };
    lease.give_back();
    Ok(Incoming { status: head.status, headers: head.headers, body })
}

/// The request as this connection wants it.
fn written(lease: &Lease, request: &Outgoing, peer: &Peer) -> Result<Request<Full<Bytes>>, Failure> {
    let mut written = Request::new(Full::new(request.body.clone()));
    let invalid = |error: &dyn std::fmt::Display| {
        peer.quoting(FailureKind::Protocol, "has a URL that cannot be asked for", error)
    };
    *written.method_mut() = request.method.clone();
    *written.headers_mut() = request.headers.clone();
    let headers = written.headers_mut();
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    headers.insert(USER_AGENT, HeaderValue::from_static(concat!("tagwarden/", env!("CARGO_PKG_VERSION"))));
    headers.remove(HOST);
    if lease.version() == Version::Http1 {
        headers.insert(HOST, HeaderValue::try_from(peer.origin.authority()).map_err(|error| invalid(&error))?);
    }
    let path = request.uri.path_and_query().map_or("/", |path| path.as_str());
    *written.uri_mut() = match (lease.version(), lease.absolute()) {
        (Version::Http1, None) => path.parse().map_err(|error| invalid(&error))?,
        (Version::Http2, _) => request.uri.clone(),
        (Version::Http1, Some(proxy)) => {
            if let Some(authorization) = &proxy.authorization {
                written.headers_mut().insert(PROXY_AUTHORIZATION, authorization.clone());
            }
            request.uri.clone()
        }
    };
    Ok(written)
}

/// Whether an answer had begun when its connection broke.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Begun {
    Yes,
    No,
}

fn broken(lease: &Lease, error: &hyper::Error, peer: &Peer, begun: Begun) -> Failure {
    let (kind, what) = match (lease.ending().get(), begun) {
        (Some(End::Tls(objection)), _) => (FailureKind::Tls, objection),
        _ if error.is_parse_too_large() => (FailureKind::Protocol, "answered with more than 32 KiB of headers"),
        _ if error.is_parse() => (FailureKind::Protocol, "does not answer as HTTP servers do"),
        (Some(End::Broken), _) => (FailureKind::Unreachable, "broke off the connection"),
        (Some(End::Closed), Begun::No) => (FailureKind::Unreachable, "closed the connection without an answer"),
        (Some(End::Closed), Begun::Yes) => (FailureKind::Protocol, "closed the connection before its answer's end"),
        _ if gave_up(error) => (FailureKind::Unreachable, "ended the request without an answer"),
        (None, _) => (FailureKind::Protocol, "broke the rules of HTTP"),
    };
    peer.quoting(kind, what, error)
}

/// Whether an HTTP/2 server said that it will not answer (RST_STREAM, GOAWAY), which servers do that are overloaded or
/// about to end. That breaks no rule.
fn gave_up(error: &hyper::Error) -> bool {
    let cause = std::error::Error::source(error).and_then(|cause| cause.downcast_ref::<h2::Error>());
    cause.is_some_and(|cause| cause.is_remote() && (cause.is_reset() || cause.is_go_away()))
}

#[cfg(test)]
mod tests;
