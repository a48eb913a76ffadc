//! Pull secrets: what a Pod's image is pulled with, read where we may, remembered for a short while, never by the thousand.
//!
//! A Secret's key is decoded into a buffer that is wiped when it is dropped, and so is the text of the API server's
//! answer; the other keys are never decoded. What the HTTP and TLS layers below held on the way is theirs, and is not
//! wiped.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::future::join_all;
use kube::core::Request;
use kube::core::params::GetParams;
use moka::Expiry;
use moka::future::Cache;
use moka::policy::EvictionPolicy;
use serde::Deserialize;
use serde::de::{Deserializer, Visitor};
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

use super::Cluster;
use crate::policy::printable;

/// Questions to the API server at one time; further ones wait, within [`FETCH_TIME`].
const FETCHES: usize = 8;
/// The longest that one question may take, waiting for its turn included.
const FETCH_TIME: Duration = Duration::from_secs(2);
/// Secrets at most of one Pod; each is a question to the API server.
const NAMES: usize = 16;
/// Bytes of remembered answers. One Secret has at most 1 MiB.
const BYTES: u64 = 16 << 20;
/// What an answer without bytes counts for.
const OVERHEAD: u32 = 512;
/// The longest name of a Secret, a service account or a namespace.
const NAME_BYTES: usize = 253;
/// Bytes of the API server's own words in the log.
const REMOTE_BYTES: usize = 200;

/// The two types of Secrets that images are pulled with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PullSecretKind {
    /// `kubernetes.io/dockerconfigjson`, under the key `.dockerconfigjson`.
    DockerConfigJson,
    /// `kubernetes.io/dockercfg`, under the key `.dockercfg`.
    DockerCfg,
}

/// One Secret as the API server has it.
#[derive(Clone)]
pub struct RawPullSecret {
    /// Its name.
    pub name: String,
    /// What its bytes are.
    pub kind: PullSecretKind,
    /// The document under the key of its kind.
    pub bytes: Arc<Zeroizing<Vec<u8>>>,
}

impl fmt::Debug for RawPullSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawPullSecret").field("name", &self.name).field("kind", &self.kind).finish_non_exhaustive()
    }
}

/// The pull secrets of one Pod.
#[derive(Clone, Debug, Default)]
pub struct PullSecretBytes {
    /// In the order in which the Pod or its service account names them.
    pub secrets: Vec<RawPullSecret>,
    /// What we may not read, as the namespace is not among those that opted in: `pull secret shop/regcred`, `service
    /// account shop/default`. No problem.
    pub no_access: Vec<String>,
    /// One line for each that could not be had, or is of no use: `pull secret shop/regcred does not exist`.
    pub problems: Vec<String>,
}

/// How long answers are remembered.
#[derive(Clone, Copy, Debug)]
struct Lives {
    found: Duration,
    not_found: Duration,
    forbidden: Duration,
}

impl Default for Lives {
    fn default() -> Self {
        Lives { found: Duration::from_secs(30), not_found: Duration::from_secs(5), forbidden: Duration::from_secs(60) }
    }
}

/// What an answer is about. Whether we may read is one question per namespace, whatever names a Pod makes up.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Key {
    Secret { namespace: String, name: String },
    ServiceAccount { namespace: String, name: String },
    Forbidden { namespace: String, what: Resource },
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Resource {
    Secrets,
    ServiceAccounts,
}

#[derive(Clone)]
enum Answer {
    Secret(RawPullSecret),
    Names(Arc<[String]>),
    Forbidden,
    /// Reads on from `pull secret shop/regcred`.
    Problem(String),
}

/// Pull secrets of the cluster. Clones share what is remembered.
#[derive(Clone)]
pub struct PullSecrets {
    client: kube::Client,
    fetches: Arc<Semaphore>,
    fetch_time: Duration,
    answers: Cache<Key, Answer>,
}

impl PullSecrets {
    /// Asks nothing yet.
    #[must_use]
    pub fn of(cluster: &Cluster) -> Self {
        Self::with(cluster, Lives::default(), FETCH_TIME)
    }

    fn with(cluster: &Cluster, lives: Lives, fetch_time: Duration) -> Self {
        let answers = Cache::builder()
            .max_capacity(BYTES)
            .weigher(|_: &Key, answer: &Answer| match answer {
                Answer::Secret(secret) => {
                    u32::try_from(secret.bytes.len()).unwrap_or(u32::MAX).saturating_add(OVERHEAD)
                }
                _ => OVERHEAD,
            })
            // The newest is what the next Pods ask for, however often the old ones were asked for.
            .eviction_policy(EvictionPolicy::lru())
            .expire_after(lives)
            .build();
        PullSecrets { client: cluster.client.clone(), fetches: Arc::new(Semaphore::new(FETCHES)), fetch_time, answers }
    }

