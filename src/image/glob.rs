//! Globs over canonical image names, as policies write them.

mod check;

use super::{Digest, host};
use check::{Wrong, check_characters, check_host, check_path, check_tag};
use std::fmt::Write as _;

/// What is wrong with a glob.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct GlobError {
    /// Byte offset in the glob.
    pub position: usize,
    /// One sentence.
    pub message: String,
    /// What to write instead, where that is clear: "write docker.io/library/nginx".
    pub help: Option<String>,
}

impl GlobError {
    pub(super) fn new(position: usize, message: impl Into<String>, help: Option<String>) -> Self {
        GlobError { position, message: message.into(), help }
    }
}

/// A glob over `host/repository`, as policies write it.
///
/// `**` alone is any image. Otherwise the host is spelled canonically; a whole label of it may be `*`, but none of the
/// last two. In the path `*` is any run of characters within one segment (a whole segment if it stands alone), and a
/// segment `**` is any number of segments: none or more in the middle, one or more at the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageGlob {
    text: String,
    /// Where the host (with port) ends: at the first `/`.
    host_end: usize,
    /// Where the path ends: at the `:` or `@` of an exact tag or digest, or at the end.
    path_end: usize,
    /// Where the tag ends: at `@`, or at the end.
    tag_end: usize,
}

const ANY: &str = "**";

impl ImageGlob {
    /// Reads a glob without `:tag` or `@digest`.
    ///
    /// # Errors
    /// What is wrong, where, and what to write instead.
    pub fn parse(text: &str) -> Result<Self, GlobError> {
        let glob = Self::parse_with_tag(text)?;
        if glob.path_end < text.len() {
            let message = "a tag or digest may stand in the images of an exception only";
            return Err(GlobError::new(glob.path_end, message, Some(format!("write {}", &text[..glob.path_end]))));
        }
        Ok(glob)
    }

    /// Reads a glob with an optional exact `:tag` or `@digest` at its end (exceptions only); see [`ImageGlob::tag`].
    ///
    /// # Errors
    /// As [`ImageGlob::parse`].
    pub fn parse_with_tag(text: &str) -> Result<Self, GlobError> {
        Self::read(text).map_err(Wrong::prove)
    }

    fn read(text: &str) -> Result<Self, Wrong> {
        check_characters(text)?;
        if text == ANY {
            let end = text.len();
            return Ok(ImageGlob { text: text.to_owned(), host_end: end, path_end: end, tag_end: end });
        }
        let host_end = check_host(text)?;
        let tag_end = text.find('@').unwrap_or(text.len());
        let path_end = text[host_end..tag_end].find(':').map_or(tag_end, |colon| host_end + colon);
        check_path(text, host_end, path_end)?;
        if path_end < tag_end {
            check_tag(&text[..tag_end], path_end + 1)?;
        }
        if tag_end < text.len() {
            let digest = tag_end + 1;
            Digest::parse(&text[digest..]).map_err(|error| Wrong::new(digest + error.position, error.message()))?;
        }
        Ok(ImageGlob { text: text.to_owned(), host_end, path_end, tag_end })
    }

    /// As written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// `**` alone: any image of any registry.
    pub fn is_any(&self) -> bool {
        self.text == ANY
    }

    /// The host (with port), if it holds no `*`; none for `**`.
    pub fn literal_host(&self) -> Option<&str> {
        let host = &self.text[..self.host_end];
        (!host.contains('*')).then_some(host)
    }

    /// The exact tag demanded at the end, if any.
    pub fn tag(&self) -> Option<&str> {
        (self.path_end < self.tag_end).then(|| &self.text[self.path_end + 1..self.tag_end])
    }

    /// The exact digest demanded at the end, if any.
    pub fn digest(&self) -> Option<&str> {
        (self.tag_end < self.text.len()).then(|| &self.text[self.tag_end + 1..])
    }

    /// A name that reads well, with `app` in the place of each `*`; as a rule the glob matches it.
    pub fn sample(&self) -> String {
        match self.is_any() {
            true => "docker.io/library/nginx".to_owned(),
            false => self.text[..self.path_end].replace(ANY, "*").replace('*', "app"),
        }
    }

