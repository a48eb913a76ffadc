//! Our registration with the API server, as the chart's hooks see it: read like the API server reads it, and deleted.

use std::net::IpAddr;
use std::time::Duration;

use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, ValidatingWebhook, ValidatingWebhookConfiguration, WebhookClientConfig,
};
use k8s_openapi::api::core::v1::Service;
use kube::Api;
use kube::api::DeleteParams;
use tokio::time::timeout;

use super::Cluster;

/// The longest that one question to the API server may take.
const TIME: Duration = Duration::from_secs(5);
/// The port of a Service where the configuration names none.
const DEFAULT_PORT: u16 = 443;

/// Webhook configurations and the Services that they name.
#[derive(Clone)]
pub struct Registration {
    client: kube::Client,
}

/// The two kinds of webhook configurations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WebhookKind {
    /// `ValidatingWebhookConfiguration`
    Validating,
    /// `MutatingWebhookConfiguration`
    Mutating,
}

/// What a deletion found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deleted {
    /// The object, which is gone now.
    Object,
    /// Nothing.
    Nothing,
}

/// How the API server is told to call one webhook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Webhook {
    /// The webhook's name.
    pub name: String,
    /// What is called.
    pub target: Target,
    /// The authorities that the server's certificate may stem from, PEM; empty where nobody has written them.
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

/// Where a Service is reached inside the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServiceAddress {
    /// By its cluster IP.
    ClusterIp(IpAddr),
    /// It has none: a headless Service, or another name for a host.
    None,
    /// There is no such Service.
    Absent,
}

impl WebhookKind {
    /// The kind as Kubernetes writes it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            WebhookKind::Validating => "ValidatingWebhookConfiguration",
            WebhookKind::Mutating => "MutatingWebhookConfiguration",
        }
    }
}

impl Registration {
    /// What this cluster's API server knows; nothing is read yet.
    #[must_use]
    pub fn of(cluster: &Cluster) -> Self {
        Registration { client: cluster.client.clone() }
    }

    /// Deletes a webhook configuration. One that is absent is no error.
    ///
    /// # Errors
    /// One sentence: the API server did not answer, or not in time, or forbids it.
    pub async fn delete(&self, kind: WebhookKind, name: &str) -> Result<Deleted, String> {
        let params = DeleteParams::default();
        let deletion = async {
            let deleted = match kind {
                WebhookKind::Validating => {
                    self.all::<ValidatingWebhookConfiguration>().delete(name, &params).await.map(drop)
                }
                WebhookKind::Mutating => {
                    self.all::<MutatingWebhookConfiguration>().delete(name, &params).await.map(drop)
                }
            };
            match deleted {
                Ok(()) => Ok(Deleted::Object),
                Err(kube::Error::Api(status)) if status.code == 404 => Ok(Deleted::Nothing),
                Err(error) => Err(error),
            }
        };
        ask(&format!("delete the {} \"{name}\"", kind.name()), deletion).await
    }

    /// The webhooks of a validating configuration, in its order; none where it is absent.
    ///
    /// # Errors
    /// One sentence: the API server did not answer, or not in time, or forbids it.
    pub async fn validating(&self, name: &str) -> Result<Option<Vec<Webhook>>, String> {
        let all = self.all::<ValidatingWebhookConfiguration>();
        let what = format!("read the {} \"{name}\"", WebhookKind::Validating.name());
        let found = ask(&what, all.get_opt(name)).await?;
        Ok(found.map(|found| found.webhooks.unwrap_or_default().into_iter().map(webhook).collect()))
    }

    /// Where a Service is reached.
    ///
    /// # Errors
    /// One sentence: the API server did not answer, or not in time, or forbids it.
    pub async fn service_address(&self, namespace: &str, name: &str) -> Result<ServiceAddress, String> {
        let services: Api<Service> = Api::namespaced(self.client.clone(), namespace);
        let found = ask(&format!("read the Service {namespace}/{name}"), services.get_opt(name)).await?;
        let Some(service) = found else { return Ok(ServiceAddress::Absent) };
        // "None" is what a headless Service has.
        let ip = service.spec.and_then(|spec| spec.cluster_ip).and_then(|ip| ip.parse().ok());
        Ok(ip.map_or(ServiceAddress::None, ServiceAddress::ClusterIp))
    }

    fn all<K>(&self) -> Api<K>
    where
        K: kube::Resource<Scope = k8s_openapi::ClusterResourceScope, DynamicType = ()>,
    {
        Api::all(self.client.clone())
    }
}

fn webhook(written: ValidatingWebhook) -> Webhook {
    let WebhookClientConfig { ca_bundle, service, url } = written.client_config;
    let target = match service {
        Some(service) => Target::Service(ServiceTarget {
            namespace: service.namespace,
            name: service.name,
            port: service.port.and_then(|port| u16::try_from(port).ok()).unwrap_or(DEFAULT_PORT),
            path: service.path.unwrap_or_else(|| "/".to_owned()),
        }),
        None => Target::Url(url.unwrap_or_default()),
    };
    Webhook { name: written.name, target, ca_bundle: ca_bundle.map(|bundle| bundle.0).unwrap_or_default() }
}

