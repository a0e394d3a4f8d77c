//! `Simulate`, called with the real client: nothing of it is done, and none of it can hold the service up.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use platform::{Error, Kind};
use proto::v1::{
    self, InstanceState, LoadShape, Observation, SimulateRequest, SimulateResponse, SimulationReport,
    simulate_request::Source, simulate_response::Event,
};
use tokio::time::{sleep, timeout};
use tonic::Streaming;

mod world;
use world::{FakeGateway, LIVES, PATIENCE, World};

const STEP: [&str; 6] = ["--policy", "step", "--max-instances", "9", "--price-per-hour", "0.25"];

fn length(seconds: u64) -> Option<prost_types::Duration> {
    Some(platform::time::to_proto(Duration::from_secs(seconds)))
}

fn ask(source: Source) -> SimulateRequest {
    SimulateRequest { source: Some(source), ..SimulateRequest::default() }
}

fn policy(kind: v1::policy::Kind, max_instances: u32) -> v1::Policy {
    v1::Policy { kind: Some(kind), max_instances, ..v1::Policy::default() }
}

fn latency() -> v1::Policy {
    let target = length(60);
    policy(v1::policy::Kind::Latency(v1::LatencyPolicy { target, quantile: 0.95, max_hold: None }), 20)
}

fn step() -> v1::Policy {
    policy(v1::policy::Kind::Step(v1::StepPolicy { messages_per_instance: 5, count_in_flight: false }), 20)
}

async fn start(world: &World, request: SimulateRequest) -> Streaming<SimulateResponse> {
    world.api.clone().simulate(request).await.unwrap().into_inner()
}

/// All that is answered, heartbeats left out.
async fn all(world: &World, request: SimulateRequest) -> (Vec<v1::Decision>, Vec<SimulationReport>) {
    let mut answers = start(world, request).await;
    let (mut decisions, mut reports) = (Vec::new(), Vec::new());
    while let Some(answer) = timeout(PATIENCE * 3, answers.message()).await.unwrap().unwrap() {
        match answer.event {
            Some(Event::Decision(decision)) => {
                assert!(reports.is_empty(), "a decision after a report");
                decisions.push(decision);
            }
            Some(Event::Report(report)) => reports.push(report),
            None => {}
        }
    }
    (decisions, reports)
}

#[tokio::test]
async fn one_observation_gives_a_decision_of_each_policy_and_nothing_is_done() {
    let world = World::start(LIVES, &STEP).await;
    world.until_count(InstanceState::Stopped, 9).await;
    let queue = v1::QueueObservation { visible: 16, ..Default::default() };
    let seen = Observation { queue: Some(queue), ..Default::default() };
    let (decisions, reports) = all(&world, ask(Source::Observation(seen.clone()))).await;
    assert_eq!((decisions.len(), reports.len()), (1, 0));
    let decision = &decisions[0];
    assert_eq!((decision.want, decision.actions.len()), (4, 4));
    assert_eq!((decision.decision_id.as_str(), decision.actions[0].client_token.as_str()), ("", ""));
    assert!(decision.reason.starts_with("step: 16 waiting / 5 per worker = 4"), "{}", decision.reason);

    let policies =
        vec![step(), latency(), policy(v1::policy::Kind::Fixed(v1::FixedPolicy { instances: 7 }), 7)];
    let (decisions, _) = all(&world, SimulateRequest { policies, ..ask(Source::Observation(seen)) }).await;
    assert_eq!(decisions.iter().map(|one| one.want).collect::<Vec<_>>()[..1], [4]);
    assert_eq!((decisions.len(), decisions[2].want), (3, 7));
    sleep(Duration::from_millis(300)).await;
    assert_eq!(world.count(InstanceState::Stopped).await, 9);
    assert_eq!(world.changes().await, []);
    world.stop().await;
}

