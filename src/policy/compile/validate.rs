//! From a policy as written to a policy that can judge; every problem is noted, none stops the others.

use super::problems::{check_pattern, inside, not_empty, not_supported, unknown_class};
use super::rules;
use super::{
    AllowOrDeny, ClassNames, Labels, NAME_LABEL, NamespaceFilter, Override, OwnClass, OwnClasses, Owner, Policy,
    Settings, TrustedLabels, says,
};
use crate::document::{Reader, Spanned, nearest};
use crate::image::{Class, GlobSet, ImageGlob, NameGlob};
use crate::policy::Check;
use crate::policy::exception::{Exception, Exceptions, end_of};
use crate::policy::file::{self, CheckName, LabelSelector, PolicyDocument, SelectorOperator, Text};

/// Compiles one policy. None after at least one error was noted.
pub(super) fn policy(
    read: &PolicyDocument,
    hash: String,
    settings: &Settings,
    reader: &mut Reader<'_>,
) -> Option<Policy> {
    let before = reader.diagnostics.len();
    let spec = &read.spec;
    check_name(&read.metadata.name, reader);
    if let Some(existing) = &spec.existing {
        not_supported(reader, existing.span.clone(), "the key 'existing'");
    }
    let namespaces = namespaces(spec.namespaces.as_ref(), settings, reader);
    let classes = own_classes(spec.tag_classes.as_ref(), reader);
    let compiled = rules::compile(&spec.rules, &classes, settings, reader);
    let overrides = overrides(spec.overrides.as_deref().unwrap_or_default(), &spec.rules, reader);
    let no_exceptions = class_names(spec.no_exceptions.as_deref().unwrap_or_default(), &classes, reader);
    let exceptions = exceptions(spec.exceptions.as_deref().unwrap_or_default(), reader);
    if reader.diagnostics.len() > before {
        return None;
    }
    let owner = spec.owner.as_ref();
    Some(Policy {
        name: read.metadata.name.value.clone(),
        hash,
        mode: spec.mode,
        owner: Owner {
            contact: owner.and_then(|o| o.contact.clone().or_else(|| o.team.clone())),
            docs: owner.and_then(|o| o.docs.clone()),
        },
        namespaces,
        allow_unmatched: says(spec.unmatched.as_ref(), AllowOrDeny::Allow),
        deny_short_names: says(spec.short_names.as_ref(), AllowOrDeny::Deny),
        classes,
        rules: compiled.rules,
        images: compiled.images?,
        rule_of_glob: compiled.rule_of_glob,
        globs: compiled.globs,
        names: compiled.names,
        literal_hosts: compiled.literal_hosts,
        fact_hosts: compiled.fact_hosts,
        tag_patterns: compiled.tag_patterns?,
        patterns: compiled.patterns,
        overrides,
        no_exceptions,
        exceptions: exceptions?,
    })
}

/// Names are those of Kubernetes objects: DNS subdomains.
fn check_name(name: &Text, reader: &mut Reader<'_>) {
    let label = |label: &str| {
        let edge = |b: Option<&u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        let bytes = label.as_bytes();
        edge(bytes.first())
            && edge(bytes.last())
            && bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-')
    };
    if name.value.len() > 253 || !name.value.split('.').all(label) {
        let error = reader.error(name.span.clone(), "not a name that a Kubernetes object can have");
        error.help.push("use lower-case letters, digits, '-' and '.', with a letter or digit at both ends".to_owned());
    }
}

/// Reads namespace globs; those that are none are noted.
fn name_globs(texts: &[Text], reader: &mut Reader<'_>) -> Vec<NameGlob> {
    let mut globs = Vec::with_capacity(texts.len());
    for text in texts {
        match NameGlob::parse(&text.value) {
            Ok(glob) => globs.push(glob),
            Err(error) => inside(reader, text, &error),
        }
    }
    globs
}

pub(super) fn namespaces(
    read: Option<&file::Namespaces>,
    settings: &Settings,
    reader: &mut Reader<'_>,
) -> NamespaceFilter {
    let include = read.and_then(|n| n.include.as_ref()).map(|list| {
        not_empty(list, "namespace", reader);
        name_globs(&list.value, reader)
    });
    let exclude = read.and_then(|n| n.exclude.as_deref()).map(|texts| name_globs(texts, reader)).unwrap_or_default();
    let selector = read.and_then(|n| n.selector.as_ref()).map(|selector| Selector::new(selector, settings, reader));
    NamespaceFilter { include, exclude, selector }
}

/// A compiled Kubernetes label selector: all demands must hold.
#[derive(Clone, Debug)]
pub(crate) struct Selector(Vec<Demand>);

#[derive(Clone, Debug)]
struct Demand {
    key: String,
    operator: SelectorOperator,
    values: Vec<String>,
}

