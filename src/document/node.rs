//! A YAML (or JSON) text as a tree whose every node knows where it stands.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use serde_saphyr::granit_parser::{Event, Marker, Parser, ScalarStyle};

use super::{Diagnostic, Source};

/// A byte range of a text.
pub type Span = std::ops::Range<usize>;

/// Nesting that a document may have. Deeper than any Kubernetes object, shallow enough that recursion over a tree is safe.
const MAX_DEPTH: usize = 200;
/// Nodes that one text may have after its aliases are expanded; stops alias bombs.
const MAX_NODES: usize = 1_000_000;
/// Bytes of text that weigh as one node where an alias copies them: a long text is a bomb, too.
const BYTES_PER_NODE: usize = 256;
/// Problems reported for one text; more would hide the first ones.
const MAX_PROBLEMS: usize = 100;

/// A value and its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// What it is.
    pub value: Value,
    /// Where it stands, quotes included. A node that came through an alias stands where it was defined.
    pub span: Span,
}

/// A value as YAML 1.2's core schema reads it (so `yes`, `on` and `off` are strings).
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `null`, `~`, or nothing.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// Any other number.
    Float(f64),
    /// Quoted text, or plain text that is nothing of the above.
    String(String),
    /// A sequence.
    List(Vec<Node>),
    /// A mapping, in the order written, without duplicate keys.
    Map(Vec<Entry>),
}

/// A key of a mapping with its place, and its value.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The key's text.
    pub key: String,
    /// Where the key stands.
    pub key_span: Span,
    /// What it holds.
    pub value: Node,
}

/// One document of a stream.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// Its root; `Null` for an empty document.
    pub root: Node,
    /// The file that Helm names in a comment `# Source: ...` above the document.
    pub template: Option<String>,
}

impl Node {
    /// The value of a key, if this is a map that has it.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Node> {
        match &self.value {
            Value::Map(entries) => entries.iter().find(|e| e.key == key).map(|e| &e.value),
            _ => None,
        }
    }

    /// Follows a field path as [`crate::policy::FieldPath`] prints it: `spec.containers[0].image`,
    /// `metadata.annotations["a.b/c"]`. The longest part that exists is not returned for one that does not.
    #[must_use]
    pub fn at(&self, path: &str) -> Option<&Node> {
        let mut node = self;
        let mut rest = path;
        while !rest.is_empty() {
            if let Some(quoted) = rest.strip_prefix("[\"") {
                let (key, after) = quoted.split_once("\"]")?;
                node = node.get(key)?;
                rest = after;
            } else if let Some(index) = rest.strip_prefix('[') {
                let (number, after) = index.split_once(']')?;
                node = node.as_list()?.get(number.parse::<usize>().ok()?)?;
                rest = after;
            } else {
                let rest_of_key = rest.strip_prefix('.').unwrap_or(rest);
                let end = rest_of_key.find(['.', '[']).unwrap_or(rest_of_key.len());
                node = node.get(&rest_of_key[..end])?;
                rest = &rest_of_key[end..];
            }
        }
        Some(node)
    }

    /// The text, if this is a string.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match &self.value {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    /// The elements, if this is a list.
    #[must_use]
    pub fn as_list(&self) -> Option<&[Node]> {
        match &self.value {
            Value::List(nodes) => Some(nodes),
            _ => None,
        }
    }

    /// The same value as JSON, without places. A number that JSON cannot write becomes `null`.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        match &self.value {
            Value::Null => serde_json::Value::Null,
            Value::Bool(b) => (*b).into(),
            Value::Int(i) => (*i).into(),
            Value::Float(f) => serde_json::Number::from_f64(*f).into(),
            Value::String(s) => s.as_str().into(),
            Value::List(nodes) => nodes.iter().map(Node::to_json).collect(),
            Value::Map(entries) => {
                entries.iter().map(|e| (e.key.clone(), e.value.to_json())).collect::<serde_json::Map<_, _>>().into()
            }
        }
    }

    /// What this is, for a message: `a list`, `the number 3`.
    #[must_use]
    pub fn describe(&self) -> Cow<'static, str> {
        match &self.value {
            Value::Null => "nothing".into(),
            Value::Bool(b) => format!("the boolean {b}").into(),
            Value::Int(i) => format!("the number {i}").into(),
            Value::Float(f) => format!("the number {f}").into(),
            Value::String(_) => "a string".into(),
            Value::List(_) => "a list".into(),
            Value::Map(_) => "a map".into(),
        }
    }

    /// What a copy of it weighs, in nodes.
    fn weight(&self) -> usize {
        let of_text = |text: &str| 1 + text.len() / BYTES_PER_NODE;
        match &self.value {
            Value::List(nodes) => 1 + nodes.iter().map(Node::weight).sum::<usize>(),
            Value::Map(entries) => 1 + entries.iter().map(|e| of_text(&e.key) + e.value.weight()).sum::<usize>(),
            Value::String(text) => of_text(text),
            _ => 1,
        }
    }
}

