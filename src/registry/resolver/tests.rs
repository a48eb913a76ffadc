//! The resolver over a registry of the tests' own, in virtual time.

mod limits;
mod logins;
mod memory;
mod outages;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::ask::{Ask, Question, Reply};
use super::{Asker, Description, Inspection, Resolver};
use crate::image::{DigestBuf, Platform};
use crate::metrics::Metrics;
use crate::policy::{Age, Asked, Budget, Facts, ImageFacts, Lookup, PlatformFacts, Resolved, Undecided};
use crate::registry::cache::{Kind, Value};
use crate::registry::credentials::Login;
use crate::registry::failure::{Failure, FailureKind};
use crate::registry::settings::Settings;

const HOST: &str = "registry.example.com";
const NAME: &str = "registry.example.com/acme/api";

/// What the registry does with a question.
#[derive(Clone, Copy, Debug)]
enum Does {
    /// Gives the digest of this one hex digit, or labels or tags with it in them.
    Say(char),
    Fail(FailureKind),
    /// Never answers, as one that does not keep to deadlines.
    Hang,
    /// Gives the digest so much later.
    SayLate(char, Duration),
    Panic,
}

type Script = Box<dyn Fn(&Question, &Login) -> Does + Send + Sync>;

/// All registries of a test.
struct Registry {
    script: Mutex<Script>,
    /// Every question, in order, with who asked.
    asked: Mutex<Vec<(Question, String)>>,
    at_once: AtomicUsize,
    most_at_once: AtomicUsize,
}

struct Client(Arc<Registry>);

/// A resolver over a scripted registry.
struct World {
    resolver: Resolver,
    registry: Arc<Registry>,
    metrics: Arc<Metrics>,
}

fn digest(digit: char) -> DigestBuf {
    DigestBuf::parse(&format!("sha256:{}", digit.to_string().repeat(64))).unwrap()
}

