//! What a replica shows whoever connects to it: only on a node of our own, whose Pods can be reached.

use crate::harness::NAMESPACE;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::Value;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;
use x509_parser::extensions::GeneralName;

/// A caBundle of these authorities.
pub fn base64(pem: &str) -> String {
    STANDARD.encode(pem)
}

/// A value of a Secret's data.
pub fn decoded(value: &Value) -> String {
    let bytes = STANDARD.decode(value.as_str().expect("the Secret has the key")).expect("a Secret holds base64");
    String::from_utf8(bytes).expect("PEM is text")
}

/// The DNS names of the first certificate.
pub fn names(pem: &str) -> Vec<String> {
    let (_, pem) = x509_parser::pem::parse_x509_pem(pem.as_bytes()).expect("it is PEM");
    let certificate = pem.parse_x509().expect("it is a certificate");
    let names = certificate.subject_alternative_name().expect("it has such names once").expect("it has such names");
    let dns = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => (*name).to_owned(),
        other => panic!("no DNS name: {other}"),
    };
    names.value.general_names.iter().map(dns).collect()
}

/// The certificates of a caBundle, each PEM.
pub fn certificates(bundle: &str) -> Vec<String> {
    let pem = STANDARD.decode(bundle).unwrap_or_default();
    let text = String::from_utf8_lossy(&pem);
    let ends = text.split_inclusive("-----END CERTIFICATE-----");
    ends.filter(|part| part.contains("BEGIN CERTIFICATE")).map(|part| part.trim().to_owned()).collect()
}

/// Connects to a Pod as the API server does, trusting nothing but a caBundle.
pub fn trusted(address: &str, bundle: &str) -> Result<(), String> {
    connect(address, bundle).map(drop)
}

/// Posts something that is no review, without a certificate, and returns the whole answer.
pub fn posted(address: &str, bundle: &str) -> Result<String, String> {
    let mut stream = connect(address, bundle)?;
    let request =
        "POST /validate HTTP/1.0\r\nHost: tagwarden\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}";
    stream.write_all(request.as_bytes()).map_err(|error| error.to_string())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).map_err(|error| error.to_string())?;
    Ok(answer)
}

fn connect(address: &str, bundle: &str) -> Result<StreamOwned<ClientConnection, TcpStream>, String> {
    let mut roots = RootCertStore::empty();
    let pem = STANDARD.decode(bundle).map_err(|error| error.to_string())?;
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|error| error.to_string())?;
        roots.add(certificate).map_err(|error| error.to_string())?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from(format!("tagwarden.{NAMESPACE}.svc")).map_err(|error| error.to_string())?;
    let client = ClientConnection::new(Arc::new(config), name).map_err(|error| error.to_string())?;
    let stream = TcpStream::connect((address, 10250)).map_err(|error| error.to_string())?;
    stream.set_read_timeout(Some(Duration::from_secs(10))).map_err(|error| error.to_string())?;
    let mut stream = StreamOwned::new(client, stream);
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock).map_err(|error| error.to_string())?;
    }
    Ok(stream)
}
