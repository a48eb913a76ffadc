//! Sixty-four bytes at once: which of them are quotes, backslashes and brackets, a bit each.

use wide::u8x16;

/// The bytes of a block.
pub(super) const BLOCK: usize = 64;

/// Which bytes of a block are what; the first byte is the lowest bit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Block {
    pub quotes: u64,
    pub backslashes: u64,
    /// `{` and `[`.
    pub opens: u64,
    /// `}` and `]`.
    pub closes: u64,
}

/// What both cases of a bracket have in common with this bit: `[` is `{` without it, `]` is `}`.
const BRACKET: u8 = 0x20;

/// The bytes of a vector: every x86-64 and ARM processor has such ones.
const VECTOR: usize = 16;

impl Block {
    pub fn of(bytes: &[u8; BLOCK]) -> Self {
        let [quote, backslash, bracket, open, close] = [b'"', b'\\', BRACKET, b'{', b'}'].map(u8x16::splat);
        let mut block = Block::default();
        for (at, sixteen) in bytes.as_chunks::<VECTOR>().0.iter().enumerate() {
            let vector = u8x16::new(*sixteen);
            let with_bracket = vector | bracket;
            let bits = |equal: u8x16| u64::from(equal.to_bitmask()) << (at * VECTOR);
            block.quotes |= bits(vector.simd_eq(quote));
            block.backslashes |= bits(vector.simd_eq(backslash));
            block.opens |= bits(with_bracket.simd_eq(open));
            block.closes |= bits(with_bracket.simd_eq(close));
        }
        block
    }
}

/// How many bytes at the beginning are a string's own: no quote, no backslash, no control character.
pub(super) fn plain(bytes: &[u8]) -> usize {
    let [quote, backslash, last_control] = [b'"', b'\\', 0x1f].map(u8x16::splat);
    let (vectors, rest) = bytes.as_chunks::<VECTOR>();
    for (at, sixteen) in vectors.iter().enumerate() {
        let vector = u8x16::new(*sixteen);
        let control = vector.min(last_control).simd_eq(vector);
        let special = (control | vector.simd_eq(quote) | vector.simd_eq(backslash)).to_bitmask();
        if special != 0 {
            return at * VECTOR + special.trailing_zeros() as usize;
        }
    }
    let is_special = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..=0x1f);
    bytes.len() - rest.len() + rest.iter().position(is_special).unwrap_or(rest.len())
}

#[cfg(test)]
mod tests {
    use super::{BLOCK, Block, plain};
    use proptest::prelude::*;

    fn one_by_one(bytes: &[u8; BLOCK]) -> Block {
        let which = |wanted: [u8; 2]| {
            let bit = |(at, byte): (usize, &u8)| u64::from(wanted.contains(byte)) << at;
            bytes.iter().enumerate().map(bit).sum()
        };
        Block {
            quotes: which([b'"'; 2]),
            backslashes: which([b'\\'; 2]),
            opens: which([b'{', b'[']),
            closes: which([b'}', b']']),
        }
    }

    fn plain_one_by_one(bytes: &[u8]) -> usize {
        let special = |byte: &u8| matches!(byte, b'"' | b'\\') || *byte < b' ';
        bytes.iter().position(special).unwrap_or(bytes.len())
    }

    proptest! {
        #[test]
        fn vectors_see_what_a_look_at_each_byte_sees(bytes in proptest::collection::vec(any::<u8>(), BLOCK)) {
            let block: &[u8; BLOCK] = bytes.first_chunk().unwrap();
            prop_assert_eq!(Block::of(block), one_by_one(block));
        }

        #[test]
        fn the_same_among_the_bytes_that_matter(text in "[a\"\\\\{}\\[\\]\u{0}\u{1f} ~]{64}[a\"]{0,20}") {
            let block: &[u8; BLOCK] = text.as_bytes().first_chunk().unwrap();
            prop_assert_eq!(Block::of(block), one_by_one(block));
            prop_assert_eq!(plain(text.as_bytes()), plain_one_by_one(text.as_bytes()));
        }

        #[test]
        fn a_string_ends_where_its_first_special_byte_is(text in "[a-z\u{7f}-\u{ff}]{0,70}[\"\\\\\n]?[a-z]{0,20}") {
            prop_assert_eq!(plain(text.as_bytes()), plain_one_by_one(text.as_bytes()));
        }
    }
}
