//! Egress: which hosts and addresses may be contacted at all.
//!
//! Pure functions. They are asked twice: once for the URL, and once for every address that its name resolves to; the
//! connection is made to an address that passed.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use http::Uri;

/// Which addresses a host may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// Those of the public internet.
    Public,
    /// Loopback, RFC 1918, CGNAT, unique-local and laboratory ones as well: the host is listed with `private: true`.
    Private,
}

/// What an address is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    Public,
    /// Of some network, not of the internet; what it is called.
    Private(&'static str),
    /// Never a registry; what it is called.
    Never(&'static str),
}

const METADATA: Class = Class::Never("a metadata service's address");
const LINK_LOCAL: Class = Class::Never("a link-local address");

/// Metadata services at addresses that no range below refuses: Azure's wire server, Alibaba's and Oracle's.
const METADATA_V4: &[Ipv4Addr] =
    &[Ipv4Addr::new(168, 63, 129, 16), Ipv4Addr::new(100, 100, 100, 200), Ipv4Addr::new(192, 0, 0, 192)];

/// Blocks of IPv4, the first that fits decides (RFC 6890 and its registry). The metadata address of most clouds,
/// 169.254.169.254, is link-local.
const BLOCKS_V4: &[(Ipv4Addr, u32, Class)] = &[
    (Ipv4Addr::new(0, 0, 0, 0), 8, Class::Never("an unspecified address")),
    (Ipv4Addr::new(127, 0, 0, 0), 8, Class::Private("a loopback address")),
    (Ipv4Addr::new(10, 0, 0, 0), 8, Class::Private("a private address")),
    (Ipv4Addr::new(172, 16, 0, 0), 12, Class::Private("a private address")),
    (Ipv4Addr::new(192, 168, 0, 0), 16, Class::Private("a private address")),
    (Ipv4Addr::new(100, 64, 0, 0), 10, Class::Private("a carrier's private address")),
    (Ipv4Addr::new(169, 254, 0, 0), 16, LINK_LOCAL),
    (Ipv4Addr::new(192, 0, 0, 0), 24, Class::Never("an address for protocols")),
    (Ipv4Addr::new(192, 0, 2, 0), 24, Class::Private("an address for documentation")),
    (Ipv4Addr::new(198, 51, 100, 0), 24, Class::Private("an address for documentation")),
    (Ipv4Addr::new(203, 0, 113, 0), 24, Class::Private("an address for documentation")),
    (Ipv4Addr::new(198, 18, 0, 0), 15, Class::Private("an address for benchmarks")),
    (Ipv4Addr::new(224, 0, 0, 0), 4, Class::Never("a multicast address")),
    (Ipv4Addr::new(255, 255, 255, 255), 32, Class::Never("the broadcast address")),
    (Ipv4Addr::new(240, 0, 0, 0), 4, Class::Never("a reserved address")),
];

/// Blocks of IPv6 that embed no IPv4 address, the first that fits decides. Metadata services: Amazon's (fd00:ec2::/32
/// holds those of EKS too), Google's, Oracle's, Scaleway's; fe80::a9fe:a9fe is link-local.
const BLOCKS_V6: &[(Ipv6Addr, u32, Class)] = &[
    (Ipv6Addr::UNSPECIFIED, 128, Class::Never("an unspecified address")),
    (Ipv6Addr::LOCALHOST, 128, Class::Private("a loopback address")),
    (Ipv6Addr::new(0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0), 32, METADATA),
    (Ipv6Addr::new(0xfd20, 0x00ce, 0, 0, 0, 0, 0, 0x254), 128, METADATA),
    (Ipv6Addr::new(0xfd00, 0x00c1, 0, 0, 0, 0, 0xa9fe, 0xa9fe), 128, METADATA),
    (Ipv6Addr::new(0xfd00, 0x0042, 0, 0, 0, 0, 0, 0x42), 128, METADATA),
    (Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10, LINK_LOCAL),
    (Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0), 8, Class::Never("a multicast address")),
    (Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0), 7, Class::Private("a unique-local address")),
    (Ipv6Addr::new(0xfec0, 0, 0, 0, 0, 0, 0, 0), 10, Class::Private("a site-local address")),
    (Ipv6Addr::new(0x2001, 0x0db8, 0, 0, 0, 0, 0, 0), 32, Class::Private("an address for documentation")),
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20, Class::Private("an address for documentation")),
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23, Class::Never("an address for protocols")),
    (Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3, Class::Public),
    (Ipv6Addr::UNSPECIFIED, 0, Class::Never("a reserved address")),
];

