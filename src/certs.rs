//! Certificates: an authority and leaves of it made here, and when a certificate that was given ends.

mod rotation;
mod stored;
mod trust;

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use rotation::{Bundle, Next, RotationTimes, Seen, State, Step, leaf_is_due, plan};
pub use stored::SecretData;
pub use trust::{Distrust, chain, pem, trusted};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PublicKeyData, SignatureAlgorithm, SigningKey, date_time_ymd,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use thiserror::Error;
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};
use zeroize::{Zeroize as _, Zeroizing};

/// Clocks of two machines differ: a certificate holds from an hour before it was made.
const BACKDATED: i64 = 3600;
/// How long what `serve --dev` makes holds, in seconds: 90 days.
const DEV_LIFETIME: i64 = 90 * 86_400;
/// What `serve --dev` finds with less than a day left it makes anew.
const DEV_REMAINING: i64 = 86_400;

/// Why there is no certificate.
#[derive(Debug, Error)]
pub enum CertificateError {
    /// It could not be made.
    #[error("cannot make a certificate: {0}")]
    Make(#[from] rcgen::Error),
    /// It could not be written.
    #[error("cannot write {}: {error}", path.display())]
    Write {
        /// Where to.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// It could not be read as a certificate.
    #[error("{0}")]
    Read(String),
}

/// A certificate chain and its key, PEM.
#[derive(Clone)]
pub struct Pair {
    /// The chain, leaf first.
    pub cert: String,
    /// The key, PKCS #8.
    pub key: String,
}

/// An authority that signs leaves: ECDSA P-256, its key in memory.
pub struct Authority {
    pem: String,
    validity: Validity,
    issuer: Issuer<'static, Key>,
}

impl Authority {
    /// A new one.
    ///
    /// # Errors
    /// No randomness.
    pub fn new(name: &str, now: i64, lifetime: i64) -> Result<Self, CertificateError> {
        let key = Key(KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?);
        let mut params = parameters(name, &[], now, lifetime)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let pem = params.self_signed(&key)?.pem();
        let validity = validity(pem.as_bytes())?;
        Ok(Authority { pem, validity, issuer: Issuer::new(params, key) })
    }

    /// One that was made before, from its certificate and its key, PEM.
    ///
    /// # Errors
    /// Half a sentence, without anything of the key: one of them is none, or they do not belong together.
    pub fn load(cert: &str, key: &str) -> Result<Self, CertificateError> {
        let fail = |problem: &str| CertificateError::Read(problem.to_owned());
        let validity = validity(cert.as_bytes())?;
        let der = CertificateDer::from_pem_slice(cert.as_bytes()).map_err(|_| fail("its certificate is not PEM"))?;
        let (_, certificate) =
            X509Certificate::from_der(&der).map_err(|error| fail(&format!("its certificate is none: {error}")))?;
        if !certificate.is_ca() {
            return Err(fail("its certificate is no authority's"));
        }
        let key = Key(KeyPair::from_pem(key).map_err(|_| fail("its key is no PEM private key"))?);
        if key.subject_public_key_info() != certificate.public_key().raw {
            return Err(fail("its key does not fit its certificate"));
        }
        let issuer = Issuer::from_ca_cert_der(&der, key)?;
        Ok(Authority { pem: cert.to_owned(), validity, issuer })
    }

    /// Its certificate, PEM: what clients are given to trust.
    #[must_use]
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// Its key, PKCS #8, PEM.
    #[must_use]
    pub fn key_pem(&self) -> Zeroizing<String> {
        Zeroizing::new(self.issuer.key().0.serialize_pem())
    }

    /// When it holds.
    #[must_use]
    pub fn validity(&self) -> Validity {
        self.validity
    }

    /// A leaf for a server of these names and addresses. It never outlives the authority.
    ///
    /// # Errors
    /// A name that is none.
    pub fn server(&self, names: &[String], now: i64, lifetime: i64) -> Result<Pair, CertificateError> {
        let name = names.first().map_or("tagwarden", String::as_str);
        self.leaf(name, names, ExtendedKeyUsagePurpose::ServerAuth, now, lifetime)
    }

    /// A leaf for a client of this name, for tests of client authentication.
    ///
    /// # Errors
    /// A name that is none.
    pub fn client(&self, name: &str, now: i64, lifetime: i64) -> Result<Pair, CertificateError> {
        self.leaf(name, &[], ExtendedKeyUsagePurpose::ClientAuth, now, lifetime)
    }

    fn leaf(
        &self,
        name: &str,
        names: &[String],
        purpose: ExtendedKeyUsagePurpose,
        now: i64,
        lifetime: i64,
    ) -> Result<Pair, CertificateError> {
        let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
        let lifetime = lifetime.min(self.validity.not_after.saturating_sub(now));
        let mut params = parameters(name, names, now, lifetime)?;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![purpose];
        params.use_authority_key_identifier_extension = true;
        let cert = params.signed_by(&key, &self.issuer)?.pem();
        Ok(Pair { cert, key: key.serialize_pem() })
    }
}

/// A key that is gone from memory when it is dropped.
struct Key(KeyPair);

impl Drop for Key {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl PublicKeyData for Key {
    fn der_bytes(&self) -> &[u8] {
        self.0.der_bytes()
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        self.0.algorithm()
    }
}

impl SigningKey for Key {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        self.0.sign(message)
    }
}

fn parameters(
    common_name: &str,
    names: &[String],
    now: i64,
    lifetime: i64,
) -> Result<CertificateParams, CertificateError> {
    let mut params = CertificateParams::new(names)?;
    let at = |seconds: i64| date_time_ymd(1970, 1, 1) + Duration::from_secs(seconds.max(0).unsigned_abs());
    params.not_before = at(now - BACKDATED);
    params.not_after = at(now + lifetime);
    params.distinguished_name.push(DnType::CommonName, common_name);
    Ok(params)
}

/// Where [`develop`] put its files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DevFiles {
    /// The authority's certificate, for clients.
    pub ca: PathBuf,
    /// The server's certificate.
    pub cert: PathBuf,
    /// Its key, readable by its owner only.
    pub key: PathBuf,
}

/// Certificates for a laptop in `directory`: those of the last time while they hold for another day, else new ones.
/// The authority's key is thrown away, so that nobody can be tricked with it later.
///
/// # Errors
/// A file cannot be written.
pub fn develop(directory: &Path, now: i64) -> Result<DevFiles, CertificateError> {
    let files =
        DevFiles { ca: directory.join("ca.crt"), cert: directory.join("tls.crt"), key: directory.join("tls.key") };
    let valid = fs::read(&files.cert)
        .ok()
        .and_then(|pem| validity(&pem).ok())
        .is_some_and(|validity| validity.not_before <= now && now + DEV_REMAINING < validity.not_after);
    if valid && files.key.is_file() && files.ca.is_file() {
        return Ok(files);
    }
    let names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
    let authority = Authority::new("tagwarden development", now, DEV_LIFETIME)?;
    let pair = authority.server(&names, now, DEV_LIFETIME)?;
    fs::create_dir_all(directory).map_err(|error| CertificateError::Write { path: directory.to_owned(), error })?;
    write(&files.ca, authority.pem(), 0o644)?;
    write(&files.cert, &pair.cert, 0o644)?;
    write(&files.key, &pair.key, 0o600)?;
    Ok(files)
}

/// Writes a file anew, so that it has this mode from its first byte on.
fn write(path: &Path, text: &str, mode: u32) -> Result<(), CertificateError> {
    let fail = |error| CertificateError::Write { path: path.to_owned(), error };
    if path.exists() {
        fs::remove_file(path).map_err(fail)?;
    }
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(path).map_err(fail)?;
    file.write_all(text.as_bytes()).map_err(fail)
}

/// Between which moments (seconds since the epoch) a certificate holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// From.
    pub not_before: i64,
    /// To.
    pub not_after: i64,
}

