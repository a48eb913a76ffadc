//! What is written of a watch: first and last Pods, interruptions, and what another replica wrote before.

use jiff::Timestamp;

use super::{Session, Told};
use crate::history::{Container, ContainerKind, Known, Pod, PodChange, What};

/// `10:MM:00` of a day.
fn at(minute: i64) -> Timestamp {
    let ten: Timestamp = "2026-03-01T10:00:00Z".parse().unwrap();
    ten + jiff::SignedDuration::from_mins(minute)
}

/// A Pod of `release` (`-`: none) that runs an image whose digest is this digit 64 times, since ten.
fn pod(uid: &str, namespace: &str, release: &str, digit: &str) -> Pod {
    let container = Container {
        kind: ContainerKind::Declared,
        image: "registry.example.com/acme/api:v1".to_owned(),
        image_id: format!("registry.example.com/acme/api@sha256:{}", digit.repeat(64)),
        runs: true,
        started: Some("2026-03-01T10:00:00Z".to_owned()),
    };
    let release = (release != "-").then(|| format!("{release} sha256:{}", "0".repeat(64)));
    let (uid, namespace, phase) = (uid.to_owned(), namespace.to_owned(), "Running".to_owned());
    Pod { uid, namespace, phase, release, containers: vec![container] }
}

fn applied(pod: Pod) -> PodChange {
    PodChange::Applied(pod)
}

fn gone(uid: &str) -> PodChange {
    PodChange::Gone(uid.to_owned())
}

/// Lists these Pods.
fn list(session: &mut Session, now: i64, pods: Vec<Pod>) -> Told {
    assert_eq!(session.take(PodChange::Listing, at(now)), Told::default());
    for pod in pods {
        assert_eq!(session.take(PodChange::Listed(pod), at(now)), Told::default());
    }
    session.take(PodChange::ListDone, at(now))
}

/// `event namespace release digit @minute`, with what is to be told in the cluster behind it.
fn told(told: &Told) -> Vec<String> {
    let minute = |time: Timestamp| time.duration_since(at(0)).as_mins();
    let record = |record: &crate::history::Record| match &record.what {
        What::Watching { since, resumes } => {
            format!("watching {} to {}{}", minute(*since), minute(record.time), if *resumes { " resumes" } else { "" })
        }
        What::Change(change) => {
            let release = change.run.release.as_ref().map_or("-", |release| release.name.as_str());
            let event = format!("{:?}", change.event).to_lowercase();
            let seen = change.seen.map(|seen| format!(" seen {}", minute(seen))).unwrap_or_default();
            format!("{event} {} {release} {}{seen}", change.namespace, &change.run.digest[7..8])
        }
    };
    let change = |change: &crate::history::ReleaseChange| {
        let from = change.from.as_ref().map_or("-", |release| release.name.as_str());
        format!("{}: {from} to {}", change.namespace, change.to.name)
    };
    told.records.iter().map(record).chain(told.changes.iter().map(change)).collect()
}

fn known(lines: &[Told]) -> Known {
    let mut known = Known::default();
    lines.iter().flat_map(|told| &told.records).for_each(|record| known.line(&record.line()));
    known
}

#[test]
fn a_first_list_is_told_as_a_whole_and_announces_nothing() {
    let mut session = Session::new(None);
    assert!(!session.watches());
    let first = list(
        &mut session,
        1,
        vec![
            pod("a", "shop", "one", "1"),
            pod("b", "shop", "one", "1"),
            pod("c", "bank", "-", "2"),
            Pod { phase: "Pending".to_owned(), ..pod("d", "bank", "-", "3") },
        ],
    );
    assert_eq!(told(&first), ["watching 1 to 1", "observed bank - 2", "observed shop one 1"]);
    assert!(session.watches());
}

#[test]
fn the_first_pod_and_the_last_one_are_told_and_none_between() {
    let mut session = Session::new(Some(Known::default()));
    assert_eq!(told(&list(&mut session, 0, Vec::new())), ["watching 0 to 0 resumes"]);
    for (change, expected) in [
        (applied(Pod { phase: "Pending".to_owned(), ..pod("a", "shop", "one", "1") }), vec![]),
        (applied(pod("a", "shop", "one", "1")), vec!["began shop one 1", "shop: - to one"]),
        (applied(pod("a", "shop", "one", "1")), vec![]),
        (applied(pod("b", "shop", "one", "1")), vec![]),
        (applied(pod("c", "bank", "one", "1")), vec!["began bank one 1", "bank: - to one"]),
        (gone("a"), vec![]),
        (gone("a"), vec![]),
        // Another digest of the same tag: the container was started anew after a pull.
        (applied(pod("b", "shop", "one", "2")), vec!["began shop one 2", "ended shop one 1"]),
        (applied(Pod { phase: "Succeeded".to_owned(), ..pod("b", "shop", "one", "2") }), vec!["ended shop one 2"]),
        (gone("b"), vec![]),
        (gone("c"), vec!["ended bank one 1"]),
    ] {
        let text = format!("{change:?}");
        assert_eq!(told(&session.take(change, at(1))), expected, "{text}");
    }
}

#[test]
fn releases_are_announced_once_a_change_also_back() {
    let mut session = Session::new(None);
    list(&mut session, 0, vec![pod("a", "shop", "one", "1"), pod("b", "shop", "one", "2")]);
    let mut changes = |change: PodChange| {
        let told = session.take(change, at(1));
        told.changes
            .into_iter()
            .map(|change| format!("{} to {}", change.from.unwrap().name, change.to.name))
            .collect::<Vec<_>>()
    };
    for (change, expected) in [
        // A rollout of two images, one after the other.
        (applied(pod("c", "shop", "two", "3")), vec!["one to two"]),
        (gone("a"), vec![]),
        (applied(pod("d", "shop", "two", "4")), vec![]),
        // It is taken back before the old one is gone.
        (gone("d"), vec![]),
        (gone("c"), vec!["two to one"]),
        // Pods without a release change none, and neither does a pause.
        (applied(pod("e", "shop", "-", "5")), vec![]),
        (gone("b"), vec![]),
        (applied(pod("f", "shop", "one", "1")), vec![]),
    ] {
        let text = format!("{change:?}");
        assert_eq!(changes(change), expected as Vec<&str>, "{text}");
    }
}

