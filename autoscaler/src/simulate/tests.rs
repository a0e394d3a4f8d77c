//! The simulator against theory, against its own promises, and with our policy in every scenario.

use std::time::Duration;

use super::{
    Arrivals, Budget, Fault, Manner, Outcome, Player, Rival, RunOptions, Scenario, Seen, Shape, Victims,
    recorded, run, scenarios, shape,
};
use crate::decide::{Latency, Policy, Rule};

mod troubles;

/// Wants what a list of times and numbers says.
struct Script {
    steps: Vec<(f64, u32)>,
    manner: Manner,
}

impl Script {
    fn player(steps: &[(f64, u32)], manner: Manner) -> Player {
        Player::Rival(Box::new(Self { steps: steps.to_vec(), manner }))
    }
}

impl Rival for Script {
    fn name(&self) -> &str {
        "script"
    }

    fn manner(&self) -> Manner {
        self.manner
    }

    fn want(&mut self, seen: &Seen) -> Option<u32> {
        self.steps.iter().rev().find(|(at, _)| *at <= seen.at).map(|(_, want)| *want)
    }
}

const PLAIN: Manner = Manner {
    tick: 1.0,
    random_phase: false,
    victims: Victims::Any,
    undrain: false,
    idle_stop: None,
    counts_lag: 0.0,
    push_on_empty: false,
};

fn latency(scenario: &Scenario) -> Player {
    let target = Duration::from_secs_f64(scenario.target);
    Player::Ours(Policy {
        rule: Rule::Latency(Latency { target, quantile: 0.95, hold_max: Duration::from_secs(300) }),
        min_instances: scenario.min_instances,
        max_instances: scenario.max_instances,
        hold: None,
        keep: Duration::from_secs(120),
        stale_after: target / 4,
        floors: Vec::new(),
        version: 1,
    })
}

fn ours(scenario: &Scenario, seed: u64) -> Outcome {
    run(scenario, latency(scenario), seed, RunOptions::default())
}

fn script(scenario: &Scenario, steps: &[(f64, u32)], manner: Manner) -> Outcome {
    run(scenario, Script::player(steps, manner), 1, RunOptions::default())
}

fn burst(count: u32) -> Scenario {
    let mut scenario = Scenario::new("test", "", Arrivals::Burst { count, within: 0.0 });
    scenario.service.variation = 0.0;
    scenario
}

#[track_caller]
fn close(number: f64, expected: f64, share: f64) {
    assert!((number - expected).abs() <= expected * share, "{number} is not near {expected}");
}

#[test]
fn one_worker_waits_as_queueing_theory_says() {
    for (variation, used) in [(0.0, 0.75), (0.25, 0.6), (1.0, 0.5)] {
        let rate = used / 3.0;
        let mut scenario = Scenario::new("theory", "", Arrivals::rate(600_000.0, move |_| rate));
        (scenario.initially_ready, scenario.service.variation) = (1, variation);
        let outcome = script(&scenario, &[(0.0, 1)], Manner { tick: 10_000.0, ..PLAIN });
        // Pollaczek and Khinchine's mean wait, and the service.
        let mean = used * 3.0 * (1.0 + variation * variation) / (2.0 * (1.0 - used)) + 3.0;
        close(outcome.mean, mean, 0.05);
        close(outcome.work_hours, 600_000.0 / 3600.0 * used, 0.02);
    }
}

#[test]
fn every_start_costs_a_minute_at_least_and_then_the_time_until_the_stop() {
    let bill = |steps: &[(f64, u32)]| {
        let mut scenario = burst(1);
        scenario.arrivals = Arrivals::trace("0\n75");
        script(&scenario, steps, PLAIN).instance_hours * 3600.0
    };
    assert_eq!(bill(&[(0.0, 1), (100.0, 0)]), 100.0);
    assert_eq!(bill(&[(0.0, 3), (100.0, 0)]), 300.0);
    // Stopped after 45 s, and started again for 50 s: a minute each.
    assert_eq!(bill(&[(0.0, 1), (45.0, 0), (70.0, 1), (120.0, 0)]), 120.0);
    assert_eq!(bill(&[(0.0, 1), (65.0, 0), (90.0, 1), (165.0, 0)]), 140.0);
}

