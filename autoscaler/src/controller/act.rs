//! From actions to calls, and from what became of them to the record.

use std::time::Duration;

use platform::Result;
use proto::v1::{self, ActionOutcome};

use super::Controller;
use crate::{
    clock::since_epoch,
    decide::{Action, ActionKind, InstanceState},
    fleet::{Failure, FailureKind, Launch, Launched, Outcome, Stop},
    roster::Change,
    wire,
};

/// A launch of a leader before us that is younger than this is tried again: the cloud may not list yet what it made.
const RESUME_WITHIN: Duration = Duration::from_secs(60);

impl Controller {
    pub(super) async fn act(&mut self, decision_id: &str, actions: &[Action]) {
        let mut first = 0;
        for group in actions.chunk_by(|one, next| one.kind == next.kind) {
            if self.leads() {
                self.act_on(decision_id, first, group).await;
            } else {
                let late = Failure::failed("no longer the leader");
                self.leave_undone(decision_id, first, group.len(), &late).await;
            }
            first += group.len();
        }
    }

    /// Actions of one kind, the first of which is number `first` of the decision.
    async fn act_on(&mut self, decision_id: &str, first: usize, group: &[Action]) {
        let Some(kind) = group.first().map(|action| action.kind) else { return };
        let instance_ids: Vec<_> = group.iter().map(|action| action.instance_id.clone()).collect();
        let at = self.shared.clock.now();
        if kind != ActionKind::Launch {
            let open = |id: &String| ((id.clone(), kind), decision_id.to_owned());
            self.pending.extend(instance_ids.iter().map(open));
        }
        match kind {
            ActionKind::Undrain => {
                for instance_id in &instance_ids {
                    self.undrain(instance_id, decision_id).await;
                }
            }
            ActionKind::Start => {
                for instance_id in &instance_ids {
                    self.shared.members().begin(instance_id, at);
                    self.roster.started(instance_id, at, decision_id);
                }
                let outcomes = self.fleet.start(&instance_ids).await;
                for (instance_id, outcome) in instance_ids.iter().zip(outcomes) {
                    if let Err(failure) = outcome {
                        self.roster.not_started(instance_id, at);
                        self.note_failure(at, &failure);
                        self.end(instance_id, ActionKind::Start, Err(failure)).await;
                    }
                }
            }
            ActionKind::Launch => self.launch(decision_id, first, group.len()).await,
            ActionKind::Drain => {
                let mut members = self.shared.members();
                instance_ids.iter().for_each(|instance_id| members.drain(instance_id, at, decision_id));
            }
            ActionKind::Stop => {
                let stop = |id: &String| Stop { instance_id: id.clone(), why: self.roster.stop_why(id) };
                let stops: Vec<_> = instance_ids.iter().map(stop).collect();
                let outcomes = self.fleet.stop(&stops).await;
                self.end_failed(&instance_ids, kind, outcomes).await;
            }
            ActionKind::Terminate => {
                let outcomes = self.fleet.terminate(&instance_ids).await;
                self.end_failed(&instance_ids, kind, outcomes).await;
            }
        }
    }

    async fn undrain(&mut self, instance_id: &str, decision_id: &str) {
        let stays = self.shared.members().undrain(instance_id, decision_id);
        let outcome = if stays { Ok(()) } else { Err(Failure::failed("it had finished already")) };
        if stays {
            let told = format!("told to stay by {decision_id} before it had finished");
            self.end(instance_id, ActionKind::Drain, Err(Failure::failed(told))).await;
        }
        self.end(instance_id, ActionKind::Undrain, outcome).await;
    }

