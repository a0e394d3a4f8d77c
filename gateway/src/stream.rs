//! `ClassifyStream`: one request with many images in, events out. `accepted` first, exactly one
//! `result` for each image, `summary` last, `sequence` +1 each, a heartbeat in silence.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use futures::Stream;
use platform::Result;
use proto::v1::{
    ClassifyOptions, ClassifyStreamResponse, ImageProgress, ImageState, Priority, ResultCounts,
    StreamAccepted, StreamHeartbeat, StreamSummary, classify_stream_response::Event as Answer,
};
use tokio::time::Instant;
use tonic::Status;

use crate::{
    core::{Core, Request},
    group::Group,
    grpc::add,
    pending::Event,
    progress::{Progress, Standing},
    repeat::Follower,
};

/// Proxies and browsers close what is silent for about a minute (DESIGN section 7).
const HEARTBEAT: Duration = Duration::from_secs(15);

pub struct State {
    core: Arc<Core>,
    group: Group,
    names: Vec<String>,
    /// Sent before anything the group says: what comes at the start, and how images stand. One look's worth at most.
    ready: VecDeque<Answer>,
    /// Empty where the caller wants results alone.
    progress: Progress,
    counts: ResultCounts,
    since: Instant,
    summary_sent: bool,
}

/// Where a stream's events come from.
pub enum Events {
    Own(Box<State>),
    /// From a call that others may wait for, too.
    Shared(Follower),
}

impl Events {
    /// `None` after the last. May be dropped and called again: no event is lost.
    pub async fn next(&mut self) -> Result<Option<Answer>> {
        match self {
            Self::Own(state) => Ok(state.next().await),
            Self::Shared(follower) => follower.next().await,
        }
    }

    /// Whether it ended with the time of another caller, and this one has some left.
    pub fn has_time_left(&self) -> bool {
        matches!(self, Self::Shared(follower) if follower.has_time_left())
    }

    /// As messages, with heartbeats where there is silence. It is pulled: a slow reader holds up only itself.
    pub fn respond(self) -> impl Stream<Item = Result<ClassifyStreamResponse, Status>> + Send + use<> {
        futures::stream::unfold((Some(self), 0), |(events, sequence)| async move {
            let mut events = events?;
            let event = match tokio::time::timeout(HEARTBEAT, events.next()).await {
                Err(_) => Answer::Heartbeat(StreamHeartbeat { time: Some(platform::time::now()) }),
                Ok(Ok(event)) => event?,
                Ok(Err(error)) => return Some((Err(error.into()), (None, sequence))),
            };
            let response = ClassifyStreamResponse { sequence: sequence + 1, event: Some(event) };
            Some((Ok(response), (Some(events), sequence + 1)))
        })
    }
}

/// Queues the images and gives the events.
pub async fn open(core: &Arc<Core>, request_id: String, many: Request) -> Result<State> {
    let include_progress = many.tell_start;
    let priority = many.options.as_ref().map_or(Priority::Unspecified, ClassifyOptions::priority);
    // Where the first of them will be, or a little behind it when others come at the same moment.
    let place = core.pending.backlog().next_place(priority);
    let (group, names) = core.submit_many(many).await?;
    let queued = (0_u32..).zip(&names).filter(|(_, name)| group.holds(name)).map(|(index, _)| index);
    let places = queued.zip(0_u64..).map(|(index, later)| (index, place.after(later))).collect::<Vec<_>>();
    let last = places.last().map_or(Some(Duration::ZERO), |(_, place)| core.standing(*place).wait);
    let accepted =
        Answer::Accepted(accepted(core, request_id, &Expected { images: names.len(), wait: last }));
    let mut state = State {
        core: Arc::clone(core),
        group,
        names,
        ready: VecDeque::from([accepted]),
        progress: Progress::default(),
        counts: ResultCounts::default(),
        since: Instant::now(),
        summary_sent: false,
    };
    if include_progress {
        for (index, place) in places {
            let standing = state.progress.add(&state.core, index, place);
            let progress = state.queued(index, standing);
            state.ready.push_back(progress);
        }
    }
    Ok(state)
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
    /// `None` after the last. May be dropped and called again: no event is lost.
    pub async fn next(&mut self) -> Option<Answer> {
        loop {
            if let Some(answer) = self.ready.pop_front() {
                return Some(answer);
            }
            let look = self.progress.next_look();
            let looking = async {
                match look {
                    Some(look) => tokio::time::sleep_until(look).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                event = self.group.next() => match event {
                    Some(event) => return Some(self.happened(event)),
                    None if self.summary_sent => return None,
                    None => return Some(self.summary()),
                },
                () = looking => self.look(),
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
