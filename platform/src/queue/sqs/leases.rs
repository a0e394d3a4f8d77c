//! Which leases are in force, by our own clock: SQS may still take the handle of one that has ended.

use std::{collections::HashMap, time::Duration};

use tokio::time::Instant;

use super::{Lease, inbox::Arrival};

/// SQS counts from when it hands a message over, we from when it arrives.
const UNDER_WAY: Duration = Duration::from_millis(200);

#[derive(Default)]
pub(super) struct Leases {
    held: HashMap<Lease, Held>,
    /// The lease in force of each message.
    by_message: HashMap<String, Lease>,
    /// How many may be noted before those that ended without a word are forgotten.
    noted_max: usize,
}

/// More than a worker holds, so that it is rarely worth a look.
const NOTED_MIN: usize = 1024;

struct Held {
    line: usize,
    handle: String,
    message_id: String,
    end: Instant,
}

impl Leases {
    /// A message that comes again ends its earlier lease.
    pub(super) fn add(&mut self, arrival: Arrival) -> Lease {
        let Arrival { message, line, end, .. } = arrival;
        if self.held.len() >= self.noted_max.max(NOTED_MIN) {
            self.forget_ended();
        }
        let lease = Lease(format!("{line}:{}", message.handle));
        if let Some(before) = self.by_message.insert(message.message_id.clone(), lease.clone()) {
            self.held.remove(&before);
        }
        let held =
            Held { line, handle: message.handle, message_id: message.message_id, end: end - UNDER_WAY };
        self.held.insert(lease.clone(), held);
        lease
    }

    pub(super) fn is_held(&self, lease: &Lease) -> bool {
        self.in_force(lease).is_some()
    }

    /// The handle of a lease in force of this line.
    pub(super) fn handle(&self, lease: &Lease, line: usize) -> Option<String> {
        self.in_force(lease).filter(|held| held.line == line).map(|held| held.handle.clone())
    }

    pub(super) fn handle_of(&self, lease: &Lease) -> Option<String> {
        self.in_force(lease).map(|held| held.handle.clone())
    }

    /// `end` is counted from before SQS was asked, so it is never later than theirs.
    pub(super) fn extend(&mut self, lease: &Lease, end: Instant) {
        if let Some(held) = self.held.get_mut(lease) {
            held.end = end;
        }
    }

    /// Nobody settles a lease that was lost.
    fn forget_ended(&mut self) {
        let now = Instant::now();
        self.held.retain(|_, held| held.end > now);
        self.by_message.retain(|_, lease| self.held.contains_key(lease));
        self.noted_max = self.held.len() * 2;
    }

    pub(super) fn remove(&mut self, lease: &Lease) {
        if let Some(held) = self.held.remove(lease)
            && self.by_message.get(&held.message_id) == Some(lease)
        {
            self.by_message.remove(&held.message_id);
        }
    }

    fn in_force(&self, lease: &Lease) -> Option<&Held> {
        self.held.get(lease).filter(|held| held.end > Instant::now())
    }
}

#[cfg(test)]
mod tests {
    use super::{super::line::Incoming, *};

    fn arrival(message: usize, handle: &str, lease: Duration) -> Arrival {
        let message = Incoming {
            message_id: message.to_string(),
            handle: handle.to_owned(),
            content: None,
            receives: 1,
        };
        let now = Instant::now();
        Arrival { message, line: 0, end: now + lease, stale: now + lease }
    }

    #[tokio::test(start_paused = true)]
    async fn ended_leases_are_not_in_force_and_are_forgotten() {
        let mut leases = Leases::default();
        let lost = leases.add(arrival(0, "lost", Duration::from_secs(1)));
        let kept = leases.add(arrival(1, "kept", Duration::from_secs(60)));
        assert!(leases.is_held(&lost));
        tokio::time::advance(Duration::from_secs(2)).await;
        assert!(!leases.is_held(&lost) && leases.is_held(&kept));
        for message in 2..10 * NOTED_MIN {
            tokio::time::advance(Duration::from_millis(1)).await;
            leases.add(arrival(message, &message.to_string(), Duration::from_millis(500)));
        }
        assert!(leases.held.len() < 2 * NOTED_MIN, "{}", leases.held.len());
        assert!(leases.by_message.len() < 2 * NOTED_MIN);
        assert_eq!(leases.handle(&kept, 0).as_deref(), Some("kept"));
    }

    #[tokio::test(start_paused = true)]
    async fn message_that_comes_again_ends_its_earlier_lease() {
        let mut leases = Leases::default();
        let first = leases.add(arrival(1, "first", Duration::from_secs(30)));
        let second = leases.add(arrival(1, "second", Duration::from_secs(30)));
        assert!(!leases.is_held(&first) && leases.is_held(&second));
        leases.remove(&first);
        assert!(leases.is_held(&second));
    }
}
