//! The control loop on a model of EC2: what it does to instances, and what it does not.
#![allow(clippy::unwrap_used)]

use std::{collections::BTreeMap, time::Duration};

use autoscaler::fleet::{
    cloud::{CloudState, FLEET_TAG, Offering},
    simcloud::{Api, SimOptions},
};
use proto::v1::{ActionKind, ActionOutcome, InstanceState};
use tokio::time::{Instant, sleep};

mod world;
use world::{
    FakeGateway, World,
    cloud::{STEP, Workers, cloud, cloud_with, until_cloud},
};

fn tags(fleet: &str) -> BTreeMap<String, String> {
    BTreeMap::from([(FLEET_TAG.to_owned(), fleet.to_owned())])
}

#[tokio::test(start_paused = true)]
async fn fleet_goes_from_none_to_many_and_back_to_none() {
    let cloud = cloud();
    let world = World::start_on(&cloud, &STEP).await;
    let gateway = FakeGateway::connect(&world).await;
    let _workers = Workers::on(&cloud, &world);
    gateway.waiting(16);
    world.until_ready(4).await;
    let launches = world.until_actions(ActionKind::Launch, 4).await;
    assert!(launches.iter().all(|one| one.outcome() == ActionOutcome::Done), "{launches:?}");
    assert_eq!(cloud.calls(Api::Launch), 1);
    let made = cloud.instances();
    for instance in &made {
        let launch = launches.iter().find(|one| one.instance_id == instance.instance_id).unwrap();
        assert!(!launch.client_token.is_empty());
        let tag = |name: &str| instance.tags.get(name).map(String::as_str);
        assert_eq!((tag(FLEET_TAG), tag("dunlin:role")), (Some("dunlin"), Some("worker")));
        assert!(tag("dunlin:decision").is_some());
    }
    world.until("named", async || cloud.instances().iter().all(|one| one.tags.contains_key("Name"))).await;
    let mut names: Vec<_> = cloud.instances().into_iter().map(|one| one.tags["Name"].clone()).collect();
    names.sort();
    assert_eq!(names, [1, 2, 3, 4].map(|number| format!("dunlin-worker-{number}")));

    gateway.waiting(0);
    until_cloud(&cloud, CloudState::Stopped, 4).await;
    let stops = world.until_actions(ActionKind::Stop, 4).await;
    assert!(stops.iter().all(|one| one.outcome() == ActionOutcome::Done), "{stops:?}");

    // Stopped ones first, then new ones.
    gateway.waiting(30);
    world.until_ready(6).await;
    assert_eq!(world.actions(ActionKind::Start).await.len(), 4);
    assert_eq!(cloud.instances().len(), 6);
    world.stop().await;
    // Machines go on without us.
    assert_eq!(cloud.count(CloudState::Running), 6);
}