/// Whether a connection to this address may be made.
///
/// # Errors
/// What kind of address it is, in our own words.
pub(super) fn address(ip: IpAddr, reach: Reach) -> Result<(), &'static str> {
    match (class(ip), reach) {
        (Class::Public, _) | (Class::Private(_), Reach::Private) => Ok(()),
        (Class::Private(what), Reach::Public) | (Class::Never(what), _) => Err(what),
    }
}

fn class(ip: IpAddr) -> Class {
    match ip {
        IpAddr::V4(v4) => class_v4(v4),
        IpAddr::V6(v6) => embedded(v6).map_or_else(|| class_v6(v6), class_v4),
    }
}

fn class_v4(ip: Ipv4Addr) -> Class {
    if METADATA_V4.contains(&ip) {
        return METADATA;
    }
    let holds = |block: Ipv4Addr, length: u32| (ip.to_bits() ^ block.to_bits()).leading_zeros() >= length;
    BLOCKS_V4.iter().find(|(block, length, _)| holds(*block, *length)).map_or(Class::Public, |(_, _, class)| *class)
}

fn class_v6(ip: Ipv6Addr) -> Class {
    let holds = |block: Ipv6Addr, length: u32| (ip.to_bits() ^ block.to_bits()).leading_zeros() >= length;
    let found = BLOCKS_V6.iter().find(|(block, length, _)| holds(*block, *length));
    found.map_or(Class::Never("a reserved address"), |(_, _, class)| *class)
}

/// The IPv4 address that a translator, a tunnel or the kernel makes of an IPv6 address: mapped and compatible (RFC 4291),
/// NAT64 (RFC 6052, RFC 8215), 6to4 (RFC 3056).
fn embedded(ip: Ipv6Addr) -> Option<Ipv4Addr> {
    let last = |[.., a, b, c, d]: [u8; 16]| Ipv4Addr::new(a, b, c, d);
    match ip.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => None,
        [0, 0, 0, 0, 0, 0xffff | 0, _, _]
        | [0, 0, 0, 0, 0xffff, 0, _, _]
        | [0x64, 0xff9b, 0, 0, 0, 0, _, _]
        | [0x64, 0xff9b, 1, ..] => Some(last(ip.octets())),
        [0x2002, high, low, ..] => Some(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low))),
        _ => None,
    }
}

/// A host as the resolver and TLS want it: without the brackets that an IPv6 address has in a URL.
pub(super) fn bare(host: &str) -> &str {
    host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host)
}

/// Whether a host is an address and no name; in the shapes that getaddrinfo reads as one too (`127.1`, `0x7f000001`,
/// `2130706433`): their last label is a number, which no name's is.
pub(super) fn is_literal(host: &str) -> bool {
    let host = bare(host);
    if host.contains(':') || host.parse::<IpAddr>().is_ok() {
        return true;
    }
    let last = host.trim_end_matches('.').rsplit('.').next().unwrap_or("");
    let hex = last.strip_prefix("0x").or_else(|| last.strip_prefix("0X"));
    match hex {
        Some(digits) => digits.bytes().all(|b| b.is_ascii_hexdigit()),
        None => !last.is_empty() && last.bytes().all(|b| b.is_ascii_digit()),
    }
}

