//! Admission reviews: borrowed in, owned answers out, and where each kind keeps its images.
//!
//! The way of a review through this module:
//!
//! ```text
//! read(body) -> AdmissionRequest
//! consider(request) -> Pass ------------------------------------------> answer
//!                   -> UnknownKind -> policy's finding TW199 -> Verdict -> answer
//!                   -> Judge(Collected) -> images() -> plan, decide -> Verdict -> answer
//! ```

mod consider;
mod exempt;
mod request;
mod response;
mod text;
mod workload;

#[cfg(test)]
mod testing;

pub use consider::{About, Considered, Pass, consider};
pub use exempt::{Exempt, ExemptRequesters, exemption};
pub use request::{AdmissionRequest, Operation, ReviewError, UserInfo, read, uid_of};
pub use response::{Outcome, answer};
pub use text::{denial, warnings};
pub use workload::{Collected, WorkloadKind, Workloads};
