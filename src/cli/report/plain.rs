//! Text for people: each finding as rustc shows an error, then one line that sums up and names what was not judged.

use std::io::{self, Write};

use super::{Located, Report, Running, SHOWN_BYTES, Subject, count, shown};
use crate::document::{Color, Diagnostic, Severity, render_excerpt};
use crate::policy::{Level, printable};

/// Writes the report of a check.
pub(in crate::cli) fn write(report: &Report, color: Color, out: &mut dyn Write) -> io::Result<()> {
    for located in &report.findings {
        writeln!(out, "{}", finding(located, color))?;
    }
    summary(report, out)?;
    out.flush()
}

/// One finding with its source line.
fn finding(located: &Located, color: Color) -> String {
    let finding = &located.finding;
    let mut diagnostic = Diagnostic::of_file("", finding.message.clone());
    diagnostic.severity = match finding.level {
        Level::Error => Severity::Error,
        Level::Warning => Severity::Warning,
        Level::Note => Severity::Note,
    };
    diagnostic.code = Some(finding.id.code().to_owned());
    diagnostic.label = located.subject.as_ref().map(Subject::label);
    if let Some(place) = &located.place {
        diagnostic.file = shown(place.shown()).into_owned();
        diagnostic.line = place.line;
        diagnostic.column = place.column;
    }
    // What runs is written nowhere but in the cluster.
    if let (None, Some(object)) = (&located.place, &located.object) {
        diagnostic.file = object.to_string();
    }
    diagnostic.help = help(located);
    diagnostic.help.extend(rendered(located));
    render_excerpt(&diagnostic, located.place.as_ref().map(|place| &place.excerpt), color)
}

/// What to do, who said so, whom to ask.
pub(super) fn help(located: &Located) -> Vec<String> {
    let finding = &located.finding;
    let mut lines = Vec::new();
    if let Some(instead) = &finding.use_instead {
        lines.push(format!("use: {instead}"));
    }
    lines.extend(value(located));
    if !finding.policy.is_empty() {
        // A rule without a name is already called `rule 2`.
        let named =
            |rule: &String| if rule.starts_with("rule ") { format!(", {rule}") } else { format!(", rule {rule}") };
        let rule = finding.rule.as_ref().map_or_else(String::new, named);
        let exception = finding.exception.as_ref().map_or_else(String::new, |id| format!(", exception {id}"));
        lines.push(format!("policy {}{rule}{exception}, mode {}", finding.policy, finding.mode.name()));
    }
    if let Some(object) = &located.object {
        lines.push(located.pods.map_or_else(|| format!("object {object}"), |pods| running(located, pods)));
    }
    let docs = located.owner.docs.as_ref().map(|docs| format!("read {docs}#{}", finding.id.code()));
    let contact = located.owner.contact.as_ref().map(|contact| format!("ask {contact}"));
    let whom: Vec<_> = contact.into_iter().chain(docs).collect();
    if !whom.is_empty() {
        lines.push(whom.join(", "));
    }
    lines
}

/// The image of a finding in a values file, where its parts stand apart.
pub(super) fn value(located: &Located) -> Option<String> {
    let (None, Some(Subject { image, field: Some(field), .. })) = (&located.object, &located.subject) else {
        return None;
    };
    Some(format!("image {} of {}", printable(image, SHOWN_BYTES), shown(field)))
}

/// That a line is none of the template that is named as its file.
pub(super) fn rendered(located: &Located) -> Option<String> {
    let place = located.place.as_ref().filter(|place| place.template.is_some())?;
    Some(format!("line {} is one of the rendered text, {}", place.line, shown(&place.file)))
}

/// The last lines as one text.
pub(super) fn summary_text(report: &Report) -> io::Result<String> {
    let mut text = Vec::new();
    summary(report, &mut text)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// What of an object that runs is meant, and how many Pods run it.
fn running(located: &Located, pods: usize) -> String {
    let pods = match pods {
        0 => "no Pod runs it now".to_owned(),
        1 => "1 Pod runs it".to_owned(),
        pods => format!("{pods} Pods run it"),
    };
    let Some(subject) = &located.subject else { return pods };
    let container = subject.container.as_ref().map_or_else(String::new, |name| format!(" \"{}\"", shown(name)));
    format!("{}{container}, image {}: {pods}", subject.list.noun(), printable(&subject.image, SHOWN_BYTES))
}

/// The last lines: what was judged, with what result, and what was not.
pub(super) fn summary(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    let summary = &report.summary;
    let tally = report.tally();
    let undecided = if tally.unresolved == 0 { String::new() } else { format!(", {} undecided", tally.unresolved) };
    let read = match summary.running {
        None => count(summary.files, "file"),
        Some(running) => count(running.pods, "running Pod"),
    };
    writeln!(
        out,
        "checked {read}, {}, {}: {}{undecided}, {}, {} audited",
        count(summary.objects, "object"),
        count(summary.images, "image"),
        format_args!("{} denied", tally.deny),
        count(tally.warn, "warning"),
        tally.audit,
    )?;
    if !summary.skipped_kinds.is_empty() {
        let kinds: Vec<_> =
            summary.skipped_kinds.iter().map(|(kind, count)| format!("{} ({count})", shown(kind))).collect();
        writeln!(out, "not judged, kinds without known images: {}", kinds.join(", "))?;
    }
    if !summary.no_manifest.is_empty() {
        let number = count(summary.no_manifest.len(), "file");
        writeln!(out, "not judged, {number} without apiVersion and kind: {}", names(&summary.no_manifest))?;
    }
    if !summary.infrastructure.is_empty() {
        writeln!(out, "not judged, infrastructure: namespace {}", names(&summary.infrastructure))?;
    }
    if !summary.uncovered.is_empty() {
        writeln!(out, "no policy covers: namespace {}", names(&summary.uncovered))?;
    }
    if let Some(Running { ended, mirrored, idle, .. }) = summary.running {
        let ended = (ended > 0).then(|| format!("{} that ended", count(ended, "Pod")));
        let mirrored = (mirrored > 0).then(|| format!("{} of nodes", count(mirrored, "static Pod")));
        let idle = (idle > 0).then(|| format!("{} scaled to zero, suspended or done", count(idle, "workload")));
        let left_out: Vec<_> = [ended, mirrored, idle].into_iter().flatten().collect();
        if !left_out.is_empty() {
            writeln!(out, "not judged: {}", left_out.join(", "))?;
        }
    }
    for unlisted in &summary.unlisted {
        writeln!(out, "not listed, so that Pods are judged as they are written: {}", shown(unlisted))?;
    }
    for deferred in &summary.deferred {
        writeln!(out, "not judged yet: {}", shown(deferred))?;
    }
    for note in &summary.notes {
        writeln!(out, "note: {}", shown(note))?;
    }
    if !summary.templates.is_empty() {
        let number = count(summary.templates.len(), "template");
        writeln!(out, "not judged, {number} of charts, render them (helm template): {}", names(&summary.templates))?;
    }
    if summary.unchanged_files + summary.unchanged_images > 0 {
        let (files, images) = (count(summary.unchanged_files, "file"), count(summary.unchanged_images, "image"));
        writeln!(out, "not judged, unchanged: {files}, and {images} of other files")?;
    }
    if summary.broken > 0 {
        writeln!(out, "not judged, or not in full: {}, see the errors", count(summary.broken, "broken file"))?;
    }
    Ok(())
}

/// Names in a row.
fn names(names: &[String]) -> String {
    names.iter().map(|name| shown(name)).collect::<Vec<_>>().join(", ")
}
