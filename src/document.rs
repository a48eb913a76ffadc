//! Positioned YAML and JSON documents: nodes with places, a strict reader that reports every problem, diagnostics.
//!
//! Policy files, the server's configuration and manifests are all read through here, so that every message can
//! show the line and a caret. Nothing here does input or output.

mod diagnostic;
mod edit;
mod emit;
mod node;
mod path;
mod read;
mod schema;
mod slot;
mod source;
mod structural;

pub use diagnostic::{Color, Diagnostic, Excerpt, Severity, render, render_excerpt};
pub use node::{Document, Entry, Node, Span, Value, parse};
pub use path::path_of;
pub use read::{Fields, Read, Reader, Spanned, Table, nearest};
pub use schema::{Later, schema_of};
pub use source::Source;
pub use structural::structural_schema_of;

pub(crate) use edit::{Edit, Edits};
pub(crate) use emit::to_yaml;
pub(crate) use path::push_key;
pub(crate) use read::{choice, object, printable};
pub(crate) use slot::{Written, entry, prepend, remove, rendered_text, set};
#[cfg(feature = "server")]
pub(crate) use slot::{behind, quote_of};
