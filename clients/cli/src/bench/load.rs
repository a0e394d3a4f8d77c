//! The two kinds of load. Closed: so many requests at once, the next when one is answered. Open:
//! requests at set times whatever the answers do, each timed from when it was due, so that a slow
//! server can't hide its slowness by holding the load back.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use platform::Error;
use proto::v1::ImageResult;
use tokio::{
    sync::Semaphore,
    task::JoinSet,
    time::{Instant, sleep, sleep_until},
};

use super::{measure::Measured, request::Caller};

/// A closed loop does not spin on a server that refuses at once, or is gone.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_millis(20);

/// When requests are sent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Load {
    Closed { concurrency: usize },
    Open { requests_per_second: f64, in_flight_max: usize },
}

/// When a run ends: after this many requests, or when the time is over, whichever is first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Extent {
    pub(super) requests: u64,
    pub(super) duration: Duration,
}

/// Where the requests of a run note what came of them.
#[derive(Clone)]
pub(super) struct Notes(Arc<Mutex<Measured>>);

impl Notes {
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new(Measured::new())))
    }

    fn write(&self, change: impl FnOnce(&mut Measured)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    pub(super) fn read(&self) -> Measured {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Runs the load. Ends when all that was sent is answered.
///
/// When dropped, requests in flight are dropped too; what was noted stays.
pub(super) async fn run(load: Load, extent: Extent, callers: &[Caller], notes: &Notes) {
    match load {
        Load::Closed { concurrency } => closed(concurrency, extent, callers, notes).await,
        Load::Open { requests_per_second, in_flight_max } => {
            open(Pace { requests_per_second, extent }, in_flight_max, callers, notes).await;
        }
    }
}

async fn closed(concurrency: usize, extent: Extent, callers: &[Caller], notes: &Notes) {
    let end = Instant::now() + extent.duration;
    let taken = Arc::new(AtomicU64::new(0));
    let mut loops = JoinSet::new();
    for caller in callers.iter().cycle().take(concurrency) {
        let (caller, taken, notes) = (caller.clone(), Arc::clone(&taken), notes.clone());
        loops.spawn(async move {
            while Instant::now() < end && taken.fetch_add(1, Ordering::Relaxed) < extent.requests {
                if one(&caller, Instant::now(), &notes).await.is_err() {
                    sleep(PAUSE_AFTER_FAILURE).await;
                }
            }
        });
    }
    while loops.join_next().await.is_some() {}
}

async fn open(pace: Pace, in_flight_max: usize, callers: &[Caller], notes: &Notes) {
    let room = Arc::new(Semaphore::new(in_flight_max));
    let mut in_flight = JoinSet::new();
    let start = Instant::now();
    for (due, caller) in (0..).map_while(|number| pace.due(number)).zip(callers.iter().cycle()) {
        let due = start + due;
        sleep_until(due).await;
        while in_flight.try_join_next().is_some() {}
        let Ok(place) = Arc::clone(&room).try_acquire_owned() else {
            notes.write(|measured| measured.not_sent += 1);
            continue;
        };
        let (caller, notes) = (caller.clone(), notes.clone());
        in_flight.spawn(async move {
            // What went wrong is noted, and the next is due when it is due.
            let _ = one(&caller, due, &notes).await;
            drop(place);
        });
    }
    while in_flight.join_next().await.is_some() {}
}

/// Requests at even distances.
#[derive(Debug, Clone, Copy)]
struct Pace {
    requests_per_second: f64,
    extent: Extent,
}

impl Pace {
    /// When request `number` (from 0) is due after the start; none after the end.
    fn due(&self, number: u64) -> Option<Duration> {
        #[allow(clippy::cast_precision_loss, reason = "a run has far fewer than 2^52 requests")]
        let seconds = number as f64 / self.requests_per_second;
        let due = Duration::try_from_secs_f64(seconds).ok()?;
        (number < self.extent.requests && due < self.extent.duration).then_some(due)
    }
}

/// One request, timed from `due`; what came of it is noted.
async fn one(caller: &Caller, due: Instant, notes: &Notes) -> Result<(), Error> {
    let images = caller.images();
    notes.write(|measured| {
        measured.requests += 1;
        measured.images += images;
    });
    let mut answered = 0;
    let take = |result: &ImageResult| {
        answered += 1;
        notes.write(|measured| measured.result(result, due.elapsed()));
    };
    let called = caller.call(take).await;
    if let Err(error) = &called {
        notes.write(|measured| measured.call_failed(error, images.saturating_sub(answered)));
    }
    called
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(requests_per_second: f64, requests: u64, duration: Duration) -> Vec<Duration> {
        let pace = Pace { requests_per_second, extent: Extent { requests, duration } };
        (0..).map_while(|number| pace.due(number)).collect()
    }

    #[test]
    fn arrivals_are_even_and_end_with_the_count_or_the_time() {
        let millis =
            |numbers: &[u64]| numbers.iter().map(|one| Duration::from_millis(*one)).collect::<Vec<_>>();
        let check = |got: Vec<Duration>, want: &[u64]| assert_eq!(got, millis(want));
        check(schedule(4.0, u64::MAX, Duration::from_secs(1)), &[0, 250, 500, 750]);
        check(schedule(4.0, 2, Duration::from_secs(1)), &[0, 250]);
        check(schedule(0.5, u64::MAX, Duration::from_secs(5)), &[0, 2000, 4000]);
        check(schedule(10.0, 0, Duration::from_secs(1)), &[]);
        assert_eq!(schedule(1000.0, u64::MAX, Duration::from_secs(10)).len(), 10_000);
    }

    #[test]
    fn schedule_does_not_drift() {
        let last = schedule(3.0, 3_000_001, Duration::from_secs(2_000_000)).pop().unwrap();
        assert!(last.abs_diff(Duration::from_secs(1_000_000)) < Duration::from_micros(1), "{last:?}");
    }
}
