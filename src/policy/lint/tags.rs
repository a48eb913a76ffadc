//! What the entries of a rule's `tags` let in: those that add nothing (TW803, TW807), and tags that move (TW813).

use std::collections::HashMap;
use std::rc::Rc;

use super::images::Images;
use super::namespaces::Places;
use super::patterns::{Matches, Patterns};
use super::{Lint, LintCode, listed};
use crate::image::{Cells, Class, Classes, Domain, Reference, Refinement, TagFacts, is_pattern, tag_class_patterns};
use crate::policy::Check;
use crate::policy::compile::{ClassNames, Policy, Rule, Tags};
use crate::policy::file::{self, Mode, Pin, Text};
use crate::policy::tags::{Tag, built_in};

/// Tags that examples show rather than others.
const SAMPLES: [&str; 12] = [
    "latest",
    "main",
    "env-prod",
    "v1.2.3",
    "v1.2.3-rc.1",
    "1.2.3",
    "4f2a1b0",
    "git-4f2a1b04f2a1b04f2a1b04f2a1b04f2a1b04f2a1",
    "2026-01-31",
    "1.2",
    "20260131",
    "env-",
];

/// What a list of entries lets in; rules of one policy that list the same share it.
#[derive(Default)]
struct Admitted {
    /// Whether all tags there are were looked at.
    complete: bool,
    /// One tag of each kind that they tell apart.
    kinds: Vec<Kind>,
}

struct Kind {
    example: String,
    /// Entries that let it in, ascending.
    by: Vec<usize>,
    /// Its classes that move.
    moving: Vec<String>,
}

pub(super) fn report(images: &Images, places: &Places, patterns: &mut Patterns, lint: &mut Lint<'_>) {
    let mut known: HashMap<(Vec<&str>, bool), Rc<Admitted>> = HashMap::new();
    let mut refinements = Refinements::default();
    for (index, written, rule) in lint.reachable(images) {
        let Some(list) = &written.tags else { continue };
        let entries: Vec<&str> = list.value.iter().map(|text| text.value.as_str()).collect();
        // Beside the entries only this decides about a tag: whether a channel may be judged by its text.
        let asks = rule.channel.by_text || rule.channel.compare.is_some();
        let is_new = !known.contains_key(&(entries.clone(), asks));
        let look = || Rc::new(Admitted::of(lint.policy, rule, &list.value, &mut refinements).unwrap_or_default());
        let admitted = known.entry((entries, asks)).or_insert_with(look);
        let admitted = Rc::clone(admitted);
        let matches: Vec<Matches> = list
            .value
            .iter()
            .map(|text| if is_pattern(&text.value) { patterns.report(text, lint) } else { Matches::Some })
            .collect();
        // A pattern that is too large by itself was noted.
        let of_classes = lint.policy.classes.list.iter().map(|class| patterns.matches(&class.pattern));
        if !admitted.complete && is_new && matches.iter().copied().chain(of_classes).all(|one| one != Matches::Unknown)
        {
            lint.undecided(&list.span, &format!("what the tags of {} let in", rule.shown));
        }
        if admitted.complete {
            idle_entries(&admitted, &list.value, &matches, lint);
        }
        if rule.pin == Pin::None && places.strictest(lint, Some((index, rule)), Check::Tags) == Mode::Enforce {
            moving_tags(&admitted, &list.value, rule, lint);
        }
    }
}

/// What tells tags apart in all rules of a policy: its own classes, and those built-in ones that decide.
#[derive(Default)]
struct Refinements(Vec<(Classes, Refinement)>);

impl Refinements {
    /// Own classes have their ids in it. None: too large.
    fn of(&mut self, policy: &Policy, decisive: Classes) -> Option<&mut Refinement> {
        let known = self.0.iter().position(|(classes, _)| *classes == decisive);
        let index = match known {
            Some(index) => index,
            None => {
                let own = policy.classes.list.iter().map(|class| class.pattern.clone());
                let mut patterns: Vec<String> = own.collect();
                patterns.extend(tag_class_patterns(decisive));
                patterns.push("env-.*".to_owned());
                self.0.push((decisive, Refinement::of(&patterns)?));
                self.0.len() - 1
            }
        };
        self.0.get_mut(index).map(|(_, refinement)| refinement)
    }
}

