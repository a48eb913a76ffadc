//! From files to an immutable set of compiled policies, with every problem of every file at once.

mod channel;
mod metadata;
mod problems;
mod rules;
mod settings;
mod validate;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

use super::exception::Exceptions;
use super::file::{AllowOrDeny, Mode, PolicyDocument};
use super::{Request, Seconds};
use crate::document::{Diagnostic, Node, Read, Reader, Source, Spanned, Value, nearest, parse};
use crate::image::{GlobSet, NameGlob};

pub(crate) use channel::{Comparison, Environment, Environments};
pub(crate) use metadata::{BaseImages, DAY, LabelDemand, Metadata};
pub(crate) use rules::{Rule, Tags};
pub use settings::{NoPolicy, NonCanonicalHost, Settings, TrustedLabels};
pub(crate) use validate::Selector;
#[cfg(feature = "server")]
pub(crate) use validate::trusted;

/// A namespace's labels.
pub type Labels = BTreeMap<String, String>;

/// Bytes of one file: as many as a ConfigMap can hold.
const MAX_BYTES: usize = 1 << 20;

/// The label that every namespace has, whose value is its name.
pub(crate) const NAME_LABEL: &str = "kubernetes.io/metadata.name";

/// All policies of a server or a command, compiled. Immutable: a change makes a new one.
#[derive(Clone, Debug)]
pub struct PolicySet {
    /// In the order of their names.
    pub(crate) policies: Vec<Policy>,
    pub(crate) settings: Settings,
    hash: String,
}

/// One compiled policy.
#[derive(Clone, Debug)]
pub(crate) struct Policy {
    pub name: String,
    pub hash: String,
    pub mode: Mode,
    pub owner: Owner,
    pub namespaces: NamespaceFilter,
    pub allow_unmatched: bool,
    pub deny_short_names: bool,
    pub classes: OwnClasses,
    pub rules: Vec<Rule>,
    /// The image globs of all rules as one automaton, in the order of the rules.
    pub images: GlobSet,
    /// Which rule a glob of `images` belongs to.
    pub rule_of_glob: Vec<usize>,
    /// The globs as they are written, by their ids in `images`.
    pub globs: Vec<String>,
    /// What the globs say, for texts: the first few.
    pub names: String,
    /// Hosts that some rule spells out: naming an address or `localhost` permits it.
    pub literal_hosts: Vec<String>,
    /// Hosts of rules that spell out all of theirs: the only ones that are ever asked for a fact.
    pub fact_hosts: Vec<String>,
    /// Patterns over tags as one automaton: first those of the own classes, then those of the rules' entries.
    pub tag_patterns: GlobSet,
    /// The same as they are written.
    pub patterns: Vec<String>,
    pub overrides: Vec<Override>,
    pub no_exceptions: ClassNames,
    pub exceptions: Exceptions,
}

/// Whom to ask about a policy.
#[derive(Clone, Debug, Default)]
pub struct Owner {
    /// Where to reach the owner; the team's name where no contact is written.
    pub contact: Option<String>,
    /// A page that explains.
    pub docs: Option<String>,
}

/// Where a policy applies.
#[derive(Clone, Debug)]
pub(crate) struct NamespaceFilter {
    pub include: Option<Vec<NameGlob>>,
    pub exclude: Vec<NameGlob>,
    pub selector: Option<Selector>,
}

/// Tag classes that the policy declares; their patterns are the first of `tag_patterns`, in this order.
#[derive(Clone, Debug, Default)]
pub(crate) struct OwnClasses {
    pub list: Vec<OwnClass>,
    /// Built-in classes whose names the own ones took over.
    pub replaced: crate::image::Classes,
}

/// A tag class that the policy declares.
#[derive(Clone, Debug)]
pub(crate) struct OwnClass {
    pub name: String,
    pub pattern: String,
    pub floating: bool,
}

/// A set of classes, built-in and own.
#[derive(Clone, Debug, Default)]
pub(crate) struct ClassNames {
    pub built_in: crate::image::Classes,
    /// Indexes into [`OwnClasses::list`].
    pub own: Vec<usize>,
}

/// Another mode in some namespaces.
#[derive(Clone, Debug)]
pub(crate) struct Override {
    pub namespaces: Vec<NameGlob>,
    /// Indexes of rules; none: all, and what no rule decides.
    pub rules: Option<Vec<usize>>,
    pub mode: Mode,
}

