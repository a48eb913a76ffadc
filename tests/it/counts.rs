//! What `make bench-counts` says of counts beside their baseline.

#[path = "../../benches/counts/baseline.rs"]
mod baseline;

use baseline::{Baseline, Compared};

fn compared(now: &[(&str, u64)]) -> Compared {
    let baseline = Baseline::read("{\"parse\": 1000, \"read\": 20000}").unwrap();
    let now: Vec<_> = now.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect();
    baseline.compare(&now)
}

#[test]
fn what_is_within_the_tolerance_passes() {
    for parse in [950, 1000, 1050] {
        let compared = compared(&[("parse", parse), ("read", 20_000)]);
        assert!(compared.passes && compared.text.contains("all counts are those"), "{}", compared.text);
    }
}

#[test]
fn what_grew_fails_with_both_numbers_and_the_remedy() {
    let compared = compared(&[("parse", 1051), ("read", 20_000)]);
    assert!(!compared.passes);
    for said in ["1000", "1051", "+5.1 %  GROWN", "UPDATE_BASELINE=1 make bench-counts"] {
        assert!(compared.text.contains(said), "{said} is not in: {}", compared.text);
    }
    assert_eq!(compared.text.matches("GROWN").count(), 1, "{}", compared.text);
}

#[test]
fn what_shrank_passes_and_says_so() {
    let compared = compared(&[("parse", 949), ("read", 20_000)]);
    assert!(compared.passes && compared.text.contains("can be lowered"), "{}", compared.text);
}

#[test]
fn unknown_and_missing_names_fail() {
    let unknown = compared(&[("parse", 1000), ("read", 20_000), ("answer", 7)]);
    assert!(!unknown.passes && unknown.text.contains("UNKNOWN"), "{}", unknown.text);
    let missing = compared(&[("parse", 1000)]);
    assert!(!missing.passes && missing.text.contains("MISSING"), "{}", missing.text);
}

#[test]
fn what_is_written_is_what_is_read() {
    let written = Baseline::from(vec![("b \"c\"".to_owned(), 2), ("a".to_owned(), 1)]).text();
    assert_eq!(written, "{\n  \"a\": 1,\n  \"b \\\"c\\\"\": 2\n}\n");
    assert_eq!(Baseline::read(&written).unwrap().text(), written);
    assert!(Baseline::read("[1]").is_err());
}
