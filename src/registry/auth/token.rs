//! Tokens: how one is asked for, what of the answer is believed, and for how long it is kept.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use moka::Expiry;
use serde::{Deserialize, Deserializer};
use zeroize::{Zeroize as _, Zeroizing};

use crate::registry::client::{Errand, Incoming, Outgoing};
use crate::registry::credentials::LoginKind;
use crate::registry::failure::{Failure, FailureKind};
use crate::registry::remote::answer::{Server, refusal};
use crate::registry::remote::site::encode;

/// Bytes that a token server's answer may have.
const BODY_BYTES: usize = 64 << 10;

/// How long a token is good when its server does not say: the "docker" token specification's default.
const DEFAULT_SECONDS: f64 = 60.0;

/// The bounds of how long a token is kept, whatever its server says.
const SECONDS: (f64, f64) = (30.0, 3600.0);

/// A token that a registry takes.
#[derive(Clone)]
pub(super) struct Token {
    text: Arc<Zeroizing<String>>,
    /// How long it is kept.
    pub lifetime: Duration,
}

impl Token {
    /// Its size, for the bound of what is kept.
    pub fn bytes(&self) -> usize {
        self.text.len()
    }

    /// Whether both are the same token, not only equal ones.
    pub fn is(&self, other: &Token) -> bool {
        Arc::ptr_eq(&self.text, &other.text)
    }

    /// `Bearer ...`.
    pub fn header(&self) -> Result<HeaderValue, Failure> {
        bearer(&self.text)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token").field("lifetime", &self.lifetime).finish_non_exhaustive()
    }
}

/// Tokens live as long as they say.
pub(super) struct Lifetimes;

impl<K> Expiry<K, Token> for Lifetimes {
    fn expire_after_create(&self, _: &K, token: &Token, _: Instant) -> Option<Duration> {
        Some(token.lifetime)
    }
}

/// A header that cannot break out of its line; a token is made of visible ASCII (RFC 6750, section 2.1, has fewer yet).
pub(super) fn bearer(token: &str) -> Result<HeaderValue, Failure> {
    header("Bearer ", token).filter(|_| is_visible(token)).ok_or_else(|| {
        Failure::new(FailureKind::Protocol, "the token has characters that no token may have, or is none")
    })
}

/// `Basic ...` (RFC 7617).
pub(super) fn basic(username: &str, password: &str) -> Result<HeaderValue, Failure> {
    let pair = Zeroizing::new(format!("{username}:{password}"));
    let encoded = Zeroizing::new(STANDARD.encode(pair.as_bytes()));
    header("Basic ", &encoded).ok_or_else(|| Failure::new(FailureKind::Unauthorized, "the credentials cannot be sent"))
}

