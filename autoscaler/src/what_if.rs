//! What somebody asks to be simulated, made of the request and of how things are.

use std::time::Duration;

use platform::{Error, Kind, Result};
use proto::v1::{self, simulate_request::Source};

use crate::{
    decide::{Boot, Census, Days, Decision, Floor, Observation, Policy, Rule},
    fleet::TOKENS_UNLIMITED,
    history::{STEP, Stretch},
    policy_request::{self, PolicyDefaults},
    simulate::{self, Arrivals, BootModel, Budget, Scenario, ServiceModel, Shape},
    wire,
};

mod given;
#[cfg(test)]
mod tests;

pub use given::decide_once;
use given::{instances, seen};

/// As many as there are lines in a plot that a person can tell apart.
const POLICIES_MAX: usize = 10;

/// A week has every weekday in it.
const DURATION_MAX: Duration = Duration::from_secs(7 * DAY);

/// In one run; takes seconds, and 80 MB for the latencies.
const REQUESTS_MAX: f64 = 20e6;

/// Nobody waits longer for an instance.
const BOOT_MAX: Duration = Duration::from_secs(DAY);

/// What is late where no policy says it: as a gateway's `--latency-target`.
const TARGET: Duration = Duration::from_secs(10);

/// From the stop call until a machine can be started again, as in the scenarios; a process is gone at once.
const MACHINE_STOP_SECONDS: f64 = 15.0;
const PROCESS_STOP_SECONDS: f64 = 1.0;

const DAY: u64 = 86_400;

/// How things are, as a simulation begins from it.
pub struct Live {
    pub observation: v1::Observation,
    pub policy: v1::Policy,
    pub policy_defaults: PolicyDefaults,
    pub price_per_hour_usd: f64,
}

/// A question that was found to make sense.
#[derive(Debug)]
pub enum Question {
    /// One decision of each policy.
    Observation(Box<Observation>, Vec<Policy>),
    /// A run of each policy.
    Runs(Vec<Run>),
}

#[derive(Debug)]
pub struct Run {
    /// As it was given.
    pub policy: Policy,
    /// The same in simulated time: its schedule begins when the load does.
    pub played: Policy,
    pub scenario: Scenario,
    pub seed: u64,
    length: Duration,
    /// Between the simulated time and the time that the load was recorded at.
    shift: Duration,
}

/// Reads a request. `recorded` gives what arrived lately.
pub fn read(
    request: &v1::SimulateRequest,
    live: &Live,
    recorded: impl FnOnce(Duration) -> Option<Stretch>,
) -> Result<Question> {
    let policies = policies(request, live)?;
    let (mut observation, census) = seen(request, live)?;
    let boot = Boot {
        warm: boot("boot_warm", request.boot_warm.as_ref())?.unwrap_or(observation.boot.warm),
        cold: boot("boot_cold", request.boot_cold.as_ref())?.unwrap_or(observation.boot.cold),
    };
    observation.boot = boot;
    let (load, length, shift) = match &request.source {
        None => return Err(Error::invalid("source", "must be one of observation, shape and recorded")),
        Some(Source::Observation(_)) => {
            observation.instances = instances(&observation, &census)?;
            return Ok(Question::Observation(Box::new(observation), policies));
        }
        Some(Source::Shape(shape)) => {
            let shape = read_shape(shape)?;
            (simulate::shape(shape), Duration::from_secs_f64(shape.duration), Duration::ZERO)
        }
        Some(Source::Recorded(length)) => {
            let length = platform::time::from_proto(Some(length)).filter(|length| *length >= STEP);
            let length = length.ok_or_else(|| {
                Error::invalid("recorded", format!("must be at least {} s", STEP.as_secs()))
            })?;
            let stretch = recorded(length).ok_or_else(|| {
                Error::new(Kind::RecordIncomplete, "nothing is recorded yet: ask again in a few minutes")
            })?;
            let shift = stretch.from.saturating_sub(simulate::EPOCH);
            let length = STEP * u32::try_from(stretch.counts.len()).unwrap_or(u32::MAX);
            (simulate::recorded(stretch.counts, STEP.as_secs_f64()), length, shift)
        }
    };
    check_size(&load.arrivals)?;
    let run = |policy: Policy| Run {
        played: Policy {
            floors: policy.floors.iter().map(|floor| earlier(*floor, shift)).collect(),
            ..policy.clone()
        },
        scenario: scenario(&load, &observation, &census, &Terms { policy: &policy, live }),
        policy,
        seed: request.seed,
        length,
        shift,
    };
    Ok(Question::Runs(policies.into_iter().map(run).collect()))
}

