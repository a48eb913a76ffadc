//! The resolver: a plan's lookups, side by side and under one deadline, from memory where it will do.

mod ask;
mod hosts;
mod limits;
mod lookup;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use tokio::time::Instant;

use self::ask::{Ask, Open, Question, Reply};
use self::hosts::{Host, Hosts};
use self::limits::Namespaces;
use self::lookup::{Answered, Found, Logins, Tried, passes_on};
use super::cache::first_seen::FirstSeen;
use super::cache::flight::Flights;
use super::cache::last_known::{self, Candidate, LastKnown, Who};
use super::cache::{Kind, Store, Terms, Value};
use super::credentials::{CallerCredentials, Identity, Login, PullSecret};
use super::failure::{Failure, FailureKind};
use super::remote::Inspection;
use super::settings::{CacheSettings, Settings};
use crate::image::DigestBuf;
use crate::metrics::{CacheResult, Metrics};
use crate::policy::{self, Age, Answer, Asked, Budget, Facts, ImageFacts, Plan, Resolved, Source, Undecided};

/// What is said of a fact that was not there at the deadline.
const NOT_IN_TIME: &str = "not answered within the review's time";

/// What is said of a registry that nobody allowed us to ask.
const NOT_NAMED: &str = "not asked: no policy and no configuration names this registry";

/// Rounds of questions at most. Answers raise further ones two or three times; more would be a fault of ours, and must end.
const ROUNDS: usize = 16;

/// Answers lookups. Clones share everything.
#[derive(Clone)]
pub struct Resolver {
    inner: Arc<Inner>,
}

struct Inner {
    metrics: Arc<Metrics>,
    open: Arc<Open>,
    state: ArcSwap<State>,
    /// Held while the state is being replaced.
    configuring: Mutex<()>,
    flights: Arc<Flights>,
    first_seen: FirstSeen,
    last_known: LastKnown,
}

/// What the settings make. A lookup keeps the one that it began with.
struct State {
    settings: Settings,
    hosts: Hosts,
    store: Store,
    namespaces: Arc<Namespaces>,
}

/// On whose behalf is asked.
#[derive(Clone, Copy, Default)]
pub struct Asker<'a> {
    /// The namespace of the object; its lookups at one time are bounded.
    pub namespace: Option<&'a str>,
    /// The pull secrets of the Pod, or of its service account, in their order; tried before configured credentials.
    pub pull_secrets: &'a [PullSecret],
    /// What is said of the others that were named, where there is no access: each cannot be had, or cannot be used.
    pub unusable: &'a [String],
    /// On the command line: whoever calls us, tried after configured credentials.
    pub caller: Option<&'a CallerCredentials>,
}

/// What `tagwarden resolve` shows of an image.
#[derive(Clone, Debug)]
pub struct Description {
    /// The digest of what the tag names.
    pub digest: DigestBuf,
    /// Its media type.
    pub media_type: String,
    /// `os/architecture[/variant]`, in the index's order.
    pub platforms: Vec<String>,
    /// Who we were when the registry answered.
    pub login: String,
}

impl Resolver {
    /// A resolver that knows nothing yet. `hosts`: those that a policy names literally.
    ///
    /// # Errors
    /// One sentence: a file of the settings cannot be used.
    pub fn new(settings: Settings, hosts: BTreeSet<String>, metrics: Arc<Metrics>) -> Result<Self, String> {
        Self::over(Arc::new(ask::remote), settings, &hosts, metrics)
    }

    fn over(
        open: Arc<Open>,
        settings: Settings,
        hosts: &BTreeSet<String>,
        metrics: Arc<Metrics>,
    ) -> Result<Self, String> {
        let state = State::new(settings, hosts, open.clone(), None)?;
        let inner = Inner {
            metrics,
            open,
            state: ArcSwap::from_pointee(state),
            configuring: Mutex::new(()),
            flights: Arc::default(),
            first_seen: FirstSeen::default(),
            last_known: LastKnown::default(),
        };
        Ok(Resolver { inner: Arc::new(inner) })
    }

