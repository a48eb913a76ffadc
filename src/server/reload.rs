//! What is read from files, at the start and again whenever they change: the last good value stays in force.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::{ArcSwap, ArcSwapOption};

use super::accept::Times;
use super::clients::Clients;
use super::state::{Live, Shared, hosts};
use super::tls::{self, Tls};
use crate::config::{self, CertificateSource, Config, Overrides};
use crate::document::Diagnostic;
use crate::metrics::Metrics;
use crate::policy::PolicySet;
use crate::watch::{Contents, POLL_INTERVAL, Target, Watch};

/// Where the configuration came from, to read it again.
#[derive(Clone, Debug, Default)]
pub struct Source {
    /// Its file, if there is one.
    pub file: Option<PathBuf>,
    /// What flags and variables said, which holds over every version of the file.
    pub overrides: Overrides,
}

/// Policies that do not compile: every problem, and the texts to show them in.
#[derive(Clone, Debug)]
pub struct PolicyProblems {
    /// What is wrong.
    pub problems: Vec<Diagnostic>,
    /// Name and text of each file.
    pub texts: Vec<(String, String)>,
}

/// Policy files under watch.
pub(super) struct Policies {
    watch: Watch,
    texts: Vec<(String, String)>,
    unreadable: Vec<Diagnostic>,
}

impl Policies {
    pub fn new(directories: &[PathBuf]) -> Self {
        let targets = directories.iter().cloned().map(Target::PolicyDirectory).collect();
        Policies { watch: Watch::new(targets), texts: Vec::new(), unreadable: Vec::new() }
    }

    /// Whether the files say something else than the last time.
    pub fn changed(&mut self) -> bool {
        let Some(read) = self.watch.poll() else { return false };
        self.texts.clear();
        self.unreadable.clear();
        match read {
            Ok(contents) => contents.into_iter().for_each(|file| self.take(file)),
            Err(problem) => self.unreadable.push(Diagnostic::of_file("policies", problem)),
        }
        true
    }

    fn take(&mut self, (path, bytes): Contents) {
        let name = path.display().to_string();
        match String::from_utf8(bytes) {
            Ok(text) => self.texts.push((name, text)),
            Err(_) => self.unreadable.push(Diagnostic::of_file(&name, "it is not UTF-8, save it as UTF-8")),
        }
    }

    /// Compiles what was read last.
    pub fn compile(&self, config: &Config) -> Result<PolicySet, PolicyProblems> {
        let mut problems = self.unreadable.clone();
        if self.watch.targets().is_empty() && !config.settings.allow_empty {
            problems.push(
                Diagnostic::of_file("policies", "no directory of policies is named")
                    .help("name one by --policies or policies.dirs"),
            );
        }
        if problems.is_empty() {
            match PolicySet::compile(&self.texts, config.settings.clone()) {
                Ok(set) => return Ok(set),
                Err(found) => problems = found,
            }
        }
        Err(PolicyProblems { problems, texts: self.texts.clone() })
    }
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

/// Keeps what is in force in step with the files.
pub(super) struct Reloader {
    pub shared: Arc<Shared>,
    pub tls: Arc<ArcSwapOption<Tls>>,
    pub times: Arc<ArcSwap<Times>>,
    pub policies: Policies,
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
        certificate: Option<Certificate>,
        source: Source,
    ) -> Self {
        let mut config_watch = Watch::new(source.file.iter().cloned().map(Target::File).collect());
        // What the file says now is in force already.
        let _ = config_watch.poll();
        Reloader { shared, tls, times, policies, certificate, source, config_watch, config_refused: false }
    }

    /// Looks at the files until the process ends. Each look is on a thread that may block.
    pub async fn run(mut self) {
        let mut ticks = tokio::time::interval(POLL_INTERVAL);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
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
        let mut moved = None;
        if new.policy_dirs != old.config.policy_dirs {
            let mut policies = Policies::new(&new.policy_dirs);
            policies.changed();
            moved = Some(policies);
        }
        let set = match moved.as_ref().unwrap_or(&self.policies).compile(&new) {
            Ok(set) => set,
            Err(refused) => {
                refuse_policies(&refused, &self.shared);
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
        if let Some(policies) = moved {
            self.policies = policies;
        }
        self.times.store(Arc::new(times(&new)));
        self.take(new, set);
        true
    }

    fn reload_policies(&self) {
        let config = self.shared.live.load().config.clone();
        match self.policies.compile(&config) {
            Ok(set) => self.take(config, set),
            Err(refused) => refuse_policies(&refused, &self.shared),
        }
    }

    /// The registries come first: what policies ask for must not be refused because a host is new. Where their settings
    /// cannot be used, the old ones serve on.
    fn take(&self, config: Config, set: PolicySet) {
        if let Err(problem) = self.shared.resolver.configure(config.registry.clone(), hosts(Some(&set))) {
            tracing::error!(problem, "the registries' settings cannot be used; the old ones stay in force");
        }
        use_policies(&set, &self.shared.readiness, &self.shared.metrics);
        self.shared.live.store(Arc::new(Live { config, policies: Some(set) }));
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

/// Says everywhere that these policies are in force.
pub(super) fn use_policies(set: &PolicySet, readiness: &super::health::Readiness, metrics: &Metrics) {
    metrics.policies_in_force(set);
    readiness.policies_in_force();
    tracing::info!(policies = set.policies().count(), policy_hash = set.hash(), "policies are in force");
}

/// Says everywhere that the policies of the files are not in force.
pub(super) fn refuse_policies(refused: &PolicyProblems, shared: &Shared) {
    let mut files: Vec<&str> = refused.problems.iter().map(|problem| problem.file.as_str()).collect();
    files.sort_unstable();
    files.dedup();
    shared.metrics.policies_refused(files.len());
    for problem in &refused.problems {
        tracing::error!(%problem, "the policies have errors; what was in force stays in force");
    }
    shared.readiness.policies_refused(refused.problems.iter().map(ToString::to_string).collect());
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
