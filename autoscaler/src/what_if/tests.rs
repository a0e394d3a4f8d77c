//! What is made of a question.

use super::*;
use crate::decide::{Arrivals, Latency, Paused, Queue, Service, Step, Supply};

const NOW: Duration = Duration::from_secs(1_763_992_800);

fn live() -> Live {
    let policy = Policy {
        rule: Rule::Latency(Latency {
            target: Duration::from_secs(20),
            quantile: 0.95,
            hold_max: Duration::from_secs(300),
        }),
        min_instances: 1,
        max_instances: 8,
        hold: None,
        keep: Duration::from_secs(60),
        stale_after: Duration::from_secs(5),
        floors: Vec::new(),
        version: 7,
    };
    let observation = Observation {
        at: NOW,
        queue: Queue { as_of: Some(NOW), ..Queue::default() },
        arrivals: Arrivals::default(),
        service: Service { mean: Duration::from_secs(3), p95: Duration::from_secs(4), slots: 2.0 },
        late_ratio: 0.0,
        boot: Boot { warm: Duration::from_secs(40), cold: Duration::from_secs(90) },
        instances: Vec::new(),
        supply: Supply {
            launchable: 8,
            start_tokens: 100.0,
            start_tokens_per_second: 2.0,
            stopped_max: 8,
            paid_min: Duration::from_secs(60),
        },
        paused: Paused::default(),
        asked: None,
    };
    Live {
        observation: wire::observation(&observation),
        policy: wire::policy(&policy),
        policy_defaults: PolicyDefaults { keep: Duration::from_secs(60), tick: Duration::from_secs(2) },
        price_per_hour_usd: 0.5,
    }
}

fn length(seconds: u64) -> Option<prost_types::Duration> {
    Some(platform::time::to_proto(Duration::from_secs(seconds)))
}

fn ask(source: Source) -> v1::SimulateRequest {
    v1::SimulateRequest { source: Some(source), ..v1::SimulateRequest::default() }
}

fn shape() -> v1::LoadShape {
    v1::LoadShape { requests_per_second: 2.0, duration: length(3600), ..v1::LoadShape::default() }
}

fn runs(request: &v1::SimulateRequest, stretch: Option<Stretch>) -> Vec<Run> {
    match read(request, &live(), |_| stretch).unwrap() {
        Question::Runs(runs) => runs,
        Question::Observation(..) => panic!("one decision"),
    }
}

fn once(request: &v1::SimulateRequest) -> (Observation, Vec<Policy>) {
    match read(request, &live(), |_| None).unwrap() {
        Question::Observation(seen, policies) => (*seen, policies),
        Question::Runs(_) => panic!("a run"),
    }
}

#[test]
fn run_is_of_a_fleet_like_the_one_there_is() {
    let mut request = ask(Source::Shape(shape()));
    request.boot_cold = length(120);
    request.seed = 9;
    let run = runs(&request, None).remove(0);
    let Scenario { boot, service, budget, .. } = &run.scenario;
    assert_eq!((boot.warm, boot.cold, run.seed), (40.0, 120.0, 9));
    assert_eq!((service.mean, service.slots, service.prior), (3.0, 2, 3.0));
    assert!((service.variation - (4.0 / 3.0 - 1.0) / 1.65).abs() < 1e-9);
    assert_eq!(budget.map(|budget| (budget.burst, budget.per_second)), Some((100.0, 2.0)));
    assert_eq!((run.scenario.max_instances, run.scenario.initially_ready), (8, 1));
    assert_eq!((run.scenario.target, run.scenario.billed_min), (20.0, 60.0));
    assert_eq!((run.scenario.price_per_hour, run.policy.version), (0.5, 7));
    assert_eq!(run.length(), Duration::from_secs(3600));
}

#[test]
fn what_is_absent_of_an_observation_is_as_it_is_now() {
    let queue = v1::QueueObservation { visible: 30, ..v1::QueueObservation::default() };
    let fleet = v1::FleetObservation {
        ready: 3,
        starting: 3,
        draining: 1,
        stopped: 9,
        not_owned: 1,
        paid: 2,
        starting_groups: vec![v1::StartingGroup { ready_in: length(10), count: 2 }],
        ..v1::FleetObservation::default()
    };
    let given = v1::Observation { queue: Some(queue), fleet: Some(fleet), ..v1::Observation::default() };
    let (seen, policies) = once(&ask(Source::Observation(given)));
    assert_eq!((seen.at, seen.queue.as_of, seen.queue.visible), (NOW, Some(NOW), 30));
    assert_eq!((seen.service.mean, seen.supply.start_tokens), (Duration::from_secs(3), 100.0));
    let census = Census::of(&seen);
    assert_eq!((census.ready, census.starting, census.draining, census.stopped), (3, 3, 1, 9));
    assert_eq!((census.not_owned, census.paid), (1, 2));
    let due: Vec<_> = census.arrivals.iter().map(|due| (due.ready_in.as_secs(), due.count)).collect();
    assert_eq!(due, [(10, 2), (40, 1)]);
    assert_eq!(policies[0].version, 7);
}

