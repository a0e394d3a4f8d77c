//! One instance of the model: where it was when, and where it will be.

use std::time::Duration;

use tokio::time::Instant;

use super::super::cloud::{CloudInstance, CloudState, Market, Offering};

#[derive(Debug)]
pub(super) struct SimInstance {
    pub offering: Offering,
    pub market: Market,
    /// What it was from each moment on; the first is its making. The last may lie ahead.
    history: Vec<(Instant, CloudInstance)>,
}

impl SimInstance {
    pub fn new(offering: Offering, market: Market, at: Instant, instance: CloudInstance) -> Self {
        Self { offering, market, history: vec![(at, instance)] }
    }

    /// How it is at `at`; `None` before it was made.
    pub fn at(&self, at: Instant) -> Option<&CloudInstance> {
        self.history.iter().rev().find(|(since, _)| *since <= at).map(|(_, instance)| instance)
    }

    pub fn state(&self, at: Instant) -> CloudState {
        self.at(at).map_or(CloudState::Terminated, |instance| instance.state)
    }

    /// Changes it at `at`: what was to come does not.
    pub fn change(&mut self, at: Instant, change: impl FnOnce(&mut CloudInstance)) {
        self.history.retain(|(since, _)| *since <= at);
        if let Some((_, last)) = self.history.last() {
            let mut next = last.clone();
            change(&mut next);
            self.history.push((at, next));
        }
    }

    /// It is in `first` now and in `last` after `delay`.
    pub fn go(&mut self, at: Instant, first: CloudState, last: CloudState, delay: Duration) {
        self.change(at, |instance| instance.state = first);
        if let Some((_, now)) = self.history.last() {
            let after = CloudInstance { state: last, ..now.clone() };
            self.history.push((at + delay, after));
        }
    }

    /// Takes a place of its offering.
    pub fn occupies(&self, at: Instant) -> bool {
        matches!(self.state(at), CloudState::Pending | CloudState::Running)
    }

    /// It was started again: a new billed period.
    pub fn restarted(&mut self, at: Duration) {
        for (_, instance) in self.history.iter_mut().rev().take(2) {
            instance.launch_time = at;
            instance.reason.clear();
        }
    }

    pub fn tag(&mut self, name: &str, value: &str) {
        // Tags do not end what is under way.
        for (_, instance) in &mut self.history {
            instance.tags.insert(name.to_owned(), value.to_owned());
        }
    }
}
