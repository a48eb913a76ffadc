//! One line of the history: what it says, how it is written and how it is read.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::image::Digest;

/// What tells our lines from others of the same stream.
const KIND: &str = "tagwardenHistory";
/// Fields may be added within one version, never renamed or removed.
const SCHEMA_VERSION: u32 = 1;
/// Bytes of a release's name.
const NAME_BYTES: usize = 253;

/// A release that Pods say they belong to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Release {
    /// Its name.
    pub name: String,
    /// Its id, `sha256:` and 64 hex digits.
    pub id: String,
}

impl Release {
    /// Of the annotation `tagwarden.dev/release`: name, one blank, id. None where it is anything else.
    #[must_use]
    pub fn of_annotation(text: &str) -> Option<Self> {
        let (name, id) = text.split_once(' ')?;
        let plain = !name.is_empty() && name.len() <= NAME_BYTES && name.bytes().all(|byte| byte.is_ascii_graphic());
        let sha256 = id.starts_with("sha256:") && Digest::parse(id).is_ok();
        (plain && sha256).then(|| Release { name: name.to_owned(), id: id.to_owned() })
    }
}

/// `system-04 (sha256:41aa07c1d2e3)`.
impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name, self.id.get(..19).unwrap_or(&self.id))
    }
}

/// What may run in a namespace, in however many Pods.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Run {
    /// The release that the Pods say they belong to; none: they name none.
    pub release: Option<Release>,
    /// As the Pods name it, canonically and without a digest: `registry.example.com/acme/api:v1.2.3`.
    pub image: String,
    /// What the container runtime says it runs.
    pub digest: String,
}

/// What happened to a [`Run`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Event {
    /// Its first Pod came.
    Began,
    /// It ran when somebody began to watch, and nothing said so before.
    Observed,
    /// Its last Pod is gone.
    Ended,
}

/// A change of what runs in a namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The namespace.
    pub namespace: String,
    /// What happened.
    pub event: Event,
    /// To what.
    pub run: Run,
    /// When it began, by the clock of the node that started its first container.
    pub since: Timestamp,
    /// Of what ended unwatched: when it was last known to run.
    pub seen: Option<Timestamp>,
}

/// What a record tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// Somebody has watched all Pods from `since` to the record's time.
    Watching {
        /// When whoever writes this began; equal to the record's time in the first of his records.
        since: Timestamp,
        /// Whether he knows what was written before him, so that he tells only what differs from that. Otherwise he tells
        /// everything that runs.
        resumes: bool,
    },
    /// A change.
    Change(Change),
}

/// A line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// When it was seen.
    pub time: Timestamp,
    /// What it tells.
    pub what: What,
}

/// What a line of a stream is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Read {
    /// One of ours.
    Record(Record),
    /// Anything else: a line of a log, an empty one.
    Foreign,
    /// One of ours that cannot be read: half of one, or of a later version.
    Broken,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WatchingLine<'l> {
    schema_version: u32,
    kind: &'l str,
    time: String,
    event: &'l str,
    since: String,
    resumes: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ChangeLine<'l> {
    schema_version: u32,
    kind: &'l str,
    time: String,
    event: Event,
    namespace: &'l str,
    release: Option<&'l Release>,
    image: &'l str,
    digest: &'l str,
    since: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    seen: Option<String>,
}

/// A line as it may come.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AnyLine {
    schema_version: u32,
    time: String,
    event: AnyEvent,
    since: String,
    #[serde(default)]
    resumes: bool,
    namespace: Option<String>,
    release: Option<Release>,
    image: Option<String>,
    digest: Option<String>,
    seen: Option<String>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum AnyEvent {
    Watching,
    Began,
    Observed,
    Ended,
}

/// Only what every line of ours has.
#[derive(Deserialize)]
struct Marked {
    #[serde(default)]
    kind: String,
}

impl Record {
    /// The line, with its end.
    #[must_use]
    pub fn line(&self) -> String {
        let time = self.time.to_string();
        let json = match &self.what {
            What::Watching { since, resumes } => serde_json::to_string(&WatchingLine {
                schema_version: SCHEMA_VERSION,
                kind: KIND,
                time,
                event: "watching",
                since: since.to_string(),
                resumes: *resumes,
            }),
            What::Change(change) => serde_json::to_string(&ChangeLine {
                schema_version: SCHEMA_VERSION,
                kind: KIND,
                time,
                event: change.event,
                namespace: &change.namespace,
                release: change.run.release.as_ref(),
                image: &change.run.image,
                digest: &change.run.digest,
                since: change.since.to_string(),
                seen: change.seen.map(|seen| seen.to_string()),
            }),
        };
        // Structures of strings can always be written.
        json.unwrap_or_default() + "\n"
    }

    /// Reads a line of any stream. What stands before its first brace is left out: `kubectl logs --prefix` puts the Pod's name
    /// there.
    #[must_use]
    pub fn read(line: &str) -> Read {
        let Some(start) = line.find('{').filter(|_| line.contains(KIND)) else { return Read::Foreign };
        let line = line[start..].trim_end();
        match serde_json::from_str::<Marked>(line) {
            Ok(marked) if marked.kind != KIND => return Read::Foreign,
            Ok(_) => {}
            // A line of another program may quote one of ours; half of ours begins as ours do.
            Err(_) if line.starts_with("{\"schemaVersion\":") => return Read::Broken,
            Err(_) => return Read::Foreign,
        }
        let record = serde_json::from_str::<AnyLine>(line).ok().and_then(AnyLine::record);
        record.map_or(Read::Broken, Read::Record)
    }
}

