//! The images of one caller's request on their way: queued together, answered one by one, withdrawn
//! when the caller goes away.

use std::{collections::VecDeque, ops::Range, sync::Arc, time::Duration};

use bytes::Bytes;
use platform::{
    Error, Kind, Result,
    error::{name_request, to_rpc_status},
    queue::Task,
};
use prost_types::Timestamp;
use proto::{
    internal::v1::task::Input,
    v1::{ExecutionInfo, ImageResult, ImageState},
};
use tokio::{sync::mpsc, time::Instant};

use crate::{
    admission::{Asked, Patience},
    cache::Key,
    core::Core,
    counters::Counted,
    intake::Checked,
    pending::{Event, Registration},
    place::Place,
};

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
    #[allow(dead_code)] // Jobs come next.
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
}

struct Open {
    task_id: String,
    index: u32,
    custom_id: String,
    enqueue_time: Timestamp,
    /// A worker must have started by then.
    start_by: Instant,
    since: Instant,
    /// Where its result is remembered.
    cache_key: Option<Key>,
}

impl Group {
    pub fn new(core: Arc<Core>, terms: Terms) -> Self {
        let Terms { images_max, tell_start, answer_by, patience } = terms;
        let room = images_max.max(1) * if tell_start { 2 } else { 1 };
        let (events, receiver) = mpsc::channel(room);
        let (open, ready) = (Vec::new(), VecDeque::new());
        Self { core, events, receiver, tell_start, patience, open, ready, answer_by }
    }

    /// Queues images, all or none.
    pub async fn submit(&mut self, images: Vec<Accepted>, options: &Checked) -> Result<()> {
        if images.is_empty() {
            return Ok(());
        }
        let now = Instant::now();
        let start_by =
            options.max_queue_duration.map_or(self.answer_by, |longest| self.answer_by.min(now + longest));
        let enqueue_time = platform::time::now();
        let deadline = platform::time::in_future(start_by - now);
        let mut registrations = Vec::with_capacity(images.len());
        let mut tasks = Vec::with_capacity(images.len());
        let mut pictures = Vec::with_capacity(images.len());
        let mut open = Vec::with_capacity(images.len());
        for Accepted { index, custom_id, content } in images {
            let cache_key = match (&self.core.cache, &content) {
                (Some(_), Picture::Content(content)) if !options.no_cache => {
                    Some(Key::of(content, &custom_id, options))
                }
                _ => None,
            };
            if let Some(mut result) = cache_key.and_then(|key| self.core.cache.as_ref()?.get(&key)) {
                (result.index, result.custom_id) = (index, custom_id);
                self.ready.push_back(Event::Finished(Box::new(result)));
                continue;
            }
            let task_id = platform::id::new();
            registrations.push(Registration { task_id: task_id.clone(), index, priority: options.priority });
            open.push(Open {
                task_id: task_id.clone(),
                index,
                custom_id: custom_id.clone(),
                enqueue_time,
                start_by,
                since: now,
                cache_key,
            });
            tasks.push(Task {
                task_id,
                custom_id,
                reply_to: self.core.reply_to.clone(),
                model: options.model.clone(),
                enqueue_time: Some(enqueue_time),
                deadline: Some(deadline),
                priority: options.priority.into(),
                top_k: options.top_k,
                min_score: options.min_score,
                ..Task::default()
            });
            pictures.push(content);
        }
        if tasks.is_empty() {
            return Ok(());
        }
        let asked =
            Asked { images: tasks.len(), priority: options.priority, start_by, patience: self.patience };
        self.core.admit(asked).await?;
        self.core.pending.register(&registrations, &self.events, self.tell_start)?;
        // From here on dropping the group takes them out again.
        self.open.append(&mut open);
        if let Err(error) = self.send(tasks, pictures).await {
            for registration in &registrations {
                self.core.pending.forget(&registration.task_id);
                self.open.retain(|one| one.task_id != registration.task_id);
            }
            return Err(error.with_retry_after(Duration::from_secs(1)));
        }
        Ok(())
    }

    async fn send(&self, mut tasks: Vec<Task>, pictures: Vec<Picture>) -> Result<()> {
        let places = &self.core.places;
        let placing = tasks.iter_mut().zip(pictures).map(async |(task, picture)| match picture {
            Picture::Content(content) => places.place(task, content).await,
            Picture::Object(uri) => {
                task.input = Some(Input::Uri(uri));
                places.name_result(task);
                Ok(())
            }
            Picture::Stored { key, part } => {
                places.point(task, Place { key, part });
                Ok(())
            }
        });
        futures::future::try_join_all(placing).await?;
        self.core.queue.send(tasks).await
    }

    /// An image that is answered without a worker.
    pub fn fail(&mut self, index: u32, custom_id: String, error: &Error) {
        self.ready.push_back(Event::Finished(Box::new(failed(index, custom_id, error))));
    }

    /// Images not answered yet.
    pub fn open(&self) -> usize {
        self.open.len() + self.ready.len()
    }

    /// Whether this name is on its way.
    pub fn holds(&self, custom_id: &str) -> bool {
        self.open.iter().any(|one| one.custom_id == custom_id)
    }

    /// Withdraws one image by the caller's name; its answer says so. Nothing happens to one that is
    /// answered or was never there.
    pub fn cancel(&mut self, custom_id: &str) {
        let Some(at) = self.open.iter().position(|one| one.custom_id == custom_id) else { return };
        let one = self.open.swap_remove(at);
        if self.core.pending.forget(&one.task_id).is_some() {
            self.core.queue.withdraw(std::slice::from_ref(&one.task_id));
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
            // The whole name: a task that points to its image carries a short one.
            let open = self.open.swap_remove(at);
            result.custom_id = open.custom_id;
            if let Some(error) = &mut result.error {
                name_request(error);
            }
            if let (Some(cache), Some(key)) = (&self.core.cache, open.cache_key) {
                cache.put(key, result);
            }
        }
        event
    }

    /// Ends what has waited too long.
    fn expire(&mut self) {
        let now = Instant::now();
        let over = now >= self.answer_by;
        let mut expired = Vec::new();
        let pending = &self.core.pending;
        let (gone, open): (Vec<_>, Vec<_>) = std::mem::take(&mut self.open).into_iter().partition(|one| {
            // One whose answer is in the channel stays: it is not in `pending` any more.
            if over {
                pending.forget(&one.task_id).is_some()
            } else {
                now >= one.start_by && pending.forget_unstarted(&one.task_id)
            }
        });
        self.open = open;
        for one in gone {
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
            expired.push(one.task_id);
        }
        self.core.counters.add(Counted::Expired, expired.len());
        self.core.queue.withdraw(&expired);
    }
}

/// Milliseconds are enough for a person.
fn waited_shown(waited: Duration) -> Duration {
    Duration::from_millis(u64::try_from(waited.as_millis()).unwrap_or(u64::MAX))
}

impl Drop for Group {
    fn drop(&mut self) {
        let task_ids = std::mem::take(&mut self.open).into_iter().map(|one| one.task_id);
        let left = task_ids.filter(|task_id| self.core.pending.forget(task_id).is_some()).collect::<Vec<_>>();
        if !left.is_empty() {
            self.core.counters.add(Counted::Withdrawn, left.len());
            self.core.queue.withdraw(&left);
        }
    }
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
