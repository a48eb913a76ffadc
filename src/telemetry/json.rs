//! Log lines as JSON objects: one a line, fields flat, and what is JSON already (the images of a decision) as it is.

use std::fmt;

use serde::ser::{Serialize, SerializeMap as _, Serializer};
use serde_json::value::RawValue;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime as _, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// Fields whose text is a JSON value.
const RAW: [&str; 1] = ["images"];

/// Writes events as JSON lines.
pub(super) struct JsonLines;

impl<S, N> FormatEvent<S, N> for JsonLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut time = String::new();
        SystemTime.format_time(&mut Writer::new(&mut time))?;
        let metadata = event.metadata();
        let mut line = Line::default();
        line.push("timestamp", Value::Text(time));
        line.push("level", Value::Text(metadata.level().to_string()));
        event.record(&mut line);
        line.push("target", Value::Text(metadata.target().to_owned()));
        let json = serde_json::to_string(&line).map_err(|_| fmt::Error)?;
        writeln!(writer, "{json}")
    }
}

/// The fields of one line, in the order in which they were written.
#[derive(Default)]
struct Line(Vec<(&'static str, Value)>);

enum Value {
    Text(String),
    Raw(Box<RawValue>),
    Bool(bool),
    Signed(i64),
    Unsigned(u64),
    Float(f64),
}

impl Line {
    fn push(&mut self, name: &'static str, value: Value) {
        self.0.push((name, value));
    }
}

impl Serialize for Line {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in &self.0 {
            match value {
                Value::Text(value) => map.serialize_entry(name, value)?,
                Value::Raw(value) => map.serialize_entry(name, value)?,
                Value::Bool(value) => map.serialize_entry(name, value)?,
                Value::Signed(value) => map.serialize_entry(name, value)?,
                Value::Unsigned(value) => map.serialize_entry(name, value)?,
                Value::Float(value) => map.serialize_entry(name, value)?,
            }
        }
        map.end()
    }
}

impl Visit for Line {
    fn record_str(&mut self, field: &Field, value: &str) {
        let raw = RAW.contains(&field.name()).then(|| RawValue::from_string(value.to_owned()).ok()).flatten();
        self.push(field.name(), raw.map_or_else(|| Value::Text(value.to_owned()), Value::Raw));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.push(field.name(), Value::Bool(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.push(field.name(), Value::Signed(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.push(field.name(), Value::Unsigned(value));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.push(field.name(), Value::Float(value));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.push(field.name(), Value::Text(format!("{value:?}")));
    }
}

#[cfg(test)]
mod tests {
    use super::JsonLines;
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

    #[test]
    fn a_line_is_one_object_whatever_its_fields_hold() {
        let lines = Lines::default();
        let writer = lines.clone();
        let format = tracing_subscriber::fmt::layer().event_format(JsonLines).with_writer(move || writer.clone());
        let subscriber = tracing_subscriber::layer::SubscriberExt::with(tracing_subscriber::registry(), format);
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!(
                images = r#"[{"reference":"nginx"}]"#,
                name = "a\"\n\u{1}",
                count = 3,
                dry_run = true,
                "decision"
            );
            tracing::warn!(images = "not JSON", "second");
        });
        let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        let parsed: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(parsed.len(), 2, "{text}");
        assert_eq!(parsed[0]["images"][0]["reference"], "nginx");
        assert_eq!(parsed[0]["name"], "a\"\n\u{1}");
        assert_eq!((&parsed[0]["count"], &parsed[0]["dry_run"]), (&3.into(), &true.into()));
        assert_eq!((&parsed[0]["message"], &parsed[0]["level"]), (&"decision".into(), &"INFO".into()));
        assert_eq!(parsed[1]["images"], "not JSON");
    }
}
