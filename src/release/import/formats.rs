//! What each format says of images.
//!
//! - ImagesLock: <https://carvel.dev/imgpkg/docs/latest/resources/#imageslock-configuration>
//! - promotion lists: <https://github.com/kubernetes-sigs/promo-tools/blob/main/docs/image-promotion.md>
//! - relocation maps: <https://github.com/cnabio/cnab-spec/blob/main/103-bundle-runtime.md#image-relocation>
//! - Freight: <https://docs.kargo.io/user-guide/how-to-guides/working-with-freight>
//! - Compose: <https://docs.docker.com/reference/compose-file/services/#image>

use super::{Contents, Found, ImportTerms, Imported, text_of};
use crate::document::{Entry, Node, Reader, Value, printable};
use crate::image::{Class, Reference, TagFacts};

/// The contents of a document of one of the formats; else a problem is noted.
pub(super) fn read(root: &Node, terms: ImportTerms<'_>, reader: &mut Reader<'_>) -> Option<Contents> {
    match text_of(root, "kind") {
        Some("ImagesLock") => return Some(images_lock(root, reader)),
        Some("Freight") => return Some(freight(root, reader)),
        _ => {}
    }
    if let Some(list) = promotion_list(root) {
        return promotion(root, list, terms, reader);
    }
    if matches!(root.get("services").map(|services| &services.value), Some(Value::Map(_))) {
        return Some(compose(root, reader));
    }
    if let Value::Map(entries) = &root.value
        && !entries.is_empty()
        && entries.iter().all(|entry| entry.value.as_str().is_some() && entry.key.contains(['/', ':', '@']))
    {
        return Some(relocation(entries));
    }
    let end = reader.source.end_on_first_line(&root.span);
    let error = reader.error(root.span.start..end, "none of the formats that are imported");
    let formats = "read are an ImagesLock (kbld, imgpkg), a promotion list (`dmap`), a CNAB relocation map, a Kargo Freight, \
                   and a Compose file";
    error.help.push(formats.to_owned());
    None
}

fn found(image: &str, node: &Node) -> Found {
    Found { name: None, image: image.to_owned(), tag: None, digest: None, span: node.span.clone() }
}

/// The elements of a list of maps, each with the text of a key that it must have.
fn each<'n>(list: Option<&'n Node>, key: &str, reader: &mut Reader<'_>) -> Vec<(&'n Node, &'n Node, &'n str)> {
    let mut all = Vec::new();
    for node in list.and_then(Node::as_list).unwrap_or_default() {
        match node.get(key).and_then(|value| Some((value, value.as_str()?))) {
            Some((value, text)) => all.push((node, value, text)),
            None => {
                let end = reader.source.end_on_first_line(&node.span);
                let error = reader.error(node.span.start..end, format!("an image without '{key}'"));
                error.help.push("write it, or take the image out".to_owned());
            }
        }
    }
    all
}

fn images_lock(root: &Node, reader: &mut Reader<'_>) -> Contents {
    let images = each(root.get("images"), "image", reader);
    let images = images.into_iter().map(|(node, value, image)| {
        let annotated = node.get("annotations").and_then(|notes| text_of(notes, "kbld.carvel.dev/id"));
        // What it was before kbld resolved it; that may be no reference (`ko://...`).
        let tag = annotated.and_then(|id| Reference::parse(id).ok()).and_then(|id| {
            let tag = id.tag().filter(|_| !id.tag_defaulted())?;
            Some(tag.to_owned())
        });
        Found { tag, ..found(image, value) }
    });
    Contents { format: Imported::ImagesLock, name: None, images: images.collect(), notes: Vec::new() }
}

fn freight(root: &Node, reader: &mut Reader<'_>) -> Contents {
    let text = |node: &Node, key: &str| text_of(node, key).map(str::to_owned);
    let images = each(root.get("images"), "repoURL", reader);
    let images = images.into_iter().map(|(node, value, image)| Found {
        tag: text(node, "tag"),
        digest: text(node, "digest"),
        ..found(image, value)
    });
    let images = images.collect();
    let named = root.get("metadata").and_then(|metadata| text(metadata, "name"));
    let others = ["commits", "charts"].iter().filter_map(|key| {
        let count = root.get(key).and_then(Node::as_list).map_or(0, <[Node]>::len);
        (count > 0).then(|| format!("its {key} ({count}) are no images, and are left out"))
    });
    Contents { format: Imported::Freight, name: text(root, "alias").or(named), images, notes: others.collect() }
}

/// The list of images of a promotion list, thin (a list alone) or plain (with its registries).
fn promotion_list(root: &Node) -> Option<&Node> {
    let list = if root.as_list().is_some() { root } else { root.get("images")? };
    list.as_list()?.iter().any(|image| image.get("dmap").is_some()).then_some(list)
}

