//! The `latency` rule: as few instances as answer nearly all images within the target. It is the
//! most of three: what keeps coming, what waits by its deadline, and what the last minutes taught
//! to keep.

mod deadline;
mod steady;

use super::{
    Basis,
    policy::Latency,
    surge::{Change, change},
    terms::{Term, round_up},
};

pub(super) const STEADY: &str = "steady";
pub(super) const CLEAR: &str = "clear";

pub(super) fn terms(basis: Basis<'_>, rule: &Latency) -> Vec<Term> {
    let pace = Pace::of(basis, rule);
    vec![
        steady::term(basis, rule, &pace),
        deadline::term(basis, &pace),
        deadline::clear(basis, &pace),
        reserve(basis),
    ]
}

fn reserve(basis: Basis<'_>) -> Term {
    let recalled = basis.recalled;
    // To the nearest: a little of what was needed is no reason to keep a whole one.
    let instances = round_up(recalled.reserve - 0.5);
    let (share, seconds) = (recalled.reserve_quantile * 100.0, recalled.reserve_window.as_secs_f64());
    let formula =
        format!("{share:.0} % of the last {seconds:.0} s needed {:.1} = {instances}", recalled.reserve);
    Term { name: "reserve", instances, formula }
}

/// The numbers that the terms share, in seconds and images a second.
#[derive(Debug, Clone, Copy)]
struct Pace {
    /// Until a new image must be answered.
    target: f64,
    service_mean: f64,
    service_p95: f64,
    /// Images a second of one instance.
    rate: f64,
    boot_warm: f64,
    boot_cold: f64,
    /// Arrivals: over the last minute, over the last seconds, and as expected a boot from now.
    slow: f64,
    fast: f64,
    expected: f64,
    /// How much longer the fast rate is expected; `None` where there is no surge.
    surge_left: Option<f64>,
}

impl Pace {
    fn of(basis: Basis<'_>, rule: &Latency) -> Self {
        let Basis { seen, recalled, .. } = basis;
        let service_mean = seen.service.mean.as_secs_f64().max(1e-6);
        let mut pace = Self {
            target: rule.target.as_secs_f64(),
            service_mean,
            service_p95: seen.service.p95.as_secs_f64().max(service_mean),
            rate: seen.service.rate(),
            boot_warm: seen.boot.warm.as_secs_f64(),
            boot_cold: seen.boot.cold.max(seen.boot.warm).as_secs_f64(),
            slow: seen.arrivals.slow,
            fast: seen.arrivals.fast,
            expected: recalled.level.unwrap_or(seen.arrivals.slow),
            surge_left: None,
        };
        match change(&seen.arrivals) {
            Change::None => {}
            Change::Down => pace.expected = pace.fast,
            // Of a surge only the share counts that will still be there when a new instance is.
            Change::Up(rate) => {
                (pace.expected, pace.fast) = (pace.slow, rate);
                let left = recalled.surge_left.unwrap_or_default().as_secs_f64();
                pace.surge_left = Some(left);
                let share = (left / pace.boot_warm.max(1e-3)).min(1.0);
                pace.expected += (pace.fast - pace.slow) * share;
            }
        }
        pace.expected += recalled.slope * pace.boot_warm;
        pace
    }

    /// Images that should arrive within `seconds` from now.
    fn arriving(&self, seconds: f64) -> f64 {
        match self.surge_left {
            Some(left) => self.fast * seconds.min(left) + self.slow * (seconds - left).max(0.0),
            None => self.expected * seconds,
        }
    }
}
