//! What `check` found, in one structure that every output format prints.

pub(super) mod columns;
pub(super) mod found;
pub(super) mod github;
pub(super) mod gitlab;
pub(super) mod json;
pub(super) mod junit;
pub(super) mod markdown;
pub(super) mod plain;
pub(super) mod problem;
pub(super) mod sarif;
mod table;

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};
use std::io::{self, Write};
use std::ops::Deref;
use std::sync::Arc;

use clap::ValueEnum;

use super::Screen;
use crate::document::{Diagnostic, Excerpt, Source, Span};
use crate::image::Reference;
use crate::policy::{
    Check, Facts, Finding, FindingId, ImageVerdict, Level, List, Mode, Owner, PolicySet, Resolved, printable,
};

/// Bytes of an image as written that are shown on a line of its own; a reference may have 4 KiB.
pub(super) const SHOWN_BYTES: usize = 512;

/// The formats of verbs whose answers are no list of problems.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// For people
    #[default]
    Plain,
    /// For programs: the stable machine interface
    Json,
}

/// The formats of `check`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum CheckFormat {
    /// For people: each finding as a compiler shows an error
    #[default]
    Plain,
    /// For people: a line for each finding, in columns
    Table,
    /// For programs: the stable machine interface
    Json,
    /// SARIF 2.1.0, for code scanning and editors
    Sarif,
    /// JUnit XML, a case for each image, for what shows test results
    Junit,
    /// Workflow commands of GitHub Actions: annotations on the lines of a pull request
    Github,
    /// A Code Quality report of GitLab
    Gitlab,
    /// A comment for a pull or merge request
    Markdown,
}

/// Writes the report of a check in a format.
pub(super) fn write(report: &Report, format: CheckFormat, screen: Screen, out: &mut dyn Write) -> io::Result<()> {
    match format {
        CheckFormat::Plain => plain::write(report, screen.color, out),
        CheckFormat::Table => table::write(report, screen, out),
        CheckFormat::Json => json::write(report, out),
        CheckFormat::Sarif => sarif::write(&found::run(report), out),
        CheckFormat::Junit => found::junit(report, out),
        CheckFormat::Github => github::write(&found::run(report), &plain::summary_text(report)?, out),
        CheckFormat::Gitlab => gitlab::write(&found::run(report), out),
        CheckFormat::Markdown => markdown::write(report, &found::run(report), out),
    }
}

/// Text from a manifest or a file's name as a terminal may show it: what would move the cursor, colour, or turn the
/// direction of writing is escaped.
pub(super) fn shown(text: &str) -> Cow<'_, str> {
    if !text.contains(harmful) {
        return Cow::Borrowed(text);
    }
    let escaped = |c: char| if harmful(c) { c.escape_default().to_string() } else { c.to_string() };
    Cow::Owned(text.chars().map(escaped).collect())
}

/// Whether a character acts on a terminal, or is none that every format can hold.
fn harmful(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{fffe}' | '\u{ffff}')
}

/// Everything that was judged, and everything that was not.
#[derive(Debug, Default)]
pub(super) struct Report {
    /// In the order of the inputs and of the places in them.
    pub findings: Vec<Located>,
    /// Images without a finding; only where [`Passed::Listed`] asks for them.
    pub passed: Vec<PassedImage>,
    /// What is wrong with the inputs themselves.
    pub broken: Vec<Diagnostic>,
    /// What was counted.
    pub summary: Summary,
}

/// Whether images without a finding are kept: most formats only count them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Passed {
    /// A format lists them.
    Listed,
    /// None does.
    Counted,
}

/// An image without a finding, or one that was not judged.
#[derive(Debug)]
pub(super) struct PassedImage {
    /// The input, or the template that Helm made it from.
    pub file: Arc<str>,
    /// The object it is in; none: a values file.
    pub object: Option<ObjectName>,
    /// `container "api"`, say.
    pub label: String,
    /// As written.
    pub image: String,
    /// Why it was not judged; none: it was, and nothing is wrong.
    pub skipped: Option<String>,
}

/// Counts, and the names of what was not judged.
#[derive(Debug, Default)]
pub(super) struct Summary {
    /// Files read, standard input among them.
    pub files: usize,
    /// Objects judged.
    pub objects: usize,
    /// Images judged.
    pub images: usize,
    /// Objects of kinds without images that we know of: kind to count.
    pub skipped_kinds: BTreeMap<String, usize>,
    /// Files with a document that has no API version or kind, and is therefore no manifest.
    pub no_manifest: Names,
    /// Namespaces that no policy covers.
    pub uncovered: Names,
    /// Namespaces that the configuration calls infrastructure: never judged.
    pub infrastructure: Names,
    /// Images left to the review of their Pod (blank ones, unresolved expressions), a line each.
    pub deferred: Vec<String>,
    /// What is to be known although nothing is wrong (an answer that is old because the registry fails), a line each.
    pub notes: Vec<String>,
    /// Files that are as they were at the revision of `--diff-base`, and were not judged.
    pub unchanged_files: usize,
    /// Images of the others that are as they were.
    pub unchanged_images: usize,
    /// Templates of Helm charts that are no YAML before they are rendered.
    pub templates: Vec<String>,
    /// Files that could not be judged, in full or in part.
    pub broken: usize,
    /// What runs, where that was judged and no files.
    pub running: Option<Running>,
    /// Kinds that could not be listed, a sentence each; their Pods were judged as they are written.
    pub unlisted: Vec<String>,
}

