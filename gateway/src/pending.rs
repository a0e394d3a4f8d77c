//! Who waits for which answer. Bounded; every image in it is answered once and then gone.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use platform::{Error, Kind, Result, latency};
use proto::v1::{ImageResult, Priority};
use tokio::{
    sync::{Notify, mpsc},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use crate::{
    backlog::{Backlog, Started},
    replies::Holder,
};

mod entry;
#[cfg(test)]
mod tests;

use entry::{Entry, Sending, State, Waiter};
pub use entry::{Found, Joins, Placed, Registration, Seat, Sharing};

/// What happens to an image after it was queued.
#[derive(Debug)]
pub enum Event {
    Started { index: u32, worker_id: String },
    Finished(Box<ImageResult>),
}

/// Tasks and who waits for each: callers of equal images share one.
pub struct Pending {
    state: Mutex<State>,
    limit: usize,
    /// In microseconds.
    latency_target: AtomicU64,
    /// The first image after a time without any has come in.
    pub no_longer_empty: Notify,
    enqueued_total: AtomicU64,
    completed_total: AtomicU64,
    late_total: AtomicU64,
    latencies: latency::Counters,
    backlog: Backlog,
}

/// Where events of a caller's images go. There must be room for one `Finished` and, if `tell_start`, one `Started` of each.
#[derive(Clone, Copy)]
pub struct Caller<'a> {
    pub events: &'a mpsc::Sender<Event>,
    pub tell_start: bool,
}

/// What was left behind by one who waits no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Left {
    pub was_started: bool,
    /// Nobody else waits for the task: it has to be withdrawn.
    pub was_last: bool,
}

/// Totals since the start, for the autoscaler.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Totals {
    /// Tasks, not images: equal images that share one are one.
    pub enqueued: u64,
    pub completed: u64,
    pub late: u64,
    pub waiting: u64,
    /// Of those, the ones a worker has taken up.
    pub started: u64,
    pub oldest_age: Duration,
}

