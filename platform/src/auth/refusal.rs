//! The answer to a call that is not let through: a status over gRPC, the same as JSON over HTTP.

use axum::{
    body::Body,
    extract::Request,
    response::{IntoResponse as _, Response},
};
use http::{HeaderValue, StatusCode, header};

use crate::{Error, Kind, error::ErrorBody, serve::is_grpc};

/// The body of the request is left to whoever reads on for old clients' sake.
pub(super) fn answer(request: &Request, error: Error) -> Response {
    if is_grpc(request) {
        return tonic::Status::from(error).into_http();
    }
    problem(&error)
}

fn problem(error: &Error) -> Response {
    let body = serde_json::to_vec(&ErrorBody::from(error)).unwrap_or_default();
    let status = StatusCode::from_u16(error.kind().http()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = (status, Body::from(body)).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(ErrorBody::CONTENT_TYPE));
    if error.kind() == Kind::ApiKeyInvalid {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"dunlin\""));
    }
    if let Some(after) = error.retry_after() {
        // Whole seconds, and never sooner than asked.
        let seconds = after.as_secs() + u64::from(after.subsec_nanos() > 0);
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds.max(1)));
    }
    response
}
