//! A client for single requests: what h2load does not show or cannot do.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

const PATIENCE: Duration = Duration::from_secs(60);

/// A path of a health port, which must answer 200.
pub fn get(address: SocketAddr, path: &str) -> anyhow::Result<String> {
    let mut stream = connect(address)?;
    write!(stream, "GET {path} HTTP/1.1\r\nhost: bench\r\nconnection: close\r\n\r\n")?;
    let (status, body) = answer(&mut BufReader::new(stream))?;
    ensure!(status == 200, "{path} of {address} answers {status}: {body}");
    Ok(body)
}

/// A client that trusts the bench's authority.
#[derive(Clone)]
pub struct Client {
    tls: Arc<ClientConfig>,
}

impl Client {
    pub fn new(authority: &str) -> anyhow::Result<Self> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(authority.as_bytes())?)?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        Ok(Client { tls: Arc::new(builder.with_root_certificates(roots).with_no_client_auth()) })
    }

    /// A connection of HTTP/1.1, for one review after the other.
    pub fn session(&self, address: SocketAddr) -> anyhow::Result<Session> {
        let connection = ClientConnection::new(Arc::clone(&self.tls), ServerName::try_from("127.0.0.1")?)?;
        Ok(Session { stream: BufReader::new(StreamOwned::new(connection, connect(address)?)) })
    }

    /// Posts a review that is to be allowed, on a connection of its own.
    pub fn allowed(&self, address: SocketAddr, review: &[u8]) -> anyhow::Result<()> {
        let (status, body) = self.session(address)?.post(review)?;
        ensure!(status == 200 && body.contains("\"allowed\":true"), "a review that is fine got {status}: {body}");
        Ok(())
    }
}

/// A connection to the webhook.
pub struct Session {
    stream: BufReader<StreamOwned<ClientConnection, TcpStream>>,
}

impl Session {
    /// Posts a review, and gives status and body of the answer.
    pub fn post(&mut self, review: &[u8]) -> anyhow::Result<(u16, String)> {
        self.announce(review.len())?;
        self.send(review)?;
        self.answer()
    }

    /// Sends all of a request but its body, which is to have that many bytes.
    pub fn announce(&mut self, length: usize) -> anyhow::Result<()> {
        self.send(
            format!(
                "POST /validate?timeout=10s HTTP/1.1\r\nhost: bench\r\n\
                 content-type: application/json\r\ncontent-length: {length}\r\n\r\n"
            )
            .as_bytes(),
        )
    }

    pub fn send(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        let stream = self.stream.get_mut();
        stream.write_all(bytes)?;
        Ok(stream.flush()?)
    }

    /// Waits for an answer.
    pub fn answer(&mut self) -> anyhow::Result<(u16, String)> {
        answer(&mut self.stream)
    }
}

fn connect(address: SocketAddr) -> anyhow::Result<TcpStream> {
    let stream = TcpStream::connect(address).with_context(|| format!("nobody listens on {address}"))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Status and body of an answer, which tells its length.
fn answer(stream: &mut BufReader<impl std::io::Read>) -> anyhow::Result<(u16, String)> {
    let mut status = None;
    let mut length = 0;
    loop {
        let mut line = String::new();
        ensure!(stream.read_line(&mut line)? > 0, "the connection ended before an answer did");
        let line = line.trim_end().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if status.is_none() {
            status = line.split(' ').nth(1).and_then(|status| status.parse().ok());
        }
        if let Some(value) = line.strip_prefix("content-length: ") {
            length = value.parse()?;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    Ok((status.context("an HTTP answer without a status")?, String::from_utf8(body)?))
}
