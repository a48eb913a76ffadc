//! Who judges: the policies that apply to a request, and how a violation becomes a finding with its mode and exception.

use super::Few;
use super::compile::{Override, Policy, Rule};
use super::file::OnUnresolved;
use super::show::{IMAGE_BYTES, printable};
use super::{AllowReason, Check, Failure, Finding, FindingId, Mode, NoPolicy, PolicySet, Request, Stage, Undecided};
use crate::image::Reference;

/// Judges images of one request.
#[derive(Clone, Debug)]
pub(super) struct Judge<'p> {
    pub set: &'p PolicySet,
    pub request: Request<'p>,
    /// The policies that apply, in order.
    pub applying: Few<&'p Policy>,
}

/// What a violation says, before its mode and exceptions are known.
#[derive(Clone)]
pub(super) struct Violation {
    pub id: FindingId,
    pub check: Check,
    pub message: String,
    pub use_instead: Option<String>,
}

/// A rule and its place in its policy.
pub(super) type Ruling<'p> = (usize, &'p Rule);

/// What exceptions are asked about: an image that one could let in.
#[derive(Clone, Copy)]
pub(super) struct Excusable<'x> {
    pub reference: &'x Reference<'x>,
    /// Its canonical registry and repository.
    pub name: &'x str,
}

impl<'p> Judge<'p> {
    pub fn new(set: &'p PolicySet, request: &Request<'p>) -> Self {
        let applying = set.policies.iter().filter(|policy| policy.namespaces.applies(request)).collect();
        Judge { set, request: *request, applying }
    }

    /// The effective mode: override, then rule, then policy; never above the server's.
    pub fn mode(&self, policy: &Policy, ruling: Option<Ruling<'_>>, check: Check) -> Mode {
        effective_mode(policy, self.set.settings.max_mode, self.request.namespace, ruling, check)
    }

    /// A violation as a finding, in warn where an exception excuses it.
    pub fn finding(
        &self,
        policy: &'p Policy,
        rule: Option<&'p Rule>,
        mode: Mode,
        violation: Violation,
        excusable: Option<Excusable<'_>>,
    ) -> Finding<'p> {
        let exception = excusable.and_then(|image| {
            let Excusable { reference, name } = image;
            policy.exceptions.excuse(violation.check, self.request.namespace, reference, name, self.request.now)
        });
        let Violation { id, check, mut message, use_instead } = violation;
        let mode = match exception {
            Some(exception) => {
                // In front, because warnings are cut at their end.
                message = format!("let in by exception {} until {}: {message}", exception.id, exception.expires);
                mode.min(Mode::Warn)
            }
            None => mode,
        };
        Finding {
            id,
            check,
            mode,
            policy: &policy.name,
            rule: rule.map(|rule| rule.name.as_str()),
            exception: exception.map(|exception| exception.id.as_str()),
            message,
            use_instead,
        }
    }

    /// A fact that a check needed and that could not be had, as a finding of that check. `unknown`: what is not known.
    pub fn undecided(
        &self,
        policy: &'p Policy,
        (index, rule): Ruling<'p>,
        check: Check,
        unknown: &str,
        cause: &Undecided,
        excusable: Option<Excusable<'_>>,
    ) -> Finding<'p> {
        let can_wait = matches!(cause.failure, Failure::Unreachable | Failure::RateLimited);
        let mut mode = self.mode(policy, Some((index, rule)), check);
        // The other failures are within the power of a Pod's author, so no setting lets them in.
        if mode == Mode::Enforce && can_wait {
            mode = match rule.on_unresolved {
                OnUnresolved::Deny => Mode::Enforce,
                OnUnresolved::Warn => Mode::Warn,
                OnUnresolved::Allow => Mode::Audit,
            };
        }
        if !self.request.is_pod && matches!(self.request.stage, Stage::Admission | Stage::Mutation) {
            mode = mode.min(Mode::Warn);
        }
        let violation = Violation {
            id: cause.failure.finding(),
            check,
            message: format!("{unknown} is not known: {}", printable(&cause.detail, 300)),
            use_instead: None,
        };
        self.finding(policy, Some(rule), mode, violation, excusable.filter(|_| can_wait))
    }

    /// A finding about the object as a whole, from every policy that applies.
    pub fn of_object(&self, id: FindingId, check: Check, message: &str) -> Vec<Finding<'p>> {
        let of = |policy: &&'p Policy| {
            let violation = Violation { id, check, message: message.to_owned(), use_instead: None };
            self.finding(policy, None, self.mode(policy, None, check), violation, None)
        };
        self.applying.iter().map(of).collect()
    }

    /// A finding in place of the verdicts on images that no rule saw: in the strictest mode that any rule could have
    /// given them, or a thousand images more would let in the one that its rule refuses.
    pub fn unjudged(&self, id: FindingId, check: Check, message: &str) -> Vec<Finding<'p>> {
        let mut findings = self.of_object(id, check, message);
        for (finding, policy) in findings.iter_mut().zip(&self.applying) {
            for ruling in policy.rules.iter().enumerate() {
                for check in Check::OF_RULES {
                    finding.mode = finding.mode.max(self.mode(policy, Some(ruling), check));
                }
            }
        }
        findings
    }

    /// What the server wants done where no policy applies.
    pub fn uncovered(&self) -> Option<Finding<'p>> {
        let mode = match self.set.settings.no_policy {
            NoPolicy::Allow => return None,
            NoPolicy::Warn => Mode::Warn,
            NoPolicy::Deny => Mode::Enforce,
        };
        let namespace = printable(self.request.namespace.unwrap_or("(cluster)"), IMAGE_BYTES);
        Some(Finding {
            id: FindingId::Tw198,
            check: Check::Policy,
            mode: mode.min(self.set.settings.max_mode),
            policy: "",
            rule: None,
            exception: None,
            message: format!("no policy covers the namespace {namespace}; ask whoever keeps the policies for one"),
            use_instead: None,
        })
    }
}

