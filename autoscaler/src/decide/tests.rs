//! Rows that pin each rule and bound down, and the properties that hold for every policy.

use std::time::Duration;

use proptest::prelude::*;

use super::*;

const NOW: Duration = Duration::from_secs(1_000_000);

fn policy(rule: Rule) -> Policy {
    Policy {
        rule,
        min_instances: 0,
        max_instances: 20,
        hold: None,
        keep: Duration::from_secs(60),
        stale_after: Duration::from_secs(5),
        floors: Vec::new(),
        version: 1,
    }
}

fn step() -> Policy {
    policy(Rule::Step(Step { messages_per_instance: 5, count_in_flight: false }))
}

fn latency(target_seconds: u64) -> Policy {
    policy(Rule::Latency(Latency {
        target: Duration::from_secs(target_seconds),
        quantile: 0.95,
        hold_max: Duration::from_secs(300),
    }))
}

fn instance(number: usize, state: InstanceState) -> Instance {
    Instance {
        instance_id: format!("local-{number:03}").into(),
        cold: false,
        paid_until: Duration::ZERO,
        state,
        since: NOW,
        busy_slots: 0,
        owned: true,
        given_up: true,
    }
}

/// The instances given, and stopped ones up to `total`.
fn fleet(states: &[InstanceState], total: usize) -> Vec<Instance> {
    (0..total)
        .map(|number| instance(number, states.get(number).copied().unwrap_or(InstanceState::Stopped)))
        .collect()
}

fn observation(visible: u64, instances: Vec<Instance>) -> Observation {
    Observation {
        at: NOW,
        queue: Queue { visible, as_of: Some(NOW), ..Queue::default() },
        arrivals: Arrivals::default(),
        service: Service { mean: Duration::from_secs(1), p95: Duration::from_secs(1), slots: 1.0 },
        late_ratio: 0.0,
        boot: Boot { warm: Duration::from_secs(2), cold: Duration::from_secs(2) },
        instances,
        supply: Supply {
            launchable: 0,
            start_tokens: 1000.0,
            start_tokens_per_second: 0.0,
            stopped_max: u32::MAX,
            paid_min: Duration::ZERO,
        },
        paused: Paused::default(),
        asked: None,
    }
}

fn later(mut observation: Observation, seconds: u64) -> Observation {
    observation.at += Duration::from_secs(seconds);
    observation.queue.as_of = Some(observation.at);
    observation
}

/// The fleet after `actions`, as if each of them took effect at once.
fn act(observation: &Observation, actions: &[Action]) -> Observation {
    let mut after = observation.clone();
    for action in actions {
        if let ActionKind::Launch = action.kind {
            let number = after.instances.len();
            after.instances.push(Instance { since: after.at, ..instance(number, InstanceState::Starting) });
            after.supply.launchable -= 1;
        }
        let target = after.instances.iter_mut().find(|one| one.instance_id == action.instance_id);
        if let Some(target) = target {
            target.since = after.at;
            target.state = match action.kind {
                ActionKind::Undrain => InstanceState::Ready,
                ActionKind::Start | ActionKind::Launch => InstanceState::Starting,
                ActionKind::Drain => InstanceState::Draining,
                ActionKind::Stop => InstanceState::Stopped,
                ActionKind::Terminate => InstanceState::Stopping,
            };
        }
        if matches!(action.kind, ActionKind::Start | ActionKind::Launch) {
            after.supply.start_tokens -= 1.0;
        }
    }
    after
}

fn kinds(decision: &Decision) -> Vec<(ActionKind, &str)> {
    decision.actions.iter().map(|action| (action.kind, &*action.instance_id)).collect()
}

