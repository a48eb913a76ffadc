//! Why a string is no image reference: reason, place, sentence, and what was probably meant.

use super::grammar::{Fault, Problem};
use super::{Digest, MAX_REFERENCE_BYTES, Reference};
use std::borrow::Cow;

/// Why a string is no image reference.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.message())]
pub struct ReferenceError {
    /// What to branch on.
    pub reason: ReferenceErrorReason,
    /// Byte offset of the first byte that does not fit, in the input; its length where something is missing at the end.
    pub position: usize,
    /// What was probably meant, where that is clear; it parses.
    pub suggestion: Option<String>,
    problem: Problem,
}

impl ReferenceError {
    /// One sentence for a person, without the image itself, position or suggestion: "a tag may not begin with '.'".
    pub fn message(&self) -> Cow<'static, str> {
        Cow::Borrowed(match self.problem {
            Problem::NotText => "an image reference is a string",
            Problem::Empty => "an image reference may not be empty",
            Problem::InputTooLong => "an image reference has at most 4096 bytes",
            Problem::PathTooLong => "a repository has at most 255 bytes",
            Problem::ImageId => "64 hex digits are an image id, write the name of the image",
            Problem::NonAscii => "an image reference holds ASCII characters only",
            Problem::Space => "an image reference holds no white space and no control characters",
            Problem::Uppercase => "a repository is written in lower case",
            Problem::EmptyComponent => "a component of the name is empty",
            Problem::Scheme => "an image reference has no scheme",
            Problem::HostUnderscore => "a registry's host name holds no '_'",
            Problem::Bracket => "brackets hold an IPv6 address, hex digits and colons only",
            Problem::BracketAlone => "a registry alone is no image, a repository must follow",
            Problem::Port => "a port is one or more digits before the '/'",
            Problem::TagEmpty => "the tag after ':' is empty",
            Problem::TagTooLong => "a tag has at most 128 characters",
            Problem::DigestShape => "a digest is written '@sha256:' and 64 hex digits",
            Problem::DigestAlgorithm => "a digest's algorithm is sha256, sha384 or sha512",
            Problem::DigestHex => "a digest is written in lower-case hex digits",
            Problem::DigestLength => "a sha256 digest has 64 hex digits, sha384 has 96, sha512 has 128",
            Problem::TagStart(byte) => return Cow::Owned(format!("a tag may not begin with '{}'", char::from(byte))),
            Problem::Separator(byte) => {
                return Cow::Owned(format!("'{}' stands only between letters or digits here", char::from(byte)));
            }
            Problem::Character(byte) => {
                return Cow::Owned(format!("'{}' may not stand here", char::from(byte)));
            }
        })
    }

    /// Of something that stands where an image should and is no text at all.
    #[must_use]
    pub fn not_text() -> Self {
        Self::bare(Fault { position: 0, problem: Problem::NotText })
    }

    #[cold]
    pub(super) fn of_reference(text: &str, fault: Fault) -> Self {
        ReferenceError { suggestion: suggest_reference(text), ..Self::bare(fault) }
    }

    #[cold]
    pub(super) fn of_digest(text: &str, fault: Fault) -> Self {
        let meant = Some(text.trim().to_ascii_lowercase()).filter(|meant| Digest::scan(meant, 0).is_ok());
        ReferenceError { suggestion: meant, ..Self::bare(fault) }
    }

    fn bare(fault: Fault) -> Self {
        ReferenceError {
            reason: ReferenceErrorReason::of(fault.problem),
            position: fault.position,
            suggestion: None,
            problem: fault.problem,
        }
    }
}

/// The reference without what people write around it by mistake, if that is one.
fn suggest_reference(text: &str) -> Option<String> {
    if text.len() > MAX_REFERENCE_BYTES {
        return None;
    }
    let trimmed = text.trim();
    let bare = trimmed.split_once("://").map_or(trimmed, |(_, rest)| rest).trim_end_matches('/');
    if Reference::scan(bare).is_ok() {
        return Some(bare.to_owned());
    }
    let lower = lower_case_except_tag(bare);
    Reference::scan(&lower).is_ok().then_some(lower)
}

fn lower_case_except_tag(text: &str) -> String {
    let (name, digest) = text.split_at(text.find('@').unwrap_or(text.len()));
    let last_component = name.rfind('/').map_or(0, |slash| slash + 1);
    let tag = name[last_component..].find(':').map_or(name.len(), |colon| last_component + colon);
    let (name, tag) = name.split_at(tag);
    format!("{}{tag}{}", name.to_ascii_lowercase(), digest.to_ascii_lowercase())
}

