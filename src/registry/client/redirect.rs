//! Redirects: where they may lead, and what a request loses on the way.

use http::header::{AUTHORIZATION, COOKIE, LOCATION, PROXY_AUTHORIZATION};
use http::{HeaderMap, StatusCode, Uri};

use super::super::egress;
use super::super::failure::{Failure, FailureKind};
use super::Errand;
use super::peer::{Home, Origin, Peer, Scheme};

/// How many are followed.
pub(super) const MOST: usize = 3;

/// Whether an answer says that the thing is elsewhere.
pub(super) fn is_one(status: StatusCode) -> bool {
    matches!(status.as_u16(), 300..=303 | 305..=308)
}

/// Where an answer of `from` sends us, after the rules of the errand and those for hosts.
///
/// # Errors
/// Protocol.
pub(super) fn target(
    home: &Home,
    from: &Peer,
    base: &Uri,
    headers: &HeaderMap,
    errand: Errand,
) -> Result<(Uri, Peer), Failure> {
    let mut locations = headers.get_all(LOCATION).iter();
    let (Some(location), None) = (locations.next(), locations.next()) else {
        return Err(from.failure(FailureKind::Protocol, "redirects without saying where to"));
    };
    let refused = |why: &str| {
        let said = String::from_utf8_lossy(location.as_bytes());
        from.quoting(FailureKind::Protocol, &format!("redirects to where we do not go: {why}"), &said)
    };
    if errand == Errand::Realm {
        return Err(refused("a token server must answer itself"));
    }
    let written = location.to_str().map_err(|_| refused("it is not a URL"))?;
    let uri = egress::url(&absolute(base, written).ok_or_else(|| refused("it is not a URL"))?).map_err(refused)?;
    let origin = Origin::of(&uri).ok_or_else(|| refused("it is not a URL"))?;
    if from.origin.scheme == Scheme::Https && origin.scheme == Scheme::Http {
        return Err(refused("it leads from https to http"));
    }
    if errand == Errand::Registry && !home.is(&origin) {
        return Err(refused("it is another host"));
    }
    let peer = home.peer(&uri, errand)?;
    Ok((uri, peer))
}

/// Takes out what another origin must not see.
pub(super) fn strip(headers: &mut HeaderMap, from: &Origin, to: &Origin) {
    if from != to {
        for name in [AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION] {
            headers.remove(name);
        }
    }
}

/// A reference resolved against the URL that it was found at (RFC 3986, without the removal of dots: servers do that).
fn absolute(base: &Uri, reference: &str) -> Option<String> {
    let reference = reference.split('#').next().unwrap_or("").trim();
    let (scheme, authority) = (base.scheme_str()?, base.authority()?);
    let ends = reference.find(['/', '?']).unwrap_or(reference.len());
    if reference.is_empty() || reference.contains('\\') {
        return None;
    }
    Some(if reference.starts_with("//") {
        format!("{scheme}:{reference}")
    } else if reference.starts_with('/') {
        format!("{scheme}://{authority}{reference}")
    } else if reference.starts_with('?') {
        format!("{scheme}://{authority}{}{reference}", base.path())
    } else if reference[..ends].contains(':') {
        reference.to_owned()
    } else {
        let folder = base.path().rsplit_once('/').map_or("", |(folder, _)| folder);
        format!("{scheme}://{authority}{folder}/{reference}")
    })
}

#[cfg(test)]
mod tests {
    use super::super::super::settings::{RegistrySettings, Settings};
    use super::{Errand, HeaderMap, Home, Origin, absolute, strip, target};
    use crate::registry::testing::registry;
    use http::header::{ACCEPT, AUTHORIZATION, HeaderValue, LOCATION};

    fn home(settings: &RegistrySettings) -> Home {
        Home::new(&settings.host, Some(settings), &Settings::default()).unwrap()
    }

    /// Where a redirect from `base` leads, or why it is not followed.
    fn follow(settings: &RegistrySettings, base: &str, errand: Errand, location: &str) -> Result<String, String> {
        let (home, base) = (home(settings), base.parse().unwrap());
        let from = home.peer(&base, errand).map_err(|failure| failure.what)?;
        let mut headers = HeaderMap::new();
        headers.insert(LOCATION, HeaderValue::from_bytes(location.as_bytes()).unwrap());
        target(&home, &from, &base, &headers, errand).map(|(uri, _)| uri.to_string()).map_err(|failure| failure.what)
    }

