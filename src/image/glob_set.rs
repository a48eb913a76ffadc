//! Many patterns over one text, compiled into automata that match whole texts only.

use regex_automata::meta::{self, Regex};
use regex_automata::nfa::thompson::WhichCaptures;
use regex_automata::{Anchored, Input, MatchKind, PatternSet};
use regex_syntax::ast::{self, Ast, Flag, Flags};
use regex_syntax::hir::translate::TranslatorBuilder;
use regex_syntax::hir::{Hir, Look};
use std::fmt;

/// How large the automaton of all patterns together may grow, in bytes. A thousand globs of usual length take a tenth.
const SIZE_LIMIT: usize = 10 << 20;
/// What the lazy automaton may remember of the searches so far, in bytes and per concurrent search.
const CACHE_LIMIT: usize = 8 << 20;

/// Whether a policy's entry is a pattern rather than the name of a class: it has a character that means something in a
/// regular expression and is in no name.
pub fn is_pattern(entry: &str) -> bool {
    entry.contains(['\\', '.', '+', '*', '?', '(', ')', '|', '[', ']', '{', '}', '^', '$'])
}

/// Many patterns over one text; whole-string matches only.
///
/// Time is linear in the text: patterns run as finite automata, without backtracking, whatever they look like. They are
/// ASCII-only (`\d` is `[0-9]`), and each is read on its own and then anchored as a tree, not as text, so neither
/// flags, alternations nor a stray parenthesis can loosen the anchors.
#[derive(Clone)]
pub struct GlobSet {
    /// Prefers the lowest id; none for a set without patterns.
    first: Option<Regex>,
    /// Knows all ids that match.
    all: Option<Regex>,
}

impl GlobSet {
    /// Compiles regular expressions (ASCII classes, linear time, size-limited); pattern N of the input is id N.
    ///
    /// # Errors
    /// The index of the pattern at fault (if one is) and why.
    pub fn new<S: AsRef<str>>(patterns: &[S]) -> Result<Self, (Option<usize>, String)> {
        let mut trees = Vec::with_capacity(patterns.len());
        for (index, pattern) in patterns.iter().enumerate() {
            trees.push(read(pattern.as_ref()).map_err(|message| (Some(index), message))?);
        }
        if trees.is_empty() {
            return Ok(GlobSet { first: None, all: None });
        }
        let build = |kind| build(&trees, kind).map_err(|error| blame(&trees, &error));
        Ok(GlobSet { first: Some(build(MatchKind::LeftmostFirst)?), all: Some(build(MatchKind::All)?) })
    }

    /// The lowest id whose pattern matches the whole of `text`. Allocates nothing once its automaton has seen the like.
    pub fn first_match(&self, text: &str) -> Option<usize> {
        let found = self.first.as_ref()?.search_half(&anchored(text))?;
        Some(found.pattern().as_usize())
    }

    /// Calls `f` with every id whose pattern matches the whole of `text`, ascending.
    pub fn all_matches(&self, text: &str, f: impl FnMut(usize)) {
        let Some(regex) = &self.all else { return };
        let mut matching = PatternSet::new(regex.pattern_len());
        regex.which_overlapping_matches(&anchored(text), &mut matching);
        matching.iter().map(|id| id.as_usize()).for_each(f);
    }
}

/// The number of patterns; the automata themselves would fill screens.
impl fmt::Debug for GlobSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GlobSet").field("patterns", &self.first.as_ref().map_or(0, Regex::pattern_len)).finish()
    }
}

fn anchored(text: &str) -> Input<'_> {
    Input::new(text).anchored(Anchored::Yes)
}

/// Reads one pattern and puts it between the anchors of the whole text.
pub(super) fn read(pattern: &str) -> Result<Hir, String> {
    if let Some(position) = pattern.bytes().position(|byte| !byte.is_ascii()) {
        return Err(format!("patterns are ASCII only, what begins at byte {position} is not"));
    }
    let tree = ast::parse::Parser::new()
        .parse(pattern)
        .map_err(|error| format!("{}, at byte {}", error.kind(), error.span().start.offset))?;
    ast::visit(&tree, OnlyAscii)?;
    let matched = TranslatorBuilder::new()
        .unicode(false)
        .utf8(false)
        .build()
        .translate(pattern, &tree)
        .map_err(|error| format!("{}, at byte {}", error.kind(), error.span().start.offset))?;
    Ok(Hir::concat(vec![Hir::look(Look::Start), matched, Hir::look(Look::End)]))
}

