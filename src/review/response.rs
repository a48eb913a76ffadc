//! The answer: an owned AdmissionReview, whatever became of the request.

use super::consider::{About, Pass};
use super::patch::{Patch, base64};
use super::text::{Several, all_items, denial, enforced, field_text, is_one_line, one_line, push_field, warnings};
use crate::policy::{Decision, Owner, Pinning, PolicySet, Verdict};
use serde::Serialize;
use std::borrow::Cow;
use std::fmt::Write as _;

/// What the API server keeps of an answer's warnings: it cuts one at 256 runes and all at 4,096, and drops one that
/// holds a control character.
const MAX_WARNINGS: usize = 15;
const MAX_WARNING_BYTES: usize = 200;
const MAX_CAUSES: usize = 100;
const MAX_CAUSE_BYTES: usize = 500;
const MAX_AUDIT_BYTES: usize = 1000;
/// About what one digest takes up in an audit annotation.
const DIGEST_BYTES: usize = 110;
/// What an answer has room for at first: one that allows a few images with their digests needs no more.
const ALLOWED_BYTES: usize = 768;

/// What became of a request.
#[derive(Clone, Copy, Debug)]
pub enum Outcome<'v> {
    /// Allowed without asking a policy.
    Passed(&'v Pass),
    /// Judged, or failed (TW999).
    Judged(&'v Verdict<'v>),
    /// `/mutate`, which never denies: allowed, without a patch.
    Untouched,
    /// `/mutate`: allowed, with a patch.
    Patched(&'v Patch),
}

/// Writes the answer to a review, as JSON; a patch for [`Outcome::Patched`] alone. `policies`: those that were asked, if any were; `further`:
/// warnings beside the verdict's own.
pub fn answer(about: &About<'_>, outcome: Outcome<'_>, policies: Option<&PolicySet>, further: &[String]) -> Vec<u8> {
    let (allowed, mut lines) = match outcome {
        Outcome::Passed(pass) => (true, pass.warning(about).into_iter().collect()),
        Outcome::Judged(verdict) => (verdict.decision.admits(), warnings(verdict, about)),
        Outcome::Untouched => (true, Vec::new()),
        Outcome::Patched(patch) => (true, patch.warning.map(str::to_owned).into_iter().collect()),
    };
    lines.extend_from_slice(further);
    let status = match outcome {
        Outcome::Judged(verdict) if !allowed => Some(status(verdict, about, policies)),
        _ => None,
    };
    // The API server refuses one without the other.
    let (patch, patch_type) = match outcome {
        Outcome::Patched(patch) => (Some(base64(&patch.json)), Some("JSONPatch")),
        _ => (None, None),
    };
    let review = Review {
        api_version: "admission.k8s.io/v1",
        kind: "AdmissionReview",
        response: Response {
            uid: &about.uid,
            allowed,
            status,
            patch_type,
            patch,
            warnings: bounded_warnings(lines),
            audit_annotations: audit_annotations(outcome, policies),
        },
    };
    let mut json = Vec::with_capacity(ALLOWED_BYTES);
    // Strings, numbers and maps with string keys cannot fail to serialise. Should they, an empty body is an error to
    // the API server, which then acts by its failure policy: never an allow of ours.
    match serde_json::to_writer(&mut json, &review) {
        Ok(()) => json,
        Err(_) => Vec::new(),
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Review<'a> {
    api_version: &'static str,
    kind: &'static str,
    response: Response<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Response<'a> {
    uid: &'a str,
    allowed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<Status<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    patch_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    patch: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    audit_annotations: Option<AuditAnnotations<'a>>,
}

/// Recorded in the API server's audit log, on denials too; it puts the webhook's name and a slash before the keys.
#[derive(Default, Serialize)]
#[serde(rename_all = "kebab-case")]
struct AuditAnnotations<'a> {
    decision: &'static str,
    #[serde(skip_serializing_if = "str::is_empty")]
    digest: Cow<'a, str>,
    #[serde(skip_serializing_if = "str::is_empty")]
    findings: Cow<'a, str>,
    #[serde(skip_serializing_if = "str::is_empty")]
    policies: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    policy_hash: Option<&'a str>,
    #[serde(skip_serializing_if = "str::is_empty")]
    reason: &'static str,
}

/// `metav1.Status`. With reason `Invalid`, kubectl would hide the message.
#[derive(Serialize)]
struct Status<'a> {
    status: &'static str,
    reason: &'static str,
    code: u16,
    message: String,
    details: Details<'a>,
}

#[derive(Serialize)]
struct Details<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    group: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    kind: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    causes: Vec<Cause>,
}

/// `metav1.StatusCause`: a machine-readable reason, a text, and the field it is about.
#[derive(Serialize)]
struct Cause {
    reason: &'static str,
    message: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    field: String,
}

