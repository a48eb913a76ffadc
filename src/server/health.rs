//! The port for probes and metrics: alive, ready (and why not), and the numbers.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use arc_swap::{ArcSwap, ArcSwapOption};
use axum::Router;
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use http::{StatusCode, header};

use super::tls::Tls;
use crate::certs::Validity;
use crate::cluster::Namespaces;
use crate::metrics::{CONTENT_TYPE, Metrics};
use crate::telemetry;

/// A certificate with less than this left (in seconds) makes the server not ready, before it ends: the probes of a
/// Service take about half of it to notice.
pub const EXPIRY_MARGIN: i64 = 60;

/// What must hold before requests are sent here. Each condition stays met once it was, except the certificate's.
pub struct Readiness {
    not_before: AtomicI64,
    not_after: AtomicI64,
    policies: AtomicBool,
    problems: ArcSwap<Vec<String>>,
    releases_awaited: AtomicBool,
    release_problems: ArcSwap<Vec<String>>,
    namespaces: Namespaces,
    ca_bundle: ArcSwap<CaBundle>,
    ending: AtomicBool,
}

/// Whether the API server trusts our certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
enum CaBundle {
    /// The configuration names no webhook configuration that could say so.
    Unasked,
    /// Not yet, for this reason.
    Missing(String),
    /// It did once.
    InPlace,
}

/// One condition and what there is to say of it.
struct Condition {
    name: &'static str,
    met: bool,
    detail: String,
}

impl Readiness {
    /// Nothing is met yet, but what the namespaces say for themselves.
    #[must_use]
    pub fn new(namespaces: Namespaces) -> Self {
        Readiness {
            not_before: AtomicI64::new(i64::MAX),
            not_after: AtomicI64::new(i64::MIN),
            policies: AtomicBool::new(false),
            problems: ArcSwap::default(),
            releases_awaited: AtomicBool::new(false),
            release_problems: ArcSwap::default(),
            namespaces,
            ca_bundle: ArcSwap::from_pointee(CaBundle::Unasked),
            ending: AtomicBool::new(false),
        }
    }

    /// A certificate is in use.
    pub fn certificate(&self, validity: Validity) {
        self.not_before.store(validity.not_before, Ordering::Release);
        self.not_after.store(validity.not_after, Ordering::Release);
    }

    /// Policies are in force.
    pub fn policies_in_force(&self) {
        self.policies.store(true, Ordering::Release);
    }

    /// Policies of the files or objects are not in force as they stand, because of these problems. None: all are fine.
    pub fn policies_refused(&self, problems: Vec<String>) {
        self.problems.store(Arc::new(problems));
    }

    /// Release files are not in force as they stand, or probably not meant so, because of these problems. None: all are fine.
    pub fn releases_refused(&self, problems: Vec<String>) {
        self.release_problems.store(Arc::new(problems));
    }

    /// Whether some source of releases, or what was saved of it, has not been read yet.
    pub fn releases_awaited(&self, awaited: bool) {
        self.releases_awaited.store(awaited, Ordering::Release);
    }

    /// The API server does not trust our certificate yet, for this reason. From the first time on it is waited for.
    pub fn ca_bundle_missing(&self, problem: String) {
        self.ca_bundle.store(Arc::new(CaBundle::Missing(problem)));
    }

    /// The API server trusts our certificate.
    pub fn ca_bundle_in_place(&self) {
        self.ca_bundle.store(Arc::new(CaBundle::InPlace));
    }

    /// The server is about to end.
    pub fn ending(&self) {
        self.ending.store(true, Ordering::Release);
    }

    fn conditions(&self, now: i64) -> Vec<Condition> {
        let not_before = self.not_before.load(Ordering::Acquire);
        let left = self.not_after.load(Ordering::Acquire).saturating_sub(now);
        let begun = not_before <= now;
        let ending = self.ending.load(Ordering::Acquire);
        let mut conditions = vec![
            Condition {
                name: "certificate",
                met: begun && left > EXPIRY_MARGIN,
                detail: match (begun, left) {
                    (false, _) if not_before == i64::MAX => "there is none yet".to_owned(),
                    (false, _) => "not valid yet".to_owned(),
                    (true, i64::MIN..=0) => "has ended".to_owned(),
                    (true, left) => format!("{left} seconds left"),
                },
            },
            Condition {
                name: "policies",
                met: self.policies.load(Ordering::Acquire),
                detail: self.problems.load().join("\n"),
            },
            // Where there is none, whoever needs one is told so, and the others are served. But a replica that has not asked
            // yet must not refuse what all others let in.
            Condition {
                name: "releases",
                met: !self.releases_awaited.load(Ordering::Acquire),
                detail: self.release_problems.load().join("\n"),
            },
            Condition { name: "namespaces", met: self.namespaces.synced(), detail: String::new() },
            Condition {
                name: "serving",
                met: !ending,
                detail: if ending { "about to end".to_owned() } else { String::new() },
            },
        ];
        conditions.extend(self.ca_bundle.load().condition());
        conditions
    }
}

