//! Facts from files: what tags and images a registry has, written down, for verdicts without a network.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::file::ApiVersion;
use super::test_file::TestDocument;
use super::{
    Answer, Asked, Created, Failure, ImageFacts, ImageLabels, Lookup, PlatformFacts, Resolved, Source, Undecided,
    printable,
};
use crate::document::{self, Diagnostic, Node, Read, Reader, Spanned, Table, Value, choice, object, parse};
use crate::image::{DigestBuf, Platform, Reference};

choice! {
    /// What kind of document this is.
    pub enum FactsKind {
        /// Facts about images.
        ImageFacts = "ImageFacts",
    }
}

object! {
    /// Facts about images, in place of a registry.
    #[expect(dead_code, reason = "version and kind are read to be checked, and say nothing more")]
    struct FactsDocument {
        /// The version of the format.
        api_version: "apiVersion" => ApiVersion,
        /// Always ImageFacts.
        kind: "kind" => FactsKind,
        /// Repositories by their full names; one that is not here cannot be reached.
        registry: "registry" => Table<RepositoryFacts>,
    }
}

object! {
    /// What one repository has.
    pub struct RepositoryFacts {
        /// Tags and their digests; a tag that is not here does not exist.
        tags: "tags" => Option<Table<Spanned<String>>>,
        /// Images by their digests.
        images: "images" => Option<Table<WrittenImage>>,
    }
}

object! {
    /// What is known of an image beside its digest.
    pub struct WrittenImage {
        /// Labels of its configuration.
        labels: "labels" => Option<BTreeMap<String, String>>,
        /// When it was made, RFC 3339; omitted: it does not say.
        created: "created" => Option<Spanned<String>>,
        /// The base image that it names; omitted: none.
        base: "base" => Option<String>,
        /// For which platforms it is, linux/amd64 where this is left out: a list, or a map with what is different on each.
        platforms: "platforms" => Option<WrittenPlatforms>,
    }
}

object! {
    /// What an image says of itself on one platform, in the place of what it says on all.
    pub struct WrittenPlatform {
        /// Labels of its configuration there; labels of all platforms that are not here hold.
        labels: "labels" => Option<BTreeMap<String, String>>,
        /// When it was made, RFC 3339.
        created: "created" => Option<Spanned<String>>,
        /// The base image that it names.
        base: "base" => Option<String>,
    }
}

/// A list of platforms, or a map with what is different on each.
#[derive(Clone, Debug)]
pub struct WrittenPlatforms(Table<Option<WrittenPlatform>>);

impl Read for WrittenPlatforms {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        match &node.value {
            Value::List(nodes) if nodes.is_empty() => {
                reader.error(node.span.clone(), "an image for no platform: name one, or take the key out");
                None
            }
            Value::List(_) => {
                let names = Vec::<Spanned<String>>::read(node, reader)?;
                Some(WrittenPlatforms(Table(names.into_iter().map(|name| (name, None)).collect())))
            }
            Value::Map(_) => Table::read(node, reader).map(WrittenPlatforms),
            _ => {
                reader.mismatch(node, "a list of platforms, or a map of them");
                None
            }
        }
    }
}

impl JsonSchema for WrittenPlatforms {
    fn schema_name() -> Cow<'static, str> {
        "Platforms".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let one = generator.subschema_for::<WrittenPlatform>();
        json_schema!({
            "description": "a list of platforms, or a map with what is different on each",
            "anyOf": [
                {"type": "array", "items": {"type": "string"}},
                {"type": "object", "additionalProperties": one}
            ]
        })
    }
}

/// Facts that were read from files. They answer lookups as a registry would.
#[derive(Clone, Debug, Default)]
pub struct FactsFile {
    repositories: BTreeMap<String, Repository>,
}

#[derive(Clone, Debug, Default)]
struct Repository {
    tags: BTreeMap<String, DigestBuf>,
    images: BTreeMap<DigestBuf, Arc<ImageFacts>>,
}

