//! One Secret and an API server that answers as it is told to: who makes it, who changes it, and what is told of failures.

use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::{AuthoritySecret, SecretData, Written};
use crate::cluster::secret_double::SecretServer;

fn secret_of(server: &SecretServer) -> AuthoritySecret {
    AuthoritySecret::of(&server.cluster(), "tagwarden")
}

fn object(data: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Secret", "data": data, "metadata": {"name": "tagwarden-ca",
        "resourceVersion": "7", "labels": {"app": "tagwarden"}, "annotations": {"tagwarden.dev/rotate": "one"}}})
}

fn data(value: &str) -> SecretData {
    SecretData::from([("ca.crt".to_owned(), Zeroizing::new(value.as_bytes().to_vec()))])
}

#[tokio::test]
async fn where_there_is_none_the_first_makes_it_and_the_second_reads_again() {
    let server = SecretServer::default();
    let secret = secret_of(&server);
    let (one, other) = (secret.read().await.unwrap(), secret.read().await.unwrap());
    assert!(one.data.is_empty() && one.rotate.is_empty());
    assert_eq!(secret.write(&one, &data("one")).await, Ok(Written::Done));
    assert_eq!(secret.write(&other, &data("other")).await, Ok(Written::Overtaken));
    assert_eq!(secret.read().await.unwrap().data, data("one"));
    let path = "/api/v1/namespaces/tagwarden/secrets";
    assert_eq!(server.asked()[2], format!("POST {path}"));
}

#[tokio::test]
async fn an_empty_one_is_filled_once_and_keeps_what_the_chart_wrote() {
    let server = SecretServer::holding(object(&Value::Null));
    let secret = secret_of(&server);
    let (one, other) = (secret.read().await.unwrap(), secret.read().await.unwrap());
    assert!(one.data.is_empty());
    assert_eq!(one.rotate, "one");
    assert_eq!(secret.write(&one, &data("one")).await, Ok(Written::Done));
    assert_eq!(secret.write(&other, &data("other")).await, Ok(Written::Overtaken));
    let stored = server.stored();
    assert_eq!(stored["metadata"]["labels"]["app"], "tagwarden");
    assert_eq!(stored["data"], json!({"ca.crt": "b25l"}));
    let now = secret.read().await.unwrap();
    assert_eq!(secret.write(&now, &data("two")).await, Ok(Written::Done));
    *server.stored.lock().unwrap() = None;
    assert_eq!(secret.write(&now, &data("two")).await, Ok(Written::Overtaken), "it vanished meanwhile");
}

#[tokio::test]
async fn what_cannot_be_had_is_one_sentence_without_a_word_of_the_secret() {
    let server = SecretServer::holding(object(&json!({"ca.key": "hunter2!"})));
    let said = secret_of(&server).read().await.err();
    let expected = "cannot read the Secret tagwarden-ca: the API server cannot be asked, or its answer not be read";
    assert_eq!(said.as_deref(), Some(expected));
    let server = SecretServer::default();
    let secret = secret_of(&server);
    let found = secret.read().await.unwrap();
    server.failures.lock().unwrap().extend([403, 500]);
    let said = secret.read().await.err();
    assert_eq!(said.as_deref(), Some("cannot read the Secret tagwarden-ca: the API server says 500 (Failing)"));
    let said = secret.write(&found, &data("hunter2")).await.err();
    let expected = "cannot make the Secret tagwarden-ca (it belongs to the chart: apply that again): \
                    the API server says 403 (Failing)";
    assert_eq!(said.as_deref(), Some(expected));
}
