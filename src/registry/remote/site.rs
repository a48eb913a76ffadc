//! Where a registry is asked: from the name that policies know it by to the address of a request.

use std::fmt::Write as _;

use http::Uri;
use http::uri::{PathAndQuery, Scheme};

use crate::registry::failure::{Failure, FailureKind};
use crate::registry::settings::RegistrySettings;

/// The name that policies know Docker Hub by.
pub(in crate::registry) const DOCKER_HUB: &str = "docker.io";

/// Where Docker Hub answers; `containerd` and `docker` ask there too.
const DOCKER_HUB_SERVER: &str = "registry-1.docker.io";

/// The address of a registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::registry) struct Site {
    /// The host that policies name.
    pub host: String,
    /// Https, or http where the configuration says so.
    pub scheme: Scheme,
    /// Host and, where it is written, port that are asked.
    pub authority: String,
    /// What stands before the repository: `/v2`, `/mirror/v2`, `/v2/proxy`.
    root: String,
    /// Whether the registry is told which registry is meant (`?ns=`).
    names_host: bool,
}

impl Site {
    /// For the host that policies name. An `endpoint` with a path serves the API below it, as containerd's `hosts.toml`
    /// has it: `https://m/x` is asked at `/x/v2/`, and one that names `/v2` itself (`https://m/v2/proxy`) at exactly that.
    ///
    /// # Errors
    /// One sentence: `endpoint` is no address, or is plain HTTP without `insecure`.
    pub fn new(host: &str, registry: Option<&RegistrySettings>) -> Result<Self, String> {
        let insecure = registry.is_some_and(|registry| registry.insecure);
        let scheme = if insecure { Scheme::HTTP } else { Scheme::HTTPS };
        let Some(endpoint) = registry.and_then(|registry| registry.endpoint.as_deref()) else {
            let authority = if host == DOCKER_HUB { DOCKER_HUB_SERVER } else { host };
            return Ok(Site {
                host: host.to_owned(),
                scheme,
                authority: authority.to_ascii_lowercase(),
                root: "/v2".to_owned(),
                names_host: false,
            });
        };
        let shown = crate::policy::printable(endpoint, crate::policy::IMAGE_BYTES);
        let unusable =
            || format!("registry {host}: endpoint '{shown}' is no address; write https://host or https://host/path");
        let uri: Uri = endpoint.parse().map_err(|_| unusable())?;
        let (Some(scheme), Some(authority)) = (uri.scheme(), uri.authority()) else { return Err(unusable()) };
        let plain = *scheme == Scheme::HTTP;
        if !plain && *scheme != Scheme::HTTPS || authority.as_str().contains('@') || uri.query().is_some() {
            return Err(unusable());
        }
        if plain && !insecure {
            return Err(format!("registry {host}: endpoint '{shown}' is plain HTTP; set 'insecure' if that is meant"));
        }
        let path = uri.path().trim_end_matches('/');
        let whole = path.split('/').any(|segment| segment == "v2");
        Ok(Site {
            host: host.to_owned(),
            scheme: scheme.clone(),
            authority: authority.as_str().to_ascii_lowercase(),
            root: if whole { path.to_owned() } else { format!("{path}/v2") },
            names_host: true,
        })
    }

    /// The repository's name as the server that is asked knows it: scopes of tokens name it so.
    pub fn repository(&self, repository: &str) -> String {
        match self.root.split_once("/v2/") {
            Some((_, project)) => format!("{project}/{repository}"),
            None => repository.to_owned(),
        }
    }

    /// The path of something in a repository, `rest` being `manifests/v1` or the like.
    pub fn path(&self, repository: &str, rest: &str) -> String {
        format!("{}/{repository}/{rest}", self.root)
    }

    /// The address of a path, with `query` (written as it is to be sent, without `?`).
    ///
    /// # Errors
    /// Protocol: they make no address. Names that passed the reference parser always do.
    pub fn uri(&self, path: &str, query: &str) -> Result<Uri, Failure> {
        let mut target = path.to_owned();
        let mut sign = '?';
        if !query.is_empty() {
            target.push(sign);
            target.push_str(query);
            sign = '&';
        }
        if self.names_host && !query.split('&').any(|pair| pair.starts_with("ns=")) {
            target.push(sign);
            target.push_str("ns=");
            encode(&mut target, &self.host);
        }
        let built = PathAndQuery::try_from(target).ok().and_then(|target| {
            Uri::builder()
                .scheme(self.scheme.clone())
                .authority(self.authority.as_str())
                .path_and_query(target)
                .build()
                .ok()
        });
        built.ok_or_else(|| Failure::new(FailureKind::Protocol, "the registry's address cannot be written"))
    }
}

