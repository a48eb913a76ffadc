//! Which texts of a kind are told apart by many patterns, decided by walking automata, with a shortest example of each.
//!
//! Patterns over a kind of text cut it into cells: all texts that exactly the same patterns match. There are finitely
//! many, and every question of overlap ("is this glob ever the first to match?", "does this class add anything?") is a
//! question about which cells there are. To list them, the automaton of all patterns together is walked side by side
//! with that of the texts there are at all, breadth first, so that the first text seen in a cell is a shortest one.

mod domain;
mod tag_classes;

use std::collections::HashSet;
use std::hash::{BuildHasherDefault, Hasher};

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
    /// The same for the patterns of a [`Refinement`].
    pub refined: Vec<usize>,
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

/// Patterns that cut a domain in the same way again and again, beside others that change. What is learned of their
/// automaton in one walk is there for the next.
#[derive(Debug)]
pub struct Refinement {
    automaton: DFA,
    cache: Cache,
}

impl Refinement {
    /// Of patterns as [`super::GlobSet`] reads them; pattern N is id N. None: they are too large.
    pub fn of<P: AsRef<str>>(patterns: &[P]) -> Option<Self> {
        let automaton = together(patterns)?;
        Some(Refinement { cache: automaton.create_cache(), automaton })
    }
}

impl Cells {
    /// Lists the cells of `domain` under `patterns` (as [`super::GlobSet`] reads them; pattern N is id N). Of several
    /// examples of a cell, one of `samples` is taken rather than a shortest text.
    #[must_use]
    pub fn of<P: AsRef<str>, S: AsRef<str>>(domain: Domain, patterns: &[P], samples: &[S]) -> Cells {
        let mut unrefined = Refinement::of::<&str>(&[]);
        unrefined.as_mut().map_or_else(Cells::default, |none| Self::refined(domain, none, patterns, samples))
    }

    /// The same where the patterns of `refinement` tell texts apart as well.
    #[must_use]
    pub fn refined<P: AsRef<str>, S: AsRef<str>>(
        domain: Domain,
        refinement: &mut Refinement,
        patterns: &[P],
        samples: &[S],
    ) -> Cells {
        let Some(mut own) = Refinement::of(patterns) else { return Cells::default() };
        let mut walk = Walk {
            texts: domain.texts(),
            refinement,
            patterns: &mut own,
            pairs: Vec::new(),
            known: HashSet::default(),
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

/// A state of each automaton.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct States {
    text: StateID,
    refinement: LazyStateID,
    patterns: LazyStateID,
}

/// States, and how they were come by.
struct Pair {
    states: States,
    /// Where they were come from, and by which byte.
    from: Option<(u32, u8)>,
}

struct Walk<'w> {
    texts: &'static Texts,
    refinement: &'w mut Refinement,
    patterns: &'w mut Refinement,
    pairs: Vec<Pair>,
    known: HashSet<States, BuildHasherDefault<Mixer>>,
    /// The cells found, by what matches.
    seen: HashSet<(Vec<usize>, Vec<usize>)>,
    cells: Cells,
}

impl Walk<'_> {
    /// Walks to the end; none: it is too far.
    fn run<S: AsRef<str>>(&mut self, samples: &[S]) -> Option<()> {
        let start = States {
            text: self.texts.automaton.start_state_forward(&Input::new("").anchored(Anchored::Yes)).ok()?,
            refinement: self.refinement.start()?,
            patterns: self.patterns.start()?,
        };
        for sample in samples {
            self.sample(start, sample.as_ref())?;
        }
        let alphabet = self.alphabet();
        self.reach(start, None)?;
        let mut level = 0..1;
        for length in 0..=self.texts.longest {
            for at in level.clone() {
                self.look_at(at)?;
                if length < self.texts.longest {
                    self.step_from(at, &alphabet)?;
                }
            }
            level = level.end..self.pairs.len();
        }
        Some(())
    }

    /// One byte of each class that no automaton tells apart: the one that reads best.
    fn alphabet(&self) -> Vec<u8> {
        let mut classes = HashSet::new();
        let texts = self.texts.automaton.byte_classes();
        let (refinement, patterns) = (self.refinement.automaton.byte_classes(), self.patterns.automaton.byte_classes());
        let is_new = |byte: &u8| classes.insert((texts.get(*byte), refinement.get(*byte), patterns.get(*byte)));
        self.texts.alphabet.bytes().filter(is_new).collect()
    }

    /// The states after one byte more.
    fn step(&mut self, states: States, byte: u8) -> Option<States> {
        Some(States {
            text: self.texts.automaton.next_state(states.text, byte),
            refinement: self.refinement.next(states.refinement, byte)?,
            patterns: self.patterns.next(states.patterns, byte)?,
        })
    }

