//! Answers: which may be believed at all, and their bodies within limits.

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;

use super::HEADER_BYTES;

/// What is wrong with an answer's head; to be put after the registry's name. `limit`: bytes of its body; none: it has no
/// body, whatever it says (an answer to HEAD).
pub(super) fn objection(status: StatusCode, headers: &HeaderMap, limit: Option<usize>) -> Result<(), String> {
    // We never ask for a part, nor with a condition, nor for another protocol.
    if status.is_informational() || matches!(status.as_u16(), 204..=206 | 304) {
        return Err(format!("answered {}, which was not asked for", status.as_u16()));
    }
    let bytes: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    if bytes > HEADER_BYTES {
        return Err("answered with more than 32 KiB of headers".to_owned());
    }
    let compressed = |value: &[u8]| !value.is_empty() && !value.eq_ignore_ascii_case(b"identity");
    if headers.get_all(CONTENT_ENCODING).iter().any(|value| compressed(value.as_bytes())) {
        return Err("answered compressed, which was not asked for".to_owned());
    }
    let chunked = headers.contains_key(TRANSFER_ENCODING);
    if headers.get_all(TRANSFER_ENCODING).iter().any(|value| !value.as_bytes().eq_ignore_ascii_case(b"chunked")) {
        return Err("answered in a transfer encoding other than chunked".to_owned());
    }
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    let Some(length) = lengths.next() else { return Ok(()) };
    if lengths.next().is_some() || chunked {
        return Err("answered with two lengths of one body".to_owned());
    }
    let digits = length.as_bytes();
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err("answered with a length that is none".to_owned());
    }
    let length: Option<u64> = length.to_str().ok().and_then(|digits| digits.parse().ok());
    match (limit, length) {
        (_, None) => Err("answered with a length that is none".to_owned()),
        (Some(limit), Some(length)) if length > limit as u64 => Err(too_large(limit)),
        _ => Ok(()),
    }
}

/// Why a body is not had.
pub(super) enum Short {
    /// It is larger than the limit.
    TooLarge(String),
    /// The connection broke.
    Broken(hyper::Error),
}

/// Reads a whole body.
pub(super) async fn read(mut body: Incoming, limit: usize) -> Result<Bytes, Short> {
    let mut all = BytesMut::new();
    while let Some(frame) = body.frame().await {
        // Trailers are dropped.
        let Ok(data) = frame.map_err(Short::Broken)?.into_data() else { continue };
        if data.len() > limit - all.len() {
            return Err(Short::TooLarge(too_large(limit)));
        }
        all.extend_from_slice(&data);
    }
    Ok(all.freeze())
}

fn too_large(limit: usize) -> String {
    match limit {
        0..1024 => format!("answered with more than {limit} bytes"),
        _ => format!("answered with more than {} KiB", limit / 1024),
    }
}

#[cfg(test)]
mod tests {
    use super::objection;
    use http::header::{HeaderName, HeaderValue};
    use http::{HeaderMap, StatusCode};

    fn judged(status: u16, headers: &[(&str, &str)], limit: Option<usize>) -> Result<(), String> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(HeaderName::try_from(*name).unwrap(), HeaderValue::from_str(value).unwrap());
        }
        objection(StatusCode::from_u16(status).unwrap(), &map, limit)
    }

    #[test]
    fn answers_that_were_not_asked_for_are_refused() {
        for status in [200, 201, 202, 301, 307, 400, 401, 403, 404, 405, 429, 500, 503] {
            assert_eq!(judged(status, &[], Some(10)), Ok(()), "{status}");
        }
        for status in [100, 101, 103, 204, 205, 206, 304] {
            assert!(judged(status, &[], Some(10)).is_err(), "{status}");
        }
    }

    #[test]
    fn heads_that_lie_are_refused() {
        let long = "x".repeat(20_000);
        let good: &[&[(&str, &str)]] = &[
            &[("content-length", "10")],
            &[("content-length", "0")],
            &[("content-encoding", "identity")],
            &[("content-encoding", "Identity")],
            &[("content-encoding", "")],
            &[("transfer-encoding", "chunked")],
            &[("x", &long)],
        ];
        for headers in good {
            assert_eq!(judged(200, headers, Some(10)), Ok(()), "{headers:?}");
        }
        let bad: &[&[(&str, &str)]] = &[
            &[("content-length", "11")],
            &[("content-length", "-1")],
            &[("content-length", "+1")],
            &[("content-length", "1, 1")],
            &[("content-length", "")],
            &[("content-length", "99999999999999999999999999")],
            &[("content-length", "10"), ("content-length", "10")],
            &[("content-length", "10"), ("transfer-encoding", "chunked")],
            &[("content-encoding", "gzip")],
            &[("content-encoding", "identity"), ("content-encoding", "zstd")],
            &[("content-encoding", "deflate, identity")],
            &[("transfer-encoding", "gzip, chunked")],
            &[("transfer-encoding", "identity")],
            &[("x", &long), ("y", &long)],
        ];
        for headers in bad {
            assert!(judged(200, headers, Some(10)).is_err(), "{headers:?}");
        }
        // HEAD says how long the body would be.
        assert_eq!(judged(200, &[("content-length", "11")], None), Ok(()));
        assert!(judged(200, &[("content-length", "-1")], None).is_err());
    }
}
