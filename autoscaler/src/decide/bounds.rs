//! What keeps `want` from being `need`: each bound is recorded when it bites.

use super::{Basis, terms::round_up};

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
    /// A person set limits for a while.
    Override,
    Paused,
    /// Some have been paid for already, and stopping them saves nothing.
    PaidMinute,
    /// There are no more instances to be had, or those that are there are not ours to stop.
    Capacity,
    /// Starts are being held back, or so many would not be had back soon.
    ApiBudget,
}

/// Of a fleet larger than this, only so large a share is asked to go in a minute: to have them back
/// takes as many calls, and the cloud gives few of those a second.
const DRAIN_FREELY: u32 = 100;
const DRAIN_SHARE: f64 = 1.0 / 3.0;

/// The later a bound, the stronger: a person's limits win over caution, a pause wins over limits,
/// and what cannot be done wins over all.
pub(super) fn apply(basis: Basis<'_>, need: u32, work: u32) -> (u32, Vec<Bound>) {
    let Basis { seen, fleet, recalled, policy } = basis;
    let current = fleet.current();
    let paused = seen.paused.at(seen.at);
    let mut want = Want { instances: need, bounds: Vec::new() };
    want.at_least(recalled.largest_need.max(work).min(current), BoundKind::Hold);
    if policy.reads_queue() && is_stale(basis) {
        want.at_least(current, BoundKind::Stale);
    }
    want.at_least(current.saturating_sub(drainable(basis)), BoundKind::ApiBudget);
    let limits = Limits::of(basis);
    want.at_least(limits.least.0, limits.least.1);
    want.at_most(limits.most.0, limits.most.1);
    if paused.scale_out {
        want.at_most(current, BoundKind::Paused);
    }
    if paused.scale_in {
        want.at_least(current, BoundKind::Paused);
    }
    want.at_least(fleet.not_owned.min(current), BoundKind::Capacity);
    want.at_least((fleet.not_owned + fleet.paid).min(current), BoundKind::PaidMinute);
    let without_start = current + fleet.draining;
    let startable = fleet.stopped.saturating_add(seen.supply.launchable);
    want.at_most(without_start.saturating_add(startable), BoundKind::Capacity);
    let tokens = round_up(seen.supply.start_tokens.max(0.0).floor());
    want.at_most(without_start.saturating_add(tokens), BoundKind::ApiBudget);
    (want.instances, want.bounds)
}

/// The limits in force, each with whose it is.
struct Limits {
    least: (u32, BoundKind),
    most: (u32, BoundKind),
}

impl Limits {
    /// A person's for a while take the place of the policy's; where the two do not fit together, the person's wins.
    fn of(basis: Basis<'_>) -> Self {
        let Basis { seen, policy, .. } = basis;
        let asked = seen.asked.filter(|asked| asked.until > seen.at);
        let min = asked.and_then(|asked| asked.instances.or(asked.min));
        let max = asked.and_then(|asked| asked.instances.or(asked.max));
        let own_least = policy.min_instances.min(max.unwrap_or(u32::MAX));
        let own_most = policy.max_instances.max(min.unwrap_or(0));
        let asked = |limit| (limit, BoundKind::Override);
        Self {
            least: min.map_or((own_least, BoundKind::Min), asked),
            most: max.map_or((own_most, BoundKind::Max), asked),
        }
    }
}

fn is_stale(basis: Basis<'_>) -> bool {
    let Basis { seen, policy, .. } = basis;
    seen.queue.approximate
        || seen.queue.as_of.is_none_or(|as_of| seen.at.saturating_sub(as_of) > policy.stale_after)
}

/// How many more may be asked to go in this minute.
fn drainable(basis: Basis<'_>) -> u32 {
    let (current, drained) = (basis.fleet.current(), basis.recalled.drained);
    let whole = current.saturating_add(drained);
    // Where starts are not limited, all of them are back within a second.
    if whole <= DRAIN_FREELY || f64::from(whole) <= basis.seen.supply.start_tokens_per_second {
        return u32::MAX;
    }
    round_up(f64::from(whole) * DRAIN_SHARE).saturating_sub(drained)
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