/// A URL that somebody else wrote (a realm, a redirect's target): absolute, http or https, with a host, without a user.
/// Whether the host may be contacted is another question.
///
/// # Errors
/// What is wrong with it, in our own words.
pub(super) fn url(text: &str) -> Result<Uri, &'static str> {
    let Ok(uri) = text.parse::<Uri>() else { return Err("it is not a URL") };
    if !matches!(uri.scheme_str(), Some("http" | "https")) {
        return Err("it is no http or https URL");
    }
    match uri.authority() {
        Some(authority) if authority.as_str().contains('@') => Err("it has a user in it"),
        Some(authority) if !is_host(authority.host()) => Err("it has no host"),
        Some(authority) if authority.as_str().len() > authority.host().len() && authority.port_u16().is_none() => {
            Err("its port is none")
        }
        Some(_) => Ok(uri),
        None => Err("it has no host"),
    }
}

fn is_host(host: &str) -> bool {
    let inner = bare(host);
    let address = inner.len() < host.len();
    let named = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
    if address { inner.parse::<Ipv6Addr>().is_ok() } else { !inner.is_empty() && inner.bytes().all(named) }
}

#[cfg(test)]
mod tests {
    use super::{Reach, address, bare, is_literal, url};

    const PUBLIC: &[&str] = &[
        "8.8.8.8",
        "1.1.1.1",
        "9.255.255.255",
        "11.0.0.0",
        "100.63.255.255",
        "100.128.0.0",
        "126.255.255.255",
        "128.0.0.0",
        "168.63.129.15",
        "169.253.255.255",
        "169.255.0.0",
        "172.15.255.255",
        "172.32.0.0",
        "192.0.1.0",
        "192.167.255.255",
        "192.169.0.0",
        "198.17.255.255",
        "198.20.0.0",
        "223.255.255.255",
        "2606:4700::1111",
        "2001:4860:4860::8888",
        "2001:200::1",
        "::ffff:8.8.8.8",
        "64:ff9b::8.8.8.8",
        "64:ff9b:1::8.8.8.8",
        "2002:808:808::1",
    ];

    const PRIVATE: &[(&str, &str)] = &[
        ("127.0.0.1", "loopback"),
        ("127.255.255.255", "loopback"),
        ("10.0.0.0", "private"),
        ("10.255.255.255", "private"),
        ("172.16.0.0", "private"),
        ("172.31.255.255", "private"),
        ("192.168.0.0", "private"),
        ("192.168.255.255", "private"),
        ("100.64.0.0", "carrier"),
        ("100.127.255.255", "carrier"),
        ("192.0.2.1", "documentation"),
        ("198.51.100.1", "documentation"),
        ("203.0.113.1", "documentation"),
        ("198.18.0.1", "benchmarks"),
        ("198.19.255.255", "benchmarks"),
        ("::1", "loopback"),
        ("fc00::1", "unique-local"),
        ("fd12:3456::1", "unique-local"),
        ("fec0::1", "site-local"),
        ("2001:db8::1", "documentation"),
        ("3fff::1", "documentation"),
        ("::ffff:127.0.0.1", "loopback"),
        ("::ffff:10.1.2.3", "private"),
        ("::10.1.2.3", "private"),
        ("::ffff:0:192.168.1.1", "private"),
        ("64:ff9b::192.168.1.1", "private"),
        ("64:ff9b:1::172.16.0.1", "private"),
        ("2002:a00:1::1", "private"),
        ("2002:7f00:1::", "loopback"),
    ];

