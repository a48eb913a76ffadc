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

#[cfg(test)]
mod tests {
    use super::{Decided, decision, subscriber};
    use crate::config::{LogFormat, LogLevel};
    use crate::policy::{Facts, PolicySet, Releases, Settings, Stage, decide};
    use crate::review::{About, Considered, ExemptRequesters, Workloads, consider, read};
    use crate::telemetry::sink::Sink;
    use serde_json::{Value, json};
    use std::io::{self, BufRead as _, BufReader};
    use std::time::Duration;

    const POLICY: &str = "
apiVersion: tagwarden.dev/v1
kind: ImagePolicy
metadata: {name: p}
spec: {mode: enforce, rules: [{name: any, images: [\"**\"], tags: [release]}]}
";

    /// Has `use_line` write the line of a decision on a Pod of these images, once and again; gives the lines.
    fn lines(images: &[&str], use_line: impl FnOnce(&dyn Fn())) -> Vec<String> {
        let containers =
            images.iter().enumerate().map(|(number, image)| json!({"name": format!("c{number}"), "image": image}));
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"},
            "spec": {"containers": containers.collect::<Value>()}});
        let review = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
            "uid": "u-1", "kind": {"group": "", "version": "v1", "kind": "Pod"},
            "resource": {"group": "", "version": "v1", "resource": "pods"},
            "name": "x", "namespace": "shop", "operation": "CREATE",
            "userInfo": {"username": "a\"b"}, "object": pod, "oldObject": null, "dryRun": false}});
        let review = review.to_string();
        let request = read(review.as_bytes()).unwrap();
        let about = About::of(&request);
        let (workloads, nobody) = (Workloads::default(), ExemptRequesters::default());
        let Considered::Judge(collected) = consider(&request, &about, &workloads, &nobody) else {
            panic!("not judged")
        };
        let images = collected.images();
        let policies = PolicySet::compile(&[("p.yaml", POLICY)], Settings::default()).unwrap();
        let governed = Releases::default();
        let governed = governed.govern(about.namespace.as_deref(), None);
        let asked = about.policy_request(None, &[], governed, Stage::Admission, 1_800_000_000);
        let verdict = decide(policies.plan(&asked, &images), &images, &Facts::default());
        let decided = Decided {
            endpoint: "validate",
            decision: verdict.decision,
            reason: None,
            verdict: Some(&verdict),
            policy_hash: "h",
            duration: Duration::from_micros(41),
        };

        let (reader, writer) = io::pipe().unwrap();
        let sink = Sink::start(writer, drop).unwrap();
        let subscriber = subscriber(LogFormat::Json, false, LogLevel::Info, sink.clone());
        tracing::subscriber::with_default(subscriber, || {
            use_line(&|| decision(&request, &decided));
            tracing::error!("last");
        });
        assert!(sink.flush(Duration::from_secs(20)));
        let lines = BufReader::new(reader).lines().map(Result::unwrap);
        lines.take_while(|line| !line.contains("\"message\":\"last\"")).collect()
    }

    #[test]
    fn the_line_of_a_decision_has_all_fields_in_their_order() {
        let images = ["nginx:v1.2.3", "ngi\"nx:latest", "redis"];
        let [line] = <[String; 1]>::try_from(lines(&images, |line| line())).unwrap();
        let (_, fields) = line.split_once("\",").unwrap();
        let wanted = concat!(
            r#""level":"INFO","message":"decision","uid":"u-1","endpoint":"validate","operation":"CREATE","kind":"Pod","#,
            r#""namespace":"shop","name":"x","user":"a\"b","dry_run":false,"decision":"deny","image_count":3,"#,
            r#""images":[{"reference":"nginx:v1.2.3","class":"release","rule":"any","decision":"allow"},"#,
            r#"{"reference":"ngi\"nx:latest","decision":"deny","findings":"TW100 enforce"},"#,
            r#"{"reference":"redis","class":"latest","rule":"any","decision":"deny","findings":"TW120 enforce"}],"#,
            r#""object_findings":"","policy_hash":"h","duration_seconds":0.000041,"target":"tagwarden::telemetry"}"#
        );
        assert_eq!(fields, wanted);
        serde_json::from_str::<Value>(&line).unwrap();
    }

    /// The goal of one line, its way through the sink included.
    #[test]
    fn the_line_of_a_decision_takes_no_memory() {
        let allowed = ["nginx:v1.2.3", "registry.example.com/a/b:v1.2.3", "redis:v7.0.0"];
        for (images, least, most) in [(&allowed[..], 0, 0), (&["nginx\u{430}"], 1, 8)] {
            let written = lines(images, |line| {
                line();
                let counted = allocation_counter::measure(line).count_total;
                assert!((least..=most).contains(&counted), "{counted} allocations for {images:?}");
            });
            assert_eq!(written.len(), 2);
        }
    }

    #[test]
    fn levels_below_the_configured_one_and_the_chatter_of_libraries_are_left_out() {
        let (reader, writer) = io::pipe().unwrap();
        let sink = Sink::start(writer, drop).unwrap();
        let subscriber = subscriber(LogFormat::Json, false, LogLevel::Warn, sink.clone());
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!("ours");
            tracing::info!(target: "hyper", "theirs");
            tracing::warn!(target: "hyper", "their warning");
            tracing::warn!("our warning");
        });
        assert!(sink.flush(Duration::from_secs(20)));
        let mut lines = BufReader::new(reader).lines().map(Result::unwrap);
        assert!(lines.next().unwrap().contains("their warning"));
        assert!(lines.next().unwrap().contains("our warning"));
    }
}
