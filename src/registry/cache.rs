//! Remembered facts: one flight a key, classes of lifetimes, the last known answer while a registry fails.
//!
//! Memory holds what a registry said and when. Whether that is still good is decided by who asks: the same answer is
//! fresh for a tag that does not move and too old for one that does.

pub(super) mod breaker;
pub(super) mod first_seen;
pub(super) mod flight;
pub(super) mod last_known;

use std::hash::{Hash, Hasher};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use moka::Expiry;
use moka::future::Cache;
use moka::ops::compute::Op;
use tokio::time::Instant;

use super::credentials::Identity;
use super::failure::{Failure, FailureKind};
use super::settings::CacheSettings;
use crate::image::DigestBuf;
use crate::policy::{Asked, ImageFacts, ImageLabels};

/// Bytes that an entry costs besides its texts: nodes and counters of the cache, our own structs.
const OVERHEAD: usize = 400;

/// How long a list of tags is remembered: a finding rests on it, so only as long as nobody may ask again anyway.
const LIST_TTL: Duration = flight::PAUSE;

/// Which question an entry answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    /// The digest of a tag.
    Digest,
    /// The labels of a digest.
    Labels,
    /// What the image of a digest says of itself.
    Image,
    /// The names of all tags.
    Tags,
}

/// Under what an answer is remembered.
#[derive(Clone, Debug)]
pub(super) struct Key {
    /// Of the registry's settings: what was learned under others is not found.
    pub epoch: u32,
    /// The question.
    pub kind: Kind,
    /// Host and repository.
    pub name: Box<str>,
    /// The tag or digest; empty for lists.
    pub item: Box<str>,
    /// Who asked: an answer to one identity is none to another.
    pub identity: Identity,
}

/// The same, borrowed: a hit allocates no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct KeyRef<'a> {
    pub epoch: u32,
    pub kind: Kind,
    pub name: &'a str,
    pub item: &'a str,
    pub identity: Identity,
}

impl Key {
    fn borrowed(&self) -> KeyRef<'_> {
        KeyRef { epoch: self.epoch, kind: self.kind, name: &self.name, item: &self.item, identity: self.identity }
    }
}

impl KeyRef<'_> {
    /// To be kept.
    pub fn to_key(self) -> Key {
        let KeyRef { epoch, kind, name, item, identity } = self;
        Key { epoch, kind, name: name.into(), item: item.into(), identity }
    }
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.borrowed().hash(state);
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.borrowed() == other.borrowed()
    }
}

impl Eq for Key {}

impl moka::Equivalent<Key> for KeyRef<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        *self == key.borrowed()
    }
}

/// What a registry said.
#[derive(Clone, Debug)]
pub(super) enum Value {
    Digest(DigestBuf),
    Labels(Arc<ImageLabels>),
    Image(Arc<ImageFacts>),
    Tags(Arc<Vec<String>>),
}

impl Value {
    fn bytes(&self) -> usize {
        match self {
            Value::Digest(digest) => digest.as_str().len(),
            // A map's node and two strings cost about this much besides their texts.
            Value::Labels(labels) => labels.iter().map(|(key, value)| key.len() + value.len() + 64).sum(),
            Value::Image(image) => image.bytes(),
            Value::Tags(tags) => tags.iter().map(|tag| tag.len() + 32).sum(),
        }
    }
}

/// An answer of a registry, and what became of it here.
#[derive(Debug)]
pub(super) struct Last {
    pub value: Value,
    /// When it was asked for: the answer may be as old as that.
    asked: Instant,
    /// How old it was by then; not zero for what another process learned.
    age: Duration,
    /// Whether anybody may be told.
    pub public: bool,
    /// What the tag was first seen as, where that differs; found out once a non-moving tag is asked for.
    pub moved_from: OnceLock<Option<DigestBuf>>,
    /// Whether a refresh is under way.
    pub refreshing: AtomicBool,
    /// How often it answered as a tag that does not move.
    uses: AtomicU32,
}

impl Last {
    pub fn new(value: Value, asked: Instant, public: bool) -> Self {
        Last {
            value,
            asked,
            age: Duration::ZERO,
            public,
            moved_from: OnceLock::new(),
            refreshing: AtomicBool::new(false),
            uses: AtomicU32::new(0),
        }
    }

    /// What another process learned so long ago; nothing about moves follows from it.
    pub fn recalled(digest: DigestBuf, age: Duration) -> Self {
        let mut last = Last::new(Value::Digest(digest), Instant::now(), true);
        last.age = age;
        last.moved_from = OnceLock::from(None);
        last
    }