    const NEVER: &[(&str, &str)] = &[
        ("0.0.0.0", "unspecified"),
        ("0.1.2.3", "unspecified"),
        ("169.254.0.0", "link-local"),
        ("169.254.169.254", "link-local"),
        ("169.254.170.2", "link-local"),
        ("169.254.255.255", "link-local"),
        ("100.100.100.200", "metadata"),
        ("168.63.129.16", "metadata"),
        ("192.0.0.192", "metadata"),
        ("192.0.0.1", "protocols"),
        ("224.0.0.1", "multicast"),
        ("239.255.255.255", "multicast"),
        ("240.0.0.1", "reserved"),
        ("255.255.255.254", "reserved"),
        ("255.255.255.255", "broadcast"),
        ("::", "unspecified"),
        ("fe80::1", "link-local"),
        ("fe80::a9fe:a9fe", "link-local"),
        ("febf::1", "link-local"),
        ("fd00:ec2::254", "metadata"),
        ("fd00:ec2::23", "metadata"),
        ("fd20:ce::254", "metadata"),
        ("fd00:c1::a9fe:a9fe", "metadata"),
        ("fd00:42::42", "metadata"),
        ("ff02::1", "multicast"),
        ("100::1", "reserved"),
        ("4000::1", "reserved"),
        ("2001::1", "protocols"),
        ("::ffff:169.254.169.254", "link-local"),
        ("::ffff:100.100.100.200", "metadata"),
        ("::ffff:0.0.0.0", "unspecified"),
        ("::169.254.169.254", "link-local"),
        ("::ffff:0:169.254.169.254", "link-local"),
        ("64:ff9b::169.254.169.254", "link-local"),
        ("64:ff9b:1::a9fe:a9fe", "link-local"),
        ("64:ff9b::192.0.0.192", "metadata"),
        ("2002:a9fe:a9fe::1", "link-local"),
        ("2002:e000:1::", "multicast"),
    ];

    #[test]
    fn public_addresses_are_for_everyone() {
        for ip in PUBLIC {
            for reach in [Reach::Public, Reach::Private] {
                assert_eq!(address(ip.parse().unwrap(), reach), Ok(()), "{ip}");
            }
        }
    }

    #[test]
    fn private_addresses_are_for_hosts_listed_as_private() {
        for (ip, what) in PRIVATE {
            let refused = address(ip.parse().unwrap(), Reach::Public).unwrap_err();
            assert!(refused.contains(what), "{ip}: {refused}");
            assert_eq!(address(ip.parse().unwrap(), Reach::Private), Ok(()), "{ip}");
        }
    }

    #[test]
    fn some_addresses_are_for_nobody() {
        for (ip, what) in NEVER {
            for reach in [Reach::Public, Reach::Private] {
                let refused = address(ip.parse().unwrap(), reach).unwrap_err();
                assert!(refused.contains(what), "{ip}: {refused}");
            }
        }
    }

    #[test]
    fn a_literal_is_known_in_every_shape_that_resolvers_read() {
        for host in
            ["127.0.0.1", "[::1]", "::1", "127.1", "2130706433", "0x7f000001", "0x7f.0.0.0x1", "1.2.3.4.", "0X0"]
        {
            assert!(is_literal(host), "{host}");
        }
        for host in ["example.com", "registry", "1.2.3.4.example.com", "0x7f.com", "a1", "1e100.net", "e100.net."] {
            assert!(!is_literal(host), "{host}");
        }
        assert_eq!((bare("[::1]"), bare("a.example"), bare("[")), ("::1", "a.example", "["));
    }

    #[test]
    fn a_foreign_url_is_http_with_a_host_and_no_user() {
        let good =
            ["https://a.example.com/token?x=y", "http://a.example.com:5000", "https://[::1]:443/", "https://1.2.3.4/"];
        for text in good {
            assert!(url(text).is_ok(), "{text}");
        }
        let bad = [
            ("file:///etc/passwd", "URL"),
            ("file://host/etc/passwd", "http"),
            ("gopher://a.example.com/", "http"),
            ("/token", "http"),
            ("a.example.com", "http"),
            ("https://user@a.example.com/", "user"),
            ("https://user:password@a.example.com/", "user"),
            ("https://a.example.com@evil.example/", "user"),
            ("https:///path", "URL"),
            ("https://a.example.com:/", "port"),
            ("https://a.example.com:99999/", "port"),
            ("https://a.ex%61mple.com/", "URL"),
            ("https://a!b/", "host"),
            ("https://[fe80::1%25eth0]/", "host"),
            ("https://a b/", "URL"),
            ("", "URL"),
        ];
        for (text, what) in bad {
            let refused = url(text).map(|uri| uri.to_string());
            assert!(refused.as_ref().is_err_and(|why| why.contains(what)), "{text}: {refused:?}");
        }
    }
}
