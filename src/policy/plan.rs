//! What text alone says of every image under every policy that applies, and what is still to be learned.

use super::compile::{Environment, Policy, Rule};
use super::examine::{Demand, Examination, Moving, Subject, Taken};
use super::file::{Pin, Release};
use super::judge::{Excusable, Judge, Violation, allowed};
use super::lookups::Wanted;
use super::show::{IMAGE_BYTES, printable};
use super::tags::{Tag, built_in};
use super::{
    AllowReason, Applied, Check, Facts, Failure, Few, Finding, FindingId, ImageUse, Lookup, NonCanonicalHost,
    PolicySet, Request, Stage, Undecided,
};
use crate::image::{Class, Reference, Refusal, TagFacts};

/// Rulings by text of every policy that applies, and the lookups that could still change them.
#[derive(Clone, Debug)]
pub struct Plan<'p> {
    pub(super) judge: Judge<'p>,
    /// Findings about the object as a whole.
    pub(super) object_findings: Vec<Finding<'p>>,
    /// Each image, in order.
    pub(super) images: Vec<Planned<'p>>,
    /// Images that are not judged, as far as rules require a release of them.
    pub(super) beside: Vec<Subject<'p>>,
}

/// What text says of one image.
#[derive(Clone, Debug)]
pub(super) struct Planned<'p> {
    /// What is shown as its class.
    pub class: Option<&'p str>,
    /// One ruling a policy.
    pub applied: Few<Applied<'p>>,
    /// What is to be learned about it; none where no rule asks, or where text alone denies it.
    pub subject: Option<Subject<'p>>,
}

impl Plan<'_> {
    /// Whether any fact could change the verdict. Where none can, the verdict is there with [`Facts::default`].
    #[must_use]
    pub fn needs_facts(&self) -> bool {
        !self.missing(&Facts::default()).is_empty()
    }

    /// What is still to be learned, given what is known; empty: all that can be. Answers may raise further questions, so
    /// this is asked again after each round, until nothing is missing: an answer to each lookup, failures among them,
    /// brings that about.
    ///
    /// A reference that several images share is asked about once.
    #[must_use]
    pub fn missing(&self, facts: &Facts) -> Vec<Lookup<'_>> {
        let mut wanted = Wanted::default();
        let agreement = self.judge.agreement(&self.images, &self.beside, facts);
        let subjects = self.images.iter().map(|image| image.subject.as_ref()).chain(self.beside.iter().map(Some));
        let subjects: Vec<Option<&Subject<'_>>> =
            if agreement.wants.is_empty() { Vec::new() } else { subjects.collect() };
        for (at, want) in &agreement.wants {
            if let Some(subject) = subjects.get(*at).copied().flatten() {
                wanted.add(subject.lookup(want));
            }
        }
        let mut standings = agreement.images.into_iter();
        let mut wants = Vec::new();
        for image in &self.images {
            let release = standings.next().flatten();
            let Some(subject) = &image.subject else { continue };
            let mut examination = Examination::new(&self.judge, subject, facts, Taken::Wants);
            examination.wants = wants;
            for demand in &subject.demands {
                examination.judge(demand, release.as_ref());
            }
            wants = examination.wants;
            for want in wants.drain(..) {
                wanted.add(subject.lookup(&want));
            }
        }
        wanted.into_lookups()
    }
}

impl PolicySet {
    /// Judges all that text alone can judge, and says what else must be known. Cannot fail.
    #[must_use]
    pub fn plan<'p>(&'p self, request: &Request<'p>, images: &[ImageUse<'p>]) -> Plan<'p> {
        let mut plan = empty(Judge::new(self, request));
        if images.len() > self.settings.max_images {
            let message =
                format!("{} images, more than the {} that the limits allow", images.len(), self.settings.max_images);
            // They are not looked at: the point of the limit is that its work is bounded.
            plan.object_findings.extend(plan.judge.unjudged(FindingId::Tw197, Check::Limits, &message));
            return plan;
        }
        let mut matched = Matched::default();
        plan.images = images.iter().map(|image| plan.judge.image(image, &mut matched)).collect();
        if plan.images.iter().any(Planned::is_of_a_release) {
            plan.beside = request.beside.iter().filter_map(|image| plan.judge.beside(image)).collect();
        }
        plan
    }

    /// The plan for an object of a kind that no table knows: a finding TW199 of every policy that applies.
    /// `shown` names the kind.
    #[must_use]
    pub fn plan_unknown_kind<'p>(&'p self, request: &Request<'p>, shown: &str) -> Plan<'p> {
        let mut plan = empty(Judge::new(self, request));
        let message = format!(
            "{} is a kind whose images nobody told us where to find; name it in the configuration's 'workloads'",
            printable(shown, IMAGE_BYTES)
        );
        plan.object_findings.extend(plan.judge.of_object(FindingId::Tw199, Check::Kind, &message));
        plan
    }
}

