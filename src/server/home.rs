//! Where replicas share what is theirs: our own namespace, and the Leases that say which replica does what is done once.

use crate::cluster::{Cluster, Leadership, Lease, own_namespace};
use crate::config::CertificateSource;

/// Our own namespace in the cluster. Clones share the Leases.
#[derive(Clone)]
pub(super) struct Home {
    pub cluster: Cluster,
    pub namespace: String,
    /// How this replica calls itself.
    pub replica: String,
    /// Whether this replica is the elected one. Nothing that is served depends on it.
    pub leadership: Leadership,
    /// Whether it keeps the authority and caBundle; none: its certificate comes from files, and it does not seek that.
    pub authority: Option<Leadership>,
}

impl Home {
    /// The namespace that this process runs in; none outside a Pod without POD_NAMESPACE, and then replicas share nothing.
    pub fn find(cluster: &Cluster, certificate: &CertificateSource) -> Option<Self> {
        let Some(namespace) = own_namespace() else {
            tracing::warn!(
                "POD_NAMESPACE is not set: the key of pins, last-known digests, last good policies and releases are not shared \
                 with other replicas, and no replica writes what one is elected for"
            );
            return None;
        };
        let replica = replica();
        let sought = |lease| Leadership::sought(cluster, lease, namespace.clone(), replica.clone());
        let leadership = sought(Lease::Shared);
        let authority = match certificate {
            CertificateSource::SelfManaged(_) => Some(sought(Lease::Authority)),
            CertificateSource::Files { .. } => None,
        };
        Some(Home { cluster: cluster.clone(), leadership, authority, namespace, replica })
    }

    /// Gives the Leases back.
    pub async fn resign(&self) {
        let authority = async {
            if let Some(authority) = &self.authority {
                authority.resign().await;
            }
        };
        tokio::join!(self.leadership.resign(), authority);
    }
}

/// How this replica calls itself, in a Lease say: the Pod's name, and what tells two processes of one name apart.
fn replica() -> String {
    let host = std::env::var("HOSTNAME").ok().filter(|name| !name.is_empty());
    format!("{}-{}", host.as_deref().unwrap_or("tagwarden"), std::process::id())
}
