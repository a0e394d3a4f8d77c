//! One call for many instances, although the cloud fails it as a whole for one wrong id.

use std::{collections::VecDeque, ops::Range};

use super::CloudFleet;
use crate::fleet::{
    Failure, FailureKind, Outcome,
    cloud::{self, CloudError, CloudErrorKind},
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Call {
    Start,
    Stop,
    Terminate,
}

/// Ids in one call: EC2 takes a thousand, and fails them all for one that is wrong.
const CHUNK: usize = 50;

impl CloudFleet {
    /// Does it to each of them, in as few calls as go through: a call that fails for one id is halved until that
    /// id is alone. The outcomes are in the order of the ids.
    pub(super) async fn each(&self, call: Call, instance_ids: &[String]) -> Vec<Outcome> {
        let foreign = Failure::failed(format!("it has no tag that makes it part of {}", self.options.fleet));
        let mut outcomes: Vec<Outcome> = vec![Ok(()); instance_ids.len()];
        let mut ours = Vec::with_capacity(instance_ids.len());
        {
            let state = self.state();
            for (at, (instance_id, outcome)) in instance_ids.iter().zip(&mut outcomes).enumerate() {
                if state.sight.is_ours(instance_id) {
                    ours.push((at, instance_id.clone()));
                } else {
                    *outcome = Err(foreign.clone());
                }
            }
        }
        for (at, outcome) in self.halve(call, &ours).await {
            if let Some(place) = outcomes.get_mut(at) {
                *place = outcome;
            }
        }
        outcomes
    }

    async fn halve(&self, call: Call, ours: &[(usize, String)]) -> Vec<(usize, Outcome)> {
        let mut outcomes = Vec::with_capacity(ours.len());
        let mut parts: VecDeque<Range<usize>> =
            (0..ours.len()).step_by(CHUNK).map(|from| from..(from + CHUNK).min(ours.len())).collect();
        let mut refused = self.closed(call);
        while let Some(range) = parts.pop_front() {
            let part = ours.get(range.clone()).unwrap_or_default();
            let ids: Vec<_> = part.iter().map(|(_, instance_id)| instance_id.clone()).collect();
            let done = match &refused {
                Some(failure) => Err(Failure::clone(failure)),
                None => match self.call(call, &ids).await {
                    Ok(()) => Ok(()),
                    Err(error) if is_about_one(error.kind) && part.len() > 1 => {
                        let middle = range.start + part.len() / 2;
                        parts.push_front(middle..range.end);
                        parts.push_front(range.start..middle);
                        continue;
                    }
                    Err(error) => {
                        if error.kind == CloudErrorKind::NotFound {
                            ids.iter().for_each(|instance_id| self.state().sight.unknown(instance_id));
                        }
                        let is_refusal = error.kind == CloudErrorKind::Throttled;
                        let failure = Failure::from(error);
                        if is_refusal {
                            refused = Some(failure.clone());
                        }
                        Err(failure)
                    }
                },
            };
            outcomes.extend(part.iter().map(|(at, _)| (*at, done.clone())));
        }
        outcomes
    }

    /// The cloud refused calls like this a moment ago.
    fn closed(&self, call: Call) -> Option<Failure> {
        let at = self.now();
        let state = self.state();
        // Starts have been counted by whoever asked for them.
        let closed = call != Call::Start && state.budgets.other.closed_until(at).is_some();
        closed.then(|| Failure::new(FailureKind::Throttled, "held back for the cloud's limits"))
    }

    async fn call(&self, call: Call, instance_ids: &[String]) -> cloud::Result<()> {
        let done = match call {
            Call::Start => self.cloud.start(instance_ids).await,
            Call::Stop => self.cloud.stop(instance_ids).await,
            Call::Terminate => self.cloud.terminate(instance_ids).await,
        };
        let at = self.now();
        let mut state = self.state();
        let budget = match call {
            Call::Start => &mut state.budgets.start,
            Call::Stop | Call::Terminate => &mut state.budgets.other,
        };
        match &done {
            Err(error) if error.kind == CloudErrorKind::Throttled => budget.refused(at),
            _ => budget.accepted(),
        }
        done
    }
}

/// Whether others of the same call may have been fine.
fn is_about_one(kind: CloudErrorKind) -> bool {
    matches!(kind, CloudErrorKind::NotFound | CloudErrorKind::WrongState | CloudErrorKind::NoCapacity)
}

impl From<CloudError> for Failure {
    fn from(error: CloudError) -> Self {
        let kind = match error.kind {
            CloudErrorKind::Throttled => FailureKind::Throttled,
            CloudErrorKind::NoCapacity => FailureKind::NoCapacity,
            CloudErrorKind::WrongState => FailureKind::NotYet,
            CloudErrorKind::NotFound
            | CloudErrorKind::TokenMismatch
            | CloudErrorKind::Denied
            | CloudErrorKind::Unclear
            | CloudErrorKind::Other => FailureKind::Failed,
        };
        Self::new(kind, error.message)
    }
}
