//! The world as the controller sees it: the parts of an observation.

use std::time::Duration;

use super::{
    clock::{Micros, micros, seconds, since_epoch},
    counters::Totals,
    random::{LogNormal, Stream},
    scenario::{Fault, Scenario},
    world::{Machine, Phase, World},
};
use crate::decide::{Arrivals, Boot, Instance, InstanceState, Observation, Paused, Queue, Service, Supply};

/// For those who are not limited: more than any fleet starts at once.
const ENOUGH_TOKENS: f64 = 1e6;

/// What is known before the first look.
pub(super) fn nothing(scenario: &Scenario) -> Observation {
    let prior = Duration::from_secs_f64(scenario.service.prior);
    Observation {
        at: since_epoch(0),
        queue: Queue::default(),
        arrivals: Arrivals::default(),
        service: Service { mean: prior, p95: prior, slots: f64::from(scenario.service.slots.max(1)) },
        late_ratio: 0.0,
        boot: Boot { warm: Duration::ZERO, cold: Duration::ZERO },
        instances: Vec::new(),
        supply: Supply {
            launchable: scenario.max_instances,
            start_tokens: ENOUGH_TOKENS,
            start_tokens_per_second: ENOUGH_TOKENS,
            stopped_max: scenario.stopped_pool,
            paid_min: Duration::from_secs_f64(scenario.billed_min),
        },
        paused: Paused::default(),
        asked: None,
    }
}

pub(super) fn instances(world: &World<'_>) -> Vec<Instance> {
    let instance = |number: &u32| {
        let machine = &world.machines[*number as usize];
        let mut instance = Instance {
            instance_id: machine.id.clone(),
            state: InstanceState::Stopped,
            since: Duration::ZERO,
            cold: false,
            paid_until: Duration::ZERO,
            busy_slots: 0,
            owned: true,
            given_up: false,
        };
        show(&mut instance, machine, world.work.worker(*number as usize).busy);
        instance
    };
    world.listed.iter().map(instance).collect()
}

/// The same instances as they are now. `instances` were made from the world's present listing.
pub(super) fn refresh(instances: &mut [Instance], world: &World<'_>) {
    for (instance, number) in instances.iter_mut().zip(&world.listed) {
        let number = *number as usize;
        show(instance, &world.machines[number], world.work.worker(number).busy);
    }
}

fn show(instance: &mut Instance, machine: &Machine, busy: u32) {
    instance.state = match machine.phase {
        Phase::Starting => InstanceState::Starting,
        Phase::Ready => InstanceState::Ready,
        Phase::Draining => InstanceState::Draining,
        Phase::Drained => InstanceState::Drained,
        Phase::Leaving | Phase::Stopping | Phase::Gone => InstanceState::Stopping,
        Phase::Stopped => InstanceState::Stopped,
        Phase::Lost => InstanceState::Lost,
    };
    instance.since = since_epoch(machine.since);
    instance.cold = machine.cold;
    instance.paid_until =
        if machine.paid_until == 0 { Duration::ZERO } else { since_epoch(machine.paid_until) };
    instance.busy_slots = busy;
    // Its worker never came: nobody waits for it.
    instance.given_up = machine.phase == Phase::Lost;
}

pub(super) fn number_of(instance_id: &str) -> Option<usize> {
    instance_id.rsplit('-').next()?.parse().ok()
}

pub(super) fn supply(world: &mut World<'_>) -> Supply {
    let scenario = world.scenario;
    let start_tokens = world.tokens().unwrap_or(ENOUGH_TOKENS);
    Supply {
        launchable: scenario.max_instances,
        start_tokens,
        start_tokens_per_second: scenario.budget.map_or(ENOUGH_TOKENS, |budget| budget.per_second),
        stopped_max: scenario.stopped_pool,
        paid_min: Duration::from_secs_f64(scenario.billed_min),
    }
}

/// The median of the last boots, and before the first one what the scenario says.
pub(super) fn boot(world: &World<'_>) -> Boot {
    let boot = world.scenario.boot;
    let [warm, cold] = [(0, boot.warm), (1, boot.cold)].map(|(kind, prior)| {
        let mut sorted: Vec<Micros> = world.boots[kind].iter().copied().collect();
        sorted.sort_unstable();
        Duration::from_micros(sorted.get(sorted.len() / 2).copied().unwrap_or(micros(prior)))
    });
    Boot { warm, cold }
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`as` saturates; never negative")]
fn round(count: f64) -> u64 {
    count.round() as u64
}

pub(super) fn queue(world: &World<'_>, noise: &mut Stream) -> Queue {
    let (work, now) = (&world.work, world.now);
    let as_of = Some(since_epoch(now));
    if let Some(Totals { visible, in_flight, .. }) = guessed(world, noise) {
        return Queue { visible, in_flight, as_of, approximate: true, ..Queue::default() };
    }
    let oldest = match (work.oldest_waiting(), work.oldest_in_flight()) {
        (Some(waiting), Some(in_flight)) => Some(waiting.min(in_flight)),
        (waiting, in_flight) => waiting.or(in_flight),
    };
    Queue {
        visible: work.waiting() as u64,
        in_flight: work.in_flight,
        delayed: world.hidden.len() as u64,
        oldest_age: Duration::from_micros(oldest.map_or(0, |arrived| now - arrived)),
        as_of,
        approximate: false,
    }
}

/// A queue's own estimates, where a scenario has nothing better.
pub(super) fn guessed(world: &World<'_>, noise: &mut Stream) -> Option<Totals> {
    let (lag, variation) = world.scenario.faults.iter().find_map(|fault| match fault {
        Fault::ApproximateCounts { lag, noise } => Some((*lag, *noise)),
        _ => None,
    })?;
    let then = world.counters.at(world.now.saturating_sub(micros(lag)));
    let factor = LogNormal::new(1.0, variation);
    let mut guess = |count: u64| round(count as f64 * factor.draw(noise));
    Some(Totals { visible: guess(then.visible), in_flight: guess(then.in_flight), ..then })
}

/// Whether the counts are those of an earlier moment.
pub(super) fn is_stale(world: &World<'_>) -> bool {
    let now = seconds(world.now);
    let stale = |fault: &Fault| match fault {
        Fault::StaleCounts { from, until } => (*from..*until).contains(&now),
        _ => false,
    };
    world.scenario.faults.iter().any(stale)
}
