//! What comes out of one run, and of several.

use super::{
    clock::seconds,
    tally::{Tally, quantile},
    world::World,
};

/// Times are in seconds.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Outcome {
    pub requests: u64,
    /// The same number, or images were lost.
    pub answered: u64,
    pub p50: f64,
    pub p95: f64,
    pub p99: f64,
    pub max: f64,
    pub mean: f64,
    /// Share that was answered after the scenario's target.
    pub late_ratio: f64,
    /// Paid for.
    pub instance_hours: f64,
    /// What the work itself took.
    pub work_hours: f64,
    pub wasted_hours: f64,
    pub cost_usd: f64,
    pub starts: u64,
    pub cold_starts: u64,
    pub stops: u64,
    /// Times that the fleet was changed.
    pub actions: u64,
    /// Start calls, one for each instance, and those that the account's budget refused.
    pub calls: u64,
    pub throttled: u64,
    /// Start calls that the cloud had no capacity for.
    pub refused: u64,
    /// Images whose worker was stopped under them.
    pub interrupted: u64,
    /// Images that a worker gave back before its machine was taken away.
    pub requeued: u64,
    /// The most that were paid for at once.
    pub peak: u32,
    /// Mean distance between the p95 that was predicted and the one that came; 0 for rivals.
    pub prediction_error: f64,
    pub timeline: Option<Vec<Sample>>,
}

/// One moment of a run.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Sample {
    pub at: f64,
    /// Waiting or being worked on.
    pub queue: u64,
    pub want: u32,
    pub ready: u32,
    pub starting: u32,
    /// Of the answers since the last sample; 0 when there were none.
    pub p95: f64,
}

impl Outcome {
    pub(super) fn of(world: &mut World<'_>) -> Self {
        let scenario = world.scenario;
        let requests = world.arrived;
        let tally: &mut Tally = &mut world.tally;
        let answered = tally.completed();
        let share = |count: u64| if answered == 0 { 0.0 } else { count as f64 / answered as f64 };
        let sum: f64 = tally.latencies.iter().copied().map(f64::from).sum();
        let slots = f64::from(scenario.service.slots.max(1));
        let instance_hours = seconds(tally.billed) / 3600.0;
        let work_hours = seconds(tally.worked) / slots / 3600.0;
        let numbers = &mut tally.latencies;
        Self {
            requests,
            answered,
            p50: quantile(numbers, 0.5),
            p95: quantile(numbers, 0.95),
            p99: quantile(numbers, 0.99),
            max: quantile(numbers, 1.0),
            mean: if answered == 0 { 0.0 } else { sum / answered as f64 },
            late_ratio: share(tally.late),
            instance_hours,
            work_hours,
            wasted_hours: (instance_hours - work_hours).max(0.0),
            cost_usd: instance_hours * scenario.price_per_hour,
            starts: tally.starts,
            cold_starts: tally.cold_starts,
            stops: tally.stops,
            actions: tally.actions,
            calls: tally.calls,
            throttled: tally.throttled,
            refused: tally.refused,
            interrupted: tally.interrupted,
            requeued: tally.requeued,
            peak: tally.peak,
            prediction_error: 0.0,
            timeline: None,
        }
    }
}

/// A mean, and how far it may be off: half the width of its 95 % confidence interval.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Estimate {
    pub mean: f64,
    pub half_width: f64,
}

/// The outcomes of several seeds. Times are in seconds.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Summary {
    pub runs: usize,
    pub requests: Estimate,
    pub unanswered: Estimate,
    pub p50: Estimate,
    pub p95: Estimate,
    pub p99: Estimate,
    pub max: Estimate,
    pub mean: Estimate,
    pub late_ratio: Estimate,
    pub instance_hours: Estimate,
    pub work_hours: Estimate,
    pub wasted_hours: Estimate,
    pub cost_usd: Estimate,
    pub starts: Estimate,
    pub cold_starts: Estimate,
    pub actions: Estimate,
    pub calls: Estimate,
    pub throttled: Estimate,
    pub interrupted: Estimate,
    pub peak: Estimate,
    pub prediction_error: Estimate,
}

pub fn summary(outcomes: &[Outcome]) -> Summary {
    let of = |number: fn(&Outcome) -> f64| estimate(&outcomes.iter().map(number).collect::<Vec<_>>());
    Summary {
        runs: outcomes.len(),
        requests: of(|outcome| outcome.requests as f64),
        unanswered: of(|outcome| (outcome.requests - outcome.answered) as f64),
        p50: of(|outcome| outcome.p50),
        p95: of(|outcome| outcome.p95),
        p99: of(|outcome| outcome.p99),
        max: of(|outcome| outcome.max),
        mean: of(|outcome| outcome.mean),
        late_ratio: of(|outcome| outcome.late_ratio),
        instance_hours: of(|outcome| outcome.instance_hours),
        work_hours: of(|outcome| outcome.work_hours),
        wasted_hours: of(|outcome| outcome.wasted_hours),
        cost_usd: of(|outcome| outcome.cost_usd),
        starts: of(|outcome| outcome.starts as f64),
        cold_starts: of(|outcome| outcome.cold_starts as f64),
        actions: of(|outcome| outcome.actions as f64),
        calls: of(|outcome| outcome.calls as f64),
        throttled: of(|outcome| outcome.throttled as f64),
        interrupted: of(|outcome| outcome.interrupted as f64),
        peak: of(|outcome| f64::from(outcome.peak)),
        prediction_error: of(|outcome| outcome.prediction_error),
    }
}

fn estimate(numbers: &[f64]) -> Estimate {
    let count = numbers.len() as f64;
    if numbers.is_empty() {
        return Estimate::default();
    }
    let mean = numbers.iter().sum::<f64>() / count;
    let squares: f64 = numbers.iter().map(|number| (number - mean).powi(2)).sum();
    if numbers.len() < 2 {
        return Estimate { mean, half_width: 0.0 };
    }
    let deviation = (squares / (count - 1.0)).sqrt();
    Estimate { mean, half_width: student(numbers.len() - 1) * deviation / count.sqrt() }
}

/// Student's t for 95 %, two-sided. Between the tabulated degrees of freedom the wider one is taken.
fn student(freedom: usize) -> f64 {
    const TABLE: [(usize, f64); 16] = [
        (1, 12.706),
        (2, 4.303),
        (3, 3.182),
        (4, 2.776),
        (5, 2.571),
        (6, 2.447),
        (7, 2.365),
        (8, 2.306),
        (9, 2.262),
        (11, 2.201),
        (14, 2.145),
        (19, 2.093),
        (24, 2.064),
        (29, 2.045),
        (39, 2.023),
        (59, 2.001),
    ];
    TABLE.iter().rev().find(|(known, _)| *known <= freedom).map_or(f64::INFINITY, |(_, value)| *value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interval_is_students() {
        let Estimate { mean, half_width } = estimate(&[1.0, 2.0, 3.0, 4.0, 5.0]);
        assert_eq!(mean, 3.0);
        // t of 4 degrees of freedom, times the deviation over the root of five.
        assert!((half_width - 2.776 * 2.5_f64.sqrt() / 5.0_f64.sqrt()).abs() < 1e-9, "{half_width}");
        assert_eq!(estimate(&[7.0]), Estimate { mean: 7.0, half_width: 0.0 });
        assert_eq!(estimate(&[]), Estimate::default());
    }
}
