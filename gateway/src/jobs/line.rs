//! A result as a line of JSON, with the names of the API and durations in seconds.

use platform::error::from_rpc_status;
use proto::v1::{ClassifyOptions, ExecutionInfo, ImageResult, ImageState};
use serde::Serialize;

#[derive(Serialize)]
struct Line<'a> {
    index: u32,
    custom_id: &'a str,
    state: &'a str,
    classifications: Vec<Class<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Why>,
    #[serde(skip_serializing_if = "Option::is_none")]
    execution: Option<Execution<'a>>,
}

#[derive(Serialize)]
struct Class<'a> {
    class_id: u32,
    label: &'a str,
    score: f32,
}

#[derive(Serialize)]
struct Why {
    reason: &'static str,
    message: String,
}

#[derive(Serialize)]
struct Execution<'a> {
    model: &'a str,
    model_version: &'a str,
    worker_id: &'a str,
    instance_id: &'a str,
    attempt: u32,
    cached: bool,
    batch_size: u32,
    queue_seconds: f64,
    decode_seconds: f64,
    inference_seconds: f64,
}

/// `SUCCEEDED` for `IMAGE_STATE_SUCCEEDED`.
pub fn short_name(state: ImageState) -> &'static str {
    let name = state.as_str_name();
    name.strip_prefix("IMAGE_STATE_").unwrap_or(name)
}

/// Ends with the end of the line.
pub fn line(result: &ImageResult) -> Vec<u8> {
    let classes = result.classifications.iter();
    let line = Line {
        index: result.index,
        custom_id: &result.custom_id,
        state: short_name(result.state()),
        classifications: classes
            .map(|class| Class { class_id: class.class_id, label: &class.label, score: class.score })
            .collect(),
        error: result.error.as_ref().map(|status| {
            let error = from_rpc_status(status);
            Why { reason: error.kind().reason(), message: error.message().to_owned() }
        }),
        execution: result.execution.as_ref().map(execution),
    };
    // Strings and numbers: it can't fail, and an empty line would be seen.
    let mut bytes = serde_json::to_vec(&line).unwrap_or_default();
    bytes.push(b'\n');
    bytes
}

fn execution(info: &ExecutionInfo) -> Execution<'_> {
    let seconds = |duration: Option<&prost_types::Duration>| {
        platform::time::from_proto(duration).unwrap_or_default().as_secs_f64()
    };
    Execution {
        model: &info.model,
        model_version: &info.model_version,
        worker_id: &info.worker_id,
        instance_id: &info.instance_id,
        attempt: info.attempt,
        cached: info.cached,
        batch_size: info.batch_size,
        queue_seconds: seconds(info.queue_duration.as_ref()),
        decode_seconds: seconds(info.decode_duration.as_ref()),
        inference_seconds: seconds(info.inference_duration.as_ref()),
    }
}

/// What was checked when the job came, without what the job itself keeps an eye on.
pub fn options(options: Option<ClassifyOptions>) -> platform::Result<crate::intake::Checked> {
    let ClassifyOptions { model, top_k, min_score, priority, no_cache, max_queue_duration: _ } =
        options.unwrap_or_default();
    let rest = ClassifyOptions { top_k, min_score, priority, no_cache, ..ClassifyOptions::default() };
    // A worker that serves the model may not have come yet.
    let mut checked = crate::intake::check_options(Some(rest), &crate::models::Models::default())?;
    checked.model = model;
    if checked.priority == proto::v1::Priority::Unspecified {
        checked.priority = proto::v1::Priority::Batch;
    }
    Ok(checked)
}
