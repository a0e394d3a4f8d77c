//! Our policy on any load, with any troubles at once.

use proptest::prelude::*;

use super::{Budget, Fault, Scenario, ours, recorded};

fn any_fault() -> impl Strategy<Value = Fault> {
    let span = || (0.0..600.0, 10.0..200.0).prop_map(|(from, length)| (from, from + length));
    prop_oneof![
        (span(), 0.1..1.0).prop_map(|((from, until), share)| Fault::CapacityMissing { from, until, share }),
        (0.0..600.0, 0.0..120.0, 0.1..1.0, 1.0..120.0)
            .prop_map(|(at, within, share, notice)| Fault::SpotNotice { at, within, share, notice }),
        (0.0..600.0, 1.0..200.0, any::<bool>()).prop_map(|(at, down_for, snapshot)| Fault::Restart {
            at,
            down_for,
            snapshot
        }),
        span().prop_map(|(from, until)| Fault::SplitBrain { from, until }),
        span().prop_map(|(from, until)| Fault::StaleCounts { from, until }),
        (0.0..30.0, 0.0..0.3).prop_map(|(lag, noise)| Fault::ApproximateCounts { lag, noise }),
        (0.0..0.4).prop_map(|share| Fault::BootFailure { share }),
    ]
}

fn any_scenario() -> impl Strategy<Value = Scenario> {
    let load = prop::collection::vec(prop_oneof![Just(0), 0..20_u32, 50..200_u32], 1..60);
    let faults = prop::collection::vec(any_fault(), 0..4);
    let limits = (1..30_u32, 0..30_u32, 0..10_u32, 1..4_u32);
    let budget = prop::option::of((1.0..20.0, 0.1..2.0));
    (load, faults, limits, budget, 0.1..6.0, 0.0..0.5).prop_map(
        |(load, faults, (most, pool, ready, slots), budget, mean, jitter)| {
            let mut scenario = recorded(load, 10.0);
            (scenario.max_instances, scenario.stopped_pool) = (most, pool);
            scenario.initially_ready = ready.min(most);
            (scenario.service.slots, scenario.service.mean, scenario.boot.jitter) = (slots, mean, jitter);
            scenario.budget = budget.map(|(burst, per_second)| Budget { burst, per_second });
            scenario.faults = faults;
            scenario
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn whatever_goes_wrong_nothing_is_lost_or_interrupted(
        scenario in any_scenario(), seed in 0..1000_u64,
    ) {
        let outcome = ours(&scenario, seed);
        prop_assert_eq!(outcome.answered, outcome.requests);
        prop_assert_eq!(outcome.interrupted, 0);
        prop_assert_eq!(&outcome, &ours(&scenario, seed));
        // Each start costs a minute at least, and what was ready was paid for before.
        let minutes = outcome.instance_hours * 60.0 + 1e-6;
        prop_assert!(minutes >= outcome.starts as f64, "{outcome:?}");
        prop_assert!(outcome.max <= 7200.0, "{outcome:?}");
    }
}
