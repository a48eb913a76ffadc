//! Changes to a text: applied side by side, never one over the other.

use super::Span;

/// Some bytes of a text (or none), and what goes into their place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Edit {
    pub span: Span,
    pub text: String,
}

/// Edits in the order of their places, each once; an edit that would touch another's bytes, or go to the same place with
/// another text, is not added.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Edits(Vec<Edit>);

impl Edits {
    /// Adds an edit; false where it contradicts one that is there.
    pub fn add(&mut self, edit: Edit) -> bool {
        let at = self.0.partition_point(|other| (other.span.start, other.span.end) < (edit.span.start, edit.span.end));
        let next = self.0.get(at);
        if next == Some(&edit) {
            return true;
        }
        let after_previous = at == 0 || self.0[at - 1].span.end < edit.span.start;
        let before_next = next.is_none_or(|next| edit.span.end < next.span.start);
        if after_previous && before_next {
            self.0.insert(at, edit);
            return true;
        }
        false
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    #[cfg(feature = "server")]
    pub fn as_slice(&self) -> &[Edit] {
        &self.0
    }

    /// The text with all of them made.
    pub fn apply(&self, text: &str) -> String {
        self.apply_within(text, &(0..text.len()))
    }

    /// A part of the text with those made that lie in it.
    pub fn apply_within(&self, text: &str, part: &Span) -> String {
        let mut out = String::with_capacity(part.len() + 80);
        let mut at = part.start;
        for edit in self.0.iter().filter(|edit| part.start <= edit.span.start && edit.span.end <= part.end) {
            out.push_str(&text[at..edit.span.start]);
            out.push_str(&edit.text);
            at = edit.span.end;
        }
        out.push_str(&text[at..part.end]);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::{Edit, Edits};

    fn edit(span: std::ops::Range<usize>, text: &str) -> Edit {
        Edit { span, text: text.to_owned() }
    }

    #[test]
    fn edits_are_made_in_order_and_never_over_each_other() {
        let mut edits = Edits::default();
        assert!(edits.add(edit(6..6, "X")));
        assert!(edits.add(edit(1..3, "Y")));
        assert!(edits.add(edit(1..3, "Y")), "the same again is no contradiction");
        assert!(!edits.add(edit(1..3, "Z")));
        assert!(!edits.add(edit(2..4, "Y")));
        assert!(!edits.add(edit(6..6, "Z")));
        assert_eq!(edits.apply("0123456789"), "0Y345X6789");
        assert_eq!(edits.apply_within("0123456789", &(4..8)), "45X67");
    }
}
