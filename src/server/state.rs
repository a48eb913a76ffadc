//! What all requests share: the settings and policies in force, replaced as one, and the bounds over all of them.

use std::collections::BTreeSet;
use std::sync::Arc;

use arc_swap::ArcSwap;

use super::body::Budget;
use super::health::Readiness;
use super::pins::Pins;
use super::slot::Places;
use super::sticky::Sticky;
use crate::cluster::{Namespaces, PullSecrets};
use crate::config::{Config, Limits};
use crate::metrics::Metrics;
use crate::policy::{PolicySet, Releases};
use crate::registry::Resolver;

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
    /// Which release governs which namespace.
    pub releases: ArcSwap<Releases>,
    pub namespaces: Namespaces,
    pub metrics: Arc<Metrics>,
    pub readiness: Arc<Readiness>,
    pub limits: Limits,
    pub bodies: Budget,
    pub places: Places,
    pub resolver: Resolver,
    /// None without a cluster.
    pub pull_secrets: Option<PullSecrets>,
    pub pins: Pins,
    pub sticky: Sticky,
    /// What tests say in the registries' place.
    #[cfg(test)]
    pub told: std::sync::Mutex<Option<super::facts::Told>>,
}

/// What [`Shared`] is made of besides settings and policies.
pub(super) struct Parts {
    pub namespaces: Namespaces,
    pub metrics: Arc<Metrics>,
    pub resolver: Resolver,
    pub pull_secrets: Option<PullSecrets>,
    pub pins: Pins,
}

impl Shared {
    pub fn new(live: Live, parts: Parts) -> Self {
        let Parts { namespaces, metrics, resolver, pull_secrets, pins } = parts;
        let limits = live.config.limits;
        Shared {
            live: ArcSwap::from_pointee(live),
            releases: ArcSwap::default(),
            readiness: Arc::new(Readiness::new(namespaces.clone())),
            namespaces,
            metrics,
            limits,
            bodies: Budget::new(limits.in_flight_bytes),
            places: Places::new(limits.requests),
            resolver,
            pull_secrets,
            pins,
            sticky: Sticky::new(),
            #[cfg(test)]
            told: std::sync::Mutex::default(),
        }
    }

    /// Without a cluster, with a resolver that knows the policies' hosts.
    #[cfg(test)]
    pub fn for_tests(live: Live) -> Self {
        let metrics = Arc::new(Metrics::new().unwrap());
        let hosts = hosts(live.policies.as_ref());
        let resolver = Resolver::new(live.config.registry.clone(), hosts, Arc::clone(&metrics)).unwrap();
        let namespaces = Namespaces::unknown();
        let parts = Parts { namespaces, metrics, resolver, pull_secrets: None, pins: Pins::random().unwrap() };
        Shared::new(live, parts)
    }
}

/// The registry hosts that the policies in force name, and with them allow to be asked.
pub(super) fn hosts(policies: Option<&PolicySet>) -> BTreeSet<String> {
    policies.map(PolicySet::hosts).unwrap_or_default().into_iter().map(str::to_owned).collect()
}
