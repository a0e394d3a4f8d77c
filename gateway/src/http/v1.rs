//! `POST /v1/classify`: the bytes of an image in, JSON out.

use axum::{
    Json,
    extract::{Query, Request, State, rejection::QueryRejection},
    http::request::Parts,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use platform::{Error, Kind, Result, options::parse_duration};
use proto::v1::{ClassifyOptions, ExecutionInfo, Image, ImageResult, image::Source};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::{admission::Patience, core::One};

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
        Ok(result) => Json(ResultBody::from(result)).into_response(),
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

/// `ImageResult` of a success, with the names of the API and durations in seconds.
#[derive(Debug, Serialize)]
pub(super) struct ResultBody {
    custom_id: String,
    classifications: Vec<ClassificationBody>,
    #[serde(skip_serializing_if = "Option::is_none")]
    execution: Option<ExecutionBody>,
}

#[derive(Debug, Serialize)]
struct ClassificationBody {
    class_id: u32,
    label: String,
    score: f32,
}

#[derive(Debug, Serialize)]
struct ExecutionBody {
    model: String,
    model_version: String,
    worker_id: String,
    instance_id: String,
    attempt: u32,
    cached: bool,
    batch_size: u32,
    queue_seconds: f64,
    decode_seconds: f64,
    inference_seconds: f64,
}

impl From<ImageResult> for ResultBody {
    fn from(result: ImageResult) -> Self {
        let classifications = result.classifications.into_iter().map(|class| ClassificationBody {
            class_id: class.class_id,
            label: class.label,
            score: class.score,
        });
        Self {
            custom_id: result.custom_id,
            classifications: classifications.collect(),
            execution: result.execution.map(ExecutionBody::from),
        }
    }
}

impl From<ExecutionInfo> for ExecutionBody {
    fn from(info: ExecutionInfo) -> Self {
        let seconds = |duration: Option<prost_types::Duration>| {
            platform::time::from_proto(duration.as_ref()).unwrap_or_default().as_secs_f64()
        };
        Self {
            queue_seconds: seconds(info.queue_duration),
            decode_seconds: seconds(info.decode_duration),
            inference_seconds: seconds(info.inference_duration),
            model: info.model,
            model_version: info.model_version,
            worker_id: info.worker_id,
            instance_id: info.instance_id,
            attempt: info.attempt,
            cached: info.cached,
            batch_size: info.batch_size,
        }
    }
}
