//! Records as they come, in whatever order and with whatever missing, and what is known of a moment by them.

use jiff::Timestamp;

use super::{End, Timeline};
use crate::history::{Change, Event, Record, Run, What};

/// `10:MM:00` of a day.
fn at(minute: i64) -> Timestamp {
    let ten: Timestamp = "2026-03-01T10:00:00Z".parse().unwrap();
    ten + jiff::SignedDuration::from_mins(minute)
}

fn minute(time: Timestamp) -> i64 {
    time.duration_since(at(0)).as_mins()
}

/// `5 watching 0`, `0 starts` (knowing nothing), `0 resumes`, `3 began api 2`, `4 observed api 2`, `7 ended api 2`,
/// `9 ended api 2 seen 6`; a name with `/` is that of another namespace.
fn record(text: &str) -> Record {
    let words: Vec<&str> = text.split(' ').collect();
    let number = |at: usize| words[at].parse::<i64>().unwrap();
    let time = at(number(0));
    let event = match words[1] {
        "starts" => return Record { time, what: What::Watching { since: time, resumes: false } },
        "resumes" => return Record { time, what: What::Watching { since: time, resumes: true } },
        "watching" => return Record { time, what: What::Watching { since: at(number(2)), resumes: true } },
        "began" => Event::Began,
        "observed" => Event::Observed,
        _ => Event::Ended,
    };
    let (namespace, name) = words[2].split_once('/').unwrap_or(("shop", words[2]));
    let run = Run { release: None, image: name.to_owned(), digest: "sha256:1".to_owned() };
    let seen = words.get(5).map(|_| at(number(5)));
    let change = Change { namespace: namespace.to_owned(), event, run, since: at(number(3)), seen };
    Record { time, what: What::Change(change) }
}

fn timeline(records: &[&str]) -> Timeline {
    Timeline::of(records.iter().map(|text| record(text)).collect(), "shop")
}

/// `api 2-7`, `api 2-`, `api 2-(6-9)`.
fn intervals(timeline: &Timeline) -> Vec<String> {
    let line = |interval: &super::Interval| {
        let to = match interval.to {
            End::Running => String::new(),
            End::At(end) => minute(end).to_string(),
            End::Between { seen, gone } => format!("({}-{})", minute(seen), minute(gone)),
        };
        format!("{} {}-{to}", interval.run.image, minute(interval.from))
    };
    timeline.intervals.iter().map(line).collect()
}

fn watched(timeline: &Timeline) -> Vec<String> {
    timeline.watched.iter().map(|span| format!("{}-{}", minute(span.from), minute(span.to))).collect()
}

#[test]
fn records_become_intervals() {
    for (records, expected) in [
        (vec!["0 resumes", "3 began api 2", "7 ended api 2"], vec!["api 2-7"]),
        (vec!["0 resumes", "3 began api 2"], vec!["api 2-"]),
        (vec!["0 resumes", "3 began bank/api 2"], vec![]),
        (vec!["0 resumes", "0 observed api -9", "5 began web 4"], vec!["api -9-", "web 4-"]),
        (vec!["0 resumes", "3 began api 2", "9 resumes", "9 ended api 2 seen 6"], vec!["api 2-(6-9)"]),
        // Twice, of two replicas that each took themselves for the elected one.
        (vec!["0 resumes", "3 began api 2", "3 began api 2", "7 ended api 2", "7 ended api 2"], vec!["api 2-7"]),
        // The same again, later.
        (vec!["0 resumes", "3 began api 2", "7 ended api 2", "8 began api 8"], vec!["api 2-7", "api 8-"]),
        // It did not run when somebody watched last.
        (vec!["0 resumes", "5 watching 0", "9 resumes", "9 observed api 2"], vec!["api 5-"]),
        (vec!["0 resumes", "5 watching 0", "9 resumes", "9 observed api 7"], vec!["api 7-"]),
        // In another order, and with its beginning lost.
        (vec!["7 ended api 2", "3 began api 2", "0 resumes"], vec!["api 2-7"]),
        (vec!["0 resumes", "7 ended api 2"], vec!["api 2-7"]),
        // A watch that knows nothing tells all: what it does not tell has ended.
        (
            vec!["0 starts", "0 observed api 0", "5 watching 0", "9 starts", "9 observed web 8"],
            vec!["api 0-(5-9)", "web 8-"],
        ),
        (vec!["0 starts", "0 observed api 0", "9 starts", "9 observed api 0"], vec!["api 0-"]),
        (vec!["0 starts", "0 observed api 0", "9 starts"], vec!["api 0-(0-9)"]),
    ] {
        assert_eq!(intervals(&timeline(&records)), expected, "{records:?}");
    }
}

#[test]
fn watches_cover_what_their_records_say() {
    for (records, expected) in [
        (vec![], vec![]),
        (vec!["0 resumes"], vec!["0-0"]),
        (vec!["0 resumes", "5 watching 0"], vec!["0-5"]),
        (vec!["0 resumes", "5 watching 0", "7 began bank/api 2"], vec!["0-7"]),
        (vec!["0 resumes", "5 watching 0", "9 resumes", "12 watching 9"], vec!["0-5", "9-12"]),
        (vec!["0 resumes", "9 watching 0", "6 resumes", "12 watching 6"], vec!["0-12"]),
        // Where its beginning is lost nobody knows what it told before.
        (vec!["5 watching 0", "7 began api 6"], vec![]),
        (vec!["5 watching 0", "9 starts", "12 watching 9"], vec!["9-12"]),
    ] {
        assert_eq!(watched(&timeline(&records)), expected, "{records:?}");
    }
}

#[test]
fn a_moment_is_known_only_where_somebody_watched() {
    let records = [
        "0 resumes",
        "0 observed old -5",
        "3 began api 2",
        "4 ended old -5",
        "8 watching 0",
        "20 resumes",
        "20 ended api 2 seen 8",
        "20 observed web 15",
        "30 watching 20",
    ];
    let timeline = timeline(&records);
    for (time, known, running, gap) in [
        (-1, false, vec!["old"], (None, Some(0))),
        (-6, false, vec![], (None, Some(0))),
        (0, true, vec!["old"], (None, Some(20))),
        (2, true, vec!["old", "api"], (None, Some(20))),
        (4, true, vec!["api"], (None, Some(20))),
        (8, true, vec!["api"], (None, Some(20))),
        (9, false, vec!["api"], (Some(8), Some(20))),
        (16, false, vec!["api", "web"], (Some(8), Some(20))),
        (20, true, vec!["web"], (Some(8), None)),
        (31, false, vec!["web"], (Some(30), None)),
    ] {
        let answer = timeline.at(at(time));
        let names: Vec<&str> = answer.running.iter().map(|interval| interval.run.image.as_str()).collect();
        assert_eq!((answer.watched, names), (known, running), "{time}");
        assert_eq!((answer.gap.0.map(minute), answer.gap.1.map(minute)), gap, "{time}");
    }
}
