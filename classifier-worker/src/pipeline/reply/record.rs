//! A result as it is kept in the store and published for other consumers.

use bytes::Bytes;
use platform::{error::from_rpc_status, options::Profile, queue::Task};
use prost::Message as _;
use proto::v1::ImageResult;
use serde_json::json;

/// What the store keeps: the message `dunlin.v1.ImageResult` itself, or by the course's rules `(name,label)`.
pub(super) fn kept(profile: Profile, task: &Task, result: &ImageResult) -> Bytes {
    match profile {
        Profile::Default => result.encode_to_vec().into(),
        Profile::Cse546 => pair(task, result).into(),
    }
}

/// What the results queue carries: JSON, or by the course's rules `(name,label)`.
pub(super) fn published(profile: Profile, task: &Task, result: &ImageResult) -> String {
    if profile == Profile::Cse546 {
        return pair(task, result);
    }
    let classes = result.classifications.iter();
    let classes =
        classes.map(|class| json!({"class_id": class.class_id, "label": class.label, "score": class.score}));
    let error = result.error.as_ref().map(|status| {
        let error = from_rpc_status(status);
        json!({"reason": error.kind().reason(), "message": error.message()})
    });
    let execution = result.execution.as_ref();
    json!({
        "task_id": task.task_id,
        "custom_id": task.custom_id,
        "state": result.state().as_str_name(),
        "classifications": classes.collect::<Vec<_>>(),
        "error": error,
        "model": execution.map(|execution| format!("{}@{}", execution.model, execution.model_version)),
        "attempt": execution.map(|execution| execution.attempt),
    })
    .to_string()
}

/// The file's stem and the label; of one that failed, the reason in the label's place.
fn pair(task: &Task, result: &ImageResult) -> String {
    let stem = task.custom_id.split('.').next().filter(|stem| !stem.is_empty()).unwrap_or(&task.custom_id);
    let label = match result.classifications.first() {
        Some(class) => class.label.clone(),
        None => {
            result.error.as_ref().map(from_rpc_status).map_or("", |error| error.kind().reason()).to_owned()
        }
    };
    format!("({stem},{label})")
}