/// Refuses `(?u)`, which would make `\d` and case folding reach beyond ASCII, and characters beyond it by number.
struct OnlyAscii;

impl ast::Visitor for OnlyAscii {
    type Output = ();
    type Err = String;

    fn finish(self) -> Result<(), String> {
        Ok(())
    }

    fn visit_pre(&mut self, node: &Ast) -> Result<(), String> {
        let flags: Option<&Flags> = match node {
            Ast::Literal(literal) if !literal.c.is_ascii() => {
                let position = literal.span.start.offset;
                return Err(format!("patterns are ASCII only, what begins at byte {position} is not"));
            }
            Ast::Flags(set) => Some(&set.flags),
            Ast::Group(group) => group.flags(),
            _ => None,
        };
        match flags.and_then(|flags| flags.flag_state(Flag::Unicode)) {
            Some(true) => Err("patterns are ASCII only, the flag u is not supported".to_owned()),
            _ => Ok(()),
        }
    }
}

fn build(trees: &[Hir], kind: MatchKind) -> Result<Regex, Box<meta::BuildError>> {
    let config = meta::Config::new()
        .match_kind(kind)
        .utf8_empty(false)
        .which_captures(WhichCaptures::Implicit)
        .nfa_size_limit(Some(SIZE_LIMIT))
        .hybrid_cache_capacity(CACHE_LIMIT);
    meta::Builder::new().configure(config).build_many_from_hir(trees).map_err(Box::new)
}

