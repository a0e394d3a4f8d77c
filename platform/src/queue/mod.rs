//! The queue of tasks: one trait, one file per kind. A URL picks the kind.

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use async_trait::async_trait;
pub use proto::internal::v1::Task;

use crate::{Error, Kind, Result, auth::Links};

mod broker;
#[cfg(feature = "contract")]
pub mod contract;
#[cfg(feature = "contract")]
pub mod faulty;
mod memory;
#[cfg(feature = "aws")]
mod sqs;
mod turns;

pub use broker::BrokerQueue;
pub use memory::{MemoryLimits, MemoryQueue};
#[cfg(feature = "aws")]
pub use sqs::{Letter, Mailbox, SqsQueue};
pub use turns::TURNS;

/// A task after this many deliveries without an ack is dead-lettered (DESIGN section 5).
pub const ATTEMPTS_MAX: u32 = 3;

/// At-least-once delivery of tasks under leases.
///
/// Every kind passes `queue/contract.rs`. Any of these futures may be dropped: an effect that was
/// not confirmed may or may not have happened, and no delivery is lost (its lease ends and it
/// comes back).
#[async_trait]
pub trait Queue: Send + Sync + 'static {
    /// Adds tasks, all or none. An empty call does nothing. A full queue answers `QueueFull`.
    async fn send(&self, tasks: Vec<Task>) -> Result<()>;

    /// Waits up to `wait` for at least one task, then answers at once with what is there, interactive
    /// before batch but for one in [`TURNS`], so that batch is not starved; oldest first within a priority
    /// where the kind keeps an order. Empty when the wait is over.
    async fn receive(&self, receive: Receive) -> Result<Vec<Delivery>>;

    /// Extends leases to `by` from now. Answers with those that had ended: their tasks may be
    /// with another worker, so stop working on them. An empty call does nothing.
    async fn extend(&self, leases: &[Lease], by: Duration) -> Result<Vec<Lease>>;

    /// Done: the tasks never come back. An ended or repeated lease is not an error and does
    /// nothing.
    async fn ack(&self, leases: &[Lease]) -> Result<()>;

    /// Makes the tasks visible again at once, as their next attempt. An ended or repeated lease
    /// is not an error and does nothing.
    async fn release(&self, leases: &[Lease]) -> Result<()>;

    /// Gives back what was handed over and not yet returned by `receive`. After it returns, no
    /// task is leased to this receiver but those it holds. The next `receive` starts again.
    async fn stop_receiving(&self) -> Result<()>;

    /// How many tasks there are.
    async fn counts(&self) -> Result<Counts>;

    /// Takes tasks back that nobody waits for any more, where that can be done without a worker's help.
    /// One that a worker holds, or that is not there, is left alone: the worker asks before it begins.
    fn withdraw(&self, _task_ids: &[String]) {}

    /// The largest task it takes, encoded; `None`: no limit of its own.
    fn task_bytes_max(&self) -> Option<usize> {
        None
    }

    /// The tasks that ended after [`ATTEMPTS_MAX`] deliveries, as a queue of their own. `None`
    /// where they can't be read from here.
    fn dead_letters(&self) -> Option<Arc<dyn Queue>>;
}

/// Opens the queue a URL names, as a worker sees it.
pub async fn open(url: &str) -> Result<Arc<dyn Queue>> {
    open_with(url, &Links::default()).await
}

/// The same with what our services show each other.
pub async fn open_with(url: &str, links: &Links) -> Result<Arc<dyn Queue>> {
    match url.split_once("://") {
        Some(("broker", address)) => Ok(Arc::new(BrokerQueue::with_links(address, links)?)),
        #[cfg(feature = "aws")]
        Some(("sqs" | "https" | "http", _)) => {
            Ok(Arc::new(SqsQueue::open_for_receiver(&crate::aws::config().await?, url).await?))
        }
        _ => Err(unknown(url, "broker://HOST:PORT (a gateway's internal port), sqs://REGION/NAME")),
    }
}

/// The same as a gateway sees it: it sends tasks and answers dead letters.
pub async fn open_for_sender(url: &str) -> Result<Arc<dyn Queue>> {
    match url.split_once("://") {
        #[cfg(feature = "aws")]
        Some(("sqs" | "https" | "http", _)) => {
            Ok(Arc::new(SqsQueue::open_for_sender(&crate::aws::config().await?, url).await?))
        }
        _ => Err(unknown(url, "sqs://REGION/NAME")),
    }
}

/// The same only to count: `receive` and `send` are for those who were given more rights.
pub async fn open_for_counts(url: &str) -> Result<Arc<dyn Queue>> {
    match url.split_once("://") {
        #[cfg(feature = "aws")]
        Some(("sqs" | "https" | "http", _)) => {
            Ok(Arc::new(SqsQueue::open_for_counts(&crate::aws::config().await?, url).await?))
        }
        _ => Err(unknown(url, "sqs://REGION/NAME")),
    }
}

fn unknown(url: &str, known: &str) -> Error {
    let sentence = if cfg!(not(feature = "aws")) && url.starts_with("sqs://") {
        format!(
            "queue {url:?}: this program was built without AWS; gateway, classifier-worker and autoscaler have it"
        )
    } else {
        format!("queue {url:?}: unknown kind; known: {known}")
    };
    Error::new(Kind::Config, sentence)
}

/// What a `receive` asks for.
#[derive(Debug, Clone, Copy)]
pub struct Receive {
    pub max: NonZeroU32,
    pub wait: Duration,
    pub lease: Duration,
}

/// A task handed to a worker under a lease.
#[derive(Debug, Clone)]
pub struct Delivery {
    pub task: Task,
    pub lease: Lease,
    /// 1 = first.
    pub attempt: u32,
}

/// The right to work on one delivery until it ends.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Lease(pub(crate) String);

impl Lease {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<String> for Lease {
    fn from(token: String) -> Self {
        Self(token)
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Waiting to be received.
    pub visible: u64,
    /// With a worker.
    pub leased: u64,
    /// Of the visible ones; zero when there are none.
    pub oldest_age: Duration,
}
