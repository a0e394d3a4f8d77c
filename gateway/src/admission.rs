//! Whether an image is worth queuing: predicted wait against what its caller can wait.

use std::time::Duration;

use platform::{Error, Kind, Result, options::show_duration, queue::TURNS, retry};
use proto::v1::Priority;
use tokio::time::Instant;

use crate::{
    backlog::{Place, Waiting},
    core::Core,
    counters::Counted,
    progress::Standing,
    supply::{Supply, Wait},
};

/// What a caller does when it is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// It hears why, and when to come back.
    Caller,
    /// An old client that never comes back: held as long as there is room (specs/upload.md).
    Held,
    /// A job's image: whoever submitted it has gone, and it may wait as long as it takes.
    #[allow(dead_code)] // Jobs come next.
    Job,
}

/// What is asked to be taken in.
#[derive(Debug, Clone, Copy)]
pub struct Asked {
    pub images: usize,
    pub priority: Priority,
    /// A worker must have started by then.
    pub start_by: Instant,
    pub patience: Patience,
}

/// Nobody is sent away for less: a refused call costs more than such a wait.
const RETRY_LEAST: Duration = Duration::from_millis(50);
/// Nor for longer: by then workers have come that nobody knows of yet.
const RETRY_MOST: Duration = Duration::from_secs(60);
/// When nobody knows how fast room is made: a second at most, spread.
const RETRY_UNKNOWN: Duration = Duration::from_millis(800);

impl Core {
    /// Refuses images for which there is no room, and those that would wait longer than their caller.
    ///
    /// Looks at counts and makes no walk over what waits.
    pub async fn admit(&self, asked: Asked) -> Result<()> {
        self.check_room(asked.images)?;
        if asked.patience != Patience::Caller {
            return Ok(());
        }
        let Some(supply) = self.supply() else { return Ok(()) };
        let now = Instant::now();
        let limit = asked.start_by.saturating_duration_since(now);
        let limit = self.options.max_wait.map_or(limit, |max| max.min(limit));
        let ahead = self.ahead(asked.priority);
        let work = Work { ahead, images: asked.images };
        decide(&supply, work, limit).map_err(|refusal| {
            self.counters.add(Counted::RefusedWait, asked.images);
            refusal.into_error(limit)
        })
    }

    /// How an image in the queue stands.
    pub fn standing(&self, place: Place) -> Standing {
        let backlog = self.pending.backlog();
        let own = Waiting { unstarted: backlog.ahead(place), ..backlog.waiting(place.priority()) };
        let (interactive, batch) = match place.priority() {
            Priority::Batch => (backlog.waiting(Priority::Interactive), own),
            Priority::Unspecified | Priority::Interactive => (own, backlog.waiting(Priority::Batch)),
        };
        let ahead = before(place.priority(), interactive, batch);
        let others = self.others_waiting();
        let wait = self.supply().and_then(|supply| supply.done_in(ahead.work() + others as f64).shown());
        Standing { ahead: ahead.unstarted + others, wait }
    }

    /// Says when to come back to who found no room, and counts it.
    pub fn come_back(&self, error: Error, images: usize) -> Error {
        if error.kind() != Kind::QueueFull {
            return error.with_retry_after(RETRY_UNKNOWN);
        }
        self.counters.add(Counted::RefusedQueueFull, images);
        let made = self.supply().and_then(|supply| supply.done_in(images as f64).shown());
        error.with_retry_after(bounded(retry::spread(made.unwrap_or(RETRY_UNKNOWN))))
    }

    fn check_room(&self, images: usize) -> Result<()> {
        let limit = self.options.pending_max;
        let waiting = usize::try_from(self.pending.backlog().total()).unwrap_or(usize::MAX);
        let over = waiting.saturating_add(images).saturating_sub(limit);
        if over == 0 {
            return Ok(());
        }
        let sentence = format!("{waiting} images wait already, the limit is {limit}; try again later");
        Err(self.come_back(Error::new(Kind::QueueFull, sentence).with_metadata("limit", limit), over))
    }

    /// `None` while no autoscaler is connected: count limits alone apply.
    fn supply(&self) -> Option<Supply> {
        self.capacity.borrow().as_ref().map(Supply::of)
    }

    /// At other gateways, whose images the same workers do.
    fn others_waiting(&self) -> u64 {
        self.capacity.borrow().map_or(0, |said| said.others_waiting)
    }

    fn ahead(&self, priority: Priority) -> f64 {
        let waiting = |priority| self.pending.backlog().waiting(priority);
        let ahead = before(priority, waiting(Priority::Interactive), waiting(Priority::Batch));
        ahead.work() + self.others_waiting() as f64
    }
}

/// What is to be done before an image is begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Ahead {
    unstarted: u64,
    started: u64,
}

impl Ahead {
    /// In images: of what is begun, half is left on average, as the autoscaler counts it.
    fn work(self) -> f64 {
        self.unstarted as f64 + self.started as f64 / 2.0
    }
}

/// Before an image of this priority, behind all that waits. While both priorities wait, one in [`TURNS`] is batch.
fn before(priority: Priority, interactive: Waiting, batch: Waiting) -> Ahead {
    let a_turn = u64::from(TURNS - 1);
    let unstarted = if priority == Priority::Batch {
        batch.unstarted + interactive.unstarted.min((batch.unstarted + 1).saturating_mul(a_turn))
    } else {
        interactive.unstarted + batch.unstarted.min(interactive.unstarted / a_turn)
    };
    Ahead { unstarted, started: interactive.started + batch.started }
}

/// What is asked for, and what there is to do before it.
#[derive(Debug, Clone, Copy)]
struct Work {
    ahead: f64,
    images: usize,
}

/// Why it is refused, and when to come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Refusal {
    predicted: Duration,
    retry_after: Duration,
}

