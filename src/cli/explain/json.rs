//! The explanation as JSON: the stable interface, its keys exactly as documented.

use std::borrow::Cow;
use std::io::{self, Write};
use std::sync::Arc;

use serde::Serialize;

use serde_json::value::RawValue;

use super::{Explanation, Fact, Written};
use crate::cli::report::json::{FindingOutput, ObjectOutput, SCHEMA_VERSION, print};
use crate::cli::report::{ObjectName, Place};
use crate::policy::{Created, ImageFacts, ImageLabels, PlatformFacts, Source, Undecided};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Output<'e> {
    schema_version: u32,
    image: &'e str,
    reference: Option<ReferenceOutput<'e>>,
    error: Option<ErrorOutput<'e>>,
    refused: Option<&'static str>,
    policies: Vec<PolicyOutput<'e>>,
    /// Which release governs the namespace; null where no rule asks for one.
    release: Option<ReleaseOutput<'e>>,
    /// Findings of no policy (a namespace that none covers, say).
    findings: Vec<FindingOutput<'e>>,
    /// What was learned of the image's tag, and of tags that may carry the same digest.
    facts: Vec<FactOutput<'e>>,
    images: Vec<ImageOutput<'e>>,
    notes: &'e [String],
    /// As admission writes it into Pods; null where it writes nothing.
    pinned: Option<&'e str>,
    decision: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ReferenceOutput<'e> {
    registry: &'e str,
    canonical_registry: Cow<'e, str>,
    repository: Cow<'e, str>,
    tag: Option<&'e str>,
    tag_defaulted: bool,
    digest: Option<&'e str>,
    class: Option<&'e str>,
}

#[derive(Serialize)]
struct ErrorOutput<'e> {
    reason: &'static str,
    position: usize,
    message: Cow<'static, str>,
    suggestion: Option<&'e str>,
}

#[derive(Serialize)]
struct PolicyOutput<'e> {
    name: &'e str,
    applies: bool,
    /// What its word rests on, step by step.
    reasons: Vec<ReasonOutput<'e>>,
    rule: Option<&'e str>,
    findings: Vec<FindingOutput<'e>>,
}

/// The release that governs, or why none does. Every key is always there.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ReleaseOutput<'e> {
    name: Option<&'e str>,
    id: Option<&'e str>,
    /// `--release` or `configuration`.
    by: &'static str,
    why_none: Option<&'e str>,
}

#[derive(Serialize)]
struct ReasonOutput<'e> {
    /// `namespaces`, `rule`, `tag`, `metadata`, `release`, `mode` or `exception`.
    about: &'static str,
    text: &'e str,
}

/// A tag's digest, or why it is not known. Every key is always there.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct FactOutput<'e> {
    tag: &'e str,
    digest: Option<&'e str>,
    /// `now`, `remembered` or `stale`.
    source: Option<&'static str>,
    moved_from: Option<&'e str>,
    undecided: Option<UndecidedOutput<'e>>,
}

#[derive(Serialize)]
struct UndecidedOutput<'e> {
    id: &'static str,
    message: &'e str,
}

/// What an image says of itself.
#[derive(Serialize)]
struct ImageOutput<'e> {
    digest: &'e str,
    platforms: Vec<PlatformOutput<'e>>,
    undecided: Option<UndecidedOutput<'e>>,
}

#[derive(Serialize)]
struct PlatformOutput<'e> {
    platform: &'e str,
    digest: &'e str,
    /// RFC 3339; none where it does not say, or cannot be read.
    created: Option<String>,
    bases: Vec<&'e str>,
    labels: &'e ImageLabels,
}

fn image<'e>(digest: &'e str, known: &'e Result<Arc<ImageFacts>, Undecided>) -> ImageOutput<'e> {
    let platform = |one: &'e PlatformFacts| PlatformOutput {
        platform: one.platform.as_str(),
        digest: one.digest.as_str(),
        created: matches!(one.created, Created::At(_)).then(|| one.created.to_string()),
        bases: one.bases().collect(),
        labels: &one.labels,
    };
    ImageOutput {
        digest,
        platforms: known.iter().flat_map(|image| &image.platforms).map(platform).collect(),
        undecided: known.as_ref().err().map(undecided),
    }
}

fn undecided(undecided: &Undecided) -> UndecidedOutput<'_> {
    UndecidedOutput { id: undecided.failure.finding().code(), message: &undecided.detail }
}

