//! A policy that is set: as a whole, in the place of a version that is known, and never an impossible one.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use platform::{Error, Kind};
use proto::v1::{self, InstanceState};

mod world;
use world::{FakeGateway, LIVES, World};

const FIXED: [&str; 6] = ["--policy", "fixed", "--instances", "1", "--max-instances", "3"];

fn latency(target: Duration, quantile: f64) -> v1::policy::Kind {
    let target = Some(platform::time::to_proto(target));
    v1::policy::Kind::Latency(v1::LatencyPolicy { target, quantile, max_hold: None })
}

fn policy(kind: v1::policy::Kind, min_instances: u32, max_instances: u32) -> v1::Policy {
    v1::Policy { kind: Some(kind), min_instances, max_instances, ..Default::default() }
}

fn fixed(instances: u32) -> v1::policy::Kind {
    v1::policy::Kind::Fixed(v1::FixedPolicy { instances })
}

#[tokio::test]
async fn policy_is_replaced_as_a_whole_and_gets_the_next_version() {
    let world = World::start(LIVES, &FIXED).await;
    world.until_count(InstanceState::Starting, 1).await;
    let mut api = world.api.clone();
    let set = |instances, if_version, dry_run| v1::SetPolicyRequest {
        policy: Some(policy(fixed(instances), 0, 3)),
        if_version,
        dry_run,
        ..Default::default()
    };
    let dry = api.set_policy(set(2, 1, true)).await.unwrap().into_inner().policy.unwrap();
    assert_eq!((dry.version, dry.kind), (2, Some(fixed(2))));
    assert_eq!(world.status().await.policy.unwrap().version, 1);
    assert!(world.audit().await.is_empty());

    let done = api.set_policy(set(2, 1, false)).await.unwrap().into_inner().policy.unwrap();
    assert_eq!(done.version, 2);
    assert_eq!(world.count(InstanceState::Starting).await, 2);
    assert_eq!(world.audit().await[0].policy.as_ref().unwrap().version, 2);

    let stale = Error::from(api.set_policy(set(3, 1, false)).await.unwrap_err());
    assert_eq!((stale.kind(), stale.violations()[0].field.as_str()), (Kind::VersionMismatch, "if_version"));
    assert_eq!(world.status().await.policy.unwrap(), done);
    // Whichever version is in force.
    assert_eq!(api.set_policy(set(3, 0, false)).await.unwrap().into_inner().policy.unwrap().version, 3);
    world.stop().await;
}

#[tokio::test]
async fn impossible_policies_name_the_field_and_change_nothing() {
    let world = World::start(LIVES, &FIXED).await;
    let mut api = world.api.clone();
    let ten = Duration::from_secs(10);
    let floor =
        v1::ScheduleFloor { length: Some(platform::time::to_proto(ten)), instances: 2, ..Default::default() };
    let with_floor = |floor: v1::ScheduleFloor| v1::Policy { floors: vec![floor], ..policy(fixed(1), 0, 3) };
    let negative = Some(prost_types::Duration { seconds: -1, nanos: 0 });
    let step = v1::policy::Kind::Step(v1::StepPolicy::default());
    let backlog = v1::policy::Kind::Backlog(v1::BacklogPolicy { target_per_instance: f64::NAN });
    for (wrong, field) in [
        (None, "policy"),
        (Some(v1::Policy { max_instances: 3, ..Default::default() }), "policy.kind"),
        (Some(policy(fixed(1), 4, 3)), "policy.min_instances"),
        (Some(policy(fixed(1), 0, 0)), "policy.max_instances"),
        (Some(policy(fixed(1), 0, 3_000_000)), "policy.max_instances"),
        (Some(policy(fixed(9), 0, 3)), "policy.fixed.instances"),
        (Some(policy(step, 0, 3)), "policy.step.messages_per_instance"),
        (Some(policy(backlog, 0, 3)), "policy.backlog.target_per_instance"),
        (Some(policy(latency(Duration::ZERO, 0.95), 0, 3)), "policy.latency.target"),
        (Some(policy(latency(ten, 1.5), 0, 3)), "policy.latency.quantile"),
        (Some(policy(latency(ten, f64::NAN), 0, 3)), "policy.latency.quantile"),
        (Some(v1::Policy { keep: negative, ..policy(fixed(1), 0, 3) }), "policy.keep"),
        (Some(with_floor(v1::ScheduleFloor { instances: 7, ..floor.clone() })), "policy.floors.instances"),
        (Some(with_floor(v1::ScheduleFloor { length: None, ..floor.clone() })), "policy.floors.length"),
        (Some(with_floor(v1::ScheduleFloor { days: vec![8], ..floor.clone() })), "policy.floors.days"),
    ] {
        for dry_run in [true, false] {
            let request = v1::SetPolicyRequest { policy: wrong.clone(), dry_run, ..Default::default() };
            let error = Error::from(api.set_policy(request).await.unwrap_err());
            assert_eq!(error.kind(), Kind::InvalidRequest, "{field}: {error}");
            assert_eq!(error.violations()[0].field, field, "{error}");
        }
    }
    let fine = v1::SetPolicyRequest { policy: Some(with_floor(floor)), ..Default::default() };
    let set = api.set_policy(fine).await.unwrap().into_inner().policy.unwrap();
    assert_eq!((set.version, set.floors[0].days.len()), (2, 7));
    world.stop().await;
}

#[tokio::test]
async fn same_request_id_does_it_once() {
    let world = World::start(LIVES, &FIXED).await;
    let mut api = world.api.clone();
    let request = v1::SetPolicyRequest {
        policy: Some(policy(fixed(2), 0, 3)),
        if_version: 1,
        request_id: "one".to_owned(),
        ..Default::default()
    };
    let first = api.set_policy(request.clone()).await.unwrap().into_inner();
    let again = api.set_policy(request.clone()).await.unwrap().into_inner();
    assert_eq!((&first, world.audit().await.len()), (&again, 1));
    let other = v1::SetPolicyRequest { if_version: 2, ..request };
    let refused = Error::from(api.set_policy(other).await.unwrap_err());
    assert_eq!(
        (refused.kind(), refused.violations()[0].field.as_str()),
        (Kind::RequestIdReused, "request_id")
    );
    world.stop().await;
}

#[tokio::test]
async fn gateways_are_told_what_is_late_now() {
    let world = World::start(LIVES, &["--latency-target=10s", "--max-instances=2"]).await;
    let mut gateway = FakeGateway::connect(&world).await;
    let seconds = |seconds| Some(platform::time::to_proto(Duration::from_secs(seconds)));
    while gateway.next().await.latency_target != seconds(10) {}
    let request = v1::SetPolicyRequest {
        policy: Some(policy(latency(Duration::from_secs(20), 0.95), 0, 2)),
        ..Default::default()
    };
    world.api.clone().set_policy(request).await.unwrap();
    while gateway.next().await.latency_target != seconds(20) {}
    let request = v1::SetPolicyRequest { policy: Some(policy(fixed(1), 0, 2)), ..Default::default() };
    world.api.clone().set_policy(request).await.unwrap();
    while gateway.next().await.latency_target.is_some() {}
}
