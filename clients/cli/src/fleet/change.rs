//! The policy in force with some of it changed.

use std::time::Duration;

use platform::{
    options::{Problems, parse_duration},
    time::to_proto,
};
use proto::v1::{BacklogPolicy, FixedPolicy, LatencyPolicy, Policy, ScheduleFloor, StepPolicy, policy::Kind};

/// What is asked to be another than it is.
#[derive(Debug, Clone, Default, clap::Args)]
pub(super) struct Change {
    /// How the number of instances is found
    #[arg(long, value_enum, value_name = "POLICY")]
    pub(super) policy: Option<Rule>,
    /// For `latency`: 95 % of the images are to be answered within this
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    target: Option<Duration>,
    /// For `step` and `backlog`: images for each instance
    #[arg(long, value_name = "COUNT")]
    messages_per_instance: Option<u32>,
    /// For `fixed`: this many; with --for or --until exactly so many, whatever the policy
    #[arg(long, value_name = "COUNT")]
    pub(super) instances: Option<u32>,
    /// Never fewer than this
    #[arg(long = "min", value_name = "COUNT")]
    pub(super) min_instances: Option<u32>,
    /// Never more than this
    #[arg(long = "max", value_name = "COUNT")]
    pub(super) max_instances: Option<u32>,
    /// Scale in only to what was needed at most in this time
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    hold: Option<Duration>,
    /// The last instance stays this long after the last image
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    keep: Option<Duration>,
    /// Each week at these times never fewer, in UTC: "mon-fri 08:00-18:00=4"; several with ';' between. Replaces the one in force
    #[arg(long, value_delimiter = ';', value_name = "[DAYS ]FROM-TO=COUNT", value_parser = autoscaler::schedule_floor)]
    schedule: Vec<ScheduleFloor>,
    /// No schedule any more
    #[arg(long, conflicts_with = "schedule")]
    no_schedule: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Rule {
    /// One instance for so many waiting images
    Step,
    /// Keep the images in the system at a target for each instance
    Backlog,
    /// Answer 95 % within a time
    Latency,
    /// Always the same number
    Fixed,
}

/// The autoscaler's own, for a rule that was not in force before.
const MESSAGES_PER_INSTANCE: u32 = 5;
const QUANTILE: f64 = 0.95;

impl Change {
    pub(super) fn is_given(&self) -> bool {
        self.min_instances.is_some()
            || self.max_instances.is_some()
            || self.is_of_policy_alone()
            || self.instances.is_some()
    }

    /// Whether there is something that limits for a while have not.
    pub(super) fn is_of_policy_alone(&self) -> bool {
        self.policy.is_some()
            || self.target.is_some()
            || self.messages_per_instance.is_some()
            || self.hold.is_some()
            || self.keep.is_some()
            || self.no_schedule
            || !self.schedule.is_empty()
    }

    /// What can be said before the policy in force is known.
    pub(super) fn check(&self, problems: &mut Problems) {
        let Some(rule) = self.policy else { return };
        let known = format!("{rule:?}").to_lowercase();
        let mut check = |flag: &str, is_given: bool, rules: &[Rule]| {
            if is_given && !rules.contains(&rule) {
                problems.add(flag, format_args!("is not for --policy {known}"));
            }
        };
        check("--target", self.target.is_some(), &[Rule::Latency]);
        check("--messages-per-instance", self.messages_per_instance.is_some(), &[Rule::Step, Rule::Backlog]);
        check("--instances", self.instances.is_some(), &[Rule::Fixed]);
    }

    /// The policy with this changed; or why that cannot be, by the flag.
    pub(super) fn apply(&self, mut policy: Policy) -> Result<Policy, String> {
        let before = policy.kind.take();
        let kind = self.kind(before)?;
        if before != Some(kind) {
            // It follows the target; absent, the autoscaler finds it.
            policy.stale_after = None;
        }
        policy.kind = Some(kind);
        policy.min_instances = self.min_instances.unwrap_or(policy.min_instances);
        policy.max_instances = self.max_instances.unwrap_or(policy.max_instances);
        policy.scale_in_hold = self.hold.map(to_proto).or(policy.scale_in_hold);
        policy.keep = self.keep.map(to_proto).or(policy.keep);
        if self.no_schedule || !self.schedule.is_empty() {
            policy.floors.clone_from(&self.schedule);
        }
        Ok(policy)
    }

