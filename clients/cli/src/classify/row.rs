//! One picture's outcome, as every output format shows it.

use std::time::Duration;

use platform::{Error, Kind, error::from_rpc_status, time::from_proto};
use proto::v1::{Classification, ExecutionInfo, ImageResult, ImageState};
use serde::Serialize;

use crate::failure::exit_code;

/// What became of one picture.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Row {
    #[serde(skip)]
    pub(crate) index: usize,
    pub(crate) file: String,
    /// SUCCEEDED, FAILED, CANCELLED or EXPIRED.
    pub(crate) state: &'static str,
    pub(crate) classifications: Vec<Class>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<Trouble>,
    /// From sending the request to this answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) total_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) execution: Option<Execution>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Class {
    pub(crate) class_id: u32,
    pub(crate) label: String,
    pub(crate) score: f32,
}

/// Why a picture has no classes.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Trouble {
    /// As in `google.rpc.ErrorInfo`, or ours for a file that was not sent.
    pub(crate) reason: &'static str,
    pub(crate) message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_ms: Option<f64>,
    #[serde(skip)]
    pub(crate) retry_after: Option<Duration>,
    #[serde(skip)]
    pub(crate) exit_code: u8,
}

impl Trouble {
    pub(crate) fn of_file(reason: &'static str, message: impl Into<String>) -> Self {
        let exit_code = platform::options::exit::FAILED;
        Self { reason, message: message.into(), retry_after_ms: None, retry_after: None, exit_code }
    }
}

impl From<&Error> for Trouble {
    fn from(error: &Error) -> Self {
        Self {
            reason: error.kind().reason(),
            message: error.message().to_owned(),
            retry_after_ms: error.retry_after().map(millis),
            retry_after: error.retry_after(),
            exit_code: exit_code(error.kind()),
        }
    }
}

/// Where the time went and who did the work.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Execution {
    pub(crate) model: String,
    worker_id: String,
    instance_id: String,
    attempt: u32,
    batch_size: u32,
    queue_ms: Option<f64>,
    decode_ms: Option<f64>,
    inference_ms: Option<f64>,
}

impl Row {
    pub(crate) fn failed(index: usize, file: String, trouble: Trouble) -> Self {
        Self {
            index,
            file,
            state: short_name(ImageState::Failed),
            classifications: Vec::new(),
            error: Some(trouble),
            total_ms: None,
            execution: None,
        }
    }

    pub(crate) fn from_result(index: usize, file: String, result: ImageResult, total: Duration) -> Self {
        let state = result.state();
        let error = result.error.map(|status| Trouble::from(&from_rpc_status(&status)));
        let error = match (state, error) {
            (ImageState::Succeeded, _) => None,
            (_, Some(error)) => Some(error),
            (_, None) => Some(Trouble::from(&Error::new(Kind::Internal, "the server gave no reason"))),
        };
        Self {
            index,
            file,
            state: short_name(state),
            classifications: result.classifications.into_iter().map(Class::from).collect(),
            error,
            total_ms: Some(millis(total)),
            execution: result.execution.map(Execution::from),
        }
    }
}

impl Row {
    /// Of a job: how long it was on its way says little.
    pub(crate) fn from_stored(result: ImageResult) -> Self {
        let (index, file) = (result.index as usize, result.custom_id.clone());
        Self { total_ms: None, ..Self::from_result(index, file, result, Duration::ZERO) }
    }
}

impl From<Classification> for Class {
    fn from(one: Classification) -> Self {
        Self { class_id: one.class_id, label: one.label, score: one.score }
    }
}

impl From<ExecutionInfo> for Execution {
    fn from(info: ExecutionInfo) -> Self {
        let millis_of = |field: Option<&prost_types::Duration>| from_proto(field).map(millis);
        Self {
            model: match (info.model.as_str(), info.model_version.as_str()) {
                (name, "") => name.to_owned(),
                (name, version) => format!("{name}@{version}"),
            },
            queue_ms: millis_of(info.queue_duration.as_ref()),
            decode_ms: millis_of(info.decode_duration.as_ref()),
            inference_ms: millis_of(info.inference_duration.as_ref()),
            worker_id: info.worker_id,
            instance_id: info.instance_id,
            attempt: info.attempt,
            batch_size: info.batch_size,
        }
    }
}

/// Milliseconds with three digits after the point.
fn millis(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

/// `SUCCEEDED` for `IMAGE_STATE_SUCCEEDED`.
fn short_name(state: ImageState) -> &'static str {
    let name = state.as_str_name();
    name.strip_prefix("IMAGE_STATE_").unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failed_result_keeps_the_reason_of_the_server() {
        let error = Error::new(Kind::ImageUndecodable, "the file ends too early");
        let result = ImageResult {
            state: ImageState::Failed.into(),
            error: Some(platform::error::to_rpc_status(&error)),
            ..ImageResult::default()
        };
        let row = Row::from_result(3, "a.jpg".to_owned(), result, Duration::from_micros(1_234_567));
        let trouble = row.error.clone().unwrap();
        assert_eq!((row.state, trouble.reason, trouble.exit_code), ("FAILED", "IMAGE_UNDECODABLE", 1));
        let json = serde_json::to_value(&row).unwrap();
        assert_eq!(json["error"]["message"], "the file ends too early");
        assert_eq!(json["total_ms"], 1234.567);
    }

    #[test]
    fn result_without_a_reason_is_still_a_failure() {
        let result = ImageResult { state: ImageState::Expired.into(), ..ImageResult::default() };
        let row = Row::from_result(0, "a.jpg".to_owned(), result, Duration::ZERO);
        assert_eq!((row.state, row.error.unwrap().reason), ("EXPIRED", "INTERNAL"));
    }

    #[test]
    fn overload_has_its_retry_time_and_its_exit_code() {
        let error = Error::new(Kind::QueueFull, "full").with_retry_after(Duration::from_millis(1500));
        let row = Row::failed(0, "a.jpg".to_owned(), Trouble::from(&error));
        assert_eq!(row.error.as_ref().unwrap().exit_code, 75);
        assert_eq!(serde_json::to_value(&row).unwrap()["error"]["retry_after_ms"], 1500.0);
    }
}
