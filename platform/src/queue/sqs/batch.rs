//! Batches of messages to send and to delete: entries that fail alone in a batch are tried again alone.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use aws_sdk_sqs::{
    Client,
    primitives::Blob,
    types::{
        BatchResultErrorEntry, DeleteMessageBatchRequestEntry, MessageAttributeValue,
        SendMessageBatchRequestEntry,
    },
};

use super::line::{BYTES_BESIDE_CONTENT, CONTENT, Outgoing, TRACEPARENT};
use crate::{
    Error, Kind, Result,
    aws::errors::{Failure, QUEUE_AWAY, RETRY_AFTER},
    gather::{Batch, repeat},
    retry::Backoff,
};

/// Attempts at the entries of a batch that failed alone.
const ENTRY_ATTEMPTS_MAX: usize = 3;

/// What a batch is sent to.
pub(super) struct To {
    pub(super) client: Client,
    pub(super) url: String,
}

pub(super) struct Sends(pub(super) Arc<To>);

#[async_trait]
impl Batch for Sends {
    type Item = Outgoing;
    type Done = ();

    fn bytes(item: &Outgoing) -> usize {
        item.body.len() + item.content.len() + BYTES_BESIDE_CONTENT
    }

    async fn call(&self, items: Vec<Outgoing>) -> Vec<Result<()>> {
        let entries = items.into_iter().map(entry).collect::<Vec<_>>();
        retried(entries, &self.0).await
    }
}

fn entry(item: Outgoing) -> Result<SendMessageBatchRequestEntry> {
    let attribute = |data_type: &str| MessageAttributeValue::builder().data_type(data_type);
    let mut entry = SendMessageBatchRequestEntry::builder()
        // Numbered when it is known which ones go together.
        .id("0")
        .message_body(item.body);
    if !item.content.is_empty() {
        let content =
            attribute("Binary").binary_value(Blob::new(item.content)).build().map_err(Error::internal)?;
        entry = entry.message_attributes(CONTENT, content);
    }
    if !item.traceparent.is_empty() {
        let trace = attribute("String").string_value(item.traceparent).build().map_err(Error::internal)?;
        entry = entry.message_attributes(TRACEPARENT, trace);
    }
    entry.build().map_err(Error::internal)
}

pub(super) struct Deletes(pub(super) Arc<To>);

#[async_trait]
impl Batch for Deletes {
    type Item = String;
    type Done = ();

    fn bytes(_: &String) -> usize {
        0
    }

    async fn call(&self, handles: Vec<String>) -> Vec<Result<()>> {
        let entry = |handle| {
            let entry = DeleteMessageBatchRequestEntry::builder().id("0").receipt_handle(handle);
            entry.build().map_err(Error::internal)
        };
        let entries = handles.into_iter().map(entry).collect::<Vec<_>>();
        let done = retried(entries, &self.0).await;
        // A handle that has ended has nothing to delete.
        done.into_iter()
            .map(|one| one.or_else(|error| if is_ended(&error) { Ok(()) } else { Err(error) }))
            .collect()
    }
}

fn is_ended(error: &Error) -> bool {
    error.metadata().get("code").is_some_and(|code| code.contains("ReceiptHandleIsInvalid"))
}

/// An entry of a batch: it has a number of its own, and goes with others in one call.
trait Entry: Clone + Send + Sync {
    const ACTION: &'static str;

    fn number(&mut self, id: String);

    /// The entries that failed.
    fn call(
        to: &To,
        entries: Vec<Self>,
    ) -> impl Future<Output = Result<Vec<BatchResultErrorEntry>, Failure>> + Send;
}

impl Entry for SendMessageBatchRequestEntry {
    const ACTION: &'static str = "sqs:SendMessage";

    fn number(&mut self, id: String) {
        self.id = id;
    }

    async fn call(to: &To, entries: Vec<Self>) -> Result<Vec<BatchResultErrorEntry>, Failure> {
        let sent = to.client.send_message_batch().queue_url(&to.url).set_entries(Some(entries)).send().await;
        Ok(sent?.failed)
    }
}

impl Entry for DeleteMessageBatchRequestEntry {
    const ACTION: &'static str = "sqs:DeleteMessage";

    fn number(&mut self, id: String) {
        self.id = id;
    }

    async fn call(to: &To, entries: Vec<Self>) -> Result<Vec<BatchResultErrorEntry>, Failure> {
        let deleted =
            to.client.delete_message_batch().queue_url(&to.url).set_entries(Some(entries)).send().await;
        Ok(deleted?.failed)
    }
}

