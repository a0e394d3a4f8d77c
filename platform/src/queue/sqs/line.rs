//! One SQS queue as it is: messages sent and deleted in tens, received by long polls.

use std::{collections::HashMap, sync::Arc, time::Duration};

use aws_config::{Region, SdkConfig, timeout::TimeoutConfig};
use aws_sdk_sqs::{
    Client,
    config::{Builder, http::HttpResponse},
    error::SdkError,
    types::{ChangeMessageVisibilityBatchRequestEntry, MessageSystemAttributeName, QueueAttributeName},
};
use bytes::Bytes;

use super::batch::{Deletes, Sends, To, entry_failed};
use crate::{
    Error, Kind, Result,
    aws::errors::{Cause, Doing, Failure},
    gather::{Gatherer, Limits},
};

/// Messages in one call, by SQS.
pub(super) const BATCH_MAX: usize = 10;

/// Bytes in one call and in one message, by SQS since 2025.
pub(super) const BATCH_BYTES_MAX: usize = 1_048_576;

/// The longest a receive may wait, by SQS.
pub(super) const POLL_MAX: Duration = Duration::from_secs(20);

/// An ordinary call takes milliseconds.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);

const LIMITS: Limits = Limits {
    items_max: BATCH_MAX,
    bytes_max: BATCH_BYTES_MAX,
    linger: Duration::from_millis(5),
    // Ten messages in each of four calls of 10 ms are 4,000 a second.
    calls_max: 4,
};

/// The binary attribute that carries what a message is about: its bytes count as they are, while a body would have to be
/// text, a third longer.
pub(super) const CONTENT: &str = "task";
pub(super) const TRACEPARENT: &str = "traceparent";

/// What the names and types of both attributes, a trace of 55 bytes and a body with an id count beside the content.
pub(super) const BYTES_BESIDE_CONTENT: usize = 256;

pub(super) struct Line {
    client: Client,
    pub(super) url: String,
    /// For a person: `queue sqs://eu-west-1/dunlin`.
    pub(super) title: String,
    sends: Gatherer<Sends>,
    deletes: Gatherer<Deletes>,
}

/// A message to send.
pub(super) struct Outgoing {
    pub(super) body: String,
    pub(super) content: Bytes,
    /// W3C trace context; empty: none.
    pub(super) traceparent: String,
}

/// A message received.
pub(super) struct Incoming {
    pub(super) message_id: String,
    pub(super) handle: String,
    pub(super) content: Option<Bytes>,
    /// 1 = first.
    pub(super) receives: u32,
}

/// Where a queue is: `sqs://REGION/NAME` or the queue's own URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) region: Option<String>,
    pub(super) name: String,
    /// `None`: to be asked for.
    url: Option<String>,
    account: Option<String>,
}

impl Address {
    pub(super) fn parse(text: &str) -> Result<Self> {
        let wrong = || {
            Error::new(
                Kind::Config,
                format!("queue {text:?} is not sqs://REGION/NAME, nor the URL of a queue"),
            )
        };
        let is_name = |name: &str| {
            !name.is_empty()
                && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
        };
        if let Some(rest) = text.strip_prefix("sqs://") {
            let (region, name) = rest.split_once('/').ok_or_else(wrong)?;
            if !is_name(region) || !is_name(name) {
                return Err(wrong());
            }
            return Ok(Self {
                region: Some(region.to_owned()),
                name: name.to_owned(),
                url: None,
                account: None,
            });
        }
        let name = text.rsplit('/').next().filter(|name| is_name(name)).ok_or_else(wrong)?;
        let host = text.split("://").nth(1).and_then(|rest| rest.split('/').next()).ok_or_else(wrong)?;
        let region = host.strip_prefix("sqs.").and_then(|rest| rest.split('.').next()).map(str::to_owned);
        Ok(Self { region, name: name.to_owned(), url: Some(text.to_owned()), account: None })
    }

    /// The queue beside it whose name ends in `suffix`.
    pub(super) fn beside(&self, suffix: &str) -> Self {
        Self {
            name: format!("{}{suffix}", self.name),
            url: self.url.as_ref().map(|url| format!("{url}{suffix}")),
            ..self.clone()
        }
    }

    /// `arn:aws:sqs:REGION:ACCOUNT:NAME`
    pub(super) fn of_arn(arn: &str) -> Option<Self> {
        let mut parts = arn.split(':').skip(3);
        let (region, account, name) = (parts.next()?, parts.next()?, parts.next()?);
        Some(Self {
            region: Some(region.to_owned()),
            name: name.to_owned(),
            url: None,
            account: Some(account.to_owned()),
        })
    }
}

pub(super) fn client(config: &SdkConfig, region: Option<&str>) -> Client {
    let mut builder = Builder::from(config);
    if let Some(region) = region {
        builder = builder.region(Region::new(region.to_owned()));
    }
    // Kept from the shared configuration: how long a connection may take.
    let mut timeouts = config.timeout_config().map(TimeoutConfig::to_builder).unwrap_or_default();
    timeouts = timeouts.operation_attempt_timeout(CALL_TIMEOUT);
    Client::from_conf(builder.timeout_config(timeouts.build()).build())
}

