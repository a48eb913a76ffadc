//! Writing keys of a map into the text that it was read from, each as its neighbours are written, and nothing else.
//!
//! Whoever edits reads the new text again: what came through an alias stands elsewhere, and an edit there says more than
//! it should.

use super::{Edit, Entry, Node, Span, Value};

/// A value to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Written {
    /// A text.
    Text(String),
    /// A list of texts, on one line.
    List(Vec<String>),
    /// A map of texts, on one line.
    Map(Vec<(String, String)>),
}

/// The entry of a key, for its place.
pub(crate) fn entry<'d>(map: &'d Node, key: &str) -> Option<&'d Entry> {
    match &map.value {
        Value::Map(entries) => entries.iter().find(|entry| entry.key == key),
        _ => None,
    }
}

/// The quote in which a key is written, if it is.
pub(crate) fn quote_of<'t>(text: &'t str, key: &Span) -> &'t str {
    let first = text.get(key.start..key.start + 1).unwrap_or_default();
    if matches!(first, "\"" | "'") { first } else { "" }
}

/// Gives a key this value: in the place of the one it has, or as a new key behind the last of `after` that is there.
/// None: the way the map is written leaves no safe place.
pub(crate) fn set(text: &str, map: &Node, key: &str, after: &[&str], value: &Written) -> Option<Edit> {
    if let Some(entry) = entry(map, key) {
        let quote = quote_of(text, &entry.key_span);
        let span = entry.value.span.start..end_of(text, &entry.value.span);
        let raw = text.get(span.clone())?;
        let old = quote_of(raw, &(0..0));
        // What a block scalar (`|`, `>`) holds has no quotes to be put in.
        let block = text.get(entry.key_span.end..span.start).is_none_or(|between| between.contains(['|', '>']));
        let fits = !block && !raw.is_empty() && !raw.contains('\n');
        let edit = Edit { span, text: rendered(value, if quote == "\"" || old.is_empty() { quote } else { old }) };
        return fits.then_some(edit);
    }
    let anchor = after.iter().rev().find_map(|key| entry(map, key))?;
    let quote = quote_of(text, &anchor.key_span);
    let (at, lead) = behind(text, map, anchor)?;
    let key = rendered_text(key, quote);
    Some(Edit { span: at..at, text: format!("{lead}{key}: {}", rendered(value, quote)) })
}

/// Where a new key goes behind another entry of a map, and what stands before it there.
pub(crate) fn behind(text: &str, map: &Node, anchor: &Entry) -> Option<(usize, String)> {
    // What stands before its key came through an alias.
    if anchor.value.span.start < anchor.key_span.end || !map.span.contains(&anchor.key_span.start) {
        return None;
    }
    let end = end_of(text, &anchor.value.span);
    let line = line_start(text, anchor.key_span.start);
    let indent = text.get(line..anchor.key_span.start)?.trim_start_matches('\u{feff}');
    let new_line = if text.contains("\r\n") { "\r\n" } else { "\n" };
    let line_end = line_end(text, end);
    if is_flow(text, map) {
        let rest = text.get(end..line_end)?.trim();
        let own_line = !indent.is_empty() && indent.trim().is_empty() && matches!(rest, "" | ",");
        let lead = if own_line { format!(",{new_line}{indent}") } else { ", ".to_owned() };
        return Some((end, lead));
    }
    let blank = indent.chars().all(|c| matches!(c, ' ' | '-'));
    blank.then(|| (line_end, format!("{new_line}{}", " ".repeat(indent.len()))))
}

/// Takes a key and its value out, of a block its lines. None: it cannot be done safely, or there is no such key.
pub(crate) fn remove(text: &str, map: &Node, key: &str) -> Option<Edit> {
    let Value::Map(entries) = &map.value else { return None };
    let at = entries.iter().position(|entry| entry.key == key)?;
    let found = &entries[at];
    if found.value.span.start < found.key_span.end {
        return None;
    }
    let end = end_of(text, &found.value.span);
    let gone = |span: Span| Edit { span, text: String::new() };
    if is_flow(text, map) {
        let comma = |span: Span| text.get(span).is_some_and(|between| between.trim() == ",");
        let before = at.checked_sub(1).and_then(|before| entries.get(before)).map(|e| end_of(text, &e.value.span));
        if let Some(before) = before.filter(|before| comma(*before..found.key_span.start)) {
            return Some(gone(before..end));
        }
        let next = entries.get(at + 1)?.key_span.start;
        return comma(end..next).then(|| gone(found.key_span.start..next));
    }
    let start = line_start(text, found.key_span.start);
    if !text.get(start..found.key_span.start)?.bytes().all(|b| b == b' ') || entries.len() == 1 {
        return None;
    }
    let line_end = text.get(end..)?.find('\n').map(|at| end + at + 1);
    Some(gone(match line_end {
        Some(line_end) => start..line_end,
        // The last line has no end: that of the one before it goes.
        None => text.get(..start)?.trim_end_matches(['\r', '\n']).len()..text.len(),
    }))
}