impl Admitted {
    fn of(policy: &Policy, rule: &Rule, list: &[Text], refinements: &mut Refinements) -> Option<Self> {
        let Tags::Listed { classes, patterns } = &rule.tags else { return None };
        // What decides whether a tag is let in, or moves: see `Tag::violates`.
        let decisive =
            [Class::Channel, Class::Latest, Class::Floating].into_iter().fold(classes.built_in, Classes::with);
        let refinement = refinements.of(policy, decisive)?;
        let written: Vec<&str> = list.iter().map(|text| text.value.as_str()).filter(|text| is_pattern(text)).collect();
        let cells = Cells::refined(Domain::Tags, refinement, &written, &SAMPLES);
        let alone = each_alone(policy, rule, list);
        let own = policy.classes.list.len();
        let kinds = cells.list.into_iter().filter_map(|cell| {
            let image = format!("registry.example.com/a:{}", cell.example);
            let reference = Reference::parse(&image).ok()?;
            let facts = reference.tag_facts();
            let of_rule = cell.matched.iter().filter_map(|at| patterns.get(*at));
            let matched: Vec<usize> = cell.refined.iter().filter(|id| **id < own).chain(of_rule).copied().collect();
            let tag = Tag { reference: &reference, facts: &facts, floating: true, matched: &matched };
            let by = (0..alone.len()).filter(|entry| tag.violates(policy, &alone[*entry]).is_none()).collect();
            Some(Kind { by, moving: moving_classes(policy, &facts, &matched), example: cell.example })
        });
        Some(Admitted { kinds: kinds.collect(), complete: cells.complete })
    }
}

/// The rule once for each of its entries, as if that stood alone.
fn each_alone(policy: &Policy, rule: &Rule, entries: &[Text]) -> Vec<Rule> {
    let Tags::Listed { patterns, .. } = &rule.tags else { return Vec::new() };
    let mut patterns = patterns.iter();
    let alone = |text: &Text| {
        let mut classes = ClassNames::default();
        let pattern = match is_pattern(&text.value) {
            true => patterns.next().copied(),
            false => {
                classes.add(&text.value, &policy.classes);
                None
            }
        };
        Rule { tags: Tags::Listed { classes, patterns: pattern.into_iter().collect() }, ..rule.clone() }
    };
    entries.iter().map(alone).collect()
}

/// Names of a tag's classes that move.
fn moving_classes(policy: &Policy, facts: &TagFacts<'_>, matched: &[usize]) -> Vec<String> {
    let own = matched.iter().filter_map(|id| policy.classes.list.get(*id)).filter(|class| class.floating);
    let mut built_in = built_in(facts, &policy.classes);
    if built_in.contains(Class::Latest) {
        // Every `latest` is of both, and who names the one does not mean `main`.
        built_in = built_in.without(Class::Floating);
    }
    let built_in = built_in.iter().filter(|class| class.is_floating());
    own.map(|class| class.name.clone()).chain(built_in.map(|class| class.name().to_owned())).collect()
}

