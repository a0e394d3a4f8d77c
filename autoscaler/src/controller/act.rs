//! From actions to calls.

use proto::v1;

use super::{Controller, settle::set_outcome};
use crate::{
    decide::{Action, ActionKind},
    fleet::{Failure, Launch, Launched, Stop},
    wire,
};

impl Controller {
    pub(super) async fn act(&mut self, decision_id: &str, actions: &[Action]) {
        if self.asked.is_some() {
            self.ask(decision_id, actions).await;
            return;
        }
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

    /// Done with asking: who comes and who goes is somebody else's choice, and seen in what is there.
    async fn ask(&mut self, decision_id: &str, actions: &[Action]) {
        let at = self.shared.clock.now();
        if let Some(asked) = &mut self.asked {
            asked.ask(at, actions);
        }
        let change = |decision: &mut v1::Decision| {
            for action in &mut decision.actions {
                action.instance_id.clear();
                set_outcome(action, &Ok(()));
            }
        };
        let written = self.shared.log.update(decision_id, change).await;
        self.note(written);
    }

    /// Actions of one kind, the first of which is number `first` of the decision.
    async fn act_on(&mut self, decision_id: &str, first: usize, group: &[Action]) {
        let Some(kind) = group.first().map(|action| action.kind) else { return };
        let instance_ids: Vec<_> = group.iter().map(|action| action.instance_id.to_string()).collect();
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
                self.fleet.mark_draining(&instance_ids, None).await;
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
                // What sent them away before is over.
                self.fleet.mark_draining(&instance_ids, None).await;
            }
            ActionKind::Launch => self.launch(decision_id, first, group.len()).await,
            ActionKind::Drain => {
                {
                    let mut members = self.shared.members();
                    instance_ids.iter().for_each(|instance_id| members.drain(instance_id, at, decision_id));
                }
                self.fleet.mark_draining(&instance_ids, Some(decision_id)).await;
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
    pub(super) async fn launch(&mut self, decision_id: &str, first: usize, count: usize) {
        let order = Launch {
            count: u32::try_from(count).unwrap_or(u32::MAX),
            client_token: wire::client_token(decision_id, first),
            decision_id: decision_id.to_owned(),
        };
        let Launched { instance_ids, failure } = self.fleet.launch(&order).await;
        let at = self.shared.clock.now();
        for instance_id in &instance_ids {
            self.shared.members().begin(instance_id, at);
            self.roster.launched(instance_id, at, decision_id);
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
}
