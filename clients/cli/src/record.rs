//! What the autoscaler tells, as JSON and in words: policies, decisions, observations.

use platform::time::from_proto;
use proto::v1::{ActionKind, ActionOutcome, BoundKind, Decision, Observation, Policy, policy};
use serde::Serialize;

use crate::times::{rfc3339, seconds, short};

#[derive(Debug, Serialize)]
pub(crate) struct DecisionRecord {
    decision_id: String,
    sequence: u64,
    time: String,
    current: u32,
    need: u32,
    want: u32,
    reason: String,
    terms: Vec<TermRecord>,
    bounds: Vec<BoundRecord>,
    actions: Vec<ActionRecord>,
    policy: Option<String>,
    observation: Option<ObservationRecord>,
    trigger: String,
    predicted_p95_seconds: Option<f64>,
    actual_p95_seconds: Option<f64>,
    /// Set with `actual_p95_seconds`.
    actual_late_ratio: Option<f64>,
    predicted_clear_time: String,
    cost_per_hour_usd: f64,
}

#[derive(Debug, Serialize)]
struct TermRecord {
    name: String,
    instances: u32,
    formula: String,
}

#[derive(Debug, Serialize)]
struct BoundRecord {
    kind: String,
    from: u32,
    to: u32,
}

#[derive(Debug, Serialize)]
struct ActionRecord {
    kind: String,
    instance_id: String,
    outcome: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    error: String,
    attempts: u32,
}

/// What a decision saw, in one level, so that it is also a line of CSV.
#[derive(Debug, Default, Serialize)]
pub(crate) struct ObservationRecord {
    pub(crate) time: String,
    pub(crate) waiting: u64,
    pub(crate) in_flight: u64,
    pub(crate) delayed: u64,
    pub(crate) oldest_age_seconds: Option<f64>,
    pub(crate) ready: u32,
    pub(crate) starting: u32,
    pub(crate) draining: u32,
    pub(crate) stopped: u32,
    pub(crate) arrivals_per_second_fast: f64,
    pub(crate) arrivals_per_second_slow: f64,
    pub(crate) service_mean_seconds: Option<f64>,
    pub(crate) service_p95_seconds: Option<f64>,
    pub(crate) late_ratio: f64,
}

impl From<&Observation> for ObservationRecord {
    fn from(seen: &Observation) -> Self {
        let (queue, fleet) = (seen.queue.unwrap_or_default(), seen.fleet.clone().unwrap_or_default());
        Self {
            time: rfc3339(seen.time.as_ref()),
            waiting: queue.visible,
            in_flight: queue.in_flight,
            delayed: queue.delayed,
            oldest_age_seconds: seconds(queue.oldest_age.as_ref()),
            ready: fleet.ready,
            starting: fleet.starting,
            draining: fleet.draining,
            stopped: fleet.stopped,
            arrivals_per_second_fast: seen.arrivals_per_second_fast,
            arrivals_per_second_slow: seen.arrivals_per_second_slow,
            service_mean_seconds: seconds(seen.service_mean.as_ref()),
            service_p95_seconds: seconds(seen.service_p95.as_ref()),
            late_ratio: seen.late_ratio,
        }
    }
}

impl From<&Decision> for DecisionRecord {
    fn from(decision: &Decision) -> Self {
        Self {
            decision_id: decision.decision_id.clone(),
            sequence: decision.sequence,
            time: rfc3339(decision.time.as_ref()),
            current: decision.current,
            need: decision.need,
            want: decision.want,
            reason: decision.reason.clone(),
            terms: decision
                .terms
                .iter()
                .map(|term| TermRecord {
                    name: term.name.clone(),
                    instances: term.instances,
                    formula: term.formula.clone(),
                })
                .collect(),
            bounds: decision
                .bounds
                .iter()
                .map(|bound| BoundRecord {
                    kind: name(bound.kind().as_str_name(), "BOUND_KIND_"),
                    from: bound.from,
                    to: bound.to,
                })
                .collect(),
            actions: decision
                .actions
                .iter()
                .map(|action| ActionRecord {
                    kind: name(action.kind().as_str_name(), "ACTION_KIND_"),
                    instance_id: action.instance_id.clone(),
                    outcome: name(action.outcome().as_str_name(), "ACTION_OUTCOME_"),
                    error: action.error.clone(),
                    attempts: action.attempts,
                })
                .collect(),
            policy: decision.policy.as_ref().map(policy_words),
            observation: decision.observation.as_ref().map(ObservationRecord::from),
            trigger: decision.trigger.clone(),
            predicted_p95_seconds: seconds(decision.predicted_p95.as_ref()),
            actual_p95_seconds: seconds(decision.actual_p95.as_ref()),
            actual_late_ratio: decision.actual_p95.map(|_| decision.actual_late_ratio),
            predicted_clear_time: rfc3339(decision.predicted_clear_time.as_ref()),
            cost_per_hour_usd: decision.cost_per_hour_usd,
        }
    }
}

