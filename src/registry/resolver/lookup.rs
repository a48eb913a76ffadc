//! One lookup: the logins in their order, each from memory or by a flight, and the last known answer where all fails.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout_at};

use super::ask::Question;
use super::hosts::Host;
use super::limits::{Permits, permits, spare_permits};
use super::{Inner, State};
use crate::policy::{self, Age, Undecided};
use crate::registry::cache::breaker::Pass;
use crate::registry::cache::flight::{Landing, Ticket, Turn};
use crate::registry::cache::last_known::Who;
use crate::registry::cache::{Key, KeyRef, Kind, Last, Memory, Outcome, Terms, is_denial};
use crate::registry::credentials::{Identity, Login};
use crate::registry::failure::{Failure, FailureKind};
use crate::registry::remote::image::{AT_ONCE, PLATFORMS};

/// Bytes of what is said of a fact that could not be had.
const DETAIL_BYTES: usize = 300;

/// One question and everything that its answer depends on.
pub(super) struct Lookup<'a> {
    pub inner: &'a Arc<Inner>,
    pub state: &'a Arc<State>,
    pub host: &'a Arc<Host>,
    /// Host and repository.
    pub name: &'a str,
    pub kind: Kind,
    pub item: &'a str,
    pub age: Age,
    /// Whether the tag moves; a digest's labels and lists count as moving, nothing is kept of them beyond their time.
    pub floating: bool,
    pub terms: Terms,
    pub namespace: Option<&'a str>,
    pub logins: &'a Logins,
}

/// Who to be, in order; and what kept us from being somebody.
#[derive(Debug, Default)]
pub(super) struct Logins {
    pub logins: Vec<Login>,
    /// Credentials that could not be had: where, and why.
    pub missing: Option<Failure>,
}

/// An answer.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub last: Arc<Last>,
    pub identity: Identity,
    pub source: policy::Source,
    pub by: Answered,
}

/// Who answered: for metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answered {
    FromMemory,
    ByRegistry,
}

/// The failures of all logins that were tried, and the one that decides.
#[derive(Debug)]
pub(super) struct Tried {
    pub decisive: Arc<Failure>,
    list: String,
    pub by: Answered,
}

/// How far a lookup may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reach {
    Memory,
    Network,
}

