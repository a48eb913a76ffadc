//! As much of an API server as a test scripts: a listener that answers by a function of the request, and the way there.

use std::net::SocketAddr;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};

/// A kubeconfig for an API server there, in the clear and without a user.
pub fn kubeconfig(address: SocketAddr) -> String {
    json!({"apiVersion": "v1", "kind": "Config", "current-context": "test",
        "clusters": [{"name": "test", "cluster": {"server": format!("http://{address}")}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        "users": [{"name": "test", "user": {}}]})
    .to_string()
}

/// An address where nobody listens (yet).
pub async fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

/// Answers every request with a status code and a JSON body; a string is text as it stands. It ends with the task, and every connection with it.
pub fn serve<F, A>(listener: TcpListener, answer: F) -> JoinHandle<()>
where
    F: Fn(Request<Incoming>) -> A + Clone + Send + 'static,
    A: Future<Output = (u16, Value)> + Send,
{
    tokio::spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            let answer = answer.clone();
            let service = service_fn(move |request| {
                let answer = answer(request);
                async move { Ok::<_, hyper::Error>(response(answer.await)) }
            });
            connections.spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    })
}

fn response((code, body): (u16, Value)) -> Response<Full<Bytes>> {
    let response = Response::builder().status(code).header("content-type", "application/json");
    let body = if let Value::String(text) = body { text } else { body.to_string() };
    response.body(body.into()).unwrap()
}
