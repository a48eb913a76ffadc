//! The keys of our proofs: made up at the start, and shared with the other replicas as soon as the cluster lets us.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::crypto::aws_lc_rs;

use super::home::Home;
use crate::cluster::{KeyBytes, PinKey, StoredKeys};
use crate::review::{PIN_KEY_BYTES, PinKeys};

/// How long after a first failure the next attempt comes; the pause doubles up to [`REFRESH`].
const AGAIN: Duration = Duration::from_secs(1);
/// How often the Secret is read again, for a rotation.
const REFRESH: Duration = Duration::from_secs(300);

/// The keys in force. Clones share them; nothing of them is ever shown.
#[derive(Clone)]
pub(super) struct Pins {
    ring: Arc<ArcSwap<Ring>>,
}

/// The first signs, all verify.
struct Ring {
    current: KeyBytes,
    earlier: Vec<KeyBytes>,
}

impl Pins {
    /// A key of this process' own. Until the replicas agree on one, what another one pinned is not proven to us: the
    /// registry is asked then, which is slower and no less safe.
    ///
    /// # Errors
    /// One sentence: there is no randomness to be had.
    pub fn random() -> Result<Self, String> {
        let current = random()?;
        Ok(Pins { ring: Arc::new(ArcSwap::from_pointee(Ring { current, earlier: Vec::new() })) })
    }

    /// Does something with the keys in force.
    pub fn with<T>(&self, use_keys: impl FnOnce(&PinKeys<'_>) -> T) -> T {
        let ring = self.ring.load();
        let earlier: Vec<&[u8; PIN_KEY_BYTES]> = ring.earlier.iter().map(|key| &**key).collect();
        use_keys(&PinKeys { current: &ring.current, earlier: &earlier })
    }

    /// Agrees with the other replicas, again and again, until the process ends.
    pub fn share(&self, home: &Home) {
        tokio::spawn(self.clone().keep(PinKey::of(&home.cluster, &home.namespace)));
    }

    async fn keep(self, secret: PinKey) {
        let candidate = self.ring.load().current.clone();
        let mut pause = AGAIN;
        let mut told = false;
        loop {
            match secret.agree(&candidate).await {
                Ok(stored) => {
                    self.take(stored, &candidate);
                    (pause, told) = (REFRESH, false);
                }
                Err(problem) => {
                    if !told {
                        tracing::warn!(
                            problem,
                            "the key of pins is not shared; each replica asks the registry about the others' pins"
                        );
                    }
                    told = true;
                    pause = if pause == REFRESH { AGAIN } else { (pause * 2).min(REFRESH / 2) };
                }
            }
            tokio::time::sleep(pause).await;
        }
    }

    /// What signed until now goes on verifying: proofs of a moment ago are still on their way.
    fn take(&self, stored: StoredKeys, own: &KeyBytes) {
        let old = self.ring.load();
        let mut earlier: Vec<KeyBytes> = Vec::new();
        for key in [stored.previous.as_ref(), Some(&old.current), Some(own)].into_iter().flatten() {
            if *key != stored.current && !earlier.contains(key) {
                earlier.push(key.clone());
            }
        }
        if old.current != stored.current {
            tracing::info!("the key of pins is shared with the other replicas");
        }
        if old.current != stored.current || earlier != old.earlier {
            self.ring.store(Arc::new(Ring { current: stored.current, earlier }));
        }
    }
}

fn random() -> Result<KeyBytes, String> {
    let mut key = KeyBytes::default();
    let filled = aws_lc_rs::default_provider().secure_random.fill(&mut *key);
    filled.map_err(|_| "the system gives no random numbers, which pins need".to_owned())?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::Pins;
    use crate::cluster::{KeyBytes, StoredKeys};

    fn current(pins: &Pins) -> [u8; 32] {
        pins.with(|keys| *keys.current)
    }

    fn earlier(pins: &Pins) -> Vec<[u8; 32]> {
        pins.with(|keys| keys.earlier.iter().map(|key| **key).collect())
    }

    #[test]
    fn every_process_begins_with_a_key_of_its_own() {
        let (one, other) = (Pins::random().unwrap(), Pins::random().unwrap());
        assert_ne!(current(&one), current(&other));
        assert_ne!(current(&one), [0; 32]);
        assert!(earlier(&one).is_empty());
    }

    #[test]
    fn a_key_that_is_replaced_goes_on_verifying() {
        let pins = Pins::random().unwrap();
        let own = KeyBytes::new(current(&pins));
        let stored = |current: u8, previous: Option<u8>| StoredKeys {
            current: KeyBytes::new([current; 32]),
            previous: previous.map(|byte| KeyBytes::new([byte; 32])),
        };
        pins.take(stored(1, None), &own);
        assert_eq!((current(&pins), earlier(&pins)), ([1; 32], vec![*own]));
        pins.take(stored(1, None), &own);
        assert_eq!(earlier(&pins), [*own], "nothing new");
        pins.take(stored(2, Some(1)), &own);
        assert_eq!((current(&pins), earlier(&pins)), ([2; 32], vec![[1; 32], *own]));
        pins.take(StoredKeys { current: own.clone(), previous: None }, &own);
        assert_eq!((current(&pins), earlier(&pins)), (*own, vec![[2; 32]]));
    }
}