impl Lookup<'_> {
    /// The answer that memory has, without waiting; none if the registry has to be asked.
    pub async fn at_hand(&self) -> Option<Result<Found, Tried>> {
        if self.age == Age::Now {
            return None;
        }
        let answer = self.chain(Reach::Memory).await?;
        Some(self.or_stale(answer).await)
    }

    /// The answer of the registry, by `deadline`; where it fails or is silent, what it said last.
    pub async fn ask_registry(&self, deadline: Instant) -> Result<Found, Tried> {
        let silent = || Tried::alone(Failure::new(FailureKind::Timeout, super::NOT_IN_TIME));
        if Instant::now() >= deadline {
            return self.stale().await.map(Found::used).ok_or_else(silent);
        }
        let mut chain = std::pin::pin!(self.chain(Reach::Network));
        if self.stale().await.is_some() {
            // Half of the time for a silent registry: the answer may raise further questions.
            let now = Instant::now();
            let patience = now + deadline.saturating_duration_since(now) / 2;
            match timeout_at(patience, &mut chain).await {
                Ok(Some(answer)) => return self.or_stale(answer).await,
                Ok(None) => return Err(silent()),
                Err(_) => {
                    if let Some(found) = self.stale().await {
                        return Ok(found.used());
                    }
                }
            }
        }
        match timeout_at(deadline, chain).await {
            Ok(Some(answer)) => self.or_stale(answer).await,
            Ok(None) | Err(_) => Err(silent()),
        }
    }

    /// Goes through the logins. None: memory does not reach.
    async fn chain(&self, reach: Reach) -> Option<Result<Found, Tried>> {
        let mut tried: Vec<(&Login, Arc<Failure>)> = Vec::new();
        let mut by = Answered::FromMemory;
        for login in &self.logins.logins {
            let answer = match self.remembered(login).await {
                Memory::Fresh(last) => Ok(self.remembered_answer(login, last)),
                Memory::Failed(failure) => Err(failure),
                Memory::Nothing if reach == Reach::Memory => return None,
                Memory::Nothing => {
                    by = Answered::ByRegistry;
                    self.fetch(login).await
                }
            };
            let failure = match answer {
                Ok(found) => return Some(Ok(Found { by, ..found })),
                Err(failure) => failure,
            };
            let ends = !passes_on(failure.kind);
            tried.push((login, failure));
            if ends {
                break;
            }
        }
        Some(Err(Tried::new(&tried, self.logins.missing.as_ref(), by)))
    }

    async fn or_stale(&self, answer: Result<Found, Tried>) -> Result<Found, Tried> {
        let Err(tried) = answer else { return answer };
        let fails = matches!(
            tried.decisive.kind,
            FailureKind::Timeout | FailureKind::Unreachable | FailureKind::Tls | FailureKind::RateLimited { .. }
        );
        match self.stale().await {
            Some(found) if fails => Ok(found.used()),
            _ => Err(tried),
        }
    }

    /// What the registry said last to any of the logins, if it still serves.
    async fn stale(&self) -> Option<Found> {
        if self.age == Age::Now || self.terms.stale.is_zero() {
            return None;
        }
        for login in &self.logins.logins {
            let known = self.state.store.get(&self.key(login)).await;
            let recalled = || self.inner.last_known.get(self.name, self.item, who(login)?);
            let last = known.and_then(|known| known.last().cloned()).or_else(recalled);
            if let Some(last) = last.filter(|last| self.terms.outlasts(last.age())) {
                let source = policy::Source::Stale(last.age().as_secs());
                return Some(Found { last, identity: login.identity, source, by: Answered::FromMemory });
            }
        }
        None
    }

    async fn remembered(&self, login: &Login) -> Memory {
        if self.age == Age::Now {
            return Memory::Nothing;
        }
        let Some(known) = self.state.store.get(&self.key(login)).await else { return Memory::Nothing };
        let memory = known.judge(self.terms);
        if let Memory::Fresh(last) = &memory
            && self.kind == Kind::Digest
            && self.terms.wears_out(last.age())
            && known.failure().is_none()
        {
            self.refresh(login, last);
        }
        memory
    }

    fn remembered_answer(&self, login: &Login, last: Arc<Last>) -> Found {
        if !self.floating {
            last.used();
        }
        Found { last, identity: login.identity, source: policy::Source::Remembered, by: Answered::FromMemory }
    }

    /// An answer of the registry to one login, by a flight of ours or of somebody else.
    async fn fetch(&self, login: &Login) -> Result<Found, Arc<Failure>> {
        let flights = &self.inner.flights;
        let key = self.key(login).to_key();
        let asked = flights.tick();
        let mut leave = None;
        loop {
            let ticket = Ticket { age: self.age, asked, looked: flights.tick() };
            match self.remembered(login).await {
                Memory::Fresh(last) => return Ok(self.remembered_answer(login, last)),
                Memory::Failed(failure) => return Err(failure),
                Memory::Nothing => {}
            }
            let begin = match leave.take() {
                Some(permits) => Some(self.beginning(login, permits, self.host.breaker.pass()?)),
                None => None,
            };
            match flights.turn(&key, ticket, begin) {
                Turn::Join(flight) => {
                    let last = flight.outcome().await?;
                    if !self.floating {
                        last.used();
                    }
                    let source = match flight.began_after(asked) {
                        true => policy::Source::Now,
                        false => policy::Source::Remembered,
                    };
                    return Ok(Found { last, identity: login.identity, source, by: Answered::ByRegistry });
                }
                Turn::Wait(until) => sleep_until(until).await,
                Turn::Look => {}
                Turn::Begin => {
                    self.host.breaker.check()?;
                    leave = permits(&self.state.namespaces, self.namespace, self.host).await;
                }
            }
        }
    }

    /// Asks again in the background before a remembered answer is too old; not where anybody would have to wait for it, nor
    /// with a Pod's secrets.
    fn refresh(&self, login: &Login, last: &Arc<Last>) {
        if !login.public || last.refreshing.swap(true, Ordering::Relaxed) {
            return;
        }
        let begin = || {
            let permits = spare_permits(self.host)?;
            let pass = self.host.breaker.is_closed().then(|| self.host.breaker.pass().ok())??;
            Some(self.beginning(login, permits, pass))
        };
        let Some(begin) = begin() else {
            last.refreshing.store(false, Ordering::Relaxed);
            return;
        };
        let flights = &self.inner.flights;
        let now = flights.tick();
        let ticket = Ticket { age: Age::Remembered, asked: now, looked: now };
        flights.turn(&self.key(login).to_key(), ticket, Some(begin));
    }

    /// What starts a flight: it has its own limits, and goes on whoever leaves.
    fn beginning(&self, login: &Login, permits: Permits, pass: Pass) -> impl FnOnce(Landing) + use<> {
        let (_, repository) = self.name.split_once('/').unwrap_or((self.name, ""));
        let question = Question { repository: repository.into(), kind: self.kind, item: self.item.into() };
        let flight = Flying {
            inner: self.inner.clone(),
            state: self.state.clone(),
            host: self.host.clone(),
            question,
            login: login.clone(),
            permits,
            pass,
        };
        move |landing| {
            tokio::spawn(flight.fly(landing));
        }
    }

    fn key<'k>(&'k self, login: &Login) -> KeyRef<'k> {
        KeyRef { epoch: self.host.epoch, kind: self.kind, name: self.name, item: self.item, identity: login.identity }
    }
}