impl PolicySet {
    /// Reads and compiles all files as one unit: a file is a name to show and its text.
    ///
    /// # Errors
    /// Every problem of every file, in the order of the files. Nothing of the set is usable then.
    pub fn compile<N: AsRef<str>, T: AsRef<str>>(
        files: &[(N, T)],
        settings: Settings,
    ) -> Result<Self, Vec<Diagnostic>> {
        let mut problems = Vec::new();
        let mut compiled = Vec::new();
        for (name, text) in files {
            let source = Source::new(name.as_ref(), text.as_ref());
            compile_file(&source, &settings, &mut compiled, &mut problems);
        }
        if compiled.is_empty() && problems.is_empty() && !settings.allow_empty {
            problems.push(no_policy(files.first().map(|(name, _)| name.as_ref())));
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        Ok(Self::of(compiled.into_iter().map(|one| one.policy).collect(), settings))
    }

    /// One set of several that were compiled under the same settings, for sources that may fail apart from each other.
    /// No name stands in two of them, and that there is some policy is for the caller to ask.
    #[must_use]
    pub fn of_parts(parts: Vec<PolicySet>, settings: Settings) -> Self {
        Self::of(parts.into_iter().flat_map(|part| part.policies).collect(), settings)
    }

    fn of(mut policies: Vec<Policy>, settings: Settings) -> Self {
        policies.sort_by(|a, b| a.name.cmp(&b.name));
        let hash = hash(policies.iter().flat_map(|policy| [policy.name.as_str(), policy.hash.as_str()]));
        PolicySet { policies, settings, hash }
    }

    /// The settings it was compiled under.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Name and hash (16 hex digits over its text) of each policy, in the order of the names.
    pub fn policies(&self) -> impl Iterator<Item = (&str, &str)> {
        self.policies.iter().map(|policy| (policy.name.as_str(), policy.hash.as_str()))
    }

    /// A hash over all of them, 16 hex digits.
    #[must_use]
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// Id of each exception and the first second (since the epoch) at which it does not exist any more.
    pub fn exceptions(&self) -> impl Iterator<Item = (&str, Seconds)> {
        self.policies.iter().flat_map(|policy| &policy.exceptions.list).map(|e| (e.id.as_str(), e.end))
    }

    /// Whom to ask about a policy.
    #[must_use]
    pub fn owner(&self, policy: &str) -> Option<&Owner> {
        self.policies.iter().find(|p| p.name == policy).map(|p| &p.owner)
    }

    /// Whether the labels of a namespace of this name could make a difference.
    #[must_use]
    pub fn needs_labels(&self, namespace: &str) -> bool {
        self.policies.iter().any(|policy| {
            let by_selector = || policy.namespaces.selector.as_ref().is_some_and(Selector::needs_labels);
            let by_environment = || {
                let environments = policy.rules.iter().filter_map(|rule| rule.channel.environments.as_ref());
                environments.into_iter().any(Environments::needs_labels)
            };
            policy.namespaces.names_match(namespace) && (by_selector() || by_environment())
        })
    }

    /// The registry hosts that may be asked: those of rules that spell out all of theirs.
    #[must_use]
    pub fn hosts(&self) -> BTreeSet<&str> {
        self.policies.iter().flat_map(|policy| &policy.fact_hosts).map(String::as_str).collect()
    }

    /// Why each policy applies to the request or not, in the order of their names; for `explain`.
    pub fn applicability<'p>(&'p self, request: &Request<'_>) -> impl Iterator<Item = (&'p str, bool)> {
        self.policies.iter().map(|policy| (policy.name.as_str(), policy.namespaces.applies(request)))
    }
}

impl NamespaceFilter {
    /// All namespaces.
    pub fn everywhere() -> Self {
        NamespaceFilter { include: None, exclude: Vec::new(), selector: None }
    }

    /// The filter as people write it in files other than policies.
    #[cfg(feature = "server")] // the server's configuration is the one other file
    pub fn compile(read: Option<&super::file::Namespaces>, settings: &Settings, reader: &mut Reader<'_>) -> Self {
        validate::namespaces(read, settings, reader)
    }

    /// Whether it matches a namespace; none: that hangs on labels that are not known.
    pub fn is_about(&self, namespace: &str, labels: Option<&Labels>) -> Option<bool> {
        let by_name = self.names_match(namespace);
        match &self.selector {
            Some(selector) if by_name => {
                let decided = labels.is_some() || !selector.needs_labels();
                let matches = selector.matches(namespace, labels);
                // What does not match without the labels does not match with them either.
                (decided || !matches).then_some(matches)
            }
            _ => Some(by_name),
        }
    }

    /// Whether labels besides the namespace's name make a difference.
    pub fn needs_labels(&self) -> bool {
        self.selector.as_ref().is_some_and(Selector::needs_labels)
    }

    /// Include and exclude alone.
    pub fn names_match(&self, namespace: &str) -> bool {
        let included = self.include.as_ref().is_none_or(|globs| globs.iter().any(|glob| glob.matches(namespace)));
        included && !self.exclude.iter().any(|glob| glob.matches(namespace))
    }

