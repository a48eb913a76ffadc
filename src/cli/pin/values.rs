//! Images of Helm values files.

use super::spot::{Reason, Spot, Target, slot_of_key, unwritable};
use crate::cli::values_file::{self, Parts, Written};
use crate::document::{Node, entry};
use crate::image::Reference;

/// Whether a file holds values by its name: `values.yaml`, `values-prod.yaml`, `prod-values.yaml`.
pub(super) fn is_named(name: &str) -> bool {
    let stem = [".yaml", ".yml", ".json"].iter().find_map(|end| name.strip_suffix(end));
    stem.is_some_and(|stem| stem.starts_with("values") || stem.ends_with("values"))
}

/// Whether a map without a kind holds values by what is in it: an image written as parts.
pub(super) fn looks_like(root: &Node) -> bool {
    values_file::images(root).iter().any(|image| matches!(image.written, Written::Parts(_)))
}

/// Takes the images of a values file.
pub(super) fn spots(text: &str, root: &Node, spots: &mut Vec<Spot>) {
    for image in values_file::images(root) {
        let parts = match image.written {
            Written::Whole(node) => {
                spots.push(Spot::whole(text, node));
                continue;
            }
            Written::Parts(parts) => parts,
        };
        let place = image.anchor().span.clone();
        spots.push(match image.reference() {
            Ok(full) => Spot { place, target: target(text, &image.path, &parts, &full), image: full.into_owned() },
            Err(why) => {
                let image = parts.repository.as_str().unwrap_or_default().to_owned();
                let help = "write the tag here to have it pinned";
                Spot { place, image, target: Target::Unknown(Reason::new(why, help)) }
            }
        });
    }
}

fn target(text: &str, path: &str, parts: &Parts<'_>, full: &str) -> Target {
    let reference = match Reference::parse(full) {
        Ok(reference) => reference,
        Err(error) => return Target::Unknown(Reason::unreadable(&error)),
    };
    let filled = parts.digest.and_then(Node::as_str).is_some_and(|digest| !digest.is_empty());
    if let (Some(tag), Some(_), false) = (parts.tag, reference.digest(), filled) {
        // `tag: v1@sha256:...`, for charts that know no digest.
        let value = tag.as_str().unwrap_or_default();
        return Spot::ending(text, &tag.span, value, full.to_owned()).target;
    }
    match entry(parts.map, "digest") {
        Some(digest) => slot_of_key(text, digest).map_or_else(unwritable, Target::Slot),
        None => Target::Fixed(Reason::new(
            format!("there is no key `{path}{}digest`", if path.is_empty() { "" } else { "." }),
            "where the chart reads one, write `digest: \"\"` below the tag; where not, the digest behind the tag, `tag: v1@sha256:...`",
        )),
    }
}
