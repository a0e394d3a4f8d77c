//! How many images arrived in each ten seconds of the last minutes.

use std::{collections::VecDeque, time::Duration};

use serde::{Deserialize, Serialize};

pub(super) const BUCKET: Duration = Duration::from_secs(10);

/// Buckets of a minute.
const MINUTE: usize = 6;

/// Buckets that are kept: twenty minutes.
pub(super) const BUCKETS: usize = 120;

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct History {
    /// Whole buckets, the newest last.
    buckets: VecDeque<u32>,
    /// Number of the bucket that is being filled, counted from the epoch; and the total when it began.
    open: Option<(u64, u64)>,
}

impl History {
    /// Takes in the total of arrivals at `at`, and says which buckets ended, by how many are newer.
    pub(super) fn see(&mut self, at: Duration, total: u64) -> std::ops::Range<usize> {
        let now = at.as_secs() / BUCKET.as_secs();
        let Some((number, began)) = self.open else {
            self.open = Some((now, total));
            return 0..0;
        };
        // A total that went back is a count that began anew.
        let arrived = u32::try_from(total.saturating_sub(began)).unwrap_or(u32::MAX);
        let ended = usize::try_from(now.saturating_sub(number)).unwrap_or(usize::MAX).min(BUCKETS);
        if ended > 0 {
            // What arrived since the last look counts for the first of them.
            self.buckets.push_back(arrived);
            self.buckets.extend(std::iter::repeat_n(0, ended - 1));
            let surplus = self.buckets.len().saturating_sub(BUCKETS);
            self.buckets.drain(..surplus);
            self.open = Some((now, total));
        } else if total < began {
            self.open = Some((number, total));
        }
        0..ended
    }

    /// The last whole buckets as they were before the newest `without`, the newest first.
    pub(super) fn before(&self, without: usize) -> impl Iterator<Item = u32> {
        self.buckets.iter().rev().skip(without).copied()
    }

    /// Arrivals a second over the longest time that does not differ from the last minute by more than
    /// chance explains: the longer, the less it varies. `None` where not even two minutes are alike.
    pub(super) fn level(&self) -> Option<f64> {
        /// Up to ten minutes.
        const WINDOWS: [usize; 7] = [12, 18, 24, 30, 42, 54, 60];
        const DEVIATIONS: f64 = 1.5;
        let rate = |skip: usize, length: usize| -> f64 {
            let arrived: u64 = self.before(skip).take(length).map(u64::from).sum();
            arrived as f64 / (length as f64 * BUCKET.as_secs_f64())
        };
        let last = rate(0, MINUTE);
        let known = WINDOWS.iter().take_while(|window| **window <= self.buckets.len());
        let alike = known.map_while(|window| {
            let (older, whole) = (rate(MINUTE, window - MINUTE), rate(0, *window));
            let spread = |length: usize| whole / (length as f64 * BUCKET.as_secs_f64());
            let deviation = (spread(MINUTE) + spread(window - MINUTE)).sqrt();
            ((last - older).abs() <= DEVIATIONS * deviation).then_some(whole)
        });
        alike.last()
    }

    /// Growth of the arrivals a second, each second: only what lasted three minutes and is more than chance.
    pub(super) fn slope(&self) -> f64 {
        let minute = |ago: usize| -> f64 {
            self.buckets.iter().rev().skip(ago * MINUTE).take(MINUTE).map(|count| f64::from(*count)).sum()
        };
        if self.buckets.len() < 3 * MINUTE {
            return 0.0;
        }
        let (last, middle, first) = (minute(0), minute(1), minute(2));
        if last - first <= 2.0 * (last + first + 1.0).sqrt() {
            return 0.0;
        }
        (last - middle).min(middle - first).max(0.0) / 3600.0
    }
}