#[test]
fn boots_stops_and_the_pool_take_their_time() {
    let mut scenario = burst(1);
    assert_eq!(script(&scenario, &[(0.0, 1), (100.0, 0)], PLAIN).max, 43.0);
    scenario.stopped_pool = 0;
    let cold = script(&scenario, &[(0.0, 1), (100.0, 0)], PLAIN);
    assert_eq!((cold.max, cold.cold_starts), (93.0, 1));
    // Told to stop at 10 s, it can be started again at 25 s, and not before.
    scenario.stopped_pool = 1;
    let again = script(&scenario, &[(0.0, 1), (10.0, 0), (26.0, 1), (100.0, 0)], NOT_READY_FIRST);
    assert_eq!((again.max, again.cold_starts), (69.0, 0));
}

const NOT_READY_FIRST: Manner = Manner { victims: Victims::NotReadyFirst, ..PLAIN };

#[test]
fn same_seed_is_the_same_run_and_another_seed_is_another() {
    let scenario = super::find("flash").unwrap();
    let first = ours(&scenario, 3);
    assert_eq!(first, ours(&scenario, 3));
    assert_ne!(first, ours(&scenario, 4));
}

#[test]
fn all_players_meet_the_same_load() {
    let scenario = super::find("onoff_rand").unwrap();
    let ours = ours(&scenario, 1);
    let other = script(&scenario, &[(0.0, 30)], PLAIN);
    assert_eq!((ours.requests, ours.work_hours), (other.requests, other.work_hours));
    assert!(ours.instance_hours < other.instance_hours);
}

#[test]
fn our_policy_loses_and_interrupts_nothing_in_any_scenario() {
    /// What can be run without optimisation; `figures` runs all of them.
    const REQUESTS_MAX: f64 = 50_000.0;
    let small = |scenario: &Scenario| scenario.arrivals.expected() <= REQUESTS_MAX;
    let names: Vec<_> = scenarios()
        .into_iter()
        .filter(small)
        .map(|scenario| {
            let outcome = ours(&scenario, 1);
            assert_eq!(outcome.answered, outcome.requests, "{}", scenario.name);
            assert_eq!(outcome.interrupted, 0, "{}", scenario.name);
            assert!(outcome.instance_hours > outcome.work_hours, "{}", scenario.name);
            scenario.name
        })
        .collect();
    assert!(names.len() >= 15, "{names:?}");
}

#[test]
fn thousands_of_instances_are_scaled_within_the_budget_and_without_a_loss() {
    let mut scenario = super::find("ten_million").unwrap();
    scenario.arrivals = Arrivals::rate(60.0, |at| if at < 20.0 { 2500.0 } else { 3300.0 });
    let outcome = ours(&scenario, 1);
    assert_eq!((outcome.answered, outcome.interrupted), (outcome.requests, 0));
    assert!(outcome.throttled * 100 <= outcome.calls, "{} of {}", outcome.throttled, outcome.calls);
}

#[test]
fn killed_workers_images_come_back_after_the_visibility_timeout() {
    let manner = Manner { victims: Victims::Kill, ..PLAIN };
    let outcome = script(&burst(1), &[(0.0, 1), (41.0, 0), (42.0, 1), (200.0, 0)], manner);
    // Taken at 40 s, killed at 41 s, seen again at 71 s; the next worker comes at 82 s.
    assert_eq!((outcome.interrupted, outcome.answered, outcome.max), (1, 1, 85.0));
    let drained = script(&burst(1), &[(0.0, 1), (41.0, 0), (200.0, 0)], PLAIN);
    assert_eq!((drained.interrupted, drained.max), (0, 43.0));
}

#[test]
fn what_a_noticed_worker_cannot_finish_is_given_back_in_time() {
    let mut scenario = burst(4);
    (scenario.service.mean, scenario.target) = (200.0, 600.0);
    scenario.faults = vec![Fault::SpotNotice { at: 50.0, within: 0.0, share: 1.0, notice: 120.0 }];
    let outcome = ours(&scenario, 1);
    assert!(outcome.requeued > 0);
    assert_eq!((outcome.answered, outcome.interrupted), (4, 0));
}

