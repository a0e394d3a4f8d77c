//! `AutoscalerService` and the manners of `ControlService`, called with the real client.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use platform::{Error, Kind};
use proto::{
    internal::v1::{GatewaySessionRequest, WorkerHello, worker_session_request::Event},
    v1::{
        GetDecisionRequest, InstanceState, ListDecisionsRequest, PauseRequest, WatchDecisionsRequest,
        WatchStatusRequest,
    },
};
use tokio::time::{Instant, timeout};

mod world;
use world::{FakeGateway, FakeWorker, LIVES, World};

const STEP: [&str; 4] = ["--policy", "step", "--max-instances", "9"];

/// Starts workers one by one, so that there are `count` decisions that acted.
async fn with_changes(world: &World, gateway: &FakeGateway, count: usize) {
    for number in 1..=count {
        gateway.waiting(number as u64 * 5);
        world.until_count(InstanceState::Starting, number).await;
    }
}

#[tokio::test]
async fn decisions_are_paged_newest_first_and_filtered() {
    let world = World::start(LIVES, &STEP).await;
    let gateway = FakeGateway::connect(&world).await;
    with_changes(&world, &gateway, 5).await;
    let mut api = world.api.clone();
    let mut request = ListDecisionsRequest { page_size: 2, changed_only: true, ..Default::default() };
    let (mut sequences, mut sizes, mut oldest_time) = (Vec::new(), Vec::new(), None);
    loop {
        let page = api.list_decisions(request.clone()).await.unwrap().into_inner();
        sizes.push(page.decisions.len());
        sequences.extend(page.decisions.iter().map(|decision| decision.sequence));
        oldest_time = page.decisions.last().and_then(|decision| decision.time).or(oldest_time);
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            break;
        }
    }
    assert_eq!(sizes, [2, 2, 1]);
    assert!(sequences.is_sorted_by(|newer, older| newer > older), "{sequences:?}");

    let oldest_only = ListDecisionsRequest {
        changed_only: true,
        until: oldest_time
            .map(|time| prost_types::Timestamp { seconds: time.seconds, nanos: time.nanos + 1 }),
        ..Default::default()
    };
    let page = api.list_decisions(oldest_only).await.unwrap().into_inner();
    assert_eq!(page.decisions.iter().map(|one| one.sequence).collect::<Vec<_>>(), [sequences[4]]);

    // From a decision's own time on it is in, up to that time it is not; and pages go on within the times.
    let all =
        api.list_decisions(ListDecisionsRequest { page_size: 1000, ..Default::default() }).await.unwrap();
    let all = all.into_inner().decisions;
    let (newest, oldest) = (&all[1], &all[all.len() - 2]);
    let mut request = ListDecisionsRequest {
        page_size: 1,
        since: oldest.time,
        until: newest.time,
        ..ListDecisionsRequest::default()
    };
    let mut between = Vec::new();
    loop {
        let page = api.list_decisions(request.clone()).await.unwrap().into_inner();
        between.extend(page.decisions.iter().map(|one| one.sequence));
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            break;
        }
    }
    let expected = all[2..all.len() - 1].iter().map(|one| one.sequence).collect::<Vec<_>>();
    assert_eq!(between, expected);
    request.since = newest.time;
    assert_eq!(api.list_decisions(request).await.unwrap().into_inner(), Default::default());
    world.stop().await;
}

#[tokio::test]
async fn watch_of_decisions_goes_on_where_it_broke_off() {
    let world = World::start(LIVES, &STEP).await;
    let gateway = FakeGateway::connect(&world).await;
    with_changes(&world, &gateway, 3).await;
    let known: Vec<_> = world.changes().await.iter().map(|decision| decision.sequence).collect();
    let request = WatchDecisionsRequest { after_sequence: known[0], changed_only: true };
    let mut watch = world.api.clone().watch_decisions(request).await.unwrap().into_inner();
    let mut seen = Vec::new();
    for count in 4..=5 {
        while seen.len() < count - 2 {
            let answer = timeout(Duration::from_secs(20), watch.message()).await.unwrap().unwrap().unwrap();
            seen.push(answer.decision.unwrap().sequence);
        }
        gateway.waiting(count as u64 * 5);
        world.until_count(InstanceState::Starting, count).await;
    }
    let all: Vec<_> = world.changes().await.iter().map(|decision| decision.sequence).collect();
    assert_eq!(seen, all[1..seen.len() + 1]);
    world.stop().await;
}

