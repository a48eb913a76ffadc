//! An image's configuration: its labels, when it was made, and the machines that it is for.

use std::collections::BTreeMap;

use super::json::{fields, malformed, typed};
use super::manifest::Platform;
use crate::policy::{Created, ImageLabels};
use crate::registry::failure::Failure;

/// Labels that an image may have.
const LABELS: usize = 1000;

/// Bytes that their keys and values may have together.
const LABEL_BYTES: usize = 256 << 10;

/// The labels of a configuration (`config.Labels`; OCI image specification, "Image Configuration").
///
/// # Errors
/// Protocol: it is no configuration, or has too many labels.
pub(super) fn labels(body: &[u8]) -> Result<ImageLabels, Failure> {
    let [config] = fields(body, ["config"])?;
    let Some(config) = config.filter(|config| config.get() != "null") else { return Ok(ImageLabels::new()) };
    let [labels] = fields(config.get().as_bytes(), ["Labels"])?;
    // Go reads a value of null as the empty string.
    let labels: Option<BTreeMap<String, Option<String>>> = typed(labels)?;
    let labels = labels.unwrap_or_default();
    let bytes: usize = labels.iter().map(|(key, value)| key.len() + value.as_ref().map_or(0, String::len)).sum();
    if labels.len() > LABELS || bytes > LABEL_BYTES {
        return Err(malformed("is an image with too many labels"));
    }
    Ok(labels.into_iter().map(|(key, value)| (key, value.unwrap_or_default())).collect())
}

/// When an image was made (`created`). Another value than a text is one that cannot be read.
///
/// # Errors
/// Protocol: it is no configuration.
pub(super) fn created(body: &[u8]) -> Result<Created, Failure> {
    let [created] = fields(body, ["created"])?;
    let Some(created) = created.filter(|created| created.get() != "null") else { return Ok(Created::Absent) };
    let text: Result<Option<String>, _> = typed(Some(created));
    Ok(text.ok().flatten().map_or(Created::Unreadable, |text| Created::read(&text)))
}

/// `os/architecture[/variant]` of a configuration.
///
/// # Errors
/// Protocol: it says none.
pub(super) fn platform(body: &[u8]) -> Result<String, Failure> {
    // Refuses what is ambiguous; the whole is read again, since the three stand among other keys.
    let _ = fields(body, ["os", "architecture", "variant"])?;
    let platform: Platform<'_> = serde_json::from_slice(body).map_err(|_| malformed("cannot be read"))?;
    platform.name()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_those_of_the_configuration() {
        let read = |text: &str| {
            let labels = labels(text.as_bytes()).ok()?;
            Some(labels.iter().map(|(key, value)| format!("{key}={value};")).collect::<String>())
        };
        let cases = [
            (r#"{"config":{"Labels":{"a":"1","b":"","a.b/c":"x"}}}"#, Some("a=1;a.b/c=x;b=;")),
            (r#"{"config":{"Labels":{"a":null}}}"#, Some("a=;")),
            (r#"{"config":{"Labels":{"a":"1","a":"2"}}}"#, Some("a=2;")), // as Go reads a map
            (r#"{"config":{"Labels":null}}"#, Some("")),
            (r#"{"config":{}}"#, Some("")),
            (r#"{"config":null}"#, Some("")),
            ("{}", Some("")),
            (r#"{"config":{"labels":{"a":"1"}}}"#, None),
            (r#"{"Config":{"Labels":{"a":"1"}}}"#, None),
            (r#"{"config":{"Labels":{"a":"1"},"Labels":{}}}"#, None),
            (r#"{"config":{"Labels":{"a":1}}}"#, None),
            (r#"{"config":{"Labels":["a"]}}"#, None),
            (r#"{"config":[]}"#, None),
            ("<html>", None),
        ];
        for (text, expected) in cases {
            assert_eq!(read(text).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn labels_are_bounded() {
        let many = |count: usize| {
            let labels: Vec<String> = (0..count).map(|n| format!("\"k{n}\":\"v\"")).collect();
            format!("{{\"config\":{{\"Labels\":{{{}}}}}}}", labels.join(","))
        };
        assert_eq!(labels(many(LABELS).as_bytes()).unwrap().len(), LABELS);
        assert!(labels(many(LABELS + 1).as_bytes()).is_err());
        let large = |bytes: usize| format!("{{\"config\":{{\"Labels\":{{\"k\":\"{}\"}}}}}}", "v".repeat(bytes - 1));
        assert!(labels(large(LABEL_BYTES).as_bytes()).is_ok());
        assert!(labels(large(LABEL_BYTES + 1).as_bytes()).is_err());
    }

    #[test]
    fn dates_are_read_or_told_as_unreadable() {
        let read = |text: &str| created(text.as_bytes()).ok();
        assert_eq!(read(r#"{"created":"1970-01-01T00:00:07.5Z"}"#), Some(Created::At(7)));
        for absent in ["{}", r#"{"created":null}"#] {
            assert_eq!(read(absent), Some(Created::Absent));
        }
        for unreadable in [r#"{"created":"yesterday"}"#, r#"{"created":7}"#, r#"{"created":{}}"#, r#"{"created":""}"#] {
            assert_eq!(read(unreadable), Some(Created::Unreadable));
        }
        for malformed in ["<html>", r#"{"Created":"1970-01-01T00:00:07Z"}"#] {
            assert_eq!(read(malformed), None);
        }
    }

    #[test]
    fn platforms_are_plain_names() {
        let read = |text: &str| platform(text.as_bytes()).ok();
        assert_eq!(read(r#"{"os":"linux","architecture":"arm64","variant":"v8"}"#).unwrap(), "linux/arm64/v8");
        assert_eq!(read(r#"{"os":"linux","architecture":"amd64","variant":""}"#).unwrap(), "linux/amd64");
        assert_eq!(read(r#"{"os":"linux"}"#), None);
        assert_eq!(read(r#"{"os":"li\u001bnux","architecture":"amd64"}"#), None);
        assert_eq!(read(r#"{"os":"a/b","architecture":"amd64"}"#), None);
        assert_eq!(read(r#"{"os":"linux","OS":"windows","architecture":"amd64"}"#), None);
    }
}
