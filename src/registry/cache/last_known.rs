//! The last-known digests as a document: saved by one process, taken in by the next, so that a restart forgets nothing.
//!
//! What is recalled is never an answer of the registry's own: it serves while the registry fails, and goes as soon as the
//! registry says anything about the tag.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::Last;
use crate::image::{DigestBuf, Reference};

/// Bytes of a document that is taken in; a ConfigMap holds no more.
const LARGEST: usize = 1 << 20;

/// How far ahead of ours the clock of who wrote a document may be.
const AHEAD: Duration = Duration::from_secs(300);

/// The only version there is.
const VERSION: u32 = 1;

/// As what we were known to the registry. Pull secrets are not here: what they learned is never saved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(in crate::registry) enum Who {
    Anonymous,
    Configured,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    version: u32,
    entries: Vec<Entry>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    /// Host, repository and tag, canonical.
    image: String,
    digest: String,
    /// Seconds since the epoch.
    learned: u64,
    login: Who,
}

/// A digest to be saved.
#[derive(Clone, Debug)]
pub(in crate::registry) struct Candidate {
    /// Host and repository.
    pub name: Box<str>,
    pub tag: Box<str>,
    pub who: Who,
    pub digest: DigestBuf,
    pub age: Duration,
    /// How often it answered.
    pub uses: u32,
}

type Tag = (Box<str>, Who);

/// What was recalled, until the registry says something itself.
#[derive(Debug, Default)]
pub(in crate::registry) struct LastKnown {
    /// By `host/repository:tag`.
    recalled: Mutex<HashMap<Tag, Arc<Last>>>,
}

impl LastKnown {
    /// Takes in all of a document, or nothing of it; what is older than `oldest` is left out. How many digests it held
    /// that are.
    pub fn recall(&self, document: &[u8], oldest: Duration) -> Result<usize, String> {
        let entries = read(document)?;
        let fresh = entries.into_iter().filter(|(_, (_, age))| *age <= oldest);
        let fresh: Vec<_> = fresh.map(|(tag, (digest, age))| (tag, Arc::new(Last::recalled(digest, age)))).collect();
        let count = fresh.len();
        let mut recalled = self.lock();
        // One document is what is recalled; two would be a way to grow.
        recalled.clear();
        recalled.extend(fresh);
        Ok(count)
    }

    pub fn get(&self, name: &str, tag: &str, who: Who) -> Option<Arc<Last>> {
        let recalled = self.lock();
        if recalled.is_empty() {
            return None;
        }
        recalled.get(&(image(name, tag), who)).cloned()
    }

    /// The registry has said something about the tag.
    pub fn forget(&self, name: &str, tag: &str, who: Who) {
        let mut recalled = self.lock();
        if !recalled.is_empty() {
            recalled.remove(&(image(name, tag), who));
        }
    }

