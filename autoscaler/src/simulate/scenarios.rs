//! The scenarios that figures are given for.

use std::f64::consts::TAU;

use super::{
    arrivals::Arrivals,
    scenario::{BootModel, Budget, Scenario},
    troubles,
};

const DAY: f64 = 86_400.0;

/// All of them: loads, then what goes wrong, then the long ones.
pub fn scenarios() -> Vec<Scenario> {
    let mut scenarios =
        vec![burst(), flash(20), flash(60), flash(100), on_off(0.0), on_off(0.6), diurnal(), azure()];
    scenarios.extend([ramp(), step_down(), batch()]);
    scenarios.extend(troubles::scenarios());
    scenarios.extend([week(1), week(30), ten_million()]);
    scenarios
}

/// One by its name.
pub fn find(name: &str) -> Option<Scenario> {
    scenarios().into_iter().find(|scenario| scenario.name == name)
}

fn burst() -> Scenario {
    let arrivals = Arrivals::Burst { count: 100, within: 1.0 };
    let about = "100 images within a second, 3 s each, on nothing; at most 20 instances";
    let mut scenario = Scenario::new("burst", about, arrivals);
    scenario.service.variation = 0.0;
    scenario.seeds = 40;
    scenario
}

/// The stopped pool is what decides how fast a crowd can be met.
pub(super) fn flash(stopped_pool: u32) -> Scenario {
    let arrivals = Arrivals::rate(5400.0, |at| match at {
        ..1800.0 => 1.0,
        ..1810.0 => 1.0 + 19.0 * (at - 1800.0) / 10.0,
        ..2400.0 => 20.0,
        _ => 1.0 + 19.0 * (-(at - 2400.0) / 150.0).exp(),
    });
    let name = if stopped_pool == 20 { "flash".to_owned() } else { format!("flash_pool_{stopped_pool}") };
    let about =
        format!("1 to 20 images a second within 10 s, for 10 minutes; a stopped pool of {stopped_pool}");
    Scenario { max_instances: 100, stopped_pool, ..Scenario::new(&name, &about, arrivals) }
}

pub(super) fn on_off(jitter: f64) -> Scenario {
    let arrivals = Arrivals::OnOff { rate: 5.0, on: 120.0, off: 480.0, cycles: 24, jitter };
    let (name, about) = if jitter > 0.0 {
        ("onoff_rand", "5 images a second for about 2 minutes, nothing for about 8, 24 times; each +-60 %")
    } else {
        ("onoff", "5 images a second for 2 minutes, nothing for 8, 24 times")
    };
    Scenario { max_instances: 40, ..Scenario::new(name, about, arrivals) }
}

/// Between 0.3 and 8 images a second, least at midnight.
fn day_rate(at: f64) -> f64 {
    0.3 + 7.7 * 0.5 * (1.0 - (TAU * at / DAY).cos())
}

fn diurnal() -> Scenario {
    let about = "a smooth day between 0.3 and 8 images a second";
    Scenario { max_instances: 60, ..Scenario::new("diurnal", about, Arrivals::rate(DAY, day_rate)) }
}

fn azure() -> Scenario {
    let arrivals = Arrivals::trace(include_str!("../../traces/azure-llm-2023-code-arrivals.txt"));
    let about = "the arrivals of the Azure LLM inference trace 2023 \"code\", 3 s each";
    Scenario { max_instances: 60, ..Scenario::new("azure", about, arrivals) }
}

fn ramp() -> Scenario {
    let arrivals = Arrivals::rate(5400.0, |at| match at {
        ..600.0 => 1.0,
        ..2400.0 => 1.0 + 14.0 * (at - 600.0) / 1800.0,
        ..3600.0 => 15.0,
        _ => 15.0 - 14.0 * (at - 3600.0) / 1800.0,
    });
    let about = "1 to 15 images a second within 30 minutes, 20 minutes so, and back within 30";
    Scenario { max_instances: 80, ..Scenario::new("ramp", about, arrivals) }
}

fn step_down() -> Scenario {
    let arrivals = Arrivals::rate(3600.0, |at| if at < 1200.0 { 15.0 } else { 1.5 });
    let about = "15 images a second for 20 minutes, then a tenth of it for 40; 55 ready at the start";
    Scenario {
        max_instances: 80,
        initially_ready: 55,
        stopped_pool: 80,
        history: 15.0,
        ..Scenario::new("step_down", about, arrivals)
    }
}

/// Workers that take four images at once, each the slower for the others.
fn batch() -> Scenario {
    let arrivals = Arrivals::OnOff { rate: 20.0, on: 300.0, off: 300.0, cycles: 8, jitter: 0.3 };
    let about = "20 images a second on and off; a worker takes 4 at once, each 20 % slower for every other";
    let mut scenario = Scenario { max_instances: 60, ..Scenario::new("batch", about, arrivals) };
    scenario.service.slots = 4;
    scenario.service.slowdown = 0.2;
    scenario
}

/// Days as `diurnal` has them, with less at weekends and boots that vary.
fn week(days: u32) -> Scenario {
    let arrivals = Arrivals::rate(DAY * f64::from(days), |at| {
        let is_weekend = (at / DAY) % 7.0 >= 5.0;
        day_rate(at) * if is_weekend { 0.3 } else { 1.0 }
    });
    let name = if days == 1 { "weekday" } else { "month" };
    let about =
        format!("{days} days between 0.3 and 8 images a second, a third of it at weekends; boots vary");
    let mut scenario = Scenario { max_instances: 60, ..Scenario::new(name, &about, arrivals) };
    scenario.boot.jitter = 0.3;
    // Seven million images a run.
    scenario.seeds = if days == 1 { 20 } else { 3 };
    scenario
}

/// Ten million images within an hour, on up to 5,000 instances of an account with EC2's default
/// budget for starts.
fn ten_million() -> Scenario {
    let rate = |at: f64| {
        let usual = 2500.0 + 300.0 * (TAU * at / 3600.0).sin();
        if (1800.0..2400.0).contains(&at) { usual + 1300.0 * ((at - 1800.0) / 20.0).min(1.0) } else { usual }
    };
    let about =
        "2,500 images a second of 1.2 s each, half as many again for 10 minutes; 3,000 ready at the start";
    let mut scenario = Scenario::new("ten_million", about, Arrivals::rate(3600.0, rate));
    scenario.max_instances = 5000;
    scenario.stopped_pool = 5000;
    scenario.initially_ready = 3000;
    scenario.history = 2500.0;
    (scenario.service.mean, scenario.service.prior) = (1.2, 1.2);
    scenario.boot = BootModel { warm: 40.0, cold: 40.0, jitter: 0.0 };
    scenario.budget = Some(Budget { burst: 1000.0, per_second: 2.0 });
    // The hour is a part of a day: what is there at its end is not stopped for it.
    scenario.tail = 0.0;
    scenario.seeds = 5;
    scenario
}
