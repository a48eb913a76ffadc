//! JSON for programs: the stable interface, its keys exactly as documented; fields are added, never renamed.

use std::collections::BTreeMap;
use std::io::{self, Write};

use serde::Serialize;

use super::{Located, ObjectName, Place, Report, Running, harmful};

/// The version of every JSON output.
pub(in crate::cli) const SCHEMA_VERSION: u32 = 1;

/// What `check --format json` prints.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CheckOutput<'r> {
    schema_version: u32,
    summary: SummaryOutput<'r>,
    findings: Vec<FindingOutput<'r>>,
}

/// The counts; `deny`, `warn`, `audit` and `unresolved` count findings.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SummaryOutput<'r> {
    files: usize,
    objects: usize,
    images: usize,
    skipped_kinds: &'r BTreeMap<String, usize>,
    no_manifest: &'r [String],
    infrastructure_namespaces: &'r [String],
    uncovered_namespaces: &'r [String],
    deferred_images: &'r [String],
    notes: &'r [String],
    unchanged_files: usize,
    unchanged_images: usize,
    templates: &'r [String],
    broken_files: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    running: Option<RunningOutput<'r>>,
    deny: usize,
    warn: usize,
    audit: usize,
    unresolved: usize,
}

/// What runs; there with `--cluster` alone.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RunningOutput<'r> {
    pods: usize,
    ended_pods: usize,
    static_pods: usize,
    idle_workloads: usize,
    unlisted_kinds: &'r [String],
}

/// One finding. Every key is always there.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::cli) struct FindingOutput<'r> {
    id: &'static str,
    check: &'static str,
    level: &'static str,
    mode: &'static str,
    policy: &'r str,
    rule: Option<&'r str>,
    exception: Option<&'r str>,
    object: Option<ObjectOutput<'r>>,
    container: Option<&'r str>,
    field: Option<&'r str>,
    /// Empty where the finding is about the object as a whole.
    image: &'r str,
    canonical: Option<&'r str>,
    digest: Option<&'r str>,
    message: &'r str,
    r#use: Option<&'r str>,
    file: Option<&'r str>,
    line: Option<usize>,
    column: Option<usize>,
    /// How many Pods run this image of this object; there with `--cluster` alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pods: Option<usize>,
}

#[derive(Serialize)]
pub(in crate::cli) struct ObjectOutput<'r> {
    kind: &'r str,
    namespace: &'r str,
    name: &'r str,
}

impl<'r> From<&'r ObjectName> for ObjectOutput<'r> {
    fn from(object: &'r ObjectName) -> Self {
        ObjectOutput { kind: &object.kind, namespace: &object.namespace, name: &object.name }
    }
}

impl<'r> FindingOutput<'r> {
    /// A finding as JSON.
    pub fn new(located: &'r Located) -> Self {
        let finding = &located.finding;
        let subject = located.subject.as_ref();
        FindingOutput {
            id: finding.id.code(),
            check: finding.check.name(),
            level: finding.level.name(),
            mode: finding.mode.name(),
            policy: &finding.policy,
            rule: finding.rule.as_deref(),
            exception: finding.exception.as_deref(),
            object: located.object.as_ref().map(Into::into),
            container: subject.and_then(|subject| subject.container.as_deref()),
            field: subject.and_then(|subject| subject.field.as_deref()),
            image: subject.map_or("", |subject| &subject.image),
            canonical: subject.and_then(|subject| subject.canonical.as_deref()),
            digest: subject.and_then(|subject| subject.digest.as_deref()),
            message: &finding.message,
            r#use: finding.use_instead.as_deref(),
            file: located.place.as_ref().map(Place::shown),
            line: located.place.as_ref().map(|place| place.line),
            column: located.place.as_ref().map(|place| place.column),
            pods: located.pods,
        }
    }
}

/// Writes the report of a check.
pub(in crate::cli) fn write(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    let tally = report.tally();
    let summary = &report.summary;
    let output = CheckOutput {
        schema_version: SCHEMA_VERSION,
        summary: SummaryOutput {
            files: summary.files,
            objects: summary.objects,
            images: summary.images,
            skipped_kinds: &summary.skipped_kinds,
            no_manifest: &summary.no_manifest,
            infrastructure_namespaces: &summary.infrastructure,
            uncovered_namespaces: &summary.uncovered,
            deferred_images: &summary.deferred,
            notes: &summary.notes,
            unchanged_files: summary.unchanged_files,
            unchanged_images: summary.unchanged_images,
            templates: &summary.templates,
            broken_files: summary.broken,
            running: summary.running.map(|Running { pods, ended, mirrored, idle }| RunningOutput {
                pods,
                ended_pods: ended,
                static_pods: mirrored,
                idle_workloads: idle,
                unlisted_kinds: &summary.unlisted,
            }),
            deny: tally.deny,
            warn: tally.warn,
            audit: tally.audit,
            unresolved: tally.unresolved,
        },
        findings: report.findings.iter().map(FindingOutput::new).collect(),
    };
    print(&output, out)
}

/// Writes a value as indented JSON with a final newline.
pub(in crate::cli) fn print(value: &impl Serialize, out: &mut dyn Write) -> io::Result<()> {
    let text = serde_json::to_string_pretty(value)?;
    // What acts on a terminal stands in strings only, where it can be escaped; most of it is already.
    let mut rest = text.as_str();
    while let Some(at) = rest.find(|c| harmful(c) && c != '\n') {
        out.write_all(&rest.as_bytes()[..at])?;
        let mut chars = rest[at..].chars();
        let mut units = [0; 2];
        for unit in chars.next().unwrap_or_default().encode_utf16(&mut units) {
            write!(out, "\\u{unit:04x}")?;
        }
        rest = chars.as_str();
    }
    writeln!(out, "{rest}")?;
    out.flush()
}
