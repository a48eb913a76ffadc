//! The little HTTP that the harness itself speaks: a plain GET, and a raw TLS connection.

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

/// An answer to [`get`].
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub body: String,
}

/// A TLS connection over which a test writes what it likes.
pub type Connection = StreamOwned<ClientConnection, TcpStream>;

/// Gets a path over plain HTTP/1.1; none where nobody answers.
pub fn get(address: SocketAddr, path: &str) -> Option<Answer> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\nConnection: close\r\n\r\n").ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some(Answer { status, body: body.to_owned() })
}

/// Opens a TLS connection to a server whose certificate `authority` signed; none if that fails.
pub fn connect(address: SocketAddr, authority: &str) -> Option<Connection> {
    let mut roots = RootCertStore::empty();
    let certificate = CertificateDer::from_pem_slice(authority.as_bytes()).ok()?;
    roots.add(certificate).ok()?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .ok()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::from(address.ip());
    let client = ClientConnection::new(Arc::new(config), name).ok()?;
    let mut stream = StreamOwned::new(client, TcpStream::connect(address).ok()?);
    stream.sock.set_read_timeout(Some(Duration::from_secs(30))).ok()?;
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock).ok()?;
    }
    Some(stream)
}
