//! What images say of themselves: labels, base images, when they were made, platform by platform.

use std::fmt;

use super::{ImageLabels, Seconds};
use crate::image::{DigestBuf, Platform};

/// The label of an image's version (OCI image specification, "Annotations").
pub const VERSION: &str = "org.opencontainers.image.version";
/// The label of the commit that an image was built from.
pub const REVISION: &str = "org.opencontainers.image.revision";
/// The label of where that commit is.
pub const SOURCE: &str = "org.opencontainers.image.source";
/// The label, or annotation, of the image that an image was built on.
pub const BASE_NAME: &str = "org.opencontainers.image.base.name";

/// What an image says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageFacts {
    /// In the index's order; of an image without an index the one that it is for. Never empty.
    pub platforms: Vec<PlatformFacts>,
}

/// What an image says of itself on one platform.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlatformFacts {
    /// For which machines it is: what the index says, where there is one and it does.
    pub platform: Platform,
    /// Of its manifest.
    pub digest: DigestBuf,
    /// Labels of its configuration.
    pub labels: ImageLabels,
    /// The base image that an annotation of its manifest names; a label may name another.
    pub base: Option<String>,
    /// When it was made.
    pub created: Created,
}

/// When an image was made, by its own word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Created {
    /// It does not say.
    Absent,
    /// What it says is no moment (RFC 3339).
    Unreadable,
    /// Then.
    At(Seconds),
}

impl Created {
    /// Reads a moment, RFC 3339.
    #[must_use]
    pub fn read(text: &str) -> Self {
        // What is longer is no moment, and need not be looked at.
        let short = Some(text).filter(|text| text.len() <= 64);
        let moment = short.and_then(|text| text.parse::<jiff::Timestamp>().ok());
        moment.map_or(Created::Unreadable, |moment| Created::At(moment.as_second()))
    }
}

impl fmt::Display for Created {
    /// `2026-03-01T00:00:00Z`, or that there is no such moment.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Created::Absent => f.write_str("at no told time"),
            Created::Unreadable => f.write_str("at no readable time"),
            Created::At(at) => match jiff::Timestamp::from_second(*at) {
                Ok(moment) => write!(f, "{moment}"),
                Err(_) => write!(f, "{at} seconds after 1970"),
            },
        }
    }
}

impl ImageFacts {
    /// What it costs to keep, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.platforms.iter().map(PlatformFacts::bytes).sum()
    }
}

impl PlatformFacts {
    /// One that says nothing of itself.
    #[must_use]
    pub fn silent(platform: Platform, digest: DigestBuf) -> Self {
        PlatformFacts { platform, digest, labels: ImageLabels::new(), base: None, created: Created::Absent }
    }

    /// The base images that it names, by its annotation and by its label.
    pub fn bases(&self) -> impl Iterator<Item = &str> {
        let by_label = self.labels.get(BASE_NAME).filter(|label| Some(*label) != self.base.as_ref());
        self.base.iter().chain(by_label).map(String::as_str)
    }

    fn bytes(&self) -> usize {
        // A map's node and two strings cost about this much besides their texts; so does all else that is fixed.
        let labels: usize = self.labels.iter().map(|(key, value)| key.len() + value.len() + 64).sum();
        labels + self.base.as_ref().map_or(0, String::len) + 4 * self.platform.as_str().len() + 300
    }
}

#[cfg(test)]
mod tests {
    use super::{BASE_NAME, Created, PlatformFacts};
    use crate::image::{DigestBuf, Platform};

    #[test]
    fn moments_are_read_or_not() {
        assert_eq!(Created::read("1970-01-01T00:00:10Z"), Created::At(10));
        assert_eq!(Created::read("1970-01-01T02:00:10.999+02:00"), Created::At(10));
        for text in ["", "soon", "1970-01-01", "1970-01-01T00:00:10", "10", &"1".repeat(100)] {
            assert_eq!(Created::read(text), Created::Unreadable, "{text}");
        }
    }

    #[test]
    fn a_base_is_named_once_or_twice() {
        let digest = DigestBuf::parse(&format!("sha256:{}", "a".repeat(64))).unwrap();
        let mut facts = PlatformFacts::silent(Platform::common(), digest);
        assert_eq!(facts.bases().count(), 0);
        facts.base = Some("a.example.com/base".to_owned());
        assert_eq!(facts.bases().collect::<Vec<_>>(), ["a.example.com/base"]);
        facts.labels.insert(BASE_NAME.to_owned(), "a.example.com/base".to_owned());
        assert_eq!(facts.bases().count(), 1);
        facts.labels.insert(BASE_NAME.to_owned(), "a.example.com/other".to_owned());
        assert_eq!(facts.bases().collect::<Vec<_>>(), ["a.example.com/base", "a.example.com/other"]);
    }
}
