//! Latencies counted in buckets that all services share, so that counts of many processes can be added up and a quantile
//! read from the sum.
//!
//! The bounds are 1,024 us, and from there on each doubling in eight equal steps, up to 4,295 s: no bucket is wider than an
//! eighth of where it begins. Bucket 0 is all that is shorter, the last one all that is longer.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// Steps in each doubling.
const STEPS: u64 = 8;
const STEP_BITS: u32 = STEPS.trailing_zeros();

/// The first bound is 2^10 us, the last 2^32 us: over an hour, and no caller waits longer.
const FIRST_BITS: u32 = 10;
const DOUBLINGS: usize = 22;

pub const BUCKETS: usize = DOUBLINGS * 8 + 2;

/// The bucket that a latency belongs to.
pub fn bucket(latency: Duration) -> usize {
    let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
    let Some(bits) = micros.checked_ilog2().filter(|bits| *bits >= FIRST_BITS) else { return 0 };
    // The three bits after the highest say which eighth of its doubling it is in.
    let step = (micros >> (bits - STEP_BITS)) & (STEPS - 1);
    let bucket = u64::from(bits - FIRST_BITS) * STEPS + step + 1;
    usize::try_from(bucket).unwrap_or(usize::MAX).min(BUCKETS - 1)
}

/// Where a bucket begins. It ends where the next one begins; the last has no end.
pub fn begin(bucket: usize) -> Duration {
    let Some(place) = bucket.min(BUCKETS - 1).checked_sub(1) else { return Duration::ZERO };
    let (doubling, step) = (place / 8, place as u64 % 8);
    Duration::from_micros((8 + step) << doubling << (FIRST_BITS - STEP_BITS))
}

/// Totals since the start, by bucket. Adding one costs one atomic operation.
#[derive(Debug)]
pub struct Counters([AtomicU64; BUCKETS]);

impl Default for Counters {
    fn default() -> Self {
        Self([const { AtomicU64::new(0) }; BUCKETS])
    }
}

impl Counters {
    pub fn add(&self, latency: Duration) {
        if let Some(counter) = self.0.get(bucket(latency)) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The buckets that are not empty, and how many are in each.
    pub fn totals(&self) -> Vec<(usize, u64)> {
        let read = self.0.iter().map(|counter| counter.load(Ordering::Relaxed)).enumerate();
        read.filter(|(_, count)| *count > 0).collect()
    }
}

/// What `quantile` of the counted ones were not longer than, read on a straight line within its bucket. `counts` are in the
/// order of the buckets; `None` when there are none.
pub fn quantile(counts: impl Iterator<Item = (usize, u64)> + Clone, quantile: f64) -> Option<Duration> {
    let total: u64 = counts.clone().map(|(_, count)| count).sum();
    let rank = quantile * total as f64;
    let mut below = 0;
    let mut longest = None;
    for (bucket, count) in counts.filter(|(_, count)| *count > 0) {
        let from = begin(bucket);
        let to = if bucket + 1 < BUCKETS { begin(bucket + 1) } else { from };
        if (below + count) as f64 >= rank {
            let share = ((rank - below as f64) / count as f64).clamp(0.0, 1.0);
            return Some(from + (to - from).mul_f64(share));
        }
        below += count;
        longest = Some(to);
    }
    longest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_meet_without_gaps_and_none_is_wider_than_an_eighth() {
        for bucket in 1..BUCKETS {
            assert_eq!(super::bucket(begin(bucket)), bucket);
            assert_eq!(super::bucket(begin(bucket) - Duration::from_nanos(1)), bucket - 1);
        }
        for bucket in 1..BUCKETS - 1 {
            let width = begin(bucket + 1) - begin(bucket);
            assert!(width <= begin(bucket) / 8, "{bucket}");
        }
        assert_eq!((begin(0), super::bucket(Duration::ZERO)), (Duration::ZERO, 0));
        assert_eq!(begin(BUCKETS - 1), Duration::from_micros(1 << 32));
        assert_eq!(super::bucket(Duration::MAX), BUCKETS - 1);
    }

    #[test]
    fn quantile_is_off_by_at_most_an_eighth() {
        let counters = Counters::default();
        assert_eq!(quantile(counters.totals().into_iter(), 0.95), None);
        for number in 1..=10_000_u64 {
            counters.add(Duration::from_micros(number * 730));
        }
        for (share, exact) in [(0.01, 0.073), (0.5, 3.65), (0.95, 6.935), (1.0, 7.3)] {
            let read = quantile(counters.totals().into_iter(), share).unwrap().as_secs_f64();
            assert!((read / exact - 1.0).abs() < 0.125, "{share}: {read} for {exact}");
        }
        // Within a bucket that is evenly filled it is close.
        let read = quantile(counters.totals().into_iter(), 0.95).unwrap().as_secs_f64();
        assert!((read - 6.935).abs() < 0.02, "{read}");
    }
}
