//! The docker configuration of whoever runs the command line.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use tokio::time::Instant;

use super::configured::read;
use super::docker_config::{self, Parsed, SecretKind};
use super::helper::{Asked, Times};
use super::matching::Pattern;
use super::{Keyring, Login, NAME_BYTES, Owner};
use crate::policy::printable;
use crate::registry::settings::Helper;

/// What texts call them.
const ORIGIN: &str = "your docker configuration";

/// The caller's own credentials.
#[derive(Clone)]
pub struct CallerCredentials {
    /// The entries with a secret in the file itself.
    pub keyring: Keyring,
    /// One line for every program that the file names for its secrets and that is not run, as not on our allow-list.
    pub notes: Vec<String>,
    /// `credHelpers` on the allow-list, by host.
    helpers: Vec<(Pattern, Asked)>,
    /// `credsStore` on the allow-list.
    store: Option<Asked>,
}

impl CallerCredentials {
    /// What may be tried for `repository` at the canonical `host`: that of a helper for the host, else the file's own
    /// entries, else that of the store.
    ///
    /// # Errors
    /// One line: a helper failed, or `deadline` passed.
    pub async fn logins(&self, host: &str, repository: &str, deadline: Instant) -> Result<Vec<Login>, String> {
        if let Some((_, asked)) = self.helpers.iter().find(|(pattern, _)| pattern.matches(host, repository)) {
            return Ok(asked.login(host, deadline).await?.into_iter().collect());
        }
        let logins = self.keyring.logins(host, repository);
        match &self.store {
            Some(asked) if logins.is_empty() => Ok(asked.login(host, deadline).await?.into_iter().collect()),
            _ => Ok(logins),
        }
    }
}

/// Reads `$DOCKER_CONFIG/config.json`, else `$HOME/.docker/config.json`; none where there is no such file. `variable`
/// looks up the environment: the two and PATH.
///
/// # Errors
/// One line that names the file, and no value of it.
pub fn docker_config_of_caller(
    variable: impl Fn(&str) -> Option<OsString>,
) -> Result<Option<CallerCredentials>, String> {
    let variable = |name| variable(name).filter(|value| !value.is_empty());
    let folder =
        variable("DOCKER_CONFIG").map(PathBuf::from).or_else(|| Some(PathBuf::from(variable("HOME")?).join(".docker")));
    let Some(path) = folder.map(|folder| folder.join("config.json")) else { return Ok(None) };
    if !path.exists() {
        return Ok(None);
    }
    let parsed = read(&path).and_then(|bytes| docker_config::parse(SecretKind::DockerConfigJson, &bytes));
    let parsed = parsed.map_err(|problem| format!("{} {problem}", path.display()))?;
    Ok(Some(usable(parsed, &path, &variable("PATH").unwrap_or_default())))
}

