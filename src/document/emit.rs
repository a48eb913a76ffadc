//! Writing values as YAML in block style, so that people can read it and every reader of YAML reads the same.

use serde_json::Value;

use super::slot::rendered_text;

/// A value as YAML, its keys sorted by their bytes. Collections that are empty are `{}` and `[]`.
pub(crate) fn to_yaml(value: &Value) -> String {
    let mut out = String::new();
    match value {
        Value::Object(map) if !map.is_empty() => block(value, 0, &mut out),
        Value::Array(list) if !list.is_empty() => block(value, 0, &mut out),
        _ => {
            out.push_str(&scalar(value));
            out.push('\n');
        }
    }
    out
}

/// A collection that is not empty, from the beginning of a line.
fn block(value: &Value, indent: usize, out: &mut String) {
    let blanks = " ".repeat(indent);
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                out.push_str(&format!("{blanks}{}:", rendered_text(key, "")));
                inside(value, indent + 2, out);
            }
        }
        Value::Array(list) => {
            for value in list {
                out.push_str(&format!("{blanks}-"));
                inside(value, indent + 2, out);
            }
        }
        _ => {}
    }
}

/// What stands behind a key or a dash.
fn inside(value: &Value, indent: usize, out: &mut String) {
    let empty = value.as_object().is_none_or(serde_json::Map::is_empty) && value.as_array().is_none_or(Vec::is_empty);
    if empty {
        out.push_str(&format!(" {}\n", scalar(value)));
    } else {
        out.push('\n');
        block(value, indent, out);
    }
}

fn scalar(value: &Value) -> String {
    match value {
        Value::String(text) => rendered_text(text, ""),
        Value::Object(_) => "{}".to_owned(),
        Value::Array(_) => "[]".to_owned(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::to_yaml;
    use crate::document::{Source, parse};
    use serde_json::json;

    #[test]
    fn what_is_written_reads_back() {
        for value in [
            json!({"b": [1, "1", {"x": [[], {}, [2.5]]}], "a": {"no": "no", "é: #": "line\nline", "e": 1e300}, "z": null}),
            json!([true, "~", ""]),
            json!({}),
            json!("x"),
        ] {
            let text = to_yaml(&value);
            let (documents, problems) = parse(&Source::new("f", &text));
            assert_eq!((documents[0].root.to_json(), problems), (value, vec![]), "{text}");
        }
        assert_eq!(to_yaml(&json!({"a": [{"x": "v1"}, "2"]})), "a:\n  -\n    x: v1\n  - \"2\"\n");
    }
}
