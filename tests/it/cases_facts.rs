//! A registry made of data, for the engine's data cases and invariants: what it answers now, and what is remembered of it.

use std::cell::Cell;
use std::sync::Arc;

use tagwarden::document::{Node, Value};
use tagwarden::image::{DigestBuf, Platform};
use tagwarden::policy::{
    Age, Answer, Asked, Budget, Created, Facts, Failure, ImageFacts, ImageLabels, Lookup, Plan, PlatformFacts,
    Resolved, Source, Undecided,
};

/// What a case says of registries.
pub struct Registry<'n> {
    node: Option<&'n Node>,
    asked: Cell<usize>,
}

impl<'n> Registry<'n> {
    pub fn of(node: Option<&'n Node>) -> Self {
        Registry { node, asked: Cell::new(0) }
    }

    /// `SHA_A` is the digest of 64 `a`.
    pub fn spelled_out(text: &str) -> String {
        ["a", "b", "c", "d", "e", "f"]
            .into_iter()
            .fold(text.to_owned(), |text, digit| text.replace(&format!("SHA_{}", digit.to_uppercase()), &sha(digit)))
    }

    /// How many lookups there were.
    pub fn asked(&self) -> usize {
        self.asked.get()
    }

    /// Everything that a plan asks, round after round.
    pub fn facts(&self, plan: &Plan<'_>) -> Facts {
        let mut facts = Facts::default();
        for round in 0.. {
            assert!(round < 50, "the rounds do not end");
            let lookups = plan.missing(&facts);
            if lookups.is_empty() {
                break;
            }
            let searches = lookups.iter().filter(|l| matches!(l.what, Asked::Digest { budget: Budget::Search, .. }));
            assert!(searches.count() <= 16, "a scan goes in batches");
            for lookup in &lookups {
                self.asked.set(self.asked.get() + 1);
                facts.learn(lookup.name, &lookup.what, self.answer(lookup));
            }
        }
        facts
    }

    fn answer(&self, lookup: &Lookup<'_>) -> Answer {
        let repository = self.node.and_then(|node| node.get(lookup.name));
        let Some(repository) = repository else {
            let failed = Undecided::new(Failure::Unreachable, "the case names no such repository");
            return lookup.what.failed(failed);
        };
        let tags = repository.get("tags");
        match lookup.what {
            Asked::Digest { tag, age, .. } => {
                let written = tags.and_then(|tags| tags.get(tag));
                let written = match (written.and_then(|node| node.get("now")), age) {
                    (Some(now), Age::Now) => Some(now),
                    _ => written,
                };
                let missing = || Err(Undecided::new(Failure::NotFound, "there is no such tag"));
                Answer::Digest(written.map_or_else(missing, resolved))
            }
            Asked::Labels { digest } => {
                let image = repository.get("images").and_then(|images| images.get(digest));
                Answer::Labels(match image.and_then(|image| image.as_str()) {
                    Some(word) => Err(failed(word)),
                    None => Ok(image.and_then(|image| image.get("labels")).map(labels).unwrap_or_default()),
                })
            }
            Asked::Image { digest } => {
                let image = repository.get("images").and_then(|images| images.get(digest));
                Answer::Image(match image.and_then(|image| image.as_str()) {
                    Some(word) => Err(failed(word)),
                    None => Ok(Arc::new(image_facts(image, &DigestBuf::parse(digest).unwrap()))),
                })
            }
            Asked::Tags => Answer::Tags(match repository.get("list").and_then(Node::as_str) {
                Some(word) => Err(failed(word)),
                None => Ok(names(tags).chain(many(repository)).collect()),
            }),
        }
    }
}

/// `many: {releases: 250}` stands for so many further releases, none of which exists any more.
fn many(repository: &Node) -> impl Iterator<Item = String> + use<> {
    let releases = repository.get("many").map_or(0, |node| match node.value {
        Value::Int(number) => number,
        _ => panic!("'many' is a number"),
    });
    (0..releases).map(|number| format!("v9.{number}.0"))
}

fn names(tags: Option<&Node>) -> impl Iterator<Item = String> + use<> {
    let names: Vec<String> = match tags.map(|tags| &tags.value) {
        Some(Value::Map(entries)) => entries.iter().map(|entry| entry.key.clone()).collect(),
        _ => Vec::new(),
    };
    names.into_iter()
}

fn labels(node: &Node) -> ImageLabels {
    let Value::Map(entries) = &node.value else { panic!("labels are a map") };
    entries.iter().map(|entry| (entry.key.clone(), entry.value.as_str().unwrap().to_owned())).collect()
}

/// What an image says of itself: `labels`, `created`, `base`, and `platforms` as a list or as a map of the same keys.
fn image_facts(image: Option<&Node>, digest: &DigestBuf) -> ImageFacts {
    let on = |name: &str, own: Option<&Node>| {
        let key = |key: &str| own.and_then(|own| own.get(key)).or_else(|| image?.get(key));
        let mut facts = PlatformFacts::silent(Platform::parse(name).unwrap(), digest.clone());
        facts.labels = key("labels").map(labels).unwrap_or_default();
        facts.base = key("base").map(|base| base.as_str().unwrap().to_owned());
        facts.created = key("created").map_or(Created::Absent, |created| Created::read(created.as_str().unwrap()));
        facts
    };
    let platforms = match image.and_then(|image| image.get("platforms")).map(|node| &node.value) {
        Some(Value::List(names)) => names.iter().map(|name| on(name.as_str().unwrap(), None)).collect(),
        Some(Value::Map(entries)) => entries.iter().map(|entry| on(&entry.key, Some(&entry.value))).collect(),
        _ => vec![on("linux/amd64", None)],
    };
    ImageFacts { platforms }
}

