//! The images of one caller's request on their way: queued together, answered one by one, withdrawn
//! when the caller goes away.

use std::{
    collections::VecDeque,
    ops::Range,
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use platform::{
    Error, Kind,
    error::{name_request, to_rpc_status},
};
use prost_types::Timestamp;
use proto::v1::{ExecutionInfo, ImageResult, ImageState};
use tokio::{sync::mpsc, time::Instant};

use crate::{
    admission::Patience,
    cache::Sum,
    core::Core,
    counters::Counted,
    pending::{Event, Left, Seat},
};

mod submit;

/// An image that passed the checks.
pub struct Accepted {
    pub index: u32,
    pub custom_id: String,
    pub content: Picture,
}

/// What there is of an image.
pub enum Picture {
    Content(Bytes),
    /// The caller's own object, pinned to its version.
    Object(String),
    /// An object of our own store, or the part of it that is the image: a job's images were put there before it was
    /// promised anything.
    Stored {
        key: String,
        part: Option<Range<u64>>,
    },
}

/// How a caller waits for its images.
#[derive(Debug, Clone, Copy)]
pub struct Terms {
    /// At once.
    pub images_max: usize,
    /// Whether `next` also tells when a worker takes one up.
    pub tell_start: bool,
    /// When the caller stops waiting.
    pub answer_by: Instant,
    pub patience: Patience,
}

/// Dropping it withdraws what is not answered yet.
pub struct Group {
    core: Arc<Core>,
    events: mpsc::Sender<Event>,
    receiver: mpsc::Receiver<Event>,
    tell_start: bool,
    patience: Patience,
    /// Not answered yet, by order of submission.
    open: Vec<Open>,
    /// Answers that we know without a worker.
    ready: VecDeque<Event>,
    /// When the caller stops waiting.
    answer_by: Instant,
    /// Where workers leave results when this gateway is gone.
    keep_under: Option<String>,
}

struct Open {
    seat: Seat,
    index: u32,
    custom_id: String,
    enqueue_time: Timestamp,
    /// A worker must have started by then.
    start_by: Instant,
    since: Instant,
    /// What of the answer this caller wants, when the task asked for more.
    cut: Option<Cut>,
    /// Whether the task is another's, and was queued at another time.
    joined: bool,
}

/// An answer that others may have, too, cut to what one of them asked for.
#[derive(Debug, Clone)]
struct Cut {
    top_k: usize,
    min_score: f32,
    /// Where the whole of it is remembered.
    sum: Sum,
    task_top_k: u32,
}

impl Cut {
    fn apply(&self, result: &mut ImageResult) {
        result.classifications.truncate(self.top_k);
        result.classifications.retain(|class| class.score >= self.min_score);
    }
}

impl Group {
    pub fn new(core: Arc<Core>, terms: Terms) -> Self {
        let Terms { images_max, tell_start, answer_by, patience } = terms;
        let room = images_max.max(1) * if tell_start { 2 } else { 1 };
        let (events, receiver) = mpsc::channel(room);
        let (open, ready) = (Vec::new(), VecDeque::new());
        Self { core, events, receiver, tell_start, patience, open, ready, answer_by, keep_under: None }
    }

    /// Has workers leave the results of images below this key of the store when this gateway is gone.
    pub fn keep_under(&mut self, key: Option<String>) {
        self.keep_under = key;
    }

    /// A result that is known already.
    pub fn give(&mut self, result: ImageResult) {
        self.ready.push_back(Event::Finished(Box::new(result)));
    }

    /// An image that is answered without a worker.
    pub fn fail(&mut self, index: u32, custom_id: String, error: &Error) {
        self.give(failed(index, custom_id, error));
    }

    /// Images not answered yet.
    pub fn open(&self) -> usize {
        self.open.len() + self.ready.len()
    }

    /// Whether this name is on its way.
    pub fn holds(&self, custom_id: &str) -> bool {
        self.open.iter().any(|one| one.custom_id == custom_id)
    }

    /// The caller's name of an image that is on its way.
    pub fn name(&self, index: u32) -> Option<&str> {
        self.open.iter().find(|one| one.index == index).map(|one| one.custom_id.as_str())
    }

    /// Withdraws one image by the caller's name; its answer says so. Nothing happens to one that is
    /// answered or was never there.
    pub fn cancel(&mut self, custom_id: &str) {
        let Some(at) = self.open.iter().position(|one| one.custom_id == custom_id) else { return };
        let one = self.open.swap_remove(at);
        if let Some(left) = self.core.pending.forget(&one.seat) {
            self.withdraw(std::iter::once((&one.seat, left)));
            self.core.counters.add(Counted::Withdrawn, 1);
            let error = Error::new(Kind::Cancelled, "withdrawn by its caller");
            self.fail(one.index, one.custom_id, &error);
        } else {
            // Its answer is in the channel already.
            self.open.push(one);
        }
    }

    /// The next event; `None` once every image is answered.
    ///
    /// May be dropped and called again: no event is lost.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(event);
            }
            let next_end = self.open.iter().map(|one| one.start_by.min(self.answer_by)).min()?;
            // A start deadline that has passed for a running image leaves the answer's deadline.
            let wake = if next_end <= Instant::now() { self.answer_by } else { next_end };
            tokio::select! {
                biased;
                event = self.receiver.recv() => {
                    // `self.events` keeps the channel open.
                    let event = event?;
                    return Some(self.arrived(event));
                }
                () = tokio::time::sleep_until(wake) => self.expire(),
            }
        }
    }

    fn arrived(&mut self, mut event: Event) -> Event {
        if let Event::Finished(result) = &mut event
            && let Some(at) = self.open.iter().position(|one| one.index == result.index)
        {
            let open = self.open.swap_remove(at);
            if let Some(cut) = &open.cut {
                self.core.remember(cut.sum, cut.task_top_k, result);
                cut.apply(result);
            }
            if open.joined {
                own_times(result, open.enqueue_time);
            }
            if let Some(error) = &mut result.error {
                name_request(error);
            }
            // The whole name: a task that points to its image carries a short one, and a shared one another's.
            result.custom_id = open.custom_id;
        }
        event
    }

    /// Waits for these no more. Gives how many of them were not answered.
    fn leave(&self, open: &[Open]) -> usize {
        let left = open.iter().filter_map(|one| Some((&one.seat, self.core.pending.forget(&one.seat)?)));
        let left = left.collect::<Vec<_>>();
        let count = left.len();
        self.withdraw(left.into_iter());
        count
    }

    /// Ends what has waited too long.
    fn expire(&mut self) {
        let now = Instant::now();
        let over = now >= self.answer_by;
        let pending = &self.core.pending;
        let (mut gone, mut open) = (Vec::new(), Vec::new());
        for one in std::mem::take(&mut self.open) {
            // One whose answer is in the channel stays: it is not in `pending` any more.
            let left = match () {
                () if over => pending.forget(&one.seat),
                () if now >= one.start_by => pending.forget_unstarted(&one.seat),
                () => None,
            };
            match left {
                Some(left) => gone.push((one, left)),
                None => open.push(one),
            }
        }
        self.withdraw(gone.iter().map(|(one, left)| (&one.seat, *left)));
        self.core.counters.add(Counted::Expired, gone.len());
        self.open = open;
        for (one, _) in gone {
            let waited = now - one.since;
            let error = Error::new(
                Kind::ExpiredInQueue,
                format!(
                    "no worker had finished it after {}",
                    platform::options::show_duration(waited_shown(waited))
                ),
            )
            .with_metadata("queue_ms", waited.as_millis());
            let mut result = failed(one.index, one.custom_id, &error);
            result.execution = Some(ExecutionInfo {
                enqueue_time: Some(one.enqueue_time),
                queue_duration: Some(platform::time::to_proto(waited)),
                ..ExecutionInfo::default()
            });
            self.ready.push_back(Event::Finished(Box::new(result)));
        }
    }

    /// Takes tasks that nobody waits for any more out of the queue.
    fn withdraw<'a>(&self, left: impl Iterator<Item = (&'a Seat, Left)>) {
        let last = left.filter(|(_, left)| left.was_last).map(|(seat, _)| seat.task_id.clone());
        let last = last.collect::<Vec<_>>();
        if !last.is_empty() {
            self.core.queue.withdraw(&last);
        }
    }
}

