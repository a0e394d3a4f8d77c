//! A policy of a person's own, and a load of their own: what `dunlin simulate` tries beside what it knows.

use std::{path::PathBuf, time::Duration};

use autoscaler::{
    PolicyName,
    decide::{Backlog, Fixed, Latency, Policy, Rule, Step},
    simulate::{Arrivals, Contender, HOLD_MAX, QUANTILE, Scenario, policy},
};
use platform::options::{Check, Problems, exit, parse_duration};

use crate::failure::Failure;

/// More arrivals than a run should hold in memory: a day at 230 a second.
const ARRIVALS_MAX: usize = 20_000_000;

/// As many machines as the simulator is made for.
const INSTANCES_MAX: u32 = 10_000;

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "A policy of your own")]
pub(super) struct OwnPolicy {
    /// Try this policy too, with the flags below
    #[arg(long, value_enum, value_name = "NAME")]
    policy: Option<PolicyName>,
    /// For `latency`: 95 % of the images are to be answered within this [default: the load's target]
    #[arg(long, value_parser = parse_duration, value_name = "DURATION")]
    latency_target: Option<Duration>,
    /// For `step` and `backlog`: images for each worker [default: 5]
    #[arg(long, value_name = "COUNT")]
    messages_per_instance: Option<u32>,
    /// For `fixed`: this many workers [default: 1]
    #[arg(long, value_name = "COUNT")]
    instances: Option<u32>,
    /// Never fewer workers than this [default: 0]
    #[arg(long, value_name = "COUNT")]
    pub(super) min_instances: Option<u32>,
    /// Scale in only to what was needed at most in this time [default: the rule's own]
    #[arg(long, value_parser = parse_duration, value_name = "DURATION")]
    scale_in_hold: Option<Duration>,
    /// The last worker stays this long after the last image [default: 60s]
    #[arg(long, value_parser = parse_duration, value_name = "DURATION")]
    keep: Option<Duration>,
}

impl Check for OwnPolicy {
    fn check(&self, problems: &mut Problems) {
        let given = [
            ("--latency-target", self.latency_target.is_some()),
            ("--messages-per-instance", self.messages_per_instance.is_some()),
            ("--instances", self.instances.is_some()),
            ("--min-instances", self.min_instances.is_some()),
            ("--scale-in-hold", self.scale_in_hold.is_some()),
            ("--keep", self.keep.is_some()),
        ];
        match self.own(Duration::from_secs(1)) {
            Some(policy) => {
                for (field, sentence) in policy.problems() {
                    problems.add("--policy", format_args!("{field} {sentence}"));
                }
            }
            None => {
                for (flag, _) in given.into_iter().filter(|(_, given)| *given) {
                    problems.add(flag, "needs --policy");
                }
            }
        }
    }
}

impl OwnPolicy {
    pub(super) fn contender(&self, scenario: &Scenario) -> Option<Contender> {
        let policy = self.own(Duration::from_secs_f64(scenario.target))?;
        let title = format!("your {}", policy.name());
        Some(Contender::ours(policy).titled(title))
    }

    fn own(&self, target: Duration) -> Option<Policy> {
        const MESSAGES: u32 = 5;
        let messages_per_instance = self.messages_per_instance.unwrap_or(MESSAGES);
        let rule = match self.policy? {
            PolicyName::Latency => {
                let target = self.latency_target.unwrap_or(target);
                Rule::Latency(Latency { target, quantile: QUANTILE, hold_max: HOLD_MAX })
            }
            PolicyName::Backlog => {
                Rule::Backlog(Backlog { target_per_instance: f64::from(messages_per_instance) })
            }
            PolicyName::Step => Rule::Step(Step { messages_per_instance, count_in_flight: false }),
            PolicyName::Fixed => Rule::Fixed(Fixed { instances: self.instances.unwrap_or(1) }),
        };
        let mut own = policy(rule);
        own.min_instances = self.min_instances.unwrap_or(0);
        own.hold = self.scale_in_hold;
        own.keep = self.keep.unwrap_or(own.keep);
        Some(own)
    }
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "A load and machines of your own, for every policy")]
pub(super) struct OwnLoad {
    /// A file with one arrival a line, in seconds from the start
    #[arg(long, value_name = "FILE")]
    pub(super) trace: Option<PathBuf>,
    /// Never more workers than this
    #[arg(long, value_name = "COUNT")]
    pub(super) max_instances: Option<u32>,
    /// Stopped machines that are kept and start faster than new ones
    #[arg(long, value_name = "COUNT")]
    stopped_pool: Option<u32>,
    /// How long a stopped machine takes to start
    #[arg(long, value_parser = parse_duration, value_name = "DURATION")]
    boot: Option<Duration>,
    /// How long a new machine takes to start
    #[arg(long, value_parser = parse_duration, value_name = "DURATION")]
    cold_boot: Option<Duration>,
    /// How long a worker needs for an image, on average
    #[arg(long, value_parser = parse_duration, value_name = "DURATION")]
    image_time: Option<Duration>,
}

