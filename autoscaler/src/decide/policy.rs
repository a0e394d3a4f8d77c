//! What a person asked for: the rule, and the limits it works within.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::observation::Boot;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Policy {
    pub rule: Rule,
    pub min_instances: u32,
    pub max_instances: u32,
    /// Scale-in: the largest need of this long counts. `None`: the rule's own.
    pub hold: Option<Duration>,
    /// The last instance stays this long after the last image (`latency` and `backlog`).
    pub keep: Duration,
    /// Counts older than this may raise the number of instances and never lower it.
    pub stale_after: Duration,
    /// Times at which there are never fewer than so many.
    pub floors: Vec<Floor>,
    /// +1 with each change.
    pub version: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Rule {
    Step(Step),
    Backlog(Backlog),
    Latency(Latency),
    Fixed(Fixed),
}

/// One instance for so many messages, rounded up: the course report's rule (8 -> 2, 16 -> 4).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Step {
    pub messages_per_instance: u32,
    /// Whether the images that workers hold count too. Not in the report.
    pub count_in_flight: bool,
}

/// As many instances as keep the images in the system at the target for each.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Backlog {
    pub target_per_instance: f64,
}

/// As few instances as answer `quantile` of the images within `target`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    pub target: Duration,
    pub quantile: f64,
    pub hold_max: Duration,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Fixed {
    pub instances: u32,
}

/// Each week at these times, at least so many instances are ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Floor {
    pub days: Days,
    /// Since midnight, UTC.
    pub from: Duration,
    /// May reach into the next day.
    pub length: Duration,
    pub instances: u32,
}

/// Days of the week: bit 0 is Monday.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Days(pub u8);

const DAY: Duration = Duration::from_secs(86_400);

impl Days {
    pub const ALL: Self = Self(0b111_1111);

    fn has(self, day: u64) -> bool {
        self.0 >> (day % 7) & 1 == 1
    }
}

impl Floor {
    /// Whether it holds at a time since the Unix epoch.
    pub fn holds(&self, at: Duration) -> bool {
        /// The epoch was a Thursday.
        const FIRST_DAY: u64 = 3;
        let today = at.as_secs() / DAY.as_secs();
        // Yesterday's may last until today; longer than a day none is.
        (0..=1).any(|ago| {
            let Some(day) = today.checked_sub(ago) else { return false };
            let from = DAY * u32::try_from(day).unwrap_or(u32::MAX) + self.from;
            self.days.has(day + FIRST_DAY) && from <= at && at < from + self.length
        })
    }
}

/// In the simulator less costs no time and more only hours: the README of the autoscaler has the figures.
const HELD_OF_A_BOOT: f64 = 0.3;

/// A hold shorter than this lets every gap in the arrivals stop and start workers.
const HOLD_MIN: Duration = Duration::from_secs(10);

impl Policy {
    pub fn hold(&self, boot: &Boot) -> Duration {
        self.hold.unwrap_or(match &self.rule {
            // The report's rule follows the count down at once, and a fixed number has no reason to wait.
            Rule::Step(_) | Rule::Fixed(_) => Duration::ZERO,
            Rule::Backlog(_) => boot.warm.max(HOLD_MIN),
            // What was given up too early costs a boot to have back; held for less it costs less.
            Rule::Latency(latency) => boot.warm.mul_f64(HELD_OF_A_BOOT).max(HOLD_MIN).min(latency.hold_max),
        })
    }

    /// How long what keeps coming is held for, as long as no less comes: a boot. It varies by chance.
    pub fn steady_hold(&self, boot: &Boot) -> Duration {
        match &self.rule {
            Rule::Latency(latency) => self.hold.unwrap_or(boot.warm.max(HOLD_MIN).min(latency.hold_max)),
            Rule::Step(_) | Rule::Fixed(_) | Rule::Backlog(_) => Duration::ZERO,
        }
    }

    /// Whether the answer depends on what is in the queue.
    pub fn reads_queue(&self) -> bool {
        !matches!(self.rule, Rule::Fixed(_))
    }

    /// Whether it makes use of how the load went before.
    pub(super) fn reads_load(&self) -> bool {
        matches!(self.rule, Rule::Backlog(_) | Rule::Latency(_))
    }

    pub fn name(&self) -> &'static str {
        match self.rule {
            Rule::Step(_) => "step",
            Rule::Backlog(_) => "backlog",
            Rule::Latency(_) => "latency",
            Rule::Fixed(_) => "fixed",
        }
    }

    /// What is wrong with it, as field and sentence; empty when it can be used.
    pub fn problems(&self) -> Vec<(&'static str, String)> {
        let mut problems = Vec::new();
        let mut check = |fine: bool, field, sentence: &str| {
            if !fine {
                problems.push((field, sentence.to_owned()));
            }
        };
        check(
            self.min_instances <= self.max_instances,
            "min_instances",
            &format!("{} is over max_instances, {}", self.min_instances, self.max_instances),
        );
        for floor in &self.floors {
            check(
                floor.instances <= self.max_instances,
                "floors.instances",
                &format!("{} is over max_instances, {}", floor.instances, self.max_instances),
            );
            check(floor.from < DAY, "floors.from", "must be under 24 hours");
            check(
                !floor.length.is_zero() && floor.length <= DAY,
                "floors.length",
                "must be over 0, at most 24 hours",
            );
            check(floor.days.0 & Days::ALL.0 != 0, "floors.days", "must name a day");
        }
        match &self.rule {
            Rule::Step(step) => {
                check(step.messages_per_instance > 0, "step.messages_per_instance", "must be at least 1");
            }
            Rule::Backlog(backlog) => check(
                backlog.target_per_instance.is_finite() && backlog.target_per_instance > 0.0,
                "backlog.target_per_instance",
                "must be over 0",
            ),
            Rule::Latency(latency) => {
                check(latency.target > Duration::ZERO, "latency.target", "must be over 0");
                check(
                    latency.quantile > 0.0 && latency.quantile < 1.0,
                    "latency.quantile",
                    "must be between 0 and 1",
                );
            }
            Rule::Fixed(fixed) => check(
                fixed.instances <= self.max_instances,
                "fixed.instances",
                &format!("{} is over max_instances, {}", fixed.instances, self.max_instances),
            ),
        }
        problems
    }
}
