//! The explanation for people: one step a line, aligned.

use std::io::{self, Write};
use std::sync::Arc;

use super::{Explanation, Fact, Governing, Pinned, Step, Written};
use crate::cli::report::{Located, SHOWN_BYTES};
use crate::image::{Reference, ReferenceError};
use crate::policy::{About, Decision, ImageFacts, REVISION, SOURCE, Source, Undecided, VERSION_LABEL, printable};

/// Writes the explanation.
pub(super) fn write(explanation: &Explanation<'_>, out: &mut dyn Write) -> io::Result<()> {
    let mut lines = Lines { out };
    lines.line("image", &printable(explanation.image, SHOWN_BYTES))?;
    match &explanation.reference {
        Ok(reference) => parsed(reference, explanation, &mut lines)?,
        Err(error) => unparsed(error, &mut lines)?,
    }
    explanation.facts.iter().try_for_each(|known| lines.line("fact", &fact(known)))?;
    explanation.images.iter().try_for_each(|(digest, known)| said(digest, known, &mut lines))?;
    policies(explanation, &mut lines)?;
    explanation.notes.iter().try_for_each(|note| lines.line("note", note))?;
    match &explanation.pinned {
        Some(Pinned { reference, written: Written::Yes }) => lines.line("pinned", reference)?,
        Some(Pinned { reference, written: Written::Told }) => {
            lines.line("pinned", &format!("no; were digest enforced: {reference}"))?;
        }
        None => {}
    }
    lines.line("verdict", &verdict(explanation))?;
    lines.out.flush()
}

/// Writes aligned lines: a name, then what there is to say.
struct Lines<'w> {
    out: &'w mut dyn Write,
}

impl Lines<'_> {
    fn line(&mut self, name: &str, text: &str) -> io::Result<()> {
        writeln!(self.out, "{name:<12}{text}")
    }
}

/// What the reference says, part by part.
fn parsed(reference: &Reference<'_>, explanation: &Explanation<'_>, lines: &mut Lines<'_>) -> io::Result<()> {
    let canonical = reference.canonical_registry();
    let registry = match reference.registry() {
        written if reference.is_short() => format!("{written} (none is written)"),
        written if written == canonical => written.to_owned(),
        written => format!("{written} (canonical: {canonical})"),
    };
    lines.line("registry", &registry)?;
    lines.line("repository", &reference.repository())?;
    let tag = match reference.tag() {
        Some(tag) if reference.tag_defaulted() => format!("{tag} (none is written)"),
        Some(tag) => tag.to_owned(),
        None => "none".to_owned(),
    };
    lines.line("tag", &tag)?;
    lines.line("digest", reference.digest().map_or("none", |digest| digest.as_str()))?;
    let class = explanation.class.as_deref().unwrap_or("none of the known ones");
    let facts = reference.tag_facts();
    let arch = facts.arch.map_or_else(String::new, |arch| format!(", architecture {arch}"));
    let env = facts.env.map_or_else(String::new, |env| format!(", environment {env}"));
    lines.line("class", &format!("{class}{arch}{env}"))?;
    match explanation.refused {
        Some(refusal) => lines.line("refused", &format!("{}: {}", refusal.name(), refusal.message())),
        None => lines.line("refused", "no"),
    }
}

/// What is known of a tag, and how.
fn fact(fact: &Fact) -> String {
    let tag = printable(&fact.tag, SHOWN_BYTES);
    let known = match &fact.answer {
        Ok(known) => known,
        Err(undecided) => return format!("{tag}: {} {}", undecided.failure.finding().code(), undecided.detail),
    };
    let source = match known.source {
        Source::Now => String::new(),
        Source::Remembered => ", as remembered".to_owned(),
        Source::Stale(age) => format!(", as it was {age} s ago: the registry does not answer"),
    };
    let moved =
        known.moved_from.as_ref().map_or_else(String::new, |first| format!(", and was {first} when first seen"));
    format!("{tag} is {}{source}{moved}", known.digest)
}

