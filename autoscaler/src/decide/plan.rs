//! What to do so that there are as many instances as wanted, in order.

use std::{cmp::Reverse, sync::Arc, time::Duration};

use super::observation::{Instance, InstanceState, Observation};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Action {
    pub kind: ActionKind,
    /// Empty for a launch: a new instance has no name yet.
    pub instance_id: Arc<str>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ActionKind {
    /// Tell a draining one to stay.
    Undrain,
    /// Start a stopped one.
    Start,
    /// Make a new one.
    Launch,
    /// Ask one to finish and take nothing new.
    Drain,
    /// Stop one that confirmed it holds nothing, or that is lost.
    Stop,
    /// End a stopped one for good.
    Terminate,
}

impl ActionKind {
    /// What it adds to ready and starting.
    pub fn capacity(self) -> i64 {
        match self {
            Self::Undrain | Self::Start | Self::Launch => 1,
            Self::Drain => -1,
            Self::Stop | Self::Terminate => 0,
        }
    }
}

pub(super) fn actions(want: u32, current: u32, observation: &Observation) -> Vec<Action> {
    let mut actions = if want >= current {
        grow((want - current) as usize, &observation.instances)
    } else {
        shrink((current - want) as usize, observation)
    };
    if !observation.paused.at(observation.at).scale_in {
        actions.extend(stops(&observation.instances));
        let terminations = surplus(observation, &actions);
        actions.extend(terminations);
    }
    actions
}

/// Un-drain first: it takes no time. The one with most in its hands has most to lose by going.
fn grow(count: usize, instances: &[Instance]) -> Vec<Action> {
    let mut draining = in_state(instances, InstanceState::Draining);
    draining.sort_by_key(|instance| Reverse(instance.busy_slots));
    let stopped = in_state(instances, InstanceState::Stopped);
    let known = draining
        .into_iter()
        .map(|instance| action(ActionKind::Undrain, instance))
        .chain(stopped.into_iter().map(|instance| action(ActionKind::Start, instance)));
    let nameless: Arc<str> = Arc::from("");
    let launch = || Some(Action { kind: ActionKind::Launch, instance_id: Arc::clone(&nameless) });
    known.chain(std::iter::from_fn(launch)).take(count).collect()
}

/// The least useful first: not ready yet, then idle, then the least busy; of equals the newest.
/// A busy one finishes what it holds before it goes. One that is paid for stays.
fn shrink(count: usize, observation: &Observation) -> Vec<Action> {
    let mut candidates: Vec<_> =
        observation.instances.iter().filter(|instance| instance.may_go(observation.at)).collect();
    candidates.sort_by_key(|instance| (instance.state, instance.busy_slots, Reverse(instance.since)));
    candidates.into_iter().take(count).map(|instance| action(ActionKind::Drain, instance)).collect()
}

impl Instance {
    fn may_go(&self, at: Duration) -> bool {
        let serves = matches!(self.state, InstanceState::Starting | InstanceState::Ready);
        self.owned && serves && self.paid_until <= at
    }
}

fn stops(instances: &[Instance]) -> impl Iterator<Item = Action> {
    instances
        .iter()
        .filter(|instance| {
            let done = instance.state == InstanceState::Drained
                || (instance.state == InstanceState::Lost && instance.given_up);
            instance.owned && done
        })
        .map(|instance| action(ActionKind::Stop, instance))
}

/// Stopped ones beyond those that are kept, the oldest first.
fn surplus(observation: &Observation, actions: &[Action]) -> Vec<Action> {
    let starts = actions.iter().filter(|action| action.kind == ActionKind::Start).count();
    let mut stopped: Vec<_> = in_state(&observation.instances, InstanceState::Stopped)
        .into_iter()
        .filter(|instance| instance.owned)
        .collect();
    let over = stopped.len().saturating_sub(observation.supply.stopped_max as usize);
    // What is being started makes room by itself; a fleet that grows ends nothing.
    if over == 0 || starts > 0 {
        return Vec::new();
    }
    stopped.sort_by_key(|instance| instance.since);
    stopped.into_iter().take(over).map(|instance| action(ActionKind::Terminate, instance)).collect()
}

fn in_state(instances: &[Instance], state: InstanceState) -> Vec<&Instance> {
    instances.iter().filter(|instance| instance.state == state).collect()
}

fn action(kind: ActionKind, instance: &Instance) -> Action {
    Action { kind, instance_id: Arc::clone(&instance.instance_id) }
}
