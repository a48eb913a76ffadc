//! Registry hosts: their canonical spelling, and the ones that are traps.

use super::refusal::{Refusal, Refusals};
use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What a host name is, apart from its port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HostKind {
    /// A DNS name.
    Name,
    /// `localhost` or a name under it, which resolvers answer with the loopback address (RFC 6761, section 6.3).
    Localhost,
    /// An address.
    Ip(IpAddr),
    /// Brackets around something that is no IPv6 address.
    BadBracket,
    /// Its last label is a number, so URL parsers read it as an IPv4 address (WHATWG URL, "ends in a number checker"),
    /// and it is not the plain dotted quad.
    Numeric,
}

/// Splits `host:port` into host (brackets kept) and digits of the port.
pub(super) fn split_port(registry: &str) -> (&str, Option<&str>) {
    let after_bracket = registry.find(']').map_or(0, |bracket| bracket + 1);
    match registry[after_bracket..].find(':') {
        Some(colon) => (&registry[..after_bracket + colon], Some(&registry[after_bracket + colon + 1..])),
        None => (registry, None),
    }
}

/// The one spelling that policies match: lower case, no default port, no zeros before a port, `docker.io` for Docker
/// Hub's other names, an IPv6 address as RFC 5952 writes it (one that maps an IPv4 address: that address).
pub(super) fn canonical(registry: &str) -> Cow<'_, str> {
    let (name, port) = split_port(registry);
    let name = canonical_name(name);
    let port = port.map(canonical_port).filter(|port| *port != "443");
    match (&*name, port) {
        ("index.docker.io" | "registry-1.docker.io", None) => Cow::Borrowed("docker.io"),
        (name, Some(port)) if name.len() + 1 + port.len() != registry.len() => Cow::Owned(format!("{name}:{port}")),
        (_, Some(port)) if matches!(name, Cow::Owned(_)) => Cow::Owned(format!("{name}:{port}")),
        (_, Some(_)) => Cow::Borrowed(registry),
        (_, None) => name,
    }
}

fn canonical_name(name: &str) -> Cow<'_, str> {
    if let Some(address) = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        let spelled = match address.parse::<Ipv6Addr>().map(|address| address.to_canonical()) {
            Ok(IpAddr::V6(address)) => format!("[{address}]"),
            Ok(IpAddr::V4(address)) => address.to_string(),
            Err(_) => name.to_ascii_lowercase(),
        };
        return if spelled == name { Cow::Borrowed(name) } else { Cow::Owned(spelled) };
    }
    if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Cow::Owned(name.to_ascii_lowercase());
    }
    Cow::Borrowed(name)
}

/// Without leading zeros, which dialling code ignores: `:0443` is port 443.
fn canonical_port(port: &str) -> &str {
    let significant = port.trim_start_matches('0');
    if significant.is_empty() { "0" } else { significant }
}

/// What a lower-case host without port is.
pub(super) fn kind(name: &str) -> HostKind {
    if let Some(rest) = name.strip_prefix('[') {
        let address = rest.strip_suffix(']').and_then(|address| address.parse().ok());
        return address.map_or(HostKind::BadBracket, |address| HostKind::Ip(IpAddr::V6(address)));
    }
    if let Ok(address) = name.parse::<Ipv4Addr>() {
        return HostKind::Ip(IpAddr::V4(address));
    }
    let last_label = name.rsplit('.').next().unwrap_or(name);
    let hex = last_label.strip_prefix("0x");
    if last_label.bytes().all(|byte| byte.is_ascii_digit())
        || hex.is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
    {
        return HostKind::Numeric;
    }
    if last_label == "localhost" { HostKind::Localhost } else { HostKind::Name }
}

/// Addresses that no setting admits: link-local (where clouds keep their metadata services), the metadata address of
/// AWS over IPv6, multicast, broadcast, "this network"; also where an IPv6 address stands for such an IPv4 address.
pub(super) fn is_forbidden(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            address.is_link_local() || address.is_multicast() || address.is_broadcast() || address.octets()[0] == 0
        }
        IpAddr::V6(address) => {
            address.is_unicast_link_local()
                || address.is_multicast()
                || address.is_unspecified()
                || address == Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)
                || embedded(address).is_some_and(|address| is_forbidden(IpAddr::V4(address)))
        }
    }
}

/// The IPv4 address within a mapped (`::ffff:0:0/96`), compatible (`::/96`) or translated (`64:ff9b::/96`) one.
fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let [a, b, c, d, e, f, high, low] = address.segments();
    let embeds = matches!([a, b, c, d, e, f], [0, 0, 0, 0, 0, 0xffff | 0] | [0x64, 0xff9b, 0, 0, 0, 0]);
    // `::1` is loopback, not an IPv4 address in disguise.
    if !embeds || address.is_loopback() {
        return None;
    }
    let ([o1, o2], [o3, o4]) = (high.to_be_bytes(), low.to_be_bytes());
    Some(Ipv4Addr::new(o1, o2, o3, o4))
}

/// Whether a port is one that can be dialled.
pub(super) fn is_port(digits: &str) -> bool {
    canonical_port(digits).parse::<u16>().is_ok_and(|port| port != 0)
}

/// The refusals that a registry, as written, brings with it; an empty one is the shape EmptyDomain.
pub(super) fn refusals(registry: &str) -> Refusals {
    if registry.is_empty() {
        return Refusals::default().with(Refusal::EmptyDomain);
    }
    let mut refusals = Refusals::default();
    let canonical = canonical(registry);
    if canonical != registry {
        refusals = refusals.with(Refusal::NonCanonicalHost);
    }
    let (name, port) = split_port(&canonical);
    if port.is_some_and(|port| !is_port(port)) {
        refusals = refusals.with(Refusal::PortRange);
    }
    match kind(name) {
        HostKind::Name => refusals,
        HostKind::Localhost => refusals.with(Refusal::Localhost),
        HostKind::Numeric => refusals.with(Refusal::NumericHost),
        HostKind::BadBracket => refusals.with(Refusal::ForbiddenIp),
        HostKind::Ip(address) if is_forbidden(address) => refusals.with(Refusal::ForbiddenIp),
        HostKind::Ip(_) => refusals.with(Refusal::IpHost),
    }
}
