//! Which replica does what is to be done once: the holder of a Lease, on which nothing depends that is served.

use std::sync::Arc;
use std::time::Duration;

use kube_lease_manager::{LeaseManagerBuilder, LeaseManagerError};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::Cluster;

/// Seconds after which a holder that is gone is succeeded.
const DURATION: u64 = 15;
/// Seconds before that in which the holder renews: time for an attempt that is not answered and for others, and what
/// nodes' clocks may differ by.
const GRACE: u64 = 10;
/// How often whoever does not hold it looks again: the library itself would look no more until the time that it read
/// once has run out, and notice neither that the holder gave it back nor that it is gone.
const LOOK: Duration = Duration::from_secs(4);
/// How long after a failure the next attempt comes, and how long that grows to while failures go on.
const AGAIN: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(10)];
/// The longest that giving the Lease back may take.
const FAREWELL: Duration = Duration::from_secs(5);

/// The Leases of our own namespace, each for work of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lease {
    /// What every replica can do, whatever it is configured to: status, and what is saved for others.
    Shared,
    /// The authority and caBundle: only those that make their certificates themselves seek it. While the mode changes,
    /// a replica of the other mode would hold it and do nothing.
    Authority,
}

impl Lease {
    /// The object's name; RBAC names it too.
    fn name(self) -> &'static str {
        match self {
            Lease::Shared => "tagwarden",
            Lease::Authority => "tagwarden-ca",
        }
    }
}

/// Whether this replica is the elected one. Clones see the same.
#[derive(Clone, Debug)]
pub struct Leadership {
    told: watch::Receiver<bool>,
    resigned: CancellationToken,
}

impl Leadership {
    /// Seeks a Lease in `namespace` until [`Leadership::resign`], through every absence of the API server.
    #[must_use]
    pub fn sought(cluster: &Cluster, lease: Lease, namespace: String, identity: String) -> Self {
        let (tell, told) = watch::channel(false);
        let resigned = CancellationToken::new();
        let seeker = Seeker {
            client: cluster.impatient.clone(),
            lease: lease.name(),
            namespace,
            identity,
            tell: Arc::new(tell),
            resigned: resigned.clone(),
        };
        tokio::spawn(seeker.seek());
        Leadership { told, resigned }
    }

    /// Whether it is, by what was heard last.
    #[must_use]
    pub fn held(&self) -> bool {
        *self.told.borrow()
    }

    /// Waits until that changes; never ends once it has resigned.
    pub async fn changed(&mut self) {
        if self.told.changed().await.is_err() {
            std::future::pending().await
        }
    }

    /// Gives the Lease back and seeks it no more: another replica takes it when it looks the next time, which is sooner
    /// than the Lease would have run out. Returns when it is given back, or when that takes too long.
    pub async fn resign(&self) {
        self.resigned.cancel();
        let mut told = self.told.clone();
        let given_back = async { while told.changed().await.is_ok() {} };
        if timeout(FAREWELL, given_back).await.is_err() {
            tracing::warn!("the Lease is not given back in time; it runs out by itself");
        }
    }
}

#[derive(Clone)]
struct Seeker {
    client: kube::Client,
    lease: &'static str,
    namespace: String,
    identity: String,
    tell: Arc<watch::Sender<bool>>,
    resigned: CancellationToken,
}

impl Seeker {
    async fn seek(self) {
        let [mut pause, longest] = AGAIN;
        while !self.resigned.is_cancelled() {
            // On a task of its own: the library may panic over what somebody wrote into the Lease.
            let problem = match tokio::spawn(self.clone().term()).await {
                Ok(Ok(())) => {
                    [pause, _] = AGAIN;
                    continue;
                }
                Ok(Err(error)) => error.to_string(),
                Err(error) => error.to_string(),
            };
            // What could not be renewed may be another's before we hear of it.
            self.tell(false);
            if pause == AGAIN[0] {
                tracing::warn!(
                    lease = self.lease,
                    problem,
                    "cannot seek leadership; trying again (the Lease belongs to the chart: where it is gone, apply that again)"
                );
            }
            let _ = timeout(pause, self.resigned.cancelled()).await;
            pause = (pause * 2).min(longest);
        }
        self.tell(false);
    }

    /// Until it has resigned, or another look is due. Each begins by reading the Lease; one that is ours by then is held.
    ///
    /// # Errors
    /// The first failure.
    async fn term(self) -> Result<(), LeaseManagerError> {
        let manager = LeaseManagerBuilder::new(self.client.clone(), self.lease)
            .with_namespace(self.namespace.clone())
            .with_identity(self.identity.clone())
            .with_duration(DURATION)
            .with_grace(GRACE)
            .build()
            .await?;
        loop {
            let held = *self.tell.borrow();
            tokio::select! {
                () = self.resigned.cancelled() => return manager.release().await,
                changed = manager.changed() => self.tell(changed?),
                () = sleep(LOOK), if !held => return Ok(()),
            }
        }
    }

    fn tell(&self, held: bool) {
        let changed = self.tell.send_if_modified(|told| std::mem::replace(told, held) != held);
        if changed {
            tracing::info!(lease = self.lease, held, "leadership");
        }
    }
}

#[cfg(test)]
mod tests;