#[tokio::test]
async fn load_shape_is_run_for_each_policy_and_the_same_seed_is_the_same_run() {
    let world = World::start(LIVES, &STEP).await;
    world.until_count(InstanceState::Stopped, 9).await;
    let shape = LoadShape {
        requests_per_second: 0.5,
        peak_requests_per_second: 3.0,
        period: length(1800),
        duration: length(3600),
    };
    let request = SimulateRequest {
        policies: vec![step(), latency()],
        boot_warm: length(40),
        boot_cold: length(90),
        seed: 7,
        ..ask(Source::Shape(shape))
    };
    let (decisions, reports) = all(&world, request.clone()).await;
    assert_eq!(reports.len(), 2);
    let sent = reports.iter().map(|report| report.requests).collect::<Vec<_>>();
    assert!(sent[0] > 5500 && sent[0] < 7100 && sent[0] == sent[1], "{sent:?}");
    for report in &reports {
        let read = |length: Option<prost_types::Duration>| Duration::try_from(length.unwrap()).unwrap();
        assert!(read(report.p50) <= read(report.p95) && read(report.p95) <= read(report.p99));
        assert!(report.instance_hours > 0.5 && report.starts > 1 && report.interrupted == 0, "{report:?}");
        assert!((report.cost_usd / report.instance_hours - 0.25).abs() < 1e-9);
    }
    let of = |kind: &str| {
        let of_kind = decisions.iter().filter(|one| one.reason.starts_with(kind)).collect::<Vec<_>>();
        assert!(of_kind.len() > 2 && of_kind.len() <= 500, "{} of {kind}", of_kind.len());
        assert!(
            of_kind
                .windows(2)
                .all(|pair| { pair[0].sequence < pair[1].sequence && pair[0].want != pair[1].want })
        );
    };
    of("step");
    of("latency");
    assert_eq!(all(&world, request.clone()).await, (decisions, reports.clone()));
    let (_, other) = all(&world, SimulateRequest { seed: 8, ..request }).await;
    assert_ne!(other[0].requests, reports[0].requests);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_arrived_lately_is_run_again() {
    let cloud = world::cloud::cloud();
    let arguments = ["--policy", "fixed", "--instances", "0", "--fleet=simcloud:"];
    let world = World::start_on(&cloud, &arguments).await;
    let request = ask(Source::Recorded(length(3600).unwrap()));
    let early = Error::from(world.api.clone().simulate(request.clone()).await.unwrap_err());
    assert_eq!(early.kind(), Kind::RecordIncomplete);

    let gateway = FakeGateway::connect(&world).await;
    sleep(Duration::from_secs(15)).await;
    for arrived in [40, 90, 150] {
        gateway.arrived(arrived);
        sleep(Duration::from_secs(20)).await;
    }
    let request = SimulateRequest { policies: vec![latency()], ..request };
    let (decisions, reports) = all(&world, request).await;
    assert_eq!(reports[0].requests, 150);
    let now = world.status().await.observation.unwrap().time.unwrap();
    let first = decisions[0].time.unwrap();
    assert!((0..300).contains(&(now.seconds - first.seconds)), "{first} to {now}");
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_arrived_before_a_restart_is_still_known() {
    let folder = tempfile::tempdir().unwrap();
    let store = format!("--store=file://{}", folder.path().display());
    let arguments = ["--policy", "fixed", "--instances", "0", "--fleet=simcloud:", &store];
    let cloud = world::cloud::cloud();
    let world = World::start_on(&cloud, &arguments).await;
    let gateway = FakeGateway::connect(&world).await;
    sleep(Duration::from_secs(15)).await;
    gateway.arrived(60);
    // What is known is written down each minute.
    sleep(Duration::from_secs(90)).await;
    drop(gateway);
    world.kill().await;

    let world = World::start_on(&cloud, &arguments).await;
    let known = async || {
        let recorded = Source::Recorded(length(3600).unwrap());
        world.api.clone().simulate(ask(recorded)).await.is_ok()
    };
    world.until("known", known).await;
    let gateway = FakeGateway::connect(&world).await;
    sleep(Duration::from_secs(15)).await;
    gateway.arrived(4);
    sleep(Duration::from_secs(15)).await;
    let request =
        SimulateRequest { policies: vec![latency()], ..ask(Source::Recorded(length(3600).unwrap())) };
    assert_eq!(all(&world, request).await.1[0].requests, 64);
    world.stop().await;
}

#[tokio::test]
async fn one_simulation_runs_at_a_time_and_ends_with_its_caller() {
    let world = World::start(LIVES, &STEP).await;
    world.until_count(InstanceState::Stopped, 9).await;
    // A week of as much as is allowed: far longer than this test.
    let shape = LoadShape { requests_per_second: 30.0, duration: length(7 * 86_400), ..LoadShape::default() };
    let long = SimulateRequest { policies: vec![latency(); 10], ..ask(Source::Shape(shape)) };
    let mut answers = start(&world, long).await;
    answers.message().await.unwrap().unwrap();
    let short = ask(Source::Shape(LoadShape {
        requests_per_second: 1.0,
        duration: length(60),
        ..LoadShape::default()
    }));
    let refused = Error::from(world.api.clone().simulate(short.clone()).await.unwrap_err());
    assert_eq!((refused.kind(), refused.retry_after().is_some()), (Kind::QuotaExceeded, true));
    // The service goes on beside it.
    assert!(world.status().await.leader);
    drop(answers);
    let freed = timeout(PATIENCE, async {
        while world.api.clone().simulate(short.clone()).await.is_err() {
            sleep(Duration::from_millis(20)).await;
        }
    });
    freed.await.unwrap();
    world.stop().await;
}

#[tokio::test]
async fn wrong_questions_are_refused_by_their_field() {
    let world = World::start(LIVES, &STEP).await;
    let mut api = world.api.clone();
    let mut check = async |request: SimulateRequest, field: &str| {
        let error = Error::from(api.simulate(request).await.unwrap_err());
        assert_eq!(error.kind(), Kind::InvalidRequest, "{error}");
        assert_eq!(error.violations()[0].field, field, "{error}");
    };
    check(SimulateRequest::default(), "source").await;
    let shape = LoadShape { requests_per_second: -1.0, duration: length(60), ..LoadShape::default() };
    check(ask(Source::Shape(shape)), "shape.requests_per_second").await;
    let impossible = v1::Policy { min_instances: 30, ..step() };
    let request =
        SimulateRequest { policies: vec![impossible], ..ask(Source::Recorded(length(60).unwrap())) };
    check(request, "policies[0].min_instances").await;
    world.stop().await;
}
