//! A result as a line of JSON.

use platform::error::from_rpc_status;
use proto::v1::{ClassifyOptions, ImageResult, ImageState};
use serde::Serialize;

use crate::result_body::{ClassificationBody, ExecutionBody, classifications};

#[derive(Serialize)]
struct Line<'a> {
    index: u32,
    custom_id: &'a str,
    state: &'a str,
    classifications: Vec<ClassificationBody<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Why>,
    #[serde(skip_serializing_if = "Option::is_none")]
    execution: Option<ExecutionBody<'a>>,
}

#[derive(Serialize)]
struct Why {
    reason: &'static str,
    message: String,
}

/// `SUCCEEDED` for `IMAGE_STATE_SUCCEEDED`.
pub fn short_name(state: ImageState) -> &'static str {
    let name = state.as_str_name();
    name.strip_prefix("IMAGE_STATE_").unwrap_or(name)
}

/// Ends with the end of the line.
pub fn line(result: &ImageResult) -> Vec<u8> {
    let line = Line {
        index: result.index,
        custom_id: &result.custom_id,
        state: short_name(result.state()),
        classifications: classifications(result),
        error: result.error.as_ref().map(|status| {
            let error = from_rpc_status(status);
            Why { reason: error.kind().reason(), message: error.message().to_owned() }
        }),
        execution: result.execution.as_ref().map(ExecutionBody::from),
    };
    // Strings and numbers: it can't fail, and an empty line would be seen.
    let mut bytes = serde_json::to_vec(&line).unwrap_or_default();
    bytes.push(b'\n');
    bytes
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
