//! Every metric: name, labels, buckets and help, in one list.
//!
//! Labels are bounded: kinds that no table knows are `other`, and no image, tag, digest, namespace or Pod is ever one.

mod reviews;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus::{
    Gauge, GaugeVec, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    TextEncoder,
};

use self::reviews::Reviews;
use crate::policy::{Check, Decision, Mode, PolicySet, Seconds, Snapshots};

/// From 100 µs to 5 s.
const BUCKETS: [f64; 15] =
    [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0];

/// The content type of [`Metrics::text`].
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The metrics of one server.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    reviews: Reviews,
    violations: IntCounterVec,
    images: IntCounterVec,
    rejected: IntCounterVec,
    passed: IntCounterVec,
    uncovered: IntCounter,
    panics: IntCounter,
    in_flight: IntGauge,
    connections: IntGauge,
    policies: IntGaugeVec,
    configuration_reload: IntGauge,
    policy_reload: IntGauge,
    policies_from_saved: IntGauge,
    last_good_save_failures: IntCounter,
    certificate_reload: IntGauge,
    policy_info: IntGaugeVec,
    release_info: IntGaugeVec,
    release_reload: IntGaugeVec,
    release_loaded: GaugeVec,
    releases_from_saved: IntGaugeVec,
    releases_save_failures: IntCounter,
    exception_expiry: GaugeVec,
    certificate_expiry: Gauge,
    registry_requests: IntCounterVec,
    registry_duration: HistogramVec,
    cache: IntCounterVec,
    history_watched: IntGauge,
    history_write_failures: IntCounter,
    history_event_failures: IntCounter,
    log_lines_dropped: IntCounter,
    /// Of these, how many are counted.
    log_lines_counted: AtomicU64,
}

/// How a lookup was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheResult {
    /// By a remembered answer.
    Hit,
    /// By the registry, or not at all.
    Miss,
    /// By what the registry said last: it fails.
    Stale,
    /// By a remembered failure.
    Negative,
}

impl CacheResult {
    const fn name(self) -> &'static str {
        match self {
            CacheResult::Hit => "hit",
            CacheResult::Miss => "miss",
            CacheResult::Stale => "stale",
            CacheResult::Negative => "negative",
        }
    }
}

/// A source of releases, a directory or objects, and what is in force of it.
#[derive(Clone, Copy, Debug)]
pub struct ReleaseSource<'a> {
    /// The directory, or what kind of objects.
    pub name: &'a str,
    /// The releases in force.
    pub releases: Option<&'a Snapshots>,
    /// When they were read.
    pub since: Option<Seconds>,
    /// Whether they are those of the source as it stands.
    pub is_current: bool,
    /// Whether some of them were saved by another process.
    pub from_saved: bool,
}

/// What one review came to, as far as it is counted.
#[derive(Clone, Copy, Debug)]
pub struct Review<'a> {
    /// `validate` or `mutate`.
    pub endpoint: &'static str,
    /// `CREATE`.
    pub operation: &'static str,
    /// The object's kind, any.
    pub kind: &'a str,
    /// What became of it.
    pub decision: Decision,
    /// Whether nothing was to be stored.
    pub dry_run: bool,
    /// How long it took in here.
    pub duration: Duration,
}

