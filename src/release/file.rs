//! Reading a release file: strict, every problem at once, each with its place and what to do.

use std::collections::{BTreeMap, HashSet};

use super::check;
use super::{Image, Release, canonical};
use crate::document::{
    Diagnostic, Entry, Node, Read as _, Reader, Severity, Source, Value, entry, nearest, parse, printable,
};
use crate::image::{Class, DigestBuf, Reference, Refusal, TagFacts};

/// The keys of a file; others are free sections.
pub(super) const TOP: [&str; 5] = ["release", "id", "source", "images", "previous"];
/// Those of an image; others are the author's own.
pub(super) const IMAGE: [&str; 6] = ["repo", "tag", "digest", "commit", "build", "platforms"];
/// Those of `source`.
pub(super) const ORIGIN: [&str; 2] = ["repo", "commit"];
/// Those of `build`.
pub(super) const BUILD: [&str; 2] = ["id", "tags"];

/// Bytes of a release's name, and of an image's.
const NAME_BYTES: usize = 128;
/// Images of a release, and names in `previous`.
const MAX_IMAGES: usize = 10_000;
const MAX_PREVIOUS: usize = 100;

/// A release file: what it declares, and the text that it stands in.
#[derive(Clone, Debug)]
pub struct ReleaseFile {
    /// What it declares, under the id that its content has.
    pub release: Release,
    /// The id that is written in it. Another one than the content's: the lock is stale.
    pub written_id: Option<DigestBuf>,
    /// Where it is kept, as it says.
    pub origin: Option<Origin>,
    /// The builds that made its images, by their names.
    pub builds: BTreeMap<String, Build>,
    /// What works, but is probably not meant; errors where a release is made.
    pub warnings: Vec<Diagnostic>,
    pub(super) root: Node,
    pub(super) name: String,
    pub(super) text: String,
}

/// Where a release file is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The repository's address.
    pub repo: String,
    /// The commit of it.
    pub commit: Option<String>,
}

/// The build that made an image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Build {
    /// What the builder calls it.
    pub id: Option<String>,
    /// The tags that it pushed.
    pub tags: Vec<String>,
}

impl Release {
    /// Reads a release file; `file_name` is shown for it. An id that is written in it and is not the content's (a stale
    /// lock) is no error here: [`ReleaseFile::written_id`].
    ///
    /// # Errors
    /// Every problem of it, in the order of their places.
    pub fn read(file_name: &str, text: &str) -> Result<Release, Vec<Diagnostic>> {
        ReleaseFile::read(file_name, text).map(|file| file.release)
    }
}

impl ReleaseFile {
    /// Reads a release file; `file_name` is shown for it.
    ///
    /// # Errors
    /// Every problem of it, in the order of their places.
    pub fn read(file_name: &str, text: &str) -> Result<Self, Vec<Diagnostic>> {
        let source = Source::new(file_name, text);
        let (documents, syntax) = parse(&source);
        let mut reader = Reader::new(&source);
        let mut roots = documents.into_iter().map(|document| document.root).filter(|root| root.value != Value::Null);
        let first = roots.next();
        if let Some(second) = roots.next() {
            let error = reader.error(second.span.start..second.span.start, "a second document in a release file");
            error.help.push("put it in a file of its own".to_owned());
        }
        if first.is_none() && syntax.is_empty() {
            let empty = Diagnostic::of_file(file_name, "there is no release in this file");
            reader.diagnostics.push(empty.help("a release file begins with `release: NAME`, and has `images`"));
        }
        let file = first.and_then(|root| document(root, text, &mut reader));
        let mut problems = reader.diagnostics;
        problems.extend(syntax);
        problems.sort_by_key(|problem| problem.span.as_ref().map_or(usize::MAX, |span| span.start));
        match file {
            Some(file) if problems.is_empty() => Ok(file),
            _ if problems.is_empty() => Err(vec![Diagnostic::of_file(file_name, "cannot be read as a release")]),
            _ => Err(problems),
        }
    }

