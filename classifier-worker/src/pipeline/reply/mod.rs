//! Brings answers to the gateways that wait: one session for each gateway, opened when a task
//! names it.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use platform::{
    Error, Kind, Result,
    auth::{Link, Links},
    options::Profile,
    store::Store,
};
use prost::Message as _;
use proto::{
    internal::v1::{WorkerHello, reply_service_client::ReplyServiceClient},
    v1::ImageResult,
};
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
};

use super::{answer::Identity, held::Ticket, settle::Settlement};

pub(crate) mod mail;
mod record;
mod session;

use mail::Mail;
use session::Session;

/// A worker has a handful of gateways; more mean that something makes them up.
const GATEWAYS_MAX: usize = 64;

/// Notes on their way to one session. Each is a pointer.
const NOTES_MAX: usize = 256;

/// What a session is told.
pub(super) enum Note {
    Started(Arc<Ticket>),
    Answer(Arc<Ticket>, Box<ImageResult>),
}

/// What all sessions share.
pub(crate) struct Post {
    pub(crate) identity: Arc<Identity>,
    /// To the gateways.
    pub(crate) links: Links,
    pub(crate) settle: mpsc::Sender<Settlement>,
    /// Where results go that a task wants kept.
    pub(crate) results: Option<Arc<dyn Store>>,
    /// Where images come from, and results go for the repeat of a call whose gateway is gone.
    pub(crate) images: Option<Arc<dyn Store>>,
    pub(crate) profile: Profile,
    /// Gets every result besides.
    pub(crate) results_queue: Option<Arc<dyn Mail>>,
    /// How long an answer is kept for a gateway that does not take it.
    pub(crate) patience: Duration,
    /// Sessions that have something to say and no connection.
    pub(crate) stranded: AtomicUsize,
}

impl Post {
    fn is_kept(&self, ticket: &Ticket) -> bool {
        self.results.is_some() && !ticket.task.result_key.is_empty()
    }

    /// Publishes the result, stores it if its task says where, then acks.
    async fn keep_and_ack(&self, ticket: Arc<Ticket>, result: ImageResult) {
        if let Some(queue) = &self.results_queue {
            let message = record::published(self.profile, &ticket.task, &result);
            if let Err(error) = queue.send(message.into()).await {
                tracing::error!(error = %error.context("publish result"), task.id = ticket.task.task_id, "task released");
                return self.settle(Settlement::Release(ticket.lease.clone())).await;
            }
        }
        if let Some(store) = self.results.as_ref().filter(|_| self.is_kept(&ticket)) {
            let kept = record::kept(self.profile, &ticket.task, &result);
            if let Err(error) = store.put(&ticket.task.result_key, kept).await {
                tracing::error!(error = %error.context("store result"), task.id = ticket.task.task_id, "task released");
                return self.settle(Settlement::Release(ticket.lease.clone())).await;
            }
        }
        self.settle(Settlement::Ack(ticket.lease.clone())).await;
    }

    /// An answer that no gateway took for too long: it is stored if the task says where, else acked if the caller has
    /// stopped waiting by now, else left to another worker, which may reach the gateway.
    async fn give_up(&self, ticket: Arc<Ticket>, result: ImageResult) {
        tracing::warn!(
            task.id = ticket.task.task_id,
            reply_to = ticket.task.reply_to,
            "answer not delivered"
        );
        if self.is_kept(&ticket) {
            self.leave_for_repeat(&ticket, &result).await;
            self.keep_and_ack(ticket, result).await;
        } else if self.leave_for_repeat(&ticket, &result).await || ticket.is_expired() {
            self.settle(Settlement::Ack(ticket.lease.clone())).await;
        } else {
            self.settle(Settlement::Release(ticket.lease.clone())).await;
        }
    }

    /// Puts the result where a repeat of the call finds it. `false`: its caller cannot repeat it, or the store does not take it.
    async fn leave_for_repeat(&self, ticket: &Ticket, result: &ImageResult) -> bool {
        let key = &ticket.task.fallback_key;
        let Some(store) = self.images.as_ref().filter(|_| !key.is_empty()) else { return false };
        let left = store.put(key, result.encode_to_vec().into()).await;
        if let Err(error) = &left {
            tracing::warn!(error = %error, task.id = ticket.task.task_id, "leave result for a repeat");
        }
        left.is_ok()
    }

