//! What the queue itself says of its length: estimates, which stand in where no gateway has counted exactly, and which are
//! held against the exact counts where one has.

use std::{sync::Arc, time::Duration};

use platform::{
    Kind, Result,
    queue::{Counts, Queue},
};
use tokio::time::{MissedTickBehavior, interval};

use crate::{decide, shared::Shared};

/// Each look is a call or two that cost money, and the counts are up to a minute old anyway.
const PERIOD: Duration = Duration::from_secs(20);

/// After three looks that failed, an estimate says nothing any more.
const KEPT: Duration = Duration::from_secs(60);

/// SQS's counts settle within a minute; a difference that stays longer is one.
const DIFFERS_FOR: Duration = Duration::from_secs(60);

/// Differences up to this many images are noise at any load.
const DIFFERENCE_MIN: u64 = 20;

#[derive(Debug, Default)]
pub struct Estimates {
    last: Option<(Duration, Counts)>,
    differs: Option<Difference>,
    problem: Option<String>,
}

#[derive(Debug, Clone, Copy)]
struct Difference {
    since: Duration,
    until: Duration,
    queue: u64,
    gateways: u64,
}

/// A queue that has counts of its own.
pub struct Counted {
    url: String,
    /// `None`: it did not answer yet.
    queue: Option<Arc<dyn Queue>>,
}

impl Counted {
    /// A queue that cannot be is an error. One that does not answer now is asked again later: the gateways' counts are enough.
    pub async fn open(url: &str) -> Result<Self> {
        let queue = match platform::queue::open_for_counts(url).await {
            Ok(queue) => Some(queue),
            Err(error) if error.kind() == Kind::Config => return Err(error.context("open --queue")),
            Err(error) => {
                tracing::warn!(%error, "open the queue that is counted");
                None
            }
        };
        Ok(Self { url: url.to_owned(), queue })
    }

    async fn counts(&mut self) -> Result<Counts> {
        let queue = match &self.queue {
            Some(queue) => Arc::clone(queue),
            None => Arc::clone(self.queue.insert(platform::queue::open_for_counts(&self.url).await?)),
        };
        queue.counts().await
    }
}

/// Looks at the queue now and then while this autoscaler leads; never returns.
pub async fn watch(counted: Option<Counted>, shared: &Shared) {
    let Some(mut counted) = counted else { return std::future::pending().await };
    let mut ticks = interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut leading = shared.leading.subscribe();
    loop {
        if leading.wait_for(|leading| *leading).await.is_err() {
            // The sender lives as long as what we borrow.
            return std::future::pending().await;
        }
        ticks.tick().await;
        let counts = counted.counts().await;
        if let Err(error) = &counts {
            tracing::warn!(%error, "count tasks in the queue");
        }
        let at = shared.clock.now();
        let counts = counts.map_err(|error| format!("the queue cannot be counted: {error}"));
        shared.load().estimated(at, counts);
    }
}

impl Estimates {
    /// Takes in a look. `gateways`: how many images wait for an answer there, where all gateways are known.
    pub fn take(&mut self, at: Duration, counts: std::result::Result<Counts, String>, gateways: Option<u64>) {
        let counts = match counts {
            Ok(counts) => counts,
            Err(problem) => {
                self.problem = Some(problem);
                return;
            }
        };
        self.problem = None;
        self.last = Some((at, counts));
        let queue = counts.visible + counts.leased;
        self.differs = match gateways.filter(|gateways| is_far(queue, *gateways)) {
            Some(gateways) => {
                let since = self.differs.map_or(at, |earlier| earlier.since);
                Some(Difference { since, until: at, queue, gateways })
            }
            None => None,
        };
    }

    /// The exact counts, raised to the estimate where that is more. For when not all gateways are known.
    pub fn raise(&self, at: Duration, exact: decide::Queue) -> decide::Queue {
        let Some((then, counts)) = self.last.filter(|(then, _)| at.saturating_sub(*then) <= KEPT) else {
            return exact;
        };
        decide::Queue {
            visible: exact.visible.max(counts.visible),
            in_flight: exact.in_flight.max(counts.leased),
            as_of: Some(exact.as_of.map_or(then, |as_of| as_of.min(then))),
            approximate: true,
            ..exact
        }
    }

    pub fn warnings(&self) -> impl Iterator<Item = String> {
        let differs = self.differs.filter(|difference| difference.until - difference.since >= DIFFERS_FOR);
        let differs = differs.map(|Difference { queue, gateways, .. }| {
            format!(
                "the queue counts {queue} images and the gateways {gateways}, for over a minute: there are messages that no \
                 gateway waits for, or the queue is another one"
            )
        });
        differs.into_iter().chain(self.problem.clone())
    }
}

