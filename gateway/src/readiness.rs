//! Whether new work is taken: the queue answers, and nobody has told us to stop. No worker being
//! there is healthy: one is started for the first image. Nor does a full queue make us unready: its
//! refusal says when to come back, which a load balancer that finds nobody ready can't.

use std::time::Duration;

use platform::{Error, Kind, Result, queue::Queue, serve::Health, shutdown::Shutdown};
use tokio::sync::watch;

use crate::core::Core;

/// A look costs two calls of SQS: 1 million a month at this period, 0.40 USD.
const PERIOD: Duration = Duration::from_secs(5);
/// Between looks while it does not answer: it is wanted back soon.
const PERIOD_IN_TROUBLE: Duration = Duration::from_secs(1);
/// Longer than a slow answer of SQS, shorter than the patience of a load balancer.
const LONGEST: Duration = Duration::from_secs(3);
/// One call may fail by itself.
const FAILURES_MIN: u32 = 2;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Ready,
    QueueUnreachable,
    Draining,
}

impl State {
    /// For the one who asks `/readyz`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Ready => "ready\n",
            Self::QueueUnreachable => "the queue does not answer\n",
            Self::Draining => "draining\n",
        }
    }
}

pub struct Readiness {
    state: watch::Sender<State>,
}

impl Default for Readiness {
    fn default() -> Self {
        Self { state: watch::Sender::new(State::Ready) }
    }
}

impl Readiness {
    pub fn now(&self) -> State {
        *self.state.borrow()
    }

    /// Not ready for good at the word to stop, while what still comes is served: load balancers have
    /// to notice. After the delay, `closing` stops. Never returns.
    pub async fn drain(&self, shutdown: &Shutdown, closing: &Shutdown, delay: Duration) {
        shutdown.stop.cancelled().await;
        self.set(State::Draining);
        tokio::time::sleep(delay).await;
        closing.stop.cancel();
        std::future::pending::<()>().await;
    }

    /// Has `grpc.health.v1` say the same. Never returns.
    pub async fn tell(&self, health: &Health) {
        let mut states = self.state.subscribe();
        loop {
            let state = *states.borrow_and_update();
            match state {
                State::Ready => health.set_serving().await,
                State::QueueUnreachable | State::Draining => health.set_not_serving().await,
            }
            if states.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    }

    fn set(&self, to: State) {
        self.state.send_if_modified(|state| {
            let changes = *state != to && *state != State::Draining;
            if changes {
                *state = to;
            }
            changes
        });
    }

    /// Follows whether the queue answers. Never returns.
    pub async fn follow(&self, core: &Core) {
        if core.is_broker {
            // It is in our own memory.
            return std::future::pending().await;
        }
        self.look_again_and_again(&*core.queue).await;
    }

    async fn look_again_and_again(&self, queue: &dyn Queue) {
        let mut failures = 0_u32;
        loop {
            match look(queue).await {
                Ok(()) => {
                    if failures >= FAILURES_MIN {
                        tracing::info!("the queue answers again");
                    }
                    failures = 0;
                    self.set(State::Ready);
                }
                Err(error) => {
                    failures = failures.saturating_add(1);
                    if failures == FAILURES_MIN {
                        tracing::error!(%error, "the queue does not answer: not ready");
                    }
                    if failures >= FAILURES_MIN {
                        self.set(State::QueueUnreachable);
                    }
                }
            }
            tokio::time::sleep(if failures == 0 { PERIOD } else { PERIOD_IN_TROUBLE }).await;
        }
    }
}

async fn look(queue: &dyn Queue) -> Result<()> {
    match tokio::time::timeout(LONGEST, queue.counts()).await {
        Ok(counts) => counts.map(drop),
        Err(_) => Err(Error::new(Kind::QueueUnavailable, "no answer in time")),
    }
}

/// What takes to tell those who are left after the grace, well within what `Shutdown::run` gives.
const MOMENT: Duration = Duration::from_millis(300);

/// Callers that are left after the grace are told so by then; the rest is closed without an answer.
pub async fn last_words(shutdown: &Shutdown) {
    shutdown.abort.cancelled().await;
    tokio::time::sleep(MOMENT).await;
}

/// As long again, for workers to be let go.
pub async fn after_last_words(shutdown: &Shutdown) {
    last_words(shutdown).await;
    tokio::time::sleep(MOMENT).await;
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use platform::{
        faults::Fault,
        queue::{
            MemoryLimits, MemoryQueue,
            faulty::{FaultyQueue, QueueCall},
        },
    };

    use super::*;

    fn faulty() -> Arc<FaultyQueue> {
        FaultyQueue::new(MemoryQueue::new(MemoryLimits { tasks_max: 1, bytes_max: 1 }))
    }

    /// What it is for half a second more, and how long that took.
    async fn until(readiness: &Readiness, state: State) -> Duration {
        let since = tokio::time::Instant::now();
        while readiness.now() != state {
            assert!(since.elapsed() < Duration::from_secs(60), "it is never {state:?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        since.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn queue_that_fails_for_some_seconds_makes_us_unready_until_it_is_back() {
        let queue = faulty();
        let readiness = Arc::new(Readiness::default());
        let (looking, looked_at) = (Arc::clone(&readiness), Arc::clone(&queue));
        let task = tokio::spawn(async move { looking.look_again_and_again(&*looked_at).await });
        for fault in [Fault::Before, Fault::Hang] {
            tokio::time::sleep(Duration::from_secs(60)).await;
            assert_eq!(readiness.now(), State::Ready);
            queue.fail(QueueCall::Counts, 1, fault);
            assert!(until(&readiness, State::QueueUnreachable).await <= Duration::from_secs(13));
            queue.heal();
            assert!(until(&readiness, State::Ready).await <= Duration::from_secs(2));
        }
        task.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn one_failed_look_is_no_reason_to_turn_callers_away() {
        let queue = faulty();
        queue.fail(QueueCall::Counts, 2, Fault::Before);
        let readiness = Readiness::default();
        let looking = readiness.look_again_and_again(&*queue);
        assert!(tokio::time::timeout(Duration::from_secs(600), looking).await.is_err());
        assert!(queue.injected() > 50);
        assert_eq!(readiness.now(), State::Ready);
        assert!(readiness.state.subscribe().has_changed().is_ok_and(|changed| !changed));
    }

    #[tokio::test(start_paused = true)]
    async fn draining_is_unready_at_once_closes_after_the_delay_and_is_never_ready_again() {
        let (readiness, shutdown, closing) = (Readiness::default(), Shutdown::new(), Shutdown::new());
        shutdown.stop.cancel();
        let draining = readiness.drain(&shutdown, &closing, Duration::from_secs(7));
        let looking = async {
            tokio::time::sleep(Duration::from_millis(1)).await;
            assert_eq!((readiness.now(), closing.stop.is_cancelled()), (State::Draining, false));
            tokio::time::sleep(Duration::from_secs(6)).await;
            assert!(!closing.stop.is_cancelled(), "still served");
            tokio::time::sleep(Duration::from_secs(1)).await;
            assert!(closing.stop.is_cancelled());
            readiness.set(State::Ready);
            assert_eq!(readiness.now(), State::Draining);
        };
        tokio::select! {
            () = draining => unreachable!("it never returns"),
            () = looking => {}
        }
    }
}
