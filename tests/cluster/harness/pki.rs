//! Certificates of the test cluster and of the servers, made afresh for every run.

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use std::fs;
use std::path::{Path, PathBuf};

/// A certificate authority that lives in memory.
#[derive(Debug)]
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// Its certificate, PEM.
    pub pem: String,
}

/// A certificate and its key, both PEM.
#[derive(Clone, Debug)]
pub struct Identity {
    pub certificate: String,
    pub key: String,
}

/// Where an [`Identity`] was written.
#[derive(Clone, Debug)]
pub struct Files {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

impl Authority {
    pub fn new(name: &str) -> Self {
        let key = KeyPair::generate().expect("a key can be made");
        let mut params = parameters(name, None, &[]);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let pem = params.self_signed(&key).expect("a CA signs itself").pem();
        Authority { issuer: Issuer::new(params, key), pem }
    }

    /// A server's certificate; `names` are host names and IP addresses.
    pub fn server(&self, name: &str, names: &[&str]) -> Identity {
        let mut params = parameters(name, None, names);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.sign(params)
    }

    /// A user's certificate, with Kubernetes' reading of it: CN is the user, O the group.
    pub fn client(&self, user: &str, group: Option<&str>) -> Identity {
        let mut params = parameters(user, group, &[]);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(params)
    }

    fn sign(&self, mut params: CertificateParams) -> Identity {
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate().expect("a key can be made");
        let certificate = params.signed_by(&key, &self.issuer).expect("the CA signs").pem();
        Identity { certificate, key: key.serialize_pem() }
    }
}

impl Identity {
    /// Writes `NAME.crt` and `NAME.key` into `folder`, replacing what is there by renaming, so that
    /// a reader never sees half a file.
    pub fn write(&self, folder: &Path, name: &str) -> Files {
        let files = Files { certificate: folder.join(format!("{name}.crt")), key: folder.join(format!("{name}.key")) };
        replace(&files.certificate, &self.certificate);
        replace(&files.key, &self.key);
        files
    }
}

/// Writes a file by renaming a new one over it.
pub fn replace(path: &Path, text: &str) {
    let new = path.with_extension("new");
    fs::write(&new, text).expect("the suite's folder can be written");
    fs::rename(&new, path).expect("a file can be renamed");
}

fn parameters(name: &str, group: Option<&str>, names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    let mut params = CertificateParams::new(names).expect("the names are valid");
    let mut subject = DistinguishedName::new();
    if let Some(group) = group {
        subject.push(DnType::OrganizationName, group);
    }
    subject.push(DnType::CommonName, name);
    params.distinguished_name = subject;
    params
}