/// Puts a text in front of a list's elements. None: the way it is written leaves no safe place.
pub(crate) fn prepend(text: &str, list: &Node, element: &str) -> Option<Edit> {
    let elements = list.as_list()?;
    let start = list.span.start;
    let quote = elements.first().map_or("", |first| quote_of(text, &first.span));
    let element = rendered_text(element, quote);
    let at = |at: usize, text: String| Some(Edit { span: at..at, text });
    if text.get(start..)?.starts_with('[') {
        return at(start + 1, if elements.is_empty() { element } else { format!("{element}, ") });
    }
    // Where a list without indentation begins, its place does not say.
    let first = elements.first()?.span.start;
    let line = text.get(line_start(text, first)..first)?;
    let indent = line.trim_end().strip_suffix('-').filter(|indent| indent.bytes().all(|b| b == b' '))?;
    let new_line = if text.contains("\r\n") { "\r\n" } else { "\n" };
    at(first - line.len() + indent.len(), format!("- {element}{new_line}{indent}"))
}

fn is_flow(text: &str, map: &Node) -> bool {
    text.get(map.span.start..).is_some_and(|rest| rest.starts_with('{'))
}

/// Where a value ends, without the blanks behind it.
fn end_of(text: &str, span: &Span) -> usize {
    span.start + text.get(span.clone()).unwrap_or_default().trim_end().len()
}

fn line_start(text: &str, at: usize) -> usize {
    text.get(..at).and_then(|before| before.rfind('\n')).map_or(0, |at| at + 1)
}

/// The end of the line, before what ends it.
fn line_end(text: &str, at: usize) -> usize {
    let rest = text.get(at..).unwrap_or_default();
    let line = rest.find('\n').map_or(rest, |end| &rest[..end]);
    at + line.strip_suffix('\r').unwrap_or(line).len()
}

fn rendered(value: &Written, quote: &str) -> String {
    match value {
        Written::Text(text) => rendered_text(text, quote),
        Written::List(texts) => {
            let texts: Vec<String> = texts.iter().map(|text| rendered_text(text, quote)).collect();
            format!("[{}]", texts.join(", "))
        }
        Written::Map(entries) => {
            let pair = |(key, value): &(String, String)| {
                format!("{}: {}", rendered_text(key, quote), rendered_text(value, quote))
            };
            format!("{{{}}}", entries.iter().map(pair).collect::<Vec<_>>().join(", "))
        }
    }
}

/// A text in this quote; in none where it needs none.
pub(crate) fn rendered_text(text: &str, quote: &str) -> String {
    match quote {
        "'" if text.bytes().all(|b| (b' '..=b'~').contains(&b)) => format!("'{}'", text.replace('\'', "''")),
        "" if is_plain(text) => text.to_owned(),
        _ => serde_json::Value::from(text).to_string(),
    }
}

