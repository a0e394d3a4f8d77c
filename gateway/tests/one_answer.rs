//! One answer for each image, whatever queue and workers do twice or too late.
#![allow(clippy::unwrap_used)]

use std::{num::NonZeroU32, time::Duration};

use platform::queue::{Delivery, Receive};
use proto::{
    internal::v1::{TaskResult, reply_session_request as request, reply_session_response as response},
    v1::{
        BidiClassifyRequest, ClassifyOptions, ClassifyStreamRequest, ClassifyStreamResponse, ImageState,
        bidi_classify_request::Request as Asked, bidi_classify_response::Event as BidiEvent,
        classify_stream_response::Event,
    },
};
use support::{JPEG, System, Worker, image, labelled, start};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

mod support;

async fn stream(system: &System, request: ClassifyStreamRequest) -> Streaming<ClassifyStreamResponse> {
    system.client().await.classify_stream(request).await.unwrap().into_inner()
}

fn many(images: usize) -> ClassifyStreamRequest {
    let images = (0..images).map(|i| image(&format!("{i}.jpg"), JPEG)).collect();
    ClassifyStreamRequest { images, ..ClassifyStreamRequest::default() }
}

/// Says the answer and waits until the gateway has taken it; nothing is acked.
async fn tell(worker: &mut Worker, delivery: &Delivery, label: &str) {
    let task_id = delivery.task.task_id.clone();
    let result = Some(labelled(label, delivery.attempt));
    worker.say(request::Event::Result(TaskResult { task_id: task_id.clone(), result })).await;
    loop {
        match worker.answers.message().await.unwrap().unwrap().event.unwrap() {
            response::Event::Accepted(accepted) => return assert_eq!(accepted.task_id, task_id),
            response::Event::Cancelled(_) => {}
        }
    }
}

/// The label of each image's only answer.
async fn labels(mut events: Streaming<ClassifyStreamResponse>, images: usize) -> Vec<String> {
    let mut labels = vec![None; images];
    while let Some(event) = events.message().await.unwrap() {
        if let Some(Event::Result(result)) = event.event {
            let label = result.classifications.first().map(|class| class.label.clone()).unwrap_or_default();
            assert_eq!(labels[result.index as usize].replace(label), None, "answered twice");
        }
    }
    labels.into_iter().map(Option::unwrap).collect()
}

#[tokio::test]
async fn task_delivered_twice_is_answered_by_whoever_is_first() {
    let system = start(&[]).await;
    let events = stream(&system, many(2)).await;
    let (mut first, mut second) = (system.worker().await, system.worker().await);
    // Its lease ends, as that of a worker that hangs does, and another gets the same task.
    let lease = Duration::from_millis(200);
    let receive = Receive { max: NonZeroU32::MIN, wait: Duration::from_secs(5), lease };
    let slow = first.queue.receive(receive).await.unwrap().remove(0);
    first.start(&slow).await;
    let mut others = Vec::new();
    while others.len() < 2 {
        others.extend(second.receive(2).await);
    }
    let again = others.iter().find(|other| other.task.task_id == slow.task.task_id).unwrap();
    assert_eq!((slow.attempt, again.attempt), (1, 2));
    second.start(again).await;
    // Both answer, one of them twice.
    tell(&mut second, again, "second").await;
    tell(&mut first, &slow, "first").await;
    tell(&mut second, again, "second").await;
    let other = others.iter().find(|other| other.task.task_id != slow.task.task_id).unwrap();
    tell(&mut first, other, "other").await;
    let mut labels = labels(events, 2).await;
    labels.sort_unstable();
    assert_eq!(labels, ["other", "second"]);
    assert_eq!(system.gateway_totals(), (2, 2));
    system.stop().await;
}

#[tokio::test]
async fn answer_after_the_deadline_is_taken_from_the_worker_and_given_to_nobody() {
    let system = start(&["--request-timeout", "300ms"]).await;
    let events = stream(&system, many(1)).await;
    let mut worker = system.worker().await;
    let held = worker.receive(1).await;
    worker.start(&held[0]).await;
    assert_eq!(labels(events, 1).await, [""], "expired");
    tell(&mut worker, &held[0], "late").await;
    worker.queue.ack(&[held[0].lease.clone()]).await.unwrap();
    let counts = system.queue().counts().await.unwrap();
    assert_eq!((counts.visible, counts.leased), (0, 0));
    assert_eq!(system.gateway_totals(), (1, 1));
    system.stop().await;
}

#[tokio::test]
async fn answer_to_an_image_that_was_withdrawn_is_given_to_nobody() {
    let system = start(&[]).await;
    let (send, receiver) = mpsc::channel(4);
    let mut client = system.client().await;
    let mut events = client.bidi_classify(ReceiverStream::new(receiver)).await.unwrap().into_inner();
    let say = async |request| send.send(BidiClassifyRequest { request: Some(request) }).await.unwrap();
    say(Asked::Image(image("x", JPEG))).await;
    let mut worker = system.worker().await;
    let held = worker.receive(1).await;
    worker.start(&held[0]).await;
    say(Asked::CancelCustomId("x".to_owned())).await;
    let cancelled = worker.answers.message().await.unwrap().unwrap().event.unwrap();
    assert!(matches!(cancelled, response::Event::Cancelled(_)));
    tell(&mut worker, &held[0], "late").await;
    // The same name again is another image.
    say(Asked::Image(image("x", JPEG))).await;
    let again = worker.receive(1).await;
    tell(&mut worker, &again[0], "again").await;
    drop(send);
    let mut results = Vec::new();
    while let Some(event) = events.message().await.unwrap() {
        if let Some(BidiEvent::Result(result)) = event.event {
            results.push((result.index, result.state()));
        }
    }
    assert_eq!(results, [(0, ImageState::Cancelled), (1, ImageState::Succeeded)]);
    system.stop().await;
}

#[tokio::test]
async fn expired_answer_of_a_worker_ends_a_shared_task_for_all_who_wait() {
    let system = start(&["--cache-bytes", "1000000"]).await;
    let mut request = many(3);
    request.options = Some(ClassifyOptions::default());
    let events = stream(&system, request).await;
    let mut worker = system.worker().await;
    let held = worker.receive(3).await;
    assert_eq!(held.len(), 1);
    let error = platform::Error::new(platform::Kind::ExpiredInQueue, "too late");
    let expired = proto::v1::ImageResult {
        state: ImageState::Expired.into(),
        classifications: Vec::new(),
        error: Some(platform::error::to_rpc_status(&error)),
        ..labelled("", 1)
    };
    worker.reply(&held[0], expired).await;
    assert_eq!(labels(events, 3).await, ["", "", ""]);
    system.stop().await;
}
