//! The texts that people read: the denial, and the warnings of what is let in.

use super::consider::About;
use crate::policy::{
    Decision, FieldPath, Finding, FindingId, IMAGE_BYTES, ImageVerdict, Mode, Owner, Verdict, printable, shown,
};
use std::borrow::Cow;
use std::fmt::Write as _;

/// The bytes that a denial may have; kubectl prints it on a terminal.
const MAX_DENIAL_BYTES: usize = 1000;
/// The violations that a denial shows in full.
const MAX_ITEMS: usize = 5;
/// The bytes of a field's path.
const MAX_FIELD_BYTES: usize = 500;
/// The bytes of a container's name; Kubernetes allows 63.
const MAX_NAME_BYTES: usize = 63;
/// The bytes of an image to use instead: a digest that is cut is none.
const MAX_USE_BYTES: usize = 400;
/// The characters of a warning; the API server cuts at 256.
const MAX_WARNING_BYTES: usize = 200;
/// The bytes of an image in a warning, so that what is wrong with it still fits.
const MAX_WARNED_IMAGE_BYTES: usize = 80;

/// Whether [`one_line`] changes nothing.
pub(super) fn is_one_line(text: &str, max: usize) -> bool {
    text.len() <= max && text.bytes().all(|byte| matches!(byte, b' '..=b'~'))
}

/// Text that is made up of printable parts as one line of at most `max` bytes. Escapes are neither doubled nor cut in two.
pub(super) fn one_line(text: &str, max: usize) -> String {
    let mut line = String::with_capacity(text.len().min(max));
    for c in text.chars() {
        if matches!(c, ' '..='~') {
            line.push(c);
        } else {
            line.extend(c.escape_default());
        }
        if line.len() > max {
            line.truncate(max.saturating_sub(3));
            line.truncate(before_cut_escape(&line));
            line.push_str("...");
            break;
        }
    }
    line
}

/// The end of a cut text without the escape that the cut went through, if it did.
fn before_cut_escape(text: &str) -> usize {
    let Some(last) = text.rfind('\\') else {
        return text.len();
    };
    let escape = &text[last + 1..];
    let is_cut = escape.is_empty() || escape == "u" || (escape.starts_with("u{") && !escape.contains('}'));
    if !is_cut {
        return text.len();
    }
    // Of two backslashes that stand for one, none is the beginning of an escape.
    let backslashes = text[..=last].bytes().rev().take_while(|byte| *byte == b'\\').count();
    if backslashes % 2 == 0 { text.len() } else { last }
}

/// The text of a denial: what is wrong, with what, by which policy, what to write instead, and whom to ask.
///
/// ASCII without control characters but newline, at most 1,000 bytes, whatever the object holds: violations that do
/// not fit are counted (`+2 more`). `owner_of` says whom the named policy tells people to turn to.
pub fn denial<'o>(verdict: &Verdict<'_>, about: &About<'_>, owner_of: impl Fn(&str) -> Option<&'o Owner>) -> String {
    let items: Vec<Item<'_>> = enforced(verdict).collect();
    let text = |limits: &Limits, shown: usize| {
        let heading = heading(verdict, &items, about, limits);
        let body = body(verdict, about, &items[..shown], limits, items.len());
        format!("{heading}\n\n{body}{}", tail(&items, about, &owner_of, limits))
    };
    for limits in &LIMITS {
        for shown in (1..=items.len().min(MAX_ITEMS)).rev() {
            let text = text(limits, shown);
            if text.len() <= MAX_DENIAL_BYTES {
                return text;
            }
        }
    }
    // Not even one violation fits beside names and contacts of extreme length: the heading says how many there are.
    text(&LIMITS[LIMITS.len() - 1], 0)
}

/// How much of what makes a denial long is shown.
struct Limits {
    /// Bytes of the object's name.
    name: usize,
    /// Bytes of what is wrong with one image.
    message: usize,
    /// Policies whose owners are named.
    owners: usize,
}

/// From what is shown where there is room to what always fits.
const LIMITS: [Limits; 3] = [
    Limits { name: 253, message: 300, owners: 2 },
    Limits { name: 63, message: 300, owners: 2 },
    Limits { name: 63, message: 100, owners: 1 },
];

