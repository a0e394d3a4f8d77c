//! A queue of small messages for one reader: the answers to one gateway, or results for other consumers.

use std::{
    collections::HashMap,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use aws_config::SdkConfig;
use aws_sdk_sqs::{config::http::HttpResponse, error::SdkError};
use bytes::Bytes;

use super::line::{Address, Line, Outgoing, client, refusal};
use crate::{Error, Kind, Result, aws::errors::Failure};

/// When the owner of a reply queue was last there, in seconds since the Unix epoch.
const SEEN: &str = "dunlin:seen";

/// Whose it is.
const OWNER: &str = "dunlin:gateway";

/// Replies that nobody takes are worth nothing after this: no caller waits longer.
const RETENTION: Duration = Duration::from_secs(3600);

pub struct Mailbox {
    line: Line,
}

/// A message taken from a mailbox, to be deleted once it was acted on.
pub struct Letter {
    pub content: Bytes,
    pub handle: String,
}

impl Mailbox {
    /// One that is there: `sqs://REGION/NAME` or the queue's URL.
    pub async fn open(config: &SdkConfig, url: &str) -> Result<Self> {
        Ok(Self { line: Line::open(config, &Address::parse(url)?).await? })
    }

    /// Makes a queue beside the one at `url`, named `NAME-reply-OWNER`.
    pub async fn create(config: &SdkConfig, url: &str, owner: &str) -> Result<Self> {
        use aws_sdk_sqs::types::QueueAttributeName::{MessageRetentionPeriod, SqsManagedSseEnabled};
        let address = Address::parse(url)?.beside(&reply_suffix(owner));
        let client = client(config, address.region.as_deref());
        let region =
            address.region.clone().or_else(|| config.region().map(ToString::to_string)).unwrap_or_default();
        let title = format!("queue sqs://{region}/{}", address.name);
        let created = client
            .create_queue()
            .queue_name(&address.name)
            .attributes(MessageRetentionPeriod, RETENTION.as_secs().to_string())
            .attributes(SqsManagedSseEnabled, "true")
            .tags(OWNER, owner)
            .tags(SEEN, now().to_string())
            .send()
            .await
            .map_err(|error| refusal(error, &title, "sqs:CreateQueue"))?;
        Ok(Self { line: Line::with_url(client, created.queue_url.unwrap_or_default(), title) })
    }

    /// `sqs://REGION/NAME`, for a task's `reply_to`.
    pub fn url(&self) -> &str {
        self.line.title.strip_prefix("queue ").unwrap_or(&self.line.title)
    }

    pub async fn send(&self, content: Bytes) -> Result<()> {
        self.line.send(vec![Outgoing { body: "reply".to_owned(), content, traceparent: String::new() }]).await
    }

    /// A message that is a text and nothing else, for readers that are not ours.
    pub async fn send_text(&self, body: String) -> Result<()> {
        self.line.send(vec![Outgoing { body, content: Bytes::new(), traceparent: String::new() }]).await
    }

    /// Waits up to `wait` for at least one. What is not deleted within `lease` comes again.
    pub async fn receive(&self, wait: Duration, lease: Duration) -> Result<Vec<Letter>> {
        let received = self.line.receive(usize::MAX, wait, lease).await?;
        let letter = |message: super::line::Incoming| Letter {
            content: message.content.unwrap_or_default(),
            handle: message.handle,
        };
        Ok(received.into_iter().map(letter).collect())
    }

    pub async fn delete(&self, handles: Vec<String>) -> Result<()> {
        self.line.delete(handles).await
    }

    /// Says that the owner is there.
    pub async fn touch(&self) -> Result<()> {
        let tagged = self.line.client().tag_queue().queue_url(&self.line.url).tags(SEEN, now().to_string());
        tagged.send().await.map(drop).map_err(|error| failed(error, "sqs:TagQueue"))
    }

    /// Removes the queue with all that is in it.
    pub async fn remove(&self) -> Result<()> {
        let removed = self.line.client().delete_queue().queue_url(&self.line.url).send().await;
        removed.map(drop).map_err(|error| failed(error, "sqs:DeleteQueue"))
    }

    /// Removes the reply queues beside the one at `url` whose owners have not been there for `after`. Gives how many.
    pub async fn remove_orphans(&self, url: &str, after: Duration) -> Result<usize> {
        let prefix = Address::parse(url)?.beside(&reply_suffix("")).name;
        let client = self.line.client();
        let mut pages = client.list_queues().queue_name_prefix(prefix).into_paginator().items().send();
        let mut removed = 0;
        while let Some(queue) = pages.next().await {
            let queue = queue.map_err(|error| failed(error, "sqs:ListQueues"))?;
            let tags = client.list_queue_tags().queue_url(&queue).send().await;
            // Another gateway may have removed it in between.
            let Ok(tags) = tags else { continue };
            if is_orphan(&tags.tags.unwrap_or_default(), after) {
                tracing::info!(queue, "removing the reply queue of a gateway that is gone");
                let deleted = client.delete_queue().queue_url(&queue).send().await;
                removed += usize::from(deleted.is_ok());
            }
        }
        Ok(removed)
    }
}

fn failed<E>(error: SdkError<E, HttpResponse>, action: &'static str) -> Error
where
    Failure: From<SdkError<E, HttpResponse>>,
{
    Failure::from(error).running(Kind::QueueUnavailable).context(action)
}

fn reply_suffix(owner: &str) -> String {
    format!("-reply-{owner}")
}

/// A queue without our tags is not ours to remove.
fn is_orphan(tags: &HashMap<String, String>, after: Duration) -> bool {
    let seen = tags.get(SEEN).and_then(|seen| seen.parse::<u64>().ok());
    tags.contains_key(OWNER) && seen.is_some_and(|seen| now().saturating_sub(seen) > after.as_secs())
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_queues_that_nobody_has_seen_for_long_are_orphans() {
        let check = |tags: &[(&str, String)], want: bool| {
            let tags = tags.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect();
            assert_eq!(is_orphan(&tags, Duration::from_secs(3600)), want, "{tags:?}");
        };
        let owner = (OWNER, "g1".to_owned());
        check(&[], false);
        check(&[(SEEN, "0".to_owned())], false);
        check(std::slice::from_ref(&owner), false);
        check(&[owner.clone(), (SEEN, now().to_string())], false);
        check(&[owner, (SEEN, (now() - 3700).to_string())], true);
    }
}
