//! Waiting for a condition under a deadline: the only place of these tests that lets time pass.

use std::time::Duration;

use tokio::time::Instant;

/// How long anything here may take before a test gives up.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Polls until there is something, under a deadline.
pub async fn until<T>(what: &str, mut poll: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = poll().await {
            return found;
        }
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