    /// The Secrets that a Pod names (`spec.imagePullSecrets`), or its service account where the Pod names none (an empty
    /// `service_account` is `default`), read side by side. Cannot fail: what could not be had by `deadline` is a problem.
    pub async fn read(
        &self,
        namespace: &str,
        names_in_pod: &[&str],
        service_account: &str,
        deadline: tokio::time::Instant,
    ) -> PullSecretBytes {
        let mut read = PullSecretBytes::default();
        // As the kubelet does, nameless references are passed over.
        let in_pod: Vec<&str> = names_in_pod.iter().copied().filter(|name| !name.is_empty()).collect();
        let of_account;
        let names = if in_pod.is_empty() {
            of_account = self.names_of_account(namespace, service_account, deadline, &mut read).await;
            of_account.iter().map(String::as_str).collect()
        } else {
            in_pod
        };
        let mut seen = BTreeSet::new();
        let names: Vec<&str> = names.into_iter().filter(|name| !name.is_empty() && seen.insert(*name)).collect();
        if names.len() > NAMES {
            read.problems.push(format!("{} pull secrets are named; the first {NAMES} are tried", names.len()));
        }
        let answers = names.iter().take(NAMES).map(async |name| {
            let key = Key::Secret { namespace: namespace.to_owned(), name: (*name).to_owned() };
            (*name, self.answer(key, deadline).await)
        });
        for (name, answer) in join_all(answers).await {
            let what = format!("pull secret {}", shown(namespace, name));
            match answer {
                Answer::Secret(secret) => read.secrets.push(secret),
                Answer::Forbidden => read.no_access.push(what),
                Answer::Problem(problem) => read.problems.push(format!("{what} {problem}")),
                // No Secret's answer.
                Answer::Names(_) => {}
            }
        }
        read
    }

    async fn names_of_account(
        &self,
        namespace: &str,
        account: &str,
        deadline: tokio::time::Instant,
        read: &mut PullSecretBytes,
    ) -> Arc<[String]> {
        let account = if account.is_empty() { "default" } else { account };
        let key = Key::ServiceAccount { namespace: namespace.to_owned(), name: account.to_owned() };
        let what = format!("service account {}", shown(namespace, account));
        match self.answer(key, deadline).await {
            Answer::Names(names) => return names,
            Answer::Problem(problem) => read.problems.push(format!("{what} {problem}")),
            Answer::Forbidden => read.no_access.push(what),
            // No service account's answer.
            Answer::Secret(_) => {}
        }
        Arc::default()
    }

    /// Whoever wants the same at the same time waits for one question. `deadline` ends the waiting, not the question: its
    /// answer serves the next.
    async fn answer(&self, key: Key, deadline: tokio::time::Instant) -> Answer {
        if !key.is_asked_for_safely() {
            return Answer::Problem("has no name that the API server allows".to_owned());
        }
        if let Some(answer) = self.answers.get(&key).await {
            return answer;
        }
        if let Some(answer) = self.answers.get(&key.forbidden()).await {
            return answer;
        }
        let secrets = self.clone();
        let flight = tokio::spawn(async move {
            let answer = secrets.answers.get_with(key.clone(), secrets.clone().fetch(key.clone())).await;
            if matches!(answer, Answer::Forbidden) {
                secrets.answers.insert(key.forbidden(), Answer::Forbidden).await;
            }
            answer
        });
        match tokio::time::timeout_at(deadline, flight).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Answer::Problem("was given up".to_owned()),
            Err(_) => Answer::Problem("could not be read in time".to_owned()),
        }
    }

    async fn fetch(self, key: Key) -> Answer {
        let limited = async {
            let _permit = self.fetches.acquire().await.ok()?;
            // Another name may have taught us meanwhile.
            match self.answers.get(&key.forbidden()).await {
                Some(answer) => Some(answer),
                None => Some(self.ask(&key).await),
            }
        };
        let answer = tokio::time::timeout(self.fetch_time, limited).await.ok().flatten();
        answer.unwrap_or_else(|| {
            tracing::warn!(namespace = key.namespace(), "the API server did not give a pull secret in time");
            Answer::Problem("was not given by the API server in time".to_owned())
        })
    }

    async fn ask(&self, key: &Key) -> Answer {
        let text = match self.get(&key.collection(), key.name()).await {
            Ok(text) => Zeroizing::new(text),
            Err(kube::Error::Api(status)) if status.code == 403 => return Answer::Forbidden,
            Err(kube::Error::Api(status)) if status.code == 404 => {
                return Answer::Problem("does not exist".to_owned());
            }
            Err(error) => {
                // Of a Secret that could be read nothing is in an error: it names a status or the connection.
                let error = printable(&error.to_string(), REMOTE_BYTES);
                tracing::warn!(namespace = key.namespace(), error, "cannot read a pull secret");
                return Answer::Problem("cannot be read from the API server".to_owned());
            }
        };
        match key {
            Key::Secret { name, .. } => secret(name, &text),
            _ => account(&text),
        }
    }

    async fn get(&self, collection: &str, name: &str) -> Result<String, kube::Error> {
        let request = Request::new(collection).get(name, &GetParams::default()).map_err(kube::Error::BuildRequest)?;
        self.client.request_text(request).await
    }
}