impl Run {
    /// Of the load, in simulated time.
    pub fn length(&self) -> Duration {
        self.length
    }

    /// A decision of the run as it is shown: at the time that the load was recorded at.
    pub fn shown(&self, decision: &Decision, seen: &Observation, sequence: u64) -> v1::Decision {
        let mut seen = Observation { at: seen.at + self.shift, ..seen.clone() };
        seen.queue.as_of = seen.queue.as_of.map(|as_of| as_of + self.shift);
        let mut decision = decision.clone();
        decision.recalled.last_work = decision.recalled.last_work.map(|last| last + self.shift);
        shown(&decision, &seen, &self.policy, sequence)
    }
}

/// A decision that nobody acts on. It has no id.
pub fn shown(decision: &Decision, seen: &Observation, policy: &Policy, sequence: u64) -> v1::Decision {
    let mut shown = wire::decision("", decision, seen, wire::By { policy, leader_epoch: 0 });
    shown.sequence = sequence;
    for action in &mut shown.actions {
        action.client_token.clear();
        action.outcome = v1::ActionOutcome::Unspecified.into();
    }
    shown
}

fn policies(request: &v1::SimulateRequest, live: &Live) -> Result<Vec<Policy>> {
    if request.policies.len() > POLICIES_MAX {
        let sentence = format!("{} policies, the limit is {POLICIES_MAX}", request.policies.len());
        return Err(Error::invalid("policies", sentence).with_metadata("limit", POLICIES_MAX));
    }
    if request.policies.is_empty() {
        return Ok(vec![policy_request::parse("policy", &live.policy, &live.policy_defaults)?]);
    }
    let read = |(number, policy): (usize, &v1::Policy)| {
        let read = policy_request::read(&format!("policies[{number}]"), policy, &live.policy_defaults)?;
        Ok(Policy { version: policy.version, ..read })
    };
    request.policies.iter().enumerate().map(read).collect()
}

fn boot(field: &str, length: Option<&prost_types::Duration>) -> Result<Option<Duration>> {
    let Some(length) = length else { return Ok(None) };
    let read = platform::time::from_proto(Some(length)).filter(|length| *length <= BOOT_MAX);
    read.map(Some).ok_or_else(|| Error::invalid(field, "must be 0 s to a day"))
}

fn read_shape(shape: &v1::LoadShape) -> Result<Shape> {
    let field = |name: &str| format!("shape.{name}");
    let v1::LoadShape { requests_per_second: rate, peak_requests_per_second: peak, .. } = *shape;
    for (name, rate) in [("requests_per_second", rate), ("peak_requests_per_second", peak)] {
        if !(0.0..=REQUESTS_MAX).contains(&rate) {
            return Err(Error::invalid(field(name), format!("must be a number from 0 to {REQUESTS_MAX:.0}")));
        }
    }
    let duration = platform::time::from_proto(shape.duration.as_ref());
    let duration = duration.filter(|duration| !duration.is_zero() && *duration <= DURATION_MAX);
    let duration =
        duration.ok_or_else(|| Error::invalid(field("duration"), "must be over 0 s and at most 7 days"))?;
    let period = match &shape.period {
        None => Duration::ZERO,
        given => platform::time::from_proto(given.as_ref())
            .ok_or_else(|| Error::invalid(field("period"), "must not be negative"))?,
    };
    if peak > rate && period.is_zero() {
        return Err(Error::invalid(field("period"), "must be over 0 s for a load that has a peak"));
    }
    Ok(Shape { rate, peak, period: period.as_secs_f64(), duration: duration.as_secs_f64() })
}