/// What is let in although something is wrong: findings in mode warn, those that an exception excuses among them; and
/// what is to be told although nothing is. One line each.
pub fn warnings(verdict: &Verdict<'_>, about: &About<'_>) -> Vec<String> {
    let notes = verdict.images.iter().flat_map(|image| &image.notes);
    let notes = notes.map(|note| one_line(&format!("tagwarden: {note}"), MAX_WARNING_BYTES));
    all_items(verdict)
        .filter(|item| item.finding.mode == Mode::Warn)
        .map(|item| {
            let line = item.line(about, several(verdict), MAX_WARNED_IMAGE_BYTES);
            one_line(&format!("{line}: {}", item.finding.message), MAX_WARNING_BYTES)
        })
        .chain(notes)
        .collect()
}

/// One finding and the image it is about; none: the object as a whole.
#[derive(Clone, Copy)]
pub(super) struct Item<'v> {
    pub(super) finding: &'v Finding<'v>,
    pub(super) image: Option<&'v ImageVerdict<'v>>,
}

/// All findings that deny.
pub(super) fn enforced<'v>(verdict: &'v Verdict<'v>) -> impl Iterator<Item = Item<'v>> {
    all_items(verdict).filter(|item| item.finding.mode == Mode::Enforce)
}

pub(super) fn all_items<'v>(verdict: &'v Verdict<'v>) -> impl Iterator<Item = Item<'v>> {
    let of_object = verdict.object_findings.iter().map(|finding| Item { finding, image: None });
    let of_images = verdict
        .images
        .iter()
        .flat_map(|image| image.findings().map(move |finding| Item { finding, image: Some(image) }));
    of_object.chain(of_images)
}

impl Item<'_> {
    /// `TW120 tags: container "api", image registry.example.com/acme/api:latest`.
    pub(super) fn line(&self, about: &About<'_>, names_policy: Several, image_bytes: usize) -> String {
        let id = self.finding.id;
        let mut notes = Vec::new();
        if names_policy == Several::Yes && !self.finding.policy.is_empty() {
            notes.push(format!("policy {}", printable(self.finding.policy, MAX_NAME_BYTES)));
        }
        if let Some(exception) = self.finding.exception {
            notes.push(format!("exception {}", printable(exception, MAX_NAME_BYTES)));
        }
        let notes = if notes.is_empty() { String::new() } else { format!(" ({})", notes.join(", ")) };
        let place = self.image.map_or_else(|| object_place(id, about), |image| image_place(image, image_bytes));
        format!("{} {}{notes}: {place}", id.code(), self.finding.check.name())
    }
}

/// `container "api", image registry.example.com/acme/api:latest`.
fn image_place(image: &ImageVerdict<'_>, image_bytes: usize) -> String {
    let text = if image.image.is_empty() { "(blank)".to_owned() } else { printable(image.image, image_bytes) };
    match image.container {
        Some(name) => format!("{} \"{}\", image {text}", image.list.noun(), printable(name, MAX_NAME_BYTES)),
        None => format!("{}, image {text}", printable(&image.field.to_string(), MAX_NAME_BYTES * 2)),
    }
}

fn object_place(id: FindingId, about: &About<'_>) -> String {
    match (id, &about.namespace) {
        (FindingId::Tw198, Some(namespace)) => {
            format!("namespace {}", printable(namespace, MAX_NAME_BYTES))
        }
        (FindingId::Tw198, None) => "cluster-scoped".to_owned(),
        (FindingId::Tw199, _) => about.shown_kind(),
        _ => "the object as a whole".to_owned(),
    }
}

/// Whether several policies apply, so that each item names its own.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Several {
    Yes,
    No,
}

pub(super) fn several(verdict: &Verdict<'_>) -> Several {
    if verdict.policies.len() > 1 { Several::Yes } else { Several::No }
}

/// `Deployment shop-prod/checkout`.
fn subject(about: &About<'_>, name_limit: usize) -> String {
    let kind = if about.kind.is_empty() { "the request".to_owned() } else { printable(&about.kind, MAX_NAME_BYTES) };
    let name = printable(&about.shown_name(), name_limit);
    match &about.namespace {
        Some(namespace) => format!("{kind} {}/{name}", printable(namespace, MAX_NAME_BYTES)),
        None if name.is_empty() => kind,
        None => format!("{kind} {name}"),
    }
}

