//! The list `images` of a kustomization: each entry gives an image another name, tag or digest.
//!
//! kustomize writes `newTag` and `digest` behind the name where both are given (since 2022; before, `digest` alone), so
//! the tag stays for people to read, and the digest decides either way:
//! <https://github.com/kubernetes-sigs/kustomize/blob/master/api/filters/imagetag/updater.go>.

use super::spot::{Reason, Slot, Spot, Target, slot_of_key, unwritable};
use crate::document::{Entry, Node, Value, behind, entry, quote_of};
use crate::image::Reference;

/// The API group of kustomization files.
pub(super) const GROUP: &str = "kustomize.config.k8s.io";
/// The API group of Flux's objects of the same name.
pub(super) const FLUX_GROUP: &str = "kustomize.toolkit.fluxcd.io";

/// Whether a file is a kustomization by its name; it may then leave out its kind.
pub(super) fn is_named(name: &str) -> bool {
    matches!(name, "kustomization.yaml" | "kustomization.yml" | "Kustomization")
}

/// Whether a map without a kind is a kustomization by what it holds.
pub(super) fn looks_like(root: &Node) -> bool {
    let replaces = |node: &Node| {
        node.get("name").is_some() && ["newTag", "newName", "digest"].iter().any(|key| node.get(key).is_some())
    };
    root.get("images").and_then(Node::as_list).is_some_and(|images| images.iter().any(replaces))
}

/// Takes the entries of a list `images`.
pub(super) fn spots(text: &str, images: Option<&Node>, spots: &mut Vec<Spot>) {
    let entries = images.and_then(Node::as_list).unwrap_or_default();
    spots.extend(entries.iter().filter_map(|image| spot(text, image)));
}

fn spot(text: &str, image: &Node) -> Option<Spot> {
    let filled = |key| image.get(key).filter(|node| node.value != Value::Null && node.as_str() != Some(""));
    let name_node = filled("newName").or_else(|| filled("name"))?;
    let name = name_node.as_str()?.to_owned();
    let digest = filled("digest").and_then(Node::as_str);
    let Some(tag_node) = filled("newTag") else {
        return Some(match digest {
            Some(digest) => composed(text, image, name_node, format!("{name}@{digest}")),
            None => {
                let why = "it keeps the tag that its base has, and is pinned there";
                Spot { place: name_node.span.clone(), image: name, target: Target::Left(why.into()) }
            }
        });
    };
    let Some(tag) = tag_node.as_str() else {
        let why = format!("'newTag' is {}, which kustomize refuses", tag_node.describe());
        let target = Target::Unknown(Reason::new(why, "write the tag in quotes"));
        return Some(Spot { place: tag_node.span.clone(), image: name, target });
    };
    if tag.contains('@') {
        return Some(Spot::ending(text, &tag_node.span, tag, format!("{name}:{tag}")));
    }
    let full = match digest {
        Some(digest) => format!("{name}:{tag}@{digest}"),
        None => format!("{name}:{tag}"),
    };
    Some(composed(text, image, tag_node, full))
}

/// An image whose digest has a key of its own, there or to come.
fn composed(text: &str, image: &Node, anchor: &Node, full: String) -> Spot {
    let target = match Reference::parse(&full) {
        Err(error) => Target::Unknown(Reason::unreadable(&error)),
        Ok(_) => {
            let slot = match (entry(image, "digest"), entry(image, "newTag")) {
                (Some(digest), _) => slot_of_key(text, digest),
                (None, Some(tag)) => new_key(text, image, tag),
                (None, None) => None,
            };
            slot.map_or_else(unwritable, Target::Slot)
        }
    };
    Spot { place: anchor.span.clone(), image: full, target }
}