fn fact(fact: &Fact) -> FactOutput<'_> {
    let known = fact.answer.as_ref().ok();
    FactOutput {
        tag: &fact.tag,
        digest: known.map(|known| known.digest.as_str()),
        source: known.map(|known| match known.source {
            Source::Now => "now",
            Source::Remembered => "remembered",
            Source::Stale(_) => "stale",
        }),
        moved_from: known.and_then(|known| Some(known.moved_from.as_ref()?.as_str())),
        undecided: fact.answer.as_ref().err().map(undecided),
    }
}

/// Writes the explanation.
pub(super) fn write(explanation: &Explanation<'_>, out: &mut dyn Write) -> io::Result<()> {
    print(&output(explanation), out)
}

/// An image of a file: its explanation, and where it is written.
#[derive(Serialize)]
struct InFile<'e> {
    file: &'e str,
    line: usize,
    column: usize,
    object: ObjectOutput<'e>,
    container: Option<&'e str>,
    field: &'e str,
    #[serde(flatten)]
    explanation: Output<'e>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct FileOutput<'e> {
    schema_version: u32,
    images: &'e [Box<RawValue>],
}

/// The explanation of an image of a file, for [`write_all`]: text, because it outlives what it explains.
pub(super) fn in_file(
    explanation: &Explanation<'_>,
    (object, container, field): (&ObjectName, Option<&str>, &str),
    place: &Place,
) -> serde_json::Result<Box<RawValue>> {
    let output = InFile {
        file: place.shown(),
        line: place.line,
        column: place.column,
        object: object.into(),
        container,
        field,
        explanation: output(explanation),
    };
    // Indented for its place: the text of a raw value is printed as it is.
    RawValue::from_string(serde_json::to_string_pretty(&output)?.replace('\n', "\n    "))
}

/// Writes the explanations of a file.
pub(super) fn write_all(images: &[Box<RawValue>], out: &mut dyn Write) -> io::Result<()> {
    print(&FileOutput { schema_version: SCHEMA_VERSION, images }, out)
}

fn output<'e>(explanation: &'e Explanation<'_>) -> Output<'e> {
    let reference = explanation.reference.as_ref().ok().map(|reference| ReferenceOutput {
        registry: reference.registry(),
        canonical_registry: reference.canonical_registry(),
        repository: reference.repository(),
        tag: reference.tag(),
        tag_defaulted: reference.tag_defaulted(),
        digest: reference.digest().map(|digest| digest.as_str()),
        class: explanation.class.as_deref(),
    });
    let error = explanation.reference.as_ref().err().map(|error| ErrorOutput {
        reason: error.reason.name(),
        position: error.position,
        message: error.message(),
        suggestion: error.suggestion.as_deref(),
    });
    let policies = explanation.policies.iter().flatten().map(|step| PolicyOutput {
        name: &step.name,
        applies: step.ruling.is_some(),
        reasons: step
            .reasons
            .iter()
            .map(|reason| ReasonOutput { about: reason.about.name(), text: &reason.text })
            .collect(),
        rule: step.ruling.as_ref().and_then(|ruling| ruling.rule.as_deref()),
        findings: step.ruling.iter().flat_map(|ruling| &ruling.findings).map(FindingOutput::new).collect(),
    });
    let written = explanation.pinned.as_ref().filter(|pinned| pinned.written == Written::Yes);
    Output {
        schema_version: SCHEMA_VERSION,
        image: explanation.image,
        reference,
        error,
        refused: explanation.refused.map(|refusal| refusal.name()),
        policies: policies.collect(),
        release: explanation.release.as_ref().map(|governing| ReleaseOutput {
            name: governing.release.as_ref().map(|(name, _)| name.as_str()),
            id: governing.release.as_ref().map(|(_, id)| id.as_str()),
            by: governing.by,
            why_none: governing.why_none.as_deref(),
        }),
        findings: explanation.findings.iter().map(FindingOutput::new).collect(),
        facts: explanation.facts.iter().map(fact).collect(),
        images: explanation.images.iter().map(|(digest, known)| image(digest, known)).collect(),
        notes: &explanation.notes,
        pinned: written.map(|pinned| pinned.reference.as_str()),
        decision: explanation.decision.name(),
    }
}
