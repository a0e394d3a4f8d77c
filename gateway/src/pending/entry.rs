//! Tasks, who waits for each, and which of them an equal image may join.

use std::{
    collections::{HashMap, hash_map::Entry as Slot},
    sync::Arc,
};

use proto::v1::Priority;
use tokio::{sync::mpsc, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{Caller, Event};
use crate::{cache::Key, replies::Holder};

/// An image to wait for.
#[derive(Debug, Clone)]
pub struct Registration {
    pub task_id: String,
    pub index: u32,
    pub priority: Priority,
    /// What it can have in common with others; `None`: nothing.
    pub sharing: Option<Sharing>,
}

#[derive(Debug, Clone)]
pub struct Sharing {
    /// Of equal images.
    pub key: Key,
    /// The classes that this caller wants, and those that its own task would ask for.
    pub top_k: u32,
    pub task_top_k: u32,
    /// When this caller stops waiting for a start, and when its own task would end.
    pub start_by: Instant,
    pub task_ends: Instant,
    /// Whether it joins others; others may join it all the same.
    pub joins: Joins,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Joins {
    Yes,
    No,
}

/// Whoever waits for a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seat {
    pub task_id: String,
    number: u64,
}

pub enum Found {
    Joined(Seat),
    /// There is one, on its way into the queue: it can be joined, or not, when this token is cancelled.
    BeingSent(CancellationToken),
    Nothing,
}

pub enum Placed {
    /// A task of its own, to be sent.
    New(Seat),
    Joined(Seat),
    BeingSent(CancellationToken),
}

#[derive(Default)]
pub(super) struct State {
    pub(super) tasks: HashMap<String, Entry>,
    /// The task that images equal to this one join: the latest, which ends last.
    joinable: HashMap<Key, String>,
    /// Of all tasks together.
    pub(super) waiters: usize,
    /// Of seats and of calls to register.
    numbers: u64,
}

pub(super) struct Entry {
    pub(super) waiters: Vec<Waiter>,
    pub(super) priority: Priority,
    /// The worker that took it up last.
    pub(super) holder: Option<Holder>,
    pub(super) since: Instant,
    sharing: Option<Sharing>,
    /// The call that is sending it.
    sending: Option<Arc<Sending>>,
}

pub(super) struct Waiter {
    number: u64,
    pub(super) index: u32,
    pub(super) events: mpsc::Sender<Event>,
    tell_start: bool,
    pub(super) since: Instant,
}

/// One call that puts tasks into the queue.
pub(super) struct Sending {
    number: u64,
    pub(super) done: CancellationToken,
}

impl Sending {
    pub(super) fn new(state: &mut State) -> Arc<Self> {
        Arc::new(Self { number: state.next_number(), done: CancellationToken::new() })
    }
}

impl Waiter {
    pub(super) fn tell_start(&self, holder: &Holder) {
        if self.tell_start {
            let event = Event::Started { index: self.index, worker_id: holder.worker_id().to_owned() };
            // There is room for one of each image; a caller that is gone needs none.
            let _ = self.events.try_send(event);
        }
    }
}

impl Entry {
    /// Whether one who joins is no worse off than alone.
    fn suits(&self, wanted: &Sharing, priority: Priority) -> bool {
        let is_batch = |priority| priority == Priority::Batch;
        self.sharing.as_ref().is_some_and(|mine| {
            mine.task_ends >= wanted.start_by
                && mine.task_top_k >= wanted.top_k
                && (is_batch(priority) || !is_batch(self.priority))
        })
    }
}

impl State {
    fn next_number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    /// `own` is the call that is sending now, whose own tasks can be joined: they are sent or given up together.
    pub(super) fn join(
        &mut self,
        registration: &Registration,
        caller: Caller<'_>,
        since: Instant,
        own: Option<&Arc<Sending>>,
    ) -> Found {
        let Some(wanted) = registration.sharing.as_ref().filter(|wanted| wanted.joins == Joins::Yes) else {
            return Found::Nothing;
        };
        let Some(task_id) = self.joinable.get(&wanted.key).cloned() else { return Found::Nothing };
        let number = self.next_number();
        let entry = self.tasks.get_mut(&task_id).filter(|entry| entry.suits(wanted, registration.priority));
        let Some(entry) = entry else { return Found::Nothing };
        if let Some(sending) = &entry.sending
            && own.is_none_or(|own| own.number != sending.number)
        {
            return Found::BeingSent(sending.done.clone());
        }
        let waiter = waiter(number, registration.index, caller, since);
        if let Some(holder) = &entry.holder {
            waiter.tell_start(holder);
        }
        entry.waiters.push(waiter);
        self.waiters += 1;
        Found::Joined(Seat { task_id, number })
    }

    /// A task with one who waits for it.
    pub(super) fn add(
        &mut self,
        registration: &Registration,
        caller: Caller<'_>,
        since: Instant,
        sending: &Arc<Sending>,
    ) -> Seat {
        let number = self.next_number();
        let Registration { task_id, index, priority, sharing } = registration.clone();
        if let Some(sharing) = &sharing {
            self.joinable.insert(sharing.key, task_id.clone());
        }
        let waiters = vec![waiter(number, index, caller, since)];
        let sending = Some(Arc::clone(sending));
        self.tasks
            .insert(task_id.clone(), Entry { waiters, priority, holder: None, since, sharing, sending });
        self.waiters += 1;
        Seat { task_id, number }
    }

    /// The whole task, with all who wait for it.
    pub(super) fn remove(&mut self, task_id: &str) -> Option<Entry> {
        let entry = self.tasks.remove(task_id)?;
        self.waiters -= entry.waiters.len();
        self.close(task_id, &entry.sharing);
        Some(entry)
    }

    /// One who waits leaves. Gives whether a worker had started, and the task if nobody else waits for it.
    pub(super) fn leave(&mut self, seat: &Seat) -> Option<(bool, Option<Entry>)> {
        let entry = self.tasks.get_mut(&seat.task_id)?;
        let at = entry.waiters.iter().position(|waiter| waiter.number == seat.number)?;
        let was_started = entry.holder.is_some();
        if entry.waiters.len() == 1 {
            return Some((was_started, self.remove(&seat.task_id)));
        }
        entry.waiters.swap_remove(at);
        self.waiters -= 1;
        Some((was_started, None))
    }

    /// It is in the queue: others may join.
    pub(super) fn sent(&mut self, task_id: &str) {
        if let Some(entry) = self.tasks.get_mut(task_id) {
            entry.sending = None;
        }
    }

    /// It may not be in the queue: nobody joins any more.
    pub(super) fn not_sent(&mut self, task_id: &str) {
        let sharing = self.tasks.get(task_id).and_then(|entry| entry.sharing.clone());
        self.close(task_id, &sharing);
    }

    fn close(&mut self, task_id: &str, sharing: &Option<Sharing>) {
        if let Some(sharing) = sharing
            && let Slot::Occupied(slot) = self.joinable.entry(sharing.key)
            && slot.get() == task_id
        {
            slot.remove();
        }
    }
}

fn waiter(number: u64, index: u32, caller: Caller<'_>, since: Instant) -> Waiter {
    Waiter { number, index, events: caller.events.clone(), tell_start: caller.tell_start, since }
}
