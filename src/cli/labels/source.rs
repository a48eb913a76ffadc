//! The repository that a source label or a remote names, whichever way it is written.

/// What no address may have (RFC 3986 has none of them), and readers of addresses take differently: a backslash is a
/// slash to some of them, so that one reads another host than the next.
const STRAY: &[u8] = b"\\ \"<>^`{|}";

/// A character of an address that none may have.
pub(super) fn stray(address: &str) -> Option<char> {
    address.chars().find(|c| !c.is_ascii_graphic() || u8::try_from(*c).is_ok_and(|byte| STRAY.contains(&byte)))
}

/// `host/path` of the address of a repository; none where it is no such address. User and password are left out.
///
/// `https://git.example.com/acme/api.git`, `ssh://git@git.example.com/acme/api` and `git@git.example.com:acme/api` are one.
pub(super) fn repository(address: &str) -> Option<String> {
    if address.len() > 2_048 || stray(address).is_some() || address.contains(['?', '#']) {
        return None;
    }
    let (authority, path) = match address.split_once("://") {
        Some((scheme, rest)) => {
            let known = ["https", "http", "ssh", "git"].iter().any(|known| scheme.eq_ignore_ascii_case(known));
            rest.split_once('/').filter(|_| known)?
        }
        // As scp writes it.
        None => address.split_once(':').filter(|(host, _)| host.contains('@') && !host.contains('/'))?,
    };
    let host = authority.rsplit('@').next().unwrap_or_default().to_ascii_lowercase();
    let host = [":443", ":22", ":80"].iter().find_map(|port| host.strip_suffix(port)).unwrap_or(&host);
    let path = path.trim_matches('/');
    let path = path.strip_suffix(".git").unwrap_or(path);
    (!host.is_empty() && !path.is_empty()).then(|| format!("{host}/{path}"))
}

#[cfg(test)]
mod tests {
    use super::{repository, stray};

    #[test]
    fn one_repository_has_several_addresses() {
        for address in [
            "https://git.example.com/acme/api",
            "https://git.example.com/acme/api.git",
            "https://token:secret@git.example.com/acme/api/",
            "HTTPS://Git.Example.Com:443/acme/api",
            "ssh://git@git.example.com/acme/api.git",
            "git@git.example.com:acme/api.git",
        ] {
            assert_eq!(repository(address).as_deref(), Some("git.example.com/acme/api"), "{address}");
        }
        for other in ["https://git.example.com/acme/API", "https://git.example.com:8443/acme/api", "git@a:acme/api"] {
            assert_ne!(repository(other).as_deref(), Some("git.example.com/acme/api"), "{other}");
        }
        for address in [
            "",
            "acme/api",
            "/srv/git/api",
            "file:///srv/api",
            "https://",
            "https://a",
            "https://a/",
            "a b",
            "a:b",
            "javascript://x/y",
        ] {
            assert_eq!(repository(address), None, "{address}");
        }
    }
    #[test]
    fn what_readers_take_differently_is_no_address() {
        for c in ['\\', ' ', '\t', '"', '<', '>', '^', '`', '{', '|', '}', '\u{e9}'] {
            for address in [
                format!("https://evil.example.com{c}@git.example.com/acme/api"),
                format!("https://git.example.com/acme/api{c}"),
                format!("git@git.example.com:acme{c}api"),
            ] {
                assert_eq!((repository(&address), stray(&address)), (None, Some(c)), "{address}");
            }
        }
        assert_eq!(stray("https://u:p@git.example.com:8443/acme/api_~!$&'()*+,;=%20"), None);
    }
}
