//! KEDA and the HPA, played by a stub, scale real worker sessions by what the external scaler says.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use autoscaler::Options;
use proto::{
    externalscaler::GetMetricsRequest,
    v1::{
        ActionKind, ActionOutcome, BoundKind, DrainInstanceRequest, InstanceState, PauseRequest,
        SetOverrideRequest,
    },
};
use tokio::time::{Instant, sleep, timeout};
use tonic::Code;

mod world;
use world::{
    FakeGateway, FakeWorker, PATIENCE, World,
    kubernetes::{Kubernetes, POLL, asks, metric, scaler},
};

const EXTERNAL: [&str; 6] = [
    "--fleet=external:",
    "--listen=127.0.0.1:0",
    "--tick=100ms",
    "--grace=1s",
    "--keep=300ms",
    "--scale-in-hold=100ms",
];

/// With the flags above, but for those that are set again.
async fn start(arguments: &[&str]) -> World {
    let flag = |argument: &str| argument.split('=').next().map(str::to_owned);
    let is_set = |default: &&&str| arguments.iter().any(|argument| flag(argument) == flag(default));
    let all = EXTERNAL.iter().filter(|default| !is_set(default)).chain(arguments);
    World::start_with(Options::from_arguments(all.map(ToString::to_string)).unwrap()).await
}

#[tokio::test]
async fn keda_takes_workers_from_zero_to_what_is_wanted_and_back_to_zero() {
    let world = start(&["--policy=step", "--max-instances=5", "--worker-grace=300ms"]).await;
    let kubernetes = Kubernetes::start(&world);
    let gateway = FakeGateway::connect(&world).await;
    for (waiting, replicas) in [(16, 4), (23, 5), (8, 2), (0, 0), (1, 1), (0, 0)] {
        gateway.waiting(waiting);
        kubernetes.until_replicas(replicas).await;
        world.until_count(InstanceState::Ready, replicas).await;
        assert_eq!(world.status().await.want as usize, replicas);
    }
    // From 0 to 1 and to the rest, down, and never beyond what was wanted.
    let history = kubernetes.history.lock().unwrap().clone();
    assert!(history.iter().all(|count| *count <= 5), "{history:?}");
    drop(kubernetes);
    world.stop().await;
}

#[tokio::test]
async fn latency_goes_from_zero_to_many_to_zero() {
    let world = start(&["--latency-target=500ms", "--max-instances=6", "--worker-grace=300ms"]).await;
    let kubernetes = Kubernetes::start(&world);
    let gateway = FakeGateway::connect(&world).await;
    gateway.waiting(200);
    kubernetes.until_replicas(6).await;
    gateway.waiting(0);
    kubernetes.until_replicas(0).await;
    drop(kubernetes);
    world.stop().await;
}

#[tokio::test]
async fn first_image_is_pushed_at_once() {
    // A tick that is never waited for.
    let world = start(&["--tick=60s"]).await;
    let gateway = FakeGateway::connect(&world).await;
    let mut pushed = scaler(&world).stream_is_active(asks()).await.unwrap().into_inner();
    let begin = Instant::now();
    gateway.waiting(1);
    loop {
        let answer = timeout(PATIENCE, pushed.message()).await.unwrap().unwrap().unwrap();
        if answer.result {
            break;
        }
    }
    let took = begin.elapsed();
    // The stub's gateway reports each 50 ms; the rest is a busy machine.
    assert!(took < Duration::from_secs(5), "{took:?}");
    assert_eq!(metric(&mut scaler(&world)).await.unwrap(), 1.0);
    world.stop().await;
}

