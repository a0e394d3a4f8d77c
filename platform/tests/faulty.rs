//! The drivers that fail on purpose: what stays true of the memory queue and the file store behind them.
#![allow(clippy::unwrap_used)]

use std::{
    collections::{HashMap, HashSet},
    num::NonZeroU32,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use platform::{
    Kind,
    faults::Fault,
    queue::{
        self, MemoryLimits, MemoryQueue, Queue as _, Receive, Task,
        faulty::{FaultyQueue, QueueCall},
    },
    store::{
        self, FileStore, Store as _,
        faulty::{FaultyStore, StoreCall},
    },
};
use tokio::time::{Instant, timeout};

const LEASE: Duration = Duration::from_secs(30);

fn task(id: usize) -> Task {
    Task { task_id: id.to_string(), ..Task::default() }
}

fn receive(wait: Duration) -> Receive {
    Receive { max: NonZeroU32::new(4).unwrap(), wait, lease: LEASE }
}

fn memory() -> Arc<FaultyQueue> {
    FaultyQueue::new(MemoryQueue::new(MemoryLimits::default()))
}

#[tokio::test(start_paused = true)]
async fn without_a_fault_the_contracts_are_kept() {
    queue::contract::check(memory()).await;
    let folder = tempfile::tempdir().unwrap();
    store::contract::check(FaultyStore::new(Arc::new(FileStore::open(folder.path()).unwrap()))).await;
}

#[tokio::test(start_paused = true)]
async fn call_fails_before_or_after_its_effect_or_hangs() {
    let queue = memory();
    queue.fail(QueueCall::Send, 2, Fault::Before);
    queue.send(vec![task(1)]).await.unwrap();
    let error = queue.send(vec![task(2)]).await.unwrap_err();
    assert_eq!((error.kind(), error.retry_after()), (Kind::QueueUnavailable, Some(Duration::from_secs(1))));
    queue.send(vec![task(3)]).await.unwrap();
    assert_eq!(queue.counts().await.unwrap().visible, 2, "the second was not sent");
    queue.heal();
    queue.fail(QueueCall::Send, 1, Fault::After);
    queue.send(vec![task(4)]).await.unwrap_err();
    assert_eq!(queue.counts().await.unwrap().visible, 3, "sent, although it failed");
    assert_eq!(queue.injected(), 2);
    queue.heal();
    queue.fail(QueueCall::Counts, 1, Fault::Hang);
    assert!(timeout(Duration::from_secs(3600), queue.counts()).await.is_err());
    let hanging = {
        let queue = Arc::clone(&queue);
        tokio::spawn(async move { queue.counts().await })
    };
    tokio::time::sleep(Duration::from_secs(1)).await;
    queue.heal();
    assert_eq!(hanging.await.unwrap().unwrap_err().kind(), Kind::QueueUnavailable);
    queue.counts().await.unwrap();
}

/// Three workers that settle as well as they can, on a queue whose every call fails now and then.
#[tokio::test(start_paused = true)]
async fn no_task_is_lost_and_none_is_with_two_workers() {
    const TASKS: usize = 500;
    let queue = memory();
    let begun = Instant::now();
    for id in 0..TASKS {
        queue.send(vec![task(id)]).await.unwrap();
    }
    for (call, every) in
        [(QueueCall::Receive, 7), (QueueCall::Ack, 5), (QueueCall::Extend, 3), (QueueCall::Release, 4)]
    {
        queue.fail(call, every, Fault::After);
        queue.fail(call, every + 6, Fault::Before);
    }
    let acked = Arc::new(std::sync::Mutex::new(HashSet::new()));
    // By task: until when its last lease is in force, if it was not settled.
    let held = Arc::new(std::sync::Mutex::new(HashMap::<String, Instant>::new()));
    let workers = (0..3_u32).map(|number| {
        let (queue, acked, held) = (Arc::clone(&queue), Arc::clone(&acked), Arc::clone(&held));
        tokio::spawn(async move {
            let mut turn = number;
            while begun.elapsed() < Duration::from_secs(1800) {
                let Ok(deliveries) = queue.receive(receive(Duration::from_secs(20))).await else { continue };
                let now = Instant::now();
                for delivery in &deliveries {
                    let end = held.lock().unwrap().insert(delivery.task.task_id.clone(), now + LEASE);
                    assert!(end.is_none_or(|end| end <= now), "{} is leased twice", delivery.task.task_id);
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
                for delivery in deliveries {
                    turn += 1;
                    let (id, lease) = (delivery.task.task_id, [delivery.lease]);
                    // Both fail at times, with their effect or without.
                    let _ = queue.extend(&lease, LEASE).await;
                    held.lock().unwrap().insert(id.clone(), Instant::now() + LEASE);
                    if turn.is_multiple_of(10) && delivery.attempt == 1 {
                        held.lock().unwrap().remove(&id);
                        let _ = queue.release(&lease).await;
                    } else if queue.ack(&lease).await.is_ok() {
                        held.lock().unwrap().remove(&id);
                        assert!(acked.lock().unwrap().insert(id), "acked twice");
                    } else {
                        // Tried again at once, as a worker does; a repeated ack does nothing.
                        while queue.ack(&lease).await.is_err() {}
                        held.lock().unwrap().remove(&id);
                        assert!(acked.lock().unwrap().insert(id), "acked twice");
                    }
                }
            }
        })
    });
    for worker in workers.collect::<Vec<_>>() {
        worker.await.unwrap();
    }
    assert!(queue.injected() > 100, "{}", queue.injected());
    queue.heal();
    let counts = queue.counts().await.unwrap();
    assert_eq!((counts.visible, counts.leased), (0, 0));
    let dead = queue.dead_letters().unwrap();
    let dead = dead.receive(Receive { max: NonZeroU32::MAX, ..receive(LEASE) }).await;
    let dead = dead.unwrap().into_iter().map(|delivery| delivery.task.task_id);
    let mut ended = acked.lock().unwrap().clone();
    for id in dead {
        assert!(ended.insert(id), "both acked and dead");
    }
    assert_eq!(ended.len(), TASKS);
}

#[tokio::test]
async fn store_fails_before_or_after_its_effect() {
    let folder = tempfile::tempdir().unwrap();
    let store = FaultyStore::new(Arc::new(FileStore::open(folder.path()).unwrap()));
    store.fail(StoreCall::Create, 1, Fault::After);
    store.fail(StoreCall::Put, 1, Fault::Before);
    assert_eq!(store.create("a", Bytes::new()).await.unwrap_err().kind(), Kind::ServiceUnavailable);
    assert_eq!(store.create("a", Bytes::new()).await.unwrap_err().kind(), Kind::AlreadyExists, "it is there");
    assert_eq!(store.put("b", Bytes::new()).await.unwrap_err().kind(), Kind::ServiceUnavailable);
    assert_eq!(store.get("b").await.unwrap_err().kind(), Kind::ObjectNotFound, "nothing was written");
    store.fail(StoreCall::Get, 2, Fault::Before);
    store.get_range("a", 0..0).await.unwrap();
    assert_eq!(store.get("a").await.unwrap_err().kind(), Kind::ServiceUnavailable);
}
