//! The suite against a real API server: what kubectl and the controllers see of us.
//!
//! Run it with `make e2e`. Names of tests carry the row of the checklist in the admission contract
//! that they hold.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a helper of a test fails the test")]

mod away;
mod calls;
mod certificates;
mod chart;
mod harness;
mod history;
mod hooks;
mod large;
mod modes;
mod objects;
mod person;
mod pins;
mod places;
mod plugin;
mod policies;
#[expect(dead_code, reason = "each suite uses a part of it")]
#[path = "../registries/suite.rs"]
mod registries;
mod releases;
#[expect(dead_code, reason = "each suite uses a part of it")]
#[path = "../it/chart/render.rs"]
mod render;
mod replicas;
mod running;
mod tenants;
