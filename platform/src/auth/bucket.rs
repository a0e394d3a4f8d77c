//! A key's rate, without a lock: one number says when its bucket is full again.
//!
//! A request may take more than the bucket holds, as 1,000 images at once do: it is let in when the bucket has as much as it can
//! have for it, and whoever comes next waits until the debt is paid. `governor` refuses such a request for ever.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// Images a second, over time. A second's worth may come at once.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Rate(f64);

impl Rate {
    /// More is the same as none.
    pub(super) const MAX: f64 = 1e6;

    pub(super) fn new(per_second: f64) -> Option<Self> {
        (per_second > 0.0 && per_second <= Self::MAX).then_some(Self(per_second))
    }

    pub(super) fn per_second(self) -> f64 {
        self.0
    }

    /// How long it takes to earn so many.
    fn earning(self, count: f64) -> u64 {
        nanos(count / self.0)
    }

    /// What a full bucket holds: a second's worth, and one at least.
    fn burst(self) -> f64 {
        self.0.max(1.0)
    }
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // saturates, and no time is negative
fn nanos(seconds: f64) -> u64 {
    (seconds * 1e9).round() as u64
}

/// How full a key's bucket is. Kept when the rate changes: it is a time, not a count.
#[derive(Debug, Default)]
pub(super) struct Bucket {
    /// When it will be full, in nanoseconds since the process knows keys.
    full_at: AtomicU64,
}

impl Bucket {
    /// Takes `count` out, or says how long to wait.
    pub(super) fn take(&self, rate: Rate, count: u64, now: Duration) -> Result<(), Duration> {
        let now = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
        #[allow(clippy::cast_precision_loss)] // requests have far fewer images
        let count = count as f64;
        // Once this is left to be earned or less, it is let in.
        let slack = rate.earning(rate.burst() - count.min(rate.burst()));
        let taken = self.full_at.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |full_at| {
            let missing = full_at.saturating_sub(now);
            (missing <= slack).then(|| full_at.max(now).saturating_add(rate.earning(count)))
        });
        taken.map(drop).map_err(|full_at| Duration::from_nanos(full_at.saturating_sub(now) - slack))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Duration = Duration::from_secs(100);

    #[test]
    fn second_s_worth_comes_at_once_and_then_as_fast_as_it_is_earned() {
        let (bucket, rate) = (Bucket::default(), Rate::new(10.0).unwrap());
        for _ in 0..10 {
            assert_eq!(bucket.take(rate, 1, START), Ok(()));
        }
        assert_eq!(bucket.take(rate, 1, START), Err(Duration::from_millis(100)));
        assert_eq!(bucket.take(rate, 1, START + Duration::from_millis(100)), Ok(()));
        assert!(bucket.take(rate, 1, START + Duration::from_millis(150)).is_err());
        // Full again after a second, and not fuller later.
        let later = START + Duration::from_secs(60);
        assert_eq!(bucket.take(rate, 10, later), Ok(()));
        assert!(bucket.take(rate, 1, later).is_err());
    }

    #[test]
    fn request_larger_than_the_bucket_is_let_in_when_it_is_full_and_paid_afterwards() {
        let (bucket, rate) = (Bucket::default(), Rate::new(100.0).unwrap());
        assert_eq!(bucket.take(rate, 1000, START), Ok(()));
        assert_eq!(bucket.take(rate, 1, START), Err(Duration::from_millis(9_010)));
        assert_eq!(bucket.take(rate, 1000, START + Duration::from_secs(9)), Err(Duration::from_secs(1)));
        assert_eq!(bucket.take(rate, 1000, START + Duration::from_secs(10)), Ok(()));
    }

    #[test]
    fn slow_rates_let_one_in_at_a_time() {
        let (bucket, rate) = (Bucket::default(), Rate::new(0.1).unwrap());
        assert_eq!(bucket.take(rate, 1, START), Ok(()));
        assert_eq!(bucket.take(rate, 1, START), Err(Duration::from_secs(10)));
        assert_eq!(bucket.take(rate, 1, START + Duration::from_secs(10)), Ok(()));
    }

    #[test]
    fn asking_for_none_tells_whether_there_is_debt() {
        let (bucket, rate) = (Bucket::default(), Rate::new(10.0).unwrap());
        assert_eq!(bucket.take(rate, 20, START), Ok(()));
        assert_eq!(bucket.take(rate, 0, START), Err(Duration::from_secs(1)));
        assert_eq!(bucket.take(rate, 0, START + Duration::from_secs(1)), Ok(()));
    }

    #[test]
    fn rates_that_make_no_sense_are_none() {
        for bad in [0.0, -1.0, f64::NAN, f64::INFINITY, 2e6] {
            assert_eq!(Rate::new(bad), None, "{bad}");
        }
    }

    #[test]
    fn many_threads_take_no_more_than_there_is() {
        let (bucket, rate) = (Bucket::default(), Rate::new(1000.0).unwrap());
        let taken = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| scope.spawn(|| (0..1000).filter(|_| bucket.take(rate, 1, START).is_ok()).count()))
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum::<usize>()
        });
        assert_eq!(taken, 1000);
    }
}