    async fn settle(&self, settlement: Settlement) {
        // Without a receiver the worker is ending, and the lease will end too.
        let _ = self.settle.send(settlement).await;
    }

    pub(crate) fn hello(&self) -> WorkerHello {
        WorkerHello {
            worker_id: self.identity.worker_id.clone(),
            instance_id: self.identity.instance_id.clone(),
            model: self.identity.model.clone(),
            model_version: self.identity.model_version.clone(),
        }
    }
}

pub(crate) struct Replies {
    post: Arc<Post>,
    sessions: Mutex<HashMap<String, Open>>,
    /// Its drop ends the sessions.
    alive: watch::Sender<()>,
}

struct Open {
    notes: mpsc::Sender<Note>,
    session: JoinHandle<()>,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.session.abort();
    }
}

impl Replies {
    pub(crate) fn new(post: Post) -> Self {
        Self { post: Arc::new(post), sessions: Mutex::default(), alive: watch::Sender::new(()) }
    }

    /// Tells the gateway that its task was taken up, so that it can say if nobody waits any more.
    /// Nothing is lost when this future is dropped.
    pub(crate) async fn started(&self, ticket: &Arc<Ticket>) -> Result<()> {
        self.note(ticket, Note::Started(Arc::clone(ticket))).await
    }

    /// Brings an answer to the gateway, then settles the lease: acks it once the gateway has taken
    /// the answer and not before.
    ///
    /// When dropped, the answer is lost and the task comes back when its lease ends.
    pub(crate) async fn answer(&self, ticket: &Arc<Ticket>, result: ImageResult) -> Result<()> {
        self.note(ticket, Note::Answer(Arc::clone(ticket), Box::new(result))).await
    }

    /// Whether a gateway that is owed something can't be reached now.
    pub(crate) fn is_stranded(&self) -> bool {
        self.post.stranded.load(Ordering::Relaxed) > 0
    }

    async fn note(&self, ticket: &Arc<Ticket>, note: Note) -> Result<()> {
        match self.session(&ticket.task.reply_to) {
            Ok(notes) => notes.send(note).await.map_err(|_| Error::internal("a reply session has ended")),
            Err(error) => {
                if matches!(note, Note::Answer(..)) {
                    // After the last attempt the dead letter tells its caller.
                    tracing::warn!(%error, task.id = ticket.task.task_id, "answer can't be delivered, task released");
                    let settlement = Settlement::Release(ticket.lease.clone());
                    let sent = self.post.settle.send(settlement).await;
                    return sent.map_err(|_| Error::internal("the task that settles leases has ended"));
                }
                Ok(())
            }
        }
    }

    fn session(&self, reply_to: &str) -> Result<mpsc::Sender<Note>> {
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(open) = sessions.get(reply_to) {
            return Ok(open.notes.clone());
        }
        if sessions.len() >= GATEWAYS_MAX {
            return Err(
                Error::new(Kind::Internal, "").with_source(format!("more than {GATEWAYS_MAX} gateways"))
            );
        }
        let (notes, inbox) = mpsc::channel(NOTES_MAX);
        let (post, alive) = (Arc::clone(&self.post), self.alive.subscribe());
        let session = if reply_to.starts_with("sqs://") {
            tokio::spawn(mail::run(reply_to.to_owned(), post, inbox, alive))
        } else {
            let session = Session::new(connect(reply_to, &post.links)?, post, reply_to.to_owned());
            tokio::spawn(session.run(inbox, alive))
        };
        sessions.insert(reply_to.to_owned(), Open { notes: notes.clone(), session });
        Ok(notes)
    }
}

/// A client that connects when it is first used.
fn connect(reply_to: &str, links: &Links) -> Result<ReplyServiceClient<Link>> {
    const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
    const KEEPALIVE: Duration = Duration::from_secs(10);
    let unusable =
        || Error::new(Kind::Internal, "").with_source(format!("reply to {reply_to:?}: not http://host:port"));
    let endpoint = links.endpoint(reply_to).ok_or_else(unusable)?;
    let endpoint = endpoint
        .tcp_nodelay(true)
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_keep_alive_interval(KEEPALIVE)
        .keep_alive_timeout(KEEPALIVE)
        .keep_alive_while_idle(true);
    Ok(ReplyServiceClient::new(links.connect(&endpoint)))
}