    /// The name that is shown for the file.
    #[must_use]
    pub fn file_name(&self) -> &str {
        &self.name
    }

    /// The whole text.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The sections that are the author's own, in the order written.
    #[must_use]
    pub fn free(&self) -> Vec<&Entry> {
        free(&self.root)
    }

    /// Whether the lock is whole and of this content: every image has a digest, and the id that is written is this one.
    #[must_use]
    pub fn is_locked(&self) -> bool {
        let images = self.release.images();
        images.iter().all(|image| image.digest.is_some()) && self.written_id.as_ref() == Some(self.release.id())
    }

    /// That the id which is written is not the content's: something changed after the lock. None: it is, or there is none.
    #[must_use]
    pub fn stale_id(&self) -> Option<Diagnostic> {
        let (written, id) = (self.written_id.as_ref()?, self.release.id());
        if written == id {
            return None;
        }
        let told = format!("the id {} is written, and that of the content is {}", written.short(), id.short());
        let place = self.root.get("id").map_or(0..0, |node| node.span.clone());
        let warning = Source::new(&self.name, &self.text).diagnostic(Severity::Warning, place, told);
        Some(warning.help("something changed since it was locked; `tagwarden release lock --write` seals it again"))
    }

    /// A problem of one of its images, at the place of its name.
    #[must_use]
    pub fn problem_of(&self, image: &str, message: impl Into<String>) -> Diagnostic {
        let source = Source::new(&self.name, &self.text);
        match self.root.get("images").and_then(|images| entry(images, image)) {
            Some(entry) => source.error(entry.key_span.clone(), message),
            None => Diagnostic::of_file(&self.name, message),
        }
    }
}

fn free(root: &Node) -> Vec<&Entry> {
    let Value::Map(entries) = &root.value else { return Vec::new() };
    entries.iter().filter(|entry| !TOP.contains(&entry.key.as_str())).collect()
}

fn document(root: Node, text: &str, reader: &mut Reader<'_>) -> Option<ReleaseFile> {
    if !matches!(root.value, Value::Map(_)) {
        reader.mismatch(&root, "a map");
        return None;
    }
    if let Some(kind) = object_kind(&root) {
        let error = reader.error(kind.span.clone(), "this is an object, and not a release file");
        error.help.push(
            match kind.as_str() {
                Some("ImagePolicy") => "`tagwarden lint` reads policies; a release file begins with `release: NAME`",
                Some("ImageRelease") => "what stands below its `spec` is a release file",
                Some("ImagesLock") => "`tagwarden release import` makes a release file of it",
                _ => "a release file begins with `release: NAME`, and has `images`",
            }
            .to_owned(),
        );
        return None;
    }
    unknown_keys(&root, &TOP, reader);
    let name = match root.get("release") {
        Some(node) => name(node, "a release's name", reader),
        None => missing(&root, "release", "write `release: NAME` at the top of the file", reader),
    };
    let written_id = root.get("id").and_then(|node| digest(node, reader));
    let origin = root.get("source").and_then(|node| origin(node, reader));
    let images = match root.get("images") {
        Some(node) => images(node, reader),
        None => missing(&root, "images", "name at least one image: `images: {app: {repo: ..., tag: ...}}`", reader),
    };
    let previous = previous(&root, name.as_deref(), reader);
    let free = free(&root);
    let warnings = check::weights(&free, reader.source);
    let images = images?;
    let hashed: Vec<_> =
        images.iter().map(|read| (read.image.name.as_str(), read.image.repository.as_str(), read.node)).collect();
    let id = canonical::id(&free, &hashed)?;
    let builds = images.iter().filter_map(|read| Some((read.image.name.clone(), read.build.clone()?))).collect();
    let mut images: Vec<Image> = images.into_iter().map(|read| read.image).collect();
    images.sort_by(|a, b| a.name.cmp(&b.name));
    Some(ReleaseFile {
        release: Release::new(name?, id, images, previous),
        written_id,
        origin,
        builds,
        warnings,
        name: reader.source.name().to_owned(),
        text: text.to_owned(),
        root,
    })
}

