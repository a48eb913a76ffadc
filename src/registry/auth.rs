//! Challenges and tokens: what a registry asks for, and from whom a token may be had.
//!
//! The protocol is docker's token authentication (distribution, `docs/spec/auth`), and RFC 7617 for Basic.

mod challenge;
mod token;

#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::header::AUTHORIZATION;
use http::uri::Scheme;
use http::{HeaderMap, HeaderValue, Uri};
use moka::future::Cache;
use moka::ops::compute::Op;
use tokio::time::{Instant, timeout_at};

use self::challenge::{Challenge, Malformed, challenges};
use self::token::{Lifetimes, Token};
use super::client::Client;
use super::credentials::{Identity, Login, LoginKind};
use super::failure::{Failure, FailureKind};
use super::remote::site::{DOCKER_HUB, Site, port};
use super::settings::{RegistrySettings, Settings};

/// Bytes of tokens that are kept for one registry; a token has one or two KiB.
const TOKEN_BYTES: u64 = 8 << 20;

/// What a token is weighed as besides its own bytes: its key and the cache's own.
const TOKEN_OVERHEAD: usize = 512;

/// Bytes that a realm's address and a service's name may have.
const PARAMETER_BYTES: usize = 2 << 10;

/// Token servers that get the credentials of a registry without being configured: of Docker Hub alone.
const BUILT_IN: [(&str, &str); 1] = [(DOCKER_HUB, "auth.docker.io")];

/// What is known of how to log in to one registry.
pub(super) struct Auth {
    site: Site,
    realm_hosts: Vec<String>,
    /// What the registry asked for last; none, while it asked for nothing.
    offer: Mutex<Option<Arc<Offer>>>,
    tokens: Cache<Key, Token>,
    /// How long a token request may take, whoever waits for it.
    flight: Duration,
}

/// What a registry asks for.
#[derive(Debug, PartialEq, Eq)]
struct Offer {
    bearer: Option<Realm>,
    basic: Basic,
}

/// Whether a registry takes user and password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Basic {
    Taken,
    NotOffered,
}

/// From where tokens come.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Realm {
    uri: Uri,
    service: Option<String>,
    trust: Trust,
}

/// Whether a realm may get credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Trust {
    /// It is the registry's own host, a built-in or a configured one.
    Credentials,
    /// It is another host: it may be asked anonymously.
    Nothing,
}

/// Whose token, for what.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    identity: Identity,
    scope: String,
    realm: Realm,
}

/// What goes with a request to prove who asks.
#[derive(Debug)]
pub(super) struct Proof {
    header: Option<HeaderValue>,
    token: Option<(Key, Token)>,
    /// Where it comes from.
    pub origin: Origin,
}

/// Where a proof comes from; decides whether another one is worth a try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// There is none: the registry asked for nothing so far.
    Absent,
    /// It is user and password.
    Basic,
    /// It is a token that the login itself is, and there is no other.
    Only,
    /// A token that was kept, and may be out of date.
    Kept,
    /// A token that was made for this request.
    Fresh,
}

/// Whether a refusal told something new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Learned {
    /// The registry asks for something else than before.
    New,
    /// The registry asks for what was known.
    Known,
}

impl Proof {
    /// Puts it among the headers of a request.
    pub fn set(&self, headers: &mut HeaderMap) {
        if let Some(value) = &self.header {
            headers.insert(AUTHORIZATION, value.clone());
        }
    }

    fn of(header: HeaderValue, origin: Origin) -> Self {
        Proof { header: Some(header), token: None, origin }
    }
}

impl Auth {
    /// For a registry of which nothing is known yet.
    pub fn new(site: Site, registry: Option<&RegistrySettings>, settings: &Settings) -> Self {
        let weigh = |_: &Key, token: &Token| u32::try_from(token.bytes() + TOKEN_OVERHEAD).unwrap_or(u32::MAX);
        Auth {
            site,
            realm_hosts: registry.map(|registry| registry.realm_hosts.clone()).unwrap_or_default(),
            offer: Mutex::default(),
            tokens: Cache::builder().max_capacity(TOKEN_BYTES).weigher(weigh).expire_after(Lifetimes).build(),
            flight: settings.connect + settings.request,
        }
    }