fn status<'a>(verdict: &Verdict<'_>, about: &'a About<'_>, policies: Option<&PolicySet>) -> Status<'a> {
    let causes = enforced(verdict)
        .take(MAX_CAUSES)
        .map(|item| Cause {
            reason: item.finding.id.code(),
            message: one_line(
                &format!("{}: {}", item.line(about, Several::Yes, 120), item.finding.message),
                MAX_CAUSE_BYTES,
            ),
            field: item.image.map(|image| field_text(&image.field)).unwrap_or_default(),
        })
        .collect();
    Status {
        status: "Failure",
        reason: "Forbidden",
        code: 403,
        message: denial(verdict, about, |policy| owner_of(policies, policy)),
        details: Details { name: &about.name, group: &about.group, kind: &about.kind, causes },
    }
}

fn owner_of<'p>(policies: Option<&'p PolicySet>, policy: &str) -> Option<&'p Owner> {
    policies?.owner(policy)
}

/// One line of printable ASCII each, no two alike, as many as the API server passes on.
fn bounded_warnings(lines: Vec<String>) -> Vec<String> {
    let mut bounded: Vec<String> = Vec::new();
    let mut seen = std::collections::HashSet::new();
    let mut left_out = 0;
    for line in lines {
        let line = one_line(&line, MAX_WARNING_BYTES);
        if !seen.insert(line.clone()) {
            continue;
        }
        if bounded.len() < MAX_WARNINGS {
            bounded.push(line);
        } else {
            left_out += 1;
        }
    }
    if left_out > 0 {
        // The last one makes room for the count, and is counted itself.
        bounded.truncate(MAX_WARNINGS - 1);
        bounded.push(format!("tagwarden: +{} more warnings", left_out + 1));
    }
    bounded
}

fn audit_annotations<'a>(outcome: Outcome<'a>, policies: Option<&'a PolicySet>) -> Option<AuditAnnotations<'a>> {
    let policy_hash = policies.map(PolicySet::hash);
    match outcome {
        Outcome::Untouched | Outcome::Patched(_) => None,
        Outcome::Passed(pass) => Some(AuditAnnotations {
            decision: Decision::Allow.name(),
            reason: pass.reason(),
            policy_hash,
            ..AuditAnnotations::default()
        }),
        Outcome::Judged(verdict) => Some(AuditAnnotations {
            decision: verdict.decision.name(),
            digest: bounded(digests(verdict)),
            findings: bounded(findings(verdict)),
            policies: match &*verdict.policies {
                [one] => bounded(*one),
                all => bounded(all.join(",")),
            },
            policy_hash,
            ..AuditAnnotations::default()
        }),
    }
}

fn bounded<'a>(text: impl Into<Cow<'a, str>>) -> Cow<'a, str> {
    let text = text.into();
    match is_one_line(&text, MAX_AUDIT_BYTES) {
        true => text,
        false => Cow::Owned(one_line(&text, MAX_AUDIT_BYTES)),
    }
}

/// `TW120 enforce acme-images spec.containers[0].image`, joined by semicolons.
fn findings(verdict: &Verdict<'_>) -> String {
    let mut text = String::new();
    for item in all_items(verdict) {
        if text.len() > MAX_AUDIT_BYTES {
            break;
        }
        if !text.is_empty() {
            text.push_str("; ");
        }
        let finding = item.finding;
        // Writing to a String cannot fail.
        let _ = write!(text, "{} {}", finding.id.code(), finding.mode.name());
        if !finding.policy.is_empty() {
            let _ = write!(text, " {}", finding.policy);
        }
        if let Some(image) = item.image {
            text.push(' ');
            push_field(&mut text, &image.field);
        }
    }
    text
}

/// `spec.containers[0].image=sha256:...` where an image is written with its digest, or is pinned to it by us.
fn digests(verdict: &Verdict<'_>) -> String {
    let mut text = String::new();
    for image in &verdict.images {
        let written = image.reference.and_then(|reference| reference.digest());
        let digest = match (&written, &image.pin) {
            (Some(written), _) => written.as_str(),
            (None, Pinning::Write(pinned)) => pinned.as_str(),
            (None, Pinning::Told(_) | Pinning::None) => continue,
        };
        if text.len() > MAX_AUDIT_BYTES {
            break;
        }
        if text.is_empty() {
            // Most Pods have a few images; more of them let it grow.
            text.reserve(verdict.images.len().min(4) * DIGEST_BYTES);
        } else {
            text.push_str("; ");
        }
        push_field(&mut text, &image.field);
        // Writing to a String cannot fail.
        let _ = write!(text, "={digest}");
    }
    text
}

#[cfg(test)]
mod tests;
