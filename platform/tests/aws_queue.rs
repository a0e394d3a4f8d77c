//! The queue on SQS, as fauxqs and moto keep it.
#![cfg(feature = "aws")]
#![allow(clippy::unwrap_used)]

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use aws_config::SdkConfig;
use bytes::Bytes;
use platform::{
    Kind,
    aws::stand_in::{self, Fauxqs, Moto},
    queue::{self, Mailbox, Queue, Receive, SqsQueue, Task, contract::Order},
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

#[tokio::test(flavor = "multi_thread")]
async fn sqs_keeps_the_contract_as_fauxqs_has_it() {
    let Some(fauxqs) = Fauxqs::start().await else { return };
    let queue = open(&stand_in::config(&fauxqs.endpoint()), "contract").await;
    queue::contract::check_with(queue, Order::Loose).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sqs_keeps_the_contract_as_moto_has_it() {
    let Some(moto) = Moto::start().await else { return };
    let queue = open(&stand_in::config(&moto.endpoint()), "contract").await;
    queue::contract::check_with(queue, Order::Loose).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn start_is_refused_with_one_sentence_that_says_what_to_do() {
    let Some(moto) = Moto::start().await else { return };
    let config = stand_in::config(&moto.endpoint());
    let check = async |url: &str, parts: &[&str]| {
        let refused = SqsQueue::open_for_sender(&config, url).await.err().unwrap();
        assert_eq!(refused.kind(), Kind::Config);
        for part in parts {
            assert!(refused.message().contains(part), "{}", refused.message());
        }
    };
    check(
        "sqs://us-east-1/none",
        &["queue sqs://us-east-1/none does not exist", "sqs:GetQueueUrl", "create it"],
    )
    .await;
    let client = aws_sdk_sqs::Client::new(&config);
    client.create_queue().queue_name("half").send().await.unwrap();
    check("sqs://us-east-1/half", &["sqs://us-east-1/half-batch does not exist"]).await;
    client.create_queue().queue_name("half-batch").send().await.unwrap();
    check("sqs://us-east-1/half", &["sqs://us-east-1/half has no redrive policy", "maxReceiveCount 3"]).await;
    let receiver = SqsQueue::open_for_receiver(&config, "sqs://us-east-1/none").await.err().unwrap();
    assert!(receiver.message().contains("does not exist"), "{}", receiver.message());
    SqsQueue::open_for_receiver(&config, "sqs://us-east-1/half").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn mailbox_is_made_used_and_removed_and_orphans_go_by_age() {
    let Some(moto) = Moto::start().await else { return };
    let config = stand_in::config(&moto.endpoint());
    let url = "sqs://us-east-1/dunlin";
    let mine = Mailbox::create(&config, url, "g1").await.unwrap();
    assert_eq!(mine.url(), "sqs://us-east-1/dunlin-reply-g1");
    let theirs = Mailbox::open(&config, mine.url()).await.unwrap();
    theirs.send(Bytes::from_static(b"\0answer\xff")).await.unwrap();
    let letters = mine.receive(Duration::from_secs(5), Duration::from_secs(30)).await.unwrap();
    assert_eq!(letters[0].content, &b"\0answer\xff"[..]);
    mine.delete(vec![letters[0].handle.clone()]).await.unwrap();
    mine.delete(vec![letters[0].handle.clone()]).await.unwrap();
    let orphan = Mailbox::create(&config, url, "g0").await.unwrap();
    tokio::time::sleep(Duration::from_millis(2100)).await;
    mine.touch().await.unwrap();
    assert_eq!(mine.remove_orphans(url, Duration::from_secs(1)).await.unwrap(), 1);
    assert!(orphan.send(Bytes::from_static(b"x")).await.is_err(), "it is gone");
    mine.remove().await.unwrap();
    assert!(Mailbox::open(&config, "sqs://us-east-1/dunlin-reply-g1").await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn message_that_nobody_takes_is_given_back_for_another_worker() {
    let Some(fauxqs) = Fauxqs::start().await else { return };
    let config = stand_in::config(&fauxqs.endpoint());
    let sender = open(&config, "kept").await;
    let worker = async || SqsQueue::open_for_receiver(&config, "sqs://us-east-1/kept").await.unwrap();
    let (gone, other) = (worker().await, worker().await);
    let lease = Duration::from_secs(6);
    let wait = Duration::from_secs(3);
    // Dropped, but its poll goes on and gets the task.
    let dropped = gone.receive(Receive { lease, ..receive(1, wait) });
    assert!(tokio::time::timeout(Duration::from_millis(50), dropped).await.is_err());
    sender.send(vec![task("kept")]).await.unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    let begun = std::time::Instant::now();
    let got = other.receive(Receive { lease, ..receive(1, Duration::from_secs(10)) }).await.unwrap();
    assert_eq!((got.len(), got[0].attempt), (1, 2));
    assert!(begun.elapsed() < lease / 2, "{:?}", begun.elapsed());
    other.ack(&[got[0].lease.clone()]).await.unwrap();
    // In time, the one that polled hands it over itself.
    let dropped = gone.receive(Receive { lease, ..receive(1, wait) });
    assert!(tokio::time::timeout(Duration::from_millis(50), dropped).await.is_err());
    sender.send(vec![task("taken")]).await.unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    let got = gone.receive(Receive { lease, ..receive(1, Duration::ZERO) }).await.unwrap();
    assert_eq!((got[0].task.task_id.as_str(), got[0].attempt), ("taken", 1));
    gone.ack(&[got[0].lease.clone()]).await.unwrap();
    // A look does not wait for a long poll that is under way.
    let dropped = gone.receive(Receive { lease, ..receive(1, Duration::from_secs(20)) });
    assert!(tokio::time::timeout(Duration::from_millis(50), dropped).await.is_err());
    let look = gone.receive(receive(1, Duration::ZERO));
    assert!(tokio::time::timeout(Duration::from_secs(5), look).await.unwrap().unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn message_that_is_no_task_becomes_a_dead_letter_and_blocks_nothing() {
    let Some(fauxqs) = Fauxqs::start().await else { return };
    let config = stand_in::config(&fauxqs.endpoint());
    let queue = open(&config, "alien").await;
    let client = aws_sdk_sqs::Client::new(&config);
    let url = client.get_queue_url().queue_name("alien").send().await.unwrap().queue_url.unwrap();
    client.send_message().queue_url(url).message_body("not ours").send().await.unwrap();
    queue.send(vec![task("ours")]).await.unwrap();
    let short = Receive { lease: Duration::from_secs(1), ..receive(1, Duration::from_secs(2)) };
    let until = tokio::time::Instant::now() + Duration::from_secs(8);
    let mut got = Vec::new();
    while tokio::time::Instant::now() < until {
        for delivery in queue.receive(short).await.unwrap() {
            queue.ack(&[delivery.lease]).await.unwrap();
            got.push(delivery.task.task_id);
        }
    }
    assert_eq!(got, ["ours"]);
    assert_eq!(queue.counts().await.unwrap().visible, 0, "with the dead letters");
    assert_eq!(queue.dead_letters().unwrap().counts().await.unwrap().visible, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn large_texts_and_tasks_never_make_a_call_too_large() {
    let Some(fauxqs) = Fauxqs::start().await else { return };
    let config = stand_in::config(&fauxqs.endpoint());
    let queue = open(&config, "large").await;
    let results = Arc::new(Mailbox::open(&config, "sqs://us-east-1/large-dead").await.unwrap());
    let texts = (0..20).map(|_| {
        let results = Arc::clone(&results);
        tokio::spawn(async move { results.send_text("x".repeat(250_000)).await.unwrap() })
    });
    for text in texts.collect::<Vec<_>>() {
        text.await.unwrap();
    }
    // fauxqs counts a third more for a binary attribute: ten of these are too long for it together, and go alone.
    let tasks = (0..10).map(|i| Task { task_id: i.to_string(), input: content(100_000), ..Task::default() });
    queue.send(tasks.collect()).await.unwrap();
    assert_eq!(queue.counts().await.unwrap().visible, 10);
}

fn content(bytes: usize) -> Option<proto::internal::v1::task::Input> {
    Some(proto::internal::v1::task::Input::Content(vec![7; bytes].into()))
}

#[tokio::test(flavor = "multi_thread")]
async fn largest_task_that_is_let_through_is_taken() {
    let Some(moto) = Moto::start().await else { return };
    let queue = open(&stand_in::config(&moto.endpoint()), "largest").await;
    let max = queue.task_bytes_max().unwrap();
    // The largest that is let through, and one more byte.
    let id = "0".repeat(26);
    let traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned();
    let largest = |bytes| Task {
        task_id: id.clone(),
        traceparent: traceparent.clone(),
        input: content(bytes),
        ..Task::default()
    };
    let beside = prost::Message::encoded_len(&largest(max)) - max;
    queue.send(vec![largest(max - beside), largest(max - beside)]).await.unwrap();
    assert!(queue.send(vec![largest(max - beside + 1)]).await.is_err());
}
