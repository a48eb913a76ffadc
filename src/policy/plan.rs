//! What text alone says of every image under every policy that applies, and what is still to be learned.

use super::compile::{OwnClasses, Policy, Rule, Tags};
use super::show::{IMAGE_BYTES, printable};
use super::{
    AllowReason, Applied, Check, Finding, FindingId, ImageUse, Mode, NoPolicy, NonCanonicalHost, PolicySet, Request,
};
use crate::image::{Class, Classes, Reference, Refusal, TagFacts};

/// What a rule asks of the world before it can decide. The rules of this build ask for nothing, so there is no
/// value of this type; the first rule that needs a registry adds one, and the compiler then names every place
/// that must handle it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lookup {}

/// What was learned for the lookups of a plan. A lookup without an answer here is itself a finding.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    answers: Vec<(usize, Lookup)>,
}

impl Facts {
    /// Whether nothing was learned.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.answers.is_empty()
    }
}

/// Rulings by text of every policy that applies, and the lookups that could still change them.
#[derive(Clone, Debug)]
pub struct Plan<'p> {
    /// Names of the policies that apply, in order.
    pub(super) policies: Vec<&'p str>,
    /// Findings about the object as a whole.
    pub(super) object_findings: Vec<Finding<'p>>,
    /// For each image, in order: what is shown as its class, and one ruling a policy.
    pub(super) images: Vec<(Option<&'p str>, Vec<Applied<'p>>)>,
    lookups: Vec<(usize, Lookup)>,
}

impl Plan<'_> {
    /// What is to be learned, each with the index of its image.
    #[must_use]
    pub fn lookups(&self) -> &[(usize, Lookup)] {
        &self.lookups
    }
}

impl PolicySet {
    /// Judges all that text alone can judge, and says what else must be known. Cannot fail.
    #[must_use]
    pub fn plan<'p>(&'p self, request: &Request<'_>, images: &[ImageUse<'_>]) -> Plan<'p> {
        let judge = Judge::new(self, request);
        let mut plan = judge.empty_plan();
        if images.len() > self.settings.max_images {
            let message =
                format!("{} images, more than the {} that the limits allow", images.len(), self.settings.max_images);
            // They are not looked at: the point of the limit is that its work is bounded.
            plan.object_findings.extend(judge.unjudged(FindingId::Tw197, &message));
            return plan;
        }
        let mut scratch = Scratch::default();
        plan.images = images.iter().map(|image| judge.image(image, &mut scratch)).collect();
        plan
    }

    /// The plan for an object of a kind that no table knows: a finding TW199 of every policy that applies.
    /// `shown` names the kind.
    #[must_use]
    pub fn plan_unknown_kind<'p>(&'p self, request: &Request<'_>, shown: &str) -> Plan<'p> {
        let judge = Judge::new(self, request);
        let mut plan = judge.empty_plan();
        let message = format!(
            "{} is a kind whose images nobody told us where to find; name it in the configuration's 'workloads'",
            printable(shown, IMAGE_BYTES)
        );
        plan.object_findings.extend(judge.of_object(FindingId::Tw199, &message));
        plan
    }
}

/// Buffers that images of one request share.
#[derive(Default)]
struct Scratch {
    name: String,
    /// For each applying policy: ids of `tag_patterns` that match, own classes first.
    matched: Vec<Vec<usize>>,
}

/// Judges images of one request.
struct Judge<'p, 'r> {
    set: &'p PolicySet,
    request: &'r Request<'r>,
    applying: Vec<&'p Policy>,
}

/// What a violation says, before its mode and exceptions are known.
struct Violation {
    id: FindingId,
    message: String,
    use_instead: Option<String>,
}

impl<'p, 'r> Judge<'p, 'r> {
    fn new(set: &'p PolicySet, request: &'r Request<'r>) -> Self {
        Judge { set, request, applying: set.policies.iter().filter(|p| p.namespaces.applies(request)).collect() }
    }