impl CaBundle {
    /// None: it is no condition.
    fn condition(&self) -> Option<Condition> {
        let (met, detail) = match self {
            CaBundle::Unasked => return None,
            CaBundle::Missing(problem) => (false, problem.clone()),
            CaBundle::InPlace => (true, String::new()),
        };
        Some(Condition { name: "caBundle", met, detail })
    }
}

/// What the port needs.
#[derive(Clone)]
pub(super) struct Health {
    pub readiness: Arc<Readiness>,
    pub metrics: Arc<Metrics>,
    /// The certificate in use.
    pub tls: Arc<ArcSwapOption<Tls>>,
}

pub(super) fn router(health: Health) -> Router {
    Router::new()
        .route("/livez", get(|| std::future::ready("ok\n")))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .route("/certificate", get(certificate))
        .with_state(health)
}

/// `ok` or the conditions that are not met; with `?verbose` all of them, as the API server's own `/readyz` lists them.
async fn readyz(State(health): State<Health>, RawQuery(query): RawQuery) -> Response {
    let verbose =
        query.is_some_and(|query| query.split('&').any(|part| part == "verbose" || part.starts_with("verbose=")));
    let conditions = health.readiness.conditions(super::now());
    let ready = conditions.iter().all(|condition| condition.met);
    let mut text = String::new();
    for condition in conditions.iter().filter(|condition| verbose || !condition.met) {
        let sign = if condition.met { "[+]" } else { "[-]" };
        let word = if condition.met { "ok" } else { "not ready" };
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{sign}{} {word}", condition.name);
        for line in condition.detail.lines() {
            let _ = writeln!(text, "    {line}");
        }
    }
    text.push_str(if ready { "ok\n" } else { "not ready\n" });
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, text).into_response()
}

/// The chain that whoever connects to the webhook's port is shown, PEM: `doctor` compares it with the live caBundle.
async fn certificate(State(health): State<Health>) -> Response {
    match health.tls.load().as_deref() {
        Some(tls) => tls.chain_pem().into_response(),
        None => (StatusCode::NOT_FOUND, "there is none yet\n").into_response(),
    }
}

async fn metrics(State(health): State<Health>) -> Response {
    health.metrics.log_lines_dropped(telemetry::lines_dropped());
    match health.metrics.text() {
        Ok(text) => ([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::{EXPIRY_MARGIN, Readiness};
    use crate::certs::Validity;
    use crate::cluster::Namespaces;

    const NOW: i64 = 1_800_000_000;

    fn ready(readiness: &Readiness, now: i64) -> bool {
        readiness.conditions(now).iter().all(|condition| condition.met)
    }

    fn fit() -> Readiness {
        let readiness = Readiness::new(Namespaces::unknown());
        readiness.certificate(Validity { not_before: NOW, not_after: NOW + 1000 });
        readiness.policies_in_force();
        readiness
    }

    /// Row 55: not ready until each condition is met.
    #[test]
    fn row_55_every_condition_must_be_met() {
        let readiness = Readiness::new(Namespaces::unknown());
        assert!(!ready(&readiness, NOW));
        readiness.certificate(Validity { not_before: NOW, not_after: NOW + 1000 });
        assert!(!ready(&readiness, NOW));
        readiness.policies_in_force();
        assert!(ready(&readiness, NOW));
        readiness.policies_refused(vec!["p.yaml:1:1: error".to_owned()]);
        assert!(ready(&readiness, NOW), "the old policies are still in force");
        readiness.ending();
        assert!(!ready(&readiness, NOW));
    }

    #[test]
    fn row_55_releases_that_are_awaited_are_waited_for_and_ones_with_errors_are_not() {
        let readiness = fit();
        readiness.releases_awaited(true);
        assert!(!ready(&readiness, NOW));
        readiness.releases_awaited(false);
        readiness.releases_refused(vec!["r.yaml:1:1: error".to_owned()]);
        assert!(ready(&readiness, NOW));
    }

    #[test]
    fn row_55_where_a_ca_bundle_is_waited_for_it_must_be_in_place() {
        let readiness = fit();
        assert!(ready(&readiness, NOW), "nobody waits");
        readiness.ca_bundle_missing("it is empty".to_owned());
        assert!(!ready(&readiness, NOW));
        let told = readiness.conditions(NOW).into_iter().find(|condition| condition.name == "caBundle").unwrap();
        assert_eq!(told.detail, "it is empty");
        readiness.ca_bundle_in_place();
        assert!(ready(&readiness, NOW));
    }

    /// Row 53: not ready before the certificate ends.
    #[test]
    fn row_53_a_certificate_about_to_end_is_not_ready() {
        let readiness = fit();
        assert!(ready(&readiness, NOW + 1000 - EXPIRY_MARGIN - 1));
        assert!(!ready(&readiness, NOW + 1000 - EXPIRY_MARGIN));
        assert!(!ready(&readiness, NOW + 2000));
        assert!(!ready(&readiness, NOW - 1), "not valid yet");
        readiness.certificate(Validity { not_before: NOW, not_after: NOW + 9000 });
        assert!(ready(&readiness, NOW + 2000), "a new one makes it ready again");
    }
}
