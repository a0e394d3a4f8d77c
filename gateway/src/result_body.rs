//! Parts of a result as JSON, with the names of the API and durations in seconds: in answers over HTTP, and in the results
//! of jobs.

use proto::v1::{ExecutionInfo, ImageResult};
use serde::Serialize;

#[derive(Debug, Serialize)]
pub struct ClassificationBody<'a> {
    class_id: u32,
    label: &'a str,
    score: f32,
}

pub fn classifications(result: &ImageResult) -> Vec<ClassificationBody<'_>> {
    let classes = result.classifications.iter();
    let body = classes.map(|class| ClassificationBody {
        class_id: class.class_id,
        label: &class.label,
        score: class.score,
    });
    body.collect()
}

#[derive(Debug, Serialize)]
pub struct ExecutionBody<'a> {
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

impl<'a> From<&'a ExecutionInfo> for ExecutionBody<'a> {
    fn from(info: &'a ExecutionInfo) -> Self {
        let seconds = |duration: Option<&prost_types::Duration>| {
            platform::time::from_proto(duration).unwrap_or_default().as_secs_f64()
        };
        Self {
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
}
