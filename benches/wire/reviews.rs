//! The reviews that are sent: three as an API server 1.36 sent them, and larger ones grown from those.

use std::fmt::Write as _;

use anyhow::{Context as _, ensure};

/// The smallest Pod that there is: 2.2 KB.
pub const SMALL: &str = include_str!("../../tests/data/reviews/pod-2k.json");
/// A Pod of three containers: 8 KB.
pub const USUAL: &str = include_str!("../../tests/data/reviews/pod-8k.json");
/// The same with 129 environment variables in each container: 64 KB.
pub const LARGE: &str = include_str!("../../tests/data/reviews/pod-64k.json");

/// What etcd takes of an object, the API server's own limit for what is stored.
const STORED: usize = 1_500_000;

/// Repositories and tags of the three images of [`USUAL`] and [`LARGE`].
pub const IMAGES: [(&str, &str); 3] = [("acme/api", "v1.4.2"), ("acme/proxy", "v2.0.1"), ("acme/metrics", "3f9c2d1")];

/// An update of the largest Pod that is stored, with what it was before: about 3 MiB in all. [`LARGE`] with more
/// variables of the same form, and what the API server keeps of who owns them; one image is another than before.
pub fn update() -> anyhow::Result<String> {
    let (head, rest) = LARGE.split_once("\"object\":").context("a review without an object")?;
    let (object, rest) = rest.split_once(",\"oldObject\":null").context("a review with an old object")?;
    let object = grown(object, STORED * 21 / 20)?;
    let old = object.replace("acme/api:v1.4.2", "acme/api:v1.4.1");
    ensure!(old != object, "no image to change");
    let head = head.replace("\"operation\":\"CREATE\"", "\"operation\":\"UPDATE\"");
    let rest = rest.replace("CreateOptions", "UpdateOptions");
    Ok(format!("{head}\"object\":{object},\"oldObject\":{old}{rest}"))
}

/// A Pod of [`LARGE`] with as many further variables in each container as make it about `bytes` long.
fn grown(pod: &str, bytes: usize) -> anyhow::Result<String> {
    let owned = piece(pod, "\"k:{\\\"name\\\":\\\"SETTING_NUMBER_000\\\"}\":{", "}},")?;
    let of = ["api", "proxy", "metrics"];
    let set =
        of.map(|name| format!("{{\"name\":\"SETTING_NUMBER_000\",\"value\":\"the value of setting 000 of {name}\"}},"));
    let added: usize = set.iter().map(|piece| piece.len() + owned.len()).sum();
    let copies = bytes.saturating_sub(pod.len()) / added;
    let mut pod = pod.replace(owned, &copied(owned, copies));
    for piece in &set {
        ensure!(pod.contains(piece), "the review has no {piece}");
        pod = pod.replace(piece, &copied(piece, copies));
    }
    Ok(pod)
}

/// A piece and copies of it with numbers of their own, as long as it is.
fn copied(piece: &str, copies: usize) -> String {
    (0..=copies).fold(String::new(), |all, number| match number {
        0 => piece.to_owned(),
        // Names have four digits where the captured ones have three: they must differ from those.
        _ => all + &piece.replace("000", &format!("{number:04}")),
    })
}

/// A Pod of as many containers of the smallest form as there are images.
pub fn of_images(images: &[String]) -> anyhow::Result<String> {
    let owned = piece(SMALL, "\"k:{\\\"name\\\":\\\"a\\\"}\":{", "}}")?;
    let container = piece(SMALL, "{\"name\":\"a\",\"image\"", "\"imagePullPolicy\":\"IfNotPresent\"}")?;
    let (mut of_owned, mut of_containers) = (Vec::new(), Vec::new());
    for (number, image) in images.iter().enumerate() {
        of_owned.push(owned.replace("\\\"a\\\"", &format!("\\\"c{number}\\\"")));
        let named = container.replace("\"name\":\"a\"", &format!("\"name\":\"c{number}\""));
        of_containers.push(named.replace("registry.example.com/acme/api:v1.4.2", image));
    }
    Ok(SMALL.replace(owned, &of_owned.join(",")).replace(container, &of_containers.join(",")))
}

/// The part of a text from here to there, both included.
fn piece<'t>(text: &'t str, from: &str, to: &str) -> anyhow::Result<&'t str> {
    let start = text.find(from).with_context(|| format!("the review has no {from}"))?;
    let end = text[start..].find(to).with_context(|| format!("the review has no {to} after {from}"))?;
    Ok(&text[start..start + end + to.len()])
}

/// The key of a rule by which its images are judged by their text alone, and no registry is asked of their digests.
pub const BY_TEXT: &str = ", pin: none";

/// A policy of that many rules, of which the last is the one that names the reviews' images; `keys` are further ones of it.
pub fn policy(rules: usize, keys: &str) -> String {
    let mut text = String::from(
        "apiVersion: tagwarden.dev/v1\nkind: ImagePolicy\nmetadata: {name: bench}\nspec:\n  mode: enforce\n  rules:\n",
    );
    for rule in 1..rules {
        // A String takes everything.
        let _ = writeln!(
            text,
            "    - {{images: [\"registry.example.com/team-{rule}/**\"], tags: [release, 'build-{rule}-\\d+']}}"
        );
    }
    text + &format!("    - {{images: [\"registry.example.com/acme/**\"], tags: [release, commit]{keys}}}\n")
}
