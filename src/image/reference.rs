//! The reference parser, bit for bit the grammar and normalisation of distribution/reference.

use super::grammar::{self, Fault, Problem, Segment};
use super::refusal::{Refusal, Refusals};
use super::{Digest, MAX_REFERENCE_BYTES, ReferenceError, TagFacts, host};
use std::borrow::Cow;
use std::fmt;

/// The longest repository, in bytes, `library/` included and the registry not.
const MAX_PATH_BYTES: usize = 255;
const DOCKER_HUB: &str = "docker.io";
const LEGACY_DOCKER_HUB: &str = "index.docker.io";
const LIBRARY: &str = "library/";

/// An image reference, parsed and normalised as containerd and the kubelet do. Borrows from its input; `Copy`.
///
/// Parity is with `ParseNormalizedNamed` and `TagNameOnly` of <https://github.com/distribution/reference>. What parses
/// and is a trap all the same is told by [`Reference::refusals`]. Equality is that of what was written: `nginx` and
/// `docker.io/library/nginx:latest` name one image and are not equal, but print alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reference<'a> {
    registry: &'a str,
    /// As written, without the `library/` that normalisation adds.
    path: &'a str,
    /// As written.
    tag: Option<&'a str>,
    digest: Option<Digest<'a>>,
    /// All that stands before tag and digest.
    written: &'a str,
    library: bool,
    short: bool,
}

impl<'a> Reference<'a> {
    /// Parses the whole input, never trimmed. Single pass, no allocation on success.
    ///
    /// # Errors
    /// Why it is no reference, with position, reason and, where there is one, a suggestion.
    pub fn parse(text: &'a str) -> Result<Self, ReferenceError> {
        Self::scan(text).map_err(|fault| ReferenceError::of_reference(text, fault))
    }

