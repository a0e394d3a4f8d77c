//! How many calls the queue on SQS makes. One test at a time: the calls are counted for the whole process.
#![cfg(feature = "aws")]
#![allow(clippy::unwrap_used)]

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use aws_config::SdkConfig;
use platform::{
    aws::stand_in::{self, Fauxqs},
    queue::{Queue, Receive, SqsQueue, Task},
};

/// As gateway and worker together see it: sent by one, received by the other.
async fn open(config: &SdkConfig, name: &str) -> Arc<dyn Queue> {
    let url = stand_in::make_queues(config, name).await;
    Arc::new(SqsQueue::open_for_sender(config, &url).await.unwrap())
}

fn task(id: &str) -> Task {
    Task { task_id: id.to_owned(), ..Task::default() }
}

fn receive(max: u32, wait: Duration) -> Receive {
    Receive { max: NonZeroU32::new(max).unwrap(), wait, lease: Duration::from_secs(30) }
}

/// Held by the test that counts.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

#[tokio::test(flavor = "multi_thread")]
async fn hundred_tasks_at_once_are_sent_and_acked_in_tens() {
    let _alone = ALONE.lock().await;
    let Some(fauxqs) = Fauxqs::start().await else { return };
    let queue = open(&stand_in::config(&fauxqs.endpoint()), "tens").await;
    let before = calls();
    let sends = (0..100).map(|i| {
        let queue = Arc::clone(&queue);
        tokio::spawn(async move { queue.send(vec![task(&i.to_string())]).await.unwrap() })
    });
    for send in sends.collect::<Vec<_>>() {
        send.await.unwrap();
    }
    let mut got = 0;
    let mut acks = Vec::new();
    while got < 100 {
        let deliveries = queue.receive(receive(10, Duration::from_secs(5))).await.unwrap();
        got += deliveries.len();
        let queue = Arc::clone(&queue);
        acks.push(tokio::spawn(async move {
            let acks =
                deliveries.into_iter().map(async |delivery| queue.ack(&[delivery.lease]).await.unwrap());
            futures::future::join_all(acks).await;
        }));
    }
    for ack in acks {
        ack.await.unwrap();
    }
    let made = |operation: &str| calls_of(operation) - before.get(operation).copied().unwrap_or(0);
    assert!(made("SendMessageBatch") <= 20, "{}", made("SendMessageBatch"));
    assert!(made("ReceiveMessage") <= 20, "{}", made("ReceiveMessage"));
    assert!(made("DeleteMessageBatch") <= 20, "{}", made("DeleteMessageBatch"));
    assert_eq!(queue.counts().await.unwrap().visible, 0);
}

fn calls() -> std::collections::HashMap<String, u64> {
    platform::cloud_calls().into_iter().map(|calls| (calls.operation, calls.count)).collect()
}

fn calls_of(operation: &str) -> u64 {
    calls().get(operation).copied().unwrap_or(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_receiver_asks_once_in_twenty_seconds() {
    let _alone = ALONE.lock().await;
    let Some(fauxqs) = Fauxqs::start().await else { return };
    let queue = open(&stand_in::config(&fauxqs.endpoint()), "idle").await;
    let before = calls();
    let begun = std::time::Instant::now();
    assert!(queue.receive(receive(10, Duration::from_secs(20))).await.unwrap().is_empty());
    // Both polls have ended then, and are counted.
    queue.stop_receiving().await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(25));
    let after = calls();
    let made = after
        .iter()
        .map(|(operation, count)| (operation.as_str(), count - before.get(operation).unwrap_or(&0)));
    let made = made.filter(|(_, count)| *count > 0).collect::<Vec<_>>();
    assert_eq!(made, [("ReceiveMessage", 2)], "one for each priority");
}
