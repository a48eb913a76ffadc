//! Where a value ends, found without reading it.

use super::block::{BLOCK, Block, plain};

/// Where the object or list that begins at `start` ends; none: it does not.
pub(super) fn container_end(bytes: &[u8], start: usize) -> Option<usize> {
    let mut at = start;
    let mut depth = 0_usize;
    let mut strings = Strings::default();
    loop {
        let block = block_at(bytes, at)?;
        let inside = strings.inside(block);
        let (mut opens, mut closes) = (block.opens & !inside, block.closes & !inside);
        // Whatever their order, so few do not close it.
        if depth > closes.count_ones() as usize {
            depth = depth + opens.count_ones() as usize - closes.count_ones() as usize;
        } else {
            while closes != 0 {
                let bit = closes.trailing_zeros();
                let before = opens & ((1 << bit) - 1);
                opens ^= before;
                closes &= closes - 1;
                depth = (depth + before.count_ones() as usize).checked_sub(1)?;
                if depth == 0 {
                    return Some(at + bit as usize + 1);
                }
            }
            depth += opens.count_ones() as usize;
        }
        at += BLOCK;
    }
}

/// Where the string ends whose first byte, after the quote, is at `start`: behind its closing quote. None: it does not end.
pub(super) fn string_end(bytes: &[u8], start: usize) -> Option<usize> {
    let mut at = start;
    loop {
        at += plain(bytes.get(at..)?);
        match bytes.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

/// The block at a place, filled up with spaces at the end of the text; none beyond it.
fn block_at(bytes: &[u8], at: usize) -> Option<Block> {
    let rest = bytes.get(at..).filter(|rest| !rest.is_empty())?;
    Some(match rest.first_chunk::<BLOCK>() {
        Some(whole) => Block::of(whole),
        None => {
            let mut filled = [b' '; BLOCK];
            filled.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
            Block::of(&filled)
        }
    })
}

/// What goes on from one block to the next.
#[derive(Default)]
struct Strings {
    /// All ones within a string.
    inside: u64,
    /// One where the first byte of the next block is escaped.
    escaped: u64,
}

impl Strings {
    /// A bit for each byte of the block that is within a string, its opening quote among them.
    fn inside(&mut self, block: Block) -> u64 {
        let quotes = block.quotes & !self.escaped(block.backslashes);
        let inside = parity(quotes) ^ self.inside;
        // The last byte's bit, in all places.
        self.inside = 0_u64.wrapping_sub(inside >> 63);
        inside
    }

    /// A bit for each byte behind an odd number of backslashes: they escape it. The method is that of simdjson (Langdale and
    /// Lemire, "Parsing Gigabytes of JSON per Second", 2019): adding the starts of runs carries along the run.
    fn escaped(&mut self, backslashes: u64) -> u64 {
        const EVEN: u64 = 0x5555_5555_5555_5555;
        let before = std::mem::take(&mut self.escaped);
        if backslashes == 0 {
            return before;
        }
        let backslashes = backslashes & !before;
        let follows = (backslashes << 1) | before;
        let odd_starts = backslashes & !EVEN & !follows;
        let (even_runs, beyond) = odd_starts.overflowing_add(backslashes);
        self.escaped = u64::from(beyond);
        (EVEN ^ (even_runs << 1)) & follows
    }
}

/// A bit where the number of bits up to and with it is odd.
fn parity(mut bits: u64) -> u64 {
    for shift in [1, 2, 4, 8, 16, 32] {
        bits ^= bits << shift;
    }
    bits
}

#[cfg(test)]
mod tests {
    use super::{container_end, string_end};
    use proptest::prelude::*;

    #[test]
    fn a_container_ends_at_its_own_bracket() {
        for (text, end) in [
            ("{}", Some(2)),
            ("[]x", Some(2)),
            ("[[],[{}]] ]", Some(9)),
            (r#"{"a}":"\"}"}"#, Some(12)),
            (r#"{"a\\":1}}"#, Some(9)),
            ("{", None),
            (r#"{"a}"#, None),
            ("[[]", None),
        ] {
            assert_eq!(container_end(text.as_bytes(), 0), end, "{text}");
        }
    }

    #[test]
    fn a_string_ends_at_its_own_quote() {
        for (text, end) in
            [(r#"""#, Some(1)), (r#"a\"b"c"#, Some(5)), (r#"\\"#, None), (r#"\\""#, Some(3)), ("a", None)]
        {
            assert_eq!(string_end(text.as_bytes(), 0), end, "{text}");
        }
    }

    /// What serde_json takes for one value.
    fn plain_end(text: &str) -> Option<usize> {
        let mut values = serde_json::Deserializer::from_str(text).into_iter::<serde::de::IgnoredAny>();
        values.next()?.ok()?;
        Some(values.byte_offset())
    }

    proptest! {
        /// Strings of any length put brackets, quotes and runs of backslashes at all places of a block.
        #[test]
        fn containers_end_where_serde_json_ends_them(
            parts in proptest::collection::vec(("[a{}\\[\\]]{0,40}", 0_usize..70, any::<bool>(), 0_usize..4), 0..8),
            after in "[\\]}{ \"]{0,70}",
        ) {
            let mut text = "[".to_owned();
            for (plain, backslashes, quoted, nested) in &parts {
                if text.len() > 1 {
                    text.push(',');
                }
                let string = format!("\"{plain}{}{}\"", "\\\\".repeat(*backslashes), if *quoted { "\\\"" } else { "" });
                text.push_str(&format!("{}{string}{}", "[".repeat(*nested), "]".repeat(*nested)));
            }
            text.push(']');
            let end = text.len();
            text.push_str(&after);
            prop_assert_eq!(plain_end(&text[..end]), Some(end));
            prop_assert_eq!(container_end(text.as_bytes(), 0), Some(end));
            prop_assert_eq!(container_end(&text.as_bytes()[..end - 1], 0), None);
        }
    }
}
