//! A document that replicas share: one key of a ConfigMap in our own namespace.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::{ObjectMeta, PostParams};
use tokio::time::timeout;

use super::Cluster;

/// The key that holds it.
const KEY: &str = "document";
/// The longest that one question to the API server may take.
const TIME: Duration = Duration::from_secs(5);

/// A document by the name of its ConfigMap. The last writer wins; only the elected replica writes.
#[derive(Clone)]
pub struct Document {
    api: Api<ConfigMap>,
    name: &'static str,
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
        Ok(found.and_then(|map| map.binary_data).and_then(|mut data| data.remove(KEY)).map(|bytes| bytes.0))
    }

    /// Writes it, over what is there.
    ///
    /// # Errors
    /// One sentence, as for [`Document::read`]; or somebody else wrote at the same time.
    pub async fn write(&self, bytes: Vec<u8>) -> Result<(), String> {
        let known = self.ask(self.api.get_opt(self.name)).await?;
        let document = BTreeMap::from([(KEY.to_owned(), ByteString(bytes))]);
        let params = PostParams::default();
        let Some(mut map) = known else {
            let metadata = ObjectMeta { name: Some(self.name.to_owned()), ..ObjectMeta::default() };
            let map = ConfigMap { metadata, binary_data: Some(document), ..ConfigMap::default() };
            // The chart ships it empty; making it is for installations without the chart, which grant it.
            let made = self.ask(self.api.create(&params, &map)).await;
            return made
                .map(drop)
                .map_err(|problem| format!("{problem}; apply the chart again, it brings this ConfigMap"));
        };
        // Labels and annotations are those of whoever made it, the chart that is.
        map.binary_data = Some(document);
        map.metadata.managed_fields = None;
        self.ask(self.api.replace(self.name, &params, &map)).await?;
        Ok(())
    }

    async fn ask<T>(&self, question: impl Future<Output = Result<T, kube::Error>>) -> Result<T, String> {
        match timeout(TIME, question).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(format!("the ConfigMap {}: {error}", self.name)),
            Err(_) => Err(format!("the ConfigMap {}: the API server did not answer in time", self.name)),
        }
    }
}
