//! Exceptions: expired (TW808), without an end in sight (TW809), for nothing that could happen (TW810).

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::images::{Decided, Images, shown};
use super::namespaces::Places;
use super::tags::{floats, lets_no_channel_in};
use super::{Lint, LintCode};
use crate::document::Span;
use crate::image::{Class, Reference, TagFacts};
use crate::policy::compile::{Policy, Rule};
use crate::policy::exception::Exception;
use crate::policy::file;
use crate::policy::tags::{Tag, built_in};
use crate::policy::{Check, Seconds};

const DAY: Seconds = 24 * 60 * 60;
/// Days for which an exception may be granted at once.
const MOST_DAYS: Seconds = 180;

pub(super) fn report(images: &Images, places: &Places, lint: &mut Lint<'_>) {
    let written = lint.spec().exceptions.as_deref().unwrap_or_default();
    for (index, (one, written)) in lint.policy.exceptions.list.iter().zip(written).enumerate() {
        if lint.now >= one.end {
            expired(one, written, lint);
            continue;
        }
        // A day counts whole: what ends with the 180th day from now is still in sight.
        if (one.end - 1 - lint.now) / DAY > MOST_DAYS {
            endless(one, written, lint);
        }
        if images.complete() && places.complete() {
            Subject { index, one, written }.report(images, places, lint);
        }
    }
}

fn expired(one: &Exception, written: &file::Exception, lint: &mut Lint<'_>) {
    let days = (lint.now - one.end) / DAY;
    let warning = lint.warn(LintCode::Tw808, &written.expires.span, format!("the exception {} has expired", one.id));
    warning.label = Some(match days {
        0 => "it ended within the last 24 hours".to_owned(),
        1 => "it ended a day ago".to_owned(),
        days => format!("it ended {days} days ago"),
    });
    warning.help.push("nothing is let in by it any more; take it out, or have it granted anew".to_owned());
}

fn endless(one: &Exception, written: &file::Exception, lint: &mut Lint<'_>) {
    let latest = lint.now.saturating_add(MOST_DAYS * DAY);
    let days = (one.end - 1 - lint.now) / DAY;
    let message = format!("the exception {} has no end in sight", one.id);
    let warning = lint.warn(LintCode::Tw809, &written.expires.span, message);
    warning.label = Some(format!("{days} days from now"));
    let date = Timestamp::from_second(latest).map(|moment| moment.to_zoned(TimeZone::UTC).date());
    warning.help.push(match date {
        Ok(date) => format!("grant it for {MOST_DAYS} days at most ({date}), and anew if need be"),
        Err(_) => format!("grant it for {MOST_DAYS} days at most, and anew if need be"),
    });
}

/// An exception under the lens.
struct Subject<'l> {
    index: usize,
    one: &'l Exception,
    written: &'l file::Exception,
}

/// Why a check cannot be violated.
type Reason = String;

impl Subject<'_> {
    /// What of the exception could be left out because it excuses nothing that can happen.
    fn report(&self, images: &Images, places: &Places, lint: &mut Lint<'_>) {
        if places.meets(&self.one.namespaces).is_none() {
            // A policy that applies nowhere was warned of.
            if places.meets_any() {
                let span = &self.written.namespaces.span;
                self.idle(span, "the policy applies in none of these namespaces".to_owned(), Vec::new(), lint);
            }
            return;
        }
        let globs: Vec<usize> = self.globs(lint);
        let mut reasons: Vec<Vec<Option<Reason>>> = Vec::new();
        for glob in &globs {
            let of_check = |check: &Check| self.impossible(images, lint, *glob, *check);
            reasons.push(self.one.checks.iter().map(of_check).collect());
        }
        let all: Vec<&Reason> = reasons.iter().flatten().flatten().collect();
        if all.len() == globs.len() * self.one.checks.len() {
            let label = "nothing that it names can be violated".to_owned();
            self.idle(&self.written.id.span, label, distinct(&all), lint);
            return;
        }
        for (place, text) in self.written.images.value.iter().enumerate() {
            let of_glob: Vec<&Reason> = reasons[place].iter().flatten().collect();
            if of_glob.len() == self.one.checks.len() {
                self.part(&text.span, "these images need no exception", distinct(&of_glob), lint);
            }
        }
        for (place, check) in self.written.checks.value.iter().enumerate() {
            let of_check: Vec<&Reason> = reasons.iter().filter_map(|of_glob| of_glob[place].as_ref()).collect();
            if of_check.len() == globs.len() {
                self.part(&check.span, "these images cannot violate it", distinct(&of_check), lint);
            }
        }
    }

    fn idle(&self, span: &Span, label: String, help: Vec<String>, lint: &mut Lint<'_>) {
        let message = format!("no image can meet the exception {}", self.one.id);
        let warning = lint.warn(LintCode::Tw810, span, message);
        warning.label = Some(label);
        warning.help.extend(help);
        warning.help.push("take it out, or name what it is for".to_owned());
    }

    fn part(&self, span: &Span, label: &str, help: Vec<String>, lint: &mut Lint<'_>) {
        let message = format!("no image can meet a part of the exception {}", self.one.id);
        let warning = lint.warn(LintCode::Tw810, span, message);
        warning.label = Some(label.to_owned());
        warning.help.extend(help);
        warning.help.push("take it out".to_owned());
    }

    /// Places of its globs among those of all exceptions of the policy.
    fn globs(&self, lint: &Lint<'_>) -> Vec<usize> {
        let all = lint.policy.exceptions.globs.iter().enumerate();
        all.filter(|(_, (owner, _))| *owner == self.index).map(|(place, _)| place).collect()
    }

    /// Why no image of a glob can violate a check; none: some may.
    fn impossible(&self, images: &Images, lint: &Lint<'_>, glob: usize, check: Check) -> Option<Reason> {
        let tag = lint.policy.exceptions.globs[glob].1.tag();
        if let Some(reason) = tag.and_then(|tag| never_excused(lint, tag)) {
            return Some(reason);
        }
        let mut reason = None;
        for decided in images.deciders(lint, glob) {
            // One image that may is enough.
            reason = Some(self.cannot_violate(lint, decided, tag, check)?);
        }
        reason
    }

    /// Why an image that is decided so cannot violate a check. `tag` is the exact tag of the glob, if it has one.
    fn cannot_violate(&self, lint: &Lint<'_>, decided: Decided<'_>, tag: Option<&str>, check: Check) -> Option<Reason> {
        let name = shown(decided.example);
        let Some((rule, written)) = decided.rule.map(|index| (&lint.policy.rules[index], &lint.spec().rules[index]))
        else {
            return match (check, lint.policy.allow_unmatched) {
                (Check::Registry, false) => None,
                (_, true) => Some(format!("'unmatched: allow' lets `{name}` in")),
                (_, false) => Some(format!("no rule names `{name}`, which violates the check 'registry' alone")),
            };
        };
        match check {
            Check::Registry => Some(format!("{} names `{name}`, so its registry is allowed", rule.shown)),
            Check::Tags => {
                tag.filter(|tag| lets_in(lint, rule, tag)).map(|tag| format!("{} lets in the tag `{tag}`", rule.shown))
            }
            Check::Digest | Check::Moved if !rule.literal => {
                Some(format!("{} does not spell its hosts out, so no registry is asked about `{name}`", rule.shown))
            }
            Check::Moved => tag.filter(|tag| may_move(lint, tag)).map(|tag| format!("`{tag}` is a tag that may move")),
            Check::Channel => no_channel(lint, rule, written, tag),
            Check::Labels | Check::Revision | Check::Version | Check::Platforms | Check::Age | Check::BaseImages => {
                let asks = rule.metadata.as_ref().is_some_and(|metadata| metadata.checks().any(|asked| asked == check));
                (!asks).then(|| format!("{} asks nothing of the check '{}'", rule.shown, check.name()))
            }
            _ => None,
        }
    }
}