fn heading(verdict: &Verdict<'_>, items: &[Item<'_>], about: &About<'_>, limits: &Limits) -> String {
    let subject = subject(about, limits.name);
    let total = verdict.images.len();
    if verdict.decision == Decision::Unresolved {
        let undecided = verdict.images.iter().filter(|image| image.decision == Decision::Unresolved).count();
        return format!("tagwarden could not decide on {subject}: {undecided} of {total} images");
    }
    let mut reasons: Vec<String> = Vec::new();
    for finding in items.iter().filter(|item| item.image.is_none()).map(|item| item.finding) {
        let reason = match finding.id {
            FindingId::Tw197 => "too many images",
            FindingId::Tw199 => "nobody told tagwarden where this kind keeps its images",
            id => id.title(),
        };
        if !reasons.iter().any(|known| known == reason) {
            reasons.push(reason.to_owned());
        }
    }
    let broken =
        verdict.images.iter().filter(|image| image.findings().any(|finding| finding.mode == Mode::Enforce)).count();
    if broken > 0 {
        let policies = broken_policies(items);
        let policies = match policies.as_slice() {
            [(policy, _)] => format!("policy {}", printable(policy, MAX_NAME_BYTES)),
            policies => format!("{} policies", policies.len()),
        };
        // The words do not follow the number: people and programs search for this line.
        reasons.push(format!("{broken} of {total} images break {policies}"));
    }
    if reasons.is_empty() {
        reasons.push("no verdict was reached".to_owned());
    }
    format!("tagwarden denied {subject}: {}", reasons.join("; "))
}

/// The policies that are broken, each with the first finding, in the order of the items.
fn broken_policies<'v>(items: &[Item<'v>]) -> Vec<(&'v str, FindingId)> {
    let mut policies: Vec<(&str, FindingId)> = Vec::new();
    for finding in items.iter().map(|item| item.finding) {
        if !finding.policy.is_empty() && !policies.iter().any(|(policy, _)| *policy == finding.policy) {
            policies.push((finding.policy, finding.id));
        }
    }
    policies
}

/// The violations that are shown, and how many more there are of `total`.
fn body(verdict: &Verdict<'_>, about: &About<'_>, shown: &[Item<'_>], limits: &Limits, total: usize) -> String {
    let mut text = String::new();
    for (number, item) in shown.iter().enumerate() {
        let line = item.line(about, several(verdict), IMAGE_BYTES);
        let message = one_line(&item.finding.message, limits.message);
        text.push_str(&format!("{}. {line}\n   {message}\n", number + 1));
        if let Some(image) = &item.finding.use_instead {
            text.push_str(&format!("   use: {}\n", one_line(image, MAX_USE_BYTES)));
        }
    }
    if total > shown.len() {
        text.push_str(&format!("+{} more\n", total - shown.len()));
    }
    if total > 0 {
        text.push('\n');
    }
    text
}

/// Whom to ask, and how to see it again.
fn tail<'o>(
    items: &[Item<'_>],
    about: &About<'_>,
    owner_of: impl Fn(&str) -> Option<&'o Owner>,
    limits: &Limits,
) -> String {
    let mut text = String::new();
    for (policy, id) in broken_policies(items).into_iter().take(limits.owners) {
        let Some(owner) = owner_of(policy) else {
            continue;
        };
        let contact = owner.contact.as_deref().map(|contact| format!("Owner: {}", printable(contact, 80)));
        let help = owner.docs.as_deref().map(|docs| format!("Help: {}#{}", printable(docs, 160), id.code()));
        let parts: Vec<String> = contact.into_iter().chain(help).collect();
        if !parts.is_empty() {
            text.push_str(&format!("{}\n", parts.join("  ")));
        }
    }
    text.push_str("Reproduce: tagwarden check ");
    if let Some(namespace) = &about.namespace {
        text.push_str(&format!("--namespace {} ", printable(namespace, MAX_NAME_BYTES)));
    }
    let request: String = about.uid.chars().take(8).collect();
    text.push_str(&format!("FILE  (request {})", printable(&request, 24)));
    text
}

/// A field's path as an answer prints it.
pub(super) fn field_text(field: &FieldPath<'_>) -> String {
    printable(&field.to_string(), MAX_FIELD_BYTES)
}

/// Appends [`field_text`] to `out`.
pub(super) fn push_field(out: &mut String, field: &FieldPath<'_>) {
    let start = out.len();
    // Writing to a String cannot fail.
    let _ = write!(out, "{field}");
    let shown = match shown(&out[start..], MAX_FIELD_BYTES) {
        Cow::Borrowed(_) => return,
        Cow::Owned(shown) => shown,
    };
    out.truncate(start);
    out.push_str(&shown);
}

#[cfg(test)]
mod tests;
