//! Takes tasks from the queue: as many as there is room for, and none while paused.

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use platform::{
    Error, Kind, Result,
    queue::{ATTEMPTS_MAX, Delivery, Queue, Receive},
    retry::Backoff,
    store::Store,
};
use proto::internal::v1::task::Input;
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::Instant,
};

use crate::objects::Objects;

use super::{
    answer::{self, Identity, Timing},
    held::{Held, Ticket, Unwanted},
    line::{Line, Work},
    pace::{Pace, batch_limit},
    reply::Replies,
    settle::Settlement,
};

/// How long one receive waits; it is asked again at once.
const RECEIVE_WAIT: Duration = Duration::from_secs(20);

/// How many times the room for work may be taken by answers whose delivery is not confirmed yet.
const UNCONFIRMED_FACTOR: usize = 4;

/// Whether to take tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Working,
    /// Draining or stopping: nothing new, and what was not begun goes back.
    Paused,
}

pub(crate) struct Intake {
    pub(crate) queue: Arc<dyn Queue>,
    pub(crate) store: Option<Arc<dyn Store>>,
    pub(crate) objects: Arc<Objects>,
    pub(crate) held: Arc<Held>,
    pub(crate) line: Arc<Line>,
    pub(crate) pace: Arc<Pace>,
    pub(crate) replies: Arc<Replies>,
    pub(crate) identity: Arc<Identity>,
    pub(crate) settle: mpsc::Sender<Settlement>,
    pub(crate) threads: usize,
    pub(crate) batch_max: usize,
    pub(crate) lease: Duration,
    /// The mode whose consequences are all drawn: nothing is received once it says `Paused`.
    pub(crate) settled: watch::Sender<Mode>,
}

/// The most that can be in work: a batch on each thread and one look-ahead.
pub(crate) fn work_max(threads: usize, batch_max: usize) -> usize {
    (threads + 1) * batch_max
}

impl Intake {
    /// Runs until dropped or until `mode` has no sender any more.
    ///
    /// When dropped, what was received and not yet noted comes back when its lease ends.
    pub(crate) async fn run(mut self, mut mode: watch::Receiver<Mode>) -> Result<()> {
        let mut fetches = JoinSet::new();
        let mut backoff = Backoff::for_connections();
        let mut failing = false;
        loop {
            let now = *mode.borrow_and_update();
            if now == Mode::Paused {
                self.pause(&mut fetches).await;
            }
            self.settled.send_replace(now);
            if now == Mode::Paused {
                if mode.changed().await.is_err() {
                    return Ok(());
                }
                continue;
            }
            let received = tokio::select! {
                changed = mode.changed() => if changed.is_err() { return Ok(()) } else { continue },
                // A dropped receive loses nothing: `stop_receiving` gives back what it had.
                received = self.receive() => received,
                Some(fetched) = fetches.join_next() => {
                    self.fetched(fetched).await?;
                    continue;
                }
            };
            match received {
                Ok(deliveries) => {
                    if failing {
                        tracing::info!("the queue is back");
                    }
                    failing = false;
                    backoff.reset();
                    for delivery in deliveries {
                        self.take(delivery, &mut fetches).await?;
                    }
                }
                Err(error) => {
                    if !failing {
                        tracing::warn!(error = %error.context("receive tasks"), "waiting for the queue");
                    }
                    failing = true;
                    tokio::select! {
                        _ = mode.changed() => mode.mark_changed(),
                        () = tokio::time::sleep(backoff.pause()) => {}
                    }
                }
            }
        }
    }

    async fn receive(&self) -> Result<Vec<Delivery>> {
        let mut load = self.held.load();
        let room = loop {
            let now = *load.borrow_and_update();
            let limit = work_max(self.threads, batch_limit(self.pace.service_mean(), self.batch_max));
            let unconfirmed_max = UNCONFIRMED_FACTOR * work_max(self.threads, self.batch_max);
            let room = limit.saturating_sub(now.working).min(unconfirmed_max.saturating_sub(now.total));
            // Half of it at least: what is left to do meanwhile hides the call, and a call for many costs what one for one does.
            let room = if room >= limit.div_ceil(2) { room } else { 0 };
            if let Some(room) = u32::try_from(room).ok().and_then(NonZeroU32::new) {
                break room;
            }
            // Its sender is ours.
            let _ = load.changed().await;
        };
        self.queue.receive(Receive { max: room, wait: RECEIVE_WAIT, lease: self.lease }).await
    }

