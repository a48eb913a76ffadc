//! Admission reviews: borrowed in, owned answers out, and where each kind keeps its images.
//!
//! The way of a review through this module:
//!
//! ```text
//! read(body) -> AdmissionRequest
//! consider(request) -> Pass ------------------------------------------> answer
//!                   -> UnknownKind -> policy's finding TW199 -> Verdict -> answer
//!                   -> Judge(Collected) -> images() -> plan, decide -> Verdict -> answer
//!                                                        for /mutate: Verdict -> patch -> answer
//! ```

mod consider;
mod exempt;
mod json;
mod patch;
mod pins;
mod pod;
mod request;
mod response;
mod text;
mod workload;

#[cfg(test)]
mod testing;

pub use consider::{About, Considered, Pass, consider};
pub use exempt::{Exempt, ExemptRequesters, exemption};
pub use json::skim;
pub use patch::{Annotating, Patch, Rewrite, patch, with_digest};
pub use pins::{PIN_KEY_BYTES, PROOF_LIFETIME, PinKeys, Proofs, prove, slot};
pub use pod::{IMAGES_ANNOTATION, PINS_ANNOTATION, PodMetadata, PullNames, RELEASE_ANNOTATION};
pub use request::{AdmissionRequest, Operation, ReviewError, UserInfo, read, uid_of};
pub use response::{Outcome, answer};
pub use text::{denial, warnings};
pub use workload::{Collected, WorkloadKind, Workloads};
