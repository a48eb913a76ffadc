//! Which texts of a kind are told apart by many patterns, decided by walking automata, with a shortest example of each.
//!
//! Patterns over a kind of text cut it into cells: all texts that exactly the same patterns match. There are finitely
//! many, and every question of overlap ("is this glob ever the first to match?", "does this class add anything?") is a
//! question about which cells there are. To list them, the automaton of all patterns together is walked side by side
//! with that of the texts there are at all, breadth first, so that the first text seen in a cell is a shortest one.

mod domain;
mod tag_classes;

use std::collections::HashSet;

use regex_automata::dfa::Automaton as _;
use regex_automata::hybrid::LazyStateID;
use regex_automata::hybrid::dfa::{Cache, Config, DFA};
use regex_automata::nfa::thompson::{Compiler, WhichCaptures};
use regex_automata::util::primitives::StateID;
use regex_automata::{Anchored, Input, MatchKind};

use super::glob_set;
use domain::Texts;

pub use domain::Domain;
#[cfg(test)]
pub(super) use tag_classes::classes_of;
pub use tag_classes::tag_class_patterns;

/// How many pairs of states are looked at. A thousand globs of usual length have some twenty thousand.
const MAX_PAIRS: usize = 100_000;
/// What the automaton of the patterns may take while it is walked, in bytes.
const CACHE_LIMIT: usize = 32 << 20;
/// How large the automaton of all patterns together may be before it is walked, in bytes; that of `GlobSet`.
const SIZE_LIMIT: usize = 10 << 20;

/// The texts that exactly the same patterns match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cell {
    /// Ids of the patterns, ascending; may be none.
    pub matched: Vec<usize>,
    /// A text of the cell: a sample if one is in it, else a shortest one.
    pub example: String,
}

/// All cells of a kind of text under some patterns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cells {
    /// Those that were found. Each is there; an example proves it.
    pub list: Vec<Cell>,
    /// Whether there are no others. False: the automata were too large to be walked to the end.
    pub complete: bool,
}

impl Cells {
    /// Lists the cells of `domain` under `patterns` (as [`super::GlobSet`] reads them; pattern N is id N). Of several
    /// examples of a cell, one of `samples` is taken rather than a shortest text.
    #[must_use]
    pub fn of<P: AsRef<str>, S: AsRef<str>>(domain: Domain, patterns: &[P], samples: &[S]) -> Cells {
        let Some(automaton) = together(patterns) else { return Cells::default() };
        let mut walk = Walk {
            texts: domain.texts(),
            cache: automaton.create_cache(),
            automaton: &automaton,
            pairs: Vec::new(),
            known: HashSet::new(),
            seen: HashSet::new(),
            cells: Cells::default(),
        };
        // What does not fit ends the walk: what was found by then stays true.
        walk.cells.complete = walk.run(samples).is_some();
        walk.cells
    }

    /// The cells whose texts a pattern matches.
    pub fn with(&self, id: usize) -> impl Iterator<Item = &Cell> {
        self.list.iter().filter(move |cell| cell.has(id))
    }
}

impl Cell {
    /// Whether a pattern matches its texts.
    #[must_use]
    pub fn has(&self, id: usize) -> bool {
        self.matched.binary_search(&id).is_ok()
    }
}

/// All patterns as one automaton that is built while it is walked; none where it would be too large.
fn together<P: AsRef<str>>(patterns: &[P]) -> Option<DFA> {
    let trees: Vec<_> = patterns.iter().map(|pattern| glob_set::read(pattern.as_ref()).ok()).collect::<Option<_>>()?;
    let limits = regex_automata::nfa::thompson::Config::new()
        .nfa_size_limit(Some(SIZE_LIMIT))
        .utf8(false)
        .which_captures(WhichCaptures::None);
    let automaton = Compiler::new().configure(limits).build_many_from_hir(&trees).ok()?;
    // A cache that would have to be cleared is an error instead: cleared states lose their names.
    let lazy = Config::new()
        .match_kind(MatchKind::All)
        .cache_capacity(CACHE_LIMIT)
        .skip_cache_capacity_check(true)
        .minimum_cache_clear_count(Some(0));
    DFA::builder().configure(lazy).build_from_nfa(automaton).ok()
}

