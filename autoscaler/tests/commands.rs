//! What operators ask for: done, recorded with who asked and why, and refused with the field that is wrong.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use platform::{Error, Kind};
use proto::v1::{self, ActionKind, BoundKind, InstanceState};
use tonic::Request;

mod world;
use world::{FakeGateway, FakeWorker, LIVES, World};

const FIXED: [&str; 6] = ["--policy", "fixed", "--instances", "1", "--max-instances", "3"];
const STEP: [&str; 4] = ["--policy", "step", "--max-instances", "5"];

fn soon(after: Duration) -> Option<prost_types::Timestamp> {
    Some(platform::time::in_future(after))
}

fn long() -> Option<prost_types::Timestamp> {
    soon(Duration::from_secs(3600))
}

#[tokio::test]
async fn pause_stops_scaling_until_its_end_and_is_recorded_with_who_and_why() {
    let world = World::start(LIVES, &STEP).await;
    let gateway = FakeGateway::connect(&world).await;
    let mut pause = Request::new(v1::PauseRequest {
        scale_out: true,
        until: soon(Duration::from_millis(1500)),
        reason: "the account\nis being moved".to_owned(),
        ..Default::default()
    });
    pause.metadata_mut().insert("x-actor", "alice".parse().unwrap());
    let paused = world.api.clone().pause(pause).await.unwrap().into_inner().pause_in_force.unwrap();
    assert!(paused.scale_out && !paused.scale_in);
    gateway.waiting(8);
    tokio::time::sleep(Duration::from_millis(500)).await;
    let status = world.status().await;
    assert!(status.paused);
    assert_eq!(status.pause_in_force.unwrap().actor, "alice");
    assert!(status.warnings.iter().any(|one| one.starts_with("in force: pause scale-out until")));
    assert_eq!(world.count(InstanceState::Starting).await, 0);
    let decision = world.audit().await.remove(0);
    assert!(decision.trigger.ends_with("by alice: the account is being moved"), "{}", decision.trigger);

    // It ends by itself, and that is recorded too.
    world.until_count(InstanceState::Starting, 2).await;
    let change = world.changes().await.remove(0);
    assert!(change.trigger.contains("over: pause scale-out"), "{}", change.trigger);
    assert!(!world.status().await.paused);
    world.stop().await;
}

#[tokio::test]
async fn pause_without_an_end_lasts_until_resume() {
    let world = World::start(LIVES, &STEP).await;
    let gateway = FakeGateway::connect(&world).await;
    let mut api = world.api.clone();
    api.pause(v1::PauseRequest { scale_out: true, scale_in: true, ..Default::default() }).await.unwrap();
    gateway.waiting(8);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(world.count(InstanceState::Starting).await, 0);
    let last = world.status().await;
    assert!(last.paused && last.pause_in_force.unwrap().until.is_none());
    api.resume(v1::ResumeRequest::default()).await.unwrap();
    // Decided at once: the answer comes after it.
    assert_eq!(world.count(InstanceState::Starting).await, 2);
    let triggers: Vec<_> = world.audit().await.iter().map(|one| one.trigger.clone()).collect();
    assert_eq!(triggers.len(), 2, "{triggers:?}");
    assert!(triggers[1].contains("command: resume"), "{triggers:?}");
    assert!(world.audit().await[0].bounds.is_empty());
    world.stop().await;
}

#[tokio::test]
async fn override_wins_over_the_policy_until_its_end() {
    let world = World::start(LIVES, &FIXED).await;
    world.until_count(InstanceState::Starting, 1).await;
    let mut api = world.api.clone();
    let request = v1::SetOverrideRequest { min_instances: Some(2), until: long(), ..Default::default() };
    let answer = api.set_override(request).await.unwrap().into_inner().override_in_force.unwrap();
    assert_eq!((answer.min_instances, answer.max_instances), (Some(2), None));
    assert_eq!(world.count(InstanceState::Starting).await, 2);
    assert_eq!(world.audit().await[0].bounds[0].kind(), BoundKind::Override);
    // Another takes its place; and with nothing in it, it is taken back.
    let until = soon(Duration::from_millis(800));
    let request = v1::SetOverrideRequest { instances: Some(3), until, ..Default::default() };
    api.set_override(request).await.unwrap();
    assert_eq!(world.count(InstanceState::Starting).await, 3);
    world.until_count(InstanceState::Starting, 1).await;
    assert!(world.status().await.override_in_force.is_none());
    let request = v1::SetOverrideRequest { max_instances: Some(0), until: long(), ..Default::default() };
    api.set_override(request).await.unwrap();
    world.until_count(InstanceState::Starting, 0).await;
    let answer = api.set_override(v1::SetOverrideRequest::default()).await.unwrap().into_inner();
    assert_eq!(answer.override_in_force, None);
    world.until_count(InstanceState::Starting, 1).await;
    world.stop().await;
}