impl FactsFile {
    /// Reads all files as one: a file is a name to show and its text, and may hold several documents.
    ///
    /// # Errors
    /// Every problem of every file.
    pub fn read<N: AsRef<str>, T: AsRef<str>>(files: &[(N, T)]) -> Result<Self, Vec<Diagnostic>> {
        let mut facts = FactsFile::default();
        let mut problems = Vec::new();
        for (name, text) in files {
            let source = document::Source::new(name.as_ref(), text.as_ref());
            let (documents, syntax) = parse(&source);
            let mut reader = Reader::new(&source);
            for document in documents.iter().filter(|document| document.root.value != Value::Null) {
                if let Some(registry) = registry(&document.root, &mut reader) {
                    facts.add(&registry, &mut reader);
                }
            }
            let mut found = reader.diagnostics;
            found.extend(syntax);
            found.sort_by_key(|problem| problem.span.as_ref().map_or(usize::MAX, |span| span.start));
            problems.append(&mut found);
        }
        if problems.is_empty() { Ok(facts) } else { Err(problems) }
    }

    /// Takes in repositories, as a `registry:` of facts or of a policy's tests holds them; what is wrong is noted.
    pub fn add(&mut self, registry: &Table<RepositoryFacts>, reader: &mut Reader<'_>) {
        for (name, read) in &registry.0 {
            check_name(name, reader);
            if self.repositories.contains_key(&name.value) {
                reader.error(name.span.clone(), "this repository stands above or in another file already");
            }
            let mut repository = Repository::default();
            for (tag, text) in read.tags.iter().flat_map(|table| &table.0) {
                check_tag(tag, reader);
                if let Some(digest) = digest(text, reader) {
                    repository.tags.insert(tag.value.clone(), digest);
                }
            }
            for (text, image) in read.images.iter().flat_map(|table| &table.0) {
                if let Some(digest) = digest(text, reader) {
                    repository.images.insert(digest.clone(), Arc::new(image_facts(image, &digest, reader)));
                }
            }
            self.repositories.insert(name.value.clone(), repository);
        }
    }

    /// Answers a lookup: a repository that no file names cannot be reached, and what a named one lacks is not found.
    #[must_use]
    pub fn answer(&self, lookup: &Lookup<'_>) -> Answer {
        let shown = printable(lookup.name, 200);
        let repository = self
            .repositories
            .get(lookup.name)
            .ok_or_else(|| Undecided::new(Failure::Unreachable, format!("the facts do not name {shown}")));
        let lacks = |what: &str| {
            Undecided::new(Failure::NotFound, format!("the facts name {shown}, without {}", printable(what, 200)))
        };
        match lookup.what {
            Asked::Digest { tag, .. } => {
                Answer::Digest(repository.and_then(|repository| {
                    let of_tag = repository.tags.get(tag).cloned();
                    // Whatever is asked of a file, it cannot say anything newer.
                    let resolved =
                        of_tag.map(|digest| Resolved { digest, source: Source::Now, moved_from: None, public: true });
                    resolved.ok_or_else(|| lacks(tag))
                }))
            }
            Asked::Labels { digest } => {
                let image = repository.and_then(|repository| repository.image(digest).ok_or_else(|| lacks(digest)));
                Answer::Labels(image.map(|image| common_labels(&image)))
            }
            Asked::Image { digest } => {
                Answer::Image(repository.and_then(|repository| repository.image(digest).ok_or_else(|| lacks(digest))))
            }
            Asked::Tags => Answer::Tags(repository.map(|repository| repository.tags.keys().cloned().collect())),
        }
    }
}

