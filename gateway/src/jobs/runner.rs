//! Runs one job here: queues its images as there is room, writes down what becomes of them, and ends it.

use std::{collections::HashMap, sync::Arc, time::Duration};

use platform::{Error, Kind, Result, retry::Backoff};
use proto::{
    internal::v1::{JobImage, JobRecord},
    v1::{ImageProgress, ImageResult, ImageState, ResultCounts, watch_job_response::Event as Told},
};
use tokio::time::Instant;

use super::{
    Jobs, Live, finish,
    keys::JobId,
    line,
    log::{FIRST, Writer},
    records,
    scan::Guard,
    todo::{Todo, is_answered},
    window::Room,
};
use crate::{
    admission::Patience,
    group::{Group, Terms},
    intake::Checked,
    pending::Event,
};

/// Images of one job in the queue at once, so that a large job leaves room for others: a worker's batch of 16 for each
/// of sixteen workers.
const IN_FLIGHT_MAX: usize = 256;

/// How it went on with a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    Done,
    /// Another gateway runs it.
    Elsewhere,
    /// This gateway stops; what is left is for the next.
    Stopped,
}

pub struct Run {
    pub(super) jobs: Arc<Jobs>,
    pub(super) id: JobId,
    live: Arc<Live>,
    pub(super) options: Checked,
    deadline: Instant,
    pub(super) answered: Vec<bool>,
    left: usize,
    pub counts: ResultCounts,
    pub writer: Writer,
    pub(super) group: Group,
    pub(super) todo: Todo,
    /// The next to queue.
    pub(super) batch: Vec<JobImage>,
    pub(super) in_flight: HashMap<u32, InFlight>,
    pub(super) mode: Mode,
    extend_at: Instant,
    /// Nothing is queued before: the queue was full.
    pub(super) queue_at: Instant,
    pub(super) backoff: Backoff,
    /// An image that the queue refuses must not take others with it.
    pub(super) one_by_one: bool,
}

pub struct InFlight {
    pub custom_id: String,
    pub is_started: bool,
    _room: Room,
}

impl InFlight {
    pub fn new(custom_id: String, room: Room) -> Self {
        Self { custom_id, is_started: false, _room: room }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Working,
    /// Nothing more is queued: cancelled, or its time is over.
    Ending,
}

/// From where it is to its end, if this gateway may. What was not written down when it fails or is dropped, is
/// done again by whoever goes on.
pub async fn run(jobs: &Arc<Jobs>, id: &JobId) -> Result<Ended> {
    let Some(record) = jobs.claim(id).await? else { return Ok(Ended::Elsewhere) };
    let guard = Guard::enter(jobs, id);
    let mut run = Run::resume(jobs, id, &record, Arc::clone(&guard.live)).await?;
    if record.cancel_requested {
        run.live.cancel.cancel();
    }
    let ended = match run.work().await {
        Ok(Ended::Done) => finish::finish(jobs, id, &mut run).await,
        ended => ended,
    };
    match ended {
        Err(error) if error.kind() == Kind::VersionMismatch => {
            tracing::warn!(job.id = %id, "another gateway has gone on with the job");
            Ok(Ended::Elsewhere)
        }
        Ok(Ended::Stopped) => {
            jobs.give_up(id, run.counts).await?;
            Ok(Ended::Stopped)
        }
        ended => ended,
    }
}

impl Run {
    /// Reads what is known of it.
    async fn resume(jobs: &Arc<Jobs>, id: &JobId, record: &JobRecord, live: Arc<Live>) -> Result<Self> {
        let job = records::job(record);
        let total = job.counts.unwrap_or_default().total;
        let mut answered = vec![false; total as usize];
        let mut counts = ResultCounts { total, ..ResultCounts::default() };
        let (log, mut next, mut left) = (jobs.log(id), FIRST, answered.len());
        while let Some(events) = log.segment(next).await? {
            for event in events {
                next = event.sequence + 1;
                if let Some(Told::Result(result)) = event.event
                    && let Some(answered) = answered.get_mut(result.index as usize)
                    && !std::mem::replace(answered, true)
                {
                    left -= 1;
                    count(&mut counts, result.state());
                }
            }
        }
        let mut writer = Writer::new(log, next);
        if next == FIRST {
            writer.push(Told::Job(job.clone()));
        }
        live.told.send_replace(super::Told { last: next - 1, counts });
        let lasting = record.deadline.as_ref().map_or(Duration::ZERO, platform::time::until);
        let deadline = Instant::now() + lasting;
        let terms = Terms {
            images_max: IN_FLIGHT_MAX,
            tell_start: true,
            answer_by: deadline,
            patience: Patience::Job,
        };
        Ok(Self {
            options: line::options(job.options)?,
            group: Group::new(Arc::clone(&jobs.core), terms),
            todo: Todo::new(Arc::clone(&jobs.store), id.clone(), record.pages),
            jobs: Arc::clone(jobs),
            id: id.clone(),
            live,
            deadline,
            answered,
            left,
            counts,
            writer,
            batch: Vec::new(),
            in_flight: HashMap::new(),
            mode: Mode::Working,
            extend_at: Instant::now() + jobs.pace.extend,
            queue_at: Instant::now(),
            backoff: Backoff::for_connections(),
            one_by_one: false,
        })
    }

