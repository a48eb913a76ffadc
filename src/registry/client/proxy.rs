//! HTTP proxies between us and registries, as HTTPS_PROXY, HTTP_PROXY and NO_PROXY name them.
//!
//! Read as Go programs (and so the other tools of a cluster) read them, with two differences: what cannot be used is an
//! error and not ignored, and loopback addresses are no exception unless NO_PROXY lists them.

use std::env;
use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderValue, Uri};
use zeroize::Zeroizing;

use super::super::egress;
use super::peer::{Origin, Scheme};

/// One proxy.
#[derive(Clone, PartialEq)]
pub(super) struct Proxy {
    /// Without brackets.
    pub host: String,
    pub port: u16,
    /// Proxy-Authorization, marked sensitive.
    pub authorization: Option<HeaderValue>,
}

/// Which requests go by which proxy.
#[derive(Clone, Default)]
pub(in crate::registry) struct Proxies {
    http: Option<Proxy>,
    https: Option<Proxy>,
    direct: Vec<Direct>,
}

/// An entry of NO_PROXY.
#[derive(Clone, Debug, PartialEq)]
enum Direct {
    All,
    /// A name and what is below it, or only the latter; with its port, if it has one.
    Name {
        name: String,
        itself: Itself,
        port: Option<u16>,
    },
    Address(IpAddr, Option<u16>),
    Network(IpAddr, u8),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Itself {
    Included,
    Excluded,
}

impl Proxies {
    /// What the process' environment says.
    ///
    /// # Errors
    /// One sentence that names the variable.
    pub fn from_env() -> Result<Self, String> {
        let variable = |name: &str| env::var(name).or_else(|_| env::var(name.to_lowercase())).unwrap_or_default();
        let (http, https) = (Zeroizing::new(variable("HTTP_PROXY")), Zeroizing::new(variable("HTTPS_PROXY")));
        Proxies::new(&http, &https, &variable("NO_PROXY"))
    }

    /// From the variables' values; empty: not set.
    ///
    /// # Errors
    /// One sentence that names the variable.
    pub fn new(http: &str, https: &str, no: &str) -> Result<Self, String> {
        let named = |name: &'static str| move |why: String| format!("{name} cannot be used: {why}");
        Ok(Proxies {
            http: proxy(http).map_err(named("HTTP_PROXY"))?,
            https: proxy(https).map_err(named("HTTPS_PROXY"))?,
            direct: no.split(',').filter_map(|entry| Direct::new(entry.trim())).collect(),
        })
    }

    /// The proxy for requests to `origin`; none: directly.
    pub(super) fn towards(&self, origin: &Origin) -> Option<&Proxy> {
        let proxy = match origin.scheme {
            Scheme::Http => self.http.as_ref(),
            Scheme::Https => self.https.as_ref(),
        };
        proxy.filter(|_| !self.direct.iter().any(|direct| direct.holds(origin)))
    }
}

fn proxy(text: &str) -> Result<Option<Proxy>, String> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    let with_scheme = Zeroizing::new(if text.contains("://") { text.to_owned() } else { format!("http://{text}") });
    let wrong = || "write http://host:port, or http://user:password@host:port".to_owned();
    let uri: Uri = with_scheme.parse().map_err(|_| wrong())?;
    let authority = uri.authority().filter(|_| uri.scheme_str() == Some("http")).ok_or_else(wrong)?;
    if authority.host().is_empty() {
        return Err(wrong());
    }
    let authorization = match authority.as_str().rsplit_once('@') {
        None => None,
        Some((login, _)) => Some(basic(login).ok_or_else(wrong)?),
    };
    let host = egress::bare(authority.host()).to_ascii_lowercase();
    Ok(Some(Proxy { host, port: authority.port_u16().unwrap_or(80), authorization }))
}

fn basic(login: &str) -> Option<HeaderValue> {
    let (user, password) = login.split_once(':').unwrap_or((login, ""));
    let mut plain = Zeroizing::new(decoded(user)?);
    plain.push(b':');
    plain.extend_from_slice(&Zeroizing::new(decoded(password)?));
    let mut value = HeaderValue::try_from(format!("Basic {}", STANDARD.encode(&*plain))).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// Percent-decoded.
fn decoded(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        rest = tail;
        if first != b'%' {
            out.push(first);
            continue;
        }
        let digits = std::str::from_utf8(rest.get(..2)?).ok().filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()))?;
        out.push(u8::from_str_radix(digits, 16).ok()?);
        rest = rest.get(2..)?;
    }
    Some(out)
}

impl Direct {
    fn new(entry: &str) -> Option<Self> {
        let entry = entry.to_ascii_lowercase();
        if entry.is_empty() {
            return None;
        }
        if entry == "*" {
            return Some(Direct::All);
        }
        if let Some((address, length)) = entry.split_once('/') {
            return Some(Direct::Network(address.parse().ok()?, length.parse().ok()?));
        }
        if let Ok(address) = egress::bare(&entry).parse() {
            return Some(Direct::Address(address, None));
        }
        let (host, port) = match entry.rsplit_once(':') {
            Some((host, port)) => (host, Some(port.parse().ok()?)),
            None => (entry.as_str(), None),
        };
        if let Ok(address) = egress::bare(host).parse() {
            return Some(Direct::Address(address, port));
        }
        let below = host.strip_prefix("*.").or_else(|| host.strip_prefix('.'));
        let itself = if below.is_some() { Itself::Excluded } else { Itself::Included };
        Some(Direct::Name { name: below.unwrap_or(host).to_owned(), itself, port })
    }

