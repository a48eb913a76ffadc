//! The admission server: from listening sockets to answers, and from SIGTERM to the end.

pub mod accept;
mod activity;
mod admit;
mod body;
mod ca_bundle;
mod case;
mod clients;
mod deadline;
mod facts;
mod health;
mod history;
mod home;
mod mutate;
mod objects;
mod pins;
mod policies;
mod releases;
mod reload;
mod routes;
mod saved;
mod self_managed;
mod slot;
mod state;
mod sticky;
mod survival;
pub mod tls;

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arc_swap::{ArcSwap, ArcSwapOption};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

pub use ca_bundle::named as named_configurations;
pub use health::EXPIRY_MARGIN;
pub use policies::{PolicyProblems, of_files as policies_of_files};
pub use releases::of_objects as releases_of_objects;
pub use reload::Source;

use self::accept::{Phase, Port, Security, Times};
use self::health::Health;
use self::home::Home;
use self::pins::Pins;
use self::policies::{Outcome, Policies};
use self::releases::ReleaseSources;
use self::reload::{Reloader, times};
use self::state::{Live, Parts, Shared};
use crate::cluster::{Cluster, Namespaces, PullSecrets, WebhookConfigurations, own_namespace};
use crate::config::{CertificateSource, Config};
use crate::document::{Color, render};
use crate::metrics::Metrics;
use crate::policy::Seconds;
use crate::registry::Resolver;

/// Connections at one time on the health port: probes and a scraper or two, and room for whoever holds one open.
const HEALTH_CONNECTIONS: usize = 256;
/// How long one may stand idle there: a probe that finds no free connection would have the replica restarted.
const HEALTH_IDLE: Duration = Duration::from_secs(2);

/// What a server is started with.
pub struct Options {
    /// Its settings.
    pub config: Config,
    /// Where they came from.
    pub source: Source,
    /// The cluster that it serves; none: no API server is ever asked, and namespace labels are unknown.
    pub cluster: Option<Cluster>,
}

/// Why a server did not start.
#[derive(Debug)]
pub enum StartError {
    /// One sentence.
    Sentence(String),
    /// The policies have errors, and no cluster is there that could be left without a server.
    Policies(PolicyProblems),
}

/// For people: the sentence, or every problem with its source line.
impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::Sentence(sentence) => f.write_str(sentence),
            StartError::Policies(refused) => refused.problems.iter().try_for_each(|problem| {
                let text = reload::text_of(&refused.texts, problem.file.as_ref());
                f.write_str(&render(problem, text, Color::Never))
            }),
        }
    }
}

impl std::error::Error for StartError {}

/// A server that listens.
pub struct Running {
    /// Where the webhook listens.
    pub webhook: SocketAddr,
    /// Where health and metrics listen.
    pub health: SocketAddr,
    shared: Arc<Shared>,
    /// None outside a cluster.
    home: Option<Home>,
    /// None: the configuration wants none.
    history: Option<history::Keeper>,
    phase: watch::Sender<Phase>,
    /// Probes and scrapers are answered to the very end: this port's phase never changes.
    health_phase: watch::Sender<Phase>,
    webhook_task: JoinHandle<()>,
    health_task: JoinHandle<()>,
    reload_task: JoinHandle<()>,
}

