//! Releases: which images a system consists of, each at one version, as one file declares it.
//!
//! Nothing here does input or output. Which release governs a namespace is the server's configuration; whether an image
//! agrees with one is judged in [`crate::policy`].

mod model;

mod canonical;
mod check;
mod file;

mod change;

mod diff;
mod import;
mod made;
mod values;

mod schema;

pub use change::{Change, ImageChange};
pub use check::{commit_in, is_moving};
pub use diff::{Compared, Difference, ImageDifference, ValueDifference};
pub use file::{Build, Origin, ReleaseFile, is_address, is_commit, is_name, problem_of_tag};
pub use import::{Import, ImportTerms, Imported, import};
pub use made::{names_for, names_of};
pub use model::{Image, Release};
pub use schema::{release_schema, release_structure};
pub use values::ValuesStyle;