    /// Takes other settings and hosts; what is remembered of a registry whose settings did not change stays, unless the
    /// bounds of the memory change.
    ///
    /// # Errors
    /// One sentence: a file of the settings cannot be used. The old ones stay then.
    pub fn configure(&self, settings: Settings, hosts: BTreeSet<String>) -> Result<(), String> {
        let _one_at_a_time = self.inner.configuring.lock().unwrap_or_else(PoisonError::into_inner);
        let old = self.inner.state.load();
        let state = State::new(settings, &hosts, self.inner.open.clone(), Some(&**old))?;
        self.inner.state.store(Arc::new(state));
        Ok(())
    }

    /// Everything that a plan asks for and that can be had by `deadline`. Cannot fail: what could not be had is in the
    /// facts as such. Dropped, it leaves the requests that are under way to those who come next.
    pub async fn facts(&self, plan: &Plan<'_>, asker: Asker<'_>, deadline: Instant) -> Facts {
        self.facts_from(plan, plan.missing(&Facts::default()), asker, deadline).await
    }

    /// The same for whoever has asked the plan already what is missing without any facts: `first`.
    pub async fn facts_from<'p>(
        &self,
        plan: &'p Plan<'_>,
        first: Vec<policy::Lookup<'p>>,
        asker: Asker<'_>,
        deadline: Instant,
    ) -> Facts {
        self.gather(first, |facts| plan.missing(facts), asker, deadline).await
    }

    async fn gather<'p>(
        &self,
        first: Vec<policy::Lookup<'p>>,
        missing: impl Fn(&Facts) -> Vec<policy::Lookup<'p>> + Send,
        asker: Asker<'_>,
        deadline: Instant,
    ) -> Facts {
        let state = self.inner.state.load_full();
        let mut facts = Facts::none(Undecided::new(policy::Failure::Unreachable, NOT_IN_TIME));
        let mut left = state.settings.lookups.per_review;
        let mut lookups = first;
        for _ in 0..ROUNDS {
            if lookups.is_empty() {
                break;
            }
            let mut waiting = Vec::new();
            for lookup in &lookups {
                if let Some(answer) = self.at_once(&state, lookup, asker).await {
                    facts.learn(lookup.name, &lookup.what, answer);
                } else if spend(&lookup.what, &mut left) {
                    waiting.push(self.by_registry(&state, lookup, asker, deadline).map(move |answer| (lookup, answer)));
                } else {
                    let what = format!(
                        "not asked: more lookups than limits.lookupsPerReview ({}) allows",
                        state.settings.lookups.per_review
                    );
                    let none = Undecided::new(policy::Failure::Unreachable, what);
                    facts.learn(lookup.name, &lookup.what, lookup.what.failed(none));
                }
            }
            // Mostly all is at hand, and nobody has to wait.
            if waiting.is_empty() {
                drop(waiting);
            } else {
                let mut waiting: FuturesUnordered<_> = waiting.into_iter().collect();
                while let Some((lookup, answer)) = waiting.next().await {
                    facts.learn(lookup.name, &lookup.what, answer);
                }
            }
            lookups = missing(&facts);
        }
        facts
    }

    /// The answer that needs no waiting: a refusal, or one from memory.
    async fn at_once(&self, state: &Arc<State>, lookup: &policy::Lookup<'_>, asker: Asker<'_>) -> Option<Answer> {
        let Some((host, repository)) = state.find(lookup.name) else {
            let none = Undecided::new(policy::Failure::Unreachable, NOT_NAMED);
            return Some(lookup.what.failed(none));
        };
        // Configured credentials may have to be fetched; where they are at hand this is done at once.
        let logins = logins(host, repository, asker, Instant::now()).now_or_never()?;
        if logins.missing.is_some() {
            return None;
        }
        let one = self.lookup(state, host, lookup, asker, &logins);
        let answer = one.at_hand().await?;
        Some(self.answer(lookup, answer, asker))
    }

    async fn by_registry(
        &self,
        state: &Arc<State>,
        lookup: &policy::Lookup<'_>,
        asker: Asker<'_>,
        deadline: Instant,
    ) -> Answer {
        let Some((host, repository)) = state.find(lookup.name) else {
            return lookup.what.failed(Undecided::new(policy::Failure::Unreachable, NOT_IN_TIME));
        };
        let logins = logins(host, repository, asker, deadline).await;
        let answer = self.lookup(state, host, lookup, asker, &logins).ask_registry(deadline).await;
        self.answer(lookup, answer, asker)
    }

    fn lookup<'a>(
        &'a self,
        state: &'a Arc<State>,
        host: &'a Arc<Host>,
        lookup: &policy::Lookup<'a>,
        asker: Asker<'a>,
        logins: &'a Logins,
    ) -> lookup::Lookup<'a> {
        let (kind, item, age, floating) = match lookup.what {
            Asked::Digest { tag, age, floating, .. } => (Kind::Digest, tag, age, floating),
            Asked::Labels { digest } => (Kind::Labels, digest, Age::Remembered, true),
            Asked::Image { digest } => (Kind::Image, digest, Age::Remembered, true),
            Asked::Tags => (Kind::Tags, "", Age::Remembered, true),
        };
        lookup::Lookup {
            inner: &self.inner,
            state,
            host,
            name: lookup.name,
            kind,
            item,
            age,
            floating,
            terms: Terms::of(&lookup.what, &state.settings.cache),
            namespace: asker.namespace,
            logins,
        }
    }

    /// In the words of policies.
    fn answer(&self, lookup: &policy::Lookup<'_>, answer: Result<Found, Tried>, asker: Asker<'_>) -> Answer {
        self.inner.metrics.cache_request(match &answer {
            Ok(Found { source: Source::Stale(_), .. }) => CacheResult::Stale,
            Ok(Found { by: Answered::FromMemory, .. }) => CacheResult::Hit,
            Err(Tried { by: Answered::FromMemory, .. }) => CacheResult::Negative,
            _ => CacheResult::Miss,
        });
        let found = match answer {
            Ok(found) => found,
            Err(tried) => return lookup.what.failed(tried.undecided(asker.unusable)),
        };
        match &found.last.value {
            Value::Labels(labels) => Answer::Labels(Ok((**labels).clone())),
            Value::Image(image) => Answer::Image(Ok(image.clone())),
            Value::Tags(tags) => Answer::Tags(Ok((**tags).clone())),
            Value::Digest(digest) => Answer::Digest(Ok(Resolved {
                digest: digest.clone(),
                source: found.source,
                moved_from: self.moved_from(&lookup.what, lookup.name, &found, digest),
                public: found.last.public,
            })),
        }
    }

    /// What the tag was first, where it is of a class that does not move and has moved.
    fn moved_from(&self, asked: &Asked<'_>, name: &str, found: &Found, digest: &DigestBuf) -> Option<DigestBuf> {
        let Asked::Digest { tag, floating: false, .. } = asked else { return None };
        let first = || self.inner.first_seen.observe(name, found.identity, tag, digest);
        found.last.moved_from.get_or_init(first).clone()
    }

    /// For `tagwarden resolve`: what a tag (or digest) of `repository` at `host` names. Nothing is remembered of it.
    ///
    /// # Errors
    /// The deciding failure, each login that was tried named in it.
    pub async fn describe(
        &self,
        host: &str,
        repository: &str,
        reference: &str,
        asker: Asker<'_>,
        deadline: Instant,
    ) -> Result<Description, Failure> {
        let ask = |client: Arc<dyn Ask>, question, login| client.describe(question, login, deadline);
        self.as_each(host, repository, (Kind::Digest, reference), asker, deadline, ask).await
    }

    /// For `tagwarden pin`: the digest of a tag, by one HEAD where the registry answers that. Nothing is remembered of it.
    ///
    /// # Errors
    /// Those of [`Resolver::describe`].
    pub async fn digest(
        &self,
        host: &str,
        repository: &str,
        tag: &str,
        asker: Asker<'_>,
        deadline: Instant,
    ) -> Result<DigestBuf, Failure> {
        let ask = |client: Arc<dyn Ask>, question, login| client.ask(question, login, deadline);
        match self.as_each(host, repository, (Kind::Digest, tag), asker, deadline, ask).await? {
            Value::Digest(digest) => Ok(digest),
            _ => Err(Failure::new(FailureKind::Protocol, "another answer than a digest")),
        }
    }

    /// For `tagwarden labels check`: what the image of a digest says of itself. Nothing is remembered of it.
    ///
    /// # Errors
    /// Those of [`Resolver::describe`].
    pub async fn image(
        &self,
        host: &str,
        repository: &str,
        digest: &str,
        asker: Asker<'_>,
        deadline: Instant,
    ) -> Result<Arc<ImageFacts>, Failure> {
        let ask = |client: Arc<dyn Ask>, question, login| client.ask(question, login, deadline);
        match self.as_each(host, repository, (Kind::Image, digest), asker, deadline, ask).await? {
            Value::Image(image) => Ok(image),
            _ => Err(Failure::new(FailureKind::Protocol, "another answer than an image's facts")),
        }
    }

    /// For `tagwarden release`: what a lock says of a tag or digest. Nothing is remembered of it.
    ///
    /// # Errors
    /// Those of [`Resolver::describe`].
    pub async fn inspect(
        &self,
        host: &str,
        repository: &str,
        reference: &str,
        asker: Asker<'_>,
        deadline: Instant,
    ) -> Result<Inspection, Failure> {
        let ask = |client: Arc<dyn Ask>, question, login| client.inspect(question, login, deadline);
        self.as_each(host, repository, (Kind::Digest, reference), asker, deadline, ask).await
    }

    /// Asks as one login after the other, for as long as the answer is that another may have access.
    async fn as_each<T>(
        &self,
        host: &str,
        repository: &str,
        (kind, item): (Kind, &str),
        asker: Asker<'_>,
        deadline: Instant,
        ask: impl Fn(Arc<dyn Ask>, Question, Login) -> Reply<T>,
    ) -> Result<T, Failure> {
        let state = self.inner.state.load_full();
        let Some(host) = state.hosts.find(host) else {
            return Err(Failure::new(FailureKind::Unreachable, NOT_NAMED));
        };
        let client = state.hosts.client(host)?;
        let logins = logins(host, repository, asker, deadline).await;
        let mut tried = Vec::new();
        for login in &logins.logins {
            let question = Question { repository: repository.into(), kind, item: item.into() };
            let reply = ask(client.clone(), question, login.clone());
            let failure = match tokio::time::timeout_at(deadline, reply).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(failure)) => failure,
                Err(_) => Failure::new(FailureKind::Timeout, "no answer in time"),
            };
            let ends = !passes_on(failure.kind);
            tried.push((login, Arc::new(failure)));
            if ends {
                break;
            }
        }
        let tried = Tried::new(&tried, logins.missing.as_ref(), Answered::ByRegistry);
        Err(Failure { what: tried.text(), ..Failure::clone(&tried.decisive) })
    }

    /// The last-known digests learned anonymously or with configured credentials, most used first, as a document of at
    /// most `limit` bytes for [`Resolver::recall`].
    #[must_use]
    pub fn remembered(&self, limit: usize) -> Vec<u8> {
        let state = self.inner.state.load_full();
        let mut candidates = self.inner.last_known.candidates();
        candidates.extend(state.store.iter().filter_map(|(key, known)| {
            let last = known.last().filter(|last| last.public && last.uses() > 0)?;
            let Value::Digest(digest) = &last.value else { return None };
            let who = if key.identity == Identity::default() { Who::Anonymous } else { Who::Configured };
            let current = state.find(&key.name).is_some_and(|(host, _)| host.epoch == key.epoch);
            current.then(|| Candidate {
                name: key.name.clone(),
                tag: key.item.clone(),
                who,
                digest: digest.clone(),
                age: last.age(),
                uses: last.uses(),
            })
        }));
        let oldest = oldest(&state.settings.cache);
        candidates.retain(|candidate| candidate.age <= oldest && state.find(&candidate.name).is_some());
        last_known::write(candidates, limit)
    }

    /// Takes in a document of [`Resolver::remembered`] in place of what was taken in before: its digests serve while a
    /// registry fails, up to `staleFor` from when they were too old to be remembered, and never as an answer of the
    /// registry's own. How many are taken in. What is no such document is an error and changes nothing.
    ///
    /// # Errors
    /// One sentence, without a word of the document.
    pub fn recall(&self, document: &[u8]) -> Result<usize, String> {
        let state = self.inner.state.load();
        self.inner.last_known.recall(document, oldest(&state.settings.cache))
    }
}

