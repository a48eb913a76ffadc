//! Certificates that the replicas make themselves: an authority that they share, and a short-lived leaf in each.
//!
//! Every replica reads the Secret again and again and signs its own leaf. The elected one also sees to it that the webhook
//! configurations carry the authority, and that it is replaced in time. Nothing here is waited for by a review.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use tokio::time::sleep;
use zeroize::Zeroizing;

use super::accept::jittered;
use super::ca_bundle::{Standing, look, named};
use super::clients::Clients;
use super::health::EXPIRY_MARGIN;
use super::home::Home;
use super::reload::use_certificate;
use super::state::Shared;
use super::tls::{Files, Tls};
use crate::certs::{Bundle, RotationTimes, Seen, State, Step, leaf_is_due, plan};
use crate::cluster::{AuthoritySecret, Leadership, StoredAuthority, WebhookConfigurations, Written};
use crate::config::{CertificateSource, Config, SelfManaged};

/// Between two looks of a replica that has no certificate yet.
const EAGER: Duration = Duration::from_secs(1);
/// Between two looks of the elected replica.
const ELECTED: Duration = Duration::from_secs(2);
/// Between two looks of any other.
const INTERVAL: Duration = Duration::from_secs(5);
/// The most that pauses grow to while the API server fails: a leaf's last moments are longer.
const LONGEST: Duration = Duration::from_secs(30);
/// How long a new replica leaves an empty Secret to the others, where a configuration shows that there were any: the
/// elected one writes back what it has.
const LEFT_TO_OTHERS: Duration = Duration::from_secs(20);

/// Keeps a certificate in `front` until the process ends, where the replicas make theirs themselves.
pub(super) fn keep(shared: &Arc<Shared>, front: &Arc<ArcSwapOption<Tls>>, home: &Home) {
    let Some(leadership) = &home.authority else { return };
    let keeper = Keeper {
        shared: Arc::clone(shared),
        front: Arc::clone(front),
        secret: AuthoritySecret::of(&home.cluster, &home.namespace),
        configurations: WebhookConfigurations::of(&home.cluster),
        leadership: leadership.clone(),
        namespace: home.namespace.clone(),
        clients: Clients::default(),
        state: None,
        leaf: None,
        empty_since: None,
        failures: 0,
        told: Told::default(),
    };
    tokio::spawn(keeper.run());
}

struct Keeper {
    shared: Arc<Shared>,
    front: Arc<ArcSwapOption<Tls>>,
    secret: AuthoritySecret,
    configurations: WebhookConfigurations,
    leadership: Leadership,
    namespace: String,
    clients: Clients,
    /// The last that was good; it serves whatever becomes of the Secret.
    state: Option<State>,
    leaf: Option<Leaf>,
    empty_since: Option<Instant>,
    /// Reads of the Secret that failed, one after the other.
    failures: u32,
    told: Told,
}

/// What the leaf in use was made from. Where any of it differs another is made.
#[derive(Clone, PartialEq, Eq)]
struct Leaf {
    signer: String,
    names: [String; 2],
    lifetime: i64,
    clients: u64,
    client_names: Vec<String>,
}

impl Keeper {
    async fn run(mut self) {
        loop {
            // As they are now: they may be changed while running. Which of the two it is may not.
            let live = self.shared.live.load_full();
            let config = &live.config;
            let CertificateSource::SelfManaged(settings) = &config.tls.certificate else { return };
            let times = RotationTimes { leaf: seconds(settings.leaf_lifetime), ca: seconds(settings.ca_lifetime) };
            self.look_at_the_secret(config, times).await;
            self = self.look_at_the_clients(config).await;
            self.renew(config, settings, times.leaf).await;
            self.told.round();
            let pause = self.pause();
            tokio::select! {
                () = sleep(jittered(pause)) => {}
                () = self.leadership.changed() => {}
            }
        }
    }

    fn pause(&self) -> Duration {
        let usual = match (&self.leaf, self.leadership.held()) {
            (None, _) => EAGER,
            (Some(_), true) => ELECTED,
            (Some(_), false) => INTERVAL,
        };
        usual.saturating_mul(1 << self.failures.min(5)).min(LONGEST)
    }

    async fn look_at_the_secret(&mut self, config: &Config, times: RotationTimes) {
        let found = match self.secret.read().await {
            Ok(found) => found,
            Err(problem) => {
                self.failures += 1;
                self.told.warn(problem);
                return;
            }
        };
        self.failures = 0;
        if found.data.is_empty() {
            self.fill(&found, config, times).await;
            return;
        }
        self.empty_since = None;
        match State::from_data(&found.data) {
            Ok(state) => {
                self.take(state, &found, config, times).await;
            }
            Err(problem) => {
                let remedy = "what is in memory stays in use; delete it, and it is made anew";
                self.told.warn(format!("the Secret tagwarden-ca cannot be used: {problem}; {remedy}"));
                self.publish(config).await;
            }
        }
    }

