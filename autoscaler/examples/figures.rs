//! A table of the simulator, for trying things: `figures [SCENARIO,...|all] [SEEDS] [TARGET SECONDS] [CONTENDER,...]`.
//! Contenders are `latency` (the default), `backlog`, `step`, and the rivals' families.

use std::num::NonZeroU64;

use autoscaler::simulate::{self, Bound, Contender, Estimate, Extent, Progress, Row, Scenario};

fn main() -> Result<(), String> {
    let mut arguments = std::env::args().skip(1);
    let names = arguments.next().unwrap_or_else(|| "all".to_owned());
    let seeds = arguments
        .next()
        .map_or(Ok(NonZeroU64::MIN), |seeds| seeds.parse().map_err(|error| format!("{seeds}: {error}")))?;
    let target = arguments.next().map(|target| target.parse::<f64>()).transpose();
    let target = target.map_err(|error| format!("target: {error}"))?;
    let contenders = arguments.next().unwrap_or_else(|| "latency".to_owned());
    println!("{HEADER}");
    for scenario in found(&names)? {
        let target = target.unwrap_or(scenario.target);
        let named = |name| Contender::named(name, target).ok_or_else(|| format!("no contender {name}"));
        let contenders: Vec<Vec<_>> = contenders.split(',').map(named).collect::<Result<_, _>>()?;
        let extent = Extent { seeds, tuned: false };
        print_bound(&scenario);
        for row in simulate::compare(&scenario, &contenders.concat(), extent, &Quiet).rows {
            print_row(&scenario, &row);
        }
    }
    Ok(())
}

const HEADER: &str = "scenario                                  requests     p50             p95     p99  late%   instance-hours x work  starts refused  lost";

fn found(names: &str) -> Result<Vec<Scenario>, String> {
    if names == "all" {
        return Ok(simulate::scenarios());
    }
    names.split(',').map(|name| simulate::find(name).ok_or_else(|| format!("no scenario {name}"))).collect()
}

/// Of the first seed.
fn print_bound(scenario: &Scenario) {
    let Bound { p95, instance_hours, work_hours, starts } = simulate::clairvoyant(scenario, 0);
    println!(
        "{}: who knows the load beforehand: p95 {p95:.1} s with {instance_hours:.3} h and {starts} starts; the work alone {work_hours:.3} h",
        scenario.name
    );
}

fn print_row(scenario: &Scenario, row: &Row) {
    let sum = &row.summary;
    let name = format!("{} {}", scenario.name, row.contender.name());
    let lost = sum.interrupted.mean + sum.unanswered.mean;
    println!(
        "{name:40} {:9.0} {:7.2} {:>15} {:7.2} {:6.2} {:>16} {:6.3} {:7.1} {:7.1} {lost:5.1}",
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

fn shown(estimate: Estimate) -> String {
    format!("{:.3}+-{:.3}", estimate.mean, estimate.half_width)
}

/// Nobody watches how far it is.
struct Quiet;

impl Progress for Quiet {
    fn planned(&self, _runs: u64) {}

    fn done(&self) {}
}