    /// What is recalled and not yet heard of from the registry, to be saved again with the time that it was learned.
    pub fn candidates(&self) -> Vec<Candidate> {
        let recalled = self.lock();
        let of = |((image, who), last): (&Tag, &Arc<Last>)| {
            let (name, tag) = image.rsplit_once(':')?;
            let super::Value::Digest(digest) = &last.value else { return None };
            Some(Candidate {
                name: name.into(),
                tag: tag.into(),
                who: *who,
                digest: digest.clone(),
                age: last.age(),
                uses: last.uses(),
            })
        };
        recalled.iter().filter_map(of).collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Tag, Arc<Last>>> {
        self.recalled.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn image(name: &str, tag: &str) -> Box<str> {
    let mut image = String::with_capacity(name.len() + 1 + tag.len());
    image.push_str(name);
    image.push(':');
    image.push_str(tag);
    image.into_boxed_str()
}

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// The document of at most `limit` bytes, most used first; empty where not even an empty one fits.
pub(in crate::registry) fn write(mut candidates: Vec<Candidate>, limit: usize) -> Vec<u8> {
    // Equal use: the younger first, then by name, so that two writers write the same.
    candidates.sort_by(|a, b| {
        (b.uses.cmp(&a.uses))
            .then(a.age.cmp(&b.age))
            .then_with(|| (&a.name, &a.tag, a.who).cmp(&(&b.name, &b.tag, b.who)))
    });
    let end = b"]}";
    let mut document = format!("{{\"version\":{VERSION},\"entries\":[").into_bytes();
    if document.len() + end.len() > limit {
        return Vec::new();
    }
    let now = now();
    let empty = document.len();
    for candidate in candidates {
        let entry = Entry {
            image: image(&candidate.name, &candidate.tag).into(),
            digest: candidate.digest.as_str().to_owned(),
            learned: now.saturating_sub(candidate.age).as_secs(),
            login: candidate.who,
        };
        let Ok(text) = serde_json::to_vec(&entry) else { continue };
        let comma = usize::from(document.len() > empty);
        if document.len() + comma + text.len() + end.len() > limit {
            break;
        }
        document.extend(std::iter::repeat_n(b',', comma));
        document.extend(text);
    }
    document.extend(end);
    document
}

fn read(document: &[u8]) -> Result<BTreeMap<Tag, (DigestBuf, Duration)>, String> {
    if document.len() > LARGEST {
        return Err(format!("{} bytes, more than {LARGEST}", document.len()));
    }
    // serde's own words could hold words of the document.
    let parsed: Document = serde_json::from_slice(document).map_err(|error| {
        format!("not a document of last-known digests, line {} column {}", error.line(), error.column())
    })?;
    if parsed.version != VERSION {
        return Err(format!("version {}; this program reads version {VERSION}", parsed.version));
    }
    let now = now();
    let mut entries = BTreeMap::new();
    for (number, entry) in parsed.entries.iter().enumerate() {
        let wrong = |what: &str| format!("entry {}: {what}", number + 1);
        let (tag, digest) = tag_and_digest(entry).map_err(wrong)?;
        let learned = Duration::from_secs(entry.learned);
        if learned > now + AHEAD {
            return Err(wrong("it was learned in the future; compare the clocks of the nodes"));
        }
        if entries.insert((tag, entry.login), (digest, now.saturating_sub(learned))).is_some() {
            return Err(wrong("its image is there twice"));
        }
    }
    Ok(entries)
}

fn tag_and_digest(entry: &Entry) -> Result<(Box<str>, DigestBuf), &'static str> {
    let digest = DigestBuf::parse(&entry.digest).map_err(|_| "its digest is none")?;
    let reference = Reference::parse(&entry.image).map_err(|_| "its image is none")?;
    let (Some(tag), None) = (reference.tag(), reference.digest()) else {
        return Err("its image has no tag, or a digest");
    };
    let name = reference.name();
    let canonical = image(&name, tag);
    // Anything else would never be found, and no writer of ours writes it.
    if *canonical != *entry.image {
        return Err("its image is not canonical");
    }
    Ok((canonical, digest))
}

#[cfg(test)]
mod tests {
    use super::{Candidate, LastKnown, Who, write};
    use crate::image::DigestBuf;
    use std::time::Duration;

    const HOUR: Duration = Duration::from_secs(3600);
    const NAME: &str = "registry.example.com/acme/api";

    fn candidate(tag: &str, uses: u32, age: Duration) -> Candidate {
        let digest = DigestBuf::parse(&format!("sha256:{}", "a".repeat(64))).unwrap();
        Candidate { name: NAME.into(), tag: tag.into(), who: Who::Anonymous, digest, age, uses }
    }

    #[test]
    fn what_is_written_is_read_with_its_age() {
        let document = write(vec![candidate("v1", 1, HOUR), candidate("v2", 1, HOUR * 3)], 1 << 16);
        let known = LastKnown::default();
        assert_eq!(known.recall(&document, HOUR * 2), Ok(1), "{}", String::from_utf8_lossy(&document));
        let last = known.get(NAME, "v1", Who::Anonymous).unwrap();
        assert!(last.age() >= HOUR - Duration::from_secs(2) && last.age() < HOUR + Duration::from_secs(60));
        assert!(known.get(NAME, "v1", Who::Configured).is_none(), "another login");
        assert!(known.get(NAME, "v2", Who::Anonymous).is_none(), "too old");
        let again = known.candidates();
        assert_eq!((again.len(), &*again[0].name, &*again[0].tag), (1, NAME, "v1"));
        known.forget(NAME, "v1", Who::Anonymous);
        assert!(known.get(NAME, "v1", Who::Anonymous).is_none());
    }

    #[test]
    fn the_most_used_come_first_and_the_limit_holds() {
        let candidates: Vec<_> = (0..50).map(|n| candidate(&format!("v{n}"), n, HOUR)).collect();
        let all = write(candidates.clone(), 1 << 16);
        for limit in [0, 10, 29, 30, 31, 200, 500, 1000, all.len() - 1, all.len()] {
            let document = write(candidates.clone(), limit);
            assert!(document.len() <= limit, "{limit}");
            if !document.is_empty() {
                let known = LastKnown::default();
                let count = known.recall(&document, HOUR * 2).unwrap();
                assert_eq!(count == 50, limit == all.len());
                assert!(count == 0 || known.get(NAME, "v49", Who::Anonymous).is_some());
            }
        }
    }

    #[test]
    fn what_is_no_such_document_changes_nothing() {
        let known = LastKnown::default();
        known.recall(&write(vec![candidate("v1", 1, HOUR)], 1 << 16), HOUR * 2).unwrap();
        let digest = format!("sha256:{}", "a".repeat(64));
        let entry = |image: &str, digest: &str, learned: u64| {
            format!(r#"{{"image":"{image}","digest":"{digest}","learned":{learned},"login":"anonymous"}}"#)
        };
        let good = entry("registry.example.com/acme/web:v1", &digest, 1);
        let of = |entries: &str| format!(r#"{{"version":1,"entries":[{entries}]}}"#);
        let cases = [
            (String::new(), "line 1 column 0"),
            ("[]".to_owned(), "not a document"),
            (of(&good).replace("\"version\":1", "\"version\":2"), "version 2"),
            (of(&good).replace("\"login\"", "\"who\""), "not a document"),
            (of(&good).replace("anonymous", "regcred"), "not a document"),
            (of(&good).replace("}]}", ",\"x\":1}]}"), "not a document"),
            (of(&format!("{good},{good}")), "entry 2: its image is there twice"),
            (of(&format!("{good},{}", entry("acme/web:v1", &digest, 1))), "entry 2: its image is not canonical"),
            (of(&entry("registry.example.com/acme/web", &digest, 1)), "entry 1: its image is not canonical"),
            (of(&entry(&format!("registry.example.com/acme/web@{digest}"), &digest, 1)), "no tag, or a digest"),
            (of(&entry("registry.example.com/acme/web:v1:v2", &digest, 1)), "its image is none"),
            (of(&entry("registry.example.com/acme/web:v1", "sha256:abc", 1)), "its digest is none"),
            (of(&entry("registry.example.com/acme/web:v1", &digest, 1 << 60)), "future"),
            (format!("{}{}", of(&good), " ".repeat(super::LARGEST)), "bytes, more than"),
        ];
        for (document, says) in cases {
            let error = known.recall(document.as_bytes(), HOUR * 2).unwrap_err();
            assert!(error.contains(says), "{error} for {:.200}", document);
            assert!(!error.contains("regcred") && !error.contains("acme"), "{error}");
        }
        assert!(known.get(NAME, "v1", Who::Anonymous).is_some(), "what was there is there");
        assert_eq!(known.recall(of(&good).as_bytes(), HOUR), Ok(0), "a good one, too old");
    }
}