    /// A plan without images: which policies apply, and a finding where none does and the server minds.
    fn empty_plan(&self) -> Plan<'p> {
        Plan {
            policies: self.applying.iter().map(|policy| policy.name.as_str()).collect(),
            object_findings: if self.applying.is_empty() { self.uncovered().into_iter().collect() } else { Vec::new() },
            images: Vec::new(),
            lookups: Vec::new(),
        }
    }

    /// One image under every policy that applies.
    fn image(&self, image: &ImageUse<'_>, scratch: &mut Scratch) -> (Option<&'p str>, Vec<Applied<'p>>) {
        let reference = match self.readable(image) {
            Ok(reference) => reference,
            Err(violation) => {
                let of = |policy: &&'p Policy| self.no_rule(policy, None, &violation);
                return (None, self.applying.iter().map(of).collect());
            }
        };
        scratch.name.clear();
        reference.write_name(&mut scratch.name);
        let facts = reference.tag_facts();
        let floating = self.classify(reference, &facts, &mut scratch.matched);
        let class = self.shown_class(&facts, &scratch.matched);
        let applied = self
            .applying
            .iter()
            .zip(&scratch.matched)
            .map(|(policy, matched)| {
                let tag = Tag { reference, facts: &facts, floating, matched };
                self.under(policy, &tag, &scratch.name)
            })
            .collect();
        (class, applied)
    }

    /// The reference, or why there is none: too long (TW197), or not one (TW100).
    fn readable<'i, 'a>(&self, image: &'i ImageUse<'a>) -> Result<&'i Reference<'a>, Violation> {
        let limit = self.set.settings.max_reference_bytes;
        if image.image.len() > limit {
            let message =
                format!("the reference has {} bytes, more than the {limit} that the limits allow", image.image.len());
            return Err(Violation { id: FindingId::Tw197, message, use_instead: None });
        }
        image.reference.as_ref().map_err(|error| Violation {
            id: FindingId::Tw100,
            message: format!("not a valid image reference: {} (at byte {})", error.message(), error.position),
            use_instead: error.suggestion.clone(),
        })
    }

    /// Matches every policy's tag patterns, and says whether the tag floats in any of them.
    fn classify(&self, reference: &Reference<'_>, facts: &TagFacts<'_>, matched: &mut Vec<Vec<usize>>) -> bool {
        matched.resize_with(self.applying.len(), Vec::new);
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
    fn shown_class(&self, facts: &TagFacts<'_>, matched: &[Vec<usize>]) -> Option<&'p str> {
        let own = self.applying.iter().zip(matched).find_map(|(policy, ids)| {
            ids.first().and_then(|&id| policy.classes.list.get(id)).map(|class| class.name.as_str())
        });
        own.or_else(|| {
            let replaced = self.applying.first().map(|policy| &policy.classes);
            let classes = replaced.map_or(facts.classes, |own| built_in(facts, own));
            classes.iter().next().map(Class::name)
        })
    }

    /// One readable image under one policy.
    fn under(&self, policy: &'p Policy, tag: &Tag<'_, '_>, name: &str) -> Applied<'p> {
        if let Some(violation) = self.refused(policy, tag.reference, name) {
            return self.no_rule(policy, Some((tag, name)), &violation);
        }
        let Some(glob) = policy.images.first_match(name) else {
            if policy.allow_unmatched {
                let allowed = Some(AllowReason::Unmatched);
                return Applied { policy: &policy.name, rule: None, finding: None, allowed };
            }
            let message = match policy.names.is_empty() {
                true => format!("no rule names {}", printable(name, IMAGE_BYTES)),
                false => format!("no rule names {}; rules name {}", printable(name, IMAGE_BYTES), policy.names),
            };
            let violation = Violation { id: FindingId::Tw110, message, use_instead: None };
            return self.no_rule(policy, Some((tag, name)), &violation);
        };
        let index = policy.rule_of_glob[glob];
        let rule = &policy.rules[index];
        match tag.violates(policy, rule) {
            None => {
                let allowed = Some(AllowReason::Rule(&rule.name));
                Applied { policy: &policy.name, rule: Some(&rule.name), finding: None, allowed }
            }
            Some(what) => {
                let message = format!("{what}; {} accepts {}", rule.shown, rule.accepts);
                let violation = Violation { id: FindingId::Tw120, message, use_instead: None };
                let mode = self.mode(policy, Some((index, rule)), Check::Tags);
                self.excused(policy, Some(rule), mode, &violation, Some((tag, name)))
            }
        }
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
        Some(Violation { id: FindingId::Tw101, message, use_instead })
    }

    /// A violation that no rule decided.
    fn no_rule(&self, policy: &'p Policy, tag: Option<(&Tag<'_, '_>, &str)>, violation: &Violation) -> Applied<'p> {
        let mode = self.mode(policy, None, violation.id.check());
        self.excused(policy, None, mode, violation, tag)
    }

    /// The effective mode: override, then rule, then policy; never above the server's.
    fn mode(&self, policy: &Policy, rule: Option<(usize, &Rule)>, check: Check) -> Mode {
        let index = rule.map(|(index, _)| index);
        let chosen = match policy.overrides.iter().find(|o| o.is_about(self.request.namespace, index)) {
            Some(other) => other.mode,
            None => rule
                .and_then(|(_, rule)| rule.tags_mode.filter(|_| check == Check::Tags).or(rule.mode))
                .unwrap_or(policy.mode),
        };
        chosen.min(self.set.settings.max_mode)
    }

    /// Turns a violation into a finding, in warn where an exception excuses it.
    fn excused(
        &self,
        policy: &'p Policy,
        rule: Option<&'p Rule>,
        mode: Mode,
        violation: &Violation,
        tag: Option<(&Tag<'_, '_>, &str)>,
    ) -> Applied<'p> {
        let check = violation.id.check();
        let exception = tag.filter(|(tag, _)| !tag.never_excused(policy)).and_then(|(tag, name)| {
            policy.exceptions.excuse(check, self.request.namespace, tag.reference, name, self.request.now)
        });
        let mut message = violation.message.clone();
        let mode = match exception {
            Some(exception) => {
                // In front, because warnings are cut at their end.
                message = format!("let in by exception {} until {}: {message}", exception.id, exception.expires);
                mode.min(Mode::Warn)
            }
            None => mode,
        };
        let allowed = match exception {
            Some(exception) => Some(AllowReason::Exception(exception.id.as_str())),
            None => (mode < Mode::Enforce).then_some(AllowReason::NotEnforced(mode)),
        };
        let rule = rule.map(|rule| rule.name.as_str());
        let finding = Finding {
            id: violation.id,
            mode,
            policy: &policy.name,
            rule,
            exception: exception.map(|exception| exception.id.as_str()),
            message,
            use_instead: violation.use_instead.clone(),
        };
        Applied { policy: &policy.name, rule, finding: Some(finding), allowed }
    }

    /// A finding about the object as a whole, from every policy that applies.
    fn of_object(&self, id: FindingId, message: &str) -> Vec<Finding<'p>> {
        let finding = |policy: &&'p Policy| Finding {
            id,
            mode: self.mode(policy, None, id.check()),
            policy: &policy.name,
            rule: None,
            exception: None,
            message: message.to_owned(),
            use_instead: None,
        };
        self.applying.iter().map(finding).collect()
    }

    /// A finding in place of the verdicts on images that no rule saw: in the strictest mode that any rule could have
    /// given them, or a thousand images more would let in the one that its rule refuses.
    fn unjudged(&self, id: FindingId, message: &str) -> Vec<Finding<'p>> {
        let mut findings = self.of_object(id, message);
        for (finding, policy) in findings.iter_mut().zip(&self.applying) {
            let of_rules = policy.rules.iter().enumerate().map(|rule| self.mode(policy, Some(rule), Check::Tags));
            finding.mode = of_rules.fold(finding.mode, Mode::max);
        }
        findings
    }

    /// What the server wants done where no policy applies.
    fn uncovered(&self) -> Option<Finding<'p>> {
        let mode = match self.set.settings.no_policy {
            NoPolicy::Allow => return None,
            NoPolicy::Warn => Mode::Warn,
            NoPolicy::Deny => Mode::Enforce,
        };
        let namespace = printable(self.request.namespace.unwrap_or("(cluster)"), IMAGE_BYTES);
        Some(Finding {
            id: FindingId::Tw198,
            mode: mode.min(self.set.settings.max_mode),
            policy: "",
            rule: None,
            exception: None,
            message: format!("no policy covers the namespace {namespace}; ask whoever keeps the policies for one"),
            use_instead: None,
        })
    }
}

