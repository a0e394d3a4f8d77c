//! `ClassifyStream`: one request with many images in, events out. `accepted` first, exactly one
//! `result` for each image, `summary` last, `sequence` +1 each, a heartbeat in silence.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use futures::Stream;
use platform::{Error, Result};
use proto::v1::{
    ClassifyOptions, ClassifyStreamRequest, ClassifyStreamResponse, ImageProgress, ImageState, Priority,
    ResultCounts, StreamAccepted, StreamHeartbeat, StreamSummary, classify_stream_response::Event as Answer,
};
use tokio::time::Instant;
use tonic::Status;

use crate::{
    core::{Core, Request},
    group::Group,
    grpc::add,
    pending::Event,
    progress::{Progress, Standing},
};

/// Proxies and browsers close what is silent for about a minute (DESIGN section 7).
const HEARTBEAT: Duration = Duration::from_secs(15);

/// Longest caller-given request id.
const REQUEST_ID_BYTES_MAX: usize = 128;

struct State {
    core: Arc<Core>,
    group: Group,
    names: Vec<String>,
    sequence: u64,
    /// Sent before anything the group says: what comes at the start, and how images stand. One look's worth at most.
    ready: VecDeque<Answer>,
    /// Empty where the caller wants results alone.
    progress: Progress,
    counts: ResultCounts,
    since: Instant,
    last_answer: Instant,
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
    let priority = many.options.as_ref().map_or(Priority::Unspecified, ClassifyOptions::priority);
    // Where the first of them will be, or a little behind it when others come at the same moment.
    let place = core.pending.backlog().next_place(priority);
    let (group, names) = core.submit_many(many).await?;
    let queued = (0_u32..).zip(&names).filter(|(_, name)| group.holds(name)).map(|(index, _)| index);
    let places = queued.zip(0_u64..).map(|(index, later)| (index, place.after(later))).collect::<Vec<_>>();
    let last = places.last().map_or(Some(Duration::ZERO), |(_, place)| core.standing(*place).wait);
    let accepted =
        Answer::Accepted(accepted(&core, request_id, &Expected { images: names.len(), wait: last }));
    let mut state = State {
        core,
        group,
        names,
        sequence: 0,
        ready: VecDeque::from([accepted]),
        progress: Progress::default(),
        counts: ResultCounts::default(),
        since: Instant::now(),
        last_answer: Instant::now(),
        summary_sent: false,
    };
    if include_progress {
        for (index, place) in places {
            let standing = state.progress.add(&state.core, index, place);
            let progress = state.queued(index, standing);
            state.ready.push_back(progress);
        }
    }
    Ok(futures::stream::unfold(state, |mut state| async move {
        let event = state.next().await?;
        state.sequence += 1;
        state.last_answer = Instant::now();
        let response = ClassifyStreamResponse { sequence: state.sequence, event: Some(event) };
        Some((Ok(response), state))
    }))
}

/// What is expected of a request.
struct Expected {
    images: usize,
    /// Of the last of them.
    wait: Option<Duration>,
}

fn accepted(core: &Core, request_id: String, expected: &Expected) -> StreamAccepted {
    let capacity = (*core.capacity.borrow()).unwrap_or_default();
    StreamAccepted {
        request_id: if request_id.is_empty() { platform::id::new() } else { request_id },
        image_count: u32::try_from(expected.images).unwrap_or(u32::MAX),
        estimated_wait: expected.wait.map(platform::time::to_proto),
        ready_workers: capacity.ready,
        starting_workers: capacity.starting,
    }
}

impl State {
    async fn next(&mut self) -> Option<Answer> {
        loop {
            if let Some(answer) = self.ready.pop_front() {
                return Some(answer);
            }
            let heartbeat = self.last_answer + HEARTBEAT;
            let wake = self.progress.next_look().map_or(heartbeat, |look| look.min(heartbeat));
            match tokio::time::timeout_at(wake, self.group.next()).await {
                Ok(Some(event)) => return Some(self.happened(event)),
                Ok(None) if self.summary_sent => return None,
                Ok(None) => return Some(self.summary()),
                Err(_) => {}
            }
            self.look();
            if self.ready.is_empty() && heartbeat <= Instant::now() {
                return Some(Answer::Heartbeat(StreamHeartbeat { time: Some(platform::time::now()) }));
            }
        }
    }

    fn happened(&mut self, event: Event) -> Answer {
        match event {
            Event::Finished(result) => {
                self.progress.remove(result.index);
                add(&mut self.counts, result.state());
                Answer::Result(*result)
            }
            Event::Started { index, worker_id } => {
                self.progress.remove(index);
                Answer::Progress(ImageProgress {
                    index,
                    custom_id: self.name(index),
                    state: ImageState::Running.into(),
                    worker_id,
                    ..ImageProgress::default()
                })
            }
        }
    }

    /// Tells again how images stand, as far as that has changed.
    fn look(&mut self) {
        let core = &self.core;
        let changed = self.progress.look(|place| core.standing(place));
        let told =
            changed.into_iter().map(|(index, standing)| self.queued(index, standing)).collect::<Vec<_>>();
        self.ready.extend(told);
    }

    fn queued(&self, index: u32, standing: Standing) -> Answer {
        Answer::Progress(ImageProgress { custom_id: self.name(index), ..standing.progress(index) })
    }

    fn name(&self, index: u32) -> String {
        self.names.get(index as usize).cloned().unwrap_or_default()
    }

    fn summary(&mut self) -> Answer {
        self.summary_sent = true;
        Answer::Summary(StreamSummary {
            counts: Some(self.counts),
            total_duration: Some(platform::time::to_proto(self.since.elapsed())),
        })
    }
}
