//! What a case came to, and how that differs from what it expects.

use std::collections::BTreeSet;

use super::Case;
use crate::document::Span;
use crate::image::Reference;
use crate::policy::{Check, Decision, Finding, FindingId, Mode, Pinning, Verdict};

/// What became of everything that one case is about.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// The strictest; none: nothing was judged yet.
    decision: Option<Decision>,
    /// Every finding, in the order of the objects and of their images.
    pub findings: Vec<SeenFinding>,
    /// Images as admission writes them into Pods.
    pub pinned: Vec<String>,
    /// Rules that decided, by their names.
    pub rules: BTreeSet<String>,
}

/// A finding, owned: it outlives the object that it was made on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenFinding {
    /// Which.
    pub id: FindingId,
    /// Its check.
    pub check: Check,
    /// The effective mode.
    pub mode: Mode,
    /// The policy's name; empty where none is at work.
    pub policy: String,
    /// The rule that decided.
    pub rule: Option<String>,
    /// The exception that let it through.
    pub exception: Option<String>,
    /// The image it is about, as written; none: the object as a whole.
    pub image: Option<String>,
    /// What is wrong.
    pub message: String,
}

/// One key of a case whose value is not what was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The key: `expect`, `ids`, `pinned`, `message`, `rule` or `exception`.
    pub key: &'static str,
    /// Where its value stands.
    pub span: Span,
    /// What is expected.
    pub expected: String,
    /// What was seen.
    pub seen: String,
}

impl Seen {
    /// The strictest of everything that was judged. Where nothing was, that is no allow.
    #[must_use]
    pub fn decision(&self) -> Decision {
        self.decision.unwrap_or_default()
    }

    /// The ids of all findings.
    #[must_use]
    pub fn ids(&self) -> BTreeSet<FindingId> {
        self.findings.iter().map(|finding| finding.id).collect()
    }

    /// Takes in an object that is never judged.
    pub fn exempt(&mut self) {
        self.decide(Decision::Allow);
    }

    /// Takes in the verdict on an object.
    ///
    /// Images may have been taken out of the verdict: then those that are left decide, and what is wrong with the object
    /// as a whole.
    pub fn add(&mut self, verdict: &Verdict<'_>) {
        for image in &verdict.images {
            self.decide(image.decision);
            self.findings.extend(image.findings().map(|finding| SeenFinding::of(finding, Some(image.image))));
            self.rules.extend(image.applied.iter().filter_map(|applied| applied.rule).map(str::to_owned));
            if let (Pinning::Write(digest), Some(reference)) = (&image.pin, &image.reference) {
                self.pinned.push(format!("{reference}@{digest}"));
            }
        }
        for finding in &verdict.object_findings {
            self.decide(finding.mode.into());
            self.findings.push(SeenFinding::of(finding, None));
        }
    }

    fn decide(&mut self, decision: Decision) {
        self.decision = self.decision.max(Some(decision));
    }

    /// Every key of the case that expects something else.
    #[must_use]
    pub fn differences(&self, case: &Case) -> Vec<Difference> {
        let expected = Decision::from(case.expect.value);
        let decision = (expected != self.decision()).then(|| Difference {
            key: "expect",
            span: case.expect.span.clone(),
            expected: expected.name().to_owned(),
            seen: self.decision().name().to_owned(),
        });
        let listed = [self.other_ids(case), self.other_pin(case), self.other_message(case)];
        let rule = case.rule.as_ref().filter(|rule| !self.rules.contains(&rule.value)).map(|rule| Difference {
            key: "rule",
            span: rule.span.clone(),
            expected: rule.value.clone(),
            seen: list(self.rules.iter().map(String::as_str)),
        });
        let used = || self.findings.iter().filter_map(|finding| finding.exception.as_deref());
        let exception = case.exception.as_ref().filter(|id| used().all(|known| known != id.value));
        let exception = exception.map(|id| Difference {
            key: "exception",
            span: id.span.clone(),
            expected: id.value.clone(),
            seen: list(used()),
        });
        decision.into_iter().chain(listed.into_iter().flatten()).chain(rule).chain(exception).collect()
    }

    fn other_ids(&self, case: &Case) -> Option<Difference> {
        let ids = case.ids.as_ref()?;
        let expected: BTreeSet<FindingId> = ids.value.iter().map(|id| id.value.0).collect();
        let codes = |ids: &BTreeSet<FindingId>| list(ids.iter().map(|id| id.code()));
        let seen = self.ids();
        (expected != seen).then(|| Difference {
            key: "ids",
            span: ids.span.clone(),
            expected: codes(&expected),
            seen: codes(&seen),
        })
    }

    fn other_pin(&self, case: &Case) -> Option<Difference> {
        let pinned = case.pinned.as_ref()?;
        let holds = match pinned.value.as_str() {
            "none" => self.pinned.is_empty(),
            reference => self.pinned.iter().any(|written| canonical(written) == canonical(reference)),
        };
        (!holds).then(|| Difference {
            key: "pinned",
            span: pinned.span.clone(),
            expected: pinned.value.clone(),
            seen: list(self.pinned.iter().map(String::as_str)),
        })
    }

    fn other_message(&self, case: &Case) -> Option<Difference> {
        let message = case.message.as_ref()?;
        let holds = self.findings.iter().any(|finding| finding.message.contains(&message.value));
        (!holds).then(|| Difference {
            key: "message",
            span: message.span.clone(),
            expected: message.value.clone(),
            seen: list(self.findings.iter().map(|finding| finding.message.as_str())),
        })
    }
}

impl SeenFinding {
    fn of(finding: &Finding<'_>, image: Option<&str>) -> Self {
        SeenFinding {
            id: finding.id,
            check: finding.check,
            mode: finding.mode,
            policy: finding.policy.to_owned(),
            rule: finding.rule.map(str::to_owned),
            exception: finding.exception.map(str::to_owned),
            image: image.map(str::to_owned),
            message: finding.message.clone(),
        }
    }
}

/// Texts in a row, or `none`.
fn list<'t>(texts: impl Iterator<Item = &'t str>) -> String {
    let texts: Vec<&str> = texts.collect();
    if texts.is_empty() { "none".to_owned() } else { texts.join(", ") }
}

/// Registry, repository, tag and digest, in the form that two spellings of one image share.
fn canonical(image: &str) -> Option<(String, Option<&str>, Option<&str>)> {
    let reference = Reference::parse(image).ok()?;
    let name = reference.name().into_owned();
    Some((name, reference.tag(), reference.digest().map(|digest| digest.as_str())))
}

#[cfg(test)]
mod tests {
    use super::Seen;
    use crate::policy::Decision;

    #[test]
    fn nothing_judged_is_no_allow() {
        assert_eq!(Seen::default().decision(), Decision::Deny);
        let mut seen = Seen::default();
        seen.exempt();
        assert_eq!(seen.decision(), Decision::Allow);
        seen.decide(Decision::Deny);
        seen.exempt();
        assert_eq!(seen.decision(), Decision::Deny, "the strictest of all objects");
    }
}
