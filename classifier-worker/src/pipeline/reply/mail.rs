//! Answers by a queue: for gateways that workers cannot reach, and for other consumers of results.
//!
//! Nobody says over it that a caller went away, so such an image is classified for nothing.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use platform::{Result, retry::Backoff};
use prost::Message as _;
use proto::{internal::v1::TaskResult, v1::ImageResult};
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::Instant,
};

use super::{Note, Post};
use crate::pipeline::held::Ticket;

/// Messages in one direction. At its return a message will be delivered, once or more.
#[async_trait]
pub(crate) trait Mail: Send + Sync + 'static {
    async fn send(&self, message: Bytes) -> Result<()>;
}

/// How long a queue that cannot be opened is left alone.
const OPEN_PAUSE: Duration = Duration::from_secs(5);

/// Sends answers to one gateway's queue. Runs until the worker ends.
pub(super) async fn run(
    url: String,
    post: Arc<Post>,
    mut notes: mpsc::Receiver<Note>,
    mut alive: watch::Receiver<()>,
) {
    let sending = async {
        let mut answers = JoinSet::new();
        let mail = Lazy { url, mail: tokio::sync::OnceCell::new() };
        let mail: Arc<dyn Mail> = Arc::new(mail);
        // As many as are held, at most.
        loop {
            tokio::select! {
                note = notes.recv() => match note {
                    Some(Note::Answer(ticket, result)) => {
                        answers.spawn(deliver(Arc::clone(&post), Arc::clone(&mail), ticket, *result));
                    }
                    Some(Note::Started(_)) => {}
                    None => return,
                },
                Some(_) = answers.join_next() => {}
            }
        }
    };
    tokio::select! {
        _ = alive.changed() => {}
        () = sending => {}
    }
}

/// Sends one answer, as often as it takes, and settles the lease.
async fn deliver(post: Arc<Post>, mail: Arc<dyn Mail>, ticket: Arc<Ticket>, result: ImageResult) {
    let reply = TaskResult { task_id: ticket.task.task_id.clone(), result: Some(result.clone()) };
    let message = Bytes::from(reply.encode_to_vec());
    let until = Instant::now() + post.patience;
    let mut backoff = Backoff::for_connections();
    while !ticket.is_lost() {
        match mail.send(message.clone()).await {
            Ok(()) => return post.keep_and_ack(ticket, result).await,
            Err(error) if Instant::now() >= until => {
                tracing::warn!(%error, reply_to = ticket.task.reply_to, "send answer");
                return post.give_up(ticket, result).await;
            }
            Err(error) => {
                tracing::debug!(%error, "send answer, trying again");
                tokio::time::sleep(backoff.pause()).await;
            }
        }
    }
}

/// Opens its queue with the first message.
struct Lazy {
    url: String,
    mail: tokio::sync::OnceCell<Arc<dyn Mail>>,
}

#[async_trait]
impl Mail for Lazy {
    async fn send(&self, message: Bytes) -> Result<()> {
        let opened = self.mail.get_or_try_init(|| open(&self.url)).await;
        match opened {
            Ok(mail) => mail.send(message).await,
            Err(error) => {
                tokio::time::sleep(OPEN_PAUSE).await;
                Err(error)
            }
        }
    }
}

#[cfg(feature = "aws")]
mod sqs {
    use platform::queue::Mailbox;

    use super::{Arc, Bytes, Mail, Result, async_trait};

    struct Binary(Mailbox);

    struct Text(Mailbox);

    #[async_trait]
    impl Mail for Binary {
        async fn send(&self, message: Bytes) -> Result<()> {
            self.0.send(message).await
        }
    }

    #[async_trait]
    impl Mail for Text {
        async fn send(&self, message: Bytes) -> Result<()> {
            self.0.send_text(String::from_utf8_lossy(&message).into_owned()).await
        }
    }

    /// A queue of bytes.
    pub(crate) async fn open(url: &str) -> Result<Arc<dyn Mail>> {
        Ok(Arc::new(Binary(Mailbox::open(&platform::aws::config().await?, url).await?)))
    }

    /// A queue of texts, for consumers that are not ours.
    pub(crate) async fn open_for_text(url: &str) -> Result<Arc<dyn Mail>> {
        Ok(Arc::new(Text(Mailbox::open(&platform::aws::config().await?, url).await?)))
    }
}

#[cfg(feature = "aws")]
pub(crate) use sqs::{open, open_for_text};

#[cfg(not(feature = "aws"))]
pub(crate) async fn open(url: &str) -> Result<Arc<dyn Mail>> {
    Err(platform::Error::new(
        platform::Kind::Config,
        format!("queue {url:?}: this program was built without AWS; the classifier-worker program has it"),
    ))
}

#[cfg(not(feature = "aws"))]
pub(crate) use open as open_for_text;
