//! The session with one gateway: says what was begun and what came out, again after each broken
//! connection, until the gateway has taken it.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use platform::{Error, Kind, Result, auth::Link, retry::Backoff, time};
use proto::{
    internal::v1::{
        ReplySessionRequest, ReplySessionResponse, TaskResult, TaskStarted,
        reply_service_client::ReplyServiceClient, reply_session_request as request,
        reply_session_response as response,
    },
    v1::ImageResult,
};
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::Instant,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use super::{Note, Post};
use crate::pipeline::{held::Ticket, settle::Settlement};

/// Messages handed to the connection and not yet written.
const OUT_MAX: usize = 64;

/// How long an answer is kept whose caller has stopped waiting: the gateway may still count it.
const EXPIRED_PATIENCE: Duration = Duration::from_secs(5);

/// How often the session looks for answers that waited too long.
const LOOK: Duration = Duration::from_millis(500);

pub(super) struct Session {
    client: ReplyServiceClient<Link>,
    post: Arc<Post>,
    gateway: String,
    /// By task: what this gateway may still have to hear of. As many as are held, at most.
    owed: HashMap<String, Owed>,
    /// Tasks to speak of next on this connection, in order.
    outbox: VecDeque<String>,
    /// Results that were taken by the gateway and are being stored: at once, because each takes a call. As many as are
    /// held, at most.
    keeping: JoinSet<()>,
    /// Whether `post.stranded` counts this session.
    stranded: bool,
}

struct Owed {
    ticket: Arc<Ticket>,
    answer: Option<(ImageResult, Instant)>,
    /// Written to this connection as far as it is known.
    is_said: bool,
}

struct Connection {
    out: mpsc::Sender<ReplySessionRequest>,
    answers: Streaming<ReplySessionResponse>,
}

impl Session {
    pub(super) fn new(client: ReplyServiceClient<Link>, post: Arc<Post>, gateway: String) -> Self {
        Self {
            client,
            post,
            gateway,
            owed: HashMap::new(),
            outbox: VecDeque::new(),
            keeping: JoinSet::new(),
            stranded: false,
        }
    }

    /// Runs until the worker ends.
    pub(super) async fn run(mut self, mut notes: mpsc::Receiver<Note>, mut alive: watch::Receiver<()>) {
        tokio::select! {
            _ = alive.changed() => {}
            () = self.keep_connected(&mut notes) => {}
        }
    }

    async fn keep_connected(&mut self, notes: &mut mpsc::Receiver<Note>) {
        let mut backoff = Backoff::for_connections();
        let mut failing = false;
        loop {
            // Nothing to say: no connection.
            while self.owed.is_empty() {
                match notes.recv().await {
                    Some(note) => self.note(note),
                    None => return,
                }
            }
            let opening = open(self.client.clone(), Arc::clone(&self.post));
            let ended = match self.meanwhile(opening, notes).await {
                Ok(connection) => {
                    if failing {
                        tracing::info!(gateway = self.gateway, "gateway is back");
                    }
                    failing = false;
                    backoff.reset();
                    self.set_stranded(Stranded::No);
                    self.converse(connection, notes).await
                }
                Err(error) => Err(error),
            };
            if let Err(error) = ended {
                self.set_stranded(if self.owed.is_empty() { Stranded::No } else { Stranded::Yes });
                if !failing && !self.owed.is_empty() {
                    tracing::warn!(%error, gateway = self.gateway, owed = self.owed.len(), "gateway is away");
                }
                failing = true;
                let pause = backoff.pause();
                self.meanwhile(tokio::time::sleep(pause), notes).await;
                self.set_stranded(if self.owed.is_empty() { Stranded::No } else { Stranded::Yes });
            }
        }
    }

