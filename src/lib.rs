//! Tagwarden: a Kubernetes admission webhook that enforces image-tag policy, and the command line beside it.
//!
//! Data flows one way, through seven nouns and six functions:
//!
//! ```text
//! bytes -> Request -> Vec<ImageUse> -> Plan -> Facts -> Verdict -> Response -> bytes
//!         review      review/workload   policy  registry  policy    review
//! ```
//!
//! `image`, `document`, `release`, `policy` and `review` are the engine: pure, synchronous, without input or output,
//! without a clock, and available without the feature `server`. Everything else is the shell around it.

// The engine, in reading order. Blank lines keep it: the formatter sorts what stands together.
pub mod image;

pub mod document;

pub mod release;

pub mod policy;

pub mod review;

// The shell, in reading order.
#[cfg(feature = "server")]
pub mod config;

#[cfg(feature = "server")]
pub mod metrics;

#[cfg(feature = "server")]
pub mod registry;

#[cfg(feature = "server")]
pub mod telemetry;

#[cfg(feature = "server")]
pub mod watch;

#[cfg(feature = "server")]
pub mod history;

#[cfg(feature = "server")]
pub mod certs;

#[cfg(feature = "server")]
pub mod cluster;

#[cfg(feature = "server")]
pub mod server;

#[cfg(feature = "server")]
pub mod cli;
