//! What `pin` prints: a diff and what there is to know, the new text, or the stable JSON.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::PathBuf;

use serde::Serialize;

use super::Action;
use super::diff;
use super::judge::{Outcome, Status};
use super::spot::Spot;
use crate::cli::report::json::{SCHEMA_VERSION, print};
use crate::cli::report::{SHOWN_BYTES, shown};
use crate::document::{Color, Diagnostic, Edits, Severity, render};
use crate::policy::printable;

/// Everything that was found and done.
pub(super) struct Report {
    pub action: Action,
    pub files: Vec<PinnedFile>,
    /// Files that could not be read or written, and places that could not be looked into.
    pub broken: usize,
}

/// A file and its images.
pub(super) struct PinnedFile {
    /// As shown.
    pub name: String,
    /// None for standard input.
    pub path: Option<PathBuf>,
    pub text: String,
    /// In the order of their places.
    pub images: Vec<Image>,
    /// What is written to it, or would be.
    pub edits: Edits,
    pub written: bool,
    pub other_kinds: BTreeMap<String, usize>,
    pub unrecognised: bool,
}

/// An image of a file.
pub(super) struct Image {
    pub spot: Spot,
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// None before it is judged.
    pub outcome: Option<Outcome>,
}

impl Image {
    /// What the file is to say of it.
    pub fn meant(&self) -> &str {
        match &self.outcome {
            Some(Outcome { status: Status::Changed, pinned: Some(pinned), .. }) => pinned,
            _ => &self.spot.image,
        }
    }
}

impl PinnedFile {
    /// Takes back what was to be written: it could not be.
    pub fn failed(&mut self) {
        self.edits = Edits::default();
        for outcome in self.images.iter_mut().filter_map(|image| image.outcome.as_mut()) {
            if outcome.status == Status::Changed {
                outcome.status = Status::Skipped;
                "its file could not be written".clone_into(&mut outcome.why);
            }
        }
    }
}

impl Report {
    pub fn images(&self) -> impl Iterator<Item = &Image> {
        self.files.iter().flat_map(|file| &file.images)
    }

    /// How many images ended so.
    pub fn count(&self, statuses: &[Status]) -> usize {
        let is = |outcome: &&Outcome| statuses.contains(&outcome.status);
        self.images().filter_map(|image| image.outcome.as_ref()).filter(is).count()
    }
}

/// The new text of standard input, or what it was; nothing where it is broken.
pub(super) fn text(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    if report.broken == 0 {
        report.files.iter().try_for_each(|file| out.write_all(file.edits.apply(&file.text).as_bytes()))?;
    }
    out.flush()
}

/// For people: the diff where nothing is written, each image that is not simply pinned, and the counts.
pub(super) fn plain(report: &Report, color: Color, out: &mut dyn Write) -> io::Result<()> {
    if report.action == Action::Show {
        let changed = report.files.iter().filter(|file| !file.edits.is_empty());
        for (at, file) in changed.enumerate() {
            if at > 0 {
                writeln!(out)?;
            }
            diff::write(&file.name, &file.text, &file.edits, color, out)?;
        }
        if report.files.iter().any(|file| !file.edits.is_empty()) {
            writeln!(out)?;
        }
    }
    for file in &report.files {
        for image in &file.images {
            if let Some(diagnostic) = image.outcome.as_ref().and_then(|outcome| told(report, file, image, outcome)) {
                writeln!(out, "{}", render(&diagnostic, &file.text, color))?;
            }
        }
    }
    for file in report.files.iter().filter(|file| file.written) {
        writeln!(out, "wrote {}", file.name)?;
    }
    summary(report, out)?;
    out.flush()
}

/// What there is to say of one image.
fn told(report: &Report, file: &PinnedFile, image: &Image, outcome: &Outcome) -> Option<Diagnostic> {
    let loud = if report.action == Action::Check { Severity::Error } else { Severity::Warning };
    let (severity, what) = match outcome.status {
        Status::Pinned => return None,
        Status::Changed if report.action != Action::Check => return None,
        Status::Changed => (loud, "not pinned".to_owned()),
        Status::Drifted => (loud, format!("the tag has moved: {}", outcome.why)),
        Status::Skipped => (loud, format!("not pinned: {}", outcome.why)),
        Status::Left => (Severity::Note, format!("left: {}", outcome.why)),
        Status::Undecided => (Severity::Error, format!("not known: {}", outcome.why)),
    };
    let mut diagnostic = Diagnostic::of_file(&file.name, shown(&what));
    diagnostic.severity = severity;
    diagnostic.span = Some(image.spot.place.clone());
    (diagnostic.line, diagnostic.column) = (image.line, image.column);
    let written = file.text.get(image.spot.place.clone()).unwrap_or_default();
    if !image.spot.image.is_empty() && !written.contains(&image.spot.image) {
        diagnostic.label = Some(printable(&image.spot.image, SHOWN_BYTES));
    }
    if let (Status::Changed | Status::Skipped, Some(pinned)) = (outcome.status, &outcome.pinned) {
        diagnostic.help.push(format!("use: {pinned}"));
    }
    if !outcome.help.is_empty() {
        diagnostic.help.push(outcome.help.clone());
    }
    Some(diagnostic)
}

