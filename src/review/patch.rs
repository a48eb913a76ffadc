//! The patch that writes digests into a Pod: what changes, as a JSON patch (RFC 6902) that always applies.
//!
//! Only `replace` of image strings that stand in the object, `add` of our annotations, and `remove` of one of ours that
//! somebody else wrote. Never a `test`, never a path that the object sent does not have: the API server answers a patch that does not apply with an error, whatever
//! the failure policy.

use super::pins::slot;
use super::pod::{Annotations, IMAGES_ANNOTATION, PINS_ANNOTATION, Place, PodMetadata, RELEASE_ANNOTATION};
use crate::image::{Digest, Reference};
use crate::policy::{FieldPath, ImageUse, List};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::io;

/// The most that one annotation of ours holds.
const MAX_ANNOTATION_BYTES: usize = 64 << 10;
/// The most that all annotations of an object hold (`TotalAnnotationSizeLimitB` of Kubernetes' validation).
const MAX_TOTAL_BYTES: usize = 256 << 10;
/// Room that is kept for the annotation that names a release: a name of 128 bytes and an id.
const MAX_RELEASE_BYTES: usize = 320;
/// Said where not everything fits.
const LEFT_OUT: &str = "not all images as written and proofs of pins fit into the annotations tagwarden.dev/images and \
                        tagwarden.dev/pins; the images are pinned all the same";

/// One image string that is to be replaced.
#[derive(Clone, Debug)]
pub struct Rewrite<'a> {
    /// Where it stands.
    pub field: FieldPath<'a>,
    /// How our annotations name it.
    pub slot: Option<String>,
    /// As it was written.
    pub from: &'a str,
    /// What is written instead.
    pub to: String,
    /// The proof for [`PINS_ANNOTATION`].
    pub proof: Option<String>,
}

impl<'a> Rewrite<'a> {
    /// Of an image in a place of a Pod; none for a place that configuration added: whoever reads that one may not
    /// understand a digest.
    #[must_use]
    pub fn new(image: &ImageUse<'a>, to: String) -> Option<Self> {
        of_pod(&image.field)?;
        let slot = slot(image.list, image.container);
        Some(Rewrite { field: image.field.clone(), slot, from: image.image, to, proof: None })
    }
}

/// `image` with a digest: as written otherwise. Where no tag is written, the `latest` that it means is, so that it is
/// still judged by that tag. None where it has a digest, or would not be the same image any more.
#[must_use]
pub fn with_digest(image: &str, digest: Digest<'_>) -> Option<String> {
    let reference = Reference::parse(image).ok().filter(|reference| reference.digest().is_none())?;
    let tag = if reference.tag_defaulted() { ":latest" } else { "" };
    let text = format!("{image}{tag}@{}", digest.as_str());
    let same = Reference::parse(&text).is_ok_and(|pinned| {
        (pinned.registry(), pinned.repository(), pinned.tag(), pinned.digest())
            == (reference.registry(), reference.repository(), reference.tag(), Some(digest))
    });
    same.then_some(text)
}

/// What may be done to a Pod's annotations.
#[derive(Clone, Copy, Debug)]
pub enum Annotating<'a> {
    /// Nothing: a subresource cannot set them.
    Forbidden,
    /// Ours may be set.
    Allowed {
        /// The object's own.
        object: &'a PodMetadata<'a>,
        /// Those of the object before an update. An update that leaves ours out gets them back.
        old: Option<&'a PodMetadata<'a>>,
        /// Every image that the object has, as [`slot`] names it: what our annotations may speak of.
        slots: &'a BTreeSet<String>,
        /// Proofs in the annotation that were verified just now.
        proofs: &'a BTreeMap<String, String>,
        /// What [`RELEASE_ANNOTATION`] is to say; none: it is not to be there, unless it was there before.
        release: Option<&'a str>,
    },
}

/// A patch, as the answer carries it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Patch {
    /// The operations, JSON.
    pub json: Vec<u8>,
    /// What the requester is told about it.
    pub warning: Option<&'static str>,
}

