//! A cluster that a command asks as whoever runs it.

use anyhow::Context as _;
use tokio::runtime::Runtime;

use crate::cluster::Cluster;

/// A cluster, and what waits for its answers.
pub(super) struct Live {
    pub runtime: Runtime,
    pub cluster: Cluster,
}

impl Live {
    /// The cluster of a context of the kubeconfig, or of its current one. Nothing is asked yet.
    ///
    /// # Errors
    /// One sentence that says what to do: there is no kubeconfig or no such context, or it cannot be used.
    pub fn reach(context: Option<&str>) -> anyhow::Result<Self> {
        // One thread is enough for waiting.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.context("cannot start what asks the API server")?;
        let cluster = runtime.block_on(Cluster::of_caller(context)).map_err(anyhow::Error::msg)?;
        Ok(Live { runtime, cluster })
    }
}
