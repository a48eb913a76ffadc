//! How strings from outside are shown: printable ASCII, bounded.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Bytes of an image that texts show.
pub const IMAGE_BYTES: usize = 120;

/// `text` as printable ASCII of at most `limit` bytes: everything else is escaped as Rust writes it (`\u{430}`, `\n`),
/// never cut inside an escape, and `...` stands at the end of what was cut.
#[must_use]
pub fn printable(text: &str, limit: usize) -> String {
    shown(text, limit).into_owned()
}

/// The same as [`printable`]: the text itself, where that is all that is to be shown.
#[must_use]
pub fn shown(text: &str, limit: usize) -> Cow<'_, str> {
    if text.len() <= limit && is_plain(text.as_bytes()) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len().min(limit));
    // Where the text may be cut so that the dots still fit.
    let mut cut = 0;
    for c in text.chars() {
        if is_plain(c.encode_utf8(&mut [0; 4]).as_bytes()) {
            out.push(c);
        } else {
            // Writing to a String cannot fail.
            let _ = write!(out, "{}", c.escape_default());
        }
        if out.len() + 3 <= limit {
            cut = out.len();
        }
        if out.len() > limit {
            out.truncate(cut);
            out.push_str("...");
            break;
        }
    }
    Cow::Owned(out)
}

/// Whether all are printable ASCII, but for the backslash. Most are, so they are looked at by words; the last word overlaps
/// the one before.
fn is_plain(bytes: &[u8]) -> bool {
    let Some(last) = bytes.last_chunk() else { return bytes.iter().all(|b| (b' '..=b'~').contains(b) && *b != b'\\') };
    let (words, _) = bytes.as_chunks();
    is_word_plain(u64::from_ne_bytes(*last)) && words.iter().all(|word| is_word_plain(u64::from_ne_bytes(*word)))
}

/// The same of eight bytes.
fn is_word_plain(word: u64) -> bool {
    const ONES: u64 = u64::MAX / 255;
    // Where no byte is above 127, none of these lets a bit over into the next byte that was not found in its own.
    let above = word | word.wrapping_add(ONES);
    let below = |word: u64, bound: u8| word.wrapping_sub(ONES * u64::from(bound)) & !word;
    (above | below(word, b' ') | below(word ^ (ONES * u64::from(b'\\')), 1)) & (ONES << 7) == 0
}

/// The first few of a list, and how many more there are: `a, b, c, +4 more`.
pub(crate) fn first_few<S: AsRef<str>>(items: &[S], most: usize) -> String {
    let shown: Vec<&str> = items.iter().take(most).map(AsRef::as_ref).collect();
    let mut out = shown.join(", ");
    if items.len() > most {
        let _ = write!(out, ", +{} more", items.len() - most);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{first_few, printable, shown};
    use std::borrow::Cow;

    #[test]
    fn everything_but_printable_ascii_is_escaped() {
        assert_eq!(printable("nginx:1", 120), "nginx:1");
        assert_eq!(printable("a\u{430}\n\x1b[31m", 120), "a\\u{430}\\n\\u{1b}[31m");
        assert_eq!(printable("a\\n", 120), "a\\\\n", "a written backslash is not taken for an escape");
    }

    #[test]
    fn what_needs_no_change_is_not_copied() {
        assert!(matches!(shown("nginx:1", 7), Cow::Borrowed("nginx:1")));
        assert!(matches!(shown("nginx:1", 6), Cow::Owned(cut) if cut == "ngi..."));
        assert!(matches!(shown("a\n", 120), Cow::Owned(escaped) if escaped == "a\\n"));
    }

    /// By words or byte by byte, wherever the byte is.
    #[test]
    fn every_byte_is_looked_at() {
        for length in 1..20 {
            for place in 0..length {
                for c in (0..=0x17f).filter_map(char::from_u32) {
                    let text: String = (0..length).map(|at| if at == place { c } else { 'x' }).collect();
                    let plain = (' '..='~').contains(&c) && c != '\\';
                    assert_eq!(matches!(shown(&text, 120), Cow::Borrowed(_)), plain, "{text:?}");
                }
            }
        }
    }

    #[test]
    fn cuts_fit_the_limit_and_never_split_an_escape() {
        assert_eq!(printable("abcdefgh", 8), "abcdefgh");
        assert_eq!(printable("abcdefghi", 8), "abcde...");
        for limit in 3..40 {
            let shown = printable(&"\u{430}".repeat(20), limit);
            assert!(shown.len() <= limit, "{shown}");
            assert_eq!(shown.matches('{').count(), shown.matches('}').count(), "{shown}");
        }
    }

    #[test]
    fn lists_say_how_many_more_there_are() {
        assert_eq!(first_few(&["a", "b"], 3), "a, b");
        assert_eq!(first_few(&["a", "b", "c"], 2), "a, b, +1 more");
    }
}
