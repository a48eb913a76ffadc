//! Where a policy and its overrides apply: policies that no namespace can meet (TW811), overrides that cannot apply (TW812).

use std::collections::BTreeMap;

use super::images::Images;
use super::{Lint, LintCode, listed};
use crate::document::Span;
use crate::image::{Cells, Domain, NameGlob};
use crate::policy::compile::{NAME_LABEL, Override, Policy, Rule};
use crate::policy::file::{LabelSelector, Mode, SelectorOperator, Text};
use crate::policy::judge::effective_mode;
use crate::policy::{Check, Request, Stage};

/// The namespaces that a policy's globs tell apart.
pub(super) struct Places {
    cells: Cells,
    /// One of each cell where the policy applies, as far as names decide that.
    applying: Vec<String>,
    /// Why its selector can hold for no namespace, whatever its labels.
    contradiction: Option<Contradiction>,
}

/// Two demands of a selector that cannot both hold.
struct Contradiction {
    key: String,
    span: Span,
}

impl Places {
    pub fn of(lint: &mut Lint<'_>) -> Self {
        let spec = lint.spec();
        let filter = spec.namespaces.as_ref();
        let include = filter.and_then(|filter| filter.include.as_ref()).into_iter().flat_map(|list| &list.value);
        let exclude = filter.and_then(|filter| filter.exclude.as_ref()).into_iter().flatten();
        let overrides = spec.overrides.iter().flatten().flat_map(|one| &one.namespaces.value);
        let exceptions = spec.exceptions.iter().flatten().flat_map(|one| &one.namespaces.value);
        let texts = include.chain(exclude).chain(overrides).chain(exceptions).map(|text| text.value.as_str());
        let selector = filter.and_then(|filter| filter.selector.as_ref());
        let names = selector.map(|selector| demanded(selector, NAME_LABEL)).unwrap_or_default();
        let named: Vec<&str> = names.iter().flat_map(|demand| demand.values).map(String::as_str).collect();
        // A value that is no glob is no name either.
        let globs: Vec<NameGlob> = texts.chain(named).filter_map(|text| NameGlob::parse(text).ok()).collect();
        let patterns: Vec<String> = globs.iter().map(NameGlob::to_regex).collect();
        let samples = globs.iter().map(|glob| glob.as_str().replace('*', "app"));
        let samples: Vec<String> = ["default".to_owned()].into_iter().chain(samples).collect();
        let cells = Cells::of(Domain::Namespaces, &patterns, &samples);
        if !cells.complete {
            lint.undecided(
                &lint.written.metadata.name.span,
                "in which namespaces the policy, its overrides and exceptions apply",
            );
        }
        let applying = cells.list.iter().map(|cell| &cell.example).filter(|name| applies(lint.policy, name));
        Places { applying: applying.cloned().collect(), cells, contradiction: selector.and_then(contradiction) }
    }

    /// Whether all namespaces that there can be were looked at.
    pub fn complete(&self) -> bool {
        self.cells.complete
    }

    /// A namespace where the policy applies and one of these globs matches.
    pub fn meets(&self, globs: &[NameGlob]) -> Option<&str> {
        self.applying.iter().find(|name| globs.iter().any(|glob| glob.matches(name))).map(String::as_str)
    }

    /// Whether the policy applies in some namespace.
    pub fn meets_any(&self) -> bool {
        !self.applying.is_empty() && self.contradiction.is_none()
    }

    /// The strictest mode that a check has anywhere, under a rule or where none decided.
    pub fn strictest(&self, lint: &Lint<'_>, ruling: Option<(usize, &Rule)>, check: Check) -> Mode {
        let everywhere = self.applying.iter().map(|name| Some(name.as_str())).chain([None]);
        let modes = everywhere.map(|name| effective_mode(lint.policy, lint.settings.max_mode, name, ruling, check));
        modes.max().unwrap_or(Mode::Audit)
    }

