//! What the JSON Schemas of all files share: their making, and keys that a later version will know.

use std::borrow::Cow;

use schemars::generate::SchemaSettings;
use schemars::transform::RecursiveTransform;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value};

use super::{Node, Read, Reader};

/// The JSON Schema (draft-07) of a file, made from the type that reads it, in the form that editors make most of.
/// `name`: its file name under the project's address; `title`: what editors call such a file.
#[must_use]
pub fn schema_of<T: JsonSchema>(name: &str, title: &str) -> Value {
    let mut schema = bare_schema_of::<T>();
    let definitions = schema["definitions"].as_object().cloned().unwrap_or_default();
    for_editors(&mut schema, &definitions);
    schema["$id"] = format!("https://tagwarden.dev/schemas/{name}").into();
    schema["title"] = title.into();
    schema
}

/// The same as schemars makes it: words of a choice are constants, each with its description.
pub(super) fn bare_schema_of<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft07().with_transform(RecursiveTransform(without_null));
    settings.into_generator().into_root_schema_for::<T>().to_value()
}

/// The words of a choice, each with what it means: `oneOf` of constants.
pub(super) fn choice(schema: &Value) -> Option<Vec<(&str, Option<&str>)>> {
    let parts = schema["oneOf"].as_array()?;
    parts.iter().map(|part| Some((part["const"].as_str()?, part["description"].as_str()))).collect()
}

/// Editors show the description of the innermost schema that fits, which of a choice is that of one word and not that of the
/// key; and what to write behind a key they take from its own type. So choices become an `enum` (with a keyword of theirs
/// for what each word means) where they are used, and whatever refers to a type names it, too.
fn for_editors(schema: &mut Value, definitions: &Map<String, Value>) {
    match schema {
        Value::Array(parts) => parts.iter_mut().for_each(|part| for_editors(part, definitions)),
        Value::Object(keywords) => keywords.values_mut().for_each(|inner| for_editors(inner, definitions)),
        _ => return,
    }
    let referred = schema["allOf"][0]["$ref"].as_str().and_then(|path| definitions.get(path.rsplit('/').next()?));
    let words = choice(referred.unwrap_or(schema)).map(|words| {
        let (words, meanings): (Vec<_>, Vec<_>) =
            words.into_iter().map(|(word, meaning)| (word, meaning.unwrap_or_default())).unzip();
        (Value::from(words), Value::from(meanings))
    });
    let kind = referred.map(|referred| referred["type"].clone()).filter(Value::is_string);
    let Value::Object(keywords) = schema else { return };
    if let Some((words, meanings)) = words {
        keywords.retain(|keyword, _| keyword != "oneOf" && keyword != "allOf");
        keywords.extend([("type", "string".into()), ("enum", words), ("enumDescriptions", meanings)].map(named));
    } else if let Some(kind) = kind {
        keywords.insert("type".to_owned(), kind);
    }
}

fn named((keyword, value): (&str, Value)) -> (String, Value) {
    (keyword.to_owned(), value)
}

/// Takes out the `null` that schemars lets an optional key be: the reader wants a value or no key.
fn without_null(schema: &mut Schema) {
    let is_null = |part: &Value| part == "null" || part["type"] == "null";
    for keyword in ["type", "anyOf"] {
        let Some(Value::Array(parts)) = schema.get_mut(keyword) else { continue };
        parts.retain(|part| !is_null(part));
        if let [only] = parts.as_mut_slice() {
            let only = only.take();
            schema.remove(keyword);
            match only {
                // In draft-07 whatever stands beside `$ref` is ignored, so it stays in a list of one.
                Value::Object(_) => schema.insert("allOf".to_owned(), vec![only].into()),
                word => schema.insert(keyword.to_owned(), word),
            };
        }
    }
    if let Some(Value::Array(words)) = schema.get_mut("enum") {
        words.retain(|word| !word.is_null());
    }
}

/// The value of a key that a later version will know: anything.
#[derive(Clone, Copy, Debug)]
pub struct Later;

impl Read for Later {
    fn read(_: &Node, _: &mut Reader<'_>) -> Option<Self> {
        Some(Later)
    }
}

impl JsonSchema for Later {
    fn schema_name() -> Cow<'static, str> {
        "NotSupportedYet".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"description": "not supported yet"})
    }
}

#[cfg(test)]
mod tests {
    use super::for_editors;
    use serde_json::json;

    #[test]
    fn choices_are_written_out_and_references_name_their_type() {
        let mut schema = json!({
            "properties": {
                "mode": {"description": "Here.", "allOf": [{"$ref": "#/definitions/Mode"}]},
                "age": {"description": "How old.", "allOf": [{"$ref": "#/definitions/Age"}]},
                "search": {"anyOf": [{"const": "none"}, {"type": "array", "items": {"$ref": "#/definitions/Mode"}}]},
            },
            "definitions": {
                "Mode": {"description": "A mode.", "oneOf": [{"const": "warn", "description": "Allowed."}, {"const": "deny"}]},
                "Age": {"type": "object"},
            },
        });
        let unchanged = schema["properties"]["search"].clone();
        let definitions = schema["definitions"].as_object().unwrap().clone();
        for_editors(&mut schema, &definitions);
        let mode = |description: &str| json!({"description": description, "type": "string", "enum": ["warn", "deny"], "enumDescriptions": ["Allowed.", ""]});
        let properties = &schema["properties"];
        assert_eq!(properties["mode"], mode("Here."));
        assert_eq!(schema["definitions"]["Mode"], mode("A mode."));
        assert_eq!((&properties["age"]["type"], &properties["search"]), (&json!("object"), &unchanged));
    }
}
