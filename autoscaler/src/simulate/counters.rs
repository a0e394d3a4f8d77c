//! The exact totals and what follows from them, as `load.rs` keeps them: rates over two windows and
//! the share of late answers.

use std::{collections::VecDeque, time::Duration};

use super::clock::{Micros, micros, seconds};
use crate::decide::{FAST_WINDOW, LATEST_WINDOW, SLOW_WINDOW};

/// As in `load.rs`: samples are at least this far apart.
const SAMPLE_PERIOD: Micros = 250_000;

#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Totals {
    pub(super) arrived: u64,
    pub(super) completed: u64,
    pub(super) late: u64,
    pub(super) visible: u64,
    pub(super) in_flight: u64,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    samples: VecDeque<(Micros, Totals)>,
    next: Micros,
}

impl Counters {
    pub(super) fn is_due(&self, at: Micros) -> bool {
        at >= self.next
    }

    /// A period is over; `before` are the totals at its end, just before `at`.
    pub(super) fn sample(&mut self, at: Micros, before: Totals) {
        if let Some((_, last)) = self.samples.back_mut() {
            *last = before;
        }
        self.samples.push_back((at, before));
        self.next = at + SAMPLE_PERIOD;
        let keep = micros(SLOW_WINDOW.as_secs_f64());
        while self.samples.get(1).is_some_and(|(second, _)| *second + keep <= at) {
            self.samples.pop_front();
        }
    }

    /// The totals at a moment of the last minute; nothing before the first sample.
    pub(super) fn at(&self, at: Micros) -> Totals {
        let next = self.samples.partition_point(|(then, _)| *then <= at);
        next.checked_sub(1)
            .and_then(|last| self.samples.get(last))
            .map_or_else(Totals::default, |sample| sample.1)
    }
}

/// What one decider knows of the totals: nothing from before it began to listen.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Listener {
    since: Micros,
    base: Totals,
    /// Images a second in the minute before the run.
    history: f64,
}

/// What `load.rs` says.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rates {
    pub(super) latest: f64,
    pub(super) fast: f64,
    pub(super) slow: f64,
    pub(super) late_ratio: f64,
}

impl Listener {
    pub(super) fn from_the_start(history: f64) -> Self {
        Self { history, ..Self::default() }
    }

    pub(super) fn new(since: Micros, base: Totals) -> Self {
        Self { since, base, history: 0.0 }
    }

    pub(super) fn arrived(&self, now: Totals) -> u64 {
        now.arrived - self.base.arrived
    }

    pub(super) fn completed(&self, now: Totals) -> u64 {
        now.completed - self.base.completed
    }

    pub(super) fn late(&self, now: Totals) -> u64 {
        now.late - self.base.late
    }

    pub(super) fn rates(&self, at: Micros, now: Totals, counters: &Counters) -> Rates {
        let rate = |window: Duration| {
            let then = self.before(at, micros(window.as_secs_f64()), counters);
            let earlier = self.history * (window.as_secs_f64() - seconds(at)).max(0.0);
            ((now.arrived - then.arrived) as f64 + earlier) / window.as_secs_f64()
        };
        let then = self.before(at, micros(SLOW_WINDOW.as_secs_f64()), counters);
        let (late, completed) = (now.late - then.late, now.completed - then.completed);
        let late_ratio = if completed == 0 { 0.0 } else { late as f64 / completed as f64 };
        Rates { latest: rate(LATEST_WINDOW), fast: rate(FAST_WINDOW), slow: rate(SLOW_WINDOW), late_ratio }
    }

    fn before(&self, at: Micros, window: Micros, counters: &Counters) -> Totals {
        match at.checked_sub(window) {
            Some(then) if then > self.since => counters.at(then),
            _ => self.base,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two arrive each second for three minutes, half of the answers are late.
    fn counted() -> (Counters, Totals) {
        let (mut counters, mut totals) = (Counters::default(), Totals::default());
        for second in 1..=180 {
            let at = micros(f64::from(second));
            if counters.is_due(at) {
                counters.sample(at, totals);
            }
            totals = Totals {
                arrived: totals.arrived + 2,
                completed: totals.completed + 2,
                late: totals.late + 1,
                ..totals
            };
        }
        (counters, totals)
    }

    #[test]
    fn steady_arrivals_have_one_rate_in_all_windows() {
        let (counters, totals) = counted();
        let Rates { latest, fast, slow, late_ratio } =
            Listener::default().rates(micros(180.0), totals, &counters);
        assert_eq!((latest, fast, slow, late_ratio), (2.0, 2.0, 2.0, 0.5));
    }

    #[test]
    fn who_listens_only_now_counts_from_now() {
        let (counters, totals) = counted();
        let rates = Listener::new(micros(180.0), totals).rates(micros(180.0), totals, &counters);
        assert_eq!((rates.fast, rates.slow, rates.late_ratio), (0.0, 0.0, 0.0));
    }

    #[test]
    fn minute_before_the_run_counts_where_there_was_one() {
        let listener = Listener::from_the_start(6.0);
        let rates = listener.rates(micros(30.0), Totals::default(), &Counters::default());
        assert_eq!((rates.fast, rates.slow), (0.0, 3.0));
    }
}
