//! From a place in a document to the path that leads there: a stored object has no lines that anybody knows.

use super::{Entry, Node, Span, Value};

/// The path of what stands at `span`, as [`Node::at`] reads it: `spec.rules[0].tags[1]`. Of a key it is the path of its
/// value; of what is missing in a map, or between its entries, the map's own; empty: the document as a whole.
///
/// What came through an alias stands where it was defined, and has the path that leads there.
#[must_use]
pub fn path_of(root: &Node, span: &Span) -> String {
    let mut path = String::new();
    let mut node = root;
    loop {
        match &node.value {
            Value::List(nodes) => {
                let Some((index, inner)) = nodes.iter().enumerate().find(|(_, inner)| contains(&inner.span, span))
                else {
                    return path;
                };
                path.push_str(&format!("[{index}]"));
                node = inner;
            }
            Value::Map(entries) => {
                let Some(entry) = entries.iter().find(|entry| is_in(entry, span)) else { return path };
                push_key(&mut path, &entry.key);
                node = &entry.value;
            }
            _ => return path,
        }
    }
}

fn is_in(entry: &Entry, span: &Span) -> bool {
    contains(&entry.key_span, span) || contains(&entry.value.span, span)
}

/// Nothing is at the end of what stands before it, so a span without bytes belongs to what begins there.
fn contains(outer: &Span, inner: &Span) -> bool {
    let begins =
        outer.start <= inner.start && (inner.start < outer.end || outer.is_empty() && inner.start == outer.start);
    begins && inner.end <= outer.end
}

/// Lengthens a path by a key. One that is no plain word is quoted: `tagClasses["my class"]`.
pub(crate) fn push_key(path: &mut String, key: &str) {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if !key.is_empty() && key.chars().all(plain) {
        if !path.is_empty() {
            path.push('.');
        }
        path.push_str(key);
        return;
    }
    path.push_str("[\"");
    path.extend(key.chars().flat_map(char::escape_debug));
    path.push_str("\"]");
}

#[cfg(test)]
mod tests {
    use super::path_of;
    use crate::document::{Node, Source, parse};

    fn root(text: &str) -> Node {
        let (mut documents, problems) = parse(&Source::new("f", text));
        assert_eq!(problems, vec![], "{text}");
        documents.remove(0).root
    }

    /// The path of the first place where `part` stands.
    fn path(text: &str, part: &str) -> String {
        let start = text.find(part).unwrap();
        path_of(&root(text), &(start..start + part.len()))
    }

    const BLOCK: &str =
        "spec:\n  rules:\n  - name: first\n    tags: [release, relase]\n  classes:\n    a.b: {pattern: x}\n";

    #[test]
    fn values_keys_and_elements_have_their_paths() {
        for text in [BLOCK.to_owned(), format!("{:#}", root(BLOCK).to_json())] {
            assert_eq!(path(&text, "relase"), "spec.rules[0].tags[1]", "{text}");
            assert_eq!(path(&text, "elas"), "spec.rules[0].tags[1]", "a part of a value");
            assert_eq!(path(&text, "tags"), "spec.rules[0].tags", "a key");
            assert_eq!(path(&text, "first"), "spec.rules[0].name");
            assert_eq!(path(&text, "pattern"), "spec.classes[\"a.b\"].pattern");
        }
    }

    #[test]
    fn what_is_missing_is_said_of_the_map() {
        assert_eq!(path(BLOCK, "name: first"), "spec.rules[0]", "the first line of a map of two");
        let json = "{\n  \"spec\": {\n    \"rules\": [\n      {\n        \"name\": \"x\"\n      }\n    ]\n  }\n}";
        let at = json.match_indices('{').nth(2).unwrap().0;
        assert_eq!(path_of(&root(json), &(at..at + 1)), "spec.rules[0]");
        assert_eq!(path_of(&root(json), &(0..1)), "", "of the whole");
        assert_eq!(path_of(&root(json), &(json.len()..json.len() + 9)), "", "beyond the end");
    }

    #[test]
    fn a_value_that_is_not_there_belongs_to_its_key() {
        let text = "spec:\n  mode:\n  rules: []\n";
        let node = root(text);
        let span = node.at("spec.mode").unwrap().span.clone();
        assert!(["spec.mode", "spec"].contains(&path_of(&node, &span).as_str()));
    }

    #[test]
    fn every_path_leads_back_to_its_node() {
        fn walk(root: &Node, node: &Node) {
            let path = path_of(root, &node.span);
            assert_eq!(root.at(&path).map(|found| &found.value), Some(&node.value), "{path}");
            match &node.value {
                crate::document::Value::List(nodes) => nodes.iter().for_each(|inner| walk(root, inner)),
                crate::document::Value::Map(entries) => entries.iter().for_each(|entry| walk(root, &entry.value)),
                _ => {}
            }
        }
        let json = root(&format!("{:#}", root(BLOCK).to_json()));
        walk(&json, &json);
    }
}
