//! A record holds all that an answer is made from: read back, it gives the same answer bit for bit.

use std::sync::Arc;

use proptest::prelude::*;
use prost::Message as _;

use super::*;
use crate::decide::{
    Answer, Arrivals, Backlog, Boot, Days, Fixed, Instance, Latency, Queue, Service, State, Step, Supply,
    answer, decide,
};

/// To the nanosecond, up to hours.
fn any_length() -> impl Strategy<Value = Duration> {
    prop_oneof![
        Just(Duration::ZERO),
        (0..10_000_000_000_000_u64).prop_map(Duration::from_nanos),
        (0..100_u64).prop_map(Duration::from_secs)
    ]
}

/// No zero with a minus: a message does not keep it, and no count or time makes one.
fn any_number() -> impl Strategy<Value = f64> {
    prop_oneof![Just(0.0), 0.0..100.0, 0.0..1e9, 0.0..1e-9]
}

fn any_rule() -> impl Strategy<Value = Rule> {
    prop_oneof![
        (0..20u32, any::<bool>()).prop_map(|(messages_per_instance, count_in_flight)| {
            Rule::Step(Step { messages_per_instance, count_in_flight })
        }),
        (0.001..50.0).prop_map(|target_per_instance| Rule::Backlog(Backlog { target_per_instance })),
        (any_length(), 0.5..0.999, any_length()).prop_map(|(target, quantile, hold_max)| {
            Rule::Latency(Latency { target, quantile, hold_max })
        }),
        (0..50u32).prop_map(|instances| Rule::Fixed(Fixed { instances })),
    ]
}

fn any_floor() -> impl Strategy<Value = Floor> {
    (1..=Days::ALL.0, any_length(), any_length(), 0..50u32)
        .prop_map(|(days, from, length, instances)| Floor { days: Days(days), from, length, instances })
}

fn any_policy() -> impl Strategy<Value = Policy> {
    let limits = (0..10u32, 0..60u32, 0..9u64);
    let times = (proptest::option::of(any_length()), any_length(), any_length());
    (any_rule(), limits, times, prop::collection::vec(any_floor(), 0..3)).prop_map(
        |(rule, (min_instances, more, version), (hold, keep, stale_after), floors)| Policy {
            rule,
            min_instances,
            max_instances: min_instances + more,
            hold,
            keep,
            stale_after,
            floors,
            version,
        },
    )
}

/// Around this moment everything happens.
const NOW: Duration = Duration::new(1_763_992_801, 123_456_789);

fn any_time() -> impl Strategy<Value = Duration> {
    (any_length(), any::<bool>()).prop_map(|(length, later)| if later { NOW + length } else { NOW - length })
}

fn any_instance() -> impl Strategy<Value = Instance> {
    use InstanceState::{Drained, Draining, Lost, Ready, Starting, Stopped, Stopping};
    let state = prop::sample::select(vec![Starting, Ready, Draining, Drained, Stopping, Stopped, Lost]);
    (state, any_length(), any_time(), 0..3u32, any::<[bool; 3]>()).prop_map(
        |(state, age, paid_until, busy_slots, [cold, owned, given_up])| Instance {
            instance_id: Arc::from("i-1"),
            state,
            since: NOW - age,
            cold,
            paid_until,
            busy_slots,
            owned,
            given_up,
        },
    )
}

fn any_queue() -> impl Strategy<Value = Queue> {
    (0..1000u64, 0..100u64, 0..10u64, any_length(), proptest::option::of(any_time()), any::<bool>()).prop_map(
        |(visible, in_flight, delayed, oldest_age, as_of, approximate)| Queue {
            visible,
            in_flight,
            delayed,
            oldest_age,
            as_of,
            approximate,
        },
    )
}

fn any_arrivals() -> impl Strategy<Value = Arrivals> {
    (any_number(), any_number(), any_number(), any::<[u32; 3]>()).prop_map(|(latest, fast, slow, totals)| {
        let [total, completed, late] = totals.map(u64::from);
        Arrivals { latest, fast, slow, total, completed, late }
    })
}

fn any_supply() -> impl Strategy<Value = Supply> {
    (0..100u32, any_number(), any_number(), any_length()).prop_map(
        |(launchable, start_tokens, start_tokens_per_second, paid_min)| Supply {
            launchable,
            start_tokens,
            start_tokens_per_second,
            stopped_max: u32::MAX,
            paid_min,
        },
    )
}

fn any_paused() -> impl Strategy<Value = Paused> {
    (any::<bool>(), any::<bool>(), proptest::option::of(any_time()))
        .prop_map(|(scale_out, scale_in, until)| Paused { scale_out, scale_in, until })
}

fn any_override() -> impl Strategy<Value = Override> {
    let count = || proptest::option::of(0..80u32);
    (count(), count(), count(), any_time()).prop_map(|(min, max, instances, until)| Override {
        min,
        max,
        instances,
        until,
    })
}

fn any_observation() -> impl Strategy<Value = Observation> {
    let service =
        (any_length(), any_length(), 1.0..9.0).prop_map(|(mean, p95, slots)| Service { mean, p95, slots });
    let boot = (any_length(), any_length()).prop_map(|(warm, cold)| Boot { warm, cold });
    let seen = (any_queue(), any_arrivals(), service, any_number(), boot);
    let fleet = (prop::collection::vec(any_instance(), 0..30), any_supply());
    let said = (any_paused(), proptest::option::of(any_override()));
    (seen, fleet, said).prop_map(
        |((queue, arrivals, service, late_ratio, boot), (instances, supply), (paused, asked))| Observation {
            at: NOW,
            queue,
            arrivals,
            service,
            late_ratio,
            boot,
            instances,
            supply,
            paused,
            asked,
        },
    )
}

