//! Everything that is tested from outside and needs no cluster, as one binary.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod cases;
mod coverage;
mod diagnostics;
mod invariants;
mod schema;
