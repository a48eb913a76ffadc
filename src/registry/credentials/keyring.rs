//! Keyrings: the logins of a docker configuration, looked up by image.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::fmt;
use std::sync::Arc;

use super::docker_config::Auth;
use super::identity::Identity;
use super::{Login, LoginKind};

/// Logins at most for one image. More would let whoever writes a pull secret search a registry's passwords through us.
const LOGINS: usize = 8;

/// Whose secrets a keyring holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// A Pod, or its service account: what it learns is told to nobody else.
    Pod,
    /// Whoever configured us.
    Configured,
}

/// The logins of one docker configuration. Clones share them.
#[derive(Clone)]
pub struct Keyring {
    inner: Arc<Inner>,
}

struct Inner {
    origin: String,
    owner: Owner,
    /// In the order in which they are tried.
    auths: Vec<(Auth, Identity)>,
}

impl Keyring {
    pub(super) fn new(origin: &str, owner: Owner, mut auths: Vec<Auth>) -> Self {
        // Stable, so that of equal keys the earlier stays the earlier.
        auths.sort_by_cached_key(|auth| Reverse(auth.pattern.order()));
        let auths = auths.into_iter().map(|auth| {
            let identity = Identity::of(&auth.kind);
            (auth, identity)
        });
        Keyring { inner: Arc::new(Inner { origin: origin.to_owned(), owner, auths: auths.collect() }) }
    }

    /// What may be tried for `repository` at the canonical `host`, the most specific entry first; at most eight, equal
    /// secrets once. Anonymous is not among them.
    #[must_use]
    pub fn logins(&self, host: &str, repository: &str) -> Vec<Login> {
        Self::logins_of([self], host, repository)
    }

    /// The same for several, as if all their entries stood in one.
    pub(super) fn logins_of<'a>(
        keyrings: impl IntoIterator<Item = &'a Keyring>,
        host: &str,
        repository: &str,
    ) -> Vec<Login> {
        let all = keyrings.into_iter().flat_map(|keyring| keyring.inner.auths.iter().map(move |auth| (keyring, auth)));
        let mut matching: Vec<_> = all.filter(|(_, (auth, _))| auth.pattern.matches(host, repository)).collect();
        matching.sort_by_cached_key(|(_, (auth, _))| Reverse(auth.pattern.order()));
        let mut logins: Vec<Login> = Vec::new();
        for (keyring, (auth, identity)) in matching {
            if logins.len() < LOGINS && logins.iter().all(|login| login.identity != *identity) {
                logins.push(keyring.inner.login(auth.kind.clone(), *identity));
            }
        }
        logins
    }

    /// Whether it holds no login at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.inner.auths.is_empty()
    }
}

impl Inner {
    fn login(&self, kind: LoginKind, identity: Identity) -> Login {
        Login { kind, identity, origin: Cow::Owned(self.origin.clone()), public: self.owner == Owner::Configured }
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hosts: Vec<_> = self.inner.auths.iter().map(|(auth, _)| auth.pattern.authority()).collect();
        f.debug_struct("Keyring").field("origin", &self.inner.origin).field("hosts", &hosts).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::super::docker_config::{SecretKind, parse};
    use super::super::{Login, LoginKind};
    use super::{Keyring, LOGINS, Owner};

    fn keyring(json: &str) -> Keyring {
        Keyring::new("here", Owner::Configured, parse(SecretKind::DockerCfg, json.as_bytes()).unwrap().auths)
    }

    fn user(kind: &LoginKind) -> &str {
        match kind {
            LoginKind::Password { username, .. } => username,
            _ => "another kind",
        }
    }

    fn users(logins: &[Login]) -> Vec<&str> {
        logins.iter().map(|login| user(&login.kind)).collect()
    }

    #[test]
    fn all_matches_are_given_in_order() {
        let keyring = keyring(
            r#"{"*.example.com": {"username": "glob"}, "registry.example.com": {"username": "host"},
                "registry.example.com/acme": {"username": "path"}, "other.example.com": {"username": "other"}}"#,
        );
        assert_eq!(users(&keyring.logins("registry.example.com", "acme/api")), ["path", "host", "glob"]);
        assert_eq!(users(&keyring.logins("registry.example.com", "acmeevil")), ["host", "glob"]);
        assert!(keyring.logins("example.com", "acme").is_empty());
        assert!(keyring.logins("other.example.com", "x").iter().all(|login| login.public));
    }

    #[test]
    fn nobody_tries_passwords_by_the_hundred() {
        let entries: Vec<_> =
            (0..100).map(|n| format!(r#""r.io/a{}": {{"username": "{n}"}}"#, "/a".repeat(n))).collect();
        let keyring = keyring(&format!("{{{}}}", entries.join(",")));
        let logins = keyring.logins("r.io", &format!("a{}", "/a".repeat(200)));
        assert_eq!(logins.len(), LOGINS);
        assert_eq!(users(&logins)[0], "99", "the most specific ones");
    }
}