    /// The regular expression over `canonical_registry/repository`, without anchors; [`super::GlobSet`] matches it
    /// against the whole text. Tag and digest have no part in it.
    pub fn to_regex(&self) -> String {
        if self.is_any() {
            return "(?s:.)*".to_owned();
        }
        let mut regex = String::with_capacity(self.text.len() + 16);
        let (name, port) = host::split_port(&self.text[..self.host_end]);
        for (index, label) in name.split('.').enumerate() {
            if index > 0 {
                regex.push_str(r"\.");
            }
            push_literal_or(&mut regex, label, "[a-z0-9-]+");
        }
        if let Some(port) = port {
            // Writing to a string cannot fail.
            let _ = write!(regex, ":{port}");
        }
        let mut segments = self.text[self.host_end + 1..self.path_end].split('/').peekable();
        regex.push('/');
        while let Some(segment) = segments.next() {
            match (segment, segments.peek().is_some()) {
                ("**", true) => regex.push_str("(?:[^/]+/)*"),
                ("**", false) => regex.push_str("[^/]+(?:/[^/]+)*"),
                (_, more) => {
                    push_segment(&mut regex, segment);
                    if more {
                        regex.push('/');
                    }
                }
            }
        }
        regex
    }
}

fn push_literal_or(regex: &mut String, text: &str, star: &str) {
    if text == "*" { regex.push_str(star) } else { regex_syntax::escape_into(text, regex) }
}

