//! Knative's pod autoscaler: every 2 s the mean concurrency of a minute over the target; and when six seconds ask for
//! twice what is there, panic: only up, for a minute. The activator wakes it at the first request.

use super::{Window, current, in_system, whole};
use crate::simulate::{Manner, Rival, Seen, Victims};

/// `tick-interval` of the autoscaler.
const TICK: f64 = 2.0;

/// `panic-threshold-percentage`: 200.
const PANIC_THRESHOLD: f64 = 2.0;

/// `panic-window-percentage`: 10 of the stable window.
const PANIC_WINDOW_SHARE: f64 = 0.1;

/// `max-scale-up-rate` and `max-scale-down-rate`.
const UP_RATE_MAX: f64 = 1000.0;
const DOWN_RATE_MAX: f64 = 2.0;

/// `scale-to-zero-grace-period`.
const ZERO_GRACE: f64 = 30.0;

#[derive(Debug, Clone, PartialEq)]
pub struct Knative {
    /// Requests a pod: its limit of 1 by `container-concurrency-target-percentage`, 70.
    pub target: f64,
    /// `stable-window`: 60 s.
    pub stable_window: f64,
    /// `scale-down-delay`: 0 s.
    pub down_delay: f64,
}

impl Default for Knative {
    fn default() -> Self {
        Self { target: 0.7, stable_window: 60.0, down_delay: 0.0 }
    }
}

pub(super) fn grid() -> impl Iterator<Item = Knative> {
    [30.0, 60.0, 180.0].into_iter().flat_map(|stable_window| {
        [0.0, 120.0].into_iter().flat_map(move |down_delay| {
            let targets = [0.7, 1.0, 2.0].into_iter();
            targets.map(move |target| Knative { target, stable_window, down_delay })
        })
    })
}

impl Knative {
    pub(super) fn words(&self) -> String {
        format!(
            "target {}, stable window {} s, scale-down delay {} s",
            self.target, self.stable_window, self.down_delay
        )
    }

    pub(super) fn rival(&self) -> KnativeRival {
        KnativeRival {
            settings: self.clone(),
            concurrency: Window::default(),
            desired: Window::default(),
            panic: None,
            zero_since: None,
        }
    }
}

pub struct KnativeRival {
    settings: Knative,
    concurrency: Window,
    /// For the scale-down delay.
    desired: Window,
    panic: Option<Panic>,
    zero_since: Option<f64>,
}

struct Panic {
    /// When it was last over the threshold.
    since: f64,
    /// The most it wanted: in panic it does not go down.
    largest: f64,
}

impl KnativeRival {
    /// The number for a concurrency, within the rates of change.
    fn pods(&self, concurrency: f64, ready: f64) -> f64 {
        let wanted = (concurrency / self.settings.target).ceil();
        wanted.max((ready / DOWN_RATE_MAX).floor()).min((ready * UP_RATE_MAX).ceil())
    }

    fn in_panic(&mut self, at: f64, over: bool, wanted: f64) -> f64 {
        if over {
            self.panic.get_or_insert(Panic { since: at, largest: 0.0 }).since = at;
        } else if self.panic.as_ref().is_some_and(|panic| at - panic.since > self.settings.stable_window) {
            self.panic = None;
        }
        match &mut self.panic {
            Some(panic) => {
                panic.largest = panic.largest.max(wanted);
                panic.largest
            }
            None => 0.0,
        }
    }

    /// Nothing for the whole window: the last pod stays for the grace.
    fn last_pod(&mut self, seen: &Seen) -> f64 {
        let since = *self.zero_since.get_or_insert(seen.at);
        if seen.at - since >= ZERO_GRACE || current(seen) == 0 { 0.0 } else { 1.0 }
    }
}

impl Rival for KnativeRival {
    fn name(&self) -> &str {
        "knative"
    }

    fn manner(&self) -> Manner {
        Manner {
            tick: TICK,
            random_phase: true,
            victims: Victims::NotReadyFirst,
            undrain: false,
            idle_stop: None,
            // Its queue proxies and the activator report; nothing is polled from a queue.
            counts_lag: 0.0,
            push_on_empty: true,
        }
    }

    fn want(&mut self, seen: &Seen) -> Option<u32> {
        let now = in_system(seen);
        self.concurrency.push(seen.at, now, self.settings.stable_window);
        let stable = self.concurrency.mean_since(seen.at - self.settings.stable_window);
        let short = self.concurrency.mean_since(seen.at - self.settings.stable_window * PANIC_WINDOW_SHARE);
        let ready = f64::from(seen.ready.max(1));
        let over = (short / self.settings.target).ceil() / ready >= PANIC_THRESHOLD;
        let stable_pods = self.pods(stable, ready);
        let panic_pods = self.in_panic(seen.at, over, stable_pods.max(self.pods(short, ready)));
        let mut desired = stable_pods.max(panic_pods);
        self.desired.push(seen.at, desired, self.settings.down_delay);
        desired = desired.max(self.desired.largest());
        let desired = if stable == 0.0 && now == 0.0 {
            self.last_pod(seen)
        } else {
            self.zero_since = None;
            desired.max(1.0)
        };
        let want = whole(desired).clamp(seen.min, seen.max);
        (want != current(seen)).then_some(want)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(at: f64, visible: u64, ready: u32) -> Seen {
        Seen { at, visible, ready, max: 100, ..Seen::default() }
    }

    #[test]
    fn steady_concurrency_is_divided_by_the_target() {
        let mut rival = Knative::default().rival();
        assert_eq!(rival.want(&seen(0.0, 7, 10)), None);
        assert_eq!(rival.want(&seen(2.0, 7, 8)), Some(10));
    }

    #[test]
    fn double_of_what_is_there_is_panic_which_only_goes_up_for_a_minute() {
        let mut rival = Knative::default().rival();
        assert_eq!(rival.want(&seen(0.0, 70, 0)), Some(100));
        // What is left of it is little, but the panic goes on: it was last over at 0 s.
        for second in (2..=60).step_by(2) {
            assert_eq!(rival.want(&seen(f64::from(second), 0, 100)), None, "{second}");
        }
        // The mean of the minute is then 0, and the last pod has its grace.
        assert_eq!(rival.want(&seen(62.0, 0, 100)), Some(1));
        assert_eq!(rival.want(&seen(90.0, 0, 1)), None);
        assert_eq!(rival.want(&seen(92.0, 0, 1)), Some(0));
    }

    #[test]
    fn scale_in_at_most_halves_and_waits_for_the_delay() {
        let mut rival = Knative::default().rival();
        assert_eq!(rival.want(&seen(0.0, 7, 40)), Some(20));
        let mut rival = Knative { down_delay: 30.0, ..Knative::default() }.rival();
        assert_eq!(rival.want(&seen(0.0, 28, 40)), None);
        for second in (2..=30).step_by(2) {
            assert_eq!(rival.want(&seen(f64::from(second), 0, 40)), None, "{second}");
        }
        assert!(rival.want(&seen(32.0, 0, 40)).is_some_and(|want| want < 40));
    }
}