impl Repository {
    /// What is known of an image; one that a tag names, and of which nothing else is written, says nothing of itself.
    fn image(&self, digest: &str) -> Option<Arc<ImageFacts>> {
        let known = self.images.iter().find(|(known, _)| known.as_str() == digest);
        let silent = || {
            let named = self.tags.values().find(|known| known.as_str() == digest)?;
            let platforms = vec![PlatformFacts::silent(Platform::common(), named.clone())];
            Some(Arc::new(ImageFacts { platforms }))
        };
        known.map(|(_, image)| image.clone()).or_else(silent)
    }
}

/// The labels that a registry would tell: of linux/amd64, else of the first platform.
fn common_labels(image: &ImageFacts) -> ImageLabels {
    let common = Platform::common();
    let one = image.platforms.iter().find(|one| one.platform.meets(&common)).or(image.platforms.first());
    one.map(|one| one.labels.clone()).unwrap_or_default()
}

/// What is written of an image, platform by platform.
fn image_facts(image: &WrittenImage, digest: &DigestBuf, reader: &mut Reader<'_>) -> ImageFacts {
    let written = image.platforms.iter().flat_map(|platforms| &platforms.0.0);
    let mut platforms: Vec<PlatformFacts> = Vec::new();
    for (name, own) in written {
        let Some(platform) = Platform::parse(&name.value) else {
            let error = reader.error(name.span.clone(), "not a platform");
            error.help.push("write os/architecture or os/architecture/variant: linux/amd64, linux/arm/v7".to_owned());
            continue;
        };
        platforms.push(platform_facts(platform, digest, image, own.as_ref(), reader));
    }
    if platforms.is_empty() {
        platforms.push(platform_facts(Platform::common(), digest, image, None, reader));
    }
    ImageFacts { platforms }
}

fn platform_facts(
    platform: Platform,
    digest: &DigestBuf,
    image: &WrittenImage,
    own: Option<&WrittenPlatform>,
    reader: &mut Reader<'_>,
) -> PlatformFacts {
    let mut facts = PlatformFacts::silent(platform, digest.clone());
    facts.labels.extend(image.labels.clone().unwrap_or_default());
    facts.labels.extend(own.and_then(|own| own.labels.clone()).unwrap_or_default());
    facts.base = own.and_then(|own| own.base.clone()).or_else(|| image.base.clone());
    if let Some(text) = own.and_then(|own| own.created.as_ref()).or(image.created.as_ref()) {
        facts.created = Created::read(&text.value);
        if facts.created == Created::Unreadable {
            let error = reader.error(text.span.clone(), "not a moment");
            error.help.push("write it as RFC 3339: 2026-03-01T00:00:00Z".to_owned());
        }
    }
    facts
}

/// The repositories of a document: those of a policy's tests are facts too, so that a case can be explained with them.
fn registry(root: &Node, reader: &mut Reader<'_>) -> Option<Table<RepositoryFacts>> {
    match root.get("kind").and_then(Node::as_str) {
        Some("ImagePolicyTest") => TestDocument::read(root, reader)?.registry,
        _ => FactsDocument::read(root, reader).map(|read| read.registry),
    }
}

/// A repository is named as lookups name it: with its registry, canonically, without tag or digest.
fn check_name(name: &Spanned<String>, reader: &mut Reader<'_>) {
    let canonical = Reference::parse(&name.value).ok().map(|reference| reference.name());
    if canonical.as_deref() == Some(&*name.value) {
        return;
    }
    let error = reader.error(name.span.clone(), "not the full name of a repository");
    error.help.push(match canonical {
        Some(canonical) => format!("write {canonical}"),
        None => "write the registry's host, a slash and the repository, in lower case".to_owned(),
    });
}

fn check_tag(tag: &Spanned<String>, reader: &mut Reader<'_>) {
    let image = format!("x.example.com/y:{}", tag.value);
    if !Reference::parse(&image).is_ok_and(|reference| reference.tag() == Some(&tag.value)) {
        let error = reader.error(tag.span.clone(), "not a tag");
        error.help.push(
            "a tag has at most 128 letters, digits, '_', '.' and '-', and begins with none of the last two".to_owned(),
        );
    }
}

