//! The images of a Helm values file: maps with `repository` beside `tag` or `digest`, and texts under a key `image`.
//!
//! A values file has no schema that says where images are; these are the shapes that charts agree on. Every `image`
//! that a template puts together otherwise is not seen here: render the chart to have it judged.

use std::borrow::Cow;

use crate::document::{Node, Value, push_key};
use crate::image::Reference;

/// An image of a values file.
#[derive(Debug)]
pub(super) struct ValuesImage<'d> {
    /// Where it stands, as [`Node::at`] reads it: `api.image`; empty where the whole file is the map.
    pub path: String,
    /// How it is written.
    pub written: Written<'d>,
}

/// The ways to write an image in a values file.
#[derive(Clone, Copy, Debug)]
pub(super) enum Written<'d> {
    /// As one text: `image: registry.example.com/acme/api:v1.4.2`.
    Whole(&'d Node),
    /// A key for each part.
    Parts(Parts<'d>),
}

/// The keys of one image. What is absent, null or empty is none, but for the two of which the place is of use.
#[derive(Clone, Copy, Debug)]
pub(super) struct Parts<'d> {
    /// The map that holds the keys.
    pub map: &'d Node,
    /// The registry: that of `global.imageRegistry` where it is given, for an image with a key `registry`.
    pub registry: Option<&'d str>,
    /// The repository, with the registry in front where that has no key of its own.
    pub repository: &'d Node,
    /// The key `tag`, empty or not.
    pub tag: Option<&'d Node>,
    /// The key `digest`, empty or not.
    pub digest: Option<&'d Node>,
}

/// The images below a node, in the order written. One that came through an alias occurs wherever it is used, each time
/// with the place where it was defined.
pub(super) fn images(root: &Node) -> Vec<ValuesImage<'_>> {
    let global = root.at("global.imageRegistry").and_then(text);
    let mut images = Vec::new();
    collect(root, &mut String::new(), global, &mut images);
    images
}

impl<'d> ValuesImage<'d> {
    /// The reference that charts make of it: `registry/repository:tag@digest`.
    ///
    /// # Errors
    /// Why it cannot be told from the values alone.
    pub fn reference(&self) -> Result<Cow<'d, str>, &'static str> {
        let parts = match &self.written {
            Written::Whole(node) => return Ok(Cow::Borrowed(node.as_str().unwrap_or_default())),
            Written::Parts(parts) => parts,
        };
        let tag = parts.tag.map_or(Ok(None), scalar)?;
        let digest = parts.digest.and_then(text);
        if tag.is_none() && digest.is_none() {
            return Err("its tag is empty, so the chart chooses one (its appVersion, as a rule)");
        }
        let mut image = String::new();
        if let Some(registry) = parts.registry {
            image.push_str(registry);
            image.push('/');
        }
        image.push_str(parts.repository.as_str().unwrap_or_default());
        if let Some(tag) = tag {
            image.push(':');
            image.push_str(&tag);
        }
        if let Some(digest) = digest {
            image.push('@');
            image.push_str(digest);
        }
        Ok(Cow::Owned(image))
    }

    /// The node to point at: the tag, else the digest, else the repository.
    pub fn anchor(&self) -> &'d Node {
        match self.written {
            Written::Whole(node) => node,
            Written::Parts(Parts { repository, tag, digest, .. }) => {
                let filled = |node: &&Node| !matches!(&node.value, Value::Null) && node.as_str() != Some("");
                tag.filter(filled).or(digest.filter(filled)).unwrap_or(repository)
            }
        }
    }
}

/// The depth of documents is bounded by their reader, so this recursion is too.
fn collect<'d>(node: &'d Node, path: &mut String, global: Option<&'d str>, images: &mut Vec<ValuesImage<'d>>) {
    match &node.value {
        Value::List(nodes) => {
            for (index, inner) in nodes.iter().enumerate() {
                below(path, |path| path.push_str(&format!("[{index}]")), |path| collect(inner, path, global, images));
            }
        }
        Value::Map(entries) => {
            if let Some(parts) = parts(node, global) {
                images.push(ValuesImage { path: path.clone(), written: Written::Parts(parts) });
            }
            for entry in entries {
                below(
                    path,
                    |path| push_key(path, &entry.key),
                    |path| {
                        if let Some(written) = whole(node, &entry.key, &entry.value) {
                            images.push(ValuesImage { path: path.clone(), written });
                        }
                        collect(&entry.value, path, global, images);
                    },
                );
            }
        }
        _ => {}
    }
}

