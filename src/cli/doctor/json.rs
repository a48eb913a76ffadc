//! Reading objects of the cluster as plain JSON: what is absent is empty.

use serde_json::Value;

/// What an object has at a pointer, `/metadata/name` say; null where nothing is.
pub(super) fn at<'v>(value: &'v Value, pointer: &str) -> &'v Value {
    value.pointer(pointer).unwrap_or(&Value::Null)
}

/// Text at a pointer; empty where there is none.
pub(super) fn text<'v>(value: &'v Value, pointer: &str) -> &'v str {
    at(value, pointer).as_str().unwrap_or_default()
}

/// The elements of a list at a pointer; none where there is none.
pub(super) fn list<'v>(value: &'v Value, pointer: &str) -> &'v [Value] {
    at(value, pointer).as_array().map(Vec::as_slice).unwrap_or_default()
}

/// The strings of a list at a pointer.
pub(super) fn texts<'v>(value: &'v Value, pointer: &str) -> Vec<&'v str> {
    list(value, pointer).iter().filter_map(Value::as_str).collect()
}

/// Whether an object has all of these labels; none at all select nothing.
pub(super) fn has_labels(object: &Value, selector: &Value) -> bool {
    let labels = at(object, "/metadata/labels");
    let wanted = selector.as_object();
    wanted.is_some_and(|wanted| !wanted.is_empty() && wanted.iter().all(|(key, value)| labels.get(key) == Some(value)))
}

#[cfg(test)]
mod tests {
    use super::has_labels;
    use serde_json::json;

    #[test]
    fn a_selector_wants_every_label_and_an_empty_one_selects_nothing() {
        let pod = json!({"metadata": {"labels": {"a": "1", "b": "2"}}});
        assert!(has_labels(&pod, &json!({"a": "1"})));
        assert!(!has_labels(&pod, &json!({"a": "1", "b": "3"})));
        assert!(!has_labels(&pod, &json!({})) && !has_labels(&pod, &json!(null)));
    }
}