fn header(scheme: &str, secret: &str) -> Option<HeaderValue> {
    let text = Zeroizing::new(format!("{scheme}{secret}"));
    let mut value = HeaderValue::from_str(&text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

fn is_visible(token: &str) -> bool {
    !token.is_empty() && token.bytes().all(|byte| (b'!'..=b'~').contains(&byte))
}

/// The request for a token: GET, with Basic for a password, as docker's token specification has it; an OAuth2 POST for an
/// identity token, as its OAuth2 specification has it.
pub(super) fn request(realm: &Uri, service: Option<&str>, scope: &str, login: &LoginKind) -> Result<Outgoing, Failure> {
    let mut query = Zeroizing::new(String::new());
    if let Some(service) = service {
        query.push_str("service=");
        encode(&mut query, service);
        query.push('&');
    }
    query.push_str("scope=");
    encode(&mut query, scope);
    let mut request = Outgoing {
        method: Method::GET,
        uri: realm.clone(),
        headers: HeaderMap::new(),
        body: Bytes::new(),
        limit: BODY_BYTES,
        errand: Errand::Realm,
    };
    if let LoginKind::IdentityToken(token) = login {
        query.push_str("&client_id=tagwarden&grant_type=refresh_token&refresh_token=");
        encode(&mut query, token);
        request.method = Method::POST;
        request.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        request.body = Bytes::from_owner(Zeroizing::new(query.as_bytes().to_vec()));
        return Ok(request);
    }
    if let LoginKind::Password { username, password } = login {
        request.headers.insert(AUTHORIZATION, basic(username, password)?);
    }
    let sign = if realm.query().is_some() { '&' } else { '?' };
    request.uri = format!("{realm}{sign}{}", *query)
        .parse()
        .map_err(|_| Failure::new(FailureKind::Protocol, "the registry's token server has no usable address"))?;
    Ok(request)
}

/// The token in a token server's answer.
pub(super) fn read(answer: Incoming) -> Result<Token, Failure> {
    if answer.status != StatusCode::OK {
        return Err(refusal(Server::Tokens, &answer));
    }
    let token = parse(&answer.body);
    // The answer holds the secret; no other part of it is shared, so that this can be done.
    if let Ok(mut body) = answer.body.try_into_mut() {
        body.as_mut().zeroize();
    }
    token
}

/// The documents of docker's token and OAuth2 specifications. Both names of the token mean the same; where both are there
/// and differ, `access_token` counts, as it does for docker and containerd.
fn parse(body: &[u8]) -> Result<Token, Failure> {
    #[derive(Deserialize)]
    struct Body {
        #[serde(default, deserialize_with = "secret")]
        token: Option<Zeroizing<String>>,
        #[serde(default, deserialize_with = "secret")]
        access_token: Option<Zeroizing<String>>,
        expires_in: Option<serde_json::Number>,
    }
    fn secret<'de, D: Deserializer<'de>>(reader: D) -> Result<Option<Zeroizing<String>>, D::Error> {
        Ok(Option::<String>::deserialize(reader)?.map(Zeroizing::new))
    }
    let unreadable = || Failure::new(FailureKind::Protocol, "the registry's token server gave no token document");
    let body: Body = serde_json::from_slice(body).map_err(|_| unreadable())?;
    let named = [body.access_token, body.token].into_iter().flatten().find(|token| !token.is_empty());
    let text = named.ok_or_else(unreadable)?;
    bearer(&text)?;
    let seconds = body.expires_in.and_then(|number| number.as_f64()).unwrap_or(DEFAULT_SECONDS);
    let lifetime = Duration::from_secs_f64(seconds.clamp(SECONDS.0, SECONDS.1));
    Ok(Token { text: Arc::new(text), lifetime })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_as(body: &str) -> Option<(String, u64)> {
        let answer = Incoming {
            status: StatusCode::OK,
            headers: HeaderMap::new(),
            body: Bytes::copy_from_slice(body.as_bytes()),
        };
        match read(answer) {
            Ok(token) => Some((token.text.to_string(), token.lifetime.as_secs())),
            Err(failure) => {
                assert_eq!((failure.kind, failure.remote), (FailureKind::Protocol, None), "{body}");
                None
            }
        }
    }

    #[test]
    fn token_documents() {
        let cases = [
            (r#"{"token":"t"}"#, Some(("t", 60))),
            (r#"{"access_token":"t"}"#, Some(("t", 60))),
            (r#"{"token":"a","access_token":"b"}"#, Some(("b", 60))),
            (r#"{"token":"a","access_token":""}"#, Some(("a", 60))),
            (r#"{"token":"a","access_token":null,"expires_in":null}"#, Some(("a", 60))),
            (r#"{"token":"a.b-c_d~e+f/g==","x":[{}]}"#, Some(("a.b-c_d~e+f/g==", 60))),
            (r#"{"token":"t","expires_in":300}"#, Some(("t", 300))),
            (r#"{"token":"t","expires_in":30}"#, Some(("t", 30))),
            (r#"{"token":"t","expires_in":29}"#, Some(("t", 30))),
            (r#"{"token":"t","expires_in":0}"#, Some(("t", 30))),
            (r#"{"token":"t","expires_in":-1}"#, Some(("t", 30))),
            (r#"{"token":"t","expires_in":3600}"#, Some(("t", 3600))),
            (r#"{"token":"t","expires_in":3601}"#, Some(("t", 3600))),
            (r#"{"token":"t","expires_in":9223372036854775808}"#, Some(("t", 3600))),
            (r#"{"token":"t","expires_in":99999999999999999999999}"#, Some(("t", 3600))),
            (r#"{"token":"t","expires_in":120.5}"#, Some(("t", 120))),
            (r#"{"token":"t","expires_in":1e999}"#, None),
            (r#"{"token":"t","expires_in":"300"}"#, None),
            (r#"{"token":"t","expires_in":[300]}"#, None),
            (r#"{"token":""}"#, None),
            (r#"{"token":null}"#, None),
            (r#"{"token":1}"#, None),
            (r#"{"token":["t"]}"#, None),
            (r#"{"token":"a\nb"}"#, None),
            (r#"{"token":"a\u0000b"}"#, None),
            (r#"{"token":"a b"}"#, None),
            (r#"{"token":"\u00e9"}"#, None),
            (r#"{"token":"a","token":"b"}"#, None),
            ("{}", None),
            ("null", None),
            ("[]", None),
            ("", None),
            ("<html>", None),
        ];
        for (body, expected) in cases {
            let expected = expected.map(|(token, seconds)| (token.to_owned(), seconds));
            assert_eq!(read_as(body), expected, "{body}");
        }
    }

    #[test]
    fn a_token_is_kept_as_long_as_it_says_and_never_shown() {
        let token = parse(br#"{"token":"hush","expires_in":300}"#).unwrap();
        let kept = Lifetimes.expire_after_create(&(), &token, Instant::now());
        assert_eq!(kept, Some(Duration::from_secs(300)));
        assert!(!format!("{token:?} {:?}", token.header().unwrap()).contains("hush"));
        assert_eq!(token.header().unwrap(), "Bearer hush");
        assert!(token.is(&token.clone()) && !token.is(&parse(br#"{"token":"hush"}"#).unwrap()));
    }

    #[test]
    fn requests_are_those_of_the_specifications() {
        let realm = Uri::from_static("https://auth.example.com/token?x=1");
        let scope = "repository:a/b:pull";
        let anonymous = request(&realm, Some("r & s"), scope, &LoginKind::Anonymous).unwrap();
        let sent = "https://auth.example.com/token?x=1&service=r%20%26%20s&scope=repository%3Aa%2Fb%3Apull";
        assert_eq!(anonymous.uri.to_string(), sent);
        assert_eq!((anonymous.method, anonymous.headers.len()), (Method::GET, 0));

        let password = LoginKind::Password { username: "u".to_owned(), password: "p:q".to_owned().into() };
        let bare = Uri::from_static("https://auth.example.com/token");
        let with_password = request(&bare, None, scope, &password).unwrap();
        assert_eq!(with_password.uri.to_string(), "https://auth.example.com/token?scope=repository%3Aa%2Fb%3Apull");
        assert_eq!(with_password.headers[AUTHORIZATION], "Basic dTpwOnE=");
        assert!(with_password.headers[AUTHORIZATION].is_sensitive());

        let identity = LoginKind::IdentityToken("r&t".to_owned().into());
        let post = request(&realm, Some("s"), scope, &identity).unwrap();
        assert_eq!((post.method, &post.uri), (Method::POST, &realm));
        assert_eq!(
            post.body,
            "service=s&scope=repository%3Aa%2Fb%3Apull&client_id=tagwarden&grant_type=refresh_token&refresh_token=r%26t"
        );
        assert!(!post.headers.contains_key(AUTHORIZATION));
    }
}
