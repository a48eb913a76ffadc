//! The checks: each looks at what was read, asks nothing more, and says what is wrong with it.

mod cluster;
mod policies;
mod serving;
mod trust;
mod webhooks;

use super::causes::{Cause, Level, UNREAD};
use super::observe::{Observed, Read};

/// What a check came to.
#[derive(Debug)]
pub(super) struct Outcome {
    /// Its name.
    pub check: &'static str,
    /// What was seen; shown where nothing is wrong.
    pub seen: String,
    /// What is wrong.
    pub findings: Vec<Finding>,
}

/// One thing that is wrong.
#[derive(Debug)]
pub(super) struct Finding {
    pub cause: Cause,
    /// What was seen.
    pub message: String,
}

impl Outcome {
    /// The gravest of its findings.
    pub fn level(&self) -> Level {
        self.findings.iter().map(|finding| finding.cause.level).max().unwrap_or(Level::Ok)
    }
}

/// Looks at what was read.
type Check = fn(&Observed) -> Seen;

/// All checks in the order in which one would look: what does not work first.
pub(super) fn all(observed: &Observed) -> Vec<Outcome> {
    let checks: [(&str, Check); 17] = [
        ("api-server", cluster::api_server),
        ("clocks", cluster::clocks),
        ("configurations", webhooks::there),
        ("webhooks", webhooks::settings),
        ("namespaces", webhooks::namespaces),
        ("failure-policy", webhooks::failure_policy),
        ("ca-bundle", trust::bundles),
        ("certificates", trust::certificates),
        ("service", serving::service),
        ("replicas", serving::replicas),
        ("configuration", policies::configuration),
        ("policies", policies::policies),
        ("permissions", cluster::permissions),
        ("registries", policies::registries),
        ("infrastructure", cluster::infrastructure),
        ("other-webhooks", webhooks::others),
        ("review", cluster::review),
    ];
    checks.into_iter().map(|(check, look)| look(observed).outcome(check)).collect()
}

/// What one check has seen so far.
#[derive(Default)]
pub(super) struct Seen {
    good: Vec<String>,
    findings: Vec<Finding>,
}

impl Seen {
    /// Something that is as it should be.
    fn good(&mut self, what: impl Into<String>) {
        self.good.push(what.into());
    }

    /// Something that is not.
    fn finds(&mut self, cause: Cause, message: impl Into<String>) {
        self.findings.push(Finding { cause, message: message.into() });
    }

    /// What was read; none, and said so, where it could not be.
    fn read<'r, T>(&mut self, what: &str, read: &'r Read<T>) -> Option<&'r T> {
        match read {
            Ok(found) => Some(found),
            Err(why) => {
                self.finds(UNREAD, format!("could not be checked: cannot read {what}: {why}"));
                None
            }
        }
    }

    /// Something that depends on what could not be read.
    fn unknown(&mut self, why: &str) {
        self.finds(UNREAD, format!("could not be checked: {why}"));
    }

    fn outcome(self, check: &'static str) -> Outcome {
        Outcome { check, seen: self.good.join("; "), findings: self.findings }
    }
}

/// `1 replica`, `2 replicas`.
fn count(number: usize, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

#[cfg(test)]
mod tests;
