//! What is skimmed is what serde_json reads.

mod sample;

use super::{from_str, skim};
use proptest::prelude::*;
use sample::{Part, Sample, in_part, whole};
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::BTreeMap;

/// Any JSON value, written with spaces, escapes and numbers of all forms.
fn json(depth: u32) -> impl Strategy<Value = String> {
    let string = "\"([a-e ]|\\\\[\"\\\\/bfnrt]|\\\\u00[0-9a-f]{2}|\\\\ud83d\\\\ude00|[\u{e9}\u{4e2d}\u{1f600}{}\\[\\],:]){0,12}\"";
    let number = "-?(0|[1-9][0-9]{0,20})(\\.[0-9]{1,3})?([eE][+-]?[0-9]{1,3})?";
    let leaf = prop_oneof![string, number, Just("null".to_owned()), Just("true".to_owned()), Just("false".to_owned())];
    leaf.prop_recursive(depth, 40, 6, |inner| {
        let entry = ("[ \n]{0,2}\"[a-f]\"[ \t]?", inner.clone()).prop_map(|(key, value)| format!("{key}: {value}"));
        prop_oneof![
            proptest::collection::vec(inner, 0..6).prop_map(|items| format!("[{}]", items.join(" ,"))),
            proptest::collection::vec(entry, 0..6).prop_map(|items| format!("{{{} }}", items.join(","))),
        ]
    })
}

/// Text with one byte changed, or cut.
fn broken() -> impl Strategy<Value = String> {
    (json(4), any::<prop::sample::Index>(), "[\\[\\]{}\",:\\\\0a\n]?").prop_map(|(text, at, put)| {
        let mut chars: Vec<char> = text.chars().collect();
        let at = at.index(chars.len());
        chars.splice(at..=at, put.chars());
        chars.into_iter().collect()
    })
}

proptest! {
    #[test]
    fn any_value_is_read_as_serde_json_reads_it(text in json(5)) {
        whole(&text);
        in_part(&text);
        in_part(&format!("{{\"a\":\"x\",\"b\":{text},\"x\":{text},\"e\":{text},\"d\":[{{\"a\":\"y\",\"z\":{text}}}]}}"));
    }

    #[test]
    fn what_is_broken_is_refused_by_both(text in broken()) {
        whole(&text);
        in_part(&text);
    }
}

#[test]
fn a_review_is_skimmed_with_its_object_as_it_is_written() {
    let text =
        r#"{"b": {"k": [1, "}"]} , "x": [[["\"]"]]], "a": "es\u0063aped", "c": true, "d": [ {"a": "p"} ], "e": null}"#;
    let sample = skim::<Sample<'_>>(text).expect("it is not left to serde_json");
    assert_eq!(sample.b.map(RawValue::get), Some(r#"{"k": [1, "}"]}"#));
    assert_eq!((sample.a.as_deref(), sample.c), (Some("escaped"), Some(true)));
    assert_eq!(sample.d, Some(vec![Part { a: Cow::Borrowed("p") }]));
    let plain = skim::<Part<'_>>(r#"{"a":"plain"}"#).map(|part| part.a);
    assert!(matches!(plain, Some(Cow::Borrowed("plain"))), "{plain:?}");
}

#[test]
fn serde_json_has_the_last_word_and_its_error() {
    for text in [
        r#"{"a": 1}"#,
        r#"{"a": "x", "a": "y"}"#,
        r#"{"c": 1}"#,
        r#"{"a": "x"} x"#,
        r#"{"a": "x",}"#,
        r#"{"a": "x" "c": true}"#,
        r#"{"a": "\ud800"}"#,
        r#"{"d": [{}]}"#,
        "{\"a\": \"\u{1}\"}",
        r#"{"a""#,
        r#"{"x": {"y": ["#,
        "",
    ] {
        let plain = serde_json::from_str::<Sample<'_>>(text).unwrap_err();
        assert!(skim::<Sample<'_>>(text).is_none(), "{text}");
        let told = from_str::<Sample<'_>>(text).unwrap_err();
        assert_eq!(told.to_string(), plain.to_string());
    }
    // A struct written as a list: serde_json reads it.
    let listed = r#"["x", 1, true, [], null]"#;
    assert!(skim::<Sample<'_>>(listed).is_none());
    assert_eq!(
        from_str::<Sample<'_>>(listed).unwrap().shown(),
        serde_json::from_str::<Sample<'_>>(listed).unwrap().shown()
    );
}

#[test]
fn depth_is_bounded_where_it_is_read_and_not_where_it_is_passed_over() {
    for depth in [126, 127, 128, 200] {
        whole(&format!("{}{}", "[".repeat(depth), "]".repeat(depth)));
        let deep = format!("{}{}", "{\"a\":".repeat(depth), "1".to_owned() + &"}".repeat(depth));
        whole(&deep);
        assert!(skim::<BTreeMap<String, IgnoredAny>>(&deep).is_some());
    }
    let deep = format!("{{\"x\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    assert!(skim::<Sample<'_>>(&deep).is_some());
}
