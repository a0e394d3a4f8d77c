//! Who waits, who is answered, and what is counted of it.

use super::*;

fn registration(task_id: &str, index: u32) -> Registration {
    Registration { task_id: task_id.to_owned(), index, priority: Priority::Interactive }
}

fn holder(worker_id: &str) -> Holder {
    Holder::new(worker_id.to_owned(), &mpsc::channel(1).0)
}

#[tokio::test(start_paused = true)]
async fn each_image_is_answered_once() {
    let pending = Pending::new(10, Duration::from_secs(1));
    let (events, mut receiver) = mpsc::channel(2);
    pending.register(&[registration("a", 7)], &events, true).unwrap();
    assert!(pending.started("a", &holder("w1")));
    assert!(pending.started("a", &holder("w2")), "a second start is allowed and told to nobody");
    tokio::time::advance(Duration::from_secs(2)).await;
    assert!(pending.finish("a", ImageResult::default()));
    assert!(!pending.finish("a", ImageResult::default()), "a second answer has nobody");
    assert!(!pending.started("a", &holder("w3")));
    assert!(
        matches!(receiver.recv().await, Some(Event::Started { index: 7, worker_id }) if worker_id == "w1")
    );
    assert!(matches!(receiver.recv().await, Some(Event::Finished(result)) if result.index == 7));
    assert!(receiver.try_recv().is_err());
    let totals = pending.totals();
    assert_eq!((totals.enqueued, totals.completed, totals.late, totals.waiting), (1, 1, 1, 0));
    assert_eq!(pending.latencies(), [(latency::bucket(Duration::from_secs(2)), 1)]);
}

#[tokio::test(start_paused = true)]
async fn image_that_was_given_up_after_the_target_is_late_and_was_not_answered() {
    let pending = Pending::new(10, Duration::from_secs(1));
    let (events, _receiver) = mpsc::channel(3);
    let three = ["a", "b", "c"].map(|task_id| registration(task_id, 0));
    pending.register(&three, &events, false).unwrap();
    assert_eq!(pending.forget("a"), Some(false));
    tokio::time::advance(Duration::from_secs(2)).await;
    assert_eq!(pending.forget("b"), Some(false));
    assert!(pending.forget_unstarted("c"));
    let totals = pending.totals();
    assert_eq!((totals.completed, totals.late, pending.latencies().len()), (3, 2, 0));
}

#[tokio::test(start_paused = true)]
async fn late_is_what_the_autoscaler_says() {
    let pending = Pending::new(10, Duration::from_secs(1));
    pending.set_latency_target(Duration::from_secs(3));
    let (events, _receiver) = mpsc::channel(2);
    pending.register(&[registration("a", 0), registration("b", 1)], &events, false).unwrap();
    tokio::time::advance(Duration::from_secs(2)).await;
    pending.finish("a", ImageResult::default());
    assert_eq!(pending.totals().late, 0);
    tokio::time::advance(Duration::from_secs(2)).await;
    pending.finish("b", ImageResult::default());
    assert_eq!(pending.totals().late, 1);
}

#[tokio::test]
async fn over_the_limit_all_or_none_are_taken() {
    let pending = Pending::new(2, Duration::from_secs(1));
    let (events, _receiver) = mpsc::channel(4);
    pending.register(&[registration("a", 0)], &events, false).unwrap();
    let error = pending.register(&[registration("b", 0), registration("c", 1)], &events, false).unwrap_err();
    assert_eq!(error.kind(), Kind::QueueFull);
    assert!(error.retry_after().is_some());
    assert_eq!(pending.totals().waiting, 1);
    assert_eq!(pending.forget("a"), Some(false));
    pending.register(&[registration("b", 0), registration("c", 1)], &events, false).unwrap();
}

#[tokio::test(start_paused = true)]
async fn worker_that_started_last_is_told_when_nobody_waits_any_more() {
    use proto::internal::v1::reply_session_response::Event as Told;
    let pending = Pending::new(10, Duration::from_secs(1));
    let (events, _receiver) = mpsc::channel(9);
    let three = ["a", "b", "c"].map(|task_id| registration(task_id, 0));
    pending.register(&three, &events, true).unwrap();
    let ((to_first, mut said_to_first), (to_second, mut said_to_second)) =
        (mpsc::channel(4), mpsc::channel(4));
    let (first, second) = (Holder::new("w1".to_owned(), &to_first), Holder::new("w2".to_owned(), &to_second));
    for (task_id, holder) in [("a", &first), ("a", &second), ("b", &first)] {
        assert!(pending.started(task_id, holder));
    }
    assert_eq!(pending.totals().started, 2);
    assert_eq!(pending.forget("a"), Some(true));
    assert!(pending.finish("b", ImageResult::default()));
    assert_eq!(pending.forget("c"), Some(false));
    let told = said_to_second.try_recv().unwrap().unwrap().event.unwrap();
    assert!(
        matches!(told, Told::Cancelled(cancelled) if cancelled.task_id == "a"),
        "the one that has it now"
    );
    assert!(said_to_first.try_recv().is_err(), "nothing of what it answered");
    assert!(said_to_second.try_recv().is_err());
    let totals = pending.totals();
    assert_eq!((totals.waiting, totals.started, totals.oldest_age), (0, 0, Duration::ZERO));
}
