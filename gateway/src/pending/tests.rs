//! Who waits, who is answered, and what is counted of it.

use super::*;
use crate::{cache::Sum, group::Picture};

fn registration(task_id: &str, index: u32) -> Registration {
    Registration { task_id: task_id.to_owned(), index, priority: Priority::Interactive, sharing: None }
}

/// Registers them as sent.
fn register(
    pending: &Pending,
    registrations: &[Registration],
    events: &mpsc::Sender<Event>,
    tell_start: bool,
) -> Result<Vec<Seat>> {
    let (placed, queueing) = pending.register(registrations, Caller { events, tell_start })?;
    queueing.sent();
    let seat = |placed| match placed {
        Placed::New(seat) | Placed::Joined(seat) => seat,
        Placed::BeingSent(_) => panic!("nothing else is being sent"),
    };
    Ok(placed.into_iter().map(seat).collect())
}

fn left(was_started: bool, was_last: bool) -> Option<Left> {
    Some(Left { was_started, was_last })
}

fn holder(worker_id: &str) -> Holder {
    Holder::new(worker_id.to_owned(), &mpsc::channel(1).0)
}

#[tokio::test(start_paused = true)]
async fn each_image_is_answered_once() {
    let pending = Pending::new(10, Duration::from_secs(1));
    let (events, mut receiver) = mpsc::channel(2);
    register(&pending, &[registration("a", 7)], &events, true).unwrap();
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
    let seats = register(&pending, &three, &events, false).unwrap();
    assert_eq!(pending.forget(&seats[0]), left(false, true));
    tokio::time::advance(Duration::from_secs(2)).await;
    assert_eq!(pending.forget(&seats[1]), left(false, true));
    assert_eq!(pending.forget_unstarted(&seats[2]), left(false, true));
    let totals = pending.totals();
    assert_eq!((totals.completed, totals.late, pending.latencies().len()), (3, 2, 0));
}

#[tokio::test(start_paused = true)]
async fn late_is_what_the_autoscaler_says() {
    let pending = Pending::new(10, Duration::from_secs(1));
    pending.set_latency_target(Duration::from_secs(3));
    let (events, _receiver) = mpsc::channel(2);
    register(&pending, &[registration("a", 0), registration("b", 1)], &events, false).unwrap();
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
    let seats = register(&pending, &[registration("a", 0)], &events, false).unwrap();
    let error =
        register(&pending, &[registration("b", 0), registration("c", 1)], &events, false).unwrap_err();
    assert_eq!(error.kind(), Kind::QueueFull);
    assert!(error.retry_after().is_some());
    assert_eq!(pending.totals().waiting, 1);
    assert_eq!(pending.forget(&seats[0]), left(false, true));
    register(&pending, &[registration("b", 0), registration("c", 1)], &events, false).unwrap();
}

