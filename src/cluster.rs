//! The cluster we serve: the only place that talks to its API server, and the only one that may be without it.

mod ask;
mod authority;
mod custom_objects;
mod document;
mod events;
mod inventory;
mod leader;
mod namespaces;
mod pin_key;
mod pods;
mod pull_secrets;
mod reader;
#[cfg(test)]
mod secret_double;
mod services;
mod webhook_configurations;

pub use authority::{AuthoritySecret, SecretData, StoredAuthority, Written};
pub use custom_objects::{CustomObjects, Listing, StoredObject, StoredObjects};
pub use document::{Document, Stored};
pub use events::Events;
pub use inventory::{Inventory, LeftOut, OwnerName, RunningWorkload, Scope};
pub use leader::{Leadership, Lease};
pub use namespaces::Namespaces;
pub use pin_key::{KeyBytes, PinKey, StoredKeys};
pub use pods::Pods;
pub use pull_secrets::{PullSecretBytes, PullSecretKind, PullSecrets, RawPullSecret};
pub use reader::{Page, Reader, Unread};
pub use services::{ServiceAddress, Services};
pub use webhook_configurations::{
    Deleted, ServiceTarget, Target, Webhook, WebhookConfiguration, WebhookConfigurations, WebhookKind,
};

use std::time::Duration;

use kube::config::{KubeConfigOptions, Kubeconfig};

/// The longest that the API server may be silent on a connection over which a Lease is held.
const SILENCE: Duration = Duration::from_secs(3);

/// A way to the API server.
#[derive(Clone)]
pub struct Cluster {
    client: kube::Client,
    /// For a library that bounds none of its questions: it gives up a connection whose other end has died silently.
    impatient: kube::Client,
    /// For answers that are wanted as they are: nothing is asked again because of its status.
    once: kube::Client,
}

impl Cluster {
    /// The in-cluster configuration, else the file that KUBECONFIG names. Sends nothing yet.
    ///
    /// # Errors
    /// One sentence that says what to do: there is neither, or it cannot be read.
    pub async fn configured() -> Result<Self, String> {
        let config = match kube::Config::incluster() {
            Ok(config) => config,
            Err(_) if std::env::var_os("KUBECONFIG").is_none_or(|value| value.is_empty()) => {
                return Err(
                    "this is no Pod and KUBECONFIG is not set: name a cluster there (`serve` also works without one, by --no-cluster)"
                        .to_owned(),
                );
            }
            Err(_) => from_kubeconfig(None).await.map_err(|error| format!("cannot use KUBECONFIG: {error}"))?,
        };
        Cluster::reached_by(config)
    }

    /// The cluster of whoever runs a command: a context of the kubeconfig, its current one where KUBECONFIG is set or this
    /// is no Pod, else the one that we are in. Sends nothing yet.
    ///
    /// # Errors
    /// One sentence that says what to do: there is no kubeconfig or no such context, or it cannot be used.
    pub async fn of_caller(context: Option<&str>) -> Result<Self, String> {
        let named = context.is_some() || std::env::var_os("KUBECONFIG").is_some_and(|value| !value.is_empty());
        let config = match kube::Config::incluster() {
            Ok(config) if !named => config,
            _ => from_kubeconfig(context).await.map_err(|error| {
                format!(
                    "cannot use the kubeconfig: {error}; name one in KUBECONFIG, and one of its contexts by --context"
                )
            })?,
        };
        Cluster::reached_by(config)
    }

    fn reached_by(config: kube::Config) -> Result<Self, String> {
        let client =
            |config| kube::Client::try_from(config).map_err(|error| format!("cannot reach the API server: {error}"));
        let mut once = config.clone();
        once.default_retry = false;
        Ok(Cluster { impatient: client(impatient(config.clone()))?, once: client(once)?, client: client(config)? })
    }

    /// A cluster behind this client, for tests.
    #[must_use]
    pub fn of(client: kube::Client) -> Self {
        Cluster { impatient: client.clone(), once: client.clone(), client }
    }
}

/// The namespace that we run in: POD_NAMESPACE, else that of the service account's files; none outside a Pod.
#[must_use]
pub fn own_namespace() -> Option<String> {
    let named = std::env::var("POD_NAMESPACE").ok().filter(|name| !name.is_empty());
    named.or_else(|| {
        let file = std::fs::read_to_string("/var/run/secrets/kubernetes.io/serviceaccount/namespace").ok()?;
        Some(file.trim().to_owned()).filter(|name| !name.is_empty())
    })
}

/// No watch lives on it, and whoever uses it tries again.
fn impatient(mut config: kube::Config) -> kube::Config {
    config.connect_timeout = Some(SILENCE);
    config.write_timeout = Some(SILENCE);
    config.read_timeout = Some(SILENCE);
    // A connection that stood idle is not late with an answer that was just asked for.
    config.reset_reader_on_write = true;
    config.default_retry = false;
    config
}

async fn from_kubeconfig(context: Option<&str>) -> Result<kube::Config, kube::config::KubeconfigError> {
    let file = Kubeconfig::read()?;
    let options = KubeConfigOptions { context: context.map(str::to_owned), ..KubeConfigOptions::default() };
    kube::Config::from_custom_kubeconfig(file, &options).await
}
