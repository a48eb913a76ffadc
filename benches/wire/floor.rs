//! The floor under the server's throughput: the same sockets, TLS, HTTP and router, and a constant answer.

use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use arc_swap::{ArcSwap, ArcSwapOption};
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::post;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use tagwarden::server::accept::{Phase, Port, Security, Times, serve};
use tagwarden::server::tls::{Files, Tls};
use tokio::net::TcpListener;
use tokio::sync::watch;

/// The server's own of one review; axum's would be 2 MB.
const LIMIT: usize = 16 << 20;

/// As long as an answer that allows usually is.
const ANSWER: &str = r#"{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","response":{"uid":"705ab4f5-6393-11e8-b7cc-42010a800002","allowed":true,"auditAnnotations":{"decision":"allow","policies":"acme-images","policy-hash":"d2d83ea52880ef38"}}}"#;

/// Listens until it is killed, and tells on standard error where, as the server does.
pub fn run(address: &str, cert: &str, key: &str) -> anyhow::Result<()> {
    let address: SocketAddr = address.parse().with_context(|| format!("not an address with a port: {address}"))?;
    let (cert_pem, key_pem) = (std::fs::read(cert)?, std::fs::read(key)?);
    let files = Files { cert: (cert, &cert_pem), key: (key, &key_pem), client_ca: None, client_names: &[] };
    let tls = Tls::new(&files).map_err(anyhow::Error::msg)?;
    let times = Times {
        handshake: Duration::from_secs(5),
        header: Duration::from_secs(5),
        idle: Duration::from_secs(120),
        age: Duration::from_secs(300),
    };
    let port = Port {
        security: Security::Tls(Arc::new(ArcSwapOption::from_pointee(tls))),
        router: Router::new().route("/validate", post(constant)).layer(DefaultBodyLimit::max(LIMIT)),
        connections: 1024,
        times: Arc::new(ArcSwap::from_pointee(times)),
        metrics: None,
    };
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
        let listener = TcpListener::bind(address).await?;
        writeln!(std::io::stderr(), "{{\"message\":\"listening\",\"webhook\":\"{}\"}}", listener.local_addr()?)?;
        let (_phase, phases) = watch::channel(Phase::Serving);
        serve(listener, port, phases).await;
        Ok(())
    })
}

/// Reads the body, as every answer must, and says the same to all.
async fn constant(_review: Bytes) -> impl axum::response::IntoResponse {
    ([(CONTENT_TYPE, "application/json")], ANSWER)
}
