//! Facts: what a plan asks of registries, and what was learned.
//!
//! Plain data; who fetches it is somebody else's business.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;

use super::{Few, FindingId, ImageFacts, Plan};
use crate::image::DigestBuf;

/// One question to a registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Lookup<'p> {
    /// Registry host and repository, canonical: `registry.example.com/acme/api`. A rule names the host literally.
    pub name: &'p str,
    /// What is to be learned about it.
    pub what: Asked<'p>,
}

/// What is asked about a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Asked<'p> {
    /// The digest of a tag.
    Digest {
        /// The tag.
        tag: &'p str,
        /// Whether tags of its class move: they are remembered for a shorter time.
        floating: bool,
        /// Whether a remembered answer will do.
        age: Age,
        /// What it counts against.
        budget: Budget,
    },
    /// The labels of an image; of an index, those of its linux/amd64 image, else of its first.
    Labels {
        /// The image's digest.
        digest: &'p str,
    },
    /// What an image says of itself, on each of its platforms.
    Image {
        /// The image's digest.
        digest: &'p str,
    },
    /// The names of all tags.
    Tags,
}

impl Asked<'_> {
    /// The answer that none is to be had.
    #[must_use]
    pub fn failed(&self, why: Undecided) -> Answer {
        match self {
            Asked::Digest { .. } => Answer::Digest(Err(why)),
            Asked::Labels { .. } => Answer::Labels(Err(why)),
            Asked::Image { .. } => Answer::Image(Err(why)),
            Asked::Tags => Answer::Tags(Err(why)),
        }
    }
}

/// How old an answer may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Age {
    /// A remembered one will do.
    Remembered,
    /// Only one that the registry gives now: a finding may rest on it.
    Now,
}

/// What a lookup counts against.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Budget {
    /// The lookups of a review (`limits.lookupsPerReview`).
    Review,
    /// A scan of the tag list, which has a bound of its own.
    Search,
}

/// What the registry says of a tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// Of the index where the image has several platforms; never a child's.
    pub digest: DigestBuf,
    /// How this answer came.
    pub source: Source,
    /// The digest that this tag had when it was first seen, where that differs and the tag's class does not move.
    pub moved_from: Option<DigestBuf>,
    /// Whether anybody may be told: it was learned anonymously or with configured credentials, not with a Pod's.
    pub public: bool,
}

impl Resolved {
    /// An answer of the registry's own, just given.
    #[must_use]
    pub fn now(digest: DigestBuf) -> Self {
        Resolved { digest, source: Source::Now, moved_from: None, public: true }
    }
}

/// How an answer came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The registry gave it after it was asked for this review.
    Now,
    /// It was remembered, and is not too old.
    Remembered,
    /// The registry fails; this is what it said last, so many seconds ago.
    Stale(u64),
}

/// Why there is no answer, in the classes that policies tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Failure {
    /// The registry was not reached in time, or our own limits forbade to ask (TW900).
    Unreachable,
    /// There is no such image, or no access to it (TW901).
    NotFound,
    /// The registry told us to come back later (TW902).
    RateLimited,
    /// The registry broke the protocol (TW903).
    Protocol,
}

impl Failure {
    /// The finding that it is.
    #[must_use]
    pub const fn finding(self) -> FindingId {
        match self {
            Failure::Unreachable => FindingId::Tw900,
            Failure::NotFound => FindingId::Tw901,
            Failure::RateLimited => FindingId::Tw902,
            Failure::Protocol => FindingId::Tw903,
        }
    }
}

/// A fact that could not be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Undecided {
    /// Which class of failure.
    pub failure: Failure,
    /// What happened and what to do, in our own words: never a remote server's. One line of printable ASCII.
    pub detail: Cow<'static, str>,
}

impl Undecided {
    /// A failure and what to say of it.
    #[must_use]
    pub fn new(failure: Failure, detail: impl Into<Cow<'static, str>>) -> Self {
        Undecided { failure, detail: detail.into() }
    }
}

/// The answer to a lookup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// To [`Asked::Digest`].
    Digest(Result<Resolved, Undecided>),
    /// To [`Asked::Labels`].
    Labels(Result<ImageLabels, Undecided>),
    /// To [`Asked::Image`].
    Image(Result<Arc<ImageFacts>, Undecided>),
    /// To [`Asked::Tags`].
    Tags(Result<Vec<String>, Undecided>),
}

/// Labels of an image's configuration.
pub type ImageLabels = BTreeMap<String, String>;

/// What was learned. A lookup without an answer here is itself a finding.
#[derive(Clone, Debug)]
pub struct Facts {
    known: Vec<Fact>,
    index: Index,
    absent: Undecided,
}

/// One answer, and to which question.
#[derive(Clone, Debug)]
struct Fact {
    /// The repository, and behind it the tag or digest.
    text: Box<str>,
    /// How many bytes of that are the repository.
    repository: usize,
    value: Value,
}

