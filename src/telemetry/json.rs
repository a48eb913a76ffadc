//! Log lines as JSON objects: one a line, fields flat, and what is JSON already (the images of a decision) as it is.

use std::fmt::{self, Write as _};

use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime as _, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// The one field whose text is a JSON value: of events with this target, where it is no string but something whose `Debug`
/// writes JSON. So nobody else can have anything written unescaped, whatever he names his fields.
const RAW: (&str, &str) = (super::TARGET, "images");

/// Writes events as JSON lines.
pub(super) struct JsonLines;

impl<S, N> FormatEvent<S, N> for JsonLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut out: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let metadata = event.metadata();
        // A time stamp and the names of levels need no escapes.
        out.write_str("{\"timestamp\":\"")?;
        SystemTime.format_time(&mut out)?;
        out.write_str("\",\"level\":\"")?;
        out.write_str(metadata.level().as_str())?;
        out.write_str("\"")?;
        let mut fields = Fields { out: out.by_ref(), target: metadata.target(), written: Ok(()) };
        event.record(&mut fields);
        fields.written?;
        out.write_str(",\"target\":")?;
        quoted(&mut out, metadata.target())?;
        out.write_str("}\n")
    }
}

/// Writes `text` as a JSON string, byte for byte as `serde_json` does.
pub(super) fn quoted(out: &mut dyn fmt::Write, text: &str) -> fmt::Result {
    out.write_str("\"")?;
    escaped(out, text)?;
    out.write_str("\"")
}

/// Writes the inside of a JSON string.
fn escaped(out: &mut dyn fmt::Write, mut text: &str) -> fmt::Result {
    while !stands_for_itself(text.as_bytes()) {
        let Some(at) = text.bytes().position(is_special) else { break };
        // What is special is ASCII, so these are borders of characters.
        out.write_str(&text[..at])?;
        match text.as_bytes()[at] {
            b'"' => out.write_str("\\\""),
            b'\\' => out.write_str("\\\\"),
            b'\n' => out.write_str("\\n"),
            b'\r' => out.write_str("\\r"),
            b'\t' => out.write_str("\\t"),
            0x08 => out.write_str("\\b"),
            0x0c => out.write_str("\\f"),
            byte => write!(out, "\\u{byte:04x}"),
        }?;
        text = &text[at + 1..];
    }
    out.write_str(text)
}

/// Whether no byte needs an escape. Texts hardly ever have one that does, so they are looked at by words; the last word
/// overlaps the one before.
fn stands_for_itself(bytes: &[u8]) -> bool {
    let Some(last) = bytes.last_chunk() else { return !bytes.iter().copied().any(is_special) };
    let (words, _) = bytes.as_chunks();
    !any_special(u64::from_ne_bytes(*last)) && !words.iter().any(|word| any_special(u64::from_ne_bytes(*word)))
}

fn is_special(byte: u8) -> bool {
    byte < b' ' || byte == b'"' || byte == b'\\'
}

/// Whether any of eight bytes is one.
fn any_special(word: u64) -> bool {
    const ONES: u64 = u64::MAX / 255;
    // Bytes below a bound of at most 128: they borrow, and had no high bit themselves. Never wrong about whether there is any.
    let below = |word: u64, bound: u8| word.wrapping_sub(ONES * u64::from(bound)) & !word;
    let is = |byte: u8| below(word ^ (ONES * u64::from(byte)), 1);
    (below(word, b' ') | is(b'"') | is(b'\\')) & (ONES << 7) != 0
}

/// Writes the fields of one event behind what is there.
struct Fields<'w> {
    out: Writer<'w>,
    target: &'static str,
    /// Fields come one by one, and none can say that it failed.
    written: fmt::Result,
}

