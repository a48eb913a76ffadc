//! The images of a decision's line, as JSON.

use std::fmt;

use super::MAX_BYTES;
use super::json::quoted;
use crate::policy::{Finding, ImageVerdict, Pinning, Verdict, shown};

/// Images that one line tells of; `image_count` counts all.
const MAX_IMAGES: usize = 20;

/// Its `Debug` writes the images of a verdict as a JSON array, straight into the line: a field with it needs no text of its
/// own, and [`super::json`] takes it as it is. Strings from outside are escaped here.
pub(super) struct Images<'v>(pub Option<&'v Verdict<'v>>);

impl fmt::Debug for Images<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let images = self.0.map(|verdict| verdict.images.as_slice()).unwrap_or_default();
        f.write_str("[")?;
        for (index, image) in images.iter().take(MAX_IMAGES).enumerate() {
            f.write_str(if index == 0 { "{\"reference\":" } else { ",{\"reference\":" })?;
            write_image(f, image)?;
            f.write_str("}")?;
        }
        f.write_str("]")
    }
}

fn write_image(f: &mut fmt::Formatter<'_>, image: &ImageVerdict<'_>) -> fmt::Result {
    quoted(f, &shown(image.image, MAX_BYTES))?;
    let digest = image.reference.as_ref().and_then(|reference| reference.digest());
    // The digest that is written into the Pod, or the one that would be, were the check enforced.
    let pin = match &image.pin {
        Pinning::None => None,
        Pinning::Write(digest) => Some((",\"pin\":", digest)),
        Pinning::Told(digest) => Some((",\"would_pin\":", digest)),
    };
    write_some(f, ",\"class\":", image.class)?;
    write_some(f, ",\"rule\":", image.applied.iter().find_map(|applied| applied.rule))?;
    write_some(f, ",\"digest\":", digest.map(|digest| digest.as_str()))?;
    if let Some((name, digest)) = pin {
        write_some(f, name, Some(digest.as_str()))?;
    }
    write_some(f, ",\"decision\":", Some(image.decision.name()))?;
    if image.findings().next().is_none() {
        return Ok(());
    }
    // Codes and modes need no escapes.
    f.write_str(",\"findings\":\"")?;
    write_codes(f, image.findings())?;
    f.write_str("\"")
}

fn write_some(f: &mut fmt::Formatter<'_>, name: &str, value: Option<&str>) -> fmt::Result {
    let Some(value) = value else { return Ok(()) };
    f.write_str(name)?;
    quoted(f, value)
}

/// `TW120 enforce, TW110 audit`.
pub(super) fn write_codes<'f>(
    out: &mut dyn fmt::Write,
    findings: impl Iterator<Item = &'f Finding<'f>>,
) -> fmt::Result {
    for (index, finding) in findings.enumerate() {
        let separator = if index == 0 { "" } else { ", " };
        write!(out, "{separator}{} {}", finding.id.code(), finding.mode.name())?;
    }
    Ok(())
}
