//! A release's id: the hash of one canonical form of what it declares (docs/release-files.md, "The id").
//!
//! JSON without blanks, keys by the bytes of their UTF-8, strings and numbers as RFC 8785 writes them; whole numbers of
//! 64 bits are written in full.

use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

use crate::document::{Entry, Node, Value};
use crate::image::DigestBuf;

/// Keys of an image that do not count: what is said of the same bytes, and lets nothing run.
const FACTS: [&str; 2] = ["commit", "build"];

/// The id of a release by its free sections and its images (each the name and the map that is written), the repositories
/// in their canonical form.
///
/// None cannot be: what is hashed is a digest.
pub(super) fn id(free: &[&Entry], images: &[(&str, &str, &Node)]) -> Option<DigestBuf> {
    DigestBuf::parse(&format!("sha256:{:x}", Sha256::digest(form(free, images).as_bytes()))).ok()
}

/// What is hashed.
pub(super) fn form(free: &[&Entry], images: &[(&str, &str, &Node)]) -> String {
    let mut out = "{\"free\":".to_owned();
    object(free.iter().map(|entry| (entry.key.as_str(), &entry.value)).collect(), &mut out, value);
    out.push_str(",\"images\":");
    let images = images.iter().map(|(name, repository, node)| (*name, (*repository, *node))).collect();
    object(images, &mut out, |(repository, node), out| {
        let entries = match &node.value {
            Value::Map(entries) => entries.as_slice(),
            _ => &[],
        };
        let counts = |entry: &&Entry| match entry.key.as_str() {
            // A map that names none says what none does.
            "platforms" => !matches!(&entry.value.value, Value::Map(named) if named.is_empty()),
            key => !FACTS.contains(&key),
        };
        let entries = entries.iter().filter(counts).map(|entry| (entry.key.as_str(), (entry, repository))).collect();
        object(entries, out, |(entry, repository), out| match entry.key.as_str() {
            "repo" => string(repository, out),
            _ => value(&entry.value, out),
        });
    });
    out.push('}');
    out
}

fn object<T>(mut entries: Vec<(&str, T)>, out: &mut String, write: impl Fn(T, &mut String)) {
    entries.sort_by_key(|(key, _)| *key);
    out.push('{');
    for (at, (key, value)) in entries.into_iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        string(key, out);
        out.push(':');
        write(value, out);
    }
    out.push('}');
}

fn value(node: &Node, out: &mut String) {
    match &node.value {
        Value::Null => out.push_str("null"),
        Value::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Value::Int(value) => {
            // Writing to a String cannot fail.
            let _ = write!(out, "{value}");
        }
        Value::Float(value) => number(*value, out),
        Value::String(text) => string(text, out),
        Value::List(nodes) => {
            out.push('[');
            for (at, node) in nodes.iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                value(node, out);
            }
            out.push(']');
        }
        Value::Map(entries) => {
            object(entries.iter().map(|entry| (entry.key.as_str(), &entry.value)).collect(), out, value);
        }
    }
}

fn string(text: &str, out: &mut String) {
    out.push_str(&serde_json::Value::from(text).to_string());
}

/// As ECMAScript's Number::toString writes it: the fewest digits that read back as the same number.
fn number(value: f64, out: &mut String) {
    let shortest = format!("{:e}", value.abs());
    let (mantissa, exponent) = shortest.split_once('e').unwrap_or((&shortest, "0"));
    let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    let exponent: i32 = exponent.parse().unwrap_or_default();
    if value < 0.0 {
        out.push('-');
    }
    let count = i32::try_from(digits.len()).unwrap_or(i32::MAX);
    let point = exponent + 1;
    let zeros = |count: i32| "0".repeat(usize::try_from(count).unwrap_or_default());
    if count <= point && point <= 21 {
        out.push_str(&digits);
        out.push_str(&zeros(point - count));
    } else if 0 < point && point <= 21 {
        let (whole, fraction) = digits.split_at(usize::try_from(point).unwrap_or_default());
        out.extend([whole, ".", fraction]);
    } else if -6 < point && point <= 0 {
        out.push_str("0.");
        out.push_str(&zeros(-point));
        out.push_str(&digits);
    } else {
        let (first, rest) = digits.split_at(1);
        out.push_str(first);
        if !rest.is_empty() {
            out.push('.');
            out.push_str(rest);
        }
        let sign = if exponent < 0 { '-' } else { '+' };
        let _ = write!(out, "e{sign}{}", exponent.abs());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::{Source, parse};

    fn written(text: &str) -> String {
        let (documents, problems) = parse(&Source::new("f", text));
        assert_eq!(problems, [], "{text}");
        let mut out = String::new();
        value(&documents[0].root, &mut out);
        out
    }

    #[test]
    fn numbers_have_one_form() {
        for (text, form) in [
            ("10", "10"),
            ("10.0", "10"),
            ("1e1", "10"),
            ("0x0a", "10"),
            ("-0.0", "0"),
            ("0.1", "0.1"),
            (".5", "0.5"),
            ("0.000001", "0.000001"),
            ("0.0000001", "1e-7"),
            ("123456.789", "123456.789"),
            ("-1.5e-9", "-1.5e-9"),
            ("1e20", "100000000000000000000"),
            ("1e21", "1e+21"),
            ("9007199254740993", "9007199254740993"),
            ("-9223372036854775808", "-9223372036854775808"),
            ("9223372036854775808", "9223372036854776000"),
            ("1.7976931348623157e308", "1.7976931348623157e+308"),
            ("5e-324", "5e-324"),
        ] {
            assert_eq!(written(text), form, "{text}");
        }
    }

    #[test]
    fn layout_order_and_quotes_leave_no_trace_and_kinds_do() {
        let form = "{\"a\":[1,\"1\",true,null],\"b\":{\"é\":\"x\\n\"}}";
        for text in [
            "b: {é: \"x\\n\"}\na: [1, '1', true, ~]\n",
            "a: # c\n- 1\n- \"1\"\n- true\n-\nb:\n  é: |\n    x\n",
            "{\"b\":{\"é\":\"x\\u000a\"},\"a\":[1,\"1\",true,null]}",
        ] {
            assert_eq!(written(text), form, "{text}");
        }
        assert_ne!(written("a: 1"), written("a: '1'"));
    }
}
