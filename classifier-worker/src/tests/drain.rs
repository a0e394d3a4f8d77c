//! Draining: finish, say so, and be there again when asked.

use proto::internal::v1::{
    Drain, Undrain, worker_session_request::Event as Said, worker_session_response::Event as Asked,
};

use super::{autoscaler::Autoscaler, gateway::Gateway, *};

fn drain(decision_id: &str) -> Asked {
    Asked::Drain(Drain { decision_id: decision_id.to_owned(), deadline: None })
}

fn undrain(decision_id: &str) -> Asked {
    Asked::Undrain(Undrain { decision_id: decision_id.to_owned() })
}

async fn drained(autoscaler: &mut Autoscaler) -> String {
    let said = |event| if let Said::Drained(drained) = event { Some(drained.decision_id) } else { None };
    autoscaler.hear(said).await
}

#[tokio::test(flavor = "multi_thread")]
async fn worker_says_who_it_is_and_how_it_does() {
    let (queue, gateway, mut autoscaler) = (queue(), Gateway::start().await, Autoscaler::start());
    let reporting = Options { autoscaler: Some(autoscaler.url.clone()), ..options("stub:20ms") };
    let worker = Running::start(reporting, queue.clone()).await;
    let hello =
        autoscaler.hear(|event| if let Said::Hello(hello) = event { Some(hello) } else { None }).await;
    assert_eq!((hello.worker_id.as_str(), hello.instance_id.as_str()), ("worker-1", "slot-1"));
    assert_eq!((hello.model.as_str(), hello.model_version.as_str()), ("stub", "1"));
    queue.send((0..5).map(|i| task(&format!("task-{i}"), &gateway.url())).collect()).await.unwrap();
    let done = |event| match event {
        Said::Heartbeat(beat) if beat.completed_total == 5 && beat.busy_slots == 0 => Some(beat),
        _ => None,
    };
    let beat = autoscaler.hear(done).await;
    assert_eq!(beat.slots, 1);
    let mean = platform::time::from_proto(beat.service_mean.as_ref()).unwrap();
    let p95 = platform::time::from_proto(beat.service_p95.as_ref()).unwrap();
    assert!(mean >= Duration::from_millis(20) && p95 >= mean / 2, "{mean:?} {p95:?}");
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn drained_is_said_when_all_is_answered_and_nothing_more_is_taken() {
    let (queue, gateway, mut autoscaler) = (queue(), Gateway::start().await, Autoscaler::start());
    let reporting = Options { autoscaler: Some(autoscaler.url.clone()), ..options("stub:300ms") };
    queue.send((0..6).map(|i| task(&format!("task-{i}"), &gateway.url())).collect()).await.unwrap();
    let worker = Running::start(reporting, queue.clone()).await;
    let busy =
        |event| if let Said::Heartbeat(beat) = event { (beat.busy_slots == 1).then_some(()) } else { None };
    autoscaler.hear(busy).await;
    autoscaler.say(drain("decision-7")).await;
    assert_eq!(drained(&mut autoscaler).await, "decision-7");
    let answered = gateway.results().len();
    assert!(answered >= 1, "it was busy and its image is answered");
    let Counts { visible, leased, .. } = queue.counts().await.unwrap();
    assert_eq!((visible, leased), (6 - answered as u64, 0), "what was not begun went back");
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert_eq!(gateway.results().len(), answered, "a drained worker takes nothing");
    autoscaler.say(undrain("decision-8")).await;
    eventually("all are answered", async || is_empty(&queue).await).await;
    assert_eq!(gateway.results().len(), 6);
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn drain_taken_back_in_time_is_never_confirmed() {
    let (queue, gateway, mut autoscaler) = (queue(), Gateway::start().await, Autoscaler::start());
    let reporting = Options { autoscaler: Some(autoscaler.url.clone()), ..options("stub:400ms") };
    queue.send((0..3).map(|i| task(&format!("task-{i}"), &gateway.url())).collect()).await.unwrap();
    let worker = Running::start(reporting, queue.clone()).await;
    let busy =
        |event| if let Said::Heartbeat(beat) = event { (beat.busy_slots == 1).then_some(()) } else { None };
    autoscaler.hear(busy).await;
    autoscaler.say(drain("decision-1")).await;
    autoscaler.say(undrain("decision-2")).await;
    eventually("all are answered", async || is_empty(&queue).await).await;
    autoscaler.say(drain("decision-3")).await;
    assert_eq!(drained(&mut autoscaler).await, "decision-3", "the first drain was taken back");
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn worker_works_on_when_its_autoscaler_is_gone() {
    let (queue, gateway, mut autoscaler) = (queue(), Gateway::start().await, Autoscaler::start());
    let reporting = Options { autoscaler: Some(autoscaler.url.clone()), ..options("stub:0") };
    let worker = Running::start(reporting, queue.clone()).await;
    autoscaler.hear(|event| matches!(event, Said::Hello(_)).then_some(())).await;
    autoscaler.say(drain("decision-1")).await;
    drained(&mut autoscaler).await;
    autoscaler.crash();
    queue.send(vec![task("after", &gateway.url())]).await.unwrap();
    eventually("it is answered", async || is_empty(&queue).await).await;
    assert!(gateway.result("after").is_some());
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_worker_offers_to_go_and_works_on_until_it_is_told() {
    let (queue, gateway, mut autoscaler) = (queue(), Gateway::start().await, Autoscaler::start());
    let reporting = Options {
        autoscaler: Some(autoscaler.url.clone()),
        offer_after: Duration::from_millis(1500),
        ..options("stub:0")
    };
    let worker = Running::start(reporting, queue.clone()).await;
    let idle = |event| if let Said::IdleOffer(offer) = event { offer.idle } else { None };
    let offered = platform::time::from_proto(Some(&autoscaler.hear(idle).await)).unwrap();
    assert!(offered >= Duration::from_millis(1500), "{offered:?}");
    queue.send(vec![task("after", &gateway.url())]).await.unwrap();
    eventually("it is answered", async || is_empty(&queue).await).await;
    // And again, counted from its last work.
    let offered = platform::time::from_proto(Some(&autoscaler.hear(idle).await)).unwrap();
    assert!(offered < Duration::from_millis(4000), "{offered:?}");
    autoscaler.say(drain("decision-1")).await;
    assert_eq!(drained(&mut autoscaler).await, "decision-1");
    worker.stop().await;
}