/// A worker that nobody of ours can stop keeps `want` where it is, in a fleet of ours. Here KEDA can.
#[tokio::test]
async fn workers_that_are_not_ours_do_not_keep_the_number_up() {
    let world = start(&["--policy=step", "--max-instances=5"]).await;
    let gateway = FakeGateway::connect(&world).await;
    gateway.waiting(5);
    let mut workers = Vec::new();
    for number in 1..=4 {
        workers.push(FakeWorker::connect(&world, &format!("pod-{number}")).await);
    }
    world.until_count(InstanceState::Ready, 4).await;
    let mut keda = scaler(&world);
    let deadline = Instant::now() + PATIENCE;
    while metric(&mut keda).await.unwrap() != 1.0 {
        assert!(Instant::now() < deadline, "{:?}", world.status().await);
        sleep(POLL).await;
    }
    let change = world.status().await.last_change.unwrap();
    let bounds: Vec<_> = change.bounds.iter().map(|bound| bound.kind()).collect();
    assert!(!bounds.contains(&BoundKind::Capacity), "{bounds:?}");
    // Asked once, and of nobody by name: the worker hears nothing, and Kubernetes picks.
    let drains = world.until_actions(ActionKind::Drain, 3).await;
    sleep(Duration::from_millis(500)).await;
    assert_eq!(world.actions(ActionKind::Drain).await.len(), drains.len());
    assert!(
        drains.iter().all(|drain| drain.instance_id.is_empty() && drain.outcome() == ActionOutcome::Done)
    );
    assert_eq!(world.count(InstanceState::Ready).await, 4);
    world.stop().await;
}

/// A fleet of a cloud goes a quarter a minute, to be had back with few calls. Kubernetes makes all pods with one.
#[tokio::test]
async fn many_workers_go_in_one_step() {
    const WORKERS: u64 = 120;
    let world = start(&["--policy=step", "--messages-per-instance=1", "--max-instances=200"]).await;
    let gateway = FakeGateway::connect(&world).await;
    gateway.waiting(WORKERS);
    let mut workers = Vec::new();
    for number in 1..=WORKERS {
        workers.push(FakeWorker::connect(&world, &format!("pod-{number}")).await);
    }
    let mut keda = scaler(&world);
    for (waiting, wanted) in [(WORKERS, 120.0), (1, 1.0)] {
        gateway.waiting(waiting);
        let deadline = Instant::now() + PATIENCE;
        while metric(&mut keda).await.ok() != Some(wanted) {
            assert!(Instant::now() < deadline, "{:?}", world.status().await.last_change);
            sleep(POLL).await;
        }
    }
    world.stop().await;
}

#[tokio::test]
async fn what_an_operator_says_holds_for_keda_too() {
    let world = start(&["--policy=step", "--max-instances=5"]).await;
    let gateway = FakeGateway::connect(&world).await;
    let (mut api, mut keda) = (world.api.clone(), scaler(&world));
    let until = Some(platform::time::in_future(Duration::from_secs(60)));
    let none = SetOverrideRequest { instances: Some(0), until, ..Default::default() };
    api.set_override(none).await.unwrap();
    gateway.waiting(16);
    sleep(Duration::from_millis(500)).await;
    // Images wait, and still nobody is to come.
    assert_eq!(metric(&mut keda).await.unwrap(), 0.0);
    assert!(!keda.is_active(asks()).await.unwrap().into_inner().result);

    api.set_override(SetOverrideRequest { instances: Some(3), until, ..Default::default() }).await.unwrap();
    assert_eq!(metric(&mut keda).await.unwrap(), 3.0);
    api.set_override(SetOverrideRequest::default()).await.unwrap();
    assert_eq!(metric(&mut keda).await.unwrap(), 4.0);
    api.pause(PauseRequest { scale_in: true, ..Default::default() }).await.unwrap();
    gateway.waiting(0);
    sleep(Duration::from_millis(500)).await;
    assert_eq!(metric(&mut keda).await.unwrap(), 4.0);

    // Which pod goes is Kubernetes' choice.
    let _worker = FakeWorker::connect(&world, "pod-1").await;
    world.until_count(InstanceState::Ready, 1).await;
    let drain = DrainInstanceRequest { instance_id: "pod-1".to_owned(), ..Default::default() };
    assert_eq!(api.drain_instance(drain).await.unwrap_err().code(), Code::FailedPrecondition);
    world.stop().await;
}