#[test]
fn step_wants_what_the_course_report_says() {
    let check = |messages: u64, want: u32| {
        let observation = observation(messages, fleet(&[], 20));
        let (decision, _) = decide(&observation, &State::default(), &step());
        assert_eq!(decision.want, want, "{messages} messages: {}", decision.reason);
        assert_eq!(decision.actions.len(), want as usize);
        assert!(decision.actions.iter().all(|action| action.kind == ActionKind::Start));
    };
    for (messages, want) in [(0, 0), (1, 1), (5, 1), (6, 2), (8, 2), (16, 4), (100, 20), (101, 20)] {
        check(messages, want);
    }
}

#[test]
fn step_starts_only_what_is_missing() {
    use InstanceState::{Ready, Starting};
    let (decision, _) =
        decide(&observation(16, fleet(&[Ready, Starting, Starting], 20)), &State::default(), &step());
    assert_eq!((decision.want, decision.current), (4, 3));
    assert_eq!(kinds(&decision), [(ActionKind::Start, "local-003")]);
    assert_eq!(decision.reason, "step: 16 waiting / 5 per worker = 4; start 1");
}

#[test]
fn bounds_are_recorded_when_they_bite() {
    use InstanceState::{Ready, Stopped};
    type Change = fn(&mut Observation, &mut Policy);
    let check = |visible: u64, states: &[InstanceState], change: Change, want: u32, bounds: &[BoundKind]| {
        let (mut observation, mut policy) = (observation(visible, fleet(states, 6)), step());
        change(&mut observation, &mut policy);
        // A state that has seen this fleet before, so that the first decision's hold is over.
        let (_, state) = decide(&later(observation.clone(), 0), &State::default(), &policy);
        let stale = observation.queue.as_of;
        observation = later(observation, 1);
        if stale.is_none() {
            observation.queue.as_of = None;
        }
        let (decision, _) = decide(&observation, &state, &policy);
        let seen: Vec<_> = decision.bounds.iter().map(|bound| bound.kind).collect();
        assert_eq!((decision.want, seen.as_slice()), (want, bounds), "{}", decision.reason);
        let ends = decision.bounds.last().map_or(decision.need, |bound| bound.to);
        assert_eq!(ends, decision.want);
    };
    check(8, &[], |_, _| {}, 2, &[]);
    check(0, &[], |_, policy| policy.min_instances = 1, 1, &[BoundKind::Min]);
    check(100, &[], |_, policy| policy.max_instances = 4, 4, &[BoundKind::Max]);
    check(100, &[], |_, _| {}, 6, &[BoundKind::Capacity]);
    check(25, &[], |seen, _| seen.supply.start_tokens = 2.0, 2, &[BoundKind::ApiBudget]);
    check(8, &[], |seen, _| seen.paused.scale_out = true, 0, &[BoundKind::Paused]);
    check(0, &[Ready, Ready], |seen, _| seen.paused.scale_in = true, 2, &[BoundKind::Paused]);
    check(0, &[Ready, Ready], |seen, _| seen.queue.as_of = None, 2, &[BoundKind::Stale]);
    check(0, &[Ready, Ready], |_, policy| policy.hold = Some(Duration::from_secs(9)), 2, &[BoundKind::Hold]);
    check(0, &[Ready, Stopped], |seen, _| seen.instances[0].owned = false, 1, &[BoundKind::Capacity]);
}

#[test]
fn draining_ones_are_told_to_stay_before_any_is_started() {
    use InstanceState::{Drained, Draining, Ready};
    let mut seen = observation(20, fleet(&[Ready, Draining, Drained, Draining], 6));
    seen.instances[3].busy_slots = 1;
    let (decision, _) = decide(&seen, &State::default(), &step());
    assert_eq!(
        kinds(&decision),
        [
            (ActionKind::Undrain, "local-003"),
            (ActionKind::Undrain, "local-001"),
            (ActionKind::Start, "local-004"),
            (ActionKind::Stop, "local-002"),
        ]
    );
}

