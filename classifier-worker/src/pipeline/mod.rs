//! From the queue to the gateway that waits: receive, keep the lease, classify, reply, ack.
//!
//! Nothing is acked before its reply was taken, so this may end anywhere: what is not acked comes
//! back when its lease ends.

use std::{sync::Arc, thread::JoinHandle, time::Duration};

use platform::{
    Error, Kind, Result, auth::Links, options::Profile, queue::Queue, shutdown::Shutdown, store::Store,
};
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use crate::{model::Model, objects::Objects};

pub(crate) mod answer;
pub(crate) mod held;
pub(crate) mod intake;
mod lease;
mod line;
pub(crate) mod pace;
pub(crate) mod reply;
mod settle;
mod threads;

use answer::Identity;
use held::{Held, Load, Unwanted};
use intake::{Intake, Mode, work_max};
use line::Line;
use pace::Pace;
use reply::{Post, Replies, mail::Mail};
use settle::Settlement;
use threads::{Bench, Outcome};

/// How long answers are kept for a gateway that can't be reached. A restarting one is back by then.
const REPLY_PATIENCE: Duration = Duration::from_secs(60);

/// How long a worker whose parent is gone tries to reach a gateway that does not answer.
const STRANDED_MAX: Duration = Duration::from_secs(2);

/// What a pipeline is made of.
pub(crate) struct Parts {
    pub(crate) queue: Arc<dyn Queue>,
    /// To the gateways.
    pub(crate) links: Links,
    pub(crate) store: Option<Arc<dyn Store>>,
    /// Where results go that a task wants kept.
    pub(crate) results: Option<Arc<dyn Store>>,
    pub(crate) profile: Profile,
    pub(crate) results_queue: Option<Arc<dyn Mail>>,
    pub(crate) identity: Arc<Identity>,
    /// One for each thread.
    pub(crate) models: Vec<Box<dyn Model>>,
    pub(crate) lease: Duration,
    pub(crate) batch_max: usize,
    pub(crate) batch_delay: Duration,
}

/// Running; ends when dropped.
pub(crate) struct Pipeline {
    status: Arc<Status>,
    line: Arc<Line>,
    replies: Arc<Replies>,
    tasks: JoinSet<Result<()>>,
    threads: Vec<JoinHandle<()>>,
    thread_died: CancellationToken,
}

/// What others may see of a pipeline, and the one thing they may change.
pub(crate) struct Status {
    pub(crate) identity: Arc<Identity>,
    pub(crate) threads: usize,
    pub(crate) pace: Arc<Pace>,
    held: Arc<Held>,
    mode: watch::Sender<Mode>,
    settled: watch::Receiver<Mode>,
}

impl Status {
    pub(crate) fn set_mode(&self, mode: Mode) {
        self.mode.send_if_modified(|now| std::mem::replace(now, mode) != mode);
    }

    pub(crate) fn load(&self) -> Load {
        *self.held.load().borrow()
    }

    /// Waits until nothing is received any more and nothing is held. Only while paused.
    pub(crate) async fn idle(&self) {
        // Their senders live as long as the pipeline; after it there is nothing held either.
        let _ = self.settled.clone().wait_for(|mode| *mode == Mode::Paused).await;
        let _ = self.held.load().wait_for(|load| load.total == 0).await;
    }
}

impl Pipeline {
    /// Starts the threads and the tasks. Work begins when the mode says so.
    pub(crate) fn start(parts: Parts) -> Result<Self> {
        let threads = parts.models.len();
        let batch_max =
            parts.models.iter().map(|model| model.batch_max(parts.batch_max)).min().unwrap_or(1).max(1);
        let held = Arc::new(Held::new());
        let line = Arc::new(Line::new(work_max(threads, batch_max)));
        let pace = Arc::new(Pace::default());
        // Room for everything that can be held, so that a thread hardly ever waits to hand over.
        let (outcome_sender, outcomes) = mpsc::channel(2 * work_max(threads, batch_max));
        let (settle, settlements) = mpsc::channel(4 * work_max(threads, batch_max));
        let replies = Arc::new(Replies::new(Post {
            identity: Arc::clone(&parts.identity),
            links: parts.links,
            settle: settle.clone(),
            results: parts.results,
            images: parts.store.clone(),
            results_queue: parts.results_queue,
            profile: parts.profile,
            patience: REPLY_PATIENCE,
            stranded: 0.into(),
        }));
        let thread_died = CancellationToken::new();
        let bench = Bench {
            line: Arc::clone(&line),
            pace: Arc::clone(&pace),
            identity: Arc::clone(&parts.identity),
            outcomes: outcome_sender,
            batch_max,
            batch_delay: parts.batch_delay,
            died: thread_died.clone(),
        };
        let (mode, mode_receiver) = watch::channel(Mode::Working);
        let (settled_sender, settled) = watch::channel(Mode::Working);
        let status = Arc::new(Status {
            identity: Arc::clone(&parts.identity),
            threads,
            pace: Arc::clone(&pace),
            held: Arc::clone(&held),
            mode,
            settled,
        });
        let intake = Intake {
            queue: Arc::clone(&parts.queue),
            store: parts.store,
            objects: Arc::new(Objects::default()),
            held: Arc::clone(&held),
            line: Arc::clone(&line),
            pace,
            replies: Arc::clone(&replies),
            identity: parts.identity,
            settle: settle.clone(),
            threads,
            batch_max,
            lease: parts.lease,
            settled: settled_sender,
        };
        let mut tasks = JoinSet::new();
        tasks.spawn(lease::keep(Arc::clone(&parts.queue), Arc::clone(&held), parts.lease));
        tasks.spawn(settle::run(parts.queue, Arc::clone(&held), settlements, parts.lease));
        tasks.spawn(dispatch(outcomes, held, Arc::clone(&replies), settle));
        tasks.spawn(intake.run(mode_receiver));
        let models = parts.models.into_iter().enumerate();
        let threads = models
            .map(|(number, model)| threads::start(number, model, bench.clone()))
            .collect::<Result<Vec<_>>>()?;
        Ok(Self { status, line, replies, tasks, threads, thread_died })
    }

