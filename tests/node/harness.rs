//! What every scenario stands on: a cluster, the chart's release in it, steady load, and a table of results.
//!
//! Much of it is the harness of the suite against a real API server.

#[path = "../cluster/harness/assets.rs"]
mod assets;
mod cert_manager;
mod cluster;
#[expect(dead_code, reason = "this suite needs nothing but a plain GET")]
#[path = "../cluster/harness/http.rs"]
pub mod http;
mod images;
#[expect(dead_code, reason = "this suite creates and replaces nothing by hand")]
#[path = "../cluster/harness/kubectl.rs"]
mod kubectl;
mod load;
mod node;
#[path = "../cluster/harness/pki.rs"]
mod pki;
#[path = "../cluster/harness/process.rs"]
mod process;
mod release;
mod report;
#[path = "../cluster/harness/wait.rs"]
mod wait;
mod workload;

pub use cert_manager::{CertManager, Injector};
pub use cluster::Cluster;
pub use images::{API, Crane, FLOATING, NGINX, folder_of};
pub use kubectl::{Kubectl, Outcome};
pub use load::{Load, Mix};
pub use node::{Node, WEBHOOK_CLIENT};
pub use pki::Authority;
pub use release::{CRD, INFRASTRUCTURE, NAMESPACE, Release, merged, policy, registry, stamped};
pub use report::{Report, Row};
pub use wait::{PATIENCE, until, until_true};
pub use workload::workload;
