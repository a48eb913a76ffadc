//! JSON objects of registries, read so that no other reader sees another document.
//!
//! Runtimes read them with Go's `encoding/json`, which takes the last of equal keys and knows no case: `"Manifests"` is
//! `"manifests"` to it. A document in which that matters is refused.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::registry::failure::{Failure, FailureKind};

/// How deep documents may be nested; those of the specifications have some ten levels.
const DEPTH: usize = 64;

/// The values of the keys `names` of the object that `text` is, each as it is written; none, where it is not there.
///
/// # Errors
/// `text` is no JSON object, or one of the names is there twice or in other case.
pub(super) fn fields<'a, const N: usize>(
    text: &'a [u8],
    names: [&str; N],
) -> Result<[Option<&'a RawValue>; N], Failure> {
    if !is_shallow(text) {
        return Err(malformed("is nested too deep"));
    }
    let mut reader = serde_json::Deserializer::from_slice(text);
    let found = Fields { names }.deserialize(&mut reader).and_then(|found| reader.end().map(|()| found));
    found.map_err(|_| malformed("cannot be read"))
}

/// One value of [`fields`] as what it should be; null and absent are none.
///
/// # Errors
/// It is something else.
pub(super) fn typed<'a, T: serde::Deserialize<'a>>(value: Option<&'a RawValue>) -> Result<Option<T>, Failure> {
    let Some(value) = value else { return Ok(None) };
    serde_json::from_str(value.get()).map_err(|_| malformed("has a field of the wrong type"))
}

/// A Protocol failure about a document.
pub(super) fn malformed(why: &str) -> Failure {
    Failure::new(FailureKind::Protocol, format!("the registry's answer {why}"))
}

/// Whether no bracket stands too deep; what else is wrong is for the parser to say.
fn is_shallow(text: &[u8]) -> bool {
    let (mut depth, mut quoted, mut escaped) = (0_usize, false, false);
    for byte in text {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = quoted,
            b'"' => quoted = !quoted,
            b'[' | b'{' if !quoted => depth += 1,
            b']' | b'}' if !quoted => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > DEPTH {
            return false;
        }
    }
    true
}

struct Fields<'n, const N: usize> {
    names: [&'n str; N],
}

impl<'a, const N: usize> DeserializeSeed<'a> for Fields<'_, N> {
    type Value = [Option<&'a RawValue>; N];

    fn deserialize<D: Deserializer<'a>>(self, reader: D) -> Result<Self::Value, D::Error> {
        reader.deserialize_map(self)
    }
}

impl<'a, const N: usize> Visitor<'a> for Fields<'_, N> {
    type Value = [Option<&'a RawValue>; N];

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<M: MapAccess<'a>>(self, mut map: M) -> Result<Self::Value, M::Error> {
        let mut found = [None; N];
        while let Some(Key(key)) = map.next_key::<Key<'a>>()? {
            let value: &RawValue = map.next_value()?;
            for (name, slot) in self.names.iter().zip(&mut found) {
                if !folds_to(&key, name) {
                    continue;
                }
                if key != *name || slot.is_some() {
                    return Err(serde::de::Error::custom("ambiguous"));
                }
                *slot = Some(value);
            }
        }
        Ok(found)
    }
}

/// A key, borrowed where it is written without escapes.
#[derive(serde::Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

/// Whether Go takes `key` for `name`: without regard to case, and to the two letters beyond ASCII that fold into it.
fn folds_to(key: &str, name: &str) -> bool {
    let folded = key.chars().map(|c| match c {
        '\u{17f}' => 's',
        '\u{212a}' => 'k',
        c => c.to_ascii_lowercase(),
    });
    folded.eq(name.chars().map(|c| c.to_ascii_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<(Option<String>, Option<String>), ()> {
        let show = |value: Option<&RawValue>| value.map(|value| value.get().to_owned());
        fields(text.as_bytes(), ["layers", "skin"]).map(|[a, b]| (show(a), show(b))).map_err(|failure| {
            assert_eq!(failure.kind, FailureKind::Protocol);
        })
    }

    #[test]
    fn fields_are_those_that_every_reader_sees() {
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(read(r#" {"layers": [1 ], "x":{"layers":2}} "#), Ok((some("[1 ]"), None)));
        assert_eq!(read(r#"{"lay\u0065rs":null,"skin":"\"["}"#), Ok((some("null"), some(r#""\"[""#))));
        assert_eq!(read("{}"), Ok((None, None)));
        let refused = [
            "",
            "null",
            "[]",
            "\"layers\"",
            "{",
            "{}{}",
            "{\"a\"}",
            r#"{"layers":1,"layers":1}"#,
            r#"{"Layers":1}"#,
            r#"{"layer\u0053":1}"#,
            r#"{"layer\u017f":1}"#,
            r#"{"s\u212ain":1}"#,
            "{\"layers\":\"\u{1}\"}",
        ];
        for text in refused {
            assert_eq!(read(text), Err(()), "{text}");
        }
    }

    #[test]
    fn nesting_is_bounded() {
        let nested = |depth: usize| format!("{{\"x\":{}{}}}", "[".repeat(depth - 1), "]".repeat(depth - 1));
        assert!(read(&nested(DEPTH)).is_ok());
        assert!(read(&nested(DEPTH + 1)).is_err());
        assert!(read(&format!("{{\"x\":{}", "[".repeat(100_000))).is_err());
        assert!(read(&format!("{{\"x\":\"\\\\\\\"{}\"}}", "[".repeat(100_000))).is_ok(), "brackets in a string");
    }

    #[test]
    fn types_are_checked() {
        let [layers, skin] = fields(br#"{"layers":7,"skin":null}"#, ["layers", "skin"]).unwrap();
        assert_eq!(typed::<u64>(layers).unwrap(), Some(7));
        assert!(typed::<&str>(layers).is_err());
        assert_eq!(typed::<u64>(skin).unwrap(), None);
        assert_eq!(typed::<u64>(None).unwrap(), None);
    }
}