fn check_size(arrivals: &Arrivals) -> Result<()> {
    let expected = arrivals.expected();
    if expected > REQUESTS_MAX {
        let field = if matches!(arrivals, Arrivals::Counts { .. }) { "recorded" } else { "shape" };
        let sentence = format!("{expected:.0} images, the limit of one run is {REQUESTS_MAX:.0}");
        return Err(Error::invalid(field, sentence).with_metadata("limit", REQUESTS_MAX));
    }
    Ok(())
}

/// What a scenario takes from beside the observation.
struct Terms<'a> {
    policy: &'a Policy,
    live: &'a Live,
}

/// The load on a fleet like the one there is, with the policy's least ready at the start.
fn scenario(load: &Scenario, seen: &Observation, census: &Census, terms: &Terms<'_>) -> Scenario {
    let Terms { policy, live } = terms;
    let machines = !seen.supply.paid_min.is_zero();
    let limited = seen.supply.start_tokens_per_second < TOKENS_UNLIMITED;
    let mean = seen.service.mean.as_secs_f64();
    let p95 = seen.service.p95.as_secs_f64().max(mean);
    Scenario {
        max_instances: policy.max_instances,
        min_instances: policy.min_instances,
        stopped_pool: census.current() + census.draining + census.stopped,
        initially_ready: policy.min_instances,
        boot: BootModel {
            warm: seen.boot.warm.as_secs_f64(),
            cold: seen.boot.cold.as_secs_f64(),
            jitter: 0.0,
        },
        stop: if machines { MACHINE_STOP_SECONDS } else { PROCESS_STOP_SECONDS },
        billed_min: seen.supply.paid_min.as_secs_f64(),
        target: target(policy, live).as_secs_f64(),
        service: ServiceModel {
            mean,
            // The p95 of a lognormal time is about 1.65 deviations over its mean.
            variation: if mean > 0.0 { (p95 / mean - 1.0) / 1.65 } else { 0.0 },
            slots: slots(seen.service.slots),
            slowdown: 0.0,
            prior: mean,
        },
        budget: limited.then_some(Budget {
            burst: seen.supply.start_tokens,
            per_second: seen.supply.start_tokens_per_second,
        }),
        price_per_hour: live.price_per_hour_usd,
        ..load.clone()
    }
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "`as` saturates, and it is over 0"
)]
fn slots(slots: f64) -> u32 {
    slots.round().max(1.0) as u32
}

/// The policy's own, or else that of the one in force.
fn target(policy: &Policy, live: &Live) -> Duration {
    let in_force = policy_request::parse("policy", &live.policy, &live.policy_defaults).ok();
    let of = |policy: &Policy| match &policy.rule {
        Rule::Latency(rule) => Some(rule.target),
        Rule::Step(_) | Rule::Backlog(_) | Rule::Fixed(_) => None,
    };
    of(policy).or_else(|| in_force.as_ref().and_then(of)).unwrap_or(TARGET)
}

/// A floor of a schedule so much earlier in the week.
fn earlier(floor: Floor, by: Duration) -> Floor {
    let (days, seconds) = (by.as_secs() / DAY % 7, Duration::from_secs(by.as_secs() % DAY));
    let (from, days) = match floor.from.checked_sub(seconds) {
        Some(from) => (from, days),
        None => (floor.from + Duration::from_secs(DAY) - seconds, days + 1),
    };
    let moved = |day: u64| floor.days.0 >> ((day + days) % 7) & 1 == 1;
    let days = (0..7).filter(|day| moved(*day)).fold(0, |days, day| days | 1 << day);
    Floor { days: Days(days), from, ..floor }
}
