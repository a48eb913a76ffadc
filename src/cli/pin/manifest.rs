//! Images of Kubernetes objects, found where admission finds them.

use std::collections::BTreeMap;

use super::kustomize;
use super::spot::{Reason, Spot, Target};
use crate::cli::objects::{Object, Part};
use crate::document::Node;
use crate::review::Workloads;

/// Takes the images of an object; one of a kind without known images is counted.
pub(super) fn object(
    text: &str,
    object: &Object<'_>,
    workloads: &Workloads,
    other_kinds: &mut BTreeMap<String, usize>,
    spots: &mut Vec<Spot>,
) {
    match object.group {
        kustomize::GROUP => return kustomize::spots(text, object.node.get("images"), spots),
        // Flux's own kind of this name has the same list, and passes it on.
        kustomize::FLUX_GROUP => return kustomize::spots(text, object.node.at("spec.images"), spots),
        _ => {}
    }
    if !workloads.knows(object.group, object.kind) {
        *other_kinds.entry(object.kind.to_owned()).or_default() += 1;
        return;
    }
    let json = object.node.to_json().to_string();
    let collected = workloads.read_object(object.group, object.kind, &json, None);
    for image in collected.images() {
        let node = object.node.at(&image.field.to_string());
        spots.push(match (node.filter(|node| node.as_str().is_some()), &image.reference) {
            (Some(node), _) => Spot::whole(text, node),
            (None, reference) => {
                let place = node.unwrap_or_else(|| object.anchor()).span.clone();
                let reason = reference.as_ref().err().map_or_else(
                    || Reason::new("it cannot be found again in the text", "please report it"),
                    Reason::unreadable,
                );
                Spot { place, image: image.image.to_owned(), target: Target::Unknown(reason) }
            }
        });
    }
}

/// Whether any of a document's parts is an object.
pub(super) fn has_object(parts: &[Part<'_>]) -> bool {
    parts.iter().any(|part| matches!(part, Part::Object(_)))
}

/// Whether a map has neither of the keys that make it an object: files of other tools have none.
pub(super) fn is_no_object(root: &Node) -> bool {
    root.get("kind").is_none() && root.get("apiVersion").is_none()
}
