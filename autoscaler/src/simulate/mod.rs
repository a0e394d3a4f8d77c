//! A discrete-event simulator: the same `decide`, and other autoscalers' formulas, on a model of the
//! machines, their boots, their bill and what goes wrong. No clock, no I/O; a run depends on nothing
//! but its scenario, its player and its seed.

mod arrivals;
mod bound;
mod clock;
mod contender;
mod counters;
mod engine;
pub mod figures;
mod fleet;
mod frontier;
mod losses;
mod ours;
mod outcome;
mod random;
pub mod report;
pub mod rivals;
mod scenario;
mod scenarios;
mod sight;
mod study;
mod tally;
#[cfg(test)]
mod tests;
mod theirs;
mod timeline;
mod troubles;
mod what_if;
mod work;
mod world;

use std::ops::ControlFlow;

use crate::decide::{Decision, Observation, Policy};
pub use arrivals::{Arrivals, Rate};
pub use bound::{Bound, clairvoyant};
pub use clock::EPOCH;
pub use contender::{Contender, HOLD_MAX, OURS, QUANTILE, policy};
pub use frontier::{Comparison, Extent, compare};
pub use outcome::{Estimate, Outcome, Sample, Summary, summary};
pub use scenario::{BootModel, Budget, Fault, Scenario, ServiceModel};
pub use scenarios::{find, scenarios};
pub use study::{Progress, Row};
pub use what_if::{Shape, recorded, shape};

/// Who scales.
pub enum Player {
    Ours(Policy),
    Rival(Box<dyn Rival>),
}

/// Another autoscaler's formula, asked at its own ticks with what it would see.
pub trait Rival: Send {
    fn name(&self) -> &str;
    fn manner(&self) -> Manner;
    /// How many instances there should be, ready and starting; `None`: leave it as it is.
    fn want(&mut self, seen: &Seen) -> Option<u32>;
}

/// What a rival sees. Times are in seconds.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Seen {
    pub at: f64,
    /// As old as the manner's `counts_lag`, like `in_flight`.
    pub visible: u64,
    pub in_flight: u64,
    pub ready: u32,
    pub starting: u32,
    pub draining: u32,
    pub stopped: u32,
    pub max: u32,
    pub min: u32,
}

/// How a rival goes about it. Times are in seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Manner {
    pub tick: f64,
    /// Whether the first tick is at a random moment of the first period, and not at once.
    pub random_phase: bool,
    pub victims: Victims,
    /// Whether it takes back what it told to drain before it starts another.
    pub undrain: bool,
    /// Workers that have been idle for so long stop themselves.
    pub idle_stop: Option<f64>,
    /// How old the counts are that it decides from: 3 s for those that poll a queue's attributes.
    pub counts_lag: f64,
    /// Whether it is told at once when something arrives while nothing is ready or starting.
    pub push_on_empty: bool,
}

/// Which instances go when there are too many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Victims {
    /// Those whose first minute is over: the longest idle first, then the oldest, which finish.
    IdleFirst,
    /// Kubernetes: the newest that are not ready, then any; a busy one finishes.
    NotReadyFirst,
    /// Any that is ready; a busy one finishes.
    Any,
    /// Any that is ready; what it holds is lost and comes back after the visibility timeout.
    Kill,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RunOptions {
    /// Whether the outcome has a timeline.
    pub timeline: bool,
}

/// One run from the first arrival until everything is stopped.
pub fn run(scenario: &Scenario, player: Player, seed: u64, options: RunOptions) -> Outcome {
    engine::Engine::new(scenario, player, seed, options).run()
}

/// Is shown each decision of ours and what it was made from; a break ends the run.
pub type Look<'a> = dyn FnMut(&Decision, &Observation) -> ControlFlow<()> + 'a;

/// One run of ours that somebody looks on; `None` when it was ended before its end.
pub fn run_shown(scenario: &Scenario, policy: Policy, seed: u64, look: &mut Look<'_>) -> Option<Outcome> {
    engine::Engine::new(scenario, Player::Ours(policy), seed, RunOptions::default()).run_shown(look)
}