/// By more than half of the larger one.
fn is_far(queue: u64, gateways: u64) -> bool {
    queue.abs_diff(gateways) > (queue.max(gateways) / 2).max(DIFFERENCE_MIN)
}

#[cfg(test)]
mod tests {
    use platform::{
        faults::Fault,
        queue::{
            MemoryLimits, MemoryQueue, Task,
            faulty::{FaultyQueue, QueueCall},
        },
    };
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::{
        clock::Clock, command::Orders, decision_log::DecisionLog, policy_request::PolicyDefaults,
        shared::SharedParts,
    };

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(1000 + seconds)
    }

    fn counts(visible: u64, leased: u64) -> std::result::Result<Counts, String> {
        Ok(Counts { visible, leased, oldest_age: Duration::ZERO })
    }

    #[test]
    fn estimate_raises_and_never_lowers_and_is_forgotten_after_a_minute() {
        let mut estimates = Estimates::default();
        let exact =
            decide::Queue { visible: 10, in_flight: 1, as_of: Some(at(0)), ..decide::Queue::default() };
        assert_eq!(estimates.raise(at(0), exact.clone()), exact);
        estimates.take(at(1), counts(7, 5), None);
        let raised = estimates.raise(at(61), exact.clone());
        assert_eq!((raised.visible, raised.in_flight, raised.approximate), (10, 5, true));
        assert_eq!(raised.as_of, Some(at(0)));
        let alone = estimates.raise(at(2), decide::Queue::default());
        assert_eq!((alone.visible, alone.as_of), (7, Some(at(1))));
        assert_eq!(estimates.raise(at(62), exact.clone()), exact);
    }

    #[test]
    fn difference_is_told_when_it_is_large_and_stays() {
        let mut estimates = Estimates::default();
        let mut told = |second, visible, gateways| {
            estimates.take(at(second), counts(visible, 0), gateways);
            estimates.warnings().next().is_some()
        };
        assert!(!told(0, 100, Some(10)));
        assert!(!told(40, 100, Some(10)));
        assert!(told(60, 100, Some(10)));
        assert!(!told(80, 100, Some(90)), "back to normal");
        assert!(!told(100, 15, Some(0)), "noise");
        assert!(!told(120, 500, None));
        assert!(!told(140, 0, Some(100)));
        assert!(told(200, 0, Some(100)));
    }

    async fn shared() -> Shared {
        let (orders, _) = Orders::channel();
        Shared::new(SharedParts {
            clock: Clock::start(),
            log: DecisionLog::open(None).await.unwrap(),
            orders,
            policy_defaults: PolicyDefaults { keep: Duration::ZERO, tick: Duration::from_secs(2) },
            price_per_hour_usd: 0.0,
            stop: CancellationToken::new(),
        })
    }

    #[tokio::test(start_paused = true)]
    async fn queue_is_looked_at_by_the_leader_alone_and_what_is_wrong_is_told() {
        let shared = shared().await;
        let memory = MemoryQueue::new(MemoryLimits { tasks_max: 10, bytes_max: 1000 });
        let tasks = ["a", "b", "c"].map(|task_id| Task { task_id: task_id.to_owned(), ..Task::default() });
        memory.send(tasks.into()).await.unwrap();
        let queue = FaultyQueue::new(memory);
        let counted = Counted { url: String::new(), queue: Some(queue.clone() as Arc<dyn Queue>) };
        let after = async |seconds| {
            tokio::time::sleep(Duration::from_secs(seconds)).await;
            let seen = shared.load().observe(shared.clock.now());
            (seen.visible, seen.approximate, shared.load().warnings())
        };
        let looked = async {
            assert_eq!(after(60).await, (0, false, vec![]));
            shared.leading.send_replace(true);
            assert_eq!(after(1).await, (3, true, vec![]));
            queue.fail(QueueCall::Counts, 1, Fault::Before);
            let (visible, _, warnings) = after(40).await;
            assert!(visible == 3 && warnings[0].starts_with("the queue cannot be counted: "), "{warnings:?}");
            assert_eq!(after(40).await.0, 0, "the last estimate is too old");
            queue.heal();
            assert_eq!(after(20).await, (3, true, vec![]));
        };
        tokio::select! {
            () = watch(Some(counted), &shared) => panic!("it ended"),
            () = looked => {}
        }
    }
}