    /// The Secret is empty, or not there.
    async fn fill(&mut self, found: &StoredAuthority, config: &Config, times: RotationTimes) {
        let state = match &self.state {
            // Whoever is elected writes back what all have; nothing changes for anybody.
            Some(state) if self.leadership.held() => state.clone(),
            Some(_) => return,
            None => {
                if self.others_were_here(config).await {
                    return;
                }
                match State::new(super::now(), times, &found.rotate) {
                    Ok(state) => state,
                    Err(error) => return self.told.warn(error.to_string()),
                }
            }
        };
        match self.secret.write(found, &state.to_data()).await {
            Ok(Written::Done) if self.state.is_some() => {
                tracing::warn!("the Secret tagwarden-ca was empty; the authority in memory is written back");
            }
            Ok(Written::Done) => {
                tracing::info!("an authority is made, in the Secret tagwarden-ca");
                self.state = Some(state);
            }
            // Another replica was faster; its authority is read the next time.
            Ok(Written::Overtaken) => {}
            Err(problem) => {
                self.failures += 1;
                self.told.warn(problem);
            }
        }
    }

    /// Whether a configuration carries an authority already, and whoever has it may still write it back.
    async fn others_were_here(&mut self, config: &Config) -> bool {
        let since = *self.empty_since.get_or_insert_with(Instant::now);
        if LEFT_TO_OTHERS <= since.elapsed() {
            return false;
        }
        for (kind, name) in named(&config.webhooks) {
            // What cannot be read says nothing; the Secret could.
            if let Ok(Some(found)) = self.configurations.read(kind, name).await
                && found.webhooks.iter().any(|webhook| !webhook.ca_bundle.is_empty())
            {
                let problem =
                    "the Secret tagwarden-ca is empty though caBundle is not; another replica may write it back";
                self.told.warn(problem.to_owned());
                return true;
            }
        }
        false
    }

    /// The Secret holds this now.
    async fn take(&mut self, mut state: State, found: &StoredAuthority, config: &Config, times: RotationTimes) {
        let in_use = self.leaf.as_ref().filter(|_| self.leadership.held()).map(|leaf| leaf.signer.as_str());
        if in_use.is_some_and(|in_use| state.keep_known(in_use, super::now(), times)) {
            // Nothing is published until that is written: the other replicas use the same authority.
            if self.write(found, state).await {
                tracing::warn!(
                    "the Secret tagwarden-ca came to hold another authority; the one in use is published until its certificates have ended"
                );
            }
            return;
        }
        self.state = Some(state.clone());
        if !self.leadership.held() {
            return;
        }
        let seen = Seen { bundle: self.publish(config).await, wish: &found.rotate };
        let now = super::now();
        let step = plan(&state, seen, now, times);
        if step == Step::Rest || !self.leadership.held() {
            return;
        }
        match state.after(step, seen, now, times) {
            Ok(after) => {
                if self.write(found, after).await {
                    tracing::info!("{}", said(step));
                }
            }
            Err(error) => self.told.warn(error.to_string()),
        }
    }

    /// Whether it is written, and thus what all have.
    async fn write(&mut self, found: &StoredAuthority, state: State) -> bool {
        match self.secret.write(found, &state.to_data()).await {
            Ok(Written::Done) => {
                self.state = Some(state);
                true
            }
            Ok(Written::Overtaken) => false,
            Err(problem) => {
                self.told.warn(problem);
                false
            }
        }
    }

    /// Sees to it that every configuration that is there carries what is in memory, where this replica is the elected one.
    async fn publish(&mut self, config: &Config) -> Bundle {
        let Some(wanted) = self.state.as_ref().map(State::bundle) else { return Bundle::NotInPlace };
        let mut bundle = Bundle::InPlace;
        for (kind, name) in named(&config.webhooks) {
            if !self.leadership.held() {
                return Bundle::NotInPlace;
            }
            let found = match self.configurations.read(kind, name).await {
                Ok(Some(found)) => found,
                // Nobody calls by one that is not there.
                Ok(None) => {
                    self.told.warn(format!("{} '{name}' is not there; it gets its caBundle when it is", kind.name()));
                    continue;
                }
                Err(problem) => {
                    self.told.warn(problem);
                    bundle = Bundle::NotInPlace;
                    continue;
                }
            };
            if found.webhooks.iter().all(|webhook| webhook.ca_bundle == wanted.as_bytes()) {
                continue;
            }
            bundle = Bundle::NotInPlace;
            match self.configurations.set_ca_bundle(&found, wanted.as_bytes()).await {
                Ok(()) => tracing::info!(kind = kind.name(), name, "caBundle is set"),
                Err(problem) => self.told.warn(problem),
            }
        }
        bundle
    }