impl Line {
    /// Finds the queue; refuses in one sentence when it is not there.
    pub(super) async fn open(config: &SdkConfig, address: &Address) -> Result<Self> {
        let client = client(config, address.region.as_deref());
        let region =
            address.region.clone().or_else(|| config.region().map(ToString::to_string)).unwrap_or_default();
        let title = format!("queue sqs://{region}/{}", address.name);
        let url = match &address.url {
            Some(url) => url.clone(),
            None => {
                let found = client
                    .get_queue_url()
                    .queue_name(&address.name)
                    .set_queue_owner_aws_account_id(address.account.clone())
                    .send()
                    .await
                    .map_err(|error| refusal(error, &title, "sqs:GetQueueUrl"))?;
                found.queue_url.unwrap_or_default()
            }
        };
        Ok(Self::with_url(client, url, title))
    }

    pub(super) fn with_url(client: Client, url: String, title: String) -> Self {
        let to = Arc::new(To { client: client.clone(), url: url.clone() });
        Self {
            sends: Gatherer::start(Sends(Arc::clone(&to)), LIMITS),
            // One at a time: nobody waits for a delete, so the next gathers what has come meanwhile.
            deletes: Gatherer::start(Deletes(to), Limits { calls_max: 1, ..LIMITS }),
            client,
            url,
            title,
        }
    }

    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    pub(super) async fn send(&self, messages: Vec<Outgoing>) -> Result<()> {
        self.sends.add_all(messages).await.map(drop)
    }

    /// An ended handle does nothing.
    pub(super) async fn delete(&self, handles: Vec<String>) -> Result<()> {
        self.deletes.add_all(handles).await.map(drop)
    }

    /// Waits for at least one message up to `wait`, in whole seconds.
    pub(super) async fn receive(
        &self,
        max: usize,
        wait: Duration,
        visibility: Duration,
    ) -> Result<Vec<Incoming>> {
        let timeouts = TimeoutConfig::builder().operation_attempt_timeout(wait + 2 * CALL_TIMEOUT).build();
        let received = self
            .client
            .receive_message()
            .queue_url(&self.url)
            .max_number_of_messages(i32::try_from(max.clamp(1, BATCH_MAX)).unwrap_or(1))
            .wait_time_seconds(seconds(wait.min(POLL_MAX)))
            .visibility_timeout(seconds(visibility))
            .message_attribute_names(CONTENT)
            .message_system_attribute_names(MessageSystemAttributeName::ApproximateReceiveCount)
            .customize()
            .config_override(Builder::new().timeout_config(timeouts))
            .send()
            .await
            .map_err(|error| self.failed(error, "sqs:ReceiveMessage"))?;
        let incoming = |message: aws_sdk_sqs::types::Message| {
            let receives = message.attributes().and_then(|attributes| {
                attributes.get(&MessageSystemAttributeName::ApproximateReceiveCount)?.parse().ok()
            });
            let content = message.message_attributes.as_ref().and_then(|attributes| {
                attributes.get(CONTENT)?.binary_value.clone().map(|blob| Bytes::from(blob.into_inner()))
            });
            Some(Incoming {
                message_id: message.message_id?,
                handle: message.receipt_handle?,
                content,
                receives: receives.unwrap_or(1),
            })
        };
        Ok(received.messages.unwrap_or_default().into_iter().filter_map(incoming).collect())
    }

    /// Makes messages visible after `visibility` from now. Gives the handles that are not in force any more.
    pub(super) async fn set_visibility(
        &self,
        handles: &[String],
        visibility: Duration,
    ) -> Result<Vec<String>> {
        let mut lost = Vec::new();
        for chunk in handles.chunks(BATCH_MAX) {
            let entries = chunk.iter().enumerate().map(|(i, handle)| {
                ChangeMessageVisibilityBatchRequestEntry::builder()
                    .id(i.to_string())
                    .receipt_handle(handle)
                    .visibility_timeout(seconds(visibility))
                    .build()
            });
            let entries = entries.collect::<Result<Vec<_>, _>>().map_err(Error::internal)?;
            let call =
                self.client.change_message_visibility_batch().queue_url(&self.url).set_entries(Some(entries));
            let answer =
                call.send().await.map_err(|error| self.failed(error, "sqs:ChangeMessageVisibility"))?;
            for failure in answer.failed {
                let handle = failure.id.parse().ok().and_then(|i: usize| chunk.get(i));
                match (failure.sender_fault, handle) {
                    // The handle has ended, or is one of a message that was received again.
                    (true, Some(handle)) => lost.push(handle.clone()),
                    _ => return Err(entry_failed(&failure, "sqs:ChangeMessageVisibility")),
                }
            }
        }
        Ok(lost)
    }

