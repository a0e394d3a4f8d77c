//! How much to keep for what comes back: experts that each remember in another way, judged by what
//! was really asked for.

use std::{collections::VecDeque, time::Duration};

use serde::{Deserialize, Serialize};

use super::{
    history::{BUCKET, BUCKETS, History},
    observation::Observation,
    policy::Latency,
};

/// An expert keeps what a share of the last buckets needed at most: of ten seconds to twenty minutes.
const WINDOWS: [u32; 6] = [1, 6, 12, 30, 60, 120];
const QUANTILES: [f64; 3] = [1.0, 0.9, 0.7];
const EXPERTS: usize = WINDOWS.len() * QUANTILES.len();

/// What an expert did counts half after this long.
const HALF_LIFE: f64 = 1800.0;

/// Arrivals of so many buckets are looked at for what they would have needed.
const DEMAND_BUCKETS: usize = 12;

/// Advice is kept for longer than any boot takes: ten minutes.
const ADVICE_KEPT: usize = 60;

/// Another expert takes over only if it was so much better: they are alike most of the time.
const BETTER: f64 = 0.97;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Reserve {
    /// What each bucket needed, the newest last.
    demands: VecDeque<f64>,
    scores: Vec<Score>,
    /// The expert that is listened to.
    current: usize,
    /// The price of an instance-second that was missing, in instance-seconds of idling.
    price: Option<f64>,
    /// When the price was last looked at, with the totals then.
    priced: Option<(Duration, u64, u64)>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Score {
    /// Instance-seconds, fading.
    idle: f64,
    missing: f64,
    /// What it advised after each bucket, the newest last.
    advised: VecDeque<f64>,
}

#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Advice {
    pub instances: f64,
    pub window: Duration,
    pub quantile: f64,
}

impl Default for Reserve {
    fn default() -> Self {
        Self {
            demands: VecDeque::new(),
            scores: vec![Score::default(); EXPERTS],
            current: 0,
            price: None,
            priced: None,
        }
    }
}

impl Reserve {
    /// A bucket has ended that needed so many instances.
    pub(super) fn learn(&mut self, demand: f64, boot: Duration) {
        if self.demands.len() == BUCKETS {
            self.demands.pop_front();
        }
        self.demands.push_back(demand);
        let bucket = BUCKET.as_secs_f64();
        let boot = whole((boot.as_secs_f64() / bucket).ceil()).max(1);
        let fade = 0.5_f64.powf(bucket / HALF_LIFE);
        for (window, scores) in WINDOWS.iter().zip(self.scores.chunks_mut(QUANTILES.len())) {
            let mut sorted: Vec<_> = self.demands.iter().rev().take(*window as usize).copied().collect();
            sorted.sort_unstable_by(f64::total_cmp);
            for (quantile, score) in QUANTILES.iter().zip(scores) {
                let rank = whole((quantile * sorted.len() as f64).ceil()).saturating_sub(1);
                let advice = sorted.get(rank).copied().unwrap_or(demand);
                // What it advised a boot ago, and since, would be there now.
                let there = if score.advised.len() < boot {
                    0.0
                } else {
                    score.advised.iter().rev().take(boot).copied().fold(f64::INFINITY, f64::min)
                };
                score.idle = score.idle * fade + (advice.max(there) - demand).max(0.0) * bucket;
                score.missing = score.missing * fade + (demand - there).max(0.0) * bucket;
                if score.advised.len() == ADVICE_KEPT {
                    score.advised.pop_front();
                }
                score.advised.push_back(advice);
            }
        }
    }

    /// Late answers make what is missing dearer; none make it cheaper, slowly. Then the cheapest expert is listened to.
    pub(super) fn price(&mut self, observation: &Observation, rule: &Latency) {
        /// Looked at so often, which is a minute's answers.
        const PERIOD: Duration = Duration::from_secs(60);
        const PRICE_MAX: f64 = 50.0;
        let (at, arrivals) = (observation.at, &observation.arrivals);
        let first = first_price(observation, rule);
        let price = *self.price.get_or_insert(first);
        let (then, completed, late) = *self.priced.get_or_insert((at, arrivals.completed, arrivals.late));
        if at.saturating_sub(then) >= PERIOD {
            self.priced = Some((at, arrivals.completed, arrivals.late));
            let (answered, late) =
                (arrivals.completed.saturating_sub(completed), arrivals.late.saturating_sub(late));
            if answered > 0 {
                let over = late as f64 / answered as f64 - (1.0 - rule.quantile);
                let change = if over > 0.0 { 1.0 + 2.0 * (over / 0.25).min(1.0) } else { 0.97 };
                self.price = Some((price * change).clamp(first / 2.0, PRICE_MAX));
            }
        }
        let price = self.price.unwrap_or(first);
        let costs: Vec<_> = self.scores.iter().map(|score| score.idle + price * score.missing).collect();
        let best = (0..EXPERTS).min_by(|one, other| costs[*one].total_cmp(&costs[*other])).unwrap_or(0);
        let cost = |expert: usize| costs.get(expert).copied().unwrap_or(f64::INFINITY);
        if cost(best) < BETTER * cost(self.current) {
            self.current = best;
        }
    }

    pub(super) fn advice(&self) -> Advice {
        let (window, quantile) = (self.current / QUANTILES.len(), self.current % QUANTILES.len());
        let advised = self.scores.get(self.current).and_then(|score| score.advised.back());
        Advice {
            instances: advised.copied().unwrap_or(0.0),
            window: BUCKET * WINDOWS.get(window).copied().unwrap_or(1),
            quantile: QUANTILES.get(quantile).copied().unwrap_or(1.0),
        }
    }
}

/// Instances that would have answered in time what had arrived when `newer` buckets were still to come: of all times up to two minutes back, the one that asks for most.
pub(super) fn demand(history: &History, newer: usize, observation: &Observation, rule: &Latency) -> f64 {
    let slack = slack(observation, rule);
    let (mut arrived, mut seconds, mut most) = (0.0, 0.0, 0.0_f64);
    for count in history.before(newer).take(DEMAND_BUCKETS) {
        arrived += f64::from(count);
        seconds += BUCKET.as_secs_f64();
        most = most.max(arrived / observation.service.rate() / (seconds + slack));
    }
    most
}

/// How long an image may wait at most.
fn slack(observation: &Observation, rule: &Latency) -> f64 {
    let mean = observation.service.mean.as_secs_f64();
    (rule.target.as_secs_f64() - 1.5 * mean).max(mean)
}

/// What it costs to cover what is missing by instances that start late: they have only the slack less their boot.
fn first_price(observation: &Observation, rule: &Latency) -> f64 {
    const PRICE_MAX: f64 = 6.0;
    let slack = slack(observation, rule);
    (slack / (slack - observation.boot.warm.as_secs_f64()).max(0.15 * slack)).min(PRICE_MAX)
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "`as` saturates, and NaN becomes 0"
)]
fn whole(number: f64) -> usize {
    number as usize
}
