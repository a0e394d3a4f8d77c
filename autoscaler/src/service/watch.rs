//! Streams that follow the fleet and its decisions.

use std::{sync::Arc, time::Duration};

use platform::{Error, Result};
use proto::v1::{self, Decision};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until, timeout},
};

use super::stream::Step;
use crate::shared::{Shared, View};

/// A watcher of the status hears from us at least this often.
const STATUS_PERIOD: Duration = Duration::from_secs(5);

/// A watcher of decisions hears from us at least this often, or it could not tell a quiet fleet from a dead connection.
const HEARTBEAT_PERIOD: Duration = Duration::from_secs(15);

pub(super) struct StatusWatch {
    shared: Arc<Shared>,
    view: watch::Receiver<View>,
}

impl StatusWatch {
    pub fn new(shared: &Arc<Shared>) -> Self {
        let mut view = shared.view.subscribe();
        // What is there now is the first answer.
        view.mark_changed();
        Self { shared: Arc::clone(shared), view }
    }
}

impl Step for StatusWatch {
    type Answer = v1::WatchStatusResponse;

    async fn step(&mut self) -> Result<Option<v1::WatchStatusResponse>> {
        tokio::select! {
            // Changed or not: after the period it is said again.
            _ = timeout(STATUS_PERIOD, self.view.changed()) => {}
            () = self.shared.stop.cancelled() => return Ok(None),
        }
        let status = self.view.borrow_and_update().status.clone();
        Ok(Some(v1::WatchStatusResponse { status: Some(status) }))
    }
}

pub(super) struct DecisionWatch {
    shared: Arc<Shared>,
    latest: watch::Receiver<u64>,
    /// Sequence of the last one looked at.
    after: u64,
    changed_only: bool,
    heartbeat: Instant,
}

impl DecisionWatch {
    pub fn new(shared: &Arc<Shared>, request: v1::WatchDecisionsRequest) -> Result<Self> {
        let v1::WatchDecisionsRequest { after_sequence, changed_only } = request;
        let latest = shared.log.latest();
        let newest = *latest.borrow();
        if after_sequence > newest {
            let sentence = format!("{after_sequence} is after the latest decision, {newest}");
            return Err(Error::invalid("after_sequence", sentence));
        }
        let after = if after_sequence == 0 { newest } else { after_sequence };
        let heartbeat = Instant::now() + HEARTBEAT_PERIOD;
        Ok(Self { shared: Arc::clone(shared), latest, after, changed_only, heartbeat })
    }

    /// The next one that was asked for, of those that there are.
    fn next(&mut self) -> Option<Arc<Decision>> {
        while let Some(decision) = self.shared.log.next_after(self.after) {
            self.after = decision.sequence;
            if is_asked_for(&decision, self.changed_only) {
                return Some(decision);
            }
        }
        None
    }
}

impl Step for DecisionWatch {
    type Answer = v1::WatchDecisionsResponse;

    async fn step(&mut self) -> Result<Option<v1::WatchDecisionsResponse>> {
        let decision = loop {
            self.latest.borrow_and_update();
            if let Some(decision) = self.next() {
                break Some((*decision).clone());
            }
            tokio::select! {
                changed = self.latest.changed() => if changed.is_err() {
                    return Ok(None);
                },
                () = sleep_until(self.heartbeat) => break None,
                () = self.shared.stop.cancelled() => return Ok(None),
            }
        };
        self.heartbeat = Instant::now() + HEARTBEAT_PERIOD;
        Ok(Some(v1::WatchDecisionsResponse { decision }))
    }
}

/// Whether a list or a stream that was asked for has this one in it.
pub(super) fn is_asked_for(decision: &Decision, changed_only: bool) -> bool {
    !changed_only || !decision.actions.is_empty()
}