/// Counts of a cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Running {
    /// Pods of the objects that were judged.
    pub pods: usize,
    /// Pods that have ended, or are being deleted.
    pub ended: usize,
    /// Static Pods of nodes.
    pub mirrored: usize,
    /// Workloads that make no Pods now: scaled to zero, suspended, done.
    pub idle: usize,
}

impl Summary {
    /// Notes an object whose kind is not judged.
    pub fn skips(&mut self, kind: &str) {
        *self.skipped_kinds.entry(kind.to_owned()).or_default() += 1;
    }

    /// Notes a file with a document that is no manifest.
    pub fn is_no_manifest(&mut self, file: &str) {
        self.no_manifest.add(file);
    }

    /// Notes a namespace that is never judged.
    pub fn is_infrastructure(&mut self, namespace: &str) {
        self.infrastructure.add(namespace);
    }

    /// Notes a namespace that no policy covers.
    pub fn lacks_policy(&mut self, namespace: &str) {
        self.uncovered.add(namespace);
    }
}

/// Names, each once, in the order in which they were met; there may be one for every document of a large text.
#[derive(Debug, Default)]
pub(super) struct Names {
    list: Vec<String>,
    known: HashSet<String>,
}

impl Names {
    fn add(&mut self, name: &str) {
        if !self.known.contains(name) {
            self.known.insert(name.to_owned());
            self.list.push(name.to_owned());
        }
    }
}

impl Deref for Names {
    type Target = [String];

    fn deref(&self) -> &[String] {
        &self.list
    }
}

/// How many findings there are of each weight.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// Enforced violations.
    pub deny: usize,
    /// Enforced, and could not be decided.
    pub unresolved: usize,
    /// Warned of.
    pub warn: usize,
    /// Recorded.
    pub audit: usize,
}

impl Report {
    /// Takes in what was found in a further input.
    pub fn add(&mut self, other: Report) {
        self.findings.extend(other.findings);
        self.passed.extend(other.passed);
        self.broken.extend(other.broken);
        // All by name, so that no further count is forgotten here.
        let Summary {
            files,
            objects,
            images,
            skipped_kinds,
            no_manifest,
            uncovered,
            infrastructure,
            deferred,
            notes,
            unchanged_files,
            unchanged_images,
            templates,
            broken,
            running,
            unlisted,
        } = other.summary;
        let summary = &mut self.summary;
        summary.files += files;
        summary.objects += objects;
        summary.images += images;
        summary.unchanged_files += unchanged_files;
        summary.unchanged_images += unchanged_images;
        summary.templates.extend(templates);
        summary.broken += broken;
        summary.running = summary.running.or(running);
        summary.unlisted.extend(unlisted);
        for (kind, count) in skipped_kinds {
            *summary.skipped_kinds.entry(kind).or_default() += count;
        }
        no_manifest.iter().for_each(|file| summary.is_no_manifest(file));
        uncovered.iter().for_each(|namespace| summary.lacks_policy(namespace));
        infrastructure.iter().for_each(|namespace| summary.is_infrastructure(namespace));
        summary.deferred.extend(deferred);
        summary.notes.extend(notes);
    }

    /// Counts findings by weight.
    pub fn tally(&self) -> Tally {
        let mut tally = Tally::default();
        for located in &self.findings {
            let counted = match located.finding.mode {
                Mode::Enforce if located.finding.undecided => &mut tally.unresolved,
                Mode::Enforce => &mut tally.deny,
                Mode::Warn => &mut tally.warn,
                Mode::Audit => &mut tally.audit,
            };
            *counted += 1;
        }
        tally
    }
}

/// A finding, owned: it outlives the object that it was made from.
#[derive(Debug)]
pub(super) struct Said {
    /// Which.
    pub id: FindingId,
    /// Its check.
    pub check: Check,
    /// The effective mode.
    pub mode: Mode,
    /// How loud it is.
    pub level: Level,
    /// Whether it says that something could not be decided.
    pub undecided: bool,
    /// The policy's name; empty where none is at work.
    pub policy: String,
    /// The rule that decided.
    pub rule: Option<String>,
    /// The exception that let it through.
    pub exception: Option<String>,
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub use_instead: Option<String>,
}

impl From<&Finding<'_>> for Said {
    fn from(finding: &Finding<'_>) -> Self {
        Said {
            id: finding.id,
            check: finding.check,
            mode: finding.mode,
            level: finding.level(),
            undecided: finding.is_undecided(),
            policy: finding.policy.to_owned(),
            rule: finding.rule.map(str::to_owned),
            exception: finding.exception.map(str::to_owned),
            message: finding.message.clone(),
            use_instead: finding.use_instead.clone(),
        }
    }
}

