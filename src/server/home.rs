//! Where replicas share what is theirs: our own namespace, and the Lease that says which replica does what is done once.

use crate::cluster::{Cluster, Leadership, own_namespace};

/// Our own namespace in the cluster. Clones share the Lease.
#[derive(Clone)]
pub(super) struct Home {
    pub cluster: Cluster,
    pub namespace: String,
    /// Whether this replica is the elected one. Nothing that is served depends on it.
    pub leadership: Leadership,
}

impl Home {
    /// The namespace that this process runs in; none outside a Pod without POD_NAMESPACE, and then replicas share nothing.
    pub fn find(cluster: &Cluster) -> Option<Self> {
        let Some(namespace) = own_namespace() else {
            tracing::warn!(
                "POD_NAMESPACE is not set: the key of pins, last-known digests and last good policies are not shared with other \
                 replicas, and no replica writes what one is elected for"
            );
            return None;
        };
        let leadership = Leadership::sought(cluster, namespace.clone(), replica());
        Some(Home { cluster: cluster.clone(), namespace, leadership })
    }
}

/// How this replica calls itself in the Lease: the Pod's name, and what tells two processes of one name apart.
fn replica() -> String {
    let host = std::env::var("HOSTNAME").ok().filter(|name| !name.is_empty());
    format!("{}-{}", host.as_deref().unwrap_or("tagwarden"), std::process::id())
}
