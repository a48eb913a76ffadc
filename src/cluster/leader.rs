//! Which replica does what is to be done once: the holder of a Lease, on which nothing depends that is served.

use std::time::Duration;

use kube_lease_manager::LeaseManagerBuilder;
use tokio::sync::watch;

use super::Cluster;

/// The Lease, in our own namespace.
const NAME: &str = "tagwarden";
/// Seconds after which a holder that is gone is succeeded.
const DURATION: u64 = 30;
/// Seconds before that in which the holder renews.
const GRACE: u64 = 10;
/// How long after a failure the next attempt comes.
const AGAIN: Duration = Duration::from_secs(10);

/// Whether this replica is the elected one. Clones see the same.
#[derive(Clone, Debug)]
pub struct Leadership(watch::Receiver<bool>);

impl Leadership {
    /// Seeks the Lease in `namespace` until the process ends, through every absence of the API server.
    #[must_use]
    pub fn sought(cluster: &Cluster, namespace: String, identity: String) -> Self {
        let (tell, told) = watch::channel(false);
        tokio::spawn(seek(cluster.clone(), namespace, identity, tell));
        Leadership(told)
    }

    /// Whether it is, by what was heard last.
    #[must_use]
    pub fn held(&self) -> bool {
        *self.0.borrow()
    }
}

async fn seek(cluster: Cluster, namespace: String, identity: String, tell: watch::Sender<bool>) {
    loop {
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
                while state.changed().await.is_ok() {
                    let held = *state.borrow_and_update();
                    tracing::info!(held, "leadership");
                    let _ = tell.send(held);
                }
                // Its sender is gone, so the task has ended: by an error or a panic of its own.
                if let Ok(Err(error)) = task.await {
                    tracing::warn!(error = %error, "leadership is not sought any more for now");
                }
            }
            Err(error) => tracing::warn!(error = %error, "cannot seek leadership"),
        }
        let _ = tell.send(false);
        tokio::time::sleep(AGAIN).await;
    }
}