    pub fn age(&self) -> Duration {
        self.asked.elapsed().saturating_add(self.age)
    }

    /// How often it answered as a tag that does not move.
    pub fn uses(&self) -> u32 {
        self.uses.load(Ordering::Relaxed)
    }

    /// Counts an answer; it stops at the top.
    pub fn used(&self) {
        self.uses.store(self.uses().saturating_add(1), Ordering::Relaxed);
    }
}

/// How a flight ended. Both sides are shared by all who waited.
pub(super) type Outcome = Result<Arc<Last>, Arc<Failure>>;

/// How long answers to a question are good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Terms {
    /// So long without asking.
    pub fresh: Duration,
    /// So much longer while the registry fails.
    pub stale: Duration,
}

impl Terms {
    pub fn of(asked: &Asked<'_>, settings: &CacheSettings) -> Self {
        match asked {
            Asked::Digest { floating: false, .. } => Terms { fresh: settings.immutable_ttl, stale: settings.stale_for },
            Asked::Digest { floating: true, .. } => Terms { fresh: settings.floating_ttl, stale: Duration::ZERO },
            // What a digest names cannot change.
            Asked::Labels { .. } | Asked::Image { .. } => Terms { fresh: Duration::MAX, stale: Duration::ZERO },
            Asked::Tags => Terms { fresh: LIST_TTL.min(settings.floating_ttl), stale: Duration::ZERO },
        }
    }

    /// Whether an answer of this age serves while the registry fails.
    pub fn outlasts(&self, age: Duration) -> bool {
        !self.stale.is_zero() && age <= self.fresh.saturating_add(self.stale)
    }

    /// Whether it is time to ask again before the answer is too old: at four fifths of its life.
    pub fn wears_out(&self, age: Duration) -> bool {
        age >= self.fresh - self.fresh / 5
    }
}

/// How long a failure is remembered.
pub(super) fn failure_ttl(kind: FailureKind) -> Duration {
    match kind {
        FailureKind::NotFoundOrNoAccess => Duration::from_secs(10),
        FailureKind::Unauthorized => Duration::from_secs(5),
        FailureKind::RateLimited { until } => {
            until.unwrap_or(Duration::from_secs(30)).clamp(Duration::from_secs(1), Duration::from_secs(300))
        }
        FailureKind::Timeout | FailureKind::Unreachable | FailureKind::Tls | FailureKind::Protocol => {
            Duration::from_secs(1)
        }
    }
}

/// Everything that is known under a key.
#[derive(Debug)]
pub(super) struct Known {
    /// Of the flight that wrote this; an older one does not overwrite it.
    ticket: u64,
    /// What the registry said last. Gone once it says that there is no such image, or not for us.
    last: Option<Arc<Last>>,
    /// How the latest flight failed, and until when that is an answer.
    failed: Option<(Arc<Failure>, Instant)>,
    keep: Option<Duration>,
}

/// What memory says to a question.
#[derive(Debug)]
pub(super) enum Memory {
    Fresh(Arc<Last>),
    Failed(Arc<Failure>),
    Nothing,
}

impl Known {
    pub fn judge(&self, terms: Terms) -> Memory {
        if let Some(last) = self.last.as_ref().filter(|last| last.age() < terms.fresh) {
            return Memory::Fresh(last.clone());
        }
        match self.failure() {
            Some(failure) => Memory::Failed(failure.clone()),
            None => Memory::Nothing,
        }
    }

    /// The failure that still is an answer.
    pub fn failure(&self) -> Option<&Arc<Failure>> {
        self.failed.as_ref().filter(|(_, until)| Instant::now() < *until).map(|(failure, _)| failure)
    }

    pub fn last(&self) -> Option<&Arc<Last>> {
        self.last.as_ref()
    }

    fn next(old: Option<&Known>, ticket: u64, outcome: &Outcome, keep: Option<Duration>) -> Self {
        let before = old.and_then(|known| known.last.as_ref());
        match outcome {
            Ok(last) => {
                if let Some(before) = before {
                    last.uses.fetch_add(before.uses(), Ordering::Relaxed);
                }
                Known { ticket, last: Some(last.clone()), failed: None, keep }
            }
            Err(failure) => {
                let ttl = failure_ttl(failure.kind);
                let last = before.filter(|_| !is_denial(failure.kind)).cloned();
                if let Some(last) = &last {
                    last.refreshing.store(false, Ordering::Relaxed);
                }
                let keep = if last.is_some() { keep } else { Some(ttl) };
                Known { ticket, last, failed: Some((failure.clone(), Instant::now() + ttl)), keep }
            }
        }
    }

