//! The first page: where things are, and how to send a picture. Plain on purpose.

use axum::{
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};

use super::Http;

/// Nothing on the page runs or loads anything.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

pub(super) async fn first(State(http): State<Http>) -> Response {
    let totals = http.core.pending.totals();
    let capacity = *http.core.capacity.borrow();
    let workers = match &capacity {
        Some(capacity) => format!("{} ready, {} starting", capacity.ready, capacity.starting),
        None => "unknown: no autoscaler is connected".to_owned(),
    };
    let models = http.core.models.list();
    let models = models.iter().map(|model| escape(&format!("{}@{}", model.name, model.version)));
    let models = models.collect::<Vec<_>>().join(", ");
    let page = include_str!("page.html")
        .replace("{workers}", &workers)
        .replace("{waiting}", &totals.waiting.to_string())
        .replace("{answered}", &totals.completed.to_string())
        .replace("{models}", if models.is_empty() { "known once a worker is there" } else { &models });
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (headers, page).into_response()
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