/// The kind of what is an object of Kubernetes, or written like one.
fn object_kind(root: &Node) -> Option<&Node> {
    root.get("kind").filter(|_| root.get("apiVersion").is_some() && root.get("release").is_none())
}

/// An image as it was read.
struct ReadImage<'n> {
    node: &'n Node,
    image: Image,
    build: Option<Build>,
}

fn images<'n>(node: &'n Node, reader: &mut Reader<'_>) -> Option<Vec<ReadImage<'n>>> {
    let Value::Map(entries) = &node.value else {
        reader.mismatch(node, "a map of images");
        help(
            match node.value {
                Value::List(_) => {
                    "give each a name in the place of its '-': `app: {repo: ghcr.io/acme/app, tag: v1.2.3}`"
                }
                _ => "indent the images below it, each by its name: `  app: {repo: ghcr.io/acme/app, tag: v1.2.3}`",
            },
            reader,
        );
        return None;
    };
    if entries.is_empty() {
        let error = reader.error(node.span.clone(), "a release without images");
        error.help.push("name at least one: `app: {repo: ghcr.io/acme/app, tag: v1.2.3}`".to_owned());
        return None;
    }
    if let Some(surplus) = entries.get(MAX_IMAGES) {
        let told = format!("a release with {} images, and {MAX_IMAGES} are the most", entries.len());
        reader.error(surplus.key_span.clone(), told).help.push("make several releases of it".to_owned());
        return None;
    }
    let mut read: Vec<(&Entry, ReadImage<'n>)> = Vec::with_capacity(entries.len());
    for entry in entries {
        if reader.is_full() {
            return None;
        }
        check_name(&entry.key, &entry.key_span, "an image's name", reader);
        if let Some(image) = image(entry, reader) {
            read.push((entry, image));
        }
    }
    let seen: Vec<_> = read.iter().map(|(entry, read)| (*entry, &read.image)).collect();
    check::repositories(&seen, reader);
    Some(read.into_iter().map(|(_, image)| image).collect())
}

fn image<'n>(entry: &'n Entry, reader: &mut Reader<'_>) -> Option<ReadImage<'n>> {
    let node = &entry.value;
    if !matches!(node.value, Value::Map(_)) {
        reader.mismatch(node, "a map with 'repo' and 'tag', 'digest' or both");
        if let Some(parts) = node.as_str().and_then(in_parts) {
            help(&format!("write `{}: {parts}`", printable(&entry.key)), reader);
        }
        return None;
    }
    unknown_keys(node, &IMAGE, reader);
    let repository = match node.get("repo") {
        Some(node) => repository(node, reader),
        None => {
            absent(entry, "an image without 'repo'", (&["repository", "image"], "repo"), reader)
                .push("name it in full: `repo: ghcr.io/acme/app`".to_owned());
            None
        }
    };
    let tag = node.get("tag").and_then(|tag_node| tag(tag_node, node.get("digest").is_some(), reader));
    let own_digest = node.get("digest").and_then(|node| digest(node, reader));
    if node.get("tag").is_none() && node.get("digest").is_none() {
        let help = absent(entry, "an image without tag and digest", (&["version"], "tag"), reader);
        help.push("write the version as 'tag'; `tagwarden release lock` adds its digest".to_owned());
    }
    let commit = node.get("commit").and_then(|node| commit(node, reader));
    let platforms = node.get("platforms").map(|node| platforms(node, reader)).unwrap_or_default();
    let build = node.get("build").and_then(|node| build(node, reader));
    if let (Some(digest), Some(span)) = (&own_digest, node.get("digest").map(|node| node.span.clone())) {
        check::is_no_child(digest, &platforms, span, reader);
    }
    if let (Some(tag), Some(commit), Some(span)) = (&tag, &commit, node.get("commit").map(|node| node.span.clone())) {
        check::commit_of_tag(tag, commit, span, reader);
    }
    let image = Image { name: entry.key.clone(), repository: repository?, tag, digest: own_digest, commit, platforms };
    Some(ReadImage { node, image, build })
}

/// Notes that a key is not there: at one that others use for it, where that stands there, else at the image's name. Its help.
fn absent<'r>(
    entry: &Entry,
    told: &str,
    (others, ours): (&[&str], &str),
    reader: &'r mut Reader<'_>,
) -> &'r mut Vec<String> {
    let other = others.iter().find_map(|other| crate::document::entry(&entry.value, other));
    let span = other.map_or_else(|| entry.key_span.clone(), |other| other.key_span.clone());
    let help = &mut reader.error(span, told).help;
    help.extend(other.is_some().then(|| format!("did you mean '{ours}'?")));
    help
}