/// Parses a stream of YAML documents, or one JSON document.
///
/// Duplicate keys, keys that are no scalars, tags, runaway aliases and nesting, and whatever the grammar
/// refuses, are diagnostics. Documents that ended before an error are returned beside it.
#[must_use]
pub fn parse(source: &Source<'_>) -> (Vec<Document>, Vec<Diagnostic>) {
    let mut builder = Builder::new(source);
    builder.run();
    (builder.documents, builder.problems)
}

/// A merge key: where it stands, what it stands for, and how many keys stand before it.
type Merge = (Span, Node, usize);

/// A collection that has begun and not yet ended.
enum Open {
    List {
        nodes: Vec<Node>,
        start: usize,
        anchor: usize,
    },
    Map {
        entries: Vec<Entry>,
        /// What plain merge keys stand for, and where.
        merges: Vec<Merge>,
        seen: HashSet<String>,
        key: Option<(String, Span)>,
        start: usize,
        anchor: usize,
    },
}

struct Builder<'s> {
    source: &'s Source<'s>,
    base: usize,
    documents: Vec<Document>,
    problems: Vec<Diagnostic>,
    stack: Vec<Open>,
    anchors: HashMap<usize, (Node, usize)>,
    nodes: usize,
    document_start: usize,
    root: Option<Node>,
    /// Where the last token ended: block collections have no end of their own.
    last_end: usize,
}

impl<'s> Builder<'s> {
    fn new(source: &'s Source<'s>) -> Self {
        Builder {
            source,
            base: 0,
            documents: Vec::new(),
            problems: Vec::new(),
            stack: Vec::new(),
            anchors: HashMap::new(),
            nodes: 0,
            document_start: 0,
            root: None,
            last_end: 0,
        }
    }

    fn run(&mut self) {
        let text = self.source.text();
        // A byte order mark is allowed at the start; the parser is not shown it.
        let body = text.strip_prefix('\u{feff}').unwrap_or(text);
        self.base = text.len() - body.len();
        if let Some(problem) = self.misread(body) {
            return self.problems.push(problem);
        }
        for item in Parser::new_from_str(body) {
            if self.problems.len() >= MAX_PROBLEMS {
                return;
            }
            let (event, span) = match item {
                Ok(pair) => pair,
                Err(error) => {
                    let at = self.offset(error.marker());
                    self.problem(at..at, format!("not valid YAML: {}", error.info()));
                    return;
                }
            };
            let range = self.offset(&span.start)..self.offset(&span.end);
            if !self.event(event, range) {
                return;
            }
        }
    }

    /// What kubectl reads differently, so that neither reading is trusted.
    fn misread(&self, body: &str) -> Option<Diagnostic> {
        let at = |offset: usize, length: usize| self.base + offset..self.base + offset + length;
        // YAML 1.1, which kubectl reads, ends a line at these.
        let breaks = |c: char| matches!(c, '\u{85}' | '\u{2028}' | '\u{2029}');
        if let Some((offset, found)) = body.char_indices().find(|(_, c)| breaks(*c)) {
            let message = format!("the line break U+{:04X}, which kubectl reads differently", u32::from(found));
            let problem = self.source.error(at(offset, found.len_utf8()), message);
            return Some(problem.help("write a plain line break, or its escape in double quotes"));
        }
        // kubectl splits a stream at every line that begins so, before it reads any YAML.
        let mut from = 0;
        while let Some(found) = body[from..].find("\n---") {
            let dashes = from + found + 1;
            if !matches!(body[dashes + 3..].chars().next(), None | Some(' ' | '\t' | '\r' | '\n')) {
                let message = "three dashes with text behind them, which kubectl takes for the end of a document";
                return Some(
                    self.source.error(at(dashes, 3), message).help("put a blank behind the dashes, or before them"),
                );
            }
            from = dashes + 3;
        }
        None
    }

