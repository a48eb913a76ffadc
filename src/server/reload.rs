//! What is read at the start and again whenever it changes, policies, configuration, certificate: the last good value stays
//! in force.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::{ArcSwap, ArcSwapOption};

use super::accept::Times;
use super::clients::Clients;
use super::policies::{Files, Judgement, Outcome, Policies};
use super::releases::ReleaseSources;
use super::state::{Live, Shared, hosts};
use super::tls::{self, Tls};
use crate::config::{self, CertificateSource, Config, Overrides};
use crate::policy::PolicySet;
use crate::watch::{POLL_INTERVAL, Target, Watch};

/// Where the configuration came from, to read it again.
#[derive(Clone, Debug, Default)]
pub struct Source {
    /// Its file, if there is one.
    pub file: Option<PathBuf>,
    /// What flags and variables said, which holds over every version of the file.
    pub overrides: Overrides,
}

/// The certificate's files under watch.
pub(super) struct Certificate {
    settings: config::Tls,
    watch: Watch,
}

impl Certificate {
    /// # Errors
    /// Certificate or key is not named.
    fn new(settings: config::Tls) -> Result<Self, String> {
        let CertificateSource::Files { cert: Some(cert), key: Some(key) } = &settings.certificate else {
            return Err(
                "a certificate and its key are needed: name both by --tls-cert and --tls-key, or use --dev".to_owned()
            );
        };
        let all = [Some(cert), Some(key), settings.client_ca.as_ref()];
        let targets = all.into_iter().flatten().cloned().map(Target::File).collect();
        Ok(Certificate { watch: Watch::new(targets), settings })
    }

    /// What the files say where that differs from the last time.
    pub fn changed(&mut self) -> Option<Result<Tls, String>> {
        let contents = match self.watch.poll()? {
            Ok(contents) => contents,
            Err(problem) => return Some(Err(problem)),
        };
        let named: Vec<(String, &[u8])> =
            contents.iter().map(|(path, bytes)| (path.display().to_string(), bytes.as_slice())).collect();
        let mut parts = named.iter().map(|(name, bytes)| (name.as_str(), *bytes));
        let (Some(cert), Some(key)) = (parts.next(), parts.next()) else {
            return Some(Err("certificate or key is missing".to_owned()));
        };
        let client_names = &self.settings.client_names;
        Some(Tls::new(&tls::Files { cert, key, client_ca: parts.next(), client_names }))
    }
}

/// Keeps what is in force in step with its sources.
pub(super) struct Reloader {
    pub shared: Arc<Shared>,
    pub tls: Arc<ArcSwapOption<Tls>>,
    pub times: Arc<ArcSwap<Times>>,
    pub policies: Policies,
    pub releases: ReleaseSources,
    /// None: it does not come from files.
    pub certificate: Option<Certificate>,
    pub source: Source,
    config_watch: Watch,
    /// What the file says now is not in force; other policies may change that.
    config_refused: bool,
}

impl Reloader {
    pub fn new(
        shared: Arc<Shared>,
        tls: Arc<ArcSwapOption<Tls>>,
        times: Arc<ArcSwap<Times>>,
        policies: Policies,
        mut releases: ReleaseSources,
        certificate: Option<Certificate>,
        source: Source,
    ) -> Self {
        releases.take(&shared);
        let mut config_watch = Watch::new(source.file.iter().cloned().map(Target::File).collect());
        // What the file says now is in force already.
        let _ = config_watch.poll();
        shared.metrics.configuration_in_force();
        Reloader { shared, tls, times, policies, releases, certificate, source, config_watch, config_refused: false }
    }