/// Whether the next login may fare better. One that is refused, or sees nothing, leaves the question to the next: a wrong
/// pull secret must not hide a public image. So does one that is rate limited: others have limits of their own. Any other
/// failure is one of the registry, whoever asks.
pub(super) const fn passes_on(kind: FailureKind) -> bool {
    is_denial(kind) || matches!(kind, FailureKind::RateLimited { .. })
}

/// As what a login stands in documents of last-known digests; pull secrets do not.
pub(super) fn who(login: &Login) -> Option<Who> {
    if !login.public {
        return None;
    }
    Some(if login.identity == Identity::default() { Who::Anonymous } else { Who::Configured })
}

/// A request on its way, with all that it needs to be on its own.
struct Flying {
    inner: Arc<Inner>,
    state: Arc<State>,
    host: Arc<Host>,
    question: Question,
    login: Login,
    permits: Permits,
    pass: Pass,
}

impl Flying {
    async fn fly(self, landing: Landing) {
        let Flying { inner, state, host, question, login, permits, pass } = self;
        let began = Instant::now();
        let deadline = began + limit(question.kind, &state);
        let answer = match state.hosts.client(&host) {
            // A client keeps to the deadline by itself; that nothing hangs rests on this line alone.
            Ok(client) => match timeout_at(deadline, client.ask(question.clone(), login.clone(), deadline)).await {
                Ok(answer) => answer,
                Err(_) => Err(Failure::new(FailureKind::Timeout, "no answer in time")),
            },
            Err(failure) => Err(failure),
        };
        let failure = answer.as_ref().err();
        pass.settle(failure.map(|failure| failure.kind));
        inner.metrics.registry_request(
            host.label(),
            failure.map_or("ok", |failure| failure.kind.name()),
            began.elapsed(),
        );
        if let Some(failure) = failure {
            tell(&host, &question, &login, failure);
        }
        if let Some(who) = who(&login)
            && failure.is_none_or(|failure| is_denial(failure.kind))
        {
            inner.last_known.forget(&landing.key().name, &question.item, who);
        }
        let outcome: Outcome = match answer {
            Ok(value) => Ok(Arc::new(Last::new(value, began, login.public))),
            Err(failure) => Err(Arc::new(failure)),
        };
        let key: Key = landing.key().clone();
        let keep = keep(question.kind, &state);
        state.store.learn(key, landing.ticket(), &outcome, keep).await;
        drop(permits);
        landing.land(outcome);
    }
}

