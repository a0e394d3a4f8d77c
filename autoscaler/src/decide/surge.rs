//! Surges: more images arrive than the last minute explains. For how much longer?

use std::{collections::VecDeque, time::Duration};

use serde::{Deserialize, Serialize};

use super::observation::{Arrivals, FAST_WINDOW, Observation};

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

/// Where nothing else is known, a surge goes on for twice as long as it has lasted.
const LEFT_PER_LASTED: f64 = 2.0;

impl Surges {
    pub(super) fn see(&mut self, observation: &Observation) {
        let at = observation.at;
        if change(&observation.arrivals) == Change::Up {
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

/// Whether the last seconds differ from the last minute by more than chance explains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    Up,
    Down,
    None,
}

pub(super) fn change(arrivals: &Arrivals) -> Change {
    /// Counts vary by their square root; twice that, and one more for very small counts.
    const DEVIATIONS: f64 = 2.0;
    let (expected, seen) =
        (arrivals.slow * FAST_WINDOW.as_secs_f64(), arrivals.fast * FAST_WINDOW.as_secs_f64());
    let margin = DEVIATIONS * expected.sqrt() + 1.0;
    if seen > expected + margin {
        Change::Up
    } else if seen < expected - margin {
        Change::Down
    } else {
        Change::None
    }
}
