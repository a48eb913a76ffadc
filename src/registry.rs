//! Registries: from a plan's lookups to facts, and nothing that a policy did not name is ever contacted.
//!
//! ```text
//! Plan -> Resolver::facts -> cache (single flight, stale, breaker) -> Remote (protocol, auth) -> Client (egress, TLS)
//! ```

pub mod credentials;
mod failure;
mod settings;

mod auth;
mod client;
mod egress;
mod remote;

mod cache;
mod resolver;

#[cfg(test)]
mod testing;

pub use failure::{Failure, FailureKind};
pub use remote::Inspection;
pub use resolver::{Asker, Description, Resolver};
pub use settings::{CacheSettings, ConfiguredCredentials, Helper, LookupLimits, RegistrySettings, Settings};