    fn bytes(&self) -> usize {
        self.last.as_ref().map_or(0, |last| last.value.bytes())
            + self
                .failed
                .as_ref()
                .map_or(0, |(failure, _)| failure.what.len() + failure.remote.as_ref().map_or(0, String::len))
    }
}

/// Whether the registry itself says that there is no such image for us; what it said before is refuted then.
pub(super) const fn is_denial(kind: FailureKind) -> bool {
    matches!(kind, FailureKind::NotFoundOrNoAccess | FailureKind::Unauthorized)
}

/// The memory: bounded in bytes and entries; what is asked for often stays when it is full.
#[derive(Clone)]
pub(super) struct Store {
    cache: Cache<Key, Arc<Known>>,
}

/// Entries leave when nobody could use them any more.
struct Keep;

impl Expiry<Key, Arc<Known>> for Keep {
    fn expire_after_create(&self, _: &Key, known: &Arc<Known>, _: std::time::Instant) -> Option<Duration> {
        known.keep
    }

    fn expire_after_update(
        &self,
        _: &Key,
        known: &Arc<Known>,
        _: std::time::Instant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        known.keep
    }
}

impl Store {
    pub fn new(settings: &CacheSettings) -> Self {
        // One bound for both: an entry weighs at least its share, so that no more than `entries` fit.
        let share = u32::try_from(settings.bytes.div_ceil(settings.entries.max(1))).unwrap_or(u32::MAX);
        let cache = Cache::builder()
            .max_capacity(settings.bytes)
            .weigher(move |key: &Key, known: &Arc<Known>| {
                let bytes = OVERHEAD + key.name.len() + key.item.len() + known.bytes();
                u32::try_from(bytes).unwrap_or(u32::MAX).max(share)
            })
            .expire_after(Keep)
            .build();
        Store { cache }
    }

    pub async fn get(&self, key: &KeyRef<'_>) -> Option<Arc<Known>> {
        self.cache.get(key).await
    }

    /// Takes in how a flight ended, unless a later one has ended before.
    pub async fn learn(&self, key: Key, ticket: u64, outcome: &Outcome, keep: Option<Duration>) {
        let merge = |entry: Option<moka::Entry<Key, Arc<Known>>>| {
            let old = entry.map(|entry| entry.into_value());
            let op = match &old {
                Some(old) if old.ticket > ticket => Op::Nop,
                old => Op::Put(Arc::new(Known::next(old.as_deref(), ticket, outcome, keep))),
            };
            std::future::ready(op)
        };
        self.cache.entry(key).and_compute_with(merge).await;
    }

    /// All entries, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (Arc<Key>, Arc<Known>)> + '_ {
        self.cache.iter()
    }

    /// Entries and their weight, after all that is due has been evicted.
    #[cfg(test)]
    pub async fn size(&self) -> (u64, u64) {
        self.cache.run_pending_tasks().await;
        (self.cache.entry_count(), self.cache.weighted_size())
    }
}

#[cfg(test)]
mod tests {
    use super::{Key, KeyRef, Kind, Known, Last, Memory, Store, Terms, Value, failure_ttl};
    use crate::image::DigestBuf;
    use crate::registry::credentials::Identity;
    use crate::registry::failure::{Failure, FailureKind};
    use crate::registry::settings::CacheSettings;
    use std::hash::{BuildHasher, RandomState};
    use std::sync::Arc;
    use std::time::Duration;
    use tokio::time::{Instant, advance};

    fn key(item: &str) -> Key {
        let name = "registry.example.com/acme/api";
        KeyRef { epoch: 1, kind: Kind::Digest, name, item, identity: Identity(0) }.to_key()
    }

    fn said(digit: char) -> super::Outcome {
        let digest = DigestBuf::parse(&format!("sha256:{}", digit.to_string().repeat(64))).unwrap();
        Ok(Arc::new(Last::new(Value::Digest(digest), Instant::now(), true)))
    }

    fn failed(kind: FailureKind) -> super::Outcome {
        Err(Arc::new(Failure::new(kind, "failed")))
    }

    const TERMS: Terms = Terms { fresh: Duration::from_secs(600), stale: Duration::from_secs(3600) };

