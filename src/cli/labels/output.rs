//! What `labels check` prints: aligned lines for people, or the stable JSON.

use std::io::{self, Write};

use serde::Serialize;

use super::Checked;
use crate::cli::report::json::{SCHEMA_VERSION, print};
use crate::cli::report::{SHOWN_BYTES, canonical};
use crate::image::Reference;
use crate::policy::{PlatformFacts, REVISION, SOURCE, VERSION_LABEL, printable};

/// The labels that are looked at, as they are shown.
const LABELS: [(&str, &str); 3] = [("revision", REVISION), ("version", VERSION_LABEL), ("source", SOURCE)];

/// An image and what came of it.
pub(super) struct Shown<'s> {
    pub image: &'s str,
    pub reference: Option<&'s Reference<'s>>,
    pub branch: Option<&'s str>,
    pub checked: &'s Checked,
}

/// A line for each thing that is known, then what is wrong.
pub(super) fn plain(shown: &Shown<'_>, out: &mut dyn Write) -> io::Result<()> {
    let Checked { digest, facts, findings, notes } = shown.checked;
    let mut line = |name: &str, text: &str| writeln!(out, "{name:<12}{text}");
    line("image", &printable(shown.image, SHOWN_BYTES))?;
    if let Some(digest) = digest {
        line("digest", digest.as_str())?;
    }
    if let Some(facts) = facts {
        let platforms: Vec<&str> = facts.platforms.iter().map(|one| one.platform.as_str()).collect();
        line("platforms", &platforms.join(", "))?;
        for (name, label) in LABELS {
            line(name, &values(&facts.platforms, label))?;
        }
    }
    if let Some(branch) = shown.branch {
        line("branch", branch)?;
    }
    notes.iter().try_for_each(|note| line("note", note))?;
    for wrong in findings {
        line("finding", &format!("{} {}", wrong.id.code(), wrong.reason))?;
        line("", &wrong.message)?;
        wrong.help.as_ref().map_or(Ok(()), |help| line("", help))?;
    }
    if findings.is_empty() {
        line("verdict", "the labels agree")?;
    }
    out.flush()
}

/// The values that a label has, in the order of the platforms.
fn values(platforms: &[PlatformFacts], label: &str) -> String {
    let mut values: Vec<String> = Vec::new();
    for one in platforms {
        let value = one.labels.get(label).map_or_else(|| "none".to_owned(), |value| printable(value, SHOWN_BYTES));
        if !values.contains(&value) {
            values.push(value);
        }
    }
    values.join(", ")
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Output<'o> {
    schema_version: u32,
    image: &'o str,
    canonical: Option<String>,
    digest: Option<&'o str>,
    platforms: Vec<PlatformOutput<'o>>,
    branch: Option<&'o str>,
    notes: &'o [&'static str],
    findings: Vec<FindingOutput<'o>>,
}

#[derive(Serialize)]
struct PlatformOutput<'o> {
    platform: &'o str,
    digest: &'o str,
    revision: Option<&'o str>,
    version: Option<&'o str>,
    source: Option<&'o str>,
}

#[derive(Serialize)]
struct FindingOutput<'o> {
    id: &'static str,
    reason: &'static str,
    message: &'o str,
    help: Option<&'o str>,
}

fn platform(one: &PlatformFacts) -> PlatformOutput<'_> {
    let label = |name| one.labels.get(name).map(String::as_str);
    PlatformOutput {
        platform: one.platform.as_str(),
        digest: one.digest.as_str(),
        revision: label(REVISION),
        version: label(VERSION_LABEL),
        source: label(SOURCE),
    }
}

/// The stable interface: fields are added, never renamed. Every key is always there.
pub(super) fn json(shown: &Shown<'_>, out: &mut dyn Write) -> io::Result<()> {
    let Checked { digest, facts, findings, notes } = shown.checked;
    let output = Output {
        schema_version: SCHEMA_VERSION,
        image: shown.image,
        canonical: shown.reference.map(canonical),
        digest: digest.as_ref().map(|digest| digest.as_str()),
        platforms: facts.iter().flat_map(|facts| &facts.platforms).map(platform).collect(),
        branch: shown.branch,
        notes,
        findings: findings
            .iter()
            .map(|wrong| FindingOutput {
                id: wrong.id.code(),
                reason: wrong.reason,
                message: &wrong.message,
                help: wrong.help.as_deref(),
            })
            .collect(),
    };
    print(&output, out)
}
