//! Identities: equal for equal secrets, and nothing that anybody could trace back to them.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher as _, Hasher as _};
use std::sync::LazyLock;

use hmac::{Hmac, Mac as _};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::LoginKind;

/// Tells logins apart without telling what they are; differs from process to process. Nobody's is the default.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Identity(pub u128);

/// The key of this process: a hash of a secret with a known key could be searched for offline.
static KEY: LazyLock<Zeroizing<[u8; 64]>> = LazyLock::new(|| {
    let mut key = Zeroizing::new([0; 64]);
    // The standard library's keys are random too; they stay where the system has no randomness for the generator.
    for part in key.chunks_mut(8) {
        part.copy_from_slice(&RandomState::new().build_hasher().finish().to_ne_bytes());
    }
    let mut better = Zeroizing::new([0; 64]);
    if rustls::crypto::aws_lc_rs::default_provider().secure_random.fill(&mut *better).is_ok() {
        key = better;
    }
    key
});

impl Identity {
    /// Of the secret itself, not of the host or the place that it was found for: the same secret in two pull secrets is
    /// one identity, so that what one learned serves the other.
    pub(super) fn of(kind: &LoginKind) -> Self {
        let (tag, parts): (u8, [&str; 2]) = match kind {
            LoginKind::Anonymous => return Identity::default(),
            LoginKind::Password { username, password } => (1, [username, password]),
            LoginKind::IdentityToken(token) => (2, [token, ""]),
            LoginKind::RegistryToken(token) => (3, [token, ""]),
        };
        let mut mac = <Hmac<Sha256> as hmac::digest::KeyInit>::new((&**KEY).into());
        mac.update(&[tag]);
        for part in parts {
            mac.update(&(part.len() as u64).to_le_bytes());
            mac.update(part.as_bytes());
        }
        let hash = mac.finalize().into_bytes();
        let mut first = [0; 16];
        first.copy_from_slice(&hash[..16]);
        Identity(u128::from_le_bytes(first))
    }
}

#[cfg(test)]
mod tests {
    use super::{Identity, LoginKind};
    use std::collections::HashSet;
    use zeroize::Zeroizing;

    fn password(username: &str, password: &str) -> LoginKind {
        LoginKind::Password { username: username.to_owned(), password: Zeroizing::new(password.to_owned()) }
    }

    #[test]
    fn equal_secrets_are_equal_and_others_are_not() {
        assert_eq!(Identity::of(&password("u", "p")), Identity::of(&password("u", "p")));
        let token = || Zeroizing::new("up".to_owned());
        let all = [
            LoginKind::Anonymous,
            password("u", "p"),
            password("u", "q"),
            password("up", ""),
            password("", "up"),
            LoginKind::IdentityToken(token()),
            LoginKind::RegistryToken(token()),
        ];
        let identities: HashSet<_> = all.iter().map(Identity::of).collect();
        assert_eq!(identities.len(), all.len());
        assert!(identities.contains(&Identity::default()), "nobody's");
    }
}
