//! Waiting between attempts: exponential with jitter, bounded.

use std::time::Duration;

use rand::RngExt as _;

/// Up to a quarter longer than asked, and never shorter, so that many who are told the same do not come back at once.
pub fn spread(pause: Duration) -> Duration {
    pause.mul_f64(rand::rng().random_range(1.0..=1.25))
}

/// Yields the pauses between attempts. Reset it after a success.
#[derive(Debug, Clone)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    next: Duration,
}

impl Backoff {
    pub fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest, next: first }
    }

    /// For a connection to another of our services: it comes back within seconds or not at all.
    pub fn for_connections() -> Self {
        Self::new(Duration::from_millis(50), Duration::from_secs(3))
    }

    pub fn reset(&mut self) {
        self.next = self.first;
    }

    /// Between half of the current step and all of it, so that many callers spread out.
    pub fn pause(&mut self) -> Duration {
        let step = self.next;
        self.next = (self.next * 2).min(self.longest);
        step.mul_f64(rand::rng().random_range(0.5..=1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spread_pause_is_never_shorter() {
        let second = Duration::from_secs(1);
        for _ in 0..1000 {
            assert!((second..=second.mul_f64(1.25)).contains(&spread(second)));
        }
    }

    #[test]
    fn pauses_grow_to_the_longest_and_start_again_after_a_success() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_millis(400));
        for step_millis in [100, 200, 400, 400] {
            let pause = backoff.pause().as_millis();
            assert!((step_millis / 2..=step_millis).contains(&pause), "{pause} of {step_millis}");
        }
        backoff.reset();
        assert!(backoff.pause() <= Duration::from_millis(100));
    }
}