    /// The registry as written; `docker.io` where none was (or `index.docker.io` was); empty for the shape EmptyDomain.
    pub fn registry(&self) -> &'a str {
        self.registry
    }

    /// Lower case, default port and zeros before a port removed, Docker Hub aliases folded, IPv6 as RFC 5952 writes it.
    pub fn canonical_registry(&self) -> Cow<'a, str> {
        host::canonical(self.registry)
    }

    /// Whether normalisation put `library/` in front of what was written.
    pub fn is_library(&self) -> bool {
        self.library
    }

    /// The repository, `library/nginx` for `nginx`. Allocates only where `library/` was added.
    pub fn repository(&self) -> Cow<'a, str> {
        if self.library { Cow::Owned(format!("{LIBRARY}{}", self.path)) } else { Cow::Borrowed(self.path) }
    }

    /// The tag; `latest` where neither tag nor digest was written; none for `name@digest`.
    pub fn tag(&self) -> Option<&'a str> {
        if self.tag_defaulted() { Some("latest") } else { self.tag }
    }

    /// Whether the tag `latest` was put in by normalisation.
    pub fn tag_defaulted(&self) -> bool {
        self.tag.is_none() && self.digest.is_none()
    }

    /// The digest, if one was written. It is then the identity: runtimes do not look at the tag beside it.
    pub fn digest(&self) -> Option<Digest<'a>> {
        self.digest
    }

    /// No registry was written.
    pub fn is_short(&self) -> bool {
        self.short
    }

    /// Class facts of the tag (or of the missing tag).
    pub fn tag_facts(&self) -> TagFacts<'a> {
        self.tag().map_or_else(TagFacts::digest_only, TagFacts::of)
    }

    /// `canonical_registry/repository`: what globs match. Allocates only where it is not what was written.
    ///
    /// For the shape EmptyDomain that begins with `/`, so that no glob but `**` can take its path for a host.
    pub fn name(&self) -> Cow<'a, str> {
        let registry = self.canonical_registry();
        let path = self.written.strip_prefix(&*registry).and_then(|rest| rest.strip_prefix('/'));
        if path == Some(self.path) && !self.library {
            return Cow::Borrowed(self.written);
        }
        let mut name = String::new();
        self.write_name(&mut name);
        Cow::Owned(name)
    }

    /// Appends [`Reference::name`] to `out`.
    pub fn write_name(&self, out: &mut String) {
        let registry = self.canonical_registry();
        out.reserve(registry.len() + 1 + LIBRARY.len() + self.path.len());
        out.push_str(&registry);
        out.push('/');
        if self.library {
            out.push_str(LIBRARY);
        }
        out.push_str(self.path);
    }

    /// The trick shapes this reference has, for the policy to refuse or relax.
    pub fn refusals(&self) -> Refusals {
        let mut refusals = host::refusals(self.registry);
        if self.short {
            refusals = refusals.with(Refusal::ShortName);
        }
        if self.is_image_id() {
            refusals = refusals.with(Refusal::ImageId);
        }
        refusals
    }

    /// `sha256:2d71164` as a whole. containerd's CRI plugin (`LocalResolve`) first asks whether the string is a digest,
    /// and looks it up among the ids of cached images, where a prefix is enough. Only a string of exactly this shape
    /// gets there: with a registry, a path or a digest it is a name, and to bare hex digits the kubelet adds `:latest`.
    /// Ids are lower-case; upper-case digits are refused with them, since nobody means the image `library/sha256`.
    fn is_image_id(&self) -> bool {
        self.short
            && self.digest.is_none()
            && matches!(self.path, "sha256" | "sha384" | "sha512")
            && self.tag.is_some_and(|tag| tag.bytes().all(|byte| byte.is_ascii_hexdigit()))
    }

    /// The parser proper.
    pub(super) fn scan(text: &'a str) -> Result<Self, Fault> {
        let bytes = text.as_bytes();
        if bytes.is_empty() {
            return Err(Problem::Empty.at(0));
        }
        if bytes.len() > MAX_REFERENCE_BYTES {
            return Err(Problem::InputTooLong.at(MAX_REFERENCE_BYTES));
        }
        if bytes.len() == 64 && bytes.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(Problem::ImageId.at(0));
        }

        if bytes[0] == b'[' {
            let bracket = grammar::bracketed(bytes)?;
            let slash = match bytes.get(bracket) {
                // Upstream asks for a colon or an upper-case letter before it looks at brackets: `[9]/app` is nothing.
                Some(b'/') if !bytes[..bracket].iter().any(|byte| *byte == b':' || byte.is_ascii_uppercase()) => {
                    return Err(Problem::Bracket.at(bracket - 1));
                }
                Some(b'/') => bracket,
                Some(b':') => grammar::port(bytes, bracket + 1)?,
                _ => return Err(Problem::BracketAlone.unless_foreign(bytes, bracket)),
            };
            return Self::after_host(text, slash);
        }

        let first = grammar::segment(bytes, 0)?;
        match bytes.get(first.end) {
            Some(b'/') if first.dot || first.upper.is_some() || &bytes[..first.end] == b"localhost" => {
                // Upstream takes this for a host, fails to read it as one, and then takes it for a part of the path.
                if first.underscore.is_some() {
                    return Self::path_and_rest(text, "", 0, first);
                }
                Self::after_host(text, first.end)
            }
            Some(b'/') => {
                let short = Self::path_and_rest(text, DOCKER_HUB, 0, first)?;
                Ok(Reference { short: true, ..short })
            }
            Some(b':') if bytes.get(grammar::word_end(bytes, first.end + 1)) == Some(&b'/') => {
                if bytes[first.end..].starts_with(b"://") {
                    return Err(Problem::Scheme.at(first.end));
                }
                if let Some(position) = first.underscore {
                    return Err(Problem::HostUnderscore.at(position));
                }
                Self::after_host(text, grammar::port(bytes, first.end + 1)?)
            }
            _ => {
                let short = Self::path_and_rest(text, DOCKER_HUB, 0, first)?;
                Ok(Reference { short: true, ..short })
            }
        }
    }

    /// What follows a host that ends before the `/` at `slash`.
    fn after_host(text: &'a str, slash: usize) -> Result<Self, Fault> {
        let registry = match &text[..slash] {
            LEGACY_DOCKER_HUB => DOCKER_HUB,
            written => written,
        };
        let component = grammar::segment(text.as_bytes(), slash + 1)?;
        Self::path_and_rest(text, registry, slash + 1, component)
    }

    /// Reads on from the first component of a path that begins at `start`: further components, tag, digest.
    fn path_and_rest(text: &'a str, registry: &'a str, start: usize, first: Segment) -> Result<Self, Fault> {
        let bytes = text.as_bytes();
        let mut component = first;
        let mut library = registry == DOCKER_HUB;
        loop {
            if let Some(position) = component.upper {
                return Err(Problem::Uppercase.at(position));
            }
            if bytes.get(component.end) != Some(&b'/') {
                break;
            }
            library = false;
            component = grammar::segment(bytes, component.end + 1)?;
        }
        let mut at = component.end;
        let path = &text[start..at];
        let longest = if library { MAX_PATH_BYTES - LIBRARY.len() } else { MAX_PATH_BYTES };
        if path.len() > longest {
            return Err(Problem::PathTooLong.at(start + longest));
        }

        let mut tag = None;
        if bytes.get(at) == Some(&b':') {
            let end = grammar::tag(bytes, at + 1)?;
            tag = Some(&text[at + 1..end]);
            at = end;
        }
        let digest = if at < bytes.len() { Some(Digest::scan(text, at + 1)?) } else { None };
        let written = &text[..start + path.len()];
        Ok(Reference { registry, path, tag, digest, written, library, short: false })
    }
}