/// Entries that could be left out.
fn idle_entries(admitted: &Admitted, entries: &[Text], matches: &[Matches], lint: &mut Lint<'_>) {
    for (entry, text) in entries.iter().enumerate() {
        if let Some(same) = entries[..entry].iter().find(|earlier| earlier.value == text.value) {
            let warning = lint.warn(LintCode::Tw803, &text.span, format!("'{}' adds nothing here", text.value));
            warning.label = Some(format!("'{}' stands before it", same.value));
            warning.help.push("take it out".to_owned());
            continue;
        }
        // What these stand for is more than the tags they let in: digests without a tag.
        let is_more = [Class::Channel, Class::Digest].iter().any(|class| class.name() == text.value);
        if is_more || matches[entry] == Matches::Nothing {
            continue;
        }
        let lets_in = || admitted.kinds.iter().filter(|kind| kind.by.contains(&entry));
        if lets_in().next().is_none() {
            if is_pattern(&text.value) {
                by_name_only(text, lint);
            }
            continue;
        }
        if !lets_in().all(|kind| kind.by.first().is_some_and(|first| *first < entry)) {
            continue;
        }
        let mut earlier: Vec<usize> = lets_in().filter_map(|kind| kind.by.first().copied()).collect();
        earlier.sort_unstable();
        earlier.dedup();
        // A pattern that lets everything in was warned of: it is the cause.
        if earlier.iter().any(|earlier| matches[*earlier] == Matches::Everything) {
            continue;
        }
        let shown: Vec<String> = earlier.iter().map(|earlier| format!("'{}'", entries[*earlier].value)).collect();
        let lets = if shown.len() == 1 { "lets" } else { "let" };
        let witness = lets_in()
            .next()
            .zip(shown.first())
            .map(|(kind, by)| format!("`{}` is already let in by {by}", kind.example));
        let warning = lint.warn(LintCode::Tw803, &text.span, format!("'{}' adds nothing here", text.value));
        warning.label = Some(format!("{} {lets} all of it in", listed(&shown)));
        warning.help.extend(witness);
        warning.help.push("take it out".to_owned());
    }
}

/// A pattern that matches tags, and lets none in.
fn by_name_only(text: &Text, lint: &mut Lint<'_>) {
    let warning = lint.warn(LintCode::Tw807, &text.span, "this pattern lets in no tag");
    warning.label = Some("all that it matches needs more than a pattern".to_owned());
    warning.help.push("'latest' and 'floating' are let in by the names of their classes alone, and what begins with env- only as a channel".to_owned());
}

/// Tags that move, let in where that is enforced, by a rule that does not pin.
fn moving_tags(admitted: &Admitted, entries: &[Text], rule: &Rule, lint: &mut Lint<'_>) {
    let moving = || admitted.kinds.iter().filter(|kind| !kind.by.is_empty() && !kind.moving.is_empty());
    let Some(entry) = moving().filter_map(|kind| kind.by.first()).min() else { return };
    let Some(example) = moving().find(|kind| kind.by.contains(entry)).map(|kind| &kind.example) else { return };
    let mut classes: Vec<&str> = moving().flat_map(|kind| &kind.moving).map(String::as_str).collect();
    classes.sort_unstable();
    classes.dedup();
    let witness = format!("`{example}` is let in, and a node that pulls it later runs what it carries then");
    let message = format!("{} lets in tags that move, and does not pin them", rule.shown);
    let warning = lint.warn(LintCode::Tw813, &entries[*entry].span, message);
    warning.label = Some(match classes.as_slice() {
        [only] => format!("tags of class {only} move"),
        several => format!("tags of classes {} move", listed(several)),
    });
    warning.help.push(witness);
    warning.help.push(match rule.literal {
        true => "add 'pin: pods', so that Pods run the digest that was judged".to_owned(),
        false => {
            "name the hosts of such images in a rule of their own with 'pin: pods', or leave the class out".to_owned()
        }
    });
}

/// Whether a tag floats in any policy of a set.
pub(super) fn floats(lint: &Lint<'_>, tag: &str, facts: &TagFacts<'_>) -> bool {
    lint.all.iter().any(|policy| {
        let mut matched = Vec::new();
        policy.tag_patterns.all_matches(tag, |id| matched.push(id));
        !moving_classes(policy, facts, &matched).is_empty()
    })
}

/// Whether `tags` of a rule names no class of channels and no pattern that could match one.
pub(super) fn lets_no_channel_in(rule: &Rule, written: &file::Rule, policy: &Policy) -> bool {
    // An own class may have any tags, those of channels among them.
    let has_own = policy.classes.list.iter().any(|class| class.name == Class::Channel.name());
    match (&rule.tags, &written.tags) {
        (Tags::Listed { classes, patterns }, Some(_)) => {
            !has_own && !classes.built_in.contains(Class::Channel) && classes.own.is_empty() && patterns.is_empty()
        }
        _ => !has_own && !policy.classes.replaced.contains(Class::Channel),
    }
}
