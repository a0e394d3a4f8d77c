//! How long a worker has had nothing to do, and when to tell the autoscaler that it could go.

use std::time::Duration;

use tokio::time::Instant;

/// Offers after each such time without work: the first may have come while the autoscaler had a reason to keep it.
#[derive(Debug)]
pub(crate) struct Idle {
    offer_after: Duration,
    since: Instant,
    offered: Instant,
    completed: u64,
}

impl Idle {
    pub(crate) fn new(offer_after: Duration, now: Instant) -> Self {
        Self { offer_after, since: now, offered: now, completed: 0 }
    }

    /// Takes in what is held, and what was completed since the worker started. When it is time to offer: how long it has been
    /// idle.
    pub(crate) fn look(&mut self, now: Instant, held: usize, completed: u64) -> Option<Duration> {
        if held > 0 || completed != self.completed {
            self.completed = completed;
            (self.since, self.offered) = (now, now);
        }
        let idle = now.saturating_duration_since(self.since);
        if now.saturating_duration_since(self.offered) < self.offer_after {
            return None;
        }
        self.offered = now;
        Some(idle)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offers_come_after_each_idle_while_and_start_anew_with_work() {
        let begin = Instant::now();
        let at = |seconds: u64| begin + Duration::from_secs(seconds);
        let mut idle = Idle::new(Duration::from_secs(60), begin);
        let offered = |seconds: u64| Some(Duration::from_secs(seconds));
        assert_eq!(idle.look(at(59), 0, 0), None);
        assert_eq!(idle.look(at(60), 0, 0), offered(60));
        assert_eq!(idle.look(at(61), 0, 0), None);
        assert_eq!(idle.look(at(121), 0, 0), offered(121));
        // It is busy, and then something was done between two looks.
        assert_eq!(idle.look(at(130), 1, 0), None);
        assert_eq!(idle.look(at(150), 0, 1), None);
        assert_eq!(idle.look(at(209), 0, 1), None);
        assert_eq!(idle.look(at(210), 0, 1), offered(60));
    }
}
