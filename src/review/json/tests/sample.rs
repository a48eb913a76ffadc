//! What is read both by the skimming reader and by serde_json, and what has to be the same: for tests and the fuzz target.

use super::skim;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::HashMap;

/// What reviews are read into: borrowed, optional, raw, passed over.
#[derive(Debug, Deserialize)]
pub struct Sample<'a> {
    #[serde(borrow, default)]
    pub a: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub b: Option<&'a RawValue>,
    #[serde(default)]
    pub c: Option<bool>,
    #[serde(borrow, default)]
    pub d: Option<Vec<Part<'a>>>,
    #[serde(default)]
    pub e: Option<IgnoredAny>,
    #[serde(default)]
    pub f: Option<i64>,
    #[serde(borrow, default)]
    pub g: Option<HashMap<Cow<'a, str>, &'a RawValue>>,
    #[serde(borrow, default)]
    pub h: Option<&'a str>,
}

#[derive(Debug, Deserialize, PartialEq, Eq)]
pub struct Part<'a> {
    #[serde(borrow)]
    pub a: Cow<'a, str>,
}

impl Sample<'_> {
    pub fn shown(&self) -> String {
        let Sample { a, b, c, d, e, f, g, h } = self;
        let mut values: Vec<_> = g.iter().flatten().map(|(key, value)| (key, value.get())).collect();
        values.sort();
        let (raw, passed, map) = (b.map(RawValue::get), e.is_some(), g.is_some());
        format!("{a:?} {raw:?} {c:?} {d:?} {passed} {f:?} {map} {values:?} {h:?}")
    }
}

/// Where all is asked for, nothing is passed over: both read the same, or neither.
pub fn whole(text: &str) {
    let plain: Result<Value, _> = serde_json::from_str(text);
    assert_eq!(skim::<Value>(text), plain.ok(), "{text}");
}

/// Where some of it is: what serde_json reads is read alike, and what it alone refuses is no JSON.
pub fn in_part(text: &str) {
    let skimmed = skim::<Sample<'_>>(text).map(|sample| sample.shown());
    match serde_json::from_str::<Sample<'_>>(text) {
        // A list is a struct to serde_json; that is left to it.
        Ok(_) if text.trim_start().starts_with('[') => assert_eq!(skimmed, None, "{text}"),
        Ok(plain) => assert_eq!(skimmed, Some(plain.shown()), "{text}"),
        Err(_) if skimmed.is_some() => assert!(serde_json::from_str::<IgnoredAny>(text).is_err(), "{text}"),
        Err(_) => {}
    }
}