/// The last lines: what was found, with what result, and what was not looked into.
fn summary(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    let changed = match report.action {
        Action::Show => "would be pinned",
        Action::Write | Action::Filter => "pinned now",
        Action::Check => "not pinned",
    };
    let names = [
        (Status::Changed, changed),
        (Status::Pinned, "pinned already"),
        (Status::Drifted, "moved"),
        (Status::Left, "left"),
        (Status::Skipped, "that cannot be pinned"),
        (Status::Undecided, "not known"),
    ];
    let counts = names.iter().map(|(status, name)| (report.count(&[*status]), name)).filter(|(count, _)| *count > 0);
    let counts: Vec<_> = counts.map(|(count, name)| format!("{count} {name}")).collect();
    let counts = if counts.is_empty() { String::new() } else { format!(": {}", counts.join(", ")) };
    writeln!(out, "{}, {}{counts}", number(report.files.len(), "file"), number(report.images().count(), "image"))?;
    if report.action == Action::Show && report.count(&[Status::Changed]) > 0 {
        writeln!(out, "nothing is written without --write")?;
    }
    let mut kinds = BTreeMap::<&str, usize>::new();
    for (kind, count) in report.files.iter().flat_map(|file| &file.other_kinds) {
        *kinds.entry(kind).or_default() += count;
    }
    if !kinds.is_empty() {
        let kinds: Vec<_> = kinds.iter().map(|(kind, count)| format!("{} ({count})", shown(kind))).collect();
        writeln!(out, "not looked into, kinds without known images: {}", kinds.join(", "))?;
    }
    let unrecognised: Vec<_> =
        report.files.iter().filter(|file| file.unrecognised).map(|file| file.name.as_str()).collect();
    if !unrecognised.is_empty() {
        writeln!(out, "not looked into, no kind of file that is known here: {}", unrecognised.join(", "))?;
    }
    if report.broken > 0 {
        writeln!(out, "left as they are: {}, see the errors", number(report.broken, "broken file"))?;
    }
    Ok(())
}

/// `1 file`, `2 files`.
fn number(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Output<'r> {
    schema_version: u32,
    summary: SummaryOutput<'r>,
    images: Vec<ImageOutput<'r>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SummaryOutput<'r> {
    files: usize,
    images: usize,
    pinned: usize,
    changed: usize,
    drifted: usize,
    left: usize,
    skipped: usize,
    undecided: usize,
    written_files: Vec<&'r str>,
    unrecognised_files: Vec<&'r str>,
    broken_files: usize,
}

/// One image. Every key is always there.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ImageOutput<'r> {
    file: &'r str,
    line: usize,
    column: usize,
    image: &'r str,
    pinned: Option<&'r str>,
    digest: Option<&'r str>,
    status: &'static str,
    reason: Option<&'r str>,
    help: Option<&'r str>,
}

/// The stable interface: fields are added, never renamed.
pub(super) fn json(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    let count = |status| report.count(&[status]);
    let named = |wanted: fn(&PinnedFile) -> bool| {
        report.files.iter().filter(|file| wanted(file)).map(|file| file.name.as_str()).collect()
    };
    let images = report.files.iter().flat_map(|file| file.images.iter().map(move |image| (file, image)));
    let images = images.filter_map(|(file, image)| {
        let outcome = image.outcome.as_ref()?;
        Some(ImageOutput {
            file: &file.name,
            line: image.line,
            column: image.column,
            image: &image.spot.image,
            pinned: outcome.pinned.as_deref(),
            digest: outcome.digest.as_deref(),
            status: outcome.status.name(),
            reason: Some(outcome.why.as_str()).filter(|why| !why.is_empty()),
            help: Some(outcome.help.as_str()).filter(|help| !help.is_empty()),
        })
    });
    let summary = SummaryOutput {
        files: report.files.len(),
        images: report.images().count(),
        pinned: count(Status::Pinned),
        changed: count(Status::Changed),
        drifted: count(Status::Drifted),
        left: count(Status::Left),
        skipped: count(Status::Skipped),
        undecided: count(Status::Undecided),
        written_files: named(|file| file.written),
        unrecognised_files: named(|file| file.unrecognised),
        broken_files: report.broken,
    };
    print(&Output { schema_version: SCHEMA_VERSION, summary, images: images.collect() }, out)
}
