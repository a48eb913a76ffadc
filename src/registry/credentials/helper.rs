//! Credential helpers: the programs of an allow-list, asked as docker asks them, and their answers remembered.
//!
//! Protocol: `docker-credential-NAME get`, the host on its standard input, JSON on its standard output
//! (<https://docs.docker.com/reference/cli/docker/login/#credential-helper-protocol>). A helper is found on the PATH,
//! run without a shell, and killed when its time is over; what it started itself is not.

use std::borrow::Cow;
use std::ffi::{OsStr, OsString};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use moka::Expiry;
use moka::future::Cache;
use serde::Deserialize;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::unix::pipe;
use tokio::signal::unix::{Signal, SignalKind, signal};
use zeroize::Zeroizing;

use super::docker_config::Text;
use super::identity::Identity;
use super::{Login, LoginKind};
use crate::policy::printable;
use crate::registry::failure::REMOTE_BYTES;
use crate::registry::settings::Helper;

/// Bytes at most that a helper may answer.
const ANSWER_BYTES: usize = 64 << 10;
/// Hosts at most whose answers are remembered.
const HOSTS: u64 = 256;
/// How docker says that there is nothing; helpers end in failure with it.
const NOTHING: &[u8] = b"credentials not found in native keychain";
/// Variables that are ours and none of a helper's business begin so.
const OURS: &[u8] = b"TAGWARDEN_";

impl Helper {
    /// All that may be run.
    const ALL: [Helper; 3] = [Helper::EcrLogin, Helper::Gcr, Helper::AcrEnv];

    /// The program's file name.
    #[must_use]
    pub const fn program(self) -> &'static str {
        match self {
            Helper::EcrLogin => "docker-credential-ecr-login",
            Helper::Gcr => "docker-credential-gcr",
            Helper::AcrEnv => "docker-credential-acr-env",
        }
    }

    /// By the name that docker's configuration has for it: the program's without `docker-credential-`.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|helper| helper.program().strip_prefix("docker-credential-") == Some(name))
    }
}

/// How long things last.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    /// A run.
    pub run: Duration,
    /// The memory of a login.
    pub good: Duration,
    /// The memory of a failure, or of having no login.
    pub failed: Duration,
}

impl Default for Times {
    fn default() -> Self {
        Times { run: Duration::from_secs(2), good: Duration::from_secs(300), failed: Duration::from_secs(10) }
    }
}

type Answer = Result<Option<Login>, String>;

/// A helper and what it said. Clones share that.
#[derive(Clone)]
pub(super) struct Asked {
    helper: Helper,
    search_path: Arc<OsString>,
    origin: Arc<str>,
    run: Duration,
    answers: Cache<String, Arc<Answer>>,
}

impl Asked {
    /// `search_path`: folders in the form of the PATH. `origin`: that of the logins.
    pub fn new(helper: Helper, search_path: OsString, origin: &str, times: Times) -> Self {
        let answers = Cache::builder().max_capacity(HOSTS).expire_after(times).build();
        Asked { helper, search_path: Arc::new(search_path), origin: origin.into(), run: times.run, answers }
    }

    /// The login for a canonical host, if the helper has one. Whoever asks for the same host at the same time waits for
    /// one run; `deadline` ends the waiting, not the run.
    ///
    /// # Errors
    /// One line of our own words.
    pub async fn login(&self, host: &str, deadline: tokio::time::Instant) -> Answer {
        if let Some(answer) = self.answers.get(host).await {
            return Answer::clone(&answer);
        }
        let (asked, host) = (self.clone(), host.to_owned());
        let run = tokio::spawn(async move {
            let run = asked.ask(&host);
            asked.answers.get_with_by_ref(&host, async { Arc::new(run.await) }).await
        });
        match tokio::time::timeout_at(deadline, run).await {
            Ok(Ok(answer)) => Answer::clone(&answer),
            Ok(Err(_)) => Err(format!("asking {} was given up", self.helper.program())),
            Err(_) => Err(format!("{} did not answer in time", self.helper.program())),
        }
    }