    /// Whether this program may settle what it receives, without a message to try it on.
    pub(super) async fn check_settling(&self) -> Result<()> {
        let probe = self.client.change_message_visibility().queue_url(&self.url).receipt_handle("none");
        match probe.visibility_timeout(0).send().await {
            Ok(_) => Ok(()),
            Err(error) => {
                let failure = Failure::from(error);
                // What it answers to a handle that never was.
                let is_allowed = failure.cause == Cause::Refused && !is_missing(&failure);
                if is_allowed {
                    Ok(())
                } else {
                    Err(refuse(failure, &self.title, "sqs:ChangeMessageVisibility"))
                }
            }
        }
    }

    pub(super) async fn attributes(
        &self,
        names: &[QueueAttributeName],
    ) -> Result<HashMap<QueueAttributeName, String>> {
        let asked = self.client.get_queue_attributes().queue_url(&self.url);
        let answer = asked.set_attribute_names(Some(names.to_vec())).send().await;
        let answer = answer.map_err(|error| refusal(error, &self.title, "sqs:GetQueueAttributes"))?;
        Ok(answer.attributes.unwrap_or_default())
    }

    /// Waiting and leased, as far as SQS knows.
    pub(super) async fn counts(&self) -> Result<(u64, u64)> {
        let (waiting, leased) = (
            QueueAttributeName::ApproximateNumberOfMessages,
            QueueAttributeName::ApproximateNumberOfMessagesNotVisible,
        );
        let asked = self.client.get_queue_attributes().queue_url(&self.url);
        let answer = asked.attribute_names(waiting.clone()).attribute_names(leased.clone()).send().await;
        let answer = answer.map_err(|error| self.failed(error, "sqs:GetQueueAttributes"))?;
        let attributes = answer.attributes.unwrap_or_default();
        let count = |name| attributes.get(name).and_then(|count| count.parse().ok()).unwrap_or(0);
        Ok((count(&waiting), count(&leased)))
    }

    fn failed<E>(&self, error: SdkError<E, HttpResponse>, action: &'static str) -> Error
    where
        Failure: From<SdkError<E, HttpResponse>>,
    {
        Failure::from(error).running(Kind::QueueUnavailable).context(action)
    }
}

/// A start that has to be refused.
pub(super) fn refusal<E>(error: SdkError<E, HttpResponse>, title: &str, action: &str) -> Error
where
    Failure: From<SdkError<E, HttpResponse>>,
{
    refuse(Failure::from(error), title, action)
}

fn refuse(failure: Failure, title: &str, action: &str) -> Error {
    if is_missing(&failure) {
        let sentence =
            format!("{title} does not exist ({action}): create it with deploy/aws, or name another");
        return Error::new(Kind::Config, sentence);
    }
    let named = title.strip_prefix("queue sqs://").and_then(|named| named.split_once('/'));
    let resource = match named {
        Some((region, name)) => format!("arn:aws:sqs:{region}:*:{name}"),
        None => title.to_owned(),
    };
    failure.starting(Doing { what: title, action, resource: &resource })
}

fn is_missing(failure: &Failure) -> bool {
    failure.code.contains("NonExistentQueue") || failure.code.contains("QueueDoesNotExist")
}

/// SQS counts in whole seconds; a lease is never shorter than asked.
fn seconds(duration: Duration) -> i32 {
    i32::try_from(whole_seconds(duration).as_secs()).unwrap_or(i32::MAX)
}

pub(super) fn whole_seconds(duration: Duration) -> Duration {
    Duration::from_secs(duration.as_secs() + u64::from(duration.subsec_nanos() > 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queue_is_named_by_region_and_name_or_by_its_own_url() {
        let check = |text: &str, region: Option<&str>, name: &str| {
            let address = Address::parse(text).unwrap();
            assert_eq!((address.region.as_deref(), address.name.as_str()), (region, name), "{text}");
        };
        check("sqs://eu-west-1/dunlin", Some("eu-west-1"), "dunlin");
        check("https://sqs.eu-west-1.amazonaws.com/123456789012/dunlin", Some("eu-west-1"), "dunlin");
        check("http://127.0.0.1:4566/123456789012/dunlin", None, "dunlin");
        for wrong in ["sqs://dunlin", "sqs:///x", "sqs://eu-west-1/", "sqs://eu-west-1/a b", "https://host/"]
        {
            assert_eq!(Address::parse(wrong).unwrap_err().kind(), Kind::Config, "{wrong}");
        }
        let batch = Address::parse("http://127.0.0.1:1/1/dunlin").unwrap().beside("-batch");
        assert_eq!(batch.url.as_deref(), Some("http://127.0.0.1:1/1/dunlin-batch"));
        let dead = Address::of_arn("arn:aws:sqs:us-east-1:123456789012:dunlin-dead").unwrap();
        assert_eq!((dead.name.as_str(), dead.account.as_deref()), ("dunlin-dead", Some("123456789012")));
    }

    #[test]
    fn leases_are_never_shorter_than_asked() {
        let check =
            |millis: u64, want: i32| assert_eq!(seconds(Duration::from_millis(millis)), want, "{millis}");
        check(0, 0);
        check(1, 1);
        check(1000, 1);
        check(1500, 2);
    }
}