    pub(crate) fn status(&self) -> Arc<Status> {
        Arc::clone(&self.status)
    }

    /// Works until `shutdown.stop`, then finishes what is held. `orphaned` is set when the parent is
    /// gone: then a gateway that can't be reached is not waited for.
    pub(crate) async fn run(mut self, shutdown: &Shutdown, orphaned: &CancellationToken) -> Result<()> {
        tokio::select! {
            () = shutdown.stop.cancelled() => {}
            ended = self.broken() => return ended,
        }
        self.status.set_mode(Mode::Paused);
        let status = Arc::clone(&self.status);
        let stranded = stranded(Arc::clone(&self.replies), orphaned.clone());
        tokio::select! {
            () = status.idle() => {}
            () = stranded => tracing::warn!(held = status.load().total, "the gateway is gone, what is held goes back"),
            () = shutdown.abort.cancelled() => {
                tracing::warn!(held = status.load().total, "stopping with work unfinished, it goes back");
            }
            ended = self.broken() => return ended,
        }
        self.end().await
    }

    /// Waits for a task or a thread to end, which none should.
    async fn broken(&mut self) -> Result<()> {
        tokio::select! {
            () = self.thread_died.cancelled() => Err(Error::new(Kind::Internal, "a thread of the worker ended")),
            Some(ended) = self.tasks.join_next() => {
                ended.map_err(Error::internal).and_then(|result| result)?;
                Err(Error::new(Kind::Internal, "a task of the worker ended"))
            }
        }
    }

    async fn end(mut self) -> Result<()> {
        self.line.close();
        // A thread in the middle of a long pass is not waited for: the process ends around it.
        let threads = std::mem::take(&mut self.threads);
        if self.status.load().total == 0 {
            let joined =
                tokio::task::spawn_blocking(move || threads.into_iter().try_for_each(JoinHandle::join));
            joined.await.map_err(Error::internal)?.map_err(|_| Error::internal("a thread panicked"))?;
        }
        self.tasks.shutdown().await;
        Ok(())
    }
}

impl Drop for Pipeline {
    fn drop(&mut self) {
        self.line.close();
    }
}

/// Ends when, after the parent has gone, a gateway has not been reachable for [`STRANDED_MAX`].
async fn stranded(replies: Arc<Replies>, orphaned: CancellationToken) {
    const LOOK: Duration = Duration::from_millis(100);
    orphaned.cancelled().await;
    let mut since = None;
    loop {
        if replies.is_stranded() {
            if since.get_or_insert_with(Instant::now).elapsed() >= STRANDED_MAX {
                return;
            }
        } else {
            since = None;
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Takes what comes from the threads to where it has to go.
async fn dispatch(
    mut outcomes: mpsc::Receiver<Outcome>,
    held: Arc<Held>,
    replies: Arc<Replies>,
    settle: mpsc::Sender<Settlement>,
) -> Result<()> {
    while let Some(outcome) = outcomes.recv().await {
        match outcome {
            Outcome::Answer(ticket, result) => {
                held.answered(&ticket.lease);
                if !ticket.is_lost() {
                    replies.answer(&ticket, *result).await?;
                }
            }
            Outcome::Retry(ticket) => {
                ticket.lose();
                held.answered(&ticket.lease);
                let sent = settle.send(Settlement::Release(ticket.lease.clone())).await;
                sent.map_err(|_| Error::internal("the task that settles leases has ended"))?;
            }
            Outcome::Skipped(ticket, Unwanted::Lost) => held.remove(&ticket.lease),
            Outcome::Skipped(ticket, _) => {
                held.answered(&ticket.lease);
                let sent = settle.send(Settlement::Ack(ticket.lease.clone())).await;
                sent.map_err(|_| Error::internal("the task that settles leases has ended"))?;
            }
        }
    }
    Ok(())
}
