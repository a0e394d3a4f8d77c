//! Answers by an SQS queue of this gateway's own: made at the start, removed at the end. Those of gateways that were killed are
//! removed by age.

use std::{sync::Arc, time::Duration};

use platform::{Result, error::ResultExt as _, queue::Mailbox, retry::Backoff};
use prost::Message as _;
use proto::internal::v1::TaskResult;

use crate::core::Core;

/// How long a receive waits, and the rest of it before the answers are given: SQS's longest.
const WAIT: Duration = Duration::from_secs(20);

/// Long against giving ten answers to those who wait here.
const LEASE: Duration = Duration::from_secs(30);

/// How often the queue is marked as in use, and how long after the last mark it counts as left behind.
const TOUCH: Duration = Duration::from_secs(3600);
const ORPHANED_AFTER: Duration = Duration::from_secs(24 * 3600);

pub struct ReplyQueue {
    mailbox: Mailbox,
    beside: String,
}

impl ReplyQueue {
    /// `beside` is the URL of the task queue.
    pub async fn create(beside: &str) -> Result<Self> {
        let config = platform::aws::config().await?;
        // SQS takes names of up to 80 letters.
        let owner = platform::id::new().to_lowercase();
        let mailbox = Mailbox::create(&config, beside, &owner).await.context("create reply queue")?;
        tracing::info!(queue = mailbox.url(), "answers come by queue");
        Ok(Self { mailbox, beside: beside.to_owned() })
    }

    /// For a task's `reply_to`.
    pub fn url(&self) -> &str {
        self.mailbox.url()
    }

    /// Gives answers to those who wait. Runs until dropped; an answer that was not given then comes to nobody.
    pub async fn run(&self, core: &Arc<Core>) {
        tokio::join!(self.answer(core), self.keep_house());
    }

    /// Callers have their answers by now.
    pub async fn remove(&self) {
        if let Err(error) = self.mailbox.remove().await {
            tracing::warn!(%error, queue = self.url(), "remove reply queue; a gateway that starts later does it");
        }
    }

    async fn answer(&self, core: &Arc<Core>) {
        let mut backoff = Backoff::for_connections();
        loop {
            match self.take(core).await {
                Ok(()) => backoff.reset(),
                Err(error) => {
                    tracing::warn!(%error, "receive answers");
                    tokio::time::sleep(backoff.pause()).await;
                }
            }
        }
    }

    async fn take(&self, core: &Arc<Core>) -> Result<()> {
        let letters = self.mailbox.receive(WAIT, LEASE).await?;
        if letters.is_empty() {
            return Ok(());
        }
        let mut done = Vec::with_capacity(letters.len());
        for letter in letters {
            done.push(letter.handle);
            match TaskResult::decode(letter.content) {
                Ok(TaskResult { task_id, result: Some(result) }) => {
                    if let Some(execution) = &result.execution {
                        core.models.add(&execution.model, &execution.model_version);
                    }
                    if !core.pending.finish(&task_id, result) {
                        tracing::debug!(task.id = task_id, "an answer nobody waits for");
                    }
                }
                Ok(reply) => tracing::error!(task.id = reply.task_id, "an answer without a result"),
                Err(error) => tracing::error!(%error, "not an answer of ours"),
            }
        }
        // One that could not be deleted comes again, to nobody.
        self.mailbox.delete(done).await
    }

    async fn keep_house(&self) {
        loop {
            if let Err(error) = self.mailbox.remove_orphans(&self.beside, ORPHANED_AFTER).await {
                tracing::warn!(%error, "remove reply queues left behind");
            }
            tokio::time::sleep(TOUCH).await;
            if let Err(error) = self.mailbox.touch().await {
                tracing::warn!(%error, "mark the reply queue as in use");
            }
        }
    }
}