    /// Takes one event in; false ends the parse.
    fn event(&mut self, event: Event<'_>, span: Span) -> bool {
        match event {
            Event::DocumentStart(..) => {
                self.document_start = span.start;
                self.anchors.clear();
                self.root = None;
            }
            Event::DocumentEnd => {
                let end = self.last_end.max(self.document_start);
                let root = self.root.take().unwrap_or(Node { value: Value::Null, span: end..end });
                let template = self.helm_template(root.span.start);
                self.documents.push(Document { root, template });
            }
            Event::Scalar(text, style, anchor, tag) => {
                self.last_end = span.end;
                let tag = tag.as_ref().map(|t| (t.core_suffix().map(str::to_owned), t.original()));
                let value = match tag {
                    None if style == ScalarStyle::Plain => resolve(&text),
                    None => Value::String(text.into_owned()),
                    Some((Some(core), _)) if core == "str" => Value::String(text.into_owned()),
                    Some((Some(_), _)) => resolve(&text),
                    Some((None, written)) => {
                        self.problem(span.clone(), format!("the tag '{written}' is not supported"));
                        Value::String(text.into_owned())
                    }
                };
                return self.add(Node { value, span }, anchor, true);
            }
            Event::SequenceStart(_, anchor, _) => {
                self.stack.push(Open::List { nodes: Vec::new(), start: span.start, anchor });
                return self.deep_enough(span);
            }
            Event::MappingStart(_, anchor, _) => {
                self.stack.push(Open::Map {
                    entries: Vec::new(),
                    merges: Vec::new(),
                    seen: HashSet::new(),
                    key: None,
                    start: span.start,
                    anchor,
                });
                return self.deep_enough(span);
            }
            Event::SequenceEnd | Event::MappingEnd => {
                if span.end > span.start {
                    self.last_end = span.end;
                }
                let Some(open) = self.stack.pop() else {
                    return true;
                };
                let (value, start, anchor) = match open {
                    Open::List { nodes, start, anchor } => (Value::List(nodes), start, anchor),
                    Open::Map { entries, merges, seen, start, anchor, .. } => {
                        (Value::Map(self.merged(entries, merges, seen)), start, anchor)
                    }
                };
                let span = start..self.last_end.max(start);
                return self.add(Node { value, span }, anchor, false);
            }
            Event::Alias(id) => {
                self.last_end = span.end;
                let Some((node, size)) = self.anchors.get(&id).cloned() else {
                    self.problem(span, "an alias inside the node it stands for".to_owned());
                    return false;
                };
                self.nodes += size;
                return self.few_enough(span) && self.add(node, 0, true);
            }
            _ => {}
        }
        true
    }

    fn deep_enough(&mut self, span: Span) -> bool {
        let fits = self.stack.len() <= MAX_DEPTH;
        if !fits {
            self.problem(span, format!("nested more than {MAX_DEPTH} levels deep"));
        }
        fits
    }

    fn few_enough(&mut self, span: Span) -> bool {
        let fits = self.nodes <= MAX_NODES;
        if !fits {
            self.problem(span, format!("more than {MAX_NODES} nodes once aliases are expanded"));
        }
        fits
    }

    /// Puts a finished node where it belongs. `scalar` nodes may become keys.
    fn add(&mut self, node: Node, anchor: usize, scalar: bool) -> bool {
        self.nodes += 1;
        if !self.few_enough(node.span.clone()) {
            return false;
        }
        if anchor != 0 {
            // The copy that aliases are served from counts too: nested anchors would copy a text many times over.
            let size = node.weight();
            self.nodes += size;
            self.anchors.insert(anchor, (node.clone(), size));
        }
        let text = self.source.text();
        match self.stack.last_mut() {
            None => self.root = Some(node),
            Some(Open::List { nodes, .. }) => nodes.push(node),
            Some(Open::Map { key, entries, merges, seen, .. }) => match key.take() {
                // Quoted it is a key as any other: the API server knows JSON alone, and its schema would not see what
                // is merged.
                Some((_, key_span)) if text.get(key_span.clone()) == Some("<<") => match merges.first() {
                    Some((first, ..)) => self.problems.push(twice(self.source, "<<", key_span, first.start)),
                    None => merges.push((key_span, node, entries.len())),
                },
                Some((name, key_span)) => {
                    if seen.insert(name.clone()) {
                        entries.push(Entry { key: name, key_span, value: node });
                    } else {
                        let first = entries.iter().find(|e| e.key == name).map_or(0, |e| e.key_span.start);
                        self.problems.push(twice(self.source, &name, key_span, first));
                    }
                }
                None => {
                    let name = match &node.value {
                        Value::String(name) => name.clone(),
                        Value::List(_) | Value::Map(_) => {
                            self.problem(node.span, "a key must be a plain string".to_owned());
                            return false;
                        }
                        // `1:` or `true:`; the text as written is the key, as Kubernetes reads it.
                        _ if scalar => text.get(node.span.clone()).unwrap_or_default().to_owned(),
                        _ => String::new(),
                    };
                    *key = Some((name, node.span));
                }
            },
        }
        true
    }

