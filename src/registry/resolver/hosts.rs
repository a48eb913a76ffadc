//! The registries that may be asked, each with its limits: nothing else is ever contacted.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::ask::{Ask, Open};
use crate::registry::cache::breaker::Breaker;
use crate::registry::credentials::Configured;
use crate::registry::failure::{Failure, FailureKind};
use crate::registry::settings::{RegistrySettings, Settings};

/// Registries with a client of their own at one time, besides the configured ones.
pub(super) const CLIENTS: usize = 256;

/// What metrics call a registry that no policy names.
const OTHER: &str = "other";

/// One registry that may be asked.
pub(super) struct Host {
    pub name: Box<str>,
    /// Of its settings; under others it gets another, and what was learned before is not found.
    pub epoch: u32,
    /// Its entry in the configuration.
    pub registry: Option<RegistrySettings>,
    /// The credentials of that entry.
    pub configured: Option<Configured>,
    /// Requests to it at one time.
    pub permits: Arc<Semaphore>,
    pub breaker: Arc<Breaker>,
    limit: usize,
    in_policies: bool,
}

/// All of them.
pub(super) struct Hosts {
    by_name: HashMap<Box<str>, Arc<Host>>,
    settings: Settings,
    open: Arc<Open>,
    clients: Mutex<HashMap<Box<str>, Client>>,
}

#[derive(Clone)]
struct Client {
    ask: Arc<dyn Ask>,
    used: Instant,
}

impl Host {
    /// Its name in metrics: only policies can make one.
    pub fn label(&self) -> &str {
        if self.in_policies { &self.name } else { OTHER }
    }

    /// Whether the Pods of a namespace may benefit from the configured credentials.
    pub fn lends_to(&self, namespace: Option<&str>) -> bool {
        match self.registry.as_ref().and_then(|registry| registry.credential_namespaces.as_ref()) {
            None => true,
            Some(globs) => namespace.is_some_and(|namespace| globs.iter().any(|glob| glob.matches(namespace))),
        }
    }
}

impl Hosts {
    /// The hosts that policies name and those that are configured. Of `old`, those whose settings are the same go on.
    pub fn new(
        settings: &Settings,
        named: &BTreeSet<String>,
        open: Arc<Open>,
        old: Option<&Hosts>,
    ) -> Result<Self, String> {
        let configured = settings.registries.iter().map(|registry| (registry.host.as_str(), Some(registry)));
        let mut entries: HashMap<&str, Option<&RegistrySettings>> =
            named.iter().map(|host| (host.as_str(), None)).collect();
        entries.extend(configured);
        let mut hosts = Hosts { by_name: HashMap::new(), settings: settings.clone(), open, clients: Mutex::default() };
        for (name, registry) in entries {
            let before = old.and_then(|old| Some((old, old.by_name.get(name)?)));
            let host = host(name, registry, named.contains(name), settings, before);
            let client = before.and_then(|(old, before)| {
                (before.epoch == host.epoch).then(|| old.clients().get(name).cloned()).flatten()
            });
            if let Some(client) = client {
                hosts.clients().insert(name.into(), client);
            } else if registry.is_some() {
                // Now, so that a file that cannot be read is an error of the configuration.
                let ask =
                    (hosts.open)(name, registry, settings).map_err(|error| format!("registry {name}: {error}"))?;
                hosts.clients().insert(name.into(), Client { ask, used: Instant::now() });
            }
            hosts.by_name.insert(name.into(), host);
        }
        Ok(hosts)
    }

    /// The host, if it may be asked.
    pub fn find(&self, name: &str) -> Option<&Arc<Host>> {
        self.by_name.get(name)
    }

    /// The client of a host; where there are too many, the one that was idle for longest goes.
    ///
    /// # Errors
    /// Unreachable: it cannot be made, or none can go.
    pub fn client(&self, host: &Host) -> Result<Arc<dyn Ask>, Failure> {
        let mut clients = self.clients();
        if let Some(client) = clients.get_mut(&host.name) {
            client.used = Instant::now();
            return Ok(client.ask.clone());
        }
        let dynamic = |name: &str| self.find(name).is_none_or(|host| host.registry.is_none());
        if clients.keys().filter(|name| dynamic(name)).count() >= CLIENTS {
            let idle = clients.iter().filter(|(name, client)| dynamic(name) && Arc::strong_count(&client.ask) == 1);
            let Some(idle) = idle.min_by_key(|(_, client)| client.used).map(|(name, _)| name.clone()) else {
                let what = format!("not asked: {CLIENTS} other registries are being asked");
                return Err(Failure::new(FailureKind::Unreachable, what));
            };
            clients.remove(&idle);
        }
        let ask = (self.open)(&host.name, host.registry.as_ref(), &self.settings)
            .map_err(|error| Failure::new(FailureKind::Unreachable, error))?;
        clients.insert(host.name.clone(), Client { ask: ask.clone(), used: Instant::now() });
        Ok(ask)
    }

    fn clients(&self) -> std::sync::MutexGuard<'_, HashMap<Box<str>, Client>> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Clients that are open.
    #[cfg(test)]
    pub fn clients_open(&self) -> usize {
        self.clients().len()
    }
}

fn host(
    name: &str,
    registry: Option<&RegistrySettings>,
    in_policies: bool,
    settings: &Settings,
    before: Option<(&Hosts, &Arc<Host>)>,
) -> Arc<Host> {
    let own = registry.and_then(|registry| registry.max_concurrent).unwrap_or(usize::MAX);
    let limit = settings.lookups.per_host.min(own).clamp(1, Semaphore::MAX_PERMITS);
    // The same registry, asked in the same way: what was learned of it holds.
    let same = before.filter(|(old, before)| {
        let times = |settings: &Settings| (settings.connect, settings.request);
        before.registry.as_ref() == registry && times(&old.settings) == times(settings)
    });
    if let Some((_, before)) = same
        && (before.limit, before.in_policies) == (limit, in_policies)
    {
        return before.clone();
    }
    let credentials = registry.and_then(|registry| registry.credentials.as_ref());
    Arc::new(Host {
        name: name.into(),
        epoch: same.map_or_else(next_epoch, |(_, before)| before.epoch),
        registry: registry.cloned(),
        configured: match same {
            Some((_, before)) => before.configured.clone(),
            None => credentials.map(Configured::new),
        },
        permits: Arc::new(Semaphore::new(limit)),
        breaker: same.map(|(_, before)| before.breaker.clone()).unwrap_or_default(),
        limit,
        in_policies,
    })
}

fn next_epoch() -> u32 {
    static EPOCHS: AtomicU32 = AtomicU32::new(1);
    EPOCHS.fetch_add(1, Ordering::Relaxed)
}
