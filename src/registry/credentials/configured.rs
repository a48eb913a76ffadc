//! Configured credentials: a mounted docker configuration that may change at any time, or a helper that is asked.

use std::ffi::OsString;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use tokio::sync::Mutex;
use tokio::time::Instant;
use zeroize::Zeroizing;

use super::docker_config::{self, SecretKind};
use super::helper::{Asked, Times};
use super::{Keyring, Login, Owner};
use crate::registry::settings::ConfiguredCredentials;

/// What texts call them.
const ORIGIN: &str = "the configured credentials";
/// The largest file; a Secret is no larger.
const FILE_BYTES: u64 = 1 << 20;
/// How often the file is looked at, and only when somebody asks.
const EVERY: Duration = Duration::from_secs(1);

/// The credentials that one entry of `registries` configures. Clones share what they read.
#[derive(Clone)]
pub struct Configured {
    source: Source,
}

#[derive(Clone)]
enum Source {
    File(Arc<Reloaded>),
    Helper(Asked),
}

impl Configured {
    /// Reads and runs nothing yet. Helpers are found on our PATH.
    #[must_use]
    pub fn new(credentials: &ConfiguredCredentials) -> Self {
        Self::on_path(credentials, std::env::var_os("PATH").unwrap_or_default())
    }

    /// The same with helpers on another PATH.
    #[must_use]
    pub fn on_path(credentials: &ConfiguredCredentials, search_path: OsString) -> Self {
        let source = match credentials {
            ConfiguredCredentials::DockerConfig(path) => Source::File(Arc::new(Reloaded::new(path.clone(), EVERY))),
            ConfiguredCredentials::Helper(helper) => {
                Source::Helper(Asked::new(*helper, search_path, ORIGIN, Times::default()))
            }
        };
        Configured { source }
    }

    /// What may be tried for `repository` at the canonical `host`; none where nothing is configured for it.
    ///
    /// # Errors
    /// One line, without anything of a secret: the file was never readable, the helper failed, or `deadline` passed.
    pub async fn logins(&self, host: &str, repository: &str, deadline: Instant) -> Result<Vec<Login>, String> {
        match &self.source {
            Source::Helper(asked) => Ok(asked.login(host, deadline).await?.into_iter().collect()),
            Source::File(file) => match tokio::time::timeout_at(deadline, file.keyring()).await {
                Ok(keyring) => Ok(keyring?.logins(host, repository)),
                Err(_) => Err(format!("{} could not be read in time", file.path.display())),
            },
        }
    }
}

/// A file whose last good contents serve.
struct Reloaded {
    path: PathBuf,
    every: Duration,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    looked: Option<Instant>,
    /// Of the contents, or of the problem of reading them.
    hash: Option<[u8; 32]>,
    keyring: Option<Keyring>,
    problem: String,
}

impl Reloaded {
    fn new(path: PathBuf, every: Duration) -> Self {
        Reloaded { path, every, state: Mutex::default() }
    }

    async fn keyring(&self) -> Result<Keyring, String> {
        let mut state = self.state.lock().await;
        if state.looked.is_none_or(|looked| looked.elapsed() >= self.every) {
            let path = self.path.clone();
            let read = tokio::task::spawn_blocking(move || read(&path)).await;
            state.looked = Some(Instant::now());
            state.take(&self.path, read.unwrap_or_else(|_| Err("reading it was given up".to_owned())));
        }
        state.keyring.clone().ok_or_else(|| state.problem.clone())
    }
}

impl State {
    /// What was read takes the place of what served, if it is any good and is not the same.
    fn take(&mut self, path: &Path, read: Result<Zeroizing<Vec<u8>>, String>) {
        let hash = match &read {
            Ok(bytes) => Sha256::new().chain_update([0]).chain_update(&**bytes),
            Err(problem) => Sha256::new().chain_update([1]).chain_update(problem),
        };
        let hash = Some(hash.finalize().into());
        if self.hash == hash {
            return;
        }
        self.hash = hash;
        let parsed = read.and_then(|bytes| docker_config::parse(SecretKind::DockerConfigJson, &bytes));
        match parsed {
            Ok(parsed) => {
                tracing::info!(file = %path.display(), entries = parsed.auths.len(), "credentials loaded");
                self.keyring = Some(Keyring::new(ORIGIN, Owner::Configured, parsed.auths));
            }
            Err(problem) => {
                self.problem = format!("{} {problem}", path.display());
                let old = self.keyring.is_some();
                tracing::warn!(problem = self.problem, last_good_serves = old, "credentials cannot be used");
            }
        }
    }
}

