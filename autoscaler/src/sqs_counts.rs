//! What the queue itself says of its length: estimates, which stand in where no gateway has counted exactly, and which are
//! held against the exact counts where one has.

use std::{sync::Arc, time::Duration};

use platform::queue::{Counts, Queue};
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

/// Looks at the queue now and then while this autoscaler leads; never returns.
pub async fn watch(queue: Option<Arc<dyn Queue>>, shared: &Shared) {
    let Some(queue) = queue else { return std::future::pending().await };
    let mut ticks = interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut leading = shared.leading.subscribe();
    loop {
        if leading.wait_for(|leading| *leading).await.is_err() {
            // The sender lives as long as what we borrow.
            return std::future::pending().await;
        }
        ticks.tick().await;
        let counts = queue.counts().await;
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
    pub fn take(&mut self, at: Duration, counts: Result<Counts, String>, gateways: Option<u64>) {
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
    use super::*;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(1000 + seconds)
    }

    fn counts(visible: u64, leased: u64) -> Result<Counts, String> {
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

    #[test]
    fn queue_that_cannot_be_counted_is_told() {
        let mut estimates = Estimates::default();
        estimates.take(at(0), Err("the queue cannot be counted: no such queue".to_owned()), None);
        assert_eq!(estimates.warnings().count(), 1);
        estimates.take(at(20), counts(0, 0), None);
        assert_eq!(estimates.warnings().count(), 0);
    }
}
