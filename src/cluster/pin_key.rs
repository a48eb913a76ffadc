//! The key of proofs that all replicas share: a Secret in our own namespace, made by whoever comes first.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::{ObjectMeta, PostParams};
use zeroize::Zeroizing;

use super::Cluster;
use super::ask::ask_in_private;
use super::authority::wipe;

/// The Secret's name; RBAC names it too.
const NAME: &str = "tagwarden-pins";
/// What signs.
const CURRENT: &str = "key";
/// What signed until a rotation; may be absent.
const PREVIOUS: &str = "previous";
const BYTES: usize = 32;

/// A key; gone from memory when it is dropped.
pub type KeyBytes = Zeroizing<[u8; BYTES]>;

/// Where the key is kept.
#[derive(Clone)]
pub struct PinKey {
    api: Api<Secret>,
}

/// The keys that the Secret holds. What they are is in no log and no error.
#[derive(Clone, PartialEq, Eq)]
pub struct StoredKeys {
    /// Signs.
    pub current: KeyBytes,
    /// Verifies still, if there was a rotation.
    pub previous: Option<KeyBytes>,
}

impl PinKey {
    /// The key of the replicas in this namespace; nothing is read yet.
    #[must_use]
    pub fn of(cluster: &Cluster, namespace: &str) -> Self {
        PinKey { api: Api::namespaced(cluster.client.clone(), namespace) }
    }

    /// The keys of the Secret. Where there is none, or an empty one (as the chart ships it), one is made that holds
    /// `candidate`; where another replica is faster, its key is taken.
    ///
    /// # Errors
    /// One sentence, without anything that the Secret holds: the API server did not answer in time, or forbids it, or
    /// what the Secret holds is no key.
    pub async fn agree(&self, candidate: &[u8; BYTES]) -> Result<StoredKeys, String> {
        let read = format!("read the Secret {NAME}");
        let empty = match ask_in_private(&read, self.api.get_opt(NAME)).await? {
            Some(secret) if !is_empty(&secret) => return keys(secret),
            empty => empty,
        };
        let metadata = match &empty {
            Some(secret) => secret.metadata.clone(),
            None => ObjectMeta { name: Some(NAME.to_owned()), ..ObjectMeta::default() },
        };
        let data = BTreeMap::from([(CURRENT.to_owned(), ByteString(candidate.to_vec()))]);
        let mut filled = Secret { metadata, data: Some(data), ..empty.clone().unwrap_or_default() };
        let params = PostParams::default();
        let make = format!("make the Secret {NAME}");
        let made = ask_in_private(&make, async {
            // The resource version of the empty one lets only the first of several replicas through.
            let made = match &empty {
                Some(_) => self.api.replace(NAME, &params, &filled).await,
                None => self.api.create(&params, &filled).await,
            };
            match made {
                Ok(made) => Ok(Some(made)),
                Err(kube::Error::Api(status)) if status.code == 409 => Ok(None),
                Err(error) => Err(error),
            }
        });
        let made = made.await;
        wipe(&mut filled);
        match made? {
            Some(made) => keys(made),
            // Another replica was faster.
            None => ask_in_private(&read, self.api.get(NAME)).await.and_then(keys),
        }
    }
}

fn is_empty(secret: &Secret) -> bool {
    secret.data.as_ref().is_none_or(BTreeMap::is_empty)
}

fn keys(mut secret: Secret) -> Result<StoredKeys, String> {
    let current = key(&secret, CURRENT);
    let previous = key(&secret, PREVIOUS);
    wipe(&mut secret);
    let current = current?
        .ok_or_else(|| format!("the Secret {NAME} has no '{CURRENT}'; take out all of its data to have one made"))?;
    Ok(StoredKeys { current, previous: previous? })
}

fn key(secret: &Secret, name: &str) -> Result<Option<KeyBytes>, String> {
    let Some(bytes) = secret.data.as_ref().and_then(|data| data.get(name)) else {
        return Ok(None);
    };
    let key: [u8; BYTES] = bytes
        .0
        .as_slice()
        .try_into()
        .map_err(|_| format!("'{name}' of the Secret {NAME} has {} bytes instead of {BYTES}", bytes.0.len()))?;
    Ok(Some(Zeroizing::new(key)))
}

