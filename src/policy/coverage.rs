//! Which parts of policies verdicts rest on: for tests, which are to touch them all.
//!
//! Nothing here is on the way to a verdict. What a verdict rests on is found afterwards, by asking the parts of the
//! policies the same questions once more, so that admission carries no notes for the sake of tests.

use std::collections::BTreeMap;

use super::compile::{ClassNames, Policy, Tags};
use super::file::{self, PolicyDocument};
use super::tags::Tag;
use super::{Applied, FindingId, ImageVerdict, Pinning, PolicySet, Request, Verdict};
use crate::document::{Read, Reader, Source, Span, Value, parse};
use crate::image::{Reference, is_pattern};

/// What a part of a policy is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum What {
    /// A tag class of the policy's own. Touched: an image under the policy has such a tag.
    TagClass,
    /// A rule. Touched: it decided.
    Rule,
    /// One of several image globs of a rule. Touched: it names an image that the rule decided.
    Images,
    /// An entry of a rule's `tags`. Touched: it let a tag in.
    Tag,
    /// An override. Touched: the mode of a finding, or of a pin, came from it.
    Override,
    /// An exception. Touched: it let something in.
    Exception,
}

impl What {
    /// As texts name it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            What::TagClass => "tag class",
            What::Rule => "rule",
            What::Images => "images",
            What::Tag => "tag",
            What::Override => "override",
            What::Exception => "exception",
        }
    }
}

/// A part of a policy.
#[derive(Clone, Debug)]
pub struct Item {
    /// What it is.
    pub what: What,
    /// The policy's name.
    pub policy: String,
    /// The rule that it belongs to, or that it is.
    pub rule: Option<String>,
    /// What is written there, as it is written: a name, a glob, an entry, an id.
    pub shown: String,
    /// The line where it stands, from 1.
    pub line: usize,
    /// The column, from 1, in characters.
    pub column: usize,
    /// Whether a verdict rested on it.
    pub touched: bool,
    part: Part,
}

/// Where an item is in its compiled policy.
#[derive(Clone, Debug)]
enum Part {
    Class(usize),
    Rule(usize),
    /// A rule, and a glob of all rules.
    Images(usize, usize),
    /// A rule, and what one entry alone would let in.
    Tag(usize, Tags),
    Override(usize),
    /// Its id.
    Exception(String),
}

impl Part {
    /// The number of the rule, or of what else it belongs to, among its like; ids of exceptions are unique.
    const fn number(&self) -> usize {
        match self {
            Part::Class(number) | Part::Rule(number) | Part::Override(number) => *number,
            Part::Images(rule, _) | Part::Tag(rule, _) => *rule,
            Part::Exception(_) => 0,
        }
    }
}

/// The parts of policies, and which of them verdicts rested on.
#[derive(Clone, Debug, Default)]
pub struct Coverage {
    /// By file, then by the place in it. Lists that share a YAML anchor stand in one place, and are parts of several
    /// rules: so the number of the rule, or of what else the part belongs to, is one more key.
    items: BTreeMap<(String, usize, What, usize), Item>,
}

impl Coverage {
    /// The parts of the policies in these files (name and text), none of them touched. `policies` is the set that the
    /// files compile to.
    #[must_use]
    pub fn new<N: AsRef<str>, T: AsRef<str>>(files: &[(N, T)], policies: &PolicySet) -> Self {
        let mut coverage = Coverage::default();
        for (name, text) in files {
            let source = Source::new(name.as_ref(), text.as_ref());
            let mut reader = Reader::new(&source);
            for document in parse(&source).0.iter().filter(|document| document.root.value != Value::Null) {
                let Some(read) = PolicyDocument::read(&document.root, &mut reader) else { continue };
                let name = &read.metadata.name.value;
                let Some(policy) = policies.policies.iter().find(|policy| policy.name == *name) else { continue };
                Listing { coverage: &mut coverage, source: &source, policy }.list(&read.spec);
            }
        }
        coverage
    }

    /// Marks what a verdict rests on.
    pub fn touch(&mut self, policies: &PolicySet, request: &Request<'_>, verdict: &Verdict<'_>) {
        let of_name = |name: &str| policies.policies.iter().find(|policy| policy.name == name);
        for image in &verdict.images {
            for applied in &image.applied {
                let Some(policy) = of_name(applied.policy) else { continue };
                let look = Look::new(policy, request, image, applied);
                let open = self.items.values_mut().filter(|item| !item.touched && item.policy == policy.name);
                open.for_each(|item| item.touched = look.rests_on(item));
            }
        }
        for policy in verdict.object_findings.iter().filter_map(|finding| of_name(finding.policy)) {
            let holds = policy.overrides.iter().position(|other| other.is_about(request.namespace, None));
            for item in self.items.values_mut().filter(|item| item.policy == policy.name) {
                item.touched |= matches!(item.part, Part::Override(index) if Some(index) == holds);
            }
        }
    }

    /// Takes in what others touched: a policy may be under the tests of several files.
    pub fn absorb(&mut self, other: Coverage) {
        for (place, item) in other.items {
            self.items.entry(place).and_modify(|known| known.touched |= item.touched).or_insert(item);
        }
    }

    /// Every part with the name of its file, by file and place.
    pub fn items(&self) -> impl Iterator<Item = (&str, &Item)> {
        self.items.iter().map(|((file, ..), item)| (file.as_str(), item))
    }

    /// How many parts there are.
    #[must_use]
    pub fn total(&self) -> usize {
        self.items.len()
    }