impl Metrics {
    /// All metrics at zero.
    ///
    /// # Errors
    /// Two metrics of one name, or a bad name: excluded by a test.
    pub fn new() -> Result<Self, prometheus::Error> {
        let list = List { registry: Registry::new() };
        let metrics = Metrics {
            reviews: Reviews::new(
                list.counters(
                    "tagwarden_admission_requests_total",
                    "Reviews answered with a decision.",
                    &reviews::LABELS,
                )?,
                list.durations(
                    "tagwarden_admission_duration_seconds",
                    "Time from a review's last byte to its answer.",
                    &["endpoint"],
                )?,
            ),
            violations: list.counters(
                "tagwarden_violations_total",
                "Findings on images and objects, by the mode that held for them.",
                &["policy", "check", "mode"],
            )?,
            images: list.counters("tagwarden_images_total", "Images judged, by tag class.", &["class", "decision"])?,
            rejected: list.counters(
                "tagwarden_rejected_requests_total",
                "HTTP requests refused before a review was judged.",
                &["reason"],
            )?,
            passed: list.counters(
                "tagwarden_unjudged_requests_total",
                "Reviews allowed without asking a policy, by the reason.",
                &["reason"],
            )?,
            uncovered: list
                .counter("tagwarden_uncovered_requests_total", "Reviews judged in namespaces that no policy covers.")?,
            panics: list.counter("tagwarden_panics_total", "Reviews whose judging failed (TW999).")?,
            in_flight: list.gauge("tagwarden_in_flight_requests", "Reviews being read or judged.")?,
            connections: list.gauge("tagwarden_connections", "Open connections of the webhook.")?,
            policies: list.gauges(
                "tagwarden_policies",
                "Policies in force (loaded), and files and objects that are refused as they stand (failed).",
                &["state"],
            )?,
            configuration_reload: list.gauge(
                "tagwarden_configuration_last_reload_successful",
                "Whether the configuration as it stands in the file is in force.",
            )?,
            policy_reload: list.gauge(
                "tagwarden_policy_last_reload_successful",
                "Whether the policies as they stand in files and objects are in force.",
            )?,
            policies_from_saved: list.gauge(
                "tagwarden_policy_set_from_last_good",
                "Whether policies that another process saved serve in the place of ones with errors.",
            )?,
            last_good_save_failures: list.counter(
                "tagwarden_policy_last_good_save_failures_total",
                "Attempts of the elected replica to save the policies in force that failed.",
            )?,
            certificate_reload: list.gauge(
                "tagwarden_certificate_last_reload_successful",
                "Whether the certificate as it stands in the files is in use.",
            )?,
            policy_info: list.gauges(
                "tagwarden_policy_info",
                "The policies in force, always 1.",
                &["policy", "hash"],
            )?,
            release_info: list.gauges(
                "tagwarden_release_info",
                "The releases that are loaded, always 1.",
                &["source", "release", "id"],
            )?,
            release_reload: list.gauges(
                "tagwarden_release_last_reload_successful",
                "Whether the releases of a source as they stand are in force.",
                &["source"],
            )?,
            release_loaded: list.float_gauges(
                "tagwarden_release_loaded_timestamp_seconds",
                "When the releases of a source that are in force were read; none where none ever were.",
                &["source"],
            )?,
            releases_from_saved: list.gauges(
                "tagwarden_releases_from_last_good",
                "Whether releases that another process saved serve in the place of ones with errors.",
                &["source"],
            )?,
            releases_save_failures: list.counter(
                "tagwarden_release_last_good_save_failures_total",
                "Attempts of the elected replica to save the releases in force that failed.",
            )?,
            exception_expiry: list.float_gauges(
                "tagwarden_exception_expiry_timestamp_seconds",
                "When an exception ends.",
                &["id"],
            )?,
            certificate_expiry: list
                .float_gauge("tagwarden_certificate_expiry_timestamp_seconds", "When the server's certificate ends.")?,
            registry_requests: list.counters(
                "tagwarden_registry_requests_total",
                "Lookups sent to registries; registries that no policy names are other.",
                &["registry", "result"],
            )?,
            registry_duration: list.durations(
                "tagwarden_registry_duration_seconds",
                "Time that a registry took for a lookup, tokens included.",
                &["registry"],
            )?,
            cache: list.counters(
                "tagwarden_cache_requests_total",
                "Lookups of reviews, by how they were answered.",
                &["result"],
            )?,
            history_watched: list
                .gauge("tagwarden_history_watching", "Whether this replica sees all Pods and writes the history.")?,
            history_write_failures: list.counter(
                "tagwarden_history_write_failures_total",
                "Attempts to read or write the history that failed.",
            )?,
            history_event_failures: list.counter(
                "tagwarden_history_event_failures_total",
                "Changes of releases that could not be told as Events.",
            )?,
            log_lines_dropped: list.counter(
                "tagwarden_log_lines_dropped_total",
                "Lines of the log that were dropped because standard error was not read in time.",
            )?,
            log_lines_counted: AtomicU64::new(0),
            registry: list.registry.clone(),
        };
        let build = list.gauges("tagwarden_build_info", "The program, always 1.", &["version"])?;
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        Ok(metrics)
    }

    /// All of them in Prometheus' text format.
    ///
    /// # Errors
    /// None that can happen: a metric without values.
    pub fn text(&self) -> Result<String, prometheus::Error> {
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }

    /// Counts a review that got its decision.
    pub fn reviewed(&self, review: &Review<'_>) {
        self.reviews.count(review);
    }

    /// Counts a finding; `policy` is empty where none is at work.
    pub fn violation(&self, policy: &str, check: Check, mode: Mode) {
        self.violations.with_label_values(&[policy, check.name(), mode.name()]).inc();
    }

    /// Counts an image. Own classes of policies are bounded by the policies.
    pub fn image(&self, class: Option<&str>, decision: Decision) {
        self.images.with_label_values(&[class.unwrap_or("none"), decision.name()]).inc();
    }