/// A line of help for the error that was noted last.
fn help(text: &str, reader: &mut Reader<'_>) {
    if let Some(last) = reader.diagnostics.last_mut().filter(|last| last.help.is_empty()) {
        last.help.push(text.to_owned());
    }
}

/// An image that is written as one text, as a release file has it.
fn in_parts(written: &str) -> Option<String> {
    let reference = Reference::parse(written).ok()?;
    let name = reference.name();
    let tag = reference.tag().filter(|_| !reference.tag_defaulted());
    let tag = match (tag, reference.digest()) {
        (Some(tag), _) => format!(", tag: {tag}"),
        (None, Some(_)) => String::new(),
        (None, None) => ", tag: v1.2.3".to_owned(),
    };
    let digest = reference.digest().map_or_else(String::new, |digest| format!(", digest: '{}'", digest.as_str()));
    Some(format!("{{repo: {name}{tag}{digest}}}"))
}

/// The canonical name of a repository that is written in full.
fn repository(node: &Node, reader: &mut Reader<'_>) -> Option<String> {
    let written = String::read(node, reader)?;
    let shown = printable(&written);
    let reference = match Reference::parse(&written) {
        Ok(reference) => reference,
        Err(error) => {
            let told = format!("'{shown}' is no repository: {}", error.message());
            let diagnostic = reader.error(node.span.clone(), told);
            diagnostic.help.push(match error.suggestion {
                Some(better) => format!("did you mean '{better}'?"),
                None => "write registry and repository in full: ghcr.io/acme/app".to_owned(),
            });
            return None;
        }
    };
    let canonical = reference.name().into_owned();
    if !reference.tag_defaulted() {
        let error = reader.error(node.span.clone(), "'repo' with a tag or a digest");
        error.help.push(format!("write `repo: {canonical}`, and the rest as 'tag' and 'digest'"));
        return None;
    }
    // The file names the host itself, which is what these two ask for.
    let refused = |refusal: &Refusal| !matches!(refusal, Refusal::IpHost | Refusal::Localhost);
    let Some(refusal) = reference.refusals().iter().find(refused) else { return Some(canonical) };
    let told = format!("'{shown}' is of a refused shape ({}): {}", refusal.name(), refusal.message());
    let error = reader.error(node.span.clone(), told);
    if matches!(refusal, Refusal::ShortName | Refusal::NonCanonicalHost) {
        error.help.push(format!("write `repo: {canonical}`"));
    } else {
        error.help.push("write the registry's name".to_owned());
    }
    None
}

fn tag(node: &Node, has_digest: bool, reader: &mut Reader<'_>) -> Option<String> {
    let tag = String::read(node, reader)?;
    if let Some((told, help)) = problem_of_tag(&tag, has_digest) {
        reader.error(node.span.clone(), told).help.push(help.to_owned());
    }
    is_tag(&tag).then_some(tag)
}

