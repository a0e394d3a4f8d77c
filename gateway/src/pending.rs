//! Who waits for which answer. Bounded; every image in it is answered once and then gone.

use std::{
    collections::HashMap,
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

use crate::{
    backlog::{Backlog, Started},
    replies::Holder,
};

#[cfg(test)]
mod tests;

/// What happens to an image after it was queued.
#[derive(Debug)]
pub enum Event {
    Started { index: u32, worker_id: String },
    Finished(Box<ImageResult>),
}

pub struct Pending {
    entries: Mutex<HashMap<String, Entry>>,
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

struct Entry {
    index: u32,
    events: mpsc::Sender<Event>,
    tell_start: bool,
    priority: Priority,
    /// The worker that took it up last.
    holder: Option<Holder>,
    since: Instant,
}

/// An image to wait for.
pub struct Registration {
    pub task_id: String,
    pub index: u32,
    pub priority: Priority,
}

/// Totals since the start, for the autoscaler.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Totals {
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
            entries: Mutex::default(),
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

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Entry>> {
        // A panic inside cannot leave the map half changed: no code of a caller runs there.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes all of them in, or none: `QueueFull`. `events` must have room for one `Finished` and,
    /// if `tell_start`, one `Started` of each.
    pub fn register(
        &self,
        registrations: &[Registration],
        events: &mpsc::Sender<Event>,
        tell_start: bool,
    ) -> Result<()> {
        let since = Instant::now();
        let mut entries = self.lock();
        if entries.len().saturating_add(registrations.len()) > self.limit {
            return Err(Error::new(
                Kind::QueueFull,
                format!(
                    "{} images wait already, the limit is {}; try again later",
                    entries.len(),
                    self.limit
                ),
            )
            .with_metadata("limit", self.limit)
            .with_retry_after(Duration::from_secs(1)));
        }
        let was_empty = entries.is_empty();
        for Registration { task_id, index, priority } in registrations {
            let entry = Entry {
                index: *index,
                events: events.clone(),
                tell_start,
                priority: *priority,
                holder: None,
                since,
            };
            entries.insert(task_id.clone(), entry);
            self.backlog.entered(*priority, 1, since);
        }
        drop(entries);
        self.enqueued_total.fetch_add(registrations.len() as u64, Ordering::Relaxed);
        if was_empty {
            self.no_longer_empty.notify_one();
        }
        Ok(())
    }

    /// A worker has taken it up, and is told when nobody waits for it any more. `false` when that is so already.
    pub fn started(&self, task_id: &str, holder: &Holder) -> bool {
        let mut entries = self.lock();
        let Some(entry) = entries.get_mut(task_id) else { return false };
        if entry.holder.replace(holder.clone()).is_none() {
            self.backlog.started(entry.priority);
            if entry.tell_start {
                let event = Event::Started { index: entry.index, worker_id: holder.worker_id().to_owned() };
                // There is room for one of each image; a caller that is gone needs none.
                let _ = entry.events.try_send(event);
            }
        }
        true
    }

    /// Gives the answer to whoever waits. `false` when nobody does: a second answer, or the caller
    /// is gone.
    pub fn finish(&self, task_id: &str, mut result: ImageResult) -> bool {
        let Some(entry) = self.lock().remove(task_id) else { return false };
        result.index = entry.index;
        self.latencies.add(self.complete(&entry));
        entry.events.try_send(Event::Finished(Box::new(result))).is_ok()
    }

    /// Nobody waits for it any more: a worker that has started on it is told so. Gives whether one had, or `None`
    /// when it was answered already.
    pub fn forget(&self, task_id: &str) -> Option<bool> {
        let entry = self.lock().remove(task_id)?;
        self.complete(&entry);
        if let Some(holder) = &entry.holder {
            holder.cancel(task_id);
        }
        Some(entry.holder.is_some())
    }

    /// The same, but only if no worker has started on it.
    pub fn forget_unstarted(&self, task_id: &str) -> bool {
        let mut entries = self.lock();
        if entries.get(task_id).is_none_or(|entry| entry.holder.is_some()) {
            return false;
        }
        let entry = entries.remove(task_id);
        drop(entries);
        if let Some(entry) = entry {
            self.complete(&entry);
        }
        true
    }

    /// Counts it, and gives how long it was here. One that was given up after the target is as late as one that was answered.
    fn complete(&self, entry: &Entry) -> Duration {
        let latency = entry.since.elapsed();
        self.backlog.left(entry.priority, Started::from(entry.holder.is_some()), entry.since);
        self.completed_total.fetch_add(1, Ordering::Relaxed);
        if micros(latency) > self.latency_target.load(Ordering::Relaxed) {
            self.late_total.fetch_add(1, Ordering::Relaxed);
        }
        latency
    }

    /// Answers since the start by how long they took: buckets that are not empty.
    pub fn latencies(&self) -> Vec<(usize, u64)> {
        self.latencies.totals()
    }

    #[allow(dead_code)] // Admission comes next.
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
