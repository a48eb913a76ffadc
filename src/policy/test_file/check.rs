//! What only the whole of a file of tests shows: cases that ask for what cannot be, and names that nothing has.

use std::collections::BTreeSet;

use super::{Case, Expectation, Table, TestDocument, TestFile, Text};
use crate::document::{Diagnostic, Reader, Source, Spanned, nearest};
use crate::image::Reference;
use crate::policy::compile::NAME_LABEL;
use crate::policy::{FactsFile, PolicySet, Releases, Settings, printable};

/// The file as it is used; what is wrong with it is noted.
pub(super) fn file(read: TestDocument, reader: &mut Reader<'_>) -> TestFile {
    if is_empty(&read.policies, reader) {
        let error = reader.error(read.policies.span, "no policy is tested here");
        error.help.push("name at least one file or directory of policies".to_owned());
    }
    if is_empty(&read.cases, reader) {
        let error = reader.error(read.cases.span, "a file of tests without a case tests nothing");
        error.help.push("write a case: {image: \"registry.example.com/acme/api:latest\", expect: deny}".to_owned());
    }
    if let (Some(config), Some(_)) = (&read.config, &read.settings) {
        let error = reader.error(config.span.clone(), "'config' and 'settings' say the same thing twice");
        error.help.push("keep one of them".to_owned());
    }
    let registry = read.registry.map(|registry| {
        let mut facts = FactsFile::default();
        facts.add(&registry, reader);
        facts
    });
    let mut names = BTreeSet::new();
    for one in &read.cases.value {
        case(one, registry.is_some(), &mut names, reader);
    }
    TestFile {
        policies: read.policies.value,
        releases: releases(read.releases, reader),
        governing: Releases::default(),
        config: read.config,
        has_settings: read.settings.is_some(),
        settings: read.settings.map_or_else(Settings::default, |settings| settings.value.into()),
        cases: read.cases.value,
        now: read.now.0,
        namespaces: namespaces(read.namespaces, reader),
        registry,
    }
}

/// The release files; naming none is the same as leaving the key out, and must not look like more.
fn releases(read: Option<Spanned<Vec<Text>>>, reader: &mut Reader<'_>) -> Vec<Text> {
    let Some(read) = read else { return Vec::new() };
    if is_empty(&read, reader) {
        let error = reader.error(read.span, "no release file is named here");
        error.help.push("name at least one, or take the key out: then no release governs".to_owned());
    }
    read.value
}

fn namespaces(
    read: Option<Table<super::NamespaceFacts>>,
    reader: &mut Reader<'_>,
) -> std::collections::BTreeMap<String, super::Labels> {
    let labelled = |(name, facts): (Text, super::NamespaceFacts)| {
        namespace(&name, reader);
        let mut labels = facts.labels.unwrap_or_default();
        labels.insert(NAME_LABEL.to_owned(), name.value.clone());
        (name.value, labels)
    };
    read.into_iter().flat_map(|table| table.0).map(labelled).collect()
}

/// Whether a list is written without an element. One whose elements do not fit is empty as well, and was told.
fn is_empty<T>(list: &Spanned<Vec<T>>, reader: &Reader<'_>) -> bool {
    let written = reader.source.text().get(list.span.start..).and_then(|text| text.strip_prefix('['));
    let without = written.is_some_and(|text| text.trim_start().starts_with(']'));
    list.value.is_empty() && (without || reader.diagnostics.is_empty())
}

/// A namespace's name, as the API server would accept it.
fn namespace(name: &Text, reader: &mut Reader<'_>) {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = name.value.as_bytes();
    let edges = [bytes.first(), bytes.last()].into_iter().all(|edge| edge.is_some_and(|byte| plain(*byte)));
    if edges && bytes.len() <= 63 && bytes.iter().all(|byte| plain(*byte) || *byte == b'-') {
        return;
    }
    let error = reader.error(name.span.clone(), "not a name that a namespace can have");
    error.help.push("use at most 63 of a-z, 0-9 and '-', with a letter or digit at both ends".to_owned());
}

