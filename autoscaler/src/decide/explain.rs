//! What would have changed an answer: of each input alone, the nearest value that gives another `want`.

use std::time::Duration;

use super::{
    answer,
    observation::{Census, Observation},
    policy::{Policy, Rule},
    state::Recalled,
};

#[derive(Debug, Clone, PartialEq)]
pub struct CounterFactual {
    /// As in the record: "queue.visible", "latency.target". Durations are in seconds.
    pub input: &'static str,
    pub from: f64,
    pub to: f64,
    pub want: u32,
}

/// All that an answer is made from, to be changed and asked again.
#[derive(Clone)]
struct Question {
    observation: Observation,
    census: Census,
    recalled: Recalled,
    policy: Policy,
}

impl Question {
    fn want(&self) -> u32 {
        answer(&self.observation, &self.census, &self.recalled, &self.policy).want
    }
}

/// An input, how it is read and how it is set.
struct Input {
    name: &'static str,
    /// Only whole numbers make sense.
    whole: bool,
    get: fn(&Question) -> Option<f64>,
    set: fn(&mut Question, f64),
}

/// The inputs that another value of gives another `want`, each with the smallest change that does,
/// those that are nearest to it first. The observation's instances are not read.
pub fn counterfactuals(
    observation: &Observation,
    census: &Census,
    recalled: &Recalled,
    policy: &Policy,
) -> Vec<CounterFactual> {
    let observation = Observation { instances: Vec::new(), ..observation.clone() };
    let question =
        Question { observation, census: census.clone(), recalled: *recalled, policy: policy.clone() };
    let mut found: Vec<_> = INPUTS.iter().filter_map(|input| nearest(&question, input)).collect();
    let distance = |one: &CounterFactual| (one.to - one.from).abs() / one.from.abs().max(1.0);
    found.sort_by(|one, other| distance(one).total_cmp(&distance(other)));
    found
}

fn nearest(question: &Question, input: &Input) -> Option<CounterFactual> {
    let from = (input.get)(question)?;
    let sides = [1.0, -1.0].into_iter().filter_map(|sign| boundary(question, input, from, sign));
    sides.min_by(|one, other| (one.to - from).abs().total_cmp(&(other.to - from).abs()))
}

/// Steps away from what it was, twice as far each time, until the answer is another; then halves the last step.
fn boundary(question: &Question, input: &Input, from: f64, sign: f64) -> Option<CounterFactual> {
    /// A million times the smallest step is farther than anybody would go.
    const STEPS: i32 = 40;
    const HALVINGS: usize = 40;
    let (was, first) = (question.want(), if input.whole { 1.0 } else { from.abs().max(0.01) * 1e-3 });
    let want = |value: f64| {
        let mut changed = question.clone();
        (input.set)(&mut changed, value);
        changed.want()
    };
    let value_at = |step: i32| (from + sign * first * 2.0_f64.powi(step)).clamp(0.0, MOST);
    let mut same = from;
    let mut other = (0..STEPS).map(value_at).find(|value| {
        let differs = want(*value) != was;
        if !differs {
            same = *value;
        }
        differs
    })?;
    for _ in 0..HALVINGS {
        let middle = (same + other) / 2.0;
        let middle = if input.whole { middle.round() } else { middle };
        let done = if input.whole { 0.5 } else { from.abs().max(0.01) * 1e-4 };
        if (middle - same).abs() < done || (other - middle).abs() < done {
            break;
        }
        if want(middle) == was { same = middle } else { other = middle }
    }
    Some(CounterFactual { input: input.name, from, to: other, want: want(other) })
}

/// Larger values of anything are not tried: they are no load, no fleet and no time that there is.
const MOST: f64 = 1e9;

