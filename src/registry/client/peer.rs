//! Whom a request goes to, whether it may, and what may be said of it.

use std::fmt;

use http::Uri;
use http::uri::Authority;

use super::super::egress::{self, Reach};
use super::super::failure::{Failure, FailureKind};
use super::super::settings::{RegistrySettings, Settings};
use super::Errand;

/// Where Docker Hub is asked; policies know it as `docker.io`.
const DOCKER_HUB: (&str, &str) = ("docker.io", "registry-1.docker.io");

/// Scheme, host and port: what connections are kept by, and what credentials do not leave.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Origin {
    pub scheme: Scheme,
    /// Lower case; an IPv6 address without brackets.
    pub host: String,
    pub port: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Scheme {
    Http,
    Https,
}

impl Scheme {
    pub const fn port(self) -> u16 {
        match self {
            Scheme::Http => 80,
            Scheme::Https => 443,
        }
    }
}

impl Origin {
    /// Of a URL that [`egress::url`] let through; none for any other.
    pub fn of(uri: &Uri) -> Option<Self> {
        let scheme = match uri.scheme_str()? {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            _ => return None,
        };
        let host = egress::bare(uri.host()?).to_ascii_lowercase();
        Some(Origin { scheme, host, port: uri.port_u16().unwrap_or(scheme.port()) })
    }

    /// As the Host header has it: the port only where it is not the scheme's.
    pub fn authority(&self) -> String {
        let host = self.host_in_url();
        if self.port == self.scheme.port() { host } else { format!("{host}:{}", self.port) }
    }

    /// As CONNECT wants it.
    pub fn host_and_port(&self) -> String {
        format!("{}:{}", self.host_in_url(), self.port)
    }

    fn host_in_url(&self) -> String {
        if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() }
    }
}

/// A host as configurations name it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Listed {
    host: String,
    /// None: the scheme's own.
    port: Option<u16>,
}

impl Listed {
    fn new(text: &str) -> Option<Self> {
        let authority: Authority = text.parse().ok()?;
        Some(Listed { host: egress::bare(authority.host()).to_ascii_lowercase(), port: authority.port_u16() })
    }

    fn is(&self, origin: &Origin) -> bool {
        self.host == origin.host && self.port.unwrap_or(origin.scheme.port()) == origin.port
    }
}

/// The one registry that a client is for.
#[derive(Clone, Debug)]
pub(super) struct Home {
    /// How texts name it.
    pub name: String,
    asked: Listed,
    plain: PlainHttp,
    reach: Reach,
    /// Token servers that the configuration names.
    realms: Vec<Listed>,
    /// Other registries listed as private: storage that a private registry redirects to.
    neighbours: Vec<Listed>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PlainHttp {
    Refused,
    /// `insecure: true`.
    Fine,
}

impl Home {
    /// # Errors
    /// One sentence: the host or the endpoint is none.
    pub fn new(host: &str, registry: Option<&RegistrySettings>, settings: &Settings) -> Result<Self, String> {
        let endpoint = registry.and_then(|registry| registry.endpoint.as_deref());
        let (name, asked) = match endpoint {
            Some(endpoint) => {
                let wrong = |why| format!("the endpoint of {host} cannot be used: {why}");
                let uri = egress::url(endpoint).map_err(wrong)?;
                let origin = Origin::of(&uri).ok_or_else(|| wrong("it is not a URL"))?;
                let asked = Listed { port: Some(origin.port), host: origin.host.clone() };
                (format!("{} (endpoint of {host})", origin.authority()), asked)
            }
            None => {
                let asked = if host == DOCKER_HUB.0 { DOCKER_HUB.1 } else { host };
                (host.to_owned(), Listed::new(asked).ok_or_else(|| format!("{host} is not a host"))?)
            }
        };
        let private = |registry: &&RegistrySettings| registry.private;
        Ok(Home {
            name,
            asked,
            plain: registry.filter(|registry| registry.insecure).map_or(PlainHttp::Refused, |_| PlainHttp::Fine),
            reach: registry.filter(private).map_or(Reach::Public, |_| Reach::Private),
            realms: registry.iter().flat_map(|registry| &registry.realm_hosts).filter_map(|h| Listed::new(h)).collect(),
            neighbours: settings.registries.iter().filter(private).filter_map(|r| Listed::new(&r.host)).collect(),
        })
    }

