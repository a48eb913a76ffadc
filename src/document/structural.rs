//! The structural OpenAPI v3 schema of a type, as a CustomResourceDefinition wants it.
//!
//! Made from the JSON Schema of the same type: references are written out, the words of a choice become an `enum` whose
//! description says what each means, and every object with fixed keys keeps unknown ones. The API server would else take
//! them out silently; kept, the strict reader can tell of them.
//!
//! The rules: <https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#specifying-a-structural-schema>

use schemars::JsonSchema;
use serde_json::{Map, Value, json};

use super::schema::{bare_schema_of, choice};

/// Keywords that mean the same in both.
const SHARED: [&str; 9] =
    ["type", "format", "pattern", "enum", "required", "minimum", "maximum", "minItems", "maxItems"];

/// Keeps what the schema does not name.
const PRESERVE: &str = "x-kubernetes-preserve-unknown-fields";

/// The structural schema of a type.
#[must_use]
pub fn structural_schema_of<T: JsonSchema>() -> Value {
    let whole = bare_schema_of::<T>();
    let none = Map::new();
    let definitions = whole["definitions"].as_object().unwrap_or(&none);
    structural(&whole, definitions)
}

fn structural(schema: &Value, definitions: &Map<String, Value>) -> Value {
    if let Some(referred) = referred(schema, definitions) {
        let mut inner = structural(referred, definitions);
        let meanings = choice(referred).map(|words| meanings(&words)).unwrap_or_default();
        if let Some(own) = schema["description"].as_str() {
            inner["description"] = described(own, &meanings).into();
        }
        return inner;
    }
    let description = schema["description"].as_str().unwrap_or_default();
    let mut out = if let Some(choice) = choice(schema) {
        let words: Vec<&str> = choice.iter().map(|(word, _)| *word).collect();
        return json!({"type": "string", "enum": words, "description": described(description, &meanings(&choice))});
    } else if schema["type"].is_null() {
        untyped(schema)
    } else {
        typed(schema, definitions)
    };
    if !description.is_empty() {
        out.insert("description".to_owned(), description.into());
    }
    out.into()
}

/// What `$ref` names, alone or as the one part of `allOf`.
fn referred<'d>(schema: &Value, definitions: &'d Map<String, Value>) -> Option<&'d Value> {
    let path = schema["$ref"].as_str().or_else(|| schema["allOf"][0]["$ref"].as_str())?;
    definitions.get(path.rsplit('/').next()?)
}

/// What the words of a choice mean, a line each.
fn meanings(words: &[(&str, Option<&str>)]) -> Vec<String> {
    words.iter().filter_map(|(word, meaning)| Some(format!("- {word}: {}", (*meaning)?))).collect()
}

fn described(own: &str, meanings: &[String]) -> String {
    let lines = meanings.iter().map(String::as_str);
    std::iter::once(own).chain(lines).collect::<Vec<_>>().join("\n")
}

/// No type: a number or a string, or anything, which only the strict reader knows more about.
fn untyped(schema: &Value) -> Map<String, Value> {
    let types: Vec<_> = schema["anyOf"].as_array().into_iter().flatten().map(|part| part["type"].as_str()).collect();
    let keyword = match types.as_slice() {
        [Some("integer"), Some("string")] => "x-kubernetes-int-or-string",
        _ => PRESERVE,
    };
    Map::from_iter([(keyword.to_owned(), true.into())])
}

fn typed(schema: &Value, definitions: &Map<String, Value>) -> Map<String, Value> {
    let shared = SHARED.iter().filter(|keyword| !schema[**keyword].is_null());
    let mut out: Map<String, Value> = shared.map(|keyword| ((*keyword).to_owned(), schema[*keyword].clone())).collect();
    if let Some(properties) = schema["properties"].as_object() {
        let inner = properties.iter().map(|(key, inner)| (key.clone(), structural(inner, definitions)));
        out.insert("properties".to_owned(), Value::Object(inner.collect()));
        out.insert(PRESERVE.to_owned(), true.into());
    }
    if schema["additionalProperties"].is_object() {
        out.insert("additionalProperties".to_owned(), structural(&schema["additionalProperties"], definitions));
    }
    if schema["items"].is_object() {
        out.insert("items".to_owned(), structural(&schema["items"], definitions));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{Map, structural};
    use serde_json::{Value, json};

    fn of(schema: Value) -> Value {
        let definitions = json!({
            "Mode": {"description": "A mode.", "oneOf": [
                {"const": "warn", "type": "string", "description": "Allowed."}, {"const": "deny", "type": "string"}]},
            "Later": {"description": "not supported yet"},
        });
        structural(&schema, definitions.as_object().unwrap_or(&Map::new()))
    }

    #[test]
    fn choices_are_enums_that_say_what_each_word_means() {
        let expected = json!({"type": "string", "enum": ["warn", "deny"], "description": "A mode.\n- warn: Allowed."});
        assert_eq!(of(json!({"$ref": "#/definitions/Mode"})), expected);
        let field = json!({"description": "Here.", "allOf": [{"$ref": "#/definitions/Mode"}]});
        assert_eq!(of(field)["description"], "Here.\n- warn: Allowed.");
    }

    #[test]
    fn objects_keep_what_they_do_not_know_and_maps_know_their_values() {
        let object = json!({"type": "object", "additionalProperties": false, "required": ["a"],
            "properties": {"a": {"type": "array", "items": {"type": "string"}, "uniqueItems": true}}});
        let expected = json!({"type": "object", "required": ["a"], "x-kubernetes-preserve-unknown-fields": true,
            "properties": {"a": {"type": "array", "items": {"type": "string"}}}});
        assert_eq!(of(object), expected);
        let map = json!({"type": "object", "additionalProperties": {"$ref": "#/definitions/Mode"}});
        assert_eq!(of(map)["additionalProperties"]["enum"], json!(["warn", "deny"]));
    }

    #[test]
    fn what_has_no_type_of_its_own_takes_anything() {
        assert_eq!(
            of(json!({"anyOf": [{"type": "integer"}, {"type": "string"}]})),
            json!({"x-kubernetes-int-or-string": true})
        );
        let anything = json!({"x-kubernetes-preserve-unknown-fields": true});
        assert_eq!(of(json!({"anyOf": [{"const": "none"}, {"type": "array", "items": {"type": "string"}}]})), anything);
        let later = json!({"description": "Demands.", "allOf": [{"$ref": "#/definitions/Later"}]});
        assert_eq!(of(later), json!({"x-kubernetes-preserve-unknown-fields": true, "description": "Demands."}));
    }
}