#[tokio::test]
async fn wrong_commands_name_the_field() {
    let world = World::start(LIVES, &FIXED).await;
    let mut api = world.api.clone();
    let check = |answer: Result<(), tonic::Status>, field: &str| {
        let error = Error::from(answer.unwrap_err());
        let fields: Vec<_> = error.violations().iter().map(|one| one.field.as_str()).collect();
        assert_eq!((error.kind(), fields), (Kind::InvalidRequest, vec![field]), "{error}");
    };
    let past = Some(prost_types::Timestamp { seconds: 1_000_000, nanos: 0 });
    let pause = v1::PauseRequest { scale_in: true, ..Default::default() };
    check(api.pause(v1::PauseRequest::default()).await.map(drop), "scale_out");
    check(api.pause(v1::PauseRequest { until: past, ..pause.clone() }).await.map(drop), "until");
    let reason = "x".repeat(1001);
    check(api.pause(v1::PauseRequest { reason, ..pause.clone() }).await.map(drop), "reason");
    let mut strange = Request::new(pause);
    strange.metadata_mut().insert("x-actor", "\u{fc}ber".parse().unwrap());
    check(api.pause(strange).await.map(drop), "x-actor");

    let limits = v1::SetOverrideRequest { until: long(), ..Default::default() };
    for (request, field) in [
        (
            v1::SetOverrideRequest { min_instances: Some(3), max_instances: Some(2), ..limits.clone() },
            "min_instances",
        ),
        (v1::SetOverrideRequest { min_instances: Some(3), until: past, ..limits.clone() }, "until"),
        (v1::SetOverrideRequest { min_instances: Some(3), until: None, ..limits.clone() }, "until"),
        (
            v1::SetOverrideRequest { instances: Some(3), min_instances: Some(1), ..limits.clone() },
            "instances",
        ),
        (v1::SetOverrideRequest { max_instances: Some(u32::MAX), ..limits }, "max_instances"),
    ] {
        check(api.set_override(request).await.map(drop), field);
    }
    check(api.drain_instance(v1::DrainInstanceRequest::default()).await.map(drop), "instance_id");
    assert!(world.audit().await.is_empty());
    world.stop().await;
}

#[tokio::test]
async fn instance_is_drained_for_good_and_replaced() {
    let world = World::start(LIVES, &FIXED).await;
    world.until_count(InstanceState::Starting, 1).await;
    let mut worker = FakeWorker::connect(&world, "local-1").await;
    worker.heartbeat(1).await;
    world.until_count(InstanceState::Ready, 1).await;
    let mut api = world.api.clone();
    let request = v1::DrainInstanceRequest {
        instance_id: "local-1".to_owned(),
        reason: "it is slow".to_owned(),
        ..Default::default()
    };
    let instance = api.drain_instance(request.clone()).await.unwrap().into_inner().instance.unwrap();
    assert_eq!((instance.instance_id.as_str(), instance.state()), ("local-1", InstanceState::Stopping));
    let told = worker.until_drain().await;
    let decision = world.audit().await.remove(0);
    assert_eq!(decision.trigger, "command: drain local-1: it is slow");
    assert_eq!(decision.decision_id, told);
    let actions: Vec<_> = decision.actions.iter().map(|one| (one.kind(), one.instance_id.as_str())).collect();
    assert_eq!(actions, [(ActionKind::Drain, "local-1"), (ActionKind::Start, "local-2")]);
    // They add up: one goes, and one comes.
    assert_eq!((decision.current, decision.want), (1, 1));

    // Again is fine, and does nothing.
    api.drain_instance(request.clone()).await.unwrap();
    assert!(world.audit().await[1].actions.is_empty());
    // More are needed: it is not told to stay.
    let more = v1::SetOverrideRequest { instances: Some(2), until: long(), ..Default::default() };
    api.set_override(more).await.unwrap();
    assert_eq!(world.count(InstanceState::Starting).await, 2);

    worker.drained(&told).await;
    world.until_count(InstanceState::Stopped, 1).await;
    assert_eq!(world.until_actions(ActionKind::Drain, 1).await[0].outcome(), v1::ActionOutcome::Done);
    let gone = Error::from(api.drain_instance(request).await.unwrap_err());
    assert_eq!((gone.kind(), gone.resource().unwrap().name.as_str()), (Kind::InstanceNotReady, "local-1"));
    world.stop().await;
}

#[tokio::test]
async fn instances_that_cannot_be_drained_are_told_apart() {
    let world = World::start(LIVES, &FIXED).await;
    world.until_count(InstanceState::Starting, 1).await;
    let elsewhere = FakeWorker::connect(&world, "elsewhere").await;
    elsewhere.heartbeat(0).await;
    world.until_count(InstanceState::Ready, 1).await;
    for (instance_id, kind, part) in [
        ("i-unknown", Kind::InstanceNotFound, "ListInstances has the ids"),
        ("elsewhere", Kind::InstanceNotReady, "started by somebody else"),
        ("local-3", Kind::InstanceNotReady, "is stopped"),
    ] {
        let request = v1::DrainInstanceRequest { instance_id: instance_id.to_owned(), ..Default::default() };
        let error = Error::from(world.api.clone().drain_instance(request).await.unwrap_err());
        assert_eq!((error.kind(), error.resource().unwrap().name.as_str()), (kind, instance_id), "{error}");
        assert!(error.message().contains(part), "{error}");
    }
    assert!(world.audit().await.is_empty());
    world.stop().await;
}