#[tokio::test(start_paused = true)]
async fn worker_that_started_last_is_told_when_nobody_waits_any_more() {
    use proto::internal::v1::reply_session_response::Event as Told;
    let pending = Pending::new(10, Duration::from_secs(1));
    let (events, _receiver) = mpsc::channel(9);
    let three = ["a", "b", "c"].map(|task_id| registration(task_id, 0));
    let seats = register(&pending, &three, &events, true).unwrap();
    let ((to_first, mut said_to_first), (to_second, mut said_to_second)) =
        (mpsc::channel(4), mpsc::channel(4));
    let (first, second) = (Holder::new("w1".to_owned(), &to_first), Holder::new("w2".to_owned(), &to_second));
    for (task_id, holder) in [("a", &first), ("a", &second), ("b", &first)] {
        assert!(pending.started(task_id, holder));
    }
    assert_eq!(pending.totals().started, 2);
    assert_eq!(pending.forget(&seats[0]), left(true, true));
    assert!(pending.finish("b", ImageResult::default()));
    assert_eq!(pending.forget(&seats[2]), left(false, true));
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

/// As an equal image that waits for `seconds` and wants `top_k` classes.
fn equal(task_id: &str, index: u32, seconds: u64, top_k: u32) -> Registration {
    let sum = Sum::of(&Picture::Content("equal".into())).unwrap();
    let start_by = Instant::now() + Duration::from_secs(seconds);
    let sharing = Sharing {
        key: sum.with_model("lite0@1"),
        top_k,
        task_top_k: top_k.max(10),
        start_by,
        task_ends: start_by + Duration::from_secs(seconds / 10),
        joins: Joins::Yes,
    };
    Registration { sharing: Some(sharing), ..registration(task_id, index) }
}

fn batch(equal: Registration) -> Registration {
    Registration { priority: Priority::Batch, ..equal }
}

#[tokio::test(start_paused = true)]
async fn equal_images_share_a_task_and_each_has_its_answer() {
    let pending = Pending::new(10, Duration::from_secs(1));
    let (events, mut receiver) = mpsc::channel(9);
    let three = [equal("a", 0, 100, 5), equal("b", 1, 100, 5), registration("c", 2)];
    let seats = register(&pending, &three, &events, true).unwrap();
    assert_eq!(seats.iter().map(|seat| seat.task_id.as_str()).collect::<Vec<_>>(), ["a", "a", "c"]);
    assert!(pending.started("a", &holder("w1")));
    tokio::time::advance(Duration::from_secs(2)).await;
    let (others, mut of_others) = mpsc::channel(2);
    let late = register(&pending, &[equal("d", 7, 100, 5)], &others, true).unwrap();
    assert_eq!(late[0].task_id, "a", "also one that runs");
    assert!(
        matches!(of_others.recv().await, Some(Event::Started { index: 7, worker_id }) if worker_id == "w1")
    );
    let totals = pending.totals();
    assert_eq!((totals.enqueued, totals.waiting, totals.started), (2, 2, 1), "tasks are counted");
    assert!(pending.finish("a", ImageResult::default()));
    assert!(!pending.finish("a", ImageResult::default()));
    assert!(matches!(of_others.recv().await, Some(Event::Finished(result)) if result.index == 7));
    let mut finished = Vec::new();
    while let Ok(event) = receiver.try_recv() {
        if let Event::Finished(result) = event {
            finished.push(result.index);
        }
    }
    finished.sort_unstable();
    assert_eq!(finished, [0, 1]);
    let totals = pending.totals();
    assert_eq!((totals.completed, totals.late, totals.waiting), (1, 1, 1));
    let two_and_none = [(latency::bucket(Duration::ZERO), 1), (latency::bucket(Duration::from_secs(2)), 2)];
    assert_eq!(pending.latencies(), two_and_none, "each answer as long as its own caller waited");
    let next = register(&pending, &[equal("e", 0, 100, 5)], &events, false).unwrap();
    assert_eq!(next[0].task_id, "e", "what is done is not joined");
}

#[tokio::test(start_paused = true)]
async fn task_is_withdrawn_when_its_last_caller_is_gone() {
    let pending = Pending::new(10, Duration::from_secs(1));
    let (events, mut receiver) = mpsc::channel(9);
    let seats = register(&pending, &[equal("a", 0, 100, 5), equal("b", 1, 100, 5)], &events, false).unwrap();
    let (out, mut said) = mpsc::channel(1);
    assert_eq!(pending.forget_unstarted(&seats[0]), left(false, false));
    assert_eq!(pending.forget(&seats[0]), None);
    assert!(pending.started("a", &Holder::new("w1".to_owned(), &out)));
    assert_eq!(pending.forget_unstarted(&seats[1]), None);
    assert!(said.try_recv().is_err());
    assert_eq!(pending.forget(&seats[1]), left(true, true));
    assert!(said.try_recv().is_ok(), "its worker is told");
    assert_eq!(pending.totals().waiting, 0);
    assert!(receiver.try_recv().is_err());
    let next = register(&pending, &[equal("c", 0, 100, 5)], &events, false).unwrap();
    assert_eq!(next[0].task_id, "c", "what is withdrawn is not joined");
}

#[tokio::test(start_paused = true)]
async fn nobody_joins_who_would_be_worse_off() {
    let check = |first: Registration, second: Registration, joins: bool| {
        let pending = Pending::new(10, Duration::from_secs(1));
        let (events, _receiver) = mpsc::channel(9);
        register(&pending, &[first], &events, false).unwrap();
        let seats = register(&pending, std::slice::from_ref(&second), &events, false).unwrap();
        assert_eq!(seats[0].task_id == "a", joins, "{second:?}");
    };
    check(equal("a", 0, 100, 5), equal("b", 0, 100, 5), true);
    check(equal("a", 0, 100, 5), equal("b", 0, 5, 5), true);
    check(equal("a", 0, 100, 5), equal("b", 0, 110, 5), true);
    check(equal("a", 0, 100, 5), equal("b", 0, 111, 5), false);
    check(equal("a", 0, 100, 5), equal("b", 0, 100, 10), true);
    check(equal("a", 0, 100, 5), equal("b", 0, 100, 11), false);
    check(batch(equal("a", 0, 100, 5)), equal("b", 0, 100, 5), false);
    check(equal("a", 0, 100, 5), batch(equal("b", 0, 100, 5)), true);
    check(batch(equal("a", 0, 100, 5)), batch(equal("b", 0, 100, 5)), true);
    check(registration("a", 0), equal("b", 0, 100, 5), false);
}

#[tokio::test(start_paused = true)]
async fn task_that_may_never_reach_the_queue_is_not_joined() {
    let pending = Pending::new(10, Duration::from_secs(1));
    let (events, _receiver) = mpsc::channel(9);
    let caller = Caller { events: &events, tell_start: false };
    let being_sent = |found: &[Found]| match found {
        [Found::BeingSent(sent)] => sent.clone(),
        _ => panic!("it is being sent"),
    };
    let (_, queueing) = pending.register(&[equal("a", 0, 100, 5)], caller).unwrap();
    let waits = being_sent(&pending.join(&[equal("b", 1, 100, 5)], caller));
    drop(queueing);
    assert!(waits.is_cancelled());
    assert!(matches!(pending.join(&[equal("b", 1, 100, 5)], caller)[..], [Found::Nothing]));
    let (_, queueing) = pending.register(&[equal("b", 1, 100, 5)], caller).unwrap();
    let waits = being_sent(&pending.join(&[equal("c", 2, 100, 5)], caller));
    queueing.sent();
    assert!(waits.is_cancelled());
    assert!(
        matches!(&pending.join(&[equal("c", 2, 100, 5)], caller)[..], [Found::Joined(seat)] if seat.task_id == "b")
    );
}

#[tokio::test(start_paused = true)]
async fn limit_counts_those_who_wait_and_not_tasks() {
    let pending = Pending::new(2, Duration::from_secs(1));
    let (events, _receiver) = mpsc::channel(9);
    let caller = Caller { events: &events, tell_start: false };
    register(&pending, &[equal("a", 0, 100, 5), equal("b", 1, 100, 5)], &events, false).unwrap();
    assert!(matches!(pending.join(&[equal("c", 2, 100, 5)], caller)[..], [Found::Nothing]));
    assert!(register(&pending, &[equal("c", 2, 100, 5)], &events, false).is_err());
    pending.finish("a", ImageResult::default());
    register(&pending, &[equal("c", 2, 100, 5)], &events, false).unwrap();
}