impl Check for OwnLoad {
    fn check(&self, problems: &mut Problems) {
        if self.max_instances.is_some_and(|max| !(1..=INSTANCES_MAX).contains(&max)) {
            problems.add("--max-instances", format_args!("must be 1 to {INSTANCES_MAX}"));
        }
        if self.image_time.is_some_and(|time| time.is_zero()) {
            problems.add("--image-time", "must be more than 0");
        }
    }
}

impl OwnLoad {
    /// Whether every scenario stays as it is defined.
    pub(super) fn is_default(&self) -> bool {
        let counts = [self.max_instances, self.stopped_pool];
        let times = [self.boot, self.cold_boot, self.image_time];
        counts.iter().all(Option::is_none) && times.iter().all(Option::is_none)
    }

    pub(super) fn change(&self, scenario: &mut Scenario) {
        let seconds =
            |time: Option<Duration>, otherwise: f64| time.map_or(otherwise, |time| time.as_secs_f64());
        if let Some(max) = self.max_instances {
            scenario.max_instances = max;
            scenario.min_instances = scenario.min_instances.min(max);
            scenario.initially_ready = scenario.initially_ready.min(max);
        }
        scenario.stopped_pool = self.stopped_pool.unwrap_or(scenario.stopped_pool);
        scenario.boot.warm = seconds(self.boot, scenario.boot.warm);
        // A new machine is never faster than a stopped one.
        scenario.boot.cold = seconds(self.cold_boot, scenario.boot.cold).max(scenario.boot.warm);
        scenario.service.mean = seconds(self.image_time, scenario.service.mean);
        scenario.service.prior = seconds(self.image_time, scenario.service.prior);
    }

    /// The load of the file, where one is given.
    pub(super) fn trace(&self) -> Result<Option<Scenario>, Failure> {
        let Some(path) = &self.trace else { return Ok(None) };
        let wrong =
            |problem: String| Failure::new(exit::CONFIG, format!("--trace {}: {problem}", path.display()));
        let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
        let times = arrivals(&text).map_err(wrong)?;
        let name =
            path.file_stem().map_or_else(|| "trace".to_owned(), |name| name.to_string_lossy().into_owned());
        let about = format!("{} arrivals from {}", times.len(), path.display());
        Ok(Some(Scenario::new(&name, &about, Arrivals::Trace(times.into()))))
    }
}

/// Seconds, one a line, in order. Empty lines and comments are skipped.
fn arrivals(text: &str) -> Result<Vec<f64>, String> {
    let mut times = Vec::new();
    for (i, line) in text.lines().map(str::trim).enumerate() {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let time: Option<f64> = line.parse().ok().filter(|time: &f64| time.is_finite() && *time >= 0.0);
        times.push(time.ok_or_else(|| format!("line {}: {line:?} is no time in seconds", i + 1))?);
        if times.len() > ARRIVALS_MAX {
            return Err(format!("more than {ARRIVALS_MAX} arrivals"));
        }
    }
    if times.is_empty() {
        return Err("no arrivals: it should have a time in seconds on each line".to_owned());
    }
    times.sort_by(f64::total_cmp);
    Ok(times)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trace_is_sorted_and_what_is_no_time_is_named() {
        assert_eq!(arrivals("# mine\n5.5\n\n 1 \n"), Ok(vec![1.0, 5.5]));
        assert_eq!(arrivals("1\nsoon\n"), Err("line 2: \"soon\" is no time in seconds".to_owned()));
        for bad in ["-1", "nan", "inf", "", "# nothing"] {
            assert!(arrivals(bad).is_err(), "{bad}");
        }
    }
}
