//! A worker whose queue and store fail now and then: every image is answered once, and none is left behind.

use std::{collections::HashMap, num::NonZeroU32};

use platform::{
    faults::Fault,
    queue::{
        Receive,
        faulty::{FaultyQueue, QueueCall},
    },
    store::{
        FileStore, Store,
        faulty::{FaultyStore, StoreCall},
    },
};

use super::{gateway::Gateway, *};

const TASKS: usize = 60;

#[tokio::test(flavor = "multi_thread")]
async fn queue_that_fails_now_and_then_loses_no_image_and_answers_none_twice() {
    let (inner, gateway) = (queue(), Gateway::start().await);
    let faulty = FaultyQueue::new(inner.clone());
    faulty.fail(QueueCall::Receive, 5, Fault::Before);
    faulty.fail(QueueCall::Ack, 3, Fault::After);
    faulty.fail(QueueCall::Extend, 2, Fault::Before);
    faulty.fail(QueueCall::Release, 2, Fault::After);
    let tasks = (0..TASKS).map(|i| task(&format!("task-{i}"), &gateway.url())).collect::<Vec<_>>();
    inner.send(tasks).await.unwrap();
    let worker =
        Running::start(Options { lease: Duration::from_secs(2), ..options("stub:20ms") }, faulty.clone())
            .await;
    eventually("all are acked", async || is_empty(&inner).await).await;
    worker.stop().await;
    let mut answers = HashMap::new();
    for (task_id, _) in gateway.results() {
        *answers.entry(task_id).or_insert(0) += 1;
    }
    assert_eq!(answers.len(), TASKS);
    assert!(answers.values().all(|count| *count == 1), "{answers:?}");
    assert!(faulty.injected() > 3, "it did fail");
    assert_eq!(inner.dead_letters().unwrap().counts().await.unwrap().visible, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn store_that_fails_now_and_then_keeps_every_result_in_the_end() {
    let (queue, gateway) = (queue(), Gateway::start().await);
    let folder = tempfile::tempdir().unwrap();
    let inner: Arc<dyn Store> = Arc::new(FileStore::open(folder.path()).unwrap());
    let faulty = FaultyStore::new(Arc::clone(&inner));
    faulty.fail(StoreCall::Get, 4, Fault::Before);
    faulty.fail(StoreCall::Put, 4, Fault::After);
    let mut tasks = Vec::new();
    for i in 0..20 {
        inner.put(&format!("images/{i}"), "an image".into()).await.unwrap();
        tasks.push(Task {
            input: Some(Input::StoreKey(format!("images/{i}"))),
            result_key: format!("results/{i}"),
            ..task(&format!("task-{i}"), &gateway.url())
        });
    }
    queue.send(tasks).await.unwrap();
    let worker = Worker::with(options("stub:0"), queue.clone(), Some(faulty.clone())).await.unwrap();
    let running = Running::of(worker);
    eventually("all are acked", async || is_empty(&queue).await).await;
    running.stop().await;
    let stored = inner.list("results/", "", 100).await.unwrap();
    // Each get that fails is an attempt; a task whose three attempts all met one is a dead letter, and its caller knows.
    let dead = queue.dead_letters().unwrap();
    let receive =
        Receive { max: NonZeroU32::new(20).unwrap(), lease: Duration::from_secs(60), wait: Duration::ZERO };
    let dead = dead.receive(receive).await.unwrap();
    let dead: Vec<_> = dead.into_iter().map(|delivery| delivery.task.result_key).collect();
    let all = (0..20).map(|i| format!("results/{i}"));
    let lost: Vec<_> = all.filter(|key| !stored.contains(key) && !dead.contains(key)).collect();
    assert!(lost.is_empty() && stored.len() >= 17, "{lost:?}; stored {stored:?}, dead {dead:?}");
    assert!(faulty.injected() > 3, "it did fail");
}