/// Reads what the configuration names, listens, and serves from then on.
///
/// # Errors
/// A certificate, key, address or policy that cannot be used. In a cluster policies with errors are none: the server
/// is up, not ready, and refuses what it is asked.
pub async fn start(options: Options) -> Result<Running, StartError> {
    let Options { config, source, cluster } = options;
    fits(&config, cluster.as_ref()).map_err(|sentence| StartError::Sentence(sentence.to_owned()))?;
    let (certificate, tls) = reload::first_certificate(&config.tls).map_err(StartError::Sentence)?;
    let metrics = Metrics::new().map_err(|error| StartError::Sentence(error.to_string()))?;
    let metrics = Arc::new(metrics);
    let home = cluster.as_ref().and_then(|cluster| Home::find(cluster, &config.tls.certificate));
    let policies = Policies::new(&config, cluster.as_ref(), home.as_ref(), &metrics);
    let mut policies = policies.map_err(StartError::Sentence)?;
    let releases = ReleaseSources::new(&config, cluster.as_ref(), home.as_ref(), &metrics);
    let releases = releases.map_err(StartError::Sentence)?;
    policies.changed();
    let judged = policies.judge(None, &config);
    if let (Outcome::Refused(judgement), None) = (&judged, &cluster) {
        return Err(StartError::Policies(policies.problems(judgement)));
    }
    let webhook = bind(config.webhook).await?;
    let health = bind(config.health).await?;

    let namespaces = cluster.as_ref().map_or_else(Namespaces::unknown, Namespaces::watched);
    let connections = config.limits.connections;
    let times = Arc::new(ArcSwap::from_pointee(times(&config)));
    let resolver = Resolver::new(config.registry.clone(), state::hosts(None), Arc::clone(&metrics));
    let resolver = resolver.map_err(StartError::Sentence)?;
    let pins = Pins::random().map_err(StartError::Sentence)?;
    if let Some(home) = &home {
        pins.share(home);
        survival::keep(resolver.clone(), home).await;
    }
    let pull_secrets = cluster.as_ref().map(PullSecrets::of);
    let live = Live { config: config.clone(), policies: None };
    let shared =
        Arc::new(Shared::new(live, Parts { namespaces, metrics: Arc::clone(&metrics), resolver, pull_secrets, pins }));
    let front = Arc::new(ArcSwapOption::empty());
    if let Some(tls) = tls {
        reload::use_certificate(Ok(tls), &front, &shared);
    }
    if let Some(home) = &home {
        self_managed::keep(&shared, &front, home);
    }
    let history = home.as_ref().filter(|_| config.history.enabled);
    let history = history.map(|home| history::keep(home, &config.history, &metrics));
    if let Some(cluster) = cluster.as_ref().filter(|_| !config.webhooks.is_empty()) {
        ca_bundle::wait(Arc::clone(&shared), Arc::clone(&front), WebhookConfigurations::of(cluster));
    }

    let (phase, phases) = watch::channel(Phase::Serving);
    let (health_phase, health_phases) = watch::channel(Phase::Serving);
    let webhook_port = Port {
        security: Security::Tls(Arc::clone(&front)),
        router: routes::router(Arc::clone(&shared)),
        connections,
        times: Arc::clone(&times),
        metrics: Some(Arc::clone(&metrics)),
    };
    let readiness = Arc::clone(&shared.readiness);
    let health_port = Port {
        security: Security::Plain,
        router: health::router(Health { readiness, metrics, tls: Arc::clone(&front) }),
        connections: HEALTH_CONNECTIONS,
        times: Arc::new(ArcSwap::from_pointee(Times { header: HEALTH_IDLE, idle: HEALTH_IDLE, ..**times.load() })),
        metrics: None,
    };
    let mut reloader = Reloader::new(Arc::clone(&shared), front, times, policies, releases, certificate, source);
    reloader.settle(config, judged);
    let running = Running {
        webhook: local_address(&webhook)?,
        health: local_address(&health)?,
        shared,
        home,
        history,
        phase,
        health_phase,
        webhook_task: tokio::spawn(accept::serve(webhook, webhook_port, phases)),
        health_task: tokio::spawn(accept::serve(health, health_port, health_phases)),
        reload_task: tokio::spawn(reloader.run()),
    };
    tracing::info!(webhook = %running.webhook, health = %running.health, "listening");
    Ok(running)
}

impl Running {
    /// Ends the server without losing a request: not ready at once, closed to new connections after `shutdownDelay`,
    /// gone when the last request is answered or has run out of its time.
    pub async fn stop(self) {
        self.shared.readiness.ending();
        self.phase.send_replace(Phase::Closing);
        let delay = self.shared.live.load().config.shutdown_delay;
        tracing::info!(seconds = delay.as_secs_f64(), "about to end; still accepting");
        let delayed = tokio::time::sleep(delay);
        // As long as the Lease is held nobody else writes.
        if let Some(history) = self.history {
            history.end().await;
        }
        // The next elected replica need not wait for the Leases to run out: it looks every few seconds.
        if let Some(home) = &self.home {
            home.resign().await;
        }
        delayed.await;
        self.phase.send_replace(Phase::Draining);
        let mut webhook = self.webhook_task;
        if timeout(deadline::LONGEST, &mut webhook).await.is_err() {
            tracing::warn!("requests did not end in time; ending without them");
            webhook.abort();
        }
        self.health_task.abort();
        drop(self.health_phase);
        self.reload_task.abort();
        tracing::info!("ended");
    }

    /// Serves until a signal comes, then stops; a second signal ends it at once.
    pub async fn run(self, signals: &mut mpsc::Receiver<()>) {
        signals.recv().await;
        tokio::select! {
            () = self.stop() => {}
            _ = signals.recv() => tracing::warn!("ended at once by a second signal"),
        }
    }
}

/// What the settings ask of the place that the server runs in.
///
/// # Errors
/// One sentence that says what is missing.
fn fits(config: &Config, cluster: Option<&Cluster>) -> Result<(), &'static str> {
    let self_managed = matches!(config.tls.certificate, CertificateSource::SelfManaged(_));
    match cluster {
        None if self_managed => Err("'tls.mode: self-managed' needs a cluster, whose Secret holds the authority: \
             take out --no-cluster and --dev, or write 'mode: files'"),
        None if !config.webhooks.is_empty() => Err("'webhooks' needs a cluster, where these configurations are: \
             take out --no-cluster and --dev, or 'webhooks'"),
        None if config.history.enabled => Err("'history.enabled' needs a cluster, whose Pods say what runs: \
             take out --no-cluster and --dev, or 'history'"),
        Some(_) if self_managed && own_namespace().is_none() => {
            Err("'tls.mode: self-managed' needs to know its own namespace: set POD_NAMESPACE")
        }
        Some(_) if config.history.enabled && own_namespace().is_none() => Err(
            "'history.enabled' needs to know its own namespace, where the replica that writes is elected: set POD_NAMESPACE",
        ),
        _ => Ok(()),
    }
}

async fn bind(address: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(address)
        .await
        .map_err(|error| StartError::Sentence(format!("cannot listen on {address}: {error}")))
}

fn local_address(listener: &TcpListener) -> Result<SocketAddr, StartError> {
    listener.local_addr().map_err(|error| StartError::Sentence(format!("cannot tell where it listens: {error}")))
}

/// Seconds since the epoch.
pub(crate) fn now() -> Seconds {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(elapsed.as_secs()).unwrap_or(i64::MAX)
}
