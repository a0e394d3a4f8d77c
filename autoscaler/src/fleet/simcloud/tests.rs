//! The model does what EC2 was seen to do.

use tokio::time::advance;

use super::*;

fn order(token: &str, count: u32) -> LaunchOrder {
    LaunchOrder {
        count,
        client_token: token.to_owned(),
        market: Market::OnDemand,
        offerings: Vec::new(),
        tags: Tags::from([(FLEET_TAG.to_owned(), "dunlin".to_owned())]),
    }
}

async fn state(cloud: &SimCloud, seconds: u64) -> Vec<CloudState> {
    advance(Duration::from_secs(seconds)).await;
    cloud.describe().await.unwrap().iter().map(|one| one.state).collect()
}

#[tokio::test(start_paused = true)]
async fn instance_takes_its_time_and_the_listing_is_behind() {
    use CloudState::{Pending, Running, Stopped, Stopping};
    let cloud = SimCloud::new("dunlin", SimOptions::default());
    let made = cloud.launch(&order("a", 1)).await.unwrap().instance_ids;
    assert_eq!(state(&cloud, 1).await, []);
    assert_eq!(state(&cloud, 1).await, [Pending]);
    assert_eq!(state(&cloud, 40).await, [Running]);
    cloud.stop(&made).await.unwrap();
    assert_eq!(state(&cloud, 1).await, [Running]);
    assert_eq!(state(&cloud, 1).await, [Stopping]);
    // Not before it has stopped.
    assert_eq!(cloud.start(&made).await.unwrap_err().kind, CloudErrorKind::WrongState);
    assert_eq!(state(&cloud, 15).await, [Stopped]);
    cloud.start(&made).await.unwrap();
    assert_eq!(state(&cloud, 2).await, [Pending]);
}

#[tokio::test(start_paused = true)]
async fn token_stands_for_one_order() {
    let cloud = SimCloud::new("dunlin", SimOptions::default());
    let first = cloud.launch(&order("a", 2)).await.unwrap();
    assert_eq!(cloud.launch(&order("a", 2)).await.unwrap(), first);
    let other = cloud.launch(&order("a", 3)).await.unwrap_err();
    assert_eq!(other.kind, CloudErrorKind::TokenMismatch);
    assert_ne!(cloud.launch(&order("b", 2)).await.unwrap(), first);
    assert_eq!(cloud.instances().len(), 4);
}

#[tokio::test(start_paused = true)]
async fn one_wrong_id_fails_the_call_for_all() {
    let cloud = SimCloud::new("dunlin", SimOptions::default());
    let mut ids = cloud.launch(&order("a", 2)).await.unwrap().instance_ids;
    ids.push("i-unknown".to_owned());
    for done in [cloud.stop(&ids).await, cloud.start(&ids).await, cloud.terminate(&ids).await] {
        assert_eq!(done.unwrap_err().kind, CloudErrorKind::NotFound);
    }
    assert_eq!(cloud.count(CloudState::Pending), 2);
}

#[tokio::test(start_paused = true)]
async fn calls_are_throttled_as_ec2_does() {
    let cloud = SimCloud::new("dunlin", SimOptions { capacity: 5000, ..SimOptions::default() });
    cloud.launch(&order("a", 1000)).await.unwrap();
    let refused = cloud.launch(&order("b", 3)).await.unwrap_err();
    assert_eq!(refused.kind, CloudErrorKind::Throttled);
    advance(Duration::from_secs(2)).await;
    cloud.launch(&order("b", 3)).await.unwrap();
    for _ in 0..100 {
        cloud.describe().await.unwrap();
    }
    assert_eq!(cloud.describe().await.unwrap_err().kind, CloudErrorKind::Throttled);
}

#[tokio::test(start_paused = true)]
async fn what_is_missing_is_named_and_the_rest_comes_from_elsewhere() {
    let cloud = SimCloud::new("dunlin", SimOptions { capacity: 2, ..SimOptions::default() });
    let offering = |name: &str| Offering { instance_type: Some(name.to_owned()), subnet: None };
    let launch = LaunchOrder { offerings: vec![offering("a"), offering("b")], ..order("x", 3) };
    let launched = cloud.launch(&launch).await.unwrap();
    assert_eq!((launched.instance_ids.len(), launched.exhausted), (3, vec![offering("a")]));
    let launch = LaunchOrder { client_token: "y".to_owned(), ..launch };
    let launched = cloud.launch(&launch).await.unwrap();
    assert_eq!((launched.instance_ids.len(), launched.exhausted.len()), (1, 2));
}
