//! A client for single requests: what h2load does not show, the text of an answer.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

const PATIENCE: Duration = Duration::from_secs(60);

/// A path of a health port, which must answer 200.
pub fn get(address: SocketAddr, path: &str) -> anyhow::Result<String> {
    let mut stream = connect(address)?;
    write!(stream, "GET {path} HTTP/1.1\r\nhost: bench\r\nconnection: close\r\n\r\n")?;
    let (status, body) = answer(stream)?;
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

    /// Posts a review, and gives status and body of the answer.
    pub fn post(&self, address: SocketAddr, review: &[u8]) -> anyhow::Result<(u16, String)> {
        let mut stream = self.begin(address, review.len())?;
        stream.write_all(review)?;
        stream.flush()?;
        answer(stream)
    }

    /// A connection on which a review of that many bytes was announced, and not sent yet.
    pub fn begin(
        &self,
        address: SocketAddr,
        length: usize,
    ) -> anyhow::Result<StreamOwned<ClientConnection, TcpStream>> {
        let name = ServerName::try_from("127.0.0.1")?;
        let mut stream = StreamOwned::new(ClientConnection::new(Arc::clone(&self.tls), name)?, connect(address)?);
        write!(
            stream,
            "POST /validate?timeout=30s HTTP/1.1\r\nhost: bench\r\nconnection: close\r\n\
             content-type: application/json\r\ncontent-length: {length}\r\n\r\n"
        )?;
        stream.flush()?;
        Ok(stream)
    }

    /// Posts a review that is to be allowed.
    pub fn allowed(&self, address: SocketAddr, review: &[u8]) -> anyhow::Result<()> {
        let (status, body) = self.post(address, review)?;
        ensure!(status == 200 && body.contains("\"allowed\":true"), "a review that is fine got {status}: {body}");
        Ok(())
    }
}

fn connect(address: SocketAddr) -> anyhow::Result<TcpStream> {
    let stream = TcpStream::connect(address).with_context(|| format!("nobody listens on {address}"))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Status and body of an answer that ends with its connection.
pub fn answer(mut stream: impl Read) -> anyhow::Result<(u16, String)> {
    let mut text = Vec::new();
    stream.read_to_end(&mut text)?;
    let text = String::from_utf8(text)?;
    let Some((head, body)) = text.split_once("\r\n\r\n") else { bail!("not an HTTP answer: {text}") };
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    Ok((status.context("an HTTP answer without a status")?, body.to_owned()))
}