/// Whether every reader of YAML, old ones too, takes the text for itself without quotes.
fn is_plain(text: &str) -> bool {
    const WORDS: [&str; 9] = ["true", "false", "yes", "no", "on", "off", "null", "y", "n"];
    let first = text.bytes().next().unwrap_or_default();
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"._-/:@+".contains(&b);
    if !first.is_ascii_alphanumeric() || text.ends_with(':') || !text.bytes().all(fits) {
        return false;
    }
    // Numbers in all their spellings (12, 0x1f, 1_000, 1e9, 12:30), and dates.
    let number = first.is_ascii_digit()
        && (text.starts_with("0x") || text.starts_with("0o") || text.starts_with("0b") || {
            let letters = text.bytes().filter(u8::is_ascii_alphabetic);
            letters.clone().count() <= 1
                && letters.clone().all(|b| matches!(b, b'e' | b'E' | b'T' | b'Z' | b't' | b'z'))
        });
    !number && !WORDS.contains(&text.to_ascii_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::{Source, parse};

    fn root(text: &str) -> Node {
        let (mut documents, problems) = parse(&Source::new("f.yaml", text));
        assert_eq!(problems, [], "{text}");
        documents.remove(0).root
    }

    fn applied(text: &str, edit: Option<Edit>) -> String {
        edit.map_or_else(
            || "no place".to_owned(),
            |edit| format!("{}{}{}", &text[..edit.span.start], edit.text, &text[edit.span.end..]),
        )
    }

    fn written(text: &str) -> String {
        let root = root(text);
        applied(text, set(text, root.get("m").unwrap(), "new", &["a", "b"], &Written::Text("1e5".to_owned())))
    }

    #[test]
    fn a_new_key_stands_behind_its_neighbour_and_as_that_is_written() {
        for (before, after) in [
            ("m:\n  a: x # c\n  z: y\n", "m:\n  a: x # c\n  new: \"1e5\"\n  z: y\n"),
            ("m:\n  b: [x,\n    y] # c\n  a: z\n", "m:\n  b: [x,\n    y] # c\n  new: \"1e5\"\n  a: z\n"),
            ("m:\r\n  'a': x\r\n", "m:\r\n  'a': x\r\n  'new': '1e5'\r\n"),
            (
                "m:\n  b:\n    x: y\n    z: |\n      q\n# c\n",
                "m:\n  b:\n    x: y\n    z: |\n      q\n  new: \"1e5\"\n# c\n",
            ),
            ("m: {a: x}\n", "m: {a: x, new: \"1e5\"}\n"),
            ("m: {a: x , z: y}", "m: {a: x, new: \"1e5\" , z: y}"),
            ("m: {\n  a: x, # c\n  z: y}", "m: {\n  a: x, new: \"1e5\", # c\n  z: y}"),
            ("{\"m\": {\n\t\"a\": \"x\"\n}}", "{\"m\": {\n\t\"a\": \"x\",\n\t\"new\": \"1e5\"\n}}"),
            ("- m\n", "no place"),
        ] {
            if before.starts_with('-') {
                assert_eq!(set(before, &root(before), "new", &["a"], &Written::Text(String::new())), None);
                continue;
            }
            assert_eq!(written(before), after);
        }
        assert_eq!(
            written("x: &x {a: 1}\nm: *x\n"),
            "x: &x {a: 1, new: \"1e5\"}\nm: *x\n",
            "the caller reads it again"
        );
        assert_eq!(written("x: &x y\nm: {a: *x}\n"), "no place");
    }

    #[test]
    fn a_value_is_replaced_in_the_quotes_that_it_has() {
        for (before, after) in [
            ("m:\n  new: x # c\n", "m:\n  new: \"1e5\" # c\n"),
            ("m: {new: 'x'}\n", "m: {new: '1e5'}\n"),
            ("{\"m\": {\"new\":\"x\"}}", "{\"m\": {\"new\":\"1e5\"}}"),
            ("m:\n  new: |-\n    x\n", "no place"),
        ] {
            assert_eq!(written(before), after);
        }
    }

    #[test]
    fn a_key_goes_with_its_line_or_its_comma() {
        for (before, after) in [
            ("m:\n  a: x\n  old: y # c\n  z: y\n", "m:\n  a: x\n  z: y\n"),
            ("m:\n  a: x\n  old: {a: b,\n    c: d}\n", "m:\n  a: x\n"),
            ("m:\n  old:\n    a: b\n    c: d\n  a: x\n", "m:\n  a: x\n"),
            ("m:\r\n  a: x\r\n  old: y", "m:\r\n  a: x"),
            ("m: {a: x, old: y}\n", "m: {a: x}\n"),
            ("m: {old: y, a: x}\n", "m: {a: x}\n"),
            ("m: {a: x, # c\n  old: y}\n", "no place"),
            ("m: {old: y}\n", "no place"),
            ("m:\n  old: y\n", "no place"),
            ("m:\n- old: y\n", "no place"),
        ] {
            let root = root(before);
            assert_eq!(applied(before, remove(before, root.get("m").unwrap(), "old")), after, "{before}");
        }
    }

    #[test]
    fn an_element_goes_in_front() {
        for (before, after) in [
            ("m: [a, b]\n", "m: [new, a, b]\n"),
            ("m: []\n", "m: [new]\n"),
            ("{\"m\": [\n  \"a\"]}", "{\"m\": [\"new\", \n  \"a\"]}"),
            ("m:\n- a # c\n- b\n", "m:\n- new\n- a # c\n- b\n"),
            ("m:\r\n  - 'a'\r\n", "m:\r\n  - 'new'\r\n  - 'a'\r\n"),
            ("m: a\n", "no place"),
        ] {
            let root = root(before);
            assert_eq!(applied(before, prepend(before, root.get("m").unwrap(), "new")), after, "{before}");
        }
    }

    #[test]
    fn what_some_reader_would_take_for_something_else_is_quoted() {
        let hex = format!("sha256:{}", "0".repeat(64));
        for plain in ["v1.2.3", "linux/amd64", &hex, "https://git.example.com/a", "4f2a1b0", "1.2.3-rc.1"] {
            assert_eq!(rendered_text(plain, ""), plain);
        }
        for quoted in [
            "12",
            "1.10",
            "1e5",
            "0x1f",
            "0b1",
            "12:30",
            "2026-01-11",
            "1234567e89",
            "No",
            "true",
            "",
            "a: b",
            "a #b",
            "-x",
        ] {
            assert_eq!(rendered_text(quoted, ""), format!("\"{quoted}\""));
        }
        assert_eq!(rendered_text("it's", "'"), "'it''s'");
        assert_eq!(rendered_text("a\"b", "\""), "\"a\\\"b\"");
    }
}
