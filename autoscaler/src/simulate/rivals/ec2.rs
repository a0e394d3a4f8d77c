//! EC2 Auto Scaling with target tracking on a metric of its user's: visible messages for each instance in service, as
//! AWS's own guide to SQS has it. CloudWatch's alarms decide when; the group's default termination kills.

use super::{POLLED_COUNTS_LAG, current, visible, whole};
use crate::simulate::{Manner, Rival, Seen, Victims};

/// The high alarm that target tracking makes: this many datapoints in a row over the target.
const HIGH_DATAPOINTS: u32 = 3;

/// Its low alarm: 15 minutes under 90 % of the target.
const LOW_SECONDS: f64 = 900.0;
const LOW_SHARE: f64 = 0.9;

/// The alarm that people add to start from zero: datapoints with a message and no instance.
const BACKLOG_DATAPOINTS: u32 = 2;

#[derive(Debug, Clone, PartialEq)]
pub struct Ec2 {
    /// Messages an instance: 20, the acceptable wait of 60 s by 3 s an image, as the guide computes it.
    pub target: f64,
    /// Seconds a datapoint: 60, or 10 with high-resolution metrics.
    pub period: f64,
    /// 1, because the metric is a division by the instances in service. 0: with an alarm on the backlog beside it.
    pub min_instances: u32,
    /// Whether workers protect themselves against scale-in while they work. They do not unless somebody builds it.
    pub protects: bool,
}

impl Default for Ec2 {
    fn default() -> Self {
        Self { target: 20.0, period: 60.0, min_instances: 1, protects: false }
    }
}

pub(super) fn grid() -> impl Iterator<Item = Ec2> {
    [60.0, 10.0].into_iter().flat_map(|period| {
        [0, 1].into_iter().flat_map(move |min_instances| {
            let targets = [2.0, 5.0, 10.0, 20.0].into_iter();
            targets.map(move |target| Ec2 { target, period, min_instances, protects: true })
        })
    })
}

impl Ec2 {
    pub(super) fn words(&self) -> String {
        let zero = if self.min_instances == 0 { " with a backlog alarm" } else { "" };
        let protects = if self.protects { ", scale-in protection" } else { "" };
        format!(
            "target {}, {}-s datapoints, min {}{zero}{protects}",
            self.target, self.period, self.min_instances
        )
    }

    pub(super) fn rival(&self) -> Ec2Rival {
        Ec2Rival { settings: self.clone(), high: 0, low: 0, backlog: 0 }
    }
}

/// Datapoints in a row that each alarm has.
pub struct Ec2Rival {
    settings: Ec2,
    high: u32,
    low: u32,
    backlog: u32,
}

impl Ec2Rival {
    /// Nothing in service, so the metric has no datapoint.
    fn without_metric(&mut self, seen: &Seen) -> Option<u32> {
        (self.high, self.low) = (0, 0);
        if self.settings.min_instances > 0 {
            return self.minimum(seen);
        }
        let breached = seen.visible > 0 && current(seen) == 0;
        self.backlog = if breached { self.backlog + 1 } else { 0 };
        if self.backlog < BACKLOG_DATAPOINTS {
            return None;
        }
        self.backlog = 0;
        Some(1)
    }

    fn minimum(&self, seen: &Seen) -> Option<u32> {
        (current(seen) < self.settings.min_instances).then_some(self.settings.min_instances)
    }
}

impl Rival for Ec2Rival {
    fn name(&self) -> &str {
        "ec2"
    }

    fn manner(&self) -> Manner {
        Manner {
            tick: self.settings.period,
            random_phase: true,
            victims: if self.settings.protects { Victims::Any } else { Victims::Kill },
            undrain: false,
            idle_stop: None,
            counts_lag: POLLED_COUNTS_LAG,
            push_on_empty: false,
        }
    }

    fn want(&mut self, seen: &Seen) -> Option<u32> {
        if seen.ready == 0 {
            return self.without_metric(seen);
        }
        self.backlog = 0;
        let (target, ready) = (self.settings.target, f64::from(seen.ready));
        let metric = visible(seen) / ready;
        self.high = if metric > target { self.high + 1 } else { 0 };
        self.low = if metric < LOW_SHARE * target { self.low + 1 } else { 0 };
        let proportional = whole((ready * metric / target).ceil());
        if self.high >= HIGH_DATAPOINTS {
            let want = proportional.min(seen.max);
            return (want > current(seen)).then_some(want);
        }
        if f64::from(self.low) * self.settings.period >= LOW_SECONDS && seen.starting == 0 {
            let want = proportional.max(self.settings.min_instances);
            return (want < current(seen)).then_some(want);
        }
        self.minimum(seen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(visible: u64, ready: u32) -> Seen {
        Seen { visible, ready, max: 20, ..Seen::default() }
    }

    #[test]
    fn third_datapoint_over_the_target_scales_out_in_proportion() {
        let mut rival = Ec2::default().rival();
        assert_eq!(rival.want(&seen(100, 1)), None);
        assert_eq!(rival.want(&seen(100, 1)), None);
        assert_eq!(rival.want(&seen(100, 1)), Some(5));
        let mut rival = Ec2::default().rival();
        for (visible, want) in
            [(100, None), (100, None), (20, None), (100, None), (100, None), (900, Some(20))]
        {
            assert_eq!(rival.want(&seen(visible, 1)), want, "{visible}");
        }
    }

    #[test]
    fn scale_in_takes_fifteen_minutes_under_nine_tenths() {
        let check = |period: f64, datapoints: u32| {
            let mut rival = Ec2 { period, ..Ec2::default() }.rival();
            for _ in 1..datapoints {
                assert_eq!(rival.want(&seen(30, 4)), None);
            }
            assert_eq!(rival.want(&seen(30, 4)), Some(2), "{period}");
        };
        check(60.0, 15);
        check(10.0, 90);
    }

    #[test]
    fn nothing_in_service_has_no_metric_and_needs_the_backlog_alarm() {
        assert_eq!(Ec2::default().rival().want(&seen(100, 0)), Some(1), "the minimum");
        let mut rival = Ec2 { min_instances: 0, ..Ec2::default() }.rival();
        assert_eq!(rival.want(&seen(100, 0)), None);
        assert_eq!(rival.want(&seen(100, 0)), Some(1));
        assert_eq!(rival.want(&Seen { starting: 1, ..seen(100, 0) }), None, "one is on its way");
    }

    #[test]
    fn busy_instances_are_killed_unless_they_protect_themselves() {
        assert_eq!(Ec2::default().rival().manner().victims, Victims::Kill);
        assert_eq!(Ec2 { protects: true, ..Ec2::default() }.rival().manner().victims, Victims::Any);
    }
}
