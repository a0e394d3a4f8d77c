//! The decision's own types as the messages that are recorded and shown.

use std::time::Duration;

use proto::v1;

mod read_back;
#[cfg(test)]
mod tests;

pub use read_back::{Record, observation as observation_of_record, read_back};

use crate::{
    clock::timestamp,
    decide::{
        Action, ActionKind, Bound, BoundKind, Census, Decision, Due, Floor, InstanceState, Observation,
        Override, Paused, Policy, Recalled, Rule,
    },
};

pub fn policy(policy: &Policy) -> v1::Policy {
    use v1::policy::Kind;
    let kind = match &policy.rule {
        Rule::Step(step) => Kind::Step(v1::StepPolicy {
            messages_per_instance: step.messages_per_instance,
            count_in_flight: step.count_in_flight,
        }),
        Rule::Backlog(backlog) => {
            Kind::Backlog(v1::BacklogPolicy { target_per_instance: backlog.target_per_instance })
        }
        Rule::Latency(latency) => Kind::Latency(v1::LatencyPolicy {
            target: duration(latency.target),
            quantile: latency.quantile,
            max_hold: duration(latency.hold_max),
        }),
        Rule::Fixed(fixed) => Kind::Fixed(v1::FixedPolicy { instances: fixed.instances }),
    };
    v1::Policy {
        kind: Some(kind),
        min_instances: policy.min_instances,
        max_instances: policy.max_instances,
        version: policy.version,
        scale_in_hold: policy.hold.and_then(duration),
        keep: duration(policy.keep),
        stale_after: duration(policy.stale_after),
        floors: policy.floors.iter().map(floor).collect(),
    }
}

pub fn floor(floor: &Floor) -> v1::ScheduleFloor {
    use v1::DayOfWeek::{Friday, Monday, Saturday, Sunday, Thursday, Tuesday, Wednesday};
    let week = [Monday, Tuesday, Wednesday, Thursday, Friday, Saturday, Sunday];
    let days = week.iter().enumerate().filter(|(day, _)| floor.days.0 >> day & 1 == 1);
    v1::ScheduleFloor {
        days: days.map(|(_, day)| (*day).into()).collect(),
        from: duration(floor.from),
        length: duration(floor.length),
        instances: floor.instances,
    }
}

pub fn observation(observation: &Observation) -> v1::Observation {
    observation_of(observation, &Census::of(observation))
}

/// With the instances counted already.
fn observation_of(observation: &Observation, census: &Census) -> v1::Observation {
    let Observation { queue, arrivals, supply, .. } = observation;
    v1::Observation {
        time: Some(timestamp(observation.at)),
        queue: Some(v1::QueueObservation {
            visible: queue.visible,
            in_flight: queue.in_flight,
            delayed: queue.delayed,
            oldest_age: duration(queue.oldest_age),
            as_of: queue.as_of.map(timestamp),
            approximate: queue.approximate,
        }),
        fleet: Some(v1::FleetObservation {
            ready: census.ready,
            starting: census.starting,
            draining: census.draining,
            stopped: census.stopped,
            start_tokens: supply.start_tokens,
            start_tokens_per_second: supply.start_tokens_per_second,
            not_owned: census.not_owned,
            paid: census.paid,
            starting_groups: census.arrivals.iter().map(starting_group).collect(),
            launchable: supply.launchable,
            paid_min: duration(supply.paid_min),
        }),
        arrivals_per_second_fast: arrivals.fast,
        arrivals_per_second_slow: arrivals.slow,
        arrivals_per_second_latest: arrivals.latest,
        service_mean: duration(observation.service.mean),
        service_p95: duration(observation.service.p95),
        boot_warm_p50: duration(observation.boot.warm),
        boot_cold_p50: duration(observation.boot.cold),
        late_ratio: observation.late_ratio,
        paused: observation.paused.scale_in || observation.paused.scale_out,
        pause_in_force: (observation.paused != Paused::default()).then(|| pause(&observation.paused)),
        override_in_force: observation.asked.as_ref().map(limits),
        service_slots: observation.service.slots,
        arrived_total: arrivals.total,
        completed_total: arrivals.completed,
        late_total: arrivals.late,
    }
}

fn starting_group(due: &Due) -> v1::StartingGroup {
    v1::StartingGroup { ready_in: duration(due.ready_in), count: due.count }
}

/// Who said so is for those who know it.
fn pause(paused: &Paused) -> v1::PauseInForce {
    v1::PauseInForce {
        scale_out: paused.scale_out,
        scale_in: paused.scale_in,
        until: paused.until.map(timestamp),
        ..v1::PauseInForce::default()
    }
}