/// The patch that makes these changes; none where there is nothing to change.
#[must_use]
pub fn patch(rewrites: &[Rewrite<'_>], annotating: Annotating<'_>) -> Option<Patch> {
    let mut operations: Vec<Operation<'_>> = Vec::with_capacity(rewrites.len() + 2);
    for rewrite in rewrites.iter().filter(|rewrite| rewrite.from != rewrite.to) {
        let path = pointer(&rewrite.field)?;
        operations.push(Operation { op: "replace", path, value: Value::Text(&rewrite.to) });
    }
    let noted = match annotating {
        Annotating::Allowed { object, old, slots, proofs, .. } if !operations.is_empty() => {
            Noted::of(rewrites, object, old, slots, proofs)
        }
        Annotating::Forbidden | Annotating::Allowed { .. } => Noted::default(),
    };
    let noted = noted.with_release(annotating);
    operations.extend(noted.operations());
    if operations.is_empty() {
        return None;
    }
    // Strings and maps of strings cannot fail to serialise.
    let json = serde_json::to_vec(&operations).ok()?;
    Some(Patch { json, warning: noted.left_out.then_some(LEFT_OUT) })
}

/// One operation of RFC 6902.
#[derive(Serialize)]
struct Operation<'a> {
    op: &'static str,
    path: String,
    #[serde(skip_serializing_if = "Value::is_none")]
    value: Value<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Value<'a> {
    Text(&'a str),
    Map(BTreeMap<&'static str, &'a str>),
    /// Of a `remove`.
    None,
}

impl Value<'_> {
    fn is_none(&self) -> bool {
        matches!(self, Value::None)
    }
}