/// Whether so many images are worth queuing for who can wait until `limit`.
///
/// The last of them has to be begun in time. But a request that has the queue to itself is judged by its first image: to
/// come back later would not help it, and workers are started for what waits, not for what was refused.
fn decide(supply: &Supply, work: Work, limit: Duration) -> Result<(), Refusal> {
    let Work { ahead, images } = work;
    let own = if ahead < 1.0 { 0 } else { images.saturating_sub(1) };
    let Wait { shortest: predicted, .. } = supply.done_in(ahead + own as f64);
    if predicted <= limit {
        return Ok(());
    }
    // As time goes on the wait gets shorter, by as much; and once nothing is ahead, it is as short as it gets.
    let alone = supply.done_in(ahead).shortest;
    let retry_after = (predicted - limit).min(alone.max(RETRY_LEAST));
    Err(Refusal { predicted, retry_after })
}

impl Refusal {
    fn into_error(self, limit: Duration) -> Error {
        let retry_after = bounded(retry::spread(self.retry_after));
        // A tenth of a second is enough for a person.
        const TENTH: Duration = Duration::from_millis(100);
        let shown = |duration: Duration| {
            show_duration(
                TENTH * u32::try_from(duration.as_millis().div_ceil(TENTH.as_millis())).unwrap_or(u32::MAX),
            )
        };
        let sentence = format!(
            "it would wait {} and may wait {}; come back in {}",
            shown(self.predicted),
            shown(limit),
            shown(retry_after)
        );
        Error::new(Kind::WaitExceedsDeadline, sentence)
            .with_metadata("predicted_ms", self.predicted.as_millis())
            .with_metadata("limit_ms", limit.as_millis())
            .with_retry_after(retry_after)
    }
}

fn bounded(after: Duration) -> Duration {
    after.clamp(RETRY_LEAST, RETRY_MOST)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::supply::Coming;

    const NEVER: Coming = Coming { ready_in: Duration::from_secs(86400), per_second: 0.0 };

    fn seconds(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    #[test]
    fn whoever_would_wait_too_long_is_refused_and_told_when_to_come_back() {
        let steady = Supply { per_second: 10.0, coming: [NEVER; 2] };
        let booting = Supply {
            per_second: 0.0,
            coming: [Coming { ready_in: seconds(40.0), per_second: f64::INFINITY }, NEVER],
        };
        let check = |supply: &Supply, (ahead, images): (f64, usize), limit: f64, want: Option<(f64, f64)>| {
            let found = decide(supply, Work { ahead, images }, seconds(limit)).err();
            let found =
                found.map(|refusal| (refusal.predicted.as_secs_f64(), refusal.retry_after.as_secs_f64()));
            match (found, want) {
                (None, None) => {}
                (Some(found), Some(want)) => {
                    let is_near = (found.0 - want.0).abs() < 1e-6 && (found.1 - want.1).abs() < 1e-6;
                    assert!(is_near, "{ahead} {images} {limit}: {found:?}");
                }
                _ => panic!("{ahead} {images} {limit}: {found:?}"),
            }
        };
        check(&steady, (0.0, 1), 0.1, None);
        check(&steady, (50.0, 1), 5.0, None);
        check(&steady, (50.0, 1), 4.0, Some((5.0, 1.0)));
        check(&steady, (50.0, 11), 5.0, Some((6.0, 1.0)));
        // It never fits, and once nothing is ahead it is taken: then.
        check(&steady, (50.0, 1001), 5.0, Some((105.0, 5.0)));
        check(&steady, (0.0, 1001), 5.0, None);
        // From nothing: a boot is a wait and not an error.
        check(&booting, (0.0, 1), 60.0, None);
        check(&booting, (500.0, 100), 60.0, None);
        check(&booting, (0.0, 1), 10.0, Some((40.0, 30.0)));
    }

    #[test]
    fn batch_waits_for_interactive_and_interactive_for_its_share_of_batch() {
        let waiting = |unstarted, started| Waiting { unstarted, started };
        let check = |priority, interactive, batch, want: f64| {
            let found = before(priority, interactive, batch).work();
            assert!((found - want).abs() < 1e-9, "{priority:?} {interactive:?} {batch:?}: {found}");
        };
        let nothing = Waiting::default();
        check(Priority::Interactive, nothing, nothing, 0.0);
        check(Priority::Interactive, nothing, waiting(1000, 2), 1.0);
        check(Priority::Interactive, waiting(70, 2), waiting(1000, 0), 81.0);
        check(Priority::Interactive, waiting(70, 0), waiting(3, 0), 73.0);
        check(Priority::Unspecified, waiting(70, 0), waiting(3, 0), 73.0);
        check(Priority::Batch, waiting(70, 0), waiting(3, 0), 31.0);
        check(Priority::Batch, waiting(5, 0), waiting(3, 2), 9.0);
    }

    #[test]
    fn refusal_carries_its_numbers_and_a_bounded_time_to_come_back() {
        let check = |predicted: f64, after: f64, least: f64, most: f64| {
            let refusal = Refusal { predicted: seconds(predicted), retry_after: seconds(after) };
            let error = refusal.into_error(seconds(2.0));
            assert_eq!(error.kind(), Kind::WaitExceedsDeadline);
            assert_eq!(error.metadata()["predicted_ms"], (predicted * 1000.0).to_string());
            assert_eq!(error.metadata()["limit_ms"], "2000");
            let after = error.retry_after().unwrap().as_secs_f64();
            assert!((least..=most).contains(&after), "{after}");
        };
        check(12.0, 10.0, 10.0, 12.5);
        check(2.001, 0.001, 0.05, 0.05);
        check(9000.0, 8998.0, 60.0, 60.0);
    }
}
