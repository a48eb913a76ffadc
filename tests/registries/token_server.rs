//! A token server for real registries: signs JSON Web Tokens for whoever asks, or for `alice` alone.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use rcgen::{CertificateParams, KeyPair, SigningKey as _};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::real::{ISSUER, Identity, PASSWORD, SERVICE, base64};

/// Who gets a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gives {
    /// Everybody.
    Everybody,
    /// `alice` with her password; others get one that allows nothing.
    Alice,
}

/// A token server; it serves until the process ends.
#[derive(Debug)]
pub struct TokenServer {
    /// `https://127.0.0.1:PORT/token`.
    pub realm: String,
    /// The certificate whose key signs, PEM.
    pub signer: String,
    requests: Arc<AtomicUsize>,
}

struct Signer {
    key: KeyPair,
    certificate: Vec<u8>,
    gives: Gives,
}

impl TokenServer {
    /// Starts one with a certificate of `identity`.
    pub fn start(identity: &Identity, gives: Gives) -> Self {
        let key = KeyPair::generate().expect("a key can be made");
        let params = CertificateParams::new(vec!["signer".to_owned()]).expect("a name");
        let certificate = params.self_signed(&key).expect("it signs itself");
        let signer = Arc::new(Signer { key, certificate: certificate.der().to_vec(), gives });
        let chain = CertificateDer::from_pem_slice(identity.certificate.as_bytes()).expect("a certificate");
        let private = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).expect("a key");
        let config = ServerConfig::builder().with_no_client_auth().with_single_cert(vec![chain], private);
        let config = Arc::new(config.expect("they fit"));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port");
        let realm = format!("https://{}/token", listener.local_addr().expect("it is bound"));
        let requests = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&requests);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (config, signer, counted) = (Arc::clone(&config), Arc::clone(&signer), Arc::clone(&counted));
                // A caller that goes away in the middle is its own affair.
                std::thread::spawn(move || drop(answer(stream, config, &signer, &counted)));
            }
        });
        TokenServer { realm, signer: certificate.pem(), requests }
    }

    /// How many tokens were asked for.
    pub fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

fn answer(
    stream: TcpStream,
    config: Arc<ServerConfig>,
    signer: &Signer,
    requests: &AtomicUsize,
) -> std::io::Result<()> {
    let connection = ServerConnection::new(config).map_err(std::io::Error::other)?;
    let mut stream = BufReader::new(StreamOwned::new(connection, stream));
    loop {
        let mut head = Vec::new();
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line)? == 0 {
                return Ok(());
            }
            if line.trim().is_empty() {
                break;
            }
            head.push(line.trim().to_owned());
        }
        let length =
            head.iter().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
        let mut body = vec![0; length.unwrap_or(0)];
        stream.read_exact(&mut body)?;
        requests.fetch_add(1, Ordering::SeqCst);
        let wanted = format!("authorization: basic {}", base64(format!("alice:{PASSWORD}").as_bytes()));
        let is_alice = head.iter().any(|line| line.eq_ignore_ascii_case(&wanted));
        let target = head.first().and_then(|line| line.split(' ').nth(1)).unwrap_or_default().to_owned();
        let token = signer.token(&target, is_alice || signer.gives == Gives::Everybody);
        let text = format!("{{\"token\": \"{token}\", \"expires_in\": 300}}");
        write!(
            stream.get_mut(),
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{text}",
            text.len()
        )?;
        stream.get_mut().flush()?;
    }
}

impl Signer {
    /// A token for the scope in the query of `target`, or for nothing.
    fn token(&self, target: &str, allowed: bool) -> String {
        let query = target.split_once('?').map_or("", |(_, query)| query);
        let scope = query.split('&').find_map(|pair| pair.strip_prefix("scope=")).unwrap_or_default();
        let scope = scope.replace("%3A", ":").replace("%2F", "/").replace("%2C", ",");
        let parts: Vec<&str> = scope.split(':').collect();
        let access = match parts.as_slice() {
            ["repository", name, "pull"] if allowed => {
                serde_json::json!([{"type": "repository", "name": name, "actions": ["pull"]}])
            }
            // crane pushes with the same server.
            ["repository", name, actions] if allowed => {
                let actions: Vec<&str> = actions.split(',').collect();
                serde_json::json!([{"type": "repository", "name": name, "actions": actions}])
            }
            _ => serde_json::json!([]),
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
        let header = serde_json::json!({"typ": "JWT", "alg": "ES256", "x5c": [STANDARD.encode(&self.certificate)]});
        let claims = serde_json::json!({
            "iss": ISSUER, "sub": "alice", "aud": SERVICE, "exp": now + 300, "nbf": now - 60, "iat": now,
            "jti": "1", "access": access,
        });
        let part = |value: &serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(&header), part(&claims));
        let signature = self.key.sign(signed.as_bytes()).expect("the key signs");
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(raw(&signature)))
    }
}

/// An ECDSA signature as JSON Web Signatures want it (RFC 7518, 3.4): both numbers, 32 bytes each, from their DER form.
fn raw(der: &[u8]) -> Vec<u8> {
    let mut numbers = Vec::with_capacity(64);
    let mut rest = &der[2..];
    for _ in 0..2 {
        let length = usize::from(rest[1]);
        let number = &rest[2..2 + length];
        let significant = &number[number.len().saturating_sub(32)..];
        numbers.extend(std::iter::repeat_n(0, 32 - significant.len()));
        numbers.extend_from_slice(significant);
        rest = &rest[2 + length..];
    }
    numbers
}
