//! A worker that nobody looks after: its autoscaler is gone for long and it has nothing to do.

use std::{sync::Arc, time::Duration};

use tokio::{sync::watch, time::timeout};

use crate::pipeline::Status;

/// Nothing held and nothing finished for this long is idle.
const IDLE: Duration = Duration::from_secs(60);

/// Ends when the autoscaler has been away for `after` and the worker is idle. A worker with work to do stays: its callers
/// wait, whoever started it.
pub(crate) async fn wait(mut connected: watch::Receiver<bool>, status: Arc<Status>, after: Duration) {
    loop {
        if connected.wait_for(|is_connected| !is_connected).await.is_err() {
            return std::future::pending().await;
        }
        if timeout(after, connected.wait_for(|is_connected| *is_connected)).await.is_ok() {
            continue;
        }
        while !*connected.borrow() {
            let done = status.pace.figures().completed_total;
            let back = timeout(IDLE.min(after), connected.wait_for(|is_connected| *is_connected)).await;
            if back.is_err() && status.load().total == 0 && status.pace.figures().completed_total == done {
                return;
            }
        }
    }
}
