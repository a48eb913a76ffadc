//! The protocol over real sockets, to registries that are in order and to some that are not.

use std::sync::Arc;

use tokio::time::Instant;

use super::*;
use crate::image::Algorithm;
use crate::registry::client::{Proxies, Surroundings, System};
use crate::registry::testing::{Act, PATIENCE, Seen, Server, answer, registry};

mod documents;
mod tokens;

const DOCKER: &str = "application/vnd.docker.distribution.manifest.v2+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";

/// Time-outs that nothing on loopback needs.
fn patient() -> Settings {
    Settings { connect: PATIENCE, request: PATIENCE, ..Settings::default() }
}

fn soon() -> Instant {
    Instant::now() + PATIENCE
}

/// A registry at a server on loopback by plain HTTP, with an entry that may be changed.
fn plain(server: &Server, change: impl FnOnce(&mut RegistrySettings)) -> Remote {
    let host = server.address.to_string();
    let mut entry = RegistrySettings { insecure: true, private: true, ..registry(&host) };
    change(&mut entry);
    let surroundings = Surroundings { network: Arc::new(System), proxies: Proxies::default(), idle_for: PATIENCE };
    let client = Client::within(surroundings, &entry.host, Some(&entry), &patient()).unwrap();
    Remote::over(client, &entry.host, Some(&entry), &patient()).unwrap()
}

/// The digest of a document.
fn sha256(document: &str) -> String {
    manifest::hash(document.as_bytes(), Algorithm::Sha256).unwrap().to_string()
}

/// The headers of a manifest.
fn typed(media_type: &str, digest: &str) -> String {
    format!("Content-Type: {media_type}\r\nDocker-Content-Digest: {digest}\r\n")
}

async fn head(remote: &Remote, tag: &str) -> Result<Head, Failure> {
    remote.head("a/b", tag, &Login::anonymous(), soon()).await
}

/// The requests so far, without the version.
fn lines(server: &Server) -> Vec<String> {
    server.seen().iter().map(|seen| seen.line().trim_end_matches(" HTTP/1.1").to_owned()).collect()
}