impl Selector {
    fn new(read: &LabelSelector, settings: &Settings, reader: &mut Reader<'_>) -> Self {
        let mut demands = Vec::new();
        for (key, value) in read.match_labels.iter().flat_map(|table| &table.0) {
            trusted(key, settings, reader);
            let values = vec![value.clone()];
            demands.push(Demand { key: key.value.clone(), operator: SelectorOperator::In, values });
        }
        for expression in read.match_expressions.iter().flatten() {
            trusted(&expression.key, settings, reader);
            let values = expression.values.clone().unwrap_or_default();
            let operator = expression.operator.value;
            let wants_values = matches!(operator, SelectorOperator::In | SelectorOperator::NotIn);
            if wants_values && values.is_empty() {
                let message = format!("the operator {} needs 'values' with at least one value", operator.name());
                reader.error(expression.operator.span.clone(), message);
            }
            if !wants_values && !values.is_empty() {
                let message = format!("the operator {} takes no 'values'", operator.name());
                reader.error(expression.operator.span.clone(), message);
            }
            demands.push(Demand { key: expression.key.value.clone(), operator, values });
        }
        Selector(demands)
    }

    /// Whether more than the namespace's name is asked for.
    pub fn needs_labels(&self) -> bool {
        self.0.iter().any(|demand| demand.key != NAME_LABEL)
    }

    /// Why a namespace matches, or the demand that it does not meet; for people.
    pub fn reason(&self, namespace: &str, labels: Option<&Labels>) -> String {
        let value = |demand: &Demand| match demand.key == NAME_LABEL {
            true => Some(namespace),
            false => labels.and_then(|labels| labels.get(&demand.key)).map(String::as_str),
        };
        let known = |demand: &&Demand| labels.is_some() || demand.key == NAME_LABEL;
        match self.0.iter().filter(known).find(|demand| !demand.holds(value(demand))) {
            Some(demand) => {
                let has = value(demand).map_or("does not have it".to_owned(), |value| format!("has {value}"));
                format!("the selector demands {}, and the namespace {has}", demand.shown())
            }
            None if self.0.iter().all(|demand| known(&demand)) => "its labels meet the selector".to_owned(),
            None => "its labels are not known, so the selector is taken to match".to_owned(),
        }
    }

    /// Whether a namespace matches. A demand on a label that is not known is taken to hold.
    pub fn matches(&self, namespace: &str, labels: Option<&Labels>) -> bool {
        self.0.iter().all(|demand| {
            if demand.key == NAME_LABEL {
                return demand.holds(Some(namespace));
            }
            labels.is_none_or(|labels| demand.holds(labels.get(&demand.key).map(String::as_str)))
        })
    }
}

impl Demand {
    /// `environment In (prod, staging)`.
    fn shown(&self) -> String {
        let (key, operator) = (super::super::printable(&self.key, 100), self.operator.name());
        if self.values.is_empty() {
            return format!("{key} {operator}");
        }
        format!("{key} {operator} ({})", super::super::printable(&self.values.join(", "), 200))
    }

    fn holds(&self, value: Option<&str>) -> bool {
        let listed = value.is_some_and(|value| self.values.iter().any(|v| v == value));
        match self.operator {
            SelectorOperator::In => listed,
            SelectorOperator::NotIn => !listed,
            SelectorOperator::Exists => value.is_some(),
            SelectorOperator::DoesNotExist => value.is_none(),
        }
    }
}

/// Whoever may set a label that decides could leave the policy, so only trusted keys may decide.
pub(crate) fn trusted(key: &Text, settings: &Settings, reader: &mut Reader<'_>) {
    let TrustedLabels::Only(keys) = &settings.trusted_labels else {
        return;
    };
    if key.value == NAME_LABEL || keys.contains(&key.value) {
        return;
    }
    let shown = super::super::printable(&key.value, 60);
    let error = reader.error(key.span.clone(), format!("the namespace label '{shown}' is not trusted"));
    error.help.push(match keys.is_empty() {
        true => "name it in trustedNamespaceLabels, if only admins may set it".to_owned(),
        false => format!("trustedNamespaceLabels names: {}", keys.join(", ")),
    });
}

fn own_classes(read: Option<&crate::document::Table<file::TagClass>>, reader: &mut Reader<'_>) -> OwnClasses {
    let mut classes = OwnClasses::default();
    for (name, class) in read.iter().flat_map(|table| &table.0) {
        let fits = name.value.starts_with(|c: char| c.is_ascii_lowercase())
            && name.value.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if !fits {
            let error = reader.error(name.span.clone(), "not a name for a tag class");
            error.help.push("use lower-case letters, digits and '-', beginning with a letter".to_owned());
        }
        check_pattern(&class.pattern, reader);
        if let Some(built_in) = Class::from_name(&name.value) {
            classes.replaced = classes.replaced.with(built_in);
        }
        classes.list.push(OwnClass {
            name: name.value.clone(),
            pattern: class.pattern.value.clone(),
            floating: class.floating.unwrap_or(false),
        });
    }
    classes
}

/// Reads names of tag classes.
fn class_names(texts: &[Text], own: &OwnClasses, reader: &mut Reader<'_>) -> ClassNames {
    let mut names = ClassNames::default();
    for text in texts {
        if !names.add(&text.value, own) {
            unknown_class(text, own, "a tag class", reader);
        }
    }
    names
}