/// One image's tag as one policy sees it.
struct Tag<'i, 'a> {
    reference: &'i Reference<'a>,
    facts: &'i TagFacts<'a>,
    /// In any applicable policy.
    floating: bool,
    /// Ids of the policy's tag patterns that match.
    matched: &'i [usize],
}

impl Tag<'_, '_> {
    /// What is wrong with the tag under a rule, if anything is.
    fn violates(&self, policy: &Policy, rule: &Rule) -> Option<String> {
        let classes = built_in(self.facts, &policy.classes);
        let own_channel = self.has_own(policy, Class::Channel.name());
        let is_channel = classes.contains(Class::Channel) || own_channel;
        let tag = self.reference.tag().unwrap_or_default();
        if tag.starts_with("env-") && !is_channel {
            return Some(format!("{} begins like a channel, but is none (env-<name>)", self.written()));
        }
        let admitted = match &rule.tags {
            Tags::NotFloating => !self.floating,
            Tags::Listed { classes: listed, patterns } => {
                let by_class = classes.iter().any(|class| listed.built_in.contains(class))
                    || listed.own.iter().any(|own| self.matched.contains(own));
                // `latest` and the other floating names are let in by the name of their class alone.
                let by_name_only = [Class::Latest, Class::Floating];
                let is_built_in = by_name_only.iter().any(|class| classes.contains(*class));
                // An own class that took over such a name took over its rule as well.
                if is_built_in || by_name_only.iter().any(|class| self.has_own(policy, class.name())) {
                    by_name_only.iter().any(|class| classes.contains(*class) && listed.built_in.contains(*class))
                        || (!is_built_in && by_class)
                } else {
                    by_class || patterns.iter().any(|id| self.matched.contains(id))
                }
            }
        };
        if !admitted {
            return Some(self.describe(policy));
        }
        (is_channel && !rule.channel_by_text)
            .then(|| format!("{}, and whether it carries an approved build is not judged yet", self.describe(policy)))
    }

