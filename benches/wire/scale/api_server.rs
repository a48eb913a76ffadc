//! As much of an API server as a server asks for that watches namespaces: their labels, page by page, and changes of them.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

type Body = UnsyncBoxBody<Bytes, Infallible>;

/// What a client asks for at once, where it does not say.
const PAGE: usize = 500;

/// How much there is.
#[derive(Clone, Copy)]
pub struct ApiServer {
    pub namespaces: usize,
    /// Changes of labels a second, each of another namespace.
    pub changes: u32,
}

impl ApiServer {
    /// Listens until the runtime ends.
    pub fn start(self, runtime: &Runtime) -> anyhow::Result<SocketAddr> {
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
        let address = listener.local_addr()?;
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let service = service_fn(move |request| std::future::ready(Ok::<_, Infallible>(self.answer(&request))));
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        Ok(address)
    }

    fn answer(self, request: &Request<Incoming>) -> Response<Body> {
        let query = request.uri().query().unwrap_or_default();
        match request.uri().path() {
            "/api/v1/namespaces" if query.contains("watch=") => response(200, self.watch()),
            "/api/v1/namespaces" => response(200, whole(&self.page(query))),
            // There is nothing of the server's own, and nothing can be made.
            path => {
                let missing = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound",
                    "message": format!("there is no {path}"), "code": 404});
                response(404, whole(&missing))
            }
        }
    }

    fn page(self, query: &str) -> Value {
        let number = |name: &str| {
            let part = query.split('&').find_map(|part| part.strip_prefix(name));
            part.and_then(|number| number.parse::<usize>().ok())
        };
        let from = number("continue=").unwrap_or(0);
        let to = self.namespaces.min(from + number("limit=").unwrap_or(PAGE));
        let mut metadata = json!({"resourceVersion": "1"});
        if to < self.namespaces {
            metadata["continue"] = json!(to.to_string());
        }
        let items: Vec<Value> = (from..to).map(|number| namespace(number, 1)).collect();
        json!({"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1", "metadata": metadata, "items": items})
    }

    fn watch(self) -> Body {
        let Some(pause) = Duration::from_secs(1).checked_div(self.changes) else {
            return StreamBody::new(stream::pending()).boxed_unsync();
        };
        let changes = stream::unfold((tokio::time::interval(pause), 0), move |(mut clock, number)| async move {
            clock.tick().await;
            let event = json!({"type": "MODIFIED", "object": namespace(number % self.namespaces, number + 2)});
            Some((event, (clock, number + 1)))
        });
        let frames = changes.map(|event| Ok(Frame::data(Bytes::from(format!("{event}\n")))));
        StreamBody::new(frames).boxed_unsync()
    }
}

/// The first is that of the reviews.
fn namespace(number: usize, version: usize) -> Value {
    let name = if number == 0 { "shop-prod".to_owned() } else { format!("team-{number}-prod") };
    let labels = json!({"kubernetes.io/metadata.name": name, "tier": "app", "team": format!("team-{number}"),
        "version": version.to_string()});
    json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1",
        "metadata": {"name": name, "uid": format!("uid-{number}"), "resourceVersion": version.to_string(), "labels": labels}})
}

fn whole(value: &Value) -> Body {
    Full::new(Bytes::from(value.to_string())).boxed_unsync()
}

fn response(status: u16, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = http::StatusCode::from_u16(status).unwrap_or_default();
    response.headers_mut().insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
    response
}