/// The API server's own message names who may not do what to which object.
async fn ask<T>(what: &str, question: impl Future<Output = Result<T, kube::Error>>) -> Result<T, String> {
    match timeout(TIME, question).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(kube::Error::Api(status))) if status.code == 403 => {
            Err(format!("may not {what}: {}; apply the chart again, its roles allow it", status.message))
        }
        Ok(Err(kube::Error::Api(status))) => {
            Err(format!("cannot {what}: the API server says {}: {}", status.code, status.message))
        }
        Ok(Err(error)) => Err(format!("cannot {what}: the API server cannot be asked: {error}")),
        Err(_) => Err(format!("cannot {what}: the API server did not answer in time")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{Request, Response};
    use kube::client::Body;
    use serde_json::{Value, json};
    use std::convert::Infallible;

    /// An API server that has one answer to everything.
    fn answering(code: u16, body: Value) -> Registration {
        let service = tower::service_fn(move |_: Request<Body>| {
            let bytes = body.to_string().into_bytes();
            async move { Ok::<_, Infallible>(Response::builder().status(code).body(Body::from(bytes)).unwrap()) }
        });
        Registration::of(&Cluster::of(kube::Client::new(service, "default")))
    }

    fn status(code: u16, message: &str) -> Value {
        let reason = if code == 404 { "NotFound" } else { "Failing" };
        json!({"apiVersion": "v1", "kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": message})
    }

    #[tokio::test]
    async fn what_is_absent_is_fine_to_delete_and_anything_else_is_one_sentence() {
        for kind in [WebhookKind::Validating, WebhookKind::Mutating] {
            let gone = answering(404, status(404, "not found")).delete(kind, "tagwarden").await;
            assert_eq!(gone, Ok(Deleted::Nothing));
            let gone = answering(200, json!({"apiVersion": "v1", "kind": "Status", "status": "Success"}))
                .delete(kind, "t")
                .await;
            assert_eq!(gone, Ok(Deleted::Object));
            let forbidden =
                answering(403, status(403, "User \"u\" cannot delete")).delete(kind, "t").await.unwrap_err();
            let name = kind.name();
            assert_eq!(
                forbidden,
                format!(
                    "may not delete the {name} \"t\": User \"u\" cannot delete; apply the chart again, its roles allow it"
                )
            );
            let failing = answering(500, status(500, "etcd is away")).delete(kind, "t").await.unwrap_err();
            assert_eq!(failing, format!("cannot delete the {name} \"t\": the API server says 500: etcd is away"));
        }
    }

    #[tokio::test]
    async fn webhooks_are_read_as_the_api_server_reads_them() {
        let configuration = json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
            "metadata": {"name": "t"},
            "webhooks": [
                {
                    "name": "a", "admissionReviewVersions": ["v1"], "sideEffects": "None",
                    "clientConfig": {"caBundle": "cGVt", "service": {"namespace": "n", "name": "s", "path": "/validate", "port": 8443}},
                },
                {
                    "name": "b", "admissionReviewVersions": ["v1"], "sideEffects": "None",
                    "clientConfig": {"service": {"namespace": "n", "name": "s"}},
                },
                {
                    "name": "c", "admissionReviewVersions": ["v1"], "sideEffects": "None",
                    "clientConfig": {"url": "https://a.example/"},
                },
            ],
        });
        let service = |port, path: &str| {
            Target::Service(ServiceTarget { namespace: "n".into(), name: "s".into(), port, path: path.into() })
        };
        let read = answering(200, configuration).validating("t").await.unwrap().unwrap();
        assert_eq!(
            read[0],
            Webhook { name: "a".into(), target: service(8443, "/validate"), ca_bundle: b"pem".to_vec() }
        );
        assert_eq!(read[1], Webhook { name: "b".into(), target: service(443, "/"), ca_bundle: Vec::new() });
        assert_eq!(read[2].target, Target::Url("https://a.example/".into()));
        assert_eq!(answering(404, status(404, "not found")).validating("t").await, Ok(None));
    }

    #[tokio::test]
    async fn a_service_without_a_cluster_ip_has_no_address() {
        let with = |spec: Value| {
            answering(200, json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}, "spec": spec}))
        };
        for (spec, expected) in [
            (json!({"clusterIP": "10.0.0.7"}), ServiceAddress::ClusterIp([10, 0, 0, 7].into())),
            (json!({"clusterIP": "fd00::7"}), ServiceAddress::ClusterIp("fd00::7".parse().unwrap())),
            (json!({"clusterIP": "None"}), ServiceAddress::None),
            (json!({"type": "ExternalName", "externalName": "localhost"}), ServiceAddress::None),
        ] {
            assert_eq!(with(spec).service_address("n", "s").await, Ok(expected));
        }
        assert_eq!(answering(404, status(404, "x")).service_address("n", "s").await, Ok(ServiceAddress::Absent));
    }
}
