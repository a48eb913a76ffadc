//! Tests beside a policy (`NAME.test.yaml`): read strictly, and judged by the two functions that judge everything.

mod check;
mod seen;

use std::borrow::Cow;
use std::collections::BTreeMap;

use jiff::Timestamp;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

pub use seen::{Difference, Seen, SeenFinding};

use super::facts_file::RepositoryFacts;
use super::file::{ApiVersion, Text};
use super::{
    Decision, FactsFile, Failure, FindingId, ImageUse, Labels, Mode, NoPolicy, NonCanonicalHost, PolicySet, Releases,
    Request, Seconds, Settings, Stage, TrustedLabels, Undecided, Verdict, decide, gather, printable,
};
use crate::document::{
    Diagnostic, Node, Read, Reader, Source, Spanned, Table, Value, choice, nearest, object, parse, schema_of,
};

choice! {
    /// What kind of document this is.
    pub enum TestKind {
        /// Tests of policies.
        ImagePolicyTest = "ImagePolicyTest",
    }
}

choice! {
    /// What must become of an image, or of an object: the strictest of all its images.
    pub enum Expectation {
        /// Nothing is wrong.
        Allow = "allow",
        /// Something is wrong that is only recorded.
        Audit = "audit",
        /// Something is wrong that its author is told.
        Warn = "warn",
        /// Something is wrong that is not let in.
        Deny = "deny",
        /// It is enforced, and a fact is missing.
        Unresolved = "unresolved",
    }
}

impl From<Expectation> for Decision {
    fn from(expected: Expectation) -> Self {
        match expected {
            Expectation::Allow => Decision::Allow,
            Expectation::Audit => Decision::Audit,
            Expectation::Warn => Decision::Warn,
            Expectation::Deny => Decision::Deny,
            Expectation::Unresolved => Decision::Unresolved,
        }
    }
}

object! {
    /// Tests of policies: images and manifests, and what must become of them.
    #[expect(dead_code, reason = "version and kind are read to be checked, and say nothing more")]
    pub struct TestDocument {
        /// The version of the format.
        api_version: "apiVersion" => ApiVersion,
        /// Always ImagePolicyTest.
        kind: "kind" => TestKind,
        /// The policies under test, as one set: files and directories, their paths relative to this file.
        policies: "policies" => Spanned<Vec<Text>>,
        /// The time at which the cases are judged; exceptions expire by it.
        now: "now" => Moment,
        /// Namespaces and their labels. The labels of one that is not here are unknown: policies with a selector apply.
        namespaces: "namespaces" => Option<Table<NamespaceFacts>>,
        /// What registries would say. Without it no fact is asked that only a pin needs, and others are undecided.
        registry: "registry" => Option<Table<RepositoryFacts>>,
        /// Release files, their paths relative to this file. The first governs every namespace; the others are there for its
        /// `previous`. Without it no release governs any.
        releases: "releases" => Option<Spanned<Vec<Text>>>,
        /// The server's configuration file, whose settings, kinds and infrastructure namespaces hold; a path relative to
        /// this file.
        config: "config" => Option<Text>,
        /// Settings of the server that decide verdicts, where there is no `config`.
        settings: "settings" => Option<Spanned<TestSettings>>,
        /// Images and manifests, and what must become of them.
        cases: "cases" => Spanned<Vec<Case>>,
    }
}

object! {
    /// What is known of a namespace.
    pub struct NamespaceFacts {
        /// Its labels; omitted: it has none but its name.
        labels: "labels" => Option<Labels>,
    }
}

object! {
    /// Settings of the server that decide verdicts.
    pub struct TestSettings {
        /// Caps every denial: audit, warn, enforce (default).
        max_mode: "maxMode" => Option<Mode>,
        /// What becomes of a namespace that no policy covers: allow (default), warn, deny.
        no_policy: "noPolicy" => Option<NoPolicy>,
        /// What becomes of a registry host that is not written in its canonical form: refuse (default), normalise.
        non_canonical_host: "nonCanonicalHost" => Option<NonCanonicalHost>,
        /// Keys of namespace labels that policies may use; omitted: every one.
        trusted_namespace_labels: "trustedNamespaceLabels" => Option<Vec<String>>,
    }
}

object! {
    /// An image or a manifest, and what must become of it.
    pub struct Case {
        /// What it is called; omitted: its image or manifest, and the namespace.
        name: "name" => Option<Text>,
        /// An image, exactly as it would be written in a manifest.
        image: "image" => Option<Text>,
        /// A file of Kubernetes objects, its path relative to this file; every object in it is judged.
        manifest: "manifest" => Option<Text>,
        /// The container of the manifest that the case is about; omitted: every image of it.
        container: "container" => Option<Text>,
        /// The namespace of the image, or of objects that name none (default `default`).
        namespace: "namespace" => Option<Text>,
        /// The kind of object that has the image (default Pod). Only Pods are pinned.
        kind: "kind" => Option<Text>,
        /// What must become of it.
        expect: "expect" => Spanned<Expectation>,
        /// The ids of its findings: exactly these.
        ids: "ids" => Option<Spanned<Vec<Spanned<FindingCode>>>>,
        /// The image as admission writes it into the Pod, with its digest; none: nothing is written.
        pinned: "pinned" => Option<Text>,
        /// A text that the message of one finding must hold.
        message: "message" => Option<Text>,
        /// The name of a rule that must have decided.
        rule: "rule" => Option<Text>,
        /// The id of an exception that must have let something in.
        exception: "exception" => Option<Text>,
    }
}

