//! The log on standard error: its set-up, and the line that every decision gets.

mod images;
mod json;
mod sink;

use std::io::{self, IsTerminal as _};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tracing::{Level, Subscriber};
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::config::{Log, LogFormat, LogLevel};
use crate::policy::{Decision, Verdict, printable, shown};
use crate::review::AdmissionRequest;

use self::images::{Images, write_codes};
use self::sink::Sink;

/// Bytes of a string that stems from outside.
const MAX_BYTES: usize = 256;
/// Where decisions are logged from.
const TARGET: &str = module_path!();
/// How long the end of the process waits for a reader of its last lines.
const LAST_LINES: Duration = Duration::from_secs(1);
/// How long a panic waits for the line about it to be out: it may be the last thing that the process does.
const PANIC: Duration = Duration::from_millis(20);

/// The way out of this process's log.
static SINK: OnceLock<Arc<Sink>> = OnceLock::new();

/// While it lives, the log is written beside everything else; when it is dropped, the last lines are waited for.
#[must_use = "the last lines are waited for when it is dropped"]
#[derive(Debug)]
pub struct Logging(Arc<Sink>);

impl Drop for Logging {
    fn drop(&mut self) {
        // Where nobody reads, the lines are lost; the process ends all the same.
        self.0.flush(LAST_LINES);
    }
}

/// Sends the log to standard error from now on, in this process, without ever waiting for its reader. A second call
/// changes nothing.
///
/// # Errors
/// There can be no further thread, which would write it.
pub fn start(log: Log) -> io::Result<Logging> {
    let sink = match SINK.get() {
        Some(sink) => sink,
        None => {
            let sink = Sink::start(io::stderr(), tell_of_dropped)?;
            SINK.get_or_init(|| sink)
        }
    };
    let text = io::stderr().is_terminal();
    let format = log.format.unwrap_or(if text { LogFormat::Text } else { LogFormat::Json });
    let _ = subscriber(format, text, log.level, Arc::clone(sink)).try_init();
    let flushed = Arc::clone(sink);
    std::panic::set_hook(Box::new(move |panic| {
        let text = panic.payload_as_str().unwrap_or_default();
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(place, text = printable(text, MAX_BYTES), "a panic; this is a bug of ours");
        flushed.flush(PANIC);
    }));
    Ok(Logging(Arc::clone(sink)))
}

/// Lines of the log that were dropped since the process began, because standard error was not read in time.
pub fn lines_dropped() -> u64 {
    SINK.get().map_or(0, |sink| sink.dropped())
}

fn tell_of_dropped(lines: u64) {
    tracing::warn!(lines, "lines of this log were dropped: standard error is not read as fast as it is written");
}

fn subscriber(format: LogFormat, ansi: bool, least: LogLevel, sink: Arc<Sink>) -> impl Subscriber + Send + Sync {
    // Libraries tell about each frame; what matters of them is a warning at least.
    let filter = Targets::new().with_default(Level::WARN).with_target("tagwarden", level(least));
    // Its own errors it would write to standard error by itself, and wait for that.
    let layer = tracing_subscriber::fmt::layer().with_writer(sink).log_internal_errors(false);
    let layer = match format {
        LogFormat::Json => layer.event_format(json::JsonLines).boxed(),
        LogFormat::Text => layer.with_ansi(ansi).with_target(false).boxed(),
    };
    tracing_subscriber::registry().with(filter).with(layer)
}

fn level(level: LogLevel) -> Level {
    match level {
        LogLevel::Error => Level::ERROR,
        LogLevel::Warn => Level::WARN,
        LogLevel::Info => Level::INFO,
        LogLevel::Debug => Level::DEBUG,
        LogLevel::Trace => Level::TRACE,
    }
}

/// What a decision's line tells beside the request and the verdict.
#[derive(Clone, Copy, Debug)]
pub struct Decided<'a> {
    /// `validate` or `mutate`.
    pub endpoint: &'static str,
    /// What became of the request.
    pub decision: Decision,
    /// Why no policy was asked, if none was.
    pub reason: Option<&'a str>,
    /// The verdict, if one was reached.
    pub verdict: Option<&'a Verdict<'a>>,
    /// The hash of the policies that were in force.
    pub policy_hash: &'a str,
    /// From the review's last byte to its answer.
    pub duration: Duration,
}

/// Writes the line of one decision: never environment values, secrets or whole objects.
pub fn decision(request: &AdmissionRequest<'_>, decided: &Decided<'_>) {
    if !tracing::enabled!(Level::INFO) {
        return;
    }
    let cut = |text| shown(text, MAX_BYTES);
    let mut object_findings = String::new();
    if let Some(verdict) = decided.verdict {
        // Writing to a String cannot fail.
        let _ = write_codes(&mut object_findings, verdict.object_findings.iter());
    }
    let release = decided.verdict.and_then(|verdict| verdict.release).map(|one| one.release);
    let release = release.map(|release| format!("{} {}", release.name(), release.id().as_str()));
    tracing::info!(
        uid = &*cut(&request.uid),
        endpoint = decided.endpoint,
        operation = request.operation.name(),
        kind = &*cut(&request.kind),
        namespace = &*cut(&request.namespace),
        name = &*cut(&request.name),
        user = &*cut(&request.user.username),
        dry_run = request.dry_run,
        decision = decided.decision.name(),
        reason = decided.reason,
        image_count = decided.verdict.map_or(0, |verdict| verdict.images.len()),
        images = ?Images(decided.verdict),
        object_findings,
        policy_hash = decided.policy_hash,
        release,
        duration_seconds = decided.duration.as_secs_f64(),
        "decision"
    );
}