/// Which pattern is to blame for a set that does not compile: the first that does not compile alone, if any.
fn blame(trees: &[Hir], error: &meta::BuildError) -> (Option<usize>, String) {
    let culprit = trees.iter().position(|tree| build(std::slice::from_ref(tree), MatchKind::LeftmostFirst).is_err());
    let message = match (error.size_limit(), culprit) {
        (Some(_), Some(_)) => {
            "the pattern is too large once its repetitions are written out; use smaller counts".to_owned()
        }
        (Some(_), None) => "all patterns together are too large; use fewer patterns or smaller counts".to_owned(),
        (None, _) => format!("the pattern cannot be compiled: {error}"),
    };
    (culprit, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, text: &str) -> bool {
        GlobSet::new(&[pattern]).unwrap().first_match(text).is_some()
    }

    fn refused(pattern: &str) -> String {
        let (index, message) = GlobSet::new(&["fine", pattern]).expect_err(pattern);
        assert_eq!(index, Some(1), "{pattern}");
        message
    }

    #[test]
    fn row_67_matches_the_whole_text_only() {
        let cases = [
            (r"v\d+", &["v1", "v10"][..], &["v", "v1 ", "xv1", "v1x", "v1\n", "v١"][..]),
            (r"^v\d+$", &["v1"], &["xv1", "v1\n"]),
            (r"\Av\d+\z", &["v1"], &["xv1", "v1x"]),
            (r"a|b", &["a", "b"], &["ab", "ax", "xb"]),
            (
                r"^(v\d+\.\d+\.\d+|env-\w+|[0-9a-f]{7})$",
                &["v1.2.3", "env-prod", "0123abc"],
                &["v1.2.3x", "env-", "0123abcd"],
            ),
            (r"(?m)^a$", &["a"], &["a\nb", "b\na", "a\n"]),
            (r"(?m)^a$|b", &["a", "b"], &["a\nb"]),
            (r"(?s).*", &["", "a\nb"], &[]),
            (r"(?i)ab", &["ab", "AB"], &["abc"]),
            (r"(?x) a # comment", &["a"], &["a b"]),
            (r"", &[""], &["a"]),
            (r"a||b", &["a", "", "b"], &["ab"]),
            (r"[^a]+", &["b", "bc"], &["a", "ba"]),
        ];
        for (pattern, yes, no) in cases {
            for text in yes {
                assert!(matches(pattern, text), "{pattern:?} must match {text:?}");
            }
            for text in no {
                assert!(!matches(pattern, text), "{pattern:?} must not match {text:?}");
            }
        }
    }

    #[test]
    fn refuses_bad_patterns_by_index() {
        for (pattern, message) in [
            ("a)|(b", "unopened group, at byte 1"),
            ("(a", "unclosed group, at byte 0"),
            ("[a", "unclosed character class, at byte 0"),
            ("a{2", "unclosed counted repetition, at byte 1"),
            ("*a", "repetition operator missing expression, at byte 0"),
            (r"\p{Greek}", "Unicode not allowed here, at byte 0"),
            (r"a\x{2603}", "patterns are ASCII only, what begins at byte 1 is not"),
            (r"[\x{2603}]", "Unicode not allowed here, at byte 1"),
            ("tag-é", "patterns are ASCII only, what begins at byte 4 is not"),
            (r"(?u)\d", "patterns are ASCII only, the flag u is not supported"),
            (r"(?iu:k)", "patterns are ASCII only, the flag u is not supported"),
            (r"(?=a)b", "look-around, including look-ahead and look-behind, is not supported, at byte 0"),
            (r"(a)\1", "backreferences are not supported, at byte 3"),
        ] {
            assert_eq!(refused(pattern), message, "{pattern}");
        }
        assert!(GlobSet::new(&[r"(?-u)\d"]).is_ok());
    }

    #[test]
    fn row_67_refuses_what_grows_too_large() {
        for pattern in [
            "((a{1,100}){1,100}){1,100}",
            "(((a{1000}){1000}){1000}){1000}",
            "((((((a?){50}){50}){50}){50}){50}){50}",
            r"(\w{1000}){1000}",
        ] {
            let (index, message) = GlobSet::new(&["fine", pattern]).unwrap_err();
            assert_eq!(index, Some(1), "{pattern}");
            assert_eq!(message, "the pattern is too large once its repetitions are written out; use smaller counts");
        }
        let nested = format!("{}a{}", "(".repeat(10_000), ")".repeat(10_000));
        assert_eq!(refused(&nested), "exceed the maximum number of nested parentheses/brackets (250), at byte 250");
        let large = vec!["[a-z]{100}".repeat(10); 500];
        let (index, message) = GlobSet::new(&large).unwrap_err();
        assert_eq!(
            (index, &*message),
            (None, "all patterns together are too large; use fewer patterns or smaller counts")
        );
    }

    #[test]
    fn row_67_stays_linear_on_patterns_that_would_backtrack() {
        let text = "a".repeat(4096);
        for pattern in ["(a+)+$", "(a|a)*", "(a|aa)+", "(a*)*", "(.*)*", "((a?){20})*", "([a-z]+)*", "(x+x+)+y|a+"] {
            assert!(matches(pattern, &text), "{pattern}");
        }
        for pattern in ["(a+)+$", "(a|aa)+", "(a*)*b", "(x+x+)+y", "(a?){50}(a){50}"] {
            assert!(!matches(pattern, &format!("{text}!")), "{pattern}");
        }
    }

    #[test]
    fn first_is_the_lowest_and_all_are_ascending() {
        let patterns: Vec<String> = (0..1000).map(|n| format!("registry\\.example\\.com/a{{0,{}}}.*", n % 7)).collect();
        let set = GlobSet::new(&patterns).unwrap();
        assert_eq!(set.first_match("registry.example.com/aaa"), Some(0));
        let mut all = Vec::new();
        set.all_matches("registry.example.com/aaa", |id| all.push(id));
        assert_eq!(all, (0..1000).collect::<Vec<_>>());

        let patterns: Vec<String> = (0..1000).map(|n| format!("a{{0,{}}}", 99 - n / 10)).collect();
        let set = GlobSet::new(&patterns).unwrap();
        for length in [0, 1, 50, 98, 99] {
            let text = "a".repeat(length);
            assert_eq!(set.first_match(&text), Some(0), "{length}");
            let mut all = Vec::new();
            set.all_matches(&text, |id| all.push(id));
            assert_eq!(all, (0..1000 - 10 * length).collect::<Vec<_>>(), "{length}");
        }

        let patterns: Vec<String> = (0..1000).map(|n| format!("a{{0,{}}}", n / 10)).collect();
        let set = GlobSet::new(&patterns).unwrap();
        for length in [0, 1, 50, 98, 99] {
            assert_eq!(set.first_match(&"a".repeat(length)), Some(10 * length), "{length}");
        }
        assert_eq!(set.first_match(&"a".repeat(100)), None);
    }

    #[test]
    fn an_empty_set_matches_nothing() {
        let set = GlobSet::new::<&str>(&[]).unwrap();
        assert_eq!(set.first_match(""), None);
        set.all_matches("", |_| panic!("no pattern can match"));
    }

    #[test]
    fn tells_patterns_from_names() {
        for name in ["release", "git-commit", "nightly_2"] {
            assert!(!is_pattern(name), "{name}");
        }
        for pattern in [r"v\d+", "v1.2", "a|b", "^a", "a$", "[a]", "a{2}", "(a)", "a+", "a*", "a?"] {
            assert!(is_pattern(pattern), "{pattern}");
        }
    }
}