    async fn take(&self, mut delivery: Delivery, fetches: &mut JoinSet<Fetched>) -> Result<()> {
        let input = delivery.task.input.take();
        let ticket = Arc::new(Ticket::new(delivery));
        self.held.add(&ticket, self.lease);
        tracing::debug!(task.id = ticket.task.task_id, attempt = ticket.attempt, "received");
        if let Some(unwanted) = ticket.unwanted() {
            return self.skip(&ticket, unwanted).await;
        }
        if let Err(error) = self.check_model(&ticket) {
            return self.fail(&ticket, &error).await;
        }
        self.replies.started(&ticket).await?;
        match input {
            Some(Input::Content(content)) => self.push(Work { ticket, content, fetch: None }).await,
            Some(Input::StoreKey(key)) => {
                let Some(store) = self.store.clone() else {
                    tracing::error!("a task points to the store and this worker has none: give it --store");
                    return self.release(&ticket).await;
                };
                // At most as many as there is room for work.
                fetches.spawn(async move {
                    let begun = Instant::now();
                    let part = ticket.task.store_offset
                        ..ticket.task.store_offset.saturating_add(ticket.task.store_length);
                    let content = match ticket.task.store_length {
                        0 => store.get(&key).await,
                        _ => store.get_range(&key, part).await,
                    };
                    Fetched { ticket, content, took: begun.elapsed() }
                });
                Ok(())
            }
            Some(Input::Uri(uri)) => {
                let objects = Arc::clone(&self.objects);
                fetches.spawn(async move {
                    let begun = Instant::now();
                    let content = objects.get(&uri).await;
                    Fetched { ticket, content, took: begun.elapsed() }
                });
                Ok(())
            }
            None => self.fail(&ticket, &Error::new(Kind::ImageEmpty, "the image is empty")).await,
        }
    }

    async fn fetched(&self, fetched: Result<Fetched, tokio::task::JoinError>) -> Result<()> {
        let Fetched { ticket, content, took } =
            fetched.map_err(|error| Error::internal(error).context("fetch image"))?;
        // Fetching took a while.
        if let Some(unwanted) = ticket.unwanted() {
            return self.skip(&ticket, unwanted).await;
        }
        match content {
            Ok(content) => self.push(Work { ticket, content, fetch: Some(took) }).await,
            Err(error) if is_final(error.kind()) => self.fail(&ticket, &error).await,
            Err(error) => {
                tracing::warn!(error = %error.context("fetch image"), task.id = ticket.task.task_id, "released");
                self.release(&ticket).await
            }
        }
    }

    async fn push(&self, work: Work) -> Result<()> {
        match self.line.push(work) {
            Ok(()) => Ok(()),
            // The queue gave more than was asked for, or the worker is ending: another may have it.
            Err(work) => self.release(&work.ticket).await,
        }
    }

    /// Whether the task is for the model that is here. The gateway has checked that one has it.
    fn check_model(&self, ticket: &Ticket) -> Result<()> {
        let (name, version) = match ticket.task.model.split_once('@') {
            Some((name, version)) => (name, Some(version)),
            None => (ticket.task.model.as_str(), None),
        };
        let fits = (name.is_empty() || name == self.identity.model)
            && version.is_none_or(|version| version == self.identity.model_version);
        if fits {
            return Ok(());
        }
        let sentence = format!(
            "no model {:?} here; this worker has {}@{}",
            ticket.task.model, self.identity.model, self.identity.model_version
        );
        Err(Error::new(Kind::ModelNotFound, sentence).with_resource("dunlin.v1.Model", &ticket.task.model))
    }

    /// Stops receiving, then gives back what no thread has begun.
    async fn pause(&mut self, fetches: &mut JoinSet<Fetched>) {
        if let Err(error) = self.queue.stop_receiving().await {
            // Then the queue is away, and with it everything it had handed over.
            tracing::debug!(%error, "stop receiving");
        }
        while let Some(fetched) = fetches.join_next().await {
            if let Ok(Fetched { ticket, .. }) = fetched {
                let _ = self.release(&ticket).await;
            }
        }
        // Not what has one attempt left: going back must not be what dead-letters it.
        for work in self.line.take_back(|work| work.ticket.attempt + 1 < ATTEMPTS_MAX) {
            let _ = self.release(&work.ticket).await;
        }
    }

    async fn fail(&self, ticket: &Arc<Ticket>, error: &Error) -> Result<()> {
        self.answer(ticket, answer::failed(&self.identity, ticket, &Timing::start(None), error)).await
    }

    /// Ends what nobody wants to be worked on.
    async fn skip(&self, ticket: &Arc<Ticket>, unwanted: Unwanted) -> Result<()> {
        self.pace.skipped(unwanted);
        match unwanted {
            Unwanted::Expired => self.answer(ticket, answer::expired(&self.identity, ticket)).await,
            Unwanted::Cancelled => {
                self.held.answered(&ticket.lease);
                self.settle(Settlement::Ack(ticket.lease.clone())).await
            }
            Unwanted::Lost => {
                self.held.remove(&ticket.lease);
                Ok(())
            }
        }
    }

    async fn settle(&self, settlement: Settlement) -> Result<()> {
        let sent = self.settle.send(settlement).await;
        sent.map_err(|_| Error::internal("the task that settles leases has ended"))
    }

    async fn answer(&self, ticket: &Arc<Ticket>, result: proto::v1::ImageResult) -> Result<()> {
        self.held.answered(&ticket.lease);
        self.replies.answer(ticket, result).await
    }

    async fn release(&self, ticket: &Arc<Ticket>) -> Result<()> {
        // Ours no more: nothing is said of it to its gateway.
        ticket.lose();
        self.held.answered(&ticket.lease);
        self.settle(Settlement::Release(ticket.lease.clone())).await
    }
}

/// Whether fetching the same image again can't help.
fn is_final(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::ObjectNotFound
            | Kind::ImageTooLarge
            | Kind::UriNotAllowed
            | Kind::UriSchemeUnsupported
            | Kind::InvalidRequest
    )
}

struct Fetched {
    ticket: Arc<Ticket>,
    content: Result<bytes::Bytes>,
    took: Duration,
}
