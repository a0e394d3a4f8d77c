//! Ends leases: acks and releases, gathered without waiting for more.

use std::{sync::Arc, time::Duration};

use platform::{
    Result,
    queue::{Lease, Queue},
    retry::Backoff,
};
use tokio::{sync::mpsc, time::Instant};

use super::held::Held;

/// What one call settles at most: SQS takes ten, the embedded queue does not mind.
const GATHER_MAX: usize = 100;

/// How a delivery ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Settlement {
    /// Answered, or nobody waits: it never comes back.
    Ack(Lease),
    /// Somebody else may try.
    Release(Lease),
}

/// Settles what comes until all senders are gone.
///
/// When dropped, what was not settled comes back when its lease ends.
pub(crate) async fn run(
    queue: Arc<dyn Queue>,
    held: Arc<Held>,
    mut settlements: mpsc::Receiver<Settlement>,
    patience: Duration,
) -> Result<()> {
    let mut gathered = Vec::with_capacity(GATHER_MAX);
    while settlements.recv_many(&mut gathered, GATHER_MAX).await > 0 {
        let (mut ack, mut release) = (Vec::new(), Vec::new());
        for one in gathered.drain(..) {
            match one {
                Settlement::Ack(lease) => ack.push(lease),
                Settlement::Release(lease) => release.push(lease),
            }
        }
        persist(&*queue, End::Ack, &ack, patience).await;
        persist(&*queue, End::Release, &release, patience).await;
        for lease in ack.iter().chain(&release) {
            held.remove(lease);
        }
    }
    Ok(())
}

#[derive(Debug, Clone, Copy)]
enum End {
    Ack,
    Release,
}

/// Tries until it works or the leases have ended by themselves.
async fn persist(queue: &dyn Queue, end: End, leases: &[Lease], patience: Duration) {
    if leases.is_empty() {
        return;
    }
    let until = Instant::now() + patience;
    let mut backoff = Backoff::for_connections();
    loop {
        let done = match end {
            End::Ack => queue.ack(leases).await,
            End::Release => queue.release(leases).await,
        };
        match done {
            Ok(()) => return,
            Err(error) if Instant::now() >= until => {
                tracing::warn!(%error, ?end, "giving up; the tasks come back when their leases end");
                return;
            }
            Err(error) => {
                tracing::debug!(%error, ?end, "trying again");
                tokio::time::sleep(backoff.pause()).await;
            }
        }
    }
}
