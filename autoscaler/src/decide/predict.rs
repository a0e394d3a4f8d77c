//! What should come of a decision: how long images will wait, to be compared with how long they did.

use std::time::Duration;

use super::{
    Basis,
    surge::{Change, change},
};

/// What is expected with as many instances as wanted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Prediction {
    /// 95 % of the images that arrive from now on are answered within this; `None` when none are expected.
    pub p95: Option<Duration>,
    /// When what waits now will be done; `None` when nothing waits.
    pub clear_in: Option<Duration>,
}

/// Farther ahead nothing is predicted.
const HORIZON: f64 = 3600.0;

/// Counts as a fluid: images flow in as they do now, and out as fast as the instances that are ready
/// by then can do them.
pub(super) fn predict(basis: Basis<'_>, want: u32) -> Prediction {
    let Basis { seen, fleet, .. } = basis;
    let work = seen.queue.work();
    let arriving = match change(&seen.arrivals) {
        Change::None => seen.arrivals.slow,
        Change::Up(rate) => rate,
        Change::Down => seen.arrivals.fast,
    };
    if work <= 0.0 && arriving <= 0.0 {
        return Prediction::default();
    }
    let current = fleet.current();
    if want == 0 && current == 0 {
        // Who comes now starts one first, and is another decision's.
        return Prediction::default();
    }
    let boot = seen.boot.warm.as_secs_f64();
    let more = want.saturating_sub(current);
    let ready = fleet.ready.min(want);
    let capacity = |at: f64| {
        let starting = fleet
            .arrivals
            .iter()
            .map(|due| f64::from(due.count) * (at - due.ready_in.as_secs_f64()).max(0.0));
        (f64::from(ready) * at + starting.sum::<f64>() + f64::from(more) * (at - boot).max(0.0))
            * seen.service.rate()
    };
    let tail = seen.service.p95.max(seen.service.mean).as_secs_f64();
    // The time by which so many are done, by halving.
    let done_by = |images: f64| {
        if capacity(HORIZON) < images {
            return HORIZON;
        }
        let (mut low, mut high) = (0.0, HORIZON);
        for _ in 0..48 {
            let middle = (low + high) / 2.0;
            if capacity(middle) < images { low = middle } else { high = middle }
        }
        high
    };
    let wait = |from_now: f64| (done_by(work + arriving * from_now) - from_now).max(0.0);
    let oldest = seen.queue.oldest_age.as_secs_f64();
    // What waits now has waited already: its oldest part longest.
    let waiting = if work > 0.0 { done_by(work * 0.05) + oldest * 0.95 } else { 0.0 };
    let longest = [0.0, boot / 2.0, boot].into_iter().map(wait).fold(waiting, f64::max);
    let clear_in = (work > 0.0).then(|| Duration::from_secs_f64(done_by(work)));
    Prediction { p95: Some(Duration::from_secs_f64(longest + tail)), clear_in }
}
