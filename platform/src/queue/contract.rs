//! What every kind of queue must do, as one test that each kind runs. `SKIP`-free on purpose: a kind
//! that can't do a thing is not a queue. Order alone is a kind's own matter.

use std::{collections::HashSet, num::NonZeroU32, sync::Arc, time::Duration};

use proto::v1::Priority;

use super::{ATTEMPTS_MAX, Delivery, Lease, Queue, Receive, Task};

/// Leases in the contract: short, so that a real clock can run it, and long against a round trip.
const LEASE: Duration = Duration::from_millis(1500);
const AT_ONCE: Duration = Duration::from_millis(250);

/// What a kind of queue promises about tasks of the same priority.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Oldest first.
    Kept,
    /// Any, as in a standard queue of SQS.
    Loose,
}

/// Runs the whole contract on an empty queue that nobody else uses, and leaves it empty.
///
/// # Panics
/// Where the queue breaks the contract.
pub async fn check(queue: Arc<dyn Queue>) {
    check_with(queue, Order::Kept).await;
}

/// The same for a kind that may be loose about the order, and about nothing else.
///
/// # Panics
/// Where the queue breaks the contract.
#[allow(clippy::unwrap_used)]
pub async fn check_with(queue: Arc<dyn Queue>, order: Order) {
    empty_calls_do_nothing(&queue).await;
    tasks_come_in_order_and_acked_ones_never_come_back(&queue, order).await;
    receive_wakes_at_the_send(&queue).await;
    ended_lease_brings_the_task_back(&queue).await;
    extended_lease_keeps_the_task(&queue).await;
    released_task_is_back_at_once(&queue, order).await;
    interactive_comes_before_batch(&queue, order).await;
    batch_is_not_starved(&queue).await;
    dropped_receive_loses_nothing(&queue).await;
    many_receivers_get_each_task_once(&queue).await;
    task_is_dead_lettered_after_the_last_attempt(&queue).await;
    let counts = queue.counts().await.unwrap();
    assert_eq!((counts.visible, counts.leased), (0, 0), "the queue is empty again");
}

fn task(id: &str) -> Task {
    let content = format!("image of {id}").into_bytes().into();
    Task {
        task_id: id.to_owned(),
        custom_id: "ünïcode/../name".to_owned(),
        input: Some(proto::internal::v1::task::Input::Content(content)),
        ..Task::default()
    }
}

async fn receive(queue: &Arc<dyn Queue>, max: u32, wait: Duration) -> Vec<Delivery> {
    let max = NonZeroU32::new(max).expect("not 0");
    queue.receive(Receive { max, wait, lease: LEASE }).await.expect("receive")
}

fn ids(deliveries: &[Delivery]) -> Vec<&str> {
    deliveries.iter().map(|delivery| delivery.task.task_id.as_str()).collect()
}

impl Order {
    /// The ids as they came, or sorted where their order means nothing.
    fn of(self, mut ids: Vec<&str>) -> Vec<&str> {
        if self == Self::Loose {
            ids.sort_unstable();
        }
        ids
    }
}

fn leases(deliveries: &[Delivery]) -> Vec<Lease> {
    deliveries.iter().map(|delivery| delivery.lease.clone()).collect()
}

async fn send(queue: &Arc<dyn Queue>, names: &[&str]) {
    queue.send(names.iter().map(|name| task(name)).collect()).await.expect("send");
}

async fn ack(queue: &Arc<dyn Queue>, deliveries: &[Delivery]) {
    queue.ack(&leases(deliveries)).await.expect("ack");
}

async fn empty_calls_do_nothing(queue: &Arc<dyn Queue>) {
    queue.send(Vec::new()).await.expect("send nothing");
    queue.ack(&[]).await.expect("ack nothing");
    queue.release(&[]).await.expect("release nothing");
    assert_eq!(queue.extend(&[], LEASE).await.expect("extend nothing"), []);
    assert!(receive(queue, 1, Duration::ZERO).await.is_empty());
}