#[tokio::test]
async fn a_tag_costs_one_head() {
    let digest = sha256("x");
    let headers = typed(&format!("{INDEX}; charset=utf-8"), &digest);
    let server = Server::plain(move |_, _| answer("200 OK", &headers, "")).await;
    let remote = plain(&server, |_| ());
    for _ in 0..2 {
        let head = head(&remote, "v1").await.unwrap();
        assert_eq!((head.digest.as_str(), head.media_type.as_str()), (sha256("x").as_str(), INDEX));
    }
    assert_eq!(lines(&server), ["HEAD /v2/a/b/manifests/v1", "HEAD /v2/a/b/manifests/v1"]);
    let seen = &server.seen()[0];
    assert_eq!(
        seen.header("accept"),
        Some(
            "application/vnd.docker.distribution.manifest.v2+json, \
             application/vnd.docker.distribution.manifest.list.v2+json, \
             application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, */*"
        )
    );
    assert_eq!(seen.header("authorization"), None);
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn a_mirror_is_asked_and_told_whom_for() {
    let headers = typed(INDEX, &sha256("x"));
    let server = Server::plain(move |_, _| answer("200 OK", &headers, "")).await;
    let endpoint = format!("http://{}/hub", server.address);
    let remote = plain(&server, |entry| {
        entry.host = "docker.io".to_owned();
        entry.endpoint = Some(endpoint);
    });
    head(&remote, "v1").await.unwrap();
    assert_eq!(lines(&server), ["HEAD /hub/v2/a/b/manifests/v1?ns=docker.io"]);
}

#[tokio::test]
async fn headers_are_believed_only_if_they_are_strict() {
    let (hex, sha512) = ("a".repeat(64), format!("sha512:{}", "b".repeat(128)));
    let good = format!("sha256:{hex}");
    let cases = [
        (typed(INDEX, &good), Some(good.clone())),
        (typed(DOCKER, &sha512), Some(sha512.clone())),
        (typed(&INDEX.to_uppercase(), &good), Some(good.clone())),
        (typed(INDEX, &hex), None),
        (typed(INDEX, ""), None),
        (typed(INDEX, "sha256:"), None),
        (typed(INDEX, &format!("sha256:{}", "A".repeat(64))), None),
        (typed(INDEX, &format!("SHA256:{hex}")), None),
        (typed(INDEX, &format!("md5:{}", "a".repeat(32))), None),
        (typed(INDEX, &format!("{good}, {good}")), None),
        (typed(INDEX, &format!("sha256:../../{}", "a".repeat(58))), None),
        (format!("{}Docker-Content-Digest: {good}\r\n", typed(INDEX, &good)), None),
        (format!("{}Content-Type: {INDEX}\r\n", typed(INDEX, &good)), None),
        (typed("text/html", &good), None),
        (typed("text/plain", &good), None),
        (typed("application/json", &good), None),
        (typed("application/vnd.docker.distribution.manifest.v1+prettyjws", &good), None),
        ("Content-Type: text/html\r\n".to_owned(), None),
    ];
    for (headers, expected) in cases {
        let sent = headers.clone();
        let server = Server::plain(move |_, _| answer("200 OK", &sent, "")).await;
        match (head(&plain(&server, |_| ()), "v1").await, expected) {
            (Ok(head), Some(digest)) => assert_eq!(head.digest.as_str(), digest),
            (Err(failure), None) => assert_eq!(failure.kind, FailureKind::Protocol, "{headers}"),
            (other, _) => panic!("{headers}: {other:?}"),
        }
        assert_eq!(server.seen().len(), 1, "{headers}");
    }
}

#[tokio::test]
async fn a_digest_that_is_asked_for_must_be_the_answer() {
    let asked = sha256("x");
    for (said, fine) in [(asked.clone(), true), (sha256("y"), false)] {
        let headers = typed(INDEX, &said);
        let server = Server::plain(move |_, _| answer("200 OK", &headers, "")).await;
        assert_eq!(head(&plain(&server, |_| ()), &asked).await.is_ok(), fine);
    }
}

#[tokio::test]
async fn statuses_are_told_apart() {
    let until = Some(std::time::Duration::from_secs(7));
    let cases = [
        ("404 Not Found", "", FailureKind::NotFoundOrNoAccess),
        ("403 Forbidden", "", FailureKind::Unauthorized),
        ("429 Too Many Requests", "Retry-After: 7\r\n", FailureKind::RateLimited { until }),
        ("503 Unavailable", "Retry-After: 7\r\n", FailureKind::Unreachable),
        ("400 Bad Request", "", FailureKind::Protocol),
        ("203 Hm", "", FailureKind::Protocol),
    ];
    for (status, headers, kind) in cases {
        let server = Server::plain(move |_, _| answer(status, headers, "")).await;
        assert_eq!(head(&plain(&server, |_| ()), "v1").await.unwrap_err().kind, kind);
        // No blob is asked for instead, as containerd does for digests.
        assert_eq!(lines(&server), ["HEAD /v2/a/b/manifests/v1"], "{status}");
    }
}

#[tokio::test]
async fn a_list_of_tags_is_read_to_its_end() {
    let server = Server::plain(|seen, _| match seen.line() {
        "GET /v2/a/b/tags/list?n=1000 HTTP/1.1" => {
            answer("200 OK", "Link: </v2/a/b/tags/list?last=v1>; rel=\"next\"\r\n", r#"{"tags":["v1","sha256:x"]}"#)
        }
        "GET /v2/a/b/tags/list?last=v1 HTTP/1.1" => answer("200 OK", "", r#"{"tags":["v2"]}"#),
        _ => answer("404 Not Found", "", ""),
    })
    .await;
    let remote = plain(&server, |_| ());
    assert_eq!(remote.tags("a/b", &Login::anonymous(), soon()).await.unwrap(), ["v1", "v2"]);
    let none = remote.tags("a/c", &Login::anonymous(), soon()).await.unwrap_err();
    assert_eq!(none.kind, FailureKind::NotFoundOrNoAccess);
}
