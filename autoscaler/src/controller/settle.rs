//! What became of actions, written into the record of their decision.

use std::time::Duration;

use platform::Result;
use proto::v1::{self, ActionOutcome};

use super::Controller;
use crate::{
    decide::{ActionKind, InstanceState},
    fleet::{Failure, FailureKind, Outcome},
    roster::Change,
    wire,
};

impl Controller {
    /// Notes how the actions on an instance went, now that it has changed.
    pub(super) async fn settle(&mut self, at: Duration, change: Change) {
        use InstanceState::{Drained, Lost, Ready, Starting, Stopped};
        tracing::debug!(?change, "instance changed");
        let Change { instance_id, from, to, proved, exit } = change;
        match (from, to) {
            (Ready, Ready) => self.breaker.proved(),
            (_, Ready) => self.end_start(&instance_id, Ok(())).await,
            (_, Drained) => {
                // It started, worked as long as it was wanted, and confirmed.
                self.breaker.proved();
                self.end_start(&instance_id, Ok(())).await;
                self.end(&instance_id, ActionKind::Drain, Ok(())).await;
            }
            (_, Stopped) => {
                let ended = exit.unwrap_or_else(|| "stopped".to_owned());
                if from == Starting || (from == Ready && !proved) {
                    self.breaker.failed(at, &ended);
                }
                if matches!(from, Starting | Ready) {
                    tracing::warn!(instance_id, ended, "worker died");
                }
                self.end_start(&instance_id, Err(Failure::failed(ended))).await;
                for kind in [ActionKind::Drain, ActionKind::Stop, ActionKind::Terminate] {
                    self.end(&instance_id, kind, Ok(())).await;
                }
            }
            (_, Lost) => {
                tracing::warn!(instance_id, ?from, "worker lost");
                let error = "no word of its worker for too long".to_owned();
                if self.roster.stop_why(&instance_id) == crate::fleet::StopWhy::BootFailed {
                    self.breaker.failed(at, &error);
                }
                self.end_start(&instance_id, Err(Failure::failed(error))).await;
            }
            _ => {}
        }
    }

    /// Only what may fail again and again keeps others from being started.
    pub(super) fn note_failure(&mut self, at: Duration, failure: &Failure) {
        if failure.kind == FailureKind::Failed {
            self.breaker.failed(at, &failure.error);
        }
    }

    async fn end_start(&mut self, instance_id: &str, outcome: Outcome) {
        self.end(instance_id, ActionKind::Start, outcome.clone()).await;
        self.end(instance_id, ActionKind::Launch, outcome).await;
    }

    pub(super) async fn end_failed(
        &mut self,
        instance_ids: &[String],
        kind: ActionKind,
        outcomes: Vec<Outcome>,
    ) {
        for (instance_id, outcome) in instance_ids.iter().zip(outcomes) {
            if outcome.is_err() {
                self.end(instance_id, kind, outcome).await;
            }
        }
    }

    /// Writes the outcome of an action into its decision, if it was still open.
    pub(super) async fn end(&mut self, instance_id: &str, kind: ActionKind, outcome: Outcome) {
        let Some(decision_id) = self.pending.remove(&(instance_id.to_owned(), kind)) else { return };
        let kind = wire::action_kind(kind);
        let change = |decision: &mut v1::Decision| {
            let found = decision
                .actions
                .iter_mut()
                .find(|action| action.instance_id == instance_id && action.kind() == kind);
            if let Some(action) = found {
                set_outcome(action, &outcome);
            }
        };
        let written = self.shared.log.update(&decision_id, change).await;
        self.note(written);
    }

    /// `count` actions from `first` on are not done.
    pub(super) async fn leave_undone(
        &mut self,
        decision_id: &str,
        first: usize,
        count: usize,
        why: &Failure,
    ) {
        let change = |decision: &mut v1::Decision| {
            for action in decision.actions.iter_mut().skip(first).take(count) {
                set_outcome(action, &Err(why.clone()));
            }
        };
        let written = self.shared.log.update(decision_id, change).await;
        self.note(written);
    }

    /// A log that cannot be written is no reason to let images wait.
    pub(super) fn note(&mut self, written: Result<()>) {
        self.log_problem = written.err().map(|error| {
            tracing::warn!(%error, "write decision");
            format!("decisions are not being written: {error}")
        });
    }
}

pub(super) fn set_outcome(action: &mut v1::Action, outcome: &Outcome) {
    action.attempts = action.attempts.saturating_add(1);
    match outcome {
        Ok(()) => action.set_outcome(ActionOutcome::Done),
        Err(failure) => {
            action.set_outcome(match failure.kind {
                FailureKind::Throttled => ActionOutcome::Throttled,
                FailureKind::NoCapacity => ActionOutcome::NoCapacity,
                FailureKind::NotYet | FailureKind::Failed => ActionOutcome::Failed,
            });
            failure.error.clone_into(&mut action.error);
        }
    }
}