    #[test]
    fn a_borrowed_key_is_the_same_key_and_every_part_counts() {
        use moka::Equivalent as _;
        let owned = key("v1.0.0");
        let same = owned.borrowed();
        let hasher = RandomState::new();
        assert_eq!(hasher.hash_one(&owned), hasher.hash_one(same));
        assert!(same.equivalent(&owned));
        let others = [
            KeyRef { epoch: 2, ..same },
            KeyRef { kind: Kind::Labels, ..same },
            KeyRef { name: "registry.example.com/acme/ap", ..same },
            KeyRef { item: "v1.0.1", ..same },
            KeyRef { identity: Identity(1), ..same },
        ];
        for other in others {
            assert!(!other.equivalent(&owned), "{other:?}");
            assert_ne!(other.to_key(), owned);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_earlier_flight_does_not_overwrite_a_later_one() {
        let store = Store::new(&CacheSettings::default());
        let (old, new) = (said('a'), said('b'));
        store.learn(key("v1"), 2, &new, None).await;
        store.learn(key("v1"), 1, &old, None).await;
        let known = store.get(&key("v1").borrowed()).await.unwrap();
        let Memory::Fresh(last) = known.judge(TERMS) else { panic!("{known:?}") };
        assert!(Arc::ptr_eq(&last, new.as_ref().unwrap()));
        let newest = said('c');
        store.learn(key("v1"), 3, &newest, None).await;
        let known = store.get(&key("v1").borrowed()).await.unwrap();
        assert!(Arc::ptr_eq(known.last().unwrap(), newest.as_ref().unwrap()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_denial_refutes_what_was_said_before_and_an_outage_does_not() {
        use FailureKind::{NotFoundOrNoAccess, Protocol, RateLimited, Timeout, Tls, Unauthorized, Unreachable};
        let said = Known::next(None, 1, &said('a'), None);
        for kind in [NotFoundOrNoAccess, Unauthorized] {
            let then = Known::next(Some(&said), 2, &failed(kind), None);
            assert!(then.last().is_none(), "{kind:?}");
            assert!(matches!(then.judge(TERMS), Memory::Failed(_)), "{kind:?}");
        }
        for kind in [Protocol, RateLimited { until: None }, Timeout, Tls, Unreachable] {
            let then = Known::next(Some(&said), 2, &failed(kind), None);
            assert!(then.last().is_some(), "{kind:?}");
            // What is not too old needs no registry.
            assert!(matches!(then.judge(TERMS), Memory::Fresh(_)), "{kind:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn failures_are_remembered_by_their_class() {
        use FailureKind::{NotFoundOrNoAccess, Protocol, RateLimited, Timeout, Tls, Unauthorized, Unreachable};
        let limited = |seconds: u64| RateLimited { until: Some(Duration::from_secs(seconds)) };
        let cases = [
            (NotFoundOrNoAccess, 10),
            (Unauthorized, 5),
            (RateLimited { until: None }, 30),
            (limited(0), 1),
            (limited(42), 42),
            (limited(1_000_000), 300),
            (Timeout, 1),
            (Unreachable, 1),
            (Tls, 1),
            (Protocol, 1),
        ];
        for (kind, seconds) in cases {
            assert_eq!(failure_ttl(kind), Duration::from_secs(seconds), "{kind:?}");
            let known = Known::next(None, 1, &failed(kind), None);
            advance(Duration::from_secs(seconds) - Duration::from_millis(1)).await;
            assert!(known.failure().is_some(), "{kind:?}");
            advance(Duration::from_millis(1)).await;
            assert!(known.failure().is_none(), "{kind:?}");
        }
    }

    #[tokio::test]
    async fn memory_is_bounded_in_entries_and_in_bytes() {
        let few = Store::new(&CacheSettings { entries: 100, ..CacheSettings::default() });
        let small = Store::new(&CacheSettings { bytes: 100_000, ..CacheSettings::default() });
        for number in 0..1000 {
            let outcome = said('a');
            few.learn(key(&format!("v1.0.{number}")), number, &outcome, None).await;
            small.learn(key(&format!("v1.0.{number}")), number, &outcome, None).await;
        }
        let (entries, _) = few.size().await;
        assert!((90..=100).contains(&entries), "{entries}");
        let (entries, bytes) = small.size().await;
        assert!(bytes <= 100_000 && entries > 100, "{entries} entries, {bytes} bytes");
    }
}
