//! What an answer that is none means: the class of a status, and how long a server wants to be left alone.

use std::fmt;
use std::time::{Duration, SystemTime};

use http::header::RETRY_AFTER;
use http::{HeaderMap, StatusCode};
use serde::Deserialize;

use crate::registry::client::Incoming;
use crate::registry::failure::{Failure, FailureKind};

/// Bytes of an error's body that are read for its codes; longer ones are judged by their status alone.
pub(in crate::registry) const ERROR_BYTES: usize = 64 << 10;

/// The longest that a server is left alone because it says so.
const LONGEST_WAIT: Duration = Duration::from_secs(300);

/// The shortest; a server that says "now" while it refuses does not mean it.
const SHORTEST_WAIT: Duration = Duration::from_secs(1);

/// Codes of the distribution specification ("Error Codes") that say that there is no such image, or none for us.
const ABSENT: [&str; 3] = ["NAME_UNKNOWN", "MANIFEST_UNKNOWN", "DENIED"];

/// Codes of an error that are looked at.
const CODES: usize = 16;

/// Who answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::registry) enum Server {
    /// The registry.
    Registry,
    /// The server that gives tokens for it.
    Tokens,
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Server::Registry => "the registry",
            Server::Tokens => "the registry's token server",
        })
    }
}

/// Why an answer with this status is none. What the server wrote goes to the log alone.
pub(in crate::registry) fn refusal(server: Server, answer: &Incoming) -> Failure {
    let status = answer.status;
    let code = status.as_u16();
    let failure = match (server, status) {
        (_, StatusCode::TOO_MANY_REQUESTS) => {
            let until = retry_after(&answer.headers, SystemTime::now());
            Failure::new(FailureKind::RateLimited { until }, format!("{server} wants us to wait ({code})"))
        }
        (_, status) if status.is_server_error() => {
            Failure::new(FailureKind::Unreachable, format!("{server} is out of order ({code})"))
        }
        // OAuth2 says 400 of a refresh token that is no good (RFC 6749, section 5.2).
        (Server::Tokens, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::BAD_REQUEST) => {
            Failure::new(FailureKind::Unauthorized, format!("{server} gave no token for this repository ({code})"))
        }
        (Server::Registry, StatusCode::UNAUTHORIZED) => {
            Failure::new(FailureKind::Unauthorized, format!("{server} wants other credentials ({code})"))
        }
        (Server::Registry, StatusCode::NOT_FOUND) => absent(code),
        (Server::Registry, StatusCode::FORBIDDEN) if says_absent(&answer.body) => absent(code),
        (Server::Registry, StatusCode::FORBIDDEN) => {
            Failure::new(FailureKind::Unauthorized, format!("{server} denies access ({code})"))
        }
        _ => {
            Failure::new(FailureKind::Protocol, format!("{server} gave an answer of a kind that it must not ({code})"))
        }
    };
    if answer.body.is_empty() { failure } else { failure.saying(&answer.body) }
}

fn absent(code: u16) -> Failure {
    let what = format!("the registry has no such image, or none that we may see ({code})");
    Failure::new(FailureKind::NotFoundOrNoAccess, what)
}

fn says_absent(body: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Envelope<'a> {
        #[serde(borrow)]
        errors: Vec<Entry<'a>>,
    }
    #[derive(Deserialize)]
    struct Entry<'a> {
        #[serde(borrow, default)]
        code: std::borrow::Cow<'a, str>,
    }
    if body.len() > ERROR_BYTES {
        return false;
    }
    serde_json::from_slice::<Envelope<'_>>(body)
        .is_ok_and(|envelope| envelope.errors.iter().take(CODES).any(|entry| ABSENT.contains(&&*entry.code)))
}

