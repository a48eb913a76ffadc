//! A digest that is kept: what a registry said, or what is to be written into a Pod.

use std::fmt;
use std::sync::Arc;

use super::digest::short;
use super::{Digest, ReferenceError};

/// An owned [`Digest`]. Clones share the text.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DigestBuf(Arc<str>);

impl DigestBuf {
    /// Reads a digest as strictly as [`Digest::parse`].
    ///
    /// # Errors
    /// Those of [`Digest::parse`].
    pub fn parse(text: &str) -> Result<Self, ReferenceError> {
        Digest::parse(text).map(Self::from)
    }

    /// The whole digest, `sha256:...`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Algorithm and the first twelve hex digits, for texts: `sha256:41aa07c1d2e3`.
    #[must_use]
    pub fn short(&self) -> &str {
        short(&self.0)
    }
}

impl From<Digest<'_>> for DigestBuf {
    fn from(digest: Digest<'_>) -> Self {
        DigestBuf(digest.as_str().into())
    }
}

impl fmt::Display for DigestBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for DigestBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl PartialEq<Digest<'_>> for DigestBuf {
    fn eq(&self, other: &Digest<'_>) -> bool {
        &*self.0 == other.as_str()
    }
}

#[cfg(test)]
mod tests {
    use super::DigestBuf;
    use crate::image::Digest;

    #[test]
    fn keeps_what_a_digest_is_and_nothing_else() {
        let text = format!("sha256:{}", "0123456789ab".repeat(6).get(..64).unwrap());
        let kept = DigestBuf::parse(&text).unwrap();
        assert_eq!(kept, Digest::parse(&text).unwrap());
        assert_eq!(kept.to_string(), text);
        assert_eq!(kept.short(), "sha256:0123456789ab");
        assert!(DigestBuf::parse("sha256:0123456789ab").is_err());
        assert_ne!(kept, Digest::parse(&format!("sha256:{}", "f".repeat(64))).unwrap());
    }
}
