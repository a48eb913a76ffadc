//! Findings: each code unique, documented in docs/findings.md, and covered by a case that fires it and one that does not.

use super::Problems;
use super::tree::File;
use tagwarden::document::{Node, Source, parse};

/// What one data case says of finding codes.
pub(super) struct Case {
    /// Codes that it expects.
    fires: Vec<String>,
    /// Codes that it expects not.
    spares: Vec<String>,
}

/// The data cases of the repository: `ids` and `not` of each entry of `cases` in tests/cases/*/cases.yaml.
pub(super) fn cases(files: &[File]) -> Vec<Case> {
    let of_cases = |file: &&File| file.path.starts_with("tests/cases/") && file.path.ends_with("/cases.yaml");
    files.iter().filter(of_cases).flat_map(|file| cases_of(&file.text)).collect()
}

fn cases_of(text: &str) -> Vec<Case> {
    let (documents, _) = parse(&Source::new("cases.yaml", text));
    let entries = documents.iter().filter_map(|document| document.root.get("cases")?.as_list()).flatten();
    entries.map(|case| Case { fires: codes_at(case, "ids"), spares: codes_at(case, "not") }).collect()
}

fn codes_at(case: &Node, key: &str) -> Vec<String> {
    let list = case.get(key).and_then(Node::as_list).unwrap_or_default();
    list.iter().filter_map(Node::as_str).map(str::to_owned).collect()
}

/// No code is given twice.
pub(super) fn unique(codes: &[&str]) -> Problems {
    let doubled = codes.iter().enumerate().filter(|(index, code)| codes[..*index].contains(code));
    doubled.map(|(_, code)| format!("{code} is given twice; numbers are for ever, take a new one")).collect()
}

/// Every code has a section in a document (`path`) that is not empty, and every section a code.
pub(super) fn documented(codes: &[&str], path: &str, document: &str) -> Problems {
    let sections: Vec<_> = document.split("\n## ").skip(1).collect();
    let is_about = |section: &str, code: &str| section.split_whitespace().next() == Some(code);
    let has_text = |section: &str| section.lines().skip(1).any(|line| !line.trim().is_empty());
    let described = |code: &str| sections.iter().any(|section| is_about(section, code) && has_text(section));
    let missing = codes.iter().filter(|code| !described(code));
    let missing = missing.map(|code| format!("{path}: no text under a heading '## {code} ...'; say what to do"));
    let first_words = sections.iter().filter_map(|section| section.split_whitespace().next());
    let unknown = first_words.filter(|word| word.starts_with("TW") && !codes.contains(word));
    let unknown = unknown.map(|word| format!("{path}: {word} is no code of this build; take its section out"));
    missing.chain(unknown).collect()
}

/// Every code is expected by one case and ruled out by another.
pub(super) fn covered(codes: &[&str], cases: &[Case]) -> Problems {
    let mut problems = Vec::new();
    for code in codes {
        let named = |list: &[String]| list.iter().any(|listed| listed == code);
        if !cases.iter().any(|case| named(&case.fires)) {
            problems.push(format!("tests/cases: no case fires {code}; add one with 'ids: [{code}]'"));
        }
        if !cases.iter().any(|case| named(&case.spares)) {
            problems.push(format!("tests/cases: no case shows {code} not firing; add one with 'not: [{code}]'"));
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::{Problems, cases_of, covered, documented, unique};

    #[test]
    fn a_doubled_code_is_found() {
        assert_eq!(unique(&["TW100", "TW101"]), Problems::new());
        assert_eq!(unique(&["TW100", "TW101", "TW100"]).len(), 1);
    }

    #[test]
    fn a_finding_without_text_is_found() {
        let document = "# Findings\n\n## TW100 invalid\n\nWrite it right.\n\n## TW101 refused\n\nWrite another.\n";
        assert_eq!(documented(&["TW100", "TW101"], "f.md", document), Problems::new());
        assert_eq!(documented(&["TW100", "TW101", "TW10"], "f.md", document).len(), 1, "no section of its own");
        assert_eq!(documented(&["TW100"], "f.md", document).len(), 1, "a section without a code");
        assert_eq!(documented(&["TW100"], "f.md", "\n## TW100 invalid\n\n").len(), 1, "a section without text");
        assert_eq!(documented(&["TW100"], "f.md", "").len(), 1);
    }

    #[test]
    fn a_finding_without_both_cases_is_found() {
        let cases = cases_of("cases:\n  - {image: a, ids: [TW100, TW101]}\n  - {image: b, not: [TW100]}\n");
        assert_eq!(cases.len(), 2);
        assert_eq!(covered(&["TW100"], &cases), Problems::new());
        assert_eq!(covered(&["TW100", "TW101"], &cases).len(), 1);
        assert_eq!(covered(&["TW999"], &cases).len(), 2);
        assert_eq!(covered(&["TW999"], &cases_of("")).len(), 2);
    }
}
