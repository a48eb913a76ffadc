//! Our own webhook configurations: whom they trust, and the one field of them that we write.

use k8s_openapi::ByteString;
use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, ValidatingWebhookConfiguration, WebhookClientConfig,
};
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::Cluster;
use super::ask::ask;

/// Who owns `caBundle`; whoever applies the rest of the object leaves it alone, and takes nothing from us.
const FIELD_MANAGER: &str = "tagwarden-ca-bundle";
/// The port of a Service where the configuration names none.
const DEFAULT_PORT: u16 = 443;

/// The webhook configurations of a cluster.
#[derive(Clone)]
pub struct WebhookConfigurations {
    validating: Api<ValidatingWebhookConfiguration>,
    mutating: Api<MutatingWebhookConfiguration>,
}

/// A kind of webhook configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WebhookKind {
    /// ValidatingWebhookConfiguration.
    Validating,
    /// MutatingWebhookConfiguration.
    Mutating,
}

/// A configuration as it is in the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookConfiguration {
    /// Its kind.
    pub kind: WebhookKind,
    /// Its name.
    pub name: String,
    /// Its webhooks, in their order.
    pub webhooks: Vec<Webhook>,
    uid: Option<String>,
}

/// What a configuration says of one webhook's connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Webhook {
    /// Its name.
    pub name: String,
    /// What the API server calls.
    pub target: Target,
    /// The authorities that it trusts, PEM; empty: those of its system.
    pub ca_bundle: Vec<u8>,
}

/// What a webhook calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A Service of the cluster.
    Service(ServiceTarget),
    /// A URL: whatever stands behind it is not known to the cluster.
    Url(String),
}

/// A path of a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceTarget {
    /// The Service's namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its port.
    pub port: u16,
    /// The path, with a slash.
    pub path: String,
}

/// What a deletion found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deleted {
    /// The object, which is gone now.
    Object,
    /// Nothing.
    Nothing,
}

impl WebhookKind {
    /// The kind as objects spell it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            WebhookKind::Validating => "ValidatingWebhookConfiguration",
            WebhookKind::Mutating => "MutatingWebhookConfiguration",
        }
    }
}

impl WebhookConfigurations {
    /// Those of this cluster; nothing is read yet.
    #[must_use]
    pub fn of(cluster: &Cluster) -> Self {
        WebhookConfigurations {
            validating: Api::all(cluster.client.clone()),
            mutating: Api::all(cluster.client.clone()),
        }
    }

    /// One of them; none where it is not there.
    ///
    /// # Errors
    /// One sentence: the API server did not answer, or not in time, or forbids it.
    pub async fn read(&self, kind: WebhookKind, name: &str) -> Result<Option<WebhookConfiguration>, String> {
        let what = format!("read the {} '{name}'", kind.name());
        let (uid, webhooks) = match kind {
            WebhookKind::Validating => {
                let Some(found) = ask(&what, self.validating.get_opt(name)).await? else { return Ok(None) };
                let webhooks = found.webhooks.unwrap_or_default().into_iter();
                (found.metadata.uid, webhooks.map(|webhook| (webhook.name, webhook.client_config)).collect::<Vec<_>>())
            }
            WebhookKind::Mutating => {
                let Some(found) = ask(&what, self.mutating.get_opt(name)).await? else { return Ok(None) };
                let webhooks = found.webhooks.unwrap_or_default().into_iter();
                (found.metadata.uid, webhooks.map(|webhook| (webhook.name, webhook.client_config)).collect())
            }
        };
        let webhooks = webhooks.into_iter().map(Webhook::of).collect();
        Ok(Some(WebhookConfiguration { kind, name: name.to_owned(), webhooks, uid }))
    }

    /// Sets `clientConfig.caBundle` of every webhook of a configuration as it was read, and nothing else. A
    /// configuration that is gone meanwhile is not made anew.
    ///
    /// # Errors
    /// One sentence, as for [`WebhookConfigurations::read`].
    pub async fn set_ca_bundle(&self, configuration: &WebhookConfiguration, bundle: &[u8]) -> Result<(), String> {
        let (kind, name) = (configuration.kind, &configuration.name);
        let what = format!("set caBundle in the {} '{name}'", kind.name());
        let body = wanted(configuration, bundle);
        match kind {
            WebhookKind::Validating => ask(&what, apply(&self.validating, name, &body)).await,
            WebhookKind::Mutating => ask(&what, apply(&self.mutating, name, &body)).await,
        }
    }

    /// Deletes one of them. One that is absent is no error.
    ///
    /// # Errors
    /// One sentence, as for [`WebhookConfigurations::read`].
    pub async fn delete(&self, kind: WebhookKind, name: &str) -> Result<Deleted, String> {
        let params = DeleteParams::default();
        let deletion = async {
            let deleted = match kind {
                WebhookKind::Validating => self.validating.delete(name, &params).await.map(drop),
                WebhookKind::Mutating => self.mutating.delete(name, &params).await.map(drop),
            };
            match deleted {
                Ok(()) => Ok(Deleted::Object),
                Err(kube::Error::Api(status)) if status.code == 404 => Ok(Deleted::Nothing),
                Err(error) => Err(error),
            }
        };
        ask(&format!("delete the {} '{name}'", kind.name()), deletion).await
    }
}

async fn apply<K: Clone + DeserializeOwned + std::fmt::Debug>(
    api: &Api<K>,
    name: &str,
    body: &Value,
) -> Result<(), kube::Error> {
    let params = PatchParams::apply(FIELD_MANAGER).force();
    api.patch(name, &params, &Patch::Apply(body)).await.map(|_| ())
}

/// All webhooks and not only those that differ: a field that a manager no longer applies is taken out. The object's uid
/// keeps an apply from making an object that was deleted.
fn wanted(configuration: &WebhookConfiguration, bundle: &[u8]) -> Value {
    let bundle = json!(ByteString(bundle.to_vec()));
    let webhooks = configuration.webhooks.iter();
    let webhooks: Vec<Value> =
        webhooks.map(|webhook| json!({"name": webhook.name, "clientConfig": {"caBundle": bundle}})).collect();
    json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": configuration.kind.name(),
        "metadata": {"name": configuration.name, "uid": configuration.uid},
        "webhooks": webhooks,
    })
}

impl Webhook {
    /// The name that the API server expects in the server's certificate: of the Service, or the URL's host.
    #[must_use]
    pub fn host(&self) -> Option<String> {
        let host = match &self.target {
            Target::Service(service) => format!("{}.{}.svc", service.name, service.namespace),
            Target::Url(url) => url.parse::<http::Uri>().ok()?.host()?.to_owned(),
        };
        // Go's parser of URLs leaves the brackets of an IPv6 address out, as certificates do.
        Some(host.trim_matches(['[', ']']).to_owned())
    }

    fn of((name, config): (String, WebhookClientConfig)) -> Self {
        let target = match config.service {
            Some(service) => Target::Service(ServiceTarget {
                namespace: service.namespace,
                name: service.name,
                port: service.port.and_then(|port| u16::try_from(port).ok()).unwrap_or(DEFAULT_PORT),
                path: service.path.unwrap_or_else(|| "/".to_owned()),
            }),
            None => Target::Url(config.url.unwrap_or_default()),
        };
        Webhook { name, target, ca_bundle: config.ca_bundle.map(|bytes| bytes.0).unwrap_or_default() }
    }
}

#[cfg(test)]
mod tests;