/// Milliseconds are enough for a person.
fn waited_shown(waited: Duration) -> Duration {
    Duration::from_millis(u64::try_from(waited.as_millis()).unwrap_or(u64::MAX))
}

impl Drop for Group {
    fn drop(&mut self) {
        let open = std::mem::take(&mut self.open);
        self.core.counters.add(Counted::Withdrawn, self.leave(&open));
    }
}

/// Of a task that was another's, the times as this caller saw them.
fn own_times(result: &mut ImageResult, enqueue_time: Timestamp) {
    let Some(execution) = &mut result.execution else { return };
    execution.enqueue_time = Some(enqueue_time);
    let time = |time: Timestamp| SystemTime::try_from(time).ok();
    let start = execution.start_time.and_then(time);
    // It may have been running already.
    let waited = start.zip(time(enqueue_time)).and_then(|(start, since)| start.duration_since(since).ok());
    execution.queue_duration = Some(platform::time::to_proto(waited.unwrap_or_default()));
}

/// The result of an image that failed before or without a worker.
pub fn failed(index: u32, custom_id: String, error: &Error) -> ImageResult {
    let state = match error.kind() {
        Kind::ExpiredInQueue | Kind::DeadlineExceeded => ImageState::Expired,
        Kind::Cancelled => ImageState::Cancelled,
        _ => ImageState::Failed,
    };
    ImageResult {
        index,
        custom_id,
        state: state.into(),
        error: Some(to_rpc_status(error)),
        ..ImageResult::default()
    }
}