/// A digest, a failure's name, or `{digest, remembered, stale, movedFrom, private}`.
fn resolved(node: &Node) -> Result<Resolved, Undecided> {
    let digest = |node: &Node| DigestBuf::parse(node.as_str().unwrap()).unwrap();
    if let Some(word) = node.as_str() {
        return DigestBuf::parse(word).map(Resolved::now).map_err(|_| failed(word));
    }
    let source = match node.get("stale").map(|node| &node.value) {
        Some(Value::Int(seconds)) => Source::Stale(u64::try_from(*seconds).unwrap()),
        _ if node.get("remembered").is_some() => Source::Remembered,
        _ => Source::Now,
    };
    let known = digest(node.get("digest").expect("a digest"));
    let moved_from = node.get("movedFrom").map(digest);
    Ok(Resolved { digest: known, source, moved_from, public: node.get("private").is_none() })
}

fn failed(word: &str) -> Undecided {
    let failure = match word {
        "unreachable" => Failure::Unreachable,
        "not-found" => Failure::NotFound,
        "rate-limited" => Failure::RateLimited,
        "protocol" => Failure::Protocol,
        other => panic!("neither a digest nor a failure: {other}"),
    };
    Undecided::new(failure, format!("the case says {word}"))
}

fn sha(digit: &str) -> String {
    format!("sha256:{}", digit.repeat(64))
}

/// Answers by chance: anything that a resolver could say, and answers to other questions.
pub struct Chance(u64);

impl Chance {
    pub fn new(seed: u64) -> Self {
        Chance(seed)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }

    pub fn answer(&mut self, lookup: &Lookup<'_>) -> Answer {
        match (lookup.what, self.below(12)) {
            (_, 0) => Answer::Tags(Ok(vec!["v1.2.3".to_owned(), "no tag\n".to_owned()])),
            (Asked::Digest { .. }, _) => Answer::Digest(self.digest()),
            (Asked::Labels { .. }, 1) => Answer::Labels(Err(self.failure())),
            (Asked::Image { .. }, 1) => Answer::Image(Err(self.failure())),
            (Asked::Image { .. }, _) => Answer::Image(Ok(Arc::new(self.image()))),
            (Asked::Labels { .. }, _) => Answer::Labels(Ok(self.labels())),
            (Asked::Tags, 1) => Answer::Tags(Err(self.failure())),
            (Asked::Tags, _) => {
                let count = self.below(260);
                Answer::Tags(Ok((0..count).map(|n| format!("v1.{n}.{}", self.below(3))).collect()))
            }
        }
    }

    fn labels(&mut self) -> ImageLabels {
        let version = format!("{}.{}.0", self.below(3), self.below(3));
        let revision = ["0123456789abcdef0123456789abcdef01234567", "abcdef0", "x", "\u{430}\n"];
        let revision = revision[usize::try_from(self.below(4)).unwrap()].to_owned();
        [
            ("org.opencontainers.image.version".to_owned(), version),
            ("org.opencontainers.image.revision".to_owned(), revision),
        ]
        .into()
    }

    fn image(&mut self) -> ImageFacts {
        let mut platform = || {
            let names = ["linux/amd64", "linux/arm64/v8", "windows/amd64"];
            let name = names[usize::try_from(self.below(3)).unwrap()];
            let digest = DigestBuf::parse(&sha("c")).unwrap();
            let mut facts = PlatformFacts::silent(Platform::parse(name).unwrap(), digest);
            facts.labels = self.labels();
            let bases = [None, Some("facts.example.com/base/go:1"), Some("\u{1b}[31m no base")];
            facts.base = bases[usize::try_from(self.below(3)).unwrap()].map(str::to_owned);
            let moments =
                [Created::Absent, Created::Unreadable, Created::At(i64::MIN), Created::At(i64::MAX), Created::At(0)];
            facts.created = moments[usize::try_from(self.below(5)).unwrap()];
            facts
        };
        let platforms = vec![platform(), platform()];
        ImageFacts { platforms }
    }

    fn digest(&mut self) -> Result<Resolved, Undecided> {
        let digests = ["a", "b"].map(|digit| DigestBuf::parse(&sha(digit)).unwrap());
        let pick = |chance: &mut Self| digests[usize::try_from(chance.below(2)).unwrap()].clone();
        match self.below(4) {
            0 => Err(self.failure()),
            source => Ok(Resolved {
                digest: pick(self),
                source: [Source::Now, Source::Remembered, Source::Stale(60)][usize::try_from(source - 1).unwrap()],
                moved_from: (self.below(3) == 0).then(|| pick(self)),
                public: self.below(2) == 0,
            }),
        }
    }

    fn failure(&mut self) -> Undecided {
        let failures = [Failure::Unreachable, Failure::NotFound, Failure::RateLimited, Failure::Protocol];
        Undecided::new(failures[usize::try_from(self.below(4)).unwrap()], "by chance")
    }
}