fn push_segment(regex: &mut String, segment: &str) {
    if segment == "*" {
        regex.push_str("[^/]+");
        return;
    }
    for (index, literal) in segment.split('*').enumerate() {
        if index > 0 {
            regex.push_str("[^/]*");
        }
        regex_syntax::escape_into(literal, regex);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::GlobSet;

    #[test]
    fn matches_names_by_the_rules() {
        let cases: &[(&str, &[&str], &[&str])] = &[
            ("**", &["docker.io/library/nginx", "[::1]:5000/a", "/ex_ample.com/app"], &[]),
            (
                "registry.example.com/acme",
                &["registry.example.com/acme"],
                &[
                    "registry.example.com.evil.io/acme",
                    "registry.example.com/acmeevil",
                    "evil.io/registry.example.com/acme",
                    "registry.example.com/acme/x",
                    "registryxexample.com/acme",
                    "registry.example.com:5000/acme",
                ],
            ),
            (
                "registry.example.com/acme/**",
                &["registry.example.com/acme/a", "registry.example.com/acme/a/b/c"],
                &["registry.example.com/acme", "registry.example.com/acme2/a", "registry.example.com/a/acme/b"],
            ),
            (
                "registry.example.com/**",
                &["registry.example.com/a", "registry.example.com/a/b"],
                &["evil.example.com/a"],
            ),
            ("registry.example.com/*", &["registry.example.com/a"], &["registry.example.com/a/b"]),
            (
                "registry.example.com/acme/*/api",
                &["registry.example.com/acme/x/api"],
                &["registry.example.com/acme/api", "registry.example.com/acme/x/y/api"],
            ),
            (
                "registry.example.com/**/api",
                &["registry.example.com/api", "registry.example.com/x/api", "registry.example.com/x/y/api"],
                &["registry.example.com/xapi", "registry.example.com/api/x", "registry.example.com/x-api"],
            ),
            (
                "registry.example.com/a/**/**",
                &["registry.example.com/a/b", "registry.example.com/a/b/c"],
                &["registry.example.com/a"],
            ),
            (
                "registry.example.com/acme/api-*",
                &["registry.example.com/acme/api-x", "registry.example.com/acme/api-x.y"],
                &[
                    "registry.example.com/acme/api",
                    "registry.example.com/acme/api-x/y",
                    "registry.example.com/acme/my-api-x",
                ],
            ),
            ("registry.example.com/*-api", &["registry.example.com/x-api"], &["registry.example.com/x-api2"]),
            (
                "registry.example.com/a*",
                &["registry.example.com/a", "registry.example.com/ab"],
                &["registry.example.com/b"],
            ),
            (
                "*.dkr.ecr.eu-west-1.amazonaws.com/app",
                &["123456789012.dkr.ecr.eu-west-1.amazonaws.com/app"],
                &[
                    "dkr.ecr.eu-west-1.amazonaws.com/app",
                    "a.b.dkr.ecr.eu-west-1.amazonaws.com/app",
                    "x.dkr.ecr.eu-west-1.amazonaws.com:5000/app",
                    "evil.io/x.dkr.ecr.eu-west-1.amazonaws.com/app",
                ],
            ),
            (
                "a.*.example.com:5000/app",
                &["a.b.example.com:5000/app"],
                &["a.b.example.com/app", "a.example.com:5000/app"],
            ),
            ("registry:5000/app", &["registry:5000/app"], &["registry/app", "registry:50001/app"]),
            ("localhost/app", &["localhost/app"], &["localhost:5000/app"]),
            ("10.0.0.1:5000/**", &["10.0.0.1:5000/app"], &["10x0.0.1:5000/app"]),
            ("[2001:db8::1]:5000/**", &["[2001:db8::1]:5000/app"], &["2001:db8::1:5000/app"]),
            ("docker.io/library/nginx", &["docker.io/library/nginx"], &["docker.io/nginx"]),
            ("docker.io/**", &["docker.io/library/nginx", "docker.io/org/app"], &["docker.io.evil.io/a"]),
        ];
        for (text, yes, no) in cases {
            let glob = ImageGlob::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            let set = GlobSet::new(&[glob.to_regex()]).unwrap();
            for name in *yes {
                assert_eq!(set.first_match(name), Some(0), "{text} must match {name}");
            }
            for name in *no {
                assert_eq!(set.first_match(name), None, "{text} must not match {name}");
            }
        }
    }

    #[test]
    fn says_what_to_write_instead() {
        let cases = [
            ("", 0, Some("write \"**\" for any image")),
            ("*", 0, Some("write \"**\" for any image")),
            ("nginx", 0, Some("write docker.io/library/nginx")),
            ("nginx-*", 0, Some("write docker.io/library/nginx-*")),
            ("org/app", 0, Some("write docker.io/org/app")),
            ("org/**", 0, Some("write docker.io/org/**")),
            ("org-*/app", 0, Some("write docker.io/org-*/app")),
            ("ghcr.io", 0, Some("write ghcr.io/**")),
            ("ghcr.io:5000", 0, Some("write ghcr.io:5000/**")),
            ("docker.io/nginx", 10, Some("write docker.io/library/nginx")),
            ("docker.io/*", 10, Some("write docker.io/library/*")),
            ("index.docker.io/nginx", 0, Some("write docker.io/library/nginx")),
            ("index.docker.io/org/app", 0, Some("write docker.io/org/app")),
            ("registry-1.docker.io/org/app", 0, Some("write docker.io/org/app")),
            ("docker.io:443/org/app", 10, Some("write docker.io/org/app")),
            ("index.docker.io:443/org/app", 16, Some("write docker.io/org/app")),
            ("ghcr.io:443/org/app", 8, Some("write ghcr.io/org/app")),
            ("ghcr.io:05000/org/app", 0, Some("write ghcr.io:5000/org/app")),
            ("GHCR.io/org/app", 0, Some("write ghcr.io/org/app")),
            ("ghcr.io/Org/App", 8, Some("write ghcr.io/org/app")),
            ("https://ghcr.io/org/app", 5, Some("write ghcr.io/org/app")),
            ("ghcr.io/org/", 12, Some("write ghcr.io/org/**")),
            ("ghcr.io/", 8, Some("write ghcr.io/**")),
            ("ghcr.io//app", 8, Some("write ghcr.io/**")),
            ("/app", 0, None),
            ("user@ghcr.io/app", 4, None),
            ("org@x/app", 3, None),
            (" ghcr.io/org", 0, Some("write ghcr.io/org")),
            ("ghcr.io/örg", 8, None),
            ("ghcr.io/org:v1", 11, Some("write ghcr.io/org")),
            ("**/app", 0, Some("write \"**\" alone for any image, or write the host out")),
            ("*/app", 0, Some("write the last two labels out, as in *.example.com")),
            ("*.com/app", 0, Some("write the last two labels out, as in *.example.com")),
            ("a.*.com/app", 2, Some("write the last two labels out, as in *.example.com")),
            ("a.b.*/app", 4, Some("write the last two labels out, as in *.example.com")),
            ("reg*.example.com/app", 3, None),
            ("**.example.com/app", 0, None),
            ("ghcr.io:*/app", 8, Some("write host:port/path, or host/path")),
            ("ghcr.io:/app", 8, Some("write host:port/path, or host/path")),
            ("ghcr.io:0/app", 8, None),
            ("ghcr.io:65536/app", 8, None),
            ("-a.example.com/app", 0, None),
            ("a..example.com/app", 2, None),
            ("ex_ample.com/app", 2, None),
            ("1.2/app", 2, None),
            ("0x7f.1/app", 5, None),
            ("*.0.0.1/app", 6, None),
            ("169.254.169.254/**", 0, None),
            ("[fe80::1]/**", 0, None),
            ("[:::::]/**", 0, None),
            ("[@/a", 0, None),
            ("[::1/a", 0, None),
            ("[::1]x/a", 0, None),
            ("[2001:0db8::1]/app", 0, Some("write [2001:db8::1]/app")),
            ("ghcr.io/a**", 9, None),
            ("ghcr.io/***", 8, None),
            ("ghcr.io/**a/b", 8, None),
            ("ghcr.io/-a", 8, None),
            ("ghcr.io/a-", 9, None),
            ("ghcr.io/a..b", 10, None),
            ("ghcr.io/*_/b", 9, None),
            ("ghcr.io/a?", 9, None),
            ("ghcr.io/{a,b}", 8, None),
        ];
        for (text, position, help) in cases {
            let error = ImageGlob::parse(text).unwrap_err();
            assert_eq!((error.position, error.help.as_deref()), (position, help), "{text:?}: {error}");
        }
    }

    #[test]
    fn several_slips_are_mended_at_once() {
        let error = ImageGlob::parse(" https://Index.Docker.io:443/Nginx ").unwrap_err();
        assert_eq!(error.help.as_deref(), Some("write docker.io/library/nginx"));
        let many_schemes = "a://".repeat(100_000);
        assert_eq!(ImageGlob::parse(&many_schemes).unwrap_err().help, None);
    }

    #[test]
    fn reads_exact_tags_and_digests() {
        let digest = format!("sha256:{}", "a".repeat(64));
        let glob = ImageGlob::parse_with_tag("ghcr.io:5000/org/app:2019-final").unwrap();
        assert_eq!((glob.tag(), glob.digest()), (Some("2019-final"), None));
        assert_eq!(glob.literal_host(), Some("ghcr.io:5000"));
        assert_eq!(glob.to_regex(), r"ghcr\.io:5000/org/app");
        let glob = ImageGlob::parse_with_tag(&format!("ghcr.io/org/*@{digest}")).unwrap();
        assert_eq!((glob.tag(), glob.digest()), (None, Some(&*digest)));
        let glob = ImageGlob::parse_with_tag("ghcr.io/org/**").unwrap();
        assert_eq!((glob.tag(), glob.digest()), (None, None));
        for (text, position) in [
            ("ghcr.io/org/app:v*", 17),
            ("ghcr.io/org/app:", 16),
            ("ghcr.io/org/app:.a", 16),
            ("ghcr.io/org/app:a:b", 17),
            ("ghcr.io/org/app@sha256:abc", 26),
            ("ghcr.io/org/app@", 16),
            ("**:v1", 0),
            ("nginx:v1", 0),
        ] {
            assert_eq!(ImageGlob::parse_with_tag(text).unwrap_err().position, position, "{text}");
        }
    }

    #[test]
    fn tells_literal_hosts() {
        assert_eq!(ImageGlob::parse("**").unwrap().literal_host(), None);
        assert!(ImageGlob::parse("**").unwrap().is_any());
        assert_eq!(ImageGlob::parse("*.a.example.com/x").unwrap().literal_host(), None);
        assert_eq!(ImageGlob::parse("a.example.com/*").unwrap().literal_host(), Some("a.example.com"));
    }
}