impl State {
    fn new(settings: Settings, hosts: &BTreeSet<String>, open: Arc<Open>, old: Option<&State>) -> Result<Self, String> {
        let bounds = |cache: &CacheSettings| (cache.bytes, cache.entries);
        let store = match old {
            Some(old) if bounds(&old.settings.cache) == bounds(&settings.cache) => old.store.clone(),
            _ => Store::new(&settings.cache),
        };
        let per_namespace = settings.lookups.per_namespace;
        let namespaces = match old {
            Some(old) if old.settings.lookups.per_namespace == per_namespace => old.namespaces.clone(),
            _ => Arc::new(Namespaces::new(per_namespace)),
        };
        let hosts = Hosts::new(&settings, hosts, open, old.map(|old| &old.hosts))?;
        Ok(State { settings, hosts, store, namespaces })
    }

    /// The host of a `host/repository`, if it may be asked, and the repository.
    fn find<'n>(&self, name: &'n str) -> Option<(&Arc<Host>, &'n str)> {
        let (host, repository) = name.split_once('/')?;
        Some((self.hosts.find(host)?, repository))
    }
}

/// Who to be, in order: the Pod's secrets, what is configured and lent to the namespace, the caller, then nobody.
async fn logins(host: &Host, repository: &str, asker: Asker<'_>, deadline: Instant) -> Logins {
    let mut logins = PullSecret::logins(asker.pull_secrets, &host.name, repository);
    let mut missing = None;
    let unread = |error: String| Failure::new(FailureKind::Unreachable, error);
    if let Some(configured) = &host.configured
        && host.lends_to(asker.namespace)
    {
        match configured.logins(&host.name, repository, deadline).await {
            Ok(configured) => logins.extend(configured),
            Err(error) => missing = Some(unread(error)),
        }
    }
    if let Some(caller) = asker.caller {
        match caller.logins(&host.name, repository, deadline).await {
            Ok(own) => logins.extend(own),
            Err(error) => missing = Some(unread(error)),
        }
    }
    logins.push(Login::anonymous());
    Logins { logins, missing }
}

/// Takes one off the lookups of a review; false if none is left. A search has a bound of its own, the plan's.
fn spend(asked: &Asked<'_>, left: &mut usize) -> bool {
    if matches!(asked, Asked::Digest { budget: Budget::Search, .. }) {
        return true;
    }
    let some = *left > 0;
    *left = left.saturating_sub(1);
    some
}

/// How old an answer may be to serve while a registry fails.
fn oldest(cache: &CacheSettings) -> Duration {
    match cache.stale_for.is_zero() {
        true => Duration::ZERO,
        false => cache.immutable_ttl.saturating_add(cache.stale_for),
    }
}
