//! The queue of one process: tasks in memory, leases with an end. As strict as SQS, because all
//! tests run on it.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use prost::Message as _;
use proto::v1::Priority;
use tokio::{sync::Notify, time::Instant};

use super::{
    ATTEMPTS_MAX, Counts, Delivery, Lease, Queue, Receive, Task,
    turns::{BATCH, INTERACTIVE, Turns},
};
use crate::{Error, Kind, Result};

/// What the queue may hold, waiting and leased together. Over either, `send` answers `QueueFull`.
#[derive(Debug, Clone, Copy)]
pub struct MemoryLimits {
    pub tasks_max: usize,
    pub bytes_max: usize,
}

impl Default for MemoryLimits {
    /// 10,000 images of 60 KB wait in under 1 GiB (DESIGN section 11); larger ones meet the byte limit.
    fn default() -> Self {
        Self { tasks_max: 20_000, bytes_max: 768 * 1024 * 1024 }
    }
}

pub struct MemoryQueue {
    limits: MemoryLimits,
    state: Mutex<State>,
    /// Told once for each task that becomes visible.
    visible: Notify,
    /// Where tasks go after the last attempt. A queue of dead letters has none itself.
    dead_letters: Option<Arc<MemoryQueue>>,
}

#[derive(Default)]
struct State {
    /// Interactive and batch, by order of arrival. One that comes back has its old place again.
    waiting: [BTreeMap<u64, Waiting>; 2],
    /// Where each of them is, by its id.
    places: HashMap<String, u64>,
    turns: Turns,
    next_place: u64,
    leased: HashMap<u64, Leased>,
    /// The same leases by their end, so that the next one to end is found without a search.
    ends: BTreeSet<(Instant, u64)>,
    next_lease: u64,
    bytes: usize,
}

struct Waiting {
    /// In the order of arrival.
    place: u64,
    task: Task,
    bytes: usize,
    since: Instant,
    attempts: u32,
}

struct Leased {
    entry: Waiting,
    end: Instant,
}