fn digest(text: &Spanned<String>, reader: &mut Reader<'_>) -> Option<DigestBuf> {
    let digest = DigestBuf::parse(&text.value).ok();
    if digest.is_none() {
        let error = reader.error(text.span.clone(), "not a digest");
        error.help.push("write 'sha256:' and 64 lower-case hex digits".to_owned());
    }
    digest
}

#[cfg(test)]
mod tests {
    use super::FactsFile;
    use crate::policy::{Age, Answer, Asked, Budget, Failure, Lookup};

    fn facts() -> String {
        let (a, b) = ("a".repeat(64), "b".repeat(64));
        format!(
            "apiVersion: tagwarden.dev/v1\nkind: ImageFacts\nregistry:\n  r.example.com/api:\n    tags: {{v1.4.2: \"sha256:{a}\"}}\n    \
             images: {{\"sha256:{b}\": {{labels: {{k: v}}}}}}\n  r.example.com/empty: {{}}\n"
        )
    }

    fn digest<'a>(name: &'a str, tag: &'a str) -> Lookup<'a> {
        Lookup { name, what: Asked::Digest { tag, floating: false, age: Age::Remembered, budget: Budget::Review } }
    }

    #[test]
    fn answers_as_a_registry_would() {
        let facts = FactsFile::read(&[("facts.yaml", facts())]).unwrap();
        let Answer::Digest(Ok(resolved)) = facts.answer(&digest("r.example.com/api", "v1.4.2")) else { panic!() };
        assert_eq!(resolved.digest.as_str(), format!("sha256:{}", "a".repeat(64)));
        let failure = |lookup| match facts.answer(&lookup) {
            Answer::Digest(Err(cause)) => (cause.failure, cause.detail),
            other => panic!("{other:?}"),
        };
        let lacks = (Failure::NotFound, "the facts name r.example.com/api, without v2".into());
        assert_eq!(failure(digest("r.example.com/api", "v2")), lacks);
        let unknown = (Failure::Unreachable, "the facts do not name r.example.com/other".into());
        assert_eq!(failure(digest("r.example.com/other", "v2")), unknown);
        assert_eq!(failure(digest("r.example.com/empty", "v2")).0, Failure::NotFound);

        let labels = |text: &str| {
            let digest = format!("sha256:{}", text.repeat(64));
            facts.answer(&Lookup { name: "r.example.com/api", what: Asked::Labels { digest: &digest } })
        };
        assert!(matches!(labels("b"), Answer::Labels(Ok(labels)) if labels["k"] == "v"));
        assert!(matches!(labels("a"), Answer::Labels(Ok(labels)) if labels.is_empty()));
        assert!(matches!(labels("c"), Answer::Labels(Err(cause)) if cause.failure == Failure::NotFound));
        let tags = facts.answer(&Lookup { name: "r.example.com/api", what: Asked::Tags });
        assert!(matches!(tags, Answer::Tags(Ok(tags)) if tags == ["v1.4.2"]));
    }

    #[test]
    fn every_mistake_is_told_with_its_place() {
        let text = "apiVersion: tagwarden.dev/v1\nkind: ImageFact\nregistry:\n  nginx:\n    tags: {-a: \"sha256:00\", v1: 3}\n    \
                    image: {}\n  r.example.com/a:\n    images: {latest: {}}\n";
        let problems = FactsFile::read(&[("facts.yaml", text)]).unwrap_err();
        let told: Vec<(usize, &str)> = problems.iter().map(|p| (p.line, p.message.as_str())).collect();
        let expected = [
            (2, "'ImageFact' is not a value of this key"),
            (4, "not the full name of a repository"),
            (5, "not a tag"),
            (5, "not a digest"),
            (5, "expected a string, found the number 3"),
            (6, "unknown key 'image'"),
            (8, "not a digest"),
        ];
        assert_eq!(told, expected);
        assert_eq!(problems[1].help, ["write docker.io/library/nginx"]);
    }

