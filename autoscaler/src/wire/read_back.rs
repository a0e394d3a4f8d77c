//! From the record of a decision back to what it was made from, exactly.

use std::time::Duration;

use platform::{Error, Kind, Result};
use proto::v1;

use crate::{
    clock::since_epoch,
    decide::{
        Arrivals, Boot, Census, Due, Observation, Override, Paused, Policy, Queue, Recalled, Service, Supply,
    },
    policy_request::{self, PolicyDefaults},
};

/// All that an answer is made from.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// Without instances, and without what only the plan reads.
    pub observation: Observation,
    pub census: Census,
    pub recalled: Recalled,
    pub policy: Policy,
}

/// Reads what `want` was made from. A record that lacks some of it is `RecordIncomplete`.
pub fn read_back(decision: &v1::Decision) -> Result<Record> {
    let recollection = set("recollection", decision.recollection.as_ref())?;
    let (observation, census) = observation(set("observation", decision.observation.as_ref())?)?;
    Ok(Record {
        observation,
        census,
        recalled: recalled(recollection)?,
        policy: policy(set("policy", decision.policy.as_ref())?)?,
    })
}

/// What was seen, and the instances counted.
pub fn observation(seen: &v1::Observation) -> Result<(Observation, Census)> {
    let queue = set("observation.queue", seen.queue.as_ref())?;
    let fleet = set("observation.fleet", seen.fleet.as_ref())?;
    let read = Observation {
        at: time("observation.time", seen.time.as_ref())?,
        queue: Queue {
            visible: queue.visible,
            in_flight: queue.in_flight,
            delayed: queue.delayed,
            oldest_age: length("observation.queue.oldest_age", queue.oldest_age.as_ref())?,
            as_of: optional_time("observation.queue.as_of", queue.as_of.as_ref())?,
            approximate: queue.approximate,
        },
        arrivals: Arrivals {
            latest: seen.arrivals_per_second_latest,
            fast: seen.arrivals_per_second_fast,
            slow: seen.arrivals_per_second_slow,
            total: seen.arrived_total,
            completed: seen.completed_total,
            late: seen.late_total,
        },
        service: Service {
            mean: length("observation.service_mean", seen.service_mean.as_ref())?,
            p95: length("observation.service_p95", seen.service_p95.as_ref())?,
            slots: seen.service_slots,
        },
        late_ratio: seen.late_ratio,
        boot: Boot {
            warm: length("observation.boot_warm_p50", seen.boot_warm_p50.as_ref())?,
            cold: length("observation.boot_cold_p50", seen.boot_cold_p50.as_ref())?,
        },
        instances: Vec::new(),
        supply: Supply {
            launchable: fleet.launchable,
            start_tokens: fleet.start_tokens,
            start_tokens_per_second: fleet.start_tokens_per_second,
            // Only the plan reads it.
            stopped_max: u32::MAX,
            paid_min: length("observation.fleet.paid_min", fleet.paid_min.as_ref())?,
        },
        paused: seen.pause_in_force.as_ref().map_or(Ok(Paused::default()), paused)?,
        asked: seen.override_in_force.as_ref().map(limits).transpose()?,
    };
    Ok((read, census(fleet)?))
}

fn census(fleet: &v1::FleetObservation) -> Result<Census> {
    let due = |group: &v1::StartingGroup| {
        let ready_in = length("observation.fleet.starting_groups.ready_in", group.ready_in.as_ref())?;
        Ok(Due { ready_in, count: group.count })
    };
    Ok(Census {
        ready: fleet.ready,
        starting: fleet.starting,
        draining: fleet.draining,
        stopped: fleet.stopped,
        not_owned: fleet.not_owned,
        paid: fleet.paid,
        arrivals: fleet.starting_groups.iter().map(due).collect::<Result<_>>()?,
    })
}

fn paused(pause: &v1::PauseInForce) -> Result<Paused> {
    Ok(Paused {
        scale_out: pause.scale_out,
        scale_in: pause.scale_in,
        until: optional_time("observation.pause_in_force.until", pause.until.as_ref())?,
    })
}

fn limits(asked: &v1::OverrideInForce) -> Result<Override> {
    Ok(Override {
        min: asked.min_instances,
        max: asked.max_instances,
        instances: asked.instances,
        until: time("observation.override_in_force.until", asked.until.as_ref())?,
    })
}

fn recalled(recollection: &v1::Recollection) -> Result<Recalled> {
    let surge_left = recollection.surge_left.as_ref();
    Ok(Recalled {
        largest_need: recollection.largest_need,
        last_work: optional_time("recollection.last_work_time", recollection.last_work_time.as_ref())?,
        surge_left: surge_left.map(|left| length("recollection.surge_left", Some(left))).transpose()?,
        slope: recollection.arrivals_slope,
        level: recollection.arrivals_level,
        reserve: recollection.reserve,
        reserve_window: length("recollection.reserve_window", recollection.reserve_window.as_ref())?,
        reserve_quantile: recollection.reserve_quantile,
        drained: recollection.drained,
    })
}

fn policy(policy: &v1::Policy) -> Result<Policy> {
    // Both are in every record since there are recollections.
    set("policy.keep", policy.keep.as_ref())?;
    set("policy.stale_after", policy.stale_after.as_ref())?;
    let defaults = PolicyDefaults { keep: Duration::ZERO, tick: Duration::ZERO };
    policy_request::parse("policy", policy, &defaults).map_err(|error| missing(error.message()))
}

fn set<'a, T>(field: &str, value: Option<&'a T>) -> Result<&'a T> {
    value.ok_or_else(|| missing(&format!("{field} is missing")))
}

fn length(field: &str, value: Option<&prost_types::Duration>) -> Result<Duration> {
    platform::time::from_proto(value).ok_or_else(|| missing(&format!("{field} is missing or negative")))
}

fn time(field: &str, value: Option<&prost_types::Timestamp>) -> Result<Duration> {
    let read = value.and_then(since_epoch);
    read.ok_or_else(|| missing(&format!("{field} is missing or before 1970")))
}

fn optional_time(field: &str, value: Option<&prost_types::Timestamp>) -> Result<Option<Duration>> {
    value.map(|value| time(field, Some(value))).transpose()
}

fn missing(what: &str) -> Error {
    Error::new(Kind::RecordIncomplete, format!("the record does not hold all that was decided from: {what}"))
}
