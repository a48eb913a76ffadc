//! How a history is shown: a table with what nobody watched below it, or the stable JSON.

use std::collections::BTreeSet;
use std::io::{self, Write};

use jiff::Timestamp;
use serde::Serialize;

use super::shown;
use crate::cli::Exit;
use crate::cli::report::columns::columns;
use crate::cli::report::json::{SCHEMA_VERSION, print};
use crate::history::{Answer, End, Interval, Release, Span, Timeline};

/// Other namespaces that are named where nothing is known of this one.
const OTHERS: usize = 10;

/// What is told.
pub(super) struct Report<'r> {
    pub namespace: &'r str,
    /// The moment that was asked about; none: all of it.
    pub at: Option<Timestamp>,
    pub timeline: &'r Timeline,
    /// Namespaces that the history tells of.
    pub others: &'r BTreeSet<String>,
    /// Lines that could not be read.
    pub broken: usize,
}

impl Report<'_> {
    /// Only what nobody watched is open.
    pub fn verdict(&self) -> Exit {
        match self.at.map(|at| self.timeline.at(at).watched) {
            Some(false) => Exit::Undecided,
            Some(true) | None => Exit::Clean,
        }
    }

    /// For people.
    pub fn plain(&self, out: &mut dyn Write) -> io::Result<()> {
        match self.at {
            None => self.all(out)?,
            Some(at) => self.moment(at, &self.timeline.at(at), out)?,
        }
        out.flush()
    }

    fn all(&self, out: &mut dyn Write) -> io::Result<()> {
        let namespace = shown(self.namespace);
        if self.timeline.intervals.is_empty() {
            writeln!(out, "nothing is known to have run in the namespace {namespace}")?;
            self.name_others(out)?;
        } else {
            runs(&mut self.timeline.intervals.iter(), out)?;
        }
        writeln!(out)?;
        if self.timeline.watched.is_empty() {
            writeln!(out, "when somebody watched is not in these lines")?;
        }
        for (index, span) in self.timeline.watched.iter().enumerate() {
            if let Some(before) = index.checked_sub(1).and_then(|before| self.timeline.watched.get(before)) {
                writeln!(out, "nobody watched from {} to {}", before.to, span.from)?;
            }
            writeln!(out, "watched from {} to {}", span.from, span.to)?;
        }
        Ok(())
    }

    fn moment(&self, at: Timestamp, answer: &Answer<'_>, out: &mut dyn Write) -> io::Result<()> {
        let namespace = shown(self.namespace);
        if answer.watched && answer.running.is_empty() {
            writeln!(out, "nothing ran in the namespace {namespace} at {at}")?;
            return self.name_others(out);
        }
        if !answer.watched {
            let gap = match answer.gap {
                (Some(from), Some(to)) => format!("nobody watched from {from} to {to}"),
                (Some(from), None) => format!("nobody watched then, the history ends at {from}"),
                (None, Some(to)) => format!("nobody watched then, the history begins at {to}"),
                (None, None) => "nobody watched then".to_owned(),
            };
            writeln!(out, "not known what ran in the namespace {namespace} at {at}: {gap}")?;
            if answer.running.is_empty() {
                return Ok(());
            }
            writeln!(out, "begun before, and not known to have ended by then:")?;
        }
        runs(&mut answer.running.iter().copied(), out)
    }

    /// A mistyped name has no history.
    fn name_others(&self, out: &mut dyn Write) -> io::Result<()> {
        if self.others.contains(self.namespace) || self.others.is_empty() {
            return Ok(());
        }
        let names: Vec<String> = self.others.iter().take(OTHERS).map(|name| shown(name)).collect();
        let more = self.others.len().saturating_sub(OTHERS);
        let more = if more > 0 { format!(", +{more} more") } else { String::new() };
        writeln!(out, "the history tells of {}{more}", names.join(", "))
    }

    /// The stable interface: fields are added, never renamed.
    pub fn json(&self, out: &mut dyn Write) -> io::Result<()> {
        let answer = self.at.map(|at| self.timeline.at(at));
        let runs = match &answer {
            Some(answer) => answer.running.iter().copied().map(run_output).collect(),
            None => self.timeline.intervals.iter().map(run_output).collect(),
        };
        let span = |span: &Span| SpanOutput { from: span.from.to_string(), to: span.to.to_string() };
        print(
            &Output {
                schema_version: SCHEMA_VERSION,
                namespace: self.namespace,
                at: self.at.map(|at| at.to_string()),
                known: answer.map(|answer| answer.watched),
                runs,
                watched: self.timeline.watched.iter().map(span).collect(),
                broken_lines: self.broken,
            },
            out,
        )
    }
}

const HEAD: [&str; 5] = ["RELEASE", "IMAGE", "DIGEST", "FROM", "TO"];

fn runs(intervals: &mut dyn Iterator<Item = &Interval>, out: &mut dyn Write) -> io::Result<()> {
    let cells = |interval: &Interval| {
        let run = &interval.run;
        let release = run.release.as_ref().map_or_else(|| "none".to_owned(), |release| shown(&release.to_string()));
        let to = match interval.to {
            End::Running => "running".to_owned(),
            End::At(end) => end.to_string(),
            End::Between { seen, .. } => format!("unwatched, after {seen}"),
        };
        [release, shown(&run.image), shown(run.digest.get(..19).unwrap_or(&run.digest)), interval.from.to_string(), to]
    };
    let rows: Vec<[String; 5]> = std::iter::once(HEAD.map(str::to_owned)).chain(intervals.map(cells)).collect();
    columns(&rows, out)
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Output<'o> {
    schema_version: u32,
    namespace: &'o str,
    at: Option<String>,
    /// Null where no moment was asked about.
    known: Option<bool>,
    runs: Vec<RunOutput<'o>>,
    watched: Vec<SpanOutput>,
    broken_lines: usize,
}

/// Every key is always there.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RunOutput<'o> {
    release: Option<&'o Release>,
    image: &'o str,
    digest: &'o str,
    from: String,
    /// Null while it runs.
    to: Option<String>,
    /// Where it ended unwatched: when it was last known to run.
    seen: Option<String>,
}

#[derive(Serialize)]
struct SpanOutput {
    from: String,
    to: String,
}

fn run_output(interval: &Interval) -> RunOutput<'_> {
    let (to, seen) = match interval.to {
        End::Running => (None, None),
        End::At(end) => (Some(end), None),
        End::Between { seen, gone } => (Some(gone), Some(seen)),
    };
    RunOutput {
        release: interval.run.release.as_ref(),
        image: &interval.run.image,
        digest: &interval.run.digest,
        from: interval.from.to_string(),
        to: to.map(|to| to.to_string()),
        seen: seen.map(|seen| seen.to_string()),
    }
}