/// Fully qualified: registry as written, `/`, repository, `:tag`, `@digest`. Parsing it again gives the same registry,
/// repository, tag and digest (for EmptyDomain the registry and its slash are left out).
impl fmt::Display for Reference<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.registry.is_empty() {
            write!(f, "{}/", self.registry)?;
        }
        if self.library {
            f.write_str(LIBRARY)?;
        }
        f.write_str(self.path)?;
        if let Some(tag) = self.tag() {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = self.digest {
            write!(f, "@{}", digest.as_str())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Class;

    const CASES: &str = include_str!("../../tests/cases/references.tsv");

    /// Undoes the escapes that the head of the case file describes.
    fn cell(text: &str) -> String {
        let plain = text.replace("\\s", " ").replace("\\t", "\t").replace("\\n", "\n").replace("\\r", "\r");
        let Some((before, rest)) = plain.split_once('{') else { return plain };
        let (repeat, after) = rest.split_once('}').unwrap();
        let (letter, count) = repeat.split_once('*').unwrap();
        format!("{before}{}{}", letter.repeat(count.parse().unwrap()), cell(after))
    }

    #[test]
    fn every_case_of_the_table_holds() {
        let mut cases = 0;
        for line in CASES.lines().filter(|line| !line.starts_with('#')) {
            let cells: Vec<String> = line.split('\t').map(cell).collect();
            let cells: Vec<&str> = cells.iter().map(String::as_str).collect();
            match cells[..] {
                [input, "!", reason] => {
                    let error = Reference::parse(input).expect_err(line);
                    assert_eq!(error.reason.name(), reason, "{line}");
                    assert!(error.position <= input.len(), "{line}");
                    if let Some(suggestion) = error.suggestion {
                        assert!(Reference::parse(&suggestion).is_ok(), "{line}: {suggestion}");
                    }
                }
                [input, registry, canonical, repository, tag, digest, refusals] => {
                    let reference = Reference::parse(input).unwrap_or_else(|error| panic!("{line}: {error}"));
                    let defaulted = if reference.tag_defaulted() { "*" } else { "" };
                    let names: Vec<&str> = reference.refusals().iter().map(Refusal::name).collect();
                    assert_eq!(reference.registry(), registry, "{line}");
                    assert_eq!(reference.canonical_registry(), canonical, "{line}");
                    assert_eq!(reference.repository(), repository, "{line}");
                    assert_eq!(format!("{}{defaulted}", reference.tag().unwrap_or("-")), tag, "{line}");
                    assert_eq!(reference.digest().map_or("-", |digest| digest.as_str()), digest, "{line}");
                    assert_eq!(if names.is_empty() { "-".to_owned() } else { names.join(",") }, refusals, "{line}");
                    assert_eq!(reference.is_short(), refusals.ends_with("ShortName"), "{line}");
                }
                _ => panic!("a case has 3 or 7 columns: {line}"),
            }
            cases += 1;
        }
        assert!(cases > 100, "{cases} cases");
    }

    #[test]
    fn prints_fully_qualified() {
        for (text, printed) in [
            ("nginx", "docker.io/library/nginx:latest"),
            ("index.docker.io/org/app:v1", "docker.io/org/app:v1"),
            ("GHCR.io:443/org/app", "GHCR.io:443/org/app:latest"),
            ("ex_ample.com/app", "ex_ample.com/app:latest"),
        ] {
            assert_eq!(Reference::parse(text).unwrap().to_string(), printed);
        }
    }

    #[test]
    fn names_are_canonical() {
        for (text, name) in [
            ("nginx:1.25", "docker.io/library/nginx"),
            ("GHCR.io:443/org/app", "ghcr.io/org/app"),
            ("[2001:DB8::1]:5000/app", "[2001:db8::1]:5000/app"),
            ("ex_ample.com/app", "/ex_ample.com/app"),
        ] {
            let mut out = String::new();
            Reference::parse(text).unwrap().write_name(&mut out);
            assert_eq!(out, name);
        }
    }

    #[test]
    fn tag_facts_follow_the_tag() {
        let classes = |text: &str| Reference::parse(text).unwrap().tag_facts().classes.iter().collect::<Vec<_>>();
        assert_eq!(classes("nginx"), [Class::Latest, Class::Floating]);
        assert_eq!(classes("nginx:v1.2.3"), [Class::Release, Class::Semver]);
        let digest = "a".repeat(64);
        assert_eq!(classes(&format!("nginx@sha256:{digest}")), [Class::Digest]);
        assert_eq!(classes(&format!("nginx:main@sha256:{digest}")), [Class::Floating]);
    }
}
