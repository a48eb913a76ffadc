//! TLS: the server's certificate and what clients must show, checked before they are used and swapped as one.

use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::sign::CertifiedKey;
use rustls::{InconsistentKeys, RootCertStore, ServerConfig};

use crate::certs::{self, Validity};

/// The PEM files of a server, with the names to show for them.
#[derive(Clone, Copy, Debug)]
pub struct Files<'a> {
    /// The certificate chain.
    pub cert: (&'a str, &'a [u8]),
    /// Its key.
    pub key: (&'a str, &'a [u8]),
    /// Authority of client certificates; none: clients need none.
    pub client_ca: Option<(&'a str, &'a [u8])>,
    /// Names of which a client's certificate must have one; empty: any does.
    pub client_names: &'a [String],
}

/// What new connections get.
#[derive(Clone, Debug)]
pub struct Tls {
    /// The certificate, the protocols and the verifier of clients.
    pub config: Arc<ServerConfig>,
    /// When the certificate holds.
    pub validity: Validity,
    chain: Vec<CertificateDer<'static>>,
    client_names: Vec<String>,
}

impl Tls {
    /// Reads and checks the files. A new one forgets the sessions of the old one: a client that the old authority
    /// vouched for does not come back by resumption.
    ///
    /// # Errors
    /// One sentence that names the file and what is wrong with it.
    pub fn new(files: &Files<'_>) -> Result<Self, String> {
        let certified = certified_key(files)?;
        let validity = certs::validity(files.cert.1).map_err(|error| format!("{}: {error}", files.cert.0))?;
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .map_err(|error| format!("cannot set up TLS: {error}"))?;
        let builder = match files.client_ca {
            None => builder.with_no_client_auth(),
            Some(ca) => builder.with_client_cert_verifier(verifier(ca)?),
        };
        let chain = certified.cert.clone();
        let resolver = rustls::sign::SingleCertAndKey::from(certified);
        let mut config = builder.with_cert_resolver(Arc::new(resolver));
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        config.ticketer = aws_lc_rs::Ticketer::new().map_err(|error| format!("cannot set up TLS: {error}"))?;
        Ok(Tls { config: Arc::new(config), validity, chain, client_names: files.client_names.to_vec() })
    }

    /// Whether a client accepts the certificate that trusts these authorities (PEM) and dials this name; none: any name.
    ///
    /// # Errors
    /// Half a sentence: why not.
    pub fn trusted_by(&self, authorities: &[u8], host: Option<&str>, now: i64) -> Result<(), String> {
        certs::trusted(&self.chain, authorities, host, now).map_err(|distrust| distrust.to_string())
    }

    /// The chain that clients are shown, PEM.
    #[must_use]
    pub fn chain_pem(&self) -> String {
        self.chain.iter().map(|certificate| certs::pem(certificate)).collect()
    }

    /// Whether a client whose certificate rustls accepted may ask. Where no names are given, everyone may.
    #[must_use]
    pub fn admits(&self, certificates: Option<&[CertificateDer<'_>]>) -> bool {
        if self.client_names.is_empty() {
            return true;
        }
        let names = certificates.and_then(<[_]>::first).map(|leaf| certs::names(leaf)).unwrap_or_default();
        names.iter().any(|name| self.client_names.contains(name))
    }
}

fn certified_key(files: &Files<'_>) -> Result<CertifiedKey, String> {
    let (cert_name, cert_pem) = files.cert;
    let (key_name, key_pem) = files.key;
    let chain = certificates(cert_name, cert_pem)?;
    let key = PrivateKeyDer::from_pem_slice(key_pem)
        .map_err(|_| format!("{key_name}: there is no PEM private key in it, or it is encrypted"))?;
    match CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider()) {
        Ok(certified) => Ok(certified),
        Err(rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => {
            Err(format!("the key in {key_name} does not fit the certificate in {cert_name}"))
        }
        Err(error) => Err(format!("{cert_name} and {key_name} cannot be used: {error}")),
    }
}

fn certificates(name: &str, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let chain = chain.map_err(|_| format!("{name}: it is not PEM"))?;
    if chain.is_empty() {
        return Err(format!("{name}: there is no PEM certificate in it"));
    }
    Ok(chain)
}

/// Whether these can be the authorities of clients.
///
/// # Errors
/// One sentence that names the file and what is wrong with it.
pub fn check_client_ca(name: &str, pem: &[u8]) -> Result<(), String> {
    verifier((name, pem)).map(|_| ())
}

fn verifier((name, pem): (&str, &[u8])) -> Result<Arc<dyn rustls::server::danger::ClientCertVerifier>, String> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(name, pem)? {
        roots.add(certificate).map_err(|error| format!("{name}: it is no authority: {error}"))?;
    }
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::new(aws_lc_rs::default_provider()))
        .build()
        .map_err(|error| format!("{name}: it is no authority: {error}"))
}

