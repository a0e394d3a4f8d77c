//! What a person reads of a decision.

use std::sync::Arc;

use super::*;
use crate::decide::{
    Arrivals, Boot, BoundKind, Instance, InstanceState, Observation, Override, Paused, Policy, Queue, Rule,
    Service, State, Step, Supply, decide,
};

const NOW: Duration = Duration::from_secs(1_763_992_800);

fn policy() -> Policy {
    Policy {
        rule: Rule::Step(Step { messages_per_instance: 5, count_in_flight: false }),
        min_instances: 0,
        max_instances: 3,
        hold: None,
        keep: Duration::from_secs(60),
        stale_after: Duration::from_secs(5),
        floors: Vec::new(),
        version: 1,
    }
}

fn observation() -> Observation {
    let instance = Instance {
        instance_id: Arc::from("i-1"),
        state: InstanceState::Ready,
        since: NOW,
        cold: false,
        paid_until: Duration::ZERO,
        busy_slots: 0,
        owned: true,
        given_up: false,
    };
    Observation {
        at: NOW,
        queue: Queue {
            visible: 16,
            oldest_age: Duration::from_millis(2500),
            as_of: Some(NOW - Duration::from_secs(1)),
            ..Queue::default()
        },
        arrivals: Arrivals { latest: 3.0, fast: 2.0, slow: 1.0, ..Arrivals::default() },
        service: Service { mean: Duration::from_secs(3), p95: Duration::from_secs(4), slots: 1.0 },
        late_ratio: 0.25,
        boot: Boot { warm: Duration::from_secs(40), cold: Duration::from_secs(90) },
        instances: vec![instance],
        supply: Supply {
            launchable: 5,
            start_tokens: 100.0,
            start_tokens_per_second: 2.0,
            stopped_max: 10,
            paid_min: Duration::ZERO,
        },
        paused: Paused::default(),
        asked: None,
    }
}

fn record(observation: &Observation) -> v1::Decision {
    let (decided, _) = decide(observation, &State::default(), &policy());
    wire::decision("01J", &decided, observation, wire::By { policy: &policy(), leader_epoch: 0 })
}

fn check(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part:?} in\n{text}");
    }
}

#[test]
fn everything_in_the_record_is_told() {
    let mut decision = record(&observation());
    decision.trigger = "load: images wait".to_owned();
    decision.actions[0].set_outcome(v1::ActionOutcome::Throttled);
    decision.actions[0].error = "slow down".to_owned();
    let explained = explain(&decision).unwrap();
    assert_eq!(explained.recomputed_want, 3);
    check(
        &explained.text,
        &[
            "3 workers are wanted, more than the 1 there is.\n",
            "In short: step: 16 waiting / 5 per worker = 4; at most 3; launch 2\n",
            "Decided because of: load: images wait\n",
            "16 waiting, 0 in work, the oldest for 2.5 s; exact counts, 1.0 s old\n",
            "3.00/s arrive over 4 s, 2.00/s over 10 s, 1.00/s over 60 s; 25.0 % of the last minute's answers late\n",
            "an image takes 3.0 s (p95 4.0 s), 1.0 at once on a worker; a start takes 40.0 s, of a new one 90.0 s\n",
            "1 ready, 0 starting, 0 draining, 0 stopped, 5 can be launched; 100 starts are taken now\n",
            "  step    4  16 waiting / 5 per worker = 4\n  need    4\n",
            "Bounds, in order:\n  4 -> 3: the policy's maximum\n",
            "  launch a new one: held back: slow down\n  launch a new one: not over yet\n",
            "not graded (yet)\n",
            "Computed again from the record it is 3, too.\n",
        ],
    );
    let of = |input: &str| explained.counter_factuals.iter().find(|one| one.input == input).cloned();
    let fewer = v1::CounterFactual { input: "queue.visible".to_owned(), from: 16.0, to: 10.0, want: 2 };
    assert_eq!(of("queue.visible"), Some(fewer));
    let more = v1::CounterFactual { input: "max_instances".to_owned(), from: 3.0, to: 4.0, want: 4 };
    assert_eq!(of("max_instances"), Some(more));
}

#[test]
fn what_a_person_said_and_how_it_went_is_told() {
    let until = NOW + Duration::from_secs(600);
    let asked = Override { min: Some(2), max: None, instances: None, until };
    let paused = Paused { scale_out: false, scale_in: true, until: None };
    let queue = Queue { as_of: None, ..Queue::default() };
    let mut decision = record(&Observation { asked: Some(asked), paused, queue, ..observation() });
    decision.actual_p95 = Some(platform::time::to_proto(Duration::from_millis(730)));
    decision.actual_late_ratio = 0.02;
    check(
        &explain(&decision).unwrap().text,
        &[
            "no gateway has said what waits\n",
            "a person set at least 2 for 600 s more\n",
            "stops are paused\n",
            "0 -> 1: ",
            "1 -> 2: a person's limit\n",
            "it came so: 95 % answered within 730 ms, 2.0 % late\n",
        ],
    );
}

#[test]
fn answer_of_another_version_is_told_apart() {
    let decision = v1::Decision { want: 2, ..record(&observation()) };
    let explained = explain(&decision).unwrap();
    assert_eq!(explained.recomputed_want, 3);
    check(&explained.text, &["it is 3: this version decides otherwise"]);
}

#[test]
fn actions_of_a_large_fleet_are_counted_and_not_all_named() {
    let mut decision = record(&observation());
    decision.actions = vec![decision.actions[0].clone(); 5000];
    check(&explain(&decision).unwrap().text, &["\n  and 4980 more\n"]);
}

#[test]
fn every_bound_has_its_words() {
    for kind in [
        BoundKind::Hold,
        BoundKind::Stale,
        BoundKind::Min,
        BoundKind::Max,
        BoundKind::Override,
        BoundKind::Paused,
        BoundKind::PaidMinute,
        BoundKind::Capacity,
        BoundKind::ApiBudget,
    ] {
        let bound = wire::bound(&decide::Bound { kind, from: 1, to: 2 });
        assert!(!why(&bound).contains("does not know"), "{kind:?}");
    }
}