/// An answer.
#[derive(Clone, Debug)]
enum Value {
    Digest(Known),
    Labels(Result<ImageLabels, Undecided>),
    Image(Result<Arc<ImageFacts>, Undecided>),
    Tags(Result<Vec<String>, Undecided>),
}

/// What a question is about, as far as answers are kept apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Kind {
    Digest,
    Labels,
    Image,
    Tags,
}

/// How many facts are looked through one by one before there is an index. Few reviews have more.
const FEW: usize = 16;

/// Where facts are, by the hashes of their questions; empty while there are few.
#[derive(Clone, Debug, Default)]
struct Index {
    hasher: RandomState,
    places: HashMap<u64, Few<usize>>,
}

/// What was learned of a tag.
#[derive(Clone, Debug)]
struct Known {
    answer: Result<Resolved, Undecided>,
    /// How asking for an answer of now went, if that was asked.
    asked_now: Option<Result<(), Undecided>>,
}

impl Fact {
    fn new(name: &str, item: &str, value: Value) -> Self {
        Fact { text: [name, item].concat().into(), repository: name.len(), value }
    }

    /// The repository, and the tag or digest.
    fn question(&self) -> (&str, &str) {
        self.text.split_at_checked(self.repository).unwrap_or_default()
    }

    fn is(&self, kind: Kind, name: &str, item: &str) -> bool {
        self.value.kind() == kind && self.question() == (name, item)
    }
}

impl Value {
    fn kind(&self) -> Kind {
        match self {
            Value::Digest(_) => Kind::Digest,
            Value::Labels(_) => Kind::Labels,
            Value::Image(_) => Kind::Image,
            Value::Tags(_) => Kind::Tags,
        }
    }
}

impl Index {
    fn hash(&self, kind: Kind, name: &str, item: &str) -> u64 {
        self.hasher.hash_one((kind, name, item))
    }

    /// Takes in where a fact is.
    fn add(&mut self, fact: &Fact, place: usize) {
        let (name, item) = fact.question();
        let hash = self.hash(fact.value.kind(), name, item);
        self.places.entry(hash).or_default().push(place);
    }
}

/// What is known of a tag, as far as a verdict may rest on it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Tagged<'f> {
    /// Nobody has asked yet.
    Unknown,
    /// No answer was to be had, and none will be.
    Failed(&'f Undecided),
    /// An answer, and whether a finding may rest on it.
    Answer(&'f Resolved, Ground<'f>),
}

/// Whether a finding may rest on an answer. What agrees with an answer needs no more than the answer.
#[derive(Clone, Copy, Debug)]
pub(super) enum Ground<'f> {
    /// The registry gave it for this review.
    Firm,
    /// It is remembered; the registry can be asked.
    Ask,
    /// It is remembered, and the registry could not be asked.
    Failed(&'f Undecided),
    /// The registry was to be asked, and what came is an old answer all the same.
    Old,
}

impl Facts {
    /// No facts; `absent` is what is said where one is needed.
    #[must_use]
    pub fn none(absent: Undecided) -> Self {
        Facts { known: Vec::new(), index: Index::default(), absent }
    }

    /// Takes in an answer. A later one replaces an earlier one; only a failure to learn what holds now leaves the
    /// remembered answer where it was, good for what agrees with it.
    ///
    /// The answer to another question is no answer: what was asked is then undecided for good, so that rounds end.
    pub fn learn(&mut self, name: &str, asked: &Asked<'_>, answer: Answer) {
        let absent = || self.absent.clone();
        let (item, value) = match *asked {
            Asked::Digest { tag, age, .. } => {
                let answer = match answer {
                    Answer::Digest(answer) => answer,
                    _ => Err(absent()),
                };
                let asked_now = (age == Age::Now).then(|| answer.as_ref().map(|_| ()).map_err(Undecided::clone));
                (tag, Value::Digest(Known { answer, asked_now }))
            }
            Asked::Labels { digest } => match answer {
                Answer::Labels(answer) => (digest, Value::Labels(answer)),
                _ => (digest, Value::Labels(Err(absent()))),
            },
            Asked::Image { digest } => match answer {
                Answer::Image(answer) => (digest, Value::Image(answer)),
                _ => (digest, Value::Image(Err(absent()))),
            },
            Asked::Tags => match answer {
                Answer::Tags(answer) => ("", Value::Tags(answer)),
                _ => ("", Value::Tags(Err(absent()))),
            },
        };
        let place = self.place(value.kind(), name, item);
        match (place.and_then(|place| self.known.get_mut(place)).map(|fact| &mut fact.value), value) {
            (Some(Value::Digest(known)), Value::Digest(Known { answer: Err(_), asked_now: Some(now) }))
                if known.answer.is_ok() =>
            {
                known.asked_now = Some(now);
            }
            (Some(known), value) => *known = value,
            (None, value) => self.add(Fact::new(name, item, value)),
        }
    }