impl MemoryQueue {
    pub fn new(limits: MemoryLimits) -> Arc<Self> {
        Arc::new(Self {
            limits,
            state: Mutex::default(),
            visible: Notify::new(),
            dead_letters: Some(Arc::new(Self {
                // What was taken in once is not refused on its way out.
                limits: MemoryLimits { tasks_max: usize::MAX, bytes_max: usize::MAX },
                state: Mutex::default(),
                visible: Notify::new(),
                dead_letters: None,
            })),
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic inside cannot leave the state half changed: no code of a caller runs there.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes up to `max` tasks and says when the next lease ends.
    fn take(&self, max: usize, lease: Duration) -> (Vec<Delivery>, Option<Instant>) {
        let now = Instant::now();
        let mut state = self.lock();
        self.end_leases(&mut state, now);
        let mut deliveries = Vec::new();
        while deliveries.len() < max {
            let Some(mut entry) = state.next() else { break };
            entry.attempts += 1;
            let (token, end) = (state.next_lease, now + lease);
            state.next_lease += 1;
            deliveries.push(Delivery {
                // The image is shared, not copied.
                task: entry.task.clone(),
                lease: Lease(token.to_string()),
                attempt: entry.attempts,
            });
            state.leased.insert(token, Leased { entry, end });
            state.ends.insert((end, token));
        }
        (deliveries, state.ends.first().map(|(end, _)| *end))
    }

    /// Makes the tasks of ended leases visible again.
    fn end_leases(&self, state: &mut State, now: Instant) {
        while let Some(&(end, token)) = state.ends.first() {
            if end > now {
                return;
            }
            self.give_back(state, token);
        }
    }

    /// Ends one lease without an ack: the task waits again in front, or is dead-lettered.
    fn give_back(&self, state: &mut State, token: u64) {
        let Some(Leased { mut entry, end }) = state.leased.remove(&token) else { return };
        state.ends.remove(&(end, token));
        let again = self.dead_letters.as_ref().filter(|_| entry.attempts >= ATTEMPTS_MAX);
        if let Some(dead) = again {
            state.bytes -= entry.bytes;
            entry.attempts = 0;
            dead.put(&mut dead.lock(), entry);
        } else {
            // At its old place: it has waited longer than what came since.
            state.wait(entry);
            self.visible.notify_one();
        }
    }

    fn put(&self, state: &mut State, mut entry: Waiting) {
        state.bytes += entry.bytes;
        entry.place = state.next_place;
        state.next_place += 1;
        state.wait(entry);
        self.visible.notify_one();
    }
}

impl State {
    fn wait(&mut self, entry: Waiting) {
        self.places.insert(entry.task.task_id.clone(), entry.place);
        if let Some(line) = self.waiting.get_mut(line_of(&entry.task)) {
            line.insert(entry.place, entry);
        }
    }

    /// Takes out the one whose turn it is.
    fn next(&mut self) -> Option<Waiting> {
        let waiting = &self.waiting;
        let line = self.turns.next(|line| waiting.get(line).is_some_and(|line| !line.is_empty()))?;
        let (_, entry) = self.waiting.get_mut(line)?.pop_first()?;
        self.places.remove(&entry.task.task_id);
        Some(entry)
    }

    fn withdraw(&mut self, task_id: &str) {
        let Some(place) = self.places.remove(task_id) else { return };
        let withdrawn = self.waiting.iter_mut().find_map(|line| line.remove(&place));
        self.bytes -= withdrawn.map_or(0, |entry| entry.bytes);
    }
}

fn line_of(task: &Task) -> usize {
    if task.priority() == Priority::Batch { BATCH } else { INTERACTIVE }
}

/// The number in a lease, if it is one of ours.
fn token(lease: &Lease) -> Option<u64> {
    lease.as_str().parse().ok()
}

#[async_trait]
impl Queue for MemoryQueue {
    async fn send(&self, tasks: Vec<Task>) -> Result<()> {
        let now = Instant::now();
        let sizes = tasks.iter().map(Task::encoded_len).collect::<Vec<_>>();
        let mut state = self.lock();
        let held = state.waiting.iter().map(BTreeMap::len).sum::<usize>() + state.leased.len();
        let full = |what: &str, limit: usize| {
            Error::new(
                Kind::QueueFull,
                format!("the queue holds all it may ({limit} {what}); try again later"),
            )
            .with_metadata("limit", limit)
            .with_metadata("unit", what)
        };
        if held.saturating_add(tasks.len()) > self.limits.tasks_max {
            return Err(full("images", self.limits.tasks_max));
        }
        if state.bytes.saturating_add(sizes.iter().sum()) > self.limits.bytes_max {
            return Err(full("bytes", self.limits.bytes_max));
        }
        for (task, bytes) in tasks.into_iter().zip(sizes) {
            self.put(&mut state, Waiting { place: 0, task, bytes, since: now, attempts: 0 });
        }
        Ok(())
    }

    async fn receive(&self, receive: Receive) -> Result<Vec<Delivery>> {
        let until = Instant::now() + receive.wait;
        let max = usize::try_from(receive.max.get()).unwrap_or(usize::MAX);
        loop {
            // Asked for before looking, so that a task sent in between wakes us.
            let notified = self.visible.notified();
            let (deliveries, next_end) = self.take(max, receive.lease);
            if !deliveries.is_empty() || Instant::now() >= until {
                return Ok(deliveries);
            }
            let wake = next_end.map_or(until, |end| end.min(until));
            tokio::select! {
                () = notified => {}
                () = tokio::time::sleep_until(wake) => {}
            }
        }
    }

    async fn extend(&self, leases: &[Lease], by: Duration) -> Result<Vec<Lease>> {
        let now = Instant::now();
        let mut state = self.lock();
        self.end_leases(&mut state, now);
        let mut lost = Vec::new();
        for lease in leases {
            let end = now + by;
            let held = token(lease).and_then(|token| Some((token, state.leased.get_mut(&token)?)));
            let Some((token, held)) = held else {
                lost.push(lease.clone());
                continue;
            };
            let before = std::mem::replace(&mut held.end, end);
            state.ends.remove(&(before, token));
            state.ends.insert((end, token));
        }
        Ok(lost)
    }

    async fn ack(&self, leases: &[Lease]) -> Result<()> {
        let mut state = self.lock();
        self.end_leases(&mut state, Instant::now());
        for token in leases.iter().filter_map(token) {
            if let Some(Leased { entry, end }) = state.leased.remove(&token) {
                state.ends.remove(&(end, token));
                state.bytes -= entry.bytes;
            }
        }
        Ok(())
    }

    async fn release(&self, leases: &[Lease]) -> Result<()> {
        let mut state = self.lock();
        self.end_leases(&mut state, Instant::now());
        // Backwards, because each goes to the front: the order stays.
        for token in leases.iter().rev().filter_map(token) {
            self.give_back(&mut state, token);
        }
        Ok(())
    }

    async fn stop_receiving(&self) -> Result<()> {
        // `receive` hands over only what it returns.
        Ok(())
    }

    async fn counts(&self) -> Result<Counts> {
        let now = Instant::now();
        let mut state = self.lock();
        self.end_leases(&mut state, now);
        let first = |line: &BTreeMap<u64, Waiting>| line.first_key_value().map(|(_, entry)| entry.since);
        let oldest = state.waiting.iter().filter_map(first).min();
        Ok(Counts {
            visible: state.waiting.iter().map(BTreeMap::len).sum::<usize>() as u64,
            leased: state.leased.len() as u64,
            oldest_age: oldest.map_or(Duration::ZERO, |since| now - since),
        })
    }

    fn withdraw(&self, task_ids: &[String]) {
        let mut state = self.lock();
        task_ids.iter().for_each(|task_id| state.withdraw(task_id));
    }

    fn dead_letters(&self) -> Option<Arc<dyn Queue>> {
        self.dead_letters.clone().map(|queue| queue as Arc<dyn Queue>)
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    fn task(id: &str) -> Task {
        Task { task_id: id.to_owned(), ..Task::default() }
    }

    #[tokio::test(start_paused = true)]
    async fn full_queue_refuses_and_takes_again_after_an_ack() {
        let queue = MemoryQueue::new(MemoryLimits { tasks_max: 2, bytes_max: usize::MAX });
        queue.send(vec![task("a"), task("b")]).await.unwrap();
        assert_eq!(queue.send(vec![task("c")]).await.unwrap_err().kind(), Kind::QueueFull);
        let receive = Receive { max: NonZeroU32::MIN, wait: Duration::ZERO, lease: Duration::from_secs(30) };
        let held = queue.receive(receive).await.unwrap();
        assert_eq!(
            queue.send(vec![task("c")]).await.unwrap_err().kind(),
            Kind::QueueFull,
            "leased counts too"
        );
        queue.ack(&[held[0].lease.clone()]).await.unwrap();
        queue.send(vec![task("c")]).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_are_counted_until_the_task_is_gone() {
        let big = |id: &str| Task {
            input: Some(proto::internal::v1::task::Input::Content(vec![0; 1000].into())),
            ..task(id)
        };
        let queue = MemoryQueue::new(MemoryLimits { tasks_max: 100, bytes_max: 1500 });
        queue.send(vec![big("a")]).await.unwrap();
        assert_eq!(queue.send(vec![big("b")]).await.unwrap_err().kind(), Kind::QueueFull);
        queue.withdraw(&["a".to_owned()]);
        queue.send(vec![big("b")]).await.unwrap();
        assert_eq!(queue.counts().await.unwrap().visible, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn batch_has_one_turn_in_eight_and_a_task_given_back_its_old_place() {
        let queue = MemoryQueue::new(MemoryLimits::default());
        let of = |id: String, priority: Priority| Task { priority: priority.into(), ..task(&id) };
        let interactive = (0..20).map(|i| of(format!("i{i}"), Priority::Interactive));
        let batch = (0..3).map(|i| of(format!("b{i}"), Priority::Batch));
        queue.send(interactive.chain(batch).collect()).await.unwrap();
        let receive = |max: u32| Receive {
            max: NonZeroU32::new(max).unwrap(),
            wait: Duration::ZERO,
            lease: Duration::from_secs(30),
        };
        let first = queue.receive(receive(8)).await.unwrap();
        let ids = |held: &[Delivery]| held.iter().map(|one| one.task.task_id.clone()).collect::<Vec<_>>();
        assert_eq!(ids(&first), ["i0", "i1", "i2", "i3", "i4", "i5", "i6", "b0"]);
        // Back in any order, and out again in the one they had.
        queue.release(&[first[1].lease.clone(), first[0].lease.clone()]).await.unwrap();
        queue.withdraw(&["i7".to_owned(), "unknown".to_owned()]);
        assert_eq!(ids(&queue.receive(receive(3)).await.unwrap()), ["i0", "i1", "i8"]);
    }
}