/// How long a flight may take: the requests that its question can need, each with its own time-outs.
fn limit(kind: Kind, state: &State) -> Duration {
    let requests = match kind {
        // One, a token for it, it again; all of that by GET where HEAD does not say.
        Kind::Digest => 5,
        // Index, manifest, configuration; a token, a redirect.
        Kind::Labels => 8,
        // The same for one platform, and the rest by twos, some side by side.
        Kind::Image => 8 + 2 * u32::try_from(PLATFORMS / AT_ONCE).unwrap_or(u32::MAX),
        // Pages.
        Kind::Tags => 20,
    };
    (state.settings.connect + state.settings.request) * requests
}

/// How long an answer can be of use to anybody.
fn keep(kind: Kind, state: &State) -> Option<Duration> {
    let cache = &state.settings.cache;
    match kind {
        Kind::Digest => Some(cache.immutable_ttl.max(cache.floating_ttl).saturating_add(cache.stale_for)),
        Kind::Labels | Kind::Image => None,
        Kind::Tags => Some(cache.floating_ttl),
    }
}

fn tell(host: &Host, question: &Question, login: &Login, failure: &Failure) {
    tracing::info!(
        registry = &*host.name,
        repository = &*question.repository,
        reference = &*question.item,
        login = &*login.origin,
        class = failure.kind.name(),
        remote = failure.remote.as_deref().unwrap_or_default(),
        "registry lookup failed: {}",
        failure.what,
    );
}

impl Found {
    /// Counts it as an answer.
    fn used(self) -> Self {
        self.last.used();
        self
    }
}

impl Tried {
    fn alone(failure: Failure) -> Self {
        Tried { decisive: Arc::new(failure), list: String::new(), by: Answered::ByRegistry }
    }

    /// The failure that ended the trying decides; else one that says that somebody could not be heard, because his answer may
    /// have been another; else that of the last.
    pub fn new(tried: &[(&Login, Arc<Failure>)], missing: Option<&Failure>, by: Answered) -> Self {
        let undenied = tried.iter().rev().map(|(_, failure)| failure).find(|failure| !is_denial(failure.kind));
        let decisive = match (undenied, missing, tried.last()) {
            (Some(failure), _, _) => failure.clone(),
            (None, Some(missing), _) => Arc::new(missing.clone()),
            (None, None, Some((_, failure))) => failure.clone(),
            (None, None, None) => Arc::new(Failure::new(FailureKind::Unreachable, "nobody to ask as")),
        };
        let list: Vec<_> =
            tried.iter().map(|(login, failure)| format!("{}: {}", login.origin, failure.kind.name())).collect();
        Tried { decisive, list: list.join("; "), by }
    }

    /// What happened, and who we were.
    pub fn text(&self) -> String {
        let Tried { decisive, list, .. } = self;
        let text = if list.is_empty() { decisive.what.clone() } else { format!("{} (tried {list})", decisive.what) };
        policy::printable(&text, DETAIL_BYTES)
    }

    /// As a fact that could not be had. Where there is no access, the reason may be a secret that could not be used.
    pub fn undecided(&self, unusable: &[String]) -> Undecided {
        let class = self.decisive.kind.class();
        let mut text = self.text();
        if class == policy::Failure::NotFound && !unusable.is_empty() {
            text = policy::printable(&format!("{}; {text}", unusable.join("; ")), DETAIL_BYTES);
        }
        Undecided::new(class, text)
    }
}