/// Our annotations as they are to be.
#[derive(Default)]
struct Noted {
    place: Place,
    changed: Vec<(&'static str, String)>,
    /// Those of ours that somebody else wrote.
    removed: Vec<&'static str>,
    left_out: bool,
}

impl Noted {
    fn of(
        rewrites: &[Rewrite<'_>],
        object: &PodMetadata<'_>,
        old: Option<&PodMetadata<'_>>,
        slots: &BTreeSet<String>,
        proofs: &BTreeMap<String, String>,
    ) -> Self {
        let Annotations { place, images: own_images, pins: own_pins, release, other_bytes } = &object.annotations;
        if *place == Place::Nowhere {
            return Noted::default();
        }
        let known = own_images.as_deref().or_else(|| old?.images());
        let mut images: BTreeMap<String, String> = known
            .filter(|text| text.len() <= MAX_ANNOTATION_BYTES)
            .and_then(|text| serde_json::from_str(text).ok())
            .unwrap_or_default();
        images.retain(|slot, _| slots.contains(slot));
        let mut pins = proofs.clone();
        pins.retain(|slot, _| slots.contains(slot));
        for rewrite in rewrites {
            let Some(slot) = &rewrite.slot else { continue };
            images.insert(slot.clone(), rewrite.from.to_owned());
            match &rewrite.proof {
                Some(proof) => pins.insert(slot.clone(), proof.clone()),
                None => pins.remove(slot),
            };
        }
        let mut left_out = false;
        let of_release = RELEASE_ANNOTATION.len() + release.as_ref().map_or(MAX_RELEASE_BYTES, |text| text.len());
        let keys = IMAGES_ANNOTATION.len() + PINS_ANNOTATION.len();
        let mut room = MAX_TOTAL_BYTES.saturating_sub(other_bytes + keys + of_release.max(MAX_RELEASE_BYTES));
        let pins = (!pins.is_empty()).then(|| fitting(&pins, &mut room, &mut left_out));
        // Expired proofs do not matter; where an update left the annotation out, it comes back as it was.
        let pins = pins.or_else(|| match own_pins {
            Some(_) => None,
            None => old?.pins().filter(|text| text.len() <= room).map(str::to_owned),
        });
        let images = Some(fitting(&images, &mut room, &mut left_out));
        let changed = [(IMAGES_ANNOTATION, images, own_images), (PINS_ANNOTATION, pins, own_pins)]
            .into_iter()
            .filter_map(|(key, text, own)| {
                Some((key, text.filter(|text| own.as_deref() != Some(text) && text != "{}")?))
            })
            .collect();
        Noted { place: *place, changed, removed: Vec::new(), left_out }
    }

    /// The same with the release that all images are of.
    fn with_release(mut self, annotating: Annotating<'_>) -> Self {
        let Annotating::Allowed { object, old, release, .. } = annotating else { return self };
        self.place = object.annotations.place;
        let own = object.release();
        match release {
            Some(release) if own != Some(release) && self.place != Place::Nowhere && self.has_room(object, release) => {
                self.changed.push((RELEASE_ANNOTATION, release.to_owned()));
            }
            None if own.is_some() && own != old.and_then(PodMetadata::release) => {
                self.removed.push(RELEASE_ANNOTATION);
            }
            _ => {}
        }
        self
    }

    /// Whether the annotation fits beside all others; what has more than that the API server refuses.
    fn has_room(&self, object: &PodMetadata<'_>, release: &str) -> bool {
        let Annotations { images, pins, other_bytes, .. } = &object.annotations;
        let as_is = |key: &'static str, own: &Option<std::borrow::Cow<'_, str>>| {
            let changed = self.changed.iter().find(|(changed, _)| *changed == key).map(|(_, text)| text.len());
            changed.or(own.as_ref().map(|text| text.len())).map_or(0, |bytes| key.len() + bytes)
        };
        let ours = as_is(IMAGES_ANNOTATION, images) + as_is(PINS_ANNOTATION, pins);
        other_bytes + ours + RELEASE_ANNOTATION.len() + release.len() <= MAX_TOTAL_BYTES
    }

    fn operations(&self) -> Vec<Operation<'_>> {
        match self.place {
            Place::Map if !self.changed.is_empty() => {
                let map = self.changed.iter().map(|(key, text)| (*key, text.as_str())).collect();
                vec![Operation { op: "add", path: "/metadata/annotations".to_owned(), value: Value::Map(map) }]
            }
            Place::Nowhere | Place::Map => Vec::new(),
            // `add` of a key that is there replaces it.
            Place::Key => {
                let each = self.changed.iter().map(|(key, text)| Operation {
                    op: "add",
                    path: format!("/metadata/annotations/{}", escaped(key)),
                    value: Value::Text(text),
                });
                let removed = self.removed.iter().map(|key| Operation {
                    op: "remove",
                    path: format!("/metadata/annotations/{}", escaped(key)),
                    value: Value::None,
                });
                each.chain(removed).collect()
            }
        }
    }
}

/// As many entries as fit, as a JSON map.
fn fitting(entries: &BTreeMap<String, String>, room: &mut usize, left_out: &mut bool) -> String {
    let most = MAX_ANNOTATION_BYTES.min(*room);
    let mut bytes = 2;
    let mut kept = BTreeMap::new();
    for (slot, text) in entries {
        let entry = quoted_bytes(slot) + quoted_bytes(text) + 2;
        if bytes + entry > most {
            *left_out = true;
            continue;
        }
        bytes += entry;
        kept.insert(slot, text);
    }
    let text = serde_json::to_string(&kept).unwrap_or_default();
    *room = room.saturating_sub(text.len());
    text
}

/// How long a text is as a JSON string.
fn quoted_bytes(text: &str) -> usize {
    let mut count = Count(0);
    // Counting cannot fail.
    let _ = serde_json::to_writer(&mut count, text);
    count.0
}

/// Counts what is written.
struct Count(usize);

impl io::Write for Count {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The JSON pointer (RFC 6901) of an image of a Pod's own `spec`; none of any other place.
fn pointer(field: &FieldPath<'_>) -> Option<String> {
    let (list, index, image) = of_pod(field)?;
    Some(format!("/spec/{list}/{index}/{image}"))
}

/// List, index and image key of an image of a Pod's own `spec`; none of any other place.
fn of_pod(field: &FieldPath<'_>) -> Option<(&'static str, u32, &'static str)> {
    let FieldPath::PodSpec { spec, list, index } = field else {
        return None;
    };
    let (list, image) = match list {
        List::InitContainers => ("initContainers", "image"),
        List::Containers => ("containers", "image"),
        List::EphemeralContainers => ("ephemeralContainers", "image"),
        List::Volumes => ("volumes", "image/reference"),
        List::Configured => return None,
    };
    (spec == "spec").then_some((list, *index, image))
}

/// A key inside a JSON pointer.
fn escaped(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

/// Base64 with padding (RFC 4648, section 4), as JSON carries bytes.
pub(super) fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let byte = |index: usize| u32::from(chunk.get(index).copied().unwrap_or_default());
        let group = byte(0) << 16 | byte(1) << 8 | byte(2);
        for digit in 0..4 {
            let value = (group >> (18 - 6 * digit)) as usize & 63;
            out.push(if digit <= chunk.len() { char::from(DIGITS[value]) } else { '=' });
        }
    }
    out
}

#[cfg(test)]
mod tests;
