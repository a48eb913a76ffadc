//! The skimming reader beside serde_json: text read whole is read alike or refused by both; text read in part is read
//! alike, and what serde_json alone refuses is no JSON.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::HashMap;
use tagwarden::review::skim;

/// Everything that reviews are read into.
#[derive(Debug, Deserialize)]
struct Sample<'a> {
    #[serde(borrow, default)]
    a: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    b: Option<&'a RawValue>,
    #[serde(default)]
    c: Option<bool>,
    #[serde(borrow, default)]
    d: Option<Vec<Part<'a>>>,
    #[serde(default)]
    e: Option<IgnoredAny>,
    #[serde(default)]
    f: Option<i64>,
}

#[derive(Debug, Deserialize)]
struct Part<'a> {
    #[serde(borrow)]
    a: &'a str,
    #[serde(borrow, default)]
    b: Option<HashMap<Cow<'a, str>, &'a RawValue>>,
}

impl Sample<'_> {
    fn shown(&self) -> String {
        let Sample { a, b, c, d, e, f } = self;
        let parts: Vec<_> = d.iter().flatten().map(Part::shown).collect();
        format!("{a:?} {:?} {c:?} {} {parts:?} {} {f:?}", b.map(RawValue::get), d.is_some(), e.is_some())
    }
}

impl Part<'_> {
    fn shown(&self) -> String {
        let mut values: Vec<_> = self.b.iter().flatten().map(|(key, value)| (key, value.get())).collect();
        values.sort();
        format!("{} {values:?}", self.a)
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((first, rest)) = data.split_first() else { return };
    let Ok(text) = std::str::from_utf8(rest) else { return };
    whole(text);
    in_part(text);
    // Blocks are of 64 bytes: spaces move every byte to every place of one.
    let spaces = " ".repeat(usize::from(*first));
    whole(&format!("{spaces}{text}"));
    in_part(&format!(
        r#"{spaces}{{"x":{text},"a":"y","b":{text},"d":[{{"z":{text},"a":"v","b":{{"k":{text}}}}}],"e":{text}}}"#
    ));
    let quoted = serde_json::to_string(text).expect("text can be quoted");
    in_part(&format!(r#"{{{quoted}:{spaces}{quoted},"a":{quoted},"b":{quoted},"x":[{quoted}],"f":{text}}}"#));
});

fn whole(text: &str) {
    let plain: Option<Value> = serde_json::from_str(text).ok();
    assert_eq!(skim::<Value>(text), plain);
}

fn in_part(text: &str) {
    let skimmed = skim::<Sample<'_>>(text).map(|sample| sample.shown());
    match serde_json::from_str::<Sample<'_>>(text) {
        // A struct written as a list is left to serde_json, which reads it.
        Ok(_) if text.trim_start().starts_with('[') => assert_eq!(skimmed, None),
        Ok(plain) => assert_eq!(skimmed, Some(plain.shown())),
        Err(_) if skimmed.is_some() => assert!(serde_json::from_str::<IgnoredAny>(text).is_err()),
        Err(_) => {}
    }
}
