//! What keeps `want` from being `need`: each bound is recorded when it bites.

use super::{
    observation::{Census, Observation},
    policy::Policy,
    terms::round_up,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bound {
    pub kind: BoundKind,
    pub from: u32,
    pub to: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BoundKind {
    /// More was needed a short while ago.
    Hold,
    /// The counts are too old to stop anything on their word.
    Stale,
    Min,
    Max,
    Paused,
    /// There are no more instances to be had, or those that are there are not ours to stop.
    Capacity,
    /// Starts are being held back.
    ApiBudget,
}

/// The later a bound, the stronger: a person's limits win over caution, a pause wins over limits,
/// and what cannot be done wins over all.
pub(super) fn apply(
    need: u32,
    largest_need: u32,
    observation: &Observation,
    policy: &Policy,
) -> (u32, Vec<Bound>) {
    let census = Census::of(&observation.instances);
    let current = census.current();
    let mut want = Want { instances: need, bounds: Vec::new() };
    want.at_least(largest_need.min(current), BoundKind::Hold);
    if policy.reads_queue() && is_stale(observation, policy) {
        want.at_least(current, BoundKind::Stale);
    }
    want.at_least(policy.min_instances, BoundKind::Min);
    want.at_most(policy.max_instances, BoundKind::Max);
    if observation.paused.scale_out {
        want.at_most(current, BoundKind::Paused);
    }
    if observation.paused.scale_in {
        want.at_least(current, BoundKind::Paused);
    }
    want.at_least(census.not_owned.min(current), BoundKind::Capacity);
    let without_start = current + undrainable(observation);
    let startable = census.stopped.saturating_add(observation.supply.launchable);
    want.at_most(without_start.saturating_add(startable), BoundKind::Capacity);
    let tokens = round_up(observation.supply.start_tokens.max(0.0).floor());
    want.at_most(without_start.saturating_add(tokens), BoundKind::ApiBudget);
    (want.instances, want.bounds)
}

fn is_stale(observation: &Observation, policy: &Policy) -> bool {
    observation.queue.as_of.is_none_or(|as_of| observation.at.saturating_sub(as_of) > policy.stale_after)
}

/// Draining instances that can be told to stay.
fn undrainable(observation: &Observation) -> u32 {
    Census::of(&observation.instances).draining
}

struct Want {
    instances: u32,
    bounds: Vec<Bound>,
}

impl Want {
    fn at_least(&mut self, least: u32, kind: BoundKind) {
        self.become_instances(self.instances.max(least), kind);
    }

    fn at_most(&mut self, most: u32, kind: BoundKind) {
        self.become_instances(self.instances.min(most), kind);
    }

    fn become_instances(&mut self, to: u32, kind: BoundKind) {
        if to != self.instances {
            self.bounds.push(Bound { kind, from: self.instances, to });
            self.instances = to;
        }
    }
}