    fn step_from(&mut self, at: usize, alphabet: &[u8]) -> Option<()> {
        let states = self.pairs[at].states;
        let from = u32::try_from(at).ok()?;
        for &byte in alphabet {
            let text = self.texts.automaton.next_state(states.text, byte);
            // Dead: no text goes on like this.
            if !self.texts.automaton.is_dead_state(text) {
                let next = self.step(states, byte)?;
                self.reach(next, Some((from, byte)))?;
            }
        }
        Some(())
    }

    fn reach(&mut self, states: States, from: Option<(u32, u8)>) -> Option<()> {
        if self.known.insert(states) {
            self.pairs.push(Pair { states, from });
        }
        (self.pairs.len() <= MAX_PAIRS).then_some(())
    }

    /// Notes the cell of the texts that end here, if any text may.
    fn look_at(&mut self, at: usize) -> Option<()> {
        if let Some(cell) = self.matched(self.pairs[at].states)?
            && !self.seen.contains(&cell)
        {
            let example = self.text_of(at);
            self.note(cell, example);
        }
        Some(())
    }

    /// Notes the cell of a sample, if it is a text of the domain at all.
    fn sample(&mut self, mut states: States, sample: &str) -> Option<()> {
        if sample.len() > self.texts.longest {
            return Some(());
        }
        for byte in sample.bytes() {
            states = self.step(states, byte)?;
        }
        if let Some(cell) = self.matched(states)? {
            self.note(cell, sample.to_owned());
        }
        Some(())
    }

    fn note(&mut self, cell: (Vec<usize>, Vec<usize>), example: String) {
        if self.seen.insert(cell.clone()) {
            let (refined, matched) = cell;
            self.cells.list.push(Cell { matched, refined, example });
        }
    }

    /// What matches a text that ends in these states, refinement first; none where no text of the domain does.
    fn matched(&mut self, states: States) -> Option<Option<(Vec<usize>, Vec<usize>)>> {
        let text = self.texts.automaton.next_eoi_state(states.text);
        if !self.texts.automaton.is_match_state(text) {
            return Some(None);
        }
        Some(Some((self.refinement.matched(states.refinement)?, self.patterns.matched(states.patterns)?)))
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

/// Steps of a lazy automaton; none: it grew too large.
impl Refinement {
    fn start(&mut self) -> Option<LazyStateID> {
        self.automaton.start_state_forward(&mut self.cache, &Input::new("").anchored(Anchored::Yes)).ok()
    }

    fn next(&mut self, state: LazyStateID, byte: u8) -> Option<LazyStateID> {
        self.automaton.next_state(&mut self.cache, state, byte).ok()
    }

    /// Ids of the patterns that match what ends in a state.
    fn matched(&mut self, state: LazyStateID) -> Option<Vec<usize>> {
        let end = self.automaton.next_eoi_state(&mut self.cache, state).ok()?;
        if !end.is_match() {
            return Some(Vec::new());
        }
        let matches = 0..self.automaton.match_len(&self.cache, end);
        let ids = matches.map(|index| self.automaton.match_pattern(&self.cache, end, index).as_usize());
        let mut ids: Vec<usize> = ids.collect();
        ids.sort_unstable();
        Some(ids)
    }
}

/// A hasher for three small numbers of our own making: nobody chooses them to collide, and there are millions.
#[derive(Default)]
struct Mixer(u64);

impl Hasher for Mixer {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u32(&mut self, number: u32) {
        self.write_u64(u64::from(number));
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = (self.0.rotate_left(5) ^ number).wrapping_mul(0x517c_c1b7_2722_0a95);
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
        let found: Vec<_> = cells.list.iter().map(|cell| (cell.matched.as_slice(), cell.example.as_str())).collect();
        assert_eq!(found, [(&[0][..], "latest"), (&[], "0")]);
    }

    #[test]
    fn a_refinement_cuts_as_its_patterns_would_and_can_be_used_again() {
        let mut refinement = Refinement::of(&["a+", "b+"]).unwrap();
        for _ in 0..2 {
            let cells = Cells::refined::<_, &str>(Domain::Tags, &mut refinement, &["[ab]"], &[]);
            let mut found: Vec<_> =
                cells.list.into_iter().map(|cell| (cell.refined, cell.matched, cell.example)).collect();
            found.sort();
            let expected = [
                (vec![], vec![], "c"),
                (vec![0], vec![], "aa"),
                (vec![0], vec![0], "a"),
                (vec![1], vec![], "bb"),
                (vec![1], vec![0], "b"),
            ];
            assert_eq!(found, expected.map(|(refined, matched, text)| (refined, matched, text.to_owned())));
        }
    }

    #[test]
    fn what_is_too_large_is_said_not_guessed() {
        // Whether the nineteenth byte from the end is an `a` takes two to the power of nineteen states to know.
        let cells = Cells::of::<_, &str>(Domain::Tags, &["[ab]*a[ab]{18}"], &[]);
        assert!(!cells.complete && !cells.list.is_empty());
        assert!(!Cells::of::<_, &str>(Domain::Tags, &["(((a{1000}){1000}){1000})"], &[]).complete);
    }
}
