//! Who decides: taking over what the leader before us had begun, and following while somebody else leads.

use std::time::Duration;

use proto::v1::{self, ActionOutcome};

use super::{Controller, settle::set_outcome};
use crate::{
    clock::since_epoch,
    decide::ActionKind,
    fleet::{Failure, Machine, MachineState},
};

/// A launch of a leader before us that is younger than this is tried again: the cloud may not list yet what it made.
const RESUME_WITHIN: Duration = Duration::from_secs(60);

/// Of the leader's last decisions some were graded after a follower had read them. So many are read once more by whoever takes
/// over: an hour of them, or of a busy fleet some minutes.
const GRADED_LATE: usize = 128;

/// Who does not lead reads what the leader decided this often.
const FOLLOW_PERIOD: Duration = Duration::from_secs(5);

impl Controller {
    /// Whether we may act at this moment, in the epoch that we know we lead in.
    pub(super) fn leads(&self) -> bool {
        self.leading.is_some() && self.leading == self.epoch()
    }

    /// The epoch that is ours now; 0 where nobody else could lead.
    pub(super) fn epoch(&self) -> Option<u64> {
        self.lease.as_ref().map_or(Some(0), |lease| lease.epoch())
    }

    /// Takes over when the lease was won, and follows while it is somebody else's.
    pub(super) async fn note_leadership(&mut self) {
        let epoch = self.epoch();
        if epoch == self.leading && epoch.is_some() {
            return;
        }
        self.leading = epoch;
        self.shared.leading.send_replace(epoch.is_some());
        if epoch.is_some() {
            // What is there is looked at first: the instances of a launch that is gone on with are not new.
            self.look().await;
            self.take_over().await;
            self.cause(if self.lease.is_some() { "lease: leads from now on" } else { "start" }.to_owned());
            return;
        }
        self.pending.clear();
        (self.retire_next, self.causes) = (None, Vec::new());
        let at = self.shared.clock.now();
        if self.followed.is_none_or(|then| at.saturating_sub(then) >= FOLLOW_PERIOD) {
            self.followed = Some(at);
            // Their workers talk to the leader, so we cannot call them lost.
            self.roster.inherit(at);
            if let Err(error) = self.shared.log.refresh(0).await {
                tracing::warn!(%error, "read the leader's decisions");
            }
        }
    }

    /// We lead from now on: what the one before us had begun is ended or gone on with.
    async fn take_over(&mut self) {
        if let Err(error) = self.shared.log.refresh(GRADED_LATE).await {
            tracing::warn!(%error, "read decisions of the leader before us");
        }
        self.recall().await;
        let at = self.shared.clock.now();
        self.roster.inherit(at);
        self.resume_drains(at).await;
        if let Some(asked) = &mut self.asked {
            asked.resume(at, self.shared.log.last().map_or(0, |decision| decision.want));
        }
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
                    let kind = match action.kind() {
                        v1::ActionKind::Drain => ActionKind::Drain,
                        _ => ActionKind::Launch,
                    };
                    let key = (action.instance_id.clone(), kind);
                    if action.outcome() == ActionOutcome::Pending && !pending.contains_key(&key) {
                        set_outcome(action, &Err(left.clone()));
                    }
                }
            };
            let written = self.shared.log.update(&decision.decision_id, change).await;
            self.note(written);
        }
    }

    /// Instances that were asked to drain go on with it: it is written on them.
    async fn resume_drains(&mut self, at: Duration) {
        let machines = match self.fleet.list().await {
            Ok(machines) => machines,
            Err(error) => {
                tracing::warn!(%error, "list instances that were draining");
                return;
            }
        };
        let runs = |one: &Machine| matches!(one.state, MachineState::Pending | MachineState::Running);
        for machine in machines.into_iter().filter(runs) {
            let Some(decision_id) = machine.draining else { continue };
            self.shared.members().drain(&machine.instance_id, at, &decision_id);
            self.pending.insert((machine.instance_id, ActionKind::Drain), decision_id);
        }
    }
}
