//! Keeps a program that cannot start from being started again and again.

use std::time::Duration;

use crate::fleet::TOKENS_UNLIMITED as TOKENS;

/// When starts begin to wait, and how long.
#[derive(Debug, Clone, Copy)]
pub struct BreakerOptions {
    /// So many in a row are replaced at once; from the next on, starts wait.
    pub failures_allowed: u32,
    pub pause_first: Duration,
    pub pause_longest: Duration,
}

impl BreakerOptions {
    /// A process costs nothing to start, and is known to have failed in a moment.
    pub const PROCESSES: Self = Self {
        failures_allowed: 1,
        pause_first: Duration::from_secs(1),
        pause_longest: Duration::from_secs(60),
    };

    /// A machine is paid for, and takes minutes until it is known to have failed.
    pub const MACHINES: Self = Self {
        failures_allowed: 2,
        pause_first: Duration::from_secs(60),
        pause_longest: Duration::from_secs(900),
    };
}

#[derive(Debug)]
pub struct Breaker {
    options: BreakerOptions,
    failures: u32,
    until: Duration,
    error: String,
}

impl Breaker {
    pub fn new(options: BreakerOptions) -> Self {
        Self { options, failures: 0, until: Duration::ZERO, error: String::new() }
    }

    /// A worker could not be started, or died before it had proved that it works.
    pub fn failed(&mut self, at: Duration, error: &str) {
        self.failures = self.failures.saturating_add(1);
        error.clone_into(&mut self.error);
        let BreakerOptions { failures_allowed, pause_first, pause_longest } = self.options;
        if self.failures > failures_allowed {
            let doublings = (self.failures - failures_allowed - 1).min(10);
            self.until = at + (pause_first * 2_u32.pow(doublings)).min(pause_longest);
        }
    }

    /// A worker has been working long enough.
    pub fn proved(&mut self) {
        *self = Self::new(self.options);
    }

    /// Start calls allowed now. After a pause one is tried, and the rest waits for how it goes.
    pub fn tokens(&self, at: Duration, starting: u32) -> f64 {
        if self.failures <= self.options.failures_allowed {
            return TOKENS;
        }
        if at < self.until || starting > 0 { 0.0 } else { 1.0 }
    }

    pub fn tokens_per_second(&self) -> f64 {
        if self.failures <= self.options.failures_allowed { TOKENS } else { 0.0 }
    }

    pub fn warning(&self, at: Duration) -> Option<String> {
        if self.failures == 0 {
            return None;
        }
        let count = match self.failures {
            1 => "the last worker to start failed".to_owned(),
            count => format!("the last {count} workers to start failed"),
        };
        let wait = self.until.saturating_sub(at);
        let next =
            if wait.is_zero() { String::new() } else { format!("; next try in {:.0} s", wait.as_secs_f64()) };
        Some(format!("{count}: {}{next}", self.error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn one_death_is_replaced_at_once_and_more_wait_longer_each_time() {
        let mut breaker = Breaker::new(BreakerOptions::PROCESSES);
        breaker.failed(at(0), "exit status: 1");
        assert_eq!(breaker.tokens(at(0), 0), TOKENS);
        let check = |breaker: &Breaker, now: u64, pause: u64| {
            assert_eq!(breaker.tokens(at(now + pause - 1), 0), 0.0);
            assert_eq!(breaker.tokens(at(now + pause), 0), 1.0);
            assert_eq!(breaker.tokens(at(now + pause), 1), 0.0);
        };
        for (now, pause) in [(10, 1), (20, 2), (30, 4), (40, 8), (50, 16), (60, 32), (70, 60), (80, 60)] {
            breaker.failed(at(now), "exit status: 1");
            check(&breaker, now, pause);
        }
        assert_eq!(
            breaker.warning(at(81)).unwrap(),
            "the last 9 workers to start failed: exit status: 1; next try in 59 s"
        );
        breaker.proved();
        assert_eq!((breaker.tokens(at(81), 0), breaker.warning(at(81))), (TOKENS, None));
    }
}
