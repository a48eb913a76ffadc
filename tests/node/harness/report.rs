//! The table that the suite ends with: each scenario's calls and failures, and what was measured.

use super::cluster::Cluster;
use super::load::Counts;
use std::fmt;
use std::sync::Mutex;

/// What all scenarios have put down so far.
#[derive(Debug, Default)]
pub struct Report {
    rows: Mutex<Vec<Row>>,
    figures: Mutex<Vec<String>>,
}

/// One scenario under load.
#[derive(Clone, Debug)]
pub struct Row {
    scenario: String,
    counts: Counts,
    /// By the API server's own counters.
    failed_calls: f64,
}

impl Row {
    /// What became of the load of a scenario; `failed_before` is [`Cluster::failed_calls`] at its beginning.
    pub fn new(cluster: &Cluster, scenario: &str, counts: Counts, failed_before: f64) -> Self {
        Row { scenario: scenario.to_owned(), counts, failed_calls: cluster.failed_calls() - failed_before }
    }
}

impl Report {
    /// Puts down what became of a scenario's load and fails the scenario if a single call was lost.
    #[track_caller]
    pub fn add(&self, row: Row) {
        println!("    {row}");
        self.rows.lock().expect("no scenario panics in here").push(row.clone());
        let failures = &row.counts.failures;
        let first: Vec<_> = failures.iter().take(5).map(String::as_str).collect();
        assert!(failures.is_empty(), "{} lost calls, the first:\n{}", failures.len(), first.join("\n"));
        assert_eq!(row.failed_calls, 0.0, "webhook calls that failed by the API server's own count");
        assert!(row.counts.calls >= 100, "there was load");
        assert!(row.counts.allowed > 0, "calls were let in");
    }

    /// Puts down something that was measured.
    pub fn figure(&self, text: String) {
        println!("    {text}");
        self.figures.lock().expect("no scenario panics in here").push(text);
    }
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            out,
            "{:<44} {:>7} {:>8} {:>8} {:>9} {:>7} {:>7} {:>10}",
            "under steady load", "calls", "allowed", "refused", "API away", "failed", "counted", "slowest"
        )?;
        for row in self.rows.lock().expect("no scenario panics in here").iter() {
            let counts = &row.counts;
            writeln!(
                out,
                "{:<44} {:>7} {:>8} {:>8} {:>9} {:>7} {:>7} {:>7} ms",
                row.scenario,
                counts.calls,
                counts.allowed,
                counts.refused,
                counts.unavailable,
                counts.failures.len(),
                row.failed_calls,
                counts.slowest.as_millis()
            )?;
        }
        for figure in self.figures.lock().expect("no scenario panics in here").iter() {
            writeln!(out, "{figure}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Row {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = &self.counts;
        write!(
            out,
            "{}: {} calls, {} allowed, {} refused, {} while the API server was away, {} failed, {} by the API server's count, \
             slowest {} ms",
            self.scenario,
            counts.calls,
            counts.allowed,
            counts.refused,
            counts.unavailable,
            counts.failures.len(),
            self.failed_calls,
            counts.slowest.as_millis()
        )
    }
}