    #[test]
    fn an_image_is_told_as_it_is_written() {
        let (a, b) = (format!("sha256:{}", "a".repeat(64)), format!("sha256:{}", "b".repeat(64)));
        let text = format!(
            "apiVersion: tagwarden.dev/v1\nkind: ImageFacts\nregistry:\n  r.example.com/a:\n    tags: {{v1: \"sha256:{c}\"}}\n    images:\n      \
             \"{a}\": {{labels: {{k: v}}, created: 1970-01-01T00:00:05Z, base: x, platforms: [linux/arm64, linux/s390x]}}\n      \
             \"{b}\": {{labels: {{k: v, l: w}}, base: x, platforms: {{linux/amd64: {{labels: {{k: u}}}}, linux/arm64: {{base: y, created: \"1970-01-01T00:00:06Z\"}}}}}}\n",
            c = "c".repeat(64)
        );
        let facts = FactsFile::read(&[("facts.yaml", text)]).unwrap();
        let told = |digest: &str| {
            let answer = facts.answer(&Lookup { name: "r.example.com/a", what: Asked::Image { digest } });
            let Answer::Image(image) = answer else { panic!("{answer:?}") };
            let one = |one: &crate::policy::PlatformFacts| {
                format!("{} {:?} {:?} {:?}", one.platform, one.labels, one.bases().collect::<Vec<_>>(), one.created)
            };
            image.map(|image| image.platforms.iter().map(one).collect::<Vec<_>>())
        };
        let both = ["linux/arm64", "linux/s390x"].map(|name| format!("{name} {{\"k\": \"v\"}} [\"x\"] At(5)"));
        assert_eq!(told(&a).unwrap(), both);
        assert_eq!(
            told(&b).unwrap(),
            [
                "linux/amd64 {\"k\": \"u\", \"l\": \"w\"} [\"x\"] Absent",
                "linux/arm64 {\"k\": \"v\", \"l\": \"w\"} [\"y\"] At(6)"
            ]
        );
        assert_eq!(told(&format!("sha256:{}", "c".repeat(64))).unwrap(), ["linux/amd64 {} [] Absent"]);
        assert_eq!(told(&format!("sha256:{}", "d".repeat(64))).unwrap_err().failure, Failure::NotFound);
        let labels = facts.answer(&Lookup { name: "r.example.com/a", what: Asked::Labels { digest: &b } });
        assert!(matches!(labels, Answer::Labels(Ok(labels)) if labels["k"] == "u"), "those of linux/amd64");
    }

    #[test]
    fn what_is_wrong_with_an_image_is_told() {
        for (image, message) in [
            ("platforms: []", "an image for no platform: name one, or take the key out"),
            ("platforms: [linux]", "not a platform"),
            ("platforms: {linux: {}}", "not a platform"),
            ("platforms: linux/amd64", "expected a list of platforms, or a map of them, found a string"),
            ("platforms: {linux/amd64: {tags: {}}}", "unknown key 'tags'"),
            ("created: yesterday", "not a moment"),
        ] {
            let text = format!(
                "apiVersion: tagwarden.dev/v1\nkind: ImageFacts\nregistry: {{r.example.com/a: {{images: {{\"sha256:{}\": {{{image}}}}}}}}}\n",
                "a".repeat(64)
            );
            let problems = FactsFile::read(&[("facts.yaml", text)]).unwrap_err();
            assert_eq!(problems[0].message, message, "{image}");
        }
    }

    #[test]
    fn a_repository_stands_once() {
        let problems = FactsFile::read(&[("a.yaml", facts()), ("b.yaml", facts())]).unwrap_err();
        assert_eq!((problems.len(), problems[0].file.as_str()), (2, "b.yaml"));
    }
}