    async fn ask(&self, host: &str) -> Answer {
        let name = self.helper.program();
        let outcome = match find(name, &self.search_path) {
            Some(program) => run(&program, server(host), self.run).await,
            None => Err(format!("is not on the PATH: install it there, or take it out of 'credentials' of {host}")),
        };
        let kind = outcome.map_err(|problem| {
            let problem = format!("{name} {problem}");
            tracing::warn!(registry = host, problem, "no credentials from the helper");
            problem
        })?;
        Ok(kind.map(|kind| Login {
            identity: Identity::of(&kind),
            kind,
            origin: Cow::Owned(self.origin.to_string()),
            public: true,
        }))
    }
}

impl Expiry<String, Arc<Answer>> for Times {
    fn expire_after_create(&self, _host: &String, answer: &Arc<Answer>, _created: Instant) -> Option<Duration> {
        Some(if matches!(&**answer, Ok(Some(_))) { self.good } else { self.failed })
    }
}

/// What docker asks helpers for: Docker Hub by its old address.
fn server(host: &str) -> &str {
    if host == "docker.io" { "https://index.docker.io/v1/" } else { host }
}

/// An executable file in a folder of the PATH. Relative folders do not count: what lies where we were started is not what
/// an administrator installed.
fn find(name: &str, search_path: &OsStr) -> Option<PathBuf> {
    let candidates = std::env::split_paths(search_path).filter(|folder| folder.is_absolute()).map(|f| f.join(name));
    candidates.into_iter().find(|path| {
        std::fs::metadata(path).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
    })
}