/// What an image says of itself: one line a platform.
fn said(digest: &str, known: &Result<Arc<ImageFacts>, Undecided>, lines: &mut Lines<'_>) -> io::Result<()> {
    let image = match known {
        Ok(image) => image,
        Err(undecided) => {
            let code = undecided.failure.finding().code();
            return lines.line("fact", &format!("{digest}: {code} {}", undecided.detail));
        }
    };
    for one in &image.platforms {
        let labels = [("revision", REVISION), ("version", VERSION_LABEL), ("source", SOURCE)].into_iter();
        let labels = labels.filter_map(|(name, label)| Some((name, one.labels.get(label)?.as_str())));
        let bases = one.bases().map(|base| ("base", base));
        let told = labels.chain(bases).map(|(name, text)| format!(", {name} {}", printable(text, SHOWN_BYTES)));
        lines.line(
            "fact",
            &format!("{digest} on {}: created {}{}", one.platform, one.created, told.collect::<String>()),
        )?;
    }
    Ok(())
}

/// Why it is no reference.
fn unparsed(error: &ReferenceError, lines: &mut Lines<'_>) -> io::Result<()> {
    let at = error.position;
    lines.line("error", &format!("{} at byte {at}: {}", error.reason.name(), error.message()))?;
    match &error.suggestion {
        Some(suggestion) => lines.line("", &format!("did you mean {suggestion}?")),
        None => Ok(()),
    }
}

fn policies(explanation: &Explanation<'_>, lines: &mut Lines<'_>) -> io::Result<()> {
    let Some(steps) = &explanation.policies else {
        return lines.line("policies", "none given (--policies DIR)");
    };
    let labels = match &explanation.labels {
        None => "labels unknown, so selectors match".to_owned(),
        Some(labels) => labels.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(", "),
    };
    lines.line("namespace", &format!("{} ({labels})", explanation.namespace))?;
    if explanation.infrastructure {
        return lines.line("policies", "none judges an infrastructure namespace");
    }
    if let Some(governing) = &explanation.release {
        lines.line("release", &release(governing))?;
    }
    for step in steps {
        one_policy(step, lines)?;
    }
    explanation.findings.iter().try_for_each(|located| finding(located, lines))
}

/// Which release governs, and by what; or why none does.
fn release(governing: &Governing) -> String {
    match (&governing.release, &governing.why_none) {
        (Some((name, id)), _) => format!("{} ({}), by {}", printable(name, SHOWN_BYTES), id.short(), governing.by),
        (None, Some(why)) => format!("none: {why}"),
        (None, None) => "none".to_owned(),
    }
}

fn one_policy(step: &Step, lines: &mut Lines<'_>) -> io::Result<()> {
    let Some(ruling) = &step.ruling else {
        lines.line("policy", &format!("{}: does not apply to this namespace", step.name))?;
        return reasons(step, lines);
    };
    lines.line("policy", &format!("{}: applies", step.name))?;
    reasons(step, lines)?;
    for located in &ruling.findings {
        finding(located, lines)?;
    }
    match &ruling.allowed {
        Some(why) => lines.line("  allowed", why),
        None => Ok(()),
    }
}

fn reasons(step: &Step, lines: &mut Lines<'_>) -> io::Result<()> {
    let name = |about| match about {
        About::Namespaces => "where",
        other => other.name(),
    };
    step.reasons.iter().try_for_each(|reason| lines.line(&format!("  {}", name(reason.about)), &reason.text))
}

fn finding(located: &Located, lines: &mut Lines<'_>) -> io::Result<()> {
    let finding = &located.finding;
    let check = finding.check.name();
    lines.line("  finding", &format!("{} {check}, mode {}", finding.id.code(), finding.mode.name()))?;
    lines.line("", &finding.message)?;
    if let Some(instead) = &finding.use_instead {
        lines.line("", &format!("use: {instead}"))?;
    }
    if let Some(id) = &finding.exception {
        lines.line("  exception", id)?;
    }
    if let Some(contact) = &located.owner.contact {
        lines.line("  owner", contact)?;
    }
    match &located.owner.docs {
        Some(docs) => lines.line("  read", &format!("{docs}#{}", finding.id.code())),
        None => Ok(()),
    }
}

/// The decision, and what it rests on where that is not plain.
fn verdict(explanation: &Explanation<'_>) -> String {
    let name = explanation.decision.name();
    let uncovered = explanation.policies.as_ref().is_some_and(|steps| steps.iter().all(|step| step.ruling.is_none()));
    match explanation.decision {
        Decision::Allow if explanation.policies.is_none() => format!("{name} (by its shape alone)"),
        _ if explanation.infrastructure => format!("{name} (never judged)"),
        _ if uncovered => format!("{name} (no policy covers the namespace)"),
        _ => name.to_owned(),
    }
}