    fn holds(&self, origin: &Origin) -> bool {
        let fits = |port: &Option<u16>| port.is_none_or(|port| port == origin.port);
        let address: Option<IpAddr> = origin.host.parse().ok();
        match self {
            Direct::All => true,
            Direct::Address(ip, port) => address == Some(*ip) && fits(port),
            Direct::Network(network, length) => address.is_some_and(|ip| within(ip, *network, *length)),
            Direct::Name { name, itself, port } => {
                let host = origin.host.trim_end_matches('.');
                let below = || host.strip_suffix(name.as_str()).is_some_and(|rest| rest.ends_with('.'));
                fits(port) && (*itself == Itself::Included && host == name || below())
            }
        }
    }
}

fn within(ip: IpAddr, network: IpAddr, length: u8) -> bool {
    let length = u32::from(length);
    match (ip, network) {
        (IpAddr::V4(a), IpAddr::V4(b)) => length <= 32 && (a.to_bits() ^ b.to_bits()).leading_zeros() >= length,
        (IpAddr::V6(a), IpAddr::V6(b)) => length <= 128 && (a.to_bits() ^ b.to_bits()).leading_zeros() >= length,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::{Origin, Proxies};

    fn origin(url: &str) -> Origin {
        Origin::of(&url.parse().unwrap()).unwrap()
    }

    #[test]
    fn each_scheme_has_its_proxy() {
        let proxies = Proxies::new("plain.example:3128", "http://u%40x:p%3aw@[::1]:8080/", "").unwrap();
        let plain = proxies.towards(&origin("http://r.example/")).unwrap();
        assert_eq!((plain.host.as_str(), plain.port, plain.authorization.is_none()), ("plain.example", 3128, true));
        let tunnel = proxies.towards(&origin("https://r.example/")).unwrap();
        assert_eq!((tunnel.host.as_str(), tunnel.port), ("::1", 8080));
        let authorization = tunnel.authorization.as_ref().unwrap();
        assert_eq!(authorization, "Basic dUB4OnA6dw=="); // u@x:p:w
        assert!(authorization.is_sensitive());
        let only = Proxies::new("", "p.example", "").unwrap();
        assert!(only.towards(&origin("http://r.example/")).is_none());
        assert_eq!(only.towards(&origin("https://r.example/")).unwrap().port, 80);
    }

    #[test]
    fn a_proxy_that_cannot_be_used_is_an_error() {
        for text in ["socks5://p:1080", "https://p:443", "http://", "http://u%4@p", "a b", "http://p:99999/x y"] {
            let error = Proxies::new("", text, "").err().unwrap_or_default();
            assert!(error.starts_with("HTTPS_PROXY cannot be used"), "{text}: {error}");
            assert!(Proxies::new(text, "", "").is_err(), "{text}");
        }
        assert!(Proxies::new(" ", "", "").unwrap().towards(&origin("http://r.example/")).is_none());
    }

    #[test]
    fn no_proxy_lists_what_is_asked_directly() {
        let cases = [
            ("*", "https://r.example/", true),
            ("", "https://r.example/", false),
            ("r.example", "https://r.example/", true),
            ("r.example", "https://a.r.example:5000/", true),
            ("r.example", "https://ar.example/", false),
            ("R.Example , x", "https://r.example/", true),
            (".r.example", "https://a.r.example/", true),
            ("*.r.example", "https://a.r.example/", true),
            (".r.example", "https://r.example/", false),
            ("r.example:5000", "https://r.example:5000/", true),
            ("r.example:5000", "https://r.example/", false),
            ("r.example:443", "https://r.example/", true),
            ("10.0.0.0/8", "https://10.1.2.3/", true),
            ("10.0.0.0/8", "https://11.1.2.3/", false),
            ("10.0.0.0/8", "https://r.example/", false),
            ("10.0.0.0/33", "https://10.0.0.0/", false),
            ("0.0.0.0/0", "https://10.0.0.0/", true),
            ("fd00::/8", "https://[fd12::1]/", true),
            ("fd00::/8", "https://[fe12::1]/", false),
            ("127.0.0.1", "https://127.0.0.1:5000/", true),
            ("127.0.0.1:5000", "https://127.0.0.1:5000/", true),
            ("127.0.0.1:5001", "https://127.0.0.1:5000/", false),
            ("::1", "https://[::1]/", true),
            ("[::1]:5000", "https://[::1]:5000/", true),
            ("[::1]:5001", "https://[::1]:5000/", false),
            ("other.example", "https://127.0.0.1/", false),
        ];
        for (no, url, direct) in cases {
            let proxies = Proxies::new("", "http://p.example:3128", no).unwrap();
            assert_eq!(proxies.towards(&origin(url)).is_none(), direct, "NO_PROXY={no} {url}");
        }
    }
}
