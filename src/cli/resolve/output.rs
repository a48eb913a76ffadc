//! What `resolve` prints: aligned lines for people, or the stable JSON.

use std::io::{self, Write};

use serde::Serialize;

use super::Resolution;
use crate::cli::report::json::{SCHEMA_VERSION, print};
use crate::cli::report::{SHOWN_BYTES, canonical};
use crate::policy::printable;

/// One paragraph an image.
pub(super) fn plain(resolutions: &[Resolution<'_>], out: &mut dyn Write) -> io::Result<()> {
    for (at, resolution) in resolutions.iter().enumerate() {
        if at > 0 {
            writeln!(out)?;
        }
        one(resolution, out)?;
    }
    out.flush()
}

fn one(resolution: &Resolution<'_>, out: &mut dyn Write) -> io::Result<()> {
    let mut line = |name: &str, text: &str| writeln!(out, "{name:<12}{text}");
    line("image", &printable(resolution.image, SHOWN_BYTES))?;
    if let Some(description) = &resolution.description {
        line("digest", description.digest.as_str())?;
        line("media type", &printable(&description.media_type, SHOWN_BYTES))?;
        let platforms: Vec<_> = description.platforms.iter().map(|name| printable(name, SHOWN_BYTES)).collect();
        let platforms = if platforms.is_empty() { "none".to_owned() } else { platforms.join(", ") };
        line("platforms", &platforms)?;
        line("asked as", &description.login)?;
    }
    if let Some(pinned) = resolution.pinned() {
        line("pinned", &pinned)?;
    }
    let Some(wrong) = &resolution.finding else { return Ok(()) };
    line("finding", &format!("{} {}", wrong.id.code(), wrong.reason))?;
    line("", &wrong.message)?;
    wrong.help.as_ref().map_or(Ok(()), |help| line("", help))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Output<'r> {
    schema_version: u32,
    images: Vec<ImageOutput<'r>>,
}

/// One image. Every key is always there.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ImageOutput<'r> {
    image: &'r str,
    canonical: Option<String>,
    digest: Option<&'r str>,
    media_type: Option<&'r str>,
    platforms: &'r [String],
    pinned: Option<String>,
    asked_as: Option<&'r str>,
    finding: Option<FindingOutput<'r>>,
}

#[derive(Serialize)]
struct FindingOutput<'r> {
    id: &'static str,
    reason: &'static str,
    message: &'r str,
    help: Option<&'r str>,
}

/// The stable interface: fields are added, never renamed.
pub(super) fn json(resolutions: &[Resolution<'_>], out: &mut dyn Write) -> io::Result<()> {
    let images = resolutions.iter().map(|resolution| {
        let description = resolution.description.as_ref();
        ImageOutput {
            image: resolution.image,
            canonical: resolution.reference.as_ref().map(canonical),
            digest: description.map(|description| description.digest.as_str()),
            media_type: description.map(|description| description.media_type.as_str()),
            platforms: description.map_or(&[], |description| &description.platforms),
            pinned: resolution.pinned(),
            asked_as: description.map(|description| description.login.as_str()),
            finding: resolution.finding.as_ref().map(|wrong| FindingOutput {
                id: wrong.id.code(),
                reason: wrong.reason,
                message: &wrong.message,
                help: wrong.help.as_deref(),
            }),
        }
    });
    print(&Output { schema_version: SCHEMA_VERSION, images: images.collect() }, out)
}