/// Notes everything about one case that contradicts itself.
fn case<'c>(case: &'c Case, has_registry: bool, names: &mut BTreeSet<&'c str>, reader: &mut Reader<'_>) {
    match (&case.image, &case.manifest) {
        (Some(_), Some(manifest)) => {
            let error = reader.error(manifest.span.clone(), "a case has an image or a manifest, not both");
            error.help.push("make two cases of it".to_owned());
        }
        // One that is there and does not fit was told.
        (None, None) if !reader.diagnostics.is_empty() => {}
        (None, None) => {
            let error = reader.error(case.expect.span.clone(), "this case has neither 'image' nor 'manifest'");
            error.help.push("say what is judged".to_owned());
        }
        (Some(_), None) => {
            if let Some(container) = &case.container {
                let error = reader.error(container.span.clone(), "an image stands in no container");
                error.help.push("'container' chooses one of a manifest; take it out".to_owned());
            }
        }
        (None, Some(_)) => {
            if let Some(kind) = &case.kind {
                let error = reader.error(kind.span.clone(), "a manifest says itself of what kind it is");
                error.help.push("take 'kind' out".to_owned());
            }
        }
    }
    if let Some(name) = &case.name
        && !names.insert(&name.value)
    {
        reader.error(name.span.clone(), "a case of this name stands above").help.push("give it another".to_owned());
    }
    if let Some(name) = &case.namespace {
        namespace(name, reader);
    }
    for (key, text) in [
        ("name", &case.name),
        ("manifest", &case.manifest),
        ("container", &case.container),
        ("kind", &case.kind),
        ("message", &case.message),
    ] {
        if let Some(text) = text.as_ref().filter(|text| text.value.trim().is_empty()) {
            reader
                .error(text.span.clone(), format!("an empty '{key}'"))
                .help
                .push("write it, or take the key out".to_owned());
        }
    }
    findings(case, reader);
    pinned(case, has_registry, reader);
}

/// What is expected of findings fits what is expected of the whole.
fn findings(case: &Case, reader: &mut Reader<'_>) {
    if let Some(ids) = &case.ids {
        if is_empty(ids, reader) {
            let error = reader.error(ids.span.clone(), "an empty list of ids");
            error.help.push("name the findings; 'expect: allow' says that there are none".to_owned());
        }
        for (at, id) in ids.value.iter().enumerate() {
            if ids.value[..at].iter().any(|other| other.value == id.value) {
                reader.error(id.span.clone(), format!("{} stands twice", id.value.0.code()));
            }
        }
    }
    if case.expect.value != Expectation::Allow {
        return;
    }
    let ids = case.ids.as_ref().map(|ids| ("ids", &ids.span));
    let message = case.message.as_ref().map(|message| ("message", &message.span));
    let exception = case.exception.as_ref().map(|exception| ("exception", &exception.span));
    for (key, span) in [ids, message, exception].into_iter().flatten() {
        let error = reader.error(span.clone(), format!("'{key}' is about findings, and what is allowed has none"));
        error.help.push(match key {
            "exception" => "what an exception lets in is a warning: expect warn".to_owned(),
            _ => format!("expect audit, warn, deny or unresolved, or take '{key}' out"),
        });
    }
}

/// A pin is `none`, or a whole reference that this case can end in.
fn pinned(case: &Case, has_registry: bool, reader: &mut Reader<'_>) {
    let Some(pinned) = case.pinned.as_ref().filter(|pinned| pinned.value != "none") else { return };
    let complete = Reference::parse(&pinned.value).is_ok_and(|read| read.tag().is_some() && read.digest().is_some());
    let problem = if !complete {
        Some(("not an image with tag and digest", "write NAME:TAG@sha256:..., or none"))
    } else if matches!(case.expect.value, Expectation::Deny | Expectation::Unresolved) {
        Some(("what is refused is not pinned", "expect allow, audit or warn, or take 'pinned' out"))
    } else if case.kind.as_ref().is_some_and(|kind| kind.value != "Pod") {
        Some(("only Pods are pinned", "take 'kind' out, or write 'pinned: none'"))
    } else if !has_registry {
        Some(("nothing is pinned without a registry", "say under 'registry' which digest the tag has"))
    } else {
        None
    };
    if let Some((message, help)) = problem {
        reader.error(pinned.span.clone(), message).help.push(help.to_owned());
    }
}

/// Rules and exceptions that cases name and no policy has.
pub(super) fn names(file: &TestFile, policies: &PolicySet, source: &Source<'_>) -> Vec<Diagnostic> {
    let rules: Vec<&str> =
        policies.policies.iter().flat_map(|policy| &policy.rules).map(|rule| rule.name.as_str()).collect();
    let exceptions: Vec<&str> = policies.exceptions().map(|(id, _)| id).collect();
    let mut reader = Reader::new(source);
    for case in &file.cases {
        known("rule", case.rule.as_ref(), &rules, &mut reader);
        known("exception", case.exception.as_ref(), &exceptions, &mut reader);
    }
    reader.diagnostics
}

fn known(what: &str, named: Option<&Text>, candidates: &[&str], reader: &mut Reader<'_>) {
    let Some(named) = named.filter(|named| !candidates.contains(&named.value.as_str())) else { return };
    let shown = printable(&named.value, 60);
    let error = reader.error(named.span.clone(), format!("no policy under test has the {what} '{shown}'"));
    error.help.push(match nearest(&named.value, candidates) {
        Some(near) => format!("did you mean '{near}'?"),
        None if candidates.is_empty() => format!("they have no {what} at all"),
        None => format!("they have: {}", candidates.join(", ")),
    });
}