#[test]
fn least_useful_are_drained_first() {
    use InstanceState::{Ready, Starting};
    let mut seen = observation(5, fleet(&[Ready, Ready, Ready, Ready, Starting], 5));
    seen.instances[0].busy_slots = 2;
    seen.instances[1].busy_slots = 1;
    seen.instances[2].since = NOW - Duration::from_secs(30);
    seen.instances[3].since = NOW - Duration::from_secs(10);
    let (_, state) = decide(&later(seen.clone(), 0), &State::default(), &step());
    let (decision, _) = decide(&later(seen, 1), &state, &step());
    let drained: Vec<_> = kinds(&decision).into_iter().map(|(_, id)| id).collect();
    assert_eq!(drained, ["local-004", "local-003", "local-002", "local-001"]);
    assert!(decision.actions.iter().all(|action| action.kind == ActionKind::Drain));
}

#[test]
fn first_decision_after_a_restart_stops_nothing() {
    let seen = observation(0, fleet(&[InstanceState::Ready; 3], 5));
    for policy in [step(), latency(10)] {
        let (decision, _) = decide(&seen, &State::default(), &policy);
        assert_eq!((decision.want, decision.actions.len()), (3, 0), "{}", decision.reason);
    }
}

#[test]
fn latency_starts_enough_to_answer_in_time() {
    let check = |visible: u64, oldest_seconds: u64, states: &[InstanceState], want: u32| {
        let mut seen = observation(visible, fleet(states, 20));
        seen.queue.oldest_age = Duration::from_secs(oldest_seconds);
        let (decision, _) = decide(&seen, &State::default(), &latency(10));
        assert_eq!(decision.want, want, "{visible} waiting: {}", decision.reason);
    };
    use InstanceState::{Ready, Starting};
    check(0, 0, &[], 0);
    check(1, 0, &[], 1);
    // Of the 10 s, 8 are left after a boot: 8 images each.
    check(8, 0, &[], 1);
    check(9, 0, &[], 2);
    check(80, 0, &[], 10);
    // A ready one does 10 in that time, one that starts now 8.
    check(10, 0, &[Ready], 1);
    check(18, 0, &[Ready, Starting], 2);
    check(19, 0, &[Ready, Starting], 3);
    // The oldest quarter is late already: cleared within a boot and two images.
    check(40, 60, &[], 15);
}

#[test]
fn latency_keeps_what_a_steady_stream_needs() {
    let check = |rate: f64, want: u32| {
        let mut seen = observation(0, fleet(&[], 100));
        seen.arrivals = Arrivals { fast: rate, slow: rate, ..Arrivals::default() };
        let policy = Policy { max_instances: 100, ..latency(10) };
        let (decision, _) = decide(&seen, &State::default(), &policy);
        assert_eq!(decision.want, want, "{rate}/s: {}", decision.reason);
    };
    check(0.0, 0);
    check(0.1, 1);
    check(0.9, 2);
    check(4.0, 5);
    check(50.0, 51);
}

#[test]
fn latency_goes_to_zero_only_after_the_hold_and_the_keep() {
    let policy = latency(10);
    let mut seen = observation(40, fleet(&[], 20));
    let mut state = State::default();
    let mut wants = Vec::new();
    for second in 0..=75 {
        if second == 1 {
            seen.queue.visible = 0;
        }
        let now = later(seen.clone(), second);
        let (decision, next) = decide(&now, &state, &policy);
        seen = act(&seen, &decision.actions);
        state = next;
        if wants.last().is_none_or(|(_, want)| *want != decision.want) {
            wants.push((second, decision.want));
        }
    }
    // 40 images need 5; the hold is 10 s, the last one stays for 60 s after the last image.
    assert_eq!(wants, [(0, 5), (11, 1), (60, 0)]);
}

#[test]
fn surge_counts_more_the_longer_it_lasts() {
    let mut seen = observation(0, fleet(&[], 100));
    seen.arrivals = Arrivals { fast: 20.0, slow: 2.0, ..Arrivals::default() };
    seen.boot.warm = Duration::from_secs(80);
    let policy = Policy { max_instances: 100, ..latency(120) };
    let (at_first, state) = decide(&seen, &State::default(), &policy);
    // It has lasted for 5 s, and is expected to last for 40: half of a boot.
    assert_eq!(at_first.want, 12, "{}", at_first.reason);
    let (later_on, _) = decide(&later(seen, 5), &state, &policy);
    assert_eq!(later_on.want, 21, "{}", later_on.reason);
}