    /// Until every image is answered, and that is written down.
    async fn work(&mut self) -> Result<Ended> {
        let jobs = Arc::clone(&self.jobs);
        let live = Arc::clone(&self.live);
        while self.left > 0 {
            let now = Instant::now();
            if self.writer.is_full() || self.writer.due().is_some_and(|due| due <= now) {
                self.commit().await?;
            }
            if self.extend_at <= now {
                self.extend().await?;
            }
            if self.batch.is_empty() && self.mode == Mode::Working {
                self.batch = self.todo.next_together(&self.answered).await?;
                if self.answer_refused() {
                    continue;
                }
                if self.batch.is_empty() && self.in_flight.is_empty() {
                    self.answer_missing();
                    continue;
                }
            }
            let sizes: Vec<u64> = self.batch.iter().map(|image| image.size).collect();
            let is_wanted = !sizes.is_empty() && self.in_flight.len() + sizes.len() <= IN_FLIGHT_MAX;
            let is_early = now < self.queue_at;
            let wake = self.writer.due().map_or(self.extend_at, |due| due.min(self.extend_at));
            tokio::select! {
                biased;
                () = jobs.core.stop.cancelled() => {
                    self.commit().await?;
                    return Ok(Ended::Stopped);
                }
                () = live.cancel.cancelled(), if self.mode == Mode::Working => {
                    self.end_rest(&Error::new(Kind::Cancelled, "the job was cancelled")).await?;
                }
                () = tokio::time::sleep_until(self.deadline), if self.mode == Mode::Working => {
                    let error = Error::new(Kind::ExpiredInQueue, "the job's time was over before its turn came");
                    self.end_rest(&error).await?;
                }
                event = self.group.next(), if self.group.open() > 0 => self.arrived(event)?,
                () = tokio::time::sleep_until(wake) => {}
                () = tokio::time::sleep_until(self.queue_at), if is_wanted && is_early => {}
                rooms = jobs.window.enter(&sizes), if is_wanted && !is_early => self.queue(rooms?).await?,
            }
        }
        self.commit().await?;
        Ok(Ended::Done)
    }

    pub(super) async fn commit(&mut self) -> Result<()> {
        self.writer.commit().await?;
        self.live.told.send_replace(super::Told { last: self.writer.last(), counts: self.counts });
        Ok(())
    }

    /// Says that it is still here, and hears whether it was cancelled somewhere.
    pub async fn extend(&mut self) -> Result<()> {
        self.extend_at = Instant::now() + self.jobs.pace.extend;
        let counts = self.live.told.borrow().counts;
        match self.jobs.extend(&self.id, counts).await {
            Ok(record) if record.cancel_requested => self.live.cancel.cancel(),
            Ok(_) => {}
            Err(error) if matches!(error.kind(), Kind::VersionMismatch | Kind::JobNotFound) => {
                return Err(Error::new(Kind::VersionMismatch, "the job is no longer ours"));
            }
            // The log tells in the end whose it is.
            Err(error) => tracing::warn!(%error, job.id = %self.id, "extend the claim of a job"),
        }
        Ok(())
    }

    fn arrived(&mut self, event: Option<Event>) -> Result<()> {
        match event {
            Some(Event::Started { index, worker_id }) => {
                if let Some(image) = self.in_flight.get_mut(&index) {
                    image.is_started = true;
                    self.writer.push(Told::Progress(ImageProgress {
                        index,
                        custom_id: image.custom_id.clone(),
                        state: ImageState::Running.into(),
                        worker_id,
                        ..ImageProgress::default()
                    }));
                }
                Ok(())
            }
            Some(Event::Finished(result)) => {
                // Its room with it.
                self.in_flight.remove(&result.index);
                self.answer(*result);
                Ok(())
            }
            None => Err(Error::internal("images of a job left without an answer")),
        }
    }

    /// Exactly one result for each image: a second is not one.
    pub(super) fn answer(&mut self, result: ImageResult) {
        if is_answered(&self.answered, result.index) {
            return;
        }
        if let Some(answered) = self.answered.get_mut(result.index as usize) {
            *answered = true;
        }
        self.left -= 1;
        count(&mut self.counts, result.state());
        self.writer.push(Told::Result(result));
    }
}

fn count(counts: &mut ResultCounts, state: ImageState) {
    let total = counts.total;
    crate::grpc::add(counts, state);
    counts.total = total;
}
