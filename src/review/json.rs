//! JSON at the speed of a review: what nobody asks for is passed over by 64 bytes at once, not parsed.
//!
//! Most of a review is `managedFields`, and whatever else a verdict does not depend on. serde_json looks at each byte of
//! that; here only its brackets and strings are counted. What is asked for is read as strictly as serde_json does (numbers
//! and escapes are read by it), and where this reader stops for any reason, serde_json reads the text once more and has the
//! last word, its error included. So the two differ in one thing: text that is not JSON, in a place that nobody asks for, is
//! no error here. The API server writes none.

mod block;
mod scan;
mod skim;

use serde::Deserialize;
use serde::de::DeserializeSeed;
use skim::Skim;

/// Reads a text, as `serde_json::from_str` does.
///
/// # Errors
/// Those of serde_json.
pub(super) fn from_str<'a, T: Deserialize<'a>>(text: &'a str) -> serde_json::Result<T> {
    match skim(text) {
        Some(read) => Ok(read),
        None => serde_json::from_str(text),
    }
}

/// Reads a text as far as `T` asks for it; none where serde_json must have the last word: mostly, because it is wrong.
#[must_use]
pub fn skim<'a, T: Deserialize<'a>>(text: &'a str) -> Option<T> {
    seeded(text, std::marker::PhantomData)
}

/// The same for whatever a seed asks for, which may have taken half of it in where the answer is none.
pub(super) fn seeded<'a, S: DeserializeSeed<'a>>(text: &'a str, seed: S) -> Option<S::Value> {
    let mut skim = Skim::new(text);
    let read = seed.deserialize(&mut skim).ok()?;
    skim.is_at_the_end().then_some(read)
}

#[cfg(test)]
mod tests;
