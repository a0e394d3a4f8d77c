//! The HTTP side of the public port: the page, health, `/v1/classify`, and every other POST as
//! the old clients send it.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::{HeaderValue, Method, StatusCode, header},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use platform::{Error, Kind, error::ErrorBody, serve};

use crate::{
    core::Core,
    readiness::{self, Readiness},
};

mod body;
mod disposition;
mod format;
mod idempotent;
mod page;
mod part;
pub(crate) mod unread;
mod upload;
mod v1;

/// What handlers share.
#[derive(Clone)]
struct Http {
    core: Arc<Core>,
    readiness: Arc<Readiness>,
}

pub(crate) fn router(core: Arc<Core>, readiness: Arc<Readiness>) -> Router {
    let http = Http { core, readiness };
    let v1 = post(v1::classify).layer(from_fn_with_state(http.clone(), refuse_while_draining));
    Router::new()
        .route("/", get(page::first).post(upload::answer))
        .route("/assets/{name}", get(page::asset).fallback(other))
        .route("/healthz", get(live))
        .route("/readyz", get(ready))
        .route("/v1/classify", v1)
        .fallback(other)
        .with_state(http)
}

/// How much of a body that nobody wants is read (`unread.rs`).
pub(crate) fn unread_bounds(core: &Core) -> unread::Bounds {
    /// Of the largest image. A few times too large is a mistake; more is no photograph.
    const FACTOR: usize = 8;
    let bytes_max = core.options.image_bytes_max.saturating_mul(FACTOR).max(2 * serve::MESSAGE_BYTES_MAX);
    unread::Bounds { bytes_max, longest: core.options.body_idle_timeout.min(Duration::from_secs(60)) }
}

/// A typed refusal that says when to come back. Not for `/upload`: for old clients a 503 is the end,
/// so what still comes from them is taken and finished within the grace (specs/upload.md).
async fn refuse_while_draining(State(http): State<Http>, request: Request, next: Next) -> Response {
    if http.core.stop.is_cancelled() {
        return problem(&serve::draining(), None);
    }
    next.run(request).await
}

/// Whether the process answers at all.
async fn live() -> &'static str {
    "ok\n"
}

/// Whether new work is taken.
async fn ready(State(http): State<Http>) -> Response {
    let state = http.readiness.now();
    let is_ready = state == readiness::State::Ready;
    let status = if is_ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, state.word()).into_response()
}

/// Any other path: a typed answer to gRPC, the upload bridge for every POST, a sentence otherwise.
/// Never a redirect: it turns a POST into a GET (specs/upload.md).
async fn other(state: State<Http>, request: Request) -> Response {
    if serve::is_grpc(&request) {
        return serve::unknown_service(request.uri().path());
    }
    if request.method() == Method::POST {
        return upload::answer(state, request).await;
    }
    let error = Error::new(
        Kind::ObjectNotFound,
        format!("nothing at {}; see / for what is here", request.uri().path()),
    );
    problem(&error, None)
}

/// An error as JSON (RFC 9457) with the HTTP status of its kind, or `status` in its place.
fn problem(error: &Error, status: Option<StatusCode>) -> Response {
    let body = serde_json::to_vec(&ErrorBody::from(error)).unwrap_or_default();
    with_status(error, status, ErrorBody::CONTENT_TYPE, body)
}

/// An error as one line of text.
fn sentence(error: &Error, status: Option<StatusCode>) -> Response {
    let line = error.message().replace(['\r', '\n'], " ");
    with_status(error, status, "text/plain; charset=utf-8", line.into_bytes())
}

fn with_status(
    error: &Error,
    status: Option<StatusCode>,
    content_type: &'static str,
    body: Vec<u8>,
) -> Response {
    let of_kind = StatusCode::from_u16(error.kind().http()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = (status.unwrap_or(of_kind), Body::from(body)).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    if let Some(after) = error.retry_after() {
        // Whole seconds, and never sooner than asked.
        let seconds = after.as_secs() + u64::from(after.subsec_nanos() > 0);
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds.max(1)));
    }
    response
}

/// Whether the caller asks for JSON.
fn wants_json(headers: &axum::http::HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    accept.split(',').any(|range| range.trim().to_ascii_lowercase().starts_with("application/json"))
}