/// `Retry-After`, seconds or a date (RFC 9110, section 10.2.3), between one second and five minutes; none, if it is neither.
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        // Only a number too large to be read fails here.
        Duration::from_secs(value.parse().unwrap_or(u64::MAX))
    } else {
        let date = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(value).ok()?;
        SystemTime::from(date).duration_since(now).unwrap_or_default()
    };
    Some(wait.clamp(SHORTEST_WAIT, LONGEST_WAIT))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn answer(status: u16, body: &str) -> Incoming {
        Incoming {
            status: StatusCode::from_u16(status).unwrap(),
            headers: HeaderMap::new(),
            body: Bytes::copy_from_slice(body.as_bytes()),
        }
    }

    #[test]
    fn a_wait_is_read_and_bounded() {
        // 784111777 is RFC 9110's own example: Sun, 06 Nov 1994 08:49:37 GMT.
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        let cases = [
            ("7", Some(7)),
            (" 7 ", Some(7)),
            ("0", Some(1)),
            ("300", Some(300)),
            ("301", Some(300)),
            ("1000000000", Some(300)),
            ("99999999999999999999999999", Some(300)),
            ("Sun, 06 Nov 1994 08:49:47 GMT", Some(10)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(1)),
            ("Sun, 06 Nov 1994 07:00:00 GMT", Some(1)),
            ("Mon, 06 Nov 2034 08:49:37 GMT", Some(300)),
            ("-1", None),
            ("1.5", None),
            ("", None),
            ("soon", None),
            ("Sun, 06 Nov 1994", None),
        ];
        for (value, seconds) in cases {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, value.parse().unwrap())]);
            assert_eq!(retry_after(&headers, now), seconds.map(Duration::from_secs), "{value:?}");
        }
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
    }

    #[test]
    fn every_status_has_its_class() {
        let many = format!(r#"{{"errors":[{}{{"code":"DENIED"}}]}}"#, r#"{"code":"X"},"#.repeat(100_000));
        let late = format!(r#"{{"errors":[{}{{"code":"DENIED"}}]}}"#, r#"{"code":"X"},"#.repeat(CODES));
        let limited = FailureKind::RateLimited { until: None };
        let cases = [
            (Server::Registry, 401, "", FailureKind::Unauthorized),
            (Server::Registry, 403, "", FailureKind::Unauthorized),
            (Server::Registry, 403, r#"{"errors":[{"code":"DENIED"}]}"#, FailureKind::NotFoundOrNoAccess),
            (Server::Registry, 403, r#"{"errors":[{},{"code":"NAME_UNKNOWN"}]}"#, FailureKind::NotFoundOrNoAccess),
            (Server::Registry, 403, r#"{"errors":[{"code":"UNAUTHORIZED"}]}"#, FailureKind::Unauthorized),
            (Server::Registry, 403, "<html>DENIED", FailureKind::Unauthorized),
            (Server::Registry, 403, &many, FailureKind::Unauthorized),
            (Server::Registry, 403, &late, FailureKind::Unauthorized),
            (Server::Registry, 404, "", FailureKind::NotFoundOrNoAccess),
            (Server::Registry, 404, r#"{"errors":[{"code":"MANIFEST_UNKNOWN"}]}"#, FailureKind::NotFoundOrNoAccess),
            (Server::Registry, 429, "", limited),
            (Server::Registry, 500, "", FailureKind::Unreachable),
            (Server::Registry, 503, "", FailureKind::Unreachable),
            (Server::Registry, 400, "", FailureKind::Protocol),
            (Server::Registry, 204, "", FailureKind::Protocol),
            (Server::Registry, 206, "", FailureKind::Protocol),
            (Server::Registry, 304, "", FailureKind::Protocol),
            (Server::Registry, 418, "", FailureKind::Protocol),
            (Server::Tokens, 400, "", FailureKind::Unauthorized),
            (Server::Tokens, 401, "", FailureKind::Unauthorized),
            (Server::Tokens, 403, "", FailureKind::Unauthorized),
            (Server::Tokens, 404, "", FailureKind::Protocol),
            (Server::Tokens, 429, "", limited),
            (Server::Tokens, 502, "", FailureKind::Unreachable),
        ];
        for (server, status, body, kind) in cases {
            let failure = refusal(server, &answer(status, body));
            assert_eq!(failure.kind, kind, "{server} {status} {:.60}", body);
        }
    }

    #[test]
    fn what_the_server_wrote_is_for_the_log_alone() {
        let failure = refusal(Server::Registry, &answer(404, "\u{1b}[31mpwned\nname: x"));
        assert!(!failure.what.contains("pwned"), "{}", failure.what);
        assert_eq!(failure.remote.as_deref(), Some("\\u{1b}[31mpwned\\nname: x"));
        assert_eq!(refusal(Server::Registry, &answer(404, "")).remote, None);
    }
}