    /// `count` new instances for the actions from `first` on. Their token is in the record already.
    async fn launch(&mut self, decision_id: &str, first: usize, count: usize) {
        let order = Launch {
            count: u32::try_from(count).unwrap_or(u32::MAX),
            client_token: wire::client_token(decision_id, first),
            decision_id: decision_id.to_owned(),
        };
        let Launched { instance_ids, failure } = self.fleet.launch(&order).await;
        let at = self.shared.clock.now();
        for instance_id in &instance_ids {
            self.shared.members().begin(instance_id, at);
            self.roster.started(instance_id, at, decision_id);
            self.pending.insert((instance_id.clone(), ActionKind::Launch), decision_id.to_owned());
        }
        let failure = failure.unwrap_or_else(|| Failure::failed("the cloud made fewer than asked for"));
        if instance_ids.len() < count {
            self.note_failure(at, &failure);
        }
        let change = |decision: &mut v1::Decision| {
            for (number, action) in decision.actions.iter_mut().skip(first).take(count).enumerate() {
                match instance_ids.get(number) {
                    Some(instance_id) => instance_id.clone_into(&mut action.instance_id),
                    None => set_outcome(action, &Err(failure.clone())),
                }
            }
        };
        let written = self.shared.log.update(decision_id, change).await;
        self.note(written);
    }

    /// We lead from now on: what the one before us had begun is ended or gone on with.
    pub(super) async fn take_over(&mut self) {
        self.state = crate::decide::State::default();
        if let Err(error) = self.shared.log.refresh().await {
            tracing::warn!(%error, "read decisions of the leader before us");
        }
        let at = self.shared.clock.now();
        self.roster.inherit(at);
        for decision in self.shared.log.unfinished() {
            let young = decision
                .time
                .as_ref()
                .and_then(since_epoch)
                .is_some_and(|then| at.saturating_sub(then) < RESUME_WITHIN);
            let launches: Vec<_> = decision
                .actions
                .iter()
                .enumerate()
                .filter(|(_, action)| young && action.kind() == v1::ActionKind::Launch)
                .collect();
            let unanswered = |action: &v1::Action| {
                action.outcome() == ActionOutcome::Pending && action.instance_id.is_empty()
            };
            let resumes = launches.iter().any(|(_, action)| unanswered(action));
            for (_, action) in &launches {
                if action.outcome() == ActionOutcome::Pending && !action.instance_id.is_empty() {
                    let key = (action.instance_id.clone(), ActionKind::Launch);
                    self.pending.insert(key, decision.decision_id.clone());
                }
            }
            let first = launches.first().map(|(number, _)| *number);
            if let (true, Some(first)) = (resumes, first) {
                tracing::info!(
                    decision_id = decision.decision_id,
                    "launch again what may not have been launched"
                );
                self.launch(&decision.decision_id, first, launches.len()).await;
            }
            let pending = &self.pending;
            let left = Failure::failed("the autoscaler stopped before it was done");
            let change = |decision: &mut v1::Decision| {
                for action in &mut decision.actions {
                    let key = (action.instance_id.clone(), ActionKind::Launch);
                    if action.outcome() == ActionOutcome::Pending && !pending.contains_key(&key) {
                        set_outcome(action, &Err(left.clone()));
                    }
                }
            };
            let written = self.shared.log.update(&decision.decision_id, change).await;
            self.note(written);
        }
    }

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
    fn note_failure(&mut self, at: Duration, failure: &Failure) {
        if failure.kind == FailureKind::Failed {
            self.breaker.failed(at, &failure.error);
        }
    }

    async fn end_start(&mut self, instance_id: &str, outcome: Outcome) {
        self.end(instance_id, ActionKind::Start, outcome.clone()).await;
        self.end(instance_id, ActionKind::Launch, outcome).await;
    }

    async fn end_failed(&mut self, instance_ids: &[String], kind: ActionKind, outcomes: Vec<Outcome>) {
        for (instance_id, outcome) in instance_ids.iter().zip(outcomes) {
            if outcome.is_err() {
                self.end(instance_id, kind, outcome).await;
            }
        }
    }

    /// Writes the outcome of an action into its decision, if it was still open.
    async fn end(&mut self, instance_id: &str, kind: ActionKind, outcome: Outcome) {
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
    async fn leave_undone(&mut self, decision_id: &str, first: usize, count: usize, why: &Failure) {
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

fn set_outcome(action: &mut v1::Action, outcome: &Outcome) {
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
