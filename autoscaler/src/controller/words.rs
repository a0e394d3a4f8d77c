//! What operators said and is in force. It outlives the leader that heard it.

use std::{collections::BTreeMap, time::Duration};

use platform::{Error, Kind, Result};
use proto::v1;
use serde::{Deserialize, Serialize};

use crate::{
    clock::timestamp,
    command::{Asker, Command},
    decide::{Override, Paused, Policy},
};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Words {
    /// In force, with its version.
    policy: Policy,
    /// Who set it; `None`: it is that of the options.
    set_by: Option<Asker>,
    /// What the options said when it was set.
    options: Policy,
    pause: Option<Said<Paused>>,
    asked: Option<Said<Override>>,
    /// Instances that drain for good, and the decision that told them to.
    pub retired: BTreeMap<String, String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Said<T> {
    what: T,
    by: Asker,
}

impl Words {
    /// Nothing was said yet.
    pub fn new(options: Policy) -> Self {
        Self {
            policy: options.clone(),
            set_by: None,
            options,
            pause: None,
            asked: None,
            retired: BTreeMap::new(),
        }
    }

    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    pub fn paused(&self) -> Paused {
        self.pause.as_ref().map_or_else(Paused::default, |pause| pause.what)
    }

    pub fn asked(&self) -> Option<Override> {
        self.asked.as_ref().map(|asked| asked.what)
    }

    /// Takes up what an earlier leader was told. Options that have changed since win over a policy that was set before;
    /// what became of it is said.
    pub fn take_up(&mut self, earlier: Self) -> Option<String> {
        let options = std::mem::replace(self, earlier).options;
        if same(&self.options, &options) {
            return None;
        }
        let (old, by) = (self.policy.version, self.set_by.take());
        self.policy = Policy { version: old + 1, ..options.clone() };
        self.options = options;
        let replaced = by.map_or_else(String::new, |by| format!(", set{}", by.words()));
        Some(format!("options: they have changed and replace policy version {old}{replaced}"))
    }

    /// The policy that would be in force.
    pub fn next_policy(&self, policy: &Policy, if_version: Option<u64>) -> Result<Policy> {
        let version = self.policy.version;
        if let Some(expected) = if_version.filter(|expected| *expected != version) {
            let sentence = format!("version {version} is in force, not {expected}; GetStatus has it");
            return Err(Error::new(Kind::VersionMismatch, format!("if_version: {sentence}"))
                .with_violation("if_version", sentence)
                .with_metadata("version", version));
        }
        let changed = !same(policy, &self.policy);
        Ok(Policy { version: version + u64::from(changed), ..policy.clone() })
    }

    pub fn set_policy(&mut self, policy: Policy, by: Asker) {
        self.policy = policy;
        self.set_by = Some(by);
    }

    pub fn pause(&mut self, paused: Paused, by: Asker) -> v1::PauseInForce {
        shown_pause(self.pause.insert(Said { what: paused, by }))
    }

    pub fn resume(&mut self) {
        self.pause = None;
    }

    pub fn ask(&mut self, asked: Option<Override>, by: Asker) -> Option<v1::OverrideInForce> {
        self.asked = asked.map(|what| Said { what, by });
        self.shown_override()
    }

    /// Drops what is over by now, and says what that was.
    pub fn end(&mut self, at: Duration) -> Vec<String> {
        let mut over = Vec::new();
        if let Some(pause) = self.pause.take_if(|pause| pause.what.until.is_some_and(|until| until <= at)) {
            over.push(format!("over: {}{}", Command::Pause(pause.what), pause.by.words()));
        }
        if let Some(asked) = self.asked.take_if(|asked| asked.what.until <= at) {
            over.push(format!("over: {}{}", Command::SetOverride(Some(asked.what)), asked.by.words()));
        }
        over
    }

    pub fn shown_pause(&self) -> Option<v1::PauseInForce> {
        self.pause.as_ref().map(shown_pause)
    }

    pub fn shown_override(&self) -> Option<v1::OverrideInForce> {
        self.asked.as_ref().map(|Said { what, by }| v1::OverrideInForce {
            min_instances: what.min,
            max_instances: what.max,
            instances: what.instances,
            until: Some(timestamp(what.until)),
            reason: by.reason.clone(),
            actor: by.actor.clone(),
        })
    }

    /// What whoever reads the status should not overlook.
    pub fn warnings(&self) -> Vec<String> {
        let pause =
            self.pause.as_ref().map(|said| format!("{}{}", Command::Pause(said.what), said.by.words()));
        let asked = self
            .asked
            .as_ref()
            .map(|said| format!("{}{}", Command::SetOverride(Some(said.what)), said.by.words()));
        let in_force = |what: String| format!("in force: {what}");
        self.set_policy_words().into_iter().chain(pause.into_iter().chain(asked).map(in_force)).collect()
    }

    /// Whoever started us with other options may wonder.
    fn set_policy_words(&self) -> Option<String> {
        let by = self.set_by.as_ref().filter(|_| !same(&self.policy, &self.options))?;
        let (name, version) = (self.policy.name(), self.policy.version);
        Some(format!("policy {name}, version {version}, is in force and not the options': set{}", by.words()))
    }
}

fn shown_pause(Said { what, by }: &Said<Paused>) -> v1::PauseInForce {
    v1::PauseInForce {
        scale_out: what.scale_out,
        scale_in: what.scale_in,
        until: what.until.map(timestamp),
        reason: by.reason.clone(),
        actor: by.actor.clone(),
    }
}

/// Whether two policies say the same, whichever version they are.
fn same(one: &Policy, other: &Policy) -> bool {
    *one == Policy { version: one.version, ..other.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Options;

    fn policy(arguments: &[&str]) -> Policy {
        Options::from_arguments(arguments).unwrap().policy()
    }

    fn alice() -> Asker {
        Asker { actor: "alice".to_owned(), reason: "a test".to_owned() }
    }

    #[test]
    fn policy_that_was_set_survives_a_restart_unless_the_options_have_changed() {
        let mut words = Words::new(policy(&["--max-instances=5"]));
        let next = words.next_policy(&policy(&["--max-instances=7"]), Some(1)).unwrap();
        words.set_policy(next, alice());
        words.pause(Paused { scale_in: true, ..Paused::default() }, alice());

        let mut same = Words::new(policy(&["--max-instances=5"]));
        assert_eq!(same.take_up(words.clone()), None);
        assert_eq!(same, words);
        let said = "policy latency, version 2, is in force and not the options': set by alice: a test";
        assert_eq!(words.warnings()[0], said);

        let mut other = Words::new(policy(&["--max-instances=6"]));
        let said = other.take_up(words.clone()).unwrap();
        assert_eq!(said, "options: they have changed and replace policy version 2, set by alice: a test");
        assert_eq!((other.policy.max_instances, other.policy.version), (6, 3));
        assert!(other.paused().scale_in);
        // And once more, with the same options, nothing changes.
        let mut again = Words::new(policy(&["--max-instances=6"]));
        assert_eq!((again.take_up(other.clone()), again), (None, other));
    }

    #[test]
    fn stale_version_changes_nothing_and_names_the_field() {
        let words = Words::new(policy(&["--max-instances=5"]));
        let wanted = policy(&["--max-instances=7"]);
        let refused = words.next_policy(&wanted, Some(9)).unwrap_err();
        assert_eq!(
            (refused.kind(), refused.violations()[0].field.as_str()),
            (Kind::VersionMismatch, "if_version")
        );
        assert_eq!(words.next_policy(&wanted, None).unwrap().version, 2);
        assert_eq!(words.next_policy(words.policy(), Some(1)).unwrap().version, 1);
    }

    #[test]
    fn what_is_over_is_dropped_once_and_said() {
        let at = Duration::from_secs;
        let mut words = Words::new(policy(&["--max-instances=5"]));
        words.pause(Paused { scale_out: true, scale_in: false, until: Some(at(60)) }, alice());
        words.ask(Some(Override { min: Some(2), max: None, instances: None, until: at(90) }), alice());
        assert_eq!(words.end(at(59)), Vec::<String>::new());
        assert_eq!(words.end(at(60)), ["over: pause scale-out until 1970-01-01T00:01:00Z by alice: a test"]);
        assert_eq!(
            words.warnings(),
            ["in force: override min 2 until 1970-01-01T00:01:30Z by alice: a test"]
        );
        assert_eq!(words.end(at(100)).len(), 1);
        assert_eq!((words.end(at(200)).len(), words.asked(), words.paused()), (0, None, Paused::default()));
    }
}
