//! A policy as JSON.

use platform::time::from_proto;
use proto::v1::{DayOfWeek, Policy, ScheduleFloor, policy::Kind};
use serde::Serialize;

use crate::{record::name, times::seconds};

/// A policy as JSON, in one level but for the schedule.
#[derive(Debug, Default, Serialize)]
pub(super) struct PolicyRecord {
    version: u64,
    policy: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    target_seconds: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    quantile: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    messages_per_instance: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    instances: Option<u32>,
    min_instances: u32,
    max_instances: u32,
    scale_in_hold_seconds: Option<f64>,
    keep_seconds: Option<f64>,
    stale_after_seconds: Option<f64>,
    floors: Vec<FloorRecord>,
}

#[derive(Debug, Serialize)]
struct FloorRecord {
    /// None: every day.
    days: Vec<String>,
    from_seconds: f64,
    length_seconds: f64,
    instances: u32,
}

impl From<&Policy> for PolicyRecord {
    fn from(policy: &Policy) -> Self {
        let mut record = Self {
            version: policy.version,
            policy: "unknown",
            min_instances: policy.min_instances,
            max_instances: policy.max_instances,
            scale_in_hold_seconds: seconds(policy.scale_in_hold.as_ref()),
            keep_seconds: seconds(policy.keep.as_ref()),
            stale_after_seconds: seconds(policy.stale_after.as_ref()),
            floors: policy.floors.iter().map(FloorRecord::from).collect(),
            ..Self::default()
        };
        match &policy.kind {
            Some(Kind::Step(step)) => {
                record.policy = "step";
                record.messages_per_instance = Some(f64::from(step.messages_per_instance));
            }
            Some(Kind::Backlog(backlog)) => {
                record.policy = "backlog";
                record.messages_per_instance = Some(backlog.target_per_instance);
            }
            Some(Kind::Latency(latency)) => {
                record.policy = "latency";
                record.target_seconds = seconds(latency.target.as_ref());
                record.quantile = Some(latency.quantile);
            }
            Some(Kind::Fixed(fixed)) => {
                record.policy = "fixed";
                record.instances = Some(fixed.instances);
            }
            None => {}
        }
        record
    }
}

impl From<&ScheduleFloor> for FloorRecord {
    fn from(floor: &ScheduleFloor) -> Self {
        let day = |day: DayOfWeek| name(day.as_str_name(), "DAY_OF_WEEK_").to_lowercase();
        let of = |duration| from_proto(duration).unwrap_or_default().as_secs_f64();
        Self {
            days: floor.days().map(day).collect(),
            from_seconds: of(floor.from.as_ref()),
            length_seconds: of(floor.length.as_ref()),
            instances: floor.instances,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proto::v1::LatencyPolicy;

    use super::*;

    #[test]
    fn json_has_what_the_rule_has() {
        let target = Some(platform::time::to_proto(Duration::from_secs(10)));
        let kind = Kind::Latency(LatencyPolicy { target, quantile: 0.95, max_hold: None });
        let policy = Policy { kind: Some(kind), ..Policy::default() };
        let json = serde_json::to_value(PolicyRecord::from(&policy)).unwrap();
        assert_eq!((json["policy"].as_str(), json["target_seconds"].as_f64()), (Some("latency"), Some(10.0)));
        assert!(json.get("messages_per_instance").is_none());
    }
}