/// A time as files of tests write it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment(pub Seconds);

impl Read for Moment {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        let Some(text) = node.as_str() else {
            reader.mismatch(node, "a moment (2026-03-01T00:00:00Z)");
            return None;
        };
        let moment = text.parse::<Timestamp>().ok().map(|moment| Moment(moment.as_second()));
        if moment.is_none() {
            let error = reader.error(node.span.clone(), format!("'{}' is not a moment", printable(text, 60)));
            error.help.push("write one with its offset, as RFC 3339 does: 2026-03-01T00:00:00Z".to_owned());
        }
        moment
    }
}

impl JsonSchema for Moment {
    fn schema_name() -> Cow<'static, str> {
        "Moment".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "format": "date-time", "description": "a moment: 2026-03-01T00:00:00Z"})
    }
}

/// The id of a finding that a test can bring about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FindingCode(pub FindingId);

impl FindingCode {
    /// Why no test can bring a finding about; none: one can.
    fn out_of_reach(id: FindingId) -> Option<&'static str> {
        match id {
            FindingId::Tw121 => Some("it is judged in admission, after Pods were pinned"),
            FindingId::Tw199 => Some("only admission is sent objects of unknown kinds"),
            FindingId::Tw203 => Some("a test has no memory of what a tag was before"),
            FindingId::Tw902 | FindingId::Tw903 => Some("the registry of a test answers, or is away (TW900, TW901)"),
            FindingId::Tw999 => Some("it stands for a failure of our own"),
            _ => None,
        }
    }

    fn codes() -> Vec<&'static str> {
        let reachable = FindingId::ALL.iter().filter(|id| Self::out_of_reach(**id).is_none());
        reachable.map(|id| id.code()).collect()
    }
}

impl Read for FindingCode {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        let Some(text) = node.as_str() else {
            reader.mismatch(node, "the id of a finding (TW120)");
            return None;
        };
        let Some(id) = FindingId::ALL.iter().find(|id| id.code() == text) else {
            let codes = Self::codes();
            let error =
                reader.error(node.span.clone(), format!("'{}' is not the id of a finding", printable(text, 60)));
            error.help.push(match nearest(text, &codes) {
                Some(near) => format!("did you mean '{near}'?"),
                None => format!("ids: {}", codes.join(", ")),
            });
            return None;
        };
        if let Some(reason) = Self::out_of_reach(*id) {
            let error = reader.error(node.span.clone(), format!("no test can bring {text} about: {reason}"));
            error.help.push("take it out".to_owned());
            return None;
        }
        Some(FindingCode(*id))
    }
}

impl JsonSchema for FindingCode {
    fn schema_name() -> Cow<'static, str> {
        "FindingId".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "enum": Self::codes(), "description": "the id of a finding"})
    }
}

/// A file of tests that holds together.
#[derive(Clone, Debug)]
pub struct TestFile {
    /// Files and directories of the policies under test, relative to the file.
    pub policies: Vec<Text>,
    /// Release files, relative to the file; the first governs every namespace.
    pub releases: Vec<Text>,
    /// The server's configuration file, relative to the file.
    pub config: Option<Text>,
    /// The settings written in the file, and the command line's own for the rest.
    pub settings: Settings,
    /// Whether some are written in it.
    pub has_settings: bool,
    /// At least one.
    pub cases: Vec<Case>,
    now: Seconds,
    namespaces: BTreeMap<String, Labels>,
    registry: Option<FactsFile>,
    governing: Releases,
}

impl TestFile {
    /// Reads one file.
    ///
    /// # Errors
    /// Every problem of it, in the order of their places.
    pub fn read(source: &Source<'_>) -> Result<Self, Vec<Diagnostic>> {
        let (documents, syntax) = parse(source);
        let mut reader = Reader::new(source);
        let mut roots = documents.iter().map(|document| &document.root).filter(|root| root.value != Value::Null);
        let first = roots.next();
        let read =
            first.filter(|root| is_test(root, &mut reader)).and_then(|root| TestDocument::read(root, &mut reader));
        let file = read.map(|read| check::file(read, &mut reader));
        if first.is_none() && syntax.is_empty() {
            let empty = Diagnostic::of_file(source.name(), "there is no document in this file");
            reader.diagnostics.push(empty.help("a file of tests begins with apiVersion, kind and policies"));
        }
        if let Some(second) = roots.next() {
            let error = reader.error(second.span.start..second.span.start, "a second document in a file of tests");
            error.help.push("put it in a file of its own".to_owned());
        }
        let mut problems = reader.diagnostics;
        problems.extend(syntax);
        problems.sort_by_key(|problem| problem.span.as_ref().map_or(usize::MAX, |span| span.start));
        match file {
            Some(file) if problems.is_empty() => Ok(file),
            _ => Err(problems),
        }
    }