fn any_recalled() -> impl Strategy<Value = Recalled> {
    let times = (proptest::option::of(any_time()), proptest::option::of(any_length()), any_length());
    let slope =
        (any_number(), any::<bool>()).prop_map(|(slope, falls)| if falls { 0.0 - slope } else { slope });
    (0..80u32, times, (slope, proptest::option::of(any_number())), any_number(), 0.0..1.0, 0..50u32).prop_map(
        |(
            largest_need,
            (last_work, surge_left, reserve_window),
            (slope, level),
            reserve,
            quantile,
            drained,
        )| {
            Recalled {
                largest_need,
                last_work,
                surge_left,
                slope,
                level,
                reserve,
                reserve_window,
                reserve_quantile: quantile,
                drained,
            }
        },
    )
}

/// What is read from the bytes of the record.
fn through_record(decided: &Decision, seen: &Observation, policy: &Policy) -> (v1::Decision, Record) {
    let by = By { policy, leader_epoch: 3 };
    let bytes = decision("01J", decided, seen, by).encode_to_vec();
    let record = v1::Decision::decode(bytes.as_slice()).unwrap();
    let read = read_back(&record).unwrap();
    (record, read)
}

fn again(read: &Record) -> Answer {
    answer(&read.observation, &read.census, &read.recalled, &read.policy)
}

proptest! {
    #[test]
    fn answer_from_the_record_is_the_same_bit_for_bit(
        history in prop::collection::vec(any_observation(), 0..3), seen in any_observation(), policy in any_policy(),
    ) {
        let mut state = State::default();
        for (ago, earlier) in history.iter().enumerate() {
            let at = NOW - Duration::from_secs(60) + Duration::from_secs(2) * u32::try_from(ago).unwrap();
            state = decide(&Observation { at, ..earlier.clone() }, &state, &policy).1;
        }
        let (decided, _) = decide(&seen, &state, &policy);
        let (record, read) = through_record(&decided, &seen, &policy);
        let Answer { terms, need, bounds, want } = again(&read);
        prop_assert_eq!((want, need, &terms, &bounds), (decided.want, decided.need, &decided.terms, &decided.bounds));
        let formulas: Vec<_> = record.terms.iter().map(|term| &term.formula).collect();
        prop_assert_eq!(terms.iter().map(|term| &term.formula).collect::<Vec<_>>(), formulas);
        prop_assert_eq!(bounds.iter().map(bound).collect::<Vec<_>>(), record.bounds);
    }

    #[test]
    fn whatever_was_remembered_is_in_the_record(
        seen in any_observation(), recalled in any_recalled(), policy in any_policy(),
    ) {
        let census = Census::of(&seen);
        let Answer { terms, need, bounds, want } = answer(&seen, &census, &recalled, &policy);
        let (mut decided, _) = decide(&seen, &State::default(), &policy);
        (decided.terms, decided.need, decided.bounds, decided.want) = (terms, need, bounds, want);
        (decided.recalled, decided.census) = (recalled, census.clone());
        let (_, read) = through_record(&decided, &seen, &policy);
        prop_assert_eq!(&read.recalled, &recalled);
        prop_assert_eq!(&read.census, &census);
        prop_assert_eq!(&read.policy, &policy);
        prop_assert_eq!(&read.observation, &Observation { instances: Vec::new(), ..seen });
        let answer = again(&read);
        prop_assert_eq!((&answer.terms, answer.want), (&decided.terms, decided.want));
    }
}

/// Every decision of whole runs, with what the load taught in between.
#[test]
fn answers_of_a_simulated_day_are_the_same_from_their_records() {
    use std::ops::ControlFlow;
    for name in ["burst", "flash", "restart"] {
        let scenario = crate::simulate::find(name).unwrap();
        let rule = Rule::Latency(Latency {
            target: Duration::from_secs(60),
            quantile: 0.95,
            hold_max: Duration::from_secs(300),
        });
        let policy = Policy { max_instances: scenario.max_instances, ..crate::simulate::policy(rule) };
        let mut decisions = 0;
        let outcome = crate::simulate::run_shown(&scenario, policy.clone(), 1, &mut |decided, seen| {
            decisions += 1;
            let (record, read) = through_record(decided, seen, &policy);
            let answer = again(&read);
            assert_eq!(
                (answer.want, &answer.terms, &answer.bounds),
                (record.want, &decided.terms, &decided.bounds)
            );
            ControlFlow::Continue(())
        });
        assert!(outcome.is_some() && decisions > 30, "{decisions} in {name}");
    }
}

#[test]
fn record_of_an_older_version_says_what_it_lacks() {
    let older = v1::Decision { decision_id: "01J".to_owned(), want: 3, ..v1::Decision::default() };
    let error = read_back(&older).unwrap_err();
    assert_eq!(error.kind(), platform::Kind::RecordIncomplete);
    assert!(error.message().contains("recollection is missing"), "{error}");
    let recollection = Some(v1::Recollection::default());
    let error = read_back(&v1::Decision { recollection, ..older }).unwrap_err();
    assert!(error.message().contains("observation is missing"), "{error}");
}