#[cfg(test)]
mod tests {
    use super::{BYTES, PinKey};
    use crate::cluster::secret_double::SecretServer;
    use serde_json::{Value, json};

    fn key(server: &SecretServer) -> PinKey {
        PinKey::of(&server.cluster(), "tagwarden")
    }

    fn secret(data: Value) -> Value {
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "tagwarden-pins"}, "data": data})
    }

    const ZEROS: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

    #[tokio::test]
    async fn the_first_replica_makes_the_key_and_the_others_take_it() {
        let server = SecretServer::default();
        let first = key(&server).agree(&[1; BYTES]).await.unwrap();
        assert_eq!((*first.current, first.previous.is_none()), ([1; BYTES], true));
        let path = "/api/v1/namespaces/tagwarden/secrets";
        assert_eq!(server.asked(), [format!("GET {path}/tagwarden-pins"), format!("POST {path}")]);
        let second = key(&server).agree(&[2; BYTES]).await.unwrap();
        assert_eq!(*second.current, [1; BYTES]);
        assert_eq!(server.asked(), [format!("GET {path}/tagwarden-pins")]);
    }

    #[tokio::test]
    async fn an_empty_secret_is_filled_by_the_first_replica() {
        let empty = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "tagwarden-pins", "resourceVersion": "7", "labels": {"a": "b"}}});
        let server = SecretServer::default();
        *server.stored.lock().unwrap() = Some(empty.clone());
        assert_eq!(*key(&server).agree(&[1; BYTES]).await.unwrap().current, [1; BYTES]);
        let path = "/api/v1/namespaces/tagwarden/secrets/tagwarden-pins";
        assert_eq!(server.asked(), [format!("GET {path}"), format!("PUT {path}")]);
        let mut metadata = empty["metadata"].clone();
        metadata["resourceVersion"] = json!("8");
        assert_eq!(server.stored()["metadata"], metadata, "its labels stay");
        assert_eq!(*key(&server).agree(&[2; BYTES]).await.unwrap().current, [1; BYTES]);
    }

    #[tokio::test]
    async fn who_comes_second_to_make_it_reads_it() {
        let server = SecretServer::default();
        *server.stored.lock().unwrap() = Some(secret(json!({"key": ZEROS})));
        // The first GET does not see it yet.
        server.failures.lock().unwrap().push(404);
        let keys = key(&server).agree(&[2; BYTES]).await.unwrap();
        assert_eq!(*keys.current, [0; BYTES]);
        assert_eq!(server.asked().len(), 3);
    }

    #[tokio::test]
    async fn a_rotated_key_comes_with_the_one_before() {
        let server = SecretServer::default();
        let ones = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
        *server.stored.lock().unwrap() = Some(secret(json!({"key": ones, "previous": ZEROS})));
        let keys = key(&server).agree(&[2; BYTES]).await.unwrap();
        assert_eq!((*keys.current, keys.previous.map(|key| *key)), ([1; BYTES], Some([0; BYTES])));
    }

    #[tokio::test]
    async fn what_cannot_be_had_is_one_sentence_without_a_word_of_the_secret() {
        for (failures, stored, expected) in [
            (vec![403], Value::Null, "cannot read the Secret tagwarden-pins: the API server says 403 (Failing)"),
            (vec![500, 0], Value::Null, "cannot make the Secret tagwarden-pins: the API server says 500 (Failing)"),
            (
                vec![],
                secret(json!({"keys": ZEROS})),
                "the Secret tagwarden-pins has no 'key'; take out all of its data to have one made",
            ),
            (
                vec![],
                secret(json!({"key": "aHVudGVyMg=="})),
                "'key' of the Secret tagwarden-pins has 7 bytes instead of 32",
            ),
            (
                vec![],
                secret(json!({"key": ZEROS, "previous": ""})),
                "'previous' of the Secret tagwarden-pins has 0 bytes instead of 32",
            ),
            (
                vec![],
                secret(json!({"key": "hunter2!"})),
                "cannot read the Secret tagwarden-pins: the API server cannot be asked, or its answer not be read",
            ),
        ] {
            let server = SecretServer::default();
            *server.failures.lock().unwrap() = failures;
            *server.stored.lock().unwrap() = Some(stored).filter(|stored| !stored.is_null());
            assert_eq!(key(&server).agree(&[2; BYTES]).await.err().as_deref(), Some(expected));
        }
    }
}
