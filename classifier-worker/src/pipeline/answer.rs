//! What a worker says of one image: classes or a typed error, and where the time went.

use std::time::{Duration, SystemTime};

use platform::{Error, Kind, error::to_rpc_status, time};
use prost_types::Timestamp;
use proto::v1::{Classification, ExecutionInfo, ImageResult, ImageState};

use super::held::Ticket;

/// Who does the work.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    pub(crate) worker_id: String,
    pub(crate) instance_id: String,
    pub(crate) model: String,
    pub(crate) model_version: String,
}

/// Where one image's time went.
#[derive(Debug, Clone)]
pub(crate) struct Timing {
    start: SystemTime,
    pub(crate) fetch: Option<Duration>,
    pub(crate) decode: Option<Duration>,
    pub(crate) inference: Option<Duration>,
    /// Images in its pass; 0 when there was none.
    pub(crate) batch_size: usize,
}

impl Timing {
    /// Work on it begins now.
    pub(crate) fn start(fetch: Option<Duration>) -> Self {
        Self { start: SystemTime::now(), fetch, decode: None, inference: None, batch_size: 0 }
    }
}

pub(crate) fn succeeded(
    identity: &Identity,
    ticket: &Ticket,
    timing: &Timing,
    classes: Vec<Classification>,
) -> ImageResult {
    ImageResult { classifications: classes, ..outcome(identity, ticket, timing, ImageState::Succeeded) }
}

pub(crate) fn failed(identity: &Identity, ticket: &Ticket, timing: &Timing, error: &Error) -> ImageResult {
    tracing::debug!(%error, task.id = ticket.task.task_id, "image failed");
    ImageResult { error: Some(to_rpc_status(error)), ..outcome(identity, ticket, timing, ImageState::Failed) }
}

/// Its deadline passed before work on it began.
pub(crate) fn expired(identity: &Identity, ticket: &Ticket) -> ImageResult {
    let timing = Timing::start(None);
    let queue = queue_duration(ticket, &timing);
    let error = Error::new(Kind::ExpiredInQueue, "the deadline passed while the image waited in the queue")
        .with_metadata("queue_ms", queue.as_millis());
    ImageResult {
        error: Some(to_rpc_status(&error)),
        ..outcome(identity, ticket, &timing, ImageState::Expired)
    }
}

fn outcome(identity: &Identity, ticket: &Ticket, timing: &Timing, state: ImageState) -> ImageResult {
    let execution = ExecutionInfo {
        model: identity.model.clone(),
        model_version: identity.model_version.clone(),
        worker_id: identity.worker_id.clone(),
        instance_id: identity.instance_id.clone(),
        attempt: ticket.attempt,
        cached: false,
        batch_size: u32::try_from(timing.batch_size).unwrap_or(u32::MAX),
        enqueue_time: ticket.task.enqueue_time,
        start_time: Some(Timestamp::from(timing.start)),
        end_time: Some(time::now()),
        queue_duration: Some(time::to_proto(queue_duration(ticket, timing))),
        fetch_duration: timing.fetch.map(time::to_proto),
        decode_duration: timing.decode.map(time::to_proto),
        inference_duration: timing.inference.map(time::to_proto),
    };
    ImageResult {
        // The gateway knows the position in the request.
        index: 0,
        custom_id: ticket.task.custom_id.clone(),
        state: state.into(),
        classifications: Vec::new(),
        error: None,
        execution: Some(execution),
    }
}

/// From the gateway's clock to ours: a little skew must not make it negative.
fn queue_duration(ticket: &Ticket, timing: &Timing) -> Duration {
    let enqueued = ticket.task.enqueue_time.and_then(|time| SystemTime::try_from(time).ok());
    enqueued.and_then(|time| timing.start.duration_since(time).ok()).unwrap_or_default()
}
