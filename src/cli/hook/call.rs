//! One HTTPS call as the API server makes it: to an address of the Service, trusting what caBundle holds and nothing else.

use std::fmt::Display;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{CertificateError, ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::Failure;

/// For connecting, and again for the review: longer than the webhook's own time-out.
const TIME: Duration = Duration::from_secs(10);
/// Bytes of an answer. Ours are some hundred.
const MOST_BYTES: usize = 1 << 20;
/// Characters that are shown of an answer that is none.
const SHOWN: usize = 200;

/// What a server's certificate may stem from.
#[derive(Clone)]
pub(super) struct Trust {
    config: Arc<ClientConfig>,
    /// How many authorities there are.
    pub authorities: usize,
}

impl Trust {
    /// Trusts these authorities, PEM, and no others.
    ///
    /// # Errors
    /// Half a sentence: what is wrong with them.
    pub fn only(ca_bundle: &[u8]) -> Result<Self, String> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(ca_bundle) {
            let certificate = certificate.map_err(|_| "it is not PEM".to_owned())?;
            roots.add(certificate).map_err(|error| format!("it holds what is no authority: {error}"))?;
        }
        if roots.is_empty() {
            return Err("there is no PEM certificate in it".to_owned());
        }
        let authorities = roots.len();
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .map_err(|error| format!("cannot set up TLS: {error}"))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Trust { config: Arc::new(config), authorities })
    }

    /// A connection over which the server has proven to be `name`.
    pub async fn connect(&self, address: SocketAddr, name: &str) -> Result<TlsStream<TcpStream>, Failure> {
        let server_name = ServerName::try_from(name.to_owned()).map_err(|_| {
            Failure::new(format!("'{name}' is a name that no certificate can have"), "rename the Service")
        })?;
        let connecting = async {
            let tcp = TcpStream::connect(address).await.map_err(|error| unreachable(address, &error))?;
            let connector = TlsConnector::from(Arc::clone(&self.config));
            connector.connect(server_name, tcp).await.map_err(|error| untrusted(address, name, &error))
        };
        match timeout(TIME, connecting).await {
            Ok(connected) => connected,
            Err(_) => Err(unreachable(address, &format!("no answer within {} s", TIME.as_secs()))),
        }
    }
}

/// Posts JSON and gives the body of the answer, which has status 200.
pub(super) async fn post(stream: TlsStream<TcpStream>, name: &str, path: &str, json: String) -> Result<Bytes, Failure> {
    match timeout(TIME, exchange(stream, name, path, json)).await {
        Ok(answer) => answer,
        Err(_) => Err(unanswered(&format!("there was no answer within {} s", TIME.as_secs()))),
    }
}

async fn exchange(stream: TlsStream<TcpStream>, name: &str, path: &str, json: String) -> Result<Bytes, Failure> {
    let request = Request::builder()
        .method(Method::POST)
        // As the API server says how long it will wait.
        .uri(format!("{path}?timeout={}s", TIME.as_secs()))
        .header(header::HOST, name)
        .header(header::CONTENT_TYPE, "application/json")
        .body(Full::new(Bytes::from(json)))
        .map_err(|error| unanswered(&error))?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|error| unanswered(&error))?;
    let answer = async {
        let answer = sender.send_request(request).await.map_err(|error| unanswered(&error))?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), MOST_BYTES).collect().await.map_err(|error| unanswered(&error))?;
        Ok((status, body.to_bytes()))
    };
    let mut answer = pin!(answer);
    let (status, body) = tokio::select! {
        answer = answer.as_mut() => answer?,
        ended = connection => match ended {
            // Closed after the answer, which may not have been looked at yet, or without one.
            Ok(()) => answer.await?,
            Err(error) => return Err(unanswered(&error)),
        },
    };
    if status != StatusCode::OK {
        let text: String = String::from_utf8_lossy(&body).chars().take(SHOWN).collect();
        return Err(unanswered(&format!("HTTP status {}: {}", status.as_u16(), text.trim().escape_debug())));
    }
    Ok(body)
}

fn unreachable(address: SocketAddr, error: &dyn Display) -> Failure {
    Failure::new(
        format!("{address} cannot be reached: {error}"),
        "are replicas ready (kubectl get pods), and does a NetworkPolicy let the API server's way through?",
    )
}

fn unanswered(error: &dyn Display) -> Failure {
    Failure::new(format!("the review was not answered: {error}"), "see the replicas' logs")
}

/// A handshake that failed, with what to do about the certificate where it was the certificate.
fn untrusted(address: SocketAddr, name: &str, error: &io::Error) -> Failure {
    let reason = error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>());
    let Some(rustls::Error::InvalidCertificate(certificate)) = reason else {
        return Failure::new(
            format!("there is no TLS with {address}: {error}"),
            "does the Service lead to tagwarden's port `webhook`? see the replicas' logs",
        );
    };
    let (what, remedy) = match certificate {
        CertificateError::UnknownIssuer | CertificateError::BadSignature => (
            "is of no authority in caBundle".to_owned(),
            "self-managed: the elected replica repairs caBundle, see its log; otherwise put the certificate's authority there",
        ),
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => (
            format!("is not for '{name}'"),
            "self-managed: 'tls.service' is to be the Service's name; otherwise have one made for this name",
        ),
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            ("has expired".to_owned(), "self-managed: see the replicas' logs; otherwise renew it")
        }
        other => (format!("cannot be trusted: {other}"), "see the replicas' logs"),
    };
    Failure::new(format!("the certificate of {address} {what}"), remedy)
}