/// Lengthens the path for as long as something is done with it.
fn below(path: &mut String, step: impl FnOnce(&mut String), visit: impl FnOnce(&mut String)) {
    let length = path.len();
    step(path);
    visit(path);
    path.truncate(length);
}

/// A map that holds the parts of an image.
fn parts<'d>(map: &'d Node, global: Option<&'d str>) -> Option<Parts<'d>> {
    let repository = map.get("repository")?;
    let name = text(repository)?;
    // Of a Git or chart repository a tag is known as well.
    let user = name.find('@').is_some_and(|at| !name[..at].contains('/'));
    if name.contains("://") || user {
        return None;
    }
    let (tag, digest) = (map.get("tag").filter(is_scalar), map.get("digest").filter(is_scalar));
    if tag.is_none() && digest.is_none() {
        return None;
    }
    // Charts that know the global one call it so, and take it in the place of the image's own.
    let registry = map.get("registry").and_then(|own| global.or_else(|| text(own)));
    Some(Parts { map, registry, repository, tag, digest })
}

/// A text that is an image by its key: `image`, or a key that ends in `Image` and holds a reference with a tag or a
/// digest. Where `tag` or `imageTag` stands beside an `image` that has none, the two belong together.
fn whole<'d>(map: &'d Node, key: &str, value: &'d Node) -> Option<Written<'d>> {
    let written = text(value)?;
    let reference = Reference::parse(written);
    let full = reference.is_ok_and(|reference| !reference.tag_defaulted());
    match key {
        "image" => {
            let tag = map.get("tag").or_else(|| map.get("imageTag")).filter(is_scalar);
            let digest = map.get("digest").filter(is_scalar);
            if full || (tag.is_none() && digest.is_none()) {
                return Some(Written::Whole(value));
            }
            Some(Written::Parts(Parts { map, registry: None, repository: value, tag, digest }))
        }
        _ if key.ends_with("Image") && full => Some(Written::Whole(value)),
        _ => None,
    }
}

fn is_scalar(node: &&Node) -> bool {
    !matches!(node.value, Value::List(_) | Value::Map(_))
}

/// A text that is not empty.
fn text(node: &Node) -> Option<&str> {
    node.as_str().filter(|text| !text.is_empty())
}

/// Words that Helm, whose YAML is 1.1, takes for booleans; here they are text, as YAML 1.2 has it.
const OLD_BOOLEANS: [&str; 6] = ["y", "yes", "on", "n", "no", "off"];

