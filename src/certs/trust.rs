//! Whether whoever trusts some authorities accepts a certificate, as the API server decides it.

use std::fmt;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::RootCertStore;
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;

/// Characters of a line of PEM.
const LINE: usize = 64;

/// Why a certificate is not accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Distrust {
    /// There are no authorities at all.
    NoBundle,
    /// What is there is no PEM certificate of an authority.
    NoAuthority,
    /// The certificate is none.
    NoCertificate(String),
    /// None of the authorities vouches for it, or not now.
    NotVouchedFor(String),
    /// The name that is dialled can be no server's.
    NoName(String),
    /// It is for other names.
    OtherName(String),
}

impl fmt::Display for Distrust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Distrust::NoBundle => f.write_str("its caBundle is empty"),
            Distrust::NoAuthority => f.write_str("its caBundle holds no PEM certificate of an authority"),
            Distrust::NoCertificate(why) => write!(f, "our certificate is none: {why}"),
            Distrust::NotVouchedFor(why) => write!(f, "its caBundle does not vouch for our certificate: {why}"),
            Distrust::NoName(host) => write!(f, "'{host}' is no name of a server"),
            Distrust::OtherName(host) => write!(f, "our certificate is not for '{host}'"),
        }
    }
}

/// Whether a client accepts a chain that trusts these authorities (PEM) and dials this name; none: any name.
///
/// # Errors
/// Why not.
pub fn trusted(chain: &[CertificateDer<'_>], bundle: &[u8], host: Option<&str>, now: i64) -> Result<(), Distrust> {
    if bundle.is_empty() {
        return Err(Distrust::NoBundle);
    }
    let mut roots = RootCertStore::empty();
    // As the API server reads it: what it can use counts.
    roots.add_parsable_certificates(CertificateDer::pem_slice_iter(bundle).filter_map(Result::ok));
    if roots.is_empty() {
        return Err(Distrust::NoAuthority);
    }
    let (leaf, intermediates) =
        chain.split_first().ok_or_else(|| Distrust::NoCertificate("there is none".to_owned()))?;
    let leaf = ParsedCertificate::try_from(leaf).map_err(|error| Distrust::NoCertificate(error.to_string()))?;
    let at = UnixTime::since_unix_epoch(Duration::from_secs(now.max(0).unsigned_abs()));
    let algorithms = aws_lc_rs::default_provider().signature_verification_algorithms.all;
    verify_server_cert_signed_by_trust_anchor(&leaf, &roots, intermediates, at, algorithms)
        .map_err(|error| Distrust::NotVouchedFor(error.to_string()))?;
    let Some(host) = host else { return Ok(()) };
    let name = ServerName::try_from(host).map_err(|_| Distrust::NoName(host.to_owned()))?;
    verify_server_name(&leaf, &name).map_err(|_| Distrust::OtherName(host.to_owned()))
}

/// The certificates of a PEM text; what is none is left out.
#[must_use]
pub fn chain(pem: &[u8]) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(pem).filter_map(Result::ok).collect()
}

/// A certificate as PEM.
#[must_use]
pub fn pem(der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let mut pem = "-----BEGIN CERTIFICATE-----\n".to_owned();
    for line in text.as_bytes().chunks(LINE) {
        pem.extend(line.iter().map(|byte| char::from(*byte)));
        pem.push('\n');
    }
    pem.push_str("-----END CERTIFICATE-----\n");
    pem
}

#[cfg(test)]
mod tests {
    use super::{Distrust, chain, pem, trusted};
    use crate::certs::Authority;

    const NOW: i64 = 1_800_000_000;
    const NAME: &str = "tagwarden.tagwarden.svc";

    #[test]
    fn each_reason_to_distrust_is_told_apart() {
        let (ours, other) = (Authority::new("a", NOW, 1000).unwrap(), Authority::new("b", NOW, 1000).unwrap());
        let served = chain(ours.server(&[NAME.to_owned()], NOW, 500).unwrap().cert.as_bytes());
        let ask = |bundle: &str, host: &str, now| trusted(&served, bundle.as_bytes(), Some(host), now);
        assert_eq!(ask(ours.pem(), NAME, NOW), Ok(()));
        assert_eq!(ask("", NAME, NOW), Err(Distrust::NoBundle));
        assert_eq!(ask("hello", NAME, NOW), Err(Distrust::NoAuthority));
        assert!(matches!(ask(other.pem(), NAME, NOW), Err(Distrust::NotVouchedFor(_))));
        assert!(matches!(ask(ours.pem(), NAME, NOW + 600), Err(Distrust::NotVouchedFor(_))), "it has expired");
        assert_eq!(ask(ours.pem(), "x.y.svc", NOW), Err(Distrust::OtherName("x.y.svc".to_owned())));
        assert_eq!(ask(ours.pem(), "no name", NOW), Err(Distrust::NoName("no name".to_owned())));
        assert!(matches!(trusted(&[], ours.pem().as_bytes(), None, NOW), Err(Distrust::NoCertificate(_))));
    }

    #[test]
    fn what_is_written_as_pem_is_read_again() {
        let authority = Authority::new("a", NOW, 1000).unwrap();
        let der = &chain(authority.pem().as_bytes())[0];
        assert_eq!(&chain(pem(der).as_bytes())[0], der);
        assert!(pem(der).lines().all(|line| line.len() <= 64));
    }
}