/// A helper finds its cloud's credentials in the environment; what is set for us alone it does not get.
fn not_ours(environment: impl Iterator<Item = (OsString, OsString)>) -> impl Iterator<Item = (OsString, OsString)> {
    environment.filter(|(name, _)| !name.as_encoded_bytes().starts_with(OURS))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Credentials {
    #[serde(default)]
    username: Option<String>,
    secret: Text,
}

/// Runs the program. Its problems read on from its name.
async fn run(program: &Path, server: &str, time: Duration) -> Result<Option<LoginKind>, String> {
    let deadline = tokio::time::Instant::now() + time;
    // Before the program starts, so that its end cannot be missed.
    let ends = signal(SignalKind::child()).map_err(|error| format!("cannot be watched: {error}"))?;
    let mut command = Command::new(program);
    command.arg("get").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.env_clear().envs(not_ours(std::env::vars_os()));
    let mut child = command.spawn().map_err(|error| format!("cannot be started: {error}"))?;
    let outcome = match tokio::time::timeout_at(deadline, talk(&mut child, server, ends)).await {
        Ok(outcome) => outcome,
        Err(_) => Err(format!("did not answer within {time:?}")),
    };
    if outcome.is_err() {
        // It may have ended by itself; either way it must be reaped, and after this signal that takes no time.
        let _ = child.kill();
        let _ = tokio::task::spawn_blocking(move || child.wait()).await;
    }
    let (status, output, complaint) = outcome?;
    if !complaint.is_empty() {
        let stderr = printable(String::from_utf8_lossy(&complaint).trim(), REMOTE_BYTES);
        tracing::info!(program = %program.display(), %status, stderr, "a credential helper complains");
    }
    if !status.success() {
        let nothing = output.trim_ascii().starts_with(NOTHING);
        return if nothing { Ok(None) } else { Err(format!("failed: {status}")) };
    }
    let found: Credentials =
        serde_json::from_slice(&output).map_err(|_| "did not answer with Username and Secret in JSON".to_owned())?;
    let (username, secret) = (found.username.unwrap_or_default(), found.secret.0);
    Ok(match &*username {
        _ if secret.is_empty() => None,
        "<token>" => Some(LoginKind::IdentityToken(secret)),
        _ => Some(LoginKind::Password { username, password: secret }),
    })
}

type Said = (ExitStatus, Zeroizing<Vec<u8>>, Vec<u8>);

/// Question, answer, and the end of the program.
async fn talk(child: &mut Child, server: &str, mut ends: Signal) -> Result<Said, String> {
    let pipe = |error: std::io::Error| format!("cannot be talked to: {error}");
    let none = || pipe(std::io::ErrorKind::BrokenPipe.into());
    let mut stdin = pipe::Sender::from_owned_fd(OwnedFd::from(child.stdin.take().ok_or_else(none)?)).map_err(pipe)?;
    let stdout = OwnedFd::from(child.stdout.take().ok_or_else(none)?);
    let stderr = OwnedFd::from(child.stderr.take().ok_or_else(none)?);
    let (stdout, stderr) =
        (pipe::Receiver::from_owned_fd(stdout).map_err(pipe)?, pipe::Receiver::from_owned_fd(stderr).map_err(pipe)?);
    let question = format!("{server}\n");
    let ask = async move {
        // A helper need not read to the end what it does not need.
        let _ = stdin.write_all(question.as_bytes()).await;
        Ok(())
    };
    let answer = async {
        // One byte more tells too long from just fitting; the room is made once, so that no copy is left behind.
        let mut answer = Zeroizing::new(Vec::with_capacity(ANSWER_BYTES + 64));
        stdout.take(ANSWER_BYTES as u64 + 1).read_to_end(&mut answer).await.map_err(pipe)?;
        if answer.len() > ANSWER_BYTES {
            return Err(format!("answered more than {} KiB", ANSWER_BYTES >> 10));
        }
        Ok(answer)
    };
    let complain = async {
        let mut complaint = Vec::new();
        let mut first = stderr.take(4 * REMOTE_BYTES as u64);
        first.read_to_end(&mut complaint).await.map_err(pipe)?;
        // The rest is read and dropped, or the helper would wait for us.
        tokio::io::copy(&mut first.into_inner(), &mut tokio::io::sink()).await.map_err(pipe)?;
        Ok(complaint)
    };
    let ((), answer, complaint) = tokio::try_join!(ask, answer, complain)?;
    loop {
        if let Some(status) = child.try_wait().map_err(pipe)? {
            return Ok((status, answer, complaint));
        }
        ends.recv().await;
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;
    use std::fs;
    use std::io::Write as _;
    use std::os::unix::fs::symlink;
    use std::path::Path;
    use std::time::Duration;

    use tempfile::TempDir;
    use tokio::time::Instant;

    use super::{Answer, Asked, Helper, Login, LoginKind, Times};

    /// Runs the file `behaviour` beside itself. Linked to, not written: a program that was just written may still be open
    /// for writing in another test's child, and then cannot be started.
    const FAKE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/fake-credential-helper");

    /// A folder with a fake `docker-credential-gcr`, which counts its runs.
    fn folder(behaviour: &str) -> TempDir {
        let folder = tempfile::tempdir().unwrap();
        symlink(FAKE, folder.path().join("docker-credential-gcr")).unwrap();
        fs::write(folder.path().join("behaviour"), format!("echo run >>\"$here/runs\"\n{behaviour}")).unwrap();
        folder
    }

    fn asked(folder: &Path, times: Times) -> Asked {
        Asked::new(Helper::Gcr, folder.as_os_str().to_owned(), "the configured credentials", times)
    }

    fn patient() -> Times {
        Times { run: Duration::from_secs(20), ..Times::default() }
    }

    fn later() -> Instant {
        Instant::now() + Duration::from_secs(30)
    }

    async fn answer_of(behaviour: &str) -> Answer {
        asked(folder(behaviour).path(), patient()).login("gcr.io", later()).await
    }

    fn runs(folder: &TempDir) -> usize {
        fs::read_to_string(folder.path().join("runs")).unwrap_or_default().lines().count()
    }

    fn shown(answer: Answer) -> String {
        match answer {
            Ok(None) => "none".to_owned(),
            Ok(Some(Login { kind: LoginKind::Password { username, password }, .. })) => {
                format!("{username}/{}", password.as_str())
            }
            Ok(Some(Login { kind: LoginKind::IdentityToken(token), .. })) => format!("identity {}", token.as_str()),
            Ok(Some(_)) => "another kind".to_owned(),
            Err(problem) => problem,
        }
    }

    #[tokio::test]
    async fn answers_are_read() {
        let cases = [
            (r#"echo '{"ServerURL":"gcr.io","Username":"u","Secret":"p"}'"#, "u/p"),
            (r#"echo '{"Username":"<token>","Secret":"t"}'"#, "identity t"),
            (r#"read -r host; echo "{\"Username\":\"$host $1\",\"Secret\":\"p\"}""#, "gcr.io get/p"),
            (r#"echo '{"Username":"","Secret":""}'"#, "none"),
            ("echo credentials not found in native keychain; exit 1", "none"),
            ("echo p4ss >&2; echo p4ss; exit 3", "docker-credential-gcr failed: exit status: 3"),
            ("echo p4ss", "docker-credential-gcr did not answer with Username and Secret in JSON"),
            ("", "docker-credential-gcr did not answer with Username and Secret in JSON"),
        ];
        for (behaviour, expected) in cases {
            assert_eq!(shown(answer_of(behaviour).await), expected, "{behaviour}");
        }
    }

    #[tokio::test]
    async fn a_login_of_a_helper_is_the_configured_one() {
        let login = answer_of(r#"echo '{"Username":"u","Secret":"p"}'"#).await.unwrap().unwrap();
        assert_eq!((&*login.origin, login.public), ("the configured credentials", true));
    }

    #[tokio::test]
    async fn docker_hub_is_asked_for_as_docker_does() {
        let folder = folder(r#"read -r host; echo "{\"Username\":\"$host\",\"Secret\":\"p\"}""#);
        let answer = asked(folder.path(), patient()).login("docker.io", later()).await;
        assert_eq!(shown(answer), "https://index.docker.io/v1//p");
    }

    #[tokio::test]
    async fn the_answer_is_bounded_and_complaints_are_not_in_its_way() {
        // Valid JSON, blanks and all, that is just too long, and just not.
        let answer = |length: usize| {
            let json = r#"{"Username":"u","Secret":"p"}"#;
            format!("head -c 300000 /dev/zero >&2; printf '%{length}s' '{json}'")
        };
        assert_eq!(shown(answer_of(&answer(64 << 10)).await), "u/p");
        let too_long = shown(answer_of(&answer((64 << 10) + 1)).await);
        assert_eq!(too_long, "docker-credential-gcr answered more than 64 KiB");
        let endless = shown(answer_of("cat /dev/zero").await);
        assert_eq!(endless, "docker-credential-gcr answered more than 64 KiB");
    }

    #[tokio::test]
    async fn a_helper_that_does_not_end_is_killed() {
        // Long enough that a busy machine has started it by then.
        let times = Times { run: Duration::from_secs(2), ..patient() };
        let ends = ["exec sleep 1000", "exec sleep 1000 >&- 2>&-"].map(async |silent| {
            let folder = folder(&format!("echo $$ >\"$here/pid\"\n{silent}"));
            let answer = asked(folder.path(), times).login("gcr.io", later()).await;
            assert_eq!(shown(answer), "docker-credential-gcr did not answer within 2s", "{silent}");
            let pid = fs::read_to_string(folder.path().join("pid")).unwrap();
            assert!(!Path::new("/proc").join(pid.trim()).exists(), "{silent}");
        });
        futures_util::future::join_all(ends).await;
    }

    #[tokio::test]
    async fn the_callers_deadline_ends_its_waiting_and_not_the_run() {
        let folder = folder(r#"read -r go <"$here/go"; echo '{"Username":"u","Secret":"p"}'"#);
        let go = folder.path().join("go");
        assert!(std::process::Command::new("mkfifo").arg(&go).status().unwrap().success());
        // Open both ways, so that neither side waits for the other before there is a line.
        let mut go = fs::OpenOptions::new().read(true).write(true).open(go).unwrap();
        let asked = asked(folder.path(), patient());
        let answer = asked.login("gcr.io", Instant::now() + Duration::from_millis(1)).await;
        assert_eq!(shown(answer), "docker-credential-gcr did not answer in time");
        let waiting = tokio::spawn({
            let asked = asked.clone();
            async move { asked.login("gcr.io", later()).await }
        });
        go.write_all(b"go\n").unwrap();
        assert_eq!(shown(waiting.await.unwrap()), "u/p");
        assert_eq!(runs(&folder), 1);
    }

    #[tokio::test]
    async fn one_run_serves_all_who_ask_and_is_remembered() {
        let folder = folder(r#"echo '{"Username":"u","Secret":"p"}'"#);
        let asked = asked(folder.path(), patient());
        let all = futures_util::future::join_all((0..50).map(|_| asked.login("gcr.io", later()))).await;
        assert!(all.into_iter().all(|answer| shown(answer) == "u/p"));
        assert_eq!(runs(&folder), 1);
        assert_eq!(shown(asked.login("eu.gcr.io", later()).await), "u/p");
        assert_eq!(runs(&folder), 2, "another host is another question");
    }

    #[tokio::test]
    async fn memories_last_as_long_as_they_should() {
        let zero = Duration::ZERO;
        let cases = [
            (r#"echo '{"Username":"u","Secret":"p"}'"#, Times { good: zero, ..patient() }, 2),
            (r#"echo '{"Username":"u","Secret":"p"}'"#, Times { failed: zero, ..patient() }, 1),
            ("exit 1", Times { good: zero, ..patient() }, 1),
            ("exit 1", Times { failed: zero, ..patient() }, 2),
            (r#"echo '{"Username":"","Secret":""}'"#, Times { failed: zero, ..patient() }, 2),
        ];
        for (behaviour, times, expected) in cases {
            let folder = folder(behaviour);
            let asked = asked(folder.path(), times);
            for _ in 0..2 {
                let _ = asked.login("gcr.io", later()).await;
            }
            assert_eq!(runs(&folder), expected, "{behaviour} {times:?}");
        }
    }

    #[tokio::test]
    async fn only_executables_in_absolute_folders_of_the_path_are_found() {
        let good = folder(r#"echo '{"Username":"u","Secret":"p"}'"#);
        let bad = tempfile::tempdir().unwrap();
        fs::write(bad.path().join("docker-credential-gcr"), "no program").unwrap();
        let ask = async |folders: &[&Path]| {
            let path = std::env::join_paths(folders).unwrap();
            shown(Asked::new(Helper::Gcr, path, "x", patient()).login("gcr.io", later()).await)
        };
        assert_eq!(ask(&[bad.path(), good.path()]).await, "u/p");
        let missing = "docker-credential-gcr is not on the PATH: \
            install it there, or take it out of 'credentials' of gcr.io";
        assert_eq!(ask(&[bad.path()]).await, missing);
        let ecr = Asked::new(Helper::EcrLogin, good.path().into(), "x", patient()).login("gcr.io", later()).await;
        assert!(shown(ecr).starts_with("docker-credential-ecr-login is not on the PATH"));
        assert_eq!(super::find("docker-credential-gcr", &OsString::from(":relative:.")), None);
        assert_eq!(super::find("Cargo.toml", &OsString::from(".")), None, "where tests are started");
    }

    #[test]
    fn a_helper_gets_the_environment_but_for_what_is_ours() {
        let names = ["PATH", "AWS_REGION", "TAGWARDEN_MAX_MODE", "MY_TAGWARDEN_X"];
        let environment = names.into_iter().map(|name| (OsString::from(name), OsString::from("1")));
        let given: Vec<_> = super::not_ours(environment).map(|(name, _)| name).collect();
        assert_eq!(given, ["PATH", "AWS_REGION", "MY_TAGWARDEN_X"]);
    }

    #[test]
    fn the_allow_list_is_closed() {
        for (name, helper) in [("ecr-login", Helper::EcrLogin), ("gcr", Helper::Gcr), ("acr-env", Helper::AcrEnv)] {
            assert_eq!(Helper::by_name(name), Some(helper));
        }
        for name in ["", "pass", "desktop", "gcr/../../sh", "docker-credential-gcr", "GCR"] {
            assert_eq!(Helper::by_name(name), None, "{name}");
        }
    }
}
