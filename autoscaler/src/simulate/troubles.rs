//! Scenarios in which something goes wrong, each with a load that is harmless without it.

use super::{
    arrivals::Arrivals,
    scenario::{Budget, Fault, Scenario},
    scenarios::{flash, on_off},
};

/// A little after the crowd of `flash` has come, while instances are starting.
const DURING: f64 = 1815.0;

pub(super) fn scenarios() -> Vec<Scenario> {
    let (from, until) = (DURING, DURING + 60.0);
    let restart = |snapshot| Fault::Restart { at: DURING, down_for: 60.0, snapshot };
    vec![
        with(
            flash(100),
            "restart",
            "in the middle of a flash crowd nobody decides for a minute",
            restart(true),
        ),
        with(flash(100), "restart_empty", "the same, and who comes back remembers nothing", restart(false)),
        with(
            flash(100),
            "split_brain",
            "for a minute two decide, each with its own memory",
            Fault::SplitBrain { from, until },
        ),
        spot_storm(),
        throttled(),
        with(
            flash(20),
            "capacity_missing",
            "for two minutes of a flash crowd nine of ten starts and launches fail",
            Fault::CapacityMissing { from: 1800.0, until: 1920.0, share: 0.9 },
        ),
        with(
            flash(100),
            "stale_counts",
            "for a minute the counts stay as they were",
            Fault::StaleCounts { from, until },
        ),
        with(
            on_off(0.0),
            "boot_failures",
            "every tenth boot never gets to a worker",
            Fault::BootFailure { share: 0.1 },
        ),
        with(
            on_off(0.0),
            "approximate_counts",
            "the counts are 10 s old, and off by 10 %",
            Fault::ApproximateCounts { lag: 10.0, noise: 0.1 },
        ),
    ]
}

fn with(mut scenario: Scenario, name: &str, what: &str, fault: Fault) -> Scenario {
    name.clone_into(&mut scenario.name);
    what.clone_into(&mut scenario.about);
    scenario.faults.push(fault);
    scenario
}

fn spot_storm() -> Scenario {
    let load = Arrivals::rate(3600.0, |_| 8.0);
    let steady =
        Scenario { max_instances: 60, initially_ready: 28, history: 8.0, ..Scenario::new("", "", load) };
    let storm = Fault::SpotNotice { at: 1800.0, within: 120.0, share: 0.3, notice: 120.0 };
    with(
        steady,
        "spot_storm",
        "30 % of the instances are told within 2 minutes to be gone in 2 minutes",
        storm,
    )
}

fn throttled() -> Scenario {
    let mut scenario = flash(100);
    "throttled".clone_into(&mut scenario.name);
    "a flash crowd in an account that can start 10 at once, and then one each 2 s"
        .clone_into(&mut scenario.about);
    scenario.budget = Some(Budget { burst: 10.0, per_second: 0.5 });
    scenario
}
