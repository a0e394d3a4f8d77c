//! How many calls of one kind the cloud will still take: we hold back before it has to.

use std::{collections::VecDeque, time::Duration};

use platform::retry::Backoff;

/// After the cloud refused a call, the first and the longest wait before the next of its kind.
const PAUSE_FIRST: Duration = Duration::from_secs(2);
const PAUSE_LONGEST: Duration = Duration::from_secs(30);

/// A token bucket, emptied by half and closed for a while when the cloud refuses a call.
#[derive(Debug)]
pub struct Budget {
    tokens: f64,
    capacity: f64,
    per_second: f64,
    /// When the tokens were last counted.
    at: Duration,
    closed_until: Duration,
    pauses: Backoff,
}

impl Budget {
    pub fn new(capacity: f64, per_second: f64) -> Self {
        Self {
            tokens: capacity,
            capacity,
            per_second,
            at: Duration::ZERO,
            closed_until: Duration::ZERO,
            pauses: Backoff::new(PAUSE_FIRST, PAUSE_LONGEST),
        }
    }

    pub fn tokens(&self, at: Duration) -> f64 {
        if at < self.closed_until { 0.0 } else { self.filled(at) }
    }

    pub fn per_second(&self) -> f64 {
        self.per_second
    }

    pub fn closed_until(&self, at: Duration) -> Option<Duration> {
        (at < self.closed_until).then_some(self.closed_until)
    }

    /// Takes as many of `count` as there are whole tokens for.
    pub fn take(&mut self, at: Duration, count: u32) -> u32 {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`as` saturates")]
        let whole = count.min(self.tokens(at).floor() as u32);
        self.tokens = self.filled(at) - f64::from(whole);
        self.at = at;
        whole
    }

    /// The cloud refused a call: it counts otherwise than we do.
    pub fn refused(&mut self, at: Duration) {
        self.tokens = (self.filled(at) / 2.0).floor();
        self.at = at;
        self.closed_until = at + self.pauses.pause();
    }

    /// The cloud took a call.
    pub fn accepted(&mut self) {
        self.pauses.reset();
    }

    fn filled(&self, at: Duration) -> f64 {
        let since = at.saturating_sub(self.at).as_secs_f64();
        (self.tokens + since * self.per_second).min(self.capacity)
    }
}

/// Starts in the last hour, against what a person allowed.
#[derive(Debug)]
pub struct Hourly {
    max: u32,
    starts: VecDeque<(Duration, u32)>,
}

const HOUR: Duration = Duration::from_secs(3600);

impl Hourly {
    pub fn new(max: u32) -> Self {
        Self { max, starts: VecDeque::new() }
    }

    pub fn left(&self, at: Duration) -> u32 {
        let recent = self.starts.iter().filter(|(then, _)| *then + HOUR > at);
        self.max.saturating_sub(recent.map(|(_, count)| count).sum())
    }

    pub fn add(&mut self, at: Duration, count: u32) {
        while self.starts.front().is_some_and(|(then, _)| *then + HOUR <= at) {
            self.starts.pop_front();
        }
        self.starts.push_back((at, count));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(1_000_000 + seconds)
    }

    #[test]
    fn budget_is_spent_and_comes_back() {
        let mut budget = Budget::new(10.0, 2.0);
        assert_eq!(budget.take(at(0), 8), 8);
        assert_eq!(budget.take(at(0), 8), 2);
        assert_eq!(budget.take(at(0), 1), 0);
        assert_eq!(budget.take(at(3), 10), 6);
        assert_eq!(budget.tokens(at(1000)), 10.0);
    }

    #[test]
    fn refusal_halves_it_and_closes_it_longer_each_time() {
        let mut budget = Budget::new(100.0, 0.0);
        budget.refused(at(0));
        assert_eq!(budget.tokens(at(0)), 0.0);
        assert_eq!(budget.take(at(0), 1), 0);
        assert_eq!(budget.tokens(at(31)), 50.0);
        for _ in 0..20 {
            budget.refused(at(31));
        }
        let pause = budget.closed_until(at(31)).unwrap() - at(31);
        assert!((PAUSE_LONGEST / 2..=PAUSE_LONGEST).contains(&pause), "{pause:?}");
        budget.accepted();
        budget.refused(at(100));
        assert!(budget.closed_until(at(100)).unwrap() <= at(102));
    }

    #[test]
    fn hour_slides() {
        let mut hourly = Hourly::new(5);
        hourly.add(at(0), 3);
        hourly.add(at(1800), 2);
        assert_eq!(hourly.left(at(3599)), 0);
        assert_eq!(hourly.left(at(3600)), 3);
    }
}
