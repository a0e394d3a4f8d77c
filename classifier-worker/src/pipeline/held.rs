//! What this worker holds: every delivery from the moment it is received until it is settled.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use platform::queue::{Delivery, Lease, Task};
use tokio::{sync::watch, time::Instant};

/// One delivery this worker holds. Shared by all who work on it.
#[derive(Debug)]
pub(crate) struct Ticket {
    /// Without its image, which goes to the CPU thread alone and is freed there.
    pub(crate) task: Task,
    pub(crate) lease: Lease,
    /// 1 = first.
    pub(crate) attempt: u32,
    cancelled: AtomicBool,
    lost: AtomicBool,
}

/// Why an image need not be worked on any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unwanted {
    /// The gateway says that nobody waits.
    Cancelled,
    /// The lease has ended: another worker may have it.
    Lost,
    /// The caller's deadline has passed.
    Expired,
}

impl Ticket {
    pub(crate) fn new(delivery: Delivery) -> Self {
        Self {
            task: delivery.task,
            lease: delivery.lease,
            attempt: delivery.attempt,
            cancelled: AtomicBool::new(false),
            lost: AtomicBool::new(false),
        }
    }

    pub(crate) fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }

    pub(crate) fn lose(&self) {
        self.lost.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Relaxed)
    }

    /// Looked at when it is received, before it is decoded and before the model's pass.
    pub(crate) fn unwanted(&self) -> Option<Unwanted> {
        if self.is_lost() {
            Some(Unwanted::Lost)
        } else if self.cancelled.load(Ordering::Relaxed) {
            Some(Unwanted::Cancelled)
        } else if self.is_expired() {
            Some(Unwanted::Expired)
        } else {
            None
        }
    }

    pub(crate) fn is_expired(&self) -> bool {
        self.task.deadline.as_ref().is_some_and(|deadline| platform::time::until(deadline).is_zero())
    }
}

/// How many deliveries are held.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Load {
    /// Received and not yet answered.
    pub(crate) working: usize,
    /// These and the ones whose answer is on its way or whose lease is not settled yet.
    pub(crate) total: usize,
}

pub(crate) struct Held {
    state: Mutex<HashMap<Lease, Entry>>,
    load: watch::Sender<Load>,
}

struct Entry {
    ticket: Arc<Ticket>,
    extend_at: Instant,
    answered: bool,
}

impl Held {
    pub(crate) fn new() -> Self {
        Self { state: Mutex::default(), load: watch::Sender::new(Load::default()) }
    }

    /// From now on the lease is kept alive.
    pub(crate) fn add(&self, ticket: &Arc<Ticket>, lease: Duration) {
        let entry =
            Entry { ticket: Arc::clone(ticket), extend_at: Instant::now() + lease / 2, answered: false };
        self.lock().insert(ticket.lease.clone(), entry);
        self.load.send_modify(|load| {
            load.working += 1;
            load.total += 1;
        });
    }

    /// Its image needs this machine no more; its lease is kept until it is settled.
    pub(crate) fn answered(&self, lease: &Lease) {
        let first =
            self.lock().get_mut(lease).is_some_and(|entry| !std::mem::replace(&mut entry.answered, true));
        if first {
            self.load.send_modify(|load| load.working -= 1);
        }
    }

    /// Settled or lost. Does nothing the second time.
    pub(crate) fn remove(&self, lease: &Lease) {
        let removed = self.lock().remove(lease);
        if let Some(entry) = removed {
            self.load.send_modify(|load| {
                load.working -= usize::from(!entry.answered);
                load.total -= 1;
            });
        }
    }

    /// The leases that have to be extended by `until`.
    pub(crate) fn due(&self, until: Instant) -> Vec<Lease> {
        let state = self.lock();
        state
            .values()
            .filter(|entry| entry.extend_at <= until)
            .map(|entry| entry.ticket.lease.clone())
            .collect()
    }

    pub(crate) fn extended(&self, leases: &[Lease], lease: Duration) {
        let extend_at = Instant::now() + lease / 2;
        let mut state = self.lock();
        for one in leases {
            if let Some(entry) = state.get_mut(one) {
                entry.extend_at = extend_at;
            }
        }
    }

    /// The lease has ended: whoever works on it hears of it.
    pub(crate) fn lost(&self, lease: &Lease) -> Option<Arc<Ticket>> {
        let ticket = self.lock().get(lease).map(|entry| Arc::clone(&entry.ticket));
        if let Some(ticket) = &ticket {
            ticket.lose();
            self.remove(lease);
        }
        ticket
    }

    pub(crate) fn load(&self) -> watch::Receiver<Load> {
        self.load.subscribe()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Lease, Entry>> {
        // No code of a caller runs inside, so a panic cannot leave it half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticket(lease: &str) -> Arc<Ticket> {
        Arc::new(Ticket::new(Delivery {
            task: Task::default(),
            lease: Lease::from(lease.to_owned()),
            attempt: 1,
        }))
    }

    #[tokio::test(start_paused = true)]
    async fn load_follows_a_delivery_to_its_end() {
        let held = Held::new();
        let load = held.load();
        let (a, b) = (ticket("a"), ticket("b"));
        held.add(&a, Duration::from_secs(10));
        held.add(&b, Duration::from_secs(10));
        assert_eq!(*load.borrow(), Load { working: 2, total: 2 });
        held.answered(&a.lease);
        held.answered(&a.lease);
        assert_eq!(*load.borrow(), Load { working: 1, total: 2 });
        held.remove(&a.lease);
        held.remove(&a.lease);
        assert_eq!(*load.borrow(), Load { working: 1, total: 1 });
        assert!(held.lost(&b.lease).is_some());
        assert_eq!(b.unwanted(), Some(Unwanted::Lost));
        assert_eq!(*load.borrow(), Load::default());
    }

    #[tokio::test(start_paused = true)]
    async fn lease_is_due_after_half_of_it() {
        let held = Held::new();
        let lease = Duration::from_secs(10);
        let a = ticket("a");
        held.add(&a, lease);
        assert_eq!(held.due(Instant::now() + Duration::from_secs(4)), []);
        assert_eq!(held.due(Instant::now() + Duration::from_secs(5)), std::slice::from_ref(&a.lease));
        tokio::time::advance(Duration::from_secs(5)).await;
        held.extended(std::slice::from_ref(&a.lease), lease);
        assert_eq!(held.due(Instant::now()), []);
    }

    #[test]
    fn task_past_its_deadline_is_unwanted() {
        let mut task =
            Task { deadline: Some(platform::time::in_future(Duration::from_secs(60))), ..Task::default() };
        let make = |task: Task| {
            Ticket::new(Delivery { task, lease: Lease::from("a".to_owned()), attempt: 1 }).unwanted()
        };
        assert_eq!(make(task.clone()), None);
        task.deadline = Some(prost_types::Timestamp { seconds: 1, nanos: 0 });
        assert_eq!(make(task.clone()), Some(Unwanted::Expired));
        task.deadline = None;
        assert_eq!(make(task), None);
    }
}