/// The name of an enum's value without the enum's own: `START` for `ACTION_KIND_START`.
pub(crate) fn name(value: &str, prefix: &str) -> String {
    value.strip_prefix(prefix).unwrap_or(value).to_owned()
}

/// "step: 5 messages an instance; 0 to 2 instances".
pub(crate) fn policy_words(policy: &Policy) -> String {
    let rule = match &policy.kind {
        Some(policy::Kind::Step(step)) => {
            format!("step: {} messages an instance", step.messages_per_instance)
        }
        Some(policy::Kind::Backlog(backlog)) => {
            format!("backlog: {} messages an instance", backlog.target_per_instance)
        }
        Some(policy::Kind::Latency(latency)) => format!(
            "latency: {} % answered within {}",
            (latency.quantile * 1000.0).round() / 10.0,
            from_proto(latency.target.as_ref()).map_or_else(|| "?".to_owned(), short)
        ),
        Some(policy::Kind::Fixed(fixed)) => format!("fixed: {}", fixed.instances),
        None => "unknown".to_owned(),
    };
    format!("{rule}; {} to {} instances", policy.min_instances, policy.max_instances)
}

/// "launch 2, drain 1 (1 failed)"; empty when nothing was done.
pub(crate) fn action_words(decision: &Decision) -> String {
    let kinds = [
        (ActionKind::Undrain, "undrain"),
        (ActionKind::Start, "start"),
        (ActionKind::Launch, "launch"),
        (ActionKind::Drain, "drain"),
        (ActionKind::Stop, "stop"),
        (ActionKind::Terminate, "terminate"),
    ];
    let counts = kinds.iter().filter_map(|(kind, verb)| {
        let count = decision.actions.iter().filter(|action| action.kind() == *kind).count();
        (count > 0).then(|| format!("{verb} {count}"))
    });
    let words = counts.collect::<Vec<_>>().join(", ");
    let went_wrong = |outcome| {
        matches!(outcome, ActionOutcome::Throttled | ActionOutcome::NoCapacity | ActionOutcome::Failed)
    };
    match decision.actions.iter().filter(|action| went_wrong(action.outcome())).count() {
        0 => words,
        failed => format!("{words} ({failed} failed)"),
    }
}

/// "held by MAX, HOLD"; empty when no bound was applied.
pub(crate) fn bound_words(decision: &Decision) -> String {
    let kinds: Vec<String> = decision
        .bounds
        .iter()
        .filter(|bound| bound.kind() != BoundKind::Unspecified)
        .map(|bound| name(bound.kind().as_str_name(), "BOUND_KIND_"))
        .collect();
    if kinds.is_empty() { String::new() } else { format!("held by {}", kinds.join(", ")) }
}

#[cfg(test)]
mod tests {
    use proto::v1::{Action, Bound, FixedPolicy, LatencyPolicy, StepPolicy};

    use super::*;

    #[test]
    fn policies_read_as_words() {
        let check = |kind: policy::Kind, want: &str| {
            let policy = Policy { kind: Some(kind), min_instances: 0, max_instances: 2, ..Policy::default() };
            assert_eq!(policy_words(&policy), want);
        };
        check(
            policy::Kind::Step(StepPolicy { messages_per_instance: 5, count_in_flight: false }),
            "step: 5 messages an instance; 0 to 2 instances",
        );
        check(policy::Kind::Fixed(FixedPolicy { instances: 2 }), "fixed: 2; 0 to 2 instances");
        let target = Some(platform::time::to_proto(std::time::Duration::from_secs(2)));
        check(
            policy::Kind::Latency(LatencyPolicy { target, quantile: 0.95, max_hold: None }),
            "latency: 95 % answered within 2.00 s; 0 to 2 instances",
        );
    }

    #[test]
    fn actions_are_counted_by_kind_and_failures_are_told() {
        let action = |kind: ActionKind, outcome: ActionOutcome| Action {
            kind: kind.into(),
            outcome: outcome.into(),
            ..Action::default()
        };
        let check = |actions: Vec<Action>, want: &str| {
            assert_eq!(action_words(&Decision { actions, ..Decision::default() }), want);
        };
        check(vec![], "");
        let launched = action(ActionKind::Launch, ActionOutcome::Done);
        check(vec![launched.clone(), launched.clone()], "launch 2");
        let failed = action(ActionKind::Drain, ActionOutcome::Failed);
        check(vec![failed, launched], "launch 1, drain 1 (1 failed)");
    }

    #[test]
    fn json_of_a_decision_has_short_names() {
        let decision = Decision {
            bounds: vec![Bound { kind: BoundKind::Max.into(), from: 4, to: 2 }],
            observation: Some(Observation::default()),
            ..Decision::default()
        };
        let json = serde_json::to_value(DecisionRecord::from(&decision)).unwrap();
        assert_eq!(json["bounds"][0]["kind"], "MAX");
        assert_eq!(json["observation"]["waiting"], 0);
        assert_eq!(bound_words(&decision), "held by MAX");
    }
}