impl Fields<'_> {
    fn field(&mut self, field: &Field, value: impl FnOnce(&mut Writer<'_>) -> fmt::Result) {
        if self.written.is_ok() {
            self.written = self.named(field.name(), value);
        }
    }

    fn named(&mut self, name: &str, value: impl FnOnce(&mut Writer<'_>) -> fmt::Result) -> fmt::Result {
        self.out.write_str(",\"")?;
        escaped(&mut self.out, name)?;
        self.out.write_str("\":")?;
        value(&mut self.out)
    }
}

impl Visit for Fields<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.field(field, |out| quoted(out, value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.field(field, |out| out.write_str(if value { "true" } else { "false" }));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.field(field, |out| write!(out, "{value}"));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.field(field, |out| write!(out, "{value}"));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.field(field, |out| float(out, value));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let raw = field.name() == RAW.1 && self.target == RAW.0;
        self.field(field, |out| match raw {
            true => write!(out, "{value:?}"),
            false => {
                out.write_str("\"")?;
                write!(Escaped(out), "{value:?}")?;
                out.write_str("\"")
            }
        });
    }
}

/// The shortest digits that mean this number; `null` for what JSON has no number for.
fn float(out: &mut Writer<'_>, value: f64) -> fmt::Result {
    // The longest has 24 bytes.
    let mut digits = [0_u8; 32];
    let mut rest = &mut digits[..];
    serde_json::to_writer(&mut rest, &value).map_err(|_| fmt::Error)?;
    let unused = rest.len();
    let written = &digits[..digits.len() - unused];
    out.write_str(str::from_utf8(written).map_err(|_| fmt::Error)?)
}

/// Escapes whatever is written to it.
struct Escaped<'e, 'w>(&'e mut Writer<'w>);

impl fmt::Write for Escaped<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        escaped(self.0, text)
    }
}

#[cfg(test)]
mod tests {
    use super::{JsonLines, quoted};
    use proptest::prelude::*;
    use std::fmt;
    use std::io;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What is logged meanwhile, each line without its time stamp.
    fn lines(log: impl FnOnce()) -> Vec<String> {
        let lines = Lines::default();
        let writer = lines.clone();
        let format = tracing_subscriber::fmt::layer().event_format(JsonLines).with_writer(move || writer.clone());
        let subscriber = tracing_subscriber::layer::SubscriberExt::with(tracing_subscriber::registry(), format);
        tracing::subscriber::with_default(subscriber, log);
        let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        let without = |line: &str| {
            let rest = line.strip_prefix("{\"timestamp\":\"").unwrap();
            let (time, rest) = rest.split_once("\",").unwrap();
            assert!(time.len() == 27 && time.ends_with('Z') && time.starts_with("20"), "{time}");
            serde_json::from_str::<serde_json::Value>(line).unwrap();
            rest.to_owned()
        };
        text.lines().map(without).collect()
    }

    /// Writes what it holds, as it is.
    struct Json(&'static str);

    impl fmt::Debug for Json {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }
    }

    #[test]
    fn a_line_is_one_object_whatever_its_fields_hold() {
        let none: Option<&str> = None;
        let lines = lines(|| {
            tracing::warn!(
                name = "a\"\n\u{1}\u{e9}",
                count = 3,
                negative = -3_i64,
                seconds = 0.000_041_5,
                tiny = 1e-7,
                nan = f64::NAN,
                dry_run = true,
                none,
                shown = %"a\tb",
                debug = ?"c\\",
                "decision"
            );
        });
        // As serde_json wrote it before.
        let wanted = r#""level":"WARN","message":"decision","name":"a\"\n\u0001\u00e9","count":3,"negative":-3,"seconds":0.0000415,"tiny":1e-7,"nan":null,"dry_run":true,"shown":"a\tb","debug":"\"c\\\\\"","target":"tagwarden::telemetry::json::tests"}"#;
        assert_eq!(lines, [wanted.replace("\\u00e9", "\u{e9}")]);
    }

    /// Only what writes JSON itself, in the events of decisions: no string, and nobody else's field.
    #[test]
    fn json_stays_json_only_where_it_was_made() {
        const TEXT: &str = r#"[{"reference":"nginx"}]"#;
        let lines = lines(|| {
            tracing::info!(target: super::super::TARGET, images = ?Json(TEXT));
            tracing::info!(target: super::super::TARGET, images = TEXT);
            tracing::info!(target: super::super::TARGET, other = ?Json(TEXT));
            tracing::info!(images = ?Json(TEXT));
        });
        assert!(lines[0].contains(r#""images":[{"reference":"nginx"}],"#), "{}", lines[0]);
        for line in &lines[1..] {
            assert!(line.contains(r#":"[{\"reference\":\"nginx\"}]","#), "{line}");
        }
    }

    proptest! {
        #[test]
        fn strings_are_written_as_serde_json_writes_them(text in r#"([a-z ]{0,12}|["\\\x00-\x1f\x7f]|\PC){0,8}"#) {
            let mut ours = String::new();
            quoted(&mut ours, &text).unwrap();
            prop_assert_eq!(ours, serde_json::to_string(&text).unwrap());
        }
    }
}
