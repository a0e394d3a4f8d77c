//! Cortex's autoscaler for async APIs: every 10 s the mean of what is in flight in a minute over the target, in steps of
//! at most half as much again or a quarter less, after the smallest of a minute upwards and the largest of five
//! minutes downwards.

use super::{POLLED_COUNTS_LAG, Window, current, in_system, whole};
use crate::simulate::{Manner, Rival, Seen, Victims};

/// `autoscaleTickInterval`.
const TICK: f64 = 10.0;

/// `downscale_tolerance` and `upscale_tolerance`.
const TOLERANCE: f64 = 0.05;

/// `max_downscale_factor`.
const DOWN_FACTOR: f64 = 0.75;

#[derive(Debug, Clone, PartialEq)]
pub struct Cortex {
    /// `target_in_flight`: 1, the concurrency of an async API's worker.
    pub target: f64,
    /// `window`: 60 s.
    pub window: f64,
    /// `upscale_stabilization_period`: 1 min.
    pub up_period: f64,
    /// `downscale_stabilization_period`: 5 min.
    pub down_period: f64,
    /// `max_upscale_factor`: 1.5.
    pub up_factor: f64,
}

impl Default for Cortex {
    fn default() -> Self {
        Self { target: 1.0, window: 60.0, up_period: 60.0, down_period: 300.0, up_factor: 1.5 }
    }
}

pub(super) fn grid() -> impl Iterator<Item = Cortex> {
    // As it comes, and with all that slows it down taken away.
    let hastes = [(60.0, 60.0, 1.5), (10.0, 0.0, 10.0)].into_iter();
    hastes.flat_map(|(window, up_period, up_factor)| {
        [60.0, 300.0].into_iter().flat_map(move |down_period| {
            let targets = [1.0, 2.0, 4.0].into_iter();
            targets.map(move |target| Cortex { target, window, up_period, down_period, up_factor })
        })
    })
}

impl Cortex {
    pub(super) fn words(&self) -> String {
        format!(
            "target {}, window {} s, up {} s x{}, down {} s",
            self.target, self.window, self.up_period, self.up_factor, self.down_period
        )
    }

    pub(super) fn rival(&self) -> CortexRival {
        CortexRival {
            settings: self.clone(),
            in_flight: Window::default(),
            recommendations: Window::default(),
            started: None,
        }
    }
}

pub struct CortexRival {
    settings: Cortex,
    in_flight: Window,
    recommendations: Window,
    started: Option<f64>,
}

impl CortexRival {
    fn recommendation(&self, seen: &Seen) -> f64 {
        let replicas = f64::from(current(seen));
        // Half a tick less: its window is open at the old end.
        let since = seen.at - self.settings.window + TICK / 2.0;
        let raw = self.in_flight.mean_since(since) / self.settings.target;
        let within = raw > replicas * (1.0 - TOLERANCE) && raw < replicas * (1.0 + TOLERANCE);
        let wanted = if within { replicas } else { raw.ceil() };
        let floor = f64::min(replicas - 1.0, (replicas * DOWN_FACTOR).ceil());
        let ceiling = f64::max(replicas + 1.0, (replicas * self.settings.up_factor).ceil());
        wanted.max(floor).min(ceiling).clamp(0.0, f64::from(seen.max))
    }

    /// What the two periods leave of it.
    fn stabilised(&self, seen: &Seen, recommendation: f64, running: f64) -> f64 {
        let replicas = f64::from(current(seen));
        if recommendation < replicas {
            let floor = self.recommendations.since(seen.at - self.settings.down_period).fold(0.0, f64::max);
            return if running < self.settings.down_period {
                replicas
            } else {
                recommendation.max(floor.min(replicas))
            };
        }
        let lowest =
            self.recommendations.since(seen.at - self.settings.up_period).fold(f64::INFINITY, f64::min);
        if running < self.settings.up_period { replicas } else { recommendation.min(lowest.max(replicas)) }
    }
}

impl Rival for CortexRival {
    fn name(&self) -> &str {
        "cortex"
    }

    fn manner(&self) -> Manner {
        Manner {
            tick: TICK,
            random_phase: true,
            victims: Victims::NotReadyFirst,
            undrain: false,
            idle_stop: None,
            counts_lag: POLLED_COUNTS_LAG,
            push_on_empty: false,
        }
    }

    fn want(&mut self, seen: &Seen) -> Option<u32> {
        self.in_flight.push(seen.at, in_system(seen), self.settings.window);
        let running = seen.at - *self.started.get_or_insert(seen.at);
        if current(seen) == 0 {
            self.recommendations = Window::default();
            return (in_system(seen) > 0.0).then_some(1);
        }
        let recommendation = self.recommendation(seen);
        let longest = f64::max(self.settings.down_period, self.settings.up_period);
        self.recommendations.push(seen.at, recommendation, longest);
        let want = whole(self.stabilised(seen, recommendation, running)).max(seen.min);
        (want != current(seen)).then_some(want)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(at: f64, visible: u64, ready: u32) -> Seen {
        Seen { at, visible, ready, max: 1000, ..Seen::default() }
    }

    /// Asks each 10 s from `from` to `to` and gives the last answer, which is then what is there.
    fn ask(rival: &mut CortexRival, from: u32, to: u32, visible: u64, ready: &mut u32) {
        for at in (from..=to).step_by(10) {
            if let Some(want) = rival.want(&seen(f64::from(at), visible, *ready)) {
                *ready = want;
            }
        }
    }

    #[test]
    fn first_message_wakes_one() {
        let mut rival = Cortex::default().rival();
        assert_eq!(rival.want(&seen(0.0, 0, 0)), None);
        assert_eq!(rival.want(&seen(10.0, 50, 0)), Some(1));
    }

    #[test]
    fn growth_waits_a_minute_and_is_half_as_much_again() {
        let mut rival = Cortex::default().rival();
        let mut ready = 10;
        ask(&mut rival, 0, 50, 100, &mut ready);
        assert_eq!(ready, 10);
        ask(&mut rival, 60, 60, 100, &mut ready);
        assert_eq!(ready, 15);
    }

    #[test]
    fn shrinking_waits_five_minutes_and_is_a_quarter() {
        let mut rival = Cortex::default().rival();
        let mut ready = 20;
        ask(&mut rival, 0, 290, 0, &mut ready);
        assert_eq!(ready, 20);
        ask(&mut rival, 300, 300, 0, &mut ready);
        assert_eq!(ready, 15);
    }

    #[test]
    fn within_five_percent_nothing_changes() {
        let check = |in_flight: u64, want: f64| {
            let mut rival = Cortex::default().rival();
            let seen = seen(0.0, in_flight, 100);
            assert_eq!(rival.want(&seen), None, "the first minutes");
            assert_eq!(rival.recommendation(&seen), want, "{in_flight}");
        };
        check(96, 100.0);
        check(104, 100.0);
        check(95, 95.0);
        check(106, 106.0);
        check(200, 150.0);
        check(10, 75.0);
    }
}