    /// Reports a policy that no namespace can meet; whether some can, or that is not decided.
    pub fn report(&self, lint: &mut Lint<'_>) -> bool {
        if !self.complete() || (self.contradiction.is_none() && !self.applying.is_empty()) {
            return true;
        }
        let Some(filter) = &lint.spec().namespaces else { return true };
        let (span, label, help) = match &self.contradiction {
            Some(Contradiction { key, span }) => {
                (span.clone(), format!("no value of '{key}' meets all that the selector demands"), None)
            }
            None => {
                let names = filter.selector.as_ref().map(|selector| demanded(selector, NAME_LABEL)).unwrap_or_default();
                let exclude = filter.exclude.as_deref().unwrap_or_default();
                let first = names.first().map(|demand| demand.span).or(filter.include.as_ref().map(|list| &list.span));
                let span = first.or(exclude.first().map(|text| &text.span)).cloned().unwrap_or(0..0);
                let label = match (names.is_empty(), &filter.include) {
                    (true, Some(_)) => "every namespace that 'include' names is excluded",
                    (true, None) => "every namespace is excluded",
                    (false, _) => "'include' and 'exclude' leave no namespace of such a name",
                };
                (span, label.to_owned(), self.excluded(lint, exclude))
            }
        };
        let message = format!("no namespace can meet the policy {}", lint.policy.name);
        let warning = lint.warn(LintCode::Tw811, &span, message);
        warning.label = Some(label);
        warning.help.extend(help);
        warning
            .help
            .push("only objects outside namespaces are judged by it; loosen 'namespaces', or take it out".to_owned());
        false
    }

    /// A namespace that would be included, and what excludes it.
    fn excluded(&self, lint: &Lint<'_>, exclude: &[Text]) -> Option<String> {
        let include = lint.policy.namespaces.include.as_ref();
        let included = |name: &str| include.is_none_or(|globs| globs.iter().any(|glob| glob.matches(name)));
        let names = self.cells.list.iter().map(|cell| cell.example.as_str()).filter(|name| included(name));
        let excluding =
            |name: &str| exclude.iter().find(|text| NameGlob::parse(&text.value).is_ok_and(|glob| glob.matches(name)));
        let (name, by) = names.filter_map(|name| Some((name, excluding(name)?))).next()?;
        Some(format!("`{name}` is excluded by \"{}\"", by.value))
    }

    pub fn report_overrides(&self, images: &Images, lint: &mut Lint<'_>) {
        if !self.complete() {
            return;
        }
        let written = lint.spec().overrides.as_deref().unwrap_or_default();
        for (index, (one, written)) in lint.policy.overrides.iter().zip(written).enumerate() {
            let Some((label, help)) = self.dead(lint.policy, images, index, one) else { continue };
            let message = format!("override {} cannot apply", index + 1);
            let warning = lint.warn(LintCode::Tw812, &written.namespaces.span, message);
            warning.label = Some(label);
            warning.help.extend(help);
            warning.help.push("take it out, or put it where it decides".to_owned());
        }
    }

