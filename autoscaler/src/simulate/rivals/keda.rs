//! KEDA's aws-sqs-queue scaler and the HPA it steers. KEDA itself goes between 0 and 1; above that the HPA keeps the
//! messages for each pod at the target, with its tolerance, its rate limit upwards and its window downwards.

use super::{POLLED_COUNTS_LAG, Window, current, in_system, phase, whole};
use crate::simulate::{Manner, Rival, Seen, Victims};

/// The HPA does nothing when the ratio is within 10 % (`--horizontal-pod-autoscaler-tolerance`).
const TOLERANCE: f64 = 0.1;

/// The HPA's default policy upwards: the larger of +100 % and +4 pods each 15 s.
const UP_FACTOR: f64 = 2.0;
const UP_PODS: f64 = 4.0;

/// Both loops look at their own times; this only asks whether it is time.
const TICK: f64 = 1.0;

#[derive(Debug, Clone, PartialEq)]
pub struct Keda {
    /// `queueLength`: messages a pod, those in flight counted too (`scaleOnInFlight`): 5.
    pub queue_length: f64,
    /// `pollingInterval`: 30 s.
    pub poll: f64,
    /// `cooldownPeriod`, from the last activity to zero: 300 s.
    pub cooldown: f64,
    /// `--horizontal-pod-autoscaler-sync-period`: 15 s.
    pub sync: f64,
    /// `scaleDown.stabilizationWindowSeconds`: 300 s.
    pub down_window: f64,
    /// Whether the rate limit upwards was taken away.
    pub unlimited_up: bool,
}

impl Default for Keda {
    fn default() -> Self {
        Self {
            queue_length: 5.0,
            poll: 30.0,
            cooldown: 300.0,
            sync: 15.0,
            down_window: 300.0,
            unlimited_up: false,
        }
    }
}

pub(super) fn grid() -> impl Iterator<Item = Keda> {
    // As it comes, and with all that slows it down taken away.
    let hastes = [(30.0, false), (5.0, true)].into_iter();
    hastes.flat_map(|(poll, unlimited_up)| {
        [0.0, 60.0, 300.0].into_iter().flat_map(move |down_window| {
            let lengths = [1.0, 2.0, 5.0, 10.0].into_iter();
            lengths.map(move |queue_length| Keda {
                queue_length,
                poll,
                unlimited_up,
                down_window,
                // Whoever shortens the window does not leave the last pod for five minutes.
                cooldown: f64::max(down_window, poll),
                ..Keda::default()
            })
        })
    })
}

impl Keda {
    pub(super) fn words(&self) -> String {
        let up = if self.unlimited_up { ", scale-up unlimited" } else { "" };
        format!(
            "queueLength {}, poll {} s, scale-down window {} s{up}",
            self.queue_length, self.poll, self.down_window
        )
    }

    pub(super) fn rival(&self, seed: u64) -> KedaRival {
        // The two loops start at any time, and apart from one another.
        KedaRival {
            settings: self.clone(),
            next_poll: phase(seed, 1) * self.poll,
            next_sync: phase(seed, 2) * self.sync,
            last_active: None,
            recommendations: Window::default(),
        }
    }
}

pub struct KedaRival {
    settings: Keda,
    next_poll: f64,
    next_sync: f64,
    last_active: Option<f64>,
    recommendations: Window,
}

impl KedaRival {
    /// KEDA's own part: from 0 to 1, and after the cooldown to 0.
    fn activate(&mut self, seen: &Seen) -> Option<u32> {
        if in_system(seen) > 0.0 {
            self.last_active = Some(seen.at);
            return (current(seen) == 0).then_some(1);
        }
        let cold = self.last_active.is_none_or(|last| seen.at - last > self.settings.cooldown);
        (current(seen) > 0 && cold).then_some(0)
    }

    /// One reconciliation of the HPA, whose minimum is 1.
    fn reconcile(&mut self, seen: &Seen) -> Option<u32> {
        let pods = f64::from(current(seen));
        let messages = in_system(seen);
        let ratio = messages / (self.settings.queue_length * pods);
        let proposal = if (1.0 - ratio).abs() > TOLERANCE {
            (messages / self.settings.queue_length).ceil()
        } else {
            pods
        };
        let proposal = proposal.min(f64::from(seen.max)).max(1.0);
        self.recommendations.push(seen.at, proposal, self.settings.down_window);
        let desired = if proposal < pods {
            self.recommendations.largest().min(pods)
        } else if self.settings.unlimited_up {
            proposal
        } else {
            proposal.min(f64::max(pods * UP_FACTOR, pods + UP_PODS))
        };
        let desired = whole(desired);
        (desired != current(seen)).then_some(desired)
    }
}

impl Rival for KedaRival {
    fn name(&self) -> &str {
        "keda"
    }

    fn manner(&self) -> Manner {
        Manner {
            tick: TICK,
            random_phase: false,
            victims: Victims::NotReadyFirst,
            undrain: false,
            idle_stop: None,
            counts_lag: POLLED_COUNTS_LAG,
            push_on_empty: false,
        }
    }

    fn want(&mut self, seen: &Seen) -> Option<u32> {
        let mut want = None;
        if seen.at >= self.next_poll {
            self.next_poll += self.settings.poll;
            want = self.activate(seen);
        }
        if seen.at >= self.next_sync {
            self.next_sync += self.settings.sync;
            if current(seen) > 0 && want.is_none() {
                want = self.reconcile(seen);
            }
        }
        want
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rival(settings: &Keda) -> KedaRival {
        let mut rival = settings.rival(0);
        (rival.next_poll, rival.next_sync) = (0.0, 0.0);
        rival
    }

    fn seen(at: f64, visible: u64, ready: u32) -> Seen {
        Seen { at, visible, ready, max: 20, ..Seen::default() }
    }

    #[test]
    fn first_message_makes_one_pod_and_the_hpa_doubles_or_adds_four() {
        let mut rival = rival(&Keda::default());
        assert_eq!(rival.want(&seen(0.0, 100, 0)), Some(1));
        assert_eq!(rival.want(&seen(15.0, 100, 1)), Some(5));
        assert_eq!(rival.want(&seen(30.0, 100, 5)), Some(10));
        assert_eq!(rival.want(&seen(31.0, 100, 10)), None, "not its time");
        assert_eq!(rival.want(&seen(45.0, 100, 10)), Some(20));
    }

    #[test]
    fn tolerance_leaves_small_differences_alone() {
        let mut rival = rival(&Keda::default());
        assert_eq!(rival.want(&seen(0.0, 54, 10)), None, "8 % over");
        assert_eq!(rival.want(&seen(15.0, 56, 10)), Some(12), "12 % over");
    }

    #[test]
    fn scale_in_takes_the_largest_of_the_window() {
        let mut rival = rival(&Keda::default());
        assert_eq!(rival.want(&seen(0.0, 50, 10)), None);
        assert_eq!(rival.want(&seen(150.0, 30, 10)), None, "50 messages are in the window");
        assert_eq!(rival.want(&seen(310.0, 5, 10)), Some(6), "now only 30 are");
    }

    #[test]
    fn zero_comes_after_the_cooldown() {
        let mut rival = rival(&Keda { down_window: 0.0, ..Keda::default() });
        assert_eq!(rival.want(&seen(0.0, 1, 1)), None);
        assert_eq!(rival.want(&seen(300.0, 0, 1)), None);
        assert_eq!(rival.want(&seen(330.0, 0, 1)), Some(0));
    }
}