/// The slot of a key `digest` that is still to be written, after another key and as that is written.
fn new_key(text: &str, map: &Node, after: &Entry) -> Option<Slot> {
    let quote = quote_of(text, &after.key_span);
    let key = format!("{quote}digest{quote}: {quote}");
    let value = after.value.span.clone();
    // What goes over lines, or stands elsewhere (an alias, a merged map), has no end of its line to write after.
    if text.get(value.clone())?.trim_end().contains('\n') || text.get(after.key_span.end..value.start)?.contains('\n') {
        return None;
    }
    let (at, lead) = behind(text, map, after)?;
    Some(Slot { span: at..at, before: format!("{lead}{key}"), after: quote.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::{Source, parse};

    /// A text with `NEW` as the digest of every image, and the images, or why there is no place.
    fn written(text: &str) -> (String, Vec<String>) {
        let (documents, problems) = parse(&Source::new("kustomization.yaml", text));
        assert_eq!(problems, [], "{text}");
        let mut found = Vec::new();
        spots(text, documents[0].root.get("images"), &mut found);
        let mut edits = crate::document::Edits::default();
        let told = found.iter().map(|spot| match &spot.target {
            Target::Slot(slot) => {
                assert!(edits.add(slot.edit("NEW")));
                spot.image.clone()
            }
            Target::Fixed(reason) | Target::Unknown(reason) => reason.why.to_string(),
            Target::Left(why) => why.to_string(),
        });
        let told = told.collect();
        (edits.apply(text), told)
    }

    #[test]
    fn a_digest_stands_below_the_tag_as_that_is_written() {
        for (before, after) in [
            (
                "images:\n- name: a\n  newTag: v1 # c\n- name: b\n  newTag: v2\n",
                "images:\n- name: a\n  newTag: v1 # c\n  digest: NEW\n- name: b\n  newTag: v2\n  digest: NEW\n",
            ),
            ("images:\n  - newTag: 'v1'\n    name: a\n", "images:\n  - newTag: 'v1'\n    digest: NEW\n    name: a\n"),
            ("images:\r\n- name: a\r\n  newTag: v1\r\n", "images:\r\n- name: a\r\n  newTag: v1\r\n  digest: NEW\r\n"),
            ("images:\n- name: a\n  newTag: v1", "images:\n- name: a\n  newTag: v1\n  digest: NEW"),
            ("images: [{name: a, newTag: v1}]\n", "images: [{name: a, newTag: v1, digest: NEW}]\n"),
            (
                "{\"images\": [{\"name\": \"a\", \"newTag\": \"v1\"}]}",
                "{\"images\": [{\"name\": \"a\", \"newTag\": \"v1\", \"digest\": \"NEW\"}]}",
            ),
            ("images:\n- name: a\n  newTag: v1\n  digest: ''\n", "images:\n- name: a\n  newTag: v1\n  digest: 'NEW'\n"),
        ] {
            assert_eq!(written(before).0, after);
        }
    }

    #[test]
    fn the_image_is_what_kustomize_makes_of_it() {
        let old = format!("sha256:{}", "1".repeat(64));
        let text = format!(
            "images:\n- {{name: a, newName: r.example.com/a, newTag: v1}}\n- {{name: b, digest: '{old}'}}\n\
                            - {{name: c, newTag: v1, digest: '{old}'}}\n- {{name: d, newTag: 'v1@{old}'}}\n- {{name: e, newName: f}}\n- {{name: g, newTag: 1.10}}\n- {{newTag: v1}}\n"
        );
        let expected = [
            "r.example.com/a:v1".to_owned(),
            format!("b@{old}"),
            format!("c:v1@{old}"),
            format!("d:v1@{old}"),
            "it keeps the tag that its base has, and is pinned there".to_owned(),
            "'newTag' is the number 1.1, which kustomize refuses".to_owned(),
        ];
        assert_eq!(written(&text).1, expected);
    }

    #[test]
    fn a_tag_from_elsewhere_has_no_line_to_write_after() {
        let (after, told) = written("images:\n- name: a\n  newTag: &v v1\n- name: b\n  newTag: *v\n");
        assert_eq!(after, "images:\n- name: a\n  newTag: &v v1\n  digest: NEW\n- name: b\n  newTag: *v\n");
        assert!(told[1].contains("no safe place"), "{told:?}");
    }
}
