//! Durations and sizes as people write them, in files, flags and the API server's queries.

use std::borrow::Cow;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use crate::document::{Node, Read, Reader, Value};

/// Units of a Go duration, in nanoseconds; longer names first, so that `ms` is not read as `m`.
const UNITS: [(&str, u64); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("\u{b5}s", 1_000),
    ("\u{3bc}s", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// Reads a duration as Go writes it: `5s`, `1m30s`, `500ms`, `1.5h`, `0`.
///
/// # Errors
/// What is wrong with it, as half a sentence.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    if text.is_empty() {
        return Err("it is empty".to_owned());
    }
    let mut rest = text;
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let digits = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .ok_or("the unit is missing, write '5s', '500ms' or '1m30s'")?;
        let (number, after) = rest.split_at(digits);
        let (unit, nanoseconds) = UNITS
            .iter()
            .find(|(unit, _)| {
                after
                    .strip_prefix(unit)
                    .is_some_and(|next| next.chars().next().is_none_or(|c| c.is_ascii_digit() || c == '.'))
            })
            .ok_or("it is none, write '5s', '500ms' or '1m30s'")?;
        let part = scaled(number, *nanoseconds).ok_or("its number is none, or too large")?;
        total = total.checked_add(part).ok_or("it is too large")?;
        rest = &after[unit.len()..];
    }
    Ok(Duration::from_nanos(total))
}

/// `number` (digits with at most one point) times `unit`, without floating-point numbers.
fn scaled(number: &str, unit: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    // More digits than nanoseconds can show change nothing.
    let mut weight = unit;
    let mut small = 0;
    for digit in fraction.chars() {
        weight /= 10;
        small += u64::from(digit.to_digit(10)?) * weight;
    }
    whole.checked_mul(unit)?.checked_add(small)
}

/// Reads a size: a number of bytes, or `16MiB`, `512KiB`, `1GiB`.
///
/// # Errors
/// What is wrong with it, as half a sentence.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor: u64 = match unit {
        "" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err("write bytes as a number, or '512KiB', '16MiB', '1GiB'".to_owned()),
    };
    let number: u64 =
        number.parse().map_err(|_| "it does not begin with a whole number, or is too large".to_owned())?;
    number.checked_mul(factor).ok_or_else(|| "it is too large".to_owned())
}

/// A duration of the configuration file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interval(pub Duration);

impl Read for Interval {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        let Some(text) = node.as_str() else {
            reader.mismatch(node, "a duration ('5s', '500ms', '1m30s')");
            return None;
        };
        match parse_duration(text) {
            Ok(duration) => Some(Interval(duration)),
            Err(problem) => {
                reader.error(node.span.clone(), format!("not a duration: {problem}"));
                None
            }
        }
    }
}

impl JsonSchema for Interval {
    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "description": "a duration: 5s, 500ms, 1m30s"})
    }
}

/// A size in bytes of the configuration file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size(pub u64);

impl Read for Size {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        let problem = match &node.value {
            Value::Int(bytes) if *bytes >= 0 => return Some(Size(bytes.unsigned_abs())),
            Value::String(text) => match parse_size(text) {
                Ok(bytes) => return Some(Size(bytes)),
                Err(problem) => problem,
            },
            _ => {
                reader.mismatch(node, "a size (bytes, or '16MiB')");
                return None;
            }
        };
        reader.error(node.span.clone(), format!("not a size: {problem}"));
        None
    }
}

impl JsonSchema for Size {
    fn schema_name() -> Cow<'static, str> {
        "Size".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "a size: bytes, or 512KiB, 16MiB, 1GiB",
            "anyOf": [{"type": "integer", "minimum": 0}, {"type": "string"}]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{parse_duration, parse_size};
    use std::time::Duration;

    #[test]
    fn durations_are_read_as_go_writes_them() {
        for (text, milliseconds) in [
            ("0", 0),
            ("0s", 0),
            ("5s", 5_000),
            ("500ms", 500),
            ("1m30s", 90_000),
            ("1.5s", 1_500),
            (".5s", 500),
            ("1h", 3_600_000),
            ("1000us", 1),
            ("1000\u{b5}s", 1),
        ] {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in [
            "",
            "5",
            "s",
            "-5s",
            "5 s",
            "5x",
            "1.2.3s",
            ".s",
            "5s5",
            "99999999999999999999s",
            "9999999999h",
            "5S",
            "5sec",
        ] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_are_bytes_or_have_a_binary_unit() {
        assert_eq!(parse_size("16MiB"), Ok(16 << 20));
        assert_eq!(parse_size("17"), Ok(17));
        for text in ["", "MiB", "16MB", "16 MiB", "-1", "99999999999GiB"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }
}
