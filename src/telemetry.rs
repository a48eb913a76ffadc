//! The log on standard error: its set-up, and the line that every decision gets.

mod json;

use std::io::{self, IsTerminal as _};
use std::time::Duration;

use serde::Serialize;
use tracing::Level;
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::config::{Log, LogFormat, LogLevel};
use crate::policy::{Decision, ImageVerdict, Pinning, Verdict, printable};
use crate::review::AdmissionRequest;

/// Images that one line tells of; `image_count` counts all.
const MAX_IMAGES: usize = 20;
/// Bytes of a string that stems from outside.
const MAX_BYTES: usize = 256;

/// Sends the log to standard error from now on, in this process. A second call changes nothing.
pub fn start(log: Log) {
    let text = io::stderr().is_terminal();
    let format = log.format.unwrap_or(if text { LogFormat::Text } else { LogFormat::Json });
    // Libraries tell about each frame; what matters of them is a warning at least.
    let filter = Targets::new().with_default(Level::WARN).with_target("tagwarden", level(log.level));
    let layer = tracing_subscriber::fmt::layer().with_writer(io::stderr);
    let layer = match format {
        LogFormat::Json => layer.event_format(json::JsonLines).boxed(),
        LogFormat::Text => layer.with_ansi(text).with_target(false).boxed(),
    };
    let _ = tracing_subscriber::registry().with(layer.with_filter(filter)).try_init();
    std::panic::set_hook(Box::new(|panic| {
        let text = panic.payload_as_str().unwrap_or_default();
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(place, text = printable(text, MAX_BYTES), "a panic; this is a bug of ours");
    }));
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
    let cut = |text: &str| printable(text, MAX_BYTES);
    let images = decided.verdict.map_or_else(|| "[]".to_owned(), images);
    let object_findings = decided.verdict.map(|v| codes(v.object_findings.iter())).unwrap_or_default();
    let release = decided.verdict.and_then(|verdict| verdict.release).map(|one| one.release);
    let release = release.map(|release| format!("{} {}", release.name(), release.id().as_str()));
    tracing::info!(
        uid = cut(&request.uid),
        endpoint = decided.endpoint,
        operation = request.operation.name(),
        kind = cut(&request.kind),
        namespace = cut(&request.namespace),
        name = cut(&request.name),
        user = cut(&request.user.username),
        dry_run = request.dry_run,
        decision = decided.decision.name(),
        reason = decided.reason,
        image_count = decided.verdict.map_or(0, |verdict| verdict.images.len()),
        images,
        object_findings,
        policy_hash = decided.policy_hash,
        release,
        duration_seconds = decided.duration.as_secs_f64(),
        "decision"
    );
}

/// One image of a decision's line.
#[derive(Serialize)]
struct ImageLine<'v> {
    reference: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    class: Option<&'v str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<&'v str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<&'v str>,
    /// The digest that is written into the Pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pin: Option<&'v str>,
    /// The digest that would be, were the check enforced.
    #[serde(skip_serializing_if = "Option::is_none")]
    would_pin: Option<&'v str>,
    decision: &'static str,
    #[serde(skip_serializing_if = "String::is_empty")]
    findings: String,
}

/// The images of a verdict as JSON; the log's own JSON takes it as it is.
fn images(verdict: &Verdict<'_>) -> String {
    let lines: Vec<ImageLine<'_>> = verdict.images.iter().take(MAX_IMAGES).map(image).collect();
    // Strings and lists of them cannot fail to serialise.
    serde_json::to_string(&lines).unwrap_or_default()
}

fn image<'v>(image: &'v ImageVerdict<'_>) -> ImageLine<'v> {
    let (pin, would_pin) = match &image.pin {
        Pinning::None => (None, None),
        Pinning::Write(digest) => (Some(digest.as_str()), None),
        Pinning::Told(digest) => (None, Some(digest.as_str())),
    };
    ImageLine {
        reference: printable(image.image, MAX_BYTES),
        class: image.class,
        rule: image.applied.iter().find_map(|applied| applied.rule),
        digest: image.reference.as_ref().and_then(|r| r.digest()).map(|d| d.as_str()),
        pin,
        would_pin,
        decision: image.decision.name(),
        findings: codes(image.findings()),
    }
}

/// `TW120 enforce, TW110 audit`.
fn codes<'f>(findings: impl Iterator<Item = &'f crate::policy::Finding<'f>>) -> String {
    let each: Vec<String> = findings.map(|f| format!("{} {}", f.id.code(), f.mode.name())).collect();
    each.join(", ")
}