const INPUTS: &[Input] = &[
    whole(
        "queue.visible",
        |q| Some(q.observation.queue.visible as f64),
        |q, to| {
            q.observation.queue.visible = count(to);
        },
    ),
    whole(
        "queue.in_flight",
        |q| Some(q.observation.queue.in_flight as f64),
        |q, to| {
            q.observation.queue.in_flight = count(to);
        },
    ),
    real(
        "queue.oldest_age",
        |q| Some(q.observation.queue.oldest_age.as_secs_f64()),
        |q, to| {
            q.observation.queue.oldest_age = seconds(to);
        },
    ),
    real(
        "arrivals_per_second_fast",
        |q| Some(q.observation.arrivals.fast),
        |q, to| {
            q.observation.arrivals.fast = to;
        },
    ),
    real(
        "arrivals_per_second_slow",
        |q| Some(q.observation.arrivals.slow),
        |q, to| {
            q.observation.arrivals.slow = to;
        },
    ),
    real(
        "service_mean",
        |q| Some(q.observation.service.mean.as_secs_f64()),
        |q, to| {
            q.observation.service.mean = seconds(to);
        },
    ),
    real(
        "boot_warm",
        |q| Some(q.observation.boot.warm.as_secs_f64()),
        |q, to| {
            q.observation.boot.warm = seconds(to);
        },
    ),
    real(
        "fleet.start_tokens",
        |q| Some(q.observation.supply.start_tokens),
        |q, to| {
            q.observation.supply.start_tokens = to;
        },
    ),
    whole(
        "recollection.largest_need",
        |q| Some(f64::from(q.recalled.largest_need)),
        |q, to| {
            q.recalled.largest_need = instances(to);
        },
    ),
    real("recollection.reserve", |q| Some(q.recalled.reserve), |q, to| q.recalled.reserve = to),
    whole(
        "min_instances",
        |q| Some(f64::from(q.policy.min_instances)),
        |q, to| {
            // A minimum over the maximum is no policy.
            q.policy.min_instances = instances(to).min(q.policy.max_instances);
        },
    ),
    whole(
        "max_instances",
        |q| Some(f64::from(q.policy.max_instances)),
        |q, to| {
            q.policy.max_instances = instances(to).max(q.policy.min_instances);
        },
    ),
    real("latency.target", target, |q, to| {
        if let Rule::Latency(rule) = &mut q.policy.rule {
            rule.target = seconds(to).max(Duration::from_millis(1));
        }
    }),
    whole("step.messages_per_instance", per_step, |q, to| {
        if let Rule::Step(rule) = &mut q.policy.rule {
            rule.messages_per_instance = instances(to).max(1);
        }
    }),
    real("backlog.target_per_instance", per_backlog, |q, to| {
        if let Rule::Backlog(rule) = &mut q.policy.rule {
            rule.target_per_instance = to.max(1e-3);
        }
    }),
    whole("fixed.instances", fixed, |q, to| {
        if let Rule::Fixed(rule) = &mut q.policy.rule {
            rule.instances = instances(to);
        }
    }),
];

fn target(question: &Question) -> Option<f64> {
    let Rule::Latency(rule) = &question.policy.rule else { return None };
    Some(rule.target.as_secs_f64())
}

fn per_step(question: &Question) -> Option<f64> {
    let Rule::Step(rule) = &question.policy.rule else { return None };
    Some(f64::from(rule.messages_per_instance))
}

fn per_backlog(question: &Question) -> Option<f64> {
    let Rule::Backlog(rule) = &question.policy.rule else { return None };
    Some(rule.target_per_instance)
}

fn fixed(question: &Question) -> Option<f64> {
    let Rule::Fixed(rule) = &question.policy.rule else { return None };
    Some(f64::from(rule.instances))
}

const fn whole(name: &'static str, get: fn(&Question) -> Option<f64>, set: fn(&mut Question, f64)) -> Input {
    Input { name, whole: true, get, set }
}

const fn real(name: &'static str, get: fn(&Question) -> Option<f64>, set: fn(&mut Question, f64)) -> Input {
    Input { name, whole: false, get, set }
}

fn seconds(value: f64) -> Duration {
    Duration::from_secs_f64(value.clamp(0.0, MOST))
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`as` saturates")]
fn count(value: f64) -> u64 {
    value as u64
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`as` saturates")]
fn instances(value: f64) -> u32 {
    value as u32
}