impl AnyLine {
    fn record(self) -> Option<Record> {
        if self.schema_version != SCHEMA_VERSION {
            return None;
        }
        let time = self.time.parse().ok()?;
        let since = self.since.parse().ok()?;
        let event = match self.event {
            AnyEvent::Watching => {
                return Some(Record { time, what: What::Watching { since, resumes: self.resumes } });
            }
            AnyEvent::Began => Event::Began,
            AnyEvent::Observed => Event::Observed,
            AnyEvent::Ended => Event::Ended,
        };
        let seen = self.seen.map(|seen| seen.parse()).transpose().ok()?;
        let run = Run { release: self.release, image: self.image?, digest: self.digest? };
        let change = Change { namespace: self.namespace?, event, run, since, seen };
        Some(Record { time, what: What::Change(change) })
    }
}

#[cfg(test)]
mod tests {
    use super::{Change, Event, Read, Record, Release, Run, What};

    fn change() -> Record {
        let release = Release { name: "system-04".to_owned(), id: format!("sha256:{}", "41".repeat(32)) };
        let run = Run {
            release: Some(release),
            image: "registry.example.com/acme/api:v1.2.3".to_owned(),
            digest: format!("sha256:{}", "aa".repeat(32)),
        };
        let since = "2026-03-01T10:00:00Z".parse().unwrap();
        let time = "2026-03-01T10:00:01.5Z".parse().unwrap();
        let change = Change { namespace: "shop-prod".to_owned(), event: Event::Began, run, since, seen: None };
        Record { time, what: What::Change(change) }
    }

    #[test]
    fn a_line_is_as_documented_and_comes_back() {
        let record = change();
        let line = record.line();
        let expected = format!(
            "{{\"schemaVersion\":1,\"kind\":\"tagwardenHistory\",\"time\":\"2026-03-01T10:00:01.5Z\",\"event\":\"began\",\
             \"namespace\":\"shop-prod\",\"release\":{{\"name\":\"system-04\",\"id\":\"sha256:{}\"}},\
             \"image\":\"registry.example.com/acme/api:v1.2.3\",\"digest\":\"sha256:{}\",\"since\":\"2026-03-01T10:00:00Z\"}}\n",
            "41".repeat(32),
            "aa".repeat(32)
        );
        assert_eq!(line, expected);
        assert_eq!(Record::read(&line), Read::Record(record.clone()));
        let mut ended = record;
        if let What::Change(change) = &mut ended.what {
            (change.event, change.run.release, change.seen) = (Event::Ended, None, Some(change.since));
        }
        assert!(ended.line().contains("\"release\":null") && ended.line().contains("\"seen\":\""));
        assert_eq!(Record::read(&ended.line()), Read::Record(ended));
        let since = "2026-03-01T10:00:00Z".parse().unwrap();
        let watching = Record { time: since, what: What::Watching { since, resumes: true } };
        let line = "{\"schemaVersion\":1,\"kind\":\"tagwardenHistory\",\"time\":\"2026-03-01T10:00:00Z\",\"event\":\"watching\",\
                    \"since\":\"2026-03-01T10:00:00Z\",\"resumes\":true}\n";
        assert_eq!(watching.line(), line);
        assert_eq!(Record::read(line), Read::Record(watching));
    }

    #[test]
    fn what_is_not_ours_is_told_from_what_is_broken() {
        let line = change().line();
        let half = &line[..line.len() / 2];
        for (text, expected) in [
            ("", Read::Foreign),
            ("tagwardenHistory", Read::Foreign),
            ("{\"timestamp\":\"x\",\"message\":\"listening\"}", Read::Foreign),
            ("{\"kind\":\"Pod\",\"note\":\"tagwardenHistory\"}", Read::Foreign),
            ("{\"message\":\"{\\\"kind\\\":\\\"tagwardenHistory\\\"}\"}", Read::Foreign),
            (half, Read::Broken),
            (&format!("{half}{line}"), Read::Broken),
            (&line.replace("\"schemaVersion\":1", "\"schemaVersion\":2"), Read::Broken),
            (&line.replace("began", "paused"), Read::Broken),
            (&line.replace("2026-03-01T10:00:00Z", "yesterday"), Read::Broken),
            (&line.replace("\"namespace\"", "\"nspace\""), Read::Broken),
        ] {
            assert_eq!(Record::read(text), expected, "{text}");
        }
        let prefixed = format!("[pod/tagwarden-1/tagwarden] {line}");
        assert_eq!(Record::read(&prefixed), Read::Record(change()));
        let added = line.replace("\"since\"", "\"node\":{\"a\":1},\"since\"");
        assert_eq!(Record::read(&added), Read::Record(change()), "fields may be added");
    }

    #[test]
    fn a_release_is_a_name_a_blank_and_an_id() {
        let id = format!("sha256:{}", "0a".repeat(32));
        let read = |text: &str| Release::of_annotation(text);
        let release = read(&format!("system-04 {id}")).unwrap();
        assert_eq!((release.name.as_str(), release.id.as_str()), ("system-04", id.as_str()));
        assert_eq!(release.to_string(), "system-04 (sha256:0a0a0a0a0a0a)");
        for bad in [
            String::new(),
            "system-04".to_owned(),
            format!(" {id}"),
            format!("system-04  {id}"),
            format!("a b {id}"),
            format!("system-04 {id} "),
            format!("system-04 {}", &id[..70]),
            format!("system-04 {}", id.to_uppercase()),
            format!("system-04 sha512:{}", "0a".repeat(64)),
            format!("syst\u{e9}me {id}"),
            format!("{} {id}", "a".repeat(254)),
        ] {
            assert_eq!(read(&bad), None, "{bad}");
        }
    }
}
