//! What a pattern over tags matches: digits and dates only (TW805), every tag (TW806), none (TW807).

use std::collections::HashMap;

use super::{Lint, LintCode};
use crate::image::{Cells, Domain};
use crate::policy::file::Text;

/// Digits, or a date with or without a time, whatever stands between its parts.
const NUMBERS: &str = "[0-9]+|[0-9]{4}[-_.][0-9]{1,2}[-_.][0-9]{1,2}(?:[-_.Tt][0-9]+(?:[-_.][0-9]+)*[Zz]?)?";

/// Patterns that were looked at before: policies repeat them.
#[derive(Default)]
pub(super) struct Patterns(HashMap<String, Matches>);

/// What a pattern matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Matches {
    /// No tag that there can be.
    Nothing,
    /// Every one.
    Everything,
    /// Digits and dates alone.
    Numbers,
    /// Something between.
    Some,
    /// That is not decided.
    Unknown,
}

impl Patterns {
    pub fn matches(&mut self, pattern: &str) -> Matches {
        if let Some(known) = self.0.get(pattern) {
            return *known;
        }
        let matches = decide(pattern);
        self.0.insert(pattern.to_owned(), matches);
        matches
    }

    /// Looks at one pattern; what it matches.
    pub fn report(&mut self, text: &Text, lint: &mut Lint<'_>) -> Matches {
        let matches = self.matches(&text.value);
        match matches {
            Matches::Nothing => {
                let warning = lint.warn(LintCode::Tw807, &text.span, "this pattern matches no tag");
                warning.label = Some("no valid tag is like this".to_owned());
                warning.help.push(
                    "a tag is 1 to 128 of A-Z, a-z, 0-9, '_', '.' and '-', and begins with none of the last two"
                        .to_owned(),
                );
            }
            Matches::Everything => {
                let warning = lint.warn(LintCode::Tw806, &text.span, "this pattern matches every tag");
                warning.label = Some("nothing is asked of a tag".to_owned());
                warning.help.push("name tag classes, or leave 'tags' out for any tag that does not float".to_owned());
            }
            Matches::Numbers => {
                let warning = lint.warn(LintCode::Tw805, &text.span, "this pattern matches digits and dates only");
                warning.label = Some("a number or a day says nothing about a build".to_owned());
                warning.help.push(
                    "several builds of one day share such a tag; ask for a version or a commit beside it".to_owned(),
                );
            }
            Matches::Some => {}
            Matches::Unknown => lint.undecided(&text.span, "what this pattern matches"),
        }
        matches
    }
}

fn decide(pattern: &str) -> Matches {
    let cells = Cells::of::<_, &str>(Domain::Tags, &[pattern, NUMBERS], &[]);
    let matched = || cells.list.iter().filter(|cell| cell.has(0));
    let some_not = cells.list.iter().any(|cell| !cell.has(0));
    let other = matched().any(|cell| !cell.has(1));
    match (cells.complete, matched().next().is_some(), some_not, other) {
        // What was found is found, however much was not looked at.
        (_, true, true, true) => Matches::Some,
        (false, ..) => Matches::Unknown,
        (true, false, ..) => Matches::Nothing,
        (true, true, false, _) => Matches::Everything,
        (true, true, true, false) => Matches::Numbers,
    }
}

#[cfg(test)]
mod tests {
    use super::{Matches, decide};

    #[test]
    fn each_kind_has_patterns_and_near_misses() {
        for (pattern, expected) in [
            (r"\d+", Matches::Numbers),
            (r"\d{8}", Matches::Numbers),
            (r"^\d{4}-\d{2}-\d{2}$", Matches::Numbers),
            (r"20\d\d\.\d{2}\.\d{2}", Matches::Numbers),
            (r"20\d{6}|latest\b\.", Matches::Some),
            (r"\d{4}_\d{2}_\d{2}T\d{2}-\d{2}-\d{2}Z", Matches::Numbers),
            (r"\d+\.\d+\.\d+", Matches::Some),
            (r"nightly-\d{8}", Matches::Some),
            (r"\d{8}-[0-9a-f]{7}", Matches::Some),
            (".*", Matches::Everything),
            ("(?s).+", Matches::Everything),
            (r"[\w.-]+", Matches::Everything),
            (r"\w[\w.-]{0,127}", Matches::Everything),
            (r"\w[\w.-]{0,126}", Matches::Some),
            ("[a-z].*", Matches::Some),
            ("", Matches::Nothing),
            (r"\.\d+", Matches::Nothing),
            ("v1/.*", Matches::Nothing),
            ("a{129}", Matches::Nothing),
            ("a{128}", Matches::Some),
            (r"v1\.2 ?", Matches::Some),
            (r"v1\.2 ", Matches::Nothing),
        ] {
            assert_eq!(decide(pattern), expected, "{pattern}");
        }
    }
}
