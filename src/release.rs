//! Releases: which images a system consists of, each at one version, as one file declares it.
//!
//! Nothing here does input or output. Which release governs a namespace is the server's configuration; whether an image
//! agrees with one is judged in [`crate::policy`].

mod model;

pub use model::{Image, Release};
