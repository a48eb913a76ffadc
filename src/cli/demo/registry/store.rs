//! What the example registry holds, and its answer to each request.

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use serde_json::json;

use super::images::{Document, ExampleImage};
use crate::image::DigestBuf;

/// The content, shared by all connections.
#[derive(Default)]
pub(super) struct Store {
    content: Mutex<Content>,
    requests: AtomicUsize,
}

#[derive(Default)]
struct Content {
    repositories: HashMap<String, Repository>,
}

#[derive(Default)]
struct Repository {
    tags: BTreeMap<String, DigestBuf>,
    manifests: HashMap<String, Document>,
    blobs: HashMap<String, Document>,
    /// The `Authorization` that is wanted; none: anybody may read.
    login: Option<String>,
}

/// What a path asks for: `/v2/<repository>/<kind>/<name>`.
enum Asked<'p> {
    Manifest(&'p str),
    Blob(&'p str),
    Tags,
}

type Answer = Response<Full<Bytes>>;

impl Store {
    pub fn push(&self, repository: &str, image: &ExampleImage<'_>) -> anyhow::Result<DigestBuf> {
        let made = image.make()?;
        let mut content = self.content();
        let repository = content.repositories.entry(repository.to_owned()).or_default();
        let keyed = |document: Document| (document.digest.as_str().to_owned(), document);
        repository.manifests.extend(made.manifests.into_iter().map(keyed));
        repository.blobs.extend(made.blobs.into_iter().map(keyed));
        Ok(made.top)
    }

    pub fn tag(&self, repository: &str, tag: &str, digest: &DigestBuf) {
        let mut content = self.content();
        let repository = content.repositories.entry(repository.to_owned()).or_default();
        repository.tags.insert(tag.to_owned(), digest.clone());
    }

    pub fn require_login(&self, repository: &str, username: &str, password: &str) {
        let login = format!("Basic {}", STANDARD.encode(format!("{username}:{password}")));
        self.content().repositories.entry(repository.to_owned()).or_default().login = Some(login);
    }

    pub fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }

    /// Answers any request; the body of one is never read.
    pub fn answer<B>(&self, request: &Request<B>) -> Result<Answer, Infallible> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let mut answer = self.read(request);
        if request.method() == Method::HEAD {
            // The length is that of the body which a GET would bring.
            *answer.body_mut() = Full::default();
        }
        Ok(answer)
    }

    fn read<B>(&self, request: &Request<B>) -> Answer {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return refusal(StatusCode::METHOD_NOT_ALLOWED, "UNSUPPORTED");
        }
        let path = request.uri().path();
        if path == "/v2/" {
            return found(StatusCode::OK, "application/json", Bytes::from_static(b"{}"));
        }
        let Some((name, asked)) = asked(path) else { return refusal(StatusCode::NOT_FOUND, "NAME_UNKNOWN") };
        let content = self.content();
        let Some(repository) = content.repositories.get(name) else {
            return refusal(StatusCode::NOT_FOUND, "NAME_UNKNOWN");
        };
        let shown = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        if repository.login.is_some() && shown != repository.login.as_deref() {
            let mut answer = refusal(StatusCode::UNAUTHORIZED, "UNAUTHORIZED");
            let challenge = HeaderValue::from_static("Basic realm=\"example registry\"");
            answer.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
            return answer;
        }
        repository.read(name, &asked)
    }

    fn content(&self) -> MutexGuard<'_, Content> {
        // Nothing is left half done by a panic in between: each change is one insertion.
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Repository {
    fn read(&self, name: &str, asked: &Asked<'_>) -> Answer {
        match asked {
            Asked::Manifest(reference) => {
                let digest = self.tags.get(*reference).map_or(*reference, DigestBuf::as_str);
                self.manifests.get(digest).map_or_else(|| refusal(StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN"), document)
            }
            Asked::Blob(digest) => {
                self.blobs.get(*digest).map_or_else(|| refusal(StatusCode::NOT_FOUND, "BLOB_UNKNOWN"), document)
            }
            Asked::Tags => {
                let tags: Vec<_> = self.tags.keys().collect();
                let list = json!({"name": name, "tags": tags}).to_string();
                found(StatusCode::OK, "application/json", Bytes::from(list))
            }
        }
    }
}

/// Takes a path apart from its end, since repositories have slashes.
fn asked(path: &str) -> Option<(&str, Asked<'_>)> {
    let path = path.strip_prefix("/v2/")?;
    if let Some(name) = path.strip_suffix("/tags/list") {
        return Some((name, Asked::Tags));
    }
    let (rest, last) = path.rsplit_once('/')?;
    let (name, kind) = rest.rsplit_once('/')?;
    match kind {
        "manifests" => Some((name, Asked::Manifest(last))),
        "blobs" => Some((name, Asked::Blob(last))),
        _ => None,
    }
}

fn document(document: &Document) -> Answer {
    let mut answer = found(StatusCode::OK, document.media_type, document.body.clone());
    if let Ok(digest) = HeaderValue::from_str(document.digest.as_str()) {
        answer.headers_mut().insert("docker-content-digest", digest);
    }
    answer
}

fn refusal(status: StatusCode, code: &str) -> Answer {
    let errors = json!({"errors": [{"code": code, "message": "as the example registry sees it"}]});
    found(status, "application/json", Bytes::from(errors.to_string()))
}

fn found(status: StatusCode, media_type: &'static str, body: Bytes) -> Answer {
    let length = HeaderValue::from(body.len());
    let mut answer = Response::new(Full::new(body));
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    answer.headers_mut().insert(header::CONTENT_LENGTH, length);
    answer
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt as _;

    const IMAGE: ExampleImage<'static> = ExampleImage { platforms: &["linux/amd64"], labels: &[] };

    fn ask(store: &Store, method: Method, path: &str) -> (StatusCode, String, String) {
        let request = Request::builder().method(method).uri(path).body(()).unwrap();
        let (head, body) = store.answer(&request).unwrap().into_parts();
        let digest = head.headers.get("docker-content-digest").map_or("", |digest| digest.to_str().unwrap());
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let body = runtime.block_on(body.collect()).unwrap().to_bytes();
        (head.status, digest.to_owned(), String::from_utf8(body.to_vec()).unwrap())
    }

    #[test]
    fn manifests_are_found_by_tag_and_by_digest_and_blobs_by_digest() {
        let store = Store::default();
        let digest = store.push("acme/api", &IMAGE).unwrap();
        store.tag("acme/api", "v1", &digest);
        for reference in ["v1", digest.as_str()] {
            let path = format!("/v2/acme/api/manifests/{reference}?ns=registry.example.com");
            let (status, named, body) = ask(&store, Method::GET, &path);
            assert_eq!((status, named.as_str()), (StatusCode::OK, digest.as_str()));
            assert!(body.contains("layers"));
            assert_eq!(ask(&store, Method::HEAD, &path), (StatusCode::OK, named, String::new()));
            let manifest: serde_json::Value = serde_json::from_str(&body).unwrap();
            let config = manifest["config"]["digest"].as_str().unwrap();
            assert_eq!(ask(&store, Method::GET, &format!("/v2/acme/api/blobs/{config}")).0, StatusCode::OK);
        }
        let tags = ask(&store, Method::GET, "/v2/acme/api/tags/list");
        assert_eq!(tags.2, r#"{"name":"acme/api","tags":["v1"]}"#);
        assert_eq!(store.requests(), 7);
    }

    #[test]
    fn what_is_not_there_is_not_found_and_nothing_is_written() {
        let store = Store::default();
        let digest = store.push("acme/api", &IMAGE).unwrap();
        for path in [
            "/v2/acme/api/manifests/v1",
            &format!("/v2/acme/api/blobs/{digest}"),
            &format!("/v2/acme/other/manifests/{digest}"),
            "/v2/acme/other/tags/list",
            "/v2/manifests/v1",
            "/v1/acme/api/manifests/v1",
            "/",
        ] {
            assert_eq!(ask(&store, Method::GET, path).0, StatusCode::NOT_FOUND, "{path}");
        }
        let path = "/v2/acme/api/manifests/v1";
        assert_eq!(ask(&store, Method::PUT, path).0, StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(ask(&store, Method::GET, "/v2/").0, StatusCode::OK);
    }

    #[test]
    fn a_tag_moves_and_a_repository_can_ask_for_a_login() {
        let store = Store::default();
        let first = store.push("acme/api", &IMAGE).unwrap();
        let second = store.push("acme/api", &ExampleImage { labels: &[("a", "b")], ..IMAGE }).unwrap();
        store.tag("acme/api", "v1", &first);
        let path = "/v2/acme/api/manifests/v1";
        assert_eq!(ask(&store, Method::HEAD, path).1, first.as_str());
        store.tag("acme/api", "v1", &second);
        assert_eq!(ask(&store, Method::HEAD, path).1, second.as_str());

        store.require_login("acme/api", "jane", "secret");
        assert_eq!(ask(&store, Method::HEAD, path).0, StatusCode::UNAUTHORIZED);
        let login = format!("Basic {}", STANDARD.encode("jane:secret"));
        let request = Request::head(path).header(header::AUTHORIZATION, login).body(()).unwrap();
        assert_eq!(store.answer(&request).unwrap().status(), StatusCode::OK);
    }
}
