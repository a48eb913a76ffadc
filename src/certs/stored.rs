//! The replicas' authority as their Secret holds it, read as strictly as everything else that comes from outside.

use std::collections::BTreeMap;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use zeroize::Zeroizing;

use super::{Authority, Next, State};

const SIGNER: &str = "ca";
const NEXT: &str = "next";
const PUBLISHED: &str = "next.published";
const PREVIOUS: &str = "previous.crt";
const PREVIOUS_UNTIL: &str = "previous.until";
const ROTATED: &str = "rotated";

/// The keys of a Secret; gone from memory when they are dropped.
pub type SecretData = BTreeMap<String, Zeroizing<Vec<u8>>>;

impl State {
    /// Reads what [`State::to_data`] wrote. Keys that it does not know are left alone.
    ///
    /// # Errors
    /// Half a sentence that names the key, without anything that it holds.
    pub fn from_data(data: &SecretData) -> Result<Self, String> {
        let signer = authority(data, SIGNER)?.ok_or_else(|| format!("there is no '{SIGNER}.crt'"))?;
        let next = match authority(data, NEXT)? {
            Some(authority) => Some(Next { authority, published: number(data, PUBLISHED)? }),
            None => None,
        };
        let previous = certificates(text(data, PREVIOUS)?.unwrap_or_default())?;
        let previous_until = number(data, PREVIOUS_UNTIL)?.unwrap_or_default();
        let rotated = text(data, ROTATED)?.unwrap_or_default().to_owned();
        Ok(State { signer, next, previous, previous_until, rotated })
    }

    /// What the Secret is to hold.
    #[must_use]
    pub fn to_data(&self) -> SecretData {
        let mut data = SecretData::new();
        let mut put = |key: String, bytes: Vec<u8>| drop(data.insert(key, Zeroizing::new(bytes)));
        for (name, authority) in [(SIGNER, Some(&self.signer)), (NEXT, self.next.as_ref().map(|next| &next.authority))]
        {
            if let Some(authority) = authority {
                put(format!("{name}.crt"), authority.pem().as_bytes().to_vec());
                put(format!("{name}.key"), authority.key_pem().as_bytes().to_vec());
            }
        }
        if let Some(published) = self.next.as_ref().and_then(|next| next.published) {
            put(PUBLISHED.to_owned(), published.to_string().into_bytes());
        }
        if !self.previous.is_empty() {
            put(PREVIOUS.to_owned(), self.previous.concat().into_bytes());
            put(PREVIOUS_UNTIL.to_owned(), self.previous_until.to_string().into_bytes());
        }
        if !self.rotated.is_empty() {
            put(ROTATED.to_owned(), self.rotated.clone().into_bytes());
        }
        data
    }
}

fn text<'d>(data: &'d SecretData, key: &str) -> Result<Option<&'d str>, String> {
    let Some(bytes) = data.get(key) else { return Ok(None) };
    std::str::from_utf8(bytes).map(Some).map_err(|_| format!("'{key}' is no text"))
}

fn number(data: &SecretData, key: &str) -> Result<Option<i64>, String> {
    let Some(text) = text(data, key)? else { return Ok(None) };
    text.parse().map(Some).map_err(|_| format!("'{key}' is no number of seconds"))
}

fn authority(data: &SecretData, name: &str) -> Result<Option<Arc<Authority>>, String> {
    let cert = text(data, &format!("{name}.crt"))?;
    let key = text(data, &format!("{name}.key"))?;
    match (cert, key) {
        (None, None) => Ok(None),
        (Some(cert), Some(key)) => {
            let loaded = Authority::load(cert, key).map_err(|problem| format!("'{name}': {problem}"))?;
            Ok(Some(Arc::new(loaded)))
        }
        (Some(_), None) => Err(format!("'{name}.crt' is there without '{name}.key'")),
        (None, Some(_)) => Err(format!("'{name}.key' is there without '{name}.crt'")),
    }
}