/// Why nothing about a tag can be excused: `noExceptions` names its class.
fn never_excused(lint: &Lint<'_>, tag: &str) -> Option<Reason> {
    let excluded = with_tag(lint, tag, |tag| tag.never_excused(lint.policy))?;
    excluded.then(|| format!("'noExceptions' names a class of the tag `{tag}`"))
}

/// Whether a rule lets a tag in.
fn lets_in(lint: &Lint<'_>, rule: &Rule, tag: &str) -> bool {
    with_tag(lint, tag, |tag| tag.violates(lint.policy, rule).is_none()).unwrap_or(false)
}

/// Whether a tag floats, or is of no class that any policy knows: then nobody is told that it moved.
fn may_move(lint: &Lint<'_>, tag: &str) -> bool {
    with_tag(lint, tag, |known| known.floating || lint.all.iter().all(|policy| is_unknown(policy, tag)))
        .unwrap_or(false)
}

fn is_unknown(policy: &Policy, tag: &str) -> bool {
    let mut own = false;
    policy.tag_patterns.all_matches(tag, |id| own |= id < policy.classes.list.len());
    !own && built_in(&TagFacts::of(tag), &policy.classes).is_empty()
}

/// Why a rule finds nothing wrong with a channel.
fn no_channel(lint: &Lint<'_>, rule: &Rule, written: &file::Rule, tag: Option<&str>) -> Option<Reason> {
    let channel = &rule.channel;
    if channel.compare.is_none() && channel.environments.is_none() {
        return Some(format!("{} asks nothing of channels", rule.shown));
    }
    if !channel.written && lets_no_channel_in(rule, written, lint.policy) {
        return Some(format!("{} lets no channel in, which violates the check 'tags' alone", rule.shown));
    }
    let is_channel = tag.and_then(|tag| with_tag(lint, tag, |tag| tag.is_channel(lint.policy)));
    if let (Some(false), Some(tag)) = (is_channel, tag) {
        return Some(format!("`{tag}` is no channel"));
    }
    // A digest without a tag is judged like a channel, and is of another class.
    let excluded = lint.policy.no_exceptions.built_in.contains(Class::Channel) && !channel.covers_digests;
    excluded.then(|| "'noExceptions' names the class channel".to_owned())
}

/// Asks something about a tag as the policy sees it.
fn with_tag<T>(lint: &Lint<'_>, tag: &str, ask: impl FnOnce(&Tag<'_, '_>) -> T) -> Option<T> {
    let image = format!("registry.example.com/a:{tag}");
    let reference = Reference::parse(&image).ok()?;
    let facts = reference.tag_facts();
    let mut matched = Vec::new();
    lint.policy.tag_patterns.all_matches(tag, |id| matched.push(id));
    let floating = floats(lint, tag, &facts);
    Some(ask(&Tag { reference: &reference, facts: &facts, floating, matched: &matched }))
}

/// Each reason once, the first few.
fn distinct(reasons: &[&Reason]) -> Vec<String> {
    const SHOWN: usize = 3;
    let mut seen: Vec<String> = Vec::new();
    for reason in reasons {
        if !seen.contains(reason) {
            seen.push((*reason).clone());
        }
    }
    let more = seen.len().saturating_sub(SHOWN);
    seen.truncate(SHOWN);
    if more > 0 {
        seen.push(format!("and {more} more reasons"));
    }
    seen
}