/// The port of an address: what is written, or its scheme's own. None, where something is written that is no port.
pub(in crate::registry) fn port(uri: &Uri) -> Option<u16> {
    let authority = uri.authority()?;
    let written = authority.as_str().rsplit('@').next()?.strip_prefix(authority.host())?;
    match written.strip_prefix(':') {
        Some(port) => port.parse().ok(),
        None => Some(if uri.scheme() == Some(&Scheme::HTTP) { 80 } else { 443 }),
    }
}

/// Appends `text` percent-encoded: everything but RFC 3986's unreserved characters.
pub(in crate::registry) fn encode(out: &mut String, text: &str) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::testing::registry;

    fn entry(host: &str, endpoint: Option<&str>, insecure: bool) -> RegistrySettings {
        RegistrySettings { endpoint: endpoint.map(str::to_owned), insecure, ..registry(host) }
    }

    #[test]
    fn a_name_leads_to_an_address() {
        let (secure, plain) = (false, true);
        let cases = [
            ("registry.example.com", None, secure, "https://registry.example.com/v2/a/b/manifests/v1"),
            ("registry.example.com:5000", None, secure, "https://registry.example.com:5000/v2/a/b/manifests/v1"),
            ("registry.example.com:5000", None, plain, "http://registry.example.com:5000/v2/a/b/manifests/v1"),
            ("[2001:db8::1]:5000", None, secure, "https://[2001:db8::1]:5000/v2/a/b/manifests/v1"),
            ("docker.io", None, secure, "https://registry-1.docker.io/v2/a/b/manifests/v1"),
            (
                "docker.io",
                Some("https://mirror.example.com"),
                secure,
                "https://mirror.example.com/v2/a/b/manifests/v1?ns=docker.io",
            ),
            (
                "r.example.com:5000",
                Some("https://mirror.example.com:8443/x/"),
                secure,
                "https://mirror.example.com:8443/x/v2/a/b/manifests/v1?ns=r.example.com%3A5000",
            ),
            (
                "docker.io",
                Some("http://mirror.example.com/v2/hub"),
                plain,
                "http://mirror.example.com/v2/hub/a/b/manifests/v1?ns=docker.io",
            ),
            (
                "docker.io",
                Some("https://mirror.example.com/"),
                plain,
                "https://mirror.example.com/v2/a/b/manifests/v1?ns=docker.io",
            ),
        ];
        for (host, endpoint, insecure, expected) in cases {
            let site = Site::new(host, Some(&entry(host, endpoint, insecure))).unwrap();
            assert_eq!(site.uri(&site.path("a/b", "manifests/v1"), "").unwrap().to_string(), expected);
        }
        let site = Site::new("registry.example.com", None).unwrap();
        assert_eq!(site.uri("/v2/a/tags/list", "n=2").unwrap().path_and_query().unwrap(), "/v2/a/tags/list?n=2");
    }

    #[test]
    fn ports_are_written_or_the_schemes_own() {
        let cases = [
            ("https://a.example/x", Some(443)),
            ("http://a.example", Some(80)),
            ("https://a.example:80/", Some(80)),
            ("https://u@a.example:8443/", Some(8443)),
            ("https://[::1]:8443/", Some(8443)),
            ("https://[::1]/", Some(443)),
            ("https://a.example:99999/", None),
        ];
        for (address, expected) in cases {
            assert_eq!(port(&address.parse().unwrap()), expected, "{address}");
        }
    }

    #[test]
    fn a_mirror_hears_the_name_once() {
        let site = Site::new("docker.io", Some(&entry("docker.io", Some("https://m.example.com"), false))).unwrap();
        assert_eq!(site.uri("/v2/a", "n=2").unwrap().query(), Some("n=2&ns=docker.io"));
        assert_eq!(site.uri("/v2/a", "n=2&ns=docker.io").unwrap().query(), Some("n=2&ns=docker.io"));
    }

    #[test]
    fn scopes_name_the_repository_as_the_server_does() {
        let named = |endpoint| {
            Site::new("docker.io", Some(&entry("docker.io", endpoint, false))).unwrap().repository("library/nginx")
        };
        assert_eq!(named(None), "library/nginx");
        assert_eq!(named(Some("https://m.example.com/x")), "library/nginx");
        assert_eq!(named(Some("https://m.example.com/v2/hub/proxy")), "hub/proxy/library/nginx");
    }

    #[test]
    fn an_endpoint_that_is_no_address_is_refused() {
        for endpoint in [
            "mirror.example.com",
            "/x",
            "ftp://m.example.com",
            "https://u:p@m.example.com",
            "https://m/?a=b",
            "https://",
        ] {
            let error = Site::new("docker.io", Some(&entry("docker.io", Some(endpoint), true))).unwrap_err();
            assert!(error.contains("is no address"), "{endpoint}: {error}");
        }
        let error = Site::new("docker.io", Some(&entry("docker.io", Some("http://m.example.com"), false))).unwrap_err();
        assert!(error.contains("set 'insecure'"), "{error}");
    }
}
