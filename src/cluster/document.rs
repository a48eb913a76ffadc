//! A document that replicas share: one key of a ConfigMap in our own namespace.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::{ObjectMeta, PostParams};

use super::Cluster;
use super::ask::answered;

/// The key that holds it.
const KEY: &str = "document";

/// A document by the name of its ConfigMap. The last writer wins; only the elected replica writes.
#[derive(Clone)]
pub struct Document {
    api: Api<ConfigMap>,
    name: &'static str,
}

/// What writing did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stored {
    /// The document is another one now.
    Anew,
    /// Nothing: it was this one already.
    Already,
}

impl Document {
    /// The document of this name; nothing is read yet.
    #[must_use]
    pub fn of(cluster: &Cluster, namespace: &str, name: &'static str) -> Self {
        Document { api: Api::namespaced(cluster.client.clone(), namespace), name }
    }

    /// What it holds; none where nobody has written it.
    ///
    /// # Errors
    /// One sentence: the API server did not answer, or not in time, or forbids it.
    pub async fn read(&self) -> Result<Option<Vec<u8>>, String> {
        let found = self.ask(self.api.get_opt(self.name)).await?;
        Ok(found.as_ref().and_then(held).map(|bytes| bytes.0.clone()))
    }

    /// Writes it, over what is there. Only where that is something else: whoever asks may ask often, and what somebody
    /// emptied (`helm upgrade --force` does) is filled again.
    ///
    /// # Errors
    /// One sentence, as for [`Document::read`]; or somebody else wrote at the same time.
    pub async fn write(&self, bytes: Vec<u8>) -> Result<Stored, String> {
        self.update(|_| Ok(bytes)).await
    }

    /// The same, where what is to be written depends on what is there (none: nothing is).
    ///
    /// # Errors
    /// One sentence, as for [`Document::write`]; or what `change` says.
    pub async fn update(
        &self,
        change: impl FnOnce(Option<&[u8]>) -> Result<Vec<u8>, String>,
    ) -> Result<Stored, String> {
        let known = self.ask(self.api.get_opt(self.name)).await?;
        let there = known.as_ref().and_then(held).map(|held| held.0.as_slice());
        let bytes = change(there)?;
        if there == Some(bytes.as_slice()) {
            return Ok(Stored::Already);
        }
        let document = BTreeMap::from([(KEY.to_owned(), ByteString(bytes))]);
        let params = PostParams::default();
        let Some(mut map) = known else {
            let metadata = ObjectMeta { name: Some(self.name.to_owned()), ..ObjectMeta::default() };
            let map = ConfigMap { metadata, binary_data: Some(document), ..ConfigMap::default() };
            // The chart ships it empty; making it is for installations without the chart, which grant it.
            let made = self.ask(self.api.create(&params, &map)).await;
            return made
                .map(|_| Stored::Anew)
                .map_err(|problem| format!("{problem}; apply the chart again, it brings this ConfigMap"));
        };
        // Labels and annotations are those of whoever made it, the chart that is.
        map.binary_data = Some(document);
        map.metadata.managed_fields = None;
        self.ask(self.api.replace(self.name, &params, &map)).await?;
        Ok(Stored::Anew)
    }

    async fn ask<T>(&self, question: impl Future<Output = Result<T, kube::Error>>) -> Result<T, String> {
        answered(question).await.map_err(|problem| format!("the ConfigMap {}: {problem}", self.name))
    }
}

fn held(map: &ConfigMap) -> Option<&ByteString> {
    map.binary_data.as_ref()?.get(KEY)
}

#[cfg(test)]
mod tests {
    use super::{Document, Stored};
    use crate::cluster::Cluster;
    use http::{Method, Request, Response};
    use kube::client::Body;
    use serde_json::{Value, json};
    use std::convert::Infallible;
    use std::sync::{Arc, Mutex};

    /// A ConfigMap that is there, and the number of times that it was replaced.
    type Map = Arc<Mutex<(Value, usize)>>;

    fn document(map: &Map) -> Document {
        let map = Arc::clone(map);
        let service = tower::service_fn(move |request: Request<Body>| {
            let map = Arc::clone(&map);
            async move {
                let method = request.method().clone();
                let body = request.into_body().collect_bytes().await.unwrap();
                let mut map = map.lock().unwrap();
                if method == Method::PUT {
                    *map = (serde_json::from_slice(&body).unwrap(), map.1 + 1);
                }
                Ok::<_, Infallible>(Response::new(Body::from(map.0.to_string().into_bytes())))
            }
        });
        Document::of(&Cluster::of(kube::Client::new(service, "default")), "default", "map")
    }

    #[tokio::test]
    async fn what_is_there_already_is_not_written_and_what_was_emptied_is() {
        let empty = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "map", "labels": {"a": "b"}}});
        let map = Map::new(Mutex::new((empty.clone(), 0)));
        let document = document(&map);
        for (stored, times) in [(Stored::Anew, 1), (Stored::Already, 1)] {
            assert_eq!(document.write(b"x".to_vec()).await, Ok(stored));
            assert_eq!(map.lock().unwrap().1, times);
        }
        map.lock().unwrap().0 = empty;
        assert_eq!(document.write(b"x".to_vec()).await, Ok(Stored::Anew));
        assert_eq!(document.read().await, Ok(Some(b"x".to_vec())));
        assert_eq!(map.lock().unwrap().0["metadata"]["labels"]["a"], "b");
    }
}