    /// Counts an HTTP request refused before a review was judged.
    pub fn rejected(&self, reason: &'static str) {
        self.rejected.with_label_values(&[reason]).inc();
    }

    /// Counts a review allowed without asking a policy.
    pub fn passed(&self, reason: &'static str) {
        self.passed.with_label_values(&[reason]).inc();
    }

    /// Counts a review in a namespace that no policy covers.
    pub fn uncovered(&self) {
        self.uncovered.inc();
    }

    /// Counts a lookup sent to a registry. `registry`: bounded by the caller; `result`: `ok` or a class of failure.
    pub fn registry_request(&self, registry: &str, result: &'static str, duration: Duration) {
        self.registry_requests.with_label_values(&[registry, result]).inc();
        self.registry_duration.with_label_values(&[registry]).observe(duration.as_secs_f64());
    }

    /// Counts a lookup of a review.
    pub fn cache_request(&self, result: CacheResult) {
        self.cache.with_label_values(&[result.name()]).inc();
    }

    /// Counts a panic.
    pub fn panicked(&self) {
        self.panics.inc();
    }

    /// Counts a review while it is read and judged.
    pub fn in_flight(&self) -> InFlight<'_> {
        self.in_flight.inc();
        InFlight(&self.in_flight)
    }

    /// Counts a connection while it is open.
    pub fn connection(&self) -> OpenConnection {
        self.connections.inc();
        OpenConnection(self.connections.clone())
    }

    /// Shows the policies that are in force from now on.
    pub fn policies_in_force(&self, set: &PolicySet) {
        self.policy_info.reset();
        self.exception_expiry.reset();
        let mut count = 0;
        for (name, hash) in set.policies() {
            count += 1;
            self.policy_info.with_label_values(&[name, hash]).set(1);
        }
        for (id, end) in set.exceptions() {
            self.exception_expiry.with_label_values(&[id]).set(seconds(end));
        }
        self.policies.with_label_values(&["loaded"]).set(count);
    }

    /// Shows whether what is in force is what files and objects say: in so many of them something is wrong. `from_saved`:
    /// whether what another process saved serves in their place.
    pub fn policies_judged(&self, failed: usize, from_saved: bool) {
        let count = i64::try_from(failed).unwrap_or(i64::MAX);
        self.policies.with_label_values(&["failed"]).set(count);
        self.policy_reload.set(i64::from(failed == 0));
        self.policies_from_saved.set(i64::from(from_saved));
    }

    /// Shows what is in force of each source of releases.
    pub fn release_sources<'s>(&self, sources: impl Iterator<Item = ReleaseSource<'s>>) {
        for gauges in [&self.release_info, &self.release_reload, &self.releases_from_saved] {
            gauges.reset();
        }
        self.release_loaded.reset();
        for source in sources {
            self.release_reload.with_label_values(&[source.name]).set(i64::from(source.is_current));
            self.releases_from_saved.with_label_values(&[source.name]).set(i64::from(source.from_saved));
            if let Some(since) = source.since {
                self.release_loaded.with_label_values(&[source.name]).set(seconds(since));
            }
            for release in source.releases.into_iter().flat_map(Snapshots::releases) {
                self.release_info.with_label_values(&[source.name, release.name(), release.id().as_str()]).set(1);
            }
        }
    }

    /// Counts an attempt to save the releases in force that failed.
    pub fn releases_not_saved(&self) {
        self.releases_save_failures.inc();
    }

    /// Shows that the configuration is in force as its file says, or that there is no file.
    pub fn configuration_in_force(&self) {
        self.configuration_reload.set(1);
    }

    /// Shows that what the configuration's file says now is not in force.
    pub fn configuration_refused(&self) {
        self.configuration_reload.set(0);
    }

    /// Shows that files and objects could not be judged yet.
    pub fn policies_awaited(&self) {
        self.policy_reload.set(0);
    }

    /// Counts an attempt to save the policies in force that failed.
    pub fn last_good_not_saved(&self) {
        self.last_good_save_failures.inc();
    }

    /// Shows whether this replica sees all Pods and writes the history.
    pub fn history_watched(&self, watches: bool) {
        self.history_watched.set(i64::from(watches));
    }

    /// Counts an attempt to read or write the history that failed.
    pub fn history_not_written(&self) {
        self.history_write_failures.inc();
    }

    /// Counts a change of releases that could not be told as an Event.
    pub fn history_event_failed(&self) {
        self.history_event_failures.inc();
    }

    /// Shows that so many lines of the log were dropped since the process began.
    pub fn log_lines_dropped(&self, lines: u64) {
        let counted = self.log_lines_counted.fetch_max(lines, Ordering::Relaxed);
        self.log_lines_dropped.inc_by(lines.saturating_sub(counted));
    }

    /// Shows when the certificate that is in use ends, in seconds since the epoch.
    pub fn certificate_in_use(&self, end: i64) {
        self.certificate_expiry.set(seconds(end));
        self.certificate_reload.set(1);
    }

    /// Shows that the certificate in the files is not the one in use.
    pub fn certificate_refused(&self) {
        self.certificate_reload.set(0);
    }
}

