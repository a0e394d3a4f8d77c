//! Tasks in SQS. Two priorities are two queues: NAME and NAME-batch beside it.
//!
//! A task is one message: its body is the task's id, for whoever looks at the queue, and a binary attribute carries it.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use aws_config::SdkConfig;
use aws_sdk_sqs::types::QueueAttributeName;
use prost::Message as _;
use proto::v1::Priority;
use tokio::time::Instant;

use self::{
    inbox::Inbox,
    leases::Leases,
    line::{Address, BATCH_BYTES_MAX, BYTES_BESIDE_CONTENT, Line, Outgoing, whole_seconds},
};
use super::{ATTEMPTS_MAX, Counts, Delivery, Lease, Queue, Receive, Task};
use crate::{Error, Kind, Result};

mod batch;
mod inbox;
mod leases;
mod line;
mod mailbox;

pub use mailbox::{Letter, Mailbox};

pub struct SqsQueue {
    /// Interactive first; a queue of dead letters has but one.
    lines: Vec<Arc<Line>>,
    inbox: Inbox,
    leases: Mutex<Leases>,
    dead_letters: Option<Arc<SqsQueue>>,
    task_bytes_max: Option<usize>,
}

impl SqsQueue {
    /// As a gateway needs it: to send tasks and to answer dead letters. Needs sqs:GetQueueUrl, sqs:GetQueueAttributes and
    /// sqs:SendMessage on both queues, and what a receiver needs on the dead letters.
    pub async fn open_for_sender(config: &SdkConfig, url: &str) -> Result<Self> {
        let lines = open_lines(config, url).await?;
        let mut task_bytes_max = BATCH_BYTES_MAX - BYTES_BESIDE_CONTENT;
        let mut dead_letters: Option<String> = None;
        for line in &lines {
            let (size, redrive) = (QueueAttributeName::MaximumMessageSize, QueueAttributeName::RedrivePolicy);
            let attributes = line.attributes(&[size.clone(), redrive.clone()]).await?;
            if let Some(bytes) = attributes.get(&size).and_then(|bytes| bytes.parse::<usize>().ok()) {
                task_bytes_max = task_bytes_max.min(bytes.saturating_sub(BYTES_BESIDE_CONTENT));
            }
            let arn = redrive_target(&line.title, attributes.get(&redrive))?;
            if let Some(other) = dead_letters.replace(arn.clone()).filter(|other| *other != arn) {
                let sentence = format!(
                    "{} sends dead letters to {arn}, the queue beside it to {other}: give both the same",
                    line.title
                );
                return Err(Error::new(Kind::Config, sentence));
            }
        }
        let dead_letters = match dead_letters {
            Some(arn) => {
                let address = Address::of_arn(&arn).ok_or_else(|| {
                    Error::new(Kind::Config, format!("queue {url}: {arn:?} is not the ARN of a queue"))
                })?;
                let line = Line::open(config, &address).await?;
                line.check_settling().await?;
                Some(Arc::new(Self::of(vec![Arc::new(line)])))
            }
            None => None,
        };
        Ok(Self { dead_letters, task_bytes_max: Some(task_bytes_max), ..Self::of(lines) })
    }

    /// As a worker needs it. Needs sqs:GetQueueUrl, sqs:ReceiveMessage, sqs:DeleteMessage and sqs:ChangeMessageVisibility.
    pub async fn open_for_receiver(config: &SdkConfig, url: &str) -> Result<Self> {
        let lines = open_lines(config, url).await?;
        for line in &lines {
            line.check_settling().await?;
        }
        Ok(Self::of(lines))
    }

    /// As the autoscaler needs it. Needs sqs:GetQueueUrl and sqs:GetQueueAttributes on both queues.
    pub async fn open_for_counts(config: &SdkConfig, url: &str) -> Result<Self> {
        Ok(Self::of(open_lines(config, url).await?))
    }

