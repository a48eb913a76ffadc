//! One question to the API server: how long it may take, and the one sentence that a failure becomes.

use std::fmt;
use std::time::Duration;

use tokio::time::timeout;

/// The longest that one question may take.
const TIME: Duration = Duration::from_secs(5);

/// Why a question has no answer.
#[derive(Debug)]
pub(super) enum Unanswered {
    /// The API server refused it, or could not be asked.
    Failed(kube::Error),
    /// It took too long.
    Late,
}

impl fmt::Display for Unanswered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unanswered::Failed(error) => write!(f, "{error}"),
            Unanswered::Late => f.write_str("the API server did not answer in time"),
        }
    }
}

/// Asks, and waits no longer than a question may take; for those who find their own words.
pub(super) async fn answered<T>(question: impl Future<Output = Result<T, kube::Error>>) -> Result<T, Unanswered> {
    match timeout(TIME, question).await {
        Ok(answer) => answer.map_err(Unanswered::Failed),
        Err(_) => Err(Unanswered::Late),
    }
}

/// Asks about a Secret: the API server's own words may quote what one holds where it cannot be decoded, so only a status'
/// reason is told. `what` is what was tried: `read the Secret tagwarden-ca`.
pub(super) async fn ask_in_private<T>(
    what: &str,
    question: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, String> {
    answered(question).await.map_err(|unanswered| match unanswered {
        Unanswered::Failed(kube::Error::Api(status)) if !status.reason.is_empty() => {
            format!("cannot {what}: the API server says {} ({})", status.code, status.reason)
        }
        Unanswered::Failed(kube::Error::Api(status)) => format!("cannot {what}: the API server says {}", status.code),
        Unanswered::Failed(_) => {
            format!("cannot {what}: the API server cannot be asked, or its answer not be read")
        }
        Unanswered::Late => format!("cannot {what}: {unanswered}"),
    })
}

/// Asks about anything else. The API server's own message names who may not do what to which object.
pub(super) async fn ask<T>(what: &str, question: impl Future<Output = Result<T, kube::Error>>) -> Result<T, String> {
    answered(question).await.map_err(|unanswered| match unanswered {
        Unanswered::Failed(kube::Error::Api(status)) if status.code == 403 => {
            format!("may not {what}: {}; apply the chart again, its roles allow it", status.message)
        }
        Unanswered::Failed(kube::Error::Api(status)) => {
            format!("cannot {what}: the API server says {}: {}", status.code, status.message)
        }
        Unanswered::Failed(error) => format!("cannot {what}: the API server cannot be asked: {error}"),
        Unanswered::Late => format!("cannot {what}: {unanswered}"),
    })
}