/// The contents. A problem reads on from the file's name.
pub(super) fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, String> {
    let unreadable = |error: std::io::Error| format!("cannot be read: {error}");
    let file = File::open(path).map_err(unreadable)?;
    let size = file.metadata().map_err(unreadable)?.len();
    if size > FILE_BYTES {
        return Err(format!("is larger than {} MiB", FILE_BYTES >> 20));
    }
    // Room for all of it at once, so that no copy is left behind; the byte more tells that it grew meanwhile.
    let mut bytes = Zeroizing::new(Vec::with_capacity(usize::try_from(size).unwrap_or_default() + 64));
    file.take(FILE_BYTES + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > FILE_BYTES {
        return Err(format!("is larger than {} MiB", FILE_BYTES >> 20));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;
    use std::sync::Arc;
    use std::time::Duration;

    use tokio::time::Instant;

    use super::{Configured, ConfiguredCredentials, Reloaded, Source};
    use crate::registry::credentials::LoginKind;
    use crate::registry::settings::Helper;

    fn write(path: &Path, password: &str) {
        let json = format!(r#"{{"auths": {{"r.io": {{"username": "u", "password": "{password}"}}}}}}"#);
        fs::write(path, json).unwrap();
    }

    fn looking_every(path: &Path, every: Duration) -> Configured {
        Configured { source: Source::File(Arc::new(Reloaded::new(path.to_owned(), every))) }
    }

    async fn password(configured: &Configured) -> Result<String, String> {
        let logins = configured.logins("r.io", "acme/api", Instant::now() + Duration::from_secs(20)).await?;
        assert!(logins.iter().all(|login| login.public && login.origin == "the configured credentials"));
        Ok(match logins.first().map(|login| &login.kind) {
            Some(LoginKind::Password { password, .. }) => password.as_str().to_owned(),
            Some(_) => "another kind".to_owned(),
            None => "none".to_owned(),
        })
    }

    #[tokio::test]
    async fn a_change_serves_and_a_broken_file_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.json");
        let configured = looking_every(&path, Duration::ZERO);
        let missing = password(&configured).await.unwrap_err();
        assert!(missing.starts_with(&format!("{} cannot be read: ", path.display())), "{missing}");
        fs::write(&path, r#"{"auths": {"r.io": "s3cr3t"}}"#).unwrap();
        let broken = password(&configured).await.unwrap_err();
        assert_eq!(
            broken,
            format!("{} is not a docker configuration: the entry of r.io is not an object", path.display())
        );
        write(&path, "1");
        assert_eq!(password(&configured).await.as_deref(), Ok("1"));
        write(&path, "2");
        assert_eq!(password(&configured).await.as_deref(), Ok("2"), "of the same length, in the same moment");
        for broken in ["{", "", "[]"] {
            fs::write(&path, broken).unwrap();
            assert_eq!(password(&configured).await.as_deref(), Ok("2"), "the last good one: {broken}");
        }
        fs::remove_file(&path).unwrap();
        assert_eq!(password(&configured).await.as_deref(), Ok("2"), "the last good one");
        write(&path, "3");
        assert_eq!(password(&configured).await.as_deref(), Ok("3"));
        fs::write(&path, "{}").unwrap();
        assert_eq!(password(&configured).await.as_deref(), Ok("none"), "an empty one is a good one");
    }

    #[tokio::test]
    async fn the_file_is_not_read_for_every_lookup() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.json");
        write(&path, "1");
        let configured = looking_every(&path, Duration::from_secs(3600));
        assert_eq!(password(&configured).await.as_deref(), Ok("1"));
        write(&path, "2");
        assert_eq!(password(&configured.clone()).await.as_deref(), Ok("1"));
    }

    #[tokio::test]
    async fn a_file_that_is_too_large_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.json");
        fs::write(&path, vec![b' '; (1 << 20) + 1]).unwrap();
        let problem = password(&looking_every(&path, Duration::ZERO)).await.unwrap_err();
        assert_eq!(problem, format!("{} is larger than 1 MiB", path.display()));
    }

    #[tokio::test]
    async fn each_form_of_the_setting_is_used() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.json");
        write(&path, "1");
        assert_eq!(password(&Configured::new(&ConfiguredCredentials::DockerConfig(path))).await.as_deref(), Ok("1"));
        let helper = ConfiguredCredentials::Helper(Helper::AcrEnv);
        let nowhere = Configured::on_path(&helper, folder.path().into());
        let problem = password(&nowhere).await.unwrap_err();
        assert!(problem.starts_with("docker-credential-acr-env is not on the PATH"), "{problem}");
    }
}
