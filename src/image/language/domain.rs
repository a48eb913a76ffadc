//! The kinds of text that patterns are held against: image names, tags, names of namespaces.

use std::sync::LazyLock;

use regex_automata::MatchKind;
use regex_automata::dfa::{StartKind, dense};
use regex_automata::nfa::thompson::{Compiler, WhichCaptures};

use super::super::{glob_set, grammar};

/// A kind of text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Domain {
    /// Canonical registry and repository, as [`super::super::Reference::write_name`] writes them: every name that a
    /// reference can have is among these, and next to nothing else.
    Names,
    /// Tags.
    Tags,
    /// Names of namespaces: DNS labels of RFC 1123.
    Namespaces,
}

/// How the texts of a domain are walked.
pub(super) struct Texts {
    pub automaton: dense::DFA<Vec<u32>>,
    /// Every byte that a text can have, those first that read best in an example.
    pub alphabet: &'static str,
    /// Bytes of the longest text; of an image name more than any glob that fits a line has.
    pub longest: usize,
}

impl Domain {
    pub(super) fn texts(self) -> &'static Texts {
        match self {
            Domain::Names => &NAMES,
            Domain::Tags => &TAGS,
            Domain::Namespaces => &NAMESPACES,
        }
    }
}

/// A host has a `.`, a `:` or is `localhost`: anything else is the first component of a path on docker.io.
static NAMES: LazyLock<Texts> = LazyLock::new(|| {
    const LABEL: &str = "[a-z0-9](?:[a-z0-9-]*[a-z0-9])?";
    const PORT: &str = ":[1-9][0-9]{0,4}";
    const COMPONENT: &str = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*";
    let host = format!(r"(?:{LABEL}(?:\.{LABEL})+(?:{PORT})?|{LABEL}{PORT}|localhost|\[[0-9a-f:.]+\](?:{PORT})?)");
    texts(&format!("{host}/{COMPONENT}(?:/{COMPONENT})*"), "abcdefghijklmnopqrstuvwxyz-./0123456789:_[]", 4096)
});

static TAGS: LazyLock<Texts> = LazyLock::new(|| {
    let alphabet = "abcdefghijklmnopqrstuvwxyz0123456789-._ABCDEFGHIJKLMNOPQRSTUVWXYZ";
    texts("[A-Za-z0-9_][A-Za-z0-9_.-]*", alphabet, grammar::MAX_TAG_BYTES)
});

static NAMESPACES: LazyLock<Texts> =
    LazyLock::new(|| texts("[a-z0-9](?:[a-z0-9-]*[a-z0-9])?", "abcdefghijklmnopqrstuvwxyz-0123456789", 63));

#[expect(clippy::expect_used, reason = "three constants, each of which a test compiles")]
fn texts(pattern: &str, alphabet: &'static str, longest: usize) -> Texts {
    let tree = glob_set::read(pattern).expect("a domain is a pattern");
    let plain = regex_automata::nfa::thompson::Config::new().utf8(false).which_captures(WhichCaptures::None);
    let states = Compiler::new().configure(plain).build_from_hir(&tree).expect("a domain is small");
    // Minimal, so that a state from which no text can end is the dead one.
    let config = dense::Config::new().match_kind(MatchKind::All).start_kind(StartKind::Anchored).minimize(true);
    let automaton = dense::Builder::new().configure(config).build_from_nfa(&states).expect("a domain is small");
    Texts { automaton, alphabet, longest }
}
