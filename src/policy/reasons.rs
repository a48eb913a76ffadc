//! Why a policy says what it says of an image, step by step, for people.
//!
//! Nothing here is on the way to a verdict: the parts of the policy are asked the same questions once more.

use super::compile::{NamespaceFilter, Override, Policy, Rule, Tags};
use super::file::Release as Asks;
use super::judge::{Whence, written_mode};
use super::show::{IMAGE_BYTES, printable};
use super::tags::{Tag, built_in};
use super::{Applied, Check, Finding, FindingId, ImageVerdict, Mode, Pinning, PolicySet, Request};
use crate::image::{NameGlob, Reference};
use crate::release::{Image, Release};

/// One step to a verdict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// What of the policy it is about.
    pub about: About,
    /// What holds, and which line of the policy says so.
    pub text: String,
}

/// What of a policy a reason is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum About {
    /// Whether the policy applies.
    Namespaces,
    /// Which rule decides.
    Rule,
    /// Whether the tag is let in.
    Tag,
    /// What the image must say of itself.
    Metadata,
    /// Whether it is the image of the release that governs.
    Release,
    /// What becomes of a violation.
    Mode,
    /// Whether an exception lets it in.
    Exception,
}

impl About {
    /// As it is shown: `namespaces`, `rule`, `tag`, `metadata`, `release`, `mode`, `exception`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            About::Namespaces => "namespaces",
            About::Rule => "rule",
            About::Tag => "tag",
            About::Metadata => "metadata",
            About::Release => "release",
            About::Mode => "mode",
            About::Exception => "exception",
        }
    }
}

impl PolicySet {
    /// The steps of the policy of this name to its verdict on an image of the request; `image` is none where it does not
    /// apply, or was not asked. `release`: the one that all images of the object are of.
    #[must_use]
    pub fn reasons(
        &self,
        policy: &str,
        request: &Request<'_>,
        image: Option<&ImageVerdict<'_>>,
        release: Option<&Release>,
    ) -> Vec<Reason> {
        let Some(policy) = self.policies.iter().find(|known| known.name == policy) else { return Vec::new() };
        let mut reasons = vec![Reason { about: About::Namespaces, text: policy.namespaces.reason(request) }];
        let applied = image.and_then(|image| image.applied.iter().find(|applied| applied.policy == policy.name));
        if let (Some(image), Some(applied)) = (image, applied) {
            let look = Look { set: self, policy, request, image, applied, release };
            reasons.extend(look.reasons());
        }
        reasons
    }
}

impl NamespaceFilter {
    /// Why the policy applies to the request's namespace, or not.
    fn reason(&self, request: &Request<'_>) -> String {
        let Some(namespace) = request.namespace else {
            return "an object outside namespaces is judged by every policy".to_owned();
        };
        let shown = printable(namespace, IMAGE_BYTES);
        let matching = |globs: &[NameGlob]| globs.iter().find(|glob| glob.matches(namespace)).cloned();
        let included = match &self.include {
            None => None,
            Some(globs) => match matching(globs) {
                None => return format!("no glob of include matches {shown}"),
                Some(glob) => Some(format!("include {} matches {shown}", quoted(&glob))),
            },
        };
        if let Some(glob) = matching(&self.exclude) {
            return format!("exclude {} matches {shown}", quoted(&glob));
        }
        let selected = self.selector.as_ref().map(|selector| selector.reason(namespace, request.namespace_labels));
        match (included, selected) {
            (None, None) if self.exclude.is_empty() => "no namespace is named, so it applies to all".to_owned(),
            (None, None) => format!("no glob of exclude matches {shown}"),
            (included, selected) => included.into_iter().chain(selected).collect::<Vec<_>>().join("; "),
        }
    }
}

fn quoted(glob: &NameGlob) -> String {
    format!("\"{}\"", glob.as_str())
}

/// One policy's word on one image.
struct Look<'l> {
    set: &'l PolicySet,
    policy: &'l Policy,
    request: &'l Request<'l>,
    image: &'l ImageVerdict<'l>,
    applied: &'l Applied<'l>,
    /// The release that all images of the object are of.
    release: Option<&'l Release>,
}