    /// Why an override decides nothing, if it does not, and a case.
    fn dead(&self, policy: &Policy, images: &Images, index: usize, one: &Override) -> Option<(String, Option<String>)> {
        let rules = one.rules.as_ref();
        if rules.is_some_and(|rules| !rules.iter().any(|rule| images.reaches(*rule))) {
            return Some(("the rules it names can never be reached".to_owned(), None));
        }
        let about = |name: &&String| one.namespaces.iter().any(|glob| glob.matches(name));
        if !self.applying.iter().any(|name| about(&name)) {
            let example = self.cells.list.iter().map(|cell| &cell.example).find(about);
            let help = example.map(|name| format!("the policy does not apply in `{name}`"));
            return Some(("the policy applies in none of these namespaces".to_owned(), help));
        }
        let targets: Vec<Option<usize>> = match rules {
            Some(rules) => rules.iter().copied().filter(|rule| images.reaches(*rule)).map(Some).collect(),
            None => (0..policy.rules.len()).filter(|rule| images.reaches(*rule)).map(Some).chain([None]).collect(),
        };
        let first = |name: &str, target: Option<usize>| {
            policy.overrides.iter().position(|known| known.is_about(Some(name), target))
        };
        let mut deciding = Vec::new();
        for name in self.applying.iter().filter(about) {
            for target in &targets {
                match first(name, *target) {
                    Some(earlier) if earlier < index => deciding.push((earlier, name)),
                    _ => return None,
                }
            }
        }
        let example = deciding.first().map(|(earlier, name)| format!("in `{name}` override {} decides", earlier + 1));
        let mut earlier: Vec<usize> = deciding.iter().map(|(earlier, _)| earlier + 1).collect();
        earlier.sort_unstable();
        earlier.dedup();
        let shown: Vec<String> = earlier.iter().map(|number| format!("override {number}")).collect();
        let decides = if shown.len() == 1 { "decides" } else { "decide" };
        Some((format!("{} {decides} wherever it would", listed(&shown)), example))
    }
}

/// Whether the policy applies to objects in a namespace of this name, whatever its labels.
fn applies(policy: &Policy, namespace: &str) -> bool {
    policy.namespaces.applies(&Request {
        kind: "Pod",
        namespace: Some(namespace),
        name: "",
        namespace_labels: None,
        is_pod: true,
        stage: Stage::Offline,
        environment: None,
        beside: &[],
        governed: crate::policy::Governed::default(),
        now: 0,
    })
}

/// One demand on a label.
struct Demand<'s> {
    span: &'s Span,
    operator: SelectorOperator,
    values: &'s [String],
}

/// All demands of a selector on one label.
fn demanded<'s>(selector: &'s LabelSelector, key: &str) -> Vec<Demand<'s>> {
    demands(selector).remove(key).unwrap_or_default()
}

/// All demands of a selector, by label.
fn demands(selector: &LabelSelector) -> BTreeMap<&str, Vec<Demand<'_>>> {
    let mut all: BTreeMap<&str, Vec<Demand<'_>>> = BTreeMap::new();
    for (key, value) in selector.match_labels.iter().flat_map(|table| &table.0) {
        let demand = Demand { span: &key.span, operator: SelectorOperator::In, values: std::slice::from_ref(value) };
        all.entry(&key.value).or_default().push(demand);
    }
    for expression in selector.match_expressions.iter().flatten() {
        let values = expression.values.as_deref().unwrap_or_default();
        let demand = Demand { span: &expression.key.span, operator: expression.operator.value, values };
        all.entry(&expression.key.value).or_default().push(demand);
    }
    all
}

/// Demands on one label that no value meets. The label that is the name is left to the namespaces there are.
fn contradiction(selector: &LabelSelector) -> Option<Contradiction> {
    let impossible = |demands: &[Demand<'_>]| {
        let of = |operator| demands.iter().filter(move |demand| demand.operator == operator);
        let absent = of(SelectorOperator::DoesNotExist).next().is_some();
        let present = of(SelectorOperator::Exists).chain(of(SelectorOperator::In)).next().is_some();
        let fits = |value: &String| {
            of(SelectorOperator::In).all(|demand| demand.values.contains(value))
                && !of(SelectorOperator::NotIn).any(|demand| demand.values.contains(value))
        };
        let no_value = of(SelectorOperator::In).next().is_some_and(|first| !first.values.iter().any(fits));
        (absent && present) || no_value
    };
    let found = demands(selector).into_iter().filter(|(key, _)| *key != NAME_LABEL).find(|(_, all)| impossible(all));
    let (key, demands) = found?;
    Some(Contradiction { key: key.to_owned(), span: demands.last()?.span.clone() })
}