/// What is wrong with a tag in a release, and what to do; `has_digest`: a digest stands beside it.
#[must_use]
pub fn problem_of_tag(tag: &str, has_digest: bool) -> Option<(String, &'static str)> {
    let shown = printable(tag);
    if !is_tag(tag) {
        let help = "a tag has 1 to 128 letters, digits, '_', '.' and '-', and begins with none of the last two";
        return Some((format!("'{shown}' is not a tag"), help));
    }
    let moving = if check::is_moving(tag) {
        Some("write a version, or take the tag out and keep its digest")
    } else if TagFacts::of(tag).classes.contains(Class::Channel) && !has_digest {
        Some("write a version, or the digest beside it")
    } else {
        None
    };
    moving.map(|help| (format!("the tag '{shown}' moves, and a release names versions"), help))
}

/// Whether a text is a tag (OCI distribution specification).
pub(super) fn is_tag(text: &str) -> bool {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"_.-".contains(&b);
    let first = text.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_');
    first && text.len() <= 128 && text.bytes().all(fits)
}

fn digest(node: &Node, reader: &mut Reader<'_>) -> Option<DigestBuf> {
    let text = String::read(node, reader)?;
    match DigestBuf::parse(&text) {
        Ok(digest) => Some(digest),
        Err(problem) => {
            let told = format!("'{}' is not a digest: {}", printable(&text), problem.message());
            let error = reader.error(node.span.clone(), told);
            error.help.push(match problem.suggestion {
                Some(better) => format!("did you mean '{better}'?"),
                None => {
                    "write sha256: and 64 hex digits, or take the key out and run `tagwarden release lock`".to_owned()
                }
            });
            None
        }
    }
}

fn commit(node: &Node, reader: &mut Reader<'_>) -> Option<String> {
    let text = String::read(node, reader)?;
    if !is_commit(&text) {
        let error = reader.error(node.span.clone(), format!("'{}' is not a commit", printable(&text)));
        error.help.push("write 7 to 64 hex digits in lower case, or take the key out".to_owned());
        return None;
    }
    Some(text)
}

