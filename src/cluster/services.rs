//! Services of the cluster, as far as somebody inside it has to find one without DNS.

use std::net::IpAddr;

use k8s_openapi::api::core::v1::Service;
use kube::Api;

use super::Cluster;
use super::ask::ask;

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

/// The Services of a cluster.
#[derive(Clone)]
pub struct Services {
    client: kube::Client,
}

impl Services {
    /// Those of this cluster; nothing is read yet.
    #[must_use]
    pub fn of(cluster: &Cluster) -> Self {
        Services { client: cluster.client.clone() }
    }

    /// Where one is reached.
    ///
    /// # Errors
    /// One sentence: the API server did not answer, or not in time, or forbids it.
    pub async fn address(&self, namespace: &str, name: &str) -> Result<ServiceAddress, String> {
        let services: Api<Service> = Api::namespaced(self.client.clone(), namespace);
        let found = ask(&format!("read the Service {namespace}/{name}"), services.get_opt(name)).await?;
        let Some(service) = found else { return Ok(ServiceAddress::Absent) };
        // "None" is what a headless Service has.
        let ip = service.spec.and_then(|spec| spec.cluster_ip).and_then(|ip| ip.parse().ok());
        Ok(ip.map_or(ServiceAddress::None, ServiceAddress::ClusterIp))
    }
}

#[cfg(test)]
mod tests {
    use super::{ServiceAddress, Services};
    use crate::cluster::Cluster;
    use http::{Request, Response};
    use kube::client::Body;
    use serde_json::{Value, json};
    use std::convert::Infallible;

    /// An API server that has one answer to everything.
    fn answering(code: u16, body: Value) -> Services {
        let service = tower::service_fn(move |_: Request<Body>| {
            let bytes = body.to_string().into_bytes();
            async move { Ok::<_, Infallible>(Response::builder().status(code).body(Body::from(bytes)).unwrap()) }
        });
        Services::of(&Cluster::of(kube::Client::new(service, "default")))
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
            assert_eq!(with(spec).address("n", "s").await, Ok(expected));
        }
        let absent =
            json!({"apiVersion": "v1", "kind": "Status", "status": "Failure", "code": 404, "reason": "NotFound"});
        assert_eq!(answering(404, absent).address("n", "s").await, Ok(ServiceAddress::Absent));
    }
}