#[cfg(test)]
mod tests {
    use super::{Trust, post};
    use crate::certs::{Authority, Pair};
    use crate::server::now;
    use crate::server::tls::{Files, Tls};
    use std::net::SocketAddr;
    use std::sync::Arc;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;
    use tokio_rustls::TlsAcceptor;

    const NAME: &str = "tagwarden.tagwarden.svc";

    /// Serves one connection: reads until the JSON ends, then writes `answer` and closes.
    async fn serve_once(pair: &Pair, answer: &'static str) -> SocketAddr {
        let files = Files {
            cert: ("cert", pair.cert.as_bytes()),
            key: ("key", pair.key.as_bytes()),
            client_ca: None,
            client_names: &[],
        };
        let acceptor = TlsAcceptor::from(Arc::clone(&Tls::new(&files).unwrap().config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (tcp, _) = listener.accept().await.unwrap();
            let Ok(mut stream) = acceptor.accept(tcp).await else { return };
            let mut request = Vec::new();
            while !request.ends_with(b"{}") {
                let mut part = [0; 1024];
                let read = stream.read(&mut part).await.unwrap();
                request.extend_from_slice(&part[..read]);
            }
            let head = String::from_utf8(request).unwrap();
            assert!(head.starts_with("POST /validate?timeout=10s HTTP/1.1\r\n"), "{head}");
            stream.write_all(answer.as_bytes()).await.unwrap();
            stream.shutdown().await.unwrap();
        });
        address
    }

    fn authority() -> Authority {
        Authority::new("test", now(), 1000).unwrap()
    }

    async fn ask(answer: &'static str) -> Result<bytes::Bytes, String> {
        let authority = authority();
        let pair = authority.server(&[NAME.to_owned()], now(), 500).unwrap();
        let address = serve_once(&pair, answer).await;
        let trust = Trust::only(authority.pem().as_bytes()).unwrap();
        let stream = trust.connect(address, NAME).await.unwrap();
        post(stream, NAME, "/validate", "{}".to_owned()).await.map_err(|failure| failure.to_string())
    }

    #[tokio::test]
    async fn an_answer_has_status_200() {
        let fine = ask("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ntrue").await;
        assert_eq!(fine.unwrap(), "true");
        let busy = ask("HTTP/1.1 429 Too Many Requests\r\nContent-Length: 9\r\n\r\ntoo many\n").await.unwrap_err();
        assert_eq!(busy, "the review was not answered: HTTP status 429: too many; see the replicas' logs");
        let cut = ask("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\ntrue").await.unwrap_err();
        assert!(cut.starts_with("the review was not answered: "), "{cut}");
        assert!(ask("").await.unwrap_err().starts_with("the review was not answered: "));
    }

    #[tokio::test]
    async fn only_what_ca_bundle_vouches_for_under_this_name_is_talked_to() {
        let ours = authority();
        let trust = Trust::only(ours.pem().as_bytes()).unwrap();
        let pair = |of: &Authority, name: &str, lifetime| of.server(&[name.to_owned()], now(), lifetime).unwrap();
        for (pair, expected) in [
            (pair(&ours, NAME, 500), None),
            (pair(&authority(), NAME, 500), Some("is of no authority in caBundle")),
            (pair(&ours, "other.tagwarden.svc", 500), Some("is not for 'tagwarden.tagwarden.svc'")),
            (pair(&ours, NAME, -60), Some("has expired")),
        ] {
            let address = serve_once(&pair, "").await;
            let failure = trust.connect(address, NAME).await.err().map(|failure| failure.to_string());
            match (failure, expected) {
                (None, None) => {}
                (Some(said), Some(expected)) => assert!(said.contains(expected), "{said}"),
                (said, expected) => panic!("{said:?}, expected: {expected:?}"),
            }
        }
    }

    #[tokio::test]
    async fn who_does_not_listen_or_speaks_no_tls_is_named() {
        let trust = Trust::only(authority().pem().as_bytes()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let plain = tokio::spawn(async move {
            let (mut tcp, _) = listener.accept().await.unwrap();
            tcp.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        });
        let said = trust.connect(address, NAME).await.err().unwrap().to_string();
        assert!(said.starts_with(&format!("there is no TLS with {address}: ")), "{said}");
        plain.await.unwrap();
        // Nobody listens there any more.
        let said = trust.connect(address, NAME).await.err().unwrap().to_string();
        assert!(said.starts_with(&format!("{address} cannot be reached: ")), "{said}");
    }

    #[test]
    fn a_ca_bundle_holds_authorities() {
        let (one, other) = (authority(), authority());
        assert_eq!(Trust::only(format!("{}{}", one.pem(), other.pem()).as_bytes()).unwrap().authorities, 2);
        let said = |bundle: &str| Trust::only(bundle.as_bytes()).err().unwrap();
        assert_eq!(said("# nothing\n"), "there is no PEM certificate in it");
        assert_eq!(said("-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n"), "it is not PEM");
        let broken = said("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
        assert!(broken.starts_with("it holds what is no authority: "), "{broken}");
    }
}
