//! The key of proofs that all replicas share: a Secret in our own namespace, made by whoever comes first.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::{ObjectMeta, PostParams};
use tokio::time::timeout;
use zeroize::{Zeroize as _, Zeroizing};

use super::Cluster;

/// The Secret's name; RBAC names it too.
const NAME: &str = "tagwarden-pins";
/// What signs.
const CURRENT: &str = "key";
/// What signed until a rotation; may be absent.
const PREVIOUS: &str = "previous";
const BYTES: usize = 32;
/// The longest that one question to the API server may take.
const TIME: Duration = Duration::from_secs(5);

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

    /// The keys of the Secret. Where there is none, or one that holds nothing (the chart ships it so), `candidate` becomes
    /// its key; where another replica is faster, its key is taken.
    ///
    /// # Errors
    /// One sentence, without anything that the Secret holds: the API server did not answer in time, or forbids it, or
    /// what the Secret holds is no key.
    pub async fn agree(&self, candidate: &[u8; BYTES]) -> Result<StoredKeys, String> {
        let found = ask("read", self.api.get_opt(NAME)).await?;
        let data = BTreeMap::from([(CURRENT.to_owned(), ByteString(candidate.to_vec()))]);
        let made = match found {
            Some(secret) if secret.data.as_ref().is_some_and(|data| !data.is_empty()) => return keys(secret),
            // Under its resourceVersion: who comes second gets a conflict.
            Some(mut secret) => {
                secret.data = Some(data);
                let made = ask("fill", unless_faster(self.api.replace(NAME, &PostParams::default(), &secret))).await;
                wipe(&mut secret);
                made
            }
            None => {
                let metadata = ObjectMeta { name: Some(NAME.to_owned()), ..ObjectMeta::default() };
                let mut secret = Secret { metadata, data: Some(data), ..Secret::default() };
                let made = ask("make", unless_faster(self.api.create(&PostParams::default(), &secret))).await;
                wipe(&mut secret);
                made.map_err(|problem| {
                    format!("{problem}; where the chart installed us, apply it again: it brings the Secret")
                })
            }
        };
        match made? {
            Some(made) => keys(made),
            None => ask("read", self.api.get(NAME)).await.and_then(keys),
        }
    }
}

/// What was written; none where another replica was faster.
async fn unless_faster(
    writing: impl Future<Output = Result<Secret, kube::Error>>,
) -> Result<Option<Secret>, kube::Error> {
    match writing.await {
        Ok(written) => Ok(Some(written)),
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(None),
        Err(error) => Err(error),
    }
}

/// The API server's own words may quote what a Secret holds where it cannot be decoded: only a status' reason is told.
async fn ask<T>(what: &str, question: impl Future<Output = Result<T, kube::Error>>) -> Result<T, String> {
    let problem = match timeout(TIME, question).await {
        Ok(Ok(answer)) => return Ok(answer),
        Ok(Err(kube::Error::Api(status))) if !status.reason.is_empty() => {
            format!("the API server says {} ({})", status.code, status.reason)
        }
        Ok(Err(kube::Error::Api(status))) => format!("the API server says {}", status.code),
        Ok(Err(_)) => "the API server cannot be asked, or its answer not be read".to_owned(),
        Err(_) => "the API server did not answer in time".to_owned(),
    };
    Err(format!("cannot {what} the Secret {NAME}: {problem}"))
}

