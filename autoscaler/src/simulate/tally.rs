//! What one run adds up to while it goes on.

use super::clock::{Micros, micros, seconds};

/// Answers that the measured service time comes from: as many as workers report together in some seconds.
const RECENT: usize = 200;

#[derive(Debug)]
pub(super) struct Tally {
    /// An answer after this is late in the outcome.
    target: Micros,
    /// The same for whoever decides: a policy may have a target of its own.
    pub(super) policy_target: Micros,
    pub(super) late_for_policy: u64,
    /// From the arrival to the answer, in seconds, in the order of the answers.
    pub(super) latencies: Vec<f32>,
    pub(super) late: u64,
    /// Worked, by one slot alone.
    pub(super) worked: Micros,
    recent: Vec<f32>,
    next_recent: usize,
    pub(super) billed: Micros,
    pub(super) starts: u64,
    pub(super) cold_starts: u64,
    pub(super) stops: u64,
    /// Times that the wanted number of instances changed the fleet.
    pub(super) actions: u64,
    pub(super) calls: u64,
    pub(super) throttled: u64,
    /// Starts that the cloud had no capacity for.
    pub(super) refused: u64,
    pub(super) interrupted: u64,
    pub(super) requeued: u64,
    pub(super) peak: u32,
}

impl Tally {
    pub(super) fn new(target: f64) -> Self {
        Self {
            target: micros(target),
            policy_target: micros(target),
            late_for_policy: 0,
            latencies: Vec::new(),
            late: 0,
            worked: 0,
            recent: Vec::with_capacity(RECENT),
            next_recent: 0,
            billed: 0,
            starts: 0,
            cold_starts: 0,
            stops: 0,
            actions: 0,
            calls: 0,
            throttled: 0,
            refused: 0,
            interrupted: 0,
            requeued: 0,
            peak: 0,
        }
    }

    pub(super) fn answer(&mut self, latency: Micros, service: Micros, took: Micros) {
        self.latencies.push(short(latency));
        self.late += u64::from(latency > self.target);
        self.late_for_policy += u64::from(latency > self.policy_target);
        self.worked += service;
        let took = short(took);
        match self.recent.get_mut(self.next_recent) {
            Some(oldest) => *oldest = took,
            None => self.recent.push(took),
        }
        self.next_recent = (self.next_recent + 1) % RECENT;
    }

    pub(super) fn completed(&self) -> u64 {
        self.latencies.len() as u64
    }

    /// Mean and 95th percentile of the last service times, in seconds.
    pub(super) fn service(&self) -> Option<(f64, f64)> {
        let mut sorted = self.recent.clone();
        let mean = sorted.iter().copied().map(f64::from).sum::<f64>() / sorted.len() as f64;
        (!sorted.is_empty()).then(|| (mean, quantile(&mut sorted, 0.95)))
    }
}

/// In seconds. Seven digits are enough for what is only compared and added up.
#[allow(clippy::cast_possible_truncation, reason = "meant")]
fn short(time: Micros) -> f32 {
    seconds(time) as f32
}

/// The smallest number that at least this share of the numbers is not over; changes their order.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a length")]
pub(super) fn quantile(numbers: &mut [f32], share: f64) -> f64 {
    let Some(last) = numbers.len().checked_sub(1) else { return 0.0 };
    let rank = ((share * numbers.len() as f64).ceil() as usize).saturating_sub(1).min(last);
    f64::from(*numbers.select_nth_unstable_by(rank, f32::total_cmp).1)
}
