//! Sticky pins: the Pods of one controller get one digest for one image for an hour, so that a tag which moves halfway
//! through a rollout does not mix two builds.
//!
//! An entry holds what was judged and written before; it is judged again whenever it is used, for all but the agreement
//! of tag and digest. It begins with a lookup and its hour is never prolonged. Best effort: each replica has its own, and
//! a restart forgets them.

use std::time::Duration;

use moka::future::Cache;
use sha2::{Digest as _, Sha256};

use crate::image::DigestBuf;
use crate::policy::Seconds;

/// Entries at most; each has some 200 bytes, whatever names are in its key.
const ENTRIES: u64 = 10_000;
/// How long an entry serves, in seconds.
const LIFETIME: u64 = 3600;

/// What was pinned, by controller and image. Clones share it.
#[derive(Clone)]
pub(super) struct Sticky {
    cache: Cache<Key, Pinned>,
}

/// A hash over all that an entry depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key([u8; 32]);

impl Key {
    /// Over these parts, in this order.
    pub fn of<'p>(parts: impl IntoIterator<Item = &'p str>) -> Self {
        let mut hasher = Sha256::new();
        for part in parts {
            hasher.update((part.len() as u64).to_be_bytes());
            hasher.update(part);
        }
        Key(hasher.finalize().into())
    }
}

/// A digest that was judged and written.
#[derive(Clone, Debug)]
struct Pinned {
    digest: DigestBuf,
    /// Over the names of the policies that applied.
    policies: Key,
    until: Seconds,
}

impl Sticky {
    /// Empty.
    pub fn new() -> Self {
        let cache = Cache::builder().max_capacity(ENTRIES).time_to_live(Duration::from_secs(LIFETIME)).build();
        Sticky { cache }
    }

    /// The digest that this image was given within the hour, and under which policies.
    pub async fn find(&self, key: &Key, now: Seconds) -> Option<(DigestBuf, Key)> {
        let pinned = self.cache.get(key).await.filter(|pinned| now < pinned.until)?;
        Some((pinned.digest, pinned.policies))
    }

    /// Keeps a digest. One that is there and not too old stays: the hour counts from the first.
    pub async fn keep(&self, key: Key, digest: DigestBuf, policies: Key, now: Seconds) {
        let until = now.saturating_add_unsigned(LIFETIME);
        let pinned = Pinned { digest, policies, until };
        self.cache.entry(key).or_insert_with_if(async { pinned }, |there| there.until <= now).await;
    }

    /// Forgets a digest that may not be written any more.
    pub async fn forget(&self, key: &Key) {
        self.cache.invalidate(key).await;
    }
}

#[cfg(test)]
mod tests {
    use super::{ENTRIES, Key, LIFETIME, Sticky};
    use crate::image::DigestBuf;

    fn digest(hex: &str) -> DigestBuf {
        DigestBuf::parse(&format!("sha256:{}", hex.repeat(32))).unwrap()
    }

    #[tokio::test]
    async fn the_first_digest_stays_for_an_hour_that_nothing_prolongs() {
        let sticky = Sticky::new();
        let (key, policies) = (Key::of(["u-1", "api"]), Key::of(["p"]));
        let hour = i64::try_from(LIFETIME).unwrap();
        let found = async |now| sticky.find(&key, now).await.map(|(digest, _)| digest);
        assert_eq!(found(0).await, None);
        sticky.keep(key, digest("aa"), policies, 0).await;
        sticky.keep(key, digest("bb"), policies, hour - 1).await;
        assert_eq!(found(hour - 1).await, Some(digest("aa")));
        assert_eq!(found(hour).await, None);
        sticky.keep(key, digest("bb"), policies, hour).await;
        assert_eq!(found(hour).await, Some(digest("bb")));
        sticky.forget(&key).await;
        assert_eq!(found(hour).await, None);
    }

    #[tokio::test]
    async fn other_owners_and_images_have_their_own_and_there_is_a_bound() {
        let sticky = Sticky::new();
        let policies = Key::of(["p"]);
        sticky.keep(Key::of(["u-1", "api"]), digest("aa"), policies, 0).await;
        for other in [["u-2", "api"], ["u-1", "web"], ["u-1api", ""]] {
            assert!(sticky.find(&Key::of(other), 0).await.is_none(), "{other:?}");
        }
        for n in 0..ENTRIES + 500 {
            sticky.keep(Key::of([n.to_string().as_str()]), digest("aa"), policies, 0).await;
        }
        sticky.cache.run_pending_tasks().await;
        assert!(sticky.cache.entry_count() <= ENTRIES);
    }
}
