//! What every test of the suite stands on: a shared cluster, and a bed for each test in it.
//!
//! Processes end with the suite, also when it panics or is killed (see `process`). Tests run side by
//! side: each has a namespace, a server and webhook configurations of its own, and a configuration
//! selects nothing but its test's namespace.

mod assets;
mod balancer;
mod bed;
mod control_plane;
pub mod http;
mod kubectl;
mod pki;
mod process;
mod server;
mod wait;
mod webhooks;

pub use assets::Assets;
pub use balancer::{Backend, Balancer};
pub use bed::Bed;
pub use control_plane::{Cluster, User};
pub use kubectl::{Kubectl, Outcome};
pub use pki::Authority;
pub use server::{Server, ServerOptions, identity, program};
pub use wait::{PATIENCE, until, until_true};
pub use webhooks::{CallPath, Registration, Webhooks};
