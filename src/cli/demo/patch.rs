//! JSON patches (RFC 6902) as the API server applies them to an object: the operations that webhooks answer with.

use anyhow::{Context as _, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

/// Applies the patch of a mutating webhook's answer, if it has one.
///
/// # Errors
/// The patch is none, or does not fit the object.
pub(super) fn apply(answer: &Value, object: &mut Value) -> anyhow::Result<()> {
    let Some(patch) = answer["response"]["patch"].as_str() else { return Ok(()) };
    let text = STANDARD.decode(patch).context("the patch is not base64")?;
    let operations: Vec<Value> = serde_json::from_slice(&text).context("the patch is no list")?;
    operations.iter().try_for_each(|operation| one(operation, object).with_context(|| format!("in {operation}")))
}

fn one(operation: &Value, object: &mut Value) -> anyhow::Result<()> {
    let path = operation["path"].as_str().context("an operation without a path")?;
    let (parent, last) = path.rsplit_once('/').context("the whole object is never replaced")?;
    let key = last.replace("~1", "/").replace("~0", "~");
    let parent = object.pointer_mut(parent).context("nothing is there")?;
    let value = || operation.get("value").cloned().context("an operation without a value");
    let here = match parent {
        Value::Object(map) => map.get(&key),
        Value::Array(list) => key.parse::<usize>().ok().and_then(|index| list.get(index)),
        _ => None,
    };
    match (operation["op"].as_str().unwrap_or_default(), here) {
        ("test", Some(here)) if *here == value()? => Ok(()),
        ("test", _) => bail!("the object is another one"),
        ("replace" | "remove", None) => bail!("nothing is there"),
        ("add" | "replace", _) => put(parent, key, value()?, &operation["op"]),
        ("remove", Some(_)) => take(parent, &key),
        (other, _) => bail!("an unknown operation '{other}'"),
    }
}

fn put(parent: &mut Value, key: String, value: Value, op: &Value) -> anyhow::Result<()> {
    match parent {
        Value::Object(map) => drop(map.insert(key, value)),
        Value::Array(list) if key == "-" => list.push(value),
        Value::Array(list) => {
            let index: usize = key.parse().context("not an index")?;
            match op.as_str() {
                Some("replace") if index < list.len() => list[index] = value,
                Some("add") if index <= list.len() => list.insert(index, value),
                _ => bail!("an index beyond the end"),
            }
        }
        _ => bail!("nothing can be put there"),
    }
    Ok(())
}

fn take(parent: &mut Value, key: &str) -> anyhow::Result<()> {
    match parent {
        Value::Object(map) => drop(map.remove(key)),
        Value::Array(list) => drop(list.remove(key.parse().context("not an index")?)),
        _ => bail!("nothing is there"),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn patched(mut object: Value, operations: &Value) -> Result<Value, String> {
        let patch = STANDARD.encode(operations.to_string());
        let answer = json!({"response": {"patchType": "JSONPatch", "patch": patch}});
        apply(&answer, &mut object).map(|()| object).map_err(|error| format!("{error:#}"))
    }

    #[test]
    fn what_webhooks_answer_is_applied() {
        let pod = json!({"spec": {"containers": [{"image": "a"}, {"image": "b"}]}});
        let operations = json!([
            {"op": "test", "path": "/spec/containers/1/image", "value": "b"},
            {"op": "replace", "path": "/spec/containers/1/image", "value": "c"},
            {"op": "add", "path": "/metadata", "value": {}},
            {"op": "add", "path": "/metadata/a~1b", "value": "~"},
            {"op": "add", "path": "/spec/containers/-", "value": {"image": "d"}},
            {"op": "remove", "path": "/spec/containers/0"},
        ]);
        let expected = json!({"spec": {"containers": [{"image": "c"}, {"image": "d"}]}, "metadata": {"a/b": "~"}});
        assert_eq!(patched(pod.clone(), &operations), Ok(expected));
        assert_eq!(apply(&json!({"response": {"allowed": true}}), &mut pod.clone()).ok(), Some(()));
    }

    #[test]
    fn what_does_not_fit_is_an_error() {
        let pod = json!({"spec": {"containers": [{"image": "a"}]}});
        for operation in [
            json!({"op": "test", "path": "/spec/containers/0/image", "value": "b"}),
            json!({"op": "replace", "path": "/spec/containers/1", "value": "b"}),
            json!({"op": "replace", "path": "/spec/nothing", "value": "b"}),
            json!({"op": "add", "path": "/metadata/annotations", "value": {}}),
            json!({"op": "add", "path": "/spec/containers/7", "value": {}}),
            json!({"op": "add", "path": "/spec/containers/0/image"}),
            json!({"op": "move", "path": "/spec"}),
            json!({"op": "replace", "path": "", "value": {}}),
        ] {
            assert!(patched(pod.clone(), &json!([operation])).is_err(), "{operation}");
        }
    }
}