fn usable(parsed: Parsed, path: &Path, search_path: &OsString) -> CallerCredentials {
    let mut notes = Vec::new();
    let mut asked = |name: &str, key: &str| {
        let helper = Helper::by_name(name);
        if helper.is_none() {
            notes.push(format!(
                "{} names docker-credential-{} in {key}, which is not run: its credentials are not used",
                path.display(),
                printable(name, NAME_BYTES)
            ));
        }
        Some(Asked::new(helper?, search_path.clone(), ORIGIN, Times::default()))
    };
    let store = parsed.store.and_then(|name| asked(&name, "credsStore"));
    let helpers = parsed.helpers.iter().filter_map(|(host, name)| {
        let asked = asked(name, &format!("credHelpers for {}", printable(host, NAME_BYTES)));
        Pattern::parse(host).zip(asked)
    });
    let helpers = helpers.collect();
    CallerCredentials { keyring: Keyring::new(ORIGIN, Owner::Configured, parsed.auths), notes, helpers, store }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::ffi::OsString;
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::Path;
    use std::time::Duration;

    use tokio::time::Instant;

    use super::{CallerCredentials, docker_config_of_caller};
    use crate::registry::credentials::LoginKind;

    fn of(variables: &[(&str, &Path)]) -> Result<Option<CallerCredentials>, String> {
        let variables: HashMap<&str, OsString> =
            variables.iter().map(|(name, value)| (*name, value.as_os_str().to_owned())).collect();
        docker_config_of_caller(|name| variables.get(name).cloned())
    }

    async fn user(caller: &CallerCredentials, host: &str) -> String {
        let logins = caller.logins(host, "acme/api", Instant::now() + Duration::from_secs(20)).await.unwrap();
        match logins.first().map(|login| &login.kind) {
            Some(LoginKind::Password { username, .. }) => username.clone(),
            Some(_) => "another kind".to_owned(),
            None => "nobody".to_owned(),
        }
    }

    fn config(user: &str) -> String {
        format!(r#"{{"auths": {{"r.io": {{"username": "{user}", "password": "s3cr3t"}}}}}}"#)
    }

    #[tokio::test]
    async fn the_variable_goes_before_the_home() {
        let (home, folder, empty) =
            (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::create_dir(home.path().join(".docker")).unwrap();
        fs::write(home.path().join(".docker/config.json"), config("home")).unwrap();
        fs::write(folder.path().join("config.json"), config("variable")).unwrap();
        let home = ("HOME", home.path());
        let both = of(&[home, ("DOCKER_CONFIG", folder.path())]).unwrap().unwrap();
        assert_eq!(user(&both, "r.io").await, "variable");
        assert_eq!(user(&both, "other.io").await, "nobody");
        let unset = of(&[home, ("DOCKER_CONFIG", Path::new(""))]).unwrap().unwrap();
        assert_eq!(user(&unset, "r.io").await, "home");
        assert!(of(&[home, ("DOCKER_CONFIG", empty.path())]).unwrap().is_none(), "another place was named");
        assert!(of(&[]).unwrap().is_none());
    }

    #[test]
    fn a_broken_file_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.json");
        fs::write(&path, r#"{"auths": {"r.io": {"auth": "s3cr3t!"}}}"#).unwrap();
        let problem = of(&[("DOCKER_CONFIG", folder.path())]).err().unwrap();
        let expected = "is not a docker configuration: \
            the entry of r.io has an 'auth' that is not base64 of user:password";
        assert_eq!(problem, format!("{} {expected}", path.display()));
    }

    #[tokio::test]
    async fn programs_of_the_allow_list_are_run_and_others_named() {
        let folder = tempfile::tempdir().unwrap();
        let fake = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/fake-credential-helper");
        for program in ["docker-credential-gcr", "docker-credential-pass", "docker-credential-desktop"] {
            symlink(&fake, folder.path().join(program)).unwrap();
        }
        fs::write(folder.path().join("behaviour"), r#"echo '{"Username": "helper", "Secret": "p"}'"#).unwrap();
        let config = r#"{"auths": {"gcr.io": {}, "r.io": {"username": "file"}},
            "credsStore": "desktop", "credHelpers": {"gcr.io": "gcr", "x.io": "pass"}}"#;
        let path = folder.path().join("config.json");
        fs::write(&path, config).unwrap();
        let variables = [("DOCKER_CONFIG", folder.path()), ("PATH", folder.path())];
        let caller = of(&variables).unwrap().unwrap();
        let note = |what| format!("{} names {what}, which is not run: its credentials are not used", path.display());
        let expected =
            [note("docker-credential-desktop in credsStore"), note("docker-credential-pass in credHelpers for x.io")];
        assert_eq!(caller.notes, expected);
        for (host, expected) in [("gcr.io", "helper"), ("r.io", "file"), ("x.io", "nobody"), ("y.io", "nobody")] {
            assert_eq!(user(&caller, host).await, expected, "{host}");
        }
        fs::write(&path, config.replace("desktop", "gcr")).unwrap();
        let caller = of(&variables).unwrap().unwrap();
        assert_eq!(user(&caller, "y.io").await, "helper", "the store");
        assert_eq!(user(&caller, "r.io").await, "file");
    }
}