async fn tasks_come_in_order_and_acked_ones_never_come_back(queue: &Arc<dyn Queue>, order: Order) {
    send(queue, &["a", "b", "c"]).await;
    let mut got = receive(queue, 2, AT_ONCE).await;
    while got.len() < 2 {
        got.extend(receive(queue, 1, AT_ONCE).await);
    }
    assert_eq!(got[0].task, task(ids(&got)[0]), "a task arrives as it was sent");
    assert_eq!(got[0].attempt, 1);
    ack(queue, &got).await;
    let rest = receive(queue, 10, AT_ONCE).await;
    assert_eq!(order.of([ids(&got), ids(&rest)].concat()), ["a", "b", "c"]);
    ack(queue, &rest).await;
    // Repeated, and after the end: no error, no effect.
    ack(queue, &rest).await;
    queue.release(&leases(&got)).await.expect("release what was acked");
    assert_eq!(queue.extend(&leases(&got), LEASE).await.expect("extend").len(), 2, "acked leases are lost");
    assert!(receive(queue, 10, LEASE + AT_ONCE).await.is_empty());
}

async fn receive_wakes_at_the_send(queue: &Arc<dyn Queue>) {
    let waiting = {
        let queue = Arc::clone(queue);
        tokio::spawn(async move { receive(&queue, 1, Duration::from_secs(10)).await })
    };
    tokio::time::sleep(Duration::from_millis(100)).await;
    send(queue, &["wake"]).await;
    let got = tokio::time::timeout(Duration::from_secs(2), waiting).await.expect("woken").expect("no panic");
    assert_eq!(ids(&got), ["wake"]);
    ack(queue, &got).await;
}

async fn ended_lease_brings_the_task_back(queue: &Arc<dyn Queue>) {
    send(queue, &["slow"]).await;
    let first = receive(queue, 1, AT_ONCE).await;
    assert!(receive(queue, 1, AT_ONCE).await.is_empty(), "leased to one at a time");
    let second = receive(queue, 1, LEASE * 2).await;
    assert_eq!(ids(&second), ["slow"]);
    assert_eq!(second[0].attempt, 2);
    assert_eq!(
        queue.extend(&leases(&first), LEASE).await.expect("extend"),
        leases(&first),
        "the old lease is lost"
    );
    queue.ack(&leases(&first)).await.expect("ack an ended lease");
    assert_eq!(queue.extend(&leases(&second), LEASE).await.expect("extend"), [], "the new one is not");
    ack(queue, &second).await;
}

async fn extended_lease_keeps_the_task(queue: &Arc<dyn Queue>) {
    send(queue, &["long"]).await;
    let held = receive(queue, 1, AT_ONCE).await;
    for _ in 0..3 {
        tokio::time::sleep(LEASE * 2 / 3).await;
        assert_eq!(queue.extend(&leases(&held), LEASE).await.expect("extend"), []);
    }
    assert!(receive(queue, 1, AT_ONCE).await.is_empty());
    ack(queue, &held).await;
}

async fn released_task_is_back_at_once(queue: &Arc<dyn Queue>, order: Order) {
    send(queue, &["x", "y"]).await;
    let mut held = receive(queue, 2, AT_ONCE).await;
    while held.len() < 2 {
        held.extend(receive(queue, 1, AT_ONCE).await);
    }
    queue.release(&leases(&held)).await.expect("release");
    let mut again = receive(queue, 2, AT_ONCE).await;
    while again.len() < 2 {
        again.extend(receive(queue, 1, AT_ONCE).await);
    }
    assert_eq!(order.of(ids(&again)), ["x", "y"], "in the order they had");
    assert!(again.iter().all(|delivery| delivery.attempt == 2));
    queue.stop_receiving().await.expect("stop receiving");
    assert_eq!(
        queue.extend(&leases(&again), LEASE).await.expect("extend"),
        [],
        "what was received stays held"
    );
    ack(queue, &again).await;
}

async fn interactive_comes_before_batch(queue: &Arc<dyn Queue>, order: Order) {
    // Nothing is on its way to us from before.
    queue.stop_receiving().await.expect("stop receiving");
    let with = |id: &str, priority: Priority| Task { priority: priority.into(), ..task(id) };
    let tasks = vec![with("batch", Priority::Batch), with("now", Priority::Interactive), task("unspecified")];
    queue.send(tasks).await.expect("send");
    let mut came = Vec::new();
    for _ in 0..3 {
        let got = receive(queue, 1, AT_ONCE).await;
        came.extend(ids(&got).into_iter().map(str::to_owned));
        ack(queue, &got).await;
    }
    let batch = came.pop();
    assert_eq!(order.of(came.iter().map(String::as_str).collect()), ["now", "unspecified"]);
    assert_eq!(batch.as_deref(), Some("batch"), "last in any order");
}