/// A state of each of the two automata, and how it was come by.
struct Pair {
    text: StateID,
    patterns: LazyStateID,
    /// Where it was come from, and by which byte.
    from: Option<(u32, u8)>,
}

struct Walk<'w> {
    texts: &'static Texts,
    automaton: &'w DFA,
    cache: Cache,
    pairs: Vec<Pair>,
    known: HashSet<(StateID, LazyStateID)>,
    /// The cells found, by what matches.
    seen: HashSet<Vec<usize>>,
    cells: Cells,
}

impl Walk<'_> {
    /// Walks to the end; none: it is too far.
    fn run<S: AsRef<str>>(&mut self, samples: &[S]) -> Option<()> {
        let anchored = Input::new("").anchored(Anchored::Yes);
        let text = self.texts.automaton.start_state_forward(&anchored).ok()?;
        let patterns = self.automaton.start_state_forward(&mut self.cache, &anchored).ok()?;
        for sample in samples {
            self.sample(text, patterns, sample.as_ref())?;
        }
        let alphabet = self.alphabet();
        self.reach(text, patterns, None)?;
        let mut level = 0..1;
        for length in 0..=self.texts.longest {
            for at in level.clone() {
                self.look_at(at)?;
                if length < self.texts.longest {
                    self.step(at, &alphabet)?;
                }
            }
            level = level.end..self.pairs.len();
        }
        Some(())
    }

    /// One byte of each class that neither automaton tells apart: the one that reads best.
    fn alphabet(&self) -> Vec<u8> {
        let mut classes = HashSet::new();
        let (texts, patterns) = (self.texts.automaton.byte_classes(), self.automaton.byte_classes());
        let is_new = |byte: &u8| classes.insert((texts.get(*byte), patterns.get(*byte)));
        self.texts.alphabet.bytes().filter(is_new).collect()
    }

    fn step(&mut self, at: usize, alphabet: &[u8]) -> Option<()> {
        let Pair { text, patterns, .. } = self.pairs[at];
        for &byte in alphabet {
            let text = self.texts.automaton.next_state(text, byte);
            // No text goes on like this.
            if self.texts.automaton.is_dead_state(text) {
                continue;
            }
            let patterns = self.automaton.next_state(&mut self.cache, patterns, byte).ok()?;
            self.reach(text, patterns, Some((u32::try_from(at).ok()?, byte)))?;
        }
        Some(())
    }

    fn reach(&mut self, text: StateID, patterns: LazyStateID, from: Option<(u32, u8)>) -> Option<()> {
        if self.known.insert((text, patterns)) {
            self.pairs.push(Pair { text, patterns, from });
        }
        (self.pairs.len() <= MAX_PAIRS).then_some(())
    }

    /// Notes the cell of the texts that end here, if any text may.
    fn look_at(&mut self, at: usize) -> Option<()> {
        let Pair { text, patterns, .. } = self.pairs[at];
        if let Some(matched) = self.matched(text, patterns)?
            && !self.seen.contains(&matched)
        {
            let example = self.text_of(at);
            self.note(matched, example);
        }
        Some(())
    }

    /// Notes the cell of a sample, if it is a text of the domain at all.
    fn sample(&mut self, mut text: StateID, mut patterns: LazyStateID, sample: &str) -> Option<()> {
        if sample.len() > self.texts.longest {
            return Some(());
        }
        for byte in sample.bytes() {
            text = self.texts.automaton.next_state(text, byte);
            patterns = self.automaton.next_state(&mut self.cache, patterns, byte).ok()?;
        }
        if let Some(matched) = self.matched(text, patterns)? {
            self.note(matched, sample.to_owned());
        }
        Some(())
    }

    fn note(&mut self, matched: Vec<usize>, example: String) {
        if self.seen.insert(matched.clone()) {
            self.cells.list.push(Cell { matched, example });
        }
    }

    /// What matches a text that ends in these states; none where no text of the domain does.
    fn matched(&mut self, text: StateID, patterns: LazyStateID) -> Option<Option<Vec<usize>>> {
        let text = self.texts.automaton.next_eoi_state(text);
        if !self.texts.automaton.is_match_state(text) {
            return Some(None);
        }
        let end = self.automaton.next_eoi_state(&mut self.cache, patterns).ok()?;
        if !end.is_match() {
            return Some(Some(Vec::new()));
        }
        let matches = self.automaton.match_len(&self.cache, end);
        let ids = (0..matches).map(|index| self.automaton.match_pattern(&self.cache, end, index).as_usize());
        let mut ids: Vec<usize> = ids.collect();
        ids.sort_unstable();
        Some(Some(ids))
    }

    /// The text by which a pair was first come to.
    fn text_of(&self, mut at: usize) -> String {
        let mut bytes = Vec::new();
        while let Some((from, byte)) = self.pairs[at].from {
            bytes.push(byte);
            at = from as usize;
        }
        // The alphabets are ASCII.
        bytes.iter().rev().map(|&byte| char::from(byte)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cells(domain: Domain, patterns: &[&str]) -> Vec<(Vec<usize>, String)> {
        let cells = Cells::of::<_, &str>(domain, patterns, &[]);
        assert!(cells.complete);
        let mut list: Vec<_> = cells.list.into_iter().map(|cell| (cell.matched, cell.example)).collect();
        list.sort();
        list
    }

    #[test]
    fn lists_each_cell_once_with_a_shortest_text() {
        let found = cells(Domain::Tags, &["a+", "a{2,}|b", "[ab]{3}"]);
        let expected = [(&[][..], "c"), (&[0], "a"), (&[0, 1], "aa"), (&[0, 1, 2], "aaa"), (&[1], "b"), (&[2], "aab")];
        assert_eq!(found, expected.map(|(ids, text)| (ids.to_vec(), text.to_owned())));
    }

    #[test]
    fn only_texts_of_the_domain_count() {
        // A tag neither begins with a dot nor is longer than 128 bytes; a namespace ends in no dash.
        assert_eq!(cells(Domain::Tags, &[r"\..*", "", "a{129}", "a b", "a{128}"]).len(), 2);
        let expected = [(vec![], "a".to_owned()), (vec![1], "a-a".to_owned())];
        assert_eq!(cells(Domain::Namespaces, &["[a-z0-9-]*-", "[a-z0-9]*-.*"]), expected);
        assert_eq!(cells(Domain::Namespaces, &["[a-z0-9-]{64}", "[a-z0-9-]{63}"]).len(), 2);
        assert_eq!(
            cells(Domain::Names, &["[^/]*", r"registry\.example\.com/", "a//b", "a.a/[A-Z]", "a.a/a-"]).len(),
            1
        );
    }

    #[test]
    fn samples_are_preferred_where_they_are_texts() {
        let cells = Cells::of(Domain::Tags, &["[a-z]+"], &["not a tag", "latest", "second"]);
        let expected = [
            Cell { matched: vec![0], example: "latest".to_owned() },
            Cell { matched: vec![], example: "A".to_owned() },
        ];
        assert_eq!(cells.list[0], expected[0]);
        assert_eq!(cells.list[1].matched, expected[1].matched);
        assert_eq!(cells.list.len(), 2);
    }

    #[test]
    fn what_is_too_large_is_said_not_guessed() {
        let many: Vec<String> = (0..24).map(|n| format!("(?:.*-)?[a-z]{n}x[a-z]{{{n}}}y.*", n = n + 2)).collect();
        let cells = Cells::of::<_, &str>(Domain::Tags, &many, &[]);
        assert!(!cells.complete, "{}", cells.list.len());
        assert!(!Cells::of::<_, &str>(Domain::Tags, &["(((a{1000}){1000}){1000})"], &[]).complete);
    }
}
