//! The counters of answered reviews, which are found by position once their labels' text was.
//!
//! Five labels are hashed and looked up under a lock; here each combination that occurs is, once.

use std::sync::OnceLock;

use prometheus::{Histogram, HistogramVec, IntCounter, IntCounterVec};

use super::Review;
use crate::policy::Decision;

/// The labels of the counters.
pub(super) const LABELS: [&str; 5] = ["endpoint", "operation", "kind", "decision", "dry_run"];

const ENDPOINTS: [&str; 2] = ["validate", "mutate"];
const OPERATIONS: [&str; 4] = ["CREATE", "UPDATE", "DELETE", "CONNECT"];

/// Kinds that stand in labels by their own name; others are [`OTHER`]: whoever reaches the port may name any.
const KINDS: [&str; 9] = [
    "Pod",
    "Deployment",
    "StatefulSet",
    "DaemonSet",
    "ReplicaSet",
    "ReplicationController",
    "PodTemplate",
    "Job",
    "CronJob",
];
const OTHER: &str = "other";

const DECISIONS: usize = Decision::Deny as usize + 1;
const COMBINATIONS: usize = ENDPOINTS.len() * OPERATIONS.len() * (KINDS.len() + 1) * DECISIONS * 2;

/// What is counted and timed for each review.
#[derive(Debug)]
pub(super) struct Reviews {
    requests: IntCounterVec,
    duration: HistogramVec,
    /// By [`position`]; empty where nothing was counted, so that nothing is shown.
    counters: Box<[OnceLock<IntCounter>]>,
    durations: [OnceLock<Histogram>; ENDPOINTS.len()],
}

impl Reviews {
    /// `requests` has the [`LABELS`], `duration` the first of them.
    pub fn new(requests: IntCounterVec, duration: HistogramVec) -> Self {
        let counters = (0..COMBINATIONS).map(|_| OnceLock::new()).collect();
        Reviews { requests, duration, counters, durations: Default::default() }
    }

    /// Counts one.
    pub fn count(&self, review: &Review<'_>) {
        let kind = KINDS.iter().position(|known| *known == review.kind);
        let counter = || {
            let kind = kind.map_or(OTHER, |kind| KINDS[kind]);
            let dry_run = if review.dry_run { "true" } else { "false" };
            let labels = [review.endpoint, review.operation, kind, review.decision.name(), dry_run];
            self.requests.with_label_values(&labels)
        };
        let duration = || self.duration.with_label_values(&[review.endpoint]);
        let seconds = review.duration.as_secs_f64();
        let endpoint = ENDPOINTS.iter().position(|known| *known == review.endpoint);
        let operation = OPERATIONS.iter().position(|known| *known == review.operation);
        let (Some(endpoint), Some(operation)) = (endpoint, operation) else {
            counter().inc();
            duration().observe(seconds);
            return;
        };
        let position = position(endpoint, operation, kind.unwrap_or(KINDS.len()), review);
        self.counters[position].get_or_init(counter).inc();
        self.durations[endpoint].get_or_init(duration).observe(seconds);
    }
}

/// One for each combination of labels, below [`COMBINATIONS`].
fn position(endpoint: usize, operation: usize, kind: usize, review: &Review<'_>) -> usize {
    let position = endpoint * OPERATIONS.len() + operation;
    let position = position * (KINDS.len() + 1) + kind;
    let position = position * DECISIONS + review.decision as usize;
    position * 2 + usize::from(review.dry_run)
}

#[cfg(test)]
mod tests {
    use super::{COMBINATIONS, ENDPOINTS, KINDS, OPERATIONS};
    use crate::metrics::{Metrics, Review};
    use crate::policy::Decision;
    use std::collections::BTreeSet;
    use std::time::Duration;

    fn review(kind: &str) -> Review<'_> {
        Review {
            endpoint: "validate",
            operation: "CREATE",
            kind,
            decision: Decision::Deny,
            dry_run: false,
            duration: Duration::from_millis(1),
        }
    }

    fn series(metrics: &Metrics) -> Vec<String> {
        let text = metrics.text().unwrap();
        let lines = text.lines().filter(|line| line.starts_with("tagwarden_admission_requests_total{"));
        lines.map(str::to_owned).collect()
    }

    /// Row 70: whoever reaches the port may name kinds; they do not become labels.
    #[test]
    fn row_70_labels_are_bounded() {
        let metrics = Metrics::new().unwrap();
        assert_eq!(series(&metrics), [""; 0], "nothing is shown that was not counted");
        for number in 0..1000 {
            metrics.reviewed(&review(&format!("Kind{number}")));
        }
        assert_eq!(series(&metrics).len(), 1, "{:?}", series(&metrics));
    }

    #[test]
    fn every_combination_is_counted_by_its_own_labels() {
        let metrics = Metrics::new().unwrap();
        let decisions = [Decision::Allow, Decision::Audit, Decision::Warn, Decision::Unresolved, Decision::Deny];
        let mut wanted = BTreeSet::new();
        let mut count = 0;
        // The last of each is one that the table does not know.
        for endpoint in ENDPOINTS.into_iter().chain(["elsewhere"]) {
            for operation in OPERATIONS.into_iter().chain(["PATCH"]) {
                for (kind, shown) in KINDS.map(|kind| (kind, kind)).into_iter().chain([("Rollout", "other")]) {
                    for decision in decisions {
                        for dry_run in [false, true] {
                            count = count % 3 + 1;
                            let duration = Duration::from_millis(1);
                            let review = Review { endpoint, operation, kind, decision, dry_run, duration };
                            (0..count).for_each(|_| metrics.reviewed(&review));
                            wanted.insert(format!(
                                "tagwarden_admission_requests_total{{decision=\"{}\",dry_run=\"{dry_run}\",\
                                 endpoint=\"{endpoint}\",kind=\"{shown}\",operation=\"{operation}\"}} {count}",
                                decision.name()
                            ));
                        }
                    }
                }
            }
        }
        assert!(wanted.len() > COMBINATIONS);
        assert_eq!(BTreeSet::from_iter(series(&metrics)), wanted);
        let text = metrics.text().unwrap();
        for endpoint in ENDPOINTS {
            let timed = text.lines().find(|line| {
                line.starts_with(&format!("tagwarden_admission_duration_seconds_count{{endpoint=\"{endpoint}\"}}"))
            });
            assert!(timed.is_some_and(|line| !line.ends_with(" 0")), "{timed:?}");
        }
    }

    #[test]
    fn counting_again_takes_no_memory() {
        let metrics = Metrics::new().unwrap();
        metrics.reviewed(&review("Pod"));
        metrics.image(Some("release"), Decision::Allow);
        let counted = allocation_counter::measure(|| {
            metrics.reviewed(&review("Pod"));
            metrics.image(Some("release"), Decision::Allow);
        });
        assert_eq!(counted.count_total, 0);
    }
}
