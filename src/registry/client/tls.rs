//! TLS towards registries: whom we trust, who we are, and what went wrong in our own words.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{AlertDescription, CertificateError, ClientConfig, RootCertStore};

use super::super::settings::RegistrySettings;
use super::peer::Standing;

/// The two ways in which a client for one registry speaks TLS.
#[derive(Clone)]
pub(super) struct Tls {
    home: Arc<ClientConfig>,
    elsewhere: Arc<ClientConfig>,
}

impl Tls {
    /// Reads the files. The public authorities come with the program: an image without CA files works.
    ///
    /// # Errors
    /// One sentence that names the file.
    pub fn new(registry: Option<&RegistrySettings>) -> Result<Self, String> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter().cloned());
        if let Some(path) = registry.and_then(|registry| registry.ca.as_deref()) {
            for certificate in certificates(path)? {
                roots.add(certificate).map_err(|error| format!("{}: it is no authority: {error}", path.display()))?;
            }
        }
        let roots = Arc::new(roots);
        let elsewhere = builder(&roots)?.with_no_client_auth();
        let home = match registry.and_then(|registry| registry.client_cert.as_ref()) {
            None => elsewhere.clone(),
            Some((cert, key)) => builder(&roots)?
                .with_client_auth_cert(certificates(cert)?, private_key(key)?)
                .map_err(|error| format!("{} and {} cannot be used: {error}", cert.display(), key.display()))?,
        };
        Ok(Tls { home: Arc::new(offering(home)), elsewhere: Arc::new(offering(elsewhere)) })
    }

    /// Our client certificate is shown to the registry itself only.
    pub fn towards(&self, standing: Standing) -> Arc<ClientConfig> {
        Arc::clone(match standing {
            Standing::Home => &self.home,
            Standing::Elsewhere => &self.elsewhere,
        })
    }
}

type Builder = rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert>;

fn builder(roots: &Arc<RootCertStore>) -> Result<Builder, String> {
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(|error| format!("cannot set up TLS: {error}"))?;
    Ok(builder.with_root_certificates(Arc::clone(roots)))
}

fn offering(mut config: ClientConfig) -> ClientConfig {
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    fs::read(path).map_err(|error| format!("{}: cannot read it: {error}", path.display()))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let pem = read(path)?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let chain = chain.map_err(|_| format!("{}: it is not PEM", path.display()))?;
    if chain.is_empty() {
        return Err(format!("{}: there is no PEM certificate in it", path.display()));
    }
    Ok(chain)
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, String> {
    let pem = zeroize::Zeroizing::new(read(path)?);
    PrivateKeyDer::from_pem_slice(&pem)
        .map_err(|_| format!("{}: there is no PEM private key in it, or it is encrypted", path.display()))
}

/// What TLS has against a connection, if it is TLS that broke it: to be put after the registry's name.
pub(super) fn objection(error: &io::Error) -> Option<&'static str> {
    let error = error.get_ref()?.downcast_ref::<rustls::Error>()?;
    Some(match error {
        rustls::Error::InvalidCertificate(error) => untrusted(error),
        rustls::Error::AlertReceived(
            AlertDescription::CertificateRequired
            | AlertDescription::BadCertificate
            | AlertDescription::UnknownCA
            | AlertDescription::CertificateUnknown
            | AlertDescription::CertificateExpired
            | AlertDescription::AccessDenied,
        ) => "refuses our client certificate, or wants one: see 'clientCert'",
        rustls::Error::AlertReceived(_) => "refuses our TLS",
        rustls::Error::InvalidMessage(_) => "does not speak TLS there",
        rustls::Error::PeerIncompatible(_) => "speaks no TLS that is safe",
        _ => "breaks the rules of TLS",
    })
}

fn untrusted(error: &CertificateError) -> &'static str {
    match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "has a certificate that is not trusted: it has expired"
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "has a certificate that is not trusted: it is not valid yet"
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "has a certificate that is not trusted: it is for another name"
        }
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "has a certificate that is not trusted: no authority that we know signed it; see 'ca'"
        }
        CertificateError::Revoked => "has a certificate that is not trusted: it was revoked",
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "has a certificate that is not trusted: it is not for servers"
        }
        _ => "has a certificate that is not trusted",
    }
}
