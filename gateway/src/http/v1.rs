//! `POST /v1/classify`: the bytes of an image in, JSON out.

use axum::{
    Json,
    extract::{Query, Request, State, rejection::QueryRejection},
    http::request::Parts,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use platform::{Error, Kind, Result, options::parse_duration};
use proto::v1::{ClassifyOptions, Image, ImageResult, image::Source};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::{
    admission::Patience,
    core::One,
    result_body::{ClassificationBody, ExecutionBody, classifications},
};

use super::{Http, body, idempotent, part, problem};

/// The query: `?top_k=3&model=name@version&min_score=0.1&custom_id=cat.jpg&timeout=10s`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Asked {
    top_k: u32,
    model: String,
    min_score: f32,
    custom_id: String,
    /// How long the caller waits; none: as long as the server lets it.
    timeout: Option<String>,
}

pub(super) async fn classify(
    State(http): State<Http>,
    query: Result<Query<Asked>, QueryRejection>,
    request: Request,
) -> Response {
    match answer(&http, query, request).await {
        Ok(result) => Json(ResultBody::from(&result)).into_response(),
        Err(error) => problem(&error, None),
    }
}

async fn answer(
    http: &Http,
    query: Result<Query<Asked>, QueryRejection>,
    request: Request,
) -> Result<ImageResult> {
    let arrived = Instant::now();
    let (head, body) = request.into_parts();
    let limits = body::Limits {
        bytes_max: http.core.options.image_bytes_max,
        idle: http.core.options.body_idle_timeout,
    };
    // Read first: a caller that is still sending does not see an early answer.
    let content = body::read(&head.headers, body, limits).await?;
    let Query(asked) = query.map_err(|error| Error::invalid("query", error.body_text()))?;
    let deadline = deadline(arrived, asked.timeout.as_deref())?;
    let content_type = head.headers.get(axum::http::header::CONTENT_TYPE);
    if content_type.is_some_and(|value| value.as_bytes().starts_with(b"multipart/")) {
        // An old client that was pointed here: it is served all the same.
        let part = part::find(&head.headers, content).await?;
        let asked = Asked { custom_id: part.file_name, ..asked };
        let sent = Sent { content: part.content, asked, deadline };
        return classify_content(http, &head, sent).await;
    }
    if content.is_empty() {
        return Err(Error::new(
            Kind::ImageEmpty,
            "the body is empty; send the bytes of an image: curl --data-binary @cat.jpg URL",
        ));
    }
    classify_content(http, &head, Sent { content, asked, deadline }).await
}

/// When a caller stops waiting who said for how long it will.
pub(super) fn deadline(arrived: Instant, timeout: Option<&str>) -> Result<Option<Instant>> {
    let Some(timeout) = timeout else { return Ok(None) };
    let timeout = parse_duration(timeout).map_err(|error| Error::invalid("timeout", error))?;
    if timeout.is_zero() {
        return Err(Error::invalid("timeout", "must be longer than 0s"));
    }
    // One that no clock can count to is none.
    Ok(arrived.checked_add(timeout))
}

/// What a caller sent.
struct Sent {
    content: Bytes,
    asked: Asked,
    deadline: Option<Instant>,
}

async fn classify_content(http: &Http, head: &Parts, sent: Sent) -> Result<ImageResult> {
    let Sent { content, asked, deadline } = sent;
    let options = ClassifyOptions {
        model: asked.model,
        top_k: asked.top_k,
        min_score: asked.min_score,
        ..ClassifyOptions::default()
    };
    let image = Image { source: Some(Source::Content(content)), custom_id: asked.custom_id };
    let one = One { image, options: Some(options), deadline, patience: Patience::Caller };
    idempotent::classify(&http.core, head, "/v1/classify", one).await
}

/// `ImageResult` of a success.
#[derive(Debug, Serialize)]
pub(super) struct ResultBody<'a> {
    custom_id: &'a str,
    classifications: Vec<ClassificationBody<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    execution: Option<ExecutionBody<'a>>,
}

impl<'a> From<&'a ImageResult> for ResultBody<'a> {
    fn from(result: &'a ImageResult) -> Self {
        Self {
            custom_id: &result.custom_id,
            classifications: classifications(result),
            execution: result.execution.as_ref().map(ExecutionBody::from),
        }
    }
}