/// While there is always an interactive task to take.
async fn batch_is_not_starved(queue: &Arc<dyn Queue>) {
    const TAKEN: usize = 32;
    queue.stop_receiving().await.expect("stop receiving");
    let with = |id: String, priority: Priority| Task { priority: priority.into(), ..task(&id) };
    let interactive = |i: usize| with(format!("interactive-{i}"), Priority::Interactive);
    let batch = (0..TAKEN).map(|i| with(format!("batch-{i}"), Priority::Batch));
    queue.send((0..10).map(interactive).chain(batch).collect()).await.expect("send");
    let mut came = Vec::new();
    while came.len() < TAKEN {
        let got = receive(queue, 1, AT_ONCE).await;
        for delivery in &got {
            came.push(delivery.task.priority());
            queue.send(vec![interactive(10 + came.len())]).await.expect("send");
        }
        ack(queue, &got).await;
    }
    let batch = came.iter().filter(|priority| **priority == Priority::Batch).count();
    // One in eight; a kind that has to look for batch may be one turn behind, or ahead.
    assert!((TAKEN / 8 - 1..=TAKEN / 8 + 1).contains(&batch), "{batch} of {TAKEN} are batch");
    loop {
        let rest = receive(queue, 10, AT_ONCE).await;
        if rest.is_empty() {
            return;
        }
        ack(queue, &rest).await;
    }
}

async fn dropped_receive_loses_nothing(queue: &Arc<dyn Queue>) {
    for i in 0..5 {
        let dropped = tokio::time::timeout(Duration::from_millis(20 * i), receive(queue, 1, LEASE));
        drop(dropped.await);
    }
    send(queue, &["kept"]).await;
    // At worst the one that was dropped had it: then its lease has to end first.
    let got = receive(queue, 1, LEASE * 2).await;
    assert_eq!(ids(&got), ["kept"]);
    ack(queue, &got).await;
}

async fn many_receivers_get_each_task_once(queue: &Arc<dyn Queue>) {
    const TASKS: usize = 200;
    const RECEIVERS: usize = 8;
    let receivers = (0..RECEIVERS).map(|_| {
        let queue = Arc::clone(queue);
        tokio::spawn(async move {
            let mut got = Vec::new();
            loop {
                let some = receive(&queue, 3, AT_ONCE).await;
                if some.is_empty() {
                    return got;
                }
                ack(&queue, &some).await;
                got.extend(some.into_iter().map(|delivery| delivery.task.task_id));
            }
        })
    });
    let receivers = receivers.collect::<Vec<_>>();
    for i in 0..TASKS {
        send(queue, &[&format!("many-{i}")]).await;
    }
    let mut all = Vec::new();
    for receiver in receivers {
        all.extend(receiver.await.expect("no panic"));
    }
    assert_eq!(all.len(), TASKS);
    assert_eq!(all.into_iter().collect::<HashSet<_>>().len(), TASKS);
}

async fn task_is_dead_lettered_after_the_last_attempt(queue: &Arc<dyn Queue>) {
    send(queue, &["poison"]).await;
    for attempt in 1..=ATTEMPTS_MAX {
        let got = receive(queue, 1, AT_ONCE).await;
        assert_eq!(got.first().map(|delivery| delivery.attempt), Some(attempt));
        queue.release(&leases(&got)).await.expect("release");
    }
    assert!(receive(queue, 1, AT_ONCE).await.is_empty(), "there is no attempt after the last");
    if let Some(dead) = queue.dead_letters() {
        let got = receive(&dead, 1, AT_ONCE).await;
        assert_eq!(ids(&got), ["poison"]);
        assert_eq!(got[0].task, task("poison"));
        ack(&dead, &got).await;
        assert!(receive(&dead, 1, AT_ONCE).await.is_empty());
    }
}