#[test]
fn impossible_policies_name_the_field() {
    let check = |policy: Policy, field: &str| {
        let fields: Vec<_> = policy.problems().into_iter().map(|(field, _)| field).collect();
        assert_eq!(fields, [field]);
    };
    check(Policy { min_instances: 21, ..step() }, "min_instances");
    check(
        policy(Rule::Step(Step { messages_per_instance: 0, count_in_flight: false })),
        "step.messages_per_instance",
    );
    check(policy(Rule::Backlog(Backlog { target_per_instance: f64::NAN })), "backlog.target_per_instance");
    check(latency(0), "latency.target");
    check(policy(Rule::Fixed(Fixed { instances: 21 })), "fixed.instances");
    assert!(step().problems().is_empty() && latency(1).problems().is_empty());
}

#[test]
fn smallest_change_of_an_input_that_changes_want_is_found() {
    let check = |policy: Policy, visible: u64, rows: &[(&str, f64, f64, u32)]| {
        let seen = observation(visible, fleet(&[], 20));
        let (decision, _) = decide(&seen, &State::default(), &policy);
        let found = counterfactuals(&seen, &decision.census, &decision.recalled, &policy);
        for (input, from, to, want) in rows {
            let one =
                found.iter().find(|one| one.input == *input).unwrap_or_else(|| panic!("{input}: {found:?}"));
            assert_eq!((one.from, one.to, one.want), (*from, *to, *want), "{input}");
        }
        assert!(found.iter().all(|one| one.want != decision.want), "{found:?}");
    };
    check(
        step(),
        8,
        &[
            ("queue.visible", 8.0, 11.0, 3),
            ("step.messages_per_instance", 5.0, 3.0, 3),
            ("max_instances", 20.0, 1.0, 1),
            ("min_instances", 0.0, 3.0, 3),
        ],
    );
    check(step(), 100, &[("max_instances", 20.0, 19.0, 19), ("queue.visible", 100.0, 95.0, 19)]);
    check(latency(10), 9, &[("queue.visible", 9.0, 8.0, 1)]);
    let seen = observation(9, fleet(&[], 20));
    let (decision, _) = decide(&seen, &State::default(), &latency(10));
    let found = counterfactuals(&seen, &decision.census, &decision.recalled, &latency(10));
    let target = found.iter().find(|one| one.input == "latency.target").unwrap();
    // 9 images of 1 s after a boot of 2 s need 11 s of one instance.
    assert!((target.to - 11.0).abs() < 0.01 && target.want == 1, "{target:?}");
}

#[test]
fn schedule_holds_from_a_boot_before_its_time_on() {
    // A Thursday, 1970-01-01, and the days after.
    let floor = Floor {
        days: Days(0b001_1111),
        from: Duration::from_secs(8 * 3600),
        length: Duration::from_secs(10 * 3600),
        instances: 3,
    };
    let policy = Policy { floors: vec![floor], ..latency(10) };
    let check = |day: u64, hour: u64, second: u64, want: u32| {
        let mut seen = observation(0, fleet(&[], 20));
        seen.at = Duration::from_secs(day * 86_400 + hour * 3600 + second);
        seen.queue.as_of = Some(seen.at);
        let (decision, _) = decide(&seen, &State::default(), &policy);
        assert_eq!(decision.want, want, "day {day}, {hour}:{second}: {}", decision.reason);
    };
    check(0, 7, 3500, 0);
    check(0, 7, 3598, 3);
    check(0, 8, 0, 3);
    check(0, 17, 3599, 3);
    check(0, 18, 0, 0);
    check(2, 12, 0, 0);
    check(4, 12, 0, 3);
    let night = Floor { from: Duration::from_secs(22 * 3600), days: Days(0b000_1000), ..floor };
    assert!(night.holds(Duration::from_secs(23 * 3600)) && night.holds(Duration::from_secs(31 * 3600)));
    assert!(!night.holds(Duration::from_secs(3600)));
}

