//! What a scenario is made of: what arrives, what a worker and a machine can do, and what goes wrong.

use super::arrivals::Arrivals;

/// Times are in seconds.
#[derive(Debug, Clone)]
pub struct Scenario {
    pub name: String,
    /// One sentence for the report.
    pub about: String,
    pub max_instances: u32,
    pub min_instances: u32,
    /// Stopped instances at the start, and the most that are kept.
    pub stopped_pool: u32,
    /// Ready at the start, their first minute long paid.
    pub initially_ready: u32,
    pub boot: BootModel,
    /// From the stop call until it can be started again.
    pub stop: f64,
    /// The least that is paid for each start.
    pub billed_min: f64,
    /// An answer after this is late.
    pub target: f64,
    pub service: ServiceModel,
    pub arrivals: Arrivals,
    /// Images a second in the minute before the start.
    pub history: f64,
    /// `None`: start calls are never refused.
    pub budget: Option<Budget>,
    pub faults: Vec<Fault>,
    /// How long it may take to stop everything once the last image was answered.
    pub tail: f64,
    /// Of one instance, US dollars.
    pub price_per_hour: f64,
    /// How many seeds a table should run.
    pub seeds: u64,
}

/// How long a start takes until the worker takes images.
#[derive(Debug, Clone, Copy)]
pub struct BootModel {
    /// Of a stopped instance.
    pub warm: f64,
    /// Of a new one.
    pub cold: f64,
    /// Deviation of the logarithm; 0: always the same. Never under half the time.
    pub jitter: f64,
}

/// How long an image keeps one slot of a worker busy.
#[derive(Debug, Clone, Copy)]
pub struct ServiceModel {
    pub mean: f64,
    /// Coefficient of variation; 0: always the same.
    pub variation: f64,
    /// Images one worker works on at once.
    pub slots: u32,
    /// How much longer each takes for every other one in the same worker: 0.1 is 10 %.
    pub slowdown: f64,
    /// Taken for the mean until one was measured.
    pub prior: f64,
}

/// A bucket of start calls that fills again: EC2's is 1,000 and 2 a second.
#[derive(Debug, Clone, Copy)]
pub struct Budget {
    pub burst: f64,
    pub per_second: f64,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Fault {
    /// This share of the starts and launches fails at once.
    CapacityMissing { from: f64, until: f64, share: f64 },
    /// This share of the instances is told within `within` that it has to be gone after `notice`.
    SpotNotice { at: f64, within: f64, share: f64, notice: f64 },
    /// Nobody decides for a while, and who comes back remembers nothing but its last snapshot.
    Restart { at: f64, down_for: f64, snapshot: bool },
    /// Two decide, each with its own memory.
    SplitBrain { from: f64, until: f64 },
    /// The counts stay as they were at `from`, and say so.
    StaleCounts { from: f64, until: f64 },
    /// The counts are a queue's own estimates: old by `lag`, wrong by a factor with this deviation.
    ApproximateCounts { lag: f64, noise: f64 },
    /// This share of the boots never gets to a worker.
    BootFailure { share: f64 },
}

impl Scenario {
    /// What the trial has: a stopped pool of 20, 40 s to boot from it and 90 s anew, 15 s to stop, a
    /// minute paid at least, 3 s an image.
    pub fn new(name: &str, about: &str, arrivals: Arrivals) -> Self {
        Self {
            name: name.to_owned(),
            about: about.to_owned(),
            max_instances: 20,
            min_instances: 0,
            stopped_pool: 20,
            initially_ready: 0,
            boot: BootModel { warm: 40.0, cold: 90.0, jitter: 0.0 },
            stop: 15.0,
            billed_min: 60.0,
            target: 60.0,
            service: ServiceModel { mean: 3.0, variation: 0.25, slots: 1, slowdown: 0.0, prior: 3.0 },
            arrivals,
            history: 0.0,
            budget: None,
            faults: Vec::new(),
            tail: 1800.0,
            price_per_hour: PRICE_PER_HOUR,
            seeds: 20,
        }
    }

    pub(super) fn fault_share(&self, share: impl Fn(&Fault) -> Option<f64>) -> f64 {
        self.faults.iter().filter_map(share).fold(0.0, f64::max)
    }
}

/// On demand, a c5.large in us-east-1: a two-core machine such as a worker runs on.
const PRICE_PER_HOUR: f64 = 0.085;
