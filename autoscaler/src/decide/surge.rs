//! Surges: more images arrive than the last minute explains. For how much longer?

use std::{collections::VecDeque, time::Duration};

use serde::{Deserialize, Serialize};

use super::observation::{Arrivals, FAST_WINDOW, LATEST_WINDOW, Observation};

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Surges {
    since: Option<Duration>,
    /// How long the last ones were.
    lasted: VecDeque<Duration>,
}

/// Surges that are remembered.
const SURGES: usize = 50;

/// From so many longer ones on, their mean says more than the rule of thumb.
const SURGES_TOLD: usize = 5;

/// Where nothing else is known, a surge goes on for so many times as long as it has lasted.
const LEFT_PER_LASTED: f64 = 8.0;

impl Surges {
    pub(super) fn see(&mut self, observation: &Observation) {
        let at = observation.at;
        if matches!(change(&observation.arrivals), Change::Up(_)) {
            // What the fast window shows began, on average, in the middle of it.
            self.since.get_or_insert(at.saturating_sub(FAST_WINDOW / 2));
        } else if let Some(since) = self.since.take() {
            if self.lasted.len() == SURGES {
                self.lasted.pop_front();
            }
            self.lasted.push_back(at.saturating_sub(since));
        }
    }

    /// How much longer the surge there is should last.
    pub(super) fn left(&self, at: Duration) -> Option<Duration> {
        let lasted = at.saturating_sub(self.since?);
        let longer: Vec<_> = self.lasted.iter().filter(|length| **length > lasted).collect();
        if longer.len() < SURGES_TOLD {
            return Some(lasted.mul_f64(LEFT_PER_LASTED));
        }
        let count = u32::try_from(longer.len()).unwrap_or(u32::MAX);
        Some(longer.into_iter().map(|length| *length - lasted).sum::<Duration>() / count)
    }
}

/// How the last seconds differ from the last minute by more than chance explains.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Change {
    /// More arrive: so many a second.
    Up(f64),
    Down,
    None,
}

pub(super) fn change(arrivals: &Arrivals) -> Change {
    /// Counts vary by their square root. Two and a half times that is rare; in a short window, looked at often, so is four times.
    const FAST: Margin = Margin { deviations: 2.5, least: 1.0 };
    const LATEST: Margin = Margin { deviations: 4.0, least: 2.0 };
    let Arrivals { latest, fast, slow, .. } = *arrivals;
    if latest > fast && LATEST.is_over(latest, slow, LATEST_WINDOW) {
        Change::Up(latest)
    } else if FAST.is_over(fast, slow, FAST_WINDOW) {
        Change::Up(fast)
    } else if FAST.is_under(fast, slow, FAST_WINDOW) {
        Change::Down
    } else {
        Change::None
    }
}

/// By how much a count must differ from what is expected.
struct Margin {
    deviations: f64,
    /// For counts so small that the square root says little.
    least: f64,
}

impl Margin {
    fn is_over(&self, rate: f64, expected: f64, window: Duration) -> bool {
        let (seen, expected) = (rate * window.as_secs_f64(), expected * window.as_secs_f64());
        seen > expected + self.deviations * expected.sqrt() + self.least
    }

    fn is_under(&self, rate: f64, expected: f64, window: Duration) -> bool {
        let (seen, expected) = (rate * window.as_secs_f64(), expected * window.as_secs_f64());
        seen < expected - self.deviations * expected.sqrt() - self.least
    }
}
