//! The explanation as JSON: the stable interface, its keys exactly as documented.

use std::borrow::Cow;
use std::io::{self, Write};

use serde::Serialize;

use super::Explanation;
use crate::cli::report::json::{FindingOutput, SCHEMA_VERSION, print};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Output<'e> {
    schema_version: u32,
    image: &'e str,
    reference: Option<ReferenceOutput<'e>>,
    error: Option<ErrorOutput<'e>>,
    refused: Option<&'static str>,
    policies: Vec<PolicyOutput<'e>>,
    /// Findings of no policy (a namespace that none covers, say).
    findings: Vec<FindingOutput<'e>>,
    /// No registry is asked yet, so nothing is pinned.
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
    rule: Option<&'e str>,
    findings: Vec<FindingOutput<'e>>,
}

/// Writes the explanation.
pub(super) fn write(explanation: &Explanation<'_>, out: &mut dyn Write) -> io::Result<()> {
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
        rule: step.ruling.as_ref().and_then(|ruling| ruling.rule.as_deref()),
        findings: step
            .ruling
            .iter()
            .flat_map(|ruling| &ruling.findings)
            .map(|located| FindingOutput::new(located, None))
            .collect(),
    });
    let output = Output {
        schema_version: SCHEMA_VERSION,
        image: explanation.image,
        reference,
        error,
        refused: explanation.refused.map(|refusal| refusal.name()),
        policies: policies.collect(),
        findings: explanation.findings.iter().map(|located| FindingOutput::new(located, None)).collect(),
        pinned: None,
        decision: explanation.decision.name(),
    };
    print(&output, out)
}
