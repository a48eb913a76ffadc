//! Image references as container runtimes read them: references, tags and their classes, digests, globs.

mod digest;
mod digest_buf;
mod error;
mod glob;
mod glob_set;
mod grammar;
mod host;
mod language;
mod name_glob;
mod platform;
mod reference;
mod refusal;
mod tag;

#[cfg(test)]
mod properties;

pub use digest::{Algorithm, Digest};
pub use digest_buf::DigestBuf;
pub use error::{ReferenceError, ReferenceErrorReason};
pub use glob::{GlobError, ImageGlob};
pub use glob_set::{GlobSet, is_pattern};
pub use language::{Cell, Cells, Domain, Refinement, tag_class_patterns};
pub use name_glob::NameGlob;
pub use platform::Platform;
pub use reference::Reference;
pub use refusal::{Refusal, Refusals};
pub use tag::{Class, Classes, TagFacts};

/// The longest input that is read as a reference, in bytes.
pub const MAX_REFERENCE_BYTES: usize = 4096;
