//! The Secret that holds the replicas' authority: read by all, made by whoever comes first, changed by the elected one.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::{ObjectMeta, PostParams};
use zeroize::{Zeroize as _, Zeroizing};

use super::Cluster;
use super::ask::ask_in_private;

/// The Secret's name; RBAC names it too.
const NAME: &str = "tagwarden-ca";
/// Whoever changes its value wishes for another authority.
const ROTATE: &str = "tagwarden.dev/rotate";

/// What a Secret holds, by key; gone from memory when it is dropped.
pub type SecretData = BTreeMap<String, Zeroizing<Vec<u8>>>;

/// The Secret `tagwarden-ca` of a namespace.
#[derive(Clone)]
pub struct AuthoritySecret {
    api: Api<Secret>,
}

/// What was found there.
pub struct StoredAuthority {
    /// What it holds; empty: nobody has filled it yet, or somebody emptied it, or there is no such Secret.
    pub data: SecretData,
    /// The value of the annotation `tagwarden.dev/rotate`; empty: there is none.
    pub rotate: String,
    /// The object without its data, under whose version it may be changed; none: it is not there.
    object: Option<Secret>,
}

/// What became of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// It is written.
    Done,
    /// Somebody else changed the Secret since it was read: read it again.
    Overtaken,
}

impl AuthoritySecret {
    /// That of this namespace; nothing is read yet.
    #[must_use]
    pub fn of(cluster: &Cluster, namespace: &str) -> Self {
        AuthoritySecret { api: Api::namespaced(cluster.client.clone(), namespace) }
    }

    /// What it holds now.
    ///
    /// # Errors
    /// One sentence, without anything that the Secret holds: the API server did not answer in time, or forbids it.
    pub async fn read(&self) -> Result<StoredAuthority, String> {
        let found = ask_in_private(&format!("read the Secret {NAME}"), self.api.get_opt(NAME)).await?;
        let Some(mut object) = found else {
            return Ok(StoredAuthority { data: SecretData::new(), rotate: String::new(), object: None });
        };
        let data = object.data.take().unwrap_or_default();
        let data = data.into_iter().map(|(key, bytes)| (key, Zeroizing::new(bytes.0))).collect();
        let annotations = object.metadata.annotations.as_ref();
        let rotate = annotations.and_then(|all| all.get(ROTATE)).cloned().unwrap_or_default();
        Ok(StoredAuthority { data, rotate, object: Some(object) })
    }

    /// Makes the Secret where it was not there, and otherwise changes it if it is still as it was found.
    ///
    /// # Errors
    /// One sentence, as for [`AuthoritySecret::read`].
    pub async fn write(&self, found: &StoredAuthority, data: &SecretData) -> Result<Written, String> {
        let params = PostParams::default();
        let data = data.iter().map(|(key, bytes)| (key.clone(), ByteString(bytes.to_vec()))).collect();
        let (result, mut secret) = match &found.object {
            None => {
                let metadata = ObjectMeta { name: Some(NAME.to_owned()), ..ObjectMeta::default() };
                let secret = Secret { metadata, data: Some(data), ..Secret::default() };
                let what = format!("make the Secret {NAME} (it belongs to the chart: apply that again)");
                (ask_in_private(&what, taken(self.api.create(&params, &secret))).await, secret)
            }
            Some(object) => {
                let secret = Secret { data: Some(data), ..object.clone() };
                let what = format!("change the Secret {NAME}");
                (ask_in_private(&what, taken(self.api.replace(NAME, &params, &secret))).await, secret)
            }
        };
        wipe(&mut secret);
        result
    }
}

/// A conflict, and an object that vanished meanwhile, are somebody else's doing.
async fn taken(question: impl Future<Output = Result<Secret, kube::Error>>) -> Result<Written, kube::Error> {
    match question.await {
        Ok(mut secret) => {
            wipe(&mut secret);
            Ok(Written::Done)
        }
        Err(kube::Error::Api(status)) if status.code == 409 || status.code == 404 => Ok(Written::Overtaken),
        Err(error) => Err(error),
    }
}

/// Takes what a Secret holds out of memory.
pub(super) fn wipe(secret: &mut Secret) {
    secret.data.iter_mut().flat_map(|data| data.values_mut()).for_each(|bytes| bytes.0.zeroize());
}

#[cfg(test)]
mod tests;
