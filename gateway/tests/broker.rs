//! The queue's contract through the gateway's broker, on the real wire.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

mod support;

// On the real clock: the stream's two ends are on real sockets.
#[tokio::test]
async fn broker_queue_keeps_the_contract() {
    let system = support::start(&[]).await;
    platform::queue::contract::check(system.queue()).await;
    system.stop().await;
}

#[tokio::test]
async fn broken_stream_gives_back_what_it_held_at_once() {
    let system = support::start(&[]).await;
    let mut client = system.client().await;
    let caller = tokio::spawn(async move {
        client
            .classify(proto::v1::ClassifyRequest {
                image: Some(support::image("cat.jpg", support::JPEG)),
                ..Default::default()
            })
            .await
    });
    let first = system.worker().await;
    let held = first.receive(4).await;
    assert_eq!(held[0].attempt, 1);
    drop(first);
    let mut second = system.worker().await;
    let again = tokio::time::timeout(Duration::from_secs(5), second.receive(4)).await.unwrap();
    assert_eq!(again[0].attempt, 2, "within its lease of 30 s");
    second.answer(&again[0]).await;
    let result = caller.await.unwrap().unwrap().into_inner().result.unwrap();
    assert_eq!(result.classifications[0].label, "cat");
    assert_eq!(result.execution.unwrap().attempt, 2);
    system.stop().await;
}
