//! The webhook's paths: what is no review is refused here, with a reason and nothing about any policy.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use tokio::time::Instant;

use super::admit::{Endpoint, admit};
use super::body::{self, Unread};
use super::deadline::{self, allowance};
use super::state::Shared;

/// In seconds. The API server waits this long and tries again within the same deadline.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("1");

pub(super) fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/validate", post(validate))
        .route("/mutate", post(mutate))
        .method_not_allowed_fallback(wrong_method)
        .fallback(no_such_path)
        .with_state(shared)
}

async fn validate(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    respond(&shared, Endpoint::Validate, request).await
}

async fn mutate(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    respond(&shared, Endpoint::Mutate, request).await
}

async fn wrong_method(State(shared): State<Arc<Shared>>) -> Response {
    let refusal = Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "method", "send reviews by POST");
    refusal.response(&shared)
}

async fn no_such_path(State(shared): State<Arc<Shared>>) -> Response {
    let refusal = Refusal::new(StatusCode::NOT_FOUND, "path", "there is /validate and /mutate, and nothing else");
    refusal.response(&shared)
}

/// Why an HTTP request got no decision.
struct Refusal {
    status: StatusCode,
    /// The metric's label.
    reason: &'static str,
    message: String,
}

impl Refusal {
    fn new(status: StatusCode, reason: &'static str, message: impl Into<String>) -> Self {
        Refusal { status, reason, message: message.into() }
    }

    fn response(self, shared: &Shared) -> Response {
        shared.metrics.rejected(self.reason);
        tracing::debug!(status = self.status.as_u16(), reason = self.reason, "request refused");
        let mut response = (self.status, format!("{}\n", self.message)).into_response();
        if self.status == StatusCode::TOO_MANY_REQUESTS {
            response.headers_mut().insert(header::RETRY_AFTER, RETRY_AFTER);
        }
        response
    }
}

async fn respond(shared: &Shared, endpoint: Endpoint, request: Request) -> Response {
    let (head, mut body) = request.into_parts();
    let arrived = Instant::now();
    let outcome = answer(shared, endpoint, &head.headers, head.uri.query(), &mut body, arrived).await;
    match outcome {
        Ok(review) => ([(header::CONTENT_TYPE, "application/json")], review).into_response(),
        Err(refusal) => {
            body::discard(body, arrived + deadline::LONGEST);
            refusal.response(shared)
        }
    }
}

async fn answer(
    shared: &Shared,
    endpoint: Endpoint,
    headers: &HeaderMap,
    query: Option<&str>,
    body: &mut Body,
    arrived: Instant,
) -> Result<Bytes, Refusal> {
    if !is_json(headers) {
        let message = "a review has the content type application/json";
        return Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "content-type", message));
    }
    let margin = shared.live.load().config.timeouts.margin;
    let allowance =
        allowance(query, margin).map_err(|message| Refusal::new(StatusCode::BAD_REQUEST, "timeout-query", message))?;
    let deadline = arrived + allowance;
    let Some(mut slot) = shared.places.take() else {
        let message = "too many reviews at one time, try again";
        return Err(Refusal::new(StatusCode::TOO_MANY_REQUESTS, "requests", message));
    };
    let _counted = shared.metrics.in_flight();
    let (bytes, _reserved) = body::read(body, shared.limits.body_bytes, &shared.bodies, deadline)
        .await
        .map_err(|unread| refuse(unread, shared))?;
    match admit(shared, endpoint, &bytes, deadline, &mut slot).await {
        Ok(review) => Ok(Bytes::from(review)),
        Err(refused) => Err(Refusal::new(StatusCode::BAD_REQUEST, "review", refused.to_string())),
    }
}

fn refuse(unread: Unread, shared: &Shared) -> Refusal {
    let limit = shared.limits.body_bytes;
    match unread {
        Unread::TooLarge => Refusal::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "body-size",
            format!("the review is larger than {limit} bytes (limits.bodyBytes)"),
        ),
        Unread::NoRoom => Refusal::new(
            StatusCode::TOO_MANY_REQUESTS,
            "bytes-in-flight",
            "too many bytes of reviews at one time, try again",
        ),
        Unread::TooSlow => {
            Refusal::new(StatusCode::REQUEST_TIMEOUT, "body-time", "the review did not come within its own timeout")
        }
        Unread::Broken => Refusal::new(StatusCode::BAD_REQUEST, "body-broken", "the review ended in the middle"),
    }
}

/// `application/json`, with parameters or without.
fn is_json(headers: &HeaderMap) -> bool {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = value.split(';').next().unwrap_or_default();
    essence.trim().eq_ignore_ascii_case("application/json")
}
