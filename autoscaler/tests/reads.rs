//! What a reader of `AutoscalerService` gets: explanations, heartbeats, and how long answers really took.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use platform::{
    Error, Kind,
    store::{FileStore, Store as _},
};
use prost::Message as _;
use proto::{
    internal::v1::LatencyCount,
    v1::{self, ExplainDecisionRequest, InstanceState, WatchDecisionsRequest},
};
use tokio::time::{Instant, timeout};

mod world;
use world::{FakeGateway, LIVES, World};

const STEP: [&str; 4] = ["--policy", "step", "--max-instances", "3"];

async fn explain(world: &World, decision_id: &str) -> Result<v1::ExplainDecisionResponse, Error> {
    let request = ExplainDecisionRequest { decision_id: decision_id.to_owned() };
    Ok(world.api.clone().explain_decision(request).await?.into_inner())
}

#[tokio::test]
async fn decision_is_explained_and_computed_again_from_its_record() {
    let world = World::start(LIVES, &STEP).await;
    let gateway = FakeGateway::connect(&world).await;
    gateway.waiting(8);
    world.until_count(InstanceState::Starting, 2).await;
    let change = world.changes().await.remove(0);
    let explained = explain(&world, &change.decision_id).await.unwrap();
    assert_eq!(explained.recomputed_want, change.want);
    for part in [
        "2 workers are wanted, more than the 0 there are.",
        "8 waiting, 0 in work",
        "8 waiting / 5 per worker = 2",
        "start local-1: not over yet",
        "Computed again from the record it is 2, too.",
    ] {
        assert!(explained.text.contains(part), "{part:?} in\n{}", explained.text);
    }
    let of = |input: &str| explained.counter_factuals.iter().find(|one| one.input == input).unwrap();
    assert_eq!((of("queue.visible").to, of("queue.visible").want), (11.0, 3));
    assert_eq!((of("max_instances").to, of("max_instances").want), (1.0, 1));

    // Without an id it is the latest, whatever that was by then.
    assert!(explain(&world, "").await.unwrap().text.contains(" workers are wanted, "));
    let missing = explain(&world, "01J").await.unwrap_err();
    assert_eq!((missing.kind(), missing.resource().unwrap().name.as_str()), (Kind::DecisionNotFound, "01J"));
    world.stop().await;
}

#[tokio::test]
async fn decision_of_an_older_version_is_refused_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let older = v1::Decision { decision_id: "0AAA".to_owned(), sequence: 1, want: 3, ..Default::default() };
    let store = FileStore::open(folder.path()).unwrap();
    store.put("decisions/0AAA", older.encode_to_vec().into()).await.unwrap();
    let url = format!("file://{}", folder.path().display());
    let world = World::start(LIVES, &[&STEP[..], &["--store", &url]].concat()).await;
    let refused = explain(&world, "0AAA").await.unwrap_err();
    assert_eq!(refused.kind(), Kind::RecordIncomplete);
    assert!(refused.message().contains("recollection is missing"), "{refused}");
    world.stop().await;
}

#[tokio::test]
async fn page_of_large_decisions_stays_within_what_clients_read() {
    let folder = tempfile::tempdir().unwrap();
    let store = FileStore::open(folder.path()).unwrap();
    for sequence in 1..=20 {
        let decision_id = format!("0AA{sequence:02}");
        let reason = "x".repeat(700_000);
        let decision = v1::Decision { decision_id, sequence, reason, ..Default::default() };
        let key = format!("decisions/{}", decision.decision_id);
        store.put(&key, decision.encode_to_vec().into()).await.unwrap();
    }
    let url = format!("file://{}", folder.path().display());
    let world = World::start(LIVES, &[&STEP[..], &["--store", &url]].concat()).await;
    let mut request = v1::ListDecisionsRequest { page_size: 1000, ..Default::default() };
    let mut large = Vec::new();
    loop {
        let page = world.api.clone().list_decisions(request.clone()).await.unwrap().into_inner();
        large.extend(page.decisions.iter().map(|one| one.sequence).filter(|sequence| *sequence <= 20));
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            break;
        }
    }
    assert_eq!(large, (1..=20).rev().collect::<Vec<_>>());
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn quiet_watch_of_decisions_beats_every_fifteen_seconds() {
    let cloud = world::cloud::cloud();
    let world =
        World::start_on(&cloud, &["--policy", "fixed", "--instances", "0", "--fleet=simcloud:"]).await;
    let request = WatchDecisionsRequest { after_sequence: 0, changed_only: true };
    let mut watch = world.api.clone().watch_decisions(request).await.unwrap().into_inner();
    for _ in 0..3 {
        let begin = Instant::now();
        let beat = watch.message().await.unwrap().unwrap();
        assert_eq!(beat.decision, None);
        let waited = begin.elapsed();
        assert!(waited > Duration::from_secs(13) && waited < Duration::from_secs(17), "{waited:?}");
    }
    world.stop().await;
}

#[tokio::test]
async fn status_has_the_p95_of_the_last_minute() {
    let world = World::start(LIVES, &STEP).await;
    let gateway = FakeGateway::connect(&world).await;
    world.until_count(InstanceState::Stopped, 3).await;
    assert_eq!(world.status().await.actual_p95, None);
    let bucket = |latency| u32::try_from(platform::latency::bucket(latency)).unwrap();
    gateway.answered(vec![
        LatencyCount { bucket: bucket(Duration::from_millis(20)), count: 90 },
        LatencyCount { bucket: bucket(Duration::from_secs(3)), count: 10 },
    ]);
    let mut watch = world.api.clone().watch_status(v1::WatchStatusRequest {}).await.unwrap().into_inner();
    let p95 = loop {
        let answer = timeout(world::PATIENCE, watch.message()).await.unwrap().unwrap().unwrap();
        if let Some(p95) = answer.status.unwrap().actual_p95 {
            break Duration::try_from(p95).unwrap();
        }
    };
    assert!(p95 > Duration::from_millis(2600) && p95 < Duration::from_millis(3400), "{p95:?}");
    world.stop().await;
}
