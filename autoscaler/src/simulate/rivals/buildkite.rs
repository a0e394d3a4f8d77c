//! buildkite-agent-scaler: every 10 s as many instances as jobs wait and run; it never takes one away: an agent that was
//! idle for ten minutes ends its instance itself.

use super::{POLLED_COUNTS_LAG, current, in_system, whole};
use crate::simulate::{Manner, Rival, Seen, Victims};

#[derive(Debug, Clone, PartialEq)]
pub struct Buildkite {
    /// Seconds between looks: the Lambda looks every 10 s within its minute.
    pub poll: f64,
    /// `disconnect-after-idle-timeout`, which the elastic CI stack sets to 600 s.
    pub idle_stop: f64,
    /// `SCALE_OUT_FACTOR`, by which the number to add is multiplied: 1.0.
    pub scale_out_factor: f64,
}

impl Default for Buildkite {
    fn default() -> Self {
        Self { poll: 10.0, idle_stop: 600.0, scale_out_factor: 1.0 }
    }
}

pub(super) fn grid() -> impl Iterator<Item = Buildkite> {
    [0.5, 1.0].into_iter().flat_map(|scale_out_factor| {
        let idle_stops = [30.0, 60.0, 120.0, 300.0, 600.0].into_iter();
        idle_stops.map(move |idle_stop| Buildkite { idle_stop, scale_out_factor, ..Buildkite::default() })
    })
}

impl Buildkite {
    pub(super) fn words(&self) -> String {
        format!("idle {} s, scale-out factor {}", self.idle_stop, self.scale_out_factor)
    }
}

impl Rival for Buildkite {
    fn name(&self) -> &str {
        "buildkite"
    }

    fn manner(&self) -> Manner {
        Manner {
            tick: self.poll,
            random_phase: true,
            victims: Victims::IdleFirst,
            undrain: false,
            idle_stop: Some(self.idle_stop),
            counts_lag: POLLED_COUNTS_LAG,
            push_on_empty: false,
        }
    }

    fn want(&mut self, seen: &Seen) -> Option<u32> {
        let current = current(seen);
        // One agent an instance, as a worker here holds one image.
        let missing = in_system(seen) - f64::from(current);
        if missing <= 0.0 {
            return None;
        }
        let want = (current + whole((missing * self.scale_out_factor).ceil())).min(seen.max);
        (want > current).then_some(want)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_as_many_as_jobs_and_never_fewer_than_before() {
        let check = |visible: u64, in_flight: u64, ready: u32, want: Option<u32>| {
            let seen = Seen { visible, in_flight, ready, max: 20, ..Seen::default() };
            assert_eq!(Buildkite::default().want(&seen), want, "{seen:?}");
        };
        check(3, 2, 0, Some(5));
        check(3, 2, 5, None);
        check(0, 0, 5, None);
        check(100, 2, 5, Some(20));
        check(100, 20, 20, None);
        let seen = Seen { visible: 11, ready: 1, max: 20, ..Seen::default() };
        assert_eq!(Buildkite { scale_out_factor: 0.5, ..Buildkite::default() }.want(&seen), Some(6));
    }

    #[test]
    fn idle_instances_leave_by_themselves() {
        assert_eq!(Buildkite::default().manner().idle_stop, Some(600.0));
    }
}
