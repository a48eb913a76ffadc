//! One question to the API server: how long it may take, and the one sentence that a failure becomes.

use std::time::Duration;

use tokio::time::timeout;

/// The longest that one question may take.
const TIME: Duration = Duration::from_secs(5);

/// Asks about a Secret: the API server's own words may quote what one holds where it cannot be decoded, so only a status'
/// reason is told. `what` is what was tried: `read the Secret tagwarden-ca`.
pub(super) async fn ask_in_private<T>(
    what: &str,
    question: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, String> {
    let problem = match timeout(TIME, question).await {
        Ok(Ok(answer)) => return Ok(answer),
        Ok(Err(kube::Error::Api(status))) if !status.reason.is_empty() => {
            format!("the API server says {} ({})", status.code, status.reason)
        }
        Ok(Err(kube::Error::Api(status))) => format!("the API server says {}", status.code),
        Ok(Err(_)) => "the API server cannot be asked, or its answer not be read".to_owned(),
        Err(_) => "the API server did not answer in time".to_owned(),
    };
    Err(format!("cannot {what}: {problem}"))
}

/// Asks about anything else. The API server's own message names who may not do what to which object.
pub(super) async fn ask<T>(what: &str, question: impl Future<Output = Result<T, kube::Error>>) -> Result<T, String> {
    match timeout(TIME, question).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(kube::Error::Api(status))) if status.code == 403 => {
            Err(format!("may not {what}: {}; apply the chart again, its roles allow it", status.message))
        }
        Ok(Err(kube::Error::Api(status))) => {
            Err(format!("cannot {what}: the API server says {}: {}", status.code, status.message))
        }
        Ok(Err(error)) => Err(format!("cannot {what}: the API server cannot be asked: {error}")),
        Err(_) => Err(format!("cannot {what}: the API server did not answer in time")),
    }
}
