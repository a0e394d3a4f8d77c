//! What a restart and a take-over keep: the operators' words, what the load taught, and the record.
#![allow(clippy::unwrap_used)]

use std::{path::Path, time::Duration};

use platform::{Error, Kind};
use proto::{
    internal::v1::LatencyCount,
    v1::{self, InstanceState},
};
use tokio::time::{Instant, sleep};

mod world;
use world::{
    FakeGateway, World,
    cloud::{STEP, Workers, cloud},
};

fn store(folder: &tempfile::TempDir) -> String {
    format!("--store=file://{}", folder.path().display())
}

fn long() -> Option<prost_types::Timestamp> {
    Some(platform::time::in_future(Duration::from_secs(24 * 3600)))
}

async fn pause(world: &World) {
    let request = v1::PauseRequest { scale_in: true, reason: "a talk".to_owned(), ..Default::default() };
    world.api.clone().pause(request).await.unwrap();
}

fn step(messages_per_instance: u32) -> v1::SetPolicyRequest {
    let kind = v1::policy::Kind::Step(v1::StepPolicy { messages_per_instance, count_in_flight: false });
    let policy = v1::Policy { kind: Some(kind), max_instances: 10, ..Default::default() };
    v1::SetPolicyRequest { policy: Some(policy), ..Default::default() }
}

async fn until_leader(world: &World) {
    world.until("leader", async || world.status().await.leader).await;
}

#[tokio::test(start_paused = true)]
async fn follower_serves_what_is_read_and_takes_over_what_was_said() {
    let folder = tempfile::tempdir().unwrap();
    let (place, cloud) = (store(&folder), cloud());
    let arguments = [&STEP[..], &[place.as_str()]].concat();
    let first = World::start_on(&cloud, &arguments).await;
    let second = World::start_on(&cloud, &arguments).await;
    until_leader(&first).await;
    let set = first.api.clone().set_policy(step(2)).await.unwrap().into_inner().policy.unwrap();
    assert_eq!(set.version, 2);
    pause(&first).await;
    let limits = v1::SetOverrideRequest { max_instances: Some(4), until: long(), ..Default::default() };
    first.api.clone().set_override(limits).await.unwrap();
    let gateway = FakeGateway::connect(&first).await;
    let workers = Workers::on(&cloud, &first);
    gateway.waiting(4);
    first.until_ready(2).await;

    // The follower shows the same, from what the leader wrote, and changes nothing.
    sleep(Duration::from_secs(70)).await;
    let (of_first, of_second) = (first.status().await, second.status().await);
    assert_eq!((of_second.leader, of_second.policy.as_ref(), of_second.paused), (false, Some(&set), true));
    assert_eq!(of_second.override_in_force.unwrap().max_instances, Some(4));
    assert_eq!(of_second.want, of_first.want);
    assert_eq!(second.changes().await, first.changes().await);
    let last = v1::GetDecisionRequest { decision_id: first.changes().await.pop().unwrap().decision_id };
    second.api.clone().get_decision(last).await.unwrap();
    assert_eq!(second.instances().await.len(), 2);
    let refused = Error::from(second.api.clone().resume(v1::ResumeRequest::default()).await.unwrap_err());
    assert_eq!(refused.kind(), Kind::ServiceUnavailable);
    assert!(refused.message().contains("another autoscaler leads"), "{refused}");

    drop(gateway);
    first.kill().await;
    until_leader(&second).await;
    workers.go_to(&second);
    second.until_ready(2).await;
    let status = second.status().await;
    assert_eq!((status.policy.unwrap(), status.paused), (set, true));
    assert_eq!(status.pause_in_force.unwrap().reason, "a talk");
    assert_eq!(status.override_in_force.unwrap().max_instances, Some(4));
    // Paused: nothing goes although nothing waits. The limit holds, too.
    let gateway = FakeGateway::connect(&second).await;
    gateway.waiting(0);
    sleep(Duration::from_secs(300)).await;
    assert_eq!(second.count(InstanceState::Ready).await, 2);
    gateway.waiting(100);
    second.until_ready(4).await;
    let next = second.api.clone().set_policy(step(3)).await.unwrap().into_inner().policy.unwrap();
    assert_eq!(next.version, 3);
    second.stop().await;
}