/// Whether a text is a commit as files write it.
#[must_use]
pub fn is_commit(text: &str) -> bool {
    (7..=64).contains(&text.len()) && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

fn platforms(node: &Node, reader: &mut Reader<'_>) -> BTreeMap<String, DigestBuf> {
    let Value::Map(entries) = &node.value else {
        reader.mismatch(node, "a map from platforms to digests");
        return BTreeMap::new();
    };
    let mut platforms = BTreeMap::new();
    for entry in entries {
        if reader.is_full() {
            break;
        }
        let parts: Vec<&str> = entry.key.split('/').collect();
        let plain =
            |part: &&str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
        if !(2..=3).contains(&parts.len()) || !parts.iter().all(plain) {
            let error = reader.error(entry.key_span.clone(), format!("'{}' is not a platform", printable(&entry.key)));
            error.help.push("write os/architecture or os/architecture/variant: linux/amd64".to_owned());
        }
        if let Some(digest) = digest(&entry.value, reader) {
            platforms.insert(entry.key.clone(), digest);
        }
    }
    platforms
}

fn build(node: &Node, reader: &mut Reader<'_>) -> Option<Build> {
    let fields = reader.fields(node, &BUILD)?;
    let (id, tags) = (fields.take::<Option<String>>("id", reader), fields.take::<Option<Vec<String>>>("tags", reader));
    Some(Build { id: id?, tags: tags?.unwrap_or_default() })
}

fn origin(node: &Node, reader: &mut Reader<'_>) -> Option<Origin> {
    let fields = reader.fields(node, &ORIGIN)?;
    let repo = fields.take::<String>("repo", reader);
    let commit = node.get("commit").map(|node| commit(node, reader));
    let repo = repo?;
    if !is_address(&repo) {
        let span = node.get("repo").map_or_else(|| node.span.clone(), |node| node.span.clone());
        let error = reader.error(span, format!("'{}' is not the address of a repository", printable(&repo)));
        error.help.push("write one without password: https://git.example.com/acme/operation".to_owned());
    }
    Some(Origin { repo, commit: commit.flatten() })
}

/// Whether a text is an address for people and for links: no blanks, and nobody's password.
#[must_use]
pub fn is_address(text: &str) -> bool {
    let password = text.split_once("://").is_some_and(|(_, rest)| {
        let host = rest.split('/').next().unwrap_or_default();
        host.split_once('@').is_some_and(|(user, _)| user.contains(':'))
    });
    !text.is_empty() && text.bytes().all(|b| (b'!'..=b'~').contains(&b)) && !password
}

fn previous(root: &Node, own: Option<&str>, reader: &mut Reader<'_>) -> Vec<String> {
    let Some(node) = root.get("previous") else { return Vec::new() };
    let Value::List(nodes) = &node.value else {
        reader.mismatch(node, "a list of releases");
        if let Some(name) = node.as_str().filter(|name| is_name(name)) {
            help(&format!("write `previous: [{name}]`"), reader);
        }
        return Vec::new();
    };
    if let Some(surplus) = nodes.get(MAX_PREVIOUS) {
        let told = format!("'previous' has {} names, and {MAX_PREVIOUS} are the most", nodes.len());
        let help = "take out those to which there is no way back any more";
        reader.error(surplus.span.clone(), told).help.push(help.to_owned());
        return Vec::new();
    }
    let (mut names, mut seen) = (Vec::new(), HashSet::new());
    for node in nodes {
        let Some(name) = name(node, "a release's name", reader) else { continue };
        let told = if own == Some(name.as_str()) {
            format!("the release '{name}' cannot come before itself")
        } else if seen.insert(name.clone()) {
            names.push(name);
            continue;
        } else {
            format!("the release '{name}' stands here already")
        };
        reader.error(node.span.clone(), told).help.push("take it out".to_owned());
    }
    names
}

fn name(node: &Node, what: &str, reader: &mut Reader<'_>) -> Option<String> {
    let name = String::read(node, reader)?;
    check_name(&name, &node.span, what, reader).then_some(name)
}

fn check_name(name: &str, span: &crate::document::Span, what: &str, reader: &mut Reader<'_>) -> bool {
    let fits = is_name(name);
    if !fits {
        let error = reader.error(span.clone(), format!("'{}' is not {what}", printable(name)));
        error.help.push("write 1 to 128 letters, digits, '.', '_' and '-', the first a letter or a digit".to_owned());
    }
    fits
}

/// Whether a release, or an image, may be called so.
#[must_use]
pub fn is_name(name: &str) -> bool {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    let first = name.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
    first && name.len() <= NAME_BYTES && name.bytes().all(fits)
}

/// A key that is nearly one of ours was meant as it; any other is the author's own.
fn unknown_keys(node: &Node, known: &[&'static str], reader: &mut Reader<'_>) {
    let Value::Map(entries) = &node.value else { return };
    for entry in entries.iter().filter(|entry| !known.contains(&entry.key.as_str())) {
        let near = nearest(&entry.key, known).filter(|near| is_slip(&entry.key, near));
        if let Some(near) = near {
            let error = reader.error(entry.key_span.clone(), format!("unknown key '{}'", printable(&entry.key)));
            error.help.push(format!("did you mean '{near}'? a key of your own needs a name less like it"));
        }
    }
}

/// Whether a key is another by a slip of the hand, or the beginning of it. More than a letter or two is a word of its own:
/// `team` is not meant as `tag`, nor `comment` as `commit`.
fn is_slip(key: &str, near: &str) -> bool {
    let key = key.to_lowercase();
    let slips = if near.len() < 8 { 1 } else { 2 };
    near.starts_with(&key) || strsim::damerau_levenshtein(&key, near) <= slips
}

fn missing<T>(root: &Node, key: &str, help: &str, reader: &mut Reader<'_>) -> Option<T> {
    let end = reader.source.end_on_first_line(&root.span);
    let error = reader.error(root.span.start..end, format!("the key '{key}' is missing here"));
    error.help.push(help.to_owned());
    None
}

#[cfg(test)]
mod tests;
