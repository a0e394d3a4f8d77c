//! What is kept for the leader after us, and what was kept by the one before.

use std::{sync::Arc, time::Duration};

use platform::store::Store;

use super::Controller;
use crate::{
    decide::{Action, ActionKind, Decision, InstanceState, State},
    snapshot::{Found, Snapshot},
};

/// How often what we know is written down.
const SNAPSHOT_PERIOD: Duration = Duration::from_secs(60);

/// The snapshot, and how it is with it.
pub(super) struct Memory {
    /// `None`: nothing is kept.
    store: Option<Arc<dyn Store>>,
    written: Option<Duration>,
    /// What is wrong, in a sentence.
    pub problem: Option<String>,
}

/// An instance that was told to drain for good.
pub(super) struct Retired {
    instance_id: String,
    /// Whether it was capacity until now.
    counted: bool,
}

impl Memory {
    pub fn new(store: Option<Arc<dyn Store>>) -> Self {
        Self { store, written: None, problem: None }
    }
}

impl Controller {
    /// Takes up what the leader before us knew. Without it the fleet is held for a while.
    pub(super) async fn recall(&mut self) {
        self.state = State::default();
        let Some(store) = self.memory.store.clone() else { return };
        let at = self.shared.clock.now();
        self.memory.written = Some(at);
        let lost = match Snapshot::read(store.as_ref()).await {
            Ok(Found::Snapshot(snapshot)) => {
                self.take_up(*snapshot, at);
                self.memory.problem = None;
                return;
            }
            // The first of all leaders has lost nothing.
            Ok(Found::None) if self.shared.log.last().is_none() => return,
            Ok(Found::None) => "there is no snapshot of an earlier leader".to_owned(),
            Ok(Found::Damaged(what)) => format!("the snapshot of an earlier leader is damaged: {what}"),
            Err(error) => format!("the snapshot of an earlier leader cannot be read: {error}"),
        };
        tracing::warn!("{lost}");
        self.memory.problem = Some(format!("{lost}; nothing is stopped for a while"));
    }

    fn take_up(&mut self, snapshot: Snapshot, at: Duration) {
        let age = at.saturating_sub(snapshot.written);
        tracing::info!(?age, "go on from the snapshot of an earlier leader");
        self.state = snapshot.state.resumed();
        self.shared.load().remember(snapshot.history);
        self.roster.remember(snapshot.boots);
        if let Some(said) = self.words.take_up(snapshot.words) {
            tracing::warn!("{said}");
            self.cause(said);
        }
        let mut members = self.shared.members();
        members.take_up(snapshot.service);
        for (instance_id, decision_id) in &self.words.retired {
            members.retire(instance_id, at, decision_id);
        }
    }

    /// Writes down what we know, if it is ours to write.
    pub(super) async fn save(&mut self) {
        let Some(store) = self.memory.store.clone().filter(|_| self.leads()) else { return };
        let at = self.shared.clock.now();
        self.memory.written = Some(at);
        let service = self.shared.members().service();
        let mut snapshot = Snapshot::new(at, self.words.clone(), self.state.clone(), service);
        snapshot.history = self.shared.load().history().clone();
        snapshot.boots = self.roster.boots().clone();
        self.memory.problem = snapshot.write(store.as_ref()).await.err().map(|error| {
            tracing::warn!(%error, "write snapshot");
            format!("what is known is not being written down: {error}")
        });
    }

    /// Writes down what we know, if it is time.
    pub(super) async fn remember(&mut self, at: Duration) {
        if self.memory.written.is_none_or(|then| at.saturating_sub(then) >= SNAPSHOT_PERIOD) {
            self.save().await;
        }
    }

    /// Ends what operators asked for until now.
    pub(super) fn end_words(&mut self) {
        for over in self.words.end(self.shared.clock.now()) {
            tracing::info!("{over}");
            self.cause(over);
        }
        let there = |instance_id: &String| {
            self.roster.state_of(instance_id).is_some_and(|state| state != InstanceState::Stopped)
        };
        self.words.retired.retain(|instance_id, _| there(instance_id));
    }

    /// Tells the instance that was asked for to drain for good.
    pub(super) async fn retire(&mut self, decision_id: &str) -> Option<Retired> {
        let instance_id = self.retire_next.take()?;
        let counted = self.roster.state_of(&instance_id) == Some(InstanceState::Ready);
        let at = self.shared.clock.now();
        self.shared.members().retire(&instance_id, at, decision_id);
        self.words.retired.insert(instance_id.clone(), decision_id.to_owned());
        self.look().await;
        Some(Retired { instance_id, counted })
    }
}

impl Retired {
    /// It was capacity when this was decided, and is on its way because of it.
    pub fn add_to(self, decision: &mut Decision) {
        if self.counted {
            decision.current += 1;
            let drain = Action { kind: ActionKind::Drain, instance_id: self.instance_id.into() };
            decision.actions.insert(0, drain);
        }
    }
}
