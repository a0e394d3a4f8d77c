//! One observation that somebody gives, and a decision from it.

use std::{sync::Arc, time::Duration};

use platform::{Error, Result};
use proto::v1::{self, simulate_request::Source};

use super::{DAY, Live};
use crate::{
    decide::{Census, Decision, Instance, InstanceState, Observation, Policy, Queue, State, decide},
    wire,
};

/// No fleet is larger.
const INSTANCES_MAX: u32 = 20_000;

/// No load has larger numbers, and sums of these fit everywhere.
const NUMBER_MAX: f64 = 1e9;

/// One decision, of somebody who remembers nothing and holds nothing.
pub fn decide_once(observation: &Observation, policy: &Policy) -> Decision {
    // A first look holds what is there. This one was at nothing, and longer ago than any hold.
    let before = Observation {
        at: observation.at.saturating_sub(Duration::from_secs(DAY)),
        queue: Queue::default(),
        instances: Vec::new(),
        ..observation.clone()
    };
    let (_, state) = decide(&before, &State::default(), policy);
    decide(observation, &state, policy).0
}

/// What was given, and of what was not given what is so now.
pub(super) fn seen(request: &v1::SimulateRequest, live: &Live) -> Result<(Observation, Census)> {
    let now = &live.observation;
    let mut seen = match &request.source {
        Some(Source::Observation(given)) => given.clone(),
        _ => now.clone(),
    };
    seen.time = seen.time.or(now.time);
    let time = seen.time;
    // Counts that somebody makes up are as new as can be.
    let queue = seen.queue.get_or_insert_default();
    queue.as_of = queue.as_of.or(time);
    queue.oldest_age = queue.oldest_age.or(Some(prost_types::Duration::default()));
    let fleet_now = now.fleet.clone().unwrap_or_default();
    let fleet = seen.fleet.get_or_insert_with(|| fleet_now.clone());
    if fleet.start_tokens == 0.0 && fleet.start_tokens_per_second == 0.0 {
        fleet.start_tokens = fleet_now.start_tokens;
        fleet.start_tokens_per_second = fleet_now.start_tokens_per_second;
    }
    fleet.paid_min = fleet.paid_min.or(fleet_now.paid_min);
    let (tokens, tokens_per_second) = (fleet.start_tokens, fleet.start_tokens_per_second);
    let counts = [queue.visible, queue.in_flight, queue.delayed].map(|count| count as f64);
    seen.service_mean = seen.service_mean.or(now.service_mean);
    seen.service_p95 = seen.service_p95.or(now.service_p95);
    seen.boot_warm_p50 = seen.boot_warm_p50.or(now.boot_warm_p50);
    seen.boot_cold_p50 = seen.boot_cold_p50.or(now.boot_cold_p50);
    if seen.service_slots == 0.0 {
        seen.service_slots = now.service_slots;
    }
    for (field, number) in [
        ("queue.visible", counts[0]),
        ("queue.in_flight", counts[1]),
        ("queue.delayed", counts[2]),
        ("fleet.start_tokens", tokens),
        ("fleet.start_tokens_per_second", tokens_per_second),
        ("arrivals_per_second_latest", seen.arrivals_per_second_latest),
        ("arrivals_per_second_fast", seen.arrivals_per_second_fast),
        ("arrivals_per_second_slow", seen.arrivals_per_second_slow),
        ("late_ratio", seen.late_ratio),
        ("service_slots", seen.service_slots),
    ] {
        if !(0.0..=NUMBER_MAX).contains(&number) {
            let sentence = format!("must be a number from 0 to {NUMBER_MAX:.0}");
            return Err(Error::invalid(format!("observation.{field}"), sentence));
        }
    }
    wire::observation_of_record(&seen).map_err(|error| Error::invalid("observation", error.message()))
}

/// Instances that make such a census, with names that say that they are made up.
pub(super) fn instances(observation: &Observation, census: &Census) -> Result<Vec<Instance>> {
    let total = [census.ready, census.starting, census.draining, census.stopped]
        .into_iter()
        .fold(0, u32::saturating_add);
    if total > INSTANCES_MAX {
        let sentence = format!("{total} instances, the limit is {INSTANCES_MAX}");
        return Err(Error::invalid("observation.fleet", sentence).with_metadata("limit", INSTANCES_MAX));
    }
    let warm = observation.boot.warm;
    let mut left = vec![];
    for due in &census.arrivals {
        let room = (census.starting as usize).saturating_sub(left.len());
        left.extend(std::iter::repeat_n(due.ready_in, room.min(due.count as usize)));
    }
    left.resize(census.starting as usize, warm);
    let starting = left.into_iter().map(|left| (InstanceState::Starting, warm.saturating_sub(left)));
    let many = |state, count: u32| std::iter::repeat_n((state, Duration::ZERO), count as usize);
    let states = many(InstanceState::Ready, census.ready)
        .chain(starting)
        .chain(many(InstanceState::Draining, census.draining))
        .chain(many(InstanceState::Stopped, census.stopped));
    let paid = census.not_owned.saturating_add(census.paid);
    let instance = |(number, (state, age)): (u32, (InstanceState, Duration))| {
        let is_current = matches!(state, InstanceState::Ready | InstanceState::Starting);
        let owned = !is_current || number >= census.not_owned;
        let paid_until = observation.at + Duration::from_secs(1);
        Instance {
            instance_id: Arc::from(format!("given-{number:05}")),
            state,
            since: observation.at.saturating_sub(age),
            cold: false,
            paid_until: if is_current && owned && number < paid { paid_until } else { Duration::ZERO },
            busy_slots: 0,
            owned,
            given_up: false,
        }
    };
    Ok((0..).zip(states).map(instance).collect())
}