    fn kind(&self, before: Option<Kind>) -> Result<Kind, String> {
        let mut kind = match self.policy {
            Some(rule) if before.and_then(rule_of) != Some(rule) => self.new_kind(rule)?,
            _ => before.ok_or("--policy: must be set, as the policy in force is none that is known here")?,
        };
        let not_for =
            |flag: &str, rules: &str| Err(format!("{flag}: is for {rules}, and another policy is in force"));
        match (&mut kind, self.target) {
            (_, None) => {}
            (Kind::Latency(latency), Some(target)) => latency.target = Some(to_proto(target)),
            _ => return not_for("--target", "--policy latency"),
        }
        match (&mut kind, self.messages_per_instance) {
            (_, None) => {}
            (Kind::Step(step), Some(count)) => step.messages_per_instance = count,
            (Kind::Backlog(backlog), Some(count)) => backlog.target_per_instance = f64::from(count),
            _ => return not_for("--messages-per-instance", "--policy step and backlog"),
        }
        match (&mut kind, self.instances) {
            (_, None) => {}
            (Kind::Fixed(fixed), Some(instances)) => fixed.instances = instances,
            _ => return not_for("--instances", "--policy fixed; for a while add --for or --until"),
        }
        Ok(kind)
    }

    /// A rule that was not in force before.
    fn new_kind(&self, rule: Rule) -> Result<Kind, String> {
        Ok(match rule {
            Rule::Step => Kind::Step(StepPolicy {
                messages_per_instance: MESSAGES_PER_INSTANCE,
                count_in_flight: false,
            }),
            Rule::Backlog => {
                Kind::Backlog(BacklogPolicy { target_per_instance: f64::from(MESSAGES_PER_INSTANCE) })
            }
            Rule::Latency if self.target.is_none() => {
                return Err("--target: must be set with --policy latency".to_owned());
            }
            Rule::Latency => {
                Kind::Latency(LatencyPolicy { target: None, quantile: QUANTILE, max_hold: None })
            }
            Rule::Fixed if self.instances.is_none() => {
                return Err("--instances: must be set with --policy fixed".to_owned());
            }
            Rule::Fixed => Kind::Fixed(FixedPolicy { instances: 0 }),
        })
    }
}

fn rule_of(kind: Kind) -> Option<Rule> {
    Some(match kind {
        Kind::Step(_) => Rule::Step,
        Kind::Backlog(_) => Rule::Backlog,
        Kind::Latency(_) => Rule::Latency,
        Kind::Fixed(_) => Rule::Fixed,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn in_force(kind: Kind) -> Policy {
        Policy {
            kind: Some(kind),
            min_instances: 1,
            max_instances: 20,
            version: 3,
            stale_after: Some(to_proto(Duration::from_secs(5))),
            ..Policy::default()
        }
    }

    fn latency(target: u64) -> Kind {
        let target = Some(to_proto(Duration::from_secs(target)));
        Kind::Latency(LatencyPolicy { target, quantile: 0.9, max_hold: None })
    }

    #[test]
    fn what_is_not_said_stays_as_it_is() {
        let change = Change { max_instances: Some(40), ..Change::default() };
        let changed = change.apply(in_force(latency(10))).unwrap();
        assert_eq!(changed, Policy { max_instances: 40, ..in_force(latency(10)) });
    }

    #[test]
    fn schedule_is_replaced_or_ended_and_else_stays() {
        let schedule = vec![autoscaler::schedule_floor("mon-fri 08:00-18:00=4").unwrap()];
        let set = Change { schedule: schedule.clone(), ..Change::default() };
        let with = set.apply(in_force(latency(10))).unwrap();
        assert_eq!(with.floors, schedule);
        let other = Change { max_instances: Some(9), ..Change::default() };
        assert_eq!(other.apply(with.clone()).unwrap().floors, schedule);
        let ended = Change { no_schedule: true, ..Change::default() };
        assert!(ended.apply(with).unwrap().floors.is_empty());
    }

    #[test]
    fn another_target_keeps_the_rest_of_the_rule() {
        let change = Change { target: Some(Duration::from_secs(20)), ..Change::default() };
        let changed = change.apply(in_force(latency(10))).unwrap();
        assert_eq!((changed.kind, changed.stale_after), (Some(latency(20)), None));
    }

    #[test]
    fn another_rule_starts_from_its_defaults() {
        let step = Change { policy: Some(Rule::Step), ..Change::default() };
        let kind = step.apply(in_force(latency(10))).unwrap().kind;
        assert_eq!(kind, Some(Kind::Step(StepPolicy { messages_per_instance: 5, count_in_flight: false })));
        let fixed = Change { policy: Some(Rule::Fixed), instances: Some(4), ..Change::default() };
        let kind = fixed.apply(in_force(latency(10))).unwrap().kind;
        assert_eq!(kind, Some(Kind::Fixed(FixedPolicy { instances: 4 })));
    }

    #[test]
    fn what_cannot_be_names_the_flag() {
        let check = |change: Change, flag: &str| {
            let sentence = change.apply(in_force(Kind::Step(StepPolicy::default()))).unwrap_err();
            assert!(sentence.starts_with(flag), "{sentence}");
        };
        check(Change { policy: Some(Rule::Latency), ..Change::default() }, "--target: must be set");
        check(Change { policy: Some(Rule::Fixed), ..Change::default() }, "--instances: must be set");
        check(
            Change { target: Some(Duration::ZERO), ..Change::default() },
            "--target: is for --policy latency",
        );
        check(Change { instances: Some(1), ..Change::default() }, "--instances: is for --policy fixed");
    }
}