fn promotion(root: &Node, list: &Node, terms: ImportTerms<'_>, reader: &mut Reader<'_>) -> Option<Contents> {
    // Images are promoted from the one that is marked `src`; what is released is where they go.
    let registries = root.get("registries").and_then(Node::as_list).unwrap_or_default();
    let targets = registries.iter().filter(|node| node.get("src").is_none_or(|src| src.value != Value::Bool(true)));
    let target = targets.filter_map(|node| text_of(node, "name")).next();
    let Some(registry) = terms.registry.or(target).map(|registry| registry.trim_end_matches('/')) else {
        let error =
            reader.error(list.span.start..list.span.start, "the list does not say in which registry its images are");
        error.help.push("say it by `--registry`: registry.example.com/acme".to_owned());
        return None;
    };
    let mut notes = Vec::new();
    let mut images = Vec::new();
    for (node, value, name) in each(Some(list), "name", reader) {
        let Some(Value::Map(entries)) = node.get("dmap").map(|dmap| &dmap.value) else {
            let error = reader.error(value.span.clone(), format!("'{}' has no 'dmap'", printable(name)));
            error.help.push("write the digest that is promoted, and its tags".to_owned());
            continue;
        };
        let mut versions: Vec<(Option<Version>, &Entry, Option<&str>)> = entries.iter().map(version).collect();
        versions.sort_by(|(a, ..), (b, ..)| b.cmp(a));
        let Some((best, entry, tag)) = versions.first().cloned() else { continue };
        if versions.len() > 1 {
            if best.is_none() || versions.get(1).is_some_and(|(next, ..)| *next == best) {
                let told = format!(
                    "which of the {} digests of '{}' is released does not show",
                    versions.len(),
                    printable(name)
                );
                let error = reader.error(value.span.clone(), told);
                error.help.push("leave one, or give one of them the highest version as a tag".to_owned());
                continue;
            }
            let shown = tag.unwrap_or_default();
            notes.push(format!("{}: the highest of {} versions is taken, {shown}", printable(name), versions.len()));
        }
        let image = format!("{registry}/{name}");
        images.push(Found { tag: tag.map(str::to_owned), digest: Some(entry.key.clone()), ..found(&image, value) });
    }
    Some(Contents { format: Imported::Promotion, name: None, images, notes })
}

/// A version's numbers; a prerelease is lower than what it comes before.
type Version = ([u64; 3], bool);

/// The highest version among the tags of a digest, else the first tag.
fn version(entry: &Entry) -> (Option<Version>, &Entry, Option<&str>) {
    let tags: Vec<&str> = entry.value.as_list().unwrap_or_default().iter().filter_map(Node::as_str).collect();
    let best = tags.iter().filter_map(|tag| Some((number(tag)?, *tag))).max();
    match best {
        Some((version, tag)) => (Some(version), entry, Some(tag)),
        None => (None, entry, tags.first().copied()),
    }
}

fn number(tag: &str) -> Option<Version> {
    let classes = TagFacts::of(tag).classes;
    // `1.1` of old lists is a version, too.
    let bare = tag.strip_prefix('v').unwrap_or(tag);
    let (numbers, rest) = bare.split_once('-').map_or((bare, None), |(numbers, rest)| (numbers, Some(rest)));
    let parts: Vec<u64> = numbers.split('.').map(|part| part.parse().ok()).collect::<Option<_>>()?;
    let known = classes.contains(Class::Semver) || (rest.is_none() && (2..=3).contains(&parts.len()));
    let at = |index: usize| parts.get(index).copied().unwrap_or_default();
    known.then(|| ([at(0), at(1), at(2)], rest.is_none()))
}

fn relocation(entries: &[Entry]) -> Contents {
    let image = |entry: &Entry| {
        let target = entry.value.as_str().unwrap_or_default();
        let mut image = found(target, &entry.value);
        // The map's keys are what the bundle names: its tags are those of people.
        let named = Reference::parse(&entry.key).ok();
        let tagged = Reference::parse(target).is_ok_and(|target| target.tag().is_some() && !target.tag_defaulted());
        image.tag =
            named.filter(|named| !tagged && !named.tag_defaulted()).and_then(|named| named.tag()).map(str::to_owned);
        image
    };
    let images = entries.iter().map(image).collect();
    Contents { format: Imported::Relocation, name: None, images, notes: Vec::new() }
}

fn compose(root: &Node, reader: &mut Reader<'_>) -> Contents {
    let mut notes = Vec::new();
    let mut images = Vec::new();
    let services = match root.get("services").map(|services| &services.value) {
        Some(Value::Map(services)) => services.as_slice(),
        _ => &[],
    };
    for service in services {
        let name = printable(&service.key);
        if service.value.get("build").is_some() {
            notes.push(format!("{name} is built, not pulled, and is left out"));
            continue;
        }
        let Some((node, image)) = service.value.get("image").and_then(|node| Some((node, node.as_str()?))) else {
            let error = reader.error(service.key_span.clone(), format!("the service '{name}' has no image"));
            error.help.push("write it as text".to_owned());
            continue;
        };
        if image.contains('$') {
            let error = reader.error(node.span.clone(), "it holds a variable, which the environment fills in");
            error.help.push("import what `docker compose config --resolve-image-digests` prints".to_owned());
            continue;
        }
        images.push(Found { name: Some(service.key.clone()), ..found(image, node) });
    }
    Contents { format: Imported::Compose, name: text_of(root, "name").map(str::to_owned), images, notes }
}