/// Makes the call, and again for the entries alone that failed in it by a fault of SQS.
async fn retried<T: Entry>(entries: Vec<Result<T>>, to: &To) -> Vec<Result<()>> {
    let mut answers = Vec::with_capacity(entries.len());
    let mut open = Vec::with_capacity(entries.len());
    for (at, entry) in entries.into_iter().enumerate() {
        match entry {
            Ok(mut entry) => {
                entry.number(at.to_string());
                open.push((at, entry));
                answers.push(Ok(()));
            }
            Err(error) => answers.push(Err(error)),
        }
    }
    let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_millis(500));
    for attempt in 1..=ENTRY_ATTEMPTS_MAX {
        if open.is_empty() {
            break;
        }
        if attempt > 1 {
            tokio::time::sleep(backoff.pause()).await;
        }
        let failed = match together_or_alone(to, &open).await {
            Ok(failed) => failed,
            Err(error) => {
                let error = error.running(Kind::QueueUnavailable).context(T::ACTION);
                for (at, _) in &open {
                    set(&mut answers, *at, Err(repeat(&error)));
                }
                break;
            }
        };
        let mut again = Vec::new();
        for failure in failed {
            let at = failure.id.parse::<usize>().unwrap_or(usize::MAX);
            set(&mut answers, at, Err(entry_failed(&failure, T::ACTION)));
            if !failure.sender_fault && attempt < ENTRY_ATTEMPTS_MAX {
                again.push(at);
            }
        }
        open.retain(|(at, _)| again.contains(at));
        for (at, _) in &open {
            set(&mut answers, *at, Ok(()));
        }
    }
    answers
}

/// The stand-ins do not agree on how the bytes of a binary attribute count, so our own sum may be short of theirs: what is
/// too long together goes alone.
async fn together_or_alone<T: Entry>(
    to: &To,
    open: &[(usize, T)],
) -> Result<Vec<BatchResultErrorEntry>, Failure> {
    let all = open.iter().map(|(_, entry)| entry.clone()).collect();
    match T::call(to, all).await {
        Err(failure) if failure.code.contains("BatchRequestTooLong") && open.len() > 1 => {
            let mut failed = Vec::new();
            for (_, entry) in open {
                failed.extend(T::call(to, vec![entry.clone()]).await?);
            }
            Ok(failed)
        }
        called => called,
    }
}

fn set(answers: &mut [Result<()>], at: usize, answer: Result<()>) {
    if let Some(place) = answers.get_mut(at) {
        *place = answer;
    }
}

pub(super) fn entry_failed(failure: &BatchResultErrorEntry, action: &str) -> Error {
    let text = format!("{action}: {}: {}", failure.code(), failure.message().unwrap_or_default());
    let error = if failure.sender_fault {
        Error::new(Kind::Internal, "")
    } else {
        Error::new(Kind::QueueUnavailable, QUEUE_AWAY).with_retry_after(RETRY_AFTER)
    };
    error.with_source(text).with_metadata("code", failure.code())
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use aws_sdk_sqs::config::{BehaviorVersion, Config};

    use super::*;

    /// Fails as often as it is told, by its own fault or not; notes how often it was sent.
    #[derive(Clone)]
    struct Fake {
        id: String,
        failures: u32,
        sender_fault: bool,
        sent: Arc<Mutex<u32>>,
    }

    impl Fake {
        fn failing(failures: u32, sender_fault: bool) -> Self {
            Self { id: String::new(), failures, sender_fault, sent: Arc::default() }
        }
    }

    impl Entry for Fake {
        const ACTION: &'static str = "sqs:SendMessage";

        fn number(&mut self, id: String) {
            self.id = id;
        }

        async fn call(_: &To, entries: Vec<Self>) -> Result<Vec<BatchResultErrorEntry>, Failure> {
            let fails = |entry: &Self| {
                let mut sent = entry.sent.lock().unwrap();
                *sent += 1;
                let failure = BatchResultErrorEntry::builder().id(&entry.id).code("InternalError");
                (*sent <= entry.failures).then(|| failure.sender_fault(entry.sender_fault).build().unwrap())
            };
            Ok(entries.iter().filter_map(fails).collect())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn entries_that_fail_alone_are_tried_again_alone_and_get_their_own_answer() {
        let client = Client::from_conf(Config::builder().behavior_version(BehaviorVersion::latest()).build());
        let to = To { client, url: String::new() };
        let refused = Error::new(Kind::InvalidRequest, "never built");
        let entries = [(0, false), (1, false), (9, false), (9, true)];
        let entries = entries.map(|(failures, sender_fault)| Fake::failing(failures, sender_fault));
        let mut all = entries.iter().cloned().map(Ok).collect::<Vec<_>>();
        all.insert(2, Err(refused));
        let answers = retried(all, &to).await;
        let kinds = answers.into_iter().map(|answer| answer.err().map(|error| error.kind()));
        let want =
            [None, None, Some(Kind::InvalidRequest), Some(Kind::QueueUnavailable), Some(Kind::Internal)];
        assert_eq!(kinds.collect::<Vec<_>>(), want);
        assert_eq!(entries.map(|entry| *entry.sent.lock().unwrap()), [1, 2, 3, 1]);
    }
}
