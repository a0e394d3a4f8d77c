//! The figures of the `latency` policy in the simulator: `figures [SCENARIO|all] [SEEDS] [TARGET SECONDS]`.

use std::{num::NonZeroUsize, thread, time::Duration};

use autoscaler::{
    decide::{Latency, Policy, Rule},
    simulate::{self, Estimate, Player, Scenario},
};

fn main() -> Result<(), String> {
    let mut arguments = std::env::args().skip(1);
    let name = arguments.next().unwrap_or_else(|| "all".to_owned());
    let seeds = number(arguments.next(), 5)?;
    let target = Duration::from_secs(number(arguments.next(), 60)?);
    let scenarios = match name.as_str() {
        "all" => simulate::scenarios(),
        name => vec![simulate::find(name).ok_or_else(|| format!("no scenario {name}"))?],
    };
    let threads = thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let seeds: Vec<u64> = (0..seeds).collect();
    println!("{HEADER}");
    for scenario in &scenarios {
        let player = || Player::Ours(policy(scenario, target));
        let sum = simulate::summary(&simulate::run_all(scenario, &player, &seeds, threads));
        let lost = sum.interrupted.mean + sum.unanswered.mean;
        println!(
            "{:14} {:9.0} {:7.2} {:>14} {:7.2} {:6.2} {:>16} {:6.3} {:7.1} {:7.1} {lost:5.1}",
            scenario.name,
            sum.requests.mean,
            sum.p50.mean,
            shown(sum.p95),
            sum.p99.mean,
            sum.late_ratio.mean * 100.0,
            shown(sum.instance_hours),
            sum.instance_hours.mean / sum.work_hours.mean,
            sum.starts.mean,
            sum.throttled.mean,
        );
    }
    Ok(())
}

const HEADER: &str = "scenario        requests     p50            p95     p99  late%   instance-hours x work  starts refused  lost";

fn number(argument: Option<String>, otherwise: u64) -> Result<u64, String> {
    let Some(argument) = argument else { return Ok(otherwise) };
    argument.parse().map_err(|error| format!("{argument}: {error}"))
}

fn shown(estimate: Estimate) -> String {
    format!("{:.3}+-{:.3}", estimate.mean, estimate.half_width)
}

/// What the autoscaler does by default.
fn policy(scenario: &Scenario, target: Duration) -> Policy {
    Policy {
        rule: Rule::Latency(Latency { target, quantile: 0.95, hold_max: Duration::from_secs(300) }),
        min_instances: scenario.min_instances,
        max_instances: scenario.max_instances,
        hold: None,
        keep: Duration::from_secs(120),
        stale_after: target.max(Duration::from_secs(12)) / 4,
        floors: Vec::new(),
        version: 1,
    }
}
