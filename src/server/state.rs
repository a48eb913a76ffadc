//! What all requests share: the settings and policies in force, replaced as one, and the bounds over all of them.

use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::Semaphore;

use super::body::Budget;
use super::health::Readiness;
use crate::cluster::Namespaces;
use crate::config::{Config, Limits};
use crate::metrics::Metrics;
use crate::policy::PolicySet;

/// Settings and policies that belong together. A request reads them once and keeps to them.
#[derive(Debug)]
pub(super) struct Live {
    pub config: Config,
    /// None: none have compiled yet (only in a cluster, where the server stays up and says why).
    pub policies: Option<PolicySet>,
}

/// Everything a request needs. No request holds a lock that another waits for.
pub(super) struct Shared {
    pub live: ArcSwap<Live>,
    pub namespaces: Namespaces,
    pub metrics: Arc<Metrics>,
    pub readiness: Arc<Readiness>,
    pub limits: Limits,
    pub bodies: Budget,
    pub requests: Semaphore,
}

impl Shared {
    pub fn new(live: Live, namespaces: Namespaces, metrics: Arc<Metrics>) -> Self {
        let limits = live.config.limits;
        Shared {
            live: ArcSwap::from_pointee(live),
            readiness: Arc::new(Readiness::new(namespaces.clone())),
            namespaces,
            metrics,
            limits,
            bodies: Budget::new(limits.in_flight_bytes),
            requests: Semaphore::new(limits.requests),
        }
    }
}