#[test]
fn override_takes_the_place_of_the_limits_until_it_ends() {
    let asked = Override { min: None, max: None, instances: None, until: NOW + Duration::from_secs(60) };
    let check = |visible: u64, asked: Override, want: u32| {
        let policy = Policy { max_instances: 4, ..step() };
        let seen = Observation { asked: Some(asked), ..observation(visible, fleet(&[], 20)) };
        let (decision, _) = decide(&seen, &State::default(), &policy);
        assert_eq!(decision.want, want, "{}", decision.reason);
    };
    check(100, asked, 4);
    check(100, Override { max: Some(9), ..asked }, 9);
    check(100, Override { max: Some(2), ..asked }, 2);
    check(0, Override { min: Some(6), ..asked }, 6);
    check(100, Override { instances: Some(5), ..asked }, 5);
    check(100, Override { instances: Some(0), ..asked }, 0);
    check(100, Override { instances: Some(0), until: NOW, ..asked }, 4);
    // What is held is held up to the limit in force, not to the policy's.
    let policy = Policy { max_instances: 4, hold: Some(Duration::from_secs(30)), ..step() };
    let seen = Observation {
        asked: Some(Override { max: Some(9), ..asked }),
        ..observation(0, fleet(&[InstanceState::Ready; 8], 20))
    };
    let (decision, _) = decide(&seen, &State::default(), &policy);
    assert_eq!(decision.want, 8, "{}", decision.reason);
}

#[test]
fn paid_instances_are_not_asked_to_go() {
    let mut seen = observation(0, fleet(&[InstanceState::Ready; 3], 5));
    seen.instances[1].paid_until = NOW + Duration::from_secs(30);
    let (_, state) = decide(&later(seen.clone(), 0), &State::default(), &step());
    let (decision, _) = decide(&later(seen.clone(), 1), &state, &step());
    assert_eq!(decision.bounds.last().map(|bound| bound.kind), Some(BoundKind::PaidMinute));
    assert_eq!(kinds(&decision), [(ActionKind::Drain, "local-000"), (ActionKind::Drain, "local-002")]);
    let (decision, _) = decide(&later(seen, 30), &state, &step());
    assert_eq!(decision.want, 0, "{}", decision.reason);
}

#[test]
fn large_fleet_shrinks_by_a_third_a_minute() {
    let mut seen = observation(0, fleet(&[InstanceState::Ready; 400], 400));
    let policy = Policy { max_instances: 400, ..step() };
    let (_, mut state) = decide(&later(seen.clone(), 0), &State::default(), &policy);
    let mut wants = Vec::new();
    for second in [1, 2, 62, 63] {
        let now = later(seen.clone(), second);
        let (decision, next) = decide(&now, &state, &policy);
        seen = act(&seen, &decision.actions);
        state = next;
        wants.push(decision.want);
    }
    assert_eq!(wants, [266, 266, 177, 177]);
}

fn any_policy() -> impl Strategy<Value = Policy> {
    let rule = prop_oneof![
        (1..20u32, any::<bool>()).prop_map(|(messages_per_instance, count_in_flight)| Rule::Step(Step {
            messages_per_instance,
            count_in_flight
        })),
        (0.1..50.0).prop_map(|target_per_instance| Rule::Backlog(Backlog { target_per_instance })),
        (1..120u64, 0.5..0.999).prop_map(|(target, quantile)| Rule::Latency(Latency {
            target: Duration::from_secs(target),
            quantile,
            hold_max: Duration::from_secs(300),
        })),
        (0..10u32).prop_map(|instances| Rule::Fixed(Fixed { instances })),
    ];
    let hold = proptest::option::of((0..60u64).prop_map(Duration::from_secs));
    (rule, 0..5u32, 0..30u32, hold, 0..120u64).prop_map(|(rule, min, more, hold, keep)| Policy {
        rule,
        min_instances: min,
        max_instances: min + more,
        hold,
        keep: Duration::from_secs(keep),
        stale_after: Duration::from_secs(5),
        floors: Vec::new(),
        version: 1,
    })
}