impl Validity {
    /// When two thirds of it are over, for one that was made here.
    #[must_use]
    pub fn two_thirds(self) -> i64 {
        let made = self.not_before.saturating_add(BACKDATED).min(self.not_after);
        made + (self.not_after - made) / 3 * 2
    }
}

/// The time in which the first certificate of a PEM file holds.
///
/// # Errors
/// There is none, or it is none.
pub fn validity(pem: &[u8]) -> Result<Validity, CertificateError> {
    let der = CertificateDer::from_pem_slice(pem)
        .map_err(|_| CertificateError::Read("there is no PEM certificate in it".to_owned()))?;
    let (_, certificate) = X509Certificate::from_der(&der)
        .map_err(|error| CertificateError::Read(format!("its first certificate is none: {error}")))?;
    let validity = certificate.validity();
    Ok(Validity { not_before: validity.not_before.timestamp(), not_after: validity.not_after.timestamp() })
}

/// The names of a certificate that was verified already: its common name and its DNS names.
#[must_use]
pub fn names(der: &[u8]) -> Vec<String> {
    let Ok((_, certificate)) = X509Certificate::from_der(der) else { return Vec::new() };
    let common = certificate.subject().iter_common_name().filter_map(|name| name.as_str().ok());
    let mut names: Vec<String> = common.map(str::to_owned).collect();
    if let Ok(Some(alternatives)) = certificate.subject_alternative_name() {
        for name in &alternatives.value.general_names {
            if let GeneralName::DNSName(name) = name {
                names.push((*name).to_owned());
            }
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::{Authority, DEV_LIFETIME, develop, names, validity};
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject as _;
    use std::os::unix::fs::PermissionsExt as _;

    const NOW: i64 = 1_800_000_000;

    #[test]
    fn a_leaf_holds_from_an_hour_ago_for_as_long_as_was_asked() {
        let authority = Authority::new("test", NOW, 1000).unwrap();
        let pair = authority.server(&["localhost".to_owned()], NOW, 500).unwrap();
        let validity = validity(pair.cert.as_bytes()).unwrap();
        assert_eq!((validity.not_before, validity.not_after), (NOW - 3600, NOW + 500));
    }

    #[test]
    fn names_are_the_common_name_and_the_dns_names() {
        let authority = Authority::new("test", NOW, 1000).unwrap();
        let pair = authority.server(&["a.example".to_owned(), "b.example".to_owned()], NOW, 500).unwrap();
        let der = CertificateDer::from_pem_slice(pair.cert.as_bytes()).unwrap();
        assert_eq!(names(&der), ["a.example", "a.example", "b.example"]);
        assert_eq!(names(b"no certificate"), Vec::<String>::new());
    }

    /// Both names that a Service is dialled by, and no SHA-1 (OID 1.2.840.10045.4.3.2 is ecdsa-with-SHA256).
    #[test]
    fn row_22_a_leaf_has_the_names_of_its_service_and_no_sha_1() {
        let authority = Authority::new("test", NOW, 1000).unwrap();
        let service = ["tagwarden.tagwarden.svc", "tagwarden.tagwarden.svc.cluster.local"].map(str::to_owned);
        let pair = authority.server(&service, NOW, 500).unwrap();
        for pem in [pair.cert.as_str(), authority.pem()] {
            let der = CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
            let (_, certificate) = x509_parser::parse_x509_certificate(&der).unwrap();
            assert_eq!(certificate.signature_algorithm.algorithm.to_id_string(), "1.2.840.10045.4.3.2");
        }
        let der = CertificateDer::from_pem_slice(pair.cert.as_bytes()).unwrap();
        assert_eq!(names(&der)[1..], service);
    }

    #[test]
    fn development_certificates_are_kept_while_they_hold_and_their_key_is_private() {
        let directory = tempfile::tempdir().unwrap();
        let files = develop(directory.path(), NOW).unwrap();
        let first = std::fs::read(&files.cert).unwrap();
        let mode = std::fs::metadata(&files.key).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        develop(directory.path(), NOW + 1000).unwrap();
        assert_eq!(std::fs::read(&files.cert).unwrap(), first);
        develop(directory.path(), NOW + DEV_LIFETIME).unwrap();
        assert_ne!(std::fs::read(&files.cert).unwrap(), first, "made anew before it ends");
    }

    #[test]
    fn what_is_no_certificate_is_said_to_be_none() {
        for text in ["", "hello", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
            assert!(validity(text.as_bytes()).is_err(), "{text}");
        }
    }
}