    fn add(&mut self, fact: Fact) {
        self.known.push(fact);
        // The index is made of all when the list becomes long, and of the new one from then on.
        let first = match self.known.len() {
            ..=FEW => return,
            many if many == FEW + 1 => 0,
            many => many - 1,
        };
        for (place, fact) in self.known.iter().enumerate().skip(first) {
            self.index.add(fact, place);
        }
    }

    /// Where the answer to a question is.
    fn place(&self, kind: Kind, name: &str, item: &str) -> Option<usize> {
        let is = |place: &usize| self.known.get(*place).is_some_and(|fact| fact.is(kind, name, item));
        match self.known.len() {
            ..=FEW => (0..self.known.len()).find(is),
            _ => self.index.places.get(&self.index.hash(kind, name, item))?.iter().copied().find(is),
        }
    }

    fn value(&self, kind: Kind, name: &str, item: &str) -> Option<&Value> {
        self.known.get(self.place(kind, name, item)?).map(|fact| &fact.value)
    }

    fn known(&self, name: &str, tag: &str) -> Option<&Known> {
        match self.value(Kind::Digest, name, tag)? {
            Value::Digest(known) => Some(known),
            _ => None,
        }
    }

    /// All answers about a repository: tag or digest, and what was learned of it.
    fn of_repository<'f>(&'f self, name: &str) -> impl Iterator<Item = (&'f str, &'f Value)> {
        let of = move |fact: &'f Fact| {
            let (repository, item) = fact.question();
            (repository == name).then_some((item, &fact.value))
        };
        self.known.iter().filter_map(of)
    }

    /// What is known of a tag's digest.
    #[must_use]
    pub fn digest(&self, name: &str, tag: &str) -> Option<&Result<Resolved, Undecided>> {
        self.known(name, tag).map(|known| &known.answer)
    }

    /// What is known of all tags of a repository that were asked for, in no order.
    pub fn digests(&self, name: &str) -> impl Iterator<Item = (&str, &Result<Resolved, Undecided>)> {
        self.of_repository(name).filter_map(|(tag, value)| match value {
            Value::Digest(known) => Some((tag, &known.answer)),
            _ => None,
        })
    }

    /// What is known of an image's labels.
    #[must_use]
    pub fn labels(&self, name: &str, digest: &str) -> Option<&Result<ImageLabels, Undecided>> {
        match self.value(Kind::Labels, name, digest)? {
            Value::Labels(labels) => Some(labels),
            _ => None,
        }
    }

    /// What is known of what an image says of itself.
    #[must_use]
    pub fn image(&self, name: &str, digest: &str) -> Option<&Result<Arc<ImageFacts>, Undecided>> {
        match self.value(Kind::Image, name, digest)? {
            Value::Image(image) => Some(image),
            _ => None,
        }
    }

    /// What images of a repository that were asked for say of themselves, by their digests, in no order.
    pub fn images(&self, name: &str) -> impl Iterator<Item = (&str, &Result<Arc<ImageFacts>, Undecided>)> {
        self.of_repository(name).filter_map(|(digest, value)| match value {
            Value::Image(image) => Some((digest, image)),
            _ => None,
        })
    }

    /// What is known of a repository's tags.
    #[must_use]
    pub fn tags(&self, name: &str) -> Option<&Result<Vec<String>, Undecided>> {
        match self.value(Kind::Tags, name, "")? {
            Value::Tags(tags) => Some(tags),
            _ => None,
        }
    }

    /// What is said of a fact that is not here.
    #[must_use]
    pub fn absent(&self) -> &Undecided {
        &self.absent
    }

    /// What is known of a tag, and whether a finding may rest on it.
    pub(super) fn tagged(&self, name: &str, tag: &str) -> Tagged<'_> {
        let Some(known) = self.known(name, tag) else {
            return Tagged::Unknown;
        };
        match &known.answer {
            Err(failed) => Tagged::Failed(failed),
            Ok(resolved) => {
                let ground = match (&known.asked_now, resolved.source) {
                    (Some(Err(failed)), _) => Ground::Failed(failed),
                    (_, Source::Now) => Ground::Firm,
                    (Some(Ok(())), _) => Ground::Old,
                    (None, _) => Ground::Ask,
                };
                Tagged::Answer(resolved, ground)
            }
        }
    }
}