impl Pending {
    pub fn new(limit: usize, latency_target: Duration) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::default(),
            limit,
            latency_target: AtomicU64::new(micros(latency_target)),
            no_longer_empty: Notify::new(),
            enqueued_total: AtomicU64::new(0),
            completed_total: AtomicU64::new(0),
            late_total: AtomicU64::new(0),
            latencies: latency::Counters::default(),
            backlog: Backlog::default(),
        })
    }

    /// What is late from now on: the autoscaler's policy has another target than we were started with.
    pub fn set_latency_target(&self, target: Duration) {
        self.latency_target.store(micros(target), Ordering::Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic inside cannot leave the maps half changed: no code of a caller runs there.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Joins tasks for equal images, where that is no worse than a task of its own: it ends no earlier, is as urgent, and
    /// gives as many classes.
    pub fn join(&self, registrations: &[Registration], caller: Caller<'_>) -> Vec<Found> {
        let since = Instant::now();
        let mut state = self.lock();
        let joined = registrations.iter().map(|one| {
            // At the limit it is refused as one that comes alone.
            if state.waiters >= self.limit { Found::Nothing } else { state.join(one, caller, since, None) }
        });
        joined.collect()
    }

    /// Takes all of them in, or none: `QueueFull`. Each becomes a task, or joins one that has come in meanwhile, another of
    /// this very call among them.
    pub fn register<'a>(
        &'a self,
        registrations: &[Registration],
        caller: Caller<'_>,
    ) -> Result<(Vec<Placed>, Queueing<'a>)> {
        let since = Instant::now();
        let mut state = self.lock();
        if state.waiters.saturating_add(registrations.len()) > self.limit {
            return Err(full(state.waiters, self.limit));
        }
        let was_empty = state.tasks.is_empty();
        let sending = Sending::new(&mut state);
        let mut queueing = Queueing { pending: self, task_ids: Vec::new(), done: sending.done.clone() };
        let placed = registrations.iter().map(|one| {
            match state.join(one, caller, since, Some(&sending)) {
                Found::Joined(seat) => return Placed::Joined(seat),
                Found::BeingSent(sent) => return Placed::BeingSent(sent),
                Found::Nothing => {}
            }
            let seat = state.add(one, caller, since, &sending);
            self.backlog.entered(one.priority, 1, since);
            queueing.task_ids.push(one.task_id.clone());
            Placed::New(seat)
        });
        let placed = placed.collect();
        drop(state);
        self.enqueued_total.fetch_add(queueing.task_ids.len() as u64, Ordering::Relaxed);
        if was_empty && !queueing.task_ids.is_empty() {
            self.no_longer_empty.notify_one();
        }
        Ok((placed, queueing))
    }

    /// A worker has taken it up, and is told when nobody waits for it any more. `false` when that is so already.
    pub fn started(&self, task_id: &str, holder: &Holder) -> bool {
        let mut state = self.lock();
        let Some(entry) = state.tasks.get_mut(task_id) else { return false };
        if entry.holder.replace(holder.clone()).is_none() {
            self.backlog.started(entry.priority);
            entry.waiters.iter().for_each(|waiter| waiter.tell_start(holder));
        }
        true
    }

    /// Gives the answer to all who wait. `false` when nobody does: a second answer, or the callers are gone.
    pub fn finish(&self, task_id: &str, result: ImageResult) -> bool {
        let Some(entry) = self.lock().remove(task_id) else { return false };
        self.complete(&entry);
        let mut given = false;
        let mut give = |waiter: Waiter, result: ImageResult| {
            self.latencies.add(waiter.since.elapsed());
            let result = Box::new(ImageResult { index: waiter.index, ..result });
            given |= waiter.events.try_send(Event::Finished(result)).is_ok();
        };
        let mut waiters = entry.waiters;
        let last = waiters.pop();
        waiters.into_iter().for_each(|waiter| give(waiter, result.clone()));
        if let Some(last) = last {
            give(last, result);
        }
        given
    }

    /// One who waited does not any more. When it was the last, a worker that has started is told so. `None` when the
    /// answer was given already.
    pub fn forget(&self, seat: &Seat) -> Option<Left> {
        let mut state = self.lock();
        let (was_started, gone) = state.leave(seat)?;
        drop(state);
        let was_last = gone.is_some();
        if let Some(entry) = gone {
            self.complete(&entry);
            if let Some(holder) = &entry.holder {
                holder.cancel(&seat.task_id);
            }
        }
        Some(Left { was_started, was_last })
    }

    /// The same, but only if no worker has started on it.
    pub fn forget_unstarted(&self, seat: &Seat) -> Option<Left> {
        let mut state = self.lock();
        if state.tasks.get(&seat.task_id)?.holder.is_some() {
            return None;
        }
        let (was_started, gone) = state.leave(seat)?;
        drop(state);
        if let Some(entry) = &gone {
            self.complete(entry);
        }
        Some(Left { was_started, was_last: gone.is_some() })
    }

    /// Counts a task that is done. One that was given up after the target is as late as one that was answered.
    fn complete(&self, entry: &Entry) {
        let latency = entry.since.elapsed();
        self.backlog.left(entry.priority, Started::from(entry.holder.is_some()), entry.since);
        self.completed_total.fetch_add(1, Ordering::Relaxed);
        if micros(latency) > self.latency_target.load(Ordering::Relaxed) {
            self.late_total.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Answers since the start by how long they took: buckets that are not empty.
    pub fn latencies(&self) -> Vec<(usize, u64)> {
        self.latencies.totals()
    }

    /// What waits, by priority.
    pub fn backlog(&self) -> &Backlog {
        &self.backlog
    }

    pub fn totals(&self) -> Totals {
        let lines = [Priority::Interactive, Priority::Batch].map(|priority| self.backlog.waiting(priority));
        let started = lines.iter().map(|line| line.started).sum::<u64>();
        Totals {
            enqueued: self.enqueued_total.load(Ordering::Relaxed),
            completed: self.completed_total.load(Ordering::Relaxed),
            late: self.late_total.load(Ordering::Relaxed),
            waiting: started + lines.iter().map(|line| line.unstarted).sum::<u64>(),
            started,
            oldest_age: self.backlog.oldest().map_or(Duration::ZERO, |since| since.elapsed()),
        }
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

fn full(waiting: usize, limit: usize) -> Error {
    Error::new(
        Kind::QueueFull,
        format!("{waiting} images wait already, the limit is {limit}; try again later"),
    )
    .with_metadata("limit", limit)
    .with_retry_after(Duration::from_secs(1))
}

/// Tasks between their registration and the queue. Until `sent` nobody else joins them: their caller may go away before
/// they are in the queue.
#[must_use]
pub struct Queueing<'a> {
    pending: &'a Pending,
    task_ids: Vec<String>,
    done: CancellationToken,
}

impl Queueing<'_> {
    /// They are in the queue.
    pub fn sent(mut self) {
        let task_ids = std::mem::take(&mut self.task_ids);
        let mut state = self.pending.lock();
        task_ids.iter().for_each(|task_id| state.sent(task_id));
    }
}

impl Drop for Queueing<'_> {
    fn drop(&mut self) {
        if !self.task_ids.is_empty() {
            let mut state = self.pending.lock();
            self.task_ids.iter().for_each(|task_id| state.not_sent(task_id));
        }
        // Whoever waited to join looks again.
        self.done.cancel();
    }
}