    /// Whether an own class of this name matches.
    fn has_own(&self, policy: &Policy, name: &str) -> bool {
        let own = &policy.classes.list;
        self.matched.iter().any(|&id| own.get(id).is_some_and(|class| class.name == name))
    }

    /// Whether the policy's `noExceptions` names one of its classes.
    fn never_excused(&self, policy: &Policy) -> bool {
        let classes = built_in(self.facts, &policy.classes);
        policy.no_exceptions.built_in.iter().any(|class| classes.contains(class))
            || policy.no_exceptions.own.iter().any(|own| self.matched.contains(own))
    }

    /// The tag as it was written.
    fn written(&self) -> String {
        printable(self.reference.tag().unwrap_or_default(), IMAGE_BYTES)
    }

    /// `latest is a floating tag`.
    fn describe(&self, policy: &Policy) -> String {
        if self.reference.tag_defaulted() {
            return "no tag is written, which means latest, a floating tag".to_owned();
        }
        if self.reference.tag().is_none() {
            return "only a digest is written".to_owned();
        }
        let tag = self.written();
        let own = self.matched.iter().find_map(|&id| policy.classes.list.get(id));
        let class = built_in(self.facts, &policy.classes).iter().next();
        match (own, class) {
            (Some(own), _) => format!("{tag} is a tag of class {}", own.name),
            (None, Some(Class::Latest | Class::Floating)) => format!("{tag} is a floating tag"),
            (None, Some(class)) => format!("{tag} is a {} tag", class.name()),
            (None, None) if self.floating => format!("{tag} is a floating tag"),
            (None, None) => format!("{tag} is a tag of no known class"),
        }
    }
}

/// Built-in classes, without those that the policy replaced.
fn built_in(facts: &TagFacts<'_>, own: &OwnClasses) -> Classes {
    own.replaced.iter().fold(facts.classes, Classes::without)
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
