//! How many instances each line of reasoning asks for.

use super::{
    latency,
    observation::{Census, Observation},
    policy::{Backlog, Policy, Rule, Step},
    state::State,
};

/// One part of the reasoning.
#[derive(Debug, Clone, PartialEq)]
pub struct Term {
    pub name: &'static str,
    pub instances: u32,
    /// With the numbers filled in: "8 waiting / 5 per worker = 2".
    pub formula: String,
}

/// What the work asks for.
pub(super) fn terms(observation: &Observation, state: &State, policy: &Policy) -> Vec<Term> {
    match &policy.rule {
        Rule::Step(rule) => vec![step(observation, rule)],
        Rule::Backlog(rule) => vec![backlog(observation, rule)],
        Rule::Latency(rule) => latency::terms(observation, state, rule),
        Rule::Fixed(rule) => vec![Term {
            name: "fixed",
            instances: rule.instances,
            formula: format!("{} as set", rule.instances),
        }],
    }
}

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
pub(super) fn keep(observation: &Observation, state: &State, policy: &Policy) -> Option<Term> {
    if !matches!(policy.rule, Rule::Backlog(_) | Rule::Latency(_)) {
        return None;
    }
    let last = state.last_work.filter(|_| Census::of(&observation.instances).current() > 0)?;
    let quiet = observation.at.saturating_sub(last);
    let instances = u32::from(quiet < policy.keep);
    let under = if instances == 1 { "under" } else { "not under" };
    let (quiet, keep) = (quiet.as_secs_f64(), policy.keep.as_secs_f64());
    let formula = format!("last image {quiet:.0} s ago, {under} {keep:.0} s = {instances}");
    Some(Term { name: "keep", instances, formula })
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
