//! How many instances each line of reasoning asks for.

use super::{
    Basis, latency,
    observation::Observation,
    policy::{Backlog, Rule, Step},
};

/// One part of the reasoning.
#[derive(Debug, Clone, PartialEq)]
pub struct Term {
    pub name: &'static str,
    pub instances: u32,
    /// With the numbers filled in: "8 waiting / 5 per worker = 2".
    pub formula: String,
}

/// What all of them ask for.
pub(super) fn terms(basis: Basis<'_>) -> Vec<Term> {
    let Basis { seen, policy, .. } = basis;
    let mut terms = match &policy.rule {
        Rule::Step(rule) => vec![step(seen, rule)],
        Rule::Backlog(rule) => vec![backlog(seen, rule)],
        Rule::Latency(rule) => latency::terms(basis, rule),
        Rule::Fixed(rule) => vec![Term {
            name: "fixed",
            instances: rule.instances,
            formula: format!("{} as set", rule.instances),
        }],
    };
    terms.extend(keep(basis));
    terms.extend(floor(basis));
    terms
}

/// What the work asks for. The others have a time of their own, and the hold is not added to it.
pub(super) fn work(terms: &[Term]) -> u32 {
    let of_work = terms.iter().filter(|term| !matches!(term.name, latency::CLEAR | KEEP | FLOOR));
    of_work.map(|term| term.instances).max().unwrap_or(0)
}

/// What keeps coming asks for.
pub(super) fn steady(terms: &[Term]) -> u32 {
    terms.iter().find(|term| term.name == latency::STEADY).map_or(0, |term| term.instances)
}

const KEEP: &str = "keep";
const FLOOR: &str = "floor";

fn step(observation: &Observation, rule: &Step) -> Term {
    let queue = &observation.queue;
    let (messages, counted) = if rule.count_in_flight {
        (queue.visible.saturating_add(queue.in_flight), "waiting or in flight")
    } else {
        (queue.visible, "waiting")
    };
    let each = rule.messages_per_instance.max(1);
    let instances = u32::try_from(messages.div_ceil(u64::from(each))).unwrap_or(u32::MAX);
    Term {
        name: "step",
        instances,
        formula: format!("{messages} {counted} / {each} per worker = {instances}"),
    }
}

fn backlog(observation: &Observation, rule: &Backlog) -> Term {
    let images = observation.queue.visible.saturating_add(observation.queue.in_flight);
    let each = rule.target_per_instance;
    let instances = round_up(images as f64 / each);
    Term {
        name: "backlog",
        instances,
        formula: format!("{images} waiting or in flight / {each} per worker = {instances}"),
    }
}

/// The last instance stays a while: the next image is likely to come soon after the last one. The
/// report's rule has no such thing, and a fixed number needs none.
fn keep(basis: Basis<'_>) -> Option<Term> {
    let Basis { seen, fleet, recalled, policy } = basis;
    if !policy.reads_load() {
        return None;
    }
    let last = recalled.last_work.filter(|_| fleet.current() > 0)?;
    let quiet = seen.at.saturating_sub(last);
    let instances = u32::from(quiet < policy.keep);
    let under = if instances == 1 { "under" } else { "not under" };
    let (quiet, keep) = (quiet.as_secs_f64(), policy.keep.as_secs_f64());
    let formula = format!("last image {quiet:.0} s ago, {under} {keep:.0} s = {instances}");
    Some(Term { name: KEEP, instances, formula })
}

/// What the schedule asks for: from one boot before its time on, so that they are ready then.
fn floor(basis: Basis<'_>) -> Option<Term> {
    let Basis { seen, policy, .. } = basis;
    let soon = seen.at + seen.boot.warm;
    let floors = policy.floors.iter().filter(|floor| floor.holds(seen.at) || floor.holds(soon));
    let most = floors.max_by_key(|floor| floor.instances)?;
    let formula = format!("{} by the schedule", most.instances);
    Some(Term { name: FLOOR, instances: most.instances, formula })
}

/// The next whole number. A hair over a whole number is rounding, not need.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "`as` saturates, and NaN becomes 0"
)]
pub(super) fn round_up(number: f64) -> u32 {
    (number - 1e-9).ceil() as u32
}