    /// What proves to the registry that `login` asks to pull from `repository`. A token is fetched if none is kept; all who
    /// want the same one wait for one request, which ends when it ends and not with the first to give up.
    ///
    /// # Errors
    /// Unauthorized, where the login has nothing that the registry takes; any class from the token server.
    pub async fn prove(
        &self,
        client: &Client,
        repository: &str,
        login: &Login,
        deadline: Instant,
    ) -> Result<Proof, Failure> {
        if let LoginKind::RegistryToken(token) = &login.kind {
            return token::bearer(token).map(|header| Proof::of(header, Origin::Only));
        }
        let Some(offer) = self.offer() else {
            return Ok(Proof { header: None, token: None, origin: Origin::Absent });
        };
        match &offer.bearer {
            Some(realm) if realm.trust == Trust::Credentials || matches!(login.kind, LoginKind::Anonymous) => {
                self.token(client, realm, repository, login, deadline).await
            }
            other => match (&login.kind, offer.basic) {
                (LoginKind::Password { username, password }, Basic::Taken) => {
                    token::basic(username, password).map(|header| Proof::of(header, Origin::Basic))
                }
                _ => Err(unmet(other.as_ref())),
            },
        }
    }

    /// Takes in what a refusal asks for.
    ///
    /// # Errors
    /// Unauthorized: it asks for nothing that we can do. Protocol: what it asks for cannot be read, or must not be done.
    pub fn learn(&self, headers: &HeaderMap) -> Result<Learned, Failure> {
        let read = challenges(headers).map_err(|Malformed| {
            let what = "the registry refuses us (401) with a challenge that cannot be read";
            Failure::new(FailureKind::Protocol, what)
        })?;
        let offer = Arc::new(self.weigh(&read)?);
        let mut known = self.offer.lock().unwrap_or_else(PoisonError::into_inner);
        if known.as_ref() == Some(&offer) {
            return Ok(Learned::Known);
        }
        *known = Some(offer);
        Ok(Learned::New)
    }

    /// Forgets the token of a proof that was refused, unless another one has taken its place.
    pub async fn forget(&self, proof: &Proof) {
        let Some((key, token)) = &proof.token else { return };
        let remove = |entry: Option<moka::Entry<Key, Token>>| {
            let same = entry.is_some_and(|entry| entry.value().is(token));
            std::future::ready(if same { Op::Remove } else { Op::Nop })
        };
        self.tokens.entry_by_ref(key).and_compute_with(remove).await;
    }

