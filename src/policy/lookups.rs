//! From what an examination wants to know to a plan's lookups: one for each question, whoever asks it.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::OnceLock;

use super::{Age, Asked, Budget, Lookup};

/// How many lookups are compared one by one before an index is made. Few reviews have more.
const FEW: usize = 16;

/// Something that an examination wants to know of its image's repository.
#[derive(Debug)]
pub(super) enum Want<'x> {
    /// The digest of the image's own tag.
    Own(Age),
    /// The digest of another tag.
    Other(Cow<'x, str>, Age, Budget),
    /// The labels of a digest.
    Labels(Cow<'x, str>),
    /// What the image of a digest says of itself.
    Image(Cow<'x, str>),
    /// The list of tags.
    Tags,
}

/// Texts that lookups borrow and that stem from answers: each is kept once, and none moves.
///
/// A plan is asked again and again while lookups of it are in flight, so what it lends may only be added to.
#[derive(Clone, Debug, Default)]
pub(super) struct Shelf(OnceLock<Box<Board>>);

/// Some places of a shelf, and where it goes on.
#[derive(Clone, Debug, Default)]
struct Board {
    places: [OnceLock<Box<str>>; 32],
    next: Shelf,
}

impl Shelf {
    /// The same text, for as long as the shelf is there.
    pub fn keep(&self, text: &str) -> &str {
        let mut shelf = self;
        loop {
            let board = shelf.0.get_or_init(Box::default);
            for place in &board.places {
                let kept = place.get_or_init(|| text.into());
                if **kept == *text {
                    return kept;
                }
            }
            shelf = &board.next;
        }
    }
}

/// Lookups without repetition.
#[derive(Default)]
pub(super) struct Wanted<'p> {
    lookups: Vec<Lookup<'p>>,
    /// Where the lookup of a key is, once there are more than a few.
    index: HashMap<Key<'p>, usize>,
}

/// What makes two lookups the same question: the repository, what is asked, and of what.
type Key<'p> = (&'p str, u8, &'p str);

fn key<'p>(lookup: &Lookup<'p>) -> Key<'p> {
    match lookup.what {
        Asked::Digest { tag, .. } => (lookup.name, 0, tag),
        Asked::Labels { digest } => (lookup.name, 1, digest),
        Asked::Image { digest } => (lookup.name, 2, digest),
        Asked::Tags => (lookup.name, 3, ""),
    }
}

impl<'p> Wanted<'p> {
    /// Adds a question. Where it is there already, the more demanding of the two stays.
    pub fn add(&mut self, lookup: Lookup<'p>) {
        let wanted = key(&lookup);
        let known = match self.lookups.len() <= FEW {
            true => self.lookups.iter().position(|known| key(known) == wanted),
            false => self.index.get(&wanted).copied(),
        };
        if let Some(known) = known.and_then(|index| self.lookups.get_mut(index)) {
            merge(&mut known.what, &lookup.what);
            return;
        }
        self.lookups.push(lookup);
        match self.lookups.len() {
            len if len <= FEW => {}
            len if len == FEW + 1 => self.index = self.lookups.iter().map(key).zip(0..).collect(),
            len => {
                self.index.insert(wanted, len - 1);
            }
        }
    }

    pub fn into_lookups(self) -> Vec<Lookup<'p>> {
        self.lookups
    }
}

/// An answer of now answers a remembered one too, and what a review asks for itself counts as that.
fn merge(known: &mut Asked<'_>, other: &Asked<'_>) {
    let Asked::Digest { age, budget, floating, .. } = known else { return };
    let Asked::Digest { age: other_age, budget: other_budget, floating: other_floating, .. } = other else { return };
    if *other_age == Age::Now {
        *age = Age::Now;
    }
    if *other_budget == Budget::Review {
        *budget = Budget::Review;
    }
    *floating |= *other_floating;
}

#[cfg(test)]
mod tests {
    use super::{Age, Asked, Budget, Lookup, Shelf, Wanted};

    #[test]
    fn a_shelf_keeps_each_text_once_and_where_it_is() {
        let shelf = Shelf::default();
        let texts: Vec<String> = (0..100).map(|n| format!("v{n}")).collect();
        let kept: Vec<&str> = texts.iter().map(|text| shelf.keep(text)).collect();
        assert_eq!(kept, texts);
        for (text, first) in texts.iter().zip(kept) {
            assert!(std::ptr::eq(shelf.keep(text), first), "{text}");
        }
    }

    #[test]
    fn the_same_question_is_asked_once_and_in_its_most_demanding_form() {
        let digest =
            |tag, age, budget| Lookup { name: "r/a", what: Asked::Digest { tag, floating: false, age, budget } };
        let tags: Vec<String> = (0..40).map(|n| format!("v{n}")).collect();
        let mut wanted = Wanted::default();
        for tag in tags.iter().chain(&tags) {
            wanted.add(digest(tag, Age::Remembered, Budget::Search));
        }
        wanted.add(digest("v3", Age::Now, Budget::Review));
        wanted.add(digest("v39", Age::Now, Budget::Search));
        wanted.add(Lookup { name: "r/b", what: Asked::Tags });
        let lookups = wanted.into_lookups();
        assert_eq!(lookups.len(), 41);
        assert_eq!(lookups[3], digest("v3", Age::Now, Budget::Review));
        assert_eq!(lookups[39], digest("v39", Age::Now, Budget::Search));
    }
}
