//! Leave to send a request: so many at one time for a namespace, so many to a host.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::hosts::Host;

/// Namespaces that are never tidied; above, those without a request are taken out.
const TIDY_ABOVE: usize = 1024;

/// The requests of each namespace at one time.
#[derive(Debug)]
pub(super) struct Namespaces {
    limit: usize,
    by_name: Mutex<HashMap<Box<str>, Arc<Semaphore>>>,
}

/// Held by a request from its beginning to its end.
#[derive(Debug)]
pub(super) struct Permits {
    _host: OwnedSemaphorePermit,
    _namespace: Option<OwnedSemaphorePermit>,
}

impl Namespaces {
    pub fn new(limit: usize) -> Self {
        Namespaces { limit: limit.clamp(1, Semaphore::MAX_PERMITS), by_name: Mutex::default() }
    }

    fn of(&self, namespace: &str) -> Arc<Semaphore> {
        let mut by_name = self.by_name.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(semaphore) = by_name.get(namespace) {
            return semaphore.clone();
        }
        if by_name.len() >= TIDY_ABOVE {
            by_name.retain(|_, semaphore| Arc::strong_count(semaphore) > 1);
        }
        by_name.entry(namespace.into()).or_insert_with(|| Arc::new(Semaphore::new(self.limit))).clone()
    }
}

/// Waits for leave: first of the namespace, so that one that has used up its own holds nothing of the host's.
/// None if there is none any more, which does not happen.
pub(super) async fn permits(namespaces: &Namespaces, namespace: Option<&str>, host: &Host) -> Option<Permits> {
    let namespace = match namespace {
        Some(namespace) => Some(namespaces.of(namespace).acquire_owned().await.ok()?),
        None => None,
    };
    Some(Permits { _host: host.permits.clone().acquire_owned().await.ok()?, _namespace: namespace })
}

/// Leave for background work: only where nobody has to wait for it.
pub(super) fn spare_permits(host: &Host) -> Option<Permits> {
    Some(Permits { _host: host.permits.clone().try_acquire_owned().ok()?, _namespace: None })
}

#[cfg(test)]
mod tests {
    use super::{Namespaces, TIDY_ABOVE};

    #[test]
    fn namespaces_without_requests_do_not_pile_up() {
        let namespaces = Namespaces::new(1);
        let busy = namespaces.of("busy");
        for number in 0..4 * TIDY_ABOVE {
            namespaces.of(&format!("ns-{number}"));
        }
        assert!(namespaces.by_name.lock().unwrap().len() <= TIDY_ABOVE);
        let permit = busy.try_acquire().unwrap();
        assert!(namespaces.of("busy").try_acquire().is_err(), "it is still counted");
        drop(permit);
    }
}
