//! Keeps the leases of what is held alive, and tells who works on a task that it is lost.

use std::{sync::Arc, time::Duration};

use platform::{Error, Kind, Result, queue::Queue};
use tokio::time::{Instant, MissedTickBehavior};

use super::held::Held;

/// Looks this many times within a lease, so that a failed call has three more chances.
const LOOKS: u32 = 6;

/// Extends each lease before half of it is over. Runs until it is dropped.
pub(crate) async fn keep(queue: Arc<dyn Queue>, held: Arc<Held>, lease: Duration) -> Result<()> {
    let step = lease / LOOKS;
    let mut ticks = tokio::time::interval(step);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut failing = false;
    loop {
        ticks.tick().await;
        let due = held.due(Instant::now() + step);
        if due.is_empty() {
            continue;
        }
        let extended = tokio::time::timeout(step, queue.extend(&due, lease))
            .await
            .unwrap_or_else(|_| Err(Error::new(Kind::QueueUnavailable, "no answer from the queue")));
        match extended {
            Ok(lost) => {
                failing = false;
                held.extended(&due, lease);
                for one in &lost {
                    if let Some(ticket) = held.lost(one) {
                        tracing::warn!(task.id = ticket.task.task_id, attempt = ticket.attempt, "lease lost");
                    }
                }
            }
            Err(error) if failing => tracing::debug!(%error, "extend leases"),
            Err(error) => {
                failing = true;
                tracing::warn!(%error, leases = due.len(), "extend leases");
            }
        }
    }
}