    /// What the cases name and the policies do not have: rules and exceptions.
    #[must_use]
    pub fn unknown_names(&self, policies: &PolicySet, source: &Source<'_>) -> Vec<Diagnostic> {
        check::names(self, policies, source)
    }

    /// Says what the release files hold that it names.
    #[must_use]
    pub fn governed_by(self, releases: Releases) -> Self {
        TestFile { governing: releases, ..self }
    }

    /// The request that asks for a verdict on an object of this file.
    #[must_use]
    pub fn request<'a>(&'a self, group: &str, kind: &'a str, namespace: &'a str, name: &'a str) -> Request<'a> {
        Request {
            kind,
            namespace: Some(namespace),
            name,
            namespace_labels: self.namespaces.get(namespace),
            is_pod: group.is_empty() && kind == "Pod",
            environment: None,
            beside: &[],
            governed: self.governing.govern(Some(namespace), self.namespaces.get(namespace)),
            stage: if self.registry.is_some() { Stage::Command } else { Stage::Offline },
            now: self.now,
        }
    }

    /// The verdict on images, with the facts of this file.
    #[must_use]
    pub fn verdict<'a>(&self, policies: &'a PolicySet, request: &Request<'a>, images: &[ImageUse<'a>]) -> Verdict<'a> {
        let plan = policies.plan(request, images);
        let absent = |detail| Undecided::new(Failure::Unreachable, detail);
        let facts = match &self.registry {
            Some(registry) => gather(&plan, |lookup| registry.answer(lookup), absent("the facts do not say")),
            None => super::Facts::none(absent("the file of tests has no 'registry'")),
        };
        decide(plan, images, &facts)
    }

    /// Whether the file says what registries would.
    #[must_use]
    pub fn has_registry(&self) -> bool {
        self.registry.is_some()
    }

    /// The labels that the file gives a namespace, its name among them; none: they are unknown.
    #[must_use]
    pub fn labels_of(&self, namespace: &str) -> Option<&Labels> {
        self.namespaces.get(namespace)
    }
}

impl Case {
    /// What it is called: its name, else what it is about.
    #[must_use]
    pub fn shown_name(&self) -> String {
        if let Some(name) = &self.name {
            return name.value.clone();
        }
        let about = match (&self.image, &self.manifest, &self.container) {
            (Some(image), ..) => image.value.clone(),
            (None, Some(manifest), Some(container)) => format!("{} of {}", container.value, manifest.value),
            (None, Some(manifest), None) => manifest.value.clone(),
            (None, None, _) => String::new(),
        };
        match &self.namespace {
            Some(namespace) => format!("{about} in {}", namespace.value),
            None => about,
        }
    }

    /// The namespace of what names none.
    #[must_use]
    pub fn namespace(&self) -> &str {
        self.namespace.as_ref().map_or("default", |namespace| &namespace.value)
    }

    /// The kind of the object that has the image.
    #[must_use]
    pub fn kind(&self) -> &str {
        self.kind.as_ref().map_or("Pod", |kind| &kind.value)
    }
}

impl From<TestSettings> for Settings {
    fn from(written: TestSettings) -> Self {
        let unset = Settings::default();
        Settings {
            max_mode: written.max_mode.unwrap_or(unset.max_mode),
            no_policy: written.no_policy.unwrap_or(unset.no_policy),
            non_canonical_host: written.non_canonical_host.unwrap_or(unset.non_canonical_host),
            trusted_labels: written.trusted_namespace_labels.map_or(unset.trusted_labels, TrustedLabels::Only),
            ..unset
        }
    }
}

/// Whether a document is a test at all; another kind is one error, not one for each of its keys.
fn is_test(root: &Node, reader: &mut Reader<'_>) -> bool {
    let Some(kind) = root.get("kind").filter(|kind| kind.as_str() == Some("ImagePolicy")) else { return true };
    let error = reader.error(kind.span.clone(), "this is a policy, not a policy test");
    error.help.push("write kind: ImagePolicyTest, and name the policy's file under 'policies'".to_owned());
    false
}

/// The JSON Schema (draft-07) of files of tests, made from the types that read them.
#[must_use]
pub fn test_schema() -> serde_json::Value {
    schema_of::<TestDocument>("imagepolicytest-v1.schema.json", "ImagePolicyTest")
}