    /// Whether the policy applies. To objects outside namespaces every policy does, and where labels are not
    /// known the selector is taken to match.
    pub fn applies(&self, request: &Request<'_>) -> bool {
        let Some(namespace) = request.namespace else {
            return true;
        };
        self.names_match(namespace)
            && self.selector.as_ref().is_none_or(|selector| selector.matches(namespace, request.namespace_labels))
    }
}

impl Override {
    /// Whether it is about this rule (or about what no rule decided) in this namespace.
    pub fn is_about(&self, namespace: Option<&str>, rule: Option<usize>) -> bool {
        let rule_fits = match (&self.rules, rule) {
            (None, _) => true,
            (Some(rules), Some(rule)) => rules.contains(&rule),
            (Some(_), None) => false,
        };
        rule_fits && namespace.is_some_and(|name| self.namespaces.iter().any(|glob| glob.matches(name)))
    }
}

/// A policy that compiles, and what was written.
#[derive(Debug)]
pub(crate) struct Compiled {
    pub written: PolicyDocument,
    pub policy: Policy,
    /// Nothing was wrong with its document. Otherwise parts of it were left out, or stand in for what was meant.
    pub sound: bool,
}

/// The error for files that hold no policy.
pub(crate) fn no_policy(first_file: Option<&str>) -> Diagnostic {
    Diagnostic::of_file(first_file.unwrap_or("policies"), "there is no policy at all")
        .help("add an ImagePolicy, or set policies.allowEmpty if that is meant")
}

/// Reads and compiles one file of a set: what compiles is added to `compiled`, what is wrong to `problems`.
pub(crate) fn compile_file(
    source: &Source<'_>,
    settings: &Settings,
    compiled: &mut Vec<Compiled>,
    problems: &mut Vec<Diagnostic>,
) {
    if source.text().len() > MAX_BYTES {
        let (has, may) = (source.text().len().div_ceil(1 << 10), MAX_BYTES >> 10);
        let problem =
            Diagnostic::of_file(source.name(), format!("it has {has} KiB, and a file of policies may have {may} KiB"));
        problems.push(problem.help("split it"));
        return;
    }
    let (documents, syntax) = parse(source);
    let mut reader = Reader::new(source);
    for document in &documents {
        if document.root.value == Value::Null || !is_policy(&document.root, &mut reader) {
            continue;
        }
        let before = reader.diagnostics.len();
        let Some(written) = PolicyDocument::read(&document.root, &mut reader) else {
            continue;
        };
        let name_span = written.metadata.name.span.clone();
        let text = source.text().get(document.root.span.clone()).unwrap_or_default();
        let Some(policy) = validate::policy(&written, hash([text]), settings, &mut reader) else {
            continue;
        };
        if compiled.iter().any(|known| known.policy.name == policy.name) {
            reader
                .error(name_span, format!("a policy of the name '{}' was read before", policy.name))
                .help
                .push("names are unique over all files and objects; give this one another".to_owned());
            continue;
        }
        let sound = reader.diagnostics.len() == before;
        compiled.push(Compiled { written, policy, sound });
    }
    let mut found = reader.diagnostics;
    found.extend(syntax);
    found.sort_by_key(|problem| problem.span.as_ref().map_or(usize::MAX, |span| span.start));
    problems.append(&mut found);
}

/// Whether a document is an ImagePolicy at all; another kind is one error, not one for each of its keys.
fn is_policy(root: &Node, reader: &mut Reader<'_>) -> bool {
    let Some(kind) = root.get("kind") else {
        return true;
    };
    match kind.as_str() {
        Some("ImagePolicy") | None => true,
        Some("ImagePolicyTest") => {
            let error = reader.error(kind.span.clone(), "this is a policy test, not a policy");
            error.help.push("name its file NAME.test.yaml, so that it is not loaded as a policy".to_owned());
            false
        }
        Some(other) => {
            let shown = super::printable(other, 60);
            let near = nearest(other, &["ImagePolicy"]).is_some();
            let error = reader.error(kind.span.clone(), format!("a document of kind '{shown}' among the policies"));
            error.help.push(match near {
                true => "did you mean 'ImagePolicy'?".to_owned(),
                false => "a policy directory holds documents of kind ImagePolicy only".to_owned(),
            });
            false
        }
    }
}

/// 16 hex digits of SHA-256 over the parts, each with its length in front.
fn hash<'t>(parts: impl IntoIterator<Item = &'t str>) -> String {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update((part.len() as u64).to_le_bytes());
        hasher.update(part.as_bytes());
    }
    hasher.finalize().iter().take(8).fold(String::with_capacity(16), |mut out, byte| {
        // Writing to a String cannot fail.
        let _ = write!(out, "{byte:02x}");
        out
    })
}

/// `deny` is what an omitted key means for `unmatched`, `allow` for `shortNames`.
fn says(value: Option<&Spanned<AllowOrDeny>>, word: AllowOrDeny) -> bool {
    value.is_some_and(|value| value.value == word)
}