    fn of(lines: Vec<Arc<Line>>) -> Self {
        Self {
            inbox: Inbox::new(lines.clone()),
            lines,
            leases: Mutex::default(),
            dead_letters: None,
            task_bytes_max: None,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Leases> {
        // No code of a caller runs inside, so a panic cannot leave it half changed.
        self.leases.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The leases in force, by line.
    fn handles(&self, leases: &[Lease]) -> Vec<(Arc<Line>, Vec<String>)> {
        let held = self.lock();
        let of_line = |(at, line): (usize, &Arc<Line>)| {
            let handles = leases.iter().filter_map(|lease| held.handle(lease, at)).collect::<Vec<_>>();
            (!handles.is_empty()).then(|| (Arc::clone(line), handles))
        };
        self.lines.iter().enumerate().filter_map(of_line).collect()
    }
}

async fn open_lines(config: &SdkConfig, url: &str) -> Result<Vec<Arc<Line>>> {
    let address = Address::parse(url)?;
    let interactive = Line::open(config, &address).await?;
    let batch = Line::open(config, &address.beside("-batch")).await?;
    Ok(vec![Arc::new(interactive), Arc::new(batch)])
}

/// Where a queue's dead letters go. Without it, a task that crashes workers would come back for ever.
fn redrive_target(title: &str, policy: Option<&String>) -> Result<String> {
    let policy =
        policy.and_then(|policy| serde_json::from_str::<serde_json::Value>(policy).ok()).unwrap_or_default();
    let target = policy.get("deadLetterTargetArn").and_then(|arn| arn.as_str());
    let Some(target) = target else {
        return Err(Error::new(
            Kind::Config,
            format!(
                "{title} has no redrive policy: give it a dead-letter queue with maxReceiveCount {ATTEMPTS_MAX}"
            ),
        ));
    };
    let count = policy.get("maxReceiveCount");
    let count = count.and_then(|count| count.as_u64().or_else(|| count.as_str()?.parse().ok()));
    if count != Some(u64::from(ATTEMPTS_MAX)) {
        tracing::warn!(
            queue = title,
            ?count,
            "maxReceiveCount is not {ATTEMPTS_MAX}: errors will name the wrong number"
        );
    }
    Ok(target.to_owned())
}

#[async_trait]
impl Queue for SqsQueue {
    async fn send(&self, tasks: Vec<Task>) -> Result<()> {
        let mut of_line = self.lines.iter().map(|_| Vec::new()).collect::<Vec<_>>();
        for task in tasks {
            let content = task.encode_to_vec();
            if let Some(max) = self.task_bytes_max.filter(|max| content.len() > *max) {
                return Err(Error::new(Kind::Internal, "")
                    .with_source(format!("a task of {} bytes, the queue takes {max}", content.len())));
            }
            let at = usize::from(task.priority() == Priority::Batch && self.lines.len() > 1);
            if let Some(messages) = of_line.get_mut(at) {
                messages.push(Outgoing {
                    body: task.task_id,
                    content: content.into(),
                    traceparent: task.traceparent,
                });
            }
        }
        let sends = self.lines.iter().zip(of_line).map(|(line, messages)| line.send(messages));
        futures::future::try_join_all(sends).await.map_err(|error| error.context("send tasks"))?;
        Ok(())
    }

    async fn receive(&self, receive: Receive) -> Result<Vec<Delivery>> {
        let arrivals = self.inbox.receive(receive).await?;
        let mut leases = self.lock();
        let mut deliveries = Vec::with_capacity(arrivals.len());
        for arrival in arrivals {
            let task =
                arrival.message.content.as_ref().and_then(|content| Task::decode(content.clone()).ok());
            let Some(task) = task else {
                // Left alone, it becomes a dead letter, where a person can look at it.
                tracing::error!(message_id = arrival.message.message_id, "not a task of ours");
                continue;
            };
            let attempt = arrival.message.receives;
            deliveries.push(Delivery { task, lease: leases.add(arrival), attempt });
        }
        Ok(deliveries)
    }

    async fn extend(&self, leases: &[Lease], by: Duration) -> Result<Vec<Lease>> {
        let by = whole_seconds(by);
        let mut lost = leases.iter().filter(|lease| !self.lock().is_held(lease)).cloned().collect::<Vec<_>>();
        for (line, handles) in self.handles(leases) {
            let end = Instant::now() + by;
            let gone = line.set_visibility(&handles, by).await?;
            let mut held = self.lock();
            for lease in leases {
                match held.handle_of(lease) {
                    Some(handle) if gone.contains(&handle) => {
                        held.remove(lease);
                        lost.push(lease.clone());
                    }
                    Some(handle) if handles.contains(&handle) => held.extend(lease, end),
                    _ => {}
                }
            }
        }
        Ok(lost)
    }

    async fn ack(&self, leases: &[Lease]) -> Result<()> {
        let deletes =
            self.handles(leases).into_iter().map(async |(line, handles)| line.delete(handles).await);
        futures::future::try_join_all(deletes).await?;
        let mut held = self.lock();
        leases.iter().for_each(|lease| held.remove(lease));
        Ok(())
    }

    async fn release(&self, leases: &[Lease]) -> Result<()> {
        for (line, handles) in self.handles(leases) {
            line.set_visibility(&handles, Duration::ZERO).await?;
        }
        let mut held = self.lock();
        leases.iter().for_each(|lease| held.remove(lease));
        Ok(())
    }

    async fn stop_receiving(&self) -> Result<()> {
        for (line, handles) in self.inbox.stop().await {
            line.set_visibility(&handles, Duration::ZERO).await?;
        }
        Ok(())
    }

    async fn counts(&self) -> Result<Counts> {
        let counts = futures::future::try_join_all(self.lines.iter().map(|line| line.counts())).await?;
        Ok(Counts {
            visible: counts.iter().map(|(visible, _)| visible).sum(),
            leased: counts.iter().map(|(_, leased)| leased).sum(),
            // SQS does not say.
            oldest_age: Duration::ZERO,
        })
    }

    fn task_bytes_max(&self) -> Option<usize> {
        self.task_bytes_max
    }

    fn dead_letters(&self) -> Option<Arc<dyn Queue>> {
        self.dead_letters.clone().map(|queue| queue as Arc<dyn Queue>)
    }
}
