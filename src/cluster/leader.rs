//! Which replica does what is to be done once: the holder of a Lease, on which nothing depends that is served.

use std::time::Duration;

use kube_lease_manager::LeaseManagerBuilder;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::Cluster;

/// The Lease, in our own namespace.
const NAME: &str = "tagwarden";
/// Seconds after which a holder that is gone is succeeded.
const DURATION: u64 = 30;
/// Seconds before that in which the holder renews.
const GRACE: u64 = 10;
/// How long after a failure the next attempt comes.
const AGAIN: Duration = Duration::from_secs(10);

/// The longest that giving the Lease back may take.
const FAREWELL: Duration = Duration::from_secs(5);

/// Whether this replica is the elected one. Clones see the same.
#[derive(Clone, Debug)]
pub struct Leadership {
    told: watch::Receiver<bool>,
    resigned: CancellationToken,
}

impl Leadership {
    /// Seeks the Lease in `namespace` until [`Leadership::resign`], through every absence of the API server.
    #[must_use]
    pub fn sought(cluster: &Cluster, namespace: String, identity: String) -> Self {
        let (tell, told) = watch::channel(false);
        let resigned = CancellationToken::new();
        tokio::spawn(seek(cluster.clone(), namespace, identity, tell, resigned.clone()));
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

    /// Gives the Lease back and seeks it no more: another replica takes it without waiting for its end. Returns when it
    /// is given back, or when that takes too long.
    pub async fn resign(&self) {
        self.resigned.cancel();
        let mut told = self.told.clone();
        let given_back = async { while told.changed().await.is_ok() {} };
        if timeout(FAREWELL, given_back).await.is_err() {
            tracing::warn!("the Lease is not given back in time; it runs out by itself");
        }
    }
}

async fn seek(
    cluster: Cluster,
    namespace: String,
    identity: String,
    tell: watch::Sender<bool>,
    resigned: CancellationToken,
) {
    while !resigned.is_cancelled() {
        let built = LeaseManagerBuilder::new(cluster.client.clone(), NAME)
            .with_namespace(namespace.clone())
            .with_identity(identity.clone())
            .with_duration(DURATION)
            .with_grace(GRACE)
            .build()
            .await;
        match built {
            Ok(manager) => {
                let (mut state, task) = manager.watch().await;
                loop {
                    tokio::select! {
                        () = resigned.cancelled() => break,
                        changed = state.changed() => if changed.is_err() { break },
                    }
                    let held = *state.borrow_and_update();
                    tracing::info!(held, "leadership");
                    let _ = tell.send(held);
                }
                let _ = tell.send(false);
                // The manager gives the Lease back when nobody listens to it any more. Where its own sender is gone, its
                // task has ended by an error or a panic of its own.
                drop(state);
                if let Ok(Err(error)) = task.await {
                    tracing::warn!(error = %error, "leadership is not sought any more for now");
                }
            }
            Err(error) => tracing::warn!(error = %error, "cannot seek leadership"),
        }
        let _ = tell.send(false);
        let _ = timeout(AGAIN, resigned.cancelled()).await;
    }
}
