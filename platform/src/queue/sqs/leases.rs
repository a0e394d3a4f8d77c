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
}

struct Held {
    line: usize,
    handle: String,
    message_id: String,
    end: Instant,
}

impl Leases {
    /// A message that comes again ends its earlier lease.
    pub(super) fn add(&mut self, arrival: Arrival) -> Lease {
        let Arrival { message, line, end } = arrival;
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

    pub(super) fn extend(&mut self, lease: &Lease, by: Duration) {
        if let Some(held) = self.held.get_mut(lease) {
            held.end = Instant::now() + by - UNDER_WAY;
        }
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