#[test]
fn what_others_wrote_is_not_told_again_and_what_ended_unwatched_is() {
    let mut first = Session::new(Some(Known::default()));
    let before = list(
        &mut first,
        0,
        vec![pod("a", "shop", "one", "1"), pod("b", "shop", "-", "2"), pod("c", "bank", "one", "3")],
    );
    let mut lines = vec![before];
    let end = first.ends(at(5)).unwrap();
    lines.push(Told { records: vec![end], changes: Vec::new() });
    let mut second = Session::new(Some(known(&lines)));
    let after = list(
        &mut second,
        9,
        vec![pod("x", "shop", "one", "1"), pod("y", "shop", "two", "4"), pod("c", "bank", "one", "3")],
    );
    let expected = ["watching 9 to 9 resumes", "observed shop two 4", "ended shop - 2 seen 5", "shop: one to two"];
    assert_eq!(told(&after), expected);
    // The last Pod of what the other one wrote ends it.
    assert_eq!(told(&second.take(gone("x"), at(10))), ["ended shop one 1"]);
    assert_eq!(told(&second.take(gone("c"), at(10))), ["ended bank one 3"]);
    let known = known(&[lines, vec![after]].concat());
    assert_eq!(known.namespaces["shop"].release.as_ref().unwrap().name, "two");
}

#[test]
fn a_container_that_was_started_anew_does_not_make_what_runs_younger() {
    let mut first = Session::new(Some(Known::default()));
    let before = list(&mut first, 0, vec![pod("a", "shop", "one", "1")]);
    let mut second = Session::new(Some(known(&[before])));
    let mut anew = pod("a", "shop", "one", "1");
    anew.containers[0].started = Some("2026-03-01T10:07:00Z".to_owned());
    assert_eq!(told(&list(&mut second, 9, vec![anew])), ["watching 9 to 9 resumes"]);
    let ended = second.take(gone("a"), at(10));
    let since = |told: &Told| match &told.records[0].what {
        What::Change(change) => change.since,
        What::Watching { .. } => panic!("a change"),
    };
    assert_eq!(since(&ended), at(0));
}

#[test]
fn a_list_after_an_interruption_begins_another_watch_and_tells_only_differences() {
    let mut session = Session::new(None);
    list(&mut session, 0, vec![pod("a", "shop", "one", "1"), pod("b", "bank", "-", "2")]);
    assert_eq!(session.take(PodChange::Failed("away".to_owned()), at(2)), Told::default());
    assert!(!session.watches());
    assert_eq!(session.beat(at(60)), None, "nobody watches");
    session.take(PodChange::Failed("still away".to_owned()), at(3));
    let again = list(&mut session, 4, vec![pod("a", "shop", "one", "1"), pod("c", "bank", "-", "3")]);
    let expected = ["watching 0 to 2", "watching 4 to 4 resumes", "observed bank - 3", "ended bank - 2 seen 2"];
    assert_eq!(told(&again), expected);
    assert!(session.watches());
}

#[test]
fn a_watch_that_goes_on_where_it_broke_off_is_not_interrupted() {
    let mut session = Session::new(None);
    list(&mut session, 0, vec![pod("a", "shop", "one", "1")]);
    session.take(PodChange::Failed("away".to_owned()), at(2));
    assert_eq!(told(&session.take(gone("a"), at(3))), ["ended shop one 1"]);
    assert!(session.watches());
}

#[test]
fn that_it_goes_on_is_told_each_ten_minutes_and_how_long_it_went_at_the_end() {
    let mut session = Session::new(None);
    assert_eq!((session.beat(at(60)), session.ends(at(60))), (None, None), "it has not begun");
    list(&mut session, 0, Vec::new());
    let minutes: Vec<i64> = (1..=30).filter(|minute| session.beat(at(*minute)).is_some()).collect();
    assert_eq!(minutes, [10, 20, 30]);
    let end = session.ends(at(33)).unwrap();
    assert_eq!(told(&Told { records: vec![end], changes: Vec::new() }), ["watching 0 to 33"]);
    session.take(PodChange::Failed("away".to_owned()), at(34));
    let end = session.ends(at(50)).unwrap();
    assert_eq!(told(&Told { records: vec![end], changes: Vec::new() }), ["watching 0 to 34"], "since then it is blind");
}

/// A thousand Pods come and go in any order: each line is about a change, and the books balance.
#[test]
fn a_burst_loses_nothing() {
    let mut session = Session::new(None);
    list(&mut session, 0, Vec::new());
    let mut lines = Vec::new();
    for n in 0..1000 {
        let digit = (n % 10).to_string();
        lines.extend(told(&session.take(applied(pod(&n.to_string(), "shop", "-", &digit)), at(1))));
        if n >= 20 {
            lines.extend(told(&session.take(gone(&(n - 20).to_string()), at(1))));
        }
    }
    assert_eq!(lines.len(), 10, "each of the ten digests began once: {lines:?}");
    for n in 980..1000 {
        lines.extend(told(&session.take(gone(&n.to_string()), at(1))));
    }
    assert_eq!(lines.iter().filter(|line| line.starts_with("ended")).count(), 10);
    assert_eq!(lines.len(), 20);
}
