//! Credentials: who we are to a registry, in which order to try, and nothing of them in any log.
//!
//! ```text
//! bytes of a pull secret or a file -> docker_config -> Keyring -> logins(host, repository) -> Vec<Login>
//! a credential helper's answer     ---------------------------------------------------------^
//! ```
//!
//! Buffers that hold secrets are zeroized when they are dropped, as far as they are ours: what JSON needs for unescaping
//! a string with a backslash in it is the parser's, and so is not.

use std::borrow::Cow;
use std::fmt;

use zeroize::Zeroizing;

use crate::policy::printable;

mod caller;
mod configured;
mod docker_config;
mod helper;
mod identity;
mod keyring;
mod matching;

pub use caller::{CallerCredentials, docker_config_of_caller};
pub use configured::Configured;
pub use docker_config::SecretKind;
pub use identity::Identity;
pub use keyring::{Keyring, Owner};

/// Bytes that texts show of a name that somebody else chose.
const NAME_BYTES: usize = 253;

/// One way to log in to a registry.
#[derive(Clone)]
pub struct Login {
    /// How to prove it.
    pub kind: LoginKind,
    /// Distinguishes logins in cache keys; equal for equal secrets, tells nothing about them (a keyed hash).
    pub identity: Identity,
    /// Where it came from, for texts: `pull secret shop/regcred`, `the configured credentials`, `anonymous`.
    pub origin: Cow<'static, str>,
    /// Whether what it learns may be told to others: anonymous or configured, not a Pod's.
    pub public: bool,
}

/// How to prove who we are.
#[derive(Clone)]
pub enum LoginKind {
    /// Not at all.
    Anonymous,
    /// User and password, for Basic or to be traded for a token.
    Password {
        /// The user.
        username: String,
        /// The password.
        password: Zeroizing<String>,
    },
    /// An OAuth2 refresh token (docker's `identitytoken`), to be traded for a token.
    IdentityToken(Zeroizing<String>),
    /// A token that registries take as it is (docker's `registrytoken`): printable ASCII without spaces.
    RegistryToken(Zeroizing<String>),
}

impl Login {
    /// Nobody.
    #[must_use]
    pub fn anonymous() -> Self {
        Login {
            kind: LoginKind::Anonymous,
            identity: Identity::default(),
            origin: Cow::Borrowed("anonymous"),
            public: true,
        }
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").field("origin", &self.origin).finish_non_exhaustive()
    }
}

/// A pull secret of a Pod, read from the cluster and parsed.
#[derive(Clone, Debug)]
pub struct PullSecret {
    /// `pull secret shop/regcred`.
    pub origin: String,
    /// Its entries.
    pub keyring: Keyring,
}

impl PullSecret {
    /// Parses what the API server has under the key of `kind`.
    ///
    /// # Errors
    /// One line that names the secret, its key and every entry that cannot be read, by its host; never a value. As for
    /// the kubelet, one bad entry makes the whole secret unusable.
    pub fn parse(namespace: &str, name: &str, kind: SecretKind, bytes: &[u8]) -> Result<Self, String> {
        let origin = format!("pull secret {}/{}", printable(namespace, NAME_BYTES), printable(name, NAME_BYTES));
        let parsed =
            docker_config::parse(kind, bytes).map_err(|problem| format!("{origin} (key {}) {problem}", kind.key()))?;
        let keyring = Keyring::new(&origin, Owner::Pod, parsed.auths);
        Ok(PullSecret { origin, keyring })
    }

    /// What a Pod with these secrets may try for an image, in the kubelet's order: the most specific entry first,
    /// whichever secret it is in, and of equal ones that of the earlier secret.
    #[must_use]
    pub fn logins(secrets: &[PullSecret], host: &str, repository: &str) -> Vec<Login> {
        Keyring::logins_of(secrets.iter().map(|secret| &secret.keyring), host, repository)
    }
}

#[cfg(test)]
mod tests {
    use super::{Login, LoginKind, PullSecret, SecretKind};

    fn secret(name: &str, json: &str) -> PullSecret {
        PullSecret::parse("shop", name, SecretKind::DockerConfigJson, json.as_bytes()).unwrap()
    }

    fn origins(logins: &[Login]) -> Vec<&str> {
        logins.iter().map(|login| &*login.origin).collect()
    }

    #[test]
    fn the_most_specific_entry_goes_first_whichever_secret_it_is_in() {
        let secrets = [
            secret("a", r#"{"auths": {"registry.example.com": {"username": "u", "password": "1"}}}"#),
            secret("b", r#"{"auths": {"registry.example.com/acme": {"username": "u", "password": "2"}}}"#),
            secret("c", r#"{"auths": {"registry.example.com": {"username": "u", "password": "3"}}}"#),
        ];
        let logins = PullSecret::logins(&secrets, "registry.example.com", "acme/api");
        assert_eq!(origins(&logins), ["pull secret shop/b", "pull secret shop/a", "pull secret shop/c"]);
        assert!(logins.iter().all(|login| !login.public), "what a Pod's secret learns is nobody else's");
        let logins = PullSecret::logins(&secrets, "registry.example.com", "acmeevil/api");
        assert_eq!(origins(&logins), ["pull secret shop/a", "pull secret shop/c"]);
        assert!(PullSecret::logins(&secrets, "registry.example.com.evil.io", "acme/api").is_empty());
    }

    #[test]
    fn a_secret_that_two_secrets_hold_is_tried_once() {
        let json = r#"{"auths": {"registry.example.com": {"username": "u", "password": "1"}}}"#;
        let secrets = [secret("a", json), secret("b", json)];
        let logins = PullSecret::logins(&secrets, "registry.example.com", "api");
        assert_eq!(origins(&logins), ["pull secret shop/a"]);
    }

    #[test]
    fn what_cannot_be_read_is_named_and_no_value_is_printed() {
        let error = |kind, json: &str| PullSecret::parse("shop", "regcred", kind, json.as_bytes()).unwrap_err();
        let cut = error(SecretKind::DockerConfigJson, "{\"auths\":\n {\"r.io\": {\"auth\": \"c2VjcmV0\"");
        assert!(
            cut.starts_with("pull secret shop/regcred (key .dockerconfigjson) is not JSON: line 2, column "),
            "{cut}"
        );
        assert!(!cut.contains("c2VjcmV0"), "{cut}");
        let old = error(SecretKind::DockerCfg, "[1]");
        assert_eq!(old, "pull secret shop/regcred (key .dockercfg) is not a JSON object");
    }

    #[test]
    fn debugging_shows_no_secret() {
        let secret = secret("a", r#"{"auths": {"r.io": {"username": "alice", "password": "hunter2"}}}"#);
        let logins = PullSecret::logins(std::slice::from_ref(&secret), "r.io", "api");
        let shown = format!("{secret:?} {logins:?}");
        assert!(shown.contains("pull secret shop/a"));
        assert!(!shown.contains("hunter2") && !shown.contains("alice"), "{shown}");
    }

    #[test]
    fn anonymous_is_the_default_identity() {
        let login = Login::anonymous();
        assert!(matches!(login.kind, LoginKind::Anonymous) && login.public);
        assert_eq!(login.identity, super::Identity::default());
    }
}
