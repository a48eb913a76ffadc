//! What the engine needs to know of the server's (or the command line's) configuration.

use crate::document::choice;
use crate::policy::Mode;

/// What the engine needs of the configuration.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Caps every denial: below `enforce` nothing is refused.
    pub max_mode: Mode,
    /// What becomes of a request that no policy covers.
    pub no_policy: NoPolicy,
    /// Whether upper-case hosts, `:443` and aliases of Docker Hub are refused or read as what they stand for.
    pub non_canonical_host: NonCanonicalHost,
    /// Which namespace labels policies may use.
    pub trusted_labels: TrustedLabels,
    /// Images that one object may have (on an update: changed ones).
    pub max_images: usize,
    /// Bytes that one image reference may have.
    pub max_reference_bytes: usize,
    /// Whether a set without any policy is fine.
    pub allow_empty: bool,
}

impl Default for Settings {
    /// The defaults of the server's configuration, and every label trusted: the command line without one.
    fn default() -> Self {
        Settings {
            max_mode: Mode::Enforce,
            no_policy: NoPolicy::Allow,
            non_canonical_host: NonCanonicalHost::Refuse,
            trusted_labels: TrustedLabels::All,
            max_images: 1000,
            max_reference_bytes: 4096,
            allow_empty: false,
        }
    }
}

choice! {
    /// What becomes of a request that no policy covers.
    pub enum NoPolicy {
        /// Let in, and counted.
        Allow = "allow",
        /// Let in with a warning.
        Warn = "warn",
        /// Refused.
        Deny = "deny",
    }
}

choice! {
    /// What becomes of a registry host that is not written in its canonical form.
    pub enum NonCanonicalHost {
        /// Refused (TW101).
        Refuse = "refuse",
        /// Read as its canonical form.
        Normalise = "normalise",
    }
}

/// Which namespace labels policies may use. Whoever may set a label that a policy uses may leave the policy.
#[derive(Clone, Debug)]
pub enum TrustedLabels {
    /// Every one: the command line without a configuration.
    All,
    /// These keys, and `kubernetes.io/metadata.name`.
    Only(Vec<String>),
}