    /// Takes notes while something else goes on.
    async fn meanwhile<T>(&mut self, work: impl Future<Output = T>, notes: &mut mpsc::Receiver<Note>) -> T {
        let mut look = tokio::time::interval(LOOK);
        tokio::pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return done,
                Some(note) = notes.recv() => self.note(note),
                _ = look.tick() => self.give_up().await,
            }
        }
    }

    /// Speaks and listens until the connection breaks.
    async fn converse(&mut self, connection: Connection, notes: &mut mpsc::Receiver<Note>) -> Result<()> {
        let Connection { out, mut answers } = connection;
        self.outbox = self.owed.keys().cloned().collect();
        self.owed.values_mut().for_each(|owed| owed.is_said = false);
        let mut look = tokio::time::interval(LOOK);
        loop {
            tokio::select! {
                // Reading never waits for writing: a gateway that is busy telling us something
                // must not be held up because we are busy telling it something.
                answer = answers.message() => match answer? {
                    Some(answer) => self.hear(answer).await,
                    None => return Err(Error::new(Kind::ServiceUnavailable, "the gateway ended the session")),
                },
                permit = out.reserve(), if !self.outbox.is_empty() => {
                    let permit = permit.map_err(|_| Error::new(Kind::ServiceUnavailable, "the connection broke"))?;
                    if let Some(message) = self.next_message() {
                        permit.send(message);
                    }
                }
                Some(note) = notes.recv() => self.note(note),
                _ = look.tick() => self.give_up().await,
            }
        }
    }

    fn note(&mut self, note: Note) {
        let (ticket, answer) = match note {
            Note::Started(ticket) => (ticket, None),
            Note::Answer(ticket, answer) => (ticket, Some((*answer, Instant::now()))),
        };
        let task_id = ticket.task.task_id.clone();
        self.outbox.push_back(task_id.clone());
        // A later attempt at the same task takes the place of one whose lease was lost.
        self.owed.insert(task_id, Owed { ticket, answer, is_said: false });
    }

    fn next_message(&mut self) -> Option<ReplySessionRequest> {
        let task_id = self.outbox.pop_front()?;
        let owed = self.owed.get_mut(&task_id)?;
        // An answer that was ready before its start was said stands twice in the outbox.
        if std::mem::replace(&mut owed.is_said, true) {
            return None;
        }
        if owed.ticket.is_lost() {
            self.owed.remove(&task_id);
            return None;
        }
        let event = match &owed.answer {
            // Kept until it is confirmed. Copied, since a broken connection takes it along.
            Some((result, _)) => request::Event::Result(TaskResult { task_id, result: Some(result.clone()) }),
            None => request::Event::Started(TaskStarted { task_id, start_time: Some(time::now()) }),
        };
        Some(ReplySessionRequest { event: Some(event) })
    }

    async fn hear(&mut self, answer: ReplySessionResponse) {
        match answer.event {
            Some(response::Event::Accepted(accepted)) => {
                let Some(owed) = self.owed.remove(&accepted.task_id) else { return };
                match owed.answer {
                    Some((result, _)) => self.keep(owed.ticket, result),
                    // It was an earlier attempt's answer: this attempt has become pointless.
                    None => owed.ticket.cancel(),
                }
            }
            Some(response::Event::Cancelled(cancelled)) => {
                let Some(owed) = self.owed.remove(&cancelled.task_id) else { return };
                tracing::debug!(task.id = cancelled.task_id, "cancelled");
                owed.ticket.cancel();
                if owed.answer.is_some() {
                    self.post.settle(Settlement::Ack(owed.ticket.lease.clone())).await;
                }
            }
            None => {}
        }
    }

    /// Drops what is not ours any more, and gives up answers that no gateway took for too long.
    async fn give_up(&mut self) {
        let patience = self.post.patience;
        let is_over = |owed: &Owed| {
            let patience = if owed.ticket.is_expired() { patience.min(EXPIRED_PATIENCE) } else { patience };
            owed.ticket.is_lost()
                || owed.answer.as_ref().is_some_and(|(_, since)| since.elapsed() >= patience)
        };
        let over =
            self.owed.iter().filter(|(_, owed)| is_over(owed)).map(|(id, _)| id.clone()).collect::<Vec<_>>();
        for task_id in over {
            let Some(Owed { ticket, answer, .. }) = self.owed.remove(&task_id) else { continue };
            match answer {
                Some((result, _)) if !ticket.is_lost() => self.post.give_up(ticket, result).await,
                _ => {}
            }
        }
    }

    fn keep(&mut self, ticket: Arc<Ticket>, result: ImageResult) {
        while self.keeping.try_join_next().is_some() {}
        let post = Arc::clone(&self.post);
        self.keeping.spawn(async move { post.keep_and_ack(ticket, result).await });
    }

    fn set_stranded(&mut self, now: Stranded) {
        let now = now == Stranded::Yes;
        if now != self.stranded {
            self.stranded = now;
            if now {
                self.post.stranded.fetch_add(1, Ordering::Relaxed);
            } else {
                self.post.stranded.fetch_sub(1, Ordering::Relaxed);
            }
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stranded {
    Yes,
    No,
}

async fn open(mut client: ReplyServiceClient<Link>, post: Arc<Post>) -> Result<Connection> {
    const ANSWER_WAIT: Duration = Duration::from_secs(10);
    let (out, messages) = mpsc::channel(OUT_MAX);
    let hello = ReplySessionRequest { event: Some(request::Event::Hello(post.hello())) };
    out.try_send(hello).map_err(|_| Error::internal("no room for the first message"))?;
    let opening = client.reply_session(ReceiverStream::new(messages));
    let answers = tokio::time::timeout(ANSWER_WAIT, opening)
        .await
        .map_err(|_| Error::new(Kind::ServiceUnavailable, "the gateway does not answer"))??
        .into_inner();
    Ok(Connection { out, answers })
}