#[cfg(test)]
mod tests {
    use super::{Files, Tls};
    use crate::certs::Authority;
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject as _;

    const NOW: i64 = 1_800_000_000;

    fn problem(cert: &str, key: &str) -> String {
        Tls::new(&Files {
            cert: ("tls.crt", cert.as_bytes()),
            key: ("tls.key", key.as_bytes()),
            client_ca: None,
            client_names: &[],
        })
        .unwrap_err()
    }

    #[test]
    fn what_cannot_be_used_is_one_sentence_that_names_the_file() {
        let authority = Authority::new("test", NOW, 1000).unwrap();
        let one = authority.server(&["a".to_owned()], NOW, 500).unwrap();
        let other = authority.server(&["a".to_owned()], NOW, 500).unwrap();
        assert_eq!(problem(&one.cert, &other.key), "the key in tls.key does not fit the certificate in tls.crt");
        assert_eq!(problem("", &one.key), "tls.crt: there is no PEM certificate in it");
        assert_eq!(problem(&one.cert, ""), "tls.key: there is no PEM private key in it, or it is encrypted");
        assert!(problem("-----BEGIN CERTIFICATE-----\n!\n", &one.key).starts_with("tls.crt: "));
        assert!(problem(&one.cert.replace('\n', ""), &one.key).starts_with("tls.crt: "));
    }

    #[test]
    fn who_trusts_the_authority_and_dials_a_name_of_ours_accepts_the_certificate() {
        let [ours, other] = [(); 2].map(|()| Authority::new("test", NOW, 1000).unwrap());
        let pair = ours.server(&["a.b.svc".to_owned(), "127.0.0.1".to_owned()], NOW, 500).unwrap();
        let tls = Tls::new(&Files {
            cert: ("tls.crt", pair.cert.as_bytes()),
            key: ("tls.key", pair.key.as_bytes()),
            client_ca: None,
            client_names: &[],
        })
        .unwrap();
        let both = format!("{}{}", other.pem(), ours.pem());
        for (authorities, host) in
            [(ours.pem(), Some("a.b.svc")), (&both, Some("a.b.svc")), (ours.pem(), Some("127.0.0.1")), (&both, None)]
        {
            assert_eq!(tls.trusted_by(authorities.as_bytes(), host, NOW), Ok(()), "{host:?}");
        }
        for (authorities, host, now, expected) in [
            ("", None, NOW, "is empty"),
            ("hello", None, NOW, "holds no PEM certificate"),
            (other.pem(), None, NOW, "does not vouch for our certificate"),
            (ours.pem(), None, NOW + 501, "does not vouch for our certificate"),
            (ours.pem(), Some("a.c.svc"), NOW, "our certificate is not for 'a.c.svc'"),
            (ours.pem(), Some("127.0.0.2"), NOW, "our certificate is not for '127.0.0.2'"),
        ] {
            let problem = tls.trusted_by(authorities.as_bytes(), host, now).unwrap_err();
            assert!(problem.contains(expected), "{problem}");
        }
    }

    #[test]
    fn a_client_must_have_one_of_the_names_where_names_are_given() {
        let authority = Authority::new("test", NOW, 1000).unwrap();
        let pair = authority.server(&["a".to_owned()], NOW, 500).unwrap();
        let client = authority.client("kube-apiserver", NOW, 500).unwrap();
        let client = CertificateDer::from_pem_slice(client.cert.as_bytes()).unwrap();
        for (names, admitted) in
            [(vec!["kube-apiserver"], true), (vec!["other", "kube-apiserver"], true), (vec!["other"], false)]
        {
            let names: Vec<String> = names.into_iter().map(str::to_owned).collect();
            let tls = Tls::new(&Files {
                cert: ("tls.crt", pair.cert.as_bytes()),
                key: ("tls.key", pair.key.as_bytes()),
                client_ca: Some(("ca.crt", authority.pem().as_bytes())),
                client_names: &names,
            })
            .unwrap();
            assert_eq!(tls.admits(Some(std::slice::from_ref(&client))), admitted, "{names:?}");
            assert!(!tls.admits(None), "no certificate, no name");
        }
    }
}