#[test]
fn single_decision_holds_nothing_and_remembers_nothing() {
    let fleet = v1::FleetObservation { ready: 6, stopped: 4, ..v1::FleetObservation::default() };
    let with = |visible| v1::Observation {
        queue: Some(v1::QueueObservation { visible, ..v1::QueueObservation::default() }),
        fleet: Some(fleet.clone()),
        ..v1::Observation::default()
    };
    let step = Policy {
        rule: Rule::Step(Step { messages_per_instance: 5, count_in_flight: false }),
        min_instances: 0,
        ..once(&ask(Source::Observation(with(0)))).1.remove(0)
    };
    for (visible, want) in [(0, 0), (8, 2), (38, 8)] {
        let (seen, policies) = once(&ask(Source::Observation(with(visible))));
        assert_eq!(decide_once(&seen, &step).want, want);
        if visible == 0 {
            assert_eq!(decide_once(&seen, &policies[0]).want, 1, "the least of the one in force");
        }
    }
}

#[test]
fn recorded_load_keeps_its_time_of_the_week() {
    // A Tuesday, 10:00:10 UTC.
    let tuesday = simulate::EPOCH + Duration::from_secs(37 * 7 * DAY + DAY + 36_010);
    let stretch = Stretch { from: tuesday, counts: vec![3, 4, 5] };
    let mut policy = live().policy;
    let floor = |days: &[v1::DayOfWeek], from| v1::ScheduleFloor {
        days: days.iter().map(|day| (*day).into()).collect(),
        from: length(from),
        length: length(3600),
        instances: 2,
    };
    use v1::DayOfWeek::{Monday, Tuesday};
    policy.floors = vec![floor(&[Tuesday], 36_020), floor(&[Monday, Tuesday], 3600)];
    let mut request = ask(Source::Recorded(platform::time::to_proto(Duration::from_secs(30))));
    request.policies = vec![policy];
    let run = runs(&request, Some(stretch)).remove(0);
    for seconds in (0..7 * DAY).step_by(1800) {
        let played: Vec<_> =
            run.played.floors.iter().map(|floor| floor.holds(simulate::EPOCH + at(seconds))).collect();
        let real: Vec<_> = run.policy.floors.iter().map(|floor| floor.holds(tuesday + at(seconds))).collect();
        assert_eq!(played, real, "after {seconds} s");
    }
    let (seen, _) = once(&ask(Source::Observation(v1::Observation::default())));
    let seen = Observation { at: simulate::EPOCH + at(20), ..seen };
    let shown = run.shown(&decide_once(&seen, &run.played), &seen, 3);
    assert_eq!(shown.time, Some(crate::clock::timestamp(tuesday + at(20))));
    assert_eq!((shown.sequence, shown.policy.unwrap().floors.len()), (3, 2));
}

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn wrong_questions_name_the_field() {
    let check = |request: &v1::SimulateRequest, field: &str| {
        let error = read(request, &live(), |_| None).unwrap_err();
        assert_eq!(error.kind(), Kind::InvalidRequest, "{field}: {error}");
        assert_eq!(error.violations()[0].field, field, "{error}");
    };
    let of = |change: fn(&mut v1::LoadShape)| {
        let mut shape = shape();
        change(&mut shape);
        ask(Source::Shape(shape))
    };
    check(&v1::SimulateRequest::default(), "source");
    check(&of(|shape| shape.requests_per_second = f64::NAN), "shape.requests_per_second");
    check(&of(|shape| shape.requests_per_second = -1.0), "shape.requests_per_second");
    check(&of(|shape| shape.peak_requests_per_second = f64::INFINITY), "shape.peak_requests_per_second");
    check(&of(|shape| shape.peak_requests_per_second = 5.0), "shape.period");
    check(&of(|shape| shape.duration = None), "shape.duration");
    check(&of(|shape| shape.duration = length(0)), "shape.duration");
    check(&of(|shape| shape.duration = length(7 * DAY + 1)), "shape.duration");
    check(&of(|shape| shape.requests_per_second = 6000.0), "shape");
    check(&ask(Source::Recorded(prost_types::Duration { seconds: -1, nanos: 0 })), "recorded");
    check(&ask(Source::Recorded(prost_types::Duration { seconds: 9, nanos: 0 })), "recorded");
    let mut request = ask(Source::Shape(shape()));
    request.boot_warm = length(DAY + 1);
    check(&request, "boot_warm");
    request = ask(Source::Shape(shape()));
    request.policies = vec![live().policy; 11];
    check(&request, "policies");
    request.policies = vec![live().policy; 2];
    request.policies[1].min_instances = 9;
    check(&request, "policies[1].min_instances");
    let fleet = v1::FleetObservation { ready: 20_001, ..v1::FleetObservation::default() };
    let given = v1::Observation { fleet: Some(fleet), ..v1::Observation::default() };
    check(&ask(Source::Observation(given)), "observation.fleet");
    let given = v1::Observation { arrivals_per_second_slow: f64::NAN, ..v1::Observation::default() };
    check(&ask(Source::Observation(given)), "observation.arrivals_per_second_slow");
    let queue = v1::QueueObservation { visible: u64::MAX, in_flight: 1, ..v1::QueueObservation::default() };
    let given = v1::Observation { queue: Some(queue), ..v1::Observation::default() };
    check(&ask(Source::Observation(given)), "observation.queue.visible");
    let given = v1::Observation {
        service_mean: Some(prost_types::Duration { seconds: -1, nanos: 0 }),
        ..v1::Observation::default()
    };
    check(&ask(Source::Observation(given)), "observation");

    let nothing = read(&ask(Source::Recorded(length(60).unwrap())), &live(), |_| None).unwrap_err();
    assert_eq!(nothing.kind(), Kind::RecordIncomplete);
}
