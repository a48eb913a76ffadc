//! `tagwarden hook`: what the chart's hooks run in our own image, before an uninstall and for `helm test`.

mod answer;
mod call;
mod patience;
mod pre_delete;
mod test;

use std::fmt;
use std::io;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use tokio::runtime::Runtime;

use super::{Exit, Surroundings};
use crate::config::{Config, Overrides, parse_duration};
use crate::document::Color;
use pre_delete::PreDeleteArgs;
use test::TestArgs;

/// The arguments of `hook`.
#[derive(Debug, Args)]
pub struct HookArgs {
    #[command(subcommand)]
    hook: Hook,
}

/// The hooks.
#[derive(Debug, Subcommand)]
enum Hook {
    /// Delete our webhook configurations, before what they call is uninstalled
    PreDelete(PreDeleteArgs),
    /// Send a real review to the running server, on the API server's way
    Test(TestArgs),
}

pub(super) fn run(args: &HookArgs, surroundings: &mut Surroundings<'_>) -> anyhow::Result<Exit> {
    match &args.hook {
        Hook::PreDelete(args) => pre_delete::run(args, surroundings),
        Hook::Test(args) => test::run(args, surroundings),
    }
}

/// Why a step failed, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Failure {
    cause: String,
    remedy: String,
}

impl Failure {
    fn new(cause: impl Into<String>, remedy: impl Into<String>) -> Self {
        Failure { cause: cause.into(), remedy: remedy.into() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.cause, self.remedy)
    }
}

/// Tells of a step that went well.
fn ok(step: &str, surroundings: &mut Surroundings<'_>) -> io::Result<()> {
    line("ok     ", step, surroundings)
}

/// Tells of one that did not.
fn failed(step: &str, surroundings: &mut Surroundings<'_>) -> io::Result<()> {
    line("failed ", step, surroundings)
}

/// Written at once: a Pod's log is read while the Pod runs, and both of its streams are one there.
fn line(word: &str, step: &str, surroundings: &mut Surroundings<'_>) -> io::Result<()> {
    writeln!(surroundings.out, "{word} {step}")?;
    surroundings.out.flush()
}

/// The server's configuration. None, after every problem in it was written to standard error.
fn configuration(file: &Path, surroundings: &mut Surroundings<'_>) -> Option<Config> {
    match Config::load(Some(file), &Overrides::default()) {
        Ok(config) => Some(config),
        Err(error) => {
            // Nobody is left to tell when standard error is closed too.
            let _ = write!(surroundings.err, "{}", error.rendered(Color::Never));
            None
        }
    }
}

fn runtime() -> anyhow::Result<Runtime> {
    // One thread is enough for waiting.
    tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start what asks the API server")
}

/// A flag's duration, at least a second and at most an hour.
fn duration(text: &str) -> Result<Duration, String> {
    let duration = parse_duration(text)?;
    if duration < Duration::from_secs(1) || duration > Duration::from_secs(3600) {
        return Err("write a duration from 1s to 1h, '90s' say".to_owned());
    }
    Ok(duration)
}

#[cfg(test)]
mod tests {
    use super::duration;
    use std::time::Duration;

    #[test]
    fn a_timeout_is_long_enough_to_try_once_and_ends() {
        assert_eq!(duration("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("1h"), Ok(Duration::from_secs(3600)));
        for bad in ["", "90", "0", "999ms", "61m"] {
            assert!(duration(bad).is_err(), "{bad:?}");
        }
    }
}
