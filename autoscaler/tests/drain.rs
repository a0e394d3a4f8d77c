//! The drain protocol: asked for on the session and on the instance, confirmed, taken back, given up.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use autoscaler::{
    Options,
    fleet::{
        cloud::CloudState,
        simcloud::{Api, SimCloud},
    },
};
use proto::{
    internal::v1::{IdleOffer, worker_session_request::Event},
    v1::{ActionKind, ActionOutcome, InstanceState},
};
use tokio::time::{Instant, sleep};

mod world;
use world::{
    FakeGateway, FakeWorker, LIVES, World,
    cloud::{STEP, Workers, cloud, until_cloud},
};

/// The one instance that there is.
fn only(cloud: &SimCloud) -> String {
    let instances = cloud.instances();
    assert_eq!(instances.len(), 1);
    instances[0].instance_id.clone()
}

fn drain_tag(cloud: &SimCloud) -> String {
    cloud.instances()[0].tags.get("dunlin:drain").cloned().unwrap_or_default()
}

#[tokio::test(start_paused = true)]
async fn drain_is_written_on_the_instance_until_it_is_taken_back_or_done() {
    let cloud = cloud();
    let world = World::start_on(&cloud, &STEP).await;
    let gateway = FakeGateway::connect(&world).await;
    let workers = Workers::on(&cloud, &world);
    gateway.waiting(5);
    world.until_ready(1).await;
    assert_eq!((drain_tag(&cloud).as_str(), cloud.calls(Api::Launch)), ("", 1));
    // It has to be worth it: its first minute is paid.
    sleep(Duration::from_secs(60)).await;
    workers.hang(&only(&cloud));
    gateway.waiting(0);
    world.until("draining", async || world.count(InstanceState::Draining).await == 1).await;
    let drains = world.actions(ActionKind::Drain).await;
    let decision = world.changes().await.pop().unwrap();
    assert_eq!((drains.len(), drain_tag(&cloud)), (1, decision.decision_id));
    gateway.waiting(5);
    world.until_ready(1).await;
    assert_eq!(drain_tag(&cloud), "");
    workers.wake(&only(&cloud));
    gateway.waiting(0);
    until_cloud(&cloud, CloudState::Stopped, 1).await;
    assert_ne!(drain_tag(&cloud), "");
    world.until("stopped", async || world.count(InstanceState::Stopped).await == 1).await;
    // Started again, it is not one that drains.
    gateway.waiting(5);
    world.until_ready(1).await;
    assert_eq!(drain_tag(&cloud), "");
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn drain_goes_on_under_the_next_leader() {
    let cloud = cloud();
    let world = World::start_on(&cloud, &STEP).await;
    let gateway = FakeGateway::connect(&world).await;
    let workers = Workers::on(&cloud, &world);
    gateway.waiting(5);
    world.until_ready(1).await;
    sleep(Duration::from_secs(60)).await;
    workers.hang(&only(&cloud));
    gateway.waiting(0);
    world.until("draining", async || world.count(InstanceState::Draining).await == 1).await;
    let asked = drain_tag(&cloud);
    drop(gateway);
    world.kill().await;

    // Nobody tells it what waits, and nothing is stopped without a word: but this was decided before.
    let world = World::start_on(&cloud, &STEP).await;
    world.until("draining", async || world.count(InstanceState::Draining).await == 1).await;
    workers.wake(&only(&cloud));
    workers.go_to(&world);
    until_cloud(&cloud, CloudState::Stopped, 1).await;
    assert_eq!((drain_tag(&cloud), world.actions(ActionKind::Drain).await.len()), (asked, 0));
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn worker_that_never_confirms_is_given_up_when_it_is_silent_and_its_machine_still_runs() {
    let cloud = cloud();
    let world = World::start_on(&cloud, &STEP).await;
    let gateway = FakeGateway::connect(&world).await;
    let workers = Workers::on(&cloud, &world);
    gateway.waiting(5);
    world.until_ready(1).await;
    sleep(Duration::from_secs(60)).await;
    let instance_id = only(&cloud);
    workers.hang(&instance_id);
    gateway.waiting(0);
    world.until("draining", async || world.count(InstanceState::Draining).await == 1).await;
    let asked = Instant::now();
    let running = || cloud.state_of(&instance_id) == Some(CloudState::Running);
    world.until("stopped", async || !running()).await;
    // Three times the grace of a worker whose session is there, and a listing since; not ten minutes.
    assert!((30..=70).contains(&asked.elapsed().as_secs()), "{:?}", asked.elapsed());
    let stops = world.until_actions(ActionKind::Stop, 1).await;
    assert_eq!(stops[0].outcome(), ActionOutcome::Done);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn worker_that_still_speaks_is_waited_for_however_long_it_takes() {
    let cloud = cloud();
    let world = World::start_on(&cloud, &STEP).await;
    let gateway = FakeGateway::connect(&world).await;
    gateway.waiting(5);
    until_cloud(&cloud, CloudState::Running, 1).await;
    let mut worker = FakeWorker::connect(&world, &only(&cloud)).await;
    worker.heartbeat(1).await;
    world.until_ready(1).await;
    for _ in 0..12 {
        sleep(Duration::from_secs(5)).await;
        worker.heartbeat(1).await;
    }
    gateway.waiting(0);
    let decision_id = worker.until_drain().await;
    for _ in 0..120 {
        sleep(Duration::from_secs(5)).await;
        worker.heartbeat(1).await;
    }
    assert_eq!(cloud.count(CloudState::Running), 1);
    worker.drained(&decision_id).await;
    until_cloud(&cloud, CloudState::Stopped, 1).await;
    world.stop().await;
}

#[tokio::test]
async fn idle_worker_that_offers_to_go_is_answered_by_a_decision_at_once() {
    // No tick helps: they are an hour apart.
    let arguments = ["--listen=127.0.0.1:0", "--grace=1s", "--policy=step", "--max-instances=2", "--tick=1h"];
    let mut options = Options::from_arguments(arguments).unwrap();
    options.worker_command = ["sh", "-c", LIVES].map(Into::into).into();
    let world = World::start_with(options).await;
    let gateway = FakeGateway::connect(&world).await;
    gateway.waiting(5);
    world.until_count(InstanceState::Starting, 1).await;
    let push = world.changes().await.remove(0);
    assert!(push.trigger.contains("load: more images wait"), "{}", push.trigger);
    let mut worker = FakeWorker::connect(&world, "local-1").await;
    worker.heartbeat(0).await;
    world.until_count(InstanceState::Ready, 1).await;
    let idle = Some(platform::time::to_proto(Duration::from_secs(60)));
    let offer = || Event::IdleOffer(IdleOffer { idle });
    // Images wait: it is not let go.
    worker.say(offer()).await;
    sleep(Duration::from_millis(300)).await;
    assert!(world.actions(ActionKind::Drain).await.is_empty());
    gateway.waiting(0);
    sleep(Duration::from_millis(300)).await;
    worker.say(offer()).await;
    worker.until_drain().await;
    let drain = world.changes().await.pop().unwrap();
    assert_eq!(drain.trigger, "worker: local-1 is idle for 60 s and offers to go");
    world.stop().await;
}
