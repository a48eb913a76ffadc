//! Facts from files: what tags and images a registry has, written down, for verdicts without a network.

use std::collections::BTreeMap;

use super::file::ApiVersion;
use super::test_file::TestDocument;
use super::{Answer, Asked, Failure, ImageLabels, Lookup, Resolved, Source, Undecided, printable};
use crate::document::{self, Diagnostic, Node, Read, Reader, Spanned, Table, Value, choice, object, parse};
use crate::image::{DigestBuf, Reference};

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
        images: "images" => Option<Table<ImageFacts>>,
    }
}

object! {
    /// What is known of an image beside its digest.
    pub struct ImageFacts {
        /// Labels of its configuration.
        labels: "labels" => Option<BTreeMap<String, String>>,
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
    images: BTreeMap<DigestBuf, ImageLabels>,
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
                    repository.images.insert(digest, image.labels.clone().unwrap_or_default());
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
            Asked::Labels { digest } => Answer::Labels(repository.and_then(|repository| {
                let known = repository.images.iter().find(|(known, _)| known.as_str() == digest);
                match known {
                    Some((_, labels)) => Ok(labels.clone()),
                    None if repository.tags.values().any(|known| known.as_str() == digest) => Ok(ImageLabels::new()),
                    None => Err(lacks(digest)),
                }
            })),
            Asked::Tags => Answer::Tags(repository.map(|repository| repository.tags.keys().cloned().collect())),
        }
    }
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
    let canonical = Reference::parse(&name.value).ok().map(|reference| {
        let mut canonical = String::new();
        reference.write_name(&mut canonical);
        canonical
    });
    if canonical.as_ref() == Some(&name.value) {
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
        let lacks = (Failure::NotFound, "the facts name r.example.com/api, without v2".to_owned());
        assert_eq!(failure(digest("r.example.com/api", "v2")), lacks);
        let unknown = (Failure::Unreachable, "the facts do not name r.example.com/other".to_owned());
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
    fn a_repository_stands_once() {
        let problems = FactsFile::read(&[("a.yaml", facts()), ("b.yaml", facts())]).unwrap_err();
        assert_eq!((problems.len(), problems[0].file.as_str()), (2, "b.yaml"));
    }
}
