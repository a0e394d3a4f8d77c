//! The bridge for old clients (specs/upload.md): any POST with a picture in it is held until there
//! is an answer, and always gets one.

use axum::{
    Json,
    extract::{Query, Request, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use platform::{Error, Kind, Result};
use proto::v1::{ClassifyOptions, Image, ImageResult, image::Source};
use serde::Deserialize;
use tokio::time::Instant;

use crate::{admission::Patience, core::One};

use super::{
    Http, body,
    format::Format,
    idempotent, part, problem, sentence,
    v1::{ResultBody, deadline},
    wants_json,
};

/// Other parameters are left alone: old URLs carry all sorts.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Asked {
    format: Option<String>,
    model: String,
    timeout: Option<String>,
}

/// Boundaries, part headers and other fields of a form, beside the image; base64 takes a third more.
const FORM_BYTES_BESIDE_IMAGE: usize = 64 * 1024;

pub(super) async fn answer(State(http): State<Http>, request: Request) -> Response {
    let arrived = Instant::now();
    let (head, body) = request.into_parts();
    let json = wants_json(&head.headers);
    let image_bytes_max = http.core.options.image_bytes_max;
    let limits = body::Limits {
        bytes_max: image_bytes_max.saturating_mul(4) / 3 + FORM_BYTES_BESIDE_IMAGE,
        idle: http.core.options.body_idle_timeout,
    };
    let answered = async {
        let body =
            body::read(&head.headers, body, limits).await.map_err(|error| of_form(error, image_bytes_max))?;
        let part = part::find(&head.headers, body).await?;
        let Query(asked) = Query::<Asked>::try_from_uri(&head.uri).unwrap_or_default();
        let format = Format::choose(asked.format.as_deref(), json, &part.field)?;
        let deadline = deadline(arrived, asked.timeout.as_deref())?;
        let options = ClassifyOptions { model: asked.model, ..ClassifyOptions::default() };
        let image = Image { source: Some(Source::Content(part.content)), custom_id: part.file_name.clone() };
        let one = One { image, options: Some(options), deadline, patience: Patience::Held };
        let result = idempotent::classify(&http.core, &head, "/upload", one).await?;
        write(format, &part.file_name, &result)
    };
    match answered.await {
        Ok(response) => response,
        Err(error) => {
            tracing::debug!(%error, "upload");
            let status = status(&error);
            if json { problem(&error, status) } else { sentence(&error, status) }
        }
    }
}

fn write(format: Format, file_name: &str, result: &ImageResult) -> Result<Response> {
    let top = result.classifications.first();
    let label = top.ok_or_else(|| Error::new(Kind::InferenceFailed, "the model named no class"))?;
    match format.line(file_name, &label.label) {
        // Status exactly 200, text, no end of line: some of the clients do not strip.
        Some(line) => Ok(line.into_response()),
        None => Ok(Json(ResultBody::from(result)).into_response()),
    }
}

/// The limit the sender knows is the image's, not the form's.
fn of_form(error: Error, image_bytes_max: usize) -> Error {
    if error.kind() != Kind::ImageTooLarge {
        return error;
    }
    let found = error.metadata().get("found").and_then(|found| found.parse().ok()).unwrap_or(image_bytes_max);
    crate::intake::too_large(image_bytes_max, found)
}

/// A full queue is 503 here, which old clients' users know, and not 429.
fn status(error: &Error) -> Option<StatusCode> {
    (error.kind() == Kind::QueueFull).then_some(StatusCode::SERVICE_UNAVAILABLE)
}
