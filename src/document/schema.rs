//! What the JSON Schemas of all files share: their making, and keys that a later version will know.

use std::borrow::Cow;

use schemars::generate::SchemaSettings;
use schemars::transform::RecursiveTransform;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::{Node, Read, Reader};

/// The JSON Schema (draft-07) of a file, made from the type that reads it. `name`: its file name under the
/// project's address.
#[must_use]
pub fn schema_of<T: JsonSchema>(name: &str) -> serde_json::Value {
    let settings = SchemaSettings::draft07().with_transform(RecursiveTransform(without_null));
    let mut schema = settings.into_generator().into_root_schema_for::<T>();
    schema.insert("$id".into(), format!("https://tagwarden.dev/schemas/{name}").into());
    schema.to_value()
}

/// Takes out the `null` that schemars lets an optional key be: the reader wants a value or no key.
fn without_null(schema: &mut Schema) {
    let is_null = |part: &serde_json::Value| part == "null" || part["type"] == "null";
    for keyword in ["type", "anyOf"] {
        let Some(serde_json::Value::Array(parts)) = schema.get_mut(keyword) else { continue };
        parts.retain(|part| !is_null(part));
        if let [only] = parts.as_mut_slice() {
            let only = only.take();
            schema.remove(keyword);
            match only {
                // In draft-07 whatever stands beside `$ref` is ignored, so it stays in a list of one.
                serde_json::Value::Object(_) => schema.insert("allOf".to_owned(), vec![only].into()),
                word => schema.insert(keyword.to_owned(), word),
            };
        }
    }
    if let Some(serde_json::Value::Array(words)) = schema.get_mut("enum") {
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
