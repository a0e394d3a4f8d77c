//! `ClassifyStream`: one request with many images in, events out. `accepted` first, exactly one
//! `result` for each image, `summary` last, `sequence` +1 each, a heartbeat in silence.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use futures::Stream;
use platform::{Error, Result};
use proto::v1::{
    ClassifyStreamRequest, ClassifyStreamResponse, ImageProgress, ImageState, ResultCounts, StreamAccepted,
    StreamHeartbeat, StreamSummary, classify_stream_response::Event as Answer,
};
use tokio::time::Instant;
use tonic::Status;

use crate::{
    core::{Core, Request},
    group::Group,
    grpc::add,
    pending::Event,
};

/// Proxies and browsers close what is silent for about a minute (DESIGN section 7).
const HEARTBEAT: Duration = Duration::from_secs(15);

/// Longest caller-given request id.
const REQUEST_ID_BYTES_MAX: usize = 128;

struct State {
    group: Group,
    names: Vec<String>,
    sequence: u64,
    /// Sent before anything the group says.
    first: VecDeque<Answer>,
    counts: ResultCounts,
    since: Instant,
    summary_sent: bool,
}

/// Queues the images and gives the events. It is pulled: a slow reader holds up only itself.
pub async fn open(
    core: Arc<Core>,
    request: ClassifyStreamRequest,
    deadline: Option<Instant>,
) -> Result<impl Stream<Item = Result<ClassifyStreamResponse, Status>> + Send + use<>> {
    let ClassifyStreamRequest { images, options, request_id, include_progress } = request;
    if request_id.len() > REQUEST_ID_BYTES_MAX {
        return Err(Error::invalid("request_id", format!("longer than {REQUEST_ID_BYTES_MAX} bytes")));
    }
    let many = Request { images, options, tell_start: include_progress, deadline };
    let ahead = core.counts().await.visible;
    let (group, names) = core.submit_many(many).await?;
    let mut first = VecDeque::from([Answer::Accepted(accepted(&core, request_id, names.len(), ahead))]);
    if include_progress {
        for ((index, name), ahead) in (0_u32..).zip(&names).zip(ahead..) {
            if !group.holds(name) {
                continue;
            }
            first.push_back(Answer::Progress(ImageProgress {
                index,
                custom_id: name.clone(),
                state: ImageState::Queued.into(),
                queue_depth: ahead,
                estimated_wait: core.estimated_wait(ahead).map(platform::time::to_proto),
                worker_id: String::new(),
            }));
        }
    }
    let state = State {
        group,
        names,
        sequence: 0,
        first,
        counts: ResultCounts::default(),
        since: Instant::now(),
        summary_sent: false,
    };
    Ok(futures::stream::unfold(state, |mut state| async move {
        let event = state.next().await?;
        state.sequence += 1;
        let response = ClassifyStreamResponse { sequence: state.sequence, event: Some(event) };
        Some((Ok(response), state))
    }))
}

fn accepted(core: &Core, request_id: String, images: usize, ahead: u64) -> StreamAccepted {
    let capacity = (*core.capacity.borrow()).unwrap_or_default();
    let total = ahead + images as u64;
    StreamAccepted {
        request_id: if request_id.is_empty() { platform::id::new() } else { request_id },
        image_count: u32::try_from(images).unwrap_or(u32::MAX),
        estimated_wait: core.estimated_wait(total).map(platform::time::to_proto),
        ready_workers: capacity.ready,
        starting_workers: capacity.starting,
    }
}

impl State {
    async fn next(&mut self) -> Option<Answer> {
        if let Some(answer) = self.first.pop_front() {
            return Some(answer);
        }
        match tokio::time::timeout(HEARTBEAT, self.group.next()).await {
            Err(_) => Some(Answer::Heartbeat(StreamHeartbeat { time: Some(platform::time::now()) })),
            Ok(Some(Event::Finished(result))) => {
                add(&mut self.counts, result.state());
                Some(Answer::Result(*result))
            }
            Ok(Some(Event::Started { index, worker_id })) => Some(Answer::Progress(ImageProgress {
                index,
                custom_id: self.names.get(index as usize).cloned().unwrap_or_default(),
                state: ImageState::Running.into(),
                worker_id,
                ..ImageProgress::default()
            })),
            Ok(None) if self.summary_sent => None,
            Ok(None) => {
                self.summary_sent = true;
                Some(Answer::Summary(StreamSummary {
                    counts: Some(self.counts),
                    total_duration: Some(platform::time::to_proto(self.since.elapsed())),
                }))
            }
        }
    }
}