    pub fn is(&self, origin: &Origin) -> bool {
        self.asked.is(origin)
    }

    /// Whom a request goes to at first.
    ///
    /// # Errors
    /// Unreachable: nobody may be asked so.
    pub fn first(&self, uri: &Uri, errand: Errand) -> Result<Peer, Failure> {
        let peer = self.peer(uri, errand)?;
        let realm = errand == Errand::Realm;
        if peer.standing == Standing::Elsewhere && !realm {
            return Err(peer.failure(FailureKind::Unreachable, "is not the registry's own host, and was not asked"));
        }
        Ok(peer)
    }

    /// Whom a URL leads to, once its form is fine and the rules for hosts let it through. Addresses are checked later.
    ///
    /// # Errors
    /// Protocol for a URL that nobody may be sent to; Unreachable for our own settings.
    pub fn peer(&self, uri: &Uri, errand: Errand) -> Result<Peer, Failure> {
        let stranger = || Peer {
            origin: Origin { scheme: Scheme::Https, host: String::new(), port: 0 },
            reach: Reach::Public,
            standing: Standing::Elsewhere,
            name: self.elsewhere(errand),
        };
        let written = uri.to_string();
        let origin = egress::url(&written).map(|uri| Origin::of(&uri));
        let origin = match origin {
            Ok(Some(origin)) => origin,
            Ok(None) => return Err(stranger().failure(FailureKind::Protocol, "has a URL that is none")),
            Err(why) => {
                let what = format!("has a URL that is refused: {why}");
                return Err(stranger().failure(FailureKind::Protocol, &what).saying(written.as_bytes()));
            }
        };
        let (standing, reach, name) = if self.asked.is(&origin) {
            (Standing::Home, self.reach, self.name.clone())
        } else {
            let listed = self.realms.iter().chain(&self.neighbours).any(|listed| listed.is(&origin));
            (Standing::Elsewhere, if listed { self.reach } else { Reach::Public }, self.elsewhere(errand))
        };
        let peer = Peer { origin, reach, standing, name };
        if peer.origin.scheme == Scheme::Http && (standing, self.plain) != (Standing::Home, PlainHttp::Fine) {
            return Err(match standing {
                Standing::Home => {
                    peer.failure(FailureKind::Unreachable, "is asked by plain HTTP only where it has 'insecure: true'")
                }
                Standing::Elsewhere => peer.failure(FailureKind::Protocol, "is not https, and was not asked"),
            });
        }
        let listed = || self.realms.iter().any(|realm| realm.is(&peer.origin));
        if standing == Standing::Elsewhere && egress::is_literal(&peer.origin.host) && !listed() {
            return Err(peer.failure(FailureKind::Protocol, "is an address without a name, and was not asked"));
        }
        Ok(peer)
    }

    fn elsewhere(&self, errand: Errand) -> String {
        match errand {
            Errand::Realm => format!("the token server of {}", self.name),
            Errand::Registry | Errand::Blob => format!("a host that {} redirects to", self.name),
        }
    }
}

/// Whether a host is the registry's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// The registry's, or its endpoint's.
    Home,
    /// A token server's or a redirect's target: the remote server chose it, so texts do not name it.
    Elsewhere,
}

/// Whom a request goes to.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    pub origin: Origin,
    /// The addresses that it may have.
    pub reach: Reach,
    pub standing: Standing,
    name: String,
}

impl Peer {
    /// A failure of this peer, in our words. The log learns a host that we do not name.
    pub fn failure(&self, kind: FailureKind, what: &str) -> Failure {
        let failure = Failure::new(kind, format!("{} {what}", self.name));
        self.stamped(failure)
    }

    /// The same with what somebody else said, for the log.
    pub fn quoting(&self, kind: FailureKind, what: &str, said: &dyn fmt::Display) -> Failure {
        let failure = Failure::new(kind, format!("{} {what}", self.name));
        match self.standing {
            Standing::Home => failure.saying(said.to_string().as_bytes()),
            Standing::Elsewhere => failure.saying(format!("{}: {said}", self.origin.authority()).as_bytes()),
        }
    }

    fn stamped(&self, failure: Failure) -> Failure {
        match self.standing {
            Standing::Home => failure,
            Standing::Elsewhere if self.origin.host.is_empty() => failure,
            Standing::Elsewhere => failure.saying(self.origin.authority().as_bytes()),
        }
    }
}