#[tokio::test(start_paused = true)]
async fn options_that_changed_win_over_a_policy_that_was_set() {
    let folder = tempfile::tempdir().unwrap();
    let (place, cloud) = (store(&folder), cloud());
    let arguments = [&STEP[..], &[place.as_str()]].concat();
    let world = World::start_on(&cloud, &arguments).await;
    until_leader(&world).await;
    world.api.clone().set_policy(step(2)).await.unwrap();
    pause(&world).await;
    world.stop().await;

    // The same options again: what was set stays.
    let world = World::start_on(&cloud, &arguments).await;
    until_leader(&world).await;
    assert_eq!(world.status().await.policy.unwrap().version, 2);
    world.stop().await;

    let world = World::start_on(&cloud, &[&arguments[..], &["--messages-per-instance=7"]].concat()).await;
    until_leader(&world).await;
    world.until("decided", async || world.status().await.policy.unwrap().version == 3).await;
    let status = world.status().await;
    let kind = v1::policy::Kind::Step(v1::StepPolicy { messages_per_instance: 7, count_in_flight: false });
    assert_eq!((status.policy.unwrap().kind.unwrap(), status.paused), (kind, true));
    let request = v1::ListDecisionsRequest::default();
    let decisions = world.api.clone().list_decisions(request).await.unwrap().into_inner().decisions;
    let said = "options: they have changed and replace policy version 2";
    assert!(decisions.iter().any(|decision| decision.trigger.contains(said)), "{decisions:?}");
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn restart_without_a_usable_snapshot_holds_the_fleet_and_warns() {
    for damage in [None, Some("{\"format\":1")] {
        let folder = tempfile::tempdir().unwrap();
        let (place, cloud) = (store(&folder), cloud());
        let latency = ["--latency-target=60s", "--max-instances=10", "--fleet=simcloud:", "--keep=5s"];
        let arguments = [&latency[..], &[place.as_str()]].concat();
        let world = World::start_on(&cloud, &arguments).await;
        let gateway = FakeGateway::connect(&world).await;
        let workers = Workers::on(&cloud, &world);
        gateway.waiting(200);
        world.until("some are ready", async || world.count(InstanceState::Ready).await > 1).await;
        let ready = world.count(InstanceState::Ready).await;
        drop(gateway);
        world.kill().await;
        damage_snapshot(folder.path(), damage);

        let world = World::start_on(&cloud, &arguments).await;
        until_leader(&world).await;
        let led = Instant::now();
        let gateway = FakeGateway::connect(&world).await;
        gateway.waiting(0);
        workers.go_to(&world);
        let warned = async || world.status().await.warnings.iter().any(|one| one.contains("snapshot"));
        world.until("warned", warned).await;
        while led.elapsed() < Duration::from_secs(55) {
            let current =
                world.count(InstanceState::Ready).await + world.count(InstanceState::Starting).await;
            assert!(current >= ready, "{current} of {ready} after {:?}", led.elapsed());
            sleep(Duration::from_secs(5)).await;
        }
        // Then it shrinks, the warning goes, and there is a snapshot again.
        world.until("none is ready", async || world.count(InstanceState::Ready).await == 0).await;
        assert!(!warned().await);
        world.stop().await;
        let written = std::fs::read_to_string(folder.path().join("snapshot")).unwrap();
        assert!(written.starts_with("{\"format\":1,"), "{written}");
    }
}

fn damage_snapshot(folder: &Path, damage: Option<&str>) {
    match damage {
        Some(text) => std::fs::write(folder.join("snapshot"), text).unwrap(),
        None => drop(std::fs::remove_file(folder.join("snapshot"))),
    }
}

#[tokio::test(start_paused = true)]
async fn instance_that_drains_for_good_does_so_under_the_next_leader() {
    let folder = tempfile::tempdir().unwrap();
    let (place, cloud) = (store(&folder), cloud());
    let arguments = [&STEP[..], &[place.as_str()]].concat();
    let world = World::start_on(&cloud, &arguments).await;
    let gateway = FakeGateway::connect(&world).await;
    let workers = Workers::on(&cloud, &world);
    gateway.waiting(5);
    world.until_ready(1).await;
    let retired = cloud.instances()[0].instance_id.clone();
    workers.hang(&retired);
    let request = v1::DrainInstanceRequest { instance_id: retired.clone(), ..Default::default() };
    world.api.clone().drain_instance(request).await.unwrap();
    drop(gateway);
    world.kill().await;

    let world = World::start_on(&cloud, &arguments).await;
    until_leader(&world).await;
    let gateway = FakeGateway::connect(&world).await;
    gateway.waiting(10);
    workers.wake(&retired);
    workers.go_to(&world);
    world
        .until("stopped", async || {
            let instances = world.instances().await;
            instances.iter().any(|one| one.instance_id == retired && one.state() == InstanceState::Stopped)
        })
        .await;
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn decision_is_graded_against_what_came() {
    let cloud = cloud();
    let world = World::start_on(&cloud, &STEP).await;
    let gateway = FakeGateway::connect(&world).await;
    let _workers = Workers::on(&cloud, &world);
    gateway.waiting(5);
    world.until_ready(1).await;
    for answered in 1..=20 {
        sleep(Duration::from_secs(1)).await;
        // A quarter of them late; all within one bucket, of 1.0 to 1.1 s.
        gateway.answered_late(4 * answered, answered, vec![LatencyCount { bucket: 80, count: 4 * answered }]);
    }
    let decided = world.changes().await.remove(0).decision_id;
    let graded = async || {
        let request = v1::GetDecisionRequest { decision_id: decided.clone() };
        world.api.clone().get_decision(request).await.unwrap().into_inner().decision.unwrap()
    };
    world.until("graded", async || graded().await.actual_p95.is_some()).await;
    let decision = graded().await;
    let p95 = platform::time::from_proto(decision.actual_p95.as_ref()).unwrap();
    assert!((Duration::from_millis(900)..Duration::from_millis(1300)).contains(&p95), "{p95:?}");
    assert!((0.2..=0.3).contains(&decision.actual_late_ratio), "{}", decision.actual_late_ratio);
    world.stop().await;
}
