//! The digests that tags which do not move had when they were first seen here.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use crate::image::DigestBuf;
use crate::registry::credentials::Identity;

/// Tags of one repository that are remembered; the one seen first leaves first.
const TAGS: usize = 200;

/// Tags in all; the repository that was not looked at for longest leaves first.
const ALL: usize = 20_000;

/// Digests by repository, who asked, and tag.
#[derive(Debug, Default)]
pub(in crate::registry) struct FirstSeen {
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    repositories: HashMap<(Box<str>, Identity), Repository>,
    tags: usize,
    clock: u64,
}

#[derive(Debug, Default)]
struct Repository {
    digests: HashMap<Box<str>, DigestBuf>,
    order: VecDeque<Box<str>>,
    looked: u64,
}

impl FirstSeen {
    /// The digest that the tag had first, where it is another one. What was never seen is remembered.
    ///
    /// Kept apart by who asked: what one tenant sees behind his login tells nothing to others.
    pub fn observe(&self, name: &str, identity: Identity, tag: &str, digest: &DigestBuf) -> Option<DigestBuf> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = &mut *seen;
        seen.clock += 1;
        let repository = seen.repositories.entry((name.into(), identity)).or_default();
        repository.looked = seen.clock;
        if let Some(first) = repository.digests.get(tag) {
            return (first != digest).then(|| first.clone());
        }
        repository.digests.insert(tag.into(), digest.clone());
        repository.order.push_back(tag.into());
        seen.tags += 1;
        if repository.order.len() > TAGS
            && let Some(oldest) = repository.order.pop_front()
        {
            repository.digests.remove(&oldest);
            seen.tags -= 1;
        }
        while seen.tags > ALL && seen.forget_one() {}
        None
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        let seen = self.seen.lock().unwrap();
        assert_eq!(seen.tags, seen.repositories.values().map(|one| one.digests.len()).sum::<usize>());
        seen.tags
    }
}

impl Seen {
    /// Forgets the repository that was not looked at for longest; false if there is no other than the latest.
    fn forget_one(&mut self) -> bool {
        let idle = self.repositories.iter().filter(|(_, one)| one.looked != self.clock);
        let Some(key) = idle.min_by_key(|(_, one)| one.looked).map(|(key, _)| key.clone()) else { return false };
        if let Some(gone) = self.repositories.remove(&key) {
            self.tags -= gone.digests.len();
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::{ALL, FirstSeen, TAGS};
    use crate::image::DigestBuf;
    use crate::registry::credentials::Identity;

    const NAME: &str = "registry.example.com/acme/api";
    const NOBODY: Identity = Identity(0);

    fn digest(digit: char) -> DigestBuf {
        DigestBuf::parse(&format!("sha256:{}", digit.to_string().repeat(64))).unwrap()
    }

    #[test]
    fn a_move_is_told_until_the_tag_is_back() {
        let first = FirstSeen::default();
        assert_eq!(first.observe(NAME, NOBODY, "v1.0.0", &digest('a')), None);
        assert_eq!(first.observe(NAME, NOBODY, "v1.0.0", &digest('b')), Some(digest('a')));
        assert_eq!(first.observe(NAME, NOBODY, "v1.0.0", &digest('c')), Some(digest('a')));
        assert_eq!(first.observe(NAME, NOBODY, "v1.0.0", &digest('a')), None);
    }

    #[test]
    fn tags_repositories_and_identities_are_kept_apart() {
        let first = FirstSeen::default();
        first.observe(NAME, NOBODY, "v1.0.0", &digest('a'));
        assert_eq!(first.observe(NAME, NOBODY, "v1.0.1", &digest('b')), None);
        assert_eq!(first.observe("registry.example.com/acme/web", NOBODY, "v1.0.0", &digest('b')), None);
        assert_eq!(first.observe(NAME, Identity(7), "v1.0.0", &digest('b')), None);
    }

    #[test]
    fn a_repository_is_bounded_and_cannot_push_out_others() {
        let first = FirstSeen::default();
        first.observe("registry.example.com/acme/web", NOBODY, "v1.0.0", &digest('a'));
        for number in 0..=TAGS {
            first.observe(NAME, NOBODY, &format!("v1.0.{number}"), &digest('a'));
        }
        assert_eq!(first.len(), TAGS + 1);
        assert_eq!(first.observe(NAME, NOBODY, "v1.0.1", &digest('b')), Some(digest('a')), "the second is there");
        assert_eq!(first.observe(NAME, NOBODY, "v1.0.0", &digest('b')), None, "the first had to go");
        let web = first.observe("registry.example.com/acme/web", NOBODY, "v1.0.0", &digest('b'));
        assert_eq!(web, Some(digest('a')));
    }

    #[test]
    fn all_of_them_are_bounded_and_those_looked_at_stay() {
        let first = FirstSeen::default();
        first.observe(NAME, NOBODY, "v1.0.0", &digest('a'));
        for repository in 0..=ALL / TAGS + 5 {
            for tag in 0..TAGS {
                first.observe(&format!("{NAME}{repository}"), NOBODY, &format!("v1.0.{tag}"), &digest('a'));
            }
            assert_eq!(first.observe(NAME, NOBODY, "v1.0.0", &digest('b')), Some(digest('a')));
        }
        assert!(first.len() <= ALL && first.len() > ALL - 2 * TAGS, "{}", first.len());
    }
}