impl Key {
    fn namespace(&self) -> &str {
        let (Key::Secret { namespace, .. } | Key::ServiceAccount { namespace, .. } | Key::Forbidden { namespace, .. }) =
            self;
        namespace
    }

    fn name(&self) -> &str {
        match self {
            Key::Secret { name, .. } | Key::ServiceAccount { name, .. } => name,
            Key::Forbidden { .. } => "",
        }
    }

    fn resource(&self) -> Resource {
        match self {
            Key::Secret { .. } => Resource::Secrets,
            Key::ServiceAccount { .. } => Resource::ServiceAccounts,
            Key::Forbidden { what, .. } => *what,
        }
    }

    /// The memory of not being allowed to.
    fn forbidden(&self) -> Key {
        Key::Forbidden { namespace: self.namespace().to_owned(), what: self.resource() }
    }

    fn collection(&self) -> String {
        let resource = match self.resource() {
            Resource::Secrets => "secrets",
            Resource::ServiceAccounts => "serviceaccounts",
        };
        format!("/api/v1/namespaces/{}/{resource}", self.namespace())
    }

    /// Names go into the path of a request, and the API server lets a Pod name `../../other/secrets/theirs`.
    fn is_asked_for_safely(&self) -> bool {
        [self.namespace(), self.name()].into_iter().all(is_name)
    }
}

/// An RFC 1123 subdomain, as the names of all these objects are.
fn is_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let label = |label: &str| {
        let bytes = label.as_bytes();
        let ends = bytes.first().zip(bytes.last());
        ends.is_some_and(|(first, last)| plain(*first) && plain(*last))
            && bytes.iter().all(|byte| plain(*byte) || *byte == b'-')
    };
    name.len() <= NAME_BYTES && name.split('.').all(label)
}

fn shown(namespace: &str, name: &str) -> String {
    format!("{}/{}", printable(namespace, NAME_BYTES), printable(name, NAME_BYTES))
}

impl Expiry<Key, Answer> for Lives {
    fn expire_after_create(&self, _key: &Key, answer: &Answer, _created: Instant) -> Option<Duration> {
        Some(match answer {
            Answer::Secret(_) | Answer::Names(_) => self.found,
            Answer::Problem(_) => self.not_found,
            Answer::Forbidden => self.forbidden,
        })
    }

    fn expire_after_update(
        &self,
        key: &Key,
        answer: &Answer,
        updated: Instant,
        _left: Option<Duration>,
    ) -> Option<Duration> {
        self.expire_after_create(key, answer, updated)
    }
}

/// Of a Secret what we need; the other keys are skipped unread.
#[derive(Deserialize)]
struct SecretObject {
    #[serde(rename = "type")]
    kind: Option<String>,
    data: Option<Data>,
}

#[derive(Deserialize)]
struct Data {
    #[serde(rename = ".dockerconfigjson")]
    config_json: Option<Bytes>,
    #[serde(rename = ".dockercfg")]
    cfg: Option<Bytes>,
}

fn secret(name: &str, text: &str) -> Answer {
    let Ok(object) = serde_json::from_str::<SecretObject>(text) else {
        return Answer::Problem("is not a Secret as the API server writes them".to_owned());
    };
    let (config_json, cfg) = object.data.map_or((None, None), |data| (data.config_json, data.cfg));
    let (kind, bytes, key) = match object.kind.as_deref().unwrap_or_default() {
        "kubernetes.io/dockerconfigjson" => (PullSecretKind::DockerConfigJson, config_json, ".dockerconfigjson"),
        "kubernetes.io/dockercfg" => (PullSecretKind::DockerCfg, cfg, ".dockercfg"),
        other => {
            return Answer::Problem(format!(
                "is of type {}: images are pulled with kubernetes.io/dockerconfigjson or kubernetes.io/dockercfg",
                printable(other, NAME_BYTES)
            ));
        }
    };
    match bytes {
        Some(bytes) => Answer::Secret(RawPullSecret { name: name.to_owned(), kind, bytes: Arc::new(bytes.0) }),
        None => Answer::Problem(format!("has no key {key}")),
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AccountObject {
    image_pull_secrets: Option<Vec<LocalReference>>,
}

#[derive(Deserialize)]
struct LocalReference {
    #[serde(default)]
    name: String,
}

fn account(text: &str) -> Answer {
    match serde_json::from_str::<AccountObject>(text) {
        Ok(object) => {
            Answer::Names(object.image_pull_secrets.unwrap_or_default().into_iter().map(|named| named.name).collect())
        }
        Err(_) => Answer::Problem("is not a service account as the API server writes them".to_owned()),
    }
}

/// Base64, decoded straight into a buffer that is wiped.
struct Bytes(Zeroizing<Vec<u8>>);

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(BytesVisitor)
    }
}

struct BytesVisitor;

impl Visitor<'_> for BytesVisitor {
    type Value = Bytes;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("base64")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Bytes, E> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(base64::decoded_len_estimate(text.len())));
        STANDARD.decode_vec(text, &mut bytes).map_err(|_| E::custom("not base64"))?;
        Ok(Bytes(bytes))
    }
}

#[cfg(test)]
mod tests;
