//! The decision: how many instances, why, and what to do about it. A pure function of what was
//! seen, what was remembered and what a person asked for: no clock, no I/O, no randomness.

mod bounds;
mod latency;
mod observation;
mod plan;
mod policy;
mod reason;
mod state;
mod terms;
#[cfg(test)]
mod tests;

pub use bounds::{Bound, BoundKind};
pub use observation::{
    Arrivals, Boot, Census, FAST_WINDOW, Instance, InstanceState, Observation, Paused, Queue, SLOW_WINDOW,
    Service, Supply,
};
pub use plan::{Action, ActionKind};
pub use policy::{Backlog, Fixed, Latency, Policy, Rule, Step};
pub use state::State;
pub use terms::Term;

#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// The parts of the reasoning; `need` is the largest.
    pub terms: Vec<Term>,
    pub need: u32,
    /// What changed `need` into `want`, in order.
    pub bounds: Vec<Bound>,
    pub want: u32,
    /// Ready and starting when it was decided.
    pub current: u32,
    /// In the order they are to be done. Those that add or take capacity make `want - current`.
    pub actions: Vec<Action>,
    /// One sentence, made from the fields above.
    pub reason: String,
}

/// Decides. Deciding again with the state it returned, and nothing else changed, gives the same
/// decision and the same state.
pub fn decide(observation: &Observation, state: &State, policy: &Policy) -> (Decision, State) {
    let census = Census::of(&observation.instances);
    let mut state = state.seen(observation);
    let mut terms = terms::terms(observation, &state, policy);
    state.remember(observation.at, largest(&terms), policy.hold(&observation.boot));
    // Not remembered: it has a time of its own, and the hold must not be added to it.
    terms.extend(terms::keep(observation, &state, policy));
    let need = largest(&terms);
    let (want, bounds) = bounds::apply(need, state.largest_need(), observation, policy);
    let actions = plan::actions(want, observation);
    let mut decision =
        Decision { terms, need, bounds, want, current: census.current(), actions, reason: String::new() };
    decision.reason = reason::sentence(&decision, policy);
    (decision, state)
}

fn largest(terms: &[Term]) -> u32 {
    terms.iter().map(|term| term.instances).max().unwrap_or(0)
}