/// A finding, what it is about, and where that is written.
#[derive(Debug)]
pub(super) struct Located {
    /// What is wrong.
    pub finding: Said,
    /// The object it was found in; none for `explain`.
    pub object: Option<ObjectName>,
    /// The image it is about; none where it is about the object as a whole.
    pub subject: Option<Subject>,
    /// Where it is written; none for `explain`.
    pub place: Option<Place>,
    /// Who owns the policy.
    pub owner: Owner,
    /// Pods that run this image of this object; none where no cluster was asked.
    pub pods: Option<usize>,
}

/// Whom a policy names as its owner.
pub(super) fn owner(policies: &PolicySet, policy: &str) -> Owner {
    policies.owner(policy).cloned().unwrap_or_default()
}

/// `1 file`, `2 files`.
pub(super) fn count(number: usize, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

/// An object's name as people say it.
#[derive(Clone, Debug)]
pub(super) struct ObjectName {
    /// `Deployment`.
    pub kind: String,
    /// Where it was judged.
    pub namespace: String,
    /// As written, or the prefix of a generated one with `*`.
    pub name: String,
}

impl std::fmt::Display for ObjectName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = match self.name.as_str() {
            "" => "(no name)".to_owned(),
            long if long.len() > SHOWN_BYTES => printable(long, SHOWN_BYTES),
            name => shown(name).into_owned(),
        };
        write!(f, "{} {}/{name}", shown(&self.kind), shown(&self.namespace))
    }
}

/// The image of a finding.
#[derive(Clone, Debug)]
pub(super) struct Subject {
    /// Which list of the PodSpec it is in.
    pub list: List,
    /// The container's name.
    pub container: Option<String>,
    /// The path in the object; none for `explain`.
    pub field: Option<String>,
    /// As written.
    pub image: String,
    /// Canonical registry, repository, tag and digest.
    pub canonical: Option<String>,
    /// The digest written in it, else the one that its tag was found to be.
    pub digest: Option<String>,
}

impl Subject {
    /// What it is the image of: `container "api"`.
    pub fn label(&self) -> String {
        label(self.list, self.container.as_deref())
    }

    /// The image of a verdict, with its place in the object.
    pub fn of(verdict: &ImageVerdict<'_>, facts: &Facts) -> Self {
        let reference = verdict.reference.as_ref();
        let written = reference.and_then(Reference::digest).map(|digest| digest.as_str().to_owned());
        Subject {
            list: verdict.list,
            container: verdict.container.map(str::to_owned),
            field: Some(verdict.field.to_string()),
            image: verdict.image.to_owned(),
            canonical: reference.map(canonical),
            digest: written.or_else(|| Some(resolved(reference?, facts)?.digest.to_string())),
        }
    }
}

/// What an image is of: `container "api"`.
pub(super) fn label(list: List, container: Option<&str>) -> String {
    match container {
        Some(container) => format!("{} \"{}\"", list.noun(), shown(container)),
        None => list.noun().to_owned(),
    }
}

/// What is known of the tag of a reference.
pub(super) fn resolved<'f>(reference: &Reference<'_>, facts: &'f Facts) -> Option<&'f Resolved> {
    let name = reference.name();
    facts.digest(&name, reference.tag()?)?.as_ref().ok()
}

/// A reference with its registry in canonical form, fully written out.
pub(super) fn canonical(reference: &Reference<'_>) -> String {
    let mut text = reference.name().into_owned();
    if let Some(tag) = reference.tag() {
        text.push(':');
        text.push_str(tag);
    }
    if let Some(digest) = reference.digest() {
        text.push('@');
        text.push_str(digest.as_str());
    }
    text
}

/// Where in the inputs something stands.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// The input, as shown.
    pub file: Arc<str>,
    /// The template that Helm made it from, if it says so.
    pub template: Option<Arc<str>>,
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// The column after its last character on that line.
    pub end_column: usize,
    /// The line, to show.
    pub excerpt: Excerpt,
}

impl Place {
    /// Of what stands at `span` of a text that is an input of this name.
    pub fn new(source: &Source<'_>, span: &Span, file: &Arc<str>, template: Option<&Arc<str>>) -> Self {
        let (line, column) = source.position(span.start);
        let (_, end_column) = source.position(source.end_on_first_line(span));
        Place {
            file: Arc::clone(file),
            template: template.map(Arc::clone),
            line,
            column,
            end_column,
            excerpt: Excerpt::of(source.text(), span),
        }
    }

    /// What to name as the file: the template where there is one.
    pub fn shown(&self) -> &str {
        self.template.as_deref().unwrap_or(&self.file)
    }
}

#[cfg(test)]
mod tests {
    use super::shown;

    #[test]
    fn nothing_shown_can_act_on_a_terminal() {
        assert_eq!(shown("café/deploy.yaml"), "café/deploy.yaml");
        assert_eq!(shown("a\u{1b}[2Jb\nc\u{202e}d"), "a\\u{1b}[2Jb\\nc\\u{202e}d");
    }
}