impl ClassNames {
    /// Puts a class in by its name; false: there is none of that name. An own class hides a built-in one.
    pub(in crate::policy) fn add(&mut self, name: &str, own: &OwnClasses) -> bool {
        if let Some(index) = own.list.iter().position(|class| class.name == name) {
            self.own.push(index);
            return true;
        }
        match Class::from_name(name) {
            Some(class) => self.built_in = self.built_in.with(class),
            None => return false,
        }
        true
    }

    /// Whether every class of `others` is among them.
    pub(super) fn holds(&self, others: &ClassNames) -> bool {
        others.built_in.iter().all(|class| self.built_in.contains(class))
            && others.own.iter().all(|own| self.own.contains(own))
    }
}

fn overrides(read: &[file::Override], rules: &[file::Rule], reader: &mut Reader<'_>) -> Vec<Override> {
    let mut overrides = Vec::with_capacity(read.len());
    for one in read {
        not_empty(&one.namespaces, "namespace", reader);
        let namespaces = name_globs(&one.namespaces.value, reader);
        let indexes = one
            .rules
            .as_ref()
            .map(|names| names.iter().filter_map(|name| rule_of_name(name, rules, reader)).collect::<Vec<usize>>());
        overrides.push(Override { namespaces, rules: indexes, mode: one.mode });
    }
    overrides
}

fn rule_of_name(name: &Text, rules: &[file::Rule], reader: &mut Reader<'_>) -> Option<usize> {
    let named = |rule: &file::Rule| rule.name.as_ref().map(|n| n.value.clone());
    let index = rules.iter().position(|rule| named(rule).as_deref() == Some(name.value.as_str()));
    if index.is_none() {
        let names: Vec<String> = rules.iter().filter_map(named).collect();
        let known: Vec<&str> = names.iter().map(String::as_str).collect();
        let shown = super::super::printable(&name.value, 60);
        let error = reader.error(name.span.clone(), format!("there is no rule of the name '{shown}'"));
        error.help.push(match nearest(&name.value, &known) {
            Some(near) => format!("did you mean '{near}'?"),
            None if known.is_empty() => "give the rule a name first".to_owned(),
            None => format!("rules with a name: {}", known.join(", ")),
        });
    }
    index
}

fn exceptions(read: &[file::Exception], reader: &mut Reader<'_>) -> Option<Exceptions> {
    let mut list: Vec<Exception> = Vec::with_capacity(read.len());
    let mut globs = Vec::new();
    for (index, one) in read.iter().enumerate() {
        if one.id.value.is_empty() || !one.id.value.bytes().all(|b| b.is_ascii_graphic()) {
            reader.error(one.id.span.clone(), "an exception's id is printable ASCII without spaces");
        }
        if list.iter().any(|known| known.id == one.id.value) {
            reader.error(one.id.span.clone(), format!("the exception '{}' stands twice", one.id.value));
        }
        for (key, text) in [("owner", &one.owner), ("ticket", &one.ticket), ("reason", &one.reason)] {
            if text.trim().is_empty() {
                reader.error(one.id.span.clone(), format!("the exception '{}' has an empty '{key}'", one.id.value));
            }
        }
        not_empty(&one.images, "image", reader);
        not_empty(&one.namespaces, "namespace", reader);
        not_empty(&one.checks, "check", reader);
        for text in &one.images.value {
            match ImageGlob::parse_with_tag(&text.value) {
                Ok(glob) => globs.push((index, glob)),
                Err(error) => inside(reader, text, &error),
            }
        }
        let end = end_of(&one.expires.value);
        if end.is_none() {
            let error = reader.error(one.expires.span.clone(), "not a day or a moment");
            error.help.push("write a day, 2026-12-31, or a moment, 2026-12-31T12:00:00Z".to_owned());
        }
        list.push(Exception {
            id: one.id.value.clone(),
            namespaces: name_globs(&one.namespaces.value, reader),
            checks: one.checks.value.iter().filter_map(|check| excusable(check, reader)).collect(),
            expires: one.expires.value.clone(),
            end: end.unwrap_or_default(),
        });
    }
    let patterns: Vec<String> = globs.iter().map(|(_, glob)| glob.to_regex()).collect();
    match GlobSet::new(&patterns) {
        Ok(automaton) => Some(Exceptions { list, globs, automaton }),
        Err((_, message)) => {
            let at = read.first().map_or(0..0, |one| one.images.span.clone());
            reader.error(at, format!("the images of the exceptions do not compile together: {message}"));
            None
        }
    }
}

/// The checks whose violations can be excused.
fn excusable(check: &Spanned<CheckName>, reader: &mut Reader<'_>) -> Option<Check> {
    let known = match check.value {
        CheckName::Reference => {
            let error = reader.error(check.span.clone(), "the check 'reference' cannot be excepted");
            error.help.push("write the image as a plain reference instead".to_owned());
            return None;
        }
        name => name.check(),
    };
    if known.is_none() {
        not_supported(reader, check.span.clone(), &format!("the check '{}'", check.value.name()));
    }
    known
}