/// The kinds of parse error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ReferenceErrorReason {
    /// It does not fit the grammar.
    Syntax,
    /// An upper-case letter in the repository.
    Uppercase,
    /// White space, a control character, or a character outside ASCII.
    NonAsciiOrSpace,
    /// The digest holds something other than lower-case hex.
    DigestHex,
    /// The digest has the wrong number of hex digits.
    DigestLen,
    /// The digest's algorithm is none that nodes accept.
    DigestAlg,
    /// The whole input is 64 hex digits: an image id.
    ImageId,
    /// The path has more than 255 bytes, or the input more than 4 KiB.
    TooLong,
}

impl ReferenceErrorReason {
    /// The stable name, "NonAsciiOrSpace".
    pub fn name(self) -> &'static str {
        match self {
            ReferenceErrorReason::Syntax => "Syntax",
            ReferenceErrorReason::Uppercase => "Uppercase",
            ReferenceErrorReason::NonAsciiOrSpace => "NonAsciiOrSpace",
            ReferenceErrorReason::DigestHex => "DigestHex",
            ReferenceErrorReason::DigestLen => "DigestLen",
            ReferenceErrorReason::DigestAlg => "DigestAlg",
            ReferenceErrorReason::ImageId => "ImageId",
            ReferenceErrorReason::TooLong => "TooLong",
        }
    }

    fn of(problem: Problem) -> Self {
        match problem {
            Problem::NonAscii | Problem::Space => ReferenceErrorReason::NonAsciiOrSpace,
            Problem::Uppercase => ReferenceErrorReason::Uppercase,
            Problem::ImageId => ReferenceErrorReason::ImageId,
            Problem::InputTooLong | Problem::PathTooLong => ReferenceErrorReason::TooLong,
            Problem::DigestAlgorithm => ReferenceErrorReason::DigestAlg,
            Problem::DigestHex => ReferenceErrorReason::DigestHex,
            Problem::DigestLength => ReferenceErrorReason::DigestLen,
            _ => ReferenceErrorReason::Syntax,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> ReferenceError {
        Reference::parse(text).unwrap_err()
    }

    #[test]
    fn names_the_place() {
        let cases = [
            ("", 0, "an image reference may not be empty"),
            (" ", 0, "an image reference holds no white space and no control characters"),
            ("nginx ", 5, "an image reference holds no white space and no control characters"),
            ("foo/Bar", 4, "a repository is written in lower case"),
            ("Nginx:1", 0, "a repository is written in lower case"),
            ("nginx:.1", 6, "a tag may not begin with '.'"),
            ("nginx:", 6, "the tag after ':' is empty"),
            ("nginx@", 6, "a digest is written '@sha256:' and 64 hex digits"),
            ("docker.io//x", 10, "a component of the name is empty"),
            ("example.com/a/", 14, "a component of the name is empty"),
            ("example.com/a-", 14, "'-' stands only between letters or digits here"),
            ("example.com/a..b", 14, "'.' stands only between letters or digits here"),
            ("example.com/app?x=1", 15, "'?' may not stand here"),
            ("example.com:/app", 12, "a port is one or more digits before the '/'"),
            ("oci:foo/bar", 4, "a port is one or more digits before the '/'"),
            ("ex_ample.com:5000/app", 2, "a registry's host name holds no '_'"),
            ("[fe80::1%eth0]:5000/repo", 8, "brackets hold an IPv6 address, hex digits and colons only"),
            ("[::1]", 5, "a registry alone is no image, a repository must follow"),
            ("https://ghcr.io/org/app", 5, "an image reference has no scheme"),
            ("docker-daemon:x:y", 15, "':' may not stand here"),
        ];
        for (text, position, message) in cases {
            let error = error(text);
            assert_eq!((error.position, &*error.message()), (position, message), "{text:?}");
            assert_eq!(error.to_string(), message);
        }
    }

    #[test]
    fn suggests_what_was_meant() {
        let cases = [
            ("foo/Bar", Some("foo/bar")),
            ("foo/Bar:V1", Some("foo/bar:V1")),
            ("nginx ", Some("nginx")),
            ("\tnginx\n", Some("nginx")),
            ("GHCR.io/Org/app", Some("ghcr.io/org/app")),
            ("https://ghcr.io/org/app", Some("ghcr.io/org/app")),
            ("docker://GHCR.io/Org/App:V1", Some("ghcr.io/org/app:V1")),
            ("https://ghcr.io/org/app/", Some("ghcr.io/org/app")),
            ("", None),
            ("exаmple.com/app", None),
            ("nginx:", None),
            ("example.com//app", None),
        ];
        for (text, suggestion) in cases {
            assert_eq!(error(text).suggestion.as_deref(), suggestion, "{text:?}");
        }
        let digest = "f".repeat(64);
        let shouted = format!("nginx:V1@SHA256:{}", digest.to_uppercase());
        assert_eq!(error(&shouted).suggestion, Some(format!("nginx:V1@sha256:{digest}")));
    }
}