    /// How many of them verdicts rested on.
    #[must_use]
    pub fn touched(&self) -> usize {
        self.items.values().filter(|item| item.touched).count()
    }
}

/// Lists the parts of one policy.
struct Listing<'l> {
    coverage: &'l mut Coverage,
    source: &'l Source<'l>,
    policy: &'l Policy,
}

impl Listing<'_> {
    fn list(&mut self, spec: &file::Spec) {
        for (index, (name, _)) in spec.tag_classes.iter().flat_map(|classes| &classes.0).enumerate() {
            self.add(What::TagClass, None, &name.value, &name.span, Part::Class(index));
        }
        let mut glob = 0;
        // Patterns of own classes come first.
        let mut pattern = self.policy.classes.list.len();
        for (index, (rule, compiled)) in spec.rules.iter().zip(&self.policy.rules).enumerate() {
            let name = Some(compiled.name.as_str());
            let place = rule.name.as_ref().map_or(&rule.images.span, |name| &name.span);
            self.add(What::Rule, name, &compiled.name, place, Part::Rule(index));
            for text in &rule.images.value {
                if rule.images.value.len() > 1 {
                    self.add(What::Images, name, &text.value, &text.span, Part::Images(index, glob));
                }
                glob += 1;
            }
            for text in rule.tags.iter().flat_map(|tags| &tags.value) {
                let mut classes = ClassNames::default();
                let mut patterns = Vec::new();
                if is_pattern(&text.value) {
                    patterns.push(pattern);
                    pattern += 1;
                } else {
                    classes.add(&text.value, &self.policy.classes);
                }
                let part = Part::Tag(index, Tags::Listed { classes, patterns });
                self.add(What::Tag, name, &text.value, &text.span, part);
            }
        }
        for (index, one) in spec.overrides.iter().flatten().enumerate() {
            let namespaces: Vec<&str> = one.namespaces.value.iter().map(|text| text.value.as_str()).collect();
            let shown = format!("{}: {}", namespaces.join(", "), one.mode.name());
            self.add(What::Override, None, &shown, &one.namespaces.span, Part::Override(index));
        }
        for one in spec.exceptions.iter().flatten() {
            self.add(What::Exception, None, &one.id.value, &one.id.span, Part::Exception(one.id.value.clone()));
        }
    }

    fn add(&mut self, what: What, rule: Option<&str>, shown: &str, span: &Span, part: Part) {
        let (line, column) = self.source.position(span.start);
        let place = (self.source.name().to_owned(), span.start, what, part.number());
        let item = Item {
            what,
            policy: self.policy.name.clone(),
            rule: rule.map(str::to_owned),
            shown: shown.to_owned(),
            line,
            column,
            touched: false,
            part,
        };
        self.coverage.items.insert(place, item);
    }
}

/// One verdict of one policy on one image, seen for what it rests on.
struct Look<'l> {
    policy: &'l Policy,
    applied: &'l Applied<'l>,
    reference: Option<&'l Reference<'l>>,
    rule: Option<usize>,
    /// Ids of the globs that name the image.
    globs: Vec<usize>,
    /// Ids of the tag patterns that match.
    matched: Vec<usize>,
    /// The override whose mode counted.
    holds: Option<usize>,
}

impl<'l> Look<'l> {
    fn new(policy: &'l Policy, request: &Request<'_>, image: &'l ImageVerdict<'l>, applied: &'l Applied<'l>) -> Self {
        let rule = applied.rule.and_then(|name| policy.rules.iter().position(|rule| rule.name == name));
        let reference = image.reference.as_ref();
        let (mut globs, mut matched) = (Vec::new(), Vec::new());
        if let Some(reference) = reference {
            let name = reference.name();
            policy.images.all_matches(&name, |id| globs.push(id));
            policy.tag_patterns.all_matches(reference.tag().unwrap_or_default(), |id| matched.push(id));
        }
        if reference.and_then(Reference::tag).is_none() {
            matched.clear();
        }
        // A mode that nothing was said in decided nothing.
        let counted = !applied.findings.is_empty() || image.pin != Pinning::None;
        let about = || policy.overrides.iter().position(|other| other.is_about(request.namespace, rule));
        let holds = if counted { about() } else { None };
        Look { policy, applied, reference, rule, globs, matched, holds }
    }

    fn rests_on(&self, item: &Item) -> bool {
        match &item.part {
            Part::Class(index) => self.matched.contains(index),
            Part::Rule(rule) => self.rule == Some(*rule),
            Part::Images(rule, glob) => self.rule == Some(*rule) && self.globs.contains(glob),
            Part::Tag(rule, entry) => self.rule == Some(*rule) && self.lets_in(entry),
            Part::Override(index) => self.holds == Some(*index),
            Part::Exception(id) => {
                let mut used = self.applied.findings.iter().filter_map(|finding| finding.exception);
                used.any(|used| used == id)
            }
        }
    }

    /// Whether the tag was let in, and this entry alone would have done that.
    fn lets_in(&self, entry: &Tags) -> bool {
        let refused = self.applied.findings.iter().any(|finding| finding.id == FindingId::Tw120);
        let Some(reference) = self.reference.filter(|_| !refused) else { return false };
        let facts = reference.tag_facts();
        // Whether it floats elsewhere is of no matter to a list.
        let tag = Tag { reference, facts: &facts, floating: false, matched: &self.matched };
        tag.is_among(self.policy, entry)
    }
}
