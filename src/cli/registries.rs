//! Registries as the command line asks them: one runtime and one resolver a command, started with the first question.

use std::collections::BTreeSet;
use std::future::Future;
use std::io::Write;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::runtime::Runtime;
use tokio::time::Instant;

use super::report::shown;
use super::{Progress, Surroundings};
use crate::metrics::Metrics;
use crate::registry::credentials::{CallerCredentials, docker_config_of_caller};
use crate::registry::{Asker, FailureKind, Resolver, Settings};

/// For everything that is asked for one object (or one image of `resolve`).
pub(super) const DEADLINE: Duration = Duration::from_secs(30);
/// A command that takes longer says what it waits for.
const PATIENCE: Duration = Duration::from_secs(1);

/// A resolver and the threads it needs. Whatever it learned serves the rest of the command.
pub(super) struct Registries {
    runtime: Runtime,
    /// Answers lookups.
    pub resolver: Resolver,
    caller: Option<CallerCredentials>,
    /// What of the caller's credentials cannot be used: the registries are asked without it.
    pub notes: Vec<String>,
    patience: Instant,
}

impl Registries {
    /// For these hosts and no others, with the credentials of the settings and of whoever calls; the notes are told.
    pub fn new(
        settings: Settings,
        hosts: BTreeSet<String>,
        surroundings: &mut Surroundings<'_>,
    ) -> anyhow::Result<Self> {
        let registries = Self::start(settings, hosts)?;
        tell(&registries.notes, surroundings);
        Ok(registries)
    }

    /// The same, and the notes are left to be told.
    pub fn start(settings: Settings, hosts: BTreeSet<String>) -> anyhow::Result<Self> {
        // One thread is enough for waiting; it costs a command nothing that ends before it asks.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.context("cannot start what asks registries")?;
        let metrics = Arc::new(Metrics::new()?);
        let within = runtime.enter();
        let resolver = Resolver::new(settings, hosts, metrics).map_err(anyhow::Error::msg)?;
        let patience = Instant::now() + PATIENCE;
        drop(within);
        let (caller, notes) = callers_own();
        Ok(Registries { runtime, resolver, caller, notes, patience })
    }

    /// Who asks, for an object in this namespace.
    pub fn asker<'a>(&'a self, namespace: Option<&'a str>) -> Asker<'a> {
        Asker { namespace, caller: self.caller.as_ref(), ..Asker::default() }
    }

    /// Waits for an answer, and for those that other threads wait for at the same time.
    pub fn wait_quietly<T>(&self, answer: impl Future<Output = T>) -> T {
        self.runtime.block_on(answer)
    }

    /// Waits for an answer; on a terminal says so where the command takes longer than a second.
    pub fn wait<T>(&self, about: &str, surroundings: &mut Surroundings<'_>, answer: impl Future<Output = T>) -> T {
        self.runtime.block_on(async {
            let mut answer = pin!(answer);
            if surroundings.progress == Progress::Shown {
                if let Ok(answer) = tokio::time::timeout_at(self.patience, answer.as_mut()).await {
                    return answer;
                }
                say(&format!("asking registries for {} ...", shown(about)), surroundings.err);
                let answer = answer.await;
                say("", surroundings.err);
                return answer;
            }
            answer.await
        })
    }
}

/// What to do where a registry did not tell about an image.
pub(super) fn remedy(kind: FailureKind, host: &str) -> String {
    match kind {
        FailureKind::NotFoundOrNoAccess | FailureKind::Unauthorized => {
            format!(
                "check the name and the tag; for a private image `docker login {host}`, or 'credentials' in --config"
            )
        }
        FailureKind::RateLimited { .. } => {
            format!("ask again later, or as somebody who may ask more: `docker login {host}`")
        }
        FailureKind::Timeout => "ask again; where the registry is slow, 'timeouts' in --config".to_owned(),
        FailureKind::Unreachable => {
            "check the name and the network; an address inside your network needs 'private: true' in --config"
                .to_owned()
        }
        FailureKind::Tls => "name the authority of its certificate as 'ca' in --config".to_owned(),
        FailureKind::Protocol => "whoever runs the registry, or a proxy in front of it, has to look".to_owned(),
    }
}

/// Those of `docker login`, and what of them cannot be used.
fn callers_own() -> (Option<CallerCredentials>, Vec<String>) {
    match docker_config_of_caller(|name| std::env::var_os(name)) {
        Ok(None) => (None, Vec::new()),
        Ok(Some(caller)) => (Some(caller.clone()), caller.notes),
        Err(problem) => (None, vec![problem]),
    }
}

/// Tells what of the caller's credentials cannot be used.
pub(super) fn tell(notes: &[String], surroundings: &mut Surroundings<'_>) {
    for note in notes {
        // A closed standard error takes nothing from the verdict.
        let _ = writeln!(surroundings.err, "warning: {}", shown(note));
    }
}

/// Replaces the line that the cursor is on.
pub(super) fn say(line: &str, err: &mut dyn Write) {
    // A closed standard error takes nothing from the verdict.
    let _ = write!(err, "\r\x1b[K{line}").and_then(|()| err.flush());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::Color;
    use tokio::sync::Notify;

    /// Standard error that tells when something is written to it.
    struct Telltale<'t>(Vec<u8>, &'t Notify);

    impl Write for Telltale<'_> {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.1.notify_one();
            self.0.write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// What is written to standard error while an answer takes its time: that of the first word about it, if `slow`.
    fn said(progress: Progress, patience: Duration, slow: Option<&Notify>) -> String {
        let never = Notify::new();
        let mut err = Telltale(Vec::new(), slow.unwrap_or(&never));
        let mut surroundings = Surroundings {
            input: &mut std::io::empty(),
            out: &mut std::io::sink(),
            err: &mut err,
            color: Color::Never,
            width: None,
            progress,
            now: 0,
        };
        let mut registries = Registries::new(Settings::default(), BTreeSet::new(), &mut surroundings).unwrap();
        registries.patience = Instant::now() + patience;
        registries.wait("Pod a/b", &mut surroundings, async {
            match slow {
                Some(said) => said.notified().await,
                None => tokio::task::yield_now().await,
            }
        });
        String::from_utf8(err.0).unwrap()
    }

    #[test]
    fn progress_is_for_terminals_and_for_what_takes_long() {
        let shown = "\r\u{1b}[Kasking registries for Pod a/b ...\r\u{1b}[K";
        assert_eq!(said(Progress::Shown, Duration::ZERO, Some(&Notify::new())), shown);
        assert_eq!(said(Progress::Shown, DEADLINE, None), "");
        assert_eq!(said(Progress::Hidden, Duration::ZERO, None), "");
    }
}
