//! The API server's side of the demo: reviews over TLS, on one kept-alive connection.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// An open connection.
pub(super) struct Client {
    sender: SendRequest<Full<Bytes>>,
    host: String,
}

impl Client {
    /// Connects to `address`, whose certificate `authority` must have signed for `name`.
    pub async fn connect(address: SocketAddr, name: &str, authority: CertificateDer<'static>) -> anyhow::Result<Self> {
        let mut roots = RootCertStore::empty();
        roots.add(authority).context("the demo's own authority is no certificate")?;
        let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        let server_name = ServerName::try_from(name.to_owned()).context("the demo's server has no usable name")?;
        let stream = TcpStream::connect(address).await.with_context(|| format!("cannot connect to {address}"))?;
        let stream = TlsConnector::from(Arc::new(config))
            .connect(server_name, stream)
            .await
            .with_context(|| format!("no TLS connection to {address}"))?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await.context("no HTTP connection")?;
        // Ends with the sender. What goes wrong on the connection is seen by whoever waits for an answer.
        tokio::spawn(connection);
        Ok(Client { sender, host: format!("{name}:{}", address.port()) })
    }

    /// Sends a review to `/mutate` as the API server does, and reads the answer.
    pub async fn mutate(&mut self, review: &Value) -> anyhow::Result<Value> {
        self.send("/mutate?timeout=5s", review).await
    }

    /// Sends a review to `/validate` as the API server does, and reads the answer.
    pub async fn validate(&mut self, review: &Value) -> anyhow::Result<Value> {
        self.send("/validate?timeout=5s", review).await
    }

    async fn send(&mut self, path: &str, review: &Value) -> anyhow::Result<Value> {
        self.sender.ready().await.context("the server closed the connection")?;
        let request = http::Request::post(path)
            .header(http::header::HOST, &self.host)
            .header(http::header::CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(review.to_string())))?;
        let response = self.sender.send_request(request).await.context("the server did not answer")?;
        let status = response.status();
        let body = response.into_body().collect().await.context("the answer broke off")?.to_bytes();
        if !status.is_success() {
            bail!("the server answered {status}: {}", String::from_utf8_lossy(&body));
        }
        serde_json::from_slice(&body).context("the answer is no JSON")
    }
}