/// A tag as a template prints it; numbers lose the form in which they were written (`1.10` is 1.1).
fn scalar(node: &Node) -> Result<Option<Cow<'_, str>>, &'static str> {
    // Quotes make a node longer than its text.
    let plain = |text: &str| node.span.len() == text.len();
    match &node.value {
        Value::String(text) if text.is_empty() => Ok(None),
        Value::String(text) if plain(text) && OLD_BOOLEANS.contains(&text.to_lowercase().as_str()) => {
            Err("its tag is a boolean for Helm; quote it")
        }
        Value::String(text) => Ok(Some(Cow::Borrowed(text))),
        Value::Int(number) if !plain(&number.to_string()) => {
            Err("its tag is a number in a form that Helm does not keep (octal, say); quote it")
        }
        // Helm reads numbers as floating-point ones, and prints large ones with an exponent.
        Value::Int(number) if number.unsigned_abs() < 1_000_000 => Ok(Some(Cow::Owned(number.to_string()))),
        Value::Float(number) if number.abs() < 1e6 => Ok(Some(Cow::Owned(number.to_string()))),
        Value::Int(_) | Value::Float(_) => {
            Err("its tag is a large number, which Helm prints with an exponent; quote it")
        }
        Value::Bool(_) => Err("its tag is a boolean; quote it"),
        Value::Null | Value::List(_) | Value::Map(_) => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::images;
    use crate::document::{Source, parse};

    /// `path = reference` of every image, with `line:column` of what is pointed at.
    fn seen(text: &str) -> Vec<String> {
        let source = Source::new("values.yaml", text);
        let (documents, problems) = parse(&source);
        assert_eq!(problems, []);
        let show = |image: &super::ValuesImage<'_>| {
            let (line, column) = source.position(image.anchor().span.start);
            let told = image.reference().map_or_else(|why| format!("({why})"), |image| image.into_owned());
            format!("{} = {told} {line}:{column}", image.path)
        };
        documents.iter().flat_map(|document| images(&document.root)).map(|image| show(&image)).collect()
    }

    #[test]
    fn parts_make_a_reference() {
        let text = "image: {repository: r.example.com/acme/api, tag: v1.4.2}\n\
                    jobs:\n- worker:\n    registry: r.example.com\n    repository: acme/worker\n    tag: 'v2'\n    digest: sha256:ab\n\
                    \"a.b\":\n  repository: r.example.com/x\n  digest: sha256:cd\n";
        let expected = [
            "image = r.example.com/acme/api:v1.4.2 1:50",
            "jobs[0].worker = r.example.com/acme/worker:v2@sha256:ab 6:10",
            "[\"a.b\"] = r.example.com/x@sha256:cd 10:11",
        ];
        assert_eq!(seen(text), expected);
        assert_eq!(
            seen("repository: r.example.com/x\ntag: v1\n"),
            [" = r.example.com/x:v1 2:6"],
            "a subchart's own file"
        );
    }

    #[test]
    fn the_global_registry_takes_the_place_of_the_images_own() {
        let text = "global: {imageRegistry: mirror.example.com}\na: {registry: docker.io, repository: acme/a, tag: '1'}\n\
                    b: {registry: '', repository: acme/b, tag: '1'}\nc: {repository: r.example.com/c, tag: '1'}\n";
        let expected = [
            "a = mirror.example.com/acme/a:1 2:51",
            "b = mirror.example.com/acme/b:1 3:44",
            "c = r.example.com/c:1 4:39",
        ];
        assert_eq!(seen(text), expected);
        let without = text.replace("mirror.example.com", "''");
        assert_eq!(seen(&without)[0], "a = docker.io/acme/a:1 2:51");
        assert_eq!(seen(&without)[1], "b = acme/b:1 3:44");
    }

    #[test]
    fn texts_are_images_by_their_key() {
        let text = "image: r.example.com/a:v1\nsidecarImage: r.example.com/b:v2\nlogoImage: logo.png\nimages: [x]\n\
                    app: {image: r.example.com/c, tag: v3}\nold: {image: r.example.com/d, imageTag: v4}\nbare: {image: e}\nnone: {image: ''}\n";
        let expected = [
            "image = r.example.com/a:v1 1:8",
            "sidecarImage = r.example.com/b:v2 2:15",
            "app.image = r.example.com/c:v3 5:36",
            "old.image = r.example.com/d:v4 6:41",
            "bare.image = e 7:15",
        ];
        assert_eq!(seen(text), expected);
    }

    #[test]
    fn what_values_alone_do_not_tell_is_said() {
        let why = "(its tag is empty, so the chart chooses one (its appVersion, as a rule))";
        for tag in ["''", "", "null"] {
            assert_eq!(
                seen(&format!("image:\n  repository: r.example.com/a\n  tag: {tag}\n")),
                [format!("image = {why} 2:15")]
            );
        }
        assert_eq!(seen("a: {repository: r/x, tag: 1.10}\n"), ["a = r/x:1.1 1:27"], "as Helm prints it");
        assert_eq!(seen("a: {repository: r/x, tag: 27}\n"), ["a = r/x:27 1:27"]);
        assert!(seen("a: {repository: r/x, tag: 20260101}\n")[0].contains("quote it"));
        for tag in ["true", "on", "No", "y", "012", "0x1F", "+1"] {
            assert!(seen(&format!("a: {{repository: r/x, tag: {tag}}}\n"))[0].contains("quote it"), "{tag}");
        }
        assert_eq!(
            seen("a: {repository: r/x, tag: 'on'}\nb: {repository: r/x, tag: \"012\"}\n").concat().matches('(').count(),
            0
        );
    }

    #[test]
    fn what_is_no_image_is_left_out() {
        for text in [
            "git: {repository: 'https://git.example.com/a', tag: v1}\n",
            "git: {repository: git@git.example.com:a, tag: v1}\n",
            "repository: {name: x}\ntag: v1\n",
            "a: {repository: r/x}\n",
            "a: {repository: r/x, tag: {a: b}}\n",
            "a: {repository: '', tag: v1}\n",
            "image: {pullPolicy: Always}\n",
            "tag: v1\n",
            "just text\n",
        ] {
            assert_eq!(seen(text), [] as [&str; 0], "{text}");
        }
    }
}
