//! `tagwarden release history`: what a namespace ran, from when to when, or at one moment, by the server's lines.

mod output;

use std::collections::BTreeSet;
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use anyhow::bail;
use clap::{Args, ValueEnum};
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::cli::outputs::Outputs;
use crate::cli::report::count;
use crate::cli::{Exit, Surroundings, files};
use crate::history::{Read, Record, Timeline, What, each_line};
use crate::policy::printable;

/// Bytes that are shown of a name from outside.
const SHOWN: usize = 120;
/// How to come by a history, for whoever has none.
const WHERE: &str = "\
    kubectl exec -n tagwarden deploy/tagwarden -- /tagwarden release history /var/lib/tagwarden/history.jsonl -n NAMESPACE, \
    or, where the configuration names no file, kubectl logs -n tagwarden deploy/tagwarden | tagwarden release history - -n NAMESPACE";

/// The arguments of `release history`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    tagwarden release history history.jsonl -n shop-prod\n  \
    tagwarden release history history.jsonl -n shop-prod --at 2026-03-01T12:00:00Z\n  \
    kubectl logs -n tagwarden deploy/tagwarden | tagwarden release history - -n shop-prod\n  \
    kubectl exec -n tagwarden deploy/tagwarden -- \\\n    \
    /tagwarden release history /var/lib/tagwarden/history.jsonl -n shop-prod\n\n\
    The lines are those that the server writes with `history: {enabled: true}`; others between them are skipped, so that \
    a whole log can be read. Times are those at which the elected replica saw a change; a beginning is the start of the \
    first container. While no replica watched nobody knows what ran: such gaps are told.\n\n\
    Exit codes: 0 told, also that nothing ran; 2 usage, or there is no history to read; 3 with --at, nobody watched at \
    that time.")]
pub(super) struct HistoryArgs {
    /// The file that the server appends to; `-` is standard input
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// Whose history
    #[arg(short, long, value_name = "NAMESPACE")]
    namespace: String,
    /// What ran at this time: 2026-03-01T12:00:00Z, or 2026-03-01 for the first second of that day (UTC)
    #[arg(long, value_name = "TIME", value_parser = time)]
    at: Option<Timestamp>,
    #[command(flatten)]
    outputs: Outputs<Format>,
}

/// The output formats of `release history`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    #[default]
    Plain,
    /// For programs
    Json,
}

/// What was read.
#[derive(Default)]
struct Lines {
    /// Whose changes matter.
    namespace: String,
    records: Vec<Record>,
    /// Namespaces that something is told of.
    namespaces: BTreeSet<String>,
    /// Lines that are not ours.
    foreign: usize,
    /// Lines that are ours and cannot be read.
    broken: usize,
}

fn time(text: &str) -> Result<Timestamp, String> {
    let bad = || "not a time: write 2026-03-01T12:00:00Z, with the zone, or a day, 2026-03-01".to_owned();
    // A date's reader would take a time without a zone, too, and forget the time.
    if text.len() == "2026-03-01".len() {
        let date: Date = text.parse().map_err(|_| bad())?;
        return date.to_zoned(TimeZone::UTC).map(|midnight| midnight.timestamp()).map_err(|_| bad());
    }
    text.parse().map_err(|_| bad())
}

pub(super) fn run(args: &HistoryArgs, surroundings: &mut Surroundings<'_>) -> anyhow::Result<Exit> {
    let Some(file) = &args.file else {
        bail!("name the file that the server appends its history to, or - for standard input: {WHERE}");
    };
    let lines = read(file, &args.namespace, surroundings)?;
    if lines.broken > 0 {
        // Nobody is left to tell when standard error is closed too.
        let _ = writeln!(
            surroundings.err,
            "warning: {} of the history cannot be read and {} left out: half-written, or of a later version of tagwarden",
            count(lines.broken, "line"),
            if lines.broken == 1 { "is" } else { "are" },
        );
    }
    let timeline = Timeline::of(lines.records, &args.namespace);
    let report = output::Report {
        namespace: &args.namespace,
        at: args.at,
        timeline: &timeline,
        others: &lines.namespaces,
        broken: lines.broken,
    };
    args.outputs.write(report.verdict(), surroundings, |format, _, out| match format {
        Format::Plain => report.plain(out),
        Format::Json => report.json(out),
    })
}

/// # Errors
/// The file cannot be read, or no line of it is one of ours.
fn read(file: &Path, namespace: &str, surroundings: &mut Surroundings<'_>) -> anyhow::Result<Lines> {
    let mut lines = Lines { namespace: namespace.to_owned(), ..Lines::default() };
    let (name, done) = if file.as_os_str() == "-" {
        let done = each_line(&mut BufReader::new(&mut *surroundings.input), |line| lines.take(line));
        (files::STDIN.to_owned(), done)
    } else {
        let done = File::open(file).and_then(|file| each_line(&mut BufReader::new(file), |line| lines.take(line)));
        (files::shown(file), done)
    };
    if let Err(error) = done {
        bail!("cannot read {name}: {}; to get a history: {WHERE}", files::reason(&error));
    }
    if lines.records.is_empty() {
        bail!(
            "there is no history in {name} ({}): the server writes one with 'history: {{enabled: true}}'; to get it: {WHERE}",
            count(lines.foreign + lines.broken, "line")
        );
    }
    Ok(lines)
}

impl Lines {
    fn take(&mut self, line: &str) {
        match Record::read(line) {
            Read::Record(record) => {
                if let What::Change(change) = &record.what
                    && !self.namespaces.contains(&change.namespace)
                {
                    self.namespaces.insert(change.namespace.clone());
                }
                self.keep(record);
            }
            Read::Foreign => self.foreign += 1,
            Read::Broken => self.broken += 1,
        }
    }

    /// Changes elsewhere only tell that somebody watched, of which the last one in a row is enough.
    fn keep(&mut self, record: Record) {
        let elsewhere =
            |record: &Record| matches!(&record.what, What::Change(change) if change.namespace != self.namespace);
        match self.records.last_mut() {
            Some(last) if elsewhere(last) && elsewhere(&record) && last.time <= record.time => *last = record,
            _ => self.records.push(record),
        }
    }
}

/// A name from outside, as it is shown.
fn shown(text: &str) -> String {
    printable(text, SHOWN)
}

#[cfg(test)]
mod tests {
    use super::time;

    #[test]
    fn a_time_has_a_zone_and_a_day_is_its_first_second() {
        for (text, expected) in [
            ("2026-03-01T12:00:00Z", "2026-03-01T12:00:00Z"),
            ("2026-03-01T12:00:00+02:00", "2026-03-01T10:00:00Z"),
            ("2026-03-01", "2026-03-01T00:00:00Z"),
        ] {
            assert_eq!(time(text).unwrap().to_string(), expected);
        }
        for text in ["", "now", "2026-03-01T12:00:00", "2026-03-01 12:00", "2026-3-1", "2026-02-30", "yesterday!"] {
            assert!(time(text).unwrap_err().contains("2026-03-01T12:00:00Z"), "{text}");
        }
    }
}