/// An image of one platform, whose digest has this one digit.
fn image(digit: char) -> ImageFacts {
    ImageFacts { platforms: vec![PlatformFacts::silent(Platform::common(), digest(digit))] }
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn named(hosts: &[&str]) -> BTreeSet<String> {
    hosts.iter().map(|host| (*host).to_owned()).collect()
}

impl Registry {
    fn does(&self, script: impl Fn(&Question, &Login) -> Does + Send + Sync + 'static) {
        *self.script.lock().unwrap() = Box::new(script);
    }

    /// Questions since the last time.
    fn count(&self) -> usize {
        std::mem::take(&mut *self.asked.lock().unwrap()).len()
    }
}

impl Ask for Client {
    fn ask(self: Arc<Self>, question: Question, login: Login, _: Instant) -> Reply<Value> {
        let registry = self.0.clone();
        Box::pin(async move {
            // Held to the end, as a client that is in use is.
            let _client = self;
            registry.asked.lock().unwrap().push((question.clone(), login.origin.to_string()));
            let now = registry.at_once.fetch_add(1, Ordering::SeqCst) + 1;
            registry.most_at_once.fetch_max(now, Ordering::SeqCst);
            let does = registry.script.lock().unwrap()(&question, &login);
            let said = match does {
                Does::Say(digit) => Ok(digit),
                Does::Fail(kind) => Err(Failure::new(kind, "it failed").saying(b"EVIL words")),
                Does::Hang => std::future::pending().await,
                Does::SayLate(digit, late) => {
                    timeout(late, std::future::pending::<()>()).await.unwrap_err();
                    Ok(digit)
                }
                Does::Panic => panic!("the registry of the test panics"),
            };
            registry.at_once.fetch_sub(1, Ordering::SeqCst);
            let digit = said?;
            Ok(match question.kind {
                Kind::Digest => Value::Digest(digest(digit)),
                Kind::Labels => Value::Labels(Arc::new(BTreeMap::from([("label".to_owned(), digit.to_string())]))),
                Kind::Image => Value::Image(Arc::new(image(digit))),
                Kind::Tags => Value::Tags(Arc::new(vec![digit.to_string()])),
            })
        })
    }

    fn describe(self: Arc<Self>, question: Question, login: Login, deadline: Instant) -> Reply<Description> {
        Box::pin(async move {
            let Value::Digest(digest) = self.ask(question, login.clone(), deadline).await? else {
                panic!("asked for a digest")
            };
            Ok(Description {
                digest,
                media_type: "x/y".to_owned(),
                platforms: Vec::new(),
                login: login.origin.into_owned(),
            })
        })
    }

    fn inspect(self: Arc<Self>, question: Question, login: Login, deadline: Instant) -> Reply<Inspection> {
        Box::pin(async move {
            let digest = self.describe(question, login, deadline).await?.digest;
            Ok(Inspection { digest, platforms: BTreeMap::new(), revision: None })
        })
    }
}

impl World {
    fn new(does: Does) -> Self {
        Self::with(Settings::default(), &[HOST], does)
    }

    fn with(settings: Settings, hosts: &[&str], does: Does) -> Self {
        let registry = Arc::new(Registry {
            script: Mutex::new(Box::new(move |_, _| does)),
            asked: Mutex::default(),
            at_once: AtomicUsize::new(0),
            most_at_once: AtomicUsize::new(0),
        });
        let metrics = Arc::new(Metrics::new().unwrap());
        let client = registry.clone();
        let open = Arc::new(move |_: &str, _: Option<&_>, _: &Settings| -> Result<Arc<dyn Ask>, String> {
            Ok(Arc::new(Client(client.clone())))
        });
        let resolver = Resolver::over(open, settings, &named(hosts), metrics.clone()).unwrap();
        World { resolver, registry, metrics }
    }

    /// One lookup with ten seconds of time.
    async fn ask(&self, what: Asked<'_>, asker: Asker<'_>) -> Facts {
        self.ask_for(&[Lookup { name: NAME, what }], asker, seconds(10)).await
    }

    /// Lookups of one round.
    async fn ask_for(&self, lookups: &[Lookup<'_>], asker: Asker<'_>, time: Duration) -> Facts {
        let missing = |facts: &Facts| lookups.iter().copied().filter(|lookup| !known(facts, lookup)).collect();
        self.resolver.gather(missing(&Facts::default()), missing, asker, Instant::now() + time).await
    }

    /// The digest of a tag that does not move.
    async fn tag(&self, tag: &str) -> Result<Resolved, Undecided> {
        self.tag_within(tag, seconds(10)).await
    }

    async fn tag_within(&self, tag: &str, time: Duration) -> Result<Resolved, Undecided> {
        self.as_asker(tag, Asker::default(), time).await
    }

    async fn as_asker(&self, tag: &str, asker: Asker<'_>, time: Duration) -> Result<Resolved, Undecided> {
        let lookup = Lookup { name: NAME, what: immutable(tag) };
        self.ask_for(&[lookup], asker, time).await.digest(NAME, tag).unwrap().clone()
    }

    async fn what(&self, what: Asked<'_>) -> Result<Resolved, Undecided> {
        let Asked::Digest { tag, .. } = what else { panic!("not a tag") };
        self.ask(what, Asker::default()).await.digest(NAME, tag).unwrap().clone()
    }

    /// Whether the metrics hold this line.
    fn shows(&self, line: &str) -> bool {
        self.metrics.text().unwrap().lines().any(|shown| shown == line)
    }
}

fn known(facts: &Facts, lookup: &Lookup<'_>) -> bool {
    match lookup.what {
        Asked::Digest { tag, .. } => facts.digest(lookup.name, tag).is_some(),
        Asked::Labels { digest } => facts.labels(lookup.name, digest).is_some(),
        Asked::Image { digest } => facts.image(lookup.name, digest).is_some(),
        Asked::Tags => facts.tags(lookup.name).is_some(),
    }
}

fn immutable(tag: &str) -> Asked<'_> {
    Asked::Digest { tag, floating: false, age: Age::Remembered, budget: Budget::Review }
}

fn floating(tag: &str) -> Asked<'_> {
    Asked::Digest { tag, floating: true, age: Age::Remembered, budget: Budget::Review }
}

fn now(tag: &str) -> Asked<'_> {
    Asked::Digest { tag, floating: false, age: Age::Now, budget: Budget::Review }
}