/// Each certificate of a bundle by itself.
fn certificates(bundle: &str) -> Result<Vec<String>, String> {
    const END: &str = "-----END CERTIFICATE-----";
    let mut found = Vec::new();
    for part in bundle.split_inclusive(END).map(str::trim).filter(|part| !part.is_empty()) {
        if CertificateDer::from_pem_slice(part.as_bytes()).is_err() {
            return Err(format!("'{PREVIOUS}' is not PEM"));
        }
        found.push(format!("{part}\n"));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::super::{Bundle, RotationTimes, Seen, State, Step};
    use super::SecretData;
    use zeroize::Zeroizing;

    const NOW: i64 = 1_800_000_000;
    const TIMES: RotationTimes = RotationTimes { leaf: 1000, ca: 10_000 };
    const SEEN: Seen<'_> = Seen { bundle: Bundle::InPlace, wish: "again" };

    fn full() -> State {
        let mut state = State::new(NOW, TIMES, "once").unwrap();
        for step in [Step::Make, Step::Switch, Step::Make, Step::Switch, Step::Make, Step::Note(Some(NOW + 5))] {
            state = state.after(step, SEEN, NOW, TIMES).unwrap();
        }
        state
    }

    #[test]
    fn what_is_written_is_read_again() {
        for state in [State::new(NOW, TIMES, "").unwrap(), full()] {
            let data = state.to_data();
            let read = State::from_data(&data).unwrap();
            assert_eq!(read.to_data(), data);
            assert_eq!(read.bundle(), state.bundle());
            assert_eq!(read.previous, state.previous);
            let names = ["localhost".to_owned()];
            assert!(read.signer.server(&names, NOW, 100).is_ok(), "what was read signs");
        }
        assert_eq!(full().previous.len(), 2);
    }

    #[test]
    fn garbage_is_told_by_its_key_and_nothing_that_it_holds() {
        let whole = full().to_data();
        let other = State::new(NOW, TIMES, "").unwrap().to_data();
        let with = |key: &str, value: Option<&[u8]>| {
            let mut data: SecretData = whole.clone();
            match value {
                Some(value) => drop(data.insert(key.to_owned(), Zeroizing::new(value.to_vec()))),
                None => drop(data.remove(key)),
            }
            State::from_data(&data).err()
        };
        for (key, value, expected) in [
            ("ca.crt", Some(&b"hunter2"[..]), "'ca': there is no PEM certificate in it"),
            ("ca.crt", None, "'ca.key' is there without 'ca.crt'"),
            ("ca.key", None, "'ca.crt' is there without 'ca.key'"),
            ("ca.key", Some(b"hunter2"), "'ca': its key is no PEM private key"),
            ("ca.key", Some(&other["ca.key"]), "'ca': its key does not fit its certificate"),
            ("ca.key", Some(b"\xff"), "'ca.key' is no text"),
            ("next.key", Some(&other["ca.key"]), "'next': its key does not fit its certificate"),
            ("next.published", Some(b"hunter2"), "'next.published' is no number of seconds"),
            ("previous.crt", Some(b"hunter2"), "'previous.crt' is not PEM"),
            ("previous.until", Some(b""), "'previous.until' is no number of seconds"),
        ] {
            assert_eq!(with(key, value).as_deref(), Some(expected), "{key}");
        }
        assert_eq!(State::from_data(&SecretData::new()).err().as_deref(), Some("there is no 'ca.crt'"));
        assert!(with("unknown", Some(b"hunter2")).is_none(), "what is not ours is left alone");
    }

    #[test]
    fn a_leaf_is_no_authority() {
        let state = State::new(NOW, TIMES, "").unwrap();
        let leaf = state.signer.server(&["a".to_owned()], NOW, 100).unwrap();
        let mut data = SecretData::new();
        data.insert("ca.crt".to_owned(), Zeroizing::new(leaf.cert.into_bytes()));
        data.insert("ca.key".to_owned(), Zeroizing::new(leaf.key.into_bytes()));
        assert_eq!(State::from_data(&data).err().as_deref(), Some("'ca': its certificate is no authority's"));
    }
}