/// Answers a plan's lookups, round after round, until nothing is missing: for facts that are at hand.
///
/// Each answer closes its lookup, so the rounds end. `absent` is what is said of a fact that was never asked for.
#[must_use]
pub fn gather(plan: &Plan<'_>, mut answer: impl FnMut(&Lookup<'_>) -> Answer, absent: Undecided) -> Facts {
    let mut facts = Facts::none(absent);
    loop {
        let lookups = plan.missing(&facts);
        if lookups.is_empty() {
            return facts;
        }
        for lookup in &lookups {
            facts.learn(lookup.name, &lookup.what, answer(lookup));
        }
    }
}

impl Default for Facts {
    /// No facts, because nobody was asked.
    fn default() -> Self {
        Facts::none(Undecided::new(Failure::Unreachable, "no registry was asked"))
    }
}

#[cfg(test)]
mod tests {
    use super::{Age, Answer, Asked, Budget, Facts, Failure, Ground, Resolved, Source, Tagged, Undecided};
    use crate::image::DigestBuf;

    fn resolved(digit: &str, source: Source) -> Answer {
        let digest = DigestBuf::parse(&format!("sha256:{}", digit.repeat(64))).unwrap();
        Answer::Digest(Ok(Resolved { source, ..Resolved::now(digest) }))
    }

    fn asked(age: Age) -> Asked<'static> {
        Asked::Digest { tag: "v1", floating: false, age, budget: Budget::Review }
    }

    #[test]
    fn a_failure_to_ask_again_leaves_what_is_remembered_but_no_finding_rests_on_it() {
        let mut facts = Facts::default();
        assert!(matches!(facts.tagged("r/a", "v1"), Tagged::Unknown));
        facts.learn("r/a", &asked(Age::Remembered), resolved("a", Source::Remembered));
        assert!(matches!(facts.tagged("r/a", "v1"), Tagged::Answer(_, Ground::Ask)));
        let failed = Undecided::new(Failure::RateLimited, "later");
        facts.learn("r/a", &asked(Age::Now), Answer::Digest(Err(failed)));
        assert!(matches!(facts.tagged("r/a", "v1"), Tagged::Answer(_, Ground::Failed(u)) if u.detail == "later"));
        assert!(facts.digest("r/a", "v1").unwrap().is_ok());
    }

    #[test]
    fn an_answer_of_now_is_firm_and_an_old_one_never_is() {
        let mut facts = Facts::default();
        facts.learn("r/a", &asked(Age::Remembered), resolved("a", Source::Now));
        assert!(matches!(facts.tagged("r/a", "v1"), Tagged::Answer(_, Ground::Firm)));
        facts.learn("r/a", &asked(Age::Now), resolved("a", Source::Stale(9)));
        assert!(matches!(facts.tagged("r/a", "v1"), Tagged::Answer(_, Ground::Old)));
    }

    #[test]
    fn every_answer_is_found_again_however_many_there_are() {
        let names: Vec<(String, String)> =
            (0..40).map(|number| (format!("r/{}", number / 3), format!("v{number}"))).collect();
        let mut facts = Facts::default();
        for (count, (name, tag)) in names.iter().enumerate() {
            let asked = Asked::Digest { tag, floating: false, age: Age::Remembered, budget: Budget::Review };
            for digit in ["a", "b"] {
                facts.learn(name, &asked, resolved(digit, Source::Now));
            }
            facts.learn(name, &Asked::Tags, Answer::Tags(Ok(vec![tag.clone()])));
            for (known, (name, tag)) in names.iter().enumerate() {
                let found = facts.digest(name, tag).map(|answer| answer.as_ref().unwrap().digest.as_str().to_owned());
                let wanted = (known <= count).then(|| format!("sha256:{}", "b".repeat(64)));
                assert_eq!(found, wanted, "{known} of {count}");
            }
            assert_eq!(facts.tags(name), Some(&Ok(vec![tag.clone()])));
        }
        assert_eq!(facts.digests("r/1").count(), 3);
        // Repository and tag are kept in one text, and told apart all the same.
        assert!(facts.digest("r/1v", "3").is_none() && facts.digest("r/", "1v3").is_none());
    }

    #[test]
    fn the_answer_to_another_question_closes_the_lookup_and_says_nothing() {
        let mut facts = Facts::default();
        facts.learn("r/a", &asked(Age::Remembered), Answer::Tags(Ok(vec!["v1".to_owned()])));
        assert!(matches!(facts.tagged("r/a", "v1"), Tagged::Failed(_)) && facts.tags("r/a").is_none());
        facts.learn("r/a", &Asked::Tags, resolved("a", Source::Now));
        facts.learn("r/a", &Asked::Labels { digest: "sha256:a" }, resolved("a", Source::Now));
        facts.learn("r/a", &Asked::Image { digest: "sha256:a" }, resolved("a", Source::Now));
        assert!(facts.tags("r/a").unwrap().is_err() && facts.labels("r/a", "sha256:a").unwrap().is_err());
        assert!(facts.image("r/a", "sha256:a").unwrap().is_err());
    }
}