#[tokio::test]
async fn what_is_not_known_is_not_answered_with_zero() {
    let world = start(&["--policy=step"]).await;
    let mut keda = scaler(&world);
    let refused = metric(&mut keda).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable);
    assert_eq!(keda.is_active(asks()).await.unwrap_err().code(), Code::Unavailable);
    let mut pushed = keda.stream_is_active(asks()).await.unwrap().into_inner();
    assert!(timeout(Duration::from_millis(300), pushed.message()).await.is_err(), "nothing to say yet");
    let _gateway = FakeGateway::connect(&world).await;
    assert!(!timeout(PATIENCE, pushed.message()).await.unwrap().unwrap().unwrap().result);
    assert_eq!(metric(&mut keda).await.unwrap(), 0.0);
    world.stop().await;
}

#[tokio::test]
async fn restart_wants_as_many_as_before_until_it_knows_better() {
    let folder = tempfile::tempdir().unwrap();
    let store = format!("--store=file://{}", folder.path().display());
    let arguments = ["--policy=backlog", "--max-instances=5", "--scale-in-hold=60s", &store];
    let world = start(&arguments).await;
    let gateway = FakeGateway::connect(&world).await;
    gateway.waiting(16);
    let mut keda = scaler(&world);
    let deadline = Instant::now() + PATIENCE;
    while metric(&mut keda).await.ok() != Some(4.0) {
        assert!(Instant::now() < deadline);
        sleep(POLL).await;
    }
    drop(gateway);
    world.stop().await;

    // No worker has found us yet, and the gateway says that nothing waits: still four.
    let world = start(&arguments).await;
    let mut keda = scaler(&world);
    let _gateway = FakeGateway::connect(&world).await;
    for _ in 0..10 {
        if let Ok(wanted) = metric(&mut keda).await {
            assert_eq!(wanted, 4.0);
        }
        sleep(POLL).await;
    }
    assert_eq!(metric(&mut keda).await.unwrap(), 4.0);
    world.stop().await;
}

#[tokio::test]
async fn follower_answers_what_the_leader_decided() {
    let folder = tempfile::tempdir().unwrap();
    let store = format!("--store=file://{}", folder.path().display());
    let arguments = ["--policy=step", "--max-instances=5", &store];
    let leader = start(&arguments).await;
    let follower = start(&arguments).await;
    assert!(!follower.status().await.leader);
    let gateway = FakeGateway::connect(&leader).await;
    gateway.waiting(16);
    let mut keda = scaler(&follower);
    let deadline = Instant::now() + PATIENCE;
    while metric(&mut keda).await.ok() != Some(4.0) {
        assert!(Instant::now() < deadline, "{:?}", follower.status().await);
        sleep(POLL).await;
    }
    assert!(keda.is_active(asks()).await.unwrap().into_inner().result);
    follower.stop().await;
    leader.stop().await;
}

#[tokio::test]
async fn unknown_metric_and_bad_tolerance_are_named() {
    let world = start(&[]).await;
    let mut keda = scaler(&world);
    for name in ["", "s0-desired_workers", "queue"] {
        let request = GetMetricsRequest { scaled_object_ref: Some(asks()), metric_name: name.to_owned() };
        let refused = keda.get_metrics(request).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
        let sentence = format!("metricName: {name:?} is unknown; known: \"desired_workers\"");
        assert_eq!(refused.message(), sentence);
    }
    let mut asks = asks();
    asks.scaler_metadata.insert("tolerance".to_owned(), "10 %".to_owned());
    let refused = keda.get_metric_spec(asks).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(refused.message().starts_with("scalerMetadata.tolerance: \"10 %\" "), "{}", refused.message());
    world.stop().await;
}