impl Look<'_> {
    fn reasons(&self) -> Vec<Reason> {
        let Some(reference) = &self.image.reference else { return self.modes(None) };
        let name = reference.name();
        let mut reasons = Vec::new();
        let ruling = self.rule(&name, &mut reasons);
        if let Some((_, rule)) = ruling {
            reasons.extend(self.tag(rule, reference));
            reasons.extend(self.metadata(rule));
            reasons.extend(self.of_release(rule, reference, &name));
        }
        reasons.extend(self.modes(ruling));
        reasons.extend(self.expired(reference, &name));
        reasons
    }

    /// The rule that decided, and the glob by which it was found.
    fn rule(&self, name: &str, reasons: &mut Vec<Reason>) -> Option<(usize, &Rule)> {
        let glob = self.policy.images.first_match(name);
        let decided = self.applied.rule.is_some();
        let text = match glob {
            Some(glob) if decided => {
                let index = self.policy.rule_of_glob[glob];
                let passed = match index {
                    0 => String::new(),
                    1 => ", and the rule before it does not".to_owned(),
                    more => format!(", and the {more} rules before it do not"),
                };
                format!("{} names it by \"{}\"{passed}", self.policy.rules[index].name, self.policy.globs[glob])
            }
            // Refused by its shape, before any rule.
            Some(_) => return None,
            None if self.policy.allow_unmatched => "none names it, and unmatched is allow".to_owned(),
            None => format!("none of {} names it, and unmatched is deny", self.policy.rules.len()),
        };
        reasons.push(Reason { about: About::Rule, text });
        let index = self.policy.rule_of_glob[glob?];
        Some((index, self.policy.rules.get(index)?))
    }

    /// What lets the tag in, or that nothing does.
    fn tag(&self, rule: &Rule, reference: &Reference<'_>) -> Option<Reason> {
        let facts = reference.tag_facts();
        let mut matched = Vec::new();
        if let Some(tag) = reference.tag() {
            self.policy.tag_patterns.all_matches(tag, |id| matched.push(id));
        }
        let refused = self.applied.findings.iter().any(|finding| finding.id == FindingId::Tw120);
        let text = match &rule.tags {
            _ if refused => return None,
            Tags::NotFloating => "it does not float, and the rule lists no tags".to_owned(),
            Tags::Listed { classes, patterns } => {
                let own = &self.policy.classes;
                let named = matched.iter().filter(|id| classes.own.contains(id)).find_map(|&id| own.list.get(id));
                let built = built_in(&facts, own).iter().find(|class| classes.built_in.contains(*class));
                let pattern =
                    patterns.iter().find(|id| matched.contains(id)).and_then(|&id| self.policy.patterns.get(id));
                match (named, built, pattern) {
                    (Some(class), ..) => format!("class {}, which tags lists", class.name),
                    (None, Some(class), _) => format!("class {}, which tags lists", class.name()),
                    (None, None, Some(pattern)) => {
                        {
                            // It was checked to be ASCII, and stays as it was written.
                            let pattern: String = pattern.chars().take(IMAGE_BYTES).collect();
                            format!("the pattern '{pattern}' matches it")
                        }
                    }
                    (None, None, None) => return None,
                }
            }
        };
        let tag = Tag { reference, facts: &facts, floating: false, matched: &matched };
        let text = if reference.tag().is_some() { format!("{}: {text}", tag.written()) } else { text };
        Some(Reason { about: About::Tag, text })
    }

    /// What the rule asks of what the image says of itself, and which of that does not hold.
    fn metadata(&self, rule: &Rule) -> Option<Reason> {
        let asked: Vec<Check> = rule.metadata.as_ref()?.checks().collect();
        let names = |checks: &[Check]| checks.iter().map(|check| check.name()).collect::<Vec<_>>().join(", ");
        let findings = &self.applied.findings;
        let broken = |check: &&Check| findings.iter().any(|found| found.check == **check && !found.is_undecided());
        let broken: Vec<Check> = asked.iter().filter(broken).copied().collect();
        let earlier = |found: &Finding<'_>| found.mode == Mode::Enforce && !asked.contains(&found.check);
        let open = findings.iter().any(Finding::is_undecided);
        let came = match broken.is_empty() {
            false => format!("{} not met", names(&broken)),
            true if findings.iter().any(earlier) => "not looked at, because the image is refused".to_owned(),
            true if open => "not decided".to_owned(),
            true => "all met".to_owned(),
        };
        Some(Reason { about: About::Metadata, text: format!("{} asks {}: {came}", rule.shown, names(&asked)) })
    }

    /// Which image of which release it is, where the rule asks for one.
    fn of_release(&self, rule: &Rule, reference: &Reference<'_>, name: &str) -> Option<Reason> {
        if rule.release == Asks::Ignore {
            return None;
        }
        let mut found = self.applied.findings.iter().filter(|finding| finding.check == Check::Release).peekable();
        let came = match self.release {
            _ if found.peek().is_some() => {
                if found.any(|finding| !finding.is_undecided()) { "not met" } else { "not decided" }.to_owned()
            }
            Some(release) => entry(release, reference, name),
            None => "not looked at, because the image is refused".to_owned(),
        };
        Some(Reason { about: About::Release, text: format!("{} asks for one: {came}", rule.shown) })
    }

    /// Where the mode of each check that said something comes from.
    fn modes(&self, ruling: Option<(usize, &Rule)>) -> Vec<Reason> {
        let mut checks: Vec<Check> = self.applied.findings.iter().map(|finding| finding.check).collect();
        if self.image.pin != Pinning::None && ruling.is_some() {
            checks.push(Check::Digest);
        }
        checks.sort();
        checks.dedup();
        checks.iter().map(|check| Reason { about: About::Mode, text: self.mode(ruling, *check) }).collect()
    }

    fn mode(&self, ruling: Option<(usize, &Rule)>, check: Check) -> String {
        let (mode, whence) = written_mode(self.policy, self.request.namespace, ruling, check);
        let whence = match whence {
            Whence::Override(at, other) => format!("override {} ({})", at + 1, globs(other)),
            Whence::RuleCheck(rule) => format!("modes.{} of {}", check.name(), rule.shown),
            Whence::Rule(rule) => format!("mode of {}", rule.shown),
            Whence::Policy => "spec.mode".to_owned(),
        };
        let most = self.set.settings.max_mode;
        let capped = if mode > most { format!(", lowered to {} by maxMode", most.name()) } else { String::new() };
        let moved = if check == Check::Moved && mode.min(most) == Mode::Enforce { ", at most warn" } else { "" };
        format!("{} is {} by {whence}{capped}{moved}", check.name(), mode.name())
    }

    /// Exceptions that are over and would have let it in.
    fn expired(&self, reference: &Reference<'_>, name: &str) -> Vec<Reason> {
        let Some(namespace) = self.request.namespace else { return Vec::new() };
        let exceptions = &self.policy.exceptions;
        let mut over = Vec::new();
        exceptions.automaton.all_matches(name, |id| {
            let (index, glob) = &exceptions.globs[id];
            let one = &exceptions.list[*index];
            let excuses = self.applied.findings.iter().any(|finding| one.checks.contains(&finding.check));
            let meant = glob.tag().is_none_or(|tag| reference.tag() == Some(tag))
                && one.namespaces.iter().any(|glob| glob.matches(namespace));
            if excuses && meant && self.request.now >= one.end {
                over.push(format!("{} ended: its expires is {}", one.id, one.expires));
            }
        });
        over.sort();
        over.dedup();
        over.into_iter().map(|text| Reason { about: About::Exception, text }).collect()
    }
}

/// The image of a release that a reference was found to be: of several of its repository the one that is written alike.
fn entry(release: &Release, reference: &Reference<'_>, name: &str) -> String {
    let shown = |text: &str| printable(text, IMAGE_BYTES);
    let written = |image: &&Image| {
        let tag = reference.tag().is_some() && image.tag.as_deref() == reference.tag();
        tag || image.digest.as_ref().is_some_and(|own| reference.digest().is_some_and(|it| own.as_str() == it.as_str()))
    };
    let alike = release.of_repository(name).find(written);
    let Some(image) = alike.or_else(|| release.of_repository(name).next()) else {
        return format!("not one of {}", shown(release.name()));
    };
    let tag = image.tag.as_deref().map(shown);
    let digest = image.digest.as_ref().map(|digest| digest.short().to_owned());
    let version = tag.into_iter().chain(digest).collect::<Vec<_>>().join(" at ");
    format!("it is {} of {} ({version})", shown(&image.name), shown(release.name()))
}

fn globs(other: &Override) -> String {
    other.namespaces.iter().map(NameGlob::as_str).collect::<Vec<_>>().join(", ")
}