fn any_instance() -> impl Strategy<Value = Instance> {
    use InstanceState::{Drained, Draining, Lost, Ready, Starting, Stopped, Stopping};
    let state = prop::sample::select(vec![Starting, Ready, Draining, Drained, Stopping, Stopped, Lost]);
    (state, 0..600u64, 0..3u32, prop::bool::weighted(0.9)).prop_map(|(state, age, busy_slots, owned)| {
        Instance {
            instance_id: "".into(),
            cold: false,
            paid_until: Duration::ZERO,
            state: if owned { state } else { Ready },
            since: NOW - Duration::from_secs(age),
            busy_slots,
            owned,
            given_up: true,
        }
    })
}

fn any_observation() -> impl Strategy<Value = Observation> {
    let queue = (0..300u64, 0..40u64, 0..90u64, proptest::option::of(0..10u64));
    let rates = (0.0..20.0, 0.0..20.0, 1..5000u64, 1..4u32, 1..60u64);
    let supply = (0..10u32, 0..30u32, any::<bool>(), any::<bool>());
    (queue, rates, supply, prop::collection::vec(any_instance(), 0..25)).prop_map(
        |((visible, in_flight, oldest, age), (fast, slow, mean, slots, boot), supply, mut instances)| {
            for (number, instance) in instances.iter_mut().enumerate() {
                instance.instance_id = format!("local-{number:03}").into();
            }
            let mut seen = observation(visible, instances);
            seen.queue.in_flight = in_flight;
            seen.queue.oldest_age = Duration::from_secs(oldest);
            seen.queue.as_of = age.map(|age| NOW - Duration::from_secs(age));
            seen.arrivals = Arrivals { fast, slow, ..Arrivals::default() };
            let mean = Duration::from_millis(mean);
            seen.service = Service { mean, p95: mean * 2, slots: f64::from(slots) };
            seen.boot = Boot { warm: Duration::from_secs(boot), cold: Duration::from_secs(boot) };
            seen.supply.launchable = supply.0;
            seen.supply.start_tokens = f64::from(supply.1);
            seen.paused = Paused { scale_out: supply.2, scale_in: supply.3, until: None };
            seen
        },
    )
}

/// A state with a history: what a few earlier observations left.
fn state_after(history: &[Observation], policy: &Policy) -> State {
    let mut state = State::default();
    for (age, seen) in history.iter().enumerate() {
        let mut seen = seen.clone();
        seen.at = NOW - Duration::from_secs(3 * (history.len() - age) as u64);
        state = decide(&seen, &state, policy).1;
    }
    state
}