fn keys(mut secret: Secret) -> Result<StoredKeys, String> {
    let current = key(&secret, CURRENT);
    let previous = key(&secret, PREVIOUS);
    wipe(&mut secret);
    let current =
        current?.ok_or_else(|| format!("the Secret {NAME} has no '{CURRENT}'; empty its data to have one made"))?;
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

fn wipe(secret: &mut Secret) {
    secret.data.iter_mut().flat_map(|data| data.values_mut()).for_each(|bytes| bytes.0.zeroize());
}

#[cfg(test)]
mod tests {
    use super::{BYTES, PinKey};
    use crate::cluster::Cluster;
    use http::{Method, Request, Response};
    use kube::client::Body;
    use serde_json::{Value, json};
    use std::convert::Infallible;
    use std::sync::{Arc, Mutex};

    /// As much of an API server as one Secret needs. It stores what is created and answers as it is told to.
    #[derive(Clone, Default)]
    struct ApiServer {
        stored: Arc<Mutex<Option<Value>>>,
        /// Status codes for the next requests; then it works.
        failures: Arc<Mutex<Vec<u16>>>,
        asked: Arc<Mutex<Vec<String>>>,
    }

    impl ApiServer {
        fn key(&self) -> PinKey {
            let server = self.clone();
            let service = tower::service_fn(move |request: Request<Body>| {
                let server = server.clone();
                async move { Ok::<_, Infallible>(server.answer(request).await) }
            });
            PinKey::of(&Cluster::of(kube::Client::new(service, "default")), "tagwarden")
        }

        async fn answer(&self, request: Request<Body>) -> Response<Body> {
            let asked = format!("{} {}", request.method(), request.uri().path());
            self.asked.lock().unwrap().push(asked);
            let failure = self.failures.lock().unwrap().pop();
            if let Some(code) = failure.filter(|code| *code != 0) {
                return status(code, if code == 404 { "NotFound" } else { "Failing" });
            }
            if request.method() == Method::GET {
                let stored = self.stored.lock().unwrap().clone();
                return stored.map_or_else(|| status(404, "NotFound"), |stored| response(200, &stored));
            }
            let method = request.method().clone();
            let body = request.into_body().collect_bytes().await.unwrap();
            let written: Value = serde_json::from_slice(&body).unwrap();
            let mut stored = self.stored.lock().unwrap();
            // What is there is replaced only by who read it as it is.
            let version = |object: &Value| object["metadata"]["resourceVersion"].clone();
            if stored.as_ref().is_some_and(|stored| method == Method::POST || version(stored) != version(&written)) {
                return status(409, "Conflict");
            }
            *stored = Some(written);
            response(201, stored.as_ref().unwrap())
        }

        fn asked(&self) -> Vec<String> {
            std::mem::take(&mut self.asked.lock().unwrap())
        }
    }

    fn status(code: u16, reason: &str) -> Response<Body> {
        let message = "secret words";
        response(
            code,
            &json!({"apiVersion": "v1", "kind": "Status", "status": "Failure", "reason": reason, "code": code, "message": message}),
        )
    }

    fn response(code: u16, body: &Value) -> Response<Body> {
        Response::builder().status(code).body(Body::from(body.to_string().into_bytes())).unwrap()
    }

    fn secret(data: Value) -> Value {
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "tagwarden-pins"}, "data": data})
    }

    const ZEROS: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

    #[tokio::test]
    async fn the_first_replica_makes_the_key_and_the_others_take_it() {
        let server = ApiServer::default();
        let first = server.key().agree(&[1; BYTES]).await.unwrap();
        assert_eq!((*first.current, first.previous.is_none()), ([1; BYTES], true));
        let path = "/api/v1/namespaces/tagwarden/secrets";
        assert_eq!(server.asked(), [format!("GET {path}/tagwarden-pins"), format!("POST {path}")]);
        let second = server.key().agree(&[2; BYTES]).await.unwrap();
        assert_eq!(*second.current, [1; BYTES]);
        assert_eq!(server.asked(), [format!("GET {path}/tagwarden-pins")]);
    }

    #[tokio::test]
    async fn who_comes_second_to_make_it_reads_it() {
        let server = ApiServer::default();
        *server.stored.lock().unwrap() = Some(secret(json!({"key": ZEROS})));
        // The first GET does not see it yet.
        server.failures.lock().unwrap().push(404);
        let keys = server.key().agree(&[2; BYTES]).await.unwrap();
        assert_eq!(*keys.current, [0; BYTES]);
        assert_eq!(server.asked().len(), 3);
    }

    /// The chart ships the Secret without data, so that no permission to create is needed.
    #[tokio::test]
    async fn an_empty_secret_is_filled_as_it_is() {
        for nothing in [Value::Null, json!({})] {
            let server = ApiServer::default();
            let mut empty = secret(nothing);
            empty["metadata"]["resourceVersion"] = json!("7");
            empty["metadata"]["labels"] = json!({"app.kubernetes.io/managed-by": "Helm"});
            *server.stored.lock().unwrap() = Some(empty);
            let keys = server.key().agree(&[3; BYTES]).await.unwrap();
            assert_eq!(*keys.current, [3; BYTES]);
            let path = "/api/v1/namespaces/tagwarden/secrets/tagwarden-pins";
            assert_eq!(server.asked(), [format!("GET {path}"), format!("PUT {path}")]);
            let stored = server.stored.lock().unwrap().clone().unwrap();
            assert_eq!(stored["metadata"]["resourceVersion"], "7", "written under the version that was read");
            assert_eq!(stored["metadata"]["labels"]["app.kubernetes.io/managed-by"], "Helm");
        }
    }

    #[tokio::test]
    async fn who_comes_second_to_fill_it_reads_it() {
        let server = ApiServer::default();
        *server.stored.lock().unwrap() = Some(secret(json!({})));
        // The PUT meets a conflict, and what is there by then is still nothing.
        server.failures.lock().unwrap().extend([409, 0]);
        let problem = server.key().agree(&[2; BYTES]).await.err().unwrap();
        assert_eq!(problem, "the Secret tagwarden-pins has no 'key'; empty its data to have one made");
        assert_eq!(server.asked().len(), 3);
    }

    #[tokio::test]
    async fn a_rotated_key_comes_with_the_one_before() {
        let server = ApiServer::default();
        let ones = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
        *server.stored.lock().unwrap() = Some(secret(json!({"key": ones, "previous": ZEROS})));
        let keys = server.key().agree(&[2; BYTES]).await.unwrap();
        assert_eq!((*keys.current, keys.previous.map(|key| *key)), ([1; BYTES], Some([0; BYTES])));
    }

    #[tokio::test]
    async fn what_cannot_be_had_is_one_sentence_without_a_word_of_the_secret() {
        for (failures, stored, expected) in [
            (vec![403], Value::Null, "cannot read the Secret tagwarden-pins: the API server says 403 (Failing)"),
            (
                vec![403, 0],
                Value::Null,
                "cannot make the Secret tagwarden-pins: the API server says 403 (Failing); \
                 where the chart installed us, apply it again: it brings the Secret",
            ),
            (
                vec![500, 0],
                secret(json!({})),
                "cannot fill the Secret tagwarden-pins: the API server says 500 (Failing)",
            ),
            (
                vec![],
                secret(json!({"previous": ZEROS})),
                "the Secret tagwarden-pins has no 'key'; empty its data to have one made",
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
            let server = ApiServer::default();
            *server.failures.lock().unwrap() = failures;
            *server.stored.lock().unwrap() = Some(stored).filter(|stored| !stored.is_null());
            assert_eq!(server.key().agree(&[2; BYTES]).await.err().as_deref(), Some(expected));
        }
    }
}