/// A plan without images: which policies apply, and a finding where none does and the server minds.
fn empty(judge: Judge<'_>) -> Plan<'_> {
    let object_findings = if judge.applying.is_empty() { judge.uncovered().into_iter().collect() } else { Vec::new() };
    Plan { judge, object_findings, images: Vec::new(), beside: Vec::new() }
}

impl Planned<'_> {
    /// Whether a rule requires a release of it, and text alone did not refuse it.
    pub fn is_of_a_release(&self) -> bool {
        self.subject.as_ref().is_some_and(|subject| subject.demands.iter().any(|demand| demand.release))
    }
}

/// For each applying policy: ids of `tag_patterns` that match, own classes first. A buffer that images of one request
/// share.
type Matched = Few<Vec<usize>>;

impl<'p> Judge<'p> {
    /// One image under every policy that applies.
    fn image(&self, image: &ImageUse<'p>, matched: &mut Matched) -> Planned<'p> {
        let reference = match self.readable(image) {
            Ok(reference) => reference,
            Err(violation) => {
                let of = |policy: &&'p Policy| self.no_rule(policy, None, violation.clone());
                return Planned { class: None, applied: self.applying.iter().map(of).collect(), subject: None };
            }
        };
        let name = reference.name();
        let facts = reference.tag_facts();
        let floating = self.classify(&reference, &facts, matched);
        let mut planned = Planned { class: self.shown_class(&facts, matched), applied: Few::default(), subject: None };
        let mut demands = Few::default();
        let mut unknown = true;
        for (at, (policy, matched)) in self.applying.iter().zip(&*matched).enumerate() {
            let tag = Tag { reference: &reference, facts: &facts, floating, matched };
            unknown &= tag.is_unknown(policy);
            let (applied, ruling) = self.under(policy, &tag, &name);
            if let Some(demand) = ruling.and_then(|(index, rule)| self.demand(at, index, rule, &tag, image, &applied)) {
                demands.push(demand);
            }
            planned.applied.push(applied);
        }
        // No fact is fetched for an image that some policy denies.
        let denied = || planned.applied.iter().any(|applied| applied.allowed.is_none());
        if !demands.is_empty() && !denied() {
            let moving = match (floating, unknown) {
                (true, _) => Moving::Always,
                (false, true) => Moving::Unknown,
                (false, false) => Moving::Never,
            };
            planned.subject = Some(Subject::new(name, reference, moving, demands));
        }
        planned
    }

    /// An image that is not judged, where a rule requires a release of it.
    fn beside(&self, image: &ImageUse<'p>) -> Option<Subject<'p>> {
        let reference = self.readable(image).ok()?;
        let name = reference.name();
        let requires = |policy: &&&Policy| {
            let glob = policy.images.first_match(&name);
            let rule = glob.and_then(|glob| policy.rule_of_glob.get(glob)).and_then(|rule| policy.rules.get(*rule));
            rule.is_some_and(|rule| rule.release == Release::Require && rule.literal)
        };
        self.applying.iter().find(requires)?;
        Some(Subject::new(name, reference, Moving::Unknown, Few::default()))
    }

    /// The reference, or why there is none: too long (TW197), or not one (TW100).
    fn readable(&self, image: &ImageUse<'p>) -> Result<Reference<'p>, Violation> {
        let limit = self.set.settings.max_reference_bytes;
        if image.image.len() > limit {
            let message =
                format!("the reference has {} bytes, more than the {limit} that the limits allow", image.image.len());
            return Err(Violation { id: FindingId::Tw197, check: Check::Limits, message, use_instead: None });
        }
        image.reference.as_ref().copied().map_err(|error| Violation {
            id: FindingId::Tw100,
            check: Check::Reference,
            message: format!("not a valid image reference: {} (at byte {})", error.message(), error.position),
            use_instead: error.suggestion.clone(),
        })
    }

    /// Matches every policy's tag patterns, and says whether the tag floats in any of them.
    fn classify(&self, reference: &Reference<'_>, facts: &TagFacts<'_>, matched: &mut Matched) -> bool {
        if matched.len() != self.applying.len() {
            *matched = self.applying.iter().map(|_| Vec::new()).collect();
        }
        let mut floating = false;
        for (policy, ids) in self.applying.iter().zip(matched) {
            ids.clear();
            if let Some(tag) = reference.tag() {
                policy.tag_patterns.all_matches(tag, |id| ids.push(id));
            }
            let own = &policy.classes.list;
            floating |= ids.iter().any(|&id| own.get(id).is_some_and(|class| class.floating));
            floating |= built_in(facts, &policy.classes).iter().any(Class::is_floating);
        }
        floating
    }

    /// Own classes first, then the built-in ones in their order.
    fn shown_class(&self, facts: &TagFacts<'_>, matched: &Matched) -> Option<&'p str> {
        let own = self.applying.iter().zip(matched).find_map(|(policy, ids)| {
            ids.first().and_then(|&id| policy.classes.list.get(id)).map(|class| class.name.as_str())
        });
        own.or_else(|| {
            let replaced = self.applying.first().map(|policy| &policy.classes);
            let classes = replaced.map_or(facts.classes, |own| built_in(facts, own));
            classes.iter().next().map(Class::name)
        })
    }

    /// One readable image under one policy, and the rule that decided, if one did.
    fn under(&self, policy: &'p Policy, tag: &Tag<'_, '_>, name: &str) -> (Applied<'p>, Option<(usize, &'p Rule)>) {
        if let Some(violation) = self.refused(policy, tag.reference, name) {
            return (self.no_rule(policy, Some((tag, name)), violation), None);
        }
        let Some(glob) = policy.images.first_match(name) else {
            if policy.allow_unmatched {
                let allowed = Some(AllowReason::Unmatched);
                return (Applied { policy: &policy.name, rule: None, findings: Vec::new(), allowed }, None);
            }
            let message = match policy.names.is_empty() {
                true => format!("no rule names {}", printable(name, IMAGE_BYTES)),
                false => format!("no rule names {}; rules name {}", printable(name, IMAGE_BYTES), policy.names),
            };
            let violation = Violation { id: FindingId::Tw110, check: Check::Registry, message, use_instead: None };
            return (self.no_rule(policy, Some((tag, name)), violation), None);
        };
        let index = policy.rule_of_glob[glob];
        let rule = &policy.rules[index];
        let mut findings = Vec::new();
        if let Some(what) = tag.violates(policy, rule) {
            let message = format!("{what}; {} accepts {}", rule.shown, rule.accepts);
            let use_instead = self.of_active_release(policy, rule, name);
            let violation = Violation { id: FindingId::Tw120, check: Check::Tags, message, use_instead };
            let mode = self.mode(policy, Some((index, rule)), Check::Tags);
            findings.push(self.finding(policy, Some(rule), mode, violation, excusable(policy, tag, name)));
        }
        if let Some(violation) = self.against_release(rule, tag, name) {
            let mode = self.mode(policy, Some((index, rule)), Check::Release);
            findings.push(self.finding(policy, Some(rule), mode, violation, excusable(policy, tag, name)));
        }
        if tag.is_channel(policy) && covers_channels(rule, &findings) {
            findings.extend(self.environment(policy, (index, rule), tag, name));
        }
        let allowed = allowed(&findings, Some(AllowReason::Rule(&rule.name)));
        (Applied { policy: &policy.name, rule: Some(&rule.name), findings, allowed }, Some((index, rule)))
    }

    /// Whether a channel belongs to the namespace's environment, where the rule asks (TW202).
    fn environment(
        &self,
        policy: &'p Policy,
        ruling: (usize, &'p Rule),
        tag: &Tag<'_, '_>,
        name: &str,
    ) -> Option<Finding<'p>> {
        let (_, rule) = ruling;
        let environments = rule.channel.environments.as_ref()?;
        let written = tag.written();
        let namespace = printable(self.request.namespace.unwrap_or("(cluster)"), IMAGE_BYTES);
        let meant = tag.facts.env.map(|env| environments.of_channel(env));
        let of_namespace = match self.request.environment {
            Some(environment) => Environment::Known(environment),
            None => environments.of_namespace(self.request.namespace, self.request.namespace_labels),
        };
        let message = match (meant, of_namespace) {
            (Some(meant), Environment::Known(environment)) if meant == environment => return None,
            (None, _) => format!("{written} names no environment"),
            (Some(meant), Environment::Known(environment)) => format!(
                "{written} is for the environment {}, and the namespace {namespace} is {}",
                printable(meant, IMAGE_BYTES),
                printable(environment, IMAGE_BYTES)
            ),
            (Some(_), Environment::Unknown) => {
                format!("the environment of the namespace {namespace} is not known, so no channel belongs to it")
            }
            (Some(_), Environment::Ambiguous(one, other)) => format!(
                "the name of the namespace {namespace} says {} and {} alike, so no channel belongs to it",
                printable(one, IMAGE_BYTES),
                printable(other, IMAGE_BYTES)
            ),
            (Some(_), Environment::LabelsUnknown) => {
                let cause = Undecided::new(
                    Failure::Unreachable,
                    "the namespace's labels could not be had; try again (on the command line: --namespace-labels KEY=VALUE)",
                );
                let unknown = format!("the environment of the namespace {namespace}");
                let excusable = excusable(policy, tag, name);
                return Some(self.undecided(policy, ruling, Check::Channel, &unknown, &cause, excusable));
            }
        };
        let violation = Violation { id: FindingId::Tw202, check: Check::Channel, message, use_instead: None };
        let mode = self.mode(policy, Some(ruling), Check::Channel);
        Some(self.finding(policy, Some(rule), mode, violation, excusable(policy, tag, name)))
    }

    /// What is to be learned about an image because of one rule, if anything is.
    fn demand(
        &self,
        at: usize,
        index: usize,
        rule: &'p Rule,
        tag: &Tag<'_, '_>,
        image: &ImageUse<'_>,
        applied: &Applied<'p>,
    ) -> Option<Demand<'p>> {
        if !rule.literal {
            return None;
        }
        let policy = self.applying[at];
        let (has_tag, has_digest) = (tag.reference.tag().is_some(), tag.reference.digest().is_some());
        let is_covered = match has_tag {
            true => tag.is_channel(policy) && covers_channels(rule, &applied.findings),
            false => rule.channel.covers_digests && covers_channels(rule, &applied.findings),
        };
        let demand = Demand {
            at,
            rule: index,
            excusable: !tag.never_excused(policy),
            agrees: has_tag && has_digest && !image.pin_proven,
            pin: if has_digest || self.request.stage == Stage::Offline { Pin::None } else { rule.pin },
            compare: rule.channel.compare.as_ref().filter(|_| is_covered),
            metadata: rule.metadata.as_ref(),
            // What text said already is not asked again.
            release: rule.release == Release::Require
                && applied.findings.iter().all(|finding| finding.check != Check::Release),
        };
        let asks = demand.agrees
            || demand.pin != Pin::None
            || demand.compare.is_some()
            || demand.metadata.is_some()
            || demand.release;
        asks.then_some(demand)
    }

    /// The trick shape that this policy refuses, if the reference is one.
    fn refused(&self, policy: &Policy, reference: &Reference<'_>, name: &str) -> Option<Violation> {
        let named = || {
            let host = name.split('/').next().unwrap_or_default();
            policy.literal_hosts.binary_search_by(|known| known.as_str().cmp(host)).is_ok()
        };
        let refusal = reference.refusals().iter().find(|refusal| match refusal {
            Refusal::ShortName => policy.deny_short_names,
            Refusal::NonCanonicalHost => self.set.settings.non_canonical_host == NonCanonicalHost::Refuse,
            Refusal::IpHost | Refusal::Localhost => !named(),
            _ => true,
        })?;
        let use_instead = match refusal {
            Refusal::ShortName => Some(reference.to_string()),
            Refusal::NonCanonicalHost => canonical(reference, name),
            _ => None,
        };
        let message = format!("refused shape {}: {}", refusal.name(), refusal.message());
        Some(Violation { id: FindingId::Tw101, check: Check::Reference, message, use_instead })
    }

    /// A violation that no rule decided.
    fn no_rule(&self, policy: &'p Policy, tag: Option<(&Tag<'_, '_>, &str)>, violation: Violation) -> Applied<'p> {
        let mode = self.mode(policy, None, violation.check);
        let excusable = tag.and_then(|(tag, name)| excusable(policy, tag, name));
        let findings = vec![self.finding(policy, None, mode, violation, excusable)];
        let allowed = allowed(&findings, None);
        Applied { policy: &policy.name, rule: None, findings, allowed }
    }
}

/// Whether a rule's word on channels holds for an image: `tags` lets it in, or the rule has the key `channel`. What an
/// exception alone lets in, past a rule that says nothing of channels, is not asked for an approved build.
fn covers_channels(rule: &Rule, findings: &[Finding<'_>]) -> bool {
    rule.channel.written || !findings.iter().any(|finding| finding.id == FindingId::Tw120)
}

/// The image as exceptions see it; none where `noExceptions` names its class.
fn excusable<'x>(policy: &Policy, tag: &Tag<'x, 'x>, name: &'x str) -> Option<Excusable<'x>> {
    (!tag.never_excused(policy)).then_some(Excusable { reference: tag.reference, name })
}

/// The same image, written canonically; none where it would not be the same.
fn canonical(reference: &Reference<'_>, name: &str) -> Option<String> {
    let mut text = name.to_owned();
    if let Some(tag) = reference.tag().filter(|_| !reference.tag_defaulted()) {
        text = format!("{text}:{tag}");
    }
    if let Some(digest) = reference.digest() {
        text = format!("{text}@{}", digest.as_str());
    }
    let valid = Reference::parse(&text).is_ok();
    valid.then_some(text)
}