    fn offer(&self) -> Option<Arc<Offer>> {
        self.offer.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The best of the challenges: the first Bearer whose realm will do, and Basic beside it.
    fn weigh(&self, challenges: &[Challenge]) -> Result<Offer, Failure> {
        let taken = challenges.iter().any(|challenge| challenge.scheme == "basic");
        let basic = if taken { Basic::Taken } else { Basic::NotOffered };
        let mut refused = None;
        for challenge in challenges.iter().filter(|challenge| challenge.scheme == "bearer") {
            match self.realm(challenge) {
                Ok(realm) => return Ok(Offer { bearer: Some(realm), basic }),
                Err(why) => refused = refused.or(Some(why)),
            }
        }
        match (basic, refused) {
            (Basic::Taken, _) => Ok(Offer { bearer: None, basic }),
            (Basic::NotOffered, Some(why)) => Err(why),
            (Basic::NotOffered, None) => {
                let what = "the registry refuses us (401) and asks for no proof that we can give";
                Err(Failure::new(FailureKind::Unauthorized, what))
            }
        }
    }

    /// Where a challenge sends us, if we go there.
    fn realm(&self, challenge: &Challenge) -> Result<Realm, Failure> {
        let refuse = |what: &str| {
            let failure = Failure::new(FailureKind::Protocol, format!("the registry names a token server {what}"));
            failure.saying(challenge.get("realm").unwrap_or_default().as_bytes())
        };
        let text = challenge.get("realm").unwrap_or_default();
        let service = challenge.get("service").filter(|service| !service.is_empty());
        if text.len() > PARAMETER_BYTES || service.is_some_and(|service| service.len() > PARAMETER_BYTES) {
            return Err(refuse("with a name that is too long"));
        }
        let uri: Uri = text.parse().map_err(|_| refuse("without a usable address"))?;
        let (Some(scheme), Some(authority), Some(port)) = (uri.scheme(), uri.authority(), port(&uri)) else {
            return Err(refuse("without a usable address"));
        };
        if authority.as_str().contains('@') || text.contains('#') || port == 0 || authority.host().is_empty() {
            return Err(refuse("without a usable address"));
        }
        let own = self.own();
        let same_host = own.as_ref().is_some_and(|(host, _)| authority.host().eq_ignore_ascii_case(host));
        let same_port = own.as_ref().is_some_and(|(_, own)| *own == port);
        let plain = *scheme == Scheme::HTTP && self.site.scheme == Scheme::HTTP && same_host && same_port;
        if *scheme != Scheme::HTTPS && !plain {
            return Err(refuse("that is not asked by https"));
        }
        let trusted = same_host || self.is_named(authority.host(), port);
        let trust = if trusted { Trust::Credentials } else { Trust::Nothing };
        let service = service.map(str::to_owned);
        Ok(Realm { uri, service, trust })
    }

    /// Host and port of the registry that is asked.
    fn own(&self) -> Option<(String, u16)> {
        let uri = self.site.uri("/", "").ok()?;
        Some((uri.host()?.to_owned(), port(&uri)?))
    }

    /// Whether a token server is built in or configured for this registry.
    fn is_named(&self, host: &str, port: u16) -> bool {
        let name =
            if port == 443 { host.to_ascii_lowercase() } else { format!("{}:{port}", host.to_ascii_lowercase()) };
        let built_in = BUILT_IN.iter().any(|(registry, realm)| *registry == self.site.host && *realm == name);
        built_in || self.realm_hosts.iter().any(|listed| listed.strip_suffix(":443").unwrap_or(listed) == name)
    }

    async fn token(
        &self,
        client: &Client,
        realm: &Realm,
        repository: &str,
        login: &Login,
        deadline: Instant,
    ) -> Result<Proof, Failure> {
        let scope = format!("repository:{}:pull", self.site.repository(repository));
        let key = Key { identity: login.identity, scope, realm: realm.clone() };
        let (token, origin) = match self.tokens.get(&key).await {
            Some(token) => (token, Origin::Kept),
            None => (self.fetch(client, &key, login, deadline).await?, Origin::Fresh),
        };
        Ok(Proof { header: Some(token.header()?), token: Some((key, token)), origin })
    }

    /// One request for all who want this token, in a task of its own: who gives up waiting does not end it for the others.
    async fn fetch(&self, client: &Client, key: &Key, login: &Login, deadline: Instant) -> Result<Token, Failure> {
        let request = token::request(&key.realm.uri, key.realm.service.as_deref(), &key.scope, &login.kind)?;
        let (client, tokens, key, flight) = (client.clone(), self.tokens.clone(), key.clone(), self.flight);
        let task = tokio::spawn(async move {
            let fetch = async move { token::read(client.send(request, Instant::now() + flight).await?) };
            tokens.try_get_with(key, fetch).await
        });
        match timeout_at(deadline, task).await {
            Ok(Ok(Ok(token))) => Ok(token),
            Ok(Ok(Err(failure))) => Err(Failure::clone(&failure)),
            Ok(Err(_)) => Err(Failure::new(FailureKind::Unreachable, "the request for a token was broken off")),
            Err(_) => Err(Failure::new(FailureKind::Timeout, "the registry's token server gave no token in time")),
        }
    }
}

/// The login has nothing for what the registry asks.
fn unmet(realm: Option<&Realm>) -> Failure {
    match realm {
        Some(realm) => {
            let what = "the registry wants its credentials sent to another host; list that host under realmHosts";
            Failure::new(FailureKind::Unauthorized, what).saying(realm.uri.to_string().as_bytes())
        }
        None => Failure::new(FailureKind::Unauthorized, "the registry wants user and password (401)"),
    }
}