    /// Looks at the files until the process ends. Each look is on a thread that may block.
    pub async fn run(mut self) {
        let mut ticks = tokio::time::interval(POLL_INTERVAL);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = self.policies.stirred() => {}
                () = self.releases.stirred() => {}
            }
            let looked = tokio::task::spawn_blocking(move || {
                self.look();
                self
            });
            match looked.await {
                Ok(back) => self = back,
                Err(error) => {
                    tracing::error!(%error, "files are not watched any more; restart the server");
                    return;
                }
            }
        }
    }

    fn look(&mut self) {
        let config_changed = self.config_watch.poll().is_some();
        let policies_changed = self.policies.changed();
        let mut taken = false;
        if config_changed || (policies_changed && self.config_refused) {
            taken = self.reload_config();
            self.config_refused = !taken;
            if taken {
                self.shared.metrics.configuration_in_force();
            } else {
                self.shared.metrics.configuration_refused();
            }
        }
        if self.releases.poll() {
            self.releases.take(&self.shared);
        }
        if policies_changed && !taken {
            self.reload_policies();
        }
        if let Some(changed) = self.certificate.as_mut().and_then(Certificate::changed) {
            use_certificate(changed, &self.tls, &self.shared);
        }
    }

    /// A configuration is taken with the policies compiled under it and the certificate that it names, or not at all;
    /// says whether it was.
    fn reload_config(&mut self) -> bool {
        let new = match Config::load(self.source.file.as_deref(), &self.source.overrides) {
            Ok(new) => new,
            Err(error) => {
                for problem in &error.problems {
                    tracing::error!(%problem, "the configuration has errors; the old one stays in force");
                }
                return false;
            }
        };
        let old = self.shared.live.load_full();
        for key in old.config.needing_restart(&new) {
            tracing::warn!(key, "this change of the configuration needs a restart");
        }
        let new = old.config.reloaded(new);
        if let Err(problem) = self.releases.fits(&new).and_then(|()| self.policies.watch_objects(&new)) {
            tracing::error!(problem, "the configuration has errors; the old one stays in force");
            return false;
        }
        let moved = self.policies.moved(&new);
        let (set, judgement) = match self.policies.judge(moved.as_ref(), &new) {
            Outcome::Set(set, judgement) if !judgement.loses_one_of(old.policies.as_ref()) => (set, judgement),
            Outcome::Set(_, judgement) | Outcome::Refused(judgement) => {
                self.policies.refused_configuration(judgement, &self.shared);
                return false;
            }
            Outcome::Waiting(missing, problems) => {
                self.policies.waiting(missing, problems, &self.shared);
                return false;
            }
        };
        if new.tls != old.config.tls {
            match first_certificate(&new.tls) {
                Ok((certificate, tls)) => {
                    self.certificate = certificate;
                    if let Some(tls) = tls {
                        use_certificate(Ok(tls), &self.tls, &self.shared);
                    }
                }
                Err(problem) => {
                    tracing::error!(
                        problem,
                        "the configuration's certificate cannot be used; the old configuration stays"
                    );
                    return false;
                }
            }
        }
        self.times.store(Arc::new(times(&new)));
        self.releases.follow(&new);
        self.releases.take(&self.shared);
        self.take(new, moved, set, judgement);
        true
    }

    fn reload_policies(&mut self) {
        let config = self.shared.live.load().config.clone();
        let outcome = self.policies.judge(None, &config);
        self.settle(config, outcome);
    }

    /// Takes what was judged under the configuration in force.
    pub fn settle(&mut self, config: Config, outcome: Outcome) {
        match outcome {
            Outcome::Set(set, judgement) => self.take(config, None, set, judgement),
            Outcome::Refused(judgement) => self.policies.refused(judgement, &self.shared),
            Outcome::Waiting(missing, problems) => self.policies.waiting(missing, problems, &self.shared),
        }
    }

    /// The registries come first: what policies ask for must not be refused because a host is new. Where their settings
    /// cannot be used, the old ones serve on.
    fn take(&mut self, config: Config, moved: Option<Files>, set: PolicySet, judgement: Judgement) {
        if let Err(problem) = self.shared.resolver.configure(config.registry.clone(), hosts(Some(&set))) {
            tracing::error!(problem, "the registries' settings cannot be used; the old ones stay in force");
        }
        self.shared.live.store(Arc::new(Live { config: config.clone(), policies: Some(set) }));
        self.policies.took(&config, moved, judgement, &self.shared);
    }
}

/// The certificate of these settings' files, and the watch on them; neither where the replicas make it themselves.
///
/// # Errors
/// One sentence: a file is not named, cannot be read, or cannot be used.
pub(super) fn first_certificate(settings: &config::Tls) -> Result<(Option<Certificate>, Option<Tls>), String> {
    if let CertificateSource::SelfManaged(_) = settings.certificate {
        return Clients::read(settings.client_ca.as_deref()).map(|_| (None, None));
    }
    let mut certificate = Certificate::new(settings.clone())?;
    let tls = certificate.changed().unwrap_or_else(|| Err("the certificate's files were not read".to_owned()))?;
    Ok((Some(certificate), Some(tls)))
}

/// The times of connections by this configuration.
pub(super) fn times(config: &Config) -> Times {
    Times {
        handshake: config.timeouts.handshake,
        header: config.timeouts.header,
        idle: config.timeouts.idle,
        age: config.max_connection_age,
    }
}

/// Puts a certificate in the place of the one in use, or says why that stays.
pub(super) fn use_certificate(changed: Result<Tls, String>, current: &ArcSwapOption<Tls>, shared: &Shared) {
    match changed {
        Ok(tls) => {
            let validity = tls.validity;
            current.store(Some(Arc::new(tls)));
            shared.metrics.certificate_in_use(validity.not_after);
            shared.readiness.certificate(validity);
            tracing::info!(not_after = validity.not_after, "a certificate is in use");
        }
        Err(problem) => {
            shared.metrics.certificate_refused();
            tracing::error!(problem, "the certificate cannot be used; the old one stays in use");
        }
    }
}

/// The text of a problem's file, for rendering.
pub(super) fn text_of<'t>(texts: &'t [(String, String)], file: &Path) -> &'t str {
    texts.iter().find(|(name, _)| Path::new(name) == file).map_or("", |(_, text)| text)
}