/// While it lives, a review is in flight.
#[derive(Debug)]
pub struct InFlight<'m>(&'m IntGauge);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// While it lives, a connection is open.
#[derive(Debug)]
pub struct OpenConnection(IntGauge);

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// Gauges are floating-point numbers; seconds of this age lose nothing.
#[expect(clippy::cast_precision_loss, reason = "exact up to 2^53 seconds, which is 285 million years")]
fn seconds(time: i64) -> f64 {
    time as f64
}

/// Makes metrics and registers them.
struct List {
    registry: Registry,
}

impl List {
    fn add<M: prometheus::core::Collector + Clone + 'static>(&self, metric: M) -> Result<M, prometheus::Error> {
        self.registry.register(Box::new(metric.clone()))?;
        Ok(metric)
    }

    fn counter(&self, name: &str, help: &str) -> Result<IntCounter, prometheus::Error> {
        self.add(IntCounter::with_opts(Opts::new(name, help))?)
    }

    fn counters(&self, name: &str, help: &str, labels: &[&str]) -> Result<IntCounterVec, prometheus::Error> {
        self.add(IntCounterVec::new(Opts::new(name, help), labels)?)
    }

    fn gauge(&self, name: &str, help: &str) -> Result<IntGauge, prometheus::Error> {
        self.add(IntGauge::with_opts(Opts::new(name, help))?)
    }

    fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> Result<IntGaugeVec, prometheus::Error> {
        self.add(IntGaugeVec::new(Opts::new(name, help), labels)?)
    }

    fn float_gauge(&self, name: &str, help: &str) -> Result<Gauge, prometheus::Error> {
        self.add(Gauge::with_opts(Opts::new(name, help))?)
    }

    fn float_gauges(&self, name: &str, help: &str, labels: &[&str]) -> Result<GaugeVec, prometheus::Error> {
        self.add(GaugeVec::new(Opts::new(name, help), labels)?)
    }

    fn durations(&self, name: &str, help: &str, labels: &[&str]) -> Result<HistogramVec, prometheus::Error> {
        let options = HistogramOpts::new(name, help).buckets(BUCKETS.to_vec());
        self.add(HistogramVec::new(options, labels)?)
    }
}

#[cfg(test)]
mod tests {
    use super::{CacheResult, Metrics};
    use crate::policy::{Check, Decision, Mode};
    use std::time::Duration;

    /// What promtool's linter asks: units and `_total` in names, a help text each.
    #[test]
    fn names_follow_the_conventions() {
        let metrics = Metrics::new().unwrap();
        metrics.violation("p", Check::Tags, Mode::Warn);
        metrics.image(None, Decision::Allow);
        metrics.rejected("too-large");
        metrics.passed("unchanged");
        metrics.uncovered();
        metrics.panicked();
        metrics.certificate_in_use(1);
        metrics.registry_request("registry.example.com", "ok", Duration::from_millis(1));
        metrics.cache_request(CacheResult::Hit);
        let text = metrics.text().unwrap();
        for line in text.lines().filter(|line| line.starts_with("# TYPE ")) {
            let mut words = line.split(' ').skip(2);
            let (name, kind) = (words.next().unwrap(), words.next().unwrap());
            assert!(
                name.starts_with("tagwarden_") && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'),
                "{name}"
            );
            assert_eq!(name.ends_with("_total"), kind == "counter", "{name}");
            let help = format!("# HELP {name} ");
            assert!(text.contains(&help), "{name} has no help");
        }
    }

    #[test]
    fn dropped_lines_are_counted_once_however_often_they_are_shown() {
        let metrics = Metrics::new().unwrap();
        for lines in [0, 3, 3, 2, 5] {
            metrics.log_lines_dropped(lines);
        }
        assert!(metrics.text().unwrap().contains("\ntagwarden_log_lines_dropped_total 5\n"));
    }

    #[test]
    fn what_is_in_flight_is_counted_while_it_lives() {
        let metrics = Metrics::new().unwrap();
        let guard = metrics.in_flight();
        assert!(metrics.text().unwrap().contains("tagwarden_in_flight_requests 1\n"));
        drop(guard);
        assert!(metrics.text().unwrap().contains("tagwarden_in_flight_requests 0\n"));
    }
}