#[test]
fn starts_beyond_the_budget_are_refused_and_counted() {
    let mut scenario = burst(40);
    scenario.budget = Some(Budget { burst: 5.0, per_second: 0.5 });
    let outcome = script(&scenario, &[(0.0, 15), (200.0, 0)], PLAIN);
    assert_eq!(outcome.starts, 15);
    assert!(outcome.throttled > 0);
    assert_eq!(outcome.calls, outcome.starts + outcome.throttled);
    assert_eq!(ours(&scenario, 1).throttled, 0, "a budget that is seen is not overdrawn");
}

#[test]
fn missing_capacity_and_failed_boots_end_in_no_loop_of_starts() {
    let mut scenario = burst(40);
    scenario.faults = vec![Fault::CapacityMissing { from: 0.0, until: 100.0, share: 1.0 }];
    let missing = ours(&scenario, 1);
    assert!(missing.refused > 0 && missing.max > 100.0, "{missing:?}");
    scenario.faults = vec![Fault::BootFailure { share: 0.5 }];
    let failing = ours(&scenario, 1);
    assert_eq!(failing.answered, 40);
    assert!(failing.starts < 100, "{}", failing.starts);
}

#[test]
fn worker_with_slots_takes_several_at_once_and_each_takes_longer() {
    let mut scenario = burst(8);
    scenario.service.slots = 4;
    let until = |scenario: &Scenario| script(scenario, &[(0.0, 1), (100.0, 0)], PLAIN).max;
    assert_eq!(until(&scenario), 46.0);
    scenario.service.slowdown = 0.5;
    assert!(until(&scenario) > 50.0);
}

#[test]
fn nobody_decides_while_the_autoscaler_is_down() {
    let mut scenario = burst(40);
    scenario.faults = vec![Fault::Restart { at: 0.0, down_for: 100.0, snapshot: false }];
    let outcome = ours(&scenario, 1);
    assert!(outcome.p50 > 140.0, "{}", outcome.p50);
    assert_eq!((outcome.answered, outcome.interrupted), (40, 0));
}

#[test]
fn timeline_shows_the_run_in_a_bounded_number_of_samples() {
    let scenario = shape(Shape { rate: 0.5, peak: 4.0, period: 3600.0, duration: 10_800.0 });
    let outcome = run(&scenario, latency(&scenario), 1, RunOptions { timeline: true });
    let timeline = outcome.timeline.unwrap();
    assert!((600..=1201).contains(&timeline.len()), "{}", timeline.len());
    assert!(timeline.windows(2).all(|pair| pair[0].at < pair[1].at));
    assert!(timeline.iter().any(|sample| sample.ready > 8 && sample.queue > 0 && sample.p95 > 3.0));
    close(scenario.arrivals.expected(), outcome.requests as f64, 0.05);
}

#[test]
fn recorded_load_is_run_again() {
    let scenario = recorded(vec![10, 0, 0, 30, 5], 10.0);
    let outcome = ours(&scenario, 1);
    assert_eq!((outcome.requests, outcome.answered), (45, 45));
}

#[test]
fn run_that_is_looked_at_comes_out_the_same_and_can_be_ended() {
    use std::ops::ControlFlow;
    let scenario = super::find("burst").unwrap();
    let policy = super::policy(crate::decide::Rule::Fixed(crate::decide::Fixed { instances: 5 }));
    let outcome = run(&scenario, Player::Ours(policy.clone()), 3, RunOptions::default());
    let mut decisions = 0;
    let shown = super::run_shown(&scenario, policy.clone(), 3, &mut |decision, seen| {
        decisions += 1;
        assert!(decision.want <= 5 && seen.queue.visible <= 100);
        ControlFlow::Continue(())
    });
    assert_eq!(shown, Some(outcome));
    assert!(decisions > 10, "{decisions}");
    assert_eq!(super::run_shown(&scenario, policy, 3, &mut |_, _| ControlFlow::Break(())), None);
}

#[test]
fn first_image_is_seen_at_once_and_not_at_the_next_tick() {
    for seed in 0..10 {
        let outcome = ours(&burst(1), seed);
        assert_eq!(outcome.max, 43.0, "seed {seed}");
    }
}
