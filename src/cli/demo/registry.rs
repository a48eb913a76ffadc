//! A registry on loopback with example images made on the spot: what the demo resolves tags at.
//!
//! It answers the reading half of the distribution protocol over TLS, and it can do what real ones do to their users:
//! let a tag move, go away, and come back. Integration tests use it as well.

mod images;
mod store;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use anyhow::Context as _;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::certs::Authority;
use crate::image::DigestBuf;
use crate::policy::Seconds;
use crate::server::tls::{Files, Tls};
pub use images::ExampleImage;
use store::Store;

/// How long its certificate holds, in seconds: a day is more than any demo.
const LIFETIME: i64 = 86_400;

/// The registry. Its connections are gone when it is dropped.
pub struct ExampleRegistry {
    address: SocketAddr,
    authority: String,
    acceptor: TlsAcceptor,
    store: Arc<Store>,
    open: Option<Open>,
}

/// The half that listens; none while the registry is down.
struct Open {
    closed: CancellationToken,
    task: JoinHandle<()>,
}

impl ExampleRegistry {
    /// An empty one on a free port of loopback, with a certificate for `localhost` and `127.0.0.1` that holds from
    /// `now`. Needs a tokio runtime.
    ///
    /// # Errors
    /// No port, or no certificate.
    pub async fn start(now: Seconds) -> anyhow::Result<Self> {
        let authority = Authority::new("tagwarden example registry", now, LIFETIME)?;
        let pair = authority.server(&["localhost", "127.0.0.1"].map(str::to_owned), now, LIFETIME)?;
        let files = Files {
            cert: ("the registry's certificate", pair.cert.as_bytes()),
            key: ("the registry's key", pair.key.as_bytes()),
            client_ca: None,
            client_names: &[],
        };
        let tls = Tls::new(&files).map_err(anyhow::Error::msg)?;
        let mut registry = ExampleRegistry {
            address: (Ipv4Addr::LOCALHOST, 0).into(),
            authority: authority.pem().to_owned(),
            acceptor: TlsAcceptor::from(tls.config),
            store: Arc::default(),
            open: None,
        };
        registry.go_up().await?;
        Ok(registry)
    }

    /// Where to ask, as the configuration's `endpoint` takes it: `https://127.0.0.1:40123`.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("https://{}", self.address)
    }

    /// Its port; the same after it was down.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// The authority that signed its certificate, PEM.
    #[must_use]
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// Takes in an image, and gives the digest that a tag of it has: the index's, where it has several platforms.
    ///
    /// # Errors
    /// None that can happen: a digest made here parses.
    pub fn push(&self, repository: &str, image: &ExampleImage<'_>) -> anyhow::Result<DigestBuf> {
        self.store.push(repository, image)
    }

    /// Lets a tag name an image, whatever it named before.
    pub fn tag(&self, repository: &str, tag: &str, digest: &DigestBuf) {
        self.store.tag(repository, tag, digest);
    }

    /// From now on whoever asks for this repository must log in (HTTP Basic) as this user.
    pub fn require_login(&self, repository: &str, username: &str, password: &str) {
        self.store.require_login(repository, username, password);
    }

    /// How many requests it got so far, refused ones among them.
    #[must_use]
    pub fn requests(&self) -> usize {
        self.store.requests()
    }

    /// Stops listening and closes every connection; when this returns, connections are refused.
    pub async fn go_down(&mut self) {
        if let Some(open) = self.open.take() {
            open.closed.cancel();
            // A task that was cancelled has closed its sockets, too.
            let _ = open.task.await;
        }
    }

    /// Listens, on the port of the last time where there was one. Nothing is done where it listens already.
    ///
    /// # Errors
    /// Somebody else took the port.
    pub async fn go_up(&mut self) -> anyhow::Result<()> {
        if self.open.is_some() {
            return Ok(());
        }
        let listener = TcpListener::bind(self.address).await.context("cannot listen for the example registry")?;
        self.address = listener.local_addr()?;
        let closed = CancellationToken::new();
        let task = accept(listener, self.acceptor.clone(), Arc::clone(&self.store), closed.clone());
        self.open = Some(Open { closed, task: tokio::spawn(task) });
        Ok(())
    }
}

impl Drop for ExampleRegistry {
    fn drop(&mut self) {
        if let Some(open) = &self.open {
            open.closed.cancel();
        }
    }
}

/// Serves connections until `closed`; then they end at once, whatever is under way.
async fn accept(listener: TcpListener, acceptor: TlsAcceptor, store: Arc<Store>, closed: CancellationToken) {
    let mut connections = JoinSet::new();
    while let Some(accepted) = closed.run_until_cancelled(listener.accept()).await {
        // An error of one accept (no file descriptor left, say) is the asker's to notice.
        let Ok((stream, _)) = accepted else { continue };
        let (acceptor, store) = (acceptor.clone(), Arc::clone(&store));
        connections.spawn(async move {
            let Ok(stream) = acceptor.accept(stream).await else { return };
            let answer = service_fn(move |request| {
                let answer = store.answer(&request);
                async move { answer }
            });
            // What goes wrong on a connection is seen by whoever waits for an answer.
            let _ = auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), answer).await;
        });
        while connections.try_join_next().is_some() {}
    }
    drop(listener);
    connections.shutdown().await;
}