proptest! {
    #[test]
    fn deciding_twice_changes_nothing(
        seen in any_observation(), history in prop::collection::vec(any_observation(), 0..4), policy in any_policy(),
    ) {
        let state = state_after(&history, &policy);
        let (first, after_first) = decide(&seen, &state, &policy);
        prop_assert_eq!(&decide(&seen, &state, &policy), &(first.clone(), after_first.clone()));
        prop_assert_eq!(decide(&seen, &after_first, &policy), (first, after_first));
    }

    #[test]
    fn once_acted_upon_nothing_is_left_to_do(seen in any_observation(), policy in any_policy()) {
        let (first, state) = decide(&seen, &State::default(), &policy);
        // What could not be had now may be had once the stopped ones are back.
        prop_assume!(first.bounds.iter().all(|bound| !matches!(bound.kind, BoundKind::Capacity | BoundKind::ApiBudget)));
        let (second, _) = decide(&act(&seen, &first.actions), &state, &policy);
        prop_assert_eq!(second.want, first.want, "{} / {}", first.reason, second.reason);
        prop_assert!(second.actions.is_empty(), "{} / {}", first.reason, second.reason);
    }

    #[test]
    fn want_stays_within_the_bounds_of_a_person(seen in any_observation(), policy in any_policy()) {
        let (decision, _) = decide(&seen, &State::default(), &policy);
        let excused = |kinds: &[BoundKind]| decision.bounds.iter().any(|bound| kinds.contains(&bound.kind));
        let cannot = [BoundKind::Paused, BoundKind::Capacity, BoundKind::ApiBudget];
        prop_assert!(decision.want >= policy.min_instances || excused(&cannot), "{}", decision.reason);
        prop_assert!(decision.want <= policy.max_instances || excused(&cannot[..2]), "{}", decision.reason);
    }

    #[test]
    fn more_waiting_never_wants_fewer(
        seen in any_observation(), history in prop::collection::vec(any_observation(), 0..4),
        more in 1..200u64, policy in any_policy(),
    ) {
        let state = state_after(&history, &policy);
        let mut fuller = seen.clone();
        fuller.queue.visible += more;
        let (few, _) = decide(&seen, &state, &policy);
        let (many, _) = decide(&fuller, &state, &policy);
        prop_assert!(many.want >= few.want, "{} / {}", few.reason, many.reason);
    }

    #[test]
    fn actions_add_up_and_touch_only_what_is_ours(seen in any_observation(), policy in any_policy()) {
        let (decision, _) = decide(&seen, &State::default(), &policy);
        let sum: i64 = decision.actions.iter().map(|action| action.kind.capacity()).sum();
        prop_assert_eq!(sum, i64::from(decision.want) - i64::from(decision.current));
        for action in &decision.actions {
            let target = seen.instances.iter().find(|one| one.instance_id == action.instance_id);
            let Some(target) = target else {
                prop_assert_eq!(action.kind, ActionKind::Launch);
                continue;
            };
            prop_assert!(target.owned || action.kind == ActionKind::Undrain);
            if action.kind == ActionKind::Stop {
                prop_assert!(matches!(target.state, InstanceState::Drained | InstanceState::Lost));
            }
        }
    }

    #[test]
    fn old_counts_never_lower(mut seen in any_observation(), policy in any_policy()) {
        seen.queue.as_of = None;
        let (decision, _) = decide(&seen, &State::default(), &policy);
        let floor = decision.current.min(policy.max_instances);
        prop_assert!(!policy.reads_queue() || decision.want >= floor, "{}", decision.reason);
    }

    #[test]
    fn answer_is_the_same_from_the_numbers_alone(
        seen in any_observation(), history in prop::collection::vec(any_observation(), 0..4), policy in any_policy(),
    ) {
        let state = state_after(&history, &policy);
        let (decision, _) = decide(&seen, &state, &policy);
        let bare = Observation { instances: Vec::new(), ..seen };
        let again = answer(&bare, &decision.census, &decision.recalled, &policy);
        prop_assert_eq!((again.want, again.need), (decision.want, decision.need));
        prop_assert_eq!((again.terms, again.bounds), (decision.terms, decision.bounds));
    }

    #[test]
    fn state_is_the_same_after_it_was_written_and_read(
        history in prop::collection::vec(any_observation(), 0..4), policy in any_policy(),
    ) {
        let state = state_after(&history, &policy);
        let written = serde_json::to_string(&state).unwrap();
        prop_assert_eq!(serde_json::from_str::<State>(&written).unwrap(), state);
    }

    #[test]
    fn paused_never_acts(mut seen in any_observation(), policy in any_policy()) {
        seen.paused = Paused { scale_out: true, scale_in: true, until: None };
        let (decision, _) = decide(&seen, &State::default(), &policy);
        prop_assert!(decision.actions.is_empty());
        prop_assert_eq!(decision.want, decision.current);
    }
}