#[tokio::test]
async fn decisions_are_there_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let store = format!("file://{}", folder.path().display());
    let arguments = [&STEP[..], &["--store", &store]].concat();
    let world = World::start(LIVES, &arguments).await;
    let gateway = FakeGateway::connect(&world).await;
    with_changes(&world, &gateway, 2).await;
    let before = world.changes().await;
    drop(gateway);
    world.stop().await;

    let world = World::start(LIVES, &arguments).await;
    let request = GetDecisionRequest { decision_id: before[0].decision_id.clone() };
    let decision = world.api.clone().get_decision(request).await.unwrap().into_inner().decision.unwrap();
    assert_eq!((decision.sequence, &decision.reason), (before[0].sequence, &before[0].reason));
    let gateway = FakeGateway::connect(&world).await;
    with_changes(&world, &gateway, 1).await;
    let last = world.changes().await.pop().unwrap();
    assert!(last.sequence > before[1].sequence);
    world.stop().await;
}

#[tokio::test]
async fn status_is_pushed_on_a_change_and_again_when_nothing_changes() {
    let world = World::start(LIVES, &STEP).await;
    let gateway = FakeGateway::connect(&world).await;
    let mut watch = world.api.clone().watch_status(WatchStatusRequest {}).await.unwrap().into_inner();
    gateway.waiting(8);
    loop {
        let status = watch.message().await.unwrap().unwrap().status.unwrap();
        let fleet = status.observation.unwrap().fleet.unwrap();
        if status.want == 2 && fleet.starting == 2 {
            assert!(status.last_change.unwrap().reason.contains("8 waiting / 5 per worker = 2"));
            assert!(status.leader && status.next_ready_time.is_some());
            break;
        }
    }
    // The age of the oldest and the time of a boot go on; what is said at least is bounded.
    let begin = Instant::now();
    watch.message().await.unwrap().unwrap();
    assert!(begin.elapsed() < Duration::from_millis(5500));
    world.stop().await;
}

#[tokio::test]
async fn wrong_requests_name_the_field() {
    let world = World::start(LIVES, &STEP).await;
    let mut api = world.api.clone();
    let check = |answer: Result<(), tonic::Status>, kind: Kind, field: &str| {
        let error = Error::from(answer.unwrap_err());
        let fields: Vec<_> = error.violations().iter().map(|one| one.field.as_str()).collect();
        assert_eq!(error.kind(), kind, "{error}");
        assert_eq!(fields, if field.is_empty() { vec![] } else { vec![field] }, "{error}");
    };
    let list = ListDecisionsRequest::default();
    let time = |seconds| Some(prost_types::Timestamp { seconds, nanos: 0 });
    for (request, field) in [
        (ListDecisionsRequest { page_size: -1, ..list.clone() }, "page_size"),
        (ListDecisionsRequest { page_token: "x".to_owned(), ..list.clone() }, "page_token"),
        (ListDecisionsRequest { since: time(-5), ..list.clone() }, "since"),
        (ListDecisionsRequest { since: time(9), until: time(8), ..list }, "until"),
    ] {
        check(api.list_decisions(request).await.map(drop), Kind::InvalidRequest, field);
    }
    let request = WatchDecisionsRequest { after_sequence: 1_000_000, changed_only: false };
    check(api.watch_decisions(request).await.map(drop), Kind::InvalidRequest, "after_sequence");
    let request = GetDecisionRequest { decision_id: String::new() };
    check(api.get_decision(request).await.map(drop), Kind::InvalidRequest, "decision_id");
    let request = GetDecisionRequest { decision_id: "01J".to_owned() };
    let missing = Error::from(api.get_decision(request).await.unwrap_err());
    assert_eq!((missing.kind(), missing.resource().unwrap().name.as_str()), (Kind::DecisionNotFound, "01J"));
    check(api.pause(PauseRequest::default()).await.map(drop), Kind::InvalidRequest, "scale_out");
    world.stop().await;
}

#[tokio::test]
async fn sessions_that_start_wrong_are_refused() {
    let world = World::start(LIVES, &STEP).await;
    let mut nameless = FakeWorker::connect(&world, "").await;
    assert_eq!(Error::from(nameless.end().await.unwrap()).violations()[0].field, "hello.instance_id");

    let mut first = FakeWorker::connect(&world, "mine").await;
    world.until_count(InstanceState::Ready, 1).await;
    let mut second = FakeWorker::connect(&world, "mine").await;
    assert_eq!(Error::from(first.end().await.unwrap()).kind(), Kind::AlreadyExists);
    assert_eq!(world.count(InstanceState::Ready).await, 1);
    second.say(Event::Hello(WorkerHello { instance_id: "mine".to_owned(), ..Default::default() })).await;
    assert_eq!(Error::from(second.end().await.unwrap()).violations()[0].field, "hello");

    let report = tokio_stream::once(GatewaySessionRequest::default());
    let mut answers = world.control.clone().gateway_session(report).await.unwrap().into_inner();
    let refused = loop {
        if let Err(status) = answers.message().await {
            break Error::from(status);
        }
    };
    assert_eq!(refused.violations()[0].field, "gateway_id");
    world.stop().await;
}
