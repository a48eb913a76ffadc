//! Real registries for both suites.

pub mod real;
pub mod token_server;
