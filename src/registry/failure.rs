//! Why a registry gave no answer: classes to branch on, and what to say of them in our own words.

use std::fmt;
use std::time::Duration;

use crate::policy;

/// Bytes of a remote server's own words that the log may hold.
pub const REMOTE_BYTES: usize = 200;

/// A request that brought no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The class, to branch on.
    pub kind: FailureKind,
    /// What happened, in our own words: lower case, one line of printable ASCII, no word of the remote server.
    pub what: String,
    /// What the remote server said, cleaned of control characters and cut at 200 bytes: for the log only.
    pub remote: Option<String>,
}

/// The classes of failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FailureKind {
    /// The registry says there is no such image; it may say so of one that we may not see.
    NotFoundOrNoAccess,
    /// The registry wants other credentials.
    Unauthorized,
    /// The registry wants us to wait; for so long, if it says.
    RateLimited {
        /// From now, cut at five minutes.
        until: Option<Duration>,
    },
    /// No answer in time.
    Timeout,
    /// No connection, or the server is out of order (5xx), or a limit of ours forbids to ask.
    Unreachable,
    /// The connection cannot be trusted.
    Tls,
    /// The answer breaks the protocol, or is larger than the limits allow.
    Protocol,
}

impl FailureKind {
    /// Its name in logs and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            FailureKind::NotFoundOrNoAccess => "not-found",
            FailureKind::Unauthorized => "unauthorized",
            FailureKind::RateLimited { .. } => "rate-limited",
            FailureKind::Timeout => "timeout",
            FailureKind::Unreachable => "unreachable",
            FailureKind::Tls => "tls",
            FailureKind::Protocol => "protocol",
        }
    }

    /// The class that policies know it by.
    #[must_use]
    pub const fn class(self) -> policy::Failure {
        match self {
            FailureKind::NotFoundOrNoAccess | FailureKind::Unauthorized => policy::Failure::NotFound,
            FailureKind::RateLimited { .. } => policy::Failure::RateLimited,
            FailureKind::Timeout | FailureKind::Unreachable | FailureKind::Tls => policy::Failure::Unreachable,
            FailureKind::Protocol => policy::Failure::Protocol,
        }
    }
}

impl Failure {
    /// A failure in our own words.
    #[must_use]
    pub fn new(kind: FailureKind, what: impl Into<String>) -> Self {
        Failure { kind, what: what.into(), remote: None }
    }

    /// The same with what the remote server said, cleaned and cut.
    #[must_use]
    pub fn saying(mut self, remote: &[u8]) -> Self {
        let text = String::from_utf8_lossy(remote.get(..REMOTE_BYTES * 4).unwrap_or(remote));
        self.remote = Some(policy::printable(text.trim(), REMOTE_BYTES));
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl std::error::Error for Failure {}
