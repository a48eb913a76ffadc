//! The built-in tag classes as patterns, so that automata can reason about them; held to `TagFacts::of` by a test.

use super::super::tag::{ARCHITECTURES, FLOATING_WORDS};
use super::super::{Class, Classes};

/// Patterns that together tell which of some classes a tag has: of the tags in one cell, all or none have a class.
/// `digest`, which no tag has, adds none.
///
/// An architecture suffix is taken off before most classes are tried, and a pattern cannot say "not ending so". So there
/// are two patterns for such a class, with and without a suffix, and one for suffixes that says which of them counts.
#[must_use]
pub fn tag_class_patterns(classes: Classes) -> Vec<String> {
    let suffix = suffix();
    let mut patterns = vec![format!(".+{suffix}")];
    for class in classes.iter() {
        let Some(pattern) = pattern(class) else { continue };
        if takes_suffix(class) {
            patterns.push(format!("(?:{pattern}){suffix}"));
        }
        patterns.push(pattern);
    }
    patterns
}

fn suffix() -> String {
    format!("-(?:{})", ARCHITECTURES.join("|"))
}

/// Whether an architecture suffix is taken off before the class is tried.
fn takes_suffix(class: Class) -> bool {
    !matches!(class, Class::Latest | Class::Floating)
}

/// The tags of a class before a suffix was put behind them.
fn pattern(class: Class) -> Option<String> {
    const CORE: &str = r"(?:0|[1-9][0-9]*)\.(?:0|[1-9][0-9]*)\.(?:0|[1-9][0-9]*)";
    // Numeric without leading zeros, or with a letter or dash somewhere.
    const IDENTIFIER: &str = "(?:0|[1-9][0-9]*|[0-9]*[A-Za-z-][0-9A-Za-z-]*)";
    let prerelease = format!(r"-{IDENTIFIER}(?:\.{IDENTIFIER})*");
    Some(match class {
        Class::Release => format!("v{CORE}"),
        Class::Prerelease => format!("v{CORE}{prerelease}"),
        Class::Semver => format!("v?{CORE}(?:{prerelease})?"),
        Class::Commit => "[0-9a-f]{7,40}".to_owned(),
        Class::GitCommit => "git-[0-9a-f]{40}".to_owned(),
        Class::Channel => "env-[A-Za-z0-9_]+(?:-[A-Za-z0-9_]+)*".to_owned(),
        Class::Latest => "(?i:latest)".to_owned(),
        Class::Floating => format!("(?i:{})", FLOATING_WORDS.join("|")),
        Class::Digest => return None,
    })
}

/// What `matched` says by the patterns of all classes: the table above read backwards.
#[cfg(test)]
pub(in crate::image) fn classes_of(matched: &[usize]) -> Classes {
    let mut classes = Classes::default();
    let mut id = 1;
    for class in Class::ALL.into_iter().filter(|class| *class != Class::Digest) {
        let decides = match takes_suffix(class) {
            true if matched.contains(&0) => id,
            true => id + 1,
            false => id,
        };
        if matched.contains(&decides) {
            classes = classes.with(class);
        }
        id += if takes_suffix(class) { 2 } else { 1 };
    }
    classes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::{Cells, Domain, TagFacts};

    #[test]
    fn every_cell_of_the_classes_agrees_with_the_reader_of_tags() {
        let all = Class::ALL.into_iter().fold(Classes::default(), Classes::with);
        let cells = Cells::of::<_, &str>(Domain::Tags, &tag_class_patterns(all), &[]);
        assert!(cells.complete);
        let mut seen = Classes::default();
        for cell in &cells.list {
            let classes = classes_of(&cell.matched);
            assert_eq!(classes, TagFacts::of(&cell.example).classes, "{cell:?}");
            seen = classes.iter().fold(seen, Classes::with);
        }
        assert_eq!(seen, all.without(Class::Digest), "each class has a cell");
    }
}