    #[test]
    fn references_are_resolved() {
        let base = "https://r.example:5000/v2/a/blobs/x?y=z".parse().unwrap();
        let cases = [
            ("https://s.example/b", Some("https://s.example/b")),
            ("//s.example/b", Some("https://s.example/b")),
            ("/b?c=d#e", Some("https://r.example:5000/b?c=d")),
            ("?c=d", Some("https://r.example:5000/v2/a/blobs/x?c=d")),
            ("b/c", Some("https://r.example:5000/v2/a/blobs/b/c")),
            ("file:/etc/passwd", Some("file:/etc/passwd")),
            ("\\\\s.example\\b", None),
            ("", None),
            ("#x", None),
        ];
        for (reference, want) in cases {
            assert_eq!(absolute(&base, reference).as_deref(), want, "{reference}");
        }
    }

    #[test]
    fn the_registry_redirects_within_itself_only() {
        let settings = registry("r.example");
        let go = |location| follow(&settings, "https://r.example/v2/", Errand::Registry, location);
        for location in ["/v2/x", "x", "https://r.example/x", "https://R.EXAMPLE:443/x"] {
            assert!(go(location).is_ok(), "{location}: {:?}", go(location));
        }
        let refused = [
            ("https://s.example/x", "another host"),
            ("https://r.example:444/x", "another host"),
            ("http://r.example/x", "https to http"),
            ("https://u:p@r.example/x", "user"),
            ("https://r.example@s.example/x", "user"),
            ("file:///etc/passwd", "URL"),
            ("https://169.254.169.254/", "another host"),
        ];
        for (location, why) in refused {
            let got = go(location);
            assert!(got.as_ref().is_err_and(|what| what.contains(why)), "{location}: {got:?}");
        }
    }

    #[test]
    fn blobs_are_elsewhere_by_https_and_by_name() {
        let settings = registry("r.example");
        let go = |location| follow(&settings, "https://r.example/v2/", Errand::Blob, location);
        for location in ["/x", "https://s.example/x?sig=1", "https://s.example:8443/x"] {
            assert!(go(location).is_ok(), "{location}: {:?}", go(location));
        }
        let refused = [
            ("http://s.example/x", "https to http"),
            ("https://u@s.example/x", "user"),
            ("https://169.254.169.254/x", "without a name"),
            ("https://[fd00:ec2::254]/x", "without a name"),
            ("https://2130706433/x", "without a name"),
            ("file://s.example/x", "http or https"),
        ];
        for (location, why) in refused {
            let got = go(location);
            assert!(got.as_ref().is_err_and(|what| what.contains(why)), "{location}: {got:?}");
            assert!(!got.unwrap_err().contains("s.example"), "{location}: a denial would name it");
        }
        let plain = RegistrySettings { insecure: true, ..registry("r.example:5000") };
        let go = |location| follow(&plain, "http://r.example:5000/v2/", Errand::Blob, location);
        assert!(go("/x").is_ok() && go("https://s.example/x").is_ok());
        assert!(go("http://s.example/x").unwrap_err().contains("not https"));
    }

    #[test]
    fn token_servers_do_not_redirect() {
        let settings = registry("r.example");
        let got = follow(&settings, "https://auth.example/token", Errand::Realm, "/other");
        assert!(got.as_ref().is_err_and(|what| what.contains("must answer itself")), "{got:?}");
    }

    #[test]
    fn credentials_stay_with_their_origin() {
        let origin = |url: &str| Origin::of(&url.parse().unwrap()).unwrap();
        let from = origin("https://r.example/");
        for (to, kept) in [
            ("https://r.example/x", true),
            ("https://R.example:443/x", true),
            ("https://r.example:444/x", false),
            ("http://r.example:443/x", false),
            ("https://s.example/x", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(AUTHORIZATION, HeaderValue::from_static("Bearer x"));
            headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
            strip(&mut headers, &from, &origin(to));
            assert_eq!(headers.contains_key(AUTHORIZATION), kept, "{to}");
            assert!(headers.contains_key(ACCEPT), "{to}");
        }
    }
}