#[tokio::test(start_paused = true)]
async fn quiet_fleet_costs_four_listings_a_minute() {
    let cloud = cloud();
    let world = World::start_on(&cloud, &STEP).await;
    sleep(Duration::from_secs(120)).await;
    let before = cloud.calls(Api::Describe);
    sleep(Duration::from_secs(600)).await;
    let listings = cloud.calls(Api::Describe) - before;
    assert!((30..=40).contains(&listings), "{listings}");
    assert_eq!(cloud.calls(Api::Launch) + cloud.calls(Api::Start) + cloud.calls(Api::Tag), 0);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn launch_that_was_never_answered_is_not_done_twice_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let store = format!("--store=file://{}", folder.path().display());
    let arguments = [&STEP[..], &[store.as_str()]].concat();
    let cloud = cloud_with(SimOptions { lag: Duration::from_secs(20), ..SimOptions::default() });
    let world = World::start_on(&cloud, &arguments).await;
    let gateway = FakeGateway::connect(&world).await;
    cloud.swallow_next_launch();
    gateway.waiting(16);
    until_cloud(&cloud, CloudState::Pending, 4).await;
    drop(gateway);
    world.kill().await;

    // It leads once the lease of the dead one has ended; the listing does not show the instances yet.
    let world = World::start_on(&cloud, &arguments).await;
    world.until("leader", async || world.status().await.leader).await;
    let gateway = FakeGateway::connect(&world).await;
    let _workers = Workers::on(&cloud, &world);
    gateway.waiting(16);
    world.until_ready(4).await;
    sleep(Duration::from_secs(120)).await;
    assert_eq!(cloud.instances().len(), 4);
    assert_eq!(cloud.calls(Api::Launch), 2);
    let launches = world.actions(ActionKind::Launch).await;
    assert_eq!(launches.len(), 4);
    assert!(launches.iter().all(|one| one.outcome() == ActionOutcome::Done), "{launches:?}");
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn launch_that_cannot_be_repeated_is_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let store = format!("--store=file://{}", folder.path().display());
    let arguments = [&STEP[..], &[store.as_str()]].concat();
    let cloud = cloud_with(SimOptions { lag: Duration::from_secs(40), ..SimOptions::default() });
    let world = World::start_on(&cloud, &arguments).await;
    let gateway = FakeGateway::connect(&world).await;
    cloud.swallow_next_launch();
    gateway.waiting(16);
    until_cloud(&cloud, CloudState::Pending, 4).await;
    drop(gateway);
    world.kill().await;

    // Under the same token it would be another order now: what it made shows in the listing, later.
    let world = World::start_on(&cloud, &[&arguments[..], &["--instance-types=other"]].concat()).await;
    world.until("leader", async || world.status().await.leader).await;
    let gateway = FakeGateway::connect(&world).await;
    let _workers = Workers::on(&cloud, &world);
    gateway.waiting(16);
    world.until_ready(4).await;
    sleep(Duration::from_secs(120)).await;
    assert_eq!(cloud.instances().len(), 4);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn autoscaler_restarted_during_scale_out_loses_nothing_and_launches_no_more() {
    let cloud = cloud();
    let world = World::start_on(&cloud, &STEP).await;
    let gateway = FakeGateway::connect(&world).await;
    gateway.waiting(16);
    until_cloud(&cloud, CloudState::Pending, 4).await;
    sleep(Duration::from_secs(5)).await;
    drop(gateway);
    world.kill().await;

    // Without a store: the tags are enough.
    let world = World::start_on(&cloud, &STEP).await;
    let gateway = FakeGateway::connect(&world).await;
    let _workers = Workers::on(&cloud, &world);
    gateway.waiting(16);
    world.until_ready(4).await;
    sleep(Duration::from_secs(60)).await;
    assert_eq!((cloud.instances().len(), cloud.count(CloudState::Running)), (4, 4));
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn throttled_launch_is_an_outcome_and_is_done_later() {
    let cloud = cloud();
    cloud.refuse(Api::Launch, 2);
    let world = World::start_on(&cloud, &STEP).await;
    let gateway = FakeGateway::connect(&world).await;
    let _workers = Workers::on(&cloud, &world);
    gateway.waiting(10);
    world.until("refused", async || cloud.calls(Api::Launch) > 0).await;
    let warnings = world.status().await.warnings;
    assert!(warnings.iter().any(|one| one.contains("the cloud refuses launches")), "{warnings:?}");
    let fleet = world.status().await.observation.unwrap().fleet.unwrap();
    assert_eq!(fleet.start_tokens, 0.0);
    world.until_ready(2).await;
    let launches = world.actions(ActionKind::Launch).await;
    let throttled = launches.iter().filter(|one| one.outcome() == ActionOutcome::Throttled).count();
    assert_eq!((throttled, launches.len()), (4, 6));
    assert_eq!(cloud.calls(Api::Launch), 3);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn offering_without_capacity_is_left_alone_for_three_minutes() {
    let cloud = cloud();
    let of = |instance_type: &str| Offering { instance_type: Some(instance_type.to_owned()), subnet: None };
    cloud.set_capacity(of("best"), 1);
    let arguments = [&STEP[..], &["--instance-types=best,other"]].concat();
    let world = World::start_on(&cloud, &arguments).await;
    let gateway = FakeGateway::connect(&world).await;
    let _workers = Workers::on(&cloud, &world);
    gateway.waiting(15);
    world.until_ready(3).await;
    let types = || -> Vec<_> { cloud.instances().into_iter().map(|one| one.instance_type).collect() };
    assert_eq!(types(), ["best", "other", "other"]);
    let warnings = world.status().await.warnings;
    assert!(warnings.iter().any(|one| one.starts_with("no capacity of best")), "{warnings:?}");

    cloud.set_capacity(of("best"), 10);
    gateway.waiting(20);
    world.until_ready(4).await;
    assert_eq!(types()[3], "other");
    sleep(Duration::from_secs(180)).await;
    gateway.waiting(25);
    world.until_ready(5).await;
    assert_eq!(types()[4], "best");
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_can_be_had_is_taken_and_the_rest_is_recorded() {
    let cloud = cloud_with(SimOptions { capacity: 3, ..SimOptions::default() });
    let world = World::start_on(&cloud, &STEP).await;
    let gateway = FakeGateway::connect(&world).await;
    let _workers = Workers::on(&cloud, &world);
    gateway.waiting(25);
    world.until_ready(3).await;
    let launches = world.actions(ActionKind::Launch).await;
    let count = |outcome: ActionOutcome| launches.iter().filter(|one| one.outcome() == outcome).count();
    assert_eq!((count(ActionOutcome::Done), count(ActionOutcome::NoCapacity)), (3, 2));
    sleep(Duration::from_secs(60)).await;
    assert_eq!(cloud.calls(Api::Launch), 1);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn spot_is_asked_first_and_terminated_instead_of_stopped() {
    let cloud = cloud();
    let arguments = [&STEP[..], &["--spot-share=50"]].concat();
    let world = World::start_on(&cloud, &arguments).await;
    let gateway = FakeGateway::connect(&world).await;
    let _workers = Workers::on(&cloud, &world);
    gateway.waiting(20);
    world.until_ready(4).await;
    assert_eq!(cloud.instances().iter().filter(|one| one.spot).count(), 2);
    gateway.waiting(0);
    until_cloud(&cloud, CloudState::Stopped, 2).await;
    until_cloud(&cloud, CloudState::Terminated, 2).await;
    assert!(cloud.instances().iter().all(|one| one.spot == (one.state == CloudState::Terminated)));
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn machine_with_a_spot_notice_is_replaced_at_once() {
    let cloud = cloud();
    let arguments = [&STEP[..], &["--spot-share=100"]].concat();
    let world = World::start_on(&cloud, &arguments).await;
    let gateway = FakeGateway::connect(&world).await;
    let workers = Workers::on(&cloud, &world);
    gateway.waiting(10);
    world.until_ready(2).await;
    let leaving = cloud.instances()[0].instance_id.clone();
    workers.spot_notice(&leaving);
    let noticed = Instant::now();
    world.until("replaced", async || cloud.instances().len() == 3).await;
    assert!(noticed.elapsed() < Duration::from_secs(10), "{:?}", noticed.elapsed());
    sleep(Duration::from_secs(10)).await;
    cloud.kill(&leaving);
    world.until_ready(2).await;
    sleep(Duration::from_secs(60)).await;
    assert_eq!((cloud.instances().len(), world.instances().await.len()), (3, 2));
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn one_wrong_id_does_not_keep_the_others_from_starting() {
    let cloud = cloud();
    let ids: Vec<_> = (0..8).map(|_| cloud.add_stopped(tags("dunlin"))).collect();
    let world = World::start_on(&cloud, &STEP).await;
    let gateway = FakeGateway::connect(&world).await;
    let _workers = Workers::on(&cloud, &world);
    world.until_count(InstanceState::Stopped, 8).await;
    cloud.remove(&ids[5]);
    gateway.waiting(40);
    world.until("seven starts", async || cloud.count(CloudState::Running) >= 7).await;
    let starts = world.actions(ActionKind::Start).await;
    let failed: Vec<_> = starts.iter().filter(|one| one.outcome() == ActionOutcome::Failed).collect();
    assert_eq!(failed[0].instance_id, ids[5]);
    assert!(failed[0].error.contains("does not exist"), "{}", failed[0].error);
    assert_eq!(cloud.state_of(&ids[5]), Some(CloudState::Stopped));
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn instance_without_our_tag_is_never_touched() {
    let cloud = cloud();
    let untagged = cloud.add_stopped(BTreeMap::new());
    let other = cloud.add_stopped(tags("another"));
    let gateway = [tags("dunlin"), BTreeMap::from([("dunlin:role".to_owned(), "gateway".to_owned())])];
    let machine_of_gateway = cloud.add_stopped(gateway.into_iter().flatten().collect());
    let ours = cloud.add_stopped(tags("dunlin"));
    let world = World::start_on(&cloud, &[&STEP[..], &["--stopped-pool-max=0"]].concat()).await;
    let gateway = FakeGateway::connect(&world).await;
    let _workers = Workers::on(&cloud, &world);
    gateway.waiting(10);
    world.until_ready(2).await;
    assert_eq!(world.instances().await.len(), 2);
    gateway.waiting(0);
    until_cloud(&cloud, CloudState::Terminated, 3).await;
    for instance_id in [&untagged, &other, &machine_of_gateway] {
        assert_eq!(cloud.state_of(instance_id), Some(CloudState::Stopped));
    }
    assert_eq!(cloud.state_of(&ours), Some(CloudState::Terminated));
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn more_stopped_than_are_kept_are_terminated_oldest_first() {
    let cloud = cloud();
    let arguments = [&STEP[..], &["--stopped-pool-max=2"]].concat();
    let world = World::start_on(&cloud, &arguments).await;
    let gateway = FakeGateway::connect(&world).await;
    let _workers = Workers::on(&cloud, &world);
    gateway.waiting(20);
    world.until_ready(4).await;
    gateway.waiting(15);
    until_cloud(&cloud, CloudState::Stopped, 1).await;
    let oldest = cloud.instances().into_iter().find(|one| one.state == CloudState::Stopped).unwrap();
    gateway.waiting(0);
    until_cloud(&cloud, CloudState::Terminated, 2).await;
    sleep(Duration::from_secs(120)).await;
    assert_eq!(cloud.state_of(&oldest.instance_id), Some(CloudState::Terminated));
    assert_eq!(cloud.count(CloudState::Stopped), 2);
    let ends = world.until_actions(ActionKind::Terminate, 2).await;
    assert!(ends.iter().all(|one| one.outcome() == ActionOutcome::Done), "{ends:?}");
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn instance_whose_worker_never_comes_is_tried_once_more_and_then_ended() {
    let cloud = cloud();
    let world = World::start_on(&cloud, &STEP).await;
    let gateway = FakeGateway::connect(&world).await;
    let workers = Workers::on(&cloud, &world);
    let broken = format!("i-{:017x}", 1);
    workers.break_worker_of(&broken);
    cloud.set_console(&broken, "systemd[1]: Started worker\nworker: cannot read the model\n");
    gateway.waiting(5);
    until_cloud(&cloud, CloudState::Running, 1).await;
    let running = Instant::now();
    until_cloud(&cloud, CloudState::Stopped, 1).await;
    // Twice the slowest boot, and the time to stop.
    assert!((190..300).contains(&running.elapsed().as_secs()), "{:?}", running.elapsed());
    let warnings = world.status().await.warnings;
    assert!(warnings.iter().any(|one| one.contains("cannot read the model")), "{warnings:?}");
    // Another has taken its place, and its worker comes.
    world.until_ready(1).await;
    assert_eq!(cloud.instances().len(), 2);
    // Two are needed: it has another try.
    gateway.waiting(10);
    until_cloud(&cloud, CloudState::Running, 2).await;
    until_cloud(&cloud, CloudState::Terminated, 1).await;
    assert_eq!(cloud.state_of(&broken), Some(CloudState::Terminated));
    world.until_ready(2).await;
    assert_eq!(cloud.instances().len(), 3);
    assert_eq!(cloud.calls(Api::ConsoleOutput), 2);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn image_that_never_works_does_not_cost_an_instance_every_minute() {
    let cloud = cloud();
    let world = World::start_on(&cloud, &STEP).await;
    let gateway = FakeGateway::connect(&world).await;
    gateway.waiting(15);
    sleep(Duration::from_secs(2 * 3600)).await;
    // Three at once, and from then on one at a time with minutes between.
    let starts = world.actions(ActionKind::Start).await.len() + world.actions(ActionKind::Launch).await.len();
    assert!((5..=20).contains(&starts), "{starts} starts");
    assert!(cloud.count(CloudState::Running) <= 3);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn orphan_is_replaced_soon_and_stopped_after_ten_minutes() {
    let cloud = cloud();
    let world = World::start_on(&cloud, &STEP).await;
    let gateway = FakeGateway::connect(&world).await;
    let workers = Workers::on(&cloud, &world);
    gateway.waiting(5);
    world.until_ready(1).await;
    sleep(Duration::from_secs(60)).await;
    // Its machine goes on, and nobody on it talks to us.
    drop(workers);
    let silent = Instant::now();
    let orphan = cloud.instances()[0].instance_id.clone();
    world.until("replaced", async || cloud.instances().len() == 2).await;
    assert!(silent.elapsed() < Duration::from_secs(60), "{:?}", silent.elapsed());
    world.until("stopped", async || cloud.state_of(&orphan) != Some(CloudState::Running)).await;
    assert!((600..700).contains(&silent.elapsed().as_secs()), "{:?}", silent.elapsed());
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn of_two_autoscalers_one_leads_and_the_other_takes_over() {
    let folder = tempfile::tempdir().unwrap();
    let store = format!("--store=file://{}", folder.path().display());
    let arguments = [&STEP[..], &[store.as_str()]].concat();
    let cloud = cloud();
    let first = World::start_on(&cloud, &arguments).await;
    let second = World::start_on(&cloud, &arguments).await;
    let gateway = FakeGateway::connect(&first).await;
    let workers = Workers::on(&cloud, &first);
    gateway.waiting(10);
    first.until_ready(2).await;
    sleep(Duration::from_secs(10)).await;
    assert_eq!((first.status().await.leader, second.status().await.leader), (true, false));
    let warnings = second.status().await.warnings;
    assert!(warnings.iter().any(|one| one.contains("another autoscaler leads")), "{warnings:?}");
    assert_eq!((first.status().await.want, second.status().await.want), (2, 2));
    // The follower shows what the leader decided, and takes neither workers nor gateways.
    let of_first = first.changes().await;
    assert_eq!(second.changes().await, of_first);
    assert!(of_first.iter().all(|decision| decision.leader_epoch == 1));
    assert!(!FakeGateway::is_welcome(&second).await);

    drop(gateway);
    first.kill().await;
    let killed = Instant::now();
    second.until("leader", async || second.status().await.leader).await;
    assert!((5..=21).contains(&killed.elapsed().as_secs()), "{:?}", killed.elapsed());
    workers.go_to(&second);
    let gateway = FakeGateway::connect(&second).await;
    gateway.waiting(15);
    second.until_ready(3).await;
    assert_eq!(cloud.instances().len(), 3);
    assert_eq!(second.changes().await.last().unwrap().leader_epoch, 2);
    // Stopped in order, it gives the lease back.
    let third = World::start_on(&cloud, &arguments).await;
    drop(gateway);
    second.stop().await;
    let stopped = Instant::now();
    third.until("leader", async || third.status().await.leader).await;
    assert!(stopped.elapsed() <= Duration::from_secs(6), "{:?}", stopped.elapsed());
    third.stop().await;
}

#[tokio::test(start_paused = true)]
async fn starts_of_an_hour_are_limited() {
    let cloud = cloud();
    let world = World::start_on(&cloud, &[&STEP[..], &["--max-starts-per-hour=3"]].concat()).await;
    let gateway = FakeGateway::connect(&world).await;
    let _workers = Workers::on(&cloud, &world);
    gateway.waiting(50);
    world.until_ready(3).await;
    sleep(Duration::from_secs(1800)).await;
    assert_eq!(cloud.instances().len(), 3);
    let warnings = world.status().await.warnings;
    assert!(warnings.iter().any(|one| one.contains("--max-starts-per-hour")), "{warnings:?}");
    world.until_ready(6).await;
    world.stop().await;
}
