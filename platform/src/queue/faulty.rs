//! A queue that fails on purpose, round one that works.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;

use super::{Counts, Delivery, Lease, Queue, Receive, Task};
use crate::{
    Kind, Result,
    faults::{Fault, Faults},
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueueCall {
    Send,
    Receive,
    Extend,
    Ack,
    Release,
    StopReceiving,
    Counts,
}

/// Fails with `QueueUnavailable`, as a driver does whose service is away. A receive that fails after its effect
/// has leased tasks to nobody: they come back when those leases end.
pub struct FaultyQueue {
    inner: Arc<dyn Queue>,
    faults: Arc<Faults<QueueCall>>,
}

impl FaultyQueue {
    /// Fails nowhere, until told to.
    pub fn new(inner: Arc<dyn Queue>) -> Arc<Self> {
        Arc::new(Self { inner, faults: Arc::new(Faults::new(Kind::QueueUnavailable)) })
    }

    /// Every so many calls of this kind fail from now on, also of the queue of dead letters. 1: all.
    pub fn fail(&self, call: QueueCall, every: u64, fault: Fault) {
        self.faults.fail(call, every, fault);
    }

    /// No call fails any more, and those that hang end with an error.
    pub fn heal(&self) {
        self.faults.heal();
    }

    /// How many calls have failed on purpose.
    pub fn injected(&self) -> u64 {
        self.faults.injected()
    }
}

#[async_trait]
impl Queue for FaultyQueue {
    async fn send(&self, tasks: Vec<Task>) -> Result<()> {
        self.faults.around(QueueCall::Send, self.inner.send(tasks)).await
    }

    async fn receive(&self, receive: Receive) -> Result<Vec<Delivery>> {
        self.faults.around(QueueCall::Receive, self.inner.receive(receive)).await
    }

    async fn extend(&self, leases: &[Lease], by: Duration) -> Result<Vec<Lease>> {
        self.faults.around(QueueCall::Extend, self.inner.extend(leases, by)).await
    }

    async fn ack(&self, leases: &[Lease]) -> Result<()> {
        self.faults.around(QueueCall::Ack, self.inner.ack(leases)).await
    }

    async fn release(&self, leases: &[Lease]) -> Result<()> {
        self.faults.around(QueueCall::Release, self.inner.release(leases)).await
    }

    async fn stop_receiving(&self) -> Result<()> {
        self.faults.around(QueueCall::StopReceiving, self.inner.stop_receiving()).await
    }

    async fn counts(&self) -> Result<Counts> {
        self.faults.around(QueueCall::Counts, self.inner.counts()).await
    }

    fn withdraw(&self, task_ids: &[String]) {
        self.inner.withdraw(task_ids);
    }

    fn task_bytes_max(&self) -> Option<usize> {
        self.inner.task_bytes_max()
    }

    fn dead_letters(&self) -> Option<Arc<dyn Queue>> {
        let inner = self.inner.dead_letters()?;
        Some(Arc::new(Self { inner, faults: Arc::clone(&self.faults) }))
    }
}
