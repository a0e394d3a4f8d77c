//! What goes wrong is an outcome in the record and a warning in the status, and never a storm.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use autoscaler::fleet::simcloud::Api;
use proto::v1::{ActionKind, ActionOutcome, InstanceState};
use tokio::time::sleep;

mod world;
use world::{
    FakeGateway, World,
    cloud::{STEP, Workers, cloud},
};

async fn warns(world: &World, part: &str) -> bool {
    world.status().await.warnings.iter().any(|one| one.contains(part))
}

#[tokio::test(start_paused = true)]
async fn unreachable_cloud_is_a_failed_action_and_a_warning_until_it_is_back() {
    let cloud = cloud();
    let world = World::start_on(&cloud, &STEP).await;
    let gateway = FakeGateway::connect(&world).await;
    let _workers = Workers::on(&cloud, &world);
    sleep(Duration::from_secs(3)).await;
    cloud.set_unreachable(true);
    // The last listing is good for a while.
    gateway.waiting(10);
    let launches = world.until_actions(ActionKind::Launch, 2).await;
    assert!(launches.iter().all(|one| one.outcome() == ActionOutcome::Failed), "{launches:?}");
    assert!(launches[0].error.contains("connection timed out"), "{}", launches[0].error);
    world.until("warned", async || warns(&world, "the fleet cannot be listed").await).await;
    sleep(Duration::from_secs(600)).await;
    assert!(cloud.instances().is_empty());
    // One for each try while it was thought to be there.
    assert!(world.actions(ActionKind::Launch).await.len() <= 10);
    cloud.set_unreachable(false);
    world.until_ready(2).await;
    assert!(!warns(&world, "cannot be listed").await);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn throttled_listing_and_late_worker_are_said() {
    let cloud = cloud();
    let world = World::start_on(&cloud, &STEP).await;
    let gateway = FakeGateway::connect(&world).await;
    gateway.waiting(5);
    // Its worker never comes, as there is none.
    world.until("late", async || warns(&world, "1 workers have not registered").await).await;
    cloud.refuse(Api::Describe, 2);
    world.until("throttled", async || warns(&world, "the cloud refuses listings").await).await;
    world.until("lost", async || warns(&world, "ran without a worker").await).await;
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn target_shorter_than_a_start_is_said_and_a_schedule_costs_what_it_costs() {
    let cloud = cloud();
    let arguments = [
        "--latency-target=20s",
        "--max-instances=4",
        "--fleet=simcloud:",
        "--schedule=00:00-24:00=2",
        "--price-per-hour=0.25",
    ];
    let world = World::start_on(&cloud, &arguments).await;
    let gateway = FakeGateway::connect(&world).await;
    let _workers = Workers::on(&cloud, &world);
    gateway.waiting(0);
    world.until_ready(2).await;
    assert!(warns(&world, "the target of 20 s is shorter than a start").await);
    let status = world.status().await;
    assert!((status.cost_per_hour_usd - 0.5).abs() < 1e-9, "{}", status.cost_per_hour_usd);
    assert_eq!(status.policy.unwrap().floors[0].instances, 2);
    let launch = world.changes().await.remove(0);
    assert_eq!((launch.want, launch.cost_per_hour_usd), (2, 0.5));
    assert!(launch.terms.iter().any(|term| term.name == "floor"), "{:?}", launch.terms);
    sleep(Duration::from_secs(600)).await;
    assert_eq!(world.count(InstanceState::Ready).await, 2);
    world.stop().await;
}
