//! What operators ask for, done: changed, recorded with who asked and why, and decided upon at once.

use std::collections::VecDeque;

use platform::{Error, Kind, Result};

use super::Controller;
use crate::{
    command::{Answer, Asker, Command, Order},
    decide::{InstanceState, Policy},
    wire,
};

/// Answers that are kept for callers who ask again. They do so within minutes.
const ANSWERS_MAX: usize = 256;

/// What was done under which request id.
#[derive(Debug, Default)]
pub(super) struct Obeyed(VecDeque<(String, Command, Answer)>);

impl Obeyed {
    fn answer(&self, request_id: &str, command: &Command) -> Result<Option<Answer>> {
        let known = self.0.iter().find(|(known, ..)| known == request_id && !request_id.is_empty());
        match known {
            None => Ok(None),
            Some((_, done, answer)) if done == command => Ok(Some(answer.clone())),
            Some(_) => Err(Error::new(Kind::RequestIdReused, "request_id was used for another command")
                .with_violation("request_id", "was used for another command")),
        }
    }

    fn note(&mut self, request_id: String, command: Command, answer: Answer) {
        if request_id.is_empty() {
            return;
        }
        if self.0.len() == ANSWERS_MAX {
            self.0.pop_front();
        }
        self.0.push_back((request_id, command, answer));
    }
}

impl Controller {
    pub(super) async fn obey(&mut self, order: Order) {
        let Order { command, asker, request_id, answer } = order;
        let done = self.execute(command, asker, request_id).await;
        if answer.send(done).is_err() {
            tracing::debug!("nobody waits for the answer to a command any more");
        }
    }

    async fn execute(&mut self, command: Command, asker: Asker, request_id: String) -> Result<Answer> {
        self.note_leadership().await;
        if !self.leads() {
            let sentence = "another autoscaler leads, and only it takes commands; connect there";
            return Err(Error::new(Kind::ServiceUnavailable, sentence));
        }
        if let Some(answer) = self.obeyed.answer(&request_id, &command)? {
            return Ok(answer);
        }
        let answer = match &command {
            Command::Pause(paused) => Answer::Paused(self.words.pause(*paused, asker.clone())),
            Command::Resume => {
                self.words.resume();
                Answer::Done
            }
            Command::SetOverride(asked) => Answer::Override(self.words.ask(*asked, asker.clone())),
            Command::SetPolicy { policy, if_version, dry_run } => {
                let policy = self.words.next_policy(policy, *if_version)?;
                let answer = Answer::Policy(Box::new(wire::policy(&policy)));
                if *dry_run {
                    return Ok(answer);
                }
                self.change_policy(policy, asker.clone());
                answer
            }
            Command::Drain { instance_id } => {
                self.look().await;
                self.retire_next = self.check_drain(instance_id)?;
                Answer::Done
            }
        };
        tracing::info!("{command}{}", asker.words());
        self.cause(format!("command: {command}{}", asker.words()));
        self.step().await;
        self.save().await;
        if !self.leads() {
            // Whoever leads now may not know of it.
            let sentence = "another autoscaler took the lead while this was being done; ask it again";
            return Err(Error::new(Kind::ServiceUnavailable, sentence));
        }
        let answer = match &command {
            Command::Drain { instance_id } => self.instance(instance_id).unwrap_or(answer),
            _ => answer,
        };
        self.obeyed.note(request_id, command, answer.clone());
        Ok(answer)
    }

    fn change_policy(&mut self, policy: Policy, asker: Asker) {
        if policy.version != self.words.policy().version {
            self.words.set_policy(policy, asker);
        }
    }

    /// The instance that is to be drained for good; `None` when it is on its way already.
    fn check_drain(&self, instance_id: &str) -> Result<Option<String>> {
        let members = self.shared.members();
        let instances = self.roster.instances(&members);
        let instance = instances.iter().find(|one| *one.instance_id == *instance_id).ok_or_else(|| {
            let sentence = format!("no instance {instance_id:?}; ListInstances has the ids");
            Error::new(Kind::InstanceNotFound, sentence).with_resource("dunlin.v1.Instance", instance_id)
        })?;
        let refuse = |why: &str| {
            let sentence = format!("{instance_id} {why}");
            Err(Error::new(Kind::InstanceNotReady, sentence).with_resource("dunlin.v1.Instance", instance_id))
        };
        if !instance.owned {
            return refuse(
                "was started by somebody else, and is not ours to stop; send SIGTERM to its worker",
            );
        }
        let leaves = members.get(instance_id).is_some_and(|member| member.leaving || member.drained);
        match instance.state {
            InstanceState::Ready | InstanceState::Draining => Ok((!leaves).then(|| instance_id.to_owned())),
            InstanceState::Drained | InstanceState::Stopping => Ok(None),
            InstanceState::Starting => refuse("has no worker yet; ask again once it is ready"),
            InstanceState::Stopped => refuse("is stopped, and has no worker to drain"),
            InstanceState::Lost => refuse("is lost: its worker is silent, and its machine will be stopped"),
        }
    }

    fn instance(&self, instance_id: &str) -> Option<Answer> {
        let view = self.shared.view.borrow();
        let instance = view.instances.iter().find(|instance| instance.instance_id == instance_id);
        instance.cloned().map(|instance| Answer::Instance(Box::new(instance)))
    }
}