fn limits(asked: &Override) -> v1::OverrideInForce {
    v1::OverrideInForce {
        min_instances: asked.min,
        max_instances: asked.max,
        instances: asked.instances,
        until: Some(timestamp(asked.until)),
        ..v1::OverrideInForce::default()
    }
}

fn recollection(recalled: &Recalled) -> v1::Recollection {
    v1::Recollection {
        largest_need: recalled.largest_need,
        last_work_time: recalled.last_work.map(timestamp),
        surge_left: recalled.surge_left.and_then(duration),
        arrivals_slope: recalled.slope,
        arrivals_level: recalled.level,
        reserve: recalled.reserve,
        reserve_window: duration(recalled.reserve_window),
        reserve_quantile: recalled.reserve_quantile,
        drained: recalled.drained,
    }
}

/// Under what a decision was made.
#[derive(Debug, Clone, Copy)]
pub struct By<'a> {
    pub policy: &'a Policy,
    /// Which leader made it; 0 where there is only one.
    pub leader_epoch: u64,
}

/// The record of a decision, before anything was done. The log gives it its sequence.
pub fn decision(decision_id: &str, decided: &Decision, seen: &Observation, by: By<'_>) -> v1::Decision {
    v1::Decision {
        decision_id: decision_id.to_owned(),
        sequence: 0,
        time: Some(timestamp(seen.at)),
        policy: Some(policy(by.policy)),
        observation: Some(observation_of(seen, &decided.census)),
        terms: decided
            .terms
            .iter()
            .map(|term| v1::DecisionTerm {
                name: term.name.to_owned(),
                instances: term.instances,
                formula: term.formula.clone(),
            })
            .collect(),
        need: decided.need,
        bounds: decided.bounds.iter().map(bound).collect(),
        want: decided.want,
        current: decided.current,
        actions: decided.actions.iter().enumerate().map(|(at, one)| action(decision_id, at, one)).collect(),
        reason: decided.reason.clone(),
        predicted_p95: decided.prediction.p95.and_then(duration),
        predicted_clear_time: decided.prediction.clear_in.map(|clear_in| timestamp(seen.at + clear_in)),
        actual_p95: None,
        leader_epoch: by.leader_epoch,
        recollection: Some(recollection(&decided.recalled)),
        ..v1::Decision::default()
    }
}

pub fn bound(bound: &Bound) -> v1::Bound {
    let kind = match bound.kind {
        BoundKind::Hold => v1::BoundKind::Hold,
        BoundKind::Stale => v1::BoundKind::Stale,
        BoundKind::Min => v1::BoundKind::Min,
        BoundKind::Max => v1::BoundKind::Max,
        BoundKind::Paused => v1::BoundKind::Paused,
        BoundKind::Capacity => v1::BoundKind::Capacity,
        BoundKind::Override => v1::BoundKind::Override,
        BoundKind::PaidMinute => v1::BoundKind::PaidMinute,
        BoundKind::ApiBudget => v1::BoundKind::ApiBudget,
    };
    v1::Bound { kind: kind.into(), from: bound.from, to: bound.to }
}

fn action(decision_id: &str, at: usize, action: &Action) -> v1::Action {
    v1::Action {
        kind: action_kind(action.kind).into(),
        instance_id: action.instance_id.to_string(),
        client_token: client_token(decision_id, at),
        outcome: v1::ActionOutcome::Pending.into(),
        error: String::new(),
        attempts: 0,
    }
}

/// The same for the same action of the same decision, and no other: an id is made once in the world.
pub fn client_token(decision_id: &str, at: usize) -> String {
    format!("{decision_id}-{at}")
}

pub fn action_kind(kind: ActionKind) -> v1::ActionKind {
    match kind {
        ActionKind::Undrain => v1::ActionKind::Undrain,
        ActionKind::Start => v1::ActionKind::Start,
        ActionKind::Launch => v1::ActionKind::Launch,
        ActionKind::Drain => v1::ActionKind::Drain,
        ActionKind::Stop => v1::ActionKind::Stop,
        ActionKind::Terminate => v1::ActionKind::Terminate,
    }
}

pub fn instance_state(state: InstanceState) -> v1::InstanceState {
    match state {
        InstanceState::Starting => v1::InstanceState::Starting,
        InstanceState::Ready => v1::InstanceState::Ready,
        InstanceState::Draining => v1::InstanceState::Draining,
        // Confirmed or not to be had back: for a reader both are on their way out.
        InstanceState::Drained | InstanceState::Stopping => v1::InstanceState::Stopping,
        InstanceState::Stopped => v1::InstanceState::Stopped,
        InstanceState::Lost => v1::InstanceState::Lost,
    }
}

fn duration(duration: Duration) -> Option<prost_types::Duration> {
    Some(platform::time::to_proto(duration))
}