/// Where a policy says what becomes of a check.
#[derive(Clone, Copy, Debug)]
pub(super) enum Whence<'p> {
    /// In an override: its index, and itself.
    Override(usize, &'p Override),
    /// In the rule's `modes`.
    RuleCheck(&'p Rule),
    /// In the rule's `mode`.
    Rule(&'p Rule),
    /// In `spec.mode`.
    Policy,
}

/// What a policy says of a check in a namespace, and where: override, then rule, then policy.
pub(super) fn written_mode<'p>(
    policy: &'p Policy,
    namespace: Option<&str>,
    ruling: Option<Ruling<'p>>,
    check: Check,
) -> (Mode, Whence<'p>) {
    let index = ruling.map(|(index, _)| index);
    if let Some((at, other)) = policy.overrides.iter().enumerate().find(|(_, o)| o.is_about(namespace, index)) {
        return (other.mode, Whence::Override(at, other));
    }
    let of_rule = ruling.and_then(|(_, rule)| {
        let of_check = rule.modes.of(check).map(|mode| (mode, Whence::RuleCheck(rule)));
        of_check.or_else(|| rule.mode.map(|mode| (mode, Whence::Rule(rule))))
    });
    of_rule.unwrap_or((policy.mode, Whence::Policy))
}

/// The mode of a check in a namespace: what is written, never above the server's.
pub(super) fn effective_mode(
    policy: &Policy,
    max_mode: Mode,
    namespace: Option<&str>,
    ruling: Option<Ruling<'_>>,
    check: Check,
) -> Mode {
    let (chosen, _) = written_mode(policy, namespace, ruling, check);
    let most = match check {
        // What was seen first is remembered by each replica alone, so a denial would depend on who is asked.
        Check::Moved => Mode::Warn,
        _ => Mode::Enforce,
    };
    chosen.min(most).min(max_mode)
}

/// Why an image with these findings is let in; none: it is not. `clean`: the reason where nothing was found.
pub(super) fn allowed<'p>(findings: &[Finding<'p>], clean: Option<AllowReason<'p>>) -> Option<AllowReason<'p>> {
    let Some(mode) = findings.iter().map(|finding| finding.mode).max() else {
        return clean;
    };
    if mode == Mode::Enforce {
        return None;
    }
    let exception = findings.iter().find_map(|finding| finding.exception);
    Some(exception.map_or(AllowReason::NotEnforced(mode), AllowReason::Exception))
}
