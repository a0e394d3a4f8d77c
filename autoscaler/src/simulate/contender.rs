//! Who takes part in a comparison: one of our policies or a rival with its settings.

use std::{borrow::Cow, time::Duration};

use super::{
    Player, Scenario,
    rivals::{FAMILIES, RivalSettings},
};
pub use crate::policy_request::HOLD_MAX;
use crate::{
    decide::{Backlog, Latency, Policy, Rule, Step},
    policy_request::PolicyDefaults,
};

/// Ours that a comparison knows by name, beside the rivals' families.
pub const OURS: [&str; 3] = ["latency", "backlog", "step"];

/// The share of answers that is to be within the target, as in the service.
pub const QUANTILE: f64 = 0.95;

/// As in the service.
const DEFAULTS: PolicyDefaults =
    PolicyDefaults { keep: Duration::from_secs(60), tick: Duration::from_secs(2) };

#[derive(Debug, Clone, PartialEq)]
pub struct Contender {
    /// As on the command line: `latency`, `keda`.
    pub family: &'static str,
    pub title: String,
    /// What sets it apart from others of its family.
    pub settings: String,
    pub kind: Kind,
    plan: Plan,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Ours,
    /// A rival as it comes.
    Default,
    /// A rival with settings chosen for this scenario after the fact.
    Tuned,
}

#[derive(Debug, Clone, PartialEq)]
enum Plan {
    Ours(Policy),
    Rival(RivalSettings),
}

impl Contender {
    /// One of our policies. Its limits on instances count where they are narrower than the scenario's.
    pub fn ours(policy: Policy) -> Self {
        let settings = match &policy.rule {
            Rule::Latency(latency) => format!("T = {} s", latency.target.as_secs_f64()),
            Rule::Backlog(backlog) => format!("{} an instance", backlog.target_per_instance),
            Rule::Step(step) if step.count_in_flight => {
                format!("{} an instance, in flight too", step.messages_per_instance)
            }
            Rule::Step(step) => format!("{} an instance", step.messages_per_instance),
            Rule::Fixed(fixed) => format!("{} instances", fixed.instances),
        };
        let family = policy.name();
        Self { family, title: family.to_owned(), settings, kind: Kind::Ours, plan: Plan::Ours(policy) }
    }

    /// Our `latency` with a target in seconds, and everything else as in the service.
    pub fn latency(target: f64) -> Self {
        let target = Duration::from_secs_f64(target);
        Self::ours(policy(Rule::Latency(Latency { target, quantile: QUANTILE, hold_max: HOLD_MAX })))
    }

    pub fn rival(settings: RivalSettings) -> Self {
        let kind = if RivalSettings::defaults().contains(&settings) { Kind::Default } else { Kind::Tuned };
        Self {
            family: settings.family(),
            title: settings.title().to_owned(),
            settings: settings.words(),
            kind,
            plan: Plan::Rival(settings),
        }
    }

    /// The contenders of a name on the command line, with their defaults for a scenario with this target; `None` for a
    /// name nobody has.
    pub fn named(name: &str, target: f64) -> Option<Vec<Self>> {
        match name {
            "latency" => Some(vec![Self::latency(target)]),
            "backlog" => Some(vec![Self::ours(policy(Rule::Backlog(Backlog { target_per_instance: 5.0 })))]),
            "step" => {
                let step = Step { messages_per_instance: 5, count_in_flight: false };
                Some(vec![Self::ours(policy(Rule::Step(step)))])
            }
            family if FAMILIES.contains(&family) => {
                let defaults = RivalSettings::defaults().into_iter();
                Some(defaults.filter(|one| one.family() == family).map(Self::rival).collect())
            }
            _ => None,
        }
    }

    /// Under another title.
    pub fn titled(self, title: String) -> Self {
        Self { title, ..self }
    }

    /// Title and settings in one.
    pub fn name(&self) -> String {
        format!("{} ({})", self.title, self.settings)
    }

    pub fn is_ours(&self) -> bool {
        self.kind == Kind::Ours
    }

    /// A new player for one run.
    pub fn player(&self, scenario: &Scenario, seed: u64) -> Player {
        match &self.plan {
            Plan::Ours(policy) => Player::Ours(Policy {
                max_instances: policy.max_instances.min(scenario.max_instances),
                min_instances: policy.min_instances.max(scenario.min_instances),
                ..policy.clone()
            }),
            Plan::Rival(settings) => Player::Rival(settings.rival(seed)),
        }
    }

    /// The scenario as this contender meets it: one that cannot go to zero starts with its minimum.
    pub(super) fn scenario<'a>(&self, scenario: &'a Scenario) -> Cow<'a, Scenario> {
        let min = match &self.plan {
            Plan::Ours(_) => 0,
            Plan::Rival(settings) => settings.min_instances(),
        };
        if min <= scenario.min_instances {
            return Cow::Borrowed(scenario);
        }
        let mut own = scenario.clone();
        own.min_instances = min;
        own.initially_ready = own.initially_ready.max(min);
        Cow::Owned(own)
    }
}

/// A policy as the service makes it of its flags, without limits of its own.
pub fn policy(rule: Rule) -> Policy {
    Policy {
        stale_after: DEFAULTS.stale_after(&rule),
        rule,
        min_instances: 0,
        max_instances: u32::MAX,
        hold: None,
        keep: DEFAULTS.keep,
        floors: Vec::new(),
        version: 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_known_and_nothing_else() {
        for name in OURS.into_iter().chain(FAMILIES) {
            let contenders = Contender::named(name, 60.0).unwrap();
            assert!(contenders.iter().all(|one| one.family == name && one.kind != Kind::Tuned), "{name}");
        }
        assert_eq!(Contender::named("kubernetes", 60.0), None);
        assert_eq!(Contender::named("ec2", 60.0).unwrap().len(), 2, "with and without zero");
    }

    #[test]
    fn settings_other_than_the_defaults_are_tuned() {
        assert!(RivalSettings::grid().into_iter().all(|one| Contender::rival(one).kind == Kind::Tuned));
        assert_eq!(Contender::latency(60.0).name(), "latency (T = 60 s)");
    }
}
