//! What one decision leaves for the next: only what makes the fleet slower to shrink than to grow.

use std::{collections::VecDeque, time::Duration};

use super::observation::{Arrivals, Census, FAST_WINDOW, Observation};

/// Starts empty. An empty state holds what is there: a restart stops nothing by itself.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct State {
    /// Needs within the hold, falling from front to back: the front is the largest.
    needs: VecDeque<(Duration, u32)>,
    /// When an image was last seen waiting or being worked on.
    pub(super) last_work: Option<Duration>,
    /// Since when more arrive than the slow rate explains.
    pub(super) surge_since: Option<Duration>,
    started: bool,
}

impl State {
    /// The state with this observation in it, before anything is decided.
    pub(super) fn seen(&self, observation: &Observation) -> Self {
        let mut state = self.clone();
        let current = Census::of(&observation.instances).current();
        if !state.started {
            state.started = true;
            state.needs.push_back((observation.at, current));
            state.last_work = (current > 0).then_some(observation.at);
        }
        if observation.queue.visible + observation.queue.in_flight > 0 {
            state.last_work = Some(observation.at);
        }
        state.surge_since = match change(&observation.arrivals) {
            Change::Up => state.surge_since.or(Some(observation.at)),
            Change::Down | Change::None => None,
        };
        state
    }

    /// Remembers `need` for the length of `hold`. The same need at the same moment changes nothing.
    pub(super) fn remember(&mut self, at: Duration, need: u32, hold: Duration) {
        while self.needs.front().is_some_and(|(then, _)| *then + hold < at) {
            self.needs.pop_front();
        }
        while self.needs.back().is_some_and(|(_, smaller)| *smaller <= need) {
            self.needs.pop_back();
        }
        self.needs.push_back((at, need));
    }

    /// The largest need within the hold.
    pub(super) fn largest_need(&self) -> u32 {
        self.needs.front().map_or(0, |(_, need)| *need)
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
