//! Pages of other origins: none by default; those that are named may call everything that their key may.

use std::time::Duration;

use axum::{extract::Request, middleware::Next, response::Response};
use http::{HeaderName, HeaderValue, Method, Uri, header};
use tower_http::cors::{AllowOrigin, CorsLayer};

/// How long a browser may remember that it may.
const REMEMBERED: Duration = Duration::from_secs(3600);

/// What pages may read of an answer beside its body.
const EXPOSED: [&str; 6] = [
    "grpc-status",
    "grpc-message",
    "grpc-status-details-bin",
    "grpc-retry-pushback-ms",
    "x-request-id",
    "retry-after",
];

/// What pages may send.
const ALLOWED: [&str; 8] = [
    "authorization",
    "x-api-key",
    "content-type",
    "x-grpc-web",
    "grpc-timeout",
    "x-user-agent",
    "idempotency-key",
    "x-request-id",
];

/// For `value_parser`: `https://host` or `http://host:port`, as browsers write it.
pub fn parse_origin(text: &str) -> Result<HeaderValue, String> {
    let wrong = || format!("{text:?} is not an origin such as https://example.org or http://localhost:5173");
    let uri: Uri = text.parse().map_err(|_| wrong())?;
    let is_origin = matches!(uri.scheme_str(), Some("http" | "https"))
        && uri
            .authority()
            .is_some_and(|authority| text == format!("{}://{authority}", uri.scheme_str().unwrap_or("")))
        && uri.authority().is_some_and(|authority| !authority.as_str().contains('@'));
    if !is_origin {
        return Err(wrong());
    }
    HeaderValue::from_str(&text.to_ascii_lowercase()).map_err(|_| wrong())
}

/// Answers preflights, and says in answers that the page may read them. An origin that is not named gets no such header.
pub(super) fn layer(origins: Vec<HeaderValue>) -> CorsLayer {
    CorsLayer::new()
        .allow_origin(AllowOrigin::list(origins))
        .allow_methods([Method::GET, Method::POST])
        .allow_headers(ALLOWED.map(HeaderName::from_static))
        .expose_headers(EXPOSED.map(HeaderName::from_static))
        .vary([header::ORIGIN])
        .max_age(REMEMBERED)
}

/// The layer above tells every origin which methods and headers it may use; one that may not call is told nothing.
pub(super) async fn only_to_those_named(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    if !headers.contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN) {
        for name in [
            header::ACCESS_CONTROL_ALLOW_METHODS,
            header::ACCESS_CONTROL_ALLOW_HEADERS,
            header::ACCESS_CONTROL_EXPOSE_HEADERS,
            header::ACCESS_CONTROL_MAX_AGE,
        ] {
            headers.remove(name);
        }
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_what_browsers_send() {
        for good in ["https://example.org", "http://localhost:5173", "https://EXAMPLE.org", "http://[::1]:80"]
        {
            assert!(parse_origin(good).is_ok(), "{good}");
        }
        for bad in
            ["", "*", "example.org", "https://example.org/", "https://a/b", "ftp://a", "https://u@a", "null"]
        {
            assert!(parse_origin(bad).is_err(), "{bad}");
        }
    }
}