    /// Applies merge keys (`<<: *base`): what a map says itself (`seen`) wins, then the earlier of several bases.
    fn merged(&mut self, mut own: Vec<Entry>, merges: Vec<Merge>, mut seen: HashSet<String>) -> Vec<Entry> {
        for (key_span, merged, before) in merges {
            let bases = match merged.value {
                Value::List(nodes) => nodes,
                _ => vec![merged],
            };
            for base in bases {
                let Value::Map(inherited) = base.value else {
                    self.problem(key_span.clone(), "a merge key '<<' must stand for a map".to_owned());
                    continue;
                };
                // kubectl's reader lets what is merged take the place of what stands above it.
                let above: HashMap<&str, &Node> =
                    own.iter().take(before).map(|own| (own.key.as_str(), &own.value)).collect();
                let differs = |entry: &&Entry| {
                    above.get(entry.key.as_str()).is_some_and(|own| own.to_json() != entry.value.to_json())
                };
                if let Some(key) = inherited.iter().find(differs).map(|entry| entry.key.clone()) {
                    let message =
                        format!("'<<' below the key '{key}', which it holds too: kubectl takes the one that is merged");
                    let problem = self.source.error(key_span.clone(), message);
                    self.problems.push(problem.help("put '<<' first in the map"));
                }
                own.extend(inherited.into_iter().filter(|entry| seen.insert(entry.key.clone())));
            }
        }
        own
    }

    fn offset(&self, marker: &Marker) -> usize {
        let offset = match marker.byte_offset() {
            Some(bytes) => bytes + self.base,
            // Some errors know only line and column.
            None => self.source.offset(marker.line(), marker.col()),
        };
        offset.min(self.source.text().len())
    }

    fn problem(&mut self, span: Span, message: String) {
        self.problems.push(self.source.error(span, message));
    }

    /// Helm writes `---` and `# Source: chart/templates/file.yaml` above each document.
    fn helm_template(&self, root_start: usize) -> Option<String> {
        let above = self.source.text().get(self.document_start..root_start)?;
        above.lines().find_map(|line| line.strip_prefix("# Source: ")).map(|name| name.trim().to_owned())
    }
}

/// That a key was there already, where `first` is.
fn twice(source: &Source<'_>, name: &str, key_span: Span, first: usize) -> Diagnostic {
    let line = source.position(first).0;
    let help = match name {
        "<<" => format!("the first one is on line {line}; write one, with a list: `<<: [*a, *b]`"),
        _ => format!("the first one is on line {line}; keep one of them"),
    };
    source.error(key_span, format!("the key '{name}' stands twice in one map")).help(help)
}

/// A plain scalar by YAML 1.2's core schema.
fn resolve(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" => return Value::Bool(true),
        "false" | "False" | "FALSE" => return Value::Bool(false),
        _ => {}
    }
    let first = text.as_bytes()[0];
    if !(first.is_ascii_digit() || matches!(first, b'+' | b'-' | b'.')) {
        return Value::String(text.to_owned());
    }
    if let Some(hex) = text.strip_prefix("0x") {
        return i64::from_str_radix(hex, 16).map_or_else(|_| Value::String(text.to_owned()), Value::Int);
    }
    if let Some(octal) = text.strip_prefix("0o") {
        return i64::from_str_radix(octal, 8).map_or_else(|_| Value::String(text.to_owned()), Value::Int);
    }
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) {
        if let Ok(number) = text.parse() {
            return Value::Int(number);
        }
        return text.parse().map_or_else(|_| Value::String(text.to_owned()), Value::Float);
    }
    if is_float(digits) {
        return text.parse().map_or_else(|_| Value::String(text.to_owned()), Value::Float);
    }
    Value::String(text.to_owned())
}

/// `(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?` of the core schema; infinities and NaN are left as strings.
fn is_float(digits: &str) -> bool {
    let (mantissa, exponent) = match digits.find(['e', 'E']) {
        Some(at) => (&digits[..at], Some(&digits[at + 1..])),
        None => (digits, None),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let number = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
    let exponent_fits = exponent.is_none_or(|e| {
        let e = e.strip_prefix(['+', '-']).unwrap_or(e);
        !e.is_empty() && number(e)
    });
    number(whole) && number(fraction) && !(whole.is_empty() && fraction.is_empty()) && exponent_fits
}

#[cfg(test)]
mod tests;
