//! Digests: `algorithm:hex`, strictly read.

use super::ReferenceError;
use super::grammar::{Fault, Problem};

/// A hash algorithm that nodes accept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// `sha256`, 64 hex digits: what registries use.
    Sha256,
    /// `sha384`, 96 hex digits.
    Sha384,
    /// `sha512`, 128 hex digits.
    Sha512,
}

impl Algorithm {
    /// As it stands in front of the colon: `sha256`.
    pub fn name(self) -> &'static str {
        match self {
            Algorithm::Sha256 => "sha256",
            Algorithm::Sha384 => "sha384",
            Algorithm::Sha512 => "sha512",
        }
    }

    /// How many hex digits a digest of it has.
    pub fn hex_digits(self) -> usize {
        match self {
            Algorithm::Sha256 => 64,
            Algorithm::Sha384 => 96,
            Algorithm::Sha512 => 128,
        }
    }

    fn from_name(name: &[u8]) -> Option<Self> {
        match name {
            b"sha256" => Some(Algorithm::Sha256),
            b"sha384" => Some(Algorithm::Sha384),
            b"sha512" => Some(Algorithm::Sha512),
            _ => None,
        }
    }
}

/// A content digest, borrowed from where it was read: `sha256:` and 64 lower-case hex digits, or a longer sibling.
///
/// The format is that of the OCI image specification, "Digests"; which algorithms nodes accept is decided by
/// `opencontainers/go-digest`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Digest<'a> {
    pub(crate) algorithm: Algorithm,
    pub(crate) text: &'a str,
}

impl<'a> Digest<'a> {
    /// Reads a digest; the whole input, never trimmed.
    ///
    /// # Errors
    /// DigestAlg, DigestLen, DigestHex, or Syntax without a colon, with the position in `text`.
    pub fn parse(text: &'a str) -> Result<Self, ReferenceError> {
        Self::scan(text, 0).map_err(|fault| ReferenceError::of_digest(text, fault))
    }

    /// The hash algorithm.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The whole digest, `sha256:...`.
    pub fn as_str(&self) -> &'a str {
        self.text
    }

    /// The hex digits alone.
    pub fn hex(&self) -> &'a str {
        &self.text[self.algorithm.name().len() + 1..]
    }

    /// Algorithm and the first twelve hex digits, for texts: `sha256:41aa07c1d2e3`.
    #[must_use]
    pub fn short(&self) -> &'a str {
        short(self.text)
    }

    /// Reads the digest that begins at `start` and ends with `text`; positions are those of `text`.
    pub(super) fn scan(text: &'a str, start: usize) -> Result<Self, Fault> {
        let bytes = text.as_bytes();
        let mut colon = start;
        while bytes.get(colon).is_some_and(|byte| byte.is_ascii_alphanumeric() || b"+._-".contains(byte)) {
            colon += 1;
        }
        if colon == start || bytes.get(colon) != Some(&b':') {
            return Err(Problem::DigestShape.unless_foreign(bytes, colon));
        }
        let Some(algorithm) = Algorithm::from_name(&bytes[start..colon]) else {
            return Err(Problem::DigestAlgorithm.at(start));
        };
        let hex = colon + 1;
        let mut end = hex;
        while matches!(bytes.get(end), Some(b'0'..=b'9' | b'a'..=b'f')) {
            end += 1;
        }
        match bytes.get(end) {
            Some(byte) if byte.is_ascii_alphanumeric() => return Err(Problem::DigestHex.at(end)),
            Some(&byte) => return Err(Problem::Character(byte).unless_foreign(bytes, end)),
            None => {}
        }
        if end - hex != algorithm.hex_digits() {
            return Err(Problem::DigestLength.at(end.min(hex + algorithm.hex_digits())));
        }
        Ok(Digest { algorithm, text: &text[start..] })
    }
}

/// Algorithm and the first twelve hex digits of a digest's text.
pub(super) fn short(digest: &str) -> &str {
    let end = digest.find(':').map_or(0, |colon| colon + 1 + 12);
    digest.get(..end).unwrap_or(digest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::ReferenceErrorReason;

    #[test]
    fn accepts_the_three_algorithms() {
        for (algorithm, digits) in [(Algorithm::Sha256, 64), (Algorithm::Sha384, 96), (Algorithm::Sha512, 128)] {
            let text = format!("{}:{}", algorithm.name(), "0f".repeat(digits / 2));
            let digest = Digest::parse(&text).unwrap();
            assert_eq!(digest.algorithm(), algorithm);
            assert_eq!(digest.as_str(), text);
            assert_eq!(digest.hex(), "0f".repeat(digits / 2));
        }
    }

    #[test]
    fn says_what_is_wrong_and_where() {
        use ReferenceErrorReason::{DigestAlg, DigestHex, DigestLen, NonAsciiOrSpace, Syntax};
        let cases = [
            (String::new(), Syntax, 0),
            ("sha256".into(), Syntax, 6),
            (":".into(), Syntax, 0),
            ("sha256:".into(), DigestLen, 7),
            (format!("sha256:{}", "a".repeat(63)), DigestLen, 70),
            (format!("sha256:{}", "a".repeat(65)), DigestLen, 71),
            (format!("sha256:{}", "a".repeat(96)), DigestLen, 71),
            (format!("sha256:{}A", "a".repeat(63)), DigestHex, 70),
            (format!("sha256:{}", "g".repeat(64)), DigestHex, 7),
            (format!("sha256:{} ", "a".repeat(64)), NonAsciiOrSpace, 71),
            (format!("sha256:{}:v1", "a".repeat(64)), Syntax, 71),
            (format!("SHA256:{}", "a".repeat(64)), DigestAlg, 0),
            (format!("md5:{}", "a".repeat(32)), DigestAlg, 0),
            (format!("sha1:{}", "a".repeat(40)), DigestAlg, 0),
            (format!("sha256+b64:{}", "a".repeat(64)), DigestAlg, 0),
            (format!(" sha256:{}", "a".repeat(64)), NonAsciiOrSpace, 0),
        ];
        for (text, reason, position) in cases {
            let error = Digest::parse(&text).unwrap_err();
            assert_eq!((error.reason, error.position), (reason, position), "{text:?}");
        }
    }

    #[test]
    fn suggests_lower_case() {
        let error = Digest::parse(&format!("sha256:{}", "F".repeat(64))).unwrap_err();
        assert_eq!(error.suggestion, Some(format!("sha256:{}", "f".repeat(64))));
        assert_eq!(Digest::parse("sha256:F").unwrap_err().suggestion, None);
    }
}
