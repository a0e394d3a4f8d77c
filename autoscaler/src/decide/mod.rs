//! The decision: how many instances, why, and what to do about it. A pure function of what was
//! seen, what was remembered and what a person asked for: no clock, no I/O, no randomness.
//!
//! It has three steps. `State` takes the observation in and recalls a few numbers. `answer` makes
//! `want` of those, the observation and the policy; it can be asked again, from a record, at any
//! time. `plan` turns `want` into actions on instances.

mod bounds;
mod explain;
mod history;
mod latency;
mod observation;
mod plan;
mod policy;
mod predict;
mod reason;
mod reserve;
mod state;
mod surge;
mod terms;
#[cfg(test)]
mod tests;

pub use bounds::{Bound, BoundKind};
pub use explain::{CounterFactual, counterfactuals};
pub use observation::{
    Arrivals, Boot, Census, Due, FAST_WINDOW, Instance, InstanceState, LATEST_WINDOW, Observation, Override,
    Paused, Queue, SLOW_WINDOW, Service, Supply,
};
pub use plan::{Action, ActionKind};
pub use policy::{Backlog, Days, Fixed, Floor, Latency, Policy, Rule, Step};
pub use predict::Prediction;
pub use state::{Recalled, State};
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
    /// The instances that `want` was made from, counted.
    pub census: Census,
    /// What `want` took from the state.
    pub recalled: Recalled,
    pub prediction: Prediction,
}

/// How many instances, and why.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    pub terms: Vec<Term>,
    pub need: u32,
    pub bounds: Vec<Bound>,
    pub want: u32,
}

/// All that an answer is made from.
#[derive(Debug, Clone, Copy)]
struct Basis<'a> {
    /// Its instances are not read: they are in `fleet`, counted.
    seen: &'a Observation,
    fleet: &'a Census,
    recalled: &'a Recalled,
    policy: &'a Policy,
}

/// Decides. Deciding again with the state it returned, and nothing else changed, gives the same
/// decision and the same state.
pub fn decide(observation: &Observation, state: &State, policy: &Policy) -> (Decision, State) {
    let census = Census::of(observation);
    let mut state = state.seen(observation, &census, policy);
    let mut recalled = state.recall(observation, policy);
    let Answer { terms, need, bounds, want } = answer(observation, &census, &recalled, policy);
    let current = census.current();
    state.remember(observation.at, &terms, current.saturating_sub(want));
    recalled.largest_need = state.largest_need();
    let actions = plan::actions(want, current, observation);
    let prediction =
        predict::predict(Basis { seen: observation, fleet: &census, recalled: &recalled, policy }, want);
    let mut decision = Decision {
        terms,
        need,
        bounds,
        want,
        current,
        actions,
        reason: String::new(),
        census,
        recalled,
        prediction,
    };
    decision.reason = reason::sentence(&decision, policy);
    (decision, state)
}

/// `want` from numbers that are all in the record of a decision. The observation's instances are not read.
pub fn answer(observation: &Observation, census: &Census, recalled: &Recalled, policy: &Policy) -> Answer {
    let basis = Basis { seen: observation, fleet: census, recalled, policy };
    let terms = terms::terms(basis);
    let need = terms.iter().map(|term| term.instances).max().unwrap_or(0);
    let (want, bounds) = bounds::apply(basis, need, terms::work(&terms));
    Answer { terms, need, bounds, want }
}