    async fn look_at_the_clients(mut self, config: &Config) -> Self {
        let file = config.tls.client_ca.clone();
        let mut clients = std::mem::take(&mut self.clients);
        let looked = tokio::task::spawn_blocking(move || {
            let result = clients.look(file.as_deref());
            (clients, result)
        });
        // It neither panics nor is it cancelled.
        if let Ok((clients, result)) = looked.await {
            self.clients = clients;
            if let Err(problem) = result {
                use_certificate(Err(problem), &self.front, &self.shared);
            }
        }
        self
    }

    /// Signs another leaf where that is due.
    async fn renew(&mut self, config: &Config, settings: &SelfManaged, lifetime: i64) {
        let Some(state) = &self.state else { return };
        let now = super::now();
        let signer = Arc::clone(&state.signer);
        let base = format!("{}.{}.svc", settings.service, self.namespace);
        let wanted = Leaf {
            signer: signer.pem().to_owned(),
            names: [base.clone(), format!("{base}.cluster.local")],
            lifetime,
            clients: self.clients.version(),
            client_names: config.tls.client_names.clone(),
        };
        let current = self.front.load_full();
        let due = current.as_ref().is_none_or(|tls| leaf_is_due(tls.validity, signer.validity(), now));
        if self.leaf.as_ref() == Some(&wanted) && !due {
            return;
        }
        if signer.validity().not_after <= now {
            return self.told.warn("the authority has ended; the elected replica replaces it".to_owned());
        }
        let made = signer.server(&wanted.names, now, lifetime).map_err(|error| error.to_string()).and_then(|pair| {
            let key = Zeroizing::new(pair.key);
            Tls::new(&Files {
                cert: ("our certificate", pair.cert.as_bytes()),
                key: ("our key", key.as_bytes()),
                client_ca: self.clients.authority(config.tls.client_ca.as_deref())?,
                client_names: &wanted.client_names,
            })
        });
        let tls = match made {
            Ok(tls) => tls,
            Err(problem) => return self.told.warn(problem),
        };
        let same_signer = self.leaf.as_ref().is_some_and(|leaf| leaf.signer == wanted.signer);
        let holds = current.is_some_and(|current| now + EXPIRY_MARGIN < current.validity.not_after);
        if holds && !same_signer && !self.is_trusted(config, &tls).await {
            return;
        }
        use_certificate(Ok(tls), &self.front, &self.shared);
        self.leaf = Some(wanted);
    }

    /// Whether every configuration that is there trusts a leaf of another authority. Where the Secret was restored or
    /// made anew, that takes a moment longer; the leaf in use serves until then.
    async fn is_trusted(&mut self, config: &Config, tls: &Tls) -> bool {
        match look(&self.configurations, &config.webhooks, Some(tls)).await {
            Standing::Trusted | Standing::Absent(_) => true,
            Standing::Untrusted(problem) => {
                self.told.warn(format!("another authority signs, and is not trusted yet: {problem}"));
                false
            }
        }
    }
}

fn said(step: Step) -> &'static str {
    match step {
        Step::Rest => "nothing is to be done",
        Step::Make => "rotation: the next authority is made and will be published beside the present one",
        Step::Note(Some(_)) => "rotation: the next authority is published in every webhook configuration",
        Step::Note(None) => {
            "rotation: the next authority is no longer in every webhook configuration; it is published again"
        }
        Step::Switch => {
            "rotation: the next authority signs now; the one before stays published until its certificates have ended"
        }
        Step::Drop => "rotation: authorities before the present one are no longer published",
    }
}

fn seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}

/// Tells a problem when it comes up, and not again while it lasts.
#[derive(Default)]
struct Told {
    last: BTreeSet<String>,
    now: BTreeSet<String>,
}

impl Told {
    fn warn(&mut self, problem: String) {
        if !self.last.contains(&problem) && !self.now.contains(&problem) {
            tracing::warn!(problem, "self-managed certificates");
        }
        self.now.insert(problem);
    }

    /// After a look at everything.
    fn round(&mut self) {
        self.last = std::mem::take(&mut self.now);
    }
}
