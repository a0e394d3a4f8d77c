//! The scenarios that figures are given for.

use std::f64::consts::TAU;

use super::{arrivals::Arrivals, scenario::Scenario};

const DAY: f64 = 86_400.0;

/// All of them.
pub fn scenarios() -> Vec<Scenario> {
    vec![burst(), flash(), on_off(), diurnal(), azure()]
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

fn flash() -> Scenario {
    let arrivals = Arrivals::rate(5400.0, |at| match at {
        ..1800.0 => 1.0,
        ..1810.0 => 1.0 + 19.0 * (at - 1800.0) / 10.0,
        ..2400.0 => 20.0,
        _ => 1.0 + 19.0 * (-(at - 2400.0) / 150.0).exp(),
    });
    let about = "1 to 20 images a second within 10 s, for 10 minutes; a stopped pool of 20";
    Scenario { max_instances: 100, ..Scenario::new("flash", about, arrivals) }
}

fn on_off() -> Scenario {
    let arrivals = Arrivals::OnOff { rate: 5.0, on: 120.0, off: 480.0, cycles: 24, jitter: 0.0 };
    let about = "5 images a second for 2 minutes, nothing for 8, 24 times";
    Scenario { max_instances: 40, ..Scenario::new("onoff", about, arrivals) }
}

fn diurnal() -> Scenario {
    let arrivals = Arrivals::rate(DAY, |at| 0.3 + 7.7 * 0.5 * (1.0 - (TAU * at / DAY).cos()));
    let about = "a smooth day between 0.3 and 8 images a second";
    Scenario { max_instances: 60, ..Scenario::new("diurnal", about, arrivals) }
}

fn azure() -> Scenario {
    let arrivals = Arrivals::trace(include_str!("../../traces/azure-llm-2023-code-arrivals.txt"));
    let about = "the arrivals of the Azure LLM inference trace 2023 \"code\", 3 s each";
    Scenario { max_instances: 60, ..Scenario::new("azure", about, arrivals) }
}
